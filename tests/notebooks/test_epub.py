"""The book for an e-reader: XML that needs no script, with formulas and pictures in it."""

import base64
import shutil
import sys
import zipfile
from xml.dom import minidom

import pytest

from course_lib.lab import course_map

BOOK = course_map.ROOT / "book"
PICTURE = base64.b64encode(b"a picture").decode()
PAGE = f"""# A page

Half of $x^2$ and, alone, a fraction:

$$\\frac{{a}}{{b}}$$

```{{raw}} html
<img alt="a curve" src="data:image/png;base64,{PICTURE}"><br>
<svg viewBox="0 0 1 1"></svg><script>alert(1)</script><label>yes <input type="radio"></label>
<style>.a {{ color: red }}</style><table><tr><th>two<td>cells<tr><th>three<td>four</table>
<details><summary><p class="collapsed">Show</p><p class="expanded">Hide</p></summary>1\x15</details>
```
"""


@pytest.fixture
def epub(tmp_path, monkeypatch):
    """The EPUB of one page, opened."""
    pytest.importorskip("latex2mathml")
    monkeypatch.setattr(sys, "path", [str(BOOK), *sys.path])
    import epub

    source = tmp_path / "source"
    source.mkdir()
    for name in ("conf.py", "glossary_links.py", "references.bib"):
        shutil.copy(BOOK / name, source)
    (source / "index.md").write_text(PAGE, encoding="utf-8")
    with zipfile.ZipFile(epub.build_epub(source, tmp_path)) as file:
        yield file


def test_an_epub_is_xml_that_needs_no_script(epub):
    first = epub.infolist()[0]
    assert first.filename == "mimetype" and first.compress_type == zipfile.ZIP_STORED
    names = [name for name in epub.namelist() if name.endswith((".xhtml", ".opf", ".ncx"))]
    parsed = {name: minidom.parseString(epub.read(name)) for name in names}
    page = parsed["index.xhtml"]
    for gone in ("script", "input", "label"):
        assert not page.getElementsByTagName(gone)
    (style,) = page.getElementsByTagName("style")
    assert style.parentNode.tagName == "head" and "color: red" in style.firstChild.data
    rows = page.getElementsByTagName("tr")
    assert [[cell.tagName for cell in row.childNodes] for row in rows] == [["th", "td"]] * 2
    text = epub.read("index.xhtml").decode()
    assert "yes ○" in text and "Show" in text and "Hide" not in text
    formulas = [each.getAttribute("alttext") for each in page.getElementsByTagName("math")]
    assert formulas == ["x^2", r"\frac{a}{b}"] and page.getElementsByTagName("mfrac")
    (drawing,) = page.getElementsByTagName("svg")
    assert drawing.getAttribute("viewBox") == "0 0 1 1", "in XML its name has a capital"
    picture = page.getElementsByTagName("img")[0].getAttribute("src")
    assert epub.read(picture) == b"a picture"
    items = parsed["content.opf"].getElementsByTagName("item")
    told = {item.getAttribute("href"): item.getAttribute("properties") for item in items}
    assert told["index.xhtml"] == "mathml svg" and picture in told
