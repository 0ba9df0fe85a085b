"""No two modules of course_lib.text need each other, not even from inside their functions."""

import ast
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(find_spec("course_lib.text").origin).parents[2]


def test_imports_have_no_cycle():
    needs = {}
    for file in (ROOT / "course_lib" / "text").rglob("*.py"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        nodes = [
            node
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.ImportFrom)
        ]
        needs[name] = {(node.module, alias.name) for node in nodes for alias in node.names}
    assert len(needs) > 20
    graph = {}
    for name, imports in needs.items():  # what is imported is a module, or a name inside one
        modules = {
            f"{module}.{part}" if f"{module}.{part}" in needs else module
            for module, part in imports
        }
        graph[name] = modules & needs.keys()
    TopologicalSorter(graph).prepare()  # raises CycleError
