"""Our Llama against Hugging Face's, on random weights: same logits, same gradients, same files."""

import pytest
import safetensors.torch
import torch

from course_lib.assets import DATA_FOLDER
from course_lib.inference.cache import KVCache
from course_lib.models.hf_deepseek import llama_from_hf
from course_lib.models.hf_files import llama_settings, load_hf, save_hf
from course_lib.models.llama import DEEPSEEK_67B, SMOLLM2_135M, Llama, LlamaSettings

transformers = pytest.importorskip("transformers")

SETTINGS = [
    LlamaSettings(vocab_size=50, max_seq_len=16, d_model=24, n_layers=2, n_heads=4),
    LlamaSettings(vocab_size=7, max_seq_len=5, d_model=6, n_layers=1, n_heads=1, d_ff=5, tied=True),
    LlamaSettings(
        vocab_size=101,
        max_seq_len=33,
        d_model=30,
        n_layers=3,
        n_heads=5,
        n_kv_heads=1,
        rope_base=100.0,
    ),
    LlamaSettings(
        vocab_size=300,
        max_seq_len=12,
        d_model=36,
        n_layers=4,
        n_heads=6,
        n_kv_heads=2,
        d_ff=100,
        tied=True,
    ),
    LlamaSettings(
        vocab_size=64, max_seq_len=20, d_model=40, n_layers=2, n_heads=2, norm_eps=0.1, d_ff=17
    ),
]


def hugging_face(settings: LlamaSettings):
    config = transformers.LlamaConfig(
        vocab_size=settings.vocab_size,
        max_position_embeddings=settings.max_seq_len,
        hidden_size=settings.d_model,
        num_hidden_layers=settings.n_layers,
        num_attention_heads=settings.n_heads,
        num_key_value_heads=settings.n_kv_heads,
        intermediate_size=settings.d_ff,
        rms_norm_eps=settings.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_base},
        tie_word_embeddings=settings.tied,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    for parameter in model.parameters():  # the norms too, which a fresh model leaves at 1
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_logits_and_gradients_equal_hugging_face(settings):
    torch.manual_seed(0)
    theirs, ours = hugging_face(settings), Llama(settings)
    ours.load_state_dict(llama_from_hf(theirs.state_dict(), settings))
    ids = torch.randint(settings.vocab_size, (3, settings.max_seq_len))
    got, want = ours(ids), theirs(ids).logits
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    got.logsumexp(-1).mean().backward()
    want.logsumexp(-1).mean().backward()
    gradients = llama_from_hf({name: p.grad for name, p in theirs.named_parameters()}, settings)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_left_padded_batch_equals_hugging_face(settings):
    torch.manual_seed(1)
    theirs, ours = hugging_face(settings), Llama(settings)
    ours.load_state_dict(llama_from_hf(theirs.state_dict(), settings))
    ids = torch.randint(settings.vocab_size, (2, 5))
    padding = torch.tensor([[True, True, False, False, False], [False] * 5])
    positions = torch.tensor([[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]])
    want = theirs(ids, attention_mask=(~padding).long(), position_ids=positions).logits
    torch.testing.assert_close(
        ours(ids, padding=padding)[~padding], want[~padding], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_they_open_a_folder_of_ours(settings, tmp_path):
    torch.manual_seed(2)
    ours = Llama(settings)
    save_hf(ours, tmp_path)
    opened, told = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(told[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len))
    torch.testing.assert_close(opened.eval()(ids).logits, ours(ids), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_we_open_a_folder_of_theirs(settings, tmp_path):
    torch.manual_seed(3)
    theirs = hugging_face(settings)
    theirs.save_pretrained(tmp_path)
    ours = load_hf(tmp_path)
    assert ours.settings == settings
    ids, caches = (
        torch.randint(settings.vocab_size, (1, 5)),
        [KVCache(5) for _ in range(settings.n_layers)],
    )
    parts = torch.cat([ours(ids[:, :3], caches), ours(ids[:, 3:], caches)], dim=1)
    torch.testing.assert_close(parts, theirs(ids).logits, rtol=1e-5, atol=1e-5)


def test_the_words_of_older_files_are_understood():
    """SmolLM2's configuration as its folder tells it (from before `rope_parameters`)."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "hidden_act": "silu",
        "hidden_size": 576,
        "intermediate_size": 1536,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 100000,
        "tie_word_embeddings": True,
        "vocab_size": 49152,
    }
    assert llama_settings(config) == SMOLLM2_135M


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rope_scaling": {"type": "dynamic", "factor": 40}},
            "type is 'dynamic' there; our rotary positions know 'default' or 'linear' or 'yarn'",
        ),
        ({"attention_bias": True}, "attention_bias is True there; our Llama knows False alone"),
        ({"head_dim": 64}, "head_dim is 64 there; our Llama knows 128 alone"),
    ],
)
def test_what_ours_lacks_is_refused(change, message):
    config = transformers.LlamaConfig(
        hidden_size=8192,
        num_attention_heads=64,
        num_key_value_heads=8,
        num_hidden_layers=95,
        intermediate_size=22016,
        vocab_size=102_400,
        max_position_embeddings=4096,
    ).to_dict()
    assert llama_settings(config) == DEEPSEEK_67B
    with pytest.raises(ValueError, match=message):
        llama_settings({**config, "rope_parameters": None, **change})


@pytest.mark.parametrize("name", ["grouped", "tied"])
def test_the_shipped_reading_is_theirs_and_ours(name):
    folder = DATA_FOLDER / "llama_reference" / name
    reading = safetensors.torch.load_file(folder / "reading.safetensors")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    for model_logits in (theirs(reading["ids"]).logits, load_hf(folder)(reading["ids"])):
        torch.testing.assert_close(model_logits, reading["logits"], rtol=1e-5, atol=1e-5)


def test_a_qwen2_has_biases_that_its_config_does_not_tell():
    """What lesson 18 says of Qwen2.5's file: a Llama of these numbers lacks just the biases."""
    sizes = {"vocab_size": 40, "hidden_size": 24, "intermediate_size": 30, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": False}
    config = transformers.Qwen2Config(**sizes, **heads)
    assert not [word for word in config.to_dict() if "bias" in word]
    theirs = transformers.Qwen2ForCausalLM(config)
    ours = Llama(LlamaSettings(40, 64, 24, 2, n_heads=6, n_kv_heads=2, d_ff=30))
    missing = theirs.num_parameters() - sum(p.numel() for p in ours.parameters())
    assert missing == 2 * (6 + 2 * 2) * 4
    assert missing == sum(p.numel() for n, p in theirs.named_parameters() if "bias" in n)
