"""Quality rules and language: what each must drop and what none may drop."""

import unicodedata

import pytest

from course_lib.text import corpus
from course_lib.text.corpus import Document, quality

GOOD = (
    "Mara walked to the harbour with a basket of bread. It had rained in the night, and the boats"
    " were wet.\nShe gave the bread to her brother, who was hungry, and they sat on the wall and"
    ' talked of the storm.\n"You should have seen the waves," he said. They laughed until the bell'
    " rang, and then she went home."
)
CHINESE = (
    "小红今天早上去了市场。她买了三条鱼和两个苹果，然后回家了。妈妈很高兴，做了一顿好吃的晚饭。"
)

BAD = {
    "sensible_length": ["", "Page 3 of 9.", "word " * 100_001],
    "known_language": [
        "Der Hund ist in dem Haus und die Katze sitzt auf der Mauer, weil es heute nicht geregnet"
        " hat."
    ],
    "mostly_words": ["12 13 14 of the 15 16"],
    "sensible_words": ["a b c d it is of to", "antidisestablishmentarianism internationalisation"],
    "few_symbols": ["#win #best of the #day"],
    "few_bullets": ["- tea\n- milk\n- bread"],
    "few_cut_lines": ["The king was...\nThey have found...\nBread."],
    "lines_vary": ["Buy it.\n" * 5],
    "phrases_vary": ["cheap shoes and cheap shoes with cheap shoes to cheap shoes"],
    "not_shouting": ["THE BEST OFFER OF THE YEAR, only to be had here."],
    "lines_end": ["Home\nNews\nContact\nOf the\nto have"],
    "no_chatter": ["Lorem ipsum dolor.", "function() { return 1; }"],
    "has_function_words": ["shoes boots sandals sneakers cheap best price", "Der Hund ist klein."],
}


def test_every_rule_is_tested():
    assert {rule.__name__ for rule in quality.QUALITY_RULES} == set(BAD)
    assert all(rule.__doc__ for rule in quality.QUALITY_RULES)


@pytest.mark.parametrize("text", [GOOD, CHINESE, GOOD + "\n" + CHINESE])
def test_good_pages_pass_every_rule(text):
    assert corpus.failed_rules(text) == []


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in BAD.items() for text in texts]
)
def test_each_rule_drops_what_it_is_for(name, text):
    assert name in corpus.failed_rules(text)


def test_rules_about_prose_count_words_and_not_signs():
    """Fifty emoji are no page, and stars between the words make them no shorter."""
    assert not quality.sensible_length("🙂 " * 50) and quality.sensible_words(
        "bread ★ butter ★ ★ ★ ★ milk"
    )
    assert quality.spelled_words("7 + 5 = 12 ★ café") == ["7", "5", "12", "café"]


def test_thresholds_can_be_moved():
    assert not quality.sensible_length("one two three") and quality.sensible_length(
        "one two three", least=3
    )
    assert quality.not_shouting("ABc", most=0.7) and not quality.not_shouting("ABc", most=0.6)


def test_filter_names_the_first_rule_that_failed():
    documents = [Document("good", GOOD), Document("short", "SHORT"), Document("loud", GOOD.upper())]
    kept, dropped = corpus.filter_documents(documents)
    assert [d.url for d in kept] == ["good"]
    assert dropped == {"short": "sensible_length", "loud": "not_shouting"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I would have gone with you, but nobody asked me.", "en"),
        ("Ich wäre mit dir gegangen, aber niemand hat mich gefragt.", "de"),
        ("Je serais venu avec toi, mais personne ne me l'a demandé.", "fr"),
        ("Habría ido contigo, pero nadie me lo pidió.", "es"),
        ("我本来想和你一起去，可是没有人问我。", "zh"),
        ("苹果 apple 香蕉 and 我们都喜欢吃这些水果", "zh"),
        ("Я бы пошёл с тобой", "und"),
        ("12 + 30 = 42", "und"),
        (
            unicodedata.normalize("NFD", "L'été dernier, nous étions tous très gênés à la fête."),
            "fr",
        ),
        ("", "und"),
    ],
)
def test_language(text, code):
    assert corpus.detect_language(text) == code


def test_wrong_types():
    for function in (corpus.detect_language, corpus.split_words):
        with pytest.raises(TypeError, match="bytes, not str"):
            function(b"text")
    with pytest.raises(TypeError, match="url must be a str, not int"):
        Document(3, "text")
