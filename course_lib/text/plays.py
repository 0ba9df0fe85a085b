"""Shakespeare's plays as passages: who says what, in which scene."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from course_lib.assets import plays_files

HEADING = re.compile(r"(ACT|SCENE)\s+([IVX]+|\d+)\b", re.IGNORECASE)
SPEAKER = re.compile(r"[A-Z0-9][\w' ]{0,30}\.|[A-Z][A-Z' ]{0,30}")
DIRECTION = re.compile(r"\[[^]]*\]|_")
ROMAN = {"I": 1, "V": 5, "X": 10}


class PlayPassage(NamedTuple):
    """A speech, or a part of a long one."""

    play: str
    act: int
    scene: int
    speaker: str
    text: str

    @property
    def place(self) -> str:
        """Name the scene: "Hamlet 3.1"."""
        return f"{self.play} {self.act}.{self.scene}"


def roman_number(numeral: str) -> int:
    """Read a small number in Roman numerals, or in digits.

    >>> roman_number("VII"), roman_number("IX"), roman_number("4")
    (7, 9, 4)
    """
    if numeral.isdigit():
        return int(numeral)
    values = [ROMAN[letter] for letter in numeral.upper()]
    signs = [-1 if a < b else 1 for a, b in zip(values, [*values[1:], 0], strict=True)]
    return sum(sign * value for sign, value in zip(signs, values, strict=True))


def speeches_of(text: str) -> Iterator[tuple[int, int, str, list[str]]]:
    """Give act, scene, speaker and lines of each speech of a play; what stands outside is left."""
    act = scene = 0
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip().split("\n")
        if heading := HEADING.match(lines[0]):
            number = roman_number(heading[2])
            act, scene = (number, 0) if heading[1].upper() == "ACT" else (act, number)
        elif act and len(lines) > 1 and SPEAKER.fullmatch(lines[0]):
            spoken = DIRECTION.sub("", "\n".join(lines[1:])).split("\n")
            yield act, scene, lines[0].rstrip("."), [line for line in spoken if line.strip()]


def play_passages(plays: Sequence[str], shortest: int = 20, longest: int = 80) -> list[PlayPassage]:
    """Cut plays into passages: speeches of `shortest` words or more, long ones into parts.

    A part is as many whole lines as have no more than `longest` words; its end, if shorter than
    `shortest`, is left out.
    """
    files, found = plays_files(), []
    for play in plays:
        for act, scene, speaker, lines in speeches_of(files[play].read_text(encoding="utf-8")):
            for part in parts_of_speech(lines, longest):
                if len(part.split()) >= shortest:
                    found.append(PlayPassage(play, act, scene, speaker, part))
    return found


def parts_of_speech(lines: Sequence[str], longest: int) -> list[str]:
    """Join lines to parts of `longest` words at most, if no line is longer.

    >>> parts_of_speech(["To be,", "or not to be:", "that is the question"], longest=6)
    ['To be, or not to be:', 'that is the question']
    """
    parts: list[list[str]] = []
    for words in (line.split() for line in lines):
        if parts and len(parts[-1]) + len(words) <= longest:
            parts[-1] += words
        else:
            parts.append(words)
    return [" ".join(words) for words in parts]
