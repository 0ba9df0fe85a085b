"""Which way to step and how far: AdamW for every number on its own, Muon for whole matrices."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.training import distributed


class AdamW(torch.optim.Optimizer):
    """Step every number by its average gradient over the root of its average squared gradient.

    A step has about the size of `lr`, however large the gradients are. Weight decay shrinks the
    numbers on its own, so that it is not divided by anything. Sources: Kingma and Ba 2014 (arXiv
    1412.6980), algorithm 1; Loshchilov and Hutter 2017 (arXiv 1711.05101), algorithm 2. The same
    numbers as torch's AdamW, which is faster.
    """

    def __init__(
        self,
        parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps < 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            numbers = f"lr {lr}, eps {eps}, weight_decay {weight_decay}"
            raise ValueError(f"AdamW needs {numbers}, none below 0, and betas {betas} in [0, 1)")
        super().__init__(
            parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take one step on every parameter that has a gradient, by `closure` if there is one."""
        loss = call_closure(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.step_one(parameter, self.state[parameter], **group)
        return loss

    def step_one(self, parameter, state, lr, betas, eps, weight_decay, **_) -> None:
        """Update both averages, undo their early pull towards 0, shrink the parameter, step."""
        if not state:
            state.update(
                step=torch.tensor(0),
                average=torch.zeros_like(parameter),
                square=torch.zeros_like(parameter),
            )
        average, square = state["average"], state["square"]
        state["step"] += 1
        t = state["step"].item()
        average.lerp_(parameter.grad, 1 - betas[0])
        square.lerp_(parameter.grad**2, 1 - betas[1])
        # Both averages began at 0, and hold only 1 - beta^t of what they average. eps, after the
        # root, keeps a number whose gradient is nearly always 0 from steps made of rounding.
        typical = (square / (1 - betas[1] ** t)).sqrt() + eps
        parameter.mul_(1 - lr * weight_decay)  # not in the gradient: nothing divides it
        parameter.sub_(lr * average / (1 - betas[0] ** t) / typical)


def call_closure(closure: Callable[[], Tensor] | None) -> Tensor | None:
    """Call what computes a loss and its gradients, as torch's optimizers do; return the loss.

    `step` runs without gradients; the closure needs them.
    """
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def orthogonalize(
    update: Float[Tensor, "*N R C"], steps: int = 5, polish: int = 0
) -> Float[Tensor, "*N R C"]:
    """Pull all singular values of each matrix close to 1, keeping its singular vectors.

    They come out at about 0.7 to 1.2. If `update` is U S V^T, the result is near U V^T: the nearest
    matrix that stretches every direction alike. Five Newton-Schulz steps (odd polynomials of the
    singular values) do it with matrix products only. Source: Jordan et al. 2024, "Muon".

    DeepSeek-V4 (arXiv 2606.19348, algorithm 1) takes 8 steps and then 2 of another polynomial, here
    `polish`, which has 1 for a fixed point: singular values between 1.0000 and 1.0005.
    """
    # Each round turns a singular value s into a s + b s^3 + c s^5. The slope a at 0 is chosen
    # large, so that small values grow fast; the price is that they end near 1, not at it.
    rounds = [(3.4445, -4.7750, 2.0315)] * steps + [(2.0, -1.5, 0.5)] * polish
    tall = update.shape[-2] > update.shape[-1]
    X = update.mT if tall else update  # X X^T is then the smaller of the two squares
    X = X / (X.norm(dim=(-2, -1), keepdim=True) + 1e-7)  # no singular value is above the norm
    for a, b, c in rounds:
        A = X @ X.mT
        X = a * X + (b * A + c * A @ A) @ X
    return X.mT if tall else X


def orthogonal_steps(updates: list[Tensor], steps: int = 5, polish: int = 0) -> list[Tensor]:
    """Orthogonalize matrices of one shape: all together, or one by one where they are sliced.

    No slice of a matrix knows its singular values. A process that holds slices puts each matrix
    together, computes the whole step, as all others do, and keeps its slice of that.
    """
    if not distributed.is_sliced(updates[0]):
        return list(orthogonalize(torch.stack(updates), steps, polish))
    return [
        distributed.shard_like(orthogonalize(u.full_tensor(), steps, polish), u) for u in updates
    ]


class Muon(torch.optim.Optimizer):
    """Gradient descent with momentum, whose step is made orthogonal before it is taken.

    For matrices and stacks of them. Nesterov momentum 0.95; a step on an (R, C) matrix is scaled by
    sqrt(max(1, R / C)), as in the authors' code. A parameter of shape (E, R, C), as the experts of
    one layer, is E matrices. Differs from the authors' code: our numbers stay in the gradient's own
    precision (theirs: bfloat16), and matrices of one shape are orthogonalised together.

    DeepSeek-V4's (arXiv 2606.19348, algorithm 1) is `steps=8, polish=2, update_rms=0.18`: a step's
    numbers are then as large as AdamW's, whatever the shape, and so is a good `lr`.
    """

    def __init__(
        self,
        parameters,
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        polish: int = 0,
        update_rms: float | None = None,
    ) -> None:
        if lr < 0 or weight_decay < 0 or not 0 <= momentum < 1:
            numbers = f"lr {lr} and weight_decay {weight_decay}"
            raise ValueError(
                f"Muon needs {numbers}, neither below 0, and momentum {momentum} in [0, 1)"
            )
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.rounds, self.update_rms = (steps, polish), update_rms
        for matrix in (matrix for group in self.param_groups for matrix in group["params"]):
            if matrix.ndim < 2:
                raise ValueError(
                    f"Muon steps matrices only, not a parameter of shape {tuple(matrix.shape)}"
                )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take one step on every matrix that has a gradient, by `closure` if there is one."""
        loss = call_closure(closure)
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape.setdefault(matrix.shape, []).append(matrix)
            for (*_, rows, columns), matrices in by_shape.items():
                steps = orthogonal_steps(
                    [self.momentum(matrix, group["momentum"]) for matrix in matrices], *self.rounds
                )
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(
                    matrices, steps, alpha=-group["lr"] * self.size_of_step(rows, columns)
                )
        return loss

    def size_of_step(self, rows: int, columns: int) -> float:
        """Tell what an orthogonal matrix is multiplied by, before the learning rate.

        An orthogonal matrix keeps lengths. A tall one spreads them over R numbers where C were,
        each smaller; the root makes them as large again. With `update_rms` (V4, equation 28) the
        root mean square of the step is that: an orthogonal matrix's is 1 / sqrt(max(R, C)).
        """
        if self.update_rms is None:
            return max(1, rows / columns) ** 0.5
        return self.update_rms * max(rows, columns) ** 0.5

    def momentum(self, matrix: nn.Parameter, beta: float) -> Tensor:
        """Average the gradients so far, the newest most, and look one step ahead (Nesterov)."""
        state = self.state[matrix]
        if not state:
            state["momentum"] = torch.zeros_like(matrix)
        average = state["momentum"].lerp_(matrix.grad, 1 - beta)
        # Not divided by 1 - beta^t as Adam's: the step is made orthogonal, which forgets its size.
        return matrix.grad.lerp(average, beta)


def minimise(
    loss: Callable[[], Tensor], numbers: Sequence[Tensor], steps: int = 60, **tolerances: float
) -> float:
    """Take a few numbers downhill by L-BFGS, as `loss` tells it; return how low they got.

    For sums over all data that are the same at every call, not for batches. `tolerances` are those
    of torch's LBFGS.

    >>> x = torch.tensor([5.0], requires_grad=True)
    >>> minimise(lambda: (x - 3).square().sum(), [x]), x.item()
    (0.0, 3.0)
    """
    optimizer = torch.optim.LBFGS(
        numbers, max_iter=steps, line_search_fn="strong_wolfe", **tolerances
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    return loss().item()


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Split a model's parameters into hidden matrices (for Muon) and all the rest (for AdamW).

    Hidden is a matrix, or a stack of them, that turns vectors into vectors. Not hidden: biases and
    the weights of norms, which are no matrices; tables (`nn.Embedding`) and the `head`, whose rows
    stand for tokens, or for classes; whatever a name calls a router, whose rows stand for experts;
    and the factors of LoRA, of which only the product is a matrix.
    """
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    hidden, rest = [], []
    for name, parameter in model.named_parameters():
        faces_choices = id(parameter) in tables or "router" in name or "head" in name.split(".")
        faces_choices |= name.endswith(("_head.weight", "segment_embedding"))
        is_rest = parameter.ndim < 2 or faces_choices or "lora_" in name or name.endswith("bias")
        (rest if is_rest else hidden).append(parameter)
    return hidden, rest


def build_optimizers(
    model: nn.Module,
    muon_lr: float = 0.02,
    adam_lr: float = 4e-3,
    weight_decay: float = 0.0,
    muon: bool = True,
) -> list[torch.optim.Optimizer]:
    """Give the hidden matrices to Muon and the rest to torch's AdamW (betas 0.9, 0.95).

    Without `muon`, all go to AdamW. Weight decay shrinks what has two axes or more, not the biases
    and the weights of norms.
    """
    hidden, rest = split_parameters(model)
    adams = rest if muon else hidden + rest
    groups = [
        {"params": [p for p in adams if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in adams if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=adam_lr, betas=(0.9, 0.95), fused=True)
    return (
        [Muon(hidden, lr=muon_lr, weight_decay=weight_decay), adam] if muon and hidden else [adam]
    )
