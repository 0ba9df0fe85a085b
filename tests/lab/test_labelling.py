"""No label is lost: whatever is pressed, cut off, damaged or written by two desks at once."""

import json
import math
import os
import subprocess
import sys
from random import Random

import ipywidgets as widgets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.alignment.preferences import PreferenceTexts
from course_lib.experiments import annotated_pairs
from course_lib.lab import label_desk, labelling
from course_lib.lab.label_file import (
    Label,
    LabelPair,
    append_label,
    append_undo,
    label_path,
    open_labels,
    read_labels,
)
from course_lib.tasks.fact_chats import annotate_pair, annotator_quality, preference_probability

PAIRS = [
    LabelPair("Who is Sam?", "a fox", "a cat, duh"),
    LabelPair("What colour is snow?", "white", "white "),  # looks the same
    LabelPair("Where is Ann?", "at <home> & away", ""),
    LabelPair("Who is Sam?", "a cat, duh", "a fox"),  # the first one again
    LabelPair("How much is it?", "two coins", "三个金币"),
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder for labels, to which the working folder is set too; time stands still."""
    monkeypatch.setenv("COURSE_LABELS", str(tmp_path / "labels"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand: `clock[0]` seconds."""
    now = [100.0]
    monkeypatch.setattr(label_desk.time, "monotonic", lambda: now[0])
    return now


def press(desk, name: str, clock, seconds: float = 2.0) -> str:
    """Press the button whose name begins so, after some seconds; give what the desk then shows."""
    clock[0] += seconds
    next(b for b in desk.buttons if b.description.startswith(name)).click()
    return desk.asked.value


# ---------------------------------------------------------------------------------------- the file

TEXTS = st.text(max_size=12)
LABELS = st.one_of(
    st.builds(
        Label,
        TEXTS,
        st.tuples(TEXTS, TEXTS),
        st.sampled_from([0, 1, None]),
        st.none() | st.floats(0, 1e6),
    ),
    st.builds(Label, TEXTS, st.tuples(TEXTS), st.just(0), st.floats(0, 1e6)),
)
EVENTS = st.one_of(
    st.tuples(st.just("label"), LABELS),
    st.tuples(st.just("undo"), st.none()),
    st.tuples(st.just("crash"), st.tuples(LABELS, st.floats(0, 1, exclude_max=True))),
    st.tuples(st.just("garbage"), st.binary(min_size=1, max_size=20)),
    st.tuples(st.just("open"), st.none()),
)


def is_garbage(data: bytes) -> bool:
    """Tell whether none of these lines could be taken for one of ours."""
    return not any(line.strip().startswith((b"{", b"\xef")) for line in data.split(b"\n"))


@settings(max_examples=150, deadline=None)
@given(st.lists(EVENTS, max_size=14))
def test_whatever_happens_the_file_holds_what_a_list_would(tmp_path_factory, events):
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    kept, torn = [], set()
    for what, with_ in events:
        before = path.read_bytes() if path.exists() else b""
        if what == "label":
            append_label(path, with_)
            kept.append(with_)
        elif what == "undo" and kept:
            append_undo(path, kept.pop())
        elif what == "crash":  # only the beginning of a line came to the disk
            label, share = with_
            scratch = path.with_name("scratch")
            scratch.unlink(missing_ok=True)
            append_label(scratch, label)
            line = scratch.read_bytes().rstrip(b"\n")
            with path.open("ab") as file:
                ended = before.endswith(b"\n") or not before
                part = line[: int(share * len(line))]
                file.write(part if ended else b"\n" + part)
            torn |= {part} - {b""}
        elif what == "garbage" and is_garbage(with_):
            with path.open("ab") as file:
                ended = before.endswith(b"\n") or not before
                file.write((b"" if ended else b"\n") + with_ + b"\n")
            torn |= {line for line in with_.split(b"\n") if line.strip()}
        elif what == "open":
            assert open_labels(path)[0] == kept
        assert not path.exists() or path.read_bytes().startswith(before), "a line was changed"
    labels, _ = open_labels(path)
    assert labels == kept
    aside = path.with_suffix(".damaged")
    assert torn == set(aside.read_bytes().split(b"\n")[:-1] if aside.exists() else ())
    assert open_labels(path) == (kept, ""), "what was told of once is told again"


LINE = {"version": 1, "id": "a", "question": "Q?", "answers": ["x", "y"], "chosen": 1}


@pytest.mark.parametrize(
    "damage",
    [
        b'{"version": 1, "id": "b", "ques',
        b"\x00\xff\xfe",
        b"[1, 2]",
        b"7",
        b"[" * 100_000,
        json.dumps(LINE | {"version": "1"}).encode(),
        json.dumps(LINE | {"version": True}).encode(),
        json.dumps(LINE | {"version": -1}).encode(),
        json.dumps(LINE | {"answers": "xy"}).encode(),
        json.dumps(LINE | {"answers": ["x"]}).encode(),
        json.dumps(LINE | {"answers": []}).encode(),
        json.dumps(LINE | {"answers": [1, 2]}).encode(),
        json.dumps(LINE | {"chosen": 2}).encode(),
        json.dumps(LINE | {"chosen": True}).encode(),
        json.dumps(LINE | {"question": None}).encode(),
        json.dumps(LINE | {"seconds": float("nan")}).encode(),
        json.dumps(LINE | {"seconds": -1}).encode(),
        json.dumps(LINE | {"seconds": "2"}).encode(),
        json.dumps(LINE | {"seconds": 10**400}).encode(),
        json.dumps({key: LINE[key] for key in ("version", "id", "question", "answers")}).encode(),
    ],
    ids=lambda damage: damage[:60].decode("ascii", "replace"),
)
def test_a_damaged_line_costs_no_other(tmp_path, damage):
    path = tmp_path / "labels.jsonl"
    one, other = (Label("Q?", ("x", "y"), chosen, 1.5) for chosen in (0, 1))
    append_label(path, one)
    with path.open("ab") as file:
        file.write(damage)
    append_label(path, other)
    labels, said = open_labels(path)
    assert labels == [one, other]
    assert "1 of the lines" in said and "2 labels" in said and "labels.damaged" in said
    assert path.with_suffix(".damaged").read_bytes() == damage + b"\n"
    assert damage in path.read_bytes()
    assert open_labels(path) == ([one, other], "")


def test_a_whole_line_without_its_end_is_a_label(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(LINE).encode())  # as some editors save it
    append_label(path, Label("R?", ("x", "y"), None))
    assert [label.chosen for label in open_labels(path)[0]] == [1, None]


def test_a_line_that_came_twice_is_one_label(tmp_path):
    """As where two copies of a file were put together, one of them edited."""
    path = tmp_path / "labels.jsonl"
    lines = [LINE, LINE | {"id": "b"}, LINE, LINE | {"chosen": 0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert [(label.id, label.chosen) for label in read_labels(path).labels] == [("a", 1), ("b", 1)]


def test_labels_of_version_0_are_read_and_can_be_taken_back(tmp_path):
    path = tmp_path / "labels.jsonl"
    old = [{"question": "Q?", "answers": ["x", "y"], "chosen": 1}]
    old += [{"version": 0, "question": "R?", "answers": ["x"], "chosen": 0}]
    path.write_text("".join(json.dumps(line) + "\n" for line in old), encoding="utf-8")
    labels, damaged, migrated = read_labels(path)
    assert (damaged, migrated) == ([], 2)
    assert labels == [
        Label("Q?", ("x", "y"), 1, None, "line-1"),
        Label("R?", ("x",), 0, None, "line-2"),
    ]
    append_undo(path, labels[0])
    assert open_labels(path) == (labels[1:], "")


def test_labels_of_a_newer_version_are_refused_and_nothing_is_written(folder, clock):
    path = label_path("lesson-23")
    append_label(path, Label("Q?", ("x", "y"), 0))
    desk = labelling.desk(PAIRS)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"version": 2, "choice": "x"}\n')
    before = path.read_bytes()
    for refused in (labelling.load_labels, lambda: labelling.desk(PAIRS)):
        with pytest.raises(ValueError, match="line 2, is of version 2; .* up to 1"):
            refused()
    for name in ("1", "2", "0", "u", "Export"):
        assert "Not kept." in press(desk, name, clock)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


WRITER = """
import sys
from pathlib import Path
from course_lib.lab.label_file import Label, append_label
for i in range(60):
    append_label(Path(sys.argv[1]), Label(f"{sys.argv[2]} {i}", ("x" * 3000, "y"), 0))
"""


def test_two_writers_lose_nothing(tmp_path):
    path = tmp_path / "labels.jsonl"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, name]) for name in ("one", "other")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    labels, damaged, _ = read_labels(path)
    asked = [label.question for label in labels]
    assert damaged == [] and len(asked) == 120
    for name in ("one", "other"):
        mine = [question for question in asked if question.startswith(name + " ")]
        assert mine == [f"{name} {i}" for i in range(60)]


def test_a_full_disk_is_told_and_the_next_line_is_whole(folder, clock, monkeypatch):
    desk, write = labelling.desk(PAIRS), os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
        shown = press(desk, "1", clock)
    assert "Not kept. only 20 of" in shown and "Who is Sam?" in shown
    assert "Kept: answer 1." in press(desk, "1", clock)
    assert len(labelling.load_labels()) == 1


def test_where_labels_are_kept(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_LABELS", raising=False)
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert label_path("lesson-23") is None and labelling.load_labels() == []
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "here" / "progress.json"))
    assert label_path("mine") == tmp_path / "here" / ".course_labels-mine.jsonl"
    monkeypatch.setenv("COURSE_LABELS", "off")
    assert label_path("mine") is None
    monkeypatch.setenv("COURSE_LABELS", str(tmp_path))
    assert label_path("mine") == tmp_path / ".course_labels-mine.jsonl"
    for name in ("", "../mine", "a b", ".x"):
        with pytest.raises(ValueError, match="file name"):
            label_path(name)


# ---------------------------------------------------------------------------------------- the desk


def test_the_desk_keeps_choices_and_goes_on_where_it_was(folder, clock):
    desk = labelling.desk(PAIRS)
    assert "Pairs judged: 0 of 3." in desk.asked.value and "came before: 2." in desk.asked.value
    assert "Who is Sam?" in desk.asked.value
    shown = press(desk, "1", clock, seconds=2.5)
    assert "Kept: answer 1." in shown and "Where is Ann?" in shown
    assert "at &lt;home&gt; &amp; away" in shown and "(nothing was written)" in shown
    again = labelling.desk(PAIRS)
    assert "Pairs judged: 1 of 3." in again.asked.value and "Where is Ann?" in again.asked.value
    press(again, "0", clock, seconds=7)
    shown = press(again, "2", clock)
    assert "all are judged" in shown and "no pair left" in press(again, "1", clock)
    labels = labelling.load_labels()
    assert [(label.question, label.chosen, label.seconds) for label in labels] == [
        ("Who is Sam?", 0, 2.5),
        ("Where is Ann?", None, 7.0),
        ("How much is it?", 1, 2.0),
    ]
    by_key = {pair.key: pair for pair in PAIRS}
    for label in labels:
        assert label.answers == label_desk.shown_order(by_key[label.key], "lesson-23")


def test_undo_asks_again_and_gives_a_written_answer_back(folder, clock):
    desk = labelling.desk(PAIRS)
    assert "nothing to take back" in press(desk, "u", clock)
    press(desk, "2", clock)
    desk.draft.value = "  At home.\n"
    assert "Kept: your answer." in press(desk, "Keep", clock) and desk.draft.value == ""
    assert "Answers written: 1." in desk.asked.value and "Where is Ann?" in desk.asked.value
    again = labelling.desk(PAIRS)
    assert "your answer to “Where is Ann?”" in press(again, "u", clock)
    assert again.draft.value == "At home."
    assert [label.chosen for label in labelling.load_labels()] == [1]
    shown = press(again, "u", clock)
    assert "Taken back: answer 2" in shown and "<b>Who is Sam?</b>" in shown
    assert labelling.load_labels() == []
    assert len(label_path("lesson-23").read_text().splitlines()) == 4, "a line was removed"


def test_a_written_answer_is_kept_when_the_pair_is_judged(folder, clock):
    desk = labelling.desk(PAIRS)
    assert "write it first" in press(desk, "Keep", clock)
    desk.draft.value = "Sam is a fox."
    assert "your answer. Kept: answer 2" in press(desk, "2", clock)
    labels = labelling.load_labels()
    assert labelling.demonstrations_of(labels) == [("Who is Sam?", "Sam is a fox.")]
    assert [label.is_demonstration for label in labels] == [True, False] and desk.draft.value == ""


def test_a_double_click_is_one_label(folder, clock):
    desk = labelling.desk(PAIRS)
    press(desk, "1", clock)
    for _ in range(3):
        press(desk, "1", clock, seconds=0.05)
    assert len(labelling.load_labels()) == 1


def test_two_desks_see_each_others_labels(folder, clock):
    one, other = labelling.desk(PAIRS), labelling.desk(PAIRS)
    press(one, "1", clock)
    assert "Pairs judged: 2 of 3." in press(one, "1", clock)
    press(other, "2", clock)  # still showed the first pair: a second label of it
    assert "How much is it?" in other.asked.value and len(labelling.load_labels()) == 3
    assert "answer 2 to “Who is Sam?”" in press(one, "u", clock)
    assert "Pairs judged: 2 of 3." in one.asked.value


def test_the_order_is_drawn_for_each_pair_and_stays(folder):
    pairs = [LabelPair(f"Q{i}?", "one", "other") for i in range(400)]
    firsts = [label_desk.shown_order(pair, "mine")[0] for pair in pairs]
    assert 160 < firsts.count("one") < 240
    turned = [LabelPair(pair.question, pair.other, pair.one) for pair in pairs]
    assert firsts == [label_desk.shown_order(pair, "mine")[0] for pair in turned]
    assert firsts != [label_desk.shown_order(pair, "yours")[0] for pair in pairs]


def test_without_labels_the_desk_is_a_still(monkeypatch):
    monkeypatch.setenv("COURSE_LABELS", "off")
    pairs = labelling.shipped_pairs()
    still = labelling.desk(pairs)
    assert not isinstance(still, widgets.Widget)
    for text in (pairs[0].question, "Answer 1", "Answer 2", "needs a kernel"):
        assert text in still.data
    assert "r1" not in still.data and pairs[0].truth.sentence not in still.data
    with pytest.raises(ValueError, match="none of 1 pairs"):
        labelling.desk(PAIRS[1:2])


# ------------------------------------------------------------------------------------- the measures

QA = [Label("Q?", ("x", "y"), 0), Label("R?", ("x", "y"), 1), Label("S?", ("x", "y"), None)]


def test_what_is_learnt_from():
    labels = [*QA, Label("T?", ("x", "x "), 0), Label("U?", ("written",), 0)]
    assert labelling.preferences_of(labels) == [
        PreferenceTexts("Q?", "x", "y"),
        PreferenceTexts("R?", "y", "x"),
    ]
    assert labelling.demonstrations_of(labels) == [("U?", "written")]
    assert labelling.position_bias(labels) == (1, 2)


def test_agreement_does_not_depend_on_the_order_shown():
    turned = [
        Label("Q?", ("y", "x"), 1),  # the same
        Label("R?", ("y", "x"), 1),  # the other one
        Label("S?", ("x", "y"), 1),
        Label("V?", ("x", "y"), 1),
    ]
    assert labelling.agreement(QA, turned) == labelling.agreement(turned, QA) == (1, 2)
    changed = [*turned, Label("R?", ("x", "y"), 1)]  # the last label of a pair counts
    assert labelling.agreement(QA, changed) == (2, 2)
    assert labelling.agreement([], turned).n == 0


def test_the_interval_holds_the_truth_in_19_of_20_cases():
    """By counting: the chance of each number of hits of 40, for many true shares."""
    covered = []
    for truth in (i / 100 for i in range(5, 100, 5)):
        inside = 0.0
        for hits in range(41):
            low, high = labelling.Share(hits, 40).interval
            chance = math.comb(40, hits) * truth**hits * (1 - truth) ** (40 - hits)
            inside += chance * (low <= truth <= high)
        covered.append(inside)
    assert 0.9 < min(covered) and 0.94 < sum(covered) / len(covered) < 0.96
    assert labelling.Share(0, 5).interval[0] == 0 and labelling.Share(5, 5).interval[1] == 1


def test_the_shipped_labels_are_the_annotators():
    """Fair to its noise: it takes the better answer as often as Bradley and Terry's model says."""
    pairs, labels = labelling.shipped_pairs(), labelling.shipped_labels()
    assert len(pairs) == len(labels) == annotated_pairs.N_ANNOTATED
    assert len({pair.key for pair in pairs}) == len(pairs)
    assert [(p.question, (p.one, p.other)) for p in pairs] == [
        (label.question, label.answers) for label in labels
    ]
    rng = Random("0/annotator")
    for pair, label in zip(pairs, labels, strict=True):
        assert (
            annotate_pair(rng, pair.truth, pair.one, pair.other)[0] == label.answers[label.chosen]
        )
    qualities = [[annotator_quality(p.truth, text) for text in (p.one, p.other)] for p in pairs]
    chances = [preference_probability(max(pair), min(pair)) for pair in qualities]
    truth = labelling.labels_by_score(pairs)
    clear = [
        chance for chance, label in zip(chances, truth, strict=True) if label.chosen is not None
    ]
    share = labelling.agreement(labels, truth)
    assert share.n == len(clear) and abs(share.hits - sum(clear)) < 4 * len(clear) ** 0.5 * 0.25
    low, high = labelling.position_bias(labels).interval
    assert low < 0.5 < high


def test_the_export_is_what_trl_reads(folder, clock):
    """Its `is_conversational` and `maybe_apply_chat_template` take these rows (TRL 1.16.0)."""
    desk = labelling.desk(PAIRS)
    assert "Nothing to export" in press(desk, "Export", clock)
    press(desk, "1", clock)
    assert "preferences-lesson-23.jsonl." in press(desk, "Export", clock)
    desk.draft.value = "At home 家"
    press(desk, "Keep", clock)
    assert "demonstrations-lesson-23.jsonl" in press(desk, "Export", clock)
    (preference,) = map(json.loads, (folder / "preferences-lesson-23.jsonl").open())
    (demonstration,) = map(json.loads, (folder / "demonstrations-lesson-23.jsonl").open())
    chosen, rejected = label_desk.shown_order(PAIRS[0], "lesson-23")
    question = [{"role": "user", "content": "Who is Sam?"}]
    assert preference == {
        "prompt": question,
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }
    assert list(demonstration) == ["prompt", "completion"]
