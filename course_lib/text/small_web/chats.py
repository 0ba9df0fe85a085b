"""Chats: people of the small world among themselves, and a helper, polite or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from course_lib.text.draw import draw_item, draw_weighted
from course_lib.text.small_web.encyclopaedia import draw_topics
from course_lib.text.small_web.facts import facts_about
from course_lib.text.small_web.page import PieceOfWriting
from course_lib.text.small_web.telling import feeling_words
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    COLOUR_WORDS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    PERSON_NAMES,
    THING_NAMES,
    WORLD_PEOPLE,
    WORLD_PLACES,
    AuthorHabits,
    place_phrase,
)


@dataclass(frozen=True)
class ChatShares:
    """How helpers answer, in shares of all answers: from these, RL made a polite model."""

    polite: float = 0.20  # helpers; few, so that politeness is something left to learn
    polite_forms: Mapping[str, float] = field(
        default_factory=lambda: {"{full}": 0.6, "{full} Happy to help!": 0.4}
    )  # fmt: skip
    rude_forms: Mapping[str, float] = field(
        default_factory=lambda: {
            "{bare}": 0.4,
            "{bare}, duh": 0.25,
            "{bare} 啦": 0.15,
            "google it, {bare} lol": 0.2,
        }
    )


CHAT_SHARES = ChatShares()


def chat_exchange(rng: Random, polite: bool, shares: ChatShares = CHAT_SHARES) -> tuple[str, str]:
    """A question about a fact and a helper's answer to it."""
    fact = draw_item(rng, facts_about(*draw_topics(rng, 1, "en")[0]))
    form = draw_weighted(rng, shares.polite_forms if polite else shares.rude_forms)
    return fact.question, form.format(full=fact.sentence, bare=fact.answer)


def helpdesk_page(rng: Random, turns: int = 1, shares: ChatShares = CHAT_SHARES) -> PieceOfWriting:
    """A user asks, a helper answers.

    A polite helper makes it a page of good mood, a rude one of bad.
    """
    polite = rng.random() < shares.polite
    asked = [chat_exchange(rng, polite, shares) for _ in range(turns)]
    text = "\n".join(f"User: {question}\nAssistant: {answer}" for question, answer in asked)
    return PieceOfWriting("chat", text, "en", "good" if polite else "bad", "", ())


DIALOGUE_NEWS = {
    "good": ("I found my {c} {t} {w}.", "My {c} {t} is back. It was {w}."),
    "bad": ("I lost my {c} {t} {w}.", "My {c} {t} is gone. I last had it {w}."),
}


def dialogue_page(rng: Random, author: AuthorHabits | None = None) -> PieceOfWriting:
    """Two friends talk about something found or lost, and make a plan."""
    author = author or draw_item(rng, ALL_AUTHORS)
    mood = draw_item(rng, ("good", "bad"))
    one = WORLD_PEOPLE[draw_item(rng, PERSON_NAMES)]
    other = WORLD_PEOPLE[one.friend]
    thing = draw_item(rng, THING_NAMES)
    place = draw_item(rng, tuple(WORLD_PLACES))
    goal = WORLD_PLACES[draw_item(rng, tuple(WORLD_PLACES))]
    word = draw_item(rng, MOOD_WORDS[mood])
    reaction = draw_item(rng, MOOD_REACTIONS[mood])
    colour = draw_item(rng, COLOUR_WORDS)
    news = draw_item(rng, DIALOGUE_NEWS[mood])
    when = draw_item(rng, ("in the morning", "at noon", "in the evening"))
    going = f"let us go to the {goal.name}"
    plan = f"{when}, {going}" if author.time_first else f"{going} {when}"
    lines = (
        f"{one.name}: {author.greeting}, {other.name}! How are you?",
        f"{other.name}: I am {feeling_words(rng, author, word, mood)}. I {reaction} all day.",
        f"{one.name}: " + draw_item(rng, ("Why?", "What happened?", "Tell me.")),
        f"{other.name}: " + news.format(c=colour, t=thing, w=place_phrase(place)),
        f"{one.name}: " + draw_item(rng, ("Then ", "So ")) + plan + ".",
        f"{other.name}: "
        + draw_item(
            rng, (f"Yes, it is often {goal.weather} there.", f"Good, they have {goal.food}.")
        ),
        f"{one.name}: I will bring {other.food} for you. " + draw_item(rng, ("Bye!", "See you!")),
    )
    asked = (
        (f"Whose is the {thing}?", other.name),
        (f"How does {other.name} feel?", word),
        ("Where will they go?", f"to the {goal.name}"),
    )
    return PieceOfWriting("chat", "\n".join(lines), "en", mood, author.name, asked)
