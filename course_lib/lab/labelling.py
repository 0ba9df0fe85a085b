"""Labels for lesson 23: pairs to label and the desk for it, the reader's labels, the annotator's.

`shipped_pairs()` are there to be labelled at `desk(pairs)`; `load_labels()` gives the reader's own
labels, `shipped_labels()` the simulated annotator's. What is kept where, `label_file` says; what
labels are worth, the functions of `label_measures` tell, which have their names here too.
"""

import json
from functools import cache

from course_lib.experiments.annotated_pairs import FEEDBACK_FOLDER, fact_of
from course_lib.lab.label_desk import LabellingDesk, desk
from course_lib.lab.label_file import Label, LabelPair, label_path, open_labels, read_labels
from course_lib.lab.label_measures import (
    Share,
    agreement,
    demonstrations_of,
    export_labels,
    is_right,
    labels_by_score,
    position_bias,
    preferences_of,
    seconds_of,
    trl_rows,
)

__all__ = ["Label", "LabelPair", "LabellingDesk", "Share", "agreement", "demonstrations_of"]
__all__ += ["desk", "export_labels", "is_right", "labels_by_score", "load_labels", "position_bias"]
__all__ += ["preferences_of", "seconds_of", "shipped_labels", "shipped_pairs", "trl_rows"]

SHIPPED_LABELS = FEEDBACK_FOLDER / "labels.jsonl"


@cache
def _shipped_lines() -> tuple[dict, ...]:
    lines = SHIPPED_LABELS.read_bytes().split(b"\n")
    return tuple(json.loads(line) for line in lines if line)


def shipped_pairs() -> list[LabelPair]:
    """Give the pairs of answers of the shipped base and R1, with the facts they are about.

    >>> pair = shipped_pairs()[0]
    >>> pair.question == pair.truth.question and pair.one != pair.other
    True
    """
    return [
        LabelPair(line["question"], *line["answers"], fact_of(line), tuple(line["writers"]))
        for line in _shipped_lines()
    ]


def shipped_labels() -> list[Label]:
    """Give the simulated annotator's labels of the `shipped_pairs`, in their order."""
    return read_labels(SHIPPED_LABELS).labels


def load_labels(name: str = "lesson-23") -> list[Label]:
    """Give the labels that the reader kept under this name; none where none are.

    Prints a sentence where lines of the file can't be read. Raises ValueError where the file is of
    a newer version of the course.
    """
    path = label_path(name)
    labels, said = open_labels(path) if path else ([], "")
    if said:
        print(said)
    return labels
