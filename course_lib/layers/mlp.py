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
