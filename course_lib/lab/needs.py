"""Cells that need something which may not be installed: they say so, and the rest runs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from IPython import get_ipython

from course_lib.assets import AssetError


def find_or_skip(find: Callable[[], Path], mark: str) -> Path | None:
    """Give the asset's file; where it is missing, cells whose first line is `mark` are skipped.

    Such a cell then prints one line that says what it needs, and how to get it.
    """
    try:
        return find()
    except AssetError as missing:
        told = f"Skipped: {str(missing).splitlines()[0]} `make models` fetches it."
    print(f"{told} Cells that begin with {mark!r} are skipped; the book shows what they print.")
    shell = get_ipython()
    if shell is not None:
        shell.input_transformers_cleanup.append(skipper_of(mark, told))
    return None


def skipper_of(mark: str, told: str) -> Callable[[Sequence[str]], list[str]]:
    """Make what replaces the lines of a marked cell by a message.

    >>> skipper_of("# needs it", "not here")(["# needs it", "1 / 0"])
    ["print('not here')"]
    """

    def skip(lines: Sequence[str]) -> list[str]:
        marked = bool(lines) and lines[0].strip() == mark
        return [f"print({told!r})"] if marked else list(lines)

    return skip
