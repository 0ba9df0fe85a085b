"""Answers to the exercises of lesson 09, softmax and output."""

import bisect
import heapq
import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.lab.checks.answers.table import Answers, Slip

# stable_softmax(logits)


def softmax_by_lists(logits):
    rows = []
    for row in logits.reshape(-1, logits.shape[-1]).tolist():
        largest = max(row)
        exponentials = [math.exp(logit - largest) for logit in row]
        rows.append([e / sum(exponentials) for e in exponentials])
    return torch.tensor(rows).reshape(logits.shape)


def softmax_by_numpy(logits):
    values = logits.numpy().astype(np.float64)
    exponentials = np.exp(values - values.max(axis=-1, keepdims=True))
    return torch.from_numpy(exponentials / exponentials.sum(axis=-1, keepdims=True))


class SoftmaxOfLogs:
    def __call__(self, logits):
        return F.log_softmax(logits, dim=-1).exp()


def naive_softmax(logits):
    return logits.exp() / logits.exp().sum(-1, keepdim=True)


def one_largest_for_all(logits):
    exponentials = (logits - logits.max()).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def sum_over_all_rows(logits):
    exponentials = (logits - logits.amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum()


def softmax_over_first_axis(logits):
    exponentials = (logits - logits.amax(0, keepdim=True)).exp()
    return exponentials / exponentials.sum(0, keepdim=True)


def softmax_in_place(logits):
    logits -= logits.amax(-1, keepdim=True)
    return logits.exp() / logits.exp().sum(-1, keepdim=True)


def largest_by_size(logits):
    exponentials = (logits - logits.abs().amax(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


def softmax_of_two_axes(logits):
    T, V = logits.shape
    exponentials = (logits - logits.amax(1).view(T, 1)).exp()
    return exponentials / exponentials.sum(1).view(T, 1)


def minus_infinity_as_zero(logits):
    logits = logits.masked_fill(logits == -torch.inf, 0)
    return logits.softmax(-1)


def powers_of_two(logits):
    powers = 2 ** (logits - logits.amax(-1, keepdim=True))
    return powers / powers.sum(-1, keepdim=True)


def smallest_subtracted(logits):
    exponentials = (logits - logits.amin(-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(-1, keepdim=True)


# token_losses(logits, targets)


def losses_by_gather(logits, targets):
    logits = logits.double()
    return logits.logsumexp(1) - logits.gather(1, targets.long().unsqueeze(1)).squeeze(1)


def losses_by_lists(logits, targets):
    found = []
    for row, target in zip(logits.tolist(), targets.tolist(), strict=True):
        total = math.fsum(math.exp(logit - max(row)) for logit in row)
        found.append(max(row) + math.log(total) - row[target])
    return torch.tensor(found)


def losses_row_by_row(logits, targets):
    losses = (
        nn.CrossEntropyLoss()(row, target)
        for row, target in zip(logits, targets.long(), strict=True)
    )
    return torch.stack(list(losses))


def log_of_softmax(logits, targets):
    return -logits.softmax(-1).log()[torch.arange(len(targets)), targets]


def log_probs_of_targets(logits, targets):
    return logits.log_softmax(-1)[torch.arange(len(targets)), targets]


def mean_of_losses(logits, targets):
    return F.cross_entropy(logits, targets)


def losses_in_bits(logits, targets):
    return F.cross_entropy(logits, targets, reduction="none") / math.log(2)


def losses_by_columns(logits, targets):
    return -logits.log_softmax(0)[torch.arange(len(targets)), targets]


def every_target_of_every_row(logits, targets):
    return -logits.log_softmax(-1)[:, targets]


def clamped_probs(logits, targets):
    probs = logits.softmax(-1)[torch.arange(len(targets)), targets]
    return -(probs + 1e-9).log()


def bare_logits(logits, targets):
    return -logits[torch.arange(len(targets)), targets]


def column_of_losses(logits, targets):
    return -logits.log_softmax(-1).gather(-1, targets[:, None])


# logit_gradient(logits, targets)


def gradient_by_one_hot(logits, targets):
    hot = F.one_hot(targets.long(), logits.shape[-1])
    return (logits.softmax(-1) - hot) / len(targets)


def gradient_by_lists(logits, targets):
    rows = []
    for row, target in zip(logits.double(), targets.tolist(), strict=True):
        exponentials = [math.exp(logit - row.max().item()) for logit in row.tolist()]
        probs = [e / math.fsum(exponentials) for e in exponentials]
        rows.append([(p - (v == target)) / len(targets) for v, p in enumerate(probs)])
    return torch.tensor(rows)


class GradientInNumpy:
    def __call__(self, logits, targets):
        values, ids = logits.numpy().astype(float), targets.numpy()
        exponentials = np.exp(values - values.max(1)[:, None])
        gradient = exponentials / exponentials.sum(1)[:, None]
        np.subtract.at(gradient, (np.arange(len(ids)), ids), 1)
        return torch.tensor(gradient / len(ids), dtype=torch.float32)


def target_lowered(probs, targets):
    gradient = probs.clone()
    gradient[torch.arange(len(targets)), targets] -= 1
    return gradient


def gradient_of_the_sum(logits, targets):
    return target_lowered(logits.softmax(-1), targets)


def mean_over_all_entries(logits, targets):
    return target_lowered(logits.softmax(-1), targets) / logits.numel()


def gradient_upside_down(logits, targets):
    return -target_lowered(logits.softmax(-1), targets) / len(targets)


def only_probs(logits, targets):
    return logits.softmax(-1) / len(targets)


def one_after_the_mean(logits, targets):
    return target_lowered(logits.softmax(-1) / len(targets), targets)


def naive_gradient(logits, targets):
    return target_lowered(naive_softmax(logits), targets) / len(targets)


def every_target_in_every_row(logits, targets):
    gradient = logits.softmax(-1)
    gradient[:, targets] -= 1
    return gradient / len(targets)


def gradient_by_columns(logits, targets):
    return target_lowered(logits.softmax(0), targets) / len(targets)


def gradient_of_probs(logits, targets):
    probs = logits.softmax(-1)
    return probs * target_lowered(probs, targets) / len(targets)


# nucleus_probs(probs, p)


def nucleus_by_search(probs, p):
    best, order = torch.sort(probs, descending=True)
    n = int(torch.searchsorted(best.cumsum(0), p)) + 1
    kept = torch.zeros_like(probs)
    kept[order[:n]] = probs[order[:n]]
    return kept / kept.sum()


def nucleus_by_lists(probs, p):
    values, kept, total = probs.tolist(), {}, 0.0
    for i in sorted(range(len(values)), key=values.__getitem__, reverse=True):
        if total >= p:
            break
        kept[i] = values[i]
        total += values[i]
    return torch.tensor([kept.get(i, 0.0) / total for i in range(len(values))])


class NucleusByPairs:
    def __call__(self, probs, p):
        q = probs.numpy().astype(np.float64)
        earlier = np.tri(len(q), k=-1) * (q[None] == q[:, None])
        before = ((q[None] > q[:, None]) + earlier) @ q
        kept = np.where(before < p, q, 0)
        return torch.from_numpy(kept / kept.sum())


def nucleus_where(probs, p, stays, descending=True):
    """An answer with one part of it exchanged."""
    best, order = probs.sort(descending=descending)
    kept = best * stays(best.cumsum(0), best, p)
    kept = torch.zeros_like(probs).scatter(0, order, kept)
    return kept / kept.sum()


def crossing_token_dropped(probs, p):
    return nucleus_where(probs, p, lambda sums, best, p: sums <= p)


def one_too_many(probs, p):
    return nucleus_where(probs, p, lambda sums, best, p: sums - best <= p)


def unlikely_first(probs, p):
    return nucleus_where(probs, p, lambda sums, best, p: sums - best < p, descending=False)


def not_rescaled(probs, p):
    best, order = probs.sort(descending=True)
    kept = best * (best.cumsum(0) - best < p)
    return torch.zeros_like(probs).scatter(0, order, kept)


def left_sorted(probs, p):
    best, _ = probs.sort(descending=True)
    kept = best * (best.cumsum(0) - best < p)
    return kept / kept.sum()


def gathered_not_scattered(probs, p):
    best, order = probs.sort(descending=True)
    kept = best * (best.cumsum(0) - best < p)
    return (kept / kept.sum())[order]


def bar_at_p(probs, p):
    kept = probs * (probs >= min(p, probs.max().item()))
    return kept / kept.sum()


def nucleus_in_place(probs, p):
    best, order = probs.sort(descending=True)
    probs[order[best.cumsum(0) - best >= p]] = 0
    return probs / probs.sum()


def ties_all_stay(probs, p):
    best, _ = probs.sort(descending=True)
    least = best[best.cumsum(0) - best < p].min()
    kept = probs * (probs >= least)
    return kept / kept.sum()


def softmax_of_the_kept(probs, p):
    best, order = probs.sort(descending=True)
    kept = best.masked_fill(best.cumsum(0) - best >= p, -torch.inf)
    return torch.zeros_like(probs).scatter(0, order, kept.softmax(0))


# temperature_for_entropy(logits, bits)


def entropy_in_bits(logits, temperature):
    probs = (logits.double() / temperature).softmax(-1)
    return torch.special.entr(probs).sum().item() / math.log(2)


def halvings_on_a_line(logits, bits):
    low, high = 0.001, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        if entropy_in_bits(logits, middle) < bits:
            low = middle
        else:
            high = middle
    return high


def finer_and_finer_grids(logits, bits):
    exponents = np.linspace(-3, 3, 61)
    values = logits.numpy().astype(float)
    for _ in range(8):
        scaled = values[None] / 10 ** exponents[:, None]
        shifted = scaled - scaled.max(1, keepdims=True)
        probs = np.exp(shifted) / np.exp(shifted).sum(1, keepdims=True)
        entropies = -(probs * np.log2(np.where(probs > 0, probs, 1))).sum(1)
        best = int(np.abs(entropies - bits).argmin())
        answer = float(10 ** exponents[best])
        step = exponents[1] - exponents[0]
        exponents = np.linspace(exponents[best] - step, exponents[best] + step, 61)
    return answer


class BisectedTemperatures:
    def __call__(self, logits, bits):
        def temperature(i):
            return 0.001 * 10 ** (i / 10**6)

        found = bisect.bisect_left(
            range(6 * 10**6), bits, key=lambda i: entropy_in_bits(logits, temperature(i))
        )
        return temperature(found)


def halved(entropy, bits, low=0.001, high=1000.0, halvings=60):
    """Halve an interval on a log scale."""
    for _ in range(halvings):
        middle = (low * high) ** 0.5
        if entropy(middle) < bits:
            low = middle
        else:
            high = middle
    return middle


def compared_in_nats(logits, bits):
    return halved(lambda t: entropy_in_bits(logits, t) * math.log(2), bits)


def halved_to_a_tensor(logits, bits):
    return torch.tensor(halved(lambda t: entropy_in_bits(logits, t), bits))


def wrong_half(logits, bits):
    low, high = 0.001, 1000.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        if entropy_in_bits(logits, middle) < bits:
            high = middle
        else:
            low = middle
    return middle


def ten_halvings_on_a_line(logits, bits):
    low, high = 0.001, 1000.0
    for _ in range(10):
        middle = (low + high) / 2
        if entropy_in_bits(logits, middle) < bits:
            low = middle
        else:
            high = middle
    return middle


def logits_times_temperature(logits, bits):
    low, high = 0.001, 1000.0
    for _ in range(60):
        middle = (low * high) ** 0.5
        if entropy_in_bits(logits, 1 / middle) > bits:
            low = middle
        else:
            high = middle
    return middle


def narrow_interval(logits, bits):
    return halved(lambda t: entropy_in_bits(logits, t), bits, low=0.1, high=10.0)


def mean_of_the_terms(logits, bits):
    return halved(lambda t: entropy_in_bits(logits, t) / len(logits), bits)


def zero_times_log_zero(logits, bits):
    def entropy(temperature):
        probs = (logits / temperature).softmax(-1)
        return -(probs * probs.log2()).sum().item()

    return halved(entropy, bits)


def naive_entropy(logits, bits):
    def entropy(temperature):
        probs = naive_softmax(logits / temperature)
        return torch.special.entr(probs).sum().item() / math.log(2)

    return halved(entropy, bits)


# beam_step(beams, scores, log_probs, n_beams)


def beams_by_heap(beams, scores, log_probs, n_beams):
    extensions = (
        (score + log_prob, [*beam, token])
        for beam, score, row in zip(*(t.tolist() for t in (beams, scores, log_probs)), strict=True)
        for token, log_prob in enumerate(row)
    )
    best = heapq.nlargest(n_beams, extensions)
    return torch.tensor([beam for _, beam in best]), torch.tensor([score for score, _ in best])


def beams_by_numpy(beams, scores, log_probs, n_beams):
    totals = scores.double().numpy()[:, None] + log_probs.double().numpy()
    order = np.argsort(-totals, axis=None, kind="stable")[:n_beams]
    rows, tokens = np.unravel_index(order, totals.shape)
    longer = np.column_stack([beams.numpy()[rows], tokens])
    return torch.from_numpy(longer), torch.from_numpy(totals[rows, tokens])


class BeamsOfAll:
    def __call__(self, beams, scores, log_probs, n_beams):
        K, V = log_probs.shape
        totals, order = torch.sort((log_probs.T + scores).T.reshape(-1), descending=True)
        tokens = torch.arange(V).repeat(K)[:, None]
        longer = torch.hstack([beams.repeat_interleave(V, dim=0), tokens])
        return longer[order][:n_beams], totals[:n_beams]


def beams_from(beams, totals, n_beams, row_and_token=None):
    """An answer whose table of totals, or whose reading of an index, is exchanged."""
    V = totals.shape[1]
    scores, best = totals.flatten().topk(n_beams)
    rows, tokens = (best // V, best % V) if row_and_token is None else row_and_token(best)
    return torch.cat([beams[rows], tokens[:, None]], dim=1), scores


def old_scores_forgotten(beams, scores, log_probs, n_beams):
    return beams_from(beams, log_probs, n_beams)


def row_and_token_swapped(beams, scores, log_probs, n_beams):
    V = log_probs.shape[1]
    return beams_from(
        beams, scores[:, None] + log_probs, n_beams, lambda best: (best % V, best // V)
    )


def one_extension_per_beam(beams, scores, log_probs, n_beams):
    totals, tokens = (scores[:, None] + log_probs).max(dim=1)
    longer = torch.cat([beams, tokens[:, None]], dim=1)
    best = totals.argsort(descending=True)[:n_beams]
    return longer[best], totals[best]


def scores_multiplied(beams, scores, log_probs, n_beams):
    return beams_from(beams, scores[:, None] * log_probs, n_beams)


def divided_by_beams(beams, scores, log_probs, n_beams):
    K = len(beams)
    return beams_from(
        beams, scores[:, None] + log_probs, n_beams, lambda best: (best // K, best % K)
    )


def in_the_order_of_the_table(beams, scores, log_probs, n_beams):
    totals = (scores[:, None] + log_probs).flatten()
    best = totals.topk(n_beams).indices.sort().values
    V = log_probs.shape[1]
    return torch.cat([beams[best // V], (best % V)[:, None]], dim=1), totals[best]


def new_token_in_front(beams, scores, log_probs, n_beams):
    V = log_probs.shape[1]
    totals, best = (scores[:, None] + log_probs).flatten().topk(n_beams)
    return torch.cat([(best % V)[:, None], beams[best // V]], dim=1), totals


def as_many_as_before(beams, scores, log_probs, n_beams):
    return beams_from(beams, scores[:, None] + log_probs, len(beams))


def scores_before_beams(beams, scores, log_probs, n_beams):
    return beams_from(beams, scores[:, None] + log_probs, n_beams)[::-1]


def steps_scores_only(beams, scores, log_probs, n_beams):
    V = log_probs.shape[1]
    best = (scores[:, None] + log_probs).flatten().topk(n_beams).indices
    longer = torch.cat([beams[best // V], (best % V)[:, None]], dim=1)
    return longer, log_probs.flatten()[best]


def scores_as_a_row(beams, scores, log_probs, n_beams):
    return beams_from(beams, scores + log_probs, n_beams)


ANSWERS = {
    "stable_softmax": Answers(
        right=[softmax_by_lists, softmax_by_numpy, SoftmaxOfLogs()],
        wrong=[
            Slip(naive_softmax, "nothing is subtracted", r"overflow|subtract|largest|maximum"),
            Slip(
                one_largest_for_all,
                "the largest of the whole tensor is subtracted",
                r"own|each row|every row|per row|whole|all rows|row's",
                never=r"nothing is subtracted",
            ),
            Slip(softmax_in_place, "logits are changed", r"unchanged|in place|chang"),
            Slip(
                sum_over_all_rows,
                "divided by the sum over all rows",
                r"sum.*row|row.*sum|each row|all rows|whole",
            ),
            Slip(
                softmax_over_first_axis, "over the first axis", r"last axis|first axis|axis|column"
            ),
            Slip(
                largest_by_size,
                "the largest of |logits| is subtracted",
                r"\babs|\bsize|without (its|their) sign|largest itself",
                never=r"whole tensor|nothing is subtracted",
            ),
            Slip(softmax_of_two_axes, "two axes only", r"axes|number of|unpack|shape"),
            Slip(minus_infinity_as_zero, "−∞ counts as 0", r"∞|inf"),
            Slip(powers_of_two, "powers of 2", r"base|powers? of (2|two)|2 ?\*\*|exp\b"),
            Slip(
                smallest_subtracted,
                "the smallest is subtracted",
                r"largest|smallest|max|min|overflow",
            ),
        ],
    ),
    "token_losses": Answers(
        right=[losses_by_gather, losses_by_lists, losses_row_by_row],
        wrong=[
            Slip(
                log_of_softmax,
                "the log of the softmax",
                r"infin|∞|inf\b|log_softmax|underflow|finite|logsumexp",
            ),
            Slip(log_probs_of_targets, "the sign is not changed", r"sign|minus|negative"),
            Slip(mean_of_losses, "the mean", r"mean|\(T,?\)|shape|one (loss )?per|each|average"),
            Slip(losses_in_bits, "bits", r"nats|bits|natural|log2|ln"),
            Slip(
                losses_by_columns, "log_softmax over the first axis", r"axis|column|each row|along"
            ),
            Slip(
                every_target_of_every_row,
                "every target of every row",
                r"arange|shape|\(T|each row|row t",
            ),
            Slip(
                clamped_probs,
                "a little is added to the probability",
                r"clamp|clip|small number|added|underflow|log_softmax|logsumexp|through the prob",
            ),
            Slip(
                bare_logits,
                "minus the logit itself",
                r"logsumexp|log_softmax|normali|softmax|second term|log prob",
            ),
            Slip(column_of_losses, "a column", r"shape|squeeze|\(T|column"),
        ],
    ),
    "logit_gradient": Answers(
        right=[gradient_by_one_hot, gradient_by_lists, GradientInNumpy()],
        wrong=[
            Slip(
                gradient_of_the_sum,
                "the gradient of the sum",
                r"mean|sum of|divide|/ ?T|T times|number of rows",
            ),
            Slip(only_probs, "nothing happens at the target", r"target|lower|− ?1|- ?1|subtract"),
            Slip(
                one_after_the_mean,
                "1 is subtracted after the division",
                r"1 ?/ ?T|before|after|divid",
            ),
            Slip(
                mean_over_all_entries,
                "divided by T · V",
                r"T ?· ?V|by V|number of (rows|tokens)|T rows|not V|all entries|numel|once|\bT\b",
            ),
            Slip(gradient_upside_down, "the sign", r"sign|minus|negative|opposite|direction"),
            Slip(
                naive_gradient,
                "nothing is subtracted before the exponential",
                r"overflow|NaN|thousand|largest|stable",
            ),
            Slip(
                every_target_in_every_row,
                "every row is lowered at all targets",
                r"arange|own target|every row|other rows|all targets|row t\b",
            ),
            Slip(gradient_by_columns, "softmax over the first axis", r"axis|column|row"),
            Slip(
                gradient_of_probs,
                "the gradient times the probabilities",
                r"times the prob|product|multipl",
            ),
        ],
    ),
    "nucleus_probs": Answers(
        right=[nucleus_by_search, nucleus_by_lists, NucleusByPairs()],
        wrong=[
            Slip(
                crossing_token_dropped,
                "the token that reaches p is dropped",
                r"reach|cross|too few|before it|at least|likeliest token always|fall short|short",
            ),
            Slip(left_sorted, "left in sorted order", r"sorted|where it stood|index|place|order"),
            Slip(not_rescaled, "not divided by the sum", r"sum|divide|rescale"),
            Slip(
                one_too_many,
                "one more where p is reached exactly",
                r"exactly|enough|too many|one more",
            ),
            Slip(
                gathered_not_scattered,
                "put back by gather, not scatter",
                r"where it stood|index|place|order|put|back",
            ),
            Slip(
                unlikely_first,
                "the least likely first",
                r"likeliest|least likely|descending|unlikely",
            ),
            Slip(
                bar_at_p,
                "p is a bar for each token",
                r"\bbar\b|threshold|single|alone",
                never=r"carries|thrown away|across",
            ),
            Slip(nucleus_in_place, "probs are changed", r"new tensor|unchanged|in place|chang"),
            Slip(ties_all_stay, "ties all stay", r"tie|equal|fewest|alike|too many"),
            Slip(softmax_of_the_kept, "the softmax of what is kept", r"softmax|divide|ratio"),
        ],
    ),
    "temperature_for_entropy": Answers(
        right=[
            halvings_on_a_line,
            finer_and_finer_grids,
            BisectedTemperatures(),
            halved_to_a_tensor,
        ],
        wrong=[
            Slip(compared_in_nats, "nats", r"nats|bits.*log|ln 2|log_?2"),
            Slip(
                wrong_half,
                "the wrong half is kept",
                r"half|direction|end of|above|below|rises|wrong way|low|high",
            ),
            Slip(
                ten_halvings_on_a_line,
                "ten halvings",
                r"halv|closer|within|0\.01|precis|more steps|exact",
            ),
            Slip(
                logits_times_temperature,
                "logits times temperature",
                r"divid|times|multipl|1 ?/|inverse|recipro",
            ),
            Slip(narrow_interval, "from 0.1 to 10 only", r"0\.001|1000|interval|between|end"),
            Slip(mean_of_the_terms, "the mean of the terms", r"sum|mean|average|divided by V"),
            Slip(
                zero_times_log_zero,
                "0 times the log of 0",
                r"NaN|0 ?[·*] ?|log\(0|\bentr\b|not a number|zero",
                never=r"search from",
            ),
            Slip(
                naive_entropy,
                "an exponential that overflows",
                r"overflow|NaN|largest|stable|infin|not a number",
                never=r"search from",
            ),
        ],
    ),
    "beam_step": Answers(
        right=[beams_by_heap, beams_by_numpy, BeamsOfAll()],
        wrong=[
            Slip(
                old_scores_forgotten,
                "old scores are not added",
                r"old score|score.*add|scores|so far",
            ),
            Slip(
                row_and_token_swapped,
                "row and column are exchanged",
                r"swap|exchang|which beam|(row|beam).*(// ?V|column)|out of bounds",
            ),
            Slip(
                one_extension_per_beam,
                "one extension per beam",
                r"K · V|all|per beam|each beam|same beam|compete|two of one|n_beams",
            ),
            Slip(
                scores_multiplied,
                "log probabilities are multiplied",
                r"multipl|product|sum|add|times",
            ),
            Slip(
                divided_by_beams, "the index is divided by K", r"\bV\b|row|column|// ?V|which beam"
            ),
            Slip(in_the_order_of_the_table, "not sorted", r"(likeliest|best) first|order|sort"),
            Slip(new_token_in_front, "the new token comes first", r"front|end|append|last|before"),
            Slip(as_many_as_before, "as many beams as before", r"n_beams|shape|K|how many"),
            Slip(
                scores_before_beams,
                "scores before beams",
                r"order|first|beams.*scores|then|shape|swap|exchang",
            ),
            Slip(steps_scores_only, "the returned scores are those of the step", r"score"),
            Slip(
                scores_as_a_row,
                "scores stand as a row",
                r"\[:, None\]|column|row|broadcast|axis|size of tensor|beam's own",
            ),
        ],
    ),
}
