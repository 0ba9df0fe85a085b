"""The checkers of lesson 23 accept right answers and name typical slips."""

import torch
import torch.nn.functional as F

from course_lib.alignment import best_of_n as library_best_of_n
from course_lib.alignment import calibration, dpo, policy_loss, ppo, reward_model
from course_lib.lab.checks import human_feedback as check
from course_lib.lab.solutions import human_feedback as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def choice_by_softplus(chosen, rejected):
    return F.softplus(rejected - chosen).mean()


def choice_by_cross_entropy(chosen, rejected):
    targets = torch.zeros(len(chosen), dtype=torch.long)
    return F.cross_entropy(torch.stack([chosen, rejected], -1), targets)


def binned(said, held, n_bins, weigh=None, gap=abs, middle=False):
    """Bin by bin, from the edges."""
    total = 0.0
    for each in range(n_bins):
        low, high = each / n_bins, (each + 1) / n_bins
        row = (said >= low) & ((said < high) | (each == n_bins - 1))
        if row.any():
            mean = (low + high) / 2 if middle else said[row].mean().item()
            share = row.double().mean().item() if weigh is None else weigh(row)
            total += share * gap(mean - held[row].double().mean().item())
    return total


def advantages(rewards, values, discount, lam, fade=None, behind=0.0, minus=1.0):
    """Backwards in Python's numbers."""
    found, ahead, following = [], 0.0, behind
    for reward, value in zip(rewards.tolist()[::-1], values.tolist()[::-1], strict=True):
        ahead = (
            reward
            + discount * following
            - minus * value
            + (discount * lam if fade is None else fade) * ahead
        )
        following = value
        found.append(ahead)
    return torch.tensor(found[::-1])


def advantages_by_matrix(rewards, values, discount, lam):
    n = len(rewards)
    surprises = rewards + discount * F.pad(values[1:], (0, 1)) - values
    steps = torch.arange(n)
    apart = (steps[None] - steps[:, None]).clamp(min=0)
    return torch.triu((discount * lam) ** apart) @ surprises


def surrogate(new, old, a, clip, both=torch.minimum, sign=-1.0, mean=torch.mean):
    ratio = torch.exp(new - old)
    return sign * mean(both(ratio * a, torch.clip(ratio, 1 - clip, 1 + clip) * a))


def surrogate_by_library(new, old, a, clip):
    return -policy_loss.clipped_surrogate(new[None], old[None], a[None], clip, clip).mean()


def direct(policy, reference, beta):
    lead = (policy[:, 0] - policy[:, 1]) - (reference[:, 0] - reference[:, 1])
    return F.softplus(-beta * lead).mean()


def best_by_sorting(probs, scores, n):
    order = scores.argsort()
    powers = F.pad(probs[order].cumsum(0), (1, 0)) ** n
    return powers.diff()[order.argsort()]


CASES = {
    check.bradley_terry: Case(
        solution=solutions.bradley_terry_solution,
        skeleton=skeleton_2,
        also_right=[choice_by_softplus, choice_by_cross_entropy],
        wrong=[
            (lambda c, r: -F.logsigmoid(r - c).mean(), "are exchanged"),
            (lambda c, r: F.logsigmoid(c - r).mean(), "the sign is wrong"),
            (lambda c, r: -F.logsigmoid(c - r).sum(), "the sum over the pairs"),
            (lambda c, r: (c - r).sigmoid().mean(), "mean probability"),
            (lambda c, r: -(c - r).mean(), "log-sigmoid is missing"),
            (lambda c, r: -F.logsigmoid((c - r).mean()), "pair by pair"),
            (lambda c, r: -(c - r).sigmoid().log().mean(), "underflows"),
            (lambda c, r: choice_by_softplus(c, r).item(), "no gradient flows"),
        ],
    ),
    check.calibration_error: Case(
        solution=solutions.calibration_error_solution,
        skeleton=skeleton_3,
        also_right=[binned, calibration.expected_calibration_error],
        wrong=[
            (lambda s, h, k: binned(s, h, k, gap=float), "signs cancel"),
            (lambda s, h, k: binned(s, h, k, gap=lambda x: x * x), "are squared"),
            (lambda s, h, k: binned(s, h, k, weigh=lambda row: 1 / k), "number of bins"),
            (lambda s, h, k: binned(s, h, k, weigh=lambda row: 1.0), "added up"),
            (lambda s, h, k: binned(s, h, k, middle=True), "the middle of each bin"),
            (lambda s, h, k: binned(s, h, 1), "one gap for all"),
            (lambda s, h, k: (s - h.double()).abs().mean(), "each prediction and its outcome"),
            (
                lambda s, h, k: binned(s[s < 1], h[s < 1], k) * (s < 1).double().mean().item(),
                "exactly 1",
            ),
        ],
    ),
    check.token_advantages: Case(
        solution=solutions.token_advantages_solution,
        skeleton=skeleton_4,
        also_right=[advantages, advantages_by_matrix],
        wrong=[
            (lambda *case: advantages(*case, fade=0.0), "surprises alone"),
            (lambda r, v, d, lam: advantages(r, v, d, lam, fade=lam), "by lam alone"),
            (lambda r, v, d, lam: advantages(r, v, d, lam, fade=d), "by the discount alone"),
            (lambda r, v, d, lam: advantages(r, v, d, lam, behind=v[-1].item()), "own value"),
            (lambda r, v, d, lam: advantages(r, v, d, lam, behind=v[0].item()), "goes round"),
            (lambda *case: advantages(*case, minus=0.0), "is not taken off"),
            (lambda r, v, d, lam: advantages(r, v, d, lam) + v, "the returns"),
            (lambda *case: -advantages(*case), "the sign is wrong"),
        ],
    ),
    check.ppo_loss: Case(
        solution=solutions.ppo_loss_solution,
        skeleton=skeleton_4,
        also_right=[surrogate, surrogate_by_library],
        wrong=[
            (lambda *case: surrogate(*case, sign=1.0), "the sign is wrong"),
            (lambda n, o, a, c: -(a * torch.exp(n - o)).mean(), "nothing is clipped"),
            (lambda *case: surrogate(*case, both=lambda x, y: y), "the clipped form alone"),
            (lambda *case: surrogate(*case, both=torch.maximum), "the larger form"),
            (
                lambda n, o, a, c: -(torch.exp(n - o).clamp(max=1 + c) * a).mean(),
                "before the advantage",
            ),
            (lambda n, o, a, c: surrogate(o, n, a, c), "upside down"),
            (lambda *case: surrogate(*case, mean=torch.sum), "the sum over tokens"),
            (lambda *case: surrogate(*case).item(), "no gradient flows"),
        ],
    ),
    check.dpo_loss: Case(
        solution=solutions.dpo_loss_solution,
        skeleton=skeleton_3,
        also_right=[direct, lambda p, r, beta: dpo.dpo_loss(*p.T, *r.T, beta)],
        wrong=[
            (lambda p, r, beta: direct(p, 0 * r, beta), "the reference is missing"),
            (lambda p, r, beta: direct(r, p, beta), "are exchanged"),
            (lambda p, r, beta: direct(p, r, 1.0), "beta is missing"),
            (lambda p, r, beta: beta * direct(p, r, 1.0), "multiplies the loss"),
            (lambda p, r, beta: direct(p, r, 1 / beta), "divide by beta"),
            (lambda p, r, beta: -direct(p, r, beta), "the sign is wrong"),
            (lambda p, r, beta: direct(p, r, beta) * len(p), "the sum over the pairs"),
            (lambda p, r, beta: direct(p, -r, beta), "the reference is added"),
            (lambda p, r, beta: direct(p, r, beta).item(), "no gradient flows"),
        ],
    ),
    check.best_of_n: Case(
        solution=solutions.best_of_n_solution,
        skeleton=skeleton_3,
        also_right=[best_by_sorting, library_best_of_n.best_of_n_probs],
        wrong=[
            (lambda p, s, n: ((s <= s[:, None]) * p).sum(-1) ** n, "add up to more than 1"),
            (lambda p, s, n: p**n / (p**n).sum(), "made to sum to 1"),
            (lambda p, s, n: p**n, "all n draws are the same"),
            (lambda p, s, n: 1 - (1 - p) ** n, "is among the n"),
            (lambda p, s, n: best_by_sorting(p, -s, n), "the worst of n"),
            (
                lambda p, s, n: n * p * ((s <= s[:, None]) * p).sum(-1) ** (n - 1),
                "twice more than once",
            ),
            (lambda p, s, n: n * p * ((s < s[:, None]) * p).sum(-1) ** (n - 1), "leaves out draws"),
            (lambda p, s, n: (p.log() + s).softmax(0), "weighs by exp"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_exercises_are_what_the_library_does():
    torch.manual_seed(0)
    chosen, rejected = torch.randn(2, 7)
    torch.testing.assert_close(
        solutions.bradley_terry_solution(chosen, rejected),
        reward_model.bradley_terry_loss(chosen, rejected),
    )
    rewards, values = torch.randn(2, 5)
    torch.testing.assert_close(
        solutions.token_advantages_solution(rewards, values, 0.9, 0.8)[None],
        ppo.generalized_advantages(
            rewards[None], values[None], torch.ones(1, 5, dtype=torch.bool), 0.9, 0.8
        ),
    )
    policy, reference = torch.randn(2, 6, 2)
    torch.testing.assert_close(
        solutions.dpo_loss_solution(policy, reference, 0.3),
        dpo.dpo_loss(*policy.T, *reference.T, 0.3),
    )
