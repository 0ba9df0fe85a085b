"""What a race against the clock adds to Muon and AdamW: steps for tables, and a careful decay."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.training.optimizers import Muon, call_closure, split_parameters


class RowAdagrad(torch.optim.Optimizer):
    """Adagrad with one number of memory per row, for tables of which a step reads few rows.

    Gradients are sparse; rows that were not read are not touched. A row that has been read often
    takes ever smaller steps, as a count does. Sources: Duchi et al. 2011, "Adaptive Subgradient
    Methods"; row-wise as in recommender systems (Mudigere et al. 2021, arXiv 2104.05158).
    """

    def __init__(self, parameters, lr: float = 0.1, eps: float = 1e-10) -> None:
        if lr < 0 or eps <= 0:
            raise ValueError(f"RowAdagrad needs lr {lr} not below 0, and eps {eps} above 0")
        super().__init__(parameters, {"lr": lr, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take one step on every row that has a gradient."""
        loss = call_closure(closure)
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self.step_rows(table, group["lr"], group["eps"])
        return loss

    def step_rows(self, table: nn.Parameter, lr: float, eps: float) -> None:
        """Add up the squares of each row read, and step by the gradient over their root."""
        state, gradient = self.state[table], table.grad.coalesce()
        if not state:
            state["squares"] = torch.zeros(len(table), 1)
        rows, values = gradient.indices()[0], gradient.values()
        squares = state["squares"].index_add_(0, rows, values.square().mean(-1, keepdim=True))
        table.index_add_(0, rows, values / (squares[rows].sqrt() + eps), alpha=-lr)


class CautiousMuon(Muon):
    """Muon, whose weight decay shrinks only the numbers that the step makes smaller anyway.

    The rest is left to the gradient, which knows better. Source: Chen et al. 2025, "Cautious Weight
    Decay" (arXiv 2510.12402), algorithm 1.
    """

    def __init__(self, parameters, lr: float = 0.02, cautious_decay: float = 0.1) -> None:
        super().__init__(parameters, lr)
        if cautious_decay < 0:
            raise ValueError(f"cautious_decay {cautious_decay} is below 0")
        for group in self.param_groups:
            group["cautious_decay"] = cautious_decay

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Take a step of Muon, then shrink what it has brought nearer to 0."""
        before = [[p.clone() for p in group["params"]] for group in self.param_groups]
        loss = super().step(closure)
        for group, olds in zip(self.param_groups, before, strict=True):
            shrink = group["lr"] * group["cautious_decay"]
            for parameter, old in zip(group["params"], olds, strict=True):
                parameter.sub_(shrink * old * ((parameter - old) * old < 0))
        return loss


def speedrun_optimizers(
    model: nn.Module,
    muon_lr: float = 0.02,
    adam_lr: float = 0.01,
    table_lr: float = 0.1,
    cautious_decay: float = 0.0,
) -> list[torch.optim.Optimizer]:
    """Give hidden matrices to Muon, tables with sparse gradients to RowAdagrad, the rest to AdamW.

    Muon decays cautiously; AdamW does not decay.
    """
    sparse = {
        id(part.weight)
        for part in model.modules()
        if isinstance(part, nn.Embedding) and part.sparse
    }
    hidden, rest = split_parameters(model)
    tables = [p for p in rest if id(p) in sparse]
    adam = [p for p in rest if id(p) not in sparse]
    muon = (
        CautiousMuon(hidden, muon_lr, cautious_decay) if cautious_decay else Muon(hidden, muon_lr)
    )
    optimizers = [muon, torch.optim.AdamW(adam, adam_lr, (0.9, 0.95), weight_decay=0.0, fused=True)]
    return optimizers + ([RowAdagrad(tables, table_lr)] if tables else [])
