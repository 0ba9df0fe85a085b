"""Other ways to choose what sparse attention reads: the last tokens, any tokens, the best ones.

Each stands in for a `LightningIndexer` and gives scores as that does; `chosen_by` puts it into the
layers for a while. What a choice catches of the weights that attention would have with all tokens
tells `mass_recall`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from course_lib.layers.attention import visible_keys
from course_lib.layers.sparse_attention import SparseMLA

CHOICES = ("window", "random", "oracle")  # besides an indexer's own


class OtherIndexer(nn.Module):
    """What an indexer must give: keys to cache, which are none here, and scores."""

    def __init__(self, attention: SparseMLA) -> None:
        super().__init__()
        # in a list, so that the layer does not become a part of its own part
        self.layer = [attention]

    def keys(self, x: Float[Tensor, "B T C"], start: int = 0) -> Float[Tensor, "B T 1"]:
        return x[..., :1]


class WindowIndexer(OtherIndexer):
    """Score a token by how late it stands: the `top_k` last ones are chosen."""

    def scores(self, x: Tensor, q_latent: Tensor, keys: Tensor, start: int = 0) -> Tensor:
        return torch.arange(keys.shape[1], device=x.device).float().expand(*x.shape[:2], -1)


class RandomIndexer(OtherIndexer):
    """Score every token by chance, anew for each token that looks back."""

    def scores(self, x: Tensor, q_latent: Tensor, keys: Tensor, start: int = 0) -> Tensor:
        return torch.rand(*x.shape[:2], keys.shape[1], device=x.device)


class OracleIndexer(OtherIndexer):
    """Score a token by the weight that attention to all tokens would give it, all heads together.

    No choice of as many tokens catches more of it. It saves nothing: all weights are made first.
    """

    def scores(self, x: Tensor, q_latent: Tensor, keys: Tensor, start: int = 0) -> Tensor:
        return dense_weights(self.layer[0], x).mean(1)


INDEXERS = {"window": WindowIndexer, "random": RandomIndexer, "oracle": OracleIndexer}


@torch.no_grad()
def dense_weights(attention: SparseMLA, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B H T T"]:
    """Write out the weights that the layer would have if each token attended to all before it."""
    visible = visible_keys(x.shape[1], x.shape[1], device=x.device).expand(len(x), -1, -1)
    return attention.weights_of(visible, *attention.queries(x), *attention.latents(x))


def mass_recall(
    weights: Float[Tensor, "B H T S"], selected: Bool[Tensor, "B T S"]
) -> Float[Tensor, "B T"]:
    """Tell which share of each token's attention, all heads together, falls on what is selected."""
    return (weights.mean(1) * selected).sum(-1)


@torch.no_grad()
def layer_recall(attention: SparseMLA, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T"]:
    """Give the `mass_recall` of the layer's own choice, with its present `top_k`."""
    scores = attention.indexer.scores(x, attention.q_latent(x), attention.indexer.keys(x))
    return mass_recall(dense_weights(attention, x), attention.select(scores, None))


@contextmanager
def chosen_by(model: nn.Module, choice: str, top_k: int | None) -> Iterator[None]:
    """Let the model's sparse layers attend to `top_k` tokens of another choice for a while.

    "dense" is all tokens, "indexer" the layers' own choice; the others are in `CHOICES`. Raises
    ValueError for one that is none of these, and for a `top_k` below 1.
    """
    if choice not in ("dense", "indexer", *CHOICES):
        raise ValueError(f"choice {choice!r} is none of dense, indexer, {', '.join(CHOICES)}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k {top_k}: a token must attend to at least 1")
    layers = [part for part in model.modules() if isinstance(part, SparseMLA)]
    before = [(layer.top_k, layer.indexer) for layer in layers]
    for layer in layers:
        layer.top_k = None if choice == "dense" else top_k
        if choice in INDEXERS:
            layer.indexer = INDEXERS[choice](layer)
    try:
        yield
    finally:
        for layer, (k, indexer) in zip(layers, before, strict=True):
            layer.top_k, layer.indexer = k, indexer
