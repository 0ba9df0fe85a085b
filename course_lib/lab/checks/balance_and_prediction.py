"""Checkers of lesson 21. The truths: sums over experts one by one, sets of ranks, indices written
out, torch's own float8_e4m3fn."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, checker
from course_lib.lab.checks.slips import Slip, judge_by_slips

# Exercise 1
# --------------------------------------------------------------------------------------------------


def _cases_of_bias() -> list[tuple]:
    return [
        (torch.zeros(4), torch.tensor([2.0, 1.0, 0.0, 1.0]), 0.01),
        (torch.tensor([0.3, -0.2, 0.1]), torch.tensor([90.0, 6.0, 3.0]), 0.001),
        (torch.tensor([0.5, 0.5]), torch.tensor([4.0, 4.0]), 0.1),
        (torch.tensor([-1.0, 0.0, 2.0, 0.5, 0.0]), torch.tensor([0.0, 7.0, 1.0, 1.0, 1.0]), 0.5),
        (torch.zeros(5), torch.tensor([9.0, 7.0, 2.0, 1.0, 1.0]), 0.1),
        (torch.zeros(4), torch.tensor([3.0, 2.0, 2.0, 2.0]), 0.1),
    ]


def _moved(bias: Tensor, load: Tensor, speed: float) -> Tensor:
    fair, moved = sum(load.tolist()) / len(load), bias.clone()
    for expert, count in enumerate(load.tolist()):
        moved[expert] += speed * ((count < fair) - (count > fair))
    return moved


def _ends_moved(bias: Tensor, load: Tensor, speed: float) -> Tensor:
    moved = bias.clone()
    moved[load.argmax()] -= speed
    moved[load.argmin()] += speed
    return moved


SLIPS_OF_BIAS: list[Slip] = [
    (
        lambda b, load, u: 2 * b - _moved(b, load, u),
        "busy experts go up and idle ones down. It must be the other way round: who has too much"
        " is to be chosen less.",
    ),
    (
        lambda b, load, u: b + u * (load.mean() - load),
        "you move by the distance from the mean load. V3 takes the sign alone: every step has the"
        " same size, so that one very busy expert is not thrown out at once.",
    ),
    (
        lambda b, load, u: b + u * (load.mean() - load) / load.mean(),
        "you move by the relative distance from the mean load. V3 takes the sign alone.",
    ),
    (
        lambda b, load, u: _moved(torch.zeros_like(b), load, u),
        "that is the step alone. Add it to the bias that was there.",
    ),
    (
        lambda b, load, u: b + u * (load < load.mean()),
        "idle experts go up, but busy ones do not go down.",
    ),
    (
        lambda b, load, u: b - u * (load > load.mean()),
        "busy experts go down, but idle ones do not go up.",
    ),
    (
        lambda b, load, u: torch.where(load > load.mean(), b - u, b + u),
        "an expert with exactly the mean load moves too. It should stay: it has its fair share.",
    ),
    (
        lambda b, load, u: torch.where(load < load.mean(), b + u, b - u),
        "an expert with exactly the mean load moves too. It should stay: it has its fair share.",
    ),
    (
        lambda b, load, u: b + u * (load.median() - load).sign(),
        "you compare with the median. The fair share is the mean.",
    ),
    (lambda b, load, u: b, "the bias has not moved."),
    (
        lambda b, load, u: (
            b + u * (load.mean() - load) / (load.mean() - load).abs().max().clamp(1e-9)
        ),
        "you move in proportion to the distance from the mean load. V3 takes the sign alone.",
    ),
    (
        lambda b, load, u: b * (1 + u * (load.mean() - load).sign()),
        "you multiply the bias by the step. Add the step: a bias of 0 must be able to move.",
    ),
    (lambda b, load, u: _moved(b, load, 1.0), "the step is 1, whatever `speed` is."),
    (
        lambda b, load, u: b + u * (load.sum() - load).sign(),
        "you compare with the sum of the loads. The fair share is their mean.",
    ),
    (
        lambda b, load, u: b + u * (load.mean().floor() - load).sign(),
        "you round the mean load down. Keep its fraction: with a mean of 2.25, an expert with 2"
        " is below it.",
    ),
    (
        lambda b, load, u: _moved(b, load, u) - _moved(b, load, u).mean(),
        "you take the mean of the biases away. Only the step is added.",
    ),
    (
        _ends_moved,
        "only the busiest and the idlest expert move. Each one moves that is above or below the"
        " mean.",
    ),
]


@checker
def moved_bias(attempt: Attempt) -> str:
    """Give the bias after one step of V3's rule."""
    judge_by_slips(
        attempt,
        _cases_of_bias(),
        _moved,
        SLIPS_OF_BIAS,
        lambda b, load, u: f"bias {_short(b)}, load {_short(load)}, speed {u}",
    )
    return "one step of fixed size against the load, and none where the load is fair."


def _short(numbers: Tensor) -> list[float]:
    return [round(x, 4) for x in numbers.tolist()]


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _cases_of_gates() -> list[tuple]:
    rng = torch.Generator().manual_seed(0)
    hand = torch.tensor([[0.6, 0.5, 0.2, 0.1], [0.9, 0.8, 0.7, 0.3]])
    cases = [(hand, torch.tensor([0.0, -0.4, 0.2, 0.1]), 2)]
    for n, n_experts, n_chosen in ((5, 6, 3), (1, 3, 1), (4, 4, 4)):
        scores = torch.rand(n, n_experts, generator=rng)
        cases.append((scores, torch.randn(n_experts, generator=rng), n_chosen))
    return cases


def _gates(
    scores: Tensor,
    bias: Tensor,
    n_chosen: int,
    rank_by: Callable = lambda s, b: s + b,
    weigh_by: Callable = lambda s, b: s,
    by_sum: bool = True,
) -> Tensor:
    """Row by row, expert by expert."""
    gates = torch.zeros_like(scores)
    for row, s in enumerate(scores):
        rank, weight = rank_by(s, bias).tolist(), weigh_by(s, bias)
        chosen = sorted(range(len(rank)), key=lambda e: -rank[e])[:n_chosen]
        total = sum(weight[e] for e in chosen) if by_sum else 1.0
        for e in chosen:
            gates[row, e] = weight[e] / total
    return gates


def _divided(
    scores: Tensor, bias: Tensor, n_chosen: int, total: Callable, leak: float = 0.0
) -> Tensor:
    """The right experts, their affinities (with `leak` times the bias) by another total; `total`
    is given the chosen affinities and biases, (N, K)."""
    chosen = (scores + bias).topk(n_chosen).indices
    picked, biases = scores.gather(1, chosen), bias.expand_as(scores).gather(1, chosen)
    parts = (picked + leak * biases) / total(picked, biases)
    return torch.zeros_like(scores).scatter(1, chosen, parts)


SLIPS_OF_GATES: list[Slip] = [
    (
        lambda s, b, k: _gates(s, b, k, weigh_by=lambda s, b: s + b),
        "the bias leaks into the gates: experts are ranked by s + b, but weighed by s. With the"
        " bias in the weight, the layer's output changes whenever the bias is nudged, though the"
        " same experts are at work.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, rank_by=lambda s, b: s),
        "the bias has no effect: rank the experts by s + b.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, by_sum=False),
        "the weights are not divided by the sum of the chosen affinities.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, by_sum=False) / s.sum(-1, keepdim=True),
        "you divide by the sum over all experts. V3 divides by the sum over the chosen ones, so"
        " that a token's gates add up to 1.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, weigh_by=lambda s, b: s.exp()),
        "that is a softmax over the chosen affinities. V3 divides them by their sum.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, weigh_by=lambda s, b: torch.ones_like(s)),
        "all chosen experts count alike. They count by their affinities.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, rank_by=lambda s, b: s - b),
        "the bias is subtracted. Rank by s + b.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, rank_by=lambda s, b: -s - b),
        "you choose the lowest-ranked experts.",
    ),
    (
        lambda s, b, k: _divided(s, b, k, lambda picked, biases: (picked + biases).sum(1)[:, None]),
        "the bias leaks into the sum by which you divide. Add up the plain affinities.",
    ),
    (
        lambda s, b, k: _divided(s, b, k, lambda picked, biases: picked.sum(1)[:, None], leak=1.0),
        "the bias leaks into what is divided. The gates are made from the plain affinities.",
    ),
    (
        lambda s, b, k: _divided(s, b, k, lambda picked, biases: picked.sum(0)),
        "you add up over the tokens (dim 0). Each token's affinities are divided by their own sum,"
        " along the row.",
    ),
    (
        lambda s, b, k: _divided(s, b, k, lambda picked, biases: picked.sum()),
        "you divide by the sum over all tokens. Each row has a sum of its own.",
    ),
    (
        lambda s, b, k: _gates(s, b, k, rank_by=lambda s, b: s * b),
        "the bias multiplies the affinity. Rank by the sum, s + b.",
    ),
]


@checker
def gates(attempt: Attempt) -> str:
    """Choose by affinity plus bias, weigh by affinity."""
    judge_by_slips(
        attempt,
        _cases_of_gates(),
        _gates,
        SLIPS_OF_GATES,
        lambda s, b, k: f"{len(s)} tokens, {s.shape[1]} experts, {k} chosen",
    )
    return "the bias says who works, and not how much it counts."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _cases_of_journeys() -> list[tuple]:
    rng = torch.Generator().manual_seed(0)
    cases = [(torch.tensor([[0, 1], [1, 2], [3, 0]]), 4, 2), (torch.tensor([[4, 5, 0]]), 6, 3)]
    for n, n_experts, n_chosen, n_ranks in (
        (20, 8, 3, 4),
        (7, 6, 2, 2),
        (5, 4, 2, 1),
        (9, 8, 8, 8),
    ):
        chosen = torch.rand(n, n_experts, generator=rng).topk(n_chosen).indices
        cases.append((chosen, n_experts, n_ranks))
    return cases


def _journeys(chosen: Tensor, n_experts: int, n_ranks: int) -> list[int]:
    share, sent = n_experts // n_ranks, [0] * n_ranks
    for row in chosen.tolist():
        for rank in {expert // share for expert in row}:
            sent[rank] += 1
    return sent


def _visits(chosen: Tensor, n_experts: int, n_ranks: int) -> list[int]:
    owner = chosen // (n_experts // n_ranks)
    return torch.bincount(owner.flatten(), minlength=n_ranks).tolist()


def _dealt(chosen: Tensor, n_experts: int, n_ranks: int) -> list[int]:
    return [sum(any(e % n_ranks == r for e in row) for row in chosen.tolist())
            for r in range(n_ranks)]  # fmt: skip


def _owners(chosen: Tensor, n_experts: int, n_ranks: int) -> list[Tensor]:
    """For each rank, where in the table its experts stand."""
    owner = chosen // (n_experts // n_ranks)
    return [owner == rank for rank in range(n_ranks)]


SLIPS_OF_JOURNEYS: list[Slip] = [
    (
        _visits,
        "a token that visits two experts of one rank is counted twice. It travels once, and both"
        " experts read it there.",
    ),
    (
        _dealt,
        "you deal the experts out like cards. Neighbours share a rank: rank 0 has the first"
        " n_experts / n_ranks experts.",
    ),
    (
        lambda c, E, R: torch.bincount(c.flatten(), minlength=E).tolist(),
        "that is the load of each expert. Count the tokens that go to each rank.",
    ),
    (lambda c, E, R: _journeys(c[:, :1], E, R), "only each token's first choice is counted."),
    (
        lambda c, E, R: sum(_journeys(c, E, R)),
        "that is the sum over the ranks. Return a list with a number for each rank.",
    ),
    (
        lambda c, E, R: [n * c.shape[1] for n in _journeys(c, E, R)],
        "you multiply by the number of chosen experts. A token travels to a rank once.",
    ),
    (
        lambda c, E, R: [int((c // R == rank).any(1).sum()) for rank in range(R)],
        "you divide an expert's number by the number of ranks. Divide by the number of experts on"
        " a rank, n_experts / n_ranks.",
    ),
    (
        lambda c, E, R: [int(at.any(0).sum()) for at in _owners(c, E, R)],
        "you count columns of the table (`any(0)`). Tokens are its rows.",
    ),
    (
        lambda c, E, R: [int(at.all(1).sum()) for at in _owners(c, E, R)],
        "you count the tokens all of whose experts are on the rank. One expert there is enough.",
    ),
    (
        lambda c, E, R: [len(c[at].unique()) for at in _owners(c, E, R)],
        "you count the experts that are visited. Count the tokens.",
    ),
    (
        lambda c, E, R: [len({e // (E // R) for e in row}) for row in c.tolist()],
        "you count how many ranks each token visits. Count for each rank how many tokens come.",
    ),
    (
        lambda c, E, R: [n for n in _journeys(c, E, R) if n],
        "a rank to which no token goes is left out. Its number is 0.",
    ),
    (
        lambda c, E, R: [*_journeys(c, E, R)[1:], 0],
        "your ranks are counted from 1. The first is rank 0.",
    ),
    (
        lambda c, E, R: [n / len(c) for n in _journeys(c, E, R)],
        "those are shares of the tokens. Return their number.",
    ),
]


@checker
def journeys(attempt: Attempt) -> str:
    """Count the tokens that must be sent to each rank."""
    judge_by_slips(
        attempt,
        _cases_of_journeys(),
        _journeys,
        SLIPS_OF_JOURNEYS,
        lambda c, E, R: f"{len(c)} tokens, {E} experts over {R} ranks",
        plain=lambda got: got.tolist() if isinstance(got, Tensor) else got,
    )
    return "a token travels to a rank once, however many experts it visits there."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _cases_of_mtp() -> list[tuple]:
    rng = torch.Generator().manual_seed(0)
    rows = torch.arange(10, 17).repeat(2, 1) + torch.tensor([[0], [100]])
    return [(rows, 1), (rows, 2), (torch.randint(50, (3, 5), generator=rng), 3)]


def _pairs(ids: Tensor, depth: int, joined: int = 0, target: int = 1) -> tuple[Tensor, Tensor]:
    """Written out place by place; `joined` and `target` are added to place + depth."""
    places = range(ids.shape[1] - depth - 1)
    return (
        torch.tensor([[row[i + depth + joined] for i in places] for row in ids.tolist()]),
        torch.tensor([[row[i + depth + target] for i in places] for row in ids.tolist()]),
    )


def _whole(ids: Tensor, depth: int) -> tuple[Tensor, Tensor]:
    return ids[:, depth:], ids[:, depth + 1 :]


SLIPS_OF_MTP: list[Slip] = [
    (
        lambda ids, k: _pairs(ids, k, target=0),
        "the module is asked for the token that it is given: it only has to copy. At place i and"
        " depth k it reads token i + k, and is to predict token i + k + 1.",
    ),
    (
        lambda ids, k: _pairs(ids, k, joined=-1, target=0),
        "everything is one token early: at depth 1 the module would read token i and predict token"
        " i + 1, which is what the model does already.",
    ),
    (
        lambda ids, k: _pairs(ids, k, joined=-1),
        "the module reads one token too few: at place i and depth k it may know the tokens up to"
        " i + k.",
    ),
    (
        lambda ids, k: _pairs(ids, 1),
        "depth makes no difference in your answer: deeper modules read and predict further ahead.",
    ),
    (
        _whole,
        "the two tables differ in length: the last token can be read, but nothing comes after it"
        " to be predicted. Drop it from the first table.",
    ),
    (
        lambda ids, k: _pairs(ids, k)[::-1],
        "the two tables stand in the wrong order: first what is read, then what is predicted.",
    ),
    (
        lambda ids, k: _pairs(ids, k, joined=-k),
        "what is read starts at the first token of the text. At place i and depth k the module"
        " reads token i + k.",
    ),
    (
        lambda ids, k: _pairs(ids, k, joined=1 - k),
        "the module reads token i + 1 at any depth. At depth k it reads token i + k.",
    ),
    (
        lambda ids, k: _pairs(ids, k, joined=-k, target=1 - k),
        "both tables start k tokens early, wherever the depth: these are the pairs of the model"
        " itself, which reads token i and predicts token i + 1.",
    ),
    (
        lambda ids, k: (ids[:, k + 1 : -1], ids[:, k + 2 :]),
        "everything is one token late: at place i and depth k the module reads token i + k.",
    ),
    (
        lambda ids, k: (ids[k:-1], ids[k + 1 :]),
        "you cut the rows, which are different texts. Cut the second axis: `ids[:, ...]`.",
    ),
    (lambda ids, k: _pairs(ids, k)[1], "that is what is predicted. Return what is read as well."),
]


@checker
def mtp_pairs(attempt: Attempt) -> str:
    """Give what a module of some depth reads beside the hidden vectors, and what it predicts."""
    judge_by_slips(
        attempt,
        _cases_of_mtp(),
        _pairs,
        SLIPS_OF_MTP,
        lambda ids, k: f"rows of {ids.shape[1]} tokens, depth {k}",
        plain=lambda got: tuple(got) if isinstance(got, list) else got,
    )
    return "at place i it reads token i + k, and predicts the one after it."


# Exercise 5
# --------------------------------------------------------------------------------------------------

NUMBERS = (
    [0.0, 1.0, -1.0, 1.06, 1.07, 3.3, -17.0, 19.0, 100.0, 300.0, 447.0, 448.0, 460.0, 1e9, -1e6]
    + [0.01, 0.013, 0.0157, 0.016, 0.004, 0.002, 0.001, 0.0009, 1e-5, -0.003, 2.0**-10, 3 / 1024]
    + [1.0625, 1.1875, 17.0, 21.0, 0.0146484375, 239.0, 240.0, 247.9, 255.9, 2.0**-6, 2.0**-7]
)  # fmt: skip


def _by_torch(x: float) -> float:
    return torch.tensor(x).to(torch.float8_e4m3fn).item()


def _rounded(
    x: float,
    bits: int = 3,
    lowest: int = -6,
    most: float = 448.0,
    half: Callable[[float], float] = round,
) -> float:
    if x == 0:
        return 0.0
    exponent = max(int(torch.tensor(x, dtype=torch.float64).abs().log2().floor()), lowest)
    step = 2.0 ** (exponent - bits)
    return max(-most, min(most, half(x / step) * step))


SLIPS_OF_E4M3: list[Slip] = [
    (
        lambda x: _rounded(x, most=float("inf")),
        "numbers above 448 keep their size. E4M3 ends there: what is larger becomes 448, with its"
        " sign.",
    ),
    (
        lambda x: _rounded(x, most=240.0),
        "your largest number is 240. This kind of E4M3 (the `fn` of torch's name) has no infinity,"
        " and uses the codes for numbers up to 448.",
    ),
    (
        lambda x: _rounded(x, lowest=-1000),
        "small numbers are rounded too finely. Below 2^-6 the exponent falls no further: the step"
        " stays 2^-9.",
    ),
    (
        lambda x: _rounded(x, lowest=-7),
        "the smallest exponent is -6, not -7: E4M3 keeps the code 0 for subnormal numbers.",
    ),
    (
        lambda x: _rounded(x) if abs(x) >= 2.0**-6 else 0.0,
        "everything below 2^-6 becomes 0. There are seven more steps of 2^-9 down to 0: the"
        " subnormal numbers.",
    ),
    (
        lambda x: _rounded(x, bits=2),
        "too coarse: you have 4 steps from one power of two to the next. That is E5M2's mantissa;"
        " 3 bits make 8 steps.",
    ),
    (
        lambda x: _rounded(x, bits=4),
        "too fine: you have 16 steps from one power of two to the next; 3 bits make 8.",
    ),
    (
        lambda x: _rounded(x, half=lambda n: float(int(n))),
        "you cut off instead of rounding to the nearest number.",
    ),
    (
        lambda x: _rounded(x, half=lambda n: math.copysign(math.floor(abs(n) + 0.5), n)),
        "ties go away from zero. Exactly between two numbers the even multiple of the step is"
        " taken, as Python's `round` does: 1.0625, halfway from 1 to 1.125, becomes 1.",
    ),
    (
        lambda x: _rounded(x, half=lambda n: float(math.floor(n + 0.5))),
        "ties go upwards. Exactly between two numbers the even multiple of the step is taken, as"
        " Python's `round` does: 1.0625, halfway from 1 to 1.125, becomes 1.",
    ),
    (
        lambda x: _rounded(x, half=lambda n: float(math.floor(n))),
        "you round down instead of to the nearest number.",
    ),
    (
        lambda x: _rounded(x, lowest=-7, bits=2),
        "too coarse: the steps are twice as wide as they should be. The second entry of"
        " `math.frexp(x)` is the exponent plus 1.",
    ),
    (
        lambda x: _rounded(x, lowest=-5),
        "the smallest exponent is -6, not -5: your subnormal steps are 2^-8, E4M3's are 2^-9.",
    ),
    (
        lambda x: _rounded(x) if x > 0 else _rounded(x, most=float("inf")),
        "numbers below -448 keep their size. They become -448: clamp on both sides.",
    ),
    (
        lambda x: _rounded(x) if abs(x) <= 448 else math.copysign(math.inf, x),
        "what is larger than 448 becomes infinite. This format has no infinity: it becomes 448.",
    ),
    (lambda x: _rounded(abs(x)), "the sign is lost: -1 becomes 1."),
    (lambda x: float(max(-448, min(448, round(x)))), "those are whole numbers: int8's way."),
]


@checker
def round_e4m3(attempt: Attempt) -> str:
    """Round a number to the nearest one that E4M3 has."""
    judge_by_slips(
        attempt,
        [(x,) for x in NUMBERS],
        _by_torch,
        SLIPS_OF_E4M3,
        lambda x: f"the number {x:g}",
        tolerance=1e-9,
    )
    return f"{len(NUMBERS)} numbers as torch's float8_e4m3fn rounds them, subnormal ones included."


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _cases_of_scales() -> list[tuple]:
    rng = torch.Generator().manual_seed(0)
    hand = torch.tensor([[1.0, -4.48, 0.0, 0.0], [448.0, 2.0, -1.0, 896.0]])
    return [
        (hand, 2),
        (torch.randn(3, 6, generator=rng), 3),
        (-torch.rand(2, 8, generator=rng), 4),
        (torch.randn(1, 4, generator=rng), 4),
        (torch.tensor([[0.0, 3.0, -7.0, 0.0, 5.0, 6.0]]), 2),
    ]


def _scales(x: Tensor, width: int, largest: float = 448.0) -> Tensor:
    rows = [
        [max(abs(v) for v in row[i : i + width]) / largest for i in range(0, len(row), width)]
        for row in x.tolist()
    ]
    return torch.tensor([[scale if scale else 1.0 for scale in row] for row in rows])


def _one_for_zero(scales: Tensor) -> Tensor:
    return torch.where(scales == 0, 1.0, scales)


SLIPS_OF_SCALES: list[Slip] = [
    (
        lambda x, w: torch.full_like(_scales(x, w), x.abs().max().item() / 448),
        "every tile has the whole tensor's scale. Each takes its own largest number.",
    ),
    (
        lambda x, w: (x.abs().amax(1, keepdim=True) / 448).expand(-1, x.shape[1] // w),
        "every tile of a row has the row's scale. Each takes its own largest number.",
    ),
    (
        lambda x, w: _one_for_zero(x.unflatten(1, (-1, w)).amax(2) / 448),
        "negative numbers are forgotten: the largest size counts, not the largest number.",
    ),
    (
        lambda x, w: 1 / _scales(x, w),
        "upside down: numbers are divided by the scale, so it is the largest size by 448.",
    ),
    (
        lambda x, w: x.unflatten(1, (-1, w)).abs().amax(2) / 448,
        "a tile of zeros has the scale 0, and 0 / 0 is NaN. Give it the scale 1.",
    ),
    (
        lambda x, w: _scales(x, w).clamp(min=1.0),
        "no scale is below 1. Only a tile of zeros gets 1: small numbers are scaled up to 448.",
    ),
    (
        lambda x, w: _scales(x, w).where((x.unflatten(1, (-1, w)) != 0).all(2), 1.0),
        "a tile with a single 0 gets the scale 1. Only a tile in which all are 0 does.",
    ),
    (
        lambda x, w: _scales(x.unflatten(1, (w, -1)).transpose(1, 2).flatten(1), w),
        "your tiles hold columns that stand apart. A tile is `width` neighbours of a row.",
    ),
    (
        lambda x, w: _scales(x, x.shape[1] // w),
        "`width` is the number of your tiles. It is the number of columns in each.",
    ),
    (lambda x, w: _scales(x, w, 240.0), "your largest number is 240. This E4M3's is 448."),
    (lambda x, w: _scales(x, w, 127.0), "127 is int8's largest number. E4M3's is 448."),
    (
        lambda x, w: _scales(x, w, 1.0),
        "those are the largest sizes. Divide them by 448, which they are to become.",
    ),
    (
        lambda x, w: _scales(x, w).repeat_interleave(w, 1),
        "there is a scale for every number. Return one for every tile.",
    ),
    (
        lambda x, w: x.unflatten(1, (-1, w)).amax(2) / 448,
        "negative numbers are forgotten: the largest size counts, not the largest number.",
    ),
    (
        lambda x, w: x.unflatten(1, (-1, w)).abs().mean(2) / 448,
        "you take the mean size. Then the largest numbers exceed 448 and are cut off.",
    ),
    (
        lambda x, w: _one_for_zero(x.unflatten(1, (-1, w)).abs().mean(2) / 448),
        "you take the mean size. Then the largest numbers exceed 448 and are cut off.",
    ),
]


@checker
def tile_scales(attempt: Attempt) -> str:
    """Give each tile of a row the scale that takes its largest number to 448."""
    judge_by_slips(
        attempt,
        _cases_of_scales(),
        _scales,
        SLIPS_OF_SCALES,
        lambda x, w: f"{x.shape[0]} rows of {x.shape[1]} numbers, tiles of {w}",
        tolerance=1e-6,
    )
    return "each tile uses E4M3's whole range, whatever its neighbours hold."
