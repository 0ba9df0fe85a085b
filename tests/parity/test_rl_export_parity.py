"""The exported folder in transformers' hands: same ids, same prompts, same logits, same answers."""

import json
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.alignment.rl_task import answer_questions, question_prompt_ids
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.experiments.rl_export import export_rl
from course_lib.experiments.search import SHIPPED_SEARCH
from course_lib.models.hf_tokenizer import save_hf_tokenizer
from course_lib.tasks.arithmetic import draw_arithmetic_question, held_out_arithmetic
from course_lib.text import bpe
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS, render_chat

transformers = pytest.importorskip("transformers")

TEXT = "To be, or not to be: that is 7+5-3=9, the question.\n  12 of them; naïve 是不是 the" * 9


def trained(pattern):
    return bpe.train_bpe([TEXT], 300, pattern, SPECIAL_TOKENS)


TOKENIZERS = {
    "r1": SHIPPED_R1.tokenizer,
    "search": SHIPPED_SEARCH.tokenizer,
    "digits": lambda: trained(bpe.DIGITS_PATTERN),
    "gpt2": lambda: trained(bpe.GPT2_PATTERN),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def pair(request, tmp_path_factory):
    ours, folder = TOKENIZERS[request.param](), tmp_path_factory.mktemp(request.param)
    save_hf_tokenizer(ours, folder, 256)
    return ours, transformers.AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module", params=["base", "student"])
def export(request, tmp_path_factory):
    return request.param, export_rl(tmp_path_factory.mktemp("at") / "export", request.param, 30, 5)


# The tokenizer
# --------------------------------------------------------------------------------------------------

PIECES = [
    *SPECIAL_TOKENS,
    "User: ",
    "\nAssistant: ",
    "<think",
    "7+5=12, ",
    "is 9",
    " ",
    "\n\n",
    "'s",
]
ANY_TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=6).map("".join)


@settings(max_examples=300, deadline=None)
@given(ANY_TEXT)
def test_ids_of_any_text_are_ours_and_go_back(pair, text):
    ours, theirs = pair
    ids = ours.encode(text, allowed_special="all")
    assert theirs(text)["input_ids"] == ids
    assert theirs.decode(ids) == text


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_ids_are_decoded_as_ours_does(pair, data):
    ours, theirs = pair
    ids = data.draw(st.lists(st.integers(0, ours.n_vocab - 1), max_size=12))
    assert theirs.decode(ids) == ours.decode(ids)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=20))
def test_any_bytes_have_our_ids(pair, data):
    """As the text that theirs can be given: what is no UTF-8 is a replacement sign."""
    ours, theirs = pair
    assert theirs(data.decode("utf-8", "replace"))["input_ids"] == ours.encode_bytes(
        data.decode("utf-8", "replace").encode()
    )


def test_what_a_reward_reads_keeps_its_tags_and_loses_its_end(pair):
    """TRL and verl decode with `skip_special_tokens`."""
    ours, theirs = pair
    answer = "<think>7+5=12</think><answer>12</answer>"
    ids = ours.encode(answer + END_OF_TEXT, allowed_special="all")
    assert theirs.decode(ids, skip_special_tokens=True) == answer


def test_other_classes_read_the_same(export):
    """TRL opens the folder by AutoProcessor, others by the class that the file names."""
    _, folder = export
    text = "User: 7+5=?\nAssistant: <think>12</think><|endoftext|>"
    read = [
        kind.from_pretrained(folder / "model")(text)["input_ids"]
        for kind in (
            transformers.AutoTokenizer,
            transformers.AutoProcessor,
            transformers.PreTrainedTokenizerFast,
        )
    ]
    assert read == [SHIPPED_R1.tokenizer().encode(text, allowed_special="all")] * 3


# The chat template
# --------------------------------------------------------------------------------------------------


def test_a_prompt_has_our_ids_with_the_end_of_another_text_before_it(export):
    """The call is TRL 1.16's, in `_tokenize_prompts`."""
    _, folder = export
    theirs = transformers.AutoTokenizer.from_pretrained(folder / "model")
    prompts = [json.loads(line)["prompt"] for line in (folder / "train.jsonl").open()]
    read = theirs.apply_chat_template(
        conversation=prompts, tools=None, chat_template=None, add_generation_prompt=True,
        tokenize=True, return_dict=True,
    )["input_ids"]  # fmt: skip
    ours = [question_prompt_ids(SHIPPED_R1.tokenizer(), p[0]["content"]) for p in prompts]
    assert read == ours and len(prompts) == 30


def test_a_whole_chat_is_rendered_as_ours(export):
    _, folder = export
    theirs = transformers.AutoTokenizer.from_pretrained(folder / "model")
    chat = [
        {"role": role, "content": text}
        for role, text in [("user", "7+5=?"), ("assistant", "it is 12"), ("user", "and 1+1=?")]
    ]
    for messages, prompt in ((chat[:2], False), (chat, True)):
        rendered = theirs.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=prompt
        )
        assert rendered == END_OF_TEXT + render_chat(messages, prompt)


# The model
# --------------------------------------------------------------------------------------------------


def test_logits_are_ours(export):
    name, folder = export
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    ids = torch.tensor([question_prompt_ids(SHIPPED_R1.tokenizer(), "7+5-3=?")])
    with torch.no_grad():
        got, want = theirs(ids).logits, SHIPPED_R1.load(name)(ids)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)


def test_greedy_answers_are_ours(export):
    """With transformers' cache, in one left-padded batch, the way TRL calls it."""
    name, folder = export
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder / "model").eval()
    reader = transformers.AutoTokenizer.from_pretrained(folder / "model")
    questions = [question.text for question in held_out_arithmetic(50)]
    prompts = [[{"role": "user", "content": text}] for text in questions]
    batch = reader.apply_chat_template(
        prompts, add_generation_prompt=True, tokenize=True, return_dict=True, padding=True,
        return_tensors="pt",
    )  # fmt: skip
    written = theirs.generate(**batch, do_sample=False, max_new_tokens=72, use_cache=True)
    got = reader.batch_decode(written[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    want, _ = answer_questions(
        SHIPPED_R1.load(name), SHIPPED_R1.tokenizer(), questions, temperature=0.0
    )
    assert got == want and len(set(want)) > 5


def test_sampling_is_told_to_cut_nothing_off(export):
    """`generate` would keep the 50 likeliest tokens where the folder does not say otherwise."""
    _, folder = export
    told = transformers.GenerationConfig.from_pretrained(folder / "model")
    end = SHIPPED_R1.tokenizer().special_tokens[END_OF_TEXT]
    assert (told.top_k, told.top_p, told.temperature, told.eos_token_id) == (0, 1.0, 1.0, end)


def test_questions_to_practise_fit_into_the_prompt_length_told_to_verl(export):
    _, folder = export
    rng = Random(0)
    texts = [draw_arithmetic_question(rng).text for _ in range(500)]
    longest = max(len(question_prompt_ids(SHIPPED_R1.tokenizer(), text)) for text in texts)
    assert longest <= 64 and "data.max_prompt_length=64" in (folder / "run_verl.sh").read_text()


def test_the_script_is_one_for_the_trl_that_is_installed(export, monkeypatch):
    """Every argument is one of its GRPOConfig, and none is refused."""
    pytest.importorskip("trl")
    _, folder = export
    monkeypatch.syspath_prepend(str(folder))
    import train_trl  # noqa: PLC0415

    made = train_trl.config(folder / "runs", 40, 3)
    assert (made.max_steps, made.num_generations, made.seed) == (80, 16, 3)
    assert made.get_warmup_steps(80) == 6 and made.bf16 is False
