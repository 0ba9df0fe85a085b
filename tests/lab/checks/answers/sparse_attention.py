"""Answers to the exercises of lesson 29, written from their statements alone."""

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.layers.position import rotate_halves, rotate_interleaved
from tests.lab.checks.answers.table import Answers, Slip

# --- indexer_scores ---


def scores_by_loops(q, keys, weights):
    rows = []
    for queries, row in zip(q, weights, strict=True):
        total = torch.zeros(len(keys))
        for query, weight in zip(queries, row, strict=True):
            total += weight * torch.clamp(keys @ query, min=0)
        rows.append(total / np.sqrt(queries.numel()))
    return torch.stack(rows)


def scores_in_numpy(q, keys, weights):
    q, keys, weights = (x.double().numpy() for x in (q, keys, weights))
    matches = np.maximum(q @ keys.T, 0)
    return (weights[:, :, None] * matches).sum(1) / (q.shape[1] * q.shape[2]) ** 0.5


def scores(q, keys, weights, relu=F.relu, heads=True, width=True, weigh=lambda w: w):
    matches = torch.einsum("thd,sd->ths", q, keys)
    scale = (q.shape[1] if heads else 1) * (q.shape[2] if width else 1)
    return (relu(matches) * weigh(weights)[:, :, None]).sum(1) * scale**-0.5


INDEXER_SCORES = Answers(
    right=[
        scores_by_loops,
        scores_in_numpy,
        lambda q, k, w: ((w / (q.shape[1] * q.shape[2]) ** 0.5)[:, None] @ F.relu(q @ k.T))[:, 0],
    ],
    wrong=[
        Slip(
            lambda *x: scores(*x, relu=lambda z: z),
            "without ReLU",
            "ReLU is missing|ReLU",
            "scale|weights are",
        ),
        Slip(
            lambda *x: scores(*x, relu=lambda z: z).relu(),
            "ReLU of the sum",
            "too late|before",
            "scale is|after the weight",
        ),
        Slip(
            lambda q, k, w: (
                ((q @ k.T) * w[:, :, None]).relu().sum(1) / (q.shape[1] * q.shape[2]) ** 0.5
            ),
            "ReLU after the weight",
            "after the weight",
            "scale is|too late",
        ),
        Slip(
            lambda *x: scores(*x, heads=False, width=False), "no scale", "scale is missing", "ReLU"
        ),
        Slip(
            lambda *x: scores(*x, heads=False), "the width's root alone", "only the width", "ReLU"
        ),
        Slip(lambda *x: scores(*x, width=False), "the heads' root alone", "only the heads", "ReLU"),
        Slip(
            lambda *x: scores(*x, weigh=torch.ones_like),
            "all heads alike",
            "weights are missing",
            "ReLU",
        ),
        Slip(
            lambda *x: scores(*x, weigh=lambda w: w.softmax(-1)),
            "softmax of the weights",
            "softmax is on the weights",
            "ReLU is",
        ),
        Slip(lambda *x: scores(*x).softmax(-1), "shares", "after softmax|scores", "ReLU"),
        Slip(lambda *x: scores(*x).T, "on its side", "side|rows", "ReLU"),
        Slip(
            lambda *x: scores(*x, relu=lambda z: F.relu(z) ** 2),
            "ReLU squared",
            None,
            "scale is missing",
        ),
    ],
)

# --- index_keys ---


def keys_by_hand(made, gain, bias, angles):
    centred = made - made.mean(-1, keepdim=True)
    normed = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * gain + bias
    pairs = angles.shape[1]
    a, b, rest = normed[:, :pairs], normed[:, pairs : 2 * pairs], normed[:, 2 * pairs :]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], dim=1)


def keys_in_numpy(made, gain, bias, angles):
    made, gain, bias, angles = (x.double().numpy() for x in (made, gain, bias, angles))
    normed = (made - made.mean(1, keepdims=True)) / np.sqrt(made.var(1, keepdims=True) + 1e-6)
    normed, pairs = normed * gain + bias, angles.shape[1]
    turned = (normed[:, :pairs] + 1j * normed[:, pairs : 2 * pairs]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag, normed[:, 2 * pairs :]], 1)


def keys_by_rows(made, gain, bias, angles):
    rows = []
    for x, angle in zip(made, angles, strict=True):
        x = F.layer_norm(x, gain.shape, gain, bias, 1e-6).clone()
        width = 2 * len(angle)
        x[:width] = rotate_halves(x[None, :width], angle[None])[0]
        rows.append(x)
    return torch.stack(rows)


def index_key(made, gain, bias, angles, norm=None, rotate=rotate_halves, last=False):
    x = norm(made) if norm else F.layer_norm(made, gain.shape, gain, bias, 1e-6)
    width = 2 * angles.shape[1]
    if last:
        return torch.cat([x[:, :-width], rotate(x[:, -width:], angles)], 1)
    return torch.cat([rotate(x[:, :width], angles), x[:, width:]], 1)


INDEX_KEYS = Answers(
    right=[keys_by_hand, keys_in_numpy, keys_by_rows],
    wrong=[
        Slip(
            lambda m, g, b, a: index_key(
                m, g, b, a, norm=lambda x: F.rms_norm(x, g.shape, g, 1e-6) + b
            ),
            "RMSNorm",
            "RMSNorm",
            "rotated",
        ),
        Slip(
            lambda m, g, b, a: index_key(
                m, g, b, a, norm=lambda x: F.layer_norm(x, g.shape, g, None, 1e-6)
            ),
            "no bias",
            "bias is missing",
            "rotated",
        ),
        Slip(
            lambda m, g, b, a: index_key(
                m, g, b, a, norm=lambda x: F.layer_norm(x, g.shape, None, b, 1e-6)
            ),
            "no gain",
            "gain is missing",
            "rotated",
        ),
        Slip(
            lambda m, g, b, a: index_key(m, g, b, a, norm=lambda x: F.layer_norm(x, g.shape, g, b)),
            "torch's own eps",
            "eps",
            "rotated",
        ),
        Slip(lambda *x: index_key(*x, last=True), "the last are rotated", "last numbers", "norm"),
        Slip(
            lambda *x: index_key(*x, rotate=rotate_interleaved),
            "neighbours are pairs",
            "neighbours|half",
            "norm",
        ),
        Slip(
            lambda *x: index_key(*x, rotate=lambda v, angles: rotate_halves(v, -angles)),
            "backwards",
            "backwards|sign",
            "norm",
        ),
        Slip(
            lambda *x: index_key(*x, rotate=lambda v, angles: v),
            "no rotation",
            "nothing is rotated",
            "norm",
        ),
        Slip(
            lambda m, g, b, a: index_key(m, g, b, a, norm=lambda x: x),
            "no norm",
            "nothing is normed|LayerNorm",
            "RMSNorm",
        ),
        Slip(
            lambda m, g, b, a: index_key(m, g, b, a)[:, : 2 * a.shape[1]],
            "only what is rotated",
            "not rotated are gone",
            "RMSNorm",
        ),
    ],
)

# --- choose_few ---


def few_by_sorting(scores, k):
    T, S = scores.shape
    table = [[False] * S for _ in range(T)]
    for t, row in enumerate(scores.tolist()):
        seen = list(enumerate(row))[: S - T + t + 1]
        for place, _ in sorted(seen, key=lambda each: -each[1])[:k]:
            table[t][place] = True
    return torch.tensor(table)


def few_by_ranks(scores, k):
    T, S = scores.shape
    visible = torch.arange(S) <= torch.arange(S - T, S)[:, None]
    mine, other = scores[:, :, None], scores[:, None, :]
    earlier = torch.arange(S)[None, :] < torch.arange(S)[:, None]
    better = (other > mine) | ((other == mine) & earlier)
    return ((better & visible[:, None, :]).sum(-1) < k) & visible


def few_one_by_one(scores, k):
    T, S = scores.shape
    left = scores.clone().masked_fill(torch.ones(T, S).triu(S - T + 1).bool(), -np.inf)
    table = torch.zeros(T, S, dtype=torch.bool)
    for t in range(T):
        for _ in range(min(k, S - T + t + 1)):
            best = int((left[t] == left[t].max()).nonzero()[0])
            table[t, best], left[t, best] = True, -np.inf
    return table


def seen_by(scores):
    T, S = scores.shape
    return torch.ones(T, S).tril(S - T).bool()


def few(
    scores, k, visible=None, stable=lambda x: x.sort(dim=-1, descending=True, stable=True).indices
):
    visible = seen_by(scores) if visible is None else visible
    best = stable(scores.masked_fill(~visible, -torch.inf))[:, :k]
    return torch.zeros(scores.shape).bool().scatter(1, best, True) & visible


def latest_first(x):
    return x.shape[1] - 1 - x.flip(-1).sort(dim=-1, descending=True, stable=True).indices


CHOOSE_FEW = Answers(
    right=[few_by_sorting, few_by_ranks, few_one_by_one],
    wrong=[
        Slip(
            lambda s, k: (
                (
                    s.masked_fill(~seen_by(s), -1e9)
                    >= s.masked_fill(~seen_by(s), -1e9).topk(min(k, s.shape[1])).values[:, -1:]
                )
                & seen_by(s)
            ),
            "all that reach the k-th",
            "too many",
            "latest|window",
        ),
        Slip(
            lambda s, k: few(s, k, stable=latest_first), "the latest of ties", "latest", "too many"
        ),
        Slip(
            lambda s, k: few(s, k, torch.ones(s.shape).bool()) & seen_by(s),
            "hidden afterwards",
            "after the choice",
            "latest",
        ),
        Slip(
            lambda s, k: few(s, k, torch.ones(s.shape).bool()),
            "the future too",
            "later tokens are chosen",
            "latest",
        ),
        Slip(
            lambda s, k: few(s, k, torch.ones(s.shape).tril(s.shape[1] - len(s) - 1).bool()),
            "not itself",
            "itself",
            "latest|window",
        ),
        Slip(
            lambda s, k: few(s, k, torch.ones(s.shape).tril().bool()),
            "counted from the first key",
            "LAST of the S|first key",
            "latest",
        ),
        Slip(lambda s, k: few(-s, k), "the smallest", "smallest", "latest"),
        Slip(lambda s, k: seen_by(s), "all", "Only the k best|all that is visible", "latest"),
        Slip(
            lambda s, k: seen_by(s) & ~torch.ones(s.shape).tril(s.shape[1] - len(s) - k).bool(),
            "the last k",
            "window",
            "too many",
        ),
        Slip(
            lambda s, k: few(s.relu(), k),
            "scores below 0 are taken for equal",
            None,
            "latest|too many",
        ),
    ],
)

# --- mass_recall ---


def recall_by_loop(weights, selected):
    shares = []
    for t in range(weights.shape[1]):
        caught = [float(head[t][selected[t]].sum()) for head in weights]
        shares.append(sum(caught) / len(caught))
    return torch.tensor(shares)


def recall_in_numpy(weights, selected):
    return np.where(selected.numpy(), weights.numpy(), 0).sum(2).mean(0)


def recall_of_sums(weights, selected):
    together = weights.sum(0)
    return (together * selected).sum(1) / together.sum(1)


MASS_RECALL = Answers(
    right=[recall_by_loop, recall_in_numpy, recall_of_sums],
    wrong=[
        Slip(
            lambda w, s: (w.sum(0) * s).sum(1), "added heads", "number of heads|at most 1", "token"
        ),
        Slip(lambda w, s: (w * s).sum(-1), "a row per head", "over the heads", "added up"),
        Slip(lambda w, s: (w * s).sum(-1).mean(), "one number", "one number per token", "added"),
        Slip(lambda w, s: (w * s).sum(-1).max(0).values, "the best head", "largest|mean", "added"),
        Slip(lambda w, s: 1 - (w.mean(0) * s).sum(1), "what is missed", "missed", "heads"),
        Slip(lambda w, s: s.sum(1) / (w[0] > 0).sum(1), "counted tokens", "count tokens", "heads"),
        Slip(
            lambda w, s: (w.mean(0) * s).mean(1),
            "the mean over keys",
            "number of keys",
            "heads are",
        ),
        Slip(lambda w, s: (w.mean(0) * s).sum(0), "the wrong axis", "last axis", "heads are"),
        Slip(lambda w, s: (w.amax(0) * s).sum(1), "the largest weights", None, "added up"),
    ],
)

# --- indexer_kl ---


def kl_by_rows(weights, scores, selected):
    total = 0.0
    for t in range(len(scores)):
        on = selected[t]
        p = weights.detach()[:, t, on].sum(0)
        p = p / p.sum()
        total = total + F.kl_div(scores[t, on].log_softmax(-1), p, reduction="sum")
    return total / len(scores)


def kl_by_entropy(weights, scores, selected):
    with torch.no_grad():
        p = weights.mean(0)
        entropy = torch.special.entr(p).sum(-1)
    log_index = scores - scores.masked_fill(~selected, -torch.inf).logsumexp(-1, keepdim=True)
    return (-(p * log_index).sum(-1) - entropy).mean()


def kl_of_distributions(weights, scores, selected):
    p = weights.detach().sum(0)
    p = torch.distributions.Categorical(probs=p.clamp_min(1e-30))
    q = torch.distributions.Categorical(logits=scores.masked_fill(~selected, -60.0))
    return torch.distributions.kl_divergence(p, q).mean()


def divergence(weights, scores, selected, among=None, target=None, detach=True):
    p = (weights.detach() if detach else weights).mean(0) if target is None else target
    among = selected if among is None else among
    log_index = scores.masked_fill(~among, -torch.inf).log_softmax(-1).masked_fill(~among, 0.0)
    return (torch.xlogy(p, p) - p * log_index).sum(-1)


def reverse_kl(weights, scores, selected):
    p = weights.detach().mean(0).clamp_min(1e-30).log()
    q = scores.masked_fill(~selected, -torch.inf).softmax(-1)
    return (torch.xlogy(q, q) - q * p).sum(-1).mean()


INDEXER_KL = Answers(
    right=[kl_by_rows, kl_by_entropy, kl_of_distributions],
    wrong=[
        Slip(reverse_kl, "turned round", "other way round", "heads"),
        Slip(lambda *x: divergence(*x).sum(), "a sum over rows", "added up", "heads"),
        Slip(
            lambda w, s, on: divergence(w, s, on).sum() / on.numel(),
            "a mean over the table",
            "all entries",
            "heads",
        ),
        Slip(
            lambda w, s, on: divergence(w, s, on, among=torch.ones_like(on)).mean(),
            "softmax over all",
            "over all keys",
            "heads",
        ),
        Slip(
            lambda w, s, on: torch.stack([divergence(h[None], s, on).mean() for h in w]).mean(),
            "head by head",
            "one by one",
            "Detach",
        ),
        Slip(
            lambda w, s, on: divergence(w, s, on, target=w.detach().sum(0)).mean(),
            "the heads' sum as it is",
            "not divided|number of heads",
            "one by one",
        ),
        Slip(
            lambda *x: divergence(*x, detach=False).mean(),
            "attention learns too",
            "Detach|gradient too",
            "heads",
        ),
        Slip(lambda *x: divergence(*x).mean().detach(), "nothing learns", "no gradient", "heads"),
        Slip(lambda *x: divergence(*x).mean().item(), "a plain number", "no gradient", "heads"),
        Slip(lambda *x: -divergence(*x).mean(), "the sign", "sign", "heads"),
        Slip(
            lambda w, s, on: (
                -(
                    w.detach().mean(0)
                    * s.masked_fill(~on, -torch.inf).log_softmax(-1).masked_fill(~on, 0.0)
                )
                .sum(-1)
                .mean()
            ),
            "the cross-entropy",
            "cross-entropy",
            "heads",
        ),
    ],
)

# --- decode_costs ---


def costs_by_loop(context, top_k, heads, latent, rotary, index_heads, index_dim):
    dense = sparse = 0
    for _ in range(heads):
        dense += context * (latent + rotary) + context * latent
        sparse += min(context, top_k) * (latent + rotary + latent)
    for _ in range(index_heads):
        sparse += context * index_dim
    return dense, sparse


class Costs:
    def __call__(self, context, top_k, heads, latent, rotary, index_heads, index_dim):
        def attention(tokens):
            return tokens * heads * (2 * latent + rotary)

        read = attention(top_k if top_k <= context else context)
        return [attention(context), context * index_dim * index_heads + read]


def costs(S, k, H, R, P, Hi, Di, head=None, index=None, read=None):
    head = 2 * R + P if head is None else head
    index = S * Hi * Di if index is None else index
    return S * H * head, index + (min(S, k) if read is None else read) * H * head


DECODE_COSTS = Answers(
    right=[costs_by_loop, Costs(), lambda S, k, *x: tuple(np.array(costs(S, k, *x)).tolist())],
    wrong=[
        Slip(lambda *x: costs(*x, index=0), "no indexer", "indexer's own work", "heads are"),
        Slip(
            lambda S, k, H, R, P, Hi, Di: costs(S, k, H, R, P, Hi, Di, index=min(S, k) * Hi * Di),
            "the indexer on the chosen",
            "ALL cached",
            "heads are",
        ),
        Slip(
            lambda S, *x: costs(S, *x, read=S), "all are read", "chosen tokens alone", "heads are"
        ),
        Slip(
            lambda S, k, *x: costs(S, k, *x, read=k),
            "more read than there are",
            "fewer than top_k|only those",
            "heads are",
        ),
        Slip(
            lambda S, k, H, R, P, *x: costs(S, k, H, R, P, *x, head=R + P),
            "scores without the average",
            "averages",
            "heads are",
        ),
        Slip(
            lambda S, k, H, R, P, *x: costs(S, k, H, R, P, *x, head=2 * R + 2 * P),
            "rotary numbers in the values",
            "latents alone",
            "heads are",
        ),
        Slip(
            lambda S, k, H, R, P, *x: costs(S, k, H, R, P, *x, head=2 * R),
            "no rotary part",
            "rotary part",
            "heads are",
        ),
        Slip(
            lambda S, k, H, R, P, Hi, Di: (S * (2 * R + P), S * Hi * Di + min(S, k) * (2 * R + P)),
            "attention without heads",
            "heads are missing",
            "rotary part",
        ),
        Slip(
            lambda S, k, H, R, P, Hi, Di: costs(S, k, H, R, P, Hi, Di, index=S * Di),
            "an indexer of one head",
            "indexer's heads",
            "rotary part",
        ),
        Slip(lambda *x: costs(*x)[::-1], "the wrong order", "changed places", "heads are"),
    ],
)

ANSWERS = {
    "indexer_scores": INDEXER_SCORES,
    "index_keys": INDEX_KEYS,
    "choose_few": CHOOSE_FEW,
    "mass_recall": MASS_RECALL,
    "indexer_kl": INDEXER_KL,
    "decode_costs": DECODE_COSTS,
}
