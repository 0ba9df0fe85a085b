"""ALBERT against Hugging Face's, on random weights: groups of layers, the narrow table, SOP."""

from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F

from course_lib.models import hf_config, hf_family_config
from course_lib.models.albert import (
    ALBERT,
    ALBERT_BASE,
    ALBERT_LARGE,
    ALBERT_XLARGE,
    ALBERT_XXLARGE,
    ALBERTSettings,
)
from course_lib.models.gpt2 import count_parameters
from course_lib.models.hf_family import HF_ALBERT
from course_lib.models.hf_files import load_hf, save_hf
from tests.parity.family import assert_close, padded_batch, same_gradients, scattered, token_loss

transformers = pytest.importorskip("transformers")

SETTINGS = [
    ALBERTSettings(50, 16, d_model=24, n_layers=2, n_heads=4, d_embedding=10),
    ALBERTSettings(
        30, 9, 12, 5, 3, d_ff=7, d_embedding=20, n_hidden_groups=2, n_inner=2, pad_token=4
    ),
    ALBERTSettings(
        21, 7, 10, 6, 2, d_embedding=3, n_hidden_groups=3, n_segments=3, exact_gelu=True
    ),
    ALBERTSettings(9, 5, 6, 4, 1, norm_eps=0.01, d_embedding=6, n_hidden_groups=4, n_segments=1),
    ALBERTSettings(17, 6, 14, 7, 7, d_ff=33, d_embedding=1, n_hidden_groups=3),
]
every_size = pytest.mark.parametrize("settings", SETTINGS, ids=str)


def both(settings):
    """Our model and theirs, in float64 with the same random weights."""
    config = transformers.AlbertConfig(**hf_family_config.albert_config(settings))
    theirs = scattered(transformers.AlbertForPreTraining(config).eval().double())
    ours = ALBERT(settings).double()
    ours.load_state_dict(HF_ALBERT.from_hf(theirs.state_dict()))
    return ours, theirs


@every_size
@pytest.mark.parametrize("side", ["right", "left"])
def test_logits_loss_and_gradients_equal_hugging_face(settings, side):
    torch.manual_seed(0)
    (ours, theirs), s = both(settings), settings
    ids, segments, padding, labels = padded_batch(
        s.vocab_size, s.max_seq_len, s.pad_token, s.n_segments, side
    )
    order = torch.tensor([1, 0, 1])
    want = theirs(
        ids, attention_mask=(~padding).long(), token_type_ids=segments, labels=labels,
        sentence_order_label=order,
    )  # fmt: skip
    hidden = ours.hidden(ids, segments, padding)
    logits = ours.logits(hidden)
    loss = token_loss(logits, labels) + F.cross_entropy(ours.pair_logits(hidden), order)
    assert_close(logits, want.prediction_logits)
    assert_close(ours.pair_logits(hidden), want.sop_logits)
    assert_close(loss, want.loss)
    loss.backward()
    want.loss.backward()
    same_gradients(ours, theirs, HF_ALBERT.from_hf)


@every_size
def test_files_travel_both_ways(settings, tmp_path):
    torch.manual_seed(1)
    ours = scattered(ALBERT(settings))
    save_hf(ours, tmp_path / "ours")
    theirs, report = transformers.AutoModelForPreTraining.from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    theirs.save_pretrained(tmp_path / "theirs")
    opened = load_hf(tmp_path / "theirs")
    assert opened.settings == settings
    ids = torch.randint(settings.vocab_size, (2, settings.max_seq_len - 1))
    logits = theirs.eval()(ids).prediction_logits
    torch.testing.assert_close(logits, ours(ids), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(opened(ids), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("settings", [ALBERT_BASE, ALBERT_LARGE, ALBERT_XLARGE, ALBERT_XXLARGE])
def test_published_sizes_are_theirs(settings):
    config = transformers.AlbertConfig(**hf_family_config.albert_config(settings))
    with torch.device("meta"):
        theirs = transformers.AlbertForPreTraining(config)
        assert count_parameters(ALBERT(settings)) == theirs.num_parameters()


def test_every_word_of_theirs_is_read_or_fixed_or_idle():
    """A word that a newer transformers adds fails here, until somebody has looked what it does."""
    config = transformers.AlbertConfig
    words = {field.name for field in fields(config)} | config().to_dict().keys()
    read = {*hf_family_config.ALBERT_SIZES, "layer_norm_eps", "pad_token_id"}
    known = read | hf_family_config.ALBERT_FIXED.keys() | hf_family_config.FAMILY_IDLE
    assert words - known - hf_config.IDLE_WORDS == {"per_layer_config"} & words


def test_their_default_configuration_is_our_xxlarge():
    config = transformers.AlbertConfig().to_dict()
    assert hf_family_config.albert_settings(config) == ALBERT_XXLARGE


def test_groups_are_cut_as_theirs_for_every_depth():
    """Their division is one of floats, which may fall below the whole number."""
    for n_layers in range(1, 61):
        for n_hidden_groups in range(1, n_layers + 1):
            settings = ALBERTSettings(
                5, 5, 2, n_layers, 1, d_embedding=1, n_hidden_groups=n_hidden_groups
            )
            with torch.device("meta"):
                group_of = ALBERT.group_of
            model = type("Model", (), {"settings": settings})
            got = [group_of(model, layer) for layer in range(n_layers)]
            assert got == [int(i / (n_layers / n_hidden_groups)) for i in range(n_layers)]
            assert got[0] == 0 and max(got) < n_hidden_groups
