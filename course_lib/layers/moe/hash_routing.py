"""Routing by the token alone: a table says which experts a token of the vocabulary visits.

The choice is fixed before training starts, so nothing can collapse. How much each chosen expert
counts is still learned. Sources: Roller et al. 2021, hash layers (arXiv 2106.04426); DeepSeek-V4
(arXiv 2606.19348), section 2.1, whose first three layers are such. V4's table is in its files; how
it was made has not been told. Ours are the two of Roller's.
"""

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor

from course_lib.check_numbers import check_whole_numbers
from course_lib.layers.embedding import check_ids
from course_lib.layers.moe.routing import (
    Router,
    Routing,
    check_routing,
    sqrt_softplus,
    weigh_chosen,
)


def random_hash_table(
    vocab_size: int, n_experts: int, n_chosen: int, seed: int = 0
) -> Int[Tensor, "V K"]:
    """Draw distinct experts for each token, however often it occurs.

    >>> random_hash_table(vocab_size=2, n_experts=4, n_chosen=2).shape
    torch.Size([2, 2])
    """
    check_whole_numbers(vocab_size=vocab_size)
    check_routing(n_experts, n_chosen)
    rng = torch.Generator().manual_seed(seed)
    return torch.rand(vocab_size, n_experts, generator=rng).topk(n_chosen).indices


def balanced_hash_table(
    counts: Num[Tensor, "V"], n_experts: int, n_chosen: int
) -> Int[Tensor, "V K"]:
    """Give each token the experts with the least load so far, the most frequent token first.

    `counts` is how often each token occurs; ValueError if one is below 0 or not finite.
    Source: arXiv 2106.04426, section 3.2, balanced assignment.

    >>> balanced_hash_table(torch.tensor([5, 3, 2]), n_experts=2, n_chosen=1).tolist()
    [[0], [1], [1]]
    """
    check_routing(n_experts, n_chosen)
    if counts.ndim != 1 or not len(counts) or not 0 <= counts.min() <= counts.max() < torch.inf:
        raise ValueError(
            f"counts of shape {tuple(counts.shape)}, as {counts.flatten()[:9].tolist()}: there must"
            " be one for each token, finite and from 0 on"
        )
    load = torch.zeros(n_experts, dtype=torch.double)
    table = torch.empty(len(counts), n_chosen, dtype=torch.long)
    for token in counts.argsort(descending=True, stable=True):
        table[token] = load.argsort(stable=True)[:n_chosen]
        load[table[token]] += counts[token]
    return table


def check_hash_table(table: Int[Tensor, "V K"], n_experts: int) -> None:
    """Raise a ValueError if a token's experts are not distinct, or are none; or for no token.

    A token that visits one expert twice trains it twice as fast and the others not at all. The
    table of transformers' class is all zeros until a file is read: all tokens, twice, to expert 0.
    """
    if table.ndim != 2 or not len(table) or table.is_floating_point():
        raise ValueError(
            f"a table of shape {tuple(table.shape)} and {table.dtype} names no experts"
        )
    check_routing(n_experts, table.shape[-1])
    if table.is_meta:
        return
    if table.min() < 0 or table.max() >= n_experts:
        raise ValueError(f"the table names expert {table.max()} or {table.min()} of {n_experts}")
    ordered = table.sort(-1).values
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(-1)
    if twice.any():
        row = int(twice.nonzero()[0])
        raise ValueError(
            f"token {row} goes to the experts {table[row].tolist()}: they must be distinct, and are"
            f" not for {int(twice.sum())} of {len(table)} tokens"
        )


def route_by_table(
    logits: Float[Tensor, "*B E"],
    ids: Int[Tensor, "*B"],
    table: Int[Tensor, "V K"],
    scale: float = 1.0,
) -> Routing:
    """Choose by the table; weigh by the affinities of the chosen, as `route_sqrt_softplus` does.

    Raises ValueError for a token that the table lacks, and unless each row of logits has a token.
    """
    if ids.shape != logits.shape[:-1]:
        raise ValueError(
            f"ids of shape {tuple(ids.shape)} for logits of shape {tuple(logits.shape)}"
        )
    check_ids(ids, len(table))
    return weigh_chosen(sqrt_softplus(logits), table[ids], scale)


class HashRouter(Router):
    """The gate of DeepSeek-V4's first layers, see `route_by_table`: it is told the tokens.

    Raises ValueError for a table that `check_hash_table` refuses, at first or read from a file.
    """

    normalised = True

    def __init__(
        self, d_model: int, n_experts: int, table: Int[Tensor, "V K"], scale: float = 1.0
    ) -> None:
        check_hash_table(table, n_experts)
        super().__init__(d_model, n_experts, table.shape[-1], scale=scale)
        self.register_buffer("table", table)

    def forward(self, x: Float[Tensor, "*B C"], ids: Int[Tensor, "*B"]) -> Routing:
        return route_by_table(self.logits(x), ids, self.table, self.choice["scale"])

    def _load_from_state_dict(self, state: dict, prefix: str, *rest) -> None:
        if (table := state.get(prefix + "table")) is not None:
            check_hash_table(table, len(self.weight))
        super()._load_from_state_dict(state, prefix, *rest)
