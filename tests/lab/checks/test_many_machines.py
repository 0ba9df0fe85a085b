"""The checkers of lesson 13 know right answers, the untouched skeleton, and the typical wrong
answers."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import many_machines as check
from course_lib.lab.solutions import many_machines as solutions
from tests.lab.checks.cases import Case, tests_of

# The ring
# --------------------------------------------------------------------------------------------------


def ring(vectors, send, gather=True, add=True, mean=False):
    """Pieces as rows of a table; rank r begins with piece r + 1, so it ends with piece r + 2."""
    n = len(vectors)
    tables = [vector.reshape(n, -1).clone() for vector in vectors]
    for turn in range(n - 1):
        sent = {(r + 1) % n: send(r, tables[r][(r + 1 - turn) % n]) for r in range(n)}
        for r in range(n):
            piece = (r - turn) % n
            tables[r][piece] = tables[r][piece] + sent[r] if add else sent[r]
    for turn in range(n - 1 if gather else 0):
        sent = {(r + 1) % n: send(r, tables[r][(r + 2 - turn) % n]) for r in range(n)}
        for r in range(n):
            tables[r][(r + 1 - turn) % n] = sent[r]
    return [table.flatten() / (n if mean else 1) for table in tables]


def whole_vectors(vectors, send):
    """Pass whole vectors round the ring N - 1 times."""
    n, totals, moving = len(vectors), [v.clone() for v in vectors], list(vectors)
    for _ in range(n - 1):
        come = [send(r, moving[r]) for r in range(n)]
        moving = [come[r - 1] for r in range(n)]
        totals = [total + piece for total, piece in zip(totals, moving, strict=True)]
    return totals


def without_sending(vectors, send):
    return [torch.stack(vectors).sum(0) for _ in vectors]


# Splitting
# --------------------------------------------------------------------------------------------------


def parts(x, up, down, n, act=F.gelu):
    pairs = zip(up.chunk(n), down.T.chunk(n), strict=True)
    return [act(x @ rows.T) @ columns for rows, columns in pairs]


def parts_by_einsum(x, up, down, n):
    hidden = F.gelu(torch.einsum("tc,fc->tf", x, up)).unflatten(1, (n, -1))
    return list(torch.einsum("tnf,cnf->ntc", hidden, down.unflatten(1, (n, -1))))


def cut_by_inputs(x, up, down, n):
    pairs = zip(x.tensor_split(n, 1), up.tensor_split(n, 1), strict=True)
    return [F.gelu(a @ b.T) @ down.T for a, b in pairs]


# f
# --------------------------------------------------------------------------------------------------


def by_hook(x, all_reduce):
    y = x.clone()
    y.register_hook(all_reduce)
    return y


def function_of(forward, backward):
    """An answer made of two functions (x, all_reduce) and (grad, all_reduce)."""

    def answer(x, all_reduce):
        class Made(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return forward(x, all_reduce)

            @staticmethod
            def backward(ctx, grad):
                return backward(grad, all_reduce)

        return Made.apply(x)

    return answer


def copy(x, all_reduce):
    return x.clone()


def hook_on_x(x, all_reduce):
    x.register_hook(all_reduce)
    return x.clone()


def summed(x, all_reduce):
    return all_reduce(x)


def without_forward(x, all_reduce):
    class Made(torch.autograd.Function):
        @staticmethod
        def backward(ctx, grad):
            return all_reduce(grad)

    return Made.apply(x)


# Schedules
# --------------------------------------------------------------------------------------------------


def by_ahead(stage, n_stages, m, ahead=None):
    ahead = min(n_stages - stage - 1, m) if ahead is None else max(0, min(ahead, m))
    forward, backward = [f"F{i}" for i in range(m)], [f"B{i}" for i in range(m)]
    order = forward[:ahead]
    for pair in zip(forward[ahead:], backward, strict=False):
        order.extend(pair)
    return order + backward[m - ahead :]


def gpipe(stage, n_stages, m):
    return [f"F{i}" for i in range(m)] + [f"B{i}" for i in range(m)]


def merged(largest, sums):
    return (largest + sums.log()).logsumexp(0)


def scaled(largest, sums):
    """The sum of all exponentials, relative to the largest logit."""
    return torch.einsum("nt,nt->t", sums, (largest - largest.amax(0)).exp())


CASES = {
    check.ring_all_reduce: Case(
        solution=solutions.ring_all_reduce_solution,
        skeleton=lambda vectors, send: ...,
        also_right=[ring],
        wrong=[
            (lambda v, send: ring(v, send, gather=False), "a reduce-scatter"),
            (lambda v, send: ring(v, send, mean=True), "that is the average"),
            (lambda v, send: ring(v, send, add=False), "the result of rank"),
            (lambda v, send: check._ring_with(v, 0), "takes back what it sent"),
            (lambda v, send: check._ring_with(v, -1), "what the next one sent"),
            (lambda v, send: check._ring_with(v, begin=0), "a piece that is not complete"),
            (lambda v, send: check._ring_with(v), "sent only 0 numbers"),
            (lambda v, send: v, "nothing was added"),
            (lambda v, send: torch.stack(v).sum(0), "that is the sum once"),
            (without_sending, "sent only 0 numbers"),
            (whole_vectors, "one piece per turn"),
            (lambda v, send: [send(7, x) for x in v], "you sent from rank 7"),
            (lambda v, send: [send(0, x.tolist()) for x in v], "Send a tensor"),
            (lambda v, send: ring(v, send)[:1] * (len(v) - 1), "one per rank"),
        ],
    ),
    check.zero_bytes: Case(
        solution=solutions.zero_bytes_solution,
        skeleton=lambda stage, n_parameters, n_ranks: ...,
        also_right=[
            lambda s, P, N: P * sum(b / (N if s > t else 1) for b, t in ((2, 2), (2, 1), (12, 0)))
        ],
        wrong=[
            (lambda s, P, N: 16 * P / N if s else 16 * P, "12 bytes alone"),
            (lambda s, P, N: check._zero(s, P, N, rest=8), "32-bit copy of the weights"),
            (lambda s, P, N: check._zero(s, P, N, 4, 4, 8), "training in 32 bits"),
            (lambda s, P, N: solutions.zero_bytes_solution(s, P, N) / 1e9, "gigabytes"),
            (lambda s, P, N: solutions.zero_bytes_solution(s, P, N) * 8, "those are bits"),
            (lambda s, P, N: solutions.zero_bytes_solution(s, P, N) * N, "what one rank keeps"),
            (lambda s, P, N: solutions.zero_bytes_solution(s + 1, P, N), "one thing too many"),
            (lambda s, P, N: solutions.zero_bytes_solution(s - 1, P, N), "one thing too few"),
            (
                lambda s, P, N: (
                    P * sum(b / (N if s > t else 1) for b, t in ((2, 0), (2, 1), (12, 2)))
                ),
                "begin with the weights",
            ),
            (
                lambda s, P, N: solutions.zero_bytes_solution(1 if s == 2 else s, P, N),
                "stage 2 keeps whole gradients",
            ),
            (lambda s, P, N: solutions.zero_bytes_solution(min(s, 2), P, N), "nothing stays whole"),
        ],
    ),
    check.split_mlp: Case(
        solution=solutions.split_mlp_solution,
        skeleton=lambda x, up, down, n_ranks: ...,
        also_right=[parts, parts_by_einsum, lambda *case: tuple(parts(*case))],
        wrong=[
            (lambda *case: sum(parts(*case)), "what an all-reduce makes of them"),
            (lambda *case: [sum(parts(*case))] * case[3], "each entry is the whole output."),
            (lambda *case: [sum(parts(*case)) / case[3]] * case[3], "the whole output over N"),
            (lambda *case: [part / case[3] for part in parts(*case)], "not their mean"),
            (cut_by_inputs, "GELU of a sum is not"),
            (lambda *case: parts(*case, act=lambda h: h), "the activation is missing"),
            (lambda *case: parts(*case, act=F.relu), "that is ReLU"),
            (
                lambda *case: [F.gelu(p) for p in parts(*case, act=lambda h: h)],
                "after the second product",
            ),
            (lambda x, up, down, n: [F.gelu(x @ u.T) for u in up.chunk(n)], "hidden units"),
            (lambda *case: torch.cat(parts(*case), 1), "side by side"),
        ],
    ),
    check.copy_to_ranks: Case(
        solution=solutions.copy_to_ranks_solution,
        skeleton=lambda x, all_reduce: ...,
        also_right=[
            by_hook,
            function_of(lambda x, _: x.view_as(x), lambda g, all_reduce: all_reduce(g)),
        ],
        wrong=[
            (function_of(summed, lambda g, _: g), "that is g"),
            (without_forward, "no static method `forward`"),
            (function_of(copy, lambda g, _: g), "this rank's part alone"),
            (lambda x, all_reduce: x, "this rank's part alone"),
            (lambda x, all_reduce: x.detach().clone(), "no gradient flows"),
            (hook_on_x, "what comes by other ways"),
            (function_of(copy, lambda g, s: (s(g), g)[1]), "its result is not used"),
            (function_of(copy, lambda g, s: g + s(g)), "own gradient is counted twice"),
            (function_of(copy, lambda g, s: s(s(g))), "summed twice"),
            (function_of(copy, lambda g, s: s(g) / 2), "you average"),
            (function_of(copy, lambda g, s: None), "no gradient for x"),
            (function_of(copy, lambda g, s: g.sum() + s), "backward stopped with"),
            (function_of(copy, lambda g, s: -s(g)), "the gradient of x"),
        ],
    ),
    check.merge_logsumexp: Case(
        solution=solutions.merge_logsumexp_solution,
        skeleton=lambda largest, sums: ...,
        also_right=[merged],
        wrong=[
            (lambda m, s: m.amax(0) + s.sum(0).log(), "added as they are"),
            (lambda m, s: (s * m.exp()).sum(0).log(), "exp(1000) overflows"),
            (lambda m, s: scaled(m, s).log(), "never added again"),
            (scaled, "that is the sum of exponentials"),
            (lambda m, s: (m + s.log()).sum(0), "the logarithm of a product"),
            (lambda m, s: (m + s.log()).amax(0), "All ranks' exponentials count"),
            (lambda m, s: (m + s.log()).mean(0), "you average"),
            (lambda m, s: m + s.log(), "one row per rank"),
            (lambda m, s: merged(m, s) / torch.tensor(2.0).log(), "those are bits"),
            (lambda m, s: m.amax(0) + (merged(m, s) - m.amax(0)).exp(), "the logarithm is missing"),
        ],
    ),
    check.one_f_one_b: Case(
        solution=solutions.one_f_one_b_solution,
        skeleton=lambda stage, n_stages, n_microbatches: ...,
        also_right=[by_ahead, check._played],
        wrong=[
            (gpipe, "that is GPipe"),
            (lambda s, p, m: by_ahead(s, p, m, 0), "turns back at once"),
            (lambda s, p, m: by_ahead(s, p, m, p - s), "one forward too many"),
            (lambda s, p, m: by_ahead(s, p, m, s), "from the wrong end"),
            (lambda s, p, m: by_ahead(s, p, m, p - 1), "equally far ahead"),
            (lambda s, p, m: by_ahead(s, p, m, p - 2 - s), "one forward too few"),
            (
                lambda s, p, m: [f"{o[0]}{int(o[1:]) + 1}" for o in by_ahead(s, p, m)],
                "numbered from 1",
            ),
            (
                lambda s, p, m: by_ahead(s, p, m)[: 2 * m - min(p - s - 1, m)],
                "the last backwards are missing",
            ),
            (lambda s, p, m: [(o[0], int(o[1:])) for o in by_ahead(s, p, m)], "as pairs"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
