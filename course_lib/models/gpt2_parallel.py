"""GPT-2 split over the processes of a tensor-parallel group (Megatron-LM, Shoeybi et al. 2019)."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from course_lib.layers.tensor_parallel import (
    ColumnParallelLinear,
    Group,
    RowParallelLinear,
    VocabParallelEmbedding,
    even_share,
    rank_and_size,
)
from course_lib.models.gpt2 import GPT2, GPT2Settings

# Megatron-LM's GPT-2s by their billions of parameters: (settings, ways split). Table 1 of the
# paper; the vocabulary of 50,257 is padded to a multiple of 128 x 8.
MEGATRON_GPT = {
    f"{billions}B": (GPT2Settings(51200, 1024, d_model, n_layers, n_heads), ways)
    for billions, d_model, n_layers, n_heads, ways in (
        (1.2, 1536, 40, 16, 1),
        (2.5, 1920, 54, 20, 2),
        (4.2, 2304, 64, 24, 4),
        (8.3, 3072, 72, 32, 8),
    )
}


def slice_of_gpt2(
    name: str, whole: Shaped[Tensor, "..."], rank: int, n_ranks: int
) -> Shaped[Tensor, "..."]:
    """Cut out of a parameter of a whole GPT-2, or of its gradient, what a rank holds.

    Queries, keys and values lie below each other in one weight; a rank takes its heads of each.
    Norms, positions and the biases behind a sum are on every rank.
    """
    if name.endswith(("qkv.weight", "qkv.bias")):
        return whole.unflatten(0, (3, -1)).chunk(n_ranks, 1)[rank].flatten(0, 1)
    if name.endswith(("up.weight", "up.bias", "token_embedding.weight")):
        return whole.chunk(n_ranks, 0)[rank]
    if name.endswith(("out.weight", "down.weight")):
        return whole.chunk(n_ranks, 1)[rank]
    return whole


def split_gpt2(model: GPT2, group: Group = None) -> GPT2:
    """Make this rank's part of a whole GPT-2; the whole one stays as it is.

    The part is called like the whole, but its logits are those of its own tokens: use
    `vocab_parallel_cross_entropy`. Raises ValueError where heads, widths or vocabulary can't be
    divided by the ranks.
    """
    settings, (rank, n_ranks) = model.settings, rank_and_size(group)
    check_can_split(settings, n_ranks)
    with torch.device("meta"):
        part = GPT2(settings)
    C, F, V = settings.d_model, settings.d_ff, settings.vocab_size
    part.token_embedding = VocabParallelEmbedding(V, C, group)
    for block in part.blocks:
        block.attention.n_heads = block.attention.n_kv_heads = settings.n_heads // n_ranks
        block.attention.qkv = ColumnParallelLinear(C, 3 * C, group)
        block.attention.out = RowParallelLinear(C, C, group)
        block.mlp.up, block.mlp.down = (
            ColumnParallelLinear(C, F, group),
            RowParallelLinear(F, C, group),
        )
    mine = {
        name: slice_of_gpt2(name, whole, rank, n_ranks).clone()
        for name, whole in model.state_dict().items()
    }
    part.load_state_dict(mine, assign=True)
    return part


def check_can_split(settings: GPT2Settings, n_ranks: int) -> None:
    """Raise a ValueError with both numbers where a GPT-2 can't be divided by the ranks.

    >>> check_can_split(GPT2Settings(vocab_size=512, d_model=96, n_heads=6), n_ranks=4)
    Traceback (most recent call last):
    ValueError: n_heads 6 is not divisible by 4 ranks
    """
    for name in ("n_heads", "d_ff", "vocab_size"):
        even_share(name, getattr(settings, name), n_ranks)


def all_reduces_of_split_gpt2(n_layers: int) -> tuple[int, int]:
    """Count the sums over ranks of one step, forward and backward.

    Two per layer each way, one for the embedding and three small ones for the loss forward, one
    before the logits backward.
    """
    return 2 * n_layers + 4, 2 * n_layers + 1
