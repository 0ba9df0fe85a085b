"""From a trained dense network to experts: copies of it, which then go their own ways.

Source: Komatsuzaki et al. 2022, sparse upcycling (arXiv 2212.05055). Right after it nothing has
changed: all experts say the same, and weights that add up to 1 make it the dense network's word.
"""

import torch

from course_lib.layers.mlp import SwiGLU
from course_lib.layers.moe.layer import MoE
from course_lib.layers.moe.routing import Router, SigmoidRouter


@torch.no_grad()
def upcycle_mlp(mlp: SwiGLU, router: Router) -> MoE:
    """Make a layer of experts that are all copies of `mlp`, for `router` to choose from.

    A token's weights must add up to 1: the router is one that divides by their sum and has scale 1.
    With `n_chosen` 1 the weight is 1 whatever the router says, and nothing could teach it; so it
    chooses two at least, and a token costs as many times the dense layer's work.
    """
    if not isinstance(router, SigmoidRouter):
        raise TypeError(f"the weights of {type(router).__name__} do not add up to 1")
    scale, n_chosen = router.choice["scale"], router.choice["n_chosen"]
    if scale != 1 or n_chosen < 2:
        raise ValueError(f"scale {scale} must be 1, and n_chosen {n_chosen} at least 2")
    d_ff, d_model = mlp.up.weight.shape
    layer = MoE(router, d_model, d_ff, n_experts=len(router.weight), n_shared=0)
    layer.experts.gate_up.copy_(torch.cat([mlp.gate.weight, mlp.up.weight]))
    layer.experts.down.copy_(mlp.down.weight)
    return layer.to(mlp.up.weight.device, mlp.up.weight.dtype)
