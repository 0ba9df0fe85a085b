"""What DeepSeek's models learn by besides the next token: balanced experts, and the token after the next."""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.moe import MoE, Routing, expert_balance_loss, load, sequence_balance_loss, update_bias
from course_lib.text.batches import IGNORE
from course_lib.training import parallel
from course_lib.training.objectives import Objective, next_token_loss


def moe_layers(model: nn.Module) -> list[MoE]:
    """Give the model's mixtures of experts, from the first layer to the last, that of an MTP module included."""
    return [module for module in model.modules() if isinstance(module, MoE)]


def balance_loss(model: nn.Module, loss_of: Callable[[Routing], Tensor]) -> Float[Tensor, ""]:
    """Add up `loss_of` the routing of the last batch over the layers: each is 1 where the experts are evenly used."""
    losses = [loss_of(layer.routing) for layer in moe_layers(model) if layer.routing is not None]
    if not losses:
        raise ValueError("no mixture of experts of this model has seen a batch yet, or there is none in it")
    return torch.stack(losses).sum()


def ahead_loss(
    model: nn.Module, hidden: Float[Tensor, "B T C"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Average the surprise at the token after the next, in nats: the loss of a multi-token prediction module.

    `hidden` is what the model made of the inputs; target t stands for the token after input t, so target t + 1 is two
    ahead. A place whose next token is padding has nothing to look ahead from. Source: DeepSeek-V3 (arXiv 2412.19437),
    equation 24, depth 1.
    """
    following, wanted = targets[:, :-1], targets[:, 1:]
    wanted = wanted.masked_fill(following == IGNORE, IGNORE)
    if (wanted == IGNORE).all():
        raise ValueError(f"targets of shape {tuple(targets.shape)} hold no two tokens in a row to look ahead to")
    return next_token_loss(model.predict_ahead(hidden[:, :-1], following.clamp(min=0)), wanted)


def deepseek_objective(expert: float = 0.0, sequence: float = 0.0, ahead: float = 0.0) -> Objective:
    """Make the objective: the next token, plus so much of the balance losses and of the look ahead.

    V2 has `expert` 0.003 (0.01 suits our sizes), V3 `sequence` 0.0001 and `ahead` 0.3, later 0.1.
    """

    def objective(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        hidden = model.hidden(inputs)
        loss = next_token_loss(model.logits(hidden), targets)
        if ahead:
            loss = loss + ahead * ahead_loss(model, hidden, targets)
        for weight, loss_of in ((expert, expert_balance_loss), (sequence, sequence_balance_loss)):
            if weight:
                loss = loss + weight * balance_loss(model, loss_of)
        return loss

    return objective


def balance_by_bias(speed: Callable[[int], float]) -> Callable[[int, nn.Module], None]:
    """Make an `on_step` for `train`: after step k, push every router's bias by `speed(k)` towards an even load.

    Counts the batch that was read last, in all processes together; it must not be cut into parts (`accumulate`). V3
    keeps the speed at 0.001 and stops near the end (arXiv 2412.19437, section 4.2).
    """

    def on_step(step: int, model: nn.Module) -> None:
        for layer in (layer for layer in moe_layers(model) if layer.routing is not None):
            update_bias(layer.router.bias, parallel.total(load(layer.routing)), speed(step))

    return on_step


@torch.no_grad()
def expert_loads(model: nn.Module, batches: Iterable[Int[Tensor, "_ _"]]) -> list[Float[Tensor, "E"]]:
    """Count over these batches the tokens that visit each expert, layer by layer, those of an MTP module left out."""
    totals = []
    for ids in batches:
        model.hidden(ids)
        counts = [load(layer.routing).float() for layer in moe_layers(model.blocks)]
        totals = [a + b for a, b in zip(totals, counts, strict=True)] if totals else counts
    return totals


@torch.no_grad()
def ahead_acceptance(model: nn.Module, ids: Int[Tensor, "B T"]) -> float:
    """Give the mean chance that a token drawn from the look ahead would stand, on given text.

    That is the sum of min(p, q), where q looks ahead from all but the last token and p is the model itself with all of
    them. Source: Leviathan et al. 2022 (arXiv 2211.17192), theorem 3.5.
    """
    hidden = model.hidden(ids)
    p = model.logits(hidden[:, 1:]).softmax(-1)
    q = model.predict_ahead(hidden[:, :-1], ids[:, 1:]).softmax(-1)
    return torch.minimum(p, q).sum(-1).mean().item()
