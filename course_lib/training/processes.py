"""Start processes from a notebook or a program, give them work, hear of their ends, leave none.

The processes stand ready in a pool, since each takes seconds to import torch, and form one gloo
group (`torch.distributed`). What they print reaches whoever called `run`, each line with its rank.
When one fails, is killed or hangs, all are ended, and a `ProcessFailed` says which one and why.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

from course_lib.training.rank_worker import END_OF_OUTPUT

START_SECONDS = 300.0  # until all have imported torch and met
GRACE_SECONDS = 0.5  # after a first failure, for the news of others
STACK_SECONDS = 2.0  # for those that hang to say where they stand


class ProcessFailed(RuntimeError):
    """One of several processes failed, was killed or did not come back; none is left running."""


def run_processes(function: Callable, n_processes: int, *arguments: Any, seconds: float = 300.0):
    """Run `function(*arguments)` in so many new processes at once; return the results by rank.

    Each process can ask `torch.distributed` for its rank and talk to the others. Raises as
    `RankPool.run`.

    >>> from course_lib.training.distributed import process_rank
    >>> run_processes(process_rank, 2)
    [0, 1]
    """
    with RankPool(n_processes) as pool:
        return pool.run(function, *arguments, seconds=seconds)


class RankPool:
    """Processes that wait for work together, ranks 0 to `n_processes` - 1 of one gloo group.

    Use it as a context, or call `close`. After a failure the pool has ended. The processes also
    end by themselves when the one that made them is gone, even by SIGKILL.
    """

    def __init__(self, n_processes: int) -> None:
        if isinstance(n_processes, bool) or not isinstance(n_processes, int) or n_processes < 1:
            raise ValueError(f"{n_processes!r} processes: a whole number from 1 is needed")
        self.n_processes, self.events = n_processes, queue.SimpleQueue()
        self.folder = tempfile.TemporaryDirectory(prefix="ranks-")
        self.processes: list[subprocess.Popen] = []
        try:
            self.processes += [start_worker() for _ in range(n_processes)]
            for rank, process in enumerate(self.processes):
                for listen in (self._hear_reports, self._hear_lines):
                    threading.Thread(target=listen, args=(rank, process), daemon=True).start()
                self._tell(rank, (rank, n_processes, os.path.join(self.folder.name, "meet")))
            self._collect(START_SECONDS)
        except BaseException:
            self.close()
            raise

    @property
    def process_ids(self) -> list[int]:
        """The operating system's numbers of the processes, by rank."""
        return [process.pid for process in self.processes]

    def run(self, function: Callable, *arguments: Any, seconds: float = 300.0) -> list[Any]:
        """Run `function(*arguments)` in every process at once; return the results by rank.

        What is printed there is printed here. Raises ProcessFailed where a process raises, ends or
        has no result after `seconds` (imports not counted); ValueError for a function that the
        processes can't import.
        An interrupt (the stop button, Ctrl-C) ends the pool too.
        """
        if not self.processes:
            raise ProcessFailed("this pool has ended: make a new RankPool")
        check_importable(function)
        work = pickle.dumps((function, arguments))
        try:
            self._ask(("load", work), START_SECONDS)
            return self._ask(("go", None), seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes at once and wait until they are gone."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes = []
        self.folder.cleanup()

    def __enter__(self) -> "RankPool":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, message: Any, seconds: float) -> list[Any]:
        """Send all ranks one message; collect their answers."""
        for rank in range(self.n_processes):
            self._tell(rank, message)
        return self._collect(seconds)

    def _tell(self, rank: int, message: Any) -> None:
        """Send one message; a process that has gone away is noticed by its reports' end."""
        try:
            pickle.dump(message, self.processes[rank].stdin)
            self.processes[rank].stdin.flush()
        except OSError:
            pass

    def _hear_reports(self, rank: int, process: subprocess.Popen) -> None:
        try:
            while True:
                kind, value = pickle.load(process.stdout)
                self.events.put((kind, rank, value))
        except (EOFError, OSError, pickle.UnpicklingError):
            self.events.put(("gone", rank, None))

    def _hear_lines(self, rank: int, process: subprocess.Popen) -> None:
        for line in process.stderr:
            text, ended, _ = line.decode(errors="replace").rstrip("\r\n").partition(END_OF_OUTPUT)
            if text or not ended:
                self.events.put(("line", rank, text))
            if ended:
                self.events.put(("printed", rank, None))

    def _collect(self, seconds: float) -> list[Any]:
        """Print lines as they come, until all have a result and have printed what they had to."""
        results, printed, deadline = {}, set(), time.monotonic() + seconds
        while len(results) < self.n_processes or len(printed) < self.n_processes:
            event = self._next_event(deadline - time.monotonic())
            if event is None:
                raise ProcessFailed(self._told_hanging(seconds, set(results)))
            kind, rank, value = event
            if kind == "result":
                results[rank] = pickle.loads(value)
            elif kind == "printed":
                printed.add(rank)
            elif kind in ("error", "gone"):
                raise ProcessFailed(self._told_failure(event)) from None
        return [results[rank] for rank in range(self.n_processes)]

    def _next_event(self, seconds: float) -> tuple[str, int, Any] | None:
        """The next event, None if there is none in time; lines are printed as they pass."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                kind, rank, value = self.events.get(timeout=max(deadline - time.monotonic(), 0.001))
            except queue.Empty:
                return None
            if kind != "line":
                return kind, rank, value
            print(f"[rank {rank}] {value}", flush=True)

    def _told_failure(self, first: tuple[str, int, Any]) -> str:
        """Name the cause: a process that ended without a word, else the first that raised.

        When one is killed, the others lose their connection to it, and may say so sooner.
        """
        events, deadline = [first], time.monotonic() + GRACE_SECONDS
        while (event := self._next_event(deadline - time.monotonic())) is not None:
            events.append(event)
        dead = [rank for kind, rank, _ in events if kind == "gone"]
        if dead:
            return self._told_death(dead[0])
        _, rank, (summary, trace) = next(event for event in events if event[0] == "error")
        return f"{self._named(rank)} failed: {summary}. All processes were ended.\n{trace}"

    def _told_death(self, rank: int) -> str:
        code = self.processes[rank].wait()
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        return f"{self._named(rank)} {how} before it had a result. All processes were ended."

    def _told_hanging(self, seconds: float, done: set[int]) -> str:
        """Say who has no result, and at which line each of them stands."""
        late = [rank for rank in range(self.n_processes) if rank not in done]
        for rank in late:
            self._tell(rank, ("where", None))
        places, deadline = dict.fromkeys(late, "gives no sign"), time.monotonic() + STACK_SECONDS
        while "gives no sign" in places.values():
            event = self._next_event(deadline - time.monotonic())
            if event is None:
                break
            if event[0] == "where" and event[1] in places:
                places[event[1]] = event[2]
        told = "\n".join(f"  rank {rank}: {place}" for rank, place in places.items())
        return (
            f"after {seconds:g} seconds {len(late)} of {self.n_processes} processes have no"
            f" result. All processes were ended. They stood at:\n{told}"
        )

    def _named(self, rank: int) -> str:
        return f"rank {rank} of {self.n_processes} processes"


def start_worker() -> subprocess.Popen:
    """Start one process of `rank_worker` that imports what this one can import.

    It has a session of its own: an interrupt reaches the caller alone, who then ends all.
    """
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "course_lib.training.rank_worker"]
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, start_new_session=True
    )


def check_importable(function: Callable) -> None:
    """Raise a ValueError for a function that other processes can't import by its name."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module in (None, "__main__") or "<" in name:
        raise ValueError(
            f"processes import what they run, and can't import {name or function!r} of"
            f" {module}: put the function at the top level of a module"
        )
