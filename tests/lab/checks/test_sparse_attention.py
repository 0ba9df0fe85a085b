"""The checkers of lesson 29 accept right answers and name typical slips."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import sparse_attention as check
from course_lib.lab.solutions import sparse_attention as solutions
from course_lib.layers.norm import LayerNorm
from course_lib.layers.position import rotate_halves, rotate_interleaved
from course_lib.layers.sparse_attention import select_top_k
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def skeleton_7(a, b, c, d, e, f, g): ...


# Scores
# --------------------------------------------------------------------------------------------------


def score(q, keys, weights, relu=True, scale=lambda H, D: (H * D) ** 0.5):
    matches = q @ keys.T
    matches = matches.clamp(min=0) if relu else matches
    return (weights[..., None] * matches).sum(1) / scale(*q.shape[1:])


def by_head(q, keys, weights):
    total = 0
    for h in range(q.shape[1]):
        total = total + F.relu(q[:, h] @ keys.T) * weights[:, h, None]
    return total * (q.shape[1] * q.shape[2]) ** -0.5


def relu_last(q, keys, weights):
    return score(q, keys, weights, relu=False).relu()


def relu_of_weighted(q, keys, weights):
    weighted = (weights[..., None] * (q @ keys.T)).relu().sum(1)
    return weighted / (q.shape[1] * q.shape[2]) ** 0.5


# Keys
# --------------------------------------------------------------------------------------------------


def key(made, gain, bias, angles, rotate=rotate_halves, eps=1e-6, last=False):
    normed = F.layer_norm(made, made.shape[-1:], gain, bias, eps)
    width = 2 * angles.shape[-1]
    if last:
        return torch.cat([normed[:, :-width], rotate(normed[:, -width:], angles)], 1)
    return torch.cat([rotate(normed[:, :width], angles), normed[:, width:]], 1)


def by_module(made, gain, bias, angles):
    norm = LayerNorm(len(gain), eps=1e-6)
    norm.weight.data, norm.bias.data = gain, bias
    x, pairs = norm(made), angles.shape[-1]
    a, b = x[:, :pairs], x[:, pairs : 2 * pairs]
    turned = torch.complex(a, b) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag, x[:, 2 * pairs :]], 1)


def by_rms(made, gain, bias, angles):
    normed = made / (made.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain + bias
    width = 2 * angles.shape[-1]
    return torch.cat([rotate_halves(normed[:, :width], angles), normed[:, width:]], 1)


def far_apart(made, gain, bias, angles):
    normed = F.layer_norm(made, made.shape[-1:], gain, bias, 1e-6)
    pairs, half = angles.shape[-1], made.shape[-1] // 2
    a, b = normed[:, :pairs].clone(), normed[:, half : half + pairs].clone()
    normed[:, :pairs] = a * angles.cos() - b * angles.sin()
    normed[:, half : half + pairs] = a * angles.sin() + b * angles.cos()
    return normed


def gained_last(made, gain, bias, angles):
    return key(made, None, None, angles) * gain + bias


def rest_as_made(made, gain, bias, angles):
    width = 2 * angles.shape[-1]
    return torch.cat([key(made, gain, bias, angles)[:, :width], made[:, width:]], 1)


def rotated_before(made, gain, bias, angles):
    width = 2 * angles.shape[-1]
    made = torch.cat([rotate_halves(made[:, :width], angles), made[:, width:]], 1)
    return F.layer_norm(made, made.shape[-1:], gain, bias, 1e-6)


# Choice
# --------------------------------------------------------------------------------------------------


def hidden(scores, diagonal=0):
    T, S = scores.shape
    return scores.masked_fill(~torch.ones(T, S).tril(S - T + diagonal).bool(), -torch.inf)


def by_library(scores, k):
    return select_top_k(hidden(scores), k) & hidden(scores).isfinite()


def by_reaching(scores, k, off=True):
    least = hidden(scores).topk(min(k, scores.shape[1])).values[:, -1:]
    return (hidden(scores) >= least) & (hidden(scores).isfinite() | (not off))


def above_alone(scores, k):
    return hidden(scores) > hidden(scores).topk(min(k, scores.shape[1])).values[:, -1:]


def sorted_upwards(scores, k):
    first = hidden(scores).argsort(dim=-1, stable=True)[:, :k]
    return torch.zeros(scores.shape).scatter(1, first, 1).bool() & hidden(scores).isfinite()


def hidden_after(scores, k):
    return select_top_k(scores, k) & hidden(scores).isfinite()


def by_topk(scores, k, off=True):
    best = hidden(scores).topk(min(k, scores.shape[1])).indices
    table = torch.zeros(scores.shape).scatter(1, best, 1).bool()
    return table & hidden(scores).isfinite() if off else table


def hidden_by_zero(scores, k):
    visible = hidden(scores).isfinite()
    return select_top_k(scores * visible, k) & visible


def latest(scores, k):
    return by_rows(scores, k, lambda row: lambda s: (-row[s], -s))


def by_rows(scores, k, ranked=lambda row: lambda s: (-row[s], s)):
    T, S = scores.shape
    table = torch.zeros(T, S).bool()
    for t in range(T):
        places = sorted(range(S - T + t + 1), key=ranked(scores[t].tolist()))
        table[t, places[:k]] = True
    return table


# Loss
# --------------------------------------------------------------------------------------------------


def kl(weights, scores, selected, detach=True, among=True, reduce=lambda rows: rows.mean()):
    target = weights.detach() if detach else weights
    target = target.mean(0)
    log_index = scores.masked_fill(~selected, -torch.inf) if among else scores
    log_index = log_index.log_softmax(-1).masked_fill(~selected, 0.0)
    return reduce((torch.xlogy(target, target) - target * log_index).sum(-1))


def by_torch(weights, scores, selected):
    target = F.normalize(weights.detach().sum(0), p=1, dim=-1)
    log_index = scores.masked_fill(~selected, -1e30).log_softmax(-1)
    return F.kl_div(log_index, target, reduction="batchmean")


def indexed(scores, selected):
    return scores.masked_fill(~selected, -torch.inf).softmax(-1)


def by_torch_kl(first, second):
    return F.kl_div(first, second, reduction="none").sum(-1).mean()


def turned(weights, scores, selected):
    target = weights.detach().mean(0)
    shares = scores.masked_fill(~selected, -torch.inf).softmax(-1)
    terms = shares.clamp_min(1e-30).log() - target.clamp_min(1e-30).log()
    return (shares * terms).masked_fill(~selected, 0.0).sum(-1).mean()


def head_by_head(weights, scores, selected):
    return torch.stack([kl(head[None], scores, selected) for head in weights]).mean()


def costs(S, k, H, R, P, Hi, Di, each=lambda H, R, P: H * (2 * R + P)):
    return S * each(H, R, P), S * Hi * Di + min(S, k) * each(H, R, P)


CASES = {
    check.indexer_scores: Case(
        solution=solutions.indexer_scores_solution,
        skeleton=skeleton_3,
        also_right=[score, by_head],
        wrong=[
            (lambda *x: score(*x, relu=False), "ReLU is missing"),
            (relu_last, "ReLU comes too late"),
            (relu_of_weighted, "after the weight"),
            (lambda q, k, w: score(q, k, torch.ones_like(w)), "the weights are missing"),
            (lambda *x: score(*x, scale=lambda H, D: 1), "the scale is missing"),
            (lambda *x: score(*x, scale=lambda H, D: D**0.5), "only the width"),
            (lambda *x: score(*x).T, "on its side"),
            (lambda q, k, w: score(q, k, w) / q.shape[1], "mean over the heads"),
        ],
    ),
    check.index_keys: Case(
        solution=solutions.index_keys_solution,
        skeleton=skeleton_4,
        also_right=[key, by_module],
        wrong=[
            (by_rms, "that is RMSNorm"),
            (lambda m, g, b, a: key(m, g, None, a), "bias is missing"),
            (lambda *x: key(*x, last=True), "the last numbers are rotated"),
            (lambda *x: key(*x, rotate=rotate_interleaved), "neighbours are rotated"),
            (rotated_before, "before the norm"),
            (lambda m, g, b, a: F.layer_norm(m, m.shape[-1:], g, b, 1e-6), "nothing is rotated"),
            (lambda *x: key(*x, eps=1e-5), "eps is 1e-6"),
            (far_apart, "half of the whole key"),
            (gained_last, "gain and bias come after"),
            (lambda m, g, b, a: by_rms(m, g, 0.0, a), "RMSNorm, without a bias"),
            (lambda m, g, b, a: key(m, None, None, a), "gain and bias are missing"),
            (rest_as_made, "was not normed either"),
        ],
    ),
    check.choose_few: Case(
        solution=solutions.choose_few_solution,
        skeleton=skeleton_2,
        also_right=[by_library, by_rows],
        wrong=[
            (by_reaching, "too many are chosen"),
            (latest, "you take the latest"),
            (hidden_after, "hidden only after the choice"),
            (select_top_k, "later tokens are chosen"),
            (lambda s, k: select_top_k(hidden(s, -1), k) & hidden(s, -1).isfinite(), "itself too"),
            (lambda s, k: by_library(-s, k), "smallest scores"),
            (by_topk, "`topk` takes any"),
            (lambda s, k: select_top_k(hidden(s), k), "hidden ones are marked"),
            (hidden_by_zero, "hidden by 0"),
            (lambda s, k: by_topk(s, k, off=False), "hidden ones are marked to fill up: take"),
            (lambda s, k: by_reaching(s, k, off=False), "-inf reaches -inf"),
            (above_alone, "too few are chosen"),
            (sorted_upwards, "`descending=True`"),
            (lambda s, k: by_rows(s, k + 1), "one too many"),
            (lambda s, k: by_rows(s, k - 1), "one too few"),
            (lambda s, k: by_rows(s, k).int(), "holds torch.int32"),
        ],
    ),
    check.mass_recall: Case(
        solution=solutions.mass_recall_solution,
        skeleton=skeleton_2,
        also_right=[
            lambda w, s: torch.einsum("hts,ts->t", w, s.float()) / len(w),
            lambda w, s: w.masked_fill(~s, 0.0).sum(-1).mean(0),
        ],
        wrong=[
            (lambda w, s: (w.sum(0) * s).sum(-1), "up to the number of heads"),
            (lambda w, s: (w * s).sum(-1), "over the heads as well"),
            (lambda w, s: (w * s).sum(-1).mean(), "not their mean"),
            (lambda w, s: s.float().sum(-1) / (w[0] > 0).sum(-1), "you count tokens"),
            (lambda w, s: w.mean(0).sum(-1), "1 for every choice"),
            (lambda w, s: (w.mean(0) * s).sum(-1) / s.sum(-1), "by how many are selected"),
            (lambda w, s: 1 - (w.mean(0) * s).sum(-1), "what is missed"),
        ],
    ),
    check.indexer_kl: Case(
        solution=solutions.indexer_kl_solution,
        skeleton=skeleton_3,
        also_right=[kl, by_torch],
        wrong=[
            (turned, "the other way round"),
            (lambda *x: kl(*x, reduce=lambda rows: rows.sum()), "rows are added up"),
            (lambda *x: kl(*x, among=False), "over all keys"),
            (lambda *x: kl(*x, detach=False), "Detach the target"),
            (lambda *x: kl(*x).detach(), "no gradient"),
            (head_by_head, "one by one"),
            (lambda w, s, on: kl(w, s * on, on, among=False), "e to the 0"),
            (lambda w, s, on: kl(w, s, on, reduce=lambda r: r.sum() / on.sum()), "all that is sel"),
            (lambda w, s, on: kl(len(w) * w, s, on), "not divided"),
            (lambda w, s, on: by_torch_kl(indexed(s, on), w.detach().mean(0)), "logarithms first"),
            (lambda w, s, on: by_torch_kl(w.detach().mean(0), indexed(s, on)), "shares second"),
        ],
    ),
    check.decode_costs: Case(
        solution=solutions.decode_costs_solution,
        skeleton=skeleton_7,
        also_right=[costs, lambda *x: torch.tensor(costs(*x)).tolist()],
        wrong=[
            (lambda *x: (costs(*x)[0], costs(*x)[1] - x[0] * x[5] * x[6]), "indexer's own work"),
            (lambda *x: costs(*x, each=lambda H, R, P: H * (R + P)), "averages the latents"),
            (lambda *x: costs(*x, each=lambda H, R, P: 2 * R + P), "the heads are missing"),
            (lambda *x: costs(*x, each=lambda H, R, P: 2 * H * (R + P)), "over latents alone"),
            (lambda *x: costs(*x)[::-1], "changed places"),
            (lambda S, *x: costs(S + 1, *x), "counted besides"),
            (
                lambda *x: (costs(*x)[0], costs(*x)[1] - (x[0] - 1) * x[5] * x[6]),
                "counted for one token",
            ),
            (lambda *x: (costs(*x)[0] + x[0] * x[5] * x[6], costs(*x)[1]), "needs no indexer"),
            (
                lambda S, k, *x: costs(S, k, *x) if S > k else (costs(S, k, *x)[0],) * 2,
                "the indexer is left out",
            ),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
