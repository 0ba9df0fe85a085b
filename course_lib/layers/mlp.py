"""The two-layer network that thinks about each token on its own."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Widen to `d_ff`, bend by GELU (its tanh form, as in GPT-2), narrow back to `d_model`."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.up = nn.Linear(d_model, d_ff)
        self.down = nn.Linear(d_ff, d_model)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGLU(nn.Module):
    """Widen twice, let one copy open or close the gates of the other, narrow back: down(silu(gate(x)) * up(x)).

    Three matrices and no biases, as in Llama and DeepSeek; with `d_ff` 2/3 as wide it has the parameters of an `MLP`.
    Source: Shazeer 2020 (arXiv 2002.05202), equation 6.
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate = nn.Linear(d_model, d_ff, bias=False)
        self.up = nn.Linear(d_model, d_ff, bias=False)
        self.down = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return self.down(F.silu(self.gate(x)) * self.up(x))
