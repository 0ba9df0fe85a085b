"""What a control code does: steering by a classifier, attribution by Bayes, its worth in nats."""

from collections.abc import Callable, Collection
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments import control_codes as control
from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import passage_log_probs
from course_lib.inference.generate import generate, next_token_probs, sample_tokens
from course_lib.training.optimizers import minimise

CODE_CHUNK = 60  # rows read at once


# Steering
# --------------------------------------------------------------------------------------------------


def token_counts(ids: Int[Tensor, "N T"]) -> Float[Tensor, "N W"]:
    """Count each row's tokens, without the code and the special ones, and add a column of ones."""
    counts = torch.zeros(len(ids), texts.FAMILY_VOCABULARY + 1)
    words = ids[:, 1:].clamp(max=texts.FAMILY_VOCABULARY)  # a code in the text is no word
    counts.scatter_add_(1, words, torch.ones(words.shape))
    counts[:, : len(texts.FAMILY_SPECIALS)] = 0
    counts[:, -1] = 1
    return counts


def fit_softmax_regression(
    counts: Float[Tensor, "N W"], labels: Int[Tensor, "N"], n_classes: int, decay: float = 1e-4
) -> Float[Tensor, "W K"]:
    """Fit the weights of a linear classifier by L-BFGS, with a small L2 penalty."""
    weights = torch.zeros(counts.shape[1], n_classes, requires_grad=True)
    minimise(
        lambda: F.cross_entropy(counts @ weights, labels) + decay * weights.square().sum(),
        [weights],
    )
    return weights.detach()


@cache
def page_classifiers() -> dict[str, Float[Tensor, "W K"]]:
    """Learn from the training pages to tell each part of a code by the words, in any order."""
    ids, codes = control.control_pages()
    counts = token_counts(ids)
    return {
        part: fit_softmax_regression(counts, labels[codes], int(labels.max()) + 1)
        for part, labels in control.code_labels().items()
    }


def classify_pages(ids: Int[Tensor, "N T"]) -> dict[str, Float[Tensor, "N K"]]:
    """Give the classifiers' log-probabilities for each part of the code."""
    counts = token_counts(ids)
    return {
        part: (counts @ weights).log_softmax(-1) for part, weights in page_classifiers().items()
    }


def part_accuracies(
    guesses: dict[str, Float[Tensor, "N K"]], codes: Int[Tensor, "N"]
) -> dict[str, float]:
    """Say how often the likeliest value of each part is the code's."""
    return {
        part: (guesses[part].argmax(-1) == labels[codes]).float().mean().item()
        for part, labels in control.code_labels().items()
    }


def write_pages(
    model: nn.Module, starts: Int[Tensor, "N P"], seed: int = 0, **settings
) -> Int[Tensor, "N T"]:
    """Continue rows to the end of the page; `settings` are those of `generate`."""
    room = control.CONTROL_LENGTH - starts.shape[1]
    dice = torch.Generator().manual_seed(seed)
    rows = generate(model, starts, room, stop_token=texts.SEP_TOKEN, generator=dice, **settings)
    ended = (rows == texts.SEP_TOKEN).int().cumsum(1) - (rows == texts.SEP_TOKEN).int()
    rows = rows.masked_fill(ended > 0, texts.PAD_TOKEN)
    return F.pad(rows, (0, control.CONTROL_LENGTH - rows.shape[1]), value=texts.PAD_TOKEN)


def coded_starts(codes: Int[Tensor, "N"]) -> Int[Tensor, "N 1"]:
    """Begin a page by its code alone."""
    return codes[:, None] + texts.FAMILY_VOCABULARY


# Attribution
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def code_log_probs(model: nn.Module, ids: Int[Tensor, "N T"]) -> Float[Tensor, "N K"]:
    """Give the log-probability of every page behind every code, in nats."""
    columns = []
    for code in range(len(control.code_labels()["kind"])):
        rows = control.coded_rows(ids, torch.full((len(ids),), code))
        columns.append(
            torch.cat([passage_log_probs(model, part) for part in rows.split(CODE_CHUNK)])
        )
    return torch.stack(columns, 1)


@cache
def log_prior() -> Float[Tensor, "K"]:
    """Give the log of each code's share of the training pages."""
    codes = control.control_pages().codes
    return (codes.bincount() / len(codes)).log()


def part_posterior(log_joint: Float[Tensor, "N K"]) -> dict[str, Float[Tensor, "N P"]]:
    """Give the log-probability of each part's values: a sum over the codes that have them."""
    posterior = log_joint.log_softmax(-1)
    return {
        part: torch.stack(
            [posterior[:, labels == value].logsumexp(-1) for value in labels.unique()], 1
        )
        for part, labels in control.code_labels().items()
    }


def nats_with_parts(
    table: Float[Tensor, "N K"], codes: Int[Tensor, "N"], parts: Collection[str]
) -> Float[Tensor, "N"]:
    """Give log p(page | the code's `parts`): a mean over the codes that agree with them.

    `table` is that of `code_log_probs`; codes are weighed by their share of the training pages.
    """
    agrees = torch.ones_like(table, dtype=torch.bool)
    for part in parts:
        labels = control.code_labels()[part]
        agrees &= labels[codes][:, None] == labels
    weight = log_prior().expand_as(table).masked_fill(~agrees, -torch.inf)
    return (table + weight).logsumexp(-1) - weight.logsumexp(-1)


# Writing by a rule of one's own
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def write_by_rule(
    model: nn.Module,
    starts: Int[Tensor, "N P"],
    rule: Callable[[Float[Tensor, "N V"], Int[Tensor, "N T"]], Float[Tensor, "N V"]],
    temperature: float = 1.0,
    seed: int = 0,
) -> Int[Tensor, "N T"]:
    """Write pages, with the logits changed by `rule(logits, ids so far)`, and without a cache."""
    ids, dice = starts, torch.Generator().manual_seed(seed)
    while ids.shape[1] < control.CONTROL_LENGTH:
        logits = rule(model(ids)[:, -1], ids)
        token = sample_tokens(next_token_probs(logits, temperature), dice)
        ended = (ids == texts.SEP_TOKEN).any(1)
        ids = torch.cat([ids, token.masked_fill(ended, texts.PAD_TOKEN)[:, None]], 1)
    return ids


def released_penalty(
    logits: Float[Tensor, "N V"], ids: Int[Tensor, "N T"], penalty: float
) -> Float[Tensor, "N V"]:
    """Divide the logits of said tokens, whatever their sign, as CTRL's released code does.

    A logit below 0 comes nearer to 0: its token becomes likelier.
    """
    said = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    return torch.where(said, logits / penalty, logits)


def guided_logits(
    model: nn.Module, logits: Float[Tensor, "N V"], ids: Int[Tensor, "N T"], strength: float
) -> Float[Tensor, "N V"]:
    """Go `strength` times as far as the code does from what the model says without one.

    Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598), for text.
    """
    without = torch.cat([torch.full_like(ids[:, :1], texts.CLS_TOKEN), ids[:, 1:]], 1)
    plain = model(without)[:, -1]
    return plain + strength * (logits - plain)


# The quality of pages
# --------------------------------------------------------------------------------------------------


def page_texts(ids: Int[Tensor, "N T"]) -> list[str]:
    """Decode rows, without code and end."""
    return [
        texts.decode_family(token for token in row[1:] if token >= len(texts.FAMILY_SPECIALS))
        for row in ids.tolist()
    ]


@cache
def training_sentences() -> frozenset[str]:
    """Give every sentence of the training pages."""
    pages = page_texts(control.control_pages().ids)
    return frozenset(s.strip() for page in pages for s in texts.SENTENCES.findall(page))


def known_sentences(ids: Int[Tensor, "N T"]) -> float:
    """Give the share of the pages' sentences that some training page holds word for word."""
    told = [s.strip() for page in page_texts(ids) for s in texts.SENTENCES.findall(page)]
    return sum(sentence in training_sentences() for sentence in told) / len(told)


def repeated_runs(ids: Int[Tensor, "N T"], n: int = 4) -> float:
    """Give the share of runs of `n` tokens that stood before in the same page, its mean."""
    shares = []
    for row in ids.tolist():
        page = [token for token in row[1:] if token >= len(texts.FAMILY_SPECIALS)]
        runs = [tuple(page[i : i + n]) for i in range(len(page) - n + 1)]
        shares.append(1 - len(set(runs)) / max(1, len(runs)))
    return sum(shares) / len(shares)
