"""Sphinx configuration of the book. `build.py` copies it beside the pages; `vendor.py` brings the
browser's files."""

import os
import sys
from pathlib import Path

from course_lib.lab import course_map

project = "From Bytes to Reasoning"
author = ""
copyright = "the authors. Free to use and change under the MIT licence"
html_title = project
language = "en"

sys.path.insert(0, str(Path(__file__).parent))  # for glossary_links
extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx_togglebutton",
    "sphinxcontrib.bibtex",
    "glossary_links",
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
bibtex_bibfiles = ["references.bib"]
bibtex_reference_style = "author_year"
nb_execution_mode = "off"  # the notebooks come executed
launch_url = os.environ.get("BOOK_LAUNCH_URL", "")  # see CONTRIBUTING.md

html_theme = "sphinx_book_theme"
html_static_path = [
    "_static",
    str(Path(sys.prefix, "share", "bytes-to-reasoning", "book")),
    str(course_map.CONTROLS),
]
html_css_files = ["course.css", ("print.css", {"media": "print"})]
html_js_files = ["page.js", "exam.js", "placement.js"]
html_theme_options = {
    "home_page_in_toc": True,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_fullscreen_button": False,
    # Without these three the theme shows a second header with a second search box.
    "navbar_persistent": [],
    "navbar_start": [],
    "navbar_end": [],
}

# Widgets and formulas come from files of the book itself; the shim must stand before the widgets
# (see its comments).
mathjax_path = "mathjax/tex-svg-full.js"
nb_ipywidgets_js = {"shim.js": {}, "controls.js": {}, "widgets/embed.js": {}}
