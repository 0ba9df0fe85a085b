"""Bends and MLPs against torch's own, transformers' Llama, slopes by hand, and what must hold for
any input."""

import math

import pytest
import torch
import torch.nn.functional as F

from course_lib.layers.mlp import MLP, SwiGLU, gelu, gelu_tanh

X = torch.linspace(-8, 8, 3201, dtype=torch.float64)


def test_gelu_is_the_number_times_the_normal_distributions_share_below_it():
    want = [x * 0.5 * math.erfc(-x / math.sqrt(2)) for x in X.tolist()]
    torch.testing.assert_close(
        gelu(X), torch.tensor(want, dtype=torch.float64), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(("ours", "form"), [(gelu, "none"), (gelu_tanh, "tanh")])
def test_both_forms_equal_torchs_and_have_its_slopes(ours, form):
    theirs = F.gelu(X, approximate=form)
    torch.testing.assert_close(ours(X), theirs, rtol=1e-9, atol=1e-12)
    x = X.clone().requires_grad_()
    mine, want = (
        torch.autograd.grad(y.sum(), x)[0] for y in (ours(x), F.gelu(x, approximate=form))
    )
    torch.testing.assert_close(mine, want, rtol=1e-9, atol=1e-12)


def test_the_two_forms_differ_but_by_less_than_half_a_thousandth():
    gap = (gelu(X) - gelu_tanh(X)).abs()
    assert 4e-4 < gap.max() < 5e-4 and 2 < X[gap.argmax()].abs() < 3


def test_mlp_bends_by_the_tanh_form():
    torch.manual_seed(0)
    mlp, x = MLP(6, 24).double(), 3 * torch.randn(2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(mlp(x), mlp.down(gelu_tanh(mlp.up(x))), rtol=1e-9, atol=1e-12)
    assert not torch.allclose(mlp(x), mlp.down(gelu(mlp.up(x))), rtol=1e-6, atol=1e-7)


def test_swiglu_by_hand():
    mlp = SwiGLU(d_model=2, d_ff=2)
    mlp.gate.weight.data = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    mlp.up.weight.data = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    mlp.down.weight.data = torch.tensor([[1.0, -1.0], [0.0, 1.0]])
    # silu(2) * 3 and silu(-2) * 3
    first, second = (2 * 3 / (1 + math.exp(-2)), -2 * 3 / (1 + math.exp(2)))
    torch.testing.assert_close(
        mlp(torch.tensor([2.0, 3.0])), torch.tensor([first - second, second])
    )
    x = torch.randn(9, 2)
    # silu(a) - silu(-a) = a: two gates multiply
    torch.testing.assert_close(mlp(x)[:, 0], x[:, 0] * x[:, 1])


@pytest.mark.parametrize(("d_model", "d_ff"), [(8, 20), (12, 32), (6, 3)])
def test_swiglu_equals_transformers_llama_mlp_with_the_same_weights(d_model, d_ff):
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = modeling.LlamaConfig(
        hidden_size=d_model, intermediate_size=d_ff, num_attention_heads=1
    )
    torch.manual_seed(1)
    ours, theirs, x = SwiGLU(d_model, d_ff), modeling.LlamaMLP(config), torch.randn(2, 3, d_model)
    for name in ("gate", "up", "down"):
        getattr(theirs, f"{name}_proj").load_state_dict(getattr(ours, name).state_dict())
    torch.testing.assert_close(ours(x), theirs(x))


def test_two_thirds_of_the_width_make_the_parameters_equal():
    gated, plain = (
        sum(p.numel() for p in mlp.parameters() if p.ndim == 2)
        for mlp in (SwiGLU(32, 64), MLP(32, 96))
    )
    assert gated == plain == 3 * 32 * 64


@pytest.mark.parametrize("mlp", [MLP(6, 8), SwiGLU(6, 8)])
def test_each_token_is_thought_about_alone(mlp):
    torch.manual_seed(2)
    x = torch.randn(2, 4, 6)
    changed = x.clone()
    changed[:, 2] += 1
    moved = (mlp(changed) != mlp(x)).any(-1).any(0)
    assert moved.tolist() == [False, False, True, False]
