"""XLNet against Hugging Face's, on random weights: both streams, orders, targets, memory."""

from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F

from course_lib.models import hf_config, hf_family_config
from course_lib.models.gpt2 import count_parameters
from course_lib.models.hf_family import HF_XLNET
from course_lib.models.hf_files import load_hf, save_hf
from course_lib.models.xlnet import XLNET_BASE, XLNET_LARGE, XLNet, XLNetSettings
from tests.parity.family import assert_close, padded_batch, same_gradients, scattered, token_loss

transformers = pytest.importorskip("transformers")

SETTINGS = [
    XLNetSettings(50, d_model=24, n_layers=2, n_heads=4),
    XLNetSettings(7, d_model=6, n_layers=1, n_heads=1, norm_eps=0.01, memory_length=3),
    XLNetSettings(101, d_model=30, n_layers=3, n_heads=5, d_ff=17, memory_length=50),
    XLNetSettings(30, d_model=14, n_layers=4, n_heads=7, d_ff=100, memory_length=9),
]
every_size = pytest.mark.parametrize("settings", SETTINGS, ids=str)
T, K = 8, 3


def both(settings):
    """Our model and theirs, in float32 (theirs knows no other) with the same random weights."""
    config = transformers.XLNetConfig(**hf_family_config.xlnet_config(settings))
    theirs = scattered(transformers.XLNetLMHeadModel(config).eval())
    ours = XLNet(settings)
    ours.load_state_dict(HF_XLNET.from_hf(theirs.state_dict()))
    return ours, theirs


def random_order(n_rows, full):
    """Who may not hear whom: j, unless it comes before i in a row's own random order.

    Not `full`: only the last half of the order is hidden, from all.
    """
    rank = torch.stack([torch.randperm(T) for _ in range(n_rows)])
    unseen = rank[:, None, :] >= rank[:, :, None]
    return unseen if full else unseen & (rank >= T // 2)[:, None, :]


def memories(ours, theirs, settings, n_rows):
    """What both keep of two earlier texts, compared."""
    ours_kept = theirs_kept = None
    for length in (5, 2):
        ids = torch.randint(settings.vocab_size, (n_rows, length))
        ours_kept = ours.read(ids, memory=ours_kept).memory
        theirs_kept = theirs(ids, mems=theirs_kept, use_mems=True).mems
        for got, want in zip(ours_kept, theirs_kept, strict=True):
            assert_close(got, want.transpose(0, 1))
    return ours_kept, theirs_kept


# side of padding or None, segments?, order: None, "full" or "part", targets?, memory?
WAYS = [
    (None, False, None, False, False),
    ("right", True, None, False, False),
    ("left", True, None, False, True),
    (None, True, "part", True, False),
    ("left", False, "part", True, True),
    ("right", True, "full", True, True),
    (None, True, "full", False, True),
    ("left", True, None, True, False),
]


@every_size
@pytest.mark.parametrize(("side", "paired", "order", "aimed", "remembers"), WAYS, ids=str)
def test_logits_loss_and_gradients_equal_hugging_face(
    settings, side, paired, order, aimed, remembers
):
    torch.manual_seed(0)
    ours, theirs = both(settings)
    ids, segments, padding, labels = padded_batch(
        settings.vocab_size, T, 0, n_segments=4, side=side or "right"
    )
    words, told = {}, {}
    if side:
        words["padding"], told["attention_mask"] = padding, (~padding).float()
    if paired:
        words["segments"] = told["token_type_ids"] = segments
    if order:
        words["unseen"] = random_order(len(ids), order == "full")
        told["perm_mask"] = words["unseen"].double()
    if aimed:
        targets = torch.stack([torch.randperm(T)[:K] for _ in ids])
        words["targets"], labels = targets, labels.gather(1, targets).abs() % settings.vocab_size
        told["target_mapping"] = F.one_hot(targets, T).float()
    if remembers:
        words["memory"], told["mems"] = memories(ours, theirs, settings, len(ids))
    want = theirs(ids, labels=labels, **told)
    logits = ours(ids, **words)
    loss = token_loss(logits, labels)
    assert_close(logits, want.logits)
    assert_close(loss, want.loss)
    loss.backward()
    want.loss.backward()
    same_gradients(ours, theirs, HF_XLNET.from_hf)


@every_size
def test_files_travel_both_ways(settings, tmp_path):
    torch.manual_seed(1)
    ours = scattered(XLNet(settings))
    save_hf(ours, tmp_path / "ours")
    theirs, report = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    theirs.save_pretrained(tmp_path / "theirs")
    opened = load_hf(tmp_path / "theirs")
    assert opened.settings == settings
    ids = torch.randint(settings.vocab_size, (2, 9))
    logits = theirs.eval()(ids).logits
    torch.testing.assert_close(logits, ours(ids), rtol=1e-5, atol=3e-5)
    torch.testing.assert_close(opened(ids), logits, rtol=1e-5, atol=3e-5)


@pytest.mark.parametrize("settings", [XLNET_BASE, XLNET_LARGE])
def test_published_sizes_are_theirs(settings):
    config = transformers.XLNetConfig(**hf_family_config.xlnet_config(settings))
    with torch.device("meta"):
        theirs = transformers.XLNetLMHeadModel(config)
        assert count_parameters(XLNet(settings)) == theirs.num_parameters()


def test_every_word_of_theirs_is_read_or_fixed_or_idle():
    """A word that a newer transformers adds fails here, until somebody has looked what it does."""
    config = transformers.XLNetConfig
    words = {field.name for field in fields(config)} | config().to_dict().keys()
    known = {*hf_family_config.XLNET_SIZES, *hf_family_config.XLNET_FIXED, "d_head", "mem_len"}
    known |= {"layer_norm_eps"} | hf_family_config.FAMILY_IDLE | hf_config.IDLE_WORDS
    assert words - known == {"per_layer_config"} & words


def test_their_default_configuration_is_our_large_one():
    config = transformers.XLNetConfig().to_dict()
    settings = hf_family_config.xlnet_settings(config | {"mem_len": None})
    assert settings == XLNET_LARGE
