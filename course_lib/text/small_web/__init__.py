"""The small web: one synthetic corpus that carries the course from the crawl to the reasoning model.

A simulated world, and people who write about it: tales, encyclopaedia pages, questions, chats, shops, practice
problems, spam. What is on a page, and what is wrong with it, is known. `data/small_web/README.md` is its data card.

- `generate(megabytes, seed)`: pages as a crawler finds them, each with its truth; `crawl` gives them as a list.
- `documents(megabytes, seed, mixture)`: clean training documents.
"""

from course_lib.text.small_web.page import KINDS, Page, Truth
from course_lib.text.small_web.practice import ChainShares, SearchShares
from course_lib.text.small_web.web import MIXTURES, crawl, documents, generate

__all__ = ["KINDS", "MIXTURES", "ChainShares", "Page", "SearchShares", "Truth", "crawl", "documents", "generate"]
