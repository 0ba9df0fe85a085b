"""The checker of the exercise on a tool's tokens accepts right answers and names typical slips."""

from course_lib.inference.tool_use import Tool, mark_tool_tokens
from course_lib.lab.checks import tool_use as check
from course_lib.lab.solutions import tool_use as solutions
from tests.lab.checks.cases import Case, tests_of

right = solutions.loss_mask_solution


def skeleton(ids, begin, end, answer): ...


def with_the_library(ids, begin, end, answer):
    return [not by_tool for by_tool in mark_tool_tokens(ids, Tool(begin, end, answer))]


def by_places(ids, begin, end, answer):
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


def all_learnt(ids, begin, end, answer):
    return [True for _ in ids]


def upside_down(*case):
    return [not own for own in right(*case)]


def calls_hidden(ids, begin, end, answer):
    mask, inside = right(ids, begin, end, answer), False
    for i, token in enumerate(ids):
        if mask[i]:
            inside = inside or token == begin
            mask[i] = not inside
            inside = inside and token != end
        else:
            inside = False
    return mask


def end_hidden(ids, begin, end, answer):
    pairs = zip(right(ids, begin, end, answer), ids, strict=True)
    return [own and token != end for own, token in pairs]


def too_late(*case):
    return ([True] + right(*case))[: len(case[0])]


def too_early(*case):
    return (right(*case)[1:] + [True])[: len(case[0])]


def to_the_end(*case):
    mask = right(*case)
    return [all(mask[: i + 1]) for i in range(len(mask))]


def variant(ids, begin, end, answer, opened=False, hears=False, anew=True, n=None, once=False):
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


def longer_than_the_text(ids, begin, end, answer):
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
    check.loss_mask: Case(
        solution=right,
        skeleton=skeleton,
        also_right=[with_the_library, by_places],
        wrong=[
            (all_learnt, "nothing is masked"),
            (upside_down, "upside down"),
            (calls_hidden, "calls are masked as well"),
            (end_hidden, "ends a call is masked"),
            (too_late, "too late"),
            (too_early, "too early"),
            (to_the_end, "behind the first answer"),
            (lambda *c: variant(*c, opened=True), "end without a beginning"),
            (lambda *c: variant(*c, hears=True), "read as a call"),
            (lambda *c: variant(*c, anew=False), "begun anew"),
            (lambda *c: variant(*c, n=2), "two tokens long"),
            (lambda *c: variant(*c, once=True), "only the first call"),
            (longer_than_the_text, "loss_mask("),
        ],
    )
}
test_checkers = tests_of(check, CASES)
