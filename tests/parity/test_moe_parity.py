"""Our mixture of experts against Hugging Face's DeepSeek classes, on random weights: same outputs,
same gradients."""

import pytest
import torch

from course_lib.layers.moe import MoE, SigmoidRouter, SoftmaxRouter
from course_lib.layers.moe import experts as working

transformers = pytest.importorskip("transformers")
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2Moe  # noqa: E402
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE  # noqa: E402

SIZES = [  # d_model, d_expert, n_experts, n_shared, n_chosen, n_groups, n_limited_groups, scale
    (16, 8, 8, 1, 2, 1, 1, 1.0),
    (24, 12, 12, 2, 3, 4, 2, 2.5),  # several groups
    (20, 6, 10, 0, 4, 5, 3, 16.0),  # no shared expert, sizes of no whole 16 bytes
    (7, 5, 6, 3, 6, 3, 3, 0.5),  # all experts chosen, odd sizes
    (8, 4, 16, 1, 1, 8, 1, 1.0),  # one chosen from one group
    (12, 16, 9, 1, 5, 3, 2, 1.5),
]


def hugging_face(
    version, d_model, d_expert, n_experts, n_shared, n_chosen, n_groups, n_limited_groups, scale
):
    """A layer of theirs with random weights, a random bias included."""
    config, layer = {
        "V2": (transformers.DeepseekV2Config, DeepseekV2Moe),
        "V3": (transformers.DeepseekV3Config, DeepseekV3MoE),
    }[version]
    groups = (
        {"topk_method": "group_limited_greedy" if n_groups > 1 else "greedy"}
        if version == "V2"
        else {}
    )
    theirs = layer(
        config(
            hidden_size=d_model,
            moe_intermediate_size=d_expert,
            n_routed_experts=n_experts,
            n_shared_experts=n_shared,
            num_experts_per_tok=n_chosen,
            n_group=n_groups,
            topk_group=n_limited_groups,
            routed_scaling_factor=scale,
            num_attention_heads=1,
            **groups,
        )
    )
    for tensor in (*theirs.parameters(), *theirs.buffers()):
        tensor.data.normal_(std=0.3)
    return theirs


def ours_from(theirs, version, d_model, d_expert, n_experts, n_shared, *choice):
    """Our layer with the same weights."""
    router = {"V2": SoftmaxRouter, "V3": SigmoidRouter}[version](d_model, n_experts, *choice)
    ours = MoE(router, d_model, d_expert, n_experts, n_shared)
    ours.load_state_dict(
        {
            name: theirs[their_name]
            for name, their_name in NAMES.items()
            if name in ours.state_dict()
        }
    )
    return ours


NAMES = {
    "router.weight": "gate.weight",
    "router.bias": "gate.e_score_correction_bias",
    "experts.gate_up": "experts.gate_up_proj",
    "experts.down": "experts.down_proj",
    "shared.gate.weight": "shared_experts.gate_proj.weight",
    "shared.up.weight": "shared_experts.up_proj.weight",
    "shared.down.weight": "shared_experts.down_proj.weight",
}


@pytest.mark.parametrize("few", [0, 2**60], ids=["sorted", "dense"])
@pytest.mark.parametrize("version", ["V2", "V3"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_outputs_and_gradients_equal_hugging_face(sizes, version, few, monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(working, "DENSE_BELOW", few)
    theirs = hugging_face(version, *sizes)
    ours = ours_from(theirs.state_dict(), version, *sizes)
    x = torch.randn(3, 11, sizes[0])
    xs = [x.clone().requires_grad_(), x.clone().requires_grad_()]
    got, want = ours(xs[0]), theirs(xs[1])
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    direction = torch.randn_like(x)
    (got * direction).sum().backward()
    (want * direction).sum().backward()
    torch.testing.assert_close(xs[0].grad, xs[1].grad, rtol=1e-5, atol=1e-5)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, gradients[NAMES[name]].grad, rtol=1e-5, atol=1e-5, msg=name
        )


@pytest.mark.parametrize("version", ["V2", "V3"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_same_experts_are_chosen_with_the_same_weights(sizes, version):
    torch.manual_seed(1)
    theirs = hugging_face(version, *sizes)
    ours = ours_from(theirs.state_dict(), version, *sizes)
    x = torch.randn(50, sizes[0])
    _, weights, chosen = theirs.gate(x)
    routing = ours.router(x)
    table, wanted = torch.zeros(2, 50, sizes[2])
    torch.testing.assert_close(
        table.scatter(1, routing.chosen, routing.weights),
        wanted.scatter(1, chosen, weights),
        rtol=1e-5,
        atol=1e-6,
    )
