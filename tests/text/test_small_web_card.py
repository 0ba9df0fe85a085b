import json

import pytest

from course_lib.text.small_web import generate_pages
from course_lib.text.small_web.__main__ import main
from course_lib.text.small_web.card import BEGIN, DATA_CARD, END, data_card_text, write_data_card


def test_the_card_says_what_the_generator_makes():
    text = DATA_CARD.read_text(encoding="utf-8")
    assert data_card_text(text) == text, "run: python -m course_lib.text.small_web --card"


def test_a_stale_card_is_rewritten_between_its_marks_only(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_data_card(path)
    text = path.read_text(encoding="utf-8")
    assert (
        text.startswith("before\n")
        and text.endswith("after\n")
        and "stale" not in text
        and "| tale |" in text
    )


def test_a_card_without_marks_is_refused(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="once each"):
        write_data_card(path)
    assert path.read_text(encoding="utf-8") == "no marks"


def test_the_command_writes_one_page_a_line(tmp_path, capsys):
    path = tmp_path / "web.jsonl"
    main(["--megabytes", "0.05", "--seed", "3", "--out", str(path)])
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pages = list(generate_pages(0.05, 3))
    assert [(row["url"], row["html"], row["truth"]["text"]) for row in written] == [
        (page.url, page.html, page.truth.text) for page in pages
    ]
    assert f"{len(pages)} pages in {path}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, says", [
    ([], "either --out FILE or --card"),
    (["--card", "--out", "x"], "either --out FILE or --card"),
    (["--megabytes", "99", "--out", "FILE"], "at most 50, not 99.0"),
])  # fmt: skip
def test_wrong_commands_are_refused_and_write_nothing(arguments, says, tmp_path, capsys):
    path = tmp_path / "web.jsonl"
    with pytest.raises(SystemExit):
        main([str(path) if argument == "FILE" else argument for argument in arguments])
    assert says in capsys.readouterr().err
    assert not path.exists()
