"""Checkers of lesson 19. The truths are loops, singular values and complex numbers by hand."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def cache_numbers(attempt: Attempt) -> str:
    """Count what one layer keeps for one token, by kind of attention."""
    sizes = [(128, 8, 128, 512, 64), (8, 2, 8, 24, 8), (3, 3, 10, 5, 2)]
    cases = [(kind, *row) for row in sizes for kind in ("MHA", "GQA", "MQA", "MLA")]

    def truth(kind, heads, groups, width, rank, rotary):
        keys = {"MHA": heads, "GQA": groups, "MQA": 1, "MLA": 0}[kind]
        kept = sum(width for _ in range(keys) for _ in ("key", "value"))
        return kept + (rank + rotary if kind == "MLA" else 0)

    def for_keys(change):
        return lambda kind, *row: truth(kind, *row) if kind == "MLA" else change(kind, *row)

    def for_kind(wanted, count):
        return lambda kind, *row: count(*row) if kind == wanted else truth(kind, *row)

    slips = [
        (
            for_kind("MLA", lambda h, g, d, r, p: 2 * (r + p)),
            "MLA has no key and value apart: both are made from one latent, kept once.",
        ),
        (
            for_kind("MLA", lambda h, g, d, r, p: r),
            "the rotary key is missing: without it no head knows where a token stood.",
        ),
        (
            for_kind("MLA", lambda h, g, d, r, p: r + h * p),
            "the rotary key is kept once, not once per head: all heads share it.",
        ),
        (
            for_kind("MLA", lambda h, g, d, r, p: h * (r + p)),
            "latent and rotary key are kept once, not once per head.",
        ),
        (
            for_kind("MLA", lambda h, g, d, r, p: 2 * h * d + p),
            "what is kept is the latent, not the keys and values that are made from it.",
        ),
        (
            for_keys(lambda kind, *row: truth(kind, *row) // 2),
            "MHA, GQA and MQA keep a key and a value: twice the width per key head.",
        ),
        (
            for_keys(lambda kind, h, g, d, r, p: 2 * h * d),
            "heads that share a key keep it once: GQA counts n_kv_heads, MQA one.",
        ),
        (
            for_kind("MLA", lambda h, g, d, r, p: r + d),
            "the rotary key has a width of its own, d_rotary. It is not d_head.",
        ),
        (
            for_kind("MLA", lambda h, g, d, r, p: r + 2 * p),
            "the rotary key is kept once. There is no rotary value: values know no position.",
        ),
        (
            for_kind("GQA", lambda h, g, d, r, p: 2 * (h // g) * d),
            "n_heads / n_kv_heads is the size of a group. GQA keeps one key per group: n_kv_heads.",
        ),
        (
            for_kind("MQA", lambda h, g, d, r, p: 2 * g * d),
            "MQA keeps one head's key and value, however many key heads GQA has.",
        ),
        (
            for_kind("MQA", lambda h, g, d, r, p: (1 + h) * d),
            "MQA keeps one value as well as one key: heads share both.",
        ),
        (
            for_kind("MHA", lambda h, g, d, r, p: 2 * g * d),
            "MHA shares nothing: it keeps a key and a value for each of n_heads.",
        ),
    ]

    def called(kind, h, g, d, r, p):
        return (
            f"the numbers per token and layer of {kind} with {h} heads ({g} key heads) of {d},"
            f" rank {r}, rotary width {p}"
        )

    judge_by_slips(attempt, cases, truth, slips, called)
    return "right: the number of heads is nowhere in MLA's count."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _pair(got: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"return two matrices, down and up; got {describe(got)}")
    down, up = (torch.as_tensor(part) for part in got)
    return down.float(), up.float()


@checker
def latent_factors(attempt: Attempt) -> str:
    """Write a matrix as up @ down through `rank` numbers, as well as that can be done."""
    for seed, (rows, columns, rank) in enumerate([(12, 6, 2), (6, 12, 5), (9, 9, 1), (8, 5, 5)]):
        weight = _draw(rows, columns, seed=seed)
        if rank == min(rows, columns):
            _judge_whole(attempt, weight, rank)
        down, up = _pair(attempt(weight.clone(), rank))
        shapes = tuple(down.shape), tuple(up.shape)
        case = f"a matrix of {rows} x {columns} and rank {rank}"
        if shapes == ((rows, rank), (rank, columns)):
            raise Wrong(f"for {case} down and up have changed places: down comes first, up last.")
        if shapes != ((rank, columns), (rows, rank)):
            raise Wrong(
                f"for {case} down should be {rank} x {columns} and up {rows} x {rank}; got"
                f" {shapes[0]} and {shapes[1]}"
            )
        _judge_factors(weight, up @ down, rank, case)
    for shape in ((7, 4), (4, 7)):
        _judge_wide(attempt, shape)
    return "right: no other pair of this rank is nearer to the matrix."


def _judge_factors(weight: Tensor, got: Tensor, rank: int, case: str) -> None:
    """Compare the error with what the left-out singular values say it must be."""
    U, S, Vh = torch.linalg.svd(weight, full_matrices=False)
    smallest = U[:, -rank:] * S[-rank:] @ Vh[-rank:]
    known = {
        "the singular values are missing: U @ Vh turns, but does not stretch.": U[:, :rank],
        "the singular values are in both factors: they must be in the product once.": (
            U[:, :rank] * S[:rank] ** 2
        ),
        "only the root of the singular values is in the product. If one factor has the root, the"
        " other needs it too.": U[:, :rank] * S[:rank].sqrt(),
    }
    best = S[rank:].square().sum().sqrt().item()
    error = (weight - got).norm().item()
    if abs(error - best) < 1e-4 * weight.norm().item():
        return
    for sentence, up in known.items():
        if torch.allclose(got, up @ Vh[:rank], atol=1e-4):
            raise Wrong(sentence)
    if torch.allclose(got, smallest, atol=1e-4):
        raise Wrong("you kept the smallest directions. The first singular values are the largest.")
    raise Wrong(f"for {case} the error is {error:.4f}; the best pair has {best:.4f}")


def _judge_whole(attempt: Attempt, weight: Tensor, rank: int) -> None:
    """Ask for a rank as large as the smaller width, which must not be refused."""
    try:
        attempt.answer(weight.clone(), rank)
    except ValueError as error:
        raise Wrong(
            f"rank {rank} of a {weight.shape[0]} x {weight.shape[1]} matrix is allowed: it is not"
            f" larger than a width, but equal to one. You raise: {error}"
        ) from None
    except Exception:
        return  # the attempt tells where it stopped


def _judge_wide(attempt: Attempt, shape: tuple[int, int]) -> None:
    """Ask for rank 5, wider than the matrix, which must be refused with its numbers."""
    case = f"rank 5 of a {shape[0]} x {shape[1]} matrix"
    try:
        attempt.answer(_draw(*shape), 5)
    except ValueError as error:
        if not all(number in str(error) for number in "574"):
            raise Wrong(f"the error for {case} does not name the numbers: {error}") from None
        return
    except Exception as error:
        raise Wrong(f"{case}: raise a ValueError, not {error!r}") from None
    raise Wrong(f"{case} saves nothing: raise a ValueError that names both.")


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _numbers(shape: Any) -> int:
    return math.prod(shape) if isinstance(shape, tuple | list | torch.Size) else 1


# torch's counter knows products of matrices alone: keys can also be made by vector, or by number
_SMALL_PRODUCTS = {
    torch.ops.aten.mv: lambda matrix, vector, **_: 2 * _numbers(matrix),
    torch.ops.aten.dot: lambda one, other, **_: 2 * _numbers(one),
    torch.ops.aten.mul: lambda *_, out_shape, **__: 2 * _numbers(out_shape),
}


@checker
def absorbed_scores(attempt: Attempt) -> str:
    """Score queries against keys that are never made."""
    cases = []
    for seed, (H, D, R, S) in enumerate([(2, 3, 4, 5), (3, 4, 2, 6), (1, 5, 3, 1)]):
        made = [_draw(*shape, seed=seed + i) for i, shape in enumerate([(H, D), (S, R), (H, D, R)])]
        cases.append(tuple(made))

    def truth(q, latent, up):
        scores = torch.zeros(len(q), len(latent), dtype=torch.double)
        for h in range(len(q)):
            for s in range(len(latent)):
                key = [float(row.double() @ latent[s].double()) for row in up[h]]
                scores[h, s] = sum(a * b for a, b in zip(q[h].tolist(), key, strict=True))
        return scores.float()

    slips = [
        (
            lambda q, latent, up: truth(q, latent, up) / q.shape[-1] ** 0.5,
            "the scores are scaled. Here they should be plain dot products of query and key.",
        ),
        (lambda q, latent, up: truth(q, latent, up).T, "the table is on its side: heads are rows."),
        (
            lambda q, latent, up: truth(q, latent, up[:1].expand_as(up)),
            "all heads read with the first head's matrix. Each has an `up` of its own.",
        ),
        (
            lambda q, latent, up: truth(q, latent, up) / latent.shape[-1] ** 0.5,
            "the scores are scaled, by the root of the latent's width. Here they should be plain.",
        ),
        (
            lambda q, latent, up: truth(q, latent, up.sum(0, keepdim=True).expand_as(up)),
            "all heads read with the sum of the heads' matrices. Each has an `up` of its own: h"
            " must be in both operands and in the result.",
        ),
        (
            lambda q, latent, up: truth(q, latent, up).sum(0),
            "the heads are added up: h must stay in the result.",
        ),
        (
            lambda q, latent, up: truth(q, latent, up).softmax(-1),
            "these are weights. The exercise asks for the scores before softmax.",
        ),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda q, c, up: "the scores")
    H, D, R, S = 4, 8, 16, 200
    with FlopCounterMode(display=False, custom_mapping=_SMALL_PRODUCTS) as counted:
        attempt(_draw(H, D), _draw(S, R), _draw(H, D, R))
    cheap, naive = 2 * H * R * (D + S), 2 * S * H * D * R
    if counted.get_total_flops() > (cheap + naive) / 2:
        raise Wrong(
            "the numbers are right, but all keys were made on the way:"
            f" {counted.get_total_flops():,} operations, where {cheap:,} are enough. Bring the"
            " query down to the latents instead."
        )
    return "right, and no key was made: one query came down instead of all keys coming up."


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def decoupled_scores(attempt: Attempt) -> str:
    """Score in two parts: content per head, and one rotary key for all heads."""
    cases = []
    for seed, (H, T, S, D, P) in enumerate([(2, 3, 4, 6, 2), (3, 1, 5, 4, 4), (1, 2, 2, 8, 6)]):
        shapes = [(H, T, D), (H, T, P), (H, S, D), (S, P)]
        cases.append(tuple(_draw(*shape, seed=seed + i) for i, shape in enumerate(shapes)))

    def parts(q_content, q_rotary, k_content, k_rotary):
        content = torch.einsum("htd,hsd->hts", q_content, k_content)
        return content, torch.einsum("htp,sp->hts", q_rotary, k_rotary)

    def truth(q_content, q_rotary, k_content, k_rotary):
        heads, width = len(q_content), q_content.shape[-1] + q_rotary.shape[-1]
        whole_q = torch.cat([q_content, q_rotary], -1).double()
        beside = torch.stack([k_rotary] * heads)
        whole_k = torch.cat([k_content, beside], -1).double()
        return torch.stack([q @ k.T for q, k in zip(whole_q, whole_k, strict=True)]).float() / (
            width**0.5
        )

    def scaled(change):
        return lambda a, b, c, d: change(*parts(a, b, c, d), a.shape[-1], b.shape[-1])

    slips = [
        (
            scaled(lambda content, rotary, D, P: (content + rotary) / D**0.5),
            "the scale is that of the content alone. A query has D + Dr numbers.",
        ),
        (
            scaled(lambda content, rotary, D, P: content / D**0.5 + rotary / P**0.5),
            "each part has a scale of its own. They are one dot product, of D + Dr numbers.",
        ),
        (
            scaled(lambda content, rotary, D, P: content + rotary),
            "the scores are not scaled: divide by the root of a query's whole width.",
        ),
        (
            scaled(lambda content, rotary, D, P: content / (D + P) ** 0.5),
            "the rotary part is missing: these heads can't tell where a token stood.",
        ),
        (
            scaled(lambda content, rotary, D, P: (content + rotary) / (D + P)),
            "the scale is the width itself, not its root.",
        ),
        (
            scaled(lambda content, rotary, D, P: content + rotary / (D + P) ** 0.5),
            "the rotary part alone is scaled: add both parts first, in brackets, then divide.",
        ),
        (
            scaled(lambda content, rotary, D, P: content / (D + P) ** 0.5 + rotary),
            "the content alone is scaled: add both parts first, in brackets, then divide.",
        ),
        (
            scaled(lambda content, rotary, D, P: (content + rotary) / (D**0.5 + P**0.5)),
            "the scale is the sum of two roots. It is the root of the sum D + Dr.",
        ),
        (
            scaled(lambda content, rotary, D, P: (content + rotary) / (2 * D) ** 0.5),
            "the scale is the root of 2 D: the rotary part has a width of its own, so D + Dr.",
        ),
        (
            scaled(lambda content, rotary, D, P: content * rotary / (D + P) ** 0.5),
            "the two parts are multiplied. The product of vectors side by side is their sum.",
        ),
        (
            lambda *case: truth(*case).softmax(-1),
            "these are weights. The exercise asks for the scores before softmax.",
        ),
        (
            lambda a, b, c, d: truth(a, b[:1].expand_as(b), c, d),
            "all heads use the first head's rotary query. The rotary *key* is shared; queries are"
            " each head's own.",
        ),
        (
            lambda a, b, c, d: truth(a, b, c[:1].expand_as(c), d),
            "all heads use the first head's content keys. Each head has its own; the rotary key"
            " alone is shared.",
        ),
    ]
    judge_by_slips(attempt, cases, truth, slips, lambda *case: "the scores")
    return "right: one rotary key stands beside every head's content."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def yarn_frequencies(attempt: Attempt) -> str:
    """Divide slow frequencies, keep fast ones, with a ramp between."""
    speeds = [10_000.0 ** (-i / 8) for i in range(8)]
    cases = [
        (torch.tensor(speeds), 40.0, 2, 6),
        (torch.tensor(speeds), 4.0, 0, 3),
        (torch.tensor([1.0, 0.5, 0.2]), 2.0, 1, 2),
        (torch.tensor(speeds), 8.0, 5, 20),
    ]

    def blend(factor, kept, share):
        return kept * (1 - share) + kept / factor * share

    def by_share(change, begin=0, end=0, top=1.0):
        def made(frequencies, factor, first, last):
            rows = []
            first, last = first + begin, last + end
            for i, kept in enumerate(frequencies.tolist()):
                share = min(top, max(0.0, (i - first) / (last - first)))
                rows.append(change(factor, kept, share))
            return torch.tensor(rows)

        return made

    truth = by_share(blend)
    slips = [
        (
            by_share(lambda s, kept, share: blend(s, kept, 1 - share)),
            "it is the other way round: the fast pairs, the first ones, are kept.",
        ),
        (lambda f, s, a, b: f / s, "all pairs are divided: that is position interpolation."),
        (
            by_share(lambda s, kept, share: kept / s if share >= 0.5 else kept),
            "there is no ramp between first and last: the share of the divided rises evenly.",
        ),
        (
            by_share(lambda s, kept, share: kept / (1 - share + s * share)),
            "you blend the divisors. YaRN blends the two frequencies.",
        ),
        (
            by_share(lambda s, kept, share: kept * (1 - share) + kept * s * share),
            "the slow pairs are sped up: they are to be *divided* by the factor.",
        ),
        (
            lambda f, s, a, b: f * (1 - (torch.arange(len(f)) - a) / (b - a) * (1 - 1 / s)),
            "the share runs below 0 and above 1 outside the ramp: clamp it.",
        ),
        (
            by_share(blend, top=math.inf),
            "the share runs above 1 after the ramp: clamp it on this side too.",
        ),
        (
            by_share(blend, end=1),
            "the ramp ends one pair too late: pair number last is already divided.",
        ),
        (
            by_share(blend, end=-1),
            "the ramp ends one pair too soon: the share reaches 1 at pair number last.",
        ),
        (
            by_share(blend, begin=-1, end=-1),
            "the whole ramp is one pair too early: pairs are counted from 0.",
        ),
        (
            by_share(blend, begin=1, end=1),
            "the whole ramp is one pair too late: pairs are counted from 0.",
        ),
        (
            by_share(lambda s, kept, share: kept / s if share == 1 else kept),
            "there is no ramp but a step at last: between, the share of the divided rises evenly.",
        ),
        (
            by_share(lambda s, kept, share: kept / s**share),
            "you blend powers of the factor. YaRN blends the two frequencies.",
        ),
        (
            lambda f, s, a, b: torch.lerp(f, f / s, torch.linspace(0, 1, len(f))),
            "the ramp runs over all pairs. It rises between first and last alone.",
        ),
        (
            lambda f, s, a, b: torch.lerp(f, f / s, (torch.arange(len(f)) / b).clamp(max=1)),
            "the ramp starts at pair 0. It starts at first: up to there, pairs are kept.",
        ),
    ]

    def called(f, factor, first, last):
        return f"{len(f)} frequencies, factor {factor}, kept up to {first}, divided from {last}"

    judge_by_slips(attempt, cases, truth, slips, called, tolerance=1e-6)
    return "right: fast pairs as trained, slow ones divided, a ramp between."


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def yarn_scales(attempt: Attempt) -> str:
    """Say by how much YaRN lengthens rotated vectors, and multiplies scores."""
    cases = [(40.0, 1.0, 1.0), (40.0, 0.707, 0.707), (4.0, 1.0, 0.5), (1.0, 1.0, 1.0)]

    def by(logarithm=math.log, power=2, over=True, weight=lambda m: m, rate=0.1, one=1.0):
        def made(factor, mscale, everywhere):
            a, b = (rate * weight(m) * logarithm(factor) + one for m in (mscale, everywhere))
            return [a / b if over else a, b**power]

        return made

    truth = by()
    slips = [
        (
            by(power=1),
            "a score is a product of a query and a key, and both are to be longer: the factor on"
            " the scores is squared.",
        ),
        (
            by(over=False),
            "what multiplies all scores already covers the rotated part: the first number is the"
            " ratio of the two.",
        ),
        (by(math.log2), "the logarithm is the natural one, not to base 2."),
        (by(math.log10), "the logarithm is the natural one, not to base 10."),
        (by(weight=lambda m: 1.0), "mscale and mscale_all_dim multiply the logarithm."),
        (by(rate=1.0), "the logarithm counts a tenth: 0.1 ln(factor) + 1."),
        (
            lambda f, m, n: truth(f, m, n)[::-1],
            "the two have changed places: first what rotated numbers are multiplied by.",
        ),
        (
            lambda f, m, n: [1 / truth(f, m, n)[0], truth(f, m, n)[1]],
            "the ratio is upside down: m(mscale) over m(mscale_all_dim).",
        ),
        (
            lambda f, m, n: [truth(f, m, n)[0] ** 2, truth(f, m, n)[1]],
            "the first number multiplies a vector, not a product of two: it is not squared.",
        ),
        (
            lambda f, m, n: [truth(f, m, n)[0], truth(f, n, m)[1]],
            "all scores are multiplied by the square of mscale_all_dim's m, not of mscale's.",
        ),
        (
            lambda f, m, n: [truth(f, m, n)[0], truth(f, m, n)[0] * truth(f, m, n)[1]],
            "all scores are multiplied by the square of mscale_all_dim's m, not by both m's.",
        ),
        (by(one=0.0), "1 is missing: m is 0.1 times weight and logarithm, + 1."),
        (
            lambda f, m, n: [0.1 * m / n * math.log(f) + 1, truth(f, m, n)[1]],
            "the first number is the ratio of the two m's, not the m of the settings' ratio.",
        ),
        (
            lambda f, m, n: [m / n, by(weight=lambda m: 1.0)(f, m, n)[1]],
            "mscale and mscale_all_dim multiply the logarithm in m, each in its own.",
        ),
    ]

    def plain(got: Any) -> list[float]:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return two numbers; got {describe(got)}")
        return [float(part) for part in got]

    judge_by_slips(
        attempt, cases, truth, slips,
        lambda f, m, n: f"the scales for factor {f}, mscale {m}, mscale_all_dim {n}",
        plain=plain,
    )  # fmt: skip
    published = plain(attempt(40.0, 1.0, 1.0))
    expect(published[0], 1.0, "V3's factor on rotated numbers")
    return "right: with V3's settings the rotated numbers keep their length, and all scores grow."
