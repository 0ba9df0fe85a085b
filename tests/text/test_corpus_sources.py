"""Folders of text: which files count, in which order, and which are refused by name."""

import random

import pytest

from course_lib.text import corpus


def write(folder, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


FILES = {
    "b.txt": b"Second.",
    "a/z.md": b"First,\r\nin a folder.",
    "a.TXT": "Café\u2028au lait".encode(),
    "c.Md": b"\xef\xbb\xbfWith a byte-order mark.",
    "blank.txt": b" \n\n",
    "empty.md": b"",
    "notes.csv": b"\xff\xfe",
    ".git/HEAD.txt": b"hidden \xff",
    "._a.txt": b"\x00\x05\x16\x07",
}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_folder_gives_its_texts_in_the_order_of_their_paths(tmp_path, seed):
    names = random.Random(seed).sample(sorted(FILES), len(FILES))
    write(tmp_path, {name: FILES[name] for name in names})
    (tmp_path / "folder.txt").mkdir()
    assert [(d.url, d.text) for d in corpus.read_text_folder(tmp_path)] == [
        ("a.TXT", "Café\nau lait"),
        ("a/z.md", "First,\nin a folder."),
        ("b.txt", "Second."),
        ("c.Md", "With a byte-order mark."),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("café olé".encode("latin-1"), "byte 0xe9 at offset 3 of 8"),
        ("text".encode("utf-16"), "zero byte at offset 3 of 10"),
        (b"PK\x03\x04\x00", "zero byte at offset 4 of 5"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path, content, message):
    write(tmp_path, {f"{i}.txt": b"Good." for i in range(3)} | {"1.txt": content})
    with pytest.raises(ValueError, match=rf"1\.txt: not .*{message}"):
        corpus.read_text_folder(tmp_path)


def test_folders_without_text(tmp_path):
    write(tmp_path, {"a.txt": b"\n", "b.pdf": b"%PDF"})
    with pytest.raises(
        ValueError, match=r"has no text: of its files 1 end in \.txt or \.md, and none holds any"
    ):
        corpus.read_text_folder(tmp_path)
    for name in ("nowhere", "a.txt"):
        with pytest.raises(NotADirectoryError, match=f"{name} is no folder"):
            corpus.read_text_folder(tmp_path / name)
