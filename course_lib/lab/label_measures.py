"""What labels are worth: how often two labellers agree, what a place does, and what can be learnt.

Whatever judges answers can be made a labeller, by `labels_by_score`: the truth, a taste for length.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from course_lib.alignment.preferences import PreferenceTexts
from course_lib.files import write_atomically
from course_lib.lab.label_file import Label, LabelPair
from course_lib.tasks.fact_chats import annotator_quality, answer_traits
from course_lib.text.small_web.facts import Fact

NORMAL_95 = 1.959964  # standard deviations to each side that hold 95 % of a normal distribution


class Share(NamedTuple):
    """So many of so many; printed with an interval; about 95 % of such hold the true share.

    >>> print(Share(8, 10))
    80 % of 10 (95 % interval: 49 to 94 %)
    >>> print(Share(0, 0), f"{Share(8, 10):.2f}", sep="; ")
    nothing to compare yet; 0.80
    """

    hits: int
    n: int

    @property
    def share(self) -> float:
        """The one number; NaN of nothing."""
        return self.hits / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """From where to where the true share may lie, as far as `n` independent cases tell.

        Wilson 1927, "Probable inference, the law of succession, and statistical inference": unlike
        a mean plus or minus its error, it stays within 0 and 1, and is not empty at either.
        """
        if not self.n:
            return 0.0, 1.0
        z2 = NORMAL_95**2
        middle = (self.hits + z2 / 2) / (self.n + z2)
        room = self.hits * (self.n - self.hits) / self.n + z2 / 4
        half = NORMAL_95 * math.sqrt(room) / (self.n + z2)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __float__(self) -> float:
        return self.share

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else str(self)

    def __str__(self) -> str:
        if not self.n:
            return "nothing to compare yet"
        low, high = (100 * end for end in self.interval)
        return f"{100 * self.share:.0f} % of {self.n} (95 % interval: {low:.0f} to {high:.0f} %)"


def labels_by_score(
    pairs: Sequence[LabelPair], score: Callable[[Fact, str], float] = annotator_quality
) -> list[Label]:
    """Let a function of the fact and an answer choose: the higher score; of equals it can't say.

    By `annotator_quality`, that is the annotator without a slip.

    >>> pairs = [LabelPair("Who?", "me", "you"), LabelPair("Why?", "yes", "not")]
    >>> [label.chosen for label in labels_by_score(pairs, lambda fact, answer: len(answer))]
    [1, None]
    """

    def choice(pair: LabelPair) -> int | None:
        one, other = score(pair.truth, pair.one), score(pair.truth, pair.other)
        return None if one == other else int(other > one)

    return [
        Label(p.question, (p.one, p.other), choice(p), id=f"score-{i}") for i, p in enumerate(pairs)
    ]


def is_right(fact: Fact, answer: str) -> bool:
    """Tell whether an answer holds the true one, whatever else it says."""
    return answer_traits(fact, answer)["right"]


# ---------------------------------------------------------------


def _choices(labels: Sequence[Label]) -> Iterator[tuple[Label, str, str]]:
    """The labels that choose between answers that differ, with the chosen and the other one."""
    for label in labels:
        if not label.is_demonstration and label.chosen is not None:
            chosen, rejected = label.answers[label.chosen], label.answers[1 - label.chosen]
            if chosen.strip() != rejected.strip():
                yield label, chosen, rejected


def preferences_of(labels: Sequence[Label]) -> list[PreferenceTexts]:
    """Give the choices as a reward model learns from them.

    Neither "can't say" nor a choice between equal answers is one; demonstrations are none either.

    >>> preferences_of([Label("Who?", ("me", "you"), 1), Label("Who?", ("me", "you"), None)])
    [PreferenceTexts(prompt='Who?', chosen='you', rejected='me')]
    """
    return [PreferenceTexts(label.question, *both) for label, *both in _choices(labels)]


def demonstrations_of(labels: Sequence[Label]) -> list[tuple[str, str]]:
    """Give the written answers, as pairs of a question and its answer."""
    return [(each.question, each.answers[0]) for each in labels if each.is_demonstration]


def agreement(labels: Sequence[Label], others: Sequence[Label]) -> Share:
    """Tell how often two labellers choose the same, of the pairs on which both made a choice.

    Whatever the order in which each saw the answers. Of several labels of a pair the last counts.

    >>> mine = [Label("Who?", ("me", "you"), 1), Label("Why?", ("a", "b"), 0)]
    >>> agreement(mine, [Label("Who?", ("you", "me"), 0), Label("Why?", ("a", "b"), None)])
    Share(hits=1, n=1)
    """
    ours, theirs = (
        {label.key: chosen.strip() for label, chosen, _ in _choices(each)}
        for each in (labels, others)
    )
    both = ours.keys() & theirs.keys()
    return Share(sum(ours[key] == theirs[key] for key in both), len(both))


def position_bias(labels: Sequence[Label]) -> Share:
    """Tell how often the answer that was shown first is chosen: half the time, if only content
    counts, since the order is drawn."""
    firsts = [label.chosen == 0 for label, *_ in _choices(labels)]
    return Share(sum(firsts), len(firsts))


def seconds_of(labels: Sequence[Label]) -> list[float]:
    """Give the time that each label took, in seconds, where it was measured."""
    return [label.seconds for label in labels if label.seconds is not None]


# ------------------------------------------------------------------------------------------- export


def trl_rows(labels: Sequence[Label]) -> tuple[list[dict], list[dict]]:
    """Lay out preferences and demonstrations as TRL reads them, in its conversational form.

    The first have the fields prompt, chosen and rejected, for `DPOTrainer` and `RewardTrainer`; the
    second prompt and completion, for `SFTTrainer`. TRL puts the chat template around them.

    >>> _, rows = trl_rows([Label("Who?", ("me",), 0)])
    >>> rows[0]["prompt"], rows[0]["completion"]
    ([{'role': 'user', 'content': 'Who?'}], [{'role': 'assistant', 'content': 'me'}])
    """

    def turn(role: str, text: str) -> list[dict]:
        return [{"role": role, "content": text}]

    preferences = [
        {
            "prompt": turn("user", each.prompt),
            "chosen": turn("assistant", each.chosen),
            "rejected": turn("assistant", each.rejected),
        }
        for each in preferences_of(labels)
    ]
    demonstrations = [
        {"prompt": turn("user", question), "completion": turn("assistant", answer)}
        for question, answer in demonstrations_of(labels)
    ]
    return preferences, demonstrations


def export_labels(
    labels: Sequence[Label], name: str = "lesson-23", folder: str | Path = "."
) -> list[Path]:
    """Write `preferences-<name>.jsonl` and `demonstrations-<name>.jsonl`; give the files written.

    One row of `trl_rows` per line; a file that would be empty is not written.
    """
    written = []
    for kind, rows in zip(("preferences", "demonstrations"), trl_rows(labels), strict=True):
        if rows:
            file = Path(folder) / f"{kind}-{name}.jsonl"
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_atomically(file, lines.encode())
            written.append(file)
    return written
