"""Signal and noise of gradients: right on average over many draws, and by hand."""

import pytest
import torch
from torch import nn

from course_lib.alignment.gradient_noise import (
    GradientNoise,
    flat_gradient,
    gradient_noise,
    stacked_gradients,
)


def test_both_are_unbiased():
    """A true gradient of squared length 4, noise of variance 9 in each of 5 directions."""
    draw, true = torch.Generator().manual_seed(0), torch.tensor([2.0, 0.0, 0.0, 0.0, 0.0])
    found = [gradient_noise(true + 3 * torch.randn(4, 5, generator=draw)) for _ in range(4000)]
    assert sum(f.signal for f in found) / 4000 == pytest.approx(4, abs=0.5)
    assert sum(f.noise for f in found) / 4000 == pytest.approx(45, abs=0.6)
    assert min(f.signal for f in found) < 0, "few batches can say less than nothing"


def test_equal_gradients_have_no_noise_and_one_is_refused():
    assert gradient_noise(torch.tensor([[3.0, 4.0]] * 3)) == (25.0, 0.0)
    assert GradientNoise(2.0, 6.0).scale == 3.0
    with pytest.raises(ValueError, match="1 gradients"):
        gradient_noise(torch.ones(1, 2))


def test_rows_are_those_of_backward_and_nothing_changes():
    torch.manual_seed(0)
    model, unused = nn.Linear(3, 2), nn.Parameter(torch.ones(4))
    model.unused = unused
    losses = [model(torch.randn(5, 3)).square().sum() for _ in range(2)]
    rows = stacked_gradients(model, losses)
    assert rows.shape == (2, 4 + 6 + 2) and all(p.grad is None for p in model.parameters())
    torch.manual_seed(0)
    nn.Linear(3, 2)
    model(torch.randn(5, 3)).square().sum().backward()
    want = [p.grad.flatten() if p.grad is not None else torch.zeros(4) for p in model.parameters()]
    torch.testing.assert_close(rows[0], torch.cat(want))
    torch.testing.assert_close(rows[0], flat_gradient(model, _again(model)))


def _again(model: nn.Module) -> torch.Tensor:
    torch.manual_seed(0)
    nn.Linear(3, 2)
    return model(torch.randn(5, 3)).square().sum()
