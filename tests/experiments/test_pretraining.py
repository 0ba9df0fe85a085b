"""`python -m course_lib.experiments.pretraining`: every family, resuming, several processes, and
what it says of impossible wishes."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from course_lib.experiments import pretraining as command
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.training import checkpoint, trainer
from course_lib.training.settings import TrainHistory

ROOT = Path(__file__).parents[1]
SMALL = (
    "--vocab-size 300 --d-model 16 --n-layers 2 --n-heads 2 --max-seq-len 16 --batch-size 4 --steps"
    " 6 --every 2"
)
V3 = [*SMALL.split(), "--model", "v3", "--set", "mtp=true", "n_experts=3"]

SYLLABLES = "ka lo mi ru se ta no vi pe du".split()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A folder of one .txt and one .md file with a few thousand words in it, and a file that is no
    text."""
    folder, rng = tmp_path_factory.mktemp("texts"), random.Random(0)
    words = ["".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3))) for _ in range(200)]
    for name in ("a.txt", "deep/b.md", "c.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(" ".join(rng.choice(words) for _ in range(2000)) + name)
    return folder


def run(out, texts, *options):
    return command.main(["--out", str(out), "--text", str(texts), *(options or SMALL.split())])


def weights(out):
    (file,) = out.glob("model-*.safetensors")
    return file.read_bytes()


@pytest.fixture(scope="module")
def never_stopped(texts, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    assert run(out, texts, *V3) == 0
    return weights(out)


@pytest.mark.parametrize("family", command.MODEL_KINDS)
def test_every_family_trains_and_leaves_a_model_a_history_and_a_sample(
    tmp_path, texts, family, capsys
):
    assert (
        run(tmp_path / "run", texts, *SMALL.split(), "--model", family, "--prompt", "the cat") == 0
    )
    build, settings = command.MODEL_KINDS[family]
    model, notes = checkpoint.load_checkpoint(
        tmp_path / "run/model.json", lambda numbers: build(settings(**numbers))
    )
    history = TrainHistory.load(tmp_path / "run/history.json")
    assert (
        model.settings.d_model == 16
        and notes["run"]["text"] == str(texts)
        and notes["ended"] == "finished"
    )
    assert len(history.loss) == 6 and [step for step, _ in history.validation] == [0, 2, 4, 6]
    assert history.validation[-1][1] < history.validation[0][1]
    assert (tmp_path / "run/sample.txt").read_text().startswith("the cat")
    assert f"{history.validation[-1][1]:.3f} bits per byte" in capsys.readouterr().out


def test_ctrl_c_saves_and_resume_needs_nothing_but_the_folder(
    tmp_path, texts, never_stopped, monkeypatch, capsys
):
    step = trainer.training_step

    def interrupted(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(trainer, "training_step", interrupted)
    out = tmp_path / "run"
    assert run(out, texts, *V3) == 130
    assert (
        f"--out {out} --resume" in capsys.readouterr().out
        and len(TrainHistory.load(out / "history.json").loss) == 1
    )
    assert run(out, texts, *V3) == 1
    assert "holds a run already: add --resume" in capsys.readouterr().err
    assert command.main(["--out", str(out), "--resume", "--batch-size", "8"]) == 1
    assert "was started with --batch-size 4, now 8" in capsys.readouterr().err
    monkeypatch.undo()
    assert command.main(["--out", str(out), "--resume"]) == 0 and weights(out) == never_stopped


def test_two_processes_train_what_one_does(tmp_path, texts, never_stopped):
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    done = subprocess.run(
        [
            *launch,
            "-m",
            "course_lib.train",
            "--out",
            str(tmp_path / "run"),
            "--text",
            str(texts),
            *V3,
            "--sharded",
        ],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("finished after 6 steps") == 1 and "2 processes" in done.stdout
    (tmp_path / "whole.safetensors").write_bytes(never_stopped)
    one, two = (
        load_file(file)
        for file in (tmp_path / "whole.safetensors", *tmp_path.glob("run/model-*.safetensors"))
    )
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--d-model", "17"], "d_model 17 is not divisible by n_heads 2"),
        (["--steps", "0"], "steps 0"),
        (["--every", "0"], "every 0"),
        (["--muon-lr", "-1"], "muon_lr -1.0"),
        (["--vocab-size", "100"], "100"),
        (["--vocab-size", "90000"], "90000 is too big"),
        (["--max-seq-len", "100000"], "needs 100001 tokens"),
        (["--set", "n_experts=3"], "--set n_experts=3: gpt2 has"),
        (["--model", "v3", "--set", "n_chosen=9"], "n_chosen 9"),
        (["--model", "v3", "--set", "mtp=yes"], "'yes' is no number"),
        (["--accumulate", "0"], "accumulate 0"),
        (["--text", "nowhere"], "nowhere is neither plays, nor small-web, nor a folder"),
        (["--resume"], "there is no run"),
    ],
)
def test_impossible_wishes_are_refused_with_their_numbers(
    tmp_path, texts, options, message, capsys
):
    assert run(tmp_path / "run", texts, *SMALL.split(), *options) == 1
    assert message in capsys.readouterr().err


def test_help_tells_every_option(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = capsys.readouterr().out
    for name in (
        "--resume",
        "--sharded",
        "--muon-lr",
        "--precision",
        "--accumulate",
        "torchrun",
        "small-web",
    ):
        assert name in told


def test_held_out_text_is_not_learnt_from(texts):
    documents = [f"document {i} " * 40 for i in range(40)]
    rest, held_out = command.hold_out_documents(documents)
    assert len(held_out) == 2 and not set(rest) & set(held_out) and len(rest) == 38
    rest, held_out = command.hold_out_documents(documents[:3])
    assert [a + b for a, b in zip(rest, held_out, strict=True)] == documents[:3]
    assert sum(map(len, held_out)) == pytest.approx(sum(map(len, documents[:3])) / 20, rel=0.05)


def test_the_models_of_the_command_are_those_of_the_library():
    options = command.pretraining_parser().parse_args(["--out", "x", *V3])
    model = command.build_model(options, vocab_size=300)
    assert isinstance(model, DeepSeekV3) and model.settings == DeepSeekSettings(
        300, 16, d_model=16, n_layers=2, n_heads=2, n_experts=3, mtp=True, tied=True
    )
