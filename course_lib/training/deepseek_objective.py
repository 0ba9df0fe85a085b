"""What DeepSeek's models learn besides the next token: balanced experts, and a token further."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.moe import (
    HashRouter,
    MoE,
    Routing,
    expert_balance_loss,
    expert_load,
    moe_layers,
    sequence_balance_loss,
    update_bias,
)
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training import distributed
from course_lib.training.callbacks import Callback
from course_lib.training.objectives import LossSum, Objective, next_token_loss_sum
from course_lib.training.settings import TrainHistory


def routed_layers(model: nn.Module) -> list[MoE]:
    """Give those of the `moe_layers` that have read something since their routing was cleared."""
    return [layer for layer in moe_layers(model) if layer.routing is not None]


def balanced_layers(model: nn.Module) -> list[MoE]:
    """Give those of the `routed_layers` that choose for themselves: no table does it for them."""
    return [layer for layer in routed_layers(model) if not isinstance(layer.router, HashRouter)]


def sum_balance_losses(
    model: nn.Module, loss_of: Callable[[Routing], Tensor]
) -> Float[Tensor, "..."]:
    """Add up `loss_of` the last batch's routing over the layers: each is 1 where use is even.

    With a `loss_of` that gives one number per sequence (reduction="none"), so does this.
    """
    losses = [loss_of(layer.routing) for layer in balanced_layers(model)]
    if not losses:
        raise ValueError(
            "no mixture of experts of this model has seen a batch yet, or there is none in it"
        )
    return torch.stack(losses).sum(0)


def mtp_loss(
    model: nn.Module,
    hidden: Float[Tensor, "B T *n C"],
    inputs: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """Average the surprise at the token after the next, in nats: the mean of `mtp_loss_sum`."""
    loss = mtp_loss_sum(model, hidden, inputs, targets)
    if not loss.count:
        shape = tuple(targets.shape)
        raise ValueError(f"targets of shape {shape} hold none that counts and is two tokens ahead")
    return loss.mean


def mtp_loss_sum(
    model: nn.Module,
    hidden: Float[Tensor, "B T *n C"],
    inputs: Int[Tensor, "B T"],
    targets: Int[Tensor, "B T"],
) -> LossSum:
    """Add up the surprise at the token after the next, in nats, of a multi-token prediction module.

    `hidden` is what the model made of the inputs, in V4 `n` streams of it; input t + 1 is the token
    after input t, also in a prompt that nobody learns, and target t + 1 is two ahead of input t.
    Every place counts whose target two ahead does. Source: DeepSeek-V3 (arXiv 2412.19437),
    equations 21 to 24, depth 1.
    """
    return next_token_loss_sum(model.predict_ahead(hidden[:, :-1], inputs[:, 1:]), targets[:, 1:])


def deepseek_objective(
    expert: float = 0.0,
    sequence: float = 0.0,
    ahead: float = 0.0,
    over: str = "sequence",
    indexer: float = 0.0,
) -> Objective:
    """Make the objective: the next token, plus so much of the balance losses and of the look ahead.

    V2 has `expert` 0.003 (0.01 suits our sizes), V3 `sequence` 0.0001 and `ahead` 0.3, later 0.1.
    V3.2 adds `indexer` times its `indexer_loss`, which reaches the indexers alone.
    With `over` "batch", V2's loss takes the loads of a whole batch, which may then not be cut.
    All is a mean over the targets that count: a sequence's balance weighs as many as it has, so
    that where all have T tokens, as in the papers, it is the mean over the sequences.
    """
    by_expert = partial(expert_balance_loss, over=over, reduction="none")
    by_sequence = partial(sequence_balance_loss, reduction="none")

    def objective(model: nn.Module, inputs: Tensor, targets: Tensor) -> LossSum:
        hidden = model.hidden(inputs)
        loss = next_token_loss_sum(model.logits(hidden), targets)
        weights, total = (targets != IGNORE_INDEX).sum(-1), loss.total
        if ahead:
            # Equation 24 divides by T, as the main loss does, though one place fewer is summed.
            total = total + ahead * mtp_loss_sum(model, hidden, inputs, targets).total
        for alpha, loss_of in ((expert, by_expert), (sequence, by_sequence)):
            if alpha:
                total = total + alpha * (weights * sum_balance_losses(model, loss_of)).sum()
        whole = (
            "the balance loss of the experts over the batch" if expert and over == "batch" else ""
        )
        loss = LossSum(total, loss.count, whole)
        return loss.plus(indexer * model.indexer_loss(inputs)) if indexer else loss

    return objective


class BalanceByBias(Callback):
    """V3's balance without a loss: after step k, push every router's bias by `speed(k)`.

    Towards an even load, that is. Counts all that was read for the step: all parts of the batch, in
    all processes together. Called by hand, as a function of (step, model), it counts what the model
    has read last. V3 keeps the speed at 0.001 and stops near the end (arXiv 2412.19437, sections
    2.1.2 and 4.2).
    """

    def __init__(self, speed: Callable[[int], float]) -> None:
        self.speed = speed
        self.loads: dict[MoE, Tensor] = {}

    def before_step(self, step: int, model: nn.Module) -> None:
        self.loads = {}  # a step that was broken off may have left some
        for layer in moe_layers(model):
            layer.routing = None  # of an evaluation, perhaps by a layer that does not learn

    def after_part(self, model: nn.Module) -> None:
        for layer in balanced_layers(model):
            self.loads[layer] = self.loads.get(layer, 0) + expert_load(layer.routing)

    def after_step(self, step: int, model: nn.Module, history: TrainHistory | None = None) -> None:
        for layer in balanced_layers(model):  # the same in all processes, which meet in the sum
            visits = self.loads.get(layer, torch.zeros_like(layer.router.bias, dtype=torch.long))
            update_bias(layer.router.bias, distributed.all_reduce_sum(visits), self.speed(step))
        self.loads = {}

    def __call__(self, step: int, model: nn.Module) -> None:
        if not self.loads:
            self.after_part(model)
        self.after_step(step, model)


def balance_by_bias(speed: Callable[[int], float]) -> BalanceByBias:
    """Make an `on_step` for `train` that balances experts as DeepSeek-V3, see `BalanceByBias`."""
    return BalanceByBias(speed)


@torch.no_grad()
def count_expert_loads(
    model: nn.Module, batches: Iterable[Int[Tensor, "_ _"]]
) -> list[Float[Tensor, "E"]]:
    """Count the tokens of these batches that visit each expert, layer by layer.

    Those of an MTP module are left out.
    """
    totals = []
    for ids in batches:
        model.hidden(ids)
        counts = [expert_load(layer.routing).float() for layer in moe_layers(model.blocks)]
        totals = [a + b for a, b in zip(totals, counts, strict=True)] if totals else counts
    return totals


@torch.no_grad()
def mtp_acceptance(model: nn.Module, ids: Int[Tensor, "B T"]) -> float:
    """Give the mean probability that a token drawn from the look ahead would stand, on given text.

    That is the sum of min(p, q), where q looks ahead from all but the last token and p is the model
    itself with all of them. Source: Leviathan et al. 2022 (arXiv 2211.17192), theorem 3.5.
    """
    hidden = model.hidden(ids)
    p = model.logits(hidden[:, 1:]).softmax(-1)
    q = model.predict_ahead(hidden[:, :-1], ids[:, 1:]).softmax(-1)
    return torch.minimum(p, q).sum(-1).mean().item()
