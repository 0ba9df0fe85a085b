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


# Gradients of an MLP
# --------------------------------------------------------------------------------------------------


def gradients(x, W_up, W_down, grad_output, gate=lambda h: h > 0, act=torch.relu):
    pre_activation = x @ W_up.T
    grad_hidden = (grad_output @ W_down) * gate(pre_activation.relu())
    return grad_hidden.T @ x, grad_output.T @ act(pre_activation)


def by_autograd(x, W_up, W_down, grad_output):
    weights = [W_up.clone().requires_grad_(), W_down.clone().requires_grad_()]
    output = F.linear(F.linear(x, weights[0]).relu(), weights[1])
    return torch.autograd.grad(output, weights, grad_output)


def by_einsum(x, W_up, W_down, grad_output):
    hidden = torch.einsum("tc,fc->tf", x, W_up).clamp(min=0)
    back = torch.einsum("tc,cf->tf", grad_output, W_down).where(hidden > 0, torch.tensor(0.0))
    return [torch.einsum("tf,tc->fc", back, x), torch.einsum("tc,tf->cf", grad_output, hidden)]


def by_loop(x, W_up, W_down, grad_output):
    grad_up, grad_down = torch.zeros_like(W_up), torch.zeros_like(W_down)
    for token, grad in zip(x, grad_output, strict=True):
        hidden = (W_up @ token).relu()
        grad_down += torch.outer(grad, hidden)
        grad_up += torch.outer((W_down.T @ grad) * hidden.sign(), token)
    return grad_up, grad_down


def at_zero_too(x, W_up, W_down, grad_output):
    grad_hidden = (grad_output @ W_down) * (x @ W_up.T >= 0)
    return grad_hidden.T @ x, grad_output.T @ (x @ W_up.T).relu()


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
            (lambda k, v: (k.T, -torch.ones(len(k)), v.T), "up has shape (6, 4): transpose it"),
            (lambda k, v: (k, -torch.ones(len(k)), v), "down has shape (4, 5): transpose it"),
            (lambda k, v: (k, torch.zeros(len(k)), v.T), "above 0 also for a key that shares only"),
            (lambda k, v: facts(k, v, -0.5), "above 0 also for a key that shares only"),
            (lambda k, v: facts(k, v, -2.0), "no neuron is above 0"),
            (lambda k, v: facts(k, v, -1.5), "but 0.5 times as large"),
            (lambda k, v: (k, -torch.ones(6), v.T), "bias has shape (6,)"),
            (
                lambda k, v: (2 * k, -torch.ones(len(k)), v.T / 3),
                "above 0 also for a key that shares only",
            ),
            (lambda k, v: facts(k, v.flip(0)), "what the four keys recall"),
            (leaky, "pairs that are no facts"),
            (lambda k, v: facts(k, v) if len(k) > 1 else facts(k, 2 * v), "a memory of one fact"),
            (lambda k, v: (k, -torch.ones(4), v.T), "bias has shape (4,), expected (1,)"),
            (lambda k, v: (k, -torch.full((len(k),), torch.inf), v.T), "infinite or NaN"),
        ],
    ),
    check.mlp_gradients: Case(
        solution=gradients,
        skeleton=skeleton_4,
        also_right=[by_autograd, by_einsum, by_loop],
        wrong=[
            (lambda *a: gradients(*a)[0], "return two gradients"),
            (lambda *a: gradients(*a)[::-1], "the two gradients have changed places"),
            (lambda *a: gradients(*a, gate=lambda h: 1), "ignores ReLU"),
            (lambda *a: gradients(*a, gate=lambda h: h == 0), "upside down"),
            (lambda *a: gradients(*a, gate=lambda h: h), "multiplied by the activation"),
            (lambda *a: gradients(*a, act=lambda h: h), "uses the pre-activations"),
            (lambda *a: gradients(*a, act=lambda h: (h > 0).float()), "uses ReLU's gradient"),
            (lambda x, u, d, g: gradients(x, u, d.mT, g), "is transposed on the way back"),
            (lambda *a: (gradients(*a)[0], gradients(*a)[1] / len(a[0])), "of W_down is divided"),
            (lambda *a: (gradients(*a)[0] / len(a[0]), gradients(*a)[1]), "of W_up is divided"),
            (lambda *a: (gradients(*a)[0].mT, gradients(*a)[1]), "of W_up is transposed"),
            (lambda *a: (gradients(*a)[0], gradients(*a)[1].mT), "of W_down is transposed"),
            (lambda x, u, d, g: (gradients(x, u, d, g)[0], torch.ones_like(d)), "W_down for 5"),
            (at_zero_too, "exactly 0"),
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
            (
                lambda x, g, u, d: (F.silu(x @ g.T) * F.silu(x @ u.T)) @ d.T,
                "both halves go through silu",
            ),
            (lambda x, g, u, d: (F.silu(x @ g.T) + x @ u.T) @ d.T, "A gate multiplies"),
            (lambda x, g, u, d: gated(x, g, u, d, lambda y: y), "there is no activation function"),
            (lambda x, g, u, d: F.silu(x @ g.T) * (x @ u.T), "written back to the residual stream"),
            (lambda x, g, u, d: (F.silu(x @ g) * (x @ u)) @ d, "not transposed"),
        ],
    ),
    check.direct_logit_attribution: Case(
        solution=lambda hidden, W, v: hidden * (v @ W),
        skeleton=skeleton_3,
        also_right=[lambda hidden, W, v: ((W * hidden).T * v).sum(1)],
        wrong=[
            (lambda hidden, W, v: hidden * (W @ v), "you used the rows of W_down"),
            (lambda hidden, W, v: v @ W, "neurons whose activation is 1"),
            (lambda hidden, W, v: v @ (W @ hidden), "the sum over all neurons"),
            (lambda hidden, W, v: (hidden * (v @ W)).abs(), "the signs are lost"),
            (lambda hidden, W, v: (W @ hidden) * v, "one number per channel"),
            (lambda hidden, W, v: (hidden * (v @ W)).softmax(-1), "a softmax was taken"),
            (lambda hidden, W, v: (c := hidden * (v @ W)) / c.sum(), "you divided by the sum"),
        ],
    ),
}

test_checkers = tests_of(check, CASES)
