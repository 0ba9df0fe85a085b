"""V4's settings, its module that looks ahead, its indexers' loss, and generation; parity is
elsewhere."""

from dataclasses import fields, replace

import pytest
import torch

from course_lib.inference.cache import make_caches
from course_lib.inference.generate import generate
from course_lib.layers.hyper_connections import expand_streams
from course_lib.layers.shared_kv_attention import CompressedCache
from course_lib.models.deepseek_v4 import DeepSeekV4, DeepSeekV4Settings
from course_lib.models.settings_check import as_words
from course_lib.training.deepseek_objective import (
    balance_by_bias,
    balanced_layers,
    deepseek_objective,
    moe_layers,
)

SMALL = DeepSeekV4Settings(40, 48, d_model=16, n_heads=2, head_dim=8, d_expert=8, index_top_k=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_types": ("CSA", "MLA")}, r"layer_types\[1\] is 'MLA', not one of sliding"),
        ({"layer_types": ()}, "n_hash_layers 1 of 0 layer_types"),
        ({"n_hash_layers": 5}, "n_hash_layers 5 of 4 layer_types"),
        ({"n_chosen": 9}, "n_chosen 9 is not between 1 and n_experts 8"),
        ({"o_groups": 3}, "n_heads 2 x head_dim 8 cannot be shared out to 3 o_groups"),
        ({"qk_rope_head_dim": 7}, "qk_rope_head_dim 7 is odd"),
        ({"index_head_dim": 4}, "index_head_dim 4 has no room for qk_rope_head_dim 8"),
        ({"n_streams": 0}, "n_streams 0 is below 1"),
        ({"swiglu_limit": 0.0}, "swiglu_limit 0.0 is not above 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused_with_their_numbers(change, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **change)


IMPOSSIBLE = {int: (0, -1), float: (0.0, -1.0, float("nan"), float("inf"))}


NUMBERS = {field.name: field.type for field in fields(SMALL) if field.type in IMPOSSIBLE}


@pytest.mark.parametrize("name", NUMBERS)
def test_no_setting_may_be_an_impossible_number(name):
    may_be_zero = name in ("n_hash_layers", "n_shared")
    for value in IMPOSSIBLE[NUMBERS[name]][may_be_zero:]:
        with pytest.raises(ValueError, match=f"^{name} {value}"):
            replace(SMALL, **{name: value})


def test_layer_types_are_a_row_of_words():
    assert as_words("layer_types", ["sliding", "CSA"]) == ("sliding", "CSA")
    for value in ("CSA", [1, 2], None):
        with pytest.raises(ValueError, match="is not a row of words"):
            as_words("layer_types", value)


def test_a_window_shorter_than_a_long_block_is_warned_of():
    with pytest.warns(UserWarning, match="window of 8 tokens is shorter than a block of 16"):
        DeepSeekV4(replace(SMALL, window=8))


def test_the_look_ahead_is_the_formula_stream_by_stream():
    torch.manual_seed(0)
    model = DeepSeekV4(replace(SMALL, mtp=True))
    ids = torch.randint(40, (2, 9))
    streams, module = model.hidden(ids)[:, :-1], model.mtp
    assert streams.shape == (2, 8, 4, 16)
    known = (
        module.norm_embedding(model.token_embedding(ids[:, 1:])) @ module.from_embedding.weight.T
    )
    joined = torch.stack(
        [known + module.norm_hidden(s) @ module.from_hidden.weight.T for s in streams.unbind(2)], 2
    )
    x = module.norm(module.collapse(module.block(joined, ids[:, 1:])))
    torch.testing.assert_close(model.predict_ahead(streams, ids[:, 1:]), x @ model.head.weight.T)
    with pytest.raises(ValueError, match="mtp=False"):
        DeepSeekV4(SMALL).predict_ahead(streams, ids[:, 1:])
    unchecked = getattr(DeepSeekV4.think_ahead, "__wrapped__", DeepSeekV4.think_ahead)
    with pytest.raises(ValueError, match=r"shape \(2, 1\) for streams of shape \(2, 8, 4, 16\)"):
        unchecked(model, streams, ids[:, 1:2])


def test_the_indexers_learn_from_their_own_loss_alone():
    torch.manual_seed(0)
    model, ids = DeepSeekV4(SMALL), torch.randint(40, (2, 48))
    model(ids).logsumexp(-1).mean().backward()
    assert all(p.grad is None for n, p in model.named_parameters() if ".indexer." in n)
    model.zero_grad()
    model.indexer_loss(ids).backward()
    learned = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert learned and all(".indexer." in name for name in learned)
    with pytest.raises(ValueError, match="token 40 is outside"):
        model.indexer_loss(torch.full((1, 4), 40))
    with pytest.raises(ValueError, match="49 tokens are more than max_seq_len 48"):
        model.indexer_loss(torch.zeros(1, 49).long())
    model.set_top_k(None)
    assert model.blocks[1].attention.top_k is None


def test_an_indexers_loss_reads_what_its_attention_reads():
    torch.manual_seed(0)
    model, ids, seen = DeepSeekV4(replace(SMALL, layer_types=("CSA",))), torch.arange(40)[None], []
    block = model.blocks[0]
    block.attention.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(ids)
    want = block.attention.indexer_loss(seen[0])
    torch.testing.assert_close(model.indexer_loss(ids), want)


def test_objective_and_bias_leave_hash_layers_alone():
    torch.manual_seed(0)
    model, ids = DeepSeekV4(replace(SMALL, mtp=True)), torch.randint(40, (2, 20))
    loss = deepseek_objective(sequence=1e-4, ahead=0.3, indexer=1.0)(model, ids, ids)
    loss.backward()
    balance_by_bias(lambda step: 0.1)(0, model)
    assert len(balanced_layers(model)) == len(moe_layers(model)) - 1 == 4
    assert all(layer.router.bias.abs().max() > 0.05 for layer in balanced_layers(model))


def test_it_generates_with_caches_of_its_own_kind_what_it_generates_without():
    torch.manual_seed(0)
    model = DeepSeekV4(SMALL)
    assert all(isinstance(cache, CompressedCache) for cache in make_caches(model, 48))
    prompt = torch.tensor([[1, 2, 3]])
    texts = [
        generate(model, prompt, max_new_tokens=20, temperature=0.0, use_cache=cached).tolist()
        for cached in (True, False)
    ]
    assert texts[0] == texts[1]


def test_streams_are_copies_at_first_and_differ_after_a_layer():
    torch.manual_seed(0)
    model, ids = DeepSeekV4(SMALL), torch.randint(40, (1, 10))
    for parameter in model.parameters():
        if parameter.ndim == 1 and len(parameter) == 3:
            parameter.data.fill_(1.0)  # the token's say, at its full size
    start = expand_streams(model.token_embedding(ids), 4)
    assert (start - start[:, :, :1]).abs().max() == 0
    end = model.hidden(ids)
    assert (end - end[:, :, :1]).abs().max() > 1e-6
