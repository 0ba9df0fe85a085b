"""Answers to the exercises of lesson 33, written from their statements alone."""

import copy

import torch
from torch.nn import functional

from tests.lab.checks.answers.table import Answers, Slip

# --- average_models ---


def average_by_vector(first, second, alpha):
    merged = copy.deepcopy(first)
    one, other = (
        torch.nn.utils.parameters_to_vector(model.parameters()) for model in (first, second)
    )
    torch.nn.utils.vector_to_parameters((1 - alpha) * one + alpha * other, merged.parameters())
    return merged


def average_by_lerp(first, second, alpha):
    merged = copy.deepcopy(first)
    with torch.no_grad():
        for own, theirs in zip(merged.parameters(), second.parameters(), strict=True):
            own.lerp_(theirs, alpha)
    return merged


def average_by_names(first, second, alpha):
    merged, other = copy.deepcopy(first), dict(second.named_parameters())
    for name, own in merged.named_parameters():
        own.data = own.data * (1 - alpha) + other[name].data * alpha
    return merged


def averaged(
    mix=lambda own, theirs, alpha: (1 - alpha) * own + alpha * theirs,
    start=lambda first, second: copy.deepcopy(first),
    parameters=lambda model: model.parameters(),
    write=lambda own, new: own.copy_(new),
):
    """A right answer but for the mix, the copy, the parameters, or the writing."""

    def average_models(first, second, alpha):
        merged = start(first, second)
        with torch.no_grad():
            for own, theirs in zip(parameters(merged), parameters(second), strict=True):
                write(own, mix(own, theirs, alpha))
        return merged

    return average_models


def average_of_dicts(first, second, alpha):
    other = second.state_dict()
    return {name: (1 - alpha) * x + alpha * other[name] for name, x in first.state_dict().items()}


AVERAGE_MODELS = Answers(
    right=[average_by_vector, average_by_lerp, average_by_names],
    wrong=[
        Slip(
            averaged(parameters=lambda model: model.state_dict().values()),
            "tied parameters twice",
            r"twice|tied",
        ),
        Slip(
            averaged(mix=lambda own, theirs, alpha: alpha * own + (1 - alpha) * theirs),
            "alpha turned round",
            r"alpha|wrong model",
        ),
        Slip(averaged(start=lambda first, second: first), "the first is changed", r"chang|copy"),
        Slip(averaged(write=lambda own, new: None), "nothing is written", r"nothing|copy_|write"),
        Slip(
            averaged(mix=lambda own, theirs, alpha: (own + theirs) / 2),
            "the plain mean",
            r"alpha|middle",
        ),
        Slip(
            averaged(mix=lambda own, theirs, alpha: own + alpha * theirs),
            "the first in full",
            r"sum to 1|full|share",
        ),
        Slip(averaged(mix=lambda own, theirs, alpha: theirs), "the second model", r"second"),
        Slip(average_of_dicts, "a dict of tensors", r"model|dict"),
        Slip(
            lambda first, second, alpha: first if alpha < 0.5 else second,
            "one of the two",
            r"itself|new|chang",
        ),
    ],
)

# --- masked_reverse_kl ---


def kl_by_loops(student, teacher, mask):
    total, count = 0.0, 0
    for own, theirs, counted in zip(student, teacher.detach(), mask, strict=True):
        for a, b, c in zip(own, theirs, counted, strict=True):
            if c:
                p, q = a - a.logsumexp(0), b - b.logsumexp(0)
                total, count = total + (p.exp() * (p - q)).sum(), count + 1
    return total / count


def kl_by_function(student, teacher, mask):
    each = functional.kl_div(
        teacher.detach().log_softmax(-1), student.log_softmax(-1), reduction="none", log_target=True
    )
    return each.sum(-1)[mask].mean()


def kl_by_weights(student, teacher, mask):
    with torch.no_grad():
        theirs = functional.log_softmax(teacher, dim=2)
    own = functional.log_softmax(student, dim=2)
    each = torch.einsum("btv,btv->bt", own.exp(), own - theirs)
    return (each * mask.float()).sum() / mask.float().sum()


def reverse_kl(
    weigh=lambda own, theirs: own.exp(),
    gap=lambda own, theirs: own - theirs,
    reduce=lambda each, mask: each[mask].mean(),
    still=lambda teacher: teacher.detach(),
    axis=-1,
):
    """A right answer but for the weight, the difference, the mean, the teacher, or the axis."""

    def masked_reverse_kl(student, teacher, mask):
        own, theirs = student.log_softmax(axis), still(teacher).log_softmax(axis)
        return reduce((weigh(own, theirs) * gap(own, theirs)).sum(-1), mask)

    return masked_reverse_kl


MASKED_REVERSE_KL = Answers(
    right=[kl_by_loops, kl_by_function, kl_by_weights],
    wrong=[
        Slip(
            reverse_kl(lambda own, theirs: theirs.exp(), lambda own, theirs: theirs - own),
            "the forward direction",
            r"forward|student's probabilities",
        ),
        Slip(
            reverse_kl(weigh=lambda own, theirs: theirs.exp()),
            "weighed by the teacher",
            r"teacher's|weights? are|student's prob",
        ),
        Slip(reverse_kl(gap=lambda own, theirs: theirs - own), "the sign turned", r"sign|below 0"),
        Slip(reverse_kl(reduce=lambda each, mask: each.mean()), "no mask", r"mask|padding"),
        Slip(
            reverse_kl(reduce=lambda each, mask: (each * mask).mean()),
            "divided by all places",
            r"divid|padding",
        ),
        Slip(reverse_kl(reduce=lambda each, mask: each[mask].sum()), "a sum", r"mean|added"),
        Slip(
            reverse_kl(reduce=lambda each, mask: ((each * mask).sum(1) / mask.sum(1)).mean()),
            "a mean of means",
            r"each answer|alike|mean of",
        ),
        Slip(reverse_kl(still=lambda teacher: teacher), "the teacher learns", r"teacher|detach"),
        Slip(
            lambda student, teacher, mask: kl_by_function(student, teacher, mask).item(),
            "a plain number",
            r"gradient|item",
        ),
        Slip(
            lambda student, teacher, mask: (
                (student.softmax(-1) * (student - teacher.detach())).sum(-1)[mask].mean()
            ),
            "raw scores subtracted",
            r"log-prob|denominator",
        ),
        Slip(
            reverse_kl(reduce=lambda each, mask: (each * mask).sum() / len(mask)),
            "divided by answers",
            r"number of answers",
        ),
        Slip(
            lambda student, teacher, mask: (
                (kl_by_loops(student, teacher, mask) + kl_by_loops(teacher, student, mask)) / 2
            ),
            "both directions",
            r"both directions",
        ),
        Slip(reverse_kl(axis=1), "softmax over places", r"vocabulary|axis|places"),
        Slip(
            reverse_kl(weigh=lambda own, theirs: own.detach().exp()),
            "weights held fixed",
            r"gradient",
        ),
    ],
)

# --- one_token_loss ---


def one_by_nll(student, teacher, written, mask):
    own = -functional.nll_loss(student.log_softmax(-1).transpose(1, 2), written, reduction="none")
    with torch.no_grad():
        theirs = -functional.nll_loss(
            teacher.log_softmax(-1).transpose(1, 2), written, reduction="none"
        )
        reward = theirs - own
    return -(reward * own * mask).sum() / mask.sum()


def one_by_rows(student, teacher, written, mask):
    own, theirs, ids = student[mask], teacher[mask].detach(), written[mask]
    rows = torch.arange(len(ids))
    p, q = own.log_softmax(-1)[rows, ids], theirs.log_softmax(-1)[rows, ids]
    return ((p.detach() - q) * p).mean()


def one_by_one_hot(student, teacher, written, mask):
    chosen = functional.one_hot(written, student.shape[-1]).to(student.dtype)
    own = (student.log_softmax(-1) * chosen).sum(-1)
    theirs = (teacher.log_softmax(-1) * chosen).sum(-1)
    advantage = (theirs - own).detach()
    return -(advantage * own)[mask].sum() / mask.sum()


def one_token(
    advantage=lambda own, theirs: (theirs - own).detach(),
    factor=lambda own: own,
    reduce=lambda each, mask: each[mask].mean(),
    sign=-1,
    ids=lambda written: written,
):
    """A right answer but for the advantage, what it weighs, the mean, the sign, or the tokens."""

    def one_token_loss(student, teacher, written, mask):
        at = ids(written)[..., None]
        own, theirs = (x.log_softmax(-1).gather(-1, at)[..., 0] for x in (student, teacher))
        return sign * reduce(advantage(own, theirs) * factor(own), mask)

    return one_token_loss


def one_by_scores(student, teacher, written, mask):
    own, theirs = (x.gather(-1, written[..., None])[..., 0] for x in (student, teacher))
    return ((own - theirs).detach() * own)[mask].mean()


def one_by_group(student, teacher, written, mask, scale=True):
    rows = torch.arange(int(mask.sum()))
    own, theirs = (x[mask].log_softmax(-1)[rows, written[mask]] for x in (student, teacher))
    gap = (theirs - own).detach()
    gap = gap - gap.mean()
    return -((gap / gap.std() if scale else gap) * own).mean()


def one_by_k3(student, teacher, written, mask):
    rows = torch.arange(int(mask.sum()))
    own, theirs = (x[mask].log_softmax(-1)[rows, written[mask]] for x in (student, teacher))
    gap = theirs.detach() - own
    return (gap.exp() - 1 - gap).mean()


ONE_TOKEN_LOSS = Answers(
    right=[one_by_nll, one_by_rows, one_by_one_hot],
    wrong=[
        Slip(one_token(sign=1), "the sign", r"sign"),
        Slip(
            one_token(lambda own, theirs: (own - theirs).detach()), "the ratio upside down", r"sign"
        ),
        Slip(
            one_token(lambda own, theirs: theirs.detach() - own),
            "the advantage is not held fixed",
            r"fixed|detach",
        ),
        Slip(
            one_token(lambda own, theirs: (theirs - own).exp().detach()),
            "a ratio, not its log",
            r"\blog\b|ratio",
        ),
        Slip(one_token(lambda own, theirs: theirs.detach()), "the teacher alone", r"alone|student"),
        Slip(
            one_token(lambda own, theirs: torch.tensor(1.0)), "no advantage", r"advantage|whatever"
        ),
        Slip(
            one_token(factor=lambda own: own.exp()),
            "the probability is weighed",
            r"log-prob|probability",
        ),
        Slip(
            one_token(reduce=lambda each, mask: (each * mask).mean()),
            "divided by all places",
            r"divid|padding",
        ),
        Slip(one_token(reduce=lambda each, mask: each.mean()), "no mask", r"mask|nobody"),
        Slip(one_token(reduce=lambda each, mask: each[mask].sum()), "a sum", r"mean|added"),
        Slip(
            one_token(ids=lambda written: written.roll(1, 1)), "the token before", r"before|place"
        ),
        Slip(one_by_scores, "raw scores", r"log_softmax|log-prob"),
        Slip(one_by_group, "centred and scaled", r"centred|deviation"),
        Slip(lambda *case: one_by_group(*case, scale=False), "centred", r"mean advantage"),
        Slip(one_by_k3, "k3 as a loss", r"k3|forward"),
        Slip(
            lambda student, teacher, written, mask: kl_by_function(student, teacher, mask),
            "the whole vocabulary",
            r"exact|vocabulary|one token",
        ),
    ],
)

# --- teachers_loss ---


def teachers_by_numbers(losses, mask, teachers, weights):
    total = losses.sum() * 0
    for i in range(len(weights)):
        rows = [b for b in range(len(losses)) if int(teachers[b]) == i and mask[b].any()]
        if rows:
            total = total + weights[i] * torch.cat([losses[b][mask[b]] for b in rows]).mean()
    return total


def teachers_by_index_add(losses, mask, teachers, weights):
    sums, counts = torch.zeros(len(weights)), torch.zeros(len(weights))
    sums = sums.index_add(0, teachers, torch.where(mask, losses, 0.0).sum(1))
    counts = counts.index_add(0, teachers, mask.sum(1).float())
    return (torch.tensor(weights) * sums / counts.clamp(min=1)).sum()


def teachers_by_nan(losses, mask, teachers, weights):
    means = [losses[(teachers == i).unsqueeze(1) & mask].mean() for i in range(len(weights))]
    return sum(w * m for w, m in zip(weights, means, strict=True) if not m.isnan())


def by_teacher(
    mean=lambda each, mask: each[mask].mean(),
    weigh=lambda weights, i: weights[i],
    share=lambda weights, n: 1.0,
):
    """A right answer but for the mean, the weights, or the whole."""

    def teachers_loss(losses, mask, teachers, weights):
        present = teachers.unique().tolist()
        total = sum(
            weigh(weights, i) * mean(losses[teachers == i], mask[teachers == i]) for i in present
        )
        return total * share(weights, len(present))

    return teachers_loss


def teachers_with_nan(losses, mask, teachers, weights):
    return sum(w * losses[(teachers == i)[:, None] & mask].mean() for i, w in enumerate(weights))


def teachers_in_one_mean(losses, mask, teachers, weights):
    return (torch.tensor(weights)[teachers][:, None] * losses * mask).sum() / mask.sum()


TEACHERS_LOSS = Answers(
    right=[teachers_by_numbers, teachers_by_index_add, teachers_by_nan],
    wrong=[
        Slip(teachers_in_one_mean, "one mean over all", r"one mean|long|each teacher"),
        Slip(teachers_with_nan, "no rows, no mean", r"NaN|without a row"),
        Slip(by_teacher(), "rows, but none of their tokens counts", r"NaN|masked"),
        Slip(by_teacher(mean=lambda each, mask: each.mean()), "no mask", r"mask|padding"),
        Slip(
            by_teacher(mean=lambda each, mask: (each * mask).mean()),
            "divided by all places",
            r"divid|padding",
        ),
        Slip(
            by_teacher(mean=lambda each, mask: ((each * mask).sum(1) / mask.sum(1)).mean()),
            "a mean of means",
            r"each answer|all tokens",
        ),
        Slip(by_teacher(mean=lambda each, mask: each[mask].sum()), "sums", r"mean|added"),
        Slip(by_teacher(weigh=lambda weights, i: 1.0), "no weights", r"weights"),
        Slip(
            by_teacher(share=lambda weights, n: 1 / sum(weights)),
            "divided by the weights",
            r"divided|sum",
        ),
        Slip(
            by_teacher(weigh=lambda weights, i: weights[i] if i else 0.0),
            "counted from 1",
            r"teacher 0|from 0",
        ),
        Slip(
            by_teacher(mean=lambda each, mask: (each * mask).sum() / len(mask)),
            "divided by answers",
            r"number of answers",
        ),
        Slip(by_teacher(share=lambda weights, n: 1 / n), "divided by teachers", r"divided|number"),
        Slip(
            lambda *case: float(teachers_by_numbers(*case)),
            "a plain number",
            r"gradient|float|tensor",
        ),
    ],
)

# --- signal_and_noise ---


def noise_by_loops(gradients):
    rows, n = gradients.tolist(), len(gradients)
    mean = [sum(column) / n for column in zip(*rows, strict=True)]
    noise = sum((x - m) ** 2 for row in rows for x, m in zip(row, mean, strict=True)) / (n - 1)
    return sum(m * m for m in mean) - noise / n, noise


def noise_by_covariance(gradients):
    covariance = torch.cov(gradients.T)
    noise = torch.trace(torch.atleast_2d(covariance)).item()
    return gradients.mean(0).pow(2).sum().item() - noise / gradients.shape[0], noise


def noise_by_products(gradients):
    """The mean product of two different batches, and what is left of the mean square."""
    n, table = len(gradients), gradients @ gradients.T
    signal = (table.sum() - table.trace()) / (n * (n - 1))
    return signal, table.trace() / n - signal


def signal_noise(
    noise=lambda g: g.var(0).sum().item(),
    signal=lambda g, noise: g.mean(0).square().sum().item() - noise / len(g),
    give=lambda signal, noise: (signal, noise),
):
    """A right answer but for the noise, the signal, or their form."""

    def signal_and_noise(gradients):
        found = noise(gradients)
        return give(signal(gradients, found), found)

    return signal_and_noise


SIGNAL_AND_NOISE = Answers(
    right=[noise_by_loops, noise_by_covariance, noise_by_products],
    wrong=[
        Slip(
            signal_noise(signal=lambda g, noise: g.mean(0).square().sum().item()),
            "the mean's own noise",
            r"too large|1/n|still holds",
        ),
        Slip(
            signal_noise(noise=lambda g: g.var(0, correction=0).sum().item()),
            "divided by n",
            r"n - 1",
        ),
        Slip(
            signal_noise(give=lambda signal, noise: (signal, noise**0.5)), "a root", r"root|squared"
        ),
        Slip(signal_noise(give=lambda signal, noise: (noise, signal)), "swapped", r"swap|first"),
        Slip(
            signal_noise(noise=lambda g: g.var(0).mean().item()),
            "averaged over parameters",
            r"parameters|too|differs|sum",
        ),
        Slip(
            signal_noise(signal=lambda g, noise: g.mean(0).square().sum().item() + noise / len(g)),
            "added",
            r"taken away|added",
        ),
        Slip(
            signal_noise(signal=lambda g, noise: g.mean(0).square().sum().item() - noise),
            "all of the noise taken away",
            r"too much|1/n",
        ),
        Slip(
            signal_noise(signal=lambda g, noise: g.square().sum(1).mean().item()),
            "the mean of squares",
            r"mean of the squares|square of the mean",
        ),
        Slip(
            signal_noise(give=lambda signal, noise: (max(signal, 0.0), noise)),
            "no signal below 0",
            r"cut off|below 0",
        ),
        Slip(
            signal_noise(
                signal=lambda g, noise: g.mean(0).square().sum().item() - noise / (len(g) - 1)
            ),
            "a share of n - 1",
            r"too much|1/n",
        ),
        Slip(
            signal_noise(
                signal=lambda g, noise: g.mean(0).square().sum().item() - noise / g.shape[1]
            ),
            "a share by parameters",
            r"parameters",
        ),
        Slip(lambda g: signal_noise()(g.T), "the other axis", r"axis 0|over the batches"),
        Slip(
            signal_noise(noise=lambda g: g.std(0).sum().item()),
            "standard deviations",
            r"variances|deviations",
        ),
        Slip(
            signal_noise(give=lambda signal, noise: signal / noise),
            "one ratio",
            r"two|tuple|pair|signal",
        ),
    ],
)

ANSWERS = {
    "average_models": AVERAGE_MODELS,
    "masked_reverse_kl": MASKED_REVERSE_KL,
    "one_token_loss": ONE_TOKEN_LOSS,
    "teachers_loss": TEACHERS_LOSS,
    "signal_and_noise": SIGNAL_AND_NOISE,
}
