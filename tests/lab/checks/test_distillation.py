"""The checkers of lesson 27 accept right answers and name typical slips."""

from collections import Counter, defaultdict
from itertools import combinations
from math import comb

import torch
import torch.nn.functional as F

from course_lib.alignment.distillation import teacher_forward_kl
from course_lib.inference.budget_forcing import ForcedThought
from course_lib.inference.tool_use import Tool, mark_tool_tokens
from course_lib.lab.checks import distillation as check
from course_lib.lab.solutions import distillation as solutions
from course_lib.tasks.at_k import best_at_k, weighted_vote
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


def skeleton_4(a, b, c, d): ...


def skeleton_5(a, b, c, d, e): ...


# The loss
# --------------------------------------------------------------------------------------------------


def loss_by_torch(student, teacher, temperature):
    own, theirs = (F.log_softmax(scores / temperature, -1) for scores in (student, teacher))
    return F.kl_div(own, theirs, reduction="batchmean", log_target=True) * temperature * temperature


def loss_of_library(student, teacher, temperature):
    return teacher_forward_kl(student, teacher, temperature).mean()


def loss_without_square(student, teacher, temperature):
    return loss_by_torch(student, teacher, temperature) / temperature**2


def loss_times_temperature(student, teacher, temperature):
    return loss_by_torch(student, teacher, temperature) / temperature


def loss_reversed(student, teacher, temperature):
    return loss_by_torch(teacher, student, temperature)


def loss_crossed(student, teacher, temperature):
    return temperature**2 * F.cross_entropy(
        student / temperature, (teacher / temperature).softmax(-1)
    )


def loss_summed(student, teacher, temperature):
    return loss_by_torch(student, teacher, temperature) * len(student)


def loss_of_probabilities(student, teacher, temperature):
    own, theirs = ((scores / temperature).softmax(-1) for scores in (student, teacher))
    return temperature**2 * (theirs * (theirs.log() - own.log())).sum(-1).mean()


# Rewards of tokens
# --------------------------------------------------------------------------------------------------


def rewards_by_cross_entropy(student, teacher, written):
    surprises = [
        F.cross_entropy(scores, written, reduction="none") for scores in (student, teacher)
    ]
    return surprises[0] - surprises[1]


def rewards_turned(student, teacher, written):
    return -rewards_by_cross_entropy(student, teacher, written)


def rewards_of_teacher(student, teacher, written):
    return -F.cross_entropy(teacher, written, reduction="none")


def rewards_of_scores(student, teacher, written):
    rows = torch.arange(len(written))
    return (teacher - student)[rows, written]


def rewards_of_softmax(student, teacher, written):
    rows = torch.arange(len(written))
    return teacher.softmax(-1).log()[rows, written] - student.softmax(-1).log()[rows, written]


def rewards_added(student, teacher, written):
    return rewards_by_cross_entropy(student, teacher, written).sum()


# Votes
# --------------------------------------------------------------------------------------------------


def vote_by_defaultdict(answers, weights):
    got = defaultdict(float)
    for i, answer in enumerate(answers):
        if answer is not None:
            got[answer] += weights[i]
    best = max(got.values(), default=None)
    return tuple(a for a in got if got[a] == best)


def vote_of_one(answers, weights):
    return vote_by_defaultdict(answers, weights)[:1]


def vote_with_none(answers, weights):
    got = defaultdict(float)
    for answer, weight in zip(answers, weights, strict=True):
        got[answer] += weight
    return [a for a in got if got[a] == max(got.values())]


def vote_unweighted(answers, weights):
    counts = Counter(a for a in answers if a is not None)
    return [a for a, n in counts.items() if n == max(counts.values())]


def vote_of_heaviest(answers, weights):
    pairs = [(a, w) for a, w in zip(answers, weights, strict=True) if a is not None]
    most = max((w for _, w in pairs), default=0)
    return list(dict.fromkeys(a for a, w in pairs if w == most))


def vote_sorted(answers, weights):
    return sorted(vote_by_defaultdict(answers, weights))


# The best of k
# --------------------------------------------------------------------------------------------------


def best_by_draws(scores, right, k):
    hits = [
        max((scores[i], right[i]) for i in draw)[1] for draw in combinations(range(len(scores)), k)
    ]
    return sum(hits) / len(hits)


def best_of_all(scores, right, k):
    return float(max(zip(scores, right, strict=True))[1])


def best_as_pass(scores, right, k):
    n = len(right)
    return 1 - comb(n - sum(right), k) / comb(n, k)


def best_upside_down(scores, right, k):
    return best_by_draws([-score for score in scores], right, k)


def best_with_replacement(scores, right, k):
    n, order = len(scores), sorted(range(len(scores)), key=lambda i: scores[i])
    return sum(right[i] * ((r + 1) ** k - r**k) for r, i in enumerate(order)) / n**k


def best_of_first(scores, right, k):
    return float(max(zip(scores[:k], right[:k], strict=True))[1])


# A thought that may not end
# --------------------------------------------------------------------------------------------------


def force_by_library(draw, end, instead, times, longest):
    thought = ForcedThought(end, instead, times)
    while len(thought.written) < longest and end not in thought.written[-1:]:
        thought.write(0 if thought.waiting else draw(list(thought.written)))
    return thought.written


def force_never(draw, end, instead, times, longest):
    return force_by_library(draw, end, instead, 0, longest)


def force_once_more(draw, end, instead, times, longest):
    return force_by_library(draw, end, instead, times + 1, longest)


def force_uncut(draw, end, instead, times, longest):
    written = []
    while len(written) < longest and end not in written[-1:]:
        token = draw(written)
        times -= token == end
        written += instead if token == end and times >= 0 else [token]
    return written


def force_behind(draw, end, instead, times, longest):
    written = []
    while len(written) < longest:
        token = draw(list(written))
        written.append(token)
        if token == end:
            if not times:
                break
            times -= 1
            written += instead
    return written[:longest]


def force_first(draw, end, instead, times, longest):
    return force_by_library(draw, end, instead[:1], times, longest)


def force_without_end(draw, end, instead, times, longest):
    return [t for t in force_by_library(draw, end, instead, times, longest) if t != end]


# What the tool wrote
# --------------------------------------------------------------------------------------------------

masks = solutions.loss_mask_solution


def masks_of_library(ids, begin, end, answer):
    return [not by_tool for by_tool in mark_tool_tokens(ids, Tool(begin, end, answer))]


def masks_by_places(ids, begin, end, answer):
    mask, i, start = [True] * len(ids), 0, None
    while i < len(ids):
        if ids[i] == begin:
            start = i + 1
        if ids[i] == end and start is not None:
            stop = min(len(ids), i + 1 + len(answer(ids[start:i])))
            mask[i + 1 : stop] = [False] * (stop - i - 1)
            i, start = stop - 1, None
        i += 1
    return mask


def mask_of_all(ids, begin, end, answer):
    return [True for _ in ids]


def masks_upside_down(*case):
    return [not own for own in masks(*case)]


def masks_without_calls(ids, begin, end, answer):
    mask, inside = masks(ids, begin, end, answer), False
    for i, token in enumerate(ids):
        if mask[i]:
            inside = inside or token == begin
            mask[i] = not inside
            inside = inside and token != end
        else:
            inside = False
    return mask


def masks_without_ends(ids, begin, end, answer):
    pairs = zip(masks(ids, begin, end, answer), ids, strict=True)
    return [own and token != end for own, token in pairs]


def masks_too_late(*case):
    return ([True] + masks(*case))[: len(case[0])]


def masks_too_early(*case):
    return (masks(*case)[1:] + [True])[: len(case[0])]


def masks_to_the_end(*case):
    mask = masks(*case)
    return [all(mask[: i + 1]) for i in range(len(mask))]


def masks_of(ids, begin, end, answer, opened=False, hears=False, anew=True, n=None, once=False):
    mask, call, left, told = [], [] if opened else None, 0, False
    for token in ids:
        mask.append(left == 0)
        if left:
            left -= 1
            if not hears:
                continue
        if token == begin:
            call = [] if anew or call is None else call + [token]
        elif token == end and call is not None:
            if not (once and told):
                left = len(answer(call)) if n is None else n
            told, call = True, [] if opened else None
        elif call is not None:
            call.append(token)
    return mask


def masks_past_the_end(ids, begin, end, answer):
    mask, call = [], None
    for token in ids:
        mask.append(True)
        if token == begin:
            call = []
        elif token == end and call is not None:
            mask += [False] * len(answer(call))
            call = None
        elif call is not None:
            call.append(token)
    return mask


CASES = {
    check.soft_target_loss: Case(
        solution=solutions.soft_target_loss_solution,
        skeleton=skeleton_3,
        also_right=[loss_by_torch, loss_of_library],
        wrong=[
            (loss_without_square, "factor is missing"),
            (loss_times_temperature, "temperature once"),
            (loss_reversed, "KL(student || teacher)"),
            (loss_crossed, "cross-entropy"),
            (loss_summed, "added up"),
            (loss_of_probabilities, "log_softmax"),
        ],
    ),
    check.token_rewards: Case(
        solution=solutions.token_rewards_solution,
        skeleton=skeleton_3,
        also_right=[rewards_by_cross_entropy],
        wrong=[
            (rewards_turned, "signs are turned"),
            (rewards_of_teacher, "teacher's log-probability alone"),
            (rewards_of_scores, "differences of scores"),
            (rewards_of_softmax, "log_softmax"),
            (rewards_added, "add them up"),
        ],
    ),
    check.vote: Case(
        solution=solutions.vote_solution,
        skeleton=skeleton_2,
        also_right=[vote_by_defaultdict, weighted_vote],
        wrong=[
            (vote_of_one, "of a tie only one"),
            (vote_with_none, "None is no answer"),
            (vote_unweighted, "weights do not count"),
            (vote_of_heaviest, "single heaviest vote"),
            (vote_sorted, "sorted by text"),
        ],
    ),
    check.best_of_k: Case(
        solution=solutions.best_of_k_solution,
        skeleton=skeleton_3,
        also_right=[best_by_draws, best_at_k],
        wrong=[
            (best_of_all, "best of *all*"),
            (best_as_pass, "this is pass@k"),
            (best_upside_down, "*lowest* score"),
            (best_with_replacement, "with replacement"),
            (best_of_first, "one draw"),
        ],
    ),
    check.force_thought: Case(
        solution=solutions.force_thought_solution,
        skeleton=skeleton_5,
        also_right=[force_by_library],
        wrong=[
            (force_never, "ends at its first one"),
            (force_once_more, "too many"),
            (force_uncut, "longer than `longest`"),
            (force_behind, "come *instead*"),
            (force_first, "only the first token"),
            (force_without_end, "end that stands at last"),
        ],
    ),
    check.loss_mask: Case(
        solution=solutions.loss_mask_solution,
        skeleton=skeleton_4,
        also_right=[masks_of_library, masks_by_places],
        wrong=[
            (mask_of_all, "nothing is masked"),
            (masks_upside_down, "upside down"),
            (masks_without_calls, "calls are masked as well"),
            (masks_without_ends, "ends a call is masked"),
            (masks_too_late, "too late"),
            (masks_too_early, "too early"),
            (masks_to_the_end, "behind the first answer"),
            (lambda *c: masks_of(*c, opened=True), "end without a beginning"),
            (lambda *c: masks_of(*c, hears=True), "read as a call"),
            (lambda *c: masks_of(*c, anew=False), "begun anew"),
            (lambda *c: masks_of(*c, n=2), "two tokens long"),
            (lambda *c: masks_of(*c, once=True), "only the first call"),
            (masks_past_the_end, "loss_mask("),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
