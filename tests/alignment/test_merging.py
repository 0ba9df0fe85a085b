"""Merging: averages by hand, both losses of distillation with the same expected gradient."""

import copy
from itertools import product
from random import Random

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.alignment.distillation import teacher_reverse_kl
from course_lib.alignment.merging import (
    average_weights,
    completion_logits,
    full_vocabulary_loss,
    one_token_loss,
    specialists_loss,
    train_by_specialists,
)
from course_lib.alignment.mixed_task import mixed_task
from course_lib.alignment.rl_loop import RLSettings
from course_lib.alignment.rl_task import Question, RLTask
from course_lib.inference.rollout import sample_completions
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS


def small_model(seed: int, vocab_size: int = 12, tied: bool = False) -> Llama:
    torch.manual_seed(seed)
    return Llama(LlamaSettings(vocab_size, 64, d_model=16, n_layers=1, n_heads=2, tied=tied))


# ---------------------------------------------------------------------------------- weight averages


def test_an_average_is_that_of_numpy_and_leaves_the_models_alone():
    models = [small_model(seed) for seed in range(3)]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    merged = average_weights(models, [0.5, 0.7, -0.2]).state_dict()
    for name, found in merged.items():
        a, b, c = (state[name].double().numpy() for state in before)
        torch.testing.assert_close(found, torch.tensor(0.5 * a + 0.7 * b - 0.2 * c).float())
    for model, state in zip(models, before, strict=True):
        assert all(torch.equal(model.state_dict()[name], x) for name, x in state.items())


def test_a_tied_parameter_is_averaged_once_and_stays_tied():
    a, b = (small_model(seed, tied=True) for seed in range(2))
    merged = average_weights([a, b], [0.25, 0.75])
    want = 0.25 * a.token_embedding.weight + 0.75 * b.token_embedding.weight
    torch.testing.assert_close(merged.token_embedding.weight, want)
    assert len([*merged.parameters()]) == len([*a.parameters()])
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(average_weights([a, a], [2.0, -1.0])(ids), a(ids))


def test_averaging_linear_models_is_averaging_what_they_say():
    """True of one linear layer, and the reason to hope; a layer more, and it is not."""
    torch.manual_seed(0)
    a, b, x = nn.Linear(3, 2), nn.Linear(3, 2), torch.randn(5, 3)
    torch.testing.assert_close(average_weights([a, b], [0.5, 0.5])(x), (a(x) + b(x)) / 2)


@pytest.mark.parametrize(
    ("models", "shares", "words"),
    [
        ([], [], "0 models"),
        ([small_model(0)], [0.5, 0.5], "1 models"),
        ([small_model(0), small_model(1)], [float("nan"), 1.0], "not .nan"),
        ([small_model(0), small_model(1)], [0.5, 0.6], r"sum of 1, not \[0.5, 0.6\]"),
        ([small_model(0), small_model(1, 13)], [0.5, 0.5], r"\(12, 16\) in model 0, \(13, 16\)"),
        ([small_model(0), GPT2(GPT2Settings(12, 64, 16, 1, 2))], [0.5, 0.5], "model 0, .* in 1"),
    ],
)
def test_models_that_do_not_fit_are_named(models, shares, words):
    with pytest.raises(ValueError, match=words):
        average_weights(models, shares)


# ----------------------------------------------------------------- the two losses, by enumeration


def scores(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_the_full_vocabulary_loss_is_torchs_reverse_kl():
    student, teacher, ids = scores(0, 2, 3, 7), scores(1, 2, 3, 7), torch.zeros(2, 3).long()
    own, theirs = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    want = F.kl_div(theirs, own, reduction="none", log_target=True).sum(-1)
    torch.testing.assert_close(full_vocabulary_loss(student, teacher, ids), want)


def test_the_expected_gradient_of_one_token_is_that_of_the_full_vocabulary():
    """Every token in turn, weighed by its probability: nothing is sampled."""
    student, teacher = scores(2, 1, 1, 6).requires_grad_(), scores(3, 1, 1, 6).requires_grad_()
    want = torch.autograd.grad(
        full_vocabulary_loss(student, teacher, torch.zeros(1, 1).long()).sum(), student
    )[0]
    found, spread = torch.zeros_like(want), 0.0
    for token, p in enumerate(student.detach().softmax(-1).flatten()):
        loss = one_token_loss(student, teacher, torch.tensor([[token]])).sum()
        gradient = torch.autograd.grad(loss, [student, teacher], allow_unused=True)
        assert gradient[1] is None, "no gradient may reach the teacher"
        found, spread = found + p * gradient[0], spread + p * (gradient[0] - want).square().sum()
    torch.testing.assert_close(found, want)
    assert spread > 0.1, "a single token's gradient is another one"


def test_so_it_is_over_all_texts_of_a_model_with_memory():
    """All 64 texts of three tokens, each as likely as the student writes it."""
    student, teacher = small_model(0, 4).double(), small_model(1, 4).double()
    parameters = list(student.parameters())
    texts = torch.tensor(list(product(range(4), repeat=3)))
    ids = torch.cat([torch.ones(64, 1).long(), texts], 1)
    own, theirs = student(ids[:, :-1]), teacher(ids[:, :-1])
    chances = own.detach().log_softmax(-1).gather(-1, texts[..., None])[..., 0].sum(-1).exp()
    assert chances.sum().item() == pytest.approx(1)
    full, one = (
        torch.autograd.grad(
            (chances[:, None] * loss(own, theirs, texts)).sum(), parameters, retain_graph=True
        )
        for loss in (full_vocabulary_loss, one_token_loss)
    )
    for a, b in zip(full, one, strict=True):
        torch.testing.assert_close(a, b)
    assert max(a.abs().max() for a in full) > 1e-3


# ------------------------------------------------------------------------------- several teachers


def drawn_by(model: nn.Module):
    return sample_completions(model, [[1, 2], [3], [4, 5, 6]], 6, n_samples=2, stop_token=0)


def test_each_row_is_judged_by_its_own_teacher_over_what_was_written():
    student, a, b = (small_model(seed) for seed in range(3))
    drawn, teachers, weights = drawn_by(student), {"a": a, "b": b}, {"a": 0.25, "b": 2.0}
    rows, want = {"a": [0, 3, 4], "b": [1, 2, 5]}, 0.0
    for name, chosen in rows.items():
        each = []
        for row in chosen:
            prompt, answer = drawn.prompts[row], drawn.completions[row]
            ids, at = torch.tensor([prompt + answer])[:, :-1], slice(len(prompt) - 1, None)
            each.append(teacher_reverse_kl(student(ids)[0, at], teachers[name](ids)[0, at]))
        want = want + weights[name] * torch.cat(each).mean()
    found = specialists_loss(student, teachers, rows, drawn, full_vocabulary_loss, weights)
    torch.testing.assert_close(found, want)
    found.backward()
    assert all(p.grad is None for teacher in (a, b) for p in teacher.parameters())


def test_a_student_that_is_its_teacher_has_nothing_to_learn():
    student = small_model(0)
    drawn, rows = drawn_by(student), {"a": [0, 1, 2], "b": [3, 4, 5]}
    teachers = {"a": copy.deepcopy(student), "b": copy.deepcopy(student)}
    for loss in (full_vocabulary_loss, one_token_loss):
        student.zero_grad()
        specialists_loss(student, teachers, rows, drawn, loss).backward()
        assert max(p.grad.abs().max() for p in student.parameters()) < 1e-6


def test_scores_stand_at_the_tokens_that_they_predict():
    student = small_model(0)
    drawn = drawn_by(student)
    found = completion_logits(student, drawn)
    assert found.shape[:2] == drawn.completion_mask.shape
    log_probs = found.log_softmax(-1).gather(-1, drawn.ids[:, -found.shape[1] :, None])[..., 0]
    torch.testing.assert_close(
        log_probs[drawn.completion_mask], drawn.log_probs[drawn.completion_mask]
    )


def test_a_missing_teacher_weight_or_row_is_named():
    student = small_model(0)
    drawn, loss = drawn_by(student), full_vocabulary_loss
    with pytest.raises(ValueError, match="no teacher for b"):
        specialists_loss(student, {"a": student}, {"a": [0], "b": [1]}, drawn, loss)
    with pytest.raises(ValueError, match="weights {'b': 1.0}"):
        specialists_loss(student, {"a": student}, {"a": [0]}, drawn, loss, {"b": 1.0})
    for rows, words in (({}, "{}"), ({"a": []}, "{'a': 0}")):
        with pytest.raises(ValueError, match=f"rows by task {words}"):
            specialists_loss(student, {"a": student}, rows, drawn, loss)


def test_training_brings_the_student_to_each_teacher_and_ignores_rewards():
    tokenizer = bpe.train_bpe(["User: 1+2=?\nAssistant: 3"], 263, bpe.WORD_PATTERN, SPECIAL_TOKENS)
    start, a, b = (small_model(seed, tokenizer.n_vocab) for seed in range(3))
    settings = RLSettings(6, n_questions=8, group_size=1, max_new_tokens=4, lr=1e-2)

    def asking(text: str, worth: float) -> RLTask:
        return RLTask(lambda rng: Question(text, ""), lambda q, answers: [worth] * len(answers))

    ended = []
    for worth in (0.0, 1.0):
        tasks = {"a": asking("1+2=?", worth), "b": asking("2+1=?", worth)}
        student, teachers = copy.deepcopy(start), {"a": a, "b": b}
        history = train_by_specialists(student, teachers, tokenizer, mixed_task(tasks), settings)
        assert history.loss[-1] < 0.9 * history.loss[0]
        ended.append(student.state_dict())
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])


# ------------------------------------------------------------------------------------ mixed tasks


def letters(name: str) -> RLTask:
    return RLTask(
        lambda rng: Question(f"{name}?", name),
        lambda questions, answers: [
            float(q.truth == a) for q, a in zip(questions, answers, strict=True)
        ],
        lambda questions, answers: {"asked": float(len(questions))},
        lambda questions, answers: {"all": 1.0},
    )


def test_a_mixed_task_asks_each_and_rates_each_by_its_own():
    task, rng = mixed_task({"x": letters("x"), "y": letters("y")}), Random(0)
    questions = [task.draw(rng) for _ in range(200)]
    n_x = sum(question.text == "x?" for question in questions)
    assert 70 < n_x < 130
    rewards = task.reward(questions, ["x"] * 200)
    assert rewards == [float(question.text == "x?") for question in questions]
    assert task.measure(questions, [""] * 200) == {"x: asked": n_x, "y: asked": 200 - n_x}
    assert task.parts(questions, [""] * 200) == {"x: all": 1.0, "y: all": 1.0}


def test_no_task_and_a_task_with_a_tool_are_refused():
    with pytest.raises(ValueError, match="0 tasks"):
        mixed_task({})
