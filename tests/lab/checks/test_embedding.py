"""The checkers of lesson 04 against right answers and typical wrong ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.lab.checks import embedding as check
from course_lib.lab.solutions import embedding as solutions
from tests.lab.checks.answers import embedding as slips
from tests.lab.checks.cases import Case, tests_of


def one_hot(ids, V):
    return F.one_hot(ids, V).float()


def one_hot_by_scatter(ids, V):
    return torch.zeros(len(ids), V).scatter(1, ids[:, None], 1.0)


def nearest(table, i, k):
    directions = F.normalize(table, dim=-1)
    cosines = directions @ directions[i]
    cosines[i] = -2
    return cosines.topk(k).indices


def nearest_by_sorting(table, i, k):
    cosines = torch.cosine_similarity(table, table[i], dim=-1).tolist()
    return sorted((j for j in range(len(table)) if j != i), key=lambda j: -cosines[j])[:k]


def nearest_by_numpy(table, i, k):
    rows = table.numpy()
    cosines = rows @ rows[i] / np.linalg.norm(rows, axis=1)
    return np.array([j for j in np.argsort(-cosines) if j != i][:k])


def nearest_with_own(value):
    def answer(table, i, k):
        cosines = torch.cosine_similarity(table, table[i], dim=-1)
        cosines[i] = value
        return cosines.topk(k).indices

    return answer


def nearest_without_the_first(table, i, k):
    return torch.cosine_similarity(table, table[i], dim=-1).topk(k + 1).indices[1:]


def nearest_without_equals(table, i, k):
    cosines = torch.cosine_similarity(table, table[i], dim=-1)
    cosines[cosines > 0.9999] = -2
    return cosines.topk(k).indices


def backward_by_loop(ids, upstream, V):
    gradient = torch.zeros(V, upstream.shape[1])
    for i, row in zip(ids.tolist(), upstream, strict=True):
        gradient[i] += row
    return gradient


def backward_by_product(ids, upstream, V):
    return F.one_hot(ids, V).double().T @ upstream.double()


def backward_by_einsum(ids, upstream, V):
    return torch.einsum("tv,tc->vc", F.one_hot(ids, V).float(), upstream)


def backward_by_autograd(ids, upstream, V):
    table = torch.zeros(V, upstream.shape[1], requires_grad=True)
    return torch.autograd.grad(F.embedding(ids, table), table, upstream)[0]


def backward_one_reading(ids, upstream, V):
    gradient = torch.zeros(V, upstream.shape[1])
    gradient[ids] += upstream
    return gradient


def backward_first_reading(ids, upstream, V):
    gradient = torch.zeros(V, upstream.shape[1])
    for i, row in zip(ids.tolist()[::-1], upstream.flip(0), strict=True):
        gradient[i] = row
    return gradient


def backward_mean(ids, upstream, V):
    count = torch.bincount(ids, minlength=V).clamp(min=1)
    return backward_by_loop(ids, upstream, V) / count[:, None]


def rotary(x, base):
    T, D = x.shape
    return rotary_at(x, torch.arange(T)[:, None] * base ** (-2 * torch.arange(D // 2) / D))


def rotary_at(x, turned):
    first, second = x.chunk(2, -1)
    cos, sin = turned.cos(), turned.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def rotary_complex(x, base):
    T, D = x.shape
    speeds = base ** (-torch.arange(0, D, 2) / D)
    turned = torch.complex(*x.chunk(2, -1)) * torch.polar(
        torch.ones(T, D // 2), torch.arange(T)[:, None] * speeds
    )
    return torch.cat([turned.real, turned.imag], -1)


def rotary_with(exponent, first=0, sign=1):
    def answer(x, base):
        T, D = x.shape
        places = torch.arange(first, first + T)[:, None]
        return rotary_at(x, sign * places * base ** (exponent * torch.arange(D // 2) / D))

    return answer


def rotary_beside(x, base):
    T, D = x.shape
    turned = torch.arange(T)[:, None] * base ** (-2 * torch.arange(D // 2) / D)
    even, odd = x[:, 0::2], x[:, 1::2]
    mixed = [even * turned.cos() - odd * turned.sin(), even * turned.sin() + odd * turned.cos()]
    return torch.stack(mixed, -1).flatten(1)


def rotary_in_double(x, base):
    D = x.shape[1]
    return torch.stack([rotary_row(row.double(), t, base, D) for t, row in enumerate(x)])


def rotary_row(row, t, base, D):
    angles = t * base ** (-2 * torch.arange(D // 2).double() / D)
    first, second = row.chunk(2)
    mixed = [first * angles.cos() - second * angles.sin(), first * angles.sin()]
    return torch.cat([mixed[0], mixed[1] + second * angles.cos()])


def rotary_from_the_new(x, base):
    T, D = x.shape
    turned = torch.arange(T)[:, None] * base ** (-2 * torch.arange(D // 2) / D)
    first, second = x.chunk(2, -1)
    first = first * turned.cos() - second * turned.sin()
    return torch.cat([first, first * turned.sin() + second * turned.cos()], -1)


def to_halves(W, n_heads):
    return torch.cat([half for head in W.chunk(n_heads) for half in (head[0::2], head[1::2])])


def to_halves_by_view(W, n_heads):
    return W.view(n_heads, -1, 2, W.shape[1]).swapaxes(1, 2).reshape(-1, W.shape[1])


def to_halves_by_index(W, n_heads):
    D = len(W) // n_heads
    order = [h * D + i for h in range(n_heads) for i in [*range(0, D, 2), *range(1, D, 2)]]
    return W[order]


def by_head(change):
    """Change each head's rows on their own."""
    return lambda W, n_heads: torch.cat([change(head) for head in W.chunk(n_heads)])


def skeleton(*args): ...


def last_two_readings(ids, upstream, V):
    rows = [upstream[ids == v][-2:].sum(0) for v in range(V)]
    return torch.stack(rows)


def without_first(ids, upstream, V):
    return slips.backward_by_put(ids[1:], upstream[1:], V)


CASES = {
    check.one_hot: Case(
        solution=one_hot,
        skeleton=skeleton,
        also_right=[
            one_hot_by_scatter,
            lambda ids, V: torch.eye(V, dtype=torch.float64)[ids],
            lambda ids, V: (torch.arange(V) == ids.unsqueeze(1)).to(torch.float32),
        ],
        wrong=[
            (slips.one_hot_counted_from_one, "and id 0 has none"),
            (slips.one_hot_all_columns, "the ones of all tokens"),
            (slips.one_hot_first_place, "the first time only"),
            (lambda ids, V: F.one_hot(ids, V), "make them floats"),
            (lambda ids, V: one_hot(ids, V).T, "one column per token"),
            (lambda ids, V: F.one_hot(ids).float(), "all V = 7 columns"),
            (lambda ids, V: one_hot(ids, V).bool(), "make them floats"),
            (lambda ids, V: one_hot((ids - 1) % V, V), "too far left"),
            (lambda ids, V: one_hot((ids + 1) % V, V), "too far right"),
            (lambda ids, V: one_hot(ids, V) * ids[:, None], "the id itself"),
            (lambda ids, V: one_hot(ids, V).amax(0), "one row for the whole text: a bag"),
            (lambda ids, V: one_hot(ids, V).sum(0), "with counts"),
            (lambda ids, V: 1 - one_hot(ids, V), "are swapped"),
        ],
    ),
    check.embedding_backward: Case(
        solution=backward_by_loop,
        skeleton=skeleton,
        also_right=[
            backward_by_product,
            backward_by_einsum,
            backward_by_autograd,
            solutions.embedding_backward_solution,
        ],
        wrong=[
            (slips.backward_without_last, "the last position is left out"),
            (without_first, "the first position is left out"),
            (last_two_readings, "read more than once are wrong ([2])"),
            (slips.backward_sums_neighbours, "read more than once are wrong ([1])"),
            (slips.backward_in_whole_numbers, "whole numbers"),
            (backward_one_reading, "of one reading only"),
            (backward_first_reading, "of one reading only"),
            (backward_mean, "the mean over the readings"),
            (lambda ids, g, V: backward_by_loop(ids, g, V) / max(1, len(ids)), "divided by T"),
            (
                lambda ids, g, V: backward_by_loop(ids, torch.ones_like(g), V),
                "counted the readings",
            ),
            (lambda ids, g, V: g, "as it came"),
            (lambda ids, g, V: backward_by_loop(ids, g, V).T, "but transposed"),
            (
                lambda ids, g, V: backward_by_loop(ids, g, max([0, *ids.tolist()]) + 1),
                "rows are missing",
            ),
            (lambda ids, g, V: g.sum(0).expand(V, -1), "the sum of all gradients"),
            (lambda ids, g, V: -backward_by_loop(ids, g, V), "every sign is wrong"),
            (lambda ids, g, V: backward_by_loop(ids, g, V) + 1e-3, "numbers differ"),
        ],
    ),
    check.nearest: Case(
        solution=nearest,
        skeleton=skeleton,
        also_right=[
            nearest_by_sorting,
            nearest_by_numpy,
            lambda t, i, k: tuple(nearest_by_sorting(t.double(), i, k)),
            lambda t, i, k: nearest(t, i, k).int(),
        ],
        wrong=[
            (slips.nearest_renumbered, "numbered one too small"),
            (slips.nearest_by_columns, "each column by its length"),
            (
                lambda t, i, k: (F.normalize(t, dim=-1) @ F.normalize(t[i], dim=0)).topk(k).indices,
                "than itself",
            ),
            (lambda t, i, k: (t @ t[i]).topk(k).indices, "long rows win"),
            (
                lambda t, i, k: (t @ t[i]).index_fill(0, torch.tensor(i), -99).topk(k).indices,
                "divide by the lengths",
            ),
            (
                lambda t, i, k: (t - t[i]).norm(dim=-1).topk(k + 1, largest=False).indices[1:],
                "straight line",
            ),
            (
                lambda t, i, k: (
                    torch.cosine_similarity(t, t[i], dim=-1).topk(k, largest=False).indices
                ),
                "the other way",
            ),
            (
                lambda t, i, k: torch.cosine_similarity(t, t[i], dim=-1).topk(k).values,
                "how near they are",
            ),
            (lambda t, i, k: nearest(t, i, k).float(), "whole numbers"),
            (lambda t, i, k: nearest(t, i, k).flip(0), "the wrong order"),
            (lambda t, i, k: nearest(t, i, k)[:-1], "3 rows, expected 4"),
            (lambda t, i, k: nearest(t, i, len(t) - 1), "11 rows, expected 4"),
            (nearest_with_own(0.0), "lose against all others"),
            (nearest_with_own(-1.0), "lose against all others"),
            (nearest_without_the_first, "must not be dropped"),
            (nearest_without_equals, "a row that equals row 1 is left out"),
            (lambda t, i, k: str(nearest(t, i, k).tolist()), "row numbers"),
        ],
    ),
    check.rotary: Case(
        solution=rotary,
        skeleton=skeleton,
        also_right=[rotary_complex, rotary_in_double, solutions.rotary_solution],
        wrong=[
            (slips.rotary_joined_in_turns, "side by side"),
            (rotary_beside, "you paired neighbours"),
            (rotary_with(-2, first=1), "Positions count from 0"),
            (rotary_with(-2, sign=-1), "the other way"),
            (rotary_with(0), "the same frequency"),
            (rotary_with(-1), "the 2 is missing"),
            (rotary_with(-4), "yours is -4 i / D"),
            (rotary_with(2), "frequencies grow"),
            (lambda x, base: rotary(x, 10_000.0), "whatever the argument"),
            (rotary_with(-2, sign=180 / math.pi), "turned into degrees"),
            (rotary_with(-2, sign=math.pi / 180), "taken for degrees"),
            (rotary_from_the_new, "use the old numbers"),
            (lambda x, base: rotary(x, base).roll(x.shape[1] // 2, -1), "halves are swapped"),
            (lambda x, base: x, "nothing is rotated"),
            (lambda x, base: rotary(x, base)[:5], "expected (40, 4)"),
        ],
    ),
    check.to_halves: Case(
        solution=to_halves,
        skeleton=skeleton,
        also_right=[to_halves_by_view, to_halves_by_index, solutions.to_halves_solution],
        wrong=[
            (slips.halves_of_chunks, "heads of 3 rows"),
            (slips.halves_by_strides_of_heads, "every row number 3"),
            (slips.halves_of_first_head, "only head 0"),
            (slips.halves_of_swapped_heads, "axis of the heads stays in front"),
            (lambda W, n: W, "nothing is moved"),
            (lambda W, n: torch.cat([W[0::2], W[1::2]]), "different heads are mixed"),
            (
                by_head(lambda W: W.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)),
                "the way back",
            ),
            (lambda W, n: torch.cat([W[:, 0::2], W[:, 1::2]], 1), "moved columns"),
            (by_head(lambda W: torch.cat([W[1::2], W[0::2]])), "the halves are swapped"),
            (by_head(lambda W: W.roll(len(W) // 2, 0)), "as blocks"),
            (lambda W, n: W.flip(0), "upside down"),
            (lambda W, n: to_halves(W, n).T, "transposed"),
            (lambda W, n: to_halves(W, n).unflatten(0, (n, -1)), "Join the heads"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
