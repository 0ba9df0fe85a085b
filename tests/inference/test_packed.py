"""A model on its file's packed weights answers as the unpacked one, up to bfloat16."""

import numpy as np
import pytest
import torch

from course_lib.inference.generate import generate
from course_lib.inference.packed import PackedLinear, load_packed_gguf, nibble_planes
from course_lib.models.gguf_files import GGUF_FORMATS, StoredTensor, load_gguf, read_gguf_tensors
from tests.models.tiny_gguf import (
    F32,
    PAIRS,
    Q4_0,
    Q4_1,
    Q8_0,
    gguf_bytes,
    random_blocks,
    tiny_tensors,
)

IDS = torch.tensor([[1, 200, 7, 30, 100, 260]])


@pytest.fixture(params=[Q4_0, Q4_1, Q8_0])
def file(tmp_path, request):
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes(PAIRS, tiny_tensors(request.param)))
    return tmp_path / "tiny.gguf"


def test_planes_add_up_to_the_weights(file):
    for name, stored in read_gguf_tensors(file).items():
        if len(stored.shape) == 1:
            continue
        total = torch.zeros(stored.shape, dtype=torch.double)
        for codes, scale, shift in nibble_planes(stored):
            assert codes.min() >= 0 and codes.max() <= 15
            groups = (codes.int().view(len(codes), -1, 32) - 8) * scale.double()[..., None]
            total += (groups + shift.double()[..., None]).flatten(1)
        torch.testing.assert_close(
            total.float(), stored.dequantize(), rtol=1e-6, atol=1e-6, msg=name
        )


def test_a_packed_layer_multiplies_as_the_unpacked(file):
    torch.manual_seed(0)
    stored = read_gguf_tensors(file)["blk.0.ffn_up.weight"]
    x = torch.randn(2, 3, 64)
    want = x @ stored.dequantize().T
    torch.testing.assert_close(PackedLinear(stored)(x), want, rtol=0.02, atol=0.02 * want.std())


def test_a_packed_model_scores_as_the_unpacked_one(file):
    packed, plain = load_packed_gguf(file).model, load_gguf(file).model
    with torch.no_grad():
        got, want = packed(IDS), plain(IDS)
    assert (got - want).std() < 0.05 * want.std()
    rows = torch.tensor([[0, 260]])
    torch.testing.assert_close(packed.token_embedding(rows), plain.token_embedding(rows))
    assert generate(packed, IDS, 5, temperature=0.0).shape == (1, 11)


def test_what_is_not_packed_is_refused(tmp_path):
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes(PAIRS, tiny_tensors(F32)))
    with pytest.raises(ValueError, match="weights in F32 are not packed"):
        load_packed_gguf(tmp_path / "tiny.gguf")
    rows = read_gguf_tensors(tmp_path / "tiny.gguf")["token_embd.weight"]
    with pytest.raises(ValueError, match="9 rows: the kernel takes a multiple of 16"):
        PackedLinear(rows._replace(rows=rows.rows[:9], shape=(9, 64)))


def test_a_tall_matrix_is_packed_in_parts():
    rng = np.random.default_rng(0)
    rows = torch.frombuffer(bytearray(random_blocks(rng, Q8_0, 8208 * 32)), dtype=torch.uint8)
    tall = StoredTensor(GGUF_FORMATS[Q8_0], rows.view(8208, 34), (8208, 32))
    x = torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    want = x @ tall.dequantize().T
    torch.testing.assert_close(PackedLinear(tall)(x), want, rtol=0.02, atol=0.02 * want.std())
