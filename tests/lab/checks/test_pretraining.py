"""The checkers of lesson 10 know right answers, the untouched skeleton, and the typical wrong
answers."""

import torch

from course_lib.experiments.failure_lab import lab_letters
from course_lib.lab.checks import pretraining as check
from course_lib.training.optimizers import AdamW, orthogonalize
from course_lib.training.schedules import warmup_stable_decay
from tests.lab.checks.cases import Case, tests_of

# AdamW
# --------------------------------------------------------------------------------------------------


def adamw(theta, grad, m, v, t, lr, weight_decay, b1=0.9, b2=0.95, eps=1e-8):
    m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad**2
    step = (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
    return theta * (1 - lr * weight_decay) - lr * step, m, v


def by_the_library(theta, grad, m, v, t, lr, weight_decay):
    parameter = torch.nn.Parameter(theta.clone())
    parameter.grad = grad.clone()
    optimizer = AdamW([parameter], lr, weight_decay=weight_decay)
    state = {"step": torch.tensor(t - 1), "average": m.clone(), "square": v.clone()}
    optimizer.state[parameter] = state
    optimizer.step()
    return parameter.detach(), state["average"], state["square"]


def uncorrected(theta, grad, m, v, t, lr, weight_decay):
    m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad**2
    return theta * (1 - lr * weight_decay) - lr * m / (v**0.5 + 1e-8), m, v


def with_l2(theta, grad, m, v, t, lr, weight_decay):
    return adamw(theta, grad + weight_decay * theta, m, v, t, lr, 0.0)


def summed(theta, grad, m, v, t, lr, weight_decay):
    m, v = 0.9 * m + grad, 0.95 * v + grad**2
    step = (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)) ** 0.5 + 1e-8)
    return theta * (1 - lr * weight_decay) - lr * step, m, v


def without_root(theta, grad, m, v, t, lr, weight_decay):
    m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad**2
    step = (m / (1 - 0.9**t)) / (v / (1 - 0.95**t) + 1e-8)
    return theta * (1 - lr * weight_decay) - lr * step, m, v


# Newton-Schulz
# --------------------------------------------------------------------------------------------------


def schulz(G, steps, a=3.4445, b=-4.775, c=2.0315, scaled=True):
    X = G / G.pow(2).sum().sqrt() if scaled else G
    for _ in range(steps):
        B = X.T @ X
        X = X @ (a * torch.eye(len(B)).to(B) + b * B + c * B @ B)
    return X


def mean_loss(loss_sum, theta, parts):
    totals, counts = zip(*(loss_sum(theta, part) for part in parts), strict=True)
    return sum(totals) / sum(counts)


# Clipping
# --------------------------------------------------------------------------------------------------


def clip(gradients, max_norm):
    total = sum((g**2).sum() for g in gradients) ** 0.5
    return [g * max_norm / total if total > max_norm else g for g in gradients]


# Accumulation
# --------------------------------------------------------------------------------------------------


def accumulate(loss_sum, theta, parts):
    gradients, counts = [], []
    for part in parts:
        total, count = loss_sum(theta, part)
        gradients.append(torch.autograd.grad(total, theta)[0])
        counts.append(count)
    return torch.stack(gradients).sum(0) / sum(counts)


def by_backward(loss_sum, theta, parts):
    copy, count = theta.detach().clone().requires_grad_(), 0
    for part in parts:
        total, counted = loss_sum(copy, part)
        total.backward()
        count += counted
    return copy.grad / count


def by_torch_func(loss_sum, theta, parts):
    theta = theta.detach()
    summed = [torch.func.grad(lambda x, p=p: loss_sum(x, p)[0])(theta) for p in parts]
    return sum(summed) / sum(loss_sum(theta, part)[1] for part in parts)


def into_theta(loss_sum, theta, parts):
    count = 0
    for part in parts:
        total, counted = loss_sum(theta, part)
        total.backward()
        count += counted
    return theta.grad / count


def mean_of_means(loss_sum, theta, parts):
    means = [total / max(count, 1) for total, count in (loss_sum(theta, p) for p in parts)]
    (gradient,) = torch.autograd.grad(sum(means) / len(means), theta)
    return gradient


def scaled_by(factor):
    def found(loss_sum, theta, parts):
        made = [loss_sum(theta, part) for part in parts]
        (gradient,) = torch.autograd.grad(sum(total for total, _ in made), theta)
        return gradient * factor([count for _, count in made], parts)

    return found


# The failure lab
# --------------------------------------------------------------------------------------------------

REASONS = {fault: evidence for fault, (evidence, _) in check.SIGNS.items()}


def diagnosis(changed=None):
    """The right answers as a function, some of them changed."""
    right = {letter: (fault, REASONS[fault]) for letter, fault in lab_letters().items()}
    return lambda letter: (right | (changed or {}))[letter]


def letter_of(fault):
    return next(letter for letter, each in lab_letters().items() if each == fault)


CASES = {
    check.adamw_step: Case(
        solution=adamw,
        skeleton=lambda theta, grad, m, v, t, lr, weight_decay: ...,
        also_right=[by_the_library],
        wrong=[
            (uncorrected, "both averages began at 0"),
            (with_l2, "went into the gradient"),
            (without_root, "Take its root"),
            (lambda *a: adamw(*a, b2=0.999), "torch's default 0.999"),
            (lambda *a: adamw(*a, eps=0.0), "eps is missing"),
            (lambda *a: adamw(*a[:5], -a[5], -a[6]), "along the gradient, uphill"),
            (lambda *a: adamw(*a[:6], 0.0), "the weight decay is missing"),
            (lambda *a: adamw(*a)[0], "return three tensors"),
            (summed, "both averages are sums"),
        ],
    ),
    check.newton_schulz: Case(
        solution=schulz,
        skeleton=lambda G, steps: ...,
        also_right=[orthogonalize],
        wrong=[
            (lambda G, steps: schulz(G, steps, scaled=False), "divided by its norm first"),
            (lambda G, steps: schulz(G, steps, 1.5, -0.5, 0.0), "classical iteration"),
            (lambda G, steps: schulz(G, steps, c=0.0), "A A X is missing"),
            (lambda G, steps: schulz(G, 5), "always five rounds"),
            (lambda G, steps: schulz(G, steps, b=4.775), "coefficient is negative"),
            (
                lambda G, steps: (lambda U, s, Vh: U @ Vh)(
                    *torch.linalg.svd(G, full_matrices=False)
                ),
                "all singular values 1",
            ),
        ],
    ),
    check.wsd_rate: Case(
        solution=lambda step, steps, peak, warmup, decay: min(
            peak, peak * step / warmup, peak * (steps + 1 - step) / decay
        ),
        skeleton=lambda step, steps, peak, warmup, decay: ...,
        also_right=[
            lambda step, steps, peak, warmup, decay: (
                peak * min(1, step / warmup, (steps - step + 1) / decay)
            )
        ],
        wrong=[
            (lambda k, n, p, w, d: p * min(1, k / w, (n - k) / d), "the last step has the rate 0"),
            (
                lambda k, n, p, w, d: p * min(1, (k - 1) / w, (n - k + 1) / d),
                "the first step has the rate 0",
            ),
            (lambda k, n, p, w, d: min(1, k / w, (n - k + 1) / d), "Multiply by `peak`"),
            (lambda k, n, p, w, d: p * min(1, k / w), "the rate never falls"),
            (lambda k, n, p, w, d: p * min(1, (n - k + 1) / d), "begins at its peak"),
            (lambda k, n, p, w, d: p * warmup_stable_decay(k / n, w / n, d / n), "has the rate 0"),
        ],
    ),
    check.accumulated_gradient: Case(
        solution=accumulate,
        skeleton=lambda loss_sum, theta, parts: ...,
        also_right=[by_backward, by_torch_func],
        wrong=[
            (scaled_by(lambda counts, parts: 1 / sum(counts)), "the graphs of 8 parts were kept"),
            (into_theta, "left in theta.grad"),
            (mean_of_means, "the mean of the parts' means"),
            (mean_loss, "its gradient with respect to theta is asked for"),
            (scaled_by(lambda counts, parts: 1), "the sum is not divided"),
            (scaled_by(lambda counts, parts: 1 / len(parts)), "number of parts"),
            (scaled_by(lambda counts, parts: 1 / sum(len(x) for x, _ in parts)), "by all targets"),
            (scaled_by(lambda counts, parts: -1 / sum(counts)), "the other way round"),
            (scaled_by(lambda counts, parts: 1 / counts[-1]), "of the last one"),
        ],
    ),
    check.clip_gradients: Case(
        solution=clip,
        skeleton=lambda gradients, max_norm: ...,
        also_right=[
            lambda gradients, bound: [
                g * min(1, bound / max(1e-12, sum(float((g**2).sum()) for g in gradients) ** 0.5))
                for g in gradients
            ]
        ],
        wrong=[
            (lambda gs, bound: [clip([g], bound)[0] for g in gs], "clipped on its own"),
            (lambda gs, bound: [g.clamp(-bound, bound) for g in gs], "clamped on its own"),
            (
                lambda gs, bound: [
                    g * bound / max(1e-30, sum((h**2).sum() for h in gs)) ** 0.5 for g in gs
                ],
                "short gradients are stretched",
            ),
            (
                lambda gs, bound: [
                    g * (bound / sum((h**2).sum() for h in gs) ** 0.5).clamp(max=1) * (g == g)
                    if sum((h**2).sum() for h in gs) > 0
                    else g / 0
                    for g in gs
                ],
                "come out as NaN: 0/0",
            ),
            (lambda gs, bound: gs, "nothing is shortened"),
            (
                lambda gs, bound: [
                    g * min(1, bound / max(1e-30, float(sum((h**2).sum() for h in gs)))) for g in gs
                ],
                "a root is missing",
            ),
        ],
    ),
    check.diagnose: Case(
        solution=diagnosis(),
        skeleton=lambda run: ...,
        also_right=[lambda run: list(diagnosis()(run))],
        wrong=[
            (
                diagnosis({letter_of("no mask"): ("wrong shift", "only training near zero")}),
                "worse than a guess",
            ),
            (diagnosis({letter_of("leak"): ("leak", "gap")}), "The healthy run shows it too"),
            (diagnosis({letter_of("padding"): ("padding", "no gradient")}), "the reason is not"),
            (
                diagnosis({letter_of("frozen layer"): ("no gradient", "frozen layer")}),
                "the fault comes first",
            ),
            (diagnosis({letter_of("leak"): ("bug", "gap")}), "is no fault"),
            (diagnosis({letter_of("leak"): "leak"}), "return two texts"),
            (
                diagnosis({letter_of("rate too high"): ("frozen layer", "no gradient")}),
                "some part would have a gradient",
            ),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
