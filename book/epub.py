"""Make the book for an e-reader: `python book/epub.py` writes `book.epub`.

Sphinx's builder does the work. What it does not know is done here: formulas become MathML, a figure
that moves shows its still, pictures become files, what needs a script or a form is left out, and
each page becomes XML. The file is a Sphinx extension as well: it is put beside the pages.
"""

import argparse
import base64
import hashlib
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.cmd.build import main as sphinx_build

VIEW = "application/vnd.jupyter.widget-view+json"
NEEDS_A_SCREEN = "script, noscript, button, .alive, .try, .try-setup, .headerlink"
NEEDS_A_SCREEN += ', summary .expanded, [aria-label="Map of the course"]'
NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # bytes that a model wrote, say
PICTURE = re.compile(r"data:image/([a-z]+)(?:\+xml)?;base64,(.*)", re.DOTALL)
SETTINGS = """
extensions = [each for each in extensions if each != "sphinx_togglebutton"] + ["epub"]
html_static_path, html_css_files, html_js_files = ["_epub"], [], []
html_math_renderer = "mathml"
author = "the authors"
version = release = "1"
epub_css_files, epub_show_urls, epub_tocdup = ["epub.css"], "no", False
epub_identifier = epub_uid = "from-bytes-to-reasoning"  # Sphinx writes one into each of two lists
epub_exclude_files = [".buildinfo", "search.html", "searchindex.js"]
suppress_warnings = ["epub.unknown_project_files", "mystnb.unknown_mime_type"]
"""
STYLE = """
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.75em; }
img { max-width: 100%; height: auto; }
table { font-size: 0.85em; border-collapse: collapse; }
td, th { padding: 0.2em 0.5em; border: 1px solid #999999; }
details { border-left: 3px solid #999999; padding-left: 0.6em; }
.cell_output { margin-left: 0.6em; }
"""


# Before Sphinx
# --------------------------------------------------------------------------------------------------


def stage(source: Path) -> None:
    """Turn the folder that `build.stage` makes into one for an e-reader."""
    for file in (source / "notebooks").glob("*.ipynb"):
        notebook = json.loads(file.read_text(encoding="utf-8"))
        notebook["metadata"].pop("widgets", None)
        for cell in notebook["cells"]:
            for output in cell.get("outputs", []):
                output.get("data", {}).pop(VIEW, None)  # its still, in HTML, stays
        file.write_text(json.dumps(notebook), encoding="utf-8")
    (source / "_epub").mkdir()
    (source / "_epub" / "epub.css").write_text(STYLE, encoding="utf-8")
    shutil.copy(__file__, source)
    with (source / "conf.py").open("a", encoding="utf-8") as conf:
        conf.write(SETTINGS)


# Inside Sphinx
# --------------------------------------------------------------------------------------------------


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (inline_mathml, None), (block_mathml, None))
    app.connect("html-page-context", adapt_page, priority=900)
    return {"parallel_read_safe": True}


def inline_mathml(translator, node: nodes.math) -> None:
    """Write a formula inside a line."""
    translator.body.append(as_mathml(node.astext()))
    raise nodes.SkipNode


def block_mathml(translator, node: nodes.math_block) -> None:
    """Write a formula on a line of its own."""
    translator.body.append(as_mathml(node.astext(), display="block"))
    raise nodes.SkipNode


def as_mathml(tex: str, display: str = "inline") -> str:
    """A formula as MathML, with its TeX for readers that read aloud."""
    formula = BeautifulSoup(convert(tex, display=display), "html.parser").math
    formula["alttext"] = " ".join(tex.split())
    return str(formula)


def adapt_page(app: Sphinx, page: str, template: str, context: dict, doctree) -> None:
    """Leave out what needs a screen, move pictures into files, and write XML."""
    context["script_files"] = []
    context["css_files"] = [each for each in context["css_files"] if "mystnb" not in str(each)]
    if "body" not in context:
        return
    body = NOT_XML.sub("\N{REPLACEMENT CHARACTER}", context["body"])
    # In HTML a table's rows and cells may lack their ends, in XML not: lxml adds them.
    soup = BeautifulSoup(f"<body>{body}</body>", "lxml").body
    styles = [style.extract() for style in soup.select("style")]  # in XML, at a page's head alone
    in_head = "".join(dict.fromkeys(map(str, styles)))
    context["metatags"] = context.get("metatags", "") + in_head
    for part in soup.select(NEEDS_A_SCREEN):
        part.decompose()
    for box in soup.select("input"):
        box.replace_with("\N{WHITE CIRCLE} ")
    for part in soup.select("form, fieldset, legend, label"):
        part.name, part.attrs = "div", {}
    for part in soup.select("summary p"):
        part.name = "span"
    for link in soup.select('a[href*=".html"]:not([href*=":"])'):  # in what is HTML already
        link["href"] = link["href"].replace(".html", ".xhtml")
    for drawing in soup.select("svg"):
        drawing["xmlns"] = "http://www.w3.org/2000/svg"
        if "viewbox" in drawing.attrs:  # HTML knows no capitals in names, XML does
            drawing["viewBox"] = drawing.attrs.pop("viewbox")
    for image in soup.select("img"):
        if found := PICTURE.match(image.get("src", "")):
            image["src"] = "../" * page.count("/") + picture_file(Path(app.outdir), *found.groups())
    context["body"] = soup.decode_contents()


def picture_file(output: Path, kind: str, data: str) -> str:
    """Write a picture into the book, and return where it is."""
    content = base64.b64decode(data)
    name = f"_images/{hashlib.sha256(content).hexdigest()[:16]}.{kind}"
    (output / "_images").mkdir(exist_ok=True)
    (output / name).write_bytes(content)
    return name


# The command
# --------------------------------------------------------------------------------------------------


def build_epub(source: Path, output: Path) -> Path:
    """Build the EPUB of a staged folder. Raises RuntimeError where Sphinx fails."""
    stage(source)
    folder = output / "epub"
    shutil.rmtree(folder, ignore_errors=True)
    if sphinx_build(
        ["-q", "-b", "epub", "-d", str(output / "epub_doctrees"), str(source), str(folder)]
    ):
        raise RuntimeError("the EPUB has faults: they are listed above")
    (made,) = folder.glob("*.epub")
    declare_contents(made, output / "book.epub")
    return output / "book.epub"


def declare_contents(made: Path, file: Path) -> None:
    """Copy an EPUB, and say in its list of files which pages hold MathML and SVG."""
    scratch = file.with_suffix(".tmp")
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(scratch, "w") as new:
        told = old.read("content.opf").decode()
        for name in old.namelist():
            page = old.read(name) if name.endswith(".xhtml") else b""
            tags = {"mathml": b"<math", "svg": b"<svg"}
            kinds = [kind for kind, tag in tags.items() if tag in page]
            if kinds:
                item = f'href="{name}" media-type='
                told = told.replace(item, f'properties="{" ".join(kinds)}" {item}')
        for entry in old.infolist():
            is_list = entry.filename == "content.opf"
            new.writestr(entry, told if is_list else old.read(entry), entry.compress_type)
    scratch.replace(file)


def main() -> None:
    import build  # inside Sphinx this file is an extension, which needs none of it

    parser = argparse.ArgumentParser(description="Make the book for an e-reader.")
    parser.add_argument(
        "--output", type=Path, default=build.OUTPUT, help="where to build (default: book/_build)"
    )
    output = parser.parse_args().output.resolve()
    build.stage(output / "epub_source", build.NOTEBOOKS)
    try:
        print(f"the book is in {build_epub(output / 'epub_source', output)}")
    except RuntimeError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
