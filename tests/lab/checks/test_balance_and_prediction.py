"""The checkers of lesson 21 know right answers, the untouched skeleton, and the typical wrong
answers."""

import math

import torch

from course_lib.lab.checks import balance_and_prediction as check
from course_lib.lab.solutions import balance_and_prediction as solutions
from course_lib.layers.fp8 import round_e4m3, scales_of_tiles
from course_lib.layers.moe import route_sigmoid, update_bias
from tests.lab.checks.cases import Case, tests_of


def by_library(bias, load, speed):
    moved = bias.clone()
    update_bias(moved, load, speed)
    return moved


def gates_by_library(scores, bias, n_chosen, leak=False):
    routing = route_sigmoid(scores.logit(), bias, n_chosen)
    weights = routing.weights
    if leak:
        weights = (scores + bias).gather(-1, routing.chosen)
        weights = weights / weights.sum(-1, keepdim=True)
    return torch.zeros_like(scores).scatter(-1, routing.chosen, weights)


def gates_by_mask(scores, bias, n_chosen):
    ranked = scores + bias
    least = ranked.sort(-1, descending=True).values[:, n_chosen - 1 : n_chosen]
    kept = scores * (ranked >= least)
    return kept / kept.sum(-1, keepdim=True)


def journeys_by_one_hot(chosen, n_experts, n_ranks):
    hot = torch.nn.functional.one_hot(chosen, n_experts).sum(1)
    return hot.unflatten(1, (n_ranks, -1)).sum(2).clamp(max=1).sum(0)


def visits(chosen, n_experts, n_ranks):
    return [int((chosen // (n_experts // n_ranks) == rank).sum()) for rank in range(n_ranks)]


def pairs_by_unfold(ids, depth):
    windows = ids.unfold(1, depth + 2, 1)
    return windows[..., -2], windows[..., -1]


def e4m3_by_log(x, lowest=-6, bits=3, most=448.0, half=round):
    if not x:
        return 0.0
    step = 2.0 ** (max(math.floor(math.log2(abs(x))), lowest) - bits)
    return math.copysign(min(most, half(abs(x) / step) * step), x)


def scales_by_chunk(x, width):
    tiles = x.abs().split(width, dim=1)
    scales = torch.stack([tile.max(1).values for tile in tiles], 1) / 448
    scales[scales == 0] = 1
    return scales


CASES = {
    check.moved_bias: Case(
        solution=solutions.moved_bias_solution,
        skeleton=lambda bias, load, speed: ...,
        also_right=[by_library],
        wrong=[
            (lambda b, load, u: b - u * (load.mean() - load).sign(), "the other way round"),
            (lambda b, load, u: b + u * (load.mean() - load), "the sign alone"),
            (lambda b, load, u: u * (load.mean() - load).sign(), "the step alone"),
            (lambda b, load, u: b + u * (load < load.mean()), "busy ones do not go down"),
            (lambda b, load, u: b - u * (load > load.mean()), "idle ones do not go up"),
            (
                lambda b, load, u: torch.where(load > load.mean(), b - u, b + u),
                "exactly the mean load",
            ),
            (lambda b, load, u: b + u * (load.median() - load).sign(), "the median"),
            (lambda b, load, u: b.clone(), "has not moved"),
        ],
    ),
    check.gates: Case(
        solution=solutions.gates_solution,
        skeleton=lambda scores, bias, n_chosen: ...,
        also_right=[gates_by_library, gates_by_mask],
        wrong=[
            (lambda s, b, k: gates_by_library(s, b, k, leak=True), "the bias leaks"),
            (lambda s, b, k: gates_by_library(s, 0 * b, k), "the bias has no effect"),
            (lambda s, b, k: gates_by_library(s, -b, k), "the bias is subtracted"),
            (lambda s, b, k: s * (gates_by_mask(s, b, k) > 0), "not divided by the sum"),
            (
                lambda s, b, k: s * (gates_by_mask(s, b, k) > 0) / s.sum(-1, keepdim=True),
                "the sum over all experts",
            ),
            (lambda s, b, k: (gates_by_mask(s, b, k) > 0) / k, "count alike"),
            (
                lambda s, b, k: s.masked_fill(gates_by_mask(s, b, k) == 0, -torch.inf).softmax(-1),
                "softmax over the chosen",
            ),
        ],
    ),
    check.journeys: Case(
        solution=solutions.journeys_solution,
        skeleton=lambda chosen, n_experts, n_ranks: ...,
        also_right=[journeys_by_one_hot],
        wrong=[
            (visits, "counted twice"),
            (lambda c, E, R: journeys_by_one_hot(c[:, :1], E, R), "first choice"),
            (lambda c, E, R: int(journeys_by_one_hot(c, E, R).sum()), "the sum over the ranks"),
            (lambda c, E, R: torch.bincount(c.flatten(), minlength=E), "load of each expert"),
            (
                lambda c, E, R: [int((c % R == r).any(1).sum()) for r in range(R)],
                "deal the experts out",
            ),
        ],
    ),
    check.mtp_pairs: Case(
        solution=solutions.mtp_pairs_solution,
        skeleton=lambda ids, depth: ...,
        also_right=[pairs_by_unfold, lambda ids, k: [ids[:, k:-1], ids[:, k + 1 :]]],
        wrong=[
            (lambda ids, k: (ids[:, k:-1], ids[:, k:-1]), "the token that it is given"),
            (lambda ids, k: (ids[:, k - 1 : -2], ids[:, k:-1]), "one token early"),
            (lambda ids, k: (ids[:, k - 1 : -2], ids[:, k + 1 :]), "one token too few"),
            (lambda ids, k: (ids[:, 1:-1], ids[:, 2:]), "depth makes no difference"),
            (lambda ids, k: (ids[:, k:], ids[:, k + 1 :]), "differ in length"),
            (lambda ids, k: (ids[:, k + 1 :], ids[:, k:-1]), "the wrong order"),
            (lambda ids, k: ids[:, k + 1 :], "what is read as well"),
        ],
    ),
    check.round_e4m3: Case(
        solution=solutions.round_e4m3_solution,
        skeleton=lambda x: ...,
        also_right=[e4m3_by_log, lambda x: round_e4m3(torch.tensor(x)).item()],
        wrong=[
            (lambda x: e4m3_by_log(x, most=math.inf), "above 448"),
            (lambda x: e4m3_by_log(x, most=240.0), "largest number is 240"),
            (lambda x: e4m3_by_log(x, lowest=-99), "rounded too finely"),
            (lambda x: e4m3_by_log(x, lowest=-7), "is -6, not -7"),
            (lambda x: e4m3_by_log(x) if abs(x) >= 2**-6 else 0.0, "the subnormal numbers"),
            (lambda x: e4m3_by_log(x, bits=2), "too coarse"),
            (lambda x: e4m3_by_log(x, bits=4), "too fine"),
            (lambda x: e4m3_by_log(x, half=math.floor), "you cut off"),
            (lambda x: e4m3_by_log(x, half=lambda n: math.floor(n + 0.5)), "ties go away"),
            (lambda x: float(max(-448, min(448, round(x)))), "int8's way"),
        ],
    ),
    check.tile_scales: Case(
        solution=solutions.tile_scales_solution,
        skeleton=lambda x, width: ...,
        also_right=[scales_by_chunk, lambda x, width: scales_of_tiles(x, 1, width)],
        wrong=[
            (
                lambda x, w: x.abs().max().expand(len(x), x.shape[1] // w) / 448,
                "the whole tensor's scale",
            ),
            (
                lambda x, w: x.abs().amax(1, keepdim=True).expand(-1, x.shape[1] // w) / 448,
                "the row's scale",
            ),
            (lambda x, w: x.unflatten(1, (-1, w)).amax(2) / 448, "negative numbers"),
            (lambda x, w: 1 / scales_by_chunk(x, w), "upside down"),
            (lambda x, w: x.unflatten(1, (-1, w)).abs().amax(2) / 448, "0 / 0 is NaN"),
            (lambda x, w: scales_by_chunk(x, w).repeat_interleave(w, 1), "one for every tile"),
            (lambda x, w: x.unflatten(1, (-1, w)).abs().mean(2) / 448, "the mean size"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
