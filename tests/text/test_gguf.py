"""GGUF headers that are cut or damaged: a ValueError that names the file, nothing else."""

import struct

import pytest

from course_lib.text.gguf import gguf_metadata


def text(string: str) -> bytes:
    return struct.pack("<Q", len(string.encode())) + string.encode()


LIST = text("a.list") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("yy")
FLAG = text("flag") + struct.pack("<IB", 7, 1)
NAME = text("name") + struct.pack("<I", 8) + text("tiny modèl")
START = b"GGUF" + struct.pack("<IQQ", 3, 0, 3)
WHOLE = START + LIST + FLAG + NAME
READ = {"a.list": ["x", "yy"], "flag": True, "name": "tiny modèl"}


def test_a_header_written_by_hand_is_read(tmp_path):
    path = tmp_path / "x.gguf"
    for version in (2, 3):
        path.write_bytes(
            WHOLE.replace(START, b"GGUF" + struct.pack("<IQQ", version, 0, 3)) + b"the tensors"
        )
        assert gguf_metadata(path) == READ


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path):
    path = tmp_path / "x.gguf"
    for n_bytes in range(len(WHOLE)):
        path.write_bytes(WHOLE[:n_bytes])
        with pytest.raises(ValueError, match="x.gguf is"):
            gguf_metadata(path)


def test_any_bit_that_changes_gives_pairs_or_an_error_that_names_the_file(tmp_path):
    path = tmp_path / "x.gguf"
    for bit in range(8 * len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert isinstance(gguf_metadata(path), dict)
        except ValueError as error:
            assert "x.gguf is" in str(error)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([text("n") + struct.pack("<IQ", 8, 2**62) + b"short"], "ends inside its header"),
        ([text("n") + struct.pack("<IIQ", 9, 4, 2**40)], "ends inside its header"),
        ([text("n") + struct.pack("<I", 13)], "value of type 13; known are 0 to 12"),
        ([text("n") + struct.pack("<IB", 7, 2)], "2 for a bool"),
        ([text("n") + struct.pack("<IQ", 8, 1) + b"\xff"], "can't decode"),
        ([FLAG, FLAG], "names 'flag' twice"),
        ([text("n") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000], "recursion"),
    ],
)
def test_each_kind_of_damage_is_told(tmp_path, pairs, message):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs))
    with pytest.raises(ValueError, match=f"x.gguf is damaged: .*{message}"):
        gguf_metadata(path)


@pytest.mark.parametrize(
    "start", [struct.pack("<IQQ", 1, 0, 0), struct.pack(">IQQ", 3, 0, 0)], ids=["1", "big-endian"]
)
def test_versions_that_count_otherwise_are_refused(tmp_path, start):
    (tmp_path / "x.gguf").write_bytes(b"GGUF" + start)
    with pytest.raises(ValueError, match=r"its version is \d+; known are 2 and 3"):
        gguf_metadata(tmp_path / "x.gguf")
