"""The checkers of lesson 19 accept right answers and name typical slips."""

import math

import torch

from course_lib.lab.checks import latent_attention as check
from course_lib.lab.solutions import latent_attention as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def skeleton_6(a, b, c, d, e, f): ...


# Counting
# --------------------------------------------------------------------------------------------------


def count(kind, h, g, d, r, p, mla=lambda h, d, r, p: r + p, pair=2, share=True):
    if kind == "MLA":
        return mla(h, d, r, p)
    heads = {"MHA": h, "GQA": g if share else h, "MQA": 1 if share else h}
    return pair * heads[kind] * d


def counting(**change):
    return lambda *case: count(*case, **change)


# Factors
# --------------------------------------------------------------------------------------------------


def factors(weight, rank, power=1.0, last=False, swap=False, look=True):
    if look and rank > min(weight.shape):
        raise ValueError(f"rank {rank} is wider than {weight.shape}")
    U, S, V = torch.svd(weight)
    chosen = slice(-rank, None) if last else slice(rank)
    up, down = U[:, chosen] * S[chosen] ** power, V[:, chosen].T
    return (up, down) if swap else (down, up)


def by_eigenvectors(weight, rank):
    if rank > weight.shape[1] or rank > weight.shape[0]:
        raise ValueError(f"{rank} is more than {weight.shape[0]} or {weight.shape[1]}")
    directions = torch.linalg.eigh(weight.T @ weight).eigenvectors[:, -rank:]
    return directions.T, weight @ directions


def first_rows(weight, rank):
    down, up = factors(weight, rank)
    return weight[:rank], up


def silent_error(weight, rank):
    if rank > min(weight.shape):
        raise ValueError("too wide")
    return factors(weight, rank)


# Scores
# --------------------------------------------------------------------------------------------------


def keys_made(q, latent, up):
    return torch.einsum("hd,hsd->hs", q, torch.einsum("sr,hdr->hsd", latent, up))


def by_loop(q, latent, up):
    return torch.stack([(up[h].T @ q[h]) @ latent.T for h in range(len(q))])


def decoupled(a, b, c, d, width=lambda D, P: (D + P) ** 0.5, rotary=True):
    scores = torch.einsum("htd,hsd->hts", a, c)
    if rotary:
        scores = scores + torch.einsum("htp,sp->hts", b, d)
    return scores / width(a.shape[-1], b.shape[-1])


def side_by_side(a, b, c, d):
    q, k = torch.cat([a, b], -1), torch.cat([c, d.expand(len(c), *d.shape)], -1)
    return q @ k.mT / math.sqrt(q.shape[-1])


def two_scales(a, b, c, d):
    return a @ c.mT / a.shape[-1] ** 0.5 + b @ d.T / b.shape[-1] ** 0.5


# YaRN
# --------------------------------------------------------------------------------------------------


def yarn(f, factor, first, last, turn=False, clamp=True, hard=False):
    share = (torch.arange(len(f)) - first) / (last - first)
    share = share.clamp(0, 1) if clamp else share
    share = 1 - share if turn else share
    return torch.lerp(f, f / factor, (share >= 0.5).float() if hard else share)


def yarn_by_loop(f, factor, first, last):
    out = []
    for i, kept in enumerate(f.tolist()):
        if i <= first:
            out.append(kept)
        elif i >= last:
            out.append(kept / factor)
        else:
            t = (i - first) / (last - first)
            out.append(kept + t * (kept / factor - kept))
    return torch.tensor(out)


def scales(factor, m, n, log=math.log, power=2, ratio=True):
    a, b = 0.1 * m * log(factor) + 1, 0.1 * n * log(factor) + 1
    return (a / b if ratio else a), b**power


CASES = {
    check.cache_numbers: Case(
        solution=solutions.cache_numbers_solution,
        skeleton=skeleton_6,
        also_right=[counting()],
        wrong=[
            (counting(mla=lambda h, d, r, p: 2 * (r + p)), "no key and value apart"),
            (counting(mla=lambda h, d, r, p: r), "rotary key is missing"),
            (counting(mla=lambda h, d, r, p: r + h * p), "all heads share it"),
            (counting(mla=lambda h, d, r, p: h * (r + p)), "not once per head"),
            (counting(pair=1), "a key and a value"),
            (counting(share=False), "GQA counts n_kv_heads"),
        ],
    ),
    check.latent_factors: Case(
        solution=solutions.latent_factors_solution,
        skeleton=skeleton_2,
        also_right=[factors, by_eigenvectors],
        wrong=[
            (lambda w, r: factors(w, r, power=0.0), "does not stretch"),
            (lambda w, r: factors(w, r, power=2.0), "must be in the product once"),
            (lambda w, r: factors(w, r, last=True), "the smallest directions"),
            (lambda w, r: factors(w, r, swap=True), "changed places"),
            (lambda w, r: factors(w, r, look=False), "saves nothing"),
            (first_rows, "the best pair has"),
            (silent_error, "does not name the numbers"),
            (lambda w, r: factors(w, r)[0], "two matrices"),
        ],
    ),
    check.absorbed_scores: Case(
        solution=solutions.absorbed_scores_solution,
        skeleton=skeleton_3,
        also_right=[by_loop, lambda q, c, up: (q[:, None] @ up)[:, 0] @ c.T],
        wrong=[
            (keys_made, "all keys were made"),
            (lambda q, c, up: by_loop(q, c, up) / q.shape[-1] ** 0.5, "the scores are scaled"),
            (lambda q, c, up: by_loop(q, c, up).T, "on its side"),
            (lambda q, c, up: q @ up[0] @ c.T, "first head's matrix"),
            (lambda q, c, up: by_loop(q, c, up).sum(0), "heads are added up"),
            (lambda q, c, up: by_loop(q, c, up).softmax(-1), "before softmax"),
        ],
    ),
    check.decoupled_scores: Case(
        solution=solutions.decoupled_scores_solution,
        skeleton=skeleton_4,
        also_right=[side_by_side, decoupled],
        wrong=[
            (lambda *x: decoupled(*x, width=lambda D, P: D**0.5), "content alone"),
            (two_scales, "a scale of its own"),
            (lambda *x: decoupled(*x, width=lambda D, P: 1), "not scaled"),
            (lambda *x: decoupled(*x, rotary=False), "rotary part is missing"),
            (lambda *x: decoupled(*x, width=lambda D, P: D + P), "not its root"),
        ],
    ),
    check.yarn_frequencies: Case(
        solution=solutions.yarn_frequencies_solution,
        skeleton=skeleton_4,
        also_right=[yarn, yarn_by_loop],
        wrong=[
            (lambda *x: yarn(*x, turn=True), "other way round"),
            (lambda f, s, a, b: f / s, "position interpolation"),
            (lambda *x: yarn(*x, hard=True), "there is no ramp"),
            (lambda *x: yarn(*x, clamp=False), "outside the ramp: clamp it"),
            (lambda f, s, a, b: yarn(f, 1 / s, a, b), "are sped up"),
        ],
    ),
    check.yarn_scales: Case(
        solution=solutions.yarn_scales_solution,
        skeleton=skeleton_3,
        also_right=[scales, lambda *x: torch.tensor(scales(*x)).tolist()],
        wrong=[
            (lambda *x: scales(*x, power=1), "the scores is squared"),
            (lambda *x: scales(*x, ratio=False), "the ratio of the two"),
            (lambda *x: scales(*x, log=math.log2), "not to base 2"),
            (lambda *x: scales(*x, log=math.log10), "not to base 10"),
            (lambda f, m, n: scales(f, 1.0, 1.0), "multiply the logarithm"),
            (lambda *x: scales(*x)[::-1], "changed places"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
