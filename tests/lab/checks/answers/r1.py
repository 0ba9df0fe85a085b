"""Answers to the exercises of lesson 26, written from their statements alone."""

import re
from collections import defaultdict
from fractions import Fraction
from itertools import permutations, product
from math import ceil

from tests.lab.checks.answers.table import Answers, Slip

THINK, END_THINK = "<think>", "</think>"
KEPT, MORE = "kept", "one too many"

# --- sift ---


def sift_by_lists(texts, faults):
    verdicts = []
    for text in texts:
        found = [name for name, has in faults.items() if has(text)]
        verdicts.append(found[0] if found else MORE if KEPT in verdicts else KEPT)
    return verdicts


def sift_by_next(texts, faults):
    free = iter([KEPT])
    return [
        next((name for name in faults if faults[name](text)), None) or next(free, MORE)
        for text in texts
    ]


def sift_by_passes(texts, faults):
    verdicts = [None for _ in texts]
    for name, has in reversed(faults.items()):
        verdicts = [name if has(t) else v for t, v in zip(texts, verdicts, strict=True)]
    clean = [i for i, verdict in enumerate(verdicts) if verdict is None]
    for i in clean:
        verdicts[i] = KEPT if i == clean[0] else MORE
    return verdicts


def sifting(pick=lambda found: found[0], clean=None, has_fault=bool):
    """A right answer but for which fault is named, what is clean, or what a text without gets."""
    clean = clean or (lambda i, texts, verdicts: MORE if KEPT in verdicts else KEPT)

    def sift(texts, faults):
        verdicts = []
        for i, text in enumerate(texts):
            found = [name for name, has in faults.items() if has_fault(has(text))]
            verdicts.append(pick(found) if found else clean(i, texts, verdicts))
        return verdicts

    return sift


def sift_that_keeps_the_last(texts, faults):
    return sift_by_lists(list(texts)[::-1], faults)[::-1]


def sift_that_looks_for_kept_first(texts, faults):
    verdicts = []
    for text in texts:
        found = [name for name, has in faults.items() if has(text)]
        verdicts.append(MORE if KEPT in verdicts else found[0] if found else KEPT)
    return verdicts


def sift_by_text(texts, faults):
    verdicts = dict(zip(reversed(texts), reversed(sift_by_lists(texts, faults)), strict=True))
    return [verdicts[text] for text in texts]


def sift_to_texts(texts, faults):
    return [text for text in texts if not any(has(text) for has in faults.values())][:1]


def sift_that_crashes(texts, faults):
    verdicts = []
    for text in texts:
        found = [name for name, has in faults.items() if has(text)]
        verdicts.append(found[0] or (MORE if KEPT in verdicts else KEPT))
    return verdicts


def sift_that_stops(texts, faults):
    verdicts = sift_by_lists(texts, faults)
    return verdicts[: verdicts.index(KEPT) + 1] if KEPT in verdicts else verdicts


def sift_without_return(texts, faults):
    sift_by_lists(texts, faults)


def only_equal_ones(i, texts, verdicts):
    return MORE if texts[i] in texts[:i] else KEPT


def only_next_ones(i, texts, verdicts):
    return MORE if verdicts[-1:] == [KEPT] else KEPT


SIFT = Answers(
    right=[sift_by_lists, sift_by_next, sift_by_passes],
    wrong=[
        Slip(sifting(pick=lambda found: found[-1]), "the last fault", r"\bfirst\b|last"),
        Slip(sifting(pick=min), "the first fault by the alphabet", r"order|alphabet|first"),
        Slip(sifting(pick=list), "all faults in a list", r"list|all|first|one name|several"),
        Slip(sifting(pick=", ".join), "all faults in a text", r"all|first|one name|several|join"),
        Slip(
            sifting(clean=lambda i, texts, verdicts: KEPT),
            "every text without a fault is kept",
            r"one too many|only one|second|further|once",
        ),
        Slip(
            sifting(clean=lambda i, texts, verdicts: MORE if i else KEPT),
            "kept only if it is the first of all",
            r"first|before|kept|none",
        ),
        Slip(sifting(clean=only_equal_ones), "one too many only if equal", r"too many|further|one"),
        Slip(
            sifting(clean=only_next_ones),
            "looks only at the verdict just before",
            r"before|so far|earlier|any|kept",
        ),
        Slip(sift_that_keeps_the_last, "the last one is kept", r"\bfirst\b|last", "fault.*last"),
        Slip(sift_that_looks_for_kept_first, "a fault behind the kept one isn't named", r"fault"),
        Slip(sift_by_text, "equal texts get one verdict", r"equal|same|twice|each text|again"),
        Slip(sift_to_texts, "the text that is kept", r"verdict|each text|every text|texts?\b"),
        Slip(sift_that_crashes, "an error where there is no fault", r"IndexError|without|no fault"),
        Slip(sift_that_stops, "stops at the one kept", r"each|every|all|stop|verdict|long|length"),
        Slip(
            sifting(has_fault=lambda found: not found),
            "the fault named where there is none",
            r"fault|not|True",
        ),
        Slip(sift_without_return, "nothing is returned", r"return|None"),
    ],
)

# --- language_consistency ---

ENGLISH, CHINESE = "[A-Za-z]+", "[\u4e00-\u9fff]"


def consistency_by_findall(text, language):
    thought = text.partition(THINK)[2].partition(END_THINK)[0]
    counts = {
        "english": len(re.findall(ENGLISH, thought)),
        "chinese": len(re.findall(CHINESE, thought)),
    }
    total = sum(counts.values())
    return counts[language] / total if total else 1.0


def consistency_by_one_pattern(text, language):
    found = re.search(r"<think>(.*?)(?:</think>|\Z)", text, re.DOTALL)
    words = re.findall(r"[a-z]+|[\u4e00-\u9fff]", found[1] if found else "", re.IGNORECASE | re.A)
    fits = [word.isascii() == (language == "english") for word in words]
    return sum(fits) / len(fits) if fits else 1


def consistency_by_letters(text, language):
    start = text.find(THINK)
    thought = text[start + len(THINK) :] if start >= 0 else ""
    thought = thought.split(END_THINK)[0]
    words, before = [], ""
    for c in thought:
        if c.isascii() and c.isalpha() and not (before.isascii() and before.isalpha()):
            words.append("english")
        if 0x4E00 <= ord(c) <= 0x9FFF:
            words.append("chinese")
        before = c
    return float(Fraction(words.count(language), len(words))) if words else 1.0


def consistency(
    english=ENGLISH,
    chinese=CHINESE,
    cut=lambda text: text.partition(THINK)[2].partition(END_THINK)[0],
    empty=lambda: 1.0,
    share=lambda ours, total, language: ours / total,
):
    """A right answer but for the words, the thought, the case without words, or the share."""

    def language_consistency(text, language):
        thought = cut(text)
        counts = {
            "english": len(re.findall(english, thought)),
            "chinese": len(re.findall(chinese, thought)),
        }
        total = sum(counts.values())
        return share(counts[language], total, language) if total else empty()

    return language_consistency


def closed_thought(text, flags=re.DOTALL):
    found = re.search("<think>(.*?)</think>", text, flags)
    return found[1] if found else ""


def line_of_thought(text):
    found = re.search("<think>(.*?)(?:</think>|$)", text)
    return found[1] if found else ""


def greedy_thought(text):
    return text.partition(THINK)[2].rpartition(END_THINK)[0] or text.partition(THINK)[2]


def thought_before_end(text):
    head, _, tail = text.partition(END_THINK)
    return head.partition(THINK)[2]


def consistency_by_split(text, language):
    words = text.partition(THINK)[2].partition(END_THINK)[0].split()
    fits = {"english": ENGLISH, "chinese": "[\u4e00-\u9fff]+"}[language]
    return sum(bool(re.fullmatch(fits, w)) for w in words) / len(words) if words else 1.0


def consistency_by_isalpha(text, language):
    thought = text.partition(THINK)[2].partition(END_THINK)[0]
    kinds = ["chinese" if "\u4e00" <= c <= "\u9fff" else "english" for c in thought if c.isalpha()]
    return kinds.count(language) / len(kinds) if kinds else 1.0


def no_words():
    return 1 / 0


CONSISTENCY = Answers(
    right=[consistency_by_findall, consistency_by_one_pattern, consistency_by_letters],
    wrong=[
        Slip(consistency(cut=str), "the whole text", r"thought|think|answer"),
        Slip(
            consistency(cut=closed_thought),
            "a thought that breaks off",
            r"breaks? off|</think>|end",
        ),
        Slip(consistency(cut=line_of_thought), "a dot that stops at lines", r"line|DOTALL|dot"),
        Slip(consistency(cut=greedy_thought), "up to the last end", r"first|greed|last|second"),
        Slip(
            consistency(cut=thought_before_end),
            "the first end, even if it stands before",
            r"behind|before",
        ),
        Slip(
            consistency(cut=lambda text: text.rpartition(THINK)[2].partition(END_THINK)[0]),
            "the last thought, or all without one",
            r"first|last|without|no <think>|no thought",
        ),
        Slip(
            consistency(english="[A-Za-z]"), "each letter is a word", r"letter|run", "chinese char"
        ),
        Slip(
            consistency(english="[a-z]+"), "small letters alone", r"large|capital|upper|case|A to"
        ),
        Slip(consistency(english=r"[^\W\u4e00-\u9fff]+"), "numbers are words", r"number|digit"),
        Slip(
            consistency(chinese="[\u4e00-\u9fff]+"),
            "a run of characters is one word",
            r"each|run|charact",
        ),
        Slip(
            consistency(chinese="[\u4e00-\u9fa5]"), "up to U+9FA5", r"9FFF|U\+9F|range|last charac"
        ),
        Slip(consistency(empty=lambda: 0.0), "0 without words", r"without|no words?|1\.0"),
        Slip(consistency(empty=no_words), "an error without words", r"ZeroDiv|without|no words?"),
        Slip(consistency_by_split, "cut at blanks", r"blank|space|split|sign|number|charact"),
        Slip(consistency_by_isalpha, "letters counted", r"letter|run|word"),
        Slip(
            consistency(share=lambda ours, total, language: 1 - ours / total),
            "the share of the other language",
            r"other|1 -|language",
        ),
        Slip(
            consistency(share=lambda ours, total, language: 100 * ours / total),
            "per cent",
            r"100|per ?cent|share",
        ),
        Slip(
            consistency(share=lambda ours, total, language: ours / max(1, total - ours)),
            "the quotient of both languages",
            r"quotient|ratio|all words|both|of the words|share",
        ),
        Slip(
            consistency(share=lambda ours, total, language: float(ours == total)),
            "all or nothing",
            r"share|all or|whole|part",
        ),
        Slip(
            lambda text, language: consistency_by_findall(text, "english"),
            "always English",
            r"language|chinese|english",
        ),
    ],
)

# --- examples_for_share ---


def examples_by_weights(n, share, reasoning_tokens, other_tokens):
    ours, theirs = share * other_tokens, (1 - share) * reasoning_tokens
    first = round(n * ours / (ours + theirs))
    return first, n - first


def examples_by_lengths(n, share, reasoning_tokens, other_tokens):
    ours, theirs = share / reasoning_tokens, (1 - share) / other_tokens
    first = int(n * ours / (ours + theirs) + 0.5)
    return [first, n - first]


def examples_by_odds(n, share, reasoning_tokens, other_tokens):
    if share in (0, 1):
        return n * share, n - n * share
    others_per_example = (1 - share) / share * reasoning_tokens / other_tokens
    first = round(n / (1 + others_per_example))
    return first, n - first


def examples(weigh=lambda share, r, o: (share * o, (1 - share) * r), end=None):
    """A right answer but for the weights, or the rounding at the end."""

    def examples_for_share(n, share, reasoning_tokens, other_tokens):
        ours, theirs = weigh(share, reasoning_tokens, other_tokens)
        exact = n * ours / (ours + theirs)
        return end(n, exact) if end else (round(exact), n - round(exact))

    return examples_for_share


def examples_of_n_reasoning(n, share, reasoning_tokens, other_tokens):
    return n, round(n * reasoning_tokens * (1 - share) / (share * other_tokens))


def examples_without_total(n, share, reasoning_tokens, other_tokens):
    first = round(n * share * other_tokens / reasoning_tokens)
    return first, n - first


def tokens_of_both(n, share, reasoning_tokens, other_tokens):
    first, second = examples_by_weights(n, share, reasoning_tokens, other_tokens)
    return first * reasoning_tokens, second * other_tokens


EXAMPLES = Answers(
    right=[examples_by_weights, examples_by_lengths, examples_by_odds],
    wrong=[
        Slip(
            examples(lambda share, r, o: (share, 1 - share)),
            "the share of the examples",
            r"length|examples, not|of the \*?examples|tokens",
        ),
        Slip(
            examples(lambda share, r, o: (share * r, (1 - share) * o)),
            "weighed by their own length",
            r"other|own|fewer|swap|wrong way",
        ),
        Slip(
            examples(lambda share, r, o: ((1 - share) * r, share * o)),
            "the two counts swapped",
            r"order|swap|first",
        ),
        Slip(
            examples(lambda share, r, o: ((1 - share) * o, share * r)),
            "the share given to the others",
            r"1 - share|other|share",
        ),
        Slip(examples(lambda share, r, o: (o, r)), "the share left out", r"share|half"),
        Slip(
            examples(lambda share, r, o: (share * o, r)),
            "1 - share left out",
            r"1 - share|rest|odds",
        ),
        Slip(examples(end=lambda n, x: (int(x), n - int(x))), "cut off, not rounded", r"round|cut"),
        Slip(examples(end=lambda n, x: (ceil(x), n - ceil(x))), "rounded up", r"round|up"),
        Slip(examples(end=lambda n, x: (x, n - x)), "not rounded", r"round|whole"),
        Slip(
            examples(end=lambda n, x: (round(x), round(n - x))),
            "both rounded",
            r"rest|sum|together|add|n - ",
        ),
        Slip(examples(end=lambda n, x: round(x)), "one count", r"both|two|pair|tuple"),
        Slip(
            examples(end=lambda n, x: (round(x), n)), "all as the second", r"rest|sum|in all|n - "
        ),
        Slip(examples_of_n_reasoning, "n of the first kind", r"in all|sum|together|n\b"),
        Slip(
            examples_without_total, "not scaled to n", r"scale|both kinds|sum|weight|divid|in all"
        ),
        Slip(tokens_of_both, "tokens in place of examples", r"examples|tokens|count"),
    ],
)

# --- rule_and_preference ---


def text_of(answer):
    return answer.rpartition(END_THINK)[2].strip()


def rewards_by_indices(questions, answers, is_reasoning, rule, judge):
    chats = [i for i, question in enumerate(questions) if not is_reasoning(question)]
    scores = {}
    if chats:
        found = judge([questions[i] for i in chats], [text_of(answers[i]) for i in chats])
        scores = dict(zip(chats, found, strict=True))
    return [
        scores[i] if i in scores else rule(questions[i], answers[i]) for i in range(len(answers))
    ]


def rewards_by_iterator(questions, answers, is_reasoning, rule, judge):
    pairs = list(zip(questions, answers, strict=True))
    chats = [(q, a.split(END_THINK)[-1].strip()) for q, a in pairs if not is_reasoning(q)]
    scores = iter(judge([q for q, _ in chats], [text for _, text in chats]) if chats else [])
    return [rule(q, a) if is_reasoning(q) else next(scores) for q, a in pairs]


def rewards_in_place(questions, answers, is_reasoning, rule, judge):
    rewards, where, asked, texts = [], [], [], []
    for place, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        if is_reasoning(question):
            rewards.append(rule(question, answer))
            continue
        rewards.append(None)
        where.append(place)
        asked.append(question)
        texts.append(re.sub(r"\A[\s\S]*</think>", "", answer).strip())
    if where:
        for place, score in zip(where, judge(asked, texts), strict=True):
            rewards[place] = float(score)
    return rewards


def rewarding(
    text=text_of,
    holds=lambda is_reasoning, q, a: is_reasoning(q),
    by_rule=lambda rule, q, a: rule(q, a),
    ask=lambda judge, asked, texts, questions, answers: judge(asked, texts),
    guard=True,
    order=list,
):
    """A right answer but for the text, the kind, the rule, the call of the judge, or the order."""

    def rule_and_preference(questions, answers, is_reasoning, rule, judge):
        pairs = list(zip(questions, answers, strict=True))
        kinds = [holds(is_reasoning, q, a) for q, a in pairs]
        chats = [(q, text(a)) for (q, a), kind in zip(pairs, kinds, strict=True) if not kind]
        asked, texts = [q for q, _ in chats], [t for _, t in chats]
        found = ask(judge, asked, texts, questions, answers) if chats or not guard else []
        scores = iter(order(found))
        return [
            by_rule(rule, q, a) if kind else next(scores)
            for (q, a), kind in zip(pairs, kinds, strict=True)
        ]

    return rule_and_preference


def one_by_one(judge, asked, texts, questions, answers):
    return [judge([q], [t])[0] for q, t in zip(asked, texts, strict=True)]


def all_to_judge(questions, answers, is_reasoning, rule, judge):
    scores = judge(questions, [text_of(a) for a in answers])
    return [
        rule(q, a) if is_reasoning(q) else score
        for q, a, score in zip(questions, answers, scores, strict=True)
    ]


def rules_then_scores(questions, answers, is_reasoning, rule, judge):
    pairs = list(zip(questions, answers, strict=True))
    rewards = [rule(q, a) for q, a in pairs if is_reasoning(q)]
    chats = [(q, text_of(a)) for q, a in pairs if not is_reasoning(q)]
    return rewards + (list(judge([q for q, _ in chats], [t for _, t in chats])) if chats else [])


def scores_by_question(questions, answers, is_reasoning, rule, judge):
    chats = [i for i, question in enumerate(questions) if not is_reasoning(question)]
    if not chats:
        return [rule(q, a) for q, a in zip(questions, answers, strict=True)]
    asked = [questions[i] for i in chats]
    found = judge(asked, [text_of(answers[i]) for i in chats])
    scores = list(zip(asked, found, strict=True))
    return [
        rule(q, a) if is_reasoning(q) else next(score for other, score in scores if other == q)
        for q, a in zip(questions, answers, strict=True)
    ]


def both_added(questions, answers, is_reasoning, rule, judge):
    scores = judge(questions, [text_of(a) for a in answers])
    return [rule(q, a) + s for q, a, s in zip(questions, answers, scores, strict=True)]


def rule_alone(questions, answers, is_reasoning, rule, judge):
    return [rule(q, a) for q, a in zip(questions, answers, strict=True)]


RULE_AND_PREFERENCE = Answers(
    right=[rewards_by_indices, rewards_by_iterator, rewards_in_place],
    wrong=[
        Slip(rewarding(ask=one_by_one), "the judge is called for each", r"\bone\b|once|calls?"),
        Slip(rewarding(guard=False), "the judge is called for none", r"none|no chat|without|empty"),
        Slip(all_to_judge, "the judge reads all answers", r"only|all|reasoning|chats|sums as well"),
        Slip(
            rewarding(ask=lambda judge, asked, texts, questions, answers: judge(questions, texts)),
            "all questions to the judge",
            r"question",
        ),
        Slip(rules_then_scores, "the rules first, then the scores", r"order|place"),
        Slip(
            rewarding(order=lambda scores: list(scores)[::-1]),
            "scores from the end",
            r"order|place|their answer",
        ),
        Slip(scores_by_question, "one score per question", r"same question|each answer|twice|two"),
        Slip(rewarding(text=str), "the judge reads the thought", r"thought|think|behind"),
        Slip(rewarding(text=str.strip), "the thought, without blanks", r"thought|think|behind"),
        Slip(rewarding(text=lambda a: a.rpartition(END_THINK)[2]), "blanks stay", r"blank|strip"),
        Slip(
            rewarding(text=lambda a: a.partition(END_THINK)[2].strip()),
            "nothing where there is no end",
            r"without|whole|no </think>|last",
        ),
        Slip(
            rewarding(text=lambda a: a.split(END_THINK, 1)[-1].strip()),
            "behind the first end",
            r"\blast\b",
        ),
        Slip(
            rewarding(text=lambda a: a.split(END_THINK)[1].strip()),
            "an error where there is no end",
            r"IndexError|without|whole",
        ),
        Slip(
            rewarding(by_rule=lambda rule, q, a: rule(q, text_of(a))),
            "the rule reads the text alone",
            r"rule",
        ),
        Slip(
            rewarding(by_rule=lambda rule, q, a: rule(a, q)),
            "the rule's arguments swapped",
            r"rule|order|question",
        ),
        Slip(
            rewarding(holds=lambda is_reasoning, q, a: not is_reasoning(q)),
            "the two kinds swapped",
            r"swap|reasoning|other way|rule",
        ),
        Slip(
            rewarding(holds=lambda is_reasoning, q, a: is_reasoning(a)),
            "the answer asked for its kind",
            r"question|is_reasoning",
        ),
        Slip(both_added, "both added", r"add|sum|all|only|reasoning|one of"),
        Slip(rule_alone, "the rule for all", r"judge|chat|score|rule"),
    ],
)

# --- one_trait_apart ---


def apart_by_hint(answers, trait):
    points = []
    for traits, score in answers:
        for other, against in answers:
            apart = {name for name in traits if traits[name] != other[name]}
            if apart == {trait} and traits[trait]:
                points.append(1.0 if score > against else 0.5 if score == against else 0.0)
    return sum(points) / len(points) if points else 0.5


def apart_by_groups(answers, trait):
    groups = defaultdict(lambda: ([], []))
    for traits, score in answers:
        rest = frozenset((name, bool(v)) for name, v in traits.items() if name != trait)
        groups[rest][bool(traits[trait])].append(score)
    pairs = [pair for without, having in groups.values() for pair in product(having, without)]
    twice = sum((a > b) + (a >= b) for a, b in pairs)
    return float(Fraction(twice, 2 * len(pairs))) if pairs else 0.5


def apart_by_flip(answers, trait):
    won = drawn = total = 0
    for (traits, score), (other, against) in permutations(answers, 2):
        if traits[trait] and {**traits, trait: False} == other:
            total += 1
            won += score > against
            drawn += score == against
    return (won + drawn / 2) / total if total else 0.5


def comparing(
    fits=lambda traits, other, trait: {**traits, trait: False} == other,
    has=lambda traits, trait: traits[trait],
    point=lambda a, b: 1.0 if a > b else 0.5 if a == b else 0.0,
    end=lambda points: sum(points) / len(points),
    empty=lambda: 0.5,
    pairs=lambda answers: permutations(answers, 2),
):
    """A right answer but for what is compared, the points, the end, or no comparison."""

    def one_trait_apart(answers, trait):
        points = [
            point(score, against)
            for (traits, score), (other, against) in pairs(answers)
            if has(traits, trait) and fits(traits, other, trait)
        ]
        points = [p for p in points if p is not None]
        return end(points) if points else empty()

    return one_trait_apart


def any_one_apart(traits, other, trait):
    return sum(traits[name] != other[name] for name in traits) == 1


def apart_by_means(answers, trait):
    having = [score for traits, score in answers if traits[trait]]
    without = [score for traits, score in answers if not traits[trait]]
    if not having or not without:
        return 0.5
    a, b = sum(having) / len(having), sum(without) / len(without)
    return 1.0 if a > b else 0.5 if a == b else 0.0


def apart_by_group_share(answers, trait):
    groups = defaultdict(lambda: ([], []))
    for traits, score in answers:
        rest = frozenset((name, bool(v)) for name, v in traits.items() if name != trait)
        groups[rest][bool(traits[trait])].append(score)
    shares = [
        sum(((a > b) + (a >= b)) / 2 for a, b in product(having, without))
        / (len(having) * len(without))
        for without, having in groups.values()
        if having and without
    ]
    return sum(shares) / len(shares) if shares else 0.5


def only_other_true(traits, other, trait):
    return sum(traits.values()) == sum(other.values()) + 1 and not other[trait]


ONE_TRAIT_APART = Answers(
    right=[apart_by_hint, apart_by_groups, apart_by_flip],
    wrong=[
        Slip(
            comparing(fits=lambda traits, other, trait: not other[trait]),
            "all with against all without",
            r"other traits|equal in|also differ|differ",
        ),
        Slip(
            comparing(fits=only_other_true),
            "as many other traits, but others",
            r"other traits|equal in|same|differ",
        ),
        Slip(comparing(fits=any_one_apart), "one trait apart, whichever", r"trait|which"),
        Slip(
            comparing(has=lambda traits, trait: not traits[trait], fits=any_one_apart),
            "the wins of those without, over any trait",
            r"trait|without|other way|which",
        ),
        Slip(
            comparing(
                has=lambda traits, trait: not traits[trait],
                fits=lambda traits, other, trait: {**traits, trait: True} == other,
            ),
            "the wins of those without",
            r"without|other way|with the trait|wins",
        ),
        Slip(
            comparing(
                has=lambda traits, trait: True,
                fits=lambda traits, other, trait: (
                    {**traits, trait: True} == {**other, trait: True}
                    and traits[trait] != other[trait]
                ),
            ),
            "each comparison counted from both sides",
            r"twice|both|each",
        ),
        Slip(comparing(point=lambda a, b: float(a > b)), "a tie counts nothing", r"\bties?\b"),
        Slip(comparing(point=lambda a, b: float(a >= b)), "a tie counts as won", r"\bties?\b"),
        Slip(
            comparing(point=lambda a, b: None if a == b else float(a > b)),
            "ties are left out",
            r"\bties?\b",
        ),
        Slip(comparing(point=lambda a, b: a - b), "the mean difference", r"differ|higher|share"),
        Slip(comparing(empty=lambda: 0.0), "0 without comparisons", r"without|no comparison|none"),
        Slip(
            comparing(empty=lambda: 1 / 0),
            "an error without comparisons",
            r"ZeroDiv|without|no comparison",
        ),
        Slip(comparing(end=sum), "the number of wins", r"share|number|count|divid"),
        Slip(
            comparing(end=lambda points: 100 * sum(points) / len(points)), "per cent", r"100|cent"
        ),
        Slip(comparing(end=lambda points: points[0]), "the first comparison", r"every|all|first"),
        Slip(
            comparing(pairs=lambda answers: zip(answers, answers[1:], strict=False)),
            "neighbours alone",
            r"every|all|neighbou?r|order|next",
        ),
        Slip(
            comparing(
                pairs=lambda answers: (
                    (a, b) for i, a in enumerate(answers) for b in answers[i + 1 :]
                )
            ),
            "only if the one with the trait comes first",
            r"every|all|order|first|later|before|behind",
        ),
        Slip(apart_by_means, "the means compared", r"mean|every|compar|other traits|equal in"),
        Slip(
            apart_by_group_share,
            "the mean of the groups' shares",
            r"every|all|comparisons?|group|mean",
        ),
    ],
)

ANSWERS = {
    "sift": SIFT,
    "language_consistency": CONSISTENCY,
    "examples_for_share": EXAMPLES,
    "rule_and_preference": RULE_AND_PREFERENCE,
    "one_trait_apart": ONE_TRAIT_APART,
}
