"""Keep the scale of the numbers in check: LayerNorm and RMSNorm."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.layers.precision import at_least_float32


def layer_norm(
    x: Float[Tensor, "*B C"],
    weight: Float[Tensor, "C"],
    bias: Float[Tensor, "C"],
    eps: float = 1e-5,
) -> Float[Tensor, "*B C"]:
    """Shift and scale each vector to mean 0 and variance 1, then apply a learned weight and bias.

    >>> import torch
    >>> layer_norm(torch.tensor([1.0, 3.0]), torch.ones(2), torch.zeros(2))
    tensor([-1.0000,  1.0000])

    The variance divides by `C`, not by `C - 1`. 16-bit numbers are reckoned with in float32, as
    torch does. Source: Ba, Kiros and Hinton 2016 (arXiv 1607.06450), equation 4.
    """
    wide = at_least_float32(x)
    centred = wide - wide.mean(-1, keepdim=True)
    variance = (centred**2).mean(-1, keepdim=True)  # in float16 the square of 300 would be infinite
    return (centred / (variance + eps).sqrt() * weight + bias).to(x.dtype)


class LayerNorm(nn.LayerNorm):
    """The learned weight and bias of `layer_norm`, computed by torch's faster, equal kernel."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B C"]:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


def layer_norm_backward(
    upstream: Float[Tensor, "*B C"],
    x: Float[Tensor, "*B C"],
    weight: Float[Tensor, "C"],
    eps: float = 1e-5,
) -> tuple[Float[Tensor, "*B C"], Float[Tensor, "C"], Float[Tensor, "C"]]:
    """Give the gradients for `x`, `weight` and `bias`, from those of the outputs (`upstream`).

    The outputs feel neither a common shift of `x` nor (but for `eps`) a stretch of it, so the
    gradient keeps nothing along these two directions: both parts are taken out, and the rest is
    divided by the standard deviation.

    >>> import torch
    >>> upstream, x = torch.tensor([[1.0, 0, 0, 0], [1, 7, 7, 9]])
    >>> dx, _, _ = layer_norm_backward(upstream, x, torch.ones(4), eps=0.0)
    >>> 54 * dx
    tensor([ 1.0000, -2.0000, -2.0000,  3.0000])
    """
    dtype, x = x.dtype, x.to(torch.promote_types(x.dtype, torch.float32))
    centred = x - x.mean(-1, keepdim=True)
    std = ((centred**2).mean(-1, keepdim=True) + eps).sqrt()
    y, g = centred / std, upstream.to(x.dtype) * weight
    dx = (g - g.mean(-1, keepdim=True) - y * (g * y).mean(-1, keepdim=True)) / std
    C = x.shape[-1]
    gradients = dx, (upstream * y).reshape(-1, C).sum(0), upstream.reshape(-1, C).sum(0)
    return tuple(gradient.to(dtype) for gradient in gradients)


def rms_norm(
    x: Float[Tensor, "*B C"], weight: Float[Tensor, "C"], eps: float = 1e-6
) -> Float[Tensor, "*B C"]:
    """Scale each vector to a mean square of 1, without shifting it, then apply a learned weight.

    >>> import torch
    >>> rms_norm(torch.tensor([1.0, 5.0, 5.0, 7.0]), torch.ones(4))
    tensor([0.2000, 1.0000, 1.0000, 1.4000])

    Source: Zhang and Sennrich 2019 (arXiv 1910.07467), equation 4. `eps`, which keeps zeros from
    being divided by zero, is 1e-6 in DeepSeek's models and 1e-5 in Llama 2 and 3. 16-bit numbers
    are reckoned with in float32, as torch does.
    """
    wide = at_least_float32(x)
    return (wide / ((wide**2).mean(-1, keepdim=True) + eps).sqrt() * weight).to(x.dtype)


class RMSNorm(nn.RMSNorm):
    """The learned weight of `rms_norm`, computed by torch's own function (equal)."""

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__(d_model, eps=eps)
