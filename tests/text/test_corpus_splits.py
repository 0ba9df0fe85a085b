"""Splits, contamination and mixtures: shares, stability, and counts worked by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.text import corpus
from course_lib.text.corpus import Document

FRACTIONS = {"train": 0.8, "validation": 0.1, "test": 0.1}


def documents(n: int, start: int = 0, text: str = "some words") -> list[Document]:
    return [Document(f"https://a.org/{i}", f"{text} {i}") for i in range(start, start + n)]


def test_split_gives_each_part_its_share():
    parts = corpus.split_by_url(documents(5000), FRACTIONS)
    assert list(parts) == ["train", "validation", "test"]
    for name, share in FRACTIONS.items():
        assert abs(len(parts[name]) / 5000 - share) < 4 * (share * (1 - share) / 5000) ** 0.5


@given(st.lists(st.text(min_size=1), unique=True), st.lists(st.text(min_size=1), unique=True))
def test_a_document_never_changes_sides_when_others_come(old, new):
    def sides(urls):
        return {
            d.url: name
            for name, part in corpus.split_by_url(
                [Document(u, "x") for u in urls], FRACTIONS
            ).items()
            for d in part
        }

    together = sides(dict.fromkeys([*new, *old]))
    assert sides(old).items() <= together.items()
    assert len(together) == len({*old, *new})


def test_split_depends_on_the_url_alone():
    before = corpus.split_by_url([Document("u", "raw")], FRACTIONS)
    after = corpus.split_by_url([Document("u", "clean")], FRACTIONS)
    assert [len(part) for part in before.values()] == [len(part) for part in after.values()]


@pytest.mark.parametrize(
    "fractions", [{"train": 0.9}, {"train": 1.2, "test": -0.2}, {}, {"train": float("nan")}]
)
def test_split_refuses_bad_fractions(fractions):
    with pytest.raises(ValueError, match="sum to 1"):
        corpus.split_by_url(documents(3), fractions)


def test_fractions_that_do_not_add_up_in_floating_point():
    parts = corpus.split_by_url(documents(200), {str(i): 0.1 for i in range(10)} | {"none": 0.0})
    assert sum(map(len, parts.values())) == 200 and parts["none"] == []


def test_contamination_by_hand():
    train = [
        Document("whole", "He wrote 7 + 5 - 3 = 9 on the wall."),
        Document("longer problem", "17+5-3=19"),
        Document("clean", "7+5=12"),
        Document("part", "one two three four five six"),
    ]
    test = ["7+5-3=", "zero one two three four nine", "nothing of this", ""]
    found = corpus.find_contamination(train, test, n=4)
    assert found == {
        "7+5-3=": ["whole", "longer problem"],
        "zero one two three four nine": ["part"],
    }
    assert corpus.find_contamination(train, test, n=6) == {"7+5-3=": ["whole"]}
    with pytest.raises(ValueError, match="n = 0"):
        corpus.find_contamination(train, test, n=0)


def test_mixture_keeps_the_weights_and_counts_epochs():
    sources = {"big": documents(1000), "small": documents(50, start=9000)}
    mixed, epochs = corpus.draw_mixture(sources, {"big": 3, "small": 1}, n_bytes=8000, seed=1)
    in_small = sum(d.n_bytes for d in mixed if d in sources["small"])
    total = sum(d.n_bytes for d in mixed)
    assert abs(total - 8000) < 20 and abs(in_small / total - 0.25) < 0.01
    small_bytes = sum(d.n_bytes for d in sources["small"])
    assert epochs["small"] == pytest.approx(in_small / small_bytes) and epochs["small"] > 2
    assert epochs["big"] < 1 and len(set(d.url for d in mixed if d in sources["big"])) == sum(
        d in sources["big"] for d in mixed
    )


def test_mixture_reads_every_document_once_before_any_twice():
    mixed, epochs = corpus.draw_mixture({"a": documents(10)}, {"a": 1}, n_bytes=25 * 12, seed=0)
    counts = [mixed.count(d) for d in documents(10)]
    assert set(counts) <= {2, 3} and sum(counts) == 25 and epochs["a"] == pytest.approx(2.5)


def test_mixture_is_seeded_and_shuffled():
    sources = {"a": documents(30), "b": documents(30, start=100)}
    draws = [corpus.draw_mixture(sources, {"a": 1, "b": 1}, 500, seed)[0] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert [d.url for d in draws[0]] != sorted(d.url for d in draws[0])


def test_mixture_refuses_what_makes_no_sense():
    a = documents(3)
    with pytest.raises(ValueError, match="same names"):
        corpus.draw_mixture({"a": a}, {"b": 1}, 100)
    with pytest.raises(ValueError, match="not all 0"):
        corpus.draw_mixture({"a": a}, {"a": 0}, 100)
    with pytest.raises(ValueError, match="b has a weight but no text: 0 documents"):
        corpus.draw_mixture({"a": a, "b": []}, {"a": 1, "b": 1}, 100)
    with pytest.raises(ValueError, match="n_bytes must be >= 0, got -1"):
        corpus.draw_mixture({"a": a}, {"a": 1}, -1)
    with pytest.raises(ValueError, match="weights must be >= 0"):
        corpus.draw_mixture({"a": a}, {"a": float("nan")}, 100)
    with pytest.raises(ValueError, match="n = 0"):
        corpus.token_ngrams("a b", 0)
