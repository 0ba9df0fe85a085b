"""Llama (Touvron et al. 2023), which DeepSeek's V1 and SmolLM2 are too: GPT-2, modernised."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import (
    AttentionCache,
    SelfAttention,
    check_head_sizes,
    check_length,
)
from course_lib.layers.embedding import Embedding, check_ids
from course_lib.layers.mlp import SwiGLU
from course_lib.layers.norm import RMSNorm
from course_lib.layers.position import RotaryPosition, RotaryScaling, check_longest
from course_lib.models.settings_check import check_settings

# GPT-2's, so that the rungs of the course start alike; DeepSeek's papers say 0.006 for their widths
INIT_STD = 0.02


@dataclass(frozen=True)
class LlamaSettings:
    """The numbers that make one such model differ from another.

    `n_kv_heads` None means as many as `n_heads`; `d_ff` None means eight thirds of `d_model` to the
    nearest multiple of 8, which makes a SwiGLU as large as GPT-2's MLP. With `tied`, the token
    embedding is the head as well. `rope_scaling` stretches the rotary positions to a `max_seq_len`
    longer than the trained one; `ntk_base` does so by another `rope_base`. Raises ValueError for a
    number that is none, or that fits no other.

    >>> LlamaSettings(vocab_size=512, max_seq_len=128, d_model=100, n_layers=2, n_heads=3)
    Traceback (most recent call last):
    ValueError: d_model 100 is not divisible by n_heads 3
    """

    vocab_size: int
    max_seq_len: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int | None = None
    d_ff: int | None = None
    rope_base: float = 10_000.0
    norm_eps: float = 1e-6
    tied: bool = False
    rope_scaling: RotaryScaling | None = None

    def __post_init__(self) -> None:
        self.fill_in()
        check_head_sizes(self.d_model, self.n_heads, self.n_kv_heads)
        if self.d_head % 2:
            raise ValueError(
                f"d_model {self.d_model} / n_heads {self.n_heads} is odd: rotary positions want"
                " pairs"
            )

    def fill_in(self, *may_be_zero: str) -> None:
        """Refuse what is no number, and put the numbers that None stands for."""
        check_settings(self, may_be_zero)
        check_longest(self.max_seq_len, self.rope_scaling)
        if self.n_kv_heads is None:
            object.__setattr__(self, "n_kv_heads", self.n_heads)
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", swiglu_width(self.d_model))

    @property
    def d_head(self) -> int:
        """Give the width of a head."""
        return self.d_model // self.n_heads


def swiglu_width(d_model: int) -> int:
    """Give the width at which a SwiGLU has about the parameters of an MLP of `4 * d_model`.

    >>> swiglu_width(64)
    168
    """
    return max(8, round(d_model / 3) * 8)


DEEPSEEK_7B = LlamaSettings(102_400, 4096, d_model=4096, n_layers=30, n_heads=32, d_ff=11008)
DEEPSEEK_67B = LlamaSettings(
    102_400, 4096, d_model=8192, n_layers=95, n_heads=64, n_kv_heads=8, d_ff=22016
)
SMOLLM2_135M = LlamaSettings(
    49_152, 8192, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, d_ff=1536,
    rope_base=100_000.0, norm_eps=1e-5, tied=True,
)  # fmt: skip


class LlamaBlock(nn.Module):
    """One layer: look around (attention), then think (MLP or what is for it), each normed first."""

    def __init__(self, d_model: int, attention: nn.Module, mlp: nn.Module, norm_eps: float) -> None:
        super().__init__()
        self.norm_1 = RMSNorm(d_model, norm_eps)
        self.attention = attention
        self.norm_2 = RMSNorm(d_model, norm_eps)
        self.mlp = mlp

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        x = x + self.attention(self.norm_1(x), cache, padding)
        return x + self.mlp(self.norm_2(x))


class Llama(nn.Module):
    """Predict the next token at every position: `model(ids)` gives the logits.

    Four changes to GPT-2: RMSNorm, rotary positions, SwiGLU, and heads that may share keys and
    values; and no biases. With `caches` (one per layer), `ids` continue what the caches hold;
    `padding` is True where there is no token, in the caches and in `ids`, or none that may be seen
    (see `visible_keys`). Sources: Touvron et al. 2023 (arXiv 2302.13971), section 2.2; DeepSeek LLM
    (arXiv 2401.02954), section 2.2.
    """

    def __init__(self, settings: LlamaSettings) -> None:
        super().__init__()
        self.settings = settings
        self.token_embedding = Embedding(settings.vocab_size, settings.d_model)
        self.blocks = nn.ModuleList(self.block(layer) for layer in range(settings.n_layers))
        self.norm = RMSNorm(settings.d_model, settings.norm_eps)
        self.head = (
            None if settings.tied else nn.Linear(settings.d_model, settings.vocab_size, bias=False)
        )
        init_llama_weights(self, settings.n_layers)

    def block(self, layer: int) -> LlamaBlock:
        """Build one layer.

        A model that changes a part of it, as DeepSeek's do, overrides the part below.
        """
        return LlamaBlock(
            self.settings.d_model, self.attention(), self.mlp(layer), self.settings.norm_eps
        )

    def attention(self) -> nn.Module:
        """Build the part that looks around."""
        s = self.settings
        rotary = RotaryPosition(s.d_head, s.rope_base, s.rope_scaling)
        return SelfAttention(s.d_model, s.n_heads, s.n_kv_heads, position=rotary, bias=False)

    def mlp(self, layer: int) -> nn.Module:
        """Build the part that thinks."""
        return SwiGLU(self.settings.d_model, self.settings.d_ff)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(ids, caches, padding))

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None = None,
        padding: Bool[Tensor, "B *T S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens: what stands in the stream after the last block, normed."""
        check_ids(ids, self.settings.vocab_size)
        check_length(ids, self.settings.max_seq_len, caches[0].length if caches else 0)
        x = self.token_embedding(ids)
        for layer, block in enumerate(self.blocks):
            x = block(x, caches[layer] if caches else None, padding)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the next one."""
        return self.token_embedding.logits(hidden) if self.head is None else self.head(hidden)


def init_llama_weights(module: nn.Module, n_layers: int) -> None:
    """Draw all matrices from N(0, INIT_STD); those that write into the stream are smaller.

    They are from N(0, INIT_STD / sqrt(2 n_layers)). Each layer writes twice, so without the smaller
    draw the stream would grow with depth; see GPT-2. Stacks of matrices, as the experts of a layer,
    count as matrices.
    """
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2:
            writes = {"out", "down"} & set(name.split("."))
            nn.init.normal_(parameter, std=INIT_STD / (2 * n_layers) ** 0.5 if writes else INIT_STD)


def kv_cache_numbers_per_token(settings: LlamaSettings) -> int:
    """Count the numbers that all caches hold for each token: a key and a value per layer and head.

    Query heads that share a key count as one. With one pair per head instead of per eight it were
    1,556,480:

    >>> kv_cache_numbers_per_token(DEEPSEEK_67B)
    194560
    """
    return 2 * settings.n_layers * settings.n_kv_heads * settings.d_head
