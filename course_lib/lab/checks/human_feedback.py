"""Checkers of lesson 23. The truths are plain loops over Python's numbers."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker
from course_lib.lab.checks.slips import judge_by_slips


def _numbers(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    """Normal numbers, the same every time."""
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _whitened(values: Tensor) -> Tensor:
    """Brought to mean 0 and variance 1; a single one becomes 0."""
    return (values - values.mean()) / (values.std(correction=0) + 1e-8)


def _require_gradient(got: Any, of: str) -> None:
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise Wrong(
            f"the number is right, but no gradient flows from the loss back to {of}. Did you"
            " detach it, or go through Python's numbers? Nothing could be trained by it."
        )


def _surprise(lead: float) -> float:
    """-log sigmoid(lead), without overflow."""
    return max(-lead, 0.0) + math.log1p(math.exp(-abs(lead)))


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _choice_loss(
    chosen: Tensor, rejected: Tensor, cost: Callable[[float], float] = _surprise
) -> float:
    leads = (chosen - rejected).tolist()
    return math.fsum(map(cost, leads)) / len(leads)


@checker
def bradley_terry(attempt: Attempt) -> str:
    """Average the surprise at the choices."""
    cases = [(_numbers(s, n), _numbers(s + 9, n)) for s, n in enumerate((1, 2, 5, 8))]
    slips = [
        (
            lambda c, r: _choice_loss(r, c),
            "chosen and rejected are exchanged: this loss is small where the *rejected* answer"
            " leads. Take sigmoid(chosen - rejected).",
        ),
        (
            lambda c, r: -_choice_loss(c, r),
            "the sign is wrong. A log-probability is at most 0; the loss is minus its mean, so that"
            " making it small makes the choices probable.",
        ),
        (lambda c, r: _choice_loss(c, r) * len(c), "this is the sum over the pairs, not the mean."),
        (
            lambda c, r: _choice_loss(c, r, lambda lead: 1 / (1 + math.exp(-lead))),
            "this is the mean probability of the choices. The loss is the mean of minus its"
            " logarithm.",
        ),
        (
            lambda c, r: _choice_loss(c, r, lambda lead: -1 / (1 + math.exp(-lead))),
            "the logarithm is missing: this is minus the mean probability.",
        ),
        (
            lambda c, r: _choice_loss(c, r, lambda lead: 1 / (1 + math.exp(lead))),
            "this is one minus the probability of a choice. Its surprise is minus the logarithm of"
            " the probability.",
        ),
        (lambda c, r: _choice_loss(c, r, lambda lead: -lead), "the log-sigmoid is missing."),
        (
            lambda c, r: _choice_loss(c, r * 0) - _choice_loss(r, c * 0),
            "you take the sigmoid of each score. A score alone means nothing: take that of a lead,"
            " chosen - rejected.",
        ),
        (
            lambda c, r: _choice_loss(c, r) / math.log(2),
            "this is in bits. The loss is in nats: the natural logarithm.",
        ),
        (
            lambda c, r: _surprise((c - r).mean().item()),
            "you average the leads first and then take the log-sigmoid. Take it pair by pair.",
        ),
    ]

    def called(chosen: Tensor, rejected: Tensor) -> str:
        return f"the loss of {len(chosen)} pair{'s' * (len(chosen) > 1)}"

    judge_by_slips(attempt, cases, _choice_loss, slips, called)
    far = torch.tensor([-500.0, 500.0]), torch.tensor([500.0, -500.0])
    got = attempt(*far)
    if not math.isfinite(float(got)):
        raise Wrong(
            f"right for small scores, but leads of -1000 and 1000 give {float(got)}: sigmoid"
            " underflows to 0 before the logarithm. `F.logsigmoid` takes both steps in one."
        )
    if abs(float(got) - 500) > 0.1:
        raise Wrong(
            f"right for small scores, but leads of -1000 and 1000 give {float(got):.6g}, not 500."
            " Did you clamp the probability? Beyond the clamp the loss has no gradient any more."
            " `F.logsigmoid` needs no clamp."
        )
    _require_gradient(attempt(cases[1][0].requires_grad_(), cases[1][1]), "the scores")
    return "right, at leads of a thousand as well."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _calibration(
    said: Tensor,
    held: Tensor,
    n_bins: int,
    weigh: Callable[[int, int], float] = lambda count, total: count / total,
    gap: Callable[[float, float], float] = lambda one, other: abs(one - other),
    middle: bool = False,
) -> float:
    """The gaps bin by bin."""
    total, n = [], len(said)
    for each in range(n_bins):
        rows = [
            (p, bool(h))
            for p, h in zip(said.tolist(), held.tolist(), strict=True)
            if min(int(p * n_bins), n_bins - 1) == each
        ]
        if rows:
            mean = math.fsum(p for p, _ in rows) / len(rows)
            mean = (each + 0.5) / n_bins if middle else mean
            share = sum(h for _, h in rows) / len(rows)
            total.append(weigh(len(rows), n) * gap(mean, share))
    return math.fsum(total)


def _greatest_gap(said: Tensor, held: Tensor, n_bins: int) -> float:
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    rows = [number == each for each in number.unique()]
    return max((said[row].mean() - held[row].double().mean()).abs().item() for row in rows)


def _by_equal_counts(said: Tensor, held: Tensor, n_bins: int) -> float:
    """The gaps of bins that hold equally many predictions."""
    parts = [part for part in said.argsort(stable=True).tensor_split(n_bins) if len(part)]
    gaps = [abs((said[part] - held[part].double()).sum().item()) for part in parts]
    return math.fsum(gaps) / len(said)


def _filled(said: Tensor, n_bins: int) -> int:
    return len({min(int(p * n_bins), n_bins - 1) for p in said.tolist()})


@checker
def calibration_error(attempt: Attempt) -> str:
    """Average the gaps between said and held, bin by bin."""
    cases = []
    for seed, (n, n_bins) in enumerate([(8, 2), (30, 5), (50, 10), (12, 4)]):
        rng = torch.Generator().manual_seed(seed)
        said = torch.rand(n, generator=rng, dtype=torch.float64)
        cases.append((said, torch.rand(n, generator=rng) < 0.6, n_bins))
    edges = torch.tensor([0.0, 0.5, 1.0, 1.0], dtype=torch.float64)
    cases.append((edges, torch.tensor([True, False, False, False]), 4))
    slips = [
        (
            lambda s, h, k: _calibration(s, h, k, gap=lambda one, other: one - other),
            "gaps of different signs cancel. Take the absolute value of each bin's gap.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, gap=lambda one, other: (one - other) ** 2),
            "the gaps are squared. Take their absolute values.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, weigh=lambda *_: 1 / _filled(s, k)),
            "all bins count alike. A bin counts by how many predictions it holds.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, weigh=lambda *_: 1 / k),
            "the sum is divided by the number of bins. A bin counts by how many predictions it"
            " holds, out of all.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, weigh=lambda *_: 1.0),
            "the gaps are added up. Average them: a bin counts by the share of the predictions in"
            " it.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, weigh=lambda count, total: count),
            "divide by the number of predictions at the end.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, middle=True),
            "you compare with the middle of each bin, not with the mean of what was said in it.",
        ),
        (
            lambda s, h, k: _calibration(s, h, 1),
            "this is one gap for all predictions: high and low ones cancel. Take it bin by bin.",
        ),
        (
            lambda s, h, k: _calibration(s, h, k, weigh=lambda count, total: count / k),
            "the sum is divided by the number of bins. Divide it by the number of predictions.",
        ),
        (_greatest_gap, "this is the greatest gap. Average the gaps of all bins that hold some."),
        (
            _by_equal_counts,
            "your bins hold equally many predictions each. They should be of equal width: the bin's"
            " number follows from the probability alone.",
        ),
        (
            lambda s, h, k: (s - h.double()).abs().mean().item(),
            "this is the mean distance between each prediction and its outcome, which is not 0 for"
            " an honest coin. Average within each bin first.",
        ),
        (
            lambda s, h, k: _calibration(s[s < 1], h[s < 1], k) * len(s[s < 1]) / len(s),
            "a prediction of exactly 1 is in no bin. It belongs to the last one.",
        ),
        (
            lambda s, h, k: _calibration(s[s > 0], h[s > 0], k) * len(s[s > 0]) / len(s),
            "a prediction of exactly 0 is in no bin. It belongs to the first one.",
        ),
    ]

    def called(said: Tensor, held: Tensor, n_bins: int) -> str:
        return f"the error of {len(said)} predictions in {n_bins} bins"

    judge_by_slips(attempt, cases, _calibration, slips, called)
    return "right, and a prediction of exactly 1 finds its bin."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _best_by_enumeration(probs: Tensor, scores: Tensor, n: int) -> list[float]:
    """Go through all draws of n answers."""
    found = [0.0] * len(probs)
    p, s = probs.tolist(), scores.tolist()
    for draw in product(range(len(p)), repeat=n):
        found[max(draw, key=s.__getitem__)] += math.prod(p[i] for i in draw)
    return found


def _at_most(probs: Tensor, scores: Tensor) -> Tensor:
    return torch.stack([probs[scores <= score].sum() for score in scores])


def _steps_in_order(probs: Tensor, scores: Tensor, n: int) -> Tensor:
    """The distribution of the best of n, from the lowest score to the highest."""
    return (probs[scores.argsort()].cumsum(0) ** n).diff(prepend=torch.zeros(1).double())


@checker
def best_of_n(attempt: Attempt) -> str:
    """Give the distribution of the best of n draws."""
    cases = []
    for seed, (size, n) in enumerate([(2, 2), (3, 1), (3, 3), (4, 4), (5, 2)]):
        rng = torch.Generator().manual_seed(seed)
        probs = torch.rand(size, generator=rng, dtype=torch.float64) + 0.1
        cases.append((probs / probs.sum(), _numbers(seed, size).double(), n))
    slips = [
        (
            lambda p, s, n: _at_most(p, s) ** n,
            "these are the probabilities that the best scores *at most* as much as each answer, and"
            " add up to more than 1. Take off the probability that it scores less.",
        ),
        (
            lambda p, s, n: p**n / (p**n).sum(),
            "the probabilities are raised to the power n and made to sum to 1. The scores must"
            " decide who wins.",
        ),
        (
            lambda p, s, n: _steps_in_order(p, torch.arange(len(p)), n),
            "nothing here looks at the scores: the answers count in the order of the table. Who is"
            " ahead is decided by the scores.",
        ),
        (_steps_in_order, "right numbers, but sorted by score. Put each back to its own answer."),
        (
            lambda p, s, n: (_at_most(p, s) ** n) / (_at_most(p, s) ** n).sum(),
            "these are the probabilities that the best scores *at most* as much, made to sum to 1."
            " Take off the probability that it scores less.",
        ),
        (
            lambda p, s, n: (s == s.max()).double(),
            "this always gives the best answer there is. It may be in none of the n draws.",
        ),
        (
            lambda p, s, n: n * p,
            "this is n times the probability. That all n draws score at most as much has a"
            " probability to the *power* n.",
        ),
        (
            lambda p, s, n: _at_most(p, s) ** (n - 1) - (_at_most(p, s) - p) ** (n - 1),
            "this is the best of n - 1 draws, one too few.",
        ),
        (
            lambda p, s, n: p * _at_most(p, s) ** (n - 1),
            "here the *first* draw is the answer, the others are no better. The best one may come"
            " at any of the n draws.",
        ),
        (lambda p, s, n: p, "this is the distribution of one draw: n is not used."),
        (lambda p, s, n: p**n, "this is the probability that all n draws are the same answer."),
        (
            lambda p, s, n: 1 - (1 - p) ** n,
            "this is the probability that an answer is among the n. It must be the best of them.",
        ),
        (
            lambda p, s, n: _at_most(p, -s) ** n - (_at_most(p, -s) - p) ** n,
            "this is the worst of n: the answer with the *highest* score is kept.",
        ),
        (
            lambda p, s, n: n * p * _at_most(p, s) ** (n - 1),
            "this counts draws in which the best answer came twice more than once. Take a"
            " difference of two powers instead.",
        ),
        (
            lambda p, s, n: n * p * (_at_most(p, s) - p) ** (n - 1),
            "this leaves out draws in which the best answer came twice.",
        ),
        (
            lambda p, s, n: p * torch.exp(s) / (p * torch.exp(s)).sum(),
            "this weighs by exp(score): the best policy of RL with a price for distance. Best-of-n"
            " only looks at who is ahead.",
        ),
    ]

    def called(probs: Tensor, scores: Tensor, n: int) -> str:
        return f"the distribution of the best of {n} among {len(probs)} answers"

    judge_by_slips(attempt, cases, _best_by_enumeration, slips, called)
    return "right, as an enumeration of all draws says."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _advantages(
    rewards: Tensor,
    values: Tensor,
    discount: float,
    lam: float,
    fade: Callable[[float, float], float] = lambda discount, lam: discount * lam,
    behind: Callable[[list[float]], float] = lambda values: 0.0,
    minus: float = 1.0,
) -> list[float]:
    """Equation 16 of Schulman et al. 2015, as a sum for each token."""
    r, v = rewards.tolist(), values.tolist()
    nexts = [*v[1:], behind(v)]
    deltas = [r[t] + discount * nexts[t] - minus * v[t] for t in range(len(r))]
    faded = fade(discount, lam)
    return [
        math.fsum(faded ** (k - t) * deltas[k] for k in range(t, len(r))) for t in range(len(r))
    ]


def _surprises(rewards: Tensor, values: Tensor, discount: float, lam: float) -> list[float]:
    return _advantages(rewards, values, discount, lam, fade=lambda *_: 0.0)


def _forward(rewards: Tensor, values: Tensor, discount: float, lam: float) -> list[float]:
    ahead, found = 0.0, []
    for surprise in _surprises(rewards, values, discount, lam):
        ahead = surprise + discount * lam * ahead
        found.append(ahead)
    return found


@checker
def token_advantages(attempt: Attempt) -> str:
    """Compute generalised advantages of one answer."""
    cases = [
        (_numbers(seed, n), _numbers(seed + 20, n), discount, lam)
        for seed, (n, (discount, lam)) in enumerate(
            product((1, 4, 6), ((1.0, 0.95), (0.9, 0.5), (1.0, 0.0), (0.8, 1.0)))
        )
    ]
    slips = [
        (
            _surprises,
            "these are the surprises alone, as for lam = 0. Add those that follow, each fainter by"
            " discount * lam.",
        ),
        (
            _forward,
            "the surprises are added up from the front. A token is credited with what comes"
            " *after* it: begin at the last one.",
        ),
        (
            lambda *case: _advantages(*case, fade=lambda discount, lam: lam),
            "the surprises that follow fade by lam alone. They fade by discount * lam.",
        ),
        (
            lambda *case: _advantages(*case, fade=lambda discount, lam: discount),
            "the surprises that follow fade by the discount alone, as for lam = 1.",
        ),
        (
            lambda *case: _advantages(*case, behind=lambda v: v[-1]),
            "behind the last token stands its own value. Nothing is to come there: the value is 0.",
        ),
        (
            lambda *case: _advantages(*case, behind=lambda v: v[0]),
            "behind the last token stands the value of the first: `roll` goes round. Nothing is to"
            " come there, so the value is 0.",
        ),
        (
            lambda *case: _advantages(*case, minus=0.0),
            "the critic's value in front of the token is not taken off. Without it a token is"
            " praised for what was expected anyway.",
        ),
        (
            lambda r, v, discount, lam: [
                a + b for a, b in zip(_advantages(r, v, discount, lam), v.tolist(), strict=True)
            ],
            "these are advantage plus value: the returns, which the critic learns from.",
        ),
        (
            lambda *case: [-a for a in _advantages(*case)],
            "the sign is wrong: a token that turned out better than expected has an advantage above"
            " 0.",
        ),
        (
            lambda *case: _advantages(*case)[::-1],
            "the advantages are in reverse order: the last token's stands first. Turn them round.",
        ),
        (
            lambda *case: _whitened(torch.tensor(_advantages(*case))),
            "the advantages are whitened: mean 0, variance 1. Give them as they are.",
        ),
        (
            lambda r, v, discount, lam: _advantages(r - v, v * 0, discount, lam),
            "the value of what follows is missing: a surprise is reward + discount * next value -"
            " value.",
        ),
        (
            lambda r, v, discount, lam: _advantages(r, v, 1.0, discount * lam),
            "the discount is missing in the surprise: reward + discount * next value - value.",
        ),
    ]

    def called(rewards: Tensor, values: Tensor, discount: float, lam: float) -> str:
        return f"the advantages of {len(rewards)} tokens, discount {discount}, lam {lam}"

    judge_by_slips(attempt, cases, _advantages, slips, called)
    return "right, from lam = 0 (surprise alone) to lam = 1 (all that was earned)."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _policy_loss(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    clip: float,
    gain: Callable[[float, float, float], float] | None = None,
) -> float:
    """Minus the mean gain, token by token."""

    def clipped(ratio: float, advantage: float, clip: float) -> float:
        near = min(max(ratio, 1 - clip), 1 + clip)
        return min(ratio * advantage, near * advantage)

    gains = [
        (gain or clipped)(math.exp(new - old), advantage, clip)
        for new, old, advantage in zip(
            log_probs.tolist(), old_log_probs.tolist(), advantages.tolist(), strict=True
        )
    ]
    return -math.fsum(gains) / len(gains)


def _near(ratio: float, clip: float) -> float:
    return min(max(ratio, 1 - clip), 1 + clip)


@checker
def ppo_loss(attempt: Attempt) -> str:
    """Compute PPO's clipped loss over tokens."""
    cases = [
        (_numbers(seed, n) - 2, _numbers(seed + 30, n) - 2, _numbers(seed + 60, n), clip)
        for seed, (n, clip) in enumerate([(1, 0.2), (2, 0.2), (6, 0.2), (9, 0.1), (12, 0.4)])
    ]
    # ratios on both sides of the clip, for advantages of both signs
    ratios = torch.tensor([0.5, 0.9, 1.1, 2.0] * 2).log()
    cases.append((ratios - 1, torch.full((8,), -1.0), torch.tensor([1.0] * 4 + [-1.0] * 4), 0.2))
    slips = [
        (
            lambda *case: -_policy_loss(*case),
            "the sign is wrong: this is the gain. An optimizer makes a loss small, so negate it.",
        ),
        (
            lambda *case: _policy_loss(*case, gain=lambda ratio, a, clip: ratio * a),
            "nothing is clipped. Compare ratio * advantage with the clipped ratio times it.",
        ),
        (
            lambda *case: _policy_loss(*case, gain=lambda ratio, a, clip: _near(ratio, clip) * a),
            "the clipped form alone: a move in the wrong direction beyond the clip has no gradient"
            " and is never undone. Take the minimum of both forms.",
        ),
        (
            lambda *case: _policy_loss(
                *case, gain=lambda ratio, a, clip: max(ratio * a, _near(ratio, clip) * a)
            ),
            "you take the larger form. The smaller one counts: a bound from below.",
        ),
        (
            lambda *case: _policy_loss(
                *case, gain=lambda ratio, a, clip: min(ratio, _near(ratio, clip)) * a
            ),
            "the minimum is taken of the ratios, before the advantage. Where the advantage is below"
            " 0 that is the larger of the two gains. Multiply first.",
        ),
        (
            lambda new, old, a, clip: _policy_loss(old, new, a, clip),
            "the ratio is upside down: old / new. It is the policy by the one that drew the"
            " samples.",
        ),
        (
            lambda new, old, a, clip: _policy_loss(new, old, _whitened(a), clip),
            "the advantages are whitened first. Take them as they are given.",
        ),
        (
            lambda new, old, a, clip: _policy_loss(new, old * 0, a, clip),
            "the old log-probabilities are not used. The ratio is exp(new - old).",
        ),
        (
            lambda *case: _policy_loss(
                *case, gain=lambda ratio, a, clip: min(ratio * a, min(ratio, 1 + clip) * a)
            ),
            "the ratio is clipped above only. For an advantage below 0 the lower clip counts.",
        ),
        (
            lambda new, old, a, clip: _policy_loss(new, old, a, clip) * len(a),
            "this is the sum over tokens. Take their mean.",
        ),
        (
            lambda new, old, a, clip: _policy_loss(new.exp(), old.exp(), a, clip),
            "the ratio is exp of a difference of probabilities. Log-probabilities are given: exp of"
            " their difference is the ratio.",
        ),
        (
            lambda new, old, a, clip: (
                -sum(
                    min((x - y) * z, min(max(x - y, 1 - clip), 1 + clip) * z)
                    for x, y, z in zip(new.tolist(), old.tolist(), a.tolist(), strict=True)
                )
                / len(a)
            ),
            "this clips the difference of the log-probabilities. The ratio is its exponential.",
        ),
    ]

    def called(new: Tensor, old: Tensor, advantages: Tensor, clip: float) -> str:
        return f"the loss of {len(new)} token{'s' * (len(new) > 1)}, clip {clip}"

    judge_by_slips(attempt, cases, _policy_loss, slips, called)
    new = cases[2][0].requires_grad_()
    _require_gradient(attempt(new, *cases[2][1:]), "the log-probabilities of the policy")
    return "right: no gain beyond the clip, and a wrong move is always pulled back."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _direct_loss(
    policy: Tensor, reference: Tensor, beta: float, cost: Callable[[float], float] = _surprise
) -> float:
    leads = [
        beta * ((ours[0] - theirs[0]) - (ours[1] - theirs[1]))
        for ours, theirs in zip(policy.tolist(), reference.tolist(), strict=True)
    ]
    return math.fsum(map(cost, leads)) / len(leads)


_FIRST = torch.tensor([1.0, 0.0])  # keeps the chosen answer alone


@checker
def dpo_loss(attempt: Attempt) -> str:
    """Compute DPO's loss from log-probabilities of whole answers."""
    cases = [
        (_numbers(seed, n, 2, scale=4) - 9, _numbers(seed + 40, n, 2, scale=4) - 9, beta)
        for seed, (n, beta) in enumerate([(1, 0.5), (3, 0.1), (5, 1.0), (2, 0.3)])
    ]
    slips = [
        (
            lambda p, r, beta: _direct_loss(p, torch.zeros_like(r), beta),
            "the reference is missing: this only makes the chosen answer likelier than the other."
            " What counts is log(policy / reference).",
        ),
        (
            lambda p, r, beta: _direct_loss(r, p, beta),
            "policy and reference are exchanged (or chosen and rejected are): log(policy /"
            " reference) is policy minus reference, and the chosen answer stands first.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, r, 1.0),
            "beta is missing. It multiplies the lead *inside* the sigmoid.",
        ),
        (
            lambda p, r, beta: beta * _direct_loss(p, r, 1.0),
            "beta multiplies the loss. It belongs inside, before the sigmoid.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, r, 1 / beta),
            "you divide by beta. The implicit reward is beta times log(policy / reference).",
        ),
        (
            lambda p, r, beta: -_direct_loss(p, r, beta),
            "the sign is wrong: the loss is *minus* the mean log-sigmoid.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, r, beta) * len(p),
            "this is the sum over the pairs, not the mean.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, r, beta, lambda lead: 1 / (1 + math.exp(lead))),
            "the logarithm is missing.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, r, beta, lambda lead: -1 / (1 + math.exp(-lead))),
            "the logarithm is missing: this is minus the mean probability.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, r, beta, lambda lead: -lead),
            "the log-sigmoid is missing: this is minus the mean lead.",
        ),
        (
            lambda p, r, beta: _direct_loss(p * _FIRST, r * _FIRST, beta),
            "only the chosen answer's reward is used. The lead is that of the chosen one over the"
            " rejected one.",
        ),
        (
            lambda p, r, beta: _surprise(beta * (p - r).diff(dim=1).mean().item() * -1),
            "you average the leads first and then take the log-sigmoid. Take it pair by pair.",
        ),
        (
            lambda p, r, beta: _direct_loss(p.exp(), r.exp(), beta),
            "these are differences of probabilities. The tables hold log-probabilities already:"
            " their difference is the logarithm of the ratio.",
        ),
        (
            lambda p, r, beta: _direct_loss(p, -r, beta),
            "the reference is added. log(policy / reference) is a difference.",
        ),
    ]

    def called(policy: Tensor, reference: Tensor, beta: float) -> str:
        return f"the loss of {len(policy)} pair{'s' * (len(policy) > 1)}, beta {beta}"

    judge_by_slips(attempt, cases, _direct_loss, slips, called)
    far = torch.tensor([[-600.0, -100.0], [-100.0, -600.0]]), torch.full((2, 2), -300.0), 2.0
    got = attempt(*far)
    if not math.isfinite(float(got)):
        raise Wrong(
            f"right for small leads, but leads of -1000 and 1000 give {float(got)}: sigmoid"
            " underflows to 0 before the logarithm. `F.logsigmoid` takes both steps in one."
        )
    judge_by_slips(attempt, [far], _direct_loss, [], called)
    policy = cases[1][0].requires_grad_()
    _require_gradient(attempt(policy, *cases[1][1:]), "the policy")
    return "right: a reward model's loss, with the policy as the reward model."
