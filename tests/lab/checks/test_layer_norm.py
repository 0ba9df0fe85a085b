"""The checkers of lesson 05: right answers in several forms, and the wrong ones that people
write."""

import functools

import numpy as np
import torch
import torch.nn.functional as F

from course_lib.lab.checks import layer_norm as check
from course_lib.lab.solutions import layer_norm as solutions
from tests.lab.checks.answers import layer_norm as slips
from tests.lab.checks.cases import Case, tests_of

torch.func.vjp(torch.sin, torch.ones(1))  # imports what torch.func needs, outside of any clock


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


def ln_by_var_mean(x, weight, bias, eps):
    variance, middle = torch.var_mean(x.double(), -1, correction=0, keepdim=True)
    return torch.addcmul(bias.double(), (x - middle) * torch.rsqrt(variance + eps), weight.double())


def ln_by_einsum(x, weight, bias, eps):
    centred = x - torch.einsum("...c->...", x)[..., None] / x.shape[-1]
    variance = torch.einsum("...c,...c->...", centred, centred)[..., None] / x.shape[-1]
    return centred / (variance + eps) ** 0.5 * weight + bias


def ln_torch(x, weight, bias, eps):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def ln_torch_module(x, weight, bias, eps):
    norm = torch.nn.LayerNorm(x.shape[-1], eps=eps)
    norm.load_state_dict({"weight": weight, "bias": bias})
    return norm(x)


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


def ln_changed_places(x, weight, bias, eps):
    return ln(x, bias, weight, eps)


def ln_first_four(x, weight, bias, eps):
    return torch.cat([ln(x[..., :4], weight[:4], bias[:4], eps), x[..., 4:]], -1)


def ln_weight_before(x, weight, bias, eps):
    return ln(x * weight + bias, 1, 0, eps)


# Exercise 2
# --------------------------------------------------------------------------------------------------


def ahead(norm, x):
    other = x.clone()
    other[-1] = torch.randn(x.shape[-1], generator=torch.Generator().manual_seed(1))
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1], atol=1e-4)


def ahead_by_jacobian(norm, x):
    gradients = torch.autograd.functional.jacobian(norm, x)[:-1, :, -1]
    return bool((gradients.abs() > 1e-4).any())


def ahead_by_jacrev(norm, x):
    return (torch.func.jacrev(norm)(x)[:-1, :, -1].abs() > 1e-4).any()


def ahead_by_numpy(norm, x):
    other = torch.cat([x[:-1], torch.tensor([[9.0, -4, 2, 0.5]])])
    return not np.allclose(norm(x).numpy()[:-1], norm(other).numpy()[:-1], atol=1e-4)


def ahead_with(change, rows=slice(None, -1), atol=1e-4):
    """Compare some rows after a change of a copy of x."""

    def answer(norm, x):
        other = x.clone()
        change(other)
        return not torch.allclose(norm(x)[rows], norm(other)[rows], atol=atol)

    return answer


def new_row(x, t=-1):
    x[t] = torch.tensor([9.0, -4, 2, 0.5])


def add_to_row(x, what=10.0):
    x[-1] += what


def scale_row(x, by=10.0):
    x[-1] *= by


def one_channel(channel, by=5.0):
    def change(x):
        x[-1, channel] += by

    return change


def ahead_in_place(norm, x):
    other = x
    new_row(other)
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1])


def ahead_exactly(norm, x):
    other = x.clone()
    new_row(other)
    return not torch.equal(norm(x)[:-1], norm(other)[:-1])


def ahead_loose(norm, x):
    other = x.clone()
    new_row(other)
    return bool((norm(x)[:-1] - norm(other)[:-1]).abs().amax() > 0.1) if len(x) > 1 else False


def ahead_of_one(norm, x):
    return ahead(norm, x) if len(x) > 1 else True


def looks_back(norm, x):
    other = x.clone()
    new_row(other, 0)
    return not torch.allclose(norm(x)[1:], norm(other)[1:])


def ahead_reversed(norm, x):
    return not ahead(norm, x)


# Exercise 3
# --------------------------------------------------------------------------------------------------


def rms(x, weight, eps):
    return x * torch.rsqrt(mean(x * x) + eps) * weight


def rms_by_length(x, weight, eps):
    return x / (x.norm(dim=-1, keepdim=True) ** 2 / x.shape[-1] + eps) ** 0.5 * weight


def rms_torch(x, weight, eps):
    return F.rms_norm(x, x.shape[-1:], weight, eps)


def rms_weight_before(x, weight, eps):
    return rms(x * weight, 1, eps)


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


def back_by_vjp(g, x):
    return torch.func.vjp(lambda x: x / split(x)[0], x)[1](g)[0]


def back_without_y(g, x):
    r, y = split(x)
    return (g - mean(g * y)) / r


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

    def residual_stack(x, layers, norm, placement):
        step = {"none": none, "post": post, "pre": pre}[placement]
        for f in layers:
            x = step(x, f, norm)
        return norm(x) if placement in last else x

    return residual_stack


def none(x, f, norm):
    return x + f(x)


def post(x, f, norm):
    return norm(x + f(x))


def pre(x, f, norm):
    return x + f(norm(x))


def recursive(x, layers, norm, placement):
    if not layers:
        return norm(x) if placement == "pre" else x
    new = x + layers[0](norm(x) if placement == "pre" else x)
    return recursive(norm(new) if placement == "post" else new, layers[1:], norm, placement)


def by_match(x, layers, norm, placement):
    match placement:
        case "none":
            return functools.reduce(lambda x, f: x.add(f(x)), layers, x)
        case "post":
            return functools.reduce(lambda x, f: norm(torch.add(f(x), x)), layers, x)
    return norm(functools.reduce(lambda x, f: f(norm(x)) + x, layers, x))


def returns_early(x, layers, norm, placement):
    for f in layers:
        return none(x, f, norm)
    return x


def only_two(x, layers, norm, placement):
    return recursive(x, layers[:2], norm, placement)


def backwards(x, layers, norm, placement):
    return recursive(x, layers[::-1], norm, placement)


def never_without_a_norm(x, layers, norm, placement):
    return recursive(x, layers, norm, placement) if layers else norm(x)


def post_again_if_any(x, layers, norm, placement):
    out = slips.stack_reduced(x, layers, norm, placement)
    return norm(out) if layers and placement == "post" else out


def normed_when_empty(x, layers, norm, placement):
    return slips.stack_reduced(x, layers, norm, placement) if layers else norm(x)


CASES = {
    check.layer_norm: Case(
        solution=ln,
        skeleton=skeleton,
        also_right=[ln_by_loop, ln_by_var_mean, ln_by_einsum, solutions.layer_norm_solution],
        wrong=[
            (slips.layer_norm_of_raw_squares, "mean square of what is centred"),
            (ln_sample, "divided by C - 1"),
            (ln_axis(0), "axis 0, the batch"),
            (ln_axis(-2), "over the tokens"),
            (ln_axis(0, 1, 2), "whole tensor"),
            (ln_no_keepdim, "beside the wrong numbers"),
            (ln_by_variance, "divided by the variance"),
            (ln_only_centred, "do not divide by the standard deviation"),
            (ln_not_centred, "the mean is still there"),
            (ln_eps_outside, "added to the standard deviation"),
            (ln_no_eps, "was handed in is not used"),
            (ln_own_eps, "or an eps of your own is"),
            (ln_plain, "weight and bias are not used"),
            (ln_no_bias, "the bias is not used"),
            (ln_no_weight, "the weight is not used"),
            (ln_bias_first, "first the weight"),
            (ln_weight_before, "come after the norm"),
            (ln_changed_places, "had changed places"),
            (ln_first_four, "the norm of a tensor of shape (5,)"),
            (lambda x, weight, bias, eps: rms(x, weight, eps) + bias, "that is RMSNorm"),
            (ln_torch, "that is torch's own"),
            (ln_torch_module, "that is torch's own"),
        ],
    ),
    check.looks_ahead: Case(
        solution=ahead,
        skeleton=skeleton,
        also_right=[
            ahead_by_jacobian,
            ahead_by_jacrev,
            ahead_by_numpy,
            solutions.looks_ahead_solution,
        ],
        wrong=[
            (slips.looks_ahead_coarse, "the tokens [0, 1, 2, 3] did move"),
            (slips.looks_ahead_first_token, "the tokens [3] did move"),
            (slips.looks_ahead_not_alone, "A single token has no earlier one"),
            (ahead_with(new_row, rows=slice(None)), "compare the others only"),
            (ahead_with(lambda x: x.copy_(x.flip(-1))), "changed the tokens [0, 1, 2, 3, 4]"),
            (ahead_with(lambda x: new_row(x, 0)), "changed the tokens [0]"),
            (ahead_in_place, "x.clone()"),
            (lambda norm, x: True, "never called `norm`"),
            (lambda norm, x: False, "never called `norm`"),
            (ahead_with(add_to_row), "subtracts each token's mean"),
            (ahead_with(scale_row), "brings each token to length 1"),
            (ahead_with(lambda x: scale_row(x, -1.0)), "divides by the RMS"),
            (ahead_with(new_row, rows=0), "Only the token before the last"),
            (ahead_with(one_channel(0)), "channel 1 alone"),
            (ahead_with(one_channel(3)), "channel 0 alone"),
            (ahead_loose, "leaks only a little"),
            (looks_back, "changed the tokens [0]"),
            (ahead_reversed, "the wrong way round"),
            (ahead_exactly, "That is rounding"),
            (ahead_of_one, "for a single token"),
            (lambda norm, x: norm(x), "Return True or False"),
        ],
    ),
    check.rms_norm: Case(
        solution=rms,
        skeleton=skeleton,
        also_right=[rms_by_length, lambda x, w, eps: rms(x.double(), w, eps)],
        wrong=[
            (rms_centred, "that is LayerNorm"),
            (rms_by_deviation, "measured from the mean"),
            (rms_no_root, "divided by the mean square"),
            (rms_axis(-2), "over the tokens"),
            (rms_weight_before, "the weight comes after"),
            (rms_torch, "that is torch's own"),
            (rms_sum, "shrink as C grows"),
            (rms_absolute, "absolute values"),
            (rms_axis(0), "axis 0, the batch"),
            (rms_axis((0, 1, 2)), "one RMS for the whole"),
            (rms_no_keepdim, "numbers differ"),
            (rms_eps_outside, "added to the RMS"),
            (rms_no_eps, "was handed in is not used"),
            (rms_own_eps, "or an eps of your own is"),
            (rms_no_weight, "the weight is not used"),
        ],
    ),
    check.rms_norm_backward: Case(
        solution=back,
        skeleton=skeleton,
        also_right=[back_by_matrix, back_by_vjp],
        wrong=[
            (slips.rms_backward_of_length, "by the length of x"),
            (slips.rms_backward_mean_of_g, "the mean of g alone"),
            (back_fixed_size, "a fixed number"),
            (back_layer_norm, "LayerNorm's formula"),
            (back_undivided, "r times smaller"),
            (back_sum, "out C times"),
            (back_x_for_y, "you used x where y belongs"),
            (back_sign, "wrong sign"),
            (back_multiplied, "you multiplied by the RMS"),
            (back_without_y, "without its y"),
            (back_one_mean, "one mean over all vectors"),
        ],
    ),
    check.residual_stack: Case(
        solution=stack(none, post, pre),
        skeleton=skeleton,
        also_right=[
            recursive,
            by_match,
            lambda x, layers, *rest: recursive(x, tuple(layers), *rest),
        ],
        wrong=[
            (slips.stack_norms_post_again, "post: the result is normed twice"),
            (slips.stack_empty_is_x, '"pre": the last norm is missing'),
            (slips.stack_all_read_x, "each layer reads the first x"),
            (post_again_if_any, "normed twice"),
            (normed_when_empty, '"none": x comes back normed'),
            (stack(lambda x, f, norm: f(x), post, pre), "none: the stream is lost"),
            (stack(none, post, pre, last=("none", "pre")), "belongs to `pre` alone"),
            (returns_early, "`return` in the loop"),
            (only_two, "three layers"),
            (backwards, "the wrong order"),
            (never_without_a_norm, '0 layers, placement "none"'),
            (stack(none, post, none), "read the stream itself"),
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
