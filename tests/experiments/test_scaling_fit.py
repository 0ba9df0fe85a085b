"""Fits recover constants that are known, and published constants say what their papers say."""

import math

import numpy as np
import pytest
import torch

from course_lib.experiments.scaling_fit import (
    CHINCHILLA_LAW,
    EPOCH_LAW,
    LossLaw,
    bootstrap,
    fit_loss_law,
    fit_power_law,
    huber_of_law,
    isoflop_valley,
    law_starts,
    loss_at_compute,
    percentile_interval,
)

TRUE = LossLaw(E=1.8, A=40.0, B=300.0, a=0.35, b=0.4)


def grid(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n = np.repeat([7e3, 17e3, 33e3, 54e3, 1.1e5, 1.8e5, 3.8e5], 5)
    d = np.tile([2.5e10 * 2**k for k in range(5)], 7) / 6 / n
    noise = np.exp(noise * np.random.default_rng(seed).normal(size=len(n)))
    return n, d, TRUE.loss(n, d) * noise


@pytest.mark.parametrize("seed", range(2))
def test_the_fit_recovers_known_constants_from_noisy_losses(seed):
    law = fit_loss_law(*grid(0.001, seed))
    assert abs(law.E - TRUE.E) < 0.1
    assert abs(law.a - TRUE.a) < 0.04 and abs(law.b - TRUE.b) < 0.04
    best = TRUE.best_parameters(3e12)
    assert abs(math.log(law.best_parameters(3e12) / best)) < 0.15


def test_without_noise_the_fit_is_exact():
    assert np.allclose(fit_loss_law(*grid(0.0)), TRUE, rtol=0.02)


def test_a_run_that_failed_does_not_move_the_fit():
    n, d, losses = grid(0.001)
    spoilt = losses.copy()
    spoilt[17] *= 1.5
    starts = [TRUE._replace(E=1.5, a=0.3)]
    good, bad = (fit_loss_law(n, d, each, starts) for each in (losses, spoilt))
    assert abs(good.E - bad.E) < 0.05 and abs(good.b - bad.b) < 0.02
    squares = fit_loss_law(n, d, spoilt, starts, delta=10.0)  # so far, Huber is the square
    assert abs(squares.E - good.E) > 2 * abs(bad.E - good.E)


def test_huber_is_torch_s_of_the_logarithms():
    n, d, losses = grid(0.01)
    vector = torch.tensor([*np.log(TRUE[:3]), *TRUE[3:]], dtype=torch.double)
    logs = torch.from_numpy(np.log(np.stack([n, d, losses])))
    miss = np.abs(np.log(TRUE.loss(n, d) / losses))
    want = np.where(miss < 1e-3, miss**2 / 2, 1e-3 * (miss - 5e-4)).mean()
    assert huber_of_law(vector, logs, 1e-3).item() == pytest.approx(want)


def test_too_few_or_impossible_runs_are_refused():
    n, d, losses = grid(0.0)
    with pytest.raises(ValueError, match=r"at least 6 runs.*\(3, 5\)"):
        fit_loss_law(n[:5], d[:5], losses[:5])
    with pytest.raises(ValueError, match="above 0"):
        fit_loss_law(n, d, losses - 100)


def test_printed_constants_of_chinchilla_do_not_give_twenty():
    # independent of the closed form: the lowest of a fine grid of sizes
    for law, compute, ratio in (
        (CHINCHILLA_LAW, 5.76e23, 93),
        (EPOCH_LAW, 5.76e23, 18.4),
        (CHINCHILLA_LAW, 1e20, 40),
        (EPOCH_LAW, 1e20, 23),
    ):
        n = np.geomspace(1e6, 1e13, 70_001)
        best = n[law.loss(n, compute / 6 / n).argmin()]
        assert compute / 6 / best**2 == pytest.approx(ratio, rel=0.03)
        assert law.best_parameters(compute) == pytest.approx(best, rel=1e-3)
        assert law.tokens_per_parameter(compute) == pytest.approx(ratio, rel=0.03)


def test_starts_have_terms_of_half_a_nat():
    for law in law_starts([3.0, 2.0]):
        assert law.loss(1e5, 1e6) == pytest.approx(law.E + 1.0)


def test_a_valley_is_found_between_the_runs():
    x = np.array([7.0, 8.0, 9.5, 12.0])
    valley = isoflop_valley(np.exp(x), 2 + 0.3 * (x - 9) ** 2)
    assert valley == pytest.approx((math.exp(9), 2.0, 0.3))


def test_a_hill_is_no_valley():
    valley = isoflop_valley([1e3, 1e4, 1e5], [1.0, 2.0, 1.0])
    assert valley.bend < 0 and math.isnan(valley.size) and math.isnan(valley.loss)
    with pytest.raises(ValueError, match="got 2 different sizes"):
        isoflop_valley([1e3, 1e3, 1e4], [1, 2, 3])


def test_power_laws_are_straight_in_logarithms():
    assert fit_power_law([1e3, 1e6], [5 * 1e3**0.7, 5 * 1e6**0.7]) == pytest.approx((5, 0.7))
    for x, y in (([1, 2], [0, 1]), ([1, 1], [2, 3]), ([1, 2], [3])):
        with pytest.raises(ValueError, match="two different x"):
            fit_power_law(x, y)


def test_a_curve_is_unknown_beyond_its_ends():
    assert loss_at_compute([10, 1000], [4.0, 1.0], 100.0) == pytest.approx(2.0)
    assert loss_at_compute([1000, 10], [1.0, 4.0], 100.0) == pytest.approx(2.0)
    assert math.isnan(loss_at_compute([10, 1000], [4.0, 1.0], 2000.0))


def test_the_bootstrap_of_a_mean_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).normal(size=300)
    means = bootstrap(lambda rows: values[rows].mean(), len(values), draws=1000)
    assert means.std() == pytest.approx(values.std() / 300**0.5, rel=0.1)
    low, high = percentile_interval(means, 0.9)
    assert ((low <= means) & (means <= high)).mean() == pytest.approx(0.9, abs=0.01)
    with pytest.raises(ValueError, match=r"share 90.0 "):
        percentile_interval(means, 90.0)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    hits = 0
    for seed in range(100):
        values = np.random.default_rng(seed).normal(3.0, 1.0, size=60)
        draws = bootstrap(lambda rows, v=values: v[rows].mean(), 60, draws=200, seed=seed)
        low, high = percentile_interval(draws, 0.9)
        hits += low <= 3.0 <= high
    assert 80 <= hits <= 97
