"""Muon, the schedule, and who gets which optimiser."""

import pytest
import torch
from torch import nn

from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.training.optim import Muon, build_optimisers, orthogonalise, split_parameters, warmup_stable_decay


@pytest.mark.parametrize("shape", [(16, 16), (40, 8), (8, 40), (3, 12, 20)])
def test_orthogonalise_keeps_the_directions_and_evens_out_their_sizes(shape):
    torch.manual_seed(0)
    update = torch.randn(shape)
    U, S, Vh = torch.linalg.svd(update, full_matrices=False)
    sizes = torch.linalg.svdvals(orthogonalise(update))
    assert S.max() / S.min() > 1.4                    # uneven before
    assert 0.5 < sizes.min() and sizes.max() < 1.5    # the range that Muon's authors state
    inside = U.mT @ orthogonalise(update) @ Vh.mT     # diagonal: no direction was turned into another
    off = inside - torch.diag_embed(inside.diagonal(dim1=-2, dim2=-1))
    assert off.abs().max() < 1e-4


def test_more_steps_would_leave_orthogonal_matrices_orthogonal():
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))[0]
    got = orthogonalise(rotation)
    torch.testing.assert_close(got / got.norm(), rotation / rotation.norm(), rtol=1e-4, atol=1e-4)


def muon_by_hand(weight, gradients, lr, momentum):
    """One matrix, straight from the description: average, look ahead, polynomial of the singular values."""
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
    parameters = [nn.Parameter(start.clone()), nn.Parameter(start.clone())]     # two of one shape go together
    muon = Muon(parameters, lr=0.1, momentum=0.9)
    for gradient in gradients:
        for parameter in parameters:
            parameter.grad = gradient.clone()
        muon.step()
    want = muon_by_hand(start, gradients, lr=0.1, momentum=0.9)
    for parameter in parameters:
        torch.testing.assert_close(parameter.data, want, rtol=1e-6, atol=1e-6)


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
    ],
)
def test_muon_refuses_what_it_cannot_do(parameter, options, message):
    with pytest.raises(ValueError, match=message):
        Muon([nn.Parameter(parameter)], **options)


def test_every_parameter_has_one_optimiser_and_tables_are_no_matrices():
    model = GPT2(GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3))
    matrices, rest = split_parameters(model)
    assert {id(p) for p in matrices + rest} == {id(p) for p in model.parameters()}
    assert len(matrices) == 2 * 4 and all(p.ndim == 2 for p in matrices)
    assert any(p is model.token_embedding.weight for p in rest)
    muon, adam = build_optimisers(model)
    assert [len(o.param_groups[0]["params"]) for o in (muon, adam)] == [len(matrices), len(rest)]


def test_the_schedule_rises_stays_and_falls():
    assert warmup_stable_decay(0.02, warmup=0.1, decay=0.2) == pytest.approx(0.2)
    assert warmup_stable_decay(0.5, warmup=0.1, decay=0.2) == 1
    assert warmup_stable_decay(0.9, warmup=0.1, decay=0.2) == pytest.approx(0.5)
    assert warmup_stable_decay(0.0, warmup=0.0) == 1
    assert warmup_stable_decay(1.0, decay=0.0) == 1
    with pytest.raises(ValueError, match="progress 1.5 is outside 0 to 1"):
        warmup_stable_decay(1.5)
