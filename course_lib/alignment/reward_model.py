"""A model of what people like: a language model's trunk with one number on top.

It learns from choices between answers. Source: Ouyang et al. 2022 (arXiv 2203.02155), section 3.5.
Differs from the paper: two answers to a prompt, not four to nine; and no shift of the scores to a
mean of 0, since only their differences mean something.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.alignment.preferences import PreferencePair
from course_lib.alignment.sft import sft_settings
from course_lib.text.batches import pad_rows
from course_lib.training.objectives import LossSum
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainHistory
from course_lib.training.trainer import TokenBatch, train

TRAIN_FRACTION = 0.8  # the share of the pairs; the others tell how often the model is right


def trunk_alone(model: nn.Module) -> nn.Module:
    """Copy a language model without what predicts tokens, all of it trainable.

    No head, that is, and no multi-token prediction. Every parameter of such a trunk gets a
    gradient; data parallel training refuses others.
    """
    trunk = copy.deepcopy(model).requires_grad_(True)
    trunk.head = trunk.mtp = None
    return trunk


class RewardModel(nn.Module):
    """Score a text by what its last token has gathered: a language model's trunk and a scalar head.

    The trunk is a copy. The head starts at zero, so no text is liked at first. It has no bias,
    which no comparison could teach. To keep one: `checkpoint.save_checkpoint(path, model)`; to read
    it, `checkpoint.load_checkpoint` with a function that makes `RewardModel(trunk)`.
    """

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.settings = trunk.settings
        self.trunk = trunk_alone(trunk)
        self.head = nn.Linear(trunk.settings.d_model, 1, bias=False).to(next(trunk.parameters()))
        nn.init.zeros_(self.head.weight)

    def forward(self, ids: Int[Tensor, "B T"], last: Int[Tensor, "B"]) -> Float[Tensor, "B"]:
        """Score texts that are padded on the right; `last` is the place of each one's last token.

        No token looks to its right, so the padding needs no mask.
        """
        hidden = self.trunk.hidden(ids)
        return self.head(hidden[torch.arange(len(ids), device=ids.device), last])[:, 0]

    def score(self, sequences: Sequence[Sequence[int]]) -> Float[Tensor, "B"]:
        """Score whole texts in tokens, prompt and answer, of any lengths.

        Raises ValueError for an empty one.
        """
        ids, last = pad_with_last_positions(sequences)
        device = self.head.weight.device
        return self(ids.to(device), last.to(device))


def pad_with_last_positions(
    sequences: Sequence[Sequence[int]],
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
    """Pad texts on the right, and say where the last token of each stands.

    >>> pad_with_last_positions([[5, 6, 7], [8]])
    (tensor([[5, 6, 7],
            [8, 0, 0]]), tensor([2, 0]))
    """
    ids, mask = pad_rows(sequences, pad_token=0)
    lengths = mask.sum(-1)
    if not lengths.all():
        raise ValueError(
            f"sequence {int(lengths.argmin())} of {len(sequences)} has no tokens, so there is no"
            " last one"
        )
    return ids, lengths - 1


def bradley_terry_loss(
    chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"]
) -> Float[Tensor, ""]:
    """Average the surprise at the choices, in nats: -log sigmoid(chosen - rejected score).

    Its gradient by a lead is minus the probability that the choice had been the other one. Source:
    Ouyang et al. 2022 (arXiv 2203.02155), equation 1, with K = 2. Raises ValueError if a score is
    NaN or infinite.

    The mean of log 2 and of log(1 + exp(-2)):

    >>> bradley_terry_loss(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 1.0]))
    tensor(0.4100)
    """
    if chosen.shape != rejected.shape or not chosen.numel():
        raise ValueError(
            f"scores of shapes {tuple(chosen.shape)} and {tuple(rejected.shape)} make no pairs"
        )
    if (wrong := ~(chosen.isfinite() & rejected.isfinite())).any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"pair {row} of {len(wrong)} has the scores {chosen[row].item()} and"
            f" {rejected[row].item()}"
        )
    return -F.logsigmoid(chosen - rejected).mean()


def pair_accuracy(chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"]) -> float:
    """Give the share of pairs whose chosen answer has the higher score; a tie counts half.

    >>> pair_accuracy(torch.tensor([2.0, 0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 3.0, 0.5]))
    0.625
    """
    return ((chosen - rejected).sign() + 1).mean().item() / 2


def check_pairs(pairs: Sequence[PreferencePair], max_seq_len: int) -> None:
    """Raise a ValueError if there are no pairs, or one is no choice, lacks a part, is too long."""
    if not pairs:
        raise ValueError("there are no pairs to learn from")
    for number, (prompt, chosen, rejected) in enumerate(pairs):
        which = f"pair {number} of {len(pairs)}"
        if list(chosen) == list(rejected):
            raise ValueError(
                f"{which} has the same answer twice, of {len(chosen)} tokens: nobody can choose"
            )
        if not min(map(len, (prompt, chosen, rejected))):
            lengths = (
                f"a prompt of {len(prompt)} tokens and answers of {len(chosen)} and {len(rejected)}"
            )
            raise ValueError(f"{which} has {lengths}: each needs at least 1")
        if (length := len(prompt) + max(len(chosen), len(rejected))) > max_seq_len:
            raise ValueError(
                f"{which} has a text of {length} tokens, more than max_seq_len {max_seq_len}"
            )


def split_pairs(
    pairs: Sequence[PreferencePair], seed: int = 0
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Split pairs at random into learnt (`TRAIN_FRACTION`) and held-out ones, at least one each."""
    if len(pairs) < 2:
        raise ValueError(
            f"{len(pairs)} pairs: at least 2 are needed, one to learn from and one held out"
        )
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed)).tolist()
    n_train = int(TRAIN_FRACTION * len(pairs))
    return [pairs[i] for i in order[:n_train]], [pairs[i] for i in order[n_train:]]


def pair_texts(pairs: Sequence[PreferencePair]) -> tuple[Int[Tensor, "B 2 T"], Int[Tensor, "B 2"]]:
    """Lay out both texts of each pair, the chosen one first, and where their last tokens stand.

    >>> pair_texts([PreferencePair([7], chosen=[5, 0], rejected=[0])])
    (tensor([[[7, 5, 0],
             [7, 0, 0]]]), tensor([[2, 1]]))
    """
    ids, last = pad_with_last_positions(
        [[*pair.prompt, *answer] for pair in pairs for answer in (pair.chosen, pair.rejected)]
    )
    return ids.unflatten(0, (-1, 2)), last.unflatten(0, (-1, 2))


def pair_batches(
    lay_out: Callable[[Sequence[PreferencePair]], TokenBatch],
    pairs: Sequence[PreferencePair],
    batch_size: int,
    seed: int = 0,
    start_step: int = 0,
) -> Iterator[TokenBatch]:
    """Draw batches of pairs, with replacement, without end, each laid out by `lay_out`.

    Batch number k depends on (pairs, batch_size, seed) alone: a run that stopped goes on with
    `start_step=k`.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be at least 1")
    for step in count(start_step):
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        drawn = torch.randint(len(pairs), (batch_size,), generator=generator).tolist()
        yield lay_out([pairs[i] for i in drawn])


def score_pairs(
    model: RewardModel, ids: Int[Tensor, "B 2 T"], last: Int[Tensor, "B 2"]
) -> Float[Tensor, "B 2"]:
    """Score the chosen and the rejected text of each pair, laid out by `pair_texts`."""
    return model(ids.flatten(0, 1), last.flatten()).unflatten(0, (-1, 2))


def choice_objective(
    model: RewardModel, ids: Int[Tensor, "B 2 T"], last: Int[Tensor, "B 2"]
) -> LossSum:
    """The objective of a reward model: the surprise at the choices, a mean over pairs."""
    return LossSum(bradley_terry_loss(*score_pairs(model, ids, last).T) * len(ids), len(ids))


@torch.no_grad()
def preference_accuracy(
    model: RewardModel, pairs: Sequence[PreferencePair], rows: int = 128
) -> float:
    """Tell how often a reward model agrees with `pairs`, of which it reads `rows` at a time."""
    parts = [pair_texts(pairs[start : start + rows]) for start in range(0, len(pairs), rows)]
    device = model.head.weight.device
    return pair_accuracy(
        *torch.cat([score_pairs(model, ids.to(device), last.to(device)) for ids, last in parts]).T
    )


class TrainedRewardModel(NamedTuple):
    """A reward model, its accuracy on choices that it has not seen, and how its training went."""

    model: RewardModel
    accuracy: float
    history: TrainHistory


def train_reward_model(
    trunk: nn.Module,
    pairs: Sequence[PreferencePair],
    steps: int = 150,
    batch_size: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
) -> TrainedRewardModel:
    """Teach a copy of `trunk` to score chosen answers above rejected ones.

    The `trunk` itself stays as it is. `pairs` are in tokens, see `preferences.encode_preferences`.
    A prompt may stand on both sides of the split, so the accuracy is for choices that are new, not
    for questions that are. Noisy choices keep it below 1, however good the model is.
    """
    check_pairs(pairs, trunk.settings.max_seq_len)
    learnt, held_out = split_pairs(pairs, seed)
    model, batches = RewardModel(trunk), partial(pair_batches, pair_texts, learnt, batch_size, seed)
    history = train(
        model, batches, sft_settings(steps, adam_lr=lr), choice_objective, checkpoints=checkpoints
    )
    return TrainedRewardModel(model, preference_accuracy(model, held_out), history)
