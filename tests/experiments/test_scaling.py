"""The command of the scaling laws: FLOPs as torch counts them, runs that are kept, a prediction
that is made once."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from course_lib.experiments import scaling, scaling_report
from course_lib.experiments.scaling_fit import LossLaw
from course_lib.models.llama import DEEPSEEK_7B, Llama, LlamaSettings
from course_lib.scaling import main

BATCH = scaling.SCALING_ROWS * scaling.SCALING_LENGTH


@pytest.mark.parametrize(
    "settings",
    [
        LlamaSettings(64, 16, d_model=24, n_layers=3, n_heads=1, tied=True),
        LlamaSettings(96, 8, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2, d_ff=72),
    ],
)
def test_flops_are_those_that_torch_counts(settings):
    model, ids = Llama(settings), torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    # torch has no count for the fused attention of the CPU, which is left out without a word
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(ids).logsumexp(-1).sum().backward()
    assert counter.get_total_flops() == ids.numel() * scaling.train_flops_per_token(settings)


def test_without_the_head_it_is_deepseek_s_m():
    settings = LlamaSettings(512, 64, d_model=48, n_layers=3, n_heads=3)
    M = 72 * 3 * 48**2 + 12 * 3 * 48 * 64
    assert scaling.train_flops_per_token(settings, head=False) == M
    big = scaling.train_flops_per_token(DEEPSEEK_7B, head=False)
    # d_ff is not quite eight thirds of d_model there
    assert big == pytest.approx(72 * 30 * 4096**2 + 12 * 30 * 4096 * 4096, rel=0.01)


def test_matrix_parameters_are_those_of_the_model():
    settings = scaling.scaled_llama(24, vocab_size=64)
    model = Llama(settings)
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    assert sum(scaling.matrix_parameters(settings)) == matrices
    tied = replace(settings, tied=True)
    assert scaling.matrix_parameters(tied)[1] * 2 == scaling.matrix_parameters(settings)[1]


def test_budgets_are_spent_to_the_batch():
    for budget, d_model in scaling.grid_cells(scaling.SCALING_BUDGETS, scaling.SCALING_WIDTHS):
        steps = scaling.steps_for_budget(d_model, budget)
        flops = steps * BATCH * scaling.train_flops_per_token(scaling.scaled_llama(d_model))
        assert abs(flops / budget - 1) < 0.05
        assert steps >= scaling.FEWEST_STEPS and steps * BATCH <= scaling.LONG_HORIZON


def test_the_grid_has_six_sizes_for_each_of_five_budgets():
    cells = list(scaling.grid_cells(scaling.SCALING_BUDGETS, scaling.SCALING_WIDTHS))
    for budget in scaling.SCALING_BUDGETS:
        assert sum(cell[0] == budget for cell in cells) >= 6
    assert len(scaling.SCALING_BUDGETS) >= 5


@pytest.fixture
def tiny(monkeypatch):
    """A text of random tokens, and a grid of four runs that take no time."""
    dice = torch.Generator().manual_seed(0)
    tokens = torch.randint(60, (40_000,), generator=dice)
    text = scaling.ScalingText(tokens, scaling.spread_windows(tokens[:2000]), 2.0)
    monkeypatch.setattr(scaling, "scaling_text", lambda: text)
    monkeypatch.setattr(scaling, "FEWEST_STEPS", 1)
    monkeypatch.setattr(scaling, "SCALING_BUDGETS", (2e8, 4e8))
    monkeypatch.setattr(scaling, "SCALING_WIDTHS", (8, 16))
    monkeypatch.setattr(scaling, "SWEPT_WIDTHS", (8,))
    return text


def test_a_run_says_what_it_cost_and_learns(tiny):
    run = scaling.run_scaling(8, 8e8, budgets=(2e8, 4e8))
    assert run["tokens"] == BATCH * scaling.steps_for_budget(8, 8e8)
    assert run["flops"] == run["tokens"] * scaling.train_flops_per_token(scaling.scaled_llama(8))
    assert [flops for flops, _ in run["curve"]] == sorted({c[0] for c in run["curve"]})
    assert len(run["curve"]) == 3 and run["curve"][-1] == (run["flops"], run["loss"])
    assert run["loss"] < run["curve"][0][1] < np.log(512) + 0.1
    assert run["bits_per_byte"] == pytest.approx(run["loss"] / np.log(2) / 2)


def test_a_run_too_long_for_the_text_is_refused(tiny):
    with pytest.raises(ValueError, match=r"more than the text's 40000 tokens"):
        scaling.run_scaling(8, 1e12)


def test_a_cut_cosine_is_the_start_of_a_longer_one():
    whole = [scaling.cut_cosine(p) for p in (0.05, 0.25, 0.5)]
    assert [scaling.cut_cosine(p, share=0.5) for p in (0.1, 0.5, 1.0)] == pytest.approx(whole)


def test_a_stopped_grid_goes_on_where_it_was(tiny, tmp_path, monkeypatch):
    trained = []
    real = scaling.run_scaling

    def stops_at_third(*args, **kwargs):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(args)
        return real(*args, **kwargs)

    monkeypatch.setattr(scaling, "run_scaling", stops_at_third)
    command = ["grid", "--out", str(tmp_path), "--seeds", "0"]
    with pytest.raises(KeyboardInterrupt):
        main(command)
    first = json.loads((tmp_path / "runs.json").read_text())
    assert len(first) == 2
    monkeypatch.setattr(scaling, "run_scaling", lambda *a, **k: trained.append(a) or real(*a, **k))
    main(command)
    runs = json.loads((tmp_path / "runs.json").read_text())
    assert len(runs) == 4 == len(trained) and runs[:2] == first
    main(command)
    assert len(trained) == 4


def made_up_runs(law: LossLaw) -> list[dict]:
    """Runs of the real grid whose losses follow a law."""
    runs = []
    for budget, d_model in scaling.grid_cells(scaling.SCALING_BUDGETS, scaling.SCALING_WIDTHS):
        settings = scaling.scaled_llama(d_model)
        tokens = BATCH * scaling.steps_for_budget(d_model, budget)
        loss = float(law.loss(sum(scaling.matrix_parameters(settings)), tokens))
        flops = tokens * scaling.train_flops_per_token(settings)
        runs.append(
            {"table": "grid", "budget": budget, "d_model": d_model, "seed": 0, "tokens": tokens}
            | {"loss": loss, "flops": flops, "curve": [(flops, loss)]}
        )
    return runs


LAW = LossLaw(E=1.8, A=60.0, B=400.0, a=0.4, b=0.4)


def test_curves_and_valleys_find_the_law_s_best_sizes():
    runs = made_up_runs(LAW)
    valleys = scaling_report.valleys_at(
        scaling_report.counted_curves(runs, "grid"), scaling.SCALING_BUDGETS
    )
    assert len(valleys) == 5
    sizes = [valley.size for valley in valleys.values()]
    assert sizes == sorted(sizes)
    assert 0.35 < scaling_report.valley_exponent(valleys) < 0.75


def test_counting_without_the_head_makes_sizes_and_budgets_smaller():
    runs = made_up_runs(LAW)
    whole = scaling_report.counted_curves(runs, "grid")
    layers = scaling_report.counted_curves(runs, "grid", head=False)
    for one, other in zip(whole, layers, strict=True):
        assert other.n_parameters < one.n_parameters and other.computes[0] < one.computes[0]
        assert other.losses == one.losses


def test_a_prediction_is_made_once_and_before_its_check(tmp_path):
    path, runs = tmp_path / "prediction.json", made_up_runs(LAW)
    with pytest.raises(ValueError, match="run the part predict first"):
        scaling_report.check_prediction(scaling.RunRecords(tmp_path / "runs.json"), path, [0])
    made = scaling_report.write_prediction(runs, path, draws=3)
    assert made == scaling_report.read_prediction(path)
    assert made["losses"][str(made["d_model"])] == made["loss"] == min(made["losses"].values())
    n = sum(scaling.matrix_parameters(scaling.scaled_llama(made["d_model"])))
    tokens = BATCH * scaling.steps_for_budget(made["d_model"], made["budget"])
    assert made["loss"] == pytest.approx(float(LAW.loss(n, tokens)), rel=2e-3)
    assert made["budget"] >= 4 * max(scaling.SCALING_BUDGETS)
    with pytest.raises(ValueError, match="made once"):
        scaling_report.write_prediction(runs, path)


def test_a_check_trains_the_predicted_width_and_its_neighbours(tmp_path, monkeypatch):
    path, trained = tmp_path / "prediction.json", []
    made = scaling_report.write_prediction(made_up_runs(LAW), path, draws=3)

    def pretend(d_model, budget, seed):
        trained.append((d_model, seed))
        return {"bits_per_byte": 1.0, "seconds": 0.0}

    monkeypatch.setattr(scaling_report, "run_scaling", pretend)
    records = scaling.RunRecords(tmp_path / "runs.json")
    scaling_report.check_prediction(records, path, [0, 1])
    assert trained[:2] == [(made["d_model"], 0), (made["d_model"], 1)] and len(trained) >= 3


def test_impossible_parts_are_told(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "check"])
    assert "run the part predict first" in capsys.readouterr().err
