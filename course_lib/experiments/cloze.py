"""One measure for readers of both sides and of one: a token is hidden in a passage; which was it?

The places are the same for all. A masked model reads the passage with [MASK] there; XLNet asks its
query stream; a left-to-right model writes its best candidates into the passage, one by one, and
takes the one with which the whole passage is likeliest.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from course_lib.experiments import family_texts as texts
from course_lib.text.small_web.world import WORD_CLASSES

CLOZE_PLACES, CLOZE_CANDIDATES, CLOZE_CHUNK = 700, 20, 100


class ClozePlaces(NamedTuple):
    """Passages, a column of each, and the token that stands there."""

    ids: Int[Tensor, "N T"]
    columns: Int[Tensor, "N"]
    answers: Int[Tensor, "N"]
    page: Int[Tensor, "N"]  # of `held_out_family_pages`

    def hidden(self) -> Int[Tensor, "N T"]:
        """Give the passages with [MASK] at the places."""
        return self.ids.scatter(1, self.columns[:, None], texts.MASK_TOKEN)

    def chunks(self) -> Iterator["ClozePlaces"]:
        """Cut the places into batches."""
        return map(ClozePlaces, *(field.split(CLOZE_CHUNK) for field in self))


class ClozeScore(NamedTuple):
    """How many of the hidden tokens were the likeliest, and the mean surprise at them, in nats.

    `world_accuracy` is over the words that name somebody, somewhere or something.
    """

    accuracy: float
    world_accuracy: float
    nats: float


@cache
def cloze_places(n: int = CLOZE_PLACES, seed: int = 3) -> ClozePlaces:
    """Draw places of held-out passages, one per passage, among those that have 12 tokens."""
    ids, page = texts.held_out_passages()
    long_enough = (texts.maskable_places(ids).sum(1) >= 12).nonzero()[:, 0]
    if n > len(long_enough):
        raise ValueError(f"{n} places of {len(long_enough)} passages")
    generator = torch.Generator().manual_seed(seed)
    rows = long_enough[torch.randperm(len(long_enough), generator=generator)[:n]]
    ids, page = ids[rows], page[rows]
    columns = torch.multinomial(texts.maskable_places(ids).float(), 1, generator=generator)
    return ClozePlaces(ids, columns[:, 0], ids.gather(1, columns)[:, 0], page)


@cache
def world_word_ids() -> Int[Tensor, "W"]:
    """Give the tokens that are names, species, places, things, colours, foods or moods."""
    words = [word for words in WORD_CLASSES.values() for word in words]
    encoded = [texts.encode_family(form) for word in words for form in (word, " " + word)]
    return torch.tensor(sorted({tokens[0] for tokens in encoded if len(tokens) == 1}))


def cloze_score(logits: Float[Tensor, "N V"], places: ClozePlaces) -> ClozeScore:
    """Judge a table of scores, a row for each place."""
    right = (logits.argmax(-1) == places.answers).float()
    world = torch.isin(places.answers, world_word_ids())
    nats = F.cross_entropy(logits, places.answers).item()
    return ClozeScore(right.mean().item(), right[world].mean().item(), nats)


@torch.no_grad()
def score_by_chunks(
    logits_of: Callable[[ClozePlaces], Float[Tensor, "N V"]], places: ClozePlaces
) -> ClozeScore:
    return cloze_score(torch.cat([logits_of(part) for part in places.chunks()]), places)


def masked_cloze(model: nn.Module, places: ClozePlaces) -> ClozeScore:
    """Score a masked language model: [MASK] stands at the place."""

    def logits_of(part: ClozePlaces) -> Float[Tensor, "N V"]:
        hidden = model.hidden(part.hidden(), padding=part.ids == texts.PAD_TOKEN)
        return model.logits(hidden[torch.arange(len(hidden)), part.columns])

    return score_by_chunks(logits_of, places)


def permuted_cloze(model: nn.Module, places: ClozePlaces) -> ClozeScore:
    """Score XLNet: the place is the last of the order, so that its query hears all the others."""

    def logits_of(part: ClozePlaces) -> Float[Tensor, "N V"]:
        unseen = F.one_hot(part.columns, part.ids.shape[1]).bool()[:, None]
        padding, targets = part.ids == texts.PAD_TOKEN, part.columns[:, None]
        unseen = unseen.expand(-1, part.ids.shape[1], -1)
        return model(part.ids, padding=padding, unseen=unseen, targets=targets)[:, 0]

    return score_by_chunks(logits_of, places)


def left_cloze(model: nn.Module, places: ClozePlaces) -> ClozeScore:
    """Score a left-to-right model that may look at the left side only."""

    def logits_of(part: ClozePlaces) -> Float[Tensor, "N V"]:
        hidden = model.hidden(part.ids)
        return model.logits(hidden[torch.arange(len(hidden)), part.columns - 1][:, None])[:, 0]

    return score_by_chunks(logits_of, places)


def rescored_cloze(
    model: nn.Module, places: ClozePlaces, candidates: int = CLOZE_CANDIDATES
) -> ClozeScore:
    """Score a left-to-right model by whole passages, one with each of its best candidates.

    A token that is no candidate counts as impossible, with 10 nats at the least.
    """

    def logits_of(part: ClozePlaces) -> Float[Tensor, "N V"]:
        hidden, rows = model.hidden(part.ids), torch.arange(len(part.ids))
        left = model.logits(hidden[rows, part.columns - 1][:, None])[:, 0]
        best = left.topk(candidates).indices
        scores = torch.full_like(left, -torch.inf)
        for column in best.unbind(1):
            ids = part.ids.scatter(1, part.columns[:, None], column[:, None])
            scores[rows, column] = passage_log_probs(model, ids)
        return scores.log_softmax(-1).clamp(min=-10.0)

    return score_by_chunks(logits_of, places)


def passage_log_probs(model: nn.Module, ids: Int[Tensor, "N T"]) -> Float[Tensor, "N"]:
    """Sum the log-probabilities of each row's tokens but the first, in nats, padding left out."""
    log_probs = model(ids[:, :-1]).log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return log_probs.masked_fill(ids[:, 1:] == texts.PAD_TOKEN, 0.0).sum(1)


class NeighbourCounts(NamedTuple):
    """How often each token stood behind its left neighbour, between both, and at all."""

    tokens: Counter
    behind: dict[int, Counter]
    between: dict[tuple[int, int], Counter]


@cache
def neighbour_counts() -> NeighbourCounts:
    """Count the training passages: what counting alone knows."""
    tokens, behind, between = Counter(), defaultdict(Counter), defaultdict(Counter)
    for row in texts.family_passages().ids.tolist():
        for left, token, right in zip(row, row[1:], row[2:], strict=False):
            if token != texts.PAD_TOKEN:
                tokens[token] += 1
                behind[left][token] += 1
                between[left, right][token] += 1
    return NeighbourCounts(tokens, dict(behind), dict(between))


def counting_cloze(places: ClozePlaces, both_sides: bool = True) -> tuple[float, float]:
    """Guess what stood there most often, between its neighbours or behind the left one.

    Gives the accuracy over all places and over those of the world's words.
    """
    counts, guesses = neighbour_counts(), []
    for row, column in zip(places.ids.tolist(), places.columns.tolist(), strict=True):
        found: Sequence[Counter | None] = (
            counts.between.get((row[column - 1], row[column + 1])) if both_sides else None,
            counts.behind.get(row[column - 1]),
            counts.tokens,
        )
        guesses.append(next(filter(None, found)).most_common(1)[0][0])
    right = (torch.tensor(guesses) == places.answers).float()
    world = torch.isin(places.answers, world_word_ids())
    return right.mean().item(), right[world].mean().item()
