"""Solutions of lesson 03; the notebook quotes them."""

from collections import Counter
from itertools import pairwise

from course_lib.text import bpe


def count_pairs_solution(ids):
    return Counter(pairwise(ids))


def merge_solution(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def learn_solution(text, n_merges):
    ids, merges = list(text.encode()), []
    for new_id in range(256, 256 + n_merges):
        counts = bpe.count_token_pairs(ids)
        pair = bpe.most_frequent_pair(counts)
        if counts[pair] < 2:
            break
        ids = bpe.merge_pair(ids, pair, new_id)
        merges.append(pair)
    return merges


def encode_piece_solution(piece, ranks):
    parts = [bytes([byte]) for byte in piece]
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return [ranks[part] for part in parts]
        i = min(found)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def prompt_solution(tokenizer, user_text):
    special = tokenizer.special_tokens
    return [special["<|user|>"], *tokenizer.encode(user_text), special["<|assistant|>"]]


def streamed_text_solution(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        whole = waiting.decode(errors="ignore")
        waiting = waiting[len(whole.encode()) :]
        shown.append(whole)
    return shown
