"""The English of the tales as a finite set of sentences, to judge what a model writes.

It is every sentence that an author can write. A sentence is possible if `telling` can tell it, with
the facts of the world right: who is a bear, where it snows. The judge sees one sentence at a time,
and does not ask whether it fits the tale.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

from course_lib.text.small_web.telling import (
    DAY_TIMES,
    ENGLISH_TEMPLATES,
    WORD_ROLES,
    english_words,
)
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    COLOUR_WORDS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    PERSON_NAMES,
    PLACE_NAMES,
    THING_NAMES,
    WORLD_PEOPLE,
    AuthorHabits,
)

FIELD_WORDS = {
    "N": PERSON_NAMES,
    "O": PERSON_NAMES,
    "t": THING_NAMES,
    "c": COLOUR_WORDS,
    "P": PLACE_NAMES,
    "h": ("", *DAY_TIMES),
}


def split_sentences(text: str) -> list[str]:
    """Cut a tale into its sentences.

    >>> split_sentences('Tom met Mia there. "Hello, Mia," said Tom.')
    ['Tom met Mia there.', '"Hello, Mia," said Tom.']
    """
    return re.split(r"(?<=[.!])\s+", text.strip())


@cache
def english_sentences() -> frozenset[str]:
    """Give every English sentence that can stand in a tale, in about a second.

    >>> len(sentences := english_sentences())
    143742
    >>> "Mia, a mouse, was on the farm." in sentences, "Mia, a bear, was on the farm." in sentences
    (True, False)
    """
    told = {
        sentence
        for verb in ENGLISH_TEMPLATES
        for fields in template_fillings(verb)
        for sentence in event_wordings(verb, fields)
    }
    return frozenset(told | {author.ending for author in ALL_AUTHORS})


def template_fillings(verb: str) -> Iterator[dict[str, str]]:
    """Give everything that the fields of a verb's templates can stand for together."""
    for author in ALL_AUTHORS:
        habits = {
            "opening": author.opening,
            "greeting": author.greeting,
            "intensifier": author.intensifier,
        }
        if verb == "feel":
            events = ((name, *mood) for name in PERSON_NAMES for mood in feeling_sentences(author))
        else:
            events = product(*(FIELD_WORDS[role] for role in WORD_ROLES[verb]))
        for words in events:
            event = dict(zip(WORD_ROLES[verb], words, strict=True))
            if is_consistent(verb, event):
                yield habits | {
                    key: said
                    for pair in event.items()
                    for key, said in english_words(*pair).items()
                }


def is_consistent(verb: str, event: dict[str, str]) -> bool:
    """Nobody meets themselves, and a tale opens at the hero's home."""
    if verb == "open":
        return WORLD_PEOPLE[event["N"]].home == event["P"]
    return "O" not in event or event["N"] != event["O"]


def feeling_sentences(author: AuthorHabits) -> Iterator[tuple[str, str, str]]:
    """Give every feeling as an author says it, with each reaction to it, and the mood."""
    for mood, other in (("good", "bad"), ("bad", "good")):
        plain = [f"{author.intensifier} {word}" for word in MOOD_WORDS[mood]]
        negated = [
            f"not {opposite} but {word}"
            for opposite in MOOD_WORDS[other]
            for word in MOOD_WORDS[mood]
        ]
        yield from (
            (said, reaction, mood) for said in plain + negated for reaction in MOOD_REACTIONS[mood]
        )


def event_wordings(verb: str, fields: dict[str, str]) -> Iterator[str]:
    """Tell one event in every way: each template, name or pronoun, the time first or last."""
    subjects = [{}]
    if "N" in fields:
        name, he = fields["N"], WORLD_PEOPLE[fields["N"]].pronoun
        subjects = [{"he": he, "S": name, "s": name}, {"he": he, "S": he.capitalize(), "s": he}]
    for template, subject in product(ENGLISH_TEMPLATES[verb], subjects):
        if hour := fields.get("h"):
            yield (
                f"{hour.capitalize()} {template.replace('{S}', '{s}').format_map(fields | subject)}"
            )
            yield f"{template.format_map(fields | subject)[:-1]} {hour}."
        else:
            yield from split_sentences(template.format_map(fields | subject))
