"""Processes in a rectangle learn what one learns; their checkpoints go on on any number of them."""

import json
import shutil

import pytest
import torch

from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training import distributed, parallel
from course_lib.training.checkpoint import CheckpointError
from course_lib.training.resume import Checkpoints
from course_lib.training.sharded_checkpoint import ShardFolder
from tests.training import rectangles
from tests.training.groups import in_processes
from tests.training.rectangles import KINDS

SHAPES = {"1 x 2": (2, 2), "2 x 2": (4, 2)}  # name -> processes, tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("rectangles")


@pytest.fixture(scope="module")
def alone():
    """What one process does."""
    torch.set_num_threads(1)
    runs = {kind: rectangles.run(kind) for kind in KINDS}
    runs |= {f"{kind} gradients": rectangles.gradients(kind) for kind in KINDS}
    runs["adamw"] = rectangles.run("tied", optimizer="adamw")
    runs["bfloat16"] = rectangles.run("tied", precision="bfloat16")["loss"]
    return runs


@pytest.fixture(scope="module", params=SHAPES)
def rectangle(request, folder):
    """The results of one rectangle, and the folder of its checkpoints."""
    own = folder / request.param
    own.mkdir()
    for kind in ("gpt2", "tied"):
        rectangles.run(kind, folder=own / f"one to many {kind}", stop=3)
    n, tensor = SHAPES[request.param]
    first, *others = in_processes(rectangles.results_of_a_rectangle, n, own, tensor=tensor)
    assert all(other == first for other in others)  # all know the same, to the last bit
    return first, own


def alike(ours, theirs, **tolerance):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(
            torch.tensor(ours[name]),
            torch.tensor(theirs[name]),
            **{"rtol": 1e-4, "atol": 2e-5} | tolerance,
        )


def same_run(ours, theirs):
    assert ours["ended"] == theirs["ended"] == "finished"
    names = ("loss", "gradient", "validation")
    alike({name: ours[name] for name in names}, {name: theirs[name] for name in names})
    alike(ours["weights"], theirs["weights"])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_one_process(rectangle, alone, kind):
    alike(rectangle[0][f"{kind} gradients"], alone[f"{kind} gradients"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_ends_as_that_of_one_process(rectangle, alone, kind):
    """With Muon, which needs whole matrices, clipping at every step, and accumulation."""
    assert min(alone[kind]["gradient"]) > 0.2
    same_run(rectangle[0][kind], alone[kind])


def test_so_it_does_with_adamw(rectangle, alone):
    same_run(rectangle[0]["adamw"], alone["adamw"])


def test_bfloat16_products_come_as_close_as_they_can(rectangle, alone):
    theirs = torch.tensor(alone["bfloat16"])
    torch.testing.assert_close(torch.tensor(rectangle[0]["bfloat16"]), theirs, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("kind", ["gpt2", "tied"])
def test_what_one_process_saved_goes_on_in_many(rectangle, alone, kind):
    same_run(rectangle[0][f"one to many {kind}"], alone[kind])


@pytest.mark.parametrize("kind", ["gpt2", "tied"])
def test_what_many_saved_goes_on_in_one(rectangle, alone, kind, tmp_path):
    results, folder = rectangle
    stopped = results[f"stopped {kind}"]
    assert stopped["ended"] == "interrupted" and len(stopped["loss"]) == 4
    shutil.copytree(folder / f"many to fewer {kind}", tmp_path / "run")
    same_run(rectangles.run(kind, folder=tmp_path / "run"), alone[kind])


@pytest.mark.parametrize(
    ("n", "tensor", "sharded"), [(2, 1, False), (2, 1, True), (2, 2, True), (3, 1, True)]
)
def test_what_many_saved_goes_on_in_another_rectangle(
    rectangle, alone, n, tensor, sharded, tmp_path
):
    for kind in ("gpt2", "tied"):
        name = f"many to fewer {kind}"
        shutil.copytree(rectangle[1] / name, tmp_path / name)
    results = in_processes(rectangles.save_and_go_on, n, tmp_path, sharded, tensor=tensor)
    for kind in ("gpt2", "tied"):
        same_run(results[0][kind], alone[kind])


# Checkpoints in slices
# --------------------------------------------------------------------------------------------------


@pytest.fixture
def left(rectangle, tmp_path):
    """A copy of what many processes left after steps 2 and 4."""
    return shutil.copytree(rectangle[1] / "many to fewer tied", tmp_path / "many to fewer tied")


def shards_of(folder, step):
    (found,) = folder.glob(f"step-{step:07}-*.shards")
    return found


def damage(file, how):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink()
    if how != "gone":
        file.write_bytes(data if how == "changed" else data[: len(data) // 2])


def test_a_checkpoint_is_one_file_per_process_and_one_that_names_them(rectangle, left):
    n = 4 if rectangle[1].name == "2 x 2" else 2
    assert Checkpoints(left).steps() == [2, 4]
    files = sorted(file.name for file in shards_of(left, 4).iterdir())
    assert len(files) == n and all(file.endswith(".safetensors") for file in files)
    named = json.loads((left / "step-0000004.json").read_text())["content"]["shards"]
    assert named["folder"] == shards_of(left, 4).name and sorted(named["files"]) == files


@pytest.mark.parametrize("how", ["changed", "short", "gone"])
def test_a_damaged_slice_is_refused_by_name(left, alone, how):
    file = sorted(shards_of(left, 4).iterdir())[-1]
    damage(file, how)
    with pytest.warns(RuntimeWarning, match=f"{file.name} is damaged.*Back to step 2: 2 steps"):
        same_run(rectangles.run("tied", folder=left), alone["tied"])


def test_all_processes_agree_on_what_is_damaged(left, alone):
    damage(sorted(shards_of(left, 4).iterdir())[-1], "changed")
    results = in_processes(rectangles.run, 2, "tied", True, left)
    same_run(results[0], alone["tied"])


def test_if_all_are_damaged_nothing_starts_again(left):
    for step in (2, 4):
        damage(next(shards_of(left, step).iterdir()), "short")
    with pytest.raises(CheckpointError, match="no checkpoint.*shard-.*damaged.*shard-.*damaged"):
        rectangles.run("tied", folder=left)


def test_what_a_killed_save_left_behind_is_swept_up(left, alone):
    half = left / "step-0000005-0badcafe.shards"
    half.mkdir()
    (half / "shard-00001-model-00001-of-00001.safetensors").write_bytes(b"half")
    same_run(rectangles.run("tied", folder=left, every=5), alone["tied"])
    assert Checkpoints(left).steps() == [5, 6] and not list(left.glob("*.shards"))


def test_a_full_disk_is_told_and_what_was_saved_stays(tmp_path, alone):
    folder = tmp_path / "run"
    told, silent = in_processes(rectangles.full_disk, 2, folder)
    assert silent == [] and len(told) == 2
    for step, message in zip((2, 3), told, strict=True):
        assert f"step-{step:07}.json: File too large (process 1)" in message
        assert message.endswith("Safe so far: step 1")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["step-0000001.json", shards_of(folder, 1).name]
    )
    same_run(rectangles.run("tied", folder=folder), alone["tied"])


def test_another_type_or_shape_is_refused_where_torch_would_fill_it_in(left):
    about = json.loads((left / "step-0000004.json").read_text())["content"]["shards"]
    folder = ShardFolder(left / about["folder"], about["files"])
    weight = folder.load({})["model.norm.weight"]
    with pytest.raises(CheckpointError, match=r"model.norm.weight is .*float32 .*int64"):
        folder.load({"model.norm.weight": torch.zeros(len(weight), dtype=torch.long)})
    with pytest.raises(CheckpointError, match=r"\(24,\) of .* and \(25,\)"):
        folder.load({"model.norm.weight": torch.zeros(25)})


# Accumulation
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accumulation():
    return in_processes(rectangles.results_of_accumulation, 2)[0]


def gradients_sent(calls):
    """The collectives that add up more than the loss and the number of targets, 16 bytes."""
    return [
        (name, sizes)
        for name, sizes in calls
        if ("reduce" in name) and max(sizes) > 16 and "allgather" not in name
    ]


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("kind", ["tied", "v3"])
def test_gradients_are_sent_once_however_often_a_batch_is_cut(accumulation, kind, sharded):
    once, thrice = (gradients_sent(accumulation[kind, sharded, parts]) for parts in (1, 3))
    assert once and thrice == once


@pytest.mark.parametrize("sharded", [False, True])
def test_v3_accumulates_in_several_processes_as_in_one(accumulation, sharded):
    alike(accumulation["learns", sharded], rectangles.v3_accumulated(False))


# What cannot be
# --------------------------------------------------------------------------------------------------

SIZES = {"vocab_size": 12, "max_seq_len": 8, "d_model": 12, "n_layers": 1, "n_heads": 6, "d_ff": 18}


@pytest.mark.parametrize(
    ("kind", "settings", "changed", "message"),
    [
        (GPT2, GPT2Settings, {"n_heads": 3}, "n_heads 3 is not divisible by tensor-parallel 2"),
        (GPT2, GPT2Settings, {"d_ff": 19}, "d_ff 19 is not divisible by tensor-parallel 2"),
        (GPT2, GPT2Settings, {"vocab_size": 11}, "vocab_size 11 is not divisible by tensor-par"),
        (Llama, LlamaSettings, {"n_kv_heads": 3}, "n_kv_heads 3 is not divisible by tensor-paral"),
        (DeepSeekMoE, DeepSeekSettings, {}, "only GPT2 and Llama can be cut, not DeepSeekMoE"),
        (DeepSeekV3, DeepSeekSettings, {}, "only GPT2 and Llama can be cut, not DeepSeekV3"),
    ],
)
def test_what_cannot_be_cut_is_refused(kind, settings, changed, message):
    with pytest.raises(ValueError, match=message):
        parallel.check_cut(kind(settings(**SIZES | changed)), 2)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((8, 3, 2), "data-parallel 3 x tensor-parallel 2 = 6 processes, but 8 were started"),
        ((8, None, 3), "tensor-parallel 3 does not divide 8 processes"),
        ((1, None, 2), "tensor-parallel 2 does not divide 1 processes"),
        ((2, 0, 2), "data_parallel 0"),
        ((2, 1, 0), "tensor_parallel 0"),
    ],
)
def test_an_impossible_rectangle_is_refused_with_its_numbers(sizes, message):
    with pytest.raises(ValueError, match=message):
        distributed.mesh_sizes(*sizes)


def test_a_process_that_fails_takes_the_others_down():
    with pytest.raises(RuntimeError, match="process 1 has had enough"):
        in_processes(rectangles.one_fails, 3)
