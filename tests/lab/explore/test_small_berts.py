"""Figures of lesson 15: what they count is what the models have."""

import torch

from course_lib.lab.explore import small_berts as explore
from course_lib.models.albert import ALBERT, ALBERT_BASE
from course_lib.models.bert import BERT, BERT_BASE

BASE = explore.EncoderShape(
    "base", 30522, 768, 12, {(False, False): "BERT-base", (True, True): "ALBERT-base"}
)


def matrices(model, piece):
    """Count the entries of a model's matrices whose names hold a piece."""
    return sum(w.numel() for name, w in model.named_parameters() if piece in name and w.ndim == 2)


def test_counts_are_those_of_the_models():
    with torch.device("meta"):
        bert, albert = BERT(BERT_BASE), ALBERT(ALBERT_BASE)
    whole = explore.encoder_matrices(BASE)
    assert whole["table of tokens"] == matrices(bert, "embedding.token")
    assert whole["attention"] == matrices(bert, ".attention.")
    assert whole["MLP"] == matrices(bert, ".mlp.")
    both = explore.encoder_matrices(
        explore.EncoderShape("albert", 30000, 768, 12, {}), d_embedding=128, shared=True
    )
    tables = matrices(albert, "embedding.token") + matrices(albert, "widen")
    assert both["table of tokens"] == tables
    assert both["attention"] == matrices(albert, ".attention.")
    assert both["MLP"] == matrices(albert, ".mlp.")


def test_the_figure_names_published_models_and_their_counts():
    figure = explore.savings([BASE], widths=(64, 128), start=(0, 1))
    assert "BERT-base" in figure.still and "ALBERT-base" in figure.still
    assert "108.4 million, 22% table" in figure.still
    assert "table of E = 128" in figure.still


def test_a_higher_temperature_is_flatter():
    logits = torch.tensor([4.0, 2.0, 0.0])
    words = ["Tom", "Ben", "Mia"]
    figure = explore.temperatures(
        "[MASK] ran.", logits, words, "Ben", steps=(1, 4), start=0, shown=3
    )
    entropy = {t: -((logits / t).softmax(-1) * (logits / t).log_softmax(-1)).sum() for t in (1, 4)}
    frames = [child.value for child in figure.children[-1].children]
    for frame, t in zip(frames, (1, 4), strict=True):
        assert f"entropy {entropy[t]:.2f} nats" in frame
        assert f"{(logits / t).softmax(-1)[1]:.3f} (the true word)" in frame
