"""Passages of the plays: who speaks, where, and which words are left out."""

import pytest

from course_lib import assets
from course_lib.text import plays

PLAY = """THE PLAY

SCENE: Nowhere.

PERSONS
ANNA, a queen.

ACT I.

SCENE IV. A hall.

[Enter ANNA and BEN.]

ANNA.
Who goes there, [Aside] _so_ late
and so loud?

Ben.
I.

He sang a song of old,
that nobody knew.

Act 2

SCENE 1

BEN AND ANNA
Good night.
"""


def test_speeches_have_act_scene_and_speaker():
    found = list(plays.speeches_of(PLAY))
    assert found == [
        (1, 4, "ANNA", ["Who goes there,  so late", "and so loud?"]),
        (1, 4, "Ben", ["I."]),
        (2, 1, "BEN AND ANNA", ["Good night."]),
    ]


@pytest.mark.parametrize("number", range(1, 15))
def test_roman_numbers(number):
    numerals = "I II III IV V VI VII VIII IX X XI XII XIII XIV".split()
    assert plays.roman_number(numerals[number - 1]) == number
    assert plays.roman_number(numerals[number - 1].lower()) == number


def test_passages_are_long_enough_and_not_too_long(monkeypatch, tmp_path):
    file = tmp_path / "play.txt"
    file.write_text(PLAY, encoding="utf-8")
    monkeypatch.setattr(plays, "plays_files", lambda: {"Play": file})
    whole = plays.play_passages(["Play"], shortest=2)
    assert [(p.place, p.speaker, p.text) for p in whole] == [
        ("Play 1.4", "ANNA", "Who goes there, so late and so loud?"),
        ("Play 2.1", "BEN AND ANNA", "Good night."),
    ]
    parts = plays.play_passages(["Play"], shortest=3, longest=5)
    assert [p.text for p in parts] == ["Who goes there, so late", "and so loud?"]


def test_real_plays_have_their_scenes():
    try:
        passages = plays.play_passages(["Hamlet", "Romeo and Juliet"])
    except assets.AssetError as error:
        pytest.skip(str(error))
    scenes = {(p.act, p.scene) for p in passages if p.play == "Hamlet"}
    assert {act: max(s for a, s in scenes if a == act) for act, _ in scenes} == {
        1: 5, 2: 2, 3: 4, 4: 7, 5: 2,
    }  # fmt: skip
    assert all(20 <= len(p.text.split()) <= 80 for p in passages)
    doubt = next(p for p in passages if p.text.startswith("To be, or not to be"))
    assert (doubt.place, doubt.speaker) == ("Hamlet 3.1", "Ham")
