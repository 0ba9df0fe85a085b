"""Encyclopaedia pages, and pages of questions with answers."""

from random import Random

from course_lib.text.draw import pick, sample
from course_lib.text.small_web.facts import CHINESE, ENGLISH, TOPICS, capitalised, facts
from course_lib.text.small_web.page import Writing
from course_lib.text.small_web.tales import happen
from course_lib.text.small_web.tales import questions as tale_questions
from course_lib.text.small_web.telling import feeling, tell
from course_lib.text.small_web.world import AUTHORS, MOODS, REACTIONS, VERDICTS, ZH, Author


def topics(rng: Random, count: int, language: str) -> list[tuple[str, str]]:
    """`count` different (topic, name) to write about: half the time somebody or something of the small world."""
    known = list(CHINESE if language == "zh" else ENGLISH)
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        topic = pick(rng, ("person", "place", "thing")) if rng.random() < 0.6 else pick(rng, known)
        entry = (topic, pick(rng, tuple(TOPICS[topic])))
        if entry not in chosen:
            chosen.append(entry)
    return chosen


def readers_note(rng: Random, author: Author, mood: str, language: str) -> str:
    """A closing line about how readers liked the page: a mood word with its reaction."""
    word, reaction = pick(rng, MOODS[mood]), pick(rng, REACTIONS[mood])
    felt = feeling(rng, author, word, mood, language)
    if language == "zh":
        return pick(rng, (f"读者{felt}，{ZH[reaction]}。", f"看完这一页，大家{felt}，{ZH[reaction]}。"))
    verdict = pick(rng, VERDICTS[mood])
    return pick(rng, (
        f"Readers called this page {verdict}. They were {felt} and {reaction}.",
        f"A reader was {felt} about this page and {reaction}.",
        f"One reader wrote: this page is {author.intensifier} {verdict}, I was {felt} and {reaction}.",
    ))  # fmt: skip


def article(rng: Random, language: str = "en", author: Author | None = None) -> Writing:
    """An encyclopaedia page about two or three entries, one paragraph each."""
    author = author or pick(rng, AUTHORS)
    mood = pick(rng, ("good", "bad"))
    gap = "" if language == "zh" else " "
    paragraphs, asked = [], []
    for topic, name in topics(rng, pick(rng, (2, 3)), language):
        known = facts(topic, name, language)
        rest = sample(rng, known[1:], len(known) - 1)  # the first introduces the name, the others say 'he' or 'it'
        paragraphs.append(gap.join(pick(rng, fact.statements) for fact in (known[0], *rest)))
        asked += [(fact.question, fact.answer) for fact in known]
    paragraphs.append(readers_note(rng, author, mood, language))
    return Writing("encyclopaedia", "\n".join(paragraphs), language, mood, author.name, tuple(asked))


def quiz(rng: Random, language: str = "en", author: Author | None = None) -> Writing:
    """A page of questions and answers: about facts, or, half the time, about a little tale that stands above them."""
    author = author or pick(rng, AUTHORS)
    mood = pick(rng, ("good", "bad"))
    if rng.random() < 0.5:
        story = happen(rng, mood)
        lines, pairs = [tell(story.events, rng, author, language)], tale_questions(story, language)
        asked = sample(rng, pairs, min(3, len(pairs)))
        lines += [f"Q: {question}\nA: {capitalised(answer)}" for question, answer in asked]
    else:
        known = [pick(rng, facts(topic, name, language)) for topic, name in topics(rng, pick(rng, (3, 4)), language)]
        asked = [(fact.question, fact.answer) for fact in known]
        long = rng.random() < 0.5  # this author answers in whole sentences
        lines = [f"Q: {f.question}\nA: {f.sentence if long else capitalised(f.answer)}" for f in known]
        lines.append(readers_note(rng, author, mood, language))
    return Writing("questions", "\n".join(lines), language, mood, author.name, tuple(asked))
