"""Checkers of lesson 22. The truths are plain loops over Python's numbers."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect, torch_calls
from course_lib.lab.checks.slips import judge_by_slips

IGNORE = -100


def _normal(seed: int, *shape: int) -> Tensor:
    """Normal numbers, the same every time."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _two(got: Any, names: str) -> tuple:
    """The two parts of a result, or a complaint."""
    if isinstance(got, Tensor) or not isinstance(got, tuple | list) or len(got) != 2:
        raise Wrong(f"return two things, {names}; got {describe(got)}")
    return tuple(got)


# Exercise 1
# --------------------------------------------------------------------------------------------------


def _targets(
    pieces: Sequence[tuple[list[int], bool]],
    learns: Callable[[bool, int], bool] = lambda learn, place: learn,
    shift: int = 1,
) -> tuple[list[int], list[int]]:
    """Walk over the tokens one by one."""
    tokens, targets = [], []
    for piece, learn in pieces:
        for place, token in enumerate(piece):
            tokens.append(token)
            targets.append(token if learns(learn, place - len(piece)) else IGNORE)
    if shift == 0:
        return tokens, targets
    return tokens[:-1], targets[1:]


@checker
def answer_targets(attempt: Attempt) -> str:
    """Turn pieces of a chat into inputs and targets, where only the assistant's count."""
    cases = [
        ([([0, 5, 6], False), ([7, 8, 0], True)],),
        ([([0, 9], False), ([4, 0], True), ([3, 3, 2], False), ([6, 5, 0], True)],),
        ([([0, 5, 6, 4], False), ([0], True)],),
        ([([0, 1], False), ([2, 0], True), ([7], False)],),
        ([([0, 5], False), ([7, 0], True), ([], False), ([4, 0], True)],),
    ]

    def masked_before_the_shift(pieces: list) -> tuple:
        tokens, targets = _targets(pieces, shift=0)
        inputs = tokens[:-1]
        learnt = [target != IGNORE for target in targets][:-1]
        pairs = zip(tokens[1:], learnt, strict=True)
        return inputs, [token if learn else IGNORE for token, learn in pairs]

    def answers_where(learnt: Callable[[int, list[int]], bool]) -> Callable:
        """Learn the pieces whose place is chosen, given the places of all answers."""

        def found(pieces: list) -> tuple:
            places = [i for i, (_, learn) in enumerate(pieces) if learn]
            return _targets([(piece, learnt(i, places)) for i, (piece, _) in enumerate(pieces)])

        return found

    def without_first_tokens(pieces: list) -> tuple:
        inputs, targets = _targets(pieces)
        rows = zip(targets, [IGNORE, *targets[:-1]], strict=True)
        return inputs, [IGNORE if before == IGNORE else target for target, before in rows]

    def moved_backward(pieces: list) -> tuple:
        tokens, targets = _targets(pieces, shift=0)
        return tokens[:-1], [IGNORE, *targets[:-2]]

    slips = [
        (
            lambda pieces: (_targets(pieces, shift=0)[0], [*_targets(pieces)[1], IGNORE]),
            "the last token is an input as well. Nothing follows it, so it has no target: leave it"
            " out of the inputs.",
        ),
        (
            moved_backward,
            "the targets are shifted the wrong way: at each place stands the token before it. The"
            " target is the next one.",
        ),
        (
            without_first_tokens,
            "the first token of each answer is not learnt. It is predicted at the last token of the"
            " generation prompt: that place must count.",
        ),
        (
            answers_where(lambda i, places: i == places[-1]),
            "only the last answer is learnt. A chat may hold several: learn each of them.",
        ),
        (
            answers_where(lambda i, places: i >= places[0]),
            "from the first answer on everything is learnt, what the user says later as well.",
        ),
        (
            lambda pieces: _targets(pieces, shift=0),
            "inputs and targets are not shifted. At each place the target is the token after it:"
            " leave out the last input and the first target.",
        ),
        (
            masked_before_the_shift,
            "the mask belongs to the token that is read, not to the one that is predicted. The"
            " first token of an answer is predicted at the last token of the prompt: that place"
            " must count.",
        ),
        (
            lambda pieces: _targets(pieces, lambda learn, place: not learn),
            "the user's tokens are learnt, and the assistant's are not. It is the other way round.",
        ),
        (
            lambda pieces: _targets(pieces, lambda learn, place: True),
            f"everything is learnt. Where the user speaks, the target is {IGNORE}.",
        ),
        (
            lambda pieces: _targets(pieces, lambda learn, place: learn and place < -1),
            "the last token of each answer is not learnt. It is the end token: without it the model"
            " never learns to stop.",
        ),
        (
            lambda pieces: tuple(reversed(_targets(pieces))),
            "return the inputs first and then the targets. Yours are the other way round.",
        ),
        (
            lambda pieces: (
                _targets(pieces)[0],
                [0 if target == IGNORE else target for target in _targets(pieces)[1]],
            ),
            f"the targets that do not count are 0, which is a token as well. Put {IGNORE} there.",
        ),
        (
            lambda pieces: (
                [t if learn else IGNORE for piece, learn in pieces for t in piece][:-1],
                _targets(pieces)[1],
            ),
            "the inputs are masked as well. The model reads the whole chat; the mask only says"
            " where it learns.",
        ),
    ]

    def plain(got: Any) -> tuple:
        parts = _two(got, "inputs and targets")
        return tuple(part.tolist() if isinstance(part, Tensor) else list(part) for part in parts)

    def called(pieces):
        return f"inputs and targets of the pieces {pieces}"

    judge_by_slips(attempt, cases, _targets, slips, called, plain=plain)
    return "the whole chat is read, and only answers are learnt, their end tokens too."


# Exercise 2
# --------------------------------------------------------------------------------------------------


def _surprises(logits: Tensor, targets: Tensor) -> list[list[float]]:
    """The surprise at each target that counts, row by row."""
    rows = []
    for row, wanted in zip(logits.tolist(), targets.tolist(), strict=True):
        found = []
        for scores, target in zip(row, wanted, strict=True):
            if target != IGNORE:
                total = math.fsum(math.exp(score) for score in scores)
                found.append(math.log(total) - scores[target])
        rows.append(found)
    return rows


def _mean(numbers: Sequence[float]) -> float:
    return math.fsum(numbers) / len(numbers) if numbers else 0.0


def _loss(logits: Tensor, targets: Tensor) -> float:
    return _mean([value for row in _surprises(logits, targets) for value in row])


def _counted(targets: Tensor) -> tuple[Tensor, ...]:
    """Where the targets that count stand, and which tokens they are."""
    row, place = (targets != IGNORE).nonzero(as_tuple=True)
    return row, place, targets[row, place]


def _all_places(logits: Tensor, targets: Tensor) -> float:
    return (
        math.fsum(value for row in _surprises(logits, targets) for value in row) / targets.numel()
    )


@checker
def answer_loss(attempt: Attempt) -> str:
    """Average the surprise over the targets that count."""
    cases = []
    for seed, (rows, length, vocab) in enumerate([(1, 3, 4), (2, 4, 5), (3, 5, 7)]):
        targets = torch.randint(
            vocab, (rows, length), generator=torch.Generator().manual_seed(seed)
        )
        for row in range(rows):
            targets[row, : 1 + row] = IGNORE
        cases.append((2 * _normal(seed, rows, length, vocab), targets))
    cases.append((_normal(5, 2, 4, 3), torch.tensor([[0, 1, 0, IGNORE], [2, 0, IGNORE, IGNORE]])))
    slips = [
        (
            _all_places,
            "the sum is divided by all places. Divide by the number of targets that count: else an"
            " answer behind a long question teaches less.",
        ),
        (
            lambda logits, targets: _mean([_mean(row) for row in _surprises(logits, targets)]),
            "this is the mean of the rows' means. Add up over the whole batch and divide once: each"
            " token counts the same.",
        ),
        (
            lambda logits, targets: math.fsum(
                value for row in _surprises(logits, targets) for value in row
            ),
            "this is the sum. Divide by the number of targets that count.",
        ),
        (
            lambda logits, targets: -_loss(logits, targets),
            "the sign is wrong: the surprise is minus the log-probability.",
        ),
        (
            lambda logits, targets: _loss(logits, targets.clamp(min=0)),
            f"the targets {IGNORE} are counted as token 0. Choose a token there so that `gather`"
            " works, and multiply its surprise by 0.",
        ),
        (
            lambda logits, targets: _loss(logits, targets) / math.log(2),
            "this is in bits. The loss is in nats, with the natural logarithm.",
        ),
        (
            lambda logits, targets: (
                -_mean(
                    [
                        scores[target]
                        for row, wanted in zip(logits.tolist(), targets.tolist(), strict=True)
                        for scores, target in zip(row, wanted, strict=True)
                        if target != IGNORE
                    ]
                )
            ),
            "these are logits, not log-probabilities. Take `log_softmax` over the last axis first.",
        ),
        (
            lambda logits, targets: (
                _loss(logits, targets) * (targets != IGNORE).sum() / len(logits)
            ),
            "the sum is divided by the number of rows. Divide by the number of targets that count.",
        ),
        (
            lambda logits, targets: -logits.log_softmax(1)[_counted(targets)].mean(),
            "the softmax is over the positions. It belongs over the vocabulary, the last axis.",
        ),
        (
            lambda logits, targets: -logits.softmax(-1)[_counted(targets)].mean().log(),
            "this is the log of the mean probability. Take the mean of the logs, one for each"
            " target.",
        ),
        (
            lambda logits, targets: -logits.softmax(-1)[_counted(targets)].mean(),
            "these are probabilities. The surprise is minus their logarithm.",
        ),
        (
            lambda logits, targets: _loss(logits[:, :-1], targets[:, 1:]),
            "logits and targets are shifted once more. The targets are the next tokens already.",
        ),
        (
            lambda logits, targets: _loss(logits, targets.where(targets != 0, IGNORE)),
            "targets of token 0 are left out. It is a token as well: only -100 does not count.",
        ),
    ]

    def called(logits, targets):
        count = int((targets != IGNORE).sum())
        return f"the loss of logits {tuple(logits.shape)} with {count} targets"

    def plain(got: Any) -> Any:
        return got.item() if isinstance(got, Tensor) and got.numel() == 1 else got

    judge_by_slips(attempt, cases, _loss, slips, called, plain=plain)
    logits = _normal(9, 2, 3, 4).requires_grad_()
    value = torch.as_tensor(attempt(logits, torch.full((2, 3), IGNORE))).detach().item()
    if value != 0:
        raise Wrong(
            f"with no target that counts the loss is {value}, and should be 0: there is nothing to"
            " learn. Look out for 0 / 0, which would turn all weights into NaN."
        )
    with torch_calls() as used:
        got = attempt(logits, torch.tensor([[IGNORE, 1, 2], [IGNORE, IGNORE, 3]]))
    if used & {"cross_entropy", "cross_entropy_loss"}:
        raise Wrong("that is torch's `cross_entropy`. The exercise is to write it yourself.")
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Wrong("the loss has no gradient: return a tensor that autograd can follow back.")
    largest = _normal(3, 1, 2, 4) + 1000
    expect(attempt(largest, torch.tensor([[1, IGNORE]])), _loss(largest - 1000,
           torch.tensor([[1, IGNORE]])), "the loss of logits near 1000", 1e-3)  # fmt: skip
    return "each token of an answer counts the same, and a batch without any costs 0."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _mask(examples: Tensor, sees: Callable[[Sequence[int], int, int], bool]) -> list:
    length = examples.shape[1]
    return [
        [[bool(sees(row, q, k)) for k in range(length)] for q in range(length)]
        for row in examples.tolist()
    ]


def _sees(row: Sequence[int], q: int, k: int) -> bool:
    return row[q] == row[k] and k <= q


@checker
def packed_mask(attempt: Attempt) -> str:
    """Say which tokens of packed rows each token may see."""
    cases = [
        (torch.tensor([[0, 0, 0, 1, 1]]),),
        (torch.tensor([[3, 3, 1, 1, 1, 0], [2, 2, 2, 2, -1, -1]]),),
        (torch.tensor([[4, 7, 7, 2, -1, -1, -1]]),),
        (torch.tensor([[2] * 10 + [6] * 2]),),
    ]
    slips = [
        (
            lambda examples: _mask(examples, lambda row, q, k: k <= q),
            "a token sees the examples before its own: this is the plain causal mask. Compare the"
            " examples' numbers as well.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: row[q] == row[k]),
            "a token sees its own future. Cut the upper triangle off.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: row[q] == row[k] and k >= q),
            "a token sees what comes after it, not what came before. In row q stands what query q"
            " sees: keep the lower triangle.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: not _sees(row, q, k)),
            "True stands where a token may *not* look. Here True means: may see.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: row[q] == row[k] and k < q),
            "a token does not see itself. It must: the first of an example has nothing else.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: row[k] <= row[q] and k <= q),
            "examples with a larger number see those with a smaller one. Each sees its own alone.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: _sees(row, q, k) and row[q] != -1),
            "padding sees nothing, not even itself: its softmax would be 0 / 0, and NaN spreads."
            " Treat -1 as one more example.",
        ),
        (
            lambda examples: _mask(examples, lambda row, q, k: _sees(row, q, k) or row[k] == -1),
            "padding is seen by tokens of other examples, and before it comes. Treat -1 as one more"
            " example.",
        ),
        (
            lambda examples: _mask(
                examples, lambda row, q, k: abs(row[q] - row[k]) <= 1 and k <= q
            ),
            "a token sees another example, whose number is a neighbour of its own. The numbers must"
            " be equal.",
        ),
    ]

    def plain(got: Any) -> Any:
        table = torch.as_tensor(got)
        if table.dtype != torch.bool:
            raise Wrong(f"a mask holds True and False; yours holds {table.dtype}")
        if table.ndim != 3:
            raise Wrong(
                f"the mask has the shape (B, T, T), with three axes; yours has {tuple(table.shape)}"
            )
        return table.tolist()

    def called(examples):
        return f"the mask of the rows {examples.tolist()}"

    judge_by_slips(
        attempt, cases, lambda examples: _mask(examples, _sees), slips, called, plain=plain
    )
    return "each example is alone, and no token sees its future."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _lora(
    x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: float, scale: Callable = lambda a, r: a / r
) -> Tensor:
    """Add the change to the matrix, number by number, in float64."""
    rank, (n_out, n_in) = len(A), W.shape
    changed = [
        [
            W[o, i].item()
            + scale(alpha, rank) * math.fsum((B[o, k] * A[k, i]).item() for k in range(rank))
            for i in range(n_in)
        ]
        for o in range(n_out)
    ]
    return (x.double() @ torch.tensor(changed, dtype=torch.float64).T).float()


class _Products(TorchFunctionMode):
    """Collect the shapes of all products of matrices that are made meanwhile."""

    NAMES = {"matmul", "__matmul__", "__rmatmul__", "mm", "einsum", "linear", "addmm", "tensordot"}

    def __init__(self) -> None:
        super().__init__()
        self.shapes: set[tuple[int, ...]] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):  # noqa: ANN001, ANN204
        made = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in self.NAMES and isinstance(made, Tensor):
            self.shapes.add(tuple(made.shape))
        return made


@checker
def lora_output(attempt: Attempt) -> str:
    """Compute a linear layer with a change of low rank."""
    cases = []
    for seed, (n_in, n_out, rank, alpha) in enumerate(
        [(5, 5, 2, 3.0), (4, 3, 1, 2.0), (6, 2, 4, 16.0)]
    ):
        numbers = [(3, n_in), (n_out, n_in), (rank, n_in), (n_out, rank)]
        tables = [_normal(10 * seed + i, *shape) for i, shape in enumerate(numbers)]
        cases.append((*tables, alpha))
    cases.append((_normal(7, 2, 3, 4), *cases[1][1:]))
    slips = [
        (
            lambda x, W, A, B, alpha: _lora(x, W.T if W.shape == W.T.shape else W, A, B, alpha),
            "W is not transposed. `x` holds rows, and W maps columns: multiply by W.T.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: r / a),
            "the scale is upside down: it is alpha / r.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: (a / r) ** 2),
            "the change is scaled twice: alpha / r stands in it once.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: a / len(B)),
            "the change is divided by the width of the output. Divide by the rank, the number of"
            " rows of A.",
        ),
        (
            lambda x, W, A, B, alpha: x @ W.T + alpha / len(A) * (x @ A.T).relu() @ B.T,
            "what is negative between A and B is lost. LoRA's change is linear, without a ReLU.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: a),
            "the change is multiplied by alpha. LoRA divides it by the rank: alpha / r.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: a / r**0.5),
            "the change is scaled by alpha / sqrt(r). That is rsLoRA; the exercise asks for LoRA's"
            " alpha / r.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: 1.0),
            "the change is not scaled: multiply by alpha / r.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: 1 / r),
            "alpha is missing: the change is multiplied by alpha / r.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, 0 * W, A, B, alpha),
            "this is the change alone. Add what the frozen matrix says.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, 0.0),
            "this is the frozen matrix alone. Add the change.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, alpha / len(A) * W, A, B, alpha),
            "the frozen matrix is scaled as well. Only the change is.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: -a / r),
            "the change is subtracted.",
        ),
        (
            lambda x, W, A, B, alpha: _lora(x, W, A, B, alpha, lambda a, r: a / A.shape[1]),
            "the change is divided by the width of the input. Divide by the rank, the number of"
            " rows of A.",
        ),
    ]

    def called(x, W, A, B, alpha):
        return f"the output for x {tuple(x.shape)}, rank {len(A)}, alpha {alpha}"

    judge_by_slips(attempt, cases, _lora, slips, called, tolerance=1e-4)
    x, W, A, B, alpha = cases[2]
    with _Products() as made:
        got = attempt(x, W, A.requires_grad_(), B.requires_grad_(), alpha)
    if not {(len(W), W.shape[1]), (W.shape[1], len(W))}.isdisjoint(made.shapes):
        raise Wrong(
            "the numbers are right, but you make the table B A, as large as W. Multiply x by A"
            " first, and the result by B: that is the thin way."
        )
    if not (isinstance(got, Tensor) and got.requires_grad):
        raise Wrong("no gradient flows back to A and B, so they would never learn.")
    return "as if alpha / r times B A had been added to the matrix."


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def best_low_rank(attempt: Attempt) -> str:
    """Give the product of two thin matrices that comes nearest to a change."""
    cases = [
        (_normal(seed, *shape), rank)
        for seed, (shape, rank) in enumerate([((4, 6), 1), ((5, 3), 2), ((6, 6), 3), ((3, 5), 3)])
    ]
    for change, rank in cases:
        A, B = (torch.as_tensor(part) for part in _two(attempt(change, rank), "A and B"))
        _judge_factors(change, rank, A, B)
    exact = _normal(8, 6, 2) @ _normal(9, 2, 7)
    A, B = attempt(exact, 2)
    expect(torch.as_tensor(B) @ torch.as_tensor(A), exact, "B A for a change of rank 2", 1e-4)
    return "no two matrices of this rank come nearer (Eckart and Young, 1936)."


def _judge_factors(change: Tensor, rank: int, A: Tensor, B: Tensor) -> None:
    """Compare the error with the least possible, which the eigenvalues of change^T change tell."""
    (n_out, n_in), asked = change.shape, f"a change of {tuple(change.shape)} and rank {rank}"
    if A.shape == (n_out, rank) and B.shape == (rank, n_in) and A.shape != B.shape:
        raise Wrong("return A (r, I) first and then B (O, r). Yours are the other way round.")
    if A.shape == (rank, min(n_out, n_in)) and B.shape == (n_out, rank) and n_out < n_in:
        raise Wrong(
            "A is made of columns of Vh, or of rows of what `torch.svd` calls V. Take whole rows of"
            f" Vh: they are as long as a row of the change, {n_in}."
        )
    if A.shape != (rank, n_in) or B.shape != (n_out, rank):
        raise Wrong(
            f"for {asked} A has the shape {(rank, n_in)} and B {(n_out, rank)}; yours are"
            f" {tuple(A.shape)} and {tuple(B.shape)}"
        )
    squares = torch.linalg.eigvalsh(change.double().T @ change.double()).flip(0).clamp(min=0)
    least = squares[rank:].sum().sqrt().item()
    product = B.double() @ A.double()
    error = (change.double() - product).norm().item()
    if error <= least + 1e-4:
        return
    U, S, Vh = torch.linalg.svd(change.double(), full_matrices=False)
    for guess, sentence in (
        (
            U[:, :rank] @ Vh[:rank],
            "the singular values are missing: multiply the columns of U, or the rows of V, by S.",
        ),
        (
            U[:, :rank] * S[:rank] ** 2 @ Vh[:rank],
            "the singular values are in both A and B. Put them into one, or their roots into both.",
        ),
        (
            U[:, -rank:] * S[-rank:] @ Vh[-rank:],
            "these are the smallest singular values. Keep the largest, which come first.",
        ),
        (
            (U[:rank] * S).T[:, :rank] @ Vh[:rank] if len(U) == len(S) else U @ Vh,
            "B is made of rows of U. The singular vectors are its columns: `U[:, :rank]`.",
        ),
    ):
        if torch.allclose(product, guess, atol=1e-4):
            raise Wrong(sentence)
    raise Wrong(
        f"for {asked} B A misses the change by {error:.4f} (root of the sum of squares), and"
        f" {least:.4f} is possible. Which directions does the singular value decomposition put"
        " first?"
    )


# Exercise 6
# --------------------------------------------------------------------------------------------------


def _combined(means: Sequence[float], counts: Sequence[int]) -> float:
    total = 0.0
    for mean, count in zip(means, counts, strict=True):
        for _ in range(count):
            total += mean
    return total / sum(counts)


@checker
def combine_losses(attempt: Attempt) -> str:
    """Turn the mean losses of micro-batches into that of the whole batch."""
    nan = float("nan")
    cases = [
        ([2.0, 4.0], [3, 1]),
        ([1.5, 0.5, 3.0], [10, 2, 5]),
        ([0.7], [4]),
        ([3.0, 1.0, 2.0, 2.5], [1, 9, 30, 2]),
    ]
    slips = [
        (
            lambda means, counts: _mean(means),
            "this is the mean of the means: a token of a micro-batch with few targets counts for"
            " more than others. Weigh each mean by its count.",
        ),
        (
            lambda means, counts: math.fsum(m * c for m, c in zip(means, counts, strict=True)),
            "this is the sum over all targets. Divide it by their number.",
        ),
        (
            lambda means, counts: _combined(means, counts) * sum(counts) / len(counts),
            "you divide by the number of micro-batches. Divide by the number of targets.",
        ),
        (lambda means, counts: math.fsum(means), "this is the sum of the means."),
        (
            lambda means, counts: math.fsum(means) / sum(counts),
            "the means are added up as if they were sums. Multiply each by its count first.",
        ),
        (
            lambda means, counts: (
                math.fsum(m / c for m, c in zip(means, counts, strict=True))
                / sum(1 / c for c in counts)
            ),
            "the means are weighed by 1 / count. It is the other way round.",
        ),
    ]

    def called(means, counts):
        return f"the loss of micro-batches with means {means} and {counts} targets"

    judge_by_slips(attempt, cases, _combined, slips, called)
    empty = ([2.0, nan, 4.0], [3, 0, 1])
    got = attempt(*empty)
    if isinstance(got, int | float | Tensor) and math.isnan(float(got)):
        raise Wrong(
            "a micro-batch without a target has the mean 0 / 0, NaN, and yours spreads: 0 times NaN"
            " is NaN. Leave it out."
        )
    if isinstance(got, int | float | Tensor) and abs(float(got) - 2.0) < 1e-5:
        raise Wrong("what comes after an empty micro-batch is left out. Only pass over that one.")
    expect(got, 2.5, called(*empty))
    return "cut as you like, the loss is the same."


# Exercise 7
# --------------------------------------------------------------------------------------------------


def _kept(
    questions: Sequence[str],
    answers: Sequence[Sequence[str]],
    is_good: Callable[[str, str], bool],
    most: int,
    distinct: bool = True,
    judge: bool = True,
    first: bool = True,
) -> list[tuple[str, str]]:
    """Collect answer by answer."""
    kept = []
    for question, texts in zip(questions, answers, strict=True):
        chosen: list[str] = []
        for text in texts if first else list(texts)[::-1]:
            if judge and not is_good(question, text):
                continue
            if distinct and text in chosen:
                continue
            if len(chosen) < most:
                chosen.append(text)
        kept += [(question, text) for text in chosen]
    return kept


def _ends_with_sum(question: str, text: str) -> bool:
    """Judge like a verifier: is the last number of the text the sum's?"""
    if "+" not in question:
        raise ValueError(f"is_good(question, text): the question comes first, got {question!r}")
    return text.split()[-1] == str(sum(map(int, question.split("+"))))


@checker
def keep_answers(attempt: Attempt) -> str:
    """Keep up to `most` different good answers to each question."""
    cases = [
        (["1+2"], [["so 3", "4", "so 3", "3"]], _ends_with_sum, 2),
        (
            ["1+2", "2+2", "5+1"],
            [["3", "3", "3"], ["5", "no 3"], ["6", "it is 6", "a 6", "7", "6"]],
            _ends_with_sum,
            2,
        ),
        (["4+4", "1+1"], [["8", "I say 8"], ["2", "hm 2"]], _ends_with_sum, 1),
        (["4+4", "1+1"], [["8", "8", "7", "is 8"], ["8", "2", "is 2", "a 2"]], _ends_with_sum, 5),
        (["1+2", "2+1"], [["4", "5", "3", "so 3"], ["3", "3", "so 3", "a 3"]], _ends_with_sum, 2),
    ]

    def each(change: Callable[[str, list[str]], list[str]]) -> Callable:
        """Change the answers to each question, then keep."""
        return lambda q, a, good, most: _kept(q, list(map(change, q, a)), good, most)

    def until_bad(question: str, texts: list[str]) -> list[str]:
        return list(itertools.takewhile(lambda text: _ends_with_sum(question, text), texts))

    def last_good(questions: list, answers: list, is_good: Callable, most: int) -> list:
        parts = [
            _kept([q], [texts], is_good, 10**6)[-most:]
            for q, texts in zip(questions, answers, strict=True)
        ]
        return [pair for part in parts for pair in part]

    def cut_before_distinct(questions: list, answers: list, is_good: Callable, most: int) -> list:
        return list(dict.fromkeys(_kept(questions, answers, is_good, most, distinct=False)))

    def once_over_all(questions: list, answers: list, is_good: Callable, most: int) -> list:
        seen: set[str] = set()
        kept = []
        for question, texts in zip(questions, answers, strict=True):
            new = _kept([question], [[t for t in texts if t not in seen]], is_good, most)
            seen |= {text for _, text in new}
            kept += new
        return kept

    def by_turns(questions: list, answers: list, is_good: Callable, most: int) -> list:
        kept = _kept(questions, answers, is_good, most)
        turn = [sum(before[0] == q for before in kept[:i]) for i, (q, _) in enumerate(kept)]
        return [pair for _, pair in sorted(zip(turn, kept, strict=True), key=lambda row: row[0])]

    def never_none(questions: list, answers: list, is_good: Callable, most: int) -> list:
        kept = []
        for question, texts in zip(questions, answers, strict=True):
            kept += _kept([question], [texts], is_good, most) or [(question, texts[0])]
        return kept

    def best_over_all(questions: list, answers: list, is_good: Callable, most: int) -> list:
        return _kept(questions, answers, is_good, 10**6)[:most]

    slips = [
        (each(until_bad), "you stop at the first bad answer. Good ones may come after it."),
        (
            each(lambda question, texts: sorted(texts)),
            "the answers are sorted. Keep the order in which they came first.",
        ),
        (
            each(lambda question, texts: sorted(texts, key=len)),
            "the shortest come first. Keep the order in which the answers came.",
        ),
        (
            lambda q, a, good, most: _kept(q, a, lambda q, text: not good(q, text), most),
            "the bad answers are kept, and the good ones are not. It is the other way round.",
        ),
        (last_good, "the last good answers are kept. Keep those that came first."),
        (
            cut_before_distinct,
            "copies count before they are dropped, so fewer than `most` remain. Drop repeated"
            " answers first, then cut.",
        ),
        (
            once_over_all,
            "an answer that was kept for one question is not kept for another. Answers are compared"
            " within each question alone.",
        ),
        (
            by_turns,
            "the pairs are in another order. Give all of the first question's, then the next's.",
        ),
        (never_none, "a question without a good answer gives a bad one. It should give nothing."),
        (
            lambda *case: _kept(*case, judge=False),
            "wrong answers are kept too. Keep those for which `is_good(question, text)` holds.",
        ),
        (
            lambda *case: _kept(*case, distinct=False),
            "the same answer is kept twice. A second copy teaches nothing new: keep others.",
        ),
        (
            lambda q, a, good, most: _kept(q, a, good, 10**6),
            "there are more than `most` answers to a question.",
        ),
        (
            lambda q, a, good, most: _kept(q, a, good, 1),
            "there is only one answer to each question: up to `most` may be kept.",
        ),
        (
            lambda q, a, good, most: _kept(q, [texts[:most] for texts in a], good, most),
            "only the first `most` answers are looked at. First judge all, then keep up to `most`"
            " of the good ones.",
        ),
        (
            best_over_all,
            "`most` counts over all questions. It counts for each question anew: else the easy"
            " questions that come first take all places.",
        ),
        (
            lambda *case: _kept(*case, first=False),
            "the last ones are kept first. Keep the order in which the answers came.",
        ),
        (
            lambda q, a, good, most: [
                (text, question) for question, text in _kept(q, a, good, most)
            ],
            "the pairs are (answer, question). Return (question, answer).",
        ),
        (
            lambda q, a, good, most: [text for _, text in _kept(q, a, good, most)],
            "these are the answers alone. Return pairs (question, answer).",
        ),
    ]

    def called(questions, answers, is_good, most):
        return f"what is kept of {answers} to {questions}, most={most}"

    def plain(got: Any) -> Any:
        got = list(got)
        if any(pair and not isinstance(pair, str) and not isinstance(pair[0], str) for pair in got):
            raise Wrong("you give a list of pairs for each question. Give one list of all pairs.")
        return [tuple(pair) if isinstance(pair, list) else pair for pair in got]

    judge_by_slips(attempt, cases, _kept, slips, called, plain=plain)
    return "a question that was never answered well gives nothing: there is nothing to learn from."
