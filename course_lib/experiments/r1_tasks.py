"""The pipeline's stages side by side: what has all that it needs is done.

In as many processes as there are cores; two of them share the longest stage, the base. Neither
changes a number: a task reads what the tasks that it needs have left in the folder of the run, all
its randomness comes from the run's seed, and processes that share a stage add up the gradients of
the parts of a batch which one process would read in turn.
"""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context, parent_process
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread

import torch

from course_lib.experiments import r1
from course_lib.experiments.r1 import R1_STAGES
from course_lib.experiments.run import DATA_VERSION, ExperimentRun
from course_lib.files import read_json, write_json
from course_lib.training.distributed import local_process_group

# What each task needs. The line to R1 stands first, since it is the longest: of the ready ones the
# first is begun.
TASK_NEEDS: dict[str, tuple[str, ...]] = {
    "base/tokenizer": (),
    "base": ("base/tokenizer",),
    "zero": ("base",),
    "cold-start": ("zero",),
    "reasoning": ("cold-start",),
    "sft": ("reasoning", "sft/chats"),
    "r1": ("sft",),
    "student": ("r1", "small-base"),
    "sft/chats": ("base",),
    "small-base": ("base/tokenizer",),
    "small-zero": ("small-base",),
    "evaluation/at-k": ("base", "zero"),
    "evaluation/longer-sums": ("r1",),
    **{f"evaluation/{stage}": (stage,) for stage in R1_STAGES},
}


# How a task is done: called with the run, the task's name and its function of the run.
TaskPerformer = Callable[[ExperimentRun, str, Callable[[ExperimentRun], object]], None]


def perform_task(run: ExperimentRun, name: str, task: Callable[[ExperimentRun], object]) -> None:
    """Do a task as it is."""
    task(run)


def run_r1_pipeline(
    run: ExperimentRun,
    n_processes: int = 1,
    start: str | None = None,
    perform: TaskPerformer = perform_task,
) -> None:
    """Do every task that is not done, and in any case the stage `start` and all after it.

    With one process they are done in turn, here; with more, up to `n_processes` at a time, one
    thread each. `perform` does each task, in the process that it falls to: it is a function that
    processes can import.
    """
    for name in list(R1_STAGES)[list(R1_STAGES).index(start) :] if start else ():
        shutil.rmtree(run.folder / name, ignore_errors=True)
    if not all(map(run.done, R1_STAGES)):
        shutil.rmtree(run.folder / "evaluation", ignore_errors=True)
    if n_processes == 1:
        for name in tasks_in_turn(TASK_NEEDS):
            record_task_seconds(run, name, run_task(run, name, perform=perform))
    else:
        run_tasks_in_parallel(run, n_processes, perform)
    run.once("evaluation/measures", lambda: r1.evaluate_r1(run))


def tasks_in_turn(needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Give all tasks in an order in which each stands behind what it needs.

    >>> tasks_in_turn({"roof": ("walls",), "walls": (), "garden": ()})
    ['walls', 'roof', 'garden']
    """
    order: list[str] = []
    while rest := [name for name in needs if name not in order]:
        order.append(next_task(rest, needs, order))
    return order


def next_task(rest: list[str], needs: Mapping[str, tuple[str, ...]], done: list[str]) -> str:
    """Give the first task of the rest that has all that it needs."""
    ready = [name for name in rest if set(needs[name]) <= set(done)]
    if not ready:
        raise ValueError(f"none of {', '.join(rest)} has what it needs")
    return ready[0]


def run_tasks_in_parallel(
    run: ExperimentRun, n_processes: int, perform: TaskPerformer = perform_task
) -> None:
    """Do all tasks in processes of their own.

    If one fails or is stopped, none is begun after it.
    """
    rest, done = list(TASK_NEEDS), []
    running: dict[str, list[Future]] = {}  # a task's processes, the first one first
    pool = ProcessPoolExecutor(n_processes, get_context("spawn"), initialize_worker)
    with TemporaryDirectory() as meetings, pool:
        while rest or running:
            for name in [name for name in rest if set(TASK_NEEDS[name]) <= set(done)]:
                n_ranks = processes_of_task(run, name, n_processes)
                if sum(map(len, running.values())) + n_ranks > n_processes:
                    break  # nor is a later one begun: what waits for two would never get them
                running[name] = submit_task(pool, run, name, Path(meetings), n_ranks, perform)
                rest.remove(name)
            wait([ranks[0] for ranks in running.values()], return_when=FIRST_COMPLETED)
            for name in [name for name, ranks in running.items() if ranks[0].done()]:
                record_task_seconds(run, name, result_of_task(running.pop(name)))
                done.append(name)


def processes_of_task(run: ExperimentRun, name: str, n_processes: int) -> int:
    """Say how many processes share a task, of those that there are."""
    wanted = run.recipe.base_processes if name == "base" else 1
    return wanted if wanted <= n_processes else 1


def submit_task(
    pool: Executor,
    run: ExperimentRun,
    name: str,
    meetings: Path,
    n_ranks: int,
    perform: TaskPerformer = perform_task,
) -> list[Future]:
    """Begin a task in so many processes, which find each other by a file in the folder."""
    meeting_file = meetings / name.replace("/", "-")
    return [
        pool.submit(run_task, run, name, meeting_file, n_ranks, rank, perform)
        for rank in range(n_ranks)
    ]


def result_of_task(ranks: Sequence[Future]) -> dict:
    """Wait for all processes of a task; give the seconds of the first, the processors' added up."""
    errors = [future.exception() for future in ranks]
    # Where one has failed, all the others know is that it is gone: a RuntimeError of PyTorch's.
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, RuntimeError)):
        raise error
    spent = [future.result() for future in ranks]
    return spent[0] | {"processor": sum(each["processor"] for each in spent)}


def initialize_worker() -> None:
    """Take one thread and show no progress bar: several would write over each other.

    If the process that hands out the tasks is killed, this one ends too.
    """
    torch.set_num_threads(1)
    os.environ["COURSE_QUIET"] = "1"
    Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """Wait for the parent process's end, and end: nobody would hear of a task's result."""
    parent_process().join()
    os._exit(1)


def run_task(
    run: ExperimentRun,
    name: str,
    meeting_file: Path = Path(),
    n_ranks: int = 1,
    rank: int = 0,
    perform: TaskPerformer = perform_task,
) -> dict:
    """Do one task, or the part of process number `rank` if `n_ranks` share it and meet at a file.

    Return the seconds it took, and why it was stopped before its end, if it was.
    """
    start, cpu, stopped = time.perf_counter(), time.process_time(), None
    if name in R1_STAGES and not run.done(name) and rank == 0:
        about = (R1_STAGES[name].__doc__ or "").partition("\n")[0]
        print(f"seed {run.seed}, {name}: {about}", flush=True)
    try:
        with local_process_group(meeting_file, rank, n_ranks):
            perform(run, name, task_function(name))
    except KeyboardInterrupt as stop:
        stopped = str(stop)
    return {
        "wall": time.perf_counter() - start,
        "processor": time.process_time() - cpu,
        "stopped": stopped,
    }


def task_function(name: str):
    """Give the function of a run that does the task of this name."""
    if name in R1_STAGES:
        return R1_STAGES[name]
    others = {"base/tokenizer": r1.tokenizer_stage, "sft/chats": r1.best_chats_stage}
    return others.get(name) or (lambda run: r1.evaluate_part(run, name.removeprefix("evaluation/")))


def record_task_seconds(run: ExperimentRun, name: str, spent: dict) -> None:
    """Add a task's seconds to those of its stage.

    Raises KeyboardInterrupt if the task was stopped.
    """
    path = run.path(f"{name.split('/')[0]}/seconds")
    before = {"wall": 0.0, "processor": 0.0}
    if path.exists():
        before = read_json(path, "seconds", DATA_VERSION)
    path.parent.mkdir(parents=True, exist_ok=True)
    summed = {clock: before[clock] + spent[clock] for clock in before}
    write_json(path, "seconds", DATA_VERSION, summed)
    if spent["stopped"] is not None:
        raise KeyboardInterrupt(spent["stopped"])
