"""Interactive figures that need no kernel: frames made beforehand, shown one at a time, wired in
the browser alone.

Frames are HTML: `image(fig, alt=...)` makes one from a matplotlib figure, `card(html)` from text or
a table. The same widget works in a live notebook and in the static book.
"""

import base64
import html
import io
from collections.abc import Callable, Mapping, Sequence

import ipywidgets as widgets
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

SHORTEST_ALT = 20
SMALLEST = 0.8  # of its width: letters of 8.5 points are then 9 pixels high


def require_alt(alt: str) -> str:
    """Return the alternative text, or raise if it says too little to stand for a figure."""
    if not isinstance(alt, str) or len(alt.strip()) < SHORTEST_ALT:
        raise ValueError(
            f"alternative text of at least {SHORTEST_ALT} characters is needed, to tell what the"
            f" figure shows to those who cannot see it; got {alt!r}"
        )
    return " ".join(alt.split())


def png(fig: Figure, dpi: int = 160, colours: int = 64) -> tuple[bytes, int]:
    """Draw a figure as a small PNG with few colours and close it; return the bytes and the width to
    show it at."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi)
    plt.close(fig)
    picture = Image.open(buffer).convert("RGB").quantize(colours, dither=Image.Dither.NONE)
    small = io.BytesIO()
    picture.save(small, format="png", optimize=True)
    return small.getvalue(), round(picture.width * 96 / dpi)


def image(fig: Figure, alt: str, dpi: int = 160, colours: int = 64) -> str:
    """Turn a matplotlib figure into an HTML image with alternative text, and close the figure."""
    alt = require_alt(alt)
    return img(*png(fig, dpi, colours), alt)


def img(data: bytes, width: int, alt: str) -> str:
    """An HTML image that carries its own bytes.

    On a narrow screen it shrinks to no less than `SMALLEST` of its width and is moved sideways
    instead: what is written in it can still be read.
    """
    widest = f"max(100%, {round(SMALLEST * width)}px)"
    return (
        f'<img alt="{html.escape(alt, quote=True)}"'
        f' src="data:image/png;base64,{base64.b64encode(data).decode()}" width="{width}"'
        f' style="max-width: {widest}; height: auto; margin: 2px 0; border-radius: 6px">'
    )


def card(content: str) -> str:
    """Put HTML on a light card that reads well in a light and in a dark theme.

    Themes paint the rows of tables: give each `<tr>` in it the style `background-color: #ffffff;
    color: #222222`.
    """
    colours = "background-color: #ffffff; color: #222222; border: 1px solid #d9d5cb"
    return (
        f'<div style="{colours}; border-radius: 6px; padding: 10px 14px; line-height:'
        f' 1.5">{content}</div>'
    )


class Explorer(widgets.VBox):
    """A column of widgets with a still picture of itself for places that show no widgets."""

    def __init__(self, children: Sequence[widgets.Widget], still: str):
        super().__init__(children)
        self.still = still

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        bundle["text/html"] = self.still
        return bundle


def slideshow(
    frames: Sequence[str],
    labels: Sequence[object],
    name: str,
    play: bool = True,
    start: int = 0,
    interval: int = 900,
    below: Sequence[str] = (),
) -> Explorer:
    """Show one frame at a time, chosen by a slider called `name` (and played every `interval`
    milliseconds).

    `start` is the frame that the still shows: choose the one that makes the point alone. `below`
    holds a second half of each frame: equal halves are stored once.
    """
    texts = _labels(frames, labels, start)
    halves = [frames, below] if below else [frames]
    if len(halves[-1]) != len(frames):
        raise ValueError(f"{len(frames)} frames need as many below them, got {len(below)}")
    stacks = [_stack(half, start) for half in halves]
    slider = _slider(texts, name, start)
    for stack in stacks:
        widgets.jslink((slider, "index"), (stack, "selected_index"))
    controls = [slider]
    if play:
        player = widgets.Play(value=start, min=0, max=len(frames) - 1, interval=interval)
        widgets.jslink((player, "value"), (slider, "index"))
        controls.insert(0, player)
    row = widgets.HBox(controls, layout=widgets.Layout(flex_flow="row wrap"))
    return Explorer([row, *stacks], "".join(half[start] for half in halves))


def grid(
    frames: Sequence[Sequence[str]],
    axes: Mapping[str, Sequence[object]],
    start: tuple[int, int] = (0, 0),
) -> Explorer:
    """Show one frame of a table, chosen by two sliders: `axes` gives their two names and labels,
    rows first."""
    if len(axes) != 2:
        raise ValueError(f"a grid has two axes, got {len(axes)}: {list(axes)}")
    (row_name, rows), (column_name, columns) = axes.items()
    row_texts = _labels(frames, rows, start[0])
    column_texts = [_labels(row, columns, start[1]) for row in frames][0]
    inner = [_stack(row, start[1]) for row in frames]
    outer = widgets.Stack(inner, selected_index=start[0])
    width = (  # the two sliders stand below each other
        f"{max(len(row_name), len(column_name)) + 1}ch"
    )
    row_slider = _slider(row_texts, row_name, start[0], width)
    column_slider = _slider(column_texts, column_name, start[1], width)
    widgets.jslink((row_slider, "index"), (outer, "selected_index"))
    for stack in inner:
        widgets.jslink((column_slider, "index"), (stack, "selected_index"))
    return Explorer([row_slider, column_slider, outer], frames[start[0]][start[1]])


def choose(frames: Sequence[str], labels: Sequence[object], name: str, start: int = 0) -> Explorer:
    """Show one frame at a time, chosen by buttons with the labels on them."""
    texts = _labels(frames, labels, start)
    style = widgets.ToggleButtonsStyle(description_width="initial", button_width="auto")
    buttons = widgets.ToggleButtons(options=texts, index=start, description=name, style=style)
    stack = _stack(frames, start)
    widgets.jslink((buttons, "index"), (stack, "selected_index"))
    return Explorer([buttons, stack], frames[start])


def choose_three(
    frames: Sequence[Sequence[Sequence[str]]],
    axes: Mapping[str, Sequence[object]],
    start: tuple[int, int, int] = (0, 0, 0),
) -> Explorer:
    """Show one frame of a cube, chosen by three rows of buttons: `axes` gives their names and
    labels, the outermost first."""
    if len(axes) != 3:
        raise ValueError(f"a cube has three axes, got {len(axes)}: {list(axes)}")
    names, labels = list(axes), list(axes.values())
    _labels(frames, labels[0], start[0])
    for table in frames:
        _labels(table, labels[1], start[1])
        for row in table:
            _labels(row, labels[2], start[2])
    inner = [[_stack(row, start[2]) for row in table] for table in frames]
    middle = [widgets.Stack(table, selected_index=start[1]) for table in inner]
    outer = widgets.Stack(middle, selected_index=start[0])
    linked = [[outer], middle, [stack for table in inner for stack in table]]
    width = f"{max(map(len, names)) + 1}ch"
    rows = [
        _buttons(values, name, index, width)
        for name, values, index in zip(names, labels, start, strict=True)
    ]
    for buttons, stacks in zip(rows, linked, strict=True):
        for stack in stacks:
            widgets.jslink((buttons, "index"), (stack, "selected_index"))
    return Explorer([*rows, outer], frames[start[0]][start[1]][start[2]])


def _buttons(values: Sequence[object], name: str, start: int, width: str) -> widgets.ToggleButtons:
    style = widgets.ToggleButtonsStyle(description_width=width, button_width="auto")
    options = [str(value) for value in values]
    return widgets.ToggleButtons(options=options, index=start, description=name, style=style)


def switches(
    frame: Callable[[tuple[bool, ...]], str], names: Sequence[str], start: Sequence[bool]
) -> Explorer:
    """Show the frame of a setting of switches, each of which is turned on and off by itself.

    `frame(setting)` makes each of the 2 ** len(names) frames, so few names are best.
    """
    if len(names) != len(start) or not 1 <= len(names) <= 5:
        raise ValueError(f"{len(names)} switches, of 1 to 5, need as many starts, got {len(start)}")
    buttons = [
        widgets.ToggleButtons(
            options=["off", "on"],
            index=int(on),
            description=name,
            style=widgets.ToggleButtonsStyle(description_width="initial", button_width="auto"),
        )
        for name, on in zip(names, start, strict=True)
    ]

    def stacked(setting: tuple[bool, ...]) -> widgets.Stack:
        button, first = buttons[len(setting)], int(start[len(setting)])
        both = [(*setting, False), (*setting, True)]
        if len(both[0]) == len(names):
            stack = _stack([frame(each) for each in both], first)
        else:
            stack = widgets.Stack([stacked(each) for each in both], selected_index=first)
        widgets.jslink((button, "index"), (stack, "selected_index"))
        return stack

    row = widgets.HBox(buttons, layout=widgets.Layout(flex_flow="row wrap"))
    return Explorer([row, stacked(())], frame(tuple(map(bool, start))))


def _labels(frames: Sequence[object], labels: Sequence[object], start: int) -> list[str]:
    """Check that frames and labels belong together and return the labels as text."""
    texts = [str(label) for label in labels]
    if len(frames) != len(texts) or not texts:
        raise ValueError(f"{len(frames)} frames need as many labels, got {len(texts)}: {texts}")
    if len(set(texts)) != len(texts):
        raise ValueError(f"labels must differ from each other, got {texts}")
    if not 0 <= start < len(frames):
        raise ValueError(f"start {start} is not the index of one of {len(frames)} frames")
    return texts


def _stack(frames: Sequence[str], start: int) -> widgets.Stack:
    """Put frames on top of each other; an image among them must have alternative text."""
    for i, frame in enumerate(frames):
        if not isinstance(frame, str):
            raise TypeError(
                f"frame {i} is a {type(frame).__name__}, not HTML: make it by image(fig, alt=...)"
                " or card(html)"
            )
        if frame.count("<img") != frame.count('<img alt="') or '<img alt=""' in frame:
            raise ValueError(
                f"frame {i} holds an image without alternative text: make it by image(fig, alt=...)"
            )
    first = widgets.HTML(frames[0], layout=widgets.Layout(width="100%"))
    shown = {frames[0]: first}  # shared, as layout and style are: smaller files
    for frame in frames[1:]:
        if frame not in shown:
            shown[frame] = widgets.HTML(frame, layout=first.layout, style=first.style)
    return widgets.Stack([shown[frame] for frame in frames], selected_index=start)


def _slider(
    texts: list[str], name: str, start: int, width: str = "initial"
) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(
        options=texts,
        index=start,
        description=name,
        continuous_update=True,
        style={"description_width": width},
        layout=widgets.Layout(width="min(460px, 100%)"),
    )
