"""Sums with a calculator in the thought: demonstrations, the task, and calculators that fail.

Two ways to use it. "steps": each step is a call, as in `first <calc>7+5</calc>=12, then ...`.
"whole": one call holds the whole question, `<calc>7+5-3</calc>=9`.
"""

import zlib
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from course_lib.alignment.rl_task import RLTask
from course_lib.alignment.sft import SFTExample, sft_examples
from course_lib.inference.tool_use import CALC, END_CALC, Tool, calculator_answer, mark_tool_tokens
from course_lib.tasks.arithmetic import ZERO_REWARDS, arithmetic_task, draw_arithmetic_question
from course_lib.tasks.demonstrations import as_dialogue, worked_answer
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import ANSWER, END_ANSWER, END_THINK, THINK
from course_lib.text.problems import MAX_PARTIAL, ChainProblem, signed_expression

CALL_STYLES = ("none", "steps", "whole")


def answer_with_calls(chain: ChainProblem, style: str = "steps") -> str:
    """Write a chain's solution with its calls and the calculator's answers.

    >>> answer_with_calls(ChainProblem((7, 5, 3), (1, -1)))
    '<think>first <calc>7+5</calc>=12, then <calc>12-3</calc>=9</think><answer>9</answer>'
    >>> answer_with_calls(ChainProblem((7, 5, 3), (1, -1)), "whole")
    '<think><calc>7+5-3</calc>=9</think><answer>9</answer>'
    """
    if style not in CALL_STYLES:
        raise ValueError(f"style {style!r} is not one of {', '.join(CALL_STYLES)}")
    if style == "none":
        return worked_answer(chain)
    if style == "whole":
        steps = f"{CALC}{chain.expression}{END_CALC}={chain.answer}"
    else:
        steps = "first " + ", then ".join(
            f"{CALC}{signed_expression((before, number), (sign,))}{END_CALC}={after}"
            for before, number, sign, after in zip(
                chain.partial_results[:-1],
                chain.numbers[1:],
                chain.signs,
                chain.partial_results[1:],
                strict=True,
            )
        )
    return f"{THINK}{steps}{END_THINK}{ANSWER}{chain.answer}{END_ANSWER}"


def draw_call_demonstrations(
    rng: Random, n: int, style: str, lengths: tuple[int, ...] = (3, 4, 5, 6)
) -> list[tuple[str, str]]:
    """Draw `n` sums with answers that call, as pairs (question, answer); none is held out."""
    drawn = [draw_arithmetic_question(rng, lengths) for _ in range(n)]
    return [(question.text, answer_with_calls(question.truth, style)) for question in drawn]


def tool_use_examples(
    tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], tool: Tool | None
) -> list[SFTExample]:
    """Cut each demonstration where the tool has answered: what it wrote is read, never learnt.

    As after a user's turn in a chat. With a tool that is not `masked`, its answer is the end of the
    piece before it, and is learnt. The targets of all pieces together are those of one text with a
    mask.
    """
    whole = sft_examples(tokenizer, [as_dialogue(*pair) for pair in pairs])
    return whole if tool is None else [piece for one in whole for piece in cut_at_calls(one, tool)]


def cut_at_calls(example: SFTExample, tool: Tool) -> list[SFTExample]:
    """Cut one example into pieces, each of which is to be continued by the model alone.

    >>> double = Tool(begin=8, end=9, answer=lambda call: [2 * token for token in call])
    >>> cut_at_calls(SFTExample([1], [8, 3, 9, 6, 0]), double)[1]
    SFTExample(prompt=[1, 8, 3, 9, 6], completion=[0])
    """
    read, ids = list(example.prompt), list(example.completion)
    marks = mark_tool_tokens(ids, tool)
    ends = [i + 1 for i in range(len(ids)) if i + 1 == len(ids) or (marks[i] and not marks[i + 1])]
    pieces, start = [], 0
    for end in ends:
        n_own = end - start if not tool.masked else marks[start:end].count(False)
        if n_own:
            pieces.append(SFTExample(read + ids[:start], ids[start : start + n_own]))
        start = end
    return pieces


def calculator_task(tool: Tool | None) -> RLTask:
    """Make the task of sums of three to six numbers, with this tool at hand."""
    return replace(arithmetic_task(ZERO_REWARDS), tool=tool)


def wrong_calculator_answer(call: str) -> str:
    """Give a wrong value for a sum, always the same: 0 to 20, as far as one can see by chance."""
    right = calculator_answer(call)
    shift = 1 + zlib.crc32(call.encode()) % MAX_PARTIAL
    return right if right == "=error" else f"={(int(right[1:]) + shift) % (MAX_PARTIAL + 1)}"
