"""An encoder learns by the course's own trainer, from masks static and dynamic."""

import pytest
import torch

from course_lib.models.bert import BERT, BERTSettings
from course_lib.models.xlnet import XLNet, XLNetSettings
from course_lib.text.masking import choose_tokens, corrupt_tokens, masked_batches
from course_lib.training.encoder_objectives import masked_lm_objective
from course_lib.training.optimizers import split_parameters
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train

MASK, WORDS = 1, torch.arange(2, 8)
ROWS = (torch.arange(6) + 2).expand(6, -1)  # the place tells the token


def hidden_rows(generator):
    chosen = choose_tokens(torch.ones(6, 6).bool(), 0.2, generator)
    return corrupt_tokens(ROWS, chosen, MASK, WORDS, generator)


@pytest.mark.parametrize("copies", [None, 1])
def test_a_tiny_bert_learns_what_stands_where(copies):
    torch.manual_seed(0)
    model = BERT(BERTSettings(8, 6, d_model=16, n_layers=1, n_heads=2, nsp=False))
    batches = masked_batches(hidden_rows, len(ROWS), 6, copies)
    settings = TrainSettings(steps=200, optimizer="adamw", adam_lr=1e-2)
    read = hidden_rows(torch.Generator().manual_seed(0))  # the first masks, all that one copy has
    before = masked_lm_objective(model, *read).mean.item()
    train(model, batches, settings, objective=masked_lm_objective)
    assert before > 1.7 and masked_lm_objective(model, *read).mean.item() < before - 0.5


def test_muon_gets_matrices_alone():
    """Biases per head and rows that stand for segments or classes are no hidden matrices."""
    bert = BERT(BERTSettings(8, 6, d_model=16, n_layers=1, n_heads=2))
    xlnet = XLNet(XLNetSettings(8, 16, 1, 2))
    names = {id(p): name for model in (bert, xlnet) for name, p in model.named_parameters()}
    for model in (bert, xlnet):
        hidden = {names[id(p)].split(".", 2)[-1] for p in split_parameters(model)[0]}
        parts = ("qkv", "out") if model is bert else ("q", "k", "v", "r", "out")
        want = {f"attention.{part}.weight" for part in parts}
        want |= {"mlp.up.weight", "mlp.down.weight"}
        want |= {"weight"} if model is bert else set()  # the pooler's and the head's dense layer
        assert hidden == want
