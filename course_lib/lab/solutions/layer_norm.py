"""Solutions of lesson 05; the notebook quotes them."""

import torch


def layer_norm_solution(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)
    return centred / (variance + eps).sqrt() * weight + bias


def looks_ahead_solution(norm, x):
    other = x.clone()
    other[-1] = torch.randn(x.shape[1])
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=1e-4)


def rms_norm_solution(x, weight, eps):
    return x / ((x**2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rms_norm_backward_solution(g, x):
    r = (x**2).mean(-1, keepdim=True).sqrt()
    y = x / r
    return (g - y * (g * y).mean(-1, keepdim=True)) / r


def residual_stack_solution(x, layers, norm, placement):
    for f in layers:
        if placement == "none":
            x = x + f(x)
        elif placement == "post":
            x = norm(x + f(x))
        else:
            x = x + f(norm(x))
    return norm(x) if placement == "pre" else x
