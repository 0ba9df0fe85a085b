"""A tool's tokens stand where they must, and nothing else changes."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.inference.rollout import completion_log_probs, join_completions, sample_completions
from course_lib.inference.tool_use import (
    CALC_TOKENS,
    Tool,
    calculator_answer,
    mark_tool_tokens,
    text_tool,
    with_special_tokens,
)
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS

BEGIN, END, STOP, NEW = 8, 9, 2, 24
PROMPTS = [[3, 1, 4, 1, 5], [6], [7, 1], [8, 3]]
BYTES = bpe.train_bpe(["ab"], 256 + len(SPECIAL_TOKENS), bpe.WORD_PATTERN, SPECIAL_TOKENS)


def echo(call):
    """Answer 0, then the length of the call (at most 7), then 0."""
    return [0, min(len(call), 7), 0]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = Llama(LlamaSettings(vocab_size=11, max_seq_len=32, d_model=12, n_layers=2, n_heads=3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def sample(model, tool, n_samples=16, new=NEW, **options):
    return sample_completions(
        model, PROMPTS, new, n_samples=n_samples, stop_token=STOP,
        generator=torch.Generator().manual_seed(1), tool=tool, **options,
    )  # fmt: skip


def said_by_hand(ids):
    """Which tokens of a completion the tool wrote, and which it must have written: by looking back
    for each token, with no state."""
    marks, wanted, due = [], [], {}
    for place, token in enumerate(ids):
        marks.append(place in due)
        wanted.append(due.get(place, token))
        if place in due or token != END:
            continue
        own = [i for i in range(place) if i not in due]
        begins = [i for i in own if ids[i] == BEGIN]
        ends = [i for i in own if ids[i] == END]
        if begins and (not ends or begins[-1] > ends[-1]):
            call = ids[begins[-1] + 1 : place]
            due |= {place + 1 + i: answer for i, answer in enumerate(echo(call))}
    return marks, wanted


def test_every_call_is_answered_and_nothing_else_is_forced(model):
    got = sample(model, Tool(BEGIN, END, echo))
    n_forced = 0
    for row, ids in enumerate(got.completions):
        marks, wanted = said_by_hand(ids)
        assert ids == wanted
        assert got.tool_mask[row, : len(ids)].tolist() == marks
        assert not got.tool_mask[row, len(ids) :].any()
        n_forced += sum(marks)
    assert n_forced > 30  # the model of this seed calls


def test_a_text_that_never_calls_is_the_one_without_a_tool(model):
    with_tool, without = sample(model, Tool(BEGIN, END, echo)), sample(model, None)
    silent = [row for row in range(64) if not with_tool.tool_mask[row].any()]
    assert 10 < len(silent) < 60
    for row in silent:
        assert with_tool.completions[row] == without.completions[row]
        n = int(without.lengths[row])
        torch.testing.assert_close(
            with_tool.log_probs[row, :n], without.log_probs[row, :n], atol=1e-5, rtol=1e-5
        )


def test_a_text_that_calls_goes_on_as_if_it_had_read_the_answer(model):
    """Greedy, so that the text behind an answer is what the model says to all before it."""
    tool = Tool(BEGIN, END, echo)
    got = sample(model, tool, n_samples=1, temperature=0.0)
    for prompt, ids in zip(got.prompts, got.completions, strict=True):
        marks = mark_tool_tokens(ids, tool)
        for place in (i for i, forced in enumerate(marks) if not forced):
            best = model(torch.tensor([prompt + ids[:place]]))[0, -1].argmax()
            assert ids[place] == best


def test_what_the_tool_wrote_has_no_log_probability(model):
    got = sample(model, Tool(BEGIN, END, echo))
    again = completion_log_probs(model, got)
    assert (got.log_probs[got.tool_mask] == 0).all() and (again[got.tool_mask] == 0).all()
    torch.testing.assert_close(again, got.log_probs, atol=1e-5, rtol=1e-5)
    assert torch.equal(got.loss_mask, got.completion_mask & ~got.tool_mask)
    assert (got.log_probs[got.loss_mask] < 0).all()


def test_a_tool_that_is_not_masked_writes_the_same_and_hides_nothing(model):
    hidden = sample(model, Tool(BEGIN, END, echo))
    plain = sample(model, Tool(BEGIN, END, echo, masked=False))
    assert torch.equal(hidden.ids, plain.ids) and not plain.tool_mask.any()
    torch.testing.assert_close(
        plain.log_probs, completion_log_probs(model, plain), atol=1e-5, rtol=1e-5
    )


def test_rows_and_joined_tables_keep_the_mask(model):
    tool = Tool(BEGIN, END, echo)
    whole, short = sample(model, tool), sample(model, tool, n_samples=1, new=5)
    chosen = whole.tool_mask.any(-1).nonzero()[:3, 0]
    some = whole.rows(chosen)
    joined = join_completions([short, some])
    for place, row in enumerate(chosen.tolist()):
        n = int(whole.lengths[row])
        assert some.tool_mask[place, :n].tolist() == whole.tool_mask[row, :n].tolist()
        assert joined.tool_mask[4 + place, :n].tolist() == whole.tool_mask[row, :n].tolist()
    assert joined.tool_mask.shape == joined.completion_mask.shape


def test_the_budget_may_end_in_the_middle_of_an_answer(model):
    """Whatever the budget: the beginning of the text that a larger one gives."""
    tool, cut = Tool(BEGIN, END, echo), 0
    whole = sample(model, tool, temperature=0.0, n_samples=1)
    for new in range(1, NEW):
        got = sample(model, tool, temperature=0.0, n_samples=1, new=new)
        for row, ids in enumerate(got.completions):
            assert ids == whole.completions[row][:new]
            marks = got.tool_mask[row, : len(ids)].tolist()
            assert marks == mark_tool_tokens(whole.completions[row], tool)[: len(ids)]
            cut += not got.finished[row] and marks[-1]
    assert cut  # it did happen


def test_a_text_may_end_inside_of_a_call():
    tool = Tool(BEGIN, END, echo)
    assert mark_tool_tokens([1, BEGIN, 3, STOP], tool) == [False] * 4
    assert mark_tool_tokens([1, BEGIN, 3], tool) == [False] * 3


def test_odd_calls():
    tool = Tool(BEGIN, END, echo)
    assert mark_tool_tokens([END, 1, END], tool) == [False] * 3  # nobody called
    assert mark_tool_tokens([BEGIN, END, 0, 0, 0], tool) == [False] * 2 + [True] * 3
    again = [BEGIN, 1, 1, BEGIN, 1, END, 0, 1, 0]  # the second beginning counts
    assert mark_tool_tokens(again, tool) == [False] * 6 + [True] * 3
    writes_calls = Tool(BEGIN, END, lambda call: [BEGIN, 1, END])
    assert mark_tool_tokens([BEGIN, END, BEGIN, 1, END, 1], writes_calls)[-2:] == [True, False]
    two = Tool(BEGIN, END, lambda call: [0, 1])
    with pytest.raises(ValueError, match="token 3 is 5, but the tool writes 1 there"):
        mark_tool_tokens([BEGIN, END, 0, 5], two)


@given(st.text(max_size=80))
def test_the_calculator_never_raises(call):
    answer = calculator_answer(call)
    assert answer == "=error" or re.fullmatch("=-?[0-9]+", answer)


@given(st.lists(st.integers(-99, 99), min_size=1, max_size=9).filter(lambda n: n[0] >= 0))
def test_the_calculator_adds(numbers):
    call = "".join(f"{n:+d}" for n in numbers).removeprefix("+")
    assert calculator_answer(call) == f"={sum(numbers)}"


@pytest.mark.parametrize(
    "call",
    ["", " 7+5", "7 + 5", "7+5=", "7+-5", "-7", "7*5", "7/0", "12345", "٣+٤", "1+" * 40 + "1"],
)
def test_bad_calls_get_an_error(call):
    assert calculator_answer(call) == "=error"


def test_a_text_tool_reads_and_writes_text():
    tokenizer = with_special_tokens(BYTES)
    tool = text_tool(tokenizer, calculator_answer)
    assert tool.answer(tokenizer.encode("7+5")) == tokenizer.encode("=12")
    assert tool.answer([255]) == tool.answer([tool.begin]) == tokenizer.encode("=error")
    with pytest.raises(ValueError, match="no special tokens </calc>, <calc>"):
        text_tool(BYTES, calculator_answer)


def test_new_special_tokens_leave_the_others_alone():
    tokenizer = with_special_tokens(BYTES)
    text = "a <think>b</think>"
    assert tokenizer.encode(text, "all") == BYTES.encode(text, "all")
    n = BYTES.vocab_size
    assert tokenizer.encode("<calc>1</calc>", "all") == [n, ord("1"), n + 1]
    assert tokenizer.encode("<calc>") == BYTES.encode("<calc>")  # plain text stays plain
    assert tokenizer.vocab_size == n + len(CALC_TOKENS)
    with pytest.raises(ValueError, match="already has </calc>, <calc>"):
        with_special_tokens(tokenizer)
