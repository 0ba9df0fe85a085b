"""Learning from a teacher's probabilities: losses are KL divergences, students get there."""

import copy

import pytest
import torch
import torch.nn.functional as F

from course_lib.alignment.distillation import (
    check_same_vocabulary,
    on_policy_teacher_loss,
    teacher_forward_kl,
    teacher_objective,
    teacher_reverse_kl,
    train_by_teacher,
    train_on_policy,
)
from course_lib.alignment.grpo import GRPOSettings
from course_lib.alignment.rl_task import Question, RLTask
from course_lib.alignment.sft import SFTExample, sft_batch, sft_settings
from course_lib.inference.rollout import sample_completions
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS


def small_model(seed: int, vocab_size: int = 12) -> Llama:
    torch.manual_seed(seed)
    return Llama(LlamaSettings(vocab_size, 32, d_model=16, n_layers=1, n_heads=2))


def scores(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_forward_kl_is_torchs(temperature):
    student, teacher = scores(0, 3, 5, 7), scores(1, 3, 5, 7)
    own, theirs = (F.log_softmax(x / temperature, -1) for x in (student, teacher))
    want = F.kl_div(own, theirs, reduction="none", log_target=True).sum(-1) * temperature**2
    torch.testing.assert_close(teacher_forward_kl(student, teacher, temperature), want)


def test_the_reverse_kl_is_torchs_and_neither_moves_the_teacher():
    student, teacher = scores(2, 4, 6).requires_grad_(), scores(3, 4, 6).requires_grad_()
    own, theirs = F.log_softmax(student, -1), F.log_softmax(teacher, -1)
    want = F.kl_div(theirs, own, reduction="none", log_target=True).sum(-1)
    got = teacher_reverse_kl(student, teacher)
    torch.testing.assert_close(got, want)
    (got.sum() + teacher_forward_kl(student, teacher, 2.0).sum()).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


def test_the_temperatures_factor_keeps_the_size_of_the_gradient():
    """Hinton et al., equation 4: at a high temperature it is (student - teacher) / V."""
    student, teacher = (x - x.mean() for x in (scores(4, 6), scores(5, 6)))
    student.requires_grad_()
    teacher_forward_kl(student, teacher, 500.0).backward()
    want = (student.detach() - teacher) / 6
    torch.testing.assert_close(student.grad, want, rtol=0.05, atol=5e-3)


def test_impossible_words_cost_nothing():
    never = torch.tensor([0.0, -torch.inf])
    assert teacher_forward_kl(torch.tensor([0.0, 0.0]), never).item() == pytest.approx(0.6931, 1e-3)


def test_another_vocabulary_and_a_temperature_of_0_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 5\).*\(2, 6\)"):
        check_same_vocabulary(torch.zeros(2, 5), torch.zeros(2, 6))
    with pytest.raises(ValueError, match="temperature"):
        teacher_forward_kl(torch.zeros(2, 5), torch.zeros(2, 5), 0.0)


def test_the_objective_counts_completions_alone():
    student, teacher = small_model(0), small_model(1)
    inputs, targets = sft_batch([SFTExample([1, 2, 3], [4, 5, 0]), SFTExample([6], [7, 0])])
    found = teacher_objective(teacher, 2.0)(student, inputs, targets)
    rows = [(0, 2), (0, 3), (0, 4), (1, 0), (1, 1)]
    own, theirs = student(inputs), teacher(inputs)
    want = sum(teacher_forward_kl(own[at], theirs[at], 2.0) for at in rows)
    assert found.count == 5
    torch.testing.assert_close(found.total, want)


def test_a_student_of_the_teachers_shape_comes_to_expect_the_same():
    student, teacher = small_model(0), small_model(1)
    examples = [SFTExample([i], [i + 1, 2, 3]) for i in range(1, 9)]
    settings = sft_settings(25, adam_lr=2e-2)
    history = train_by_teacher(student, teacher, examples, settings, batch_size=8)
    assert history.loss[-1] < history.loss[0] / 2


def test_on_policy_is_0_for_a_copy_and_the_mean_over_what_was_written():
    teacher, student = small_model(1), small_model(0)
    drawn = sample_completions(student, [[1, 2], [3]], 6, n_samples=2, stop_token=0)
    assert on_policy_teacher_loss(copy.deepcopy(teacher), teacher, drawn).abs() < 1e-6
    total, count = 0.0, 0
    for prompt, answer in zip(drawn.prompts, drawn.completions, strict=True):
        ids = torch.tensor([prompt + answer])[:, :-1]
        at = slice(len(prompt) - 1, None)
        kl = teacher_reverse_kl(student(ids)[0, at], teacher(ids)[0, at])
        total, count = total + kl.sum(), count + len(kl)
    torch.testing.assert_close(on_policy_teacher_loss(student, teacher, drawn), total / count)


def test_the_student_learns_from_its_teacher_and_never_from_the_reward():
    tokenizer = bpe.train_bpe(["User: 1+2=?\nAssistant: 3"], 263, bpe.WORD_PATTERN, SPECIAL_TOKENS)
    settings = GRPOSettings(2, n_questions=2, group_size=2, max_new_tokens=3, lr=1e-2)
    sizes = LlamaSettings(tokenizer.n_vocab, 64, d_model=16, n_layers=1, n_heads=2)
    torch.manual_seed(0)
    start, teacher = Llama(sizes), Llama(sizes)
    ended = []
    for worth in (0.0, 1.0):
        student = copy.deepcopy(start)
        task = RLTask(lambda rng: Question("1+2=?", "3"), lambda q, a, w=worth: [w] * len(a))
        history = train_on_policy(student, teacher, tokenizer, task, settings)
        assert history.measures["reward"] == [worth] * 2 and min(history.loss) > 0
        ended.append(student.state_dict())
    assert all(torch.equal(ended[0][name], ended[1][name]) for name in ended[0])
    moved = [not torch.equal(ended[0][name], x) for name, x in start.state_dict().items()]
    assert any(moved)


def test_its_steps_bring_the_student_nearer_to_the_teacher():
    student, teacher = small_model(0), small_model(1)
    drawn = sample_completions(student, [[1, 2], [3, 4]], 5, n_samples=8, stop_token=0)
    optimizer, losses = torch.optim.Adam(student.parameters(), lr=2e-2), []
    for _ in range(12):
        loss = on_policy_teacher_loss(student, teacher, drawn)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
