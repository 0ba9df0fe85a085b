"""Figures of lesson 21: the load of experts and ranks while the bias moves, and DualPipe."""

import html
from collections.abc import Mapping, Sequence

import torch

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, PINK, RED, SKY
from course_lib.layers.moe import max_load_violation
from course_lib.training.dualpipe import PassSeconds, dualpipe_order, dualpipe_times, idle_seconds
from course_lib.training.pipeline import TimedItem, one_f_one_b_order, schedule_times

SVG = 'style="width:100%;max-width:{0}px" font-family="sans-serif" font-size="13"'
WIDTH, LEFT, ROW = 700, 66, 30
RANK_COLOURS = (BLUE, ORANGE, GREEN, PINK)

# Loads
# --------------------------------------------------------------------------------------------------


def expert_loads(
    loads: Mapping[int, Sequence[int]], n_ranks: int = 4, start: int = -1
) -> frames.Explorer:
    """Slide through training steps; see the load of each expert, and of each rank that holds some.

    `loads` holds the visits to each expert, by the step. Neighbours share a rank and a colour.
    """
    most = max(max(load) for load in loads.values())
    pictures = [_loads_card(step, load, n_ranks, most) for step, load in loads.items()]
    return frames.slideshow(pictures, list(loads), name="step", start=start % len(pictures))


def rank_loads(load: Sequence[int], n_ranks: int) -> list[int]:
    """Add up the loads of each rank's experts.

    >>> rank_loads([5, 1, 2, 2], n_ranks=2)
    [6, 4]
    """
    share = len(load) // n_ranks
    return [sum(load[rank * share : (rank + 1) * share]) for rank in range(n_ranks)]


def _loads_card(step: int, load: Sequence[int], n_ranks: int, most: int) -> str:
    height, width, share = 120, (WIDTH - 60) / len(load), len(load) // n_ranks
    fair, marks = sum(load) / len(load), ""
    for expert, count in enumerate(load):
        tall, x = height * count / most, 50 + width * expert
        marks += (
            f'<rect x="{x:.1f}" y="{10 + height - tall:.1f}" width="{width - 4:.1f}"'
            f' height="{tall:.1f}" fill="{RANK_COLOURS[expert // share % 4]}"/>'
            f'<text x="{x + width / 2 - 2:.1f}" y="{26 + height}" text-anchor="middle"'
            f' font-size="11">{expert}</text>'
        )
    y = 10 + height * (1 - fair / most)
    marks += (
        f'<path d="M50 {y:.1f}H{WIDTH - 10}" stroke="{BLACK}" stroke-dasharray="5 3"/>'
        f'<text x="0" y="{y + 4:.1f}">fair</text><text x="0" y="{26 + height}">expert</text>'
    )
    ranks, violation = rank_loads(load, n_ranks), max_load_violation(torch.tensor(load))
    for rank, total in enumerate(ranks):
        x = 50 + width * share * (rank + 0.5)
        marks += (
            f'<text x="{x:.1f}" y="{48 + height}" text-anchor="middle">rank {rank}:'
            f" {total * n_ranks / sum(load):.2f} x fair</text>"
        )
    told = (
        f"Step {step}: the busiest expert has {violation + 1:.1f} times a fair load; the busiest"
        f" rank {max(ranks) * n_ranks / sum(load):.2f} times"
    )
    return frames.card(_svg(marks, told, height + 58))


def _svg(marks: str, told: str, bottom: float) -> str:
    """Put marks into a picture with a line of text below, which is its label too."""
    text = html.escape(told, quote=True)
    return (
        f'<svg role="img" aria-label="{text}" viewBox="0 0 {WIDTH} {bottom + 24:.0f}"'
        f' {SVG.format(WIDTH)} fill="{BLACK}">{marks}<text x="0" y="{bottom + 16:.0f}"'
        f' fill="{BLACK}">{text}</text></svg>'
    )


# Pipelines
# --------------------------------------------------------------------------------------------------

# (kind, direction) -> fill and colour of the number on it
LOOKS = {("F", 0): (BLUE, "white"), ("F", 1): (SKY, BLACK)}
LOOKS |= {("B", 0): (RED, "white"), ("B", 1): (ORANGE, BLACK)}
LOOKS |= {("I", 0): (RED, "white"), ("I", 1): (ORANGE, BLACK), ("W", 0): (GREEN, "white")}
LOOKS |= {("W", 1): (GREEN, "white")}
# seconds of a micro-batch in a stage: input and weight part of backward are as long as forward
PLAIN, OVERLAPPED = PassSeconds(1.0, 2.0, 1.0), PassSeconds(1.0, 2.0, 1.0, 2.5)


def schedules(n_stages: int = 4) -> dict[str, list[TimedItem]]:
    """Time 1F1B and DualPipe for as few micro-batches as DualPipe needs; two ways to overlap."""
    m = 2 * n_stages
    one = schedule_times([one_f_one_b_order(s, n_stages, m) for s in range(n_stages)], 1.0, 2.0)
    dual = [dualpipe_order(stage, n_stages, m) for stage in range(n_stages)]
    return {
        "1F1B": one,
        "DualPipe": dualpipe_times(dual, PLAIN),
        "DualPipe, faster together": dualpipe_times(dual, OVERLAPPED),
    }


def dualpipe(sizes: Sequence[int] = (4, 8), start: tuple[int, int] = (1, 0)) -> frames.Explorer:
    """Choose a schedule and the number of stages; see who works on what, and who waits."""
    tables = {n: schedules(n) for n in sizes}
    names = list(tables[sizes[0]])
    longest = {n: max(t.end for timed in table.values() for t in timed)
               for n, table in tables.items()}  # fmt: skip
    pictures = [
        [_schedule_card(name, tables[n][name], n, longest[n]) for n in sizes] for name in names
    ]
    return frames.grid(pictures, {"schedule": names, "stages": list(sizes)}, start=start)


def _schedule_card(name: str, timed: Sequence[TimedItem], n_stages: int, longest: float) -> str:
    scale, marks = (WIDTH - LEFT - 6) / longest, ""
    for stage in range(n_stages):
        y = 6 + ROW * stage
        marks += f'<text x="0" y="{y + 17}">stage {stage}</text>'
        marks += f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - 6}" height="24" fill="#eeeae0"/>'
    together = {}
    for t in timed:
        together.setdefault((t.stage, t.begin), []).append(t)
    for items in together.values():
        for half, t in enumerate(sorted(items, key=lambda t: t.item.kind != "F")):
            marks += _box(t, scale, half, 24 / len(items))
    idle = max(idle_seconds(timed))
    whole = max(t.end for t in timed)
    told = (
        f"{name}, {2 * n_stages} micro-batches: done after {whole:g} units, a stage idles {idle:g}"
        f" ({idle / whole:.0%})"
    )
    bottom = 6 + ROW * n_stages
    for i, (colour, word) in enumerate(_legend(timed)):
        x = LEFT + 124 * i
        marks += f'<rect x="{x}" y="{bottom + 4}" width="14" height="12" fill="{colour}"/>'
        marks += f'<text x="{x + 20}" y="{bottom + 15}" fill="{GREY}">{word}</text>'
    return frames.card(_svg(marks, told, bottom + 20))


def _legend(timed: Sequence[TimedItem]) -> list[tuple[str, str]]:
    words = {BLUE: "forward, down", SKY: "forward, up", RED: "back, down"}
    words |= {ORANGE: "back, up", GREEN: "weights, later"}
    used = {LOOKS[t.item.kind, t.item.chunk][0] for t in timed}
    plain = {BLUE: "forward", RED: "backward"}
    return [(c, word if len(used) > 2 else plain[c]) for c, word in words.items() if c in used]


def _box(timed: TimedItem, scale: float, half: int, height: float) -> str:
    """Draw one pass; of two at once each has half of the row."""
    fill, ink = LOOKS[timed.item.kind, timed.item.chunk]
    x, width = LEFT + scale * timed.begin, scale * (timed.end - timed.begin)
    y = 6 + ROW * timed.stage + half * height
    size = 11 if height > 12 else 9
    number = (
        f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + size / 2 - 1:.1f}"'
        f' text-anchor="middle" font-size="{size}" fill="{ink}">{timed.item.microbatch}</text>'
        if width > (14 if timed.item.microbatch > 9 else 9)
        else ""
    )
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"'
        f' stroke="white"/>{number}'
    )
