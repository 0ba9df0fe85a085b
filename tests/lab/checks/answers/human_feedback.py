"""Answers to the exercises of lesson 23, written from their statements alone."""

import math

import numpy as np
import torch
import torch.nn.functional as F

from tests.lab.checks.answers.table import Answers, Slip

# --- bradley_terry ---


def surprise_by_softplus(chosen, rejected):
    return F.softplus(rejected - chosen).mean()


def surprise_by_cross_entropy(chosen, rejected):
    pairs = torch.stack([chosen, rejected], dim=1)
    return F.cross_entropy(pairs, torch.zeros(len(pairs), dtype=torch.long))


def surprise_by_loop(chosen, rejected):
    total = torch.zeros((), dtype=torch.float64)
    for better, worse in zip(chosen, rejected, strict=True):
        total = total + torch.logaddexp(torch.zeros_like(better), worse - better)
    return total / len(chosen)


def surprise_by_bce(chosen, rejected):
    leads = chosen - rejected
    return F.binary_cross_entropy_with_logits(leads, torch.ones_like(leads))


def surprise_in_numpy(chosen, rejected):
    leads = (chosen - rejected).detach().double().numpy()
    return torch.tensor(np.logaddexp(0, -leads).mean())


BRADLEY_TERRY = Answers(
    right=[
        surprise_by_softplus,
        surprise_by_cross_entropy,
        surprise_by_loop,
        surprise_by_bce,
        lambda chosen, rejected: -F.logsigmoid(chosen - rejected).mean(),
    ],
    wrong=[
        Slip(
            lambda chosen, rejected: F.logsigmoid(chosen - rejected).mean(),
            "the sign is left out",
            r"sign|minus|negative",
            "other way round|sum",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(rejected - chosen).mean(),
            "rejected minus chosen",
            r"rejected|chosen|round|swap|exchang",
            "sum of",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(chosen - rejected).sum(),
            "summed over the pairs",
            r"mean|sum|averag",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(chosen - rejected),
            "one number per pair",
            r"mean|shape|one number|averag",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: -(chosen - rejected).sigmoid().log().mean(),
            "log of sigmoid, which is infinite at -1,000",
            r"1,?000|underflow|inf|logsigmoid",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: (
                -((chosen.exp() / (chosen.exp() + rejected.exp())).log()).mean()
            ),
            "powers of e that overflow",
            r"1,?000|overflow|inf|nan|large|logsigmoid",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: 1 - (chosen - rejected).sigmoid().mean(),
            "one minus the probability",
            r"log|surprise",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: -(chosen - rejected).sigmoid().mean(),
            "no logarithm",
            r"log|surprise",
            "sum",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(chosen - rejected).mean() / math.log(2),
            "in bits",
            r"bits|nats|log 2|base",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(chosen.mean() - rejected.mean()),
            "the surprise at the mean lead",
            r"mean|each pair|averag",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: F.relu(1 - (chosen - rejected)).mean(),
            "a hinge",
            None,
            "bits|sign",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(chosen - rejected).mean().detach(),
            "no gradient flows",
            r"gradient|detach",
            "sign",
        ),
        Slip(surprise_in_numpy, "through numpy, without gradient", r"gradient|detach", "sign"),
        Slip(
            lambda chosen, rejected: -(chosen - rejected).sigmoid().clamp(min=1e-6).log().mean(),
            "the probability is clamped, so a large lead of the rejected has no gradient",
            r"clamp|1,?000|gradient|large|epsilon|logsigmoid",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: -(F.logsigmoid(chosen) - F.logsigmoid(rejected)).mean(),
            "sigmoids of scores, not of their difference",
            r"differ|lead|constant|only",
            "sign",
        ),
        Slip(
            lambda chosen, rejected: -F.logsigmoid(chosen - rejected).median(),
            "the median",
            None,
            "sign|bits",
        ),
    ],
)

# --- calibration_error ---


def error_by_loop(said, held, n_bins):
    bins = [[] for _ in range(n_bins)]
    for probability, truth in zip(said.tolist(), held.tolist(), strict=True):
        bins[min(int(probability * n_bins), n_bins - 1)].append((probability, float(truth)))
    total = 0.0
    for each in bins:
        if each:
            total += abs(sum(p for p, _ in each) - sum(truth for _, truth in each))
    return total / len(said)


def error_by_bincount(said, held, n_bins):
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    surplus = torch.bincount(number, weights=said.double() - held.double(), minlength=n_bins)
    return float(surplus.abs().sum() / len(said))


def error_in_numpy(said, held, n_bins):
    said, held = np.asarray(said, dtype=np.float32), np.asarray(held, dtype=float)
    number = np.minimum((said * n_bins).astype(int), n_bins - 1)
    error = 0.0
    for i in np.unique(number):
        inside = number == i
        error += inside.mean() * abs(said[inside].mean() - held[inside].mean())
    return error


def error_as_tensor(said, held, n_bins):
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    terms = [
        (number == i).float().mean() * (said[number == i].mean() - held[number == i].float().mean())
        for i in range(n_bins)
        if (number == i).any()
    ]
    return torch.stack(terms).abs().sum()


def error(
    number=lambda said, n: (said * n).long().clamp(max=n - 1),
    gap=lambda said, held: (said.mean() - held.mean()).abs(),
    count=len,
    by=lambda said, held, n: len(said),
    skip=True,
):
    """A right answer but for the numbers of bins, the gap, the weight, or the divisor."""

    def calibration_error(said, held, n_bins):
        total, bins = 0.0, number(said, n_bins)
        for i in range(n_bins):
            inside = bins == i
            if inside.any() or not skip:
                total += count(said[inside]) * gap(said[inside], held[inside].float())
        return float(total / by(said, held, n_bins))

    return calibration_error


def error_of_full_bins(said, held, n_bins):
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    gaps = [
        (said[number == i].mean() - held[number == i].float().mean()).abs() for i in number.unique()
    ]
    return float(sum(gaps) / len(gaps))


def greatest_gap(said, held, n_bins):
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    return max(
        float((said[number == i].mean() - held[number == i].float().mean()).abs())
        for i in number.unique()
    )


def bins_of_equal_count(said, held, n_bins):
    order = said.argsort()
    total = 0.0
    for inside in order.tensor_split(n_bins):
        if len(inside):
            gap = said[inside].mean() - held[inside].float().mean()
            total += len(inside) * float(gap.abs())
    return total / len(said)


def middle_of_bin(said, held, n_bins):
    number = (said * n_bins).long().clamp(max=n_bins - 1)
    total = 0.0
    for i in number.unique():
        inside = held[number == i].float()
        total += len(inside) * float(abs((i + 0.5) / n_bins - inside.mean()))
    return total / len(said)


CALIBRATION_ERROR = Answers(
    right=[error_by_loop, error_by_bincount, error_in_numpy, error_as_tensor, error()],
    wrong=[
        Slip(
            error(number=lambda said, n: (said * n).long()),
            "a probability of 1 is in no bin",
            r"\b1(\.0)?\b.*last|exactly 1|last bin",
            "empty|signed",
        ),
        Slip(error(skip=False), "0 / 0 in empty bins", r"empty|nan", "last bin|equal count"),
        Slip(
            error(gap=lambda said, held: said.mean() - held.mean()),
            "signed gaps, which cancel",
            r"cancel|sign|abs|distance",
            "empty|last bin",
        ),
        Slip(
            error(gap=lambda said, held: (said - held).abs().mean()),
            "the distance of each prediction, not of the means",
            r"mean|each prediction",
            "empty|last bin",
        ),
        Slip(
            error(gap=lambda said, held: (said.mean() - held.mean()) ** 2),
            "squared gaps",
            r"squar",
            "empty|last bin",
        ),
        Slip(
            error(count=lambda inside: 1, by=lambda said, held, n: n),
            "every bin counts alike, empty ones too",
            r"full|count|weigh|alike|equal",
            "last bin|squar",
        ),
        Slip(
            error_of_full_bins,
            "the plain mean over the bins that hold some",
            r"full|count|weigh|alike|equal",
            "last bin|squar",
        ),
        Slip(
            error(by=lambda said, held, n: 1),
            "not divided by N",
            r"divid|\bN\b|number of predictions|share",
            "empty|last bin|squar",
        ),
        Slip(
            error(by=lambda said, held, n: n),
            "divided by the number of bins",
            r"divid|\bN\b|number of",
            "empty|last bin|squar",
        ),
        Slip(greatest_gap, "the greatest gap", r"great|max|larg|worst", "empty|last bin"),
        Slip(
            bins_of_equal_count, "bins of equal count", r"equal (width|count)|width|sort", "empty"
        ),
        Slip(
            middle_of_bin, "the bin's middle as what was said", r"middle|cent|mean of", "last bin"
        ),
        Slip(
            lambda said, held, n_bins: float(abs(said.mean() - held.float().mean())),
            "one bin for all",
            r"one bin|bins|whole|all together|cancel",
            "empty|last bin",
        ),
        Slip(
            lambda said, held, n_bins: float(((said - held.float()) ** 2).mean()),
            "the Brier score",
            r"brier|squar|bin|mean",
            "empty|last bin",
        ),
        Slip(
            error(number=lambda said, n: (said * n).round().long().clamp(max=n - 1)),
            "rounded to the nearest bin",
            r"round|width|bin",
            "empty",
        ),
        Slip(
            error(number=lambda said, n: (said * (n - 1)).long()),
            "one bin too few",
            r"n_bins|width|bin",
            "empty",
        ),
        Slip(
            error(number=lambda said, n: (said * 10).long().clamp(max=9)),
            "always ten bins",
            r"n_bins|ten|10|always",
            "empty|last bin",
        ),
        Slip(
            error(by=lambda said, held, n: held.sum()),
            "divided by the number that held",
            None,
            "empty|last bin|squar",
        ),
        Slip(
            error(
                number=lambda said, n: ((said - 0.5).clamp(min=0) * 2 * n).long().clamp(max=n - 1)
            ),
            "bins from a half to 1",
            None,
            "empty|last bin|squar",
        ),
    ],
)

# --- best_of_n ---


def best_by_sorting(probs, scores, n):
    order = scores.argsort()
    reached = probs[order].cumsum(0).clamp(max=1) ** n
    below = torch.cat([torch.zeros_like(reached[:1]), reached[:-1]])
    return torch.zeros_like(probs).scatter(0, order, reached - below)


def best_by_loop(probs, scores, n):
    found = []
    for score in scores.tolist():
        at_most = sum(p for p, s in zip(probs.tolist(), scores.tolist(), strict=True) if s <= score)
        less = sum(p for p, s in zip(probs.tolist(), scores.tolist(), strict=True) if s < score)
        found.append(at_most**n - less**n)
    return torch.tensor(found)


def best_by_sums_of_draws(probs, scores, n):
    """One draw more at a time: the best so far stands, or is beaten."""
    best = probs.double()
    less = (scores[None] < scores[:, None]).double()
    for _ in range(n - 1):
        best = best * (less @ probs.double() + probs) + probs * (less @ best)
    return best


def best_in_numpy(probs, scores, n):
    probs, scores = np.asarray(probs, dtype=float), np.asarray(scores)
    at_most = (scores[None] <= scores[:, None]) @ probs
    return torch.from_numpy(at_most**n - (at_most - probs) ** n)


def best(
    above=lambda scores: scores[None] <= scores[:, None],
    below=lambda scores: scores[None] < scores[:, None],
    give=lambda at_most, less, n: at_most**n - less**n,
):
    """A right answer but for who counts, or what is made of the two probabilities."""

    def best_of_n(probs, scores, n):
        at_most, less = (each(scores).to(probs.dtype) @ probs for each in (above, below))
        return give(at_most, less, n)

    return best_of_n


def best_in_order(probs, scores, n):
    order = scores.argsort()
    reached = probs[order].cumsum(0) ** n
    return reached.diff(prepend=torch.zeros(1, dtype=reached.dtype))


def best_by_row(probs, scores, n):
    reached = probs.cumsum(0) ** n
    return reached.diff(prepend=torch.zeros(1, dtype=reached.dtype))


def best_by_draws(probs, scores, n):
    draws = torch.multinomial(probs, 1000 * n, replacement=True).view(1000, n)
    chosen = draws.gather(1, scores[draws].argmax(1, keepdim=True))[:, 0]
    return torch.bincount(chosen, minlength=len(probs)) / 1000


def normalised(values):
    return values / values.sum()


BEST_OF_N = Answers(
    right=[best_by_sorting, best_by_loop, best_by_sums_of_draws, best_in_numpy, best()],
    wrong=[
        Slip(
            best(give=lambda at_most, less, n: at_most**n),
            "nothing is subtracted",
            r"subtract|less|add up|sum|at most",
            "lowest|worst",
        ),
        Slip(
            best(give=lambda at_most, less, n: (at_most - less) ** n),
            "subtracted before the power",
            r"power|before|after|subtract|same answer",
            "lowest|worst",
        ),
        Slip(
            lambda probs, scores, n: normalised(probs**n),
            "the answers' own probabilities to the power of n",
            r"power|score|at most|sharpen|own",
            "lowest|worst",
        ),
        Slip(
            lambda probs, scores, n: 1 - (1 - probs) ** n,
            "the probability to be drawn at all",
            r"drawn|once|at least|best",
            "lowest|worst",
        ),
        Slip(
            best(
                lambda scores: scores[None] >= scores[:, None],
                lambda scores: scores[None] > scores[:, None],
            ),
            "the worst of n",
            r"worst|lowest|round|direction",
            "subtract|order",
        ),
        Slip(best_in_order, "left in the order of scores", r"order|sort", "worst|subtract"),
        Slip(
            best_by_row,
            "answers taken in the order of their row",
            r"order|score|sort",
            "worst|subtract",
        ),
        Slip(
            lambda probs, scores, n: normalised(probs * scores.exp() ** n),
            "probabilities times exp(n * score)",
            r"rank|order|exp|score",
            "worst",
        ),
        Slip(
            lambda probs, scores, n: F.one_hot(scores.argmax(), len(probs)).to(probs.dtype),
            "always the best answer",
            r"always|argmax|certain|drawn|n draws|every|infinit",
            "worst",
        ),
        Slip(
            best(give=lambda at_most, less, n: at_most * n - less * n),
            "times n",
            r"power|times n|add up|sum",
            "worst|lowest",
        ),
        Slip(
            best(give=lambda at_most, less, n: at_most ** (n - 1) - less ** (n - 1)),
            "one draw too few",
            r"n - 1|one (draw )?(too )?few|n draws|power|draws",
            "worst|lowest",
        ),
        Slip(
            best(give=lambda at_most, less, n: (at_most - less) * at_most ** (n - 1)),
            "this answer first, then n - 1 that are at most as good",
            r"add up|sum|first|n ways|order",
            "worst|lowest",
        ),
        Slip(
            best(give=lambda at_most, less, n: n * (at_most - less) * less ** (n - 1)),
            "exactly one of n draws is this answer",
            r"add up|sum|once|several|twice|repeat|same",
            "worst|lowest",
        ),
        Slip(
            best_by_draws, "drawn at random", r"draw|random|exact|chance|off|sampl", "worst|lowest"
        ),
        Slip(
            best(give=lambda at_most, less, n: normalised(at_most**n)),
            "at most as good, made to sum to 1",
            r"subtract|less|at most|normalis",
            "worst|lowest",
        ),
        Slip(lambda probs, scores, n: probs, "n is not used", r"\bn\b|draw", "worst|lowest"),
    ],
)

# --- token_advantages ---


def advantages_by_walk(rewards, values, discount, lam):
    following = torch.cat([values[1:], values.new_zeros(1)])
    surprises = rewards + discount * following - values
    ahead, found = 0.0, []
    for surprise in reversed(surprises.tolist()):
        ahead = surprise + discount * lam * ahead
        found.insert(0, ahead)
    return torch.tensor(found)


def advantages_by_matrix(rewards, values, discount, lam):
    n_tokens = len(rewards)
    following = F.pad(values[1:], (0, 1))
    surprises = (rewards + discount * following - values).double()
    steps = torch.arange(n_tokens)[None] - torch.arange(n_tokens)[:, None]
    faded = torch.where(steps >= 0, (discount * lam) ** steps.clamp(min=0).double(), 0.0)
    return faded @ surprises


def advantages_by_returns(rewards, values, discount, lam):
    """The lambda-return minus the value."""
    found = torch.zeros_like(rewards)
    back = 0.0
    for t in range(len(rewards) - 1, -1, -1):
        following = values[t + 1] if t + 1 < len(values) else 0.0
        back = rewards[t] + discount * ((1 - lam) * following + lam * back)
        found[t] = back - values[t]
    return found


def advantages_by_double_loop(rewards, values, discount, lam):
    rewards, values = rewards.tolist(), [*values.tolist(), 0.0]
    n_tokens = len(rewards)
    return torch.tensor(
        [
            sum(
                (discount * lam) ** (u - t) * (rewards[u] + discount * values[u + 1] - values[u])
                for u in range(t, n_tokens)
            )
            for t in range(n_tokens)
        ]
    )


def advantages(
    following=lambda values: F.pad(values[1:], (0, 1)),
    fade=lambda discount, lam: discount * lam,
    surprise=lambda rewards, ahead, values, discount: rewards + discount * ahead - values,
    start=lambda values: 0.0,
    order=reversed,
):
    """A right answer but for the value that follows, the fading, the surprise, or the walk."""

    def token_advantages(rewards, values, discount, lam):
        surprises = surprise(rewards, following(values), values, discount)
        found, ahead = torch.zeros_like(surprises), start(values)
        for t in order(range(len(surprises))):
            ahead = surprises[t] + fade(discount, lam) * ahead
            found[t] = ahead
        return found

    return token_advantages


def advantages_unflipped(rewards, values, discount, lam):
    return advantages()(rewards, values, discount, lam).flip(0)


def advantages_of_rewards(rewards, values, discount, lam):
    found, ahead = torch.zeros_like(rewards), 0.0
    for t in reversed(range(len(rewards))):
        ahead = rewards[t] + discount * lam * ahead
        found[t] = ahead
    return found - values


def whitened_advantages(rewards, values, discount, lam):
    found = advantages()(rewards, values, discount, lam)
    return (found - found.mean()) / (found.std(correction=0) + 1e-8)


def returns_of_tokens(rewards, values, discount, lam):
    return advantages()(rewards, values, discount, lam) + values


def advantages_in_place(rewards, values, discount, lam):
    found = rewards
    found += discount * F.pad(values[1:], (0, 1)) - values
    for t in reversed(range(len(found) - 1)):
        found[t] += discount * lam * found[t + 1]
    return found


TOKEN_ADVANTAGES = Answers(
    right=[
        advantages_by_walk,
        advantages_by_matrix,
        advantages_by_returns,
        advantages_by_double_loop,
        advantages(),
    ],
    wrong=[
        Slip(
            advantages(following=lambda values: torch.cat([values[1:], values[-1:]])),
            "behind the last token stands its own value",
            r"last|behind|nothing is to come",
            "discount|sign",
        ),
        Slip(
            advantages(following=lambda values: values.roll(-1)),
            "behind the last token stands the first value",
            r"last|behind|nothing is to come|roll|wrap",
            "discount|sign",
        ),
        Slip(
            advantages(order=iter),
            "walked from the first token to the last",
            r"first|last|direction|back|follow|ahead|end",
            "discount is|sign",
        ),
        Slip(advantages_unflipped, "given last token first", r"order|revers|flip|round|last", None),
        Slip(
            advantages(fade=lambda discount, lam: lam),
            "the sum fades by lam alone",
            r"discount|fade",
            "behind the last|order",
        ),
        Slip(
            advantages(fade=lambda discount, lam: discount),
            "the sum fades by the discount alone, lam is not used",
            r"lam\b|fade",
            "behind the last|order",
        ),
        Slip(
            advantages(surprise=lambda rewards, ahead, values, discount: rewards + ahead - values),
            "what follows is not discounted",
            r"discount",
            "behind the last|order",
        ),
        Slip(
            advantages(fade=lambda discount, lam: 0.0),
            "the surprises alone",
            r"surprise|follow|lam\b",
            "behind the last|order",
        ),
        Slip(
            advantages(surprise=lambda rewards, ahead, values, discount: rewards - values),
            "the reward minus the value, without what follows",
            r"follow|next|value|come",
            "order",
        ),
        Slip(
            advantages(
                surprise=lambda rewards, ahead, values, discount: rewards + discount * ahead
            ),
            "no value is subtracted",
            r"minus|subtract|value",
            "behind the last|order",
        ),
        Slip(
            advantages(
                surprise=lambda rewards, ahead, values, discount: (
                    values - rewards - discount * ahead
                )
            ),
            "the sign is turned",
            r"sign|minus|negative|round",
            "behind the last",
        ),
        Slip(
            advantages_of_rewards,
            "faded rewards minus the value",
            r"surprise|reward|value|lam\b",
            "behind the last|order",
        ),
        Slip(whitened_advantages, "whitened", r"whiten|mean|variance|scale|normal", None),
        Slip(returns_of_tokens, "the returns", r"return|value", "discount|behind the last"),
        Slip(
            advantages(fade=lambda discount, lam: 1 - discount * lam),
            "fades by 1 minus discount times lam",
            r"fade|discount|lam\b",
            "behind the last|order",
        ),
        Slip(
            advantages_in_place,
            "the caller's rewards are overwritten",
            r"overwr|chang|in place|argument|given",
            "behind the last|order",
        ),
    ],
)

# --- ppo_loss ---


def ppo_by_max(log_probs, old_log_probs, advantages, clip):
    ratio = torch.exp(log_probs - old_log_probs)
    far, near = -advantages * ratio, -advantages * torch.clamp(ratio, 1 - clip, 1 + clip)
    return torch.max(far, near).mean()


def ppo_by_loop(log_probs, old_log_probs, advantages, clip):
    total = log_probs.new_zeros(())
    for now, old, advantage in zip(log_probs, old_log_probs, advantages, strict=True):
        ratio = (now - old).exp()
        near = ratio.clamp(1 - clip, 1 + clip)
        far_gain, near_gain = ratio * advantage, near * advantage
        total = total + (far_gain if far_gain < near_gain else near_gain)
    return -total / len(log_probs)


def ppo_by_sign(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    good = ratio.clamp(max=1 + clip)
    bad = ratio.clamp(min=1 - clip)
    return -(torch.where(advantages > 0, good, bad) * advantages).mean()


def ppo_by_stack(log_probs, old_log_probs, advantages, clip):
    ratio = log_probs.exp() / old_log_probs.detach().exp()
    both = torch.stack([ratio, ratio.clip(1 - clip, 1 + clip)]) * advantages
    return both.min(dim=0).values.mean().neg()


def ppo(
    compare=lambda log_probs, old: (log_probs - old).exp(),
    clamp=lambda ratio, clip: ratio.clamp(1 - clip, 1 + clip),
    choose=torch.minimum,
    finish=lambda gain: -gain.mean(),
):
    """A right answer but for the ratio, the clip, the choice of the two, or the end."""

    def ppo_loss(log_probs, old_log_probs, advantages, clip):
        ratio = compare(log_probs, old_log_probs)
        return finish(choose(ratio * advantages, clamp(ratio, clip) * advantages))

    return ppo_loss


def ppo_of_means(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    near = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum((ratio * advantages).mean(), (near * advantages).mean())


def ppo_of_ratios(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs - old_log_probs).exp()
    return -(torch.minimum(ratio, ratio.clamp(1 - clip, 1 + clip)) * advantages).mean()


def ppo_of_answer(log_probs, old_log_probs, advantages, clip):
    ratio = (log_probs.sum() - old_log_probs.sum()).exp()
    near = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantages, near * advantages).mean()


PPO_LOSS = Answers(
    right=[ppo_by_max, ppo_by_loop, ppo_by_sign, ppo_by_stack, ppo()],
    wrong=[
        Slip(
            ppo(finish=lambda gain: gain.mean()),
            "the sign is left out",
            r"sign|minus|negative|small",
            "clip|ratio",
        ),
        Slip(
            ppo(choose=torch.maximum),
            "the larger of the two",
            r"larger|maximum|smaller|minimum|worse",
            "sign",
        ),
        Slip(
            ppo(choose=lambda far, near: near),
            "the clipped gain alone",
            r"clipped|smaller|minimum|alone|pulled back|gradient",
            "sign",
        ),
        Slip(ppo(choose=lambda far, near: far), "no clip", r"clip", "sign"),
        Slip(
            ppo(compare=lambda log_probs, old: log_probs - old),
            "the difference of logarithms as a ratio",
            r"exp|log|ratio",
            "sign",
        ),
        Slip(
            ppo(compare=lambda log_probs, old: log_probs / old),
            "logarithms divided",
            r"exp|log|ratio|divid",
            "sign",
        ),
        Slip(
            ppo(compare=lambda log_probs, old: (old - log_probs).exp()),
            "old over new",
            r"old|round|invert|upside",
            "sign is",
        ),
        Slip(
            ppo(compare=lambda log_probs, old: log_probs.exp()),
            "the old probabilities are not used",
            r"old|ratio",
            "sign is",
        ),
        Slip(ppo(finish=lambda gain: -gain.sum()), "summed over tokens", r"mean|sum", "sign"),
        Slip(
            ppo(finish=lambda gain: -gain), "one number per token", r"mean|shape|one number", "sign"
        ),
        Slip(ppo_of_means, "the smaller of two means", r"token|mean|before", "sign"),
        Slip(
            ppo_of_ratios,
            "the smaller ratio, then the advantage",
            r"advantage|ratio|smaller|negative",
            "sign is",
        ),
        Slip(
            ppo(clamp=lambda ratio, clip: ratio.clamp(max=1 + clip)),
            "clipped above only",
            r"below|lower|1 - clip|both|0\.8|bad",
            "sign",
        ),
        Slip(
            ppo(clamp=lambda ratio, clip: ratio.clamp(-clip, clip)),
            "clipped to ± clip",
            r"around 1|1 \+ clip|1 - clip|clip",
            "sign",
        ),
        Slip(
            ppo(clamp=lambda ratio, clip: ratio.clamp(0.8, 1.2)),
            "always a clip of 0.2",
            r"clip|0\.2",
            "sign",
        ),
        Slip(ppo_of_answer, "one ratio for the whole answer", r"token|each|own|answer", "sign"),
        Slip(lambda *args: ppo()(*args).detach(), "no gradient flows", r"gradient|detach", "sign"),
        Slip(
            lambda log_probs, old, gains, clip: ppo()(
                log_probs, old, (gains - gains.mean()) / (gains.std(correction=0) + 1e-8), clip
            ),
            "advantages whitened inside",
            r"whiten|normal|scale|given|advantage",
            "sign",
        ),
    ],
)

# --- dpo_loss ---


def dpo_by_softplus(policy, reference, beta):
    ours = policy[:, 0] - policy[:, 1]
    theirs = reference[:, 0] - reference[:, 1]
    return F.softplus(-beta * (ours - theirs)).mean()


def dpo_by_cross_entropy(policy, reference, beta):
    rewards = beta * (policy - reference)
    return F.cross_entropy(rewards, torch.zeros(len(rewards), dtype=torch.long))


def dpo_by_loop(policy, reference, beta):
    total = policy.new_zeros(())
    for (chosen, rejected), (base_chosen, base_rejected) in zip(policy, reference, strict=True):
        lead = beta * (chosen - base_chosen) - beta * (rejected - base_rejected)
        total = total - F.logsigmoid(lead)
    return total / len(policy)


def dpo_by_diff(policy, reference, beta):
    leads = -(beta * (policy - reference)).diff(dim=1).squeeze(1)
    return torch.logaddexp(torch.zeros_like(leads), -leads).mean()


def dpo(
    imply=lambda policy, reference, beta: beta * (policy - reference),
    lead=lambda rewards: rewards[:, 0] - rewards[:, 1],
    finish=lambda leads: -F.logsigmoid(leads).mean(),
):
    """A right answer but for the implicit rewards, their difference, or the loss."""

    def dpo_loss(policy, reference, beta):
        return finish(lead(imply(policy, reference, beta)))

    return dpo_loss


DPO_LOSS = Answers(
    right=[dpo_by_softplus, dpo_by_cross_entropy, dpo_by_loop, dpo_by_diff, dpo()],
    wrong=[
        Slip(
            dpo(lambda policy, reference, beta: beta * policy),
            "without the reference",
            r"reference",
            "sign|round",
        ),
        Slip(
            dpo(lambda policy, reference, beta: policy - reference),
            "without beta",
            r"beta",
            "sign|round",
        ),
        Slip(
            dpo(lambda policy, reference, beta: (policy - reference) / beta),
            "divided by beta",
            r"beta",
            "sign|round",
        ),
        Slip(
            dpo(lead=lambda rewards: rewards[:, 1] - rewards[:, 0]),
            "rejected minus chosen",
            r"rejected|chosen|round|first|swap|exchang",
            "mean over|sum",
        ),
        Slip(
            dpo(finish=lambda leads: F.logsigmoid(leads).mean()),
            "the sign is left out",
            r"sign|minus|negative",
            "sum",
        ),
        Slip(
            dpo(finish=lambda leads: -F.logsigmoid(leads).sum()),
            "summed over the pairs",
            r"mean|sum",
            "sign",
        ),
        Slip(
            dpo(finish=lambda leads: -F.logsigmoid(leads)),
            "one number per pair",
            r"mean|shape|one number",
            "sign",
        ),
        Slip(
            dpo(finish=lambda leads: -leads.sigmoid().log().mean()),
            "log of sigmoid, which is infinite at large leads",
            r"underflow|inf|logsigmoid|large|1,?000",
            "sign",
        ),
        Slip(
            dpo(lambda policy, reference, beta: beta * (reference - policy)),
            "reference minus policy",
            r"reference|round|swap|exchang",
            "sum",
        ),
        Slip(
            dpo(finish=lambda leads: -leads.sigmoid().mean()), "no logarithm", r"log|surprise", None
        ),
        Slip(dpo(finish=lambda leads: -leads.mean()), "no sigmoid", r"sigmoid|logsigmoid", None),
        Slip(
            dpo(lead=lambda rewards: rewards[:, 0]),
            "the chosen answer alone",
            r"rejected|both|chosen",
            "sign",
        ),
        Slip(
            dpo(lead=lambda rewards: rewards[0] - rewards[1]),
            "the first two pairs, not the two answers",
            r"column|axis|row|pair|shape",
            "sign",
        ),
        Slip(
            dpo(lambda policy, reference, beta: beta * (policy.exp() / reference.exp())),
            "ratios, not their logarithms",
            r"log|ratio|exp|differ",
            "sign",
        ),
        Slip(
            dpo(lambda policy, reference, beta: beta * policy - reference),
            "beta times the policy alone",
            r"beta|reference",
            "sign|round",
        ),
        Slip(
            dpo(finish=lambda leads: ((leads - 0.5) ** 2).mean()),
            "a square, as IPO has it",
            None,
            "sign",
        ),
        Slip(lambda *args: dpo()(*args).detach(), "no gradient flows", r"gradient|detach", "sign"),
        Slip(
            dpo(finish=lambda leads: -F.logsigmoid(leads.mean())),
            "the loss of the mean lead",
            r"mean|each pair|averag",
            "sign",
        ),
    ],
)

ANSWERS = {
    "bradley_terry": BRADLEY_TERRY,
    "calibration_error": CALIBRATION_ERROR,
    "best_of_n": BEST_OF_N,
    "token_advantages": TOKEN_ADVANTAGES,
    "ppo_loss": PPO_LOSS,
    "dpo_loss": DPO_LOSS,
}
