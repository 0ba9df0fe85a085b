"""The command that trains the ladder: runs are measured and kept, and the tables say what the runs
say."""

import json

import pytest
from torch import nn

from course_lib.experiments import ladder, ladder_runs
from course_lib.experiments.ladder_report import gains_by_step, ladder_table, paired_gains
from course_lib.ladder import main
from course_lib.text import bpe
from course_lib.text.chat import END_OF_TEXT


@pytest.fixture(scope="module")
def corpus():
    documents = ("to be or not to be, that is the question. " * 12,) * 6
    tokenizer = bpe.train_bpe(documents, 270, special_tokens=[END_OF_TEXT])
    return ladder.LadderCorpus(documents, ("not to be, to be, " * 40,), tokenizer)


@pytest.fixture
def small(monkeypatch, corpus):
    monkeypatch.setattr(ladder_runs, "LADDER_BATCH", 2)
    monkeypatch.setattr(
        ladder, "LADDER_CORPORA", {"plays": lambda: corpus, "small web": lambda: corpus}
    )
    ladder.ladder_corpus.cache_clear()
    yield
    ladder.ladder_corpus.cache_clear()


@pytest.mark.parametrize("name", ladder_runs.LADDER_RUNGS)
def test_every_rung_is_trained_and_measured(name, corpus, small):
    found = ladder_runs.run_rung(ladder_runs.LADDER_RUNGS[name], corpus, steps=3, seed=0)
    assert 0 < found["bits_per_byte"] < 10 and found["steps"] == 3
    assert found["active"] <= found["parameters"]
    latents = dict.fromkeys(("V2, latent attention only", "V2", "V3", "V3, looking ahead"), 32 + 8)
    per_layer = (latents | {"V3.2": 32 + 8 + 8}).get(name, 2 * 64)
    numbers = 4 * per_layer
    if name == "V4":  # windows, blocks and index keys, what CSA carries over; of 128 tokens
        csa = 32 * (32 + 8) + 4 * 2 * (32 + 8)
        numbers = (4 * 15 * 32 + 2 * csa + 8 * 32) / 128
    assert found["cache_bytes"] == 4 * numbers
    assert (found["acceptance"] is not None) == (name == "V3, looking ahead")
    assert (found["experts"] > 0) == (
        "experts" in name or name in ("V2", "V3", "V3, looking ahead", "V3.2", "V4")
    )


def test_the_bias_of_v3_moves_and_that_of_no_balance_does_not(corpus, small, monkeypatch):
    models = []
    for name in ("bias, sigmoid", "none, sigmoid"):
        rung = ladder_runs.BALANCING_RUNGS[name]
        monkeypatch.setattr(
            ladder_runs, "held_out_acceptance", lambda model, _: models.append(model)
        )
        ladder_runs.run_rung(rung, corpus, steps=3, seed=0)
    moved, still = (
        [layer.router.bias.abs().sum() for layer in ladder_runs.moe_layers(model)]
        for model in models
    )
    assert min(moved) > 0 and max(still) == 0


def test_a_stopped_command_goes_on_and_does_not_train_twice(tmp_path, small, monkeypatch):
    monkeypatch.setattr(
        ladder_runs,
        "LADDER_RUNGS",
        {name: ladder_runs.LADDER_RUNGS[name] for name in ("GPT-2", "V1")},
    )
    monkeypatch.setattr(
        ladder_runs,
        "BALANCING_RUNGS",
        {"bias, sigmoid": ladder_runs.BALANCING_RUNGS["bias, sigmoid"]},
    )
    main(["--out", str(tmp_path), "--seeds", "0", "--corpora", "plays", "--steps", "10"])
    runs = json.loads((tmp_path / "runs.json").read_text())
    count = 2 * len(ladder_runs.LADDER_RUNGS) - 1 + len(ladder_runs.BALANCING_RUNGS)
    assert len(runs) == count + 1 and runs[0]["table"] == "cost"
    by_table = {run["table"]: run for run in runs if run.get("rung") == "V1"}
    assert by_table["tokens"]["steps"] == 10
    assert by_table["time"]["steps"] == round(10 / runs[0]["ratios"]["V1"])
    (tmp_path / "runs.json").write_text(json.dumps(runs[:-1]))
    trained = []
    real = ladder_runs.run_rung
    monkeypatch.setattr(
        ladder_runs, "run_rung", lambda *args, **more: trained.append(args) or real(*args, **more)
    )
    main(["--out", str(tmp_path), "--seeds", "0", "--corpora", "plays", "--steps", "10"])
    again = json.loads((tmp_path / "runs.json").read_text())
    assert len(trained) == 1 and again[:-1] == runs[:-1]
    assert again[-1]["bits_per_byte"] == runs[-1]["bits_per_byte"]  # the same seed, the same model
    assert "| GPT-2 |" in (tmp_path / "runs.md").read_text()


def test_the_fastest_turn_of_each_counts(monkeypatch, corpus):
    rungs = {"GPT-2": "first", "V1": "second"}
    seconds = {"first": iter([8.0, 4.0, 5.0]), "second": iter([9.0, 30.0, 6.0])}
    order = []

    def fake_train(rung, corpus, steps):
        order.append(rung)
        return ladder_runs.TrainedRung(nn.Identity(), [], next(seconds[rung]))

    monkeypatch.setattr(ladder_runs, "LADDER_RUNGS", rungs)
    monkeypatch.setattr(ladder_runs, "train_rung", fake_train)
    found = ladder_runs.measure_costs(corpus, rounds=3)
    assert found == {"ratios": {"GPT-2": 1.0, "V1": 1.5}}
    assert order == ["first", "second"] * 3


def fake(rung: str, table: str, seed: int, bits: float) -> dict:
    return {
        "corpus": "plays",
        "table": table,
        "rung": rung,
        "seed": seed,
        "bits_per_byte": bits,
        "seconds": 10.0,
        "parameters": 1000,
        "active": 900,
        "cache_bytes": 640.0,
        "violation": None,
        "dead": None,
        "experts": 0,
        "acceptance": None,
        "violation_in_training": [],
    }


def test_differences_are_taken_seed_by_seed():
    runs = [
        fake("GPT-2", "tokens", 0, 2.0),
        fake("GPT-2", "tokens", 1, 3.0),
        fake("V1", "tokens", 0, 1.5),
        fake("V1", "tokens", 1, 3.25),
        fake("V1", "time", 1, 2.75),
        {"table": "cost", "corpus": "plays", "ratios": {"GPT-2": 1.0, "V1": 1.2}},
    ]
    assert paired_gains(runs, "plays", "tokens", "GPT-2", "V1") == [-0.5, 0.25]
    assert paired_gains(runs, "plays", "time", "GPT-2", "V1") == [-0.25]
    told = gains_by_step(runs, "plays")
    assert (
        "-0.125 bits per byte at equal tokens (better in 1 of 2 seeds)" in told
        and "1.20 times the time" in told
    )
    assert "| GPT-2 | 2.500 (2.000-3.000) |" in ladder_table(runs, "plays")


def test_too_few_steps_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "--steps", "3"])
    assert "--steps 3 is below 10" in capsys.readouterr().err
