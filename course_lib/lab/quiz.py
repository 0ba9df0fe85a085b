"""Questions with feedback for every option, light and kernel-free: they work live and in the static
book."""

import hashlib
import html
from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import display

from course_lib.lab import progress

STYLE = """<style>
.course-quiz, .course-quiz .widget-radio-box { height: auto; max-height: none; width: 100% }
.course-quiz .widget-radio-box label { display: block; position: relative; height: auto;
  margin: 0 0 7px; padding-left: 26px; white-space: normal; font-size: 14px; line-height: 1.45;
  cursor: pointer;
  color: var(--pst-color-text-base, var(--jp-ui-font-color1, inherit)) }
.course-quiz .widget-radio-box input { position: absolute; left: 2px; top: 0.1em; margin: 0 }
</style>"""  # ipywidgets by itself gives each option one line of fixed height


def choice(key: str, question: str, options: Sequence[tuple[str, bool, str]]) -> None:
    """Ask a question with several options, `(text, right, feedback)`, of which exactly one is
    right.

    `key` names the question in the record of progress, for example "q-merge". Choosing shows the
    option's feedback. The options are shown in an order that looks random and is always the same.
    """
    require_fair(key, options)
    options = shuffled(key, options)
    texts = [text for text, _, _ in options]
    heading = f'<b style="font-size: 14px; line-height: 1.5">{html.escape(question)}</b>'
    radio = widgets.RadioButtons(
        options=texts, index=None, layout=widgets.Layout(width="100%")
    ).add_class("course-quiz")
    stack = widgets.Stack(
        [widgets.HTML(_feedback(right, said)) for _, right, said in options], selected_index=None
    )
    widgets.jslink((radio, "index"), (stack, "selected_index"))
    radio.observe(lambda change: _record(key, question, options, change.new), "index")
    layout = widgets.Layout(
        border="1px solid #b9b4a7",
        padding="8px 14px",
        margin="6px 0",
        width="auto",
        max_width="720px",
    )
    box = widgets.VBox([widgets.HTML(STYLE + heading), radio, stack], layout=layout)
    plain = "\n".join([question, *(f"  ( ) {text}" for text in texts)])
    still = heading + "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"
    display(box._repr_mimebundle_() | {"text/plain": plain, "text/html": still}, raw=True)


def shuffled(key: str, options: Sequence[tuple[str, bool, str]]) -> list[tuple[str, bool, str]]:
    """Order the options by a hash of their texts: the place of the right one tells nothing, and a
    notebook that is built twice is the same."""
    return sorted(
        options, key=lambda option: hashlib.sha256(f"{key}/{option[0]}".encode()).digest()
    )


def _record(
    key: str, question: str, options: Sequence[tuple[str, bool, str]], chosen: int | None
) -> None:
    if chosen is not None:
        progress.answered(key, question, options[chosen][1])


def require_fair(key: str, options: Sequence[tuple[str, bool, str]]) -> None:
    right = sum(bool(correct) for _, correct, _ in options)
    if right != 1 or len(options) < 2:
        raise ValueError(
            f"quiz {key!r} has {len(options)} options, {right} of them right; at least 2 and"
            " exactly 1 are needed"
        )
    if len({text for text, _, _ in options}) != len(options):
        raise ValueError(f"quiz {key!r} offers the same option twice")
    for text, _, said in options:
        if not said.strip():
            raise ValueError(f"quiz {key!r}: option {text!r} has no feedback")


def _feedback(right: bool, said: str) -> str:
    """The answer to one option, told by words and not by colour alone."""
    colour, verdict = ("#0a6b58", "Right.") if right else ("#a34700", "Not quite.")
    return (
        '<div role="status" style="background-color: #ffffff; color: #222222; border-left: 4px'
        f' solid {colour}; padding: 6px 12px; line-height: 1.5"><b style="color:'
        f' {colour}">{verdict}</b> {html.escape(said)}</div>'
    )
