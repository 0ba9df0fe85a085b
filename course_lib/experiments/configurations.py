"""DeepSeek's published models in numbers: parameters, cache, operations, beside what was printed.

    python -m course_lib.experiments.configurations

prints the tables of the book's page "Real configurations", which is built from them. Every model is
made by the course's own classes on the meta device, which holds shapes and no numbers, and counted.
What is printed elsewhere stands in `PUBLISHED_MODELS`, with its source; tests hold the two equal to
the digits that were printed.
"""

from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import NamedTuple

import torch
from torch import nn

from course_lib.files import markdown_table
from course_lib.models.deepseek import (
    DEEPSEEK_V2,
    DEEPSEEK_V2_LITE,
    DEEPSEEK_V3,
    DEEPSEEK_V32,
    DeepSeekSettings,
    DeepSeekV2,
    DeepSeekV3,
    DeepSeekV32,
    DeepSeekV32Settings,
    count_active_parameters,
    mla_cache_numbers_per_token,
)
from course_lib.models.deepseek_v4 import (
    DEEPSEEK_V4_FLASH,
    DEEPSEEK_V4_PRO,
    DeepSeekV4,
    DeepSeekV4Settings,
    v4_cache_bytes_per_token,
    v4_cache_numbers_per_token,
)
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import (
    DEEPSEEK_7B,
    DEEPSEEK_67B,
    Llama,
    LlamaSettings,
    kv_cache_numbers_per_token,
)

CACHE_BYTES = 2  # a number in bfloat16
H100_FLOPS = 989e12  # per second in bfloat16, as its maker reports
V1_PAPER = "[DeepSeek LLM](https://arxiv.org/abs/2401.02954)"
MOE_PAPER = "[DeepSeekMoE](https://arxiv.org/abs/2401.06066)"
V2_PAPER = "[DeepSeek-V2](https://arxiv.org/abs/2405.04434)"
V3_PAPER = "[DeepSeek-V3](https://arxiv.org/abs/2412.19437)"
R1_PAGE = "[DeepSeek-R1's repository](https://github.com/deepseek-ai/DeepSeek-R1)"
V4_PAPER = "[DeepSeek-V4](https://arxiv.org/abs/2606.19348)"
INSIGHTS = "[Insights into DeepSeek-V3](https://arxiv.org/abs/2505.09343)"


@dataclass(frozen=True)
class PublishedModel:
    """A model that was published, and what was printed of it; None: we found no such number."""

    name: str
    kind: type[nn.Module]
    settings: LlamaSettings | DeepSeekV4Settings
    parameters: str  # billions in all
    active: str  # billions that a token meets
    source: str  # of both
    tokens: float | None  # that the base was trained on
    cache: tuple[str, str] | None = None  # numbers or bytes per token, and where that is printed
    train_gflops: tuple[str, str] | None = None  # per token, and where
    gpu_hours: tuple[float, str] | None = None  # H800 hours per 10^12 tokens, and where


PUBLISHED_MODELS = [
    PublishedModel("V1 7B", Llama, DEEPSEEK_7B, "6.9", "6.9", f"{MOE_PAPER}, table 3", 2e12),
    PublishedModel(
        "V1 67B", Llama, DEEPSEEK_67B, "67.4", "67.4", f"{MOE_PAPER}, table 6", 2e12,
        gpu_hours=(300.6e3, f"{V2_PAPER}, section 3.2.3"),
    ),
    PublishedModel(
        "V2-Lite", DeepSeekV2, DEEPSEEK_V2_LITE, "15.7", "2.4", f"{V2_PAPER}, appendix B", 5.7e12,
        cache=("15.6 K numbers", f"{V2_PAPER}, table 9"),
    ),
    PublishedModel(
        "V2", DeepSeekV2, DEEPSEEK_V2, "236", "21", f"{V2_PAPER}, abstract", 8.1e12,
        cache=("34.6 K numbers", f"{V2_PAPER}, table 9"),
        train_gflops=("155", f"{INSIGHTS}, table 2"),
        gpu_hours=(172.8e3, f"{V2_PAPER}, section 3.2.3"),
    ),
    PublishedModel(
        "V3", DeepSeekV3, DEEPSEEK_V3, "671", "37", f"{V3_PAPER}, abstract", 14.8e12,
        cache=("70.272 KB", f"{INSIGHTS}, table 1"),
        train_gflops=("250", f"{INSIGHTS}, table 2"),
        gpu_hours=(180e3, f"{V3_PAPER}, section 1"),
    ),
    PublishedModel("R1", DeepSeekV3, DEEPSEEK_V3, "671", "37", R1_PAGE, None),
]  # fmt: skip
# those after R1, whose tokens attend to a chosen few: no count of operations below is of them
SPARSE_MODELS = [
    PublishedModel(
        "V3.2", DeepSeekV32, DEEPSEEK_V32, "671", "37", f"{V3_PAPER}, abstract, of V3", None
    ),
    PublishedModel(
        "V4-Flash", DeepSeekV4, DEEPSEEK_V4_FLASH, "284", "13", f"{V4_PAPER}, section 4.2.1", 32e12,
        cache=("7 % of V3.2", f"{V4_PAPER}, section 1"),
    ),
    PublishedModel(
        "V4-Pro", DeepSeekV4, DEEPSEEK_V4_PRO, "1.6E3", "49", f"{V4_PAPER}, section 4.2.1", 33e12,
        cache=("10 % of V3.2", f"{V4_PAPER}, section 1"),
    ),
]  # fmt: skip
# Printed of whole batches: operations of training on 4096 tokens, in 10^12 (DeepSeekMoE)
PUBLISHED_4K_TFLOPS = {"V1 7B": "183.5", "V1 67B": "2057.5"}
V3_GPU_HOURS, R1_GPU_HOURS = 2_788e3, 147e3  # V3 with its post-training, R1's two runs and data


class FlopsPerToken(NamedTuple):
    """Floating-point operations of one token's forward pass, the mean over a full context."""

    matrices: int
    attention: int  # a token sees half of the context, on average

    @property
    def train(self) -> int:
        """Add both up three times: the backward pass costs twice the forward."""
        return 3 * sum(self)


def forward_flops_per_token(model: Llama) -> FlopsPerToken:
    """Count a product and a sum for every number of a matrix that a token meets.

    And as many for every number of a key or value that it looks at: those of each head, as in
    training and in reading a prompt. Norms, softmax and what else there is cost next to nothing.
    """
    settings = model.settings
    parts = (model.blocks, model.norm)
    vectors = sum(p.numel() for part in parts for p in part.parameters() if p.ndim == 1)
    key = value = settings.d_head
    if isinstance(model, DeepSeekV2):
        key = settings.qk_nope_head_dim + settings.qk_rope_head_dim
        value = settings.v_head_dim
    keys_and_values = settings.n_layers * settings.n_heads * (key + value)
    return FlopsPerToken(
        2 * (count_active_parameters(model) - vectors),
        2 * keys_and_values * settings.max_seq_len // 2,
    )


def v1_formula_flops(settings: LlamaSettings) -> int:
    """Count the operations of training on one token as V1's paper does, and add those of the head.

    72 L d^2 + 12 L d T: every layer as if it had 12 d^2 numbers, the whole table of attention.
    Source: DeepSeek LLM (arXiv 2401.02954), equation 2.
    """
    L, d = settings.n_layers, settings.d_model
    return 72 * L * d**2 + 12 * L * d * settings.max_seq_len + 6 * settings.vocab_size * d


def cache_numbers(settings: LlamaSettings) -> int:
    """Count the numbers that the model's caches hold for each token."""
    latent = isinstance(settings, DeepSeekSettings)
    return (mla_cache_numbers_per_token if latent else kv_cache_numbers_per_token)(settings)


class CountedModel(NamedTuple):
    """What we count of a published model, which is `published`."""

    published: PublishedModel
    parameters: int  # without the module that predicts one token further
    ahead: int  # that module's
    active: int  # without the table of the embedding, of which a token reads a row
    embedding: int  # that table
    cache: int  # numbers per token
    flops: FlopsPerToken


def count_published_models() -> list[CountedModel]:
    """Build every published model on the meta device and count it."""
    return [count_published_model(p, build_on_meta(p.kind, p.settings)) for p in PUBLISHED_MODELS]


@cache
def build_on_meta(kind: type[nn.Module], settings: LlamaSettings | DeepSeekV4Settings) -> nn.Module:
    """Build a model of shapes without numbers, once: one with many experts takes a second."""
    with torch.device("meta"):
        return kind(settings)


def count_published_model(published: PublishedModel, model: Llama) -> CountedModel:
    """Count one model."""
    ahead = getattr(model, "mtp", None) or nn.Identity()
    return CountedModel(
        published,
        count_parameters(model) - count_parameters(ahead),
        count_parameters(ahead),
        count_active_parameters(model),
        count_parameters(model.token_embedding),
        cache_numbers(published.settings),
        forward_flops_per_token(model),
    )


class CountedSparseModel(NamedTuple):
    """What we count of a published model with sparse attention, which is `published`."""

    published: PublishedModel
    parameters: int  # without the module that predicts one token further
    active: int  # without the table of the embedding
    cache: float  # numbers per token
    cache_bytes: float  # as its release stores them


def count_sparse_models() -> list[CountedSparseModel]:
    """Build every published model with sparse attention on the meta device and count it."""
    counted = []
    for published in SPARSE_MODELS:
        model, s = build_on_meta(published.kind, published.settings), published.settings
        ahead = getattr(model, "mtp", None) or nn.Identity()
        is_v4 = isinstance(s, DeepSeekV4Settings)
        counted.append(
            CountedSparseModel(
                published,
                count_parameters(model) - count_parameters(ahead),
                count_active_parameters(model),
                (v4_cache_numbers_per_token if is_v4 else mla_cache_numbers_per_token)(s),
                (v4_cache_bytes_per_token if is_v4 else v32_cache_bytes_per_token)(s),
            )
        )
    return counted


def v32_cache_bytes_per_token(settings: DeepSeekV32Settings) -> int:
    """Count the bytes of a token in V4's formats: FP8, but BF16 where rotated; scales left out.

    >>> v32_cache_bytes_per_token(DEEPSEEK_V32)
    46848
    """
    s = settings
    return s.n_layers * (s.kv_lora_rank + 2 * s.qk_rope_head_dim + s.index_head_dim)


# The page
# --------------------------------------------------------------------------------------------------


def sizes_table() -> str:
    """Lay out the settings."""
    header = ["model", "layers", "d_model", "heads", "key heads", "latent", "d_ff", "experts"]
    header += ["of these per token", "an expert's width", "vocabulary"]
    rows = []
    for published in PUBLISHED_MODELS:
        s = published.settings
        row = [published.name, s.n_layers, f"{s.d_model:,}", s.n_heads]
        if isinstance(s, DeepSeekSettings):
            experts = [f"{s.n_shared} + {s.n_experts}", f"{s.n_shared} + {s.n_chosen}"]
            row += ["-", s.kv_lora_rank, f"{s.d_ff:,}", *experts, f"{s.d_expert:,}"]
        else:
            row += [s.n_kv_heads, "-", f"{s.d_ff:,}", "-", "-", "-"]
        rows.append([*row, f"{s.vocab_size:,}"])
    return markdown_table(header, rows)


def parameters_table(counted: list[CountedModel]) -> str:
    """Lay out the parameters, in billions, beside the printed ones."""
    header = ["model", "parameters", "in billions", "printed"]
    header += ["active", "in billions", "and the embedding", "printed", "source"]
    rows = []
    for c in counted:
        printed, met = c.published, c.active + c.embedding
        row = [printed.name, f"{c.parameters:,}", f"{c.parameters / 1e9:.1f}", printed.parameters]
        row += [f"{c.active:,}", f"{c.active / 1e9:.1f}", f"{met / 1e9:.1f}", printed.active]
        rows.append([*row, printed.source])
    return markdown_table(header, rows)


def cache_table(counted: list[CountedModel]) -> str:
    """Lay out the cache of a token, and what it were with a key and a value for each head."""
    header = ["model", "numbers per token", "bytes in bfloat16", "with all heads' keys and values"]
    rows = []
    for c in counted:
        s = c.published.settings
        width = s.v_head_dim if isinstance(s, DeepSeekSettings) else s.d_head
        whole = 2 * s.n_layers * s.n_heads * width
        printed = c.published.cache or ("-", "-")
        rows.append(
            [
                c.published.name,
                f"{c.cache:,}",
                f"{CACHE_BYTES * c.cache:,}",
                f"{CACHE_BYTES * whole:,} ({whole / c.cache:.0f}x)",
                *printed,
            ]
        )
    return markdown_table([*header, "printed", "source"], rows)


def flops_table(counted: list[CountedModel]) -> str:
    """Lay out the operations of one token, in 10^9, forward and in training."""
    header = ["model", "matrices", "attention", "forward", "training", "printed", "source"]
    rows = []
    for c in counted:
        numbers = (*c.flops, sum(c.flops), c.flops.train)
        printed = c.published.train_gflops or ("-", "-")
        rows.append([c.published.name, *(f"{number / 1e9:,.1f}" for number in numbers), *printed])
    return markdown_table(header, rows)


def training_table(counted: list[CountedModel]) -> str:
    """Lay out the operations of the whole training, and what the printed hours make of them."""
    header = ["model", "tokens", "operations", "H800 hours per 10^12 tokens", "10^12 per second"]
    header += [f"of {H100_FLOPS / 1e12:.0f}", "source of the hours"]
    rows = []
    for c in counted:
        tokens = c.published.tokens
        if tokens is None:
            continue
        row = [c.published.name, f"{tokens / 1e12:.1f} * 10^12", f"{c.flops.train * tokens:.2e}"]
        if c.published.gpu_hours is None:
            rows.append([*row, "-", "-", "-", "-"])
            continue
        hours, source = c.published.gpu_hours
        rate = c.flops.train * 1e12 / (3600 * hours)
        share = f"{rate / H100_FLOPS:.0%}"
        rows.append([*row, f"{hours:,.0f}", f"{rate / 1e12:.0f}", share, source])
    return markdown_table(header, rows)


def formula_table(counted: list[CountedModel]) -> str:
    """Lay out three counts of training on 4096 tokens, in 10^12: printed, by formula, and ours."""
    header = ["model", "printed", "by V1's formula", "of its matrices, all of the table"]
    header += ["of its matrices, half of the table"]
    rows = []
    for c in counted:
        if printed := PUBLISHED_4K_TFLOPS.get(c.published.name):
            s, flops = c.published.settings, c.flops
            per_token = [v1_formula_flops(s), flops.train + 3 * flops.attention, flops.train]
            ours = [f"{n * s.max_seq_len / 1e12:,.1f}" for n in per_token]
            rows.append([c.published.name, f"{float(printed):,.1f}", *ours])
    return markdown_table(header, rows)


def sparse_table(counted: list[CountedSparseModel]) -> str:
    """Lay out sizes, parameters in billions, and the cache of a token, of those after R1."""
    header = ["model", "layers", "d_model", "heads", "experts", "of these per token"]
    header += ["billions", "printed", "active", "printed", "source", "numbers in the cache"]
    header += ["bytes", "of V3.2's", "printed", "source"]
    rows, first = [], counted[0].cache_bytes
    for c in counted:
        printed, s = c.published, c.published.settings
        row = [printed.name, s.n_layers, f"{s.d_model:,}", s.n_heads]
        row += [f"{s.n_shared} + {s.n_experts}", f"{s.n_shared} + {s.n_chosen}"]
        row += [f"{c.parameters / 1e9:,.1f}", f"{Decimal(printed.parameters):,f}"]
        row += [f"{c.active / 1e9:.1f}", printed.active, printed.source, f"{c.cache:,.0f}"]
        row += [f"{c.cache_bytes:,.0f}", f"{c.cache_bytes / first:.1%}"]
        rows.append([*row, *(printed.cache or ("-", "-"))])
    return markdown_table(header, rows)


def configuration_tables() -> dict[str, str]:
    """Make what the book's page holds, by name: its tables and the numbers in its sentences."""
    counted = count_published_models()
    by_name = {c.published.name: c for c in counted}
    v3, settings = by_name["V3"], DEEPSEEK_67B
    layer = by_name["V1 67B"].flops.matrices / 2 - settings.vocab_size * settings.d_model
    return {
        "SIZES": sizes_table(),
        "PARAMETERS": parameters_table(counted),
        "CACHE": cache_table(counted),
        "FLOPS": flops_table(counted),
        "FORMULA": formula_table(counted),
        "TRAINING": training_table(counted),
        "SPARSE": sparse_table(count_sparse_models()),
        "AHEAD": f"{v3.ahead / 1e9:.1f}",
        "LAYER_67B": f"{layer / settings.n_layers / settings.d_model**2:.1f}",
        "V3_HOURS": f"{V3_GPU_HOURS:,.0f}",
        "R1_HOURS": f"{R1_GPU_HOURS:,.0f}",
        "H100": f"{H100_FLOPS / 1e12:.0f}",
        "R1_SHARE": f"{R1_GPU_HOURS / V3_GPU_HOURS:.0%}",
    }


def main() -> None:
    """Print the tables."""
    for name, made in configuration_tables().items():
        print(f"{name}:\n\n{made}\n" if "\n" in made else f"{name}: {made}")


if __name__ == "__main__":
    main()
