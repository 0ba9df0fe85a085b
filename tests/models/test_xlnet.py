"""XLNet: what each stream hears, distances, memory, sizes, errors."""

import jaxtyping
import pytest
import torch

from course_lib.layers.relative_attention import (
    RelativeAttention,
    relative_shift,
    relative_sinusoids,
    shift_of_rows,
)
from course_lib.models.gpt2 import count_parameters
from course_lib.models.xlnet import XLNET_BASE, XLNET_LARGE, XLNet, XLNetSettings

TINY = XLNetSettings(11, d_model=12, n_layers=2, n_heads=3)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = XLNet(TINY)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def unseen_in(order):
    """A mask that hides from each token what does not come before it in the order."""
    rank = torch.tensor(order).argsort()
    return (rank[None, :] >= rank[:, None])[None]


def changes(model, column, **words):
    """Which rows of the logits change if the token of a column does."""
    ids = torch.tensor([[2, 3, 4, 5]])
    other = ids.clone()
    other[0, column] = 9
    difference = model(ids, **words) - model(other, **words)
    return (difference.abs().amax(-1) > 1e-5)[0].tolist()


@pytest.mark.parametrize(("settings", "n"), [(XLNET_BASE, 116_750_336), (XLNET_LARGE, 360_300_800)])
def test_published_sizes_on_the_meta_device(settings, n):
    with torch.device("meta"):
        assert count_parameters(XLNet(settings)) == n


def test_a_target_hears_what_comes_before_it_in_the_order_and_not_itself(model):
    words = {"unseen": unseen_in([2, 0, 3, 1]), "targets": torch.tensor([[0, 3, 1]])}
    assert changes(model, 2, **words) == [True, True, True]
    assert changes(model, 0, **words) == [False, True, True]
    assert changes(model, 3, **words) == [False, False, True]
    assert changes(model, 1, **words) == [False, False, False]


def test_the_content_stream_hears_itself_too(model):
    words = {"unseen": unseen_in([2, 0, 3, 1])}
    assert changes(model, 0, **words) == [True, True, False, True]
    assert changes(model, 2, **words) == [True, True, True, True]


def test_the_place_of_a_target_counts_and_its_token_does_not(model):
    words = {"unseen": unseen_in([0, 1, 2, 3]), "targets": torch.tensor([[1, 3]])}
    logits = model(torch.tensor([[2, 3, 3, 3]]), **words)
    assert not torch.allclose(logits[0, 0], logits[0, 1], atol=1e-3)


def test_distances_count_and_places_do_not(model):
    ids = torch.tensor([[2, 3, 4]])
    moved = torch.tensor([[0, 0, 2, 3, 4]])
    padding = torch.tensor([[True, True, False, False, False]])
    torch.testing.assert_close(model(moved, padding=padding)[:, 2:], model(ids))
    assert not torch.allclose(model(torch.tensor([[2, 4, 3]]))[:, 0], model(ids)[:, 0], atol=1e-3)


def test_memory_is_what_the_layers_read_and_lets_a_text_go_on(model):
    ids = torch.randint(11, (2, 6))
    causal = torch.ones(6, 6).triu(1).bool().expand(2, -1, -1)
    whole = model(ids, unseen=causal)
    first = model.read(ids[:, :4], unseen=causal[:, :4, :4])
    assert [tuple(table.shape) for table in first.memory] == [(2, 4, 12)] * 2
    assert not first.memory[1].requires_grad
    rest = model(ids[:, 4:], unseen=causal[:, :2, :2], memory=first.memory)
    torch.testing.assert_close(rest, whole[:, 4:], rtol=1e-4, atol=1e-5)


def test_memory_is_cut_to_the_newest():
    model = XLNet(XLNetSettings(11, 12, 2, 3, memory_length=3))
    first = model.read(torch.tensor([[1, 2]])).memory
    second = model.read(torch.tensor([[3, 4]]), memory=first).memory
    want = model.token_embedding(torch.tensor([[2, 3, 4]]))
    torch.testing.assert_close(second[0], want)


def test_the_shift_is_the_distance_of_query_and_key():
    T, S = 3, 5
    distances = torch.arange(S, -T, -1).float().expand(1, 1, T, -1)
    want = (torch.arange(S - T, S)[:, None] - torch.arange(S)).float()
    assert torch.equal(relative_shift(distances, S)[0, 0], want)
    places = torch.tensor([[2, 0]])
    got = shift_of_rows(distances[:, :, :2], places, T, S)
    assert torch.equal(got[0, 0], want[[2, 0]])


def test_relative_attention_is_the_sum_of_three_products_written_out():
    torch.manual_seed(1)
    layer, T, S = RelativeAttention(8, 2).double(), 2, 3
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    x, content = torch.randn(1, T, 8).double(), torch.randn(1, S, 8).double()
    r, other = relative_sinusoids(T, S, 8).double(), torch.tensor([[[0, 1, 0], [1, 0, 1]]]).bool()
    got = layer(x, layer.context(content, r), T, other_segment=other)
    heads = lambda m, y: (y @ m.weight.T).view(-1, 2, 4)  # noqa: E731
    q, k, v = heads(layer.q, x[0]), heads(layer.k, content[0]), heads(layer.v, content[0])
    far, mixed = heads(layer.r, r), torch.zeros(T, 2, 4).double()
    for i in range(T):
        for h in range(2):
            scores = torch.stack([
                (q[i, h] + layer.content_bias[h]) @ k[j, h]
                + (q[i, h] + layer.distance_bias[h]) @ far[S - (i + S - T - j), h]
                + (q[i, h] + layer.segment_bias[h])
                @ layer.segment_embedding[int(other[0, i, j]), h]
                for j in range(S)
            ])  # fmt: skip
            mixed[i, h] = (scores / 2).softmax(0) @ v[:, h]
    torch.testing.assert_close(got[0], mixed.flatten(1) @ layer.out.weight.T)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: XLNetSettings(d_model=10, n_heads=3), "d_model 10 is not divisible by n_heads 3"),
        (lambda: XLNetSettings(d_model=9, n_heads=3), "d_model 9 is odd"),
        (lambda: XLNetSettings(memory_length=0), "memory_length 0 is below 1"),
        (lambda: XLNet(TINY)(torch.tensor([[11]])), "token 11 is outside the vocabulary"),
        (
            lambda: XLNet(TINY)(torch.tensor([[1]]), targets=torch.tensor([[1]])),
            "target 1 is none of the 1 columns",
        ),
    ],
)
def test_what_does_not_fit_is_named(call, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()
