"""The desk at which a reader labels: choose between two answers, or write a better one.

It is plain ipywidgets. Its buttons take Tab, Enter and Space as every button does; for the keys 1,
2, 0 and u, which ipywidgets can't hear, `controls.js` presses the button that is marked with the
key, and keeps JupyterLab's own shortcuts away.
"""

import hashlib
import html
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as widgets
from IPython.display import HTML

from course_lib.lab import course_map
from course_lib.lab.explore.frames import Explorer, card
from course_lib.lab.label_file import (
    Label,
    LabelPair,
    append_label,
    append_undo,
    label_path,
    open_labels,
    read_labels,
)
from course_lib.lab.label_measures import demonstrations_of, export_labels

SOONEST = 0.3  # seconds: what is pressed sooner is a double click, nobody has read the answers
STYLE = """<style>
.course-desk button:focus-visible, .course-desk textarea:focus-visible {
  outline: 3px solid #0072B2 !important; outline-offset: 2px }  /* ipywidgets has 1px */
.course-desk .widget-html-content { line-height: 1.5; font-size: 14px;
  color: var(--pst-color-text-base, var(--jp-ui-font-color1, inherit)) }
.course-desk .widget-html { height: auto }
.course-desk .widget-box, .course-desk .widget-html { overflow: visible }
</style>"""


def desk(pairs: Sequence[LabelPair], name: str = "lesson-23") -> "LabellingDesk | HTML":
    """Make the desk at which the reader labels `pairs`; let it be the last expression of a cell.

    It begins at the first pair that has no label yet under this `name`. Two equal answers, and a
    pair that came before, are passed over. Where no labels are kept, as in the book, it is a still
    of the first pair. Raises ValueError if no pairs are left, or where the file is of a newer
    version of the course.
    """
    path, shown = label_path(name), _distinct(pairs)
    if not shown:
        raise ValueError(f"none of {len(pairs)} pairs has two answers that differ")
    if path is None:
        return HTML(_still(shown[0], name))
    course_map.show_controls()
    return LabellingDesk(pairs, path, name)


class LabellingDesk(Explorer):
    """The desk as a widget: `choose(0)`, `choose(1)`, `choose(None)`, `undo()`, `keep_answer()`,
    `export()` are what its buttons do."""

    def __init__(self, pairs: Sequence[LabelPair], path: Path, name: str):
        self.pairs, self.path, self.name = _distinct(pairs), path, name
        self.n_skipped = len(pairs) - len(self.pairs)
        self.asked = widgets.HTML(layout=widgets.Layout(width="auto"))
        self.draft = widgets.Textarea(
            description="Your own answer",
            placeholder="Optional: how would you have answered?",
            continuous_update=False,  # sent when the focus leaves it, before a button is pressed
            layout=widgets.Layout(width="auto", max_width="640px", height="5em"),
            style={"description_width": "initial"},
        )
        rows = [
            {
                "1 · Answer 1 is better": lambda: self.choose(0),
                "2 · Answer 2 is better": lambda: self.choose(1),
                "0 · Can't say": lambda: self.choose(None),
                "u · Undo": self.undo,
            },
            {"Keep my answer": self.keep_answer, "Export": self.export},
        ]
        choices, others = ([_button(*each) for each in row.items()] for row in rows)
        self.buttons = [*choices, *others]
        live = widgets.VBox([self.asked]).add_class("course-desk-live")
        parts = [widgets.HTML(STYLE), live, _row(choices), self.draft, _row(others)]
        super().__init__(parts, _still(self.pairs[0], name))
        self.add_class("course-desk")
        self._show("")

    def choose(self, place: int | None) -> None:
        """Keep a choice: 0 for the answer that is shown first, 1 for the other, None: can't say."""
        self._act(lambda labels, seconds: self._keep_choice(place, seconds))

    def keep_answer(self) -> None:
        """Keep the written answer as a demonstration; the pair stays and may be judged as well."""
        self._act(lambda labels, seconds: self._keep_draft(seconds))

    def undo(self) -> None:
        """Take the last label of the file back; its pair is asked again."""
        self._act(lambda labels, seconds: self._take_back(labels))

    def export(self) -> None:
        """Write all labels in TRL's layout into the working folder."""
        self._act(lambda labels, seconds: self._export(labels))

    def _act(self, action: Callable[[list[Label], float], str]) -> None:
        """Do what a button asks for, with the labels read afresh: another desk may be open.

        What can't be kept is told, and the pair stays.
        """
        seconds = time.monotonic() - self._since
        if seconds < SOONEST:
            return
        said = ""
        try:
            said = action(read_labels(self.path).labels, seconds)
            self._show(said)
        except (OSError, ValueError) as error:
            self.asked.value = _said(f"{said or 'Not kept.'} {error}") + self._question

    def _keep_choice(self, place: int | None, seconds: float) -> str:
        if self.pair is None:
            return "There is no pair left to judge."
        said = ""
        if self.draft.value.strip():  # written for this question, and not kept yet
            said, seconds = self._keep_draft(seconds) + " ", 0.0
        answers = shown_order(self.pair, self.name)
        append_label(self.path, Label(self.pair.question, answers, place, round(seconds, 2)))
        return said + f"Kept: {'can’t say' if place is None else f'answer {place + 1}'}."

    def _keep_draft(self, seconds: float) -> str:
        text = self.draft.value.strip()
        if self.pair is None or not text:
            return "There is no answer of yours to keep: write it first."
        append_label(self.path, Label(self.pair.question, (text,), 0, round(seconds, 2)))
        self.draft.value = ""
        return "Kept: your answer."

    def _take_back(self, labels: list[Label]) -> str:
        if not labels:
            return "There is nothing to take back."
        last = labels[-1]
        append_undo(self.path, last)
        if last.is_demonstration:
            if self.pair and self.pair.question == last.question and not self.draft.value.strip():
                self.draft.value = last.answers[0]
            return f"Taken back: your answer to “{last.question}”"
        what = "can’t say" if last.chosen is None else f"answer {last.chosen + 1}"
        return f"Taken back: {what} to “{last.question}”"

    def _export(self, labels: list[Label]) -> str:
        files = export_labels(labels, self.name)
        written = " and ".join(file.name for file in files)
        return f"Written to the working folder: {written}." if files else "Nothing to export yet."

    def _show(self, said: str) -> None:
        """Show what was done and the first pair without a label, and start the clock."""
        labels, damage = open_labels(self.path)
        judged = {label.key for label in labels}
        self.pair = next((pair for pair in self.pairs if pair.key not in judged), None)
        done = sum(pair.key in judged for pair in self.pairs)
        counts = f"Pairs judged: {done} of {len(self.pairs)}. Answers written: "
        counts += f"{len(demonstrations_of(labels))}."
        if self.n_skipped:
            counts += f" Passed over, since the answers are equal or came before: {self.n_skipped}."
        end = _said("That was the last pair: all are judged.")
        self._question = _pair_html(self.pair, self.name) if self.pair else end
        said = " ".join(filter(None, [said, damage]))
        self.asked.value = _said(said or "Which answer is better?") + _said(counts) + self._question
        self._since = time.monotonic()


def shown_order(pair: LabelPair, name: str) -> tuple[str, str]:
    """Give the two answers in the order in which the desk of this `name` shows them.

    It is drawn for each pair, whichever answer the pair names first, and the same whenever the page
    is opened again.
    """
    drawn = hashlib.sha256(repr((name, pair.key)).encode()).digest()[0] % 2
    first, second = sorted((pair.one, pair.other), reverse=bool(drawn))
    return first, second


def _distinct(pairs: Sequence[LabelPair]) -> list[LabelPair]:
    """Leave out pairs of equal answers, and those that came before."""
    first = {}
    for pair in pairs:
        if pair.one.strip() != pair.other.strip():
            first.setdefault(pair.key, pair)
    return list(first.values())


def _button(name: str, press: Callable[[], None]) -> widgets.Button:
    """A button; what stands before the dot in its name is its key."""
    button = widgets.Button(description=name, layout=widgets.Layout(width="auto"))
    button.on_click(lambda _: press())
    key, dot, _ = name.partition(" · ")
    return button.add_class(f"course-key-{key}") if dot else button


def _row(children: Sequence[widgets.Widget]) -> widgets.HBox:
    return widgets.HBox(children, layout=widgets.Layout(flex_flow="row wrap"))


def _said(text: str) -> str:
    return f'<p style="margin: 4px 0">{html.escape(text)}</p>' if text else ""


def _pair_html(pair: LabelPair, name: str) -> str:
    """The question and both answers, side by side where there is room."""
    answers = "".join(
        f'<div style="flex: 1 1 240px; min-width: 0">{card(_answer_html(number, answer))}</div>'
        for number, answer in enumerate(shown_order(pair, name), 1)
    )
    return (
        f'<p style="margin: 8px 0"><b>{html.escape(pair.question)}</b></p>'
        f'<div style="display: flex; flex-wrap: wrap; gap: 8px; max-width: 720px">{answers}</div>'
    )


def _answer_html(number: int, answer: str) -> str:
    text = html.escape(answer) if answer.strip() else "<i>(nothing was written)</i>"
    style = "white-space: pre-wrap; overflow-wrap: anywhere; min-height: 3em"
    return (
        f'<div style="color: #5a5a5a">Answer {number}</div>'
        f'<div class="course-desk-answer" style="{style}">{text}</div>'
    )


def _still(pair: LabelPair, name: str) -> str:
    """The desk where nothing can be pressed: one pair, and how to get to the others."""
    return (
        f'<div class="course-desk-still">{_pair_html(pair, name)}'
        + _said(
            "Which answer is better? Labelling needs a kernel: open this lesson in JupyterLab and"
            " run this cell, and a desk with buttons stands here."
        )
        + "</div>"
    )
