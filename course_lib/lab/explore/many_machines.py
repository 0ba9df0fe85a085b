"""Figures of lesson 13: who computes what when in a pipeline, and what each rank keeps by ZeRO's
stages."""

import html
from collections.abc import Callable, Mapping, Sequence

from IPython.display import HTML

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, RED, SKY
from course_lib.training.pipeline import (
    Order,
    TimedItem,
    bubble_fraction,
    gpipe_order,
    interleaved_order,
    most_in_flight,
    one_f_one_b_order,
    schedule_times,
)
from course_lib.training.zero import zero_bytes

SVG = 'style="width:100%;max-width:{0}px" font-family="sans-serif" font-size="13"'
WIDTH, LEFT, ROW = 680, 66, 30
# (kind, chunk) -> fill and colour of the number on it
LOOKS = {("F", 0): (BLUE, "white"), ("F", 1): (SKY, BLACK), ("B", 0): (RED, "white")}
LOOKS |= {("B", 1): (ORANGE, BLACK)}

# Pipelines
# --------------------------------------------------------------------------------------------------

SCHEDULES: dict[str, Callable[[int, int, int], Order]] = {
    "GPipe": gpipe_order,
    "1F1B": one_f_one_b_order,
    "interleaved": interleaved_order,
}


def pipeline(
    n_stages: int = 4, microbatches: Sequence[int] = (4, 8, 12, 16), start: tuple[int, int] = (1, 1)
) -> frames.Explorer:
    """Choose a schedule and the number of micro-batches; see who works and who waits."""
    table = [
        [_schedule_card(name, order, n_stages, m) for m in microbatches]
        for name, order in SCHEDULES.items()
    ]
    axes = {"schedule": list(SCHEDULES), "micro-batches": list(microbatches)}
    return frames.grid(table, axes, start=start)


def _schedule_card(name: str, order: Callable[[int, int, int], Order], n: int, m: int) -> str:
    orders = [order(stage, n, m) for stage in range(n)]
    timed = schedule_times(orders)
    n_chunks = 1 + max(item.item.chunk for item in timed)
    kept = most_in_flight(orders[0]) / n_chunks
    told = (
        f"{name}, {m} micro-batches: the stages idle {bubble_fraction(timed):.0%} of the time;"
        f" stage 0 keeps the activations of up to {kept:g} micro-batches"
    )
    return frames.card(timeline(timed, told))


def timeline(timed: Sequence[TimedItem], told: str, unit: str = "") -> str:
    """Draw items as boxes, a row per stage, time to the right; `told` is written below, a line for
    each part between semicolons.

    Forward is blue, backward red, a second chunk of a stage paler. With a `unit` ("s") the length
    of the whole is written at its end.
    """
    n_stages, begin = 1 + max(t.stage for t in timed), min(t.begin for t in timed)
    whole = max(t.end for t in timed) - begin
    scale, marks = (WIDTH - LEFT - 6) / whole, ""
    for stage in range(n_stages):
        y = 6 + ROW * stage
        marks += f'<text x="0" y="{y + 17}">stage {stage}</text>'
        marks += f'<rect x="{LEFT}" y="{y}" width="{WIDTH - LEFT - 6}" height="24" fill="#eeeae0"/>'
    for t in timed:
        marks += _box(t, LEFT + scale * (t.begin - begin), scale * (t.end - t.begin))
    bottom = 6 + ROW * n_stages
    length = f" ({whole:.2f} {unit} in all)" if unit else ""
    written = [html.escape(part) for part in (told + length).split("; ")]
    for i, line in enumerate(written):
        marks += f'<text x="0" y="{bottom + 16 + 18 * i}">{line}</text>'
    height = bottom + 6 + 18 * len(written)
    return (
        f'<svg role="img" aria-label="{"; ".join(written)}" viewBox="0 0 {WIDTH} {height}"'
        f" {SVG.format(WIDTH)}>{marks}</svg>"
    )


def _box(timed: TimedItem, x: float, width: float) -> str:
    fill, ink = LOOKS[timed.item.kind, min(timed.item.chunk, 1)]
    y = 6 + ROW * timed.stage
    number = (
        f'<text x="{x + width / 2:.1f}" y="{y + 16}" text-anchor="middle" font-size="11"'
        f' fill="{ink}">{timed.item.microbatch}</text>'
        if width > 2 + 7 * len(str(timed.item.microbatch))
        else ""
    )
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{fill}"'
        f' stroke="white"/>{number}'
    )


def timelines(drawn: Mapping[str, Sequence[TimedItem]], unit: str = "") -> HTML:
    """Show several timelines below each other, each with its name and its share of idleness."""
    cards = [
        timeline(timed, f"{name}: idle {bubble_fraction(timed):.0%} of the time", unit)
        for name, timed in drawn.items()
    ]
    return HTML(frames.card("<br>".join(cards)))


# The ring
# --------------------------------------------------------------------------------------------------

Held = list[list[list[int]]]  # whose numbers are summed in each piece, by rank and piece


def ring_turns(n_ranks: int) -> list[Held]:
    """What every rank holds of each piece before the first turn of a ring all-reduce and after each
    one.

    >>> [held[0] for held in ring_turns(2)]
    [[[0], [0]], [[0], [0, 1]], [[0, 1], [0, 1]]]
    """
    held = [[[rank] for _ in range(n_ranks)] for rank in range(n_ranks)]
    turns = [held]
    for turn in range(2 * (n_ranks - 1)):
        before, held = held, [list(row) for row in held]
        for rank in range(n_ranks):
            piece = arriving_piece(rank, turn, n_ranks)
            own = before[rank][piece] if turn < n_ranks - 1 else []
            held[rank][piece] = sorted(own + before[rank - 1][piece])
        turns.append(held)
    return turns


def arriving_piece(rank: int, turn: int, n_ranks: int) -> int:
    """The piece that comes to a rank in this turn (from 0)."""
    return (rank - 1 - turn) % n_ranks


def ring(n_ranks: int = 4) -> frames.Explorer:
    """Slide the turns of a ring all-reduce; see the sums grow, and the complete ones go round."""
    turns = ring_turns(n_ranks)
    cards = [_ring_card(held, turn, n_ranks) for turn, held in enumerate(turns)]
    return frames.slideshow(cards, range(len(turns)), "turns", start=n_ranks - 1, interval=1500)


def _ring_card(held: Held, turn: int, n: int) -> str:
    """Draw a table of ranks and pieces after `turn` turns."""
    wide, marks, complete = (WIDTH - LEFT - 6) / n, "", 0
    for piece in range(n):
        x = LEFT + wide * (piece + 0.5)
        marks += f'<text x="{x:.1f}" y="14" text-anchor="middle">piece {piece}</text>'
    for rank, row in enumerate(held):
        y = 22 + ROW * rank
        marks += f'<text x="0" y="{y + 17}">rank {rank}</text>'
        for piece, summed in enumerate(row):
            complete += len(summed) == n
            came = turn > 0 and piece == arriving_piece(rank, turn - 1, n)
            marks += _ring_cell(LEFT + wide * piece, y, wide - 6, summed, n, came)
    kind = "adding" if turn < n else "replacing"
    told = f"after turn {turn} ({kind})" if turn else "before the first turn"
    told += f": {complete} of {n * n} pieces are complete"
    bottom = 22 + ROW * n
    return frames.card(
        f'<svg role="img" aria-label="{told}" viewBox="0 0 {WIDTH} {bottom + 24}"'
        f' {SVG.format(WIDTH)} fill="{BLACK}">{marks}<text x="0" y="{bottom + 16}">{told}</text>'
        "</svg>"
    )


def _ring_cell(x: float, y: int, width: float, summed: Sequence[int], n: int, came: bool) -> str:
    whole = len(summed) == n
    fill = GREEN if whole else SKY if len(summed) > 1 else "#eeeae0"
    frame = f' stroke="{BLACK}" stroke-width="3"' if came else ""
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="24" fill="{fill}"{frame}/>'
        f'<text x="{x + width / 2:.1f}" y="{y + 17}" text-anchor="middle"'
        f' fill="{"white" if whole else BLACK}">'
        f"{' + '.join(map(str, summed))}</text>"
    )


# ZeRO
# --------------------------------------------------------------------------------------------------

KEPT = {"weights": (BLUE, "white"), "gradients": (ORANGE, BLACK), "optimizer": (GREEN, "white")}


def zero(
    n_parameters: int,
    ranks: Sequence[int] = (1, 2, 4, 8, 16, 64, 512),
    memory: float = 80e9,
    start: int = 3,
) -> frames.Explorer:
    """Slide the number of ranks; see what each keeps at each stage of ZeRO, and whether it fits."""
    pictures = [_zero_card(n_parameters, n, memory) for n in ranks]
    return frames.slideshow(pictures, ranks, "ranks", start=start)


def kept_parts(stage: int, n_parameters: int, n_ranks: int) -> dict[str, float]:
    """The bytes of weights, gradients and optimizer that a rank keeps, by name."""
    sizes = {"weights": (2, 0, 0), "gradients": (0, 2, 0), "optimizer": (0, 0, 12)}
    return {name: zero_bytes(stage, n_parameters, n_ranks, *size) for name, size in sizes.items()}


def _zero_card(n_parameters: int, n_ranks: int, memory: float) -> str:
    whole, marks, told = 16 * n_parameters, "", []
    scale = (WIDTH - LEFT - 80) / max(whole, memory)
    for stage in range(4):
        x, y, parts = LEFT, 26 + ROW * stage, kept_parts(stage, n_parameters, n_ranks)
        total = sum(parts.values())
        marks += f'<text x="0" y="{y + 17}">stage {stage}</text>'
        for name, size in parts.items():
            fill = KEPT[name][0]
            marks += f'<rect x="{x:.1f}" y="{y}" width="{scale * size:.1f}" height="24"'
            marks += f' fill="{fill}" stroke="white"/>'
            x += scale * size
        look = f'fill="{RED}" font-weight="bold"' if total > memory else f'fill="{BLACK}"'
        marks += f'<text x="{x + 6:.1f}" y="{y + 17}" {look}>{total / 1e9:.1f} GB</text>'
        told.append(f"stage {stage} keeps {total / 1e9:.1f} GB")
    return frames.card(_with_legend(marks, LEFT + scale * memory, memory, n_ranks, told))


def _with_legend(marks: str, line: float, memory: float, n_ranks: int, told: Sequence[str]) -> str:
    """Add the line of the memory that a GPU has, and what the colours mean."""
    bottom = 26 + ROW * 4
    marks += f'<path d="M{line:.1f} 16V{bottom}" stroke="{BLACK}" stroke-dasharray="5 3"/>'
    marks += f'<text x="{line:.1f}" y="12" text-anchor="middle">{memory / 1e9:.0f} GB</text>'
    for i, (name, (fill, _)) in enumerate(KEPT.items()):
        x = LEFT + 120 * i
        marks += f'<rect x="{x}" y="{bottom + 6}" width="14" height="14" fill="{fill}"/>'
        marks += f'<text x="{x + 20}" y="{bottom + 18}" fill="{BLACK}">{name}</text>'
    label = f"{n_ranks} ranks: {', '.join(told)}; a GPU has {memory / 1e9:.0f} GB"
    marks += (
        f'<text x="{LEFT + 370}" y="{bottom + 18}" fill="{GREY}">per rank, {n_ranks} ranks</text>'
    )
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {WIDTH} {bottom + 28}"'
        f" {SVG.format(WIDTH)}>{marks}</svg>"
    )
