"""Figures of lesson 32: ratios that drift as a policy moves off its samples, and a cut
distribution."""

import html
from collections.abc import Mapping, Sequence

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE, GREY, RED

WIDTH = 640
SVG = f'style="width:100%;max-width:{WIDTH}px" font-family="sans-serif" font-size="12"'
EDGES = (0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95, 1.05, 1.28, 1.6, 2.0, 3.0, 5.0)
CHANCES = {"7": 0.46, "8": 0.27, "6": 0.14, "3": 0.07, "1": 0.04, "0": 0.02}
CLIP = (0.8, 1.28)


def staleness(ratios: Mapping[int, Sequence[float]]) -> frames.Explorer:
    """Slide how many updates the policy is ahead of the samples; see the ratios of their tokens
    leave 1, and how many are out of the clip."""
    updates = list(ratios)
    pictures = [_spread(count, ratios[count]) for count in updates]
    return frames.slideshow(pictures, updates, "updates", start=len(updates) - 1)


def ratio_shares(ratios: Sequence[float]) -> list[float]:
    """Give the share of ratios between neighbours of `EDGES`; the last holds all above it."""
    ends = [*EDGES[1:], float("inf")]
    counts = [sum(low <= r < high for r in ratios) for low, high in zip(EDGES, ends, strict=True)]
    return [count / len(ratios) for count in counts]


def _spread(updates: int, ratios: Sequence[float]) -> str:
    shares = ratio_shares(ratios)
    outside = sum(not CLIP[0] <= r <= CLIP[1] for r in ratios) / len(ratios)
    names = [f"{low:g}–{high:g}" for low, high in zip(EDGES, EDGES[1:], strict=False)]
    names.append(f"{EDGES[-1]:g} up")
    marks = ""
    for i, (share, name, low) in enumerate(zip(shares, names, EDGES, strict=True)):
        x, height = 8 + 48 * i, 180 * share
        colour = BLUE if CLIP[0] <= low < CLIP[1] else RED
        marks += (
            f'<rect x="{x}" y="{200 - height:.1f}" width="42" height="{height:.1f}"'
            f' fill="{colour}"/><text x="{x + 21}" y="{194 - height:.1f}" text-anchor="middle">'
            f'{share:.0%}</text><text x="{x + 21}" y="216" text-anchor="middle" font-size="9.5">'
            f"{name}</text>"
        )
    marks += f'<path d="M4 200H{WIDTH - 4}" stroke="{GREY}"/>'
    marks += f'<text x="{WIDTH - 8}" y="234" text-anchor="end">policy ratio of a token</text>'
    told = f"{updates} updates after sampling: {outside:.0%} of the tokens are outside of the clip"
    label = f"{told}. Shares by ratio: " + ", ".join(
        f"{name} {share:.0%}" for name, share in zip(names, shares, strict=True)
    )
    return _card(told + " (red)", label, marks, 240)


def nucleus() -> frames.Explorer:
    """Slide the top-p of the sampler, and switch the mask between lost and kept; see the ratio that
    the trainer finds although nothing has been learnt."""
    cuts = [1.0, 0.9, 0.8, 0.7, 0.5, 0.4]
    pictures = [[_cut(top_p, kept) for top_p in cuts] for kept in (False, True)]
    names = {"mask": ["lost", "kept"], "top-p": [f"{top_p:g}" for top_p in cuts]}
    return frames.grid(pictures, names, start=(0, 3))


def nucleus_ratio(top_p: float, kept: bool) -> tuple[list[str], float]:
    """Give the tokens that a cut leaves, and policy / sampler of each of them, on policy."""
    left, total = [], 0.0
    for token, chance in CHANCES.items():
        if total < top_p - 1e-9:
            left.append(token)
            total += chance
    return left, 1.0 if kept else total


def _cut(top_p: float, kept: bool) -> str:
    left, ratio = nucleus_ratio(top_p, kept)
    mass = nucleus_ratio(top_p, False)[1]
    marks = ""
    for i, (token, chance) in enumerate(CHANCES.items()):
        x, inside = 30 + 100 * i, token in left
        sampler = chance / mass if inside else 0.0
        policy = sampler if kept else chance
        for step, (height, colour) in enumerate(((sampler, BLUE), (policy, RED))):
            at = x + 36 * step
            marks += (
                f'<rect x="{at}" y="{200 - 170 * height:.1f}" width="30"'
                f' height="{170 * height:.1f}" fill="{colour}"/><text x="{at + 15}"'
                f' y="{195 - 170 * height:.1f}" text-anchor="middle">{height:.2f}</text>'
            )
        weight = "bold" if inside else "normal"
        marks += (
            f'<text x="{x + 33}" y="218" text-anchor="middle" font-weight="{weight}">'
            f'"{token}"</text>'
        )
    marks += f'<path d="M4 200H{WIDTH - 4}" stroke="{GREY}"/>'
    stops = "a bad answer's token gets no gradient" if ratio < CLIP[0] else "inside of the clip"
    told = (
        f"top-p {top_p:g}, mask {'kept' if kept else 'lost'}: {len(left)} of {len(CHANCES)} tokens"
        f" are left; the ratio of each is {ratio:.2f}: {stops}"
    )
    label = f"{told}. The sampler draws {', '.join(left)}."
    return _card(told + ". Blue: sampler, red: as the trainer reads it.", label, marks, 226)


def _card(told: str, label: str, marks: str, height: int) -> str:
    svg = (
        f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
        f' viewBox="0 0 {WIDTH} {height}" {SVG} fill="{BLACK}">{marks}</svg>'
    )
    return frames.card(f"<div>{html.escape(told)}</div>" + svg)
