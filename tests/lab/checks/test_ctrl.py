"""The checkers of lesson 17 accept right answers and name typical slips."""

import torch

from course_lib.lab.checks import ctrl as check
from course_lib.lab.solutions import ctrl as solutions
from course_lib.text.batches import pad_rows
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


# A batch with codes
# --------------------------------------------------------------------------------------------------


def batch(pages, codes, end, pad, ignore=-100, ask_end=True, code=True, shift=True):
    rows = [[c, *page, end] for c, page in zip(codes, pages, strict=True)]
    inputs = pad_rows([row[:-1] if code else row[1:] for row in rows], pad)[0]
    asked = [row[shift : None if ask_end and shift else -1] for row in rows]
    return inputs, pad_rows(asked, pad if ignore is None else ignore, length=inputs.shape[1])[0]


def batching(**change):
    return lambda *case: batch(*case, **change)


def unshifted(pages, codes, end, pad):
    whole = pad_rows([[c, *page, end] for c, page in zip(codes, pages, strict=True)], pad)[0]
    _, targets = batch(pages, codes, end, pad)
    return whole, torch.cat([torch.full((len(pages), 1), -100), targets], 1)


def on_the_left(pages, codes, end, pad):
    width = max(map(len, pages))
    inputs = [[pad] * (width - len(p)) + [c, *p] for p, c in zip(pages, codes, strict=True)]
    targets = [[-100] * (width - len(p)) + [*p, end] for p in pages]
    return torch.tensor(inputs), torch.tensor(targets)


def end_among_inputs(pages, codes, end, pad):
    inputs = pad_rows([[c, *page, end] for c, page in zip(codes, pages, strict=True)], pad)[0]
    targets = batch(pages, codes, end, pad)[1]
    return inputs, torch.cat([targets, torch.full((len(pages), 1), -100)], 1)


def inputs_ignored(pages, codes, end, pad):
    return batch(pages, codes, end, -100)[0], batch(pages, codes, end, pad)[1]


def padding_by_its_id(pages, codes, end, pad):
    inputs, targets = batch(pages, codes, end, pad, ignore=None)
    return inputs, targets.masked_fill(targets == pad, -100)


# Sinusoids
# --------------------------------------------------------------------------------------------------


def sines(n, width, power=-2.0, first=0, turn=False, swap=False):
    angles = torch.outer(
        torch.arange(n) + first, 10_000.0 ** (power * torch.arange(width // 2) / width)
    )
    parts = (angles.cos(), angles.sin()) if swap else (angles.sin(), angles.cos())
    return torch.stack(parts, -1).flatten(1) if turn else torch.cat(parts, -1)


def waves(**change):
    return lambda *case: sines(*case, **change)


# Bayes
# --------------------------------------------------------------------------------------------------


def posterior(table, prior, sign=1, axis=-1):
    joint = table + sign * prior.log()
    return (joint - joint.logsumexp(axis, keepdim=True)).exp()


def by_exponentials(table, prior):
    joint = table.exp() * prior
    return joint / joint.sum(-1, keepdim=True)


def prior_after(table, prior):
    return table.softmax(-1) * prior


def prior_after_scaled(table, prior):
    joint = table.softmax(-1) * prior
    return joint / joint.sum(-1, keepdim=True)


# Parts
# --------------------------------------------------------------------------------------------------


def part(table, prior, agrees):
    log_weights = prior.log().masked_fill(~agrees, -torch.inf)
    return (table + log_weights).logsumexp(-1) - log_weights.logsumexp(-1)


def joint_alone(table, prior, agrees):
    return (table[:, agrees] + prior[agrees].log()).logsumexp(-1)


def all_codes(table, prior, agrees):
    return (table + prior.log()).logsumexp(-1)


def mean_of_logs(table, prior, agrees):
    return table[:, agrees] @ (prior[agrees] / prior[agrees].sum())


def alike(table, prior, agrees):
    return table[:, agrees].exp().mean(-1).log()


def scaled_by_all(table, prior, agrees):
    best = table.amax(-1, keepdim=True)
    share = (prior * agrees) / prior[agrees].sum()
    return best[:, 0] + ((table - best).exp() @ share).log()


def through_exponentials(table, prior, agrees):
    return (table[:, agrees].exp() @ (prior[agrees] / prior[agrees].sum())).log()


# Penalties
# --------------------------------------------------------------------------------------------------


def penalised(logits, said, penalty, spared, below="multiply", spare=True):
    tokens = [token for token in set(said) if not (spare and token in spared)]
    chosen = torch.zeros(len(logits), dtype=torch.bool)
    chosen[tokens] = True
    low = {"multiply": logits * penalty, "divide": logits / penalty, "leave": logits}[below]
    return torch.where(chosen, torch.where(logits > 0, logits / penalty, low), logits)


def penalty_of(**change):
    return lambda *case: penalised(*case, **change)


def multiplied(logits, said, penalty, spared):
    chosen = torch.zeros(len(logits), dtype=torch.bool)
    chosen[[token for token in said if token not in spared]] = True
    return torch.where(chosen, logits * penalty, logits)


def once_each_time(logits, said, penalty, spared):
    for token in said:
        if token not in spared:
            logits = penalised(logits, [token], penalty, spared)
    return logits


def in_place(logits, said, penalty, spared):
    for token in set(said) - set(spared):
        logits[token] *= penalty if logits[token] < 0 else 1 / penalty
    return logits


# Continuations
# --------------------------------------------------------------------------------------------------


def continuation(logits, ids, start, step=1):
    log_probs = logits.log_softmax(-1)
    return sum(log_probs[t - step, ids[t]] for t in range(start, len(ids)))


def over_positions(logits, ids, start):
    return sum(logits.log_softmax(0)[t - 1, ids[t]] for t in range(start, len(ids)))


def by_cross_entropy(logits, ids, start):
    losses = torch.nn.functional.cross_entropy(logits[:-1], ids[1:], reduction="none")
    return -losses[start - 1 :].sum()


CASES = {
    check.coded_batch: Case(
        solution=solutions.coded_batch_solution,
        skeleton=skeleton_4,
        also_right=[batch],
        wrong=[
            (batching(ignore=None), "the padding is a target"),
            (batching(ask_end=False), "never learn to stop"),
            (batching(code=False), "begin with the page"),
            (batching(shift=False), "stands there already"),
            (unshifted, "shift them by one"),
            (lambda *case: batch(*case)[::-1], "other order"),
            (lambda *case: batch(*case)[0], "two tables"),
            (lambda p, c, e, pad: batch([page[1:] for page in p], c, e, pad), "comes before it"),
            (on_the_left, "filled on the left"),
            (end_among_inputs, "the end token is among the inputs"),
            (inputs_ignored, "filled with -100, which is no token"),
            (lambda *case: [x.tolist() for x in batch(*case)], "expected a tensor"),
        ],
    ),
    check.halved_sinusoids: Case(
        solution=solutions.halved_sinusoids_solution,
        skeleton=skeleton_2,
        also_right=[sines],
        wrong=[
            (waves(turn=True), "stand in turn"),
            (waves(swap=True), "cosines come first"),
            (waves(power=-1.0), "half as fast"),
            (waves(power=2.0), "rates grow"),
            (waves(first=1), "counted from 0"),
            (lambda *case: sines(*case).T, "are the columns"),
        ],
    ),
    check.code_posterior: Case(
        solution=solutions.code_posterior_solution,
        skeleton=skeleton_2,
        also_right=[posterior],
        wrong=[
            (lambda table, prior: table.softmax(-1), "prior is missing"),
            (lambda table, prior: (table + prior).softmax(-1), "Add the prior's logarithm"),
            (lambda *case: posterior(*case, axis=0), "columns sum to 1"),
            (lambda *case: posterior(*case).log(), "these are logarithms"),
            (lambda *case: posterior(*case, sign=-1), "divided out"),
            (by_exponentials, "near -800 give NaN"),
            (prior_after, "Scale after multiplying"),
            (lambda t, p: posterior(t, p.clamp(min=1e-8)), "a code with prior 0 gets"),
            (lambda t, p: posterior(t, p + 1e-6 * (p == 0)), "a code with prior 0 gets"),
            (prior_after_scaled, "nothing is left for the others"),
        ],
    ),
    check.known_part_log_probs: Case(
        solution=solutions.known_part_log_probs_solution,
        skeleton=skeleton_3,
        also_right=[part],
        wrong=[
            (joint_alone, "part's own probability"),
            (all_codes, "Leave them out"),
            (mean_of_logs, "mean of logarithms"),
            (alike, "Weight them by the prior"),
            (through_exponentials, "logsumexp"),
            (scaled_by_all, "a code that does not agree"),
            (lambda *case: part(*case).exp(), "Give its logarithm"),
            (lambda *case: joint_alone(*case) - all_codes(*case), "the attribution"),
            (lambda t, p, agrees: t[:, agrees].mean(-1), "logarithms without weights"),
            (lambda t, p, agrees: t[:, agrees].amax(-1), "only the likeliest"),
        ],
    ),
    check.penalised_logits: Case(
        solution=solutions.penalised_logits_solution,
        skeleton=skeleton_4,
        also_right=[penalised],
        wrong=[
            (penalty_of(below="divide"), "released code"),
            (penalty_of(below="leave"), "must fall as well"),
            (penalty_of(spare=False), "keep their score"),
            (once_each_time, "counts once"),
            (in_place, "changed its argument"),
            (lambda z, s, p, k: penalised(z, s, 1 / p, k), "scores rise"),
            (multiplied, "scores above 0 are multiplied"),
            (lambda z, s, p, k: penalised(z, s[-1:], p, k), "only the last token"),
        ],
    ),
    check.continuation_log_prob: Case(
        solution=solutions.continuation_log_prob_solution,
        skeleton=skeleton_3,
        also_right=[continuation, by_cross_entropy],
        wrong=[
            (lambda *case: continuation(*case, step=0), "off by one"),
            (lambda z, ids, start: continuation(z, ids, 1), "text before is scored too"),
            (lambda z, ids, start: continuation(z, ids, start + 1), "first token is missing"),
            (lambda z, ids, start: continuation(z, ids, start) / (len(ids) - start), "the mean"),
            (lambda *case: -continuation(*case), "this is the loss"),
            (lambda *case: continuation(*case).exp(), "this is the probability"),
            (lambda z, ids, start: continuation(z, ids[: start + 1], start), "first token alone"),
            (lambda z, ids, start: continuation(z, ids[:-1], start), "last token is missing"),
            (over_positions, "runs over the positions"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
