"""Layers alone are ordinary layers; the cuts fit together; what can't be divided is refused. What
several processes compute with them stands in `tests/training/test_many_ranks.py`."""

import pytest
import torch
import torch.nn.functional as F

from course_lib.layers import tensor_parallel as tp
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.models.gpt2_parallel import MEGATRON_GPT, check_can_split, slice_of_gpt2, split_gpt2

TINY = GPT2Settings(vocab_size=12, max_seq_len=6, d_model=8, n_layers=2, n_heads=4)


def test_alone_the_layers_are_torchs_own():
    x = torch.randn(2, 3, 6)
    for kind in (tp.ColumnParallelLinear, tp.RowParallelLinear):
        layer = kind(6, 4)
        torch.nn.init.normal_(layer.bias)
        torch.testing.assert_close(layer(x), F.linear(x, layer.weight, layer.bias))
    table, ids = tp.VocabParallelEmbedding(5, 6), torch.tensor([[0, 4, 2]])
    torch.testing.assert_close(table(ids), F.embedding(ids, table.weight))
    torch.testing.assert_close(table.logits(x), x @ table.weight.T)


def test_alone_the_loss_is_cross_entropy_even_for_large_logits():
    logits = 500 * torch.randn(3, 4, 7)
    targets = torch.randint(7, (3, 4))
    want = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    got = tp.vocab_parallel_cross_entropy(logits, targets)
    torch.testing.assert_close(got.flatten(), want)


def test_tokens_outside_the_vocabulary_are_refused():
    with pytest.raises(ValueError, match="token 5 is outside the vocabulary of 5"):
        tp.VocabParallelEmbedding(5, 6)(torch.tensor([[5]]))
    with pytest.raises(ValueError, match="token 9"):
        tp.vocab_parallel_cross_entropy(torch.zeros(1, 1, 7), torch.tensor([[9]]))


@pytest.mark.parametrize("n_ranks", [1, 2, 4])
def test_the_slices_of_all_ranks_make_up_the_whole(n_ranks):
    model = GPT2(TINY)
    for name, whole in model.state_dict().items():
        slices = [slice_of_gpt2(name, whole, rank, n_ranks) for rank in range(n_ranks)]
        if "qkv" in name:
            thirds = [torch.cat([s.chunk(3)[i] for s in slices]) for i in range(3)]
            assert torch.equal(torch.cat(thirds), whole)
        elif slices[0].shape == whole.shape:
            assert all(torch.equal(s, whole) for s in slices)
        else:
            cut = 1 if name.endswith(("out.weight", "down.weight")) else 0
            assert torch.equal(torch.cat(slices, cut), whole)


def test_alone_a_split_model_is_the_model():
    model, ids = GPT2(TINY), torch.randint(12, (2, 6))
    part = split_gpt2(model)
    torch.testing.assert_close(part(ids), model(ids))
    with torch.no_grad():
        next(part.parameters()).zero_()
    assert next(model.parameters()).any()  # it has memory of its own


@pytest.mark.parametrize(
    "changed, told",
    [
        ({"n_heads": 2}, "n_heads 2 is not divisible by 4 ranks"),
        ({"d_ff": 30}, "d_ff 30 is not divisible by 4 ranks"),
        ({"vocab_size": 13}, "vocab_size 13 is not divisible by 4 ranks"),
    ],
)
def test_what_cannot_be_divided_is_refused_with_both_numbers(changed, told):
    settings = {"vocab_size": 12, "d_model": 8, "n_layers": 1, "n_heads": 4} | changed
    with pytest.raises(ValueError, match=told):
        check_can_split(GPT2Settings(**settings), 4)


def test_megatrons_models_can_be_split_as_published():
    for settings, ways in MEGATRON_GPT.values():
        check_can_split(settings, ways)
        assert settings.d_model // settings.n_heads == 96
