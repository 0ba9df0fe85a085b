"""Keeping all experts at work: how uneven the load is, the losses that even it out, and the bias that does without.

A router left alone soon sends everything to a few experts: whoever is chosen learns, and is chosen more. Each loss is
sum of f * P over experts or devices: f, how often one was chosen, is a count, so the gradient flows through P, the
affinity, alone. All of them are 1 when both are even; the caller multiplies by the paper's alpha and adds up layers.
"""

import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from course_lib.layers.moe.routing import Routing


def load(routing: Routing) -> Int[Tensor, "E"]:
    """Count the tokens that visit each expert.

    >>> load(Routing(torch.ones(2, 4), chosen=torch.tensor([[0, 3], [0, 1]]), weights=torch.ones(2, 2)))
    tensor([2, 1, 0, 1])
    """
    return torch.bincount(routing.chosen.flatten(), minlength=routing.scores.shape[-1])


def max_violation(load: Num[Tensor, "E"]) -> float:
    """Tell how far the busiest expert is above a fair load: 0 is even, E / K - 1 is all tokens to the same K experts.

    Source: Wang et al. 2024 (arXiv 2408.15664), MaxVio.

    >>> max_violation(torch.tensor([2, 1, 0, 1]))
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
    """Lower the bias of every expert above the mean load by `speed`, raise it below, in place: balance without a loss.

    `load` counts the whole batch of a step, summed over micro-batches and ranks. Source: DeepSeek-V3 (arXiv
    2412.19437), section 2.1.2, where `speed` (gamma) is 0.001.

    >>> bias = torch.zeros(4)
    >>> update_bias(bias, load=torch.tensor([2, 1, 0, 1]), speed=0.01)
    >>> bias
    tensor([-0.0100,  0.0000,  0.0100,  0.0000])
    """
    bias += speed * (load.double().mean() - load).sign().to(bias.dtype)


def expert_balance_loss(routing: Routing) -> Float[Tensor, ""]:
    """Sum f * P over the experts: f is an expert's load by a fair load, P its mean affinity over all tokens.

    Source: DeepSeek-V2 (arXiv 2405.04434), equations 23-25.

    >>> from course_lib.layers.moe import route_softmax
    >>> scores = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    >>> expert_balance_loss(route_softmax(scores.log(), n_chosen=1))    # f = 4, 0, 0, 0; P = 0.55, 0.2, 0.15, 0.1
    tensor(2.2000)
    """
    return (relative_load(routing) * mean_scores(routing)).sum()


def device_balance_loss(routing: Routing, n_groups: int) -> Float[Tensor, ""]:
    """Sum f * P over the devices: f is the mean over a device's experts, P the sum, both as in `expert_balance_loss`.

    Source: DeepSeek-V2 (arXiv 2405.04434), equations 26-28.

    >>> from course_lib.layers.moe import route_softmax
    >>> scores = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]])
    >>> device_balance_loss(route_softmax(scores.log(), n_chosen=1), n_groups=2)        # f = 2, 0; P = 0.75, 0.25
    tensor(1.5000)
    """
    f = relative_load(routing).unflatten(0, (n_groups, -1)).mean(-1)
    P = mean_scores(routing).unflatten(0, (n_groups, -1)).sum(-1)
    return (f * P).sum()


def communication_balance_loss(routing: Routing, n_groups: int, n_limited_groups: int) -> Float[Tensor, ""]:
    """Sum f * P over the devices: f is the number of tokens sent to a device by a fair number, P as on devices.

    A token is sent to a device once, however many experts it visits there; fair is each device getting
    `n_limited_groups / n_groups` of the tokens. Source: DeepSeek-V2 (arXiv 2405.04434), equations 29-31.

    >>> from course_lib.layers.moe import route_softmax
    >>> scores = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.4, 0.1, 0.3, 0.2]])
    >>> routing = route_softmax(scores.log(), n_chosen=2, n_groups=2, n_limited_groups=2)       # 0 and 1; 0 and 2
    >>> communication_balance_loss(routing, n_groups=2, n_limited_groups=2)     # f = 1, 0.5; P = 0.65, 0.35
    tensor(0.8250)
    """
    n_experts = routing.scores.shape[-1]
    device = routing.chosen.flatten(0, -2) // (n_experts // n_groups)
    sent = torch.zeros(len(device), n_groups, device=device.device).scatter(1, device, 1.0)
    f = sent.mean(0) * n_groups / n_limited_groups
    P = mean_scores(routing).unflatten(0, (n_groups, -1)).sum(-1)
    return (f * P).sum()


def sequence_balance_loss(routing: Routing) -> Float[Tensor, ""]:
    """Sum f * P over the experts within each sequence of (B, T) tokens, and average over the sequences.

    P is the mean of the affinities that were divided by their sum over all experts. f counts the `K` highest affinities
    of each token, without bias or limit, as the paper's equation does, so that it pulls on the affinities
    themselves also where the bias already evens out the load. Source: DeepSeek-V3 (arXiv 2412.19437), equations 17-20.

    >>> from course_lib.layers.moe import route_sigmoid
    >>> scores = torch.tensor([[[0.8, 0.4, 0.4], [0.2, 0.1, 0.1]]])     # a sequence of two tokens
    >>> sequence_balance_loss(route_sigmoid(scores.logit(), torch.zeros(3), n_chosen=1))    # f = 3, 0, 0; P = 0.5, ...
    tensor(1.5000)
    """
    (_, T, n_experts), n_chosen = routing.scores.shape, routing.chosen.shape[-1]
    best = routing.scores.topk(n_chosen).indices.flatten(1)
    count = torch.zeros_like(routing.scores[:, 0]).scatter_add(1, best, torch.ones_like(best, dtype=torch.float))
    f = count * n_experts / (n_chosen * T)
    P = (routing.scores / routing.scores.sum(-1, keepdim=True)).mean(1)
    return (f * P).sum(-1).mean()


def relative_load(routing: Routing) -> Float[Tensor, "E"]:
    """Divide each expert's load by a fair one: the f of the papers, E / (K T) times the count."""
    count = load(routing)
    return count * len(count) / routing.chosen.numel()


def mean_scores(routing: Routing) -> Float[Tensor, "E"]:
    """Average each expert's affinity over all tokens: the P of the papers."""
    return routing.scores.flatten(0, -2).mean(0)
