"""Answers to the exercises of lesson 32, written from their statements alone."""

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# --- weighted_k3 ---


def k3_by_loop(log_probs, old_log_probs, reference_log_probs):
    out = []
    for p, o, r in zip(log_probs, old_log_probs, reference_log_probs, strict=True):
        quotient = torch.exp(r - p)
        out.append(torch.exp(p - o) * (quotient - 1 - (r - p)))
    return torch.stack(out)


def k3_expanded(log_probs, old_log_probs, reference_log_probs):
    ratio = torch.exp(log_probs) / torch.exp(old_log_probs)
    other = torch.exp(reference_log_probs) / torch.exp(old_log_probs)
    return other - ratio + ratio * (log_probs - reference_log_probs)


def k3_with_expm1(log_probs, old_log_probs, reference_log_probs):
    gap = reference_log_probs - log_probs
    return torch.mul(torch.exp(log_probs - old_log_probs), torch.expm1(gap) - gap)


def k3_of(weight, value):
    def weighted_k3(log_probs, old_log_probs, reference_log_probs):
        return weight(log_probs, old_log_probs) * value(reference_log_probs - log_probs)

    return weighted_k3


def ratio_of(new, old):
    return (new - old).exp()


def k3_of_gap(gap):
    return gap.exp() - gap - 1


WEIGHTED_K3 = Answers(
    right=[k3_by_loop, k3_expanded, k3_with_expm1],
    wrong=[
        Slip(
            k3_of(lambda n, o: ratio_of(n, o).detach(), k3_of_gap),
            "the ratio is detached",
            r"detach",
            r"upside|direction|\bk1\b",
        ),
        Slip(
            k3_of(ratio_of, lambda gap: k3_of_gap(-gap)),
            "k3 the other way round",
            r"direction|reference / policy|upside",
            "detach",
        ),
        Slip(k3_of(lambda n, o: 1.0, k3_of_gap), "no weight", r"weigh|ratio", "direction|detach"),
        Slip(
            k3_of(lambda n, o: (o - n).exp(), k3_of_gap),
            "sampler / policy",
            r"upside|policy / sampler",
            "detach",
        ),
        Slip(k3_of(ratio_of, lambda gap: -gap), "k1 in place of k3", r"k1", "upside"),
        Slip(k3_of(ratio_of, lambda gap: gap**2 / 2), "k2 in place of k3", r"k2", "upside"),
        Slip(
            k3_of(lambda n, o: n - o, k3_of_gap), "the log of the ratio", r"log|exponential", "k1"
        ),
        Slip(
            lambda n, o, r: k3_by_loop(n, o, r).mean(), "the mean over tokens", r"mean|each token"
        ),
        Slip(
            k3_of(ratio_of, lambda gap: gap.exp() - gap),
            "without the -1",
            r"-1|minus 1|agree",
            "detach",
        ),
    ],
)

# --- kept_answers ---


def kept_by_loop(log_probs, old_log_probs, advantages, mask, delta):
    out = []
    for i in range(len(advantages)):
        real = mask[i]
        distance = (old_log_probs[i][real] - log_probs[i][real]).mean()
        out.append(bool(advantages[i] >= 0 or distance <= delta))
    return out


def kept_in_numpy(log_probs, old_log_probs, advantages, mask, delta):
    gaps = (old_log_probs - log_probs).double().numpy()
    means = np.average(gaps, axis=1, weights=mask.numpy().astype(float))
    return ~((advantages.numpy() < 0) & (means > delta))


def kept_as_floats(log_probs, old_log_probs, advantages, mask, delta):
    gap = torch.zeros_like(log_probs).masked_scatter(mask, (old_log_probs - log_probs)[mask])
    far = gap.sum(1) > delta * mask.sum(1)
    return torch.where(advantages < 0, (~far).float(), torch.ones(len(far)))


def kept_with(bad=lambda a: a < 0, distance=None, turn=False):
    def kept_answers(log_probs, old_log_probs, advantages, mask, delta):
        gaps = (old_log_probs - log_probs) * mask
        far = (distance(gaps, mask) if distance else gaps.sum(1) / mask.sum(1)) > delta
        found = bad(advantages) & far
        return found if turn else ~found

    return kept_answers


KEPT_ANSWERS = Answers(
    right=[kept_by_loop, kept_in_numpy, kept_as_floats],
    wrong=[
        Slip(
            kept_with(bad=lambda a: a > 0),
            "positive advantages are masked",
            r"good|positive|below 0",
            "sum|padding",
        ),
        Slip(
            kept_with(bad=lambda a: a == a),
            "masked whatever the advantage",
            r"good|advantage",
            "sum|padding",
        ),
        Slip(
            kept_with(distance=lambda g, m: g.sum(1)),
            "the sum over tokens",
            r"mean|sum",
            "sign|padding",
        ),
        Slip(
            lambda n, o, *rest: kept_with()(o, n, *rest),
            "policy / sampler",
            r"sign|sampler / policy",
            "sum|padding",
        ),
        Slip(
            lambda n, o, a, m, d: kept_with()(n, o, a, torch.ones_like(m), d),
            "padding counts",
            r"padding|mask|real",
            "sign",
        ),
        Slip(
            kept_with(distance=lambda g, m: g.mean(1)),
            "divided by the width",
            r"width|real tokens",
            "sign|sum",
        ),
        Slip(kept_with(turn=True), "turned round", r"exchang|turn|True is", "sum|padding"),
        Slip(kept_with(bad=lambda a: a <= 0), "an advantage of 0 is bad", r"\b0\b", "sum|padding"),
        Slip(
            kept_with(distance=lambda g, m: g.abs().sum(1) / m.sum(1)),
            "sizes of the gaps",
            r"sizes?|sign|abs",
            "padding",
        ),
        Slip(
            lambda n, o, a, m, d: (a[:, None] >= 0) | (o - n <= d), "token by token", r"row|whole"
        ),
    ],
)

# --- kept_log_probs ---


def kept_by_rows(logits, kept, tokens):
    out = []
    for row, left, token in zip(logits, kept, tokens, strict=True):
        out.append(row[token] - torch.logsumexp(row[left], 0))
    return torch.stack(out)


def kept_by_division(logits, kept, tokens):
    weights = torch.where(kept, logits.exp(), torch.zeros_like(logits))
    share = weights / weights.sum(1, keepdim=True)
    return share[torch.arange(len(tokens)), tokens].log()


def kept_by_addition(logits, kept, tokens):
    walls = torch.zeros_like(logits).masked_fill(kept.logical_not(), float("-inf"))
    return torch.log_softmax(logits + walls, dim=1).gather(1, tokens.unsqueeze(1)).squeeze(1)


def picked(table, tokens):
    return table.gather(1, tokens[:, None])[:, 0]


KEPT_LOG_PROBS = Answers(
    right=[kept_by_rows, kept_by_division, kept_by_addition],
    wrong=[
        Slip(
            lambda x, k, t: picked(x.log_softmax(1), t),
            "the mask is ignored",
            r"all\W* tokens|mask|left",
            "surprise",
        ),
        Slip(
            lambda x, k, t: picked((x.softmax(1) * k).log(), t),
            "masked, but not renormalised",
            r"divided|sum|all\W* tokens",
            "surprise",
        ),
        Slip(
            lambda x, k, t: picked((x * k).log_softmax(1), t),
            "scores of 0",
            r"score of 0|-inf|rule",
            "surprise",
        ),
        Slip(
            lambda x, k, t: kept_by_addition(x, k, t).exp(),
            "probabilities",
            r"logarithm|probabilities",
            "surprise",
        ),
        Slip(lambda x, k, t: -kept_by_addition(x, k, t), "surprises", r"sign|surprise", "-inf"),
        Slip(lambda x, k, t: picked(x, t), "scores", r"score|divid", "surprise"),
        Slip(
            lambda x, k, t: x.masked_fill(~k, -torch.inf).log_softmax(1),
            "the whole table",
            r"table|gather|one number",
        ),
        Slip(lambda x, k, t: kept_by_addition(x, k, t).sum(), "summed up", r"shape|number|token"),
    ],
)

# --- flipped_share ---


def flips_by_sets(chosen, theirs):
    kept = sum(len({*a} & {*b}) for a, b in zip(chosen.tolist(), theirs.tolist(), strict=True))
    return 1 - kept / (chosen.shape[0] * chosen.shape[1])


def flips_by_one_hot(chosen, theirs):
    n = int(max(chosen.max(), theirs.max())) + 1
    one, other = (torch.nn.functional.one_hot(t, n).sum(1) for t in (chosen, theirs))
    return (one - other).clamp(min=0).sum() / one.sum()


def flips_by_rows(chosen, theirs):
    missing = [~torch.isin(a, b) for a, b in zip(chosen, theirs, strict=True)]
    return torch.cat(missing).double().mean().item()


FLIPPED_SHARE = Answers(
    right=[flips_by_sets, flips_by_one_hot, flips_by_rows],
    wrong=[
        Slip(
            lambda a, b: (a != b).float().mean().item(), "order counts", r"order|place", "number of"
        ),
        Slip(
            lambda a, b: (a.sort(1).values != b.sort(1).values).any(1).float().mean().item(),
            "tokens with a flip",
            r"token",
            "order",
        ),
        Slip(lambda a, b: 1 - flips_by_sets(a, b), "what stayed", r"same|stay", "order"),
        Slip(lambda a, b: flips_by_sets(a, b) * a.numel(), "a count", r"number|divide", "order"),
        Slip(
            lambda a, b: flips_by_sets(a, b) * a.shape[1],
            "per token",
            r"tokens|choices",
            "order|same",
        ),
        Slip(lambda a, b: 2 * flips_by_sets(a, b), "counted twice", r"twice", "order"),
        Slip(
            lambda a, b: (~torch.isin(a, b)).float().mean().item(),
            "looked up among all tokens",
            r"all tokens|own",
            "twice",
        ),
        Slip(
            lambda a, b: (a.sort(1).values != b.sort(1).values).float().mean().item(),
            "sorted, then place by place",
            r"sort|place",
            "twice",
        ),
    ],
)

# --- replayed_gates ---


def gates_by_loop(logits, their_logits, n_chosen, scale):
    out = torch.zeros_like(logits)
    for t in range(len(logits)):
        chosen = sorted(range(logits.shape[1]), key=lambda e: their_logits[t, e].item())
        chosen = chosen[-n_chosen:]
        total = sum(torch.sigmoid(logits[t, e]) for e in chosen)
        for e in chosen:
            out[t, e] = scale * torch.sigmoid(logits[t, e]) / total
    return out


def gates_by_mask(logits, their_logits, n_chosen, scale):
    lowest = their_logits.sort(1, descending=True).values[:, n_chosen - 1 : n_chosen]
    scores = torch.where(their_logits >= lowest, logits.sigmoid(), 0.0)
    return scale * scores / scores.sum(1, keepdim=True)


def gates_by_ranks(logits, their_logits, n_chosen, scale):
    ranks = (-their_logits).argsort(1).argsort(1)
    scores = torch.sigmoid(logits) * (ranks < n_chosen)
    return torch.nn.functional.normalize(scores, p=1, dim=1) * scale


def gates_with(choose, weigh):
    def replayed_gates(logits, their_logits, n_chosen, scale):
        chosen = choose(logits, their_logits).topk(n_chosen, dim=1).indices
        weights = weigh(logits, their_logits, chosen) * scale
        return torch.zeros_like(logits).scatter(1, chosen, weights)

    return replayed_gates


def shares(table, chosen):
    scores = table.sigmoid().gather(1, chosen)
    return scores / scores.sum(1, keepdim=True)


REPLAYED_GATES = Answers(
    right=[gates_by_loop, gates_by_mask, gates_by_ranks],
    wrong=[
        Slip(
            gates_with(lambda o, t: o, lambda o, t, c: shares(o, c)),
            "routed anew",
            r"anew|sampler's choice|keep",
            "softmax",
        ),
        Slip(
            gates_with(lambda o, t: t, lambda o, t, c: shares(t, c)),
            "the sampler's weights",
            r"present|weights are",
            "softmax",
        ),
        Slip(
            gates_with(lambda o, t: o, lambda o, t, c: shares(t, c)), "exchanged", r"exchang", "sum"
        ),
        Slip(
            gates_with(lambda o, t: t, lambda o, t, c: o.sigmoid().gather(1, c)),
            "not normalised",
            r"sum|divid",
            "exchang",
        ),
        Slip(
            gates_with(lambda o, t: t, lambda o, t, c: o.gather(1, c).softmax(1)),
            "a softmax",
            r"softmax|sigmoid",
            "exchang",
        ),
        Slip(
            lambda o, t, k, s: gates_by_mask(o, t, k, 1.0), "no scale", r"scale", "exchang|softmax"
        ),
        Slip(
            gates_with(lambda o, t: t, lambda o, t, c: torch.full(c.shape, 1 / c.shape[1])),
            "all alike",
            r"same|alike|weights",
            "exchang",
        ),
        Slip(
            lambda o, t, k, s: gates_by_mask(o.detach(), t, k, s), "no gradient", r"gradient", "sum"
        ),
    ],
)

# --- v32_loss ---


def loss_by_loops(rewards, ratios, divergences, mask, kept, clip, beta):
    mean, total = rewards.mean(), 0.0
    for i in range(len(rewards)):
        a, sum_of_answer = rewards[i] - mean, 0.0
        for t in range(int(mask[i].sum())):
            r = ratios[i, t]
            gain = torch.minimum(r * a, torch.clamp(r, 1 - clip, 1 + clip) * a)
            sum_of_answer = sum_of_answer + gain * kept[i] - beta * divergences[i, t]
        total = total - sum_of_answer / mask[i].sum()
    return total / len(rewards)


def loss_in_parts(rewards, ratios, divergences, mask, kept, clip, beta):
    weight = mask / mask.sum(1, keepdim=True) / len(rewards)
    a = (rewards - rewards.mean()).unsqueeze(1)
    gain = torch.where(a >= 0, ratios.clamp(max=1 + clip), ratios.clamp(min=1 - clip)) * a
    silenced = gain.masked_fill(kept.logical_not().unsqueeze(1), 0.0)
    return beta * (divergences * weight).sum() - (silenced * weight).sum()


def loss_of_kept_advantages(rewards, ratios, divergences, mask, kept, clip, beta):
    a = torch.where(kept, rewards - rewards.mean(), torch.zeros_like(rewards))[:, None]
    gain = torch.min(ratios * a, torch.clip(ratios, 1 - clip, 1 + clip) * a)
    per_answer = [(beta * d - g)[m].mean() for g, d, m in zip(gain, divergences, mask, strict=True)]
    return torch.stack(per_answer).mean()


def loss_with(scale=lambda r: 1.0, join=None, average=None, cut=torch.minimum):
    join = join or (lambda gain, kept, price: gain * kept - price)
    average = average or (lambda v, m: ((v * m).sum(1) / m.sum(1)).mean())

    def v32_loss(rewards, ratios, divergences, mask, kept, clip, beta):
        a = (rewards - rewards.mean())[:, None] / scale(rewards)
        gain = cut(ratios * a, ratios.clamp(1 - clip, 1 + clip) * a)
        return -average(join(gain, kept[:, None], beta * divergences), mask)

    return v32_loss


V32_LOSS = Answers(
    right=[loss_by_loops, loss_in_parts, loss_of_kept_advantages],
    wrong=[
        Slip(loss_with(scale=torch.std), "divided by the spread", r"deviation|spread|std", "mask"),
        Slip(
            loss_with(join=lambda g, k, p: (g - p) * k),
            "the KL divergence is masked too",
            r"KL|divergence|distance",
            "deviation",
        ),
        Slip(
            loss_with(average=lambda v, m: (v * m).sum(1).mean()),
            "no mean over tokens",
            r"mean|sum",
            "deviation",
        ),
        Slip(
            loss_with(average=lambda v, m: (v * m).sum() / m.sum()),
            "one mean over all tokens",
            r"all tokens|each answer",
            "deviation",
        ),
        Slip(loss_with(join=lambda g, k, p: g - p), "no mask", r"kept", "deviation"),
        Slip(loss_with(join=lambda g, k, p: g * k), "no KL", r"divergence|beta|KL", "deviation"),
        Slip(loss_with(join=lambda g, k, p: g * k + p), "the wrong sign of the price", None),
        Slip(lambda *c: -loss_by_loops(*c), "an objective", r"sign", "deviation"),
        Slip(loss_with(cut=lambda free, near: near), "clipped alone", r"clip|smaller", "deviation"),
    ],
)

ANSWERS = {
    "weighted_k3": WEIGHTED_K3,
    "kept_answers": KEPT_ANSWERS,
    "kept_log_probs": KEPT_LOG_PROBS,
    "flipped_share": FLIPPED_SHARE,
    "replayed_gates": REPLAYED_GATES,
    "v32_loss": V32_LOSS,
}
