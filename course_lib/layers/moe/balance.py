"""Keeping all experts at work: the load, the losses that even it out, the bias that does without.

A router left alone soon sends everything to a few experts: whoever is chosen learns, and is chosen
more. Each loss is sum of f * P over experts or devices: f, how often one was chosen, is a count, so
the gradient flows through P, the affinity, alone. All of them are 1 when both are even; the caller
multiplies by the paper's alpha and adds up layers.

Both papers take f and P of one sequence (T is its number of tokens), and average the losses. V2's
three have the argument `over`: "sequence" is the paper's; "batch" takes f and P of all tokens of
the batch at once, which asks less (two sequences may each use one half of the experts) and is what
most libraries compute. Routing of one axis of tokens is one sequence. With `reduction` "none" there
is one number per sequence in place of their mean.
"""

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from course_lib.layers.moe.routing import Routing, check_routing


def expert_load(routing: Routing) -> Int[Tensor, "E"]:
    """Count the tokens that visit each expert.

    >>> chosen = torch.tensor([[0, 3], [0, 1]])
    >>> expert_load(Routing(torch.ones(2, 4), chosen, weights=torch.ones(2, 2)))
    tensor([2, 1, 0, 1])
    """
    return torch.bincount(routing.chosen.flatten(), minlength=routing.scores.shape[-1])


def max_load_violation(load: Num[Tensor, "E"]) -> float:
    """Tell how far the busiest expert is above a fair load: 0 is even.

    All tokens to the same K experts are E / K - 1. Source: Wang et al. 2024 (arXiv 2408.15664),
    MaxVio.

    >>> max_load_violation(torch.tensor([2, 1, 0, 1]))
    1.0
    """
    if not load.sum():
        raise ValueError(f"no token has visited any of the {len(load)} experts")
    return (load.max() / load.double().mean()).item() - 1


def dead_experts(load: Num[Tensor, "E"], share: float = 0.1) -> Bool[Tensor, "E"]:
    """Mark the experts that get less than `share` of a fair load.

    >>> dead_experts(torch.tensor([2, 1, 0, 1])).tolist()
    [False, False, True, False]
    """
    return load < share * load.double().mean()


@torch.no_grad()
def update_bias(bias: Float[Tensor, "E"], load: Num[Tensor, "E"], speed: float) -> None:
    """Balance without a loss: move every expert's bias by `speed` against its load, in place.

    It falls above the mean load and rises below. `expert_load` counts the whole batch of a step,
    summed over micro-batches and ranks. Source: DeepSeek-V3 (arXiv 2412.19437), section 2.1.2,
    where `speed` (gamma) is 0.001.

    >>> bias = torch.zeros(4)
    >>> update_bias(bias, load=torch.tensor([2, 1, 0, 1]), speed=0.01)
    >>> bias
    tensor([-0.0100,  0.0000,  0.0100,  0.0000])
    """
    # Only the sign counts: a step of fixed size, however far the load is off, cannot overshoot by
    # more than itself.
    bias += speed * (load.double().mean() - load).sign().to(bias.dtype)


def expert_balance_loss(
    routing: Routing, over: str = "sequence", reduction: str = "mean"
) -> Float[Tensor, "..."]:
    """Sum f * P over the experts: f is an expert's load by a fair load, P its mean affinity.

    Both are of one sequence. Source: DeepSeek-V2 (arXiv 2405.04434), equations 23-25.

    >>> from course_lib.layers.moe import route_softmax
    >>> scores = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    >>> routing = route_softmax(scores.log(), n_chosen=1)
    >>> expert_balance_loss(routing)     # f = 4, 0, 0, 0; P = 0.55, 0.2, 0.15, 0.1
    tensor(2.2000)
    """
    routing = counted_over(routing, over)
    return reduce_balance_loss(relative_expert_load(routing) * mean_affinities(routing), reduction)


def device_balance_loss(
    routing: Routing, n_groups: int, over: str = "sequence", reduction: str = "mean"
) -> Float[Tensor, "..."]:
    """Sum f * P over the devices: f is the mean over a device's experts, P the sum.

    The terms are those of `expert_balance_loss`. Source: DeepSeek-V2 (arXiv 2405.04434), equations
    26-28.

    >>> from course_lib.layers.moe import route_softmax
    >>> scores = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    >>> routing = route_softmax(scores.log(), n_chosen=1)
    >>> device_balance_loss(routing, n_groups=2)     # f = 2, 0; P = 0.75, 0.25
    tensor(1.5000)
    """
    check_groups(routing, n_groups)
    routing = counted_over(routing, over)
    f = relative_expert_load(routing).unflatten(-1, (n_groups, -1)).mean(-1)  # equation 27
    return reduce_balance_loss(f * device_scores(routing, n_groups), reduction)


def communication_balance_loss(
    routing: Routing,
    n_groups: int,
    n_limited_groups: int,
    over: str = "sequence",
    reduction: str = "mean",
) -> Float[Tensor, "..."]:
    """Sum f * P over the devices: f counts tokens sent to a device by a fair number of them.

    P is that of `device_balance_loss`. A token is sent to a device once, however many experts it
    visits there; fair is each device getting `n_limited_groups / n_groups` of the tokens. Source:
    DeepSeek-V2 (arXiv 2405.04434), equations 29-31.

    >>> from course_lib.layers.moe import route_softmax
    >>> scores = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.4, 0.1, 0.3, 0.2]])
    >>> routing = route_softmax(scores.log(), n_chosen=2, n_groups=2, n_limited_groups=2)
    >>> routing.chosen.tolist()     # so f = 1, 0.5; P = 0.65, 0.35
    [[0, 1], [0, 2]]
    >>> communication_balance_loss(routing, n_groups=2, n_limited_groups=2)
    tensor(0.8250)
    """
    check_groups(routing, n_groups, n_limited_groups)
    routing = counted_over(routing, over)
    group = routing.chosen // (routing.scores.shape[-1] // n_groups)
    sent = torch.zeros(*group.shape[:-1], n_groups, device=group.device)
    # written, not added: two experts on a device are one journey
    sent = sent.scatter(-1, group, 1.0)
    f = sent.mean(-2) * n_groups / n_limited_groups  # equation 30
    return reduce_balance_loss(f * device_scores(routing, n_groups), reduction)


def sequence_balance_loss(routing: Routing, reduction: str = "mean") -> Float[Tensor, "..."]:
    """Sum f * P over the experts within each sequence of tokens, and average over sequences.

    P is the mean of the affinities that were divided by their sum over all experts. f counts the
    `K` highest affinities of each token, without bias or limit, as the paper's equation does, so
    that it pulls on the affinities themselves also where the bias already evens out the load.
    Source: DeepSeek-V3 (arXiv 2412.19437), equations 17-20.

    >>> from course_lib.layers.moe import route_sigmoid
    >>> scores = torch.tensor([[[0.8, 0.4, 0.4], [0.2, 0.1, 0.1]]])     # a sequence of two tokens
    >>> routing = route_sigmoid(scores.logit(), torch.zeros(3), n_chosen=1)
    >>> sequence_balance_loss(routing)     # f = 3, 0, 0; P = 0.5, 0.25, 0.25
    tensor(1.5000)
    """
    scores, n_chosen = routing.scores, routing.chosen.shape[-1]
    best = scores.topk(n_chosen).indices  # equation 18: by s, not by s + bias
    f = load_per_sequence(best, scores) * scores.shape[-1] / (n_chosen * scores.shape[-2])
    P = (scores / scores.sum(-1, keepdim=True)).mean(-2)  # equations 19 and 20: sigmoids sum to any
    return reduce_balance_loss(f * P, reduction)


def check_groups(routing: Routing, n_groups: int, n_limited_groups: int | None = None) -> None:
    """Raise a ValueError if these experts can't be spread so, or not have been chosen so."""
    n_experts, n_chosen = routing.scores.shape[-1], routing.chosen.shape[-1]
    limit = n_groups if n_limited_groups is None else n_limited_groups
    check_routing(n_experts, n_chosen, n_groups, limit)


def counted_over(routing: Routing, over: str) -> Routing:
    """Give the routing whose f and P are meant: as it is, or all sequences joined into one."""
    if over not in ("sequence", "batch"):
        raise ValueError(f"over {over!r} is neither 'sequence' nor 'batch'")
    if over == "sequence":
        return routing
    return Routing(
        *(table.flatten(0, -2) for table in (routing.scores, routing.chosen, routing.weights))
    )


def reduce_balance_loss(products: Float[Tensor, "*B E"], reduction: str) -> Float[Tensor, "..."]:
    """Sum f * P over experts or devices; then average over sequences, but for "none"."""
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction {reduction!r} is neither 'mean' nor 'none'")
    losses = products.sum(-1)
    return losses if reduction == "none" else losses.mean()


def load_per_sequence(
    chosen: Int[Tensor, "*B T K"], scores: Float[Tensor, "*B T E"]
) -> Float[Tensor, "*B E"]:
    """Count the tokens of each sequence that visit each expert.

    No gradient flows through a count.
    """
    visits = chosen.flatten(-2)
    count = scores.new_zeros(*scores.shape[:-2], scores.shape[-1])
    return count.scatter_add(-1, visits, torch.ones_like(visits, dtype=scores.dtype))


def relative_expert_load(routing: Routing) -> Float[Tensor, "*B E"]:
    """Divide each expert's load by a fair one: the f of the papers, E / (K T) times the count."""
    (T, n_chosen), n_experts = routing.chosen.shape[-2:], routing.scores.shape[-1]
    return load_per_sequence(routing.chosen, routing.scores) * n_experts / (n_chosen * T)


def mean_affinities(routing: Routing) -> Float[Tensor, "*B E"]:
    """Average each expert's affinity over the tokens of a sequence: the P of the papers."""
    return routing.scores.mean(-2)


def device_scores(routing: Routing, n_groups: int) -> Float[Tensor, "*B D"]:
    """Add up the mean affinities of each device's experts: the P of equations 28 and 31."""
    return mean_affinities(routing).unflatten(-1, (n_groups, -1)).sum(-1)
