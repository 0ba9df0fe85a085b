"""The checkers of lesson 03 accept right answers, however written, and tell typical wrong answers
what is wrong."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

from course_lib.lab.checks import bpe as check
from tests.lab.checks.cases import Case, tests_of


# -------------------------------------------------------------------------------------- count_pairs
def count_skeleton(ids): ...


def count_solution(ids):
    return Counter(pairwise(ids))


def count_by_hand(ids):
    counts = defaultdict(int)
    for i in range(len(ids) - 1):
        counts[ids[i], ids[i + 1]] += 1
    return dict(counts)


def count_as_a_set(ids):
    return dict.fromkeys(pairwise(ids), 1)


def count_every_other(ids):
    return Counter(zip(ids[::2], ids[1::2], strict=False))


def count_turned_round(ids):
    return Counter((b, a) for a, b in pairwise(ids))


def count_without_order(ids):
    return Counter((min(pair), max(pair)) for pair in pairwise(ids))


def count_without_the_last(ids):
    return Counter(pairwise(ids[:-1]))


def count_single_ids(ids):
    return Counter(ids)


def count_past_the_end(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(len(ids)))


def count_as_a_list(ids):
    return list(pairwise(ids))


# -------------------------------------------------------------------------------------------- merge
def merge_skeleton(ids, pair, new_id): ...


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


def merge_with_a_stack(ids, pair, new_id):
    merged, fresh = [], False
    for token in ids:
        if merged and not fresh and (merged[-1], token) == pair:
            merged[-1], fresh = new_id, True
        else:
            merged.append(token)
            fresh = False
    return merged


def merge_first_only(ids, pair, new_id):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return ids[:i] + [new_id] + ids[i + 2 :]
    return ids


def merge_one_step(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else ids[i] for i in range(len(ids))]


def merge_misses_the_end(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_compares_with_a_list(ids, pair, new_id):
    return merge_solution(ids, list(pair), new_id)


def merge_each_by_itself(ids, pair, new_id):
    return [new_id if token in pair else token for token in ids]


def merge_from_the_right(ids, pair, new_id):
    return merge_solution(ids[::-1], pair[::-1], new_id)[::-1]


def merge_twice_used(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 1 if tuple(ids[i + 1 : i + 3]) == pair else 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_in_place(ids, pair, new_id):
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_for_ever(ids, pair, new_id):
    i = 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            i += 2
    return ids


# -------------------------------------------------------------------------------------------- learn
def learn_skeleton(text, n_merges): ...


def learn_solution(text, n_merges):
    ids, merges = list(text.encode()), []
    for new_id in range(256, 256 + n_merges):
        counts = count_solution(ids)
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ids = merge_solution(ids, pair, new_id)
        merges.append(pair)
    return merges


def learn_by_sorting(text, n_merges):
    ids, merges = list(text.encode("utf-8")), []
    while len(merges) < n_merges:
        (pair, _), *_ = sorted(Counter(pairwise(ids)).items(), key=lambda item: (-item[1], item[0]))
        merges.append(pair)
        ids = merge_solution(ids, pair, 255 + len(merges))
    return merges


def learn(
    text,
    n_merges,
    start=list,
    first=256,
    key=lambda counts: lambda pair: (-counts[pair], pair),
    keep=True,
):
    """The loop with one thing to get wrong at a time."""
    ids, merges = start(text.encode()), []
    for new_id in range(first, first + n_merges):
        counts = count_solution(ids)
        pair = min(counts, key=key(counts))
        merged = merge_solution(ids, pair, new_id)
        ids = merged if keep else ids
        merges.append(pair)
    return merges


def learn_counted_once(text, n_merges):
    counts = count_solution(list(text.encode()))
    return sorted(counts, key=lambda pair: (-counts[pair], pair))[:n_merges]


def learn_ids_from_zero(text, n_merges):
    return learn(text, n_merges, first=0)


def learn_ids_from_257(text, n_merges):
    return learn(text, n_merges, first=257)


def learn_rarest(text, n_merges):
    return learn(text, n_merges, key=lambda counts: lambda pair: (counts[pair], pair))


def learn_forgets_the_merge(text, n_merges):
    return learn(text, n_merges, keep=False)


def learn_ties_to_the_largest(text, n_merges):
    return learn(
        text, n_merges, key=lambda counts: lambda pair: (-counts[pair], [-i for i in pair])
    )


def learn_characters(text, n_merges):
    ids, merges = list(text), []
    for new_id in range(n_merges):
        counts = count_solution(ids)
        merges.append(max(counts, key=counts.get))
        ids = merge_solution(ids, merges[-1], str(new_id))
    return merges


def learn_code_points(text, n_merges):
    ids, merges = [ord(character) for character in text], []
    for new_id in range(256, 256 + n_merges):
        counts = count_solution(ids)
        pair = min(counts, key=lambda pair: (-counts[pair], pair))
        ids = merge_solution(ids, pair, new_id)
        merges.append(pair)
    return merges


def learn_returns_ids(text, n_merges):
    ids = list(text.encode())
    for new_id, pair in enumerate(learn_solution(text, n_merges), 256):
        ids = merge_solution(ids, pair, new_id)
    return ids


# ------------------------------------------------------------------------------------- encode_piece
def encode_skeleton(piece, ranks): ...


def encode_solution(piece, ranks):
    parts = [bytes([byte]) for byte in piece]
    while len(parts) > 1:
        first, second = min(
            pairwise(parts), key=lambda pair: ranks.get(pair[0] + pair[1], math.inf)
        )
        if first + second not in ranks:
            break
        parts = merge_solution(parts, (first, second), first + second)
    return [ranks[part] for part in parts]


def encode_one_at_a_time(piece, ranks):
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return [ranks[part] for part in parts]
        _, i = min(found)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode_longest_first(piece, ranks):
    ids = []
    while piece:
        size = max(n for n in range(1, len(piece) + 1) if piece[:n] in ranks)
        ids.append(ranks[piece[:size]])
        piece = piece[size:]
    return ids


def encode_left_to_right(piece, ranks):
    parts, i = [bytes([byte]) for byte in piece], 0
    while i < len(parts) - 1:
        if parts[i] + parts[i + 1] in ranks and len(parts[i] + parts[i + 1]) == 2:
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        i += 1
    return [ranks[part] for part in parts]


def encode_once(piece, ranks):
    parts = [bytes([byte]) for byte in piece]
    pairs = [pair for pair in pairwise(parts) if pair[0] + pair[1] in ranks]
    if pairs:
        pair = min(pairs, key=lambda pair: ranks[pair[0] + pair[1]])
        parts = merge_solution(parts, pair, pair[0] + pair[1])
    return [ranks[part] for part in parts]


def encode_highest_rank(piece, ranks):
    parts = [bytes([byte]) for byte in piece]
    while any(a + b in ranks for a, b in pairwise(parts)):
        pair = max(pairwise(parts), key=lambda pair: ranks.get(pair[0] + pair[1], -1))
        parts = merge_solution(parts, pair, pair[0] + pair[1])
    return [ranks[part] for part in parts]


def encode_bytes_of_tokens(piece, ranks):
    names = {rank: token for token, rank in ranks.items()}
    return [names[i] for i in encode_solution(piece, ranks)]


def encode_nothing_joined(piece, ranks):
    return [ranks[bytes([byte])] for byte in piece]


def encode_longest_token_anywhere(piece, ranks):
    if not piece:
        return []
    if encode_solution(piece, ranks) == list(piece) and piece[1:] in ranks:
        return [piece[0], ranks[piece[1:]]]
    return encode_solution(piece, ranks)


def encode_forgets_single(piece, ranks):
    if len(piece) < 2:
        return []
    return encode_solution(piece, ranks)


# ------------------------------------------------------------------------------------------- prompt
def prompt_skeleton(tokenizer, user_text): ...


def prompt_solution(tokenizer, user_text):
    special = tokenizer.special_tokens
    return [special["<|user|>"], *tokenizer.encode(user_text), special["<|assistant|>"]]


def prompt_in_three_parts(tokenizer, user_text):
    opening = tokenizer.encode("<|user|>", allowed_special="all")
    return (
        opening
        + tokenizer.encode(user_text)
        + tokenizer.encode("<|assistant|>", allowed_special={"<|assistant|>"})
    )


def prompt_all_allowed(tokenizer, user_text):
    return tokenizer.encode(f"<|user|>{user_text}<|assistant|>", allowed_special="all")


def prompt_none_allowed(tokenizer, user_text):
    return tokenizer.encode(f"<|user|>{user_text}<|assistant|>")


def prompt_cuts(tokenizer, user_text):
    for name in tokenizer.special_tokens:
        user_text = user_text.replace(name, "")
    return prompt_solution(tokenizer, user_text)


def prompt_refuses(tokenizer, user_text):
    if any(name in user_text for name in tokenizer.special_tokens):
        raise ValueError("special token in the text")
    return prompt_solution(tokenizer, user_text)


def prompt_bare(tokenizer, user_text):
    return tokenizer.encode(user_text)


def prompt_nested(tokenizer, user_text):
    return [tokenizer.special_tokens["<|user|>"], tokenizer.encode(user_text), 257]


def prompt_as_text(tokenizer, user_text):
    return f"<|user|>{user_text}<|assistant|>"


# ------------------------------------------------------------------------------------ bits_per_byte
def bits_skeleton(nats, text): ...


def bits_solution(nats, text):
    return sum(nats) / math.log(2) / len(text.encode())


def bits_by_log2(nats, text):
    return -sum(math.log2(math.exp(-nat)) for nat in nats) / len(bytes(text, "utf-8"))


def bits_per_character(nats, text):
    return sum(nats) / math.log(2) / len(text)


def nats_per_byte(nats, text):
    return sum(nats) / len(text.encode())


def bits_times_ln2(nats, text):
    return sum(nats) * math.log(2) / len(text.encode())


def bits_per_token(nats, text):
    return sum(nats) / math.log(2) / len(nats)


def bits_of_the_mean(nats, text):
    return sum(nats) / len(nats) / math.log(2) / len(text.encode())


def bits_in_all(nats, text):
    return sum(nats) / math.log(2)


def bits_list(nats, text):
    return [nat / math.log(2) for nat in nats]


CASES = {
    check.count_pairs: Case(
        solution=count_solution,
        skeleton=count_skeleton,
        also_right=[count_by_hand],
        wrong=[
            (count_as_a_set, "A set forgets repetitions"),
            (count_every_other, "Pairs overlap"),
            (count_turned_round, "turned round"),
            (count_without_order, "Order matters"),
            (count_without_the_last, "Is the last pair left out"),
            (count_single_ids, "single ids are counted"),
            (count_past_the_end, "IndexError"),
            (count_as_a_list, "should be a dict"),
        ],
    ),
    check.merge: Case(
        solution=merge_solution,
        skeleton=merge_skeleton,
        also_right=[merge_with_a_stack],
        wrong=[
            (merge_first_only, "Only the first occurrence"),
            (merge_one_step, "move on by two places"),
            (merge_misses_the_end, "the last id is lost"),
            (merge_compares_with_a_list, "Nothing was merged"),
            (merge_each_by_itself, "one new id, not two"),
            (merge_from_the_right, "taken from the left"),
            (merge_twice_used, "used twice"),
            (merge_in_place, "Build a new one"),
            (merge_for_ever, "still running"),
        ],
    ),
    check.learn: Case(
        solution=learn_solution,
        skeleton=learn_skeleton,
        also_right=[learn_by_sorting],
        wrong=[
            (learn_counted_once, "Count the pairs again"),
            (learn_ids_from_zero, "New ids start at 256"),
            (learn_ids_from_257, "The first new id is 256"),
            (learn_rarest, "Is it the highest count"),
            (learn_forgets_the_merge, "The same pair comes twice"),
            (learn_ties_to_the_largest, "the tie goes to the smaller pair"),
            (learn_characters, "Start from bytes"),
            (learn_code_points, "é is two bytes"),
            (learn_returns_ids, "a list of pairs; it returned the ids"),
        ],
    ),
    check.encode_piece: Case(
        solution=encode_solution,
        skeleton=encode_skeleton,
        also_right=[encode_one_at_a_time],
        wrong=[
            (encode_longest_first, "nor the longest token decides"),
            (encode_left_to_right, "Neither the first place"),
            (encode_once, "go on until no neighbours can"),
            (encode_highest_rank, "but the lowest rank"),
            (encode_bytes_of_tokens, "look up their ids"),
            (encode_nothing_joined, "Nothing was joined"),
            (encode_longest_token_anywhere, "only two neighbours are joined"),
            (encode_forgets_single, "encode_piece(b'z', ranks)"),
        ],
    ),
    check.prompt: Case(
        solution=prompt_solution,
        skeleton=prompt_skeleton,
        also_right=[prompt_in_three_parts],
        wrong=[
            (prompt_all_allowed, "with no special token allowed"),
            (prompt_none_allowed, "became plain text"),
            (prompt_cuts, "part of the user's text is gone"),
            (prompt_refuses, "is a fair question"),
            (prompt_bare, "are missing"),
            (prompt_nested, "one flat list"),
            (prompt_as_text, "a list of ids, not text"),
        ],
    ),
    check.bits_per_byte: Case(
        solution=bits_solution,
        skeleton=bits_skeleton,
        also_right=[bits_by_log2],
        wrong=[
            (bits_per_character, "one character and three bytes"),
            (nats_per_byte, "nats per byte"),
            (bits_times_ln2, "you multiply by ln 2"),
            (bits_per_token, "bits per token"),
            (bits_of_the_mean, "averaged over tokens"),
            (bits_in_all, "Divide by its bytes"),
            (bits_list, "should be one number"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
