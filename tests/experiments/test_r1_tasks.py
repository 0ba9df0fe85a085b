"""Stages side by side: the same numbers as in turn, nothing begun before what it needs, nothing
after a failure."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from course_lib.alignment.grpo import GRPOSettings
from course_lib.experiments import r1, r1_tasks
from course_lib.experiments.run import DATA_VERSION, ExperimentRun
from course_lib.files import read_json
from course_lib.lab import mine
from course_lib.lab.checks.core import solution_of
from course_lib.lab.own_answers import answer_text
from course_lib.training.distributed import process_rank, world_size
from course_lib.training.resume import Checkpoints

FEW = GRPOSettings(1, n_questions=2, group_size=2, max_new_tokens=6)
TINY = r1.R1Recipe(
    megabytes=0.1,
    base={"d_model": 16, "n_layers": 2, "n_heads": 2},
    small={"d_model": 8, "n_layers": 1, "n_heads": 2},
    window=32,
    batch_size=2,
    base_steps=4,
    small_steps=2,
    zero=FEW,
    small_zero=FEW,
)
# no others: untrained models are never right
SOME = ("base/tokenizer", "base", "zero", "small-base", "small-zero")


@pytest.fixture
def some_tasks(monkeypatch):
    monkeypatch.setattr(r1_tasks, "TASK_NEEDS", {name: r1_tasks.TASK_NEEDS[name] for name in SOME})
    monkeypatch.setattr(r1, "evaluate_r1", lambda run: {})


def models(run):
    return {
        name: run.path(f"{name}/model").read_bytes()
        for name in ("base", "zero", "small-base", "small-zero")
    }


def test_two_processes_leave_the_same_models_as_one(some_tasks, tmp_path):
    one, two = (ExperimentRun(tmp_path / name, recipe=TINY) for name in ("one", "two"))
    r1_tasks.run_r1_pipeline(one, n_processes=1)
    r1_tasks.run_r1_pipeline(two, n_processes=2)
    assert models(one) == models(two)
    assert read_json(two.path("zero/seconds"), "seconds", DATA_VERSION)["processor"] > 0


def test_own_lines_are_at_work_in_every_process(some_tasks, tmp_path):
    for name in ("one", "two"):
        run, keys = ExperimentRun(tmp_path / name, recipe=TINY), ("mlp.swiglu", "bpe.merge")
        run.folder.mkdir()
        sources = {key: answer_text(key, solution_of(*key.split("."))) for key in keys}
        mine.prepare_own_run(run, sources)
        n_processes = 1 + (name == "two")
        r1_tasks.run_r1_pipeline(run, n_processes, perform=mine.perform_on_own_lines)
        mine.write_own_report(run)
    one, two = (ExperimentRun(tmp_path / name) for name in ("one", "two"))
    assert models(one) == models(two)
    rows = [row for row in two.once("mine/report", list) if row["exercise"] in keys]
    assert len(rows) == 2 and all(row["calls"] and not row["handed back"] for row in rows)


class StoppingCheckpoints(Checkpoints):
    """Ask one process to stop once a first step is written down."""

    def save(self, model, optimizers, history, settings):
        super().save(model, optimizers, history, settings)
        if len(history.loss) == 1 and process_rank() == world_size() - 1:
            os.kill(os.getpid(), signal.SIGINT)


class StoppedRun(ExperimentRun):
    """A run whose base is stopped after its second step."""

    def checkpoints(self, stage, every):
        return StoppingCheckpoints(self.folder / stage / "steps", every=1)


class KilledRun(ExperimentRun):
    """A run of which one process is killed when the other one waits for it."""

    def checkpoints(self, stage, every):
        if process_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().checkpoints(stage, every)


class FailingRun(ExperimentRun):
    """A run of which one process fails when the other one waits for it."""

    def checkpoints(self, stage, every):
        if process_rank() == 1:
            raise ValueError("the second one fails")
        return super().checkpoints(stage, every)


@pytest.fixture
def base_alone(some_tasks, monkeypatch):
    needs = {name: r1_tasks.TASK_NEEDS[name] for name in ("base/tokenizer", "base")}
    monkeypatch.setattr(r1_tasks, "TASK_NEEDS", needs)


def test_a_base_that_two_processes_began_is_ended_by_one(base_alone, tmp_path):
    stopped = StoppedRun(tmp_path / "stopped", recipe=TINY)
    with pytest.raises(KeyboardInterrupt, match="base is not done"):
        r1_tasks.run_r1_pipeline(stopped, n_processes=2)
    assert stopped.checkpoints("base", 1).steps()[-1] == 2 and not stopped.done("base")
    runs = [ExperimentRun(tmp_path / name, recipe=TINY) for name in ("stopped", "whole")]
    for run in runs:
        r1_tasks.run_r1_pipeline(run)
    stopped, whole = (run.path("base/model").read_bytes() for run in runs)
    assert stopped == whole


def test_parts_of_a_batch_are_read_in_turn_by_a_single_process(monkeypatch, tmp_path):
    settings = []
    monkeypatch.setattr(r1, "pretrain_stage", lambda *a, **_: settings.append(a[4]))
    for recipe in (TINY, replace(TINY, base_processes=1)):
        r1.base_stage(ExperimentRun(tmp_path, recipe=recipe))
    assert [each.accumulate for each in settings] == [2, 1]


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        (KilledRun, RuntimeError, "closed by peer|terminated abruptly"),  # whichever is seen first
        (FailingRun, ValueError, "the second one fails"),
    ],
)
def test_nobody_waits_for_a_process_that_is_no_more(base_alone, tmp_path, kind, error, words):
    run = kind(tmp_path, recipe=TINY)
    with pytest.raises(error, match=words):
        r1_tasks.run_r1_pipeline(run, n_processes=2)
    assert not run.done("base")


def test_every_task_stands_behind_what_it_needs_and_all_stages_are_there():
    order = r1_tasks.tasks_in_turn(r1_tasks.TASK_NEEDS)
    assert sorted(order) == sorted(r1_tasks.TASK_NEEDS) and set(r1.R1_STAGES) <= set(order)
    for name, needs in r1_tasks.TASK_NEEDS.items():
        assert all(order.index(need) < order.index(name) for need in needs)


def test_needs_that_nobody_meets_are_named():
    with pytest.raises(ValueError, match="none of roof, walls has what it needs"):
        r1_tasks.tasks_in_turn({"roof": ("walls",), "walls": ("roof",)})


def test_a_task_that_fails_in_its_process_ends_the_run(some_tasks, tmp_path):
    broken = ExperimentRun(tmp_path, recipe=replace(TINY, window=-1))
    with pytest.raises(ValueError, match="length must be a whole number of at least 1, not -1"):
        r1_tasks.run_r1_pipeline(broken, n_processes=2)
    assert not broken.done("base") and not broken.done("zero")


def test_a_task_that_was_stopped_keeps_its_seconds_and_stops_the_run(monkeypatch, tmp_path):
    def stop(run):
        """Stop."""
        raise KeyboardInterrupt("base is not done")

    monkeypatch.setitem(r1.R1_STAGES, "base", stop)
    run = ExperimentRun(tmp_path, recipe=TINY)
    with pytest.raises(KeyboardInterrupt, match="base is not done"):
        r1_tasks.run_r1_pipeline(run)
    assert run.path("base/seconds").exists()


ONE_WORKER = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from course_lib.experiments.r1_tasks import initialize_worker

if __name__ == "__main__":
    pool = ProcessPoolExecutor(1, get_context("spawn"), initialize_worker)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 300).result()
"""


@pytest.mark.timeout(120)
def test_processes_end_with_the_one_that_began_them(tmp_path):
    script = tmp_path / "one_worker.py"
    script.write_text(ONE_WORKER)
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        worker = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        for _ in range(100):
            if not is_alive(worker):
                return
            time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    raise AssertionError("the worker should have ended with its parent")


def is_alive(process: int) -> bool:
    """Say whether a process runs; one that has ended but was not waited for does not."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
