"""Practice problems whose answers a rule can check: chains of sums, searches for signs.

A *chain* asks for a value and is solved by working step by step. A *search* gives the value and
asks for the expression: one tries, checks, and tries again. Both have exact verifiers, which is
what reinforcement learning needs. One problem in ten is held out, by a hash of its question, and
never stands in any training text.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, product
from random import Random
from typing import NamedTuple

import regex

from course_lib.text.chat import ANSWER, END_ANSWER, END_THINK, THINK
from course_lib.text.draw import draw_integer, draw_item

# a chain's partial results stay in 0..20: with results up to 99 small models never learnt to add
MAX_PARTIAL = 20
MAX_FIRST = 24  # a search starts from a number in 10..24
HELD_OUT_OF = 10  # one problem in ten


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """A chain of sums, worked from left to right.

    >>> chain = ChainProblem((7, 5, 3, 8), (1, -1, 1))
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
            raise ValueError(
                f"partial results {self.partial_results} leave the range 0..{MAX_PARTIAL}"
            )

    @property
    def expression(self) -> str:
        return signed_expression(self.numbers, self.signs)

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
class SearchProblem:
    """A puzzle: put + or - before every number after the first, so that the target comes out.

    >>> search = SearchProblem((20, 9, 3, 6), 14)
    >>> search.question, search.solutions
    ('make 14 from 20 9 3 6', ('20-9-3+6',))
    """

    # the first is at least the sum of the others: no partial result falls below 0
    numbers: tuple[int, ...]
    target: int

    def __post_init__(self) -> None:
        first, rest = self.numbers[0] if self.numbers else 0, self.numbers[1:]
        if (
            not rest
            or any(not 1 <= n <= 9 for n in rest)
            or not max(10, sum(rest)) <= first <= MAX_FIRST
        ):
            raise ValueError(
                f"a search starts from a number in 10..{MAX_FIRST} that is at least the sum of the"
                f" others (each 1 to 9), not {self.numbers}"
            )
        if not self.solutions:
            raise ValueError(f"no choice of signs makes {self.target} from {self.numbers}")

    @property
    def question(self) -> str:
        return f"make {self.target} from {' '.join(map(str, self.numbers))}"

    @property
    def solutions(self) -> tuple[str, ...]:
        return tuple(
            signed_expression(self.numbers, s)
            for s, value in sign_choices(self.numbers)
            if value == self.target
        )


Problem = ChainProblem | SearchProblem


def _check_signed(numbers: tuple[int, ...], signs: tuple[int, ...]) -> None:
    if not numbers or len(signs) != len(numbers) - 1 or any(s not in (1, -1) for s in signs):
        raise ValueError(
            f"{len(numbers)} numbers need {max(0, len(numbers) - 1)} signs, each 1 or -1, not"
            f" {signs}"
        )


def signed_expression(numbers: tuple[int, ...], signs: tuple[int, ...]) -> str:
    """The signed numbers written in a row: `signed_expression((7, 5, 3), (1, -1))` is '7+5-3'."""
    return str(numbers[0]) + "".join(
        ("+" if s > 0 else "-") + str(n) for n, s in zip(numbers[1:], signs, strict=True)
    )


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


# --------------------------------------------------------------------------------- drawing problems


def is_held_out(problem: Problem) -> bool:
    """Whether a problem is kept out of every training text: one in ten with three numbers or more.

    The hash decides, not a list or a random draw, so every lesson and every seed agrees.
    """
    return len(problem.numbers) >= 3 and zlib.crc32(problem.question.encode()) % HELD_OUT_OF == 0


def draw_chain(
    rng: Random, lengths: tuple[int, ...] = (3, 4, 5, 6), held_out: bool = False
) -> ChainProblem:
    """A random chain of one of these lengths (how many numbers), held out or not."""
    _check_lengths(lengths, 2, 8, held_out)
    length = draw_item(rng, lengths)
    while True:
        numbers = tuple(draw_integer(rng, 1, 9) for _ in range(length))
        signs = tuple(draw_item(rng, (1, -1)) for _ in range(length - 1))
        if all(0 <= value <= MAX_PARTIAL for value in partial_results(numbers, signs)):
            chain = ChainProblem(numbers, signs)
            if is_held_out(chain) == held_out:
                return chain


def draw_search(
    rng: Random, lengths: tuple[int, ...] = (3, 4, 5), held_out: bool = False
) -> SearchProblem:
    """A random search of one of these lengths, held out or not, that luck alone seldom solves.

    It has one solution (with five numbers or more: at most two), so blind guesses at 2, 3, 4, 5
    numbers are right once in 2, 4, 8, and 8 to 16 times.
    """
    _check_lengths(lengths, 2, 6, held_out)
    length = draw_item(rng, lengths)
    while True:
        rest = tuple(draw_integer(rng, 1, 9) for _ in range(length - 1))
        if sum(rest) > 20:
            continue
        numbers = (draw_integer(rng, max(10, sum(rest)), MAX_FIRST), *rest)
        values = [value for _, value in sign_choices(numbers)]
        target = draw_item(rng, values)
        if values.count(target) > (1 if length < 5 else 2):
            continue
        search = SearchProblem(numbers, target)
        if is_held_out(search) == held_out:
            return search


def _check_lengths(lengths: tuple[int, ...], low: int, high: int, held_out: bool) -> None:
    low = max(low, 3) if held_out else low  # shorter problems are never held out
    if not lengths or any(not low <= k <= high for k in lengths):
        raise ValueError(f"lengths {lengths} must be between {low} and {high}")


# Expressions of three or more single digits are chains (a search starts from 10 or more, so the two
# can't be confused).
CHAIN_IN_TEXT = re.compile(r"(?<![0-9+=-])[1-9](?:[+-][1-9]){1,7}(?![0-9]|[+-][0-9])")
SEARCH_IN_TEXT = re.compile(r"make ([0-9]{1,2}) from ([0-9]{2}(?: [1-9])+)(?! ?[0-9])")


def find_problems(text: str) -> Iterator[Problem]:
    """Every chain and every search that stands in a text, whatever is written around it.

    >>> text = "User: 7+5-3=?\\nAssistant: 9. And make 14 from 20 9 3 6?"
    >>> [problem.question for problem in find_problems(text)]
    ['7+5-3=?', 'make 14 from 20 9 3 6']
    """
    for match in CHAIN_IN_TEXT.finditer(text):
        numbers = tuple(map(int, re.findall("[0-9]", match[0])))
        try:
            yield ChainProblem(
                numbers, tuple(1 if c == "+" else -1 for c in re.findall("[+-]", match[0]))
            )
        except ValueError:
            continue  # its values leave the range: not one of ours
    for match in SEARCH_IN_TEXT.finditer(text):
        try:
            yield SearchProblem(tuple(map(int, match[2].split())), int(match[1]))
        except ValueError:
            continue


# --------------------------------------------------------------------------------- checking answers


@dataclass(frozen=True, slots=True)
class VerifierVerdict:
    """What a verifier found: whether the answer is right, which one it read, and why."""

    right: bool
    answer: str | None
    reason: str

    def __bool__(self) -> bool:
        return self.right


RESPONSE_TAG = re.compile(r"<(/?)(think|answer)>")


class ParsedResponse(NamedTuple):
    """What stands where in a response, see `parse_response`."""

    before: str  # in front of the last thought; nothing without one
    thought: str  # the last thought, tags inside it included
    answers: tuple[str, ...]  # what stands between answer tags behind it
    said: str  # the rest of what stands behind it
    complete: bool  # False if the text breaks off inside a thought or an answer


def parse_response(text: str) -> ParsedResponse:
    """Read the tags of a response by nesting: what was thought, answered, and said besides.

    Inside a thought an answer tag is text, and a thought ends with as many ends as it had
    beginnings. What stands in front of a thought was written before thinking, so its answers do not
    count. An end without a beginning ends a thought that began before the text did, as where a
    prompt ends in <think>. Source of the layout: DeepSeek-R1 (arXiv 2501.12948), table 1.

    >>> parse_response("<think>maybe <answer>9</answer></think>It is <answer>8</answer>.").answers
    ('8',)
    >>> parse_response("<think>hm</think><answer>9").complete
    False
    """
    turns = [-1 if end else 1 for end, name in RESPONSE_TAG.findall(text) if name == "think"]
    text = THINK * -min(accumulate(turns, initial=0)) + text  # so every end has its beginning
    elements, complete = outermost_elements(text)
    before, thought, behind, answers, said = "", "", 0, [], []
    for begin, end in elements:
        inside = text[begin.end() : end.start()]
        if begin[2] == "think":
            before, thought, answers, said = text[: begin.start()], inside, [], []
        else:
            said.append(text[behind : begin.start()])
            answers.append(inside)
        behind = end.end()
    said.append(text[behind:])
    return ParsedResponse(before, thought, tuple(answers), "".join(said), complete)


def outermost_elements(text: str) -> tuple[list[tuple[re.Match, re.Match]], bool]:
    """Find both tags of each thought or answer that stands in no other; and whether all have ended.

    Every end of a thought must have its beginning; an end of an answer without one is text.
    """
    found, opened = [], []
    for tag in RESPONSE_TAG.finditer(text):
        end, name = tag.groups()
        if name == "answer" and opened and opened[-1][2] == "think":
            continue  # only thought
        if not end:
            opened.append(tag)
        elif opened:
            begin = opened.pop()
            found += [] if opened else [(begin, tag)]
    return found, not opened


def is_well_formed(text: str) -> bool:
    """Whether a text is `<think>...</think><answer>...</answer>`, both filled, and nothing else."""
    if [tag[0] for tag in RESPONSE_TAG.finditer(text)] != [THINK, END_THINK, ANSWER, END_ANSWER]:
        return False
    parts = parse_response(text)
    filled = parts.thought.strip() and parts.answers[0].strip()
    return bool(filled) and not (parts.before + parts.said).strip()


MINUS_SIGNS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d", "-"))
LETTER_CLASS = (  # not Chinese, which writes no space before a number
    r"\p{Latin}\p{Greek}\p{Cyrillic}"
)
GROUPED_DIGITS = r"\u00a0\u2009\u202f"  # the spaces that group digits: of no break, thin, narrow
# A name, with its arguments, is no number; what begins with a digit may be one.
NUMERAL_PATTERN = regex.compile(
    rf"(?<![\\{LETTER_CLASS}])[{LETTER_CLASS}][{LETTER_CLASS}\p{{N}}\p{{M}}_]*+(?:-[{LETTER_CLASS}\p{{N}}]++)*+"
    rf"(?:\([^()]*+\))?"
    rf"|(?P<numeral>\p{{N}}(?:[{LETTER_CLASS}\p{{N}}]|[.,:'’_{GROUPED_DIGITS}](?=\p{{N}}))*+)"
)
PLAIN_NUMERAL = regex.compile(
    rf"(?:[0-9]{{1,3}}(?:[,{GROUPED_DIGITS}][0-9]{{3}})+|[0-9]+)(?:\.[0-9]+)?"
)
# What a numeral is part of: a sum or product, a power, a fraction, a bound, a list of points, TeX.
JOINED_BEFORE = regex.compile(
    rf"(?:[\p{{N}})\]}}]\s*[-+*]+\s*|[{LETTER_CLASS}][-+*]+|[{LETTER_CLASS}]\s+[+*]+\s+|-[\s*_`$]+"
    rf"|(?:[/^×·÷√<>≤≥≠±{{]|[<>!]=|\p{{N}}\s*[xX]|\\[a-zA-Z]+)\s*"
    rf"|(?:(?<![{LETTER_CLASS}])(?:minus|plus|times)|[负减加乘]|除以)\s*|(?:^|\s)\.|[\p{{N}})]\()$"
)
JOINED_BEHIND = regex.compile(rf"\s*[/^×·÷±%‰]|[-+*_]+[{LETTER_CLASS}]|\\(?![)\]])")
LONG_BLANK_RUN = regex.compile(r"\s{2,}")  # would make the search for what is joined slow
ARROW_SIGN = regex.compile("(?<![-=])[-=]++>|[→⇒⟹]")  # each run of dashes is tried once
BOXED_ANSWER = regex.compile(r"\\boxed\s*\{([^{}]*)\}")
EXPRESSION_PATTERN = regex.compile(
    rf"(?=[0-9])(?<![\p{{N}}{LETTER_CLASS}_)\]}}/^×·÷√<>{{\\=+-]|[\p{{N}}{LETTER_CLASS})\]}}]\*+)"
    rf"(?<!\p{{N}}\s*[-+*]\s*|\p{{N}}[.,:'’])[0-9]++(?:[+-][0-9]++)++"
    rf"(?![{LETTER_CLASS}_(\\]|[.,:'’]\p{{N}}|[-+*]+[{LETTER_CLASS}(]|\s*[-+*]\s*\p{{N}}|\s*[/^×·÷±%‰=])"
)


def last_number(text: str) -> str | None:
    """Read the last number in a text, without thousands separators; None if it is part of more.

    Read are whole and decimal numbers, as written: "7", "07", "7.50", "-7", with any minus sign of
    Unicode, "2,125" as "2125", "=7", "~7", "#7", "$7$", "(7)", "**7**", "\\\\boxed{7}", "7.",
    "7 cm", "是7。". Not read is what has a digit and stands for something else, and then nothing in
    front of it counts either: "7%", "3/4", "10^7", "10⁷", "9-3", "2*7", "2 x 7", "minus 7", ">7",
    "1e5", "7th", "7x", "9lol", "1_000", "12,5", "3:7", ".5", "- 7", which may be a point of a list,
    and digits that are not ASCII, as in "７" or "½". Names as "x7", "GPT-4" or "f(7)", and numbers
    in words, as "seven" or "七", are passed over. "1 000" is two numbers, as in "20 9 3 6".

    >>> [last_number(text) for text in ("17, no: 16", "it is −7", "7+5-3=9", "7+5-3", "10^7", "x7")]
    ['16', '-7', '9', None, None, None]
    """
    text = ARROW_SIGN.sub(
        " ", BOXED_ANSWER.sub(r" \1 ", LONG_BLANK_RUN.sub(" ", text.translate(MINUS_SIGNS)))
    )
    found = [match for match in NUMERAL_PATTERN.finditer(text) if match["numeral"]]
    if not found or not PLAIN_NUMERAL.fullmatch(found[-1][0]):
        return None
    start, end = found[-1].span()
    if JOINED_BEFORE.search(text[:start]) or JOINED_BEHIND.match(text, end):
        return None
    sign = "-" if text[:start].endswith("-") else ""
    return sign + regex.sub(rf"[,{GROUPED_DIGITS}]", "", found[-1][0])


def last_expression(text: str) -> str | None:
    """Read the last sum of ASCII numbers, written without spaces, that is no part of more.

    >>> [last_expression(text) for text in ("20-9-3+6 lol", "20−9", "20-9=11", "2*7+5", "9")]
    ['20-9-3+6', '20-9', None, None, None]
    """
    found = EXPRESSION_PATTERN.findall(text.translate(MINUS_SIGNS))
    return found[-1] if found else None


def final_answer(text: str, read: Callable[[str], str | None] = last_number) -> str | None:
    """The answer that a text arrives at: what its last answer tags hold, else what `read` finds.

    What was only thought is no answer, see `parse_response`. None if there is nothing to read, or
    if the text breaks off inside a tag. Between tags an answer is taken as written, but for minus
    signs and the blanks around it.

    >>> final_answer("<think>7+5=12</think><answer>12</answer>")
    '12'
    >>> final_answer("first 7+5=12, then 12-3=9, so the answer is 9.")
    '9'
    """
    parts = parse_response(text)
    if not parts.complete:
        return None
    return parts.answers[-1].strip().translate(MINUS_SIGNS) if parts.answers else read(parts.said)


def verify_answer(problem: Problem, text: str) -> VerifierVerdict:
    """Check a whole answer text against a problem. Never raises, whatever the text says.

    >>> bool(verify_answer(ChainProblem((7, 5, 3), (1, -1)), "I think 9"))
    True
    >>> text = "<think>hmm</think><answer>20+9-3-6</answer>"
    >>> verify_answer(SearchProblem((20, 9, 3, 6), 14), text).reason
    '20+9-3-6 makes 20, not 14'
    """
    if not isinstance(problem, ChainProblem | SearchProblem):
        raise TypeError(
            f"verify_answer needs a ChainProblem or a SearchProblem, not {type(problem).__name__}"
        )
    if isinstance(problem, ChainProblem):
        answer = final_answer(text, last_number)
        if answer is None:
            return VerifierVerdict(False, None, "no single answer found")
        right = answer == problem.answer
        reason = f"{problem.expression} is {problem.answer}" + ("" if right else f", not {answer}")
        return VerifierVerdict(right, answer, reason)
    answer = final_answer(text, last_expression)
    if answer is None:
        return VerifierVerdict(False, None, "no single answer found")
    return _verify_expression(problem, answer)


def _verify_expression(search: SearchProblem, answer: str) -> VerifierVerdict:
    if not re.fullmatch(r"[0-9]{1,4}(?:[+-][0-9]{1,4})*", answer):
        return VerifierVerdict(False, answer, f"{answer!r} is not a sum of numbers")
    terms = [int(term) for term in re.findall(r"[+-]?[0-9]+", answer)]
    if tuple(map(abs, terms)) != search.numbers:
        return VerifierVerdict(
            False, answer, f"{answer} does not use {search.numbers} in this order, once each"
        )
    right = sum(terms) == search.target
    return VerifierVerdict(
        right, answer, f"{answer} makes {sum(terms)}" + ("" if right else f", not {search.target}")
    )
