"""The small web: one synthetic corpus that carries the course from crawl to reasoning model.

A simulated world, and people who write about it: tales, encyclopaedia pages, questions, chats,
shops, practice problems, spam. What is on a page, and what is wrong with it, is known.
`data/small_web/README.md` is its data card.

- `generate_pages(megabytes, seed)`: pages as a crawler finds them, each with its truth;
  `crawl_pages` gives them as a list.
- `draw_clean_documents(megabytes, seed, mixture)`: clean training documents.
"""

from course_lib.text.small_web.page import PAGE_KINDS, PageTruth, WebPage
from course_lib.text.small_web.practice import ChainShares, SearchShares
from course_lib.text.small_web.web import (
    DOCUMENT_MIXTURES,
    crawl_pages,
    draw_clean_documents,
    generate_pages,
)

__all__ = [
    "PAGE_KINDS",
    "DOCUMENT_MIXTURES",
    "ChainShares",
    "WebPage",
    "SearchShares",
    "PageTruth",
    "crawl_pages",
    "draw_clean_documents",
    "generate_pages",
]
