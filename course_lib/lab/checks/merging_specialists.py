"""Checkers of lesson 33. Truths come from sums over single numbers, and gradients from difference
quotients of such sums, not from the library."""

import copy
from collections.abc import Callable, Sequence
from math import exp, log
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.lab.checks.core import Attempt, Wrong, checker, expect
from course_lib.lab.checks.slips import judge_by_slips, name_slip

# Exercise 1: averaged weights
# --------------------------------------------------------------------------------------------------


class _Tied(nn.Module):
    """A model whose output matrix is its embedding: one parameter under two names."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding, self.middle = nn.Embedding(5, 3), nn.Linear(3, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embedding.weight


def _numbers(model: Any) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def _mixed(first: nn.Module, second: nn.Module, alpha: float) -> dict[str, Tensor]:
    one, other = _numbers(first), _numbers(second)
    return {name: (1 - alpha) * one[name] + alpha * other[name] for name in one}


def _tied_twice(first: nn.Module, second: nn.Module, alpha: float) -> dict[str, Tensor]:
    once = _mixed(first, second, alpha)
    tied = (1 - alpha) * once["embedding.weight"] + alpha * second.embedding.weight.detach()
    return once | {"embedding.weight": tied}


AVERAGE_SLIPS = [
    (
        _tied_twice,
        "the tied parameter is averaged twice: `state_dict()` lists it under two names, and the"
        " second visit averages the average. Go through `parameters()`, which gives it once.",
    ),
    (
        lambda first, second, alpha: _mixed(second, first, alpha),
        "alpha weighs the wrong model: at 0 it is the first, at 1 the second.",
    ),
    (
        lambda first, second, alpha: _numbers(first),
        "nothing has changed: it is the first model still. `p = ...` in a loop only renames;"
        " write into the parameter, with `copy_`.",
    ),
    (lambda first, second, alpha: _numbers(second), "it is the second model, whatever alpha is."),
    (
        lambda first, second, alpha: _mixed(first, second, 0.5),
        "alpha is ignored: this is the middle of the two.",
    ),
    (
        lambda first, second, alpha: {
            name: p + alpha * _numbers(second)[name] for name, p in _numbers(first).items()
        },
        "the first model keeps its full weight: the two shares must sum to 1.",
    ),
]


@checker
def average_models(attempt: Attempt) -> str:
    """Give a new model between two others."""
    cases = [(_Tied(1), _Tied(2), alpha) for alpha in (0.25, 0.0, 1.0, 0.7)]

    def merged(first: nn.Module, second: nn.Module, alpha: float) -> nn.Module:
        one, other = copy.deepcopy(first), copy.deepcopy(second)
        before = [_numbers(one), _numbers(other)]
        got = attempt.in_place(one, other, alpha)
        for who, model, old in zip(("first", "second"), (one, other), before, strict=True):
            if any(not torch.equal(p, old[name]) for name, p in _numbers(model).items()):
                raise Wrong(
                    f"the {who} model has changed. Copy one with `copy.deepcopy` and change the"
                    " copy: a specialist is still needed as a teacher."
                )
        if got is one or got is other:
            raise Wrong("this is one of the two models itself. Return a new one.")
        if not isinstance(got, nn.Module):
            raise Wrong(f"a model was asked for, and this is {type(got).__name__}.")
        return got

    def plain(got: nn.Module) -> dict[str, Tensor]:
        if getattr(got, "head", None) is None or got.head.weight is not got.embedding.weight:
            raise Wrong(
                "the output matrix is tied to the embedding no more. Copy the model as a whole."
            )
        return _numbers(got)

    def called(first: nn.Module, second: nn.Module, alpha: float) -> str:
        return f"the parameters at alpha = {alpha:g}"

    judge_by_slips(merged, cases, _mixed, AVERAGE_SLIPS, called, plain=plain)
    return "each parameter once, and the specialists are as they were."


# What exercises 2 and 3 share
# --------------------------------------------------------------------------------------------------


def _probs(scores: Sequence[float]) -> list[float]:
    raised = [exp(score) for score in scores]
    return [each / sum(raised) for each in raised]


def _draw_case(seed: int, *shape: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores of student and teacher, written tokens, and a mask of completions of all lengths."""
    draw = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(*shape, generator=draw) for _ in range(2))
    B, T, V = shape
    written = torch.randint(V, (B, T), generator=draw)
    return student, teacher, written, torch.arange(T) < (torch.arange(B)[:, None] % T + 1)


SCORE_CASES = [_draw_case(33, 3, 4, 5), _draw_case(34, 4, 3, 6), _draw_case(35, 2, 5, 3)]


def _over_tokens(each: Tensor, mask: Tensor) -> Tensor:
    return each[mask].mean()


def _over_padding(each: Tensor, mask: Tensor) -> Tensor:
    return (each * mask).mean()


def _over_answers(each: Tensor, mask: Tensor) -> Tensor:
    return ((each * mask).sum(-1) / mask.sum(-1)).mean()


# Exercise 2: the reverse KL divergence of what was written
# --------------------------------------------------------------------------------------------------


def _masked_kl(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Add up KL(student || teacher) token by token, in plain numbers."""
    found = []
    for row, column in mask.nonzero().tolist():
        own, theirs = (_probs(scores[row, column].tolist()) for scores in (student, teacher))
        found.append(sum(p * log(p / q) for p, q in zip(own, theirs, strict=True)))
    return torch.tensor(sum(found) / len(found))


def _kl_slips(student: Tensor, teacher: Tensor, mask: Tensor) -> list[tuple[Any, str]]:
    own, theirs = student.log_softmax(-1), teacher.log_softmax(-1)
    reverse = (own.exp() * (own - theirs)).sum(-1)
    forward = (theirs.exp() * (theirs - own)).sum(-1)
    sequence = student.log_softmax(1).exp() * (student.log_softmax(1) - teacher.log_softmax(1))
    return [
        (
            _over_tokens(forward, mask),
            "this is the forward direction, KL(teacher || student). Along the student's own texts"
            " the student's probabilities weigh the sum.",
        ),
        (
            reverse.mean(),
            "tokens outside of the mask are counted too: prompts and padding are no answers of the"
            " student.",
        ),
        (
            _over_padding(reverse, mask),
            "the sum is right, but it is divided by all places, padding included. Divide by the"
            " tokens in the mask.",
        ),
        (
            _over_answers(reverse, mask),
            "this is a mean of each answer's mean, so that a token of a short answer counts more."
            " All tokens in the mask count alike.",
        ),
        (reverse[mask].sum(), "the tokens are added up. Take their mean."),
        (
            _over_tokens(reverse, mask) / student.shape[-1],
            "the vocabulary is averaged as well. A KL divergence is a *sum* over the vocabulary.",
        ),
        (-_over_tokens(reverse, mask), "the sign is turned. A KL divergence is never below 0."),
        (
            -_over_tokens(forward, mask),
            "the weights are the teacher's. The student's probabilities weigh the sum.",
        ),
        (
            _over_tokens(-(own.exp() * theirs).sum(-1), mask),
            "the student's own log-probabilities are missing: this is a cross-entropy, which is"
            " not 0 where both agree.",
        ),
        (
            _over_tokens(-(theirs.exp() * own).sum(-1), mask),
            "this is the cross-entropy with the teacher's probabilities: the forward direction.",
        ),
        (
            _over_tokens(sequence.sum(-1), mask),
            "the softmax runs over the places. It runs over the vocabulary, the last axis.",
        ),
        (
            _over_tokens((own.exp() * (student - teacher)).sum(-1), mask),
            "scores are subtracted where log-probabilities belong: they lack the softmax's"
            " denominator.",
        ),
        (
            (reverse * mask).sum() / len(mask),
            "the sum is divided by the number of answers. Divide by the tokens in the mask.",
        ),
        (
            _over_tokens(reverse + forward, mask) / 2,
            "this is the mean of both directions. Only the reverse one is asked for.",
        ),
        (_over_tokens(reverse, ~mask), "the mask is turned round: True is what counts."),
        (reverse[mask], "there is one number per token. Return their mean."),
        (reverse, "there is one number per token. Return the mean of those in the mask."),
    ]


@checker
def masked_reverse_kl(attempt: Attempt) -> str:
    """Give the mean KL(student || teacher) over the tokens in the mask."""
    cases = [(student, teacher, mask) for student, teacher, _, mask in SCORE_CASES]

    def called(student: Tensor, teacher: Tensor, mask: Tensor) -> str:
        return f"the mean over {int(mask.sum())} of {mask.numel()} places"

    judge_by_slips(attempt, cases, _masked_kl, _kl_slips, called, 1e-4)
    student, teacher, mask = cases[0]
    student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
    loss = _learnable(attempt(student, teacher, mask))
    gradients = torch.autograd.grad(loss, [student, teacher], allow_unused=True)
    _require_still_teacher(gradients[1])
    if gradients[0].abs().max() < 1e-5:
        raise Wrong(
            "the number is right, but its gradient is 0: the student's probabilities are detached,"
            " and what is left cancels. The gradient runs through the weights of the sum too."
        )
    want = _quotients(lambda scores: _masked_kl(scores, teacher.detach(), mask), student)
    expect(gradients[0], want, "the gradient by the student's scores", 1e-3)
    far = torch.tensor([[[0.0, -300.0]]]), torch.tensor([[[0.0, -200.0]]]), torch.tensor([[True]])
    if not torch.isfinite(torch.as_tensor(attempt(*far))).all():
        raise Wrong(
            "scores of -300 make the loss infinite or NaN: the log of a probability that rounds to"
            " 0. Use log_softmax instead of the log of a softmax."
        )
    return "over the whole vocabulary, at the tokens that the student wrote."


def _learnable(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor) or not loss.requires_grad:
        raise Wrong(
            "the number is right, but no gradient flows back to the student's scores. Return the"
            " tensor, without item(), float() or detach() around the student."
        )
    return loss


def _require_still_teacher(gradient: Tensor | None) -> None:
    if gradient is not None and gradient.abs().max() > 0:
        raise Wrong(
            "a gradient flows into the teacher's scores: it would move towards the student."
            " `detach()` them."
        )


def _quotients(function: Callable[[Tensor], Tensor], at: Tensor, width: float = 1e-4) -> Tensor:
    """The gradient by difference quotients, in float64."""
    start, found = at.detach().double(), torch.zeros(at.shape)
    for place in range(start.numel()):
        step = torch.zeros(start.numel(), dtype=torch.double)
        step[place] = width
        step = step.view_as(start)
        up, down = float(function(start + step)), float(function(start - step))
        found.view(-1)[place] = (up - down) / (2 * width)
    return found


# Exercise 3: the estimate from one token
# --------------------------------------------------------------------------------------------------

# The value of this loss means nothing, so its gradient is judged.


def _one_token_gradient(student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor) -> Tensor:
    """-(log teacher - log student) times (1 at the token - p), by the number of tokens."""
    found = torch.zeros_like(student)
    for row, column in mask.nonzero().tolist():
        own, theirs = (_probs(scores[row, column].tolist()) for scores in (student, teacher))
        token = int(written[row, column])
        advantage = log(theirs[token] / own[token])
        for j, p in enumerate(own):
            found[row, column, j] = -advantage * ((j == token) - p) / int(mask.sum())
    return found


def _gradient_of(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def gradient(student: Tensor, teacher: Tensor, *rest: Tensor) -> Tensor:
        learning = student.clone().requires_grad_()
        return torch.autograd.grad(loss(learning, teacher, *rest), learning)[0]

    return gradient


def _policy_loss(
    advantage: Callable[[Tensor, Tensor], Tensor] = lambda own, theirs: (theirs - own).detach(),
    factor: Callable[[Tensor], Tensor] = lambda own: own,
    mean: Callable[[Tensor, Tensor], Tensor] = _over_tokens,
    shift: int = 0,
) -> Callable[..., Tensor]:
    """The gradient of a right loss but for the advantage, what it weighs, the mean or the token."""

    def loss(student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor) -> Tensor:
        ids = written.roll(shift, 1)[..., None]
        own, theirs = (x.log_softmax(-1).gather(-1, ids)[..., 0] for x in (student, teacher))
        return mean(-advantage(own, theirs) * factor(own), mask)

    return _gradient_of(loss)


def _full_gradient(student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor) -> Tensor:
    def loss(student: Tensor, teacher: Tensor) -> Tensor:
        own, theirs = student.log_softmax(-1), teacher.log_softmax(-1)
        return (own.exp() * (own - theirs)).sum(-1)[mask].mean()

    return _gradient_of(loss)(student, teacher)


@_gradient_of
def _raw_score_loss(student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor) -> Tensor:
    own, theirs = (x.gather(-1, written[..., None])[..., 0] for x in (student, teacher))
    return _over_tokens(-(theirs - own).detach() * own, mask)


def _centred_loss(
    student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor, scaled: bool
) -> Tensor:
    """Give the loss with advantages as in GRPO: less their mean, by their deviation or not."""
    ids = written[..., None]
    own, theirs = (x.log_softmax(-1).gather(-1, ids)[..., 0] for x in (student, teacher))
    advantages = (theirs - own).detach()
    advantages = advantages - advantages[mask].mean()
    if scaled:
        advantages = advantages / advantages[mask].std()
    return _over_tokens(-advantages * own, mask)


ONE_TOKEN_SLIPS = [
    (
        _policy_loss(advantage=lambda own, theirs: (own - theirs).detach()),
        "the sign is wrong: the student is pushed away from its teacher. A token that the teacher"
        " finds likelier has a positive advantage, and a loss is made small.",
    ),
    (
        _policy_loss(advantage=lambda own, theirs: theirs - own),
        "the advantage is not held fixed: its own gradient comes in, and the mean over all tokens"
        " is another gradient. `detach()` it.",
    ),
    (
        _policy_loss(lambda own, theirs: torch.tensor(-1.0), lambda own: own),
        "the difference of the logs is the loss itself. Its mean is the KL divergence, but the mean"
        " of its *gradient* is 0: the log-ratio must weigh log pi, as an advantage.",
    ),
    (
        _policy_loss(lambda own, theirs: torch.tensor(1.0)),
        "every token that was written is made likelier, whatever the teacher says: the advantage"
        " is missing.",
    ),
    (
        _policy_loss(advantage=lambda own, theirs: theirs.detach()),
        "the advantage is the teacher's log-probability alone. Then even a student equal to its"
        " teacher is told to change.",
    ),
    (
        _policy_loss(advantage=lambda own, theirs: -own.detach()),
        "the teacher is missing in the advantage.",
    ),
    (
        _policy_loss(advantage=lambda own, theirs: (theirs - own).exp().detach()),
        "the advantage is the ratio. Take its log, which is below 0 where the teacher finds the"
        " token less likely.",
    ),
    (
        _policy_loss(advantage=lambda own, theirs: (theirs.exp() - own.exp()).detach()),
        "the advantage is a difference of probabilities. Take the difference of their logs.",
    ),
    (
        _policy_loss(factor=lambda own: own.exp()),
        "the advantage weighs the probability. It weighs the log-probability: drawn tokens already"
        " come as often as they are likely.",
    ),
    (
        _policy_loss(mean=_over_padding),
        "the sum is divided by all places, padding included. Divide by the tokens in the mask.",
    ),
    (
        _policy_loss(mean=lambda each, mask: each.mean()),
        "tokens outside of the mask are counted too: nobody wrote them.",
    ),
    (
        _policy_loss(mean=_over_answers),
        "this is a mean of each answer's mean. All tokens in the mask count alike.",
    ),
    (_policy_loss(mean=lambda each, mask: each[mask].sum()), "the tokens are added up: take their"
     " mean."),
    (
        _policy_loss(shift=1),
        "each place looks up the token before. Place t scores written[:, t].",
    ),
    (
        _policy_loss(shift=-1),
        "each place looks up the token behind. Place t scores written[:, t].",
    ),
    (
        _raw_score_loss,
        "scores stand where log-probabilities belong: take the log_softmax before you look up the"
        " token.",
    ),
    (
        _gradient_of(lambda *case: _centred_loss(*case, scaled=False)),
        "the mean advantage is taken away, as in GRPO. Here the log-ratio itself is the advantage.",
    ),
    (
        _gradient_of(lambda *case: _centred_loss(*case, scaled=True)),
        "the advantages are centred and divided by their deviation. Here the log-ratio itself is"
        " the advantage.",
    ),
    (
        _policy_loss(lambda own, theirs: (1 - (theirs - own).exp()).detach(), lambda own: -own),
        "this is the k3 estimate as a loss. Its value is right on average, but its gradient is that"
        " of the forward direction, KL(teacher || student).",
    ),
    (
        _full_gradient,
        "this is the exact gradient over the whole vocabulary. Asked for is the estimate from the"
        " one token that was written.",
    ),
]  # fmt: skip


@checker
def one_token_loss(attempt: Attempt) -> str:
    """Give the loss whose gradient estimates that of the reverse KL divergence."""

    def gradient(student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor) -> Tensor:
        student, teacher = student.clone().requires_grad_(), teacher.clone().requires_grad_()
        loss = _learnable(attempt(student, teacher, written, mask))
        if loss.numel() != 1:
            raise Wrong(f"the loss is one number, not {loss.numel()}: take the mean.")
        found = torch.autograd.grad(loss.sum(), [student, teacher], allow_unused=True)
        if found[0] is None:
            raise Wrong("the loss doesn't depend on the student's scores.")
        if _full_gradient_is(found[0], student, teacher, written, mask):
            return found[0]
        if found[1] is None or not found[1].abs().max():
            return found[0]
        for slip, sentence in ONE_TOKEN_SLIPS:
            if torch.allclose(found[0], slip(student, teacher.detach(), written, mask), atol=1e-5):
                raise Wrong(sentence)
        _require_still_teacher(found[1])
        return found[0]

    def called(student: Tensor, teacher: Tensor, written: Tensor, mask: Tensor) -> str:
        return "the gradient of your loss by the student's scores"

    judge_by_slips(gradient, SCORE_CASES, _one_token_gradient, ONE_TOKEN_SLIPS, called, 1e-4)
    return "its mean over all tokens is the gradient of the reverse KL divergence."


def _full_gradient_is(found: Tensor, student: Tensor, teacher: Tensor, *rest: Tensor) -> bool:
    return torch.allclose(found, _full_gradient(student.detach(), teacher.detach(), *rest), 1e-4)


# Exercise 4: several teachers
# --------------------------------------------------------------------------------------------------

LOSS_CASES = [
    (
        torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 0.5], [6.0, 0.25, 9.0], [2.5, 7.0, 8.0]]),
        torch.tensor([[True, True, True], [True, True, False], [True, False, False], [True] * 3]),
        torch.tensor([0, 1, 1, 0]),
        [0.5, 0.5],
    ),
    (
        torch.tensor([[1.0, 2.0], [4.0, 5.0], [6.0, 9.0]]),
        torch.tensor([[True, False], [True, True], [True, True]]),
        torch.tensor([2, 0, 0]),
        [0.25, 1.0, 2.0],
    ),
    (
        torch.tensor([[3.0, 7.0, 0.5, 1.0], [2.0, 9.0, 4.0, 0.125]]),
        torch.tensor([[False, True, True, False], [False, True, True, True]]),
        torch.tensor([1, 0]),
        [3.0, 1.0],
    ),
]
NO_TOKEN_COUNTS = (  # of teacher 0, though it has a row
    torch.tensor([[3.0, 7.0], [2.0, 9.0]]),
    torch.tensor([[False, False], [True, True]]),
    torch.tensor([0, 1]),
    [1.0, 2.0],
)


def _weighted_means(losses: Tensor, mask: Tensor, teachers: Tensor, weights: list) -> Tensor:
    rows, counted, who = losses.tolist(), mask.tolist(), teachers.tolist()
    total = 0.0
    for i, weight in enumerate(weights):
        own = [
            x
            for row, counts, teacher in zip(rows, counted, who, strict=True)
            for x, c in zip(row, counts, strict=True)
            if teacher == i and c
        ]
        total += weight * sum(own) / len(own) if own else 0.0
    return torch.tensor(total)


def _teacher_parts(
    mean: Callable[[Tensor, Tensor], Tensor] = _over_tokens,
    share: Callable[[Sequence[float], Sequence[int]], float] = lambda weights, present: 1.0,
    weigh: Callable[[Sequence[float], int], float] = lambda weights, i: weights[i],
    use: Callable[[Tensor], Tensor] = lambda mask: mask,
) -> Callable[..., Tensor]:
    def loss(losses: Tensor, mask: Tensor, teachers: Tensor, weights: list) -> Tensor:
        present = sorted(set(teachers.tolist()))
        total = torch.zeros(())
        for i in present:
            rows = teachers == i
            total = total + weigh(weights, i) * mean(losses[rows], use(mask)[rows])
        return total * share(weights, present)

    return loss


def _one_mean(losses: Tensor, mask: Tensor, teachers: Tensor, weights: list) -> Tensor:
    return (losses * torch.tensor(weights)[teachers][:, None])[mask].mean()


TEACHER_SLIPS = [
    (
        _one_mean,
        "one mean over all tokens: a teacher with long answers counts more than its weight. Take"
        " the mean of each teacher's tokens first.",
    ),
    (
        _teacher_parts(mean=_over_answers),
        "each answer is averaged by itself, so that a token of a short answer counts more. Take"
        " the mean over all tokens of a teacher.",
    ),
    (
        _teacher_parts(mean=_over_padding),
        "the sums are divided by all places, padding included. Divide by the tokens in the mask.",
    ),
    (
        _teacher_parts(mean=lambda each, mask: each.mean()),
        "the mask is not used: prompts and padding are counted.",
    ),
    (
        _teacher_parts(mean=lambda each, mask: each[mask].sum()),
        "the tokens are added up: a teacher with long answers counts more. Take their mean.",
    ),
    (_teacher_parts(weigh=lambda weights, i: 1.0), "the weights don't count."),
    (
        _teacher_parts(share=lambda weights, present: 1 / sum(weights)),
        "the result is divided by the sum of the weights. It is a sum: equation 29 divides by"
        " nothing.",
    ),
    (
        _teacher_parts(share=lambda weights, present: 1 / len(weights)),
        "the result is divided by the number of teachers. It is a sum.",
    ),
    (
        _teacher_parts(share=lambda weights, present: 1 / len(present)),
        "the result is divided by the number of teachers at hand. It is a sum.",
    ),
    (
        _teacher_parts(weigh=lambda weights, i: weights[::-1][i]),
        "the weights are read from the wrong end.",
    ),
    (
        _teacher_parts(weigh=lambda weights, i: weights[i] * (i > 0)),
        "teacher 0 is missing: teachers are counted from 0, and all their parts are added up.",
    ),
    (
        _teacher_parts(mean=lambda each, mask: (each * mask).sum() / len(mask)),
        "the sums are divided by the number of answers. Divide by the tokens in the mask.",
    ),
    (_teacher_parts(use=lambda mask: ~mask), "the mask is turned round: True is what counts."),
]


@checker
def teachers_loss(attempt: Attempt) -> str:
    """Give the weighted sum of each teacher's mean loss."""

    def called(losses: Tensor, mask: Tensor, teachers: Tensor, weights: list) -> str:
        return f"teachers_loss with teachers {teachers.tolist()} and weights {weights}"

    def finite(*case: Any) -> Any:
        got = attempt(*case)
        if isinstance(got, Tensor) and got.isnan().any():
            raise Wrong(
                "NaN: a teacher without a token that counts has no mean, whether it has no row or"
                " its rows are masked. It adds nothing, so leave it out."
            )
        return got

    judge_by_slips(finite, LOSS_CASES, _weighted_means, TEACHER_SLIPS, called)
    case = NO_TOKEN_COUNTS
    expect(finite(*case), _weighted_means(*case), f"{called(*case)}, row 0 masked")
    losses = LOSS_CASES[0][0].clone().requires_grad_()
    got = attempt(losses, *LOSS_CASES[0][1:])
    if not isinstance(got, Tensor) or not got.requires_grad:
        raise Wrong(
            "the number is right, but no gradient flows back to the losses. Return the tensor,"
            " without item() or float()."
        )
    return "every teacher counts by its weight, however long its answers are."


# Exercise 5: signal and noise
# --------------------------------------------------------------------------------------------------


def _by_pairs(gradients: Tensor) -> tuple[float, float]:
    """Both from pairs of different batches: their product is the signal, on average, and half of
    their squared distance the noise."""
    rows = gradients.double().tolist()
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[:i]]
    signal = sum(x * y for a, b in pairs for x, y in zip(a, b, strict=True))
    noise = sum((x - y) ** 2 / 2 for a, b in pairs for x, y in zip(a, b, strict=True))
    return signal / len(pairs), noise / len(pairs)


def _noise_slips(gradients: Tensor) -> list[tuple[Any, str]]:
    g, n = gradients.double(), len(gradients)
    mean = g.mean(0)
    squares = (g - mean).square().sum()
    noise, raw = squares.item() / (n - 1), mean.square().sum().item()
    across, deviations = g.var(1).sum().item(), g.std(0).sum().item()
    signal, biased = raw - noise / n, squares.item() / n
    return [
        (
            (raw, noise),
            "the signal is too large: a mean of n noisy gradients still holds 1/n of the noise. "
            "Take it away.",
        ),
        (
            (raw, biased),
            "both are biased: the mean is fitted to these gradients, so divide by n - 1, and"
            " 1/n of the noise stands in the mean's square.",
        ),
        (
            (raw - biased / n, biased),
            "the noise is divided by n. The mean is fitted to the same gradients: divide by n - 1.",
        ),
        (
            (signal, biased),
            "the noise is divided by n. The mean is fitted to the same gradients: divide by n - 1.",
        ),
        (
            (raw - noise, noise),
            "too much is taken away: of the noise, 1/n stands in the mean's square.",
        ),
        (
            (max(signal, 0.0), noise),
            "a signal below 0 is cut off. Over many tables the mean would then be too large: an"
            " estimate without bias may come out below 0.",
        ),
        (
            (raw - noise / (n - 1), noise),
            "too much is taken away from the signal: the noise of the mean is 1/n of one batch's.",
        ),
        (
            (raw - noise / g.shape[1], noise),
            "of the noise, one part in the number of *parameters* is taken away. The mean is one of"
            " n gradients: 1/n of the noise.",
        ),
        (
            (g.mean(1).square().sum().item() - across / g.shape[1], across),
            "mean and distances run over the parameters. They run over the batches, axis 0.",
        ),
        (
            (raw - deviations / n, deviations),
            "the noise is a sum of standard deviations. It is a sum of variances, their squares.",
        ),
        (
            (raw + noise / n, noise),
            "the noise in the mean's square is taken away, not added.",
        ),
        ((noise, signal), "the two are swapped: signal first."),
        (
            (signal, noise**0.5),
            "the noise is a squared length: no root is taken.",
        ),
        (
            (max(raw, 0.0) ** 0.5, noise**0.5),
            "these are lengths. Both are squared lengths.",
        ),
        (
            (signal, squares.item()),
            "the squares are added up over the batches. Divide by n - 1: the noise is that of one.",
        ),
        (
            (signal, noise / n),
            "this is the noise of the mean. Asked for is that of one batch.",
        ),
        (
            (signal, noise / g.shape[1]),
            "the noise is averaged over the parameters. It is a sum over them.",
        ),
        (
            (raw - noise / n / g.shape[1], noise / g.shape[1]),
            "the noise is averaged over the parameters. It is a sum over them.",
        ),
        (
            (signal / g.shape[1], noise / g.shape[1]),
            "both are averaged over the parameters. They are sums over them.",
        ),
        (
            (g.square().sum(1).mean().item() - noise, noise),
            "the signal is the mean of the squares. It is the square of the mean.",
        ),
        (
            (g.square().sum(1).mean().item(), noise),
            "the signal is the mean of the squares, which holds all of the noise. Take the square"
            " of the mean.",
        ),
    ]  # fmt: skip


@checker
def signal_and_noise(attempt: Attempt) -> str:
    """Give the squared length of the true gradient, and of one batch's distance from it."""
    draw = torch.Generator().manual_seed(36)
    cases = [
        (torch.tensor([[3.0, 0.0], [1.0, 0.0]]),),
        (torch.randn(6, 4, generator=draw) + 1,),
        (2 * torch.randn(3, 5, generator=draw),),
        (torch.tensor([[1.0, -2.0, 0.5], [-1.5, 1.0, 0.25]]),),  # the signal comes out below 0
    ]

    def called(gradients: Tensor) -> str:
        n, p = gradients.shape
        return f"(signal, noise) of {n} gradients by {p} parameters"

    def plain(got: Any) -> Any:
        return tuple(got) if isinstance(got, list | Tensor) else got

    name_slip(attempt, cases[1:], _by_pairs, _noise_slips, 1e-4, plain)
    judge_by_slips(attempt, cases, _by_pairs, [], called, 1e-4, plain)
    return "both without bias; the signal may come out below 0 if there are too few batches."
