"""What few labels are worth without a network: bags of words, and vectors of words by counting."""

from collections.abc import Callable, Hashable, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.experiments import family_texts as texts
from course_lib.experiments.few_label_tasks import FewLabelTask, LabelledRows
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.optimizers import minimise

COUNT_WINDOW, COUNT_WIDTH = 5, 64  # neighbours to either side; numbers of a vector


# A linear classifier
# --------------------------------------------------------------------------------------------------


def fit_logistic(
    features: Float[Tensor, "N F"],
    labels: Int[Tensor, "N"],
    n_classes: int,
    l2: float = 1e-2,
    steps: int = 60,
) -> Callable[[Float[Tensor, "M F"]], Float[Tensor, "M K"]]:
    """Fit a linear classifier by L-BFGS; give the function from features to logits.

    The loss is the mean surprise at the labels plus `l2` / 2 times the squared weights.
    """
    weight = torch.zeros(n_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(n_classes, requires_grad=True)

    def loss() -> Tensor:
        surprise = F.cross_entropy(F.linear(features, weight, bias), labels)
        return surprise + l2 / 2 * weight.square().sum()

    minimise(loss, [weight, bias], steps)
    return lambda others: F.linear(others, weight.detach(), bias.detach())


def standardised(
    features: Float[Tensor, "N F"], others: Float[Tensor, "M F"]
) -> tuple[Float[Tensor, "N F"], Float[Tensor, "M F"]]:
    """Give both the mean 0 and the spread 1 of the first, which are the labelled ones."""
    mean, spread = features.mean(0), features.std(0, correction=0) + 1e-3
    return (features - mean) / spread, (others - mean) / spread


# What is asked: a sentence, or each of its tokens
# --------------------------------------------------------------------------------------------------


def asked_labels(rows: LabelledRows) -> Int[Tensor, "M"]:
    """Give the labels in one row: one per sentence, or one per token that is asked for."""
    return rows.labels[rows.labels != IGNORE_INDEX]


def asked_vectors(vectors: Float[Tensor, "N T F"], rows: LabelledRows) -> Float[Tensor, "M F"]:
    """Give a vector per label: the mean over a sentence's tokens, or the token's own."""
    if rows.labels.ndim == 2:
        return vectors[rows.labels != IGNORE_INDEX]
    return mean_of_tokens(vectors, rows.ids)


def mean_of_tokens(
    vectors: Float[Tensor, "N T F"], ids: Int[Tensor, "N T"]
) -> Float[Tensor, "N F"]:
    """Average the vectors of each row's tokens, without [CLS], [SEP] and padding."""
    real = texts.maskable_places(ids)[..., None].to(vectors.dtype)
    return (vectors * real).sum(1) / real.sum(1).clamp(min=1)


def label_accuracy(logits: Float[Tensor, "M K"], rows: LabelledRows) -> float:
    """Tell which share of the labels is the likeliest class; `logits` has a row for each label."""
    return (logits.argmax(-1) == asked_labels(rows)).float().mean().item()


# The baselines
# --------------------------------------------------------------------------------------------------


def commonest_accuracy(task: FewLabelTask) -> float:
    """Answer always with the class that is commonest among the labels."""
    counts = torch.bincount(asked_labels(task.train), minlength=len(task.classes))
    return (asked_labels(task.test) == counts.argmax()).float().mean().item()


def bag_of_words_accuracy(task: FewLabelTask, pairs: bool = False) -> float:
    """Fit a linear classifier to which tokens stand in a sentence; with `pairs`, which pairs too.

    Where a token is to be classified, its features are the token, or with `pairs` its neighbours.
    """
    train, test = (bag_keys(rows, pairs) for rows in (task.train, task.test))
    known = sorted({key for bag in train for key in bag})
    column = {key: number for number, key in enumerate(known)}
    features = many_hot(train, column)
    classify = fit_logistic(features, asked_labels(task.train), len(task.classes), l2=3e-3)
    return label_accuracy(classify(many_hot(test, column)), task.test)


def bag_keys(rows: LabelledRows, pairs: bool) -> list[set[Hashable]]:
    """Name what a bag of words sees of each thing asked for."""
    if rows.labels.ndim == 1:
        kept = [row[row >= len(texts.FAMILY_SPECIALS)].tolist() for row in rows.ids]
        two = [set(zip(row, row[1:], strict=False)) if pairs else set() for row in kept]
        return [{(token,) for token in row} | more for row, more in zip(kept, two, strict=True)]
    found = []
    for i, j in (rows.labels != IGNORE_INDEX).nonzero().tolist():
        left, token, right = rows.ids[i, j - 1 : j + 2].tolist()
        found.append({(-1, left), (1, right)} if pairs else {(0, token)})
    return found


def many_hot(bags: Sequence[set[Hashable]], column: dict[Hashable, int]) -> Float[Tensor, "N F"]:
    """Write a row per bag, 1 at each key that has a column."""
    table = torch.zeros(len(bags), len(column))
    for row, bag in enumerate(bags):
        table[row, [column[key] for key in bag if key in column]] = 1.0
    return table


@cache
def count_vectors(window: int = COUNT_WINDOW, width: int = COUNT_WIDTH) -> Float[Tensor, "V F"]:
    """Make a vector per token from the training passages by counting, without a network.

    How often two tokens stand within `window` of each other, as positive pointwise mutual
    information, and of that table the largest singular vectors. Source: Levy, Goldberg and Dagan
    2015 (TACL 3), section 2.
    """
    ids = texts.family_passages().ids
    counts = torch.zeros(texts.FAMILY_VOCABULARY**2, dtype=torch.float64)
    for distance in range(1, window + 1):
        left, right = ids[:, :-distance], ids[:, distance:]
        real = texts.maskable_places(left) & texts.maskable_places(right)
        pairs = (left * texts.FAMILY_VOCABULARY + right)[real]
        counts += torch.bincount(pairs, minlength=len(counts))
    table = counts.view(texts.FAMILY_VOCABULARY, -1)
    U, S, _ = torch.linalg.svd(positive_pmi(table + table.T))
    return (U[:, :width] * S[:width].sqrt()).float()


def positive_pmi(counts: Float[Tensor, "V V"]) -> Float[Tensor, "V V"]:
    """Give max(0, log(p(a, b) / (p(a) p(b)))) of a symmetric table of counts, 0 for no count.

    >>> positive_pmi(torch.tensor([[0.0, 2.0], [2.0, 4.0]])).round(decimals=3)
    tensor([[0.0000, 0.2880],
            [0.2880, 0.0000]])
    """
    p = counts / counts.sum()
    ratio = p / (p.sum(1, keepdim=True) * p.sum(1)).clamp(min=1e-12)
    return torch.where(counts > 0, ratio, 1.0).log().clamp(min=0.0)


def vector_accuracy(
    vectors: Callable[[Int[Tensor, "N T"]], Float[Tensor, "N T F"]], task: FewLabelTask
) -> float:
    """Fit a linear classifier to vectors that somebody else has made; only it learns from labels.

    `vectors(ids)` gives a vector per token; of a sentence the mean is read.
    """
    features, others = (asked_vectors(vectors(rows.ids), rows) for rows in (task.train, task.test))
    features, others = standardised(features, others)
    classify = fit_logistic(features, asked_labels(task.train), len(task.classes))
    return label_accuracy(classify(others), task.test)


def count_vector_accuracy(task: FewLabelTask) -> float:
    """Fit a linear classifier to the counted vectors."""
    return vector_accuracy(lambda ids: count_vectors()[ids], task)
