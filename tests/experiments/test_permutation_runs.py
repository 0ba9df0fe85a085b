"""XLNet's experiments: orders, hidden pairs, texts without [MASK], windows in memory."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.experiments import cloze, family
from course_lib.experiments import family_texts as texts
from course_lib.experiments import permutation_runs as runs
from course_lib.experiments import permutation_scores as scores
from course_lib.experiments.run_records import RunRecords
from course_lib.models.xlnet import XLNet


@pytest.fixture(scope="module")
def models():
    return family.new_bert(0).eval(), family.new_xlnet(0).eval()


@pytest.fixture(scope="module")
def pairs():
    return scores.find_word_pairs(texts.text_rows(["Lily was by the river.", "Tom sang."]))


def test_orders_rank_targets_columns_or_all_alike():
    ids, targets = torch.zeros(1, 4).long(), torch.tensor([[2, 0]])
    ranks = {order: runs.prediction_rank(order, ids, targets) for order in runs.PREDICTION_ORDERS}
    assert ranks["permuted"].tolist() == [[1, -1, 0, -1]]
    assert ranks["left to right"].tolist() == [[0, 1, 2, 3]]
    assert ranks["all at once"].tolist() == [[0, -1, 0, -1]]
    with pytest.raises(ValueError, match="no order 'backwards'"):
        runs.prediction_rank("backwards", ids, targets)


def test_left_to_right_is_blind_to_the_right(models):
    ids, targets = texts.text_rows(["Lily was by the river."]), torch.tensor([[3]])
    other = ids.clone()
    other[0, 5] = scores.word_id("farm")
    for order, same in (("left to right", True), ("permuted", False), ("all at once", False)):
        losses = [
            runs.ordered_objective(order)(models[1], each, targets)[0] for each in (ids, other)
        ]
        assert torch.equal(*losses) == same, order


def test_masks_have_their_shares():
    ids, targets = next(runs.masked_only(0, mask_share=1.0, keep_share=0.0))
    assert (ids[targets >= 0] == texts.MASK_TOKEN).all()
    ids, targets = next(runs.masked_only(0, mask_share=0.8, keep_share=0.1))
    hidden = (ids[targets >= 0] == texts.MASK_TOKEN).float().mean()
    kept = (ids == targets)[targets >= 0].float().mean()
    assert 0.7 < hidden < 0.9 and 0.04 < kept < 0.18


def test_each_number_of_targets_reads_the_same_passages():
    (few, two), (many, twelve) = (next(runs.drawn_targets(0, n)) for n in (2, 12))
    assert torch.equal(few, many) and two.shape[1] == 2 and twelve.shape[1] == 12
    assert (few.gather(1, twelve[:48]) >= len(texts.FAMILY_SPECIALS)).all()


def test_first_weights_follow_from_the_seed():
    one, same, other = (family.new_xlnet(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["mask_embedding"], other["mask_embedding"])


def test_pairs_are_found_where_they_stand(pairs):
    assert pairs.columns.tolist() == [[3, 5]]
    words = [texts.decode_family([i]) for i in pairs.ids.gather(1, pairs.columns)[0].tolist()]
    assert words == [" by", " river"]


def test_never_together_agrees_with_the_passages():
    found = scores.find_word_pairs(texts.held_out_passages().ids)
    first, second = found.ids.gather(1, found.columns).unbind(1)
    rows = (first[:, None] == scores.preposition_ids()).int().argmax(1)
    columns = (second[:, None] == scores.place_ids()).int().argmax(1)
    assert len(rows) > 200 and not scores.never_together()[rows, columns].any()


def test_shares_and_surprises_of_known_tables(pairs):
    even = torch.full((1, 4, 10), 1 / 40).log()
    assert scores.impossible_share(even) == pytest.approx(0.75)
    assert scores.pair_nats(even, pairs) == pytest.approx(torch.tensor(40.0).log().item())
    sure = torch.where(scores.never_together(), -50.0, 0.0)[None]
    assert scores.impossible_share(sure) == pytest.approx(0.0, abs=1e-6)


@torch.no_grad()
def test_a_chain_is_guess_after_guess(models, pairs):
    bert, xlnet = models
    ids, columns = pairs
    school, at = scores.word_id("school"), scores.word_id("at")
    i, j = scores.PREPOSITIONS.index("at"), scores.place_ids().tolist().index(school)
    masked = ids.scatter(1, columns, texts.MASK_TOKEN)
    padding = ids == texts.PAD_TOKEN
    first = bert.logits(bert.hidden(masked, padding=padding)[:, 3]).log_softmax(-1)[0, at]
    masked[0, 3] = at
    second = bert.logits(bert.hidden(masked, padding=padding)[:, 5]).log_softmax(-1)[0, school]
    got = scores.joint_by_chain(bert, pairs, read_again=True)[0, i, j]
    assert got.item() == pytest.approx((first + second).item(), abs=1e-4)
    tried = ids.clone()
    tried[0, 3] = at
    unseen = torch.zeros(1, 32, 32).bool()
    unseen[0, :, 3], unseen[0, :, 5] = True, True
    unseen[0, 5, 3] = False
    both = xlnet(tried, padding=padding, unseen=unseen, targets=columns).log_softmax(-1)[0]
    got = scores.joint_by_chain(xlnet, pairs)[0, i, j]
    assert got.item() == pytest.approx((both[0, at] + both[1, school]).item(), abs=1e-4)
    alone = scores.joint_at_once(xlnet, pairs)[0]
    assert alone[i, j] - alone[0, j] == pytest.approx((alone[i, 0] - alone[0, 0]).item(), abs=1e-4)


def test_a_masked_model_has_no_order(models, pairs):
    with pytest.raises(ValueError, match="no order"):
        scores.guess_hidden(models[0], *pairs, in_order=True)


def test_only_a_masked_model_reads_what_stands_at_the_place(models):
    places = cloze.ClozePlaces(*(part[:20] for part in cloze.cloze_places()))
    bert, xlnet = models
    ids = [places.ids.scatter(1, places.columns[:, None], word) for word in (10, 20)]
    answers = [scores.guess_hidden(xlnet, each, places.columns[:, None]) for each in ids]
    assert torch.equal(*answers)
    read = [bert.hidden(each)[torch.arange(20), places.columns] for each in ids]
    assert not torch.allclose(*read)
    same = cloze.permuted_cloze(xlnet, places).accuracy
    assert scores.replaced_cloze(xlnet, places) == pytest.approx(same)


def test_nothing_behind_the_place_is_read(models):
    places = cloze.ClozePlaces(*(part[:20] for part in cloze.cloze_places()))
    behind = torch.arange(32) > places.columns[:, None]
    other = places._replace(ids=torch.where(behind, 77, places.ids))
    for model in models:
        assert scores.left_side_cloze(model, places) == scores.left_side_cloze(model, other)


def test_a_state_that_holds_the_kind_is_read_without_a_mistake():
    kinds = F.one_hot(scores.word_kinds() + 1).float()
    oracle, noise = nn.Module(), nn.Module()
    oracle.hidden = lambda ids, padding: kinds[ids]
    noise.hidden = lambda ids, padding: torch.zeros(*ids.shape, 3)
    assert scores.kind_probe(oracle) == 1.0 and scores.kind_probe(noise) < 0.5


def test_windows_follow_each_other():
    page = texts.held_out_family_pages()[0]
    found = scores.cut_window_pairs([page])
    tokens, n = texts.encode_family(page.text), scores.PIECE_LENGTH
    assert len(found.ids) == len(tokens) // n - 1
    assert [*found.before[0].tolist(), *found.ids[0].tolist()] == tokens[: 2 * n]


def test_the_window_before_is_read_if_it_is_remembered(models):
    (rows, targets), model = next(runs.window_targets(0)), models[1]
    other = rows.clone()
    other[:, 0] = 77
    for remember in (True, False):
        losses = [runs.memory_objective(remember)(model, x, targets)[0] for x in (rows, other)]
        assert torch.equal(*losses) != remember


def test_runs_are_measured_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "PROBE_DRAWS", 1)
    arguments = ["--out", str(tmp_path), "--seeds", "0", "--steps", "1", "--tables", "memory"]
    runs.main(arguments)
    found = RunRecords(tmp_path / "permutation_runs.json").runs
    assert [run["name"] for run in found] == list(runs.memory_systems())
    assert set(found[0]) >= {"seconds", "steps", "remembering", "forgetting"}


def test_the_shipped_runs_are_complete():
    stored = RunRecords(runs.PERMUTATION_FILE)
    for table, (systems, _) in runs.PERMUTATION_TABLES.items():
        found = stored.by_name(table=table)
        assert set(found) == set(systems())
        assert all([run["seed"] for run in each] == [0, 1, 2] for each in found.values())


def test_systems_are_what_their_names_say():
    models = {name: system.model(0) for name, system in runs.order_systems().items()}
    assert [name for name, model in models.items() if isinstance(model, XLNet)] == [
        f"XLNet, {order}" for order in runs.PREDICTION_ORDERS
    ]
