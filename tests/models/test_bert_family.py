"""BERT, RoBERTa and DistilBERT: published sizes, what sees what, places, students, errors."""

import jaxtyping
import pytest
import torch
import torch.nn.functional as F

from course_lib.models.bert import (
    BERT,
    BERT_BASE,
    BERT_LARGE,
    MEGATRON_BERT_345M,
    BERTEncoder,
    BERTSettings,
    sentence_vectors,
)
from course_lib.models.distilbert import (
    DISTILBERT_BASE,
    DISTILBERT_LAYERS,
    DistilBERT,
    DistilBERTSettings,
    student_of,
)
from course_lib.models.gpt2 import count_parameters
from course_lib.models.roberta import ROBERTA_BASE, ROBERTA_LARGE, RoBERTa, RoBERTaSettings

TINY = {"vocab_size": 11, "max_seq_len": 9, "d_model": 12, "n_layers": 2, "n_heads": 3}
MODELS = {
    "BERT": lambda: BERT(BERTSettings(**TINY)),
    "pre-norm": lambda: BERT(BERTSettings(**TINY, pre_norm=True)),
    "RoBERTa": lambda: RoBERTa(RoBERTaSettings(**TINY)),
    "DistilBERT": lambda: DistilBERT(DistilBERTSettings(**TINY)),
}
every_model = pytest.mark.parametrize("kind", MODELS)


def lively(kind):
    """A model whose tokens listen to each other: a fresh one hardly does."""
    torch.manual_seed(0)
    model = MODELS[kind]()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


@pytest.mark.parametrize(
    ("build", "settings", "parameters"),
    [
        (BERT, BERT_BASE, 110_106_428),
        (BERT, BERT_LARGE, 336_226_108),
        (BERTEncoder, BERT_BASE, 109_482_240),
        (BERT, MEGATRON_BERT_345M, 334_723_458),
        (RoBERTa, ROBERTA_BASE, 124_697_433),
        (RoBERTa, ROBERTA_LARGE, 355_412_057),
        (DistilBERT, DISTILBERT_BASE, 66_985_530),
    ],
)
def test_published_sizes_on_the_meta_device(build, settings, parameters):
    with torch.device("meta"):
        assert count_parameters(build(settings)) == parameters


@every_model
def test_every_token_sees_both_sides(kind):
    model, ids = lively(kind), torch.tensor([[2, 3, 4, 5, 6]])
    for column in range(5):
        changed = ids.clone()
        changed[0, column] = 9
        assert (model(ids) - model(changed)).abs().amax(-1).min() > 1e-4


@every_model
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_is_neither_seen_nor_changes_a_row(kind, side):
    model, ids = lively(kind), torch.tensor([[2, 3, 4, 5]])
    if side == "left" and kind != "RoBERTa":  # their places are columns
        ids = ids[:, :1].expand(1, 4)
        model.embedding.position.weight.data[:] = model.embedding.position.weight[0].clone()
    pad = model.settings.pad_token
    sides = (2, 0) if side == "left" else (0, 2)
    padding = F.pad(torch.zeros(1, 4).bool(), sides, value=True)
    got = model(F.pad(ids, sides, value=pad), padding=padding)
    real = got[:, 2:] if side == "left" else got[:, :4]
    torch.testing.assert_close(real, model(ids), rtol=1e-5, atol=1e-5)


def test_segments_and_the_second_task_matter():
    model, ids = lively("BERT"), torch.tensor([[2, 3, 4, 5]])
    second = torch.tensor([[0, 0, 1, 1]])
    assert (model(ids) - model(ids, second)).abs().min() > 1e-6
    hidden = model.hidden(ids, second)
    want = torch.tanh(hidden[:, 0] @ model.pooler.dense.weight.T + model.pooler.dense.bias)
    want = want @ model.nsp_head.weight.T + model.nsp_head.bias
    torch.testing.assert_close(model.pair_logits(hidden), want)


def test_robertas_places_are_counted_from_two_and_without_padding():
    model = MODELS["RoBERTa"]()
    ids = torch.tensor([[1, 1, 7, 8, 9], [7, 8, 9, 1, 1], [7, 1, 8, 9, 0]])
    assert model.positions(ids).tolist() == [[1, 1, 2, 3, 4], [2, 3, 4, 1, 1], [2, 1, 3, 4, 5]]
    assert len(model.embedding.position.weight) == 9 + 2


@every_model
def test_the_row_of_the_padding_token_learns_nothing_where_it_is_read(kind):
    model = MODELS[kind]()
    model.hidden(torch.tensor([[2, model.settings.pad_token, 3]])).sum().backward()
    assert not model.embedding.token.weight.grad[model.settings.pad_token].any()


def test_a_student_with_all_layers_says_what_the_teacher_says():
    teacher = lively("BERT")
    ids = torch.randint(11, (2, 9))
    torch.testing.assert_close(student_of(teacher, [0, 1])(ids), teacher(ids))


def test_a_student_begins_with_the_layers_that_were_chosen():
    teacher = lively("BERT")
    student = student_of(teacher, [1])
    assert student.settings == DistilBERTSettings(**TINY | {"n_layers": 1})
    for name, tensor in student.blocks[0].state_dict().items():
        assert torch.equal(tensor, teacher.blocks[1].state_dict()[name])
    assert not torch.allclose(student(torch.tensor([[2]])), teacher(torch.tensor([[2]])))


def test_the_releases_layers_are_every_other_one():
    assert len(DISTILBERT_LAYERS) == DISTILBERT_BASE.n_layers
    assert max(DISTILBERT_LAYERS) < BERT_BASE.n_layers


def test_sentence_vectors_are_means_of_length_one():
    hidden, padding = torch.randn(2, 3, 4), torch.tensor([[False] * 3, [True, True, False]])
    got = sentence_vectors(hidden, padding)
    torch.testing.assert_close(got.norm(dim=-1), torch.ones(2))
    torch.testing.assert_close(got[1], hidden[1, 2] / hidden[1, 2].norm())
    want = hidden[0].sum(0)
    torch.testing.assert_close(got[0], want / want.norm())
    torch.testing.assert_close(sentence_vectors(hidden)[0], got[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BERTSettings(d_model=100, n_heads=3), "d_model 100 is not divisible by n_heads 3"),
        (lambda: BERTSettings(vocab_size=4, pad_token=4), "pad_token 4 is no token of 4"),
        (lambda: BERTSettings(n_segments=-1), "n_segments -1 is below 0"),
        (lambda: RoBERTaSettings(nsp=True), "nsp True, pre_norm False: a RoBERTa has neither"),
        (lambda: DistilBERTSettings(n_segments=2), "n_segments 2: a DistilBERT has none of them"),
        (lambda: MODELS["BERT"]()(torch.zeros(1, 10).long()), "10 tokens are more than max_seq"),
        (lambda: MODELS["RoBERTa"]()(torch.zeros(1, 10).long()), "10 tokens are more than max_seq"),
        (lambda: MODELS["BERT"]()(torch.tensor([[11]])), "token 11 is outside the vocabulary"),
        (
            lambda: MODELS["BERT"]()(torch.tensor([[1]]), torch.tensor([[2]])),
            "segment 2 is none of the 2",
        ),
        (
            lambda: MODELS["DistilBERT"]()(torch.tensor([[1]]), torch.tensor([[0]])),
            "this model has no segments",
        ),
        (
            lambda: MODELS["BERT"]()(torch.tensor([[1]]), padding=torch.zeros(1, 2).bool()),
            r"padding of shape \(1, 2\) for 1 rows of 1 tokens",
        ),
        (lambda: MODELS["RoBERTa"]().pair_logits(torch.zeros(1, 1, 12)), "no next-sentence head"),
        (lambda: student_of(MODELS["BERT"](), [2]), r"layers \[2\] of a teacher that has 2"),
        (lambda: student_of(MODELS["BERT"](), []), r"layers \[\] of a teacher that has 2"),
    ],
)
def test_what_does_not_fit_is_named(call, message, monkeypatch):
    # tests check annotations, a learner's session does not
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        call()
