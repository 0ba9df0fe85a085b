"""Shop pages, spam, and pages with nothing to read on them."""

from random import Random

from course_lib.text.draw import pick, sample, whole
from course_lib.text.small_web.page import Writing
from course_lib.text.small_web.telling import feeling
from course_lib.text.small_web.world import (
    AUTHORS,
    COLOURS,
    MOODS,
    NAMES,
    NUMBERS,
    PEOPLE,
    PLACES,
    REACTIONS,
    THING_NAMES,
    THINGS,
    VERDICTS,
    Author,
    a,
    where,
)

OFFERS = ("For sale: {a_colour} {name}, made of {material}.", "New in our shop: {a_colour} {name} of {material}.")
PRICES = ("It costs {price} coins.", "Price: {price} coins.", "Yours for {price} coins.")
VISITS = ("Come to us {shop}. It is often {weather} here.", "You find us {shop}. It is often {weather} here.")
# The first for authors who put the circumstances last, the second for the others
REVIEWS = ("I am {felt} with my {name}", "With my {name} I am {felt}")


def shop(rng: Random, author: Author | None = None) -> Writing:
    """Something for sale, and what a customer says about it."""
    author = author or pick(rng, AUTHORS)
    mood = pick(rng, ("good", "bad"))
    thing, customer, colour = THINGS[pick(rng, THING_NAMES)], PEOPLE[pick(rng, NAMES)], pick(rng, COLOURS)
    word = pick(rng, MOODS[mood])
    words = thing._asdict() | {
        "a_colour": a(colour), "price": NUMBERS[thing.price], "shop": where(thing.shop),
        "weather": PLACES[thing.shop].weather, "felt": feeling(rng, author, word, mood),
    }  # fmt: skip
    offer, price, visit = (pick(rng, templates).format_map(words) for templates in (OFFERS, PRICES, VISITS))
    review = f"{customer.name} writes: {REVIEWS[author.time_first].format_map(words)}. I {pick(rng, REACTIONS[mood])}."
    verdict = f"The {thing.material} is {author.intensifier} {pick(rng, VERDICTS[mood])}."
    stars = NUMBERS[whole(rng, 4, 5) if mood == "good" else whole(rng, 1, 2)]
    text = f"{offer} {price}\n{visit}\n{review} {verdict}\nStars: {stars} of five."
    asked = (
        (f"How much is the {thing.name}?", f"{words['price']} coins"),
        (f"What colour is the {thing.name}?", colour),
        (f"How does {customer.name} feel?", word),
    )
    return Writing("shop", text, "en", mood, author.name, asked)


SPAM_LINES = (
    "WIN A FREE {T} NOW!!!", "CLICK HERE CLICK HERE CLICK HERE", "{t} {t} cheap {t} best {t} buy {t} {t} online",
    "Dear {n}, you have won {x} prizes and a {t}!!! Click here now!", "Only {x} coins!!! Hurry hurry hurry!!!",
    "FREE FREE FREE {T} FREE FREE", "buy {t} cheap {t} free {t} {t} shop {t} price {t}",
    "100% FREE!!! NO RISK!!! ACT NOW!!!", "{n} got rich with this one {t}!!! See how >>> >>>",
    "best {t} | cheap {t} | {t} sale | {t} free | {t} 24/7", "$$$ {T} $$$ {T} $$$ {T} $$$",
)  # fmt: skip


def spam(rng: Random) -> Writing:
    """Shouting, stuffed keywords, lines that repeat."""
    thing, name = pick(rng, THING_NAMES), pick(rng, NAMES)
    words = {"t": thing, "T": thing.upper(), "n": name, "x": NUMBERS[whole(rng, 2, 9)]}
    lines = [line.format_map(words) for line in sample(rng, SPAM_LINES, whole(rng, 3, 5))]
    shout = pick(rng, lines)
    for _ in range(whole(rng, 1, 4)):
        lines.insert(whole(rng, 0, len(lines)), shout)
    return Writing("spam", "\n".join(lines))


STUBS = ("Coming soon.", "Page not found.", "Untitled", "Please log in.", "...", "test test", "404")


def junk(rng: Random) -> Writing:
    """Nothing to learn from: an empty page, a page under construction, a table of numbers."""
    form = pick(rng, ("empty", "stub", "numbers"))
    if form == "empty":
        return Writing("junk", "")
    if form == "stub":
        return Writing("junk", pick(rng, STUBS))
    rows = [" ".join(str(whole(rng, 0, 99999)) for _ in range(whole(rng, 3, 8))) for _ in range(whole(rng, 2, 12))]
    return Writing("junk", "\n".join(rows))
