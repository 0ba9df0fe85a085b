"""The ladder: every language model of the course, in bits per byte on the same held-out texts.

Two corpora: Shakespeare's plays, and the small web (its mixture "base"). `score_on_corpora` is the
one function that scores anything on them; `score_baselines` gives the rungs that are no neural
nets. `python -m course_lib.experiments.ladder` remakes what is stored in `data/ladder`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, product

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.assets import DATA_FOLDER
from course_lib.files import read_json, write_json
from course_lib.inference import baselines, evaluate
from course_lib.inference.evaluate import DocumentScorer
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import batches, bpe, small_web
from course_lib.text import corpus as texts
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train

LADDER_FOLDER = DATA_FOLDER / "ladder"

POEM_TITLES = ("lover's-complaint", "pilgrim", "phoenix", "lucrece", "sonnets")
HELD_OUT_PLAYS = ("plays/the-tempest", "plays/twelfth-night")
# of the small web: another seed than anybody trains on
HELD_OUT_SEED, HELD_OUT_BYTES = 1_000_000, 100_000
NGRAM_ORDERS = (1, 2, 3, 5, 8)  # of the n-grams: bytes looked at, the predicted one included


@dataclass(frozen=True)
class LadderCorpus:
    """Documents to learn from, others to be scored on, and a tokenizer learnt from the first."""

    documents: tuple[str, ...]
    held_out: tuple[str, ...]
    tokenizer: bpe.Tokenizer

    @cached_property
    def tokens(self) -> Int[Tensor, "N"]:
        """All documents as one row of tokens for `shuffled_windows`, an end token after each."""
        ids = (
            self.tokenizer.encode(document, allowed_special="all") for document in self.documents
        )
        return batches.token_stream(ids, self.tokenizer.special_tokens[END_OF_TEXT])

    def scorer(self, model: nn.Module) -> DocumentScorer:
        """Make a scorer of a language model that was trained on `tokens`."""
        return evaluate.transformer_scorer(
            model, self.tokenizer, END_OF_TEXT, allowed_special="all"
        )


@cache
def ladder_corpus(name: str) -> LadderCorpus:
    """Give the "plays" or the "small web". Takes seconds the first time, nothing after that."""
    if name not in LADDER_CORPORA:
        raise ValueError(f"no corpus {name!r}; there are {', '.join(LADDER_CORPORA)}")
    return LADDER_CORPORA[name]()


def score_on_corpora(scorer: DocumentScorer | Mapping[str, DocumentScorer]) -> dict[str, float]:
    """Score a predictor on the held-out texts of both corpora: bits per byte.

    Predictors that learnt one corpus each are given by name, as in `{"plays": ..., "small web":
    ...}`; of a mapping only the corpora in it are scored.
    """
    scorers = scorer if isinstance(scorer, Mapping) else dict.fromkeys(LADDER_CORPORA, scorer)
    return {
        name: evaluate.evaluate_bits_per_byte(each, ladder_corpus(name).held_out)
        for name, each in scorers.items()
    }


def score_baselines() -> dict[str, dict[str, float]]:
    """Score what is no neural net on both corpora, `{rung: {corpus: bits per byte}}`.

    Takes half a minute. A compressor gets the held-out documents as one file, since a file per
    document would mostly be headers.
    """
    rungs: dict[str, dict[str, float]] = defaultdict(dict)
    score = evaluate.evaluate_bits_per_byte
    for name in LADDER_CORPORA:
        documents, held_out = ladder_corpus(name).documents, ladder_corpus(name).held_out
        one_file = ["".join(held_out)]
        after_training = baselines.xz_bits_after("".join(documents))
        rungs["8 bits, no guess"][name] = score(baselines.uniform_bits, held_out)
        rungs["gzip"][name] = score(baselines.gzip_bits, one_file)
        rungs["xz, after the training text"][name] = score(after_training, one_file)
        for order in NGRAM_ORDERS:
            counts = baselines.NGramModel(documents, order)
            rungs[f"{order}-grams of bytes"][name] = score(counts, held_out)
    return dict(rungs)


def train_ladder_gpt2(corpus: LadderCorpus, steps: int = 900, seed: int = 0) -> GPT2:
    """Train a GPT-2 of three layers on a corpus.

    Takes half a minute on the small web, more on the plays.
    """
    torch.manual_seed(seed)
    model = GPT2(
        GPT2Settings(corpus.tokenizer.n_vocab, max_seq_len=64, d_model=64, n_layers=3, n_heads=4)
    )
    windows = batches.shuffled_windows(
        corpus.tokens, batch_size=16, length=model.settings.max_seq_len, seed=seed
    )
    train(model, windows, TrainSettings(steps, muon_lr=0.04, adam_lr=0.01))
    return model


def score_gpt2(seeds: Sequence[int] = (0, 1, 2)) -> dict[str, dict[str, list[float]]]:
    """Train and score GPT-2 on each corpus: `{"GPT-2": {corpus: bits per byte, seed by seed}}`."""
    scores: dict[str, list[float]] = {name: [] for name in LADDER_CORPORA}
    for name, seed in product(LADDER_CORPORA, seeds):
        corpus = ladder_corpus(name)
        scorer = corpus.scorer(train_ladder_gpt2(corpus, seed=seed))
        scores[name].append(score_on_corpora({name: scorer})[name])
    return {"GPT-2": scores}


def save_rungs(name: str, rungs: Mapping[str, Mapping[str, float | Sequence[float]]]) -> None:
    """Keep the scores of slow rungs in `data/ladder`, for the lessons that show the ladder."""
    LADDER_FOLDER.mkdir(exist_ok=True)
    write_json(LADDER_FOLDER / f"{name}.json", "rungs of the ladder", 1, rungs)


def load_rungs(name: str) -> dict[str, dict[str, float | list[float]]]:
    """Read what `save_rungs` kept. Raises ValueError if the file is damaged."""
    return read_json(LADDER_FOLDER / f"{name}.json", "rungs of the ladder", 1)


def plays_corpus() -> LadderCorpus:
    """Shakespeare's plays: two held out, the poems left away, a vocabulary of 2048 tokens."""
    works = {
        work.url: work.text
        for work in texts.play_documents()
        if not any(poem in work.url for poem in POEM_TITLES)
    }
    held_out = tuple(works.pop(url) for url in HELD_OUT_PLAYS)
    documents = tuple(works.values())
    tokenizer = bpe.train_bpe(documents, 2048, special_tokens=[END_OF_TEXT])
    return LadderCorpus(documents, held_out, tokenizer)


def small_web_corpus() -> LadderCorpus:
    """The small web: three megabytes, a hundred kilobytes held out, a vocabulary of 512 tokens."""
    documents, others = (
        tuple(each.text for each in small_web.draw_clean_documents(size, seed, mixture="base"))
        for size, seed in ((3.0, 0), (0.2, HELD_OUT_SEED))
    )
    known = set(documents)
    held_out = take_bytes(HELD_OUT_BYTES, [text for text in others if text not in known])
    tokenizer = bpe.train_bpe(documents, 512, bpe.WORD_PATTERN, SPECIAL_TOKENS)
    return LadderCorpus(documents, held_out, tokenizer)


def take_bytes(n_bytes: int, documents: Sequence[str]) -> tuple[str, ...]:
    """Take the first documents that hold at least `n_bytes` together.

    >>> take_bytes(4, ["abc", "de", "f"])
    ('abc', 'de')
    """
    ends = list(accumulate(len(document.encode()) for document in documents))
    return tuple(documents[: bisect_left(ends, n_bytes) + 1])


LADDER_CORPORA: dict[str, Callable[[], LadderCorpus]] = {
    "plays": plays_corpus,
    "small web": small_web_corpus,
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_rungs("no_nets", score_baselines())
    save_rungs("gpt2", score_gpt2())  # some five minutes
