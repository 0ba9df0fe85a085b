"""CTRL (Keskar et al. 2019, arXiv 1909.05858): a GPT whose first token says what kind of text."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.layers.attention import AttentionCache
from course_lib.layers.embedding import Embedding
from course_lib.layers.mlp import MLP
from course_lib.layers.norm import LayerNorm
from course_lib.layers.position import SinusoidalPosition, halves_order
from course_lib.models.gpt2 import GPT2, GPT2Block, GPT2Settings, init_gpt2_weights

CTRL_NORM_EPS = 1e-6


@dataclass(frozen=True)
class CTRLSettings(GPT2Settings):
    """The numbers of a CTRL; the defaults are the release. `d_ff` None means 6.4 times `d_model`.

    >>> CTRLSettings().d_ff
    8192
    """

    vocab_size: int = 246_534
    max_seq_len: int = 256
    d_model: int = 1280
    n_layers: int = 48
    n_heads: int = 16

    def __post_init__(self) -> None:
        if self.d_ff is None and isinstance(self.d_model, Integral):
            object.__setattr__(self, "d_ff", max(1, round(6.4 * self.d_model)))
        super().__post_init__()
        if self.d_model % 2:
            raise ValueError(f"d_model {self.d_model} is odd: each frequency has a sine and cosine")


CTRL_RELEASE = CTRLSettings()  # 1,637,964,550 parameters


class CTRLBlock(GPT2Block):
    """GPT-2's layer with ReLU, and 1e-6 where the norms divide."""

    def __init__(self, settings: CTRLSettings) -> None:
        super().__init__(settings)
        self.norm_1 = LayerNorm(settings.d_model, CTRL_NORM_EPS)
        self.norm_2 = LayerNorm(settings.d_model, CTRL_NORM_EPS)
        self.mlp = MLP(settings.d_model, settings.d_ff, F.relu)


class CTRL(GPT2):
    """Predict the next token of a text whose first token is a control code: p(text | code).

    Four changes to GPT-2: places are sinusoids, which are not learned, tokens are scaled by
    sqrt(d_model) to be heard beside them, the MLP bends by ReLU, and the head has a bias. Caches
    and padding are GPT-2's.
    """

    settings: CTRLSettings

    def __init__(self, settings: CTRLSettings) -> None:
        nn.Module.__init__(self)
        self.settings = settings
        self.token_embedding = Embedding(settings.vocab_size, settings.d_model)
        self.position_embedding = HalvedSinusoids(settings.d_model)
        self.blocks = nn.ModuleList(CTRLBlock(settings) for _ in range(settings.n_layers))
        self.norm = LayerNorm(settings.d_model, CTRL_NORM_EPS)
        self.head_bias = nn.Parameter(self.token_embedding.weight.new_zeros(settings.vocab_size))
        init_gpt2_weights(self)

    def hidden(
        self,
        ids: Int[Tensor, "B T"],
        caches: Sequence[AttentionCache] | None = None,
        padding: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the tokens: what stands in the stream after the last block, normed."""
        positions = self.positions(ids, caches[0].length if caches else 0, padding)
        scaled = self.token_embedding(ids) * self.settings.d_model**0.5
        x = scaled + self.position_embedding(positions)
        for layer, block in enumerate(self.blocks):
            x = block(x, caches[layer] if caches else None, padding)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Score every token as the next one; some are likelier from the start, says the bias."""
        return self.token_embedding.logits(hidden) + self.head_bias


class HalvedSinusoids(SinusoidalPosition):
    """Sinusoids for places, all sines first, then all cosines: CTRL's order of the columns."""

    def forward(self, positions: Int[Tensor, "*B T"]) -> Float[Tensor, "*B T C"]:
        table = super().forward(positions.flatten())[:, halves_order(self.d_model)]
        return table.unflatten(0, positions.shape)
