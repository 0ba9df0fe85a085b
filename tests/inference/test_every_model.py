"""Every model that writes, in every way that the library writes: the text is that of plain greedy
decoding without a cache, or a ValueError says why not."""

import copy
from functools import cache

import pytest
import torch

from course_lib.inference.cache import KVCache, make_caches
from course_lib.inference.generate import beam_search, generate
from course_lib.inference.rollout import completion_log_probs, sample_completions
from course_lib.inference.serving import ServingRequest, prefill_prompt, read_prefix, serve_requests
from course_lib.inference.speculative import (
    CachedReader,
    ModelDraft,
    MTPDraft,
    speculative_generate,
)
from course_lib.models.ctrl import CTRL, CTRLSettings
from course_lib.models.deepseek import (
    DeepSeekMoE,
    DeepSeekSettings,
    DeepSeekV2,
    DeepSeekV3,
    DeepSeekV32,
    DeepSeekV32Settings,
)
from course_lib.models.deepseek_v4 import DeepSeekV4, DeepSeekV4Settings
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.models.memory_v3 import MemorySettings, MemoryV3

V, ROOM, NEW = 11, 32, 10
SIZE = {"vocab_size": V, "max_seq_len": ROOM, "d_model": 12, "n_heads": 2}
LAYERS = SIZE | {"n_layers": 2}
LATENT = {"kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 5}
LATENT |= {"n_experts": 4, "n_chosen": 2}
INDEX = {"q_lora_rank": 8, "index_n_heads": 2, "index_head_dim": 4, "index_top_k": 3}
V4 = {"head_dim": 8, "qk_rope_head_dim": 4, "q_lora_rank": 8, "o_lora_rank": 8, "window": 7}
V4 |= {"index_n_heads": 2, "index_head_dim": 4, "index_top_k": 2, "d_expert": 8, "hca_rate": 8}
BUILDERS = {
    "GPT-2": lambda: GPT2(GPT2Settings(**LAYERS)),
    "CTRL": lambda: CTRL(CTRLSettings(**LAYERS)),
    "Llama": lambda: Llama(LlamaSettings(**LAYERS, n_kv_heads=1)),
    "MoE": lambda: DeepSeekMoE(DeepSeekSettings(**LAYERS, **LATENT)),
    "V2": lambda: DeepSeekV2(DeepSeekSettings(**LAYERS, **LATENT)),
    "V3": lambda: DeepSeekV3(DeepSeekSettings(**LAYERS, **LATENT, mtp=True)),
    "V3.2": lambda: DeepSeekV32(DeepSeekV32Settings(**LAYERS, **LATENT, **INDEX, mtp=True)),
    "V4": lambda: DeepSeekV4(
        DeepSeekV4Settings(**SIZE, **V4, layer_types=("sliding", "CSA", "HCA"), mtp=True)
    ),
    "memory": lambda: MemoryV3(MemorySettings(**LAYERS, **LATENT, memory_rows=40, mtp=True)),
}
PROMPTS = ([3], [1, 2, 3, 4, 5, 9, 7, 1])


@cache
def model_of(name):
    """A model in float64 that is sure of its tokens, so that a wrong context shows."""
    torch.manual_seed(0)
    model = BUILDERS[name]().double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def near(model):
    """A model that often agrees, and often not."""
    torch.manual_seed(1)
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.06 * torch.randn_like(parameter)
    return model


@cache
def plain(name, prompt):
    ids = torch.tensor([prompt])
    return generate(model_of(name), ids, NEW, temperature=0.0, use_cache=False)[0].tolist()


def cached(model):
    settings = {"temperature": 0.0, "use_cache": True}
    return [generate(model, torch.tensor([p]), NEW, **settings)[0].tolist() for p in PROMPTS]


def one_beam(model):
    return [beam_search(model, torch.tensor(p), NEW, 1)[0][0].tolist() for p in PROMPTS]


def drafted(model, draft, n_ahead=3):
    texts = [
        speculative_generate(
            model, draft, torch.tensor(p), NEW, n_ahead=n_ahead, temperature=0.0
        ).ids.tolist()
        for p in PROMPTS
    ]
    return texts


def served(model):
    requests = [ServingRequest(p, NEW, i) for i, p in enumerate(PROMPTS)]
    texts = serve_requests(model, requests, max_rows=3, prefix=read_prefix(model, [1, 2, 3, 4, 5]))
    return [p + text.tokens for p, text in zip(PROMPTS, texts, strict=True)]


def rollouts(model):
    return [sample_completions(model, [p], NEW, temperature=0.0).ids[0].tolist() for p in PROMPTS]


def padded_rollouts(model):
    texts = sample_completions(model, PROMPTS, NEW, temperature=0.0)
    return [row[~pad].tolist() for row, pad in zip(texts.ids, texts.padding, strict=True)]


WAYS = {
    "cache": cached,
    "beam": one_beam,
    "draft": lambda model: drafted(model, ModelDraft(near(model))),
    "own draft": lambda model: drafted(model, ModelDraft(model), n_ahead=5),
    "MTP": lambda model: drafted(model, MTPDraft(model)),
    "served": served,
    "rollouts": rollouts,
    "padded rollouts": padded_rollouts,
}
NO_MODULE = "no module for multi-token prediction"
REFUSED = {(name, "MTP"): NO_MODULE for name in ("GPT-2", "CTRL", "Llama", "MoE", "V2")}
REFUSED["V4", "padded rollouts"] = "1 padded rows and a cache.*batch rows of equal length"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BUILDERS)
def test_the_text_is_that_of_plain_greedy_decoding_or_is_refused(name, way):
    if message := REFUSED.get((name, way)):
        with pytest.raises(ValueError, match=message):
            WAYS[way](model_of(name))
    else:
        assert WAYS[way](model_of(name)) == [plain(name, tuple(p)) for p in PROMPTS]


@pytest.mark.parametrize("name", BUILDERS)
def test_every_model_may_draft_for_another(name):
    got = drafted(model_of("GPT-2"), ModelDraft(model_of(name)))
    assert got == [plain("GPT-2", tuple(p)) for p in PROMPTS]


@pytest.mark.parametrize("name", BUILDERS)
def test_some_drafted_tokens_stand_and_some_fall(name):
    """So the test above falls back into the middle of what was read, in V4 of a finished block."""
    model = model_of(name)
    draft = ModelDraft(near(model))
    written = [
        speculative_generate(model, draft, torch.tensor(prompt), 24, n_ahead=5, temperature=0.0)
        for prompt in PROMPTS
    ]
    assert 0 < sum(got.n_accepted for got in written) < sum(got.n_judged for got in written)
    assert sum(got.n_passes for got in written) < 24 * len(written)


@pytest.mark.parametrize("name", BUILDERS)
def test_a_reader_may_be_given_any_text_after_any_other(name):
    model, rng = model_of(name), torch.Generator().manual_seed(0)
    reader, text = CachedReader(model), torch.randint(V, (20,), generator=rng)
    with torch.no_grad():
        for _ in range(8):
            keep, new = (int(torch.randint(1, 9, (), generator=rng)) for _ in range(2))
            text = torch.cat([text[: 2 * keep], torch.randint(V, (new,), generator=rng)])
            reader.read(text, n_certain=keep)
            torch.testing.assert_close(reader.hidden, model.hidden(text[None])[0])


@pytest.mark.parametrize("name", BUILDERS)
def test_a_prefix_serves_prompts_that_go_on_part_from_it_or_end_in_it(name):
    model = model_of(name)
    prefix = read_prefix(model, [5, 4, 3, 2, 1])
    for prompt in ([5, 4, 3, 2, 1, 9, 9], [5, 4, 7], [5, 4, 3, 2, 1], [8], [5, 4, 3, 2, 1, 9, 2]):
        caches, scores = prefill_prompt(model, prompt, prefix)
        with torch.no_grad():
            torch.testing.assert_close(scores, model(torch.tensor([prompt]))[0, -1])
        assert all(cache.length == len(prompt) for cache in caches)


@pytest.mark.parametrize("name", BUILDERS)
def test_completions_that_share_a_prompt_are_read_with_the_gradients_of_whole_rows(name):
    model = copy.deepcopy(model_of(name))
    two, length = ([7, 1, 2, 3, 4, 5], [8, 5, 4, 3, 2, 1]), 5
    rng = torch.Generator().manual_seed(0)
    made = sample_completions(model, two, length, n_samples=2, generator=rng)
    whole = model(made.ids).log_softmax(-1)[:, -length - 1 : -1]
    whole = whole.gather(-1, made.ids[:, -length:, None])[..., 0]
    grads = []
    for log_probs in (completion_log_probs(model, made), whole):
        torch.testing.assert_close(log_probs, whole)
        model.zero_grad()
        log_probs.sum().backward(retain_graph=True)
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(*grads)


def test_v4_with_caches_of_another_kind_is_refused():
    ids = torch.tensor([[1, 2]])
    with pytest.raises(TypeError, match="needs a CompressedCache, not a KVCache"):
        model_of("V4")(ids, [KVCache(9) for _ in range(3)])


def test_a_compressed_cache_falls_back_to_what_it_remembers_or_to_nothing():
    model, ids = model_of("V4"), torch.tensor([[1, 2, 3, 4, 5, 6, 7, 8, 9]])
    with torch.no_grad():
        caches, whole = make_caches(model, ROOM), model(ids)
        model(ids[:, :5], caches)
        for cache in caches:
            cache.remember()
        model(ids[:, 5:].flip(1), caches)  # finishes a block
        assert [cache.fall_back(8) for cache in caches] == [5] * 3
        torch.testing.assert_close(model(ids[:, 5:], caches), whole[:, 5:])
        assert [cache.fall_back(5) for cache in caches] == [5] * 3  # it is remembered still
        assert [cache.fall_back(4) for cache in caches] == [0] * 3
        torch.testing.assert_close(model(ids, caches), whole)
        assert caches[0].max_seq_len == ROOM
