"""Settings of all models: wrong kinds of numbers are refused by name, right ones kept."""

import json
import math
from dataclasses import asdict, fields, replace
from typing import get_args

import numpy as np
import pytest
from jaxtyping import config

from course_lib.layers.position import PositionInterpolation, YaRN
from course_lib.models.albert import ALBERT_BASE
from course_lib.models.bert import BERT_BASE
from course_lib.models.ctrl import CTRL_RELEASE
from course_lib.models.deepseek import DEEPSEEK_V3, V3_YARN, DeepSeekSettings
from course_lib.models.distilbert import DISTILBERT_BASE
from course_lib.models.gpt2 import GPT2_SMALL, GPT2Settings
from course_lib.models.llama import SMOLLM2_135M, LlamaSettings
from course_lib.models.roberta import ROBERTA_BASE
from course_lib.models.xlnet import XLNET_BASE


@pytest.fixture(autouse=True)
def annotations_unchecked():
    """Tests check annotations, a learner's session does not: the settings must stand alone."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)


FAMILY = [BERT_BASE, ROBERTA_BASE, DISTILBERT_BASE, ALBERT_BASE, XLNET_BASE, CTRL_RELEASE]
MODELS = [GPT2_SMALL, SMOLLM2_135M, DEEPSEEK_V3, *FAMILY]
FIELDS = [(settings, field) for settings in MODELS for field in fields(settings)]
WRONG = {
    int: [True, False, "64", 64.0, math.nan, math.inf, -64, [64], 1j, b"64"],
    float: [True, "1.0", math.nan, math.inf, -math.inf, 0, -1.0, 10**400, [1.0], 1j],
    bool: ["True", "", 2, -1, 0.5, math.nan, None, [True]],
    PositionInterpolation: ["yarn", 4.0, {"factor": "4"}, {"factor": 0.5}, {}, {"kind": "yarn"}],
}


def kind(field) -> type:
    return (get_args(field.type) or (field.type,))[0]


@pytest.mark.parametrize(
    ("settings", "field"), FIELDS, ids=lambda x: getattr(x, "name", type(x).__name__)
)
def test_what_is_no_number_of_its_kind_is_refused_by_name(settings, field):
    wrong = WRONG[kind(field)] + [None] * (type(None) not in get_args(field.type))
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{field.name} "):
            replace(settings, **{field.name: value})


@pytest.mark.parametrize("settings", MODELS, ids=lambda x: type(x).__name__)
def test_numbers_of_numpy_and_whole_numbers_become_pythons_own(settings):
    wider = {int: np.int64, float: np.float64, bool: int}
    same = replace(settings, **{
        field.name: wider[kind(field)](value)
        for field in fields(settings) if (value := getattr(settings, field.name)) is not None
    })  # fmt: skip
    assert same == settings and json.loads(json.dumps(asdict(same))) == asdict(settings)
    for field in fields(same):
        assert type(getattr(same, field.name)) in (kind(field), type(None)), field.name


def test_a_whole_number_for_a_float_is_kept_as_a_float():
    settings = DeepSeekSettings(
        30, 16, 20, 2, 2, route_scale=16, norm_eps=1, rope_base=10_000, tied=1
    )
    assert json.dumps(
        [settings.route_scale, settings.norm_eps, settings.rope_base, settings.tied]
    ) == ("[16.0, 1.0, 10000.0, true]")


def test_none_stands_for_the_papers_choice():
    assert GPT2Settings(d_ff=None).d_ff == 4 * 768
    assert (
        LlamaSettings(9, 9, 64, 1, 4).n_kv_heads
        == LlamaSettings(9, 9, 64, 1, 4, n_kv_heads=None).n_kv_heads
        == 4
    )
    assert LlamaSettings(9, 9, 64, 1, 4, d_ff=None).d_ff == 168
    assert DeepSeekSettings(9, 9, 64, 2, 4, d_expert=None).d_expert == 56


@pytest.mark.parametrize("scaling", [V3_YARN, YaRN(2.0, 16), PositionInterpolation(1.5)], ids=str)
def test_a_scaling_comes_back_from_a_file(scaling):
    settings = LlamaSettings(9, 9, 64, 1, 4, rope_scaling=scaling)
    assert LlamaSettings(**json.loads(json.dumps(asdict(settings)))) == settings
    whole = replace(scaling, factor=np.int64(2))
    kept = replace(settings, rope_scaling=whole).rope_scaling
    assert json.dumps(kept.factor) == "2.0"


def test_a_context_longer_than_it_is_stretched_is_refused():
    with pytest.raises(ValueError, match="65 tokens are more than factor 4.0 x trained_length 16"):
        LlamaSettings(9, 65, 64, 1, 4, rope_scaling=YaRN(4.0, 16))
    with pytest.raises(ValueError, match="trained_length 16.5 is not a whole number"):
        LlamaSettings(9, 32, 64, 1, 4, rope_scaling=YaRN(4.0, 16.5))
