"""The runs of lesson 22 differ in what they say they differ in; none is made twice."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from course_lib.alignment.sft import SFTExample, pack_examples
from course_lib.experiments import sft_runs
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.run_records import RunRecords
from course_lib.experiments.sft_runs import SFTRun
from course_lib.text.batches import IGNORE_INDEX
from course_lib.training.objectives import next_token_objective

NEW = [SFTExample([0, 5], [6, 0]), SFTExample([0, 7], [8, 0])]
OLD = [SFTExample([0], [9, 0])] * 3


def test_old_examples_get_their_share():
    for share in (0.1, 0.3, 0.5):
        mixed = sft_runs.mix_in_old(NEW, OLD, share)
        assert mixed.count(OLD[0]) == 3 and 3 / len(mixed) == pytest.approx(share, abs=0.01)
        assert abs(mixed.count(NEW[0]) - mixed.count(NEW[1])) <= 1
    assert sft_runs.mix_in_old(NEW, [], 0.0) == NEW
    for old, share in ((OLD, 1.0), ([], 0.1), (OLD, -0.1)):
        with pytest.raises(ValueError, match="old examples for a share"):
            sft_runs.mix_in_old(NEW, old, share)


def test_the_runs_learn_from_what_they_say():
    plain = sft_runs.run_examples(SFTRun(n_labels=5), seed=0)
    everything = sft_runs.run_examples(SFTRun(n_labels=5, learn="everything"), seed=0)
    for one, other in zip(plain, everything, strict=True):
        assert [*one.prompt, *one.completion] == [*other.prompt, *other.completion]
        assert len(other.prompt) == 1 < len(one.prompt)
    tokenizer = SHIPPED_R1.tokenizer()
    asked = tokenizer.decode(sft_runs.run_examples(SFTRun(n_labels=1, attempts=True), 0)[0].prompt)
    assert "User: I got " in asked
    mixed = sft_runs.run_examples(SFTRun(n_labels=5, old_share=0.5), seed=0)
    assert sum(len(example.prompt) == 1 for example in mixed) == len(mixed) / 2
    assert sft_runs.run_examples(SFTRun(n_labels=5), seed=1) != plain


def test_pages_to_measure_are_not_those_to_mix_in():
    held_out = sft_runs.held_out_pages()
    assert held_out == sft_runs.pages_of_the_base(200, seed=0) and len(held_out) == 200
    assert held_out != sft_runs.pages_of_the_base(200, seed=1)


def test_bits_per_byte_are_those_of_one_page_after_the_other():
    model, pages = SHIPPED_R1.load("base").eval(), ["User: hm\nAssistant: a", "b 读"]
    nats = 0.0
    for example in sft_runs.page_examples(pages):
        ids = torch.tensor([[*example.prompt, *example.completion]])
        logs = model(ids[:, :-1])[0].double().log_softmax(-1)
        nats -= logs.gather(-1, ids[0, 1:, None]).sum().item()
    n_bytes = sum(len(page.encode()) for page in pages)
    bits = nats / torch.tensor(2.0).log().item() / n_bytes
    assert sft_runs.page_bits_per_byte(model, pages) == pytest.approx(bits, rel=1e-4)


def test_leaking_rows_are_the_plain_objective_on_the_same_tokens():
    model = SHIPPED_R1.load("base").eval()
    inputs, targets = pack_examples(NEW, length=6)
    leaking = sft_runs.next_token_leaking(model, inputs, targets)
    plain = next_token_objective(model, inputs, targets[:, 0])
    assert leaking.total.item() == plain.total.item() and leaking.count == 4
    assert (targets[:, 0] != IGNORE_INDEX).sum() == 4


def test_runs_are_kept_and_not_made_twice(tmp_path, monkeypatch, capsys):
    made = []

    def quick(run, seed):
        made.append((run, seed))
        good = run.rate == (8e-3 if run.rank else 2e-3)
        return {"accuracy": 0.5 + good / 4, "seconds_taken": 2.0, "bits_per_byte": 1.0}

    monkeypatch.setattr(sft_runs, "run_sft", quick)
    monkeypatch.setattr(
        sft_runs, "run_self_training", lambda *how: {"rounds": [], "seconds_taken": 1.0}
    )
    sft_runs.main(["--out", str(tmp_path), "--seeds", "0", "1"])
    assert len(set(made)) == len(made)
    compared = [run for run, _ in made[2 * 10 :]]
    assert {run.rate for run in compared} == {2e-3, 8e-3}
    capsys.readouterr()
    n = len(made)
    sft_runs.main(["--out", str(tmp_path), "--seeds", "0", "1"])
    assert len(made) == n and capsys.readouterr().out == ""
    assert sft_runs.values_by_seed(SFTRun(rate=2e-3), "accuracy", tmp_path) == [0.75, 0.75]
    assert sft_runs.best_rates(RunRecords(tmp_path / "runs.json").runs) == (2e-3, 8e-3)


def test_one_short_run_of_each_kind():
    for run in (SFTRun(), SFTRun(rank=2), SFTRun(rows="packed")):
        short = replace(run, n_labels=4, steps=1)
        examples = sft_runs.run_examples(short, seed=0)
        _, found = sft_runs.train_examples(short, examples, seed=0)
        assert found["steps_taken"] == 1 and found["tokens"] > 0
    assert asdict(run)["rows"] == "packed"


def test_an_answer_that_no_chat_holds_is_not_learnt_from(monkeypatch):
    texts = ["", "  ", "so 9", "x<|endoftext|>"]
    monkeypatch.setattr(sft_runs, "answer_in_batches", lambda *a, **o: (texts, None))
    kept = sft_runs.self_made_pairs(
        nn.Identity(), lambda question, text: True, "s", n=1, n_samples=4
    )
    assert [text for _, text in kept] == ["so 9"]
