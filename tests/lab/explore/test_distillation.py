"""The figures of lesson 27 show the numbers that they claim to show."""

import pytest
import torch

from course_lib.lab.explore import distillation as explore


def grid_frames(widget) -> list[list[str]]:
    return [[frame.value for frame in row.children] for row in widget.children[-1].children]


def test_probabilities_are_those_of_the_temperature():
    scores = torch.tensor([[4.0, 2.0, 0.0], [0.0, 0.0, 9.0]])
    pictures = grid_frames(
        explore.softened(["a", "c"], scores, ["a", "b", "c"], temperatures=(1, 2), shown=2)
    )
    for position in (0, 1):
        for column, temperature in enumerate((1, 2)):
            best = (scores[position] / temperature).softmax(-1).max().item()
            assert f"{best:.3f} (written)" in pictures[position][column]
    assert "<code>a</code><b" in pictures[1][0], "what is written so far stands above"


def test_three_ways_to_choose_can_differ():
    asked = explore.VotedQuestion(
        "7+5-3=?", "9", ["8", "8", "9", None, "9"], [0.1, 0.2, 0.7, 0.99, 0.6],
        ["I think 8", "8 lol", "so 9", "no <idea>", "9"], [3, 3, 9, 3, 2],
    )  # fmt: skip
    (row,) = grid_frames(explore.votes([asked], sizes=(2, 3, 4)))
    assert "2 answers, 6 tokens" in row[0]
    assert 'majority: <b style="color: #9c3f77">8 wrong' in row[1]
    assert 'weighted: <b style="color: #0a6b58">9 right' in row[1]
    assert 'best of k: <b style="color: #9c3f77">nothing wrong' in row[2]
    assert "no &lt;idea&gt;" in row[2] and "1 without an answer" in row[2]


# A thought with a tool
# --------------------------------------------------------------------------------------------------

PIECES = [("<think><calc>7+5</calc>", False), ("=12", True), ("</think>", False)]


def pictures(widget) -> list[str]:
    return [frame.value for frame in widget.children[-1].children]


def test_each_frame_adds_a_piece_and_says_who_wrote_it():
    first, second, third = pictures(explore.written_pieces("7+5=?", PIECES))
    assert "&lt;calc&gt;7+5&lt;/calc&gt;" in first and "=12" not in first
    assert "the model writes" in first and "the calculator writes" in second
    assert f"{explore.INK_BROWN}; background-color: {explore.TOOL_BACKGROUND}" in second
    assert ">=12</span>" in second and "&lt;/think&gt;" not in second
    assert "&lt;/think&gt;" in third and "Piece 3 of 3" in third


def test_the_still_is_the_whole_answer():
    assert "Piece 3 of 3" in explore.written_pieces("7+5=?", PIECES).still
    assert "Piece 2 of 3" in explore.written_pieces("7+5=?", PIECES, start=1).still


def test_no_pieces_are_refused():
    with pytest.raises(ValueError, match="0 pieces"):
        explore.written_pieces("7+5=?", [])
