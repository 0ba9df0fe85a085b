"""The layers against torch's own modules and against what must hold for any input."""

import math

import pytest
import torch
from torch import nn

from course_lib.inference.cache import KVCache
from course_lib.layers.attention import SelfAttention, causal_attention
from course_lib.layers.embedding import Embedding
from course_lib.layers.mlp import MLP
from course_lib.layers.norm import LayerNorm, layer_norm


def attention_by_loop(q, k, v):
    """One query and one head at a time, from the formula."""
    B, H, T, D = q.shape
    S = k.shape[2]
    out = torch.zeros(B, H, T, D)
    for b in range(B):
        for h in range(H):
            for t in range(T):
                seen = S - T + t + 1
                scores = torch.stack([q[b, h, t] @ k[b, h, s] / math.sqrt(D) for s in range(seen)])
                weights = scores.exp() / scores.exp().sum()
                out[b, h, t] = sum(weights[s] * v[b, h, s] for s in range(seen))
    return out


@pytest.mark.parametrize(("T", "S"), [(5, 5), (1, 1), (1, 4), (3, 7), (6, 7)])
def test_attention_equals_the_formula_by_loop(T, S):
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 3, T, 4), torch.randn(2, 3, S, 4), torch.randn(2, 3, S, 4)
    torch.testing.assert_close(causal_attention(q, k, v), attention_by_loop(q, k, v))


def test_more_queries_than_keys_is_refused():
    with pytest.raises(ValueError, match="3 queries cannot stand at the last of 2 keys"):
        causal_attention(torch.zeros(1, 1, 3, 4), torch.zeros(1, 1, 2, 4), torch.zeros(1, 1, 2, 4))


@pytest.mark.parametrize(("d_model", "n_heads"), [(12, 1), (12, 3), (20, 4)])
def test_self_attention_equals_torchs_module_with_the_same_weights(d_model, n_heads):
    torch.manual_seed(1)
    ours, theirs = (
        SelfAttention(d_model, n_heads),
        nn.MultiheadAttention(d_model, n_heads, batch_first=True),
    )
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(2, 7, d_model)
    mask = nn.Transformer.generate_square_subsequent_mask(7)
    torch.testing.assert_close(ours(x), theirs(x, x, x, attn_mask=mask, need_weights=False)[0])


def test_a_later_token_changes_no_earlier_output():
    torch.manual_seed(2)
    attention, x = SelfAttention(12, 3), torch.randn(1, 6, 12)
    changed = x.clone()
    changed[0, 4] += 1
    before, after = attention(x), attention(changed)
    assert torch.equal(before[0, :4], after[0, :4])
    assert not torch.allclose(before[0, 4:], after[0, 4:])


@pytest.mark.parametrize("cuts", [(3,), (1, 2, 3, 4, 5), (2, 5)])
def test_cached_equals_uncached_for_any_split(cuts):
    torch.manual_seed(3)
    attention, x, cache = SelfAttention(12, 3), torch.randn(2, 6, 12), KVCache(6)
    parts = [attention(part, cache) for part in x.tensor_split(list(cuts), dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), attention(x))
    assert cache.length == 6


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="d_model 100 is not divisible by n_heads 3"):
        SelfAttention(100, 3)


def test_layer_norm_by_formula_equals_the_module_and_torch():
    torch.manual_seed(4)
    x, norm = 5 * torch.randn(3, 4, 10) + 2, LayerNorm(10)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    want = nn.functional.layer_norm(x, (10,), norm.weight, norm.bias)
    torch.testing.assert_close(layer_norm(x, norm.weight, norm.bias), want)
    assert torch.equal(norm(x), want)


def test_mlp_is_two_matrices_and_gpt2s_gelu():
    torch.manual_seed(5)
    mlp, x = MLP(6, 24), torch.randn(2, 3, 6)
    wide = x @ mlp.up.weight.T + mlp.up.bias
    bent = 0.5 * wide * (1 + torch.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    torch.testing.assert_close(mlp(x), bent @ mlp.down.weight.T + mlp.down.bias)


def test_the_tied_head_finds_the_token_that_went_in():
    table = Embedding(7, 5)
    table.weight.data = torch.eye(7)[:, :5]
    assert table.logits(table(torch.tensor([[0, 3, 4]]))).argmax(-1).tolist() == [[0, 3, 4]]
