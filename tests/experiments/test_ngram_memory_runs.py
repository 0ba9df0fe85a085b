"""Models with and without a memory are as large; what is measured is what it is said to be."""

import json

import pytest
import torch

from course_lib.experiments import ngram_memory as experiment
from course_lib.inference.evaluate import sequence_nats
from course_lib.models.deepseek import DeepSeekV3
from course_lib.models.gpt2 import count_parameters
from course_lib.models.memory_v3 import MemoryV3


class TinyCorpus:
    """Four letters, twice over: enough for every function to run."""

    tokens = torch.tensor([0, 1, 2, 3] * 100 + [3, 3])
    held_out = ("abcd" * 200,)

    class Tokenizer:  # noqa: D106
        n_vocab = 4

        def decode(self, ids):
            return "".join("abcd"[i] for i in ids)

        def encode(self, text, allowed_special=()):
            return ["abcd".index(letter) for letter in text]

    tokenizer = Tokenizer()


@pytest.fixture
def tiny(monkeypatch):
    experiment.play_numbers.cache_clear()
    monkeypatch.setattr(experiment.ladder, "ladder_corpus", lambda name: TinyCorpus())
    yield TinyCorpus
    experiment.play_numbers.cache_clear()


def test_all_kinds_but_the_small_dense_one_are_of_one_size(tiny):
    sizes = {
        name: count_parameters(experiment.build_memory_model(name, seed=0))
        for name in experiment.memory_kinds()
    }
    whole = sizes["experts alone"]
    for name, size in sizes.items():
        if name == "dense, same work":
            assert size < 0.7 * whole
        else:
            assert abs(size / whole - 1) < 0.01, name


def test_a_token_meets_about_as_many_weights_with_and_without_a_memory(tiny):
    active = {
        name: experiment.count_active_with_memory(experiment.build_memory_model(name, seed=0))
        for name, share in experiment.memory_kinds().items()
        if share is not None
    }
    plain = active.pop("experts alone")
    # key and value; with 2048 letters in place of four they are 3 % more
    assert all(1 < met / plain < 1.07 for met in active.values())


def test_the_share_is_that_of_the_experts_weights(tiny):
    for name, share in experiment.memory_kinds().items():
        if share:
            model = experiment.build_memory_model(name, seed=0)
            per_expert = 3 * 64 * 56
            table = count_parameters(model.memory)
            assert abs(table / (2 * experiment.ALL_EXPERTS * per_expert) - share) < 0.02
    with pytest.raises(ValueError, match="no model 'memory'"):
        experiment.build_memory_model("memory", seed=0)


def test_models_of_a_seed_begin_with_the_same_weights_where_they_have_the_same(tiny):
    one, two = (experiment.build_memory_model("experts alone", seed) for seed in (0, 0))
    other = experiment.build_memory_model("experts alone", 1)
    assert torch.equal(one.token_embedding.weight, two.token_embedding.weight)
    assert not torch.equal(one.token_embedding.weight, other.token_embedding.weight)


def test_pairs_are_counted_as_the_memory_sees_them(tiny):
    inputs = torch.tensor([[0, 1, 3, 3, 3, 0]])
    # in the text: 01 stands 100 times, 13 never, 33 twice (100 times 3, 0 but for the end)
    assert experiment.count_pairs_seen(inputs).tolist() == [[-1, 100, 0, 2, 2, 99]]


def test_classes_are_averaged_apart():
    seen = torch.tensor([[-1, 0, 1, 9, 10, 99, 100, 1000, 5000]])
    values = torch.tensor([[99.0, 1, 2, 4, 10, 20, 7, 1, 3]])
    assert experiment.mean_by_seen(values, seen) == [1.0, 3.0, 15.0, 7.0, 2.0]


def test_losses_are_the_evaluators_and_gates_those_of_the_forward_pass(tiny):
    torch.manual_seed(0)
    model = experiment.build_memory_model("memory 25%", seed=0).eval()
    inputs, targets = experiment.held_out_play_rows(n=2)
    nats = experiment.token_nats(model, inputs, targets)
    ids = torch.cat([inputs[0], targets[0, -1:]])
    assert abs(nats[0].sum().item() - sequence_nats(model, ids, stride=128)) < 1e-2
    seen, gates = [], experiment.gates_on(model, inputs)
    read = model.memory.read
    model.memory.read = lambda *inputs: seen.append(read(*inputs)) or seen[-1]
    model(inputs)
    torch.testing.assert_close(seen[0][0], gates)


def test_a_change_of_the_memory_is_undone(tiny):
    model, ids = experiment.build_memory_model("memory 25%", seed=0).eval(), torch.tensor([[0, 1]])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    whole = model(ids)
    plain = DeepSeekV3.hidden(model, ids)
    with experiment.changed_memory(model.memory, "off"):
        torch.testing.assert_close(model.hidden(ids), plain)
    with experiment.changed_memory(model.memory, "shuffled"):
        table = model.memory.table.weight
        assert not torch.equal(table, before["memory.table.weight"])
        torch.testing.assert_close(table.sum(0), before["memory.table.weight"].sum(0))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(model(ids), whole)
    with pytest.raises(ValueError, match="no change 'on'"):
        with experiment.changed_memory(model.memory, "on"):
            pass


def test_runs_are_kept_and_not_made_twice(tiny, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "MEMORY_SHARES", (0.0, 0.5))
    monkeypatch.setattr(experiment, "PASSAGE", 1)
    command = ["--out", str(tmp_path), "--seeds", "0", "--steps", "1"]
    experiment.main(command)
    runs = experiment.memory_runs(tmp_path)
    assert set(runs) == {*experiment.DENSE_KINDS, "experts alone", "memory 50%"}
    assert "off" in runs["memory 50%"][0]["nats"] and len(runs["memory 50%"][0]["passage"]) == 128
    assert capsys.readouterr().out.count("bits per byte") == 4
    experiment.main(command)
    assert capsys.readouterr().out == ""


def test_the_stored_runs_are_complete():
    runs = experiment.memory_runs()
    for name, found in runs.items():
        assert [run["seed"] for run in found] == [0, 1, 2], name
        for run in found:
            assert run["steps"] == experiment.NGRAM_RUN_STEPS
            assert json.dumps(run) and 1 < run["bits_per_byte"] < 3
            assert isinstance(run.get("gate_by_seen"), list) == name.startswith("memory")
    assert MemoryV3
