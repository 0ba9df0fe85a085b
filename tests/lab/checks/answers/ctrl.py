"""Answers to the exercises of lesson 17, written from their statements alone."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- coded_batch ---


def batch_by_lists(pages, codes, end, pad):
    longest = max(len(page) for page in pages)
    inputs, targets = [], []
    for page, code in zip(pages, codes, strict=True):
        fill = longest - len(page)
        inputs.append([code] + list(page) + fill * [pad])
        targets.append(list(page) + [end] + fill * [-100])
    return torch.tensor(inputs), torch.tensor(targets)


def batch_by_filling(pages, codes, end, pad):
    shape = len(pages), 1 + max(map(len, pages))
    inputs, targets = torch.full(shape, pad), torch.full(shape, -100)
    inputs[:, 0] = torch.as_tensor(codes)
    for row, page in enumerate(pages):
        n = len(page)
        inputs[row, 1 : n + 1] = torch.tensor(page, dtype=torch.long)
        targets[row, :n] = torch.tensor(page, dtype=torch.long)
        targets[row, n] = end
    return inputs, targets


def batch_by_padding(pages, codes, end, pad):
    whole = [torch.tensor([c, *p, end]) for p, c in zip(pages, codes, strict=True)]
    pad_rows = torch.nn.utils.rnn.pad_sequence
    inputs = pad_rows([row[:-1] for row in whole], batch_first=True, padding_value=pad)
    return inputs, pad_rows([row[1:] for row in whole], batch_first=True, padding_value=-100)


def batch_of(inputs, targets):
    """A batch whose rows come from functions of page, code, end, pad and the number missing."""

    def answer(pages, codes, end, pad):
        longest = max(map(len, pages))
        given = [
            (list(p), c, end, pad, longest - len(p)) for p, c in zip(pages, codes, strict=True)
        ]
        return tuple(torch.tensor([row(*g) for g in given]) for row in (inputs, targets))

    return answer


def right_inputs(page, code, end, pad, n):
    return [code] + page + n * [pad]


def right_targets(page, code, end, pad, n):
    return page + [end] + n * [-100]


CODED_BATCH = Answers(
    right=[batch_by_lists, batch_by_filling, batch_by_padding],
    wrong=[
        Slip(
            batch_of(right_inputs, lambda p, c, e, pad, n: [c] + p + n * [-100]),
            "targets are the inputs",
            "next|shift|same",
            "left",
        ),
        Slip(
            batch_of(right_inputs, lambda p, c, e, pad, n: p + (n + 1) * [-100]),
            "the end is never a target",
            "end",
        ),
        Slip(
            batch_of(right_inputs, lambda p, c, e, pad, n: p + [e] + n * [pad]),
            "targets filled with pad",
            "-100|ignore",
        ),
        Slip(
            batch_of(lambda p, c, e, pad, n: [c] + p + n * [-100], right_targets),
            "inputs filled with -100",
            "pad",
        ),
        Slip(
            batch_of(
                lambda p, c, e, pad, n: n * [pad] + [c] + p,
                lambda p, c, e, pad, n: n * [-100] + p + [e],
            ),
            "filled on the left",
            "left|right|first|column|front",
        ),
        Slip(
            batch_of(lambda p, c, e, pad, n: p + [c] + n * [pad], right_targets),
            "the code behind the page",
            "first|front|begin|position 0|behind|code",
        ),
        Slip(
            batch_of(
                lambda p, c, e, pad, n: [c] + p[1:] + n * [pad],
                lambda p, c, e, pad, n: p[1:] + [e] + n * [-100],
            ),
            "the code replaces the first token",
            "in place of|first token|replace",
        ),
        Slip(
            batch_of(right_inputs, lambda p, c, e, pad, n: [-100] + p[1:] + [e] + n * [-100]),
            "nothing to predict at the code",
            "first|code",
        ),
        Slip(
            batch_of(right_inputs, lambda p, c, e, pad, n: p + n * [-100] + [e]),
            "the end stands after the filling",
            "end",
        ),
        Slip(
            batch_of(right_inputs, lambda p, c, e, pad, n: p[1:] + [e] + (n + 1) * [-100]),
            "targets two ahead",
            "next|shift|ahead|first|one",
        ),
        Slip(
            lambda pages, codes, end, pad: batch_by_lists(pages, [codes[0]] * len(pages), end, pad),
            "one code for all",
            "code",
        ),
        Slip(lambda *given: batch_by_lists(*given)[::-1], "targets first", "swap|first|inputs"),
        Slip(
            lambda pages, codes, end, pad: batch_by_lists(
                [p[: min(map(len, pages))] for p in pages], codes, end, pad
            ),
            "cut to the shortest page",
            "longest|shape|short|wide|columns",
        ),
        Slip(
            batch_of(
                lambda p, c, e, pad, n: [c] + p + [e] + n * [pad],
                lambda p, c, e, pad, n: p + [e] + (n + 1) * [-100],
            ),
            "inputs hold the end too",
            "end|shape|one token more|wide|columns",
        ),
    ],
)

# --- halved_sinusoids ---


def halves_by_loops(n, width):
    half = width // 2
    rows = []
    for t in range(n):
        angles = [t / 10000 ** (2 * i / width) for i in range(half)]
        rows.append([math.sin(a) for a in angles] + [math.cos(a) for a in angles])
    return torch.tensor(rows)


def halves_by_exponent(n, width):
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(1e4) / width))
    angles = torch.outer(torch.arange(n).float(), rates)
    return torch.hstack([angles.sin(), angles.cos()])


def halves_by_numpy(n, width):
    rates = 10000.0 ** (-np.arange(width // 2) / (width // 2))
    angles = np.arange(n)[:, None] * rates
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], 1)).float()


def angles_of(n, width, base=10000.0, factor=2.0, first=0):
    rates = base ** (-factor * torch.arange(width // 2) / width)
    return torch.arange(first, n + first)[:, None] * rates


def halves(angles):
    return torch.cat([angles.sin(), angles.cos()], 1)


def full_angles(n, width):
    """Sines of the first half of as many rates as columns, cosines of the second."""
    rates = 10000.0 ** (-torch.arange(width) / width)
    angles = torch.arange(n)[:, None] * rates
    return torch.cat([angles[:, : width // 2].sin(), angles[:, width // 2 :].cos()], 1)


HALVED_SINUSOIDS = Answers(
    right=[halves_by_loops, halves_by_exponent, halves_by_numpy],
    wrong=[
        Slip(
            lambda n, d: torch.stack([angles_of(n, d).sin(), angles_of(n, d).cos()], 2).flatten(1),
            "sine and cosine in turn",
            "turn|half|halves|interleav",
            "rate",
        ),
        Slip(
            lambda n, d: torch.cat([angles_of(n, d).cos(), angles_of(n, d).sin()], 1),
            "cosines first",
            "cos.*first|sine.*first|order|swap",
            "rate",
        ),
        Slip(
            lambda n, d: halves(angles_of(n, d, factor=1)),
            "rates without the 2",
            "2i|rate|twice|half",
            "in turn",
        ),
        Slip(full_angles, "rates of sines and cosines differ", "same|rate|both", "in turn"),
        Slip(
            lambda n, d: halves(angles_of(n, 2 * d)),
            "twice as wide",
            "shape|wide|width|column",
            "in turn",
        ),
        Slip(
            lambda n, d: halves(angles_of(n, d, first=1)),
            "positions from 1",
            "position|0",
            "in turn",
        ),
        Slip(
            lambda n, d: halves(angles_of(n, d).flip(1)),
            "the slowest first",
            "rate|fast|slow|order|backward|revers",
            "in turn",
        ),
        Slip(lambda n, d: angles_of(n, d).sin().repeat(1, 2), "sines twice", "cos", "in turn"),
        Slip(lambda n, d: halves(angles_of(n, d)).T, "transposed", "shape|row|transpos", "in turn"),
        Slip(
            lambda n, d: halves(angles_of(n, d, factor=-2.0)),
            "rates grow",
            "rate|sign|minus|grow|-2",
            "in turn",
        ),
        Slip(
            lambda n, d: halves(
                torch.arange(n)[:, None] * 10000.0 ** -torch.linspace(0, 1, d // 2)
            ),
            "the last rate is 1/10000",
            "rate|last",
            "in turn",
        ),
        Slip(
            lambda n, d: halves(angles_of(n, d, base=1000.0)),
            "base 1000",
            "rate|10,?000",
            "in turn",
        ),
        Slip(
            lambda n, d: halves(angles_of(n, d, base=math.e)),
            "e for 10000",
            "rate|10,?000",
            "in turn",
        ),
        Slip(
            lambda n, d: halves(2 * math.pi * angles_of(n, d)),
            "whole turns in place of radians",
            "rate|pi|angle|radian",
            "in turn,",
        ),
    ],
)

# --- code_posterior ---


def posterior_by_shift(log_likelihoods, prior):
    joint = log_likelihoods + prior.log()
    weights = (joint - joint.max(1, keepdim=True).values).exp()
    return weights / weights.sum(1, keepdim=True)


def posterior_by_logsumexp(log_likelihoods, prior):
    joint = log_likelihoods + prior.log()
    return torch.exp(joint - torch.logsumexp(joint, dim=-1)[:, None])


def posterior_by_rows(log_likelihoods, prior):
    rows = []
    for row in log_likelihoods:
        kept = prior > 0
        best = row[kept].max()
        weights = torch.where(kept, prior * (row - best).clamp(max=0).exp(), 0.0)
        rows.append(weights / weights.sum())
    return torch.stack(rows)


CODE_POSTERIOR = Answers(
    right=[
        posterior_by_shift,
        posterior_by_logsumexp,
        posterior_by_rows,
        lambda ll, prior: F.softmax(ll.double() + prior.double().log(), dim=1).to(ll.dtype),
    ],
    wrong=[
        Slip(lambda ll, prior: ll.softmax(1), "without the prior", "prior", "800|overflow"),
        Slip(
            lambda ll, prior: ll.exp() * prior / (ll.exp() * prior).sum(1, keepdim=True),
            "probabilities underflow",
            "nan|underflow|logarithm|800|log",
            "prior is",
        ),
        Slip(
            lambda ll, prior: (ll + prior.log()).softmax(0),
            "scaled over pages",
            "page|row|column|dim",
            "without the prior",
        ),
        Slip(lambda ll, prior: (ll + prior.log()).log_softmax(1), "logarithms", "log", "prior"),
        Slip(
            lambda ll, prior: (ll + prior).softmax(1),
            "the prior without its logarithm",
            "log",
            "800",
        ),
        Slip(
            lambda ll, prior: (ll - ll.amax(1, keepdim=True)).exp() * prior,
            "not scaled to a sum of 1",
            "sum|scale",
            "800",
        ),
        Slip(
            lambda ll, prior: (ll + prior.clamp(min=1e-8).log()).softmax(1),
            "a prior of 0 raised a little",
            "prior.*0|0.*prior|never",
            "800",
        ),
        Slip(
            lambda ll, prior: (ll * prior).softmax(1),
            "logarithms multiplied by the prior",
            "add|log|sum|product",
            "800",
        ),
        Slip(
            lambda ll, prior: (ll + 2 * prior.log()).softmax(1), "the prior twice", "prior", "800"
        ),
        Slip(
            lambda ll, prior: (ll - prior.log()).softmax(1).nan_to_num(),
            "divided by the prior",
            "prior|divid|add",
            "800",
        ),
        Slip(
            lambda ll, prior: F.one_hot((ll + prior.log()).argmax(1), len(prior)).float(),
            "the likeliest code gets all",
            "one code|all|argmax|likeliest|certain|sure|share",
            "800",
        ),
        Slip(
            lambda ll, prior: ll.softmax(1) * prior,
            "the prior after the softmax",
            "sum|scale|softmax",
            "800",
        ),
        Slip(
            lambda ll, prior: (ll + prior.log()).flatten().softmax(0).view_as(ll),
            "scaled over the whole table",
            "row|page|sum",
        ),
    ],
)

# --- known_part_log_probs ---


def part_by_masking(log_likelihoods, prior, agrees):
    joint = (log_likelihoods + prior.log()).masked_fill(~agrees, -torch.inf)
    return joint.logsumexp(1) - prior[agrees].sum().log()


def part_by_shift(log_likelihoods, prior, agrees):
    chosen, weights = log_likelihoods[:, agrees], prior[agrees] / prior[agrees].sum()
    best = chosen.amax(1, keepdim=True)
    return best[:, 0] + ((chosen - best).exp() @ weights).log()


def part_by_rows(log_likelihoods, prior, agrees):
    at = [k for k, yes in enumerate(agrees.tolist()) if yes]
    total = sum(float(prior[k]) for k in at)
    found = []
    for row in log_likelihoods.tolist():
        best = max(row[k] for k in at)
        mean = sum(float(prior[k]) / total * math.exp(row[k] - best) for k in at)
        found.append(best + math.log(mean))
    return torch.tensor(found)


def log_weights(prior, agrees):
    return (prior[agrees] / prior[agrees].sum()).log()


KNOWN_PART = Answers(
    right=[
        part_by_masking,
        part_by_shift,
        part_by_rows,
        lambda ll, prior, agrees: torch.logsumexp(
            ll.T[agrees] + log_weights(prior, agrees)[:, None], dim=0
        ),
    ],
    wrong=[
        Slip(
            lambda ll, prior, agrees: (ll[:, agrees] + prior[agrees].log()).logsumexp(1),
            "priors not scaled",
            "scale|sum to 1|among themselves",
        ),
        Slip(
            lambda ll, prior, agrees: ll[:, agrees].mean(1),
            "the plain mean of logarithms",
            "without weights|weight",
        ),
        Slip(
            lambda ll, prior, agrees: ll[:, agrees] @ log_weights(prior, agrees).exp(),
            "the weighted mean of logarithms",
            "mean of|probabilities|logsumexp",
            "not scaled",
        ),
        Slip(
            lambda ll, prior, agrees: ll[:, agrees].logsumexp(1),
            "a sum without weights",
            "weight|prior|mean",
        ),
        Slip(
            lambda ll, prior, agrees: ll[:, agrees].logsumexp(1) - agrees.sum().log(),
            "equal weights",
            "prior|weight|equal",
        ),
        Slip(
            lambda ll, prior, agrees: (
                ll[:, agrees].exp() @ log_weights(prior, agrees).exp()
            ).log(),
            "probabilities underflow",
            "underflow|inf|logsumexp|too small|logarithm",
        ),
        Slip(
            lambda ll, prior, agrees: ll[:, agrees].amax(1),
            "the best code alone",
            "mean|best|max|largest|likeliest",
        ),
        Slip(
            lambda ll, prior, agrees: part_by_masking(ll, prior, ~agrees),
            "the codes that do not agree",
            "agree",
        ),
        Slip(lambda ll, prior, agrees: (ll + prior.log()).logsumexp(1), "all codes", "agree|all"),
        Slip(
            lambda ll, prior, agrees: part_by_masking(ll, prior, agrees).exp(),
            "probabilities, not logarithms",
            "log",
        ),
        Slip(
            lambda ll, prior, agrees: part_by_masking(ll, prior, agrees).mean(),
            "the mean over pages",
            "page|shape",
        ),
        Slip(
            lambda ll, prior, agrees: (
                (ll[:, agrees] + prior[agrees].log()).logsumexp(1) - (ll + prior.log()).logsumexp(1)
            ),
            "the posterior of the part",
            "attribution|posterior",
        ),
        Slip(
            lambda ll, prior, agrees: (ll[:, agrees] + prior[agrees].log_softmax(0)).logsumexp(1),
            "a softmax of the priors",
            "scale|weight|softmax|prior",
        ),
        Slip(
            lambda ll, prior, agrees: (ll[:, agrees] + log_weights(prior, agrees).exp()).logsumexp(
                1
            ),
            "weights without their logarithm",
            "log|weight",
        ),
    ],
)

# --- penalised_logits ---


def penalty_by_where(logits, said, penalty, spared):
    said_before = torch.zeros(len(logits), dtype=torch.bool)
    said_before[torch.tensor(list(said), dtype=torch.long)] = True
    said_before[torch.tensor(list(spared), dtype=torch.long)] = False
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(said_before, lowered, logits)


def penalty_by_list(logits, said, penalty, spared):
    changed = []
    for token, score in enumerate(logits.tolist()):
        if token in said and token not in spared:
            score = score / penalty if score > 0 else score * penalty
        changed.append(score)
    return torch.tensor(changed)


def penalty_by_factor(logits, said, penalty, spared):
    at = sorted(set(said).difference(spared))
    new = logits.clone()
    new[at] = logits[at] * penalty ** -logits[at].sign()
    return new


def penalised(rule, tokens=lambda said, spared, size: set(said) - set(spared)):
    """The logits with `rule(score, penalty)` at some tokens, one after the other."""

    def answer(logits, said, penalty, spared):
        new = logits.clone()
        for token in tokens(said, spared, len(logits)):
            new[token] = rule(new[token], penalty)
        return new

    return answer


def lower(score, penalty):
    return score / penalty if score > 0 else score * penalty


def in_place(logits, said, penalty, spared):
    for token in set(said) - set(spared):
        logits[token] = lower(logits[token], penalty)
    return logits


PENALISED_LOGITS = Answers(
    right=[penalty_by_where, penalty_by_list, penalty_by_factor],
    wrong=[
        Slip(
            penalised(lambda score, penalty: score / penalty),
            "divided whatever the sign",
            "below 0|sign|negative",
            "once|spared tokens",
        ),
        Slip(
            penalised(lambda score, penalty: score * penalty),
            "multiplied whatever the sign",
            "above 0|sign|positive",
            "once|spared tokens",
        ),
        Slip(
            penalised(lambda score, penalty: score * penalty if score > 0 else score / penalty),
            "raised in place of lowered",
            "lower|raise|above 0|divid|multipl|sign",
            "once|spared tokens",
        ),
        Slip(
            penalised(lower, lambda said, spared, size: [t for t in said if t not in spared]),
            "once for each time it was said",
            "once|often|twice|set",
            "spared tokens",
        ),
        Slip(
            penalised(lower, lambda said, spared, size: set(said)),
            "spared tokens lowered too",
            "spared",
            "once",
        ),
        Slip(in_place, "the argument is changed", "new|clone|given|in place|copy", "spared"),
        Slip(
            penalised(lower, lambda said, spared, size: set(range(size)) - set(spared)),
            "all tokens lowered",
            "said|not said|all",
            "once however",
        ),
        Slip(
            penalised(lower, lambda said, spared, size: set(said) & set(spared)),
            "the spared alone are lowered",
            "spared tokens",
        ),
        Slip(
            penalised(lambda score, penalty: score - penalty),
            "the penalty subtracted",
            "subtract",
            "spared tokens",
        ),
        Slip(
            penalised(lambda score, penalty: -torch.inf),
            "said tokens forbidden",
            "inf|forbid|ban|divid|lower",
            "spared tokens",
        ),
        Slip(
            lambda *given: penalty_by_where(*given).softmax(-1),
            "probabilities",
            "logits|probabilit|softmax|other tokens|not said|score",
            "once",
        ),
        Slip(
            penalised(lower, lambda said, spared, size: set(said[-1:]) - set(spared)),
            "the last token alone",
            "last|each|every|said",
            "once however",
        ),
        Slip(
            penalised(lambda score, penalty: score / penalty if score > 0 else score),
            "scores below 0 are kept",
            "below 0|negative",
            "once|spared tokens",
        ),
        Slip(
            penalised(lower, lambda said, spared, size: set(said) | set(spared)),
            "spared tokens lowered, said or not",
            "spared",
            "once",
        ),
    ],
)

# --- continuation_log_prob ---


def continuation_by_loop(logits, ids, start):
    total = torch.tensor(0.0)
    for t in range(start, len(ids)):
        total = total + logits[t - 1, ids[t]] - logits[t - 1].logsumexp(0)
    return total


def continuation_by_loss(logits, ids, start):
    return -F.cross_entropy(logits[start - 1 : -1], ids[start:], reduction="sum")


def continuation_by_gather(logits, ids, start):
    picked = logits[:-1].log_softmax(1).gather(1, ids[1:, None])[:, 0]
    return picked[start - 1 :].sum()


CONTINUATION = Answers(
    right=[continuation_by_loop, continuation_by_loss, continuation_by_gather],
    wrong=[
        Slip(
            lambda z, ids, start: sum(z.log_softmax(-1)[t, ids[t]] for t in range(start, len(ids))),
            "each row asked for its own token",
            "before|next|row|shift",
            "mean",
        ),
        Slip(
            lambda z, ids, start: continuation_by_loop(z, ids, start + 1),
            "the first token left out",
            "first|start",
            "mean",
        ),
        Slip(
            lambda z, ids, start: continuation_by_loop(z, ids, 1),
            "the prompt counted too",
            "prompt|start|whole",
            "mean",
        ),
        Slip(
            lambda z, ids, start: continuation_by_loop(z, ids, start) / (len(ids) - start),
            "the mean",
            "mean|sum|add",
        ),
        Slip(
            lambda z, ids, start: sum(z[t - 1, ids[t]] for t in range(start, len(ids))),
            "logits not scaled",
            "softmax|logits|scale",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: continuation_by_loop(z, ids, start).exp(),
            "a probability",
            "log",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: -continuation_by_loop(z, ids, start),
            "the loss",
            "sign|minus|negative|surprise|below 0|loss|positive",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: sum(
                z.log_softmax(0)[t - 1, ids[t]] for t in range(start, len(ids))
            ),
            "softmax over positions",
            "vocabulary|position|dim|row",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: z.log_softmax(-1)[start - 1, ids[start]],
            "the first token alone",
            "all|every|first|each|one token",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: continuation_by_loop(z[:-1], ids[:-1], start),
            "the last token left out",
            "last|end",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: sum(z.softmax(-1)[t - 1, ids[t]] for t in range(start, len(ids))),
            "probabilities added",
            "log|product|probabilit",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: sum(
                z.log_softmax(-1)[t + 1, ids[t]] for t in range(start, len(ids) - 1)
            ),
            "the row after in place of the row before",
            "before|row|shift",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: sum(z[t - 1].log_softmax(0)[ids[t]] for t in range(1, start)),
            "the prompt in place of the continuation",
            "prompt|start|continuation",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: continuation_by_loop(z, ids, max(start - 1, 1)),
            "one token of the prompt counted too",
            "prompt|start",
            "mean of",
        ),
        Slip(
            lambda z, ids, start: torch.stack(
                [z[t - 1].log_softmax(0)[ids[t]] for t in range(start, len(ids))]
            ),
            "one number for each token",
            "sum|add|shape|one number|number",
            "mean of",
        ),
    ],
)

ANSWERS = {
    "coded_batch": CODED_BATCH,
    "halved_sinusoids": HALVED_SINUSOIDS,
    "code_posterior": CODE_POSTERIOR,
    "known_part_log_probs": KNOWN_PART,
    "penalised_logits": PENALISED_LOGITS,
    "continuation_log_prob": CONTINUATION,
}
