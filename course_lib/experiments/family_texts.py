"""What the family of BERT reads: passages of the small web's English pages, in one layout for all.

A row is `[CLS] passage [SEP]`, padded to 32 tokens; a passage is as many whole sentences of a page
as fit. Systems that are trained on pairs of texts also read `[CLS] A [SEP] B [SEP]`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from course_lib.assets import DATA_FOLDER
from course_lib.text import bpe
from course_lib.text.batches import pad_rows
from course_lib.text.corpus.document import Document
from course_lib.text.small_web import draw_clean_documents
from course_lib.text.text_pairs import PairRows, Sentences, TextPair, joined_sentences, pair_rows

FAMILY_FOLDER = DATA_FOLDER / "family"
FAMILY_SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
PAD_TOKEN, CLS_TOKEN, SEP_TOKEN, MASK_TOKEN = range(4)
FAMILY_VOCABULARY, FAMILY_LENGTH = 1024, 32  # tokens; each word of the small web's world is one
FAMILY_MEGABYTES, FAMILY_SEED = 3.0, 1
FAMILY_HELD_OUT_MEGABYTES, FAMILY_HELD_OUT_SEED = 0.3, 2
# up to a full stop or an exclamation mark that a space follows, which begins the next
SENTENCES = re.compile(r".+?(?:[.!](?=\s)|\Z)", re.DOTALL)
FAMILY_SOURCES = ("tale", "encyclopaedia", "questions", "dialogue", "shop")
FAMILY_MOODS, FAMILY_AUTHORS = ("good", "bad"), ("ada", "bruno", "chen", "dora")


class FamilyPassages(NamedTuple):
    """Passages as rows, and of which page each is, counted from 0."""

    ids: Int[Tensor, "N T"]
    page: Int[Tensor, "N"]


def draw_family_pages(megabytes: float, seed: int) -> list[Document]:
    """Draw pages of every kind, and keep the English ones."""
    pages = draw_clean_documents(megabytes, seed, "pages")
    return [page for page in pages if page.labels["language"] == "en"]


def train_family_tokenizer() -> bpe.Tokenizer:
    """Learn the tokens of all models of the family, from a third of what they read."""
    texts = [page.text for page in draw_family_pages(FAMILY_MEGABYTES / 3, FAMILY_SEED)]
    return bpe.train_bpe(texts, FAMILY_VOCABULARY, special_tokens=FAMILY_SPECIALS)


@cache
def family_tokenizer() -> bpe.Tokenizer:
    """Read the shipped tokenizer."""
    return bpe.Tokenizer.load(FAMILY_FOLDER / "tokenizer.json")


def encode_family(text: str) -> list[int]:
    """Encode a text; the special tokens come first in the vocabulary, so all others move up.

    RoBERTa counts places from behind the padding's id, which for that has to be small.
    """
    return [(token + len(FAMILY_SPECIALS)) % FAMILY_VOCABULARY for token in _encode(text)]


def _encode(text: str) -> list[int]:
    return family_tokenizer().encode(text)


def decode_family(ids: Iterable[int] | Int[Tensor, "T"]) -> str:
    """Write ids as text, without padding; special tokens show by their names.

    >>> decode_family([CLS_TOKEN, *encode_family("Tom"), SEP_TOKEN, PAD_TOKEN])
    '[CLS]Tom[SEP]'
    """
    shown = [token for token in map(int, ids) if token != PAD_TOKEN]
    n = len(FAMILY_SPECIALS)
    return family_tokenizer().decode([(token - n) % FAMILY_VOCABULARY for token in shown])


@cache
def ordinary_ids() -> Int[Tensor, "W"]:
    """Give all ids but the special ones: what a hidden token may be replaced by."""
    return torch.arange(len(FAMILY_SPECIALS), FAMILY_VOCABULARY)


def maskable_places(ids: Int[Tensor, "*N T"]) -> Bool[Tensor, "*N T"]:
    """Tell where a token of the text stands: no padding, no border, nothing hidden."""
    return ids >= len(FAMILY_SPECIALS)


@cache
def word_start_ids() -> Int[Tensor, "W"]:
    """Give the ids of tokens that begin a word: those that begin with a space."""
    return torch.tensor([i for i in ordinary_ids().tolist() if decode_family([i])[:1] == " "])


def page_sentences(text: str) -> list[list[int]]:
    """Encode a page's sentences, each with the space or the newline before it."""
    return [encode_family(sentence) for sentence in SENTENCES.findall(text)]


def passage_rows(passages: Iterable[Sequence[int]]) -> Int[Tensor, "N T"]:
    """Write passages as `[CLS] passage [SEP]`."""
    rows = [[CLS_TOKEN, *passage, SEP_TOKEN] for passage in passages]
    return pad_rows(rows, PAD_TOKEN, length=FAMILY_LENGTH)[0]


def text_rows(texts: Iterable[str]) -> Int[Tensor, "N T"]:
    """Write short texts as rows; one that is too long loses its end."""
    return passage_rows(encode_family(text)[: FAMILY_LENGTH - 2] for text in texts)


def passages_of(pages: Iterable[Document]) -> FamilyPassages:
    """Cut pages into passages."""
    passages = [
        (number, passage)
        for number, page in enumerate(pages)
        for passage in grouped_sentences(page_sentences(page.text), FAMILY_LENGTH - 2)
    ]
    rows = passage_rows(joined_sentences(passage) for _, passage in passages)
    return FamilyPassages(rows, torch.tensor([number for number, _ in passages]))


@cache
def family_pages() -> list[Document]:
    """Draw the pages that all models of the family are trained on."""
    return draw_family_pages(FAMILY_MEGABYTES, FAMILY_SEED)


@cache
def held_out_family_pages() -> list[Document]:
    """Draw pages of the same world that nobody is trained on."""
    return draw_family_pages(FAMILY_HELD_OUT_MEGABYTES, FAMILY_HELD_OUT_SEED)


@cache
def family_passages() -> FamilyPassages:
    """Cut the training pages into passages, in a few seconds."""
    return passages_of(family_pages())


@cache
def held_out_passages() -> FamilyPassages:
    """Cut the held-out pages into passages, but for those that also stand in a training page."""
    found = passages_of(held_out_family_pages())
    known = {tuple(row) for row in family_passages().ids.tolist()}
    new = torch.tensor([tuple(row) not in known for row in found.ids.tolist()])
    return FamilyPassages(found.ids[new], found.page[new])


@cache
def passage_sentences() -> list[Sentences]:
    """Give each training passage of two sentences or more, sentence by sentence."""
    return sentences_by_passage(family_pages())


def sentences_by_passage(pages: Iterable[Document]) -> list[Sentences]:
    """Cut pages into passages that fit into a row as a pair, those of two sentences or more."""
    passages = (
        passage
        for page in pages
        for passage in grouped_sentences(page_sentences(page.text), FAMILY_LENGTH - 3)
    )
    return [passage for passage in passages if len(passage) > 1]


def family_pair_rows(pairs: Iterable[TextPair]) -> PairRows:
    """Write pairs as `[CLS] A [SEP] B [SEP]`."""
    return pair_rows(pairs, FAMILY_LENGTH, CLS_TOKEN, SEP_TOKEN, PAD_TOKEN)


def grouped_sentences(
    sentences: Iterable[Sequence[int]], longest: int
) -> Iterator[list[Sequence[int]]]:
    """Group sentences, in their order, as long as a group fits; a longer one is cut.

    >>> list(grouped_sentences([[1, 2], [3], [4, 5, 6]], longest=4))
    [[[1, 2], [3]], [[4, 5, 6]]]
    """
    group: list[Sequence[int]] = []
    for sentence in sentences:
        if group and sum(map(len, group)) + len(sentence) > longest:
            yield group
            group = []
        group.append(sentence[:longest])
    if group:
        yield group
