"""A verifier learns to tell right from wrong answers, and its objective is torch's."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.alignment.outcome_verifier import (
    JudgedText,
    outcome_batches,
    outcome_objective,
    outcome_probabilities,
    train_outcome_verifier,
)
from course_lib.alignment.reward_model import RewardModel
from course_lib.models.llama import Llama, LlamaSettings


def small_trunk() -> Llama:
    torch.manual_seed(0)
    return Llama(LlamaSettings(12, 16, d_model=16, n_layers=1, n_heads=2))


def texts(n: int) -> list[JudgedText]:
    """Right is what ends on a small token, whatever its length."""
    drawn = torch.randint(1, 12, (n, 4), generator=torch.Generator().manual_seed(1)).tolist()
    return [JudgedText(row[i % 3 :], row[3] < 6) for i, row in enumerate(drawn)]


def test_a_verifier_learns_and_says_so_whatever_the_padding():
    model = train_outcome_verifier(small_trunk(), texts(200), steps=30, batch_size=32, lr=2e-2)
    asked = texts(60)
    got = outcome_probabilities(model, [text.ids for text in asked], rows=20)
    right = torch.tensor([text.right for text in asked])
    assert ((got > 0.5) == right).float().mean() > 0.9
    torch.testing.assert_close(got[3:4], outcome_probabilities(model, [asked[3].ids]))


def test_the_objective_is_the_surprise_at_right_and_wrong():
    model = RewardModel(small_trunk())
    model.head.weight.data.normal_(generator=torch.Generator().manual_seed(2))
    ids, labels = next(outcome_batches(texts(20), 5, seed=3))
    last, right = labels
    want = F.binary_cross_entropy(model(ids, last).sigmoid(), right.float())
    found = outcome_objective(model, ids, labels)
    torch.testing.assert_close(found.mean, want)


def test_one_kind_alone_teaches_nothing():
    with pytest.raises(ValueError, match="3 of 3 texts are right"):
        train_outcome_verifier(small_trunk(), [JudgedText([1, 2], True)] * 3)
