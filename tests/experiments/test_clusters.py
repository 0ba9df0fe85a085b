"""The formulas of the page on clusters, held against what two real processes hold and send."""

import re
from pathlib import Path

import pytest
import torch
from torch.distributed.fsdp import FSDPModule
from torch.utils.flop_counter import FlopCounterMode

from course_lib.experiments import clusters
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.training import distributed
from course_lib.training.distributed import MeshSizes
from course_lib.training.objectives import next_token_objective
from course_lib.training.optimizers import orthogonalize
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import TrainingRun, accumulate_gradients
from tests.training.groups import in_processes
from tests.training.rectangles import CountCollectives

ROOT = Path(__file__).parents[2]


def even_model():
    """Two divides all of its sizes, so that no slice is padded."""
    torch.manual_seed(0)
    return Llama(LlamaSettings(20, 8, d_model=16, n_layers=3, n_heads=4, n_kv_heads=2, d_ff=24))


def local_bytes(tensors):
    return sum(getattr(tensor, "_local_tensor", tensor).nbytes for tensor in tensors)


class UnsentGradients:
    """The bytes of the gradients that FSDP keeps whole after the first part of a batch."""

    def __init__(self, through):
        self.through, self.n_bytes = through, None

    def note(self):
        if self.n_bytes is None:
            groups = [
                module._get_fsdp_state()._fsdp_param_group
                for module in self.through.modules()
                if isinstance(module, FSDPModule)
            ]
            parameters = [p for group in groups if group for p in group.fsdp_params]
            whole = [p._unsharded_param for p in parameters if hasattr(p, "_unsharded_param")]
            kept = [p.grad for p in whole]
            self.n_bytes = local_bytes(gradient for gradient in kept if gradient is not None)


def measure(sharded, accumulate):
    """What this process holds and sends, for one batch of four rows of eight tokens."""
    settings = TrainSettings(2, accumulate=accumulate)
    run = TrainingRun(even_model(), settings, next_token_objective, [], None, sharded)
    ids = torch.arange(32).view(4, 8) % 20
    run.go([(ids, ids)] * 2)
    waiting = UnsentGradients(run.spread.through)
    accumulate_gradients(run.model, run.objective, ids, ids, settings, waiting.note)
    run.model.zero_grad()
    states = [s for optimizer in run.optimizers for s in optimizer.state.values()]
    with CountCollectives() as counted:
        accumulate_gradients(run.model, run.objective, ids, ids, settings)
    with CountCollectives() as counted_in_step:
        for optimizer in run.optimizers:
            optimizer.step()
    return {
        "weights": local_bytes(run.model.parameters()),
        "gradients": local_bytes(p.grad for p in run.model.parameters()),
        "averages": local_bytes(t for state in states for n, t in state.items() if n != "step"),
        "unsent": waiting.n_bytes,
        "calls": counted.calls,
        "calls in step": counted_in_step.calls,
    }


def measure_all():
    cases = [(True, 1), (True, 2)] + [(False, 1)] * (distributed.group_sizes().tensor == 1)
    return {case: measure(*case) for case in cases}


def received(calls, engine):
    """Count the bytes that one of two processes receives by the collectives of one engine.

    A gather or a scatter brings half of the whole tensor, a sum twice as much.
    """
    total = 0.0
    for name, sizes in calls:
        if not name.startswith(engine) or "wrap" in name or max(sizes) <= 16:
            continue  # of another engine, no collective, or the sums of loss and targets
        kinds = {"allreduce": 1.0, "all_reduce": 1.0, "allgather": 0.5, "reduce_scatter": 0.5}
        kinds["all_gather"] = 1.0  # its only tensor is this process's half
        (factor,) = [kinds[kind] for kind in kinds if kind in name]
        total += factor * max(sizes)
    return total


@pytest.fixture(scope="module")
def model():
    return clusters.count_cluster_model("tiny", even_model())


@pytest.fixture(scope="module", params=[1, 2])
def measured(request):
    sizes = MeshSizes(2 // request.param, request.param)
    return sizes, in_processes(measure_all, 2, tensor=request.param)[0]


def test_a_process_holds_what_the_formula_says(model, measured):
    sizes, cases = measured
    for (sharded, _), found in cases.items():
        memory = clusters.process_memory(model, sizes, sharded)
        replicated = 16 * 7 * 4  # norms: tensor parallelism keeps them whole
        for name in ("weights", "gradients", "averages"):
            slack = replicated * (2 if name == "averages" else 1) * (sizes.tensor > 1) / 2
            assert found[name] == pytest.approx(getattr(memory, name) + slack)


def test_gradients_that_are_not_sent_yet_are_kept_whole(model, measured):
    sizes, cases = measured
    if sizes.data > 1:
        whole = clusters.process_memory(model, sizes, accumulate=2).gradients
        assert (cases[True, 1]["unsent"], cases[True, 2]["unsent"]) == (0, whole)


def test_a_process_receives_what_the_formula_says(model, measured):
    sizes, cases = measured
    for (sharded, accumulate), found in cases.items():
        if sizes.data > 1:
            want = clusters.data_traffic(model, sizes, sharded, accumulate)
            assert received(found["calls"], "c10d.") == pytest.approx(want)
        else:
            want = clusters.tensor_traffic(model, sizes, n_tokens=32)
            assert received(found["calls"], "_c10d_functional.") == pytest.approx(want)
        muon = clusters.muon_traffic(model, sizes, sharded)
        assert received(found["calls in step"], "_c10d_functional.") == pytest.approx(muon)


def test_published_models_are_counted():
    v1, v3 = clusters.published_models()
    assert round(v1.parameters / 1e9, 1) == 6.9 and round(v3.active / 1e9) == 37
    assert round((v3.parameters - v3.layer) / 1e9) == 671  # multi-token prediction is one layer
    assert v1.layers + 2 * 102_400 * 4096 + 4096 == v1.parameters


def test_the_work_of_muon_is_that_of_its_products():
    with FlopCounterMode(display=False) as counted:
        orthogonalize(torch.randn(3, 8, 20))
        orthogonalize(torch.randn(20, 8))
    want = clusters.newton_schulz_flops(3, 8, 20) + clusters.newton_schulz_flops(20, 8)
    assert counted.get_total_flops() == want


def test_what_is_divided_among_more_processes_gets_smaller(model):
    totals = [clusters.process_memory(model, MeshSizes(n, 1)) for n in (2, 4, 8)]
    assert totals[0].weights == 2 * totals[1].weights == 4 * totals[2].weights
    assert len({memory.gathered for memory in totals}) == 1
    whole = clusters.process_memory(model, MeshSizes(4, 1), accumulate=2)
    assert whole.gradients == 4 * model.parameters


def test_the_page_holds_the_tables_of_the_code():
    text = (ROOT / "book/clusters.md").read_text()
    made = clusters.cluster_tables()
    names = re.findall(r"%([A-Z0-9_]+)%", text)
    assert set(names) <= set(made)
    # the page's sentences say so
    assert made["V3_MEMORY"].count("does not fit") == len(clusters.LAYOUTS["V3"])
    assert made["V1_MEMORY"].count("does not fit") == 1
