"""Figures of lesson 26: a filter with its rules on and off, and the stages of R1 one by one."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY

ROW = 'style="background-color: #ffffff; color: #222222"'
DROPPED_ROW = 'style="background-color: #f4f2ec; color: #5a5a5a"'
CELL = "padding: 2px 10px 2px 0; text-align: left; vertical-align: top"
KEPT, DROPPED = "#0a6b58", "#9c3f77"  # dark enough for text on white
ONE_EACH = "one per question"

# --------------------------------------------------------------------------------------------------
# The filter
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SiftedAnswer:
    """One of the answers to a question, and which rules it breaks."""

    question: str
    text: str
    faults: frozenset[str]


def filter_rules(
    answers: Sequence[SiftedAnswer], rules: Sequence[str], shown: Sequence[int]
) -> frames.Explorer:
    """Turn the rules of a filter on and off; see which answers pass, and what they are like.

    The last switch keeps one answer per question. `shown` numbers the answers that are listed; the
    counts are of all. Raises ValueError if an answer breaks a rule that is not among `rules`.
    """
    if unknown := {fault for answer in answers for fault in answer.faults} - set(rules):
        raise ValueError(f"no rule {', '.join(sorted(unknown))}; there are {', '.join(rules)}")

    def frame(setting: tuple[bool, ...]) -> str:
        on = {name for name, is_on in zip([*rules, ONE_EACH], setting, strict=True) if is_on}
        return _filtered(answers, rules, on, shown)

    names = [*rules, ONE_EACH]
    return frames.switches(frame, names, start=(True,) * len(names))


def verdicts_under(
    answers: Sequence[SiftedAnswer], rules: Sequence[str], on: set[str]
) -> list[str | None]:
    """Name the first broken rule of those that are on, per answer; None for a kept one."""
    found: list[str | None] = []
    done: set[str] = set()
    for answer in answers:
        broken = next((name for name in rules if name in on and name in answer.faults), None)
        if broken is None and ONE_EACH in on and answer.question in done:
            broken = ONE_EACH
        done |= {answer.question} if broken is None else set()
        found.append(broken)
    return found


def _filtered(
    answers: Sequence[SiftedAnswer], rules: Sequence[str], on: set[str], shown: Sequence[int]
) -> str:
    """Draw the counts of a setting, above the listed answers."""
    verdicts = verdicts_under(answers, rules, on)
    kept = [answer for answer, broken in zip(answers, verdicts, strict=True) if broken is None]
    questions = len({answer.question for answer in kept})
    counts = "; ".join(
        f"{name}: {sum(name in answer.faults for answer in kept):,}" for name in rules
    )
    rows = "".join(_sifted_row(answers[i], verdicts[i]) for i in shown)
    return frames.card(
        f"<div><b>Kept: {len(kept):,} of {len(answers):,} answers, to {questions:,} questions."
        f"</b></div><div>Among the kept that break a rule: {counts}.</div>"
        f'<div style="overflow-x: auto"><table style="border-collapse: collapse">{rows}</table>'
        f"</div>"
    )


def _sifted_row(answer: SiftedAnswer, broken: str | None) -> str:
    verdict = "kept" if broken is None else f"dropped: {broken}"
    colour, row = (KEPT, ROW) if broken is None else (DROPPED, DROPPED_ROW)
    return (
        f'<tr {row}><td style="{CELL}; color: {colour}; white-space: nowrap">{verdict}</td>'
        f'<td style="{CELL}"><code>{html.escape(answer.question)}</code></td>'
        f'<td style="{CELL}; max-width: 460px"><code style="white-space: normal">'
        f"{html.escape(answer.text)}</code></td></tr>"
    )


# --------------------------------------------------------------------------------------------------
# The stages
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StageView:
    """What a stage learns from, its measures as shares, and what it says to some questions."""

    about: str
    measures: Mapping[str, float]
    answers: Sequence[tuple[str, str]]


def stages(views: Mapping[str, StageView], start: int = 0) -> frames.Explorer:
    """Choose a stage of the pipeline: what it learnt from, its measures, its answers."""
    return frames.choose([_stage(view) for view in views.values()], list(views), "stage", start)


def _stage(view: StageView) -> str:
    bars = "".join(
        _bar(number, name, share) for number, (name, share) in enumerate(view.measures.items())
    )
    label = html.escape(
        ", ".join(f"{name} {share:.0%}" for name, share in view.measures.items()), quote=True
    )
    height = 20 * len(view.measures)
    rows = "".join(
        f'<tr {ROW}><td style="{CELL}"><code>{html.escape(question)}</code></td>'
        f'<td style="{CELL}; max-width: 460px"><code style="white-space: normal">'
        f"{html.escape(text)}</code></td></tr>"
        for question, text in view.answers
    )
    return frames.card(
        f"<div>{html.escape(view.about)}</div>"
        f'<svg role="img" aria-label="{label}" viewBox="0 0 480 {height}"'
        f' style="width:100%;max-width:480px" font-family="sans-serif" font-size="12"'
        f' fill="{BLACK}">{bars}</svg>'
        f'<div style="overflow-x: auto; min-height: 12em"><table style="border-collapse: collapse">'
        f"{rows}</table></div>"
    )


def _bar(number: int, name: str, share: float) -> str:
    y = 20 * number
    return (
        f'<text x="0" y="{y + 14}">{html.escape(name)}</text>'
        f'<rect x="190" y="{y + 3}" width="240" height="13" fill="none" stroke="{GREY}"/>'
        f'<rect x="190" y="{y + 3}" width="{240 * share:.1f}" height="13" fill="{BLUE}"/>'
        f'<text x="440" y="{y + 14}">{share:.0%}</text>'
    )
