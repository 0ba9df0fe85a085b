"""Start a function in several processes of this machine, which meet, and collect what they give."""

import multiprocessing
import tempfile
import traceback
from pathlib import Path

import torch

from course_lib.training import distributed


def in_processes(function, n, *arguments, tensor=1, expert=1):
    """Call `function(*arguments)` in `n` processes that stand `tensor` by `tensor`; all results.

    A process that fails is a RuntimeError here with its traceback, and takes the others with it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.training.groups_warm"])
    with tempfile.TemporaryDirectory() as folder:
        pipes = [context.Pipe(duplex=False) for _ in range(n)]
        processes = [
            context.Process(
                target=meet_and_call,
                args=(
                    pipes[rank][1],
                    f"{folder}/meet",
                    rank,
                    n,
                    (tensor, expert),
                    function,
                    arguments,
                ),
            )
            for rank in range(n)
        ]
        for process, (_, theirs) in zip(processes, pipes, strict=True):
            process.start()
            theirs.close()
        try:
            answers = [answer_of(ours) for ours, _ in pipes]
        finally:
            for process in processes:
                process.join(20)
                process.kill()
                process.join()
    errors = [value for kind, value in answers if kind == "error"]
    if errors:
        raise RuntimeError("\n".join(errors))
    return [value for _, value in answers]


def answer_of(pipe):
    if not pipe.poll(600):
        return "error", "no answer for ten minutes"
    try:
        return pipe.recv()
    except EOFError:
        return "error", "ended without a word"


def meet_and_call(pipe, meeting_file, rank, n, cuts, function, arguments):
    torch.set_num_threads(1)
    try:
        with distributed.local_process_group(Path(meeting_file), rank, n, *cuts):
            pipe.send(("result", function(*arguments)))
    except BaseException:
        pipe.send(("error", traceback.format_exc()))
        raise
