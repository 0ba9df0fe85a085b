"""From GPT-2 to V1 one change at a time: both ends are the library's, all sizes are equal."""

from dataclasses import replace

import pytest
import torch

from course_lib.experiments import dense_changes as dense
from course_lib.experiments import sweeps
from course_lib.experiments.run_records import RunRecords
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings

SIZES = {
    "vocab_size": 50,
    "max_seq_len": dense.DENSE_LENGTH,
    "d_model": dense.DENSE_WIDTH,
    "n_layers": dense.DENSE_LAYERS,
    "n_heads": dense.DENSE_HEADS,
}
V1 = LlamaSettings(**SIZES, n_kv_heads=dense.SHARED_HEADS, d_ff=90, tied=True)


def same_logits(model, other):
    """Give both the same random weights, by name, and compare what they say."""
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    other.load_state_dict(model.state_dict())
    ids = torch.randint(50, (2, dense.DENSE_LENGTH))
    torch.testing.assert_close(model(ids), other(ids), rtol=1e-5, atol=1e-5)


def test_without_changes_it_is_gpt2():
    same_logits(dense.DenseModel(50, (), d_ff=90), GPT2(GPT2Settings(**SIZES, d_ff=90)))


def test_with_all_changes_it_is_a_tied_llama():
    same_logits(dense.DenseModel(50, dense.DENSE_CHANGES, d_ff=90), Llama(V1))


def test_each_change_changes_what_it_is_named_after():
    without = dense.DENSE_CHANGES[:-1]  # the schedule is not in the model
    for change in without:
        others = [c for c in without if c != change]
        with pytest.raises((AssertionError, RuntimeError)):
            same_logits(dense.DenseModel(50, others, d_ff=90), Llama(V1))
    same_logits(
        dense.DenseModel(50, [c for c in without if c != "GQA"], d_ff=90),
        Llama(replace(V1, n_kv_heads=dense.DENSE_HEADS)),
    )


def test_no_bias_is_left():
    for changes in (("no biases",), dense.DENSE_CHANGES):
        names = [name for name, _ in dense.DenseModel(50, changes, 90).named_parameters()]
        assert names and not [name for name in names if "bias" in name]


def test_first_weights_are_those_of_both_ends():
    for changes, end in (
        ((), GPT2(GPT2Settings(**SIZES, d_ff=90))),
        (dense.DENSE_CHANGES, Llama(V1)),
    ):
        for name, weight in dense.DenseModel(50, changes, 90).named_parameters():
            other = end.get_parameter(name)
            assert weight.std().item() == pytest.approx(other.std().item(), rel=0.15, abs=1e-6)


def test_all_kinds_are_as_large_as_gpt2():
    sizes = []
    for changes in dense.dense_chain():
        d_ff = dense.fitting_d_ff(512, changes)
        sizes.append(dense.dense_parameters(512, changes, d_ff))
        step = dense.dense_parameters(512, changes, d_ff + 1) - sizes[-1]
        assert abs(sizes[-1] - sizes[0]) <= step / 2
    assert len(sizes) == 7 and max(sizes) - min(sizes) < 0.004 * sizes[0]


def test_an_unknown_change_is_refused_by_name():
    with pytest.raises(ValueError, match=r"no changes \['rotating'\]"):
        dense.DenseModel(50, ("rotary", "rotating"), 90)


class Records(RunRecords):
    """Runs that cost nothing: the best rate is given."""

    def __init__(self, folder, best):
        super().__init__(folder / "runs.json")
        self.best = best

    def get(self, measure, **key):
        score = abs(torch.tensor(key["rate"] / self.best).log2().item())
        self.runs.append(key | {"bits_per_byte": score})


@pytest.mark.parametrize("best", [0.0015, 0.006, 0.024])
def test_rates_are_added_until_the_best_is_inside(best, tmp_path):
    records = Records(tmp_path, best)
    dense.sweep_dense_rates(records, ("rotary",), [0], 1)
    rates = sorted(run["rate"] for run in records.runs)
    assert rates[0] < best < rates[-1]
    assert all(b == pytest.approx(2 * a) for a, b in zip(rates, rates[1:], strict=False))


def test_the_command_keeps_what_it_has(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(dense, "dense_chain", lambda: [(), ("GQA",)])
    monkeypatch.setattr(dense, "DENSE_MEGABYTES", 0.3)
    # the smaller of the two is best, so that one more is added
    monkeypatch.setattr(sweeps, "best_rate", lambda scores: 0.006)
    command = ["--out", str(tmp_path), "--steps", "2", "--seeds", "5"]
    dense.main(command)
    first = dense.load_dense(tmp_path / "runs.json")
    assert {(run["kind"], run["rate"]) for run in first} == {
        (kind, rate) for kind in ("GPT-2", "GPT-2, GQA") for rate in (0.003, 0.006, 0.012)
    }
    assert len(capsys.readouterr().out.splitlines()) == 6
    dense.main(command)
    assert dense.load_dense(tmp_path / "runs.json") == first and not capsys.readouterr().out
    again = dense.run_dense(("GQA",), 0.006, 5, 2)
    kept = next(run for run in first if (run["kind"], run["rate"]) == ("GPT-2, GQA", 0.006))
    assert again["bits_per_byte"] == pytest.approx(kept["bits_per_byte"], abs=1e-6)


def test_gains_are_by_seed_and_at_each_kinds_own_best_rate():
    scores = {"GPT-2": {0.1: (3.0, 2.0), 0.2: (9.0, 9.0)}, "GPT-2, GQA": {0.2: (1.0, 1.5)}}
    runs = [
        {"kind": kind, "rate": rate, "seed": seed, "steps": steps, "bits_per_byte": score + steps}
        for steps in (7, dense.DENSE_STEPS)
        for kind, rates in scores.items()
        for rate, pair in rates.items()
        for seed, score in reversed(list(enumerate(pair)))
    ]
    assert dense.gains(runs, (), ("GQA",)) == dense.gains(runs, (), ("GQA",), steps=7) == [2, 0.5]
    assert dense.best_scores(runs, (), steps=7) == [10, 9]


def test_the_shipped_runs_are_whole():
    runs = dense.load_dense()
    for changes in dense.dense_chain():
        scores = dense.scores_by_rate(runs, changes)
        best = sweeps.best_rate(scores)
        assert min(scores) < best < max(scores), "the best rate has a worse one on either side"
        assert all(len(each) == len(dense.DENSE_SEEDS) for each in scores.values())
        d_ff = dense.fitting_d_ff(512, changes)
        size = dense.dense_parameters(512, changes, d_ff)
        mine = [run for run in runs if run["kind"] == dense.dense_name(changes)]
        assert {run["parameters"] for run in mine} == {size}
