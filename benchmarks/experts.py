"""Our mixture of experts beside the plain loop, Hugging Face's class and a dense SwiGLU of the same
active width.

    OMP_NUM_THREADS=1 python -m benchmarks.experts

Whole layers, router and one shared expert included, with the same weights. Training is forward and
backward.
"""

import os
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from transformers import DeepseekV3Config  # noqa: E402
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.layers.mlp import SwiGLU  # noqa: E402
from course_lib.layers.moe import MoE, SigmoidRouter, experts_by_loop  # noqa: E402

SIZES = [(64, 56, 8, 2), (128, 64, 16, 4)]  # d_model, d_expert, n_experts, n_chosen
TRAINED, DECODED = 4096, (1, 16, 64, 256)  # tokens at once


class Loop(nn.Module):
    """The layer `moe` with its experts one after the other."""

    def __init__(self, moe: MoE) -> None:
        super().__init__()
        self.moe = moe

    def forward(self, x: Tensor) -> Tensor:
        routing = self.moe.router(x)
        experts = self.moe.experts
        return experts_by_loop(
            x, routing.chosen, routing.weights, experts.gate_up, experts.down
        ) + self.moe.shared(x)


def hugging_face(moe: MoE, implementation: str) -> nn.Module:
    """Their layer with the weights of ours; `grouped_mm` is what their whole models use, `eager` is
    a loop."""
    (n_experts, d_model, d_expert), choice = moe.experts.down.shape, moe.router.choice
    config = DeepseekV3Config(
        hidden_size=d_model,
        moe_intermediate_size=d_expert,
        n_routed_experts=n_experts,
        n_shared_experts=1,
        num_experts_per_tok=choice["n_chosen"],
        n_group=1,
        topk_group=1,
        routed_scaling_factor=choice["scale"],
        num_attention_heads=1,
        experts_implementation=implementation,
    )
    theirs = DeepseekV3MoE(config)
    for mine, other in zip(
        [moe.router.weight, moe.experts.gate_up, moe.experts.down, *moe.shared.parameters()],
        [theirs.gate.weight, *theirs.experts.parameters(), *theirs.shared_experts.parameters()],
        strict=True,
    ):
        other.data.copy_(mine.data)
    return theirs


def layers(d_model: int, d_expert: int, n_experts: int, n_chosen: int) -> dict[str, nn.Module]:
    """The layers to compare; all but the dense one compute the same."""
    torch.manual_seed(0)
    ours = MoE(
        SigmoidRouter(d_model, n_experts, n_chosen), d_model, d_expert, n_experts, n_shared=1
    )
    same = {
        "ours": ours,
        "loop": Loop(ours),
        "transformers": hugging_face(ours, "grouped_mm"),
        "transformers, eager": hugging_face(ours, "eager"),
    }
    x = torch.randn(100, d_model)
    for layer in same.values():
        torch.testing.assert_close(layer(x), ours(x))
    return same | {"dense": SwiGLU(d_model, (n_chosen + 1) * d_expert)}


def training(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward and backward, by the input too, as within a model."""
    x, direction = x.clone().requires_grad_(), torch.randn_like(x)
    return lambda: layer(x).backward(direction)


def decoding(layer: nn.Module, x: Tensor, times: int = 20) -> Callable[[], None]:
    """Forward alone, several times since it is short."""

    @torch.inference_mode()
    def run() -> None:
        for _ in range(times):
            layer(x)

    return run


def main() -> str:
    """Measure every size and number of tokens; return the table."""
    rows = []
    for sizes in SIZES:
        compared = layers(*sizes)
        for n_tokens, work in [(TRAINED, training), *((n, decoding) for n in DECODED)]:
            x = torch.randn(n_tokens, sizes[0])
            spent = cpu_seconds(
                {name: work(layer, x) for name, layer in compared.items()}, repeats=21
            )
            ratios = [f"{seconds / spent['ours']:.2f}" for seconds in list(spent.values())[1:]]
            what = "d{} f{} E{} k{}".format(*sizes)
            ours = spent["ours"] / (1 if work is training else 20)
            rows.append([what, f"{work.__name__} {n_tokens}", f"{1000 * ours:.2f}", *ratios])
    return markdown_table(["experts: time by ours", "tokens", "ours, ms", *list(spent)[1:]], rows)


if __name__ == "__main__":
    print(main())
