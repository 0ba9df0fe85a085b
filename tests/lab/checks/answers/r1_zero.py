"""Answers to the exercises of lesson 25, written from their statements alone."""

import ast
import re
from fractions import Fraction
from itertools import accumulate, combinations
from math import comb, factorial, prod

from tests.lab.checks.answers.table import Answers, Slip

THINK, END_THINK, ANSWER, END_ANSWER = "<think>", "</think>", "<answer>", "</answer>"

# --- rule_accuracy ---


def accuracy_by_findall(text, truth):
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    if not found and THINK not in text:
        found = re.findall(r"[0-9]+", text)
    return float(bool(found) and found[-1].strip() == truth)


def accuracy_by_partition(text, truth):
    head, mark, _ = text.rpartition(END_ANSWER)
    if mark and ANSWER in head:
        return 1.0 if head.rpartition(ANSWER)[2].strip() == truth else 0.0
    if THINK in text:
        return 0.0
    runs = "".join(c if c in "0123456789" else " " for c in text).split()
    return 1.0 if runs and runs[-1] == truth else 0.0


def accuracy_as_truth_value(text, truth):
    *_, last = [None, *re.finditer(r"<answer>([\s\S]*?)</answer>", text)]
    if last:
        return last[1].strip() == truth
    last = re.search(r"(\d+)\D*\Z", text)
    return THINK not in text and last is not None and last[1] == truth


def accuracy(
    which=-1,
    flags=re.DOTALL,
    strip=str.strip,
    dots=".*?",
    guard=True,
    digits="[0-9]+",
    same=lambda answer, truth: answer == truth,
    reward=(0.0, 1.0),
):
    """A right answer but for the pair, the blanks, the thought, the digits, or the comparison."""

    def rule_accuracy(text, truth):
        found = re.findall(f"<answer>({dots})</answer>", text, flags)
        if not found and not (guard and THINK in text):
            found = re.findall(digits, text)
        right = bool(found) and same(strip(found[which]), truth)
        return reward[right]

    return rule_accuracy


def accuracy_anywhere(text, truth):
    return float(truth in text)


def accuracy_of_last_number(text, truth):
    return float(re.findall(r"[0-9]+", text)[-1:] == [truth])


def accuracy_of_tags_alone(text, truth):
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return float(bool(found) and found[-1].strip() == truth)


def accuracy_that_falls_back(text, truth):
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return float([a.strip() for a in found][-1:] == [truth]) or float(
        THINK not in text and re.findall(r"[0-9]+", text)[-1:] == [truth]
    )


def accuracy_that_crashes(text, truth):
    if ANSWER in text:
        return float(re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)[-1].strip() == truth)
    return float(THINK not in text and re.findall("[0-9]+", text)[-1] == truth)


def accuracy_of_numbers_in_tags(text, truth):
    found = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    if found:
        return float(re.findall("[0-9]+", found[-1])[-1:] == [truth])
    return float(THINK not in text and re.findall("[0-9]+", text)[-1:] == [truth])


def accuracy_of_open_tags(text, truth):
    if ANSWER in text:
        return float(text.rpartition(ANSWER)[2].partition(END_ANSWER)[0].strip() == truth)
    return float(THINK not in text and re.findall("[0-9]+", text)[-1:] == [truth])


def accuracy_without_return(text, truth):
    accuracy_by_findall(text, truth)


RULE_ACCURACY = Answers(
    right=[accuracy_by_findall, accuracy_by_partition, accuracy_as_truth_value],
    wrong=[
        Slip(
            accuracy_anywhere, "the truth anywhere in the text", r"in text|stands \*in\*|anywhere"
        ),
        Slip(
            accuracy_of_last_number,
            "the last number, tags or none",
            r"thought|think|tag|breaks off|last number|pair",
        ),
        Slip(accuracy_of_tags_alone, "no answer without tags", r"without|no tag|run of digits"),
        Slip(accuracy(which=0), "the first in place of the last", r"\blast\b", "blank"),
        Slip(accuracy(strip=str), "blanks stay around the answer", r"blank|space|strip", "first"),
        Slip(accuracy(flags=0), "a dot that doesn't match new lines", r"new line|line|DOTALL"),
        Slip(
            accuracy(dots=".*"),
            "a greedy pattern",
            r"greed|last|\*\?|two pairs|several|first .*to",
            "blank",
        ),
        Slip(
            accuracy(guard=False),
            "digits of a thought that breaks off",
            r"thought|think|breaks off",
            "last pair",
        ),
        Slip(accuracy(digits="[0-9]"), "one digit in place of a run", r"run|19|digit|whole"),
        Slip(
            accuracy(same=lambda answer, truth: truth in answer),
            "the truth somewhere within the answer",
            r"19|part|equal|contain|within|whole|inside",
        ),
        Slip(
            accuracy(same=lambda answer, truth: answer.endswith(truth)),
            "the end of the answer compared",
            r"19|part|equal|end|whole",
        ),
        Slip(
            accuracy(same=lambda answer, truth: answer == int(truth)),
            "a string compared with a number",
            r"int|string|str|type|number|never",
        ),
        Slip(accuracy_that_falls_back, "digits where the tags' answer is wrong", r"tag|pair"),
        Slip(
            accuracy_that_crashes,
            "an error where there is no digit or no end",
            r"IndexError|index|no digit|nothing|no answer|none",
        ),
        Slip(
            accuracy_of_numbers_in_tags,
            "the last number between the tags",
            r"between|string|as it stands|whole|what stands",
        ),
        Slip(
            accuracy_of_open_tags,
            "a tag that never ends taken as an answer",
            r"</answer>|pair|clos|ends?\b|breaks off|without",
        ),
        Slip(accuracy(reward=(-1.0, 1.0)), "minus 1 where wrong", r"-1|0\.0|else 0|\b0\b"),
        Slip(accuracy_without_return, "nothing is returned", r"return|None"),
    ],
)

# --- rule_format ---


def format_by_pieces(text):
    pieces = re.split(r"(</?(?:think|answer)>)", text)
    if pieces[1::2] != [THINK, END_THINK, ANSWER, END_ANSWER]:
        return 0.0
    before, thought, between, answer, behind = (piece.strip() for piece in pieces[::2])
    return float(bool(thought and answer) and not (before or between or behind))


def format_by_counts(text):
    if any(text.count(tag) != 1 for tag in (THINK, END_THINK, ANSWER, END_ANSWER)):
        return 0.0
    found = re.fullmatch(r"\s*<think>(.*)</think>\s*<answer>(.*)</answer>\s*", text, re.DOTALL)
    return 1.0 if found and found[1].strip() and found[2].strip() else 0.0


def format_by_lookahead(text):
    inside = r"(?=\s*\S)(?:(?!</?(?:think|answer)>)[\s\S])*"
    filled = rf"\s*<think>{inside}</think>\s*<answer>{inside}</answer>\s*"
    found = re.fullmatch(filled, text)
    return found is not None and all(
        re.search(rf"<{tag}>\s*</{tag}>", text) is None for tag in ("think", "answer")
    )


def form(tags=True, outside=(0, 1, 2), filled=(0, 1), strip=str.strip):
    """A right answer but for the tags, what may stand outside, or what must be filled."""

    def rule_format(text):
        pieces = re.split(r"(</?(?:think|answer)>)", text)
        wanted = [THINK, END_THINK, ANSWER, END_ANSWER]
        if tags and pieces[1::2] != wanted:
            return 0.0
        if len(pieces) < 9:
            return 0.0
        loose, held = pieces[::4], pieces[2::4]
        good = all(strip(held[i]) for i in filled) and not any(strip(loose[i]) for i in outside)
        return float(good)

    return rule_format


def format_of_pattern(pattern, flags=re.DOTALL, match=re.fullmatch):
    return lambda text: float(bool(match(pattern, text, flags)))


def format_on_one_line(text):
    found = re.fullmatch(r"\s*<think>(.*)</think>\s*<answer>(.*)</answer>\s*", text)
    return format_by_counts(text) if found else 0.0


def format_of_presence(text):
    return float(all(tag in text for tag in (THINK, END_THINK, ANSWER, END_ANSWER)))


def format_of_counts(text):
    return float(all(text.count(tag) == 1 for tag in (THINK, END_THINK, ANSWER, END_ANSWER)))


def format_in_any_order(text):
    pieces = re.split(r"(</?(?:think|answer)>)", text)
    if sorted(pieces[1::2]) != sorted([THINK, END_THINK, ANSWER, END_ANSWER]):
        return 0.0
    before, first, between, second, behind = (piece.strip() for piece in pieces[::2])
    return float(bool(first and second) and not (before or between or behind))


def format_with_repeats(text):
    text = text.strip()
    begins = text.startswith(THINK) and text.endswith(END_ANSWER)
    return float(begins and bool(re.search(r"[^\s>]\s*</think>\s*<answer>\s*[^\s<]", text)))


def format_in_shares(text):
    return sum(text.count(tag) == 1 for tag in (THINK, END_THINK, ANSWER, END_ANSWER)) / 4


RULE_FORMAT = Answers(
    right=[format_by_pieces, format_by_counts, format_by_lookahead],
    wrong=[
        Slip(
            format_of_pattern(r"\s*<think>.*\S.*</think>\s*<answer>.*\S.*</answer>\s*"),
            "a pattern that tags match too",
            r"once|twice|two|repeat|tags? (inside|within)|exactly",
            "blank|new line|empty",
        ),
        Slip(
            format_of_pattern(r"\s*<think>.*?\S.*?</think>\s*<answer>.*?\S.*?</answer>\s*"),
            "a pattern that isn't greedy, but matches tags",
            r"once|twice|two|repeat|tags? (inside|within)|exactly",
            "new line",
        ),
        Slip(
            format_of_pattern(
                r"\s*<think>[^<]*[^<\s][^<]*</think>\s*<answer>[^<]*[^<\s][^<]*</answer>\s*"
            ),
            "no sign < may stand inside",
            r"<|smaller|less",
            "once|twice",
        ),
        Slip(format_on_one_line, "no new line in a thought", r"line", "once|twice"),
        Slip(format_of_presence, "all tags occur", r"order|once|nothing else|outside|in front"),
        Slip(format_of_counts, "each tag occurs once", r"order|nothing else|outside|in front"),
        Slip(format_in_any_order, "an answer before its thought", r"order|before|first|then"),
        Slip(form(filled=()), "blank thoughts and answers pass", r"blank|empty"),
        Slip(form(filled=(1,)), "a blank thought passes", r"thought", "answer is blank"),
        Slip(form(filled=(0,)), "a blank answer passes", r"answer", "thought is blank"),
        Slip(
            form(strip=lambda piece: piece),
            "blanks around the tags matter, blanks inside fill",
            r"blank|new line|space",
            "order|once",
        ),
        Slip(form(outside=()), "text outside the tags passes", r"in front|outside|before"),
        Slip(form(outside=(1, 2)), "text before the thought passes", r"before|in front|outside"),
        Slip(form(outside=(0, 2)), "text between the two passes", r"between", "behind"),
        Slip(form(outside=(0, 1)), "text behind the answer passes", r"behind|after|outside"),
        Slip(format_with_repeats, "begin and end are looked at", r"once|twice|exactly|repeat|two"),
        Slip(format_in_shares, "a quarter for each tag", r"0\.|0 or 1|quarter|1\.0"),
        Slip(lambda text: 1 - format_by_pieces(text), "turned round", r"got 0, not 1"),
    ],
)

# --- split_change ---


def split_by_formula(before, after):
    share, worked, direct = before
    new_share, new_worked, new_direct = after
    composition = (new_share - share) * (worked - direct)
    growth = new_share * (new_worked - worked) + (1 - new_share) * (new_direct - direct)
    return composition, growth


def split_by_means(before, after):
    (p, w, d), (q, v, e) = before, after
    mixed = q * w + (1 - q) * d  # the old kinds by the new shares
    return [mixed - (p * w + (1 - p) * d), q * v + (1 - q) * e - mixed]


def split_exactly(before, after):
    p, w, d = map(Fraction, before)
    q, v, e = map(Fraction, after)
    total = q * v + (1 - q) * e - p * w - (1 - p) * d
    composition = (q - p) * (w - d)
    return float(composition), float(total - composition)


def split(composition, growth, both=lambda *parts: parts):
    """An answer of two formulas in p, w, d before and q, v, e after."""

    def split_change(before, after):
        return both(composition(*before, *after), growth(*before, *after))

    return split_change


def composed(p, w, d, q, v, e):
    return (q - p) * (w - d)


def grown(p, w, d, q, v, e):
    return q * (v - w) + (1 - q) * (e - d)


SPLIT_CHANGE = Answers(
    right=[split_by_formula, split_by_means, split_exactly],
    wrong=[
        Slip(split(grown, composed), "growth first", r"order|first|swap|exchang"),
        Slip(
            split(
                lambda p, w, d, q, v, e: (q - p) * (v - e),
                lambda p, w, d, q, v, e: p * (v - w) + (1 - p) * (e - d),
            ),
            "kinds after and shares before",
            r"before|after|old|new",
            "order|first",
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: p * (v - w) + (1 - p) * (e - d)),
            "growth by the shares before",
            r"share",
            "composition (is|should)",
        ),
        Slip(
            split(lambda p, w, d, q, v, e: (q - p) * (v - e), grown),
            "composition by the kinds after",
            r"composition|before|kinds",
            "growth (is|should)",
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: q * (v - w)),
            "the direct ones don't grow",
            r"direct",
            "order|first",
        ),
        Slip(
            split(lambda p, w, d, q, v, e: (q - p) * w, grown),
            "composition without the direct ones",
            r"direct|w - d|worked",
            "order|growth (is|should)",
        ),
        Slip(
            split(lambda p, w, d, q, v, e: (p - q) * (w - d), grown),
            "the change of the share the other way round",
            r"sign|after - before|other way|minus|turned|before from",
            "order",
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: -grown(p, w, d, q, v, e)),
            "growth as a fall",
            r"sign|after - before|other way|minus|turned|before from",
            "composition (is|should)",
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: (v - w) + (e - d)),
            "growth not weighed by shares",
            r"share|weigh",
            "composition (is|should)",
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: (v - w + e - d) / 2),
            "both kinds weigh the same",
            r"share|weigh|half",
            "composition (is|should)",
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: (1 - q) * (v - w) + q * (e - d)),
            "the shares of the kinds exchanged",
            r"share|exchang|swap|worked",
            "composition (is|should)",
        ),
        Slip(
            split(composed, grown, lambda a, b: (a / (a + b or 1), b / (a + b or 1))),
            "shares of the change",
            r"share|fraction|divid|add up|sum",
        ),
        Slip(
            split(composed, grown, lambda a, b: a + b), "the whole change", r"two|pair|tuple|both"
        ),
        Slip(
            split(composed, lambda p, w, d, q, v, e: q * v + (1 - q) * e - p * w - (1 - p) * d),
            "the whole change as growth",
            r"whole|total|all of|composition|add up|sum",
        ),
        Slip(split(composed, grown, lambda a, b: (round(a), round(b))), "rounded", r"round|exact"),
    ],
)

# --- read_tries ---

RUN = r"[0-9]+(?:[+-][0-9]+=[0-9]+)+"


def tries_by_findall(text):
    tries = []
    for run in re.findall(RUN, text):
        expression = re.sub(r"=[0-9]+", "", run)
        result = int(run.rsplit("=", 1)[1])
        made = sum(map(int, re.findall(r"[+-]?[0-9]+", expression)))
        tries.append((expression, result, made == result))
    return tries


def tries_by_steps(text):
    found = []
    for match in re.finditer(RUN, text):
        first = re.match(r"\d+", match[0])[0]
        steps = re.findall(r"([+-])(\d+)=(\d+)", match[0])
        value = int(first)
        for sign, number, _ in steps:
            value = value + int(number) if sign == "+" else value - int(number)
        result = int(steps[-1][2])
        found.append((first + "".join(s + n for s, n, _ in steps), result, value == result))
    return found


def tries_by_tree(text):
    def value(node):
        if isinstance(node, ast.Constant):
            return node.value
        right = value(node.right)
        return value(node.left) + (right if isinstance(node.op, ast.Add) else -right)

    entries = []
    for run in re.findall(RUN, text):
        said = int(re.findall(r"[0-9]+", run)[-1])
        expression = "".join(re.split(r"=[0-9]+", run))
        entries.append([expression, said, value(ast.parse(expression, mode="eval").body) == said])
    return [tuple(entry) for entry in entries]


def summed(expression):
    return sum(map(int, re.findall(r"[+-]?[0-9]+", expression)))


def tries(
    run=RUN,
    drop=r"=[0-9]+",
    last=lambda run: int(run.rpartition("=")[2]),
    value=summed,
    entry=lambda expression, result, good: (expression, result, good),
    pick=lambda found: found,
):
    """A right answer but for the run, the expression, the result, the sum, or the entry."""

    def read_tries(text):
        found = []
        for one in re.findall(run, text):
            expression = re.sub(drop, "", one)
            result = last(one)
            found.append(entry(expression, result, value(expression) == int(result)))
        return pick(found)

    return read_tries


def tries_with_right_steps(text):
    found = []
    for run in re.findall(RUN, text):
        expression = re.sub(r"=[0-9]+", "", run)
        results = [int(n) for n in re.findall(r"=([0-9]+)", run)]
        wanted = list(accumulate(map(int, re.findall(r"[+-]?[0-9]+", expression))))[1:]
        found.append((expression, results[-1], results == wanted))
    return found


def tries_with_last_step(text):
    found = []
    for run in re.findall(RUN, text):
        before, number, said = re.findall(r"([0-9]+)([+-][0-9]+)=([0-9]+)$", run)[0]
        expression = re.sub(r"=[0-9]+", "", run)
        found.append((expression, int(said), int(before) + int(number) == int(said)))
    return found


def tries_that_all_say_true(text):
    return [(expression, result, True) for expression, result, _ in tries_by_findall(text)]


READ_TRIES = Answers(
    right=[tries_by_findall, tries_by_steps, tries_by_tree],
    wrong=[
        Slip(tries_that_all_say_true, "every try is said to be right", r"called right|True|False"),
        Slip(
            tries(entry=lambda expression, result, good: (expression, result, not good)),
            "the truth value turned round",
            r"True|False|turned|opposite",
            "expression",
        ),
        Slip(
            tries(last=lambda run: run.rpartition("=")[2]),
            "the result as a string",
            r"int|string|whole number|str",
        ),
        Slip(
            tries(last=lambda run: int(run.split("=")[1].split("+")[0].split("-")[0])),
            "the first result",
            r"last result|first",
        ),
        Slip(
            tries(entry=lambda expression, result, good: (expression, summed(expression), good)),
            "what it makes in place of what it says",
            r"last result|what (the text|the try|it) says|says|written|stands|real",
        ),
        Slip(tries(drop="="), "the results stay in the expression", r"result|without"),
        Slip(tries(drop=r"=[0-9]"), "one digit of a result is deleted", r"digit|result"),
        Slip(
            tries(drop=r"=.*"),
            "everything behind the first = is deleted",
            r"first|step|every|all|rest",
        ),
        Slip(
            tries(run=r"[0-9]+[+-][0-9]+=[0-9]+"),
            "each step as a try of its own",
            r"step|run|one try",
        ),
        Slip(tries(run=r"[0-9](?:[+-][0-9]=[0-9])+"), "numbers of one digit", r"digit"),
        Slip(tries(run=r"[0-9]+(?:[+][0-9]+=[0-9]+)+"), "only plus", r"minus|-|sign"),
        Slip(
            tries(run=r"[0-9]+(?:[+-][0-9]+=[0-9]+){2,}"),
            "at least two steps",
            r"one step|single step|at least once|two",
        ),
        Slip(
            tries(
                run=r"[0-9]+(?:[+-][0-9]+=[0-9]+)*", last=lambda r: int(re.findall(r"\d+", r)[-1])
            ),
            "bare numbers are tries too",
            r"only written down|nothing is worked out",
        ),
        Slip(
            tries_with_right_steps,
            "every step must be right",
            r"step|really makes|last result|in between|on the way",
        ),
        Slip(
            tries_with_last_step,
            "only the last step is checked",
            r"step|whole expression|really makes|earlier|on the way",
        ),
        Slip(
            tries(value=lambda expression: sum(map(int, re.findall("[0-9]+", expression)))),
            "signs are lost in the sum",
            r"sign|minus|add|subtract",
        ),
        Slip(
            tries(entry=lambda expression, result, good: (expression, good, result)),
            "truth and result exchanged",
            r"order|exchang|swap|second|third|result",
        ),
        Slip(
            tries(pick=lambda found: [entry for entry in found if entry[2]]),
            "only the right tries are returned",
            r"each try|every|all|missing|wrong|\d tries|entr",
        ),
        Slip(
            tries(pick=lambda found: found[-1] if found else None),
            "only the last try is returned",
            r"list|each try|every|all",
        ),
        Slip(
            tries(pick=lambda found: list(dict.fromkeys(found))),
            "the same try counts once",
            r"twice|each try|same|again|repeat",
        ),
    ],
)

# --- pass_at_k ---


def pass_by_comb(n, right, k):
    return 1 - comb(n - right, k) / comb(n, k)


def pass_by_product(n, right, k):
    if n - right < k:
        return 1.0
    return 1.0 - prod(1.0 - k / i for i in range(n - right + 1, n + 1))


def pass_by_draws(n, right, k):
    all_wrong = Fraction(1)
    for i in range(k):
        all_wrong *= Fraction(max(0, n - right - i), n - i)
    return 1 - all_wrong


def pass_with_putting_back(n, right, k):
    return 1 - (1 - right / n) ** k


def pass_by_factorials(n, right, k):
    wrong = n - right
    return 1 - factorial(wrong) * factorial(n - k) / (factorial(wrong - k) * factorial(n))


def pass_by_choices(n, right, k):
    draws = list(combinations(range(n), k))
    return sum(all(i < right for i in draw) for draw in draws) / len(draws)


PASS_AT_K = Answers(
    right=[pass_by_comb, pass_by_product, pass_by_draws],
    wrong=[
        Slip(pass_with_putting_back, "draws put back", r"put|back|replac|without", "all wrong"),
        Slip(
            lambda n, right, k: comb(n - right, k) / comb(n, k),
            "the probability that all are wrong",
            r"all .*wrong|1 -|one minus|from 1",
        ),
        Slip(
            lambda n, right, k: comb(right, k) / comb(n, k),
            "the probability that all are right",
            r"all\*? .*right|at least one",
        ),
        Slip(
            lambda n, right, k: 1 - comb(right, k) / comb(n, k),
            "right in place of wrong ones",
            r"n - right|wrong|at least one",
        ),
        Slip(lambda n, right, k: right / n, "pass@1 for every k", r"pass@1|\bk\b|one answer"),
        Slip(lambda n, right, k: min(1.0, k * right / n), "k times the share", r"\bk\b|times"),
        Slip(
            pass_by_factorials,
            "factorials, where fewer are wrong than drawn",
            r"ValueError|factorial|fewer|certain|must be 1|draw",
        ),
        Slip(
            lambda n, right, k: float(right > 0), "whether any of the n is right", r"\bk\b|any|draw"
        ),
        Slip(
            lambda n, right, k: 1 - comb(n - right, k) // comb(n, k),
            "a whole quotient",
            r"//|whole|round|0 or 1|int",
        ),
        Slip(
            lambda n, right, k: right * comb(n - right, k - 1) / comb(n, k),
            "exactly one right",
            r"exactly|at least|only one|just one",
        ),
        Slip(
            lambda n, right, k: 1 - comb(n - right, k) / comb(n, k - 1),
            "one draw too few",
            r"comb|draws|\bk\b",
        ),
        Slip(
            lambda n, right, k: 1 - comb(n - right, min(k, n - right)) / comb(n, k),
            "no more drawn than there are wrong ones",
            r"fewer|certain|must be 1|more .*draw|draw.* more|always|0 where",
        ),
        Slip(pass_by_choices, "all of the draw must be right", r"all\*? .*right|at least one"),
        Slip(lambda n, right, k: 100 * pass_by_comb(n, right, k), "per cent", r"100|per ?cent|%"),
        Slip(lambda n, right, k: round(pass_by_comb(n, right, k), 1), "rounded", r"round|exact"),
    ],
)

ANSWERS = {
    "rule_accuracy": RULE_ACCURACY,
    "rule_format": RULE_FORMAT,
    "split_change": SPLIT_CHANGE,
    "read_tries": READ_TRIES,
    "pass_at_k": PASS_AT_K,
}
