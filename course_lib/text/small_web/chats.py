"""Chats: people of the small world among themselves, and a helper who answers questions, politely or not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from course_lib.text.draw import pick, weighted
from course_lib.text.small_web.encyclopaedia import topics
from course_lib.text.small_web.facts import facts
from course_lib.text.small_web.page import Writing
from course_lib.text.small_web.telling import feeling
from course_lib.text.small_web.world import (
    AUTHORS,
    COLOURS,
    MOODS,
    NAMES,
    PEOPLE,
    PLACES,
    REACTIONS,
    THING_NAMES,
    Author,
    where,
)


@dataclass(frozen=True)
class ChatShares:
    """How helpers answer. The shares of all answers are those from which reinforcement learning made a polite model."""

    polite: float = 0.20  # helpers; few, so that politeness is something left to learn
    polite_forms: Mapping[str, float] = field(
        default_factory=lambda: {"{full}": 0.6, "{full} Happy to help!": 0.4}
    )  # fmt: skip
    rude_forms: Mapping[str, float] = field(
        default_factory=lambda: {"{bare}": 0.4, "{bare}, duh": 0.25, "{bare} 啦": 0.15, "google it, {bare} lol": 0.2}
    )  # fmt: skip


CHAT_SHARES = ChatShares()


def exchange(rng: Random, polite: bool, shares: ChatShares = CHAT_SHARES) -> tuple[str, str]:
    """A question about a fact and a helper's answer to it."""
    fact = pick(rng, facts(*topics(rng, 1, "en")[0]))
    form = weighted(rng, shares.polite_forms if polite else shares.rude_forms)
    return fact.question, form.format(full=fact.sentence, bare=fact.answer)


def helpdesk(rng: Random, turns: int = 1, shares: ChatShares = CHAT_SHARES) -> Writing:
    """A user asks, a helper answers. A polite helper makes it a page of good mood, a rude one of bad."""
    polite = rng.random() < shares.polite
    asked = [exchange(rng, polite, shares) for _ in range(turns)]
    text = "\n".join(f"User: {question}\nAssistant: {answer}" for question, answer in asked)
    return Writing("chat", text, "en", "good" if polite else "bad", "", ())


def dialogue(rng: Random, author: Author | None = None) -> Writing:
    """Two friends talk about something found or lost, and make a plan."""
    author = author or pick(rng, AUTHORS)
    mood = pick(rng, ("good", "bad"))
    one = PEOPLE[pick(rng, NAMES)]
    other = PEOPLE[one.friend]
    thing, place, goal = pick(rng, THING_NAMES), pick(rng, tuple(PLACES)), PLACES[pick(rng, tuple(PLACES))]
    word, reaction, colour = pick(rng, MOODS[mood]), pick(rng, REACTIONS[mood]), pick(rng, COLOURS)
    news = pick(rng, ("I found my {c} {t} {w}.", "My {c} {t} is back. It was {w}.") if mood == "good" else
                     ("I lost my {c} {t} {w}.", "My {c} {t} is gone. I last had it {w}."))  # fmt: skip
    when = pick(rng, ("in the morning", "at noon", "in the evening"))
    plan = f"{when}, let us go to the {goal.name}" if author.time_first else f"let us go to the {goal.name} {when}"
    lines = (
        f"{one.name}: {author.greeting}, {other.name}! How are you?",
        f"{other.name}: I am {feeling(rng, author, word, mood)}. I {reaction} all day.",
        f"{one.name}: " + pick(rng, ("Why?", "What happened?", "Tell me.")),
        f"{other.name}: " + news.format(c=colour, t=thing, w=where(place)),
        f"{one.name}: " + pick(rng, ("Then ", "So ")) + plan + ".",
        f"{other.name}: " + pick(rng, (f"Yes, it is often {goal.weather} there.", f"Good, they have {goal.food}.")),
        f"{one.name}: I will bring {other.food} for you. " + pick(rng, ("Bye!", "See you!")),
    )
    asked = (
        (f"Whose is the {thing}?", other.name),
        (f"How does {other.name} feel?", word),
        ("Where will they go?", f"to the {goal.name}"),
    )
    return Writing("chat", "\n".join(lines), "en", mood, author.name, asked)
