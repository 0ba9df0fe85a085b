"""One source tells all lessons; the README and the notebooks are in step with it."""

import re

import pytest

from course_lib.lab import course_map


def test_all_lessons_are_there_in_order():
    lessons = course_map.lessons()
    assert [lesson.number for lesson in lessons] == [f"{i:02}" for i in range(35)]
    assert len({lesson.slug for lesson in lessons}) == 35
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", lesson.slug) for lesson in lessons)
    assert [lesson.part for lesson in lessons] == sorted(lesson.part for lesson in lessons)
    for lesson in lessons:
        assert all(need < lesson.number for need in lesson.needs), (
            f"{lesson.number} needs a later lesson"
        )
        assert lesson.promise.endswith(".") and 20 <= lesson.minutes <= 120


def test_the_readme_is_in_step():
    readme = (course_map.ROOT / "README.md").read_text(encoding="utf-8")
    assert course_map.in_readme(readme) == readme, (
        "run `python -m course_lib.lab.course_map --write`"
    )


def test_the_readme_is_refreshed_between_its_markers():
    old = f"above\n{course_map.START}\nold\n{course_map.END}\nbelow"
    new = course_map.in_readme(old)
    assert new.startswith("above\n") and new.endswith("\nbelow") and "\nold\n" not in new
    assert course_map.table() in new and course_map.in_readme(new) == new
    with pytest.raises(ValueError, match="markers"):
        course_map.in_readme("no markers")


def test_the_map_marks_here_and_links_what_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(course_map, "NOTEBOOKS", tmp_path)
    (tmp_path / "01_pytorch.ipynb").touch()
    html = course_map.as_html("03")
    assert html.count("you are here") == 1 and "03 Byte-pair encoding · you are here" in html
    assert re.findall(r'href="([^"]+)"', html) == ["01_pytorch.ipynb"]
    assert html.count("(to come)") == 33
    assert "03 Byte-pair encoding   <- you are here" in course_map.as_text("03")
    assert course_map.table().count("](notebooks/") == 1


def test_show_knows_the_lesson(monkeypatch):
    shown = []
    monkeypatch.setattr(course_map, "display", lambda bundle, raw: shown.append(bundle))
    monkeypatch.setattr(course_map, "current", "")
    course_map.show("03")
    assert course_map.current == "03" and set(shown[0]) == {"text/html", "text/plain"}
    with pytest.raises(ValueError, match='no lesson \'77\'.*"00" to "34"'):
        course_map.show("77")


class LiveShell:
    """What IPython gives inside a notebook."""

    kernel = object()


def test_a_live_notebook_gets_the_names_of_its_controls_and_a_stored_one_does_not(monkeypatch):
    shown = []
    monkeypatch.setattr(course_map, "display", lambda bundle, raw: shown.append(bundle))
    course_map.show("03")
    monkeypatch.setattr(course_map, "get_ipython", LiveShell)
    monkeypatch.setenv("COURSE_QUIET", "1")
    course_map.show("03")
    assert len(shown) == 2
    monkeypatch.delenv("COURSE_QUIET")
    course_map.show("03")
    assert len(shown) == 4 and "aria-valuetext" in shown[-1]["text/html"]
    assert "</script>" not in course_map.CONTROLS.read_text(encoding="utf-8")
