"""The checkers of lesson 06 know right answers, the untouched skeleton, and the typical wrong
answers."""

import math

import torch
import torch.nn.functional as F

from course_lib.lab.checks import attention as check
from tests.lab.checks.cases import Case, tests_of


def future(scores):
    return torch.ones_like(scores, dtype=torch.bool).triu(1)


def skeleton_2(a, b): ...


# Induction score
# --------------------------------------------------------------------------------------------------


def induction(weights, ids):
    follows = F.pad(ids[:, None] == ids[:-1], (1, 0)).tril()
    return (weights * follows).sum(-1)[follows.any(-1)].mean()


def induction_by_loop(weights, ids, shift=1, every=True, over=None):
    total, repeated = 0.0, 0
    for t in range(len(ids)):
        copies = [s for s in range(t) if ids[s] == ids[t]]
        repeated += bool(copies)
        total += sum(
            weights[t, s + shift].item()
            for s in (copies if every else copies[-1:])
            if s + shift >= 0
        )
    return total / (over or repeated)


# Streaming average
# --------------------------------------------------------------------------------------------------


def streaming(pairs, shrink_total=True, shrink_mixture=True, divide=True):
    loudest, total, mixture = -math.inf, 0.0, 0.0
    for score, value in pairs:
        new = max(loudest, score)
        shrink, power = math.exp(loudest - new), math.exp(score - new)
        total = total * (shrink if shrink_total else 1) + power
        mixture = mixture * (shrink if shrink_mixture else 1) + power * value
        loudest = new
    return mixture / total if divide else mixture


def streaming_by_log(pairs):
    """Keep the average itself, and the logarithm of the total."""
    average, log_total = None, torch.tensor(-math.inf)
    for score, value in pairs:
        new = torch.logaddexp(log_total, torch.tensor(score))
        share = (score - new).exp()
        average = value * share if average is None else average * (1 - share) + value * share
        log_total = new
    return average


def streaming_without_maximum(pairs):
    total, mixture = 0.0, 0.0
    for score, value in pairs:
        power = torch.tensor(score).exp()
        total, mixture = total + power, mixture + power * value
    return mixture / total


def kept_all(pairs):
    scores, values = zip(*pairs, strict=True)
    return torch.tensor(scores).softmax(-1) @ torch.stack(values)


def bytes_by_product(n_layers, n_kv_heads, d_head, n_tokens, bytes_per_number):
    return 2 * n_layers * n_kv_heads * d_head * n_tokens * bytes_per_number


CASES = {
    check.scaled_scores: Case(
        solution=lambda q, k: q @ k.mT / q.shape[-1] ** 0.5,
        skeleton=skeleton_2,
        also_right=[lambda q, k: torch.einsum("td,sd->ts", q, k) * k.shape[1] ** -0.5],
        wrong=[
            (lambda q, k: q @ k.mT, "nothing is divided"),
            (lambda q, k: q @ k.mT / k.shape[0] ** 0.5, "as if you had divided by sqrt(S)"),
            (lambda q, k: q @ k.mT / q.shape[0] ** 0.5, "as if you had divided by sqrt(T)"),
            (lambda q, k: q @ k.mT / q.shape[-1], "D is too much"),
            (lambda q, k: q @ k.mT * q.shape[-1] ** 0.5, "make the scores quieter"),
            (lambda q, k: (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1), "a softmax was taken"),
            (lambda q, k: k @ q.mT / q.shape[-1] ** 0.5, "Queries come first"),
            (lambda q, k: q * k, "your function stopped with RuntimeError"),
        ],
    ),
    check.causal_weights: Case(
        solution=lambda s: s.masked_fill(future(s), -torch.inf).softmax(-1),
        skeleton=lambda s: ...,
        also_right=[
            lambda s: F.softmax(s + torch.full_like(s, -torch.inf).triu(1), dim=1),
            lambda s: (e := (s - s.max()).exp().tril()) / e.sum(-1, keepdim=True),
        ],
        wrong=[
            (lambda s: s.softmax(-1).tril(), "Mask the scores first"),
            (lambda s: s.masked_fill(future(s), -torch.inf).softmax(0), "your columns sum to 1"),
            (lambda s: s.softmax(-1), "nothing is masked"),
            (lambda s: s.masked_fill(future(s).mT, -torch.inf).softmax(-1), "the other triangle"),
            (lambda s: s.tril().softmax(-1), "the score 0, not -inf"),
            (
                lambda s: s.masked_fill(~future(s).mT, -torch.inf).softmax(-1),
                "the first row is NaN",
            ),
            (
                lambda s: s.masked_fill(~future(s).mT, -torch.inf).softmax(-1).nan_to_num(),
                "must also see itself",
            ),
            (lambda s: s.masked_fill(future(s), -torch.inf), "The softmax is missing"),
            (
                lambda s: s.exp().tril() / s.exp().tril().sum(-1, keepdim=True),
                "scores as loud as 120",
            ),
        ],
    ),
    check.split_heads: Case(
        solution=lambda x, n_heads: x.unflatten(-1, (n_heads, -1)).transpose(1, 2),
        skeleton=skeleton_2,
        also_right=[
            lambda x, n_heads: torch.stack(x.chunk(n_heads, dim=-1), dim=1),
            lambda x, n_heads: x.view(*x.shape[:2], n_heads, x.shape[2] // n_heads).permute(
                0, 2, 1, 3
            ),
        ],
        wrong=[
            (lambda x, h: x.view(x.shape[0], h, x.shape[1], -1), "the tokens are mixed"),
            (lambda x, h: x.unflatten(-1, (h, -1)), "swap T and H"),
            (lambda x, h: x.unflatten(-1, (-1, h)).permute(0, 3, 1, 2), "dealt out like cards"),
            (
                lambda x, h: x.unflatten(-1, (h, -1)).permute(2, 0, 1, 3),
                "heads come before the batch",
            ),
            (
                lambda x, h: x.unflatten(-1, (h, -1)).permute(0, 2, 3, 1),
                "last two axes are swapped",
            ),
            (lambda x, h: x, "expected (2, 4, 3, 5)"),
        ],
    ),
    check.induction_score: Case(
        solution=induction,
        skeleton=skeleton_2,
        also_right=[induction_by_loop],
        wrong=[
            (lambda w, ids: induction_by_loop(w, ids, over=len(ids)), "you divided by all tokens"),
            (lambda w, ids: induction_by_loop(w, ids, over=1), "that is the sum over the tokens"),
            (lambda w, ids: induction_by_loop(w, ids, shift=0), "on the earlier copy itself"),
            (
                lambda w, ids: induction_by_loop(w, ids, shift=-1),
                "one place before the earlier copy",
            ),
            (lambda w, ids: induction_by_loop(w, ids, every=False), "only the latest copy counts"),
            (lambda w, ids: induction_by_loop(w.mT, ids), "the axes are swapped"),
            (lambda w, ids: induction_by_loop(w, ids, over=5), "you took the mean over pairs"),
            (
                lambda w, ids: (w * F.pad(ids[:, None] == ids[:-1], (1, 0)).tril()).sum(-1),
                "a score is one number",
            ),
            (lambda w, ids: 1.0, "expected 0."),
        ],
    ),
    check.streaming_average: Case(
        solution=streaming,
        skeleton=lambda pairs: ...,
        also_right=[streaming_by_log],
        wrong=[
            (lambda pairs: streaming(pairs, divide=False), "not divided out"),
            (
                lambda pairs: streaming(pairs, shrink_total=False, shrink_mixture=False),
                "Shrink both running sums",
            ),
            (lambda pairs: streaming(pairs, shrink_mixture=False), "the mixture is not"),
            (lambda pairs: streaming(pairs, shrink_total=False), "the total is not"),
            (
                lambda pairs: torch.stack([value for _, value in pairs]).mean(0),
                "the scores are not used",
            ),
            (lambda pairs: max(pairs, key=lambda pair: pair[0])[1], "the loudest score alone"),
            (streaming_without_maximum, "exp(1000) is infinite"),
            (kept_all, "you kept 200 of 200 values"),
        ],
    ),
    check.cache_bytes: Case(
        solution=bytes_by_product,
        skeleton=lambda n_layers, n_kv_heads, d_head, n_tokens, bytes_per_number: ...,
        also_right=[lambda L, G, D, T, n: torch.zeros(2, L, G, T, D, device="meta").numel() * n],
        wrong=[
            (lambda L, G, D, T, n: L * G * D * T * n, "both a key and a value"),
            (lambda L, G, D, T, n: 2 * G * D * T * n, "that is one layer"),
            (lambda L, G, D, T, n: 2 * L * G * D * T, "bytes_per_number bytes"),
            (lambda L, G, D, T, n: 16 * L * G * D * T * n, "these are bits"),
            (lambda L, G, D, T, n: 2 * L * G * D * T * T * n, "the square of the tokens"),
            (lambda L, G, D, T, n: 2 * L * D * T * n, "the heads are missing"),
            (lambda L, G, D, T, n: 2 * L * G * T * n, "d_head is missing"),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
