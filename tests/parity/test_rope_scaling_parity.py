"""Stretched rotary positions against transformers': frequencies, factors, whole models."""

import json
from dataclasses import replace

import pytest
import torch

from course_lib.inference.cache import KVCache
from course_lib.layers.position import PositionInterpolation, YaRN, ntk_base, rotary_frequencies
from course_lib.models.deepseek import V2_YARN, V3_YARN, DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.hf_config import deepseek_settings, llama_config, llama_settings
from course_lib.models.hf_files import load_hf, save_hf
from course_lib.models.llama import Llama, LlamaSettings

transformers = pytest.importorskip("transformers")
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS  # noqa: E402

STRETCHED = {
    "V2": (64, 10_000.0, V2_YARN),
    "V3": (64, 10_000.0, V3_YARN),
    "no mscale": (128, 1e6, YaRN(4.0, 32_768)),
    "uneven mscales": (10, 500.0, YaRN(3.5, 100, 8.0, 2.0, mscale=0.5, mscale_all_dim=1.5)),
    "one mscale": (16, 100.0, YaRN(8.0, 64, mscale_all_dim=0.7)),
    "short": (6, 10_000.0, YaRN(2.0, 16)),
    "interpolated": (10, 500.0, PositionInterpolation(4.0)),
}


def their_config(width: int, base: float, scaling, max_seq_len: int = 4096):
    settings = LlamaSettings(9, 8, 2 * width, 1, 2, rope_base=base)
    words = llama_config(replace(settings, rope_scaling=scaling))["rope_parameters"]
    return transformers.LlamaConfig(
        hidden_size=2 * width, num_attention_heads=2, rope_parameters=words,
        max_position_embeddings=max_seq_len,
    )  # fmt: skip


@pytest.mark.parametrize(("width", "base", "scaling"), STRETCHED.values(), ids=STRETCHED)
def test_frequencies_and_scale_equal_theirs(width, base, scaling):
    config = their_config(width, base, scaling)
    want, scale = ROPE_INIT_FUNCTIONS[config.rope_parameters["rope_type"]](config)
    torch.testing.assert_close(scaling.frequencies(width, base), want, rtol=2e-6, atol=0)
    assert scaling.rotary_scale == pytest.approx(scale, rel=1e-12)


@pytest.mark.parametrize(("width", "length", "factor"), [(64, 4 * 100, 4.0), (6, 250, 2.0)])
def test_another_base_equals_their_dynamic_scaling_at_one_length(width, length, factor):
    """Theirs grows the base with the text: at this length its factor is the one told below."""
    config = their_config(width, 500.0, PositionInterpolation(factor), max_seq_len=100)
    want, scale = ROPE_INIT_FUNCTIONS["dynamic"](config, seq_len=length)
    got = rotary_frequencies(width, ntk_base(500.0, width, factor * length / 100 - (factor - 1)))
    torch.testing.assert_close(got, want, rtol=2e-6, atol=0)
    assert scale == 1


SMALL = DeepSeekSettings(
    50, 64, d_model=32, n_layers=2, n_heads=4, q_lora_rank=12, kv_lora_rank=8, qk_rope_head_dim=8
)
LLAMA = LlamaSettings(50, 64, d_model=32, n_layers=2, n_heads=4, n_kv_heads=2)
MODELS = {
    "V2": (DeepSeekV2, SMALL, replace(V2_YARN, trained_length=16)),
    "V3": (DeepSeekV3, SMALL, replace(V3_YARN, trained_length=16)),
    "V3, one mscale": (DeepSeekV3, SMALL, YaRN(4.0, 16, 4.0, 0.5, mscale_all_dim=2.0)),
    "V2, interpolated": (DeepSeekV2, SMALL, PositionInterpolation(4.0)),
    "Llama": (Llama, LLAMA, YaRN(4.0, 16, 4.0, 0.5)),
    "Llama, both mscales": (Llama, LLAMA, YaRN(4.0, 16, mscale=1.0, mscale_all_dim=0.2)),
    "Llama, interpolated": (Llama, LLAMA, PositionInterpolation(4.0)),
}


def random_model(kind, settings):
    model = kind(settings)
    for tensor in model.state_dict().values():
        tensor.normal_(std=0.3)
    return model.eval()


@pytest.mark.parametrize(("kind", "settings", "scaling"), MODELS.values(), ids=MODELS)
def test_a_stretched_model_equals_theirs_there_and_back(kind, settings, scaling, tmp_path):
    torch.manual_seed(0)
    ours = random_model(kind, replace(settings, rope_scaling=scaling))
    save_hf(ours, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(50, (2, 64))
    got, want = ours(ids), theirs(ids).logits
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    plain = kind(settings)
    plain.load_state_dict(ours.state_dict())
    assert (plain(ids) - got).abs().max() > 0.01  # so the scaling matters here
    caches = [KVCache(64) for _ in ours.blocks]
    parts = torch.cat([ours(part, caches) for part in ids.split([40, 23, 1], dim=1)], dim=1)
    torch.testing.assert_close(parts, want, rtol=1e-5, atol=1e-5)
    assert load_hf(tmp_path).settings == ours.settings


def test_another_base_is_written_as_a_base(tmp_path):
    torch.manual_seed(1)
    settings = replace(LLAMA, rope_base=ntk_base(LLAMA.rope_base, LLAMA.d_head, 4.0))
    ours = random_model(Llama, settings)
    save_hf(ours, tmp_path)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(50, (2, 64))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)
    assert load_hf(tmp_path).settings == settings


@pytest.mark.parametrize("words", [
    {"type": "yarn", "factor": 4},
    {"type": "yarn", "factor": 4.0, "mscale": 0.0, "mscale_all_dim": 0},
    {"rope_type": "yarn", "factor": 4.0, "beta_fast": None, "truncate": True,
     "original_max_position_embeddings": 32},
    {"type": "linear", "factor": 2, "rope_theta": 50.0},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("kind", [DeepSeekV2, DeepSeekV3, Llama])
def test_words_that_are_left_out_mean_what_they_mean_there(kind, words, tmp_path):
    torch.manual_seed(2)
    save_hf(random_model(kind, LLAMA if kind is Llama else SMALL), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"rope_scaling": words}))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(50, (2, 64))
    torch.testing.assert_close(load_hf(tmp_path)(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_the_published_scaling_is_what_their_classes_read_too():
    """Layer by layer: the factor on the scores in their attention is ours."""
    for name, yarn in (("V2", V2_YARN), ("V3", V3_YARN)):
        words = llama_config(replace(SMALL, rope_scaling=yarn))["rope_parameters"]
        config = getattr(transformers, f"Deepseek{name}Config")(
            hidden_size=32, num_attention_heads=4, num_hidden_layers=1, q_lora_rank=12,
            kv_lora_rank=8, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16,
            intermediate_size=8, vocab_size=9, first_k_dense_replace=1, rope_parameters=words,
            max_position_embeddings=163_840,
        )  # fmt: skip
        layer = getattr(transformers, f"Deepseek{name}Model")(config).layers[0].self_attn
        assert layer.scaling * 24**0.5 == pytest.approx(yarn.score_scale)
    assert V3_YARN.score_scale > V2_YARN.score_scale > 1 == V2_YARN.rotary_scale


def test_readers_refuse_what_ours_lacks():
    settings = llama_config(LLAMA)
    assert llama_settings(settings) == LLAMA
    for rope, message in (
        ({"type": "dynamic", "factor": 2.0}, "rope_scaling.type is 'dynamic' there"),
        ({"rope_type": "yarn"}, "without a factor"),
        ({"type": "yarn", "factor": 0.5}, "factor 0.5 is not a finite number from 1"),
        ({"type": "yarn", "factor": 2.0, "truncate": False}, "truncate is False there"),
        ({"type": "yarn", "factor": 2.0, "attention_factor": 1.5}, "attention_factor is 1.5"),
        ({"type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16},
         "64 tokens are more than factor 2.0 x trained_length 16 = 32"),
        ({"type": "linear", "factor": 2.0, "beta_fast": 32}, "beta_fast is 32 there"),
        ({"type": "yarn", "factor": "4"}, "rope_scaling.factor '4' is not a number"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            llama_settings(settings | {"rope_scaling": rope})
    with pytest.raises(ValueError, match="rope_scaling.type is 'llama3' there"):
        deepseek_settings(settings | {"rope_scaling": {"type": "llama3"}}, {})
