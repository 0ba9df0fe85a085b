"""Masks by their statistics: how many, which, what becomes of them; static and dynamic ones."""

from itertools import islice

import pytest
import torch

from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.masking import (
    MaskedRows,
    choose_spans,
    choose_tokens,
    choose_words,
    corrupt_tokens,
    masked_batches,
    masking_budget,
    word_numbers,
)

N, T, MASK = 2000, 40, 3
REPLACEMENTS = torch.arange(10, 30)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def rows():
    ids = torch.randint(10, 30, (N, T), generator=torch.Generator().manual_seed(1))
    maskable = torch.ones(N, T).bool()
    maskable[:, 0] = maskable[:, 30:] = False
    return ids, maskable


def words_of(lengths, maskable):
    """Words of so many tokens each, in turn."""
    starts = torch.zeros(maskable.shape).bool()
    place = 0
    while place < maskable.shape[1]:
        for n in lengths:
            starts[:, place : place + 1] = True
            place += n
    return word_numbers(starts, maskable)


def test_each_row_hides_the_share_and_each_token_is_as_likely(generator):
    _, maskable = rows()
    chosen = choose_tokens(maskable, 0.15, generator)
    assert (chosen.sum(1) == 4).all()  # 15 % of 29 is 4.35
    assert not (chosen & ~maskable).any()
    often = chosen[:, maskable[0]].float().mean(0)
    assert (often - 4 / 29).abs().max() < 0.035  # 4.5 standard deviations of 2000 draws


def test_a_row_hides_one_token_at_least_and_no_more_than_it_has(generator):
    maskable = torch.tensor([[True, False, True], [False, False, False]])
    assert masking_budget(maskable, 0.15).tolist() == [1, 0]
    assert choose_tokens(maskable, 0.15, generator).sum(1).tolist() == [1, 0]
    assert choose_tokens(maskable, 1.0, generator).tolist() == maskable.tolist()


def test_80_10_10(generator):
    ids, maskable = rows()
    chosen = choose_tokens(maskable, 0.5, generator)
    inputs, targets = corrupt_tokens(ids, chosen, MASK, REPLACEMENTS, generator)
    assert torch.equal(inputs[~chosen], ids[~chosen]) and (targets[~chosen] == IGNORE_INDEX).all()
    assert torch.equal(targets[chosen], ids[chosen])
    became, was = inputs[chosen], ids[chosen]
    masked, same = (became == MASK).float().mean(), (became == was).float().mean()
    assert abs(masked - 0.8) < 0.01
    assert abs(same - (0.1 + 0.1 / 20)) < 0.01  # a random token is the right one 1 time in 20
    other = became[(became != MASK) & (became != was)]
    assert other.min() >= 10 and other.max() < 30
    assert (other.bincount(minlength=30)[10:] / len(other) - 0.05).abs().max() < 0.015


def test_other_shares(generator):
    ids, maskable = rows()
    inputs, _ = corrupt_tokens(ids, maskable, MASK, REPLACEMENTS, generator, 1.0, 0.0)
    assert (inputs[maskable] == MASK).all()
    inputs, _ = corrupt_tokens(ids, maskable, MASK, REPLACEMENTS, generator, 0.0, 1.0)
    assert torch.equal(inputs, ids)


def test_words_are_hidden_whole_or_not_at_all(generator):
    _, maskable = rows()
    words = words_of([1, 2, 3], maskable)
    chosen = choose_words(words[:300], 0.3, generator)
    for number in range(1, int(words.max()) + 1):  # word 0 may not be hidden
        hidden = chosen[words[:300] == number].view(300, -1)
        assert (hidden.all(1) == hidden.any(1)).all()
    budget = masking_budget(maskable, 0.3)[0]
    assert chosen.sum(1).max() <= budget and chosen.sum(1).float().mean() > budget - 0.5


def test_spans_have_the_lengths_of_the_paper(generator):
    words = torch.arange(400).expand(200, -1)
    chosen = choose_spans(words, 0.02, generator)  # few, so that runs hardly touch
    lengths = []
    for row in chosen.int().tolist():
        lengths += [len(run) for run in "".join(map(str, row)).split("0") if run]
    share = torch.tensor(lengths).bincount(minlength=4)[1:4] / len(lengths)
    # 1 / n of 1 + 1/2 + 1/3; the last run of a row is cut to fit
    assert (share - torch.tensor([6, 3, 2]) / 11).abs().max() < 0.08
    assert chosen.sum(1).float().mean() > 7.5 and chosen.sum(1).max() == 8


def taken(copies, n_batches, start_step=0, batch_size=4):
    """Batches of 8 rows, whose corruption is the number that the generator draws."""

    def corrupt(generator):
        drawn = torch.randint(10**9, (8, 1), generator=generator)
        return torch.cat([torch.arange(8)[:, None], drawn], 1), drawn

    batches = masked_batches(
        lambda g: MaskedRows(*corrupt(g)), 8, batch_size, copies, start_step=start_step
    )
    return list(islice(batches, n_batches))


def masks_of_epochs(batches):
    """For each epoch of 8 rows: row -> its mask."""
    pairs = [tuple(row) for inputs, _ in batches for row in inputs.tolist()]
    return [dict(pairs[i : i + 8]) for i in range(0, len(pairs), 8)]


def test_static_masks_return_and_dynamic_ones_never_do():
    dynamic = masks_of_epochs(taken(None, 8))
    assert all(len(epoch) == 8 for epoch in dynamic)
    assert all(len({epoch[row] for epoch in dynamic}) == 4 for row in range(8))
    one = masks_of_epochs(taken(1, 8))
    assert all(epoch == one[0] for epoch in one)
    two = masks_of_epochs(taken(2, 8))
    assert two[0] == two[2] and two[1] == two[3] and two[0] != two[1]


@pytest.mark.parametrize("copies", [None, 1, 3])
def test_a_run_that_stopped_goes_on(copies):
    whole, rest = taken(copies, 9, batch_size=3), taken(copies, 4, start_step=5, batch_size=3)
    for got, want in zip(rest, whole[5:], strict=True):
        assert torch.equal(got[0], want[0]) and torch.equal(got[1], want[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: choose_tokens(torch.ones(1, 2).bool(), 0.0, g), "share 0.0 is not above 0"),
        (lambda g: choose_spans(torch.zeros(1, 2).long(), 0.5, g, 0), "longest 0 is below 1"),
        (
            lambda g: corrupt_tokens(
                torch.zeros(1, 1).long(), torch.ones(1, 1).bool(), 0, REPLACEMENTS, g, 0.8, 0.3
            ),
            "mask_share 0.8 and keep_share 0.3 are no shares",
        ),
        (lambda g: next(masked_batches(lambda g: None, 3, 1, copies=0)), "copies 0 is below 1"),
    ],
)
def test_what_does_not_fit_is_named(call, message, generator):
    with pytest.raises(ValueError, match=message):
        call(generator)
