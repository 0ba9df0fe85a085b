"""The checkers of lesson 28 accept right answers and name typical slips."""

import struct

import numpy as np
import torch

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
}
test_checkers = tests_of(check, CASES)
