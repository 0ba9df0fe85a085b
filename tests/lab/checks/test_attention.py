"""The checkers of lesson 06 know right answers, the untouched skeleton, and the typical wrong
answers."""

import math

import torch
import torch.nn.functional as F

from course_lib.lab.checks import attention as check
from tests.lab.checks.cases import Case, tests_of


def future(scores):
    return torch.ones_like(scores, dtype=torch.bool).triu(1)


def skeleton_2(a, b): ...


def skeleton_5(a, b, c, d, e): ...


# Induction score
# --------------------------------------------------------------------------------------------------


def induction(weights, ids, diagonal=0):
    follows = F.pad(ids[:, None] == ids[:-1], (1, 0)).tril(diagonal)
    sums = (weights * follows).sum(-1)[follows.any(-1)]
    return sums.mean() if len(sums) else 0.0


def induction_by_loop(weights, ids, shift=1, of=slice(None), over=None):
    total, repeated = 0.0, 0
    for t in range(len(ids)):
        copies = [s for s in range(t) if ids[s] == ids[t]]
        repeated += bool(copies)
        total += sum(weights[t, s + shift].item() for s in copies[of] if s + shift >= 0)
    return total / (over or repeated or 1)


def induction_by_dictionary(weights, ids):
    """Walk once; remember for each letter the positions after its copies."""
    after, sums = {}, []
    for t, letter in enumerate(ids.tolist()):
        if letter in after:
            sums.append(sum(float(weights[t][s]) for s in after[letter]))
        after.setdefault(letter, []).append(t + 1)
    return torch.tensor(sums, dtype=torch.float64).mean() if sums else torch.tensor(0.0)


# Streaming average
# --------------------------------------------------------------------------------------------------


def n_pairs(ids):
    return sum(int(ids[j] == ids[t]) for t in range(len(ids)) for j in range(t))


def streaming(pairs, shrink_total=True, shrink_mixture=True, divide=True, start=-math.inf):
    loudest, total, mixture = start, 0.0, 0.0
    for score, value in pairs:
        new = max(loudest, score)
        shrink, power = math.exp(loudest - new), math.exp(score - new)
        total = total * (shrink if shrink_total else 1) + power
        mixture = mixture * (shrink if shrink_mixture else 1) + power * value
        loudest = new
    return mixture / total if divide else mixture


def streaming_by_log(pairs):
    """Keep the average itself, and the logarithm of the total."""
    average, log_total = None, torch.tensor(-math.inf)
    for score, value in pairs:
        new = torch.logaddexp(log_total, torch.tensor(score))
        share = (score - new).exp()
        average = value * share if average is None else average * (1 - share) + value * share
        log_total = new
    return average


def streaming_without_maximum(pairs):
    total, mixture = 0.0, 0.0
    for score, value in pairs:
        power = torch.tensor(score).exp()
        total, mixture = total + power, mixture + power * value
    return mixture / total


def streaming_from_the_first(pairs):
    """The maximum is that of the first score for ever."""
    first, total, mixture = None, 0.0, 0.0
    for score, value in pairs:
        first = score if first is None else first
        power = math.exp(score - first)
        total, mixture = total + power, mixture + power * value
    return mixture / total


def streaming_in_place(pairs):
    largest, total, mixture = -math.inf, 0.0, 0.0
    for score, value in pairs:
        new = max(largest, score)
        shrink, weight = math.exp(largest - new), math.exp(score - new)
        total, mixture, largest = (
            total * shrink + weight,
            mixture * shrink + value.mul_(weight),
            new,
        )
    return mixture / total


def kept_all(pairs):
    scores, values = zip(*pairs, strict=True)
    return torch.tensor(scores).softmax(-1) @ torch.stack(values)


# Attention with a cache
# --------------------------------------------------------------------------------------------------


def cached(q, k, v, past_k, past_v, extra=1, scale=None, past=None):
    keys, values = torch.cat([past_k, k]), torch.cat([past_v, v])
    scores = q @ keys.mT / (q.shape[-1] if scale is None else scale) ** 0.5
    future = torch.ones(scores.shape).triu((len(past_k) if past is None else past) + extra).bool()
    return scores.masked_fill(future, -torch.inf).softmax(-1) @ values, keys, values


def cached_by_torch(q, k, v, past_k, past_v):
    keys, values = torch.cat([past_k, k]), torch.cat([past_v, v])
    visible = torch.arange(len(keys)) <= torch.arange(len(past_k), len(keys))[:, None]
    return [F.scaled_dot_product_attention(q, keys, values, attn_mask=visible), keys, values]


def cached_by_loop(q, k, v, past_k, past_v):
    keys, values, outputs = list(past_k), list(past_v), []
    for query, key, value in zip(q, k, v, strict=True):
        keys.append(key)
        values.append(value)
        weights = (torch.stack(keys) @ query * len(query) ** -0.5).softmax(0)
        outputs.append(weights @ torch.stack(values))
    return torch.stack(outputs), torch.stack(keys), torch.stack(values)


def new_first(q, k, v, past_k, past_v):
    return cached(q, past_k, past_v, k, v, past=len(past_k))


def new_alone(q, k, v, past_k, past_v):
    outputs, _, _ = cached(q, k, v, past_k[:0], past_v[:0])
    return outputs, torch.cat([past_k, k]), torch.cat([past_v, v])


def past_alone(q, k, v, past_k, past_v):
    outputs = (q @ past_k.mT / q.shape[-1] ** 0.5).softmax(-1) @ past_v
    return outputs, torch.cat([past_k, k]), torch.cat([past_v, v])


def values_reversed(q, k, v, past_k, past_v):
    outputs, keys, _ = cached(q, k, v, past_k, past_v)
    return outputs, keys, torch.cat([v, past_v])


CASES = {
    check.scaled_scores: Case(
        solution=lambda q, k: q @ k.mT / q.shape[-1] ** 0.5,
        skeleton=skeleton_2,
        also_right=[lambda q, k: torch.einsum("td,sd->ts", q, k) * k.shape[1] ** -0.5],
        wrong=[
            (lambda q, k: q @ k.mT, "nothing is divided"),
            (lambda q, k: q @ k.mT / k.shape[0] ** 0.5, "as if you had divided by sqrt(S)"),
            (lambda q, k: q @ k.mT / q.shape[0] ** 0.5, "as if you had divided by sqrt(T)"),
            (lambda q, k: q @ k.mT / q.shape[-1], "D is too much"),
            (lambda q, k: q @ k.mT * q.shape[-1] ** 0.5, "make the scores smaller"),
            (lambda q, k: (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1), "a softmax was taken"),
            (lambda q, k: k @ q.mT / q.shape[-1] ** 0.5, "Queries come first"),
            (lambda q, k: q * k, "your function stopped with RuntimeError"),
        ],
    ),
    check.causal_weights: Case(
        solution=lambda s: s.masked_fill(future(s), -torch.inf).softmax(-1),
        skeleton=lambda s: ...,
        also_right=[lambda s: F.softmax(s + torch.full_like(s, -torch.inf).triu(1), dim=1)],
        wrong=[
            (
                lambda s: (e := (s - s.max()).exp().tril()) / e.sum(-1, keepdim=True),
                "the largest score that you subtracted",
            ),
            (lambda s: s.softmax(-1).tril(), "Mask the scores first"),
            (lambda s: s.masked_fill(future(s), -torch.inf).softmax(0), "your columns sum to 1"),
            (lambda s: s.softmax(-1), "nothing is masked"),
            (lambda s: s.masked_fill(future(s).mT, -torch.inf).softmax(-1), "the other triangle"),
            (lambda s: s.tril().softmax(-1), "the score 0, not -inf"),
            (
                lambda s: s.masked_fill(~future(s).mT, -torch.inf).softmax(-1),
                "the first row is NaN",
            ),
            (
                lambda s: s.masked_fill(~future(s).mT, -torch.inf).softmax(-1).nan_to_num(),
                "must also see itself",
            ),
            (lambda s: s.masked_fill(future(s), -torch.inf), "The softmax is missing"),
            (
                lambda s: s.exp().tril() / s.exp().tril().sum(-1, keepdim=True),
                "scores as large as 120",
            ),
            (
                lambda s: s.masked_fill(torch.ones_like(s).triu(2).bool(), -torch.inf).softmax(-1),
                "begins one column too late",
            ),
            (lambda s: s.masked_fill(future(s), -20.0).softmax(-1), "it should get exactly 0"),
        ],
    ),
    check.split_heads: Case(
        solution=lambda x, n_heads: x.unflatten(-1, (n_heads, -1)).transpose(1, 2),
        skeleton=skeleton_2,
        also_right=[
            lambda x, n_heads: torch.stack(x.chunk(n_heads, dim=-1), dim=1),
            lambda x, n_heads: x.view(*x.shape[:2], n_heads, x.shape[2] // n_heads).permute(
                0, 2, 1, 3
            ),
        ],
        wrong=[
            (lambda x, h: x.view(x.shape[0], h, x.shape[1], -1), "the tokens are mixed"),
            (lambda x, h: x.unflatten(-1, (h, -1)), "swap T and H"),
            (lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2), "dealt out like cards"),
            (
                lambda x, h: x.unflatten(-1, (h, -1)).permute(2, 0, 1, 3),
                "heads come before the batch",
            ),
            (
                lambda x, h: x.unflatten(-1, (h, -1)).permute(0, 2, 3, 1),
                "last two axes are swapped",
            ),
            (lambda x, h: x, "expected (2, 4, 3, 5)"),
            (lambda x, h: x[0].unflatten(-1, (h, -1)).transpose(0, 1)[None], "(2, 4, 3, 5)"),
        ],
    ),
    check.induction_score: Case(
        solution=induction,
        skeleton=skeleton_2,
        also_right=[induction_by_loop, induction_by_dictionary],
        wrong=[
            (lambda w, ids: induction_by_loop(w, ids, over=len(ids)), "you divided by all tokens"),
            (lambda w, ids: induction_by_loop(w, ids, over=1), "that is the sum over the tokens"),
            (lambda w, ids: induction_by_loop(w, ids, shift=0), "on the earlier copy itself"),
            (
                lambda w, ids: induction_by_loop(w, ids, shift=-1),
                "one position before the earlier copy",
            ),
            (
                lambda w, ids: induction_by_loop(w, ids, of=slice(-1, None)),
                "only the latest copy counts",
            ),
            (lambda w, ids: induction_by_loop(w, ids, of=slice(1)), "only the first copy counts"),
            (lambda w, ids: induction(w, ids, diagonal=-1), "a letter follows its own copy"),
            (lambda w, ids: induction_by_loop(w, ids, over=len(ids) - 1), "all tokens but one"),
            (
                lambda w, ids: induction_by_loop(w, ids) if len(w) > 3 else torch.nan,
                "no letter has an earlier copy",
            ),
            (lambda w, ids: induction_by_loop(w.mT, ids), "the axes are swapped"),
            (
                lambda w, ids: induction_by_loop(w, ids, over=n_pairs(ids)),
                "you took the mean over pairs",
            ),
            (
                lambda w, ids: (w * F.pad(ids[:, None] == ids[:-1], (1, 0)).tril()).sum(-1),
                "a score is one number",
            ),
            (lambda w, ids: 1.0, "expected 0."),
        ],
    ),
    check.streaming_average: Case(
        solution=streaming,
        skeleton=lambda pairs: ...,
        also_right=[streaming_by_log],
        wrong=[
            (lambda pairs: streaming(pairs, divide=False), "not divided out"),
            (
                lambda pairs: streaming(pairs, shrink_total=False, shrink_mixture=False),
                "Shrink both running sums",
            ),
            (lambda pairs: streaming(pairs, shrink_mixture=False), "the weighted values are not"),
            (lambda pairs: streaming(pairs, shrink_total=False), "the total is not"),
            (
                lambda pairs: torch.stack([value for _, value in pairs]).mean(0),
                "the scores are not used",
            ),
            (lambda pairs: max(pairs, key=lambda pair: pair[0])[1], "the largest score alone"),
            (streaming_without_maximum, "exp(1000) is infinite"),
            (streaming_from_the_first, "may be larger by any amount"),
            (lambda pairs: streaming(pairs, start=0.0), "before the first pair that is -inf"),
            (streaming_in_place, "you changed a value"),
            (kept_all, "you kept 200 of 200 values"),
        ],
    ),
    check.attend_with_cache: Case(
        solution=cached,
        skeleton=skeleton_5,
        also_right=[cached_by_torch, cached_by_loop],
        wrong=[
            (lambda *a: cached(*a)[0], "return three tensors"),
            (lambda *a: cached(*a, past=0), "as if there were no past"),
            (lambda *a: cached(*a, extra=9), "nothing is masked"),
            (lambda *a: cached(*a, extra=0), "must also attend to itself"),
            (lambda *a: cached(*a, extra=2), "begins one column too late"),
            (new_alone, "the past is not used"),
            (past_alone, "attend to the past alone"),
            (lambda *a: cached(*a, scale=1), "not divided by the square root of D"),
            (lambda *a: cached(*a, scale=len(a[1]) + len(a[3])), "the number of keys, not of D"),
            (lambda *a: cached(*a, scale=a[0].shape[1] ** 2), "not by its square root"),
            (new_first, "the mask hides the wrong ones"),
            (lambda *a: (cached(*a)[0], a[1], a[2]), "only the new ones come back"),
            (lambda *a: (cached(*a)[0], a[3], a[4]), "the cache has to grow"),
            (lambda *a: (cached(*a)[0], *cached(*a)[:0:-1]), "keys and values have changed places"),
            (values_reversed, "the new values stand before the past ones"),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
