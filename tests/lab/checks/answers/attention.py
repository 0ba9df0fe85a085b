"""Answers to the exercises of lesson 06, written from their statements alone."""

import itertools
import math
from decimal import Decimal

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- scaled_scores ---


def scores_by_loops(q, k):
    def dot(a, b):
        return sum(x * y for x, y in zip(a, b, strict=True))

    rows = [[dot(a, b) / math.sqrt(len(a)) for b in k.tolist()] for a in q.tolist()]
    return torch.tensor(rows)


class ScaledScores:
    def __call__(self, q, k):
        return np.asarray(q, dtype=np.float64) @ np.asarray(k).T / np.sqrt(q.shape[1])


def scores_in_place(q, k):
    q /= q.shape[-1] ** 0.5
    return q @ k.T


def scores_masked(q, k):
    scores = q @ k.T / q.shape[-1] ** 0.5
    return scores.masked_fill(torch.ones_like(scores).triu(1) > 0, -torch.inf)


SCALED_SCORES = Answers(
    right=[
        lambda q, k: torch.einsum("td,sd->ts", q, k) * q.size(1) ** -0.5,
        scores_by_loops,
        ScaledScores(),
    ],
    wrong=[
        Slip(lambda q, k: q @ k.T, "nothing is divided", r"scal|divid|sqrt|√", "transpos|softmax"),
        Slip(
            lambda q, k: q @ k.T / q.shape[-1],
            "divided by d",
            r"root|sqrt|√|d itself",
            "transpos|softmax|not divided|multiplied by",
        ),
        Slip(
            lambda q, k: q @ k.T / len(q) ** 0.5,
            "divided by the root of the number of queries",
            r"token|quer|rows|width|shape\[",
            "transpos|softmax|not divided|number of keys",
        ),
        Slip(
            lambda q, k: k @ q.T / q.shape[-1] ** 0.5,
            "keys down, queries across",
            r"transpos|shape|swap|exchang|the other way|axes|row per quer",
            "softmax|divided by",
        ),
        Slip(scores_in_place, "q is scaled in place", r"argument|chang|in place|leave", "transpos"),
        Slip(
            lambda q, k: (q @ k.T / q.shape[-1] ** 0.5).softmax(-1),
            "the softmax is taken as well",
            r"softmax|weights|sums? to 1",
            "not divided|transpos",
        ),
        Slip(
            lambda q, k: q @ k.T // q.shape[-1] ** 0.5,
            "floored by //",
            r"floor|whole|integer|//|round",
            "not divided|transpos|softmax",
        ),
        Slip(
            scores_masked, "masked already", r"mask|futur|causal", "not divided|transpos|softmax is"
        ),
    ],
)

# --- causal_weights ---


def weights_by_loops(scores):
    rows = []
    for t, row in enumerate(scores.tolist()):
        seen = [math.exp(score - max(row[: t + 1])) for score in row[: t + 1]]
        rows.append([e / sum(seen) for e in seen] + [0.0] * (len(row) - t - 1))
    return torch.tensor(rows, dtype=torch.float64)


def weights_in_numpy(scores):
    scores = scores.double().numpy().copy()
    scores[np.triu_indices(len(scores), k=1)] = -np.inf
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def masked(scores, fill=-torch.inf, diagonal=1):
    return scores.masked_fill(torch.ones_like(scores).triu(diagonal).bool(), fill)


def weights_overflowing(scores):
    powers = scores.exp().tril()
    return powers / powers.sum(-1, keepdim=True)


def weights_divided_again(scores):
    weights = scores.softmax(-1).tril()
    return weights / weights.sum(-1, keepdim=True)


def weights_in_place(scores):
    scores.masked_fill_(torch.ones_like(scores, dtype=torch.bool).triu(1), -torch.inf)
    return scores.softmax(-1)


CAUSAL_WEIGHTS = Answers(
    right=[
        lambda scores: F.softmax(masked(scores, fill=-1e9), dim=1),
        weights_by_loops,
        weights_in_numpy,
        lambda scores: (scores + torch.full_like(scores, -torch.inf).triu(1)).softmax(1),
    ],
    wrong=[
        Slip(
            lambda scores: scores.softmax(-1).tril(),
            "masked after the softmax",
            r"after|before|sums? to|share",
            "diagonal|along the columns|not masked",
        ),
        Slip(weights_divided_again, "masked after the softmax, divided again", "before"),
        Slip(
            lambda scores: scores.softmax(-1),
            "nothing is masked",
            r"mask|futur|later",
            "diagonal|after the softmax",
        ),
        Slip(
            lambda scores: masked(scores, diagonal=0).softmax(-1),
            "the token itself is masked too",
            r"diagonal|itself|own|triu|nan",
            "after the softmax|overflow",
        ),
        Slip(
            lambda scores: masked(scores).softmax(0),
            "softmax down the columns",
            r"column|axis|dim|along",
            "diagonal|after the softmax|not masked",
        ),
        Slip(
            lambda scores: scores.tril().softmax(-1),
            "future scores set to 0",
            r"\b0\b|zero|inf",
            "diagonal|along the columns",
        ),
        Slip(
            lambda scores: masked(scores, fill=-10.0).softmax(-1),
            "future scores set to -10",
            r"inf|exactly 0|low enough|still|small",
            "diagonal|along the columns|not masked|after the softmax",
        ),
        Slip(
            weights_overflowing,
            "e to the power of large scores",
            r"overflow|nan|inf|large|120",
            "diagonal|along the columns|not masked",
        ),
        Slip(weights_in_place, "scores are filled in place", r"argument|chang|in place|leave"),
    ],
)

# --- split_heads ---


def heads_by_slices(x, n_heads):
    width = x.shape[-1] // n_heads
    return torch.stack([x[..., h * width : (h + 1) * width] for h in range(n_heads)], dim=1)


def heads_by_assignment(x, n_heads):
    B, T, C = x.shape
    D = C // n_heads
    heads = x.new_empty(B, n_heads, T, D)
    for channel in range(C):
        heads[:, channel // D, :, channel % D] = x[:, :, channel]
    return heads


SPLIT_HEADS = Answers(
    right=[
        heads_by_slices,
        heads_by_assignment,
        lambda x, n_heads: x.reshape(*x.shape[:2], n_heads, -1).permute(0, 2, 1, 3),
    ],
    wrong=[
        Slip(
            lambda x, n_heads: x.reshape(x.shape[0], n_heads, x.shape[1], -1),
            "viewed as (B, H, T, D) at once",
            r"view|reshap|transpos|order|mix|other tokens|cut",
            "interleav|dtype",
        ),
        Slip(
            lambda x, n_heads: x.unflatten(-1, (n_heads, -1)),
            "not transposed",
            r"transpos|swap|axes|axis|shape",
            "interleav|dtype",
        ),
        Slip(
            lambda x, n_heads: x.unflatten(-1, (-1, n_heads)).permute(0, 3, 1, 2),
            "every H-th channel",
            r"neighbour|interleav|every|apart|stride",
            "dtype",
        ),
        Slip(
            lambda x, n_heads: x.unflatten(-1, (-1, n_heads)).transpose(1, 2),
            "n_heads taken for the width of a head",
            r"shape|width|n_heads|number of heads|wide",
            "interleav|dtype",
        ),
        Slip(
            lambda x, n_heads: x.float().unflatten(-1, (n_heads, -1)).transpose(1, 2),
            "turned into float32",
            r"dtype|float|precis|stay|digit|round|kind|type",
            "interleav|transpos|neighbour",
        ),
        Slip(
            lambda x, n_heads: torch.stack(x.chunk(n_heads, dim=-1)),
            "heads before the batch",
            r"shape|axes|axis|batch|order",
            "interleav|dtype",
        ),
        Slip(
            lambda x, n_heads: x.unflatten(-1, (n_heads, -1)).permute(0, 2, 3, 1),
            "channels before tokens",
            r"shape|axes|axis|transpos|swap|order",
            "interleav|dtype",
        ),
        Slip(
            lambda x, n_heads: torch.stack(x.tensor_split(n_heads, dim=-1), 1)[:1],
            "the first text alone",
            r"shape|batch|text|row|first",
            "interleav|dtype",
        ),
    ],
)

# --- induction_score ---


def score_by_loops(weights, ids):
    ids, sums = ids.tolist(), []
    for t, letter in enumerate(ids):
        copies = [j for j in range(t) if ids[j] == letter]
        if copies:
            sums.append(sum(float(weights[t, j + 1]) for j in copies))
    return sum(sums) / len(sums) if sums else 0.0


def score_by_dictionary(weights, ids):
    places, sums = {}, []
    for t, letter in enumerate(ids.tolist()):
        if letter in places:
            sums.append(weights[t, [j + 1 for j in places[letter]]].double().sum())
        places.setdefault(letter, []).append(t)
    return torch.stack(sums).mean().item() if sums else 0.0


def score_in_numpy(weights, ids):
    weights, ids = np.asarray(weights, dtype=np.float64), np.asarray(ids)
    copies = np.tril(ids[:, None] == ids, k=-1)
    after = np.roll(copies, 1, axis=1)
    return float((weights * after).sum(1)[copies.any(1)].mean()) if copies.any() else 0.0


def copies_of(ids):
    return (ids[:, None] == ids).tril(-1)


def follows_in(ids):
    return F.pad(copies_of(ids)[:, :-1], (1, 0))


def score_at_the_copy(weights, ids):
    copies = copies_of(ids)
    rows = copies.any(-1)
    return (weights * copies).sum(-1)[rows].mean().item() if rows.any() else 0.0


def score_of_the_latest(weights, ids):
    latest, sums = {}, []
    for t, letter in enumerate(ids.tolist()):
        if letter in latest:
            sums.append(weights[t, latest[letter] + 1].item())
        latest[letter] = t
    return sum(sums) / len(sums) if sums else 0.0


def score_without_neighbours(weights, ids):
    follows = follows_in(ids).tril(-1)
    rows = follows.any(-1)
    return (weights * follows).sum(-1)[rows].mean().item() if rows.any() else 0.0


def score_of_columns(weights, ids):
    return score_by_loops(weights.T, ids)


def score_per_copy(weights, ids):
    follows = follows_in(ids)
    return weights[follows].mean().item() if follows.any() else 0.0


def score_of_the_largest(weights, ids):
    follows = follows_in(ids)
    hits = follows.gather(1, weights.argmax(-1, keepdim=True))[follows.any(-1)]
    return hits.float().mean().item() if len(hits) else 0.0


INDUCTION_SCORE = Answers(
    right=[score_by_loops, score_by_dictionary, score_in_numpy],
    wrong=[
        Slip(
            score_at_the_copy,
            "weight on the copy itself",
            r"cop(y|ies) itself|after|j \+ 1|one (place|position)|follow",
            "latest|transpos",
        ),
        Slip(
            lambda weights, ids: (weights * follows_in(ids)).sum(-1).mean().item(),
            "the mean over all positions",
            r"mean|all (positions|rows)|every (position|row|t)|divid|without",
            "latest|transpos|itself",
        ),
        Slip(
            score_of_the_latest,
            "the latest copy alone",
            r"latest|last|every|several|recent|one copy|all (its |the )?(earlier )?copies",
            "transpos|itself",
        ),
        Slip(
            lambda weights, ids: (
                (weights * follows_in(ids)).sum(-1)[follows_in(ids).any(-1)].mean().item()
            ),
            "nan without any copy",
            r"nan|none|no (earlier )?cop|0\.0|empty",
            "latest|transpos",
        ),
        Slip(
            score_of_columns,
            "columns read as queries",
            r"transpos|row|column|quer",
            "latest|itself",
        ),
        Slip(
            score_without_neighbours,
            "a neighbouring copy is left out",
            r"neighbour|itself|next to|j \+ 1|direct|its own",
            "latest|transpos",
        ),
        Slip(
            score_per_copy,
            "the mean over copies",
            r"sum|add|per (row|position|copy)|each (row|position)|mean",
            "latest|transpos|itself",
        ),
        Slip(
            score_of_the_largest,
            "largest weights are counted",
            r"largest|argmax|hits|count",
            "latest copy|transpos|itself",
        ),
    ],
)

# --- streaming_average ---


def average_by_logaddexp(pairs):
    total, average = torch.tensor(-torch.inf, dtype=torch.float64), 0.0
    for score, value in pairs:
        total = torch.logaddexp(total, torch.tensor(score, dtype=torch.float64))
        average = average + (value - average) * (score - total).exp()
    return average


def average_in_decimals(pairs):
    total, sums = Decimal(0), None
    for score, value in pairs:
        weight = Decimal(score).exp()
        terms = [weight * Decimal(number) for number in value.tolist()]
        sums = terms if sums is None else [a + b for a, b in zip(sums, terms, strict=True)]
        total += weight
    return torch.tensor([float(number / total) for number in sums])


def average_by_blocks(pairs):
    pairs, log_total, average = iter(pairs), -math.inf, 0.0
    while block := list(itertools.islice(pairs, 3)):
        scores = torch.tensor([score for score, _ in block], dtype=torch.float64)
        mixed = scores.softmax(0) @ torch.stack([value.double() for _, value in block])
        new = torch.logaddexp(torch.tensor(log_total), scores.logsumexp(0))
        keep = math.exp(log_total - new)
        average, log_total = keep * average + (1 - keep) * mixed, new.item()
        del block, mixed
    return average


def average_unshifted(pairs):
    total, weighted = 0.0, 0.0
    for score, value in pairs:
        total += math.exp(score)
        weighted = weighted + math.exp(score) * value
    return weighted / total


def average_overflowing(pairs):
    total, weighted = 0.0, 0.0
    for score, value in pairs:
        weight = torch.tensor(score).exp()
        total, weighted = total + weight, weighted + weight * value
    return weighted / total


def running(pairs, largest=-math.inf, shrink_total=True, shrink_weighted=True):
    total, weighted = 0.0, 0.0
    for score, value in pairs:
        new = max(largest, score)
        shrink, weight = math.exp(largest - new), math.exp(score - new)
        total = total * (shrink if shrink_total else 1) + weight
        weighted = weighted * (shrink if shrink_weighted else 1) + weight * value
        largest = new
    return weighted, total


def average_unshrunk(pairs):
    weighted, total = running(pairs, shrink_total=False, shrink_weighted=False)
    return weighted / total


def average_half_shrunk(pairs):
    weighted, total = running(pairs, shrink_weighted=False)
    return weighted / total


def average_of_a_list(pairs):
    scores, values = zip(*pairs, strict=True)
    return torch.tensor(scores).softmax(0) @ torch.stack(values)


def average_in_place(pairs):
    pairs = iter(pairs)
    largest, weighted = next(pairs)
    total = 1.0
    for score, value in pairs:
        new = max(largest, score)
        shrink, weight = math.exp(largest - new), math.exp(score - new)
        weighted *= shrink
        weighted += weight * value
        total, largest = total * shrink + weight, new
    return weighted / total


def average_from_zero(pairs):
    weighted, total = running(pairs, largest=0.0)
    return weighted / total


def average_in_two_walks(pairs):
    largest = max(score for score, _ in pairs)
    total, weighted = 0.0, 0.0
    for score, value in pairs:
        weight = math.exp(score - largest)
        total, weighted = total + weight, weighted + weight * value
    return weighted / total


def average_undivided(pairs):
    return running(pairs)[0]


def average_shifted_by_the_first(pairs):
    pairs = iter(pairs)
    first, value = next(pairs)
    total, weighted = 1.0, value.clone()
    for score, value in pairs:
        weight = math.exp(score - first)
        total, weighted = total + weight, weighted + weight * value
    return weighted / total


STREAMING_AVERAGE = Answers(
    right=[average_by_logaddexp, average_in_decimals, average_by_blocks],
    wrong=[
        Slip(
            average_unshifted,
            "e to the power of the score itself",
            r"overflow|range|large|maximum|inf|nan",
            "shrink|list|in place",
        ),
        Slip(
            average_unshrunk,
            "nothing is shrunk",
            r"shrink|shrunk|rescal|maximum|factor",
            "list|in place|overflow",
        ),
        Slip(
            average_half_shrunk,
            "the weighted values are not shrunk",
            r"shrink|shrunk|rescal|both",
            "list|in place|overflow",
        ),
        Slip(
            average_of_a_list,
            "all pairs are kept",
            r"list|hold|held|keep|kept|memory|alive|at once",
            "shrink|in place",
        ),
        Slip(
            average_in_place,
            "the first value is changed",
            r"chang|in place|first value",
            "list of|overflow",
        ),
        Slip(
            average_from_zero,
            "the maximum starts at 0",
            r"start|inf|negative|below|nan|largest|maximum",
            "list|in place|overflow",
        ),
        Slip(
            average_in_two_walks,
            "pairs are walked through twice",
            r"once|twice|exhaust|second|again|used up",
            "shrink|in place|overflow",
        ),
        Slip(
            average_undivided,
            "not divided by the total",
            r"divid|total|sums? to|normal",
            "list|in place|overflow",
        ),
        Slip(
            average_shifted_by_the_first,
            "shifted by the first score",
            r"overflow|range|large|maximum|inf|nan",
            "list|in place",
        ),
        Slip(
            average_overflowing,
            "e to the power of the score in float32",
            r"overflow|range|large|maximum|inf|nan",
            "shrink|list|in place",
        ),
    ],
)

# --- attend_with_cache ---


def cache_by_kernel(q, k, v, past_k, past_v):
    keys, values = torch.vstack((past_k, k)), torch.vstack((past_v, v))
    visible = torch.arange(len(keys)) <= torch.arange(len(past_k), len(keys))[:, None]
    mixed = F.scaled_dot_product_attention(q[None], keys[None], values[None], attn_mask=visible)
    return [mixed[0], keys, values]


def cache_by_loop(q, k, v, past_k, past_v):
    outputs = []
    for query, key, value in zip(q, k, v, strict=True):
        past_k, past_v = torch.cat([past_k, key[None]]), torch.cat([past_v, value[None]])
        weights = (past_k @ query / math.sqrt(query.numel())).softmax(0)
        outputs.append(weights @ past_v)
    return torch.stack(outputs), past_k, past_v


def cache_in_numpy(q, k, v, past_k, past_v):
    q, k, v, past_k, past_v = (np.asarray(a, dtype=np.float64) for a in (q, k, v, past_k, past_v))
    keys, values = np.concatenate([past_k, k]), np.concatenate([past_v, v])
    scores = q @ keys.T / np.sqrt(q.shape[1])
    scores = np.where(np.tri(len(q), len(keys), len(past_k)) > 0, scores, -np.inf)
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True) @ values, keys, values


def cached(q, k, v, past_k, past_v, diagonal=1, width=None):
    keys, values = torch.cat([past_k, k]), torch.cat([past_v, v])
    scores = q @ keys.T / (width or q.shape[-1]) ** 0.5
    future = torch.ones_like(scores, dtype=torch.bool).triu(len(past_k) + diagonal)
    return scores.masked_fill(future, -torch.inf).softmax(-1) @ values, keys, values


def cache_with_old_mask(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k, past_v, diagonal=1 - len(past_k))


def cache_unscaled(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k, past_v, width=1)


def cache_unmasked(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k, past_v, diagonal=len(q))


def cache_newest_first(q, k, v, past_k, past_v):
    keys, values = torch.cat([k, past_k]), torch.cat([v, past_v])
    return cached(q, k, v, past_k, past_v)[0], keys, values


def cache_of_the_new(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k, past_v)[0], k, v


def cache_without_itself(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k, past_v, diagonal=0)


def cache_of_scaled_keys(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k, past_v)[0], *scaled_caches(k, v, past_k, past_v)


def scaled_caches(k, v, past_k, past_v):
    return torch.cat([past_k, k / k.shape[-1] ** 0.5]), torch.cat([past_v, v])


def cache_in_place(q, k, v, past_k, past_v):
    q *= q.shape[-1] ** -0.5
    return cached(q, k, v, past_k, past_v, width=1)


def cache_past_unseen(q, k, v, past_k, past_v):
    return cached(q, k, v, past_k[:0], past_v[:0])[0], *cached(q, k, v, past_k, past_v)[1:]


def cache_last_alone(q, k, v, past_k, past_v):
    outputs, keys, values = cached(q, k, v, past_k, past_v)
    return outputs[-1:], keys, values


ATTEND_WITH_CACHE = Answers(
    right=[cache_by_kernel, cache_by_loop, cache_in_numpy],
    wrong=[
        Slip(
            cache_with_old_mask,
            "the mask knows no past",
            r"past|offset|P \+|triu|mask",
            "scal|no mask|not masked|newest",
        ),
        Slip(cache_unscaled, "not scaled", r"scal|sqrt|√|divid", "mask|newest"),
        Slip(
            cache_unmasked, "nothing is masked", r"mask|futur|later|after it", "unscaled|not scaled"
        ),
        Slip(
            cache_newest_first,
            "the new before the past",
            r"oldest|order|before|first|front",
            "scale|mask",
        ),
        Slip(
            cache_of_the_new,
            "the new keys and values alone",
            r"so far|past|shape|all keys|all the keys|P \+ T|keep all|only the new",
            "scale|mask",
        ),
        Slip(
            cache_without_itself,
            "the new token itself is masked",
            r"itself|own|diagonal|up to|nan|triu",
            "scale|not masked",
        ),
        Slip(
            cache_of_scaled_keys,
            "scaled keys are kept",
            r"scaled (keys|again)|keys (are|come back) scaled|as they (came|are|were)",
            "mask|not scaled|unscaled",
        ),
        Slip(cache_in_place, "q is scaled in place", r"argument|chang|in place", "mask"),
        Slip(
            cache_past_unseen,
            "the past is cached but not attended to",
            r"past",
            "scale|not masked|no mask",
        ),
        Slip(
            cache_last_alone,
            "the output of the last token alone",
            r"shape|last|each|every|all",
            "scale|mask",
        ),
    ],
)

ANSWERS = {
    "scaled_scores": SCALED_SCORES,
    "causal_weights": CAUSAL_WEIGHTS,
    "split_heads": SPLIT_HEADS,
    "induction_score": INDUCTION_SCORE,
    "streaming_average": STREAMING_AVERAGE,
    "attend_with_cache": ATTEND_WITH_CACHE,
}
