"""Few labels: held-out words are held out, sums of words are at chance, a copy is fine-tuned."""

from collections import Counter
from statistics import mean

import pytest
import torch

from course_lib.experiments import family
from course_lib.experiments import family_texts as texts
from course_lib.experiments import label_baselines as baselines
from course_lib.experiments.few_label_tasks import (
    FEW_LABEL_TASKS,
    SENTENCE_TASKS,
    WORD_CLASSES,
    LabelledRows,
    few_label_task,
)
from course_lib.experiments.few_labels import (
    classify_rows,
    few_label_plan,
    few_label_scores,
    fine_tune,
    surprise_accuracy,
    token_surprises,
    tuned_accuracy,
)
from course_lib.text.batches import IGNORE_INDEX

RELATIONS = ("agreement", "reaction")
HELD_OUT = {  # which lists of words each task cuts in half
    "mood": ("mood", "reaction"),
    "negation": ("mood",),
    "agreement": ("person",),
    "reaction": ("mood", "reaction"),
    "role": tuple(WORD_CLASSES),
}


def words_of(ids):
    """Name the words of rows, by a splitting of our own."""
    found = "".join(texts.decode_family(row) + " " for row in ids.tolist())
    for sign in (".", ",", "!", '"', "[CLS]", "[SEP]", "\n", "?"):
        found = found.replace(sign, " ")
    return {word.lower() for word in found.split()}


@pytest.mark.parametrize("name", FEW_LABEL_TASKS)
@pytest.mark.parametrize("draw", [0, 1])
def test_what_labels_name_is_not_asked(name, draw):
    task = few_label_task(name, 256, draw)
    lists = {word.lower() for group in HELD_OUT[name] for word in WORD_CLASSES[group]}
    seen = words_of(task.train.ids) & lists
    if name == "role":
        asked = task.test.ids[task.test.labels != IGNORE_INDEX]
        assert not words_of(asked[:, None]) & seen
    else:
        assert not words_of(task.test.ids) & seen
    assert len(task.train.ids) == 256 and len(task.test.ids) == 400


@pytest.mark.parametrize("name", SENTENCE_TASKS)
def test_classes_are_as_common_as_each_other(name):
    for rows in few_label_task(name, 64, 2)[:2]:
        assert rows.labels.float().mean() == 0.5


def test_labels_say_what_the_words_say():
    for name in ("mood", "negation"):
        test = few_label_task(name, 64, 0).test
        for row, label in zip(test.ids.tolist(), test.labels.tolist(), strict=True):
            text = texts.decode_family(row)
            after = text.split(" but ")[-1] if "not " in text else text
            found = [w for w in WORD_CLASSES["mood"] if f" {w}" in f" {after}"]
            assert (found[0] in WORD_CLASSES["mood"][:8]) == bool(label), text


@pytest.mark.parametrize("name", RELATIONS)
def test_no_word_of_a_relation_says_anything_alone(name):
    for rows in few_label_task(name, 64, 1)[:2]:
        first, second = (
            Counter(rows.ids[rows.labels == label].flatten().tolist()) for label in (0, 1)
        )
        assert first == second
    task = few_label_task(name, 64, 1)
    for method in (baselines.bag_of_words_accuracy, baselines.count_vector_accuracy):
        assert method(task) == 0.5


def test_roles_are_those_of_the_world():
    task = few_label_task("role", 16, 0)
    ids, labels = (part[task.test.labels != IGNORE_INDEX] for part in task.test)
    for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
        word = texts.decode_family([token]).strip()
        assert {word, word.lower()} & set(WORD_CLASSES[task.classes[label]])
    with pytest.raises(ValueError, match="too few"):
        few_label_task("role", 100_000, 0)
    with pytest.raises(ValueError, match="no task 'moods'; there are role, mood"):
        few_label_task("moods", 16, 0)


def test_a_linear_classifier_is_at_the_bottom_of_its_loss():
    torch.manual_seed(0)
    features, labels = torch.randn(40, 3), torch.arange(40) % 3
    classify = baselines.fit_logistic(features, labels, 3, l2=0.1)
    bias = classify(torch.zeros(1, 3))[0]
    weight = (classify(torch.eye(3)) - bias).T
    wrong = classify(features).softmax(-1) - torch.eye(3)[labels]
    # the gradients, by hand: of the mean surprise and of the squares
    torch.testing.assert_close(
        wrong.T @ features / 40 + 0.1 * weight, torch.zeros(3, 3), atol=2e-4, rtol=0
    )
    torch.testing.assert_close(wrong.mean(0), torch.zeros(3), atol=2e-4, rtol=0)


def test_counted_vectors_are_alike_where_neighbours_are():
    vectors = torch.nn.functional.normalize(baselines.count_vectors(), dim=-1)
    happy, glad, sad, castle = (
        vectors[texts.encode_family(f" {word}")[0]] for word in ("happy", "glad", "sad", "castle")
    )
    assert happy @ glad > happy @ sad > happy @ castle
    counts = torch.tensor([[2.0, 1.0, 0.0], [1.0, 0.0, 3.0], [0.0, 3.0, 0.0]])
    p, sums = counts / 10, counts.sum(0) / 10
    expected = (p / (sums[:, None] * sums[None])).log()
    expected[counts == 0] = 0
    torch.testing.assert_close(baselines.positive_pmi(counts), expected.clamp(min=0))


def test_what_is_asked_of_a_sentence_and_of_its_tokens():
    ids = torch.tensor([[1, 7, 8, 2, 0], [1, 9, 2, 0, 0]])
    vectors = torch.arange(10.0).view(2, 5, 1)
    rows = LabelledRows(ids, torch.tensor([1, 0]))
    assert baselines.asked_vectors(vectors, rows).flatten().tolist() == [1.5, 6.0]
    labels = torch.full((2, 5), IGNORE_INDEX)
    labels[0, 2], labels[1, 1] = 3, 4
    rows = LabelledRows(ids, labels)
    assert baselines.asked_vectors(vectors, rows).flatten().tolist() == [2.0, 6.0]
    assert baselines.asked_labels(rows).tolist() == [3, 4]
    assert baselines.bag_keys(rows, pairs=True) == [{(-1, 7), (1, 2)}, {(-1, 1), (1, 2)}]


SMALL = {
    "BERT": family.new_bert,
    "RoBERTa": family.new_roberta,
    "ALBERT": family.new_albert,
    "XLNet": family.new_xlnet,
    "GPT-2": family.new_gpt2,
    "CTRL": family.new_ctrl,
}


@pytest.mark.parametrize("name", SMALL)
def test_every_system_can_be_fine_tuned(name):
    model = SMALL[name](0, d_model=16, n_layers=1)
    before = [parameter.clone() for parameter in model.parameters()]
    for task in ("mood", "role"):
        rows = few_label_task(task, 16, 0)
        classifier = fine_tune(model, *rows.train, len(rows.classes), steps=3)
        assert len(classify_rows(classifier, rows.train)) == len(baselines.asked_labels(rows.train))
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(parameter, old)


def test_the_table_of_words_is_frozen_unless_asked():
    model, task = family.new_roberta(0, d_model=16, n_layers=1), few_label_task("mood", 16, 0)
    for freeze in (True, False):
        classifier = fine_tune(model, *task.train, steps=3, freeze_words=freeze)
        same = torch.equal(classifier.body.embedding.token.weight, model.embedding.token.weight)
        assert same == freeze
        assert not torch.equal(
            classifier.body.blocks[0].mlp.up.weight, model.blocks[0].mlp.up.weight
        )


def test_padding_is_unheard_and_labels_are_learnt():
    model, task = family.new_roberta(0, d_model=32, n_layers=1), few_label_task("mood", 64, 0)
    classifier = fine_tune(model, *task.train, steps=60, lr=3e-3, freeze_words=False)
    logits = classify_rows(classifier, task.train)
    assert baselines.label_accuracy(logits, task.train) > 0.95  # what was learnt, not the test
    shorter = LabelledRows(task.train.ids[:, :20], task.train.labels)
    torch.testing.assert_close(classify_rows(classifier, shorter), logits)
    again = fine_tune(model, *task.train, steps=60, lr=3e-3, freeze_words=False)
    assert torch.equal(classify_rows(again, task.train), logits)
    assert 0 <= tuned_accuracy(model, task, steps=2) <= 1


def test_surprises_are_those_of_one_hidden_token_or_of_the_next():
    ids = few_label_task("reaction", 16, 0).train.ids[:3]
    masked, causal = family.new_roberta(0), family.new_gpt2(0)
    got = token_surprises(masked, ids, chunk=7)
    assert torch.equal(got > 0, texts.maskable_places(ids))
    hidden = ids[1:2].clone()
    hidden[0, 4] = texts.MASK_TOKEN
    logits = masked(hidden, padding=hidden == texts.PAD_TOKEN)[0, 4]
    torch.testing.assert_close(got[1, 4], -logits.log_softmax(-1)[ids[1, 4]])
    short = ids[1:2, :5]
    torch.testing.assert_close(
        token_surprises(causal, ids)[1, 4], -causal(short)[0, 3].log_softmax(-1)[ids[1, 4]]
    )


def test_a_shipped_model_judges_by_its_surprise():
    model = family.load_system("GPT-2", 0)
    assert surprise_accuracy(model, few_label_task("reaction", 64, 0)) > 0.95
    assert abs(surprise_accuracy(model, few_label_task("agreement", 64, 0)) - 0.5) < 0.1


def test_kept_runs_are_whole_and_pre_training_pays():
    for system, method, task, n_labels in few_label_plan():
        scores = few_label_scores(system, method, task, n_labels)
        assert len(scores) == (9 if system else 3)
    for task in ("mood", "role", "negation"):
        tuned = mean(few_label_scores("RoBERTa", "fine-tuned", task))
        assert tuned > mean(few_label_scores("RoBERTa", "from scratch", task)) + 0.15
        assert tuned > mean(few_label_scores("", "words and pairs", task)) + 0.15
    for system, task in (("RoBERTa", "negation"), ("GPT-2", "reaction")):
        tuned = mean(few_label_scores(system, "fine-tuned", task))
        assert tuned > mean(few_label_scores("", "count vectors", task)) + 0.15
    with pytest.raises(ValueError, match="has no runs of"):
        few_label_scores("RoBERTa", "guessing", "mood")
