"""The checkers of lesson 07 know right answers, the untouched skeleton, and the typical wrong
answers."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import mlp as check
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


# Writes of heads
# --------------------------------------------------------------------------------------------------


def writes(mixed, W_O):
    return torch.stack(
        [head @ part.T for head, part in zip(mixed, W_O.chunk(len(mixed), dim=1), strict=True)]
    )


def own_slices(mixed, W_O):
    H, T, D = mixed.shape
    out = torch.zeros(H, T, len(W_O))
    for h in range(H):
        out[h, :, h * D : (h + 1) * D] = mixed[h]
    return out


# Facts
# --------------------------------------------------------------------------------------------------


def facts(keys, values, bias=-1.0):
    return keys, torch.full((len(keys),), bias), values.T


def leaky(keys, values):
    """The last fact shares nothing with the others, so a neuron without bias gives it away only on
    other pairs."""
    weight = torch.tensor([1.0, 1, 1, 0.5])
    return keys, torch.tensor([-1.0, -1, -1, 0]), values.T * weight


def gated(x, W_gate, W_up, W_down, bend=F.silu):
    return (bend(x @ W_gate.T) * (x @ W_up.T)) @ W_down.T


CASES = {
    check.head_writes: Case(
        solution=writes,
        skeleton=skeleton_2,
        also_right=[lambda m, W: torch.einsum("htd,chd->htc", m, W.unflatten(1, (len(m), -1)))],
        wrong=[
            (lambda m, W: m @ W.view(len(m), m.shape[2], -1), "you cut W_O into rows"),
            (
                lambda m, W: torch.stack([m[h] @ W[:, h :: len(m)].T for h in range(len(m))]),
                "like cards",
            ),
            (lambda m, W: writes(m, W).sum(0), "Keep the heads apart"),
            (lambda m, W: m @ W[:, : m.shape[2]].T, "the first head's columns"),
            (own_slices, "without W_O: each into its own slice"),
            (lambda m, W: writes(m, W).transpose(0, 1), "tokens come before heads"),
            (lambda m, W: m @ W.T, "your function stopped with RuntimeError"),
        ],
    ),
    check.write_facts: Case(
        solution=facts,
        skeleton=skeleton_2,
        also_right=[
            lambda k, v: (10 * k, -19 * torch.ones(len(k)), v.T),
            lambda k, v: (k, -1.0, v.mT.clone()),
        ],
        wrong=[
            (lambda k, v: k, "return three things"),
            (lambda k, v: (k.T, -torch.ones(len(k)), v.T), "up has shape (6, 4): turn it round"),
            (lambda k, v: (k, -torch.ones(len(k)), v), "down has shape (4, 5): turn it round"),
            (lambda k, v: (k, torch.zeros(len(k)), v.T), "fires also for a key that shares only"),
            (lambda k, v: facts(k, v, -0.5), "fires also for a key that shares only"),
            (lambda k, v: facts(k, v, -2.0), "no neuron fires"),
            (lambda k, v: facts(k, v, -1.5), "but 0.5 times as large"),
            (lambda k, v: (k, -torch.ones(6), v.T), "bias has shape (6,)"),
            (
                lambda k, v: (2 * k, -torch.ones(len(k)), v.T / 3),
                "fires also for a key that shares only",
            ),
            (lambda k, v: facts(k, v.flip(0)), "what the four keys recall"),
            (leaky, "pairs that are no facts"),
            (lambda k, v: (k, -torch.full((len(k),), torch.inf), v.T), "infinite or NaN"),
        ],
    ),
    check.gelu: Case(
        solution=lambda x: x * (1 + torch.erf(x / 2**0.5)) / 2,
        skeleton=lambda x: ...,
        also_right=[F.gelu, lambda x: x * torch.distributions.Normal(0.0, 1.0).cdf(x)],
        wrong=[
            (lambda x: (1 + torch.erf(x / 2**0.5)) / 2, "GELU is x times that share"),
            (lambda x: x * (1 + torch.erf(x)) / 2, "bends too sharply"),
            (lambda x: x * (1 + torch.erf(x / 2**0.5)), "twice too large"),
            (lambda x: x * torch.erf(x / 2**0.5), "erf runs from -1 to 1"),
            (lambda x: x.relu(), "that is ReLU"),
            (lambda x: x * torch.sigmoid(1.702 * x), "the cheap form"),
            (F.silu, "that is SiLU"),
            (
                lambda x: x * torch.distributions.Normal(0.0, 1.0).log_prob(x).exp(),
                "the height of the bell",
            ),
            (lambda x: F.gelu(x, approximate="tanh"), "the approximation by tanh"),
        ],
    ),
    check.swiglu: Case(
        solution=gated,
        skeleton=skeleton_4,
        also_right=[
            lambda x, g, u, d: F.linear(
                F.linear(x, g).sigmoid() * F.linear(x, g) * F.linear(x, u), d
            )
        ],
        wrong=[
            (lambda x, g, u, d: gated(x, u, g, d), "gate and up have changed places"),
            (lambda x, g, u, d: gated(x, g, u, d, torch.sigmoid), "the older GLU"),
            (lambda x, g, u, d: gated(x, g, u, d, F.gelu), "that is GEGLU"),
            (lambda x, g, u, d: gated(x, g, u, d, torch.relu), "that is ReGLU"),
            (
                lambda x, g, u, d: F.silu((x @ g.T) * (x @ u.T)) @ d.T,
                "the silu was taken of the product",
            ),
            (lambda x, g, u, d: (F.silu(x @ g.T) * F.silu(x @ u.T)) @ d.T, "both halves are bent"),
            (lambda x, g, u, d: (F.silu(x @ g.T) + x @ u.T) @ d.T, "A gate multiplies"),
            (lambda x, g, u, d: gated(x, g, u, d, lambda y: y), "nothing is bent"),
            (lambda x, g, u, d: F.silu(x @ g.T) * (x @ u.T), "written back to the stream"),
            (lambda x, g, u, d: (F.silu(x @ g) * (x @ u)) @ d, "the wrong way round"),
        ],
    ),
    check.neuron_credit: Case(
        solution=lambda hidden, W, v: hidden * (v @ W),
        skeleton=skeleton_3,
        also_right=[lambda hidden, W, v: ((W * hidden).T * v).sum(1)],
        wrong=[
            (lambda hidden, W, v: hidden * (W @ v), "you used the rows of W_down"),
            (lambda hidden, W, v: v @ W, "all fire by 1"),
            (lambda hidden, W, v: v @ (W @ hidden), "the sum over all neurons"),
            (lambda hidden, W, v: (hidden * (v @ W)).abs(), "the signs are lost"),
            (lambda hidden, W, v: (W @ hidden) * v, "one number per channel"),
            (lambda hidden, W, v: (hidden * (v @ W)).softmax(-1), "a softmax was taken"),
            (lambda hidden, W, v: (c := hidden * (v @ W)) / c.sum(), "you divided by the sum"),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
