"""Two specialists become one model, in every way: the records that lesson 33 reads.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.merging_specialists

A small base is shown sums and digits to sort until half of its answers come out right: the start.
From it two specialists learn one task each, and every merge begins there too. All merges that learn
read as many answers. A seed is other questions and draws of a merge. Finished runs are kept in
`runs.json`: a command that was stopped goes on where it was.
"""

import argparse
import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from itertools import islice, product
from pathlib import Path
from random import Random

import torch
from torch import nn

from course_lib.alignment.gradient_noise import gradient_noise, stacked_gradients
from course_lib.alignment.grpo import GRPOSettings, group_advantages, grpo_loss, train_grpo
from course_lib.alignment.merging import (
    TOKEN_LOSSES,
    average_weights,
    specialists_loss,
    train_by_specialists,
)
from course_lib.alignment.mixed_task import mixed_task, rows_by_task
from course_lib.alignment.rl_loop import RLSettings, RolloutBatch, sample_rollouts
from course_lib.alignment.rl_task import answer_in_batches, compute_rewards
from course_lib.alignment.sft import SFTExample, sft_batches, sft_settings, train_sft
from course_lib.assets import DATA_FOLDER
from course_lib.experiments.distillation import answer_examples, load_small_base, student_settings
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.run_records import RunRecords, timed_measure
from course_lib.experiments.sft_runs import held_out_pages, page_bits_per_byte
from course_lib.inference.rollout import completion_log_probs
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.tasks.arithmetic import ZERO_REWARDS, arithmetic_task, evaluate_arithmetic
from course_lib.tasks.demonstrations import draw_demonstrations
from course_lib.tasks.sorting import evaluate_sorting, sorting_demonstrations, sorting_task
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.settings import whole_run

MERGING_FOLDER = DATA_FOLDER / "merging_specialists"
TASKS = {"sums": arithmetic_task(ZERO_REWARDS), "sorting": sorting_task()}
BOTH_TASKS = mixed_task(TASKS)
DEMONSTRATIONS = {"sums": draw_demonstrations, "sorting": sorting_demonstrations}
FULL_MARKS = 1.5  # of both rewards: right, and in form
START_EXAMPLES, START_STEPS = 1024, 400  # of each task; of both together
SPECIALIST_EXAMPLES, SPECIALIST_STEPS = 4000, 250
TRAINED_FOR = (10, SPECIALIST_STEPS)  # steps of the specialists whose weights are averaged
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
MERGE_STEPS, LONG_MERGE_STEPS, MERGE_ROWS = 64, 256, 64
TUNING_SEED, SWEPT_RATES = 7, (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
# by steps: of the swept ones that which is best with the tuning seed, see the table "rates"
MERGE_RATES = {
    "SFT": {64: 3e-3, 256: 3e-3},
    "mixed RL": {64: 1e-4, 256: 1e-4},
    "full vocabulary": {64: 1e-3, 256: 3e-3},
    "one token": {64: 3e-4, 256: 1e-3},
}
NOISE_BATCHES = 8
N_MEASURED = 250


def merge_settings(way: str, steps: int = MERGE_STEPS, lr: float | None = None) -> RLSettings:
    """Give the settings of a merge that learns from what the student writes.

    Without an `lr` it is the one chosen for the way. GRPO asks each question eight times;
    distillation compares no answers, and asks more questions.
    """
    shared = {"steps": steps, "lr": lr or MERGE_RATES[way][steps], "n_minibatches": 1}
    if way == "mixed RL":
        return GRPOSettings(n_questions=MERGE_ROWS // 8, group_size=8, **shared)
    return RLSettings(n_questions=MERGE_ROWS, group_size=1, **shared)


def measure_merged(model: nn.Module, n: int = N_MEASURED, pages: bool = True) -> dict[str, float]:
    """Measure both skills on held-out questions, and the old one on held-out pages."""
    tokenizer = SHIPPED_R1.tokenizer()
    found = {
        "sums": evaluate_arithmetic(model.eval(), tokenizer, n, max_new_tokens=72)["accuracy"],
        "sorting": evaluate_sorting(model, tokenizer, n)["accuracy"],
    }
    bits = {"bits_per_byte": page_bits_per_byte(model, held_out_pages())} if pages else {}
    return {name: round(value, 4) for name, value in (found | bits).items()}


# The models
# --------------------------------------------------------------------------------------------------


def fine_tuned(
    model: nn.Module, examples: Sequence[SFTExample], steps: int, seed: int
) -> nn.Module:
    """Fine-tune a copy, as a student of lesson 27."""
    model = copy.deepcopy(model)
    whole_run(train_sft(model, examples, student_settings(steps), batch_size=32, seed=seed))
    return model.eval()


def demonstrated(name: str, n: int, what: str) -> list[SFTExample]:
    """Draw `n` demonstrations of a task as examples; `what` they are for makes them others."""
    return answer_examples(SHIPPED_R1.tokenizer(), DEMONSTRATIONS[name](Random(what), n))


def make_start(folder: Path) -> None:
    """Show the small base some of both tasks, and keep what comes of it."""
    examples = [e for name in TASKS for e in demonstrated(name, START_EXAMPLES, "start")]
    start = fine_tuned(load_small_base(), examples, START_STEPS, seed=0)
    save_checkpoint(folder / "start" / "model.json", start, {"steps": START_STEPS})


def load_merging_model(name: str, folder: Path | str = MERGING_FOLDER) -> Llama:
    """Read a model: the "start", or the specialist in "sums" or in "sorting"."""
    path = Path(folder) / name / "model.json"
    return load_checkpoint(path, lambda s: Llama(LlamaSettings(**s)))[0].eval()


def sampled_batch(model: nn.Module, way: str, seed: int, number: int) -> RolloutBatch:
    """Let a model answer a batch of both tasks' questions, as in a step of a merge."""
    generator = torch.Generator().manual_seed(1000 * seed + number)
    rng = Random(f"{seed}/noise/{number}")
    settings = merge_settings(way)
    return sample_rollouts(model, SHIPPED_R1.tokenizer(), BOTH_TASKS, settings, rng, generator)


class MergingRuns:
    """The start and its specialists, and what becomes of them with the draws of one seed."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder, self.tokenizer = seed, folder, SHIPPED_R1.tokenizer()

    @cached_property
    def start(self) -> nn.Module:
        if not (self.folder / "start" / "model.json").exists():
            make_start(self.folder)
        return load_merging_model("start", self.folder)

    def specialist(self, name: str, steps: int = SPECIALIST_STEPS) -> nn.Module:
        """Go on from the start with one task alone."""
        examples = demonstrated(name, SPECIALIST_EXAMPLES, "specialist")
        return fine_tuned(self.start, examples, steps, seed=0)

    @cached_property
    def specialists(self) -> dict[str, nn.Module]:
        """Read both, or make and keep them."""
        for name in TASKS:
            path = self.folder / name / "model.json"
            if not path.exists():
                save_checkpoint(path, self.specialist(name), {"steps": SPECIALIST_STEPS})
        return {name: load_merging_model(name, self.folder) for name in TASKS}

    def on_both(self) -> nn.Module:
        """Give the ceiling: the demonstrations and the steps of both specialists, for one model."""
        both = [e for name in TASKS for e in demonstrated(name, SPECIALIST_EXAMPLES, "specialist")]
        return fine_tuned(self.start, both, 2 * SPECIALIST_STEPS, seed=0)

    def samples(self, steps: int = MERGE_STEPS) -> list[SFTExample]:
        """Let each specialist answer fresh questions; keep the answers that earn full marks."""
        kept = []
        for name, task in TASKS.items():
            rng = Random(f"{self.seed}/samples")
            asked = [task.draw(rng) for _ in range(steps * MERGE_ROWS // 4)]
            teacher = self.specialists[name]
            texts, _ = answer_in_batches(teacher, self.tokenizer, asked, seed=self.seed)
            rewards = compute_rewards(task, asked, texts).tolist()
            good = [
                (question.text, text)
                for question, text, reward in zip(asked, texts, rewards, strict=True)
                if reward == FULL_MARKS
            ]
            kept += answer_examples(self.tokenizer, good)
        return kept

    def by_average(self) -> nn.Module:
        return average_weights(list(self.specialists.values()), [0.5, 0.5])

    # The ways that learn give what they made, and how many tokens of answers they read.

    def by_sft(self, steps: int = MERGE_STEPS, lr: float | None = None) -> tuple[nn.Module, int]:
        """Learn from the specialists' own answers."""
        model, examples = copy.deepcopy(self.start), self.samples(steps)
        settings = sft_settings(steps, adam_lr=lr or MERGE_RATES["SFT"][steps])
        whole_run(train_sft(model, examples, settings, batch_size=MERGE_ROWS, seed=self.seed))
        read = islice(sft_batches(examples, MERGE_ROWS, self.seed), steps)
        return model, sum(int((targets != IGNORE_INDEX).sum()) for _, targets in read)

    def by_practice(
        self, steps: int = MERGE_STEPS, lr: float | None = None
    ) -> tuple[nn.Module, int]:
        """Practise both tasks at once, by the rules' rewards."""
        model, settings = copy.deepcopy(self.start), merge_settings("mixed RL", steps, lr)
        history = whole_run(train_grpo(model, self.tokenizer, BOTH_TASKS, settings, seed=self.seed))
        return model, round(MERGE_ROWS * sum(history.measures["length"]))

    def by_policy(
        self, way: str, steps: int = MERGE_STEPS, lr: float | None = None
    ) -> tuple[nn.Module, int]:
        """Let the student answer, and each specialist judge the answers to its task."""
        model, settings = copy.deepcopy(self.start), merge_settings(way, steps, lr)
        history = whole_run(
            train_by_specialists(
                model, self.specialists, self.tokenizer, BOTH_TASKS, settings,
                token_loss=TOKEN_LOSSES[way], seed=self.seed,
            )
        )  # fmt: skip
        return model, round(MERGE_ROWS * sum(history.measures["length"]))

    @property
    def ways(self) -> dict[str, Callable[..., tuple[nn.Module, int]]]:
        """Give the ways that learn, by name; each takes steps and a rate."""
        return {way: partial(self.by_policy, way) for way in TOKEN_LOSSES} | {
            "SFT": self.by_sft,
            "mixed RL": self.by_practice,
        }

    def merged(self, make: Callable[[], tuple[nn.Module, int]]) -> dict:
        """Merge, and measure; the seconds of the processor are those of merging alone."""
        assert self.specialists, "they are made before the clock starts"
        made: list[nn.Module] = []

        def timed() -> dict:
            model, tokens = make()
            made.append(model)
            return {"tokens": tokens}

        taken = timed_measure(timed)
        return measure_merged(made[0]) | taken

    def averages(self, steps: int) -> dict:
        """Average specialists that were trained for so many steps, in several shares."""
        known = self.specialists if steps == SPECIALIST_STEPS else None
        pair = known or {name: self.specialist(name, steps) for name in TASKS}
        found = []
        for alpha in ALPHAS:
            model = average_weights(list(pair.values()), [1 - alpha, alpha])
            found.append(measure_merged(model, 100, pages=False))
        return {name: [row[name] for row in found] for name in TASKS}

    def noise(self, model: nn.Module) -> dict:
        """Measure the gradients of three losses on batches of as many answers of one model."""
        found = {}
        for way, token_loss in TOKEN_LOSSES.items():
            losses = (
                specialists_loss(
                    model, self.specialists, rows_by_task(batch.questions), batch.completions,
                    token_loss,
                )
                for batch in self.batches(model, way)
            )  # fmt: skip
            found[way] = gradient_noise(stacked_gradients(model, losses))._asdict()
        practised = (practice_loss(model, batch) for batch in self.batches(model, "mixed RL"))
        found["mixed RL"] = gradient_noise(stacked_gradients(model, practised))._asdict()
        return found

    def batches(self, model: nn.Module, way: str) -> Iterator[RolloutBatch]:
        return (sampled_batch(model, way, self.seed, number) for number in range(NOISE_BATCHES))


def practice_loss(model: nn.Module, batch: RolloutBatch) -> torch.Tensor:
    """Give GRPO's loss on a batch, at the policy that wrote it."""
    settings = merge_settings("mixed RL")
    advantages = group_advantages(batch.rewards, settings.group_size)
    log_probs = completion_log_probs(model, batch.completions)
    return grpo_loss(log_probs, None, batch.completions, advantages, settings)[0]


# All runs
# --------------------------------------------------------------------------------------------------


def model_runs(work: MergingRuns) -> Iterator[tuple[str, str, Callable[[], dict]]]:
    """Give the runs of which there is one: what is merged, and weight averages, which draw nothing.

    With each stands its table, its name, and how it is made.
    """
    yield "models", "base", lambda: measure_merged(load_small_base())
    yield "models", "start", lambda: measure_merged(work.start)
    for name in TASKS:
        yield "models", f"{name} alone", lambda n=name: measure_merged(work.specialists[n])
    yield "models", "weight average", lambda: measure_merged(work.by_average())
    for steps in TRAINED_FOR:
        yield "averages", str(steps), partial(work.averages, steps)
    yield "models", "both", lambda: measure_merged(work.on_both())


def merge_runs(work: MergingRuns) -> Iterator[tuple[str, str, Callable[[], dict]]]:
    """Give the runs of each seed in the same way."""
    for table, steps in (("merges", MERGE_STEPS), ("long merges", LONG_MERGE_STEPS)):
        for way, merge in work.ways.items():
            yield table, way, partial(work.merged, partial(merge, steps))
    yield "noise", "start", lambda: work.noise(work.start)


def make_merging_runs(out: Path, seeds: Sequence[int] = (0, 1, 2)) -> None:
    """Make the runs that the record lacks."""
    torch.set_num_threads(1)
    record = RunRecords(out / "runs.json")
    for seed in seeds:
        work = MergingRuns(seed, out)
        for table, name, make in (*(model_runs(work) if seed == 0 else ()), *merge_runs(work)):
            record.get(make, table=table, name=name, seed=seed)
    sweep_rates(MergingRuns(TUNING_SEED, out), record)


def sweep_rates(work: MergingRuns, record: RunRecords) -> None:
    """Try each rate for each way that learns, short and long."""
    for steps, (way, merge), rate in product(
        (MERGE_STEPS, LONG_MERGE_STEPS), work.ways.items(), SWEPT_RATES
    ):
        record.get(
            lambda merge=merge, steps=steps, rate=rate: measure_merged(
                merge(steps, rate)[0], pages=False
            ),
            table="rates", name=way, steps=steps, rate=rate, seed=work.seed,
        )  # fmt: skip


def read_swept_rates(steps: int, folder: Path | str = MERGING_FOLDER) -> dict[str, list[float]]:
    """Read the sweep: for each way the mean of both skills, rate by rate."""
    found = RunRecords(Path(folder) / "runs.json").by_name(table="rates", steps=steps)
    return {
        way: [(run["sums"] + run["sorting"]) / 2 for run in runs] for way, runs in found.items()
    }


def read_merging_runs(table: str, folder: Path | str = MERGING_FOLDER) -> dict[str, list[dict]]:
    """Read the finished runs of a table by name, each seed by seed."""
    return RunRecords(Path(folder) / "runs.json").by_name(table=table)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.experiments.merging_specialists",
        description="Merge two specialists in every way, and write down what becomes of them.",
    )
    parser.add_argument("--out", type=Path, default=MERGING_FOLDER, help="where records go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    make_merging_runs(options.out, options.seeds)


if __name__ == "__main__":
    main()
