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
    ChainProblem,
    SearchProblem,
    VerifierVerdict,
    draw_chain,
    draw_search,
    final_answer,
    find_problems,
    is_held_out,
    is_well_formed,
    last_expression,
    last_number,
    parse_response,
    verify_answer,
)

seeds = st.integers(0, 2**32)


def value(text: str) -> int:
    """What a sum of numbers comes to, read by Python's own grammar."""

    def walk(node):
        if isinstance(node, ast.Constant):
            return node.value
        return {ast.Add: operator.add, ast.Sub: operator.sub}[type(node.op)](
            walk(node.left), walk(node.right)
        )

    return walk(ast.parse(text, mode="eval").body)


# ------------------------------------------------------------------------------------------ drawing


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
                yield ChainProblem(numbers, signs)
            except ValueError:
                continue


def test_the_hash_is_of_the_question():
    for chain in all_chains(3):
        assert is_held_out(chain) == (zlib.crc32(f"{chain.expression}=?".encode()) % 10 == 0)


def test_impossible_problems_are_refused_with_their_numbers():
    for make, says in (
        (lambda: ChainProblem((7, 12), (1,)), r"\(7, 12\)"),
        (lambda: ChainProblem((7, 5), ()), "2 numbers need 1 signs"),
        (lambda: ChainProblem((), ()), "0 numbers"),
        (lambda: ChainProblem((7, 5, 3), (1, 2)), r"each 1 or -1, not \(1, 2\)"),
        (lambda: ChainProblem((3, 5), (-1,)), r"\(3, -2\) leave the range 0..20"),
        (lambda: SearchProblem((20, 9), 12), "no choice of signs makes 12"),
        (lambda: SearchProblem((10, 9, 8), 7), "at least the sum"),
        (lambda: SearchProblem((), 7), "a search starts"),
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
    text = (
        f"Q: {chain.question}\nA: 12-3=9, or 9+11-2.\nUser: {search.question}\nAssistant:"
        f" {search.solutions[0]}"
    )
    assert list(find_problems(text)) == [chain, search]


# ---------------------------------------------------------------------------------------- verifying

PHRASES = (
    "{}",
    "{}.",
    "I think {}",
    "{} lol",
    "大概{}",
    "是{}。",
    "7+5=12, 12-3=9, so the answer is {}",
    "<think>7+5=12</think><answer>{}</answer>",
    "first 1, then 2. <answer> {} </answer> or 3?",
)


@given(seeds, st.sampled_from(PHRASES))
def test_the_right_answer_to_a_chain_is_accepted(seed, phrase):
    chain = draw_chain(Random(seed))
    assert verify_answer(chain, phrase.format(chain.answer))


@given(seeds, st.sampled_from(PHRASES), st.integers(-1000, 10**6))
def test_any_other_number_is_refused(seed, phrase, other):
    chain = draw_chain(Random(seed))
    verdict = verify_answer(chain, phrase.format(other))
    assert verdict.right == (other == int(chain.answer))
    assert verdict.answer == str(other)


SEARCH_PHRASES = (
    "{}",
    "I think {}",
    "{} lol",
    "20-9=11+3=14 not 5, so {}",
    "<think>hmm</think><answer>{}</answer>",
)


@given(seeds, st.sampled_from(SEARCH_PHRASES))
@settings(deadline=None)
def test_a_search_accepts_just_its_solutions(seed, phrase):
    search = draw_search(Random(seed))
    first, *rest = search.numbers
    for signs in itertools.product("+-", repeat=len(rest)):
        text = str(first) + "".join(s + str(n) for s, n in zip(signs, rest, strict=True))
        verdict = verify_answer(search, phrase.format(text))
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
        assert not verify_answer(search, cheat)
    assert verify_answer(search, "".join(turned)).right == (
        [abs(int(n)) for n in turned] == list(search.numbers)
    )


@given(st.text() | st.text(alphabet="0123456789+-=<>/answerthink .\n", max_size=80), seeds)
@settings(deadline=None)
def test_junk_never_raises(text, seed):
    rng = Random(seed)
    for problem in (draw_chain(rng), draw_search(rng)):
        assert isinstance(verify_answer(problem, text), VerifierVerdict)
    assert isinstance(is_well_formed(text), bool)


NO_NUMBER = (
    "",
    "no idea",
    "<answer></answer>",
    "<answer>9",
    "9" * 5000,
    "9.5",
    "-9",
    "９",
    "nine",
    "<think>9",
    "<think>9</think>",
    "<answer>9</answer><answer>8</answer>",
    "<answer>9+0</answer>",
    "<answer>09</answer>",
)
NO_SUM = (
    "",
    "14",
    "20-9-3+6=14",
    "20 9 3 6",
    "<answer>20-9-3+6=14</answer>",
    "<answer>__import__('os')</answer>",
    "20--9",
    "<answer>20-9-3+6</answer><answer>20+9+3+6</answer>",
    "+" * 5000,
    "1+" * 5000,
    "<think>20-9-3+6",
)


@pytest.mark.parametrize("text", NO_NUMBER)
def test_what_is_not_a_single_clear_answer_is_refused(text):
    assert not verify_answer(ChainProblem((7, 5, 3), (1, -1)), text)


@pytest.mark.parametrize("text", NO_SUM)
def test_what_is_not_an_expression_is_refused(text):
    assert not verify_answer(SearchProblem((20, 9, 3, 6), 14), text)


def test_reasons_name_the_numbers():
    search = SearchProblem((20, 9, 3, 6), 14)
    assert verify_answer(search, "20-9-3+6").reason == "20-9-3+6 makes 14"
    assert (
        verify_answer(search, "20+9").reason
        == "20+9 does not use (20, 9, 3, 6) in this order, once each"
    )
    assert verify_answer(ChainProblem((7, 5, 3), (1, -1)), "12").reason == "7+5-3 is 9, not 12"
    with pytest.raises(TypeError, match="not str"):
        verify_answer("7+5", "12")


def test_the_last_thing_said_counts_but_working_is_no_answer():
    assert final_answer("17 not 16") == "16"
    assert verify_answer(SearchProblem((20, 9, 3, 6), 14), "20-9=11-3=8+6=14 yes").answer is None


@pytest.mark.parametrize("text, good", [
    ("<think>a</think><answer>9</answer>", True),
    (" <think>a\nb</think>\n<answer>9</answer>\n", True),
    ("<think>a</think>9", False), ("<answer>9</answer>", False),
    ("<think></think><answer>9</answer>", False),
    ("so <think>a</think><answer>9</answer>", False),
    ("<think>a</think><answer>9</answer> lol", False),
    ("<think>a<think>b</think><answer>9</answer>", False),
])  # fmt: skip
def test_well_formed(text, good):
    assert is_well_formed(text) is good


# ---------------------------------------------------------------- tags, and numbers outside of them


def read_slowly(text):
    """Answers, the text said besides, and whether all has ended: letter by letter, with two
    counters."""
    answers, said, thinking, answering, answer, i = [], "", 0, 0, "", 0
    while i < len(text):
        tag = next(
            (t for t in ("<think>", "</think>", "<answer>", "</answer>") if text.startswith(t, i)),
            text[i],
        )
        i += len(tag)
        if tag == "</think>" and thinking == 0:  # all that was written so far was thought
            answers, said, answering, answer = [], "", 0, ""
            continue
        if tag == "</think>":
            thinking -= 1
            if answering:
                answer += tag
            elif thinking == 0:
                answers, said = [], ""
            continue
        if tag == "</answer>" and answering == 1 and not thinking:
            answers, answering, answer = [*answers, answer], 0, ""
            continue
        outside = not thinking and not answering
        if answering:
            answer += tag
        elif outside and tag not in ("<think>", "<answer>"):
            said += tag
        thinking += tag == "<think>"
        if not thinking:
            answering += (tag == "<answer>") - (tag == "</answer>" and answering > 0)
    return tuple(answers), said, not thinking and not answering


TAGGED = st.lists(
    st.sampled_from(["<think>", "</think>", "<answer>", "</answer>"])
    | st.sampled_from(["9", "8", " ", "<", "a>", "\n"]),
    max_size=14,
).map("".join)


@given(TAGGED)
@settings(max_examples=1500, deadline=None)
def test_tags_are_read_by_nesting(text):
    parts, (answers, said, complete) = parse_response(text), read_slowly(text)
    assert (parts.complete, parts.complete and parts.answers) == (complete, complete and answers)
    if complete:
        assert parts.said == said
        assert final_answer(text) == (answers[-1].strip() if answers else last_number(said))
    else:
        assert final_answer(text) is None


@given(TAGGED)
@settings(max_examples=500, deadline=None)
def test_a_well_formed_text_is_a_thought_and_an_answer(text):
    inside = r"((?:(?!</?(?:think|answer)>)[\s\S])*)"
    found = re.fullmatch(rf"\s*<think>{inside}</think>\s*<answer>{inside}</answer>\s*", text)
    assert is_well_formed(text) == bool(found and found[1].strip() and found[2].strip())


@given(
    st.text(alphabet="89 a<>", max_size=9),
    st.sampled_from(["{}9", "{}<answer>9</answer>", "<answer>9</answer>{}9"]),
)
def test_nothing_that_is_thought_earns_anything(aside, thought):
    chain = ChainProblem((7, 5, 3), (1, -1))  # 9
    thought = thought.format(aside)
    for text in ("<think>{}", "<think>{}</think>", "<think>{}</think>8", "{}</think>8",
    "<think><think>{}</think>",
                 "<answer>9</answer><think>{}", "<answer>9</answer><think>{}</think>",
                 "<think>{}</think><answer>9", "<think>{}</think><answer>9</answer><answer>8",
                 "<think>{}</think><answer>9</answer><think>",
                 "<think>{}</think><answer>9</answer> <answer>8</answer>",
                 "<answer>8<think>{}</think>", "<answer>8<think>{}</think></answer>"):  # fmt: skip
        assert not verify_answer(chain, text.format(thought)), text
    assert verify_answer(
        chain, f"<think>{thought}</think>8? <answer>8</answer> no, <answer> 9 </answer> or 8"
    )


@pytest.mark.parametrize("text, before, thought, answers, said, complete", [
    ("a", "", "", (), "a", True),
    ("a<think>b</think>c<answer>d</answer>e<answer>f</answer>g", "a", "b", ("d", "f"), "ceg",
    True),
    ("<think>a<think>b</think><answer>9</answer></think>c", "",
    "a<think>b</think><answer>9</answer>", (), "c", True),
    ("a</think>b", "", "a", (), "b", True),
    ("<answer>a<answer>b</answer>", "", "", (), "<answer>a<answer>b</answer>", False),
    ("<answer>a<answer>b</answer></answer>", "", "", ("a<answer>b</answer>",), "", True),
    ("a</answer>b", "", "", (), "a</answer>b", True),
])  # fmt: skip
def test_parts_by_hand(text, before, thought, answers, said, complete):
    assert parse_response(text) == (before, thought, answers, said, complete)


NUMBERS_AS_THEY_ARE = {
    "7": "7", "07": "07", "7.5": "7.5", "7.50 or so": "7.50", "7.": "7", "7,": "7", "7!": "7",
    "7?": "7", "-7": "-7", "+7": "7",
    "\u22127": "-7", "\u20137": "-7", "\uff0d7": "-7", "so \u22127.": "-7", "大概-7": "-7",
    "是\u22127。": "-7", "=-7": "-7", "(-7)": "-7",
    "2,125": "2125", "1,234,567.5": "1234567.5", "2\u202f125": "2125", "2\u00a0125": "2125",
    "2.125": "2.125", "-2,125": "-2125",
    "=7": "7", "= 7": "7", "x = 7": "7", "x7 = 8": "8", "7+5=12, 12-3=9": "9",
    "7+5=12-3=9": "9", "answer:7": "7", "answer: 7": "7",
    "~7": "7", "≈7": "7", "#7": "7", "$7": "7", "$7$": "7", "$-7$": "-7", "\\(7\\)": "7",
    "\\[7\\]": "7", "\\boxed{7}": "7",
    "\\boxed{ -7 }": "-7", "$\\boxed{2,125}$.": "2125", "(7)": "7", "[7]": "7", "\"7\"": "7",
    "**7**": "7", "*7*": "7", "_7_": "7",
    "`7`": "7", "* 7": "7", "| 7 |": "7", "so **-7**": "-7", "7 cm": "7", "7 lol": "7",
    "7, duh": "7", "7\n": "7", "->7": "7", "=> 7": "7", "→7": "7",
    "17 not 16": "16", "sometimes 7": "7", "20 9 3 6": "6", "1 000": "000", "7 (as in GPT-4)": "7",
    "7, see x8 and f(9)": "7", "GPT-4 says 7": "7",
    "7 七": "7", "7 seven": "7", "7 - lol": "7", "wait...7": "7", "是7。": "7", "我觉得7啦": "7",
    "第1，是7": "7",
}  # fmt: skip
NOT_READ = (
    "", "no idea", "seven", "七", "x7", "GPT-7", "step-7", "f(7)", "sum(3, 7)", "v_7", "7%",
    "7 %", "7‰", "3/4", "3 / 4", "1/7", "10^7", "10^{7}",
    "10**7", "10⁷", "x^7", "x^{7}", "x_{7}", "2*7", "2 * 7", "2×7", "2·7", "2x7", "2 x 7",
    "14÷2", "√7", "±7", "\\pm 7", "2\\times7",
    "2 \\times 7", "\\frac{3}{7}", "\\sqrt{7}", "\\sqrt 7", "7\\%", "9-3", "9 - 3", "9 -3",
    "9\u22122", "7+5-3", "12 - 7", "(12)-7", "x-7",
    "x - 7", "x + 7", "x*7", "x * 7", "2(7)", "(2)(7)", "- 7", "\u2212 7", "- **7**",
    "minus 7", "3 times 7", "负7", "减7", ">7", "< 7", "≥7", "≠7",
    "!= 7", ">= 7", "1e5", "1e7", "7e0", "0x7", "7th", "7x", "7x+1", "7lol", "7-x", "7*x",
    "7/x", "7^n", "1_000", "1_7", "12,5", "1,2345,7", "7,7", "2,12",
    "3:7", "12:07", "1.2.7", "2025-11-07", "3-7", ".7", "is .7", "７", "٧", "½", "7½", "①",
    "9７", "8, i.e. 10^1", "8 or 1e1", "8 - 7",
)  # fmt: skip


@pytest.mark.parametrize(("text", "number"), NUMBERS_AS_THEY_ARE.items())
def test_numbers_outside_of_tags(text, number):
    assert (
        last_number(text) == final_answer(text) == final_answer(f"<think>1</think>{text}") == number
    )


@pytest.mark.parametrize("text", NOT_READ)
def test_what_has_a_digit_but_is_no_number(text):
    assert last_number(text) is final_answer(text) is None
    assert not verify_answer(ChainProblem((7, 3, 3), (1, -1)), text)  # 7


@given(
    st.integers(-(10**9), 10**9),
    st.sampled_from(["{}", "so {}.", "是{}。", "**{}**", "\\boxed{{{}}}", "it = {} cm"]),
)
def test_a_number_is_read_whichever_way_it_is_written(number, phrase):
    for written in (
        f"{number}",
        f"{number:,}",
        f"{number:,}".replace(",", "\u202f"),
        f"{number}".replace("-", "\u2212"),
    ):
        assert last_number(phrase.format(written)) == str(number)


@pytest.mark.parametrize("text, found", [
    ("20-9-3+6", "20-9-3+6"), ("so **20-9-3+6**.", "20-9-3+6"), ("20\u22129\u22123+6",
    "20-9-3+6"), ("14 = 20-9-3+6", "20-9-3+6"),
    ("(20-9-3+6)", "20-9-3+6"), ("20-9, 20+9", "20+9"), ("20-9-3+6 = 14", None), ("1,020-9",
    None), ("2*20-9", None), ("20-9*2", None),
    ("x20-9", None), ("20-9x", None), ("20-9^2", None), ("20 - 9-3+6", None), ("20-9-3 + 6",
    None), ("20-9.5", None), ("20-9%", None),
    ("-20+34", None), ("14", None), ("２０-9", None), ("x+20-9", None), ("20-9-x", None),
])  # fmt: skip
def test_sums_outside_of_tags(text, found):
    assert last_expression(text) == found


def test_minus_signs_in_tags_too():
    assert final_answer("<answer>\u22127</answer>") == "-7"
    assert verify_answer(SearchProblem((20, 9, 3, 6), 14), "<answer>20\u22129\u22123+6</answer>")
    assert not verify_answer(ChainProblem((7, 3, 3), (1, -1)), "<answer>\u22127</answer>")


LONG_JUNK = (
    "-" * 400_000 + "7",
    "1" + "-" * 400_000 + "7",
    " " * 400_000 + "7",
    "a " * 200_000 + "7",
    "<think>" * 200_000,
    "</think>" * 200_000 + "7",
    "<answer>" * 200_000,
    "9" * 400_000,
    "1+" * 200_000,
    "f(" * 200_000 + "7",
    "a-" * 200_000 + "7",
    "7," * 200_000,
    "- " * 200_000 + "7",
    "\\" * 200_000 + "7",
    "1 + " * 200_000,
)


def test_every_digit_is_drawn_into_search_puzzles():
    drawn = [draw_search(Random(seed)).numbers for seed in range(300)]
    assert {number for _, *rest in drawn for number in rest} == set(range(1, 10))
    assert {first for first, *_ in drawn} == set(range(10, 25))


@pytest.mark.parametrize("text", LONG_JUNK, ids=range(len(LONG_JUNK)))
@pytest.mark.timeout(120)  # what grows with the square of the length would need many minutes
def test_long_junk_is_read_in_time_that_grows_with_its_length(text):
    verify_answer(ChainProblem((7, 3, 3), (1, -1)), text)
    verify_answer(SearchProblem((20, 9, 3, 6), 14), text)
    is_well_formed(text)
