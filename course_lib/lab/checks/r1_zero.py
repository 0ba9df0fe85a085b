"""Checkers of lesson 25. The truths are read by hand from each text, or counted one by one."""

import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations
from typing import Any

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips, name_slip

# Exercises 1 and 2: each text with the verdict that a reader gives it
# --------------------------------------------------------------------------------------------------

# a text, the truth, the verdict, and what is said of the wrong verdict
ACCURACIES: list[tuple[str, str, float, str]] = [
    ("I think 9", "9", 1.0, "the last number of a text without tags is its answer."),
    ("I think 8", "9", 0.0, "a wrong number was rewarded."),
    (
        "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>",
        "9",
        1.0,
        "what stands between the answer tags is the answer.",
    ),
    (
        "I think 19",
        "9",
        0.0,
        "9 only stands *in* 19. A test such as `truth in text` rewards numbers that merely hold the"
        " right digits: compare whole numbers.",
    ),
    (
        "first 7+5=12, then 12-3=9, so the answer is 9",
        "12",
        0.0,
        "a step on the way was rewarded. The answer is the last number, not any number.",
    ),
    ("17, wait, no: 16", "16", 1.0, "who corrects himself means his last number."),
    ("17, wait, no: 16", "17", 0.0, "the first number counted. The last one is the answer."),
    ("12 lol", "12", 1.0, "words behind the number do not matter."),
    ("大概12", "12", 1.0, "a number may follow any letter."),
    ("no idea", "9", 0.0, "a text without any number has no answer: 0, and no error."),
    ("", "9", 0.0, "an empty text has no answer: 0, and no error."),
    (
        "<think>12-3=9</think><answer>8</answer>",
        "9",
        0.0,
        "the thought was right and the answer was not. Only what stands between the answer tags is"
        " read.",
    ),
    (
        "<answer>8</answer> or rather 9",
        "9",
        0.0,
        "a text with answer tags was read behind them. Where there are tags, they alone count.",
    ),
    (
        "<think>first 7+5=12, then 12-3=9",
        "9",
        0.0,
        "the text breaks off inside the thought: what is only thought is no answer yet.",
    ),
    (
        "<think>12-3=9</think> 9",
        "9",
        0.0,
        "there was a thought, and then no answer between tags. Such a text has none.",
    ),
    (
        "<think>hm</think><answer>8</answer><answer>9</answer>",
        "9",
        1.0,
        "of two answers in tags the last one counts.",
    ),
    (
        "<think>hm</think><answer>9</answer><answer>8</answer>",
        "9",
        0.0,
        "of two answers in tags the last one counts. Did a greedy `.*` or the first match decide?",
    ),
    (
        "<think>hm</think><answer> 9 </answer>",
        "9",
        1.0,
        "blanks around the answer do not matter: strip them.",
    ),
    (
        "<think>hm</think><answer>\n9\n</answer>",
        "9",
        1.0,
        "the answer stands on a line of its own. In a regular expression `.` does not match a new"
        " line unless `re.DOTALL` is given.",
    ),
    (
        "<think>hm</think><answer>8 or 9</answer>",
        "9",
        0.0,
        "between tags the whole text is the answer: two numbers are not one.",
    ),
    ("<think>hm</think><answer></answer>", "9", 0.0, "an empty answer is no answer."),
    (
        "<think>hm</think><answer>9",
        "9",
        0.0,
        "the answer breaks off: without its `</answer>` there is no pair, and behind a thought"
        " nothing else is an answer.",
    ),
]

WELL_FORMED = "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>"
FORMATS: list[tuple[str, float, str]] = [
    (WELL_FORMED, 1.0, "a thought and an answer, and nothing else, is the form."),
    ("first 7+5=12, then 12-3=9, so 9", 0.0, "a text without tags was rewarded."),
    (
        "<think>easy</think><answer>11</answer>",
        1.0,
        "the form alone counts here, not what is thought.",
    ),
    ("<think>12-3=9</think>9", 0.0, "the answer has no tags."),
    ("<answer>9</answer>", 0.0, "there is no thought."),
    (f"sure! {WELL_FORMED}", 0.0, "something stands in front of the thought."),
    (f"{WELL_FORMED} lol", 0.0, "something stands behind the answer."),
    (
        "<think>12-3=9</think>so<answer>9</answer>",
        0.0,
        "something stands between the thought and the answer.",
    ),
    ("<think> </think><answer>9</answer>", 0.0, "the thought is blank."),
    ("<think></think><answer>9</answer>", 0.0, "the thought is empty."),
    ("<think>12-3=9</think><answer> </answer>", 0.0, "the answer is blank."),
    (
        f"{WELL_FORMED}{WELL_FORMED}",
        0.0,
        "the form stands twice. A `.*` between the tags matches tags as well: count them.",
    ),
    (
        "<think>hm</think><answer>8</answer><answer>9</answer>",
        0.0,
        "there are two answers. A `.*` between the tags matches tags as well: count them.",
    ),
    (
        "<think><think>hm</think><answer>9</answer>",
        0.0,
        "a thought begins inside a thought. Each tag must stand exactly once.",
    ),
    ("<answer>9</answer><think>hm</think>", 0.0, "the answer stands before the thought."),
    ("<think>12-3=9</think><answer>9", 0.0, "the answer does not end."),
    (
        "<think>first 7+5=12\nthen 12-3=9</think>\n<answer>9</answer>\n",
        1.0,
        "the thought has two lines, and tags stand on lines of their own. In a regular expression"
        " `.` does not match a new line unless `re.DOTALL` is given, and blanks are allowed"
        " between the tags.",
    ),
    (
        "<think>12-3=9, and 9<12</think><answer>9</answer>",
        1.0,
        "the `<` inside the thought begins no tag. The four tags alone are counted.",
    ),
    ("", 0.0, "an empty text has no form, and must not raise."),
]


def _number(got: Any) -> float:
    """A reward as a number, or a complaint."""
    if got is None or isinstance(got, str):
        raise Wrong(f"a reward is a number, 1.0 or 0.0; got {describe(got)}")
    return float(got)


@checker
def rule_accuracy(attempt: Attempt) -> str:
    """Reward a text whose answer is the truth."""
    if not any(_number(attempt(text, truth)) for text, truth, wanted, _ in ACCURACIES if wanted):
        raise Wrong(
            "no text is rewarded, not even 'I think 9' with the truth '9'. The truth is a string:"
            " is it compared with a number or with a list?"
        )
    for text, truth, wanted, told in ACCURACIES:
        got = _number(attempt(text, truth))
        if got != wanted:
            raise Wrong(f"{text!r} with the truth {truth!r} got {got:g}, not {wanted:g}: {told}")
    return f"{len(ACCURACIES)} texts are judged as a reader would."


@checker
def rule_format(attempt: Attempt) -> str:
    """Reward a text that is a thought and an answer, and nothing else."""
    for text, wanted, told in FORMATS:
        got = _number(attempt(text))
        if got != wanted:
            raise Wrong(f"{text!r} got {got:g}, not {wanted:g}: {told}")
    return f"{len(FORMATS)} texts are judged as a reader would."


# Exercise 3
# --------------------------------------------------------------------------------------------------

Kinds = tuple[float, float, float]  # the share of worked answers, a mean over them, over the others


def _mixed(share: float, worked: float, direct: float) -> float:
    return share * worked + (1 - share) * direct


def _split(before: Kinds, after: Kinds) -> tuple[float, float]:
    """Move the share first and leave the kinds as they were; the rest is growth."""
    moved = _mixed(after[0], *before[1:])
    return moved - _mixed(*before), _mixed(*after) - moved


@checker
def split_change(attempt: Attempt) -> str:
    """Split the change of a mean into composition and growth."""
    cases: list[tuple[Kinds, Kinds]] = [
        ((0.25, 32.0, 4.0), (1.0, 32.0, 4.0)),
        ((0.25, 32.0, 4.0), (0.25, 40.0, 4.0)),
        ((0.25, 0.6, 0.1), (0.9, 0.95, 0.2)),
        ((0.5, 20.0, 8.0), (0.75, 24.0, 6.0)),
        ((0.8, 10.0, 30.0), (0.3, 12.0, 25.0)),
    ]

    def swapped(before: Kinds, after: Kinds) -> tuple[float, float]:
        return _split(before, after)[::-1]

    def with_new_values(before: Kinds, after: Kinds) -> tuple[float, float]:
        moved = _mixed(before[0], *after[1:])
        return _mixed(*after) - moved, moved - _mixed(*before)

    def product_left_out(before: Kinds, after: Kinds) -> tuple[float, float]:
        return _split(before, after)[0], with_new_values(before, after)[1]

    def product_twice(before: Kinds, after: Kinds) -> tuple[float, float]:
        return with_new_values(before, after)[0], _split(before, after)[1]

    def worked_alone(before: Kinds, after: Kinds) -> tuple[float, float]:
        return (after[0] - before[0]) * before[1], after[0] * (after[1] - before[1])

    def growth_of_worked(before: Kinds, after: Kinds) -> tuple[float, float]:
        return _split(before, after)[0], after[0] * (after[1] - before[1])

    def backwards(before: Kinds, after: Kinds) -> tuple[float, float]:
        return tuple(-part for part in _split(before, after))

    def unweighted(before: Kinds, after: Kinds) -> tuple[float, float]:
        growth = after[1] - before[1] + after[2] - before[2]
        return _split(before, after)[0], growth

    def without_direct(before: Kinds, after: Kinds) -> tuple[float, float]:
        return (after[0] - before[0]) * before[1], _split(before, after)[1]

    def halves(before: Kinds, after: Kinds) -> tuple[float, float]:
        return _split(before, after)[0], (after[1] - before[1] + after[2] - before[2]) / 2

    def crossed(before: Kinds, after: Kinds) -> tuple[float, float]:
        worked, direct = after[1] - before[1], after[2] - before[2]
        return _split(before, after)[0], _mixed(after[0], direct, worked)

    def all_as_growth(before: Kinds, after: Kinds) -> tuple[float, float]:
        return _split(before, after)[0], sum(_split(before, after))

    def as_shares(before: Kinds, after: Kinds) -> tuple[float, ...]:
        parts = _split(before, after)
        return tuple(part / sum(parts) for part in parts)

    def rounded(before: Kinds, after: Kinds) -> tuple[float, ...]:
        return tuple(map(round, _split(before, after)))

    slips = [
        (swapped, "composition comes first and growth second. Yours are the other way round."),
        (backwards, "the signs are those of before minus after. A mean that rises has a plus."),
        (
            with_new_values,
            "the share moves between the *new* kinds of answers. Composition asks what a new share"
            " alone would do: the kinds stay as they were before.",
        ),
        (
            product_left_out,
            "growth is weighed with the share *before*. Then the two do not add up to the change of"
            " the mean: use the share after.",
        ),
        (
            product_twice,
            "composition uses the new kinds and growth the new share. What both share is counted"
            " twice, and the sum is not the change of the mean.",
        ),
        (
            worked_alone,
            "direct answers are left out. When the share of worked answers rises, that of direct"
            " ones falls.",
        ),
        (
            growth_of_worked,
            "the direct answers change as well: their growth counts with 1 - share.",
        ),
        (unweighted, "growth is not weighed. Each kind counts with its share after."),
        (
            without_direct,
            "composition leaves the direct answers out. Each answer that is worked now was a direct"
            " one before: the share moves by the difference of the two means.",
        ),
        (halves, "growth weighs both kinds the same. Each counts with its share after."),
        (
            crossed,
            "growth exchanges the shares: the worked ones count with the share after, the direct"
            " ones with 1 - share.",
        ),
        (
            all_as_growth,
            "growth is the whole change of the mean. Take composition from it: the two add up to"
            " the change.",
        ),
        (as_shares, "the parts are divided by the whole change. Return them undivided."),
        (rounded, "the parts are rounded. Return them exactly."),
    ]

    def called(before: Kinds, after: Kinds) -> str:
        return f"composition and growth from {before} to {after}"

    def plain(got: Any) -> tuple[float, ...]:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return two numbers, composition and growth; got {describe(got)}")
        return tuple(map(float, got))

    judge_by_slips(attempt, cases, _split, slips, called, 1e-9, plain)
    return "the two add up to the change of the mean, exactly."


# Exercise 4
# --------------------------------------------------------------------------------------------------


def _pass_by_counting(n: int, right: int, k: int) -> float:
    """Try every draw of k answers of n; the first `right` of them are right."""
    draws = list(combinations(range(n), k))
    return float(Fraction(sum(draw[0] < right for draw in draws), len(draws)))


def _choose(n: int, k: int) -> float:
    return float(len(list(combinations(range(n), k)))) if 0 <= k <= n else 0.0


@checker
def pass_at_k(attempt: Attempt) -> str:
    """Estimate pass@k from n answers, some of them right."""
    cases = [(4, 1, 2), (6, 2, 3), (5, 0, 2), (5, 5, 1), (8, 3, 1), (7, 4, 6), (6, 1, 6), (9, 2, 4)]
    slips: Sequence[tuple[Callable[..., float], str]] = [
        (
            lambda n, right, k: 1 - (1 - right / n) ** k,
            "this draws with replacement: the same answer may come twice. It is too low on average;"
            " draw k different answers of the n.",
        ),
        (lambda n, right, k: right / n, "this is pass@1, whatever k is."),
        (
            lambda n, right, k: 1 - _pass_by_counting(n, right, k),
            "this is the share of draws in which *no* answer is right: take it from 1.",
        ),
        (
            lambda n, right, k: _choose(right, k) / _choose(n, k),
            "this is the share of draws in which *all* answers are right. One is enough.",
        ),
        (
            lambda n, right, k: min(1.0, k * right / n),
            "k times the share of right ones counts draws with two right ones twice.",
        ),
        (
            lambda n, right, k: float(right > 0),
            "this is 1 as soon as any of all n answers is right. Only k of them are drawn. (Or does"
            " `//` cut the quotient down to a whole number?)",
        ),
        (
            lambda n, right, k: 1 - _choose(right, k) / _choose(n, k),
            "1 minus the share of draws that are all *right*: swap right and wrong.",
        ),
        (
            lambda n, right, k: right * _choose(n - right, k - 1) / _choose(n, k),
            "this is the share of draws with exactly one right answer. More of them do as well: at"
            " least one is asked for.",
        ),
        (
            lambda n, right, k: 1 - _choose(n - right, k) / _choose(n, k - 1),
            "the draws of k - 1 answers are counted below. Divide by the draws of k.",
        ),
        (
            lambda n, right, k: 1 - _choose(n - right, min(k, n - right)) / _choose(n, k),
            "where fewer than k answers are wrong, no draw of k is all wrong: count 0 draws, so the"
            " probability is 1.",
        ),
        (
            lambda n, right, k: 100 * _pass_by_counting(n, right, k),
            "these are per cent. A probability is at most 1.",
        ),
        (
            lambda n, right, k: round(_pass_by_counting(n, right, k), 1),
            "the probabilities are rounded. Return them exactly.",
        ),
    ]

    def called(n: int, right: int, k: int) -> str:
        return f"pass@{k} from {n} answers of which {right} are right"

    judge_by_slips(attempt, cases, _pass_by_counting, slips, called, 1e-9)
    got = attempt(1000, 500, 400)
    expect(got, 1.0, "pass@400 from 1000 answers of which 500 are right", 1e-9)
    return "as counting all draws gives it, and large numbers are no trouble."


# Exercise 5
# --------------------------------------------------------------------------------------------------

Tries = list[tuple[str, int, bool]]
# each text with its tries, written down by hand
TRIES: list[tuple[str, Tries]] = [
    ("12+5=17 not 7, 12-5=8 not 7", [("12+5", 17, True), ("12-5", 8, False)]),
    ("20-9-3+6", []),
    ("so 20-9-3+6 lol", []),
    (
        "<think>20-9=11+3=14-6=8 not 14, 20-9=11-3=8+6=14 yes</think><answer>20-9-3+6</answer>",
        [("20-9+3-6", 8, True), ("20-9-3+6", 14, True)],
    ),
    (
        "22+4=26+2=29-5=24 not 29, 22+4=26+2=28-5=23 not 29",
        [("22+4+2-5", 24, False), ("22+4+2-5", 23, True)],
    ),
    ("11-9=2-1=1+8=9 yes", [("11-9-1+8", 9, True)]),
    # the first step is wrong, the result is not
    ("14-5=8+2=11 yes", [("14-5+2", 11, True)]),
    ("10+9=19 not 1, 10+9=19 not 1", [("10+9", 19, True), ("10+9", 19, True)]),
    ("<think>hm</think><answer>10+2</answer>", []),
    ("", []),
]


RUN = r"[0-9]+(?:[+-][0-9]+=[0-9]+)+"


def _signed_sum(expression: str) -> int:
    return sum(map(int, re.findall(r"[+-]?[0-9]+", expression)))


def _reader(
    run: str = RUN,
    dropped: str = "=[0-9]+",
    result: int = -1,
    add: Callable[[str], int] = _signed_sum,
) -> Callable[[str], Tries]:
    """Read tries with a slip in the run, in what is dropped, in the result, or in the sum."""

    def read(text: str) -> Tries:
        found = []
        for one in re.findall(run, text):
            expression, says = re.sub(dropped, "", one), int(re.findall("=([0-9]+)", one)[result])
            found.append((expression, says, add(expression) == says))
        return found

    return read


def _judge_steps(judged: slice) -> Callable[[str], Tries]:
    """Read tries that are called right if some of their steps are."""

    def read(text: str) -> Tries:
        found = []
        runs = re.findall(RUN, text)
        for one, (expression, says, _) in zip(runs, dict(TRIES)[text], strict=True):
            steps = re.findall("(?=(?<![0-9])([0-9]+)([+-][0-9]+)=([0-9]+))", one)[judged]
            right = all(int(before) + int(n) == int(made) for before, n, made in steps)
            found.append((expression, says, right))
        return found

    return read


def _change_each(change: Callable[[str, int, bool], Any]) -> Callable[[str], list]:
    known = dict(TRIES)
    return lambda text: [change(*one) for one in known[text]]


# what is slipped in an entry, and in what counts as a try
ENTRY_SLIPS: list[tuple[Callable[[str], list], str]] = [
    (
        _change_each(lambda expression, says, right: (expression, says, True)),
        "every try is called right. Add the numbers up yourself and compare with what the text"
        " says.",
    ),
    (
        _change_each(lambda expression, says, right: (expression, says, not right)),
        "True stands where the sum is wrong. It is the other way round.",
    ),
    (
        _change_each(lambda expression, says, right: (expression, right, says)),
        "the order is expression, result, and then whether it is right. Yours has the last two"
        " exchanged.",
    ),
    (
        _change_each(lambda expression, says, right: (expression, str(says), right)),
        "what a try says it makes should be a whole number, not text: `int(...)`.",
    ),
    (
        _change_each(lambda expression, says, right: (expression, _signed_sum(expression), right)),
        "the second entry is the true value. It should be what the text says, wrong or not.",
    ),
    (_reader(result=0), "the second entry is the result of the first step. Take the last result."),
    (
        _reader(add=lambda expression: sum(map(int, re.findall("[0-9]+", expression)))),
        "numbers behind a minus sign are added as well. Keep the sign with its number.",
    ),
    (
        _judge_steps(slice(None)),
        "the third entry asks for every step to be right. It compares the last result with what the"
        " whole expression really makes, whatever was said on the way.",
    ),
    (
        _judge_steps(slice(-1, None)),
        "the third entry checks the last step alone. It compares the last result with what the"
        " whole expression really makes.",
    ),
    (_reader(dropped="="), "only the `=` is deleted, and the results stay. Delete both."),
    (_reader(dropped="=[0-9]"), "only one digit of each result is deleted: `[0-9]+` takes all."),
    (_reader(dropped="=.*"), "the expression ends at the first `=`. Its later steps belong to it."),
]
RUN_SLIPS: list[tuple[Callable[[str], list], str]] = [
    (
        lambda text: [one for one in dict(TRIES)[text] if one[2]],
        "only right tries are returned. Each try has its entry, right or wrong.",
    ),
    (
        lambda text: list(dict.fromkeys(dict(TRIES)[text])),
        "the same try, made twice, has one entry. Each time is a try.",
    ),
    (
        _reader(run=r"[0-9]+(?:[+-][0-9]+=[0-9]+){2,}"),
        "a run of one step is left out. At least one step is needed, not two.",
    ),
    (
        _reader(run=r"[0-9]+(?:[+][0-9]+=[0-9]+)+"),
        "only plus signs are read. A step has a plus or a minus.",
    ),
    (
        _reader(run=r"[0-9](?:[+-][0-9]=[0-9])+"),
        "only single digits are read. A number may have more: `[0-9]+`.",
    ),
]


@checker
def read_tries(attempt: Attempt) -> str:
    """Read the tries of a search: expression, what it says they make, whether that is so."""
    known = dict(TRIES)

    def steps_of(text: str) -> list:
        found = []
        for expression, says, right in known[text]:
            first = expression.replace("-", "+").split("+")[0]
            found.append((first, says, right))
        return found

    def by_verdict(text: str) -> list:
        pieces = [("yes" in piece) for piece in text.split(",")]
        return [
            (expression, says, yes)
            for (expression, says, _), yes in zip(known[text], pieces, strict=False)
        ]

    slips = [
        *ENTRY_SLIPS,
        *RUN_SLIPS,
        (
            by_verdict,
            "the third entry follows the text's own yes or not. It asks whether the sum is right,"
            " not whether the target was met.",
        ),
        (steps_of, "the expression stops after its first number."),
    ]
    cases = [(text,) for text, _ in TRIES]

    def truth(text: str) -> Tries:
        return known[text]

    def plain(got: Any) -> list:
        if not isinstance(got, list | tuple):
            raise Wrong(f"return a list of tries; got {describe(got)}")
        if got and isinstance(got[0], str):
            raise Wrong("return a list with an entry for each try, not one entry alone")
        return [tuple(one) if isinstance(one, tuple | list) else one for one in got]

    plain(attempt(TRIES[0][0]))
    name_slip(attempt, cases, truth, slips, plain=plain)
    for text, wanted in sorted(TRIES, key=lambda text_and_tries: bool(text_and_tries[1])):
        got = plain(attempt(text))
        if len(got) != len(wanted):
            raise Wrong(_wrong_number(text, len(got), len(wanted)))
        if any(isinstance(one, tuple) and "=" in str(one[0]) for one in got):
            raise Wrong(
                "the expression still holds what its steps make. Leave out each `=` and the number"
                " behind it."
            )
        expect(got, wanted, f"the tries of {text!r}")
    return "tries, what they say and what they really make."


def _wrong_number(text: str, got: int, wanted: int) -> str:
    """Say why a text has more or fewer tries."""
    told = f"{text!r} has {wanted} tries, and {got} were found. "
    if wanted == 0:
        return told + "An expression that is only written down is no try: nothing is worked out."
    if got < wanted:
        return told + "A try ends where something else than a sign, a number or `=` follows."
    return told + (
        "A step that goes on from a result is no new try: 20-9=11+3=14-6=8 is one. And what stands"
        " in the answer is none."
    )
