"""Our byte-pair trainer and encoders beside tokenizers, rustbpe and tiktoken, on the plays, one
thread.

RAYON_NUM_THREADS=1 python -m benchmarks.bpe
"""

import os
from collections.abc import Callable, Mapping

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # before tokenizers and rustbpe are imported

import rustbpe  # noqa: E402
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers  # noqa: E402

from benchmarks.measure import cpu_seconds  # noqa: E402
from course_lib import assets  # noqa: E402
from course_lib.files import markdown_table  # noqa: E402
from course_lib.text import bpe  # noqa: E402

VOCAB_SIZE = 4096


def hugging_face(plays: list[str]) -> Tokenizer:
    """Train Hugging Face's tokenizer with the same split."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(bpe.DIGITS_PATTERN), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(plays, trainer)
    return tokenizer


def rust(plays: list[str]) -> rustbpe.Tokenizer:
    """Train rustbpe's tokenizer with the same split."""
    tokenizer = rustbpe.Tokenizer()
    tokenizer.train_from_iterator(iter(plays), VOCAB_SIZE, pattern=bpe.DIGITS_PATTERN)
    return tokenizer


def table(title: str, runs: Mapping[str, Callable[[], object]], megabytes: float) -> str:
    """Lay out one comparison: the last column is our time by theirs, so above 1 they are faster."""
    spent = cpu_seconds(runs, repeats=3)
    ours = spent["ours"]
    rows = [
        [name, f"{s:.2f}", f"{megabytes / s:.1f}", f"{ours / s:.2g}"] for name, s in spent.items()
    ]
    return markdown_table([title, "seconds", "MB/s", "speed by ours"], rows)


def main() -> str:
    """Measure training, then encoding; return both tables."""
    plays = [path.read_text() for path in assets.plays_files().values()]
    text = "\n".join(plays)
    megabytes = len(text.encode()) / 1e6
    ours, theirs, rusts = bpe.train_bpe(plays, VOCAB_SIZE), hugging_face(plays), rust(plays)
    tiktoken = ours.to_tiktoken()
    training = {
        "ours": lambda: bpe.train_bpe(plays, VOCAB_SIZE),
        "tokenizers": lambda: hugging_face(plays),
        "rustbpe": lambda: rust(plays),
    }
    encoding = {
        "ours": lambda: ours.encode(text),
        "ours, naive": lambda: ours.encode_naive(text),
        "tokenizers": lambda: [theirs.encode(play) for play in plays],
        "rustbpe": lambda: [rusts.encode(play) for play in plays],
        "tiktoken": lambda: tiktoken.encode_ordinary(text),
    }
    return "\n\n".join(
        [
            table(
                f"BPE training, vocabulary {VOCAB_SIZE}, {megabytes:.1f} MB", training, megabytes
            ),
            table("BPE encoding", encoding, megabytes),
        ]
    )


if __name__ == "__main__":
    print(main())
