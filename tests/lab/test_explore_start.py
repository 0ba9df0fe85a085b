"""The figures of lesson 00 show what the model gave, and nothing in a text can break out of its
page."""

import pytest
import torch

from course_lib.lab.explore import start as explore
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import bpe


@pytest.fixture(scope="module")
def poet():
    tokenizer = bpe.train_bpe("to be or not to be, that is the question. " * 3, 262)
    torch.manual_seed(0)
    return GPT2(
        GPT2Settings(tokenizer.n_vocab, max_seq_len=16, d_model=8, n_layers=1, n_heads=2)
    ), tokenizer


def test_a_snapshot_holds_the_models_own_probabilities(poet):
    model, tokenizer = poet
    shot = explore.snapshot(model, tokenizer, 7, "to be", "or not", 1.0, n_tokens=10)
    probabilities = model(torch.tensor([tokenizer.encode("or not")]))[0, -1].softmax(-1)
    assert shot.step == 7 and len(shot.probabilities) == 6
    assert len(shot.pages) == len(set(shot.pages)) == 8 and all(
        page.startswith("to be") for page in shot.pages
    )
    assert shot.probabilities[0][1] == pytest.approx(probabilities.max().item())
    assert [p for _, p in shot.probabilities] == sorted(
        (p for _, p in shot.probabilities), reverse=True
    )


def test_learning_has_a_page_per_moment_and_starts_with_the_last(poet):
    shots = [explore.snapshot(*poet, step, "to", "be", 1.0, n_tokens=5) for step in (0, 1000)]
    figure = explore.learning(shots)
    slider, stack = figure.children[0].children[1], figure.children[1]
    assert slider.options == ("0", "1,000") and stack.selected_index == 1
    assert "Next token after “be”" in stack.children[0].value


def test_every_temperature_gets_the_same_random_numbers(poet):
    texts = explore.written_at(*poet, "to", temperatures=(0.0, 1.0), n_samples=2, n_tokens=6)
    assert texts[0.0][0] == texts[0.0][1] and texts[1.0][0] != texts[1.0][1]
    assert texts == explore.written_at(
        *poet, "to", temperatures=(0.0, 1.0), n_samples=2, n_tokens=6
    )
    assert len(explore.temperature(texts, start=(1, 0)).children[2].children) == 2


def test_markup_in_a_text_stays_text():
    figure = explore.pages({"a": "<img src=x onerror=alert(1)> & co", "b": "fine"}, name="page")
    assert "<img" not in figure.still and "&lt;img" in figure.still
