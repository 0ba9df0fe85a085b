"""Rewards by rule: by hand, always in their range, and reading whatever a model writes without
running it."""

import builtins
import math
import statistics

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from course_lib.alignment.rewards import (
    RULE_REWARDS,
    RuleReward,
    accuracy_reward,
    any_expression_reward,
    count_words_by_language,
    count_worked_sums,
    english_share,
    format_reward,
    is_mixed,
    language_reward,
    languages_of,
    mean_or_zero,
    mean_reward_parts,
    strict_accuracy_reward,
    true_fraction,
    weighted_reward,
)
from course_lib.text.problems import ChainProblem, SearchProblem

CHAIN = ChainProblem((7, 5, 3), (1, -1))  # 7+5-3 = 9
SEARCH = SearchProblem((20, 9, 3, 6), 14)  # 20-9-3+6


def tagged(thought, answer):
    return f"<think>{thought}</think><answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("text", "right", "formatted", "both", "expression", "in_english"),
    [
        ("9", 1, 0, 0, 0, 1),  # no words, so none in another language
        ("I think 9", 1, 0, 0, 0, 1),
        ("I think 8", 0, 0, 0, 0, 1),
        ("", 0, 0, 0, 0, 1),
        (tagged("first 7+5=12, then 12-3=9", "9"), 1, 1, 1, 0, 1),
        (tagged("first 7+5=12, then 12-3=8", "8"), 0, 1, 0, 0, 1),
        (tagged("easy", "09"), 0, 1, 0, 0, 1),  # the answer is read as it is written
        (tagged("easy", "9") + " lol", 1, 0, 0, 0, 1),
        (tagged("first 7+5=12，再12-3=9", "9"), 1, 1, 1, 0, 1 / 3),  # first | ， 再
        (tagged("大概", "9"), 1, 1, 1, 0, 0),
        (tagged("no idea", "7+5-3"), 0, 1, 0, 1, 1),  # looks like an answer to a search
        (tagged("no idea", "hello"), 0, 1, 0, 0, 1),  # no expression
        ("<answer>9</answer><answer>8</answer>", 0, 0, 0, 0, 1),  # cannot make up its mind
        ("<think>9", 0, 0, 0, 0, 1),  # only thought
    ],
)
def test_answers_by_hand(text, right, formatted, both, expression, in_english):
    rewards = (
        accuracy_reward,
        format_reward,
        strict_accuracy_reward,
        any_expression_reward,
        language_reward,
    )
    got = [reward(CHAIN, text) for reward in rewards]
    assert got == pytest.approx([right, formatted, both, expression, in_english]) and set(
        map(type, got)
    ) == {float}


def test_searches_too():
    assert [accuracy_reward(SEARCH, text) for text in ("20-9-3+6", "20+9-3-6", "14")] == [1, 0, 0]
    assert [any_expression_reward(SEARCH, text) for text in ("20-9-3+6", "20+9-3-6", "14")] == [
        1,
        1,
        0,
    ]


def test_words_and_languages():
    text = "<think>it's 12，再 Éa</think><answer>9</answer>"
    # it's, Éa | ， 再; the names of the tags are no words
    assert count_words_by_language(text) == {"english": 2, "chinese": 2}
    assert (
        languages_of(text) == {"english", "chinese"}
        and is_mixed(text)
        and english_share(text) == 0.5
    )
    assert (
        languages_of("大概 9") == {"chinese"}
        and languages_of("I think 9") == {"english"}
        and languages_of("9") == set()
    )
    assert not any(map(is_mixed, ("大概 9", "I think 9", "9", "", "<think>大</think>")))
    assert english_share("a b c 大") == 0.75 and english_share("12") == 1.0


def test_steps():
    want = {
        "": 0,
        "I think 9": 0,
        "7+5-3": 0,
        "=9": 0,
        "12=12": 0,
        "x+y=z": 0,
        "7 + 5 = 12": 0,
        "7+5=12": 1,
        "7+5=": 1,
        "7+5-3=9": 1,
        "7+5=12, then 12-3=9": 2,
        "7+5=12-3=9": 2,
        "7+5=12, wait, no, 7+5=13": 2,
    }
    assert {text: count_worked_sums(text) for text in want} == want


def test_weighted_by_hand():
    reward = weighted_reward({"accuracy": 1.0, "format": 0.5, "language": 0.25})
    assert (reward.name, reward.low, reward.high) == (
        "1 accuracy + 0.5 format + 0.25 language",
        0.0,
        1.75,
    )
    assert reward(CHAIN, tagged("first 7+5=12，再12-3=9", "9")) == pytest.approx(1 + 0.5 + 0.25 / 3)
    assert reward(CHAIN, "I think 9") == 1.25 and reward(CHAIN, "大概 8") == 0
    texts = [tagged("first 7+5=12，再12-3=9", "9"), "I think 9", "大概 8"]
    parts = mean_reward_parts(reward, [CHAIN] * 3, texts)
    want = {"accuracy": 2 / 3, "format": 0.5 / 3, "language": 0.25 * (1 / 3 + 1 + 0) / 3}
    assert parts == pytest.approx(want)
    assert sum(parts.values()) == pytest.approx(sum(reward(CHAIN, text) for text in texts) / 3)
    assert mean_reward_parts(format_reward, [CHAIN] * 3, texts) == {"format": 1 / 3}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"accuracy": 1.0, "beauty": 1.0, "art": 1.0},
            "no reward art, beauty; there are accuracy, format, language",
        ),
        ({}, "at least one is needed"),
        ({"accuracy": 0.0}, "weights {'accuracy': 0.0}"),
        ({"accuracy": -1.0}, "each must be a number above 0"),
        ({"accuracy": math.nan}, "nan"),
        ({"accuracy": math.inf}, "inf"),
        ({"accuracy": True}, "True"),
        ({"accuracy": "1"}, "'1'"),
    ],
)
def test_impossible_weights_are_named(weights, message):
    with pytest.raises(
        (ValueError, TypeError), match=message
    ):  # the second if annotations are checked
        weighted_reward(weights)


@pytest.mark.parametrize("rating", [1.5, -0.1, math.nan])
def test_a_rule_that_leaves_its_range_is_told(rating):
    with pytest.raises(
        ValueError, match=f"the reward broken gave {rating}, outside 0.0 to 1.0: 'I think 9'"
    ):
        RuleReward("broken", lambda problem, text: rating)(CHAIN, "I think 9")


def test_a_rule_may_have_a_wider_range():
    reward = RuleReward("wide", lambda problem, text: float(text), -1.0, 2.0)
    assert [reward(CHAIN, text) for text in ("-1", "2")] == [-1, 2]


def test_each_reward_stands_under_its_name():
    assert {name: reward.name for name, reward in RULE_REWARDS.items()} == {
        name: name for name in RULE_REWARDS
    }
    assert len(RULE_REWARDS) == 5


PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "<|endoftext|>",
    "9",
    "20-9-3+6",
    "7+5=12",
    "-",
    "+",
    "=",
    " ",
    "\n",
    "first",
    "再",
    "，",
    "<",
    ">",
    "٣",
    "９",
    "\x00",
    "1" * 300,
]
TEXTS = st.text(max_size=60) | st.lists(
    st.sampled_from(PIECES) | st.text(max_size=4), max_size=14
).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("<think>" * 2000 + "9" * 5000)
@example("1+1" * 3000 + "=")
@example(" " * 5000 + "<think>")
@example("<answer>" + "9" * 5000 + "</answer>")
def test_rewards_stay_in_their_range_whatever_the_text(text):
    every = weighted_reward({name: 0.1 + i / 7 for i, name in enumerate(RULE_REWARDS)})
    for problem in (CHAIN, SEARCH):
        for reward in (*RULE_REWARDS.values(), every):
            rating = reward(problem, text)
            assert type(rating) is float and reward.low <= rating <= reward.high
        assert 0 <= english_share(text) <= 1 and count_worked_sums(text) >= 0
        assert strict_accuracy_reward(problem, text) == min(
            accuracy_reward(problem, text), format_reward(problem, text)
        )


ATTACKS = [
    "__import__('os').system('touch {path}')",
    "open('{path}', 'w')",
    "exec(\"open('{path}', 'w')\")",
    "(lambda: 9)()",
    "10-1",
    "3**2",
    "int('9')",
    "0x9",
    "9.0",
    "9 or 8",
    "{{{{9}}}}",
    "{{% print(9) %}}",
    "sum([4, 5])",
]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("frame", ["<answer>{}</answer>", "<think>easy</think><answer>{}</answer>"])
def test_text_is_never_evaluated(attack, frame, tmp_path, monkeypatch):
    for name in ("eval", "exec", "compile", "open"):
        monkeypatch.setattr(builtins, name, lambda *_, **__: pytest.fail("the text was run"))
    text = frame.format(attack.format(path=tmp_path / "owned"))
    scores = [
        accuracy_reward(CHAIN, text),
        accuracy_reward(SEARCH, text),
        strict_accuracy_reward(CHAIN, text),
    ]
    monkeypatch.undo()
    assert scores == [0, 0, 0] and not list(tmp_path.iterdir())


def test_share():
    assert true_fraction([True, False]) == 0.5 and true_fraction([]) == 0


def test_a_mean_is_that_of_statistics_and_0_for_nothing():
    for values in ([3], [20, 31], [0.5, 1.0, 0.0], [-1.5, 2.25, 7.0]):
        assert mean_or_zero(values) == pytest.approx(statistics.fmean(values))
    assert mean_or_zero([]) == 0
