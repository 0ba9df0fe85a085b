"""What is shown of a function at work is what it did: lines and values as worked out by hand."""

import re
import sys

import ipywidgets as widgets
import pytest
import torch
from torch import nn

from course_lib.lab.explore.step_through import play
from course_lib.lab.explore.trace import MOST_STEPS, record_trace
from course_lib.lab.explore.values import LONGEST_VALUE, brief_text
from course_lib.text import bpe


def first_even(numbers, extra=1):
    """A docstring is not shown."""
    for n in numbers:
        if n % 2 == 0:
            return scaled(
                n,  # over four lines
                extra,
            )
    # nothing found
    raise LookupError(f"none of {numbers}")


def scaled(n, by):
    return n * by


def counted(n):
    total, rows = 0, []
    for i in range(n):
        row = [i]
        for j in range(i):
            row.append(j)
        rows.append(row)
        total += len(row)
    return total


def mended(text):
    try:
        number = int(text)
    except ValueError:
        number = 0
    return number


def summary(trace):
    return [
        (step.function.name, step.lines, step.kind, step.told, step.variables)
        for step in trace.steps
    ]


def test_lines_and_values_are_those_of_the_run():
    numbers = {"numbers": "[3, 4]", "extra": "1"}
    three, four = numbers | {"n": "3"}, numbers | {"n": "4"}
    trace = record_trace(first_even, [3, 4])
    assert summary(trace) == [
        ("first_even", (1, 1), "called", "", numbers),
        ("first_even", (2, 2), "ran", "", three),
        ("first_even", (3, 3), "ran", "", three),
        ("first_even", (2, 2), "ran", "", four),
        ("first_even", (3, 3), "ran", "", four),
        ("first_even", (4, 7), "returned", "4", four),
    ]
    assert trace.result == 4 and trace.error is None
    source = trace.steps[0].function.source
    assert source[0] == "def first_even(numbers, extra=1):"
    assert source[1:3] == ("    for n in numbers:", "        if n % 2 == 0:")
    assert source[7] == "    # nothing found" and not any("docstring" in line for line in source)


def test_a_function_that_is_called_is_followed_where_asked():
    trace = record_trace(first_even, [2], extra=5, into=[scaled])
    inner = [step for step in trace.steps if step.function.name == "scaled"]
    assert [(s.kind, s.lines, s.told, s.caller) for s in inner] == [
        ("called", (1, 1), "", "line 4 of first_even"),
        ("returned", (2, 2), "10", "line 4 of first_even"),
    ]
    assert trace.steps[-1].told == "10" and trace.steps[-1].lines == (4, 7)


def test_an_error_ends_the_trace_and_a_caught_one_does_not():
    trace = record_trace(first_even, [1])
    assert (trace.steps[-1].kind, trace.steps[-1].lines) == ("raised", (9, 9))
    assert trace.steps[-1].told == "LookupError: none of [1]"
    assert isinstance(trace.error, LookupError) and trace.result is None
    caught = record_trace(mended, "x")
    assert [step.kind for step in caught.steps].count("raised") == 1
    assert caught.steps[-1].kind == "returned" and caught.result == 0


def test_an_error_is_shown():
    last = tables(play(first_even, [1]))[-1]
    assert "Line 9 raised an error." in last and "LookupError: none of [1]" in last


def test_recording_changes_nothing():
    before = sys.gettrace()
    recorded = record_trace(bpe.train_bpe_naive, "low lower lowest", 258)
    assert recorded.result == bpe.train_bpe("low lower lowest", 258)
    assert sys.gettrace() is before
    record_trace(first_even, [1])
    assert sys.gettrace() is before, "also after an error"


def test_what_is_shown_of_a_value_leaves_it_alone():
    weight = nn.Parameter(torch.tensor([1.0, -0.0]))
    module, state = nn.Linear(2, 1), torch.random.get_rng_state()
    assert brief_text(weight) == "float32 (2,) [1. 0.]"
    brief_text(module)
    assert weight.requires_grad and weight.grad is None
    assert torch.equal(state, torch.random.get_rng_state())


def test_many_turns_of_a_loop_are_one_step():
    trace = record_trace(counted, 12)
    assert trace.result == 12 + 66
    assert len(trace.steps) <= MOST_STEPS
    outer = [s for s in trace.steps if s.kind == "turns" and s.lines == (3, 3)]
    shown = [s for s in trace.steps if s.kind == "ran" and s.lines == (8, 8)]
    assert len(outer) == 1 and len(shown) + int(outer[0].told) == 12
    assert outer[0].variables["total"] == "78" and outer[0].variables["i"] == "11"
    inner = [s for s in trace.steps if s.lines == (5, 5) and s.kind == "turns"]
    assert all(int(s.variables["j"]) == int(s.variables["i"]) - 1 for s in inner)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_a_short_run_is_shown_whole(n):
    """One step for the call, the first line and the return, and 1 + what its turns take."""
    trace = record_trace(counted, n)
    turns = sum(1 + 1 + 1 + 2 * i + 1 + 1 for i in range(n))
    assert len(trace.steps) == 3 + 1 + turns and {s.kind for s in trace.steps} <= {
        "called",
        "ran",
        "returned",
    }


def test_what_is_too_long_says_so():
    with pytest.raises(ValueError, match="counted took more than 5000 steps: give it a smaller"):
        record_trace(counted, 1000)
    long = "def long():\n" + "".join(f"    a{i} = {i}\n" for i in range(60))
    with pytest.raises(ValueError, match="61 steps with one turn of each loop, more than 40"):
        record_trace(defined(long, "long"))


def defined(source, name):
    """A function whose source Python can find, as that of a notebook's cell."""
    import linecache

    linecache.cache["<made>"] = (len(source), None, source.splitlines(True), "<made>")
    space = {}
    exec(compile(source, "<made>", "exec"), space)
    return space[name]


def test_turns_of_an_inner_and_of_an_outer_loop_are_told_apart():
    def squares(n):
        for i in range(n):
            for _ in range(n):
                i += 1

    trace = record_trace(squares, 40)
    told = [(s.lines, s.told) for s in trace.steps if s.kind == "turns"]
    inner = [told for lines, told in told if lines == (3, 3)]
    outer = [told for lines, told in told if lines == (2, 2)]
    assert len(outer) == 1 and len(inner) == 40 - int(outer[0])


def test_a_call_with_wrong_arguments_is_an_error():
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        record_trace(scaled, 1)


def test_what_has_no_lines_is_refused():
    with pytest.raises(TypeError, match="len> has no lines of Python to follow"):
        record_trace(len, [1])
    with pytest.raises(TypeError, match="<lambda> can't be followed line by line"):
        record_trace(lambda: 1)
    with pytest.raises(TypeError, match="learn_merges can't be followed"):
        record_trace(bpe.learn_merges, {}, 1)


def test_decorators_and_methods_are_seen_through():
    class Layer(nn.Module):
        @torch.no_grad()
        def forward(self, x):
            doubled = 2 * x
            return doubled

    trace = record_trace(Layer().forward, torch.ones(1))
    assert [s.lines for s in trace.steps] == [(1, 1), (2, 2), (3, 3)]
    assert trace.steps[0].function.source[0] == "def forward(self, x):"
    assert trace.steps[1].variables["doubled"] == "float32 (1,) [2.]"


@pytest.mark.parametrize(
    "value, told",
    [
        (None, "None"),
        (0.123456, "0.1235"),
        ("a" * 100, repr("a" * 60) + "…"),
        ({"b": (1, True)}, "{'b': (1, True)}"),
        (list(range(9)), "[0, 1, 2, 3, 4, … 2 more …, 7, 8]"),
        (torch.tensor(2), "int64 () 2"),
        (torch.ones(1, dtype=torch.bfloat16), "bfloat16 (1,) [1.]"),
        (torch.Generator(), "Generator"),
        (nn.Linear(9, 9), "Linear, 90 parameters"),
    ],
)
def test_a_value_in_a_few_words(value, told):
    assert brief_text(value) == told


@pytest.mark.parametrize(
    "value", [torch.zeros(9, 9, 9, 9), [["a" * 99] * 99] * 99, {i: "x" * 99 for i in range(999)}]
)
def test_a_large_value_takes_a_small_place(value):
    assert len(brief_text(value)) <= LONGEST_VALUE


def halves(show):
    """The texts of the upper and the lower stack of a figure, step by step."""
    upper, lower = [child for child in show.children if isinstance(child, widgets.Stack)]
    return [[frame.value for frame in stack.children] for stack in (upper, lower)]


def tables(show):
    return halves(show)[1]


def test_the_figure_marks_the_line_and_names_it():
    show = play(first_even, [3, 4])
    codes, told = halves(show)
    assert show.children[0].children[1].options[1] == "2 of 6, line 2"
    assert '<span class="l2">  2      for n in numbers:\n</span>' in codes[0]
    (figure,) = set(re.findall(r"steps-\w{8}", "".join(codes + told)))
    marked = [re.match(rf"<style>\.{figure} :is\((.*?)\)", step)[1] for step in told]
    assert marked == [".l1", ".l2", ".l3", ".l2", ".l3", ".l4,.l5,.l6,.l7"]
    assert "Line 2 ran.</b> <code>n</code> new." in told[1]
    assert "Line 3 ran.</b> No variable changed." in told[2]
    assert show.still == codes[0] + told[0]


def test_the_table_holds_what_the_line_reads_and_writes():
    told = tables(play(first_even, [3, 4]))
    rows = [re.findall(r"<th scope=row>(.*?)<td>(.*?)(?=<tr>|</table>)", step) for step in told]
    assert rows == [
        [("numbers", "[3, 4]"), ("extra", "1")],
        [("n (new)", "3"), ("numbers", "[3, 4]")],
        [("n", "3")],
        [("n (changed)", "4"), ("numbers", "[3, 4]")],
        [("n", "4")],
        [("returned", "4"), ("extra", "1"), ("n", "4")],
    ]
    assert "<th scope=col>variable<th scope=col>value" in told[0]


def test_code_is_stored_once_and_the_figure_is_small():
    show = play(bpe.train_bpe_naive, "low lower lowest", 259)
    upper, lower = [child for child in show.children if isinstance(child, widgets.Stack)]
    assert len(set(upper.children)) == 1
    assert len(upper.children) == len(lower.children) <= MOST_STEPS
    assert sum(len(frame.value) for frame in {*upper.children, *lower.children}) < 25_000


def test_markup_in_a_value_stays_text():
    def repeat(text):
        return text * 2

    show = play(repeat, "<img src=x onerror=alert(1)>")
    assert "<img" not in show.still and "&lt;img" in show.still
