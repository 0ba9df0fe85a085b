"""BERT's changes one at a time: each run differs from the others in what it is named after."""

import itertools
from collections import Counter

import pytest
import torch

from course_lib.experiments import bert_changes, family
from course_lib.experiments import family_texts as texts
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.masking import MaskedRows
from course_lib.training.settings import TrainSettings


def test_a_left_reader_is_the_same_model_with_a_causal_mask():
    left, both = bert_changes.new_left_reader(0).eval(), family.new_roberta(0).eval()
    assert all(torch.equal(a, b) for a, b in zip(left.parameters(), both.parameters(), strict=True))
    ids = torch.randint(4, 1000, (2, 9))
    changed = ids.clone()
    changed[:, 5:] = 7
    for model, sees_right in ((left, False), (both, True)):
        one, other = (model.hidden(x, padding=x == texts.PAD_TOKEN)[:, :5] for x in (ids, changed))
        assert ((one - other).abs().max() > 1e-3) == sees_right


def test_padding_on_the_right_is_unheard_by_a_left_reader():
    model, row = bert_changes.new_left_reader(0).eval(), texts.text_rows([" Tom was in the cave."])
    n = int((row != texts.PAD_TOKEN).sum())
    short, long = (model.hidden(x, padding=x == texts.PAD_TOKEN)[0, :n] for x in (row[:, :n], row))
    torch.testing.assert_close(short, long)


def hidden_in_each_epoch(copies, epochs=3):
    """Where each of the few passages is asked, epoch by epoch; only of passages that occur once."""
    n, tables = bert_changes.FEW_PASSAGES, [{} for _ in range(epochs)]
    batches = bert_changes.few_masked(0, copies)
    rows = (row for batch in batches for row in zip(*batch, strict=True))
    times = Counter(map(tuple, bert_changes.few_passages().tolist()))
    for number, (inputs, targets) in enumerate(itertools.islice(rows, n * epochs)):
        asked = targets != IGNORE_INDEX
        text = tuple(torch.where(asked, targets, inputs).tolist())
        if times[text] == 1:
            tables[number // n][text] = asked.tolist()
    return tables


def test_static_masks_come_back_and_dynamic_ones_do_not():
    first, second, third = hidden_in_each_epoch(1)
    assert first == second and len(first) > 400
    first, second, third = hidden_in_each_epoch(2)
    assert first == third != second
    first, second, third = hidden_in_each_epoch(None)
    assert first != second and first != third and first.keys() == third.keys()


def test_fewer_targets_leaves_the_inputs_and_asks_less():
    ours = bert_changes.fewer_targets(family.masked_passages(0), 0.5, seed=0)
    theirs = family.masked_passages(0)
    (inputs, fewer), (same, targets) = next(ours), next(theirs)
    asked = fewer != IGNORE_INDEX
    assert torch.equal(inputs, same)
    assert torch.equal(fewer[asked], targets[asked])
    assert 0.35 < asked.sum() / (targets != IGNORE_INDEX).sum() < 0.65


def test_accuracy_is_at_masks_alone():
    model = family.new_bert(0).eval()
    ids = texts.family_passages().ids[:3]
    inputs, targets = ids.clone(), torch.full_like(ids, IGNORE_INDEX)
    inputs[:, 2], targets[:, 2] = texts.MASK_TOKEN, ids[:, 2]
    guess = model(inputs, padding=ids == texts.PAD_TOKEN)[:, 2].argmax(-1)
    targets[0, 2] = guess[0]  # one is right by construction
    targets[1:, 2] = guess[1:] + 1
    targets[:, 4] = 9  # asked, but not hidden: not counted
    found = bert_changes.accuracy_at_masks(model, MaskedRows(inputs, targets))
    assert found == pytest.approx(1 / 3, abs=1e-4)


def test_pairs_are_held_out_and_half_belong_together():
    rows = family.held_out_text_pairs()
    assert 0.45 < rows.labels.float().mean() < 0.55
    assert len(rows.ids) > 500
    known = {tuple(row) for row in texts.family_passages().ids.tolist()}
    assert not known & {tuple(row) for row in rows.ids.tolist()}


def test_the_command_keeps_what_it_has(tmp_path, monkeypatch, capsys):
    one_step = lambda steps, **rates: TrainSettings(1, **rates)  # noqa: E731
    monkeypatch.setattr(bert_changes, "TrainSettings", one_step)
    tables = {"base": {"RoBERTa": bert_changes.run_left}, "pairs": {}}
    monkeypatch.setattr(bert_changes, "change_runs", lambda: tables)
    command = ["--out", str(tmp_path), "--seeds", "4", "--tables", "base"]
    bert_changes.main(command)
    first = bert_changes.load_changes(tmp_path / "bert_changes.json").runs
    assert [(run["table"], run["name"], run["seed"]) for run in first] == [("base", "RoBERTa", 4)]
    assert 0 <= first[0]["accuracy"] < 0.3 and capsys.readouterr().out
    bert_changes.main(command)
    assert not capsys.readouterr().out
    with pytest.raises(ValueError, match="no runs"):
        bert_changes.load_changes(tmp_path / "none.json")


def test_the_shipped_runs_are_whole():
    records = bert_changes.load_changes()
    for table, kinds in bert_changes.change_runs().items():
        named = records.by_name(table=table)
        assert named.keys() == kinds.keys()
        for runs in named.values():
            assert [run["seed"] for run in runs] == list(family.FAMILY_SEEDS)
