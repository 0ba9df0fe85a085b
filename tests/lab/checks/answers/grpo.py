"""Answers to the exercises of lesson 24, written from their statements alone."""

import math
import re
from fractions import Fraction

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- advantages_of_groups ---


def advantages_by_loops(rewards, group_size):
    out = []
    for i, reward in enumerate(rewards):
        first = i // group_size * group_size
        out.append(reward - sum(rewards[first : first + group_size]) / group_size)
    return torch.stack(out)


def advantages_by_chunks(rewards, group_size):
    return torch.cat([group - group.mean() for group in rewards.split(group_size)])


def advantages_in_numpy(rewards, group_size):
    means = np.add.reduceat(rewards.double().numpy(), np.arange(0, len(rewards), group_size))
    return rewards.double().numpy() - np.repeat(means / group_size, group_size)


def by_tables(change):
    """A table with a row per question, changed, then flat."""

    def advantages_of_groups(rewards, group_size):
        return change(rewards.view(-1, group_size)).flatten()

    return advantages_of_groups


def advantages_of_wrong_table(rewards, group_size):
    groups = rewards.view(group_size, -1)
    return (groups - groups.mean(-1, keepdim=True)).flatten()


def advantages_dealt_out(rewards, group_size):
    groups = rewards.view(group_size, -1)
    return (groups - groups.mean(0, keepdim=True)).flatten()


def advantages_in_place(rewards, group_size):
    groups = rewards.view(-1, group_size)
    groups -= groups.mean(1, keepdim=True)
    return rewards


def less_the_others(groups):
    others = (groups.sum(1, keepdim=True) - groups) / (groups.shape[1] - 1)
    return groups - others


ADVANTAGES_OF_GROUPS = Answers(
    right=[advantages_by_loops, advantages_by_chunks, advantages_in_numpy],
    wrong=[
        Slip(
            lambda rewards, group_size: rewards - rewards.mean(),
            "the mean of all answers",
            r"whole|all (answers|rewards|questions)|own (group|question)|each (group|question)",
            "deviation|sign|divid",
        ),
        Slip(
            by_tables(lambda g: (g - g.mean(1, keepdim=True)) / (g.std(1, keepdim=True) + 1e-4)),
            "divided by the standard deviation",
            r"deviation|spread|std|divid",
            "whole|sign|order",
        ),
        Slip(
            by_tables(
                lambda g: (g - g.mean(1, keepdim=True)) / (g.std(1, correction=0)[:, None] + 1e-6)
            ),
            "divided by the spread over n",
            r"deviation|spread|std|divid",
            "whole|sign|order",
        ),
        Slip(
            advantages_of_wrong_table,
            "group_size rows in place of columns",
            r"row|column|view|reshap|group_size",
            "deviation|sign",
        ),
        Slip(
            advantages_dealt_out,
            "groups dealt out, not next to each other",
            r"next to|row|column|neighbour|dealt|turn|view|interleav",
            "deviation|sign",
        ),
        Slip(
            by_tables(lambda g: g - g.mean(0, keepdim=True)),
            "less the means of the columns",
            r"row|column|axis|across|dim",
            "deviation|sign",
        ),
        Slip(
            by_tables(lambda g: g.mean(1, keepdim=True) - g),
            "the mean less the reward",
            r"sign|mean less|less the reward|other way|turned|worse|better|negat",
            "whole|deviation",
        ),
        Slip(
            lambda rewards, n: rewards.view(-1, n) - rewards.view(-1, n).mean(1, keepdim=True),
            "a table, not flattened",
            r"shape|flat|table",
            "deviation|sign|whole",
        ),
        Slip(
            by_tables(lambda g: g.mean(1, keepdim=True).expand_as(g)),
            "the means themselves",
            r"mean",
            "deviation|whole|sign",
        ),
        Slip(
            by_tables(less_the_others),
            "less the mean of the others",
            r"others|leav|itself|own reward|RLOO",
            "deviation|sign|whole",
        ),
        Slip(
            by_tables(lambda g: g - g.max(1, keepdim=True).values),
            "less the best of the group",
            r"best|largest|max",
            "deviation|sign|whole",
        ),
        Slip(
            by_tables(lambda g: (g - g.mean(1, keepdim=True)).T),
            "flattened in the other direction",
            r"order|transpos|column",
            "deviation|sign|whole",
        ),
        Slip(
            advantages_in_place,
            "rewards overwritten",
            r"argument|chang|in place|leave",
            "deviation|sign|whole",
        ),
    ],
)

# --- clipped_objective ---


def objective_by_where(log_probs, old_log_probs, advantages, low, high):
    ratio = torch.exp(log_probs) / torch.exp(old_log_probs)
    above = torch.where(ratio > 1 + high, torch.full_like(ratio, 1 + high), ratio)
    below = torch.where(ratio < 1 - low, torch.full_like(ratio, 1 - low), ratio)
    return torch.where(advantages > 0, above, below) * advantages


def objective_by_lists(log_probs, old_log_probs, advantages, low, high):
    gains = []
    rows = zip(log_probs.flatten(), old_log_probs.flatten(), strict=True)
    wide = torch.broadcast_to(advantages, log_probs.shape).flatten()
    for (new, old), advantage in zip(rows, wide, strict=True):
        ratio = (new - old).exp()
        clipped = min(max(ratio, 1 - low), 1 + high)
        gains.append(min(ratio * advantage, clipped * advantage))
    return torch.stack([torch.as_tensor(gain) for gain in gains]).view(log_probs.shape)


def objective_as_loss(log_probs, old_log_probs, advantages, low, high):
    ratio = torch.exp(log_probs - old_log_probs)
    losses = torch.stack([-advantages * ratio, -advantages * ratio.clip(1 - low, 1 + high)])
    return -losses.amax(0)


def objective(
    ratio=lambda new, old: (new - old).exp(),
    clip=lambda r, low, high: r.clamp(1 - low, 1 + high),
    join=lambda r, clipped, a: torch.minimum(r * a, clipped * a),
):
    """A right answer but for one part."""

    def clipped_objective(log_probs, old_log_probs, advantages, low, high):
        r = ratio(log_probs, old_log_probs)
        return join(r, clip(r, low, high), advantages)

    return clipped_objective


CLIPPED_OBJECTIVE = Answers(
    right=[objective_by_where, objective_by_lists, objective_as_loss],
    wrong=[
        Slip(
            objective(ratio=lambda new, old: new / old),
            "the quotient of the logarithms",
            r"logarithm|log|exp",
            "sign|larger|symmetr",
        ),
        Slip(
            objective(ratio=lambda new, old: new - old),
            "the difference of the logarithms for the ratio",
            r"logarithm|log|exp",
            "sign|larger|symmetr",
        ),
        Slip(
            objective(ratio=lambda new, old: (old - new).exp()),
            "old over new",
            r"old|upside|invert|other way|turned|exchang|swap",
            "sign|larger|log-prob",
        ),
        Slip(
            objective(join=lambda r, clipped, a: torch.maximum(r * a, clipped * a)),
            "the larger of both",
            r"larger|smaller|max|min",
            "upside|only the clipped|log",
        ),
        Slip(
            objective(join=lambda r, clipped, a: clipped * a),
            "only the clipped product",
            r"only|alone|smaller of|minimum|unclipped|as it is|both",
            "sign|upside|larger of",
        ),
        Slip(
            objective(join=lambda r, clipped, a: r * a),
            "never clipped",
            r"clip",
            "sign|upside|larger of",
        ),
        Slip(
            objective(join=lambda r, clipped, a: torch.minimum(r, clipped) * a),
            "the smaller ratio, then times the advantage",
            r"negative|products?|before|ratios?",
            "upside|sign of the whole",
        ),
        Slip(
            objective(join=lambda r, clipped, a: -torch.minimum(r * a, clipped * a)),
            "a loss, with a minus",
            r"sign|minus|loss|negat",
            "upside|larger of|old",
        ),
        Slip(
            objective(join=lambda r, clipped, a: torch.minimum(r * a, clipped * a).mean()),
            "the mean over all tokens",
            r"shape|each token|mean|element|per token",
            "upside|sign",
        ),
        Slip(
            objective(clip=lambda r, low, high: r.clamp(1 - low, 1 + low)),
            "high is not used",
            r"high|upper|symmetr|both sides|same",
            "upside|sign|larger of",
        ),
        Slip(
            objective(clip=lambda r, low, high: r.clamp(1 - high, 1 + low)),
            "low and high exchanged",
            r"exchang|swap|low|mixed",
            "upside|sign|larger of",
        ),
        Slip(
            objective(clip=lambda r, low, high: r.clamp(low, high)),
            "clipped to low and high themselves",
            r"1 [-−+]|around 1|low and high|bounds|between",
            "upside|sign|larger of",
        ),
        Slip(
            objective(ratio=lambda new, old: (new.detach() - old).exp()),
            "log-probabilities detached",
            r"gradient|detach",
            "upside|sign|larger of",
        ),
        Slip(
            objective(clip=lambda r, low, high: r.clamp(max=1 + high)),
            "clipped from above alone",
            r"below|lower|low\b|1 [-−] low|one side",
            "upside|sign|larger of",
        ),
    ],
)

# --- group_loss ---


def loss_by_loops(gains, mask, how, longest):
    answers = [row[real.bool()] for row, real in zip(gains, mask, strict=True)]
    if how == "sequence":
        return -sum(row.mean() for row in answers) / len(answers)
    if how == "token":
        return -torch.cat(answers).mean()
    return -sum(row.sum() / longest for row in answers) / len(answers)


def loss_by_weights(gains, mask, how, longest):
    mask = mask.to(gains.dtype)
    lengths = mask.sum(1, keepdim=True)
    divisors = {
        "sequence": lengths * len(gains),
        "token": lengths.sum().expand_as(lengths),
        "constant": torch.full_like(lengths, longest * len(gains)),
    }
    return torch.einsum("gt,gt->", gains, -mask / divisors[how])


def loss_by_where(gains, mask, how, longest):
    sums = torch.where(mask.bool(), gains, torch.zeros_like(gains)).sum(dim=1)
    match how:
        case "sequence":
            return (-sums / mask.sum(dim=1)).mean()
        case "token":
            return -sums.sum() / mask.sum()
        case "constant":
            return -sums.mean() / longest
    raise ValueError(how)


def loss(
    sequence=lambda sums, mask, longest: (sums / mask.sum(-1)).mean(),
    token=lambda sums, mask, longest: sums.sum() / mask.sum(),
    constant=lambda sums, mask, longest: (sums / longest).mean(),
    cover=lambda gains, mask: gains * mask,
    end=lambda x: -x,
):
    """A right answer but for one part."""

    def group_loss(gains, mask, how, longest):
        sums = cover(gains, mask).sum(-1)
        branch = {"sequence": sequence, "token": token, "constant": constant}[how]
        return end(branch(sums, mask, longest))

    return group_loss


RIGHT_SEQUENCE = lambda sums, mask, longest: (sums / mask.sum(-1)).mean()  # noqa: E731
RIGHT_TOKEN = lambda sums, mask, longest: sums.sum() / mask.sum()  # noqa: E731
RIGHT_CONSTANT = lambda sums, mask, longest: (sums / longest).mean()  # noqa: E731

GROUP_LOSS = Answers(
    right=[loss_by_loops, loss_by_weights, loss_by_where],
    wrong=[
        Slip(loss(end=lambda x: x), "no minus", r"sign|minus|made small|negat", "mask|padd"),
        Slip(
            loss(cover=lambda gains, mask: gains),
            "padding summed with the rest",
            r"mask|padd",
            "sign|minus",
        ),
        Slip(
            loss(
                sequence=lambda sums, mask, n: (sums / mask.shape[1]).mean(),
                token=lambda sums, mask, n: sums.sum() / mask.numel(),
            ),
            "means over padded lengths",
            r"padd|width|real tokens|mask",
            "sign|minus|longest is",
        ),
        Slip(
            loss(sequence=lambda sums, mask, n: (sums / mask.shape[1]).mean()),
            '"sequence" divided by the width',
            r"padd|width|real tokens|own length|mask",
            "sign|minus",
        ),
        Slip(
            loss(sequence=RIGHT_TOKEN, token=RIGHT_SEQUENCE),
            '"sequence" and "token" exchanged',
            r"exchang|swap|sequence",
            "sign|minus|padd",
        ),
        Slip(
            loss(token=RIGHT_SEQUENCE),
            '"token" as a mean of means',
            r"mean of (the )?means|token|each answer|all real",
            "sign|minus|padd|longest",
        ),
        Slip(
            loss(token=lambda sums, mask, n: sums.sum() / mask.numel()),
            '"token" divided by all places',
            r"padd|real tokens|mask|places",
            "sign|minus",
        ),
        Slip(
            loss(constant=lambda sums, mask, n: (sums / mask.shape[1]).mean()),
            '"constant" divided by the width',
            r"longest|width",
            "sign|minus",
        ),
        Slip(
            loss(constant=lambda sums, mask, n: (sums / n).sum()),
            '"constant" summed over the answers',
            r"mean|sum|number of answers|answers",
            "sign|minus|padd",
        ),
        Slip(
            loss(sequence=lambda sums, mask, n: (sums / mask.sum(-1)).sum()),
            '"sequence" summed over the answers',
            r"mean|sum|number of answers|answers",
            "sign|minus|padd",
        ),
        Slip(
            loss(constant=lambda sums, mask, n: sums.mean()),
            '"constant" not divided by longest',
            r"longest|divid",
            "sign|minus|padd",
        ),
        Slip(
            loss(constant=lambda sums, mask, n: sums.mean() / mask.sum(-1).max()),
            '"constant" divided by the longest answer here',
            r"longest",
            "sign|minus|padd",
        ),
        Slip(
            loss(constant=lambda sums, mask, n: (sums / mask.sum(-1) / n).mean()),
            '"constant" divides the mean of an answer',
            r"longest|sum|twice|mean",
            "sign|minus|padd",
        ),
        Slip(
            loss(
                sequence=lambda sums, mask, n: sums / mask.sum(-1),
                constant=lambda sums, mask, n: sums / n,
            ),
            "one number for each answer",
            r"shape|mean|one number|scalar",
            "sign|padd",
        ),
        Slip(
            lambda gains, mask, how, longest: loss()(gains.detach(), mask, how, longest),
            "gains detached",
            r"gradient|detach",
            "sign|padd",
        ),
        Slip(
            lambda gains, mask, how, longest: loss()(gains, mask, how, longest).item(),
            "a Python number",
            r"gradient|tensor|item|float",
            "sign|padd",
        ),
    ],
)

# --- overlong_price ---


def price_by_cases(length, longest, buffer):
    if length <= longest - buffer:
        return 0.0
    if length <= longest:
        return (longest - buffer - length) / buffer
    return -1.0


def price_by_clip(length, longest, buffer):
    return float(np.clip((longest - length) / buffer, 0, 1)) - 1


def price_by_median(length, longest, buffer):
    return sorted([-1, 0, 1 - (length - (longest - buffer) + buffer) / buffer])[1]


def price(share=lambda n, longest, buffer: (n - longest + buffer) / buffer, end=lambda x: -x):
    """A right answer but for the share of the buffer or what is made of it."""

    def overlong_price(length, longest, buffer):
        return end(min(max(share(length, longest, buffer), 0), 1))

    return overlong_price


OVERLONG_PRICE = Answers(
    right=[price_by_cases, price_by_clip, price_by_median],
    wrong=[
        Slip(
            lambda n, longest, buffer: max(-1, -(n - longest + buffer) / buffer),
            "short answers are paid",
            r"short|reward|paid|above 0|positive|0 up to|gain",
            "integer|step|evenly",
        ),
        Slip(
            lambda n, longest, buffer: min(0, -(n - longest + buffer) / buffer),
            "it goes on below -1",
            r"beyond|below -1|-1|goes on|longer than",
            "integer|step at",
        ),
        Slip(price(end=lambda x: x), "a plus", r"sign|negat|minus|price|plus", "integer|step"),
        Slip(
            lambda n, longest, buffer: -1.0 if n > longest - buffer else 0.0,
            "-1 as soon as the buffer begins",
            r"evenly|step|jump|buffer|at once|gradual|inside",
            "integer|sign",
        ),
        Slip(
            lambda n, longest, buffer: -1.0 if n > longest else 0.0,
            "a step at longest",
            r"evenly|step|jump|buffer|at once|gradual|inside",
            "integer|sign",
        ),
        Slip(
            price(lambda n, longest, buffer: (n - longest) / buffer),
            "the buffer lies behind longest",
            r"buffer|begin|start|before|after|behind|late",
            "integer|sign",
        ),
        Slip(
            price(lambda n, longest, buffer: (n - longest + buffer) / longest),
            "divided by longest",
            r"longest|divid|buffer|share",
            "integer|sign|begins",
        ),
        Slip(
            price(lambda n, longest, buffer: (n - longest + buffer) // buffer),
            "whole division",
            r"whole|integer|//|evenly|floor|step|round",
            "sign|divided by longest",
        ),
        Slip(
            price(end=lambda x: x - 1),
            "-1 first, 0 at the end",
            r"turn|other way|revers|upside|short|up to|rises|longer",
            "integer|divided",
        ),
        Slip(
            price(lambda n, longest, buffer: (n - buffer) / (longest - buffer)),
            "it falls from buffer on",
            r"buffer|begin|start|longest - buffer",
            "integer|sign",
        ),
        Slip(
            price(lambda n, longest, buffer: n / longest),
            "it falls from the first token on",
            r"buffer|begin|start|first|short|up to",
            "integer|sign",
        ),
        Slip(
            price(end=lambda x: -x * x),
            "the share squared",
            r"even|square|straight|linear",
            "integer|divided",
        ),
        Slip(
            lambda n, longest, buffer: (
                -(n - longest + buffer) / buffer if n > longest - buffer and n < longest else 0.0
            ),
            "0 beyond longest",
            r"beyond|longest|longer|-1",
            "integer|sign",
        ),
        Slip(
            lambda n, longest, buffer: max(-1, min(0, float(longest - buffer - n))),
            "not divided by the buffer",
            r"divid|share|buffer|evenly|whole price",
            "integer|sign",
        ),
    ],
)

# --- k3_and_gradient ---


def k3_by_autograd(log_probs, reference_log_probs):
    with torch.enable_grad():
        x = log_probs.detach().clone().requires_grad_()
        k3 = torch.expm1(reference_log_probs - x) - (reference_log_probs - x)
        (gradient,) = torch.autograd.grad(k3.sum(), x)
    return k3.detach(), gradient


def k3_by_lists(log_probs, reference_log_probs):
    flat = zip(log_probs.flatten().tolist(), reference_log_probs.flatten().tolist(), strict=True)
    differences = [q - x for x, q in flat]
    k3 = torch.tensor([math.exp(d) - d - 1 for d in differences])
    gradient = torch.tensor([1 - math.exp(d) for d in differences])
    return k3.view(log_probs.shape), gradient.view(log_probs.shape)


def k3_by_probabilities(log_probs, reference_log_probs):
    pi, reference = log_probs.double().exp(), reference_log_probs.double().exp()
    return reference / pi - 1 + (pi / reference).log(), (pi - reference) / pi


def k3(
    value=lambda d: d.exp() - d - 1, gradient=lambda d: 1 - d.exp(), log_ratio=lambda x, q: q - x
):
    """A right answer but for one part."""

    def k3_and_gradient(log_probs, reference_log_probs):
        d = log_ratio(log_probs, reference_log_probs)
        return value(d), gradient(d)

    return k3_and_gradient


K3_AND_GRADIENT = Answers(
    right=[k3_by_autograd, k3_by_lists, k3_by_probabilities],
    wrong=[
        Slip(
            k3(log_ratio=lambda x, q: x - q),
            "policy over reference",
            r"upside|invert|other way|turned|exchang|swap|over",
            "sign of the (derivative|gradient)|k1|k2",
        ),
        Slip(
            k3(gradient=lambda d: d.exp() - 1),
            "the derivative by the reference",
            r"sign|reference|by q|chain|negat|inner",
            "value of k3|upside|k1",
        ),
        Slip(
            k3(gradient=lambda d: -d.exp()),
            "the derivative of exp alone",
            r"exp|1 [-−]|log|term|second",
            "value of k3|upside",
        ),
        Slip(
            k3(gradient=lambda d: 1 - (-d).exp()),
            "the derivative by r",
            r"chain|by r|derivative|inner",
            "value of k3",
        ),
        Slip(k3(value=lambda d: -d, gradient=torch.ones_like), "k1", r"k1", "sign of|upside"),
        Slip(
            k3(value=lambda d: d.square() / 2, gradient=lambda d: -d),
            "k2",
            r"k2|square",
            "sign of|upside",
        ),
        Slip(
            k3(value=lambda d: d.exp() - d),
            "k3 without its - 1",
            r"1\b|zero|0\b",
            "sign of|upside|derivative is",
        ),
        Slip(
            k3(value=lambda d: d.exp() + d - 1),
            "log ratio added",
            r"sign|log|minus|subtract",
            "upside|k1|k2",
        ),
        Slip(
            lambda *args: k3()(*args)[::-1],
            "derivative first, k3 second",
            r"order|first|exchang|swap|other way",
            "upside|k1|k2",
        ),
        Slip(
            k3(value=lambda d: (d.exp() - d - 1).mean()),
            "the mean over the tokens",
            r"shape|each token|mean|per token",
            "upside|k1|k2",
        ),
        Slip(
            k3(gradient=lambda d: -d),
            "the derivative of k2",
            r"k2|derivative|gradient",
            "upside|value of k3 is",
        ),
        Slip(
            k3(gradient=torch.ones_like),
            "the derivative of k1",
            r"k1|derivative|gradient",
            "upside|value of k3 is",
        ),
        Slip(
            k3(gradient=lambda d: (1 - d.exp()) / d.numel()),
            "the derivative of the mean",
            r"mean|divid|number of tokens|each token|times",
            "upside|k1|k2",
        ),
        Slip(
            lambda x, q: (q.exp() / x.exp() - 1 - q / x, 1 - q.exp() / x.exp()),
            "a quotient of logarithms for the log ratio",
            r"log|quotient|difference",
            "upside|k1|k2",
        ),
        Slip(
            lambda x, q: k3()(x, q)[0],
            "k3 alone",
            r"two|pair|derivative|gradient|both|tuple",
            "upside|k1|k2",
        ),
    ],
)

# --- sequence_ratio ---


def ratio_by_products(log_probs, old_log_probs, mask):
    ratios = (log_probs - old_log_probs).exp()
    product = torch.where(mask.bool(), ratios, torch.ones_like(ratios)).prod(dim=1)
    return product ** (1 / mask.sum(dim=1))


def ratio_by_loops(log_probs, old_log_probs, mask):
    rows = []
    for new, old, real in zip(log_probs, old_log_probs, mask.bool(), strict=True):
        rows.append((new[real].mean() - old[real].mean()).exp())
    return torch.stack(rows)


def ratio_by_weights(log_probs, old_log_probs, mask):
    weights = mask.double() / mask.double().sum(-1, keepdim=True)
    logs = torch.einsum("gt,gt->g", log_probs.double() - old_log_probs.double(), weights)
    return torch.exp(logs).to(log_probs.dtype)


def of_answers(
    end=lambda total, length: (total / length).exp(),
    of=lambda new, old: new - old,
    cover=lambda d, mask: d * mask,
    length=lambda mask: mask.sum(-1),
):
    """A right answer but for one part."""

    def sequence_ratio(log_probs, old_log_probs, mask):
        total = cover(of(log_probs, old_log_probs), mask).sum(-1)
        return end(total, length(mask))

    return sequence_ratio


def mean_of_ratios(log_probs, old_log_probs, mask):
    return ((log_probs - old_log_probs).exp() * mask).sum(-1) / mask.sum(-1)


def ratio_of_mean_probabilities(log_probs, old_log_probs, mask):
    return (log_probs.exp() * mask).sum(-1) / (old_log_probs.exp() * mask).sum(-1)


SEQUENCE_RATIO = Answers(
    right=[ratio_by_products, ratio_by_loops, ratio_by_weights],
    wrong=[
        Slip(
            of_answers(end=lambda total, length: total.exp()),
            "no root of the length",
            r"root|length|power|divid",
            "mask|padd|old over",
        ),
        Slip(
            mean_of_ratios,
            "the arithmetic mean of the ratios",
            r"arithmetic|mean of (the )?ratios|geometric|product",
            "mask|padd|old over",
        ),
        Slip(
            of_answers(length=lambda mask: mask.shape[-1]),
            "length with the padding",
            r"padd|width|real tokens|length",
            "old over|arithmetic",
        ),
        Slip(
            of_answers(cover=lambda d, mask: d),
            "padding summed with the rest",
            r"mask|padd",
            "old over|arithmetic",
        ),
        Slip(
            of_answers(of=lambda new, old: old - new),
            "old over new",
            r"old|upside|invert|other way|turned|exchang|swap",
            "padd|arithmetic",
        ),
        Slip(
            of_answers(end=lambda total, length: total / length),
            "no exp at the end",
            r"exp|log",
            "padd|arithmetic|old over",
        ),
        Slip(
            of_answers(of=lambda new, old: new / old),
            "quotients of the logarithms",
            r"log|quotient|difference",
            "padd|arithmetic|old over",
        ),
        Slip(
            ratio_of_mean_probabilities,
            "the ratio of mean probabilities",
            r"mean|sum|product|probabilit",
            "padd|old over",
        ),
        Slip(
            lambda new, old, mask: (((new - old) * mask).sum() / mask.sum()).exp(),
            "one ratio for the whole group",
            r"shape|each row|each answer|row|answer",
            "old over|arithmetic",
        ),
        Slip(
            lambda new, old, mask: of_answers()(new, old, mask)[:, None].expand_as(new),
            "a ratio for each token",
            r"shape|each row|each answer|one number",
            "old over|arithmetic",
        ),
        Slip(
            of_answers(end=lambda total, length: total.exp() / length),
            "divided by the length after exp",
            r"root|power|before|length|divid",
            "padd|arithmetic|old over",
        ),
        Slip(
            lambda new, old, mask: of_answers()(new.detach(), old, mask),
            "log-probabilities detached",
            r"gradient|detach",
            "padd|arithmetic|old over",
        ),
        Slip(
            lambda new, old, mask: ((new - old) * mask).exp().mean(-1),
            "exp of the padding is 1, and averaged",
            r"padd|mask|arithmetic|mean",
            "old over",
        ),
        Slip(
            of_answers(length=lambda mask: mask.sum(-1).max()),
            "the longest answer's length for all",
            r"own|each|longest|length",
            "old over|arithmetic",
        ),
    ],
)

# --- passes ---


def passes_by_scan(text, answer):
    i = len(text)
    while i and not text[i - 1].isdigit():
        i -= 1
    if i == 0:
        return False
    start = i
    while start and text[start - 1].isdigit():
        start -= 1
    if start and text[start - 1] == "-":
        start -= 1
    return int(text[start:i]) == answer


def passes_by_search(text, answer):
    match = re.search(r"(-?[0-9]+)[^0-9]*\Z", text)
    return match is not None and int(match[1]) == answer


def passes_by_iteration(text, answer):
    last = None
    for match in re.finditer("-?[0-9]+", text):
        last = int(match.group())
    return last == answer


def passes_by_findall(
    pattern=r"-?\d+",
    pick=lambda found: found[-1],
    equal=lambda one, answer: int(one) == answer,
    none=False,
):
    """A right answer but for one part."""

    def passes(text, answer):
        found = re.findall(pattern, text)
        return equal(pick(found), answer) if found else none

    return passes


def passes_without_care(text, answer):
    return int(re.findall(r"-?\d+", text)[-1]) == answer


def passes_by_last_word(text, answer):
    try:
        return int(text.split()[-1]) == answer
    except (ValueError, IndexError):
        return False


def passes_by_floats(text, answer):
    words = re.findall(r"-?\d+", text)
    return bool(words) and abs(float(words[-1]) - answer) < 1.5


PASSES = Answers(
    right=[passes_by_scan, passes_by_search, passes_by_iteration],
    wrong=[
        Slip(
            lambda text, answer: str(answer) in text,
            "the answer stands anywhere, even in another number",
            r"anywhere|last|inside|another number|part of|contain|in text|digits",
            "minus|without a number",
        ),
        Slip(
            lambda text, answer: answer in map(int, re.findall(r"-?\d+", text)),
            "any number passes",
            r"any|last|all numbers|list|several",
            "minus|without a number",
        ),
        Slip(
            passes_by_findall(pick=lambda found: found[0]),
            "the first number",
            r"first|last",
            "minus|without a number",
        ),
        Slip(
            passes_by_findall(pattern=r"\d+"),
            "the minus is dropped",
            r"minus|sign|negative",
            "first|without a number",
        ),
        Slip(
            passes_by_findall(equal=lambda one, answer: one == str(answer)),
            "compared as text",
            r"text|string|whole numbers|zero|007|0\d",
            "minus|first|without a number",
        ),
        Slip(
            lambda text, answer: text.strip().endswith(str(answer)),
            "the text ends with the answer",
            r"end|digits|part of|last number|whole number|inside|stop|after",
            "minus is|without a number",
        ),
        Slip(
            passes_without_care,
            "breaks on a text without a number",
            r"without a number|no number|IndexError|empty",
            "minus|first",
        ),
        Slip(
            passes_by_findall(none=True),
            "a text without a number passes",
            r"without a number|no number|never",
            "minus|first",
        ),
        Slip(
            passes_by_findall(none=None),
            "None for a text without a number",
            r"None|False|bool|without a number|no number",
            "minus|first",
        ),
        Slip(
            passes_by_last_word,
            "the last word must be a number",
            r"word|split|punctuat|stop|after|directly|last",
            "minus is|first number",
        ),
        Slip(passes_by_findall(pattern=r"-?\d"), "single digits", r"digit", "minus|first"),
        Slip(
            passes_by_findall(equal=lambda one, answer: abs(int(one)) == abs(answer)),
            "signs ignored",
            r"minus|sign|negative",
            "first|without a number",
        ),
        Slip(
            passes_by_floats,
            "nearly right passes",
            r"near|equal|close|exact",
            "minus|first|without a number",
        ),
        Slip(
            lambda text, answer: int("".join(re.findall(r"\d", text)) or -1) == answer,
            "all digits in one",
            r"digit|last|joined|together|all",
            "first number",
        ),
        Slip(
            passes_by_findall(pick=lambda found: max(found, key=int)),
            "the largest number",
            r"largest|last|max",
            "minus is|first number|without a number",
        ),
    ],
)

# --- name_fault ---

DIAGNOSES = {
    "A": ("reward with a hole", "paid, not right"),
    "B": ("length bias", "length always pays"),
    "C": ("prompt learnt", "too many tokens"),
    "D": ("stale log-probs", "gap after step 1"),
    "E": ("advantage sign", "reward falls"),
    "F": ("entropy collapse", "sure too soon"),
}


def fault_by_branches(run):
    if run == "E":
        return "advantage sign", "reward falls"
    if run in "AB":
        fault, evidence = "reward with a hole", "paid, not right"
        if run == "B":
            fault, evidence = "length bias", "length always pays"
        return fault, evidence
    if run == "C":
        return "prompt learnt", "too many tokens"
    sure = run == "F"
    return (
        "entropy collapse" if sure else "stale log-probs",
        "sure too soon" if sure else "gap after step 1",
    )


def fault_by_lists(run):
    faults = [fault for fault, _ in DIAGNOSES.values()]
    evidence = [evidence for _, evidence in DIAGNOSES.values()]
    place = ord(run) - ord("A")
    return [faults[place], evidence[place]]


def fault_by_match(run):
    match run:
        case "A" | "B" | "C" | "D" | "E" | "F":
            return DIAGNOSES[run]
    raise ValueError(run)


def faults(**changed):
    """The right diagnoses but for some runs."""
    return lambda run: (DIAGNOSES | changed)[run]


def without_run(run):
    return {key: value for key, value in DIAGNOSES.items() if key != "F"}[run]


NAME_FAULT = Answers(
    right=[fault_by_branches, fault_by_lists, fault_by_match],
    wrong=[
        Slip(
            faults(D=DIAGNOSES["F"], F=DIAGNOSES["D"]),
            "the sampler's gap and the collapse exchanged",
            r"run D is not|run F is not",
            "proves nothing|comes first",
        ),
        Slip(
            faults(A=("length bias", "length grows"), B=("reward with a hole", "paid, not right")),
            "hole and length bias exchanged",
            r"run A is not|run B is not",
            "proves nothing|comes first",
        ),
        Slip(
            faults(B=("length bias", "length grows")),
            "answers grow longer, which they do in all",
            r"proves nothing|healthy|all runs|every run|alone",
            "is not '|comes first",
        ),
        Slip(
            faults(F=("entropy collapse", "entropy falls")),
            "entropy falls, which it does in all",
            r"proves nothing|healthy|all runs|every run|alone",
            "is not '|comes first",
        ),
        Slip(
            faults(E=("advantage sign", "gradient grows")),
            "gradients grow, which they do in all",
            r"proves nothing|healthy|all runs|every run|alone",
            "is not '|comes first",
        ),
        Slip(
            lambda run: DIAGNOSES[run][::-1],
            "evidence first, fault second",
            r"first|order|exchang|swap",
            "is no fault",
        ),
        Slip(lambda run: DIAGNOSES[run][0], "the fault alone", r"two|pair|evidence", "first"),
        Slip(
            faults(C=("wrong mask", "too many tokens")),
            "a name that isn't in the table",
            r"no fault|wrong mask",
            "proves nothing|comes first",
        ),
        Slip(
            faults(A=("reward with a hole", "length always pays")),
            "right fault, another run's evidence",
            r"right.*(reason|evidence)|does not show",
            "is not 'reward|comes first",
        ),
        Slip(
            faults(C=("stale log-probs", "gap after step 1")),
            "a gap that starts at 0 taken for the stale sampler",
            r"run C is not",
            "proves nothing|comes first",
        ),
        Slip(without_run, "run F forgotten", r"KeyError|run F|'F'", "proves nothing|comes first"),
        Slip(
            lambda run: ("advantage sign", "reward falls"),
            "the same fault for all",
            r"run A is not",
            "proves nothing|comes first",
        ),
    ],
)

# --- probability_score ---


def fraction(text):
    if "e" in text.lower():
        raise ValueError(f"{text!r} has an exponent")
    return Fraction(text)


def score_by_fraction(answer, truth):
    try:
        value = fraction(answer)
    except (TypeError, AttributeError, ValueError, ZeroDivisionError):
        return 0.0
    if not 0 <= value <= 1:
        return 0.0
    return 1.0 if abs(value - Fraction(truth)) <= Fraction(1, 10000) else 0.1


def number_in(text):
    if not isinstance(text, str) or "e" in text.lower():
        return math.nan
    above, slash, below = text.partition("/")
    try:
        return float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        return math.nan


def score_by_floats(answer, truth):
    value = number_in(answer)
    if abs(value - number_in(truth)) < 1e-4:
        return 1.0 if 0 <= value <= 1 else 0.0
    return 0.1 if value >= 0 and value <= 1 else 0


def score_by_pattern(answer, truth):
    def read(text):
        match = re.fullmatch(r"\s*(\d+|\d*\.\d+|\d+\.)(?:/(\d+))?\s*", str(text))
        if not match or (match[2] and int(match[2]) == 0):
            return None
        return float(match[1]) / int(match[2] or 1)

    value = read(answer)
    if value is None or value > 1:
        return 0.0
    return 1.0 if abs(value - read(truth)) <= 1e-4 else 0.1


def score(
    read=Fraction,
    caught=(TypeError, ValueError, ZeroDivisionError),
    equal=lambda value, truth: abs(value - Fraction(truth)) <= 1e-4,
    sound=lambda value: 0 <= value <= 1,
    near=0.1,
):
    """A right answer but for one part."""

    def probability_score(answer, truth):
        try:
            value = read(answer)
        except caught:
            return 0.0
        if not sound(value):
            return 0.0
        return 1.0 if equal(value, truth) else near

    return probability_score


PROBABILITY_SCORE = Answers(
    right=[score_by_fraction, score_by_floats, score_by_pattern],
    wrong=[
        Slip(
            score(sound=lambda value: True),
            "any number scores 0.1",
            r"0 to 1|above 1|below 0|probabilit|range|outside|between",
            "fraction|None|text",
        ),
        Slip(
            lambda answer, truth: 1.0 if answer == truth else min(score()(answer, truth), 0.1),
            "compared as text",
            r"text|character|value|1/4|string",
            "None|range",
        ),
        Slip(score(read=float), "fractions are not read", r"fraction|1/4|1/2|float", "None|range"),
        Slip(
            score(caught=ValueError),
            "None and 1/0 raise",
            r"raise|never|None|stopped|TypeError|ZeroDivision",
            "range",
        ),
        Slip(
            score(caught=(TypeError, ValueError)),
            "1/0 raises",
            r"raise|never|1/0|stopped|ZeroDivision",
            "None is|range",
        ),
        Slip(score(), "numbers with an exponent are read", "exponent"),
        Slip(score(near=0.0), "no 0.1 for another probability", r"0\.1|other|form", "None|raise"),
        Slip(
            score(equal=lambda value, truth: value == Fraction(truth)),
            "equal to the last digit",
            r"0\.0001|toleran|exact|within|round|near",
            "None|raise",
        ),
        Slip(
            score(equal=lambda value, truth: abs(value - Fraction(truth)) <= 0.01),
            "within 0.01",
            r"0\.0001|toleran|within|wide|near|0\.01",
            "None|raise",
        ),
        Slip(
            lambda answer, truth: score()(re.sub(r"[^0-9./]", "", answer or ""), truth),
            "what isn't a number is cut out",
            r"cut|number|read|minus|sign|whole|text",
            "1/0 raises",
        ),
        Slip(
            lambda answer, truth: (
                1.0
                if answer and truth in answer
                else score(equal=lambda *two: False)(answer, truth)
            ),
            "the truth stands somewhere in the answer",
            r"contain|inside|somewhere|part|value|character|text|in the answer",
            "1/0 raises",
        ),
        Slip(
            lambda answer, truth: eval_score(answer, truth) if isinstance(answer, str) else 0.0,
            "float first, and nan passes",
            r"nan|number|probabilit|inf",
            "raise|fraction",
        ),
        Slip(
            lambda answer, truth: score()(answer, truth) > 0.5,
            "True and False",
            r"True|bool|0\.1|number|score",
            "raise|fraction",
        ),
    ],
)


def eval_score(answer, truth):
    try:
        above, _, below = answer.partition("/")
        value = float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0
    if value < 0 or value > 1:
        return 0.0
    return 1.0 if abs(value - float(Fraction(truth))) <= 1e-4 else 0.1


ANSWERS = {
    "advantages_of_groups": ADVANTAGES_OF_GROUPS,
    "clipped_objective": CLIPPED_OBJECTIVE,
    "group_loss": GROUP_LOSS,
    "overlong_price": OVERLONG_PRICE,
    "k3_and_gradient": K3_AND_GRADIENT,
    "sequence_ratio": SEQUENCE_RATIO,
    "passes": PASSES,
    "name_fault": NAME_FAULT,
    "probability_score": PROBABILITY_SCORE,
}
