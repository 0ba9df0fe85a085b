"""ALBERT and CTRL: published sizes, what is shared, what is scaled, errors."""

import math
from dataclasses import fields

import jaxtyping
import pytest
import torch

from course_lib.models.albert import (
    ALBERT,
    ALBERT_BASE,
    ALBERT_LARGE,
    ALBERT_XLARGE,
    ALBERT_XXLARGE,
    ALBERTSettings,
)
from course_lib.models.bert import BERT, BERTSettings
from course_lib.models.ctrl import CTRL, CTRL_RELEASE, CTRLSettings
from course_lib.models.deepseek import DeepSeekSettings
from course_lib.models.encoder import EncoderSettings
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters

TINY = {"vocab_size": 11, "max_seq_len": 9, "d_model": 12, "n_layers": 4, "n_heads": 3}


@pytest.mark.parametrize(
    ("build", "settings", "parameters"),
    [
        (ALBERT, ALBERT_BASE, 11_813_810),
        (ALBERT, ALBERT_LARGE, 17_847_474),
        (ALBERT, ALBERT_XLARGE, 59_021_490),
        (ALBERT, ALBERT_XXLARGE, 223_158_450),
        (CTRL, CTRL_RELEASE, 1_637_964_550),
    ],
)
def test_published_sizes_on_the_meta_device(build, settings, parameters):
    with torch.device("meta"):
        assert count_parameters(build(settings)) == parameters


@pytest.mark.parametrize("n_layers", [1, 4, 9])
def test_depth_costs_no_parameters(n_layers):
    one, deep = (
        count_parameters(ALBERT(ALBERTSettings(**TINY | {"n_layers": n}))) for n in (1, n_layers)
    )
    assert one == deep
    block = count_parameters(BERT(BERTSettings(**TINY)).blocks[0])
    groups = ALBERTSettings(**TINY, n_hidden_groups=2, n_inner=3, d_embedding=128)
    assert count_parameters(ALBERT(groups)) - one == 5 * block


def test_the_factorised_table_saves_what_the_paper_says():
    V, E, C = 11, 5, 12
    model = ALBERT(ALBERTSettings(**TINY, d_embedding=E))
    table = count_parameters(model.embedding.token) + count_parameters(model.widen)
    assert table == V * E + E * C + C


def test_groups_of_layers_and_groups_of_experts_have_two_names():
    encoder, albert, deepseek = (
        {field.name for field in fields(settings)}
        for settings in (EncoderSettings, ALBERTSettings, DeepSeekSettings)
    )
    assert {"n_groups"} < deepseek and not (albert - encoder) & deepseek


def test_layers_run_in_groups_each_as_often_as_its_share():
    model = ALBERT(ALBERTSettings(**TINY, n_hidden_groups=2, n_inner=1))
    assert [model.group_of(layer) for layer in range(4)] == [0, 0, 1, 1]
    x = torch.randn(1, 3, 12)
    model.widen = torch.nn.Identity()
    model.embedding.forward = lambda *_: x
    first, second = (group[0] for group in model.groups)
    want = second(second(first(first(x))))
    torch.testing.assert_close(model.hidden(torch.tensor([[1, 2, 3]])), want)


def test_ctrl_scales_tokens_and_adds_sinusoids_in_halves():
    torch.manual_seed(0)
    model = CTRL(CTRLSettings(11, 9, d_model=4, n_layers=1, n_heads=2))
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(torch.tensor([[7, 7]]))
    place = seen[0][0] - 2.0 * model.token_embedding.weight[7]
    want = [[f(t * w) for f in (math.sin, math.cos) for w in (1.0, 0.01)] for t in (0, 1)]
    torch.testing.assert_close(place, torch.tensor(want))


def test_ctrl_is_causal_and_has_a_bias_for_each_token():
    torch.manual_seed(0)
    model = CTRL(CTRLSettings(**TINY))
    ids, changed = torch.tensor([[1, 2, 3, 4]]), torch.tensor([[1, 2, 9, 4]])
    before, after = model(ids), model(changed)
    assert torch.equal(before[:, :2], after[:, :2]) and not torch.equal(before[:, 2], after[:, 2])
    model.head_bias.data[5] += 1
    torch.testing.assert_close((model(ids) - before)[..., 5], torch.ones(1, 4))
    sizes = GPT2Settings(**TINY, d_ff=model.settings.d_ff)
    assert count_parameters(model) == count_parameters(GPT2(sizes)) - 9 * 12 + 11


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: ALBERTSettings(n_layers=2, n_hidden_groups=3),
            "n_hidden_groups 3 is more than n_layers 2",
        ),
        (lambda: ALBERTSettings(d_embedding=0), "d_embedding 0 is below 1"),
        (lambda: ALBERT(ALBERTSettings(**TINY))(torch.ones(1, 10).long()), "10 tokens are more"),
        (lambda: CTRLSettings(d_model=15, n_heads=3), "d_model 15 is odd"),
        (lambda: CTRLSettings(d_model=10, n_heads=3), "d_model 10 is not divisible by n_heads 3"),
        (lambda: CTRLSettings(d_model="10"), "d_model '10' is not a whole number"),
        (lambda: CTRL(CTRLSettings(**TINY))(torch.ones(1, 10).long()), "10 tokens are more than"),
    ],
)
def test_what_does_not_fit_is_named(call, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()
