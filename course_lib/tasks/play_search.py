"""Find a scene of Shakespeare by a question in plain words: by what it means, or by its words.

passages = play_passages(SEARCH_PLAYS)
search = PlaySearch(passages, *load_minilm())
search.by_meaning("a ghost tells his son who has murdered him").best(3)
search.by_words("a ghost tells his son who has murdered him").best(3)
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from course_lib.inference.encode import encode_texts
from course_lib.models.bert import BERTEncoder
from course_lib.text.plays import PlayPassage
from course_lib.text.wordpiece import WordPiece, bert_words

SEARCH_PLAYS = ("Hamlet", "Macbeth", "Romeo and Juliet")
BM25_GAIN, BM25_LENGTH = 1.2, 0.75
# Questions as somebody asks who does not know the text, and the scene in which the answer stands,
# as the edition numbers it.
SCENE_QUESTIONS = (
    ("a ghost tells his son who has murdered him", "Hamlet 1.5"),
    ("a father's advice: neither borrow money nor lend it", "Hamlet 1.3"),
    ("is it better to go on suffering or to end one's own life?", "Hamlet 3.1"),
    ("a girl drowns in a stream among flowers", "Hamlet 4.7"),
    ("he holds the skull of a jester whom he knew as a child", "Hamlet 5.1"),
    ("the king kneels and prays, but cannot repent the killing of his brother", "Hamlet 3.3"),
    ("a man sees a knife in the air in front of him", "Macbeth 2.1"),
    ("she walks in her sleep and cannot wash the blood off her hands", "Macbeth 5.1"),
    ("witches cook a soup of animals", "Macbeth 4.1"),
    ("life is meaningless, like an actor who is soon forgotten", "Macbeth 5.5"),
    ("a wife reads her husband's letter about what the witches foretold", "Macbeth 1.5"),
    ("the drunken doorkeeper lets somebody in", "Macbeth 2.1"),
    ("why must you have that name? be called something else", "Romeo and Juliet 2.2"),
    ("the lovers do not want the morning to come, which bird is singing?", "Romeo and Juliet 3.5"),
    ("a tiny fairy drives over sleepers and brings them dreams", "Romeo and Juliet 1.4"),
    ("he buys poison from a poor chemist", "Romeo and Juliet 5.1"),
    ("a friend is stabbed and curses both families as he dies", "Romeo and Juliet 3.1"),
    ("a potion will make her look dead for two days", "Romeo and Juliet 4.1"),
)


class FoundPassages(NamedTuple):
    """Every passage with its score for one question."""

    passages: Sequence[PlayPassage]
    scores: Float[Tensor, "N"]

    def best(self, k: int = 3) -> list[tuple[float, PlayPassage]]:
        """Give the `k` passages with the highest scores, highest first."""
        scores, order = self.scores.topk(k)
        return list(zip(scores.tolist(), (self.passages[i] for i in order.tolist()), strict=True))

    def rank_of(self, place: str) -> int:
        """Tell at which place, from 1, the first passage of a scene stands.

        Raises ValueError for a scene that no passage is of.
        """
        inside = torch.tensor([passage.place == place for passage in self.passages])
        if not inside.any():
            raise ValueError(f"no passage is of {place}")
        return int((self.scores > self.scores[inside].max()).sum()) + 1


class PlaySearch:
    """Passages, and what is computed of them once: a vector each, and the words of each.

    1,000 passages take some 15 seconds of one processor, a question some milliseconds.
    """

    def __init__(
        self, passages: Sequence[PlayPassage], model: BERTEncoder, tokenizer: WordPiece
    ) -> None:
        self.passages, self.model, self.tokenizer = passages, model, tokenizer
        texts = [passage.text for passage in passages]
        self.vectors = encode_texts(model, tokenizer, texts)
        self.counts = [Counter(bert_words(text)) for text in texts]

    def by_meaning(self, question: str) -> FoundPassages:
        """Score passages by the cosine between their vector and the question's."""
        vector = encode_texts(self.model, self.tokenizer, [question])[0]
        return FoundPassages(self.passages, self.vectors @ vector)

    def by_words(self, question: str) -> FoundPassages:
        """Score passages by the question's words that stand in them: BM25."""
        return FoundPassages(self.passages, bm25_scores(bert_words(question), self.counts))


def bm25_scores(
    words: Sequence[str],
    counts: Sequence[Counter],
    gain: float = BM25_GAIN,
    length: float = BM25_LENGTH,
) -> Float[Tensor, "N"]:
    """Score texts, given as counts of words, by the words that are asked for.

    A word counts more if few texts have it, and less for each time that it comes again; a long text
    counts less. Source: Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework",
    section 3.4; the logarithm has 1 added, as in Lucene, so that no word counts against a text.
    """
    sizes = torch.tensor([float(count.total()) for count in counts])
    norm = gain * (1 - length + length * sizes / sizes.mean())
    scores = torch.zeros(len(counts))
    for word in words:
        times = torch.tensor([float(count[word]) for count in counts])
        n = int((times > 0).sum())
        rarity = math.log(1 + (len(counts) - n + 0.5) / (n + 0.5))
        scores += rarity * times * (gain + 1) / (times + norm)
    return scores


def scene_ranks(
    find: Callable[[str], FoundPassages], questions: Sequence[tuple[str, str]] = SCENE_QUESTIONS
) -> list[int]:
    """Ask every question; tell at which place the first passage of the right scene came."""
    return [find(question).rank_of(place) for question, place in questions]
