"""The layer in place of an MLP: a router, its experts, and those that are always on.

How ours differs from the paper (DeepSeekMoE, arXiv 2401.06066, equation 9):

1. The residual connection is the block's.
2. The shared experts are one network as wide as all of them together, which gives the same sum:
   their outputs are added up, and so are the parts of a wide network's.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.layers.mlp import ClampedSwiGLU, SwiGLU
from course_lib.layers.moe.experts import Experts
from course_lib.layers.moe.routing import Router, Routing


class MoE(nn.Module):
    """Send each token through the experts that `router` chooses, and `n_shared` always.

    The shared ones are computed as one SwiGLU of `n_shared * d_expert` hidden units. `routing`
    keeps how the last batch was routed, in its shape: for the losses and measurements of `balance`.
    Copies of the layer leave it behind. `replay` holds experts to send the next tokens to, see
    `replay.replayed_routing`. With `swiglu_limit`, experts are clamped, as in V4; `ids` are for a
    `HashRouter`, which asks which tokens these are. Source: DeepSeekMoE (arXiv 2401.06066),
    equations 9-11, without the residual connection, which the block adds.
    """

    routing: Routing | None
    replay: Int[Tensor, "*B K"] | None

    def __init__(
        self,
        router: Router,
        d_model: int,
        d_expert: int,
        n_experts: int,
        n_shared: int,
        swiglu_limit: float | None = None,
    ) -> None:
        super().__init__()
        if router.weight.shape != (n_experts, d_model):
            theirs = "a router for {} experts and d_model {}".format(*router.weight.shape)
            raise ValueError(f"{theirs} in a layer of {n_experts} experts and d_model {d_model}")
        if d_expert < 1 or n_shared < 0:
            raise ValueError(f"d_expert {d_expert} is below 1 or n_shared {n_shared} is negative")
        self.router = router
        self.experts = Experts(n_experts, d_model, d_expert, swiglu_limit)
        self.shared = None
        if n_shared and swiglu_limit is None:
            self.shared = SwiGLU(d_model, n_shared * d_expert)
        elif n_shared:
            self.shared = ClampedSwiGLU(d_model, n_shared * d_expert, swiglu_limit)
        self.routing = None
        self.replay = None

    def forward(
        self, x: Float[Tensor, "*B C"], ids: Int[Tensor, "*B"] | None = None
    ) -> Float[Tensor, "*B C"]:
        routing = self.router(x) if ids is None else self.router(x, ids)
        if self.replay is not None:
            routing = self.router.replay(routing, self.replay)
        # by nn.Module's own way to set an attribute, that took as long as two small products
        self.__dict__["routing"] = routing
        out = self.experts(x, routing)  # the second sum of eq. 9
        return out if self.shared is None else out + self.shared(x)  # the first one

    def __getstate__(self) -> dict:
        # a routing holds on to a graph, which can't be copied
        return {**self.__dict__, "routing": None, "replay": None}


def moe_layers(model: nn.Module) -> list[MoE]:
    """Give the model's mixtures of experts, first layer to last, an MTP module's included."""
    return [module for module in model.modules() if isinstance(module, MoE)]


def text_moe_layers(model: nn.Module) -> list[MoE]:
    """Give those that a model's text passes through: without an MTP module's.

    Raises ValueError if there are none.
    """
    layers = [layer for block in model.blocks for layer in moe_layers(block)]
    if not layers:
        raise ValueError(f"{type(model).__name__} has 0 layers of experts: no choice to keep")
    return layers
