"""Models as folders in Hugging Face's format, by our own reading; theirs: tests/parity."""

import json
import re
from dataclasses import replace

import pytest
import safetensors.torch
import torch

from course_lib.models.albert import ALBERT, ALBERTSettings
from course_lib.models.bert import BERT, BERTEncoder, BERTSettings
from course_lib.models.ctrl import CTRL, CTRLSettings
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.distilbert import DistilBERT, DistilBERTSettings
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_files import HF_FORMATS, HF_KINDS, HF_PREFIX, load_hf, save_hf
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.models.roberta import RoBERTa, RoBERTaSettings
from course_lib.models.xlnet import XLNet, XLNetSettings

SETTINGS = GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3, d_ff=7)
LLAMA = LlamaSettings(11, 9, d_model=12, n_layers=2, n_heads=3, n_kv_heads=1)
DEEPSEEK = DeepSeekSettings(11, 9, d_model=16, n_layers=2, n_heads=2, q_lora_rank=6, kv_lora_rank=8)
ENCODER = {"vocab_size": 11, "max_seq_len": 9, "d_model": 12, "n_layers": 2, "n_heads": 3}
MODELS = {
    "GPT2": lambda: GPT2(SETTINGS), "Llama": lambda: Llama(LLAMA),
    "tied": lambda: Llama(replace(LLAMA, tied=True)),
    "DeepSeekV2": lambda: DeepSeekV2(DEEPSEEK),
    "DeepSeekV3": lambda: DeepSeekV3(replace(DEEPSEEK, mtp=True)),
    "BERT": lambda: BERT(BERTSettings(**ENCODER)),
    "Megatron": lambda: BERT(BERTSettings(**ENCODER, nsp=False, pre_norm=True)),
    "BERTEncoder": lambda: BERTEncoder(BERTSettings(**ENCODER)),
    "RoBERTa": lambda: RoBERTa(RoBERTaSettings(**ENCODER)),
    "DistilBERT": lambda: DistilBERT(DistilBERTSettings(**ENCODER)),
    "ALBERT": lambda: ALBERT(
        ALBERTSettings(**ENCODER, n_hidden_groups=2, n_inner=2, d_embedding=5)
    ),
    "XLNet": lambda: XLNet(XLNetSettings(11, 12, 2, 3, memory_length=4)),
    "CTRL": lambda: CTRL(CTRLSettings(**ENCODER)),
}  # fmt: skip
every_kind = pytest.mark.parametrize("kind", MODELS)


def change_weights(folder, change):
    """Write model.safetensors anew, with the dictionary that `change` makes of what is in it."""
    weights = change(safetensors.torch.load_file(folder / "model.safetensors"))
    safetensors.torch.save_file(weights, folder / "model.safetensors", {"format": "pt"})


def cut_into_shards(folder, n_shards=3):
    """Spread a model over files, as transformers does with large ones."""
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-{i + 1:05d}-of-{n_shards:05d}.safetensors" for i in range(n_shards)]
    places = {name: names[i % n_shards] for i, name in enumerate(weights)}
    for file in names:
        part = {name: weights[name] for name in weights if places[name] == file}
        safetensors.torch.save_file(part, folder / file, {"format": "pt"})
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return places


def same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    return all(
        torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items()
    )


@every_kind
def test_a_model_comes_back_bit_for_bit(kind, tmp_path):
    model = MODELS[kind]()
    save_hf(model, tmp_path / "new" / "folder")
    back = load_hf(tmp_path / "new" / "folder")
    assert back.settings == model.settings and same_weights(back, model)


def test_the_shared_table_is_stored_once(tmp_path):
    model = GPT2(SETTINGS)
    save_hf(model, tmp_path)
    n_numbers = sum(parameter.numel() for parameter in model.parameters())
    # and a header
    assert 4 * n_numbers <= (tmp_path / "model.safetensors").stat().st_size < 4 * n_numbers + 4000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["T5Model"]}, "holds a T5Model; known are GPT2LMHeadModel"),
        ({"model_type": "t5"}, "holds a t5; known are"),
        ({"model_type": "llama"}, "holds a GPT2LMHeadModel and a llama, which are not one model"),
        ({"architectures": None, "model_type": None}, "holds a None; known are"),
        (
            {"activation_function": "relu"},
            "activation_function is 'relu' there; our GPT2 knows 'gelu_new'",
        ),
        ({"tie_word_embeddings": False}, "tie_word_embeddings is False there"),
        ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06 there"),
    ],
)
def test_what_ours_lacks_is_refused(tmp_path, change, message):
    save_hf(GPT2(SETTINGS), tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        load_hf(tmp_path)


def test_a_model_without_a_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no format is known for a Linear; known are GPT2"):
        save_hf(torch.nn.Linear(2, 2), tmp_path)


def test_every_format_is_reached_from_its_file():
    assert set(HF_KINDS.values()) == set(HF_FORMATS)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: DeepSeekV3(replace(DEEPSEEK, q_norm=True)), "q_norm True"),
        (lambda: DeepSeekV3(replace(DEEPSEEK, n_shared=0)), "n_shared 0"),
        (
            lambda: DeepSeekV3(replace(DEEPSEEK, n_groups=8, n_limited_groups=2)),
            "n_experts 8 in n_groups 8",
        ),
        (
            lambda: DeepSeekV2(replace(DEEPSEEK, d_model=18, n_heads=4)),
            "d_model 18 is not divisible by n_heads 4",
        ),
        (lambda: DeepSeekV2(replace(DEEPSEEK, kv_lora_rank=7)), "kv_lora_rank 7 is odd"),
        (lambda: DeepSeekV2(replace(DEEPSEEK, qk_nope_head_dim=5)), "qk_nope_head_dim 5 is odd"),
    ],
)
def test_what_theirs_cannot_run_is_refused_before_anything_is_written(model, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_hf(model(), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


# Several files ------------------------------------------------------------------------------------


@every_kind
def test_a_model_in_several_files_is_the_same_model(kind, tmp_path):
    model = MODELS[kind]()
    save_hf(model, tmp_path)
    cut_into_shards(tmp_path)
    assert same_weights(load_hf(tmp_path), model)


def test_one_file_is_read_before_several(tmp_path):
    model = GPT2(SETTINGS)
    save_hf(GPT2(SETTINGS), tmp_path)
    cut_into_shards(tmp_path)
    save_hf(model, tmp_path)  # as transformers: what was saved last counts
    assert same_weights(load_hf(tmp_path), model)


def test_a_shard_that_is_missing_or_cut_is_named(tmp_path):
    save_hf(Llama(LLAMA), tmp_path)
    cut_into_shards(tmp_path)
    second = tmp_path / "model-00002-of-00003.safetensors"
    whole = second.read_bytes()
    for n_bytes in (0, 7, 100, len(whole) - 1):
        second.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match="model-00002-of-00003.safetensors is damaged"):
            load_hf(tmp_path)
    second.unlink()
    with pytest.raises(ValueError, match="model-00002-of-00003.safetensors is missing"):
        load_hf(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda places: places | {"model.norm.weight": "../model.safetensors"},
            "must give each weight a file here",
        ),
        (lambda places: places | {"model.norm.weight": 3}, "must give each weight a file here"),
        (lambda places: list(places), "must give each weight a file here"),
        (lambda places: None, "must give each weight a file here"),
        (
            lambda places: places | {"no.such.weight": "model-00001-of-00003.safetensors"},
            "differ in no.such.weight",
        ),
        (
            lambda places: {n: p for n, p in places.items() if n != "model.norm.weight"},
            "differ in model.norm.weight",
        ),
    ],
)
def test_an_index_that_does_not_fit_its_files_is_refused(change, message, tmp_path):
    save_hf(Llama(LLAMA), tmp_path)
    places = cut_into_shards(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": change(places)})
    )
    with pytest.raises(ValueError, match=message):
        load_hf(tmp_path)


# Damage, and weights that do not fit --------------------------------------------------------------


def test_files_that_are_cut_are_named(tmp_path):
    save_hf(GPT2(SETTINGS), tmp_path)
    for name, message in (("model.safetensors", "is damaged"), ("config.json", "is damaged")):
        whole = (tmp_path / name).read_bytes()
        for n_bytes in (0, 1, 50, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:n_bytes])
            with pytest.raises(ValueError, match=f"{name} {message}"):
                load_hf(tmp_path)
        (tmp_path / name).write_bytes(whole)
    (tmp_path / "config.json").write_text("[1, 2]")
    with pytest.raises(ValueError, match="config.json is damaged: it holds a list"):
        load_hf(tmp_path)


def test_a_folder_without_weights_names_the_file(tmp_path):
    save_hf(GPT2(SETTINGS), tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="model.safetensors"):
        load_hf(tmp_path)


@every_kind
def test_weights_that_are_missing_or_unknown_are_named(kind, tmp_path):
    save_hf(MODELS[kind](), tmp_path)
    whole = safetensors.torch.load_file(tmp_path / "model.safetensors")
    for name in whole:
        change_weights(tmp_path, lambda _, gone=name: {n: t for n, t in whole.items() if n != gone})
        # without it there is no such module: the rest of it is unknown
        if name.endswith(("eh_proj.weight", "pooler.dense.weight")):
            with pytest.raises(ValueError, match="holds the unknown (model.layers.2|.*pooler)"):
                load_hf(tmp_path)
        else:
            with pytest.raises(ValueError, match=f"lacks {HF_PREFIX.sub('', name)}"):
                load_hf(tmp_path)
    change_weights(tmp_path, lambda _: whole | {"model.layers.7.scale": torch.zeros(1)})
    with pytest.raises(ValueError, match="holds the unknown model.layers.7.scale"):
        load_hf(tmp_path)


@every_kind
def test_weights_of_another_shape_or_in_code_are_named(kind, tmp_path):
    save_hf(MODELS[kind](), tmp_path)
    whole = safetensors.torch.load_file(tmp_path / "model.safetensors")
    name = next(name for name in whole if re.search(r"(layers?|h|layer_groups)\.1\.", name))
    for tensor, message in (
        (whole[name][1:], "has the shape"),
        (whole[name].to(torch.float8_e4m3fn), "is stored as torch.float8_e4m3fn"),
        (whole[name].to(torch.int8), "is stored as torch.int8"),
    ):
        change_weights(tmp_path, lambda _, changed=tensor: whole | {name: changed})
        with pytest.raises(ValueError, match=f"{HF_PREFIX.sub('', name)} {message}"):
            load_hf(tmp_path)


OLD = {
    "GPT2": ("transformer.h.1.attn.bias", "transformer.h.0.attn.masked_bias"),
    "Llama": ("model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"),
    "DeepSeekV2": ("model.layers.1.self_attn.rotary_emb.inv_freq",),
    "DeepSeekV3": ("model.layers.2.embed_tokens.weight", "model.layers.2.shared_head.head.weight"),
}


@pytest.mark.parametrize("kind", OLD)
def test_constants_and_copies_that_files_hold_beside_the_weights_are_left_out(kind, tmp_path):
    model = MODELS[kind]()
    save_hf(model, tmp_path)
    change_weights(
        tmp_path, lambda weights: weights | {name: torch.ones(3, 4) for name in OLD[kind]}
    )
    assert same_weights(load_hf(tmp_path), model)


def test_gpt2s_first_names_are_read(tmp_path):
    """OpenAI's weights on the Hub have no `transformer.` in front, and hold causal masks."""
    model = GPT2(SETTINGS)
    save_hf(model, tmp_path)
    mask = {f"h.{layer}.attn.bias": torch.ones(1, 1, 9, 9) for layer in range(2)}
    change_weights(
        tmp_path, lambda ws: mask | {name.removeprefix("transformer."): w for name, w in ws.items()}
    )
    assert same_weights(load_hf(tmp_path), model)


@pytest.mark.parametrize(
    ("kind", "embedding"), [("GPT2", "transformer.wte"), ("tied", "model.embed_tokens")]
)
def test_a_head_that_is_stored_must_be_the_table_it_is_tied_to(kind, embedding, tmp_path):
    model = MODELS[kind]()
    save_hf(model, tmp_path)
    change_weights(tmp_path, lambda ws: ws | {"lm_head.weight": ws[f"{embedding}.weight"].clone()})
    assert same_weights(load_hf(tmp_path), model)
    change_weights(tmp_path, lambda ws: ws | {"lm_head.weight": ws["lm_head.weight"] + 1})
    with pytest.raises(ValueError, match="ties head and embedding, but lm_head.weight is another"):
        load_hf(tmp_path)


def test_berts_first_names_and_its_stored_copies_are_read(tmp_path):
    """Google's weights on the Hub call a norm's weight gamma, and hold the head's table too."""
    model = MODELS["BERT"]()
    save_hf(model, tmp_path)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    change_weights(
        tmp_path,
        lambda ws: (
            {
                re.sub(r"LayerNorm\.(weight|bias)$", lambda m: old[m[0]], name): w
                for name, w in ws.items()
            }
            | {
                "cls.predictions.decoder.weight": model.embedding.token.weight.detach().clone(),
                "bert.embeddings.position_ids": torch.arange(9)[None],
            }
        ),
    )
    assert same_weights(load_hf(tmp_path), model)
    change_weights(tmp_path, lambda ws: ws | {"cls.predictions.decoder.bias": torch.ones(11)})
    with pytest.raises(ValueError, match=r"cls\.predictions\.decoder\.bias is another table"):
        load_hf(tmp_path)


@pytest.mark.parametrize(
    ("build", "settings", "message"),
    [
        (BERT, BERTSettings(**ENCODER, n_segments=0), "n_segments 0: theirs has a table"),
        (BERTEncoder, BERTSettings(**ENCODER, nsp=False), "nsp False: theirs without heads"),
        (RoBERTa, RoBERTaSettings(**ENCODER, n_segments=0), "n_segments 0: theirs has a table"),
        (DistilBERT, DistilBERTSettings(**ENCODER, norm_eps=1e-5), "norm_eps 1e-05: theirs knows"),
    ],
)
def test_an_encoder_that_theirs_cannot_be_is_not_written(build, settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        save_hf(build(settings), tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("BERT", "is_decoder", True),
        ("BERT", "position_embedding_type", "relative_key"),
        ("BERT", "hidden_act", "gelu_new"),
        ("RoBERTa", "hidden_act", "relu"),
        ("RoBERTa", "pad_token_id", None),
        ("DistilBERT", "activation", "relu"),
        ("DistilBERT", "hidden_size", 99),
    ],
)
def test_an_encoder_of_another_kind_is_refused(kind, word, value, tmp_path):
    save_hf(MODELS[kind](), tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {word: value}))
    with pytest.raises(ValueError, match=word):
        load_hf(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_other_precision_are_read_in_float32(dtype, tmp_path):
    model = Llama(LLAMA).to(dtype)
    save_hf(model, tmp_path)
    assert same_weights(load_hf(tmp_path), model.float())
