"""How noisy a gradient is: the same loss over many batches, at the same parameters."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class GradientNoise(NamedTuple):
    """What batches agree on, and how far they scatter about it: two squared lengths."""

    signal: float  # of the gradient that a batch without end would have
    noise: float  # of a batch's distance from it, on average: the trace of the covariance

    @property
    def scale(self) -> float:
        """Give the noise for each unit of signal.

        So many such batches, as one, would have a signal as large as their noise. Source:
        McCandlish et al. 2018 (arXiv 1812.06162), equation 2.9, with batches for examples.
        """
        return self.noise / self.signal


def gradient_noise(gradients: Float[Tensor, "B P"]) -> GradientNoise:
    """Estimate signal and noise from the gradients of several batches, both without bias.

    The mean of few gradients is too long, since it holds a share of their noise; that is taken
    away, so that the signal may come out below 0 if there are too few batches.

    >>> gradient_noise(torch.tensor([[3.0, 0.0], [1.0, 0.0]]))    # mean 2; 4 less half of the noise
    GradientNoise(signal=3.0, noise=2.0)
    """
    if len(gradients) < 2:
        raise ValueError(f"{len(gradients)} gradients: noise needs at least 2")
    noise = gradients.var(0).sum().item()
    return GradientNoise(gradients.mean(0).square().sum().item() - noise / len(gradients), noise)


def flat_gradient(model: nn.Module, loss: Float[Tensor, ""]) -> Float[Tensor, "P"]:
    """Give the gradient of a loss by all parameters, as one row; none of them changes."""
    parameters = list(model.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    zeros = (
        torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)
    )
    return torch.cat([gradient.flatten() for gradient in zeros])


def stacked_gradients(
    model: nn.Module, losses: Iterable[Float[Tensor, ""]]
) -> Float[Tensor, "B P"]:
    """Give the gradient of each loss as a row."""
    return torch.stack([flat_gradient(model, loss) for loss in losses])
