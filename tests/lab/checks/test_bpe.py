"""The checkers of lesson 03 accept right answers, however written, and tell typical wrong answers
what is wrong."""

import codecs
import math
from collections import Counter, defaultdict
from itertools import pairwise

import tiktoken

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


def count_without_the_first(ids):
    return Counter(pairwise(ids[1:]))


def count_without_overlaps(ids):
    return {p: len(ids) - len(merge_solution(ids, p, 0)) for p in set(pairwise(ids))}


def count_repeated_only(ids):
    return {pair: n for pair, n in Counter(pairwise(ids)).items() if n > 1}


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


def merge_to_a_tuple(ids, pair, new_id):
    return tuple(merge_solution(ids, pair, new_id))


def merge_by_string_replace(ids, pair, new_id):
    joined = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(x) for x in joined.split()]


def merge_three_at_a_time(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if tuple(ids[i : i + 2]) == pair:
            merged.append(new_id)
            i += 3
        else:
            merged.append(ids[i])
            i += 1
    return merged


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
        pair = min(counts, key=lambda pair: (-counts[pair], pair), default=None)
        if counts[pair] < 2:
            break
        ids = merge_solution(ids, pair, new_id)
        merges.append(pair)
    return merges


def learn_by_sorting(text, n_merges):
    ids, merges = list(text.encode("utf-8")), []
    while len(merges) < n_merges:
        ranked = sorted(Counter(pairwise(ids)).items(), key=lambda item: (-item[1], item[0]))
        if not ranked or ranked[0][1] == 1:
            return tuple(merges)
        merges.append(list(ranked[0][0]))
        ids = merge_solution(ids, ranked[0][0], 255 + len(merges))
    return tuple(merges)


def learn(
    text,
    n_merges,
    start=list,
    first=256,
    step=1,
    key=lambda counts: lambda pair: (-counts[pair], pair),
    keep=True,
    least=2,
):
    """The loop with one thing to get wrong at a time."""
    ids, merges = start(text.encode()), []
    for new_id in range(first, first + n_merges):
        new_id = first + step * (new_id - first)
        counts = count_solution(ids)
        if max(counts.values(), default=0) < least:
            break
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
        if max(counts.values(), default=0) < 2:
            break
        merges.append(max(counts, key=counts.get))
        ids = merge_solution(ids, merges[-1], str(new_id))
    return merges


def learn_new_id_always_256(text, n_merges):
    return learn(text, n_merges, step=0)


def learn_to_the_end(text, n_merges):
    return learn(text, n_merges, least=1)


def learn_without_end(text, n_merges):
    return learn(text, n_merges, least=0)


def learn_stops_too_early(text, n_merges):
    return learn(text, n_merges, least=3)


def learn_ties_to_the_first(text, n_merges):
    return learn(
        text, n_merges, key=lambda counts: lambda pair: (-counts[pair], list(counts).index(pair))
    )


def learn_code_points(text, n_merges):
    ids, merges = [ord(character) for character in text], []
    for new_id in range(256, 256 + n_merges):
        counts = count_solution(ids)
        if max(counts.values(), default=0) < 2:
            break
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


def encode_from_the_right(piece, ranks):
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while True:
        found = [(ranks[a + b], -i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
        if not found:
            return [ranks[part] for part in parts]
        i = -min(found)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def encode_by_dictionary_order(piece, ranks):
    parts = [piece[i : i + 1] for i in range(len(piece))]
    for token in ranks:
        if len(token) > 1:
            i = 0
            while i < len(parts) - 1:
                if parts[i] + parts[i + 1] == token:
                    parts[i : i + 2] = [token]
                i += 1
    return [ranks[part] for part in parts]


def encode_bytes_as_ids(piece, ranks):
    ids = encode_solution(piece, ranks)
    return [piece[0]] + ids[1:] if ids and ids[0] == ranks[piece[:1]] else ids


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


def prompt_all_allowed_inside(tokenizer, user_text):
    ids = tokenizer.special_tokens
    text = tokenizer.encode(user_text, allowed_special="all")
    return [ids["<|user|>"], *text, ids["<|assistant|>"]]


def prompt_without_end(tokenizer, user_text):
    return prompt_solution(tokenizer, user_text)[:-1]


def prompt_turned_round(tokenizer, user_text):
    ids = tokenizer.special_tokens
    return [ids["<|assistant|>"], *tokenizer.encode(user_text), ids["<|user|>"]]


def prompt_of_fixed_ids(tokenizer, user_text):
    return [256, *tokenizer.encode(user_text), 257]


def prompt_stripped(tokenizer, user_text):
    return prompt_solution(tokenizer, user_text.strip())


def prompt_bare(tokenizer, user_text):
    return tokenizer.encode(user_text)


def prompt_nested(tokenizer, user_text):
    return [tokenizer.special_tokens["<|user|>"], tokenizer.encode(user_text), 257]


def prompt_as_text(tokenizer, user_text):
    return f"<|user|>{user_text}<|assistant|>"


# ------------------------------------------------------------------------------------ streamed_text
def stream_skeleton(tokens): ...


def stream_solution(tokens):
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(token) for token in tokens]


def stream_by_prefixes(tokens):
    """All bytes so far, decoded again and again."""
    shown, before = [], ""
    for i in range(len(tokens)):
        now = b"".join(tokens[: i + 1]).decode(errors="ignore")
        shown.append(now[len(before) :])
        before = now
    return tuple(shown)


def stream_byte_by_byte(tokens):
    """A generator that reads the length of a character from its first byte."""
    waiting, missing = b"", 0
    for token in tokens:
        text = ""
        for byte in token:
            if not waiting:
                missing = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            waiting += bytes([byte])
            missing -= 1
            if missing == 0:
                text, waiting = text + waiting.decode(), b""
        yield text


def stream_each_alone(tokens):
    return [token.decode(errors="replace") for token in tokens]


def stream_strict(tokens):
    return [token.decode() for token in tokens]


def stream_throws_away(tokens):
    return [token.decode(errors="ignore") for token in tokens]


def stream_all_or_nothing(tokens):
    shown, waiting = [], b""
    for token in tokens:
        waiting += token
        try:
            shown.append(waiting.decode())
            waiting = b""
        except UnicodeDecodeError:
            shown.append("")
    return shown


def stream_all_so_far(tokens):
    return [b"".join(tokens[: i + 1]).decode(errors="ignore") for i in range(len(tokens))]


def stream_without_blanks(tokens):
    return [text for text in stream_solution(tokens) if text]


def stream_joined(tokens):
    return b"".join(tokens).decode(errors="ignore")


def stream_bytes(tokens):
    return list(tokens)


def test_the_truths_are_those_worked_by_hand():
    """The oracles of the checkers against results written on paper."""
    assert check._pairs([1, 2, 1, 2, 3, 3, 3]) == {(1, 2): 2, (2, 1): 1, (2, 3): 1, (3, 3): 2}
    assert check._merged([1, 2, 3, 1, 2], (1, 2), 9) == [9, 3, 9]
    assert check._merged([7, 7, 7], (7, 7), 9) == [9, 7]
    assert check._merged([11, 2], (1, 2), 9) == [11, 2]
    paper = [(97, 110), (98, 256), (256, 97)]
    assert check._learnt("banana bandana", 10) == paper
    assert check._learnt("éé é", 1) == [(195, 169)]
    assert check._learnt("zzyy zzyy xxyy", 2) == [(121, 121), (122, 122)]
    assert check._tiktoken(b"bcdeabcde", check.RANKS) == [260, 97, 260]
    assert check._streamed([b"a\xe4", b"\xb8", b"\xad!"]) == ["a", "", "中!"]


def test_where_tiktoken_is_missing_its_ids_are_the_truth_all_the_same():
    """A browser's Python has the checker's own encoder instead; the tokenizer that the prompt
    exercise hands out is tiktoken's, letter by letter, as well."""
    for piece, ranks in check.CASES_OF_ENCODE:
        assert check._encoded(piece, ranks) == check._tiktoken(piece, ranks)
    for tokenizer, text in check.CASES_OF_PROMPT:
        special = tokenizer.special_tokens
        theirs = tiktoken.Encoding(
            "prompt",
            pat_str=r"[\s\S]",
            mergeable_ranks={bytes([b]): b for b in range(256)},
            special_tokens=special,
        )
        for allowed in ((), "all", {"<|user|>"}, [*special], {"<|other|>"}):
            names = set(special) if allowed == "all" else set(allowed)
            asked = f"<|user|>{text}<|user|><|end|>"
            ids = theirs.encode(asked, allowed_special=names, disallowed_special=())
            assert tokenizer.encode(asked, allowed_special=allowed) == ids
            assert tokenizer.decode(ids) == theirs.decode(ids) == asked
        assert tokenizer.decode([0x41, 0xE4]) == theirs.decode([0x41, 0xE4])


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
            (count_without_the_last, "the last pair of each list"),
            (count_without_the_first, "the first pair of each list"),
            (count_without_overlaps, "only merging uses each number once"),
            (count_repeated_only, "pairs that occur once are missing"),
            (count_single_ids, "single ids are counted"),
            (count_past_the_end, "IndexError"),
            (count_as_a_list, "should be a dict"),
        ],
    ),
    check.merge: Case(
        solution=merge_solution,
        skeleton=merge_skeleton,
        also_right=[merge_with_a_stack, merge_to_a_tuple],
        wrong=[
            (merge_first_only, "only the first occurrence"),
            (merge_one_step, "by two positions, not by one"),
            (merge_three_at_a_time, "the number after each merged pair is gone"),
            (merge_misses_the_end, "the last number is lost"),
            (merge_compares_with_a_list, "nothing was merged"),
            (merge_each_by_itself, "Only the two together"),
            (merge_by_string_replace, "Compare numbers"),
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
            (learn_counted_once, "Count again after each merge"),
            (learn_ids_from_zero, "new ids start at 256"),
            (learn_ids_from_257, "the first new id is 256"),
            (learn_new_id_always_256, "the same new id, 256"),
            (learn_rarest, "The most frequent one is wanted"),
            (learn_forgets_the_merge, "again and again"),
            (learn_ties_to_the_largest, "a tie went to the larger pair"),
            (learn_ties_to_the_first, "the pair that was met first"),
            (learn_to_the_end, "a pair that occurs once was merged"),
            (learn_without_end, "a pair that occurs once was merged"),
            (learn_stops_too_early, "stops too early"),
            (lambda text, n: learn_solution(text, n)[:2], "banana bandana"),
            (lambda text, n: len(learn_solution(text, n)), "return a list of pairs"),
            (learn_characters, "learn('banana bandana', 3)"),
            (learn_code_points, "é is two bytes"),
            (learn_returns_ids, "The *merges* are wanted"),
        ],
    ),
    check.encode_piece: Case(
        solution=encode_solution,
        skeleton=encode_skeleton,
        also_right=[encode_one_at_a_time],
        wrong=[
            (encode_longest_first, "WordPiece's way"),
            (encode_left_to_right, "whatever fits from left to right"),
            (encode_once, "Go on until no neighbours can"),
            (encode_highest_rank, "the highest id is joined first"),
            (encode_bytes_of_tokens, "look up their ids"),
            (encode_nothing_joined, "nothing was joined"),
            (encode_longest_token_anywhere, "encode_piece(b'!xyz', ranks)"),
            (encode_from_the_right, "Go from the left"),
            (encode_by_dictionary_order, "in the order of the dictionary"),
            (encode_bytes_as_ids, "encode_piece(b'abcd', ranks)"),
            (encode_forgets_single, "encode_piece(b'z', ranks)"),
        ],
    ),
    check.prompt: Case(
        solution=prompt_solution,
        skeleton=prompt_skeleton,
        also_right=[prompt_in_three_parts],
        wrong=[
            (prompt_all_allowed, "with no special token allowed"),
            (prompt_all_allowed_inside, "a user can forge"),
            (prompt_without_end, "<|assistant|> after the text is missing"),
            (prompt_turned_round, "have changed places"),
            (prompt_of_fixed_ids, "right for one tokenizer only"),
            (prompt_stripped, "Leave the text as it is"),
            (prompt_none_allowed, "became plain text"),
            (prompt_cuts, "part of the user's text is gone"),
            (prompt_refuses, "is a fair question"),
            (prompt_bare, "are missing"),
            (prompt_nested, "one flat list"),
            (prompt_as_text, "a list of ids, not text"),
        ],
    ),
    check.streamed_text: Case(
        solution=stream_solution,
        skeleton=stream_skeleton,
        also_right=[stream_by_prefixes, stream_byte_by_byte],
        wrong=[
            (stream_each_alone, "was decoded by itself"),
            (stream_strict, "UnicodeDecodeError"),
            (stream_throws_away, "were thrown away"),
            (stream_all_or_nothing, "can be shown at once"),
            (stream_all_so_far, "Only what is new"),
            (stream_without_blanks, "one for each token"),
            (stream_joined, "one text for each token"),
            (stream_bytes, "not bytes: decode them"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)
