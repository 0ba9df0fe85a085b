"""DeepSeek-V3 with a memory of n-grams before one of its blocks: Engram at our size."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from course_lib.layers.attention import AttentionCache, longest_row
from course_lib.layers.embedding import check_ids
from course_lib.layers.ngram_memory import NgramMemory
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
        past: Int[Tensor, "B P"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens; behind what caches hold, `past` must name the last tokens before."""
        if padding is not None:
            raise ValueError("padding: the memory would take it for tokens of the text")
        check_ids(ids, self.settings.vocab_size)
        known = longest_row(caches[0].length) if caches else 0
        if known + ids.shape[1] > self.settings.max_seq_len:
            raise ValueError(
                f"{known + ids.shape[1]} tokens are more than max_seq_len"
                f" {self.settings.max_seq_len}"
            )
        needed = min(known, self.settings.longest_ngram - 1)
        if (0 if past is None else past.shape[1]) < needed:
            raise ValueError(f"the caches hold {known} tokens: past must name the last {needed}")
        x = self.token_embedding(ids)
        for layer, block in enumerate(self.blocks):
            if layer == self.settings.memory_layer:
                x = x + self.memory(x, ids, past)
            x = block(x, caches[layer] if caches else None)
        return self.norm(x)
