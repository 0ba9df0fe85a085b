"""The folder for other engines: what is in it, its rewards beside ours, and what is refused."""

import importlib.util
import json
import re
import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib import export_rl as command
from course_lib.alignment.grpo import DAPO_PRESET, GRPO_PRESET, GRPOSettings
from course_lib.alignment.rewards import accuracy_reward, format_reward
from course_lib.alignment.rl_task import EVALUATION_SEED
from course_lib.assets import DATA_FOLDER
from course_lib.experiments import rl_export
from course_lib.experiments.engine_settings import engine_settings
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.models.hf_files import load_hf
from course_lib.tasks.arithmetic import ZERO_REWARDS, draw_arithmetic_question, held_out_arithmetic
from course_lib.text.problems import is_held_out

FILES = [
    "README.md",
    "accelerate.yaml",
    "export.json",
    "held_out.jsonl",
    "model",
    "rewards.py",
    "run_verl.sh",
    "train.jsonl",
    "train_trl.py",
]


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    return rl_export.export_rl(tmp_path_factory.mktemp("at") / "export", "student", 50, 20)


@pytest.fixture(scope="module")
def rewards(export):
    spec = importlib.util.spec_from_file_location("exported_rewards", export / "rewards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_folder_holds_everything_and_the_same_model(export):
    assert sorted(path.name for path in export.iterdir() if path.name != "__pycache__") == FILES
    ours, again = SHIPPED_R1.load("student"), load_hf(export / "model")
    assert all((a == b).all() for a, b in zip(ours.parameters(), again.parameters(), strict=True))
    texts = [path.read_text() for path in export.iterdir() if path.is_file()]
    assert not any(re.search("@[a-z_]+@", text) for text in texts)  # words of the templates


def test_prompts_are_what_both_engines_ask_for(export):
    train, held_out = rows(export / "train.jsonl"), rows(export / "held_out.jsonl")
    assert (len(train), len(held_out)) == (50, 20)
    rng = Random(0)
    for i, row in enumerate(train):
        question = draw_arithmetic_question(rng)
        assert row["prompt"] == [{"role": "user", "content": question.text}]
        assert row["truth"] == row["reward_model"]["ground_truth"] == question.truth.answer
        assert row["extra_info"] == {"split": "train", "index": i}
        assert not is_held_out(question.truth)
    asked = [question.text for question in held_out_arithmetic(20, EVALUATION_SEED)]
    assert [row["prompt"][0]["content"] for row in held_out] == asked
    assert {row["extra_info"]["split"] for row in held_out} == {"held_out"}


# The rewards
# --------------------------------------------------------------------------------------------------

PIECES = [
    "<think>", "</think>", "<answer>", "</answer>", "7", "9", "12", "7+5=12", "-", "−", " ", "\n",
    ",", ".", "=", "x", "я", "是", "7%", "½", "e\u0301", "\x1c", "\u00a0", "1,000", "3/4",
    "\\boxed{9}", "->", "f(9)", "minus ", "$", "**", "(", ")", "_",
    "\U0001d7d7", "ⅸ", "ª", "\u2009", "\\", "^",
]  # fmt: skip


def assert_equal_ratings(rewards, texts, question):
    told = [question.truth.answer] * len(texts)
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    right = [accuracy_reward(question.truth, text) for text in texts]
    formed = [format_reward(question.truth, text) for text in texts]
    assert rewards.accuracy_reward(messages, told, prompts=None, trainer_state=None) == right
    assert rewards.format_reward(messages, truth=told) == formed
    assert rewards.format_reward(texts) == formed  # where prompts are texts, answers are too
    total = [
        ZERO_REWARDS["accuracy"] * a + ZERO_REWARDS["format"] * f
        for a, f in zip(right, formed, strict=True)
    ]
    assert [rewards.compute_score("sums", text, told[0]) for text in texts] == total
    return right, formed


def test_rewards_are_ours_on_all_stored_answers(rewards):
    stored = json.loads((DATA_FOLDER / "r1/card.json").read_text())
    found = []

    def walk(node):  # samples are rows of (step, question, answer, reward)
        if isinstance(node, dict):
            list(map(walk, node.values()))
        elif isinstance(node, list) and len(node) == 4 and isinstance(node[2], str):
            found.append(node[2])
        elif isinstance(node, list):
            list(map(walk, node))

    walk(stored)
    question = draw_arithmetic_question(Random(0))
    asked = question.truth.answer
    # each answer as it stands, and with the number that would be right in place of its own
    texts = found + [text.replace("<answer>", f"<answer>{asked}</answer>") for text in found]
    right, formed = assert_equal_ratings(rewards, texts, question)
    assert len(texts) > 700 and min(map(sum, (right, formed))) > 50


def test_rewards_are_ours_on_thousands_of_broken_answers(rewards):
    rng, question = Random(1), draw_arithmetic_question(Random(4))
    pieces = [*PIECES, question.truth.answer]
    texts = ["".join(rng.choices(pieces, k=rng.randint(0, 9))) for _ in range(6000)]
    texts += ["".join(pair) for pair in product(pieces, repeat=2)]
    blanks = " ", "\n", "\x1c", "\x85", "\u00a0", "\u2009", "\u3000"  # re's are not regex's
    texts += [f"9{blank}%" for blank in blanks] + [f"2 +{blank}{pieces[-1]}" for blank in blanks]
    texts += [f"{pieces[-1]}{blank}/2" for blank in blanks]
    right, _ = assert_equal_ratings(rewards, texts, question)
    assert 100 < sum(right) < len(texts) / 2


@given(st.lists(st.sampled_from(PIECES) | st.characters(codec="utf-8"), max_size=8).map("".join))
def test_rewards_are_ours_on_any_text(rewards, text):
    assert_equal_ratings(rewards, [text], draw_arithmetic_question(Random(2)))


def test_rewards_need_nothing_but_python(export):
    """Without any package, and from another folder."""
    code = "import rewards; print(rewards.accuracy_reward(['it is 9', '<answer>8'], ['9', '8']))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(export)!r}); {code}"],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert done.stdout == "[1.0, 0.0]\n", done.stderr


# The scripts
# --------------------------------------------------------------------------------------------------


def test_scripts_can_be_read_and_keep_to_100_columns(export):
    compile((export / "train_trl.py").read_text(), "train_trl.py", "exec")
    subprocess.run(["bash", "-n", str(export / "run_verl.sh")], check=True)
    for name in ("train_trl.py", "rewards.py"):
        assert max(map(len, (export / name).read_text().splitlines())) <= 100


PLAIN = {"n_redraws": 0, "overlong_share": 0.0}  # what TRL has no word for


def test_every_setting_of_ours_has_a_word():
    settings = GRPOSettings(70, lr=3e-4, beta=0.0)
    told = " ".join(row.ours for row in engine_settings(settings))
    assert all(f"{name}={value!r}" in told for name, value in settings.as_data().items())


@pytest.mark.parametrize(("settings", "loss", "scale", "clip"), [
    (GRPOSettings(7), "dr_grpo", "none", 20 / 72),
    (GRPOSettings(7, **GRPO_PRESET), "grpo", "group", 1.0),
    (GRPOSettings(7, clip_gradient=2.0, **DAPO_PRESET | PLAIN), "bnpo", "group", 2.0),
    (GRPOSettings(7, average=10.0, max_new_tokens=40), "dr_grpo", "none", 0.25),
])  # fmt: skip
def test_the_words_of_trl_say_the_same(settings, loss, scale, clip):
    words = {
        name: eval(v, {"steps": 7}) for r in engine_settings(settings) for name, v in r.trl.items()
    }
    assert (words["loss_type"], words["scale_rewards"]) == (loss, scale)
    assert words["max_grad_norm"] == pytest.approx(clip)
    answers = settings.n_questions * settings.group_size
    assert words["per_device_train_batch_size"] * words["steps_per_generation"] == answers
    assert words["max_steps"] == 7 * settings.n_minibatches * settings.n_epochs
    assert (
        words["warmup_steps"] + words["lr_scheduler_kwargs"]["num_decay_steps"]
        <= words["max_steps"]
    )


@pytest.mark.parametrize(("settings", "message"), [
    ({"n_minibatches": 3}, "n_minibatches 3 does not divide n_questions 16"),
    ({"n_redraws": 2}, "n_redraws 2 has no word in TRL: it can say 0 alone"),
    ({"overlong_share": 0.2}, "overlong_share 0.2 has no word"),
    ({"kl_estimator": "k1"}, "kl_estimator 'k1' has no word in TRL: it can say 'k3' alone"),
    ({"kl_in": "reward"}, "kl_in 'reward' has no word"),
])  # fmt: skip
def test_what_trl_can_not_do_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        engine_settings(GRPOSettings(7, **settings))
    if "kl" in message:
        engine_settings(GRPOSettings(7, beta=0.0, **settings))  # nothing is weighed


# The command
# --------------------------------------------------------------------------------------------------


def test_the_command_writes_and_writes_again(tmp_path, capsys):
    folder = str(tmp_path / "deep/export")
    arguments = [folder, "--model", "student", "--n-prompts", "5", "--n-held-out", "3"]
    assert command.main(arguments) == 0 and "README.md says how" in capsys.readouterr().out
    (tmp_path / "deep/export/__pycache__").mkdir()
    (tmp_path / "deep/export/__pycache__/rewards.cpython-311.pyc").write_bytes(b"")
    assert command.main([*arguments, "--seed", "1"]) == 0
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["export"]
    assert len(rows(tmp_path / "deep/export/train.jsonl")) == 5


def test_a_stage_of_a_run_can_be_named(export, tmp_path):
    stage = str(DATA_FOLDER / "r1/seed-0/student")
    again = rl_export.export_rl(tmp_path / "again", stage, 50, 20)
    weights = "model/model.safetensors"
    assert (again / weights).read_bytes() == (export / weights).read_bytes()


def test_nothing_that_is_not_ours_is_overwritten(tmp_path, capsys):
    def refused(message, *arguments):
        assert command.main([str(tmp_path / "at"), "--model", "student", *arguments]) == 1
        assert message in capsys.readouterr().err

    (tmp_path / "at").mkdir()
    rl_export.export_rl(tmp_path / "at", "student", 2, 2)  # an empty folder may be taken
    (tmp_path / "at/runs").mkdir()
    (tmp_path / "at/runs/history.json").write_text("[]")
    refused("holds runs/history.json, added or changed since")
    (tmp_path / "at/runs/history.json").unlink()
    (tmp_path / "at/train_trl.py").write_text("mine")
    refused("holds train_trl.py, added or changed since")
    (tmp_path / "at/export.json").unlink()
    refused("is not empty, and no export")
    assert (tmp_path / "at/train_trl.py").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["at"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--model", "bse"], "no model 'bse': give base, zero, r1, student, search, or the folder"),
    (["--model", "/"], "no model '/'"),
    (["--n-prompts", "0"], "n_prompts 0"),
])  # fmt: skip
def test_bad_arguments_are_named_and_leave_nothing(arguments, message, tmp_path, capsys):
    assert command.main([str(tmp_path / "at"), *arguments]) == 1
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_failure_on_the_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(rl_export, "write_prompts", full)
    with pytest.raises(OSError, match="No space"):
        rl_export.export_rl(tmp_path / "at", "student")
    assert not list(Path(tmp_path).iterdir())
