"""R1-Zero's numbers as a lesson reads them: the card's runs, and what a change is made of.

A mean over answers, their length say, has two kinds in it: answers that show their work, and direct
ones. It can change because the share of a kind does, or because a kind itself does.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.alignment.rewards import count_worked_sums, is_mixed, true_fraction
from course_lib.assets import DATA_FOLDER
from course_lib.text.problems import final_answer

R1_CARD_FILE = DATA_FOLDER / "r1/card.json"
CORRECTION = re.compile(r"wait|不对")
ANY_STEP = re.compile(r"([0-9]+(?:[+-][0-9]+)+)=([0-9]+)")

KindMeans = tuple[float, float, float]  # share of worked answers, mean of those, of the direct ones


def read_r1_card(path: Path | str = R1_CARD_FILE) -> list[dict]:
    """Read the report card's runs, one for each seed: all that `card.md` shows, as numbers.

    Raises ValueError if the file holds anything else.
    """
    runs = json.loads(Path(path).read_bytes())
    if not isinstance(runs, list) or any("measures" not in run for run in runs):
        raise ValueError(f"{path} is not a report card: a list of runs with measures")
    return runs


def sums_of_stage(runs: Sequence[dict], stage: str, measure: str) -> list[float]:
    """Give a measure of a stage's sampled answers to sums, seed by seed."""
    return [run["measures"]["stages"][stage]["sums"][measure] for run in runs]


def sums_of_control(
    runs: Sequence[dict], control: str, measure: str, when: str = "after"
) -> list[float]:
    """Give a measure of a control's answers to sums, "before" or "after" it, seed by seed."""
    return [run["experiments"][control][when][measure] for run in runs]


def kind_means(sums: Mapping[str, float], measure: str) -> KindMeans:
    """Give the share of worked answers, and a measure's mean over these and over the direct ones.

    Of the direct ones it is what is left of the mean over all.

    >>> kind_means({"worked": 0.25, "length": 11.0, "length of worked": 32.0}, "length")
    (0.25, 32.0, 4.0)
    """
    share, of_worked = sums["worked"], sums[f"{measure} of worked"]
    if share == 1:
        return 1.0, of_worked, 0.0
    return share, of_worked, (sums[measure] - share * of_worked) / (1 - share)


@dataclass(frozen=True)
class ChangeInKinds:
    """How a mean over two kinds changed. `parts` are composition and growth, and their sum is the
    change.

    Composition is what the new shares alone would change, growth the rest: what the kinds changed,
    weighed with the new shares. The other order is as good: see `parts_reversed`. Source: Kitagawa
    1955, Components of a difference between two rates (with two orders instead of their mean).

    >>> ChangeInKinds((0.25, 32.0, 4.0), (1.0, 33.0, 4.0)).parts
    (21.0, 1.0)
    """

    before: KindMeans
    after: KindMeans

    @property
    def parts(self) -> tuple[float, float]:
        moved = mean_of_kinds((self.after[0], *self.before[1:]))
        return moved - mean_of_kinds(self.before), mean_of_kinds(self.after) - moved

    @property
    def parts_reversed(self) -> tuple[float, float]:
        """Composition and growth if the kinds change first, at the old shares."""
        grown = mean_of_kinds((self.before[0], *self.after[1:]))
        return mean_of_kinds(self.after) - grown, grown - mean_of_kinds(self.before)


def mean_of_kinds(kinds: KindMeans) -> float:
    """Give the mean over all answers: `mean_of_kinds((0.25, 32.0, 4.0))` is 11.0."""
    share, worked, direct = kinds
    return share * worked + (1 - share) * direct


def working_habits(texts: Sequence[str]) -> dict[str, float]:
    """Describe how sums are worked out, as shares of the worked answers; steps right, of all steps.

    >>> working_habits(["7+5=13, wait, no, 7+5=12, so 12", "7+5-3=9", "I think 9"])["corrected"]
    0.5
    """
    worked = [text for text in texts if count_worked_sums(text)]
    steps = [[(each, int(made)) for each, made in ANY_STEP.findall(text)] for text in worked]
    return {
        "corrected": true_fraction([bool(CORRECTION.search(text)) for text in worked]),
        "two operations in a step": true_fraction(
            [any(len(re.findall("[+-]", each)) > 1 for each, _ in some) for some in steps]
        ),
        "mixed languages": true_fraction([is_mixed(text) for text in worked]),
        "steps right": true_fraction(
            [sum(map(int, re.findall(r"[+-]?[0-9]+", each))) == made for some in steps
             for each, made in some]
        ),
    }  # fmt: skip


def is_worked_right(truth: str, text: str) -> bool:
    """Tell whether an answer is right, shows work, and every step of it is right.

    >>> is_worked_right("9", "7+5=12, then 12-3=9, so 9"), is_worked_right("9", "I think 9")
    (True, False)
    """
    steps = ANY_STEP.findall(text)
    right = [sum(map(int, re.findall(r"[+-]?[0-9]+", each))) == int(made) for each, made in steps]
    return bool(steps) and all(right) and final_answer(text) == truth
