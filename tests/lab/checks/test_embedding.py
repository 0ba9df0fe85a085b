"""The checkers of lesson 04 against right answers and typical wrong ones."""

import math

import torch
import torch.nn.functional as F

from course_lib.lab.checks import embedding as check
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


def turn(x, y, angle):
    return math.cos(angle) * x - math.sin(angle) * y, math.sin(angle) * x + math.cos(angle) * y


def turn_by_complex_number(x, y, angle):
    z = complex(x, y) * complex(math.cos(angle), math.sin(angle))
    return [z.real, z.imag]


def turn_with_the_new_x(x, y, angle):
    x = math.cos(angle) * x - math.sin(angle) * y
    return x, math.sin(angle) * x + math.cos(angle) * y


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


def to_halves(W):
    return torch.cat([W[0::2], W[1::2]])


def to_halves_by_view(W):
    return W.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)


def skeleton(*args): ...


CASES = {
    check.one_hot: Case(
        solution=one_hot,
        skeleton=skeleton,
        also_right=[one_hot_by_scatter],
        wrong=[
            (lambda ids, V: F.one_hot(ids, V), "whole numbers"),
            (lambda ids, V: one_hot(ids, V).T, "one column per token"),
            (lambda ids, V: one_hot((ids - 1) % V, V), "too far left"),
            (lambda ids, V: one_hot((ids + 1) % V, V), "too far right"),
            (lambda ids, V: one_hot(ids, V) * ids[:, None], "the id itself"),
            (lambda ids, V: one_hot(ids, V).amax(0), "one row for the whole text: a bag"),
            (lambda ids, V: one_hot(ids, V).sum(0), "with counts"),
            (lambda ids, V: 1 - one_hot(ids, V), "are swapped"),
        ],
    ),
    check.nearest: Case(
        solution=nearest,
        skeleton=skeleton,
        also_right=[nearest_by_sorting],
        wrong=[
            (
                lambda t, i, k: (F.normalize(t, dim=-1) @ F.normalize(t[i], dim=0)).topk(k).indices,
                "than itself",
            ),
            (lambda t, i, k: (t @ t[i]).topk(k).indices, "long rows win"),
            (
                lambda t, i, k: (t @ t[i]).index_fill(0, torch.tensor(i), -99).topk(k).indices,
                "Divide by the lengths",
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
        ],
    ),
    check.turn: Case(
        solution=turn,
        skeleton=skeleton,
        also_right=[turn_by_complex_number],
        wrong=[
            (lambda x, y, a: turn(x, y, -a), "clockwise"),
            (lambda x, y, a: turn(x, y, math.radians(a)), "taken for degrees"),
            (lambda x, y, a: turn(x, y, math.degrees(a)), "turned into degrees"),
            (
                lambda x, y, a: (
                    math.cos(a) * x + math.sin(a) * y,
                    math.sin(a) * x + math.cos(a) * y,
                ),
                "both lines have a plus",
            ),
            (lambda x, y, a: (math.cos(a) * x, math.sin(a) * y), "only scaled"),
            (turn_with_the_new_x, "the new x"),
            (lambda x, y, a: turn(x, y, a)[::-1], "are swapped"),
        ],
    ),
    check.rotary: Case(
        solution=rotary,
        skeleton=skeleton,
        also_right=[rotary_complex],
        wrong=[
            (rotary_beside, "you paired neighbours"),
            (rotary_with(-2, first=1), "Places count from 0"),
            (rotary_with(-2, sign=-1), "the other way"),
            (rotary_with(0), "the same speed"),
            (rotary_with(-1), "the 2 is missing"),
            (rotary_with(2), "the speeds grow"),
            (lambda x, base: rotary(x, 10_000.0), "whatever the argument"),
            (lambda x, base: x, "nothing is turned"),
        ],
    ),
    check.to_halves: Case(
        solution=to_halves,
        skeleton=skeleton,
        also_right=[to_halves_by_view],
        wrong=[
            (lambda W: W, "nothing is moved"),
            (lambda W: W.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1), "the way back"),
            (lambda W: torch.cat([W[:, 0::2], W[:, 1::2]], 1), "moved columns"),
            (lambda W: torch.cat([W[1::2], W[0::2]]), "the halves are swapped"),
            (lambda W: W.roll(len(W) // 2, 0), "as blocks"),
            (lambda W: W.flip(0), "upside down"),
            (lambda W: to_halves(W).T, "transposed"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
