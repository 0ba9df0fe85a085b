"""The family of BERT: what it reads, what each system is asked, and how all are compared."""

import itertools
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from course_lib.experiments import family, family_report
from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import (
    ClozePlaces,
    cloze_places,
    counting_cloze,
    left_cloze,
    masked_cloze,
    passage_log_probs,
    permuted_cloze,
    rescored_cloze,
    world_word_ids,
)
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.text_pairs import next_sentence_pairs
from course_lib.training.checkpoint import CheckpointError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def places():
    return ClozePlaces(*(field[:8] for field in cloze_places()))


def test_a_page_is_cut_into_passages_and_nothing_is_lost():
    pages = texts.held_out_family_pages()[:50]
    found = texts.passages_of(pages)
    for number, page in enumerate(pages):
        rows = found.ids[found.page == number]
        text = "".join(
            texts.decode_family(row[texts.maskable_places(row)].tolist()) for row in rows
        )
        longest = max(len(tokens) for tokens in texts.page_sentences(page.text))
        assert text == page.text or longest > texts.FAMILY_LENGTH - 2
        assert (rows[:, 0] == texts.CLS_TOKEN).all()
        assert ((rows == texts.SEP_TOKEN).sum(1) == 1).all()


def test_every_word_of_the_world_is_one_token():
    words = {texts.decode_family([token]).strip() for token in world_word_ids().tolist()}
    assert {"Zoë", "lamp", "café", "red", "happy"} <= words
    assert len(words) > 80


def test_held_out_passages_are_new():
    known = {tuple(row) for row in texts.family_passages().ids.tolist()}
    assert not known & {tuple(row) for row in texts.held_out_passages().ids.tolist()}


def test_a_row_is_a_pair_or_one_text():
    inputs, targets = next(family.masked_pairs(0, next_sentence_pairs))
    (ids, segments), labels = inputs.unbind(1), targets[:, 0]
    paired = labels != IGNORE_INDEX
    assert 0.2 < paired.float().mean() < 0.8
    assert ((ids == texts.SEP_TOKEN).sum(1) == 1 + paired.long()).all()
    assert (segments.any(1) == paired).all()
    asked = targets[:, 1:] != IGNORE_INDEX
    share = asked.sum(1) / (asked | texts.maskable_places(ids)).sum(1)
    assert (share - family.MASK_SHARE).abs().max() < 0.1  # rounded to whole tokens


def test_ctrl_reads_the_code_of_the_page_in_the_place_of_cls():
    inputs, targets = next(family.coded_passages(0))
    n = len(family.control_codes())
    assert n == 40
    codes = inputs[:, 0] - texts.FAMILY_VOCABULARY
    assert ((codes >= 0) & (codes < n)).all()
    read = targets != IGNORE_INDEX
    assert (targets[:, :-1][read[:, 1:]] == inputs[:, 1:][read[:, 1:]]).all()


@pytest.mark.parametrize("name", ["BERT", "RoBERTa", "ALBERT", "XLNet", "GPT-2", "CTRL"])
def test_a_system_learns_its_first_batch(name):
    system = family.family_systems()[name]
    model, batch = system.model(0), next(system.batches(0))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = system.objective(model, *batch).mean
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.5


def test_the_pair_objective_is_the_sum_of_two_means():
    system = family.family_systems()["BERT"]
    model, (inputs, targets) = system.model(0), next(system.batches(0))
    logits = model(inputs[:, 0], inputs[:, 1], inputs[:, 0] == 0)
    words = F.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())
    hidden = model.hidden(inputs[:, 0], inputs[:, 1], inputs[:, 0] == 0)
    pairs = F.cross_entropy(model.pair_logits(hidden), targets[:, 0])
    for weight, want in ((1.0, words + pairs), (0.0, words), (3.0, words + 3 * pairs)):
        got = family.masked_pair_objective(weight)(model, inputs, targets).mean
        torch.testing.assert_close(got, want)


def test_xlnet_objective_asks_each_target_with_the_ones_before_it():
    """The view is built here by loops: a target is heard by the targets behind it alone."""
    model, (ids, targets) = family.new_xlnet(0), next(family.ordered_passages(0))
    ids, targets = ids[:3], targets[:3]
    unseen = torch.zeros(3, ids.shape[1], ids.shape[1], dtype=torch.bool)
    for row, order in enumerate(targets.tolist()):
        for listener in range(ids.shape[1]):
            for heard in order:
                later = listener in order and order.index(listener) > order.index(heard)
                unseen[row, listener, heard] = not later
    logits = model(ids, padding=ids == texts.PAD_TOKEN, unseen=unseen, targets=targets)
    want = F.cross_entropy(logits.flatten(0, 1), ids.gather(1, targets).flatten())
    got = family.permutation_lm_objective(texts.PAD_TOKEN)(model, ids, targets).mean
    torch.testing.assert_close(got, want)


def test_the_hidden_token_does_not_reach_the_cloze(places):
    """Another token at the place changes no masked or permuted score but through the answer."""
    other = places._replace(ids=places.ids.scatter(1, places.columns[:, None], 500))
    for score, model in (
        (masked_cloze, family.new_roberta(0)),
        (permuted_cloze, family.new_xlnet(0)),
        (left_cloze, family.new_gpt2(0)),
        (rescored_cloze, family.new_gpt2(0)),
    ):
        assert score(model.eval(), other) == pytest.approx(score(model, places), abs=1e-6)


def test_rescoring_is_bayes_over_all_tokens(places):
    """With every token a candidate, it is the model's own distribution given both sides."""
    model = family.new_gpt2(0).eval()
    one = ClozePlaces(*(field[:1] for field in places))
    rows = one.ids.repeat(texts.FAMILY_VOCABULARY, 1)
    rows[:, one.columns] = torch.arange(texts.FAMILY_VOCABULARY)[:, None]
    with torch.no_grad():
        log_probs = passage_log_probs(model, rows).log_softmax(0)
    got = rescored_cloze(model, one, candidates=texts.FAMILY_VOCABULARY)
    assert got.nats == pytest.approx(-log_probs[one.answers].item(), abs=1e-4)
    assert got.accuracy == float(log_probs.argmax() == one.answers)


def test_counting_by_hand(monkeypatch):
    rows = texts.passage_rows([[10, 11, 12], [10, 11, 12], [10, 13, 12], [14, 15]])
    monkeypatch.setattr(texts, "family_passages", lambda: texts.FamilyPassages(rows, None))
    from course_lib.experiments import cloze

    cloze.neighbour_counts.cache_clear()
    places = ClozePlaces(rows, torch.tensor([2, 2, 2, 2]), rows[:, 2], torch.zeros(4))
    assert counting_cloze(places)[0] == 0.75  # 11 is commoner between 10 and 12 than 13
    cloze.neighbour_counts.cache_clear()


def test_a_finished_run_is_kept_and_read_again(tmp_path, capsys):
    command = ["--out", str(tmp_path), "--seeds", "0", "--steps", "2", "--systems"]
    with pytest.raises(CheckpointError, match="bert-0"):
        family.main([*command, "DistilBERT"])
    family.main([*command, "BERT", "DistilBERT"])
    first = (tmp_path / "runs.json").read_bytes()
    family.main([*command, "BERT", "DistilBERT"])
    assert (tmp_path / "runs.json").read_bytes() == first
    model = family.load_system("BERT", 0, tmp_path)
    again, _ = family.train_system(family.family_systems()["BERT"], 0, 2)
    for mine, kept in zip(again.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, kept, atol=1e-3, rtol=2e-3)  # kept in half precision
    with pytest.raises(ValueError, match="none of BERT"):
        family.load_system("ELECTRA")


def test_batches_are_the_same_for_a_seed_and_differ_between_seeds():
    for batches in (family.masked_passages, family.masked_pairs, family.ordered_passages):
        one, two, three = (next(itertools.islice(batches(s), 1, 2)) for s in (0, 0, 1))
        assert torch.equal(one[0], two[0]) and not torch.equal(one[0], three[0])


def test_the_page_holds_the_tables_of_the_code():
    text = (ROOT / "book/family.md").read_text()
    made = family_report.family_tables()
    assert set(re.findall(r"%([A-Z0-9_]+)%", text)) == set(made)
    assert made["FAMILY"].count("\n") == 9
    # the page's sentences say so
    assert f"{len(texts.family_pages()):,} English pages" in text
    runs = family_report.load_family()
    assert all([run["seed"] for run in found] == [0, 1, 2] for found in runs.values())
    best_of = {name: max(run["cloze"][0] for run in found) for name, found in runs.items()}
    worst_of = {name: min(run["cloze"][0] for run in found) for name, found in runs.items()}
    masked = ("BERT", "RoBERTa", "ALBERT", "DistilBERT", "Megatron BERT")
    assert max(best_of[name] for name in masked) < worst_of["XLNet"]
    assert best_of["XLNet"] < worst_of["GPT-2"] and best_of["BERT"] < worst_of["RoBERTa"]
    assert min(worst_of.values()) > counting_cloze(cloze_places())[0] + 0.05
    seconds = [run["seconds"] for found in runs.values() for run in found]
    assert 40 < min(seconds) and max(seconds) < 60
    parameters = {name: found[0]["parameters"] for name, found in runs.items()}
    assert 0.5 < parameters["ALBERT"] / parameters["BERT"] < 0.55
    assert 0.685 < parameters["DistilBERT"] / parameters["BERT"] < 0.695


def test_a_missing_run_is_named(tmp_path):
    (tmp_path / "runs.json").write_text("[]")
    with pytest.raises(ValueError, match="no runs of BERT, RoBERTa"):
        family_report.load_family(tmp_path / "runs.json")
