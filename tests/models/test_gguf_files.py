"""Weights from GGUF files: bit for bit what the gguf package reads, and errors that name things."""

import struct

import numpy as np
import pytest
import torch

from course_lib.models.gguf_files import (
    GGUF_FORMATS,
    load_gguf,
    read_gguf_tensors,
    unpermute_rotary,
)
from course_lib.text.gguf import gguf_header
from tests.models.tiny_gguf import (
    BLOCK_BYTES,
    F32,
    PAIRS,
    Q4_1,
    Q8_0,
    gguf_bytes,
    random_blocks,
    tiny_tensors,
)

IDS = torch.tensor([[1, 200, 7, 30, 100, 260]])


@pytest.fixture
def tiny(tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes(PAIRS, tiny_tensors()))
    return tmp_path / "tiny.gguf"


@pytest.mark.parametrize("kind", GGUF_FORMATS)
def test_weights_are_bit_for_bit_those_of_the_gguf_package(kind):
    gguf = pytest.importorskip("gguf")
    form, rng = GGUF_FORMATS[kind], np.random.default_rng(kind)
    assert BLOCK_BYTES[kind] == (form.weights, form.bytes)
    n = 64 * form.weights
    if form.weights > 1:
        data = np.frombuffer(random_blocks(rng, kind, n), np.uint8)
    else:
        data = rng.standard_normal(n * form.bytes // 4).astype("<f4").view(np.uint8)
    theirs = gguf.quants.dequantize(
        data.view("<f4" if kind == F32 else "<f2" if kind == 1 else np.uint8).reshape(64, -1),
        gguf.GGMLQuantizationType(kind),
    )
    ours = form.dequantize(torch.from_numpy(data.copy()).reshape(-1, form.bytes))
    np.testing.assert_array_equal(ours.reshape(64, -1).numpy(), theirs)


def test_a_block_of_q4_1_by_hand():
    """d 0.5, m -2; byte 0 holds weight 0 in its low half and weight 16 in its high one."""
    block = np.array([0.5, -2.0], "<f2").tobytes() + bytes([0xF1]) + bytes(15)
    weights = GGUF_FORMATS[Q4_1].dequantize(torch.tensor([[*block]], dtype=torch.uint8))[0]
    assert weights[0] == -1.5 and weights[16] == 5.5 and weights[1] == -2.0


def test_the_file_is_found_as_the_gguf_package_finds_it(tiny):
    gguf = pytest.importorskip("gguf")
    theirs = {t.name: t for t in gguf.GGUFReader(tiny).tensors}
    _, places = gguf_header(tiny)
    stored = read_gguf_tensors(tiny)
    assert list(theirs) == list(places) == list(stored)
    for name, tensor in theirs.items():
        want = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        assert places[name].start == tensor.data_offset
        np.testing.assert_array_equal(stored[name].dequantize().numpy(), want)


def test_rows_for_halves_rotate_as_rows_for_neighbours():
    """Rotating halves of the new rows is rotating neighbours of the old ones, reordered."""
    from course_lib.layers.position import rotate_halves, rotate_interleaved

    torch.manual_seed(0)
    rows, x, angles = torch.randn(2 * 8, 5), torch.randn(3, 5), torch.rand(3, 4)
    old = (x @ rows.T).unflatten(-1, (2, 8)).transpose(0, 1)
    new = (x @ unpermute_rotary(rows, 2).T).unflatten(-1, (2, 8)).transpose(0, 1)
    q, k = rotate_interleaved(old, angles), rotate_halves(new, angles)
    torch.testing.assert_close(q @ q.mT, k @ k.mT)
    assert not torch.allclose(rotate_halves(old, angles) @ rotate_halves(old, angles).mT, q @ q.mT)


def test_a_model_talks_in_its_own_template(tiny):
    model, tokenizer, template = load_gguf(tiny)
    s = model.settings
    assert (s.d_model, s.n_layers, s.n_heads, s.n_kv_heads, s.d_ff) == (64, 2, 4, 2, 96)
    assert s.norm_eps == 1e-5 and s.rope_base == 1000.0 and s.tied and s.vocab_size == 272
    assert tokenizer.decode(tokenizer.encode("abcab ü")) == "abcab ü"
    assert model(IDS).isfinite().all() and template.stop_token == 2
    wrong = load_gguf(tiny, unpermute=False).model
    assert not torch.allclose(wrong(IDS), model(IDS), atol=1e-2)


def changed(pairs: dict | None = None, tensors: dict | None = None, without: str = "") -> bytes:
    every = {key: value for key, value in (PAIRS | (pairs or {})).items() if key != without}
    kept = {name: t for name, t in (tiny_tensors() | (tensors or {})).items() if name != without}
    return gguf_bytes(every, kept)


ONE_ROW = bytes(2 * 20)
REFUSED = [
    (changed({"general.architecture": "qwen2"}), "architecture is 'qwen2'"),
    (changed(without="llama.block_count"), "does not say llama.block_count"),
    (changed({"llama.block_count": 3}), "has no blocks.2.attention.q.weight"),
    (changed({"llama.rope.scaling.type": "yarn"}), "rotary positions are scaled"),
    (changed({"llama.rope.dimension_count": 8}), "8 of 16 numbers"),
    (changed({"llama.attention.head_count": 3}), "not divisible"),
    (changed({"tokenizer.ggml.model": "llama"}), "tokenizer.ggml.model is 'llama'"),
    (changed({"tokenizer.ggml.pre": "qwen2"}), "tokenizer.ggml.pre is 'qwen2'"),
    (changed({"tokenizer.ggml.merges": ["ab c", "a b"]}), "no higher id"),
    (changed({"tokenizer.chat_template": "<|user|> hello"}), "<|user|>, which is none of the"),
    (changed({"tokenizer.chat_template": "{% for"}), "cannot be read"),
    (changed({"tokenizer.ggml.eos_token_id": 99}), "stop token 99"),
    (changed(without="tokenizer.chat_template"), "does not say tokenizer.chat_template"),
    (changed(without="output_norm.weight"), "1 weights are missing or too many: norm.weight"),
    (changed(tensors={"blk.0.ffn_up.weight": ((1, 64), Q4_1, ONE_ROW)}), "(1, 64) there"),
    (
        changed(tensors={"blk.0.attn_q.weight": ((64, 64), Q8_0, bytes(64 * 68))}),
        "differ in format",
    ),
    (changed(tensors={"strange.weight": ((32,), F32, bytes(128))}), "no other name"),
    (changed(tensors={"output_norm.weight": ((64,), 12, bytes(64))}), "format 12; known are 0"),
    (changed(tensors={"output_norm.weight": ((48,), Q8_0, bytes(64))}), "rows of 48 weights"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=[m for _, m in REFUSED])
def test_what_is_not_read_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "odd.gguf"
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        load_gguf(path)
    assert message in str(error.value) and "odd.gguf" in str(error.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole, path = gguf_bytes(PAIRS, tiny_tensors()), tmp_path / "odd.gguf"
    for n_bytes in [*range(0, len(whole), 997), len(whole) - 1]:
        path.write_bytes(whole[:n_bytes])
        with pytest.raises(ValueError, match=r"odd\.gguf"):
            load_gguf(path)
    with pytest.raises(FileNotFoundError):
        load_gguf(tmp_path / "none.gguf")


def test_places_that_lie_are_refused(tmp_path):
    path = tmp_path / "odd.gguf"
    name, shape = b"x", struct.pack("<IQ", 1, 2**40)
    entry = struct.pack("<Q", 1) + name + shape + struct.pack("<IQ", 0, 0)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + entry)
    with pytest.raises(ValueError, match="cut off"):
        read_gguf_tensors(path)
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + entry + entry)
    with pytest.raises(ValueError, match="comes twice"):
        read_gguf_tensors(path)
