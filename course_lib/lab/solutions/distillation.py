"""Solutions of lesson 27's exercises, quoted in its notebook."""

from collections.abc import Callable, Sequence
from math import comb

from jaxtyping import Float, Int
from torch import Tensor


def soft_target_loss_solution(
    student: Float[Tensor, "T V"], teacher: Float[Tensor, "T V"], temperature: float
) -> Float[Tensor, ""]:
    theirs = (teacher / temperature).log_softmax(-1)
    own = (student / temperature).log_softmax(-1)
    divergence = (theirs.exp() * (theirs - own)).sum(-1)
    return temperature**2 * divergence.mean()


def token_rewards_solution(
    student: Float[Tensor, "T V"], teacher: Float[Tensor, "T V"], written: Int[Tensor, "T"]
) -> Float[Tensor, "T"]:
    log_ratios = teacher.log_softmax(-1) - student.log_softmax(-1)
    return log_ratios.gather(-1, written[:, None])[:, 0]


def vote_solution(answers: list[str | None], weights: list[float]) -> list[str]:
    totals = {}
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            totals[answer] = totals.get(answer, 0.0) + weight
    return [answer for answer, total in totals.items() if total == max(totals.values())]


def best_of_k_solution(scores: list[float], right: list[bool], k: int) -> float:
    order = sorted(range(len(scores)), key=lambda i: scores[i], reverse=True)
    draws = 0
    for rank, i in enumerate(order):
        worse = len(scores) - 1 - rank
        draws += right[i] * comb(worse, k - 1)
    return draws / comb(len(scores), k)


def force_thought_solution(
    draw: Callable[[list[int]], int], end: int, instead: list[int], times: int, longest: int
) -> list[int]:
    written = []
    while len(written) < longest and end not in written[-1:]:
        token = draw(written)
        if token == end and times > 0:
            times -= 1
            written += instead
        else:
            written.append(token)
    return written[:longest]


def loss_mask_solution(
    ids: Sequence[int], begin: int, end: int, answer: Callable[[list[int]], list[int]]
) -> list[bool]:
    mask, call, by_tool = [], None, 0
    for token in ids:
        mask.append(by_tool == 0)
        if by_tool:
            by_tool -= 1
        elif token == begin:
            call = []
        elif token == end and call is not None:
            by_tool, call = len(answer(call)), None
        elif call is not None:
            call.append(token)
    return mask
