"""Two processes learn what one learns: gradients, runs, checkpoints from any number of them to any
other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from course_lib.training import distributed
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train
from tests.training import objectives_of_all_kinds, two_processes
from tests.training.runs import batches, model_of_everything

ROOT = Path(__file__).parents[2]
KINDS = ("copies", "sharded")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have left their results and checkpoints; one process had left its own
    there before."""
    folder = tmp_path_factory.mktemp("two")
    for kind in KINDS:
        two_processes.run(folder=folder / f"one to {kind}", stop=3)
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    done = subprocess.run(
        [*command, two_processes.__file__, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def results(folder):
    first, second = (json.loads((folder / f"process-{rank}.json").read_text()) for rank in range(2))
    assert first == second  # both know the same, to the last bit
    return first


def alike(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(
            torch.tensor(ours[name]), torch.tensor(theirs[name]), rtol=1e-4, atol=1e-5
        )


def same_run(ours, theirs):
    assert ours["ended"] == theirs["ended"] == "finished"
    numbers = [
        {name: run[name] for name in ("loss", "gradient", "validation")} for run in (ours, theirs)
    ]
    alike(*numbers)
    alike(ours["weights"], theirs["weights"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("uneven", [False, True])
def test_gradients_are_those_of_one_process_on_the_joint_batch(results, kind, uneven):
    """Uneven: the parts hold 1, 8, 3 and 8 targets that count."""
    model, objective = (
        model_of_everything(mtp=not uneven),
        two_processes.next_token_objective if uneven else two_processes.WHOLE,
    )
    inputs, targets = two_processes.uneven_batch() if uneven else next(batches(0))
    loss = objective(model, inputs, targets).mean
    loss.backward()
    want = {"loss": loss.item()} | {name: p.grad.tolist() for name, p in model.named_parameters()}
    alike(results[f"{kind} gradients {uneven}"], want)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*objectives_of_all_kinds.NAMES, "more parts than rows"])
def test_every_objective_is_a_mean_that_no_number_of_processes_changes(results, kind, name):
    got = results[f"{kind} {name}"]
    case = objectives_of_all_kinds.case("all of V3" if name == "more parts than rows" else name)
    model, objective, inputs, targets = case
    loss = objective(model, inputs, targets).mean
    loss.backward()
    slopes = {name: p.grad.tolist() for name, p in model.named_parameters() if p.grad is not None}
    alike(got, {"loss": loss.item()} | slopes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_without_targets_is_not_waited_for(results, kind):
    alike(results[f"{kind} without targets"], two_processes.one_without_targets(False))


@pytest.mark.parametrize("kind", KINDS)
def test_the_bias_counts_all_parts_in_all_processes(results, kind):
    alone = two_processes.biases(False)
    assert results[f"{kind} biases"] == alone and any(any(bias) for bias in alone.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_run_of_two_processes_ends_as_that_of_one(results, kind, optimizer):
    same_run(results[f"{kind} {optimizer}"], two_processes.run(optimizer=optimizer))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_one_process_goes_on_in_two(results, kind):
    same_run(results[f"one to {kind}"], results[f"{kind} muon"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_two_processes_goes_on_in_one(folder, results, kind, tmp_path):
    stopped = results[f"{kind} to one"]
    # both stopped where one was asked to
    assert stopped["ended"] == "interrupted" and len(stopped["loss"]) == 4
    shutil.copytree(folder / f"{kind} to one", tmp_path / "run")
    same_run(two_processes.run(folder=tmp_path / "run"), results[f"{kind} muon"])


def test_alone_nothing_is_spread():
    model = model_of_everything()
    spread = distributed.DistributedModel(model)
    assert (distributed.world_size(), distributed.process_rank()) == (1, 0)
    assert (
        spread.learn(two_processes.WHOLE) is two_processes.WHOLE
        and spread.look(lambda model: model) is model
    )
    assert distributed.all_reduce_sum(torch.tensor(3)) == 3 and list(
        distributed.rank_shard("abc")
    ) == ["a", "b", "c"]


def test_clocks_that_differ_are_refused(monkeypatch):
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    with pytest.raises(ValueError, match="seconds 5.0 with 2 processes"):
        train(model_of_everything(), batches, TrainSettings(3, seconds=5.0))
