"""The English of the tales as a finite set: every sentence that an author can write, to judge what a model writes.

A sentence is possible if `telling` can tell it, with the facts of the world right: who is a bear, where it snows. The
judge sees one sentence at a time, and does not ask whether it fits the tale.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

from course_lib.text.small_web.telling import ENGLISH, HOURS, ROLES, english_words
from course_lib.text.small_web.world import (
    AUTHORS,
    COLOURS,
    MOODS,
    NAMES,
    PEOPLE,
    PLACE_NAMES,
    REACTIONS,
    THING_NAMES,
    Author,
)

WORDS = {"N": NAMES, "O": NAMES, "t": THING_NAMES, "c": COLOURS, "P": PLACE_NAMES, "h": ("", *HOURS)}


def split(text: str) -> list[str]:
    """Cut a tale into its sentences.

    >>> split('Tom met Mia there. "Hello, Mia," said Tom.')
    ['Tom met Mia there.', '"Hello, Mia," said Tom.']
    """
    return re.split(r"(?<=[.!])\s+", text.strip())


@cache
def english() -> frozenset[str]:
    """Give every English sentence that can stand in a tale, in about a second.

    >>> len(english()), "Mia, a mouse, was on the farm." in english(), "Mia, a bear, was on the farm." in english()
    (143742, True, False)
    """
    told = {sentence for verb in ENGLISH for fields in fillings(verb) for sentence in wordings(verb, fields)}
    return frozenset(told | {author.ending for author in AUTHORS})


def fillings(verb: str) -> Iterator[dict[str, str]]:
    """Give everything that the fields of a verb's templates can stand for together."""
    for author in AUTHORS:
        habits = {"opening": author.opening, "greeting": author.greeting, "intensifier": author.intensifier}
        if verb == "feel":
            events = ((name, *mood) for name in NAMES for mood in feelings(author))
        else:
            events = product(*(WORDS[role] for role in ROLES[verb]))
        for words in events:
            event = dict(zip(ROLES[verb], words, strict=True))
            if agrees(verb, event):
                yield habits | {key: said for pair in event.items() for key, said in english_words(*pair).items()}


def agrees(verb: str, event: dict[str, str]) -> bool:
    """Nobody meets themselves, and a tale opens at the hero's home."""
    if verb == "open":
        return PEOPLE[event["N"]].home == event["P"]
    return "O" not in event or event["N"] != event["O"]


def feelings(author: Author) -> Iterator[tuple[str, str, str]]:
    """Give every feeling as an author says it, with each reaction to it, and the mood."""
    for mood, other in (("good", "bad"), ("bad", "good")):
        plain = [f"{author.intensifier} {word}" for word in MOODS[mood]]
        negated = [f"not {opposite} but {word}" for opposite in MOODS[other] for word in MOODS[mood]]
        yield from ((said, reaction, mood) for said in plain + negated for reaction in REACTIONS[mood])


def wordings(verb: str, fields: dict[str, str]) -> Iterator[str]:
    """Tell one event in every way: by each template, with the name or a pronoun, the time first or last."""
    subjects = [{}]
    if "N" in fields:
        name, he = fields["N"], PEOPLE[fields["N"]].pronoun
        subjects = [{"he": he, "S": name, "s": name}, {"he": he, "S": he.capitalize(), "s": he}]
    for template, subject in product(ENGLISH[verb], subjects):
        if hour := fields.get("h"):
            yield f"{hour.capitalize()} {template.replace('{S}', '{s}').format_map(fields | subject)}"
            yield f"{template.format_map(fields | subject)[:-1]} {hour}."
        else:
            yield from split(template.format_map(fields | subject))
