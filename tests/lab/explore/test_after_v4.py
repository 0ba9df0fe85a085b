"""The figures of lesson 34 show the words, lessons and gates that they are given."""

import json
import re

from course_lib.assets import DATA_FOLDER
from course_lib.lab import course_map
from course_lib.lab.explore import after_v4 as explore


def published(name):
    return json.loads((DATA_FOLDER / "published_configs" / f"{name}.json").read_text())


def pages_of(widget):
    return [page.value for page in widget.children[-1].children]


def test_every_word_of_v4_flash_has_one_lesson_that_there_is():
    config, numbers = published("deepseek-v4-flash"), {one.number for one in course_map.lessons()}
    for word in set(config) - explore.NAMES:
        assert explore.lesson_of_word(word) in numbers, word
        assert sum(word in group for group in explore.GROUPS.values()) == 1
    assert explore.lesson_of_word("engram_n_heads") is None


def test_each_word_stands_on_its_page_with_its_value_and_lesson():
    config = published("deepseek-v4-flash")
    widget = explore.release_words(config)
    for page, group in zip(pages_of(widget), explore.GROUPS.values(), strict=True):
        rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in page.split("<tr")[2:]]
        assert [row[0] for row in rows] == [f"<code>{w}</code>" for w in group if w in config]
        assert [row[2] for row in rows] == [group[w][0] for w in group if w in config]
    attention = widget.still
    assert "2 of 0, 21 of 4, 20 of 128" in attention and ">512</td>" in attention


def test_a_passage_is_shaded_by_gates_and_by_what_they_save():
    run = {"seed": 0, "passage": [["The", 0.1, 0.0], [" <k", 0.5, 1.5], ["\n", 1.0, -2.0]]}
    widget = explore.memory_gates({"experts alone": [{"seed": 0}], "memory 25%": [run]})
    (page,) = re.findall(r"(?s)memory 25%, seed 0.*", widget.still)
    shades = [float(shade) for shade in re.findall(r", ([\d.]+)\)\"", page)]
    wanted = [0.75 * shade for shade in (0.1, 0.5, 1.0, 0.0, 0.5, 0.0)]
    assert all(abs(a - b) < 0.006 for a, b in zip(shades, wanted, strict=True))
    assert "&lt;k" in page and 'title="0.50"' in page and 'title="-2.00"' in page
