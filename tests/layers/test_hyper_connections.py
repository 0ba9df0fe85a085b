"""Hyper-connections: against the release's class, against finite differences, and against what must
hold for any doubly stochastic matrix."""

import pytest
import torch

from course_lib.layers import hyper_connections as hc


def unchecked(function):
    """Give the function as it runs outside of the tests, where nothing checks shapes."""
    return getattr(function, "__wrapped__", function)


def ones(*shapes):
    return [torch.ones(shape) for shape in shapes]


def logits(*shape, scale=1.0, seed=0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("n_iterations", [1, 2, 3, 20])
@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_the_fast_sinkhorn_is_the_loop_in_value_and_gradient(n_iterations, scale):
    x, upstream = logits(3, 5, 4, 4, scale=scale).requires_grad_(), logits(3, 5, 4, 4, seed=1)
    got, want = hc.sinkhorn(x, n_iterations), hc.sinkhorn_by_loop(x, n_iterations)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    slopes = [torch.autograd.grad(each, x, upstream)[0] for each in (got, want)]
    torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n_iterations", [1, 2, 4])
def test_its_gradient_equals_finite_differences(n_iterations):
    x = logits(2, 3, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: hc.sinkhorn(x, n_iterations, 1e-2), x)


def test_rows_sum_to_one_and_columns_the_better_the_more_rounds():
    x, off = logits(1000, 4, 4), []
    for n_iterations in (1, 3, 20):
        mix = hc.sinkhorn(x, n_iterations)
        assert (mix > 0).all() and (mix.sum(-1) - 1).abs().max() < 1e-5
        off.append((mix.sum(-2) - 1).abs().max().item())
    assert off[0] > 0.3 and 0.01 < off[1] < 0.3 and off[2] < 2e-3


def test_products_of_doubly_stochastic_matrices_gain_nothing():
    mix = hc.sinkhorn(logits(60, 100, 4, 4), 50)
    assert hc.composite_gain(mix).max() < 1.001
    free = torch.eye(4).double() + 0.3 * logits(60, 100, 4, 4)
    assert hc.composite_gain(free)[-1].median() > 100
    product = free[1] @ free[0]
    want = product.abs().sum(-1).amax(-1)
    torch.testing.assert_close(hc.composite_gain(free)[1], want)


@pytest.mark.parametrize("kind", [hc.HyperConnection, hc.ManifoldHyperConnection])
def test_with_scale_0_and_first_biases_every_stream_is_a_plain_residual_stream(kind):
    connection, x = kind(6, 4).double(), logits(2, 3, 6)
    connection.scale.data.zero_()
    seen = []
    out = connection(hc.expand_streams(x, 4), lambda h: seen.append(h) or h.sin())
    factor = 2 if kind is hc.ManifoldHyperConnection else 1  # four times a half, or a quarter
    torch.testing.assert_close(seen[0], factor * x, rtol=1e-5, atol=1e-5)
    for stream in out.unbind(-2):
        torch.testing.assert_close(stream, x + (factor * x).sin(), rtol=1e-4, atol=1e-4)


def test_maps_by_hand_for_one_token():
    """Every number of A, B and C from the equations, with plain loops."""
    torch.manual_seed(0)
    n, d = 3, 2
    connection = hc.ManifoldHyperConnection(d, n, n_iterations=7).double()
    for parameter in connection.parameters():
        parameter.data.normal_()
    streams = torch.randn(n, d).double()
    flat = streams.flatten()
    seen = connection.weight @ (flat / (flat.square().mean() + 1e-6).sqrt())
    a = [connection.scale[0] * seen[i] + connection.bias[i] for i in range(n)]
    c = [connection.scale[1] * seen[n + i] + connection.bias[n + i] for i in range(n)]
    B = torch.empty(n, n).double()
    for stored_row in range(n):
        for stored_column in range(n):
            place = 2 * n + n * stored_row + stored_column
            value = connection.scale[2] * seen[place] + connection.bias[place]
            B[stored_column, stored_row] = value  # kept transposed
    read, write, mix = connection.maps(streams)
    torch.testing.assert_close(read, torch.stack(a).sigmoid(), rtol=0, atol=2e-6)
    torch.testing.assert_close(write, 2 * torch.stack(c).sigmoid())
    B = B.exp()
    for _ in range(7):
        B = B / B.sum(0)
        B = B / B.sum(1, keepdim=True)
    torch.testing.assert_close(mix, B, rtol=0, atol=1e-4)
    out = connection(streams, torch.tanh)
    for i in range(n):
        mixed = sum(mix[i, j] * streams[j] for j in range(n))
        want = mixed + write[i] * sum(read[j] * streams[j] for j in range(n)).tanh()
        torch.testing.assert_close(out[i], want)


def test_connection_and_collapse_equal_the_releases_class():
    transformers = pytest.importorskip("transformers")
    from transformers.models.deepseek_v4 import modeling_deepseek_v4 as theirs

    torch.manual_seed(0)
    config = transformers.DeepseekV4Config(
        hidden_size=10, num_hidden_layers=1, hc_mult=3, hc_sinkhorn_iters=5, hc_eps=1e-3
    )
    connection = theirs.DeepseekV4HyperConnection(config)
    collapse = theirs.DeepseekV4HyperHead(config)
    ours = hc.ManifoldHyperConnection(10, 3, n_iterations=5, eps=1e-3)
    our_collapse = hc.StreamCollapse(10, 3, eps=1e-3)
    for mine, other in ((ours, connection), (our_collapse, collapse)):
        for a, b in zip(mine.parameters(), other.parameters(), strict=True):
            assert a.shape == b.shape
            b.data.normal_()
            a.data.copy_(b.data)
    streams = torch.randn(2, 5, 3, 10)
    post, comb, collapsed = connection(streams)
    want = post[..., None] * collapsed.sin()[..., None, :] + comb.mT @ streams
    torch.testing.assert_close(ours(streams, torch.sin), want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(our_collapse(streams), collapse(streams), rtol=1e-5, atol=1e-5)


def test_maps_stay_in_float32_in_a_model_of_16_bits():
    connection = hc.ManifoldHyperConnection(8, 4)
    before = connection.weight.detach().clone()
    connection = connection.to(torch.bfloat16)
    assert torch.equal(connection.weight, before)
    streams = torch.randn(2, 4, 8)
    assert all(each.dtype == torch.float for each in connection.maps(streams.bfloat16()))
    assert connection(streams.bfloat16(), torch.sin).dtype == torch.bfloat16
    assert connection.double().weight.dtype == torch.double
    with torch.autocast("cpu", torch.bfloat16):
        maps = hc.ManifoldHyperConnection(8, 4).maps(streams)
    assert all(each.dtype == torch.float for each in maps)


def test_wrong_numbers_are_refused():
    with pytest.raises(ValueError, match="n_streams 0 must be at least 1"):
        hc.HyperConnection(8, 0)
    with pytest.raises(ValueError, match="d_model 0 must be at least 1"):
        hc.StreamCollapse(0)
    with pytest.raises(ValueError, match="n_iterations 0 must be at least 1"):
        hc.ManifoldHyperConnection(8, 4, n_iterations=0)
    with pytest.raises(ValueError, match="n_streams -1 must be at least 1"):
        hc.expand_streams(torch.zeros(2, 3), -1)
    with pytest.raises(ValueError, match="0 layers have no gain"):
        hc.composite_gain(torch.zeros(0, 2, 2))


@pytest.mark.parametrize("scale", [hc.sinkhorn, hc.sinkhorn_by_loop])
def test_sinkhorn_refuses_no_round_an_eps_that_is_none_and_what_is_not_square(scale):
    with pytest.raises(ValueError, match="n_iterations 0 must be at least 1"):
        scale(torch.zeros(1, 2, 2), 0)
    for eps in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"eps {eps} must be a number from 0 on"):
            scale(torch.zeros(2, 2), 3, eps)
    for n, m in ((2, 3), (0, 0)):
        with pytest.raises(ValueError, match=f"{n} x {m} numbers are not square"):
            unchecked(scale)(torch.zeros(1, n, m))
    assert scale(torch.zeros(0, 2, 2)).shape == (0, 2, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: unchecked(hc.read_streams)(*ones((2, 4, 3), (2, 1))), r"\(2, 1\) .* \(2, 4, 3\)"),
        (lambda: unchecked(hc.read_streams)(*ones((2, 4, 3), (1, 4))), r"\(1, 4\) .* \(2, 4, 3\)"),
        (
            lambda: unchecked(hc.mix_and_write)(*ones((4, 3), (1, 4), (4,), (3,))),
            r"\(4, 3\) do not go with .*\(1, 4\), \(4,\), \(3,\)",
        ),
        (
            lambda: unchecked(hc.mix_and_write)(*ones((4, 3), (4, 4), (4,), (1,))),
            r"\(4, 3\) do not go with .*\(4, 4\), \(4,\), \(1,\)",
        ),
        (lambda: unchecked(hc.composite_gain)(torch.ones(3, 2, 3)), "2 x 3 numbers"),
    ],
)
def test_what_would_be_stretched_to_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
