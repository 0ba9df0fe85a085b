"""GGUF files: what is refused and why, what stands in them; llama.cpp's part is tests/llama_cpp."""

import builtins
from dataclasses import replace

import pytest
import torch

from course_lib.layers.position import PositionInterpolation, YaRN
from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.gguf_export import gguf_vocabulary, save_gguf
from course_lib.models.gguf_settings import gguf_settings
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, PAD
from tests.exported_models import GROUPS, LATENT, SIZES, exported_model

BYTES = {bytes([byte]): byte for byte in range(256)}
SMALL = Tokenizer(BYTES, special_tokens={END_OF_TEXT: 256, PAD: 257, "<think>": 258})


def deepseek(kind=DeepSeekV3, **changes):
    return kind(DeepSeekSettings(**LATENT | changes))


def llama(**changes):
    return Llama(LlamaSettings(**SIZES, **changes))


@pytest.mark.parametrize(("model", "message"), [
    (lambda: deepseek(DeepSeekMoE), "llama.cpp has no DeepSeekMoE like ours; it has GPT2, Llama"),
    (lambda: deepseek(q_lora_rank=None), "q_lora_rank None with n_layers 2: llama.cpp takes V2"),
    (lambda: deepseek(n_layers=27), "q_lora_rank 16 with n_layers 27"),
    (lambda: deepseek(q_norm=True), "q_norm True"),
    (lambda: deepseek(norm_eps=1e-5), "norm_eps 1e-05: llama.cpp norms latents by the same"),
    (lambda: deepseek(n_shared=0), "n_shared 0"),
    (
        lambda: deepseek(DeepSeekV2, n_groups=4, n_limited_groups=2),
        "n_limited_groups 2 of n_groups 4: llama.cpp ranks a group by its two best experts",
    ),
    (lambda: deepseek(n_groups=8, n_limited_groups=4), "n_experts 8 in n_groups 8"),
    (lambda: deepseek(rope_scaling=PositionInterpolation(4.0)), "factor=4.0.*by YaRN alone"),
    (lambda: deepseek(rope_scaling=YaRN(4.0, 32)), "mscale None and mscale_all_dim None of YaRN"),
    (lambda: deepseek(rope_scaling=YaRN(4.0, 32, mscale=1.0)), "mscale 1.0 and mscale_all_dim No"),
    (lambda: llama(rope_scaling=YaRN(4.0, 32, mscale=1.0)), "llama.cpp reads them in V2 and V3"),
])  # fmt: skip
def test_what_llama_cpp_can_not_hold_is_named(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_gguf(model(), exported_model("gpt2").tokenizer, tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("change", "message"), [
    ({"pattern": r"\S+|\s+"}, "llama.cpp has no name for the pattern"),
    ({"special_tokens": {END_OF_TEXT: 256}}, r"the tokenizer has no <\|pad\|>"),
])  # fmt: skip
def test_tokenizers_that_it_can_not_hold_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        gguf_vocabulary(replace(SMALL, **change), 300)


def test_a_model_has_a_row_for_every_token():
    with pytest.raises(
        ValueError, match="vocab_size 258 of the model is below the tokenizer's 259"
    ):
        gguf_vocabulary(SMALL, 258)
    words = gguf_vocabulary(SMALL, 261)
    assert words["tokenizer.ggml.tokens"][256:] == [END_OF_TEXT, PAD, "<think>", "[0]", "[1]"]
    assert words["tokenizer.ggml.token_type"][255:] == [1, 3, 3, 4, 5, 5]
    assert words["tokenizer.ggml.tokens"][ord(" ")] == "Ġ"


def test_another_precision_is_refused(tmp_path):
    with pytest.raises(ValueError, match="dtype 'q8' is not f32 or f16"):
        save_gguf(GPT2(GPT2Settings(**SIZES)), SMALL, tmp_path / "model.gguf", dtype="q8")


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "gguf":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install -e '\.\[gguf\]'"):
        save_gguf(llama(), exported_model("gpt2").tokenizer, tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())


def test_the_settings_are_those_of_the_paper_s_v3():
    """By the numbers that the release's file has, scaled down: one key of latent and rotary."""
    words = gguf_settings(DeepSeekV3(DeepSeekSettings(**GROUPS)))
    assert words["attention.head_count_kv"] == 1
    assert words["attention.key_length"] == 24 + 16 and words["attention.value_length"] == 24
    assert (
        words["attention.key_length_mla"] == 16 + 16 and words["attention.value_length_mla"] == 16
    )
    assert (words["expert_group_count"], words["expert_group_used_count"]) == (4, 2)
    assert (words["expert_gating_func"], words["expert_weights_norm"]) == (2, True)
    assert words["expert_weights_scale"] == 2.5 and words["leading_dense_block_count"] == 1


def test_a_file_holds_every_weight_once(tmp_path):
    """Read back by the package: shapes, and all numbers but those of the module left out."""
    gguf = pytest.importorskip("gguf")
    trained = exported_model("v3")
    for dtype, kinds in (("f32", {0}), ("f16", {0, 1})):
        save_gguf(trained.model, trained.tokenizer, tmp_path / "model.gguf", dtype=dtype)
        tensors = gguf.GGUFReader(tmp_path / "model.gguf").tensors
        kept = [
            value
            for name, value in trained.model.state_dict().items()
            if not name.startswith("mtp.")
        ]
        assert sum(int(t.n_elements) for t in tensors) == sum(value.numel() for value in kept)
        assert {int(t.tensor_type) for t in tensors} == kinds
        total = sum(float(torch.tensor(t.data).double().abs().sum()) for t in tensors)
        want = sum(float(value.double().abs().sum()) for value in kept)
        assert total == pytest.approx(want, rel=1e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["model.gguf"]
