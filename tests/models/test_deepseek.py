"""DeepSeek's models: published sizes, what each paper changes, what must hold for all of them, and
looking ahead."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache
from course_lib.layers.attention import SelfAttention
from course_lib.layers.mla import MLA
from course_lib.layers.mlp import SwiGLU
from course_lib.layers.moe import MoE, SigmoidRouter, SoftmaxRouter, route_sigmoid
from course_lib.models.deepseek import (
    DEEPSEEK_V2,
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V3,
    DeepSeekMoE,
    DeepSeekSettings,
    DeepSeekV2,
    DeepSeekV3,
    count_active_parameters,
    mla_cache_numbers_per_token,
)
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters
from course_lib.models.llama import Llama, LlamaSettings

TINY = DeepSeekSettings(
    vocab_size=11,
    max_seq_len=9,
    d_model=12,
    n_layers=3,
    n_heads=2,
    kv_lora_rank=6,
    q_lora_rank=5,
    qk_nope_head_dim=4,
    qk_rope_head_dim=2,
    v_head_dim=4,
    n_experts=6,
    n_groups=3,
    n_limited_groups=2,
    d_expert=8,
    route_scale=2.5,
    mtp=True,
)
MODELS = st.sampled_from([
    (DeepSeekMoE, TINY),
    (DeepSeekV2, TINY),
    (DeepSeekV2, replace(TINY, n_dense_layers=3)),                          # latent attention alone
    (DeepSeekV3, replace(TINY, q_lora_rank=None, q_norm=True, tied=True)),  # the course's own
    (DeepSeekV3, replace(TINY, n_dense_layers=0, n_shared=0)),
])  # fmt: skip


def build(kind, numbers=TINY, seed=0):
    """A model with weights (and biases of the choice) large enough that nothing is even."""
    torch.manual_seed(seed)
    model = kind(numbers if kind is DeepSeekV3 else replace(numbers, mtp=False))
    for name, tensor in model.state_dict().items():
        tensor.normal_(std=0.1 if name.endswith("bias") else 0.5)
    return model


# Sizes
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "numbers", "total", "active", "printed"),
    [
        (DeepSeekV2, DEEPSEEK_V2_LITE, 15_706_484_224, 2_451_435_008, (15.7, 2.4)),
        (DeepSeekV2, DEEPSEEK_V2, 235_741_434_880, 20_851_512_320, (236, 21)),
        (DeepSeekV3, DEEPSEEK_V3, 671_026_404_352, 36_625_603_584, (671, 37)),
    ],
    ids=["V2-Lite", "V2", "V3"],
)
def test_published_sizes_on_the_meta_device(kind, numbers, total, active, printed):
    """To the parameter, as transformers' classes count, and to what the papers print (V2-Lite's
    2.45 as 2.4)."""
    with torch.device("meta"):
        model = kind(numbers)
    ahead = count_parameters(model.mtp) if numbers.mtp else 0
    assert count_parameters(model) - ahead == total == pytest.approx(printed[0] * 1e9, rel=0.002)
    assert count_active_parameters(model) == active == pytest.approx(printed[1] * 1e9, rel=0.022)


def test_looking_ahead_adds_what_the_release_says():
    """README_WEIGHTS.md: 11.5 billion parameters besides embedding and head. The join adds 0.1
    billion to that."""
    with torch.device("meta"):
        ahead = DeepSeekV3(DEEPSEEK_V3).mtp
    assert count_parameters(ahead.block) == pytest.approx(11.5e9, rel=0.001)
    assert count_parameters(ahead.join) == 2 * 7168**2


def test_a_tokens_experts_are_as_wide_as_a_dense_layer():
    for published in (DEEPSEEK_V2, DEEPSEEK_V3):
        assert replace(published, d_expert=None).d_expert == published.d_expert


def test_active_parameters_by_formula():
    C, R, Rq, D, Dr, H, E, K, F_, V = 12, 6, 5, 4, 2, 2, 6, 2, 8, 11
    attention = C * Rq + Rq + Rq * H * (D + Dr) + C * (R + Dr) + R + R * H * 2 * D + H * D * C
    dense, moe = 3 * C * TINY.d_ff, C * E + 3 * C * F_ * (K + 1)
    want = 3 * (attention + 2 * C) + dense + 2 * moe + C + V * C
    assert (
        count_active_parameters(DeepSeekV3(TINY))
        == count_active_parameters(DeepSeekV2(replace(TINY, mtp=False)))
        == want
    )


@pytest.mark.parametrize(
    "model",
    [Llama(LlamaSettings(11, 9, 12, 2, 3, tied=True)), GPT2(GPT2Settings(11, 9, 12, 2, 3))],
    ids=["V1", "V0"],
)
def test_all_of_a_dense_model_is_active_but_for_what_is_looked_up(model):
    looked_up = model.position_embedding.weight.numel() if isinstance(model, GPT2) else 0
    assert count_active_parameters(model) == count_parameters(model) - looked_up


@pytest.mark.parametrize("kind", [DeepSeekV2, DeepSeekV3])
def test_cache_numbers_by_formula_equal_those_of_a_real_cache(kind):
    caches = [KVCache(9) for _ in range(3)]
    build(kind)(torch.zeros(2, 4, dtype=torch.long), caches)
    floats = sum(cache.n_bytes for cache in caches) / 4
    assert floats / (2 * 9) == mla_cache_numbers_per_token(TINY) == 3 * (6 + 2)


def test_the_published_cache_is_that_of_grouped_attention_with_two_and_a_quarter_groups():
    """DeepSeek-V2, table 1: (d_c + d_h^R) l = 4.5 d_h l, where GQA has 2 n_g d_h l and MHA 2 n_h
    d_h l."""
    assert mla_cache_numbers_per_token(DEEPSEEK_V2) == 34_560 == 2.25 * 2 * 128 * 60
    assert mla_cache_numbers_per_token(DEEPSEEK_V2) / (2 * 128 * 128 * 60) == pytest.approx(
        0.0176, abs=1e-4
    )


# What each paper changes
# --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "numbers", "attention", "router"),
    [
        (DeepSeekMoE, TINY, SelfAttention, SoftmaxRouter),
        (DeepSeekV2, TINY, MLA, SoftmaxRouter),
        (DeepSeekV3, TINY, MLA, SigmoidRouter),
        (DeepSeekV2, replace(TINY, n_dense_layers=3), MLA, None),
    ],
)
def test_each_paper_changes_one_part(kind, numbers, attention, router):
    model = kind(numbers if kind is DeepSeekV3 else replace(numbers, mtp=False))
    assert all(type(block.attention) is attention for block in model.blocks)
    kinds = [type(block.mlp) for block in model.blocks]
    assert kinds == [SwiGLU] * numbers.n_dense_layers + [MoE] * (3 - numbers.n_dense_layers)
    assert {type(block.mlp.router) for block in model.blocks if isinstance(block.mlp, MoE)} == {
        router
    } - {None}


def test_a_module_for_looking_ahead_changes_no_other_weight():
    models = []
    for mtp in (False, True):
        torch.manual_seed(3)
        models.append(DeepSeekV3(replace(TINY, mtp=mtp)).state_dict())
    without, with_it = models
    assert all(torch.equal(with_it[name], tensor) for name, tensor in without.items())
    assert {name.split(".")[0] for name in with_it.keys() - without.keys()} == {"mtp"}


# What holds for all of them
# -----------------------------------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(which=MODELS)
def test_hidden_and_logits_are_the_two_halves_of_forward(which):
    model, ids = build(*which), torch.randint(11, (2, 5))
    torch.testing.assert_close(model.logits(model.hidden(ids)), model(ids), rtol=0, atol=0)
    assert model.hidden(ids).shape == (2, 5, 12) and model(ids).shape == (2, 5, 11)


@settings(max_examples=25, deadline=None)
@given(which=MODELS, changed=st.integers(0, 8))
def test_a_later_token_changes_no_earlier_prediction(which, changed):
    model, ids = build(*which), torch.arange(9)[None]
    other = ids.clone()
    other[0, changed] = 10
    before, after = model(ids), model(other)
    torch.testing.assert_close(before[:, :changed], after[:, :changed], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(before[:, changed], after[:, changed])


@settings(max_examples=10, deadline=None)
@given(which=MODELS)
def test_order_matters(which):
    a, b = build(*which)(torch.tensor([[4, 7, 2], [7, 4, 2]]))[:, -1]
    assert not torch.allclose(a, b)


@settings(max_examples=25, deadline=None)
@given(which=MODELS, cuts=st.lists(st.integers(1, 8), unique=True))
def test_cached_equals_uncached_for_any_split(which, cuts):
    model, ids, caches = build(*which), torch.randint(11, (2, 9)), [KVCache(9) for _ in range(3)]
    parts = [model(part, caches) for part in ids.tensor_split(sorted(cuts), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), rtol=1e-4, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    which=MODELS, lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4), cut=st.integers(1, 5)
)
def test_a_left_padded_batch_equals_single_runs(which, lengths, cut):
    model, T = build(*which), max(lengths)
    padding = torch.arange(T) < T - torch.tensor(lengths)[:, None]
    ids, caches, cut = (
        torch.randint(11, (len(lengths), T)),
        [KVCache(T) for _ in range(3)],
        min(cut, T - 1),
    )
    first = [model(ids[:, :cut], caches, padding[:, :cut])] if cut else []
    whole, cached = (
        model(ids, padding=padding),
        torch.cat([*first, model(ids[:, cut:], caches, padding)], dim=1),
    )
    for row, n in enumerate(lengths):
        alone = model(ids[row : row + 1, T - n :])
        for out in (whole, cached):
            torch.testing.assert_close(out[row : row + 1, T - n :], alone, rtol=1e-4, atol=1e-4)


def test_a_bias_that_changes_no_choice_changes_no_weight():
    """The bias moves experts up and down the ranking and must not leak into what they count
    (DeepSeek-V3, eq. 16)."""
    model, ids = build(DeepSeekV3), torch.randint(11, (4, 9))
    layers = [block.mlp for block in model.blocks if isinstance(block.mlp, MoE)]
    before = model(ids), [layer.routing for layer in layers]
    for layer in layers:
        layer.router.bias += 3.7  # the same for all: no ranking moves
    torch.testing.assert_close(model(ids), before[0], rtol=0, atol=0)
    for layer, old in zip(layers, before[1], strict=True):
        assert torch.equal(layer.routing.chosen, old.chosen) and torch.equal(
            layer.routing.weights, old.weights
        )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), size=st.floats(0.01, 0.5))
def test_a_bias_that_moves_some_choices_leaves_the_others_as_they_were(seed, size):
    model, ids = build(DeepSeekV3, seed=seed), torch.randint(11, (4, 9))
    first = model.blocks[1].mlp  # the first with experts: its input does not depend on any bias
    model(ids)
    old = first.routing
    first.router.bias += size * torch.randn(6, generator=torch.Generator().manual_seed(seed))
    model(ids)
    new = first.routing
    same = (old.chosen.sort(-1).values == new.chosen.sort(-1).values).all(-1)
    for a, b in ((old.weights, new.weights), (old.scores, new.scores)):
        torch.testing.assert_close(a[same].sort(-1).values, b[same].sort(-1).values)
    torch.testing.assert_close(new.weights.sum(-1), torch.full((4, 9), 2.5))


def test_the_bias_does_choose():
    model, ids = build(DeepSeekV3), torch.randint(11, (4, 9))
    layer = model.blocks[1].mlp
    layer.router.bias[4] = 100.0
    model(ids)
    assert (layer.routing.chosen == 4).any(-1).all()
    logits = layer.routing.scores.logit()
    again = route_sigmoid(
        logits, layer.router.bias, n_chosen=2, n_groups=3, n_limited_groups=2, scale=2.5
    )
    torch.testing.assert_close(again.weights, layer.routing.weights, rtol=1e-4, atol=1e-5)


# Looking ahead
# --------------------------------------------------------------------------------------------------


def test_looking_ahead_shares_embedding_and_head():
    model, ids = build(DeepSeekV3), torch.randint(11, (2, 9))
    hidden = model.hidden(ids)[:, :-1]
    ahead = model.predict_ahead(hidden, ids[:, 1:])
    assert ahead.shape == (2, 8, 11)
    ahead.logsumexp(-1).mean().backward()
    assert (
        model.token_embedding.weight.grad.abs().sum() > 0 and model.head.weight.grad.abs().sum() > 0
    )
    names = {name.split(".")[1] for name, _ in model.named_parameters() if name.startswith("mtp")}
    assert names == {"norm_hidden", "norm_embedding", "join", "block", "norm"}


@settings(max_examples=20, deadline=None)
@given(changed=st.integers(0, 8))
def test_looking_ahead_sees_one_token_more_than_the_model_and_none_after(changed):
    model, ids = build(DeepSeekV3), torch.arange(9)[None]
    other = ids.clone()
    other[0, changed] = 10
    before, after = (model.predict_ahead(model.hidden(x)[:, :-1], x[:, 1:]) for x in (ids, other))
    unseen = max(0, changed - 1)  # place t looks at the tokens up to t + 1
    torch.testing.assert_close(before[:, :unseen], after[:, :unseen], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(before[:, unseen], after[:, unseen])


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(1, 7), unique=True), pad=st.integers(0, 3))
def test_looking_ahead_through_a_cache_and_padded_equals_single_rows_at_once(cuts, pad):
    model, ids, cache = build(DeepSeekV3), torch.randint(11, (2, 9)), KVCache(8)
    padding = torch.arange(9) < torch.tensor([[pad], [0]])
    hidden = model.hidden(ids, padding=padding)[:, :-1]
    parts = []
    for h, following in zip(
        *(x.tensor_split(sorted(cuts), dim=1) for x in (hidden, ids[:, 1:])), strict=True
    ):
        parts.append(
            model.predict_ahead(h, following, cache, padding[:, : cache.length + h.shape[1]])
        )
    for row, start in ((0, pad), (1, 0)):
        alone = ids[row : row + 1, start:]
        want = model.predict_ahead(model.hidden(alone)[:, :-1], alone[:, 1:])
        torch.testing.assert_close(
            torch.cat(parts, dim=1)[row : row + 1, start:], want, rtol=1e-4, atol=1e-4
        )


def test_looking_ahead_learns_the_token_after_the_next():
    """Made-up texts that go on by a fixed rule: the module must come to know the token two
    ahead."""
    torch.manual_seed(0)
    model = DeepSeekV3(TINY)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    ids = (torch.arange(9) * torch.tensor([[1], [2], [3]]) + torch.tensor([[0], [5], [4]])) % 11
    for _ in range(120):
        hidden = model.hidden(ids[:, :-1])
        loss = F.cross_entropy(model.logits(hidden).flatten(0, 1), ids[:, 1:].flatten())
        ahead = model.predict_ahead(hidden[:, :-1], ids[:, 1:-1])
        loss = loss + F.cross_entropy(ahead.flatten(0, 1), ids[:, 2:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (ahead.argmax(-1) == ids[:, 2:]).float().mean() > 0.95


def test_a_model_without_the_module_says_so():
    model = DeepSeekV3(replace(TINY, mtp=False))
    with pytest.raises(
        ValueError, match="no module for multi-token prediction: its settings say mtp=False"
    ):
        model.predict_ahead(torch.zeros(1, 2, 12), torch.zeros(1, 2, dtype=torch.long))
    with pytest.raises(ValueError, match="token 11 is outside the vocabulary"):
        DeepSeekV3(TINY).predict_ahead(torch.zeros(1, 1, 12), torch.tensor([[11]]))


# Settings
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"n_dense_layers": -1}, "n_dense_layers -1 is below 0"),
        ({"q_lora_rank": 0}, "q_lora_rank 0 is below 1"),
        ({"n_dense_layers": 4}, "n_dense_layers 4 is not between 0 and n_layers 3"),
        ({"n_chosen": 7}, "n_chosen 7 is not between 1 and n_experts 6"),
        ({"n_groups": 4}, "n_experts 6 is not divisible by n_groups 4"),
        (
            {"n_limited_groups": 1, "n_chosen": 3},
            "n_chosen 3 is more than the 2 experts of 1 groups",
        ),
        ({"n_shared": -1}, "n_shared -1 is below 0"),
        ({"qk_rope_head_dim": 5}, "qk_rope_head_dim 5 cannot be cut into pairs"),
        ({"kv_lora_rank": 0}, "kv_lora_rank 0 is below 1"),
        ({"d_expert": 0}, "d_expert 0 is below 1"),
        ({"route_scale": 0.0}, "route_scale 0.0 is not above 0"),
        ({"vocab_size": 0}, "vocab_size 0 is below 1"),
    ],
)
def test_impossible_settings_name_their_numbers(numbers, message):
    with pytest.raises(ValueError, match=message):
        replace(TINY, **numbers)


@pytest.mark.parametrize("kind", [DeepSeekMoE, DeepSeekV2])
def test_only_v3_predicts_further(kind):
    with pytest.raises(ValueError, match=f"mtp True: {kind.__name__} predicts no token further"):
        kind(TINY)
