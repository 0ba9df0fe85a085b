"""Our DeepSeek-V4 beside Hugging Face's at the course's size: the forward pass, and with backward.

    OMP_NUM_THREADS=1 python -m benchmarks.deepseek_v4

The same weights and logits. Theirs computes its experts by its grouped product, as by default.
"""

import os
import tempfile
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib.experiments.ladder_runs import LADDER_V4  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.models.deepseek_v4 import DeepSeekV4, DeepSeekV4Settings  # noqa: E402
from course_lib.models.hf_files import save_hf  # noqa: E402

BATCHES = ((16, 128), (1, 512))  # rows, tokens


def passes(model: nn.Module, ids: Tensor, **options) -> tuple[Callable, Callable]:
    """The forward pass without gradients, and the one of training with its backward pass."""

    def logits() -> Tensor:
        out = model(ids, **options)
        return out if isinstance(out, Tensor) else out.logits

    return torch.no_grad()(logits), lambda: logits().sum().backward()


def main() -> str:
    """Measure; return the table."""
    rows = []
    for n_rows, length in BATCHES:
        torch.manual_seed(0)
        ours = DeepSeekV4(DeepSeekV4Settings(512, **LADDER_V4 | {"max_seq_len": length}))
        with tempfile.TemporaryDirectory() as folder:
            save_hf(ours, folder)
            theirs = AutoModelForCausalLM.from_pretrained(folder)
        ids = torch.randint(512, (n_rows, length))
        runs = {"ours": passes(ours, ids), "transformers": passes(theirs, ids, use_cache=False)}
        logits = [each() for each, _ in runs.values()]
        torch.testing.assert_close(*logits, rtol=1e-3, atol=1e-4)
        for i, what in enumerate(("forward", "forward and backward")):
            spent = cpu_seconds({name: pair[i] for name, pair in runs.items()}, repeats=5)
            ratio = f"{spent['transformers'] / spent['ours']:.2f}"
            rows.append([f"{n_rows} x {length}, {what}", f"{1000 * spent['ours']:.0f}", ratio])
    return markdown_table(["V4 by ours", "ours, ms", "transformers"], rows)


if __name__ == "__main__":
    print(main())
