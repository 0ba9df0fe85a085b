"""The checkers of lesson 26 accept right answers and name typical slips."""

import re

from course_lib.experiments.r1_steps import preferred_share
from course_lib.lab.checks import r1 as check
from course_lib.lab.solutions import r1 as solutions
from tests.lab.checks.cases import Case, tests_of


def skeleton_2(a, b): ...


def skeleton_4(a, b, c, d): ...


def skeleton_5(a, b, c, d, e): ...


# The share of a language
# --------------------------------------------------------------------------------------------------


def consistency(text, language, thought=r"<think>(.*?)(?:</think>|$)", flags=re.DOTALL, **others):
    found = re.search(thought, text, flags)
    inside = found[1] if found else ""
    english = len(re.findall(others.get("letters", "[a-zA-Z]+"), inside))
    chinese = len(re.findall(others.get("signs", "[\u4e00-\u9fff]"), inside))
    if not english + chinese:
        return others.get("nothing", 1)
    wanted = {"english": english, "chinese": chinese}[language]
    return others.get("turn", lambda x: x)(wanted / (english + chinese))


def by_characters(text, language):
    _, begin, rest = text.partition("<think>")
    inside = rest.split("</think>")[0] if begin else ""
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in inside)
    english = len("".join(c if c.isascii() and c.isalpha() else " " for c in inside).split())
    counts = {"chinese": chinese, "english": english}
    return counts[language] / (chinese + english) if chinese + english else 1.0


def other_language(text, language):
    return consistency(text, {"english": "chinese", "chinese": "english"}[language])


# Sifting
# --------------------------------------------------------------------------------------------------


def sift_by_loops(texts, faults):
    verdicts, kept = [], False
    for text in texts:
        verdict = next((name for name in faults if faults[name](text)), None)
        if verdict is None:
            verdict, kept = ("one too many" if kept else "kept"), True
        verdicts.append(verdict)
    return tuple(verdicts)


def sift_last_fault(texts, faults):
    return sift_by_loops(texts, dict(reversed(faults.items())))


def sift_all_good(texts, faults):
    return [each.replace("one too many", "kept") for each in sift_by_loops(texts, faults)]


def sift_kept_texts(texts, faults):
    verdicts = sift_by_loops(texts, faults)
    return [text for text, each in zip(texts, verdicts, strict=True) if each == "kept"]


def sift_until_kept(texts, faults):
    verdicts = list(sift_by_loops(texts, faults))
    after = verdicts.index("kept") + 1 if "kept" in verdicts else len(verdicts)
    return verdicts[:after] + ["one too many"] * (len(verdicts) - after)


def sift_without_dropped(texts, faults):
    return [each for each in sift_by_loops(texts, faults) if each == "kept"]


# Tokens and examples
# --------------------------------------------------------------------------------------------------


def by_ratio(n, share, reasoning, other):
    if share == 1:
        return [n, 0]
    ratio = share / (1 - share) * other / reasoning
    first = int(n * ratio / (1 + ratio) + 0.5)
    return [first, n - first]


# Rules and preferences
# --------------------------------------------------------------------------------------------------


def rated(questions, answers, is_reasoning, rule, judge, read=None):
    rewards = [None] * len(questions)
    chats = [i for i in range(len(questions)) if not is_reasoning(questions[i])]
    read = read or (lambda text: text.split("</think>")[-1].strip())
    if chats:
        scores = judge([questions[i] for i in chats], [read(answers[i]) for i in chats])
        for i, score in zip(chats, scores, strict=True):
            rewards[i] = score
    for i, question in enumerate(questions):
        if is_reasoning(question):
            rewards[i] = rule(question, answers[i])
    return rewards


def judged_one_by_one(questions, answers, is_reasoning, rule, judge):
    return [
        rule(q, a) if is_reasoning(q) else judge([q], [a.split("</think>")[-1].strip()])[0]
        for q, a in zip(questions, answers, strict=True)
    ]


def judged_all(questions, answers, is_reasoning, rule, judge):
    scores = judge(questions, [a.split("</think>")[-1].strip() for a in answers])
    return [
        rule(q, a) if is_reasoning(q) else s
        for q, a, s in zip(questions, answers, scores, strict=True)
    ]


def sorted_by_kind(questions, answers, is_reasoning, rule, judge):
    both = rated(questions, answers, is_reasoning, rule, judge)
    sums = [r for q, r in zip(questions, both, strict=True) if is_reasoning(q)]
    return sums + [r for q, r in zip(questions, both, strict=True) if not is_reasoning(q)]


# One trait apart
# --------------------------------------------------------------------------------------------------


def apart(answers, trait, same=True, tie=0.5, nothing=0.5, invert=False):
    won = []
    for one, score in answers:
        for other, other_score in answers:
            alike = {**one, trait: 0} == {**other, trait: 0} or not same
            if one[trait] and not other[trait] and alike:
                won.append(1 if score > other_score else tie if score == other_score else 0)
    share = sum(won) / len(won) if won else nothing
    return 1 - share if invert else share


CASES = {
    check.language_consistency: Case(
        solutions.language_consistency_solution,
        skeleton_2,
        [consistency, by_characters],
        [
            (lambda t, w: consistency(t, w, thought="(.*)"), "tags are no words"),
            (lambda t, w: consistency(t, w, nothing=0.0), "none is in another language"),
            (lambda t, w: consistency(t, w, turn=lambda x: float(x == 1)), "the *share* of words"),
            (lambda t, w: consistency(t, w, signs="[\u4e00-\u9fff]+"), "a word of its own"),
            (lambda t, w: consistency(t, w, letters="[a-zA-Z]"), "not one per letter"),
            (lambda t, w: consistency(t, w, letters="[a-z]+"), "capital letters"),
            (lambda t, w: consistency(t, w, flags=0), "re.DOTALL"),
            (other_language, "*other* language"),
            (lambda t, w: consistency(t, w, thought="<think>(.*?)</think>"), "breaks off"),
            (lambda t, w: str(consistency(t, w)), "a share is a number"),
        ],
    ),
    check.sift: Case(
        solutions.sift_solution,
        skeleton_2,
        [sift_by_loops],
        [
            (sift_last_fault, "two faults"),
            (sift_all_good, "one too many"),
            (sift_kept_texts, "not the texts"),
            (sift_until_kept, "wherever it stands"),
            (sift_without_dropped, "dropped ones too"),
            (lambda texts, faults: "kept", "return a list"),
        ],
    ),
    check.examples_for_share: Case(
        solutions.examples_for_share_solution,
        skeleton_4,
        [by_ratio],
        [
            (lambda n, s, r, o: (round(n * s), n - round(n * s)), "share of the *examples*"),
            (lambda n, s, r, o: by_ratio(n, s, o, r), "lengths are exchanged"),
            (lambda n, s, r, o: by_ratio(n, s, r, o)[::-1], "reasoning comes first"),
            (lambda n, s, r, o: (s, 1 - s), "not counts"),
            (lambda n, s, r, o: by_ratio(n, s, r, o)[0], "return two counts"),
        ],
    ),
    check.rule_and_preference: Case(
        solutions.rule_and_preference_solution,
        skeleton_5,
        [rated],
        [
            (judged_one_by_one, "in one call"),
            (judged_all, "about sums as well"),
            (sorted_by_kind, "sorted by kind"),
            (lambda *five: rated(*five, read=str.strip), "the summary alone"),
            (
                lambda *five: rated(*five, read=lambda text: text.split("</think>")[-1]),
                "without blanks",
            ),
            (
                lambda questions, answers, is_reasoning, rule, judge: [
                    rule(q, a) if is_reasoning(q) else 0.0
                    for q, a in zip(questions, answers, strict=True)
                ],
                "never asked",
            ),
        ],
    ),
    check.one_trait_apart: Case(
        solutions.one_trait_apart_solution,
        skeleton_2,
        [apart],
        [
            (lambda a, t: apart(a, t, same=False), "differ in other traits too"),
            (lambda a, t: apart(a, t, invert=True), "*without* the trait"),
            (lambda a, t: apart(a, t, tie=0), "as a defeat"),
            (lambda a, t: apart(a, t, tie=1), "counts as a win"),
            (lambda a, t: apart(a, t, nothing=0.0), "0.5, a coin"),
            (lambda a, t: str(apart(a, t)), "return a share"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_exercise_is_the_librarys_measure():
    for answers, trait in check.GROUPS:
        scores = [score for _, score in answers]
        theirs = preferred_share([answers], trait)
        if len(set(scores)) == len(scores) and theirs["pairs"]:
            mine = solutions.one_trait_apart_solution(answers, trait)
            assert round(mine, 4) == theirs["share"]
