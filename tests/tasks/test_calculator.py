"""Demonstrations with calls: right, never held out, and the tool's tokens no targets."""

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.alignment.rewards import count_worked_sums
from course_lib.alignment.sft import sft_batch
from course_lib.inference.tool_use import (
    Tool,
    calculator_answer,
    mark_tool_tokens,
    text_tool,
    with_special_tokens,
)
from course_lib.tasks.calculator import (
    CALL_STYLES,
    answer_with_calls,
    calculator_task,
    draw_call_demonstrations,
    tool_use_examples,
    wrong_calculator_answer,
)
from course_lib.text import bpe
from course_lib.text.batches import IGNORE_INDEX
from course_lib.text.chat import SPECIAL_TOKENS
from course_lib.text.problems import draw_chain, is_well_formed, verify_answer

TOKENIZER = with_special_tokens(
    bpe.train_bpe(["ab"], 256 + len(SPECIAL_TOKENS), bpe.WORD_PATTERN, SPECIAL_TOKENS)
)
TOOL = text_tool(TOKENIZER, calculator_answer)


@given(st.integers(0, 10_000), st.sampled_from(CALL_STYLES))
def test_demonstrations_are_right_and_their_calls_are_answered_rightly(seed, style):
    chain = draw_chain(Random(seed), (3, 8))
    text = answer_with_calls(chain, style)
    assert verify_answer(chain, text) and is_well_formed(text)
    calls = re.findall(r"<calc>([^<]*)</calc>(=[0-9]+)", text)
    assert len(calls) == {"none": 0, "whole": 1, "steps": len(chain.signs)}[style]
    assert all(eval(call) == int(said[1:]) for call, said in calls)
    plain = re.sub("</?calc>", "", text)
    assert count_worked_sums(plain) == (1 if style == "whole" else len(chain.signs))


def test_an_unknown_style_is_refused():
    with pytest.raises(ValueError, match="style 'two' is not one of none, steps, whole"):
        answer_with_calls(draw_chain(Random(0)), "two")


@pytest.mark.parametrize("style", ["steps", "whole"])
@pytest.mark.parametrize("masked", [True, False])
def test_all_pieces_together_teach_each_token_of_the_model_once(style, masked):
    pairs = draw_call_demonstrations(Random(0), 20, style)
    tool = Tool(TOOL.begin, TOOL.end, TOOL.answer, masked)
    for pair in pairs:
        (whole,) = tool_use_examples(TOKENIZER, [pair], None)
        pieces = tool_use_examples(TOKENIZER, [pair], tool)
        ids, start = whole.prompt + whole.completion, len(whole.prompt)
        marks = mark_tool_tokens(whole.completion, TOOL)
        taught = []
        for piece in pieces:
            both = [*piece.prompt, *piece.completion]
            assert both == ids[: len(both)]
            taught += range(len(piece.prompt), len(both))
        want = [start + i for i, by_tool in enumerate(marks) if not (by_tool and masked)]
        assert taught == want
        _, targets = sft_batch(pieces)
        assert int((targets != IGNORE_INDEX).sum()) == len(want)


def test_without_a_tool_a_demonstration_is_one_example():
    pairs = draw_call_demonstrations(Random(0), 5, "none")
    assert len(tool_use_examples(TOKENIZER, pairs, None)) == 5


def test_a_demonstration_with_a_wrong_answer_is_refused():
    pair = ("7+5-3=?", "<think><calc>7+5-3</calc>=8</think><answer>8</answer>")
    with pytest.raises(ValueError, match="but the tool writes"):
        tool_use_examples(TOKENIZER, [pair], TOOL)


@given(st.integers(0, 10_000))
def test_the_wrong_calculator_is_wrong_in_range_and_always_the_same(seed):
    chain = draw_chain(Random(seed), (2, 8))
    answer = wrong_calculator_answer(chain.expression)
    assert answer == wrong_calculator_answer(chain.expression)
    assert 0 <= int(answer[1:]) <= 20 and answer[1:] != chain.answer
    assert wrong_calculator_answer("7+") == "=error"


def test_the_task_has_the_tool():
    assert calculator_task(TOOL).tool is TOOL and calculator_task(None).tool is None
