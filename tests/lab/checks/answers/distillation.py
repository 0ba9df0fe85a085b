"""Answers to the exercises of lesson 27, written from their statements alone."""

import random
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import combinations
from math import comb, exp

import torch
from torch.nn import functional

from tests.lab.checks.answers.table import Answers, Slip

# --- soft_target_loss ---


def loss_by_kl_div(student, teacher, temperature):
    own = functional.log_softmax(student / temperature, dim=-1)
    theirs = functional.log_softmax(teacher / temperature, dim=-1)
    kl = functional.kl_div(own, theirs, reduction="batchmean", log_target=True)
    return kl * temperature**2


def loss_by_entropies(student, teacher, temperature):
    p = torch.softmax(teacher / temperature, dim=1)
    cross = functional.cross_entropy(student / temperature, p)
    entropy = torch.distributions.Categorical(probs=p).entropy().mean()
    return temperature * temperature * (cross - entropy)


def loss_by_loops(student, teacher, temperature):
    total = 0.0
    for own, theirs in zip(student / temperature, teacher / temperature, strict=True):
        own, theirs = own - own.logsumexp(0), theirs - theirs.logsumexp(0)
        total = total + sum(b.exp() * (b - a) for a, b in zip(own, theirs, strict=True))
    return temperature**2 * total / len(student)


def soft_loss(
    weigh=lambda p, q: p,
    ratio=lambda p, q: p.log() - q.log(),
    divide=lambda temperature: (temperature, temperature),
    factor=lambda temperature: temperature**2,
    reduce=lambda table: table.sum(-1).mean(),
    axis=-1,
):
    """A right answer but for the weight, the ratio, the temperatures, the factor, or the mean."""

    def soft_target_loss(student, teacher, temperature):
        first, second = divide(temperature)
        q = (student / first).softmax(axis)
        p = (teacher / second).softmax(axis)
        return factor(temperature) * reduce(weigh(p, q) * ratio(p, q))

    return soft_target_loss


SOFT_TARGET_LOSS = Answers(
    right=[loss_by_kl_div, loss_by_entropies, loss_by_loops],
    wrong=[
        Slip(soft_loss(factor=lambda t: 1.0), "no factor", r"T\^2|factor|squared|temperature"),
        Slip(
            soft_loss(factor=lambda t: t), "the factor not squared", r"T\^2|squar", "without|lacks"
        ),
        Slip(
            soft_loss(weigh=lambda p, q: q, ratio=lambda p, q: q.log() - p.log()),
            "the reverse KL",
            r"revers|other way|student.*(weigh|average)|teacher.*weigh|direction",
        ),
        Slip(
            soft_loss(weigh=lambda p, q: q),
            "weighed by the student",
            r"weigh|student's prob|teacher's prob",
        ),
        Slip(
            soft_loss(ratio=lambda p, q: q.log() - p.log()),
            "the sign turned round",
            r"sign|negativ|turned|minus|p.*/.*q",
        ),
        Slip(soft_loss(ratio=lambda p, q: -q.log()), "the cross-entropy", r"entropy|log p|same"),
        Slip(soft_loss(reduce=lambda x: x.mean()), "a mean over tokens too", r"sum|V\b|token"),
        Slip(soft_loss(reduce=lambda x: x.sum()), "a sum over positions", r"mean|position|T\b"),
        Slip(soft_loss(reduce=lambda x: x.sum(-1)), "a loss per position", r"mean|shape|position"),
        Slip(soft_loss(divide=lambda t: (1.0, t)), "only the teacher softened", r"student|both"),
        Slip(soft_loss(divide=lambda t: (t, 1.0)), "only the student softened", r"teacher|both"),
        Slip(
            soft_loss(divide=lambda t: (1.0, 1.0)),
            "nothing softened",
            r"temperature|divid|soften",
            "mean",
        ),
        Slip(
            soft_loss(divide=lambda t: (1 / t, 1 / t)),
            "multiplied by the temperature",
            r"divid|multipl",
        ),
        Slip(soft_loss(axis=0), "softmax over positions", r"axis|dim|position|row|over"),
        Slip(
            lambda student, teacher, t: loss_by_kl_div(student, teacher, t).item(),
            "a number without gradient",
            r"gradient|tensor|item|float|learn",
        ),
        Slip(
            lambda student, teacher, t: functional.cross_entropy(student, teacher.argmax(-1)),
            "the loss of the teacher's likeliest tokens",
            None,
        ),
    ],
)

# --- token_rewards ---


def rewards_by_gather(student, teacher, written):
    ratios = teacher.log_softmax(dim=-1) - student.log_softmax(dim=-1)
    return torch.gather(ratios, 1, written.unsqueeze(1)).squeeze(1)


def rewards_by_cross_entropy(student, teacher, written):
    own = functional.cross_entropy(student, written, reduction="none")
    theirs = functional.cross_entropy(teacher, written, reduction="none")
    return own - theirs


def rewards_by_loop(student, teacher, written):
    found = []
    for own, theirs, v in zip(student, teacher, written.tolist(), strict=True):
        found.append((theirs[v] - theirs.logsumexp(0)) - (own[v] - own.logsumexp(0)))
    return torch.stack(found)


def rewards(
    made=lambda p, q: p.log() - q.log(),
    take=lambda table, written: table[torch.arange(len(written)), written],
    axis=-1,
):
    """A right answer but for what is made of the probabilities, or which entries are taken."""

    def token_rewards(student, teacher, written):
        return take(made(teacher.softmax(axis), student.softmax(axis)), written)

    return token_rewards


TOKEN_REWARDS = Answers(
    right=[rewards_by_gather, rewards_by_cross_entropy, rewards_by_loop],
    wrong=[
        Slip(
            rewards(lambda p, q: q.log() - p.log()),
            "student minus teacher",
            r"sign|minus|turned|other way|exchang",
        ),
        Slip(rewards(lambda p, q: p / q), "the ratio without its log", r"\blog"),
        Slip(rewards(lambda p, q: p - q), "a difference of probabilities", r"\blog|probabilit"),
        Slip(rewards(lambda p, q: p.log()), "the teacher alone", r"student|log q|alone"),
        Slip(rewards(lambda p, q: -q.log()), "the student alone", r"teacher|log p|alone"),
        Slip(rewards(lambda p, q: p.log2() - q.log2()), "in bits", r"bits|nat|log2|base"),
        Slip(
            lambda student, teacher, written: (teacher - student)[
                torch.arange(len(written)), written
            ],
            "scores in place of log-probabilities",
            r"score|softmax|log-prob|normali",
        ),
        Slip(rewards(axis=0), "softmax over positions", r"axis|dim|position|over"),
        Slip(
            rewards(take=lambda table, written: table.max(-1).values),
            "the largest ratio of each row",
            r"written|largest|max",
        ),
        Slip(
            lambda student, teacher, written: rewards()(student, teacher, student.argmax(-1)),
            "the student's likeliest tokens",
            r"written|likeliest|argmax",
        ),
        Slip(
            rewards(take=lambda table, written: table[:, written]),
            "all pairs of position and token",
            r"shape|each|pair|position",
        ),
        Slip(
            rewards(take=lambda table, written: table.gather(1, written[:, None])),
            "a column in place of a row",
            r"shape",
        ),
        Slip(
            lambda student, teacher, written: rewards()(student, teacher, written).mean(),
            "their mean",
            r"shape|mean|per token|each",
        ),
        Slip(
            rewards(lambda p, q: q * (p.log() - q.log()), lambda table, written: table.sum(-1)),
            "the expected reward of each position",
            r"written|sum|expect|average|KL",
        ),
        Slip(
            rewards(lambda p, q: q * (p.log() - q.log())),
            "weighed by the student's probability",
            r"weigh|probab|expect",
        ),
        Slip(
            rewards(take=lambda table, written: table[torch.arange(len(written)), written.roll(1)]),
            "the token before",
            r"shift|before|next|written|one",
        ),
    ],
)

# --- vote ---


def vote_by_defaultdict(answers, weights):
    totals = defaultdict(float)
    for answer, weight in zip(answers, weights, strict=True):
        if answer is not None:
            totals[answer] += weight
    best = max(totals.values(), default=None)
    return [answer for answer, total in totals.items() if total == best]


def vote_by_sums(answers, weights):
    order = list(dict.fromkeys(a for a in answers if a is not None))
    totals = [sum(w for b, w in zip(answers, weights, strict=True) if b == a) for a in order]
    return [a for a, total in zip(order, totals, strict=True) if total == max(totals)]


def vote_by_sorting(answers, weights):
    totals = {}
    for i, answer in enumerate(answers):
        if answer is None:
            continue
        first, total = totals.get(answer, (i, Fraction(0)))
        totals[answer] = (first, total + Fraction(weights[i]))
    ranked = sorted(totals.items(), key=lambda entry: (-entry[1][1], entry[1][0]))
    return [answer for answer, (_, total) in ranked if total == ranked[0][1][1]]


def voted(
    skip=lambda answer: answer is None,
    add=lambda old, weight: old + weight,
    pick=lambda totals: [a for a, total in totals.items() if total == max(totals.values())],
):
    """A right answer but for what is skipped, what is added, or who is picked."""

    def vote(answers, weights):
        totals = {}
        for answer, weight in zip(answers, weights, strict=True):
            if not skip(answer):
                totals[answer] = add(totals.get(answer, 0.0), weight)
        return pick(totals)

    return vote


def vote_by_mean(answers, weights):
    counts = Counter(a for a in answers if a is not None)
    means = {
        a: sum(w for b, w in zip(answers, weights, strict=True) if b == a) / n
        for a, n in counts.items()
    }
    return [a for a, m in means.items() if m == max(means.values())]


def vote_of_last_first(answers, weights):
    return list(reversed(vote_by_sums(answers[::-1], weights[::-1])))


VOTE = Answers(
    right=[vote_by_defaultdict, vote_by_sums, vote_by_sorting],
    wrong=[
        Slip(voted(lambda a: False), "None votes too", r"None"),
        Slip(voted(lambda a: not a), "empty text is no vote", r"empty|''|\"\"|is None|false"),
        Slip(voted(add=lambda old, w: old + 1.0), "the weights ignored", r"weight|count"),
        Slip(
            voted(add=lambda old, w: max(old, w)),
            "the largest single weight",
            r"add|sum|largest|single|total",
        ),
        Slip(voted(add=lambda old, w: w), "the last weight alone", r"add|last|overwrit|total"),
        Slip(vote_by_mean, "the mean weight", r"mean|average|total|sum|divid"),
        Slip(
            voted(pick=lambda totals: max(totals, key=totals.get) if totals else None),
            "one answer in place of a list",
            r"list",
        ),
        Slip(
            voted(pick=lambda totals: [max(totals, key=totals.get)] if totals else []),
            "only the first of a tie",
            r"tie|several|both|all",
        ),
        Slip(
            voted(pick=lambda t, most=max: [a for m in [most(t.values())] for a in t if t[a] == m]),
            "an error where nobody votes",
            r"None|nobody|no vote|empty",
        ),
        Slip(
            voted(pick=lambda t: sorted(a for a in t if t[a] == max(t.values()))),
            "ties in alphabetical order",
            r"order|first vote",
        ),
        Slip(vote_of_last_first, "ties in the order of last votes", r"order|first vote"),
        Slip(
            voted(pick=lambda t: [a for a in t if t[a] == min(t.values())]),
            "the least weight",
            r"least|most|smallest|largest",
        ),
        Slip(
            voted(pick=lambda t: sorted(t, key=t.get, reverse=True)),
            "all answers, ranked",
            r"most|only|rank|all|tie",
        ),
        Slip(
            voted(pick=lambda t: [a for a in t if 2 * t[a] > sum(t.values())]),
            "more than half is asked for",
            r"half|most|absolute",
        ),
        Slip(
            voted(pick=lambda t: {a: w for a, w in t.items() if w == max(t.values())}),
            "a dictionary",
            r"list|dict",
        ),
    ],
)

# --- best_of_k ---


def best_by_places(scores, right, k):
    order = sorted(range(len(scores)), key=scores.__getitem__)
    good = sum(comb(place, k - 1) for place, i in enumerate(order) if right[i])
    return good / comb(len(scores), k)


def best_by_counting(scores, right, k):
    total = Fraction(0)
    for score, good in zip(scores, right, strict=True):
        below = sum(other < score for other in scores)
        if good:
            total += Fraction(comb(below, k - 1), comb(len(scores), k))
    return total


def best_by_draws(scores, right, k):
    draws = list(combinations(sorted(zip(scores, right, strict=True)), k))
    return sum(max(draw)[1] for draw in draws) / len(draws)


def best(
    chances=lambda worse, n, k: comb(worse, k - 1) / comb(n, k),
    order=lambda pairs: sorted(pairs, reverse=True),
    keep=lambda good: good,
    end=lambda total: total,
):
    """A right answer but for the order, the chances, which answers count, or the end."""

    def best_of_k(scores, right, k):
        n = len(scores)
        total = 0.0
        for rank, (_, good) in enumerate(order(list(zip(scores, right, strict=True)))):
            if keep(good):
                total += chances(n - 1 - rank, n, k)
        return end(total)

    return best_of_k


def best_by_chance(scores, right, k):
    rng = random.Random(0)
    pairs = list(zip(scores, right, strict=True))
    return sum(max(rng.sample(pairs, k))[1] for _ in range(400)) / 400


def best_of_weights(scores, right, k):
    weights = [exp(score) for score in scores]
    return sum(w for w, good in zip(weights, right, strict=True) if good) / sum(weights)


BEST_OF_K = Answers(
    right=[best_by_places, best_by_counting, best_by_draws],
    wrong=[
        Slip(
            lambda scores, right, k: 1 - comb(len(right) - sum(right), k) / comb(len(right), k),
            "pass@k",
            r"pass@k|score|any",
        ),
        Slip(
            best(lambda worse, n, k: ((worse + 1) ** k - worse**k) / n**k),
            "draws put back",
            r"put|back|replac|twice|without",
        ),
        Slip(best(order=sorted), "the lowest score is taken", r"lowest|highest|order|worse"),
        Slip(best(order=list), "nothing is sorted", r"sort|score|order"),
        Slip(
            lambda scores, right, k: float(max(zip(scores, right, strict=True))[1]),
            "the best of all n",
            r"\bk\b|all n|drawn",
        ),
        Slip(
            lambda scores, right, k: sum(right) / len(right),
            "one answer at random",
            r"\bk\b|score|share|random",
        ),
        Slip(
            lambda scores, right, k: float(max(zip(scores[:k], right[:k], strict=True))[1]),
            "the best of the first k",
            r"first k|drawn|every draw|all draws|probab",
        ),
        Slip(
            best(lambda worse, n, k: comb(worse, k) / comb(n, k)),
            "k others in place of k - 1",
            r"k - 1|others|itself",
        ),
        Slip(
            best(lambda worse, n, k: comb(worse + 1, k - 1) / comb(n, k)),
            "one too many behind it",
            r"behind|itself|k - 1|draws|1",
        ),
        Slip(
            best(lambda worse, n, k: comb(worse, k - 1) / comb(n, k - 1)),
            "divided by draws of k - 1",
            r"divide|comb|all draws|k - 1",
        ),
        Slip(
            best(lambda worse, n, k: comb(worse, k - 1) / comb(n - 1, k - 1)),
            "divided by the draws that hold the answer",
            r"divide|comb|all draws|n - 1|probab",
        ),
        Slip(best(lambda worse, n, k: comb(worse, k - 1)), "draws not divided", r"divide|probab"),
        Slip(
            best(lambda worse, n, k: comb(worse, k - 1) // comb(n, k)),
            "a whole quotient",
            r"//|whole|round|0 or 1",
            "whatever k",
        ),
        Slip(best(keep=lambda good: not good), "the wrong ones counted", r"wrong|right"),
        Slip(best(end=lambda total: 1 - total), "one minus it", r"wrong|1 -|one minus|right"),
        Slip(best(end=lambda total: 100 * total), "per cent", r"100|per ?cent|probab|%"),
        Slip(best(end=lambda total: round(total, 1)), "rounded", r"round|exact"),
        Slip(best_by_chance, "estimated by 400 draws", r"exact|estimat|random|draw"),
        Slip(best_of_weights, "weighed by scores", None),
    ],
)

# --- force_thought ---


def thought_by_flag(draw, end, instead, times, longest):
    written, left, done = [], times, False
    while not done and len(written) < longest:
        token = draw(list(written))
        if token != end:
            written = written + [token]
        elif left:
            left -= 1
            written = written + list(instead)
        else:
            written, done = written + [end], True
    return written[:longest]


def thought_by_recursion(draw, end, instead, times, longest):
    def rest(written, left):
        if len(written) >= longest:
            return written[:longest]
        token = draw(written)
        if token == end and left > 0:
            return rest([*written, *instead], left - 1)
        return [*written, token] if token == end else rest([*written, token], left)

    return rest([], times)


def thought_in_rounds(draw, end, instead, times, longest):
    written = []
    for i in range(times + 1):
        token = None
        while token != end:
            if len(written) >= longest:
                return written[:longest]
            token = draw(written)
            if token != end:
                written.append(token)
        written.extend([end] if i == times else instead)
    return written[:longest]


def thought(
    replace=lambda written, instead, end: written.extend(instead),
    final=lambda written, end: written.append(end),
    left=lambda times: times,
    limit=lambda written, longest: len(written) < longest,
    cut=lambda written, longest: written[:longest],
    shown=lambda written, own: written,
    stop=True,
):
    """A right answer but for what replaces an end, what ends, the limits, or what is shown."""

    def force_thought(draw, end, instead, times, longest):
        written, own, still = [], [], left(times)
        while limit(written, longest):
            token = draw(shown(written, own))
            own.append(token)
            if token != end:
                written.append(token)
            elif still > 0:
                still -= 1
                replace(written, instead, end)
            else:
                final(written, end)
                if stop:
                    break
        return cut(written, longest)

    return force_thought


def thought_of_one_wait(draw, end, instead, times, longest):
    return thought(left=lambda times: min(times, 1))(draw, end, instead, times, longest)


def thought_that_replaces_afterwards(draw, end, instead, times, longest):
    written = []
    while len(written) < longest and end not in written:
        written.append(draw(written))
    if end in written and times:
        written = [*written[:-1], *(instead * times), end]
    return written[:longest]


def thought_of_tokens_of_its_own(draw, end, instead, times, longest):
    written, own, still = [], 0, times
    while own < longest:
        token = draw(written)
        if token == end and still:
            still -= 1
            written += instead
            continue
        own += 1
        written.append(token)
        if token == end:
            break
    return written


def thought_with_replacement_at_every_token(draw, end, instead, times, longest):
    written = []
    for _ in range(longest):
        token = draw(written)
        if token == end:
            if times:
                written += instead
            else:
                return written + [end]
            times -= 1
        else:
            written.append(token)
    return written


FORCE_THOUGHT = Answers(
    right=[thought_by_flag, thought_by_recursion, thought_in_rounds],
    wrong=[
        Slip(
            thought(replace=lambda w, instead, end: w.extend([end, *instead])),
            "the replaced end is written too",
            r"in place|instead|replac|kept",
        ),
        Slip(
            thought(final=lambda w, end: None),
            "the last end is not written",
            r"\bend\b",
            "in place",
        ),
        Slip(
            thought(left=lambda times: 10**9),
            "every end is replaced",
            r"times|every end|never ends|first",
        ),
        Slip(thought(left=lambda times: 0), "no end is replaced", r"instead|replac|first"),
        Slip(thought(left=lambda times: times + 1), "one end too many", r"times|too many|one more"),
        Slip(thought(left=lambda times: times - 1), "one end too few", r"times|too few|one less"),
        Slip(thought_of_one_wait, "once at most", r"times|once|two|second"),
        Slip(
            thought(shown=lambda written, own: own),
            "the model reads its own tokens alone",
            r"read|see|behind|shown|draw",
        ),
        Slip(
            thought(shown=lambda written, own: written[-1:]),
            "the model reads the last token alone",
            r"read|see|behind|shown|draw|whole",
        ),
        Slip(
            thought(shown=lambda written, own: []),
            "the model reads nothing",
            r"read|see|behind|shown|draw|longest|limit",
        ),
        Slip(
            thought(replace=lambda w, instead, end: w.append(instead)),
            "a list within the list",
            r"list|token|extend|\+=",
        ),
        Slip(
            thought(replace=lambda w, instead, end: w.extend(instead[:1])),
            "one token of what is put in",
            r"instead|all|whole|tokens",
        ),
        Slip(
            thought(replace=lambda w, instead, end: None),
            "the end is dropped, nothing put in",
            r"instead|put in|drop",
        ),
        Slip(
            thought(cut=lambda w, longest: w), "too long by what was put in", r"longest|cut|limit"
        ),
        Slip(
            thought(limit=lambda w, longest: len(w) <= longest, cut=lambda w, longest: w),
            "one token too many",
            r"longest|limit|most|too",
        ),
        Slip(
            thought(limit=lambda w, longest: len(w) < longest - 1),
            "one token too few",
            r"longest|limit|short|missing|few",
        ),
        Slip(thought_of_tokens_of_its_own, "what is put in is not counted", r"longest|limit|count"),
        Slip(
            thought_with_replacement_at_every_token,
            "draws counted in place of tokens",
            r"longest|limit|count|too long|tokens",
        ),
        Slip(thought(stop=False), "the end does not end it", r"\bends?\b|stop|behind"),
        Slip(
            thought_that_replaces_afterwards,
            "put in at the end, and not gone on from",
            r"goes on|go on|behind|draw|continue",
        ),
    ],
)

# --- loss_mask ---


def mask_by_counting(ids, begin, end, answer):
    mask, call, silent = [], None, 0
    for token in ids:
        if silent:
            silent -= 1
            mask.append(False)
            continue
        mask.append(True)
        if token == begin:
            call = []
        elif token == end and call is not None:
            silent, call = len(answer(call)), None
        elif call is not None:
            call.append(token)
    return mask


def mask_by_index(ids, begin, end, answer):
    mask = [True] * len(ids)
    i, start = 0, None
    while i < len(ids):
        if ids[i] == begin:
            start = i
        if ids[i] == end and start is not None:
            length = len(answer(list(ids[start + 1 : i])))
            for j in range(i + 1, min(i + 1 + length, len(ids))):
                mask[j] = False
            i, start = i + length, None
        i += 1
    return mask


def mask_by_recursion(ids, begin, end, answer):
    if end not in ids:
        return [True] * len(ids)
    at = ids.index(end)
    head, tail = ids[:at], ids[at + 1 :]
    silent = 0
    if begin in head:
        last = max(i for i, token in enumerate(head) if token == begin)
        silent = min(len(tail), len(answer(head[last + 1 :])))
    rest = mask_by_recursion(tail[silent:], begin, end, answer)
    return [True] * (at + 1) + [False] * silent + rest


def masked(
    again=lambda call: [],
    keeps=False,
    lone=False,
    nested=False,
    given=lambda call, begin, end: call,
    length=lambda tokens: len(tokens),
    written=True,
    in_call=True,
    tag=True,
    once=False,
):
    """A right answer but for calls begun twice or ended twice, what is handed to the tool, or how
    many tokens are its own."""

    def loss_mask(ids, begin, end, answer):
        mask, call, silent, calls = [], None, 0, 0
        for token in ids:
            if silent:
                silent -= 1
                mask.append(not written)
                if not nested:
                    continue
            else:
                inside = call is not None or token == begin
                kept = written if in_call or not inside else not written
                mask.append(kept if tag or token != end else not written)
            if token == begin:
                call = again(call) if call is not None else []
            elif token == end and (call is not None or lone):
                if not (once and calls):
                    silent = length(answer(given(call or [], begin, end)))
                calls, call = calls + 1, (call if keeps else None)
            elif call is not None:
                call.append(token)
        return mask

    return loss_mask


def mask_past_the_end(ids, begin, end, answer):
    mask, i, call = [], 0, None
    while i < len(ids):
        mask.append(True)
        if ids[i] == begin:
            call = []
        elif ids[i] == end and call is not None:
            told = answer(call)
            mask += [False] * len(told)
            i, call = i + len(told), None
        elif call is not None:
            call.append(ids[i])
        i += 1
    return mask


def mask_by_members(ids, begin, end, answer):
    mask, tool, call = [], set(), None
    for token in ids:
        mask.append(token not in tool)
        if token == begin:
            call = []
        elif token == end and call is not None:
            tool, call = tool | set(answer(call)), None
        elif call is not None:
            call.append(token)
    return mask


def mask_of_open_calls(ids, begin, end, answer):
    mask, calling = [], False
    for token in ids:
        calling = (calling or token == begin) and token != end
        mask.append(not calling)
    return mask


def mask_that_needs_an_end(ids, begin, end, answer):
    if ids.count(begin) != ids.count(end):
        raise ValueError("a call is open")
    return mask_by_counting(ids, begin, end, answer)


LOSS_MASK = Answers(
    right=[mask_by_counting, mask_by_index, mask_by_recursion],
    wrong=[
        Slip(
            masked(written=False),
            "the mask turned round",
            r"turned|opposite|True|invert|other way|model wrote",
        ),
        Slip(lambda ids, begin, end, answer: [True] * len(ids), "nothing masked", r"tool|answer"),
        Slip(masked(in_call=False), "calls masked too", r"call"),
        Slip(mask_of_open_calls, "the calls masked, not the answers", r"call"),
        Slip(masked(tag=False), "the end of a call masked", r"end|behind|model"),
        Slip(
            masked(length=lambda tokens: len(tokens) + 1),
            "one token too many",
            r"too many|one|as many|length|behind",
        ),
        Slip(
            masked(length=lambda tokens: len(tokens) - 1),
            "one token too few",
            r"too few|one|as many|last|length|all",
        ),
        Slip(
            masked(length=lambda tokens: 1), "one token for each answer", r"one token|as many|all"
        ),
        Slip(
            masked(length=lambda tokens: 10**6),
            "all behind the first call masked",
            r"behind|goes on|again|as many|rest|as long",
        ),
        Slip(masked(once=True), "the first call alone", r"second|each|every|first|several"),
        Slip(masked(lone=True), "an end without begin calls", r"without|nobody|no call|lone"),
        Slip(masked(keeps=True), "a call stays open behind its end", r"without|nobody|clos|again"),
        Slip(
            masked(again=lambda call: call), "a second begin is ignored", r"second|anew|again|begin"
        ),
        Slip(
            masked(nested=True),
            "the tool's own calls count",
            r"tool (writes|wrote)|never a call|tool's",
        ),
        Slip(
            masked(given=lambda call, begin, end: [begin, *call, end]),
            "the tags are handed to the tool",
            r"between|tag|begin|handed|tokens of (a|the) call",
            "two tokens long",
        ),
        Slip(mask_past_the_end, "longer than the text", r"break|long|length|off|cut"),
        Slip(
            mask_by_members,
            "the tool's tokens wherever they stand",
            r"wherever|directly|stand|model",
        ),
        Slip(mask_that_needs_an_end, "an error where a call is open", r"ValueError|break|open"),
        Slip(
            lambda ids, begin, end, answer: [
                i for i, kept in enumerate(mask_by_counting(ids, begin, end, answer)) if kept
            ],
            "the places in place of a mask",
            r"True|mask|each token|length|bool|entr",
        ),
    ],
)

ANSWERS = {
    "soft_target_loss": SOFT_TARGET_LOSS,
    "token_rewards": TOKEN_REWARDS,
    "vote": VOTE,
    "best_of_k": BEST_OF_K,
    "force_thought": FORCE_THOUGHT,
    "loss_mask": LOSS_MASK,
}
