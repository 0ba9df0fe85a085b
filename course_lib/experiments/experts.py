"""Mixture of experts on six kinds of pages: what is trained, and on what.

`expert_runs` trains and measures it; `specialisation` says what the experts divide among them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments.specialisation import ExpertVisits, record_visits
from course_lib.layers.moe import (
    Routing,
    SoftmaxRouter,
    communication_balance_loss,
    device_balance_loss,
    expert_balance_loss,
)
from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import small_web
from course_lib.text.batches import token_stream
from course_lib.text.bpe import Tokenizer, train_bpe
from course_lib.text.corpus.document import Document
from course_lib.training.deepseek_objective import deepseek_objective, sum_balance_losses
from course_lib.training.objectives import LossSum, Objective, next_token_objective

EXPERT_CONTEXT, EXPERT_BATCH, EXPERT_STEPS = 128, 8, 250
EXPERT_SIZE = {"d_model": 64, "n_layers": 3, "n_heads": 4, "d_ff": 96, "tied": True}
ROUTE_SCALE, BALANCE = 4.0, 0.03
DEVICES = 5
LIMITED = {"n_groups": DEVICES, "n_limited_groups": 2}
MUON_RATES = (0.01, 0.02, 0.04, 0.08)  # tried; Adam's is half of it
END_OF_PAGE = "<|endoftext|>"
# How often each source is drawn, so that the six kinds of pages have about equally many bytes
PAGE_MIXTURE = {
    "tale": 1.0, "encyclopaedia": 1.4, "questions": 1.1, "dialogue": 1.6, "shop": 1.7,
    "chain": 8.0,
}  # fmt: skip


# Pages
# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PageCorpus:
    """Pages of six kinds: what to learn from, and what to be measured on."""

    tokenizer: Tokenizer
    tokens: Int[Tensor, "N"]
    held_out: Sequence[Document]

    @cached_property
    def windows(self) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
        """Cut the held-out pages into rows of one context: the tokens, and the page of each."""
        ids, pages = [], []
        for number, page in enumerate(self.held_out):
            mine = self.tokenizer.encode(END_OF_PAGE + page.text, allowed_special="all")
            ids += mine
            pages += [number] * len(mine)
        whole = len(ids) // EXPERT_CONTEXT * EXPERT_CONTEXT
        cut = (torch.tensor(row)[:whole].view(-1, EXPERT_CONTEXT) for row in (ids, pages))
        return tuple(cut)

    def visits(self, model: nn.Module) -> ExpertVisits:
        """Write down which experts each held-out token visits."""
        return record_visits(model, *self.windows, self.kind_of_page)

    @cached_property
    def kinds(self) -> list[str]:
        """Name the kinds of pages."""
        return sorted({page.labels["kind"] for page in self.held_out})

    @cached_property
    def kind_of_page(self) -> Int[Tensor, "P"]:
        """Give the number of each held-out page's kind in `kinds`."""
        return torch.tensor([self.kinds.index(page.labels["kind"]) for page in self.held_out])


def page_corpus(megabytes: float = 2.0, n_held_out: int = 200) -> PageCorpus:
    """Draw pages of all kinds, hold the first out, and learn a vocabulary of 512 tokens."""
    pages = list(small_web.draw_clean_documents(megabytes, seed=0, mixture=PAGE_MIXTURE))
    held_out, training = pages[:n_held_out], pages[n_held_out:]
    tokenizer = train_bpe(
        [page.text for page in training[:1500]], 512, special_tokens=[END_OF_PAGE]
    )
    end = tokenizer.special_tokens[END_OF_PAGE]
    tokens = token_stream((tokenizer.encode(page.text) for page in training), end)
    return PageCorpus(tokenizer, tokens, held_out)


# Models
# --------------------------------------------------------------------------------------------------


class DetachedRouter(SoftmaxRouter):
    """A mistake: chooses and weighs as usual, but the weights are cut off from what made them.

    No gradient of the task reaches the router, that of a balance loss alone.
    """

    def forward(self, x: Float[Tensor, "*B C"]) -> Routing:
        routing = super().forward(x)
        return Routing(routing.scores, routing.chosen, routing.weights.detach())


class RandomRouter(SoftmaxRouter):
    """A control: draws the experts of each token blindly, anew every time."""

    def forward(self, x: Float[Tensor, "*B C"]) -> Routing:
        scores = torch.rand(*x.shape[:-1], len(self.weight), device=x.device)
        n_chosen = self.choice["n_chosen"]
        chosen = scores.topk(n_chosen).indices
        return Routing(scores, chosen, torch.full_like(chosen, 1 / n_chosen, dtype=x.dtype))


class DetachedExperts(DeepSeekMoE):
    """A model whose routers are `DetachedRouter`s."""

    router = DetachedRouter


class RandomExperts(DeepSeekMoE):
    """A model whose routers are `RandomRouter`s."""

    router = RandomRouter


def expert_settings(vocab_size: int, shape: str = "15-3-1", **more) -> DeepSeekSettings:
    """Give the settings of a model whose layers but the first have experts of this shape.

    "15-3-1" is 15 routed experts, of which a token visits 3, and 1 shared one; those that work on a
    token are together as wide as the dense model's MLP.
    """
    n_experts, n_chosen, n_shared = map(int, shape.split("-"))
    sizes = EXPERT_SIZE | {"route_scale": ROUTE_SCALE} | more
    return DeepSeekSettings(
        vocab_size,
        EXPERT_CONTEXT,
        **sizes,
        n_experts=n_experts,
        n_chosen=n_chosen,
        n_shared=n_shared,
        d_expert=EXPERT_SIZE["d_ff"] // (n_chosen + n_shared),
    )


def dense_model(vocab_size: int, times: int = 1) -> Llama:
    """Build the dense model, its MLPs so many times as wide."""
    sizes = EXPERT_SIZE | {"d_ff": times * EXPERT_SIZE["d_ff"]}
    return Llama(LlamaSettings(vocab_size, EXPERT_CONTEXT, **sizes))


def expert_model(vocab_size: int, kind: type[DeepSeekMoE] = DeepSeekMoE, **settings) -> DeepSeekMoE:
    """Build a model with experts; see `expert_settings`."""
    return kind(expert_settings(vocab_size, **settings))


def v2_objective(expert: float, device: float, communication: float) -> Objective:
    """Make V2's objective: the next token and all three balance losses (equations 23-31)."""
    parts = (
        (expert, expert_balance_loss),
        (device, partial(device_balance_loss, n_groups=DEVICES)),
        (communication, partial(communication_balance_loss, **LIMITED)),
    )

    def objective(model: nn.Module, inputs: Tensor, targets: Tensor) -> LossSum:
        loss = next_token_objective(model, inputs, targets)
        return loss.plus(sum(alpha * sum_balance_losses(model, part) for alpha, part in parts))

    return objective


@dataclass(frozen=True)
class ExpertRun:
    """One kind of model and how it learns."""

    build: Callable[[int], nn.Module]  # from the size of the vocabulary
    objective: Objective = next_token_objective
    muon_lr: float = MUON_RATES[1]


BALANCED = deepseek_objective(expert=BALANCE)
ONE_OF_MANY = partial(expert_model, shape="16-1-1")  # where collapse is easiest to see
EXPERT_RUNS: dict[str, dict[str, ExpertRun]] = {
    "main": {
        "dense": ExpertRun(dense_model),
        "experts": ExpertRun(expert_model, BALANCED),
        "four times as wide": ExpertRun(partial(dense_model, times=4)),
    },
    "shapes": {
        shape: ExpertRun(partial(expert_model, shape=shape), BALANCED)
        for shape in ("4-1-0", "16-4-0")
    },
    "balance": {"no loss": ExpertRun(ONE_OF_MANY), "loss": ExpertRun(ONE_OF_MANY, BALANCED)},
    "devices": {
        "one loss, two devices of five": ExpertRun(partial(expert_model, **LIMITED), BALANCED),
        "three losses, two devices of five": ExpertRun(
            partial(expert_model, **LIMITED), v2_objective(BALANCE, BALANCE, BALANCE)
        ),
    },
    "routers": {
        "no gradient": ExpertRun(partial(expert_model, kind=DetachedExperts), BALANCED),
        "random": ExpertRun(partial(expert_model, kind=RandomExperts)),
    },
}
