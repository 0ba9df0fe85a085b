"""Losses of encoders against torch's own, and a teacher's part by part."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.models.bert import BERT, BERTSettings
from course_lib.models.distilbert import student_of
from course_lib.training.encoder_objectives import (
    distillation_objective,
    hidden_cosine_loss,
    masked_lm_objective,
    pair_loss,
    permutation_lm_loss,
    soft_label_loss,
)

IGNORE = -100


@pytest.fixture
def batch():
    torch.manual_seed(0)
    inputs, targets = torch.randint(1, 11, (3, 6)), torch.full((3, 6), IGNORE)
    inputs[1, 4:] = 0
    targets[0, 1:3], targets[2, 5] = 4, 7
    return inputs, targets


def lively_bert():
    model = BERT(BERTSettings(11, 9, d_model=12, n_layers=2, n_heads=3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def test_masked_lm_is_the_mean_surprise_at_the_hidden_tokens(batch):
    model, (inputs, targets) = lively_bert(), batch
    loss = masked_lm_objective(model, inputs, targets)
    logits = model(inputs, padding=inputs == 0)
    want = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORE)
    assert loss.count == 3
    torch.testing.assert_close(loss.mean, want)
    other = inputs.clone()
    other[1, 0] = 9  # no target stands in this row
    torch.testing.assert_close(masked_lm_objective(model, other, targets).mean, want)


def test_a_batch_without_targets_costs_nothing(batch):
    model, (inputs, _) = lively_bert(), batch
    loss = masked_lm_objective(model, inputs, torch.full((3, 6), IGNORE))
    assert loss.total == 0 and loss.count == 0


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_soft_labels_are_torchs_divergence_times_t_squared(temperature):
    student, teacher = torch.randn(7, 11, requires_grad=True), torch.randn(7, 11)
    want = temperature**2 * F.kl_div(
        (student / temperature).log_softmax(-1), (teacher / temperature).softmax(-1),
        reduction="batchmean",
    )  # fmt: skip
    got = soft_label_loss(student, teacher, temperature)
    torch.testing.assert_close(got, want)
    assert soft_label_loss(teacher, teacher).abs() < 1e-6


def test_the_cosine_is_torchs():
    a, b = torch.randn(5, 8), torch.randn(5, 8)
    torch.testing.assert_close(
        hidden_cosine_loss(a, b), F.cosine_embedding_loss(a, b, torch.ones(5))
    )


def test_pairs_and_permutations_are_cross_entropy():
    logits, labels = torch.randn(4, 2), torch.tensor([0, 1, 1, 0])
    torch.testing.assert_close(
        pair_loss(logits, labels), -logits.log_softmax(-1)[range(4), labels].mean()
    )
    scores, tokens = torch.randn(2, 3, 5), torch.tensor([[1, 2, IGNORE], [0, 4, 3]])
    loss = permutation_lm_loss(scores, tokens)
    assert loss.count == 5
    want = F.cross_entropy(scores.flatten(0, 1), tokens.flatten(), ignore_index=IGNORE)
    torch.testing.assert_close(loss.mean, want)


def test_distillation_is_the_sum_of_its_three_parts(batch):
    teacher, (inputs, targets) = lively_bert(), batch
    student, asked = student_of(teacher, [0]), targets != IGNORE
    parts = [
        distillation_objective(teacher, weights)(student, inputs, targets).mean
        for weights in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    ]
    whole = distillation_objective(teacher)(student, inputs, targets)
    torch.testing.assert_close(whole.mean, 5 * parts[0] + 2 * parts[1] + parts[2])
    padding = inputs == 0
    mine, theirs = student(inputs, padding=padding), teacher(inputs, padding=padding)
    torch.testing.assert_close(parts[0], soft_label_loss(mine[asked], theirs[asked]))
    torch.testing.assert_close(parts[1], masked_lm_objective(student, inputs, targets).mean)
    streams = [model.hidden(inputs, padding=padding)[~padding] for model in (student, teacher)]
    torch.testing.assert_close(parts[2], hidden_cosine_loss(*streams))
    whole.backward()
    assert all(p.grad is None for p in teacher.parameters())
    assert all(p.grad is not None for p in student.parameters())


def test_a_batch_is_cut_without_harm_unless_the_cosine_counts(batch):
    teacher, (inputs, targets) = lively_bert(), batch
    student, objective = student_of(teacher, [0]), distillation_objective(teacher, (5.0, 2.0, 0.0))
    whole = objective(student, inputs, targets)
    parts = [objective(student, inputs[i : i + 1], targets[i : i + 1]) for i in range(3)]
    assert [int(part.count) for part in parts] == [2, 0, 1] and not whole.whole_batch
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    assert distillation_objective(teacher)(student, inputs, targets).whole_batch


def test_a_student_that_is_the_teacher_has_nothing_to_learn_from_it(batch):
    teacher, (inputs, targets) = lively_bert(), batch
    student = student_of(teacher, [0, 1])
    loss = distillation_objective(teacher, (5.0, 0.0, 1.0))(student, inputs, targets)
    assert loss.mean.abs() < 1e-5


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match="temperature 0.0 is not above 0"):
        soft_label_loss(torch.zeros(1, 2), torch.zeros(1, 2), 0.0)
    with pytest.raises(ValueError, match=r"weights \(0.0, 0.0, 0.0\) must not"):
        distillation_objective(lively_bert(), (0.0, 0.0, 0.0))
