"""Which way to step and how far: Muon for matrices, AdamW for the rest, and a schedule for the size of the step."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def warmup_stable_decay(progress: float, warmup: float = 0.05, decay: float = 0.5) -> float:
    """Give the share of the peak learning rate at `progress` (0 to 1) through the run: up a ramp, level, down to 0.

    `warmup` and `decay` are the shares of the run spent on the two ramps. Source: MiniCPM (arXiv 2404.06395), section
    4, with a linear decay.

    >>> [warmup_stable_decay(p) for p in (0.0, 0.025, 0.3, 0.75, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"progress {progress} is outside 0 to 1")
    up = progress / warmup if warmup else 1.0
    down = (1 - progress) / decay if decay else 1.0
    return min(up, 1.0, down)


def orthogonalise(update: Float[Tensor, "*N R C"], steps: int = 5) -> Float[Tensor, "*N R C"]:
    """Pull all singular values of each matrix close to 1 (about 0.7 to 1.2), keeping its singular vectors.

    If `update` is U S V^T, the result is near U V^T: the nearest matrix that stretches every direction alike. Five
    Newton-Schulz steps (odd polynomials of the singular values) do it with matrix products only. Source: Jordan et al.
    2024, "Muon".
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = update.shape[-2] > update.shape[-1]
    X = update.mT if tall else update
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X.mT if tall else X


class Muon(torch.optim.Optimizer):
    """Gradient descent with momentum, whose step is made orthogonal before it is taken (matrices only).

    Nesterov momentum 0.95; a step on an (R, C) matrix is scaled by sqrt(max(1, R / C)), as in the authors' code.
    Differs from it: our numbers stay in the gradient's own precision (theirs: bfloat16), and matrices of one shape are
    orthogonalised together.
    """

    def __init__(self, parameters, lr: float = 0.02, momentum: float = 0.95) -> None:
        if lr < 0 or not 0 <= momentum < 1:
            raise ValueError(f"Muon needs lr >= 0 and 0 <= momentum < 1, not lr {lr} and momentum {momentum}")
        super().__init__(parameters, {"lr": lr, "momentum": momentum})
        for matrix in self.matrices():
            if matrix.ndim != 2:
                raise ValueError(f"Muon steps matrices only, not a parameter of shape {tuple(matrix.shape)}")

    def matrices(self) -> list[nn.Parameter]:
        return [matrix for group in self.param_groups for matrix in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Take one step on every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for (rows, columns), matrices in by_shape.items():
                steps = orthogonalise(torch.stack([self.momentum(matrix, group["momentum"]) for matrix in matrices]))
                torch._foreach_add_(matrices, list(steps), alpha=-group["lr"] * max(1, rows / columns) ** 0.5)

    def momentum(self, matrix: nn.Parameter, beta: float) -> Tensor:
        """Average the gradients so far, the newest most, and look one step ahead (Nesterov)."""
        state = self.state[matrix]
        average = state.setdefault("momentum", torch.zeros_like(matrix))
        average.lerp_(matrix.grad, 1 - beta)
        return matrix.grad.lerp(average, beta)


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split a model's parameters into hidden matrices (for Muon) and embeddings, biases, norms (for AdamW)."""
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in tables]
    chosen = {id(p) for p in matrices}
    return matrices, [p for p in model.parameters() if id(p) not in chosen]


def build_optimisers(model: nn.Module, muon_lr: float = 0.02, adam_lr: float = 4e-3) -> list[torch.optim.Optimizer]:
    """Give the hidden matrices to Muon and all the rest to torch's AdamW (betas 0.9 and 0.95, no weight decay)."""
    matrices, rest = split_parameters(model)
    adam = torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [Muon(matrices, lr=muon_lr), adam]
