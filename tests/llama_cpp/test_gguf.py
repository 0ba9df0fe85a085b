"""Our GGUF files in llama.cpp: the same log-probabilities, the same greedy text, what it tokenizes.

`make test-gguf` runs them, with the extra "gguf".
"""

import json
import urllib.request
from pathlib import Path

import pytest

from course_lib.experiments.model_export import export_model
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
    asked.verbosity, asked.cpuparams.n_threads, asked.cpuparams_batch.n_threads = 0, 1, 1
    if exact:
        asked.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        asked.cache_type_k = asked.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    return xllamacpp.Server(asked)


def complete(server, prompt: list[int], n: int, banned: list[int]) -> tuple[list[int], list[dict]]:
    """Give the likeliest tokens after a prompt of ids, and the 20 best log-probabilities of each."""
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
        want = [token for token in want if token != end]  # is not printed
        assert got[: len(want)] == want
        for ours, theirs in zip(rows, best, strict=False):
            worst = max(worst, *(abs(ours[i].item() - value) for i, value in theirs.items()))
        said.add(tuple(got))
    print(f"\n{trained.name}: 30 texts, {len(said)} of them different, {worst:.1e} at most")
    assert worst < TOLERANCE[trained.name] and len(said) > 10
