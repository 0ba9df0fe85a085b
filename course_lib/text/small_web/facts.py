"""What the encyclopaedia knows: facts, how to say and ask for them, and the answers.

In two languages. Templates are filled with the row of a table of the world. A topic's first fact
introduces the name; the others may say "he" or "it".
"""

from functools import cache
from typing import NamedTuple

from course_lib.text.small_web.world import (
    CAPITAL_CITIES,
    CHINESE_WORDS,
    COLOUR_OF,
    LEGS_OF,
    NUMBER_WORDS,
    SOUND_OF,
    WORLD_PEOPLE,
    WORLD_PLACES,
    WORLD_THINGS,
    neighbouring_places,
    place_phrase,
    with_article,
)


class Fact(NamedTuple):
    """One fact: sentences that state it, a question for it, and the answer, short and long."""

    statements: tuple[str, ...]
    question: str
    answer: str
    sentence: str


ENGLISH_FACTS = {
    "person": (
        Fact(
            ("{name} is {a_species}.", "{name}, {a_species}, is known to all."),
            "Who is {name}?",
            "{a_species}",
            "{name} is {a_species}.",
        ),
        Fact(
            ("{He} lives {home}.", "{His} home is {home}."),
            "Where does {name} live?",
            "{home}",
            "{name} lives {home}.",
        ),
        Fact(
            ("{He} likes {food}.", "{He} eats {food} every day."),
            "What does {name} eat?",
            "{food}",
            "{name} eats {food}.",
        ),
        Fact(
            ("{His} best friend is {friend}.", "{He} is the best friend of {friend}."),
            "Who is the best friend of {name}?",
            "{friend}",
            "It is {friend}.",
        ),
        Fact(
            ("{His} favourite colour is {colour}.", "{He} loves the colour {colour}."),
            "Which colour does {name} love?",
            "{colour}",
            "{name} loves {colour}.",
        ),
    ),
    "place": (
        Fact(
            ("The {name} is a {weather} place.", "It is often {weather} {where}."),
            "How is the weather {where}?",
            "{weather}",
            "It is often {weather}.",
        ),
        Fact(
            (
                "It lies between the {one} and the {other}.",
                "The {one} and the {other} are next to it.",
            ),
            "What lies beside the {name}?",
            "the {one} and the {other}",
            "It lies between the {one} and the {other}.",
        ),
        Fact(
            ("People there eat {food}.", "The place is famous for its {food}."),
            "What do people eat {where}?",
            "{food}",
            "They eat {food}.",
        ),
    ),
    "thing": (
        Fact(
            ("A {name} is made of {material}.", "Every {name} is made of {material}."),
            "What is a {name} made of?",
            "{material}",
            "It is made of {material}.",
        ),
        Fact(
            ("It is sold {shop}.", "One can buy it {shop}."),
            "Where can I buy a {name}?",
            "{shop}",
            "You can buy it {shop}.",
        ),
        Fact(
            ("It costs {price} coins.", "Its price is {price} coins."),
            "How much is a {name}?",
            "{price} coins",
            "It is {price} coins.",
        ),
    ),
    "capital": (
        Fact(
            ("The capital of {name} is {capital}.", "{capital} is the capital of {name}."),
            "What is the capital of {name}?",
            "{capital}",
            "The capital of {name} is {capital}.",
        ),
    ),
    "colour": (
        Fact(
            ("{The_name} is {colour}.", "{colour} is the colour of {the_name}."),
            "What colour is {the_name}?",
            "{colour}",
            "{The_name} is {colour}.",
        ),
    ),
    "sound": (
        Fact(
            ("The {name} says {sound}.", "{sound} is what the {name} says."),
            "What does the {name} say?",
            "{sound}",
            "The {name} says {sound}.",
        ),
    ),
    "legs": (
        Fact(
            ("{A_name} has {legs} legs.", "The {name} walks on {legs} legs."),
            "How many legs has {a_name}?",
            "{legs}",
            "{A_name} has {legs} legs.",
        ),
    ),
}

CHINESE_FACTS = {
    "person": (
        Fact(("{name}是{species}。", "{name}是一位大家都认识的{species}。"),
             "{name}是谁？", "{species}", "{name}是{species}。"),
        Fact(("{He}住在{home}。", "{He}的家在{home}。"),
             "{name}住在哪里？", "{home}", "{name}住在{home}。"),
        Fact(("{He}喜欢吃{food}。", "{He}天天吃{food}。"),
             "{name}喜欢吃什么？", "{food}", "{name}喜欢吃{food}。"),
        Fact(("{He}最好的朋友是{friend}。",),
             "{name}最好的朋友是谁？", "{friend}", "是{friend}。"),
        Fact(("{He}喜欢{colour}。",),
             "{name}喜欢什么颜色？", "{colour}", "{name}喜欢{colour}。"),
    ),
    "place": (
        Fact(("{name}常常{weather}。",),
             "{name}的天气怎么样？", "{weather}", "常常{weather}。"),
        Fact(("它在{one}和{other}中间。", "它旁边是{one}和{other}。"),
             "{name}旁边是什么？", "{one}和{other}", "是{one}和{other}。"),
        Fact(("那里的人吃{food}。",),
             "{name}的人吃什么？", "{food}", "他们吃{food}。"),
    ),
    "thing": (
        Fact(("{name}是{material}做的。",),
             "{name}是什么做的？", "{material}", "是{material}做的。"),
        Fact(("在{shop}可以买到它。", "{shop}卖它。"),
             "在哪里可以买到{name}？", "{shop}", "在{shop}可以买到。"),
        Fact(("它要{price}个金币。",),
             "{name}多少钱？", "{price}个金币", "要{price}个金币。"),
    ),
    "capital": (
        Fact(("{name}的首都是{capital}。", "{capital}是{name}的首都。"),
             "{name}的首都是哪里？", "{capital}", "{name}的首都是{capital}。"),
    ),
    "colour": (
        Fact(("{name}是{colour}的。",),
             "{name}是什么颜色的？", "{colour}", "{name}是{colour}的。"),
    ),
}  # fmt: skip

FACT_TOPICS = {
    "person": WORLD_PEOPLE,
    "place": WORLD_PLACES,
    "thing": WORLD_THINGS,
    "capital": CAPITAL_CITIES,
    "colour": COLOUR_OF,
    "sound": SOUND_OF,
    "legs": LEGS_OF,
}
WITHOUT_ARTICLE = ("grass", "snow", "coal", "blood")


@cache
def english_fields(topic: str, name: str) -> dict[str, str]:
    """What the English templates of a topic may say about one of its names."""
    entry = FACT_TOPICS[topic][name]
    if topic == "person":
        his = "His" if entry.pronoun == "he" else "Her"
        return entry._asdict() | {
            "He": entry.pronoun.capitalize(),
            "His": his,
            "a_species": with_article(entry.species),
            "home": place_phrase(entry.home),
        }
    if topic == "place":
        one, other = neighbouring_places(name)
        return entry._asdict() | {"where": place_phrase(name), "one": one, "other": other}
    if topic == "thing":
        return entry._asdict() | {
            "shop": place_phrase(entry.shop),
            "price": NUMBER_WORDS[entry.price],
        }
    if topic == "colour":
        the_name = name if name in WITHOUT_ARTICLE else f"the {name}"
        return {
            "the_name": the_name,
            "The_name": the_name[0].upper() + the_name[1:],
            "colour": entry,
        }
    if topic == "legs":
        legs = NUMBER_WORDS[entry] if entry else "no"
        return {
            "name": name,
            "a_name": with_article(name),
            "A_name": with_article(name).capitalize(),
            "legs": legs,
        }
    return {"name": name, topic: entry}


@cache
def chinese_fields(topic: str, name: str) -> dict[str, str]:
    """The same for the Chinese templates: the words of the table, translated."""
    entry = FACT_TOPICS[topic][name]
    values = (
        entry._asdict() if topic in ("person", "place", "thing") else {"name": name, topic: entry}
    )
    if topic == "person":
        values["He"] = "他" if entry.pronoun == "he" else "她"
    if topic == "place":
        values["one"], values["other"] = neighbouring_places(name)
    if topic == "thing":
        values["price"] = NUMBER_WORDS[entry.price]
    return {key: CHINESE_WORDS.get(value, value) for key, value in values.items()}


@cache
def facts_about(topic: str, name: str, language: str = "en") -> tuple[Fact, ...]:
    """All that the encyclopaedia knows about one name.

    >>> facts_about("capital", "Peru")[0].question, facts_about("capital", "Peru")[0].answer
    ('What is the capital of Peru?', 'Lima')
    """
    templates, values = (
        (CHINESE_FACTS, chinese_fields(topic, name))
        if language == "zh"
        else (ENGLISH_FACTS, english_fields(topic, name))
    )

    def fill(text: str) -> str:
        return capitalize_first(text.format_map(values))

    return tuple(
        Fact(
            tuple(map(fill, f.statements)),
            fill(f.question),
            f.answer.format_map(values),
            fill(f.sentence),
        )
        for f in templates[topic]
    )


def capitalize_first(text: str) -> str:
    """The text with a capital first letter, the rest as it is."""
    return text[0].upper() + text[1:]
