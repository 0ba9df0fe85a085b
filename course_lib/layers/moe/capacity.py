"""A limit on what one expert takes in: visits beyond it are dropped. What others do, and V2 trains.

Experts that live on many machines are given rooms of one size, so that all finish together. Whoever
finds the room full is dropped: the visit's weight becomes 0, and the token goes on with what its
other experts, or the residual connection alone, make of it.

How ours differs from the papers: V2 (arXiv 2405.04434, section 2.2.4) limits the tokens of a
device, not of an expert, and never drops about 10 % of the sequences.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.layers.moe.routing import Routing


def expert_capacity(n_tokens: int, n_experts: int, n_chosen: int, factor: float) -> int:
    """Give the most visits that one expert takes: a fair load times `factor`, rounded up.

    Source: Lepikhin et al. 2020, GShard (arXiv 2006.16668); Fedus et al. 2021, Switch Transformer
    (arXiv 2101.03961), equation 3.

    >>> expert_capacity(n_tokens=64, n_experts=16, n_chosen=3, factor=1.25)
    15
    """
    if not math.isfinite(factor) or factor <= 0:
        raise ValueError(f"factor {factor} must be a finite number above 0")
    return math.ceil(n_tokens * n_chosen * factor / n_experts)


def drop_over_capacity(routing: Routing, factor: float, by: str = "position") -> Routing:
    """Set the weights of visits to 0 that an expert has no room for, counted over all tokens.

    With `by` "position" those who come first are let in, token by token. With "affinity" those with
    the highest affinity are (V2): whether a token is let in then depends on later tokens as well.
    Where a token visits several experts, GShard lets all first choices in before any second one: an
    earlier token's second choice then depends on later tokens too.

    >>> scores = torch.tensor([[0.6, 0.4], [0.9, 0.1]])
    >>> routing = Routing(scores, torch.tensor([[0], [0]]), torch.tensor([[0.6], [0.9]]))
    >>> drop_over_capacity(routing, factor=1.0).weights.T     # room for one each
    tensor([[0.6000, 0.0000]])
    >>> drop_over_capacity(routing, factor=1.0, by="affinity").weights.T
    tensor([[0.0000, 0.9000]])
    """
    if by not in ("position", "affinity"):
        raise ValueError(f"by {by!r} is neither 'position' nor 'affinity'")
    n_experts, n_chosen = routing.scores.shape[-1], routing.chosen.shape[-1]
    visits = routing.chosen.flatten()
    capacity = expert_capacity(len(visits) // n_chosen, n_experts, n_chosen, factor)
    order = torch.arange(len(visits), device=visits.device)
    if by == "affinity":
        affinity = routing.scores.gather(-1, routing.chosen).flatten()
        order = affinity.argsort(descending=True, stable=True)
    kept = torch.empty_like(visits, dtype=torch.bool)
    kept[order] = has_room(visits[order], n_experts, capacity)
    kept = kept.view_as(routing.chosen)
    return Routing(routing.scores, routing.chosen, routing.weights * kept)


def has_room(visits: Int[Tensor, "N"], n_experts: int, capacity: int) -> Bool[Tensor, "N"]:
    """Tell which visits, given in the order in which they come, find room at their expert.

    >>> has_room(torch.tensor([0, 1, 0, 0]), n_experts=2, capacity=2).tolist()
    [True, True, True, False]
    """
    so_far = F.one_hot(visits, n_experts).cumsum(0)
    return so_far.gather(1, visits[:, None])[:, 0] <= capacity
