"""Verifiers side by side: the course's own reading of an answer, and that of math-verify.

math-verify (Hugging Face) is the verifier of many open reproductions of R1. It is optional here
(`make gym`). It knows fractions, percent, sets and equations, which ours refuses; ours knows where
a thought ends and the answer begins, which math-verify does not. The forms are written by hand,
with what a reader would say of each.
"""

from collections.abc import Sequence
from typing import NamedTuple

from course_lib.tasks.reasoning_gym_task import GYM_INSTALL
from course_lib.text.problems import final_answer


class AnswerForm(NamedTuple):
    """A way to write an answer to a question whose answer is 12, and whether it is right."""

    text: str
    right: bool
    kind: str


ANSWER_FORMS = tuple(
    AnswerForm(text, right, kind)
    for kind, right, texts in (
        ("plain", True, ("12", "12.", "= 12", "the answer is 12", "12 apples", "\\boxed{12}")),
        ("a wrong number", False, ("13", "-12", "12,000", "1.2", "1 2", "")),
        ("another spelling", True, ("012", "12.0", "+12", "(12)", "$\\frac{24}{2}$", "twelve")),
        ("a sum, not worked out", False, ("10+2", "24/2", "3*4")),
        ("something else with a 12", False, ("12%", "12th", "12<13", "2^{3}+12")),
        ("two answers, the last right", False, ("13 or 12",)),
        ("two answers, the last wrong", False, ("12 or 13", "12, no: 13")),
        ("corrected", True, ("13, no: 12",)),
        ("between tags", True, ("<answer>12</answer>", "<think>ok</think><answer>12</answer>")),
        (
            "thought right, answered wrong",
            False,
            ("<think>it is 12</think><answer>13</answer>", "<think>12</think><answer>1</answer>"),
        ),
        (
            "thought wrong, answered right",
            True,
            ("<think>it is 13</think><answer>12</answer>", "<think>13</think><answer>12</answer>"),
        ),
        ("only thought", False, ("<think>it is 12", "<think>7+5=12</think>")),
        ("behind Chinese", True, ("是12", "大概12")),
    )
    for text in texts
)


def our_verdict(truth: str, text: str) -> bool:
    """Tell whether a text's final answer is the truth, by `problems.final_answer`."""
    return final_answer(text) == truth


def math_verdict(truth: str, text: str) -> bool:
    """Tell whether math-verify takes a text for the truth: its `verify(parse(truth), parse(text))`.

    Raises ImportError with the command that installs the package. It works in the main thread
    alone, and takes away an alarm that the caller has set (`signal.alarm`).
    """
    try:
        from math_verify import parse, verify
    except ImportError as error:
        raise ImportError(f"math-verify can't be imported ({error}): {GYM_INSTALL}") from error
    return bool(verify(parse(truth), parse(text)))


def compare_verdicts(truths: Sequence[str], texts: Sequence[str]) -> dict[str, list[int]]:
    """Sort answers by who takes them for right: the places of "both", "ours", "theirs", "neither".

    "ours" are those that our verifier alone accepts.
    """
    found: dict[str, list[int]] = {"both": [], "ours": [], "theirs": [], "neither": []}
    names = {(True, True): "both", (True, False): "ours", (False, True): "theirs"}
    for place, (truth, text) in enumerate(zip(truths, texts, strict=True)):
        verdicts = our_verdict(truth, text), math_verdict(truth, text)
        found[names.get(verdicts, "neither")].append(place)
    return found
