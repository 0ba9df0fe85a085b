"""AdamW equals torch's, Muon its description; who gets which optimizer."""

import pytest
import torch
from torch import nn

from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.training.optimizers import (
    AdamW,
    Muon,
    build_optimizers,
    orthogonalize,
    split_parameters,
)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.1},
        {"betas": (0.8, 0.999), "eps": 1e-3},
        {"betas": (0.0, 0.5), "weight_decay": 0.5},
    ],
)
def test_adamw_equals_torchs_over_many_steps(options):
    torch.manual_seed(0)
    starts = [torch.randn(shape, dtype=torch.double) for shape in [(5, 3), (4,), ()]]
    ours, theirs = ([nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    options = {"lr": 0.05, "betas": (0.9, 0.95), "weight_decay": 0.0} | options
    optimizers = AdamW(ours, **options), torch.optim.AdamW(theirs, **options)
    for step in range(60):
        for mine, other in zip(ours, theirs, strict=True):
            # no gradient: neither may move it, or count the step
            skipped = step % 7 == 3 and mine.ndim == 1
            mine.grad = None if skipped else torch.randn_like(mine) * 10.0 ** (step % 5 - 2)
            other.grad = mine.grad
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 60)
            optimizer.step()
    for mine, other, start in zip(ours, theirs, starts, strict=True):
        torch.testing.assert_close(mine.data, other.data, rtol=1e-12, atol=1e-12)
        assert (mine - start).abs().max() > 0.01


@pytest.mark.parametrize("build", [lambda p: AdamW(p, lr=0.1), lambda p: Muon(p, lr=0.1)])
def test_a_closure_finds_the_gradient_and_its_loss_is_returned(build):
    """As torch's: the same step as by hand, and gradients flow inside although `step` itself is
    without."""
    start = torch.randn(3, 3, generator=torch.Generator().manual_seed(5))
    by_hand, by_closure = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    by_hand.square().sum().backward()
    optimizers = build([by_hand]), build([by_closure])
    assert optimizers[0].step() is None

    def closure():
        optimizers[1].zero_grad()
        loss = by_closure.square().sum()
        loss.backward()
        return loss

    assert optimizers[1].step(closure).item() == pytest.approx(start.square().sum().item())
    assert torch.equal(by_hand, by_closure) and not torch.equal(by_hand.data, start)


@pytest.mark.parametrize("kind", [AdamW, Muon])
def test_each_group_of_parameters_steps_by_its_own_settings(kind):
    torch.manual_seed(0)
    starts, rates, decays = torch.randn(3, 4, 3), (0.1, 0.02, 0.3), (0.0, 0.5, 0.1)
    together, alone = ([nn.Parameter(start.clone()) for start in starts] for _ in range(2))
    settings = [{"lr": lr, "weight_decay": decay} for lr, decay in zip(rates, decays, strict=True)]
    groups = [{"params": [one], **own} for one, own in zip(together, settings, strict=True)]
    optimizers = [kind(groups, lr=1.0)]
    optimizers += [kind([one], **own) for one, own in zip(alone, settings, strict=True)]
    for _ in range(3):
        for one, other in zip(together, alone, strict=True):
            one.grad = other.grad = torch.randn(4, 3)
        for optimizer in optimizers:
            optimizer.step()
    for one, other, start in zip(together, alone, starts, strict=True):
        assert not torch.equal(one, start)
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("shape", [(16, 16), (40, 8), (8, 40), (3, 12, 20)])
def test_orthogonalize_keeps_the_directions_and_evens_out_their_sizes(shape):
    torch.manual_seed(0)
    update = torch.randn(shape)
    U, S, Vh = torch.linalg.svd(update, full_matrices=False)
    sizes = torch.linalg.svdvals(orthogonalize(update))
    assert S.max() / S.min() > 1.4  # uneven before
    assert 0.5 < sizes.min() and sizes.max() < 1.5  # the range that Muon's authors state
    inside = U.mT @ orthogonalize(update) @ Vh.mT  # diagonal: no direction was turned into another
    off = inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-4


def test_more_steps_would_leave_orthogonal_matrices_orthogonal():
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    got = orthogonalize(rotation)
    torch.testing.assert_close(got / got.norm(), rotation / rotation.norm(), rtol=1e-4, atol=1e-4)


def muon_by_hand(weight, gradients, lr, momentum):
    """One matrix, straight from the description: average, look ahead, polynomial of the singular
    values."""
    average = torch.zeros_like(weight)
    for gradient in gradients:
        average = momentum * average + (1 - momentum) * gradient
        ahead = (1 - momentum) * gradient + momentum * average
        U, S, Vh = torch.linalg.svd(ahead / ahead.norm(), full_matrices=False)
        for _ in range(5):
            S = 3.4445 * S - 4.7750 * S**3 + 2.0315 * S**5
        weight = weight - lr * max(1, weight.shape[0] / weight.shape[1]) ** 0.5 * (U * S) @ Vh
    return weight


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_equals_the_description_by_singular_values(shape):
    torch.manual_seed(2)
    start = torch.randn(shape, dtype=torch.double)
    gradients = [torch.randn(shape, dtype=torch.double) for _ in range(3)]
    # two of one shape go together
    parameters = [nn.Parameter(start.clone()), nn.Parameter(start.clone())]
    muon = Muon(parameters, lr=0.1, momentum=0.9)
    for gradient in gradients:
        for parameter in parameters:
            parameter.grad = gradient.clone()
        muon.step()
    want = muon_by_hand(start, gradients, lr=0.1, momentum=0.9)
    for parameter in parameters:
        torch.testing.assert_close(parameter.data, want, rtol=1e-6, atol=1e-6)


def test_a_stack_of_matrices_is_stepped_as_each_alone():
    torch.manual_seed(3)
    stack, gradient = torch.randn(4, 6, 3), torch.randn(4, 6, 3)
    together, alone = (
        nn.Parameter(stack.clone()),
        [nn.Parameter(matrix.clone()) for matrix in stack],
    )
    together.grad = gradient
    for parameter, slope in zip(alone, gradient, strict=True):
        parameter.grad = slope * 100.0  # one matrix's step does not depend on the size of its slope
    for parameters in ([together], alone):
        Muon(parameters, lr=0.1).step()
    want = torch.stack([parameter.data for parameter in alone])
    torch.testing.assert_close(together.data, want, rtol=1e-4, atol=1e-5)


def test_muons_weight_decay_shrinks_before_the_step():
    start, slope = torch.randn(4, 4, generator=torch.Generator().manual_seed(4)), torch.eye(4)
    moved = []
    for weight_decay in (0.0, 0.5):
        parameter = nn.Parameter(start.clone())
        parameter.grad = slope
        Muon([parameter], lr=0.1, weight_decay=weight_decay).step()
        moved.append(parameter.data - start)
    torch.testing.assert_close(moved[1], moved[0] - 0.05 * start)


def test_muon_leaves_matrices_without_gradient_alone():
    parameter = nn.Parameter(torch.ones(3, 3))
    Muon([parameter]).step()
    assert torch.equal(parameter.data, torch.ones(3, 3))


@pytest.mark.parametrize(
    ("parameter", "options", "message"),
    [
        (torch.ones(3), {}, r"matrices only, not a parameter of shape \(3,\)"),
        (torch.ones(3, 3), {"lr": -1.0}, "lr -1.0"),
        (torch.ones(3, 3), {"momentum": 1.0}, "momentum 1.0"),
        (torch.ones(3, 3), {"weight_decay": -0.5}, "weight_decay -0.5"),
    ],
)
def test_muon_refuses_what_it_cannot_do(parameter, options, message):
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(parameter)], **options)


def test_every_parameter_has_one_optimizer_and_tables_are_no_matrices():
    model = GPT2(GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3))
    matrices, rest = split_parameters(model)
    assert {id(p) for p in matrices + rest} == {id(p) for p in model.parameters()}
    assert len(matrices) == 2 * 4 and all(p.ndim == 2 for p in matrices)
    assert any(p is model.token_embedding.weight for p in rest)
    for weight_decay in (0.0, 0.1):
        muon, adam = build_optimizers(model, weight_decay=weight_decay)
        assert [p for group in muon.param_groups for p in group["params"]] == matrices
        decayed, spared = adam.param_groups
        assert all(p.ndim == 2 for p in decayed["params"]) and all(
            p.ndim == 1 for p in spared["params"]
        )
        assert len(decayed["params"]) + len(spared["params"]) == len(rest)
        assert (decayed["weight_decay"], spared["weight_decay"]) == (weight_decay, 0.0)


class Mixed(nn.Module):
    """One of everything that a model of the course may hold."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 4)
        self.heads_mix = nn.Linear(4, 4)
        self.experts = nn.Parameter(torch.randn(3, 4, 4))
        self.router = nn.Linear(4, 3, bias=False)
        self.head = nn.Linear(4, 7, bias=False)
        self.tied = nn.Linear(4, 7, bias=False)
        self.tied.weight = self.table.weight


def test_tables_heads_and_routers_stay_with_adamw():
    model = Mixed()
    hidden, rest = split_parameters(model)
    names = {id(p): name for name, p in model.named_parameters()}
    assert {names[id(p)] for p in hidden} == {"heads_mix.weight", "experts"}
    assert {names[id(p)] for p in rest} == {
        "table.weight",
        "heads_mix.bias",
        "router.weight",
        "head.weight",
    }


def test_without_muon_adamw_has_everything():
    model = Mixed()
    (adam,) = build_optimizers(model, muon=False, weight_decay=0.1)
    decayed, spared = (group["params"] for group in adam.param_groups)
    assert {id(p) for p in decayed + spared} == {id(p) for p in model.parameters()}
    assert [p.ndim for p in spared] == [1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": -1.0}, "lr -1.0"),
        ({"eps": -1e-9}, "eps -1e-09"),
        ({"betas": (0.9, 1.0)}, r"betas \(0.9, 1.0\)"),
        ({"weight_decay": -0.1}, "weight_decay -0.1"),
    ],
)
def test_adamw_refuses_what_it_cannot_do(options, message):
    with pytest.raises(ValueError, match=message):
        AdamW([nn.Parameter(torch.ones(3))], **options)


@pytest.mark.parametrize("shape", [(64, 256), (256, 64), (33, 33), (3, 40, 20)])
def test_eight_and_two_rounds_lead_to_one(shape):
    """Also for singular values that reach from 1 to a thousandth."""
    torch.manual_seed(0)
    narrow = min(shape[-2:])
    left, _, right = torch.linalg.svd(torch.randn(*shape), full_matrices=False)
    update = left * torch.logspace(0, -3, narrow) @ right
    values = torch.linalg.svdvals(orthogonalize(update, steps=8, polish=2))
    assert 0.9999 < values.min() and values.max() < 1.0006
    five = torch.linalg.svdvals(orthogonalize(update))
    assert five.min() < 0.75 or five.max() > 1.1


@pytest.mark.parametrize("shape", [(64, 256), (256, 64)])
def test_v4s_muon_takes_steps_of_the_size_of_adamws(shape):
    torch.manual_seed(0)
    matrix = torch.nn.Parameter(torch.randn(shape))
    before = matrix.detach().clone()
    matrix.grad = torch.randn(shape)
    Muon([matrix], lr=0.1, steps=8, polish=2, update_rms=0.18).step()
    step = (before - matrix) / 0.1
    assert abs(step.square().mean().sqrt() - 0.18) < 1e-4
    U, _, V = torch.linalg.svd(matrix.grad, full_matrices=False)
    torch.testing.assert_close(step, 0.18 * 16 * U @ V, rtol=1e-2, atol=2e-3)
