"""GPT-2 (Radford et al. 2019): the decoder-only transformer that the course grows from."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import (
    AttentionCache,
    SelfAttention,
    check_head_sizes,
    check_length,
)
from course_lib.layers.embedding import Embedding, check_ids
from course_lib.layers.mlp import MLP
from course_lib.layers.norm import LayerNorm
from course_lib.models.settings_check import check_settings


@dataclass(frozen=True)
class GPT2Settings:
    """The numbers that make one GPT-2 differ from another.

    `d_ff` None means the paper's four times `d_model`. Raises ValueError for a number that is none,
    or that fits no other.

    >>> GPT2Settings(d_model=100, n_heads=3)
    Traceback (most recent call last):
    ValueError: d_model 100 is not divisible by n_heads 3
    """

    vocab_size: int = 50257
    max_seq_len: int = 1024
    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    d_ff: int | None = None

    def __post_init__(self) -> None:
        check_settings(self)
        check_head_sizes(self.d_model, self.n_heads)
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)


GPT2_SMALL = GPT2Settings()  # 124,439,808 parameters
GPT2_MEDIUM = GPT2Settings(d_model=1024, n_layers=24, n_heads=16)  # 354,823,168
GPT2_LARGE = GPT2Settings(d_model=1280, n_layers=36, n_heads=20)  # 774,030,080
GPT2_XL = GPT2Settings(d_model=1600, n_layers=48, n_heads=25)  # 1,557,611,200


class GPT2Block(nn.Module):
    """One layer: look around (attention), then think (MLP); each adds to the stream it reads."""

    def __init__(self, settings: GPT2Settings) -> None:
        super().__init__()
        self.norm_1 = LayerNorm(settings.d_model)
        self.attention = SelfAttention(settings.d_model, settings.n_heads)
        self.norm_2 = LayerNorm(settings.d_model)
        self.mlp = MLP(settings.d_model, settings.d_ff)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        cache: AttentionCache | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        x = x + self.attention(self.norm_1(x), cache, padding)
        return x + self.mlp(self.norm_2(x))


class GPT2(nn.Module):
    """Predict the next token at every position: `model(ids)` gives the logits.

    With `caches` (one per layer, see `inference.cache`), `ids` continue what the caches hold.
    `padding` is True where there is no token, in the caches and in `ids`: a row's places are
    counted from its first real token. Differs from the paper: no dropout, since our models read
    their text about once.
    """

    def __init__(self, settings: GPT2Settings) -> None:
        super().__init__()
        self.settings = settings
        self.token_embedding = Embedding(settings.vocab_size, settings.d_model)
        self.position_embedding = nn.Embedding(settings.max_seq_len, settings.d_model)
        self.blocks = nn.ModuleList(GPT2Block(settings) for _ in range(settings.n_layers))
        self.norm = LayerNorm(settings.d_model)
        init_gpt2_weights(self)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        return self.logits(self.hidden(ids, caches, padding))

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens: what stands in the stream after the last block, normed."""
        positions = self.positions(ids, caches[0].length if caches else 0, padding)
        x = self.token_embedding(ids) + self.position_embedding(positions)
        for layer, block in enumerate(self.blocks):
            x = block(x, caches[layer] if caches else None, padding)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the next one, by the same table that reads them."""
        return self.token_embedding.logits(hidden)

    def positions(
        self,
        ids: Int[Tensor, "B T"],
        past: int | Int[Tensor, "B"],
        padding: Bool[Tensor, "B S"] | None,
    ) -> Int[Tensor, "T"] | Int[Tensor, "B T"]:
        """Number the new tokens, counting on from `past`, one number for all rows or one for each.

        Raises ValueError for a token or place the model lacks.
        """
        check_ids(ids, self.settings.vocab_size)
        end = check_length(ids, self.settings.max_seq_len, past)
        if isinstance(past, Tensor):
            return past[:, None] + torch.arange(ids.shape[1], device=ids.device)
        if padding is None:
            return torch.arange(past, end, device=ids.device)
        if padding.shape != (len(ids), end):
            raise ValueError(
                f"padding of shape {tuple(padding.shape)} for {len(ids)} rows of {end} tokens"
            )
        return ((~padding).cumsum(-1) - 1).clamp(min=0)[:, past:]


def init_gpt2_weights(model: nn.Module) -> None:
    """Draw all matrices of a model with `blocks` from N(0, 0.02), smaller ones where it writes.

    What writes into the stream is from N(0, 0.02 / sqrt(2 n_layers)). Each layer writes twice, so
    without the smaller draw the stream would grow with depth (GPT-2 paper, section 2.3).
    """
    std_of_writers = 0.02 / (2 * len(model.blocks)) ** 0.5
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim == 2:
            writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
            nn.init.normal_(parameter, std=std_of_writers if writes else 0.02)


def count_parameters(model: nn.Module) -> int:
    """Count the numbers that training can change; shared ones once.

    >>> with torch.device("meta"):          # shapes without memory
    ...     count_parameters(GPT2(GPT2_SMALL))
    124439808
    """
    return sum(parameter.numel() for parameter in model.parameters())
