"""The book on paper: nothing is cut, what was folded lies open, and a cheat sheet is one page."""

import sys

import pytest
from pypdf import PdfReader

from course_lib.lab import course_map

LESSON = "notebooks/06_self_attention.html"
BUILT = [lesson for lesson in course_map.lessons() if lesson.built]


@pytest.fixture(scope="module")
def pdf():
    """The module `book/pdf.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(course_map.ROOT / "book"), *sys.path])
        import pdf

        yield pdf


def printed(pdf, browser, book, file, pages):
    """Print pages of the book into one PDF, and read it."""
    chapters = pdf.read_chapters(browser, book, [(book / page).as_uri() for page in pages])
    pdf.write_pdf(browser, "A part of the book", chapters, file)
    assert list(file.parent.iterdir()) == [file]
    return PdfReader(file)


def test_each_cheat_sheet_is_one_page(pdf, browser, book, tmp_path):
    names = [f"cheat_sheets/{lesson.number}.html" for lesson in BUILT]
    sheets = printed(pdf, browser, book, tmp_path / "sheets.pdf", names)
    assert [float(side) for side in sheets.pages[0].mediabox[2:]] == pytest.approx(
        [595, 842], abs=1
    )
    texts = [page.extract_text() for page in sheets.pages]
    assert len(texts) == len(BUILT)
    for lesson, text in zip(BUILT, texts, strict=True):
        assert text.lstrip().startswith(f"{lesson.number} ·") and "Papers" in text


def test_pages_become_one_document(pdf, browser, book, tmp_path):
    made = printed(pdf, browser, book, tmp_path / "book.pdf", ["index.html", LESSON])
    root, text = made.trailer["/Root"], [page.extract_text() for page in made.pages]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en"
    first = made.get_destination_page_number(
        next(each for each in bookmarks(made.outline) if each.title.startswith("06 ·"))
    )
    assert 0 < first < len(text) - 10, "the lesson begins after the start page, and is long"
    assert text[-1].startswith(f"{len(text)}06 · Self-attention"), "the foot of a page"
    whole = " ".join("".join(text[first:]).split())
    assert "weights [0.665, 0.245, 0.09]" in whole, "outputs are printed"
    assert "Mask before the softmax" in whole and "masked_fill" in whole, "folds lie open"
    assert "Show the solution" not in whole and "Map of the course" not in whole
    notes = [note.get_object() for page in made.pages[:first] for note in page.get("/Annots", [])]
    goals = {str(note.get("/Dest")) for note in notes}
    assert "/notebooks-06_self_attention" in goals, "links lead inside"


def test_a_figures_own_styles_are_kept(pdf, browser, book):
    """A function played line by line: the style that marks its lines stands beside it."""
    (chapter,) = pdf.read_chapters(browser, book, [(book / LESSON).as_uri()])
    assert any(".course-steps pre" in style for style in chapter.drawn)


def test_a_function_played_line_by_line_breaks_where_a_page_ends(page, book, tmp_path):
    """It may be as long as a page: kept whole, it would leave a large gap before it."""
    page.goto((book / LESSON).as_uri())
    page.wait_for_selector(".course-steps pre span")
    page.evaluate("""() => {
        const article = document.querySelector("article.bd-article");
        const figure = document.querySelector(".course-steps").closest(".cell_output");
        const above = document.createElement("div");
        above.style.height = "235mm"; // of 263 on a page
        article.replaceChildren(above, figure);
    }""")
    page.pdf(path=tmp_path / "figure.pdf", prefer_css_page_size=True)
    pages = [page.extract_text() for page in PdfReader(tmp_path / "figure.pdf").pages]
    lines = [line.strip() for line in page.locator(".course-steps pre").first.all_inner_texts()]
    first, *_, last = lines[0].splitlines()
    assert first in pages[0] and last not in pages[0] and last in "".join(pages[1:])


def bookmarks(outline):
    """All bookmarks, those below others too."""
    for each in outline:
        if isinstance(each, list):
            yield from bookmarks(each)
        else:
            yield each


def test_print_hides_what_a_screen_needs_and_cuts_nothing(page, book):
    page.goto((book / LESSON).as_uri())
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 680, "height": 1000})  # an A4 page between its margins
    for hidden in (".bd-sidebar-primary", ".bd-header-article", ".prev-next-footer", ".copybtn"):
        assert not any(part.is_visible() for part in page.locator(hidden).all()), hidden
    wide = """[...document.querySelectorAll('article pre, article img, article table')]
        .filter(part => part.checkVisibility() && part.getBoundingClientRect().right > 681)
        .map(part => part.outerHTML.slice(0, 80))"""
    assert page.evaluate(wide) == []
