"""From clean text to a page as it stands on the web, with menus, scripts and bad markup.

Notices, advertisements and odd Unicode as well. Six sites in four page layouts. What is boilerplate
repeats on all pages of a site; what a page says does not. A parser that drops the boilerplate and a
normaliser that undoes the odd characters get back the truth's text, line for line.
"""

import html
import unicodedata
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from course_lib.text.draw import draw_distinct, draw_integer, draw_item


class WebSite(NamedTuple):
    """A web site: its host and what stands on each of its pages."""

    host: str
    title: str
    layout: str  # a key of LAYOUTS
    menu: tuple[str, ...]
    notice: str
    footer: str


WEB_SITES = (
    WebSite(
        "fireside.example",
        "Fireside",
        "semantic",
        ("Home", "New pages", "Authors", "About us"),
        "We use cookies to keep you logged in. Accept all",
        "© 2024 Fireside. All rights reserved. Privacy | Imprint",
    ),
    WebSite(
        "lakeside-times.example",
        "The Lakeside Times",
        "divs",
        ("Front page", "Weather", "Sports", "Letters"),
        "This site uses cookies. By reading on you agree.",
        "Copyright Lakeside Press · Terms of use · Contact",
    ),
    WebSite(
        "oldpages.example",
        "Old Pages",
        "table",
        ("Start", "Index", "Guest book", "Links"),
        "Best viewed with 800 x 600 pixels.",
        "You are visitor number 004512. Last change: yesterday.",
    ),
    WebSite(
        "notebook.example",
        "My Notebook",
        "loose",
        ("blog", "archive", "tags", "search"),
        "Subscribe to our newsletter!",
        "Powered by QuickPress. Log in to leave a comment.",
    ),
    WebSite(
        "ask-around.example",
        "Ask Around",
        "divs",
        ("Questions", "Tags", "Users", "Unanswered", "Log in"),
        "Cookie settings: necessary only / accept all",
        "Ask Around is a community. Help | Rules | Jobs",
    ),
    WebSite(
        "hupan.example",
        "湖畔网",
        "semantic",
        ("首页", "新闻", "关于我们", "登录"),
        "本网站使用 Cookie。继续浏览即表示同意。",
        "版权所有 湖畔网 2024 | 联系我们",
    ),
)
CHINESE_HOST = "hupan.example"
ADVERT_LINES = (
    "Sponsored: Lose weight in three days!", "Advertisement: Cheap flights to the castle",
    "Doctors hate this one trick", "Sponsored: You will not believe what this owl bought",
    "Advertisement: Coats, coats, coats",
)  # fmt: skip
SHARE_LINE = "Share this page: Mail Print Link"
# no-break and thin; zero-width space, soft hyphen beside one
ODD_SPACES = ("\u00a0", "\u2009", "\u200b ", "\u00ad ")
STATS_SCRIPT = (
    "<script>var stats=window.stats||[];stats.push({{page:{number}}});"
    "if(1<2&&stats.length>0){{send()}}</script>"
)
STYLE_SHEET = "<style>body{margin:0;font:16px serif}.menu li{display:inline}</style>"


@dataclass(frozen=True)
class DirtShares:
    """Shares of pages with each kind of dirt: each is met in the first hundred pages."""

    wrong_lang: float = 0.08  # the lang attribute names another language
    no_lang: float = 0.25
    decomposed: float = 0.15  # Unicode form NFD: é as two characters
    odd_spaces: float = 0.20  # no-break spaces, zero-width spaces, soft hyphens
    smart_quotes: float = 0.30
    wrapped: float = 0.30  # lines broken in the source, which a browser joins
    inline: float = 0.35  # words in bold, links, drop capitals
    advert: float = 0.35


DIRT_SHARES = DirtShares()


def choose_site(rng: Random, language: str, original: str = "") -> WebSite:
    """A site for a page in this language; for a copy, one with a layout of its own."""
    taken = {site.layout for site in WEB_SITES if original and site.host == original.split("/")[2]}
    own = [
        site
        for site in WEB_SITES
        if (site.host == CHINESE_HOST) == (language == "zh") and site.layout not in taken
    ]
    return draw_item(rng, own or [site for site in WEB_SITES if site.layout not in taken])


def render_page(
    rng: Random,
    text: str,
    site: WebSite,
    number: int,
    language: str = "en",
    dirt: DirtShares = DIRT_SHARES,
) -> str:
    """The page that shows this text on this site, one paragraph for each line."""
    paragraphs = (
        [_dirty_line(rng, line) for line in _dirty_unicode(rng, text, dirt).split("\n")]
        if text
        else []
    )
    if rng.random() < dirt.wrapped:
        paragraphs = [_wrap(paragraph) for paragraph in paragraphs]
    if paragraphs and rng.random() < dirt.inline:
        at = draw_integer(rng, 0, len(paragraphs) - 1)
        paragraphs[at] = _inline_markup(rng, paragraphs[at])
    body = PAGE_LAYOUTS[site.layout](rng, site, paragraphs, number, rng.random() < dirt.advert)
    lang = _lang_attribute(rng, language, dirt)
    head = (
        f'<!DOCTYPE html>\n<html{lang}><head><meta charset="utf-8"><title>{site.title}'
        f" {number}</title>{STYLE_SHEET}"
    )
    return f"{head}{STATS_SCRIPT.format(number=number)}</head>\n<body>{body}</body></html>\n"


def _lang_attribute(rng: Random, language: str, dirt: DirtShares) -> str:
    point = rng.random()
    if point < dirt.no_lang:
        return ""
    if point < dirt.no_lang + dirt.wrong_lang:
        language = draw_item(
            rng, [other for other in ("en", "de", "zh", "fr") if other != language]
        )
    return f' lang="{language}"'


def _dirty_unicode(rng: Random, text: str, dirt: DirtShares) -> str:
    """The text with characters that look the same, or like nothing at all, but are others."""
    if rng.random() < dirt.smart_quotes:
        parts = text.split('"')
        text = parts[0] + "".join(
            ("“" if i % 2 else "”") + part for i, part in enumerate(parts[1:], start=1)
        )
    if rng.random() < dirt.decomposed:
        text = unicodedata.normalize("NFD", text)
    if rng.random() < dirt.odd_spaces:
        for odd in draw_distinct(rng, ODD_SPACES, 2):
            gaps = [i for i, character in enumerate(text) if character == " "]
            if gaps:
                at = draw_item(rng, gaps)
                text = text[:at] + odd + text[at + 1 :]
    return text


def _dirty_line(rng: Random, line: str) -> str:
    """A line with its characters escaped as HTML must, now and then by an unusual entity."""
    line = html.escape(line, quote=rng.random() < 0.5)
    line = line.replace("\u00a0", "&nbsp;").replace("\u00ad", "&shy;")
    return line.replace("é", draw_item(rng, ("é", "&eacute;", "&#233;")))


def _wrap(paragraph: str) -> str:
    """The paragraph with a line break for every eighth space."""
    words = paragraph.split(" ")
    return "\n   ".join(" ".join(words[i : i + 8]) for i in range(0, len(words), 8))


def _inline_markup(rng: Random, paragraph: str) -> str:
    """The paragraph with its first letter as a drop capital, or a word in bold or a link."""
    if paragraph[0].isalpha() and rng.random() < 0.4:
        return f'<span class="drop">{paragraph[0]}</span>{paragraph[1:]}'
    words = paragraph.split(" ")
    at = draw_integer(rng, 0, len(words) - 1)
    before, after = draw_item(
        rng, (("<b>", "</b>"), ("<em>", "</em>"), ('<a href="/tag/1">', "</a>"), ("<i>", "</i>"))
    )
    words[at] = f"{before}{words[at]}{after}"
    return " ".join(words)


def _related(rng: Random) -> list[str]:
    return [f"Page {draw_integer(rng, 1, 9999)}" for _ in range(3)]


def _semantic(rng: Random, site: WebSite, paragraphs: list[str], number: int, advert: bool) -> str:
    """A modern page: every part says what it is."""
    menu = "".join(f'<li><a href="/{i}">{item}</a></li>' for i, item in enumerate(site.menu))
    parts = [f"<p>{paragraph}</p>" for paragraph in paragraphs]
    if advert:
        parts.insert(len(parts) // 2, f"<aside>{draw_item(rng, ADVERT_LINES)}</aside>")
    related = "".join(f"<li>{title}</li>" for title in _related(rng))
    return (
        f"<header><h1>{site.title}</h1><nav><ul>{menu}</ul></nav></header>\n<main><article>\n"
        + "\n".join(parts)
        + f"\n</article></main>\n<aside><h2>Related</h2><ul>{related}</ul></aside><!-- page"
        f" {number} from cache -->"
        f'<footer>{site.footer}</footer><div class="cookie-notice">{site.notice}</div>'
    )


def _divs(rng: Random, site: WebSite, paragraphs: list[str], number: int, advert: bool) -> str:
    """A page of divisions, whose classes only hint at what they are for."""
    menu = "".join(f'<a href="/{item.lower()}">{item}</a> ' for item in site.menu)
    parts = [f'<div class="line">{paragraph}</div>' for paragraph in paragraphs]
    if advert:
        parts.insert(len(parts) // 2, f'<div class="ad-box">{draw_item(rng, ADVERT_LINES)}</div>')
    return (
        f'<div id="top">{site.notice}</div><div id="menu">{menu}</div><div id="content">'
        + "".join(parts)
        + f'</div><div class="share">{SHARE_LINE}</div><div id="bottom">{site.footer}</div><!--'
        f" {number} -->"
    )


def _table(rng: Random, site: WebSite, paragraphs: list[str], number: int, advert: bool) -> str:
    """A page from the old days: a table for the layout, breaks for the lines, capital tags."""
    menu = "<BR>".join(f"<A HREF=/{i}.htm>{item}</A>" for i, item in enumerate(site.menu))
    banner = f"<CENTER><B>{draw_item(rng, ADVERT_LINES)}</B></CENTER>" if advert else ""
    return (
        f"<CENTER><FONT SIZE=6>{site.title}</FONT></CENTER><TABLE><TR><TD"
        f" WIDTH=120>{menu}</TD>\n<TD>"
        + "<BR>\n".join(paragraphs)
        + f"</TD></TR></TABLE>{banner}<HR><SMALL>{site.footer}<BR>{site.notice}</SMALL>"
    )


def _loose(rng: Random, site: WebSite, paragraphs: list[str], number: int, advert: bool) -> str:
    """A page whose author closes few tags."""
    menu = "".join(f"<li><a href='/{item}'>{item}</a>" for item in site.menu)
    body = "".join(f"<p>{paragraph}\n" for paragraph in paragraphs)
    banner = f"<div class=ad>{draw_item(rng, ADVERT_LINES)}</div>" if advert else ""
    return (
        f"<h1><a href=/>{site.title}</a></h1><ul class=menu>{menu}</ul>{banner}<div"
        f" class=post>{body}</div><noscript>Please switch on JavaScript.</noscript><p"
        f" class=footer>{site.footer}<form><input value='your"
        f" mail'><button>{site.notice}</button></form>"
    )


PAGE_LAYOUTS = {"semantic": _semantic, "divs": _divs, "table": _table, "loose": _loose}
