"""The rules about notebooks: each takes a `Lesson` and returns the list of its faults, which is
empty when all is well.

`EXCEPTIONS` names the lessons that need another bound, with the reason.
"""

import ast
import importlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from statistics import median

import nbformat
from nbformat import NotebookNode

from course_lib.lab import course_map, quiz
from tests.notebooks import handouts
from tools import notebooks as tool

SIZE = 1_500_000  # bytes
SHORT, LONG = 8, 40  # lines of code: the median's bound, and the largest cell's unless it is quoted
PRINTED = 15  # lines
BOUNDS = {
    "cells": (40, 110),  # many and short: a line has 100 columns, a cell says one thing
    "words": (1500, 3500),
    "exercises": (3, 6),
    "predictions": (2, 99),
    "questions": (3, 99),
}
EXCEPTIONS: dict[str, dict[str, tuple[int, int]]] = {
    # a first visit: everything is tried once, nothing is long
    "00": {"exercises": (1, 3), "cells": (25, 110)},
    # nine steps of one pipeline, each shown on a small example and then measured
    "02": {"cells": (40, 116), "words": (1500, 4000)},
    # one training run from seven sides, the last of them a game
    "10": {"words": (1500, 3750)},
    # five ways to fetch fewer bytes per token, each measured
    "12": {"words": (1500, 3750)},
    # four ways to split a run, each shown equal to one process
    "13": {"words": (1500, 3750)},
    # two models: one built, the other's changes measured one at a time
    "14": {"words": (1500, 3750)},
    # one exercise more, on what code averages and papers leave open
    "22": {"exercises": (3, 7)},
    # two sittings: many small changes of one loss, each an exercise of a line or two; then a lab in
    # which runs are diagnosed, other people's problems, and the way to larger engines
    "24": {"exercises": (3, 9), "words": (1500, 5200), "cells": (40, 150)},
}
RECALL = (
    "**Do you still know this?** Two questions from earlier lessons: answer from memory. In your"
    " own copy, what you missed or have not met for longest comes first."
)
RECALL_CODE = 'from course_lib.lab import recall\n\nrecall.ask("{}")'
BOX = ("**You will be able to", "**You need", "**Time", "**Papers")
HINTS = ("Hint 1: a question", "Hint 2: a plan", "Hint 3: the line")
DIFFICULTY = "difficulty d of 5 · m minutes"
EXERCISE = re.compile(r"### Exercise (\d+): (.+?) +\(difficulty [1-5] of 5 · \d+ minutes\)")

COLUMNS = 100  # of a line of code
SENTENCE = 20  # letters that a message of an assert has at least
PREDICTION = r"<details>\s*<summary>Predict first, then open</summary>"

# A homely word, its forms, the field's term for it, and the forms of that. The word may introduce
# the idea; what follows is said in the field's terms, which papers and PyTorch's pages use.
HOMELY_BOUND = 3
HOMELY: dict[str, tuple[str, str, str]] = {
    "chance": ("chances?", "probability", "probability|probabilities"),
    "slope": ("slopes?", "gradient", "gradients?"),
    "bend": ("bends?", "activation function", "activation functions?"),
    "place": ("places?", "position", "positions?"),
    "hear": ("hears?|heard|hearing|listen(?:s|ed|ing)?", "attend", "attend(?:s|ed|ing)?|attention"),
    "loud": ("loud(?:er|est|ly|ness)?", "scale", "scales?|scaled|scaling|magnitudes?"),
    "by heart": ("by heart", "memorise", "memori[sz]\\w+"),
}
# Everyday uses, in which the word means what it always means: they do not count.
EVERYDAY = (
    r"\bby (?:pure )?chance\b|\bchance level\b|\bleft to chance\b",  # at random
    r"\bslopes? of (?:a|the|this|each) (?:\w+ )?(?:line|curve)s?\b",  # of something drawn
    r"\blog-log slope\b|\bwith slope \S+",
    r"\bin[- ]place\b|\bin places\b|\bin (?:the )?first place\b|\bin its place\b",
    r"\b(?:takes?|took|taken|taking) (?:its |their )?place\b|\bin (?:the )?place of\b",
    r"\bdecimal places?\b|\bplaces? after the point\b|\b(?:no|a|its) place in\b",
)
# A lesson whose subject is the word itself: {"05": {"slope": 6}}, with the reason beside it.
HOMELY_EXCEPTIONS: dict[str, dict[str, int]] = {}


@dataclass(frozen=True)
class Lesson:
    """A notebook as it is stored, with its text twin."""

    file: Path
    twin: Path

    @cached_property
    def notebook(self) -> NotebookNode:
        """The stored notebook."""
        return nbformat.read(self.file, as_version=4)

    @property
    def number(self) -> str:
        """The two digits that its name begins with."""
        return self.file.name[:2]

    @property
    def code(self) -> list[NotebookNode]:
        """The code cells."""
        return [cell for cell in self.notebook.cells if cell.cell_type == "code"]

    @property
    def prose(self) -> list[NotebookNode]:
        """The text cells."""
        return [cell for cell in self.notebook.cells if cell.cell_type == "markdown"]

    def tagged(self, tag: str) -> list[NotebookNode]:
        """The cells with this tag."""
        return [cell for cell in self.notebook.cells if tag in tags(cell)]


def tags(cell: NotebookNode) -> list[str]:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def begins(cell: NotebookNode) -> str:
    """The first line of a cell, to name it by."""
    return repr(tool.first_line(cell)[:60])


def without_code(text: str) -> str:
    """Markdown without its code, formulas and comments."""
    text = re.sub(r"(?ms)^(```+|~~~+).*?^\1", "", text)
    text = re.sub(r"(?s)<code>.*?</code>|<pre>.*?</pre>|<!--.*?-->", "", text)
    return re.sub(r"(`+).+?\1|\$\$.*?\$\$|\$[^$\n]+\$", "", text, flags=re.S)


def html_of(lesson: Lesson) -> Iterator[str]:
    """All HTML that a notebook shows: in outputs and inside widgets."""
    for cell in lesson.code:
        for output in cell.outputs:
            yield output.get("data", {}).get("text/html", "")
    state = lesson.notebook.metadata.get("widgets", {}).get(tool.WIDGETS, {}).get("state", {})
    for model in state.values():
        yield from (
            text for text in model["state"].values() if isinstance(text, str) and "<img" in text
        )


# The pair
# --------------------------------------------------------------------------------------------------


def twin_and_notebook_agree(lesson: Lesson) -> list[str]:
    """The notebook was built from the twin as it is now: same cells, same tags, same text."""
    twin = tool.read_twin(lesson.twin)
    mine, theirs = (
        [(c.cell_type, c.source.strip(), tags(c)) for c in nb.cells]
        for nb in (lesson.notebook, twin)
    )
    faults = (
        [] if len(mine) == len(theirs) else [f"{len(mine)} cells, but {len(theirs)} in the twin"]
    )
    faults += [
        f"cell {i} differs: {a[1][:50]!r}"
        for i, (a, b) in enumerate(zip(mine, theirs, strict=False))
        if a != b
    ]
    stored = lesson.notebook.metadata.get("course", {}).get("twin")
    return faults or (
        [] if stored == tool.digest(lesson.twin) else ["built from another version of the twin"]
    )


def executed_in_order(lesson: Lesson) -> list[str]:
    """Every code cell was run once, from top to bottom, without an error or a warning."""
    counts = [cell.execution_count for cell in lesson.code]
    faults = [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts {counts}"]
    for cell in lesson.code:
        faults += [
            f"{begins(cell)}: {out.ename}: {out.evalue}"
            for out in cell.outputs
            if out.output_type == "error"
        ]
        faults += [
            f"{begins(cell)}: {out.text.strip()[:200]}"
            for out in cell.outputs
            if out.get("name") == "stderr"
        ]
    return faults


def quotes_are_the_library(lesson: Lesson) -> list[str]:
    """A quoted cell is the library's own source, docstrings aside; so is a solution."""
    faults, quoting = [], ("quote", "solution")
    for cell in (cell for tag in quoting for cell in lesson.tagged(tag)):
        name = cell.metadata.get("quote")
        if not name:
            faults.append(f"{begins(cell)}: tagged quote, but no `:quote:` says of what")
        elif ast.dump(ast.parse(cell.source)) != ast.dump(ast.parse(tool.quoted_cell(name))):
            faults.append(f"{name} is quoted differently from the library")
    return faults + [
        f"{begins(c)}: `:quote:` without its tag"
        for c in lesson.code
        if "quote" in c.metadata and not set(quoting) & set(tags(c))
    ]


# Size and length
# --------------------------------------------------------------------------------------------------


def is_small(lesson: Lesson) -> list[str]:
    """The file is under 1.5 MB."""
    size = lesson.file.stat().st_size
    return [f"{size / 1e6:.2f} MB, more than {SIZE / 1e6} MB"] if size > SIZE else []


def code_cells_are_short(lesson: Lesson) -> list[str]:
    """Code cells have a median of at most 8 lines and never more than 40, unless quoted."""
    lines = {
        i: sum(bool(line.strip()) for line in cell.source.splitlines())
        for i, cell in enumerate(lesson.code)
    }
    own = {i: n for i, n in lines.items() if "quote" not in tags(lesson.code[i])}
    faults = [
        f"{begins(lesson.code[i])}: {n} lines, more than {LONG}" for i, n in own.items() if n > LONG
    ]
    middle = median(own.values())
    return faults + ([f"median of {middle} lines, more than {SHORT}"] if middle > SHORT else [])


def prints_little(lesson: Lesson) -> list[str]:
    """A cell prints at most 15 lines."""
    faults = []
    for cell in lesson.code:
        printed = "".join(out.text for out in cell.outputs if out.output_type == "stream")
        plain = [
            out.data["text/plain"]
            for out in cell.outputs
            if set(out.get("data", {})) == {"text/plain"}
        ]
        if (n := sum(len(text.strip("\n").splitlines()) for text in [printed, *plain])) > PRINTED:
            faults.append(f"{begins(cell)}: {n} printed lines, more than {PRINTED}")
    return faults


def has_the_right_length(lesson: Lesson) -> list[str]:
    """Cells, words, exercises, predictions and quiz questions are as many as the design says, but
    for the two cells of recall, which are the same in every lesson."""
    own = [cell for cell in lesson.prose if not cell.source.startswith(RECALL)]
    prose = "\n".join(without_code(cell.source) for cell in own)
    counts = {
        "cells": len(lesson.notebook.cells) - (place_of_setup(lesson) - 2),
        "words": len(re.findall(r"[^\W\d_][\w'’-]*", re.sub(r"<[^>]*>|\]\([^)]*\)", " ", prose))),
        "exercises": len(lesson.tagged("exercise")),
        "predictions": prose.count("<summary>Predict first, then open</summary>"),
        "questions": sum(cell.source.count("quiz.choice(") for cell in lesson.code),
    }
    bounds = BOUNDS | EXCEPTIONS.get(lesson.number, {})
    return [
        f"{n} {what}, not {bounds[what][0]} to {bounds[what][1]}"
        for what, n in counts.items()
        if not bounds[what][0] <= n <= bounds[what][1]
    ]


# Shape
# --------------------------------------------------------------------------------------------------


def opens_as_agreed(lesson: Lesson) -> list[str]:
    """First the title, promise and box; the course map; two questions from earlier lessons, where
    there are some; then the set-up cell."""
    cells, faults = lesson.notebook.cells, []
    title = f"# {lesson.number} · {course_map.lesson(lesson.number).title}"
    if cells[0].cell_type != "markdown" or cells[0].source.splitlines()[0].strip() != title:
        faults.append(f"the first line is {begins(cells[0])}, not {title!r}")
    faults += [f"the box lacks {label}**" for label in BOX if label not in cells[0].source]
    if not tool.RUNS_IN.search(cells[0].source):
        faults.append("the box does not say how long the notebook runs (`runs in under 2 minutes`)")
    if cells[1].cell_type != "code" or f'course_map.show("{lesson.number}")' not in cells[1].source:
        faults.append(
            f'the second cell does not show the course map: course_map.show("{lesson.number}")'
        )
    elif not any(
        course_map.as_html(lesson.number) == out.data.get("text/html") for out in cells[1].outputs
    ):
        faults.append("the stored course map is not the map as it is now")
    setup = cells[place_of_setup(lesson)]
    if setup.cell_type != "code" or not imports(setup) or tool.asks(setup):
        faults.append("the set-up cell, with all imports, does not follow the opening")
    return faults + recall_faults(lesson)


def place_of_setup(lesson: Lesson) -> int:
    """The place of the set-up cell: the very first lesson has nothing to recall."""
    return 2 if lesson.number == "00" else 4


def recall_faults(lesson: Lesson) -> list[str]:
    """What is wrong with the questions from earlier lessons: the same text in every lesson, a cell
    that stands alone, and the questions that are asked now."""
    if lesson.number == "00":
        return []
    text, cell = lesson.notebook.cells[2:4]
    faults = [] if text.source.startswith(RECALL) else [f"{begins(text)}, not {RECALL!r}"]
    if cell.source != RECALL_CODE.format(lesson.number):
        return [*faults, f"{begins(cell)}: not the cell of recall, which stands alone"]
    if tool.recall_is_stale(lesson.notebook, lesson.twin) or len(cell.outputs) != 2:
        faults.append("the stored questions of recall are not those of now: `make notebooks`")
    return faults


def has_one_setup_cell(lesson: Lesson) -> list[str]:
    """No other cell imports, installs, calls a shell or changes a path."""
    faults = [
        f"{begins(c)}: imports outside the set-up cell"
        for c in lesson.notebook.cells[place_of_setup(lesson) + 1 :]
        if "quote" not in tags(c) and imports(c)
    ]
    for cell in lesson.code:
        if found := re.search(
            r"(?m)^\s*[!%].*|pip install|sys\.path|os\.chdir|PYTHONPATH", cell.source
        ):
            faults.append(f"{begins(cell)}: {found[0].strip()!r} has no place in a notebook")
    return faults


def imports(cell: NotebookNode) -> bool:
    """True if a code cell imports something at its top level."""
    if cell.cell_type != "code":
        return False
    try:
        return any(
            isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(cell.source).body
        )
    except SyntaxError:
        return False  # a magic command, which has_one_setup_cell names


def headings_do_not_jump(lesson: Lesson) -> list[str]:
    """One title; each heading is at most one level below the one before it."""
    found = headings(lesson)
    faults = [] if [level for level, _ in found].count(1) == 1 else ["not exactly one title"]
    for (above, _), (level, text) in zip(found, found[1:], strict=False):
        if level > above + 1:
            faults.append(f"{text!r}: from level {above} to level {level}")
    return faults


def headings(lesson: Lesson) -> list[tuple[int, str]]:
    """The headings of a notebook with their levels."""
    text = "\n".join(re.sub(r"(?ms)^```.*?^```", "", cell.source) for cell in lesson.prose)
    return [
        (len(marks), title.strip()) for marks, title in re.findall(r"(?m)^(#{1,6}) +(.+)$", text)
    ]


def closes_as_agreed(lesson: Lesson) -> list[str]:
    """Near the end: what was kept and left out (`## Paper and this notebook`), and the summary."""
    titles = [title for _, title in headings(lesson)]
    faults = (
        []
        if any("this notebook" in title for title in titles)
        else ["no section `Paper and this notebook`"]
    )
    return faults + (
        [] if any(title.startswith("Summary") for title in titles) else ["no section `Summary`"]
    )


def ends_in_the_page_of_progress(lesson: Lesson) -> list[str]:
    """The last cell shows what its reader has done so far."""
    last = lesson.notebook.cells[-1]
    return [] if last.source.startswith("progress.page()") else [f"the last cell is {begins(last)}"]


def is_plain_markdown(lesson: Lesson) -> list[str]:
    """No MyST directives or roles, which JupyterLab shows as raw text."""
    faults = []
    for cell in lesson.prose:
        for found in re.findall(
            r"(?m)^(?:```+|:::+)\s*\{.*|\{[a-z:-]+\}`[^`]*`|^:::+.*", cell.source
        ):
            faults.append(f"{begins(cell)}: {found.strip()[:50]!r}")
    return faults


# Exercises
# --------------------------------------------------------------------------------------------------


def exercises_are_whole(lesson: Lesson) -> list[str]:
    """Each exercise has its heading, three hints, a skeleton with its check, and a solution that
    passes it."""
    faults, count, text = [], 0, ""
    for i, cell in enumerate(lesson.notebook.cells):
        if cell.cell_type == "markdown":
            text += cell.source + "\n"
        if "exercise" in tags(cell):
            count += 1
            statement = text[text.rfind("### Exercise ") :]
            found = EXERCISE.match(statement)
            if found is None or int(found[1]) != count:
                faults.append(
                    f"exercise {count} has no heading `### Exercise {count}: name   ({DIFFICULTY})`"
                )
            if [statement.count(f"<summary>{hint}</summary>") for hint in HINTS] != [1, 1, 1]:
                faults.append(f"exercise {count} has not the three hints {HINTS}")
            after = next((c for c in lesson.notebook.cells[i + 1 :] if c.cell_type == "code"), cell)
            faults += [f"exercise {count}: {fault}" for fault in pair_faults(lesson, cell, after)]
            text = ""
    if len(lesson.tagged("solution")) != count:
        faults.append(f"{count} exercises, but {len(lesson.tagged('solution'))} solutions")
    return faults


def pair_faults(lesson: Lesson, exercise: NotebookNode, solution: NotebookNode) -> list[str]:
    """What is wrong with one pair of skeleton and solution."""
    called = re.fullmatch(
        r"check\.(\w+)\((\w+)\)", exercise.source.strip().splitlines()[-1].split("  #")[0].strip()
    )
    if called is None or called[1] != called[2]:
        return ["the skeleton's last line is not `check.name(name)`"]
    name, faults = called[1], []
    module = importlib.import_module(
        f"course_lib.lab.checks.{course_map.lesson(lesson.number).lab}"
    )
    if not getattr(getattr(module, name, None), "is_checker", False):
        faults.append(f"there is no checker {name} in {module.__name__}")
    if not printed(exercise).startswith(f"[ ] {name}"):
        faults.append(f"the skeleton is not untouched: {printed(exercise)[:60]!r}")
    if not {"solution", "hide-cell"} <= set(tags(solution)):
        faults.append("no cell tagged solution and hide-cell follows")
    elif solution.source.strip().splitlines()[-1].strip() != f"check.{name}({name}_solution)":
        faults.append(f"the solution's last line is not `check.{name}({name}_solution)`")
    elif not printed(solution).startswith(f"[ok] {name}"):
        faults.append(f"the solution is not accepted: {printed(solution)[:60]!r}")
    return faults


def printed(cell: NotebookNode) -> str:
    """The last verdict that a cell prints, or all it prints."""
    text = "".join(out.text for out in cell.outputs if out.output_type == "stream")
    verdicts = re.findall(r"(?ms)^\[(?: |x|ok)\] .*", text)
    return verdicts[-1] if verdicts else text


# Figures and links
# --------------------------------------------------------------------------------------------------


def images_have_alt_text(lesson: Lesson) -> list[str]:
    """Every image says in words what it shows."""
    faults = []
    for image in re.findall(
        r"<img\b[^>]*>", "\n".join([*html_of(lesson), *(cell.source for cell in lesson.prose)])
    ):
        alt = re.search(r'\balt="([^"]*)"', image)
        if alt is None or len(alt[1].strip()) < 20:
            faults.append(f"an image with the alternative text {alt[1] if alt else None!r}")
    for cell in lesson.code:
        for output in cell.outputs:
            data = output.get("data", {})
            if any(mime.startswith("image/") for mime in data) and "<img alt=" not in data.get(
                "text/html", ""
            ):
                faults.append(
                    f"{begins(cell)}: a bare picture; show it by plots.show(fig, alt=...)"
                )
    for cell in lesson.prose:
        faults += [
            f"{begins(cell)}: ![{alt}]"
            for alt in re.findall(r"!\[([^\]]*)\]\(", cell.source)
            if len(alt) < 20
        ]
    return faults


def links_resolve(lesson: Lesson) -> list[str]:
    """Links to other files, and to headings in this notebook and others, lead somewhere."""
    faults = []
    for cell in lesson.prose:
        for link in re.findall(r"\]\(([^)\s]+)\)", without_code(cell.source)):
            if re.match(r"https?://|mailto:", link):
                continue
            name, _, anchor = link.partition("#")
            file = (lesson.file.parent / name) if name else lesson.file
            if not file.exists():
                faults.append(f"{link} leads nowhere")
            elif anchor and file.suffix == ".ipynb" and anchor not in anchors(file):
                faults.append(
                    f"{link}: there is no such heading; there are {sorted(anchors(file))}"
                )
    return faults


def anchors(file: Path) -> set[str]:
    """The names of a notebook's headings as links write them."""
    titles = [title for _, title in headings(Lesson(file, file))]
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def is_normalized(lesson: Lesson) -> list[str]:
    """Nothing is stored that differs between two builds or tells about the machine that built
    it."""
    text = lesson.file.read_text(encoding="utf-8")
    faults = [
        f"{key} is stored" for key in ("iopub.execute_input", '"execution": {') if key in text
    ]
    words = re.sub(r'base64,[^"\\]*|"image/png": "[^"]*"', "", text)
    paths = set(re.findall(r"/(?:home|root|Users|tmp|work)/[\w./-]+", words))
    faults += [f"a path of the machine: {path}" for path in sorted(paths)]
    keys = list(json.loads(text))
    return faults + ([] if keys == sorted(keys) else ["the keys are not sorted"])


# Pending: what the lessons will be held to
# --------------------------------------------------------------------------------------------------


def code_fits_the_page(lesson: Lesson) -> list[str]:
    """Code lines are at most 100 columns wide, quotes too, so that no cell scrolls sideways."""
    return [
        f"{begins(cell)}: {len(line)} columns, more than {COLUMNS}: {line.strip()[:40]!r}"
        for cell in lesson.code
        for line in cell.source.splitlines()
        if len(line) > COLUMNS
    ]


def predictions_ask_outside(lesson: Lesson) -> list[str]:
    """The question of a prediction stands above its fold, `**Predict first.** ...?`; the fold holds
    the answer alone."""
    faults, above = [], ""
    for cell in lesson.notebook.cells:
        if cell.cell_type != "markdown":
            above = ""
            continue
        before, *folds = re.split(PREDICTION, above + cell.source)
        for fold in folds:
            question = before.strip().split("\n\n")[-1].strip()
            if not question.startswith("**Predict first.**") or "?" not in question:
                faults.append(f"no question `**Predict first.** ...?` above {fold.strip()[:40]!r}")
            inside, _, before = fold.partition("</details>")
            if "?" in without_code(inside).strip().split("\n\n")[0]:
                faults.append(f"a question inside the fold: {inside.strip()[:60]!r}")
        above = before + "\n\n"
    return faults


def asserts_say_why(lesson: Lesson) -> list[str]:
    """Every assert has a sentence for whoever changed a number: at least 20 letters, or an
    f-string."""
    faults = []
    for cell in lesson.code:
        nodes = list(ast.walk(ast.parse(cell.source)))
        named = {  # `told = "..."`, for several asserts of a cell
            node.targets[0].id: node.value
            for node in nodes
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        }
        for node in (node for node in nodes if isinstance(node, ast.Assert)):
            message = named.get(getattr(node.msg, "id", None), node.msg)
            if not is_sentence(message):
                faults.append(f"{begins(cell)}: `{ast.unparse(node)[:60]}` says nothing")
    return faults


def is_sentence(message: ast.expr | None) -> bool:
    """True for a message that holds an f-string or a text of at least 20 letters."""
    parts = [] if message is None else list(ast.walk(message))
    return any(isinstance(part, ast.JoinedStr) for part in parts) or any(
        isinstance(part, ast.Constant) and len(str(part.value)) >= SENTENCE for part in parts
    )


@dataclass(frozen=True)
class Question:
    """A question of a quiz as it is shown: which option is right, of how many, and whether that is
    the longest."""

    key: str
    right: int
    options: int
    longest: bool


def questions_of(lesson: Lesson) -> list[Question]:
    """The questions of a lesson, read from the calls of `quiz.choice` without running them."""
    calls = [
        node
        for cell in lesson.code
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "quiz.choice"
    ]
    return [as_question(call) for call in calls]


def as_question(call: ast.Call) -> Question:
    """One call of `quiz.choice(key, question, [(text, right, feedback), ...])`, its options in the
    order in which a learner sees them."""
    key, typed = ast.literal_eval(call.args[0]), call.args[2].elts
    listed = [(*map(ast.literal_eval, option.elts[:2]), "") for option in typed]
    options = quiz.shuffled(key, listed)
    lengths = [len(text) for text, *_ in options]
    (right,) = [i for i, (_, correct, _) in enumerate(options) if correct]
    longest = all(lengths[right] > n for i, n in enumerate(lengths) if i != right)
    return Question(key, right, len(options), longest)


def quizzes_are_balanced(lesson: Lesson) -> list[str]:
    """Neither its length nor its place gives the right option away within a lesson."""
    return unbalanced(questions_of(lesson), longest=0.5, place=0.8)


def all_quizzes_are_balanced(lessons: Sequence[Lesson]) -> list[str]:
    """The same over all lessons together, where the bounds can be closer."""
    return unbalanced([q for lesson in lessons for q in questions_of(lesson)], 0.4, 0.5)


def unbalanced(questions: Sequence[Question], longest: float, place: float) -> list[str]:
    """What gives the right options away: the share that are the longest, or that stand in one
    place; places count from four questions on."""
    faults, n = [], len(questions)
    if (long := sum(q.longest for q in questions)) > longest * n:
        faults.append(f"the right option is the longest in {long} of {n} questions")
    where, count = Counter(q.right for q in questions).most_common(1)[0] if n else (0, 0)
    if n >= 4 and count > place * n:
        faults.append(f"the right option is number {where + 1} in {count} of {n} questions")
    return faults


def hints_are_no_answers(lesson: Lesson) -> list[str]:
    """No hint holds the expression that the solution returns as a whole."""
    faults, text = [], ""
    for cell in lesson.notebook.cells:
        if cell.cell_type == "markdown":
            text += cell.source + "\n"
        if "solution" in tags(cell):
            hints = text[text.rfind("### Exercise ") :]
            function, _, _ = cell.source.rpartition("\ncheck.")
            found = handouts.hints_tell_all(hints, function)
            faults += [f"{begins(cell)}: a hint says `{line}`" for line in found]
            text = ""
    return faults


def speaks_the_fields_language(lesson: Lesson) -> list[str]:
    """A homely word introduces an idea at most; the field's term carries it and occurs more
    often."""
    text, faults = words_of(lesson), []
    for homely, (pattern, term, field) in HOMELY.items():
        often = len(re.findall(rf"\b(?:{pattern})\b", text))
        rare = len(re.findall(rf"\b(?:{field})\b", text))
        bound = HOMELY_EXCEPTIONS.get(lesson.number, {}).get(homely, HOMELY_BOUND)
        if often > bound:
            faults.append(f"{homely!r} {often} times, more than {bound}; the field says {term!r}")
        elif often and rare <= often:
            faults.append(f"{homely!r} {often} times, but {term!r} only {rare} times")
    return faults


def words_of(lesson: Lesson) -> str:
    """What a lesson says, in lower case: prose, headings, and the texts in its code cells but for
    quotes and solutions; everyday uses of homely words are left out."""
    said = [re.sub(r"<[^>]*>", " ", without_code(cell.source)) for cell in lesson.prose]
    for cell in lesson.code:
        if not {"quote", "solution"} & set(tags(cell)):
            said += [
                node.value
                for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
    text = re.sub(r"\s+", " ", "\n".join(said).lower())
    return re.sub("|".join(EVERYDAY), "", text)


def bold_terms_come_back(lesson: Lesson) -> list[str]:
    """A term of the glossary that is introduced in bold is used again in the prose."""
    prose = "\n".join(without_code(cell.source) for cell in lesson.prose[1:])
    prose = re.sub(r"\s+", " ", prose.lower())
    bold = set(re.findall(r"\*\*([^*]+)\*\*", prose)) & glossary_terms()
    return [
        f"**{term}** is introduced and never used again"
        for term in sorted(bold)
        if len(re.findall(rf"\b{re.escape(term)}", prose)) < 2
    ]


@cache
def glossary_terms() -> frozenset[str]:
    """The words that the book's glossary defines, in lower case."""
    text = (course_map.ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    lists = re.findall(r"(?ms)^```\{glossary\}\n(.*?)^```", text)
    return frozenset(
        line.strip().lower() for part in lists for line in part.splitlines() if line[:1].strip()
    )


def outside_links_are_links(lesson: Lesson) -> list[str]:
    """Each paper of the box is a link; no address of the web and no arXiv number stands bare."""
    faults = []
    box = next((line for line in lesson.prose[0].source.splitlines() if "**Papers" in line), "")
    for paper in re.sub(r".*?\*\*Papers\*\*[\s|:]*", "", box).split(";"):
        if re.search(r"\b(19|20)\d\d\b", paper) and not re.search(r"\]\(https://", paper):
            faults.append(f"a paper without a link: {paper.strip(' |')[:60]!r}")
    for cell in lesson.prose:
        text = re.sub(r"\[[^\]]*\]\([^)]*\)|<https?:[^>]*>|href=\"[^\"]*\"", "", cell.source)
        for bare in re.findall(r"https?://\S+|(?i:arxiv)[: ]*\d{4}\.\d{4,5}", without_code(text)):
            faults.append(f"{begins(cell)}: {bare!r} is no link")
    return faults


RULES: list[Callable[[Lesson], list[str]]] = [
    twin_and_notebook_agree,
    executed_in_order,
    quotes_are_the_library,
    is_small,
    code_cells_are_short,
    prints_little,
    has_the_right_length,
    opens_as_agreed,
    has_one_setup_cell,
    headings_do_not_jump,
    closes_as_agreed,
    is_plain_markdown,
    exercises_are_whole,
    images_have_alt_text,
    links_resolve,
    is_normalized,
    code_fits_the_page,
    predictions_ask_outside,
    asserts_say_why,
    quizzes_are_balanced,
    hints_are_no_answers,
    speaks_the_fields_language,
    bold_terms_come_back,
    outside_links_are_links,
    ends_in_the_page_of_progress,
]
