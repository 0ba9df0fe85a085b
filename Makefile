# From Bytes to Reasoning. `make` lists the targets. Needs Python 3.11 or newer, nothing else.

VENV := .venv
BIN := $(VENV)/bin
# The first Python that really runs; name another with `make lab PYTHON=...`.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c "" 2>/dev/null && echo $$p && exit; done; echo python3)
PIP_FLAGS ?=
LAB_FLAGS ?=
ONLY ?=
OPEN ?= yes
WORKERS ?= 2

# Threads that wait must sleep: two busy-waiting threads on two shared cores are slower than one.
export OMP_WAIT_POLICY ?= PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A notebook, a worker, a subprocess: each is a Python that would compile all of PyTorch anew.
unexport PYTHONDONTWRITEBYTECODE

# Compiling every file of every package takes as long as installing them; Python compiles the few that are used when it first reads them.
INSTALL = $(BIN)/python -m pip install --quiet --no-compile -c constraints.txt $(PIP_FLAGS)
AS_ROOT = $(if $(filter 0,$(shell id -u)),--allow-root)

.PHONY: help lab anew test test-gguf mutants models notebooks book try pdf epub slides bench gym handout handout-check assignment grades clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*##/  make \1\t/p' Makefile | expand -t 22

lab: $(VENV)/.lab $(VENV)/.plays  ## set everything up, make your copies in my_course and open 00 there in JupyterLab
	@$(BIN)/python -m course_lib.lab.desk
	$(BIN)/python -m jupyterlab $(AS_ROOT) $(LAB_FLAGS) my_course/00_start_here.ipynb

anew: $(VENV)/.lab  ## begin a lesson anew, ONLY="06"; your old copy stays under another name
	@$(BIN)/python -m course_lib.lab.desk --anew $(ONLY)

test: $(VENV)/.all $(VENV)/.plays $(VENV)/.models $(VENV)/.vendor  ## lint, unit and parity tests, every notebook, browser tests (WORKERS=2 at a time)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(WORKERS) tests course_lib slides $(wildcard notebooks/*.ipynb) \
	    --nbval-lax --nbval-current-env --nbval-cell-timeout=500

test-gguf: $(VENV)/.gguf $(VENV)/.models  ## what needs llama.cpp: our files opened there, the same text
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/llama_cpp

mutants: $(VENV)/.all $(VENV)/.plays  ## have the checkers judge every mutant of every solution (ONLY="attention bpe" for some)
	OMP_NUM_THREADS=1 COURSE_PROGRESS=off PYTHONPATH=. $(BIN)/python -m tests.lab.checks.mutants $(ONLY)

models: $(VENV)/.models  ## fetch the two real models (180 MB)

notebooks: $(VENV)/.all $(VENV)/.plays  ## run the changed texts in notebooks/src into notebooks (ONLY="02 03" for some)
	$(BIN)/python tools/notebooks.py $(ONLY)

book: $(VENV)/.vendor  ## build the static book and open it (OPEN= to build only)
	$(BIN)/python book/build.py $(if $(OPEN),--open)

try: $(VENV)/.vendor  ## exercises of lessons 02 and 03 in the browser, with their checkers: the book on a web server of this machine
	$(BIN)/python book/build.py
	$(BIN)/python book/serve.py try.html

pdf: $(VENV)/.vendor  ## print the book, and the cheat sheets, into PDFs in book/_build (some minutes; needs Chromium)
	$(BIN)/python book/pdf.py

epub: $(VENV)/.vendor  ## make the book for an e-reader, book/_build/book.epub
	$(BIN)/python book/epub.py

slides: $(VENV)/.vendor  ## one deck of slides per lesson, in build/slides, and open their list (ONLY="06" for some, OPEN= to build only)
	PYTHONPATH=. $(BIN)/python -m slides $(ONLY) $(if $(OPEN),--open)

bench: $(VENV)/.bench  ## speed beside other libraries, side by side, into MEASURED.md (about fifteen minutes)
	$(BIN)/python -m benchmarks

gym: $(VENV)/.gym  ## practice problems and a verifier of others, for lesson 24 and its tests (needs a C compiler)

handout: $(VENV)/.all  ## copies without solutions and outputs for a class, in build/handout (ONLY="06" for some)
	$(BIN)/python tools/notebooks.py $(ONLY) --handout build/handout

handout-check: $(VENV)/.all $(VENV)/.plays  ## run the handouts of all lessons, unanswered and answered (about a quarter of an hour; ONLY="06" for some)
	HANDOUTS="$(or $(ONLY),all)" $(BIN)/python -m pytest -n $(WORKERS) --dist=load tests/notebooks/test_handouts.py

assignment: $(VENV)/.all  ## a lesson's exercises for nbgrader, ONLY="06", in my_class (teachers)
	@$(BIN)/python -m tools.assignment $(ONLY)

grades: $(VENV)/.all $(VENV)/.plays  ## mark what lies in my_class/submitted, ONLY="06", and write feedback
	@$(BIN)/python -m tools.assignment --mark $(ONLY)

clean:  ## remove what was built (to install everything anew as well: rm -r .venv)
	rm -rf build book/_build .pytest_cache .ruff_cache .hypothesis

$(VENV)/.made:
	@$(PYTHON) tools/check_python.py
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.lab: pyproject.toml constraints.txt tools/lab_settings.py | $(VENV)/.made
	$(INSTALL) -e .
	@$(BIN)/python tools/lab_settings.py
	@touch $@

$(VENV)/.all: $(VENV)/.lab
	$(INSTALL) -e '.[test,parity,book,grading]'
	@touch $@

$(VENV)/.bench: $(VENV)/.all $(VENV)/.plays $(VENV)/.models
	$(INSTALL) -e '.[test,parity,book,grading,bench,gguf]'
	@touch $@

$(VENV)/.gym: $(VENV)/.all
	$(INSTALL) -e '.[test,parity,book,grading,gym]'
	@touch $@

$(VENV)/.gguf: $(VENV)/.all
	$(INSTALL) -e '.[test,parity,book,grading,gguf]'
	@touch $@

$(VENV)/.vendor: book/vendor.json $(VENV)/.all
	$(BIN)/python book/vendor.py
	@touch $@

$(VENV)/.plays $(VENV)/.models: $(VENV)/.%: data/assets.txt data/assets.json $(VENV)/.lab
	$(BIN)/python -m course_lib.assets $*
	@touch $@
