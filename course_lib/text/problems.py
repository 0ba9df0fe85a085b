"""Practice problems whose answers can be checked by rule: chains of sums, and searches for the right signs.

A *chain* asks for a value and is solved by working step by step. A *search* gives the value and asks for the
expression: one tries, checks, and tries again. Both have exact verifiers, which is what reinforcement learning needs.
One problem in ten is held out, by a hash of its question, and never stands in any training text.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random

from course_lib.text.draw import pick, whole

MAX_PARTIAL = 20  # a chain's partial results stay in 0..20: with results up to 99 small models never learnt to add
MAX_FIRST = 24  # a search starts from a number in 10..24
HELD_OUT_OF = 10  # one problem in ten


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of sums, worked from left to right.

    >>> chain = Chain((7, 5, 3, 8), (1, -1, 1))
    >>> chain.question, chain.partial_results, chain.answer
    ('7+5-3+8=?', (7, 12, 9, 17), '17')
    """

    numbers: tuple[int, ...]  # single digits 1..9
    signs: tuple[int, ...]  # +1 or -1 before every number after the first

    def __post_init__(self) -> None:
        _check_signed(self.numbers, self.signs)
        if any(not 1 <= n <= 9 for n in self.numbers):
            raise ValueError(f"a chain has numbers from 1 to 9, not {self.numbers}")
        if any(not 0 <= value <= MAX_PARTIAL for value in self.partial_results):
            raise ValueError(f"partial results {self.partial_results} leave the range 0..{MAX_PARTIAL}")

    @property
    def expression(self) -> str:
        return expression(self.numbers, self.signs)

    @property
    def question(self) -> str:
        return self.expression + "=?"

    @property
    def partial_results(self) -> tuple[int, ...]:
        return partial_results(self.numbers, self.signs)

    @property
    def answer(self) -> str:
        return str(self.partial_results[-1])


@dataclass(frozen=True, slots=True)
class Search:
    """A puzzle: put + or - before every number after the first, so that the target comes out.

    >>> search = Search((20, 9, 3, 6), 14)
    >>> search.question, search.solutions
    ('make 14 from 20 9 3 6', ('20-9-3+6',))
    """

    numbers: tuple[int, ...]  # the first is at least the sum of the others: no partial result falls below 0
    target: int

    def __post_init__(self) -> None:
        first, rest = self.numbers[0] if self.numbers else 0, self.numbers[1:]
        if not rest or any(not 1 <= n <= 9 for n in rest) or not max(10, sum(rest)) <= first <= MAX_FIRST:
            raise ValueError(f"a search starts from a number in 10..{MAX_FIRST} that is at least the sum of the others "
                             f"(each 1 to 9), not {self.numbers}")  # fmt: skip
        if not self.solutions:
            raise ValueError(f"no choice of signs makes {self.target} from {self.numbers}")

    @property
    def question(self) -> str:
        return f"make {self.target} from {' '.join(map(str, self.numbers))}"

    @property
    def solutions(self) -> tuple[str, ...]:
        return tuple(expression(self.numbers, s) for s, value in sign_choices(self.numbers) if value == self.target)


Problem = Chain | Search


def _check_signed(numbers: tuple[int, ...], signs: tuple[int, ...]) -> None:
    if not numbers or len(signs) != len(numbers) - 1 or any(s not in (1, -1) for s in signs):
        raise ValueError(f"{len(numbers)} numbers need {max(0, len(numbers) - 1)} signs, each 1 or -1, not {signs}")


def expression(numbers: tuple[int, ...], signs: tuple[int, ...]) -> str:
    """The signed numbers written in a row: `expression((7, 5, 3), (1, -1))` is '7+5-3'."""
    return str(numbers[0]) + "".join(("+" if s > 0 else "-") + str(n) for n, s in zip(numbers[1:], signs, strict=True))


def partial_results(numbers: tuple[int, ...], signs: tuple[int, ...]) -> tuple[int, ...]:
    """The value after each number, from left to right."""
    values = [numbers[0]]
    for number, sign in zip(numbers[1:], signs, strict=True):
        values.append(values[-1] + sign * number)
    return tuple(values)


def sign_choices(numbers: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Every choice of signs, with the value that it makes."""
    return [
        (signs, numbers[0] + sum(s * n for s, n in zip(signs, numbers[1:], strict=True)))
        for signs in product((1, -1), repeat=len(numbers) - 1)
    ]


# ---------------------------------------------------------------------------------------------- drawing problems


def is_held_out(problem: Problem) -> bool:
    """Whether a problem is kept out of every training text: one in ten of those with three numbers or more.

    The hash decides, not a list or a random draw, so every lesson and every seed agrees.
    """
    return len(problem.numbers) >= 3 and zlib.crc32(problem.question.encode()) % HELD_OUT_OF == 0


def draw_chain(rng: Random, lengths: tuple[int, ...] = (3, 4, 5, 6), held_out: bool = False) -> Chain:
    """A random chain of one of these lengths (how many numbers), held out or not."""
    _check_lengths(lengths, 2, 8, held_out)
    length = pick(rng, lengths)
    while True:
        numbers = tuple(whole(rng, 1, 9) for _ in range(length))
        signs = tuple(pick(rng, (1, -1)) for _ in range(length - 1))
        if all(0 <= value <= MAX_PARTIAL for value in partial_results(numbers, signs)):
            chain = Chain(numbers, signs)
            if is_held_out(chain) == held_out:
                return chain


def draw_search(rng: Random, lengths: tuple[int, ...] = (3, 4, 5), held_out: bool = False) -> Search:
    """A random search of one of these lengths, held out or not, that luck alone seldom solves.

    It has one solution (with five numbers or more: at most two), so blind guesses at 2, 3, 4, 5 numbers are right once
    in 2, 4, 8, and 8 to 16 times.
    """
    _check_lengths(lengths, 2, 6, held_out)
    length = pick(rng, lengths)
    while True:
        rest = tuple(whole(rng, 1, 9) for _ in range(length - 1))
        if sum(rest) > 20:
            continue
        numbers = (whole(rng, max(10, sum(rest)), MAX_FIRST), *rest)
        values = [value for _, value in sign_choices(numbers)]
        target = pick(rng, values)
        if values.count(target) > (1 if length < 5 else 2):
            continue
        search = Search(numbers, target)
        if is_held_out(search) == held_out:
            return search


def _check_lengths(lengths: tuple[int, ...], low: int, high: int, held_out: bool) -> None:
    low = max(low, 3) if held_out else low  # shorter problems are never held out
    if not lengths or any(not low <= k <= high for k in lengths):
        raise ValueError(f"lengths {lengths} must be between {low} and {high}")


# Expressions of three or more single digits are chains (a search starts from 10 or more, so the two can't be confused).
CHAIN_IN_TEXT = re.compile(r"(?<![0-9+=-])[1-9](?:[+-][1-9]){1,7}(?![0-9]|[+-][0-9])")
SEARCH_IN_TEXT = re.compile(r"make ([0-9]{1,2}) from ([0-9]{2}(?: [1-9])+)(?! ?[0-9])")


def find_problems(text: str) -> Iterator[Problem]:
    """Every chain and every search that stands in a text, whatever is written around it.

    >>> [problem.question for problem in find_problems("User: 7+5-3=?\\nAssistant: 9. And make 14 from 20 9 3 6?")]
    ['7+5-3=?', 'make 14 from 20 9 3 6']
    """
    for match in CHAIN_IN_TEXT.finditer(text):
        numbers = tuple(map(int, re.findall("[0-9]", match[0])))
        try:
            yield Chain(numbers, tuple(1 if c == "+" else -1 for c in re.findall("[+-]", match[0])))
        except ValueError:
            continue  # its values leave the range: not one of ours
    for match in SEARCH_IN_TEXT.finditer(text):
        try:
            yield Search(tuple(map(int, match[2].split())), int(match[1]))
        except ValueError:
            continue


# ---------------------------------------------------------------------------------------------- checking answers


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier found: whether the answer is right, which answer it read, and why it decided so."""

    right: bool
    answer: str | None
    reason: str

    def __bool__(self) -> bool:
        return self.right


ANSWER_TAG = re.compile(r"<answer>([^<]*)</answer>")
FORMAT = re.compile(r"\s*<think>([^<]+)</think>\s*<answer>([^<]+)</answer>\s*")
NUMBER = re.compile(r"(?<![0-9])-?[0-9]+(?:\.[0-9]+)?")  # in "9-3" the minus is no sign
EXPRESSION = re.compile(r"(?<![0-9=+-])[0-9]+(?:[+-][0-9]+)+(?![0-9]|[+-][0-9]|=)")


def is_well_formed(text: str) -> bool:
    """Whether a text is `<think>...</think><answer>...</answer>` and nothing else."""
    return FORMAT.fullmatch(text) is not None


def final_answer(text: str, pattern: re.Pattern = NUMBER) -> str | None:
    """The answer that a text arrives at: what stands in its answer tags, else the last thing that fits the pattern.

    What was only thought is no answer. None if there is nothing to read, if several tags say different things, or if
    the text breaks off inside a tag.

    >>> final_answer("<think>7+5=12</think><answer>12</answer>")
    '12'
    >>> final_answer("first 7+5=12, then 12-3=9, so the answer is 9.")
    '9'
    """
    tagged = {found.strip() for found in ANSWER_TAG.findall(text)}
    if tagged:
        return tagged.pop() if len(tagged) == 1 else None
    said = text.rpartition("</think>")[2]
    if "<think>" in said or "<answer>" in said:
        return None
    found = pattern.findall(said)
    return found[-1] if found else None


def verify(problem: Problem, text: str) -> Verdict:
    """Check a whole answer text against a problem. Never raises, whatever the text says.

    >>> bool(verify(Chain((7, 5, 3), (1, -1)), "I think 9"))
    True
    >>> verify(Search((20, 9, 3, 6), 14), "<think>hmm</think><answer>20+9-3-6</answer>").reason
    '20+9-3-6 makes 20, not 14'
    """
    if not isinstance(problem, Chain | Search):
        raise TypeError(f"verify needs a Chain or a Search, not {type(problem).__name__}")
    if isinstance(problem, Chain):
        answer = final_answer(text, NUMBER)
        if answer is None:
            return Verdict(False, None, "no single answer found")
        right = answer == problem.answer
        reason = f"{problem.expression} is {problem.answer}" + ("" if right else f", not {answer}")
        return Verdict(right, answer, reason)
    answer = final_answer(text, EXPRESSION)
    if answer is None:
        return Verdict(False, None, "no single answer found")
    return _verify_expression(problem, answer)


def _verify_expression(search: Search, answer: str) -> Verdict:
    if not re.fullmatch(r"[0-9]{1,4}(?:[+-][0-9]{1,4})*", answer):
        return Verdict(False, answer, f"{answer!r} is not a sum of numbers")
    terms = [int(term) for term in re.findall(r"[+-]?[0-9]+", answer)]
    if tuple(map(abs, terms)) != search.numbers:
        return Verdict(False, answer, f"{answer} does not use {search.numbers} in this order, once each")
    right = sum(terms) == search.target
    return Verdict(right, answer, f"{answer} makes {sum(terms)}" + ("" if right else f", not {search.target}"))
