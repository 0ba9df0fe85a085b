"""A real encoder in our BERT: all-MiniLM-L6-v2's sentence vectors, beside transformers'."""

import pytest
import torch

from course_lib import assets
from course_lib.models.bert import BERTEncoder, sentence_vectors
from course_lib.models.hf_files import load_hf, save_hf
from course_lib.text.batches import pad_rows
from course_lib.text.wordpiece import WordPiece

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

SENTENCES = [
    "The cat sat on the mat.",
    "A kitten was resting on the rug, as kittens do when nobody calls them.",
    "Interest rates were raised by a quarter of a point.",
    "Zürich, 3 °C: naïve façade?",
    "",
]


@pytest.fixture(scope="module")
def folder():
    try:
        return assets.minilm_folder()
    except assets.AssetError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def batch(folder):
    """Rows of ids by our own WordPiece, which are those of the model's tokenizer."""
    reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    reference.no_padding()
    ours = WordPiece((folder / "vocab.txt").read_text().splitlines())
    cls, sep = ours.ids["[CLS]"], ours.ids["[SEP]"]
    rows = [[cls, *ours.encode(text), sep] for text in SENTENCES]
    assert rows == [reference.encode(text).ids for text in SENTENCES]
    ids, real = pad_rows(rows, pad_token=0)
    assert len(set(real.sum(1).tolist())) > 3  # rows of many lengths
    return ids, ~real


def test_sentence_vectors_are_theirs(folder, batch):
    ids, padding = batch
    ours = load_hf(folder)
    assert type(ours) is BERTEncoder and ours.settings.n_layers == 6
    theirs = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        got = sentence_vectors(ours(ids, padding=padding), padding)
        mask = (~padding).long()
        out = theirs(ids, attention_mask=mask).last_hidden_state
        want = (out * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        want = want / want.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    likeness = got @ got.T
    assert likeness[0, 1] > 0.4 > 0.2 > likeness[0, 2]  # cat and kitten, not cat and bank


def test_the_real_weights_come_back_bit_for_bit(folder, tmp_path):
    ours = load_hf(folder)
    save_hf(ours, tmp_path)
    again, theirs = load_hf(tmp_path), transformers.AutoModel.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "BertModel"
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
