"""The training command on several processes: tensor parallelism, failures, going on on fewer."""

import os
import random
import re
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from course_lib.experiments import pretraining as command

ROOT = Path(__file__).parents[2]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
V1 = (
    "--model v1 --vocab-size 300 --d-model 16 --n-layers 2 --n-heads 2 --max-seq-len 16"
    " --batch-size 4 --steps 6 --every 2"
).split()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    syllables = "ka lo mi ru se ta no vi pe du".split()
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(200)]
    (folder / "a.txt").write_text(" ".join(rng.choices(words, k=4000)))
    return folder


def run(out, texts, *options):
    return command.main(["--out", str(out), "--text", str(texts), *V1, *options])


def launch(*arguments, **environment):
    return subprocess.run(
        [*LAUNCH, *map(str, arguments)],
        env=os.environ
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ['PYTHONPATH']}"}
        | environment,
        capture_output=True,
        text=True,
        timeout=900,
    )


def weights(out):
    (file,) = out.glob("model-*.safetensors")
    return load_file(file)


@pytest.fixture(scope="module")
def alone(texts, tmp_path_factory):
    """What one process learns."""
    out = tmp_path_factory.mktemp("alone") / "run"
    assert run(out, texts) == 0
    return weights(out)


def learnt_the_same(out, alone):
    for name, tensor in weights(out).items():
        torch.testing.assert_close(tensor, alone[name], rtol=1e-3, atol=1e-4)


def test_two_processes_that_cut_the_model_train_what_one_does(tmp_path, texts, alone):
    out = tmp_path / "run"
    options = ["--out", out, "--text", texts, *V1, "--tensor-parallel", 2, "--data-parallel", 1]
    done = launch("-m", "course_lib.train", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes: 1 data-parallel x 2 tensor-parallel, the model sharded" in done.stdout
    assert done.stdout.count("finished after 6 steps") == 1
    learnt_the_same(out, alone)


def test_two_processes_that_share_experts_train_what_one_does(tmp_path, texts):
    more = ["--model", "v3", "--set", "n_experts=4", "d_expert=8"]
    assert run(tmp_path / "alone", texts, *more) == 0
    options = ["--out", tmp_path / "run", "--text", texts, *V1, *more, "--expert-parallel", 2]
    done = launch("-m", "course_lib.train", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    told = "2 data-parallel x 1 tensor-parallel, the model sharded, its experts over 2 replicas"
    assert told in done.stdout
    learnt_the_same(tmp_path / "run", weights(tmp_path / "alone"))
    alone = ["--resume", "--expert-parallel", "1"]
    assert command.main(["--out", str(tmp_path / "run"), *alone]) == 0


@pytest.mark.parametrize(
    ("how", "message"),
    [("killed", "exitcode.*-9"), ("raises", r"\(process 1 of 2\): process 1 met a bad batch")],
)
def test_a_failed_process_ends_the_run_and_one_process_goes_on(
    tmp_path, texts, alone, how, message
):
    out, mark = tmp_path / "run", uuid.uuid4().hex
    options = ["--out", out, "--text", texts, *V1, "--sharded"]
    done = launch(ROOT / "tests/experiments/failing_rank.py", how, *options, COURSE_MARK=mark)
    assert done.returncode != 0 and re.search(message, done.stderr), done.stderr[-3000:]
    assert processes_with(mark) == []
    assert not (out / "model.json").exists()
    assert command.main(["--out", str(out), "--resume"]) == 0
    learnt_the_same(out, alone)


def processes_with(mark):
    """The processes of this machine that have a mark in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    ("started", "options", "message"),
    [
        (2, ["--tensor-parallel", "4"], "tensor-parallel 4 does not divide 2 processes"),
        (
            4,
            ["--tensor-parallel", "4", "--data-parallel", "2"],
            "data-parallel 2 x tensor-parallel 4 = 8 processes, but 4 were started",
        ),
        (None, ["--data-parallel", "2"], "data-parallel 2 x tensor-parallel 1 = 2 processes"),
        (2, ["--expert-parallel", "4"], "expert-parallel 4 does not divide 2 data-parallel rep"),
    ],
)
def test_impossible_rectangles_are_refused_before_anything_is_written(
    tmp_path, texts, started, options, message, monkeypatch, capsys
):
    if started:
        monkeypatch.setenv("RANK", "1")
        monkeypatch.setenv("WORLD_SIZE", str(started))
    assert run(tmp_path / "run", texts, *options) == 1
    told = capsys.readouterr().err
    assert message in told and not (tmp_path / "run").exists()
    assert (f"(process 1 of {started})" in told) == bool(started)


def test_the_commands_of_the_books_page_are_commands():
    page = (ROOT / "book/clusters.md").read_text().replace("\\\n", " ")
    found = [line for line in page.splitlines() if "-m course_lib.train " in line]
    options = [line.split("-m course_lib.train ")[1].split("`")[0] for line in found]
    assert len(options) == 4
    for line in options:
        command.pretraining_parser().parse_args(
            shlex.split(line.replace("$RUN", "--sharded").replace('"$OUT"', "runs"))
        )
    (own,) = re.findall(r'RUN="(--text [^"]*)"', page)
    command.pretraining_parser().parse_args(["--out", "x", *own.split()])
