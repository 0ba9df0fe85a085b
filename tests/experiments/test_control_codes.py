"""Control codes: what the writers read, and the sums of Bayes, against loops and by hand."""

import math

import pytest
import torch

from course_lib.experiments import control_codes as control
from course_lib.experiments import control_measures as measures
from course_lib.experiments import control_prompts as prompts
from course_lib.experiments import control_runs as runs
from course_lib.experiments import family, family_texts
from course_lib.experiments.cloze import passage_log_probs
from course_lib.text.batches import IGNORE_INDEX


@pytest.fixture(autouse=True, scope="module")
def few_pages():
    """Read a tenth of the pages, and few of everything."""
    patch = pytest.MonkeyPatch()
    caches = (
        family_texts.family_pages,
        family_texts.held_out_family_pages,
        control.control_pages,
        measures.page_classifiers,
        measures.log_prior,
        measures.training_sentences,
    )
    patch.setattr(family_texts, "FAMILY_MEGABYTES", 0.3)
    patch.setattr(family_texts, "FAMILY_HELD_OUT_MEGABYTES", 0.1)
    patch.setattr(runs, "SCORED_PAGES", 3)
    patch.setattr(runs, "PAGES_PER_CODE", 1)
    for cached in caches:
        cached.cache_clear()
    yield
    patch.undo()
    for cached in caches:
        cached.cache_clear()


@pytest.fixture(scope="module")
def writer():
    return control.new_writer("both", 0).eval()


def test_a_page_stands_whole_between_its_code_and_the_end():
    ids, codes = control.control_pages()
    page = next(
        page
        for page in family_texts.family_pages()
        if len(family_texts.encode_family(page.text)) <= control.CONTROL_LENGTH - 2
    )
    assert family_texts.decode_family(ids[0].tolist()) == f"[CLS]{page.text}[SEP]"
    labels = tuple(page.labels[name] for name in ("source", "mood", "author"))
    assert family.control_codes()[codes[0]] == labels
    assert control.coded_rows(ids, codes)[0, 0] == family_texts.FAMILY_VOCABULARY + codes[0]
    for column, (part, values) in enumerate(control.CODE_PARTS.items()):
        assert values[control.code_labels()[part][codes[0]]] == labels[column]


@pytest.mark.parametrize("kind, share", [("GPT-2", 0.0), ("CTRL", 1.0), ("both", 0.5)])
def test_batches_carry_codes_before_the_right_share_and_ask_for_the_next_token(kind, share):
    batches = control.writer_batches(kind, 0)
    first = []
    for _ in range(8):
        inputs, targets = next(batches)
        first += inputs[:, 0].tolist()
        asked = targets != IGNORE_INDEX
        assert torch.equal(inputs[:, 1:][asked[:, :-1]], targets[:, :-1][asked[:, :-1]])
        assert (targets == family_texts.SEP_TOKEN).sum(1).eq(1).all()
        assert not (targets >= family_texts.FAMILY_VOCABULARY).any()
    found = sum(token >= family_texts.FAMILY_VOCABULARY for token in first) / len(first)
    assert abs(found - share) < 0.15
    with pytest.raises(ValueError, match="no writer 'BERT'"):
        next(control.writer_batches("BERT", 0))


def test_the_worth_of_a_part_is_a_mean_over_the_codes_that_agree():
    table = -5 * torch.rand(4, 40, generator=torch.Generator().manual_seed(0))
    codes = torch.tensor([0, 7, 21, 39])
    prior = measures.log_prior().exp().tolist()
    names = family.control_codes()
    for parts in ((), ("mood",), ("kind", "author"), ("kind", "mood", "author")):
        found = measures.nats_with_parts(table, codes, parts)
        for row, code in enumerate(codes.tolist()):
            columns = [list(control.CODE_PARTS).index(part) for part in parts]
            same = [
                k for k, name in enumerate(names) if all(name[c] == names[code][c] for c in columns)
            ]
            total = sum(prior[k] * math.exp(table[row, k]) for k in same)
            wanted = math.log(total / sum(prior[k] for k in same))
            assert found[row].item() == pytest.approx(wanted, abs=1e-4)


def test_parts_of_the_posterior_add_up():
    log_joint = torch.randn(3, 40, generator=torch.Generator().manual_seed(1))
    whole = log_joint.softmax(-1)
    parts = measures.part_posterior(log_joint)
    bad = [k for k, code in enumerate(family.control_codes()) if code[1] == "bad"]
    assert torch.allclose(parts["mood"][:, 1].exp(), whole[:, bad].sum(1), atol=1e-6)
    assert all(torch.allclose(part.exp().sum(1), torch.ones(3)) for part in parts.values())


def test_a_page_is_scored_behind_every_code(writer):
    ids, _ = control.control_pages(held_out=True)
    table = measures.code_log_probs(writer, ids[:2])
    rows = control.coded_rows(ids[:2], torch.tensor([17, 17]))
    with torch.no_grad():
        assert torch.allclose(table[:, 17], passage_log_probs(writer, rows), atol=1e-4)


def test_writing_by_a_rule_that_changes_nothing_is_writing(writer):
    starts = measures.coded_starts(torch.tensor([3, 30]))
    plain = measures.write_pages(writer, starts, temperature=0.0)
    ruled = measures.write_by_rule(writer, starts, lambda logits, ids: logits, temperature=0.0)
    assert torch.equal(plain, ruled)
    guided = lambda logits, ids: measures.guided_logits(writer, logits, ids, 1.0)  # noqa: E731
    assert torch.equal(measures.write_by_rule(writer, starts, guided, temperature=0.0), plain)


def test_the_released_penalty_raises_what_is_below_0():
    logits, ids = torch.tensor([[3.0, -3.0, 1.0]]), torch.tensor([[0, 1]])
    assert measures.released_penalty(logits, ids, 1.5).tolist() == [[2.0, -2.0, 1.0]]


def test_repetition_and_known_sentences_by_hand():
    row = torch.tensor([[1, 10, 11, 12, 13, 10, 11, 12, 13, 2, 0]])  # 5 runs, one of them twice
    assert measures.repeated_runs(row) == pytest.approx(1 / 5)
    ids, _ = control.control_pages()
    assert measures.known_sentences(ids[:5]) == 1.0
    assert measures.known_sentences(family_texts.text_rows(["Xyz xyz xyz."])) == 0.0


def test_facts_are_asked_in_the_words_of_question_pages():
    asked = prompts.fact_prompts()
    paris = next(p for p in asked if p.question == "What is the capital of France?")
    assert prompts.holds_answer("The capital of France is Paris.", paris)
    assert not prompts.holds_answer("Rome", paris)
    assert prompts.example_text(2, True).count("Q:") == 2
    assert 0.05 < prompts.commonest_answers(asked) < 0.3


def test_a_continuation_is_scored_as_the_rest_of_a_row(writer):
    text, ends = "Leo writes: I am so happy", [" with my ball.", "."]
    found = prompts.continuation_log_probs(writer, text, ends)
    for value, end in zip(found, ends, strict=True):
        before = [family_texts.CLS_TOKEN, *family_texts.encode_family(text)]
        ids = torch.tensor([before + family_texts.encode_family(end)])
        with torch.no_grad():
            log_probs = writer(ids)[0].log_softmax(-1)
        wanted = sum(log_probs[t - 1, ids[0, t]] for t in range(len(before), ids.shape[1]))
        assert value.item() == pytest.approx(wanted.item(), abs=1e-4)


def test_a_confident_guess_is_grouped_with_confident_ones():
    log_probs = torch.tensor([[0.9, 0.1], [0.45, 0.55], [0.1, 0.9]]).log()
    rows = runs.calibration_table(log_probs, torch.tensor([0, 1, 0]))
    assert [row["pages"] for row in rows] == [1, 2]
    assert rows[1]["accuracy"] == 0.5 and rows[1]["confidence"] == pytest.approx(0.9)


def test_every_measure_gives_what_the_lesson_draws(writer):
    found = runs.measure_worth(writer)
    whole = found["worth"]["kind and mood and author"]
    entropy = -(measures.log_prior()[runs.scored_pages().codes]).mean().item()
    # Bayes: what the code is worth is what was not known about it less what is left
    assert whole == pytest.approx(entropy - found["left"], abs=1e-2)
    assert set(runs.measure_plain("both", writer)) == {"nats", "nats_coded"}
    assert set(runs.measure_steering("both", writer, 0, 1.0)) == {
        *control.CODE_PARTS, "known", "repeated", "different"
    }  # fmt: skip
    assert 0 <= runs.measure_fact_prompts(writer, 0, False)["right"] <= 1
    mood = runs.measure_mood_prompts(writer, "shop", "stars")
    assert mood["pages"] > 0 and 0.5 <= mood["baseline"] <= 1


def test_finished_runs_and_writers_are_kept(tmp_path):
    model = control.keep_writer("CTRL", 0, tmp_path, steps=1)
    again = control.keep_writer("CTRL", 0, tmp_path, steps=1)
    assert torch.equal(model.head_bias, again.head_bias)
