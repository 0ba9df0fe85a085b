"""Checkers of lesson 09. The truths are Python's own floats, numbers worked by hand, and torch's
operations."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_lib.lab.checks.compare import is_like, recognise
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect


def _chances(scores: Sequence[float]) -> list[float]:
    """Share out 100 % by plain floats, the largest score taken off."""
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def stable_softmax(attempt: Attempt) -> str:
    """Turn scores (..., V) into chances along the last axis, whatever their size."""
    small = torch.tensor([[2.0, 1.0, 0.0], [0.5, -1.0, 3.0]])
    want = torch.tensor([_chances(row) for row in small.tolist()])
    got = attempt(small)
    powers = small.exp()
    recognise(
        got,
        (
            powers / powers.sum(),
            "all six numbers together sum to 1. Each row must sum to 1: sum along the last axis.",
        ),
        (
            powers / powers.sum(0),
            "your columns sum to 1. Each row is one choice: sum along the last axis, -1.",
        ),
        (want.log(), "these are logarithms of chances. The exercise asks for the chances."),
        (
            powers,
            "these are the exponentials. Divide each row by its sum, so that it shares out 100 %.",
        ),
        (
            (small - small.amax(-1, keepdim=True)).exp(),
            "the maximum is off, but the rows do not sum to 1 yet: divide.",
        ),
        (
            (small + small.amax(-1, keepdim=True)).softmax(0),
            "your columns sum to 1. Each row is one choice.",
        ),
    )
    expect(got, want, "the chances of two rows of scores")
    loud = torch.tensor([[1002.0, 1001.0, 1000.0], [-1000.0, -1001.0, -1002.0]])
    got = attempt(loud)
    if isinstance(got, Tensor) and got.shape == loud.shape and not got.isfinite().all():
        _judge_overflow(got)
    expect(
        got,
        torch.tensor([_chances(row) for row in loud.tolist()]),
        "the chances of scores near 1000 and -1000",
    )
    shut = torch.tensor([3.0, -math.inf, 1.0])
    expect(
        attempt(shut), torch.tensor(_chances(shut.tolist())), "the chances where one score is -inf"
    )
    return "right: any scores, however large, and nothing overflows."


def _judge_overflow(got: Tensor) -> None:
    """Say which of the two rows broke, and why."""
    if got[0].isfinite().all():
        raise Wrong(
            "scores near 1000 are fine now, but the row near -1000 gives NaN: all its exponentials"
            " are 0, and 0/0 is NaN. Take off each row's own maximum, not that of the whole table."
        )
    raise Wrong(
        "right for small scores, but scores near 1000 give NaN: exp(1000) is infinite, and inf/inf"
        " is NaN. Take off the largest score of the row before the exponential. Then the largest"
        " power is 1."
    )


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def surprises(attempt: Attempt) -> str:
    """Give the surprise in nats at every row's target."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.5, 3.0, 1.0, 0.0], [0.0, 0.0, 1.5, 0.5]])
    targets = torch.tensor([0, 2, 3])
    chances = torch.tensor([_chances(row) for row in logits.tolist()])
    right = torch.stack([row[target] for row, target in zip(chances, targets, strict=True)])
    want = -right.log()
    got = attempt(logits, targets)
    recognise(
        got,
        (
            right,
            (
                "these are the chances of the targets. The surprise is minus the logarithm of a"
                " chance."
            ),
        ),
        (
            right.log(),
            (
                "the sign is missing: the logarithm of a chance is negative, the surprise is minus"
                " that."
            ),
        ),
        (
            -right.log2(),
            "these are bits. In nats the logarithm is the natural one, log and not log2.",
        ),
        (want.mean(), "that is the mean. Give one number per row; the mean can wait."),
        (want.sum(), "that is the sum. Give one number per row."),
        (
            -logits[range(3), targets],
            "these are minus the scores. The logsumexp of each row is missing.",
        ),
        (
            -chances.log().sum(-1),
            (
                "each row adds up the surprises of all tokens. Only the one that really came"
                " counts: pick column target."
            ),
        ),
        (
            -chances.log()[:, targets],
            "that is a table of all rows with all targets. Row t belongs to target t alone.",
        ),
        (
            -logits.softmax(0).log()[range(3), targets],
            "the softmax ran down the columns. Each row is one choice.",
        ),
    )
    expect(got, want, "the surprises of three rows")
    far = torch.tensor([[0.0, -300.0], [500.0, 0.0]])
    got = attempt(far, torch.tensor([1, 1]))
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for scores near each other. But a chance of e to the -300 is rounded to 0, and"
            " its logarithm is -inf. Do not go through the chance: the surprise is logsumexp of the"
            " row minus the target's score."
        )
    expect(
        got, torch.tensor([300.0, 500.0]), "the surprises where the scores are 300 and 500 apart"
    )
    return "right: the surprise itself, without the detour through a chance that rounds to 0."


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def perplexity_and_bits(attempt: Attempt) -> str:
    """Turn the chances of a text's tokens into perplexity per token and bits per byte."""
    chances, text = [0.5, 0.125, 0.25, 0.0625], "Zoë ran."
    bits, n_bytes = 1 + 3 + 2 + 4, len(text.encode())
    perplexity, per_byte = 2 ** (bits / 4), bits / n_bytes
    got = attempt(chances, text)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(
            "return two numbers, the perplexity and the bits per byte; you returned"
            f" {describe(got)}."
        )
    recognise(
        got[0],
        (per_byte, "the two are the wrong way round: perplexity first, then bits per byte."),
        (
            2**per_byte,
            (
                "that is a perplexity per byte. Divide by the number of tokens, which is the number"
                " of chances."
            ),
        ),
        (bits / 4, "that is the mean surprise in bits. The perplexity is 2 to that power."),
        (
            bits / 4 * math.log(2),
            "that is the mean surprise in nats. The perplexity is e to that power.",
        ),
        (
            math.e ** (bits / 4),
            "bits were raised with base e. Keep to one pair: log2 with 2, or log with e.",
        ),
        (
            2 ** (bits / 4 * math.log(2)),
            "nats were raised with base 2. Keep to one pair: log with e, or log2 with 2.",
        ),
        (
            sum(1 / chance for chance in chances) / 4,
            "you averaged the numbers of choices, 1 / chance. Average the surprises, then raise.",
        ),
        (
            4 / sum(chances),
            "you averaged the chances. The surprises are averaged: one wrong guess costs a lot.",
        ),
    )
    expect(got[0], perplexity, "the perplexity of the chances 1/2, 1/8, 1/4 and 1/16")
    recognise(
        got[1],
        (
            bits / len(text),
            (
                f"you divided by {len(text)} characters. In UTF-8 this text has {n_bytes} bytes,"
                " for ë takes two: len(text.encode())."
            ),
        ),
        (bits / 4, "that is bits per token. Divide by the bytes of the text."),
        (
            per_byte * math.log(2),
            "these are nats per byte. A bit is log 2 nats, so divide by log(2), or use log2.",
        ),
        (
            8 * bits / n_bytes,
            "that is eight times too much: a byte of text, not a bit of it, is the unit.",
        ),
    )
    expect(got[1], per_byte, f"the bits per byte of {text!r}")
    expect(
        tuple(attempt([0.25], "a kite")), (4.0, 2 / 6), "one token of 6 bytes with a chance of 1/4"
    )
    return "right: one number that depends on the tokens, and one that does not."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _nucleus(probs: Tensor, n: int, scaled: bool = True) -> Tensor:
    """Keep the `n` likeliest tokens."""
    kept = torch.zeros_like(probs)
    best = probs.argsort(descending=True)[:n]
    kept[best] = probs[best]
    return kept / kept.sum() if scaled and n else kept


@checker
def nucleus(attempt: Attempt) -> str:
    """Keep the fewest tokens that hold at least `p` of the chance, and scale them to 1."""
    probs, p = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15]), 0.58
    want = _nucleus(probs, 2)
    got = attempt(probs, p)
    threshold = probs * (probs >= p)
    recognise(
        got,
        (
            _nucleus(probs, 1),
            (
                "only the 0.4 is left: the token that carries the sum across 0.58 was thrown away."
                " The nucleus must hold at least p, so that token stays in."
            ),
        ),
        (
            _nucleus(probs, 2, scaled=False),
            "the right tokens, but they hold 0.7. Scale them to sum to 1.",
        ),
        (
            want.sort(descending=True).values,
            "sorted by chance. Put every chance back where its token stands.",
        ),
        (
            (worst := probs * (probs < 0.4)) / worst.sum(),
            (
                "you collected from the wrong end and left the likeliest token out: sort with the"
                " likeliest first."
            ),
        ),
        (probs / probs.sum(), "nothing is ruled out."),
        (
            threshold / threshold.sum(),
            "p is not a bar for a single token: no token reaches 0.58. The sum must.",
        ),
        (
            threshold,
            (
                "p is not a bar for a single token: no token here reaches 0.58. The sum of the best"
                " must."
            ),
        ),
        (
            _nucleus(probs, 3),
            "one token too many: 0.4 and 0.3 hold 0.7 already, and that is enough for p = 0.58.",
        ),
        (
            (w := probs * (probs.cumsum(0) - probs < p)) / w.sum(),
            (
                "the sum ran over the tokens in the order in which they stand. Sort them first, the"
                " likeliest in front."
            ),
        ),
    )
    expect(got, want, "the nucleus of (0.1, 0.4, 0.05, 0.3, 0.15) for p = 0.58")
    even = torch.tensor([0.125, 0.5, 0.25, 0.125])
    got = attempt(even, 0.75)
    recognise(
        got,
        (
            _nucleus(even, 3),
            (
                "0.5 and 0.25 hold exactly 0.75: that is at least p, so no third token. Keep a"
                " token if what stands before it holds less than p."
            ),
        ),
    )
    expect(got, _nucleus(even, 2), "the nucleus of (0.125, 0.5, 0.25, 0.125) for p = 0.75")
    expect(
        attempt(even, 0.01),
        _nucleus(even, 1),
        "the nucleus for p = 0.01: the best token always stays",
    )
    expect(attempt(even, 1.0), even, "the nucleus for p = 1: everybody stays")
    return "right: as many tokens as it takes, and no more."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _entropy_bits(logits: Tensor, temperature: float) -> float:
    """Measure how open the choice is at a temperature, in bits, by plain floats."""
    chances = _chances((logits.double() / temperature).tolist())
    return -sum(chance * math.log2(chance) for chance in chances if chance)


def _solve(logits: Tensor, bits: float) -> float:
    """Find the temperature between 0.001 and 1000 by halving."""
    low, high = 1e-3, 1e3
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _entropy_bits(logits, middle) < bits else (low, middle)
    return low


@checker
def temperature_for(attempt: Attempt) -> str:
    """Find the temperature at which the choice is open by so many bits."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5])
    for bits in (1.0, 2.0):
        want = _solve(logits, bits)
        got = attempt(logits, bits)
        got = got.item() if isinstance(got, Tensor) and got.ndim == 0 else got
        if not isinstance(got, int | float):
            raise Wrong(f"return one number, the temperature; you returned {describe(got)}.")
        if not got > 0:
            raise Wrong(
                f"you returned {got:g}. A temperature that leaves a choice open is above 0."
            )
        reached = _entropy_bits(logits, got)
        recognise(
            got,
            (
                1 / want,
                (
                    "that is 1 / temperature: you multiplied the scores by it. The scores are"
                    " divided by T."
                ),
            ),
            (
                _solve(logits, bits / math.log(2)),
                "at that temperature the entropy has this value in nats: use log2.",
            ),
            (
                _solve(logits, bits * math.log(2)),
                "you took bits for nats somewhere: use log2 throughout.",
            ),
            (
                2**bits,
                "that is the number of equally likely tokens with this entropy, not a temperature.",
            ),
        )
        if abs(reached - bits) > 0.01:
            way = "more" if reached < bits else "less"
            raise Wrong(
                f"at temperature {got:.4g} the choice is open by {reached:.3f} bits, wanted are"
                f" {bits:g} (to 0.01). It takes {way} heat. A higher temperature always means more"
                " entropy: halve the interval in which the answer must lie, again and again."
            )
    wide = torch.tensor([40.0, 0.0, -20.0])
    if abs(_entropy_bits(wide, attempt(wide, 1.5)) - 1.5) > 0.01:
        raise Wrong(
            "right for scores near each other. For the scores (40, 0, -20) and 1.5 bits the"
            f" temperature is {_solve(wide, 1.5):.0f}, beyond where you looked: search from 0.01 to"
            " 1000."
        )
    return "right: heat is measured by how open it leaves the choice."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _ranked(beams: Tensor, totals: Tensor, n: int, largest: bool = True) -> tuple[Tensor, Tensor]:
    """Keep the best of a table of totals, one row per beam, by sorting all pairs."""
    pairs = [
        (totals[k, v].item(), k, v) for k in range(totals.shape[0]) for v in range(totals.shape[1])
    ]
    best = sorted(pairs, key=lambda pair: -pair[0] if largest else pair[0])[:n]
    rows = torch.stack([torch.cat([beams[k], torch.tensor([v])]) for _, k, v in best])
    return rows, torch.tensor([total for total, _, _ in best])


def _beam_slips(
    beams: Tensor, scores: Tensor, steps: Tensor, n: int
) -> list[tuple[tuple[Tensor, Tensor], str]]:
    """Compute what typical mistakes give."""
    total = scores[:, None] + steps
    rows, kept = _ranked(beams, total, n)
    own = [_ranked(beams[k : k + 1], total[k : k + 1], 1) for k in range(n)]
    best_steps = torch.stack([steps[k].argmax() for k in range(n)])
    flat = total.flatten().topk(n)
    mixed = torch.cat([beams[flat.indices % n], (flat.indices % total.shape[1])[:, None]], dim=1)
    swapped = torch.cat(
        [beams[flat.indices % len(beams)], (flat.indices // len(beams))[:, None]], dim=1
    )
    forgot = _ranked(beams, steps, n)
    each = (
        "each beam kept its own best token. All extensions of all beams compete: one beam may have"
        " two children."
    )
    parents = (
        "the scores are right, but a token was appended to the wrong beam. In the flat list of"
        " totals, place // "
    )
    parents += "V is the beam and place % V the token."
    return [
        (forgot, "the beams' old scores are forgotten: add them to the new log chances."),
        (_ranked(beams, scores[:, None] * steps, n), "log chances add up; you multiplied them."),
        (
            _ranked(beams, total, n, largest=False),
            "these are the worst extensions: take the largest totals.",
        ),
        ((torch.cat([row for row, _ in own]), torch.cat([score for _, score in own])), each),
        ((torch.cat([beams, best_steps[:, None]], dim=1), scores + steps.amax(-1)), each),
        ((mixed, kept), parents),
        ((swapped, kept), parents),
        (
            (rows, _new_steps(rows, beams, steps)),
            "the right texts, but these scores are those of the last step alone.",
        ),
        (
            (rows[:, -1:], kept),
            "only the new tokens are returned. Give the whole texts, the old tokens in front.",
        ),
        ((rows, kept.exp()), "these are chances. Keep the scores as logarithms."),
    ]


def _new_steps(rows: Tensor, beams: Tensor, steps: Tensor) -> Tensor:
    """Give the log chance of the last token of each row, looked up by the beam that it
    continues."""
    parents = [
        next(k for k in range(len(beams)) if torch.equal(beams[k], row[:-1])) for row in rows
    ]
    return torch.stack([steps[k, row[-1]] for k, row in zip(parents, rows, strict=True)])


@checker
def beam_step(attempt: Attempt) -> str:
    """Extend all beams by all tokens and keep the best."""
    beams, scores = torch.tensor([[7, 1], [7, 0], [7, 3]]), torch.tensor([0.5, 0.3, 0.2]).log()
    steps = torch.tensor(
        [[0.06, 0.09, 0.45, 0.4], [0.7, 0.12, 0.1, 0.08], [0.05, 0.03, 0.85, 0.07]]
    ).log()
    want = _ranked(beams, scores[:, None] + steps, 3)
    got = attempt(beams, scores, steps, 3)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(
            f"return two tensors, the new beams and their scores; you returned {describe(got)}."
        )
    for (rows, totals), sentence in _beam_slips(beams, scores, steps, 3):
        if is_like(got[0], rows) and is_like(got[1], totals):
            raise Wrong(sentence)
    if (
        isinstance(got[1], Tensor)
        and got[1].shape == want[1].shape
        and is_like(got[1].sort().values, want[1].flip(0))
    ):
        expect(got[1], want[1], "the scores, which should come best first")
    expect(got[1], want[1], "the scores of the three best extensions")
    expect(got[0], want[0], "the three best extensions")
    one = attempt(torch.tensor([[7]]), torch.zeros(1), torch.tensor([[0.2, 0.5, 0.3]]).log(), 2)
    expect(
        tuple(one),
        (torch.tensor([[7, 1], [7, 2]]), torch.tensor([0.5, 0.3]).log()),
        "two beams from one",
    )
    return "right: all children compete, and a good parent may keep two."
