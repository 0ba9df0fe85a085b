"""Checkers of lesson 32. The truths are loops over Python's numbers, and derivatives by hand."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, expect
from course_lib.lab.checks.slips import judge_by_slips


def _table(seed: int, *shape: int) -> Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _mask(*lengths: int) -> Tensor:
    """True on the tokens of completions of these lengths."""
    return torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _estimates(
    new: Tensor,
    old: Tensor,
    reference: Tensor,
    weight: Callable = lambda n, o: math.exp(n - o),
    value: Callable = lambda d: math.exp(d) - d - 1,
) -> list[float]:
    rows = zip(new.tolist(), old.tolist(), reference.tolist(), strict=True)
    return [weight(n, o) * value(q - n) for n, o, q in rows]


@checker
def weighted_k3(attempt: Attempt) -> str:
    """Weigh k3 by policy / sampler, with a gradient through both."""
    chances = torch.tensor([[0.5, 0.2, 0.3], [0.25, 0.2, 0.6], [0.25, 0.4, 0.3]]).log()
    cases = [tuple(chances), (_table(1, 6) - 2, _table(2, 6) - 2, _table(3, 6) - 2)]
    slips = [
        (
            lambda *c: _estimates(*c, weight=lambda n, o: 1.0),
            "this is k3 alone. It is a mean over what the *sampler* drew: weigh it by policy /"
            " sampler.",
        ),
        (
            lambda *c: _estimates(*c, weight=lambda n, o: math.exp(o - n)),
            "the weight is upside down: it is policy / sampler, so that a mean over the sampler's"
            " tokens becomes one over the policy's.",
        ),
        (
            lambda *c: _estimates(*c, value=lambda d: math.exp(-d) + d - 1),
            "k3 has the wrong direction: its quotient is reference / policy, not policy /"
            " reference.",
        ),
        (
            lambda *c: _estimates(*c, value=lambda d: -d),
            "the estimate is k1, -log(reference / policy). V3.2 weighs k3.",
        ),
        (
            lambda *c: _estimates(*c, value=lambda d: d * d / 2),
            "the estimate is k2, half the square of the log. V3.2 weighs k3.",
        ),
        (
            lambda *c: _estimates(*c, value=lambda d: math.exp(d) - d),
            "the -1 of k3 is missing: where policy and reference agree, the estimate is 0.",
        ),
        (
            lambda *c: _estimates(*c, weight=lambda n, o: n - o),
            "the weight is the log of the ratio. The ratio is its exponential.",
        ),
        (
            lambda n, o, q: _estimates(n, q, q),
            "k3 is weighed by policy / reference. The weight is policy / *sampler*.",
        ),
        (
            lambda n, o, q: _estimates(n, o, o),
            "the distance is that from the sampler. k3 compares the policy with the *reference*.",
        ),
        (
            lambda n, o, q: _estimates(n, o, q, value=lambda d: math.exp(d) + d - 1),
            "the sign of the log is wrong: k3 is r - log r - 1.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim == 0:
            raise Wrong("one number came back. Give the estimate of each token: no mean, no sum.")
        return got

    def called(new: Tensor, old: Tensor, reference: Tensor) -> str:
        return f"the weighted estimates of {len(new)} tokens"

    judge_by_slips(attempt, cases, _estimates, slips, called, plain=plain)
    new, old, reference = cases[0]
    table = new.clone().requires_grad_()
    got = attempt(table, old, reference)
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Wrong("the values are right, but no gradient flows back to the log-probabilities.")
    slope = torch.autograd.grad(got.sum(), table)[0]
    ratio, log_ratio = (new - old).exp(), reference - new
    if torch.allclose(slope, ratio * (1 - log_ratio.exp()), atol=1e-5):
        raise Wrong(
            "the values are right, and the ratio is detached. Its gradient is half of the repair:"
            " without it, what pulls is still KL(reference || policy)."
        )
    if torch.allclose(slope, ratio * (log_ratio.exp() - log_ratio - 1), atol=1e-5):
        raise Wrong("the values are right, and k3 is detached: a gradient flows through both.")
    expect(slope, -ratio * log_ratio, "the gradient of the estimates by the log-probabilities")
    return "right. Its gradient is ratio times log(policy / reference): what one wanted."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _kept(
    new: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    delta: float,
    far: Callable = lambda gaps: math.fsum(gaps) / len(gaps),
    bad: Callable = lambda a: a < 0,
    sign: float = 1.0,
    whole: bool = False,
) -> list[bool]:
    found = []
    for row, a in enumerate(advantages.tolist()):
        real = torch.ones_like(mask[row]) if whole else mask[row]
        gaps = (sign * (old[row] - new[row]))[real].tolist()
        found.append(not (bad(a) and far(gaps) > delta))
    return found


def _cases_of_kept() -> list[tuple]:
    old = torch.tensor([[8, 8], [8, 8], [2, 2], [8, 8], [8, 6], [8, 8]]).div(10).log()
    new = torch.tensor([[4, 8], [4, 8], [8, 2], [7, 8], [2, 1], [6, 8]]).div(10).log()
    signs = torch.tensor([-1.0, 1.0, -1.0, -1.0, 0.0, -1.0])
    by_hand = (new, old, signs, _mask(2, 2, 2, 1, 2, 1), 0.2)
    lengths = (3, 6, 1, 4, 2, 5, 6, 3)
    signs = torch.tensor([-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, -0.5, 0.0])
    many = (_table(1, 8, 6), _table(2, 8, 6), signs, _mask(*lengths), 0.15)
    edge = (torch.tensor([[-1.5, -0.5], [-1.75, -0.5]]), torch.tensor([[-1.0, 0.0]] * 2),
            -torch.ones(2), _mask(2, 2), 0.5)  # fmt: skip
    return [by_hand, edge, many, (_table(5, 8, 6), _table(6, 8, 6), signs, _mask(*lengths), 0.6)]


@checker
def kept_answers(attempt: Attempt) -> str:
    """Tell which answers the policy may still learn from."""
    slips = [
        (
            lambda *c: _kept(*c, bad=lambda a: True),
            "good answers are masked as well. One with an advantage of 0 or more always counts,"
            " however far off it is.",
        ),
        (
            lambda *c: _kept(*c, bad=lambda a: a > 0),
            "you mask the good answers. It is the bad ones, below 0, that may mislead.",
        ),
        (
            lambda *c: _kept(*c, bad=lambda a: a <= 0),
            "an advantage of exactly 0 is not below 0: such an answer is kept.",
        ),
        (
            lambda *c: _kept(*c, sign=-1.0),
            "the distance has the wrong sign: it is log(sampler / policy), large where the policy"
            " would hardly draw the answer any more.",
        ),
        (
            lambda *c: _kept(*c, far=math.fsum),
            "the distance is the sum over the tokens. Take their mean: a long answer is not further"
            " off for being long.",
        ),
        (
            lambda *c: _kept(*c, whole=True),
            "padding counts in the mean. Only real tokens do, those of the mask.",
        ),
        (
            lambda new, old, a, mask, delta: _kept(
                new * mask, old * mask, a, mask, delta, whole=True
            ),
            "you divide by the width of the table. Divide by each answer's real tokens, or a short"
            " answer seems nearer than it is.",
        ),
        (
            lambda *c: _kept(*c[:4], c[4] - 1e-7),
            "a distance of exactly the threshold is not above it: such an answer is kept.",
        ),
        (
            lambda *c: _kept(*c, far=lambda gaps: _mean_of(map(abs, gaps))),
            "the distance is a mean of sizes. Keep the sign of each token's log(sampler / policy):"
            " they may cancel.",
        ),
        (
            lambda *c: _kept(*c, far=max),
            "one token decides. The distance is the mean over the answer's tokens.",
        ),
        (
            lambda *c: _kept(*c, far=lambda gaps: math.exp(_mean_of(gaps))),
            "the threshold is for the mean *log* of the ratio, not for its exponential.",
        ),
        (
            lambda *c: [not kept for kept in _kept(*c)],
            "True and False are exchanged: True is for answers that are kept.",
        ),
        (lambda *c: [True] * len(c[0]), "nothing is ever masked."),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim == 2 and got.shape[1] > 1:
            raise Wrong(
                f"a table {tuple(got.shape)} came back. A whole answer is kept or not: one verdict"
                " per row."
            )
        if isinstance(got, Tensor):
            got = got.flatten().tolist()
        return [bool(each) for each in got] if isinstance(got, list | tuple) else got

    def called(new: Tensor, old: Tensor, a: Tensor, mask: Tensor, delta: float) -> str:
        return f"which of {len(new)} answers are kept at a threshold of {delta:g}"

    judge_by_slips(attempt, _cases_of_kept(), _kept, slips, called, plain=plain)
    return "right. Good answers always count; bad ones while the policy might still give them."


def _mean_of(values: Any) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _under_mask(
    logits: Tensor,
    kept: Tensor,
    tokens: Tensor,
    whole: Callable = lambda chances, left: math.fsum(
        c for c, k in zip(chances, left, strict=True) if k
    ),
) -> list[float]:
    found = []
    for row, left, token in zip(logits.tolist(), kept.tolist(), tokens.tolist(), strict=True):
        chances = [math.exp(x) for x in row]
        found.append(math.log(chances[token] / whole(chances, left)))
    return found


def _zeroed_scores(logits: Tensor, kept: Tensor, tokens: Tensor) -> list[float]:
    """Ruled-out scores become 0, so their probabilities do not."""
    return _under_mask(logits * kept, torch.ones_like(kept), tokens)


@checker
def kept_log_probs(attempt: Attempt) -> str:
    """Give log-probabilities among the tokens that the sampler's filter left."""
    kept = torch.tensor([[True, True, False, False], [True, False, True, True], [True] * 4])
    by_hand = torch.tensor([[0.5, 0.3, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]]).log()
    scores = _table(1, 5, 6)
    best = scores >= scores.sort(-1, descending=True).values[:, 2:3]
    cases = [
        (by_hand, kept, torch.tensor([1, 2, 0])),
        (scores, best, scores.argmax(-1)),
        (scores + 3, best, scores.masked_fill(~best, torch.inf).argmin(-1)),
    ]
    slips = [
        (
            lambda *c: _under_mask(*c, whole=lambda chances, left: math.fsum(chances)),
            "these are log-probabilities among *all* tokens. Under the mask they are larger: what"
            " is left is divided by its own sum.",
        ),
        (
            _zeroed_scores,
            "a score of 0 does not rule a token out: exp(0) is 1. Its score must be -inf.",
        ),
        (
            lambda *c: _under_mask(
                *c,
                whole=lambda chances, left: (
                    math.fsum(c for c, k in zip(chances, left, strict=True) if not k) or 1.0
                ),
            ),
            "the mask is turned round: True is for tokens that were left.",
        ),
        (
            lambda *c: [math.exp(x) for x in _under_mask(*c)],
            "these are probabilities. Their logarithms are asked for.",
        ),
        (
            lambda *c: _under_mask(*c, whole=lambda chances, left: 1.0),
            "these are scores: nothing is divided by a sum.",
        ),
        (
            lambda *c: _under_mask(*c, whole=lambda chances, left: max(chances)),
            "you divide by the best token's probability. Divide by the sum of what is left.",
        ),
        (lambda *c: [-x for x in _under_mask(*c)], "these are surprises: the sign is turned."),
        (
            lambda logits, kept, tokens: [
                x + math.log(sum(left) / len(left))
                for x, left in zip(_under_mask(logits, kept, tokens), kept.tolist(), strict=True)
            ],
            "the sum of what is left is divided by a share of the vocabulary: what counts is the"
            " probability that is left, not the number of tokens.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.ndim == 2 and got.shape[1] > 1:
            raise Wrong(
                f"a table {tuple(got.shape)} came back. Give one number per token that was chosen:"
                " gather it."
            )
        if isinstance(got, Tensor) and got.isneginf().any():
            raise Wrong(
                "a drawn token has probability 0: the mask is turned round. True is for tokens that"
                " were left."
            )
        return got

    def called(logits: Tensor, kept: Tensor, tokens: Tensor) -> str:
        return f"the log-probabilities of {len(tokens)} tokens under the mask"

    judge_by_slips(attempt, cases, _under_mask, slips, called, plain=plain)
    table = by_hand.clone().requires_grad_()
    got = attempt(table, kept, cases[0][2])
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Wrong("the numbers are right, but no gradient flows back to the scores.")
    slope = torch.autograd.grad(got.sum(), table)[0]
    if not slope.isfinite().all():
        raise Wrong(
            "the numbers are right, their gradient is NaN: where a probability is 0, its log has no"
            " slope. Rule out the score, before the softmax."
        )
    if slope[~kept].abs().max() > 1e-5:
        raise Wrong("the numbers are right, but a gradient reaches tokens that were ruled out.")
    return "right. Where nothing was ruled out, it is the usual log-probability."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _flipped(chosen: Tensor, theirs: Tensor) -> float:
    pairs = list(zip(chosen.tolist(), theirs.tolist(), strict=True))
    return sum(len(set(own) - set(other)) for own, other in pairs) / chosen.numel()


@checker
def flipped_share(attempt: Attempt) -> str:
    """Give the share of choices of experts that flipped, whatever their order."""
    cases = [
        (torch.tensor([[0, 3], [1, 2], [4, 0]]), torch.tensor([[3, 0], [1, 5], [4, 0]])),
        (torch.tensor([[7, 2, 5], [0, 1, 6]]), torch.tensor([[2, 4, 3], [6, 0, 5]])),
        (
            torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8], [1, 2, 3]]),
            torch.tensor([[2, 9, 1], [8, 7, 6], [7, 6, 8], [3, 1, 2]]),
        ),
        (torch.tensor([[0], [1]]), torch.tensor([[0], [1]])),
    ]
    slips = [
        (
            lambda a, b: (a != b).double().mean().item(),
            "you compare place by place. Experts 0 and 3 are the same choice as 3 and 0: the order"
            " does not change what a token is computed by.",
        ),
        (
            lambda a, b: _mean_of(
                set(x) != set(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)
            ),
            "this is the share of *tokens* with any flip. Count choices: a token with one of two"
            " experts flipped is half a flip.",
        ),
        (lambda a, b: 1 - _flipped(a, b), "this is the share that stayed the same."),
        (
            lambda a, b: _flipped(a, b) * a.numel(),
            "this is the number of flips. Divide by the number of choices.",
        ),
        (
            lambda a, b: _flipped(a, b) * a.shape[1],
            "you divide by the number of tokens. There are K choices for each of them.",
        ),
        (
            lambda a, b: 2 * _flipped(a, b),
            "each flip is counted twice, as the expert that went and as the one that came.",
        ),
        (
            lambda a, b: (a.sort(-1).values != b.sort(-1).values).double().mean().item(),
            "sorted rows are compared place by place. If 1 2 becomes 2 3, expert 2 has not flipped,"
            " though its place has.",
        ),
        (
            lambda a, b: 1 - _mean_of(x in set(b.flatten().tolist()) for x in a.flatten().tolist()),
            "you look an expert up among those of all tokens. Each token's own choices count.",
        ),
        (
            lambda a, b: (a[:, :, None] != b[:, None, :]).double().mean().item(),
            "every pair of choices counts. Ask of each choice whether *any* of theirs is equal.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.numel() > 1:
            raise Wrong("several numbers came back. One share over all tokens is asked for.")
        return got.item() if isinstance(got, Tensor) else got

    def called(chosen: Tensor, theirs: Tensor) -> str:
        return f"the share of flips among {chosen.numel()} choices"

    judge_by_slips(attempt, cases, _flipped, slips, called, plain=plain)
    return "right."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _gates(
    logits: Tensor,
    theirs: Tensor,
    n_chosen: int,
    scale: float,
    score: Callable = lambda x: 1 / (1 + math.exp(-x)),
    by: Callable = lambda picked, row: math.fsum(picked),
) -> list[list[float]]:
    found = []
    for row, other in zip(logits.tolist(), theirs.tolist(), strict=True):
        chosen = sorted(range(len(row)), key=lambda e: -other[e])[:n_chosen]
        picked = [score(row[expert]) for expert in chosen]
        gates = [0.0] * len(row)
        for expert, value in zip(chosen, picked, strict=True):
            gates[expert] = scale * value / by(picked, [score(x) for x in row])
        found.append(gates)
    return found


@checker
def replayed_gates(attempt: Attempt) -> str:
    """Choose experts as the sampler did, and weigh them by the present router."""
    cases = [
        (torch.tensor([[0.6, 0.5, 0.2, 0.1]]).logit(), torch.tensor([[0.6, 0.1, 0.5, 0.2]]).logit(),
         2, 1.0),
        (_table(1, 5, 6), _table(2, 5, 6), 2, 2.5),
        (_table(3, 4, 8), _table(4, 4, 8), 3, 1.5),
    ]  # fmt: skip
    slips = [
        (
            lambda own, theirs, k, s: _gates(own, own, k, s),
            "the experts are chosen anew, by the present router. Keep the sampler's choice.",
        ),
        (
            lambda own, theirs, k, s: _gates(theirs, theirs, k, s),
            "the weights are the sampler's too. Only the *choice* is kept: what a chosen expert"
            " counts is reckoned from the present router, or it would learn nothing.",
        ),
        (
            lambda own, theirs, k, s: _gates(theirs, own, k, s),
            "the two are exchanged: choose by the sampler's logits, weigh by the present ones.",
        ),
        (
            lambda *c: _gates(*c, by=lambda picked, row: 1.0),
            "the weights are not divided by their sum over the chosen experts.",
        ),
        (
            lambda *c: _gates(*c, by=lambda picked, row: math.fsum(row)),
            "you divide by the sum over all experts. It runs over the chosen ones.",
        ),
        (
            lambda own, theirs, k, s: _gates(own, theirs, k, 1.0),
            "`scale` is not used: it multiplies every weight.",
        ),
        (
            lambda *c: _gates(*c, score=math.exp),
            "the affinities are a softmax's. V3's router takes the sigmoid of each logit.",
        ),
        (
            lambda *c: _gates(*c, score=lambda x: x),
            "the logits themselves are the weights. Their sigmoids are meant.",
        ),
        (
            lambda *c: _gates(*c, score=lambda x: 1.0),
            "all chosen experts count the same. Their weights come from the present router.",
        ),
    ]

    def plain(got: Any) -> Any:
        if isinstance(got, tuple):
            raise Wrong("a tuple came back. Give one table of weights, 0 where not chosen.")
        return got

    def called(logits: Tensor, theirs: Tensor, n_chosen: int, scale: float) -> str:
        return f"the weights of {logits.shape[1]} experts, {n_chosen} chosen, scale {scale:g}"

    judge_by_slips(attempt, cases, _gates, slips, called, plain=plain)
    table = cases[1][0].clone().requires_grad_()
    got = attempt(table, *cases[1][1:])
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Wrong("the weights are right, but the router gets no gradient from them.")
    return "right. The choice is the sampler's, the weights are today's, and the router learns."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _loss(
    rewards: Tensor,
    ratios: Tensor,
    divergences: Tensor,
    mask: Tensor,
    kept: Tensor,
    clip: float,
    beta: float,
    worth: Callable = lambda reward, mean, deviation: reward - mean,
    add: Callable = lambda gain, keep, price: gain * keep - price,
    cut: Callable = lambda r, near, a: min(r * a, near * a),
    average: Callable = lambda sums, lengths, T: _mean_of(
        s / n for s, n in zip(sums, lengths, strict=True)
    ),
) -> float:
    values = rewards.tolist()
    mean = _mean_of(values)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    sums, lengths = [], []
    for row, reward in enumerate(values):
        a, n = worth(reward, mean, deviation), int(mask[row].sum())
        total = []
        for r, d in zip(ratios[row, :n].tolist(), divergences[row, :n].tolist(), strict=True):
            gain = cut(r, min(1 + clip, max(1 - clip, r)), a)
            total.append(add(gain, float(kept[row]), beta * d))
        sums.append(math.fsum(total))
        lengths.append(n)
    return -average(sums, lengths, mask.shape[1])


@checker
def v32_loss(attempt: Attempt) -> str:
    """Put V3.2's loss of one group together."""
    cases = []
    for seed, lengths in ((1, (2, 3, 1, 3)), (5, (4, 2, 5, 3, 1, 5))):
        G, T = len(lengths), max(lengths)
        cases.append((
            _table(seed, G).round() + torch.arange(G) % 2, (_table(seed + 1, G, T) / 2).exp(),
            _table(seed + 2, G, T).square(), _mask(*lengths), torch.arange(G) % 3 > 0, 0.2, 0.3,
        ))  # fmt: skip
    slips = [
        (
            lambda *c: _loss(*c, worth=lambda r, m, s: (r - m) / s),
            "the advantages are divided by the group's standard deviation. V3.2 takes the"
            " difference alone.",
        ),
        (
            lambda *c: _loss(*c, worth=lambda r, m, s: (r - m) / (s + 1e-4)),
            "the advantages are divided by the group's standard deviation. V3.2 takes the"
            " difference alone.",
        ),
        (
            lambda *c: _loss(*c, worth=lambda r, m, s: r),
            "the rewards themselves are the advantages. Subtract the mean of the group.",
        ),
        (
            lambda *c: _loss(*c, add=lambda gain, keep, price: (gain - price) * keep),
            "the mask multiplies the KL divergence too. It silences the gain alone: a masked answer"
            " still pays for its distance.",
        ),
        (
            lambda *c: _loss(*c, add=lambda gain, keep, price: gain - price),
            "`kept` is not used: answers that are not kept have no gain.",
        ),
        (
            lambda *c: _loss(*c, add=lambda gain, keep, price: gain * (1 - keep) - price),
            "`kept` is turned round: True is for answers whose gain counts.",
        ),
        (
            lambda *c: _loss(*c, add=lambda gain, keep, price: gain * keep + price),
            "the divergence is paid for: it is taken from the gain, before the sign is turned.",
        ),
        (
            lambda *c: _loss(*c, add=lambda gain, keep, price: gain * keep),
            "the divergence is missing: `beta` times it is taken from the gain.",
        ),
        (
            lambda *c: _loss(*c, cut=lambda r, near, a: near * a),
            "the clipped form alone. Take the smaller of both, or nothing pulls a token back.",
        ),
        (
            lambda *c: _loss(*c, cut=lambda r, near, a: max(r * a, near * a)),
            "the larger of both products. Take the smaller, or the clip never ends a gain.",
        ),
        (
            lambda *c: _loss(*c[:6], 1.0),
            "`beta` is not used: it multiplies the divergence.",
        ),
        (
            lambda *c: _loss(*c, cut=lambda r, near, a: r * a),
            "nothing is clipped.",
        ),
        (
            lambda *c: _loss(*c, average=lambda sums, n, T: _mean_of(sums)),
            "the mean over an answer's tokens is missing: their sum is taken.",
        ),
        (
            lambda *c: _loss(*c, average=lambda sums, n, T: math.fsum(sums) / sum(n)),
            "one mean over all tokens of the group. Here each answer has a mean of its own first.",
        ),
        (
            lambda *c: _loss(
                *c, average=lambda sums, n, T: _mean_of(s / T for s in sums)
            ),
            "you divide by the width of the table. Divide by each answer's real tokens.",
        ),
        (
            lambda *c: -_loss(*c),
            "the sign is turned: a loss is what a step makes small.",
        ),
        (
            lambda *c: _loss(
                *c,
                average=lambda sums, n, T: math.fsum(
                    s / k for s, k, keep in zip(sums, n, c[4].tolist(), strict=True) if keep
                ) / sum(c[4].tolist()),
            ),
            "answers that are not kept are left out of the mean. They stay in it, with no gain.",
        ),
        (
            lambda *c: _loss(*c, average=lambda sums, n, T: math.fsum(
                s / k for s, k in zip(sums, n, strict=True))),
            "the answers are added up. Average over them, or a larger group makes a larger step.",
        ),
        (
            lambda *c: _loss(*c, average=lambda sums, n, T: math.fsum(
                s / k for s, k in zip(sums, n, strict=True)) / sum(c[4].tolist())),
            "you divide by the number of kept answers. The mean is over all of the group.",
        ),
        (
            lambda *c: _loss(*c[:3], torch.ones_like(c[3]), *c[4:]),
            "padding counts as tokens. Only real tokens do, those of the mask.",
        ),
    ]  # fmt: skip

    def plain(got: Any) -> Any:
        if isinstance(got, Tensor) and got.numel() > 1:
            raise Wrong("several numbers came back. A loss is one number.")
        return got.item() if isinstance(got, Tensor) else got

    def called(rewards: Tensor, *rest: Any) -> str:
        return f"the loss of a group of {len(rewards)} answers"

    judge_by_slips(attempt, cases, _loss, slips, called, plain=plain)
    ratios = cases[0][1].clone().requires_grad_()
    got = attempt(cases[0][0], ratios, *cases[0][2:])
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Wrong("the number is right, but no gradient flows back to the ratios.")
    slope = torch.autograd.grad(got, ratios)[0]
    if slope[~cases[0][4]].abs().max() > 0:
        raise Wrong("a masked answer still moves the policy by its gain.")
    return "right: GRPO's loss with an unscaled advantage and a mask over whole answers."
