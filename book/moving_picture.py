"""Draw the README's moving picture: R1-Zero while it practises, from `data/r1/card.json`.

python book/moving_picture.py
"""

import html
import json
import textwrap
from pathlib import Path

from course_lib.files import write_atomically

ROOT = Path(__file__).parent.parent
CARD, PICTURE = ROOT / "data/r1/card.json", ROOT / "book/images/r1_zero.svg"
WIDTH, HEIGHT = 760, 250
LEFT, TOP, CHART = 52, 46, (270, 150)  # of the chart, in pixels
SECONDS = 2.5  # that an answer is shown
COLUMNS = 42  # of text beside the chart
BLUE, GREEN, RED, INK, GREY = "#0072B2", "#0a6b58", "#a34700", "#222222", "#6b6b6b"


def moving_picture(run: dict) -> str:
    """Give an SVG that shows, step by step, how many sums are right and how one is answered.

    Who asks for less motion sees the last step alone.
    """
    answers = {step: rest for step, *rest in reversed(run["samples"])}  # the first of each step
    frames = [
        f'<g class="frame" style="animation-delay: {i * SECONDS}s">'
        f"{curve(run['curves']['accuracy'], step)}{words(step, *answers[step])}</g>"
        for i, step in enumerate(sorted(answers))
    ]
    return "\n".join([head(len(frames)), axes(len(run["curves"]["accuracy"])), *frames, "</svg>"])


def head(n_frames: int) -> str:
    """The SVG's opening, with the styles that make one frame after the other visible."""
    whole, shown = n_frames * SECONDS, 100 / n_frames
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"
 font-family="Helvetica, Arial, sans-serif" font-size="13" fill="{INK}">
<title>R1-Zero practises: more answers are right, and they begin to show work</title>
<style>
.frame {{ opacity: 0; animation: show {whole}s step-end infinite }}
@keyframes show {{ 0% {{ opacity: 1 }} {shown:.3f}% {{ opacity: 0 }} 100% {{ opacity: 0 }} }}
@media (prefers-reduced-motion: reduce) {{
 .frame {{ animation: none }} .frame:last-of-type {{ opacity: 1 }}
}}
</style>
<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>"""


def axes(n_steps: int) -> str:
    """The frame of the chart: steps of practice, right answers in per cent."""
    width, height = CHART
    ticks = "".join(
        f'<text x="{LEFT - 8}" y="{TOP + height * (1 - y / 100) + 4}" text-anchor="end">{y}</text>'
        f'<path d="M{LEFT} {TOP + height * (1 - y / 100)}h{width}" stroke="#e3e0d8"/>'
        for y in (0, 50, 100)
    )
    return (
        f'<text x="{LEFT}" y="24" font-weight="bold">Right answers (%)</text>{ticks}'
        f'<text x="{LEFT + width}" y="{TOP + height + 22}" text-anchor="end">'
        f"{n_steps} steps of reinforcement learning</text>"
    )


def curve(shares: list[float], step: int) -> str:
    """The share of right answers up to a step, with a dot at its end."""
    width, height = CHART
    points = [
        (LEFT + width * i / (len(shares) - 1), TOP + height * (1 - share))
        for i, share in enumerate(shares[:step])
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return (
        f'<polyline points="{line}" fill="none" stroke="{BLUE}" stroke-width="2"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{BLUE}"/>'
    )


def words(step: int, question: str, answer: str, reward: float) -> str:
    """A question and its answer at a step, beside the chart."""
    lines = textwrap.wrap(answer, COLUMNS, break_long_words=True)
    x, mono = LEFT + CHART[0] + 34, 'font-family="Menlo, Consolas, monospace" font-size="13"'
    spans = "".join(f'<tspan x="{x}" dy="19">{html.escape(line)}</tspan>' for line in lines)
    colour, verdict = (GREEN, "right") if reward >= 1 else (RED, "wrong")
    return (
        f'<text x="{x}" y="24" font-weight="bold">Step {step}</text>'
        f'<text x="{x}" y="{TOP + 14}" {mono}>{html.escape(question)}</text>'
        f'<text x="{x}" y="{TOP + 20}" {mono} fill="{GREY}">{spans}</text>'
        f'<text x="{x}" y="{TOP + 52 + 19 * len(lines)}" fill="{colour}">{verdict}</text>'
    )


if __name__ == "__main__":
    write_atomically(
        PICTURE, moving_picture(json.loads(CARD.read_text(encoding="utf-8"))[0]).encode()
    )
