"""The figures of lesson 09 show the probabilities, the beams and the faults that they claim to."""

import html
import itertools
import math
import re

import pytest
import torch

from course_lib.inference.generate import next_token_probs
from course_lib.lab.explore import output as explore

TREE = {
    "It": (0.5, {"rained": 0.4, "snowed": 0.3, "was": 0.3}),
    "Once": (0.4, {"upon": 0.9, "more": 0.06, "again": 0.04}),
    "Then": (0.1, {"Tom": 0.6, "Mia": 0.3, "it": 0.1}),
}
TOKENS = [" cave", " farm", "<n>", " kite"]


def contexts() -> list[explore.Context]:
    possible = torch.tensor([True, True, False, False])
    flat = explore.Context(
        "… to the", torch.tensor([3]), torch.tensor([2.0, 1.9, 0.0, -1.0]), possible
    )
    steep = explore.Context(
        "… in the", torch.tensor([3]), torch.tensor([6.0, 0.0, 1.0, -1.0]), possible
    )
    return [flat, steep]


def frames_of(widget) -> dict[tuple[str, float], str]:
    """The frames of `knobs` by knob and temperature."""
    rows = [[frame.value for frame in row.children] for row in widget.children[-1].children]
    return {
        (name, heat): frame
        for name, row in zip(explore.KNOBS, rows, strict=True)
        for heat, frame in zip(explore.TEMPERATURES, row, strict=True)
    }


def test_knobs_draws_the_probabilities_of_the_library():
    widget = explore.knobs(contexts(), TOKENS, start=("top-k 3", 1.5), shown=4)
    drawn = frames_of(widget)
    assert len(drawn) == len(explore.KNOBS) * len(explore.TEMPERATURES)
    assert widget.still == drawn["top-k 3", 1.5]
    for (name, heat), frame in drawn.items():
        for context in contexts():
            want = next_token_probs(context.logits, heat, ids=context.ids, **explore.KNOBS[name])
            junk = want[2:].sum().item()
            told = (
                f"After {context.words}: {(want > 0).sum()} of 4 tokens left, impossible ones hold"
                f" {junk:.1%}"
            )
            assert told in html.unescape(re.search('aria-label="([^"]*)"', frame)[1])


def test_bars_are_as_long_as_the_probabilities():
    frame = frames_of(explore.knobs(contexts(), TOKENS, start=("none", 1.0), shown=4))["none", 1.0]
    widths = [float(width) for width in re.findall(r'<rect x="90" y="\d+" width="([\d.]+)"', frame)]
    for bars, context in zip((widths[:4], widths[4:]), contexts(), strict=True):
        want = context.logits.softmax(-1).sort(descending=True).values
        assert (torch.tensor(bars) / sum(bars)).tolist() == pytest.approx(want.tolist(), abs=2e-3)


def test_what_is_ruled_out_is_crossed_out_and_what_is_impossible_is_hollow():
    drawn = frames_of(explore.knobs(contexts()[:1], TOKENS, start=("none", 1.0), shown=4))
    assert (
        drawn["none", 1.0].count("line-through") == 0
        and drawn["none", 1.0].count('fill="none"') == 2
    )
    assert drawn["top-k 3", 1.0].count("line-through") == 1
    assert "&lt;n&gt;" in drawn["none", 1.0] and "<n>" not in drawn["none", 1.0]


def test_beams_find_more_with_width_and_all_of_them_the_best():
    best = max((prob * share, (i, j)) for i, (prob, after) in enumerate(TREE.values())
               for j, share in enumerate(after.values()))  # fmt: skip
    found = [explore.search(TREE, n) for n in (1, 2, 3, 9)]
    assert found[0][1] == [(0, 0)] and math.exp(found[0][2][0]) == pytest.approx(0.2)
    assert found[1][1][0] == best[1] and math.exp(found[1][2][0]) == pytest.approx(best[0])
    assert found[3][1][0] == best[1] and len(found[3][1]) == 9
    assert all(a[2][0] <= b[2][0] for a, b in itertools.pairwise(found))
    widget = explore.beams(TREE, widths=(1, 2))
    told = [re.search("found: ([^<]*)", frame.value)[1] for frame in widget.children[-1].children]
    assert told == ["It rained, with 0.20", "Once upon, with 0.36"] and "Once upon" in widget.still


def test_tales_mark_what_is_impossible():
    text = "Tom had a kite. Kite a had Tom. <b> ran! The end."
    pages = {"dice": [["The end."], [text]], "min-p": [["The end."], ["The end."]]}
    widget = explore.tales(
        pages, (0.5, 2.0), possible={"Tom had a kite.", "The end."}, start=(1, 0), rolls=1
    )
    cold, hot = (row.children[0].value for row in widget.children[-1].children)
    assert re.findall(r"<u [^>]*>(.*?)</u>", hot) == ["Kite a had Tom.", "&lt;b&gt; ran!"]
    assert (
        hot.index("dice") < hot.index("2 of 4 sentences are impossible") < hot.index("min-p")
        and widget.still == hot
    )
    assert cold.count("0 of 1 sentences are impossible") == 2 and "<u" not in cold
