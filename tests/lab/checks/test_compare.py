"""`expect` lets equal things pass, and names what differs."""

import math
from collections import Counter, deque
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from course_lib.lab.checks.compare import Wrong, describe, expect, is_like

NAN = float("nan")
TABLE = torch.tensor([[1.0, 2.0], [3.0, 4.0]])

EQUAL = [
    (3, 3),
    (3.0, 3),
    (0.1 + 0.2, 0.3),
    (torch.tensor(3.0), 3.0),
    (np.float64(3.0), 3.0),
    (NAN, NAN),
    (float("inf"), float("inf")),
    (True, True),
    (torch.tensor(True), True),
    (None, None),
    ("ab", "ab"),
    (b"ab", b"ab"),
    ((1, 2), [1, 2]),
    ([(1, 0.1 + 0.2)], [(1, 0.3)]),
    ({1: [2.0]}, {1: (2,)}),
    ({1, 2}, frozenset({1, 2})),
    (TABLE, TABLE.double()),
    (TABLE.numpy(), TABLE),
    (torch.tensor([NAN]), torch.tensor([NAN])),
    (torch.zeros(0), torch.zeros(0)),
    (torch.tensor([1], dtype=torch.int32), torch.tensor([1])),
    (TABLE.long(), TABLE),
    (TABLE.bfloat16().requires_grad_(), TABLE),
    (torch.tensor([1.0, 0.0]), torch.tensor([True, False])),
    (torch.tensor([1, 2]), [1, 2]),
    (np.array([0.5, 2.0]), [0.5, 2]),
    (TABLE, [[1, 2], [3, 4]]),
    ([torch.tensor(1.0, requires_grad=True), np.float32(2)], [1.0, 2.0]),
    (deque([1, 2]), [1, 2]),
    (range(1, 3), [1, 2]),
    ({"a": 1, "b": 2}.values(), [1, 2]),
    (torch.tensor([0.5, 2.0]), (0.5, 2.0)),
    (Fraction(1, 2), 0.5),
    (Decimal("0.5"), 0.5),
    ({1: 2}, Counter([1, 1])),
    ({"a": 0}.keys(), {"a"}),
]

DIFFERENT = [
    (3, 4, "got 3, expected 4"),
    (-3, 3, "the sign is not"),
    (math.log(2) * 5, 5.0, "nats against bits"),
    (NAN, 1.0, "NaN"),
    ("3", 3, "got '3', expected a number (3)"),
    (True, 1, "got True, expected a number"),
    (1, True, "got 1, expected True"),
    (None, 3, "got None, expected a number"),
    (torch.ones(1), 1.0, "a tensor of shape (1,)"),
    ("abc", "abd", "got 'abc', expected 'abd'"),
    ("a long enough sentence", "a long enough sentinel", "from position 18 on"),
    ("ab", b"ab", "(a bytes)"),
    ([1, 2], [1, 2, 3], "2 items, expected 3"),
    ([1, [2, 5]], [1, [2, 3]], "position 1, position 1: got 5, expected 3"),
    (torch.tensor([1, 3]), [1, 2], "position 1: got 3, expected 2"),
    ({1, 2}, [1, 2], "expected a list"),
    ([1], {1}, "expected a set"),
    (TABLE + 1j, TABLE, "complex numbers (torch.complex64), not floats"),
    ("ab", ["a", "b"], "expected a list"),
    (3, {1: 2}, "expected a dict"),
    ({}, {1: 2}, "1 is missing"),
    ({1: 2, 3: 4}, {1: 2}, "3 should not be there"),
    ({1: 3}, {1: 2}, "entry 1: got 3, expected 2"),
    ([1], {1}, "expected a set"),
    ({1, 2, 3, 4, 5, 6}, {1}, "and 2 more should not be there"),
    ([[1.0, 2.0]], TABLE, "torch.tensor(...)"),
    (TABLE.T, TABLE, "axes are swapped"),
    (torch.ones(2, 3), torch.ones(3, 2), "axes are swapped"),
    (TABLE.flatten(), TABLE, "only their shape is not"),
    (torch.zeros(3), TABLE, "shape (3,), expected (2, 2)"),
    (2 * TABLE, TABLE, "2 times what they should be"),
    (-TABLE, TABLE, "Every sign is turned round"),
    (TABLE.long(), TABLE + 0.5, "Yours are whole numbers (torch.int64)"),
    (
        TABLE + torch.tensor([0, 1]),
        TABLE,
        "2 of 4 numbers differ; the first at [0, 1]: got 3, expected 2",
    ),
    (torch.full((2, 2), NAN), TABLE, "4 of 4 numbers are NaN"),
    (torch.tensor([float("inf")]), torch.tensor([1.0]), "got inf, expected 1"),
    (torch.zeros(2), torch.ones(2), "got 0, expected 1"),
]


@pytest.mark.parametrize(("got", "want"), EQUAL)
def test_equal(got, want):
    expect(got, want, "it")


@pytest.mark.parametrize(("got", "want", "fragment"), DIFFERENT)
def test_different(got, want, fragment):
    with pytest.raises(Wrong) as caught:
        expect(got, want, "it")
    assert str(caught.value).startswith("it") and fragment in str(caught.value)


def test_tolerance():
    expect(1.05, 1.0, "it", tolerance=0.1)
    with pytest.raises(Wrong):
        expect(1.05, 1.0, "it", tolerance=0.01)
    expect(TABLE + 1e-5, TABLE, "it")
    with pytest.raises(Wrong):
        expect(TABLE + torch.tensor([1e-4, 0.0]), TABLE, "it")


def test_numbers_of_another_kind_are_a_fault_only_if_asked():
    expect(TABLE.double(), TABLE, "it", same_kind=True)
    with pytest.raises(Wrong, match=r"whole numbers \(torch.int64\), not floats"):
        expect(TABLE.long(), TABLE, "it", same_kind=True)
    with pytest.raises(Wrong, match="truth values"):
        expect([TABLE > 2], [(TABLE > 2).float()], "it", same_kind=True)


def test_numbers_are_alike_whatever_holds_them():
    for got in (TABLE, TABLE.numpy(), TABLE.tolist(), TABLE.double().requires_grad_()):
        assert is_like(got, TABLE) and not is_like(got, TABLE + 1)
    assert not is_like("text", TABLE) and not is_like("text", 3)
    assert not is_like([2**70], TABLE) and not is_like([[1], [2, 3]], TABLE)
    assert is_like(np.float32(0.5), 0.5) and not is_like(1j, 1)


def test_messages_show_no_tables():
    many = [torch.rand(50, 50) for _ in range(50)]
    for value in (many, {"a": many}, (np.ones((9, 9)), 1), torch.rand(99, 99), torch.rand(5, 1)):
        assert len(describe(value)) < 200 and "\n" not in describe(value)
    assert describe((TABLE, 1)) == "the tuple (tensor(2, 2), 1)"
    assert describe(TABLE.half()) == "a tensor of shape (2, 2), float16, [1, 2, 3, 4]"
    assert describe(np.arange(9)) == "a numpy array of shape (9,) [0, 1, 2, 3, ...]"


@pytest.mark.parametrize(
    "value", [list(range(9999)), "x" * 9999, {i: i for i in range(9999)}, torch.zeros(9999)]
)
def test_descriptions_stay_short(value):
    assert len(describe(value)) < 130


def test_a_function_is_named_without_its_address():
    assert describe(math.sqrt) == "the function sqrt"
    assert describe(expect) == "the function expect"


@pytest.mark.parametrize(
    ("got", "advice"), [([[1.0, 2.0], [3.0, 4.0]], "torch.tensor"), (list(TABLE), "torch.stack")]
)
def test_a_list_is_told_what_makes_a_tensor_of_it(got, advice):
    with pytest.raises(Wrong, match=advice):
        expect(got, TABLE, "the table")
