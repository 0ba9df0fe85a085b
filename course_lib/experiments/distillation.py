"""A small student by every road to reasoning: the records that lesson 27 reads.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.distillation --out data/distillation

All start from the same small base and have the same teacher, the R1 that comes with the course. A
seed is other questions, other answers and other draws. Finished runs are kept in `students.json`: a
command that was stopped goes on where it was.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import nn

from course_lib.alignment.distillation import train_by_teacher, train_on_policy
from course_lib.alignment.grpo import GRPOSettings, train_grpo
from course_lib.alignment.rl_task import answer_in_batches
from course_lib.alignment.sft import SFTExample, sft_examples, sft_settings, train_sft
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.r1 import SHIPPED_R1, is_readable_answer
from course_lib.experiments.run import ExperimentRun
from course_lib.experiments.run_records import RunRecords, timed_measure
from course_lib.tasks.arithmetic import (
    ZERO_REWARDS,
    arithmetic_task,
    draw_arithmetic_question,
    evaluate_arithmetic,
    rejection_sample,
)
from course_lib.tasks.demonstrations import as_dialogue
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_THINK
from course_lib.training.settings import TrainSettings, whole_run

DISTILLATION_FOLDER = DATA_FOLDER / "distillation"
ANSWER_COUNTS = (16, 64, 256, 1024, 4000)
FEW, MANY = 256, 1024  # answers: enough for the form, too few for the sums; and enough for most
TEMPERATURES = (1.0, 4.0)
SAME_COST = 0.6  # of the steps: about what a step with the teacher's pass costs more
STUDENT_STEPS, STUDENT_BATCH = 300, 32
PRACTICE_STEPS = 80
STUDENT_PRACTICE = GRPOSettings(PRACTICE_STEPS)
ON_POLICY_PRACTICE = GRPOSettings(40, n_questions=32, group_size=2, lr=2e-3)


def student_settings(steps: int = STUDENT_STEPS) -> TrainSettings:
    """Give the settings by which a student learns from texts or from probabilities."""
    return sft_settings(steps, optimizer="muon", muon_lr=0.01)


def teacher_answers(
    teacher: nn.Module, tokenizer: Tokenizer, n_questions: int, seed: int = 0
) -> list[tuple[str, str]]:
    """Let a teacher answer fresh sums, once each; keep the right and readable answers.

    As pairs of texts.
    """
    rng = Random(f"{seed}/taught")
    questions = [draw_arithmetic_question(rng) for _ in range(n_questions)]
    texts, _ = answer_in_batches(teacher, tokenizer, questions, seed=seed)
    kept = rejection_sample(questions, texts, is_readable_answer)
    return [(question.text, text) for question, text in kept]


def answer_examples(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> list[SFTExample]:
    """Make examples of questions and answers in text."""
    return sft_examples(tokenizer, [as_dialogue(*pair) for pair in pairs])


class StudentRuns:
    """The students of one seed: each method changes a small base and returns it."""

    def __init__(self, seed: int) -> None:
        self.seed, self.tokenizer = seed, SHIPPED_R1.tokenizer()
        self.teacher, self.pairs = SHIPPED_R1.load("r1"), []

    def examples(self, n: int) -> list[SFTExample]:
        """Give the teacher's first `n` answers that are worth learning from."""
        if not self.pairs:
            self.pairs = teacher_answers(self.teacher, self.tokenizer, 4100, self.seed)
        return answer_examples(self.tokenizer, self.pairs[:n])

    def by_text(self, n: int, steps: int = STUDENT_STEPS) -> nn.Module:
        """Learn from the words of `n` answers."""
        model = load_small_base()
        options = {"batch_size": STUDENT_BATCH, "seed": self.seed}
        whole_run(train_sft(model, self.examples(n), student_settings(steps), **options))
        return model

    def by_bare_answers(self, n: int) -> nn.Module:
        """Learn from the same answers without their thoughts."""
        self.examples(n)
        bare = [(question, text.partition(END_THINK)[2]) for question, text in self.pairs[:n]]
        model, examples = load_small_base(), answer_examples(self.tokenizer, bare)
        options = {"batch_size": STUDENT_BATCH, "seed": self.seed}
        whole_run(train_sft(model, examples, student_settings(), **options))
        return model

    def by_probabilities(
        self, n: int, temperature: float = 1.0, steps: int = STUDENT_STEPS
    ) -> nn.Module:
        """Learn from the teacher's probabilities along the same answers."""
        model, settings = load_small_base(), student_settings(steps)
        options = {"batch_size": STUDENT_BATCH, "seed": self.seed, "temperature": temperature}
        whole_run(train_by_teacher(model, self.teacher, self.examples(n), settings, **options))
        return model

    def by_practice(self, model: nn.Module, settings: GRPOSettings = STUDENT_PRACTICE) -> nn.Module:
        """Go on by RL, with R1-Zero's rewards."""
        task = arithmetic_task(ZERO_REWARDS)
        whole_run(train_grpo(model, self.tokenizer, task, settings, seed=self.seed))
        return model

    def by_policy(self, model: nn.Module, settings: GRPOSettings = ON_POLICY_PRACTICE) -> nn.Module:
        """Go on by the teacher's probabilities along the student's own answers."""
        task = arithmetic_task(ZERO_REWARDS)
        roles = model, self.teacher, self.tokenizer
        whole_run(train_on_policy(*roles, task, settings, seed=self.seed))
        return model

    def measured(self, learn: Callable[[], nn.Module]) -> dict:
        """Learn, and measure; the seconds of the processor are those of learning alone."""
        self.examples(1)  # asking the teacher is not part of it
        made: list[nn.Module] = []
        taken = timed_measure(lambda: made.append(learn()) or {})
        return evaluate_arithmetic(made[0], self.tokenizer, n=500) | taken


def student_runs(work: StudentRuns) -> Iterator[tuple[str, str, Callable[[], nn.Module]]]:
    """Give every run of a seed: its table, its name, and how it is made."""
    few, many, most, load = FEW, MANY, max(ANSWER_COUNTS), load_small_base
    yield "roads", "small base", load
    yield "roads", "teacher", partial(SHIPPED_R1.load, "r1")
    for n in ANSWER_COUNTS:
        yield "answers", str(n), partial(work.by_text, n)
    yield "answers", f"{most}, without thoughts", partial(work.by_bare_answers, most)
    for temperature in TEMPERATURES:
        yield "probabilities", f"{temperature:g}", partial(work.by_probabilities, few, temperature)
    yield "answers", f"{few}, more steps", lambda: work.by_text(few, steps=3 * STUDENT_STEPS)
    yield "roads", "answers, then on-policy", lambda: work.by_policy(work.by_text(many))
    yield "roads", "answers, more steps", lambda: work.by_text(many, steps=3 * STUDENT_STEPS)
    yield "roads", "answers, then RL", lambda: work.by_practice(work.by_text(many))
    yield "roads", "on-policy", lambda: work.by_policy(load())
    steps = round(STUDENT_STEPS * SAME_COST)
    yield "probabilities", "1, equal cost", partial(work.by_probabilities, few, 1.0, steps)


def run_students(out: Path, seeds: Sequence[int] = (0, 1, 2)) -> None:
    """Make the runs that the record lacks."""
    torch.set_num_threads(1)
    record = RunRecords(out / "students.json")
    for seed in seeds:
        work = StudentRuns(seed)
        for table, name, learn in student_runs(work):
            record.get(partial(work.measured, learn), table=table, name=name, seed=seed)


def read_students(path: Path | str = DISTILLATION_FOLDER / "students.json") -> RunRecords:
    """Read the record."""
    return RunRecords(Path(path))


def students_over_seeds(
    record: RunRecords, table: str, name: str, measure: str = "accuracy"
) -> list[float]:
    """Give a measure of a run, seed by seed; raises ValueError if there is no such run."""
    found = record.by_seed(table=table, name=name)
    if not found:
        raise ValueError(f"no run {name!r} in table {table!r} of {record.path}")
    return [run[measure] for run in found]


def load_small_base() -> nn.Module:
    """Read the small base of seed 0, as it comes with the course."""
    return ExperimentRun(DISTILLATION_FOLDER).load("small-base")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.experiments.distillation",
        description="Teach small students, and write down how well they do.",
    )
    parser.add_argument("--out", type=Path, default=DISTILLATION_FOLDER, help="where records go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    run_students(options.out, options.seeds)


if __name__ == "__main__":
    main()
