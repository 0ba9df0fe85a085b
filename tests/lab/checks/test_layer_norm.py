"""The checkers of lesson 05: right answers in several forms, and the wrong ones that people
write."""

import torch
import torch.nn.functional as F

from course_lib.lab.checks import layer_norm as check
from tests.lab.checks.cases import Case, tests_of


def skeleton(*args): ...


def mean(t, axis=-1):
    return t.mean(axis, keepdim=True)


# Exercise 1
# --------------------------------------------------------------------------------------------------


def ln(x, weight, bias, eps):
    centred = x - mean(x)
    return centred / (mean(centred**2) + eps).sqrt() * weight + bias


def ln_by_loop(x, weight, bias, eps):
    out = torch.empty_like(x)
    for place in torch.ones(x.shape[:-1]).nonzero().tolist():
        row = x[tuple(place)]
        out[tuple(place)] = (row - row.mean()) * (
            row.var(correction=0) + eps
        ) ** -0.5 * weight + bias
    return out


def ln_torch(x, weight, bias, eps):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def ln_sample(x, weight, bias, eps):
    return (x - mean(x)) / (x.var(-1, keepdim=True) + eps).sqrt() * weight + bias


def ln_axis(*axes):
    def norm(x, weight, bias, eps):
        return (x - x.mean(axes, True)) / (
            x.var(axes, correction=0, keepdim=True) + eps
        ).sqrt() * weight + bias

    return norm


def ln_no_keepdim(x, weight, bias, eps):
    return (x - x.mean(-1)[:, None]) / (
        x.var(-1, correction=0)[:, None] + eps
    ).sqrt() * weight + bias


def ln_by_variance(x, weight, bias, eps):
    return (x - mean(x)) / (x.var(-1, correction=0, keepdim=True) + eps) * weight + bias


def ln_only_centred(x, weight, bias, eps):
    return (x - mean(x)) * weight + bias


def ln_not_centred(x, weight, bias, eps):
    return x / (x.var(-1, correction=0, keepdim=True) + eps).sqrt() * weight + bias


def ln_eps_outside(x, weight, bias, eps):
    return (x - mean(x)) / (x.std(-1, correction=0, keepdim=True) + eps) * weight + bias


def ln_no_eps(x, weight, bias, eps):
    return ln(x, weight, bias, 0)


def ln_own_eps(x, weight, bias, eps):
    return ln(x, weight, bias, 1e-5)


def ln_plain(x, weight, bias, eps):
    return ln(x, 1, 0, eps)


def ln_no_bias(x, weight, bias, eps):
    return ln(x, weight, 0, eps)


def ln_no_weight(x, weight, bias, eps):
    return ln(x, 1, bias, eps)


def ln_bias_first(x, weight, bias, eps):
    return ln(x, 1, bias, eps) * weight


def ln_weight_before(x, weight, bias, eps):
    return ln(x * weight + bias, 1, 0, eps)


# Exercise 2
# --------------------------------------------------------------------------------------------------


def ahead(norm, x):
    other = x.clone()
    other[-1] = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(1))
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1])


def ahead_by_slopes(norm, x):
    slopes = torch.autograd.functional.jacobian(norm, x)[:-1, :, -1]
    return bool(slopes.abs().max() > 1e-6)


def ahead_compares_all(norm, x):
    other = x.clone()
    other[-1] = torch.arange(4.0) ** 2
    return not torch.allclose(norm(x), norm(other))


def ahead_changes_all(norm, x):
    return not torch.allclose(norm(x)[:-1], norm(x.flip(-1))[:-1])


def ahead_in_place(norm, x):
    other = x
    other[-1] = torch.arange(4.0) ** 2
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1])


def ahead_by_shift(norm, x):
    other = x.clone()
    other[-1] += 10
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=1e-4)


def ahead_by_stretch(norm, x):
    other = x.clone()
    other[-1] *= 10
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=1e-4)


def looks_back(norm, x):
    other = x.clone()
    other[0] = torch.arange(4.0) ** 2
    return not torch.allclose(norm(x)[1:], norm(other)[1:])


def ahead_reversed(norm, x):
    return not ahead(norm, x)


# Exercise 3
# --------------------------------------------------------------------------------------------------


def rms(x, weight, eps):
    return x * torch.rsqrt(mean(x * x) + eps) * weight


def rms_by_length(x, weight, eps):
    return x / (x.norm(dim=-1, keepdim=True) ** 2 / x.shape[-1] + eps) ** 0.5 * weight


def rms_centred(x, weight, eps):
    return ln(x, weight, 0, eps)


def rms_by_deviation(x, weight, eps):
    return x / (x.var(-1, correction=0, keepdim=True) + eps).sqrt() * weight


def rms_no_root(x, weight, eps):
    return x / (mean(x**2) + eps) * weight


def rms_sum(x, weight, eps):
    return x / ((x**2).sum(-1, keepdim=True) + eps).sqrt() * weight


def rms_absolute(x, weight, eps):
    return x / (mean(x.abs()) + eps) * weight


def rms_axis(axis):
    return lambda x, weight, eps: x / ((x**2).mean(axis, keepdim=True) + eps).sqrt() * weight


def rms_no_keepdim(x, weight, eps):
    return x / ((x**2).mean(-1)[:, None] + eps).sqrt() * weight


def rms_eps_outside(x, weight, eps):
    return x / (mean(x**2).sqrt() + eps) * weight


def rms_no_eps(x, weight, eps):
    return x / mean(x**2).sqrt() * weight


def rms_own_eps(x, weight, eps):
    return rms(x, weight, 1e-6)


def rms_no_weight(x, weight, eps):
    return rms(x, 1, eps)


# Exercise 4
# --------------------------------------------------------------------------------------------------


def split(x):
    r = mean(x**2).sqrt()
    return r, x / r


def back(g, x):
    r, y = split(x)
    return (g - y * mean(g * y)) / r


def back_by_matrix(g, x):
    r, y = split(x)
    C = x.shape[-1]
    jacobian = (torch.eye(C, dtype=x.dtype) - y[..., :, None] * y[..., None, :] / C) / r[..., None]
    return torch.einsum("...i,...ij->...j", g, jacobian)


def back_fixed_size(g, x):
    return g / split(x)[0]


def back_layer_norm(g, x):
    r, y = split(x)
    return (g - mean(g) - y * mean(g * y)) / r


def back_undivided(g, x):
    r, y = split(x)
    return g - y * mean(g * y)


def back_sum(g, x):
    r, y = split(x)
    return (g - y * (g * y).sum(-1, keepdim=True)) / r


def back_x_for_y(g, x):
    return (g - x * mean(g * x)) / split(x)[0]


def back_sign(g, x):
    r, y = split(x)
    return (g + y * mean(g * y)) / r


def back_multiplied(g, x):
    r, y = split(x)
    return (g - y * mean(g * y)) * r


def back_one_mean(g, x):
    r, y = split(x)
    return (g - y * (g * y).mean()) / r


# Exercise 5
# --------------------------------------------------------------------------------------------------


def stack(none, post, pre, last=("pre",)):
    """Make an answer from what it does with one layer in each arrangement, and where it norms at
    the end."""

    def through(x, layers, norm, place):
        step = {"none": none, "post": post, "pre": pre}[place]
        for f in layers:
            x = step(x, f, norm)
        return norm(x) if place in last else x

    return through


def none(x, f, norm):
    return x + f(x)


def post(x, f, norm):
    return norm(x + f(x))


def pre(x, f, norm):
    return x + f(norm(x))


def recursive(x, layers, norm, place):
    if not layers:
        return norm(x) if place == "pre" else x
    new = x + layers[0](norm(x) if place == "pre" else x)
    return recursive(norm(new) if place == "post" else new, layers[1:], norm, place)


def returns_early(x, layers, norm, place):
    for f in layers:
        return none(x, f, norm)


CASES = {
    check.layer_norm: Case(
        solution=ln,
        skeleton=skeleton,
        also_right=[ln_by_loop, ln_torch],
        wrong=[
            (ln_sample, "divided by C - 1"),
            (ln_axis(0), "axis 0, the batch"),
            (ln_axis(-2), "over the tokens"),
            (ln_axis(0, 1, 2), "whole tensor"),
            (ln_no_keepdim, "beside the wrong numbers"),
            (ln_by_variance, "divided by the variance"),
            (ln_only_centred, "divide by the deviation"),
            (ln_not_centred, "the mean is still there"),
            (ln_eps_outside, "under the root"),
            (ln_no_eps, "was handed in is not used"),
            (ln_own_eps, "or an eps of your own is"),
            (ln_plain, "weight and bias are not used"),
            (ln_no_bias, "the bias is not used"),
            (ln_no_weight, "the weight is not used"),
            (ln_bias_first, "first the weight"),
            (ln_weight_before, "come after the norm"),
        ],
    ),
    check.looks_ahead: Case(
        solution=ahead,
        skeleton=skeleton,
        also_right=[ahead_by_slopes],
        wrong=[
            (ahead_compares_all, "or compare it too"),
            (ahead_changes_all, "change more than the last token"),
            (ahead_in_place, "x.clone()"),
            (ahead_by_shift, "subtracts each token's mean"),
            (ahead_by_stretch, "brings each token to length 1"),
            (looks_back, "looks at the past only"),
            (ahead_reversed, "where nothing changed"),
        ],
    ),
    check.rms_norm: Case(
        solution=rms,
        skeleton=skeleton,
        also_right=[rms_by_length],
        wrong=[
            (rms_centred, "that is LayerNorm"),
            (rms_by_deviation, "measured from the mean"),
            (rms_no_root, "divided by the mean square"),
            (rms_sum, "shrink as C grows"),
            (rms_absolute, "absolute values"),
            (rms_axis(0), "axis 0, the batch"),
            (rms_axis((0, 1, 2)), "one size for the whole"),
            (rms_no_keepdim, "beside the wrong numbers"),
            (rms_eps_outside, "under the root"),
            (rms_no_eps, "was handed in is not used"),
            (rms_own_eps, "or an eps of your own is"),
            (rms_no_weight, "the weight is not used"),
        ],
    ),
    check.rms_norm_backward: Case(
        solution=back,
        skeleton=skeleton,
        also_right=[back_by_matrix],
        wrong=[
            (back_fixed_size, "a fixed number"),
            (back_layer_norm, "LayerNorm's formula"),
            (back_undivided, "r times smaller"),
            (back_sum, "out C times"),
            (back_x_for_y, "you used x where y belongs"),
            (back_sign, "wrong sign"),
            (back_multiplied, "you multiplied by the size"),
            (back_one_mean, "one mean over all vectors"),
        ],
    ),
    check.through: Case(
        solution=stack(none, post, pre),
        skeleton=skeleton,
        also_right=[recursive],
        wrong=[
            (stack(lambda x, f, norm: f(x), post, pre), "none: the stream is lost"),
            (stack(none, post, pre, last=("none", "pre")), "belongs to `pre` alone"),
            (returns_early, "inside the loop"),
            (stack(none, lambda x, f, norm: x + norm(f(x)), pre), "takes the *sum*"),
            (stack(none, lambda x, f, norm: norm(f(x)), pre), "post: the stream is lost"),
            (stack(none, none, pre, last=("post", "pre")), "normed once, at the end"),
            (stack(none, pre, post, last=("post",)), "what `pre` does"),
            (stack(none, none, pre), "post: there is no norm"),
            (stack(none, post, pre, last=()), "the last norm is missing"),
            (
                stack(none, post, lambda x, f, norm: norm(x) + f(norm(x))),
                "normed the stream itself",
            ),
            (
                stack(none, post, lambda x, f, norm: norm(x) + f(norm(x)), last=()),
                "normed the stream itself",
            ),
            (stack(none, post, lambda x, f, norm: f(norm(x))), "pre: the stream is lost"),
            (stack(none, post, post, last=()), "what `post` does"),
            (stack(none, post, none, last=()), "pre: there is no norm"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
