"""The runs of lesson 10: what they read, what they vary, and what is broken in the failure lab."""

import json
import math
from collections import Counter
from dataclasses import asdict
from itertools import islice

import pytest
import torch

from course_lib.experiments import failure_lab, sweeps, text_strategies
from course_lib.experiments.run_records import RunRecords
from course_lib.text.batches import IGNORE_INDEX


@pytest.fixture
def tiny(monkeypatch):
    """Text of two kilobytes in place of a megabyte."""
    documents = ["a cat sat on a mat. " * 20] * 3
    tokenizer = sweeps.bpe.train_bpe(documents, 264, special_tokens=[failure_lab.END_OF_TEXT])
    monkeypatch.setattr(sweeps, "SWEEP_VOCABULARY", 264)
    monkeypatch.setattr(sweeps, "SWEEP_LENGTH", 8)
    monkeypatch.setattr(sweeps, "SWEEP_SIZE", sweeps.SWEEP_SIZE | {"max_seq_len": 8})
    texts = sweeps.SweepTexts(
        sweeps.tokens_of(documents, tokenizer), *sweeps.windows_to_score(["a cat sat."], tokenizer)
    )
    monkeypatch.setattr(sweeps, "sweep_texts", lambda: texts)
    return texts


def test_windows_count_every_token_of_the_held_out_text_once(tiny):
    tokenizer = sweeps.bpe.train_bpe(["xyz"], 257, special_tokens=[failure_lab.END_OF_TEXT])
    inputs, targets, n_bytes = sweeps.windows_to_score(["a cat sat on it", "é"], tokenizer)
    assert n_bytes == 15 + 2 and inputs.shape == targets.shape == (3, 8)
    end = tokenizer.special_tokens[failure_lab.END_OF_TEXT]
    counted = targets[targets != IGNORE_INDEX].tolist()
    assert counted == [*b"a cat sat on it", end, *"é".encode(), end] and inputs[0, 0] == end


def test_a_model_that_knows_nothing_scores_log_v(tiny):
    model = sweeps.sweep_model(0)
    torch.nn.init.zeros_(model.token_embedding.weight)
    inputs, targets, n_bytes = tiny[1:]
    assert sweeps.nats_per_token(model, inputs, targets) == pytest.approx(math.log(264), rel=1e-5)
    n_tokens = (targets != IGNORE_INDEX).sum().item()
    bits = sweeps.score_windows(model, inputs, targets, n_bytes)
    assert bits == pytest.approx(n_tokens * math.log2(264) / n_bytes, rel=1e-5)


@pytest.mark.parametrize("optimizer", sweeps.SWEEP_OPTIMIZERS)
def test_a_point_is_the_same_each_time_and_its_rate_matters(optimizer, tiny):
    point = sweeps.SweepPoint("x", optimizer, rate=0.01, steps=3)
    first, again = point.run()["bits_per_byte"], point.run()["bits_per_byte"]
    other = sweeps.SweepPoint("x", optimizer, rate=0.1, steps=3).run()["bits_per_byte"]
    assert first == again != other


def test_every_part_has_three_seeds_and_a_shared_point_is_run_once(tiny, tmp_path, monkeypatch):
    for part, points in sweeps.SWEEP_PARTS.items():
        keys = Counter(tuple((asdict(point) | {"seed": 0}).items()) for point in points())
        assert set(keys.values()) == {3}, part
    ran = []
    monkeypatch.setattr(
        sweeps.SweepPoint,
        "run",
        lambda self: ran.append(self) or {"bits_per_byte": 1.0, "seconds": 0.0},
    )
    sweeps.run_sweeps(RunRecords(tmp_path / "runs.json"), ["optimizers", "schedules"])
    kept = json.loads((tmp_path / "runs.json").read_text())
    both = [point for point in sweeps.schedule_points() if point.schedule == "WSD"]
    assert len(kept) == len(ran) + len(both)
    assert len(sweeps.load_sweep("schedules", tmp_path / "runs.json")) == 72
    with pytest.raises(ValueError, match="holds no runs of 'decay'"):
        sweeps.load_sweep("decay", tmp_path / "runs.json")


def test_arms_of_a_part_read_equally_many_tokens_of_equal_sources():
    for arms in (text_strategies.ORDERS, text_strategies.LAST_STAGES):
        read = []
        for phases in arms.values():
            total = Counter()
            for shares, length in phases:
                total.update({source: share * length for source, share in shares.items()})
            read.append({source: round(share, 6) for source, share in total.items()})
        assert all(each == read[0] for each in read)


def test_rows_come_by_the_shares(monkeypatch):
    streams = {"tales": torch.zeros(2000).long(), "sums": torch.ones(2000).long()}
    monkeypatch.setattr(
        text_strategies,
        "source_texts",
        lambda source: sweeps.SweepTexts(streams[source], None, None, 0),
    )
    rows = text_strategies.mixed_batches({"tales": 0.875, "sums": 0.125}, seed=3)
    first = [inputs[:, 0] for inputs, _ in islice(rows, 6)]
    assert torch.cat(first).sum() == 6 and all(len(batch) == 8 for batch in first)
    later = text_strategies.mixed_batches({"tales": 0.875, "sums": 0.125}, seed=3, start_step=4)
    assert torch.equal(next(later)[0][:, 0], first[4])


# The failure lab
# --------------------------------------------------------------------------------------------------


def test_each_fault_is_what_it_is_called():
    inputs, targets = next(failure_lab.window_batches(0))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])
    inputs, targets = next(failure_lab.unshifted_batches(0))
    assert torch.equal(inputs, targets)
    frozen = failure_lab.half_trained_model(0)
    assert not any(p.requires_grad for p in frozen.blocks[0].parameters())
    learnt, held_out, later = failure_lab.lab_documents()
    leaked = failure_lab.collect_documents(leak=True)
    assert set(held_out) <= set(leaked) and not set(held_out) & set(learnt)
    assert not set(later) & set(leaked)


def test_only_the_unmasked_model_sees_the_future():
    ids = torch.arange(10)[None]
    other = ids.clone()
    other[0, -1] = 99
    for build, sees in ((failure_lab.lab_model, False), (failure_lab.unmasked_model, True)):
        with torch.no_grad():
            model = build(0)
            moved = (model(ids) - model(other))[0, :-1].abs().max()
        assert (moved > 1e-6) == sees


def test_the_filler_counts_only_where_it_should_not():
    inputs, targets = next(failure_lab.padded_batches(0))
    same, mended = next(failure_lab.padded_batches(0, IGNORE_INDEX))
    end = failure_lab.lab_tokenizer().special_tokens[failure_lab.END_OF_TEXT]
    assert torch.equal(inputs, same) and (mended == IGNORE_INDEX).any()
    assert (targets[mended == IGNORE_INDEX] == end).all()
    assert torch.equal(targets[mended != IGNORE_INDEX], mended[mended != IGNORE_INDEX])


def test_a_run_is_written_down_and_comes_back(tmp_path):
    run = failure_lab.run_lab(failure_lab.LAB_RECIPES["frozen layer"], steps=20)
    assert len(run.train) == 20 and len(run.held_out) == 2 and run.sample.startswith("Long ago")
    assert max(run.gradients["block 1"]) == 0 < min(run.gradients["block 2"])
    failure_lab.save_lab_runs(tmp_path / "runs.json", {"A": run})
    back = failure_lab.load_lab_runs(tmp_path / "runs.json")["A"]
    assert back.sample == run.sample and back.train == pytest.approx(run.train, rel=1e-3)
    (tmp_path / "runs.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        failure_lab.load_lab_runs(tmp_path / "runs.json")


def test_the_stored_runs_show_what_the_checker_takes_for_evidence():
    """Each fault's evidence holds for its own run and for no other: worked out from the numbers."""
    runs, letters = failure_lab.load_lab_runs(), failure_lab.lab_letters()
    guess = math.log(failure_lab.lab_tokenizer().n_vocab)
    healthy = runs["healthy"]

    def seen(run: failure_lab.LabRun) -> set[str]:
        train, held_out = sum(run.train[-20:]) / 20, run.held_out[-1]
        early = sum(run.train[30:50]) / 20
        found = {
            "all near zero": max(train, held_out, run.later) < 0.5,
            "only training near zero": train < 0.1 and held_out > guess,
            "held-out too good": held_out < train + 0.1 < run.later - 0.3,
            "training too good": 0.5 < early < 0.75 * run.held_out[2],
            "no gradient": any(max(norms) == 0 for norms in run.gradients.values()),
            "never low": min(train, held_out) > 2 * healthy.held_out[-1]
            and max(run.gradients["embeddings"]) > 10 * max(healthy.gradients["embeddings"]),
        }
        return {word for word, holds in found.items() if holds}

    from course_lib.lab.checks.pretraining import SIGNS

    assert seen(healthy) == set()
    for letter, fault in letters.items():
        assert seen(runs[letter]) == {SIGNS[fault][0]}, letter
