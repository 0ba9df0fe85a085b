"""A run that was stopped, by whatever means, ends in the same numbers as one that never was."""

import errno
import json
import multiprocessing
import os
import random
import signal
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib import files
from course_lib.training.checkpoint import CheckpointError
from course_lib.training.optimizers import build_optimizers
from course_lib.training.resume import Checkpoints, rng_states, set_rng_states
from course_lib.training.settings import TrainSettings
from tests.training.runs import STEPS, batches, bits, count, fresh, noisy, run, run_to_be_killed

KILLS = 40
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The killed processes have one thread; two would add up the same numbers in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def never_stopped():
    model, history = run()
    return bits(model), history


def ends_the_same(folder, never_stopped, **how):
    model, history = run(folder, **how)
    assert history.ended == "finished" and history.loss == never_stopped[1].loss
    assert history.rate == never_stopped[1].rate and history.gradient == never_stopped[1].gradient
    assert bits(model) == never_stopped[0]
    return history


def stop_at(step, folder, **how):
    """Run until Ctrl-C comes during a step; the history up to there."""

    def interrupt(now, model):
        count(now, model)
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)

    return run(folder, on_step=interrupt, **how)[1]


def test_killed_at_random_moments_many_times(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]]))
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.training.warm"])
    rng, reached, steps = random.Random(0), [0], 170
    for _ in range(KILLS):
        ours, theirs = processes.Pipe()
        victim = processes.Process(target=run_to_be_killed, args=(tmp_path, steps, theirs))
        victim.start()
        for _ in range(rng.randint(1, 4)):
            assert ours.poll(120)
            since, _ = time.perf_counter(), ours.recv()
        # somewhere within a step and its checkpoint
        time.sleep(rng.random() * (time.perf_counter() - since))
        victim.kill()
        victim.join()
        reached.append(max(Checkpoints(tmp_path).steps(), default=0))
    print(f"{KILLS} kills, after steps {reached[1:]}")
    assert reached == sorted(reached) and KILLS < reached[-1] < steps  # never thrown back
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # and no kill damaged a checkpoint
        model, history = run(steps=steps)
        ends_the_same(tmp_path, (bits(model), history), steps=steps)


@pytest.mark.parametrize("stop", [1, 7, 39])
def test_interrupted_and_resumed(tmp_path, never_stopped, stop, capsys):
    before = signal.getsignal(signal.SIGINT)
    history = stop_at(stop, tmp_path, every=1000)
    assert history.ended == "interrupted" and len(history.loss) == stop
    assert f"Stopped after {stop} of {STEPS} steps" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    ends_the_same(tmp_path, never_stopped, every=1000)


def test_an_interrupt_waits_for_the_step_to_be_whole(tmp_path, never_stopped):
    calls = []

    def interrupted(model, inputs, targets):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return noisy(model, inputs, targets)

    assert len(run(tmp_path, objective=interrupted)[1].loss) == 5
    ends_the_same(tmp_path, never_stopped)


def test_a_second_interrupt_does_not_wait(tmp_path, never_stopped):
    def impatient(model, inputs, targets):
        if model.steps_seen > 1:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return noisy(model, inputs, targets)

    history = run(tmp_path, every=2, objective=impatient)[1]
    assert history.ended == "interrupted" and Checkpoints(tmp_path).steps() == [2, 4]
    ends_the_same(tmp_path, never_stopped)


def test_batches_may_be_a_plain_row_of_all_of_them(tmp_path, never_stopped):
    stop_at(9, tmp_path)
    ends_the_same(tmp_path, never_stopped, data=(batch for batch in batches(0)))


def test_a_finished_run_is_not_run_again(tmp_path, never_stopped):
    run(tmp_path)
    model, history = run(tmp_path, objective=lambda *batch: pytest.fail("a step too many"))
    assert history.ended == "finished" and bits(model) == never_stopped[0]


def test_a_run_that_ended_by_the_clock_has_ended(tmp_path):
    history = run(tmp_path, seconds=1e-6)[1]
    assert (history.ended, len(history.loss)) == ("time", 1)
    assert run(tmp_path, seconds=1e-6)[1] == history


def damage(file, how):
    data = file.read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "changed":
        file.write_bytes(
            data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
        )
    else:
        file.write_bytes(data[: int(how * len(data))])


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
@pytest.mark.parametrize("how", [0, 0.5, 0.999, "changed", "gone"])
def test_a_damaged_checkpoint_costs_one_interval_and_is_told(tmp_path, never_stopped, suffix, how):
    stop_at(9, tmp_path, every=4)
    assert Checkpoints(tmp_path).steps() == [8, 9]
    (newest,) = (
        tmp_path.glob(f"step-*9*.{suffix}")
        if suffix == "json"
        else tmp_path.glob(f"step-0000009-*.{suffix}")
    )
    damage(newest, how)
    if (suffix, how) == ("json", "gone"):
        ends_the_same(tmp_path, never_stopped, every=4)  # as after a kill between the two files
        return
    with pytest.warns(RuntimeWarning, match=r"step-0000009.*Back to step 8: 1 steps are lost"):
        ends_the_same(tmp_path, never_stopped, every=4)
    assert Checkpoints(tmp_path).steps() == [36, 40]


def test_if_all_checkpoints_are_damaged_it_says_so_and_does_not_start_again(tmp_path):
    stop_at(9, tmp_path)
    for file in tmp_path.glob("*.safetensors"):
        damage(file, 0.5)
    with pytest.raises(CheckpointError, match="no checkpoint.*step-0000009.*step-0000008"):
        run(tmp_path)


def test_a_full_disk_is_told_and_the_run_goes_on(tmp_path, never_stopped, monkeypatch):
    flush, full = os.fsync, []

    def sometimes(handle):
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(handle)

    def fill(step, model):
        count(step, model)
        full[:] = [1] if 10 <= step < 20 else []
        if step == 18:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(files.os, "fsync", sometimes)
    with pytest.warns(RuntimeWarning) as told:
        run(tmp_path, on_step=fill)
    last = str(told[-1].message)
    assert "step-0000018.json: No space left" in last and "Safe so far: step 6, step 8" in last
    assert sorted(file.suffix for file in tmp_path.iterdir()) == [
        ".json",
        ".json",
        ".safetensors",
        ".safetensors",
    ]
    full.clear()
    ends_the_same(tmp_path, never_stopped)


def test_two_checkpoints_are_kept_and_the_leftovers_of_killed_processes_go(tmp_path):
    stop_at(39, tmp_path, every=3)
    for step in (38, 40):
        (tmp_path / f".step-{step:07}.json.abc").write_text("half")
    (tmp_path / "step-0000999-01234567.safetensors").write_text("of a future that did not happen")
    (tmp_path / "history.json").write_text("mine")
    run(tmp_path, every=3)
    assert Checkpoints(tmp_path).steps() == [39, 40]
    assert len(list(tmp_path.iterdir())) == 5 and (tmp_path / "history.json").exists()


@pytest.mark.parametrize(
    "name",
    [
        "step-0000009 (copy).json",
        "step-final.json",
        "step-0000001-mine.safetensors",
        "step-9.json",
        "step-0000009.json.bak",
        "step-0000001-0123456.safetensors",
        ".step-0000009",
        "step-0000003.json~",
    ],
)
def test_a_stray_file_stops_nothing_and_is_left_alone(tmp_path, never_stopped, name):
    stop_at(9, tmp_path)
    stray = tmp_path / name
    stray.write_bytes((tmp_path / "step-0000009.json").read_bytes())
    assert Checkpoints(tmp_path).steps() == [8, 9]
    ends_the_same(tmp_path, never_stopped)
    assert stray.exists() and Checkpoints(tmp_path).steps() == [38, 40]


@pytest.mark.parametrize("wrong", [2.5, 2.0, True, "2", float("nan"), 0])
@pytest.mark.parametrize("name", ["every", "keep"])
def test_impossible_intervals_are_refused_by_name(tmp_path, name, wrong):
    with pytest.raises((ValueError, TypeError), match=name):
        Checkpoints(tmp_path, **{name: wrong})


def test_a_damaged_checkpoint_does_not_crowd_out_a_whole_one(tmp_path):
    stop_at(9, tmp_path, every=3)
    (tmp_path / "step-0000011.json").write_text("damaged")
    with pytest.warns(RuntimeWarning, match="Back to step 9: 2 steps are lost"):
        stop_at(10, tmp_path, every=3)
    assert Checkpoints(tmp_path).steps() == [9, 10]


def test_other_settings_and_other_models_are_refused_with_their_numbers(tmp_path):
    stop_at(5, tmp_path)
    with pytest.raises(CheckpointError, match="muon_lr 0.02, now 0.5"):
        run(tmp_path, muon_lr=0.5)
    model = fresh()
    del model.steps_seen
    with pytest.raises(CheckpointError, match="(?s)of another model.*steps_seen"):
        Checkpoints(tmp_path).restore(model, [], TrainSettings(STEPS, weight_decay=0.1))


def test_how_a_batch_is_cut_may_change(tmp_path, never_stopped):
    stop_at(5, tmp_path, objective=lambda *batch: noisy(*batch))
    history = run(tmp_path, accumulate=2)[1]
    assert history.ended == "finished" and history.loss[:5] == never_stopped[1].loss[:5]


def test_nothing_in_a_checkpoint_is_pickled(tmp_path):
    run(tmp_path)
    for file in tmp_path.iterdir():
        if file.suffix == ".json":
            json.loads(file.read_text())
        else:
            assert file.suffix == ".safetensors" and file.read_bytes()[8:9] == b"{"


def test_optimizers_come_back_with_their_averages(tmp_path):
    model, _ = run(tmp_path)
    saved = Checkpoints(tmp_path).newest()[0]
    again = fresh()
    optimizers = build_optimizers(again)
    Checkpoints(tmp_path).restore(again, optimizers, TrainSettings(STEPS, weight_decay=0.1))
    for i, optimizer in enumerate(optimizers):
        for j, averages in optimizer.state_dict()["state"].items():
            for name, tensor in averages.items():
                assert torch.equal(tensor, saved.pop(f"optimizer.{i}.{j}.{name}"))
    assert not [name for name in saved if name.startswith("optimizer.")]
    assert bits(again) == bits(model)


@dataclass
class Diary:
    """Another kind of history than that of pre-training."""

    loss: list[float] = field(default_factory=list)
    moods: list[str] = field(default_factory=list)
    ended: str = ""

    @classmethod
    def from_data(cls, data):
        return cls(**data)


def test_a_history_of_another_kind_comes_back_as_that_kind(tmp_path):
    checkpoints, model, settings = Checkpoints(tmp_path), fresh(), TrainSettings(STEPS)
    empty = checkpoints.restore(model, [], settings, Diary)
    assert empty == Diary() and type(empty) is Diary
    for ended, want in (
        ("interrupted", ""),
        ("finished", "finished"),
    ):  # an interrupted run may go on
        checkpoints.save(model, [], Diary([0.5, 0.25], ["good", "better"], ended), settings)
        back = checkpoints.restore(model, [], settings, Diary)
        assert back == Diary([0.5, 0.25], ["good", "better"], want) and type(back) is Diary


def test_all_random_generators_are_set_back():
    states = json.loads(json.dumps(rng_states()))
    tensors = {"random.cpu": torch.get_rng_state()}
    set_rng_states(states, tensors)
    want = random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()
    for _ in range(700):
        random.random(), np.random.randn(), torch.rand(1)
    set_rng_states(states, tensors)
    assert (random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()) == want
