"""The checkers of lesson 33 accept right answers and name typical slips."""

import copy

import torch
import torch.nn.functional as F

from course_lib.alignment.gradient_noise import gradient_noise
from course_lib.alignment.merging import average_weights
from course_lib.lab.checks import merging_specialists as check
from course_lib.lab.solutions import merging_specialists as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_1(a): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


# Averaged weights
# --------------------------------------------------------------------------------------------------


def average_by_library(first, second, alpha):
    return average_weights([first, second], [1 - alpha, alpha])


def average_by_lerp(first, second, alpha):
    merged = copy.deepcopy(second)
    own = dict(first.named_parameters())
    for name, parameter in merged.named_parameters():
        parameter.data = torch.lerp(own[name].data, parameter.data, alpha)
    return merged


def average_by_state(first, second, alpha):
    """The state's tied names hold one tensor, and both get the same average: right."""
    merged, one, other = copy.deepcopy(first), first.state_dict(), second.state_dict()
    merged.load_state_dict({name: (1 - alpha) * one[name] + alpha * other[name] for name in one})
    return merged


def average_tied_twice(first, second, alpha):
    merged, theirs = copy.deepcopy(first), second.state_dict()
    for name, own in merged.state_dict().items():
        own.copy_((1 - alpha) * own + alpha * theirs[name])
    return merged


def average_swapped(first, second, alpha):
    return average_by_library(second, first, alpha)


def average_renamed(first, second, alpha):
    merged = copy.deepcopy(first)
    for own, theirs in zip(merged.parameters(), second.parameters(), strict=True):
        own = (1 - alpha) * own + alpha * theirs  # noqa: PLW2901
    return merged


def average_in_the_first(first, second, alpha):
    with torch.no_grad():
        for own, theirs in zip(first.parameters(), second.parameters(), strict=True):
            own.copy_((1 - alpha) * own + alpha * theirs)
    return copy.deepcopy(first)


def average_with_gradients(first, second, alpha):
    merged = copy.deepcopy(first)
    for own, theirs in zip(merged.parameters(), second.parameters(), strict=True):
        own.copy_((1 - alpha) * own + alpha * theirs)
    return merged


def average_added(first, second, alpha):
    merged = copy.deepcopy(first)
    with torch.no_grad():
        for own, theirs in zip(merged.parameters(), second.parameters(), strict=True):
            own.add_(alpha * theirs)
    return merged


def average_untied(first, second, alpha):
    merged = average_by_library(first, second, alpha)
    merged.head.weight = torch.nn.Parameter(merged.head.weight.detach().clone())
    return merged


# Reverse KL
# --------------------------------------------------------------------------------------------------


def kl_by_torch(student, teacher, mask):
    own, theirs = student[mask].log_softmax(-1), teacher[mask].detach().log_softmax(-1)
    return F.kl_div(theirs, own, reduction="batchmean", log_target=True)


def kl_by_distributions(student, teacher, mask):
    own, theirs = (
        torch.distributions.Categorical(logits=scores) for scores in (student, teacher.detach())
    )
    each = torch.distributions.kl_divergence(own, theirs)
    return (each * mask).sum() / mask.sum()


def kl_forward(student, teacher, mask):
    return kl_by_torch(teacher, student, mask)


def kl_of_all(student, teacher, mask):
    return kl_by_torch(student, teacher, torch.ones_like(mask))


def kl_by_padding(student, teacher, mask):
    return kl_by_torch(student, teacher, mask) * mask.sum() / mask.numel()


def kl_into_teacher(student, teacher, mask):
    own, theirs = student[mask].log_softmax(-1), teacher[mask].log_softmax(-1)
    return (own.exp() * (own - theirs)).sum(-1).mean()


def kl_without_gradient(student, teacher, mask):
    return kl_by_torch(student, teacher, mask).detach()


def kl_with_fixed_weights(student, teacher, mask):
    own, theirs = student[mask].log_softmax(-1), teacher[mask].detach().log_softmax(-1)
    return (own.exp().detach() * (own - theirs)).sum(-1).mean()


def kl_of_softmax(student, teacher, mask):
    own, theirs = student[mask].softmax(-1), teacher[mask].detach().softmax(-1)
    return (own * (own.log() - theirs.log())).sum(-1).mean()


def kl_per_token(student, teacher, mask):
    own, theirs = student[mask].log_softmax(-1), teacher[mask].detach().log_softmax(-1)
    return (own.exp() * (own - theirs)).sum(-1)


# One token
# --------------------------------------------------------------------------------------------------


def one_by_cross_entropy(student, teacher, written, mask):
    own = F.cross_entropy(student[mask], written[mask], reduction="none")
    theirs = F.cross_entropy(teacher[mask].detach(), written[mask], reduction="none")
    return ((own - theirs).detach() * own).mean()


def one_by_ratio(student, teacher, written, mask):
    """At the sampler the gradient of the ratio is that of the log-probability."""
    own, theirs = _logs(student, written), _logs(teacher, written)
    ratio = (own - own.detach()).exp()
    return -((theirs - own).detach() * ratio)[mask].mean()


def _logs(scores, written):
    return scores.log_softmax(-1).gather(-1, written[..., None])[..., 0]


def one_turned(student, teacher, written, mask):
    return -one_by_cross_entropy(student, teacher, written, mask)


def one_not_detached(student, teacher, written, mask):
    own, theirs = _logs(student, written), _logs(teacher.detach(), written)
    return -((theirs - own) * own)[mask].mean()


def one_of_values(student, teacher, written, mask):
    return (_logs(student, written) - _logs(teacher.detach(), written))[mask].mean()


def one_of_ratios(student, teacher, written, mask):
    own, theirs = _logs(student, written), _logs(teacher, written)
    return -((theirs - own).exp().detach() * own)[mask].mean()


def one_of_teacher(student, teacher, written, mask):
    own, theirs = _logs(student, written), _logs(teacher, written)
    return -(theirs.detach() * own)[mask].mean()


def one_by_padding(student, teacher, written, mask):
    own, theirs = _logs(student, written), _logs(teacher, written)
    return -((theirs - own).detach() * own * mask).mean()


def one_into_teacher(student, teacher, written, mask):
    own, theirs = _logs(student, written), _logs(teacher, written)
    return -((theirs - own.detach()) * own)[mask].mean()


def one_exact(student, teacher, written, mask):
    return kl_by_torch(student, teacher, mask)


# Teachers
# --------------------------------------------------------------------------------------------------


def teachers_by_loop(losses, mask, teachers, weights):
    total = torch.zeros(())
    for i in teachers.unique().tolist():
        rows = teachers == i
        total = total + weights[i] * (losses[rows] * mask[rows]).sum() / mask[rows].sum().clamp(
            min=1
        )
    return total


def teachers_by_matrix(losses, mask, teachers, weights):
    member = F.one_hot(teachers, len(weights)).float()
    sums = member.T @ (losses * mask).sum(-1)
    counts = member.T @ mask.sum(-1).float()
    return (torch.tensor(weights) * sums / counts.clamp(min=1)).sum()


def teachers_as_one(losses, mask, teachers, weights):
    return (losses * torch.tensor(weights)[teachers][:, None])[mask].mean()


def teachers_with_nan(losses, mask, teachers, weights):
    return sum(w * losses[mask & (teachers == i)[:, None]].mean() for i, w in enumerate(weights))


def teachers_by_rows(losses, mask, teachers, weights):
    return sum(
        w * losses[mask & (teachers == i)[:, None]].mean()
        for i, w in enumerate(weights)
        if (teachers == i).any()
    )


def teachers_unweighted(losses, mask, teachers, weights):
    return teachers_by_loop(losses, mask, teachers, [1.0] * len(weights))


def teachers_normalised(losses, mask, teachers, weights):
    return teachers_by_loop(losses, mask, teachers, weights) / sum(weights)


def teachers_of_padding(losses, mask, teachers, weights):
    return teachers_by_loop(losses, torch.ones_like(mask), teachers, weights)


def teachers_by_answers(losses, mask, teachers, weights):
    each = ((losses * mask).sum(-1) / mask.sum(-1))[:, None]
    return teachers_by_loop(each, torch.ones_like(each, dtype=torch.bool), teachers, weights)


# Signal and noise
# --------------------------------------------------------------------------------------------------


def noise_by_var(gradients):
    noise = gradients.var(0).sum()
    return gradients.mean(0).square().sum() - noise / len(gradients), noise


def noise_of_library(gradients):
    return tuple(gradient_noise(gradients))


def noise_with_raw_signal(gradients):
    return gradients.mean(0).square().sum().item(), gradients.var(0).sum().item()


def noise_by_n(gradients):
    noise = gradients.var(0, correction=0).sum().item()
    return gradients.mean(0).square().sum().item() - noise / len(gradients), noise


def noise_as_length(gradients):
    signal, noise = noise_of_library(gradients)
    return signal, noise**0.5


def noise_first(gradients):
    return noise_of_library(gradients)[::-1]


def noise_per_parameter(gradients):
    signal, _ = noise_of_library(gradients)
    return signal, gradients.var(0).mean().item()


def noise_per_parameter_in_both(gradients):
    noise = gradients.var(0).mean()
    return gradients.mean(0).square().sum() - noise / len(gradients), noise


def noise_of_the_mean(gradients):
    signal, noise = noise_of_library(gradients)
    return signal, noise / len(gradients)


CASES = {
    check.average_models: Case(
        solution=solutions.average_models_solution,
        skeleton=skeleton_3,
        also_right=[average_by_library, average_by_lerp, average_by_state],
        wrong=[
            (average_tied_twice, "averaged twice"),
            (average_swapped, "weighs the wrong model"),
            (average_renamed, "first model still"),
            (average_in_the_first, "first model has changed"),
            (average_with_gradients, "requires grad"),
            (average_added, "full weight"),
            (average_untied, "tied to the embedding no more"),
        ],
    ),
    check.masked_reverse_kl: Case(
        solution=solutions.masked_reverse_kl_solution,
        skeleton=skeleton_3,
        also_right=[kl_by_torch, kl_by_distributions],
        wrong=[
            (kl_forward, "forward direction"),
            (kl_of_all, "outside of the mask"),
            (kl_by_padding, "padding included"),
            (kl_into_teacher, "flows into the teacher"),
            (kl_without_gradient, "no gradient flows back"),
            (kl_with_fixed_weights, "what is left cancels"),
            (kl_of_softmax, "log_softmax"),
            (kl_per_token, "one number per token"),
        ],
    ),
    check.one_token_loss: Case(
        solution=solutions.one_token_loss_solution,
        skeleton=skeleton_4,
        also_right=[one_by_cross_entropy, one_by_ratio],
        wrong=[
            (one_turned, "the sign is wrong"),
            (one_not_detached, "not held fixed"),
            (one_of_values, "is the loss itself"),
            (one_of_ratios, "advantage is the ratio"),
            (one_of_teacher, "teacher's log-probability alone"),
            (one_by_padding, "padding included"),
            (one_into_teacher, "flows into the teacher"),
            (one_exact, "exact gradient"),
        ],
    ),
    check.teachers_loss: Case(
        solution=solutions.teachers_loss_solution,
        skeleton=skeleton_4,
        also_right=[teachers_by_loop, teachers_by_matrix],
        wrong=[
            (teachers_as_one, "one mean over all tokens"),
            (teachers_with_nan, "has no mean"),
            (teachers_by_rows, "its rows are masked"),
            (teachers_unweighted, "weights don't count"),
            (teachers_normalised, "divided by the sum"),
            (teachers_of_padding, "mask is not used"),
            (teachers_by_answers, "averaged by itself"),
        ],
    ),
    check.signal_and_noise: Case(
        solution=solutions.signal_and_noise_solution,
        skeleton=skeleton_1,
        also_right=[noise_by_var, noise_of_library],
        wrong=[
            (noise_with_raw_signal, "signal is too large"),
            (noise_by_n, "divided by n"),
            (noise_as_length, "no root is taken"),
            (noise_first, "two are swapped"),
            (noise_per_parameter, "averaged over the parameters"),
            (noise_per_parameter_in_both, "averaged over the parameters"),
            (noise_of_the_mean, "noise of the mean"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
