"""Checkers of lesson 28. The bytes are written here by numpy, the rows are found one by one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_lib.lab.checks.core import Attempt, Wrong, checker, describe
from course_lib.lab.checks.slips import judge_by_slips

# Exercise 1: strings
# --------------------------------------------------------------------------------------------------

TEXTS = ("general.name", "café", "", "smollm2", " once\n", 30 * "a template ")


def _string_bytes(text: str) -> bytes:
    content = text.encode()
    return np.array([len(content)], "<u8").tobytes() + content


def _string_cases() -> list[tuple[bytes, int]]:
    joined, cases = b"GGUF", []
    for text in TEXTS:
        cases.append(len(joined))
        joined += _string_bytes(text)
    return [(joined + b"the rest", at) for at in cases]


def _read(data: bytes, at: int, size: int = 8, order: str = "little") -> tuple[str, int]:
    length = int.from_bytes(data[at : at + size], order)
    end = at + size + length
    return data[at + size : end].decode(errors="replace"), end


def _too_few(data: bytes, at: int) -> tuple[str, int]:
    text, end = _read(data, at)
    return text, end - 8


def _by_characters(data: bytes, at: int) -> tuple[str, int]:
    text, _ = _read(data, at)
    return text, at + 8 + len(text)


def _only_length(data: bytes, at: int) -> tuple[str, int]:
    text, end = _read(data, at)
    return text, end - at


def _cut(data: bytes, begin: int, end: int | None, coding: str = "utf-8") -> str:
    return data[begin:end].decode(coding, errors="ignore")


def _other_text(find: Callable[[bytes, int, int], str]) -> Callable[[bytes, int], tuple[str, int]]:
    """The right end, and the text found in the bytes, their begin `at + 8`, and the length."""

    def slip(data: bytes, at: int) -> tuple[str, int]:
        _, end = _read(data, at)
        return find(data, at + 8, end - at - 8), end

    return slip


def _one_byte(data: bytes, at: int) -> tuple[str, int]:
    end = at + 8 + data[at]
    return _cut(data, at + 8, end), end


@checker
def read_string(attempt: Attempt) -> str:
    """Read a string of a GGUF file, and where the next thing begins."""

    def plain(got: Any) -> Any:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return the text and the position behind it; got {describe(got)}")
        if isinstance(got[0], bytes):
            raise Wrong("the text is still bytes: decode it")
        if isinstance(got[1], str):
            raise Wrong("the text comes first, then the position behind it.")
        return tuple(got)

    slips = [
        (_too_few, "the 8 bytes of the length are not counted: the next thing begins behind them"
         " *and* the text."),
        (_only_length, "the second value is how far you went. Give the position itself: add `at`."),
        (_by_characters, "the length counts bytes, not characters: é takes two."),
        (lambda data, at: (_read(data, at)[0], at), "the second value is where the string begins."
         " Give where it ends."),
        (lambda data, at: _read(data, 4), "every answer is about the first string. Begin at `at`."),
        (lambda data, at: _read(data, at, 4), "the length has 8 bytes (u64), not 4."),
        (_other_text(lambda data, begin, n: _cut(data, begin - 4, begin - 4 + n)), "the length has"
         " 8 bytes (u64), not 4: the text begins behind all of them."),
        (_one_byte, "one byte of the length is read. It has 8, so that a text may be longer than"
         " 255 bytes."),
        (lambda data, at: _read(data, at, order="big"), "the length's highest byte is taken for"
         " its first. The lowest comes first: \"<Q\"."),
        (lambda data, at: (_read(data, at)[0], _read(data, at)[1] - 1), "this is the position of"
         " the text's last byte. Give that of the first byte behind it."),
        (lambda data, at: (_read(data, at)[0], _read(data, at)[1] - at - 8), "the second value is"
         " the text's length. Give the position behind it."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + n, "latin-1")), "each byte"
         " became a character of its own. The text is UTF-8: é takes two bytes."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + n, "ascii")), "characters"
         " outside ASCII are lost. The text is UTF-8."),
        (_other_text(lambda data, begin, n: _cut(data, begin, None)[:n]), "the length counts"
         " bytes, not characters: cut the bytes first, then decode."),
        (_other_text(lambda data, begin, n: _cut(data, begin, None)), "the text runs to the end of"
         " the data. It ends where its length says."),
        (_other_text(lambda data, begin, n: _cut(data, begin, n)), "the slice ends at the length"
         " itself. A slice ends at a position: `at + 8 + length`."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + n).strip()), "blanks and new"
         " lines around the text are cut. They belong to it: many tokens begin with a blank."),
        (_other_text(lambda data, begin, n: _cut(data, begin, begin + max(0, n - 1))), "the text's"
         " last byte is missing. No zero byte ends a string here; its length is enough."),
    ]  # fmt: skip
    judge_by_slips(
        attempt, _string_cases(), _read, slips, lambda data, at: f"the string at {at}", plain=plain
    )
    return "a key, a value, a token: most of a header is such strings."


# Exercise 2: a block
# --------------------------------------------------------------------------------------------------


def _block(scale: float, least: float, seed: int) -> bytes:
    codes = np.random.default_rng(seed).integers(0, 256, 16, dtype=np.uint8)
    return np.array([scale, least], "<f2").tobytes() + codes.tobytes()


BLOCKS = [(_block(0.5, -2.0, 0),), (_block(0.0625, 0.25, 1),), (_block(-0.125, 1.5, 2),)]


def _weights(
    block: bytes,
    weight: Callable[[float, float, int], float] = lambda d, m, code: d * code + m,
    order: str = "halves",
    scales: str = "<f2",
    first: int = 4,
    low: Callable[[int], int] = lambda byte: byte % 16,
    high: Callable[[int], int] = lambda byte: byte // 16,
) -> list[float]:
    d, m = np.frombuffer(block[:4], scales).astype(float)
    content = block[first : first + 16]
    lows, highs = [low(byte) for byte in content], [high(byte) for byte in content]
    pairs = [code for both in zip(lows, highs, strict=True) for code in both]
    turned = [code for both in zip(highs, lows, strict=True) for code in both]
    orders = {"halves": lows + highs, "high first": highs + lows, "pairs": pairs, "turned": turned}
    return [float(weight(d, m, code)) for code in orders[order]]


def _signed(code: int) -> int:
    return code - 16 if code > 7 else code


BLOCK_SLIPS = [
    (lambda b: _weights(b, order="pairs"), "the two codes of a byte are not neighbours: the low"
     " halves are weights 0 to 15, the high ones 16 to 31."),
    (lambda b: _weights(b, order="turned"), "the two codes of a byte are not neighbours, and weight"
     " 0 is in a low half: the low halves are weights 0 to 15, the high ones 16 to 31."),
    (lambda b: _weights(b, order="high first"), "high and low halves are exchanged: weight 0 is in"
     " the low half of the first byte."),
    (lambda b: _weights(b, lambda d, m, q: d * (q - 8) + m), "8 is taken off each code. Q4_0 does"
     " so; here the least weight is stored instead."),
    (lambda b: _weights(b, lambda d, m, q: d * (q - 8)), "8 is taken off each code. Q4_0 does so;"
     " here the least weight is stored instead, in bytes 2 and 3."),
    (lambda b: _weights(b, lambda d, m, q: d * _signed(q) + m), "codes from 8 on became negative. A"
     " code has no sign: it goes from 0 to 15."),
    (lambda b: _weights(b, lambda d, m, q: q), "these are the codes. A weight is the scale times"
     " its code, and the least weight added."),
    (lambda b: _weights(b, lambda d, m, q: d * q), "the least weight is not added: bytes 2 and 3."),
    (lambda b: _weights(b, lambda d, m, q: d * q - m), "the least weight is subtracted. Add it: it"
     " carries its own sign."),
    (lambda b: _weights(b, lambda d, m, q: d * (q + m)), "the least weight is scaled as well. Only"
     " the code is: d times q, then m added."),
    (lambda b: _weights(b, lambda d, m, q: m * q + d), "scale and least weight are exchanged: the"
     " scale comes first."),
    (lambda b: [-x for x in _weights(b)], "all signs are turned."),
    (lambda b: _weights(b, scales=">f2"), "scale and least weight are read with their high byte"
     " first. The low byte comes first: \"<2e\"."),
    (lambda b: _weights(b, scales="<i2"), "scale and least weight are read as whole numbers. They"
     " are float16: letter e in a format of `struct`."),
    (lambda b: _weights(b, first=0), "the codes begin at byte 4: bytes 0 to 3 are scale and least"
     " weight."),
    (lambda b: _weights(b, high=lambda byte: byte & 240), "the high halves are not shifted: they"
     " are 16 times too large."),
    (lambda b: _weights(b, low=lambda byte: byte & 7), "a low half loses its highest bit: four bits"
     " are left by `& 15`."),
    (lambda b: [round(x, 2) for x in _weights(b)], "the weights are rounded. Give them as they"
     " are."),
]  # fmt: skip


@checker
def dequantize_block(attempt: Attempt) -> str:
    """Make 32 weights of the 20 bytes of a Q4_1 block."""

    def plain(got: Any) -> list:
        found = list(got.tolist() if hasattr(got, "tolist") else got)
        if len(found) != 32:
            raise Wrong(f"a block has 32 weights, two in each of 16 bytes; got {len(found)}")
        return found

    judge_by_slips(attempt, BLOCKS, _weights, BLOCK_SLIPS, lambda b: "the weights", plain=plain)
    return "20 bytes for 32 weights: 5 bits each."


# Exercise 3: rows
# --------------------------------------------------------------------------------------------------


def _rows(seed: int, n_rows: int, width: int) -> Tensor:
    return torch.randn(n_rows, width, generator=torch.Generator().manual_seed(seed))


ROW_CASES = [(_rows(0, 12, 3), 2), (_rows(1, 8, 2), 1), (_rows(2, 24, 5), 3)]


def _halves(rows: Tensor, n_heads: int, parities: tuple[int, int] = (0, 1)) -> Tensor:
    """Find each row: head by head, the even ones, then the odd ones."""
    size, found = len(rows) // n_heads, []
    for head in range(n_heads):
        for parity in parities:
            found += [rows[head * size + i] for i in range(parity, size, 2)]
    return torch.stack(found)


def _heads_moved(rows: Tensor, n_heads: int) -> Tensor:
    heads = rows.view(n_heads, len(rows) // n_heads, -1)
    return torch.cat([heads[::2], heads[1::2]]).flatten(0, 1)


def _halves_exchanged(rows: Tensor, n_heads: int) -> Tensor:
    heads = rows.view(n_heads, len(rows) // n_heads, -1)
    return torch.cat(heads.chunk(2, dim=1)[::-1], dim=1).flatten(0, 1)


def _neighbours(rows: Tensor, n_heads: int) -> Tensor:
    """Go the other way: from halves to neighbours."""
    order = _halves(torch.arange(len(rows)).view(-1, 1), n_heads).flatten()
    return rows[order.argsort()]


@checker
def to_halves(attempt: Attempt) -> str:
    """Reorder the rows of queries or keys for rotation by halves."""
    slips = [
        (lambda rows, n: rows, "the rows stay as they are."),
        (_neighbours, "this is the way back: it takes halves apart into neighbours. Rows 0, 2, 4,"
         " ... of a head should come first."),
        (lambda rows, n: _halves(rows, 1), "the matrix is treated as one head. Each head has pairs"
         " of its own: cut the rows into heads first."),
        (lambda rows, n: _halves(rows, n, (1, 0)), "the odd rows of a head come first."
         " Even rows first: 0, 2, 4, ..."),
        (lambda rows, n: _halves(rows, n, (0, 0)), "the even rows of a head stand there twice, and"
         " the odd ones are lost. Rows 1, 3, 5, ... come second."),
        (lambda rows, n: _halves(rows, len(rows) // n), "`n_heads` is taken for the number of rows"
         " in a head. It is the number of heads."),
        (_heads_moved, "whole heads are moved. The heads stay where they are; the rows move within"
         " each."),
        (_halves_exchanged, "the two halves of each head are exchanged. Take every second row"
         " instead, from 0 on, then from 1 on."),
    ]  # fmt: skip
    judge_by_slips(
        attempt, ROW_CASES, _halves, slips, lambda rows, n: f"{len(rows)} rows in {n} heads"
    )
    return "rows 2i and 2i + 1 of a head now stand half a head apart."


# Exercise 4: a chat
# --------------------------------------------------------------------------------------------------

PROMPT = "You are a parrot."


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


CHATS = [
    ([_message("user", "Who are you?")], PROMPT),
    (
        [
            _message("user", " 2 + 2?"),
            _message("assistant", "4\n"),
            _message("user", "Sure?\nReally?"),
        ],
        PROMPT,
    ),
    ([_message("system", "Be brief."), _message("user", "Hello")], PROMPT),
    ([_message("user", "Hi"), _message("system", "Be kind."), _message("user", "Who?")], ""),
]


def _told(messages: list[dict[str, str]], between: str = "\n", after: str = "<|im_end|>\n") -> str:
    text = ""
    for message in messages:
        text += "<|im_start|>" + message["role"] + between + message["content"] + after
    return text


def _added(messages: list[dict[str, str]], system: str) -> list[dict[str, str]]:
    """The system's message, where none stands in front."""
    return [_message("system", system)] if messages[0]["role"] != "system" else []


def _full(messages: list[dict[str, str]], system: str) -> list[dict[str, str]]:
    return _added(messages, system) + messages


def _chat(
    messages: list[dict[str, str]],
    system: str,
    full: Callable[[list[dict[str, str]], str], list[dict[str, str]]] = _full,
    between: str = "\n",
    after: str = "<|im_end|>\n",
    end: str = "<|im_start|>assistant\n",
) -> str:
    return _told(full(messages, system), between, after) + end


def _anywhere(messages: list[dict[str, str]], system: str) -> list[dict[str, str]]:
    missing = all(message["role"] != "system" for message in messages)
    return [_message("system", system)] * missing + messages


def _replaced(messages: list[dict[str, str]], system: str) -> list[dict[str, str]]:
    others = [message for message in messages if message["role"] != "system"]
    return [_message("system", system), *others]


def _stripped(messages: list[dict[str, str]], system: str) -> list[dict[str, str]]:
    return [_message(m["role"], m["content"].strip()) for m in _full(messages, system)]


def _beginless(messages: list[dict[str, str]], system: str) -> str:
    return _told(_full(messages, system)).replace("<|im_start|>", "")


def _answers_everywhere(messages: list[dict[str, str]], system: str) -> str:
    begun = "<|im_start|>assistant\n"
    return "".join(_told([message]) + begun for message in _full(messages, system))


def _answers_before_users(messages: list[dict[str, str]], system: str) -> str:
    begun, user = "<|im_start|>assistant\n", "<|im_start|>user"
    return _told(_full(messages, system)).replace(user, begun + user)


def _roles_lost(messages: list[dict[str, str]], system: str) -> str:
    told = [f"<|im_start|>{m['content']}<|im_end|>\n" for m in _full(messages, system)]
    return "".join(told) + "<|im_start|>assistant\n"


CHAT_SLIPS = [
    (lambda m, s: _chat(m, s, end=""), "no answer begins. Behind the last message stand"
     " <|im_start|>assistant and a new line."),
    (lambda m, s: _chat(m, s, end="<|im_start|>assistant"), "the last new line is missing: one"
     " stands behind the word assistant too."),
    (lambda m, s: _chat(m, s, end="<|im_start|>assistant\n<|im_end|>\n"), "the answer is ended at"
     " once. Leave it open: the model writes it, and its <|im_end|>."),
    (lambda m, s: _chat(m, s, end="<|im_start|>user\n"), "the user is to go on. Begin a message of"
     " the assistant."),
    (lambda m, s: _chat(m, s, lambda m, s: m), "no system message is added where the first message"
     " is not the system's."),
    (lambda m, s: _chat(m, s, lambda m, s: [_message("system", s), *m]), "a chat that begins with"
     " a system message of its own gets a second one."),
    (lambda m, s: _chat(m, s, _replaced), "the chat's own system message is replaced. `system` is"
     " for chats that do not begin with one."),
    (lambda m, s: _chat(m, s, _anywhere), "a system message later in the chat is taken for one in"
     " front. Look at the first message alone."),
    (lambda m, s: _chat(m, s, lambda m, s: m + _added(m, s)), "the system message is added at the"
     " end. It goes first."),
    (lambda m, s: _chat(m, s, lambda m, s: _full(m, s)[::-1]), "the messages stand in reversed"
     " order."),
    (lambda m, s: _chat(m, s, lambda m, s: _added(m, s) + m[::-1]), "the messages stand in reversed"
     " order."),
    (lambda m, s: _chat(m, s, lambda m, s: _full(m[-1:], s)), "only the last message is told. To"
     " the model a chat is all of it, every turn."),
    (lambda m, s: _chat(m, s, lambda m, s: _added(m, s) + m[-1:]), "only the last message is told."
     " To the model a chat is all of it, every turn."),
    (lambda m, s: _chat(m, s, _stripped), "blanks and new lines around a message are cut. Write"
     " the content as it is."),
    (lambda m, s: _chat(m, s, after="<|im_end|>"), "no new line stands behind a message's"
     " <|im_end|>."),
    (lambda m, s: _chat(m, s, after="\n<|im_end|>\n"), "a new line too many stands before"
     " <|im_end|>: the content ends there at once."),
    (lambda m, s: _chat(m, s, after="\n"), "<|im_end|> is missing behind the content."),
    (lambda m, s: _chat(m, s, after="<|im_end|>\n\n"), "an empty line stands between messages. One"
     " new line is enough."),
    (lambda m, s: _chat(m, s, between=""), "no new line stands between role and content."),
    (lambda m, s: _chat(m, s, between=" "), "a blank stands between role and content. A new line"
     " belongs there."),
    (lambda m, s: _chat(m, s, between=": "), "a colon stands between role and content. A new line"
     " belongs there."),
    (lambda m, s: _chat(m, s, between=":\n"), "a colon stands behind the role. Only a new line"
     " belongs there."),
    (lambda m, s: _beginless(m, s) + "<|im_start|>assistant\n", "<|im_start|> is missing before"
     " the role."),
    (lambda m, s: _beginless(m, s) + "assistant\n", "<|im_start|> is missing before the role."),
    (_roles_lost, "the role is missing: the model must read who speaks."),
    (_answers_everywhere, "an answer begins behind every message. It begins once, behind the"
     " last."),
    (_answers_before_users, "an answer begins before every user's message. It begins once, behind"
     " the last message."),
]  # fmt: skip


@checker
def chat_text(attempt: Attempt) -> str:
    """Write a chat by SmolLM2's template, ready for an answer."""

    def plain(got: Any) -> str:
        if not isinstance(got, str):
            raise Wrong(f"return one text, a str; got {describe(got)}")
        return got

    judge_by_slips(
        attempt, CHATS, _chat, CHAT_SLIPS, lambda m, s: f"the text of a chat of {len(m)}",
        plain=plain,
    )  # fmt: skip
    return "to the model a chat is one text, whoever speaks in it."


# Exercise 5: bytes per token
# --------------------------------------------------------------------------------------------------

TABLE, HEAD = "token_embd.weight", "output.weight"
FORMS = {"F32": (1, 4), "Q8_0": (32, 34), "Q4_1": (32, 20), "odd": (16, 5)}
BODY = {
    "norm.weight": ("F32", 1, 64),
    "attn_q.weight": ("Q4_1", 64, 64),
    "ffn_up.weight": ("odd", 96, 64),
}
BYTE_CASES = [
    (BODY, FORMS),
    ({TABLE: ("Q8_0", 160, 64), **BODY}, FORMS),
    ({TABLE: ("Q8_0", 160, 64), **BODY, HEAD: ("Q4_1", 160, 64)}, FORMS),
]
Tensors = dict[str, tuple[str, int, int]]
Blocks = dict[str, tuple[int, int]]


def _bytes_read(
    tensors: Tensors,
    blocks: Blocks,
    size: Callable[[int, int, int, int], float] = lambda r, c, w, b: r * c * b / w,
    looked_up: Callable[[str, bool], bool] = lambda name, untied: name == TABLE and untied,
    then: int = 1,
    skip: Callable[[str, str], bool] = lambda name, form: False,
) -> float:
    untied, total = HEAD in tensors, 0.0
    for name, (form, rows, columns) in tensors.items():
        if not skip(name, form):
            n_rows = then if looked_up(name, untied) else rows
            total += size(n_rows, columns, *blocks[form])
    return total


BYTE_SLIPS = [
    (lambda t, b: _bytes_read(t, b, looked_up=lambda n, untied: False), "the token table is always"
     " read whole. Where there is an `output.weight`, one row of it is looked up."),
    (lambda t, b: _bytes_read(t, b, looked_up=lambda n, untied: n == TABLE), "one row of the token"
     " table is counted even where it is the head as well. Then it is read whole."),
    (lambda t, b: _bytes_read(t, b, looked_up=lambda n, untied: n == TABLE and not untied), "the"
     " two cases are exchanged: without an `output.weight` the token table is read whole."),
    (lambda t, b: _bytes_read(t, b, looked_up=lambda n, untied: n == HEAD), "one row of the head is"
     " counted. The head scores every token, so it is read whole; the token table is not."),
    (lambda t, b: _bytes_read(t, b, then=0), "where the head is a tensor of its own, nothing of the"
     " token table is counted. One row is looked up."),
    (lambda t, b: _bytes_read(t, b, skip=lambda n, form: n == TABLE), "the token table is left"
     " out. It is read whole as the head, else by one row."),
    (lambda t, b: _bytes_read(t, b, skip=lambda n, form: n == HEAD), "the head, `output.weight`, is"
     " left out."),
    (lambda t, b: _bytes_read(t, b, skip=lambda n, form: n == HEAD, looked_up=lambda n, u: False),
     "the head, `output.weight`, is left out."),
    (lambda t, b: _bytes_read(t, b, skip=lambda n, form: form == "F32"), "tensors in F32 are left"
     " out: norms are read as well."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: r * c), "these are weights. Bytes are asked:"
     " blocks times the bytes of a block."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: r * c / w), "these are blocks. Each has a"
     " number of bytes."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: r * c * n), "every weight is counted as a"
     " block of its own. Divide by the weights of a block."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: r * c * w / n), "weights and bytes of a"
     " block are exchanged: `blocks` gives the weights first."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: r * c * w // n), "weights and bytes of a"
     " block are exchanged: `blocks` gives the weights first."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: 4 * r * c), "every weight is counted with"
     " 4 bytes, as in float32. Its format says how many bytes a block has."),
    (lambda t, b: 8 * _bytes_read(t, b), "these are bits, 8 times too many."),
    (lambda t, b: _bytes_read(t, b) / 1e6, "these are megabytes. Give bytes."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: c / w * n), "one row of every tensor is"
     " counted. Only the token table is looked up by the row."),
    (lambda t, b: _bytes_read(t, b, lambda r, c, w, n: (r + c) // w * n), "rows and columns are"
     " added. A matrix has rows times columns weights."),
]  # fmt: skip


@checker
def token_bytes(attempt: Attempt) -> str:
    """Count the bytes of weights that are read to write one token."""
    judge_by_slips(
        attempt, BYTE_CASES, _bytes_read, BYTE_SLIPS,
        lambda tensors, blocks: f"the bytes of a token, {', '.join(tensors)}",
    )  # fmt: skip
    return "bandwidth over these bytes is the ceiling at batch 1."


# Exercise 6: two codes of 4 bits
# --------------------------------------------------------------------------------------------------

CODE_CASES = [
    (torch.arange(-128, 128, dtype=torch.int8),),
    (torch.tensor([[0, 1, -1], [15, 16, -16]], dtype=torch.int8),),
]


def _split(
    codes: Tensor,
    shift: Callable[[int], int] = lambda c: c + 128,
    base: int = 16,
    taken: tuple[int, int] = (0, 0),
) -> tuple[Tensor, Tensor]:
    shifted = codes.to(torch.int64).clone().apply_(shift)
    return shifted // base - taken[0], shifted % base - taken[1]


def _wrapped(number: int) -> int:
    """What int8 makes of a number that is too large."""
    return (number + 128) % 256 - 128


SPLIT_SLIPS = [
    (lambda c: _split(c, lambda x: _wrapped(x + 128)), "128 was added in int8, which ends at 127"
     " and goes on at -128. Go to a type with more bits first."),
    (lambda c: _split(c, lambda x: x % 256), "negative codes are read as two's complement: -1"
     " became 255. Add 128 instead."),
    (lambda c: _split(c, abs), "the sign is lost: 3 and -3 get the same codes. Add 128 first."),
    (lambda c: _split(c, lambda x: x + 127), "127 was added, and -128 fell below 0. Add 128."),
    (lambda c: _split(c)[::-1], "`low` comes first. Return high, then low."),
    (lambda c: _split(c, taken=(8, 0)), "`high` goes from -8 to 7. It should go from 0 to 15: add"
     " 128 to the codes first, and leave it to the kernel to take 8 off."),
    (lambda c: _split(c, taken=(8, 8)), "8 is taken off both. The kernel does that: return numbers"
     " from 0 to 15."),
    (lambda c: _split(c, taken=(0, 8)), "8 is taken off `low`. The kernel does that: return numbers"
     " from 0 to 15."),
    (lambda c: (16 * _split(c)[0], _split(c)[1]), "`high` is 16 times too large: shift it down by"
     " 4 bits."),
    (lambda c: _split(c, base=8), "the codes are split at 8. Four bits hold 16 numbers."),
    (lambda c: _split(c, base=15), "the codes are split at 15. Four bits hold 16 numbers, 0 to"
     " 15."),
    (lambda c: ((c.double() + 128) / 16, _split(c)[1]), "`high` has fractions. Divide by //, which"
     " gives whole numbers."),
    (lambda c: ((c.double() / 16).trunc() + 8, _split(c)[1]), "negative codes are rounded toward"
     " zero: -1 gets the `high` of 1. Add 128 before you divide."),
]  # fmt: skip


@checker
def split_codes(attempt: Attempt) -> str:
    """Make two codes of 4 bits of each code of 8."""

    def plain(got: Any) -> tuple:
        if not isinstance(got, tuple | list) or len(got) != 2:
            raise Wrong(f"return two tensors, high and low; got {describe(got)}")
        return tuple(got)

    judge_by_slips(
        attempt, CODE_CASES, _split, SPLIT_SLIPS, lambda c: f"{c.numel()} codes", plain=plain
    )
    return "two products with 4 bits make one with 8."
