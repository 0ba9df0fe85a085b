"""Which experts a token visits, and how much each of them counts.

V4's first layers do not ask their router where to go: see `hash_routing`.

How ours differs from the papers (V2: arXiv 2405.04434; V3: arXiv 2412.19437; V4: arXiv 2606.19348):

1. The weights are multiplied by `scale`, which is in the releases (16 for V2, 2.5 for V3) and in no
   equation.
2. V3's groups are ranked by their two best experts whatever K and M are; the paper says the best K
   / M, which is two for its own 8 and 4. So does the release.
3. V3's and V4's sum of the chosen affinities has 1e-20 added, lest it be 0.
4. Affinities are reckoned in float32 at least, and V3's bias is kept so, in a model of 16 bits too.
5. No token is ever dropped. V2 drops some in training where a device has too many; V3 drops none.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.check_numbers import check_positive_numbers, check_whole_numbers
from course_lib.layers.precision import KeptInFloat32, at_least_float32, without_autocast


@dataclass(frozen=True)
class Routing:
    """Where each token goes: every expert's affinity, the `K` chosen, and what each counts."""

    scores: Float[Tensor, "*B E"]  # the affinities: softmax or sigmoid of the gate's logits
    chosen: Int[Tensor, "*B K"]  # numbers of the experts, from the first choice to the last
    weights: Float[Tensor, "*B K"]  # what the chosen experts' outputs are multiplied by


def route_softmax(
    logits: Float[Tensor, "*B E"],
    n_chosen: int,
    n_groups: int = 1,
    n_limited_groups: int = 1,
    scale: float = 1.0,
) -> Routing:
    """Choose as DeepSeek-V2 does: by softmax over all experts; a chosen one counts that by `scale`.

    The weights of a token thus add up to less than `scale`: they are not divided by their sum. A
    group (a device) is ranked by its best expert. Source: DeepSeek-V2 (arXiv 2405.04434), equations
    20-22 and section 2.2.2; `scale` is the `routed_scaling_factor` of its release, 16 for the large
    model.

    >>> routing = route_softmax(torch.tensor([0.4, 0.1, 0.2, 0.3]).log(), n_chosen=2, scale=10.0)
    >>> routing.chosen, routing.weights
    (tensor([0, 3]), tensor([4., 3.]))
    """
    check_routing(logits.shape[-1], n_chosen, n_groups, n_limited_groups)
    scores = at_least_float32(logits).softmax(-1)  # V2, eq. 22
    chosen = limit_groups(scores, n_groups, n_limited_groups, n_best=1).topk(n_chosen).indices
    # V2, eq. 21: not divided by their sum
    return Routing(scores, chosen, scale * scores.gather(-1, chosen))


def route_sigmoid(
    logits: Float[Tensor, "*B E"],
    bias: Float[Tensor, "E"],
    n_chosen: int,
    n_groups: int = 1,
    n_limited_groups: int = 1,
    scale: float = 1.0,
) -> Routing:
    """Choose as DeepSeek-V3 does: by sigmoid plus `bias`; weigh by the sigmoids by their sum.

    The bias moves an expert up or down the ranking and enters no weight, so it bends no gradient. A
    group (a node) is ranked by its two best experts, bias included. Source: DeepSeek-V3 (arXiv
    2412.19437), equations 12-16 and section 2.1.2; `scale` is the release's
    `routed_scaling_factor`, 2.5. Differs from the paper as the release does: there the best K / M
    experts of a group rank it, K chosen from M groups (8 / 4, so two as well).

    >>> logits = torch.tensor([0.6, 0.5, 0.2, 0.1]).logit()
    >>> route_sigmoid(logits, bias=torch.zeros(4), n_chosen=2).chosen
    tensor([0, 1])
    >>> bias = torch.tensor([0.0, -0.2, 0.2, 0.0])
    >>> routing = route_sigmoid(logits, bias, n_chosen=2)     # by 0.6, 0.3, 0.4, 0.1
    >>> routing.chosen, routing.weights                       # and weighed without the bias
    (tensor([0, 2]), tensor([0.7500, 0.2500]))
    """
    check_routing(logits.shape[-1], n_chosen, n_groups, n_limited_groups)
    scores = at_least_float32(logits).sigmoid()  # V3, eq. 15; in float16 the 1e-20 below would be 0
    # V3, eq. 16: the bias ranks, and is gone from what follows
    chosen = (
        limit_groups(scores + bias, n_groups, n_limited_groups, n_best=2).topk(n_chosen).indices
    )
    picked = scores.gather(-1, chosen)  # eq. 14
    # eq. 13
    return Routing(scores, chosen, scale * picked / (picked.sum(-1, keepdim=True) + 1e-20))


def route_sqrt_softplus(
    logits: Float[Tensor, "*B E"], bias: Float[Tensor, "E"], n_chosen: int, scale: float = 1.0
) -> Routing:
    """Choose as DeepSeek-V4 does: as V3 but for the affinity, sqrt(log(1 + exp(logit))), ungrouped.

    A sigmoid is flat at both ends; this one grows on, as the root of a large logit. Source:
    DeepSeek-V4 (arXiv 2606.19348), section 2.1; `scale` is 1.5 in Flash and 2.5 in Pro.

    >>> logits = torch.tensor([4.0, 1.0, 0.25, 0.0]).exp().sub(1).log()     # affinities 2, 1, .5, 0
    >>> routing = route_sqrt_softplus(logits, torch.tensor([0.0, 0.0, 0.6, 0.0]), n_chosen=2)
    >>> routing.chosen, routing.weights                       # by 2 and 1.1; weighed by 2 and 0.5
    (tensor([0, 2]), tensor([0.8000, 0.2000]))
    """
    check_routing(logits.shape[-1], n_chosen)
    scores = sqrt_softplus(logits)
    return weigh_chosen(scores, (scores + bias).topk(n_chosen).indices, scale)


def sqrt_softplus(logits: Float[Tensor, "*B E"]) -> Float[Tensor, "*B E"]:
    """Turn logits into V4's affinities, in float32 at least."""
    return F.softplus(at_least_float32(logits)).sqrt()


def weigh_chosen(
    scores: Float[Tensor, "*B E"], chosen: Int[Tensor, "*B K"], scale: float
) -> Routing:
    """Weigh the chosen experts by their affinities, divided by their sum, times `scale`."""
    picked = scores.gather(-1, chosen)
    return Routing(scores, chosen, scale * picked / (picked.sum(-1, keepdim=True) + 1e-20))


def limit_groups(
    scores: Float[Tensor, "*B E"], n_groups: int, n_limited_groups: int, n_best: int
) -> Float[Tensor, "*B E"]:
    """Set scores outside each token's `n_limited_groups` best groups to -inf.

    So its experts are on few devices. Neighbouring experts form a group, which is ranked by the sum
    of its `n_best` highest scores.

    >>> limit_groups(torch.tensor([0.9, 0.0, 0.6, 0.5]), n_groups=2, n_limited_groups=1, n_best=1)
    tensor([0.9000, 0.0000,   -inf,   -inf])
    >>> limit_groups(torch.tensor([0.9, 0.0, 0.6, 0.5]), n_groups=2, n_limited_groups=1, n_best=2)
    tensor([  -inf,   -inf, 0.6000, 0.5000])
    """
    if n_limited_groups == n_groups:
        return scores
    groups = scores.unflatten(-1, (n_groups, -1))
    ranks = groups.topk(min(n_best, groups.shape[-1])).values.sum(-1)
    kept = torch.zeros_like(ranks, dtype=torch.bool).scatter(
        -1, ranks.topk(n_limited_groups).indices, True
    )
    return groups.masked_fill(~kept[..., None], -torch.inf).flatten(-2)


def check_routing(
    n_experts: int, n_chosen: int, n_groups: int = 1, n_limited_groups: int = 1
) -> None:
    """Raise a ValueError if a token cannot choose that many experts from that many groups."""
    if not 1 <= n_chosen <= n_experts:
        raise ValueError(f"n_chosen {n_chosen} is not between 1 and n_experts {n_experts}")
    if n_groups < 1 or n_experts % n_groups:
        raise ValueError(f"n_experts {n_experts} is not divisible by n_groups {n_groups}")
    if not 1 <= n_limited_groups <= n_groups:
        raise ValueError(
            f"n_limited_groups {n_limited_groups} is not between 1 and n_groups {n_groups}"
        )
    within = n_limited_groups * (n_experts // n_groups)
    if n_chosen > within:
        raise ValueError(
            f"n_chosen {n_chosen} is more than the {within} experts of {n_limited_groups} groups"
        )


def replay_choices(
    routing: Routing, chosen: Int[Tensor, "*B K"], scale: float = 1.0, normalised: bool = True
) -> Routing:
    """Send tokens to `chosen` instead, and weigh these experts by the affinities of `routing`.

    With `normalised` by their share of the chosen ones' sum, as V3 does; without, as V2 does, by
    themselves. Source: DeepSeek-V3.2 (arXiv 2512.02556), section 3.1.

    >>> routing = route_sigmoid(torch.tensor([0.6, 0.5, 0.2]).logit(), torch.zeros(3), n_chosen=2)
    >>> replay_choices(routing, torch.tensor([0, 2])).weights
    tensor([0.7500, 0.2500])
    """
    if chosen.shape != routing.chosen.shape:
        theirs, ours = tuple(chosen.shape), tuple(routing.chosen.shape)
        raise ValueError(f"choices of shape {theirs} for tokens that make choices of shape {ours}")
    if normalised:
        return weigh_chosen(routing.scores, chosen, scale)
    return Routing(routing.scores, chosen, scale * routing.scores.gather(-1, chosen))


class Router(nn.Module):
    """Compare tokens with the experts' centroids, the rows of `weight`: logits are dot products.

    In float32 at least, under autocast too: rounding would send tokens that are nearly undecided
    elsewhere.
    """

    normalised: bool  # whether the weights of a token's experts are divided by their sum

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        n_chosen: int,
        n_groups: int = 1,
        n_limited_groups: int = 1,
        scale: float = 1.0,
    ) -> None:
        super().__init__()
        check_whole_numbers(d_model=d_model)
        check_positive_numbers(scale=scale)
        check_routing(n_experts, n_chosen, n_groups, n_limited_groups)
        self.choice = {
            "n_chosen": n_chosen,
            "n_groups": n_groups,
            "n_limited_groups": n_limited_groups,
            "scale": scale,
        }
        self.weight = nn.Parameter(torch.empty(n_experts, d_model).uniform_(-1, 1) / d_model**0.5)

    def logits(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B E"]:
        """Score every expert for every token."""
        with without_autocast(x.device.type):
            x = at_least_float32(x)
            return F.linear(x, self.weight.to(x.dtype))

    def replay(self, routing: Routing, chosen: Int[Tensor, "*B K"]) -> Routing:
        """Weigh these experts in place of those that the router chose, see `replay_choices`."""
        return replay_choices(routing, chosen, self.choice["scale"], self.normalised)


class SoftmaxRouter(Router):
    """The gate of DeepSeek-V2, see `route_softmax`."""

    normalised = False

    def forward(self, x: Float[Tensor, "*B C"]) -> Routing:
        return route_softmax(self.logits(x), **self.choice)


class SigmoidRouter(KeptInFloat32, Router):
    """The gate of DeepSeek-V3, see `route_sigmoid`.

    No gradient moves its `bias`; `update_bias` does after a step.
    """

    normalised = True

    def __init__(self, d_model: int, n_experts: int, *choice, **named_choice) -> None:
        super().__init__(d_model, n_experts, *choice, **named_choice)
        self.register_buffer("bias", torch.zeros(n_experts))

    def forward(self, x: Float[Tensor, "*B C"]) -> Routing:
        return route_sigmoid(self.logits(x), self.bias, **self.choice)

    def kept(self) -> list[Tensor]:
        """Keep the bias in float32: 0.5 + 0.001, a step of the paper's, is 0.5 in bfloat16."""
        return [self.bias]


class SqrtSoftplusRouter(SigmoidRouter):
    """The gate of DeepSeek-V4's later layers, see `route_sqrt_softplus`; its bias as in V3."""

    def __init__(self, d_model: int, n_experts: int, n_chosen: int, scale: float = 1.0) -> None:
        super().__init__(d_model, n_experts, n_chosen, scale=scale)

    def forward(self, x: Float[Tensor, "*B C"]) -> Routing:
        n_chosen, scale = self.choice["n_chosen"], self.choice["scale"]
        return route_sqrt_softplus(self.logits(x), self.bias, n_chosen, scale)
