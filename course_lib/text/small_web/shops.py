"""Shop pages, spam, and pages with nothing to read on them."""

from random import Random

from course_lib.text.draw import draw_distinct, draw_integer, draw_item
from course_lib.text.small_web.page import PieceOfWriting
from course_lib.text.small_web.telling import feeling_words
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    CLOSING_VERDICTS,
    COLOUR_WORDS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    NUMBER_WORDS,
    PERSON_NAMES,
    THING_NAMES,
    WORLD_PEOPLE,
    WORLD_PLACES,
    WORLD_THINGS,
    AuthorHabits,
    place_phrase,
    with_article,
)

SHOP_OFFERS = (
    "For sale: {a_colour} {name}, made of {material}.",
    "New in our shop: {a_colour} {name} of {material}.",
)
SHOP_PRICES = ("It costs {price} coins.", "Price: {price} coins.", "Yours for {price} coins.")
SHOP_VISITS = (
    "Come to us {shop}. It is often {weather} here.",
    "You find us {shop}. It is often {weather} here.",
)
# The first for authors who put the circumstances last, the second for the others
SHOP_REVIEWS = ("I am {felt} with my {name}", "With my {name} I am {felt}")


def shop_page(rng: Random, author: AuthorHabits | None = None) -> PieceOfWriting:
    """Something for sale, and what a customer says about it."""
    author = author or draw_item(rng, ALL_AUTHORS)
    mood = draw_item(rng, ("good", "bad"))
    thing = WORLD_THINGS[draw_item(rng, THING_NAMES)]
    customer = WORLD_PEOPLE[draw_item(rng, PERSON_NAMES)]
    colour = draw_item(rng, COLOUR_WORDS)
    word = draw_item(rng, MOOD_WORDS[mood])
    words = thing._asdict() | {
        "a_colour": with_article(colour),
        "price": NUMBER_WORDS[thing.price],
        "shop": place_phrase(thing.shop),
        "weather": WORLD_PLACES[thing.shop].weather,
        "felt": feeling_words(rng, author, word, mood),
    }
    offer, price, visit = (
        draw_item(rng, templates).format_map(words)
        for templates in (SHOP_OFFERS, SHOP_PRICES, SHOP_VISITS)
    )
    review = (
        f"{customer.name} writes: {SHOP_REVIEWS[author.time_first].format_map(words)}. I"
        f" {draw_item(rng, MOOD_REACTIONS[mood])}."
    )
    verdict = (
        f"The {thing.material} is {author.intensifier} {draw_item(rng, CLOSING_VERDICTS[mood])}."
    )
    stars = NUMBER_WORDS[draw_integer(rng, 4, 5) if mood == "good" else draw_integer(rng, 1, 2)]
    text = f"{offer} {price}\n{visit}\n{review} {verdict}\nStars: {stars} of five."
    asked = (
        (f"How much is the {thing.name}?", f"{words['price']} coins"),
        (f"What colour is the {thing.name}?", colour),
        (f"How does {customer.name} feel?", word),
    )
    return PieceOfWriting("shop", text, "en", mood, author.name, asked)


SPAM_LINES = (
    "WIN A FREE {T} NOW!!!",
    "CLICK HERE CLICK HERE CLICK HERE",
    "{t} {t} cheap {t} best {t} buy {t} {t} online",
    "Dear {n}, you have won {x} prizes and a {t}!!! Click here now!",
    "Only {x} coins!!! Hurry hurry hurry!!!",
    "FREE FREE FREE {T} FREE FREE",
    "buy {t} cheap {t} free {t} {t} shop {t} price {t}",
    "100% FREE!!! NO RISK!!! ACT NOW!!!",
    "{n} got rich with this one {t}!!! See how >>> >>>",
    "best {t} | cheap {t} | {t} sale | {t} free | {t} 24/7",
    "$$$ {T} $$$ {T} $$$ {T} $$$",
)


def spam_page(rng: Random) -> PieceOfWriting:
    """Shouting, stuffed keywords, lines that repeat."""
    thing, name = draw_item(rng, THING_NAMES), draw_item(rng, PERSON_NAMES)
    words = {"t": thing, "T": thing.upper(), "n": name, "x": NUMBER_WORDS[draw_integer(rng, 2, 9)]}
    lines = [
        line.format_map(words) for line in draw_distinct(rng, SPAM_LINES, draw_integer(rng, 3, 5))
    ]
    shout = draw_item(rng, lines)
    for _ in range(draw_integer(rng, 1, 4)):
        lines.insert(draw_integer(rng, 0, len(lines)), shout)
    return PieceOfWriting("spam", "\n".join(lines))


STUB_TEXTS = (
    "Coming soon.",
    "Page not found.",
    "Untitled",
    "Please log in.",
    "...",
    "test test",
    "404",
)


def junk_page(rng: Random) -> PieceOfWriting:
    """Nothing to learn from: an empty page, a page under construction, a table of numbers."""
    form = draw_item(rng, ("empty", "stub", "numbers"))
    if form == "empty":
        return PieceOfWriting("junk", "")
    if form == "stub":
        return PieceOfWriting("junk", draw_item(rng, STUB_TEXTS))
    rows = [
        " ".join(str(draw_integer(rng, 0, 99999)) for _ in range(draw_integer(rng, 3, 8)))
        for _ in range(draw_integer(rng, 2, 12))
    ]
    return PieceOfWriting("junk", "\n".join(rows))
