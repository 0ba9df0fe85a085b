"""Answers to the exercises of lesson 05, from their statements alone."""

import functools

import torch

from tests.lab.checks.answers.table import Answers, Slip


def layer_norm_var_mean(x, weight, bias, eps):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(bias, (x - mean) * torch.rsqrt(variance + eps), weight)


def layer_norm_by_vector(x, weight, bias, eps):
    def normed(v):
        centred = v - v.sum() / len(v)
        return centred / (centred @ centred / len(v) + eps) ** 0.5 * weight + bias

    return torch.stack([normed(v) for v in x.reshape(-1, x.shape[-1])]).reshape(x.shape)


def layer_norm_einsum(x, weight, bias, eps):
    x = x.double()
    centred = x - x.sum(-1, keepdim=True) / x.shape[-1]
    variance = torch.einsum("...c,...c->...", centred, centred) / x.shape[-1]
    return (
        torch.einsum("...c,...,c->...c", centred, (variance + eps) ** -0.5, weight.double()) + bias
    )


def layer_norm_of_sample(x, weight, bias, eps):
    variance = x.var(-1, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / (variance + eps).sqrt() * weight + bias


def layer_norm_eps_outside(x, weight, bias, eps):
    std = x.std(-1, keepdim=True, correction=0)
    return (x - x.mean(-1, keepdim=True)) / (std + eps) * weight + bias


def layer_norm_without_eps(x, weight, bias, eps):
    std = x.std(-1, keepdim=True, correction=0)
    return (x - x.mean(-1, keepdim=True)) / std * weight + bias


def layer_norm_of_everything(x, weight, bias, eps):
    centred = x - x.mean()
    return centred / ((centred**2).mean() + eps).sqrt() * weight + bias


def layer_norm_axis_1(x, weight, bias, eps):
    axis = min(1, x.ndim - 1)
    centred = x - x.mean(axis, keepdim=True)
    return centred / ((centred**2).mean(axis, keepdim=True) + eps).sqrt() * weight + bias


def layer_norm_bias_first(x, weight, bias, eps):
    ones, zeros = torch.ones_like(weight), torch.zeros_like(bias)
    return (layer_norm_var_mean(x, ones, zeros, eps) + bias) * weight


def layer_norm_in_place(x, weight, bias, eps):
    x -= x.mean(-1, keepdim=True)
    return x / ((x**2).mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def layer_norm_of_variance(x, weight, bias, eps):
    variance = x.var(-1, keepdim=True, correction=0)
    return (x - x.mean(-1, keepdim=True)) / (variance + eps) * weight + bias


def layer_norm_of_raw_squares(x, weight, bias, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((x**2).mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def layer_norm_axis_lost(x, weight, bias, eps):
    centred = x - x.mean(-1)
    return centred / ((centred**2).mean(-1) + eps).sqrt() * weight + bias


def far_rows(x, sizes=(1.0, 30.0, 1000.0)):
    rng = torch.Generator().manual_seed(7)
    for size in sizes:
        yield size * torch.randn(x.shape[1], generator=rng).to(x.dtype)


def with_last(x, row):
    return torch.cat([x[:-1], row[None].to(x.dtype)])


def sees(norm, x, other, allowed=1e-4):
    return any(
        bool((a - b).abs().max() > allowed)
        for a, b in zip(norm(x)[:-1], norm(other)[:-1], strict=True)
    )


def looks_ahead_any(norm, x):
    return any(sees(norm, x, with_last(x, row)) for row in far_rows(x))


def looks_ahead_allclose(norm, x):
    other = x.clone()
    other[-1] = 20 * torch.randn(x.shape[1])
    return not torch.allclose(norm(x)[:-1], norm(other)[:-1], rtol=0, atol=5e-5)


class LooksAheadInLists:
    def __call__(self, norm, x):
        before = norm(x.clone()).tolist()[:-1]
        for row in far_rows(x, (3.0, 50.0)):
            after = norm(with_last(x, row)).tolist()[:-1]
            pairs = (
                pair
                for old, new in zip(before, after, strict=True)
                for pair in zip(old, new, strict=True)
            )
            if max((abs(a - b) for a, b in pairs), default=0) > 1e-4:
                return True
        return False


def looks_ahead_shift(norm, x):
    return sees(norm, x, with_last(x, x[-1] + 10))


def looks_ahead_scale(norm, x):
    return sees(norm, x, with_last(x, 10 * x[-1]))


def looks_ahead_sign(norm, x):
    return sees(norm, x, with_last(x, -x[-1]))


def looks_ahead_with_last(norm, x):
    return any(
        not torch.allclose(norm(x), norm(with_last(x, row)), atol=1e-4) for row in far_rows(x)
    )


def looks_ahead_exact(norm, x):
    return any(not torch.equal(norm(x)[:-1], norm(with_last(x, row))[:-1]) for row in far_rows(x))


def looks_ahead_one_channel(norm, x):
    row = x[-1].clone()
    row[0] += 25
    return sees(norm, x, with_last(x, row))


def looks_ahead_first_token(norm, x):
    if len(x) < 2:
        return False
    return any(sees(lambda y: norm(y)[[0, -1]], x, with_last(x, row)) for row in far_rows(x))


def looks_ahead_alias(norm, x):
    other = x
    other[-1] = 20 * torch.randn(x.shape[1])
    return sees(norm, x, other)


def looks_ahead_not_alone(norm, x):
    other = with_last(x, 20 * torch.randn(x.shape[1]))
    return bool((norm(x)[:-1] - norm(other)[:-1]).abs().max() > 1e-4)


def looks_ahead_swapped(norm, x):
    return not looks_ahead_any(norm, x)


def looks_ahead_coarse(norm, x):
    return any(sees(norm, x, with_last(x, row), 0.1) for row in far_rows(x, (1.0,)))


def rms_norm_einsum(x, weight, eps):
    squares = torch.einsum("...c,...c->...", x, x) / x.shape[-1]
    return torch.einsum("...c,...,c->...c", x, (squares + eps).rsqrt(), weight)


def rms_norm_by_length(x, weight, eps):
    x = x.double()
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return weight * x / torch.sqrt(length**2 / x.shape[-1] + eps)


def rms_norm_by_vector(x, weight, eps):
    if x.ndim > 1:
        return torch.stack([rms_norm_by_vector(part, weight, eps) for part in x])
    rms = (sum(number**2 for number in x) / len(x) + eps) ** 0.5
    return torch.stack([number / rms * w for number, w in zip(x, weight, strict=True)])


def rms_norm_centred(x, weight, eps):
    centred = x - x.mean(-1, keepdim=True)
    return centred / ((centred**2).mean(-1, keepdim=True) + eps).sqrt() * weight


def rms_norm_eps_outside(x, weight, eps):
    return x / ((x**2).mean(-1, keepdim=True).sqrt() + eps) * weight


def rms_norm_without_eps(x, weight, eps):
    return x / (x**2).mean(-1, keepdim=True).sqrt() * weight


def rms_norm_of_length(x, weight, eps):
    return x / ((x**2).sum(-1, keepdim=True) + eps).sqrt() * weight


def rms_norm_in_place(x, weight, eps):
    x /= ((x**2).mean(-1, keepdim=True) + eps).sqrt()
    return x * weight


def rms_norm_without_root(x, weight, eps):
    return x / ((x**2).mean(-1, keepdim=True) + eps) * weight


def rms_norm_axis_0(x, weight, eps):
    return x / ((x**2).mean(0, keepdim=True) + eps).sqrt() * weight


def rms_norm_weighs_first(x, weight, eps):
    x = x * weight
    return x / ((x**2).mean(-1, keepdim=True) + eps).sqrt()


def rms_norm_of_absolutes(x, weight, eps):
    return x / (x.abs().mean(-1, keepdim=True) + eps) * weight


def rms_of(x):
    return (x**2).mean(-1, keepdim=True).sqrt()


def rms_backward_by_jacobian(g, x):
    def row(g, x):
        eye = torch.eye(len(x), dtype=x.dtype)
        r = rms_of(x)
        return g @ (eye / r - torch.outer(x, x) / (len(x) * r**3))

    rows = zip(g.reshape(-1, g.shape[-1]), x.reshape(-1, x.shape[-1]), strict=True)
    return torch.stack([row(*pair) for pair in rows]).reshape(x.shape)


def rms_backward_by_autograd(g, x):
    x = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(x / rms_of(x), x, g)
    return gradient


def rms_backward_cubed(g, x):
    g, x = g.double(), x.double()
    squares = torch.einsum("...c,...c->...", x, x)[..., None] / x.shape[-1]
    along = torch.einsum("...c,...c->...", g, x)[..., None] / x.shape[-1]
    return g * squares**-0.5 - x * along * squares**-1.5


def rms_backward_of_layer_norm(g, x):
    r = rms_of(x)
    y = x / r
    return (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / r


def rms_backward_not_divided(g, x):
    y = x / rms_of(x)
    return g - y * (g * y).mean(-1, keepdim=True)


def rms_backward_of_sum(g, x):
    r = rms_of(x)
    y = x / r
    return (g - y * (g * y).sum(-1, keepdim=True)) / r


def rms_backward_of_one_mean(g, x):
    r = rms_of(x)
    y = x / r
    return (g - y * (g * y).mean()) / r


def rms_backward_along_x(g, x):
    r = rms_of(x)
    return (g - x * (g * x).mean(-1, keepdim=True)) / r


def rms_backward_r_is_constant(g, x):
    return g / rms_of(x)


def rms_backward_adds(g, x):
    r = rms_of(x)
    y = x / r
    return (g + y * (g * y).mean(-1, keepdim=True)) / r


def rms_backward_of_length(g, x):
    r = (x**2).sum(-1, keepdim=True).sqrt()
    y = x / r
    return (g - y * (g * y).sum(-1, keepdim=True)) / r


def rms_backward_mean_of_g(g, x):
    r = rms_of(x)
    return (g - x / r * g.mean(-1, keepdim=True)) / r


def stack_reduced(x, layers, norm, placement):
    steps = {
        "none": lambda x, f: x + f(x),
        "post": lambda x, f: norm(x + f(x)),
        "pre": lambda x, f: x + f(norm(x)),
    }
    x = functools.reduce(steps[placement], layers, x)
    return norm(x) if placement == "pre" else x


def stack_recursive(x, layers, norm, placement):
    if not layers:
        return norm(x) if placement == "pre" else x
    first, *rest = layers
    x = torch.add(first(norm(x) if placement == "pre" else x), x)
    return stack_recursive(norm(x) if placement == "post" else x, rest, norm, placement)


class StackInPlaceOfACopy:
    def __call__(self, x, layers, norm, placement):
        inner = norm if placement == "pre" else torch.clone
        outer = norm if placement == "post" else torch.clone
        stream = x.clone()
        for f in layers:
            stream = outer(stream + f(inner(stream)))
        return inner(stream)


def stack_no_last_norm(x, layers, norm, placement):
    for f in layers:
        if placement == "post":
            x = norm(x + f(x))
        else:
            x = x + f(norm(x) if placement == "pre" else x)
    return x


def stack_adds_to_normed(x, layers, norm, placement):
    for f in layers:
        x = norm(x) if placement == "pre" else x
        x = x + f(x)
        x = norm(x) if placement == "post" else x
    return norm(x) if placement == "pre" else x


def stack_in_place(x, layers, norm, placement):
    for f in layers:
        x += f(norm(x) if placement == "pre" else x)
        if placement == "post":
            x = norm(x)
    return norm(x) if placement == "pre" else x


def stack_norms_the_layer(x, layers, norm, placement):
    for f in layers:
        y = f(norm(x)) if placement == "pre" else f(x)
        x = x + (norm(y) if placement == "post" else y)
    return norm(x) if placement == "pre" else x


def stack_without_stream(x, layers, norm, placement):
    for f in layers:
        x = f(norm(x)) if placement == "pre" else f(x)
        x = norm(x) if placement == "post" else x
    return norm(x) if placement == "pre" else x


def stack_norms_post_again(x, layers, norm, placement):
    x = stack_no_last_norm(x, layers, norm, placement)
    return x if placement == "none" else norm(x)


def stack_empty_is_x(x, layers, norm, placement):
    return stack_reduced(x, layers, norm, placement) if layers else x


def stack_last_layer_first(x, layers, norm, placement):
    return stack_reduced(x, layers[::-1], norm, placement)


def stack_all_read_x(x, layers, norm, placement):
    stream = x
    for f in layers:
        stream = stream + f(norm(x) if placement == "pre" else x)
        stream = norm(stream) if placement == "post" else stream
    return norm(stream) if placement == "pre" else stream


AXIS = r"axis|axes|last|channel|each vector|own|vector"
EPS = r"eps|ε"
CHANGED = r"chang|leave|in place|new tensor"

ANSWERS = {
    "layer_norm": Answers(
        right=[layer_norm_var_mean, layer_norm_by_vector, layer_norm_einsum],
        wrong=[
            Slip(
                layer_norm_of_sample,
                "divides by C - 1",
                r"C ?[-−] ?1|unbiased|population|correction",
                r"eps|axis|bias before|in place",
            ),
            Slip(
                layer_norm_eps_outside, "eps outside the root", EPS, r"C ?[-−] ?1|axis|bias before"
            ),
            Slip(layer_norm_without_eps, "no eps", EPS, r"C ?[-−] ?1|axis|bias before"),
            Slip(
                layer_norm_of_everything,
                "one mean for the whole tensor",
                AXIS,
                r"C ?[-−] ?1|eps|bias before",
            ),
            Slip(layer_norm_axis_1, "axis 1, not the last", AXIS, r"C ?[-−] ?1|eps|bias before"),
            Slip(
                layer_norm_bias_first, "bias before weight", r"bias|weight", r"C ?[-−] ?1|eps|axis"
            ),
            Slip(layer_norm_in_place, "centres its argument", CHANGED),
            Slip(
                layer_norm_of_variance,
                "divides by the variance",
                r"root|variance|standard deviation",
                r"C ?[-−] ?1|axis|bias before",
            ),
            Slip(
                layer_norm_of_raw_squares,
                "squares of x, not of the centred x",
                r"centred|variance|standard deviation|mean",
                r"C ?[-−] ?1|eps|axis|bias before",
            ),
            Slip(
                layer_norm_axis_lost,
                "the axis of the mean is lost",
                r"keepdim|must match the size|stand beside",
                r"C ?[-−] ?1|eps|bias before",
            ),
        ],
    ),
    "looks_ahead": Answers(
        right=[looks_ahead_any, looks_ahead_allclose, LooksAheadInLists()],
        wrong=[
            Slip(
                looks_ahead_shift,
                "changes the last token by a shift",
                r"shift|same number",
                r"longer|sign|\brounding",
            ),
            Slip(
                looks_ahead_scale,
                "changes the last token by a scale",
                r"scale|multipl|factor|longer",
                r"same number|\brounding",
            ),
            Slip(
                looks_ahead_sign,
                "changes the sign of the last token",
                r"sign|negat",
                r"same number|\brounding",
            ),
            Slip(
                looks_ahead_with_last,
                "compares the last token too",
                r"last|earlier|own",
                r"\brounding|longer",
            ),
            Slip(
                looks_ahead_exact,
                "takes rounding for a leak",
                r"round|toleran|0\.00001|exact",
                r"shift|scale|last token itself|own result",
            ),
            Slip(
                looks_ahead_one_channel,
                "changes one channel only",
                r"channel",
                r"\brounding|longer",
            ),
            Slip(
                looks_ahead_first_token,
                "compares the first token only",
                r"single token|every earlier|all earlier|any earlier|one token|first|only to",
                r"\brounding|longer",
            ),
            Slip(
                looks_ahead_alias,
                "no copy: compares x with itself",
                r"copy|clone|chang|itself|leave",
                r"\brounding|longer",
            ),
            Slip(
                looks_ahead_not_alone,
                "no result for a single token",
                r"single|one token|alone|no earlier|1 token",
                r"\brounding|longer",
            ),
            Slip(
                looks_ahead_swapped,
                "True and False swapped",
                r"swap|opposite|revers|negat|(other|wrong) way|inver",
                r"\brounding|longer",
            ),
            Slip(
                looks_ahead_coarse,
                "does not see small leaks",
                r"toleran|0\.001|small|coarse|weak",
                r"same number|longer|every channel",
            ),
        ],
    ),
    "rms_norm": Answers(
        right=[rms_norm_einsum, rms_norm_by_length, rms_norm_by_vector],
        wrong=[
            Slip(
                rms_norm_centred,
                "centres as LayerNorm does",
                r"mean|centr|LayerNorm",
                r"eps|axis|weight",
            ),
            Slip(rms_norm_eps_outside, "eps outside the root", EPS, r"axis|centr"),
            Slip(rms_norm_without_eps, "no eps", EPS, r"axis|centr"),
            Slip(
                rms_norm_of_length,
                "divides by the length",
                r"sum|mean of|length|divid",
                r"eps|axis|centr",
            ),
            Slip(rms_norm_in_place, "divides its argument", CHANGED),
            Slip(rms_norm_without_root, "no root", r"root|mean square", r"axis|centr"),
            Slip(rms_norm_axis_0, "axis 0, not the last", AXIS, r"eps|centr"),
            Slip(
                rms_norm_weighs_first,
                "weight is put in before the RMS",
                r"weight",
                r"eps|axis|centr",
            ),
            Slip(
                rms_norm_of_absolutes,
                "mean of absolute values",
                r"absolute|square|RMS",
                r"axis|centr",
            ),
        ],
    ),
    "rms_norm_backward": Answers(
        right=[rms_backward_by_jacobian, rms_backward_by_autograd, rms_backward_cubed],
        wrong=[
            Slip(
                rms_backward_of_layer_norm,
                "takes the mean of g out, too",
                r"mean\(g\)|mean of g|LayerNorm|shift",
                r"axis|divid|sum",
            ),
            Slip(
                rms_backward_not_divided,
                "does not divide by r",
                r"divid|\br\b|RMS",
                r"axis|shift|LayerNorm|sum",
            ),
            Slip(rms_backward_of_sum, "sum instead of mean", r"mean|sum", r"axis|shift|LayerNorm"),
            Slip(rms_backward_of_one_mean, "one mean for all vectors", AXIS, r"shift|LayerNorm"),
            Slip(
                rms_backward_along_x,
                "x where y should stand",
                r"\by\b|x / r",
                r"axis|shift|LayerNorm",
            ),
            Slip(
                rms_backward_r_is_constant,
                "takes r for a constant",
                r"along y|part|constant|depends|take out|missing|mean\(g",
                r"axis|shift|LayerNorm",
            ),
            Slip(
                rms_backward_adds,
                "adds the part along y",
                r"sign|minus|take|subtract|out of|add",
                r"axis|shift|LayerNorm",
            ),
            Slip(
                rms_backward_of_length,
                "length instead of RMS",
                r"RMS|length|mean|\bC\b",
                r"axis|shift|LayerNorm",
            ),
            Slip(
                rms_backward_mean_of_g,
                "mean of g instead of g y",
                r"g ?[·*]? ?y|along y|mean",
                r"axis|shift|divid",
            ),
        ],
    ),
    "residual_stack": Answers(
        right=[stack_reduced, stack_recursive, StackInPlaceOfACopy()],
        wrong=[
            Slip(
                stack_no_last_norm,
                "no last norm for pre",
                r"last norm|end|final|after the loop|leaves",
                r"stream is lost|order|`post`",
            ),
            Slip(
                stack_adds_to_normed,
                "in pre, adds to the normed stream",
                r"stream|x \+ f|normed|added to|norm\(x\) \+",
                r"order|last norm|post",
            ),
            Slip(stack_in_place, "changes its argument", CHANGED),
            Slip(
                stack_norms_the_layer,
                "in post, norms the layer's result only",
                r"norm\(x \+ f|sum|post",
                r"order|last norm|pre\b",
            ),
            Slip(
                stack_without_stream,
                "forgets to add",
                r"x \+ f|residual|add|stream",
                r"order|last norm",
            ),
            Slip(
                stack_norms_post_again,
                "one norm too many after post",
                r"twice|again|too many|only",
                r"order|stream is lost",
            ),
            Slip(
                stack_empty_is_x,
                "without layers, pre is not normed",
                r"no layer|without|empty",
                r"stream is lost|order|`post`",
            ),
            Slip(
                stack_last_layer_first,
                "layers from last to first",
                r"order|revers|first",
                r"stream is lost|last norm",
            ),
            Slip(
                stack_all_read_x,
                "each layer reads the first x",
                r"stream|each layer|before it|previous|first x|original|x itself|reads",
                r"order|last norm",
            ),
        ],
    ),
}
