"""Texts to sentence vectors by an encoder, with as little padding as can be."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.assets import minilm_folder
from course_lib.models.bert import BERTEncoder, sentence_vectors
from course_lib.models.hf_files import load_hf
from course_lib.text.batches import pad_rows
from course_lib.text.wordpiece import WordPiece

MINILM_LENGTH = 256  # tokens: what all-MiniLM-L6-v2 was tuned on; the rest of a text is left out


def load_minilm() -> tuple[BERTEncoder, WordPiece]:
    """Read all-MiniLM-L6-v2, 22.7 million parameters, and its tokenizer.

    A BERT of 6 layers and width 384, tuned on a billion pairs of sentences so that those which
    belong together get vectors that point the same way. Raises AssetError where it is missing.
    """
    folder = minilm_folder()
    pieces = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return load_hf(folder).eval(), WordPiece(pieces)


def batches_by_length(lengths: Sequence[int], n_tokens: int) -> Iterator[list[int]]:
    """Group rows, by their numbers, from short to long: `n_tokens` a batch at most, or one row.

    Neighbours are then about equally long, so that there is hardly any padding, and each batch
    holds about as much work.

    >>> list(batches_by_length([2, 9, 2, 3], n_tokens=6))
    [[0, 2], [3], [1]]
    """
    batch: list[int] = []
    for number in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[number] > n_tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


@torch.inference_mode()
def encode_texts(
    model: BERTEncoder,
    tokenizer: WordPiece,
    texts: Sequence[str],
    longest: int = MINILM_LENGTH,
    batch_tokens: int = 512,
) -> Float[Tensor, "N C"]:
    """Give a vector of length 1 per text: the mean over its tokens, [CLS] and [SEP] among them.

    The dot product of two vectors is the cosine: how much the texts are about the same. A text
    loses what comes after `longest` tokens. Texts are read from short to long, as
    `batches_by_length` groups them; the vectors come in the order of `texts`.
    """
    rows = [text_row(tokenizer, text, longest) for text in texts]
    vectors = torch.empty(len(rows), model.settings.d_model)
    for batch in batches_by_length([len(row) for row in rows], batch_tokens):
        ids, real = pad_rows([rows[number] for number in batch], model.settings.pad_token)
        padding = None if real.all() else ~real
        vectors[batch] = sentence_vectors(model(ids, padding=padding), padding)
    return vectors


def text_row(tokenizer: WordPiece, text: str, longest: int) -> list[int]:
    """Write a text as `[CLS] tokens [SEP]`, of `longest` tokens at most."""
    ids = tokenizer.encode(text)[: longest - 2]
    return [tokenizer.ids["[CLS]"], *ids, tokenizer.ids["[SEP]"]]
