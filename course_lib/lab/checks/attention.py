"""Checkers of lesson 06. The truths are plain Python loops, and attention over a whole text for
attention in pieces."""

import math
import weakref
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.compare import is_like
from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips, name_slip


def _softmax(scores: list[float]) -> list[float]:
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def scaled_scores(attempt: Attempt) -> str:
    """Score every query (T, D) against every key (S, D)."""
    rng, cases = torch.Generator().manual_seed(1), []
    for T, S, D in ((3, 5, 4), (6, 2, 9), (1, 3, 16)):
        cases.append((torch.randn(T, D, generator=rng), torch.randn(S, D, generator=rng)))
    judge_by_slips(attempt, cases, _scaled_products, _score_slips, _named_scores)
    return "right: a standard deviation of 1 at any width, whatever the number of keys."


def _named_scores(q: Tensor, k: Tensor) -> str:
    return f"the scores of {len(q)} queries and {len(k)} keys of width {k.shape[1]}"


def _products(q: Tensor, k: Tensor) -> Tensor:
    return torch.tensor([[sum((query * key).tolist()) for key in k] for query in q])


def _scaled_products(q: Tensor, k: Tensor) -> Tensor:
    return _products(q, k) / math.sqrt(q.shape[1])


def _score_slips(q: Tensor, k: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes make of the dot products."""
    raw, scaled, T, (S, D) = _products(q, k), _scaled_products(q, k), len(q), k.shape
    return [
        (
            raw,
            "the products are right, but nothing is divided. These scores grow with the width D.",
        ),
        (
            raw / math.sqrt(S),
            (
                "right shape, wrong size. Your scores shrink when there are more keys (S), as if"
                " you had divided by sqrt(S). A score must not depend on how many other keys there"
                " are. Which length does it sum over?"
            ),
        ),
        (
            raw / math.sqrt(T),
            (
                "right shape, wrong size: it is as if you had divided by sqrt(T), the number of"
                " queries. Which length does one score sum over?"
            ),
        ),
        (
            raw / D,
            (
                "you divided by D. A sum of D products of random sign grows like the square root of"
                " D, so D is too much: the scores of wide heads would now be too small."
            ),
        ),
        (
            raw * math.sqrt(D),
            "you multiplied by sqrt(D). It should make the scores smaller: divide.",
        ),
        (
            scaled.softmax(-1),
            "these are weights already: a softmax was taken. The exercise stops at the scores.",
        ),
        (
            scaled.floor(),
            "the scores are rounded down: `//` drops what follows the point. Use `/`.",
        ),
        (
            scaled.masked_fill(torch.ones(T, S).triu(1) > 0, -torch.inf),
            "a causal mask was applied. The exercise stops at the scores, of all keys.",
        ),
        (
            scaled.T,
            (
                f"the table is ({S}, {T}): one row per key. Queries come first: one row per query,"
                f" ({T}, {S})."
            ),
        ),
    ]


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def causal_weights(attempt: Attempt) -> str:
    """Turn a (T, T) table of scores into weights over the past and the present."""
    rows = [[0.5, 2.0, -1.0, 0.3], [1.0, 0.0, 3.0, 1.5], [0.2, -0.7, 0.4, 2.5], [1.2, 0.1, -2, 0.6]]
    scores, seen = torch.tensor(rows), torch.ones(4, 4, dtype=torch.bool).tril()
    name_slip(attempt, [(scores,), (3 * scores[:3, 1:],)], _causal_softmax, _mask_slips)
    got = attempt(scores)
    _judge_fill(got, scores, seen)
    expect(got, _causal_softmax(scores), "the weights of four tokens")
    if (future := torch.as_tensor(got)[~seen].abs().max()) > 0:
        raise Wrong(
            f"the future gets a weight of {future:.1e}, it should get exactly 0. Mask its scores"
            " with -inf; no finite number is low enough for all scores."
        )
    large = torch.tensor([[0.0, 120.0], [120.0, 120.0]])
    got = attempt(large)
    if isinstance(got, Tensor) and got[0].isnan().all() and not got[1].isnan().any():
        raise Wrong(
            "for the scores [[0, 120], [120, 120]] the first row is NaN: the future took part, in"
            " the softmax or in the largest score that you subtracted, and left nothing for the"
            " past to divide. Mask before both."
        )
    want = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    expect(got, want, "the weights for scores as large as 120")
    expect(attempt(torch.tensor([[-3.0]])), torch.ones(1, 1), "the weight of a single token")
    return "right: rows sum to 1, and no token attends to the future."


def _causal_softmax(scores: Tensor) -> Tensor:
    T = len(scores)
    rows = [_softmax(row[: t + 1]) + [0.0] * (T - 1 - t) for t, row in enumerate(scores.tolist())]
    return torch.tensor(rows)


def _judge_fill(got: Any, scores: Tensor, seen: Tensor) -> None:
    """Find the one finite score that all weights of the future come from, if there is one."""
    if not isinstance(got, Tensor) or got.shape != scores.shape:
        return
    powers = got.detach().double().log()
    fill = (powers - powers[:, :1] + scores[:, :1])[~seen]
    if fill.isfinite().all() and fill.max() - fill.min() < 0.01:
        raise Wrong(
            f"the scores of the future were set to {fill.mean():.4g}, so it has a share; it should"
            " get exactly 0. Mask its scores with -inf: no finite number is low enough for all"
            " scores."
        )


def _mask_slips(scores: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give."""
    seen = torch.ones_like(scores, dtype=torch.bool).tril()
    blank = scores.masked_fill(~seen, -torch.inf)
    strict = scores.masked_fill(~seen.tril(-1), -torch.inf)
    return [
        (
            scores.softmax(-1) * seen,
            (
                "your rows do not sum to 1: the softmax was taken over all tokens and the future"
                " wiped out afterwards. The future has already taken its share. Mask the scores"
                " first."
            ),
        ),
        (
            blank.softmax(-2),
            (
                "your columns sum to 1, not your rows: the softmax ran over the queries (dim -2)."
                " Each query shares out its own attention, over the keys."
            ),
        ),
        (scores.softmax(-1), "nothing is masked: the first token already attends to the last one."),
        (
            scores.masked_fill(~seen.mT, -torch.inf).softmax(-1),
            (
                "that is the other triangle: every token sees itself and the future. Row t may use"
                " columns 0 to t."
            ),
        ),
        (
            (scores * seen).softmax(-1),
            (
                "the future got the score 0, not -inf. e to the power of 0 is 1, so it still gets a"
                " good share. Only -inf becomes a weight of 0."
            ),
        ),
        (
            strict.softmax(-1),
            "the first row is NaN: a token must also see itself. The diagonal stays.",
        ),
        (strict.softmax(-1).nan_to_num(0.0), "a token must also see itself. The diagonal stays."),
        (
            scores.masked_fill(torch.ones_like(seen).triu(2), -torch.inf).softmax(-1),
            "each token still sees the one right after it: the mask begins one column too late.",
        ),
        (blank, "these are masked scores. The softmax is missing."),
        (
            torch.where(seen, blank.softmax(-1), -torch.inf),
            "masked twice: weights of the future are 0, not -inf.",
        ),
    ]


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def split_heads(attempt: Attempt) -> str:
    """Cut (B, T, C) into heads (B, H, T, D)."""
    cases = []
    for B, T, H, D in ((2, 3, 4, 5), (1, 4, 2, 3), (2, 1, 1, 3)):
        cases.append((torch.arange(float(B * T * H * D)).view(B, T, H * D), H))
    judge_by_slips(
        attempt,
        cases,
        _heads_by_slices,
        _split_slips,
        lambda x, n_heads: f"{n_heads} heads of x with shape {tuple(x.shape)}",
    )
    for numbers in (2**24 + torch.arange(24), torch.arange(24).double() / 3):
        _judge_exact(attempt, numbers)  # float32 can't hold all of them
    return "right: one cut, one swap, and the matrix products do all heads at once."


def _heads_by_slices(x: Tensor, n_heads: int) -> Tensor:
    B, T, C = x.shape
    D = C // n_heads
    heads = torch.empty(B, n_heads, T, D)
    for h in range(n_heads):
        heads[:, h] = x[:, :, h * D : (h + 1) * D]
    return heads


def _judge_exact(attempt: Attempt, numbers: Tensor) -> None:
    """Compare two heads of 24 numbers to the last digit."""
    x = numbers.view(2, 3, 4)
    want = torch.stack([x[..., :2], x[..., 2:]], dim=1)
    got, dtype = attempt(x, 2), str(x.dtype).removeprefix("torch.")
    expect(got, want, f"2 heads of numbers of dtype {dtype}, of shape (2, 3, 4)")
    if not torch.equal(torch.as_tensor(got).double(), want.double()):
        raise Wrong(
            f"the numbers of dtype {dtype} came back rounded to {torch.as_tensor(got).dtype}."
            " Cutting and swapping axes changes no number: leave the dtype as it is."
        )


def _split_slips(x: Tensor, n_heads: int) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes give."""
    want = _heads_by_slices(x, n_heads)
    B, H, T, D = want.shape
    return [
        (
            x.reshape(B, H, T, D),
            (
                "right shape, but the tokens are mixed: `view` only cuts the row of numbers at"
                " other positions, so one head got pieces of several tokens. Cut the last axis into"
                " (H, D) first, then swap T and H."
            ),
        ),
        (
            want.transpose(1, 2),
            "the cut is right. Now each token holds its heads, (B, T, H, D): swap T and H.",
        ),
        (
            x.view(B, T, D, H).permute(0, 3, 1, 2),
            (
                "the channels are dealt out like cards, every H-th one to the same head. A head"
                " owns D neighbouring channels: cut the last axis into (H, D), not (D, H)."
            ),
        ),
        (want.transpose(0, 1), "the heads come before the batch. The order is (B, H, T, D)."),
        (want.mT, "the last two axes are swapped: tokens before channels, (B, H, T, D)."),
    ]


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _follow(weights: Tensor, ids: Tensor, shift: int = 1, of: slice = slice(None)) -> list[float]:
    """For each position with earlier copies, sum by loops the weight that it puts `shift` positions
    after those copies (all, or some `of` them)."""
    sums = []
    for t in range(len(ids)):
        copies = [j for j in range(t) if ids[j] == ids[t]]
        if copies:
            after = [j + shift for j in copies[of] if j + shift >= 0]
            sums.append(sum(weights[t, s].item() for s in after))
    return sums


def _causal_table(T: int, seed: int) -> Tensor:
    scores = torch.randn(T, T, generator=torch.Generator().manual_seed(seed))
    return scores.masked_fill(~torch.ones(T, T).tril().bool(), -torch.inf).softmax(-1)


@checker
def induction_score(attempt: Attempt) -> str:
    """Say how much weight goes to the positions right after earlier copies of a letter."""
    cases = [
        (_causal_table(8, seed=3), torch.tensor([7, 3, 5, 3, 5, 7, 3, 1])),
        (_causal_table(5, seed=4), torch.tensor([5, 5, 2, 5, 5])),
    ]
    judge_by_slips(
        attempt,
        cases,
        _followed_on_average,
        _induction_slips,
        lambda weights, ids: f"the score for the ids {ids.tolist()}",
        plain=_one_score,
    )
    perfect = torch.zeros(4, 4)
    perfect[0, 0] = perfect[1, 1] = perfect[2, 1] = perfect[3, 2] = 1.0
    got = _number(attempt(perfect, torch.tensor([4, 9, 4, 9])))
    expect(got, 1.0, "the score of a perfect induction head")
    for ids in ([4, 9, 2], [6]):
        got = _number(attempt(_causal_table(len(ids), seed=5), torch.tensor(ids)))
        expect(got, 0.0, f"the score for the ids {ids}, where no letter has an earlier copy")
    return "right: 1 for a head that always attends to what came next last time."


def _number(got: Any) -> Any:
    return got.item() if isinstance(got, Tensor) and got.ndim == 0 else got


def _one_score(got: Any) -> Any:
    if isinstance(got := _number(got), Tensor):
        raise Wrong(
            f"a score is one number for the head, you returned {describe(got)}. Take the mean over"
            " the tokens."
        )
    return got


def _followed_on_average(weights: Tensor, ids: Tensor) -> float:
    sums = _follow(weights, ids)
    return sum(sums) / len(sums)


def _induction_slips(weights: Tensor, ids: Tensor) -> list[tuple[float, str]]:
    """Compute what typical mistakes give; `n` letters have an earlier copy."""
    sums = _follow(weights, ids)
    total, n = sum(sums), len(sums)
    further = _follow(weights.tril(-1), ids)  # without the letter's own position
    near = sum(int(ids[t - 1] == ids[t]) and ids[t] not in ids[: t - 1] for t in range(1, len(ids)))
    beside = (
        "right where the copy lies further back. In [5, 5, 2, 5, 5] a letter follows its own copy:"
        " the position right after that copy is the letter's own, and counts."
    )
    pairs = sum(int(ids[j] == ids[t]) for t in range(len(ids)) for j in range(t))
    return [
        (sum(further) / n, beside),
        (sum(further) / (n - near), beside),
        (
            total / len(ids),
            (
                "you divided by all tokens. A letter that is new here has no earlier copy and"
                " cannot be continued: take the mean over the tokens that have one."
            ),
        ),
        (
            total / (len(ids) - 1),
            (
                "you divided by all tokens but one. Take the mean over the tokens that have an"
                " earlier copy: neither the token itself nor later ones are earlier copies."
            ),
        ),
        (
            total,
            "that is the sum over the tokens. Take the mean over those that have an earlier copy.",
        ),
        (
            sum(_follow(weights, ids, shift=0)) / n,
            (
                "you read the weight on the earlier copy itself. The position to look at is one"
                " further: what came after it."
            ),
        ),
        (
            sum(_follow(weights, ids, shift=-1)) / n,
            "you look one position before the earlier copy, not after it.",
        ),
        (
            sum(_follow(weights, ids, of=slice(-1, None))) / n,
            (
                "only the latest copy counts in your score. A head may spread its weight over all"
                " of them: sum over every earlier copy."
            ),
        ),
        (
            sum(_follow(weights, ids, of=slice(1))) / n,
            (
                "only the first copy counts in your score. A head may spread its weight over all of"
                " them: sum over every earlier copy."
            ),
        ),
        (
            sum(_follow(weights.mT, ids)) / n,
            "the axes are swapped: row t of the weights belongs to token t.",
        ),
        (
            total / pairs,
            (
                "you took the mean over pairs. Sum the weights of one token over its earlier copies"
                " first, then take the mean over the tokens."
            ),
        ),
    ]


# Exercise 5
# --------------------------------------------------------------------------------------------------


class _Stream:
    """Hand out (score, value) pairs one at a time; remember how many values the receiver kept
    alive, and what it made of them."""

    def __init__(self, scores: list[float], values: Tensor) -> None:
        self.scores, self.values, self.handed = scores, values, values.clone()
        self.alive: weakref.WeakSet = weakref.WeakSet()
        self.most = 0

    @property
    def is_changed(self) -> bool:
        """Whether a value was changed, at any time since it was handed out."""
        return not torch.equal(self.handed, self.values)

    def __iter__(self) -> Iterator[tuple[float, Tensor]]:
        for i, score in enumerate(self.scores):
            value = self.handed[i]  # a view: what is done to it stays to be seen
            self.alive.add(value)
            self.most = max(self.most, len(self.alive))
            yield score, value
            del value


def _stream_slips(scores: list[float], values: Tensor) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes in the running sums give."""
    total, mix, mix_no, total_no, old = 0.0, 0.0, 0.0, 0.0, -math.inf
    for score, value in zip(scores, values, strict=True):
        new = max(old, score)
        shrink, power, old = math.exp(old - new), math.exp(score - new), new
        total, total_no = total * shrink + power, total_no + power
        mix, mix_no = mix * shrink + power * value, mix_no + power * value
    return [
        (mix, "the sum of the weights is not divided out at the end."),
        (
            mix_no / total_no,
            (
                "when a larger score arrives, what was summed before was measured against the old"
                " maximum. Shrink both running sums by exp(old maximum - new maximum)."
            ),
        ),
        (
            mix_no / total,
            (
                "the total is shrunk when a larger score arrives, the weighted values are not."
                " Shrink both."
            ),
        ),
        (
            mix / total_no,
            (
                "the weighted values are shrunk when a larger score arrives, the total is not."
                " Shrink both."
            ),
        ),
        (values.mean(0), "that is the plain average: the scores are not used."),
        (
            values[scores.index(max(scores))],
            "that is the value of the largest score alone, not the weighted average.",
        ),
    ]


@checker
def streaming_average(attempt: Attempt) -> str:
    """Average values by the softmax of their scores, seeing each pair once."""
    scores, rng = [0.5, -1.0, 2.0, 1.5, 2.5, 0.0], torch.Generator().manual_seed(4)
    values = torch.randn(len(scores), 3, generator=rng)
    stream, want = _Stream(scores, values), torch.tensor(_softmax(scores)) @ values
    try:
        judge_by_slips(
            lambda *_: attempt(iter(stream)),
            [(scores, values)],
            lambda *_: want,
            _stream_slips,
            lambda *_: "the average of six values",
        )
    except Wrong:
        if _walks_twice(attempt, scores, values, want):
            raise Wrong(WALKED_TWICE) from None
        raise
    if stream.is_changed:
        raise Wrong(
            "the average is right, but you changed a value that the stream handed over: `+=` and"
            " `*=` on a tensor change it where it lies. Make a new one."
        )
    expect(attempt(iter(_Stream([2.0], values[:1]))), values[0], "the average of a single value")
    for extreme in ([999.0, 1000.0, 998.0], [-999.0, -1000.0], [0.0, 1000.0], [1000.0, -1000.0]):
        _judge_extreme(attempt, extreme, values[: len(extreme)])
    many = _Stream([math.sin(i) for i in range(200)], torch.randn(200, 3, generator=rng))
    want = torch.tensor(_softmax(many.scores)) @ many.values
    expect(attempt(iter(many)), want, "the average of 200 values")
    if many.most > 10:
        raise Wrong(
            f"the average is right, but you kept {many.most} of 200 values in memory. Keep three"
            " running things only: the maximum, the total, the weighted values."
        )
    return "right: attention in the memory of one token."


WALKED_TWICE = (
    "right for a list of pairs, but `pairs` is an iterator: it can be walked through only once, and"
    " a second walk finds nothing. Update the maximum and both sums on the same walk."
)


class _Pairs(list):
    """A list that counts how often it is walked through."""

    walks = 0

    def __iter__(self) -> Iterator[tuple[float, Tensor]]:
        self.walks += 1
        return super().__iter__()


def _walks_twice(attempt: Attempt, scores: list[float], values: Tensor, want: Tensor) -> bool:
    """Whether an answer that is wrong for an iterator is right for what bears several walks."""
    pairs = _Pairs(_Stream(scores, values))
    try:
        return is_like(attempt(pairs), want) and pairs.walks > 1
    except Wrong:
        return False


def _judge_extreme(attempt: Attempt, scores: list[float], values: Tensor) -> None:
    advice = (
        "Measure every score against the largest one so far; before the first pair that is -inf,"
        " and a later one may be larger by any amount."
    )
    try:
        got = attempt(iter(_Stream(scores, values)))
    except Wrong as reason:
        raise Wrong(
            f"right for small scores, but for the scores {scores}: {reason}\n{advice}"
        ) from None
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            f"right for small scores, but the scores {scores} give NaN or infinity: exp(1000) is"
            f" infinite and exp(-1000) is 0. {advice}"
        )
    want = torch.tensor(_softmax(scores)) @ values
    expect(got, want, f"the average for the scores {scores}", 1e-3)


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def attend_with_cache(attempt: Attempt) -> str:
    """Let T new tokens attend to P past ones and to themselves, causally."""
    cases = []
    for P, T, D in ((3, 3, 4), (0, 3, 2), (5, 1, 3), (1, 4, 9)):
        rng = torch.Generator().manual_seed(P + 1)
        new, past = torch.randn(3, T, D, generator=rng), torch.randn(2, P, D, generator=rng)
        cases.append((*new, *past))
    for part, (what, slips) in enumerate(PARTS):
        judge_by_slips(
            attempt,
            cases,
            lambda *case, part=part: _attended_and_kept(*case)[part],
            slips,
            lambda q, k, v, past_k, past_v, what=what: (
                f"the {what} {len(q)} new token{'s' * (len(q) > 1)} after a past of {len(past_k)}"
            ),
            plain=lambda got, part=part: _three_tensors(got)[part],
        )
    return "right: in pieces or in one go, the outputs are the same."


def _attended_and_kept(
    q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs by a loop over the new tokens, all keys and all values."""
    keys, values = torch.cat([past_k, k]), torch.cat([past_v, v])
    seen = range(len(past_k) + 1, len(keys) + 1)
    outputs = [_attended(query, keys, values, n) for query, n in zip(q, seen, strict=True)]
    return torch.stack(outputs), keys, values


def _attended(query: Tensor, keys: Tensor, values: Tensor, n_visible: int) -> Tensor:
    """The output of one query over the first keys, by a loop."""
    scores = [(query @ key).item() / math.sqrt(len(query)) for key in keys[:n_visible]]
    return sum(w * value for w, value in zip(_softmax(scores), values, strict=False))


def _three_tensors(got: Any) -> tuple[Tensor, Tensor, Tensor]:
    if not isinstance(got, tuple | list) or len(got) != 3:
        raise Wrong(
            f"return three tensors, the outputs, all keys and all values; you returned"
            f" {describe(got)}."
        )
    return tuple(got)


def _cache_slips(
    q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute the outputs that typical mistakes give."""
    P, T, D = len(past_k), *q.shape
    keys, values = torch.cat([past_k, k]), torch.cat([past_v, v])

    def outputs(diagonal: int, keys: Tensor = keys, values: Tensor = values, scale: float = D):
        future = torch.ones(T, len(keys), dtype=torch.bool).triu(diagonal)
        return (q @ keys.T / scale**0.5).masked_fill(future, -torch.inf).softmax(-1) @ values

    return [
        (
            outputs(1),
            (
                "the mask counts the columns as if there were no past: row 0 sees column 0 only."
                f" The first new token stands at position P, here {P}, and sees all before it."
            ),
        ),
        (
            outputs(P + T),
            (
                "nothing is masked: the first of the new tokens attends to those after it. Several"
                " new tokens need a causal mask among themselves."
            ),
        ),
        (
            outputs(P + 2),
            (
                "each new token also attends to the one right after it: the mask begins one column"
                " too late."
            ),
        ),
        (
            outputs(P),
            "a new token must also attend to itself: the mask begins one column too early.",
        ),
        (outputs(1, k, v), "the past is not used: the outputs are those of the new tokens alone."),
        (
            outputs(P, past_k, past_v),
            "the new tokens attend to the past alone. They also attend to the new ones up to"
            " themselves.",
        ),
        (outputs(P + 1, scale=1), "the scores are not divided by the square root of D."),
        (
            outputs(P + 1, scale=P + T),
            "the scores are divided by the square root of the number of keys, not of D.",
        ),
        (outputs(P + 1, scale=D * D), "the scores are divided by D, not by its square root."),
        (
            outputs(P + 1, torch.cat([k, past_k]), torch.cat([v, past_v])),
            "the new keys and values stand before the past ones, so the mask hides the wrong ones:"
            " oldest first.",
        ),
        (
            outputs(P + 1, keys, torch.cat([v, past_v])),
            "the values stand in another order than the keys: oldest first, in both.",
        ),
    ]


def _key_slips(
    q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes hand back as all keys."""
    scale = math.sqrt(k.shape[-1])
    scaled = (
        "the outputs are right, but scaled keys are kept. The next piece of text would scale them"
        " again: keep the keys as they came, and divide the scores."
    )
    return [
        *_growth_slips("keys", k, past_k, torch.cat([past_v, v])),
        (torch.cat([past_k, k / scale]), scaled),
        (torch.cat([past_k, k]) / scale, scaled),
    ]


def _value_slips(
    q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor
) -> list[tuple[Tensor, str]]:
    """Compute what typical mistakes hand back as all values."""
    return _growth_slips("values", v, past_v, torch.cat([past_k, k]))


def _growth_slips(name: str, new: Tensor, past: Tensor, other: Tensor) -> list[tuple[Tensor, str]]:
    return [
        (new, f"the outputs are right, but of the {name} only the new ones come back: keep all."),
        (past, f"the outputs are right, but the new {name} are missing: the cache has to grow."),
        (torch.cat([new, past]), f"the new {name} stand before the past ones: oldest first."),
        (other, "keys and values have changed places: return outputs, keys, values."),
    ]


PARTS = (
    ("outputs of", _cache_slips),
    ("keys kept after", _key_slips),
    ("values kept after", _value_slips),
)
