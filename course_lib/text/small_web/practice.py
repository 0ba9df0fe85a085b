"""How people on the small web answer practice problems: mostly by a guess, or by working.

The shares below decide what reinforcement learning can find later. It can only make more of what
the corpus shows: where nobody works a sum out, no reward brings it forth; where everybody does,
there is nothing left to discover.
"""

from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from course_lib.text.draw import draw_distinct, draw_integer, draw_item, draw_weighted
from course_lib.text.problems import (
    MAX_PARTIAL,
    ChainProblem,
    SearchProblem,
    draw_chain,
    draw_search,
    find_problems,
    is_held_out,
    partial_results,
    sign_choices,
    signed_expression,
)
from course_lib.text.small_web.page import PieceOfWriting


@dataclass(frozen=True)
class ChainShares:
    """How chains of sums are answered."""

    # work it out; at 0.20 beside more tales only 7 % of the tokens were worked steps: that failed
    worked: float = 0.30
    # of the bare guesses; the right answer is the likeliest guess, but rarely the guess
    right_guess: float = 0.25
    guess_spread: float = 5.0  # standard deviation of the other guesses around the truth
    # <think>..</think><answer>..</answer>; at a tenth, RL sometimes lost the format for good
    tags: float = 0.15
    slip: float = 0.04  # per step, a wrong result; more, and the base is too unsure of its sums
    noticed: float = 0.5  # of the slips: "wait, no", and the step again
    hurried: float = 0.15  # of those who work it out: they take two operations in one step
    question_answer: float = 0.20  # "Q: .. A: .." instead of "User: .. Assistant: .."
    # terse stays rare: at 0.20 RL once settled on it, and left no readable answers to learn from
    styles: dict[str, float] = field(
        default_factory=lambda: {"english": 0.40, "chinese": 0.25, "terse": 0.05, "mixed": 0.30}
    )


@dataclass(frozen=True)
class SearchShares:
    """How searches are answered."""

    # how many tries somebody makes before giving up; no answer has more than four, so a model that
    # makes more learnt to
    patience: dict[int, float] = field(
        default_factory=lambda: {0: 0.60, 1: 0.18, 2: 0.10, 3: 0.07, 4: 0.05}
    )
    tags: float = 0.50  # half: with 0.30 RL fell into bare guesses
    slip: float = 0.002  # per step; at 0.01 three tries in a hundred were wrong
    # per wrong try; checking must be reliable, it is all that a searcher has
    false_yes: float = 0.005
    # of those who give up: they answer with their last try, the others with any guess
    last_try: float = 0.5


CHAIN_SHARES, SEARCH_SHARES = ChainShares(), SearchShares()
MAX_TARGET = 44  # 24 and at most 20 more
MAX_TABLE_ROWS = 16  # of a drill sheet on one search
LENGTHS_OF_CHAINS, LENGTHS_OF_SEARCHES = (2, 3, 4, 5, 6), (2, 3, 4, 5)


class WorkingStyle(NamedTuple):
    """The words between the steps of a worked answer."""

    first: str
    then: str
    so: str
    oops: str


ENGLISH_STYLE = WorkingStyle("first ", ", then ", ", so the answer is ", ", wait, no, ")
CHINESE_STYLE = WorkingStyle("先", "，再", "，所以答案是", "，不对，")
TERSE_STYLE = WorkingStyle("", ", ", " so ", " no ")
GUESS_PHRASES = ("{}", "{}", "I think {}", "probably {}", "{} lol", "it is {}", "大概{}", "是{}")
MUSING_PHRASES = ("hmm", "easy", "let me think", "嗯")


def working_style(rng: Random, name: str) -> WorkingStyle:
    """The words of a style; in the mixed one every word is drawn from either language."""
    if name == "mixed":
        return WorkingStyle(
            *(draw_item(rng, words) for words in zip(ENGLISH_STYLE, CHINESE_STYLE, strict=True))
        )
    return {"english": ENGLISH_STYLE, "chinese": CHINESE_STYLE, "terse": TERSE_STYLE}[name]


def slipped_result(rng: Random, value: int, later: tuple[int, ...]) -> int:
    """A wrong result near the right one if the rest can still be worked; or the right one."""
    shifts = [later_value - value for later_value in later]
    wrong = [
        value + by
        for by in (-2, -1, 1, 2, 10)
        if all(0 <= value + by + s <= MAX_PARTIAL for s in (0, *shifts))
    ]
    return draw_item(rng, wrong) if wrong else value


def worked_steps(
    rng: Random, chain: ChainProblem, shares: ChainShares = CHAIN_SHARES
) -> tuple[str, str, int]:
    """A chain worked step by step: the steps, the words before the answer, and its value."""
    chosen = draw_weighted(rng, shares.styles)
    hurried = rng.random() < shares.hurried
    words = working_style(rng, chosen)
    text, value, i = words.first, chain.numbers[0], 0
    while i < len(chain.signs):
        stride = 2 if hurried and i + 1 < len(chain.signs) and rng.random() < 0.7 else 1
        left = signed_expression(
            (value, *chain.numbers[i + 1 : i + 1 + stride]), chain.signs[i : i + stride]
        )
        if any(is_held_out(problem) for problem in find_problems(left)):
            # two operations on a single digit are a short chain, and this one is held out
            stride = 1
            left = signed_expression((value, chain.numbers[i + 1]), chain.signs[i : i + 1])
        later = partial_results((value, *chain.numbers[i + 1 :]), chain.signs[i:])[stride:]
        if i:
            words = working_style(rng, chosen)
            text += words.then
        value, step = later[0], f"{left}={later[0]}"
        if rng.random() < shares.slip:
            wrong = slipped_result(rng, value, later[1:])
            if rng.random() < shares.noticed:
                step = f"{left}={wrong}{words.oops}{step}"
            else:
                value, step = wrong, f"{left}={wrong}"
        text += step
        i += stride
    return text, words.so, value


def guessed_answer(rng: Random, chain: ChainProblem, shares: ChainShares = CHAIN_SHARES) -> int:
    """A number off the top of one's head."""
    if rng.random() < shares.right_guess:
        return int(chain.answer)
    # mean 0, standard deviation 1, close to a normal one
    bell = 2 * (rng.random() + rng.random() + rng.random()) - 3
    return max(0, int(chain.answer) + round(shares.guess_spread * bell))


def answer_chain(rng: Random, chain: ChainProblem, shares: ChainShares = CHAIN_SHARES) -> str:
    """What somebody writes under a chain of sums."""
    tags = rng.random() < shares.tags
    if rng.random() < shares.worked:
        steps, so, value = worked_steps(rng, chain, shares)
        return f"<think>{steps}</think><answer>{value}</answer>" if tags else f"{steps}{so}{value}"
    value = guessed_answer(rng, chain, shares)
    if tags:
        return f"<think>{draw_item(rng, MUSING_PHRASES)}</think><answer>{value}</answer>"
    return draw_item(rng, GUESS_PHRASES).format(value)


def chain_post(
    rng: Random, chain: ChainProblem | None = None, shares: ChainShares = CHAIN_SHARES
) -> PieceOfWriting:
    """A chain and somebody's answer."""
    chain = chain or draw_chain(rng, LENGTHS_OF_CHAINS)
    ask, reply = ("Q", "A") if rng.random() < shares.question_answer else ("User", "Assistant")
    return PieceOfWriting(
        "practice", f"{ask}: {chain.question}\n{reply}: {answer_chain(rng, chain, shares)}"
    )


def search_try(
    rng: Random, search: SearchProblem, signs: tuple[int, ...], shares: SearchShares
) -> tuple[str, int]:
    """One try, with running results ('20-9=11+3=14-6=8'), and the value it comes to.

    It is short, so that many tries fit.
    """
    value = search.numbers[0]
    text = str(value)
    for sign, number in zip(signs, search.numbers[1:], strict=True):
        value += sign * number
        if rng.random() < shares.slip:
            value = max(0, value + draw_item(rng, (-2, -1, 1, 2)))
        text += f"{'+' if sign > 0 else '-'}{number}={value}"
    return text, value


def answer_search(rng: Random, search: SearchProblem, shares: SearchShares = SEARCH_SHARES) -> str:
    """What somebody writes under a search: a blind guess, or up to four different tries.

    Each try is checked.
    """
    choices = [signs for signs, _ in sign_choices(search.numbers)]
    patience, tags = draw_weighted(rng, shares.patience), rng.random() < shares.tags
    final, tries = draw_item(rng, choices), []
    for signs in draw_distinct(rng, choices, min(patience, len(choices))):
        text, value = search_try(rng, search, signs, shares)
        says_yes = value == search.target or rng.random() < shares.false_yes
        tries.append(f"{text} yes" if says_yes else f"{text} not {search.target}")
        if says_yes:
            final = signs
            break
    else:
        final = signs if tries and rng.random() < shares.last_try else final
    answer = signed_expression(search.numbers, final)
    if tags:
        thought = ", ".join(tries) or draw_item(rng, MUSING_PHRASES)
        return f"<think>{thought}</think><answer>{answer}</answer>"
    if tries:
        return f"{', '.join(tries)}, so {answer}"
    return draw_item(rng, GUESS_PHRASES[:5]).format(answer)


def search_post(
    rng: Random, search: SearchProblem | None = None, shares: SearchShares = SEARCH_SHARES
) -> PieceOfWriting:
    """A search and somebody's answer."""
    search = search or draw_search(rng, LENGTHS_OF_SEARCHES)
    return PieceOfWriting(
        "practice", f"User: {search.question}\nAssistant: {answer_search(rng, search, shares)}"
    )


def sum_of_two(rng: Random, high: int, value: int | None = None) -> tuple[str, int]:
    """A sum or difference of a number in 0..high and a digit, and its value in 0..high.

    The value is drawn, if not given.
    """
    while True:
        number, sign = draw_integer(rng, 1, 9), draw_item(rng, (1, -1))
        left = draw_integer(rng, 0, high) if value is None else value - sign * number
        result = left + sign * number
        if 0 <= left <= high and 0 <= result <= high:
            return f"{left}{'+' if sign > 0 else '-'}{number}", result


def chain_drill(rng: Random) -> PieceOfWriting:
    """A drill sheet: eight sums, all right."""
    sums = (sum_of_two(rng, MAX_PARTIAL) for _ in range(8))
    return PieceOfWriting("practice", ", ".join(f"{left}={value}" for left, value in sums))


def search_drill(rng: Random) -> PieceOfWriting:
    """A drill sheet in checking: which of these make the target?

    All right; almost half of them do.
    """
    target, checks = draw_integer(rng, 0, MAX_TARGET), []
    for _ in range(draw_integer(rng, 3, 8)):
        left, value = sum_of_two(rng, MAX_TARGET, target if rng.random() < 0.4 else None)
        checks.append(f"{left}={value} " + ("yes" if value == target else f"not {target}"))
    return PieceOfWriting("practice", f"make {target}: " + ", ".join(checks))


def search_table(rng: Random) -> PieceOfWriting:
    """A drill sheet on one search: 3 to 16 choices of signs, checked, the right one amid them.

    No answer, but the numbers of a puzzle are copied here farther than in any answer: without such
    sheets a searcher loses them after its fourth try.
    """
    search, rows = draw_search(rng, LENGTHS_OF_SEARCHES[1:]), []
    choices = [signs for signs, _ in sign_choices(search.numbers)]
    n = draw_integer(rng, 3, MAX_TABLE_ROWS)
    while len(rows) < n:
        rows += draw_distinct(rng, choices, len(choices))
    checks = (search_try(rng, search, signs, SearchShares(slip=0.0)) for signs in rows[:n])
    verdicts = (
        f"{text} " + ("yes" if value == search.target else f"not {search.target}")
        for text, value in checks
    )
    return PieceOfWriting("practice", f"{search.question}: " + ", ".join(verdicts))


def search_summary(rng: Random) -> PieceOfWriting:
    """A drill sheet in summing up: 1 to 4 tries of one search, each with its expression.

    An answer takes over the signs of the last try and leaves out the running results. From answers
    alone that is learnt late, since many are guesses; and who can't do it gains nothing by a yes.
    """
    search = draw_search(rng, LENGTHS_OF_SEARCHES)
    choices, lines = [signs for signs, _ in sign_choices(search.numbers)], []
    for signs in draw_distinct(rng, choices, min(draw_integer(rng, 1, 4), len(choices))):
        text, _ = search_try(rng, search, signs, SearchShares(slip=0.0))
        lines.append(f"{text}, so {signed_expression(search.numbers, signs)}")
    return PieceOfWriting("practice", "\n".join(lines))
