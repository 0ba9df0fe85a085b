"""Log-softmax and cross-entropy by hand: equal to PyTorch's and to finite differences;
perplexity."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.objectives import (
    LossSum,
    as_loss_sum,
    bits_per_byte,
    cross_entropy,
    log_softmax,
    logsumexp,
    next_token_loss,
    next_token_loss_sum,
    next_token_objective,
    objective_of_logits,
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


# --------------------------------------------------------------------------- sums and their counts

IDS = torch.tensor([[3, 1, IGNORE_INDEX], [0, IGNORE_INDEX, IGNORE_INDEX]])


class Scores(torch.nn.Module):
    """A model of one table: the scores of the next token, by the last one."""

    def __init__(self):
        super().__init__()
        table = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
        self.table = torch.nn.Parameter(table)

    def forward(self, inputs):
        return self.table[inputs]


def test_a_sum_knows_its_mean_its_slope_and_what_is_added_to_the_mean():
    x = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    LossSum(x.sum(), 3).backward()
    assert x.grad.tolist() == pytest.approx([1 / 3] * 3)
    more = LossSum(torch.tensor(9.0), 3, "all rows").plus(torch.tensor(0.5))
    assert more.mean.item() == 3.5 and more.count == 3 and more.whole_batch == "all rows"


def test_the_surprise_is_summed_over_the_targets_that_count():
    inputs, model = torch.tensor([[0, 1, 2], [3, 4, 0]]), Scores()
    table = model.table.log_softmax(-1)
    by_hand = -(table[0, 3] + table[1, 1] + table[3, 0])
    both = next_token_loss_sum(model(inputs), IDS), next_token_objective(model, inputs, IDS)
    for found in both:
        torch.testing.assert_close(found.total, by_hand)
        assert found.count == 3
    nothing = next_token_loss_sum(model(inputs), torch.full_like(IDS, IGNORE_INDEX))
    assert nothing.total == 0 and nothing.count == 0


def test_an_objective_of_logits_counts_the_targets_that_count():
    inputs, model = torch.tensor([[0, 1, 2], [3, 4, 0]]), Scores()
    objective = objective_of_logits(lambda logits, targets: logits.sum() + targets.sum())
    found = objective(model, inputs, IDS)
    torch.testing.assert_close(found.total, 3 * (model(inputs).sum() + IDS.sum()))
    assert found.count == 3
    broken = objective_of_logits(lambda logits, targets: logits.sum() / 0)
    nothing = broken(model, inputs, torch.full_like(IDS, IGNORE_INDEX))
    assert nothing.total == 0 and nothing.count == 0
    nothing.total.backward()
    assert model.table.grad.count_nonzero() == 0


def test_a_plain_number_is_a_mean_over_rows_and_what_is_none_is_named():
    found = as_loss_sum(torch.tensor([2.0]), 4)
    assert (found.total.item(), found.total.ndim, found.count) == (8.0, 0, 4)
    given = LossSum(torch.tensor(1.0), 7)
    assert as_loss_sum(given, 4) is given
    with pytest.raises(TypeError, match=r"not a tensor of shape \(2, 3\)"):
        as_loss_sum(torch.zeros(2, 3), 4)
    with pytest.raises(TypeError, match="not float"):
        as_loss_sum(0.5, 4)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_targets_may_be_small_whole_numbers(dtype):
    logits = torch.tensor([[0.25, 0.75]]).log()
    got = cross_entropy(logits, torch.tensor([1], dtype=dtype))
    assert got.tolist() == pytest.approx([-math.log(0.75)])
