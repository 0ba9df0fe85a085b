"""The figures of lesson 16 say what their orders say."""

import re

import pytest

from course_lib.lab.explore import xlnet as explore

WORDS = ("on", "the", "farm")


def labels(figure) -> list[list[str]]:
    """The alternative texts of all frames, a list for each order."""
    return [
        [re.search(r'aria-label="([^"]*)"', frame.value)[1] for frame in inner.children]
        for inner in figure.children[-1].children
    ]


def test_a_query_sees_what_came_before_and_content_itself_too():
    orders = {"1 2 3": (0, 1, 2), "3 1 2": (2, 0, 1)}
    told = labels(explore.factorisation(WORDS, orders, start=(1, 1)))
    assert told[0][0].endswith("query sees no word; its content sees on.")
    assert "query sees on, the;" in told[0][2] and told[0][2].endswith(
        "content sees on, the, farm."
    )
    assert told[1][1].startswith("Step 2: position 1") and "query sees farm;" in told[1][1]


def test_blue_cells_are_as_many_as_pairs_in_order():
    figure = explore.factorisation(WORDS, {"2 3 1": (1, 2, 0)}, start=(0, 0))
    cells = figure.still.count(f'height="24" fill="{explore.BLUE}"')
    assert cells == (3 + 3) + 3  # pairs and the tokens themselves; pairs alone


def test_an_order_holds_each_position_once():
    with pytest.raises(ValueError, match=r"no order of 3 positions"):
        explore.factorisation(WORDS, {"bad": (0, 1, 1)}, start=(0, 0))


def test_guesses_multiply_along_the_order():
    game = [
        explore.Guess(2, frozenset(), (("farm", 0.5), ("<b>", 0.25)), "farm", 0.5),
        explore.Guess(0, frozenset({2}), (("in", 0.6), ("on", 0.4)), "on", 0.4),
    ]
    figure = explore.played(WORDS, {"3 1": game})
    told = labels(figure)[0]
    assert "so far: 0.5." in told[0] and "so far: 0.2." in told[1]
    assert "<b>" not in figure.still and "(the true word)" in figure.still
    with pytest.raises(ValueError, match=r"\[1, 2\] steps"):
        explore.played(WORDS, {"a": game, "b": game[:1]})
