"""DeepSeek-V3 with a memory of n-grams before one of its blocks: Engram at our size."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.layers.attention import AttentionCache, check_length
from course_lib.layers.embedding import check_ids
from course_lib.layers.ngram_memory import NO_TOKEN, NgramMemory
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.llama import init_llama_weights


@dataclass(frozen=True)
class MemorySettings(DeepSeekSettings):
    """The numbers of a V3, and those of its memory, which is read before block `memory_layer`.

    >>> MemorySettings(512, 128, d_model=64, n_layers=3, n_heads=4, memory_layer=3)
    Traceback (most recent call last):
    ValueError: memory_layer 3 is not below n_layers 3
    """

    memory_layer: int = 1
    memory_rows: int = 1024  # of each table, at least
    memory_width: int = 16  # numbers in a row
    memory_heads: int = 2  # tables for each length of n-gram
    longest_ngram: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory_layer >= self.n_layers:
            raise ValueError(
                f"memory_layer {self.memory_layer} is not below n_layers {self.n_layers}"
            )


class MemoryV3(DeepSeekV3):
    """V3 that adds a memory of n-grams to the stream before one block.

    `numbers` as in `NgramMemory`. Source: Engram (arXiv 2601.07372), which reads memories before
    two blocks of thirty, attention of each after it.
    """

    settings: MemorySettings

    @property
    def n_caches(self) -> int:
        """Count the caches: one per layer, and one for the tokens, which make the n-grams."""
        return self.settings.n_layers + 1

    def __init__(self, settings: MemorySettings, numbers: Int[Tensor, "V"] | None = None) -> None:
        super().__init__(settings)
        s = settings
        sizes = (s.memory_rows, s.memory_width, s.memory_heads, s.longest_ngram)
        self.memory = NgramMemory(s.d_model, s.vocab_size, *sizes, numbers)
        init_llama_weights(self.memory, s.n_layers)

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens; `padding` covers the tokens in the caches too."""
        check_ids(ids, self.settings.vocab_size)
        check_length(ids, self.settings.max_seq_len, caches[0].length if caches else 0)
        tokens = self.tokens_so_far(ids, caches, padding)
        start = tokens.shape[1] - ids.shape[1]
        past = tokens[:, max(0, start - self.settings.longest_ngram + 1) : start]
        x = self.token_embedding(ids)
        for layer, block in enumerate(self.blocks):
            if layer == self.settings.memory_layer:
                x = x + self.memory(x, tokens[:, start:], past)
            x = block(x, caches[layer] if caches else None, padding)
        return self.norm(x)

    def tokens_so_far(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None,
        padding: Bool[Tensor, "B *T S"] | None,
    ) -> Int[Tensor, "B S"]:
        """Put the new tokens behind those in the last cache; `NO_TOKEN` stands for padding."""
        if caches and len(caches) != self.n_caches:
            raise ValueError(
                f"{len(caches)} caches: a memory of n-grams needs {self.n_caches}, one per layer"
                " and one for the tokens; make_caches makes them"
            )
        if caches:
            ids = caches[-1].append(ids[..., None])[0][..., 0]
        if padding is None:
            return ids
        if padding.shape != ids.shape:
            raise ValueError(
                f"padding of shape {tuple(padding.shape)} for {len(ids)} rows of {ids.shape[1]}"
                " tokens: the memory reads each row as one text"
            )
        return ids.masked_fill(padding, NO_TOKEN)
