"""V4's attention: the last tokens one by one, and what lies further back in compressed entries.

`SharedKVAttention` sees a window alone; `HCA` also reads one entry for each long block, all of
them; `CSA` one for each short block, of which an indexer chooses a few. Letters: `D` is the width
of a head and of an entry; `N` counts blocks.

How ours differs from the report (DeepSeek-V4, arXiv 2606.19348, section 2.3) and the released code:

1. No 8-bit or 4-bit numbers and no Hadamard rotation.
2. Among blocks of equal score the earliest is taken, as in `SparseMLA`.
3. The indexer's loss is V3.2's, carried over to blocks: the report says that the indexer is warmed
   up, not how.
"""

import warnings
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.check_numbers import check_whole_numbers
from course_lib.layers.attention import visible_keys
from course_lib.layers.compressor import BlockIndexer, Compressor, visible_blocks
from course_lib.layers.shared_kv_attention import CompressedCache, SharedKVAttention, sink_weights
from course_lib.layers.sparse_attention import check_scores, select_top_k


class HCA(SharedKVAttention):
    """Heavily compressed attention: the window, and one entry of every `rate` tokens before.

    A block that lies in the window is read twice, token by token and as an entry. The tokens of the
    block that is not finished are reached by the window alone. It takes the rate, then the numbers
    of `SharedKVAttention`. Source: arXiv 2606.19348, section 2.3.2.
    """

    overlap = False

    def __init__(self, rate: int, *shared_settings: Any, **more: Any) -> None:
        super().__init__(*shared_settings, **more)
        if self.window < rate - 1:
            warnings.warn(
                f"a window of {self.window} tokens is shorter than a block of {rate}: what lies"
                " between the last block and the window is read by nobody",
                stacklevel=2,
            )
        self.compressor = Compressor(
            self.kv.in_features, self.head_dim, rate, self.rotary, self.overlap, self.norm_eps
        )

    def read_blocks(
        self,
        x: Float[Tensor, "B T C"],
        q_latent: Float[Tensor, "B T Rq"],
        positions: Int[Tensor, "T"],
        cache: CompressedCache,
    ) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "*B T N"]]:
        """Give all finished blocks; a token reads those that were finished for it."""
        cache.blocks = self.compressor(x, cache.blocks)
        entries = cache.blocks.entries
        return entries, visible_blocks(positions, entries.shape[1], self.compressor.rate)[None]


class CSA(HCA):
    """Compressed sparse attention: short blocks with overlap, the `top_k` best-scored of them.

    With `top_k` None, or no more blocks than that, all finished ones. The cache holds an index key
    per block as well. It takes three numbers of the indexer, then those of `HCA`. The language
    model's loss does not reach the indexer; `indexer_loss` teaches it. Source: arXiv 2606.19348,
    section 2.3.1.
    """

    overlap = True

    def __init__(
        self,
        index_n_heads: int,
        index_head_dim: int,
        index_top_k: int,
        rate: int,
        *shared_settings: Any,
        **more: Any,
    ) -> None:
        super().__init__(rate, *shared_settings, **more)
        check_whole_numbers(index_n_heads=index_n_heads, index_top_k=index_top_k)
        self.top_k: int | None = index_top_k
        d_model, q_lora_rank = self.q_down.in_features, self.q_down.out_features
        self.indexer = BlockIndexer(
            d_model, q_lora_rank, index_n_heads, index_head_dim, rate, self.rotary, self.norm_eps
        )

    def read_blocks(
        self,
        x: Float[Tensor, "B T C"],
        q_latent: Float[Tensor, "B T Rq"],
        positions: Int[Tensor, "T"],
        cache: CompressedCache,
    ) -> tuple[Float[Tensor, "B N D"], Bool[Tensor, "*B T N"]]:
        """Give all finished blocks; a token reads the best-scored of those finished for it.

        One new token gets what it reads alone. Source: equation 17.
        """
        entries, visible = super().read_blocks(x, q_latent, positions, cache)
        cache.index = self.indexer.compressor(x.detach(), cache.index)
        if self.top_k is None or entries.shape[1] <= self.top_k:
            return entries, visible
        keys = cache.index.entries
        scores = self.indexer.scores(x.detach(), q_latent.detach(), keys, positions)
        selected = self.select(scores, visible)
        if x.shape[1] != 1:
            return entries, selected
        entries = entries[selected[:, 0]].unflatten(0, (len(x), self.top_k))
        return entries, visible[..., : self.top_k]

    def select(
        self, scores: Float[Tensor, "B T N"], visible: Bool[Tensor, "1 T N"]
    ) -> Bool[Tensor, "B T N"]:
        """Mark the blocks that each token reads; of equal scores the earliest."""
        if self.top_k is None:
            return visible.expand(scores.shape)
        hidden = check_scores(scores).masked_fill(~visible, -torch.inf)
        return select_top_k(hidden, self.top_k) & visible

    def indexer_loss(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, ""]:
        """How far the indexer's choice is from the blocks that attention looks at, in nats.

        KL(p || softmax of the indexer's scores), p the weights of all heads together on the blocks;
        the mean over tokens that read one. With `top_k` None over all finished blocks, as in the
        warm-up; else over the selected ones. Only the indexer gets a gradient. Source: V3.2's
        equations 3 and 4 (arXiv 2512.02556), over blocks.
        """
        x, positions = x.detach(), torch.arange(x.shape[1], device=x.device)
        with torch.no_grad():
            q_latent, q, kv = self.project(x, positions)
            entries = self.compressor(x).entries
            visible = visible_blocks(positions, entries.shape[1], self.compressor.rate)[None]
        scores = self.indexer.scores(x, q_latent, self.indexer.compressor(x).entries, positions)
        with torch.no_grad():
            selected = self.select(scores, visible)
            near = visible_keys(len(positions), len(positions), self.window, device=x.device)
            seen = torch.cat([near.expand(len(x), -1, -1), selected], -1)
            weights = sink_weights(q, torch.cat([kv, entries], 1), seen, self.sinks)
            target = weights[..., len(positions) :].sum(1)
        # the first tokens have no block behind them, and a large sink may leave a block no weight
        reads = target.sum(-1) != 0  # NaN reads: the loss must tell
        target = target[reads] / target[reads].sum(-1, keepdim=True)
        log_index = scores.masked_fill(~selected, -torch.inf)[reads].log_softmax(-1)
        difference = target.log().sub(log_index).masked_fill(target == 0, 0.0)
        return (target * difference).sum() / reads.sum().clamp(min=1)
