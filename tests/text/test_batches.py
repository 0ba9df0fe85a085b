"""Batches: targets are the next tokens, nothing is lost, nothing depends on where a run was cut."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.text.batches import (
    IGNORE_INDEX,
    best_fit_rows,
    pack_documents,
    pack_whole_documents,
    pad_rows,
    phases_in_turn,
    random_windows,
    same_document,
    shuffled_rows,
    shuffled_windows,
    token_stream,
)

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
documents = st.lists(st.lists(st.integers(1, 99), max_size=9), min_size=1, max_size=6)


@given(
    count=st.integers(1, 12),
    length=st.integers(1, 7),
    batch_size=st.integers(1, 5),
    rest=st.integers(1, 7),
)
def test_each_token_once_per_epoch_and_targets_follow_inputs(count, length, batch_size, rest):
    tokens = torch.arange(count * length + min(rest, length))
    # batch_size epochs
    inputs, targets = zip(*islice(shuffled_windows(tokens, batch_size, length), count), strict=True)
    inputs, targets = torch.cat(inputs), torch.cat(targets)
    assert torch.equal(targets, inputs + 1)
    for epoch in inputs.view(batch_size, -1):
        assert torch.equal(epoch.sort().values, torch.arange(count * length))


def test_epochs_are_shuffled_and_differ():
    first, second = islice(shuffled_windows(torch.arange(101), 100, 1), 2)
    assert not torch.equal(first[0], second[0]) and not torch.equal(
        first[0].flatten(), torch.arange(100)
    )


def test_same_seed_same_batches_another_seed_others():
    batches = [
        next(shuffled_windows(torch.arange(1001), 8, 10, seed=seed))[0] for seed in (3, 3, 4)
    ]
    assert torch.equal(batches[0], batches[1]) and not torch.equal(batches[0], batches[2])


@given(step=st.integers(0, 40))
def test_a_run_that_stopped_goes_on_as_if_it_had_not(step):
    tokens = torch.arange(61)
    whole = next(islice(shuffled_windows(tokens, 4, 6, seed=1), step, None))
    resumed = next(shuffled_windows(tokens, 4, 6, seed=1, start_step=step))
    assert torch.equal(whole[0], resumed[0]) and torch.equal(whole[1], resumed[1])


def test_small_integers_become_long():
    inputs, targets = next(shuffled_windows(torch.arange(50, dtype=torch.uint8), 2, 4))
    assert inputs.dtype == targets.dtype == torch.long


@pytest.mark.parametrize("draw", [shuffled_windows, random_windows])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.uint8])
def test_a_file_of_tokens_gives_the_windows_of_the_tensor(tmp_path, draw, dtype):
    tokens = torch.arange(101)
    tokens.numpy().astype(dtype).tofile(tmp_path / "tokens.bin")
    file = np.memmap(tmp_path / "tokens.bin", dtype=dtype, mode="r")
    for ours, theirs in islice(
        zip(draw(file, 4, 6, seed=1), draw(tokens, 4, 6, seed=1), strict=True), 9
    ):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
        assert ours[0].dtype == ours[1].dtype == torch.long


@pytest.mark.parametrize("draw", [shuffled_windows, random_windows])
def test_a_file_larger_than_the_memory_is_read_where_asked(tmp_path, draw):
    """128 GiB of holes, which take no room on the disk; as int64 they would be 512 GiB of
    memory."""
    n_tokens, length = 2**36, 2**19
    with open(tmp_path / "tokens.bin", "wb") as file:
        file.truncate(2 * n_tokens)
    tokens = np.memmap(tmp_path / "tokens.bin", dtype=np.uint16, mode="r")
    inputs, targets = next(draw(tokens, 2, length))
    assert inputs.shape == targets.shape == (2, length) and not inputs.any()


def test_random_windows_begin_anywhere_and_go_on_where_they_stopped():
    tokens = torch.arange(40)
    batches = list(islice(random_windows(tokens, 5, 8, seed=3), 200))
    begins = torch.stack([inputs[:, 0] for inputs, _ in batches])
    assert all(torch.equal(targets, inputs + 1) for inputs, targets in batches)
    counts = torch.bincount(begins.flatten(), minlength=40)
    assert (counts[:32] > 0).all() and not counts[
        32:
    ].any()  # the last that fits begins at 31: 31 + 8 = 39
    assert counts[:32].max() < 3 * counts[:32].float().mean()
    for step in (1, 57):
        again = next(random_windows(tokens, 5, 8, seed=3, start_step=step))
        assert torch.equal(again[0], batches[step][0])
    assert not torch.equal(next(random_windows(tokens, 5, 8, seed=4))[0], batches[0][0])


@pytest.mark.parametrize("draw", [shuffled_windows, random_windows])
def test_arrays_that_are_no_row_of_ids_are_refused(draw):
    for wrong, found in (
        (np.zeros(9), "float64"),
        (np.zeros((3, 3), int), r"\(3, 3\)"),
        (np.zeros(9, bool), "bool"),
    ):
        with pytest.raises(TypeError, match=found):
            next(draw(wrong, 1, 2))
    with pytest.raises(ValueError, match="a window of 8 inputs needs 9 tokens; the stream has 8"):
        next(draw(np.arange(8), 1, 8))


def test_streams_that_cannot_be_cut():
    with pytest.raises(ValueError, match="a window of 8 inputs needs 9 tokens; the stream has 8"):
        next(shuffled_windows(torch.arange(8), 1, 8))
    with pytest.raises(ValueError, match="batch_size must be a whole number of at least 1, not 0"):
        next(shuffled_windows(torch.arange(8), 0, 4))
    with pytest.raises(TypeError, match="not list"):
        next(shuffled_windows([1, 2, 3], 1, 2))
    with pytest.raises(TypeError, match="torch.float32"):
        next(shuffled_windows(torch.rand(9), 1, 2))
    with pytest.raises(TypeError, match="shape|\\(3, 3\\)"):
        next(shuffled_windows(torch.zeros(3, 3, dtype=torch.long), 1, 2))


# ------------------------------------------------------------------------------------------ packing
@given(documents=documents, length=st.integers(1, 12), n_open=st.integers(1, 4))
def test_whole_documents_are_cut_only_if_no_row_holds_them(documents, length, n_open):
    inputs, targets = pack_whole_documents(documents, length, end_token=0, n_open=n_open)
    assert inputs.shape == targets.shape and inputs.shape[1] == length
    assert (inputs[:, 0] == 0).all()  # a row begins as a prompt does, behind an end
    counts = targets != IGNORE_INDEX
    assert torch.equal(counts, counts.cummin(1).values)  # what is free is free at the end
    assert torch.equal(targets[:, :-1][counts[:, 1:]], inputs[:, 1:][counts[:, 1:]])
    rows = [row[row != IGNORE_INDEX].tolist() for row in targets]
    # every token is learnt once
    assert sorted(sum(rows, [])) == sorted(token_stream(documents, 0).tolist())
    whole = [document for document in documents if len(document) < length]
    found = [piece for row in rows for piece in pieces(row)]
    for document in whole:
        found.remove(document)  # raises if it was cut


def pieces(row):
    """Cut a row behind its end tokens."""
    cuts = [-1, *(i for i, token in enumerate(row) if token == 0)]
    return [row[a + 1 : b] for a, b in zip(cuts, cuts[1:], strict=False)]


def test_a_piece_goes_into_the_fullest_row_that_has_room_and_the_fullest_row_is_closed():
    assert best_fit_rows(["aaaa", "b", "cc", "ddd"], 8, n_open=9) == [["aaaa", "b", "cc"], ["ddd"]]
    assert best_fit_rows(["aaa", "bbbb", "cc", "d"], 5, n_open=9) == [["aaa", "cc"], ["bbbb", "d"]]
    assert best_fit_rows(["aaa", "bbbb", "ccc", "d", "ee"], 5, n_open=2) == [
        ["bbbb"],
        ["aaa", "d"],
        ["ccc", "ee"],
    ]


def test_long_documents_do_not_stand_first_in_their_rows():
    documents = [[1] * 5 if i % 3 else [2, 2] for i in range(3000)]
    inputs, _ = pack_whole_documents(documents, 9, end_token=0)
    both = inputs[(inputs == 1).any(1) & (inputs == 2).any(1)]
    assert 0.4 < (both[:, 1] == 1).float().mean() < 0.6


def test_no_documents_make_no_rows():
    with pytest.raises(ValueError, match="there are no documents to pack"):
        pack_whole_documents([], 8, end_token=0)


@given(step=st.integers(0, 20), batch_size=st.integers(1, 9))
def test_shuffled_rows_come_once_per_epoch_and_go_on_where_they_stopped(step, batch_size):
    rows = torch.arange(7)[:, None]
    seen = torch.cat([x for x, _ in islice(shuffled_rows(rows, rows + 9, batch_size), 7)])
    assert all(
        torch.equal(epoch.sort().values, torch.arange(7)) for epoch in seen.view(batch_size, 7)
    )
    whole = next(islice(shuffled_rows(rows, rows + 9, batch_size, seed=1), step, None))
    resumed = next(shuffled_rows(rows, rows + 9, batch_size, seed=1, start_step=step))
    assert torch.equal(whole[0], resumed[0]) and torch.equal(whole[1], resumed[0] + 9)


@given(skip=st.integers(0, 12), steps=st.tuples(st.integers(0, 4), st.integers(0, 4)))
def test_phases_follow_each_other_wherever_a_run_goes_on(skip, steps):
    phases = [
        lambda start, name=name: iter([(name, i) for i in range(start, 30)]) for name in "abc"
    ]
    whole = [*islice(phases_in_turn(phases, steps), 20)]
    assert [name for name, _ in whole] == ["a"] * steps[0] + ["b"] * steps[1] + ["c"] * (
        20 - sum(steps)
    )
    assert [*islice(phases_in_turn(phases, steps, skip), 20 - skip)] == whole[skip:]


def test_each_phase_but_the_last_has_its_number_of_steps():
    with pytest.raises(ValueError, match="1 phases and 1 numbers of steps"):
        next(phases_in_turn([lambda skip: iter("abc")], [2]))


@given(documents=documents, length=st.integers(1, 8))
def test_packed_rows_hold_the_stream_and_its_successor(documents, length):
    tokens = token_stream(documents, end_token=0)
    if len(tokens) < 2:
        return
    packed = pack_documents(documents, length, end_token=0)
    kept = packed.documents.flatten() >= 0
    assert torch.equal(packed.inputs.flatten()[kept], tokens[:-1])
    assert torch.equal(packed.targets.flatten()[kept], tokens[1:])
    assert (packed.targets.flatten()[~kept] == IGNORE_INDEX).all()


@given(documents=documents, length=st.integers(1, 8))
def test_separate_documents_never_meet(documents, length):
    if sum(map(len, documents)) + len(documents) < 2:
        return
    packed = pack_documents(documents, length, end_token=0, separate=True)
    for owner in range(len(documents)):
        mine = packed.documents == owner
        document = torch.tensor([*documents[owner], 0])
        inputs, targets = packed.inputs[mine], packed.targets[mine]
        assert torch.equal(inputs, document[: len(inputs)]) and len(document) - len(inputs) in (
            0,
            1,
        )
        assert torch.equal(targets[targets != IGNORE_INDEX], document[1:])
    seen = same_document(packed.documents)
    for row, query, key in seen.nonzero():
        assert key <= query and packed.documents[row, query] == packed.documents[row, key]


def test_positions_restart_with_each_document_and_each_row():
    packed = pack_documents([[5, 6], [7], [8, 9, 8]], length=4, end_token=0)
    assert packed.documents.tolist() == [[0, 0, 0, 1], [1, 2, 2, 2]]
    assert packed.positions.tolist() == [[0, 1, 2, 0], [0, 0, 1, 2]]


def test_with_the_mask_a_document_reads_the_same_packed_or_alone():
    """Attention over a packed row, masked, equals attention over the document by itself."""
    vectors = torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    packed = pack_documents([[5, 6, 7], [8, 9, 10, 11]], length=9, end_token=0, separate=True)
    x, mask = vectors[packed.inputs], same_document(packed.documents)
    together = F.scaled_dot_product_attention(x, x, x, attn_mask=mask)[packed.documents == 1]
    alone = vectors[torch.tensor([[8, 9, 10, 11]])]
    torch.testing.assert_close(
        together[:4], F.scaled_dot_product_attention(alone, alone, alone, is_causal=True)[0]
    )


def test_nothing_to_pack():
    with pytest.raises(ValueError, match="1 documents hold 1 tokens"):
        pack_documents([[]], length=4, end_token=0)
    with pytest.raises(ValueError, match="length must be"):
        pack_documents([[1, 2]], length=0, end_token=0)


# ------------------------------------------------------------------------------------------ padding
@given(sequences=documents, side=st.sampled_from(["left", "right"]), extra=st.integers(0, 3))
def test_padding_changes_no_token(sequences, side, extra):
    length = max(map(len, sequences)) + extra
    tokens, mask = pad_rows(sequences, pad_token=0, side=side, length=length)
    assert tokens.shape == mask.shape == (len(sequences), length)
    assert [row[keep].tolist() for row, keep in zip(tokens, mask, strict=True)] == sequences
    assert (tokens[~mask] == 0).all()
    if length:
        ends = mask[:, -1 if side == "left" else 0]
        assert ends.tolist() == [len(sequence) > 0 for sequence in sequences]


def test_padding_that_cannot_be():
    with pytest.raises(
        ValueError, match="longest sequence has 3 tokens, which do not fit into length 2"
    ):
        pad_rows([[1, 2, 3]], 0, length=2)
    with pytest.raises(ValueError, match="'left' or 'right', not 'middle'"):
        pad_rows([[1]], 0, side="middle")
    with pytest.raises(ValueError, match="no sequences"):
        pad_rows([], 0)
