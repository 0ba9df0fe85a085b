"""Requests that share a batch get the texts of runs alone, whenever they come and go."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.inference.cache import KVCache, RowCache
from course_lib.inference.generate import generate
from course_lib.inference.serving import (
    ContinuousBatch,
    ServingRequest,
    prefill_prompt,
    read_prefix,
    serve_requests,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings

SIZE = {"vocab_size": 11, "max_seq_len": 20, "d_model": 12, "n_layers": 2}
LATENT = {"kv_lora_rank": 6, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "v_head_dim": 5}
BUILDERS = {
    "GPT-2": lambda: GPT2(GPT2Settings(**SIZE, n_heads=3)),
    "grouped": lambda: Llama(LlamaSettings(**SIZE, n_heads=6, n_kv_heads=2)),
    "latent": lambda: DeepSeekV3(DeepSeekSettings(**SIZE, n_heads=2, **LATENT)),
}


def opinionated(name):
    """A model in float64, where two tokens are never as likely, and a wrong context shows."""
    torch.manual_seed(0)
    model = BUILDERS[name]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.double().eval()


MODELS = {name: opinionated(name) for name in BUILDERS}
REQUESTS = st.lists(
    st.builds(
        ServingRequest,
        prompt=st.lists(st.integers(0, 10), min_size=1, max_size=9),
        max_new_tokens=st.integers(1, 11),
        arrival=st.integers(0, 12),
    ),
    min_size=1,
    max_size=6,
)


def alone(model, request, stop_token):
    """The text of one request by the library's `generate`, cut behind its stop token."""
    ids = torch.tensor([request.prompt])
    text = generate(model, ids, request.max_new_tokens, temperature=0.0)[0, len(request.prompt) :]
    text = text.tolist()
    return text[: text.index(stop_token) + 1] if stop_token in text else text


@pytest.mark.parametrize("name", MODELS)
@given(
    requests=REQUESTS,
    max_rows=st.integers(1, 4),
    stop_token=st.sampled_from([None, 3]),
    prefix=st.lists(st.integers(0, 10), max_size=6),
    continuous=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_every_text_is_that_of_a_run_alone(
    name, requests, max_rows, stop_token, prefix, continuous
):
    model = MODELS[name]
    shared = read_prefix(model, prefix) if prefix else None
    served = serve_requests(
        model, requests, max_rows, stop_token=stop_token, prefix=shared, continuous=continuous
    )
    for request, text in zip(requests, served, strict=True):
        assert text.request is request and text.admitted >= request.arrival
        assert text.tokens == alone(model, request, stop_token)
        assert text.finished - text.admitted == max(0, len(text.tokens) - 2)


def test_a_row_that_ends_makes_room_at_once_and_a_batch_does_not():
    model = MODELS["grouped"]
    wishes = [ServingRequest([1], n) for n in (8, 2, 2, 2)]
    together = serve_requests(model, wishes, max_rows=2)
    assert [text.admitted for text in together] == [0, 0, 1, 2]
    in_turn = serve_requests(model, wishes, max_rows=2, continuous=False)
    assert [text.admitted for text in in_turn] == [0, 0, 7, 7]


def test_no_more_rows_than_there_is_room_for_and_first_come_first_served():
    batch = ContinuousBatch(MODELS["grouped"], max_rows=3)
    for n in (5, 1, 4, 2, 6, 3):
        batch.submit(ServingRequest([n], n))
    admitted = []
    while batch.waiting or batch.rows:
        done = batch.step()
        assert len(batch.rows) <= 3
        admitted += [(text.admitted, text.request.max_new_tokens) for text in done]
    order = [wish for _, wish in sorted(admitted, key=lambda pair: pair[0])]
    assert sorted(order[:4]) == [1, 2, 4, 5] and len(order) == 6


def test_columns_that_nobody_needs_are_dropped():
    model, batch = MODELS["grouped"], ContinuousBatch(MODELS["grouped"], max_rows=2)
    for start in range(12):  # 12 texts of 10 tokens one after the other, in a context of 20
        batch.submit(ServingRequest([start % 11] * 4, 6))
    while batch.waiting or batch.rows:
        batch.step()
        assert batch.caches[0].columns.length <= 10 <= model.settings.max_seq_len


def test_a_shared_prefix_is_read_once(monkeypatch):
    model, read, hidden = MODELS["grouped"], [], Llama.hidden

    def counting(self, ids, caches=None, padding=None):
        read.append(ids.numel())
        return hidden(self, ids, caches, padding)

    monkeypatch.setattr(Llama, "hidden", counting)
    prefix = read_prefix(model, [5, 4, 3, 2, 1])
    wishes = [ServingRequest([5, 4, 3, 2, 1, n], 1) for n in range(4)]
    wishes += [ServingRequest([5, 4, 9], 1), ServingRequest([5, 4, 3, 2, 1], 1)]
    serve_requests(model, wishes, max_rows=9, prefix=prefix)
    assert read == [5, 1, 1, 1, 1, 1, 1]


def test_a_prefix_outlives_those_who_go_on_from_it():
    model = MODELS["latent"]
    prefix = read_prefix(model, [5, 4, 3])
    before = [part.clone() for cache in prefix.caches for part in cache.stored]
    for prompt in ([5, 4, 3, 9, 9], [5, 4, 1], [5, 4, 3]):
        caches, scores = prefill_prompt(model, prompt, prefix)
        want = model(torch.tensor([prompt]))[0, -1]
        torch.testing.assert_close(scores, want)
        assert all(cache.length == len(prompt) for cache in caches)
    after = [part for cache in prefix.caches for part in cache.stored]
    assert all(map(torch.equal, before, after))


def test_rows_of_a_cache_are_right_aligned_and_know_their_lengths():
    def filled(value, length):
        cache = KVCache(9)
        cache.append(torch.full((1, 2, length, 3), float(value)))
        return cache

    rows = RowCache(9)
    rows.regroup(torch.tensor([], dtype=torch.long), [filled(1, 2), filled(2, 4)])
    assert rows.length.tolist() == [2, 4]
    assert rows.padding.tolist() == [[True, True, False, False], [False] * 4]
    (table,) = rows.append(torch.full((2, 2, 1, 3), 9.0))
    assert table[:, 0, :, 0].tolist() == [[0, 0, 1, 1, 9], [2, 2, 2, 2, 9]]
    rows.regroup(torch.tensor([0]), [filled(3, 1)])
    assert rows.length.tolist() == [3, 1] and rows.columns.length == 3
    (table,) = rows.append(torch.full((2, 2, 1, 3), 8.0))
    assert table[:, 0, :, 0].tolist() == [[1, 1, 9, 8], [0, 0, 3, 8]]
    assert rows.n_bytes == 2 * 2 * 9 * 3 * 4


def test_what_can_never_be_served_names_its_numbers():
    model = MODELS["grouped"]
    batch = ContinuousBatch(model, 2)
    for prompt, new in (([], 3), ([1] * 15, 6), ([1], 0)):
        with pytest.raises(ValueError, match=f"{len(prompt)} tokens and {new} new ones.* 20"):
            batch.submit(ServingRequest(prompt, new))
    with pytest.raises(ValueError, match="11"):
        batch.submit(ServingRequest([11], 2))
    with pytest.raises(ValueError, match="max_rows 0"):
        ContinuousBatch(model, 0)
    with pytest.raises(ValueError, match="0 tokens"):
        read_prefix(model, [])
    with pytest.raises(ValueError, match="holds 2 tokens: 3"):
        read_prefix(model, [1, 2]).caches[0].copy(3)


def test_a_broken_model_is_not_taken_for_a_text():
    model = opinionated("grouped")
    torch.nn.init.constant_(model.norm.weight, torch.nan)
    with pytest.raises(ValueError, match="no token can be chosen"):
        serve_requests(model, [ServingRequest([1], 3)], 1)
