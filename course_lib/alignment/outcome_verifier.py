"""A verifier that is learnt: the probability that an answer is right, from its text alone.

A language model's trunk with one number on top, as in `reward_model`, but taught by right and wrong
answers in place of choices. Source: Cobbe et al. 2021 (arXiv 2110.14168), section 4.2. Differs from
the paper: one prediction at the last token, not one at every token.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.alignment.reward_model import RewardModel, pad_with_last_positions
from course_lib.alignment.sft import sft_settings
from course_lib.training.objectives import LossSum
from course_lib.training.trainer import TokenBatch, train


class JudgedText(NamedTuple):
    """A question and its answer in tokens, and whether the answer is right."""

    ids: Sequence[int]
    right: bool


def outcome_batches(
    texts: Sequence[JudgedText], batch_size: int, seed: int = 0, start_step: int = 0
) -> Iterator[TokenBatch]:
    """Draw batches of judged texts, with replacement, without end: ids, and last place and label.

    Batch number k depends on the other arguments alone.
    """
    for step in count(start_step):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        some = [texts[i] for i in torch.randint(len(texts), (batch_size,), generator=generator)]
        ids, last = pad_with_last_positions([text.ids for text in some])
        yield ids, torch.stack([last, torch.tensor([int(text.right) for text in some])])


def outcome_objective(
    model: RewardModel, ids: Int[Tensor, "B T"], labels: Int[Tensor, "2 B"]
) -> LossSum:
    """The objective of a verifier: the surprise at right and wrong, in nats, a mean over texts."""
    last, right = labels
    loss = F.binary_cross_entropy_with_logits(model(ids, last), right.float(), reduction="sum")
    return LossSum(loss, len(ids))


def train_outcome_verifier(
    trunk: nn.Module,
    texts: Sequence[JudgedText],
    steps: int = 300,
    batch_size: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
) -> RewardModel:
    """Teach a copy of `trunk` to tell right answers from wrong ones.

    Raises ValueError unless there are both.
    """
    n_right = sum(text.right for text in texts)
    if not 0 < n_right < len(texts):
        raise ValueError(f"{n_right} of {len(texts)} texts are right: both kinds are needed")
    model = RewardModel(trunk)
    batches = partial(outcome_batches, texts, batch_size, seed)
    train(model, batches, sft_settings(steps, adam_lr=lr), outcome_objective)
    return model


@torch.no_grad()
def outcome_probabilities(
    model: RewardModel, sequences: Sequence[Sequence[int]], rows: int = 512
) -> Float[Tensor, "B"]:
    """Give the probability that each text's answer is right, `rows` texts at a time."""
    parts = [sequences[start : start + rows] for start in range(0, len(sequences), rows)]
    return torch.cat([model.score(part) for part in parts]).sigmoid()
