"""Questions with feedback for every option, light and kernel-free: they work live and in the static
book."""

import hashlib
import html
from collections.abc import Callable, Sequence

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
    show(question, shuffled(key, options), lambda right: progress.answered(key, question, right))


def show(
    question: str,
    options: Sequence[tuple[str, bool, str]],
    answered: Callable[[bool], None],
    about: str = "",
) -> None:
    """Show a question whose options are in order; `answered` is told whether a choice was right."""
    texts = [text for text, _, _ in options]
    box, heading = as_box(question, options, answered, about), _heading(question, about)
    still = heading + "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"
    plain = as_plain_text(question, texts)
    display(box._repr_mimebundle_() | {"text/plain": plain, "text/html": still}, raw=True)


def as_box(
    question: str,
    options: Sequence[tuple[str, bool, str]],
    answered: Callable[[bool], None],
    about: str = "",
) -> widgets.VBox:
    """A question as a widget, with a small line `about` it below."""
    radio = widgets.RadioButtons(
        options=[text for text, _, _ in options], index=None, layout=widgets.Layout(width="100%")
    ).add_class("course-quiz")
    stack = widgets.Stack(
        [widgets.HTML(_feedback(right, said)) for _, right, said in options], selected_index=None
    )
    widgets.jslink((radio, "index"), (stack, "selected_index"))
    radio.observe(lambda change: _tell(answered, options, change.new), "index")
    layout = widgets.Layout(
        border="1px solid #b9b4a7",
        padding="8px 14px",
        margin="6px 0",
        width="auto",
        max_width="720px",
    )
    return widgets.VBox(
        [widgets.HTML(STYLE + _heading(question, about)), radio, stack], layout=layout
    )


def as_plain_text(question: str, texts: Sequence[str]) -> str:
    """A question where nothing can be clicked."""
    return "\n".join([question, *(f"  ( ) {text}" for text in texts)])


def _heading(question: str, about: str) -> str:
    heading = f'<b style="font-size: 14px; line-height: 1.5">{html.escape(question)}</b>'
    return heading + (
        f'<br><span style="font-size: 12px">{html.escape(about)}</span>' * bool(about)
    )


def shuffled(key: str, options: Sequence[tuple[str, bool, str]]) -> list[tuple[str, bool, str]]:
    """Order the options by a hash of their texts: the place of the right one tells nothing, and a
    notebook that is built twice is the same."""
    return sorted(
        options, key=lambda option: hashlib.sha256(f"{key}/{option[0]}".encode()).digest()
    )


def _tell(
    answered: Callable[[bool], None], options: Sequence[tuple[str, bool, str]], chosen: int | None
) -> None:
    if chosen is not None:
        answered(options[chosen][1])


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
