"""What do experts divide among them: tokens, or kinds of pages? Measured in bits.

The mutual information of an expert's number and something else tells how many bits one gives away
about the other. Counted on finite text it is never quite 0, not even for experts drawn blindly; so
each number comes with a control in which what is asked about was shuffled.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.moe import Routing, max_load_violation
from course_lib.training.deepseek_objective import moe_layers


@dataclass(frozen=True)
class ExpertVisits:
    """Where the tokens of a text went: of each token its id, its page, and its experts by layer."""

    tokens: Int[Tensor, "N"]
    pages: Int[Tensor, "N"]
    kind_of_page: Int[Tensor, "P"]
    chosen: Int[Tensor, "L N K"]

    @property
    def kinds(self) -> Int[Tensor, "N"]:
        """Give the kind of each token's page."""
        return self.kind_of_page[self.pages]


@torch.no_grad()
def record_visits(
    model: nn.Module,
    ids: Int[Tensor, "B T"],
    pages: Int[Tensor, "B T"],
    kind_of_page: Int[Tensor, "P"],
    batch_size: int = 32,
) -> ExpertVisits:
    """Let the model read rows of tokens, and write down which experts each visits."""
    chosen: list[list[Tensor]] = []
    for rows in ids.split(batch_size):
        model.hidden(rows)
        routings: list[Routing] = [layer.routing for layer in moe_layers(model.blocks)]
        chosen.append([routing.chosen.flatten(0, 1) for routing in routings])
    layers = torch.stack([torch.cat(parts) for parts in zip(*chosen, strict=True)])
    return ExpertVisits(ids.flatten(), pages.flatten(), kind_of_page, layers)


def mutual_information(a: Int[Tensor, "N"], b: Int[Tensor, "N"]) -> float:
    """Count how many bits the one number gives away about the other, over pairs of them.

    >>> mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 5, 3, 3]))
    1.0
    >>> mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([5, 3, 5, 3]))
    0.0
    """
    _, a = a.unique(return_inverse=True)
    _, b = b.unique(return_inverse=True)
    width = int(b.max()) + 1
    joint = torch.bincount(a * width + b, minlength=(int(a.max()) + 1) * width).double()
    joint = joint.view(-1, width) / len(a)
    return entropy_bits(joint.sum(0)) + entropy_bits(joint.sum(1)) - entropy_bits(joint)


def entropy_bits(shares: Float[Tensor, "*N"]) -> float:
    """Give the entropy of shares that add up to 1, in bits.

    >>> entropy_bits(torch.tensor([0.5, 0.25, 0.25, 0.0]))
    1.5
    """
    shares = shares.double()
    return -torch.special.xlogy(shares, shares).sum().item() / math.log(2)


def measure_specialisation(visits: ExpertVisits, seed: int = 0) -> dict[str, list[float]]:
    """Tell in bits, layer by layer, what a visit's expert gives away; and the same of controls.

    "token" is about the token itself, "kind" about the kind of its page, and "kind given token"
    about the kind once the token is known. In the controls the tokens have been shuffled; the kinds
    among the pages; and the kinds among the places where the same token stands. "expert" is the
    entropy of the expert's number: the most that any can be.
    """
    rng = torch.Generator().manual_seed(seed)
    tokens, kinds = visits.tokens, visits.kinds
    pages = torch.randperm(len(visits.kind_of_page), generator=rng)
    within = shuffle_within(tokens, kinds, rng)
    about = {
        "token": tokens,
        "token, shuffled": tokens[torch.randperm(len(tokens), generator=rng)],
        "kind": kinds,
        "kind, shuffled": visits.kind_of_page[pages][visits.pages],
        "kind given token": pair_number(tokens, kinds),
        "kind given token, shuffled": pair_number(tokens, within),
    }
    found = {name: bits_by_layer(visits.chosen, label) for name, label in about.items()}
    for name in ("kind given token", "kind given token, shuffled"):
        pairs = zip(found[name], found["token"], strict=True)
        found[name] = [both - token for both, token in pairs]
    flat = [layer.flatten() for layer in visits.chosen]
    return found | {"expert": [mutual_information(layer, layer) for layer in flat]}


def shuffle_within(
    groups: Int[Tensor, "N"], values: Int[Tensor, "N"], rng: torch.Generator
) -> Int[Tensor, "N"]:
    """Shuffle values among the places of the same group.

    >>> rng = torch.Generator().manual_seed(0)
    >>> shuffle_within(torch.tensor([0, 1, 0, 1]), torch.tensor([5, 7, 5, 7]), rng).tolist()
    [5, 7, 5, 7]
    """
    order = torch.randperm(len(groups), generator=rng)
    given, taken = groups.argsort(stable=True), order[groups[order].argsort(stable=True)]
    return torch.empty_like(values).scatter(0, given, values[taken])


def bits_by_layer(chosen: Int[Tensor, "L N K"], label: Int[Tensor, "N"]) -> list[float]:
    """Give the mutual information of each layer's experts and a label of the tokens."""
    labels = label[:, None].expand(-1, chosen.shape[-1]).flatten()
    return [mutual_information(layer.flatten(), labels) for layer in chosen]


def pair_number(a: Int[Tensor, "N"], b: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
    """Number pairs: different for every two that differ."""
    return a * (int(b.max()) + 1) + b


def load_by_kind(visits: ExpertVisits, layer: int, n_experts: int) -> Float[Tensor, "Q E"]:
    """Give each expert's share of the visits from each kind of page: rows add up to 1."""
    n_kinds = int(visits.kind_of_page.max()) + 1
    flat = visits.kinds[:, None] * n_experts + visits.chosen[layer]
    counts = torch.bincount(flat.flatten(), minlength=n_kinds * n_experts).view(n_kinds, -1)
    return counts / counts.sum(1, keepdim=True)


def favourite_tokens(
    visits: ExpertVisits, layer: int, n_experts: int, least: int = 20, n_best: int = 6
) -> list[list[tuple[int, float]]]:
    """Give each expert's tokens that come to it most surely: pairs of token and share of visits.

    A token counts that was seen `least` times or more; the share is of its occurrences.
    """
    n_tokens = int(visits.tokens.max()) + 1
    flat = (visits.tokens[:, None] * n_experts + visits.chosen[layer]).flatten()
    counts = torch.bincount(flat, minlength=n_tokens * n_experts).view(n_tokens, -1)
    seen = torch.bincount(visits.tokens, minlength=n_tokens)
    shares = torch.where((seen >= least)[:, None], counts / seen[:, None].clamp(min=1), 0.0)
    best = shares.topk(min(n_best, n_tokens), dim=0)
    columns = zip(best.indices.T.tolist(), best.values.T.tolist(), strict=True)
    return [list(zip(*column, strict=True)) for column in columns]


def measure_devices(chosen: Int[Tensor, "L N K"], n_experts: int, n_devices: int) -> dict:
    """Tell how many devices a token visits on average, and how unevenly devices are visited.

    Neighbouring experts share a device. The violation is that of tokens sent to a device, of the
    worst layer.
    """
    devices = torch.nn.functional.one_hot(chosen // (n_experts // n_devices), n_devices)
    sent = devices.amax(-2)  # a token is sent once, however many experts it visits there
    return {
        "per_token": sent.sum(-1).double().mean().item(),
        "violation": max(max_load_violation(layer) for layer in sent.sum(1)),
    }
