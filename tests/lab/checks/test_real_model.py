"""The checkers of lesson 28 accept right answers and name typical slips."""

import struct

import numpy as np
import torch
from jinja2 import Template

from course_lib.lab.checks import real_model as check
from course_lib.lab.solutions import real_model as solutions
from course_lib.models.gguf_files import dequantize_q4_1, unpermute_rotary
from tests.lab.checks.cases import Case, tests_of


def skeleton_1(a): ...


def skeleton_2(a, b): ...


def string_by_int(data, at):
    n = int.from_bytes(data[at : at + 8], "little")
    return [str(data[at + 8 : at + 8 + n], "utf-8"), at + 8 + n]


def string(data, at, origin=1, header=8):
    (n,) = struct.unpack("<Q", data[at : at + 8])
    return data[at + 8 : at + 8 + n].decode(), origin * at + header + n


def string_in_characters(data, at):
    text, _ = string(data, at)
    return text, at + 8 + len(text)


def string_as_bytes(data, at):
    n = int.from_bytes(data[at : at + 8], "little")
    return data[at + 8 : at + 8 + n], at + 8 + n


def block_by_library(block):
    return dequantize_q4_1(torch.tensor([[*block]], dtype=torch.uint8))[0]


def block(data, minus=0, add=True, turned=False, order="C"):
    d, m = np.frombuffer(data[:4], "<f2").astype(float)[:: -1 if turned else 1]
    q = np.frombuffer(data[4:], np.uint8)
    codes = np.stack([q & 15, q >> 4]).astype(float).flatten(order)
    return (d * (codes - minus) + (m if add else 0)).tolist()


def high_first(data):
    weights = block(data)
    return weights[16:] + weights[:16]


def halves_of_one(rows, n_heads):
    return unpermute_rotary(rows, 1)


def way_back(rows, n_heads):
    return rows.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def odd_first(rows, n_heads):
    heads = rows.unflatten(0, (n_heads, -1))
    return torch.cat([heads[:, 1::2], heads[:, 0::2]], 1).flatten(0, 1)


TEMPLATE = (
    "{% for m in ms %}{% if loop.first and m['role'] != 'system' %}{{ '<|im_start|>system\n' + s +"
    " '<|im_end|>\n' }}{% endif %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] +"
    " '<|im_end|>\n' }}{% endfor %}{{ '<|im_start|>assistant\n' }}"
)


def chat_by_jinja(messages, system):
    return Template(TEMPLATE).render(ms=messages, s=system)


def chat(messages, system, between="\n", end="<|im_start|>assistant\n", front=True, always=False):
    text = ""
    if always or (front and messages[0]["role"] != "system"):
        text = f"<|im_start|>system{between}{system}<|im_end|>\n"
    for message in messages:
        text += f"<|im_start|>{message['role']}{between}{message['content']}<|im_end|>\n"
    return text + end


def chat_that_changes_its_list(messages, system):
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    return chat(messages, system)


def bytes_by_float(tensors, blocks, looked_up=("token_embd.weight",), always=False):
    total = 0
    for name, (form, rows, columns) in tensors.items():
        by_row = name in looked_up and (always or "output.weight" in tensors)
        total += columns * (1 if by_row else rows) / blocks[form][0] * blocks[form][1]
    return total


def split_by_bytes(codes):
    unsigned = codes.numpy().view(np.uint8) ^ 128
    return torch.tensor(unsigned >> 4), torch.tensor(unsigned & 15)


CASES = {
    check.read_string: Case(
        solution=solutions.read_string_solution,
        skeleton=skeleton_2,
        also_right=[string_by_int],
        wrong=[
            (lambda data, at: string(data, at, header=0), "8 bytes of the length are not counted"),
            (lambda data, at: string(data, at, origin=0), "how far you went"),
            (string_in_characters, "counts bytes, not characters"),
            (lambda data, at: (string(data, at)[0], at), "where the string begins"),
            (lambda data, at: string(data, 4), "every answer is about the first string"),
            (string_as_bytes, "still bytes"),
            (lambda data, at: string(data, at)[0], "return the text and the position"),
        ],
    ),
    check.dequantize_block: Case(
        solution=solutions.dequantize_block_solution,
        skeleton=skeleton_1,
        also_right=[block_by_library, block],
        wrong=[
            (lambda data: block(data, order="F"), "not neighbours"),
            (high_first, "exchanged: weight 0"),
            (lambda data: block(data, minus=8), "Q4_0 does so"),
            (lambda data: block(data, add=False), "least weight is not added"),
            (lambda data: block(data, turned=True), "scale and least weight are exchanged"),
            (lambda data: block(data)[:16], "a block has 32 weights"),
        ],
    ),
    check.to_halves: Case(
        solution=solutions.to_halves_solution,
        skeleton=skeleton_2,
        also_right=[unpermute_rotary],
        wrong=[
            (lambda rows, n_heads: rows.clone(), "stay as they are"),
            (way_back, "the way back"),
            (halves_of_one, "treated as one head"),
            (odd_first, "Even rows first"),
        ],
    ),
    check.chat_text: Case(
        solution=solutions.chat_text_solution,
        skeleton=skeleton_2,
        also_right=[chat_by_jinja],
        wrong=[
            (lambda m, s: chat(m, s, end=""), "no answer begins"),
            (lambda m, s: chat(m, s, front=False), "no system message is added"),
            (lambda m, s: chat(m, s, always=True), "gets a second one"),
            (lambda m, s: chat(m[-1:], s), "only the last message"),
            (lambda m, s: chat(m, s, between=" "), "A new line belongs there"),
            (lambda m, s: chat(m, s).encode(), "return one text"),
            (chat_that_changes_its_list, "changed its argument"),
        ],
    ),
    check.token_bytes: Case(
        solution=solutions.token_bytes_solution,
        skeleton=skeleton_2,
        also_right=[bytes_by_float],
        wrong=[
            (lambda t, b: bytes_by_float(t, b, looked_up=()), "always read whole"),
            (lambda t, b: bytes_by_float(t, b, always=True), "even where it is the head"),
            (lambda t, b: bytes_by_float(t, dict.fromkeys(b, (1, 4))), "as in float32"),
            (lambda t, b: 8 * bytes_by_float(t, b), "these are bits"),
            (lambda t, b: bytes_by_float(t, {k: (1, n) for k, (_, n) in b.items()}), "of its own"),
        ],
    ),
    check.split_codes: Case(
        solution=solutions.split_codes_solution,
        skeleton=skeleton_1,
        also_right=[split_by_bytes],
        wrong=[
            (lambda c: ((c + 128) // 16, (c + 128) % 16), "added in int8"),
            (lambda c: split_by_bytes(c)[::-1], "comes first"),
            (lambda c: (c.int() // 16, c.int() % 16), "from -8 to 7"),
            (lambda c: split_by_bytes(c)[0], "return two tensors"),
            (lambda c: (split_by_bytes(c)[0] * 16, split_by_bytes(c)[1]), "16 times too large"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
