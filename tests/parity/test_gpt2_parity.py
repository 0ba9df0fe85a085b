"""Our GPT-2 against Hugging Face's, on random weights: same logits, same gradients, same files."""

import pytest
import safetensors.torch
import torch

from course_lib.assets import DATA_FOLDER
from course_lib.models.gpt2 import GPT2, GPT2_SMALL, GPT2Settings
from course_lib.models.hf_files import gpt2_settings, load_hf, save_hf
from course_lib.models.hf_weights import gpt2_from_hf, gpt2_to_hf

transformers = pytest.importorskip("transformers")

SETTINGS = [
    GPT2Settings(vocab_size=50, max_seq_len=16, d_model=24, n_layers=2, n_heads=4),
    GPT2Settings(vocab_size=7, max_seq_len=5, d_model=6, n_layers=1, n_heads=1),
    GPT2Settings(vocab_size=101, max_seq_len=33, d_model=30, n_layers=3, n_heads=5, d_ff=17),
    GPT2Settings(vocab_size=300, max_seq_len=12, d_model=21, n_layers=5, n_heads=7, d_ff=100),
]


def hugging_face(settings: GPT2Settings):
    config = transformers.GPT2Config(
        vocab_size=settings.vocab_size,
        n_positions=settings.max_seq_len,
        n_embd=settings.d_model,
        n_layer=settings.n_layers,
        n_head=settings.n_heads,
        n_inner=settings.d_ff,
        bos_token_id=0,
        eos_token_id=0,
    )
    return scattered(transformers.GPT2LMHeadModel(config).eval())


def scattered(model):
    """Draw all parameters at random: biases and norms too, which a fresh model leaves at 0 and
    1."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_logits_and_gradients_equal_hugging_face(settings):
    torch.manual_seed(0)
    theirs, ours = hugging_face(settings), GPT2(settings)
    ours.load_state_dict(gpt2_from_hf(theirs.state_dict()))
    ids = torch.randint(settings.vocab_size, (3, settings.max_seq_len))
    got, want = ours(ids), theirs(ids).logits
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    got.logsumexp(-1).mean().backward()
    want.logsumexp(-1).mean().backward()
    gradients = gpt2_from_hf({name: p.grad for name, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_weights_travel_both_ways(settings, tmp_path):
    torch.manual_seed(1)
    theirs, ours = hugging_face(settings), GPT2(settings)
    missing = theirs.load_state_dict(gpt2_to_hf(ours.state_dict()))
    assert not missing.missing_keys and not missing.unexpected_keys
    theirs.save_pretrained(tmp_path)
    opened = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = torch.randint(settings.vocab_size, (1, settings.max_seq_len))
    torch.testing.assert_close(opened(ids).logits, ours(ids), rtol=1e-5, atol=1e-5)
    for name, tensor in gpt2_from_hf(opened.state_dict()).items():
        assert torch.equal(tensor, ours.state_dict()[name]), name


def test_an_unknown_weight_is_named():
    with pytest.raises(ValueError, match="'h.0.attn.scale'"):
        gpt2_from_hf({"transformer.h.0.attn.scale": torch.zeros(1)})


def test_the_masks_of_old_files_are_left_out():
    assert gpt2_from_hf({"h.0.attn.bias": torch.ones(1, 1, 4, 4)}) == {}


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_transformers_opens_what_we_save(settings, tmp_path):
    torch.manual_seed(2)
    ours = scattered(GPT2(settings))
    save_hf(ours, tmp_path)
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(theirs.eval()(ids).logits, ours(ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_we_open_what_transformers_saves(settings, tmp_path):
    torch.manual_seed(3)
    theirs = hugging_face(settings)
    theirs.save_pretrained(tmp_path)
    ours = load_hf(tmp_path)
    assert isinstance(ours, GPT2) and ours.settings == settings
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(ours(ids), theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_their_default_configuration_is_our_small_one():
    assert gpt2_settings(transformers.GPT2Config().to_dict()) == GPT2_SMALL


@pytest.mark.parametrize("name", ["wide", "deep", "least", "words"])
def test_the_shipped_reading_is_theirs_and_ours(name):
    folder = DATA_FOLDER / "gpt2_reference" / name
    reading = safetensors.torch.load_file(folder / "reading.safetensors")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    torch.testing.assert_close(
        theirs(reading["ids"]).logits, reading["logits"], rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(
        load_hf(folder)(reading["ids"]), reading["logits"], rtol=1e-5, atol=1e-5
    )
