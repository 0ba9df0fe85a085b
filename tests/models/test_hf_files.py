"""Models as folders in Hugging Face's format: round trip and refusals. What transformers says: tests/parity."""

import json

import pytest
import torch

from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.hf_files import FORMATS, KINDS, load_hf, save_hf

SETTINGS = GPT2Settings(vocab_size=11, max_seq_len=9, d_model=12, n_layers=2, n_heads=3, d_ff=7)


def test_a_model_comes_back_bit_for_bit(tmp_path):
    model = GPT2(SETTINGS)
    save_hf(model, tmp_path / "new" / "folder")
    back = load_hf(tmp_path / "new" / "folder")
    assert back.settings == SETTINGS
    for name, tensor in model.state_dict().items():
        assert torch.equal(back.state_dict()[name], tensor), name


def test_the_shared_table_is_stored_once(tmp_path):
    model = GPT2(SETTINGS)
    save_hf(model, tmp_path)
    n_numbers = sum(parameter.numel() for parameter in model.parameters())
    assert 4 * n_numbers <= (tmp_path / "model.safetensors").stat().st_size < 4 * n_numbers + 4000    # and a header


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architectures": ["T5Model"]}, "holds a T5Model; known are GPT2LMHeadModel"),
        ({"activation_function": "relu"}, "activation_function is 'relu' there; our GPT2 knows 'gelu_new' alone"),
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
    assert set(KINDS.values()) == set(FORMATS)
