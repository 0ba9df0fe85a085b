import hashlib
import html
import inspect
import itertools
import os
import re
import subprocess
import sys
import unicodedata
import zlib
from collections import Counter
from dataclasses import replace
from random import Random

import pytest

from course_lib.text.draw import draw_distinct, draw_integer, draw_item, draw_weighted
from course_lib.text.problems import ChainProblem
from course_lib.text.small_web import (
    PAGE_KINDS,
    ChainShares,
    SearchShares,
    crawl_pages,
    draw_clean_documents,
    generate_pages,
)
from course_lib.text.small_web.chats import CHAT_SHARES, helpdesk_page
from course_lib.text.small_web.encyclopaedia import encyclopaedia_article, quiz_page
from course_lib.text.small_web.facts import ENGLISH_FACTS, FACT_TOPICS, facts_about
from course_lib.text.small_web.html import DIRT_SHARES, WEB_SITES, DirtShares, render_page
from course_lib.text.small_web.planted import FLAW_SHARES, FlawShares
from course_lib.text.small_web.practice import (
    answer_chain,
    chain_drill,
    chain_post,
    search_drill,
    search_post,
    search_summary,
    search_table,
)
from course_lib.text.small_web.world import CHINESE_WORDS, MOOD_REACTIONS, MOOD_WORDS, WORLD_PEOPLE


@pytest.fixture(scope="module")
def pages():
    return crawl_pages(1.5, seed=1)


def digest(pages):
    total = hashlib.sha256()
    for page in pages:
        total.update(f"{page.url}\n{page.html}\n{page.truth}".encode())
    return total.hexdigest()


# ------------------------------------------------------------------------------ the same every time


def test_a_seed_gives_the_same_bytes_whatever_the_hash_seed():
    command = (
        "import hashlib\nfrom course_lib.text.small_web import generate_pages\n"
        f"{inspect.getsource(digest)}print(digest(generate_pages(0.1, seed=5)))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", command],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("0", "7")
    }
    assert seen == {digest(generate_pages(0.1, seed=5))}
    assert digest(generate_pages(0.1, seed=5)) != digest(generate_pages(0.1, seed=6))


def test_a_bigger_web_begins_with_the_smaller_one():
    small, big = crawl_pages(0.05, seed=2), crawl_pages(0.1, seed=2)
    assert len(big) > len(small) and big[: len(small)] == small
    assert list(draw_clean_documents(0.02, 3)) == list(
        itertools.islice(draw_clean_documents(0.04, 3), len(list(draw_clean_documents(0.02, 3))))
    )


def test_the_size_is_that_of_the_clean_text():
    sizes = [len(page.truth.text.encode()) for page in generate_pages(0.1, seed=3)]
    assert sum(sizes) >= 100_000 > sum(sizes[:-1])


@pytest.mark.parametrize("megabytes", [0, -1, 51, float("nan")])
def test_sizes_out_of_range_are_refused(megabytes):
    with pytest.raises(ValueError, match=f"at most 50, not {megabytes}"):
        next(generate_pages(megabytes))
    with pytest.raises(ValueError, match=f"not {megabytes}"):
        next(draw_clean_documents(megabytes))


def test_wrong_arguments_are_refused():
    with pytest.raises(TypeError, match="megabytes must be a number, not str"):
        next(generate_pages("1"))
    with pytest.raises(TypeError, match="seed must be a whole number, not NoneType"):
        next(draw_clean_documents(0.1, seed=None))
    with pytest.raises(ValueError, match="no mixture 'bass'; there are base, search, pages, tales"):
        next(draw_clean_documents(0.1, mixture="bass"))
    with pytest.raises(ValueError, match="'sonnet'"):
        next(draw_clean_documents(0.1, mixture={"sonnet": 1.0}))
    with pytest.raises(ValueError, match="positive weights"):
        next(draw_clean_documents(0.1, mixture={"tale": 0.0}))


def test_draws_are_fair_and_stay_in_range():
    rng = Random(0)
    counts = Counter(draw_weighted(rng, {"a": 1, "b": 3, "never": 0}) for _ in range(4000))
    assert set(counts) == {"a", "b"} and 0.70 < counts["b"] / 4000 < 0.80
    assert {draw_integer(rng, 2, 4) for _ in range(200)} == {2, 3, 4}
    assert {draw_item(rng, "xyz") for _ in range(200)} == set("xyz")
    assert sorted(draw_distinct(rng, range(5), 5)) == [0, 1, 2, 3, 4]


# ----------------------------------------------------------------------------- encyclopaedia, chats


def test_no_two_pages_contradict_each_other():
    known = {}
    rng = Random(0)
    for write, language in itertools.product((encyclopaedia_article, quiz_page), ("en", "zh")):
        for _ in range(1500):
            writing = write(rng, language)
            if writing.kind == "encyclopaedia" or writing.text.startswith("Q:"):
                for question, answer in writing.questions:
                    assert known.setdefault(question, answer) == answer
    assert (
        known["What is the capital of Japan?"] == "Tokyo" and known["埃及的首都是哪里？"] == "开罗"
    )
    assert known["How many legs has a spider?"] == "eight"
    everything = {
        f.question
        for topic in ENGLISH_FACTS
        for name in FACT_TOPICS[topic]
        for f in facts_about(topic, name)
    }
    assert everything <= set(known), "every fact should turn up in a few thousand pages"


def test_no_two_words_have_the_same_translation():
    assert len(set(CHINESE_WORDS.values())) == len(CHINESE_WORDS)


def test_friends_and_neighbours_are_mutual():
    for name, person in WORLD_PEOPLE.items():
        assert WORLD_PEOPLE[person.friend].friend == name
        assert facts_about("person", name)[3].answer == person.friend
    beside = {
        name: set(re.findall(r"the ([\wé]+)", facts_about("place", name)[1].answer))
        for name in FACT_TOPICS["place"]
    }
    assert all(name in beside[other] for name in beside for other in beside[name])


def test_the_answers_of_an_article_stand_in_it():
    rng = Random(0)
    for language in ("en", "zh"):
        for _ in range(300):
            writing = encyclopaedia_article(rng, language)
            for _, answer in writing.questions:
                for part in answer.split(" and "):
                    assert part.lower() in writing.text.lower()


def test_every_page_with_a_mood_has_a_mood_word_and_its_reaction():
    for document in draw_clean_documents(0.5, 4, "pages"):
        if document.labels["source"] != "questions":  # below a tale, questions about it may follow
            for table in (MOOD_WORDS, MOOD_REACTIONS):
                words = table[document.labels["mood"]]
                words = (
                    map(CHINESE_WORDS.get, words) if document.labels["language"] == "zh" else words
                )
                assert any(word in document.text for word in words), document.text


def test_chats_are_rude_as_often_as_they_should_be():
    rng = Random(0)
    chats = [helpdesk_page(rng) for _ in range(3000)]
    polite = [chat for chat in chats if chat.mood == "good"]
    assert abs(len(polite) / 3000 - CHAT_SHARES.polite) < 0.03
    assert all(chat.text.endswith((".", "Happy to help!")) for chat in polite)
    assert not any("Happy to help" in chat.text for chat in chats if chat.mood == "bad")
    assert 0.12 < sum("duh" in chat.text for chat in chats) / 3000 < 0.28


# ----------------------------------------------------------------------------------------- practice

STEP = re.compile(r"(?<![0-9=+-])(\d+(?:[+-]\d+)+)=(\d+)")


def evaluate(expression: str) -> int:
    total = 0
    for sign, number in re.findall(r"([+-]?)(\d+)", expression):
        total += -int(number) if sign == "-" else int(number)
    return total


def answer_of(text: str) -> str:
    return re.sub(r"^(User|Q): .*\n(Assistant|A): ", "", text)


def test_without_slips_every_worked_chain_is_right_from_the_first_number_to_the_answer():
    rng, shares = Random(0), ChainShares(worked=1.0, slip=0.0)
    two_at_once = 0
    for _ in range(3000):
        text = chain_post(rng, shares=shares).text
        numbers = [int(n) for n in re.findall(r"\d", text.split("=?")[0])]
        steps = STEP.findall(answer_of(text))
        value, used = numbers[0], 1
        for left, right in steps:
            terms = [int(n) for n in re.findall(r"\d+", left)]
            assert terms[0] == value and terms[1:] == numbers[used : used + len(terms) - 1]
            assert evaluate(left) == int(right)
            value, used = int(right), used + len(terms) - 1
            two_at_once += len(terms) == 3
        assert used == len(numbers)
        assert (
            re.findall(r"\d+", text)[-1]
            == str(value)
            == str(evaluate(text.split(": ")[1].split("=?")[0]))
        )
    assert two_at_once > 100


def test_chain_answers_have_the_shares_that_are_known_to_work():
    rng, shares, n = Random(1), ChainShares(), 6000
    chain = ChainProblem((7, 5, 3, 8), (1, -1, 1))
    answers = [answer_chain(rng, chain, shares) for _ in range(n)]
    worked = [a for a in answers if "=" in a]
    guesses = [a for a in answers if "=" not in a]
    assert abs(len(worked) / n - shares.worked) < 0.02
    assert abs(sum(a.startswith("<think>") for a in answers) / n - shares.tags) < 0.02
    right = sum(re.findall(r"\d+", a)[-1] == "17" for a in guesses) / len(guesses)
    assert 0.27 < right < 0.36  # a quarter on purpose, one in twelve of the others by luck
    assert (
        abs(
            sum("wait" in a or "不对" in a or " no " in a for a in worked) / len(worked)
            - 3 * shares.slip * shares.noticed
        )
        < 0.025
    )
    wrong = sum(re.findall(r"\d+", a)[-1] != "17" for a in worked) / len(worked)
    assert 0.02 < wrong < 0.11
    chinese = [bool(re.search("[\u4e00-\u9fff]", a)) for a in worked]
    english = [bool(re.search("first|then|answer is", a)) for a in worked]
    assert (
        0.18 < sum(c and not e for c, e in zip(chinese, english, strict=True)) / len(worked) < 0.38
    )
    assert (
        0.38 < sum(e and not c for c, e in zip(chinese, english, strict=True)) / len(worked) < 0.58
    )
    assert 0.08 < sum(c and e for c, e in zip(chinese, english, strict=True)) / len(worked) < 0.32


def test_nobody_tries_more_than_four_times_or_the_same_twice():
    rng, tries_made = Random(2), Counter()
    for _ in range(4000):
        text = search_post(rng, shares=SearchShares(slip=0.0, false_yes=0.0)).text
        target, *numbers = map(int, re.findall(r"\d+", text.split("\n")[0]))
        tries = re.findall(r"(\d+(?:[+-]\d+=\d+)+) (yes|not (\d+))", answer_of(text))
        plain = [re.sub(r"=\d+", "", run) for run, _, _ in tries]
        assert len(plain) == len(set(plain)) <= 4
        tries_made[len(tries)] += 1
        for run, says, other in tries:
            assert [int(n) for n in re.findall(r"(?<!=)\b\d+", run)] == numbers
            for i, result in enumerate(re.findall(r"=(\d+)", run), start=2):
                assert int(result) == evaluate(
                    "".join(re.findall(r"^\d+|[+-]\d+", re.sub(r"=\d+", "", run))[:i])
                )
            hit = evaluate(re.sub(r"=\d+", "", run)) == target
            assert says == "yes" if hit else int(other) == target
        assert all(says != "yes" for _, says, _ in tries[:-1])
        if tries and tries[-1][1] == "yes":
            assert re.findall(r"\d+(?:[+-]\d+)+", text)[-1] == plain[-1]
    assert abs(tries_made[0] / 4000 - 0.60) < 0.03
    assert tries_made[4] > 50


def test_drill_sheets_are_right():
    rng, yes, checks = Random(3), 0, 0
    for _ in range(500):
        for left, right in STEP.findall(chain_drill(rng).text):
            assert evaluate(left) == int(right) and 0 <= int(right) <= 20
        target, sheet = re.fullmatch(r"make (\d+): (.*)", search_drill(rng).text).groups()
        for left, right, says in re.findall(r"(\d+[+-]\d+)=(\d+) (yes|not \d+)", sheet):
            assert evaluate(left) == int(right)
            assert says == ("yes" if right == target else f"not {target}")
            yes, checks = yes + (says == "yes"), checks + 1
    assert 0.35 < yes / checks < 0.5


def test_tables_check_the_choices_of_one_search():
    rng, rows = Random(3), []
    for _ in range(300):
        target, numbers, sheet = re.fullmatch(
            r"make (\d+) from ([\d ]+): (.*)", search_table(rng).text
        ).groups()
        tries = re.findall(r"(\d+(?:[+-]\d+=\d+)+) (yes|not \d+)", sheet)
        assert ", ".join(f"{text} {says}" for text, says in tries) == sheet
        for text, says in tries:
            steps = re.sub(r"=\d+", "", text)
            assert re.findall(r"\d+", steps) == numbers.split() and evaluate(steps) == int(
                text.rpartition("=")[2]
            )
            assert says == ("yes" if evaluate(steps) == int(target) else f"not {target}")
        choices = 2 ** numbers.count(" ")
        # none twice before all were there
        assert len({text for text, _ in tries}) == min(choices, len(tries))
        rows.append(len(tries))
    assert (min(rows), max(rows)) == (3, 16)


def test_summaries_take_a_try_over_into_its_expression():
    rng, counts = Random(3), set()
    for _ in range(300):
        lines = search_summary(rng).text.split("\n")
        counts.add(len(lines))
        expressions = []
        for line in lines:
            text, expression = line.split(", so ")
            assert re.sub(r"=\d+", "", text) == expression
            assert evaluate(expression) == int(text.rpartition("=")[2])
            expressions.append(expression)
        assert len(set(expressions)) == len(lines)  # no choice twice
        assert len({re.sub("[+-]", " ", expression) for expression in expressions}) == 1
    assert counts == {1, 2, 3, 4}


def held_out_in(text: str) -> set[str]:
    """Every held-out question in a text, found without the library's own reading."""
    found = set()
    for chain in re.findall(r"(?<![\d+=-])[1-9](?:[+-][1-9])+(?!\d|[+-]\d)", text):
        if len(chain) >= 5 and zlib.crc32(f"{chain}=?".encode()) % 10 == 0:
            found.add(f"{chain}=?")
    for target, numbers in re.findall(r"make (\d+) from (\d+(?: \d+)+)", text):
        if (
            numbers.count(" ") >= 2
            and zlib.crc32(f"make {target} from {numbers}".encode()) % 10 == 0
        ):
            found.add(f"make {target} from {numbers}")
    return found


@pytest.mark.parametrize("mixture", ["base", "search"])
def test_held_out_problems_never_occur_in_the_documents(mixture):
    for document in draw_clean_documents(1.0, 11, mixture):
        assert not held_out_in(document.text), document.text


def test_held_out_problems_occur_on_the_web_only_where_they_were_leaked(pages):
    leaked = [page for page in pages if page.truth.leaked]
    assert len(leaked) > 10
    for page in pages:
        assert held_out_in(page.truth.text) == ({page.truth.leaked} if page.truth.leaked else set())


def test_worked_chains_are_about_an_eighth_of_the_base_text():
    worked = total = 0
    for document in draw_clean_documents(1.0, 12):
        total += document.n_bytes
        worked += (
            document.n_bytes
            if document.labels["source"] == "chain" and document.text.count("=") > 1
            else 0
        )
    assert 0.10 < worked / total < 0.16


def test_a_corpus_without_worked_answers_can_be_made():
    without = [
        d.text for d in draw_clean_documents(0.1, 1, {"chain": 1.0}, chains=ChainShares(worked=0.0))
    ]
    assert without and not any("=" in answer_of(text) for text in without)


# ------------------------------------------------------------------------------------------ the web


def test_urls_are_unique_and_kinds_known(pages):
    assert len({page.url for page in pages}) == len(pages)
    assert {page.truth.kind for page in pages} == set(PAGE_KINDS)
    assert {page.truth.language for page in pages} == {"en", "zh"}
    assert 0.03 < sum(page.truth.language == "zh" for page in pages) / len(pages) < 0.12


def test_flaws_are_planted_as_often_as_they_should_be(pages):
    n = len(pages)
    shares = {
        "spam": sum(p.truth.kind == "spam" for p in pages),
        "junk": sum(p.truth.kind == "junk" for p in pages),
        "copy": sum(bool(p.truth.copy_of) for p in pages),
        "near_copy": sum(bool(p.truth.near_copy_of) for p in pages),
        "leak": sum(bool(p.truth.leaked) and not p.truth.copy_of for p in pages),
    }
    for name, count in shares.items():
        expected = getattr(FLAW_SHARES, name)
        assert abs(count / n - expected) < 4 * (expected / n) ** 0.5, name
    # not on every kind of page
    assert 0.01 < sum(bool(p.truth.personal_data) for p in pages) / n < 0.05


def test_copies_are_copies_and_near_copies_are_near(pages):
    by_url = {page.url: page for page in pages}
    for page in pages:
        if page.truth.copy_of:
            original = by_url[page.truth.copy_of]
            assert page.truth == replace(original.truth, copy_of=original.url)
            assert (
                page.html != original.html and page.url.split("/")[2] != original.url.split("/")[2]
            )
        if page.truth.near_copy_of:
            old, new = by_url[page.truth.near_copy_of].truth.text, page.truth.text
            assert new != old
            assert jaccard(old, new) > 0.4
    near = sorted(
        jaccard(by_url[p.truth.near_copy_of].truth.text, p.truth.text)
        for p in pages
        if p.truth.near_copy_of
    )
    assert near[len(near) // 2] > 0.75


def jaccard(one: str, other: str) -> float:
    a, b = ({text[i : i + 5] for i in range(len(text) - 4)} for text in (one, other))
    return len(a & b) / len(a | b)


def test_pages_that_are_no_copies_differ(pages):
    texts = Counter(p.truth.text for p in pages if not p.truth.copy_of and p.truth.kind != "junk")
    assert max(texts.values()) == 1


PERSONAL = re.compile(
    r"[\w.-]+@[\w.]+\.example|\+\d[\d -]{9,}\d|\(202\) 555-\d{4}|01632 \d{6}|(?:\d{4}"
    r" ){3}\d{4}|\d+\.\d+\.\d+\.\d+"
)


def test_personal_data_is_recorded_as_it_stands_in_the_text(pages):
    kinds = Counter()
    for page in pages:
        if page.truth.kind not in ("junk", "practice"):
            assert sorted(PERSONAL.findall(page.truth.text)) == sorted(page.truth.personal_data), (
                page.truth.text
            )
        for text in page.truth.personal_data:
            kinds[
                (
                    "mail"
                    if "@" in text
                    else "ip"
                    if text.count(".") == 3
                    else "card"
                    if len(text) == 19
                    else "phone"
                )
            ] += 1
    assert set(kinds) == {"mail", "phone", "card", "ip"}


def test_planted_cards_have_a_right_check_digit(pages):
    cards = [
        text
        for p in pages
        for text in p.truth.personal_data
        if re.fullmatch(r"(?:\d{4} ){3}\d{4}", text)
    ]
    assert cards
    for card in cards:
        digits = [int(d) for d in reversed(card.replace(" ", ""))]
        doubled = [2 * d - 9 if 2 * d > 9 else 2 * d for d in digits[1::2]]
        assert (sum(digits[::2]) + sum(doubled)) % 10 == 0


def test_flaws_can_be_switched_off():
    clean = crawl_pages(0.2, 0, FlawShares(*[0.0] * 7))
    assert not any(
        p.truth.copy_of or p.truth.near_copy_of or p.truth.personal_data or p.truth.leaked
        for p in clean
    )
    assert not any(p.truth.kind in ("spam", "junk") for p in clean)


# ------------------------------------------------------------------------------------------- markup


def visible(page: str) -> str:
    """What a reader sees, by the crudest of means: no tags, no entities, no odd characters, single
    spaces."""
    text = re.sub(r"(?is)<(script|style)\b.*?</\1>|<!--.*?-->", " ", page)
    text = re.sub(r"(?i)</?(?:b|i|em|a|span)\b[^>]*>", "", text)
    text = unicodedata.normalize("NFC", html.unescape(re.sub(r"<[^>]*>", " \n ", text)))
    text = text.translate({0x200B: None, 0xAD: None, 0x201C: '"', 0x201D: '"'})
    return " ".join(text.split())


def test_every_line_of_the_truth_can_be_read_on_the_page(pages):
    for page in pages:
        seen = visible(page.html)
        assert " ".join(page.truth.text.split()) in seen or all(
            " ".join(line.split()) in seen for line in page.truth.text.split("\n")
        ), page.url


def test_boilerplate_is_on_every_page_of_a_site_and_in_no_truth(pages):
    for site in WEB_SITES:
        own = [page for page in pages if page.url.split("/")[2] == site.host]
        assert len(own) > 50
        for page in own:
            assert visible(site.footer) in visible(page.html) and visible(site.notice) in visible(
                page.html
            )
            assert site.footer not in page.truth.text and site.notice not in page.truth.text


def test_dirt_is_spread_as_it_should_be(pages):
    n = len(pages)
    assert abs(sum("<html>" in page.html for page in pages) / n - DIRT_SHARES.no_lang) < 0.03
    wrong = sum(
        bool(m := re.search('<html lang="(..)"', p.html)) and m[1] != p.truth.language
        for p in pages
    )
    assert abs(wrong / n - DIRT_SHARES.wrong_lang) < 0.02
    texts = [page.html for page in pages]
    for mark in (
        "\u200b",
        "&nbsp;",
        "&shy;",
        "\u2009",
        "“",
        "&eacute;",
        "e\u0301",
        "&quot;",
        '<span class="drop">',
        "<b>",
    ):
        assert sum(mark in text for text in texts) > 10, mark


def test_without_dirt_markup_is_all_that_is_added():
    clean = DirtShares(*[0.0] * 8)
    for site in WEB_SITES:
        page = render_page(Random(0), 'Tom & Zoë said "<hi>".\n早上。', site, 7, "en", clean)
        assert visible('Tom &amp; Zoë said "&lt;hi&gt;".') in visible(page) and "早上。" in visible(
            page
        )
        assert '<html lang="en">' in page
