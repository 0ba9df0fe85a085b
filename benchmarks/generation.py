"""Writing speed beside Hugging Face's `generate`, sampling for reinforcement learning, and what a
draft saves.

    OMP_NUM_THREADS=1 python -m benchmarks.generation

Small models on one thread, new tokens per CPU second. Beside `generate` the weights are the same,
and so are, before the clock starts, the greedy texts. The drafts are tried on a model that is
trained here first, for about a minute.
"""

import os
import tempfile
from collections.abc import Callable
from functools import partial

os.environ |= {"COURSE_QUIET": "1", "OMP_NUM_THREADS": "1"}  # before torch is imported

import torch  # noqa: E402
import transformers  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib.experiments import ladder  # noqa: E402
from course_lib.experiments.r1 import LAPTOP_RECIPE  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.inference.generate import generate  # noqa: E402
from course_lib.inference.rollout import sample_completions  # noqa: E402
from course_lib.inference.speculative import (
    DraftSource,
    ModelDraft,
    MTPDraft,
    SpeculativeText,
    expected_tokens_per_pass,
    speculative_generate,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3, count_active_parameters  # noqa: E402
from course_lib.models.gpt2 import GPT2, GPT2Settings  # noqa: E402
from course_lib.models.hf_files import save_hf  # noqa: E402
from course_lib.models.llama import Llama, LlamaSettings  # noqa: E402
from course_lib.text.batches import shuffled_windows  # noqa: E402
from course_lib.training.deepseek_objective import deepseek_objective  # noqa: E402
from course_lib.training.objectives import next_token_objective  # noqa: E402
from course_lib.training.settings import TrainSettings  # noqa: E402
from course_lib.training.trainer import train  # noqa: E402

VOCAB_SIZE, PROMPT, NEW = 512, 12, 40
SIZE = {"vocab_size": VOCAB_SIZE, "max_seq_len": 128, "d_model": 64, "n_layers": 3, "n_heads": 4}
LATENT = {
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 16,
    "v_head_dim": 16,
    "tied": True,
}
# steps; held-out texts to go on from; tokens that a draft runs ahead
TRAINED, TEXTS, AHEAD = (300, 20, (1, 2, 4))


def prompts(batch: int) -> Tensor:
    """Make a batch of random prompts."""
    return torch.randint(VOCAB_SIZE, (batch, PROMPT), generator=torch.Generator().manual_seed(0))


def in_their_class(model: nn.Module) -> nn.Module:
    """Give Hugging Face's model with our weights, by way of a file."""
    with tempfile.TemporaryDirectory() as folder:
        save_hf(model, folder)
        return transformers.AutoModelForCausalLM.from_pretrained(folder).eval()


def theirs_writes(model: nn.Module, ids: Tensor, **settings) -> Tensor:
    """Continue every row by their `generate`."""
    return model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, pad_token_id=0, **settings
    )


def ours_writes(model: nn.Module, ids: Tensor) -> object:
    """Continue every row by the function that the course uses for one text, or for many."""
    return (
        generate(model, ids, NEW) if len(ids) == 1 else sample_completions(model, ids.tolist(), NEW)
    )


def beside_hugging_face() -> str:
    """Compare ours and theirs at batch 1 and 32."""
    rows = []
    for ours in (GPT2(GPT2Settings(**SIZE)), Llama(LlamaSettings(**SIZE))):
        theirs = in_their_class(ours)
        for batch in (1, 32):
            ids = prompts(batch)
            if not torch.equal(
                generate(ours, ids, NEW, temperature=0.0),
                theirs_writes(theirs, ids, do_sample=False),
            ):
                raise AssertionError(f"{type(ours).__name__}: the greedy texts differ")
            runs: dict[str, Callable[[], object]] = {
                "ours": lambda model=ours, ids=ids: ours_writes(model, ids),
                "theirs": lambda model=theirs, ids=ids: theirs_writes(
                    model, ids, do_sample=True, top_k=0
                ),
            }
            speed = {
                name: batch * NEW / spent for name, spent in cpu_seconds(runs, repeats=15).items()
            }
            ratio = f"{speed['ours'] / speed['theirs']:.1f}"
            rows.append(
                [
                    f"{type(ours).__name__}, batch {batch}",
                    *(f"{speed[name]:,.0f}" for name in runs),
                    ratio,
                ]
            )
    return markdown_table(["generation, tokens/s", "ours", "transformers", "ratio"], rows)


def sampling() -> str:
    """Sample 256 completions at once, of 256 prompts and of 16 prompts 16 times, from models of one
    active size."""
    models = {
        "GPT-2": GPT2(GPT2Settings(**SIZE)),
        "V1": Llama(LlamaSettings(**SIZE, tied=True)),
        "V3": DeepSeekV3(
            DeepSeekSettings(VOCAB_SIZE, SIZE["max_seq_len"], **LAPTOP_RECIPE.base)
        ),  # the pipeline's
    }
    runs: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        for repeats in (1, 16):
            ids = prompts(256 // repeats).tolist()
            runs[f"{name} {repeats}"] = lambda m=model, i=ids, n=repeats: sample_completions(
                m, i, NEW, n_samples=n
            )
    speed = {name: 256 * NEW / spent for name, spent in cpu_seconds(runs, repeats=9).items()}
    rows = []
    for name, model in models.items():
        alone, groups = speed[f"{name} 1"], speed[f"{name} 16"]
        by_v1 = f"{groups / speed['V1 16']:.2f}"
        rows.append(
            [name, f"{count_active_parameters(model):,}", f"{alone:,.0f}", f"{groups:,.0f}", by_v1]
        )
    header = [
        "sampling, batch 256, tokens/s",
        "active parameters",
        "256 prompts",
        "16 prompts x 16",
        "by V1",
    ]
    return markdown_table(header, rows)


def trained(model: nn.Module, objective=next_token_objective) -> nn.Module:
    """Teach a model the small web."""
    batches = shuffled_windows(
        ladder.ladder_corpus("small web").tokens, 16, model.settings.max_seq_len, seed=0
    )
    train(model, batches, TrainSettings(TRAINED, muon_lr=0.02, adam_lr=0.01), objective)
    return model.eval()


def speculation() -> str:
    """Continue held-out texts with a V3 and different drafts: what is accepted, and what a pass and
    a second yield."""
    corpus = ladder.ladder_corpus("small web")
    size = SIZE | {"vocab_size": corpus.tokenizer.n_vocab}
    torch.manual_seed(0)
    model = trained(
        DeepSeekV3(DeepSeekSettings(**size, **LATENT, mtp=True)),
        deepseek_objective(1e-4, ahead=0.3),
    )
    small = trained(GPT2(GPT2Settings(**size | {"n_layers": 1, "d_model": 32, "n_heads": 2})))
    texts = [
        torch.tensor(corpus.tokenizer.encode(text, "all")[:PROMPT])
        for text in corpus.held_out[:TEXTS]
    ]
    results: dict[str, list[SpeculativeText]] = {}

    def write(name: str, draft: DraftSource, n_ahead: int) -> None:
        generator = torch.Generator().manual_seed(1)
        results[name] = [
            speculative_generate(model, draft, ids, NEW, n_ahead=n_ahead, generator=generator)
            for ids in texts
        ]

    runs: dict[str, Callable[[], object]] = {
        "none": lambda: [generate(model, ids[None], NEW) for ids in texts]
    }
    ahead = {}
    for who, draft in {
        "its MTP module": MTPDraft(model),
        "GPT-2, one layer": ModelDraft(small),
    }.items():
        for n_ahead in AHEAD:
            name = f"{who}, {n_ahead} ahead"
            ahead[name], runs[name] = n_ahead, partial(write, name, draft, n_ahead)
    spent, rows = cpu_seconds(runs, repeats=3), []
    for name, made in results.items():
        accepted = sum(one.n_accepted for one in made) / sum(one.n_judged for one in made)
        by_pass = sum(one.n_tokens for one in made) / sum(one.n_passes for one in made)
        formula = expected_tokens_per_pass(accepted, ahead[name])
        speed = spent["none"] / spent[name]
        rows.append([name, f"{accepted:.0%}", f"{by_pass:.2f}", f"{formula:.2f}", f"{speed:.2f}"])
    header = [
        "V3 with a draft",
        "accepted",
        "tokens per pass",
        "by the formula",
        "speed by no draft",
    ]
    return markdown_table(header, rows)


def main() -> str:
    """Measure all; return the tables."""
    transformers.logging.disable_progress_bar()
    torch.manual_seed(0)
    return "\n\n".join([beside_hugging_face(), sampling(), speculation()])


if __name__ == "__main__":
    print(main())
