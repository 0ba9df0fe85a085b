"""Answers to the exercises of the lesson "PyTorch in twenty minutes"."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# normalize_rows


def rows_in_a_loop(counts):
    return torch.stack([row / row.sum() for row in counts])


def rows_by_numpy(counts):
    table = np.array(counts.tolist())
    return torch.tensor(table / table.sum(axis=1)[:, None])


def rows_in_place(counts):
    counts = counts.float()
    counts /= counts.sum(-1, keepdim=True)
    return counts


def rows_by_as_many_totals_as_columns(counts):
    return counts / counts.sum(-1).reshape(counts.shape[1], 1)


def rows_of_lists(counts):
    return [[number / sum(row) for number in row] for row in counts.tolist()]


# weighted_sum


def sum_in_loops(weights, values):
    (B, T, S), C = weights.shape, values.shape[-1]
    result = torch.zeros(B, T, C, dtype=values.dtype)
    for b in range(B):
        for t in range(T):
            for s in range(S):
                result[b, t] += weights[b, t, s] * values[b, s]
    return result


class BroadcastSum:
    """Multiply by broadcasting, then sum."""

    def __call__(self, weights, values):
        return (weights[..., None] * values[:, None]).sum(2)


def sum_of_viewed_values(weights, values):
    B, S, C = values.shape
    return torch.einsum("bts,bcs->btc", weights, values.reshape(B, C, S))


def sum_of_the_first_sequence(weights, values):
    return weights @ values[0]


def sum_of_the_largest(weights, values):
    largest = weights.argmax(-1, keepdim=True)
    picked = values.gather(1, largest.expand(-1, -1, values.shape[-1]))
    return picked * weights.amax(-1, keepdim=True)


# neuron_gradient


def gradient_by_hand(w, b, x, target):
    y = math.tanh(w * x + b)
    dz = 2 * (y - target) * (1 - y**2)
    return dz * x, dz


def gradient_by_autograd(w, b, x, target):
    w, b = (torch.tensor(float(n), dtype=torch.float64, requires_grad=True) for n in (w, b))
    loss = (torch.tanh(w * x + b) - target) ** 2
    return tuple(g.item() for g in torch.autograd.grad(loss, (w, b)))


class GradientByDifferences:
    """Central differences, near enough in float64."""

    def __call__(self, w, b, x, target):
        def loss(w, b):
            return (math.tanh(w * x + b) - target) ** 2

        eps = 1e-6
        return [
            (loss(w + eps, b) - loss(w - eps, b)) / (2 * eps),
            (loss(w, b + eps) - loss(w, b - eps)) / (2 * eps),
        ]


def gradient_by(slope, error=lambda y, target: 2 * (y - target)):
    """A neuron's gradient with another slope of tanh, or another derivative of the loss."""

    def gradient(w, b, x, target):
        z = w * x + b
        dz = error(math.tanh(z), target) * slope(z, math.tanh(z))
        return dz * x, dz

    return gradient


def gradient_of(last):
    """A neuron's gradient with other last factors of dL/dw and dL/db."""

    def gradient(w, b, x, target):
        dz = gradient_by_hand(w, b, x, target)[1]
        return last(dz, w, b, x)

    return gradient


def gradient_without_bias(w, b, x, target):
    return gradient_by_hand(w, 0.0, x, target)


def gradient_by_coarse_differences(w, b, x, target):
    def loss(w, b):
        return (math.tanh(w * x + b) - target) ** 2

    eps = 0.05
    return (loss(w + eps, b) - loss(w, b)) / eps, (loss(w, b + eps) - loss(w, b)) / eps


def gradient_of_relu(w, b, x, target):
    z = w * x + b
    dz = 2 * (max(z, 0.0) - target) * (z > 0)
    return dz * x, dz


# gradient_descent


def descent_by_backward(loss_fn, start, lr, steps):
    w = start.detach().clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descent_by_new_tensors(loss_fn, start, lr, steps):
    w = start.detach().clone()
    for _ in range(steps):
        w = w.requires_grad_()
        (gradient,) = torch.autograd.grad(loss_fn(w), w)
        w = (w - lr * gradient).detach()
    return w


def descent_by_recursion(loss_fn, start, lr, steps):
    if steps == 0:
        return start.detach().clone()
    w = torch.empty_like(start, requires_grad=True)
    w.data.copy_(start.data)
    loss_fn(w).backward()
    return descent_by_recursion(loss_fn, w.data.sub(w.grad, alpha=lr), lr, steps - 1)


def descent_of_summed_gradients(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_fn(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descent_of_start_itself(loss_fn, start, lr, steps):
    w = start.detach().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descent_recorded(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        w.grad = None
        loss_fn(w).backward()
        w -= lr * w.grad
    return w.detach()


def descent_of_a_formula(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    for _ in range(steps):
        loss_fn(w).backward()
        w = w - lr * w.grad
    return w.detach()


def ascent(loss_fn, start, lr, steps):
    return descent_by_backward(loss_fn, start, -lr, steps)


def descent_not_detached(loss_fn, start, lr, steps):
    return descent_by_backward(loss_fn, start, lr, steps).requires_grad_()


def descent_short_by_one(loss_fn, start, lr, steps):
    w = start.clone()
    for _ in range(1, steps):
        w = descent_by_backward(loss_fn, w, lr, 1)
    return w


def descent_long_by_one(loss_fn, start, lr, steps):
    return descent_by_backward(loss_fn, start, lr, steps + 1)


def descent_of_the_first_gradient(loss_fn, start, lr, steps):
    w = start.clone().requires_grad_()
    loss_fn(w).backward()
    for _ in range(steps):
        with torch.no_grad():
            w -= lr * w.grad
    return w.detach()


def descent_to_the_loss(loss_fn, start, lr, steps):
    return loss_fn(descent_by_backward(loss_fn, start, lr, steps)).detach()


def descent_by_optimizer(loss_fn, start, lr, steps):
    w = start.detach().clone().requires_grad_()
    optimizer = torch.optim.SGD([w], lr=lr)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_fn(w).backward()
        optimizer.step()
    return w.detach()


def descent_without_learning_rate(loss_fn, start, lr, steps):
    return descent_by_backward(loss_fn, start, 1.0, steps)


def descent_without_copy_at_zero(loss_fn, start, lr, steps):
    if steps == 0:
        return start
    return descent_by_backward(loss_fn, start, lr, steps)


def descent_to_the_best(loss_fn, start, lr, steps):
    w = best = start.clone()
    for _ in range(steps):
        w = descent_by_backward(loss_fn, w, lr, 1)
        if loss_fn(w) < loss_fn(best):
            best = w
    return best


# next_char_loss


def char_loss_by_gather(table, ids):
    rows = table[ids[:-1]].log_softmax(-1)
    return -rows.gather(-1, ids[1:, None]).mean() / math.log(2)


def char_loss_in_a_loop(table, ids):
    table, ids, bits = table.tolist(), ids.tolist(), []
    for current, following in zip(ids[:-1], ids[1:], strict=True):
        largest = max(table[current])
        total = sum(math.exp(logit - largest) for logit in table[current])
        bits.append((largest - table[current][following] + math.log(total)) / math.log(2))
    return sum(bits) / len(bits)


def char_loss_without_shift(table, ids):
    return F.cross_entropy(table[ids], ids) / math.log(2)


def char_loss_down_the_columns(table, ids):
    return -(table.log_softmax(0)[ids[:-1], ids[1:]]).mean() / math.log(2)


def char_loss_by_log_of_softmax(table, ids):
    return -table.softmax(-1)[ids[:-1], ids[1:]].log2().mean()


def char_loss_by_exp(table, ids):
    powers = table.exp()
    probabilities = powers / powers.sum(-1, keepdim=True)
    return -probabilities[ids[:-1], ids[1:]].log2().mean()


def char_loss_by_one_hot(table, ids):
    wanted = F.one_hot(ids[1:], table.shape[-1])
    return -(wanted * table[ids[:-1]].log_softmax(-1)).sum(-1).mean() / math.log(2)


def char_loss_of_probabilities(table, ids):
    return F.cross_entropy(table.softmax(-1)[ids[:-1]], ids[1:]) / math.log(2)


def char_loss_of_average(table, ids):
    return -table.softmax(-1)[ids[:-1], ids[1:]].mean().log2()


def char_loss_over_all_ids(table, ids):
    return char_loss_by_gather(table, ids) * (len(ids) - 1) / len(ids)


ANSWERS = {
    "normalize_rows": Answers(
        right=[
            lambda counts: torch.einsum("rc,r->rc", counts.double(), 1 / counts.double().sum(1)),
            rows_in_a_loop,
            rows_by_numpy,
            lambda counts: (counts.T / counts.sum(1)).T,
        ],
        wrong=[
            Slip(
                lambda counts: counts / counts.sum(-1),
                "totals laid along the columns: no keepdim",
                r"keepdim|beside|broadcast|along the columns|\(rows, 1\)",
            ),
            Slip(
                lambda counts: counts / counts.sum(0, keepdim=True), "columns sum to 1", r"column"
            ),
            Slip(
                lambda counts: counts / counts.sum(),
                "divided by the total of the table",
                r"whole|all (the )?numbers|entire|total of the table|everything",
            ),
            Slip(
                rows_in_place,
                "changes a table of floats in place",
                r"in place|argument|new tensor|changed|overw",
            ),
            Slip(lambda counts: counts.float().softmax(-1), "softmax", r"softmax|\bexp"),
            Slip(
                lambda counts: counts // counts.sum(-1, keepdim=True),
                "whole-number division",
                r"//|whole|integer|float",
            ),
            Slip(
                lambda counts: counts / counts.max(-1, keepdim=True).values,
                "divided by the largest of the row",
                r"largest|\bmax|\bsums?\b|total",
            ),
            Slip(
                lambda counts: F.normalize(counts.float(), dim=-1),
                "divided by the length of the row",
                r"square|norm\b|length|L2|Euclid",
            ),
            Slip(
                rows_by_as_many_totals_as_columns,
                "square tables only",
                r"square|shape|as many|rows",
            ),
            Slip(
                lambda counts: (counts + 1) / (counts + 1).sum(-1, keepdim=True),
                "one added to every count",
                r"count of 0|zero|smooth|add",
            ),
            Slip(rows_of_lists, "lists instead of a tensor", r"tensor|list"),
        ],
    ),
    "weighted_sum": Answers(
        right=[lambda weights, values: weights @ values, sum_in_loops, BroadcastSum()],
        wrong=[
            Slip(
                lambda weights, values: torch.einsum("bts,btc->bsc", weights, values),
                "summed over t: the weights' axes swapped",
                r"transpos|swap|\baxis|axes|over t\b|over s\b|letter|T and S|t and s",
            ),
            Slip(
                lambda weights, values: weights.softmax(-1) @ values,
                "softmax of the weights",
                r"softmax|as they are|normal|sum to 1",
            ),
            Slip(
                lambda weights, values: torch.einsum("bts,bsc->tc", weights, values),
                "batch summed away",
                r"batch|sequence|shape|\bb\b",
            ),
            Slip(
                lambda weights, values: weights @ values / weights.sum(-1, keepdim=True),
                "divided by the sum of the weights",
                r"divid|as they are|normal|sum to 1",
                r"softmax of|over S\b|mean",
            ),
            Slip(
                sum_of_the_first_sequence,
                "values of the first sequence everywhere",
                r"batch|sequence b|first sequence|of the first",
            ),
            Slip(
                lambda weights, values: torch.einsum("bts,asc->btc", weights, values),
                "values summed over the batch",
                r"batch|sequence",
            ),
            Slip(
                lambda weights, values: torch.einsum("bts,buc->btc", weights, values),
                "both summed on their own before the product",
                r"separate|on its own|on their own|each for|same (letter|s\b)|pair|before",
            ),
            Slip(
                lambda weights, values: torch.einsum("bts,bsc->bct", weights, values),
                "result transposed",
                r"shape|transpos|order|swap",
            ),
            Slip(
                sum_of_viewed_values,
                "values viewed where they should be transposed",
                r"view|reshape|mix|values.*axes",
                r"channels of",
            ),
            Slip(
                lambda weights, values: weights.tril() @ values,
                "the weights of later inputs set to 0",
                r"causal|triang|later|tril|mask|future",
            ),
            Slip(
                lambda weights, values: weights @ values / weights.shape[-1],
                "mean instead of sum",
                r"mean|averag|divid",
                r"sum of the weights|sum to 1",
            ),
            Slip(
                sum_of_the_largest,
                "the largest weight alone",
                r"largest|\bmax|only one|one input|every input|all inputs",
            ),
        ],
    ),
    "neuron_gradient": Answers(
        right=[gradient_by_hand, gradient_by_autograd, GradientByDifferences()],
        wrong=[
            Slip(gradient_by(lambda z, y: 1), "derivative of tanh forgotten", r"tanh|1 ?[-−] ?y"),
            Slip(
                gradient_of(lambda dz, w, b, x: (dz, dz * x)),
                "the two in the other order",
                r"order|swap|other way|first",
            ),
            Slip(
                gradient_by(lambda z, y: 1 - y * y, lambda y, target: y - target),
                "factor 2 forgotten",
                r"\b2\b|half|twice|square",
                r"minus|\bsign\b",
            ),
            Slip(
                gradient_by(lambda z, y: 1 - y * y, lambda y, target: 2 * (target - y)),
                "sign",
                r"\bsign\b|minus|negative|target [-−] y|y [-−] target",
                r"\bhalf\b|factor 2",
            ),
            Slip(
                gradient_by(lambda z, y: 1 - z * z),
                "1 - z² in place of 1 - y²",
                r"1 ?[-−] ?y|of z|z ?\*|z²|tanh\(z\)|z instead",
                r"forg[eo]t|missing|left out",
            ),
            Slip(
                gradient_of(lambda dz, w, b, x: (dz, dz)),
                "dL/dw without x",
                r"\bx\b",
                r"times w|swap",
            ),
            Slip(
                gradient_of(lambda dz, w, b, x: (dz * x, dz * b)),
                "dL/db times b",
                r"times b|not b\b|factor",
            ),
            Slip(
                gradient_of(lambda dz, w, b, x: (dz * w, dz)),
                "dL/dw times w instead of x",
                r"is x\b|by x\b|times w|not w\b",
            ),
            Slip(
                gradient_by(lambda z, y: 1 - y),
                "1 - y in place of 1 - y²",
                r"1 ?[-−] ?y|square|tanh",
                r"forg[eo]t|missing|left out",
            ),
            Slip(
                gradient_without_bias, "b left out of z", r"b is|bias|\+ ?b\b|without b|forg[eo]t"
            ),
            Slip(
                gradient_by_coarse_differences,
                "differences over too large a step",
                r"differenc|close|near|approx|precis|exact|accura",
            ),
            Slip(gradient_of_relu, "relu in place of tanh", r"relu|tanh"),
        ],
    ),
    "gradient_descent": Answers(
        right=[descent_by_backward, descent_by_new_tensors, descent_by_recursion],
        wrong=[
            Slip(
                descent_of_summed_gradients,
                "gradients not emptied",
                r"empt|zero|accumul|adds?\b|add up|grad = None|earlier",
                r"momentum",
            ),
            Slip(descent_recorded, "the step is recorded", r"no_grad|record|leaf"),
            Slip(
                descent_of_a_formula,
                "w becomes a formula that has no gradient",
                r"leaf|\.grad|formula|new tensor|None",
            ),
            Slip(descent_of_start_itself, "start is moved", r"start|copy|clone"),
            Slip(ascent, "uphill", r"\bsign\b|against|uphill|ascent|direction|-=|subtract|adds"),
            Slip(descent_not_detached, "not detached", r"detach|requires_grad"),
            Slip(descent_short_by_one, "one step too few", r"\bstep|too few|how many"),
            Slip(descent_long_by_one, "one step too many", r"\bsteps|too many|how many"),
            Slip(
                descent_of_the_first_gradient,
                "the gradient at the start in every step",
                r"once|again|each step|every step|anew|at the start|same gradient|first gradient",
                r"not emptied|accumul",
            ),
            Slip(
                descent_to_the_loss, "the loss instead of the parameters", r"loss|parameters|shape"
            ),
            Slip(descent_by_optimizer, "an optimizer from torch.optim", r"optim"),
            Slip(
                descent_without_learning_rate,
                "learning rate ignored",
                r"\blr\b|learning rate|times",
            ),
            Slip(
                descent_without_copy_at_zero,
                "start itself after 0 steps",
                r"copy|itself|same tensor|clone",
            ),
            Slip(descent_to_the_best, "the best instead of the last", r"best|last|exactly|lowest"),
        ],
    ),
    "next_char_loss": Answers(
        right=[
            lambda table, ids: F.cross_entropy(table.double()[ids[:-1]], ids[1:]) / math.log(2),
            char_loss_by_gather,
            char_loss_in_a_loop,
        ],
        wrong=[
            Slip(
                lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]),
                "nats",
                r"\bnat|natural|ln 2|log\(2\)|log2|log₂",
            ),
            Slip(
                char_loss_without_shift,
                "every character predicts itself",
                r"shift|itself|same (id|character)",
            ),
            Slip(
                char_loss_down_the_columns,
                "softmax down the columns",
                r"column|along the row|each row|\bdim|axis",
            ),
            Slip(
                char_loss_by_log_of_softmax,
                "log of softmax: infinite for large logits",
                r"underflow|round\w* to 0|log(arithm)? of 0|log\(0\)|too small|so small",
                r"overflow|NaN",
            ),
            Slip(
                char_loss_by_exp,
                "exp of large logits",
                r"overflow|large|thousand|\bexp\b|log.?softmax|\bnan\b",
            ),
            Slip(char_loss_by_one_hot, "0 times minus infinity", r"infinit|-inf|nan|pick"),
            Slip(
                char_loss_of_probabilities, "softmax twice", r"softmax|twice|logits", r"nats|column"
            ),
            Slip(
                lambda table, ids: F.cross_entropy(table[ids[1:]], ids[:-1]) / math.log(2),
                "the next character predicts the one before",
                r"swap|other way|before|previous|backward|inputs?\b.*targets?|order",
            ),
            Slip(
                lambda table, ids: -char_loss_by_gather(table, ids),
                "sign",
                r"\bsign\b|negative|minus",
            ),
            Slip(
                lambda table, ids: char_loss_by_gather(table, ids) * (len(ids) - 1),
                "sum instead of average",
                r"\bsum|averag|mean|divid",
            ),
            Slip(
                char_loss_over_all_ids,
                "divided by the number of ids",
                r"one (less|fewer|prediction)|n ?[-−] ?1|how many|pairs|len\(ids\)|divid",
            ),
            Slip(
                lambda table, ids: F.cross_entropy(table.T[ids[:-1]], ids[1:]) / math.log(2),
                "the table transposed",
                r"row|column|transpos|\.T\b",
            ),
            Slip(
                char_loss_of_average,
                "bits of the average probability",
                r"averag\w* (of )?(the )?probabilit|average of|before (the )?averag|mean",
            ),
            Slip(
                lambda table, ids: F.cross_entropy(table[ids[:-1]], ids[1:]) * math.log(2),
                "times ln 2",
                r"divid|ln 2|log\(2\)|log2",
            ),
        ],
    ),
}
