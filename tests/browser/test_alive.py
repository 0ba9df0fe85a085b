"""R1 in the book's pages: in a browser it says what torch says on the same stored weights."""

import base64
import random
import re
import shutil

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from course_lib.alignment.rl_task import answer_questions, question_prompt_ids
from course_lib.experiments.r1 import SHIPPED_R1
from course_lib.tasks import arithmetic
from course_lib.text.chat import render_chat
from course_lib.text.problems import draw_chain, final_answer, is_held_out, verify_answer
from tests.browser.barriers import serious_barriers

PAGES = ("index.html", "notebooks/00_start_here.html", "notebooks/25_r1_zero.html")
N_PROMPTS = 100

# the model and the tokenizer, as the box makes them
WAKE = """async folder => {
    for (const name of ['model.js', 'tokenizer.js', 'weights.js'])
        await new Promise((done, failed) => document.head.append(Object.assign(
            document.createElement('script'),
            {src: folder + name, onload: done, onerror: failed})));
    const {settings, tokenizer, weights} = R1Alive.stored;
    const bytes = Uint8Array.from(atob(weights), char => char.charCodeAt(0)).buffer;
    window.model = new R1Alive.DeepSeekV3(settings, R1Alive.readSafetensors(bytes));
    window.tokenizer = new R1Alive.Tokenizer(tokenizer);
}"""
# the logits behind every token of a text, as base64: they are many
LOGITS = """ids => {
    const caches = model.newCaches(), all = ids.map(id => model.forward(id, caches));
    const bytes = all.map(row => new Uint8Array(row.buffer));
    return btoa(bytes.map(part => Array.from(part, b => String.fromCharCode(b)).join('')).join(''));
}"""
WRITE = """([question, most]) => {
    const ids = R1Alive.questionPromptIds(tokenizer, question);
    const end = tokenizer.specialTokens[R1Alive.END_OF_TEXT];
    const written = Array.from(model.writeGreedily(ids, end, most));
    return {ids, text: tokenizer.decode(written.filter(id => id !== end))};
}"""


@pytest.fixture(scope="module")
def questions():
    """Held-out sums, and some that are too long: there R1 errs, and must err alike."""
    sums = arithmetic.held_out_arithmetic(N_PROMPTS - 10)
    return sums + arithmetic.held_out_arithmetic(10, lengths=(7, 8))


@pytest.fixture(scope="module")
def torchs(questions):
    """What torch writes to each question, and the logits of each whole text, read at once."""
    model, tokenizer = SHIPPED_R1.load("r1"), SHIPPED_R1.tokenizer()
    asked = [question.text for question in questions]
    texts, completions = answer_questions(
        model, tokenizer, asked, max_new_tokens=120, temperature=0.0
    )
    ids = [
        question_prompt_ids(tokenizer, question) + [*map(int, written)]
        for question, written in zip(asked, completions.completions, strict=True)
    ]
    with torch.inference_mode():
        return texts, ids, [model(torch.tensor([row]))[0].numpy() for row in ids]


@pytest.fixture(params=["file", "http"])
def address(request, book):
    """The book's address, on the disk and on a web server."""
    return book.as_uri() if request.param == "file" else request.getfixturevalue("web_address")


@pytest.fixture
def awake(page, address):
    """A page on which `model` and `tokenizer` are R1's."""
    page.goto(f"{address}/index.html")
    page.evaluate(WAKE, f"{address}/_static/alive/")
    return page


def logits_in(page, ids):
    numbers = np.frombuffer(base64.b64decode(page.evaluate(LOGITS, ids)), dtype="<f4")
    return numbers.reshape(len(ids), -1)


@pytest.mark.timeout(300)
def test_the_logits_are_torchs(awake, torchs):
    apart = [
        np.abs(logits_in(awake, ids) - theirs).max()
        for ids, theirs in zip(torchs[1], torchs[2], strict=True)
    ]
    assert len(apart) == N_PROMPTS and max(apart) < 1e-4
    assert np.abs(torchs[2][0]).max() > 5, "the logits themselves are far from 0"


@pytest.mark.timeout(300)
def test_the_greedy_texts_are_torchs(awake, questions, torchs):
    written = [awake.evaluate(WRITE, [question.text, 120]) for question in questions]
    assert [row["text"] for row in written] == torchs[0]
    tokenizer = SHIPPED_R1.tokenizer()
    assert [row["ids"] for row in written] == [
        question_prompt_ids(tokenizer, question.text) for question in questions
    ]
    right = [bool(verify_answer(q.truth, t)) for q, t in zip(questions, torchs[0], strict=True)]
    assert sum(right[:-10]) > 85 > 5 > sum(right[-10:]), "it is R1: good at six, bad at seven"


def test_any_text_has_its_tokens_and_comes_back(awake):
    tokenizer = SHIPPED_R1.tokenizer()
    asked = ("What is the capital?", "12-3  =\n\n", "先 3+4, 大概 it's é?", "Q: why — so")
    chats = [
        render_chat([{"role": "user", "content": text}], add_generation_prompt=True)
        for text in asked
    ]
    for text in (*chats, "", " a  b ", "don't ... 7"):
        ids = awake.evaluate("text => tokenizer.encode(text)", text)
        assert ids == tokenizer.encode(text)
        assert awake.evaluate("ids => tokenizer.decode(ids)", ids) == text


def test_a_model_of_another_build_is_refused(awake):
    said = awake.evaluate("""() => { try {
        new R1Alive.DeepSeekV3({...R1Alive.stored.settings, tied: true}, {});
    } catch (error) { return error.message; } }""")
    assert said == "tied true is not built here"


TEXTS = (  # with an answer for the star
    "<think>a</think><answer>*</answer>",
    "<answer> * </answer>",
    "<think><answer>1</answer></think><answer>2</answer><answer>*</answer>",
    "<think>a <answer>*</answer>",
    "<think>a</think><answer>*",
    "<answer>*</answer><think>a</think><answer>1</answer>",
)


def test_the_page_judges_as_the_library_does(page, book):
    """What is held out, the results on the way, the answer in a text, and whether it is right."""
    page.goto((book / "index.html").as_uri())
    rng = random.Random(0)
    for held_out in (False, True) * 20:
        chain = draw_chain(rng, (3, 4, 5, 6), held_out)
        asked = chain.expression
        assert page.evaluate("sum => R1Alive.isHeldOut(sum)", asked) == is_held_out(chain)
        read = page.evaluate("sum => R1Alive.readChain(sum)", asked)
        assert read["partialResults"] == [*chain.partial_results]
        assert page.evaluate("s => R1Alive.faultOf(s) + R1Alive.whatIsNew(s)", asked) == ""
        for text in [t.replace("*", a) for t in TEXTS for a in (chain.answer, "7", "x")]:
            found = page.evaluate("text => R1Alive.finalAnswer(text)", text)
            judged = page.evaluate("([s, t]) => R1Alive.verifyAnswer(s, t)", [asked, text])
            assert found == final_answer(text)
            assert judged["right"] == bool(verify_answer(chain, text))


def ask(page, text):
    page.locator("#alive-sum").fill(text)
    page.locator("#alive-sum").press("Enter")


def expect_said(page, text):
    expect(page.locator(".alive-said")).to_contain_text(text, timeout=30_000)


# keeps what the box says and how many tokens it shows, each time that something changes
WATCH = """() => {
    const part = name => document.querySelector('.alive-' + name);
    const said = part('said'), text = part('text');
    window.seen = [];
    const look = () => seen.push([said.textContent, text.children.length, text.ariaBusy]);
    new MutationObserver(look).observe(text.parentNode, {subtree: true, childList: true});
}"""
SLOWLY = """() => {
    const usual = setTimeout;
    window.setTimeout = (what, time) => usual(what, time === 70 ? 2000 : time);
}"""


@pytest.mark.parametrize("name", PAGES)
def test_a_reader_watches_it_think(page, address, name, questions, torchs):
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto(f"{address}/{name}")
    assert not [url for url in fetched if "weights.js" in url], "nothing heavy before it is asked"
    page.evaluate(WATCH)
    ask(page, questions[0].text)
    words = " ".join(re.sub("<[^>]*>", " ", torchs[0][0]).split())
    expect_said(page, f"R1 wrote: {words}. Right: {questions[0].truth.expression} is ")
    expect_said(page, "It has never met this sum")
    text = page.locator(".alive-text")
    expect(text).to_have_text(torchs[0][0])
    answer = "".join(text.locator(".alive-answer").all_inner_texts())
    assert answer == questions[0].truth.answer
    thought = "".join(text.locator(".alive-think").all_inner_texts())
    assert f"<think>{thought}</think><answer>{answer}</answer>" == torchs[0][0]
    seen = page.evaluate("seen")
    assert [*dict.fromkeys(said for said, *_ in seen)][:2] == [
        "R1 is being loaded.",
        "R1 is thinking.",
    ]
    shown = {n for said, n, busy in seen if said == "R1 is thinking." and busy == "true"}
    assert shown == {*range(1, text.locator("span").count() + 1)}, "it comes token by token"
    expect(text).to_have_attribute("aria-busy", "false")
    assert len([url for url in fetched if url.endswith("weights.js")]) == 1


KIND = {
    "": "Type a sum first",
    "   ": "Type a sum first",
    "=?": "Type a sum first",
    "seven + 5": '"s" is something else',
    "7*5": "does not multiply",
    "7.5+1": "whole numbers alone",
    "7+": "begins and ends with a number",
    "-7+5": "begins and ends with a number",
    "7++5": "begins and ends with a number",
    "7": "One number is no sum yet",
    "1+" * 40 + "1": "These are 81 signs",
    "<b>7</b>+5": '"<" is something else',
}
NEW = {
    "1+2+3+4+1+2+3": "up to 6 numbers, and these are 7",
    "12+5": "the numbers 1 to 9, and here is 12",
    "7+0": "the numbers 1 to 9, and here is 0",
    "9+9+9": "passes through 27",
    "1-5+8": "passes through -4",
}


def test_what_is_no_sum_gets_a_kind_answer(page, book):
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    page.goto((book / "index.html").as_uri())
    for text, said in (KIND | NEW).items():
        ask(page, text)
        expect_said(page, said)
        expect(page.locator("#alive-sum")).to_be_focused()
        assert page.locator(".alive-try").count() == (text in NEW), text
    assert not [url for url in fetched if "weights.js" in url]


def test_a_sum_beyond_its_practice_may_be_tried(page, book):
    page.goto((book / "index.html").as_uri())
    ask(page, " 1 + 2+3+4 + 1+2+3 =? ")
    page.locator(".alive-try").press("Enter")
    expect(page.locator("#alive-sum")).to_be_focused()
    expect_said(page, "Wrong: 1+2+3+4+1+2+3 is 16, not 13")


def test_it_is_stopped_and_asked_again_by_keyboard(page, book):
    page.goto((book / "index.html").as_uri())
    page.evaluate(SLOWLY)
    ask(page, "9-4+6+4+2-6")
    expect(page.locator(".alive-think").first).to_be_visible()
    page.keyboard.press("Enter")
    expect_said(page, "R1 is still thinking")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.locator(".alive-stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect_said(page, "Stopped.")
    expect(page.locator(".alive-stop")).to_be_hidden()
    expect(page.locator("#alive-sum")).to_be_focused()
    assert page.locator(".alive-answer").count() == 0
    ask(page, "7+5")
    expect_said(page, "7+5 is 12.")


def test_who_wants_no_motion_gets_it_whole(page, book):
    page.emulate_media(reduced_motion="reduce")
    page.goto((book / "index.html").as_uri())
    page.evaluate(SLOWLY)  # with pauses it would take too long
    ask(page, "7+5-3+8")
    expect_said(page, "Right: ")
    assert "shown more slowly" not in page.locator(".alive-said").inner_text()


def test_a_missing_file_is_told_and_tried_again(page, book, tmp_path):
    shutil.copytree(book / "_static", tmp_path / "_static")
    shutil.copy(book / "index.html", tmp_path)
    weights = tmp_path / "_static" / "alive" / "weights.js"
    weights.rename(tmp_path / "weights.js")
    page.goto((tmp_path / "index.html").as_uri())
    ask(page, "7+5-3+8")
    expect_said(page, "R1 could not be loaded (weights.js)")
    (tmp_path / "weights.js").rename(weights)
    ask(page, "7+5-3+8")
    expect_said(page, "Right: ")


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_kept_out(page, book, name):
    """In both themes, on a telephone, while it thinks, when it is done, and at a kind answer."""
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((book / name).as_uri())
    expect(page.get_by_label("A sum of single digits")).to_be_visible()
    page.evaluate(SLOWLY)
    for theme in ("light", "dark"):
        page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
        page.wait_for_timeout(500)  # colours fade from one theme into the other
        page.emulate_media(reduced_motion="no-preference")
        ask(page, "7+5-3+8")
        expect(page.locator(".alive-think").first).to_be_visible(timeout=30_000)
        assert serious_barriers(page, ".alive") == [], theme
        page.locator(".alive-stop").press("Enter")
        expect_said(page, "Stopped.")
        page.emulate_media(reduced_motion="reduce")
        for text, said in (("7+5-3+8", "Right: "), ("9+9+9", "Let it try")):
            ask(page, text)
            expect_said(page, said)
            assert serious_barriers(page, ".alive") == [], (theme, text)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_box_says_what_it_is_without_javascript(browser, book):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((book / "index.html").as_uri())
    expect(page.locator(".alive noscript p")).to_be_visible()
    expect(page.locator("#alive-sum")).to_be_hidden()
    context.close()
