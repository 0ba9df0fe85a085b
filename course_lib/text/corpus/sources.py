"""Where documents come from: the plays that the course brings, folders of the reader's texts."""

from __future__ import annotations

from pathlib import Path

from course_lib import assets
from course_lib.text.corpus.document import Document, decode_utf8, split_words
from course_lib.text.corpus.markup import normalize_text

TEXT_SUFFIXES = (".txt", ".md")


def play_documents() -> list[Document]:
    """Shakespeare's plays and poems, one document each, line ends and spaces normalised.

    Needs the asset `plays`.
    """

    def document(title: str, raw: bytes) -> Document:
        url = "plays/" + "-".join(split_words(title))
        return Document(
            url, normalize_text(decode_utf8(raw)), {"title": title, "author": "Shakespeare"}
        )

    return [
        document(title, path.read_bytes()) for title, path in sorted(assets.plays_files().items())
    ]


def read_text_folder(folder: str | Path) -> list[Document]:
    """The .txt and .md files below a folder (.TXT too), normalised.

    Their paths inside the folder are the URLs. In the order of these paths, which is the same on
    every machine. Blank files are no documents; hidden files and folders (`.git`) and files with
    other endings are passed over.

    Raises:
        NotADirectoryError: there is no such folder.
        ValueError: a file is not UTF-8 or holds a zero byte (the message names it), or there is no
            text at all.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is no folder")
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if is_text_file(file, folder)
    }
    documents = [Document(name, read_text_file(file)) for name, file in sorted(files.items())]
    documents = [document for document in documents if document.text]
    if not documents:
        endings = " or ".join(TEXT_SUFFIXES)
        raise ValueError(
            f"{folder} has no text: of its files {len(files)} end in {endings}, and none holds any"
        )
    return documents


def is_text_file(file: Path, folder: Path) -> bool:
    """Whether the name ends as a text's does, and no part of the path is hidden."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix.lower() in TEXT_SUFFIXES and not hidden and file.is_file()


def read_text_file(file: Path) -> str:
    """The normalised text of a file.

    Raises ValueError, naming the file, if it is not UTF-8 text.
    """
    raw = file.read_bytes()
    try:
        if b"\0" in raw:
            raise ValueError(f"not text: a zero byte at offset {raw.index(0)} of {len(raw)}")
        return normalize_text(decode_utf8(raw))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
