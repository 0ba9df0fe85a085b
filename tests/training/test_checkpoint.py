"""Checkpoints: round trip, damage of every kind, a full disk, a crash in between."""

import errno
import json

import pytest
import torch

from course_lib import files
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.training import checkpoint
from course_lib.training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

TINY = GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3)


def build(settings):
    return GPT2(GPT2Settings(**settings))


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = GPT2(TINY)
    save_checkpoint(tmp_path / "poet.json", model, {"steps": 3, "name": "poet"})
    return tmp_path / "poet.json", model


def weights_file(path):
    (file,) = path.parent.glob("*.safetensors")
    return file


def same(a, b):
    return all(
        torch.equal(x, y)
        for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_what_was_saved_comes_back(saved):
    path, model = saved
    loaded, notes = load_checkpoint(path, build)
    assert same(loaded, model) and loaded.settings == TINY and notes == {"steps": 3, "name": "poet"}


def test_a_second_save_replaces_the_first_and_leaves_two_files(saved):
    path, _ = saved
    newer = GPT2(TINY)
    save_checkpoint(path, newer)
    assert same(load_checkpoint(path, build)[0], newer)
    assert len(list(path.parent.iterdir())) == 2


def test_another_checkpoint_in_the_folder_is_left_alone(saved):
    path, model = saved
    save_checkpoint(path.with_name("poet-two.json"), GPT2(TINY))
    save_checkpoint(path, GPT2(TINY))
    load_checkpoint(path.with_name("poet-two.json"), build)


@pytest.mark.parametrize(
    ("first", "second"),
    [("lr0.01", "lr0.02"), ("poet.json", "poet.best"), ("poet", "poet.json"), ("poet.json", "poet"),
     ("model1.json", "model[1].json"), ("a.b.json", "a.c.json"), ("a-b.json", "a.json")],
)  # fmt: skip
def test_names_that_differ_anywhere_do_not_touch_each_other(tmp_path, first, second):
    torch.manual_seed(0)
    models = GPT2(TINY), GPT2(TINY)
    for _ in range(2):
        for name, model in zip((first, second), models, strict=True):
            save_checkpoint(tmp_path / name, model)
    for name, model in zip((first, second), models, strict=True):
        assert same(load_checkpoint(tmp_path / name, build)[0], model)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_name_with_the_signs_of_a_pattern_leaves_no_older_weights(tmp_path):
    for _ in range(3):
        save_checkpoint(tmp_path / "a[b]*.json", GPT2(TINY))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("byte", [0, 8, 500, -1])
def test_one_changed_byte_in_the_weights_is_found(saved, byte):
    path, _ = saved
    data = bytearray(weights_file(path).read_bytes())
    data[byte] ^= 1
    weights_file(path).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{weights_file(path).name} is damaged"):
        load_checkpoint(path, build)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_cut_off_files_are_found(saved, share):
    path, _ = saved
    for file in (weights_file(path), path):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(CheckpointError, match=file.name):
            load_checkpoint(path, build)
        file.write_bytes(whole)
    load_checkpoint(path, build)


def test_a_changed_setting_is_found(saved):
    path, _ = saved
    about = json.loads(path.read_text())
    about["content"]["settings"]["n_heads"] = 2
    path.write_text(json.dumps(about))
    with pytest.raises(CheckpointError, match="poet.json is damaged"):
        load_checkpoint(path, build)


def test_missing_files_are_named(saved, tmp_path):
    path, _ = saved
    with pytest.raises(CheckpointError, match="none.json"):
        load_checkpoint(tmp_path / "none.json", build)
    name = weights_file(path).name
    weights_file(path).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_checkpoint(path, build)


def test_weights_of_another_model_do_not_fit(saved):
    path, _ = saved
    with pytest.raises(CheckpointError, match="holds a GPT2, which does not fit"):
        load_checkpoint(path, lambda settings: build(settings | {"d_model": 15}))


def test_a_full_disk_leaves_the_old_checkpoint_whole(saved, monkeypatch):
    path, model = saved

    def full(fd):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(
        CheckpointError, match="could not save .*poet.json: No space left on device"
    ):
        save_checkpoint(path, GPT2(TINY))
    assert same(load_checkpoint(path, build)[0], model) and len(list(path.parent.iterdir())) == 2


@pytest.mark.parametrize("writer", ["write_atomically", "write_json"])
def test_a_crash_before_either_file_leaves_the_old_checkpoint_whole(saved, monkeypatch, writer):
    path, model = saved

    def crash(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, writer, crash)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, GPT2(TINY))
    assert same(load_checkpoint(path, build)[0], model) and len(list(path.parent.iterdir())) == 2


def test_notes_that_are_no_json_write_nothing(tmp_path):
    with pytest.raises(TypeError):
        save_checkpoint(tmp_path / "poet.json", GPT2(TINY), {"model": object()})
    assert list(tmp_path.iterdir()) == []
