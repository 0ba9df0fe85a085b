"""The two-layer network that thinks about each token on its own, and its activations."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def gelu(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Multiply each number by the probability that a standard normal draw lies below it.

    >>> gelu(torch.tensor([-1.0, 0.0, 1.0, 4.0]))
    tensor([-0.1587,  0.0000,  0.8413,  3.9999])

    The exact form, by the error function. Source: Hendrycks and Gimpel 2016 (arXiv 1606.08415),
    section 2.
    """
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def gelu_tanh(x: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
    """Come within 0.0005 of `gelu` by a tanh, as GPT-2 was trained (same source, section 2).

    >>> gelu_tanh(torch.tensor([-1.0, 0.0, 1.0, 4.0]))
    tensor([-0.1588,  0.0000,  0.8412,  3.9999])
    """
    return x * (1 + torch.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


Activation = Callable[[Tensor], Tensor]
FUSED_GELU_TANH = partial(F.gelu, approximate="tanh")  # torch's own `gelu_tanh`


class MLP(nn.Module):
    """Widen to `d_ff`, bend, narrow to `d_model`.

    What bends is `gelu_tanh` as in GPT-2, or another activation: BERT's is `F.gelu`, the exact one.
    """

    def __init__(self, d_model: int, d_ff: int, activation: Activation = FUSED_GELU_TANH) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_ff)
        self.down = nn.Linear(d_ff, d_model)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.down(self.activation(self.up(x)))


class SwiGLU(nn.Module):
    """Widen twice, let one copy gate the other, narrow back: down(silu(gate(x)) * up(x)).

    Three matrices and no biases, as in Llama and DeepSeek; with `d_ff` 2/3 as wide it has the
    parameters of an `MLP`. Source: Shazeer 2020 (arXiv 2002.05202), equation 6.
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_ff, bias=False)
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.down(F.silu(self.gate(x)) * self.up(x))


def clamped_swiglu(
    gate: Float[Tensor, "*B F"], up: Float[Tensor, "*B F"], limit: float
) -> Float[Tensor, "*B F"]:
    """Gate as SwiGLU does, after cutting off what is extreme: silu(min(gate, l)) * clip(up, -l, l).

    The gate has no lower bound: silu is nearly 0 there. Source: DeepSeek-V4 (arXiv 2606.19348),
    section 4.2.3, where `limit` is 10.

    >>> clamped_swiglu(torch.tensor([-99.0, 99.0]), torch.tensor([1.0, -99.0]), limit=10.0)
    tensor([ -0.0000, -99.9955])
    """
    return F.silu(gate.clamp(max=limit)) * up.clamp(-limit, limit)


class ClampedSwiGLU(SwiGLU):
    """A SwiGLU with `clamped_swiglu` between its matrices."""

    def __init__(self, d_model: int, d_ff: int, limit: float) -> None:
        super().__init__(d_model, d_ff)
        self.limit = limit

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.down(clamped_swiglu(self.gate(x), self.up(x), self.limit))
