"""Smaller BERTs and taught ones: kinds are what their names say, batches what they promise."""

from itertools import islice
from random import Random

import pytest
import torch
import torch.nn.functional as F

from course_lib.experiments import family, label_students, small_berts, student_berts
from course_lib.experiments import family_texts as texts
from course_lib.experiments.few_label_tasks import cut_words, few_label_task
from course_lib.text.batches import IGNORE_INDEX


def test_kinds_share_what_their_names_say():
    sizes = {
        kind: small_berts.cloze_parameters(small_berts.small_albert(kind, 0))
        for kind in small_berts.SMALL_KINDS
    }
    layer = sizes["4 layers"] - sizes["2 layers"]
    assert sizes["4 layers, shared"] == sizes["2 layers, shared"]
    assert sizes["2 layers"] - sizes["2 layers, shared"] == layer / 2
    narrow = sizes["2 layers"] - sizes["2 layers, table of 32"]
    wide_table, narrow_table = 1024 * 64 + 64 * 64, 1024 * 32 + 32 * 64
    assert narrow > wide_table - narrow_table  # the other tables and the head are narrower too
    with pytest.raises(ValueError, match="'8 layers' is none of 2 layers"):
        small_berts.small_albert("8 layers", 0)


def test_held_out_task_pairs_are_of_one_passage_only_where_order_is_asked():
    followed, ordered = map(family.held_out_text_pairs, small_berts.PAIR_TASKS.values())
    assert 0.4 < ordered.labels.float().mean() < 0.6
    assert len(ordered.ids) == len(followed.ids) > 500
    pages = [page.text for page in texts.held_out_family_pages()]
    for row, segments, label in zip(
        ordered.ids[:9], ordered.segments, ordered.labels, strict=False
    ):
        parts = [row[(segments == part) & texts.maskable_places(row)] for part in (0, 1)]
        text = "".join(map(texts.decode_family, parts if label == 0 else parts[::-1]))
        assert any(text in page for page in pages)


def test_a_random_student_has_a_students_shape_and_nothing_of_its_teacher():
    teacher = student_berts.new_teacher(0)
    student = student_berts.random_student(teacher, 0)
    assert student.settings.n_layers == 2
    same = [
        name
        for name, weight in student.named_parameters()
        if weight.ndim == 2
        and name in dict(teacher.named_parameters())
        and torch.equal(weight, teacher.get_parameter(name))
        and "position" not in name  # which begin as sinusoids
    ]
    assert not same


def test_verdicts_are_the_likeliest_words_of_the_teacher():
    teacher, student = family.new_bert(0, nsp=False), family.new_bert(1, nsp=False)
    inputs, targets = next(family.masked_passages(0))
    asked = targets != IGNORE_INDEX
    wanted = teacher(inputs, padding=inputs == texts.PAD_TOKEN)[asked].argmax(-1)
    loss = student_berts.verdict_objective(teacher)(student, inputs, targets)
    logits = student(inputs, padding=inputs == texts.PAD_TOKEN)[asked]
    torch.testing.assert_close(loss.total / loss.count, F.cross_entropy(logits, wanted))


def test_few_passages_are_hidden_in_the_same_way_each_time():
    batches = list(islice(student_berts.passages_hidden_once(48, seed=0), 2))
    first, second = ({tuple(row) for row in inputs.tolist()} for inputs, _ in batches)
    assert first == second and len(first) == 48


def test_words_that_are_not_asked_for_are_read_and_never_hidden():
    inputs, targets = next(student_berts.unasked_passages(0))
    words = student_berts.unasked_words()
    assert not torch.isin(targets, words).any()
    assert torch.isin(inputs, words).any()
    places = student_berts.unasked_places()
    assert torch.isin(places.answers, words).all()
    assert torch.equal(places.ids.gather(1, places.columns[:, None])[:, 0], places.answers)


def test_unlabelled_sentences_hold_the_words_of_both_halves():
    rows = label_students.unlabelled_moods(40, draw=1)
    one, other = cut_words(Random(1001))
    assert rows.labels.float().mean() == 0.5
    for half, number in ((one, 0), (other, 1)):
        moods = {word for words in half.moods.values() for word in words}
        for row in rows.ids[number::2]:
            assert moods & set(texts.decode_family(row).replace(",", " ").replace(".", " ").split())


def test_a_student_of_soft_labels_learns_what_its_teacher_says():
    task = few_label_task("mood", 64, 0)
    logits = 4.0 * F.one_hot(task.train.labels, 2).float()
    soft = label_students.soft_row_objective(1.0)
    student = label_students.teach_labels(task.train.ids, logits, soft, seed=0)
    verdicts = label_students.classify_rows(student, task.train).argmax(-1)
    assert (verdicts == task.train.labels).float().mean() > 0.95
