"""The checkers of lesson 15 accept right answers and name typical slips."""

import math
import re

import torch
import torch.nn.functional as F

from course_lib.lab.checks import small_berts as check
from course_lib.lab.solutions import small_berts as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_3(a, b, c): ...


def skeleton_2(a, b): ...


# Parameters and groups
# --------------------------------------------------------------------------------------------------


def by_tables(v, d, e):
    return torch.empty(v, d).numel(), torch.empty(v, e).numel() + torch.empty(e, d).numel()


def by_floats(layer, n, groups):
    return int(layer / (n / groups))


def by_loop(x, blocks, n):
    for block in blocks:
        for _ in range(n // len(blocks)):
            x = block(x)
    return x


def in_turns(x, blocks, n):
    for layer in range(n):
        x = blocks[layer % len(blocks)](x)
    return x


def once_each(x, blocks, n):
    for block in blocks:
        x = block(x)
    return x


def n_times_each(x, blocks, n):
    for block in blocks:
        for _ in range(n):
            x = block(x)
    return x


def first_only(x, blocks, n):
    for _ in range(n):
        x = blocks[0](x)
    return x


# Pairs
# --------------------------------------------------------------------------------------------------


def pair(sentences, cut, swapped, label=None, swap=True, join=True, tokens=False):
    if tokens:
        sentences = [[t] for s in sentences for t in s]
    texts = [sentences[:cut], sentences[cut:]]
    if join:
        texts = [[t for s in text for t in s] for text in texts]
    if swapped and swap:
        texts.reverse()
    return (*texts, int(swapped) if label is None else label(swapped))


def pairing(**change):
    return lambda *case: pair(*case, **change)


# Soft labels
# --------------------------------------------------------------------------------------------------


def soft(student, teacher, t, power=2, reduction="batchmean", t_student=None, entropy=True):
    got = F.log_softmax(student / (t_student or t), -1)
    wanted = F.softmax(teacher / t, -1)
    if not entropy:
        return t**power * F.cross_entropy(student / t, wanted)
    return t**power * F.kl_div(got, wanted, reduction=reduction)


def softening(**change):
    return lambda *case: soft(*case, **change)


def turned(student, teacher, t):
    return soft(teacher, student, t)


def sharpened(student, teacher, t):
    return t**4 * soft(student, teacher, 1 / t)


def as_number(student, teacher, t):
    return soft(student, teacher, t).item()


# A student's weights
# --------------------------------------------------------------------------------------------------


def by_pattern(teacher, layers):
    numbers, student = {str(layer): str(i) for i, layer in enumerate(layers)}, {}
    for name, weight in teacher.items():
        found = re.match(r"blocks\.(\d+)\.(.*)", name)
        if not found:
            student[name] = weight
        elif found[1] in numbers:
            student[f"blocks.{numbers[found[1]]}.{found[2]}"] = weight
    return student


def by_loose_prefix(teacher, layers):
    student = {name: w for name, w in teacher.items() if not name.startswith("blocks.")}
    for i, layer in enumerate(layers):
        prefix = f"blocks.{layer}"
        student |= {
            f"blocks.{i}{name[len(prefix) :]}": w
            for name, w in teacher.items()
            if name.startswith(prefix)
        }
    return student


def numbers_kept(teacher, layers):
    return {
        name: w
        for name, w in teacher.items()
        if not name.startswith("blocks.") or int(name.split(".")[1]) in layers
    }


def layers_only(teacher, layers):
    return {n: w for n, w in by_pattern(teacher, layers).items() if n.startswith("blocks.")}


def first_layers(teacher, layers):
    return by_pattern(teacher, list(range(len(layers))))


CASES = {
    check.factorised_parameters: Case(
        solution=solutions.factorised_parameters_solution,
        skeleton=skeleton_3,
        also_right=[by_tables],
        wrong=[
            (lambda v, d, e: by_tables(v, d, e)[::-1], "changed places"),
            (lambda v, d, e: (v * d, v * e), "second matrix is missing"),
            (lambda v, d, e: (v * d, v * e * d), "added, not multiplied"),
            (lambda v, d, e: (v * d, v * e + v * d), "no row per token"),
            (lambda v, d, e: (v * d, v * e + e * d + d), "two matrices has no bias"),
            (lambda v, d, e: (v * d - v * e - e * d, v * e + e * d), "not what is saved"),
        ],
    ),
    check.layer_group: Case(
        solution=solutions.layer_group_solution,
        skeleton=skeleton_3,
        also_right=[by_floats, lambda layer, n, groups: layer * groups // n],
        wrong=[
            (lambda layer, n, groups: layer % groups, "take turns"),
            (lambda layer, n, groups: layer // groups, "number of groups"),
            (lambda layer, n, groups: by_floats(layer, n, groups) + 1, "counted from 0"),
            (lambda layer, n, groups: groups - 1 - by_floats(layer, n, groups), "backwards"),
            (lambda layer, n, groups: layer % (n // groups), "within its group"),
            (lambda layer, n, groups: layer, "shares nothing"),
            (lambda layer, n, groups: layer * groups / n, "whole number"),
            (lambda layer, n, groups: round(layer * groups / n), "not to the nearest"),
            (lambda layer, n, groups: math.ceil(layer * groups / n), "round down, not up"),
        ],
    ),
    check.shared_forward: Case(
        solution=solutions.shared_forward_solution,
        skeleton=skeleton_3,
        also_right=[by_loop],
        wrong=[
            (once_each, "ran once"),
            (in_turns, "take turns"),
            (first_only, "first block"),
            (n_times_each, "n_layers times"),
            (lambda x, blocks, n: by_loop(x, blocks[::-1], n), "backwards"),
            (lambda x, blocks, n: blocks[-1](x), "one call of the last block"),
        ],
    ),
    check.order_pair: Case(
        solution=solutions.order_pair_solution,
        skeleton=skeleton_3,
        also_right=[pair, lambda *case: list(pair(*case))],
        wrong=[
            (pairing(label=lambda swapped: int(not swapped)), "classes have changed places"),
            (pairing(swap=False), "what its label says"),
            (pairing(label=lambda swapped: 0), "label is 1"),
            (pairing(tokens=True), "counts sentences"),
            (pairing(join=False), "lists of sentences"),
            (lambda s, cut, swapped: pair(s, cut, swapped)[:2], "three things"),
        ],
    ),
    check.soft_loss: Case(
        solution=solutions.soft_loss_solution,
        skeleton=skeleton_3,
        also_right=[soft],
        wrong=[
            (softening(power=0), "T squared is missing"),
            (softening(power=1), "T squared, not T:"),
            (turned, "changed places"),
            (softening(entropy=False), "cross-entropy"),
            (softening(reduction="sum"), "average over the rows"),
            (softening(reduction="mean"), "over the vocabulary"),
            (softening(t_student=1.0), "only the teacher's"),
            (sharpened, "multiplied by the temperature"),
            (as_number, "no gradient"),
        ],
    ),
    check.student_weights: Case(
        solution=solutions.student_weights_solution,
        skeleton=skeleton_2,
        also_right=[by_pattern],
        wrong=[
            (by_loose_prefix, "names are off"),
            (numbers_kept, "keep the teacher's numbers"),
            (layers_only, "tables and the head"),
            (lambda teacher, layers: by_pattern(teacher, sorted(layers)), "teacher's order"),
            (first_layers, "blocks.1.mlp.up.weight with the layers [0, 2]"),
            (lambda teacher, layers: list(by_pattern(teacher, layers)), "return a dict"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
