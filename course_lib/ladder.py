"""The ladder: every language model of the course, scored in bits per byte on the same held-out texts.

Two corpora: Shakespeare's plays, and the small web (its mixture "base"). `score` is the one function that scores
anything on them; `no_nets` gives the rungs that are no neural nets. `python -m course_lib.ladder` remakes what is
stored in `data/ladder`.
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

from course_lib.assets import DATA
from course_lib.files import read_json, write_json
from course_lib.inference import baselines, evaluate
from course_lib.inference.evaluate import Scorer
from course_lib.models.gpt2 import GPT2, GPT2Settings
from course_lib.text import batches, bpe, small_web
from course_lib.text import corpus as texts
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS
from course_lib.training.settings import TrainSettings
from course_lib.training.trainer import train

STORE = DATA / "ladder"

POEMS = ("lover's-complaint", "pilgrim", "phoenix", "lucrece", "sonnets")
HELD_OUT_PLAYS = ("plays/the-tempest", "plays/twelfth-night")
HELD_OUT_SEED, HELD_OUT_BYTES = 1_000_000, 100_000      # of the small web: another seed than anybody trains on
ORDERS = (1, 2, 3, 5, 8)                                # of the n-grams: bytes looked at, the predicted one included


@dataclass(frozen=True)
class Corpus:
    """Documents to learn from, others to be scored on, and a tokenizer learnt from the first."""

    documents: tuple[str, ...]
    held_out: tuple[str, ...]
    tokenizer: bpe.Tokenizer

    @cached_property
    def tokens(self) -> Int[Tensor, "N"]:
        """All documents as one row of tokens, an end token after each: for `batches.windows`."""
        ids = (self.tokenizer.encode(document, allowed_special="all") for document in self.documents)
        return batches.stream(ids, self.tokenizer.special_tokens[END_OF_TEXT])

    def scorer(self, model: nn.Module) -> Scorer:
        """Make a scorer of a language model that was trained on `tokens`."""
        return evaluate.transformer(model, self.tokenizer, END_OF_TEXT, allowed_special="all")


@cache
def corpus(name: str) -> Corpus:
    """Give the "plays" or the "small web". Takes seconds the first time, nothing after that."""
    if name not in CORPORA:
        raise ValueError(f"no corpus {name!r}; there are {', '.join(CORPORA)}")
    return CORPORA[name]()


def score(scorer: Scorer | Mapping[str, Scorer]) -> dict[str, float]:
    """Score a predictor on the held-out texts of both corpora: bits per byte.

    Predictors that learnt one corpus each are given by name, as in `{"plays": ..., "small web": ...}`; of a mapping
    only the corpora in it are scored.
    """
    scorers = scorer if isinstance(scorer, Mapping) else dict.fromkeys(CORPORA, scorer)
    return {name: evaluate.bits_per_byte(each, corpus(name).held_out) for name, each in scorers.items()}


def no_nets() -> dict[str, dict[str, float]]:
    """Score what is no neural net on both corpora, `{rung: {corpus: bits per byte}}`. Takes half a minute.

    A compressor gets the held-out documents as one file, since a file per document would mostly be headers.
    """
    rungs: dict[str, dict[str, float]] = defaultdict(dict)
    for name in CORPORA:
        documents, held_out = corpus(name).documents, corpus(name).held_out
        rungs["8 bits, no guess"][name] = evaluate.bits_per_byte(baselines.uniform, held_out)
        rungs["gzip"][name] = evaluate.bits_per_byte(baselines.gzip_alone, ["".join(held_out)])
        after_training = baselines.xz_after("".join(documents))
        rungs["xz, after the training text"][name] = evaluate.bits_per_byte(after_training, ["".join(held_out)])
        for order in ORDERS:
            counts = baselines.NGram(documents, order)
            rungs[f"{order}-grams of bytes"][name] = evaluate.bits_per_byte(counts, held_out)
    return dict(rungs)


def climb(corpus: Corpus, steps: int = 900, seed: int = 0) -> GPT2:
    """Train a GPT-2 of three layers on a corpus. Takes half a minute on the small web, more on the plays."""
    torch.manual_seed(seed)
    model = GPT2(GPT2Settings(corpus.tokenizer.n_vocab, max_seq_len=64, d_model=64, n_layers=3, n_heads=4))
    windows = batches.windows(corpus.tokens, batch_size=16, length=model.settings.max_seq_len, seed=seed)
    train(model, windows, TrainSettings(steps, muon_lr=0.04, adam_lr=0.01))
    return model


def gpt2(seeds: Sequence[int] = (0, 1, 2)) -> dict[str, dict[str, list[float]]]:
    """Train and score GPT-2 on each corpus, as `{"GPT-2": {corpus: bits per byte, one for each seed}}`."""
    scores: dict[str, list[float]] = {name: [] for name in CORPORA}
    for name, seed in product(CORPORA, seeds):
        scores[name].append(score({name: corpus(name).scorer(climb(corpus(name), seed=seed))})[name])
    return {"GPT-2": scores}


def save(name: str, rungs: Mapping[str, Mapping[str, float | Sequence[float]]]) -> None:
    """Keep the scores of rungs that take long in `data/ladder`, for the lessons that show the ladder."""
    STORE.mkdir(exist_ok=True)
    write_json(STORE / f"{name}.json", "rungs of the ladder", 1, rungs)


def load(name: str) -> dict[str, dict[str, float | list[float]]]:
    """Read what `save` kept. Raises ValueError if the file is damaged."""
    return read_json(STORE / f"{name}.json", "rungs of the ladder", 1)


def plays() -> Corpus:
    """Shakespeare's plays: two held out, the poems left away, a vocabulary of 2048 tokens."""
    works = {work.url: work.text for work in texts.plays() if not any(poem in work.url for poem in POEMS)}
    held_out = tuple(works.pop(url) for url in HELD_OUT_PLAYS)
    documents = tuple(works.values())
    return Corpus(documents, held_out, bpe.train(documents, 2048, special_tokens=[END_OF_TEXT]))


def web() -> Corpus:
    """The small web: three megabytes, a hundred kilobytes of other documents, a vocabulary of 512 tokens."""
    documents = tuple(document.text for document in small_web.documents(3.0, seed=0, mixture="base"))
    others = [document.text for document in small_web.documents(0.2, HELD_OUT_SEED, mixture="base")]
    known = set(documents)
    held_out = up_to(HELD_OUT_BYTES, [text for text in others if text not in known])
    return Corpus(documents, held_out, bpe.train(documents, 512, bpe.WORD_PATTERN, SPECIAL_TOKENS))


def up_to(n_bytes: int, documents: Sequence[str]) -> tuple[str, ...]:
    """Take the first documents that hold at least `n_bytes` together.

    >>> up_to(4, ["abc", "de", "f"])
    ('abc', 'de')
    """
    ends = list(accumulate(len(document.encode()) for document in documents))
    return tuple(documents[: bisect_left(ends, n_bytes) + 1])


CORPORA: dict[str, Callable[[], Corpus]] = {"plays": plays, "small web": web}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save("no_nets", no_nets())
    save("gpt2", gpt2())            # some five minutes
