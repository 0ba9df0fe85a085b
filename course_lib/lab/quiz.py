"""Questions with feedback for every option, light and kernel-free: they work in a live notebook and in the static book."""

import html
from collections.abc import Sequence

import ipywidgets as widgets
from IPython.display import display

from course_lib.lab import progress


def choice(key: str, question: str, options: Sequence[tuple[str, bool, str]]) -> None:
    """Ask a question with several options, `(text, right, feedback)`, of which exactly one is right.

    `key` names the question in the record of progress, for example "q-merge". Choosing shows the option's feedback.
    """
    _require_fair(key, options)
    texts = [text for text, _, _ in options]
    radio = widgets.RadioButtons(options=texts, index=None, layout=widgets.Layout(width="auto"))
    stack = widgets.Stack([widgets.HTML(_feedback(right, said)) for _, right, said in options], selected_index=None)
    widgets.jslink((radio, "index"), (stack, "selected_index"))
    radio.observe(
        lambda change: change.new is not None and progress.answered(key, question, options[change.new][1]), "index"
    )
    box = widgets.VBox([widgets.HTML(f"<b>{html.escape(question)}</b>"), radio, stack])
    bundle = box._repr_mimebundle_()
    plain = "\n".join([question, *(f"  ( ) {text}" for text in texts)])
    listed = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
    display(bundle | {"text/plain": plain, "text/html": f"<b>{html.escape(question)}</b><ul>{listed}</ul>"}, raw=True)


def _require_fair(key: str, options: Sequence[tuple[str, bool, str]]) -> None:
    right = sum(bool(correct) for _, correct, _ in options)
    if right != 1 or len(options) < 2:
        raise ValueError(
            f"quiz {key!r} has {len(options)} options, {right} of them right; at least 2 and exactly 1 are needed"
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
        f'<div role="status" style="background-color: #ffffff; color: #222222; border-left: 4px solid {colour}; '
        f'padding: 6px 12px; line-height: 1.5"><b style="color: {colour}">{verdict}</b> {html.escape(said)}</div>'
    )
