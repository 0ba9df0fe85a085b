"""The figure of lesson 17 shows the page of the code that is chosen."""

from course_lib.lab.explore import ctrl as explore


def test_each_code_shows_its_page_and_what_was_read_in_it():
    parts = {"kind": ("tale", "shop"), "mood": ("good", "bad"), "author": ("ada", "chen")}
    codes = [(k, m, a) for k in parts["kind"] for m in parts["mood"] for a in parts["author"]]
    pages = {code: (f"{'-'.join(code)} <1>\nnext", ("tale", *code[1:])) for code in codes}
    widget = explore.coded_pages(pages, parts, start=("shop", "bad", "chen"))
    outer = widget.children[-1]
    for i, kind in enumerate(parts["kind"]):
        for j, mood in enumerate(parts["mood"]):
            for k, author in enumerate(parts["author"]):
                frame = outer.children[i].children[j].children[k].value
                assert f"{kind}-{mood}-{author} &lt;1&gt;<br>next" in frame
                assert frame.count("&#10003;") == (3 if kind == "tale" else 2)
    assert "code: shop, bad, chen" in widget.still and "tale &#10007;" in widget.still
