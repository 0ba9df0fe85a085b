"""Training speed beside Hugging Face's classes: same model, same size, same batch, same optimiser, one thread.

    OMP_NUM_THREADS=1 python -m benchmarks.training
"""

import os
from collections.abc import Iterator

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402
import transformers  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks.measure import cpu_seconds, markdown  # noqa: E402
from course_lib.models.gpt2 import GPT2, GPT2Settings  # noqa: E402

BATCH, LENGTH, VOCAB_SIZE, D_MODEL, N_LAYERS, N_HEADS = 16, 128, 512, 64, 4, 4


def pairs() -> Iterator[tuple[str, nn.Module, nn.Module]]:
    """Give the name of each model, ours and theirs."""
    sizes = {"vocab_size": VOCAB_SIZE, "d_model": D_MODEL, "n_layers": N_LAYERS, "n_heads": N_HEADS}
    theirs = transformers.GPT2Config(
        vocab_size=VOCAB_SIZE, n_embd=D_MODEL, n_layer=N_LAYERS, n_head=N_HEADS, n_positions=LENGTH,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, use_cache=False,
    )  # fmt: skip
    yield "GPT-2", GPT2(GPT2Settings(max_seq_len=LENGTH, **sizes)), transformers.GPT2LMHeadModel(theirs)


def step(model: nn.Module, optimiser: torch.optim.Optimizer, ids: torch.Tensor) -> None:
    """Predict, go back, step: the same for both, but that theirs wraps its logits."""
    out = model(ids[:, :-1])
    logits = out if isinstance(out, torch.Tensor) else out.logits
    nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimiser.step()
    optimiser.zero_grad()


def main() -> str:
    """Measure every pair; return the table."""
    ids = torch.randint(VOCAB_SIZE, (BATCH, LENGTH + 1), generator=torch.Generator().manual_seed(0))
    rows = []
    for name, *models in pairs():
        adams = [torch.optim.AdamW(model.parameters(), fused=True) for model in models]
        runs = {who: lambda m=m, a=a: step(m.train(), a, ids) for who, m, a in zip("ot", models, adams, strict=True)}
        spent = cpu_seconds(runs, repeats=21)
        ours, theirs = (BATCH * LENGTH / spent[who] for who in "ot")
        rows.append([name, f"{ours:,.0f}", f"{theirs:,.0f}", f"{ours / theirs:.2f}"])
    return markdown(["training, tokens/s on one thread", "ours", "transformers", "ratio"], rows)


if __name__ == "__main__":
    print(main())
