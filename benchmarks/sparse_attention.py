"""Decoding on a long context: attention to all cached tokens beside attention to those that an
indexer chooses.

    OMP_NUM_THREADS=1 python -m benchmarks.sparse_attention

One V3.2 for both, its whole pass for one new token, in turn; the caches are filled with random
numbers, which cost what any others do. The first model has the heads' share of the published one
small, the second larger: what is saved is attention alone.
"""

import os
from collections.abc import Callable

os.environ |= {"COURSE_QUIET": "1", "OMP_NUM_THREADS": "1"}  # before torch is imported

import torch  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.inference.cache import KVCache  # noqa: E402
from course_lib.models import deepseek  # noqa: E402
from course_lib.models.deepseek import DeepSeekV32, DeepSeekV32Settings  # noqa: E402

CONTEXTS, TOP_K, NEW = (1024, 2048, 4096, 8192), 512, 4
HEADS_AND_LATENTS = ((16, 128), (32, 256))
LAYERS, INDEX = 4, (4, 48)  # heads of the indexer, and their width


def settings(n_heads: int, latent: int) -> DeepSeekV32Settings:
    """Give a model whose indexer is an eighth, or a sixteenth, as wide as its attention."""
    return DeepSeekV32Settings(
        512, max(CONTEXTS) + NEW, d_model=512, n_layers=LAYERS, n_heads=n_heads, tied=True,
        n_dense_layers=LAYERS, kv_lora_rank=latent, q_lora_rank=192, qk_nope_head_dim=64,
        qk_rope_head_dim=32, v_head_dim=64, index_n_heads=INDEX[0], index_head_dim=INDEX[1],
        index_top_k=TOP_K,
    )  # fmt: skip


def filled_caches(size: DeepSeekV32Settings, context: int) -> list[KVCache]:
    """Make a cache per layer that holds so many tokens."""
    caches = [KVCache(context + NEW) for _ in range(size.n_layers)]
    for cache in caches:
        widths = (size.kv_lora_rank, size.qk_rope_head_dim, size.index_head_dim)
        cache.append(*(torch.randn(1, context, width) for width in widths))
    return caches


def decoding(
    model: DeepSeekV32, caches: list[KVCache], top_k: int | None
) -> Callable[[], torch.Tensor]:
    """Read `NEW` tokens one by one, and forget them again."""
    context = caches[0].length

    @torch.inference_mode()
    def run() -> torch.Tensor:
        model.set_top_k(top_k)
        for token in range(NEW):
            logits = model(torch.tensor([[token]]), caches)
        for cache in caches:
            cache.rewind(context)
        return logits

    return run


def main() -> str:
    """Measure both models at every context; return the table."""
    rows = []
    for n_heads, latent in HEADS_AND_LATENTS:
        torch.manual_seed(0)
        model = DeepSeekV32(settings(n_heads, latent)).eval()
        share = INDEX[0] * INDEX[1] / (n_heads * (64 + 32))
        for context in CONTEXTS:
            caches = filled_caches(model.settings, context)
            runs = {name: decoding(model, caches, k) for name, k in (("all", None), ("few", TOP_K))}
            spent = cpu_seconds(runs, repeats=9)
            kilobytes = 4 * deepseek.mla_cache_numbers_per_token(model.settings) / 1000
            times = [f"{1000 * spent[name] / NEW:.2f}" for name in runs]
            ratio = f"{spent['all'] / spent['few']:.2f}"
            what = f"{n_heads} heads, latent {latent}, indexer {share:.3f} of attention"
            rows.append([what, f"{context:,}", *times, ratio, f"{kilobytes:.1f}"])
    header = [
        "V3.2, decoding",
        "context",
        "all tokens, ms",
        f"best {TOP_K}, ms",
        "ratio",
        "kB/token",
    ]
    return markdown_table(header, rows)


if __name__ == "__main__":
    print(main())
