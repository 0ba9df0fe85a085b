"""Checkers of lesson 16. The truths are a table of joint probabilities, and loops over pairs."""

from collections.abc import Callable, Sequence
from itertools import permutations, product
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------

WORDS = ("no", "yes")


def _joint_table(n: int, seed: int) -> dict[tuple[str, ...], float]:
    """Give every row of n words a probability."""
    draws = torch.rand(len(WORDS) ** n, generator=torch.Generator().manual_seed(seed)) + 0.1
    return dict(zip(product(WORDS, repeat=n), (draws / draws.sum()).tolist(), strict=True))


class _Conditional:
    """Answer from a joint table, and keep what was asked."""

    __name__ = "conditional"  # how messages call it

    def __init__(self, n: int, seed: int) -> None:
        self.n, self.joint = n, _joint_table(n, seed)
        self.asked: list[tuple[int, dict[int, str]]] = []

    def __call__(self, position: int, seen: dict[int, str]) -> dict[str, float]:
        if not isinstance(seen, dict):
            raise TypeError(f"seen is a dictionary from positions to words, not {describe(seen)}")
        if strange := [key for key in seen if key not in range(self.n)]:
            raise TypeError(f"the keys of seen are positions, not {describe(strange[0])}")
        self.asked.append((int(position), dict(seen)))
        sums = dict.fromkeys(WORDS, 0.0)
        for row, probability in self.joint.items():
            if all(row[place] == word for place, word in seen.items()):
                sums[row[position]] += probability
        whole = sum(sums.values())
        return {word: share / whole for word, share in sums.items()}


def _factors(n: int, seed: int, words: Sequence[str], asked: Sequence[tuple]) -> list[float]:
    conditional = _Conditional(n, seed)
    return [conditional(position, seen)[words[position]] for position, seen in asked]


def _product(factors: Sequence[float]) -> float:
    whole = 1.0
    for factor in factors:
        whole *= factor
    return whole


@checker
def chain_probability(attempt: Attempt) -> str:
    """Multiply conditional probabilities along an order."""
    cases = [(3, i, WORDS[i % 2 :] + WORDS[: i % 2] + ("yes",), list(order))
             for i, order in enumerate(permutations(range(3)))]  # fmt: skip
    cases += [(1, 7, ("no",), [0]), (4, 8, ("yes", "no", "no", "yes"), [2, 0, 3, 1])]

    def truth(n, seed, words, order):
        return _joint_table(n, seed)[tuple(words)]

    def by(seen_at: Callable, join: Callable = _product):
        def made(n, seed, words, order):
            asked = [
                (p, {q: words[q] for q in seen_at(step, order)}) for step, p in enumerate(order)
            ]
            return join(_factors(n, seed, words, asked))

        return made

    def seen_by_step(n, seed, words, order):
        asked = [(p, dict(enumerate(words[q] for q in order[:k]))) for k, p in enumerate(order)]
        return _product(_factors(n, seed, words, asked))

    before = lambda step, order: order[:step]  # noqa: E731
    slips = [
        (
            by(lambda step, order: []),
            "every word is guessed as if nothing else were known: that is the product of"
            " independent guesses. Each word that was asked for has to enter `seen`.",
        ),
        (
            by(lambda step, order: order[: step + 1]),
            "a word stands in `seen` when it is asked for, so it is certain and the product is"
            " 1. Enter it after its probability was taken.",
        ),
        (
            by(before, sum),
            "the conditional probabilities are added. By the chain rule they are multiplied.",
        ),
        (
            by(before, lambda factors: sum(torch.tensor(factors).log().tolist())),
            "this is the logarithm of the probability. The exercise asks for the probability.",
        ),
        (
            by(lambda step, order: order[step + 1 :]),
            "`seen` holds the words that come later in the order. It should hold those before.",
        ),
        (
            by(before, lambda factors: factors[-1]),
            "this is the last factor alone. The joint probability is the product of all.",
        ),
        (
            by(lambda step, order: order[max(step - 1, 0) : step]),
            "`seen` holds the last word alone. It keeps all words that came before.",
        ),
        (
            by(lambda step, order: order[:step] + order[step + 1 :]),
            "`seen` holds all other words. It should hold those that come before in the order.",
        ),
        (
            seen_by_step,
            "the keys of `seen` are steps here: 0 for the word that was asked for first. They"
            " should be positions in the text.",
        ),
    ]
    kept: list[tuple[_Conditional, Sequence[str], list[int]]] = []

    def answer(n, seed, words, order):
        conditional = _Conditional(n, seed)
        kept.append((conditional, words, order))
        return attempt(conditional, words, order)

    judge_by_slips(
        answer,
        cases,
        truth,
        slips,
        lambda n, seed, words, order: f"the probability of {list(words)} in the order {order}",
    )
    for conditional, words, order in kept:
        _judge_asked(conditional.asked, words, order)
    return "right: each order has other factors, and all orders have the same product."


def _judge_asked(asked: list[tuple], words: Sequence[str], order: list[int]) -> None:
    before = {
        position: {place: words[place] for place in order[:step]}
        for step, position in enumerate(order)
    }
    other = [(position, seen) for position, seen in asked if seen != before.get(position)]
    if not other:
        return
    if [position for position, _ in asked] == sorted(order):
        raise Wrong(
            "the product is right, but the words were asked for from left to right. The order"
            f" {order} was not followed."
        )
    position, seen = other[0]
    raise Wrong(
        f"the product is right, but not by the order {order}: position {position} was asked for"
        f" with {seen} in sight. What came before it in the order is {before.get(position)}."
    )


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _table(rule: Callable[[int, int], bool], rows: Sequence[int], n: int) -> Tensor:
    return torch.tensor([[bool(rule(i, j)) for j in range(n)] for i in rows])


def _truth_values(got: Any) -> Any:
    if isinstance(got, Tensor) and got.dtype != torch.bool:
        raise Wrong(
            f"the table holds True and False, so that `~` turns it round; yours holds {got.dtype}."
        )
    return got


@checker
def unseen_in_order(attempt: Attempt) -> str:
    """Hide from each token those that do not come before it in the order."""
    ranks = [[1, -1, 0], [0, 1, 2], [2, 0, 1, 3], [-1, 1, -1, 0, 2, -1], [0], [-1, -1]]
    cases = [(torch.tensor(rank),) for rank in ranks]

    def by(rule):
        def made(rank):
            r = rank.tolist()
            return _table(lambda i, j: rule(r, i, j), range(len(r)), len(r))

        return made

    truth = by(lambda r, i, j: r[j] >= 0 and r[j] >= r[i])
    slips = [
        (
            by(lambda r, i, j: r[j] >= 0 and r[j] > r[i]),
            "a target sees itself: token i is hidden from token i too, if i is a target.",
        ),
        (
            by(lambda r, i, j: not (r[j] >= 0 and r[j] >= r[i])),
            "this is what may be seen. True stands for what is hidden.",
        ),
        (
            by(lambda r, i, j: r[i] >= 0 and r[i] >= r[j]),
            "the table is on its side: row i says what token i may not see.",
        ),
        (
            by(lambda r, i, j: r[j] >= r[i]),
            "tokens with rank -1 come before all others and together: all see all of them.",
        ),
        (
            by(lambda r, i, j: r[j] >= 0 and r[i] >= 0 and r[j] >= r[i]),
            "tokens with rank -1 see targets here. They come first, so every target is hidden"
            " from them.",
        ),
        (
            by(lambda r, i, j: r[j] >= 0 and j >= i),
            "this is reading order: columns are compared. Compare ranks.",
        ),
        (
            by(lambda r, i, j: r[j] >= 0 and r[j] <= r[i]),
            "this hides what comes before. What comes later, and the token itself, are hidden.",
        ),
        (
            by(lambda r, i, j: r[j] > 0 and r[j] >= r[i]),
            "the target with rank 0 is seen by those before it: rank 0 is a target too.",
        ),
        (
            by(lambda r, i, j: r[j] >= 0),
            "nobody sees a target here. A target sees those of lower rank.",
        ),
    ]
    judge_by_slips(
        attempt, cases, truth, slips,
        lambda rank: f"what is hidden with the ranks {rank.tolist()}",
        plain=_truth_values,
    )  # fmt: skip
    return "right: a token of rank -1 sees its own kind alone, a target all that comes before."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _content_sees(rank: list[int]) -> Tensor:
    return _table(
        lambda i, j: i == j or rank[j] < 0 or rank[j] < rank[i], range(len(rank)), len(rank)
    )


@checker
def query_sees(attempt: Attempt) -> str:
    """Make the rows of the query stream from the content stream's table."""
    cases = [
        (_content_sees([1, -1, 0]), torch.tensor([2, 0])),
        (_content_sees([-1, 1, -1, 0, 2]), torch.tensor([3, 1, 4])),
        (_content_sees([2, 0, 1, 3]), torch.tensor([1, 2, 0, 3])),
        (_content_sees([-1, 0, -1]), torch.tensor([1])),
    ]

    def by(rule):
        def made(sees, targets):
            chosen = targets.tolist()
            rows = [[rule(sees, k, i, j) for j in range(len(sees))] for k, i in enumerate(chosen)]
            return torch.tensor(rows).bool()

        return made

    def transposed(sees, targets):
        return by(lambda sees, k, i, j: sees[j, i] and i != j)(sees, targets)

    def all_rows(sees, targets):
        return _table(lambda i, j: sees[i, j] and i != j, range(len(sees)), len(sees))

    truth = by(lambda sees, k, i, j: sees[i, j] and i != j)
    slips = [
        (
            lambda sees, targets: truth(sees, targets.sort().values),
            "the rows are sorted by position. Row k belongs to targets[k].",
        ),
        (
            by(lambda sees, k, i, j: sees[i, j]),
            "a query sees its own token here, the answer that it is asked for.",
        ),
        (all_rows, "there is a row for each token here. Queries are asked at `targets` alone."),
        (
            by(lambda sees, k, i, j: sees[i, j] and k != j),
            "column k is hidden from row k. A query's own token stands in column targets[k].",
        ),
        (
            lambda sees, targets: truth(sees, targets).index_fill(1, targets, False),
            "no query sees any target here. Each sees the targets that come before its own.",
        ),
        (transposed, "columns are taken instead of rows: row i says what token i sees."),
        (
            by(lambda sees, k, i, j: not (sees[i, j] and i != j)),
            "this is what is hidden. True stands for what a query sees.",
        ),
        (
            by(lambda sees, k, i, j: sees[k, j] and k != j),
            "the first rows are taken, one per target. Take the rows of the targets.",
        ),
        (
            by(lambda sees, k, i, j: sees[k, j] and i != j),
            "the first rows are taken, one per target. Take the rows of the targets.",
        ),
    ]
    judge_by_slips(
        attempt, cases, truth, slips,
        lambda sees, targets: f"what the queries at {targets.tolist()} see",
        plain=_truth_values,
    )  # fmt: skip
    return "right: a query sees what its token's content sees, but for the token itself."


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def partial_rank(attempt: Attempt) -> str:
    """Rank the last positions of an order, and put all others before them."""
    cases = [
        (torch.tensor([2, 0, 3, 1]), 2),
        (torch.tensor([4, 1, 0, 3, 2]), 3),
        (torch.tensor([1, 2, 0]), 1),
        (torch.tensor([1, 2, 0]), 3),
    ]

    def by(ranked):
        def made(order, n):
            ranks = [-1] * len(order)
            for position, rank in ranked(order.tolist(), n):
                ranks[position] = rank
            return torch.tensor(ranks)

        return made

    truth = by(lambda order, n: [(p, k) for k, p in enumerate(order[len(order) - n :])])
    slips = [
        (
            by(lambda order, n: [(p, k) for k, p in enumerate(order[:n])]),
            "the first positions of the order are targets here. They would see next to nothing:"
            " the last ones are.",
        ),
        (
            by(lambda order, n: [(p, k) for k, p in enumerate(order)]),
            "all positions are ranked. Those before the last n_targets have rank -1.",
        ),
        (
            by(lambda order, n: [(p, k) for k, p in enumerate(order) if k >= len(order) - n]),
            "the ranks of the targets begin with 0, not with the number of tokens before them.",
        ),
        (
            by(lambda order, n: [(len(order) - n + k, k) for k in range(n)]),
            "the last positions of the text are targets here. The last of the order are.",
        ),
        (
            by(lambda order, n: [(p, 0) for p in order[len(order) - n :]]),
            "all targets have rank 0, so that none sees another. They come one after the other.",
        ),
        (
            by(lambda order, n: [(p, n - 1 - k) for k, p in enumerate(order[len(order) - n :])]),
            "the targets' ranks are in reverse: the last of the order is predicted last.",
        ),
        (
            by(lambda order, n: [(len(order) - n + k, p)
                                 for k, p in enumerate(order[len(order) - n :])]),
            "positions and ranks have changed roles: `order[k]` is the position that comes at k.",
        ),
        (
            by(lambda order, n: [(p, k + 1) for k, p in enumerate(order[len(order) - n :])]),
            "the ranks of the targets begin with 0, not with 1.",
        ),
        (
            by(lambda order, n: [(p, k) for k, p in enumerate(sorted(order[len(order) - n :]))]),
            "the targets are ranked from left to right. Rank them by the order.",
        ),
        (
            lambda order, n: truth(order, n).clamp(min=0),
            "what is no target has rank 0 here, like the first target. Its rank is -1.",
        ),
    ]  # fmt: skip
    judge_by_slips(
        attempt, cases, truth, slips,
        lambda order, n: f"the ranks of the order {order.tolist()} with {n} targets",
    )  # fmt: skip
    return "right: what is no target is context for all."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def scores_by_key(attempt: Attempt) -> str:
    """Turn scores by distance into scores by key."""
    cases = [
        (torch.randn(T, 2 * T, generator=torch.Generator().manual_seed(T)),) for T in (3, 1, 5)
    ]

    def by(column):
        def made(scores):
            T = len(scores)
            return torch.stack(
                [
                    torch.stack(
                        [scores[i, min(max(column(T, i, j), 0), 2 * T - 1)] for j in range(T)]
                    )
                    for i in range(T)
                ]
            )

        return made

    truth = by(lambda T, i, j: T - i + j)
    slips = [
        (
            by(lambda T, i, j: T + i - j),
            "the sign is turned: a key in front of the query is at a distance above 0, i - j.",
        ),
        (
            by(lambda T, i, j: j),
            "the first columns are taken as they are. Each row's distance 0 has to come to the"
            " row's own key.",
        ),
        (by(lambda T, i, j: T + j), "every row begins at distance 0. Row i begins at distance i."),
        (
            by(lambda T, i, j: T - 1 - i + j),
            "all is one column too far left. Column 0 is distance T, so distance 0 is column T.",
        ),
        (
            by(lambda T, i, j: T + 1 - i + j),
            "all is one column too far right. Column 0 is distance T, so distance 0 is column T.",
        ),
        (
            by(lambda T, i, j: abs(i - j)),
            "the distance is taken as the column. Columns count down from distance T.",
        ),
        (
            by(lambda T, i, j: T - abs(i - j)),
            "behind and in front are mixed up: the distance has a sign, i - j.",
        ),
        (
            lambda scores: truth(scores).T,
            "the table is on its side: rows are queries, columns are keys.",
        ),
    ]
    judge_by_slips(
        attempt, cases, truth, slips, lambda scores: f"the scores of {len(scores)} tokens by key"
    )
    return "right: row by row the window moves one column to the left."


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def next_memory(attempt: Attempt) -> str:
    """Join memory and new states, keep the newest, and cut the gradient."""

    def states(rows, start):
        return torch.arange(start, start + 2.0 * rows).view(rows, 2)

    cases = [
        (states(3, 0.0), states(2, 10.0), 4),
        (states(3, 0.0), states(2, 10.0), 9),
        (None, states(4, 10.0), 3),
        (states(5, 0.0), states(3, 20.0), 2),
        (None, states(2, 5.0), 2),
        (None, states(2, 5.0), 4),
    ]

    def joined(memory, new):
        return new.tolist() if memory is None else memory.tolist() + new.tolist()

    def by(rows):
        return lambda memory, new, length: torch.tensor(rows(memory, new, length))

    truth = by(lambda m, new, n: joined(m, new)[max(0, len(joined(m, new)) - n) :])
    slips = [
        (
            by(lambda m, new, n: joined(m, new)[:n]),
            "the oldest states are kept. The newest are those that stand next to the next text.",
        ),
        (
            by(lambda m, new, n: joined(m, new)),
            "nothing is forgotten: keep at most `length` states.",
        ),
        (
            by(lambda m, new, n: new.tolist()[-n:]),
            "the old memory is thrown away, even where `length` leaves room for some of it.",
        ),
        (
            by(lambda m, new, n: (new.tolist() + ([] if m is None else m.tolist()))[-n:]),
            "the new states stand before the old ones. Memory comes first, as it was read first.",
        ),
        (
            by(lambda m, new, n: ([] if m is None else m.tolist()[-n:]) + new.tolist()),
            "the length bounds the old memory alone. It bounds what is kept of both.",
        ),
        (
            by(lambda m, new, n: new.tolist() if m is None else joined(m, new)[-n:]),
            "without a memory the new states are kept whole. `length` bounds them too.",
        ),
        (
            by(lambda m, new, n: joined(m, new)[::-1][:n]),
            "the newest state stands first. Keep the order in which they were read.",
        ),
    ]

    def called(memory, new, length):
        old = "no memory" if memory is None else f"{len(memory)} remembered states"
        return f"what is kept of {old} and {len(new)} new ones with length {length}"

    judge_by_slips(attempt, cases, truth, slips, called)
    traced = states(2, 1.0).requires_grad_()
    for memory in (None, states(1, 0.0), states(1, 0.0).requires_grad_()):
        got = attempt(memory, traced * 2, 2)
        if isinstance(got, Tensor) and got.requires_grad:
            raise Wrong(
                "the numbers are right, but a gradient would flow through the memory into the last"
                " text. `detach` it."
            )
    return "right: the newest states, memory in front, and no gradient."
