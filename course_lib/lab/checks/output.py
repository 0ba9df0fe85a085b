"""Checkers of lesson 09. The truths are Python's own floats, numbers worked by hand, and torch's
operations."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.compare import is_like
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips, name_slip


def _softmax(logits: Sequence[float]) -> list[float]:
    """Compute a softmax by plain floats, the largest logit subtracted."""
    powers = [math.exp(logit - max(logits)) for logit in logits]
    return [power / sum(powers) for power in powers]


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def stable_softmax(attempt: Attempt) -> str:
    """Turn logits (..., V) into probabilities along the last axis, whatever their size."""
    small = torch.tensor([[2.0, 1.0, 0.0], [0.5, -1.0, 3.0]])
    _judge_sums(attempt(small), small)
    cases = [(small,), (small[1:, :2] - 4,)]
    judge_by_slips(
        attempt,
        cases,
        _softmax_of_rows,
        _softmax_slips,
        lambda logits: f"the probabilities of the logits {logits.tolist()}",
    )
    loud = torch.tensor([[1002.0, 1001.0, 1000.0], [-1000.0, -1001.0, -1002.0]])
    got = attempt(loud)
    if isinstance(got, Tensor) and got.shape == loud.shape and not got.isfinite().all():
        _judge_overflow(attempt, got, loud)
    expect(
        got,
        torch.tensor([_softmax(row) for row in loud.tolist()]),
        "the probabilities of logits near 1000 and -1000",
    )
    wide = torch.tensor([0.0, 500.0, 499.0])
    got = attempt(wide)
    if isinstance(got, Tensor) and got.isnan().any():
        raise Wrong(
            "right for logits near each other, but 0 and 500 in one row give NaN. Subtract the"
            " row's largest logit: then no logit is above 0, and no exponential above 1."
        )
    expect(
        got, torch.tensor(_softmax(wide.tolist())), "the probabilities of logits 0, 500, 499", 1e-4
    )
    shut = torch.tensor([3.0, -math.inf, 1.0])
    expect(
        attempt(shut),
        torch.tensor(_softmax(shut.tolist())),
        "the probabilities where one logit is -inf",
    )
    return "right: any logits, however large, and nothing overflows."


def _softmax_of_rows(logits: Tensor) -> Tensor:
    return torch.tensor([_softmax(row) for row in logits.tolist()])


def _softmax_slips(logits: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give."""
    powers, twos = logits.exp(), 2**logits
    return [
        (twos / twos.sum(-1, keepdim=True), "these are powers of 2; e is the base here."),
        (
            logits.log_softmax(-1),
            "these are log probabilities. The exercise asks for the probabilities.",
        ),
        (powers, "these are the exponentials. Divide each row by its sum, so that it sums to 1."),
        (
            (logits - logits.amax(-1, keepdim=True)).exp(),
            "the maximum is subtracted, but the rows do not sum to 1 yet: divide.",
        ),
    ]


def _judge_sums(got: Any, logits: Tensor) -> None:
    """Say what sums to 1 where it is not the rows."""
    if not isinstance(got, Tensor) or got.shape != logits.shape:
        return
    if is_like(got.sum(), 1.0):
        raise Wrong(
            "all six numbers together sum to 1. Each row must sum to 1: sum along the last axis."
        )
    if is_like(got.sum(0), torch.ones(logits.shape[1])):
        raise Wrong("your columns sum to 1. Each row is one choice: sum along the last axis, -1.")


def _judge_overflow(attempt: Attempt, got: Tensor, loud: Tensor) -> None:
    """Say which of the two rows broke, and why."""
    if got[0].isfinite().all():
        alone = attempt(loud[1:])
        if isinstance(alone, Tensor) and not alone.isfinite().all():
            raise Wrong(
                "logits near 1000 are fine now, but a row near -1000 gives NaN, even alone: all"
                " its exponentials are 0, and 0/0 is NaN. Subtract its largest logit itself, here"
                " -1000, and not its size."
            )
        raise Wrong(
            "logits near 1000 are fine now, but the row near -1000 gives NaN: all its exponentials"
            " are 0, and 0/0 is NaN. Subtract each row's own maximum, not the whole tensor's."
        )
    raise Wrong(
        "right for small logits, but logits near 1000 give NaN: exp(1000) is infinite, and inf/inf"
        " is NaN. Subtract the row's largest logit before the exponential. Then the largest"
        " exponential is 1."
    )


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def token_losses(attempt: Attempt) -> str:
    """Give minus the log probability of every row's target, in nats."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.5, 3.0, 1.0, 0.0], [0.0, 0.0, 1.5, 0.5]])
    targets = torch.tensor([0, 2, 3])
    few = torch.tensor([[1.0, -1.0, 0.5], [-0.5, 0.0, 2.0]]), torch.tensor([2, 1])
    judge_by_slips(
        attempt,
        [(logits, targets), few],
        _losses,
        _loss_slips,
        lambda logits, targets: f"the losses of {len(targets)} rows of {logits.shape[1]} logits",
    )
    far = torch.tensor([[0.0, -300.0], [500.0, 0.0]])
    got = attempt(far, torch.tensor([1, 1]))
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for logits near each other. But a probability of e to the -300 is rounded to 0,"
            " and its logarithm is -inf. Do not go through the probability: the loss is logsumexp"
            " of the row minus the target's logit."
        )
    if isinstance(got, Tensor) and got.shape == (2,) and is_like(got[0], got[1]):
        raise Wrong(
            f"two losses that should be 300 and 500 are both {got[0].item():.4g}: the probability"
            " is kept above a small number. Do not go through the probability: the loss is"
            " logsumexp of the row minus the target's logit."
        )
    expect(got, torch.tensor([300.0, 500.0]), "the losses where the logits are 300 and 500 apart")
    return "right: the loss itself, without the detour through a probability that rounds to 0."


def _losses(logits: Tensor, targets: Tensor) -> Tensor:
    rows = zip(logits.tolist(), targets.tolist(), strict=True)
    return torch.tensor([-math.log(_softmax(row)[target]) for row, target in rows])


def _loss_slips(logits: Tensor, targets: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give."""
    probs, want, rows = _softmax_of_rows(logits), _losses(logits, targets), range(len(targets))
    right = (-want).exp()
    return [
        (
            right,
            (
                "these are the probabilities of the targets. The loss is minus the logarithm of"
                " a probability."
            ),
        ),
        (
            right.log(),
            (
                "the sign is missing: the logarithm of a probability is negative, the loss is"
                " minus that."
            ),
        ),
        (
            -right.log2(),
            "these are bits. In nats the logarithm is the natural one, log and not log2.",
        ),
        (want.mean(), "that is the mean. Give one number per row; the mean can wait."),
        (want.sum(), "that is the sum. Give one number per row."),
        (
            -logits[rows, targets],
            "these are minus the logits. The logsumexp of each row is missing.",
        ),
        (
            -probs.log().sum(-1),
            ("each row adds up the losses of all tokens. Only the target counts: pick its column."),
        ),
        (
            -probs.log()[:, targets],
            "that is every row with every target. Row t belongs to target t alone.",
        ),
        (
            -logits.softmax(0).log()[rows, targets],
            "the softmax ran down the columns. Each row is one choice.",
        ),
    ]


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _mean_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Work out the gradient by central differences of the mean loss, in float64."""
    logits, step = logits.double(), 1e-4
    found = torch.zeros_like(logits)
    for t in range(logits.shape[0]):
        for v in range(logits.shape[1]):
            ends = []
            for way in (step, -step):
                moved = logits.clone()
                moved[t, v] += way
                rows = zip(moved.tolist(), targets.tolist(), strict=True)
                ends.append(-sum(math.log(_softmax(row)[target]) for row, target in rows))
            found[t, v] = (ends[0] - ends[1]) / (2 * step) / len(targets)
    return found.float()


@checker
def logit_gradient(attempt: Attempt) -> str:
    """Give the gradient of the mean loss with respect to the logits."""
    logits = torch.tensor([[2.0, 1.0, 0.0, -1.0], [0.5, 3.0, 1.0, 0.0], [0.0, 0.0, 1.5, 0.5]])
    targets = torch.tensor([1, 1, 0])
    few = torch.tensor([[1.0, -1.0, 0.5], [-0.5, 0.0, 2.0]]), torch.tensor([2, 1])
    judge_by_slips(
        attempt,
        [(logits, targets), few],
        _mean_gradient,
        _gradient_slips,
        lambda logits, targets: f"the gradient for {len(targets)} rows of {logits.shape[1]} logits",
        tolerance=1e-4,
    )
    loud, target = torch.tensor([[1000.0, 0.0]]), torch.tensor([1])
    got = attempt(loud, target)
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for logits near each other, but logits near 1000 give NaN: take a softmax that"
            " does not overflow."
        )
    expect(got, torch.tensor([[1.0, -1.0]]), "the gradient for logits 1000 and 0, target 1")
    return "right: probabilities minus one-hot, over the number of rows."


def _gradient_slips(logits: Tensor, targets: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give."""
    want, probs, by_column = _mean_gradient(logits, targets), logits.softmax(-1), logits.softmax(0)
    one_hot, T = torch.eye(logits.shape[1])[targets], len(targets)
    return [
        (
            T * want,
            "that is the gradient of the summed loss. The loss is the mean over T rows, so each row"
            " counts for 1 / T.",
        ),
        (-want, "the sign is the other way round: that is the step which lowers the loss."),
        (-T * want, "the sign is the other way round, and the mean over T rows is missing."),
        (probs, "these are the probabilities. What does the target's own entry lose?"),
        (probs / T, "these are the probabilities over T. What does the target's own entry lose?"),
        (
            T * want / logits.numel(),
            "you averaged over all T x V numbers. The loss is a mean over the T rows alone.",
        ),
        (want.sum(0), "you added up the rows. Each row of logits has a gradient of its own."),
        (
            (logits - one_hot) / T,
            "you used the logits where the probabilities belong: softmax is missing.",
        ),
        (
            logits - one_hot,
            "you used the logits where the probabilities belong: softmax is missing.",
        ),
        ((probs.log() - one_hot) / T, "you used log probabilities where the probabilities belong."),
        (
            probs / T - one_hot,
            "the target's entry loses 1 after the division by T. In the mean it loses 1 / T:"
            " divide last.",
        ),
        *(
            (
                (probs - lowered) / T,
                "every row is lowered at all targets. Row t belongs to target"
                " t alone: gradient[torch.arange(T), targets].",
            )
            for lowered in (one_hot.sum(0), one_hot.amax(0))
        ),
        ((by_column - one_hot) / T, "the softmax ran down the columns. Each row is one choice."),
    ]


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _nucleus(probs: Tensor, n: int, scaled: bool = True) -> Tensor:
    """Keep the `n` likeliest tokens."""
    kept = torch.zeros_like(probs)
    best = probs.argsort(descending=True)[:n]
    kept[best] = probs[best]
    return kept / kept.sum() if scaled and n else kept


@checker
def nucleus_probs(attempt: Attempt) -> str:
    """Keep the fewest tokens whose probabilities sum to at least `p`, and rescale them."""
    probs, p = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15]), 0.58
    want = _nucleus(probs, 2)
    got = attempt(probs, p)
    if is_like(got, _nucleus(probs, 1)):
        _judge_single(attempt, probs)
    name_slip(attempt, [(probs, p)], lambda *_: want, _nucleus_slips, 1e-4)
    expect(got, want, "the nucleus of (0.1, 0.4, 0.05, 0.3, 0.15) for p = 0.58")
    even = torch.tensor([0.125, 0.5, 0.25, 0.125])
    got = attempt(even, 0.75)
    exactly = (
        "0.5 and 0.25 hold exactly 0.75: that is at least p, so no third token. Keep a token if"
        " what stands before it holds less than p."
    )
    slips = [(lambda probs, _: _nucleus(probs, 3), exactly)]
    name_slip(attempt, [(even, 0.75)], lambda probs, _: _nucleus(probs, 2), slips)
    expect(got, _nucleus(even, 2), "the nucleus of (0.125, 0.5, 0.25, 0.125) for p = 0.75")
    expect(
        attempt(even, 0.01),
        _nucleus(even, 1),
        "the nucleus for p = 0.01: the best token always stays",
    )
    expect(attempt(even, 1.0), even, "the nucleus for p = 1: everybody stays")
    _judge_ties(attempt)
    return "right: as many tokens as it takes, and no more."


def _nucleus_slips(probs: Tensor, p: float) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give where two of five tokens belong to the nucleus."""
    want, threshold = _nucleus(probs, 2), probs * (probs >= p)
    return [
        (
            _nucleus(probs, 2, scaled=False),
            "the right tokens, but they sum to 0.7. Divide by the sum.",
        ),
        (
            want.sort(descending=True).values,
            "sorted by probability. Put every probability back at the index of its token.",
        ),
        (
            want.sort(descending=True).values[probs.argsort(descending=True)],
            "the right numbers at the wrong indices: `kept[order]` sorts once more. To put them"
            " back, write *to* the old indices: result[order] = kept, or scatter.",
        ),
        (
            (powers := probs.exp() * (want > 0)) / powers.sum(),
            "the ratios have changed, as by a softmax of what is kept. These are probabilities"
            " already: divide them by their sum.",
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
                "the sum ran over the tokens in the order of their indices. Sort them first, the"
                " likeliest in front."
            ),
        ),
    ]


def _judge_single(attempt: Attempt, probs: Tensor) -> None:
    """Say why only the likeliest of (0.1, 0.4, 0.05, 0.3, 0.15) is left for p = 0.58."""
    if is_like(attempt(probs, 0.12), _nucleus(probs, 3)):
        raise Wrong(
            "p is not a bar for a single token: for p = 0.12 you keep all that reach it, 0.4, 0.3"
            " and 0.15. The sum of the likeliest must reach p, and 0.4 alone does."
        )
    if is_like(attempt(probs, 0.9), _nucleus(probs, 3)):
        raise Wrong(
            "only the 0.4 is left: the token that carries the sum across 0.58 was thrown away."
            " The nucleus must hold at least p, so that token stays in."
        )
    raise Wrong("only the 0.4 is left, which is less than p = 0.58. Keep the next likeliest too.")


def _judge_ties(attempt: Attempt) -> None:
    """Ask for two of three tokens that are equally likely, whichever they are."""
    tied = torch.tensor([0.125, 0.25, 0.125, 0.25, 0.25])
    got = attempt(tied, 0.4)
    where = "the nucleus of (0.125, 0.25, 0.125, 0.25, 0.25) for p = 0.4"
    if is_like(got, _nucleus(tied, 3)):
        raise Wrong(
            f"{where}: all three equal ones stay, and two are enough. Keep the fewest: go by the"
            " running sum alone, not by how likely the last one is."
        )
    allowed = [
        torch.tensor(kept) / 2 for kept in ([0, 1, 0, 1, 0], [0, 1, 0, 0, 1], [0, 0, 0, 1, 1])
    ]
    if not any(is_like(got, kept) for kept in allowed):
        expect(got, allowed[0], f"{where}, two of the three equal ones")


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _entropy_bits(logits: Tensor, temperature: float) -> float:
    """Measure the entropy at a temperature, in bits, by plain floats."""
    probs = _softmax((logits.double() / temperature).tolist())
    return -sum(prob * math.log2(prob) for prob in probs if prob)


def _solve(logits: Tensor, bits: float) -> float:
    """Find the temperature between 0.001 and 1000 by halving."""
    low, high = 1e-3, 1e3
    for _ in range(200):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _entropy_bits(logits, middle) < bits else (low, middle)
    return low


def _judge_range(attempt: Attempt, logits: Tensor) -> None:
    """Ask for a temperature near one of the ends of the range that the exercise names."""
    got, want = attempt(logits, 1.3), _solve(logits, 1.3)
    if abs(_entropy_bits(logits, float(got)) - 1.3) > 0.01:
        spread, got = (logits.max() - logits.min()).item(), float(got)
        far_end = got < 0.0011 if want > 1 else got > 900
        reason = (
            "That is the other end. Is the entropy NaN on the way? 0 * log(0) is, and so is an"
            " exponential that overflows, divided by another; `<` says False of NaN each time."
            if far_end
            else "Search from 0.001 to 1000, and finely enough at both ends."
        )
        raise Wrong(
            f"right for logits near each other. Where they are spread over {spread:.3g}, 1.3 bits"
            f" need a temperature of {want:.3g}, and you returned {got:.3g}. {reason}"
        )


def _judge_mean_entropy(attempt: Attempt, logits: Tensor) -> None:
    """Tell a search that meets no entropy of 1 bit because it takes the mean over the tokens."""
    if is_like(attempt(logits, 0.3), _solve(logits, 0.3 * len(logits)), 1e-2):
        raise Wrong(
            "at that temperature the *mean* of -p log2 p over all tokens has this value. The"
            " entropy is their sum."
        )


def _temperature(got: Any) -> float:
    """Read one number above 0."""
    got = got.item() if isinstance(got, Tensor) and got.ndim == 0 else got
    if not isinstance(got, int | float):
        raise Wrong(f"return one number, the temperature; you returned {describe(got)}.")
    if not got > 0:
        raise Wrong(f"you returned {got:g}. A temperature is above 0.")
    return got


TEMPERATURE_SLIPS = [
    (
        lambda logits, bits: 1 / _solve(logits, bits),
        "that is 1 / temperature: you multiplied the logits by it. The logits are divided by T.",
    ),
    (
        lambda logits, bits: _solve(logits, bits / math.log(2)),
        "at that temperature the entropy has this value in nats: use log2.",
    ),
    (
        lambda logits, bits: _solve(logits, bits * math.log(2)),
        "you took bits for nats somewhere: use log2 throughout.",
    ),
    (
        lambda logits, bits: 2**bits,
        "that is the number of equally likely tokens with this entropy, not a temperature.",
    ),
]


@checker
def temperature_for_entropy(attempt: Attempt) -> str:
    """Find the temperature at which the entropy is so many bits."""
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 0.5])
    cases = [(logits, bits) for bits in (1.0, 2.0)]
    name_slip(attempt, cases, _solve, TEMPERATURE_SLIPS, 1e-3, plain=_temperature)
    for bits in (1.0, 2.0):
        got = _temperature(attempt(logits, bits))
        reached = _entropy_bits(logits, got)
        if got > 900:
            _judge_mean_entropy(attempt, logits)
        if abs(reached - bits) > 0.01:
            way = "higher" if reached < bits else "lower"
            raise Wrong(
                f"at temperature {got:.4g} the entropy is {reached:.3f} bits, wanted are {bits:g}"
                f" (to 0.01). The temperature must be {way}: it raises the entropy. Halve the"
                " interval in which the answer must lie, again and again."
            )
    for scale in (900.0, 0.0013):
        _judge_range(attempt, torch.tensor([1.0, 0.0, -0.5]) * scale)
    return "right: the entropy rises with the temperature, so halving an interval finds it."


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
    forgot = _ranked(beams, steps, n)
    each = (
        "each beam kept its own best token. All extensions of all beams compete: one beam may keep"
        " two."
    )
    return [
        (forgot, "the beams' old scores are forgotten: add them to the new log probabilities."),
        (
            _ranked(beams, scores[:, None] * steps, n),
            "log probabilities add up; you multiplied them.",
        ),
        (
            _ranked(beams, total, n, largest=False),
            "these are the worst extensions: take the largest totals.",
        ),
        ((torch.cat([row for row, _ in own]), torch.cat([score for _, score in own])), each),
        ((torch.cat([beams, best_steps[:, None]], dim=1), scores + steps.amax(-1)), each),
        (
            (rows, _new_steps(rows, beams, steps)),
            "the right texts, but these scores are those of the last step alone.",
        ),
        (
            (rows[:, -1:], kept),
            "only the new tokens are returned. Give the whole texts, the old tokens in front.",
        ),
        ((rows, kept.exp()), "these are probabilities. Keep the scores as log probabilities."),
    ]


def _new_steps(rows: Tensor, beams: Tensor, steps: Tensor) -> Tensor:
    """Give the log probability of the last token of each row, looked up by the beam that it
    continues."""
    parents = [
        next(k for k in range(len(beams)) if torch.equal(beams[k], row[:-1])) for row in rows
    ]
    return torch.stack([steps[k, row[-1]] for k, row in zip(parents, rows, strict=True)])


def _judge_texts(got: Any, want: Tensor, beams: Tensor) -> None:
    """Say what is wrong with the texts where the scores are right."""
    if is_like(got, want.roll(1, dims=1)):
        raise Wrong("the new token stands in front. Append it at the end of its text.")
    if not isinstance(got, Tensor) or got.shape != want.shape or is_like(got, want):
        return
    if is_like(sorted(got.tolist()), sorted(want.tolist())):
        raise Wrong("the right texts and scores, but the texts stand in another order.")
    if all((row[:-1] == beams).all(-1).any() for row in got):
        raise Wrong(
            "the scores are right, but a token was appended to the wrong beam, or the wrong token"
            " to a beam. In the flat list of totals, index // V is the beam and index % V the"
            " token."
        )


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
    _judge_texts(got[0], want[0], beams)
    expect(got[0], want[0], "the three best extensions")
    one = attempt(torch.tensor([[7]]), torch.zeros(1), torch.tensor([[0.2, 0.5, 0.3]]).log(), 2)
    expect(
        tuple(one),
        (torch.tensor([[7, 1], [7, 2]]), torch.tensor([0.5, 0.3]).log()),
        "two beams from one",
    )
    return "right: all extensions compete, and a good beam may keep two."
