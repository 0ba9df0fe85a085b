"""HTML to text, page boilerplate, Unicode: hand-written pages, and properties on any string."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.text import corpus
from course_lib.text.corpus import Document


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain &lt;text&gt; &amp; more", "plain <text> & more"),
        ("<p>One<br>two</p><p>three", "One\ntwo\nthree"),
        ("<p>a <b>bold</b>\n   word</p>", "a bold word"),
        ("<ul><li>one<li>two</ul>", "one\ntwo"),
        ("<table><tr><td>Tea<td>3</table>", "Tea\n3"),
        ("<script>if (a < b) { run(); }</script><p>Text", "Text"),
        ("<style>p { color: red }</style>Text<!-- a comment -->", "Text"),
        ("<html><head><title>T</title></head><body>Text</body></html>", "Text"),
        ("<nav><ul><li>Home<li>News</nav><p>Text", "Text"),
        ('<div class="cookie-banner"><p>We use <b>cookies</b></p></div><p>Text', "Text"),
        (
            (
                '<div id="site_nav">Home</div><div class="story">Text</div><div'
                ' role="navigation">Up</div>'
            ),
            "Text",
        ),
        ('<div class="navigation"><div>A<div>B</div></div>C</div>D', "D"),
        ('<p class="address">Text', "Text"),  # "ad" is boilerplate as a word, not as a piece of one
        (
            "<nav><a href='/'>Home<main><p>Text</main><footer>Imprint</footer>",
            "Text",
        ),  # the menu is never closed
        ("<p>a</div></span>b</p>c", "a\nb\nc"),  # ends of what was never opened
        ("<b><i>crossed</b> tags</i>", "crossed tags"),
    ],
)
def test_parse(html, text):
    assert corpus.parse_html(html) == text


@pytest.mark.parametrize(
    "opening",
    [
        '<html class="no-js nav-closed"><body class="single-post no-sidebar">',
        '<body class="has-cookies-accepted" id="menu">',
        '<body><div id="content-with-sidebar">',
        '<body><div class="contentWithSidebar noNav">',
        '<body><div class="layout--sidebar page--with-nav below-nav">',
        '<body><main class="social"><article class="post category-cookies tag-menu related">',
        '<body><div class="post-12 category-cookies">',
        '<body><div class="social-history"><section id="share-price">',
        '<body><div class="menu-of-the-day navy"><p class="footer-text banner-ad">',
        '<body><div class="nav-wrapper">',  # nothing but this wrapper: then it is the page
        '<body><form id="aspnetForm" action="./">',
        '<body><form><div id="sidebar">',
    ],
)
def test_a_page_is_not_lost_by_the_names_of_what_holds_it(opening):
    assert (
        corpus.parse_html(f"{opening}<h1>Tea</h1><p>Boil the water.</p><nav>Home</nav>")
        == "Tea\nBoil the water."
    )


@pytest.mark.parametrize(
    "name",
    [
        "sidebar", "sidebar-left", "main-sidebar", "sidebar--open", "site_nav", "mainMenu",
        "page-footer", "footer-2", "site-header", "siteHeader", "top-bar", "cookie-banner",
        "cookie-consent-popup", "social-share-buttons", "related-posts", "newsletter-signup",
        "wide ad-box", "widget sidebar no-print", "nav-menu-12", "td-breadcrumbs",
    ],
)  # fmt: skip
@pytest.mark.parametrize("attribute", ["class", "id"])
def test_parts_of_a_page_are_left_out_by_their_names(attribute, name):
    page = (
        f'<body class="{name}"><div {attribute}="{name}">Buy <p>this</p></div><p>Tea is'
        " good.</p></body>"
    )
    assert corpus.parse_html(page) == "Tea is good."


@pytest.mark.parametrize(
    "name", ["shadow", "adverb", "navy", "shares", "advice", "no-ads", "is-sponsored", "over"]
)
def test_names_that_only_look_like_boilerplate(name):
    assert corpus.parse_html(f'<div class="{name}">Tea</div><p>Milk') == "Tea\nMilk"


def test_a_paragraph_is_left_out_by_a_whole_name_only():
    page = (
        '<p class="copyright">(c) 2020<p class="social-history">Tea<h2'
        ' class="menu-board">Milk</h2><p id="ads">Buy'
    )
    assert corpus.parse_html(page) == "Tea\nMilk"


def test_roles_are_words_of_their_own():
    assert (
        corpus.parse_html(
            '<div role="contentinfo">Imprint</div><div role="search-results">Tea</div>'
        )
        == "Tea"
    )


@given(st.text())
def test_parse_takes_any_string(html):
    assert isinstance(corpus.parse_html(html), str)


@given(
    st.text(
        st.characters(
            blacklist_characters="<&\r\x00", blacklist_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]
        )
    )
)
def test_parse_keeps_text_without_markup(text):
    assert corpus.parse_html(f"<p>{text}</p>") == text


@pytest.mark.parametrize("bad", [b"<p>bytes</p>", None, 3])
def test_parse_refuses_what_is_not_text(bad):
    with pytest.raises(TypeError, match="html"):
        corpus.parse_html(bad)


def test_bytes_get_a_hint_and_bad_bytes_a_place():
    with pytest.raises(TypeError, match=r"corpus.decode\(html\)"):
        corpus.parse_html(b"<p>")
    with pytest.raises(ValueError, match="byte 0xff at offset 2 of 4"):
        corpus.decode_utf8(b"ab\xffc")


def test_boilerplate_is_what_a_site_repeats():
    pages = [
        Document(f"https://a.org/{i}", f"Welcome to A\nStory {i}.\nThe end.") for i in range(10)
    ]
    pages += [Document(f"https://b.org/{i}", f"Note {i}.\nThe end.") for i in range(4)]
    cleaned = corpus.drop_repeated_lines(pages)
    assert [d.text for d in cleaned[:2]] == ["Story 0.", "Story 1."]
    assert cleaned[10].text == "Note 0.\nThe end."  # four pages are too few to tell
    assert corpus.repeated_lines(pages)["a.org"] == {"Welcome to A", "The end."}
    with pytest.raises(ValueError, match="share must be in"):
        corpus.repeated_lines(pages, share=0)


def test_boilerplate_counts_pages_and_not_lines():
    chorus = Document("https://a.org/song", "\n".join(["La la la"] * 50))
    others = [Document(f"https://a.org/{i}", f"Verse {i}") for i in range(9)]
    assert corpus.drop_repeated_lines([chorus, *others])[0] == chorus


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("cafe\u0301", "caf\u00e9"),
        ("\u201cIt\u2019s\u201d\u2026", '"It\'s"...'),
        ("a\u00a0b\u3000c\u2009d\te", "a b c d e"),
        ("zero\u200bwid\u2060th\ufeff so\u00adft", "zerowidth soft"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("  a  \n\n\n\n b ", "a\n\nb"),
        ("x\u00b2 \u00bd \ufb01", "x\u00b2 \u00bd \ufb01"),  # NFKC would make it x2 1/2 fi
        ("e\u200b\u0301", "\u00e9"),
        ("bell\x07\x00", "bell"),
        ("one\x0ctwo\x0bthree\x1ffour", "one\ntwo\nthree four"),
        ("one \x0c two", "one\ntwo"),
        ("\U0001f469\u200d\U0001f33e", "\U0001f469\u200d\U0001f33e"),
        ("“你好……”", '"你好......"'),
    ],
)
def test_normalize(text, plain):
    assert corpus.normalize_text(text) == plain


@given(st.text())
def test_normalize_twice_changes_nothing_and_gives_nfc(text):
    once = corpus.normalize_text(text)
    assert corpus.normalize_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not set(once) & set("\u00a0\u200b\ufeff\r\t\x00\u2019")
