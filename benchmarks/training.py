"""Training speed beside Hugging Face's classes: same weights, same batch, same optimizer, one
thread.

    OMP_NUM_THREADS=1 python -m benchmarks.training

And the base of the pipeline to R1, as the pipeline trains it, beside a dense model of as many
active parameters; and both in Hugging Face's classes, by the same trainer and optimizers, theirs
without the balance of the experts.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks.generation import in_their_class  # noqa: E402
from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib.experiments.r1 import LAPTOP_RECIPE
from course_lib.experiments.stages import balanced_training, pretraining_settings  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3, count_active_parameters  # noqa: E402
from course_lib.models.gpt2 import GPT2, GPT2Settings  # noqa: E402
from course_lib.models.llama import Llama, LlamaSettings  # noqa: E402
from course_lib.text.batches import shuffled_windows  # noqa: E402
from course_lib.training.trainer import train  # noqa: E402

BATCH, STEPS = 16, 8
SIZE = {"vocab_size": 512, "max_seq_len": 128, "d_model": 64, "n_layers": 4, "n_heads": 4}


def step(model: nn.Module, optimizer: torch.optim.Optimizer, ids: Tensor) -> None:
    """Predict, go back, step: the same for both, but that theirs wraps its logits."""
    out = model(ids[:, :-1])
    logits = out if isinstance(out, Tensor) else out.logits
    nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    optimizer.step()
    optimizer.zero_grad()


def beside_hugging_face() -> str:
    """Measure every model beside its twin, and the models beside each other."""
    ids = torch.randint(SIZE["vocab_size"], (BATCH, SIZE["max_seq_len"] + 1))
    ours = {
        "GPT-2": GPT2(GPT2Settings(**SIZE)),
        "V1": Llama(LlamaSettings(**SIZE)),
        "V3": DeepSeekV3(DeepSeekSettings(**SIZE)),
    }
    models = ours | {
        f"{name}, theirs": in_their_class(model).train() for name, model in ours.items()
    }
    adams = {
        name: torch.optim.AdamW(model.parameters(), fused=True) for name, model in models.items()
    }
    runs = {
        name: lambda model=model, adam=adams[name]: step(model, adam, ids)
        for name, model in models.items()
    }
    speed = {
        name: BATCH * SIZE["max_seq_len"] / spent
        for name, spent in cpu_seconds(runs, repeats=21).items()
    }
    rows = []
    for name, model in ours.items():
        mine, theirs = speed[name], speed[f"{name}, theirs"]
        rows.append(
            [
                name,
                f"{count_active_parameters(model):,}",
                f"{mine:,.0f}",
                f"{theirs:,.0f}",
                f"{mine / theirs:.2f}",
                f"{mine / speed['V1']:.2f}",
            ]
        )
    return markdown_table(
        ["training, tokens/s", "active parameters", "ours", "transformers", "ratio", "by V1"], rows
    )


class Logits(nn.Module):
    """Their model without the wrapping of its output."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor) -> Tensor:
        return self.model(ids).logits


def pipeline() -> str:
    """Train the pipeline's base and a dense model by the course's trainer, Muon and balance
    included."""
    size = {"vocab_size": LAPTOP_RECIPE.vocab_size, "max_seq_len": LAPTOP_RECIPE.context}
    v3 = DeepSeekV3(DeepSeekSettings(**size, **LAPTOP_RECIPE.base))
    # as many active parameters
    v1 = Llama(LlamaSettings(**size, d_model=64, n_layers=3, n_heads=4, d_ff=208))
    theirs = {
        name: Logits(in_their_class(model).train()) for name, model in (("V1", v1), ("V3", v3))
    }
    tokens = torch.randint(LAPTOP_RECIPE.vocab_size, (100_000,))
    settings = pretraining_settings(STEPS)

    def run(model: nn.Module, **options) -> None:
        train(
            model,
            shuffled_windows(tokens, LAPTOP_RECIPE.batch_size, LAPTOP_RECIPE.window, seed=0),
            settings,
            **options,
        )

    runs = {"V1": lambda: run(v1), "V3": lambda: run(v3, **balanced_training(settings))}
    runs |= {f"{name}, theirs": lambda model=model: run(model) for name, model in theirs.items()}
    n_tokens = STEPS * LAPTOP_RECIPE.batch_size * LAPTOP_RECIPE.window
    speed = {name: n_tokens / spent for name, spent in cpu_seconds(runs).items()}
    rows = [
        [
            name,
            f"{count_active_parameters(model):,}",
            f"{speed[name]:,.0f}",
            f"{speed[f'{name}, theirs']:,.0f}",
            f"{speed[name] / speed[f'{name}, theirs']:.2f}",
            f"{speed[name] / speed['V1']:.2f}",
        ]
        for name, model in (("V1", v1), ("V3", v3))
    ]
    header = ["the pipeline's base, tokens/s", "active parameters", "ours", "transformers", "ratio"]
    return markdown_table([*header, "by V1"], rows)


def main() -> str:
    """Measure all; return the tables."""
    torch.manual_seed(0)
    return "\n\n".join([beside_hugging_face(), pipeline()])


if __name__ == "__main__":
    print(main())
