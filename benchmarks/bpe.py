"""Our byte-pair trainer and encoders beside Hugging Face's tokenizers and tiktoken, on the plays, one thread.

    RAYON_NUM_THREADS=1 python benchmarks/bpe.py

Times are process CPU seconds, best of three; the last column is the ratio to the fastest. Prints a Markdown table.
"""

import os
import time
from collections.abc import Callable

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # before tokenizers is imported

from course_lib import assets  # noqa: E402
from course_lib.text import bpe  # noqa: E402

VOCAB_SIZE = 4096


def seconds(run: Callable[[], object], times: int = 3) -> float:
    """The least CPU time of several runs."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        run()
        spent.append(time.process_time() - start)
    return min(spent)


def table(title: str, runs: dict[str, Callable[[], object]], megabytes: float) -> None:
    """Print one comparison."""
    measured = {name: seconds(run) for name, run in runs.items()}
    print(f"\n| {title} | seconds | MB/s | times the fastest |\n|---|---|---|---|")
    for name, spent in measured.items():
        print(f"| {name} | {spent:.2f} | {megabytes / spent:.1f} | {spent / min(measured.values()):.1f} |")


def hugging_face(plays: list[str]):
    """Train Hugging Face's tokenizer with the same split."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(bpe.DIGITS_PATTERN), "isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(plays, trainer)
    return tokenizer


def main() -> None:
    """Measure training, then encoding."""
    plays = [path.read_text() for path in assets.plays().values()]
    text = "\n".join(plays)
    megabytes = len(text.encode()) / 1e6
    ours, theirs = bpe.train(plays, VOCAB_SIZE), hugging_face(plays)
    ours.encode("warm up")
    training = {"ours (Python)": lambda: bpe.train(plays, VOCAB_SIZE), "tokenizers": lambda: hugging_face(plays)}
    table(f"train, vocabulary {VOCAB_SIZE}, {megabytes:.1f} MB", training, megabytes)
    encoding = {
        "ours, encode_naive (Python)": lambda: ours.encode_naive(text),
        "ours, encode (tiktoken)": lambda: ours.encode(text),
        "tokenizers": lambda: [theirs.encode(play) for play in plays],
    }
    table("encode", encoding, megabytes)


if __name__ == "__main__":
    main()
