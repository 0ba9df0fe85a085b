"""DeepSeek sparse attention: which tokens are chosen, that nothing later tells, what is learnt."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.inference.cache import KVCache
from course_lib.layers.mla import MLA
from course_lib.layers.position import RotaryPosition
from course_lib.layers.sparse_attention import LightningIndexer, SparseMLA, select_top_k
from course_lib.models.deepseek import (
    DEEPSEEK_V32,
    DeepSeekV3,
    DeepSeekV32,
    DeepSeekV32Settings,
    mla_cache_numbers_per_token,
)

WIDTHS = (24, 3, 8, 6, 4, 5, 10)  # d_model, heads, latent, content, rotary, value, query latent


def sparse(top_k: int, index_heads: int = 16, seed: int = 0) -> SparseMLA:
    torch.manual_seed(seed)
    attention = SparseMLA(index_heads, 6, top_k, *WIDTHS).double()
    for parameter in attention.parameters():
        parameter.data.normal_(std=0.5)
    return attention


def chosen_one_by_one(scores, k):
    """The k best of each row: sort by score from the top, then by place."""
    rows = []
    for row in scores.tolist():
        best = sorted(range(len(row)), key=lambda s: (-row[s], s))[:k]
        rows.append([s in best for s in range(len(row))])
    return torch.tensor(rows)


@pytest.mark.parametrize("k", [1, 2, 5, 8, 20])
def test_the_best_are_chosen_and_of_equal_ones_the_earliest(k):
    torch.manual_seed(k)
    scores = torch.randint(4, (50, 8)).float()  # many are equal
    assert torch.equal(select_top_k(scores, k), chosen_one_by_one(scores, k))


def test_the_indexer_is_equation_1_written_with_loops():
    torch.manual_seed(0)
    indexer = LightningIndexer(12, 7, n_heads=3, head_dim=6, rotary=RotaryPosition(4)).double()
    indexer.key_norm.bias.data.normal_()
    x, q_latent = torch.randn(1, 5, 12).double(), torch.randn(1, 5, 7).double()
    got = indexer.scores(x, q_latent, indexer.keys(x))[0]

    def turned(vector, place):
        angles = [place * 10_000 ** (-i / 2) for i in range(2)]
        pairs = [
            complex(vector[i], vector[i + 2])
            * complex(torch.tensor(a).cos(), torch.tensor(a).sin())
            for i, a in enumerate(angles)
        ]
        return torch.tensor([p.real for p in pairs] + [p.imag for p in pairs] + vector[4:].tolist())

    for t in range(5):
        for s in range(5):
            key = F.layer_norm(x[0, s] @ indexer.key.weight.T, (6,), None, None, 1e-6)
            key = turned(key * indexer.key_norm.weight + indexer.key_norm.bias, s)
            total = 0.0
            for j, query in enumerate((indexer.q_up.weight @ q_latent[0, t]).split(6)):
                weight = indexer.head_weights.weight[j] @ x[0, t]
                total += float(weight * max(0.0, float(turned(query, t) @ key)))
            assert abs(total / (3 * 6) ** 0.5 - float(got[t, s])) < 1e-5


def test_with_room_for_all_it_is_mla():
    ours, x = sparse(top_k=9), torch.randn(2, 9, 24).double()
    plain = MLA(*WIDTHS).double()
    plain.load_state_dict({n: t for n, t in ours.state_dict().items() if "indexer" not in n})
    torch.testing.assert_close(ours(x), plain(x))
    ours.top_k = 8
    assert not torch.allclose(ours(x), plain(x))
    torch.testing.assert_close(ours(x)[:, :8], plain(x)[:, :8])


def test_what_is_not_chosen_is_not_read():
    """Attention over the chosen tokens alone, token by token, from the plain form."""
    ours, x = sparse(top_k=3), torch.randn(1, 12, 24).double()
    scores = ours.indexer.scores(x, ours.q_latent(x), ours.indexer.keys(x))[0]
    latent, k_rotary = ours.latents(x)
    up_k, up_v = ours.up()
    want = []
    for t in range(12):
        chosen = chosen_one_by_one(scores[t : t + 1, : t + 1], 3)[0].nonzero()[:, 0]
        content, rotary = (q[:, :, t] for q in ours.queries(x))
        keys = torch.einsum("sr,hdr->hsd", latent[0, chosen], up_k)
        logits = torch.einsum("hd,hsd->hs", content[0], keys) + rotary[0] @ k_rotary[0, chosen].T
        weights = (logits / 10**0.5).softmax(-1)
        want.append(torch.einsum("hs,sr,hdr->hd", weights, latent[0, chosen], up_v).flatten())
    torch.testing.assert_close(ours(x)[0], torch.stack(want) @ ours.out.weight.T)


@pytest.mark.parametrize("index_heads", [1, 16])
def test_a_cached_text_chooses_as_the_whole_one_even_where_scores_are_equal(index_heads):
    ours, x = sparse(4, index_heads), torch.randn(3, 20, 24).double()
    cache, cuts = KVCache(20), (0, 3, 9, 10, 17, 18, 19, 20)
    parts = [ours(x[:, a:b], cache) for a, b in zip(cuts, cuts[1:], strict=False)]
    torch.testing.assert_close(torch.cat(parts, 1), ours(x))


def test_a_later_token_changes_nothing_before_it():
    ours, x = sparse(4), torch.randn(1, 20, 24).double()
    before = ours(x)
    x[:, 13] += 1
    assert torch.equal(ours(x)[:, :13], before[:, :13])
    assert not torch.allclose(ours(x)[:, 13:], before[:, 13:])


@pytest.mark.parametrize("top_k", [None, 5])
def test_the_indexers_loss_is_the_divergence_and_teaches_the_indexer_alone(top_k):
    ours, x = sparse(5), torch.randn(2, 11, 24).double()
    ours.top_k = top_k
    loss = ours.indexer_loss(x)
    scores = ours.indexer.scores(x, ours.q_latent(x), ours.indexer.keys(x))
    selected = ours.select(scores, None)
    weights = ours.weights_of(selected, *ours.queries(x), *ours.latents(x)).sum(1)
    total = 0.0
    for b in range(2):
        for t in range(11):
            seen = selected[b, t].nonzero()[:, 0]
            p = weights[b, t, seen] / weights[b, t, seen].sum()
            total += F.kl_div(scores[b, t, seen].log_softmax(0), p, reduction="sum").item()
    assert abs(loss.item() - total / 22) < 1e-9 and loss > 0
    loss.backward()
    taught = {name for name, p in ours.named_parameters() if p.grad is not None and p.grad.any()}
    assert taught == {n for n, _ in ours.named_parameters() if n.startswith("indexer.")}


def test_padding_is_never_chosen():
    ours, x = sparse(4), torch.randn(1, 12, 24).double()
    padding = torch.zeros(2, 17).bool()
    padding[0, :5] = True
    padded = torch.cat([torch.randn(1, 5, 24).double(), x], 1)
    other = torch.randn(1, 17, 24).double()
    together = ours(torch.cat([padded, other]), padding=padding)
    torch.testing.assert_close(together[1:], ours(other))
    cache = KVCache(17)
    rows = torch.cat([padded, other])
    parts = [ours(rows[:, a:b], cache, padding[:, :b]) for a, b in ((0, 8), (8, 16), (16, 17))]
    torch.testing.assert_close(torch.cat(parts, 1)[:, 5:], together[:, 5:])


SMALL = DeepSeekV32Settings(
    30, 24, d_model=32, n_layers=2, n_heads=4, q_lora_rank=12, index_top_k=4
)


def test_all_layers_losses_add_up_and_fall_where_they_are_followed():
    torch.manual_seed(0)
    model, ids = DeepSeekV32(SMALL), torch.randint(30, (8, 24))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    model.set_top_k(None)
    x, losses = model.token_embedding(ids), []
    for block in model.blocks:
        losses.append(block.attention.indexer_loss(block.norm_1(x)).item())
        x = block(x)
    assert abs(model.indexer_loss(ids).item() - sum(losses)) < 1e-5
    indexers = [p for name, p in model.named_parameters() if ".indexer." in name]
    optimizer = torch.optim.Adam(indexers, lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        model.indexer_loss(ids).backward()
        optimizer.step()
    assert model.indexer_loss(ids).item() < 0.5 * sum(losses)


def test_published_sizes():
    with torch.device("meta"):
        model = DeepSeekV32(DEEPSEEK_V32)
    count = {name: p.numel() for name, p in model.named_parameters()}
    assert sum(count.values()) == 671_877_929_216
    assert sum(n for name, n in count.items() if ".indexer." in name) == 851_524_864
    assert mla_cache_numbers_per_token(DEEPSEEK_V32) == 61 * (512 + 64 + 128)
    assert isinstance(model, DeepSeekV3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"q_lora_rank": None}, "q_lora_rank None: the indexer reads"),
        ({"index_head_dim": 8}, "index_head_dim 8 has no room for qk_rope_head_dim 16"),
        ({"index_top_k": 0}, "index_top_k 0"),
        ({"q_norm": True}, "q_norm True"),
    ],
)
def test_settings_that_will_not_do_are_named(change, message):
    sizes = dict(d_model=32, n_layers=2, n_heads=4, q_lora_rank=12)
    with pytest.raises(ValueError, match=message):
        DeepSeekV32Settings(30, 24, **(sizes | change))


def test_without_a_latent_of_queries_there_is_no_indexer():
    with pytest.raises(ValueError, match="q_lora_rank None"):
        SparseMLA(4, 6, 3, *WIDTHS[:-1])


@pytest.mark.parametrize("k", [0, -2])
def test_a_choice_of_none_is_named(k):
    with pytest.raises(ValueError, match=f"k {k}: at least 1 of the 5"):
        select_top_k(torch.zeros(2, 5), k)
    with pytest.raises(ValueError, match=f"index_top_k {k}"):
        SparseMLA(4, 6, k, *WIDTHS)
    with pytest.raises(ValueError, match=f"index_n_heads {k}"):
        SparseMLA(k, 6, 3, *WIDTHS)


@pytest.mark.parametrize("broken", ["head_weights", "key"])
def test_scores_that_are_nan_are_named_not_chosen_from(broken):
    ours, x = sparse(top_k=3), torch.randn(2, 9, 24).double()
    getattr(ours.indexer, broken).weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match="18 of 18 rows of scores hold NaN"):
        ours(x)
    with pytest.raises(ValueError, match="rows of scores hold NaN"):
        ours.indexer_loss(x)
    ours.top_k = None  # all are read, and nothing is chosen
    assert ours(x).isfinite().all()
