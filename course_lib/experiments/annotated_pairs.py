"""Pairs of answers for lesson 23, and what the simulated annotator says about each.

    python -m course_lib.experiments.annotated_pairs --out data/human_feedback

The shipped base answers questions about facts twice; or it once and R1 once. Which of the two
stands first is drawn, then the annotator chooses. Two equal answers make no pair, and no pair comes
twice. The file has the layout of a reader's own labels (`course_lib.lab.label_file`), with two
fields more: the fact that the question is about, and the models that wrote.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch

from course_lib.alignment.rl_task import Question
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.chats import sample_chats
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.files import write_atomically
from course_lib.tasks.fact_chats import annotate_pair, draw_fact_question
from course_lib.text.small_web.facts import Fact

FEEDBACK_FOLDER = DATA_FOLDER / "human_feedback"
N_ANNOTATED = 400
WRITERS = (("base", "base"), ("base", "r1"))  # in turn
DRAWN_PER_PAIR = 2  # questions asked for each pair that is wanted: some give none


def draw_answer_pairs(seed: int, n_questions: int) -> Iterator[dict]:
    """Let the shipped models answer `n_questions` drawn ones; give pairs of answers that differ.

    As the fields question, answers, writers and fact, the two answers in a drawn order. No pair
    comes twice, whatever its order.
    """
    rng = Random(f"{seed}/answer pairs")
    questions = [draw_fact_question(rng) for _ in range(n_questions)]
    base, r1 = (
        sample_chats(SHIPPED_R1, name, questions, n_samples=n)
        for name, n in (("base", 2), ("r1", 1))
    )
    said = {"base": base[1::2], "r1": r1}
    seen = set()
    for i, question in enumerate(questions):
        writers = WRITERS[i % len(WRITERS)]
        both = [(base[2 * i], writers[0]), (said[writers[1]][i], writers[1])]
        rng.shuffle(both)
        key = (question.text, *sorted(text.strip() for text, _ in both))
        if key[1] != key[2] and key not in seen:
            seen.add(key)
            yield pair_fields(question, both)


def pair_fields(question: Question, both: Sequence[tuple[str, str]]) -> dict:
    """The fields of one pair, of which `both` holds answers and writers in the order shown."""
    answers, writers = zip(*both, strict=True)
    return {
        "question": question.text,
        "answers": answers,
        "writers": writers,
        "fact": question.truth._asdict(),
    }


def annotated_label(rng: Random, number: int, question: Question, pair: dict) -> dict:
    """Let the annotator choose: one line of the file, a label that took no time."""
    chosen, _ = annotate_pair(rng, question.truth, *pair["answers"])
    label = {"version": 1, "id": f"annotator-{number}", "seconds": None}
    return label | pair | {"chosen": pair["answers"].index(chosen)}


def draw_annotated_labels(seed: int = 0, n: int = N_ANNOTATED) -> list[dict]:
    """Draw `n` pairs and the annotator's choices. Raises ValueError if too few pairs differ."""
    pairs = list(draw_answer_pairs(seed, DRAWN_PER_PAIR * n))
    if len(pairs) < n:
        raise ValueError(f"only {len(pairs)} of {DRAWN_PER_PAIR * n} pairs differ; {n} are needed")
    rng = Random(f"{seed}/annotator")
    return [
        annotated_label(rng, i, Question(pair["question"], fact_of(pair)), pair)
        for i, pair in enumerate(pairs[:n])
    ]


def fact_of(fields: dict) -> Fact:
    """Read the fact out of a line's fields."""
    fact = fields["fact"]
    return Fact(tuple(fact["statements"]), fact["question"], fact["answer"], fact["sentence"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write labels.jsonl."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.experiments.annotated_pairs", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for labels.jsonl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=N_ANNOTATED)
    asked = parser.parse_args(arguments)
    if asked.pairs < 1:
        parser.error(f"--pairs {asked.pairs} is below 1")
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    labels = draw_annotated_labels(asked.seed, asked.pairs)
    lines = "".join(json.dumps(label, ensure_ascii=False) + "\n" for label in labels)
    write_atomically(asked.out / "labels.jsonl", lines.encode())
    print(f"{len(labels)} pairs in {asked.out / 'labels.jsonl'}")


if __name__ == "__main__":
    main()
