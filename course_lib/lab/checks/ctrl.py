"""Checkers of lesson 17. The truths are plain Python, by floats and by loops."""

import math
from typing import Any

import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips

IGNORE = -100


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# Exercise 1
# --------------------------------------------------------------------------------------------------


@checker
def coded_batch(attempt: Attempt) -> str:
    """Write pages behind their codes: inputs, and the next token as target."""
    cases = [
        ([[5, 6, 7], [8]], [90, 91], 2, 0),
        ([[4], [9, 3, 4, 4], [7, 0]], [50, 51, 50], 1, 0),
        ([[6, 6]], [70], 3, 9),
    ]
    judge_by_slips(attempt, cases, _coded_tables, _coded_slips, _coded_called, plain=_two_tables)
    return "right: the code is read, never asked for, and padding is neither."


def _coded_called(pages: list, codes: list, end: int, pad: int) -> str:
    return f"inputs and targets of the pages {pages} with codes {codes}, end {end}, pad {pad}"


def _coded_rows(pages: list, codes: list, end: int, pad: int, ask: int = IGNORE) -> list:
    width, rows = max(map(len, pages)) + 1, ([], [])
    for page, code in zip(pages, codes, strict=True):
        whole = [code, *page, end]
        rows[0].append([whole[i] if i <= len(page) else pad for i in range(width)])
        rows[1].append([whole[i + 1] if i <= len(page) else ask for i in range(width)])
    return [*rows]


def _coded_tables(*case: Any) -> list[Tensor]:
    return [torch.tensor(rows) for rows in _coded_rows(*case)]


def _two_tables(got: Any) -> Any:
    if isinstance(got, Tensor):
        raise Wrong("two tables are asked for: the inputs, and the targets.")
    return got


def _coded_slips(pages: list, codes: list, end: int, pad: int) -> list[tuple[Any, str]]:
    inputs, targets = _coded_rows(pages, codes, end, pad)
    width = len(inputs[0])

    def filled(rows: list, by: int, n: int = width) -> list:
        return [row + [by] * (n - len(row)) for row in rows]

    whole = filled(
        [[code, *page, end] for page, code in zip(pages, codes, strict=True)], pad, width + 1
    )
    same = filled([[code, *page] for page, code in zip(pages, codes, strict=True)], IGNORE)
    unended = filled([list(page) for page in pages], IGNORE)
    bare = filled([[*page, end] for page in pages], pad)
    return [
        (
            [inputs, _coded_rows(pages, codes, end, pad, ask=pad)[1]],
            "the padding is a target. The model would learn to write it: put -100 there.",
        ),
        (
            [whole, [[IGNORE, *row] for row in targets]],
            "the targets must be the next token: shift them by one against the inputs.",
        ),
        ([inputs, same], "each target is the token that stands there already. Ask for the next."),
        (
            [inputs, unended],
            "nobody asks for the end token, so the model would never learn to stop.",
        ),
        ([bare, targets], "the inputs begin with the page. Put its control code in front."),
        (
            [whole, filled(targets, IGNORE, width + 1)],
            "the end token is among the inputs. It is asked for, and nothing comes after it.",
        ),
        (
            [
                filled(
                    [row[: len(page) + 1] for row, page in zip(inputs, pages, strict=True)], IGNORE
                ),
                targets,
            ],
            "the inputs are filled with -100, which is no token. Fill them with `pad`; -100 belongs"
            " in the targets.",
        ),
        ([targets, inputs], "inputs first, then targets: yours are in the other order."),
        (
            _coded_rows([page[1:] for page in pages], codes, end, pad),
            "the code stands in place of the page's first token. It comes before it.",
        ),
        (
            [_to_the_right(inputs, pages, 1), _to_the_right(targets, pages, 1)],
            "short pages are filled on the left. Fill them on the right.",
        ),
    ]


def _to_the_right(rows: list, pages: list, more: int) -> list:
    return [
        row[len(page) + more :] + row[: len(page) + more]
        for row, page in zip(rows, pages, strict=True)
    ]


# Exercise 2
# --------------------------------------------------------------------------------------------------


@checker
def halved_sinusoids(attempt: Attempt) -> str:
    """Give the table of positions, all sines first, then all cosines."""
    judge_by_slips(
        attempt,
        [(2, 4), (2, 6), (3, 2)],
        _sinusoids,
        _sinusoid_slips,
        _table_called,
        tolerance=1e-4,
    )
    judge_by_slips(attempt, [(400, 4)], _sinusoids, [], _table_called, tolerance=1e-4)
    return "right: sines in the left half, cosines in the right."


def _table_called(n: int, width: int) -> str:
    return f"the table of {n} positions and width {width}"


def _sinusoids(n: int, width: int, rate=None, first: int = 0) -> Tensor:
    rate = rate or (lambda pair: 10_000 ** (-2 * pair / width))
    half = width // 2
    rows = [
        [math.sin((t + first) * rate(i)) for i in range(half)]
        + [math.cos((t + first) * rate(i)) for i in range(half)]
        for t in range(n)
    ]
    return torch.tensor(rows)


def _sinusoid_slips(n: int, width: int) -> list[tuple[Tensor, str]]:
    right, half = _sinusoids(n, width), width // 2
    in_turn = torch.stack([right[:, :half], right[:, half:]], -1).flatten(1)
    return [
        (in_turn, "sines and cosines stand in turn, as in Vaswani et al. CTRL's stand in halves."),
        (right.roll(half, 1), "the cosines come first. CTRL's table begins with the sines."),
        (
            _sinusoids(n, width, lambda pair: 10_000 ** (-pair / width)),
            "the rates fall half as fast as they should: pair i has 10000 to the -2i / width.",
        ),
        (
            _sinusoids(n, width, lambda pair: 10_000 ** (2 * pair / width)),
            "the rates grow. They fall from 1: the exponent is negative.",
        ),
        (_sinusoids(n, width, first=1), "positions are counted from 0."),
        (right.T, "one row for each position: yours are the columns."),
    ]


# Exercise 3
# --------------------------------------------------------------------------------------------------


@checker
def code_posterior(attempt: Attempt) -> str:
    """Turn log p(page | code) and the prior into p(code | page)."""
    table = 2 * _draw(3, 4) - 3
    cases = [
        (table, torch.tensor([0.1, 0.2, 0.3, 0.4])),
        (_draw(2, 3, seed=1) - 1, torch.tensor([0.7, 0.25, 0.05])),
    ]
    judge_by_slips(attempt, cases, _posterior, _posterior_slips, _posterior_called)
    far = (torch.tensor([[-800.0, -801.0], [-3.0, -900.0]]), torch.tensor([0.25, 0.75]))
    got = attempt(*far)
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for likely pages, but log-probabilities near -800 give NaN: their exponentials"
            " are 0. Stay with logarithms until the softmax."
        )
    judge_by_slips(attempt, [far], _posterior, [], _posterior_called, tolerance=1e-3)
    _judge_shut_code(attempt, table[:, :2])
    return "right: likelihood times prior, scaled to sum to 1 over the codes."


def _judge_shut_code(attempt: Attempt, table: Tensor) -> None:
    prior = torch.tensor([0.0, 1.0])
    far = table + torch.tensor([200.0, 0.0])
    got = attempt(far, prior)
    if isinstance(got, Tensor) and got.shape == far.shape and got[:, 0].max() > 0.5:
        raise Wrong(
            "a code with prior 0 gets probability as soon as it explains a page well. Its logarithm"
            " is minus infinity: do not raise the prior to a small number."
        )
    if isinstance(got, Tensor) and got.shape == far.shape and not got[:, 1].min() > 0.5:
        raise Wrong(
            "a code with prior 0 explains these pages better by 200 nats, and nothing is left for"
            " the others: their exponentials are 0. Add the prior's logarithm before the softmax."
        )
    cases = [(table, prior), (far, prior)]
    judge_by_slips(attempt, cases, _posterior, [], _posterior_called)


def _posterior_called(log_likelihoods: Tensor, prior: Tensor) -> str:
    return f"p(code | page) of {len(log_likelihoods)} pages with the prior {describe(prior)}"


def _posterior(log_likelihoods: Tensor, prior: Tensor) -> Tensor:
    rows = []
    for row in log_likelihoods.tolist():
        pairs = list(zip(row, prior.tolist(), strict=True))
        best = max(x for x, p in pairs if p > 0)
        weights = [math.exp(x - best) * p if p > 0 else 0.0 for x, p in pairs]
        rows.append([weight / sum(weights) for weight in weights])
    return torch.tensor(rows)


def _posterior_slips(log_likelihoods: Tensor, prior: Tensor) -> list[tuple[Tensor, str]]:
    joint = log_likelihoods + prior.log()
    return [
        (log_likelihoods.softmax(-1), "the prior is missing: some codes are commoner than others."),
        (
            (log_likelihoods + prior).softmax(-1),
            "the prior is a probability, the table holds logarithms. Add the prior's logarithm.",
        ),
        (joint.softmax(0), "your columns sum to 1. Each page's row must: softmax over the codes."),
        (joint.log_softmax(-1), "these are logarithms. The probabilities are asked for."),
        (joint.exp(), "this is p(page, code). Divide by its sum over the codes, p(page)."),
        (
            (log_likelihoods - prior.log()).softmax(-1),
            "the prior is divided out. Bayes multiplies by it: add its logarithm.",
        ),
        (
            log_likelihoods.softmax(-1) * prior,
            "the products with the prior do not sum to 1. Scale after multiplying, not before.",
        ),
    ]


# Exercise 4
# --------------------------------------------------------------------------------------------------


@checker
def known_part_log_probs(attempt: Attempt) -> str:
    """Give log p(page | the code is one of those that agree)."""
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4])
    table = 2 * _draw(3, 4, seed=2) - 4
    choices = [[True, False, True, False], [True, True, True, True], [False, False, False, True]]
    cases = [(table, prior, torch.tensor(agrees)) for agrees in choices]
    judge_by_slips(attempt, cases, _known_part, _part_slips, _part_called)
    far = (table - 700, prior, torch.tensor(choices[0]))
    got = attempt(*far)
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for likely pages, but log-probabilities near -700 give no number: their"
            " exponentials are 0. Use logsumexp."
        )
    judge_by_slips(attempt, [far], _known_part, [], _part_called, tolerance=1e-3)
    other = table + torch.tensor([0.0, 200.0, 0.0, 0.0])  # a code that does not agree
    got = attempt(other, prior, far[2])
    if isinstance(got, Tensor) and not got.isfinite().all():
        raise Wrong(
            "right for most pages, but no number where a code that does not agree explains a page"
            " better by 200 nats. Take the codes that agree before you scale, or use logsumexp."
        )
    judge_by_slips(attempt, [(other, prior, far[2])], _known_part, [], _part_called)
    return "right: a mean over the codes that agree, by their share."


def _part_called(log_likelihoods: Tensor, prior: Tensor, agrees: Tensor) -> str:
    return f"log p(page | part) of {len(log_likelihoods)} pages, codes {agrees.tolist()}"


def _known_part(log_likelihoods: Tensor, prior: Tensor, agrees: Tensor) -> Tensor:
    codes = [k for k, yes in enumerate(agrees.tolist()) if yes]
    whole = sum(prior[k].item() for k in codes)
    found = []
    for row in log_likelihoods.tolist():
        best = max(row[k] for k in codes)
        total = sum(math.exp(row[k] - best) * prior[k].item() / whole for k in codes)
        found.append(best + math.log(total))
    return torch.tensor(found)


def _part_slips(log_likelihoods: Tensor, prior: Tensor, agrees: Tensor) -> list[tuple[Tensor, str]]:
    chosen, share = log_likelihoods[:, agrees], prior[agrees]
    joint = (chosen + share.log()).logsumexp(-1)
    everything = (log_likelihoods + prior.log()).logsumexp(-1)
    weights = share / share.sum()
    return [
        (
            joint,
            "this is p(page, part). Divide by the part's own probability: the shares of the codes"
            " that agree must sum to 1.",
        ),
        (everything, "codes that do not agree are in the sum. Leave them out."),
        (
            (chosen * weights).sum(-1),
            "this is a mean of logarithms. The mean is over probabilities: logsumexp.",
        ),
        (
            chosen.logsumexp(-1) - math.log(len(share)),
            "all codes that agree count alike here. Weight them by the prior.",
        ),
        (chosen.logsumexp(-1), "probabilities are added without weights: each has a share."),
        (
            joint - everything,
            "this is log p(part | page), the attribution. Asked for is log p(page | part).",
        ),
        (
            (chosen + weights.log()).logsumexp(-1).exp(),
            "this is the probability. Give its logarithm: pages are too unlikely for floats.",
        ),
        (
            chosen.mean(-1),
            "this is a mean of logarithms without weights. The mean is over probabilities, by"
            " their share: logsumexp.",
        ),
        (chosen.amax(-1), "only the likeliest code counts here. All that agree have a share."),
    ]


# Exercise 5
# --------------------------------------------------------------------------------------------------


@checker
def penalised_logits(attempt: Attempt) -> str:
    """Lower the scores of tokens that were said, but for the spared ones."""
    logits = torch.tensor([3.0, -1.0, 2.0, -4.0, 0.5, 1.0])
    cases = [
        (logits, [0, 1, 1, 3, 4, 0], 2.0, {4}),
        (logits.flip(0), [5, 2, 2, 1], 1.25, [0, 1]),
        (logits / 4, [0, 1, 2, 5, 5], 1.5, [2]),
    ]
    judge_by_slips(attempt, cases, _penalised, _penalty_slips, _penalty_called)
    judge_by_slips(attempt, [(logits, [], 1.5, [2])], _penalised, [], _penalty_called)
    return "right: a said token loses, whatever its sign, once, and spared ones keep their score."


def _penalty_called(logits: Tensor, said: list, penalty: float, spared: Any) -> str:
    return f"the logits {logits.tolist()} after {said}, penalty {penalty}, spared {spared}"


def _penalised(
    logits: Tensor,
    said: list,
    penalty: float,
    spared: Any,
    below: float = -1.0,
    once: bool = True,
    spare: bool = True,
) -> Tensor:
    scores = logits.tolist()
    for token in dict.fromkeys(said) if once else said:
        if not (spare and token in spared):
            scores[token] *= penalty ** (-1.0 if scores[token] > 0 else -below)
    return torch.tensor(scores)


def _penalty_slips(
    logits: Tensor, said: list, penalty: float, spared: Any
) -> list[tuple[Tensor, str]]:
    given = (logits, said, penalty, spared)
    unsaid = [token for token in range(len(logits)) if token not in said]
    return [
        (
            _penalised(*given, below=1.0),
            "scores below 0 are divided too, as in CTRL's released code: -4 / 2 is -2, which is"
            " higher. Multiply those.",
        ),
        (_penalised(*given, below=0.0), "scores below 0 stay as they are. They must fall as well."),
        (
            _penalised(*given, once=False),
            "a token that was said twice is lowered twice. It counts once.",
        ),
        (_penalised(*given, spare=False), "the spared tokens are lowered. They keep their score."),
        (
            _penalised(logits, said, 1 / penalty, spared),
            "the scores rise. A penalty above 1 must lower them.",
        ),
        (
            _penalised(logits, said, 1 / penalty, spared, below=1.0),
            "scores above 0 are multiplied too, and rise. Divide those.",
        ),
        (
            _penalised(logits, said[-1:], penalty, spared),
            "only the last token that was said is lowered. All that were said are.",
        ),
        (
            _penalised(logits, unsaid, penalty, spared),
            "you lower the tokens that were not said, and leave those that were.",
        ),
        (
            _penalised(logits, list(range(len(logits))), penalty, spared),
            "all tokens are lowered, said or not.",
        ),
    ]


# Exercise 6
# --------------------------------------------------------------------------------------------------


@checker
def continuation_log_prob(attempt: Attempt) -> str:
    """Sum the log-probabilities of the tokens from `start` on, each given all before it."""
    cases = [
        (2 * _draw(5, 6, seed=3), torch.tensor([2, 0, 5, 1, 1]), 2),
        (_draw(4, 3, seed=4), torch.tensor([1, 2, 0, 2]), 1),
        (_draw(3, 4, seed=5), torch.tensor([3, 1, 2]), 2),
    ]
    judge_by_slips(attempt, cases, _continuation, _continuation_slips, _continuation_called)
    return "right: each token is scored by the logits one step before it."


def _continuation_called(logits: Tensor, ids: Tensor, start: int) -> str:
    return f"log p of the tokens {ids[start:].tolist()} behind {ids[:start].tolist()}"


def _terms(logits: Tensor, ids: Tensor, start: int, step: int = 1, end: int = 0) -> list[float]:
    found = []
    for t in range(start, len(ids) - end):
        row = logits[t - step].tolist()
        top = max(row)
        total = sum(math.exp(x - top) for x in row)
        found.append(row[ids[t]] - top - math.log(total))
    return found


def _continuation(logits: Tensor, ids: Tensor, start: int) -> float:
    return sum(_terms(logits, ids, start))


def _continuation_slips(logits: Tensor, ids: Tensor, start: int) -> list[tuple[float, str]]:
    terms = _terms(logits, ids, start)
    raw = sum(logits[t - 1, ids[t]].item() for t in range(start, len(ids)))
    down = logits.log_softmax(0)
    return [
        (
            sum(_terms(logits, ids, start, step=0)),
            "off by one: the logits at a position are about the next token.",
        ),
        (
            sum(_terms(logits, ids, 1)),
            "the text before is scored too. Only tokens from start on belong to the continuation.",
        ),
        (
            sum(_terms(logits, ids, start + 1)),
            "the continuation's first token is missing: the logits before it score it.",
        ),
        (sum(terms) / len(terms), "this is the mean. The log-probability of a text is the sum."),
        (-sum(terms), "this is the loss: minus the log-probability."),
        (math.exp(sum(terms)), "this is the probability. Give its logarithm."),
        (raw, "these are logits. Take log_softmax first."),
        (terms[0], "this is the first token alone. Add all tokens from start on."),
        (sum(_terms(logits, ids, start, end=1)), "the continuation's last token is missing."),
        (
            sum(down[t - 1, ids[t]].item() for t in range(start, len(ids))),
            "the softmax runs over the positions. It belongs to the vocabulary, row by row.",
        ),
    ]
