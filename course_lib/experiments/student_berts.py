"""When does distillation pay? Students of a BERT: by true words, by soft labels, by both.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.student_berts --out data/family

The teacher has four layers, its students two. Four questions, a table of runs for each: which
layers a student begins with; what soft labels give in equal time; what they give when few places
are hidden; and what a student hears of words that it is never asked for. Finished runs are kept: a
command that was stopped goes on where it was.
"""

import copy
import time
from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.experiments import family
from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import ClozePlaces, cloze_places, masked_cloze, world_word_ids
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser
from course_lib.models.bert import BERT
from course_lib.models.distilbert import DistilBERT, student_of
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.encoder_objectives import (
    distillation_objective,
    masked_lm_objective,
    teacher_hidden,
)
from course_lib.training.objectives import LossSum, Objective, next_token_loss_sum
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import TokenBatch, train_to_the_end

STUDENT_BERTS_FILE = texts.FAMILY_FOLDER / "student_berts.json"
STUDENT_SEEDS = (0, 1, 2)
TEACHER_LAYERS, TEACHER_STEPS = 4, 1200
STUDENT_LAYERS = (0, 2)  # of the teacher
LAYER_CHOICES = ((0, 1), (0, 2), (2, 3))
LAYER_STEPS = 100
# Steps by true words, and as many seconds of a processor with the teacher's pass: a step with soft
# labels takes 1.6 times as long.
EQUAL_STEPS = {"short": (400, 250)}
SCARCE_PASSAGES, SCARCE_STEPS, UNASKED_STEPS = 100, 150, 500
LABEL_TEMPERATURES = (1.0, 4.0)
UNASKED_LESSONS = (None, "true words", "teacher's words", "soft labels, T = 1")
SCARCE_LESSONS = ("true words", "teacher's words", "soft labels, T = 1", "soft labels, T = 4")


# The teacher
# --------------------------------------------------------------------------------------------------


def teacher_file(seed: int, folder: Path = texts.FAMILY_FOLDER) -> Path:
    """Give the place of the teacher's weights."""
    return folder / f"teacher-{seed}.json"


def new_teacher(seed: int) -> BERT:
    """Build the teacher: twice as many layers as its students, no second task."""
    return family.new_bert(seed, n_layers=TEACHER_LAYERS, nsp=False)


def load_teacher(seed: int = 0, folder: Path = texts.FAMILY_FOLDER) -> BERT:
    """Read a trained teacher; seed 0 is shipped, with weights in half precision."""
    model, _ = load_checkpoint(teacher_file(seed, folder), lambda _: new_teacher(seed))
    return model.eval()


def measure_teacher(seed: int, folder: Path, steps: int = TEACHER_STEPS) -> dict:
    """Train a teacher, keep it in half precision, and fill in the cloze as it was kept."""
    teacher = new_teacher(seed)
    taken = train_student(teacher, family.masked_passages(seed), masked_lm_objective, steps)
    save_checkpoint(teacher_file(seed, folder), copy.deepcopy(teacher).half(), {"seed": seed})
    return masked_cloze(load_teacher(seed, folder), cloze_places())._asdict() | taken


# Students and what they are taught by
# --------------------------------------------------------------------------------------------------


def random_student(teacher: BERT, seed: int) -> DistilBERT:
    """Build a student with first weights of its own."""
    return family.init_small_model(student_of(teacher, STUDENT_LAYERS), seed + 100)


def verdict_objective(teacher: nn.Module) -> Objective:
    """Make the objective of hard labels: at hidden tokens, what the teacher holds likeliest."""

    def objective(
        student: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
    ) -> LossSum:
        padding, asked = inputs == student.settings.pad_token, targets != IGNORE_INDEX
        with torch.no_grad():
            verdicts = teacher.logits(teacher_hidden(teacher, inputs, padding)[asked]).argmax(-1)
        logits = student.logits(student.hidden(inputs, padding=padding)[asked])
        return next_token_loss_sum(logits[None], verdicts[None])

    return objective


def student_lessons(teacher: nn.Module) -> dict[str, Objective]:
    """Give every way to teach a student, by its name."""
    soft = {
        f"soft labels, T = {t:g}": distillation_objective(teacher, (1.0, 0.0, 0.0), t)
        for t in LABEL_TEMPERATURES
    }
    return {
        "true words": masked_lm_objective,
        "teacher's words": verdict_objective(teacher),
        **soft,
        "three losses": distillation_objective(teacher),
    }


def train_student(
    student: nn.Module, batches: Iterator[TokenBatch], objective: Objective, steps: int
) -> dict[str, float]:
    """Train, and give the processor's seconds."""
    texts.family_passages()  # drawn before the clock starts
    start = time.process_time()
    train_to_the_end(student, batches, TrainSettings(steps), objective)
    return {"seconds": round(time.process_time() - start, 1)}


# The four tables
# --------------------------------------------------------------------------------------------------


def measure_layers(teacher: BERT, layers: Sequence[int], seed: int) -> dict:
    """Begin with some of the teacher's layers: how good before training, and after a little?"""
    student = student_of(teacher, layers)
    before = masked_cloze(student, cloze_places()).accuracy
    batches = family.masked_passages(seed)
    taken = train_student(student, batches, masked_lm_objective, LAYER_STEPS)
    return masked_cloze(student, cloze_places())._asdict() | {"untrained": before} | taken


def measure_start(teacher: BERT, start: str, lesson: str, steps: int, seed: int) -> dict:
    """Teach a student that begins with random weights, or with the teacher's layers."""
    chosen = student_of(teacher, STUDENT_LAYERS)
    student = random_student(teacher, seed) if start == "random" else chosen
    objective, batches = student_lessons(teacher)[lesson], family.masked_passages(seed)
    taken = train_student(student, batches, objective, steps)
    return masked_cloze(student, cloze_places())._asdict() | taken


def passages_hidden_once(n: int, seed: int) -> Iterator[TokenBatch]:
    """Batches of n passages, drawn at random, of which the same tokens are hidden each time."""
    ids = texts.family_passages().ids
    drawn = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed))[:n]
    return family.hidden_batches(ids[drawn], seed, copies=1)


def measure_scarce(teacher: BERT, lesson: str, seed: int) -> dict:
    """Teach a student with the teacher's layers on few passages, hidden once."""
    student, objective = student_of(teacher, STUDENT_LAYERS), student_lessons(teacher)[lesson]
    batches = passages_hidden_once(SCARCE_PASSAGES, seed)
    taken = train_student(student, batches, objective, SCARCE_STEPS)
    return masked_cloze(student, cloze_places())._asdict() | taken


@cache
def unasked_words() -> Int[Tensor, "W"]:
    """Draw a quarter of the world's words: those that a student is never asked for."""
    words = world_word_ids()
    order = torch.randperm(len(words), generator=torch.Generator().manual_seed(5))
    return words[order[: len(words) // 4]].sort().values


def unasked_passages(seed: int) -> Iterator[TokenBatch]:
    """Batches of passages in which those words are never hidden, though they can be read."""
    ids = texts.family_passages().ids
    maskable = texts.maskable_places(ids) & ~torch.isin(ids, unasked_words())
    return family.hidden_batches(ids, seed, maskable=maskable)


@cache
def unasked_places() -> ClozePlaces:
    """Give the first of those words in every held-out passage that has one."""
    ids, page = texts.held_out_passages()
    found = torch.isin(ids, unasked_words())
    rows = found.any(1).nonzero()[:, 0]
    columns = found[rows].int().argmax(1)
    return ClozePlaces(ids[rows], columns, ids[rows, columns], page[rows])


def measure_unasked(teacher: BERT, lesson: str | None, seed: int) -> dict:
    """Teach a student without ever asking for those words; then ask. None: ask the teacher."""
    student, taken = random_student(teacher, seed), {}
    if lesson is not None:
        objective = student_lessons(teacher)[lesson]
        taken = train_student(student, unasked_passages(seed), objective, UNASKED_STEPS)
    model = teacher if lesson is None else student
    found = masked_cloze(model, unasked_places())._asdict()
    return found | {"other_accuracy": masked_cloze(model, cloze_places()).accuracy} | taken


def run_student_tables(records: RunRecords, seed: int, folder: Path) -> None:
    """Run what is missing of one seed."""
    key = {"seed": seed}
    records.get(partial(measure_teacher, seed, folder), table="teacher", name="teacher", **key)
    teacher = load_teacher(seed, folder)
    for lesson in UNASKED_LESSONS:
        measure = partial(measure_unasked, teacher, lesson, seed)
        records.get(measure, table="unasked", name=lesson or "teacher", **key)
    for lesson in SCARCE_LESSONS:
        measure = partial(measure_scarce, teacher, lesson, seed)
        records.get(measure, table="scarce", name=lesson, **key)
    for layers in LAYER_CHOICES:
        measure = partial(measure_layers, teacher, layers, seed)
        records.get(measure, table="layers", name=str(layers), **key)
    for (budget, steps), start in product(EQUAL_STEPS.items(), ("random", "layers")):
        for lesson, n in zip(("true words", "three losses"), steps, strict=True):
            measure = partial(measure_start, teacher, start, lesson, n, seed)
            records.get(measure, table="start", name=lesson, start=start, budget=budget, **key)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser("student_berts", file="student_berts.json", seeds=STUDENT_SEEDS)
    asked = parser.parse_args(arguments)
    records = open_records(asked.out, STUDENT_BERTS_FILE.name)
    for seed in asked.seeds:
        run_student_tables(records, seed, asked.out)


if __name__ == "__main__":
    main()
