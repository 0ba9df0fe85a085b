"""The checkers of lesson 09 know right answers, the untouched skeleton, and the typical wrong
answers."""

import math

import pytest
import torch

from course_lib.inference.generate import best_extensions, next_token_probs
from course_lib.lab.checks import output as check
from course_lib.training import objectives
from tests.lab.checks.cases import Case, tests_of


@pytest.fixture(autouse=True, scope="module")
def torch_func_is_loaded():
    """Its first use imports for seconds, which are not the learner's."""
    torch.func.grad(torch.sum)(torch.ones(1))


def skeleton_2(a, b): ...


# Softmax and cross-entropy
# -------------------------------------------------------------------------------------------


def softmax(scores):
    powers = (scores - scores.amax(-1, keepdim=True)).exp()
    return powers / powers.sum(-1, keepdim=True)


def naive(scores, axis=-1):
    return scores.exp() / scores.exp().sum(axis, keepdim=True)


def without_the_tables_maximum(scores):
    powers = (scores - scores.max()).exp()
    return powers / powers.sum(-1, keepdim=True)


def surprises(logits, targets):
    return logits.logsumexp(-1) - logits[range(len(targets)), targets]


def by_chance(logits, targets):
    return -logits.softmax(-1)[range(len(targets)), targets].log()


# The gradient
# --------------------------------------------------------------------------------------------------


def gradient(logits, targets):
    one_hot = torch.nn.functional.one_hot(targets, logits.shape[-1])
    return (logits.softmax(-1) - one_hot) / len(targets)


def by_autograd(logits, targets):
    logits = logits.clone().requires_grad_()
    torch.nn.functional.cross_entropy(logits, targets).backward()
    return logits.grad


def by_torch_func(logits, targets):
    return torch.func.grad(lambda z: surprises(z, targets).mean())(logits)


def all_targets_from_all_rows(logits, targets):
    probs = logits.softmax(-1)
    probs[:, targets] -= 1
    return probs / len(targets)


# The nucleus
# --------------------------------------------------------------------------------------------------


def nucleus(probs, p, scale=True, inclusive=True, at_least=True, back=True, descending=True):
    best, order = probs.sort(descending=descending)
    before = best.cumsum(0) - (best if inclusive else 0)
    best = best * (before < p if at_least else before <= p)
    kept = torch.zeros_like(probs).scatter(0, order, best) if back else best
    return kept / kept.sum() if scale else kept


def nucleus_by_loop(probs, p):
    kept, total = [0.0] * len(probs), 0.0
    for token in sorted(range(len(probs)), key=lambda token: -probs[token]):
        if total >= p:
            break
        kept[token] = probs[token].item()
        total += kept[token]
    return torch.tensor(kept) / sum(kept)


def unsorted_nucleus(probs, p):
    kept = probs * (probs.cumsum(0) - probs < p)
    return kept / kept.sum()


def with_all_ties(probs, p):
    return scaled(probs * (probs >= probs[nucleus(probs, p) > 0].min()))


def scaled(kept):
    return kept / kept.sum()


# Temperature
# --------------------------------------------------------------------------------------------------


def entropy(logits, temperature, base=2.0):
    probs = (logits / temperature).softmax(-1)
    return torch.special.entr(probs).sum().item() / math.log(base)


def temperature(logits, bits, low=1e-3, high=1e3, base=2.0):
    for _ in range(100):
        middle = math.sqrt(low * high)
        if entropy(logits, middle, base) < bits:
            low = middle
        else:
            high = middle
    return high


def temperature_by_steps(logits, bits):
    """Multiply a temperature by factors that get smaller."""
    heat, factor = 1.0, 2.0
    for _ in range(60):
        heat *= factor if entropy(logits, heat) < bits else 1 / factor
        factor = factor**0.9
    return torch.tensor(heat)


# Beams
# --------------------------------------------------------------------------------------------------


def step(beams, scores, steps, n):
    totals = (scores[:, None] + steps).flatten()
    scores, best = totals.topk(n)
    return torch.cat([beams[best // steps.shape[1]], best[:, None] % steps.shape[1]], dim=1), scores


def step_by_sorting(beams, scores, steps, n):
    children = [
        (float(scores[k] + steps[k, v]), [*beams[k].tolist(), v])
        for k in range(len(beams))
        for v in range(steps.shape[1])
    ]
    best = sorted(children, reverse=True)[:n]
    return torch.tensor([text for _, text in best]), torch.tensor([score for score, _ in best])


def one_child_each(beams, scores, steps, n):
    best = steps.max(-1)
    return torch.cat([beams, best.indices[:, None]], dim=1), scores + best.values


def wrong_parents(beams, scores, steps, n):
    totals, best = (scores[:, None] + steps).flatten().topk(n)
    return torch.cat([beams[best % len(beams)], best[:, None] % steps.shape[1]], dim=1), totals


def divided_by_beams(beams, scores, steps, n):
    totals, best = (scores[:, None] + steps).flatten().topk(n)
    return torch.cat([beams[best % len(beams)], best[:, None] // len(beams)], dim=1), totals


def last_step_scores(beams, scores, steps, n):
    best = (scores[:, None] + steps).flatten().topk(n).indices
    return step(beams, scores, steps, n)[0], steps.flatten()[best]


def by_column(logits, targets):
    return (logits.softmax(0) - torch.eye(logits.shape[1])[targets]) / len(targets)


def overflowing_gradient(logits, targets):
    return (naive(logits) - torch.eye(logits.shape[1])[targets]) / len(targets)


CASES = {
    check.stable_softmax: Case(
        solution=softmax,
        skeleton=lambda scores: ...,
        also_right=[
            lambda scores: scores.softmax(-1),
            lambda scores: objectives.log_softmax(scores).exp(),
            lambda scores: (scores - scores.logsumexp(-1, keepdim=True)).exp(),
        ],
        wrong=[
            (naive, "exp(1000) is infinite"),
            (without_the_tables_maximum, "each row's own maximum"),
            (lambda scores: (scores - scores.mean(-1, keepdim=True)).exp(), "expected"),
            (lambda scores: naive(scores, axis=0), "your columns sum to 1"),
            (lambda scores: scores.exp() / scores.exp().sum(), "all six numbers together"),
            (lambda scores: softmax(scores).log(), "these are log probabilities"),
            (lambda scores: scores.exp(), "Divide each row by its sum"),
            (lambda scores: (scores - scores.amax(-1, keepdim=True)).exp(), "do not sum to 1 yet"),
            (lambda scores: softmax(scores.nan_to_num(neginf=0.0)), "one logit is -inf"),
        ],
    ),
    check.token_losses: Case(
        solution=surprises,
        skeleton=skeleton_2,
        also_right=[
            objectives.cross_entropy,
            lambda logits, targets: torch.nn.functional.cross_entropy(
                logits, targets, reduction="none"
            ),
            lambda logits, targets: -logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1),
        ],
        wrong=[
            (by_chance, "Do not go through the probability"),
            (
                lambda x, t: x.softmax(-1)[range(len(t)), t],
                "these are the probabilities of the targets",
            ),
            (lambda x, t: -surprises(x, t), "the sign is missing"),
            (lambda x, t: surprises(x, t) / math.log(2), "these are bits"),
            (lambda x, t: surprises(x, t).mean(), "that is the mean"),
            (lambda x, t: surprises(x, t).sum(), "that is the sum"),
            (lambda x, t: -x[range(len(t)), t], "logsumexp of each row is missing"),
            (lambda x, t: -x.log_softmax(-1).sum(-1), "Only the target counts"),
            (lambda x, t: -x.log_softmax(-1)[:, t], "Row t belongs to target t alone"),
            (lambda x, t: -x.log_softmax(0)[range(len(t)), t], "ran down the columns"),
        ],
    ),
    check.logit_gradient: Case(
        solution=gradient,
        skeleton=skeleton_2,
        also_right=[by_autograd, by_torch_func, lambda x, t: gradient(x.double(), t)],
        wrong=[
            (lambda x, t: gradient(x, t) * len(t), "that is the gradient of the summed loss"),
            (lambda x, t: -gradient(x, t), "the sign is the other way round"),
            (lambda x, t: -gradient(x, t) * len(t), "and the mean over T rows is missing"),
            (lambda x, t: x.softmax(-1), "these are the probabilities"),
            (lambda x, t: x.softmax(-1) / len(t), "these are the probabilities over T"),
            (lambda x, t: gradient(x, t) / x.shape[1], "averaged over all T x V"),
            (lambda x, t: gradient(x, t).sum(0), "you added up the rows"),
            (lambda x, t: x - torch.eye(x.shape[1])[t], "softmax is missing"),
            (by_column, "ran down the columns"),
            (all_targets_from_all_rows, "Row t belongs to target t alone"),
            (overflowing_gradient, "logits near 1000 give NaN"),
        ],
    ),
    check.nucleus_probs: Case(
        solution=nucleus,
        skeleton=skeleton_2,
        also_right=[nucleus_by_loop, lambda probs, p: next_token_probs(probs.log(), top_p=p)],
        wrong=[
            (lambda probs, p: nucleus(probs, p, inclusive=False), "was thrown away"),
            (lambda probs, p: nucleus(probs, p, scale=False), "Divide by the sum"),
            (lambda probs, p: nucleus(probs, p, back=False), "Put every probability back"),
            (lambda probs, p: nucleus(probs, p, at_least=False), "exactly 0.75"),
            (lambda probs, p: nucleus(probs, p, descending=False), "wrong end"),
            (unsorted_nucleus, "in the order of their indices"),
            (
                lambda probs, p: scaled(probs * (probs >= p)).nan_to_num() * 0,
                "not a bar for a single token",
            ),
            (lambda probs, p: nucleus(probs, p + 0.2), "one token too many"),
            (lambda probs, p: probs, "nothing is ruled out"),
            (lambda probs, p: scaled(probs * (probs >= min(p, probs.max()))), "p = 0.12"),
            (lambda probs, p: scaled(probs * (probs == probs.max())), "less than p = 0.58"),
            (with_all_ties, "two are enough"),
        ],
    ),
    check.temperature_for_entropy: Case(
        solution=temperature,
        skeleton=skeleton_2,
        also_right=[temperature_by_steps],
        wrong=[
            (lambda logits, bits: 1 / temperature(logits, bits), "that is 1 / temperature"),
            (lambda logits, bits: temperature(logits, bits, base=math.e), "this value in nats"),
            (
                lambda logits, bits: temperature(logits, bits * math.log(2)),
                "you took bits for nats",
            ),
            (lambda logits, bits: 1.0, "must be lower"),
            (lambda logits, bits: 0.2, "must be higher"),
            (lambda logits, bits: 0.0, "is above 0"),
            (lambda logits, bits: 2**bits, "number of equally likely tokens"),
            (
                lambda logits, bits: temperature(logits, bits, high=500.0),
                "Search from 0.001 to 1000",
            ),
            (lambda logits, bits: temperature(logits, bits, low=2e-3), "Search from 0.001 to 1000"),
            (lambda logits, bits: logits.softmax(-1), "return one number"),
        ],
    ),
    check.beam_step: Case(
        solution=step,
        skeleton=lambda beams, scores, steps, n_beams: ...,
        also_right=[step_by_sorting, best_extensions],
        wrong=[
            (one_child_each, "each beam kept its own best token"),
            (lambda b, s, x, n: step(b, torch.zeros_like(s), x, n), "old scores are forgotten"),
            (
                lambda b, s, x, n: step(b, torch.zeros_like(s), s[:, None] * x, n),
                "you multiplied them",
            ),
            (
                lambda b, s, x, n: tuple(
                    part * sign for part, sign in zip(step(b, -s, -x, n), (1, -1), strict=True)
                ),
                "the worst extensions",
            ),
            (wrong_parents, "appended to the wrong beam"),
            (divided_by_beams, "appended to the wrong beam"),
            (last_step_scores, "those of the last step alone"),
            (
                lambda b, s, x, n: (step(b, s, x, n)[0][:, -1:], step(b, s, x, n)[1]),
                "only the new tokens",
            ),
            (
                lambda b, s, x, n: (step(b, s, x, n)[0], step(b, s, x, n)[1].exp()),
                "Keep the scores as log probabilities",
            ),
            (lambda b, s, x, n: tuple(part.flip(0) for part in step(b, s, x, n)), "best first"),
            (lambda b, s, x, n: step(b, s, x, n)[0], "return two tensors"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
