"""Figures of lesson 25: answers of a policy while it practises, and a search try by try."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, RED
from course_lib.tasks.countdown import SearchTry, find_tries
from course_lib.text.problems import SearchProblem, sign_choices, signed_expression

ROW = 'style="background-color: #ffffff; color: #222222"'
YES = "#0a6b58"  # green, dark enough for text on white
CELL = "padding: 2px 10px 2px 0; text-align: left; vertical-align: top"

# --------------------------------------------------------------------------------------------------
# Practice, step by step
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RatedAnswer:
    """An answer met in practice, and what the rules and a count say of it."""

    question: str
    text: str
    right: bool
    formed: bool
    worked: bool


def practice(
    curves: Mapping[str, Sequence[float]],
    answers: Mapping[int, Sequence[RatedAnswer]],
    start: int = 0,
) -> frames.Explorer:
    """Slide through the steps of a run; see its curves up to there and answers of that step.

    `curves` holds a value per step, `answers` those of the kept steps. `start` counts these.
    """
    pictures = [_practice(curves, step, some) for step, some in answers.items()]
    return frames.slideshow(pictures, list(answers), name="step", start=start, interval=1800)


def _practice(
    curves: Mapping[str, Sequence[float]], step: int, answers: Sequence[RatedAnswer]
) -> str:
    """Draw the curves with this step marked, above its answers."""
    panels = "".join(
        _panel(name, values, step, 215 * number)
        for number, (name, values) in enumerate(curves.items())
    )
    now = ", ".join(f"{name} {values[step - 1]:.3g}" for name, values in curves.items())
    label = html.escape(f"Step {step}: {now}.", quote=True)
    rows = "".join(_answer_row(answer) for answer in answers)
    heads = "".join(
        f'<th style="{CELL}">{name}</th>'
        for name in ("question", "answer", "right", "form", "shows work")
    )
    return frames.card(
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {215 * len(curves)} 118"'
        f' style="width:100%;max-width:{215 * len(curves)}px" font-family="sans-serif"'
        f' font-size="12" fill="{BLACK}">{panels}</svg>'
        f'<div style="overflow-x: auto; min-height: 17em"><table style="border-collapse: collapse">'
        f"<tr {ROW}>{heads}</tr>{rows}</table></div>"
    )


def _panel(name: str, values: Sequence[float], step: int, left: int) -> str:
    """Draw one curve: grey where it will go, blue up to this step."""
    top = 1.0 if max(values) <= 1 else max(values)
    points = [
        (left + 8 + 190 * i / (len(values) - 1), 100 - 70 * value / top)
        for i, value in enumerate(values)
    ]
    paths = [" ".join(f"{x:.1f},{y:.1f}" for x, y in some) for some in (points, points[:step])]
    x, y = points[step - 1]
    return (
        f'<text x="{left + 8}" y="16" font-weight="bold">{name}: {values[step - 1]:.3g}</text>'
        f'<path d="M{left + 8} 100H{left + 198}" stroke="{GREY}"/>'
        f'<polyline points="{paths[0]}" fill="none" stroke="#cfcfcf" stroke-width="1.5"/>'
        f'<polyline points="{paths[1]}" fill="none" stroke="{BLUE}" stroke-width="2.5"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{RED}"/>'
        f'<text x="{left + 8}" y="114" font-size="10">1</text>'
        f'<text x="{left + 198}" y="114" font-size="10" text-anchor="end">step {len(values)}</text>'
    )


def _answer_row(answer: RatedAnswer) -> str:
    marks = "".join(
        f'<td style="{CELL}; color: {YES if yes else RED}">{"yes" if yes else "no"}</td>'
        for yes in (answer.right, answer.formed, answer.worked)
    )
    return (
        f'<tr {ROW}><td style="{CELL}"><code>{html.escape(answer.question)}</code></td>'
        f'<td style="{CELL}; max-width: 440px"><code style="white-space: normal">'
        f"{html.escape(answer.text)}</code></td>{marks}</tr>"
    )


# --------------------------------------------------------------------------------------------------
# A search, try by try
# --------------------------------------------------------------------------------------------------


def tries(
    answers: Mapping[str, tuple[SearchProblem, str]],
    most: int = 14,
    start: tuple[int, int] = (0, 0),
) -> frames.Explorer:
    """Choose an answer and slide through its tries; see which choices of signs it has met.

    Of an answer with more than `most` tries the rest are only counted. Shorter ones end early.
    """
    pictures = [
        [_search(problem, text, min(shown, len(find_tries(text)))) for shown in range(1, most + 1)]
        for problem, text in answers.values()
    ]
    return frames.grid(pictures, {"answer": list(answers), "try": range(1, most + 1)}, start)


def _search(problem: SearchProblem, text: str, shown: int) -> str:
    """Draw the board of all choices after `shown` tries, and the last of these."""
    found = find_tries(text)
    seen = found[:shown]
    counts = Counter(_signed(one) for one in seen)
    own = {signed_expression(problem.numbers, s): v for s, v in sign_choices(problem.numbers)}
    strange = sum(count for expression, count in counts.items() if expression not in own)
    now = _signed(seen[-1]) if seen else ""
    boxes = "".join(
        _choice(expression, value, counts[expression], expression == now, problem.target)
        for expression, value in own.items()
    )
    met = sum(expression in counts for expression in own)
    told = (
        f"After try {shown} of {len(found)}: {met} of {len(own)} choices met;"
        f" repeats: {shown - met - strange}; tries with other numbers: {strange}."
    )
    return frames.card(
        f"<div><b>{html.escape(problem.question)}</b></div>"
        f'<div style="display: flex; flex-wrap: wrap; gap: 5px; margin: 8px 0; max-width: 660px">'
        f"{boxes}</div>"
        f'<div style="min-height: 3.2em">{_say(seen[-1], problem) if seen else "no try"}</div>'
        f"<div>{told}</div>"
        f'<div style="min-height: 3em">{_end(text, problem) if shown == len(found) else ""}</div>'
    )


def _signed(one: SearchTry) -> str:
    return str(one.terms[0]) + "".join(f"{term:+d}" for term in one.terms[1:])


def _choice(expression: str, value: int, count: int, now: bool, target: int) -> str:
    """Draw one choice of signs: tried or not, how often, and whether it solves the puzzle."""
    fill = "#f2f0ea" if not count else "#cfe3f2" if count == 1 else "#f6d9b0"
    line = f"3px solid {RED}" if now else f"1px solid {GREEN if value == target else '#cfcbc0'}"
    times = f" &times;{count}" if count > 1 else ""
    star = " &#9733;" if value == target else ""
    return (
        f'<div style="background: {fill}; color: {BLACK}; outline: {line}; padding: 2px 6px;'
        f' border-radius: 4px; min-width: 128px; font-size: 12px"><code>{expression}={value}</code>'
        f"{star}{times}</div>"
    )


def _say(one: SearchTry, problem: SearchProblem) -> str:
    """Say what a try says, and what is wrong with it."""
    faults = []
    if one.numbers != problem.numbers:
        faults.append("not the puzzle's numbers")
    if not one.is_right_sum:
        faults.append(f"wrong sum, it makes {sum(one.terms)}")
    if one.verdict == "yes" and one.says != problem.target:
        faults.append("a false yes")
    if one.verdict == "not" and one.says == problem.target:
        faults.append("a yes that was missed")
    fault = f' <b style="color: {RED}">{"; ".join(faults)}</b>' if faults else ""
    return (
        f"The try: <code>{_signed(one)}</code>, said to make {one.says},"
        f" verdict: {one.verdict or 'none'}.{fault}"
    )


def _end(text: str, problem: SearchProblem) -> str:
    """Give the end of the answer, behind its last thought."""
    last = text[-60:].rpartition("</think>")[2] if "</think>" in text else text[-60:]
    return f"The answer ends: <code>{html.escape(last)}</code>"
