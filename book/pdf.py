"""Print the built book: `python book/pdf.py` makes one PDF of all its pages and one of the cheat
sheets.

Each page is opened in a headless Chromium, where widgets and formulas are drawn; what it then shows
is kept as plain HTML (`pdf.js`). All pages together are one document, so that Chromium numbers
its pages, leads links from one lesson into another, and writes headings as bookmarks and tags for
screen readers.
"""

import argparse
import html
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import build
from chromium import running_chromium
from playwright.sync_api import Browser

STILL = Path(__file__).with_name("pdf.js")
CONTENTS = """[...document.querySelectorAll(".bd-sidebar-primary nav a.internal")]
    .map(link => link.href.split("#")[0])"""
DRAWN = """!document.querySelector(".widget-subarea")
    || document.querySelector(".widget-subarea .jupyter-widgets")"""
PATIENCE = 20 * 60 * 1000  # milliseconds for a thousand pages on a slow machine
SHEETS = "cheat_sheets-"  # the names of their chapters begin so, with a number behind


@dataclass(frozen=True)
class Chapter:
    """A page of the book as it is shown, without scripts."""

    name: str
    title: str
    html: str
    styles: list[str]  # addresses of style sheets
    drawn: list[str]  # style sheets that scripts added


def pages_of(browser: Browser, book: Path) -> list[str]:
    """The addresses of a built book's pages, in the order of its table of contents."""
    page = browser.new_page()
    page.goto((book / "index.html").as_uri())
    pages = list(dict.fromkeys(page.evaluate(CONTENTS)))
    page.close()
    return pages


def read_chapters(browser: Browser, book: Path, addresses: list[str]) -> list[Chapter]:
    """Open pages of the book, wait until they are drawn, and keep what they show."""
    page = browser.new_page(viewport={"width": 1000, "height": 1000})
    keep, start = STILL.read_text(encoding="utf-8"), (book / "index.html").as_uri()
    chapters = []
    for address in addresses:
        page.goto(address)
        page.wait_for_function(DRAWN)
        page.evaluate("window.MathJax && MathJax.startup.promise")
        chapters.append(Chapter(**page.evaluate(keep, start)))
    page.close()
    return chapters


def as_document(title: str, chapters: list[Chapter]) -> str:
    """Put chapters into one document. The foot of each page names its chapter."""
    styles = dict.fromkeys(address for chapter in chapters for address in chapter.styles)
    links = "".join(f'<link rel="stylesheet" href="{html.escape(address)}">' for address in styles)
    drawn = dict.fromkeys(style for chapter in chapters for style in chapter.drawn)
    feet, body = [], []
    for chapter in chapters:
        kind = "cheat-sheet" if is_sheet(chapter) else chapter.name
        if not is_sheet(chapter):
            title_of = json.dumps(chapter.title, ensure_ascii=False)
            feet.append(f"@page {kind} {{ @bottom-left {{ content: {title_of} }} }}")
        body.append(
            f'<article class="bd-article" id="{chapter.name}" style="page: {kind}">'
            f"{chapter.html}</article>"
        )
    return (
        '<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title>{links}"
        f"<style>{''.join(drawn)}{' '.join(feet)}</style></head>"
        '<body class="printed"><main class="bd-main"><div class="bd-content">'
        f'<div class="bd-article-container">{"".join(body)}</div></div></main></body></html>'
    )


def is_sheet(chapter: Chapter) -> bool:
    """True for the cheat sheet of a lesson."""
    return chapter.name.startswith(SHEETS) and chapter.name != f"{SHEETS}index"


def write_pdf(browser: Browser, title: str, chapters: list[Chapter], file: Path) -> None:
    """Print chapters into a PDF with tags, bookmarks and page numbers."""
    document, printed = file.with_suffix(".html.tmp.html"), file.with_suffix(".tmp")
    document.write_text(as_document(title, chapters), encoding="utf-8")
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(document.as_uri())
    page.pdf(path=printed, prefer_css_page_size=True, tagged=True, outline=True)
    page.close()
    document.unlink()
    printed.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Print the book, and the cheat sheets.")
    parser.add_argument(
        "--output", type=Path, default=build.OUTPUT, help="where to build (default: book/_build)"
    )
    output = parser.parse_args().output.resolve()
    try:
        book = build.build(output).parent
        with running_chromium() as browser:
            chapters = read_chapters(browser, book, pages_of(browser, book))
            sheets = [chapter for chapter in chapters if is_sheet(chapter)]
            title = "From Bytes to Reasoning"
            write_pdf(browser, f"{title}: cheat sheets", sheets, output / "cheat_sheets.pdf")
            write_pdf(browser, title, chapters, output / "book.pdf")
    except RuntimeError as error:
        sys.exit(str(error))
    print(f"the book is in {output / 'book.pdf'}, the sheets in {output / 'cheat_sheets.pdf'}")


if __name__ == "__main__":
    main()
