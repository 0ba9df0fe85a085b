"""Telling a story: each event becomes a sentence, English or Chinese, in an author's manner.

In the templates {N} is the name of who acts; {S} a name or, if the sentence before was about the
same person, a pronoun; {he} always a pronoun. {O} is the other person, {t} the thing, {c} its
colour, {P} the place ("the forest"), {W} where that is ("in the forest"), {f} a feeling, {r} the
reaction to it.
"""

from functools import cache
from random import Random

from course_lib.text.draw import draw_item
from course_lib.text.small_web.world import (
    CHINESE_WORDS,
    MOOD_WORDS,
    WORLD_PEOPLE,
    WORLD_PLACES,
    AuthorHabits,
    place_phrase,
    with_article,
)

DAY_TIMES = (
    "in the morning",
    "at noon",
    "in the evening",
    "at night",
    "the next morning",
    "the next evening",
)
CHINESE_DAY_TIMES = dict(
    zip(DAY_TIMES, ("早上", "中午", "傍晚", "夜里", "第二天早上", "第二天傍晚"), strict=True)
)

ENGLISH_TEMPLATES = {
    "open": (
        "{opening} {a_species} named {N}. {N} lived {W} and loved {food}.",
        "{opening} {N}, {a_species} who lived {W}. Every day {N} ate {food}.",
        "{opening} {N}, {a_species}. {N} was at home {W}.",
    ),
    "stands": ("{N} the {species} was {W}.", "{N}, {a_species}, was {W}."),
    "owns": ("{S} had {a_c} {t}.", "{S} had a {t}. It was {c}.", "{S} was the owner of {a_c} {t}."),
    "lay": ("There was {a_c} {t} {W}.", "{A_c} {t} lay {W}."),
    "want": ("{S} wanted {a_c} {t}.", "{S} dreamed of {a_c} {t}.", "{S} wished for {a_c} {t}."),
    "go": ("{S} went to {P}.", "{S} walked to {P}.", "{S} ran to {P}.", "{S} came to {P}."),
    "play": (
        "{S} played with {O} there.",
        "{S} and {O} played a game.",
        "{S} talked with {O} for a while.",
    ),
    "weather": ("It was {weather} there.", "It was {intensifier} {weather} {W}."),
    "eat": ("{S} ate {local_food} there.", "{S} had some {local_food}."),
    "take": (
        "{S} found the {c} {t}.",
        "{S} picked up the {t}.",
        "{S} saw the {c} {t} and took it.",
    ),
    "leave": (
        "{S} forgot the {t} there.",
        "{S} put down the {t} and forgot it.",
        "{S} left the {t} behind.",
    ),
    "give": (
        "{S} gave the {t} to {O}.",
        "{S} gave {O} the {t}.",
        '{S} gave the {t} to {O}. "Thank you," said {O}.',
    ),
    "return": (
        "{S} gave the {t} back to {O}.",
        "{S} brought {O} the {t}.",
        '"Here is your {t}, {O}," said {N}.',
    ),
    "rob": (
        "{O} took the {t} from {N}.",
        "{O} grabbed the {t} of {N} and kept it.",
        '"The {t} is mine now," said {O} and took it from {N}.',
    ),
    "keep": (
        "{O} asked for the {t}, but {N} kept it.",
        '{O} asked {N} for the {t}. "No," said {N}.',
        "{N} did not give the {t} to {O}.",
    ),
    "meet": ("{S} met {O} there.", '"{greeting}, {O}," said {N}.', "{S} saw {O} {W}."),
    "hint": (
        '"The {t} is {W}," said {N}.',
        "{S} said that the {t} was {W}.",
        '"Look {W}," said {N}.',
    ),
    "miss": (
        "The {t} was not there.",
        "{S} looked for the {t}, but it was gone.",
        "{S} did not see the {t}.",
    ),
    "feel": ("{S} was {f}, and {he} {r}.", "{S} felt {f} and {r}.", "{S} {r}. {N} was {f}."),
    "ends_with": (
        "In the end {N} had the {c} {t}.",
        "So the {t} was with {N}.",
        "From then on the {t} was with {N}.",
    ),
    "ends_at": ("In the end the {c} {t} was {W}.", "The {t} was still {W}."),
}

CHINESE_TEMPLATES = {
    "open": (
        "{opening}{species}，名叫{N}。{N}住在{P}，喜欢吃{food}。",
        "{opening}{N}。{N}是{species}，住在{P}。",
    ),
    "stands": ("有{species}叫{N}，在{P}。", "{N}是{species}，在{P}。"),
    "owns": ("{S}有{c}的{t}。", "{S}有{t}，是{c}的。"),
    "lay": ("{P}有{c}的{t}。", "{c}的{t}放在{P}。"),
    "want": ("{S}想要{c}的{t}。", "{S}很想有{c}的{t}。"),
    "go": ("{S}去了{P}。", "{S}走到{P}。", "{S}来到{P}。"),
    "play": ("{S}和{O}一起玩。", "{S}和{O}说了一会儿话。"),
    "weather": ("那里{weather}。", "{P}{weather}。"),
    "eat": ("{S}在那里吃了{local_food}。", "{S}吃了一点{local_food}。"),
    "take": ("{S}找到了{c}的{t}。", "{S}拿起了{t}。"),
    "leave": ("{S}把{t}忘在那里了。", "{S}放下{t}，忘了拿。"),
    "give": ("{S}把{t}给了{O}。", "{S}把{t}送给{O}，{O}说谢谢。"),
    "return": ("{S}把{t}还给了{O}。", "{S}把{t}带给了{O}。"),
    "rob": ("{O}抢走了{N}的{t}。", "{O}拿走了{N}的{t}，不还了。"),
    "keep": ("{O}想要{t}，可是{N}不给。", "{N}不肯把{t}给{O}。"),
    "meet": ("{S}在那里遇见了{O}。", "{S}看见了{O}。"),
    "hint": ("{S}说，{t}在{P}。", "{S}告诉大家，{t}在{P}。"),
    "miss": ("{t}不在那里。", "{S}找{t}，可是没有找到。"),
    "feel": ("{S}{f}，{r}。", "{S}觉得{f}，{r}。"),
    "ends_with": ("最后{N}有了{c}的{t}。", "从此{t}归{N}了。"),
    "ends_at": ("最后{c}的{t}还在{P}。", "{t}还在{P}。"),
}

# What an event's arguments are: N who acts, O the other person, t thing, c its colour, P place, h
# hour, f feeling, r reaction, m mood
WORD_ROLES = {
    "open": "NP",
    "stands": "NP",
    "owns": "Ntc",
    "lay": "tPc",
    "want": "Ntc",
    "go": "NPh",
    "play": "NO",
    "weather": "NP",
    "eat": "NP",
    "take": "Ntc",
    "leave": "Nt",
    "give": "NtO",
    "return": "NtO",
    "rob": "NtO",
    "keep": "NtO",
    "meet": "NOP",
    "hint": "NtP",
    "miss": "Nt",
    "feel": "Nfrm",
    "ends_with": "Ntc",
    "ends_at": "tPc",
}


@cache
def english_words(role: str, word: str) -> dict[str, str]:
    """What an English template may say about this word in this role."""
    if role == "N":
        person = WORLD_PEOPLE[word]
        return {
            "N": word,
            "species": person.species,
            "a_species": with_article(person.species),
            "food": person.food,
        }
    if role == "P":
        place = WORLD_PLACES[word]
        return {
            "P": f"the {word}",
            "W": place_phrase(word),
            "weather": place.weather,
            "local_food": place.food,
        }
    if role == "c":
        return {"c": word, "a_c": with_article(word), "A_c": with_article(word).capitalize()}
    return {role: word}


@cache
def chinese_words(role: str, word: str) -> dict[str, str]:
    """What a Chinese template may say about this word in this role."""
    if role == "N":
        person = WORLD_PEOPLE[word]
        one = {"boy": "一个", "girl": "一个", "horse": "一匹"}.get(person.species, "一只")
        return {
            "N": person.zh,
            "species": one + CHINESE_WORDS[person.species],
            "food": CHINESE_WORDS[person.food],
        }
    if role == "P":
        place = WORLD_PLACES[word]
        return {
            "P": place.zh,
            "weather": CHINESE_WORDS[place.weather],
            "local_food": CHINESE_WORDS[place.food],
        }
    if role == "h":
        return {"h": CHINESE_DAY_TIMES.get(word, "")}
    return {role: CHINESE_WORDS.get(word, word)}


def feeling_words(
    rng: Random, author: AuthorHabits, word: str, mood: str, language: str = "en"
) -> str:
    """A mood word as this author says it: 'very happy', or at times 'not sad but happy'."""
    if rng.random() < 0.3:
        other = draw_item(rng, MOOD_WORDS["bad" if mood == "good" else "good"])
        if language == "zh":
            return f"不是{CHINESE_WORDS[other]}，而是{CHINESE_WORDS[word]}"
        return f"not {other} but {word}"
    if language == "zh":
        return author.zh_intensifier + CHINESE_WORDS[word]
    return f"{author.intensifier} {word}"


def tell_tale(
    events: list[tuple[str, ...]], rng: Random, author: AuthorHabits, language: str = "en"
) -> str:
    """The text of a tale: a paragraph for the people, one for each act, the closing words."""
    sentence, gap = (_chinese, "") if language == "zh" else (_english, " ")
    paragraphs: list[list[str]] = [[]]
    subject = ""
    for verb, *words in events:
        if verb == "act":
            paragraphs.append([])
            subject = ""
            continue
        paragraphs[-1].append(sentence(rng, author, verb, words, subject))
        subject = words[0] if WORD_ROLES[verb][0] == "N" and "O" not in WORD_ROLES[verb] else ""
    paragraphs[-1].append(author.zh_ending if language == "zh" else author.ending)
    return "\n".join(gap.join(sentences) for sentences in paragraphs)


def _english(rng: Random, author: AuthorHabits, verb: str, words: list[str], subject: str) -> str:
    """One event as a sentence; `subject` is the person whom the sentence before was about."""
    fields = {
        "opening": author.opening,
        "greeting": author.greeting,
        "intensifier": author.intensifier,
    }
    for role, word in zip(WORD_ROLES[verb], words, strict=True):
        fields |= english_words(role, word)
    if verb == "feel":
        fields["f"] = feeling_words(rng, author, fields["f"], fields["m"])
    if "N" in fields:
        he, name = WORLD_PEOPLE[fields["N"]].pronoun, fields["N"]
        again = name == subject and rng.random() < 0.6
        fields |= {"he": he, "s": he if again else name, "S": he.capitalize() if again else name}
    template = draw_item(rng, ENGLISH_TEMPLATES[verb])
    if not fields.get("h"):
        return template.format_map(fields)
    if author.time_first:
        return fields["h"].capitalize() + " " + template.replace("{S}", "{s}").format_map(fields)
    return template.format_map(fields)[:-1] + f" {fields['h']}."


def _chinese(rng: Random, author: AuthorHabits, verb: str, words: list[str], subject: str) -> str:
    fields = {"opening": author.zh_opening}
    for role, word in zip(WORD_ROLES[verb], words, strict=True):
        fields |= chinese_words(role, word)
    if verb == "feel":
        fields["f"] = feeling_words(rng, author, words[1], words[3], "zh")
    if WORD_ROLES[verb][0] == "N":
        pronoun = "他" if WORLD_PEOPLE[words[0]].pronoun == "he" else "她"
        fields["S"] = pronoun if words[0] == subject and rng.random() < 0.6 else fields["N"]
    hour = fields.get("h", "")
    told = draw_item(rng, CHINESE_TEMPLATES[verb]).format_map(fields)
    return f"{hour}，{told}" if hour else told
