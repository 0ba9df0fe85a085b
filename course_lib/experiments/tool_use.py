"""A calculator inside the thought, over three seeds: the records in `data/tool_use`.

    python -m course_lib.r1 --out runs/r1 --seed 0     # and 1, 2: the bases
    python -m course_lib.experiments.tool_use --runs runs/r1 --out data/tool_use

Each base is tuned on demonstrations of sums of three to six numbers, practises such sums, and is
then asked sums of three to eight. A command that was stopped goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import nn

from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.rewards import mean_or_zero, true_fraction
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, answer_questions
from course_lib.alignment.sft import sft_settings, train_sft
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.r1_zero import ANY_STEP
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, timed_measure
from course_lib.inference.rollout import Completions
from course_lib.inference.tool_use import (
    CALC_TOKENS,
    Tool,
    calculator_answer,
    text_tool,
    with_special_tokens,
)
from course_lib.models.new_tokens import add_token_rows
from course_lib.tasks.arithmetic import held_out_arithmetic
from course_lib.tasks.calculator import (
    calculator_task,
    draw_call_demonstrations,
    tool_use_examples,
    wrong_calculator_answer,
)
from course_lib.text.bpe import Tokenizer
from course_lib.text.problems import verify_answer
from course_lib.training.settings import whole_run

TOOL_USE_FOLDER = DATA_FOLDER / "tool_use"
LENGTHS = (3, 4, 5, 6, 7, 8)
N_DEMONSTRATIONS, TUNING_STEPS, ANSWER_TOKENS = 400, 80, 120
PRACTICE = GRPOSettings(12, n_questions=8, max_new_tokens=100, lr=5e-4)


@dataclass(frozen=True)
class ToolVariant:
    """How the calculator is used, whether its tokens are masked, and what is demonstrated."""

    style: str
    masked: bool = True
    lengths: tuple[int, ...] = (3, 4, 5, 6)
    practise: bool = True
    tuning_steps: int = TUNING_STEPS


TOOL_VARIANTS = {
    "one call": ToolVariant("whole"),
    "no tool": ToolVariant("none"),
    "one call, to eight": ToolVariant("whole", lengths=LENGTHS, practise=False),
    "one call, to eight, longer": ToolVariant(
        "whole", lengths=LENGTHS, practise=False, tuning_steps=3 * TUNING_STEPS
    ),
    "no tool, to eight": ToolVariant("none", lengths=LENGTHS, practise=False),
    "no tool, to eight, longer": ToolVariant(
        "none", lengths=LENGTHS, practise=False, tuning_steps=3 * TUNING_STEPS
    ),
    "a call per step": ToolVariant("steps"),
    "a call per step, no mask": ToolVariant("steps", masked=False),
}


# --------------------------------------------------------------------------------- what is measured


def expression_read(text: str) -> str:
    """Read the sum that a thought works out, whatever it says that the sum makes.

    >>> expression_read("<think>first <calc>7+5</calc>=12, then <calc>12-3</calc>=9</think>")
    '7+5-3'
    >>> expression_read("<think>7+5-3=9</think>")
    '7+5-3'
    """
    steps = [each for each, _ in ANY_STEP.findall(without_tags(text))]
    return "".join(steps[:1] + [each.lstrip("0123456789") for each in steps[1:]])


def reading_metrics(questions: Sequence[Question], answers: Sequence[str]) -> dict[str, float]:
    """Tell reading from reckoning: which answers are right, which sums they work out, and how well.

    "read": the share that work out the very sum they were asked; "numbers": how many numbers the
    sums they work out have; "steps right": the share of all steps.
    """
    read = [expression_read(text) for text in answers]
    steps = [step for text in answers for step in ANY_STEP.findall(without_tags(text))]
    return {
        "accuracy": true_fraction(
            [bool(verify_answer(q.truth, text)) for q, text in zip(questions, answers, strict=True)]
        ),
        "read": true_fraction(
            [q.truth.expression == e for q, e in zip(questions, read, strict=True)]
        ),
        "numbers": mean_or_zero([1 + e.count("+") + e.count("-") for e in read if e]),
        "steps right": true_fraction([calculator_answer(e) == f"={made}" for e, made in steps]),
    }


def without_tags(text: str) -> str:
    """Take the tags of calls out of a text."""
    for tag in CALC_TOKENS:
        text = text.replace(tag, "")
    return text


def text_pieces(tokenizer: Tokenizer, completions: Completions, row: int) -> list[list]:
    """Cut an answer where the writer changes: pairs of a text and whether the tool wrote it."""
    mask = completions.completion_mask[row]
    ids = completions.ids[row, -len(mask) :][mask].tolist()
    pieces: list[tuple[list[int], bool]] = []
    for token, by_tool in zip(ids, completions.tool_mask[row][mask].tolist(), strict=True):
        if not pieces or pieces[-1][1] != by_tool:
            pieces.append(([], by_tool))
        pieces[-1][0].append(token)
    return [[tokenizer.decode(some), by_tool] for some, by_tool in pieces]


def measure_by_length(
    model: nn.Module, tokenizer: Tokenizer, tool: Tool | None, n: int = 100, n_kept: int = 2
) -> dict:
    """Ask `n` held-out sums of each length; keep some answers in pieces."""
    found = {name: [] for name in ("accuracy", "read", "numbers", "steps right")}
    kept = []
    for length in LENGTHS:
        questions = held_out_arithmetic(n, lengths=(length,))
        texts, completions = answer_questions(
            model,
            tokenizer,
            [question.text for question in questions],
            ANSWER_TOKENS,
            generator=torch.Generator().manual_seed(EVALUATION_SEED),
            tool=tool,
        )
        for name, value in reading_metrics(questions, texts).items():
            found[name].append(round(value, 4))
        kept += [
            [questions[row].text, text_pieces(tokenizer, completions, row)] for row in range(n_kept)
        ]
    return found | {"samples": kept}


# ---------------------------------------------------------------------------------------- the runs


def tool_use_run(name: str, run: ExperimentRun) -> dict:
    """Tune a base on demonstrations, let it practise, and measure it with and without the tool."""
    variant, tokenizer = TOOL_VARIANTS[name], with_special_tokens(run.tokenizer())
    model = add_token_rows(run.load("base"), tokenizer.vocab_size)
    right, wrong = (text_tool(tokenizer, a) for a in (calculator_answer, wrong_calculator_answer))
    used = None if variant.style == "none" else right
    taught = used if variant.masked else Tool(right.begin, right.end, right.answer, masked=False)
    pairs = draw_call_demonstrations(
        Random(f"{run.seed}/tool use"), N_DEMONSTRATIONS, variant.style, variant.lengths
    )
    examples = tool_use_examples(tokenizer, pairs, taught)
    torch.manual_seed(run.seed)
    whole_run(train_sft(model, examples, sft_settings(variant.tuning_steps), seed=run.seed))
    found = {"tuned": measure_by_length(model, tokenizer, used)}
    if variant.practise:
        history = train_grpo(model, tokenizer, calculator_task(taught), PRACTICE, seed=run.seed)
        whole_run(history)
        found["practised"] = measure_by_length(model, tokenizer, used)
        found["curves"] = {
            key: [round(x, 4) for x in history.measures[key]]
            for key in ("accuracy", "format", "length", "entropy", "kl", "loss tokens")
            if key in history.measures
        }
        if used is not None:
            found["practised, switched off"] = measure_by_length(model, tokenizer, None)
            found["practised, wrong"] = measure_by_length(model, tokenizer, wrong)
    return found


def tool_use_runs(folder: Path = TOOL_USE_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs by the name of their variant, each seed by seed."""
    records = RunRecords(folder / "runs.json")
    return {name: records.by_seed(name=name) for name in TOOL_VARIANTS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and make the runs that are missing."""
    parser = runs_parser("tool_use", __doc__)
    parser.add_argument("--runs", type=Path, required=True, help="folder with seed-0/base, ...")
    parser.add_argument("--only", nargs="+", choices=TOOL_VARIANTS, default=list(TOOL_VARIANTS))
    asked = parser.parse_args(arguments)
    records = open_records(asked.out)
    for seed in asked.seeds:
        for name in asked.only:
            run = ExperimentRun(asked.runs / f"seed-{seed}", seed)
            records.get(
                partial(timed_measure, partial(tool_use_run, name, run)), name=name, seed=seed
            )


if __name__ == "__main__":
    main()
