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
            r"values|both|half|twice|\b2\b",
            "latent|rotary",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: 2 * (rank + r)),
            "a latent for keys and one for values",
            r"once|twice|latent|double|both|MLA",
            "GQA|MQA",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank + n * r),
            "a rotary key for each head",
            r"rotary|one for all|each head|all heads",
            "GQA|MQA",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank),
            "the rotary key is forgotten",
            r"rotary",
            "GQA",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: n * (rank + r)),
            "a latent for each head",
            r"latent|each head|all heads|per head|MLA|one for all",
            "GQA|MQA",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: numbers(kind, n, g, d, rank, r, gqa=n // g),
            "the size of a group for the number of key heads",
            r"n_kv_heads|group|GQA",
            "MLA|MQA|rotary|latent",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: numbers(kind, n, g, d, rank, r, mqa=g),
            "MQA with all key heads of GQA",
            r"MQA|one head",
            "MLA|rotary|latent",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: (
                (1 + n) * d if kind == "MQA" else numbers(kind, n, g, d, rank, r)
            ),
            "MQA with a value for each head",
            r"MQA|value|one head",
            "MLA|rotary|latent",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank + d),
            "d_head for the rotary key's width",
            r"rotary|d_head",
            "GQA|MQA",
        ),
        Slip(
            lambda kind, n, g, d, rank, r: numbers(kind, n, g, d, rank, r, mha=g),
            "MHA with the key heads of GQA",
            r"MHA|n_heads",
            "MLA|rotary|latent",
        ),
        Slip(
            of_latent(lambda n, g, d, rank, r: rank + 2 * r),
            "a rotary key and a rotary value",
            r"rotary|once|twice",
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
            r"ValueError|raise|error|larger",
            "singular",
        ),
        Slip(
            factors_strict,
            "an error at the full rank",
            r"equal|full|allowed|fine|ValueError|raise|larger",
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
            r"singular|\bS\b|strength",
            "twice|weakest|order",
        ),
        Slip(
            checked(factors_twice),
            "the singular values in both factors",
            r"twice|both|one of|square|singular|\bS\b",
            "weakest|left out|missing",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, rank, keep=slice(-rank, None))),
            "the weakest directions",
            r"strongest|weakest|first|largest",
            "twice|left out|shape",
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
            r"shape|transpos",
            "twice|weakest|singular",
        ),
        Slip(
            checked(lambda weight, rank: factors(weight, min(weight.shape))),
            "the rank is ignored",
            r"rank|shape",
            "twice|weakest|singular",
        ),
        Slip(
            checked(factors_centred),
            "columns are centred as in PCA",
            r"near|mean|centr|far|best|error",
            "twice|weakest|left out",
        ),
        Slip(
            checked(factors_of_the_first),
            "the first rows for the strongest directions",
            r"near|best|strongest|singular|far",
            "twice|shape",
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
            r"singular|\bS\b|root|near",
            "twice|weakest|shape",
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
            r"key|operations|absorb",
            "scale|transpos",
        ),
        Slip(
            keys_in_python, "keys are made one by one", r"key|operations|absorb", "scale|transpos"
        ),
        Slip(
            keys_by_broadcast,
            "keys are made by broadcasting",
            r"key|operations|absorb",
            "scale|transpos",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up) / q.shape[-1] ** 0.5,
            "scaled by the root of D",
            r"plain|scal|divid|root|sqrt",
            "transpos|keys? (is|are) made",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up).T,
            "one row per cached token",
            r"shape|transpos|\(H, S\)",
            "scale|keys? (is|are) made",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up).softmax(-1),
            "the softmax is taken as well",
            r"softmax|plain|weights|sums? to",
            "transpos|keys? (is|are) made",
        ),
        Slip(
            lambda q, latent, up: q @ up[0] @ latent.T,
            "the first head's matrix for all",
            r"each head|own matrix|first|head",
            "scale|transpos|keys? (is|are) made",
        ),
        Slip(
            lambda q, latent, up: torch.einsum("hd,gdr->hr", q, up) @ latent.T,
            "the heads' matrices are added up",
            r"each head|own|head|sum",
            "scale|transpos|keys? (is|are) made",
        ),
        Slip(
            lambda q, latent, up: absorbed(q, latent, up).sum(0),
            "scores summed over heads",
            r"shape|head|sum",
            "scale|transpos|keys? (is|are) made",
        ),
        Slip(
            lambda q, latent, up: q @ up @ latent.T,
            "every query with every head's matrix",
            r"shape|head|pair|own",
            "scale|keys? (is|are) made",
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
            r"plain|scal|divid|root|sqrt",
            "transpos|keys? (is|are) made",
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
            r"D \+ Dr|both|root|sqrt|√|widths?|sums? over",
            "mask|softmax|transpos|not (divided|scaled)|nothing is divided",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content / d**0.5 + rotary / r**0.5),
            "each part by its own root",
            r"once|own|each part|D \+ Dr|root|together",
            "mask|softmax|transpos|not (divided|scaled)|nothing is divided",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content + rotary / (d + r) ** 0.5),
            "the rotary part alone is divided",
            r"content|both|bracket|sum|once|parenthes",
            "mask|softmax|transpos|nothing is divided",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content / (d + r) ** 0.5),
            "the rotary part is left out",
            r"rotary|position",
            "mask|softmax|transpos|divided by",
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
            r"root of the sum|D \+ Dr|roots|sqrt|√",
            "mask|softmax|transpos|not (divided|scaled)|nothing is divided",
        ),
        Slip(
            scored(lambda content, rotary, d, r: content * rotary / (d + r) ** 0.5),
            "the parts are multiplied",
            r"sum|add|product|multipl",
            "mask|softmax|transpos",
        ),
        Slip(
            lambda *parts: right_scores(*parts).softmax(-1),
            "the softmax is taken as well",
            r"softmax|weights|sums? to",
            "mask|transpos|not (divided|scaled)|nothing is divided",
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
            r"rotary|each head|own|quer",
            "mask|softmax|transpos|divided",
        ),
        Slip(
            scores_of_first_content,
            "the first head's content keys for all",
            r"content|each head|own|head",
            "mask|softmax|transpos|divided",
        ),
        Slip(
            lambda *parts: right_scores(*parts).mT,
            "keys down, queries across",
            r"shape|transpos|swap",
            "mask|softmax|divided",
        ),
        Slip(
            scored(lambda content, rotary, d, r: (content + rotary) / (2 * d) ** 0.5),
            "D taken for both widths",
            r"D \+ Dr|both|root|sqrt|√|widths?|sums? over",
            "mask|softmax|transpos|not (divided|scaled)|nothing is divided",
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
    share = torch.cat(
        [
            torch.zeros(first),
            torch.linspace(0, 1, last - first + 1),
            torch.ones(len(frequencies) - last - 1),
        ]
    )
    return torch.lerp(frequencies, frequencies / factor, share.to(frequencies))


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
            r"multipl|divid",
            "clamp|exchang|all pairs",
        ),
        Slip(
            with_share(lambda f, first, last: 1 - shares(f, first, last)),
            "fast pairs divided, slow ones kept",
            r"exchang|swap|revers|up to|kept|keep|other way|fast",
            "clamp|evenly",
        ),
        Slip(
            with_share(share_unclamped),
            "the share is not clamped",
            r"clamp|between 0 and 1|beyond|below|up to|outside",
            "exchang|multipl",
        ),
        Slip(
            with_share(lambda f, first, last: share_unclamped(f, first, last).clamp(min=0)),
            "the share goes beyond 1",
            r"clamp|between 0 and 1|beyond|from last|from pair|above 1|outside",
            "exchang|multipl",
        ),
        Slip(
            lambda f, factor, first, last: f / factor,
            "all pairs are divided",
            r"all|keep|kept|interpolation|up to",
            "clamp|exchang|multipl",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first, last + 1)),
            "the ramp is one pair too long",
            r"from last|from pair|ramp|last|evenly|\b1 at|off by one|one pair",
            "exchang|multipl|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first, last - 1)),
            "the ramp reaches 1 one pair too soon",
            r"ramp|last|evenly|\b1 at|between|off by one|one pair|too (soon|early)",
            "exchang|multipl|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: shares(f, first, last).floor()),
            "no ramp but a step",
            r"ramp|blend|between|evenly|step",
            "exchang|multipl|clamp",
        ),
        Slip(
            yarn_of_wavelengths,
            "wavelengths are blended",
            r"blend|wavelength|frequenc|evenly|between|share",
            "exchang|multipl|clamp",
        ),
        Slip(
            lambda f, factor, first, last: f / factor ** shares(f, first, last),
            "blended by powers of the factor",
            r"blend|power|evenly|between|share|geometric",
            "exchang|multipl|clamp",
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
            r"from 0|counted|one pair|up to|first|off by one|keep|kept",
            "exchang|multipl|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: torch.linspace(0, 1, len(f))),
            "the ramp runs over all pairs",
            r"all pairs|up to|first|keep|kept|ramp",
            "exchang|multipl|clamp",
        ),
        Slip(
            with_share(lambda f, first, last: (torch.arange(len(f)) / last).clamp(max=1)),
            "the ramp starts at pair 0",
            r"first|up to|keep|kept|ramp",
            "exchang|multipl|clamp",
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
            r"ratio|divid|upside|over|rotated",
            "squar|log|order",
        ),
        Slip(
            scales(lambda a, b: ((a / b) ** 2, b * b)),
            "the ratio is squared too",
            r"squar|vector|rotated|once",
            "log|order|upside",
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
            r"divid|ratio|over|rotated",
            "squar|log|order|upside",
        ),
        Slip(
            scales(lambda a, b: (b * b, a / b)),
            "the two in the other order",
            r"order|exchang|swap|first",
            "log|upside",
        ),
        Slip(
            scales(lambda a, b: (a / b, a * a)),
            "all scores by mscale's square",
            r"mscale_all_dim|all scores|second",
            "log|order|upside",
        ),
        Slip(
            scales(right_pair, tenth=1.0), "0.1 is forgotten", r"0\.1", "squar|order|upside|natural"
        ),
        Slip(
            scales(lambda a, b: (a / b if b else 1.0, b * b), one=0.0),
            "1 is not added",
            r"\+ 1|\b1\b|added?",
            "squar|order|upside|natural",
        ),
        Slip(
            scales_of_the_ratio,
            "the settings' ratio in one m",
            r"ratio|zero|\b0\b|twice|divid|rotated",
            "squar|order|upside|natural",
        ),
        Slip(
            scales_without_weights,
            "m without its weight",
            r"mscale|weight",
            "squar|order|upside|natural",
        ),
        Slip(
            scales(lambda a, b: (a / b, a * b)),
            "all scores by both lengths",
            r"mscale_all_dim|squar|all scores|second",
            "log|order|upside",
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
