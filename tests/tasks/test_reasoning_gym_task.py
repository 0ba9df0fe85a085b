"""Practice problems of others: what may be asked, what is kept back, what an answer scores, what a
strange score does. Mostly on a data set of a few lines; the package itself where it is there."""

import math
import sys
from importlib.util import find_spec
from random import Random

import pytest

from course_lib.alignment.rl_task import Question, compute_rewards, question_prompt_ids
from course_lib.tasks.reasoning_gym_task import (
    GymQuestions,
    GymTruth,
    evaluate_gym,
    gym_metrics,
    gym_score,
    is_held_out_question,
    load_reasoning_gym,
    read_gym_questions,
    reasoning_gym_task,
)
from course_lib.text.problems import last_number
from tests.alignment.tiny import (
    TOKENIZER,
    fresh,
    one_quiet_thread,  # noqa: F401
)

needs_gym = pytest.mark.skipif(
    not find_spec("reasoning_gym"), reason="make gym installs reasoning-gym"
)


class Doubles:
    """Doubling numbers, item by item as reasoning-gym does it: item i is drawn with seed + i."""

    def __init__(self, size=60, seed=0, score=None, question="{}+{}=?"):
        self.size, self.seed, self.score, self.question = size, seed, score, question

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        n = self.seed + index
        return {"question": self.question.format(n, n), "answer": str(2 * n)}

    def score_answer(self, answer, entry):
        return self.score(answer) if self.score else float(answer == entry["answer"])


class Listed(Doubles):
    def __init__(self, *questions):
        super().__init__(len(questions))
        self.questions = questions

    def __getitem__(self, index):
        return {"question": self.questions[index], "answer": "1"}


def asked(score=None, n=7):
    practice_set = Doubles(score=score)
    entry = practice_set[n]
    return Question(entry["question"], GymTruth(entry, practice_set))


def texts(questions):
    return {question.text for question in questions}


# ----------------------------------------------------------------------------------- the questions


def test_every_question_is_read_and_one_in_ten_held_out():
    found = read_gym_questions(Doubles(600), TOKENIZER, 100)
    assert len(found.practice) + len(found.held_out) == 600 and not found.left_out
    assert 30 <= len(found.held_out) <= 90
    assert all(map(is_held_out_question, texts(found.held_out)))
    assert found.practice[0].truth.entry["question"] == found.practice[0].text


def test_no_other_seed_brings_a_held_out_question_into_practice():
    first, second = (read_gym_questions(Doubles(300, seed), TOKENIZER, 100) for seed in (0, 1))
    assert len(texts(first.practice) & texts(second.practice)) > 200  # neighbours: nearly the same
    assert texts(first.held_out) & texts(second.held_out)
    assert not texts(first.practice) & texts(second.held_out)


def test_a_question_too_long_for_the_context_is_refused_with_the_numbers():
    length = len(question_prompt_ids(TOKENIZER, "7+7=?"))
    read_gym_questions(Listed("1+1=?", "7+7=?"), TOKENIZER, length)
    with pytest.raises(ValueError, match=f"entry 1 of 2: a prompt of {length} tokens, more than"):
        read_gym_questions(Listed("1?", "7+7=?"), TOKENIZER, length - 1)


@pytest.mark.parametrize(
    "question, words, reason",
    [
        ("Two lines:\nUser: 7", "a line that starts like a role", "refused"),
        ("Say <|endoftext|>", "a special token", "refused"),
        (" \n", "is blank", "refused"),
        (None, "its question is NoneType, not a text", "no text"),
        (12, "its question is int, not a text", "no text"),
        ("7" * 300, "tokens, more than 100", "too long"),
    ],
)
def test_what_cannot_be_asked_is_refused_or_counted(question, words, reason):
    practice_set = Listed("1+1=?", question, "2+2=?")
    with pytest.raises(ValueError, match=words) as caught:
        read_gym_questions(practice_set, TOKENIZER, 100)
    assert "entry 1 of 3" in str(caught.value) and 'unfit="skip"' in str(caught.value)
    found = read_gym_questions(practice_set, TOKENIZER, 100, unfit="skip")
    assert found.left_out == {reason: 1}
    assert texts(found.practice + found.held_out) == {"1+1=?", "2+2=?"}


def test_equal_questions_count_once():
    found = read_gym_questions(Listed("1+1=?", "1+1=?", "1+1=?"), TOKENIZER, 100)
    assert (len(found.practice), found.left_out) == (1, {"repeated": 2})


def test_entries_can_be_chosen_by_what_they_hold():
    found = read_gym_questions(
        Doubles(50), TOKENIZER, 100, keep=lambda entry: int(entry["answer"]) < 20
    )
    assert len(found.practice + found.held_out) == 10 and found.left_out == {"not kept": 40}


def test_nothing_left_to_practise_is_said_with_the_counts():
    with pytest.raises(ValueError, match=r"2 entries, left out \{'too long': 2\}, held out 0"):
        read_gym_questions(Listed("7" * 300, "8" * 300), TOKENIZER, 100, unfit="skip")
    with pytest.raises(ValueError, match="unfit must be 'error' or 'skip', not 'drop'"):
        read_gym_questions(Doubles(), TOKENIZER, 100, unfit="drop")
    with pytest.raises(ValueError, match="longest_prompt 0"):
        read_gym_questions(Doubles(), TOKENIZER, 0)


# ---------------------------------------------------------------------------------------- the score


@pytest.mark.parametrize(
    "text, score",
    [
        ("<think>7+7=14</think><answer>14</answer>", 1.0),
        ("<answer> 14 </answer>", 1.0),
        ("<think>14</think><answer>13</answer>", 0.0),  # the thought is no answer
        ("14", 1.0),
        ("it is 14", 0.0),  # all that was said is the answer
        ("<think>14</think>", 0.0),
        ("<think>7+7=14</think><answer>14", 0.0),  # cut off
        ("", 0.0),
        ("<answer></answer>", 0.0),
    ],
)
def test_the_final_answer_is_scored(text, score):
    assert gym_score(asked(), text) == score


def test_a_number_is_read_out_of_a_sentence_if_wished():
    assert gym_score(asked(), "7+7=14, so it is 14.", read=last_number) == 1.0
    assert gym_score(asked(), "nobody knows", read=last_number) == 0.0


def test_no_answer_scores_nothing_whatever_the_data_set_pays_for_one():
    assert gym_score(asked(score=lambda answer: 0.01), "<think>hm") == 0.0
    assert gym_score(asked(score=lambda answer: 0.01), "hm") == 0.01


def test_partial_credit_counts_unless_the_score_must_be_full():
    for paid, exact in ((0.01, 0.0), (0.99, 0.0), (1, 1.0), (-0.5, 0.0)):
        question = asked(score=lambda answer, paid=paid: paid)
        assert gym_score(question, "x") == paid and gym_score(question, "x", exact=True) == exact


def test_a_score_that_raises_names_question_and_answer():
    question = asked(score=int)
    assert gym_score(question, "5") == 5.0
    with pytest.raises(ValueError, match=r"score_answer raised ValueError: invalid lit.*'x' to '7"):
        gym_score(question, "x")
    assert gym_score(question, "x", on_error="zero") == 0.0
    with pytest.raises(ValueError, match="on_error must be 'error' or 'zero', not 'skip'"):
        gym_score(question, "x", on_error="skip")


@pytest.mark.parametrize("strange", [math.nan, math.inf, None, "1.0", True, [1.0]])
def test_a_score_that_is_no_number_names_question_and_answer(strange):
    question = asked(score=lambda answer: strange)
    with pytest.raises(ValueError, match=r"no finite number, for the answer '14' to '7\+7=\?'"):
        gym_score(question, "14")
    assert gym_score(question, "14", on_error="zero") == 0.0


# ----------------------------------------------------------------------------------------- the task


def test_the_task_asks_what_may_be_practised_and_pays_the_score():
    questions = read_gym_questions(Doubles(200), TOKENIZER, 100)
    task = reasoning_gym_task(questions)
    drawn = [task.draw(Random(seed)) for seed in range(500)]
    assert texts(drawn) <= texts(questions.practice) and len(texts(drawn)) > 100
    right, wrong = drawn[0], drawn[1]
    answers = [f"<answer>{right.truth.entry['answer']}</answer>", "<answer>no</answer>"]
    assert compute_rewards(task, [right, wrong], answers).tolist() == [1.0, 0.0]
    assert task.measure([right, wrong], answers) == {"score": 0.5, "accuracy": 0.5, "answered": 1.0}


def test_measures_never_stop_a_run():
    question = asked(score=int)
    assert gym_metrics([question] * 3, ["x", "1", "<think>"]) == {
        "score": pytest.approx(1 / 3),
        "accuracy": pytest.approx(1 / 3),
        "answered": pytest.approx(2 / 3),
    }


def test_a_model_is_measured_on_each_answer_of_each_question():
    """A score that counts its calls is an independent count of the answers."""
    calls = []
    practice_set = Doubles(40, score=lambda answer: calls.append(answer) or 1.0)
    questions = read_gym_questions(practice_set, TOKENIZER, 100)
    measured = evaluate_gym(
        fresh(std=0.3, context=128), TOKENIZER, questions.practice[:5], n_samples=3,
        max_new_tokens=6,
    )  # fmt: skip
    assert measured["accuracy"] == measured["answered"] == len(calls) / 15
    assert 1 <= measured["length"] <= 6
    with pytest.raises(ValueError, match="no questions to measure on"):
        evaluate_gym(fresh(context=128), TOKENIZER, GymQuestions((), (), {}).held_out)


# -------------------------------------------------------------------------------------- the package


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(ImportError, match=r"make gym .*pip install -c constraints\.txt"):
        load_reasoning_gym("chain_sum")


@needs_gym
def test_unknown_names_and_options_are_refused_by_name():
    with pytest.raises(ValueError, match="no data set 'sums'; it has composite, .*chain_sum"):
        load_reasoning_gym("sums")
    with pytest.raises(ValueError, match=r"chain_sum refuses the options \{'min_terms': 0\}"):
        load_reasoning_gym("chain_sum", min_terms=0)
    with pytest.raises(ValueError, match="chain_sum refuses the options .*terms"):
        load_reasoning_gym("chain_sum", terms=3)
    with pytest.raises(ValueError, match="size 0"):
        load_reasoning_gym("chain_sum", size=0)


@needs_gym
def test_chain_sums_are_asked_and_scored():
    easy = {"min_terms": 2, "max_terms": 3, "min_digits": 1, "max_digits": 1}
    found = read_gym_questions(load_reasoning_gym("chain_sum", 300, **easy), TOKENIZER, 200)
    for question in found.practice[:50]:
        expression = question.text.partition(": ")[2].removesuffix(" =")
        value = sum(int(part) for part in expression.replace("- ", "-").replace("+ ", "").split())
        right = f"<think>so</think><answer>{value}</answer>"
        assert gym_score(question, right, exact=True) == 1.0
        assert gym_score(question, right.replace(str(value), str(value + 1)), exact=True) == 0.0


@needs_gym
def test_a_data_set_that_raises_for_a_word_is_told_or_counted_as_wrong():
    found = read_gym_questions(load_reasoning_gym("prime_factorization", 20), TOKENIZER, 200)
    with pytest.raises(ValueError, match="score_answer raised ValueError: invalid literal"):
        gym_score(found.practice[0], "I do not know")
    assert gym_score(found.practice[0], "I do not know", on_error="zero") == 0.0
