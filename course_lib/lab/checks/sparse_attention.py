"""Checkers of lesson 29. The truths are loops over tokens, complex numbers and sorting by hand."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, expect
from course_lib.lab.checks.slips import judge_by_slips


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _score(q: Tensor, keys: Tensor, weights: Tensor, match=lambda z: max(0.0, z)) -> Tensor:
    """Sum over the heads one by one, without any scale."""
    T, H, S = *q.shape[:2], len(keys)
    scores = torch.zeros(T, S, dtype=torch.double)
    for t in range(T):
        for s in range(S):
            for h in range(H):
                product = float(q[t, h].double() @ keys[s].double())
                scores[t, s] += float(weights[t, h]) * match(product)
    return scores


@checker
def indexer_scores(attempt: Attempt) -> str:
    """Score keys by a weighted sum of ReLU(q.k) over the heads."""
    cases = [
        (_draw(T, H, D, seed=seed), _draw(S, D, seed=seed + 5), _draw(T, H, seed=seed + 9))
        for seed, (T, H, D, S) in enumerate([(3, 4, 5, 6), (5, 2, 8, 5), (1, 3, 2, 7)])
    ]

    def scaled(q, numbers):
        heads, width = q.shape[1:]
        return (numbers / (heads * width) ** 0.5).float()

    def truth(q, keys, weights):
        return scaled(q, _score(q, keys, weights))

    ones = torch.ones_like
    slips = [
        (
            lambda q, k, w: scaled(q, _score(q, k, w, lambda z: z)),
            "ReLU is missing: a head that finds no match must add 0, and not something negative.",
        ),
        (
            lambda q, k, w: scaled(q, _score(q, k, w, lambda z: z).relu()),
            "ReLU comes too late: it is taken of each head's product, before heads are added up.",
        ),
        (
            lambda q, k, w: scaled(q, sum(
                _score(q[:, [h]], k, w[:, [h]], lambda z: z).relu() for h in range(q.shape[1])
            )),
            "ReLU is taken after the weight. A negative weight must be able to speak against a"
            " token: ReLU of the product first, then the weight.",
        ),
        (
            lambda q, k, w: scaled(q, _score(q, k, ones(w))),
            "the weights are missing: the token that looks back says how much each head counts.",
        ),
        (
            lambda q, k, w: _score(q, k, w).float(),
            "the scale is missing: divide by the root of (heads x width).",
        ),
        (
            lambda q, k, w: (_score(q, k, w) / q.shape[2] ** 0.5).float(),
            "only the width is in the scale. Divide by the root of (heads x width).",
        ),
        (
            lambda q, k, w: (_score(q, k, w) / q.shape[1] ** 0.5).float(),
            "only the heads are in the scale. Divide by the root of (heads x width).",
        ),
        (
            lambda q, k, w: (_score(q, k, w) / (q.shape[1] * q.shape[2])).float(),
            "you divide by heads x width, not by its root.",
        ),
        (
            lambda q, k, w: truth(q, k, w.softmax(-1)),
            "a softmax is on the weights. They are used as they are, and may be negative.",
        ),
        (
            lambda q, k, w: truth(q, k, w) / q.shape[1],
            "you take the mean over the heads. The formula adds them up.",
        ),
        (
            lambda q, k, w: truth(q, k, w).softmax(-1),
            "these are shares, after softmax. The exercise asks for the scores.",
        ),
        (
            lambda q, k, w: truth(q, k, w).T,
            "the table is on its side: the tokens that look back are rows.",
        ),
    ]  # fmt: skip

    def called(q, keys, weights):
        return f"the scores of {len(keys)} keys for {len(q)} tokens and {q.shape[1]} heads"

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: equation 1, with the scales of the release."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _normed(row: Tensor, centre: bool = True, eps: float = 1e-6, last: int = 0) -> list[float]:
    """Norm a row of numbers by hand."""
    x = row.double().tolist()
    mean = sum(x) / len(x) if centre else 0.0
    size = sum((v - mean) ** 2 for v in x) / (len(x) - last)
    return [(v - mean) / math.sqrt(size + eps) for v in x]


def _turned(numbers: list[float], angles: Tensor, pair="halves", where="first", sign=1):
    """Turn pairs of numbers as complex ones; the rest stays."""
    width = 2 * len(angles)
    start = 0 if where == "first" else len(numbers) - width
    out = list(numbers)
    for i, angle in enumerate(angles.tolist()):
        a, b = {
            "halves": (i, i + width // 2),
            "neighbours": (2 * i, 2 * i + 1),
            "half of all": (i, i + len(numbers) // 2),
        }[pair]
        turned = complex(numbers[start + a], numbers[start + b])
        turned *= complex(math.cos(angle), sign * math.sin(angle))
        out[start + a], out[start + b] = turned.real, turned.imag
    return out


def _keys(made, gain, bias, angles, norm=_normed, **turn) -> Tensor:
    rows = []
    for row, angle in zip(made, angles, strict=True):
        numbers = [
            n * g + b for n, g, b in zip(norm(row), gain.tolist(), bias.tolist(), strict=True)
        ]
        rows.append(_turned(numbers, angle, **turn) if turn.get("pair") != "none" else numbers)
    return torch.tensor(rows)


def _turned_first(made, gain, bias, angles) -> Tensor:
    rows = [
        torch.tensor(_turned(r.double().tolist(), a)) for r, a in zip(made, angles, strict=True)
    ]
    return _keys(torch.stack(rows), gain, bias, angles, pair="none")


@checker
def index_keys(attempt: Attempt) -> str:
    """Norm what was made for the keys and rotate its first numbers."""
    cases = []
    for seed, (S, D, pairs, size) in enumerate([(5, 12, 2, 1.0), (4, 8, 4, 1.0), (3, 10, 3, 3e-3)]):
        made, gain, bias = (_draw(*n, seed=seed + i) for i, n in enumerate([(S, D), (D,), (D,)]))
        cases.append((size * made + size, gain, bias, 2 * _draw(S, pairs, seed=seed + 7)))

    slips = [
        (
            lambda *x: _keys(*x, norm=lambda row: _normed(row, centre=False)),
            "that is RMSNorm. The indexer's keys have LayerNorm: the mean is taken off first.",
        ),
        (
            lambda m, g, b, a: _keys(m, g, torch.zeros_like(b), a),
            "the bias is missing: LayerNorm here has a gain and a bias.",
        ),
        (
            lambda m, g, b, a: _keys(
                m, g, torch.zeros_like(b), a, norm=lambda row: _normed(row, centre=False)
            ),
            "that is RMSNorm, without a bias. The indexer's keys have LayerNorm: the mean is taken"
            " off first, and a bias is added last.",
        ),
        (
            lambda m, g, b, a: _keys(m, torch.ones_like(g), torch.zeros_like(b), a),
            "gain and bias are missing: `F.layer_norm` takes both after the width.",
        ),
        (
            lambda m, g, b, a: _keys(m, torch.ones_like(g), b, a),
            "the gain is missing: LayerNorm here has a gain and a bias.",
        ),
        (
            lambda *x: _keys(*x, norm=lambda row: _normed(row, last=1)),
            "LayerNorm divides the squares by how many numbers there are, not by one fewer.",
        ),
        (
            lambda *x: _keys(*x, norm=lambda row: _normed(row, eps=1e-5)),
            "eps is 1e-6 here, and torch's default is 1e-5: it is felt where numbers are small.",
        ),
        (
            lambda *x: _keys(*x, norm=lambda row: row.double().tolist()),
            "nothing is normed: LayerNorm comes before the rotation.",
        ),
        (
            lambda m, g, b, a: _keys(
                m, torch.ones_like(g), torch.zeros_like(b), a, norm=lambda row: row.tolist()
            ),
            "nothing is normed: LayerNorm, with its gain and bias, comes before the rotation.",
        ),
        (
            lambda *x: _keys(*x, where="last"),
            "the last numbers are rotated, as the main attention's. The indexer rotates its first.",
        ),
        (
            lambda *x: _keys(*x, pair="neighbours"),
            "neighbours are rotated together. Here number i goes with number i + half.",
        ),
        (
            lambda *x: _keys(*x, pair="half of all"),
            "number i is rotated with number i + half of the whole key. The partner is i + P: half"
            " of what is rotated.",
        ),
        (
            lambda m, g, b, a: (
                _keys(m, torch.ones_like(g), torch.zeros_like(b), a) * g.double() + b.double()
            ),
            "gain and bias come after the rotation. They belong to LayerNorm, before it.",
        ),
        (
            lambda *x: _keys(*x, pair="none"),
            "nothing is rotated: without it a score could not tell how far away a token is.",
        ),
        (
            lambda *x: _keys(*x, sign=-1),
            "the rotation goes backwards: look at the sign of the sines.",
        ),
        (_turned_first, "you rotate before the norm. The norm comes first."),
        (
            lambda *x: _keys(*x)[:, : 2 * x[3].shape[1]],
            "the numbers that are not rotated are gone: they stay behind the rotated ones.",
        ),
        (
            lambda *x: torch.cat(
                [_keys(*x)[:, : 2 * x[3].shape[1]], x[0].double()[:, 2 * x[3].shape[1] :]], 1
            ),
            "what is not rotated was not normed either: LayerNorm is for the whole key.",
        ),
    ]

    def called(made, gain, bias, angles):
        return f"{len(made)} keys of {made.shape[1]} numbers, {2 * angles.shape[1]} of them rotated"

    judge_by_slips(attempt, cases, _keys, slips, called, tolerance=1e-4)
    return "right: LayerNorm with gain and bias, then the first numbers rotated, i with i + half."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _chosen(scores: Tensor, k: int, past=1, hide=True, late=False, sign=-1) -> Tensor:
    """Sort the places of each row by score, then by place; `past` is what it may see of itself."""
    T, S = scores.shape
    table = torch.zeros(T, S, dtype=torch.bool)
    for t, row in enumerate(scores.tolist()):
        end = S - T + t + past
        places = range(end if hide else S)
        ranked = sorted(places, key=lambda s: (sign * row[s], -s if late else s))
        table[t, [s for s in ranked[:k] if s < end]] = True
    return table


def _all_equal(scores: Tensor, k: int) -> Tensor:
    """Take also what is equal to the last of the chosen."""
    return (scores >= _least(scores, k)) & _visible(scores)


def _least(scores: Tensor, k: int) -> Tensor:
    """The smallest of the k best in each row; -inf where fewer are visible."""
    hidden = scores.masked_fill(~_visible(scores), -torch.inf)
    return hidden.topk(min(k, scores.shape[1])).values[:, -1:]


def _sorted_upwards(scores: Tensor, k: int) -> Tensor:
    """Sort without `descending`, so that what is hidden comes first."""
    worst = scores.masked_fill(~_visible(scores), -torch.inf).sort(stable=True).indices[:, :k]
    return torch.zeros(scores.shape).bool().scatter(1, worst, True) & _visible(scores)


@checker
def choose_few(attempt: Attempt) -> str:
    """Mark the k best visible keys of each of the last T tokens, of equal ones the earliest."""
    cases = []
    for seed, (T, S, k) in enumerate([(7, 7, 3), (3, 8, 4), (1, 6, 2), (4, 4, 1), (3, 5, 9)]):
        dice = torch.Generator().manual_seed(seed)
        cases.append((torch.randint(0, 3, (T, S), generator=dice).float(), k))
    cases.append((-_draw(6, 6, seed=3).abs() - 1, 2))

    slips = [
        (
            lambda s, k: _all_equal(s, k),
            "where scores are equal too many are chosen: all that reach the smallest of the k"
            " best. ReLU makes many scores exactly 0; of equal ones take the earliest.",
        ),
        (
            lambda s, k: _chosen(s, k, late=True),
            "of equal scores you take the latest. The earliest is the rule here: it does not"
            " change when the text goes on.",
        ),
        (
            lambda s, k: _chosen(s, k, hide=False),
            "later tokens take places: they are hidden only after the choice, so that fewer than k"
            " are left. Hide them before.",
        ),
        (
            lambda s, k: _chosen(s, k, past=0),
            "a token may choose itself too.",
        ),
        (
            lambda s, k: _chosen(s, k, past=1 - s.shape[1] + len(s)),
            "the T tokens are the LAST of the S: row 0 sees S - T + 1 keys. You count from the"
            " first key.",
        ),
        (
            lambda s, k: _chosen(s, k, sign=1),
            "you chose the smallest scores.",
        ),
        (
            _sorted_upwards,
            "the sort begins with the smallest, which are the hidden ones at -inf: "
            "`descending=True` puts the best first.",
        ),
        (
            lambda s, k: _all_equal(s, k) & (s > _least(s, k)),
            "where scores are equal too few are chosen: none of those that reach just the smallest"
            " of the k best. Fill up with them, the earliest first.",
        ),
        (
            lambda s, k: torch.ones(s.shape).tril(s.shape[1] - len(s)).bool(),
            "all that is visible is marked. Only the k best are to be.",
        ),
        (
            _by_topk,
            "of equal scores `topk` takes any. The earliest is the rule here: sort with"
            " `stable=True`, which keeps equals in their order.",
        ),
        (
            _filled,
            "where a token sees fewer than k, hidden ones are marked to fill up. Take them off"
            " again.",
        ),
        (
            lambda s, k: _by_topk(s, k, after=False),
            "where a token sees fewer than k, hidden ones are marked to fill up: take them off"
            " again. And of equal scores `topk` takes any, where the earliest is the rule here.",
        ),
        (
            lambda s, k: _all_equal(s, k) | ~_least(s, k).isfinite(),
            "where a token sees fewer than k, all that is hidden is marked, as -inf reaches -inf."
            " And of equal scores too many are chosen: the earliest is the rule here.",
        ),
        (
            lambda s, k: _free(s.masked_fill(~_visible(s), 0.0), k) & _visible(s),
            "later tokens are hidden by 0 or another number, which is a score like others, and"
            " better than a lower one. Hide them by -inf.",
        ),
        (lambda s, k: _chosen(s, k + 1), "one too many is chosen in each row: k are asked for."),
        (lambda s, k: _chosen(s, k - 1), "one too few is chosen in each row: k are asked for."),
        (
            _free,
            "later tokens are chosen: a token must not see what comes after it.",
        ),
        (
            lambda s, k: torch.ones(s.shape).tril(s.shape[1] - len(s)).bool()
            & ~torch.ones(s.shape).tril(s.shape[1] - len(s) - k).bool(),
            "that is a window: the k last tokens, whatever their scores.",
        ),
    ]  # fmt: skip

    def called(scores, k):
        return f"the best {k} for the last {len(scores)} of {scores.shape[1]} tokens"

    judge_by_slips(attempt, cases, _chosen, slips, called)
    kind = torch.as_tensor(attempt(*cases[0])).dtype
    if kind != torch.bool:
        raise Wrong(
            f"the right tokens are marked, but the table holds {kind}. Booleans are asked for,"
            " which can be used as a mask."
        )
    return "right: at most k in each row, none from the future, and ties go to the earliest."


def _visible(scores: Tensor) -> Tensor:
    T, S = scores.shape
    return torch.ones(T, S).tril(S - T).bool()


def _by_topk(scores: Tensor, k: int, after: bool = True) -> Tensor:
    """Leave ties to torch; `after` takes off what is hidden."""
    best = scores.masked_fill(~_visible(scores), -torch.inf).topk(min(k, scores.shape[1])).indices
    table = torch.zeros(scores.shape).bool().scatter(1, best, True)
    return table & _visible(scores) if after else table


def _filled(scores: Tensor, k: int) -> Tensor:
    """Fill up with hidden tokens, the earliest first, to k in each row."""
    return _free(scores.masked_fill(~_visible(scores), -torch.inf), k)


def _free(scores: Tensor, k: int) -> Tensor:
    """Choose among all keys, later ones too."""
    table = torch.zeros(scores.shape, dtype=torch.bool)
    for t, row in enumerate(scores.tolist()):
        table[t, sorted(range(len(row)), key=lambda s: (-row[s], s))[:k]] = True
    return table


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _weights(H: int, selected: Tensor, seed: int) -> Tensor:
    scores = _draw(H, *selected.shape, seed=seed) * 2
    return scores.masked_fill(~selected, -torch.inf).softmax(-1)


def _some(T: int, S: int, k: int, seed: int) -> Tensor:
    return _chosen(_draw(T, S, seed=seed), k)


@checker
def mass_recall(attempt: Attempt) -> str:
    """Tell which share of each token's attention falls on what is selected."""
    cases = []
    for seed, (H, T, S, k) in enumerate([(2, 4, 4, 2), (3, 2, 6, 3), (4, 1, 5, 2)]):
        visible = torch.ones(T, S).tril(S - T).bool()
        cases.append((_weights(H, visible, seed), _some(T, S, k, seed + 4)))

    def per_head(weights, selected):
        return torch.tensor([[
            sum(w for w, on in zip(row, marks, strict=True) if on)
            for row, marks in zip(head, selected.tolist(), strict=True)
        ] for head in weights.tolist()])  # fmt: skip

    def truth(weights, selected):
        return torch.tensor([sum(c) / len(c) for c in per_head(weights, selected).T.tolist()])

    slips = [
        (
            lambda w, s: truth(w, s) * len(w),
            "the heads are added up: that is up to the number of heads. A share is at most 1.",
        ),
        (per_head, "one number per token is asked for: take the mean over the heads as well."),
        (lambda w, s: truth(w, s).mean(), "one number per token, please, not their mean."),
        (
            lambda w, s: per_head(w, s).amax(0),
            "you take the head with the largest share. All heads count alike: the mean.",
        ),
        (
            lambda w, s: s.float().sum(-1) / (w[0] > 0).sum(-1),
            "you count tokens. Each counts as much as attention looks at it: its weight.",
        ),
        (
            lambda w, s: torch.ones(len(s)),
            "that is 1 for every choice: what is not selected must be missing from the sum.",
        ),
        (
            lambda w, s: truth(w, s) / s.sum(-1),
            "you divide by how many are selected. The share of the whole is the sum alone.",
        ),
        (lambda w, s: 1 - truth(w, s), "that is what is missed. Recall is what is caught."),
        (
            lambda w, s: (w.mean(0) * s).mean(-1),
            "you divide by the number of keys. The weights of a row add up to 1 already: sum them.",
        ),
        (
            lambda w, s: (w.mean(0) * s).sum(0),
            "you sum over the tokens that look back. Sum over the keys, the last axis.",
        ),
    ]

    def called(weights, selected):
        return f"the recall of {len(selected)} tokens, {len(weights)} heads"

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: 1 where all is caught that attention looks at."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _shares(weights: Tensor) -> Tensor:
    return weights.double().sum(0) / weights.double().sum(0).sum(-1, keepdim=True)


def _kl_rows(target: Tensor, scores: Tensor, selected: Tensor, turned: bool = False) -> Tensor:
    """KL of each row by a loop, over the selected alone."""
    rows = []
    for p, row, on in zip(target.double(), scores.double(), selected, strict=True):
        p, q = p[on], row[on].exp() / row[on].exp().sum()
        a, b = (q, p) if turned else (p, q)
        rows.append(
            sum(x * math.log(x / y) for x, y in zip(a.tolist(), b.tolist(), strict=True) if x > 0)
        )
    return torch.tensor(rows)


@checker
def indexer_kl(attempt: Attempt) -> str:
    """The divergence of the indexer's shares from those of attention, on what is selected."""
    cases = []
    for seed, (H, T, S, k) in enumerate([(2, 4, 4, 3), (3, 3, 7, 4), (4, 5, 5, 5)]):
        selected = _some(T, S, k, seed)
        cases.append((_weights(H, selected, seed + 20), _draw(T, S, seed=seed + 30), selected))

    def truth(weights, scores, selected):
        return _kl_rows(_shares(weights), scores, selected).mean()

    every = torch.ones_like
    slips = [
        (
            lambda w, s, on: _kl_rows(_shares(w), s, on, turned=True).mean(),
            "the divergence is the other way round. What attention looks at must not be missed:"
            " the sum is weighed by attention's shares p, KL(p || indexer).",
        ),
        (
            lambda w, s, on: _kl_rows(_shares(w), s, on).sum(),
            "the rows are added up. Here the loss is their mean, nats per token.",
        ),
        (
            lambda w, s, on: _kl_rows(_shares(w), s, on).sum() / on.numel(),
            "you average over all entries of the table. Sum over the keys, then average over rows.",
        ),
        (
            lambda w, s, on: _kl_rows(_shares(w), s, every(on)).mean(),
            "softmax runs over all keys. Only the selected ones take part.",
        ),
        (
            lambda w, s, on: _kl_rows(_shares(w), s * on, every(on)).mean(),
            "the scores that are not selected are 0, and e to the 0 is 1 in softmax. Hide them by"
            " -inf.",
        ),
        (
            lambda w, s, on: _kl_rows(_shares(w), s, on).sum() / on.sum(),
            "you average over all that is selected. Sum over the keys, then average over rows.",
        ),
        (
            lambda w, s, on: torch.stack([_kl_rows(head, s, on).mean() for head in w]).mean(),
            "the heads are compared one by one. The indexer has one answer for all of them: sum"
            " their weights first.",
        ),
        (
            lambda w, s, on: torch.stack([_kl_rows(head, s, on).mean() for head in w]).sum(),
            "the heads are compared one by one. The indexer has one answer for all of them: sum"
            " their weights first.",
        ),
        (
            lambda w, s, on: _unnormed_kl(w, s, on),
            "the heads' sum is not divided: its rows add up to the number of heads, and are no"
            " shares.",
        ),
        (
            lambda w, s, on: _kl_rows(
                w.double().sum(0).masked_fill(~on, -torch.inf).softmax(-1), s, on
            ).mean(),
            "attention's weights go through another softmax. They are shares already but for"
            " their sum: divide by it.",
        ),
        (
            lambda w, s, on: _cross_entropy(w, s, on),
            "that is the cross-entropy. KL is 0 where the indexer agrees: take attention's own"
            " entropy off.",
        ),
        (
            lambda w, s, on: _torch_kl(_index_shares(s, on), _shares(w)),
            "`F.kl_div` takes logarithms first, and got shares: log_softmax in place of softmax.",
        ),
        (
            lambda w, s, on: _torch_kl(_shares(w), _index_shares(s, on)),
            "`F.kl_div` takes the indexer's logarithms first and attention's shares second.",
        ),
        (lambda w, s, on: -truth(w, s, on), "the sign is wrong: a divergence is never below 0."),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda w, s, on: "the loss")
    _judge_gradient(attempt, *cases[1])
    return "right: only the indexer's scores get a gradient from it."


def _unnormed_kl(weights: Tensor, scores: Tensor, selected: Tensor) -> Tensor:
    heads, target = len(weights), _shares(weights)
    return (heads * (_kl_rows(target, scores, selected) + math.log(heads))).mean()


def _index_shares(scores: Tensor, selected: Tensor) -> Tensor:
    return scores.double().masked_fill(~selected, -torch.inf).softmax(-1)


def _torch_kl(first: Tensor, second: Tensor) -> Tensor:
    return F.kl_div(first, second, reduction="none").sum(-1).mean()


def _cross_entropy(weights: Tensor, scores: Tensor, selected: Tensor) -> Tensor:
    target = _shares(weights)
    entropy = torch.special.entr(target).sum(-1)
    return (_kl_rows(target, scores, selected) + entropy).mean()


def _judge_gradient(attempt: Attempt, weights: Tensor, scores: Tensor, selected: Tensor) -> None:
    """The scores must be taught, softmax less target; attention's weights must not."""
    weights, scores = weights.clone().requires_grad_(), scores.clone().requires_grad_()
    loss = attempt(weights, scores, selected)
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Wrong("the loss has no gradient: nothing could be learnt by it. Did you detach it?")
    loss.backward()
    if scores.grad is None:
        raise Wrong("the scores get no gradient: the indexer is what should learn.")
    if weights.grad is not None and weights.grad.any():
        raise Wrong(
            "attention's weights get a gradient too: attention would learn to look where the"
            " indexer expects it. Detach the target."
        )
    shares = scores.detach().masked_fill(~selected, -torch.inf).softmax(-1)
    want = (shares - _shares(weights.detach())).float() / len(scores)
    expect(scores.grad, want, "the gradient of the scores")


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def decode_costs(attempt: Attempt) -> str:
    """Count the products of attention, and of indexer and attention, for one new token."""
    cases = [
        (10, 4, 3, 5, 2, 2, 7),
        (4096, 512, 32, 256, 32, 4, 48),
        (131072, 2048, 128, 512, 64, 64, 128),
        (6, 50, 2, 8, 4, 3, 5),
    ]

    def each(heads, latent, rotary):
        return heads * (2 * latent + rotary)

    def truth(context, k, heads, latent, rotary, index_heads, index_dim):
        dense = sum(each(heads, latent, rotary) for _ in range(context))
        read = k if k < context else context
        return dense, context * index_heads * index_dim + read * each(heads, latent, rotary)

    def other(change):
        return lambda *case: (truth(*case)[0], change(*case))

    def lean(share):
        def count(S, k, H, R, P, Hi, Di):
            one = H * share(R, P)
            return S * one, S * Hi * Di + min(S, k) * one

        return count

    slips = [
        (
            other(lambda S, k, H, R, P, Hi, Di: min(S, k) * each(H, R, P)),
            "the indexer's own work is missing. It scores every cached token.",
        ),
        (
            other(lambda S, k, H, R, P, Hi, Di: Hi * Di + min(S, k) * each(H, R, P)),
            "the indexer is counted for one token. It scores every cached one.",
        ),
        (
            lambda *case: (truth(*case)[0] + case[0] * case[5] * case[6], truth(*case)[1]),
            "attention to all tokens needs no indexer: it belongs to the second number alone.",
        ),
        (
            other(lambda S, k, H, R, P, Hi, Di: min(S, k) * (each(H, R, P) + Hi * Di)),
            "the indexer scores ALL cached tokens: it is what finds the best of them.",
        ),
        (
            other(lambda S, k, H, R, P, Hi, Di: S * (each(H, R, P) + Hi * Di)),
            "attention reads the chosen tokens alone, not the whole context.",
        ),
        (
            other(lambda S, k, H, R, P, Hi, Di: S * Hi * Di + k * each(H, R, P)),
            "where there are fewer than top_k tokens, only those there are can be read.",
        ),
        (
            other(lambda S, k, H, R, P, Hi, Di: (S > k) * S * Hi * Di + min(S, k) * each(H, R, P)),
            "with no more than top_k tokens the indexer is left out. The count is asked for with"
            " it, at every context.",
        ),
        (
            lambda S, *rest: truth(S + 1, *rest),
            "the new token is counted besides. The `context` tokens of the cache are asked for.",
        ),
        (
            lean(lambda R, P: R + P),
            "after the scores, each head averages the latents: another `latent` products for each"
            " token it reads.",
        ),
        (
            lean(lambda R, P: 2 * (R + P)),
            "the average is over latents alone: rotary keys are in the scores and not in values.",
        ),
        (lean(lambda R, P: 2 * R), "the rotary part of the scores is missing."),
        (
            lambda S, k, H, R, P, Hi, Di: (S * (2 * R + P), S * Hi * Di + min(S, k) * (2 * R + P)),
            "the heads are missing: each has its own scores and its own average.",
        ),
        (
            other(lambda S, k, H, R, P, Hi, Di: S * Di + min(S, k) * each(H, R, P)),
            "the indexer's heads are missing: they share the keys, but each has its own products.",
        ),
        (lambda *case: truth(*case)[::-1], "the two have changed places: dense comes first."),
    ]

    def called(S, k, H, R, P, Hi, Di):
        return (
            f"the products at {S} tokens, top_k {k}, {H} heads, latent {R}, rotary {P}, indexer"
            f" {Hi} x {Di}"
        )

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: both grow with the context, and the indexer's part grows much more slowly."
