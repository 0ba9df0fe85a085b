"""Facts in compressed entries: what is asked stands in the text; what is learnt, and kept."""

from dataclasses import asdict

import pytest
import torch

from course_lib.experiments.compressed_recall import (
    FACT_KEYS,
    FACT_PLACES,
    FACT_VALUES,
    RECALL_KINDS,
    RecallModel,
    RecallRun,
    draw_texts,
    measure_recall,
    read_recall,
    recall_layers,
    recall_runs,
    train_recall,
)


@pytest.mark.parametrize(("n_facts", "tokens"), [(24, 1), (4, 1), (3, 2)])
def test_a_questions_answer_stands_where_its_key_does(n_facts, tokens):
    run = RecallRun("pooled", 4, n_facts, tokens, seed=0)
    keys, values, answers, distances = draw_texts(run, torch.Generator().manual_seed(3), batch=50)
    for row in range(50):
        shown = keys[row, :FACT_PLACES].tolist()
        assert sum(key < FACT_KEYS for key in shown) == n_facts
        for q in range(8):
            place = shown.index(keys[row, FACT_PLACES + q])
            assert answers[row, q] == values[row, place + tokens - 1] < FACT_VALUES
            assert distances[row, q] == FACT_PLACES + q - place
            assert values[row, FACT_PLACES + q] == FACT_VALUES


def test_alike_weights_stay_alike_in_training():
    model = train_recall(RecallRun("mean", 4, 24, 1, seed=0, steps=3))
    compressor = model.layers[0].compressor
    assert not compressor.gate.weight.any() and not compressor.position_bias.any()
    x = torch.randn(1, 4, 32)
    alike = compressor.norm(compressor.kv(x).mean(1))
    torch.testing.assert_close(compressor(x).entries[:, 0], alike)


@pytest.mark.parametrize("kind", sorted({kind for kind, *_ in RECALL_KINDS}))
def test_questions_do_not_hear_of_later_ones(kind):
    torch.manual_seed(0)
    run = RecallRun(kind, 4, 24, 1, seed=0)
    model = RecallModel(recall_layers(run))
    keys, values, *_ = draw_texts(run, torch.Generator().manual_seed(0), batch=2)
    before = model(keys, values)[0]
    keys[:, -1] = (keys[:, -1] + 1) % FACT_KEYS
    assert torch.equal(model(keys, values)[0][:, :-1], before[:, :-1])


def test_with_a_token_per_entry_facts_are_soon_found():
    run = RecallRun("pooled", 1, 24, 1, seed=0, steps=150)
    found = measure_recall(train_recall(run), run)
    assert found["accuracy"] > 0.9 and min(found["by_distance"].values()) > 0.7


def test_the_record_has_every_run_once():
    runs = recall_runs([0, 1, 2])
    assert len(runs) == 3 * (len(RECALL_KINDS) + 2)
    assert all(len(read_recall(**asdict(run))) == 1 for run in runs)
