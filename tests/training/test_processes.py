"""A pool of processes: results, lines and errors arrive, and whatever happens none is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from course_lib.training import processes
from course_lib.training.processes import ProcessFailed, RankPool
from tests.training import rank_tasks

ROOT = Path(__file__).parents[2]


def all_gone(ids, seconds=20.0):
    """Wait until no process of these numbers runs; a moment may pass after a parent's death."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(psutil.pid_exists(number) for number in ids):
            return True
        time.sleep(0.05)
    return False


def fails(function, *arguments, seconds=60.0):
    """Run a task that must fail in a pool of two; the message, when both processes are gone."""
    with RankPool(2) as pool:
        ids = pool.process_ids
        with pytest.raises(ProcessFailed) as caught:
            pool.run(function, *arguments, seconds=seconds)
        assert all_gone(ids)
        with pytest.raises(ProcessFailed, match="has ended"):
            pool.run(function, *arguments)
    return str(caught.value)


def test_results_and_lines_arrive_and_the_pool_is_used_again(capfd):
    with RankPool(2) as pool:
        ids = pool.process_ids
        for word in ("hello", "again"):
            results = pool.run(rank_tasks.talk, word)
            assert [(rank, total.item()) for rank, total in results] == [(0, 3.0), (1, 3.0)]
            printed, besides = capfd.readouterr()
            for rank in range(2):
                mine = [line for line in printed.splitlines() if f"[rank {rank}]" in line]
                said = [f"{word} from {rank}", "by the system", "to standard error", "no line end"]
                assert mine == [f"[rank {rank}] {line}" for line in said]
            assert besides == ""
        assert all(psutil.pid_exists(number) for number in ids)
    assert all_gone(ids, 0.1)


def test_a_rank_that_raises_ends_all_and_says_where():
    told = fails(rank_tasks.fail, 1)
    assert told.startswith("rank 1 of 2 processes failed: ValueError: rank 1 has had enough.")
    assert "in fail" in told and "rank_worker" not in told


def test_a_rank_that_is_killed_is_named_though_the_other_complains_first():
    assert "rank 1 of 2 processes was killed by SIGKILL" in fails(rank_tasks.be_killed, 1)


def test_a_rank_that_leaves_is_named_with_its_exit_code():
    assert "rank 0 of 2 processes ended with exit code 3" in fails(rank_tasks.leave, 0)


def test_who_hangs_is_told_with_the_line_it_stands_at():
    told = fails(rank_tasks.hang, 1, seconds=1.5)
    assert told.startswith("after 1.5 seconds 2 of 2 processes have no result.")
    rank_0, rank_1 = (line for line in told.splitlines() if line.startswith("  rank"))
    assert "rank_tasks.py" in rank_0 and "dist.barrier()" in rank_0
    assert "rank_tasks.py" in rank_1 and "time.sleep(600)" in rank_1


def test_only_those_without_a_result_are_told():
    told = fails(rank_tasks.hang_alone, 0, seconds=1.5)
    assert "1 of 2 processes have no result" in told and "rank 1:" not in told


def test_a_result_that_cannot_be_sent_is_an_error_like_another():
    assert "lambda" in fails(rank_tasks.cannot_be_sent)


def test_an_interrupt_ends_all():
    with RankPool(2) as pool:
        ids = pool.process_ids
        with pytest.raises(KeyboardInterrupt):
            pool.run(rank_tasks.interrupt_parent)
        assert all_gone(ids)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_none_outlives_the_program_that_made_it(end):
    program = (
        "from course_lib.training.processes import RankPool\n"
        "from tests.training import rank_tasks\n"
        "pool = RankPool(2)\n"
        "print(*pool.process_ids, flush=True)\n"
        "pool.run(rank_tasks.hang, 0, seconds=600)\n"
    )
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    ids = [int(number) for number in parent.stdout.readline().split()]
    assert len(ids) == 2
    parent.send_signal(end)
    parent.wait()
    parent.stdout.close()
    assert all_gone(ids)


def test_a_start_that_fails_leaves_none(monkeypatch):
    started = []

    def start_broken():
        process = subprocess.Popen(
            [sys.executable, "-c", "raise SystemExit(7)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process.pid)
        return process

    monkeypatch.setattr(processes, "start_worker", start_broken)
    with pytest.raises(ProcessFailed, match="exit code 7"):
        RankPool(2)
    assert len(started) == 2 and all_gone(started)


@pytest.mark.parametrize("number", [0, -1, True])
def test_an_impossible_number_of_processes_is_refused(number):
    with pytest.raises(ValueError, match=f"{number!r} processes"):
        RankPool(number)


def test_functions_that_processes_cannot_import_are_refused():
    def local():
        return 0

    local.__module__ = "__main__"
    with pytest.raises(ValueError, match="__main__: put the function"):
        processes.check_importable(local)
    with pytest.raises(ValueError, match="top level of a module"):
        processes.check_importable(lambda: 0)
