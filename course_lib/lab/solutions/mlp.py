"""Solutions of lesson 07; the notebook quotes them."""

import torch
import torch.nn.functional as F
from torch import Tensor


def head_writes_solution(mixed: Tensor, W_O: Tensor) -> Tensor:
    return torch.stack(
        [head @ part.T for head, part in zip(mixed, W_O.chunk(len(mixed), dim=1), strict=True)]
    )


def write_facts_solution(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return keys, torch.full((len(keys),), -1.0), values.T


def mlp_gradients_solution(
    x: Tensor, W_up: Tensor, W_down: Tensor, grad_output: Tensor
) -> tuple[Tensor, Tensor]:
    hidden = (x @ W_up.T).relu()
    grad_hidden = (grad_output @ W_down) * (hidden > 0)
    return grad_hidden.T @ x, grad_output.T @ hidden


def swiglu_solution(x: Tensor, W_gate: Tensor, W_up: Tensor, W_down: Tensor) -> Tensor:
    return (F.silu(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T


def direct_logit_attribution_solution(hidden: Tensor, W_down: Tensor, direction: Tensor) -> Tensor:
    return hidden * (direction @ W_down)
