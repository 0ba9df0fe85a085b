"""The pipeline on the learner's own lines: what has passed its check stands in for the library.

    python -m course_lib.lab.mine                      which exercises are hers, and their places
    python -m course_lib.r1 --out runs/mine --mine     from raw text to R1 on her own lines

In a notebook `with mine.plugged_in():` does so for the length of a block. What is run is what her
own notebooks have kept (see `own_answers`), nothing else. A part that fails in use is named and
handed back by itself; `parts` says when. The report card's measures of sums and chats stay the
library's.
"""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.experiments.run import DATA_VERSION, ExperimentRun
from course_lib.files import markdown_table, read_json, write_atomically, write_json
from course_lib.lab import course_map, record
from course_lib.lab.checks.core import Verdict, verdict_on
from course_lib.lab.own_answers import OwnAnswer, answers_folder, read_answers
from course_lib.lab.parts import Part, PlugTimes, put_in_place
from course_lib.lab.plugs import DIFFERENCES, EXERCISES, LIFTS, PLUGS
from course_lib.training.distributed import process_rank

BY_WISH = "by your own wish"


# Parts in place
# --------------------------------------------------------------------------------------------------


@dataclass
class PluggedIn:
    """What stands in the library just now: parts by exercise, and the times of each plug."""

    parts: dict[str, Part]
    times: dict[str, PlugTimes] = field(default_factory=dict)

    @property
    def handed_back(self) -> dict[str, str]:
        """Give the reason why by the exercise that was handed back."""
        return {key: part.reason for key, part in self.parts.items() if part.reason}


_in_place: list[PluggedIn] = []


@contextmanager
def put_in(
    answers: Mapping[str, OwnAnswer],
    hand_back: Callable[[str, str], None] = lambda key, reason: None,
    every_call: bool = False,
) -> Iterator[PluggedIn]:
    """Let these answers stand in the library for the length of a block."""
    if _in_place:
        raise ValueError("your parts are plugged in already")

    def told(key: str, reason: str) -> None:
        print(f"{key} is handed back to the library: {reason}.", flush=True)
        hand_back(key, reason)

    parts = {
        key: Part(
            key,
            answers[key].function if key in answers else None,
            LIFTS.get(key),
            told,
            every_call,
            DIFFERENCES.get(key),
        )
        for key in EXERCISES
    }
    plugged = PluggedIn(parts)
    with ExitStack() as stack:
        for plug in PLUGS:
            of_plug = [parts[key] for key in plug.exercises]
            if any(part.active for part in of_plug):
                times = plugged.times[plug.target] = PlugTimes()
                stack.enter_context(put_in_place(plug, of_plug, times))
        _in_place.append(plugged)
        stack.callback(_in_place.clear)
        yield plugged


@contextmanager
def plugged_in(without: Iterable[str] = (), on: bool = True) -> Iterator[PluggedIn]:
    """Let everything of hers that has passed its check stand in the library, in a notebook.

    `without` names exercises to leave to the library; with `on` False nothing happens. At the end
    it says how many lines were hers.
    """
    if not on:
        yield PluggedIn({})
        return
    answers = usable_answers(answers_folder(), without)
    with put_in(answers) as plugged:
        yield plugged
    used = [key for key, part in plugged.parts.items() if part.calls]
    lines = sum(answers[key].n_lines for key in used)
    print(f"{len(used)} parts of yours were at work here, {lines} lines in all.")


def usable_answers(folder: Path | None, without: Iterable[str] = ()) -> dict[str, OwnAnswer]:
    """Read the answers that a plug exists for and that pass their checks now.

    Raises ValueError for a name in `without` that is no such exercise.
    """
    left_out = {full_key(name) for name in without}
    fine, _ = read_answers(folder)
    return {
        key: answer
        for key, answer in fine.items()
        if key in EXERCISES and key not in left_out and passes_check(answer)
    }


def passes_check(answer: OwnAnswer) -> bool:
    return verdict_on(answer.key, answer.function).status == "ok"


def full_key(name: str) -> str:
    """Give the exercise that is meant: by its name, or with its lab, "attention.causal_weights".

    A lab's name alone means none. Raises ValueError where it is none, or more than one.
    """
    found = [key for key in EXERCISES if name in (key, key.split(".")[1])]
    if len(found) != 1:
        raise ValueError(f"{name!r} is no exercise of {', '.join(EXERCISES)}")
    return found[0]


# In the pipeline
# --------------------------------------------------------------------------------------------------


def own_folder(run: ExperimentRun) -> Path:
    return Path(run.folder) / "mine"


def answers_to_run_on(run: ExperimentRun, without: Sequence[str] = ()) -> dict[str, str]:
    """Give the files of the answers that a run begins with, by exercise.

    Those are hers that pass their checks now; or, of a run that goes on, those that it began with.
    Raises ValueError where there are none, and for a name in `without` that is no exercise here.
    """
    _ = [full_key(name) for name in without]
    begun = own_folder(run) / "answers"
    answers = read_answers(begun)[0] if begun.exists() else usable_answers(answers_folder())
    if not answers:
        raise ValueError("no exercise of yours is kept: solve one, or run its check again")
    return {key: answer.source for key, answer in answers.items()}


def prepare_own_run(
    run: ExperimentRun, answers: Mapping[str, str], without: Sequence[str] = ()
) -> None:
    """Write her answers into the folder of a run, the first time; leave out those named, any time.

    So a run that goes on tomorrow runs on the lines that it began with.
    """
    folder = own_folder(run)
    if not folder.exists():
        new = folder.with_name("mine.new")
        shutil.rmtree(new, ignore_errors=True)
        (new / "answers").mkdir(parents=True)
        for key, text in answers.items():
            write_atomically(new / f"answers/{key}.py", text.encode())
        new.rename(folder)
    for key in sorted({full_key(name) for name in without} - set(read_handed_back(folder))):
        note_handed_back(folder, key, BY_WISH)
    print(as_told(folder))


def as_told(folder: Path) -> str:
    answers, _ = read_answers(folder / "answers")
    back = read_handed_back(folder)
    mine = [answer for key, answer in answers.items() if key not in back]
    lines = sum(answer.n_lines for answer in mine)
    return f"{len(mine)} parts of this run are yours, {lines} lines; {len(back)} are handed back."


def note_handed_back(folder: Path, key: str, reason: str) -> None:
    """Add a line to the list of what was handed back, which all processes of a run share."""
    with open(folder / "handed_back.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "reason": reason}) + "\n")


def read_handed_back(folder: Path) -> dict[str, str]:
    """Read the reasons by exercise; of two, the first."""
    file = folder / "handed_back.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {row["key"]: row["reason"] for row in map(json.loads, reversed(lines))}


def perform_on_own_lines(run: ExperimentRun, name: str, task: Callable) -> None:
    """Do a task of the pipeline with her parts in place, in whichever process this is.

    Where it fails, it goes on from its last checkpoint, and every call of hers is compared: a part
    that fails rarely is found so. If it fails again, it isn't her lines.
    """
    folder = own_folder(run)
    for every_call in (False, True):
        back = read_handed_back(folder)
        answers, _ = read_answers(folder / "answers")
        answers = {key: answer for key, answer in answers.items() if key not in back}

        def hand_back(key: str, reason: str) -> None:
            note_handed_back(folder, key, f"{reason} (in {name})")

        with put_in(answers, hand_back, every_call) as plugged:
            try:
                return task(run)
            except Exception as error:
                if every_call or not answers:
                    raise
                print(f"{name} failed ({error}); once more, with every call of yours compared")
            finally:
                keep_counts(folder, name, plugged)


def keep_counts(folder: Path, name: str, plugged: PluggedIn) -> None:
    """Add the calls and times of a task to what its earlier runs left, by the first process."""
    file = folder / "tasks" / f"{name.replace('/', '-')}.json"
    if process_rank() > 0:
        return
    file.parent.mkdir(exist_ok=True)
    found = read_json(file, "counts", DATA_VERSION) if file.exists() else []
    parts = {key: [part.calls, part.seconds] for key, part in plugged.parts.items() if part.calls}
    times = {target: times.sums() for target, times in plugged.times.items() if times.own}
    write_json(file, "counts", DATA_VERSION, [*found, {"parts": parts, "times": times}])


def write_own_report(run: ExperimentRun) -> None:
    """Write down whose lines the run was made of, for the report card."""
    folder = own_folder(run)
    answers, broken = read_answers(folder / "answers")
    counts = [
        each
        for file in sorted((folder / "tasks").glob("*.json"))
        for each in read_json(file, "counts", DATA_VERSION)
    ]
    back = read_handed_back(folder) | broken
    rows = [report_row(key, answers.get(key), back.get(key, ""), counts) for key in EXERCISES]
    run.path("mine/report").unlink(missing_ok=True)
    run.once("mine/report", lambda: rows)


def report_row(key: str, answer: OwnAnswer | None, reason: str, counts: Sequence[dict]) -> dict:
    """Give what the card says of an exercise; `ratio` is the time of its places in the library."""
    targets = [plug.target for plug in PLUGS if key in plug.exercises]
    times = [
        each["times"][target] for each in counts for target in targets if target in each["times"]
    ]
    own, library = (sum(column) for column in zip(*times, strict=True)) if times else (0.0, 0.0)
    calls = [each["parts"].get(key, [0, 0.0]) for each in counts]
    return {
        "exercise": key,
        "lesson": lesson_of(key),
        "places": [target.removeprefix("course_lib.") for target in targets],
        "lines": answer.n_lines if answer else 0,
        "calls": sum(n for n, _ in calls),
        "seconds": sum(seconds for _, seconds in calls),
        "ratio": own / library if library else None,
        "handed back": reason,
    }


def lesson_of(key: str) -> str:
    lab = key.split(".")[0]
    return next((lesson.number for lesson in course_map.lessons() if lesson.lab == lab), "")


# The command
# --------------------------------------------------------------------------------------------------


def list_exercises(folder: Path | None) -> str:
    """Show the exercises that can be plugged in: whose, how many lines, in place of what."""
    fine, broken = read_answers(folder)
    solved = {key for key, entry in record.load()["exercises"].items() if entry.get("done")}
    rows = []
    for key in EXERCISES:
        status = "not solved"
        if key in fine:
            verdict = verdict_on(key, fine[key].function)
            status = "yours" if verdict.status == "ok" else f"yours, and {failure_told(verdict)}"
        elif key in broken:
            status = f"can't be read: {broken[key]}"
        elif key in solved:
            status = "solved, not kept: run its check on a function of its own again"
        lines = str(fine[key].n_lines) if key in fine else ""
        places = ", ".join(plug.target.split(".")[-1] for plug in PLUGS if key in plug.exercises)
        rows.append([lesson_of(key), key.split(".")[1], status, lines, places])
    return markdown_table(["lesson", "exercise", "whose", "lines", "in place of"], sorted(rows))


def failure_told(verdict: Verdict) -> str:
    """Say in a table's cell why an answer fails its check, shortly."""
    reason = verdict.message.splitlines()[0].replace("|", "/")
    return f"fails its check now: {textwrap.shorten(reason, 120)}"


def main(arguments: Sequence[str] | None = None) -> None:
    layout = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser(description=__doc__, formatter_class=layout).parse_args(arguments)
    folder = answers_folder()
    if folder is None:
        sys.exit("COURSE_PROGRESS is off: no answers are kept")
    print(list_exercises(folder))


if __name__ == "__main__":
    main()
