"""Answers to the exercises of lesson 19, written from their statements alone."""

import math

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- cache_numbers ---


def numbers_by_cases(kind, n_heads, n_kv_heads, d_head, rank, d_rotary):
    match kind:
        case "MLA":
            return rank + d_rotary
        case "MQA":
            return d_head + d_head
        case "GQA":
            return n_kv_heads * d_head + n_kv_heads * d_head
    return n_heads * 2 * d_head


class CacheNumbers:
    def __call__(self, kind, n_heads, n_kv_heads, d_head, rank, d_rotary):
        if kind == "MLA":
            return torch.zeros(rank).numel() + torch.zeros(d_rotary).numel()
        heads = [n_heads, n_kv_heads, 1][["MHA", "GQA", "MQA"].index(kind)]
        return np.empty((2, heads, d_head)).size


def numbers(
    kind, n_heads, n_kv_heads, d_head, rank, d_rotary, mha=None, gqa=None, mqa=None, mla=None
):
    if kind == "MLA":
        return rank + d_rotary if mla is None else mla
    return 2 * d_head * {"MHA": mha or n_heads, "GQA": gqa or n_kv_heads, "MQA": mqa or 1}[kind]


def of_latent(count):
    """Right numbers, but for MLA's, which are a function of all five."""
    return lambda kind, *sizes: numbers(kind, *sizes, mla=count(*sizes))


CACHE_NUMBERS = Answers(
    right=[
        numbers_by_cases,
        CacheNumbers(),
        lambda kind, n, g, d, rank, r: {
            "MHA": 2 * n * d,
            "GQA": 2 * g * d,
            "MQA": 2 * d,
            "MLA": rank + r,
        }[kind],
    ],
    wrong=[
        Slip(
            lambda kind, *sizes: numbers(kind, *sizes) // (1 if kind == "MLA" else 2),
            "keys without values",
            "a key and a value|keep",
            "latent|rotary key",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: 2 * (rank + r)),
            "a latent for keys and one for values",
            "kept once|one latent",
            "GQA|MQA",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank + n * r),
            "a rotary key for each head",
            "rotary key|all heads share",
            "GQA|MQA",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank),
            "the rotary key is forgotten",
            "rotary key",
            "GQA",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: n * (rank + r)),
            "a latent for each head",
            "once per head|kept once",
            "GQA|MQA",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: numbers(kind, n, g, d, rank, r, gqa=n // g),
            "the size of a group for the number of key heads",
            "n_kv_heads|size of a group|group",
            "MLA|latent|rotary key",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: numbers(kind, n, g, d, rank, r, mqa=g),
            "MQA with all key heads of GQA",
            "MQA (one|keeps|has)|one head",
            "MLA|latent|rotary key",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: (
                (1 + n) * d if kind == "MQA" else numbers(kind, n, g, d, rank, r)
            ),
            "MQA with a value for each head",
            "values? .*(one|shared|once)|MQA (one|keeps|has)|one value|one head",
            "MLA|latent|rotary key",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank + d),
            "d_head for the rotary key's width",
            "d_rotary|rotary key",
            "GQA|MQA",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: numbers(kind, n, g, d, rank, r, mha=g),
            "MHA with the key heads of GQA",
            "MHA (has|shares|keeps|counts)|n_heads",
            "MLA|latent|rotary key",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank + 2 * r),
            "a rotary key and a rotary value",
            "rotary key|rotary value",
            "GQA|MQA",
        ),
    ],
)

# --- latent_factors ---


def refuse(weight, rank):
    if rank > min(weight.shape):
        raise ValueError(f"rank {rank} is larger than one of the widths {tuple(weight.shape)}")


def factors_in_numpy(weight, rank):
    if rank > weight.shape[0] or rank > weight.shape[1]:
        raise ValueError(f"{rank} against {weight.shape[0]} and {weight.shape[1]}")
    left, strengths, right = np.linalg.svd(weight.detach().double().numpy())
    root = np.sqrt(strengths[:rank])
    return root[:, None] * right[:rank], left[:, :rank] * root


def factors_by_projection(weight, rank):
    refuse(weight, rank)
    _, directions = torch.linalg.eigh(weight.double().T @ weight.double())
    down = directions[:, -rank:].T
    return down, weight.double() @ down.T


def factors_by_loop(weight, rank):
    refuse(weight, rank)
    left, strengths, right = torch.svd(weight)
    down = torch.stack([strengths[i] * right[:, i] for i in range(rank)])
    return down, torch.column_stack([left[:, i] for i in range(rank)])


def factors(weight, rank, keep=None, power=1.0):
    left, strengths, right = torch.linalg.svd(weight, full_matrices=False)
    keep = keep or slice(rank)
    return right[keep], left[:, keep] * strengths[keep] ** power


def checked(answer):
    def factors_checked(weight, rank):
        refuse(weight, rank)
        return answer(weight, rank)

    return factors_checked


def factors_wide_alone(weight, rank):
    if rank > max(weight.shape):
        raise ValueError(f"rank {rank} is larger than both widths {tuple(weight.shape)}")
    return factors(weight, rank)


def factors_checked_by(axis):
    def factors_half_checked(weight, rank):
        if rank > weight.shape[axis]:
            raise ValueError(f"rank {rank} is larger than a width of {tuple(weight.shape)}")
        return factors(weight, rank)

    return factors_half_checked


def factors_strict(weight, rank):
    if rank >= min(weight.shape):
        raise ValueError(f"rank {rank} is too large for {tuple(weight.shape)}")
    return factors(weight, rank)


def factors_silent(weight, rank):
    if rank > min(weight.shape):
        raise ValueError("the rank is too large")
    return factors(weight, rank)


def factors_asserted(weight, rank):
    assert rank <= min(weight.shape), f"rank {rank} for {tuple(weight.shape)}"
    return factors(weight, rank)


def factors_twice(weight, rank):
    left, strengths, right = torch.linalg.svd(weight, full_matrices=False)
    return strengths[:rank, None] * right[:rank], left[:, :rank] * strengths[:rank]


def factors_centred(weight, rank):
    return factors(weight - weight.mean(0), rank)


def factors_of_the_first(weight, rank):
    rows = torch.linalg.qr(weight[:rank].T).Q.T
    return rows, weight @ rows.T


def factors_in_place(weight, rank):
    down, up = factors(weight, rank)
    weight.copy_(up @ down)
    return down, up


LATENT_FACTORS = Answers(
    right=[factors_in_numpy, factors_by_projection, factors_by_loop],
    wrong=[
        Slip(factors, "no error for a large rank", r"ValueError|raise|error|larger", "singular"),
        Slip(
            factors_wide_alone,
            "an error beyond the larger width alone",
            "ValueError|raise|larger|saves nothing",
            "singular",
        ),
        Slip(
            factors_checked_by(0),
            "an error for the number of rows alone",
            "raise a ValueError|larger",
            "singular",
        ),
        Slip(
            factors_checked_by(1),
            "an error for the number of columns alone",
            "raise a ValueError|larger",
            "singular",
        ),
        Slip(
            factors_strict,
            "an error at the full rank",
            "equal|full|allowed|may be|refus",
            "singular value|strongest",
        ),
        Slip(
            factors_silent,
            "an error without numbers",
            r"name|number|message|width",
            "singular|strongest",
        ),
        Slip(
            factors_asserted,
            "an AssertionError",
            r"ValueError|AssertionError",
            "singular|strongest",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, rank, power=0.0)),
            "without the singular values",
            "singular values are missing|does not stretch",
            "in both|smallest|places",
        ),
        Slip(
            checked(factors_twice),
            "the singular values in both factors",
            "in both|once",
            "smallest|missing",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, rank, keep=slice(-rank, None))),
            "the weakest directions",
            "strongest|smallest directions|largest",
            "in both|missing|places",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, rank)[::-1]),
            "up before down",
            r"order|first|shape|swap|exchang|down",
            "twice|weakest|singular",
        ),
        Slip(
            checked(lambda weight, rank: (factors(weight, rank)[0].T, factors(weight, rank)[1].T)),
            "both transposed",
            "should be .*got|transpos",
            "twice|smallest|singular|places",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, min(weight.shape))),
            "the rank is ignored",
            "should be .*got|rank numbers",
            "in both|smallest|singular",
        ),
        Slip(
            checked(factors_centred),
            "columns are centred as in PCA",
            "the best pair|mean|centr",
            "in both|smallest|missing",
        ),
        Slip(
            checked(factors_of_the_first),
            "the first rows for the strongest directions",
            "the best pair|strongest|row",
            "in both|places",
        ),
        Slip(
            checked(factors_in_place),
            "the weight is changed",
            r"chang|in place|argument|leave",
            "twice|weakest|shape",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, rank, power=0.5)),
            "the root of the singular values in one factor",
            "root",
            "in both|smallest|are missing|places",
        ),
    ],
)

# --- absorbed_scores ---


def absorbed_by_loop(q, latent, up):
    return torch.stack([latent @ (matrix.T @ query) for query, matrix in zip(q, up, strict=True)])


def absorbed_in_numpy(q, latent, up):
    q, latent, up = (np.asarray(x, dtype=np.float64) for x in (q, latent, up))
    return np.array([latent @ (q[h] @ up[h]) for h in range(len(q))])


def keys_in_python(q, latent, up):
    rows = [[(matrix @ c).dot(query) for c in latent] for query, matrix in zip(q, up, strict=True)]
    return torch.stack([torch.stack(row) for row in rows])


def keys_by_broadcast(q, latent, up):
    keys = (up[:, None] * latent[None, :, None]).sum(-1)
    return (keys * q[:, None]).sum(-1)


def absorbed(q, latent, up):
    return torch.einsum("hd,hdr->hr", q, up) @ latent.T


def absorbed_in_place(q, latent, up):
    scores = absorbed(q, latent, up)
    q.zero_()
    return scores


ABSORBED_SCORES = Answers(
    right=[
        absorbed_by_loop,
        absorbed_in_numpy,
        lambda q, latent, up: torch.bmm(q.unsqueeze(1), up).squeeze(1) @ latent.mT,
        lambda q, latent, up: (q[:, :, None] * up).sum(1).matmul(latent.t()),
    ],
    wrong=[
        Slip(
            lambda q, latent, up: torch.einsum("hd,hsd->hs", q, latent @ up.mT),
            "all keys are made",
            "keys were made|operations",
            "scaled|side",
        ),
        Slip(
            keys_in_python, "keys are made one by one", "keys were made|operations", "scaled|side"
        ),
        Slip(
            keys_by_broadcast,
            "keys are made by broadcasting",
            "keys were made|operations",
            "scaled|side",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up) / q.shape[-1] ** 0.5,
            "scaled by the root of D",
            "plain|scaled|root",
            "side|keys were made",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up).T,
            "one row per cached token",
            "shape|transpos|on its side",
            "scaled|keys were made",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up).softmax(-1),
            "the softmax is taken as well",
            "softmax|weights",
            "on its side|keys were made|mask|scaled",
        ),
        Slip(
            lambda q, latent, up: q @ up[0] @ latent.T,
            "the first head's matrix for all",
            "first head|of its own",
            "scaled|side|keys were made",
        ),
        Slip(
            lambda q, latent, up: torch.einsum("hd,gdr->hr", q, up) @ latent.T,
            "the heads' matrices are added up",
            "each (has|head)|own|added up",
            "scaled|side|keys were made|must stay",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up).sum(0),
            "scores summed over heads",
            "added up|shape",
            "scaled|side|keys were made",
        ),
        Slip(
            lambda q, latent, up: q @ up @ latent.T,
            "every query with every head's matrix",
            "shape .*expected|wrong shape|own|each head",
            "scaled|keys were made",
        ),
        Slip(
            absorbed_in_place,
            "the queries are changed",
            r"chang|in place|argument|leave",
            "scale|transpos",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up) / latent.shape[-1] ** 0.5,
            "scaled by the root of R",
            "plain|scaled|root",
            "side|keys were made",
        ),
    ],
)

# --- decoupled_scores ---


def scores_side_by_side(q_content, q_rotary, k_content, k_rotary):
    q = torch.cat([q_content, q_rotary], dim=-1)
    k = torch.cat([k_content, k_rotary.expand(len(q), -1, -1)], dim=-1)
    return q @ k.mT / math.sqrt(q.shape[-1])


def scores_by_loops(q_content, q_rotary, k_content, k_rotary):
    H, T, D = q_content.shape
    S, Dr = k_rotary.shape
    scores = torch.zeros(H, T, S, dtype=torch.float64)
    for h in range(H):
        for t in range(T):
            for s in range(S):
                scores[h, t, s] = q_content[h, t] @ k_content[h, s] + q_rotary[h, t] @ k_rotary[s]
    return scores * (D + Dr) ** -0.5


def scores_in_numpy(*parts):
    q_content, q_rotary, k_content, k_rotary = (np.asarray(x, dtype=np.float64) for x in parts)
    scores = np.einsum("htd,hsd->hts", q_content, k_content)
    scores += np.einsum("htd,sd->hts", q_rotary, k_rotary)
    return scores / np.sqrt(q_content.shape[2] + k_rotary.shape[1])


def both(q_content, q_rotary, k_content, k_rotary):
    return q_content @ k_content.mT, q_rotary @ k_rotary.T


def widths(*parts):
    return parts[0].shape[-1], parts[1].shape[-1]


def scored(mix):
    """The two scores and the two widths, put together in some way."""
    return lambda *parts: mix(*both(*parts), *widths(*parts))


def right_scores(*parts):
    return sum(both(*parts)) / sum(widths(*parts)) ** 0.5


def scores_in_place(q_content, q_rotary, k_content, k_rotary):
    scale = (q_content.shape[-1] + q_rotary.shape[-1]) ** -0.5
    q_content *= scale
    q_rotary *= scale
    return sum(both(q_content, q_rotary, k_content, k_rotary))


def scores_masked(*parts):
    scores = right_scores(*parts)
    future = torch.ones_like(scores, dtype=torch.bool).triu(1 + scores.shape[2] - scores.shape[1])
    return scores.masked_fill(future, -torch.inf)


def scores_of_first_rotary(q_content, q_rotary, k_content, k_rotary):
    return right_scores(q_content, q_rotary[:1].expand_as(q_rotary), k_content, k_rotary)


def scores_of_first_content(q_content, q_rotary, k_content, k_rotary):
    return right_scores(q_content, q_rotary, k_content[:1].expand_as(k_content), k_rotary)


DECOUPLED_SCORES = Answers(
    right=[scores_side_by_side, scores_by_loops, scores_in_numpy],
    wrong=[
        Slip(
            scored(lambda content, rotary, d, r: content + rotary),
            "not scaled",
            r"scal|divid|root|sqrt|√",
            "mask|softmax|transpos",
        ),
        Slip(
            scored(lambda content, rotary, d, r: (content + rotary) / d**0.5),
            "divided by the root of D alone",
            r"D \+ Dr|content alone",
            "mask|softmax|not scaled",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content / d**0.5 + rotary / r**0.5),
            "each part by its own root",
            r"each part|of its own|D \+ Dr",
            "mask|softmax|not scaled",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content + rotary / (d + r) ** 0.5),
            "the rotary part alone is divided",
            "rotary part alone|content .*(not|isn't) (scaled|divided)|bracket|parenthes|both parts",
            "mask|softmax|missing",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content / (d + r) ** 0.5),
            "the rotary part is left out",
            "rotary part is missing",
            "mask|softmax|divided by",
        ),
        Slip(
            scored(lambda content, rotary, d, r: (content + rotary) / (d + r)),
            "divided by D + Dr",
            r"root|sqrt|√",
            "mask|softmax|transpos|not (divided|scaled)|nothing is divided",
        ),
        Slip(
            scored(lambda content, rotary, d, r: (content + rotary) / (d**0.5 + r**0.5)),
            "divided by the sum of two roots",
            r"root of the sum|sum of (the|two) roots|two roots|D \+ Dr",
            "mask|softmax|not scaled",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content * rotary / (d + r) ** 0.5),
            "the parts are multiplied",
            "added|sum|multipl",
            "mask|softmax",
        ),
        Slip(
            lambda *parts: right_scores(*parts).softmax(-1),
            "the softmax is taken as well",
            "softmax|weights",
            "on its side|keys were made|mask|scaled",
        ),
        Slip(
            scores_masked, "masked already", r"mask|futur|causal|inf", "softmax is|transpos|divided"
        ),
        Slip(
            scores_in_place,
            "the queries are scaled in place",
            r"chang|in place|argument|leave",
            "mask|transpos",
        ),
        Slip(
            scores_of_first_rotary,
            "the first head's rotary query for all",
            "rotary quer|each head|own",
            "mask|softmax|divide|missing",
        ),
        Slip(
            scores_of_first_content,
            "the first head's content keys for all",
            "content keys?|each head|own",
            "mask|softmax|divide|missing",
        ),
        Slip(
            lambda *parts: right_scores(*parts).mT,
            "keys down, queries across",
            "shape|transpos|swap|on its side",
            "mask|softmax|divide",
        ),
        Slip(
            scored(lambda content, rotary, d, r: (content + rotary) / (2 * d) ** 0.5),
            "D taken for both widths",
            r"D \+ Dr|2 ?D|both widths|2 \* D|twice D",
            "mask|softmax|not scaled",
        ),
    ],
)

# --- yarn_frequencies ---


def yarn_by_loop(frequencies, factor, first, last):
    new = []
    for i, frequency in enumerate(frequencies.tolist()):
        if i <= first:
            new.append(frequency)
        elif i >= last:
            new.append(frequency / factor)
        else:
            share = (i - first) / (last - first)
            new.append(frequency * (1 - share) + frequency / factor * share)
    return torch.tensor(new)


def yarn_in_numpy(frequencies, factor, first, last):
    share = np.interp(np.arange(len(frequencies)), [first, last], [0.0, 1.0])
    return np.asarray(frequencies, dtype=np.float64) * (1 - share + share / factor)


def yarn_by_slices(frequencies, factor, first, last):
    share = torch.ones(max(len(frequencies), last + 1), dtype=frequencies.dtype)
    share[: first + 1] = 0
    share[first : last + 1] = torch.linspace(0, 1, last - first + 1)
    return torch.lerp(frequencies, frequencies / factor, share[: len(frequencies)])


def shares(frequencies, first, last):
    return ((torch.arange(len(frequencies)) - first) / (last - first)).clamp(0, 1)


def yarn(frequencies, factor, first, last, share=None):
    share = shares(frequencies, first, last) if share is None else share
    return frequencies * (1 - share) + frequencies / factor * share


def with_share(count):
    """YaRN with other shares of the divided frequency."""
    return lambda f, factor, first, last: yarn(f, factor, first, last, count(f, first, last))


def share_unclamped(frequencies, first, last):
    return (torch.arange(len(frequencies)) - first) / (last - first)


def yarn_in_place(frequencies, factor, first, last):
    frequencies *= 1 - shares(frequencies, first, last) * (1 - 1 / factor)
    return frequencies


def yarn_of_wavelengths(frequencies, factor, first, last):
    return 1 / yarn(1 / frequencies, 1 / factor, first, last)


YARN_FREQUENCIES = Answers(
    right=[yarn_by_loop, yarn_in_numpy, yarn_by_slices],
    wrong=[
        Slip(
            lambda f, factor, first, last: yarn(f, 1 / factor, first, last),
            "multiplied by the factor",
            r"sped up|multipl|\*divided",
            "clamp|other way|all pairs",
        ),
        Slip(
            with_share(lambda f, first, last: 1 - shares(f, first, last)),
            "fast pairs divided, slow ones kept",
            "other way round|revers",
            "clamp|evenly",
        ),
        Slip(
            with_share(share_unclamped),
            "the share is not clamped",
            "clamp|below 0|outside",
            "other way|sped up",
        ),
        Slip(
            with_share(lambda f, first, last: share_unclamped(f, first, last).clamp(min=0)),
            "the share goes beyond 1",
            "clamp|above 1|outside|beyond",
            "other way|sped up|below 0",
        ),
        Slip(
            lambda f, factor, first, last: f / factor,
            "all pairs are divided",
            "all pairs|interpolation",
            "clamp|other way|sped up",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first, last + 1)),
            "the ramp is one pair too long",
            "too long|too late|at `?last|one pair|already",
            "other way|sped up|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first, last - 1)),
            "the ramp reaches 1 one pair too soon",
            "too (soon|early|short)|at `?last|one pair",
            "other way|sped up|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first, last).floor()),
            "no ramp but a step",
            "no ramp|evenly|step",
            "other way|sped up|clamp",
        ),
        Slip(
            yarn_of_wavelengths,
            "wavelengths are blended",
            "divisors|wavelength",
            "other way|sped up|clamp",
        ),
        Slip(
            lambda f, factor, first, last: f / factor ** shares(f, first, last),
            "blended by powers of the factor",
            "power|geometric",
            "other way|sped up|clamp",
        ),
        Slip(
            yarn_in_place,
            "the frequencies are changed in place",
            r"chang|in place|argument|leave",
            "exchang|multipl|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first - 1, last - 1)),
            "pairs are counted from 1",
            "from 0|one pair|counted",
            "other way|sped up|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: torch.linspace(0, 1, len(f))),
            "the ramp runs over all pairs",
            "all pairs|whole|first and last|from `?first",
            "other way|sped up|clamp|interpolation",
        ),
        Slip(
            with_share(lambda f, first, last: (torch.arange(len(f)) / last).clamp(max=1)),
            "the ramp starts at pair 0",
            "at pair 0|at `?first|from `?first",
            "other way|sped up|clamp",
        ),
    ],
)

# --- yarn_scales ---


def scales_in_numpy(factor, mscale, mscale_all_dim):
    alone, everywhere = 0.1 * np.array([mscale, mscale_all_dim]) * np.log(factor) + 1
    return alone / everywhere, np.square(everywhere)


def scales_in_torch(factor, mscale, mscale_all_dim):
    weights = torch.tensor([mscale, mscale_all_dim], dtype=torch.float64)
    lengths = 1 + weights * math.log10(factor) / math.log10(math.e) / 10
    return [(lengths[0] / lengths[1]).item(), (lengths[1] ** 2).item()]


def scales_by_function(factor, mscale, mscale_all_dim):
    def m(weight):
        return 1.0 if factor <= 1 else math.fsum([1.0, 0.1 * weight * math.log(factor)])

    return m(mscale) * m(mscale_all_dim) ** -1, m(mscale_all_dim) * m(mscale_all_dim)


def scales(mix, log=math.log, tenth=0.1, one=1.0):
    """The two lengths m(mscale) and m(mscale_all_dim), put together in some way."""
    return lambda factor, *weights: mix(*(tenth * w * log(factor) + one for w in weights))


def right_pair(a, b):
    return a / b, b * b


def scales_of_the_ratio(factor, mscale, mscale_all_dim):
    m = 0.1 * (mscale / mscale_all_dim) * math.log(factor) + 1
    return m, (0.1 * mscale_all_dim * math.log(factor) + 1) ** 2


def scales_without_weights(factor, mscale, mscale_all_dim):
    m = 0.1 * math.log(factor) + 1
    return mscale / mscale_all_dim if mscale_all_dim else m, m * m


YARN_SCALES = Answers(
    right=[scales_in_numpy, scales_in_torch, scales_by_function],
    wrong=[
        Slip(
            scales(lambda a, b: (a / b, b)),
            "nothing is squared",
            r"squar|product|both|twice",
            "log|order|ratio",
        ),
        Slip(
            scales(lambda a, b: (b / a, b * b)),
            "the ratio upside down",
            "upside|ratio",
            "squared|natural|places",
        ),
        Slip(
            scales(lambda a, b: ((a / b) ** 2, b * b)),
            "the ratio is squared too",
            "squared|vector",
            "natural|places|upside",
        ),
        Slip(
            scales(right_pair, log=math.log10),
            "the logarithm to base 10",
            r"\bln\b|natural|log",
            "squar|order|upside",
        ),
        Slip(
            scales(right_pair, log=math.log2),
            "the logarithm to base 2",
            r"\bln\b|natural|log",
            "squar|order|upside",
        ),
        Slip(
            scales(lambda a, b: (a, b * b)),
            "the first is not divided",
            "ratio|divid",
            "squared|natural|places|upside",
        ),
        Slip(
            scales(lambda a, b: (b * b, a / b)),
            "the two in the other order",
            "changed places|order",
            "natural|upside",
        ),
        Slip(
            scales(lambda a, b: (a / b, a * a)),
            "all scores by mscale's square",
            "mscale_all_dim's|with mscale_all_dim|that of mscale|second weight|all scores",
            "natural|places|upside",
        ),
        Slip(
            scales(right_pair, tenth=1.0),
            "0.1 is forgotten",
            r"a tenth|0\.1 ln",
            "squared|places|upside|natural",
        ),
        Slip(
            scales(lambda a, b: (a / b if b else 1.0, b * b), one=0.0),
            "1 is not added",
            r"\+ 1|added|1 is missing",
            "squared|places|upside|natural",
        ),
        Slip(
            scales_of_the_ratio,
            "the settings' ratio in one m",
            "ratio of the (two )?m|ratio of|stopped with ZeroDivision",
            "squared|places|upside|natural",
        ),
        Slip(
            scales_without_weights,
            "m without its weight",
            "mscale and mscale_all_dim multiply|weights? (is|are)",
            "squared|places|upside|natural",
        ),
        Slip(
            scales(lambda a, b: (a / b, a * b)),
            "all scores by both lengths",
            "square of|squared|twice|mscale_all_dim's|with mscale_all_dim",
            "natural|places|upside",
        ),
    ],
)

ANSWERS = {
    "cache_numbers": CACHE_NUMBERS,
    "latent_factors": LATENT_FACTORS,
    "absorbed_scores": ABSORBED_SCORES,
    "decoupled_scores": DECOUPLED_SCORES,
    "yarn_frequencies": YARN_FREQUENCIES,
    "yarn_scales": YARN_SCALES,
}
