"""Checkers of lesson 20. The truths are plain loops over Python's numbers."""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips


def _pair_of(got: Any, names: str) -> tuple[Tensor, Tensor]:
    """The two tensors of a result, or a complaint."""
    if isinstance(got, Tensor) or not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"return two tensors, {names}; got {describe(got)}")
    return tuple(torch.as_tensor(part) for part in got)


def _table(seed: int, *shape: int) -> Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _softmax(row: Sequence[float]) -> list[float]:
    powers = [math.exp(value) for value in row]
    return [power / math.fsum(powers) for power in powers]


def _gates(
    logits: Tensor,
    n_chosen: int,
    normalise: bool,
    shares: Callable = _softmax,
    rank: Callable = lambda share: -share,
    weigh: Callable | None = None,
) -> tuple[list[list[int]], list[list[float]]]:
    """Choose and weigh row by row."""
    chosen, weights = [], []
    for row in logits.tolist():
        share = shares(row)
        best = sorted(range(len(row)), key=lambda e: rank(share[e]))[:n_chosen]
        picked = [share[e] for e in best]
        total = math.fsum(picked) if normalise else 1.0
        chosen.append(best)
        weights.append(weigh(picked) if weigh else [value / total for value in picked])
    return chosen, weights


def _in_order(logits: Tensor, n_chosen: int, normalise: bool) -> tuple:
    """The right visits, but each row sorted by the experts' numbers."""
    rows = zip(*_gates(logits, n_chosen, normalise), strict=True)
    pairs = [sorted(zip(*row, strict=True)) for row in rows]
    return tuple([[pair[part] for pair in row] for row in pairs] for part in (0, 1))


def _divided(total: Callable[[Tensor], Any]) -> Callable:
    """The right choice, but the table of weights divided by another total."""

    def slip(logits: Tensor, n_chosen: int, normalise: bool) -> tuple:
        chosen, weights = _gates(logits, n_chosen, False)
        table = torch.tensor(weights)
        return chosen, (table / total(table) if normalise else table).tolist()

    return slip


@checker
def top_k_gates(attempt: Attempt) -> str:
    """Choose the experts of each token by their softmax, and weigh them."""
    sizes = [(3, 4, 2), (5, 6, 1), (4, 6, 6), (2, 8, 3), (3, 5, 2)]
    cases = [
        (_table(seed, n, e), k, normalise)
        for seed, (n, e, k) in enumerate(sizes)
        for normalise in (False, True)
    ]
    down_the_columns = (
        "softmax ran over the tokens (dim 0). Each token compares its experts: along the last axis."
    )
    slips = [
        (
            lambda x, k, norm: _gates(x, k, norm, rank=lambda share: share),
            "these are the experts with the lowest affinities.",
        ),
        (
            lambda x, k, norm: _gates(x, k, True),
            "the weights always add up to 1. Take the softmax over all experts, not over the chosen"
            " ones alone, and divide by the sum only if `normalise` is true: else a token that fits"
            " none of its experts well counts for less.",
        ),
        (
            lambda x, k, norm: _gates(x, k, False),
            "`normalise` changes nothing: if it is true, the chosen weights are divided by their"
            " sum.",
        ),
        (
            lambda x, k, norm: _gates(x, k, not norm),
            "the weights are divided by their sum if `normalise` is false. It is the other way"
            " round.",
        ),
        (
            lambda x, k, norm: _gates(x, k, False, weigh=lambda picked: [1 / len(picked)] * k),
            "all chosen experts weigh the same. The right experts, but no number of the router is"
            " left in the result, so no gradient could teach it: weigh by the affinities.",
        ),
        (
            lambda x, k, norm: _gates(x, k, norm, shares=lambda row: row),
            "the weights are the logits. Take the softmax over all experts first.",
        ),
        (
            lambda x, k, norm: _gates(
                x, k, norm, shares=lambda row: [1 / (1 + math.exp(-value)) for value in row]
            ),
            "these are sigmoids (V3's affinities). V2 takes the softmax over all experts.",
        ),
        (_in_order, "the experts stand in the order of their numbers. First is the first choice."),
        (
            _divided(lambda weights: weights.sum()),
            "you divide by the sum of the whole table. Each token's weights have a sum of their"
            " own: one for each row.",
        ),
        (
            _divided(lambda weights: weights.sum(0)),
            "you divide by the sums of the columns (dim 0). Each token's weights are divided by"
            " their own sum, that of the row.",
        ),
        (
            _divided(lambda weights: weights.shape[1]),
            "with `normalise` you divide by the number of chosen experts. Divide by the sum of"
            " their weights.",
        ),
        (
            lambda x, k, norm: _gates(x.softmax(0), k, norm, shares=lambda row: row),
            down_the_columns,
        ),
    ]

    def plain(got: Any) -> Any:
        chosen, weights = _pair_of(got, "chosen and weights")
        if chosen.is_floating_point() and not weights.is_floating_point():
            raise Wrong("return chosen first and then weights. Yours are the other way round.")
        return chosen.tolist(), weights.detach().tolist()

    def called(x, k, normalise):
        return f"chosen and weights for logits {tuple(x.shape)}, {k} chosen, normalise={normalise}"

    judge_by_slips(attempt, cases, _gates, slips, called, plain=plain)
    logits = _table(9, 4, 5).requires_grad_()
    weights = _pair_of(attempt(logits, 2, False), "chosen and weights")[1]
    if not weights.requires_grad:
        raise Wrong(
            "the numbers are right, but no gradient flows from the weights back to the logits. Did"
            " you detach them, or go through Python's numbers? The router would never learn."
        )
    return "right, and the gradient of the weights reaches the router."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _expert_functions(n_experts: int, seen: list[int]) -> list[Callable[[Tensor], Tensor]]:
    """Experts that can be told apart, and write down how many tokens each call brings."""

    def expert(number: int) -> Callable[[Tensor], Tensor]:
        def work(x: Tensor) -> Tensor:
            seen.append(len(x))
            return (number + 1) * x + x.roll(1, -1) ** 2

        return work

    return [expert(number) for number in range(n_experts)]


def _mixed(
    x: Tensor,
    chosen: Tensor,
    weights: Tensor,
    experts: Sequence[Callable],
    weigh: Callable = lambda weights, slot, expert: weights[slot],
    add: bool = True,
    slots: int | None = None,
    before: bool = False,
) -> Tensor:
    """Mix token by token."""
    rows = []
    for token, row in enumerate(x):
        total = torch.zeros_like(row)
        order = sorted(range(chosen.shape[1])[:slots], key=lambda slot: chosen[token, slot].item())
        for slot in order:
            number = chosen[token, slot].item()
            weight, expert = weigh(weights[token], slot, number), experts[number]
            part = expert(weight * row[None])[0] if before else weight * expert(row[None])[0]
            total = total + part if add else part
        rows.append(total)
    return torch.stack(rows)


def _with_rows_and_columns_exchanged(
    x: Tensor, chosen: Tensor, weights: Tensor, experts: Sequence[Callable]
) -> Tensor:
    out = torch.zeros_like(x)
    for number, expert in enumerate(experts):
        slot, token = (chosen == number).nonzero(as_tuple=True)
        out = out.index_add(0, token, weights[slot, token, None] * expert(x[token]))
    return out


@checker
def mix_experts(attempt: Attempt) -> str:
    """Send each token to its experts and add up their weighted outputs."""
    seen: list[int] = []
    cases = []
    for seed, (n, e, k) in enumerate([(6, 3, 2), (5, 4, 1), (7, 5, 3), (2, 6, 2)]):
        rng = torch.Generator().manual_seed(seed)
        chosen = torch.rand(n, e, generator=rng).topk(k).indices
        weights = 0.1 + torch.rand(n, k, generator=rng)
        cases.append((_table(seed, n, 4), chosen, weights, _expert_functions(e, seen)))
    slips = [
        (
            lambda *case: _mixed(*case, weigh=lambda *_: 1.0),
            "the outputs are added up without their weights.",
        ),
        (
            lambda *case: _mixed(*case, weigh=lambda weights, *_: 1 / len(weights)),
            "this is the plain mean of the chosen experts. Multiply each by its weight.",
        ),
        (
            lambda *case: _mixed(*case, add=False),
            "a token that visits several experts keeps the last one's output only. Add them up:"
            " `out[token] = ...` overwrites, `index_add` adds.",
        ),
        (
            lambda *case: _mixed(*case, weigh=lambda weights, slot, expert: weights[0]),
            "every visit is weighed by the token's first weight. Weight number `slot` belongs to"
            " expert number `chosen[token, slot]`.",
        ),
        (lambda *case: _mixed(*case, slots=1), "only the first choice of each token is visited."),
        (
            lambda x, c, w, e: x + _mixed(x, c, w, e),
            "the token itself is added. The residual connection is the block's, not the layer's.",
        ),
        (
            lambda x, c, w, e: _mixed(x, c, w / w.sum(1, keepdim=True), e),
            "the weights are divided by their sum. Take them as they are given: whether to"
            " normalise was decided before.",
        ),
        (
            lambda x, c, w, e: _mixed(x, c, w, e) / c.shape[1],
            "the sum is divided by the number of visits, K. Add up the weighted outputs, no more.",
        ),
        (
            lambda x, c, w, e: _mixed(x, c, w * (c < len(e) - 1), e),
            "the last expert is left out. Let the loop run over all of them.",
        ),
        (
            lambda x, c, w, e: _mixed(x, c, w * (c > 0), e),
            "expert 0 is left out. Let the loop run over all experts.",
        ),
        (
            lambda x, c, w, e: _mixed(
                x, c, w, e, weigh=lambda weights, slot, number: weights[number % len(weights)]
            ),
            "the weights are looked up by the expert's number. They stand in the order of the"
            " choices: weight number `slot` belongs to expert number `chosen[token, slot]`.",
        ),
        (
            lambda x, c, w, e: _mixed(x, c, w, e, before=True),
            "the tokens are weighed before they go in. An expert is not linear: weigh its output.",
        ),
        (
            _with_rows_and_columns_exchanged,
            "rows and columns are exchanged: `nonzero` gives the row (the token) first, and then"
            " the column (the slot).",
        ),
    ]

    def called(x, chosen, weights, experts):
        return f"the output of {len(experts)} experts for {len(x)} tokens, {chosen.shape[1]} chosen"

    def counted(*case):
        seen.clear()
        out = attempt(*case)
        if sum(seen) > case[1].numel() and torch.allclose(
            torch.as_tensor(out), _mixed(*case), atol=1e-4
        ):
            raise Wrong(
                f"the numbers are right, but the experts were given {case[1].numel()} visits of"
                " work in the routing and did more: a token goes only to the experts that it"
                " chose. Else a mixture costs as much as computing all experts."
            )
        return out

    judge_by_slips(counted, cases, _mixed, slips, called)
    return "right, and no expert saw a token that did not choose it."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _loads(scores: Tensor, chosen: Tensor) -> list[int]:
    return [sum(row.count(e) for row in chosen.tolist()) for e in range(scores.shape[1])]


def _means(scores: Tensor) -> list[float]:
    return [math.fsum(column) / len(scores) for column in scores.T.tolist()]


def _balance(scores: Tensor, chosen: Tensor) -> float:
    """The loss expert by expert."""
    (n_tokens, n_experts), n_chosen = scores.shape, chosen.shape[1]
    total = 0.0
    for load, share in zip(_loads(scores, chosen), _means(scores), strict=True):
        total += load * n_experts / (n_chosen * n_tokens) * share
    return total


@checker
def balance_loss(attempt: Attempt) -> str:
    """Compute the balance loss of one sequence: f times P, summed over the experts."""
    cases = []
    for seed, (n, e, k) in enumerate([(4, 3, 1), (6, 4, 2), (5, 6, 3), (8, 5, 2)]):
        scores = _table(seed, n, e).softmax(-1)
        cases.append((scores, scores.topk(k).indices))
    cases.append((cases[1][0], (cases[1][1] + 1) % 4))  # chosen otherwise than by the scores
    cases.append((cases[0][0], torch.tensor([[0], [1], [0], [0]])))  # nobody visits the last expert
    slips = [
        (
            lambda s, c: _balance(s, c) / s.shape[1],
            "the result is E times too small. f is the load by a *fair* load, K T / E, and the"
            " products are added up over the experts (their mean is too little), so that even use"
            " costs exactly 1.",
        ),
        (
            lambda s, c: _balance(s, c) * c.shape[1] / s.shape[1],
            "f is the share of the tokens. Divide the load by a fair one, K T / E, so that even"
            " use costs exactly 1.",
        ),
        (
            lambda s, c: _balance(s, c) * c.shape[1],
            "the K is missing: a token makes K visits, so a fair load is K T / E.",
        ),
        (lambda s, c: _balance(s, c) * len(s), "P is a sum over the tokens. It is their mean."),
        (
            lambda s, c: sum((load / c.numel()) ** 2 * s.shape[1] for load in _loads(s, c)),
            "both factors are counts. No gradient flows through a count: P is the mean affinity.",
        ),
        (
            lambda s, c: sum(share**2 * s.shape[1] for share in _means(s)),
            "both factors are mean affinities. f counts the visits.",
        ),
        (lambda s, c: _balance(s, c) - 1, "1 is subtracted. Even use costs 1, as in the paper."),
        (
            lambda s, c: _balance(s, c) / s.shape[1] * c.numel(),
            "f is the bare count. Divide it by a fair load, K T / E.",
        ),
        (
            lambda s, c: _balance(s, c[:, :1]) / c.shape[1],
            "only the first choices are counted. A token visits all K of its experts.",
        ),
        (
            lambda s, c: _balance(s, c[:, :1]),
            "only the first choices are counted. A token visits all K of its experts.",
        ),
    ]

    def called(scores, chosen):
        (n, e), k = scores.shape, chosen.shape[1]
        return f"the loss of {n} tokens, {e} experts, {k} chosen"

    def plain(got: Any) -> Any:
        return got.detach() if isinstance(got, Tensor) else got

    def counted(scores, chosen):
        try:
            return attempt(scores, chosen)
        except Wrong as reason:
            if chosen.max() + 1 == scores.shape[1] or "size of tensor" not in str(reason):
                raise
            raise Wrong(
                "your function stops where the last experts have no visit. `torch.bincount` counts"
                " up to the largest number that occurs, unless it is told a `minlength`."
            ) from None

    judge_by_slips(counted, cases, _balance, slips, called, plain=plain)
    scores = cases[1][0].clone().requires_grad_()
    loss = attempt(scores, cases[1][1])
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Wrong(
            "the number is right, but no gradient flows back to the scores. Nothing would be"
            " balanced: keep P a tensor."
        )
    want = [load * 4 / (2 * 6) / 6 for load in _loads(*cases[1])]
    slope = torch.autograd.grad(loss, scores)[0]
    expect(slope, torch.tensor([want] * 6), "the gradient of the loss by the scores")
    return "right. Its gradient pushes down the affinities of the busy experts, and no others."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _allowed(
    scores: Tensor,
    n_groups: int,
    n_limited: int,
    rank: Callable = max,
    group_of: Callable = lambda expert, size, n_groups: expert // size,
) -> list[list[bool]]:
    """Mark the experts of the best groups, row by row."""
    size, rows = scores.shape[1] // n_groups, []
    for row in scores.tolist():
        groups = [group_of(expert, size, n_groups) for expert in range(len(row))]
        worth = [
            rank([v for v, g in zip(row, groups, strict=True) if g == n]) for n in range(n_groups)
        ]
        best = sorted(range(n_groups), key=lambda n: -worth[n])[:n_limited]
        rows.append([group in best for group in groups])
    return rows


@checker
def allowed_experts(attempt: Attempt) -> str:
    """Mark the experts on each token's best devices."""
    sizes = [(4, 6, 3, 1), (5, 8, 4, 2), (6, 12, 3, 2), (3, 6, 2, 2), (4, 5, 5, 2), (1, 8, 2, 1)]
    cases = [
        (_table(seed, n, e).mul(2).softmax(-1), g, m) for seed, (n, e, g, m) in enumerate(sizes)
    ]

    def of_best_experts(scores, n_groups, n_limited):
        size, rows = scores.shape[1] // n_groups, []
        for row in scores.tolist():
            best = sorted(range(len(row)), key=lambda e: -row[e])[:n_limited]
            groups = {expert // size for expert in best}
            rows.append([expert // size in groups for expert in range(len(row))])
        return rows

    def only_best(scores, n_groups, n_limited):
        best = scores.topk(n_limited).indices
        return torch.zeros_like(scores).scatter(1, best, 1.0).bool().tolist()

    slips = [
        (
            lambda *case: _allowed(*case, rank=sum),
            "the devices are ranked by the sum (or mean) of their affinities. V2 ranks a device by"
            " its best expert.",
        ),
        (
            lambda *case: _allowed(*case, group_of=lambda e, size, n: e % n),
            "expert e is on device e % n_groups. Neighbouring experts share a device: the first"
            " E / n_groups are on device 0.",
        ),
        (
            lambda s, g, m: (~torch.tensor(_allowed(s, g, m))).tolist(),
            "the mask is the other way round: True marks the experts that may be chosen.",
        ),
        (
            of_best_experts,
            "these are the devices of the M best *experts*, which may be fewer than M devices."
            " Rank the devices.",
        ),
        (only_best, "only M experts are allowed. All experts of the M best devices are."),
        (
            lambda s, g, m: _allowed(s.mean(0, keepdim=True), g, m) * len(s),
            "all tokens get the same devices. Each token ranks them anew.",
        ),
        (
            lambda s, g, m: _allowed(s.amax(0, keepdim=True), g, m) * len(s),
            "all tokens get the same devices. Each token ranks them anew.",
        ),
        (
            lambda *case: _allowed(*case, rank=lambda values: sum(sorted(values)[-2:])),
            "the devices are ranked by their two best experts (as in V3). V2 ranks a device by its"
            " best one.",
        ),
        (
            lambda *case: _allowed(*case, rank=lambda values: -max(values)),
            "these are the worst devices. Take those with the largest best affinity.",
        ),
        (
            lambda s, g, m: _allowed(s, g, m - 1),
            "one device too few is allowed: a token may visit `n_limited_groups`.",
        ),
        (
            lambda s, g, m: _allowed(s, s.shape[1] // g, m),
            "the number of devices and the number of experts on each are exchanged: `n_groups` is"
            " the number of devices.",
        ),
        (
            lambda s, g, m: [
                row[:: s.shape[1] // g] * (s.shape[1] // g) for row in _allowed(s, g, m)
            ],
            "the right devices, but their marks are laid end to end (`repeat`). Neighbouring"
            " experts share a device: each mark is repeated in its place (`repeat_interleave`).",
        ),
        (
            lambda s, g, m: [row[:: s.shape[1] // g] for row in _allowed(s, g, m)],
            "there is one mark for each device. Repeat it for every expert on the device.",
        ),
    ]

    def called(scores, n_groups, n_limited):
        n, e = scores.shape
        return f"the experts allowed to {n} tokens: {e} on {n_groups} devices, {n_limited} to visit"

    def plain(got: Any) -> Any:
        got = torch.as_tensor(got)
        if got.dtype != torch.bool:
            raise Wrong(f"the mask holds True and False; got {describe(got)}")
        return got.tolist()

    judge_by_slips(attempt, cases, _allowed, slips, called, plain=plain)
    return "right: the chosen experts will be on few devices, however many are chosen."


# Exercise 5
# --------------------------------------------------------------------------------------------------


def _kept(chosen: Tensor, n_experts: int, capacity: int) -> list[bool]:
    """Let in one visit after the other."""
    experts = chosen.tolist()
    return [experts[:place].count(expert) < capacity for place, expert in enumerate(experts)]


def _by_runs(chosen: Tensor, n_experts: int, capacity: int) -> list[bool]:
    """Forget an expert's load when another is visited."""
    runs = [list(run) for _, run in groupby(chosen.tolist())]
    return [place < capacity for run in runs for place in range(len(run))]


@checker
def kept_visits(attempt: Attempt) -> str:
    """Let visits in until an expert is full."""
    cases = [
        (torch.tensor(chosen), n, room)
        for chosen, n, room in (
            ([0, 1, 0, 0, 2, 1, 0], 3, 2),
            ([3, 3, 3, 3], 5, 1),
            ([2, 0, 1, 2, 0, 1], 3, 9),
            ([1, 1, 0, 1, 0, 0, 1, 2, 2, 2], 4, 3),
            ([0], 1, 1),
            ([0, 1, 0], 2, 0),
        )
    ]

    def total(chosen, n, room):
        return [place < n * room for place in range(len(chosen))]

    def all_or_none(chosen, n, room):
        return [chosen.tolist().count(expert) <= room for expert in chosen.tolist()]

    slips = [
        (
            lambda c, n, room: _kept(c, n, room + 1),
            "one too many is let in: an expert that has taken `capacity` visits is full.",
        ),
        (
            lambda c, n, room: _kept(c, n, room - 1),
            "one too few is let in: an expert takes exactly `capacity` visits.",
        ),
        (
            lambda c, n, room: _kept(c.flip(0), n, room)[::-1],
            "the last visits are let in. First come, first served.",
        ),
        (
            all_or_none,
            "an expert with too many visits loses them all. It keeps the first `capacity`.",
        ),
        (
            lambda c, n, room: _kept(c, n, max(room, 1)),
            "an expert of capacity 0 lets a visit in. It has no room at all.",
        ),
        (
            lambda c, n, room: [place < room for place in range(len(c))],
            "the visits are counted together. Each expert has a capacity of its own.",
        ),
        (
            lambda c, n, room: [i < room for e in range(n) for i in range(c.tolist().count(e))],
            "the mask is sorted by expert. It goes by the visits, in the order in which they come.",
        ),
        (
            _by_runs,
            "the counter starts again whenever another expert is visited. An expert remembers all"
            " its visits.",
        ),
        (total, "the visits are counted together. Each expert has a capacity of its own."),
        (
            lambda c, n, room: [not kept for kept in _kept(c, n, room)],
            "the mask is the other way round: True marks the visits that are let in.",
        ),
    ]

    def plain(got: Any) -> Any:
        got = torch.as_tensor(got)
        if got.dtype != torch.bool:
            raise Wrong(f"the mask holds True and False; got {describe(got)}")
        return got.tolist()

    def called(chosen, n, room):
        return f"the visits {chosen.tolist()} that {n} experts of capacity {room} let in"

    judge_by_slips(attempt, cases, _kept, slips, called, plain=plain)
    return "right: in the order in which they come."


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def upcycle(attempt: Attempt) -> str:
    """Make the matrices of experts that are copies of a dense SwiGLU."""
    cases = []
    for seed, (n_ff, n_model, n) in enumerate([(3, 2, 4), (4, 5, 2), (2, 2, 3), (6, 4, 1)]):
        gate, up = _table(seed, n_ff, n_model), _table(seed + 50, n_ff, n_model)
        cases.append((gate, up, _table(seed + 99, n_model, n_ff), n))

    def truth(gate, up, down, n):
        one = gate.tolist() + up.tolist()
        return [one for _ in range(n)], [down.tolist() for _ in range(n)]

    def changed(both=lambda gate, up: [*gate, *up], down=lambda table, n: table):
        def slip(gate, up, last, n):
            one = both(gate.tolist(), up.tolist())
            return [one for _ in range(n)], [down(last, n).tolist() for _ in range(n)]

        return slip

    slips = [
        (
            changed(both=lambda gate, up: [*up, *gate]),
            "`up` stands before `gate`. The library's experts have the gate first: silu would bend"
            " the wrong half.",
        ),
        (
            changed(both=lambda gate, up: [r for pair in zip(gate, up, strict=True) for r in pair]),
            "the rows of gate and up alternate. All rows of the gate come first, then all of up.",
        ),
        (
            changed(down=lambda table, n: table / n),
            "`down` is divided by the number of experts. A token's weights add up to 1, so each"
            " copy says what the dense network said.",
        ),
        (
            lambda gate, up, down, n: (
                [[*gate.tolist(), *up.tolist()] for _ in range(n)],
                [down.T.tolist() for _ in range(n)],
            ),
            "`down` is transposed. It stays (C, F), as torch's linear layers have it.",
        ),
        (
            changed(both=lambda gate, up: [*gate, *gate]),
            "the gate stands in both halves, and `up` is missing.",
        ),
        (
            changed(both=lambda gate, up: [*up, *up]),
            "`up` stands in both halves, and the gate is missing.",
        ),
    ]

    def plain(got: Any) -> Any:
        gate_up, down = _pair_of(got, "gate_up and down")
        return gate_up.detach().tolist(), down.detach().tolist()

    def sized(gate, up, down, n):
        """The answer, if its shapes are right."""
        parts = _pair_of(attempt(gate, up, down, n), "gate_up and down")
        got = tuple(tuple(part.shape) for part in parts)
        n_ff, n_model = gate.shape
        want = (n, 2 * n_ff, n_model), (n, n_model, n_ff)
        if got == want[::-1] and got != want:
            raise Wrong("return gate_up first and then down. Yours are the other way round.")
        if got[0] == (n, n_ff, 2 * n_model):
            raise Wrong("the gate stands beside `up`. Put it above: 2 F rows of C numbers.")
        if got[0] != want[0]:
            raise Wrong(f"the shape of gate_up is {got[0]}. It should be (E, 2F, C), {want[0]}.")
        if any((part != part[:1]).any() for part in parts):
            raise Wrong("the experts differ. Right after upcycling each is a copy of the same MLP.")
        return parts

    def called(gate, up, down, n):
        return f"gate_up and down for {n} experts, F = {len(gate)}, C = {gate.shape[1]}"

    judge_by_slips(sized, cases, truth, slips, called, plain=plain)
    for part in _pair_of(attempt(*cases[0]), "gate_up and down"):
        if part.untyped_storage().nbytes() < part.numel() * part.element_size():
            raise Wrong(
                "the numbers are right, but all experts share one memory (`expand`): whatever one"
                " learns, all would. Make copies (`repeat`, `stack`)."
            )
    return "right: right after it, nothing has changed."
