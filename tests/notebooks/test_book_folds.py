"""In the book, what a prediction is about is folded, an untouched exercise says nothing, and links
lead to pages."""

import importlib.util
import sys

import pytest

from course_lib.lab import course_map

FOLD = "<details><summary>Predict first, then open</summary>Two.</details>"


@pytest.fixture
def book_build(monkeypatch):
    """The module `book/build.py`."""
    pytest.importorskip("sphinx")
    book = course_map.ROOT / "book"
    monkeypatch.setattr(sys, "path", [str(book), *sys.path])
    spec = importlib.util.spec_from_file_location("book_build", book / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fold(book_build):
    """A function of the module; it changes cells in place and these are their tags."""

    def tags_of(*cells: tuple[str, str] | str) -> list[list[str]]:
        made = [
            {"cell_type": "markdown", "source": [cell], "metadata": {}}
            if isinstance(cell, str)
            else {"cell_type": "code", "source": cell[0], "metadata": {"tags": cell[1:]}}
            for cell in [c if isinstance(c, str) else list(c) for c in cells]
        ]
        book_build.fold_predicted_outputs(made)
        return [cell["metadata"]["tags"] for cell in made if cell["cell_type"] == "code"]

    return tags_of


def test_outputs_between_a_prediction_and_the_next_text_are_folded(fold):
    assert fold(("a",), FOLD, ("b",), ("c", "slow"), "It is two.", ("d",)) == [
        [],
        ["hide-output"],
        ["slow", "hide-output"],
        [],
    ]


def test_text_below_the_fold_keeps_it_and_a_new_section_ends_it(fold):
    assert fold(f"{FOLD}\n\nHere is how:", ("a",)) == [["hide-output"]]
    assert fold(f"{FOLD}\n\n## Another question?", ("a",)) == [[]]
    assert fold(f"Text.\n\n{FOLD.replace('Predict first', 'Hint 1')}", ("a",)) == [[]]


def test_an_untouched_exercise_says_nothing_and_its_solution_stays(fold):
    assert fold(FOLD, ("a", "exercise"), ("b", "solution", "hide-cell")) == [
        ["exercise", "remove-output"],
        ["solution", "hide-cell"],
    ]


def test_links_to_pages_of_the_book_lead_there_in_the_book_too(book_build):
    cell = {"cell_type": "markdown", "source": ["See\n", "[this](../book/left_out.md)."]}
    code = {"cell_type": "code", "source": ['print("](../book/a")']}
    for each in (cell, code):
        each["metadata"] = {}
        book_build.adapt(each)
    assert "".join(cell["source"]) == "See\n[this](../left_out.md)."
    assert "".join(code["source"]) == 'print("](../book/a")'
