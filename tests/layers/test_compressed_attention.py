"""V4's attention: against transformers' class, in any split, in the dark about what comes later."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import DeepseekV4Config
from transformers.models.deepseek_v4 import modeling_deepseek_v4 as published

from course_lib.inference.cache import KVCache
from course_lib.layers.attention import visible_keys
from course_lib.layers.compressed_attention import CSA, HCA
from course_lib.layers.compressor import (
    BlockIndexer,
    Compressor,
    PartialRotary,
    pool_rows,
    visible_blocks,
)
from course_lib.layers.position import YaRN
from course_lib.layers.shared_kv_attention import (
    CompressedCache,
    SharedKVAttention,
    attend_by_stretches,
    sink_weights,
    visible_in_stretches,
)

SHARED = (
    24,
    4,
    12,
    6,
    10,
    2,
    5,
    8,
)  # d_model, heads, width, rotary, q latent, groups, rank, window
KINDS = {
    "sliding": lambda *shared: SharedKVAttention(*shared),
    "hca": lambda *shared: HCA(5, *shared),
    "csa": lambda *shared: CSA(16, max(8, shared[3]), 3, 4, *shared),
}


def attention(kind: str, *shared, seed: int = 0):
    torch.manual_seed(seed)
    made = KINDS[kind](*(shared or SHARED)).double()
    for parameter in made.parameters():
        parameter.data.normal_(std=0.5)
    return made


def tokens(B: int, T: int, seed: int = 1, width: int = SHARED[0]):
    return torch.randn(B, T, width, generator=torch.Generator().manual_seed(seed)).double()


# --- the published class ---

TYPES = {
    "sliding": "sliding_attention",
    "hca": "heavily_compressed_attention",
    "csa": "compressed_sparse_attention",
}
NAMES = {
    "q_a_proj": "q_down",
    "q_a_norm": "q_latent_norm",
    "q_b_proj": "q_up",
    "kv_proj": "kv",
    "gate_proj": "gate",
    "o_a_proj": "out_groups",
    "o_b_proj": "out",
    "scorer.weights_proj": "head_weights",
}


def our_name(name: str) -> str:
    """Translate a parameter's name; in the class the indexer stands in the compressor."""
    inside = name.startswith("compressor")
    if name.startswith("compressor.indexer"):
        name = name.removeprefix("compressor.")
        if not any(part in name for part in ("q_b_proj", "weights_proj")):
            name = name.replace("indexer.", "indexer.compressor.")
    name = name.replace("kv_norm", "norm") if inside else name
    for theirs, ours in NAMES.items():
        name = name.replace(theirs, ours)
    return name


def published_outputs(kind: str, ours, x, config: DeepseekV4Config):
    """Run transformers' attention with our weights."""
    theirs = published.DeepseekV4Attention(config, layer_idx=0).double().eval()
    state = ours.state_dict()
    theirs.load_state_dict({name: state.pop(our_name(name)) for name in theirs.state_dict()})
    assert not state
    positions = torch.arange(x.shape[1])[None].expand(len(x), -1)
    rotary = published.DeepseekV4RotaryEmbedding(config)
    places = {label: rotary(x, positions, label) for label in ("main", "compress")}
    hidden = ~visible_keys(x.shape[1], x.shape[1], config.sliding_window)
    mask = torch.zeros(len(x), 1, *hidden.shape).double().masked_fill(hidden, -torch.inf)
    return theirs(x, places, positions, mask)[0]


YARN = YaRN(factor=4.0, trained_length=32, beta_fast=4.0)
ODD = {  # the numbers of the attention, and how many tokens
    "small": (SHARED, 37),
    "all of a head rotated, another base": ((30, 6, 14, 14, 8, 3, 4, 11, 500.0), 37),
    "one group, YaRN": ((16, 2, 10, 4, 12, 1, 7, 6, 900.0, YARN), 90),
    "a window of one": ((16, 3, 8, 2, 5, 3, 2, 1), 21),
    "shorter than a block": (SHARED, 3),
}


def published_config(kind, d_model, n_heads, head_dim, rotary, q_rank, groups, o_rank, window,
                     base=10_000.0, scaling=None):  # fmt: skip
    yarn = {"rope_type": "yarn", "original_max_position_embeddings": YARN.trained_length}
    yarn |= {"factor": YARN.factor, "beta_fast": YARN.beta_fast, "beta_slow": YARN.beta_slow}
    return DeepseekV4Config(
        hidden_size=d_model,
        num_hidden_layers=1,
        num_attention_heads=n_heads,
        head_dim=head_dim,
        partial_rotary_factor=rotary / head_dim,
        q_lora_rank=q_rank,
        o_groups=groups,
        o_lora_rank=o_rank,
        sliding_window=window,
        index_n_heads=16,
        index_head_dim=max(8, rotary),
        index_topk=3,
        layer_types=[TYPES[kind]],
        compress_rates={TYPES["csa"]: 4, TYPES["hca"]: 5},
        rope_theta=base,
        compress_rope_theta=base,
        rope_parameters=yarn if scaling else None,
        max_position_embeddings=128,
        attn_implementation="eager",
    )


@pytest.mark.filterwarnings("ignore:a window of")
@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_published_attention(kind, case):
    shared, T = ODD[case]
    config = published_config(kind, *shared)
    # the class stretches the frequencies of compressed layers alone
    ours = attention(kind, *(shared[:9] if kind == "sliding" else shared))
    x = tokens(2, T, width=shared[0])
    want = published_outputs(kind, ours, x, config)
    torch.testing.assert_close(ours(x), want, atol=2e-5, rtol=2e-5)


# --- compressors ---


def compressor(rate: int, overlap: bool, width: int = 6, rotary: int = 4) -> Compressor:
    torch.manual_seed(0)
    made = Compressor(10, width, rate, PartialRotary(rotary, 100.0), overlap).double()
    for parameter in made.parameters():
        parameter.data.normal_()
    return made


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("rate", [1, 3])
def test_entries_are_the_equations_written_with_loops(rate, overlap):
    made, x = compressor(rate, overlap), tokens(1, 3 * rate + 2, width=10)
    got = made(x).entries[0]
    content, gate = x[0] @ made.kv.weight.T, x[0] @ made.gate.weight.T
    for i in range((3 * rate + 2) // rate):
        entry = []
        for d in range(6):
            rows = []  # (gate, content) of all that the channel is made of
            for j in range(rate):
                own = d + 6 * overlap
                t = i * rate + j
                rows.append((gate[t, own] + made.position_bias[j, own], content[t, own]))
                if overlap and i > 0:
                    t -= rate
                    rows.append((gate[t, d] + made.position_bias[j, d], content[t, d]))
            gates, contents = map(torch.stack, zip(*rows, strict=True))
            entry.append(gates.softmax(0) @ contents)
        entry = torch.stack(entry)
        entry = entry / (entry.square().mean() + 1e-6).sqrt() * made.norm.weight
        pairs = torch.view_as_complex(entry[2:].view(2, 2).contiguous())
        turn = torch.polar(
            torch.ones(2).double(), i * rate * 100.0 ** -torch.tensor([0, 0.5]).double()
        )
        want = torch.cat([entry[:2], torch.view_as_real(pairs * turn).flatten()])
        torch.testing.assert_close(got[i], want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("overlap", [False, True])
def test_a_block_that_is_not_finished_has_no_entry(overlap):
    counts = [compressor(4, overlap)(tokens(1, T, width=10)).entries.shape[1] for T in range(1, 10)]
    assert counts == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    visible = visible_blocks(torch.arange(9), 2, rate=4).sum(1)
    assert visible.tolist() == [0, 0, 0, 1, 1, 1, 1, 2, 2]


# --- attention ---


def test_without_sinks_it_is_the_plain_softmax_and_with_them_less():
    torch.manual_seed(0)
    q, keys = torch.randn(2, 3, 5, 4).double(), torch.randn(2, 7, 4).double()
    visible = visible_keys(5, 7)
    none = sink_weights(q, keys, visible, torch.full((3,), -torch.inf))
    want = torch.nn.functional.scaled_dot_product_attention(
        q, keys[:, None], torch.eye(7).double().expand(2, 1, 7, 7), attn_mask=visible
    )
    torch.testing.assert_close(none, want)
    scores = (q @ keys[:, None].mT / 2).masked_fill(~visible, -torch.inf).exp()
    sinks = torch.tensor([0.0, 1.0, -2.0]).double()
    want = scores / (scores.sum(-1, keepdim=True) + sinks.exp()[:, None, None])
    torch.testing.assert_close(sink_weights(q, keys, visible, sinks), want)


@pytest.mark.parametrize(("T", "before"), [(1, 0), (3, 2), (4, 3), (9, 0), (12, 1), (13, 3)])
def test_stretches_are_the_whole_table_and_so_are_their_gradients(T, before):
    torch.manual_seed(T)
    parts = [torch.randn(2, 3, T, 6), torch.randn(2, before + T, 6), torch.randn(2, 5, 6)]
    q, recent, entries, sinks = (p.double().requires_grad_() for p in (*parts, torch.randn(3)))
    readable = torch.rand(2, T, 5) < 0.5
    near = visible_keys(T, before + T, 4).expand(2, -1, -1)
    kv = torch.cat([recent, entries], 1)
    want = sink_weights(q, kv, torch.cat([near, readable], -1), sinks) @ kv[:, None]
    got = attend_by_stretches(q, recent, entries, readable, sinks, window=4)
    torch.testing.assert_close(got, want)
    upstream, leaves = torch.randn_like(want), (q, recent, entries, sinks)
    both = (torch.autograd.grad(out, leaves, upstream) for out in (got, want))
    torch.testing.assert_close(*both)


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_token_changes_nothing_before_it(kind):
    ours, x = attention(kind), tokens(1, 40)
    before = ours(x)
    for changed in (3, 19, 24):  # the last of a block, of both kinds of blocks, the first of one
        y = x.clone()
        y[:, changed] += 1
        assert torch.equal(ours(y)[:, :changed], before[:, :changed])
        assert not torch.isclose(ours(y)[:, changed], before[:, changed]).any()


@pytest.mark.parametrize("kind", ["hca", "csa"])
def test_what_left_the_window_is_read_in_its_block(kind):
    ours, x = attention(kind), tokens(1, 40)
    ours.top_k, before = None, ours(x)
    x[:, 2] += 1
    assert not torch.isclose(ours(x)[:, 30:], before[:, 30:]).any()
    alone = attention("sliding")
    alone.load_state_dict(ours.state_dict(), strict=False)
    x[:, 2] -= 1
    before = alone(x)
    x[:, 2] += 1
    assert torch.equal(alone(x)[:, 10:], before[:, 10:])


@settings(deadline=None, max_examples=25)
@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.integers(1, 13), min_size=2, max_size=9),
    st.booleans(),
)
def test_a_cached_text_is_the_whole_one_in_any_split(kind, lengths, few_heads):
    ours, x = attention(kind), tokens(2, sum(lengths))
    if few_heads and kind == "csa":  # with one head many scores are exactly 0: the earliest wins
        ours = CSA(1, 8, 3, 4, *SHARED).double()
    cache, whole = CompressedCache(sum(lengths)), ours(x)
    parts = [ours(part, cache) for part in x.split(lengths, 1)]
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert cache.length == sum(lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_at_all_changes_nothing(kind):
    ours, cache, x = attention(kind), CompressedCache(), tokens(2, 30)
    assert ours(x[:, :0]).shape == (2, 0, SHARED[0])
    parts = [ours(part, cache) for part in (x[:, :0], x[:, :25], x[:, :0], x[:, 25:])]
    torch.testing.assert_close(torch.cat(parts, 1), ours(x))


def test_of_equal_scores_the_earliest_blocks_are_read():
    ours, x = attention("csa"), tokens(1, 40)
    ours.indexer.head_weights.weight.data.zero_()
    visible = visible_blocks(torch.arange(40), 10, 4)[None]
    selected = ours.select(torch.zeros(1, 40, 10).double(), visible)
    assert torch.equal(selected, visible & (torch.arange(10) < 3))
    before = ours(x)
    x[:, 13:20] += 1  # blocks 3 and 4, which nobody chooses, and block 5 by its overlap
    assert torch.equal(ours(x)[:, 28:], before[:, 28:])


def test_a_text_further_on_is_read_alike_where_its_window_is_its_own():
    ours, x = attention("sliding"), tokens(1, 30)
    shifted = ours(torch.cat([tokens(1, 100, seed=7), x], 1))[:, 100:]
    torch.testing.assert_close(shifted[:, 7:], ours(x)[:, 7:], atol=1e-4, rtol=1e-4)
    assert not torch.isclose(shifted[:, :7], ours(x)[:, :7]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_finite_and_reach_all_but_the_indexer(kind):
    ours = attention(kind)
    ours(tokens(2, 30)).square().sum().backward()
    for name, parameter in ours.named_parameters():
        if name.startswith("indexer."):
            assert parameter.grad is None
        else:
            assert parameter.grad.isfinite().all() and parameter.grad.any(), name


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_near(kind):
    ours, x = attention(kind).float(), tokens(1, 30).float()
    if kind == "csa":
        ours.top_k = None  # rounding may choose another block
    exact = ours(x)
    rough = ours.bfloat16()(x.bfloat16()).float()
    assert (rough - exact).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("top_k", [None, 2])
def test_the_indexers_loss_is_the_divergence_and_teaches_the_indexer_alone(top_k):
    ours, x = attention("csa"), tokens(2, 21)
    ours.top_k = top_k
    loss, places = ours.indexer_loss(x), torch.arange(21)
    q_latent, q, kv = ours.project(x, places)
    entries, keys = ours.compressor(x).entries, ours.indexer.compressor(x).entries
    scores = ours.indexer.scores(x, q_latent, keys, places)
    losses = []
    for b in range(2):
        for t in range(3, 21):
            n = (t + 1) // 4
            best = sorted(range(n), key=lambda i: -scores[b, t, i].item())[:top_k]  # noqa: B023
            seen = torch.cat([kv[b, max(0, t - 7) : t + 1], entries[b, best]])
            logits = torch.cat([q[b, :, t] @ seen.T / 12**0.5, ours.sinks[:, None]], 1)
            p = logits.softmax(-1)[:, -1 - len(best) : -1].sum(0)
            p, log_q = p / p.sum(), scores[b, t, best].log_softmax(0)
            losses.append((p * (p.log() - log_q)).sum().item())
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-9) and loss > 0
    loss.backward()
    taught = {name for name, p in ours.named_parameters() if p.grad is not None and p.grad.any()}
    assert taught == {n for n, _ in ours.named_parameters() if n.startswith("indexer.")}
    assert ours.indexer_loss(x[:, :3]).item() == 0  # no block is finished


def test_blocks_whose_scores_are_nan_are_named_not_chosen_from():
    ours, x = attention("csa"), tokens(2, 21)
    ours.indexer.head_weights.weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="42 of 42 rows of scores hold NaN"):
        ours(x)
    assert ours(x[:, :15]).isfinite().all()  # all 3 blocks are read, and nothing is chosen


# --- the cache ---


def test_where_a_sink_takes_all_weight_the_indexers_loss_is_a_number():
    ours = attention("csa").float()
    ours.sinks.data.fill_(200.0)  # the weights on blocks are 0 in 32 bits
    loss = ours.indexer_loss(tokens(2, 13).float())
    loss.backward()
    assert loss == 0
    grads = [parameter.grad for parameter in ours.indexer.parameters()]
    assert all(grad.isfinite().all() for grad in grads if grad is not None)


def test_the_cache_counts_what_it_holds_and_keeps_rows():
    ours, x, cache = attention("csa"), tokens(3, 22), CompressedCache()
    whole = ours(x[[2, 0]])
    ours(x[:, :18], cache)
    # 7 tokens of the window; entries, waiting rows and a block's rows that count in the next one
    main, index = 4 * 12 + 2 * 2 * 2 * 12 + 4 * 2 * 12, 4 * 8 + 2 * 2 * 2 * 8 + 4 * 2 * 8
    assert cache.n_bytes == 8 * 3 * (7 * 12 + main + index)
    cache.keep(torch.tensor([2, 0]))
    torch.testing.assert_close(ours(x[[2, 0], 18:], cache), whole[:, 18:])


def test_what_a_cache_cannot_do_is_said():
    ours, cache = attention("hca"), CompressedCache(max_seq_len=12)
    ours(tokens(2, 10), cache)
    with pytest.raises(ValueError, match="room for 12 tokens, not for 13"):
        ours(tokens(2, 3), cache)
    with pytest.raises(ValueError, match=r"holds 2 rows of (\d+) numbers, not 1 of \1"):
        ours(tokens(1, 1), cache)
    with pytest.raises(ValueError, match="of 10 tokens cannot be rewound to 4"):
        cache.rewind(4)
    with pytest.raises(TypeError, match="CompressedCache, not a KVCache"):
        ours(tokens(2, 3), KVCache(12))


# --- padding ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_row_is_read_as_if_alone(kind):
    ours, x = attention(kind), tokens(3, 30)
    padding = torch.zeros(3, 30).bool()
    padding[0, :9] = padding[2, 23:] = True
    got = ours(x, padding=padding)
    for row, real in enumerate((slice(9, None), slice(None), slice(None, 23))):
        torch.testing.assert_close(got[row, real], ours(x[row : row + 1, real])[0])


def test_padding_that_blocks_cannot_leave_out_is_refused():
    ours, padding = attention("hca"), torch.zeros(2, 10).bool()
    padding[1, 4] = True
    with pytest.raises(ValueError, match="between the tokens of a row"):
        ours(tokens(2, 10), padding=padding)
    with pytest.raises(ValueError, match="1 padded rows and a cache"):
        ours(tokens(2, 10), CompressedCache(), padding)
    with pytest.raises(ValueError, match=r"padding of shape \(2, 10\) for 2 rows of 9"):
        ours(tokens(2, 9), padding=padding)


# --- numbers that will not do ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({5: 5}, "n_heads 4 x head_dim 12 cannot be shared out to 5 o_groups"),
        ({3: 14}, "head_dim 12 has no room for qk_rope_head_dim 14"),
        ({7: 0}, "a window of 0 tokens"),
        ({0: 0}, "d_model 0 must be at least 1"),
        ({4: -1}, "q_lora_rank -1 must be at least 1"),
        ({6: 0}, "o_lora_rank 0 must be at least 1"),
        ({3: 5}, "a width of 5 cannot be cut into pairs"),
    ],
)
def test_sizes_that_will_not_do_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        SharedKVAttention(*(change.get(i, size) for i, size in enumerate(SHARED)))


def test_rates_and_indexers_that_will_not_do_are_named():
    with pytest.raises(ValueError, match="rate 0 must be at least 1"):
        HCA(0, *SHARED)
    with pytest.raises(ValueError, match="index_top_k 0 must be at least 1"):
        CSA(4, 8, 0, 4, *SHARED)
    with pytest.raises(ValueError, match="n_heads 0 must be at least 1"):
        BlockIndexer(24, 8, 0, 8, 4, PartialRotary(6, 1e4))
    for base in (0.0, float("nan")):
        with pytest.raises(ValueError, match=f"base {base} must be a number above 0"):
            PartialRotary(6, base)
    with pytest.raises(ValueError, match="entries of 4 numbers have no room for 6 rotated"):
        CSA(4, 4, 3, 4, *SHARED)


def test_a_window_that_leaves_tokens_to_nobody_is_told():
    with pytest.warns(UserWarning, match="a window of 8 tokens is shorter than a block of 10"):
        HCA(10, *SHARED)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HCA(9, *SHARED)


def test_a_text_longer_than_the_stretched_frequencies_reach_is_refused():
    ours = HCA(4, *SHARED, 10_000.0, YaRN(factor=2.0, trained_length=8))
    ours(torch.randn(1, 16, 24))
    with pytest.raises(ValueError, match="17 tokens are more than"):
        ours(torch.randn(1, 17, 24))


def unchecked(function):
    """Give the function as it runs outside of the tests, where nothing checks shapes."""
    return getattr(function, "__wrapped__", function)


def weights_of(visible=(1, 4, 6), keys=(2, 6, 5), n_sinks=3):
    q, seen = torch.ones(2, 3, 4, 5), torch.ones(visible).bool()
    return unchecked(sink_weights)(q, torch.ones(keys), seen, torch.zeros(n_sinks))


def stretches_of(T, S, window):
    q, recent, entries = torch.ones(1, 2, T, 4), torch.ones(1, S, 4), torch.ones(1, 0, 4)
    readable = torch.ones(1, T, 0).bool()
    return attend_by_stretches(q, recent, entries, readable, torch.zeros(2), window)


def scores_of(q_latent=(2, 3, 8), keys=(2, 5, 8), n_positions=3):
    indexer, x = BlockIndexer(24, 8, 2, 8, 4, PartialRotary(6, 1e4)), torch.ones(2, 3, 24)
    return unchecked(BlockIndexer.scores)(
        indexer, x, torch.ones(q_latent), torch.ones(keys), torch.arange(n_positions)
    )


def turned(T, D, n_positions):
    rotary = PartialRotary(6, 1e4)
    return unchecked(PartialRotary.forward)(rotary, torch.ones(1, T, D), torch.arange(n_positions))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: turned(3, 8, n_positions=1), "1 positions for 3 vectors of 8 numbers, 6 rotated"),
        (lambda: turned(3, 4, n_positions=3), "3 positions for 3 vectors of 4 numbers, 6 rotated"),
        (lambda: pool_rows(torch.ones(2, 0, 3), torch.ones(2, 0, 3)), r"\(2, 0, 3\)"),
        (
            lambda: unchecked(pool_rows)(torch.ones(2, 4, 3), torch.ones(2, 4, 1)),
            r"\(2, 4, 3\) and gates of shape \(2, 4, 1\)",
        ),
        (lambda: visible_blocks(torch.arange(3), 2, 0), "rate 0 must be at least 1"),
        (lambda: visible_blocks(torch.arange(3), 2, -1), "rate -1 must be at least 1"),
        (lambda: scores_of(q_latent=(2, 1, 8)), r"2 rows of 3 tokens, .* \(2, 1, 8\)"),
        (lambda: scores_of(keys=(1, 5, 8)), "2 rows of 3 tokens, .* keys of 1 rows"),
        (lambda: scores_of(n_positions=1), "2 rows of 3 tokens, .* and 1 positions"),
        (lambda: weights_of(visible=(1, 4, 1)), r"who sees whom \(1, 4, 1\)"),
        (lambda: weights_of(keys=(1, 6, 5)), r"keys \(1, 6, 5\)"),
        (lambda: weights_of(n_sinks=1), r"\(1,\) sinks"),
        (lambda: stretches_of(T=4, S=3, window=2), "4 tokens cannot look at 3 in stretches of 2"),
        (lambda: stretches_of(T=4, S=7, window=2), "4 tokens cannot look at 7 in stretches of 2"),
        (lambda: stretches_of(T=0, S=0, window=2), "0 tokens cannot look at 0"),
        (lambda: stretches_of(T=4, S=4, window=0), "4 tokens cannot look at 4 in stretches of 0"),
        (lambda: visible_in_stretches(2, 2, -1), "missing -1 is not between 0 and window 2"),
        (lambda: visible_in_stretches(0, 2, 0), "n 0 must be at least 1"),
        (lambda: CompressedCache().forget(-1), "-1 tokens cannot be kept"),
    ],
)
def test_what_would_be_silently_wrong_is_refused(call, message):
    weights_of(), scores_of(), turned(3, 8, 3), stretches_of(4, 6, 2)  # these do fit
    CompressedCache().forget(3)  # there is nothing to forget
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("kind", ["sliding", "hca", "csa"])
@pytest.mark.parametrize(("B", "T"), [(0, 40), (0, 3), (2, 0), (2, 1)])
def test_no_text_and_texts_of_one_token_are_read(kind, B, T):
    ours, x = attention(kind), tokens(B, T)
    assert ours(x).shape == x.shape and ours(x, CompressedCache()).shape == x.shape
    if kind == "csa":
        assert ours.indexer_loss(x) == 0


def test_the_indexer_learns_nothing_from_numbers_that_are_none():
    ours, x = attention("csa"), torch.full((1, 20, SHARED[0]), torch.nan).double()
    with pytest.raises(ValueError, match="20 of 20 rows of scores hold NaN"):
        ours.indexer_loss(x)
    ours.top_k = None  # the warm-up chooses nothing: then the loss tells
    assert ours.indexer_loss(x).isnan()
