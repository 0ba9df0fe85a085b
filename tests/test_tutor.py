"""The rules for a coding agent: the files that they name are there, and the solutions are among
them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
RULES = (ROOT / "TUTOR.md").read_text(encoding="utf-8")
MADE_LATER = ("build/handout", "my_class/")


def test_every_file_that_the_rules_name_is_there():
    named = re.findall(r"`([\w.]+/[\w./]*)`", RULES)
    assert len(named) > 8
    assert [name for name in named if name not in MADE_LATER and not (ROOT / name).exists()] == []


def test_the_rules_close_every_place_that_holds_solutions():
    """Found by the names of the solutions, where they are defined."""
    solutions = "".join(
        path.read_text() for path in (ROOT / "course_lib/lab/solutions").glob("*.py")
    )
    names = "|".join(set(re.findall(r"(?m)^(?:def|class) (\w+_solution)\b", solutions)))
    defined = re.compile(rf"\b(?:def|class) (?:{names})\b")
    closed = re.findall(r"`([\w.]+/[\w./]*)`", RULES.split("Don't open")[1].split("\n\nMost")[0])
    holding = [
        path.relative_to(ROOT).as_posix()
        for folder in ("course_lib", "notebooks", "tests", "book")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".md", ".ipynb", ".toml") and "_build" not in path.parts
        if defined.search(path.read_text(encoding="utf-8"))
    ]
    assert len(holding) > 50 and all(path.startswith(tuple(closed)) for path in holding)


def test_what_the_rules_tell_to_run_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"`make (\w+)", RULES)
    assert targets and all(re.search(rf"(?m)^{target}:", makefile) for target in targets)
    assert "COURSE_PROGRESS" in RULES
    assert "COURSE_PROGRESS" in (ROOT / "course_lib" / "lab" / "record.py").read_text()


def test_readme_and_guide_lead_to_the_rules():
    assert "](TUTOR.md)" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "](tutor.md)" in (ROOT / "book" / "teachers.md").read_text(encoding="utf-8")
