"""What a latent costs: models of one size, a record that is whole, keys pressed through a rank."""

import pytest
import torch

from course_lib.experiments import kv_sharing, latent_attention, longer_context
from course_lib.experiments.latent_attention import LatentRun
from course_lib.models.gpt2 import count_parameters
from course_lib.models.llama import Llama
from course_lib.training import trainer
from course_lib.training.settings import TrainHistory


def test_models_of_all_ranks_are_as_large_as_the_one_that_shares_nothing():
    with torch.device("meta"):
        own = count_parameters(latent_attention.build_latent(768, LatentRun(None, 0)))
        for rank in (2, 4, 8, 24, 56):
            size = count_parameters(latent_attention.build_latent(768, LatentRun(rank, 0)))
            assert abs(size - own) < 0.003 * own


def test_without_rotation_the_order_of_what_was_read_is_lost():
    torch.manual_seed(0)
    for rotary in (True, False):
        model = latent_attention.build_latent(30, LatentRun(8, 0, rotary=rotary))
        attention, x = model.blocks[0].attention, torch.randn(1, 6, 64)
        for weight in attention.parameters():
            weight.data.normal_(std=0.3)
        before, after = attention(x)[:, -1], attention(x[:, [3, 0, 4, 1, 2, 5]])[:, -1]
        assert torch.allclose(before, after, rtol=1e-4, atol=1e-4) is not rotary


def test_the_record_goes_on_where_it_ended_and_longer_texts_follow(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(latent_attention, "LATENT_RATES", (latent_attention.USUAL_RATE,))
    monkeypatch.setattr(latent_attention, "LATENT_RANKS", (16, 4))
    command = ["--out", str(tmp_path), "--steps", "2", "--seeds", "5", "--megabytes", "0.3"]
    latent_attention.main(command)
    first = latent_attention.read_latents(tmp_path)
    assert [(run["rank"], run["rotary"], run["n_kv_heads"]) for run in first] == [
        (16, True, 8), (16, False, 8),
        (None, True, 8), (None, True, 2), (None, True, 1), (4, True, 8),
    ]  # fmt: skip
    assert len(capsys.readouterr().out.splitlines()) == 6
    latent_attention.main(command)
    assert latent_attention.read_latents(tmp_path) == first and not capsys.readouterr().out
    model, corpus = latent_attention.load_latent(5, tmp_path), kv_sharing.tale_corpus(0.3)
    assert kv_sharing.score_tales(model, corpus) == pytest.approx(
        first[0]["bits_per_byte"], abs=1e-6
    )
    longer_context.main([*command[:2], "--steps", "1", "--seeds", "5", "--megabytes", "0.3"])
    longer = longer_context.read_longer(tmp_path)
    assert [run["way"] for run in longer] == list(longer_context.STRETCH_WAYS)
    assert all(len(run[key]) == 8 for run in longer for key in ("bits_before", "bits_after"))
    assert all(run["bits_before"] != run["bits_after"] for run in longer)


def test_a_run_that_was_stopped_is_not_recorded(tmp_path, monkeypatch):
    def stopped(*arguments, **options):
        return TrainHistory(loss=[1.0], ended="interrupted")

    monkeypatch.setattr(trainer, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        latent_attention.main(["--out", str(tmp_path), "--megabytes", "0.3"])
    assert not (tmp_path / "runs.json").exists()


def test_the_shipped_record_is_whole():
    runs = latent_attention.read_latents()
    kept = ("rank", "seed", "n_kv_heads", "rotary", "muon_lr")
    found = [LatentRun(**{name: run[name] for name in kept}) for run in runs]
    assert len(found) == len(set(found))
    assert set(found) == set(latent_attention.latent_runs([0, 1, 2]))
    for run, made in zip(runs, found, strict=True):
        with torch.device("meta"):
            model = latent_attention.build_latent(768, made)
        assert run["parameters"] == count_parameters(model) and run["steps"] == 300
    longer = longer_context.read_longer()
    assert {(run["seed"], run["way"]) for run in longer} == {
        (seed, way) for seed in (0, 1, 2) for way in longer_context.STRETCH_WAYS
    }


@torch.no_grad()
def test_keys_and_values_pass_through_as_many_numbers_as_the_rank_says():
    torch.manual_seed(0)
    model, ids = Llama(kv_sharing.sharing_settings(30, 8)), torch.randint(30, (4, 50))
    for rank in (3, 64):
        pressed = latent_attention.compress_keys(model, ids, rank)
        for block in pressed.blocks:
            assert torch.linalg.matrix_rank(block.attention.qkv.weight[64:], rtol=1e-4) == rank
        assert torch.allclose(pressed(ids), model(ids), atol=1e-4) is (rank == 64)
        assert torch.equal(pressed.blocks[0].attention.qkv.weight[:64],
                           model.blocks[0].attention.qkv.weight[:64])  # fmt: skip
    with pytest.raises(ValueError, match="rank 65 is not between 1 and the 64"):
        latent_attention.compress_keys(model, ids, 65)


def test_positions_are_grouped_and_their_bits_averaged():
    torch.manual_seed(0)
    model = latent_attention.build_latent(30, LatentRun(4, 0))
    windows = torch.randint(30, (3, 129))
    got = longer_context.bits_by_position(model, windows)
    with torch.no_grad():
        logs = model(windows[:, :-1]).log_softmax(-1)
    bits = -logs.gather(-1, windows[:, 1:, None])[..., 0] / torch.log(torch.tensor(2.0))
    torch.testing.assert_close(got, torch.stack([bits[:, :64].mean(), bits[:, 64:].mean()]))


def test_a_way_that_is_none_is_named():
    model = latent_attention.build_latent(30, LatentRun(4, 0))
    with pytest.raises(ValueError, match="way 'alibi' is none of none, position"):
        longer_context.stretch_model(model, "alibi")
