"""What two published packages pay for: wrong answers that score, and answers that verifiers read
differently.

    python -m course_lib.experiments.gym_tables --out data/gym

Needs reasoning-gym and math-verify (`make gym`), and half a minute. Writes `wrong_answers.json` and
`verifiers.json`.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from course_lib.alignment.rewards import mean_or_zero
from course_lib.alignment.rl_task import EVALUATION_SEED, answer_in_batches
from course_lib.experiments.gym_runs import GYM_FOLDER
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.files import write_atomically
from course_lib.tasks.answer_verifiers import (
    ANSWER_FORMS,
    compare_verdicts,
    math_verdict,
    our_verdict,
)
from course_lib.tasks.arithmetic import held_out_arithmetic
from course_lib.tasks.reasoning_gym_task import load_reasoning_gym
from course_lib.text.problems import final_answer

# A data set, and one answer given to every question of it, whatever is asked
CONSTANT_ANSWERS = (
    ("chain_sum", "0"),
    ("coin_flip", "0"),
    ("complex_arithmetic", "nan"),
    ("game_of_life_halting", "I do not know"),
    ("puzzle24", "1*2*3*4"),
    ("letter_counting", "1 2 3"),
    ("sentence_reordering", "?"),
    ("fraction_simplification", "?"),
)
VERIFIED_MODELS = ("base", "zero", "r1")


def score_constant_answer(name: str, answer: str, n: int = 100, seed: int = 0) -> dict[str, Any]:
    """Give one answer to `n` questions of a data set: mean score, and share of full scores.

    Beside it stands what the data set's own answers score.
    """
    practice_set = load_reasoning_gym(name, n, seed)
    entries = [practice_set[i] for i in range(n)]
    scores = [float(practice_set.score_answer(answer, entry)) for entry in entries]
    own = [float(practice_set.score_answer(entry["answer"], entry)) for entry in entries]
    return {
        "data_set": name,
        "answer": answer,
        "score": mean_or_zero(scores),
        "full": mean_or_zero([score >= 1 for score in scores]),
        "own": mean_or_zero(own),
        "equal": mean_or_zero([entry["answer"] == answer for entry in entries]),
    }


def shared_with_next_seed(name: str, n: int = 500, seed: int = 0) -> float:
    """Give the share of a data set's questions that the one with the next seed has too."""
    first, second = (load_reasoning_gym(name, n, each) for each in (seed, seed + 1))
    theirs = {second[i]["question"] for i in range(n)}
    return mean_or_zero([first[i]["question"] in theirs for i in range(n)])


def verified_answers(name: str, n: int = 1000) -> dict[str, Any]:
    """Count who accepts a model's answers to held-out sums: whole texts, and final answers alone.

    Keeps three of each kind of whole text.
    """
    questions = held_out_arithmetic(n)
    texts, _ = answer_in_batches(
        SHIPPED_R1.load(name), SHIPPED_R1.tokenizer(), questions, seed=EVALUATION_SEED
    )
    truths = [question.truth.answer for question in questions]
    whole = compare_verdicts(truths, texts)
    finals = compare_verdicts(truths, [final_answer(text) or "" for text in texts])
    return {
        "model": name,
        "whole": {kind: len(places) for kind, places in whole.items()},
        "final": {kind: len(places) for kind, places in finals.items()},
        "samples": {kind: [[truths[i], texts[i]] for i in p[:3]] for kind, p in whole.items()},
    }


def compare_forms(truth: str = "12") -> list[dict[str, Any]]:
    """Judge every hand-written form by both verifiers."""
    return [
        form._asdict()
        | {"ours": our_verdict(truth, form.text), "theirs": math_verdict(truth, form.text)}
        for form in ANSWER_FORMS
    ]


def read_gym_table(name: str, folder: Path = GYM_FOLDER) -> Any:
    """Read "wrong_answers" or "verifiers"."""
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write both tables."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.experiments.gym_tables", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the two files")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    tables = {
        "wrong_answers": {
            "constant": [score_constant_answer(*each) for each in CONSTANT_ANSWERS],
            "next_seed": {name: shared_with_next_seed(name) for name in ("chain_sum", "gcd")},
        },
        "verifiers": {
            "forms": compare_forms(),
            "models": [verified_answers(name) for name in VERIFIED_MODELS],
        },
    }
    for name, table in tables.items():
        data = json.dumps(table, ensure_ascii=False, indent=1)
        write_atomically(asked.out / f"{name}.json", data.encode())


if __name__ == "__main__":
    main()
