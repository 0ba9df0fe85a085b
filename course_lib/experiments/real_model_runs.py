"""Reinforcement learning on a published model: GRPO on LoRA's parts of SmolLM2-135M. Three seeds.

    python -m course_lib.experiments.real_model_runs --out data/real_model

Needs SmolLM2's file (`make models`), and for a task of reasoning-gym that package too (`make gym`).
Finished runs are kept in `runs.json`, unfinished ones in checkpoints beside it: a command that was
stopped goes on where it was.
"""

import shutil
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from course_lib import assets
from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.lora import add_lora, count_trainable_parameters
from course_lib.alignment.rl_task import Question, RLTask
from course_lib.alignment.template_policy import answer_by_template, ask_after, template_sampler
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser
from course_lib.models.gguf_files import GGUFModel, load_gguf
from course_lib.tasks.reasoning_gym_task import load_reasoning_gym
from course_lib.tasks.tagged_sums import (
    SUM_SHOTS,
    tagged_metrics,
    tagged_number_task,
    tagged_sum_questions,
    tagged_sum_task,
)
from course_lib.text.chat import ChatMessage
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import whole_run

REAL_MODEL_FOLDER = DATA_FOLDER / "real_model"
LORA_RANK, LORA_ALPHA = 8, 16.0
LEG_SHOTS = (
    {"role": "user", "content": "How many legs are there in total if you have 2 humans?"},
    {"role": "assistant", "content": "<answer>4</answer>"},
)
# DeepSeekMath's averages; 4 questions and 8 answers to each, since a token costs a fortieth second
SUM_SETTINGS = GRPOSettings(
    20, n_questions=4, group_size=8, max_new_tokens=14, lr=3e-4, beta=0.0, n_minibatches=1,
    scale_by_std=True, average="sequence",
)  # fmt: skip


@dataclass(frozen=True)
class RealModelTask:
    """What is practised: the task, the questions held out of it, and the examples before each."""

    task: RLTask
    held_out: Sequence[Question]
    shots: Sequence[ChatMessage]


def tagged_sums() -> RealModelTask:
    """Sums of two numbers from 1 to 9."""
    return RealModelTask(tagged_sum_task(), tagged_sum_questions(held_out=True), SUM_SHOTS)


def leg_counting() -> RealModelTask:
    """reasoning-gym's leg_counting with one kind of animal, up to six of it.

    Raises ImportError, with the command that installs it, where the package is missing.
    """
    options = {"min_animals": 1, "max_animals": 1, "min_instances": 1, "max_instances": 6}
    entries = load_reasoning_gym("leg_counting", size=600, seed=0, **options)
    found = {entry["question"]: entry["answer"] for entry in entries}
    asked = [Question(text.strip(), truth) for text, truth in found.items()]
    held_out, practice = [], []
    for question in asked:  # one in three, by the hash of its text
        (practice if zlib.crc32(question.text.encode()) % 3 else held_out).append(question)
    return RealModelTask(tagged_number_task(practice), held_out, LEG_SHOTS)


REAL_MODEL_TASKS = {"tagged sums": tagged_sums, "leg counting": leg_counting}


def measure_greedy(
    published: GGUFModel, practised: RealModelTask, settings: GRPOSettings
) -> dict[str, Any]:
    """Ask what is held out, greedily: shares in the form and right, some answers to look at."""
    questions = practised.held_out
    chats = [ask_after(practised.shots, question) for question in questions]
    texts, _ = answer_by_template(
        published.model, published.template, chats, settings.max_new_tokens, temperature=0.0
    )
    shown = [[q.text, q.truth, text] for q, text in zip(questions, texts, strict=True)][:6]
    found = {name: round(value, 4) for name, value in tagged_metrics(questions, texts).items()}
    return found | {"samples": shown}


def run_grpo_on_lora(name: str, seed: int, checkpoints: Checkpoints | None = None) -> dict:
    """Practise a task for 20 steps; measure on its held-out questions before and after."""
    published, practised = load_gguf(assets.smollm2_file()), REAL_MODEL_TASKS[name]()
    settings = SUM_SETTINGS
    found = {
        "n_held_out": len(practised.held_out),
        "before": measure_greedy(published, practised, settings),
    }
    torch.manual_seed(seed)
    add_lora(published.model, LORA_RANK, LORA_ALPHA)
    found["n_learnt"] = count_trainable_parameters(published.model)
    start = time.process_time()
    # without its cache: a copy of a weight that learns would be kept until the block ends
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        history = whole_run(
            train_grpo(
                published.model, published.tokenizer, practised.task, settings, seed=seed,
                checkpoints=checkpoints, keep_samples_at=(1, 5, 10, 15, 20),
                sample=template_sampler(published.template, practised.shots),
            )
        )  # fmt: skip
    found["seconds of this start"] = round(time.process_time() - start, 1)
    for name in ("reward", "format", "accuracy", "length", "ratio", "clipped"):
        if name in history.measures:
            found[name] = [round(value, 4) for value in history.measures[name]]
    found["kept"] = history.samples
    return found | {"after": measure_greedy(published, practised, settings)}


def real_model_runs(recipe: str, folder: Path = REAL_MODEL_FOLDER) -> list[dict]:
    """Read the finished runs of a recipe, seed by seed."""
    return RunRecords(folder / "runs.json").by_seed(recipe=recipe)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("real_model_runs", __doc__)
    parser.add_argument(
        "--recipes", nargs="+", choices=REAL_MODEL_TASKS, default=list(REAL_MODEL_TASKS)
    )
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for name, seed in product(asked.recipes, asked.seeds):
        unfinished = asked.out / f"unfinished-{name.replace(' ', '-')}-{seed}"
        run = partial(run_grpo_on_lora, name, seed, Checkpoints(unfinished, every=2, keep=1))
        records.get(run, recipe=name, seed=seed)
        shutil.rmtree(unfinished, ignore_errors=True)


if __name__ == "__main__":
    main()
