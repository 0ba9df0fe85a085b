"""The whole pipeline on hand-made pages, and against the planted truth of the small web; the data
card; the plays."""

from dataclasses import dataclass

import pytest

from course_lib.text import corpus, small_web


@dataclass(frozen=True)
class Page:
    url: str
    html: str | bytes


TALE = (
    "Mara walked to the harbour with a basket of bread. It had rained in the night, and the boats"
    " were wet. She gave the bread to her brother, who was hungry, and they sat on the wall and"
    " talked of the storm that had been."
)


def pages(*texts: str) -> list[Page]:
    return [
        Page(f"https://a.example/{i}", f"<nav>Menu</nav><p>{text}</p><p>Imprint</p>")
        for i, text in enumerate(texts)
    ]


def test_each_page_meets_its_step():
    distinct = [
        TALE.replace("Mara", name).replace("bread", name + " cake")
        for name in ("Ann", "Bob", "Cleo", "Dan")
    ]
    near = TALE.replace("basket", "bag")
    crawl = pages(
        TALE + " Mail mara@post.example.",
        *distinct,
        TALE.upper(),
        "Too short.",
        TALE + " Mail MARA@post.example.",
        near,
    )
    cleaned = corpus.clean_corpus(crawl)
    reasons = {url.rsplit("/")[-1]: why for url, why in cleaned.dropped.items()}
    assert reasons["5"] == ("quality", "not_shouting")
    assert reasons["6"] == ("quality", "sensible_length")
    assert reasons["7"] == ("exact copies", "copy of https://a.example/0")
    assert reasons["8"][0] == "near copies"
    assert cleaned.documents[0].text == TALE + " Mail [email]."
    assert [len(step.documents) for step in cleaned.steps][-1] == 9 - len(cleaned.dropped)


def test_report_counts_every_page_once():
    cleaned = corpus.clean_corpus(pages(TALE, TALE, "Too short."))
    assert len(cleaned.steps[0].documents) == len(cleaned.documents) + len(cleaned.dropped)
    assert "| exact copies | 1 |" in cleaned.table() and "copy 1" in cleaned.table()
    assert cleaned.steps[1].n_bytes < cleaned.steps[0].n_bytes


def test_pages_may_be_bytes_and_bad_bytes_are_named():
    as_bytes = [Page(page.url, page.html.encode()) for page in pages(TALE)]
    assert corpus.clean_corpus(as_bytes) == corpus.clean_corpus(pages(TALE))
    with pytest.raises(ValueError, match="byte 0xe9 at offset 3"):
        corpus.clean_corpus([Page("u", b"caf\xe9 ")])
    with pytest.raises(ValueError, match="two documents have the URL"):
        corpus.clean_corpus(pages(TALE) + pages(TALE))
    assert corpus.clean_corpus([]).documents == ()


@pytest.fixture(scope="module")
def crawl() -> tuple[dict, corpus.CleanedCorpus]:
    """A crawl of another seed than the one that the thresholds were tuned on."""
    found = small_web.crawl_pages(0.25, seed=7)
    return {page.url: page.truth for page in found}, corpus.clean_corpus(found)


def step(cleaned: corpus.CleanedCorpus, name: str) -> corpus.CleaningStep:
    return next(step for step in cleaned.steps if step.name == name)


def test_small_web_is_recovered_to_the_letter(crawl):
    truth, cleaned = crawl
    wrong = [d.url for d in step(cleaned, "boilerplate").documents if d.text != truth[d.url].text]
    assert len(wrong) <= 0.01 * len(truth)


def test_small_web_filters_find_what_was_planted(crawl):
    truth, cleaned = crawl
    bad = {url for url, t in truth.items() if t.kind in ("spam", "junk")}
    precision, recall = corpus.precision_recall(set(step(cleaned, "quality").dropped), bad)
    assert precision > 0.75 and recall > 0.9
    kept = {d.url for d in step(cleaned, "quality").documents}
    exact = {url for url in kept if truth[url].copy_of in kept}
    assert min(corpus.precision_recall(set(step(cleaned, "exact copies").dropped), exact)) > 0.9
    unique = {d.url for d in step(cleaned, "exact copies").documents}
    near = {url for url in unique if truth[url].near_copy_of in kept}
    assert min(corpus.precision_recall(set(step(cleaned, "near copies").dropped), near)) > 0.9


def test_small_web_keeps_its_sums_only_if_they_are_spared(crawl):
    truth, cleaned = crawl
    texts = step(cleaned, "boilerplate").documents
    sums = {url for url, t in truth.items() if t.kind == "practice"}
    assert sums and sums <= set(corpus.filter_documents(texts, corpus.PROSE_RULES)[1])
    assert not sums & set(corpus.filter_documents(texts)[1])


def test_small_web_leaks_and_personal_data_are_found(crawl):
    truth, cleaned = crawl
    leaked = {truth[d.url].leaked for d in cleaned.documents} - {""}
    found = corpus.find_contamination(cleaned.documents, sorted(leaked), n=10)
    assert leaked and set(found) == leaked
    planted = [(d, piece) for d in cleaned.documents for piece in truth[d.url].personal_data]
    assert planted and sum(piece in d.text for d, piece in planted) <= 0.2 * len(planted)


def test_data_card_counts_what_is_there(crawl):
    _, cleaned = crawl
    parts = corpus.split_by_url(cleaned.documents, {"train": 0.9, "test": 0.1})
    card = corpus.data_card("Small web", cleaned, parts, {"Source": "a test"})
    assert card.startswith("# Small web\n\n**Source.** a test") and cleaned.table() in card
    assert f"| test | {len(parts['test'])} |" in card and "sums " in card and "en " in card


def test_plays_are_one_document_each_and_henry_v_speaks_french():
    plays = {d.url: d for d in corpus.play_documents()}
    assert len(plays) == 42 and all(d.labels["author"] == "Shakespeare" for d in plays.values())
    assert sum(d.n_bytes for d in plays.values()) > 4_900_000
    assert all("\r" not in d.text for d in plays.values())
    passages = plays["plays/king-henry-v"].text.split("\n\n")
    french = [p for p in passages if len(p) > 200 and corpus.detect_language(p) == "fr"]
    assert any("O Seigneur Dieu" in p for p in french)
