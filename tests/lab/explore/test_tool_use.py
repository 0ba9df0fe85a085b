"""The figure of a thought with a tool shows each piece in its writer's colour."""

import pytest

from course_lib.lab.explore import tool_use as explore

PIECES = [("<think><calc>7+5</calc>", False), ("=12", True), ("</think>", False)]


def pictures(widget) -> list[str]:
    return [frame.value for frame in widget.children[-1].children]


def test_each_frame_adds_a_piece_and_says_who_wrote_it():
    first, second, third = pictures(explore.written_pieces("7+5=?", PIECES))
    assert "&lt;calc&gt;7+5&lt;/calc&gt;" in first and "=12" not in first
    assert "the model writes" in first and "the calculator writes" in second
    assert f"{explore.TOOL_INK}; background-color: {explore.TOOL_BACKGROUND}" in second
    assert ">=12</span>" in second and "&lt;/think&gt;" not in second
    assert "&lt;/think&gt;" in third and "Piece 3 of 3" in third


def test_the_still_is_the_whole_answer():
    assert "Piece 3 of 3" in explore.written_pieces("7+5=?", PIECES).still
    assert "Piece 2 of 3" in explore.written_pieces("7+5=?", PIECES, start=1).still


def test_no_pieces_are_refused():
    with pytest.raises(ValueError, match="0 pieces"):
        explore.written_pieces("7+5=?", [])
