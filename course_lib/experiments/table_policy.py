"""A policy that is a table: small enough to practise in a second and to be judged exactly.

It says four tokens of a vocabulary of eight, each by its own row of scores, whatever stands before.
An answer is right if all its tokens are among the good ones.
"""

import copy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.alignment.grpo import GRPOSettings, group_advantages, grpo_step
from course_lib.inference.generate import next_token_probs
from course_lib.inference.rollout import Completions

TABLE_SIZE = (4, 8)  # tokens of an answer, vocabulary
N_GOOD = 3
TABLE_SETTINGS = GRPOSettings(
    20, n_questions=2, group_size=16, lr=0.6, beta=0.0, average=4.0, n_minibatches=1
)


class TablePolicy(nn.Module):
    """A table of scores in the form in which the library reads a model: a row for each token."""

    blocks = ()

    def __init__(self, scores: Float[Tensor, "T V"]) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores.clone())
        self.register_buffer("start", scores.clone())

    def hidden(
        self, ids: Tensor, caches: tuple = (), padding: Tensor | None = None
    ) -> Float[Tensor, "B T V"]:
        return self.scores.expand(len(ids), *self.scores.shape)

    def logits(self, hidden: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
        return hidden

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator, top_p: float | None = None) -> Completions:
        """Draw answers, cut by `top_p`; each stands behind a prompt of its own, one token long.

        They keep the mask of the cut, if there is one.
        """
        probs = next_token_probs(self.scores, top_p=top_p)
        kept = None if top_p is None else (probs > 0).expand(n, *probs.shape)
        log_probs = probs.log()
        drawn = torch.multinomial(log_probs.exp(), n, replacement=True, generator=generator)
        chosen = log_probs.gather(1, drawn).T
        ids = torch.cat([torch.arange(n)[:, None], drawn.T], 1)
        real = torch.ones_like(drawn.T, dtype=torch.bool)
        padding = torch.zeros_like(ids, dtype=torch.bool)
        return Completions(ids, padding, real, chosen, real[:, 0], kept=kept)

    @torch.no_grad()
    def success_probability(self, top_p: float | None = None) -> float:
        """Give the exact probability of an answer of good tokens alone, if it is cut by `top_p`."""
        return next_token_probs(self.scores, top_p=top_p)[:, :N_GOOD].sum(-1).prod().item()

    @torch.no_grad()
    def kl_from_start(self) -> float:
        """Give the exact KL(policy || the table it was made with), in nats of a whole answer."""
        own, start = self.scores.log_softmax(-1), self.start.log_softmax(-1)
        return (own.exp() * (own - start)).sum().item()


def practise_table(
    seed: int, settings: GRPOSettings = TABLE_SETTINGS
) -> tuple[TablePolicy, list[float]]:
    """Practise from random scores: the policy, and how surely it was right after each step.

    The sampler's cut is `top_p` of the settings; without `keep_mask` its mask is lost. A leash of
    `beta` holds it to the scores that it began with.
    """
    generator = torch.Generator().manual_seed(seed)
    policy = TablePolicy(torch.randn(*TABLE_SIZE, generator=generator) / 2)
    reference = copy.deepcopy(policy)
    optimizer = torch.optim.AdamW(policy.parameters(), settings.lr, (0.9, 0.95), weight_decay=0.0)
    curve = []
    for _ in range(settings.steps):
        n = settings.n_questions * settings.group_size
        drawn = policy.sample(n, generator, settings.top_p)
        if not settings.keep_mask:
            drawn = replace(drawn, kept=None)
        rewards = (drawn.ids[:, 1:] < N_GOOD).all(-1).float()
        advantages = group_advantages(rewards, settings.group_size, settings.scale_by_std)
        grpo_step(policy, reference, optimizer, drawn, advantages, settings, generator)
        curve.append(policy.success_probability())
    return policy, curve
