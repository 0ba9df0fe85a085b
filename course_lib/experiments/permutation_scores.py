"""What XLNet's order buys, in numbers: two hidden words that belong together, a text without
[MASK], a place of which only the left side is known, and what stood before the passage.

The two words are a preposition and a place, as in "on the farm": in the small web a place has one
preposition, and guesses that know nothing of each other join words that never stand together.
"""

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from course_lib.experiments import cloze
from course_lib.experiments import family_texts as texts
from course_lib.models.xlnet import XLNet
from course_lib.text.factorisation import unseen_in_order
from course_lib.text.small_web.world import PLACE_NAMES, WORD_CLASSES, WORLD_PLACES

PREPOSITIONS = ("in", "on", "at", "by")
PROBED_KINDS = ("person", "place", "thing", "colour", "food", "species")
WORD_PAIRS, PIECE_LENGTH = 200, 24
PROBE_LABELS, PROBE_DRAWS, PROBE_TESTS = 64, 3, 1000


# Two hidden words
# --------------------------------------------------------------------------------------------------


class WordPairs(NamedTuple):
    """Passages, and the columns of a preposition and of the place that belongs to it."""

    ids: Int[Tensor, "N T"]
    columns: Int[Tensor, "N 2"]


def word_id(word: str) -> int:
    """Give the token of a word inside a sentence. Raises a ValueError if it is not one token."""
    tokens = texts.encode_family(" " + word)
    if len(tokens) != 1:
        raise ValueError(f"{word!r} is {len(tokens)} tokens, not 1")
    return tokens[0]


@cache
def preposition_ids() -> Int[Tensor, "A"]:
    """Give the tokens of in, on, at and by."""
    return torch.tensor([word_id(word) for word in PREPOSITIONS])


@cache
def place_ids() -> Int[Tensor, "P"]:
    """Give the tokens of the ten places."""
    return torch.tensor([word_id(word) for word in PLACE_NAMES])


@cache
def never_together() -> Bool[Tensor, "A P"]:
    """Tell which preposition never stands before which place."""
    found = [WORLD_PLACES[place].inside for place in PLACE_NAMES]
    return torch.tensor([[word != own for own in found] for word in PREPOSITIONS])


def find_word_pairs(ids: Int[Tensor, "N T"]) -> WordPairs:
    """Find "preposition the place" in passages, the first of each passage that has one."""
    first = torch.isin(ids[:, :-2], preposition_ids()) & torch.isin(ids[:, 2:], place_ids())
    first &= ids[:, 1:-1] == word_id("the")
    rows = first.any(1)
    columns = first[rows].int().argmax(1)
    return WordPairs(ids[rows], torch.stack([columns, columns + 2], 1))


@cache
def held_out_word_pairs(n: int = WORD_PAIRS, seed: int = 4) -> WordPairs:
    """Draw pairs of held-out passages."""
    found = find_word_pairs(texts.held_out_passages().ids)
    rows = torch.randperm(len(found.ids), generator=torch.Generator().manual_seed(seed))[:n]
    return WordPairs(found.ids[rows], found.columns[rows])


def guess_hidden(
    model: nn.Module, ids: Int[Tensor, "N T"], columns: Int[Tensor, "N K"], in_order: bool = False
) -> Float[Tensor, "N K V"]:
    """Give the log-probabilities at hidden columns.

    A masked model reads [MASK] there; XLNet asks its query stream. `in_order` lets each of XLNet's
    guesses hear the tokens of the columns before it, as they stand in `ids`.
    """
    padding, rows = ids == texts.PAD_TOKEN, torch.arange(len(ids))[:, None]
    if not isinstance(model, XLNet):
        if in_order:
            raise ValueError("a masked model has no order: hide one column after the other")
        hidden = model.hidden(ids.scatter(1, columns, texts.MASK_TOKEN), padding=padding)
        return model.logits(hidden[rows, columns]).log_softmax(-1)
    places = torch.arange(columns.shape[1]) if in_order else torch.zeros(columns.shape[1]).long()
    rank = torch.full_like(ids, -1).scatter(1, columns, places.expand_as(columns))
    logits = model(ids, padding=padding, unseen=unseen_in_order(rank), targets=columns)
    return logits.log_softmax(-1)


@torch.no_grad()
def joint_at_once(model: nn.Module, pairs: WordPairs) -> Float[Tensor, "N A P"]:
    """Give log p(preposition) + log p(place), each guessed without knowing the other."""
    first, second = guess_hidden(model, *pairs).unbind(1)
    return first[:, preposition_ids(), None] + second[:, None, place_ids()]


@torch.no_grad()
def joint_by_chain(
    model: nn.Module, pairs: WordPairs, read_again: bool = False
) -> Float[Tensor, "N A P"]:
    """Give log p(preposition) + log p(place | preposition), each preposition tried in turn.

    XLNet does it in its order. With `read_again` the preposition is written into the text, which is
    read again with one hidden word: all that a masked model can do.
    """
    ids, columns = pairs
    first = guess_hidden(model, ids, columns)[:, 0]
    joint = []
    for word in preposition_ids():
        tried = ids.scatter(1, columns[:, :1], word.item())
        if read_again:
            second = guess_hidden(model, tried, columns[:, 1:])[:, 0]
        else:
            second = guess_hidden(model, tried, columns, in_order=True)[:, 1]
        joint.append(first[:, word, None] + second[:, place_ids()])
    return torch.stack(joint, 1)


def impossible_share(joint: Float[Tensor, "N A P"]) -> float:
    """Give the share of the pairs' probability that falls on pairs which never occur.

    Of the probability of all prepositions with all places, mean over rows.
    """
    probs = joint.flatten(1).softmax(-1).unflatten(1, joint.shape[1:])
    return probs[:, never_together()].sum(-1).mean().item()


def pair_nats(joint: Float[Tensor, "N A P"], pairs: WordPairs) -> float:
    """Give the mean surprise at the true pair, in nats."""
    words = pairs.ids.gather(1, pairs.columns)
    first = (words[:, :1] == preposition_ids()).int().argmax(1)
    second = (words[:, 1:] == place_ids()).int().argmax(1)
    return -joint[torch.arange(len(joint)), first, second].mean().item()


# A text without [MASK]
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def replaced_cloze(
    model: nn.Module, places: cloze.ClozePlaces, replace: bool = True, seed: int = 5
) -> float:
    """Give the accuracy at places where no [MASK] stands, but another word, or the word itself.

    What was there before? A masked model is asked at a token that it reads as a word; XLNet's query
    doesn't read it.
    """
    words, generator = texts.ordinary_ids(), torch.Generator().manual_seed(seed)
    drawn = words[torch.randint(len(words), places.answers.shape, generator=generator)]
    written = drawn if replace else places.answers
    ids = places.ids.scatter(1, places.columns[:, None], written[:, None])
    if isinstance(model, XLNet):
        guesses = guess_hidden(model, ids, places.columns[:, None])[:, 0]
    else:
        hidden = model.hidden(ids, padding=ids == texts.PAD_TOKEN)
        guesses = model.logits(hidden[torch.arange(len(ids)), places.columns])
    return (guesses.argmax(-1) == places.answers).float().mean().item()


@torch.no_grad()
def left_side_cloze(model: nn.Module, places: cloze.ClozePlaces) -> float:
    """Give the accuracy where all that stands behind the place is padding."""
    behind = torch.arange(places.ids.shape[1]) > places.columns[:, None]
    ids = places.ids.masked_fill(behind, texts.PAD_TOKEN)
    guesses = guess_hidden(model, ids, places.columns[:, None])[:, 0]
    return (guesses.argmax(-1) == places.answers).float().mean().item()


@cache
def word_kinds() -> Int[Tensor, "V"]:
    """Give each token's kind: name, place, thing, colour, food or species; -1 for all others."""
    kinds = torch.full((texts.FAMILY_VOCABULARY,), -1)
    for kind, name in enumerate(PROBED_KINDS):
        for word in WORD_CLASSES[name]:
            tokens = texts.encode_family(" " + word)
            if len(tokens) == 1:
                kinds[tokens[0]] = kind
    return kinds


@torch.no_grad()
def kind_probe(model: nn.Module, n_labels: int = PROBE_LABELS, draw: int = 0) -> float:
    """Read a word's kind from its last state in plain text, by a line learned from few labels.

    Words are split: no word of the test has a label. The line is ridge regression on one-hot kinds.
    """
    generator = torch.Generator().manual_seed(draw)
    labelled = torch.rand(texts.FAMILY_VOCABULARY, generator=generator) < 0.5
    kinds, ids = word_kinds(), texts.held_out_passages().ids
    states = torch.cat(
        [model.hidden(part, padding=part == texts.PAD_TOKEN) for part in ids.split(100)]
    )
    known = kinds[ids] >= 0

    def drawn(chosen: Bool[Tensor, "N T"], n: int) -> tuple[Tensor, Tensor]:
        rows, columns = chosen.nonzero(as_tuple=True)
        picked = torch.randperm(len(rows), generator=generator)[:n]
        return states[rows[picked], columns[picked]], kinds[ids[rows[picked], columns[picked]]]

    x, y = drawn(known & labelled[ids], n_labels)
    x_test, y_test = drawn(known & ~labelled[ids], PROBE_TESTS)
    mean, std = x.mean(0), x.std(0) + 1e-6
    x, x_test = (F.pad((each - mean) / std, (0, 1), value=1.0) for each in (x, x_test))
    wanted = F.one_hot(y, int(kinds.max()) + 1).float()
    line = torch.linalg.solve(x.T @ x + 10.0 * torch.eye(x.shape[1]), x.T @ wanted)
    return ((x_test @ line).argmax(-1) == y_test).float().mean().item()


# What stood before
# --------------------------------------------------------------------------------------------------


class WindowPairs(NamedTuple):
    """Two windows of a page, one after the other, without borders or padding."""

    before: Int[Tensor, "N T"]
    ids: Int[Tensor, "N T"]
    page: Int[Tensor, "N"]


def cut_window_pairs(pages) -> WindowPairs:
    """Cut pages into windows, and pair each with the one before it; a shorter end is left out."""
    before, ids, numbers = [], [], []
    for number, page in enumerate(pages):
        windows = torch.tensor(texts.encode_family(page.text)).split(PIECE_LENGTH)
        whole = [window for window in windows if len(window) == PIECE_LENGTH]
        before += whole[:-1]
        ids += whole[1:]
        numbers += [number] * len(whole[1:])
    return WindowPairs(torch.stack(before), torch.stack(ids), torch.tensor(numbers))


@cache
def family_windows() -> WindowPairs:
    """Cut the training pages."""
    return cut_window_pairs(texts.family_pages())


@torch.no_grad()
def memory_cloze(
    model: XLNet, remember: bool, n: int = cloze.CLOZE_PLACES, seed: int = 6
) -> cloze.ClozeScore:
    """Score places of held-out windows, with the window before in memory or without."""
    pairs = cut_window_pairs(texts.held_out_family_pages())
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(pairs.ids), generator=generator)[:n]
    columns = torch.randint(PIECE_LENGTH, (n,), generator=generator)
    before, ids, page = (field[rows] for field in pairs)
    unseen = F.one_hot(columns, PIECE_LENGTH).bool()[:, None].expand(-1, PIECE_LENGTH, -1)
    memory = model.read(before).memory if remember else None
    logits = model(ids, unseen=unseen, targets=columns[:, None], memory=memory)[:, 0]
    places = cloze.ClozePlaces(ids, columns, ids.gather(1, columns[:, None])[:, 0], page)
    return cloze.cloze_score(logits, places)
