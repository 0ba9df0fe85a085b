"""Sums as a task: estimates against full enumeration, measures by hand, and questions that nobody
has practised."""

from collections import Counter
from fractions import Fraction
from itertools import combinations, product
from random import Random

import pytest
import torch

from course_lib.alignment import rl_task
from course_lib.alignment.rewards import format_reward
from course_lib.alignment.rl_task import EVALUATION_SEED, Question, answer_in_batches
from course_lib.tasks.arithmetic import (
    arithmetic_at_k,
    arithmetic_metrics,
    arithmetic_task,
    draw_arithmetic_question,
    evaluate_arithmetic,
    held_out_arithmetic,
    rejection_sample,
)
from course_lib.tasks.at_k import majority_at_k, pass_at_k
from course_lib.text.problems import ChainProblem, is_held_out
from tests.alignment.tiny import (
    TOKENIZER,
    completions,
    fresh,
    one_quiet_thread,  # noqa: F401
)

CHAIN = ChainProblem((7, 5, 3), (1, -1))  # 7+5-3 = 9
QUESTION = Question(CHAIN.question, CHAIN)
MODEL = fresh(std=0.3, context=128)

ANSWERS = [
    "<think>first 7+5=12, then 12-3=9</think><answer>9</answer>",  # right, formatted, worked
    "<think>first 7+5=12，再12-3=8</think><answer>8</answer>",  # wrong, formatted, worked, mixed
    "7+5=12, so 9",  # right, worked
    "I think 9",  # right
    "大概 12 lol",  # wrong, mixed
]


# --------------------------------------------------------------------------- estimates from samples


@pytest.mark.parametrize("n", range(1, 8))
def test_pass_at_k_is_the_share_of_all_choices(n):
    for right, k in product(range(n + 1), range(1, n + 1)):
        answers = [True] * right + [False] * (n - right)
        choices = [any(choice) for choice in combinations(answers, k)]
        assert pass_at_k(n, right, k) == pytest.approx(sum(choices) / len(choices))


def test_pass_at_k_of_many():
    assert pass_at_k(10_000, 1, 10_000) == 1 and pass_at_k(10_000, 0, 10_000) == 0
    assert pass_at_k(2000, 1, 500) == pytest.approx(0.25)  # one right answer is among a quarter


@pytest.mark.parametrize(("n", "right", "k"), [(4, 1, 5), (4, 1, 0), (4, 5, 1), (4, -1, 1)])
def test_impossible_counts_name_their_numbers(n, right, k):
    with pytest.raises(
        ValueError, match=f"k {k} must be from 1 to n {n}, and right {right} from 0 to n"
    ):
        pass_at_k(n, right, k)


def exact_majority(answers, truth, k):
    """The mean over all choices of k of the chance that the truth wins, in exact arithmetic."""
    total = Fraction(0)
    choices = list(combinations(answers, k))
    for choice in choices:
        votes = Counter(vote for vote in choice if vote is not None).most_common()
        winners = [vote for vote, count in votes if count == votes[0][1]]
        total += Fraction(winners.count(truth), len(winners)) if winners else 0
    return float(total / len(choices))


@pytest.mark.parametrize(
    "answers",
    [
        "99887",
        "9987654",
        "889",
        "9",
        "8",
        ["9", None, None, "8", "8"],
        [None, "9", None],
        [None, None, None],
        "998877",
    ],
)
def test_majority_at_k_is_near_the_share_of_all_choices(answers):
    for k in range(1, len(answers) + 1):
        want, draws = exact_majority(answers, "9", k), 1500
        got = majority_at_k(tuple(answers), "9", k, draws)
        assert (
            abs(got - want) <= 4 * (want * (1 - want) / draws) ** 0.5 + 1e-9
        )  # four standard errors
        if k == len(answers):
            assert got == pytest.approx(want)  # there is only one choice


def test_majority_by_hand():
    assert majority_at_k(["9", "9", "8", None, None, None], "9", k=6) == 1  # silence is no vote
    assert majority_at_k(["9", "9", "8", "8"], "9", k=4) == 0.5  # a tie
    assert majority_at_k(["9", "8", "8"], "9", k=3) == majority_at_k([None], "9", k=1) == 0
    seeds = [majority_at_k(list("99887"), "9", k=2, seed=seed) for seed in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


@pytest.mark.parametrize(("k", "draws"), [(0, 100), (4, 100), (2, 0)])
def test_impossible_votes_name_their_numbers(k, draws):
    with pytest.raises(
        ValueError,
        match=f"k {k} must be from 1 to the number of answers 3, draws {draws} at least 1",
    ):
        majority_at_k(["9"] * 3, "9", k, draws)


# ----------------------------------------------------------------------------- measures and rewards


def test_measures_by_hand():
    assert arithmetic_metrics([QUESTION] * 5, ANSWERS) == pytest.approx(
        {
            "accuracy": 3 / 5,
            "format": 2 / 5,
            "worked": 3 / 5,
            "mixed": 2 / 5,
            "accuracy of worked": 2 / 3,
            "mixed of worked": 1 / 3,
        }
    )
    assert set(arithmetic_metrics([QUESTION], ["I think 9"]).values()) == {
        0.0,
        1.0,
    }  # nobody worked: shares of none are 0


def test_the_reward_of_a_task():
    by_weights, by_reward = (
        arithmetic_task({"accuracy": 1.0, "format": 0.5}),
        arithmetic_task(format_reward),
    )
    assert by_weights.reward([QUESTION] * 5, ANSWERS) == [1.5, 0.5, 1.0, 1.0, 0.0]
    assert by_reward.reward([QUESTION] * 5, ANSWERS) == [1, 1, 0, 0, 0]
    assert by_weights.measure([QUESTION] * 5, ANSWERS) == arithmetic_metrics(
        [QUESTION] * 5, ANSWERS
    )
    other = Question("1+1=?", ChainProblem((1, 1), (1,)))
    assert by_weights.reward([other, QUESTION], ["2", "2"]) == [1, 0]  # each by its own truth
    for lists in (([QUESTION], ANSWERS), ([QUESTION] * 5, ANSWERS[:4])):
        with pytest.raises(ValueError, match="zip"):
            by_weights.reward(*lists)


# ---------------------------------------------------------------------------------------- questions


def test_held_out_questions_are_all_held_out_and_never_practised():
    questions = held_out_arithmetic(300)
    assert all(
        is_held_out(question.truth) and question.text == question.truth.question
        for question in questions
    )
    rng, drawn = Random(0), arithmetic_task({"accuracy": 1.0}).draw
    practised = [drawn(rng) for _ in range(1500)]
    assert not any(is_held_out(question.truth) for question in practised)
    assert {question.text for question in practised}.isdisjoint(
        question.text for question in questions
    )
    for some in (questions, practised):
        assert {len(question.truth.numbers) for question in some} == {3, 4, 5, 6}


def test_questions_by_seed_and_length():
    assert (
        held_out_arithmetic(5)
        == held_out_arithmetic(5)
        == held_out_arithmetic(9)[:5]
        != held_out_arithmetic(5, seed=1)
    )
    assert {len(question.truth.numbers) for question in held_out_arithmetic(20, lengths=(8,))} == {
        8
    }
    assert len(draw_arithmetic_question(Random(0), lengths=(2,)).truth.numbers) == 2
    with pytest.raises(ValueError, match="lengths"):
        held_out_arithmetic(1, lengths=(2,))  # two numbers are never held out


# ------------------------------------------------------------------------- asking models many times


class Asked:
    """In place of `answer`: remembers what it was asked, and says what `script` has for each
    question and sample."""

    def __init__(self, script):
        self.script, self.calls = script, []

    def __call__(
        self,
        model,
        tokenizer,
        questions,
        max_new_tokens=72,
        n_samples=1,
        temperature=1.0,
        generator=None,
    ):
        self.calls.append(
            {
                "questions": list(questions),
                "n_samples": n_samples,
                "temperature": temperature,
                "max_new_tokens": max_new_tokens,
                "seed": generator.initial_seed(),
            }
        )
        texts = [self.script(question, i) for question in questions for i in range(n_samples)]
        lengths = [len(text) + 1 for text in texts]
        return texts, completions(lengths, torch.zeros(len(lengths), max(lengths)))


def test_many_questions_are_asked_in_parts_and_in_order(monkeypatch):
    asked = Asked(lambda question, i: f"{question} {i}")
    monkeypatch.setattr(rl_task, "answer_questions", asked)
    questions = held_out_arithmetic(7)
    texts, lengths = answer_in_batches(
        MODEL, TOKENIZER, questions, rows=6, seed=5, n_samples=2, temperature=0.5
    )
    assert texts == [f"{question.text} {i}" for question in questions for i in range(2)]
    assert lengths == [len(text) + 1 for text in texts]
    assert [len(call["questions"]) for call in asked.calls] == [3, 3, 1]
    assert {(call["temperature"], call["seed"], call["n_samples"]) for call in asked.calls} == {
        (0.5, 5, 2)
    }
    asked.calls.clear()
    assert (
        len(answer_in_batches(MODEL, TOKENIZER, questions[:2], rows=3, n_samples=9)[0]) == 18
        and len(asked.calls) == 2
    )
    assert answer_in_batches(MODEL, TOKENIZER, []) == ([], [])


def test_an_evaluation_by_hand(monkeypatch):
    """Every second question gets its truth and a sum worked out, the others a shrug."""
    truths = {question.text: question.truth.answer for question in held_out_arithmetic(6)}
    order = list(truths)
    worked = "1+1=2, so {}"

    def script(question, i):
        return worked.format(truths[question]) if order.index(question) % 2 else "大概 ???"

    asked = Asked(script)
    monkeypatch.setattr(rl_task, "answer_questions", asked)
    got = evaluate_arithmetic(MODEL, TOKENIZER, n=6, temperature=0.0)
    lengths = [len(script(question, 0)) + 1 for question in order]
    assert got == pytest.approx(
        {
            "accuracy": 0.5,
            "format": 0,
            "worked": 0.5,
            "mixed": 0,
            "accuracy of worked": 1,
            "mixed of worked": 0,
            "length": sum(lengths) / 6,
            "length of worked": sum(lengths[1::2]) / 3,
        }
    )
    assert asked.calls[0]["temperature"] == 0 and asked.calls[0]["max_new_tokens"] == 90


def test_at_k_by_hand(monkeypatch):
    """Of four answers to each of two questions: two right and two wrong alike; one right and three
    silent."""
    questions = held_out_arithmetic(2, EVALUATION_SEED + 1)
    truths = {question.text: question.truth.answer for question in questions}

    def script(question, i):
        right = truths[question]
        says = (
            [right, right, "99", "99"]
            if question == questions[0].text
            else [right, "hm", "hm", "hm"]
        )
        return f"I think {says[i]}"

    monkeypatch.setattr(rl_task, "answer_questions", Asked(script))
    got = arithmetic_at_k(MODEL, TOKENIZER, n_questions=2, n_samples=4, ks=(1, 2, 4))
    assert got["k"] == [1, 2, 4]
    assert got["pass"] == pytest.approx(
        [(1 / 2 + 1 / 4) / 2, (5 / 6 + 1 / 2) / 2, 1]
    )  # 1 - C(2,2)/C(4,2), 1 - 3/6
    assert got["majority"][2] == pytest.approx((1 / 2 + 1) / 2)  # a tie, and the only one who spoke
    assert got["majority"][0] == pytest.approx((1 / 2 + 1 / 4) / 2, abs=0.15)


def test_a_real_model_is_asked_the_same_way_twice():
    got = [evaluate_arithmetic(MODEL, TOKENIZER, n=5, max_new_tokens=6) for _ in range(2)]
    assert got[0] == got[1] and got[0]["length"] <= 6
    at = arithmetic_at_k(MODEL, TOKENIZER, n_questions=1, n_samples=2, ks=(1, 2))
    assert len(at["pass"]) == len(at["majority"]) == 2 and 0 <= min(at["pass"])


# ------------------------------------------------------------------------------- rejection sampling


def test_the_first_good_answer_to_each_question_is_kept():
    questions = [Question(name, None) for name in "abc"]
    answers = ["no", "yes 1", "yes 2", "no", "no", "no", "yes 3", "yes 4", "no"]
    good = lambda question, text: text.startswith("yes")  # noqa: E731
    assert rejection_sample(questions, answers, good) == [
        (questions[0], "yes 1"),
        (questions[2], "yes 3"),
    ]
    only = lambda question, text: question.text == "b"  # noqa: E731
    assert rejection_sample(questions, answers, only) == [(questions[1], "no")]
    assert rejection_sample(questions, [], good) == []


@pytest.mark.parametrize(("n_questions", "n_answers"), [(3, 7), (0, 4), (0, 0)])
def test_answers_that_cannot_be_shared_out_are_refused(n_questions, n_answers):
    with pytest.raises(
        ValueError, match=f"{n_answers} answers are not the same number for each of {n_questions}"
    ):
        rejection_sample([QUESTION] * n_questions, ["9"] * n_answers, lambda question, text: True)
