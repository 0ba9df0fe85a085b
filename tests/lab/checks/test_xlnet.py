"""The checkers of lesson 16 accept right answers and name typical slips."""

import math

import torch
import torch.nn.functional as F

from course_lib.lab.checks import xlnet as check
from course_lib.lab.solutions import xlnet as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_1(a): ...


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


# The chain rule
# --------------------------------------------------------------------------------------------------


def chain(conditional, words, order, grow=True, early=False, join=math.prod, turn=False):
    seen, factors = {}, []
    for position in reversed(order) if turn else order:
        if early:
            seen[position] = words[position]
        factors.append(conditional(position, seen)[words[position]])
        if grow:
            seen[position] = words[position]
    return join(factors)


def by_logarithms(conditional, words, order):
    total = 0.0
    for k, position in enumerate(order):
        before = {p: words[p] for p in order[:k]}
        total += math.log(conditional(position, before)[words[position]])
    return math.exp(total)


def left_to_right(conditional, words, order):
    return chain(conditional, words, sorted(order))


def last_word_alone(conditional, words, order):
    factors = []
    for k, position in enumerate(order):
        before = {p: words[p] for p in order[max(0, k - 1) : k]}
        factors.append(conditional(position, before)[words[position]])
    return math.prod(factors)


def all_others(conditional, words, order):
    return math.prod(
        conditional(p, {q: words[q] for q in order if q != p})[words[p]] for p in order
    )


def left_in_sight(conditional, words, order):
    return math.prod(conditional(p, dict(enumerate(words[:p])))[words[p]] for p in order)


def asked_twice(conditional, words, order):
    seen, product = {}, 1.0
    for position in order:
        if words[position] in conditional(position, seen):
            product *= conditional(position, seen)[words[position]]
        seen[position] = words[position]
    return product


def from_the_last(conditional, words, order):
    steps = reversed(range(len(order)))
    return math.prod(
        conditional(order[k], {p: words[p] for p in order[:k]})[words[order[k]]] for k in steps
    )


def words_as_keys(conditional, words, order):
    seen, product = {}, 1.0
    for position in order:
        product *= conditional(position, seen)[words[position]]
        seen[words[position]] = position
    return product


def seen_by_step(conditional, words, order):
    seen, product = [], 1.0
    for position in order:
        product *= conditional(position, dict(enumerate(seen)))[words[position]]
        seen.append(words[position])
    return product


# Tables
# --------------------------------------------------------------------------------------------------


def order_by_loop(rank):
    T = len(rank)
    out = torch.zeros(T, T, dtype=torch.bool)
    for i in range(T):
        for j in range(T):
            out[i, j] = bool(rank[j] >= 0 and rank[j] >= rank[i])
    return out


def query_by_loop(sees, targets):
    rows = sees[targets].clone()
    rows[torch.arange(len(targets)), targets] = False
    return rows


def query_by_one_hot(sees, targets):
    return sees[targets] & (F.one_hot(targets, len(sees)) == 0)


def diagonal_cleared(sees, targets):
    rows = sees[targets].clone()
    rows[torch.arange(len(targets)), torch.arange(len(targets))] = False
    return rows


def ranked(order, n, chosen=lambda order, n: order[-n:], first=0, step=1):
    rank = [-1] * len(order)
    for k, position in enumerate(chosen(order.tolist(), n)):
        rank[position] = first + step * k
    return torch.tensor(rank)


def last_columns(order, n):
    rank = torch.full_like(order, -1)
    rank[-n:] = torch.arange(n)
    return rank


def inverse(order, n):
    place = order.argsort() - (len(order) - n)
    return place.clamp(min=-1)


def columns(scores, column):
    T = len(scores)
    index = torch.tensor([[column(T, i, j) for j in range(T)] for i in range(T)])
    return scores.gather(1, index.clamp(0, 2 * T - 1))


def by_reshape(scores):
    T, P = scores.shape
    return scores.reshape(-1)[T:].reshape(T, P - 1)[:, :T]


def by_rows(scores):
    T = len(scores)
    return torch.stack([row[T - i : 2 * T - i] for i, row in enumerate(scores)])


# Memory
# --------------------------------------------------------------------------------------------------


def remember(memory, states, length, front=True, cut=True, keep=lambda x, n: x[-n:]):
    parts = [states] if memory is None else [memory, states] if front else [states, memory]
    joined = keep(torch.cat(parts), length)
    return joined.detach() if cut else joined


def zeros_in_front(memory, states, length):
    if memory is not None:
        return remember(memory, states, length)
    return remember(states.new_zeros(length, states.shape[1]), states, length)


def forget_in_front(memory, states, length):
    joined = torch.cat([states.new_zeros(0, states.shape[1]) if memory is None else memory, states])
    return joined[max(0, len(joined) - length) :].detach().clone()


CASES = {
    check.chain_probability: Case(
        solution=solutions.chain_probability_solution,
        skeleton=skeleton_3,
        also_right=[chain, by_logarithms, asked_twice, from_the_last],
        wrong=[
            (lambda *x: chain(*x, grow=False), "independent guesses"),
            (all_others, "`seen` holds all other words"),
            (seen_by_step, "keys of `seen` are steps"),
            (lambda *x: chain(*x, early=True), "after its probability was taken"),
            (lambda *x: chain(*x, join=sum), "they are multiplied"),
            (lambda *x: math.log(chain(*x)), "the logarithm of the probability"),
            (lambda *x: chain(*x, join=lambda f: f[-1]), "the last factor alone"),
            (lambda *x: chain(*x, turn=True), "not by the order"),
            (left_to_right, "from left to right"),
            (left_in_sight, "not by the order [0, 2, 1]"),
            (words_as_keys, "the keys of seen are positions"),
            (last_word_alone, "the last word alone"),
        ],
    ),
    check.unseen_in_order: Case(
        solution=solutions.unseen_in_order_solution,
        skeleton=skeleton_1,
        also_right=[order_by_loop, lambda r: ~((r < r[:, None]) | (r < 0))],
        wrong=[
            (lambda r: (r > r[:, None]) & (r >= 0), "a target sees itself"),
            (lambda r: (r < r[:, None]) | (r < 0), "what may be seen"),
            (lambda r: ((r >= r[:, None]) & (r >= 0)).T, "on its side"),
            (lambda r: r >= r[:, None], "before all others and together"),
            (
                lambda r: (r >= r[:, None]) & (r >= 0) & (r[:, None] >= 0),
                "tokens with rank -1 see targets",
            ),
            (lambda r: torch.ones(len(r), len(r)).triu().bool() & (r >= 0), "reading order"),
            (lambda r: (r <= r[:, None]) & (r >= 0), "hides what comes before"),
            (lambda r: (r >= 0).expand(len(r), -1), "nobody sees a target"),
            (lambda r: order_by_loop(r).float(), "holds torch.float32"),
        ],
    ),
    check.query_sees: Case(
        solution=solutions.query_sees_solution,
        skeleton=skeleton_2,
        also_right=[query_by_loop, query_by_one_hot],
        wrong=[
            (lambda s, t: s[t], "a query sees its own token"),
            (lambda s, t: s & ~torch.eye(len(s)).bool(), "at `targets` alone"),
            (diagonal_cleared, "column targets[k]"),
            (lambda s, t: query_by_loop(s.T, t), "columns are taken"),
            (lambda s, t: ~query_by_loop(s, t), "what is hidden"),
            (lambda s, t: query_by_loop(s, t.sort().values), "sorted by position"),
            (lambda s, t: s[t].index_fill(1, t, False), "no query sees any target"),
            (lambda s, t: (s & ~torch.eye(len(s)).bool())[: len(t)], "the first rows"),
            (lambda s, t: query_by_loop(s, t).long(), "holds torch.int64"),
        ],
    ),
    check.partial_rank: Case(
        solution=solutions.partial_rank_solution,
        skeleton=skeleton_2,
        also_right=[ranked, inverse],
        wrong=[
            (lambda o, n: ranked(o, n, chosen=lambda o, n: o[:n]), "The first positions"),
            (lambda o, n: ranked(o, n, chosen=lambda o, n: o), "all positions are ranked"),
            (lambda o, n: ranked(o, n, first=len(o) - n), "number of tokens before"),
            (last_columns, "the last positions of the text"),
            (lambda o, n: ranked(o, n, step=0), "none sees another"),
            (lambda o, n: ranked(o, n, first=n - 1, step=-1), "in reverse"),
            (lambda o, n: ranked(o, n, first=1), "not with 1"),
            (lambda o, n: ranked(o, n, chosen=lambda o, n: o[-n:].sort()[0]), "left to right"),
            (lambda o, n: ranked(o, n).clamp(min=0), "Its rank is -1"),
        ],
    ),
    check.scores_by_key: Case(
        solution=solutions.scores_by_key_solution,
        skeleton=skeleton_1,
        also_right=[by_reshape, by_rows],
        wrong=[
            (lambda s: columns(s, lambda T, i, j: T + i - j), "the sign is turned"),
            (lambda s: s[:, : len(s)], "as they are"),
            (lambda s: s[:, len(s) :], "Row i begins at distance i"),
            (lambda s: columns(s, lambda T, i, j: T - 1 - i + j), "too far left"),
            (lambda s: columns(s, lambda T, i, j: T + 1 - i + j), "too far right"),
            (lambda s: columns(s, lambda T, i, j: T - abs(i - j)), "the distance has a sign"),
            (lambda s: by_rows(s).T, "on its side"),
        ],
    ),
    check.next_memory: Case(
        solution=solutions.next_memory_solution,
        skeleton=skeleton_3,
        also_right=[remember, forget_in_front],
        wrong=[
            (lambda *x: remember(*x, keep=lambda x, n: x[:n]), "the oldest states"),
            (lambda *x: remember(*x, keep=lambda x, n: x), "nothing is forgotten"),
            (lambda m, s, n: remember(None, s, n), "thrown away"),
            (lambda *x: remember(*x, front=False), "the new states stand before"),
            (lambda *x: remember(*x, cut=False), "a gradient would flow"),
            (lambda m, s, n: s.detach() if m is None else remember(m, s, n), "kept whole"),
            (lambda *x: remember(*x, keep=lambda x, n: x.flip(0)[:n]), "newest state stands first"),
            (zeros_in_front, "shape (4, 2), expected (2, 2)"),
            (lambda m, s, n: remember(m, s.detach(), n, cut=False), "a gradient would flow"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
