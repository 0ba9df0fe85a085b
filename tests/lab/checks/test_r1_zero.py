"""The checkers of lesson 25 accept right answers and name typical slips."""

import re
from math import comb

from course_lib.experiments.r1_zero import ChangeInKinds
from course_lib.lab.checks import r1_zero as check
from course_lib.lab.solutions import r1_zero as solutions
from course_lib.tasks.at_k import pass_at_k
from course_lib.tasks.countdown import find_tries
from course_lib.text.problems import is_well_formed
from tests.lab.checks.cases import Case, tests_of


def skeleton_1(a): ...


def skeleton_2(a, b): ...


def skeleton_3(a, b, c): ...


# Accuracy
# --------------------------------------------------------------------------------------------------


def accuracy(text, truth, last=-1, flags=re.DOTALL, lazy="?", guard=True):
    found = re.findall(rf"<answer>(.*{lazy})</answer>", text, flags)
    if not found and not (guard and "<think>" in text):
        found = re.findall("[0-9]+", text)
    return 1.0 if found and found[last].strip() == truth else 0.0


def accuracy_by_partition(text, truth):
    _, begin, rest = text.rpartition("<answer>")
    if begin and "</answer>" in rest:
        return int(rest.partition("</answer>")[0].strip() == truth)
    if "<think>" in text:
        return 0
    digits = "".join(c if c in "0123456789" else " " for c in text).split()
    return int(bool(digits) and digits[-1] == truth)


def accuracy_unstripped(text, truth):
    return 0.0 if re.search(r">\s+[0-9]", text) else accuracy(text, truth)


# Form
# --------------------------------------------------------------------------------------------------


def form(text, pattern=r"\s*<think>(.*)</think>\s*<answer>(.*)</answer>\s*", flags=re.DOTALL, n=4):
    found = re.fullmatch(pattern, text, flags)
    tags = re.findall("</?(?:think|answer)>", text)
    return float(bool(found) and len(tags) <= n and all(map(str.strip, found.groups())))


def form_searched(text):
    return float(re.search("<think>.+</think><answer>.+</answer>", text, re.DOTALL) is not None)


# Composition and growth
# --------------------------------------------------------------------------------------------------


def split(before, after):
    (p, w, d), (q, v, e) = before, after
    total = q * v + (1 - q) * e - p * w - (1 - p) * d
    composition = q * w + (1 - q) * d - p * w - (1 - p) * d
    return [composition, total - composition]


def split_by_share_before(before, after):
    (p, w, d), (q, v, e) = before, after
    return (q - p) * (w - d), p * (v - w) + (1 - p) * (e - d)


def split_with_new_kinds(before, after):
    (p, w, d), (q, v, e) = before, after
    return (q - p) * (v - e), p * (v - w) + (1 - p) * (e - d)


def split_of_worked(before, after):
    (p, w, _), (q, v, _) = before, after
    return (q - p) * w, q * (v - w)


# pass@k
# --------------------------------------------------------------------------------------------------


def pass_by_product(n, right, k):
    none = 1.0
    for i in range(k):
        none *= max(0, n - right - i) / (n - i)
    return 1 - none


# Tries
# --------------------------------------------------------------------------------------------------

CHAIN = r"[0-9]+(?:[+-][0-9]+=[0-9]+)+"


def tries_by_eval(text, judge=lambda made, says: made == says, number=int):
    found = []
    for chain in re.findall(CHAIN, text):
        expression = re.sub("=[0-9]+", "", chain)
        says = number(re.findall("[0-9]+", chain)[-1])
        found.append((expression, says, judge(eval(expression), int(says))))
    return found


def tries_step_by_step(text):
    steps = re.findall(r"([0-9]+[+-][0-9]+)=([0-9]+)", text)
    return [(step, int(made), eval(step) == int(made)) for step, made in steps]


def tries_with_results(text):
    return [(chain, says, right) for (_, says, right), chain in
            zip(tries_by_eval(text), re.findall(CHAIN, text), strict=True)]  # fmt: skip


def tries_of_expressions_too(text):
    found = re.findall(r"[0-9]+(?:[+-][0-9]+(?:=[0-9]+)?)+", text)
    return [(re.sub("=[0-9]+", "", one), 0, True) for one in found]


def tries_true_values(text):
    return [(one, eval(one), right) for one, _, right in tries_by_eval(text)]


CASES = {
    check.rule_accuracy: Case(
        solutions.rule_accuracy_solution,
        skeleton_2,
        [accuracy, accuracy_by_partition],
        [
            (lambda text, truth: float(truth in text), "merely hold the right digits"),
            (lambda text, truth: accuracy(text, truth, last=0), "wait, no: 16"),
            (lambda text, truth: accuracy(text, truth, flags=0), "re.DOTALL"),
            (lambda text, truth: accuracy(text, truth, lazy=""), "of two answers"),
            (lambda text, truth: accuracy(text, truth, guard=False), "only thought"),
            (accuracy_unstripped, "blanks around the answer"),
            (lambda text, truth: str(accuracy(text, truth)), "a reward is a number"),
            (lambda text, truth: float(re.findall("[0-9]+", text)[-1] == truth), "no idea' with"),
        ],
    ),
    check.rule_format: Case(
        solutions.rule_format_solution,
        skeleton_1,
        [form, is_well_formed],
        [
            (form_searched, "in front of the thought"),
            (lambda text: form(text, n=99), "count them"),
            (lambda text: form(text, flags=0), "re.DOTALL"),
            (lambda text: float("<think>" in text and "<answer>" in text), "in front of the"),
            (
                lambda text: form(text, r"\s*<think>(.*)</think>.*<answer>(.*)</answer>\s*"),
                "between the thought",
            ),
        ],
    ),
    check.split_change: Case(
        solutions.split_change_solution,
        skeleton_2,
        [split, lambda before, after: ChangeInKinds(before, after).parts],
        [
            (split_by_share_before, "do not add up"),
            (split_with_new_kinds, "stay as they were"),
            (split_of_worked, "direct answers are left out"),
            (lambda before, after: split(before, after)[::-1], "other way round"),
            (lambda before, after: split(after, before), "composition and growth from"),
            (lambda before, after: sum(split(before, after)), "return two numbers"),
        ],
    ),
    check.pass_at_k: Case(
        solutions.pass_at_k_solution,
        skeleton_3,
        [pass_by_product, pass_at_k],
        [
            (lambda n, right, k: 1 - (1 - right / n) ** k, "with replacement"),
            (lambda n, right, k: comb(n - right, k) / comb(n, k), "*no* answer"),
            (lambda n, right, k: comb(right, k) / comb(n, k), "*all* answers"),
            (lambda n, right, k: right / n, "pass@1, whatever"),
            (lambda n, right, k: float(right > 0), "all n answers"),
        ],
    ),
    check.read_tries: Case(
        solutions.read_tries_solution,
        skeleton_1,
        [tries_by_eval],
        [
            (tries_step_by_step, "is no new try"),
            (tries_with_results, "still holds"),
            (tries_of_expressions_too, "is no try: nothing"),
            (tries_true_values, "true value"),
            (lambda text: tries_by_eval(text, judge=lambda *_: True), "called right"),
            (lambda text: tries_by_eval(text, number=str), "whole number"),
            (lambda text: len(tries_by_eval(text)), "return a list"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_tries_are_the_tasks_own():
    for answer in [text for text, _ in check.TRIES]:
        mine = solutions.read_tries_solution(answer)
        theirs = find_tries(answer)
        assert [(says, right) for _, says, right in mine] == [
            (one.says, one.is_right_sum) for one in theirs
        ], answer
