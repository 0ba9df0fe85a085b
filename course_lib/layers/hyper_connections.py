"""Hyper-connections: several residual streams in place of one, and learned maps between them.

Around each sublayer F of a block, X' = B X + C F(A X): A reads the `n` streams of a token into the
one vector that the sublayer sees, C writes the output back into each stream, B mixes the streams.
All three are computed from the streams themselves. Letters: `N` tokens, `n` streams, `C` d_model.

How ours differs from the papers (hyper-connections: arXiv 2409.19606; manifold-constrained:
arXiv 2512.24880; DeepSeek-V4: arXiv 2606.19348, equations 1 to 8):

1. As in the release, 1e-6 is added to A, to what Sinkhorn starts from, and to its divisors.
2. The matrix of B is kept transposed, as in the release, so that its files can be read as they are.
3. Unconstrained maps get the same norm without weights as the constrained ones.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.check_numbers import check_whole_numbers, is_number
from course_lib.layers.precision import KeptInFloat32, at_least_float32, without_autocast

Sublayer = Callable[[Tensor], Tensor]  # (B T C) -> (B T C), its own norm included
HC_EPS = 1e-6
ALPHA_INIT = 0.01  # how much of the maps comes from the streams at first: almost nothing


# The maps
# --------------------------------------------------------------------------------------------------


def sinkhorn_by_loop(
    logits: Float[Tensor, "*B n n"], n_iterations: int = 20, eps: float = HC_EPS
) -> Float[Tensor, "*B n n"]:
    """Make a nearly doubly stochastic matrix of any square one: the version to read.

    All of exp(logits) is positive; columns, then rows are divided by their sums, again and again.
    The rows sum to 1 at the end, the columns nearly so. Source: Sinkhorn and Knopp 1967; arXiv
    2512.24880, equation 9.

    >>> sinkhorn_by_loop(torch.tensor([[1.0, 2.0], [3.0, 2.0]]).log()).sum(0)
    tensor([1.0000, 1.0000])
    """
    check_square(logits)
    check_sinkhorn(n_iterations, eps)
    mixing = logits.softmax(-2) + eps  # exp, and the first round's columns, without overflow
    mixing = mixing / (mixing.sum(-1, keepdim=True) + eps)
    for _ in range(n_iterations - 1):
        mixing = mixing / (mixing.sum(-2, keepdim=True) + eps)
        mixing = mixing / (mixing.sum(-1, keepdim=True) + eps)
    return mixing


def sinkhorn(
    logits: Float[Tensor, "*B n n"], n_iterations: int = 20, eps: float = HC_EPS
) -> Float[Tensor, "*B n n"]:
    """Do what `sinkhorn_by_loop` does, many small matrices at a time.

    Tokens go last, so that each sum is of a few long rows; and what changes from round to round is
    one number per row and per column, so that no round touches the matrix itself.
    """
    check_square(logits)
    check_sinkhorn(n_iterations, eps)
    start = logits.reshape(-1, *logits.shape[-2:]).permute(1, 2, 0).contiguous().softmax(0) + eps
    scaled = ScaleToSums.apply(start, n_iterations, eps)
    return scaled.permute(2, 0, 1).contiguous().view(logits.shape)  # in order: a product is next


def check_square(matrices: Float[Tensor, "*B n m"]) -> None:
    """Raise a ValueError unless these are square matrices, of one number at least."""
    n, m = matrices.shape[-2:]
    if n != m or n < 1:
        raise ValueError(f"matrices of {n} x {m} numbers are not square")


def check_sinkhorn(n_iterations: int, eps: float) -> None:
    """Raise a ValueError for no round at all, or an `eps` that is below 0, infinite or NaN."""
    check_whole_numbers(n_iterations=n_iterations)
    if not is_number(eps, 0):
        raise ValueError(f"eps {eps} must be a number from 0 on")


class ScaleToSums(torch.autograd.Function):
    """Sinkhorn's divisions after the first: rows, then columns and rows by turns.

    The matrix is rows[:, None] * start * columns[None] all the time. A division of the rows by
    their sums s (and eps) takes rows to rows / (s + eps), s = rows * (start @ columns).
    """

    @staticmethod
    def forward(
        context, start: Float[Tensor, "n n N"], n_iterations: int, eps: float
    ) -> Float[Tensor, "n n N"]:
        rows, columns = torch.ones_like(start[0]), torch.ones_like(start[0])
        steps = []  # each scale before its step, what it was multiplied by, and the divisor
        for step in range(2 * n_iterations - 1):
            if step % 2 == 0:
                sums = rows * (start * columns).sum(1) + eps
                steps.append((rows, columns, sums))
                rows = rows / sums
            else:
                sums = columns * (start * rows[:, None]).sum(0) + eps
                steps.append((columns, rows, sums))
                columns = columns / sums
        context.start, context.last, context.steps, context.eps = start, (rows, columns), steps, eps
        return rows[:, None] * start * columns

    @staticmethod
    def backward(
        context, upstream: Float[Tensor, "n n N"]
    ) -> tuple[Float[Tensor, "n n N"], None, None]:
        start, (rows, columns), upstream = context.start, context.last, upstream.contiguous()
        d_start = rows[:, None] * upstream * columns
        along = start * upstream
        d_rows, d_columns = (along * columns).sum(1), (along * rows[:, None]).sum(0)
        for step in reversed(range(len(context.steps))):
            old, other, sums = context.steps[step]
            is_row = step % 2 == 0
            d_new = d_rows if is_row else d_columns
            d_old = d_new * context.eps / sums**2  # old / (old s + eps), s held
            d_sums = -d_new * (old / sums) ** 2  # by s = start @ other
            if is_row:
                d_start.addcmul_(d_sums[:, None], other)
                d_rows, d_columns = d_old, d_columns + (start * d_sums[:, None]).sum(0)
            else:
                d_start.addcmul_(other[:, None], d_sums)
                d_columns, d_rows = d_old, d_rows + (start * d_sums).sum(1)
        return d_start, None, None


# The streams
# --------------------------------------------------------------------------------------------------


def expand_streams(x: Float[Tensor, "*B C"], n_streams: int) -> Float[Tensor, "*B n C"]:
    """Start the streams: each is a copy of the embedding."""
    check_whole_numbers(n_streams=n_streams)
    # laid out: a product with four views of one vector is slow
    return x.unsqueeze(-2).expand(*x.shape[:-1], n_streams, x.shape[-1]).contiguous()


def read_streams(
    streams: Float[Tensor, "*B n C"], read: Float[Tensor, "*B n"]
) -> Float[Tensor, "*B C"]:
    """A X: add the streams up, each by its weight, to the one vector that a sublayer sees.

    Raises ValueError unless each stream has a weight of its own.
    """
    if read.shape != streams.shape[:-1]:
        raise ValueError(
            f"weights of shape {tuple(read.shape)} for streams of shape {tuple(streams.shape)}"
        )
    return (read[..., None] * streams).sum(-2)


def mix_and_write(
    streams: Float[Tensor, "*B n C"],
    mix: Float[Tensor, "*B n n"],
    write: Float[Tensor, "*B n"],
    out: Float[Tensor, "*B C"],
) -> Float[Tensor, "*B n C"]:
    """B X + C F: new stream i is the sum of mix[i, j] * stream j, and write[i] of the output.

    Raises ValueError where a shape would be stretched to fit.
    """
    *B, n, C = streams.shape
    given = [tuple(part.shape) for part in (mix, write, out)]
    if given != [(*B, n, n), (*B, n), (*B, C)]:
        raise ValueError(
            f"streams of shape {tuple(streams.shape)} do not go with mix, write and out of {given}"
        )
    return torch.addcmul(mix @ streams, write[..., None], out[..., None, :])


def composite_gain(mixes: Float[Tensor, "L *B n n"]) -> Float[Tensor, "L *B"]:
    """Tell how much all layers' B together can stretch a signal: after 1, 2, ... layers.

    The largest sum of absolute values in a row of the product, which bounds every stream by so many
    times the largest at the start. Raises ValueError for no layer, or no square. Source: arXiv
    2512.24880, section 3.1, "Amax gain".

    >>> composite_gain(torch.full((3, 2, 2), 1.0)).tolist()
    [2.0, 4.0, 8.0]
    """
    check_square(mixes)
    if not len(mixes):
        raise ValueError("0 layers have no gain")
    product, gains = torch.eye(mixes.shape[-1]).to(mixes), []
    for mix in mixes:
        product = mix @ product
        gains.append(product.abs().sum(-1).amax(-1))
    return torch.stack(gains)


class HyperConnection(KeptInFloat32):
    """The connection around one sublayer, unconstrained: `connection(streams, sublayer)`.

    Every number of A, B and C is a bias and `scale` times a tanh of a linear map of all streams.
    At first each stream goes on as it is, the sublayer reads their mean, and its output is added to
    all of them: a residual connection. Source: Zhu et al. 2024 (arXiv 2409.19606), section 2.2.
    Differs: there sublayer k reads stream k mod n alone at first.
    """

    def __init__(self, d_model: int, n_streams: int = 4, norm_eps: float = 1e-6) -> None:
        super().__init__()
        check_whole_numbers(d_model=d_model, n_streams=n_streams)
        self.n_streams, self.norm_eps = n_streams, norm_eps
        self.sizes = [n_streams, n_streams, n_streams**2]  # of A, C and B
        width = n_streams * d_model
        self.weight = nn.Parameter(torch.empty(sum(self.sizes), width).uniform_(-1, 1) / width**0.5)
        self.bias = nn.Parameter(self.first_bias())
        self.scale = nn.Parameter(torch.full((3,), ALPHA_INIT))

    def first_bias(self) -> Float[Tensor, "M"]:
        n = self.n_streams
        return torch.cat([torch.full((n,), 1 / n), torch.ones(n), torch.eye(n).flatten()])

    def forward(
        self, streams: Float[Tensor, "*B n C"], sublayer: Sublayer
    ) -> Float[Tensor, "*B n C"]:
        read, write, mix = (each.to(streams.dtype) for each in self.maps(streams))
        return mix_and_write(streams, mix, write, sublayer(read_streams(streams, read)))

    def maps(
        self, streams: Float[Tensor, "*B n C"]
    ) -> tuple[Float[Tensor, "*B n"], Float[Tensor, "*B n"], Float[Tensor, "*B n n"]]:
        """Give A, C and B for each token."""
        seen = self.bend(linear_of_streams(streams, self.weight, self.norm_eps))
        scale = torch.cat([a.expand(k) for a, k in zip(self.scale, self.sizes, strict=True)])
        read, write, mix = (self.bias + scale * seen).split(self.sizes, -1)
        return self.constrain(read, write, mix.unflatten(-1, (self.n_streams, -1)).mT)

    def bend(self, seen: Float[Tensor, "*B M"]) -> Float[Tensor, "*B M"]:
        return seen.tanh()

    def constrain(self, read: Tensor, write: Tensor, mix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Leave the maps as they are; `ManifoldHyperConnection` does not."""
        return read, write, mix


class ManifoldHyperConnection(HyperConnection):
    """Hyper-connections whose B is doubly stochastic, so that no depth makes the streams grow: mHC.

    A is a sigmoid, C twice one, and B comes from `sinkhorn`: rows and columns sum to 1, and so do
    those of any product. With biases of 0 all of B is 1 / n at first, A one half, and C 1: again a
    residual connection, whose sublayer sees twice the stream. Source: Xie et al. 2025 (arXiv
    2512.24880), equations 7 to 9; DeepSeek-V4 (arXiv 2606.19348), equations 1 to 8.
    """

    def __init__(
        self,
        d_model: int,
        n_streams: int = 4,
        norm_eps: float = 1e-6,
        n_iterations: int = 20,
        eps: float = HC_EPS,
    ) -> None:
        super().__init__(d_model, n_streams, norm_eps)
        check_sinkhorn(n_iterations, eps)
        self.n_iterations, self.eps = n_iterations, eps

    def first_bias(self) -> Float[Tensor, "M"]:
        return torch.zeros(sum(self.sizes))

    def bend(self, seen: Float[Tensor, "*B M"]) -> Float[Tensor, "*B M"]:
        return seen

    def constrain(self, read: Tensor, write: Tensor, mix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mix = sinkhorn(mix, self.n_iterations, self.eps)
        return read.sigmoid() + self.eps, 2 * write.sigmoid(), mix


class StreamCollapse(KeptInFloat32):
    """Add the streams up to one vector after the last block, by weights that the streams tell.

    Sigmoids, as A of mHC, with one scale for all. Source: DeepSeek-V4's released code, `hc_head`.
    """

    def __init__(
        self, d_model: int, n_streams: int = 4, norm_eps: float = 1e-6, eps: float = HC_EPS
    ) -> None:
        super().__init__()
        check_whole_numbers(d_model=d_model, n_streams=n_streams)
        self.norm_eps, self.eps = norm_eps, eps
        width = n_streams * d_model
        self.weight = nn.Parameter(torch.empty(n_streams, width).uniform_(-1, 1) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(n_streams))
        self.scale = nn.Parameter(torch.full((1,), ALPHA_INIT))

    def forward(self, streams: Float[Tensor, "*B n C"]) -> Float[Tensor, "*B C"]:
        seen = linear_of_streams(streams, self.weight, self.norm_eps)
        read = (self.bias + self.scale * seen).sigmoid() + self.eps
        return read_streams(streams, read.to(streams.dtype))


def linear_of_streams(
    streams: Float[Tensor, "*B n C"], weight: Float[Tensor, "M nC"], norm_eps: float
) -> Float[Tensor, "*B M"]:
    """Norm a token's streams as one long vector, without weights, and multiply it by `weight`.

    The norm is one number per token, which may as well divide the product: that is shorter.
    """
    with without_autocast(streams.device.type):
        flat, weight = at_least_float32(streams.flatten(-2)), at_least_float32(weight)
        scale = (flat.square().mean(-1, keepdim=True) + norm_eps).rsqrt()
        return F.linear(flat, weight.to(flat.dtype)) * scale
