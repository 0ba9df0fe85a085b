"""When labels are few: a small student of a fine-tuned teacher's verdicts on texts without labels.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.label_students --out data/family \\
        --work build/family

The teacher is the family's RoBERTa, which learns such a task from few labels. `--work` is the
folder in which `course_lib.experiments.family` has kept its models. Finished runs are kept: a
command that was stopped goes on where it was.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments import family
from course_lib.experiments import family_texts as texts
from course_lib.experiments.few_label_tasks import (
    FewLabelTask,
    LabelledRows,
    cut_words,
    few_label_task,
    labelled_texts,
    mood_sentences,
)
from course_lib.experiments.few_labels import (
    TextClassifier,
    classify_rows,
    fine_tune,
    label_objective,
)
from course_lib.experiments.label_baselines import bag_of_words_accuracy, label_accuracy
from course_lib.experiments.run_records import open_records, runs_parser, timed_measure
from course_lib.experiments.student_berts import STUDENT_SEEDS
from course_lib.text.batches import shuffled_rows
from course_lib.training.encoder_objectives import soft_label_loss
from course_lib.training.objectives import LossSum, Objective
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train_to_the_end

LABEL_STUDENTS_FILE = texts.FAMILY_FOLDER / "label_students.json"
TRUE_LABELS, UNLABELLED_COUNTS = 64, (32, 128, 1500)
LABEL_STUDENT_WIDTH, LABEL_STUDENT_STEPS, LABEL_STUDENT_BATCH, LABEL_STUDENT_RATE = (
    32,
    300,
    16,
    3e-3,
)


def label_student(seed: int) -> TextClassifier:
    """Build a student that has read nothing: one layer, half as wide, two classes."""
    body = family.new_bert(seed, n_layers=1, d_model=LABEL_STUDENT_WIDTH, n_heads=2, nsp=False)
    return TextClassifier(body, n_classes=2)


def unlabelled_moods(n: int, draw: int) -> LabelledRows:
    """Draw sentences with the words of both halves, in turn; their labels are for the ceiling."""
    one, other = cut_words(Random(1000 + draw))  # as the task of this draw cuts them
    parts = [
        labelled_texts(mood_sentences, Random(2000 + draw + i), half, n // 2)
        for i, half in enumerate((one, other))
    ]
    ids = torch.stack([part.ids for part in parts], 1).flatten(0, 1)
    return LabelledRows(ids, torch.stack([part.labels for part in parts], 1).flatten())


def soft_row_objective(temperature: float) -> Objective:
    """Make the objective of soft labels for whole rows: the targets are the teacher's logits."""

    def objective(
        model: nn.Module, ids: Int[Tensor, "B T"], logits: Float[Tensor, "B K"]
    ) -> LossSum:
        return LossSum(soft_label_loss(model(ids), logits, temperature) * len(ids), len(ids))

    return objective


def teach_labels(
    rows: Int[Tensor, "N T"], targets: Tensor, objective: Objective, seed: int
) -> TextClassifier:
    """Train a student on rows and their labels, or the teacher's logits; for all as many steps."""
    student = label_student(seed)
    settings = TrainSettings(
        LABEL_STUDENT_STEPS,
        adam_lr=LABEL_STUDENT_RATE,
        optimizer="adamw",
        warmup=0.1,
        decay=0.9,
        weight_decay=0.01,
    )
    batches = shuffled_rows(rows, targets, LABEL_STUDENT_BATCH, seed)
    train_to_the_end(student, batches, settings, objective)
    return student


def student_accuracy(
    task: FewLabelTask, rows: Tensor, targets: Tensor, objective: Objective, seed: int
) -> float:
    """Teach a student and test it on the task's sentences."""
    student = teach_labels(rows, targets, objective, seed)
    return label_accuracy(classify_rows(student, task.test), task.test)


def measure_label_students(teacher: nn.Module, seed: int) -> dict:
    """Fine-tune a teacher on the true labels, then teach students by every kind of label."""
    task = few_label_task("mood", TRUE_LABELS, seed)
    tuned = fine_tune(teacher, *task.train, seed=seed).eval()
    right = partial(student_accuracy, task, seed=seed)
    found = {
        "teacher": label_accuracy(classify_rows(tuned, task.test), task.test),
        "bag of words": bag_of_words_accuracy(task),
        "true labels": right(*task.train, label_objective),
    }
    for n in UNLABELLED_COUNTS:
        rows = unlabelled_moods(n, seed)
        logits = classify_rows(tuned, rows)
        found |= {
            f"verdicts right {n}": label_accuracy(logits, rows),
            f"verdicts {n}": right(rows.ids, logits.argmax(-1), label_objective),
            f"soft 1 {n}": right(rows.ids, logits, soft_row_objective(1.0)),
            f"soft 4 {n}": right(rows.ids, logits, soft_row_objective(4.0)),
            f"all labels {n}": right(*rows, label_objective),
        }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser("label_students", file="label_students.json", seeds=STUDENT_SEEDS)
    parser.add_argument("--work", type=Path, required=True, help="folder of the family's models")
    asked = parser.parse_args(arguments)
    records = open_records(asked.out, LABEL_STUDENTS_FILE.name)
    for seed in asked.seeds:
        measure = partial(
            measure_label_students, family.load_system("RoBERTa", seed, asked.work), seed
        )
        records.get(partial(timed_measure, measure), table="labels", name="mood", seed=seed)


if __name__ == "__main__":
    main()
