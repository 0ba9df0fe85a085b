"""The figures of lesson 08 say what the model says, and count what the tensors hold."""

import re

import pytest
import torch

from course_lib.lab.explore import transformer as explore
from course_lib.models.gpt2 import (
    GPT2,
    GPT2_LARGE,
    GPT2_MEDIUM,
    GPT2_SMALL,
    GPT2_XL,
    GPT2Settings,
    count_parameters,
)
from course_lib.text import bpe

TEXT = "to be or not to be or to be <b>"
TOKENIZER = bpe.train_bpe([TEXT] * 2, 260)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = GPT2(GPT2Settings(vocab_size=260, max_seq_len=30, d_model=12, n_layers=2, n_heads=3))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def test_the_last_stage_says_what_the_model_says(model):
    ids = TOKENIZER.encode(TEXT)
    kept = explore.stages(model, ids)
    best = model(torch.tensor([ids]))[0, -1].softmax(-1).topk(5)
    assert len(kept) == 5
    assert [token for token, _ in explore.guesses(model, kept[-1])] == best.indices.tolist()
    probs = [prob for _, prob in explore.guesses(model, kept[-1])]
    assert probs == pytest.approx(best.values.tolist())


def test_the_reading_has_a_frame_for_each_stage_and_tells_the_way(model):
    widget = explore.forward_pass(model, TOKENIZER, TEXT)
    pictures = [frame.value for frame in widget.children[-1].children]
    assert len(pictures) == 6 and widget.still == pictures[-1]
    assert [re.findall(r"shape (\(.*?\))", picture) for picture in pictures] == [
        *[[f"(1, {len(TOKENIZER.encode(TEXT))}, 12)"]] * 5,
        [f"(1, {len(TOKENIZER.encode(TEXT))}, 260)"],
    ]
    said = [
        re.findall(r'font-weight="bold" fill="#\w+">(.*?)</text>', picture) for picture in pictures
    ]
    assert [len(words) for words in said] == [1, 2, 3, 4, 5, 6] and said[5][:4] == said[3]
    assert "attention(norm_1(x))" in pictures[1] and "mlp(norm_2(x))" in pictures[2]
    assert "<b>" not in pictures[0] and "&lt;" in pictures[0]


def test_a_piece_of_a_character_is_told_by_its_bytes():
    assert explore._word(TOKENIZER, 0xE5) == "(e5)" and explore._word(TOKENIZER, ord("t")) == "t"


@pytest.mark.parametrize(
    "settings",
    [GPT2_SMALL, GPT2_MEDIUM, GPT2_LARGE, GPT2_XL, GPT2Settings(11, 7, 12, 3, 2, d_ff=5)],
    ids=str,
)
def test_parts_add_up_to_what_the_tensors_hold(settings):
    with torch.device("meta"):
        model = GPT2(settings)
    counted = explore.parts(settings)
    assert sum(counted.values()) == count_parameters(model)
    assert counted["attention"] == sum(count_parameters(block.attention) for block in model.blocks)
    assert counted["MLP"] == sum(count_parameters(block.mlp) for block in model.blocks)


def test_the_budget_knows_the_published_models():
    frames = [
        frame.value for row in explore.budget().children[-1].children for frame in row.children
    ]
    named = {found[1]: frame for frame in frames if (found := re.search(r"\((GPT-2 \w+)\)", frame))}
    assert set(named) == {"GPT-2 small", "GPT-2 medium", "GPT-2 large", "GPT-2 XL"}
    assert (
        "124,439,808 parameters" in named["GPT-2 small"]
        and "1,557,611,200 parameters" in named["GPT-2 XL"]
    )
    assert named["GPT-2 small"] == explore.budget().still


@pytest.mark.parametrize("n_layers", [1, 3])
def test_the_drawing_has_two_boxes_per_block(n_layers):
    drawn = explore.drawing(n_layers).data
    assert drawn.count(">attention<") == drawn.count(">MLP<") == n_layers
    assert drawn.count("<circle") == 2 * n_layers and f"{n_layers} blocks" in drawn
