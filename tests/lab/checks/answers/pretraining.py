"""Answers to the exercises of lesson 10, written from their statements alone."""

import math

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- adamw_step ---


def adamw_by_torch(theta, grad, m, v, t, lr, weight_decay):
    parameter = torch.nn.Parameter(theta.clone())
    optimizer = torch.optim.AdamW([parameter], lr, (0.9, 0.95), 1e-8, weight_decay)
    parameter.grad = grad.clone()
    optimizer.state[parameter] = {
        "step": torch.tensor(float(t - 1)),
        "exp_avg": m.clone(),
        "exp_avg_sq": v.clone(),
    }
    optimizer.step()
    state = optimizer.state[parameter]
    return parameter.detach(), state["exp_avg"], state["exp_avg_sq"]


class AdamWStep:
    b1, b2, eps = 0.9, 0.95, 1e-8

    def __call__(self, theta, grad, m, v, t, lr, weight_decay):
        theta, grad, m, v = (np.asarray(a, dtype=np.float64) for a in (theta, grad, m, v))
        m = self.b1 * m + (1 - self.b1) * grad
        v = self.b2 * v + (1 - self.b2) * grad * grad
        step = (m / (1 - self.b1**t)) / (np.sqrt(v / (1 - self.b2**t)) + self.eps)
        return theta - lr * (weight_decay * theta + step), m, v


def adamw_by_lerp(theta, grad, m, v, t, lr, weight_decay):
    m, v = m.lerp(grad, 0.1), v.lerp(grad.square(), 0.05)
    typical = v.div(1 - 0.95**t).sqrt().add(1e-8)
    shrunk = theta.mul(1 - lr * weight_decay)
    return [shrunk.addcdiv(m / (1 - 0.9**t), typical, value=-lr), m, v]


def adamw(theta, grad, m, v, t, lr, weight_decay, betas=(0.9, 0.95), held=None):
    b1, b2 = betas
    m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad**2
    held_m, held_v = held or (1 - b1**t, 1 - b2**t)
    step = m / held_m / ((v / held_v).sqrt() + 1e-8)
    return theta - lr * weight_decay * theta - lr * step, m, v


def adamw_uncorrected(*given):
    return adamw(*given, held=(1, 1))


def adamw_m_alone_corrected(theta, grad, m, v, t, lr, weight_decay):
    return adamw(theta, grad, m, v, t, lr, weight_decay, held=(1 - 0.9**t, 1))


def adamw_from_zero(theta, grad, m, v, t, lr, weight_decay):
    return adamw(
        theta, grad, m, v, t, lr, weight_decay, held=(1 - 0.9 ** (t + 1), 1 - 0.95 ** (t + 1))
    )


def adamw_returns_corrected(theta, grad, m, v, t, lr, weight_decay):
    theta, m, v = adamw(theta, grad, m, v, t, lr, weight_decay)
    return theta, m / (1 - 0.9**t), v / (1 - 0.95**t)


def adam_with_decay_in_the_gradient(theta, grad, m, v, t, lr, weight_decay):
    return adamw(theta, grad + weight_decay * theta, m, v, t, lr, 0.0)


def adamw_decay_last(theta, grad, m, v, t, lr, weight_decay):
    theta, m, v = adamw(theta, grad, m, v, t, lr, 0.0)
    return theta * (1 - lr * weight_decay), m, v


def adamw_eps_inside(theta, grad, m, v, t, lr, weight_decay):
    m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad**2
    step = m / (1 - 0.9**t) / (v / (1 - 0.95**t) + 1e-8).sqrt()
    return theta - lr * weight_decay * theta - lr * step, m, v


def adamw_usual_factors(*given):
    return adamw(*given, betas=(0.9, 0.999))


def adamw_decay_without_lr(theta, grad, m, v, t, lr, weight_decay):
    new, m, v = adamw(theta, grad, m, v, t, lr, 0.0)
    return new - weight_decay * theta, m, v


def adamw_no_decay(theta, grad, m, v, t, lr, weight_decay):
    return adamw(theta, grad, m, v, t, lr, 0.0)


def adamw_uphill(theta, grad, m, v, t, lr, weight_decay):
    new, m, v = adamw(theta, grad, m, v, t, -lr, -weight_decay)
    return new, m, v


def adamw_no_root(theta, grad, m, v, t, lr, weight_decay):
    m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad**2
    step = m / (1 - 0.9**t) / (v / (1 - 0.95**t) + 1e-8)
    return theta - lr * weight_decay * theta - lr * step, m, v


def adamw_swapped_weights(*given):
    return adamw(*given, betas=(0.1, 0.05))


def adamw_in_place(theta, grad, m, v, t, lr, weight_decay):
    m.mul_(0.9).add_(grad, alpha=0.1)
    v.mul_(0.95).addcmul_(grad, grad, value=0.05)
    step = m / (1 - 0.9**t) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    return theta - lr * weight_decay * theta - lr * step, m, v


def adamw_old_averages(theta, grad, m, v, t, lr, weight_decay):
    step = m / (1 - 0.9**t) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad**2
    return theta - lr * weight_decay * theta - lr * step, m, v


def adamw_theta_alone(*given):
    return adamw(*given)[0]


ADAMW_STEP = Answers(
    right=[adamw_by_torch, AdamWStep(), adamw_by_lerp],
    wrong=[
        Slip(
            adamw_uncorrected,
            "nothing is corrected",
            r"correct|hold|1 - 0\.9|share",
            r"decay|\beps|in place",
        ),
        Slip(
            adamw_m_alone_corrected,
            "v is not corrected",
            r"\bv\b|square|both|0\.95",
            r"decay|\beps|in place|neither",
        ),
        Slip(
            adamw_from_zero,
            "steps are counted from 0",
            r"t \+ 1|\bt\b|from 0|first step|number of the step|count",
            r"decay|\beps|in place|not corrected",
        ),
        Slip(
            adamw_returns_corrected,
            "the corrected averages are returned",
            r"return|come back|kept|keep|corrected",
            r"decay|\beps|in place",
        ),
        Slip(
            adam_with_decay_in_the_gradient,
            "weight decay in the gradient",
            r"gradient|decay|decoupl|L2",
            r"\beps|in place|correct",
        ),
        Slip(
            adamw_decay_last,
            "decay of the parameter after the step",
            r"before|after|old|decay",
            r"\beps|in place|correct|in the gradient",
        ),
        Slip(
            adamw_eps_inside, "eps under the root", r"\beps|1e-8|root", r"decay|in place|corrected"
        ),
        Slip(
            adamw_usual_factors,
            "0.999 for v",
            r"0\.95|0\.999|factor",
            r"decay|\beps|in place|not corrected",
        ),
        Slip(
            adamw_decay_without_lr,
            "decay without the learning rate",
            r"decay|lr",
            r"\beps|in place|correct|in the gradient|after the step",
        ),
        Slip(
            adamw_no_decay, "no weight decay", r"decay", r"\beps|in place|correct|in the gradient"
        ),
        Slip(
            adamw_uphill,
            "the step is added",
            r"add|uphill|minus|sign|subtract|against|wrong (way|direction)|less",
            r"decay|\beps|in place|correct",
        ),
        Slip(adamw_no_root, "divided by v, no root", r"root|sqrt|√", r"decay|\beps|in place"),
        Slip(
            adamw_swapped_weights,
            "0.1 of the old average, 0.9 of the gradient",
            r"factor|0\.9|swap|exchang|old|new",
            r"decay|\beps|in place|not corrected",
        ),
        Slip(
            adamw_in_place,
            "m and v are changed in place",
            r"argument|chang|in place|new tensors",
            r"decay|\beps|correct",
        ),
        Slip(
            adamw_old_averages,
            "the step is taken with the old averages",
            r"old|new|before|updat|first",
            r"\beps|in place|not corrected",
        ),
        Slip(
            adamw_theta_alone,
            "theta alone comes back",
            r"three|tuple|m, v|\(theta|return",
            r"\beps|in place|correct",
        ),
    ],
)

# --- newton_schulz ---

A1, A3, A5 = 3.4445, -4.775, 2.0315


def schulz_by_svd(G, steps):
    U, S, Vh = torch.linalg.svd(G.double(), full_matrices=False)
    S = S / S.square().sum().sqrt()
    for _ in range(steps):
        S = A1 * S + A3 * S**3 + A5 * S**5
    return U @ torch.diag(S) @ Vh


def schulz_in_numpy(G, steps):
    X = np.asarray(G, dtype=np.float64)
    X = X / np.sqrt((X**2).sum())
    for _ in range(steps):
        A = np.dot(X, X.T)
        X = A1 * X + (A3 * A + A5 * np.dot(A, A)) @ X
    return X


def schulz_recursive(G, steps):
    if steps == 0:
        return G / torch.linalg.matrix_norm(G)
    X = schulz_recursive(G, steps - 1)
    gram = X.T @ X  # A X = X (X' X)
    return A1 * X + A3 * X @ gram + A5 * X @ gram @ gram


def schulz(X, steps, product=lambda X: X @ X.T, coefficients=(A1, A3, A5)):
    a, b, c = coefficients
    for _ in range(steps):
        A = product(X)
        X = a * X + b * A @ X + c * A @ A @ X
    return X


def schulz_fixed_gram(G, steps):
    X = G / G.norm()
    A = X @ X.T
    for _ in range(steps):
        X = A1 * X + A3 * A @ X + A5 * A @ A @ X
    return X


def schulz_of_numbers(G, steps):
    X = G / G.norm()
    for _ in range(steps):
        X = A1 * X + A3 * X**3 + A5 * X**5
    return X


def schulz_in_place(G, steps):
    G /= G.norm()
    return schulz(G, steps)


def schulz_without_last_x(G, steps):
    X = G / G.norm()
    for _ in range(steps):
        A = X @ X.T
        X = A1 * X + A3 * A @ X + A5 * A @ X
    return X


def schulz_normed_each_round(G, steps):
    X = G / G.norm()
    for _ in range(steps):
        X = schulz(X / X.norm(), 1)
    return X


def schulz_normed_by_rows(G, steps):
    return schulz(G / G.norm(dim=1, keepdim=True), steps)


NEWTON_SCHULZ = Answers(
    right=[schulz_by_svd, schulz_in_numpy, schulz_recursive],
    wrong=[
        Slip(
            lambda G, steps: schulz(G, steps),
            "not divided by the norm",
            r"norm|divid",
            r"transpos|number by number|in place",
        ),
        Slip(
            lambda G, steps: schulz(G / torch.linalg.matrix_norm(G, 2), steps),
            "divided by the spectral norm",
            r"spectral|largest singular|frobenius|root of the sum",
            r"transpos|number by number|in place|not divided",
        ),
        Slip(
            lambda G, steps: schulz(G / G.square().sum(), steps),
            "divided by the sum of squares, no root",
            r"root|square",
            r"transpos|number by number|in place|not divided",
        ),
        Slip(
            lambda G, steps: schulz(G / G.abs().max(), steps),
            "divided by the largest number",
            r"norm|largest",
            r"transpos|number by number|in place|not divided",
        ),
        Slip(
            schulz_normed_by_rows,
            "each row divided by its own norm",
            r"row|whole|all|one number|frobenius",
            r"transpos|number by number|in place|not divided",
        ),
        Slip(
            schulz_fixed_gram,
            "A is computed once",
            r"each round|every round|once|anew|again|in the loop",
            r"transpos|norm|in place",
        ),
        Slip(
            schulz_of_numbers,
            "powers number by number",
            r"element|number by number|each number|entry|matrix product|\*\*|@",
            r"transpos|norm|in place",
        ),
        Slip(
            lambda G, steps: schulz(G / G.norm(), steps + 1),
            "one round too many",
            r"round|steps|too many",
            r"transpos|norm|in place",
        ),
        Slip(
            lambda G, steps: schulz(G / G.norm(), 5),
            "always five rounds",
            r"round|steps|five|5",
            r"transpos|norm|in place|too many",
        ),
        Slip(
            lambda G, steps: schulz(G / G.norm(), steps, coefficients=(A1, -A3, A5)),
            "4.775 is added",
            r"sign|minus|subtract|4\.775|taken off|added",
            r"transpos|norm|in place",
        ),
        Slip(
            lambda G, steps: schulz(G / G.norm(), steps, product=lambda X: X.T @ X),
            "A is X transposed times X",
            r"transpos|X\.T|shape|2 by|size|@",
            r"norm|in place",
        ),
        Slip(
            lambda G, steps: schulz(G / G.norm(), steps, product=lambda X: X * X),
            "A is X times X number by number",
            r"element|number by number|each number|matrix product|@|shape|mat",
            r"norm|in place",
        ),
        Slip(
            schulz_without_last_x,
            "A instead of A squared in the last term",
            r"square|A\^2|A²|A @ A|last term|third term|2\.0315|A twice|fifth",
            r"transpos|norm|in place",
        ),
        Slip(
            schulz_normed_each_round,
            "divided by the norm in every round",
            r"every round|each round|once|only (at|before)|again",
            r"transpos|in place|not divided",
        ),
        Slip(
            schulz_in_place, "G is divided in place", r"argument|chang|in place", r"transpos|round"
        ),
        Slip(
            lambda G, steps: schulz(G / G.norm(), steps, coefficients=(15 / 8, -10 / 8, 3 / 8)),
            "the coefficients of the quintic iteration that converges",
            r"coefficient|3\.4445",
            r"transpos|norm|in place|round",
        ),
        Slip(
            lambda G, steps: schulz((G.T if len(G) > len(G.T) else G) / G.norm(), steps),
            "a tall matrix comes back transposed",
            r"transpos|shape",
            r"norm|in place|rounds? too",
        ),
    ],
)

# --- wsd_rate ---


class WSDRate:
    def __call__(self, step, steps, peak, warmup, decay):
        if step > steps - decay:
            return min(peak, self.up(step, peak, warmup), (steps + 1 - step) * peak / decay)
        return self.up(step, peak, warmup)

    def up(self, step, peak, warmup):
        return peak * step / warmup if step < warmup else peak


def rate_by_table(step, steps, peak, warmup, decay):
    up = [k / warmup for k in range(1, warmup)] + [1.0] * steps
    down = ([k / decay for k in range(1, decay)] + [1.0] * steps)[:steps][::-1]
    return [peak * min(pair) for pair in zip(up[:steps], down, strict=True)][step - 1]


def rate_in_torch(step, steps, peak, warmup, decay):
    shares = torch.tensor([step / warmup, (steps - step + 1) / decay], dtype=torch.float64)
    return peak * shares.min().clamp(max=1)


def wsd(step, steps, peak, warmup, decay, up=0, down=1):
    return peak * min(1.0, (step + up) / warmup, (steps - step + down) / decay)


def rate_product(step, steps, peak, warmup, decay):
    return peak * min(1.0, step / warmup) * min(1.0, (steps - step + 1) / decay)


def rate_warmup_wins(step, steps, peak, warmup, decay):
    if step <= warmup:
        return peak * step / warmup
    return peak * min(1.0, (steps - step + 1) / decay)


def rate_decay_wins(step, steps, peak, warmup, decay):
    if step > steps - decay:
        return peak * (steps - step + 1) / decay
    return peak * min(1.0, step / warmup)


def rate_cosine_down(step, steps, peak, warmup, decay):
    down = min(1.0, (steps - step + 1) / decay)
    return peak * min(1.0, step / warmup, 0.5 - 0.5 * math.cos(math.pi * down))


def rate_to_a_tenth(step, steps, peak, warmup, decay):
    down = min(1.0, (steps - step + 1) / decay)
    return peak * min(1.0, step / warmup, 0.1 + 0.9 * down)


WSD_RATE = Answers(
    right=[
        WSDRate(),
        rate_by_table,
        rate_in_torch,
        lambda step, steps, peak, warmup, decay: sorted(
            [peak, peak * step / warmup, peak * (steps - step + 1) / decay]
        )[0],
    ],
    wrong=[
        Slip(
            lambda *given: wsd(*given, up=-1),
            "the first step has rate 0",
            r"first|step 1\b|warm|climb|\b0\b",
            r"overlap|last step|fall",
        ),
        Slip(
            lambda *given: wsd(*given, up=1),
            "the peak one step early",
            r"early|warm|climb|step `?warmup",
            r"overlap|last step|fall",
        ),
        Slip(
            lambda *given: wsd(*given, down=0),
            "the last step has rate 0",
            r"last|\b0\b|itself|included|\+ 1|still",
            r"overlap|warm|climb",
        ),
        Slip(
            lambda *given: wsd(*given, down=2),
            "the fall begins a step late",
            r"late|last|fall|decay",
            r"overlap|warm|climb",
        ),
        Slip(
            rate_product,
            "the ramps are multiplied where they overlap",
            r"overlap|product|multipl|lower",
            r"first step|last step",
        ),
        Slip(
            rate_warmup_wins,
            "the warm-up goes before where they overlap",
            r"overlap|lower|both",
            r"first step|last step|product|multipl",
        ),
        Slip(
            rate_decay_wins,
            "the decay goes before where they overlap",
            r"overlap|lower|both",
            r"first step|last step|product|multipl",
        ),
        Slip(
            rate_cosine_down,
            "falls by half a cosine",
            r"even|straight|cosine|linear|fall",
            r"overlap|warm|climb",
        ),
        Slip(
            rate_to_a_tenth,
            "falls to a tenth",
            r"tenth|last|fall|peak / decay|decay",
            r"overlap|warm|climb",
        ),
        Slip(
            lambda *given: wsd(*given) / given[2],
            "the share without the peak",
            r"peak|share",
            r"overlap|warm|climb|last step",
        ),
        Slip(
            lambda step, steps, peak, warmup, decay: peak * min(1.0, step / warmup, step / decay),
            "the decay counts steps from the start",
            r"decay|fall|last|left|end|remain",
            r"overlap|warm|climb",
        ),
        Slip(
            lambda step, steps, peak, warmup, decay: (
                peak * min(step / warmup, (steps - step + 1) / decay)
            ),
            "shares above 1",
            r"above|exceed|more than|higher|peak|stable|level|\b1\b",
            r"overlap|first step|last step",
        ),
        Slip(
            lambda step, steps, peak, warmup, decay: peak * min(1.0, (steps - step + 1) / decay),
            "no warm-up",
            r"warm|climb|first",
            r"overlap|last step|fall",
        ),
        Slip(
            lambda step, steps, peak, warmup, decay: peak * min(1.0, step / warmup),
            "no decay",
            r"decay|fall|last",
            r"overlap|first step|climb",
        ),
        Slip(
            lambda step, steps, peak, warmup, decay: (
                peak * min(1.0, step // warmup, (steps - step + 1) // decay)
            ),
            "shares floored by //",
            r"//|floor|whole|\b0\b|climb|even",
            r"overlap",
        ),
    ],
)

# --- accumulated_gradient ---


def gradient_by_backward(loss_sum, theta, parts):
    leaf = theta.detach().clone().requires_grad_(True)
    count = 0
    for part in parts:
        total, n = loss_sum(leaf, part)
        if n:
            total.backward()
            count += n
    return leaf.grad / count


def gradient_in_double(loss_sum, theta, parts):
    pairs = []
    for part in parts:
        total, n = loss_sum(theta, part)
        pairs.append((torch.autograd.grad(total, theta)[0].double(), n))
        del total
    return (sum(gradient for gradient, _ in pairs) / sum(n for _, n in pairs)).to(theta.dtype)


class RunningMean:
    def __call__(self, loss_sum, theta, parts):
        mean, seen = torch.zeros_like(theta), 0
        for part in parts:
            total, n = loss_sum(theta, part)
            if n == 0:
                continue
            (grad,) = torch.autograd.grad(total, [theta])
            seen += n
            mean = mean + (grad - n * mean) / seen
        return mean


def gradients(loss_sum, theta, parts):
    for part in parts:
        total, n = loss_sum(theta, part)
        yield torch.autograd.grad(total, theta)[0], n


def gradient_mean_of_means(loss_sum, theta, parts):
    return sum(g / n for g, n in gradients(loss_sum, theta, parts)) / len(parts)


def gradient_mean_of_means_guarded(loss_sum, theta, parts):
    return sum(g / max(n, 1) for g, n in gradients(loss_sum, theta, parts)) / len(parts)


def gradient_sum(loss_sum, theta, parts):
    return sum(g for g, _ in gradients(loss_sum, theta, parts))


def gradient_over_parts(loss_sum, theta, parts):
    return sum(g for g, _ in gradients(loss_sum, theta, parts)) / len(parts)


def gradient_sum_of_means(loss_sum, theta, parts):
    return sum(g / max(n, 1) for g, n in gradients(loss_sum, theta, parts))


def gradient_one_graph(loss_sum, theta, parts):
    pairs = [loss_sum(theta, part) for part in parts]
    total, count = sum(total for total, _ in pairs), sum(n for _, n in pairs)
    return torch.autograd.grad(total / count, theta)[0]


def gradient_graph_grows(loss_sum, theta, parts):
    all_losses, count = 0.0, 0
    for part in parts:
        total, n = loss_sum(theta, part)
        all_losses, count = all_losses + total, count + n
    return torch.autograd.grad(all_losses, theta)[0] / count


def gradient_of_the_last(loss_sum, theta, parts):
    for part in parts:
        total, n = loss_sum(theta, part)
        gradient = torch.autograd.grad(total, theta)[0] / n if n else torch.zeros_like(theta)
    return gradient


def gradient_by_last_count(loss_sum, theta, parts):
    gradient = torch.zeros_like(theta)
    for g, last in gradients(loss_sum, theta, parts):
        gradient, count = gradient + g, last
    return gradient / count


def gradient_divided_in_the_loop(loss_sum, theta, parts):
    gradient, count = torch.zeros_like(theta), 0
    for g, n in gradients(loss_sum, theta, parts):
        count += n
        gradient = (gradient + g) / max(count, 1)
    return gradient


def gradient_into_theta(loss_sum, theta, parts):
    count = 0
    for part in parts:
        total, n = loss_sum(theta, part)
        total.backward()
        count += n
    return theta.grad / count


def gradient_stops_at_empty(loss_sum, theta, parts):
    gradient, count = torch.zeros_like(theta), 0
    for g, n in gradients(loss_sum, theta, parts):
        if n == 0:
            break
        gradient, count = gradient + g, count + n
    return gradient / count


def gradient_counts_at_least_one(loss_sum, theta, parts):
    gradient, count = torch.zeros_like(theta), 0
    for g, n in gradients(loss_sum, theta, parts):
        gradient, count = gradient + g, count + max(n, 1)
    return gradient / count


def gradient_steps(loss_sum, theta, parts):
    gradient, count = torch.zeros_like(theta), 0
    for g, n in gradients(loss_sum, theta, parts):
        gradient, count = gradient + g, count + n
    return theta.detach() - gradient / count


ACCUMULATED_GRADIENT = Answers(
    right=[gradient_by_backward, gradient_in_double, RunningMean()],
    wrong=[
        Slip(
            gradient_mean_of_means,
            "the mean of the means",
            r"mean of|means|\bnan\b|count|weight|tokens",
            r"graph|\.grad|not divided",
        ),
        Slip(
            gradient_mean_of_means_guarded,
            "the mean of the means, empty parts guarded",
            r"mean of|means|count|weight|tokens",
            r"graph|\.grad|not divided",
        ),
        Slip(
            gradient_sum,
            "never divided",
            r"divid|sum|mean|count",
            r"graph|\.grad|mean of (the )?means|parts?' means",
        ),
        Slip(
            gradient_over_parts,
            "divided by the number of parts",
            r"number of parts|parts|tokens|count",
            r"graph|\.grad|not divided|never divided",
        ),
        Slip(
            gradient_sum_of_means,
            "the sum of the means",
            r"means|divid|count|once|tokens",
            r"graph|\.grad|not divided",
        ),
        Slip(
            gradient_one_graph,
            "all graphs are kept",
            r"graph|keep|kept|at a time|memory|at once|alive",
            r"divid|mean of|\.grad",
        ),
        Slip(
            gradient_graph_grows,
            "one sum of all losses is differentiated",
            r"graph|keep|kept|at a time|memory|at once|alive",
            r"divid|mean of|\.grad",
        ),
        Slip(
            gradient_of_the_last,
            "the last part alone",
            r"last|add|each part|every part|all parts",
            r"graph|\.grad|mean of",
        ),
        Slip(
            gradient_by_last_count,
            "divided by the count of the last part",
            r"last|count|all (the )?tokens|divid|inf|nan",
            r"graph|\.grad|mean of",
        ),
        Slip(
            gradient_divided_in_the_loop,
            "divided in the loop",
            r"once|in the loop|each part|after|end|every part|divid",
            r"graph|\.grad|mean of|never",
        ),
        Slip(
            gradient_into_theta,
            "theta.grad is written",
            r"\.grad|backward|theta|chang|argument",
            r"graph|mean of",
        ),
        Slip(
            gradient_stops_at_empty,
            "the loop ends at an empty part",
            r"empty|\b0\b|no tokens|without|after",
            r"graph|\.grad|mean of|not divided",
        ),
        Slip(
            gradient_counts_at_least_one,
            "an empty part counts as one token",
            r"empty|\b0\b|no tokens|without|counts? as",
            r"graph|\.grad|mean of|not divided",
        ),
        Slip(
            gradient_steps,
            "the parameter after a step",
            r"after a step|gradient itself",
            r"graph|mean of|not divided",
        ),
        Slip(
            lambda loss_sum, theta, parts: -gradient_in_double(loss_sum, theta, parts),
            "the gradient's negative",
            r"sign|negative|minus|downhill|opposite",
            r"graph|mean of|not divided",
        ),
    ],
)

# --- clip_gradients ---


def clip_by_torch(gradients, max_norm):
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    norm = torch.nn.utils.get_total_norm(gradients)
    if norm > max_norm:
        for parameter in parameters:
            parameter.grad *= max_norm / norm
    return [parameter.grad for parameter in parameters]


def clip_by_loops(gradients, max_norm):
    norm = math.sqrt(math.fsum(x * x for g in gradients for x in g.flatten().tolist()))
    if norm <= max_norm:
        return [g.clone() for g in gradients]
    return [g * (max_norm / norm) for g in gradients]


class Clip:
    def __call__(self, gradients, max_norm):
        arrays = [np.asarray(g, dtype=np.float64) for g in gradients]
        norm = np.linalg.norm([np.linalg.norm(a) for a in arrays])
        scale = 1.0 if norm == 0 else np.minimum(1, max_norm / norm)
        return tuple(a * scale for a in arrays)


def total_norm(gradients):
    return torch.cat([g.flatten() for g in gradients]).norm()


def scaled(gradients, scale):
    return [g * scale for g in gradients]


def clip_each(gradients, max_norm):
    return [g * min(1.0, max_norm / max(g.norm().item(), 1e-12)) for g in gradients]


def clip_values(gradients, max_norm):
    return [g.clamp(-max_norm, max_norm) for g in gradients]


def clip_always(gradients, max_norm):
    norm = total_norm(gradients).item()
    return scaled(gradients, max_norm / norm if norm else 1.0)


def clip_divides_by_zero(gradients, max_norm):
    return scaled(gradients, min(1.0, max_norm / total_norm(gradients).item()))


def clip_lost_at_zero(gradients, max_norm):
    norm = total_norm(gradients)
    return [g / norm * torch.minimum(norm, torch.tensor(max_norm)) for g in gradients]


def clip_in_place(gradients, max_norm):
    norm = total_norm(gradients).item()
    for g in gradients:
        g.mul_(min(1.0, max_norm / max(norm, 1e-12)))
    return gradients


def clip_without_root(gradients, max_norm):
    norm = total_norm(gradients).item() ** 2
    return scaled(gradients, min(1.0, max_norm / norm) if norm else 1.0)


def clip_sum_of_norms(gradients, max_norm):
    norm = sum(g.norm().item() for g in gradients)
    return scaled(gradients, min(1.0, max_norm / norm) if norm else 1.0)


def clip_largest_norm(gradients, max_norm):
    norm = max(g.norm().item() for g in gradients)
    return scaled(gradients, min(1.0, max_norm / norm) if norm else 1.0)


def clip_largest_number(gradients, max_norm):
    norm = max(g.abs().max().item() for g in gradients)
    return scaled(gradients, min(1.0, max_norm / norm) if norm else 1.0)


def clip_to_one(gradients, max_norm):
    norm = total_norm(gradients).item()
    return scaled(gradients, 1 / norm if norm > max_norm else 1.0)


def clip_by_max_norm(gradients, max_norm):
    norm = total_norm(gradients).item()
    return scaled(gradients, 1 / max_norm if norm > max_norm else 1.0)


def clip_flat(gradients, max_norm):
    return [g.flatten() for g in clip_by_loops(gradients, max_norm)]


def clip_returns_norm(gradients, max_norm):
    return total_norm(gradients)


def clip_drops(gradients, max_norm):
    norm = total_norm(gradients).item()
    return scaled(gradients, 0.0 if norm > max_norm else 1.0)


def clip_root_mean_square(gradients, max_norm):
    norm = torch.cat([g.flatten() for g in gradients]).square().mean().sqrt().item()
    return scaled(gradients, min(1.0, max_norm / norm) if norm else 1.0)


def clip_mean_of_norms(gradients, max_norm):
    norm = sum(g.norm().item() for g in gradients) / len(gradients)
    return scaled(gradients, min(1.0, max_norm / norm) if norm else 1.0)


CLIP_GRADIENTS = Answers(
    right=[clip_by_torch, clip_by_loops, Clip()],
    wrong=[
        Slip(
            clip_each,
            "each tensor is clipped by itself",
            r"each|own|together|one factor|by itself|all",
            r"in place|absolute|zero|longer than",
        ),
        Slip(
            clip_values,
            "each number is clamped",
            r"clamp|each number|number by number|direction|one factor|number",
            r"in place|zero",
        ),
        Slip(
            clip_always,
            "short gradients are made longer",
            r"short|longer|grow|at most 1|min|stay",
            r"in place|each tensor|zero",
        ),
        Slip(
            clip_divides_by_zero,
            "gradients of 0 divide by 0",
            r"\b0\b|zero|ZeroDivision",
            r"in place|each tensor",
        ),
        Slip(
            clip_lost_at_zero,
            "gradients of 0 become nan",
            r"\b0\b|zero|nan",
            r"in place|each tensor",
        ),
        Slip(
            clip_in_place,
            "gradients are scaled in place",
            r"argument|chang|in place",
            r"each tensor|zero",
        ),
        Slip(
            clip_without_root,
            "the norm without the root",
            r"root|square|sqrt",
            r"in place|each tensor|zero",
        ),
        Slip(
            clip_sum_of_norms,
            "the norms are added",
            r"sum of|add|norms|squares",
            r"in place|each tensor by|zero|root is",
        ),
        Slip(
            clip_largest_norm,
            "the longest tensor's norm",
            r"largest|longest|one tensor|together|all",
            r"in place|zero|sum of the norms|root is",
        ),
        Slip(
            clip_largest_number,
            "the largest number for the norm",
            r"largest|norm",
            r"in place|zero|sum of the norms|root is",
        ),
        Slip(
            clip_to_one,
            "long gradients are scaled to 1",
            r"max_norm|\b1\b",
            r"in place|each tensor|zero|sum of",
        ),
        Slip(
            clip_by_max_norm,
            "long gradients are divided by max_norm",
            r"max_norm|over|norm",
            r"in place|each tensor|zero|sum of",
        ),
        Slip(clip_flat, "shapes are lost", r"shape", r"in place|each tensor|zero|sum of"),
        Slip(
            clip_returns_norm,
            "the norm is returned",
            r"norm|list|tensors|kind|type",
            r"in place|each tensor by|sum of",
        ),
        Slip(
            clip_drops,
            "long gradients become 0",
            r"\b0\b|drop|zero|scaled|short",
            r"in place|each tensor by|sum of",
        ),
        Slip(
            clip_root_mean_square,
            "the root of the mean square",
            r"mean|sum",
            r"in place|each tensor by|zero",
        ),
        Slip(
            clip_mean_of_norms,
            "the mean of the norms",
            r"mean|together|norms|average",
            r"in place|each tensor by|zero",
        ),
    ],
)

# --- diagnose ---

FOUND = {
    "A": ("leak", "held-out too good"),
    "B": ("frozen layer", "no gradient"),
    "C": ("wrong shift", "only training near zero"),
    "D": ("padding", "training too good"),
    "E": ("no mask", "all near zero"),
    "F": ("rate too high", "never low"),
}


class Doctor:
    faults = dict(zip("CEABFD", [4, 0, 1, 3, 5, 2], strict=True))
    names = ("no mask", "leak", "padding", "frozen layer", "wrong shift", "rate too high")
    words = {
        "no mask": "all near zero",
        "leak": "held-out too good",
        "padding": "training too good",
        "frozen layer": "no gradient",
        "wrong shift": "only training near zero",
        "rate too high": "never low",
    }

    def __call__(self, run):
        fault = self.names[self.faults[run]]
        return fault, self.words[fault]


def diagnose_by_branches(run):
    if run == "A":
        return ["leak", "held-out too good"]
    if run in "BC":
        return ("frozen layer", "no gradient") if run == "B" else FOUND["C"]
    return FOUND[run]


def with_changes(**changes):
    return lambda run: {**FOUND, **changes}[run]


def swapped(a, b):
    return with_changes(**{a: FOUND[b], b: FOUND[a]})


DIAGNOSE = Answers(
    right=[FOUND.get, Doctor(), diagnose_by_branches],
    wrong=[
        Slip(
            swapped("C", "E"), "no mask and wrong shift exchanged", r"run [CE]\b", r"run [ABDF]\b"
        ),
        Slip(swapped("A", "D"), "leak and padding exchanged", r"run [AD]\b", r"run [BCEF]\b"),
        Slip(
            with_changes(B=("frozen layer", "gap")),
            "the frozen layer with a gap for evidence",
            r"gap|only|also|healthy|others?",
            r"run [ACDEF]\b",
        ),
        Slip(
            with_changes(F=("rate too high", "noise")),
            "noise for evidence of the high rate",
            r"noise|only|also|healthy|others?",
            r"run [ABCDE]\b",
        ),
        Slip(
            with_changes(A=("leak", "all near zero")),
            "the leak with all losses near zero",
            r"run A\b",
            r"run [BCDEF]\b is not",
        ),
        Slip(
            with_changes(D=("padding", "gap")),
            "padding with a gap for evidence",
            r"gap|only|also|healthy|others?",
            r"run [ABCEF]\b is not",
        ),
        Slip(
            swapped("B", "D"), "frozen layer and padding exchanged", r"run [BD]\b", r"run [ACEF]\b"
        ),
        Slip(
            lambda run: FOUND[run][::-1],
            "evidence before fault",
            r"order|first|exchang|swap|reverse|fault",
        ),
        Slip(lambda run: FOUND[run][0], "the fault alone", r"pair|evidence|tuple|two"),
        Slip(
            lambda run: "{}: {}".format(*FOUND[run]),
            "one text instead of a pair",
            r"pair|tuple|two|text",
        ),
        Slip(
            with_changes(E=("leak", "all near zero"), A=("no mask", "held-out too good")),
            "faults of A and E exchanged, evidence right",
            r"run [AE]\b",
            r"run [BCDF]\b",
        ),
        Slip(
            with_changes(C=("rate too high", "never low"), F=("wrong shift", "noise")),
            "wrong shift taken for a high rate",
            r"run [CF]\b",
            r"run [ABDE]\b",
        ),
        Slip(
            with_changes(B=("frozen layer", "frozen layer")),
            "an invented word for the evidence",
            r"evidence|words|printed|one of|unknown",
            r"run [ACDEF]\b is not",
        ),
        Slip(
            with_changes(D=("pad", "training too good")),
            "an invented name for a fault",
            r"fault|one of|names?|unknown",
            r"run [ABCEF]\b is not",
        ),
        Slip(
            with_changes(E=("no mask", "only training near zero")),
            "no mask with training alone near zero",
            r"run E\b",
            r"run [ABDF]\b",
        ),
    ],
)

ANSWERS = {
    "adamw_step": ADAMW_STEP,
    "newton_schulz": NEWTON_SCHULZ,
    "wsd_rate": WSD_RATE,
    "accumulated_gradient": ACCUMULATED_GRADIENT,
    "clip_gradients": CLIP_GRADIENTS,
    "diagnose": DIAGNOSE,
}
