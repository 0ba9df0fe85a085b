"""Choices of few tokens, what they catch, and who learns from which loss."""

import copy

import pytest
import torch
import torch.nn.functional as F

from course_lib.experiments import indexers, needles, sparse_attention, sparse_language
from course_lib.models.deepseek import DeepSeekV32


@pytest.fixture
def model():
    torch.manual_seed(0)
    return needles.NeedleModel()


def texts(batch=4):
    return needles.draw_needles(torch.Generator().manual_seed(1), batch)


def test_a_question_has_the_value_of_its_key():
    keys, values, answers = texts()
    for row, told, right in zip(keys.tolist(), values.tolist(), answers.tolist(), strict=True):
        pairs = dict(zip(row[:56], told[:56], strict=True))
        assert len(pairs) == 56 and set(told[56:]) == {needles.N_VALUES}
        assert [pairs[key] for key in row[56:]] == right


def selected(model, choice, k, x):
    with indexers.chosen_by(model, choice, k):
        layer = model.attention
        scores = layer.indexer.scores(x, layer.q_latent(x), layer.indexer.keys(x))
        return layer.select(scores, None)


def test_the_window_is_the_last_tokens_and_the_oracle_the_largest_weights(model):
    x = model.read(*texts()[:2])
    window = torch.ones(64, 64).tril() - torch.ones(64, 64).tril(-3)
    assert torch.equal(selected(model, "window", 3, x), window.bool().expand(4, -1, -1))
    weights = indexers.dense_weights(model.attention, x).mean(1)
    best = weights.gather(-1, weights.topk(3).indices)[:, 3:]
    marked = (weights * selected(model, "oracle", 3, x)).sum(-1)[:, 3:]
    torch.testing.assert_close(marked, best.sum(-1))
    some = selected(model, "random", 3, x)
    assert some.sum(-1).max() == 3 and not some[:, 0, 1:].any()
    assert not torch.equal(some, selected(model, "random", 3, x))


def test_no_choice_catches_more_than_the_oracle(model):
    x = model.read(*texts()[:2])
    caught = {}
    for choice in ("window", "random", "indexer", "oracle"):
        with indexers.chosen_by(model, choice, 5):
            caught[choice] = indexers.layer_recall(model.attention, x)
    assert all((caught[name] <= caught["oracle"] + 1e-6).all() for name in caught)
    with indexers.chosen_by(model, "indexer", 64):
        torch.testing.assert_close(
            indexers.layer_recall(model.attention, x), torch.ones(4, 64), rtol=1e-5, atol=1e-5
        )


def test_recall_by_hand():
    weights = torch.tensor([[[[0.5, 0.3, 0.2]], [[0.1, 0.1, 0.8]]]])
    marks = torch.tensor([[[True, False, True]]])
    torch.testing.assert_close(indexers.mass_recall(weights, marks), torch.tensor([[0.8]]))


def test_a_choice_lasts_as_long_as_it_is_asked_for(model):
    layer, before = model.attention, model.attention.indexer
    with pytest.raises(RuntimeError), indexers.chosen_by(model, "oracle", 2):
        assert layer.top_k == 2 and layer.indexer is not before
        raise RuntimeError
    assert layer.indexer is before and layer.top_k == needles.NEEDLE_TOP_K
    with (
        pytest.raises(ValueError, match="choice 'best' is none of dense, indexer, window"),
        indexers.chosen_by(model, "best", 2),
    ):
        pass
    with pytest.raises(ValueError, match="top_k 0"), indexers.chosen_by(model, "window", 0):
        pass


def moved(before, after):
    pairs = zip(before.named_parameters(), after.parameters(), strict=True)
    return {name for (name, old), new in pairs if not torch.equal(old, new)}


def test_each_stage_teaches_whom_it_should(model):
    names = [name for name, _ in model.named_parameters()]
    indexer = {name for name in names if ".indexer." in name}
    warm = copy.deepcopy(model)
    needles.warm_up_needles(warm, 0, 0, 2, needles.indexer_optimizer(warm))
    assert moved(model, warm) == indexer
    alone = copy.deepcopy(model)
    needles.train_sparse(alone, 0, 2, with_indexer=False)
    assert moved(model, alone) == set(names) - indexer
    both = copy.deepcopy(model)
    needles.train_sparse(both, 0, 2)
    assert moved(model, both) == set(names)


def test_a_warm_up_in_two_parts_is_the_whole_one(model):
    ends = []
    for cuts in ((0, 4), (0, 1, 4)):
        part = copy.deepcopy(model)
        optimizer = needles.indexer_optimizer(part)
        for first, last in zip(cuts, cuts[1:], strict=False):
            needles.warm_up_needles(part, 0, first, last, optimizer)
        ends.append(part)
    assert not moved(*ends)


def test_bits_of_plays_are_the_cross_entropy(monkeypatch):
    torch.manual_seed(0)
    windows = torch.randint(40, (8, 33))
    monkeypatch.setattr(sparse_language, "windows_of_held_out_plays", lambda: windows)
    model = DeepSeekV32(sparse_language.play_settings(40))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    with indexers.chosen_by(model, "dense", None), torch.no_grad():
        nats = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
    found = sparse_language.measure_plays(model, "dense", None)
    assert found == {"bits_per_token": pytest.approx(nats.item() / 0.6931472, rel=1e-5)}
    few = sparse_language.measure_plays(model, "oracle", 4)
    assert len(few["recall"]) == 3 and all(4 / 33 < share < 1 for share in few["recall"])


def test_runs_are_kept_and_not_made_twice(tmp_path, monkeypatch, capsys):
    made = []
    monkeypatch.setitem(
        sparse_attention.SPARSE_TASKS, "needles", lambda seed: made.append(seed) or {"rows": []}
    )
    command = ["--out", str(tmp_path), "--tasks", "needles", "--seeds", "4", "3"]
    for _ in range(2):
        sparse_attention.main(command)
    assert made == [4, 3]
    assert [run["seed"] for run in sparse_attention.read_sparse("needles", tmp_path)] == [3, 4]


def test_rows_are_picked_by_their_settings():
    rows = [{"choice": c, "top_k": k, "accuracy": a} for c, k, a in
            (("window", 1, 0.1), ("window", 2, 0.2), ("oracle", 1, 0.9))]  # fmt: skip
    picked = sparse_attention.pick_rows([{"rows": rows}], "accuracy", choice="window")
    assert picked == [[0.1, 0.2]]


def test_the_shipped_record_is_whole():
    for task, top_ks in (
        ("needles", needles.NEEDLE_TOP_KS),
        ("plays", sparse_language.PLAY_TOP_KS),
    ):
        runs = sparse_attention.read_sparse(task)
        assert [run["seed"] for run in runs] == [0, 1, 2]
        for run in runs:
            kinds = [(row["stage"], row.get("step"), row["choice"]) for row in run["rows"]]
            assert [row["top_k"] for row in run["rows"]] == list(top_ks) * len(set(kinds))
