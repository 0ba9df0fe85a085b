"""Answers that passed are kept whole, with what they use, and read back; nothing else is."""

import linecache
import math
import re
import sys
import types

import pytest
import torch
import torch.nn.functional as F
from torch import relu

from course_lib.lab import own_answers, progress
from course_lib.lab.checks import attention as check
from course_lib.layers.mlp import gelu
from course_lib.text import bpe

RATE, NAMES, DIGITS, TABLE = 0.5, {"a": [1, 2]}, re.compile("[0-9]+"), torch.ones(2)


def halve(x):
    return RATE * x


def with_everything(text: torch.Tensor, n=math.tau):
    """Uses a helper, a table, a pattern, two modules, and an object of the library."""
    pieces = [bpe.merge_pair(NAMES["a"], (1, 2), 3), DIGITS.findall("4 and 5"), halve(n)]
    return pieces, gelu(relu(F.relu(text))), [word for word in NAMES]


def of_a_tensor(x):
    return x + TABLE


thrice = lambda x: 3 * x  # noqa: E731


def loud(x):
    print("a" * 1000)
    return x


def test_an_answer_is_read_back_with_all_that_it_uses(tmp_path):
    assert own_answers.keep_answer("lab.everything", with_everything, tmp_path)
    answer = own_answers.read_answer(tmp_path / "lab.everything.py")
    pieces, bent, words = answer.function(torch.tensor([1.0]))
    assert pieces == [[3], ["4", "5"], math.pi] and words == ["a"]
    assert torch.equal(bent, gelu(torch.tensor([1.0])))
    assert answer.n_lines == 4 and answer.function.__globals__ is not globals()


def test_a_lambda_with_a_name_is_kept_and_one_without_is_not(tmp_path):
    assert own_answers.keep_answer("lab.thrice", thrice, tmp_path)
    assert own_answers.read_answer(tmp_path / "lab.thrice.py").function(2) == 6
    assert not own_answers.keep_answer("lab.none", [lambda x: x][0], tmp_path)
    assert not own_answers.keep_answer("lab.none", len, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["lab.thrice.py"]


def test_what_can_not_be_written_down_is_missing_when_it_is_called(tmp_path):
    assert own_answers.keep_answer("lab.tensor", of_a_tensor, tmp_path)
    with pytest.raises(NameError, match="TABLE"):
        own_answers.read_answer(tmp_path / "lab.tensor.py").function(torch.ones(2))


CELL = """
import math
from functools import cache
UNIT = 2.0

class Root:
    def of(self, x): return UNIT * math.sqrt(x)

@cache
def half(x): return x / UNIT

def measured(x): return Root().of(x) + half(x)

@cache
def remembered(x): return half(x)

def scaled(factor):
    def inner(x): return factor * half(x)
    return inner

tripled = scaled(3.0)

class Row(list):
    def __init__(self, x): super().__init__([half(x)])

class Judge:
    def verdict(self, x): return x
"""


@pytest.fixture
def cell(monkeypatch):
    """The names of a notebook's cell: its module has no file."""
    module, file = types.ModuleType("__main__"), "<a cell>"
    monkeypatch.setitem(linecache.cache, file, (len(CELL), None, CELL.splitlines(True), file))
    monkeypatch.setitem(sys.modules, "__main__", module)
    exec(compile(CELL, file, "exec"), vars(module))
    return module


@pytest.mark.parametrize(
    "name, wanted", [("measured", 6.0), ("remembered", 2.0), ("tripled", 6.0), ("Row", [2.0])]
)
def test_classes_cached_functions_and_inner_ones_are_kept_with_what_they_use(
    cell, name, wanted, tmp_path
):
    assert own_answers.keep_answer("lab.made", getattr(cell, name), tmp_path)
    assert own_answers.read_answer(tmp_path / "lab.made.py").function(4.0) == wanted


def test_a_method_does_not_replace_the_answer_that_was_kept(cell, tmp_path):
    assert own_answers.keep_answer("lab.made", cell.measured, tmp_path)
    assert not own_answers.keep_answer("lab.made", cell.Judge().verdict, tmp_path)
    assert own_answers.read_answer(tmp_path / "lab.made.py").function(4.0) == 6.0


def test_a_folder_that_can_not_be_written_costs_one_sentence(tmp_path, capsys):
    (tmp_path / "answers").write_text("a file")
    assert not own_answers.keep_answer("lab.loud", loud, tmp_path / "answers")
    assert "(Your answer could not be kept: " in capsys.readouterr().out


def test_an_answer_prints_nothing_when_it_is_called(tmp_path, capsys):
    own_answers.keep_answer("lab.loud", loud, tmp_path)
    assert own_answers.read_answer(tmp_path / "lab.loud.py").function(1) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "text, told",
    [
        ("def f(): ...", "is no answer of version 1"),
        ("# answer to lab.other, version 1: f\ndef f(): ...", "is no answer of version 1"),
        ("# answer to lab.f, version 2: f\ndef f(): ...", "is no answer of version 1"),
        ("# answer to lab.f, version 1: f\nimport no_such_thing\ndef f(): ...", "no_such_thing"),
        ("# answer to lab.f, version 1: f\ndef f(:", "can't be run: SyntaxError"),
        ("# answer to lab.f, version 1: g\ndef f(): ...", "holds no g"),
    ],
)
def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path, text, told):
    own_answers.keep_answer("lab.thrice", thrice, tmp_path)
    (tmp_path / "lab.f.py").write_text(text)
    fine, broken = own_answers.read_answers(tmp_path)
    assert list(fine) == ["lab.thrice"] and list(broken) == ["lab.f"] and told in broken["lab.f"]


def test_no_folder_holds_no_answers(tmp_path):
    assert own_answers.read_answers(None) == own_answers.read_answers(tmp_path / "no") == ({}, {})


def split_heads(x, n_heads):
    return x.view(*x.shape[:2], n_heads, -1).transpose(1, 2)


def split_wrongly(x, n_heads):
    return x.view(x.shape[0], n_heads, x.shape[1], -1)


def test_a_check_keeps_what_passes_in_a_live_notebook_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    check.split_heads(split_heads)
    assert not (tmp_path / ".course_answers").exists(), "no notebook is live"
    monkeypatch.setattr(progress, "live", lambda: True)
    monkeypatch.setattr(progress, "display", lambda thing: None)
    check.split_heads(split_heads)
    check.split_heads(split_wrongly)
    fine, _ = own_answers.read_answers(own_answers.answers_folder())
    assert list(fine) == ["attention.split_heads"]
    assert fine["attention.split_heads"].function(torch.ones(1, 2, 4), 2).shape == (1, 2, 2, 2)
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert own_answers.answers_folder() is None
