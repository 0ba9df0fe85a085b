import ast
import itertools
import operator
import re
import zlib
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.text.problems import (
    Chain,
    Search,
    Verdict,
    draw_chain,
    draw_search,
    final_answer,
    find_problems,
    is_held_out,
    is_well_formed,
    verify,
)

seeds = st.integers(0, 2**32)


def value(text: str) -> int:
    """What a sum of numbers comes to, read by Python's own grammar."""

    def walk(node):
        if isinstance(node, ast.Constant):
            return node.value
        return {ast.Add: operator.add, ast.Sub: operator.sub}[type(node.op)](walk(node.left), walk(node.right))

    return walk(ast.parse(text, mode="eval").body)


# ------------------------------------------------------------------------------------------------ drawing


@given(seeds, st.integers(2, 8))
def test_chains_are_right_and_stay_in_range(seed, length):
    chain = draw_chain(Random(seed), (length,))
    assert len(chain.numbers) == length
    assert chain.answer == str(value(chain.expression))
    prefixes = [re.match(rf"\d(?:[+-]\d){{{i}}}", chain.expression)[0] for i in range(length)]
    assert list(chain.partial_results) == [value(prefix) for prefix in prefixes]
    assert 0 <= min(chain.partial_results) and max(chain.partial_results) <= 20


@given(seeds, st.integers(2, 6))
@settings(deadline=None)
def test_searches_have_few_solutions_and_never_fall_below_zero(seed, length):
    search = draw_search(Random(seed), (length,))
    first, *rest = search.numbers
    written = ["".join((str(first), *(s + str(n) for s, n in zip(signs, rest, strict=True))))
               for signs in itertools.product("+-", repeat=length - 1)]  # fmt: skip
    solutions = [text for text in written if value(text) == search.target]
    assert sorted(search.solutions) == sorted(solutions)
    assert 1 <= len(solutions) <= (1 if length < 5 else 2)
    assert first >= sum(rest)


def test_a_tenth_is_held_out_and_only_of_problems_with_three_numbers_or_more():
    rng = Random(0)
    long = [is_held_out(draw) for draw in all_chains(3)]
    assert 0.08 < sum(long) / len(long) < 0.12
    assert not any(is_held_out(chain) for chain in all_chains(2))
    assert all(is_held_out(draw_chain(rng, (3, 6), held_out=True)) for _ in range(50))
    assert not any(is_held_out(draw_search(rng, (2, 3, 5))) for _ in range(200))
    assert is_held_out(draw_search(rng, (4,), held_out=True))


def all_chains(length: int):
    for numbers in itertools.product(range(1, 10), repeat=length):
        for signs in itertools.product((1, -1), repeat=length - 1):
            try:
                yield Chain(numbers, signs)
            except ValueError:
                continue


def test_the_hash_is_of_the_question():
    for chain in all_chains(3):
        assert is_held_out(chain) == (zlib.crc32(f"{chain.expression}=?".encode()) % 10 == 0)


def test_impossible_problems_are_refused_with_their_numbers():
    for make, says in (
        (lambda: Chain((7, 12), (1,)), r"\(7, 12\)"),
        (lambda: Chain((7, 5), ()), "2 numbers need 1 signs"),
        (lambda: Chain((), ()), "0 numbers"),
        (lambda: Chain((3, 5), (-1,)), r"\(3, -2\) leave the range 0..20"),
        (lambda: Search((20, 9), 12), "no choice of signs makes 12"),
        (lambda: Search((10, 9, 8), 7), "at least the sum"),
        (lambda: Search((), 7), "a search starts"),
        (lambda: draw_chain(Random(0), (9,)), r"\(9,\) must be between 2 and 8"),
        (lambda: draw_chain(Random(0), (2,), held_out=True), "between 3 and 8"),
        (lambda: draw_search(Random(0), ()), "between 2 and 6"),
    ):
        with pytest.raises(ValueError, match=says):
            make()


@given(seeds)
@settings(deadline=None)
def test_problems_are_found_in_text(seed):
    rng = Random(seed)
    chain, search = draw_chain(rng, (2, 3, 8)), draw_search(rng, (2, 4, 6))
    text = f"Q: {chain.question}\nA: 12-3=9, or 9+11-2.\nUser: {search.question}\nAssistant: {search.solutions[0]}"
    assert list(find_problems(text)) == [chain, search]


# ------------------------------------------------------------------------------------------------ verifying

PHRASES = ("{}", "{}.", "I think {}", "{} lol", "大概{}", "是{}。", "7+5=12, 12-3=9, so the answer is {}",
           "<think>7+5=12</think><answer>{}</answer>", "first 1, then 2. <answer> {} </answer> or 3?")  # fmt: skip


@given(seeds, st.sampled_from(PHRASES))
def test_the_right_answer_to_a_chain_is_accepted(seed, phrase):
    chain = draw_chain(Random(seed))
    assert verify(chain, phrase.format(chain.answer))


@given(seeds, st.sampled_from(PHRASES), st.integers(-1000, 10**6))
def test_any_other_number_is_refused(seed, phrase, other):
    chain = draw_chain(Random(seed))
    verdict = verify(chain, phrase.format(other))
    assert verdict.right == (other == int(chain.answer))
    assert verdict.answer == str(other)


SEARCH_PHRASES = ("{}", "I think {}", "{} lol", "20-9=11+3=14 not 5, so {}", "<think>hmm</think><answer>{}</answer>")


@given(seeds, st.sampled_from(SEARCH_PHRASES))
@settings(deadline=None)
def test_a_search_accepts_just_its_solutions(seed, phrase):
    search = draw_search(Random(seed))
    first, *rest = search.numbers
    for signs in itertools.product("+-", repeat=len(rest)):
        text = str(first) + "".join(s + str(n) for s, n in zip(signs, rest, strict=True))
        verdict = verify(search, phrase.format(text))
        assert verdict.answer == text
        assert verdict.right == (value(text) == search.target)


@given(seeds, st.data())
@settings(deadline=None)
def test_a_search_refuses_other_numbers_even_if_the_value_is_right(seed, data):
    search = draw_search(Random(seed))
    extra = data.draw(st.integers(1, 9))
    first, *rest = re.findall(r"[+-]?\d+", search.solutions[0])
    assert value(first + "".join(rest)) == search.target
    shifted = [f"{int(first) + 1}", *rest[:-1], f"{int(rest[-1]) - 1:+d}"]
    turned = [first, *reversed(rest)]
    for cheat in (str(search.target), f"{search.solutions[0]}+{extra}-{extra}", "".join(shifted)):
        assert not verify(search, cheat)
    assert verify(search, "".join(turned)).right == ([abs(int(n)) for n in turned] == list(search.numbers))


@given(st.text() | st.text(alphabet="0123456789+-=<>/answerthink .\n", max_size=80), seeds)
@settings(deadline=None)
def test_junk_never_raises(text, seed):
    rng = Random(seed)
    for problem in (draw_chain(rng), draw_search(rng)):
        assert isinstance(verify(problem, text), Verdict)
    assert isinstance(is_well_formed(text), bool)


NO_NUMBER = (
    "", "no idea", "<answer></answer>", "<answer>9", "9" * 5000, "9.5", "-9", "９", "nine", "<think>9",
    "<think>9</think>", "<answer>9</answer><answer>8</answer>", "<answer>9+0</answer>", "<answer>09</answer>",
)  # fmt: skip
NO_SUM = (
    "", "14", "20-9-3+6=14", "20 9 3 6", "<answer>20-9-3+6=14</answer>", "<answer>__import__('os')</answer>", "20--9",
    "<answer>20-9-3+6</answer><answer>20+9+3+6</answer>", "+" * 5000, "1+" * 5000, "<think>20-9-3+6",
)  # fmt: skip


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_is_not_a_single_clear_answer_is_refused(text):
    assert not verify(Chain((7, 5, 3), (1, -1)), text)


@pytest.mark.parametrize("text", NO_SUM)
def test_what_is_not_an_expression_is_refused(text):
    assert not verify(Search((20, 9, 3, 6), 14), text)


def test_reasons_name_the_numbers():
    search = Search((20, 9, 3, 6), 14)
    assert verify(search, "20-9-3+6").reason == "20-9-3+6 makes 14"
    assert verify(search, "20+9").reason == "20+9 does not use (20, 9, 3, 6) in this order, once each"
    assert verify(Chain((7, 5, 3), (1, -1)), "12").reason == "7+5-3 is 9, not 12"
    with pytest.raises(TypeError, match="not str"):
        verify("7+5", "12")


def test_the_last_thing_said_counts_but_working_is_no_answer():
    assert final_answer("17 not 16") == "16"
    assert verify(Search((20, 9, 3, 6), 14), "20-9=11-3=8+6=14 yes").answer is None


@pytest.mark.parametrize("text, good", [
    ("<think>a</think><answer>9</answer>", True), (" <think>a\nb</think>\n<answer>9</answer>\n", True),
    ("<think>a</think>9", False), ("<answer>9</answer>", False), ("<think></think><answer>9</answer>", False),
    ("so <think>a</think><answer>9</answer>", False), ("<think>a</think><answer>9</answer> lol", False),
    ("<think>a<think>b</think><answer>9</answer>", False),
])  # fmt: skip
def test_well_formed(text, good):
    assert is_well_formed(text) is good
