"""The checkers of lesson 32 accept right answers and name typical slips."""

import torch

from course_lib.alignment.grpo import GRPOSettings, group_advantages, grpo_loss
from course_lib.alignment.off_policy import sequence_mask
from course_lib.alignment.policy_loss import k3_kl_divergence, weight_by_policy_ratio
from course_lib.inference.rollout import Completions
from course_lib.lab.checks import rl_after_r1 as check
from course_lib.lab.solutions import rl_after_r1 as solutions
from course_lib.layers import moe
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def skeleton_5(a, b, c, d, e): ...


def skeleton_7(a, b, c, d, e, f, g): ...


# Exercise 1


def estimate(new, old, ref, weight=lambda n, o: (n - o).exp(), value=lambda d: d.exp() - d - 1):
    return weight(new, old) * value(ref - new)


def by_library(new, old, ref):
    return weight_by_policy_ratio(k3_kl_divergence(new[None], ref[None]), new[None], old[None])[0]


def by_quotients(new, old, ref):
    p, q, r = new.exp(), old.exp(), ref.exp()
    return (r - p - p * (ref - new)) / q


# Exercise 2


def verdicts(new, old, a, mask, delta, bad=lambda a: a < 0, far=None):
    gaps = torch.where(mask, old - new, 0.0)
    mean = far(gaps, mask) if far else gaps.sum(1) / mask.sum(1)
    return ~(bad(a) & (mean > delta))


def verdicts_of_library(new, old, a, mask, delta):
    return sequence_mask(new, old, a, mask, delta)[:, 0]


# Exercise 3


def under(logits, kept, tokens, whole=lambda p, kept: (p * kept).sum(1)):
    p = logits.softmax(1)
    return (p.gather(1, tokens[:, None])[:, 0] / whole(p, kept)).log()


def under_by_distribution(logits, kept, tokens):
    left = torch.where(kept, logits, torch.finfo(logits.dtype).min)
    left = torch.where(kept, left, float("-inf"))
    return -torch.nn.functional.cross_entropy(left, tokens, reduction="none")


# Exercise 4


def flips(a, b, of=lambda own, other: len(own - other), by=lambda a: a.numel()):
    rows = zip(a.tolist(), b.tolist(), strict=True)
    return sum(of(set(own), set(other)) for own, other in rows) / by(a)


# Exercise 5


def gates(logits, theirs, k, scale, choose=None, score=torch.sigmoid, by=lambda s, c: s * c):
    chosen = torch.zeros_like(logits).scatter(1, (choose or (lambda o, t: t))(logits, theirs)
                                              .topk(k).indices, 1.0)  # fmt: skip
    picked = score(logits) * chosen
    return scale * picked / by(score(logits), chosen).sum(1, keepdim=True)


def gates_by_library(logits, theirs, k, scale):
    own = moe.route_sigmoid(logits, torch.zeros(logits.shape[1]), k)
    found = moe.replay_choices(own, theirs.topk(k).indices, scale)
    return torch.zeros_like(logits).scatter(1, found.chosen, found.weights)


# Exercise 6


def loss(
    rewards, ratios, kl, mask, kept, clip, beta, scale=lambda a: 1.0,
    join=lambda gain, kept, price: gain * kept - price,
    average=lambda v, mask: ((v * mask).sum(1) / mask.sum(1)).mean(), cut=torch.minimum,
):  # fmt: skip
    a = (rewards - rewards.mean())[:, None] / scale(rewards)
    gain = cut(ratios * a, ratios.clamp(1 - clip, 1 + clip) * a)
    return -average(join(gain, kept[:, None], beta * kl), mask)


def loss_of_library(rewards, ratios, kl, mask, kept, clip, beta):
    """The library's, whose threshold is turned into `kept` by one group for each verdict."""
    s = GRPOSettings(
        1, group_size=len(rewards), average="sequence", clip_low=clip, clip_high=clip, beta=0.0
    )
    a = group_advantages(rewards, len(rewards)) * kept
    ids = torch.zeros(mask.shape[0], mask.shape[1] + 1, dtype=torch.long)
    part = Completions(ids, ids > 0, mask, torch.zeros_like(ratios), mask[:, 0])
    price = ((kl * mask).sum(1) / mask.sum(1)).mean()
    return grpo_loss(ratios.log(), None, part, a, s)[0] + beta * price


CASES = {
    check.weighted_k3: Case(
        solution=solutions.weighted_k3_solution,
        skeleton=skeleton_3,
        also_right=[by_library, by_quotients],
        wrong=[
            (
                lambda n, o, r: estimate(n, o, r, lambda n, o: (n - o).exp().detach()),
                "ratio is detached",
            ),
            (
                lambda n, o, r: estimate(n, o, r, value=lambda d: (d.exp() - d - 1).detach()),
                "k3 is detached",
            ),
            (
                lambda n, o, r: estimate(n, o, r, value=lambda d: (-d).exp() + d - 1),
                "wrong direction",
            ),
            (lambda n, o, r: estimate(n, o, r, lambda n, o: 1.0), "k3 alone"),
            (lambda n, o, r: estimate(n, o, r, lambda n, o: (o - n).exp()), "upside down"),
            (lambda n, o, r: estimate(n, o, r, value=lambda d: -d), "estimate is k1"),
            (lambda n, o, r: estimate(n, o, r, value=lambda d: d * d / 2), "estimate is k2"),
            (lambda n, o, r: estimate(n, o, r, value=lambda d: d.exp() - d), "-1 of k3"),
            (lambda n, o, r: estimate(n, o, r, value=lambda d: d.exp() + d - 1), "sign of the log"),
            (lambda n, o, r: estimate(n, o, r, lambda n, o: n - o), "log of the ratio"),
            (lambda n, o, r: estimate(n, r, r), "policy / reference. The weight"),
            (lambda n, o, r: estimate(n, o, o), "from the sampler"),
            (lambda n, o, r: estimate(n, o, r).mean(), "no mean, no sum"),
            (lambda n, o, r: estimate(n, o, r).detach(), "no gradient"),
        ],
    ),
    check.kept_answers: Case(
        solution=solutions.kept_answers_solution,
        skeleton=skeleton_5,
        also_right=[verdicts, verdicts_of_library],
        wrong=[
            (lambda *c: verdicts(*c, bad=lambda a: a > -9), "good answers are masked as well"),
            (lambda *c: verdicts(*c, bad=lambda a: a > 0), "you mask the good answers"),
            (lambda *c: verdicts(*c, bad=lambda a: a <= 0), "exactly 0"),
            (lambda n, o, *c: verdicts(o, n, *c), "wrong sign"),
            (lambda *c: verdicts(*c, far=lambda g, m: g.sum(1)), "the sum over the tokens"),
            (
                lambda n, o, a, m, d: verdicts(n, o, a, torch.ones_like(m), d),
                "padding counts in the mean",
            ),
            (lambda *c: verdicts(*c, far=lambda g, m: g.mean(1)), "width of the table"),
            (lambda n, o, a, m, d: verdicts(n, o, a, m, d - 1e-7), "exactly the threshold"),
            (lambda *c: verdicts(*c, far=lambda g, m: g.abs().sum(1) / m.sum(1)), "mean of sizes"),
            (
                lambda *c: verdicts(*c, far=lambda g, m: g.masked_fill(~m, -torch.inf).amax(1)),
                "one token decides",
            ),
            (
                lambda *c: verdicts(*c, far=lambda g, m: (g.sum(1) / m.sum(1)).exp()),
                "not for its exponential",
            ),
            (lambda *c: ~verdicts(*c), "exchanged"),
            (lambda *c: torch.ones_like(verdicts(*c)), "nothing is ever masked"),
            (lambda *c: verdicts(*c)[:, None] & c[3], "one verdict per row"),
        ],
    ),
    check.kept_log_probs: Case(
        solution=solutions.kept_log_probs_solution,
        skeleton=skeleton_3,
        also_right=[under, under_by_distribution],
        wrong=[
            (lambda *c: under(*c, whole=lambda p, k: p.sum(1)), "among *all* tokens"),
            (lambda x, k, t: under(x * k, torch.ones_like(k), t), "does not rule a token out"),
            (lambda *c: under(*c).exp(), "these are probabilities"),
            (lambda *c: -under(*c), "surprises"),
            (lambda x, k, t: x.gather(1, t[:, None])[:, 0], "nothing is divided"),
            (lambda *c: under(*c, whole=lambda p, k: p.amax(1)), "best token"),
            (lambda *c: under(*c) + c[1].float().mean(1).log(), "share of the vocabulary"),
            (
                lambda *c: under(
                    *c,
                    whole=lambda p, k: torch.where(
                        k.all(1), 1 / c[0].exp().sum(1), (p * ~k).sum(1)
                    ),
                ),
                "turned round",
            ),
            (
                lambda x, k, t: x.masked_fill(k, -torch.inf).log_softmax(1).gather(1, t[:, None]),
                "turned round",
            ),
            (lambda x, k, t: x.masked_fill(~k, -torch.inf).log_softmax(1), "gather it"),
            (
                lambda x, k, t: (
                    (x.softmax(1) * k / (x.softmax(1) * k).sum(1, keepdim=True))
                    .log()
                    .gather(1, t[:, None])[:, 0]
                ),
                "before the softmax",
            ),
            (lambda *c: under(*c).detach(), "no gradient"),
        ],
    ),
    check.flipped_share: Case(
        solution=solutions.flipped_share_solution,
        skeleton=skeleton_2,
        also_right=[flips, lambda a, b: moe.changed_choices(a, b).mean()],
        wrong=[
            (lambda a, b: (a != b).float().mean(), "place by place. Experts 0 and 3"),
            (lambda a, b: flips(a, b, lambda x, y: x != y, len), "share of *tokens*"),
            (lambda a, b: 1 - flips(a, b), "stayed the same"),
            (lambda a, b: flips(a, b, by=lambda a: 1), "number of flips"),
            (lambda a, b: flips(a, b, by=len), "number of tokens"),
            (lambda a, b: flips(a, b, lambda x, y: len(x ^ y)), "counted twice"),
            (lambda a, b: (a.sort(1).values != b.sort(1).values).float().mean(), "sorted rows"),
            (lambda a, b: 1 - torch.isin(a, b).float().mean(), "of all tokens"),
            (lambda a, b: (a[:, :, None] != b[:, None]).float().mean(), "every pair"),
            (lambda a, b: moe.changed_choices(a, b), "several numbers"),
        ],
    ),
    check.replayed_gates: Case(
        solution=solutions.replayed_gates_solution,
        skeleton=skeleton_4,
        also_right=[gates, gates_by_library],
        wrong=[
            (lambda *c: gates(*c, choose=lambda o, t: o), "chosen anew"),
            (lambda o, t, k, s: gates(t, t, k, s), "the sampler's too"),
            (lambda o, t, k, s: gates(t, o, k, s), "exchanged"),
            (lambda *c: gates(*c, by=lambda s, c: torch.ones(len(s), 1)), "not divided"),
            (lambda *c: gates(*c, by=lambda s, c: s), "over all experts"),
            (lambda o, t, k, s: gates(o, t, k, 1.0), "`scale` is not used"),
            (lambda *c: gates(*c, score=torch.exp), "softmax's"),
            (lambda *c: gates(*c, score=lambda x: x), "the logits themselves"),
            (lambda *c: gates(*c, score=torch.ones_like), "count the same"),
            (lambda *c: gates(*c).detach(), "no gradient"),
            (lambda *c: (c[1].topk(c[2]).indices, gates(*c)), "a tuple came"),
        ],
    ),
    check.v32_loss: Case(
        solution=solutions.v32_loss_solution,
        skeleton=skeleton_7,
        also_right=[loss, loss_of_library],
        wrong=[
            (lambda *c: loss(*c, scale=lambda r: r.std()), "standard deviation"),
            (lambda *c: loss(*c, scale=lambda r: r.std() + 1e-4), "standard deviation"),
            (lambda *c: loss(*c, join=lambda g, k, p: (g - p) * k), "multiplies the KL divergence"),
            (lambda *c: loss(*c, join=lambda g, k, p: g - p), "`kept` is not used"),
            (lambda *c: loss(*c, join=lambda g, k, p: g * ~k - p), "turned round"),
            (lambda *c: loss(*c, join=lambda g, k, p: g * k + p), "is paid for"),
            (lambda *c: loss(*c, join=lambda g, k, p: g * k), "divergence is missing"),
            (lambda *c: loss(*c, average=lambda v, m: (v * m).sum(1).mean()), "is missing: their"),
            (lambda *c: loss(*c, average=lambda v, m: (v * m).sum() / m.sum()), "over all tokens"),
            (lambda *c: loss(*c, average=lambda v, m: (v * m).mean()), "width of the table"),
            (lambda *c: loss(*c, cut=torch.maximum), "larger of both"),
            (lambda *c: loss(*c[:6], 1.0), "`beta` is not used"),
            (lambda *c: -loss(*c), "the sign is turned"),
            (
                lambda *c: loss(*c, average=lambda v, m: ((v * m).sum(1) / m.sum(1))[c[4]].mean()),
                "left out of the mean",
            ),
            (lambda *c: len(c[0]) * loss(*c), "are added up"),
            (lambda *c: loss(*c) * len(c[4]) / c[4].sum(), "number of kept answers"),
            (lambda *c: loss(*c[:3], torch.ones_like(c[3]), *c[4:]), "padding counts"),
            (lambda *c: loss(*c).detach(), "no gradient"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
