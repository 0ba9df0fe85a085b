"""The clipped gain, the estimate of the KL divergence and the averages: by hand, by finite
differences, by loops."""

import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from course_lib.alignment.policy_loss import (
    average_token_losses,
    capped_exponent,
    clipped_surrogate,
    estimate_kl,
    k3_kl_divergence,
    sequence_log_ratios,
    soft_overlong_punishment,
    weight_by_policy_ratio,
)
from tests.alignment.tiny import seeded


@pytest.mark.parametrize(
    ("ratio", "advantage", "clips", "gain", "slope"),
    [
        (1.5, 2, (0.2, 0.2), 2.4, 0),  # cut to 1.2: 1.2 * 2 = 2.4 is less than 1.5 * 2 = 3
        (1.5, 2, (0.2, 0.28), 2.56, 0),  # cut to 1.28
        (1.5, 2, (0.2, 0.6), 3.0, 3.0),  # inside: 1.5 * 2, and the slope by log p is the same
        (
            1.5,
            -2,
            (0.2, 0.2),
            -3.0,
            -3.0,
        ),  # a bad token that became likelier is pulled back, however far it is
        (0.5, 2, (0.2, 0.2), 1.0, 1.0),  # and so is a good one that became rarer
        (0.5, -2, (0.2, 0.2), -1.6, 0),  # cut to 0.8: -1.6 is less than -1
        (0.5, -2, (0.1, 0.2), -1.8, 0),  # cut to 0.9
        (0.5, -2, (0.6, 0.2), -1.0, -1.0),  # inside
        (1.5, 0, (0.2, 0.2), 0.0, 0.0),
    ],
)
def test_gain_and_slope_by_hand(ratio, advantage, clips, gain, slope):
    old = torch.tensor([[0.3]]).log()
    new = (old + math.log(ratio)).requires_grad_()
    got = clipped_surrogate(new, old, torch.tensor([[float(advantage)]]), *clips)
    got.backward()
    assert got.item() == pytest.approx(gain, abs=1e-6) and new.grad.item() == pytest.approx(
        slope, abs=1e-6
    )


def tables(n, *shape, scale=0.5, seed=0):
    return [
        torch.randn(*shape, generator=seeded(seed + i), dtype=torch.float64) * scale
        for i in range(n)
    ]


def test_slopes_by_finite_differences():
    new, old, reference = tables(3, 4, 5)
    advantages = tables(1, 4, 1, seed=9)[0]
    ratio = (new - old).exp()
    assert (ratio > 1.28).any() and (ratio < 0.8).any() and ((ratio > 0.8) & (ratio < 1.28)).any()
    new.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda new: clipped_surrogate(new, old, advantages, 0.2, 0.28), new
    )
    assert torch.autograd.gradcheck(lambda new: k3_kl_divergence(new, reference), new)
    mask = torch.tensor(
        [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool
    )
    for how in ("sequence", "token", 3.5):
        assert torch.autograd.gradcheck(
            lambda new, how=how: average_token_losses(new, mask, how), new
        )


def test_in_the_first_step_the_slope_is_advantage_times_that_of_the_log_chance():
    logits = tables(1, 3, 4, 6)[0].requires_grad_()
    tokens = torch.randint(6, (3, 4, 1), generator=seeded())
    log_probs = logits.log_softmax(-1).gather(-1, tokens)[..., 0]
    advantages = torch.tensor([[1.5], [0.0], [-2.0]], dtype=torch.float64)
    got = torch.autograd.grad(
        clipped_surrogate(log_probs, log_probs.detach(), advantages).sum(),
        logits,
        retain_graph=True,
    )
    want = torch.autograd.grad((advantages * log_probs).sum(), logits)
    torch.testing.assert_close(got, want)
    assert got[0][0].abs().max() > 0.1 and (got[0][1] == 0).all()


def test_one_advantage_per_row_or_per_token():
    new, old = tables(2, 3, 4)
    column = torch.tensor([[1.0], [-2.0], [0.5]], dtype=torch.float64)
    assert torch.equal(
        clipped_surrogate(new, old, column), clipped_surrogate(new, old, column.expand(3, 4))
    )


FAR = (-1e4, -700.0, -300.0, -89.0, -29.0, -3.0, -0.1, 0.0, 0.1, 3.0, 29.0, 89.0, 300.0, 700.0, 1e4)
CAP = {dtype: math.log(torch.finfo(dtype).max) / 3 for dtype in (torch.float32, torch.float64)}


def exactly(log_ratio, advantage, low, high):
    """Gain and slope of one token by cases, in Python's floats; None where a number leaves their
    range."""
    if log_ratio > 700:
        ratio = math.inf
    else:
        ratio = math.exp(log_ratio)
    if advantage >= 0 and ratio > 1 + high:
        return (1 + high) * advantage, 0.0
    if advantage < 0 and ratio < 1 - low:
        return (1 - low) * advantage, 0.0
    return ratio * advantage, ratio * advantage


@pytest.mark.parametrize("clips", [(0.2, 0.28), (1.0, 0.0), (0.0, 10.0)])
@pytest.mark.parametrize("advantage", [1.5, 0.0, -0.5])
def test_gain_and_slope_are_finite_and_right_however_far_the_policy_is(advantage, clips):
    """In float32, against Python's floats; beyond the cap the slope is as large as a gradient's
    length allows."""
    new = torch.tensor([FAR]).requires_grad_()
    gain = clipped_surrogate(new, torch.zeros(1, len(FAR)), torch.tensor([[advantage]]), *clips)
    gain.sum().backward()
    assert gain.isfinite().all() and new.grad.isfinite().all() and new.grad.norm().isfinite()
    for log_ratio, got, slope in zip(FAR, gain[0].tolist(), new.grad[0].tolist(), strict=True):
        if log_ratio < CAP[torch.float32] or advantage >= 0:
            assert (got, slope) == pytest.approx(
                exactly(log_ratio, advantage, *clips), rel=1e-4, abs=1e-6
            )
        else:
            assert got == slope == pytest.approx(advantage * math.exp(CAP[torch.float32]), rel=1e-3)


def test_k3_is_finite_and_right_however_far_the_reference_is():
    policy = torch.tensor([FAR]).requires_grad_()
    got = k3_kl_divergence(policy, torch.zeros(1, len(FAR)))
    got.sum().backward()
    assert got.isfinite().all() and policy.grad.isfinite().all() and (got >= 0).all()
    assert got.norm().isfinite() and policy.grad.norm().isfinite()
    for log_p, value, slope in zip(FAR, got[0].tolist(), policy.grad[0].tolist(), strict=True):
        log_ratio = min(-log_p, CAP[torch.float32])
        want = math.expm1(log_ratio) + log_p
        assert value == pytest.approx(want, rel=1e-3) and slope == pytest.approx(
            -math.expm1(log_ratio), rel=1e-3
        )


def test_k3_keeps_small_distances():
    """In float32, against half the square: what exp(x) - x - 1 would have rounded away, or below
    0."""
    distances = torch.tensor([[1e-3, 1e-4, -1e-4, 3e-5, -1e-5]])
    got = k3_kl_divergence(torch.zeros(1, 5), distances)
    torch.testing.assert_close(got, distances.square() / 2, rtol=0.02, atol=0)


@given(st.floats(-1000, 1000, width=32))
def test_a_capped_exponent_is_the_number_itself_up_to_the_cap(x):
    for dtype, cap in CAP.items():
        value = torch.tensor([x], dtype=dtype, requires_grad=True)
        capped = capped_exponent(value)
        assert capped.item() == (pytest.approx(cap) if x > cap else value.item())
        assert torch.autograd.grad(capped.exp().square(), value)[0].isfinite()


@pytest.mark.parametrize(
    "clips",
    [(-0.1, 0.2), (1.1, 0.2), (0.2, -0.1), (math.nan, 0.2), (0.2, math.nan), (0.2, math.inf)],
)
def test_impossible_clips_name_their_numbers(clips):
    table = torch.zeros(1, 1)
    with pytest.raises(
        ValueError,
        match=f"clip_low {clips[0]} must be from 0 to 1, clip_high {clips[1]} at least 0",
    ):
        clipped_surrogate(table, table, table, *clips)


def test_k3_by_hand():
    policy, reference = torch.tensor([[0.5, 0.5, 0.2]]).log(), torch.tensor([[0.5, 1.0, 0.1]]).log()
    want = [[0, 2 - math.log(2) - 1, 0.5 + math.log(2) - 1]]  # ratios 1, 2 and 1 / 2
    torch.testing.assert_close(k3_kl_divergence(policy, reference), torch.tensor(want))


@given(st.floats(-20, 0), st.floats(-20, 0))
def test_k3_is_never_below_0(policy, reference):
    assert (
        k3_kl_divergence(*torch.tensor([[[policy]], [[reference]]], dtype=torch.float64)).item()
        >= 0
    )


def test_k3_is_right_on_average_and_its_slope_is_that_of_the_other_divergence():
    """All tokens of a vocabulary with their exact chances, instead of samples."""
    logits, other = tables(2, 1, 7, scale=0.3)
    logits.requires_grad_()
    log_p, log_q = logits.log_softmax(-1), other.log_softmax(-1)
    chances = log_p.exp().detach()
    torch.testing.assert_close(
        (chances * k3_kl_divergence(log_p, log_q)).sum(), (chances * (log_p - log_q)).sum()
    )
    slope = torch.autograd.grad(
        (chances * k3_kl_divergence(log_p, log_q)).sum(), logits, retain_graph=True
    )
    torch.testing.assert_close(
        slope, torch.autograd.grad((log_q.exp() * (log_q - log_p)).sum(), logits)
    )
    noise = {
        name: spread(chances, found)
        for name, found in (("k3", k3_kl_divergence(log_p, log_q)), ("k1", log_p - log_q))
    }
    assert noise["k3"] < noise["k1"] / 4


def policies(n, scale=0.4):
    """Log-probabilities of a vocabulary of 7 tokens; the first ones have gradients."""
    logits, *others = tables(n, 1, 7, scale=scale)
    logits.requires_grad_()
    return [logits, logits.log_softmax(-1), *(other.log_softmax(-1) for other in others)]


def slope_of(total, logits):
    return torch.autograd.grad(total, logits, retain_graph=True)[0]


@pytest.mark.parametrize("how", ["k1", "k2", "k3"])
def test_values_and_slopes_of_the_estimators_by_enumeration(how):
    logits, log_p, log_q = policies(2)
    chances = log_p.exp().detach()  # of being sampled: no gradient flows through them
    reverse, forward = (log_p.exp() * (log_p - log_q)).sum(), (log_q.exp() * (log_q - log_p)).sum()
    got = (chances * estimate_kl(log_p, log_q, how)).sum()
    half_square = (chances * (log_p - log_q) ** 2).sum() / 2
    torch.testing.assert_close(got, half_square if how == "k2" else reverse)
    slopes = {"k1": torch.zeros(1, 7).double(), "k2": slope_of(reverse, logits)}
    slopes["k3"] = slope_of(forward, logits)
    torch.testing.assert_close(slope_of(got, logits), slopes[how], atol=1e-12, rtol=1e-9)
    assert (slopes["k2"] - slopes["k3"]).abs().max() > 0.01


def test_estimators_by_hand_and_an_unknown_one():
    policy, reference = torch.tensor([[0.5, 0.1]]).log(), torch.tensor([[0.25, 0.1]]).log()
    for how, want in (("k1", 0.693147), ("k2", 0.240227), ("k3", 0.193147)):
        assert estimate_kl(policy, reference, how).tolist() == [[pytest.approx(want, abs=1e-6), 0]]
    with pytest.raises(ValueError, match="estimator 'k4' is not one of k1, k2, k3"):
        estimate_kl(policy, reference, "k4")


@pytest.mark.parametrize("far", [False, True])
def test_weighted_by_the_ratio_k3_is_right_in_value_and_slope_for_samples_of_another(far):
    """The samples are of a third policy, or of the policy itself."""
    logits, log_p, log_q, log_old = policies(3)
    log_old = log_old if far else log_p.detach()
    k3 = k3_kl_divergence(log_p, log_q)
    weighted = weight_by_policy_ratio(k3, log_p, log_old)
    mean = (log_old.exp() * weighted).sum()
    true = (log_p.exp() * (log_p - log_q)).sum()
    torch.testing.assert_close(mean, true)
    torch.testing.assert_close(slope_of(mean, logits), slope_of(true, logits))
    plain = (log_old.exp() * k3).sum()
    assert (slope_of(plain, logits) - slope_of(true, logits)).abs().max() > 0.01
    assert (abs(plain - true) > 0.01) == far


def test_sequence_ratios_are_geometric_means_of_their_tokens():
    new, old = (table - 2 for table in tables(2, 3, 4))
    mask = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4])
    old[~mask] = math.nan  # padding, which must not leak
    got = sequence_log_ratios(new, old, mask).exp()
    want = []
    for row, n in enumerate((4, 2)):
        product = math.prod(
            math.exp(new[row, t].item()) / math.exp(old[row, t].item()) for t in range(n)
        )
        want.append([product ** (1 / n)])
    torch.testing.assert_close(got, torch.tensor([*want, [1.0]], dtype=torch.float64))


def test_the_slope_of_a_sequence_ratio_by_finite_differences():
    new, old = (table - 2 for table in tables(2, 2, 4))
    mask = torch.tensor([[True] * 4, [True, True, False, False]])
    new.requires_grad_()
    assert torch.autograd.gradcheck(lambda new: sequence_log_ratios(new, old, mask).exp(), new)


@pytest.mark.parametrize(
    ("longest", "buffer", "want"),
    [
        (10, 4, [0, 0, -0.25, -0.75, -1, -1]),  # of 5, 6, 7, 9, 10 and 12 tokens
        (10, 10, [-0.5, -0.6, -0.7, -0.9, -1, -1]),
        (10, 0, [0, 0, 0, 0, 0, 0]),
        (16, 4, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_punishment_for_length_by_hand(longest, buffer, want):
    got = soft_overlong_punishment(torch.tensor([5, 6, 7, 9, 10, 12]), longest, buffer)
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float32))
    assert not torch.signbit(got[got == 0]).any()


@pytest.mark.parametrize("buffer", [-1, 11])
def test_a_buffer_longer_than_the_answer_is_refused(buffer):
    with pytest.raises(ValueError, match=f"buffer {buffer} must be from 0 to max_new_tokens 10"):
        soft_overlong_punishment(torch.tensor([5]), 10, buffer)


def spread(chances, values):
    mean = (chances * values).sum()
    return (chances * (values - mean) ** 2).sum().item()


@pytest.mark.parametrize(
    ("how", "want"),
    [
        ("sequence", 8 / 3),  # (6 / 1 + (1 + 3) / 2 + 0) / 3 completions
        ("token", 10 / 3),  # 6 + 1 + 3 over 3 tokens
        (5.0, 2 / 3),  # (6 + 4 + 0) / (3 * 5)
        (0.5, 20 / 3),  # a constant below 1 is one too
    ],
)
def test_averages_by_hand_with_a_completion_without_tokens(how, want):
    values = torch.tensor([[6.0, 9.0], [1.0, 3.0], [9.0, 9.0]])
    mask = torch.tensor([[True, False], [True, True], [False, False]])
    assert average_token_losses(values, mask, how).item() == pytest.approx(want)


def by_loops(rows, how):
    """The outer sums of DeepSeekMath, equation 3, of DAPO, equation 8, and of Dr. GRPO; `rows` have
    no padding."""
    if how == "sequence":
        return sum(sum(row) / len(row) for row in rows if row) / len(rows)
    if how == "token":
        return sum(sum(row) for row in rows) / max(1, sum(len(row) for row in rows))
    return sum(sum(row) / how for row in rows) / len(rows)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.floats(-9, 9), max_size=5), min_size=1, max_size=5),
    st.sampled_from(["sequence", "token", 7.5]),
)
@example([[], []], "token")
@example([[], []], "sequence")
def test_averages_are_those_of_loops_and_padding_counts_nothing(rows, how):
    T = max(map(len, rows)) + 1
    padded = torch.tensor(
        [row + [math.nan] * (T - len(row)) for row in rows], dtype=torch.float64, requires_grad=True
    )
    mask = torch.tensor([[True] * len(row) + [False] * (T - len(row)) for row in rows])
    got = average_token_losses(padded, mask, how)
    assert got.item() == pytest.approx(by_loops(rows, how), abs=1e-9)
    got.backward()
    assert padded.grad.isfinite().all() and (padded.grad[~mask] == 0).all()


def test_what_a_token_of_a_long_completion_weighs():
    """Two completions, of 1 and of 4 tokens: the slope of the average by each token."""
    mask = torch.tensor([[True, False, False, False], [True] * 4])
    want = {"sequence": (1 / 2, 1 / 8), "token": (1 / 5, 1 / 5), 10.0: (1 / 20, 1 / 20)}
    for how, slopes in want.items():
        values = torch.ones(2, 4, requires_grad=True)
        average_token_losses(values, mask, how).backward()
        assert (values.grad[0, 0].item(), values.grad[1, 3].item()) == pytest.approx(slopes)


@pytest.mark.parametrize("how", ["tokens", "", 0.0, -1.0, math.nan, math.inf])
def test_unknown_averages_are_refused_by_name(how):
    with pytest.raises(
        ValueError, match=f"average {how!r} is neither one of sequence, token nor a number above 0"
    ):
        average_token_losses(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool), how)


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4)), ((0, 3), (0, 3))])
def test_tables_of_other_shapes_or_without_rows_are_refused(shapes):
    values, mask = torch.zeros(shapes[0]), torch.ones(shapes[1], dtype=torch.bool)
    numbers = "(?s)" + ".*".join(f"{rows}, ?{columns}" for rows, columns in shapes)
    with pytest.raises(
        (ValueError, TypeError), match=numbers
    ):  # the second if annotations are checked
        average_token_losses(values, mask)
