"""Send each token to the experts that another model, or an earlier one, has sent it to.

A sampler of other precision or with older weights chooses other experts for some tokens than the
trainer that reads its text. V3.2 keeps the sampler's choices and replays them in training, so that
the parameters that wrote a token are those that learn from it. Source: DeepSeek-V3.2 (arXiv
2512.02556), section 3.1, "Keep Routing".
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.moe.layer import MoE, text_moe_layers


def last_choices(layers: Sequence[MoE]) -> Int[Tensor, "*B L K"]:
    """Give the experts that each token of the last batch was sent to, layer by layer.

    Raises ValueError if a layer has seen no batch yet, or there is none.
    """
    if not layers:
        raise ValueError("0 layers of experts have chosen nothing")
    for i, layer in enumerate(layers):
        if layer.routing is None:
            raise ValueError(f"layer of experts {i} of {len(layers)} has routed 0 tokens so far")
    return torch.stack([layer.routing.chosen for layer in layers], -2)


@contextmanager
def replayed_routing(model: nn.Module, chosen: Int[Tensor, "*B L K"]) -> Iterator[None]:
    """Within, the model sends each token of a batch to these experts, as `last_choices` gave them.

    Only the choice is kept. What a chosen expert counts is reckoned from the present router, which
    so still learns. Raises ValueError for another number of layers, or experts that they lack.
    """
    layers = text_moe_layers(model)
    if chosen.shape[-2:-1] != (len(layers),):
        raise ValueError(f"choices of shape {tuple(chosen.shape)} are not for {len(layers)} layers")
    n_experts = min(len(layer.router.weight) for layer in layers)
    if chosen.numel() and not 0 <= chosen.min() <= chosen.max() < n_experts:
        raise ValueError(f"expert {chosen.max()} or {chosen.min()} of {n_experts} does not exist")
    for layer, theirs in zip(layers, chosen.unbind(-2), strict=True):
        layer.replay = theirs
    try:
        yield
    finally:
        for layer in layers:
            layer.replay = None


def changed_choices(chosen: Int[Tensor, "*B K"], other: Int[Tensor, "*B K"]) -> Float[Tensor, "*B"]:
    """Give the share of each token's experts that are not among the other's, whatever their order.

    Raises ValueError if the two differ in shape, or name no expert.

    >>> changed_choices(torch.tensor([[0, 3], [0, 3]]), torch.tensor([[3, 0], [3, 1]]))
    tensor([0.0000, 0.5000])
    """
    if chosen.shape != other.shape or not chosen.shape[-1]:
        raise ValueError(f"choices of shapes {tuple(chosen.shape)} and {tuple(other.shape)}")
    same = (chosen[..., :, None] == other[..., None, :]).any(-1)
    return 1 - same.float().mean(-1)
