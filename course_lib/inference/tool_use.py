"""A tool inside a text: the model writes a call, the tool's answer follows, the model goes on.

    <think>first <calc>7+5</calc>=12, then <calc>12-3</calc>=9</think><answer>9</answer>

What stands behind each `</calc>` up to the next comma the model did not write. Its tokens are put
in place of those that would have been sampled, one by one, so that texts which call and texts which
do not stay side by side in one batch. Nobody learns from them: they are no choice of the model.

Sources: Toolformer (arXiv 2302.04761) for calls as text; Search-R1 (2503.09516) and ReTool
(2504.11536) for leaving the tool's tokens out of the loss of reinforcement learning.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.text.bpe import Tokenizer

CALC, END_CALC = "<calc>", "</calc>"
CALC_TOKENS = (CALC, END_CALC)
PLAIN_SUM = re.compile(r"[0-9]{1,4}(?:[+-][0-9]{1,4})*")
MAX_CALL_CHARS = 64


@dataclass(frozen=True)
class Tool:
    """What answers calls: the tokens between `begin` and `end` go in, its answer's tokens come out.

    Without `masked` its tokens count as the model's own. That is a mistake, to be seen.
    """

    begin: int
    end: int
    answer: Callable[[Sequence[int]], Sequence[int]]
    masked: bool = True


def text_tool(
    tokenizer: Tokenizer, answer: Callable[[str], str], begin: str = CALC, end: str = END_CALC
) -> Tool:
    """Make a tool of a function from text to text; `begin` and `end` are special tokens.

    Raises ValueError if the tokenizer has no such tokens.
    """
    if missing := {begin, end} - set(tokenizer.special_tokens):
        raise ValueError(
            f"the tokenizer has no special tokens {', '.join(sorted(missing))}:"
            " with_special_tokens adds them"
        )
    return Tool(
        tokenizer.special_tokens[begin],
        tokenizer.special_tokens[end],
        lambda call: tokenizer.encode(answer(tokenizer.decode(call))),
    )


def calculator_answer(call: str) -> str:
    """Work out a sum: "=" and its value, or "=error". Never raises, whatever the call says.

    >>> [calculator_answer(call) for call in ("7+5", "7+5-3+8", "3-9", "7", "7+", "7*5", "")]
    ['=12', '=17', '=-6', '=7', '=error', '=error', '=error']
    """
    if len(call) > MAX_CALL_CHARS or not PLAIN_SUM.fullmatch(call):
        return "=error"
    return f"={sum(map(int, re.findall(r'[+-]?[0-9]+', call)))}"


def with_special_tokens(tokenizer: Tokenizer, names: Sequence[str] = CALC_TOKENS) -> Tokenizer:
    """Add special tokens behind all ids there are; all others keep theirs.

    The model needs a row for each, see `models.new_tokens.add_token_rows`.
    """
    if known := set(names) & set(tokenizer.special_tokens):
        raise ValueError(f"the tokenizer already has {', '.join(sorted(known))}")
    new = {name: tokenizer.vocab_size + i for i, name in enumerate(names)}
    return Tokenizer(
        tokenizer.ranks,
        tokenizer.pattern,
        dict(tokenizer.special_tokens) | new,
        tokenizer.decode_only,
    )


class ToolCall:
    """One text's calls, token by token: the call being written, and what is still to be put in."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        self.written: list[int] | None = None  # None outside of a call
        self.pending: deque[int] = deque()

    def read(self, token: int) -> None:
        """Hear a token of the model's; one that ends a call makes the tool answer.

        A new beginning starts the call anew. An end without a beginning calls nobody.
        """
        if token == self.tool.begin:
            self.written = []
        elif self.written is None:
            return
        elif token == self.tool.end:
            self.pending.extend(self.tool.answer(self.written))
            self.written = None
        else:
            self.written.append(token)

    def next_token(self, sampled: int) -> tuple[int, bool]:
        """Give the token that follows, and whether the tool wrote it."""
        if self.pending:
            return self.pending.popleft(), True
        self.read(sampled)
        return sampled, False


def force_tool_tokens(
    calls: Sequence[ToolCall], rows: Int[Tensor, "K"], sampled: Int[Tensor, "K"]
) -> tuple[Int[Tensor, "K"], Bool[Tensor, "K"]]:
    """Put the tools' tokens in place of the sampled ones where an answer is being written.

    `rows` names the text of each sampled token. Returns the tokens, and which the tool wrote.
    """
    pairs = zip(rows.tolist(), sampled.tolist(), strict=True)
    tokens, forced = zip(*(calls[row].next_token(token) for row, token in pairs), strict=True)
    return sampled.new_tensor(tokens), torch.tensor(forced, device=sampled.device)


def mark_tool_tokens(ids: Sequence[int], tool: Tool) -> list[bool]:
    """Say which tokens of a finished text its tool wrote, by asking the tool again.

    Raises ValueError where a text does not have the tool's answer behind a call.

    >>> double = Tool(begin=8, end=9, answer=lambda call: [2 * token for token in call])
    >>> mark_tool_tokens([1, 8, 3, 9, 6, 1], double)
    [False, False, False, False, True, False]
    """
    call, marks = ToolCall(tool), []
    for place, token in enumerate(ids):
        wanted, forced = call.next_token(token)
        if wanted != token:
            raise ValueError(f"token {place} is {token}, but the tool writes {wanted} there")
        marks.append(forced)
    return marks
