"""What one process of `RankPool` does: wait for work, do it, report. Started by `processes`.

Tasks come in by standard input and reports leave by what was standard output, both as pickles; all
that the work prints goes to standard error, where the pool reads it line by line.
"""

import os
import pickle
import queue
import sys
import threading
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

END_OF_OUTPUT = "\0end of output\0"  # printed after each task
_group = ExitStack()  # holds this process's membership


def main() -> None:
    """Meet the other processes, then do one task after the other until the pool is gone."""
    tasks, reports = private_pipes()
    reporter = Reporter(reports)
    rank, n_processes, meeting_file = pickle.load(tasks)
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    listener = (tasks, inbox, reporter, threading.main_thread().ident)
    threading.Thread(target=listen_to_pool, args=listener, daemon=True).start()
    reporter.guarded(join_group, Path(meeting_file), rank, n_processes)
    while True:
        work: list = []  # a function and its arguments; unpickling imports, which may take long
        reporter.guarded(lambda: work.extend(pickle.loads(inbox.get())))  # noqa: B023
        inbox.get()
        reporter.guarded(work[0], *work[1])


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Keep the two pipes of the pool for ourselves; what is printed goes to standard error."""
    tasks, reports = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)
    return tasks, reports


def join_group(meeting_file: Path, rank: int, n_processes: int) -> None:
    """Import torch, on one thread, and enter the group for as long as this process lives."""
    import torch

    from course_lib.training.distributed import local_process_group

    torch.set_num_threads(1)
    _group.enter_context(local_process_group(meeting_file, rank, n_processes))


class Reporter:
    """Sends results, errors and places to the pool, from any thread."""

    def __init__(self, reports: BinaryIO) -> None:
        self.reports, self.lock = reports, threading.Lock()

    def send(self, kind: str, value: Any) -> None:
        """Send one report."""
        with self.lock:
            pickle.dump((kind, value), self.reports)
            self.reports.flush()

    def guarded(self, function, *arguments: Any) -> None:
        """Call a function and report its result, or its error with the lines where it happened."""
        try:
            report = ("result", pickle.dumps(function(*arguments)))
        except BaseException as error:
            report = ("error", (f"{type(error).__name__}: {error}", told_trace(error)))
        sys.stdout.flush()
        print(END_OF_OUTPUT, file=sys.stderr, flush=True)
        self.send(*report)


def told_trace(error: BaseException) -> str:
    """Tell where an error happened, without this module's own lines."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = traceback.format_list([frame for frame in frames if frame.filename != __file__])
    return "".join(lines).rstrip()


def listen_to_pool(tasks: BinaryIO, inbox: queue.SimpleQueue, reporter: Reporter, main: int):
    """Pass tasks on; answer where the work stands; end this process when the pool is gone."""
    try:
        while True:
            kind, value = pickle.load(tasks)
            if kind == "where":
                reporter.send("where", told_place(main))
            else:
                inbox.put(value)
    except (EOFError, OSError):
        os._exit(1)


def told_place(thread: int) -> str:
    """Name the innermost line of work that the thread stands at, outside installed packages."""
    frames = traceback.extract_stack(sys._current_frames()[thread])
    library = (__file__, os.path.dirname(os.__file__), "<frozen")
    work = [f for f in frames if not f.filename.startswith(library)]
    last = ([f for f in work if "site-packages" not in f.filename] or frames)[-1]
    return f"{os.path.basename(last.filename)}, line {last.lineno}, in {last.name}: {last.line}"


if __name__ == "__main__":
    main()
