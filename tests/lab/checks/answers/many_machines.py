"""Answers to the exercises of lesson 13, written from their statements alone."""

import itertools
import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.layers.mlp import gelu
from tests.lab.checks.answers.table import Answers, Slip

# --- ring_all_reduce ---


def ring_piece_by_piece(vectors, send):
    """Each piece goes round twice before the next one starts."""
    n, length = len(vectors), len(vectors[0])
    results = [torch.zeros(length, dtype=vectors[0].dtype) for _ in vectors]
    for p in range(n):
        cut = slice(p * length // n, (p + 1) * length // n)
        travelling = vectors[p][cut]
        for step in range(n - 1):
            travelling = send((p + step) % n, travelling) + vectors[(p + step + 1) % n][cut]
        last = (p - 1) % n
        results[last][cut] = travelling
        for step in range(n - 1):
            travelling = send((last + step) % n, travelling)
            results[(last + step + 1) % n][cut] = travelling
    return results


class ShiftedRing:
    """Rank r ends the first half with its own piece r, in numpy."""

    def __call__(self, vectors, send):
        n = len(vectors)
        tables = [np.array(v.tolist()).reshape(n, -1) for v in vectors]
        for t in range(n - 1):
            come = [send(r, torch.tensor(tables[r][(r - t - 1) % n])) for r in range(n)]
            for r in range(n):
                tables[r][(r - t - 2) % n] += come[r - 1].numpy()
        for t in range(n - 1):
            come = [send(r, torch.tensor(tables[r][(r - t) % n])) for r in range(n)]
            for r in range(n):
                tables[r][(r - t - 1) % n] = come[r - 1].numpy()
        return [table.reshape(-1) for table in tables]


def ring_one_after_the_other(vectors, send):
    """Within a turn what a rank receives is another piece than it sends, so the order is free."""
    n = len(vectors)
    whole = torch.stack([v.view(n, -1) for v in vectors])
    for t in range(2 * n - 2):
        for r in reversed(range(n)):
            come, to, place = send(r, whole[r, (r - t) % n]), (r + 1) % n, (r - t) % n
            whole[to, place] = come + whole[to, place] if t < n - 1 else come
    return tuple(row.flatten() for row in whole)


def ring(vectors, send, first=None, second=None, add=False, back=1, shift=1):
    """The ring with room for slips."""
    n = len(vectors)
    first, second = (n - 1 if turns is None else turns for turns in (first, second))
    pieces = [[piece.clone() for piece in vector.chunk(n)] for vector in vectors]
    for turn in range(first):
        come = [send(rank, pieces[rank][(rank - turn) % n]) for rank in range(n)]
        for rank in range(n):
            pieces[rank][(rank - 1 - turn) % n] += come[rank - back]
    for turn in range(second):
        come = [send(rank, pieces[rank][(rank + shift - turn) % n]) for rank in range(n)]
        for rank in range(n):
            place = (rank - 1 + shift - turn) % n
            pieces[rank][place] = come[rank - back] + (pieces[rank][place] if add else 0)
    return [torch.cat(own) for own in pieces]


def ring_of_whole_vectors(vectors, send):
    totals, travelling = [v.clone() for v in vectors], list(vectors)
    for _ in range(len(vectors) - 1):
        come = [send(rank, v) for rank, v in enumerate(travelling)]
        travelling = come[-1:] + come[:-1]
        totals = [total + v for total, v in zip(totals, travelling, strict=True)]
    return totals


def ring_in_place(vectors, send):
    n = len(vectors)
    pieces = [list(vector.chunk(n)) for vector in vectors]
    for turn in range(n - 1):
        come = [send(rank, pieces[rank][(rank - turn) % n]) for rank in range(n)]
        for rank in range(n):
            pieces[rank][(rank - 1 - turn) % n] += come[rank - 1]
    for turn in range(n - 1):
        come = [send(rank, pieces[rank][(rank + 1 - turn) % n]) for rank in range(n)]
        for rank in range(n):
            pieces[rank][(rank - turn) % n] = come[rank - 1]
    return [torch.cat(own) for own in pieces]


def ring_half_by_hand(vectors, send):
    n = len(vectors)
    halves = [v.chunk(n) for v in ring(vectors, send, second=0)]
    whole = torch.cat([halves[p - 1][p] for p in range(n)])
    return [whole.clone() for _ in vectors]


def ring_to_one_and_back(vectors, send):
    n, total = len(vectors), vectors[0]
    for rank in range(n - 1):
        total = send(rank, total) + vectors[rank + 1]
    results = [None] * (n - 1) + [total]
    for step in range(n - 1):
        total = send((n - 1 + step) % n, total)
        results[step] = total
    return results


RING_ALL_REDUCE = Answers(
    right=[ring_piece_by_piece, ShiftedRing(), ring_one_after_the_other],
    wrong=[
        Slip(
            ring_of_whole_vectors,
            "whole vectors go round",
            r"whole|pieces?|1/N|sen(t|ds)",
            "replace|second half|own message",
        ),
        Slip(
            lambda vectors, send: [torch.stack(vectors).sum(0) for _ in vectors],
            "nothing is sent",
            r"sen[dt]|without",
            "replace|too (much|many)|whole vectors",
        ),
        Slip(
            lambda vectors, send: ring(vectors, send, second=0),
            "the second half is missing",
            r"half|incomplete|complete|second|part|replace|two ranks|sen[dt]",
            "adds? in|too (much|many)|whole vectors",
        ),
        Slip(
            lambda vectors, send: ring(vectors, send, add=True),
            "added in the second half too",
            r"replac|add|twice|more than once",
            "too (much|many)|whole vectors|missing",
        ),
        Slip(
            lambda vectors, send: ring(vectors, send, back=0),
            "each rank takes what it sent itself",
            r"own|itself|before|neighbour|previous|r - 1|rank - 1",
            "too (much|many)|whole vectors|missing",
        ),
        Slip(ring_in_place, "pieces are added to in place", r"argument|chang|in place|clone|view"),
        Slip(
            lambda vectors, send: ring(vectors, send, first=len(vectors)),
            "N turns in the first half",
            r"turn|N - 1|too (many|much)|twice|once|sen(t|ds)",
            "whole vectors|missing",
        ),
        Slip(
            lambda vectors, send: [total / len(vectors) for total in ring(vectors, send)],
            "the mean instead of the sum",
            r"mean|averag|divid",
            "too (much|many)|whole vectors|missing",
        ),
        Slip(
            lambda vectors, send: ring(vectors, send, shift=0),
            "the second half begins with an incomplete piece",
            r"complete|piece r \+ 1|r \+ 1|begin|start|wrong piece|second half",
            "too (much|many)|whole vectors|missing",
        ),
        Slip(
            lambda vectors, send: ring(vectors, send)[0],
            "one sum instead of one per rank",
            r"list|one per|each rank|per rank|single|one vector|shape",
            "too (much|many)|whole vectors|replace",
        ),
        Slip(
            ring_half_by_hand,
            "the second half looks into other ranks",
            r"sen[dt]|other rank|may use",
            "too (much|many)|whole vectors|incomplete",
        ),
        Slip(
            ring_to_one_and_back,
            "summed up along a chain, then handed round",
            r"whole|pieces?|1/N|too (much|many)|sen(t|ds)",
            "replace|missing",
        ),
    ],
)

# --- zero_bytes ---


def bytes_by_table(stage, n_parameters, n_ranks):
    whole = (16, 4, 2, 0)[stage]
    return n_parameters * whole + n_parameters * (16 - whole) / n_ranks


def bytes_by_loop(stage, n_parameters, n_ranks):
    total = Fraction(0)
    for first_stage, size in ((3, 2), (2, 2), (1, 12)):
        total += Fraction(size * n_parameters, n_ranks if stage >= first_stage else 1)
    return float(total)


class BytesInNumpy:
    def __call__(self, stage, n_parameters, n_ranks):
        shares = np.where(np.arange(1, 4) <= stage, 1 / n_ranks, 1.0)
        return np.float64(n_parameters * (shares * [12, 2, 2]).sum())


def bytes_kept(stage, n_parameters, n_ranks, starts=(3, 2, 1), sizes=(2, 2, 12)):
    return n_parameters * sum(
        size / (n_ranks if stage >= start else 1) for start, size in zip(starts, sizes, strict=True)
    )


ZERO_BYTES = Answers(
    right=[bytes_by_table, bytes_by_loop, BytesInNumpy()],
    wrong=[
        Slip(
            lambda s, p, n: bytes_kept(s, p, n, starts=(4, 3, 2)),
            "each is divided one stage late",
            r"stage|>=|late",
            "gradients? (is|are) shared before|whole number",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, p, n, starts=(2, 1, 0)),
            "each is divided one stage early",
            r"stage|early|0",
            "whole number|//",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, p, n, starts=(1, 2, 3)),
            "weights first, optimizer last",
            r"optimizer|order|first",
            "whole number|//",
        ),
        Slip(
            lambda s, p, n: (
                p
                * (2 / (n if s == 3 else 1) + 2 / (n if s == 2 else 1) + 12 / (n if s == 1 else 1))
            ),
            "only the stage's own part is divided",
            r"too|also|from .* on|>=|==|earlier|still",
            "whole number|//",
        ),
        Slip(
            lambda s, p, n: (
                p
                * (
                    2 // (n if s >= 3 else 1)
                    + 2 // (n if s >= 2 else 1)
                    + 12 // (n if s >= 1 else 1)
                )
            ),
            "floored by //",
            r"//|floor|whole|round|fraction",
            "order",
        ),
        Slip(
            lambda s, p, n: n * bytes_kept(s, p, n),
            "the bytes of all ranks together",
            r"all ranks|one rank|together|each rank",
            "order|//",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, p, n) if s == 0 else 16 * p / n,
            "everything is divided from stage 1 on",
            r"all|everything|whole|stage 1|still|stage",
            "order|//",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, p, n, sizes=(2, 2, 8)),
            "8 bytes for the optimizer",
            r"12|copy|optimizer",
            "order|//",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, p, n, sizes=(4, 4, 8)),
            "weights and gradients in 32 bits",
            r"\b2\b|16 bits|bytes",
            "order|//",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, p, n) / 1e9,
            "gigabytes",
            r"GB|giga|bytes|1e9|10\^9",
            "order|//",
        ),
        Slip(
            lambda s, p, n: bytes_kept(s, 1, n),
            "bytes per parameter",
            r"per parameter|n_parameters|parameters",
            "order|//",
        ),
    ],
)

# --- split_mlp ---


def mlp_by_slices(x, up, down, n_ranks):
    share = up.shape[0] // n_ranks
    parts = []
    for begin in range(0, share * n_ranks, share):
        mine = slice(begin, begin + share)
        parts.append(F.linear(gelu(F.linear(x, up[mine])), down[:, mine]))
    return parts


def mlp_by_masks(x, up, down, n_ranks):
    hidden = gelu(x.double() @ up.double().T)
    owner = torch.arange(len(up)) * n_ranks // len(up)
    return torch.stack([(hidden * (owner == r)) @ down.double().T for r in range(n_ranks)])


class EinsumMlp:
    def __call__(self, x, up, down, n_ranks):
        ups = up.unflatten(0, (n_ranks, -1))
        downs = down.unflatten(1, (n_ranks, -1))
        hidden = gelu(torch.einsum("tc,rfc->rtf", x, ups))
        return list(torch.einsum("rtf,crf->rtc", hidden, downs))


def mlp_rows_first(x, up, down, n_ranks):
    xs, ups = x.chunk(n_ranks, 1), up.chunk(n_ranks, 1)
    return [gelu(a @ b.T) @ down.T for a, b in zip(xs, ups, strict=True)]


def mlp_of(act):
    def split(x, up, down, n_ranks):
        pairs = zip(up.chunk(n_ranks, 0), down.chunk(n_ranks, 1), strict=True)
        return [act(x @ a.T) @ b.T for a, b in pairs]

    return split


def mlp_interleaved(x, up, down, n_ranks):
    return [gelu(x @ up[r::n_ranks].T) @ down[:, r::n_ranks].T for r in range(n_ranks)]


def mlp_mismatched(x, up, down, n_ranks):
    ups = up.chunk(n_ranks, 0)
    return [gelu(x @ ups[r].T) @ down[:, r::n_ranks].T for r in range(n_ranks)]


def mlp_down_by_rows(x, up, down, n_ranks):
    pairs = zip(up.chunk(n_ranks, 0), down.chunk(n_ranks, 0), strict=True)
    return [gelu(x @ a.T) @ b.T for a, b in pairs]


SPLIT_MLP = Answers(
    right=[mlp_by_slices, mlp_by_masks, EinsumMlp()],
    wrong=[
        Slip(
            mlp_down_by_rows,
            "down is cut along its outputs",
            r"axis|down|shape|cut|hidden",
            "interleav|mean",
        ),
        Slip(
            mlp_rows_first,
            "up is cut along its inputs",
            r"hidden|input|axis|sum|before|GELU",
            "interleav|mean|relu",
        ),
        Slip(
            lambda x, up, down, n_ranks: sum(mlp_by_slices(x, up, down, n_ranks)),
            "the sum instead of the list",
            r"list|sum|each rank|shape",
            "interleav|relu",
        ),
        Slip(mlp_of(lambda hidden: hidden), "no activation", r"gelu|activation", "interleav|axis"),
        Slip(mlp_of(torch.relu), "ReLU", r"gelu|relu|activation", "interleav|axis|forgot"),
        Slip(
            lambda x, up, down, n: [gelu(y) for y in mlp_of(lambda hidden: hidden)(x, up, down, n)],
            "GELU behind the second product",
            r"between|before|after|gelu|hidden",
            "interleav|axis",
        ),
        Slip(
            lambda x, up, down, n: [gelu(x @ up.T) @ down.T / n for _ in range(n)],
            "each rank computes everything, divided by n",
            r"whole|everything|all|share|alike|same|equal|divid",
            "interleav|axis",
        ),
        Slip(
            lambda x, up, down, n: [gelu(x @ up.T) @ down.T for _ in range(n)],
            "each rank computes everything",
            r"whole|everything|all|share|alike|same|equal|times",
            "interleav|axis",
        ),
        Slip(mlp_interleaved, "every n-th hidden unit", r"every|interleav|r-th|share|neighbour"),
        Slip(
            mlp_mismatched,
            "up by blocks, down by every n-th",
            r"same (hidden )?units|match|both|sum|other units|down",
            "axis|relu",
        ),
        Slip(
            lambda x, up, down, n: mlp_by_slices(x, up, down, n)[::-1],
            "ranks in the opposite order",
            r"order|r-th|reverse|rank 0|first",
            "interleav|relu",
        ),
        Slip(
            lambda x, up, down, n: [gelu(part @ up.T) @ down.T for part in x.chunk(n)],
            "the tokens are cut",
            r"token|x is cut|rows|batch|shape|hidden",
            "interleav|relu",
        ),
    ],
)

# --- copy_to_ranks ---


def copy_with_hook(x, all_reduce):
    y = x.clone()
    if y.requires_grad:
        y.register_hook(lambda grad: all_reduce(grad))
    return y


class ViewForward(torch.autograd.Function):
    @staticmethod
    def forward(x, all_reduce):
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.all_reduce = inputs[1]

    @staticmethod
    def backward(ctx, grad):
        return ctx.all_reduce(grad), None


class CopyModule(torch.nn.Module):
    def forward(self, x, all_reduce):
        y = x * 1.0
        y.requires_grad and y.register_hook(all_reduce)
        return y


def function_of(forward, backward):
    """An answer from what it does in each direction, both given x or its gradient and the sum."""

    def copy_to_ranks(x, all_reduce):
        class Copy(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return forward(x, all_reduce)

            @staticmethod
            def backward(ctx, grad):
                return backward(grad, all_reduce)

        return Copy.apply(x)

    return copy_to_ranks


def copied(x, all_reduce):
    return x.clone()


def passed_on(grad, all_reduce):
    return grad


def summed(x, all_reduce):
    return all_reduce(x)


def sum_dropped(grad, all_reduce):
    all_reduce(grad)
    return grad


def forward_sends(x, all_reduce):
    all_reduce(x)
    return x.clone()


def hook_on_x(x, all_reduce):
    x.requires_grad and x.register_hook(lambda grad: all_reduce(grad))
    return x


def hook_on_x_copy_returned(x, all_reduce):
    x.requires_grad and x.register_hook(lambda grad: all_reduce(grad))
    return x.clone()


def hook_without_return(x, all_reduce):
    y = x.clone()

    def hook(grad):
        all_reduce(grad)

    y.requires_grad and y.register_hook(hook)
    return y


def never_applied(x, all_reduce):
    class Copy(torch.autograd.Function):
        forward = staticmethod(lambda ctx, x: x.clone())
        backward = staticmethod(lambda ctx, grad: all_reduce(grad))

    return Copy


def x_is_summed_backward(x, all_reduce):
    return function_of(copied, lambda grad, all_reduce: all_reduce(x.detach()))(x, all_reduce)


COPY_TO_RANKS = Answers(
    right=[copy_with_hook, ViewForward.apply, CopyModule()],
    wrong=[
        Slip(
            function_of(summed, passed_on),
            "g instead of f",
            r"forward|\bg\b|mirror",
            "twice|residual|detach",
        ),
        Slip(function_of(summed, summed), "summed both ways", r"forward|both", "residual|detach"),
        Slip(
            lambda x, all_reduce: x.clone(),
            "nothing is summed",
            r"backward|gradient|sum",
            "forward sends|residual|twice|on the way forward",
        ),
        Slip(
            hook_on_x,
            "x itself comes back, with a hook",
            r"itself|other|copy|view|residual|path|way",
            "twice|on the way forward",
        ),
        Slip(
            hook_on_x_copy_returned,
            "the hook stands on x",
            r"itself|other|residual|path|way|hook",
            "on the way forward",
        ),
        Slip(
            lambda x, all_reduce: x.detach().clone().requires_grad_(),
            "detached",
            r"detach|gradient|cut|graph|connect|reach|comes? back",
            "twice|residual",
        ),
        Slip(
            function_of(copied, sum_dropped),
            "the sum is dropped",
            r"new tensor|return|result|in place|thrown|backward|dropped|ignored|not summed|used",
            "residual|detach|on the way forward",
        ),
        Slip(
            function_of(copied, lambda grad, all_reduce: grad + all_reduce(grad)),
            "the own gradient is added to the sum",
            r"own|twice|already|again|add",
            "residual|detach|on the way forward",
        ),
        Slip(
            function_of(forward_sends, summed),
            "a sum is made forward, and dropped",
            r"forward|sent|nothing",
            "residual|detach",
        ),
        Slip(
            hook_without_return,
            "the hook returns nothing",
            r"new tensor|return|result|in place|thrown|backward|dropped|ignored|not summed|used",
            "residual|detach|on the way forward",
        ),
        Slip(
            never_applied,
            "the class comes back unapplied",
            r"apply|class|tensor",
            "residual|detach|twice",
        ),
        Slip(
            x_is_summed_backward,
            "x is summed backward, not its gradient",
            r"gradient|x\b",
            "residual|detach|on the way forward",
        ),
        Slip(
            function_of(copied, lambda grad, all_reduce: all_reduce(all_reduce(grad))),
            "summed twice",
            r"twice|once|again|two",
            "residual|detach|on the way forward",
        ),
    ],
)

# --- merge_logsumexp ---


def merge_in_float64(largest, sums):
    largest, sums = np.asarray(largest, dtype=np.float64), np.asarray(sums, dtype=np.float64)
    return np.logaddexp.reduce(largest + np.log(sums), axis=0)


def merge_rank_by_rank(largest, sums):
    results = []
    for t in range(largest.shape[1]):
        best, total = -math.inf, 0.0
        for m, s in zip(largest[:, t].tolist(), sums[:, t].tolist(), strict=True):
            new = max(best, m)
            total = total * math.exp(best - new) + s * math.exp(m - new)
            best = new
        results.append(best + math.log(total))
    return torch.tensor(results)


def merged_at(largest, sums, best, dim=0):
    return best + (sums * (largest - best).exp()).sum(dim).log()


def merge_in_place(largest, sums):
    best = largest.amax(0)
    largest -= best
    return best + (sums * largest.exp()).sum(0).log()


def merge_over_positions(largest, sums):
    best = largest.amax(1, keepdim=True)
    return (best[:, 0] + (sums * (largest - best).exp()).sum(1).log()).squeeze()


MERGE_LOGSUMEXP = Answers(
    right=[
        lambda largest, sums: (largest + sums.log()).logsumexp(dim=0),
        merge_in_float64,
        merge_rank_by_rank,
    ],
    wrong=[
        Slip(
            lambda largest, sums: (sums * largest.exp()).sum(0).log(),
            "e to the power of the logit itself",
            r"overflow|range|inf|thousand|large",
            "factor|axis|mean",
        ),
        Slip(
            lambda largest, sums: largest.amax(0) + sums.sum(0).log(),
            "sums are added as they are",
            r"factor|relative|rescal|exp|own largest|own",
            "axis|overflow",
        ),
        Slip(
            lambda largest, sums: (
                largest.amax(0) + (sums * (largest.amax(0) - largest).exp()).sum(0).log()
            ),
            "the factor turned round",
            r"factor|sign|turned|at most 1|largest - best|the other way|inf|revers|above 1",
            "axis|mean",
        ),
        Slip(
            merge_over_positions,
            "merged over positions",
            r"shape|axis|position|ranks|dim",
            "factor|overflow",
        ),
        Slip(
            lambda largest, sums: (sums * (largest - largest.amax(0)).exp()).sum(0).log(),
            "the largest is not added back",
            r"add|back|missing|largest",
            "axis|overflow",
        ),
        Slip(
            lambda largest, sums: largest.logsumexp(0),
            "the sums are not used",
            r"sums|number of|other tokens|more than",
            "axis|overflow",
        ),
        Slip(
            lambda largest, sums: merged_at(largest, sums, largest.max()),
            "one largest for all positions",
            r"position|underflow|-inf|all",
            "axis of|factor",
        ),
        Slip(
            lambda largest, sums: merged_at(largest, sums, largest[0]),
            "relative to the first rank",
            r"first|rank 0|overflow|inf|largest",
            "axis|back",
        ),
        Slip(
            lambda largest, sums: (largest + sums.log()).sum(0),
            "logarithms are added",
            r"logarithm|logsumexp|add|product|sum",
            "axis|overflow",
        ),
        Slip(
            lambda largest, sums: (largest + sums.log()).amax(0),
            "the largest of the ranks' logsumexps",
            r"largest of|max|add|sum|other ranks",
            "axis|overflow",
        ),
        Slip(
            lambda largest, sums: (largest + sums.log()).logsumexp(0, keepdim=True),
            "an axis too many",
            r"shape|axis|dim",
            "factor|overflow",
        ),
        Slip(merge_in_place, "largest is changed in place", r"argument|chang|in place"),
        Slip(
            lambda largest, sums: (largest + sums.log()).logsumexp(0) - math.log(len(largest)),
            "the mean over ranks",
            r"mean|averag|divid|number of ranks",
            "axis|overflow",
        ),
    ],
)

# --- one_f_one_b ---


def order_by_rule(stage, n_stages, n_microbatches):
    order, forwards, backwards = [], 0, 0
    while backwards < n_microbatches:
        if forwards < n_microbatches and forwards - backwards <= n_stages - 1 - stage:
            order.append(f"F{forwards}")
            forwards += 1
        else:
            order.append(f"B{backwards}")
            backwards += 1
    return order


def order_by_sorting(stage, n_stages, n_microbatches):
    behind = n_stages - stage - 1
    keyed = [(2 * i, f"F{i}") for i in range(n_microbatches)]
    keyed += [(2 * (i + behind) + 1, f"B{i}") for i in range(n_microbatches)]
    return [name for _, name in sorted(keyed)]


class OrderByIterators:
    def __call__(self, stage, n_stages, n_microbatches):
        forwards = map("F{}".format, range(n_microbatches))
        backwards = map("B{}".format, range(n_microbatches))
        order = list(itertools.islice(forwards, n_stages - 1 - stage))
        for forward in forwards:
            order += (forward, next(backwards))
        return (*order, *backwards)


def ordered(ahead, m, names="F{} B{}", begin=0, rest=True):
    forward, backward = names.split()
    order = [forward.format(i + begin) for i in range(ahead)]
    for i in range(m - ahead):
        order += [forward.format(ahead + i + begin), backward.format(i + begin)]
    left = range(max(0, m - ahead), m) if rest else ()
    return order + [backward.format(i + begin) for i in left]


def ahead_of(stage, n_stages, m):
    return min(n_stages - 1 - stage, m)


def order_backward_first(stage, n_stages, m):
    ahead = ahead_of(stage, n_stages, m)
    order = [f"F{i}" for i in range(ahead)]
    for i in range(m - ahead):
        order += [f"B{i}", f"F{ahead + i}"]
    return order + [f"B{i}" for i in range(m - ahead, m)]


def order_of_equal_pairs(stage, n_stages, m):
    ahead = ahead_of(stage, n_stages, m)
    order = [f"F{i}" for i in range(ahead)]
    for i in range(ahead, m):
        order += [f"F{i}", f"B{i}"]
    return order + [f"B{i}" for i in range(ahead)]


def order_latest_first(stage, n_stages, m):
    order = ordered(ahead_of(stage, n_stages, m), m, rest=False)
    return order + [f"B{i}" for i in reversed(range(m - ahead_of(stage, n_stages, m), m))]


ONE_F_ONE_B = Answers(
    right=[order_by_rule, order_by_sorting, OrderByIterators()],
    wrong=[
        Slip(
            lambda stage, p, m: ordered(min(stage, m), m),
            "ahead by the stages in front",
            r"behind|in front|before|first stage|stages after",
            "GPipe|all forwards",
        ),
        Slip(
            lambda stage, p, m: ordered(min(p - stage, m), m),
            "one forward too many ahead",
            r"too (many|far)|one|behind|- 1|ahead|last stage",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: ordered(p - 1 - stage, m),
            "more forwards than micro-batches",
            r"few|micro-batches|min|exist|more",
            "GPipe|in front",
        ),
        Slip(
            order_backward_first,
            "the backward first in each pair",
            r"forward (comes )?first|backward|before|pair|one forward",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: [f"F{i}" for i in range(m)] + [f"B{i}" for i in range(m)],
            "GPipe",
            r"GPipe|all (the )?forwards",
            "in front",
        ),
        Slip(
            lambda stage, p, m: ordered(ahead_of(stage, p, m), m, rest=False),
            "the last backwards are missing",
            r"left|missing|lack|every|end|remain|backwards",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: ordered(ahead_of(stage, p, m), m, begin=1),
            "numbered from 1",
            r"from 0|F0|number|count",
            "GPipe|in front",
        ),
        Slip(
            order_latest_first,
            "the last backwards run from the latest",
            r"order|oldest|latest|B\d|revers",
            "GPipe|in front|missing",
        ),
        Slip(
            order_of_equal_pairs,
            "a pair is one micro-batch",
            r"oldest|same|B0|next|order|pair|micro-batch",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: " ".join(ordered(ahead_of(stage, p, m), m)),
            "one text",
            r"list|text|str",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: ordered(ahead_of(stage, p, m), m, names="f{} b{}"),
            "small letters",
            r"F0|capital|letters?|small|upper|'f0'",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: [
                (name[0], int(name[1:])) for name in ordered(ahead_of(stage, p, m), m)
            ],
            "pairs of letter and number",
            r"text|str|\"F0\"|'F0'|F0|pair|tuple",
            "GPipe|in front",
        ),
        Slip(
            lambda stage, p, m: ordered(min(p - 1, m), m),
            "every stage goes ahead like the first",
            r"behind|stage|ahead|too (many|far)",
            "GPipe|in front",
        ),
    ],
)

ANSWERS = {
    "ring_all_reduce": RING_ALL_REDUCE,
    "zero_bytes": ZERO_BYTES,
    "split_mlp": SPLIT_MLP,
    "copy_to_ranks": COPY_TO_RANKS,
    "merge_logsumexp": MERGE_LOGSUMEXP,
    "one_f_one_b": ONE_F_ONE_B,
}
