"""Small races of V4's parts: connections in a deep net, ways to route, ways to step.

Each run is seconds long, and measured for one seed. The deep net learns (a b + a) mod 31 from two
embeddings; the routed ones are V4s of two sliding layers on a corpus of the ladder.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments.ladder import LadderCorpus
from course_lib.layers.hyper_connections import (
    HyperConnection,
    ManifoldHyperConnection,
    composite_gain,
    expand_streams,
)
from course_lib.layers.moe import (
    HashRouter,
    balanced_hash_table,
    expert_load,
    moe_layers,
    random_hash_table,
)
from course_lib.layers.norm import RMSNorm
from course_lib.models.deepseek_v4 import DeepSeekV4, DeepSeekV4Settings
from course_lib.text.batches import shuffled_windows
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective
from course_lib.training.optimizers import Muon, split_parameters

MODULUS = 31
ROUTED_LENGTH, ROUTED_BATCH = 64, 8


# A deep net
# --------------------------------------------------------------------------------------------------


class PlainResidual(nn.Module):
    """x + F(x), with the interface of a hyper-connection of one stream."""

    def __init__(self, d_model: int, n_streams: int = 1) -> None:
        super().__init__()

    def forward(
        self, streams: Float[Tensor, "*B n C"], sublayer: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "*B n C"]:
        return streams + sublayer(streams)


# Class, streams, width. The wide one has as many parameters as the two with four streams.
CONNECTIONS = {
    "residual": (PlainResidual, 1, 32),
    "HC": (HyperConnection, 4, 32),
    "mHC": (ManifoldHyperConnection, 4, 32),
    "wide residual": (PlainResidual, 1, 50),
}


class DeepNet(nn.Module):
    """A stack of normed MLPs, each tied in by a connection of the given kind."""

    def __init__(self, kind: str, depth: int) -> None:
        super().__init__()
        connection, self.n_streams, width = CONNECTIONS[kind]
        self.embedding = nn.Embedding(2 * MODULUS, width)
        self.connections = nn.ModuleList(connection(width, self.n_streams) for _ in range(depth))
        self.sublayers = nn.ModuleList(
            nn.Sequential(
                RMSNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
            )
            for _ in range(depth)
        )
        self.norm, self.head = RMSNorm(width), nn.Linear(width, MODULUS)

    def forward(self, pairs: Int[Tensor, "N 2"]) -> Float[Tensor, "N V"]:
        a, b = pairs.unbind(-1)
        x = self.embedding(a) + self.embedding(b + MODULUS)
        streams = expand_streams(x, self.n_streams)
        for connect, sublayer in zip(self.connections, self.sublayers, strict=True):
            streams = connect(streams, sublayer)
        return self.head(self.norm(streams.mean(-2)))

    @torch.no_grad()
    def gains(self, pairs: Int[Tensor, "N 2"]) -> list[float]:
        """Give the mean gain of the streams' map after 1, 2, ... sublayers; 1 without streams."""
        if self.n_streams == 1:
            return [1.0] * len(self.sublayers)
        mixes, hooks = [], []
        for connect in self.connections:
            hooks.append(
                connect.register_forward_pre_hook(
                    lambda module, inputs: mixes.append(module.maps(inputs[0])[2])
                )
            )
        self(pairs)
        for hook in hooks:
            hook.remove()
        return composite_gain(torch.stack(mixes)).mean(-1).tolist()


def all_pairs() -> tuple[Int[Tensor, "N 2"], Int[Tensor, "N"]]:
    """Give all pairs (a, b) below 31, and (a b + a) mod 31."""
    numbers = torch.arange(MODULUS)
    pairs = torch.cartesian_prod(numbers, numbers)
    return pairs, (pairs[:, 0] * pairs[:, 1] + pairs[:, 0]) % MODULUS


def train_deep_net(
    kind: str, seed: int, depth: int = 24, steps: int = 40, lr: float = 3e-3, batch: int = 256
) -> dict:
    """Train a deep net on random pairs; give its losses, gradient norms and gains by depth."""
    if kind not in CONNECTIONS:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(CONNECTIONS)}")
    torch.manual_seed(seed)
    net, (pairs, answers) = DeepNet(kind, depth), all_pairs()
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.0)
    losses, norms = [], []
    for _ in range(steps):
        chosen = torch.randint(len(pairs), (batch,))
        loss = F.cross_entropy(net(pairs[chosen]), answers[chosen])
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(net.parameters(), torch.inf).item())
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "norms": norms, "gains": net.gains(pairs[:100])}


# Routing, and steps
# --------------------------------------------------------------------------------------------------

WAYS_TO_ROUTE = ("learned, no balance", "learned, bias", "random table", "balanced table")


def small_v4(corpus: LadderCorpus, way: str = "learned, bias", mtp: bool = False) -> DeepSeekV4:
    """Build a V4 of two sliding layers whose experts are chosen in this way."""
    if way not in WAYS_TO_ROUTE:
        raise ValueError(f"way {way!r} is not one of {', '.join(WAYS_TO_ROUTE)}")
    settings = DeepSeekV4Settings(
        corpus.tokenizer.n_vocab, ROUTED_LENGTH, d_model=32, n_heads=2, head_dim=16,
        layer_types=("sliding",) * 2, q_lora_rank=16, o_lora_rank=16, window=ROUTED_LENGTH,
        n_hash_layers=0, d_expert=16, n_experts=16, n_chosen=2, tied=True,
        mtp=mtp,
    )  # fmt: skip
    model, sizes = DeepSeekV4(settings), (settings.n_experts, settings.n_chosen)
    if "table" in way:
        counts = torch.bincount(corpus.tokens, minlength=settings.vocab_size)
        table = (
            random_hash_table(settings.vocab_size, *sizes)
            if way == "random table"
            else balanced_hash_table(counts, *sizes)
        )
        for layer in moe_layers(model):
            router = HashRouter(settings.d_model, sizes[0], table, settings.route_scale)
            router.weight = layer.router.weight
            layer.router = router
    return model


def train_small_v4(
    corpus: LadderCorpus,
    way: str,
    seed: int,
    steps: int = 60,
    matrices: Callable[[list], torch.optim.Optimizer] = lambda p: torch.optim.AdamW(p, lr=5e-3),
    ahead: float = 0.0,
) -> dict:
    """Train a small V4; give it, its losses, and each layer's load over the last ten batches.

    `matrices` makes the optimizer of the hidden matrices; the rest has AdamW. With `ahead` the
    model looks a token further, and so much of that loss is added.
    """
    torch.manual_seed(seed)
    model = small_v4(corpus, way, mtp=ahead > 0)
    objective = deepseek_objective(ahead=ahead)
    hidden, rest = split_parameters(model)
    optimizers = [matrices(hidden), torch.optim.AdamW(rest, lr=5e-3, weight_decay=0.0)]
    nudge = balance_by_bias(lambda step: 0.01)
    losses, loads = [], []
    windows = shuffled_windows(corpus.tokens, ROUTED_BATCH, ROUTED_LENGTH, seed)
    for step, (inputs, targets) in zip(range(steps), windows, strict=False):
        loss = objective(model, inputs, targets).mean
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if way == "learned, bias":
            nudge(step, model)
        losses.append(loss.item())
        loads.append(torch.stack([expert_load(layer.routing) for layer in moe_layers(model)]))
    return {"model": model, "losses": losses, "loads": torch.stack(loads[-10:]).sum(0)}


def load_variation(load: Int[Tensor, "*B E"]) -> Float[Tensor, "*B"]:
    """Divide the standard deviation of the experts' loads by their mean: 0 is even.

    Raises a ValueError where no expert has any load.

    >>> load_variation(torch.tensor([3, 1, 3, 1]))
    tensor(0.5000)
    """
    load = load.float()
    if (load.sum(-1) == 0).any():
        raise ValueError(f"loads of {load.shape[-1]} experts that are all 0 have no variation")
    return load.std(-1, correction=0) / load.mean(-1)


MUON_WAYS: dict[str, Callable[[list], torch.optim.Optimizer]] = {
    "AdamW": lambda matrices: torch.optim.AdamW(matrices, lr=5e-3, weight_decay=0.0),
    "Muon, 5 rounds": lambda matrices: Muon(matrices, lr=5e-3, update_rms=1.0),
    "Muon, 8 + 2": lambda matrices: Muon(matrices, lr=5e-3, steps=8, polish=2, update_rms=1.0),
}
