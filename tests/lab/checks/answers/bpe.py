"""Answers to the exercises of lesson 03, written from its statements."""

import codecs
from collections import Counter, defaultdict
from functools import partial
from itertools import chain, combinations, pairwise

import numpy as np

from course_lib.text import bpe
from tests.lab.checks.answers.table import Answers, Slip

# Exercise 1: count_pairs(ids)


def pairs_by_index(ids):
    counts = defaultdict(int)
    for i in range(1, len(ids)):
        counts[ids[i - 1], ids[i]] += 1
    return counts


class PairsInNumpy:
    def __call__(self, ids):
        pairs = np.array(list(pairwise(ids)), dtype=int).reshape(-1, 2)
        distinct, times = np.unique(pairs, axis=0, return_counts=True)
        return {tuple(pair): n for pair, n in zip(distinct, times, strict=True)}


def pairs_by_previous(ids):
    counts, previous = {}, None
    for number in iter(ids):
        if previous is not None:
            counts.setdefault((previous, number), 0)
            counts[previous, number] += 1
        previous = number
    return counts


def pairs_side_by_side(ids):
    return Counter(zip(ids[::2], ids[1::2], strict=False))


def pairs_that_never_overlap(ids):
    counts, i = Counter(), 0
    last = {}
    for i, pair in enumerate(pairwise(ids)):
        if last.get(pair) != i - 1:
            counts[pair] += 1
            last[pair] = i
    return counts


def pairs_in_any_order(ids):
    return Counter(tuple(sorted(pair)) for pair in pairwise(ids))


def pairs_round_the_end(ids):
    return Counter(zip(ids, ids[1:] + ids[:1], strict=True)) if len(ids) > 1 else {}


def pairs_without_the_last(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(len(ids) - 2))


def pairs_once_each(ids):
    return dict.fromkeys(pairwise(ids), 1)


def pairs_from_zero(ids):
    counts = {}
    for pair in pairwise(ids):
        counts[pair] = counts[pair] + 1 if pair in counts else 0
    return counts


def pairs_far_apart(ids):
    return Counter(combinations(ids, 2))


def pairs_of_at_least_one(ids):
    counts, previous = Counter(), ids[0]
    for number in ids[1:]:
        counts[previous, number] += 1
        previous = number
    return counts


def pairs_single(ids):
    return Counter(ids)


def pairs_by_name(ids):
    return Counter(f"{a} {b}" for a, b in pairwise(ids))


def pairs_used_up(ids):
    counts = Counter()
    while len(ids) > 1:
        counts[ids.pop(0), ids[0]] += 1
    return counts


def pairs_of_different(ids):
    return Counter((a, b) for a, b in pairwise(ids) if a != b)


# Exercise 2: merge(ids, pair, new_id)


def merge_by_iterator(ids, pair, new_id):
    merged, rest = [], iter(ids)
    for number in rest:
        merged.append(number)
        while merged[-1] == pair[0]:
            following = next(rest, None)
            if following is None:
                break
            if following == pair[1]:
                merged[-1] = new_id
                break
            merged.append(following)
    return merged


def merge_by_generator(ids, pair, new_id):
    def numbers():
        used = False
        for a, b in pairwise(chain(ids, [None])):
            if used:
                used = False
            elif (a, b) == tuple(pair):
                used = True
                yield new_id
            else:
                yield a

    return list(numbers())


def merge_in_a_copy(ids, pair, new_id):
    merged, i = ids.copy(), 0
    while i + 1 < len(merged):
        if merged[i] == pair[0] and merged[i + 1] == pair[1]:
            merged[i : i + 2] = (new_id,)
        i += 1
    return merged


def merge_in_place(ids, pair, new_id):
    i = 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return ids


def merge_twice_used(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
        elif i == 0 or tuple(ids[i - 1 : i + 1]) != pair:
            merged.append(ids[i])
        i += 1
    return merged


def merge_without_the_last(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_past_the_end(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_from_the_right(ids, pair, new_id):
    return merge_in_a_copy(ids[::-1], pair[::-1], new_id)[::-1]


def merge_the_first(ids, pair, new_id):
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            return ids[:i] + [new_id] + ids[i + 2 :]
    return list(ids)


def merge_in_any_order(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) in (pair, pair[::-1]):
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def merge_keeping_the_second(ids, pair, new_id):
    return [new_id if tuple(ids[i : i + 2]) == pair else number for i, number in enumerate(ids)]


def merge_by_stack(ids, pair, new_id):
    merged = []
    for number in ids:
        merged.append(number)
        if tuple(merged[-2:]) == pair:
            merged[-2:] = [new_id]
    return merged


def merge_nothing(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        found = ids[i : i + 2] == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    return merged


def merge_each_number(ids, pair, new_id):
    return [new_id if number in pair else number for number in ids]


def merge_by_letters(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(word) for word in text.split()]


def merge_by_the_second(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if ids[i] == pair[0] and i + 1 < len(ids):
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


# Exercise 3: learn(text, n_merges)


def learn_in_a_loop(text, n_merges):
    ids, merges = list(text.encode()), []
    while len(merges) < n_merges:
        counts = pairs_by_index(ids)
        if not counts or max(counts.values()) < 2:
            break
        best = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[0][0]
        ids = merge_in_a_copy(ids, best, 256 + len(merges))
        merges.append(best)
    return merges


def learn_by_generator(text, n_merges):
    def merges():
        ids = [*text.encode("utf-8")]
        for new_id in range(256, 256 + n_merges):
            counts = bpe.count_token_pairs(ids)
            pair = bpe.most_frequent_pair(counts)
            if pair is None or counts[pair] == 1:
                return
            yield pair
            ids = bpe.merge_pair(ids, pair, new_id)

    return list(merges())


def learn_by_recursion(text, n_merges, ids=None, new_id=256):
    ids = list(text.encode()) if ids is None else ids
    counts = Counter(pairwise(ids))
    often = {pair: n for pair, n in counts.items() if n >= 2}
    if n_merges == 0 or not often:
        return []
    pair = min(pair for pair in often if often[pair] == max(often.values()))
    ids = merge_by_generator(ids, pair, new_id)
    return [pair, *learn_by_recursion(text, n_merges - 1, ids, new_id + 1)]


def learn_with(text, n_merges, choose=bpe.most_frequent_pair, least=2, first=256, ids=None):
    ids, merges = list(text.encode()) if ids is None else ids, []
    for new_id in range(first, first + n_merges):
        counts = bpe.count_token_pairs(ids)
        pair = choose(counts) if counts else None
        if counts[pair] < least:
            break
        ids = bpe.merge_pair(ids, pair, new_id)
        merges.append(pair)
    return merges


def learn_at_once(text, n_merges):
    counts = bpe.count_token_pairs(list(text.encode()))
    often = [pair for pair in counts if counts[pair] > 1]
    return sorted(often, key=lambda pair: (-counts[pair], pair))[:n_merges]


def learn_first_seen(text, n_merges):
    return learn_with(text, n_merges, lambda counts: max(counts, key=counts.get))


def learn_larger_pair(text, n_merges):
    return learn_with(text, n_merges, lambda counts: max(counts, key=lambda p: (counts[p], p)))


def learn_characters(text, n_merges):
    return learn_with(text, n_merges, ids=[ord(character) for character in text])


def learn_without_end(text, n_merges):
    return learn_with(text, n_merges, least=1)


def learn_from_three(text, n_merges):
    return learn_with(text, n_merges, least=3)


def learn_from_257(text, n_merges):
    return learn_with(text, n_merges, first=257)


def learn_one_id(text, n_merges):
    ids, merges = list(text.encode()), []
    for _ in range(n_merges):
        counts = bpe.count_token_pairs(ids)
        pair = bpe.most_frequent_pair(counts)
        if counts[pair] < 2:
            break
        ids = bpe.merge_pair(ids, pair, 256)
        merges.append(pair)
    return merges


def learn_tokens(text, n_merges):
    ids = list(text.encode())
    for new_id in range(256, 256 + n_merges):
        counts = bpe.count_token_pairs(ids)
        pair = bpe.most_frequent_pair(counts)
        if counts[pair] < 2:
            break
        ids = bpe.merge_pair(ids, pair, new_id)
    return ids


def learn_one_too_few(text, n_merges):
    return learn_with(text, n_merges - 1)


def learn_up_to_n(text, n_merges):
    return learn_with(text, max(0, n_merges - 256))


def learn_without_merging(text, n_merges):
    ids, merges = list(text.encode()), []
    for new_id in range(256, 256 + n_merges):
        counts = bpe.count_token_pairs(ids)
        pair = bpe.most_frequent_pair(counts)
        if counts[pair] < 2:
            break
        bpe.merge_pair(ids, pair, new_id)
        merges.append(pair)
    return merges


def learn_by_max(text, n_merges):
    ids, merges = list(text.encode()), []
    for new_id in range(256, 256 + n_merges):
        counts = bpe.count_token_pairs(ids)
        times = max(counts.values())
        if times < 2:
            break
        pair = min(pair for pair in counts if counts[pair] == times)
        ids = bpe.merge_pair(ids, pair, new_id)
        merges.append(pair)
    return merges


def learn_in_words(text, n_merges):
    words, merges = [list(word.encode()) for word in text.split(" ")], []
    for new_id in range(256, 256 + n_merges):
        counts = sum((bpe.count_token_pairs(word) for word in words), Counter())
        pair = bpe.most_frequent_pair(counts)
        if counts[pair] < 2:
            break
        words = [bpe.merge_pair(word, pair, new_id) for word in words]
        merges.append(pair)
    return merges


def learn_in_bytes(text, n_merges):
    tokens = [bytes([i]) for i in range(256)]
    for first, second in learn_with(text, n_merges):
        tokens.append(tokens[first] + tokens[second])
    return tokens[256:]


# Exercise 4: encode_piece(piece, ranks)


def encode_by_ids(piece, ranks):
    tokens = {i: token for token, i in ranks.items()}
    ids = [ranks[bytes([byte])] for byte in piece]
    while True:
        joined = [ranks.get(tokens[a] + tokens[b]) for a, b in pairwise(ids)]
        found = [i for i in joined if i is not None]
        if not found:
            return ids
        place = joined.index(min(found))
        ids[place : place + 2] = [joined[place]]


def encode_by_borders(piece, ranks):
    borders = list(range(len(piece) + 1))
    while True:
        options = [
            (ranks[piece[a:b]], middle)
            for a, middle, b in zip(borders, borders[1:], borders[2:], strict=False)
            if piece[a:b] in ranks
        ]
        if not options:
            break
        borders.remove(min(options)[1])
    return [ranks[piece[a:b]] for a, b in pairwise(borders)]


class EncodeByRecursion:
    def __call__(self, piece, ranks):
        return list(self.ids(tuple(piece[i : i + 1] for i in range(len(piece))), ranks))

    def ids(self, parts, ranks):
        never = float("inf")
        order = [ranks.get(a + b, never) for a, b in pairwise(parts)]
        if min(order, default=never) == never:
            return (ranks[part] for part in parts)
        i = int(np.argmin(order))
        return self.ids((*parts[:i], parts[i] + parts[i + 1], *parts[i + 2 :]), ranks)


def single_bytes(piece):
    return [piece[i : i + 1] for i in range(len(piece))]


def join_by(choose, piece, ranks):
    """The parts of a piece, joined where `choose` says, from (rank, place) of all that could be."""
    parts = single_bytes(piece)
    while options := [
        (ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks
    ]:
        i = choose(options)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def encode_longest(piece, ranks):
    ids = []
    while piece:
        length = max(n for n in range(1, len(piece) + 1) if piece[:n] in ranks)
        ids.append(ranks[piece[:length]])
        piece = piece[length:]
    return ids


def encode_leftmost(piece, ranks):
    return [ranks[part] for part in join_by(lambda options: options[0], piece, ranks)]


def encode_last_learnt(piece, ranks):
    return [
        ranks[part]
        for part in join_by(lambda options: max(options, key=lambda o: o[0]), piece, ranks)
    ]


def encode_rightmost(piece, ranks):
    choose = partial(min, key=lambda option: (option[0], -option[1]))
    return [ranks[part] for part in join_by(choose, piece, ranks)]


def encode_in_dictionary_order(piece, ranks):
    places = {i: place for place, i in enumerate(ranks.values())}
    choose = partial(min, key=lambda option: (places[option[0]], option[1]))
    return [ranks[part] for part in join_by(choose, piece, ranks)]


def encode_one_join(piece, ranks):
    parts = single_bytes(piece)
    options = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
    if options:
        _, i = min(options)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]


def encode_of_at_least_two(piece, ranks):
    parts = single_bytes(piece)
    while True:
        rank, i = min((ranks.get(a + b, 1e9), i) for i, (a, b) in enumerate(pairwise(parts)))
        if rank == 1e9:
            return [ranks[part] for part in parts]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode_to_parts(piece, ranks):
    return join_by(min, piece, ranks)


def encode_bytes_as_they_are(piece, ranks):
    return [ranks[p] if len(p) > 1 else p[0] for p in join_by(min, piece, ranks)]


def encode_overlapping(piece, ranks):
    parts = single_bytes(piece)
    while options := [ranks[a + b] for a, b in pairwise(parts) if a + b in ranks]:
        joined, best = [], min(options)
        for i, part in enumerate(parts):
            if i + 1 < len(parts) and ranks.get(part + parts[i + 1]) == best:
                joined.append(part + parts[i + 1])
            elif i == 0 or ranks.get(parts[i - 1] + part) != best:
                joined.append(part)
        parts = joined
    return [ranks[part] for part in parts]


def encode_no_joins(piece, ranks):
    return [ranks[part] for part in single_bytes(piece)]


def encode_shortest_first(piece, ranks):
    parts = single_bytes(piece)
    while options := [
        (len(a + b), ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks
    ]:
        i = min(options)[2]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return [ranks[part] for part in parts]


def encode_without_the_end(piece, ranks):
    parts, i = single_bytes(piece), 0
    while options := [ranks[a + b] for a, b in pairwise(parts) if a + b in ranks]:
        best, joined, i = min(options), [], 0
        while i < len(parts) - 1:
            found = ranks.get(parts[i] + parts[i + 1]) == best
            joined.append(parts[i] + parts[i + 1] if found else parts[i])
            i += 2 if found else 1
        parts = joined
    return [ranks[part] for part in parts]


# Exercise 5: prompt(tokenizer, user_text)

USER, ASSISTANT, END = "<|user|>", "<|assistant|>", "<|endoftext|>"


def prompt_by_append(tokenizer, user_text):
    ids = [tokenizer.special_tokens[USER]]
    ids.extend(tokenizer.encode(user_text))
    ids.append(tokenizer.special_tokens[ASSISTANT])
    return ids


def prompt_by_encoding_marks(tokenizer, user_text):
    before, after = (tokenizer.encode(mark, allowed_special="all") for mark in (USER, ASSISTANT))
    return before + tokenizer.encode(user_text) + after


class PromptByChain:
    marks = (USER, ASSISTANT)

    def __call__(self, tokenizer, user_text):
        user, assistant = map(tokenizer.special_tokens.get, self.marks)
        return [*chain((user,), tokenizer.encode(text=user_text), (assistant,))]


def prompt_all_allowed(tokenizer, user_text):
    return tokenizer.encode(f"{USER}{user_text}{ASSISTANT}", allowed_special="all")


def prompt_none_allowed(tokenizer, user_text):
    return tokenizer.encode(f"{USER}{user_text}{ASSISTANT}")


def prompt_fixed_ids(tokenizer, user_text):
    return [4097, *tokenizer.encode(user_text), 4098]


def prompt_cut_out(tokenizer, user_text):
    for name in tokenizer.special_tokens:
        user_text = user_text.replace(name, "")
    return prompt_by_append(tokenizer, user_text)


def prompt_nested(tokenizer, user_text):
    special = tokenizer.special_tokens
    return [special[USER], tokenizer.encode(user_text), special[ASSISTANT]]


def prompt_without_assistant(tokenizer, user_text):
    return [tokenizer.special_tokens[USER], *tokenizer.encode(user_text)]


def prompt_swapped(tokenizer, user_text):
    special = tokenizer.special_tokens
    return [special[ASSISTANT], *tokenizer.encode(user_text), special[USER]]


def prompt_stripped(tokenizer, user_text):
    return prompt_by_append(tokenizer, user_text.strip())


def prompt_with_an_end(tokenizer, user_text):
    special = tokenizer.special_tokens
    return [special[USER], *tokenizer.encode(user_text), special[END], special[ASSISTANT]]


def prompt_with_lines(tokenizer, user_text):
    return prompt_by_append(tokenizer, f"\n{user_text}\n")


def prompt_refused(tokenizer, user_text):
    if any(name in user_text for name in tokenizer.special_tokens):
        raise ValueError("special tokens are forbidden")
    return prompt_by_append(tokenizer, user_text)


def prompt_filtered(tokenizer, user_text):
    special = set(tokenizer.special_tokens.values())
    ids = tokenizer.encode(user_text, allowed_special="all")
    return (
        prompt_by_append(tokenizer, "")[:1]
        + [i for i in ids if i not in special]
        + [tokenizer.special_tokens[ASSISTANT]]
    )


def prompt_by_place(tokenizer, user_text):
    _, user, assistant = tokenizer.special_tokens.values()
    return [user, *tokenizer.encode(user_text), assistant]


def prompt_in_words(tokenizer, user_text):
    ids = [i for word in user_text.split() for i in tokenizer.encode(word)]
    return [tokenizer.special_tokens[USER], *ids, tokenizer.special_tokens[ASSISTANT]]


def prompt_by_names(tokenizer, user_text):
    return [USER, *tokenizer.encode(user_text), ASSISTANT]


def prompt_as_text(tokenizer, user_text):
    return f"{USER}{user_text}{ASSISTANT}"


# Exercise 6: streamed_text(tokens)


def streamed_by_codec(tokens):
    decoder = codecs.getincrementaldecoder("utf-8")()
    return list(map(decoder.decode, tokens))


def streamed_by_bytes(tokens):
    shown, waiting = [], b""
    for token in tokens:
        text = ""
        for byte in token:
            waiting += bytes([byte])
            try:
                text += waiting.decode()
            except UnicodeDecodeError:
                continue
            waiting = b""
        shown.append(text)
    return shown


class StreamedByDifference:
    def __call__(self, tokens):
        texts = [
            b"".join(tokens[:n]).decode("utf-8", errors="ignore") for n in range(len(tokens) + 1)
        ]
        return [after[len(before) :] for before, after in pairwise(texts)]


def streamed_replaced(tokens):
    return [token.decode(errors="replace") for token in tokens]


def streamed_ignored(tokens):
    return [token.decode(errors="ignore") for token in tokens]


def streamed_stripped(tokens):
    texts = [b"".join(tokens[: i + 1]).decode(errors="replace") for i in range(len(tokens))]
    texts = ["", *(text.rstrip("\N{REPLACEMENT CHARACTER}") for text in texts)]
    return [new[len(old) :] for old, new in pairwise(texts)]


def streamed_so_far(tokens):
    return [b"".join(tokens[: i + 1]).decode(errors="ignore") for i in range(len(tokens))]


def streamed_with_a_rest(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        whole = waiting.decode(errors="ignore")
        waiting = waiting[len(whole.encode()) :]
        shown.append(whole)
    if waiting:
        shown[-1] += waiting.decode(errors="replace")
    return shown


def streamed_without_empty(tokens):
    return [text for text in streamed_by_codec(tokens) if text]


def streamed_all_or_nothing(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        try:
            shown.append(waiting.decode())
            waiting = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def streamed_by_characters(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        whole = waiting.decode(errors="ignore")
        waiting = waiting[len(whole) :]
        shown.append(whole)
    return shown


def streamed_latin(tokens):
    return [token.decode("latin-1") for token in tokens]


def streamed_in_one(tokens):
    return "".join(streamed_by_codec(tokens))


def streamed_four_bytes(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        if waiting.isascii() or len(waiting) >= 4:
            whole = waiting.decode(errors="ignore")
            waiting = waiting[len(whole.encode()) :]
            shown.append(whole)
        else:
            shown.append("")
    return shown


def streamed_strict(tokens):
    return [token.decode() for token in tokens]


def streamed_dropping_the_rest(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        whole = waiting.decode(errors="ignore")
        if whole:
            waiting = b""
        shown.append(whole)
    return shown


def streamed_at_the_start(tokens):
    shown = []
    text = streamed_in_one(tokens)
    used = 0
    for token in tokens:  # by the bytes that begin a character
        n = sum(byte & 0xC0 != 0x80 for byte in token)
        shown.append(text[used : used + n])
        used += n
    return shown


def streamed_one_late(tokens):
    shown = streamed_by_codec(tokens)
    return ["", *shown[:-1]]


ANSWERS = {
    "count_pairs": Answers(
        right=[pairs_by_index, PairsInNumpy(), pairs_by_previous],
        wrong=[
            Slip(
                pairs_side_by_side, "every second pair", r"overlap|every (second|other)|step|skip"
            ),
            Slip(pairs_that_never_overlap, "(3, 3) once", r"overlap|\(3, 3\)"),
            Slip(pairs_in_any_order, "sorted pairs", r"order|first|sort"),
            Slip(pairs_round_the_end, "from the end to the start", r"last|round|end"),
            Slip(pairs_without_the_last, "misses the last pair", r"last|end"),
            Slip(pairs_once_each, "1 for each pair", r"once|count|how often|again|add"),
            Slip(
                pairs_from_zero, "counts from 0", r"one too few|by one|first time|from 0|one less"
            ),
            Slip(pairs_far_apart, "all combinations", r"neighbour|next to|apart"),
            Slip(pairs_of_at_least_one, "the empty list", r"empty|fewer than two|\[\]|IndexError"),
            Slip(pairs_single, "single numbers", r"pair|single"),
            Slip(pairs_by_name, "strings as keys", r"tuple|str|key|pair"),
            Slip(pairs_used_up, "uses up the list", r"changed"),
            Slip(pairs_of_different, "no pair of equals", r"equal|same|\(3, 3\)|twins"),
        ],
    ),
    "merge": Answers(
        right=[merge_by_iterator, merge_by_generator, merge_in_a_copy, merge_by_stack],
        wrong=[
            Slip(merge_in_place, "in place", r"chang|stays|in place"),
            Slip(merge_twice_used, "a number used twice", r"once|twice|overlap|by two"),
            Slip(merge_without_the_last, "loses the last number", r"last|lost|end|miss"),
            Slip(merge_past_the_end, "looks past the end", r"IndexError|last|end|past"),
            Slip(merge_from_the_right, "from the right", r"left|right"),
            Slip(merge_the_first, "the first occurrence", r"first|each|every|all"),
            Slip(merge_in_any_order, "either order", r"order|revers|round"),
            Slip(merge_keeping_the_second, "keeps the second", r"second|by two|both|one number"),
            Slip(
                merge_nothing, "list against tuple", r"nothing|tuple|unchanged|not replaced|no pair"
            ),
            Slip(merge_each_number, "each number alone", r"neighbour|alone|single|both|pair"),
            Slip(merge_by_letters, "digits inside numbers", r"text|digit|string"),
            Slip(merge_by_the_second, "the second not compared", r"second|both|first number|pair"),
        ],
    ),
    "learn": Answers(
        right=[learn_in_a_loop, learn_by_generator, learn_by_recursion],
        wrong=[
            Slip(learn_at_once, "counts once", r"again|anew|after each|only once|recount"),
            Slip(learn_first_seen, "ties by the place", r"ties?\b|equally|smaller|frequent"),
            Slip(learn_larger_pair, "ties by the larger", r"ties?\b|equally|smaller|frequent"),
            Slip(learn_characters, "characters", r"bytes?\b|UTF|character"),
            Slip(learn_without_end, "merges what occurs once", r"twice|once|stop"),
            Slip(learn_from_three, "stops at two", r"twice|two|early|stop"),
            Slip(learn_from_257, "new ids from 257", r"25[67]"),
            Slip(learn_one_id, "one new id", r"25[67]|next id|same id|new id|number"),
            Slip(learn_tokens, "returns the ids", r"pairs|merges|ids"),
            Slip(
                learn_one_too_few,
                "one merge too few",
                r"too few|n_merges|\d merges?|one (less|more)",
            ),
            Slip(learn_up_to_n, "range(256, n_merges)", r"no merges?|too few|range|empty"),
            Slip(learn_without_merging, "the merge is lost", r"again|result|same pair|merged"),
            Slip(learn_by_max, "no pair left", r"empty|no pair|stop|short|left"),
            Slip(learn_in_words, "cut at spaces", r"space|words?|whole text"),
            Slip(learn_in_bytes, "tokens, not pairs", r"pair|bytes"),
        ],
    ),
    "encode_piece": Answers(
        right=[encode_by_ids, encode_by_borders, EncodeByRecursion()],
        wrong=[
            Slip(encode_longest, "longest first", r"longest|rank|learnt|greedy"),
            Slip(encode_leftmost, "leftmost first", r"rank|learnt|left"),
            Slip(
                encode_last_learnt, "last learnt first", r"rank|learnt|lowest|highest|largest|max"
            ),
            Slip(encode_rightmost, "begins on the right", r"left|right"),
            Slip(encode_in_dictionary_order, "the dictionary's order", r"order|dictionary|entries"),
            Slip(
                encode_one_join, "one join only", r"again|until|go on|more|once|still|stop|one join"
            ),
            Slip(encode_of_at_least_two, "the empty piece", r"empty|one byte|single|fewer|b''"),
            Slip(encode_to_parts, "parts, not ids", r"ids?\b|bytes"),
            Slip(encode_bytes_as_they_are, "bytes are not ids", r"single bytes?|value of"),
            Slip(
                encode_overlapping,
                "overlapping joins",
                r"overlap|once|twice|more bytes",
                never=r"right one first",
            ),
            Slip(encode_no_joins, "no join", r"join|merge|single bytes"),
            Slip(encode_shortest_first, "shortest first", r"rank|learnt|short|length"),
            Slip(encode_without_the_end, "loses the last part", r"last|lost|end|bytes|miss"),
        ],
    ),
    "prompt": Answers(
        right=[prompt_by_append, prompt_by_encoding_marks, PromptByChain()],
        wrong=[
            Slip(prompt_all_allowed, "all allowed", r"forge|special|allowed"),
            Slip(prompt_none_allowed, "marks as text", r"mark|special|ordinary|first id|\bid\b"),
            Slip(
                prompt_fixed_ids, "the lesson's ids", r"differ|fixed|special_tokens|one tokenizer"
            ),
            Slip(prompt_cut_out, "cuts marks out", r"unchanged|cut|remov|lost|ordinary|miss"),
            Slip(prompt_nested, "a list in the list", r"flat|nested|list"),
            Slip(prompt_without_assistant, "no assistant", r"assistant|last|end"),
            Slip(prompt_swapped, "the wrong way round", r"order|swap|exchang|places|round"),
            Slip(prompt_stripped, "strips the text", r"unchanged|space|strip|white"),
            Slip(prompt_with_an_end, "an end of text", r"endoftext|extra|more|end"),
            Slip(prompt_with_lines, "line breaks added", r"line|added|unchanged|\\n|extra"),
            Slip(prompt_refused, "refuses marks", r"whatever|ValueError|forbid|rais"),
            Slip(
                prompt_filtered, "drops forged ids", r"unchanged|lost|drop|ordinary|miss|cut|allow"
            ),
            Slip(prompt_by_place, "ids by their place", r"name|place|order|differ"),
            Slip(prompt_in_words, "word by word", r"space|unchanged|white|word|lost"),
            Slip(prompt_by_names, "names, not ids", r"ids?\b|number|str"),
            Slip(prompt_as_text, "a string", r"list|ids|str"),
        ],
    ),
    "streamed_text": Answers(
        right=[streamed_by_codec, streamed_by_bytes, StreamedByDifference()],
        wrong=[
            Slip(
                streamed_replaced, "token by token, replaced", r"wait|several|spread|replace|\ufffd"
            ),
            Slip(
                streamed_ignored, "token by token, ignored", r"wait|several|spread|lost|kept|keep"
            ),
            Slip(streamed_stripped, "by stripping", r"real"),
            Slip(streamed_so_far, "all so far", r"new|so far|again|already|twice"),
            Slip(streamed_with_a_rest, "shows the rest", r"cut|never|rest|incomplete"),
            Slip(
                streamed_without_empty, "no empty items", r"each token|one (str|item)|items|empty"
            ),
            Slip(streamed_all_or_nothing, "waits too long", r"soon|wait|late|held|whole"),
            Slip(
                streamed_by_characters, "characters for bytes", r"bytes|len|again|twice|encode|wait"
            ),
            Slip(streamed_latin, "latin-1", r"UTF|each byte|latin"),
            Slip(streamed_in_one, "one string", r"list"),
            Slip(streamed_four_bytes, "four bytes always", r"soon|late|wait|two|three|four"),
            Slip(streamed_strict, "a strict decode", r"Unicode|wait|several|spread|incomplete"),
            Slip(streamed_dropping_the_rest, "drops what waits", r"wait|drop|lost|kept|keep|left"),
            Slip(streamed_at_the_start, "shown too early", r"before|early|last byte|complete"),
            Slip(streamed_one_late, "one token late", r"late|soon"),
        ],
    ),
}
