"""What shared keys cost: models of one size, and a record that is whole."""

import pytest
import torch

from course_lib.experiments import kv_sharing
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import Llama


def test_models_that_share_more_are_as_large():
    sizes = [
        count_parameters(Llama(kv_sharing.sharing_settings(768, n))) for n in kv_sharing.KV_HEADS
    ]
    assert max(sizes) - min(sizes) < 0.002 * min(sizes)


def test_the_record_goes_on_where_it_ended(tmp_path, capsys):
    command = ["--out", str(tmp_path), "--steps", "2", "--seeds", "5", "--megabytes", "0.3"]
    kv_sharing.main(command)
    first = kv_sharing.read_sharing(tmp_path)
    assert [run["n_kv_heads"] for run in first] == list(kv_sharing.KV_HEADS)
    assert len(capsys.readouterr().out.splitlines()) == 3
    kv_sharing.main(command)
    assert kv_sharing.read_sharing(tmp_path) == first and not capsys.readouterr().out
    model = kv_sharing.load_sharing(5, tmp_path)
    score = kv_sharing.score_tales(model, kv_sharing.tale_corpus(0.3))
    assert score == pytest.approx(first[0]["bits_per_byte"], abs=1e-6)


def test_the_shipped_record_holds_three_seeds_of_each_kind():
    runs = kv_sharing.read_sharing()
    assert {(run["seed"], run["n_kv_heads"]) for run in runs} == {
        (seed, n) for seed in (0, 1, 2) for n in kv_sharing.KV_HEADS
    }
    for run in runs:
        settings = kv_sharing.sharing_settings(768, run["n_kv_heads"])
        with torch.device("meta"):
            assert run["parameters"] == count_parameters(Llama(settings))
        assert run["cache_bytes_per_token"] == 4 * 2 * 2 * 8 * run["n_kv_heads"]
