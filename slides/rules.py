"""Which part of an executed lesson stands on a slide, and which is said: the same rules for all.

- A question (`##`) is a column of slides; what belongs to it stands below each other.
- Of a paragraph, the first sentence, those that introduce a term (in bold) and a last one that
  leads on (with a colon or a question mark) are shown. One that introduces a term by "This is ..."
  brings the sentence before it along. All of the paragraph is in the speaker's notes.
- A colon stands on the slide of what it leads to.
- Formulas, tables and lists are shown; of a long list's items the first sentences.
- The first sentence below an output says what it shows: it comes last on the output's slide, and
  when it is asked for.
- A prediction is a slide of its own, before the slide of the output. Its answer is in the notes.
- A cell that draws is its figure. Other code is shown without its asserts, beside what it prints.
- An exercise is its statement and its skeleton. Hints are in the notes, solutions are nowhere.
- Each question of a quiz is a slide and answers to a click. What is right is in the notes.
"""

import ast
import html
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from course_lib.lab import course_map, question_bank
from slides.text import Block, as_html, blocks, sentences

PREDICT = "**Predict first.**"
ABLE = re.compile(r"\*\*You will be able to\*\*[ |]*(.+?)[ |]*$", re.M)
ANSWERED = re.compile(r"(\w+) = check\.\1\.passed_or_solution\(\1\)")
WHOSE = re.compile(r"\w+: (the solution's, until yours passes|yours, which passed)")
WIDGET = "application/vnd.jupyter.widget-view+json"

HEIGHT = 560  # pixels of a slide below its title
LEANS = re.compile(r"(This|That|These|Such|It|They|Its|Their|Both|So|The other)\b")
LETTERS = 84  # that fit into a line of text
COLUMNS = 84  # of code that fit at full size; longer lines are set smaller
LONG_LIST = 120  # words; of a longer one the beginnings are shown
MOST = 1.2  # slides' heights that go onto one slide in smaller letters


@dataclass(frozen=True)
class Part:
    """A piece of a slide, and about how many pixels high it is."""

    html: str
    height: float
    kind: str = ""  # its classes in the style sheet; a "fragment" comes when it is asked for
    text: str = ""  # of a paragraph: its Markdown


@dataclass
class Slide:
    """What is seen, and what is said."""

    title: str
    kind: str = ""  # its class in the style sheet
    parts: list[Part] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def height(self) -> float:
        """About how many pixels its parts take."""
        return sum(part.height for part in self.parts)


# Pieces
# --------------------------------------------------------------------------------------------------


def text_part(markdown: str, kind: str = "") -> Part:
    """A few lines of text."""
    lines = math.ceil(len(markdown) / LETTERS)
    return Part(as_html(markdown), 38 * lines + 14, kind, markdown)


def block_parts(block: Block) -> list[Part]:
    """A formula, a list or a table; a long table in several parts."""
    if block.kind == "table":
        return [as_part(table) for table in short_tables(block.text)]
    return [as_part(short_list(block.text) if block.kind.endswith("list") else block.text)]


def as_part(markdown: str) -> Part:
    """Markdown of several lines."""
    return Part(as_html(markdown), sum(map(line_height, markdown.splitlines())) + 14)


def line_height(line: str) -> float:
    """About how high a line of a table or a list becomes; the cells of a row share its width."""
    return 42 * math.ceil(len(line) / LETTERS)


def short_tables(text: str) -> list[str]:
    """A table in pieces that fit on a slide, each below the table's heading."""
    first, rule, *rows = text.splitlines()
    tables, height = [[first, rule]], 0.0
    for row in rows:
        height += line_height(row)
        if height > HEIGHT - 84:
            tables.append([first, rule])
            height = line_height(row)
        tables[-1].append(row)
    return ["\n".join(table) for table in tables]


def short_list(text: str) -> str:
    """The list, or, where it is long, the first sentence of each item."""
    if len(text.split()) <= LONG_LIST:
        return text
    items = re.split(r"(?m)^(?=(?:[-*]|\d+\.) )", text)
    return "\n".join(mark + sentences(rest)[0] for mark, rest in map(split_mark, items) if rest)


def split_mark(item: str) -> tuple[str, str]:
    """The mark of a list's item and its text."""
    mark, _, rest = item.partition(" ")
    return f"{mark} ", rest.strip()


def code_part(source: str) -> Part:
    """Code in colours, in letters as large as its longest line allows."""
    lines = source.splitlines()
    columns = max(map(len, lines))
    coloured = highlight(source, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip()
    return Part(
        f'<pre class="code" style="--columns: {columns}">{coloured}</pre>',
        1.35 * letter_size(columns) * len(lines) + 36,
    )


def shown_code(source: str) -> str:
    """A cell's code without what guards it: asserts beside other statements, comments above them,
    and the line that fetches an answer.

    >>> shown_code("f = check.f.passed_or_solution(f)\\nx = f(1)\\n# Why?\\nassert x == 2, 'two'")
    'x = f(1)'
    """
    lines: list[str | None] = [*source.splitlines()]
    for guard in guards(ast.parse(source)):
        start = guard.lineno - 1
        while start and (lines[start - 1] or "").lstrip().startswith("#"):
            start -= 1
        lines[start : guard.end_lineno] = [None] * (guard.end_lineno - start)
    return "\n".join(line for line in lines if line is not None).strip("\n")


def guards(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of a cell that a slide does without."""
    yield from (node for node in tree.body if ANSWERED.fullmatch(ast.unparse(node)))
    for block in ast.walk(tree):
        statements = getattr(block, "body", [])
        if isinstance(statements, list):
            asserts = [node for node in statements if isinstance(node, ast.Assert)]
            yield from asserts if len(asserts) < len(statements) else []


def output_parts(cell: dict) -> Iterator[Part]:
    """What a cell printed, drew and showed."""
    for output in cell["outputs"]:
        data = output.get("data", {})
        shown = "".join(data.get("text/html", data.get("text/markdown", "")))
        if WIDGET in data:
            yield live_part(data[WIDGET]["model_id"])
        elif "image/png" in data:
            yield Part(f"<figure>{shown}</figure>", 380)
        elif "text/html" in data:
            yield Part(f'<div class="live">{shown}</div>', 380)
        elif "text/markdown" in data:
            yield from (part for block in blocks(shown) for part in block_parts(block))
        elif lines := told_lines("".join(output.get("text") or data["text/plain"])):
            yield printed_part(lines)


def told_lines(printed: str) -> list[str]:
    """The lines of a printed text, but for those that say whose answer a cell goes on with."""
    return [line for line in printed.rstrip("\n").splitlines() if not WHOSE.match(line)]


def live_part(model: str) -> Part:
    """An interactive figure, which the page draws from the widgets' state."""
    view = f'{{"version_major": 2, "version_minor": 0, "model_id": "{model}"}}'
    return Part(f'<div class="live"><script type="{WIDGET}">{view}</script></div>', 420)


def printed_part(lines: list[str]) -> Part:
    """Printed text."""
    columns = max(map(len, lines))
    text = html.escape("\n".join(lines))
    return Part(
        f'<pre class="printed" style="--columns: {columns}">{text}</pre>',
        1.35 * letter_size(columns) * len(lines) + 28,
    )


def letter_size(columns: int) -> float:
    """How large code is set, in pixels: as deck.css has it."""
    return 22 * min(1, COLUMNS / columns)


# Sentences
# --------------------------------------------------------------------------------------------------


def shown_sentences(found: list[str]) -> str:
    """The sentences that stand on the slide.

    >>> shown_sentences(["One.", "Two.", "A **term**.", "Three.", "Four:"])
    'One. A **term**. Four:'
    >>> shown_sentences(["One.", "Two.", "Three.", "This is a **term**."])
    'One. Three. This is a **term**.'
    """
    last = len(found) - 1
    terms = {i for i, sentence in enumerate(found) if "**" in sentence}
    before = {i - 1 for i in terms if i and LEANS.match(found[i])}
    return " ".join(
        sentence
        for i, sentence in enumerate(found)
        if i == 0 or i in terms | before or (i == last and sentence[-1] in ":?")
    )


# The lesson
# --------------------------------------------------------------------------------------------------


class Deck:
    """The slides of a lesson, made cell by cell."""

    def __init__(self) -> None:
        self.columns: list[list[Slide]] = []
        self.closed = True  # what comes next stands on a slide of its own
        self.shows_code = False  # or what it drew: the next sentence says what is to be seen
        self.guessed = False  # the output to come was asked for by a prediction

    @property
    def slide(self) -> Slide:
        """The slide that is being filled."""
        return self.columns[-1][-1]

    def begin(self, title: str | None = None, kind: str = "") -> Slide:
        """Begin a slide; with a title, a column."""
        if title is not None:
            self.columns.append([])
        else:
            title = self.columns[-1][0].title
        self.columns[-1].append(Slide(title, kind))
        self.closed = self.shows_code = False
        return self.slide

    def add(self, *parts: Part) -> None:
        """Put parts that belong together on the slide, or on the next where it is too full."""
        if not parts:
            return
        height = self.slide.height + sum(part.height for part in parts)
        if self.closed:
            self.begin()
        elif self.slide.parts and height > HEIGHT:
            self.turn(height)
        self.slide.parts += parts

    def turn(self, height: float) -> None:
        """Begin a slide, since this one would become too high. A last sentence that leads on comes
        along; alone on its slide, or where smaller letters will do, it keeps what follows here."""
        *rest, last = sentences(self.slide.parts[-1].text)
        if not last.endswith(":"):
            self.begin()
        elif height > MOST * HEIGHT and (rest or len(self.slide.parts) > 1):
            self.slide.parts[-1:] = [text_part(" ".join(rest))] if rest else []
            self.begin()
            self.slide.parts.append(text_part(last))

    def paragraph(self, text: str) -> None:
        """Show what a paragraph comes to, and note the rest."""
        found = sentences(text)
        shown = shown_sentences(found)
        self.add(text_part(shown))
        if shown != " ".join(found):
            self.slide.notes.append(as_html(text))

    def front(self, text: str) -> None:
        """The lesson's first cell: title, promise, and what one will be able to do."""
        heading, promise, *box = blocks(text)
        slide = self.begin(heading.text.removeprefix("# "), "front")
        slide.parts.append(text_part(promise.text))
        if able := ABLE.search(text):
            slide.parts.append(text_part(f"**You will be able to** {able[1]}"))
        slide.notes += [as_html(block.text) for block in box]
        self.closed = True

    def text(self, source: str, before_code: bool) -> None:
        """A cell of text; `before_code` says that code comes next."""
        found = blocks(source)
        if self.shows_code:
            found = self.close(found, before_code)
            self.closed = True
        for block in found:
            self.block(block)

    def close(self, found: list[Block], before_code: bool) -> list[Block]:
        """Say below code what it shows: by the first paragraph, or all up to a heading where none
        leads on to code or to a prediction. Gives back the rest."""
        end = next((i for i, block in enumerate(found) if block.kind == "heading"), len(found))
        leads_on = any(map(is_prediction, found[:end])) or (before_code and end == len(found))
        if leads_on:
            end = 0 if is_prediction(found[0]) else 1
        rest = found[end:]
        for block in found[:end]:
            if block.kind == "paragraph":
                last = block is found[end - 1] and (before_code or bool(rest))
                rest[:0] = self.say(block, last)
            else:
                self.block(block)
        return rest

    def say(self, block: Block, last: bool) -> list[Block]:
        """Show what a paragraph comes to when it is asked for. Gives back its last sentence where
        that leads on to another slide."""
        found = sentences(block.text)
        lead = [found.pop()] if last and found[-1].endswith(":") else []
        if found:
            self.slide.parts.append(text_part(shown_sentences(found), "fragment"))
            self.slide.notes.append(as_html(" ".join(found)))
        return [Block("paragraph", sentence) for sentence in lead]

    def block(self, block: Block) -> None:
        """One block of a text."""
        if block.kind == "heading":
            self.heading(*block.text.split(" ", 1))
        elif block.kind == "fold":
            self.slide.notes.append(f"<b>{block.summary}</b> {as_html(block.text)}")
            if block.summary.startswith("Predict first"):
                self.closed = self.guessed = True
        elif self.slide.kind == "exercise" and not self.closed:
            self.slide.parts.append(text_part(block.text))
        elif is_prediction(block):
            self.add(text_part(block.text.removeprefix(PREDICT), "predict"))
        elif block.kind == "paragraph":
            self.paragraph(block.text)
        elif block.kind != "html_block":  # a mark for the book
            for part in block_parts(block):
                self.add(part)
            if block.kind.endswith("list") and short_list(block.text) != block.text:
                self.slide.notes.append(as_html(block.text))

    def heading(self, level: str, title: str) -> None:
        """A question begins a column, an exercise or another part of it a slide."""
        if level == "##":
            self.begin(title)
        else:
            self.begin(kind="exercise" if title.startswith("Exercise ") else "")
            self.slide.parts.append(Part(as_html(f"### {title}"), 48))
        self.guessed = False

    def code(self, cell: dict) -> None:
        """A cell of code with its outputs."""
        source = "".join(cell["source"])
        if "exercise" in cell["metadata"].get("tags", []):
            self.add(code_part(source))
            self.closed = True
        elif source.lstrip().startswith("quiz.choice("):
            self.quiz(cell, source)
        else:
            code = shown_code(source)
            self.ran([code_part(code)] if code else [], list(output_parts(cell)))

    def ran(self, code: list[Part], outputs: list[Part]) -> None:
        """Code that was run: its figure, or itself and what it printed."""
        if any("<pre" not in part.html for part in outputs):
            for part in outputs:
                self.add(part)
        else:
            if self.guessed:
                outputs = [replace(part, kind="fragment") for part in outputs]
            self.together([*code, *outputs])
        self.shows_code = bool(code or outputs)
        self.guessed = self.guessed and not outputs

    def together(self, parts: list[Part]) -> None:
        """Code beside what it printed, if one slide can hold both."""
        if sum(part.height for part in parts) < MOST * HEIGHT:
            self.add(*parts)
        else:
            for part in parts:
                self.add(part)

    def quiz(self, cell: dict, source: str) -> None:
        """One slide per question, which answers to a click."""
        for call, part in zip(question_bank.quiz_calls(source), output_parts(cell), strict=True):
            if self.closed or self.slide.parts:
                self.begin()
            self.slide.parts.append(part)
            options = ast.literal_eval(call.args[2])
            right, said = next((text, said) for text, is_right, said in options if is_right)
            self.slide.notes.append(f"<b>{html.escape(right)}</b> <p>{html.escape(said)}</p>")
        self.closed = True


def is_prediction(block: Block) -> bool:
    """Whether a block asks for a guess."""
    return block.text.startswith(PREDICT)


def left_out(cell: dict) -> bool:
    """Solutions, and the pages that show a reader's own record."""
    pages = re.match(r"(progress|exam|gallery|placement|review)\.page\(", "".join(cell["source"]))
    return bool(pages) or "solution" in cell["metadata"].get("tags", [])


def lesson_slides(notebook: dict) -> list[list[Slide]]:
    """The columns of slides of an executed notebook."""
    front, _, *cells = notebook["cells"]  # the second is the map
    setup = course_map.set_up_cell(notebook["cells"])
    deck = Deck()
    deck.front("".join(front["source"]))
    cells = [cell for cell in cells if cell is not setup and not left_out(cell)]
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if cell["cell_type"] == "code":
            deck.code(cell)
        else:
            deck.text("".join(cell["source"]), bool(following) and following["cell_type"] == "code")
    return deck.columns
