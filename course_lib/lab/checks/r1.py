"""Checkers of lesson 26. The truths are counted by hand, or by loops that share no line with it."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from math import ceil
from typing import Any

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe, expect
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 2: each text with its counts of English and Chinese words in the thought, read by hand
# --------------------------------------------------------------------------------------------------

# text, English words, Chinese words, and what is said of a wrong share
THOUGHTS: list[tuple[str, int, int, str]] = [
    (
        "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>",
        2,
        0,
        "its two words are English; numbers and signs are none.",
    ),
    (
        "<think>先7+5=12，再12-3=9</think><answer>9</answer>",
        0,
        2,
        "its two words are Chinese. Numbers, commas and tags are no words, and what stands outside"
        " the thought is not read.",
    ),
    (
        "<think>first 7+5=12，再12-3=9</think><answer>9</answer>",
        1,
        1,
        "one word is English, one Chinese: a run of letters is one word, not one per letter.",
    ),
    (
        "<think>first 7+5=12, so 大概 it is 12</think><answer>12</answer>",
        4,
        2,
        "each Chinese character is a word of its own, also where two stand together.",
    ),
    (
        "<think>7+5=12</think><answer>12</answer>",
        0,
        0,
        "the thought has no words at all, so none is in another language: 1.0.",
    ),
    (
        "<think>先7+5=12</think><answer>it is twelve</answer>",
        0,
        1,
        "only the thought counts. What stands in the answer is not read.",
    ),
    (
        "well, <think>先7+5=12</think><answer>12</answer>",
        0,
        1,
        "only the thought counts. What stands before it is not read.",
    ),
    ("大概12", 0, 0, "there is no thought, so it has no words: 1.0."),
    ("<think>OK, 先 7+5=12</think><answer>12</answer>", 1, 1, "capital letters are letters, too."),
    (
        "<think>first 先\nthen</think><answer>12</answer>",
        2,
        1,
        "the thought has two lines. In a regular expression `.` does not match a new line unless"
        " `re.DOTALL` is given.",
    ),
    (
        "<think>一二龥鿿 z Z</think><answer>1</answer>",
        2,
        4,
        "Chinese characters reach from U+4E00 to U+9FFF, both included, letters from A to Z and"
        " from a to z.",
    ),
    (
        "<think>先7+5=12</think><answer>9</answer> so <think>I am sure</think>",
        0,
        1,
        "the thought is what stands between the first `<think>` and the `</think>` behind it.",
    ),
    (
        "so 先</think> <think>first 先7+5=12, then</think><answer>12</answer>",
        2,
        1,
        "a `</think>` that stands before `<think>` ends nothing: look for the one behind it.",
    ),
    (
        "<think>first 先7+5",
        1,
        1,
        "the thought breaks off: all that stands behind `<think>` is thought.",
    ),
]


def _share(counts: Mapping[str, int], language: str) -> float:
    total = sum(counts.values())
    return float(Fraction(counts[language], total)) if total else 1.0


def _name_share(numbers: list[float], wanted: list[float]) -> None:
    """Raise `Wrong` if one slip explains all numbers; wanted: English, Chinese, English, ..."""
    others = [wanted[i ^ 1] for i in range(len(wanted))]
    slips = [
        (
            [float(want == 1) for want in wanted],
            "a thought in one language gets 1 and every other 0. The reward is the *share* of words"
            " in the wanted language, so that a little less mixing earns a little more.",
        ),
        (others, "this is the share of the *other* language: count the wanted one."),
        (
            [1.0 if a == b == 1 else b for a, b in zip(wanted, others, strict=True)],
            "this is the share of the *other* language: count the wanted one.",
        ),
        ([want for want in wanted[::2] for _ in range(2)], "`language` is not looked at."),
        ([want for want in wanted[1::2] for _ in range(2)], "`language` is not looked at."),
    ]
    for given, told in slips:
        if all(abs(a - b) < 1e-9 for a, b in zip(numbers, given, strict=True)):
            raise Wrong(told)
    if max(numbers) > 1:
        raise Wrong(
            f"a share is a number from 0 to 1; got {max(numbers):g}. Divide the words in the wanted"
            " language by *all* words of the thought."
        )


@checker
def language_consistency(attempt: Attempt) -> str:
    """Give the share of a thought's words that are in the wanted language."""
    cases = []
    for text, english, chinese, told in THOUGHTS:
        counts = {"english": english, "chinese": chinese}
        cases += [(text, language, _share(counts, language), told) for language in counts]
    results = [(attempt(text, language), text, language, want, told)
               for text, language, want, told in cases]  # fmt: skip
    for got, *_ in results:
        if got is None or isinstance(got, str):
            raise Wrong(f"a share is a number from 0 to 1; got {describe(got)}")
    _name_share([float(got) for got, *_ in results], [want for *_, want, _ in results])
    for got, text, language, want, told in results:
        if abs(float(got) - want) > 1e-9:
            raise Wrong(f"{text!r} for {language} got {float(got):.3g}, not {want:.3g}: {told}")
    return f"{len(THOUGHTS)} thoughts are read as a person would count them, for both languages."


# Exercise 1
# --------------------------------------------------------------------------------------------------

FAULTS: dict[str, Callable[[str], bool]] = {
    "wrong": lambda text: "9" not in text,
    "form": lambda text: "<" not in text,
    "language": lambda text: "先" in text,
}
GOOD, GOOD_TOO = "<first 9>", "<then 9>"
SIFTED: list[tuple[list[str], list[str], str]] = [
    ([GOOD], ["kept"], "a text without a fault is kept."),
    (["8"], ["wrong"], "this text has two faults; the first in the order of `faults` is told."),
    (["first 9"], ["form"], "this text is right, but without form."),
    (["<先 9>"], ["language"], "this text has the last fault alone."),
    (
        ["<先 8>", "先 9", "8"],
        ["wrong", "form", "wrong"],
        "a text with several faults is told the *first* of the table, in its order.",
    ),
    (
        ["8", GOOD, GOOD_TOO],
        ["wrong", "kept", "one too many"],
        "one text is kept per question, the first good one. Later good ones are one too many.",
    ),
    (
        [GOOD, GOOD],
        ["kept", "one too many"],
        "two equal texts are two texts: the second is one too many.",
    ),
    (
        [GOOD, "8", GOOD, "<先 9>"],
        ["kept", "wrong", "one too many", "language"],
        "behind the kept text a fault is still told as what it is, and a good text is one too many"
        " wherever it stands.",
    ),
    (["8", "9"], ["wrong", "form"], "there need not be a good text: then none is kept."),
    ([], [], "no texts, no verdicts."),
]


@checker
def sift(attempt: Attempt) -> str:
    """Give each answer to a question its verdict."""
    for texts, want, told in SIFTED:
        got = attempt(texts, FAULTS)
        if not isinstance(got, list | tuple):
            raise Wrong(f"return a list with a verdict for each text; got {describe(got)}")
        if got and all(each in texts for each in got):
            raise Wrong("return the verdicts, one for each text, not the texts that are kept.")
        if len(got) != len(texts):
            raise Wrong(
                f"{len(texts)} texts need as many verdicts, dropped ones too; got {len(got)}"
            )
        if list(got) != want:
            raise Wrong(f"the verdicts of {texts} should be {want}, not {list(got)}: {told}")
    other = {"language": FAULTS["language"], "short": lambda text: len(text) < 3}
    expect(
        attempt(["先", "9", "x y"], other),
        ["language", "short", "kept"],
        "the verdicts under another table of faults, "
        "{'language': ..., 'short': fewer than three characters}",
    )
    return "each text has its verdict: the first fault, kept, or one too many."


# Exercise 3
# --------------------------------------------------------------------------------------------------


def _best_count(n: int, share: float, reasoning: float, other: float) -> tuple[int, int]:
    """Try every count and take the one whose share of the tokens is nearest."""

    def miss(count: int) -> Fraction:
        ours = count * Fraction(reasoning)
        return abs(ours / (ours + (n - count) * Fraction(other)) - Fraction(share))

    best = min(range(n + 1), key=miss)
    return best, n - best


@checker
def examples_for_share(attempt: Attempt) -> str:
    """Choose how many examples of each kind give a share of the tokens."""
    cases = [
        (800, 0.75, 30.0, 10.0), (701, 0.8, 30.0, 11.0), (1000, 0.5, 30.0, 10.0),
        (1000, 0.5, 12.0, 12.0),
        (600, 0.25, 8.0, 40.0), (500, 0.9, 33.0, 7.0), (100, 0.0, 30.0, 10.0),
        (100, 1.0, 30.0, 10.0),
    ]  # fmt: skip
    ours = lambda n, s, r, o: n * s * o / (s * o + (1 - s) * r)  # noqa: E731
    slips = [
        (
            lambda n, s, r, o: (round(n * s), n - round(n * s)),
            "this is the share of the *examples*. The loss averages over tokens, so the long"
            " examples of one kind count more than the short ones of the other.",
        ),
        (
            lambda n, s, r, o: (n - round(ours(n, s, r, o)), round(ours(n, s, r, o))),
            "the two counts are exchanged: reasoning comes first.",
        ),
        (
            lambda n, s, r, o: _pair(n, n * s * r / (s * r + (1 - s) * o)),
            "the lengths are exchanged: the *longer* the examples of a kind, the fewer of them give"
            " the same tokens.",
        ),
        (
            lambda n, s, r, o: (ours(n, s, r, o), n - ours(n, s, r, o)),
            "there are no parts of examples: round the first count, and take the rest of n.",
        ),
        (
            lambda n, s, r, o: _pair(n, ours(n, s, r, o), ceil),
            "the first count is rounded up, not to the nearest.",
        ),
        (
            lambda n, s, r, o: _pair(n, ours(n, 1 - s, r, o)),
            "this gives the share to the *other* examples: it is reasoning's.",
        ),
        (
            lambda n, s, r, o: _pair(n, n * o / (r + o)),
            "the share is not looked at: these counts give each kind half of the tokens.",
        ),
        (
            lambda n, s, r, o: (round(ours(n, s, r, o)), n),
            "the second count should be the rest of n, so that both add up to n.",
        ),
        (
            lambda n, s, r, o: _pair(n, n * s * o / r),
            "the first weight alone is scaled to n: divide by the sum of both weights.",
        ),
        (
            lambda n, s, r, o: _pair(n, n * s * o / (s * o + r)),
            "the other kind should have the *rest* of the tokens, 1 - share of them.",
        ),
        (
            lambda n, s, r, o: _pair(n, ours(n, s, r, o), int),
            "the first count is cut off, not rounded to the nearest.",
        ),
        (
            lambda n, s, r, o: (round(n * s / r), round(n * (1 - s) / o)),
            "the counts do not add up to n: divide shares by lengths, and then scale both.",
        ),
        (lambda n, s, r, o: (s, 1 - s), "these are shares, not counts of examples."),
    ]

    def called(n: int, share: float, reasoning: float, other: float) -> str:
        first, rest = _best_count(n, share, reasoning, other)
        return (
            f"{n} examples, {share:.0%} of the tokens from reasoning, {reasoning:g} tokens each"
            f" beside {other:g} ({first} x {reasoning:g} tokens beside {rest} x {other:g} are it)"
        )

    def plain(got: Any) -> tuple:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(
                f"return two counts, of reasoning and of other examples; got {describe(got)}"
            )
        return tuple(got)

    judge_by_slips(attempt, cases, _best_count, slips, called, 1e-9, plain)
    for n, first in ((7, 3.5), (9, 4.5)):
        got = plain(attempt(n, 0.5, 12.0, 12.0))
        if sum(got) != n or abs(got[0] - first) > 0.5 + 1e-9:
            raise Wrong(
                f"half of the tokens for each kind, examples of equal length, {n} in all: got"
                f" {got}. Round the first count alone; the second is the rest of {n}, so that both"
                f" add up to {n}."
            )
    return "the share of tokens, not of examples, is what was asked for."


def _pair(n: int, count: float, whole: Callable[[float], int] = round) -> tuple[int, int]:
    return whole(count), n - whole(count)


# Exercise 4
# --------------------------------------------------------------------------------------------------


class _Judge:
    """Scores by the length of the question and of the text; keeps what each call reads."""

    def __init__(self) -> None:
        self.calls: list[tuple[list, list]] = []

    def __call__(self, questions: Sequence, texts: Sequence[str]) -> list[float]:
        self.calls.append((list(questions), list(texts)))
        if len(questions) != len(texts):
            raise ValueError(f"the judge got {len(questions)} questions and {len(texts)} texts")
        return [len(q) / 10 + len(t) / 100 for q, t in zip(questions, texts, strict=True)]


class _Rule:
    """Rates a sum's answer by its length; keeps what it is asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    def __call__(self, question: str, answer: str) -> float:
        self.calls.append((question, answer))
        return 1.0 + len(answer) if answer.startswith("<think>") else 0.5


QUESTIONS = ["2+1=?", "Who is Mo?", "7-3=?", "What is hot?", "1+1=?", "Who is Mo?"]
REPLIES = [
    "<think>2+1=3</think><answer>3</answer>",
    "<think>a fox, I read</think> Mo is a fox. ",
    "4",
    "The sun",
    "<think>so 1+1=2</think><answer>2</answer>",
    "<think>a dog?</think> A dog. <think>or</think>\nA cat",
]
SAID = ["Mo is a fox.", "The sun", "A cat"]  # behind the last thought, without blanks around it


def _is_sum(question: str) -> bool:
    if question not in QUESTIONS:
        raise ValueError(f"is_reasoning wants a question, and was asked about {question!r}")
    return question.endswith("=?")


@checker
def rule_and_preference(attempt: Attempt) -> str:
    """Rate reasoning by a rule and everything else by a judge, side by side."""
    judge, rule = _Judge(), _Rule()
    got = attempt(QUESTIONS, REPLIES, _is_sum, rule, judge)
    _check_rule(rule)
    _check_calls(judge)
    _check_order(got, [_reward(i) for i in range(len(QUESTIONS))])
    for kept, what in (([0, 2, 4], "reasoning alone"), ([1, 3], "chats alone"), ([3, 0], "two")):
        judge, rule = _Judge(), _Rule()
        asked, texts = [QUESTIONS[i] for i in kept], [REPLIES[i] for i in kept]
        got = attempt(asked, texts, _is_sum, rule, judge)
        if kept == [0, 2, 4] and judge.calls:
            raise Wrong("the judge was called though there is no chat to rate.")
        expect(got, [_reward(i) for i in kept], f"the rewards of {what}: {asked}")
    return "rules and preferences, each where it belongs, in the order of the questions."


def _reward(i: int) -> float:
    if i % 2 == 0:
        return _Rule()(QUESTIONS[i], REPLIES[i])
    return len(QUESTIONS[i]) / 10 + len(SAID[i // 2]) / 100


def _check_rule(rule: _Rule) -> None:
    for question, answer in rule.calls:
        if question in REPLIES:
            raise Wrong("the rule got answer and question exchanged: the question comes first.")
        if not question.endswith("=?"):
            raise Wrong(f"the rule was asked about {question!r}, which no rule can rate: a chat.")
        if answer not in REPLIES:
            raise Wrong(
                f"the rule read {answer!r}. It should read the whole answer: it looks at the form"
                " as well."
            )


def _check_calls(judge: _Judge) -> None:
    if not judge.calls:
        raise Wrong("the judge was never asked, and three of the six questions are chats.")
    asked = [question for questions, _ in judge.calls for question in questions]
    if any(question.endswith("=?") for question in asked):
        raise Wrong(
            "the judge was asked about sums as well. Rules rate these: a judge that learns can be"
            " fooled, a rule cannot."
        )
    if len(judge.calls) > 1:
        raise Wrong(
            f"the judge was called {len(judge.calls)} times. It is a model: hand it all chats in"
            " one call."
        )
    _check_read(judge.calls[0][1])


def _check_read(read: list[str]) -> None:
    for text, reply in zip(read, REPLIES[1::2], strict=False):
        if text.strip() == reply.partition("</think>")[2].strip() and reply.count("</think>") > 1:
            raise Wrong(
                f"{reply!r} has two thoughts, and the judge read {text!r}. It should read what"
                " stands behind the *last* `</think>`."
            )
        if "</think>" in text:
            raise Wrong(
                f"the judge read {text!r}. It should read the summary alone: what stands behind the"
                " last `</think>`."
            )
    if read != SAID:
        raise Wrong(
            f"the judge read {read}, not {SAID}: what stands behind the thought, or the whole text"
            " if there is none, without blanks around it."
        )


def _check_order(got: Any, want: list[float]) -> None:
    if not isinstance(got, list | tuple):
        raise Wrong(f"return a list of rewards, one per answer; got {describe(got)}")
    rules, scores = want[::2], want[1::2]
    slips = [
        (
            (rules + scores, scores + rules),
            "the rewards are all there, but sorted by kind. Each belongs at the place of its"
            " answer.",
        ),
        (
            (_woven(rules, scores[::-1]),),
            "the scores come in reverse order: the judge's first score is the first chat's.",
        ),
        (
            (_woven(rules, [*scores[:2], scores[0]]), _woven(rules, [scores[2], *scores[1:]])),
            f"{QUESTIONS[1]!r} was asked twice and answered differently, but both answers get the"
            " same score. Keep scores by place, not by question.",
        ),
    ]
    for some, told in slips:
        if list(got) in some:
            raise Wrong(told)
    expect(got, want, f"the rewards of {QUESTIONS}")


def _woven(rules: Sequence[float], scores: Sequence[float]) -> list[float]:
    return [reward for both in zip(rules, scores, strict=True) for reward in both]


# Exercise 5
# --------------------------------------------------------------------------------------------------

Rated = tuple[dict[str, bool], float]


def _rated(right: bool, polite: bool, score: float, slang: bool = False) -> Rated:
    return {"right": right, "polite": polite, "slang": slang}, score


GROUPS: list[tuple[list[Rated], str]] = [
    ([_rated(True, False, 2.0), _rated(False, False, 1.0)], "right"),
    ([_rated(True, False, 1.0), _rated(False, False, 2.0)], "right"),
    ([_rated(False, False, 2.0), _rated(True, False, 1.0), _rated(False, False, 0.0)], "right"),
    (
        [
            _rated(True, True, 1.0), _rated(False, True, 3.0), _rated(False, False, 0.0),
            _rated(True, False, 0.5), _rated(True, False, 2.0, slang=True),
        ],
        "right",
    ),
    (
        [
            _rated(True, True, 4.0), _rated(False, True, 3.0), _rated(False, False, 0.0),
            _rated(True, False, 5.0), _rated(True, False, 2.0),
        ],
        "polite",
    ),
    ([_rated(True, False, 1.0), _rated(False, False, 1.0)], "right"),
    (
        [_rated(False, False, 2.0), _rated(True, False, 2.0), _rated(False, False, 1.0)],
        "right",
    ),
    ([_rated(True, True, 3.0), _rated(False, False, 1.0)], "right"),
    ([_rated(True, True, 3.0), _rated(True, True, 1.0)], "polite"),
    ([], "right"),
    (
        [
            _rated(True, True, 1.0), _rated(True, True, 0.0), _rated(True, True, 9.0),
            _rated(False, True, 0.5), _rated(False, True, 2.0),
        ],
        "right",
    ),
]  # fmt: skip


Chosen = Callable[[int, int], bool]  # whether answer i is compared with answer j


def _wins(
    answers: Sequence[Rated], trait: str, same: Callable, tie: Fraction | None,
    chosen: Chosen = lambda i, j: True,
) -> list[Fraction]:  # fmt: skip
    won = []
    for i in range(len(answers)):
        for j in range(len(answers)):
            (one, a), (other, b) = answers[i], answers[j]
            if one[trait] and not other[trait] and same(one, other, trait) and chosen(i, j):
                won.append(Fraction(1) if a > b else tie if a == b else Fraction(0))
    return [point for point in won if point is not None]


def _same_else(one: dict, other: dict, trait: str) -> bool:
    return {k: v for k, v in one.items() if k != trait} == {
        k: v for k, v in other.items() if k != trait
    }


def _share_won(
    answers: Sequence[Rated], trait: str, same: Callable = _same_else,
    tie: Fraction | None = Fraction(1, 2), nothing: float = 0.5,
    chosen: Chosen = lambda i, j: True,
) -> float:  # fmt: skip
    won = _wins(answers, trait, same, tie, chosen)
    return float(sum(won) / len(won)) if won else nothing


@checker
def one_trait_apart(attempt: Attempt) -> str:
    """Compare the scores of answers that differ in one trait alone."""
    slips = [
        (
            lambda answers, trait: _share_won(answers, trait, lambda *_: True),
            "answers that differ in other traits too are compared. Then a polite right answer"
            " beside a plain wrong one says nothing about which of the two traits the judge likes.",
        ),
        (
            lambda answers, trait: 1 - _share_won(answers, trait),
            "this is the share in which the answer *without* the trait wins.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, tie=Fraction(0)),
            "a tie counts as a defeat. It should count half.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, tie=Fraction(1)),
            "a tie counts as a win. It should count half.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, nothing=0.0),
            "without any pair to compare, nothing is known: return 0.5, a coin.",
        ),
        (
            lambda answers, trait: float(sum(_wins(answers, trait, _same_else, Fraction(1, 2)))),
            "these are the wins, not their share of the pairs.",
        ),
        (
            lambda answers, trait: (
                float(sum(_wins(answers, trait, _same_else, Fraction(1, 2))))
                if _wins(answers, trait, _same_else, Fraction(1, 2))
                else 0.5
            ),
            "these are the wins, not their share of the pairs.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, tie=None),
            "ties are left out. Each should count half a win among the comparisons.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, chosen=lambda i, j: abs(i - j) == 1),
            "only answers that stand side by side are compared. Take every pair.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, chosen=lambda i, j: j == i + 1),
            "only answers that stand side by side are compared. Take every pair.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, chosen=lambda i, j: i < j),
            "only pairs in which the answer with the trait comes first are compared. Take every"
            " pair, in either order.",
        ),
        (
            lambda answers, trait: float(
                next(iter(_wins(answers, trait, _same_else, Fraction(1, 2))), 0.5)
            ),
            "this is the first comparison alone. Take the share over all of them.",
        ),
        (
            lambda answers, trait: 0.5,
            "each comparison is counted from both sides, or from none, so that half of them is"
            " won: count it once, from the side of the answer with the trait.",
        ),
        (
            _share_by_means,
            "the means of two groups are compared. Compare answer with answer, where all *other*"
            " traits are equal.",
        ),
        (
            _mean_of_shares,
            "a share is made of each group of equal other traits, and then the mean of the shares."
            " Every comparison should count the same.",
        ),
        (
            lambda answers, trait: _share_won(answers, trait, _as_many),
            "answers that have as *many* other traits are compared. These must be the same traits.",
        ),
        (
            _share_any_apart,
            "answers that differ in any one trait are compared. It must be `trait` that differs.",
        ),
    ]

    def called(answers: Sequence[Rated], trait: str) -> str:
        return f"the share for {trait!r} among {len(answers)} answers {answers}"

    def plain(got: Any) -> Any:
        if got is None or isinstance(got, str | bool):
            raise Wrong(f"return a share, a number from 0 to 1; got {describe(got)}")
        return got

    cases = [(answers, trait) for answers, trait in GROUPS]
    judge_by_slips(attempt, cases, _share_won, slips, called, 1e-9, plain)
    return "only the trait differs, so only the trait can decide."


def _share_by_means(answers: Sequence[Rated], trait: str) -> float:
    sides = [[s for traits, s in answers if traits[trait] == has] for has in (True, False)]
    if not all(sides):
        return 0.5
    one, other = (Fraction(sum(side)) / len(side) for side in sides)
    return 1.0 if one > other else 0.5 if one == other else 0.0


def _mean_of_shares(answers: Sequence[Rated], trait: str) -> float:
    rest = {str({**traits, trait: None}) for traits, _ in answers}
    groups = [[each for each in answers if str({**each[0], trait: None}) == key] for key in rest]
    wins = [_wins(group, trait, _same_else, Fraction(1, 2)) for group in groups]
    shares = [sum(won) / len(won) for won in wins if won]
    return float(sum(shares) / len(shares)) if shares else 0.5


def _as_many(one: dict, other: dict, trait: str) -> bool:
    return sum(one.values()) == sum(other.values()) + 1


def _share_any_apart(answers: Sequence[Rated], trait: str) -> float:
    won = [
        Fraction(1) if a > b else Fraction(1, 2) if a == b else Fraction(0)
        for one, a in answers
        for other, b in answers
        if one[trait] and sum(one[name] != other[name] for name in one) == 1
    ]
    return float(sum(won) / len(won)) if won else 0.5
