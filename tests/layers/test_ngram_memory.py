"""The memory of n-grams against hashes by loop, gates by hand, and published numbers."""

import math

import pytest
import torch

from course_lib.inference.cache import KVCache, make_caches
from course_lib.layers.ngram_memory import (
    LARGEST_ID,
    NgramMemory,
    hash_multipliers,
    hash_ngrams,
    is_prime,
    memory_gate,
    next_primes,
    normalised_vocabulary,
)
from course_lib.models.deepseek import DeepSeekSettings, DeepSeekV3
from course_lib.models.memory_v3 import MemorySettings, MemoryV3


def small_memory(**sizes) -> NgramMemory:
    torch.manual_seed(0)
    return NgramMemory(8, vocab_size=50, **{"n_rows": 30, "d_row": 4} | sizes)


def unchecked(function):
    """Give the function as it runs outside of the tests, where nothing checks shapes."""
    return getattr(function, "__wrapped__", function)


def hashes_by_loop(text: list[int], multipliers: list[int], sizes, before: int) -> list[list[int]]:
    """Hash with Python's whole numbers, which never overflow, token by token."""
    found = []
    for t in range(len(text)):
        rows = []
        for n, of_heads in enumerate(sizes, 2):
            mixed = 0
            for back in range(n):
                token = text[t - back] if t >= back else before
                mixed ^= token * multipliers[back]
            rows += [mixed % size for size in of_heads]
        found.append(rows)
    return found


def test_hashes_are_those_of_a_loop_over_whole_numbers():
    sizes, multipliers = [[101, 103], [107, 109], [113, 127]], hash_multipliers(2049, 4, seed=3)
    ids = torch.randint(0, 2048, (3, 40), generator=torch.Generator().manual_seed(0))
    ours = hash_ngrams(ids, multipliers, sizes, before=2048)
    for row, text in zip(ours, ids.tolist(), strict=True):
        assert row.tolist() == hashes_by_loop(text, multipliers.tolist(), sizes, 2048)


def test_multipliers_are_odd_and_no_product_overflows():
    multipliers = torch.stack([hash_multipliers(99_092, 4, seed) for seed in range(50)])
    assert (multipliers % 2 == 1).all() and multipliers.min() > 0
    assert int(multipliers.max()) * 99_091 <= LARGEST_ID
    assert len(multipliers.unique()) == multipliers.numel()
    assert (hash_multipliers(512, 3, seed=1) == hash_multipliers(512, 3, seed=1)).all()
    with pytest.raises(ValueError, match="too large"):
        hash_multipliers(2**62, 2)


@pytest.mark.parametrize("numbers", [(0, 2), (-3, 2), (10, 0)])
def test_multipliers_refuse_a_vocabulary_or_an_ngram_of_nothing(numbers):
    with pytest.raises(ValueError, match=f"n_ids {numbers[0]} and longest {numbers[1]}"):
        hash_multipliers(*numbers)


@pytest.mark.parametrize("size", [[0], [-7], []])
def test_hashes_refuse_tables_without_rows(size):
    with pytest.raises(ValueError, match="at least one row"):
        hash_ngrams(torch.tensor([[1, 2]]), torch.tensor([3, 5]), [size], before=9)


def test_the_sizes_of_v41s_tables_are_the_first_primes_from_sixteen_million_on():
    primes = next_primes(16_000_000, 2 * 3 * 8)  # two layers, 2- to 4-grams, eight heads
    assert sum(primes[:24]) == 384_006_168 and sum(primes[24:]) == 384_016_682
    assert [n for n in range(30) if is_prime(n)] == [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]
    assert next_primes(0, 3) == [2, 3, 5] and next_primes(13, 1) == [13]


def test_order_counts_and_so_does_how_long_ago():
    multipliers = hash_multipliers(51, 3)
    ids = torch.tensor([[1, 2, 2, 1, 1, 1]])
    pairs = hash_ngrams(ids, multipliers, [[1_000_003], [1_000_033]], before=50)[0, :, 0]
    assert len(pairs.unique()) == 5 and pairs[4] == pairs[5]  # (1, 1) twice


def test_gate_by_hand():
    key = torch.tensor([[2.0, 0.0, 0.0, 0.0], [1.0, 1.0, -1.0, -1.0], [1.0, 1.0, 1.0, 1.0]])
    stream = torch.tensor([[2.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [-1.0, -1.0, -1.0, 1.0]])
    roots = [math.sqrt(2.0), 0.0, -math.sqrt(1.0)]  # of 4 / 2, 0 and -2 / 2
    expected = [1 / (1 + math.exp(-root)) for root in roots]
    torch.testing.assert_close(memory_gate(key, stream), torch.tensor(expected), atol=1e-3, rtol=0)
    assert memory_gate(key.half(), stream.half()).dtype == torch.float32


def test_gate_has_a_finite_gradient_where_key_and_stream_do_not_agree_at_all():
    key = torch.tensor([1.0, 1.0], requires_grad=True)
    memory_gate(key, torch.tensor([1.0, -1.0])).backward()
    assert key.grad.isfinite().all()


def test_tokens_alike_but_for_case_accents_and_spaces_share_a_number():
    tokens = ["The", " the", "THE ", "thé", "\n", " ", "\ufffd", " \ufffd", "", "ﬁ", "fi"]
    assert normalised_vocabulary(tokens).tolist() == [0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 5]
    assert normalised_vocabulary([]).dtype == torch.long


@pytest.mark.parametrize(("B", "T"), [(0, 3), (2, 0), (2, 1)])
def test_no_text_and_texts_of_one_token_are_read(B, T):
    assert small_memory()(torch.randn(B, T, 8), torch.ones(B, T).long()).shape == (B, T, 8)


def test_memory_is_the_sum_written_out_for_one_token():
    memory, ids = small_memory(), torch.tensor([[7, 9, 4]])
    x = torch.randn(1, 3, 8)
    places = [4, 9, 7]  # the newest token first
    m = memory.multipliers.tolist()
    pair, triple = places[0] * m[0] ^ places[1] * m[1], 0
    triple = pair ^ places[2] * m[2]
    starts, read = 0, []
    for mixed, sizes in zip((pair, triple), memory.sizes, strict=True):
        for size in sizes:
            read.append(memory.table.weight[starts + mixed % size])
            starts += size
    rows = torch.cat(read)
    key, stream = memory.key.weight @ rows, x[0, 2]
    norm = [v / (v.square().mean() + 1e-6).sqrt() for v in (key, stream)]
    score = (norm[0] @ norm[1]).item() / math.sqrt(8)
    gate = 1 / (1 + math.exp(-math.copysign(math.sqrt(abs(score)), score)))
    torch.testing.assert_close(memory(x, ids)[0, 2], gate * (memory.value.weight @ rows))


def test_no_token_reads_what_comes_after_it():
    memory, ids = small_memory(longest=4), torch.randint(0, 50, (2, 12))
    changed = ids.clone()
    changed[:, 6] = (ids[:, 6] + 1) % 50
    differs = (memory.rows(ids) != memory.rows(changed)).any(-1).any(0)
    assert not differs[:6].any() and differs[6:10].all() and not differs[10:].any()


def test_tables_do_not_overlap_and_all_rows_can_be_read():
    memory = small_memory()
    rows = memory.rows(torch.randint(0, 50, (100, 100))).flatten(0, 1)
    for table, size in enumerate(s for sizes in memory.sizes for s in sizes):
        start = memory.starts[table]
        assert rows[:, table].unique().tolist() == list(range(start, start + size))
    assert memory.starts[-1] + memory.sizes[-1][-1] == len(memory.table.weight)


def test_numbers_make_two_spellings_one():
    alike = small_memory(numbers=torch.tensor([0, 0, *range(1, 49)]))
    rows = alike.rows(torch.tensor([[0, 5], [1, 5]]))
    assert (rows[0] == rows[1]).all()
    assert (
        small_memory().rows(torch.tensor([[0, 5]])) != small_memory().rows(torch.tensor([[1, 5]]))
    ).any()


def test_pieces_read_like_the_whole_if_the_last_tokens_are_carried():
    memory, ids, x = small_memory(), torch.randint(0, 50, (2, 20)), torch.randn(2, 20, 8)
    whole = memory(x, ids)
    for cut in (1, 2, 7):
        rest = memory(x[:, cut:], ids[:, cut:], past=ids[:, max(0, cut - 2) : cut])
        torch.testing.assert_close(rest, whole[:, cut:])
        if cut > 1:
            assert (memory.rows(ids[:, cut:]) != memory.rows(ids)[:, cut:]).any()


MODEL = {"d_model": 32, "n_layers": 3, "n_heads": 2, "n_experts": 4, "tied": True}


def memory_model(**changes) -> MemoryV3:
    torch.manual_seed(0)
    return MemoryV3(MemorySettings(50, 32, **MODEL, **{"memory_rows": 40} | changes)).eval()


def test_a_model_with_caches_says_what_it_says_without():
    model, ids = memory_model(), torch.randint(0, 50, (2, 16))
    whole = model.hidden(ids)
    caches, cuts = make_caches(model, 32), ((0, 1), (1, 5), (5, 6), (6, 16))
    assert len(caches) == 4
    parts = [model.hidden(ids[:, start:end], caches) for start, end in cuts]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_padded_row_is_read_as_if_alone(side):
    model, ids = memory_model(), torch.randint(0, 50, (2, 12))
    padding = torch.zeros(2, 12).bool()
    padding[1, slice(7) if side == "left" else slice(5, None)] = True
    real = ~padding[1]
    alone = model.hidden(ids[1:, real])[0]
    got = model.hidden(ids, padding=padding)
    torch.testing.assert_close(got[1, real], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(got[:1], model.hidden(ids[:1]), atol=1e-5, rtol=1e-4)
    if side == "left":
        caches = make_caches(model, 32)
        cuts = ((0, 3), (3, 8), (8, 9), (9, 12))
        parts = [model.hidden(ids[:, a:b], caches, padding[:, :b]) for a, b in cuts]
        torch.testing.assert_close(torch.cat(parts, 1)[1, real], alone, atol=1e-5, rtol=1e-4)


def test_a_model_whose_memory_says_nothing_is_v3():
    model, ids = memory_model(), torch.randint(0, 50, (2, 16))
    plain = DeepSeekV3(DeepSeekSettings(50, 32, **MODEL)).eval()
    rest = {k: v for k, v in model.state_dict().items() if not k.startswith("memory.")}
    plain.load_state_dict(rest)
    assert not torch.allclose(plain(ids), model(ids), atol=1e-5)
    model.memory.value.weight.data.zero_()
    torch.testing.assert_close(plain(ids), model(ids))


def test_the_memory_learns_table_key_and_value():
    model = memory_model()
    model(torch.randint(0, 50, (2, 16))).square().sum().backward()
    for part in (model.memory.table, model.memory.key, model.memory.value):
        assert part.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small_memory(longest=1), "longest 1 is below 2"),
        (lambda: small_memory(n_heads=0), "n_heads 0 must be at least 1"),
        (lambda: NgramMemory(0, 5, 7, 2), "d_model 0 must be at least 1"),
        (lambda: NgramMemory(4, 0, 7, 2), "vocab_size 0 must be at least 1"),
        (lambda: NgramMemory(4, -1, 7, 2), "vocab_size -1 must be at least 1"),
        (lambda: next_primes(10, -1), "n -1 is below 0"),
        (lambda: unchecked(next_primes)(math.nan, 1), "NaN"),
        (lambda: small_memory(numbers=torch.arange(9)), r"shape \(9,\), .* vocab_size 50"),
        (lambda: small_memory(numbers=torch.arange(50) - 1), "number -1 of a token is below 0"),
        (lambda: small_memory().rows(torch.tensor([[50]])), "token 50 is outside"),
        (lambda: small_memory().rows(*torch.tensor([[[3]], [[50]]])), "token 50 is outside"),
        (lambda: small_memory().rows(*torch.tensor([[[3]], [[-2]]])), "token -2 is outside"),
        (
            lambda: unchecked(NgramMemory.rows)(
                small_memory(), torch.ones(2, 3).long(), torch.ones(1, 2).long()
            ),
            "past of 1 rows for 2 rows",
        ),
        (
            lambda: unchecked(memory_gate)(torch.ones(2, 5, 8), torch.ones(2, 1, 8)),
            r"\(2, 5, 8\) for a stream of shape \(2, 1, 8\)",
        ),
        (
            lambda: hash_ngrams(
                torch.ones(1, 2, dtype=torch.long), hash_multipliers(9, 3), [[7]], 0
            ),
            "3 multipliers are for 2- to 3-grams",
        ),
        (lambda: memory_model(memory_layer=3), "memory_layer 3 is not below n_layers 3"),
        (
            lambda: memory_model().hidden(torch.ones(1, 33, dtype=torch.long)),
            "33 tokens are more than max_seq_len 32",
        ),
        (
            lambda: memory_model()(
                torch.ones(1, 2, dtype=torch.long), padding=torch.zeros(1, 2, 2, dtype=torch.bool)
            ),
            r"padding of shape \(1, 2, 2\) for 1 rows of 2 tokens",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_caches_without_the_tokens_are_refused():
    model, caches = memory_model(), [KVCache(32) for _ in range(3)]
    with pytest.raises(ValueError, match="3 caches: a memory of n-grams needs 4"):
        model.hidden(torch.ones(1, 4, dtype=torch.long), caches)
