"""Log-softmax and cross-entropy by hand: equal to PyTorch's and to finite differences;
perplexity."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.training.objectives import (
    bits_per_byte,
    cross_entropy,
    log_softmax,
    logsumexp,
    next_token_loss,
    perplexity,
)

ROWS = st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_equal_to_pytorchs_however_large_the_scores(row):
    logits = torch.tensor(row)
    torch.testing.assert_close(logsumexp(logits), logits.logsumexp(-1))
    torch.testing.assert_close(log_softmax(logits), logits.log_softmax(-1))


def test_scores_that_break_the_naive_softmax():
    high, low = torch.tensor([1e4, 1e4 - 1, -1e4]), torch.tensor([-1e4, -1e4 - 1, -3e4])
    assert (high.exp() / high.exp().sum()).isnan().any() and (
        low.exp() / low.exp().sum()
    ).isnan().all()
    want = torch.tensor([0.0, -1.0, -2e4]) - math.log(1 + math.exp(-1))
    for logits in (high, low):
        torch.testing.assert_close(log_softmax(logits), want)


def test_ruled_out_tokens():
    logits = torch.tensor([0.0, -math.inf, 0.0])
    assert log_softmax(logits).exp().tolist() == pytest.approx([0.5, 0, 0.5])
    assert logsumexp(torch.full((2, 3), -math.inf)).tolist() == [-math.inf, -math.inf]


def test_cross_entropy_is_the_surprise_of_every_target():
    logits = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]]).log()
    got = cross_entropy(logits, torch.tensor([3, 1]))
    torch.testing.assert_close(got, torch.tensor([-math.log(0.4), -math.log(0.1)]))
    many, targets = torch.randn(2, 3, 5), torch.randint(5, (2, 3))
    torch.testing.assert_close(cross_entropy(many, targets).mean(), next_token_loss(many, targets))


def test_its_gradient_is_p_minus_y():
    # two equal best
    logits = torch.tensor([2.0, 2.0, -1.0, 0.5], dtype=torch.double, requires_grad=True)
    target = torch.tensor(3)
    cross_entropy(logits, target).backward()
    want = logits.detach().softmax(-1) - torch.tensor([0, 0, 0, 1])
    torch.testing.assert_close(logits.grad, want)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, target), logits)
    assert torch.autograd.gradcheck(logsumexp, logits)


def test_perplexity_depends_on_the_tokens_bits_per_byte_do_not():
    nats = 100 * math.log(2)  # one text of 40 bytes, read as 50 tokens or as 25
    assert perplexity(nats, 50) == pytest.approx(4) and perplexity(nats, 25) == pytest.approx(16)
    assert bits_per_byte(nats, 40) == pytest.approx(2.5)


def test_impossible_wishes_name_their_numbers():
    with pytest.raises(ValueError, match="token 4 is outside"):
        cross_entropy(torch.zeros(2, 4), torch.tensor([0, 4]))
    with pytest.raises(ValueError, match="token -100 is outside"):
        cross_entropy(torch.zeros(4), torch.tensor(-100))
    with pytest.raises(ValueError, match="0 tokens"):
        perplexity(1.0, 0)
