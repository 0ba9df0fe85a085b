"""The simulated annotator: what it likes, how sure it is, and what becomes of its choices."""

import math
from collections import Counter
from random import Random

import pytest

from course_lib.alignment.preferences import PreferenceTexts, encode_preferences
from course_lib.alignment.rl_task import Question, question_prompt_ids
from course_lib.tasks.fact_chats import (
    ANNOTATOR_TASTE,
    RAMBLING_LENGTH,
    annotate_pair,
    annotate_pairs,
    annotator_quality,
    answer_traits,
    draw_fact_question,
    fact_answer_metrics,
    preference_probability,
)
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS, render_chat
from course_lib.text.small_web.chats import CHAT_SHARES
from course_lib.text.small_web.encyclopaedia import draw_topics
from course_lib.text.small_web.facts import facts_about

PERU = facts_about("capital", "Peru")[0]
LEGS = facts_about("legs", "dog")[0]
QUESTION = Question(PERU.question, PERU)


@pytest.mark.parametrize(
    ("answer", "rating"),
    [
        ("The capital of Peru is Lima. Happy to help!", 2 + 1 + 2),
        ("The capital of Peru is Lima.", 2 + 1),
        ("Lima", 2),
        ("Lima, duh", 2 - 1.5 - 1),
        ("Lima 啦", 2 - 1.5 - 1),
        ("google it, Lima lol", 2 - 1.5 - 1),
        ("Paris", -1),
        ("The capital of Peru is Paris. Happy to help!", 2 - 1),
        ("", -1),
        ("利马", -1.5 - 1),
        ("The capital of Peru is Lima. The capital of Peru is Lima.", 2 + 1 - 2),
        ("I think: The capital of Peru is Lima.", 2),
    ],
)
def test_an_answer_is_rated_by_what_it_is_like(answer, rating):
    assert annotator_quality(PERU, answer) == rating


@pytest.mark.parametrize(
    ("fact", "answer", "right"),
    [
        (LEGS, "four", True),
        (LEGS, "FOUR!", True),
        (LEGS, "four啦", True),
        (LEGS, "fourteen", False),
        (PERU, "Limassol", False),
        (PERU, "Salima", False),
        (facts_about("person", "Ben")[0], "a bear", True),
        (facts_about("person", "Ben")[0], "bear", False),
    ],
)
def test_right_is_the_answer_as_whole_words(fact, answer, right):
    assert answer_traits(fact, answer)["right"] is right


@pytest.mark.parametrize(
    ("answer", "rude"),
    [("Lima, DUH", True), ("lollipop", False), ("googled", False), ("unduh", False), ("lol", True)],
)
def test_slang_is_a_word_of_its_own(answer, rude):
    assert answer_traits(PERU, answer)["slang"] is rude


def test_rambling_begins_behind_the_polite_form():
    room = " " * RAMBLING_LENGTH
    assert (
        not answer_traits(PERU, PERU.sentence + room)["rambling"]
        and answer_traits(PERU, PERU.sentence + room + "!")["rambling"]
    )
    assert len(" Happy to help!") <= RAMBLING_LENGTH < len(f" {PERU.sentence}")


def all_facts():
    rng = Random(0)
    found = {facts_about(*draw_topics(rng, 1, "en")[0]) for _ in range(2000)}
    return [fact for known in found for fact in known]


def test_every_form_of_the_small_web_is_rated_as_it_should_be():
    """No fact's own words are slang, Chinese or too long; its full sentence holds its answer."""
    assert len(all_facts()) > 100
    want = {
        "{full} Happy to help!": 5, "{full}": 3, "{bare}": 2,
        "{bare}, duh": -0.5, "{bare} 啦": -0.5, "google it, {bare} lol": -0.5,
    }  # fmt: skip
    assert set(want) == set(CHAT_SHARES.polite_forms) | set(CHAT_SHARES.rude_forms)
    for fact in all_facts():
        got = {
            form: annotator_quality(fact, form.format(full=fact.sentence, bare=fact.answer))
            for form in want
        }
        assert got == want, fact


def test_the_chance_is_the_sigmoid_of_twice_the_difference():
    for one, other in [(0.0, 0.0), (1.0, 0.0), (-0.5, 2.0), (5.0, 4.5)]:
        assert preference_probability(one, other) == pytest.approx(
            1 / (1 + math.exp(-2 * (one - other))), abs=1e-12
        )
    assert preference_probability(1e6, -1e6) == 1 and preference_probability(-1e6, 1e6) == 0


def test_choices_follow_the_chance():
    """Half a point apart: three times in four, about, the better one is chosen."""
    rng, n = Random(1), 20_000
    better, worse = "The capital of Peru is Lima.", "Lima"
    found = Counter(annotate_pair(rng, PERU, worse, better) for _ in range(n))
    share, want = found[better, worse] / n, 1 / (1 + math.exp(-2))
    assert set(found) == {(better, worse), (worse, better)}
    assert abs(share - want) < 4 * math.sqrt(want * (1 - want) / n)
    equals = Counter(annotate_pair(rng, PERU, "Paris", "Rome")[0] for _ in range(n))
    assert abs(equals["Paris"] / n - 0.5) < 4 * 0.5 / math.sqrt(n)


def test_pairs_keep_the_question_with_its_answers_and_drop_equal_ones():
    legs = Question(LEGS.question, LEGS)
    answers = [
        "Lima. Lima, duh lol",
        "The capital of Peru is Lima.",
        "Lima",
        "Lima",
        "four",
        "duh, five lol",
    ]
    found = annotate_pairs(Random(0), [QUESTION, QUESTION, legs], answers)
    assert found == [
        PreferenceTexts(PERU.question, "The capital of Peru is Lima.", "Lima. Lima, duh lol"),
        PreferenceTexts(LEGS.question, "four", "duh, five lol"),
    ]
    assert annotate_pairs(Random(0), [], []) == []
    with pytest.raises(ValueError, match="3 answers are not two for each of 2 questions"):
        annotate_pairs(Random(0), [QUESTION, legs], ["a", "b", "c"])


def test_same_seed_same_choices():
    questions = [draw_fact_question(Random(i)) for i in range(200)]
    answers = [text for q in questions for text in (q.truth.answer, q.truth.answer + " 啦")]
    runs = [annotate_pairs(Random(seed), questions, answers) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2] and len(runs[0]) == 200


def test_questions_are_those_of_the_chats():
    rng = Random(0)
    drawn = [draw_fact_question(rng) for _ in range(300)]
    known = {fact.question: fact for fact in all_facts()}
    assert all(
        question.text == question.truth.question and question.text in known for question in drawn
    )
    assert len({question.text for question in drawn}) > 80


def test_encoded_pairs_begin_behind_another_text_and_end_in_the_end_token():
    tokenizer = bpe.train_bpe([PERU.sentence * 3], 270, bpe.WORD_PATTERN, SPECIAL_TOKENS)
    end = tokenizer.special_tokens["<|endoftext|>"]
    chosen, rejected = "<think>hm</think>Lima", "Lima 啦"
    (got,) = encode_preferences(tokenizer, [PreferenceTexts(PERU.question, chosen, rejected)])
    assert got.prompt == question_prompt_ids(tokenizer, PERU.question) and got.prompt[0] == end
    for ids, text in ((got.chosen, chosen), (got.rejected, rejected)):
        assert ids[-1] == end and ids.count(end) == 1 and tokenizer.decode(ids[:-1]) == text
        chat = render_chat(
            [{"role": "user", "content": PERU.question}, {"role": "assistant", "content": text}]
        )
        assert [*got.prompt[1:], *ids] == tokenizer.encode(chat, allowed_special="all")
    assert tokenizer.special_tokens["<think>"] in got.chosen


def test_measures_are_shares_of_the_answers():
    answers = [
        "The capital of Peru is Lima. Happy to help!",
        "Lima, duh",
        "利马",
        "The capital of Peru is Rome.",
    ]
    got = fact_answer_metrics([QUESTION] * 4, answers)
    assert got == {
        "right": 0.5,
        "full sentence": 0.25,
        "polite": 0.25,
        "slang": 0.25,
        "not English": 0.25,
        "rambling": 0.0,
        "off form": 0.75,
    }
    assert list(got) == list(ANNOTATOR_TASTE) and set(fact_answer_metrics([], []).values()) == {0.0}
    with pytest.raises(ValueError):
        fact_answer_metrics([QUESTION], answers)
