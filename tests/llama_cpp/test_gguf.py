"""Our GGUF files in llama.cpp: the same log-probabilities, the same greedy text, what it tokenizes.

`make test-gguf` runs them, with the extra "gguf".
"""

import json
import socket
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.experiments.model_export import export_model
from course_lib.tasks.arithmetic import held_out_arithmetic
from course_lib.text import bpe, small_web
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS, render_chat
from tests.exported_models import (
    DRAWN,
    SHIPPED,
    exported_model,
    greedy_ids,
    hard_to_print,
    prompts_of,
)

pytest.importorskip("gguf")
xllamacpp = pytest.importorskip("xllamacpp")

# llama.cpp's GELU is a table of 16-bit numbers; its other functions are exact to float32
TOLERANCE = dict.fromkeys([*DRAWN, *SHIPPED], 1e-4) | {"gpt2": 5e-3}


def serve(file: Path, exact: bool = True):
    """Open a file as llama-server does; `exact` keeps keys and values in 32 bits."""
    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.n_parallel, asked.warmup = str(file), 256, 1, False
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        asked.port = free.getsockname()[1]
    asked.verbosity, asked.cpuparams.n_threads, asked.cpuparams_batch.n_threads = 0, 1, 1
    if exact:
        asked.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        asked.cache_type_k = asked.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(asked)


def complete(server, prompt: list[int], n: int, banned: list[int]) -> tuple[list, list[dict]]:
    """Give the likeliest tokens after a prompt of ids, and 20 log-probabilities of each."""
    answer = server.handle_completions({
        "prompt": prompt, "n_predict": n, "temperature": 0.0, "n_probs": 20,
        "cache_prompt": False, "logit_bias": [[token, False] for token in banned],
    })  # fmt: skip
    steps = answer["choices"][0]["logprobs"]["content"]
    best = [{top["id"]: top["logprob"] for top in step["top_logprobs"]} for step in steps]
    return [step["id"] for step in steps], best


@pytest.fixture(scope="module", params=TOLERANCE)
def opened(request, tmp_path_factory):
    trained = exported_model(request.param)
    folder = export_model(tmp_path_factory.mktemp("at") / request.param, trained, "gguf")
    return trained, serve(folder / "model.gguf")


def test_thirty_greedy_texts_and_their_log_probabilities_are_ours(opened):
    trained, server = opened
    tokenizer = trained.tokenizer
    end, odd = tokenizer.special_tokens[END_OF_TEXT], hard_to_print(tokenizer)
    banned = odd if trained.name in DRAWN else []
    said, worst = set(), 0.0
    for prompt in prompts_of(tokenizer):
        want, rows = greedy_ids(trained.model, prompt, 12, end, banned)
        got, best = complete(server, prompt, 12, banned)
        assert got == want
        for ours, theirs in zip(rows, best, strict=False):
            worst = max(worst, *(abs(ours[i].item() - value) for i, value in theirs.items()))
        said.add(tuple(got))
    print(f"\n{trained.name}: 30 texts, {len(said)} of them different, {worst:.1e} at most")
    assert worst < TOLERANCE[trained.name] and len(said) > 10


# The words of a file: tokens, template, how to sample
# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def r1(tmp_path_factory):
    trained = exported_model("r1")
    folder = export_model(tmp_path_factory.mktemp("at") / "r1", trained, "gguf", dtype="f16")
    return trained, serve(folder / "model.gguf", exact=False)


def ask(server, path: str, **words) -> dict:
    request = urllib.request.Request(
        server.listening_address + path,
        json.dumps(words).encode() if words else None,
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_f16_and_the_defaults_of_llama_cpp_give_the_same_texts(r1):
    """Weights, keys and values in 16 bits, and its fast attention."""
    trained, server = r1
    end, same = trained.tokenizer.special_tokens[END_OF_TEXT], 0
    for prompt in prompts_of(trained.tokenizer):
        want, _ = greedy_ids(trained.model, prompt, 40, end, [])
        got, _ = complete(server, prompt, 40, [])
        same += got == want
    print(f"\n{same} of 30 the same")
    assert same >= 28


def test_its_chat_is_ours(r1):
    """The template in the file, read by llama.cpp, gives our prompt, and the model's answer."""
    trained, server = r1
    tokenizer = trained.tokenizer
    for question in held_out_arithmetic(5):
        chat = [{"role": "user", "content": question.text}]
        prompt = END_OF_TEXT + render_chat(chat, True)
        assert ask(server, "/apply-template", messages=chat)["prompt"] in (
            prompt,
            prompt.removeprefix(END_OF_TEXT),  # which it puts before every text
        )
        answer = server.handle_chat_completions({"messages": chat, "temperature": 0.0})
        ids = tokenizer.encode(prompt, allowed_special="all")
        want, _ = greedy_ids(trained.model, ids, 60, tokenizer.special_tokens[END_OF_TEXT], [])
        message = answer["choices"][0]["message"]
        got = f"{message.get('reasoning_content') or ''}{message['content']}"
        said = tokenizer.decode(want)
        for tag in ("<think>", "</think>", END_OF_TEXT):
            got, said = got.replace(tag, ""), said.replace(tag, "")
        assert got == said


def test_roles_out_of_turn_are_refused_and_a_system_message_goes_to_the_user(r1):
    """The template refuses both; the second is what llama.cpp makes of such a template."""
    ask_user = {"role": "user", "content": "7+5=?"}
    chat = [{"role": "system", "content": "Be kind."}, ask_user]
    prompt = ask(r1[1], "/apply-template", messages=chat)["prompt"]
    assert prompt.removeprefix(END_OF_TEXT) == "User: Be kind.\n7+5=?\nAssistant: "
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask(r1[1], "/apply-template", messages=[ask_user, ask_user])


def test_it_samples_from_the_whole_distribution_unless_told_otherwise(r1):
    told = ask(r1[1], "/props")["default_generation_settings"]["params"]
    assert (told["temperature"], told["top_k"], told["top_p"], told["min_p"]) == (1, 0, 1, 0)


def cut_alike(trained, server, texts: list[str]) -> int:
    """Count the texts whose ids in llama.cpp are ours."""
    return sum(
        ask(server, "/tokenize", content=text, parse_special=True)["tokens"]
        == trained.tokenizer.encode(text, allowed_special="all")
        for text in texts
    )


@pytest.fixture(scope="module")
def pages():
    return [page.text for page in small_web.draw_clean_documents(0.05, 1_000_000, "base")][:300]


def test_sums_have_our_tokens_and_nearly_all_pages_too(r1, pages):
    """WORD_PATTERN has no name there, so this is measured, and told in the book."""
    chats = [[{"role": "user", "content": q.text}] for q in held_out_arithmetic(100)]
    prompts = [END_OF_TEXT + render_chat(chat, True) for chat in chats]
    assert cut_alike(*r1, prompts) == 100
    found = cut_alike(*r1, pages)
    print(f"\n{found} of {len(pages)} pages have our tokens")
    assert 280 < found < 300, "the book says 295 of 300"


@pytest.mark.parametrize("pattern", [bpe.DIGITS_PATTERN, bpe.GPT2_PATTERN])
def test_other_patterns_have_our_tokens_always(pattern, pages, tmp_path):
    tokenizer = bpe.train_bpe(pages, 512, pattern, SPECIAL_TOKENS)
    trained = replace(exported_model("llama"), tokenizer=tokenizer)
    server = serve(export_model(tmp_path / "at", trained, "gguf") / "model.gguf")
    odd = ["  7 and   12\n\n 3", "it's 1,000\t2\u00a03 naïve 是不是", "a\r\n  b  "]
    assert cut_alike(trained, server, [*pages, *odd]) == len(pages) + len(odd)
