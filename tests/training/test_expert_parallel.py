"""Experts spread over processes: the loss, the gradients and the runs of one process."""

import shutil

import pytest
import torch

from course_lib.lab import expert_work
from course_lib.layers.expert_parallel import ParallelExperts, journey_bytes, visited_ranks
from course_lib.layers.moe import MoE, SigmoidRouter, expert_load, experts_by_loop, route_sigmoid
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training import distributed, parallel
from course_lib.training.processes import RankPool
from tests.training import spread_experts
from tests.training.groups import in_processes

SHAPES = {"2 share": (2, 2), "2 x 2 share": (4, 2), "4 share": (4, 4)}  # processes, expert-parallel


@pytest.fixture(scope="module")
def alone():
    torch.set_num_threads(1)
    results = {"gradients": spread_experts.gradients(), "muon": spread_experts.run()}
    return results | {"adamw": spread_experts.run(optimizer="adamw")}


@pytest.fixture(scope="module", params=SHAPES)
def many(request, tmp_path_factory):
    """The results of a group of processes, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("shared")
    spread_experts.run(folder / "one to many", stop=2)
    n, expert = SHAPES[request.param]
    first, *others = in_processes(spread_experts.all_results, n, folder, expert=expert)
    assert all(other == first for other in others)  # all know the same, to the last bit
    return first, folder


def alike(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name in theirs:
        torch.testing.assert_close(
            torch.tensor(ours[name]), torch.tensor(theirs[name]), rtol=1e-4, atol=2e-5
        )


@pytest.mark.parametrize("name", ["gradients", "whole"])
def test_loss_and_gradients_are_those_of_one_process(many, alone, name):
    alike(many[0][name], alone["gradients"])


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_run_ends_as_that_of_one_process(many, alone, name):
    """With the bias of the routers, clipping at every step, and accumulation."""
    assert min(alone[name]["gradient"]) > 0.2
    biases = [v for key, v in alone[name].items() if key.endswith("router.bias")]
    assert biases and all(max(map(abs, bias)) > 0.02 for bias in biases)
    alike(many[0][name], alone[name])


def test_what_one_process_saved_goes_on_in_many(many, alone):
    alike(many[0]["one to many"], alone["muon"])


def test_what_many_saved_goes_on_in_one_or_sharded(many, alone, tmp_path):
    results, folder = many
    assert len(results["stopped"]) == 2
    for n in (1, 2):
        shutil.copytree(folder / "many to one", tmp_path / f"{n}")
    alike(spread_experts.run(tmp_path / "1"), alone["muon"])
    alike(in_processes(spread_experts.run, 2, tmp_path / "2", expert=2)[0], alone["muon"])


# The layer by itself
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "tokens", "only"), [(2, 41, None), (4, 38, None), (4, 3, 3)])
def test_the_layer_equals_the_loop_over_all_experts(n, tokens, only):
    """Also where some ranks have no tokens, and most get none: three tokens, experts 0 to 2."""
    x, experts, logits = spread_experts.layer_case(tokens, only=only)
    x.requires_grad_(), logits.requires_grad_()
    routing = route_sigmoid(logits, torch.zeros(8), 3)
    out = experts_by_loop(x, routing.chosen, routing.weights, experts.gate_up, experts.down)
    out.square().sum().backward()
    results = in_processes(spread_experts.layer_step, n, tokens, only)
    wanted = {"out": out, "x": x.grad, "logits": logits.grad}
    wanted |= {"gate_up": experts.gate_up.grad, "down": experts.down.grad}
    for name, want in wanted.items():
        got = torch.cat(
            [torch.tensor(result[name]).view(-1, *want.shape[1:]) for result in results]
        )
        torch.testing.assert_close(got, want.detach(), rtol=1e-4, atol=1e-6)


def test_bytes_are_those_of_the_formula():
    results = in_processes(spread_experts.layer_step, 4, 4000)
    if results[0]["sent"] is None:
        pytest.skip("this system does not count the bytes of sockets")
    journeys = sum(result["away"] for result in results)
    assert journeys > 4000
    there, back, backward = results[0]["bytes"]
    formula = journeys * (there + back + backward)
    sent = sum(sum(result["sent"]) for result in results)
    # beside the rows: how many come, headers, and what the system repeats or confirms
    assert formula < sent < 1.06 * formula


def test_what_the_processes_of_the_lesson_do():
    torch.manual_seed(0)
    layer = MoE(SigmoidRouter(8, 4, 2), 8, 4, n_experts=4, n_shared=1)
    x = torch.randn(10, 8)
    with RankPool(2) as pool:
        first, second = pool.run(expert_work.expert_step, layer, x)
        waited = pool.run(expert_work.wait_for_experts, [1, 3], 0.01)
    assert min(waited) >= 0.03
    out = layer(x)
    out.square().sum().backward()
    torch.testing.assert_close(torch.cat([first.out, second.out]), out.detach())
    assert [first.visits, second.visits] == expert_load(layer.routing).view(2, 2).sum(1).tolist()
    for name, p in layer.named_parameters():
        parts = [first.gradients[name], second.gradients[name]]
        joined = torch.cat(parts) if name.startswith("experts") else sum(parts)
        torch.testing.assert_close(joined, p.grad, rtol=1e-4, atol=1e-5)


def test_a_limit_to_few_groups_limits_the_journeys():
    logits = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
    free = route_sigmoid(logits, torch.zeros(16), 4)
    limited = route_sigmoid(logits, torch.zeros(16), 4, n_groups=4, n_limited_groups=2)
    assert visited_ranks(limited.chosen, 16, 4).sum(1).max() <= 2
    assert visited_ranks(free.chosen, 16, 4).sum(1).max() == 4
    by_hand = [len({e // 4 for e in row}) for row in free.chosen.tolist()]
    assert visited_ranks(free.chosen, 16, 4).sum(1).tolist() == by_hand


def test_alone_they_are_the_experts():
    x, experts, logits = spread_experts.layer_case()
    routing = route_sigmoid(logits, torch.zeros(8), 3)
    torch.testing.assert_close(ParallelExperts(experts)(x, routing), experts(x, routing))
    assert journey_bytes(10, 2, bytes_per_number=2) == {
        "dispatch": 2 * 10 + 2 * 4 + 2 * 8,
        "combine": 20,
        "backward": 40 + 8,
    }


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((4, None, 1, 3), "expert-parallel 3 does not divide 4 data-parallel replicas"),
        ((4, None, 2, 2), "expert-parallel 2 with tensor-parallel 2: no model"),
        ((4, None, 1, 0), "expert_parallel 0"),
    ],
)
def test_impossible_groups_are_refused_with_their_numbers(sizes, message):
    with pytest.raises(ValueError, match=message):
        distributed.mesh_sizes(*sizes)


def test_experts_that_cannot_be_shared_are_refused():
    llama = Llama(LlamaSettings(12, 8, d_model=12, n_layers=1, n_heads=3))
    with pytest.raises(ValueError, match="expert-parallel 2: a Llama has 0 layers of experts"):
        parallel.check_experts(llama, 2)
    with pytest.raises(ValueError, match="n_experts 4 is not divisible by expert-parallel 3"):
        parallel.check_experts(spread_experts.build(), 3)
    with pytest.raises(ValueError, match="n_experts 4 is not divisible by 3 ranks"):
        visited_ranks(torch.tensor([[0, 1]]), 4, 3)
