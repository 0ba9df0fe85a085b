"""Mixture of experts: many small networks for one wide one; each token visits a few of them.

`routing` chooses the experts of each token, `experts` computes them, `balance` keeps all of them at
work, and `layer` is the three in one module. `hash_routing` chooses by a table, `replay` sends
tokens where a sampler has sent them. `capacity` drops visits, as others do, and `upcycling` makes
experts of a trained dense network.
"""

from course_lib.layers.moe.balance import (
    communication_balance_loss,
    dead_experts,
    device_balance_loss,
    expert_balance_loss,
    expert_load,
    max_load_violation,
    sequence_balance_loss,
    update_bias,
)
from course_lib.layers.moe.capacity import drop_over_capacity, expert_capacity
from course_lib.layers.moe.experts import (
    Experts,
    experts_by_loop,
    experts_dense,
    experts_gathered,
    experts_sorted,
    grouped_matmul,
)
from course_lib.layers.moe.hash_routing import (
    HashRouter,
    balanced_hash_table,
    check_hash_table,
    random_hash_table,
    route_by_table,
)
from course_lib.layers.moe.layer import MoE, moe_layers, text_moe_layers
from course_lib.layers.moe.replay import changed_choices, last_choices, replayed_routing
from course_lib.layers.moe.routing import (
    Routing,
    SigmoidRouter,
    SoftmaxRouter,
    SqrtSoftplusRouter,
    check_routing,
    limit_groups,
    replay_choices,
    route_sigmoid,
    route_softmax,
    route_sqrt_softplus,
)
from course_lib.layers.moe.upcycling import upcycle_mlp

__all__ = [
    "Experts",
    "HashRouter",
    "MoE",
    "Routing",
    "SigmoidRouter",
    "SoftmaxRouter",
    "changed_choices",
    "SqrtSoftplusRouter",
    "balanced_hash_table",
    "check_hash_table",
    "check_routing",
    "communication_balance_loss",
    "dead_experts",
    "device_balance_loss",
    "drop_over_capacity",
    "expert_balance_loss",
    "expert_capacity",
    "experts_by_loop",
    "experts_dense",
    "experts_gathered",
    "experts_sorted",
    "last_choices",
    "limit_groups",
    "moe_layers",
    "replay_choices",
    "replayed_routing",
    "text_moe_layers",
    "expert_load",
    "max_load_violation",
    "grouped_matmul",
    "random_hash_table",
    "route_by_table",
    "route_sigmoid",
    "route_softmax",
    "route_sqrt_softplus",
    "sequence_balance_loss",
    "update_bias",
    "upcycle_mlp",
]
