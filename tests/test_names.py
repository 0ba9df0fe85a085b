"""Public names can be searched for: each is defined once, and none hides a builtin."""

import ast
import builtins
from collections import defaultdict
from pathlib import Path

LIBRARY = Path(__file__).parent.parent / "course_lib"


def defined_names(source: str) -> list[str]:
    """Name the functions, classes and constants that a module defines, without the private ones."""
    names = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [
                t.id for target in targets for t in ast.walk(target) if isinstance(t, ast.Name)
            ]
    return [name for name in names if not name.startswith("_")]


def names_defined_twice(sources: dict[str, str]) -> dict[str, list[str]]:
    """Give the names that more than one place defines, with these places; commands share `main`."""
    places = defaultdict(list)
    for place, source in sources.items():
        for name in defined_names(source):
            places[name].append(place)
    return {name: found for name, found in places.items() if len(found) > 1 and name != "main"}


def library_sources() -> dict[str, str]:
    """Read the library; `lab` repeats names on purpose: a checker is called as what it checks."""
    paths = {str(path.relative_to(LIBRARY)): path for path in LIBRARY.rglob("*.py")}
    return {
        place: path.read_text() for place, path in paths.items() if not place.startswith("lab/")
    }


def test_each_public_name_is_defined_once():
    assert names_defined_twice(library_sources()) == {}


def test_no_public_name_hides_a_builtin():
    names = {name for source in library_sources().values() for name in defined_names(source)}
    assert not {name for name in names if hasattr(builtins, name)}


def test_names_defined_twice_are_found():
    sources = {
        "a.py": "def pack(): ...\nmain = 1",
        "b.py": "class pack: ...\nmain = 2",
        "c.py": "_pack = 3",
    }
    assert names_defined_twice(sources) == {"pack": ["a.py", "b.py"]}
