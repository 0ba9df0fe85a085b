"""Encyclopaedia pages, and pages of questions with answers."""

from random import Random

from course_lib.text.draw import draw_distinct, draw_item
from course_lib.text.small_web.facts import (
    CHINESE_FACTS,
    ENGLISH_FACTS,
    FACT_TOPICS,
    capitalize_first,
    facts_about,
)
from course_lib.text.small_web.page import PieceOfWriting
from course_lib.text.small_web.tales import draw_story, tale_questions
from course_lib.text.small_web.telling import feeling_words, tell_tale
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    CHINESE_WORDS,
    CLOSING_VERDICTS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    AuthorHabits,
)


def draw_topics(rng: Random, count: int, language: str) -> list[tuple[str, str]]:
    """`count` different (topic, name) to write about, half of them of the small world."""
    known = list(CHINESE_FACTS if language == "zh" else ENGLISH_FACTS)
    chosen: list[tuple[str, str]] = []
    while len(chosen) < count:
        topic = (
            draw_item(rng, ("person", "place", "thing"))
            if rng.random() < 0.6
            else draw_item(rng, known)
        )
        entry = (topic, draw_item(rng, tuple(FACT_TOPICS[topic])))
        if entry not in chosen:
            chosen.append(entry)
    return chosen


def readers_reaction(rng: Random, author: AuthorHabits, mood: str, language: str) -> str:
    """A closing line about how readers liked the page: a mood word with its reaction."""
    word, reaction = draw_item(rng, MOOD_WORDS[mood]), draw_item(rng, MOOD_REACTIONS[mood])
    felt = feeling_words(rng, author, word, mood, language)
    if language == "zh":
        return draw_item(
            rng,
            (
                f"读者{felt}，{CHINESE_WORDS[reaction]}。",
                f"看完这一页，大家{felt}，{CHINESE_WORDS[reaction]}。",
            ),
        )
    verdict = draw_item(rng, CLOSING_VERDICTS[mood])
    return draw_item(
        rng,
        (
            f"Readers called this page {verdict}. They were {felt} and {reaction}.",
            f"A reader was {felt} about this page and {reaction}.",
            (
                f"One reader wrote: this page is {author.intensifier} {verdict}, I was {felt} and"
                f" {reaction}."
            ),
        ),
    )


def encyclopaedia_article(
    rng: Random, language: str = "en", author: AuthorHabits | None = None
) -> PieceOfWriting:
    """An encyclopaedia page about two or three entries, one paragraph each."""
    author = author or draw_item(rng, ALL_AUTHORS)
    mood = draw_item(rng, ("good", "bad"))
    gap = "" if language == "zh" else " "
    paragraphs, asked = [], []
    for topic, name in draw_topics(rng, draw_item(rng, (2, 3)), language):
        known = facts_about(topic, name, language)
        # the first introduces the name, the others say 'he' or 'it'
        rest = draw_distinct(rng, known[1:], len(known) - 1)
        paragraphs.append(gap.join(draw_item(rng, fact.statements) for fact in (known[0], *rest)))
        asked += [(fact.question, fact.answer) for fact in known]
    paragraphs.append(readers_reaction(rng, author, mood, language))
    return PieceOfWriting(
        "encyclopaedia", "\n".join(paragraphs), language, mood, author.name, tuple(asked)
    )


def quiz_page(
    rng: Random, language: str = "en", author: AuthorHabits | None = None
) -> PieceOfWriting:
    """A page of questions and answers about facts or, half the time, a little tale above them."""
    author = author or draw_item(rng, ALL_AUTHORS)
    mood = draw_item(rng, ("good", "bad"))
    if rng.random() < 0.5:
        story = draw_story(rng, mood)
        lines = [tell_tale(story.events, rng, author, language)]
        pairs = tale_questions(story, language)
        asked = draw_distinct(rng, pairs, min(3, len(pairs)))
        lines += [f"Q: {question}\nA: {capitalize_first(answer)}" for question, answer in asked]
    else:
        known = [
            draw_item(rng, facts_about(topic, name, language))
            for topic, name in draw_topics(rng, draw_item(rng, (3, 4)), language)
        ]
        asked = [(fact.question, fact.answer) for fact in known]
        long = rng.random() < 0.5  # this author answers in whole sentences
        lines = [
            f"Q: {f.question}\nA: {f.sentence if long else capitalize_first(f.answer)}"
            for f in known
        ]
        lines.append(readers_reaction(rng, author, mood, language))
    return PieceOfWriting("questions", "\n".join(lines), language, mood, author.name, tuple(asked))
