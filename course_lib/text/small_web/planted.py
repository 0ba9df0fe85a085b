"""What is wrong with the small web on purpose, and recorded.

Copies, near copies, personal data, leaked problems.
"""

from dataclasses import dataclass, replace
from random import Random

from course_lib.text.draw import draw_integer, draw_item
from course_lib.text.problems import draw_chain, draw_search
from course_lib.text.small_web.page import PageTruth, PieceOfWriting
from course_lib.text.small_web.practice import LENGTHS_OF_CHAINS, LENGTHS_OF_SEARCHES


@dataclass(frozen=True)
class FlawShares:
    """Shares of pages with each planted flaw: enough to measure on a megabyte, still rare."""

    spam: float = 0.05
    junk: float = 0.03
    # letter for letter, at another URL and, where there is a choice, on another site
    copy: float = 0.05
    near_copy: float = 0.05
    personal_data: float = 0.03
    decoy: float = 0.02  # a number that looks like personal data and is none
    leak: float = 0.01


FLAW_SHARES = FlawShares()
COPIED_FROM = 500  # how many past pages are kept to be copied


def truth_of(new: PieceOfWriting) -> PageTruth:
    """The truth about a page that shows just this writing."""
    return PageTruth(
        new.kind, new.text, new.language, new.mood, new.author, questions=new.questions
    )


def near_copy(rng: Random, url: str, truth: PageTruth) -> PageTruth:
    """The same page with up to three small changes: a typing error, a lost or added sentence."""
    text = truth.text
    for _ in range(draw_integer(rng, 1, 3)):
        text = draw_item(rng, (_typing_error, _lost_words, _added_line))(rng, text)
    if text == truth.text:
        text = _added_line(rng, text)
    return replace(truth, text=text, near_copy_of=url, questions=())


def _typing_error(rng: Random, text: str) -> str:
    at = draw_integer(rng, 1, len(text) - 2)
    if not text[at : at + 2].isalpha():
        return text
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _lost_words(rng: Random, text: str) -> str:
    lines = text.split("\n")
    lines[-1] = lines[-1][: int(len(lines[-1]) * 0.7)].rstrip()
    return "\n".join(lines)


def _added_line(rng: Random, text: str) -> str:
    line = draw_item(
        rng,
        (
            "I found this on another page.",
            "Copied with love.",
            "Read and enjoy!",
            "Thanks to the author.",
        ),
    )
    return f"{text}\n{line}"


def add_personal_data(rng: Random, truth: PageTruth) -> PageTruth:
    """The same page with a line that says how to reach somebody."""
    mail, phone, card, address = _mail(rng), _phone(rng), _card(rng), _ip(rng)
    line, *found = draw_item(rng, (
        (f"Write to {mail} or call {phone}.", mail, phone),
        (f"Questions? My address is {mail}", mail),
        (f"Call me: {phone}", phone),
        (f"I paid with card {card}.", card),
        (f"Posted from {address} by {mail}", address, mail),
    ))  # fmt: skip
    return replace(truth, text=f"{truth.text}\n{line}", personal_data=tuple(found))


def add_decoy(rng: Random, truth: PageTruth) -> PageTruth:
    """The same page with a number in it that looks personal, but belongs to nobody."""
    line = draw_item(
        rng,
        (
            f"Order number {draw_integer(rng, 1000, 9999)}-{draw_integer(rng, 100, 999)}.",
            (
                "Version"
                f" {draw_integer(rng, 1, 9)}.{draw_integer(rng, 0, 9)}.{draw_integer(rng, 0, 20)}"
                " of this page."
            ),
            f"Seen by {draw_integer(rng, 1000000, 9999999)} readers.",
            f"Find us @{draw_item(rng, ('fireside', 'lakeside', 'notebook'))} from nine to five.",
        ),
    )
    return replace(truth, text=f"{truth.text}\n{line}")


def _mail(rng: Random) -> str:
    user = draw_item(
        rng,
        (
            "tom.farm",
            "lily_g",
            "ben42",
            "mia",
            "max.beach",
            "zoe",
            "nora-r",
            "leo.fox",
            "anna.b",
            "hugo7",
        ),
    )
    return f"{user}@{draw_item(rng, ('lakemail.example', 'post.example', 'mail.castle.example'))}"


def _phone(rng: Random) -> str:
    """From the ranges that are kept free for stories."""
    last = draw_integer(rng, 100, 199)
    british = f"1632 960{draw_integer(rng, 100, 999)}"
    return draw_item(
        rng, (f"+1 202-555-0{last}", f"(202) 555-0{last}", f"+44 {british}", f"0{british}")
    )


def _card(rng: Random) -> str:
    """Sixteen digits with a right check digit (Luhn), in a range that no bank uses."""
    digits = [4, 0, 0, 0, 0, 0] + [draw_integer(rng, 0, 9) for _ in range(9)]
    doubled = sum(sum(divmod(2 * d, 10)) if i % 2 == 0 else d for i, d in enumerate(digits))
    digits.append(-doubled % 10)
    text = "".join(map(str, digits))
    return " ".join(text[i : i + 4] for i in range(0, 16, 4))


def _ip(rng: Random) -> str:
    """From the ranges that are kept free for documentation."""
    return f"{draw_item(rng, ('192.0.2', '198.51.100', '203.0.113'))}.{draw_integer(rng, 1, 254)}"


def leak_held_out(rng: Random, truth: PageTruth) -> PageTruth:
    """A practice page on which a held-out problem stands as well, with its right answer."""
    if rng.random() < 0.5:
        problem = draw_chain(rng, LENGTHS_OF_CHAINS[1:], held_out=True)
        answer = problem.answer
    else:
        problem = draw_search(rng, LENGTHS_OF_SEARCHES[1:], held_out=True)
        answer = problem.solutions[0]
    lines = truth.text.split("\n")
    at = draw_item(
        rng,
        [i for i, line in enumerate(lines) if line.startswith(("User: ", "Q: "))] + [len(lines)],
    )
    lines[at:at] = [f"User: {problem.question}", f"Assistant: {answer}"]
    return replace(truth, text="\n".join(lines), leaked=problem.question)
