"""Byte-pair encoding: learn a vocabulary from text, turn text into token ids and back.

Ids 0-255 are the bytes themselves, then come the merges in the order in which they were learnt,
then special tokens. Sources: Sennrich, Haddow, Birch 2016 (BPE for words); Radford et al. 2019,
section 2.2 (on bytes, split by a pattern); DeepSeek LLM 2024, section 2.1 (digits split singly).
"""

from course_lib.text.bpe.patterns import (
    DIGITS_PATTERN,
    GPT2_PATTERN,
    WORD_PATTERN,
    checked_pattern,
    split_pieces,
    stream_pieces,
)
from course_lib.text.bpe.published import (
    gguf_tokenizer,
    printable_bytes,
    read_gpt2_tokenizer,
    smollm2_tokenizer,
)
from course_lib.text.bpe.tokenizer import Tokenizer, merge_pair
from course_lib.text.bpe.training import (
    count_token_pairs,
    learn_merges,
    most_frequent_pair,
    pop_best_pair,
    train_bpe,
    train_bpe_naive,
)

__all__ = [
    "DIGITS_PATTERN",
    "GPT2_PATTERN",
    "WORD_PATTERN",
    "Tokenizer",
    "checked_pattern",
    "count_token_pairs",
    "gguf_tokenizer",
    "learn_merges",
    "merge_pair",
    "most_frequent_pair",
    "pop_best_pair",
    "printable_bytes",
    "read_gpt2_tokenizer",
    "smollm2_tokenizer",
    "split_pieces",
    "stream_pieces",
    "train_bpe",
    "train_bpe_naive",
]
