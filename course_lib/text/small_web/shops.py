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


def shop(rng: Random, author: Author | None = None) -> Writing:
    """Something for sale, and what a customer says about it."""
    author = author or pick(rng, AUTHORS)
    mood = pick(rng, ("good", "bad"))
    thing, customer, colour = THINGS[pick(rng, THING_NAMES)], PEOPLE[pick(rng, NAMES)], pick(rng, COLOURS)
    price, name = NUMBERS[thing.price], thing.name
    offer = pick(rng, (f"For sale: {a(colour)} {name}, made of {thing.material}.", f"New in our shop: {a(colour)} {name} of {thing.material}."))
    cost = pick(rng, (f"It costs {price} coins.", f"Price: {price} coins.", f"Yours for {price} coins."))
    visit = pick(rng, (f"Come to us {where(thing.shop)}.", f"You find us {where(thing.shop)}.")) + f" It is often {PLACES[thing.shop].weather} here."
    felt, reaction, verdict = feeling(rng, author, pick(rng, MOODS[mood]), mood), pick(rng, REACTIONS[mood]), pick(rng, VERDICTS[mood])
    review = f"I am {felt} with my {name}" if author.time_first else f"With my {name} I am {felt}"
    stars = NUMBERS[whole(rng, 4, 5) if mood == "good" else whole(rng, 1, 2)]
    lines = (
        f"{offer} {cost}",
        visit,
        f"{customer.name} from the {customer.home} writes: {review}. The {thing.material} is {author.intensifier} {verdict}. I {reaction}.",
        f"Stars: {stars} of five.",
    )
    asked = ((f"How much is the {name}?", f"{price} coins"), (f"What colour is the {name}?", colour), (f"How does {customer.name} feel?", felt.split()[-1]))
    return Writing("shop", "\n".join(lines), "en", mood, author.name, asked)


SPAM_LINES = (
    "WIN A FREE {T} NOW!!!", "CLICK HERE CLICK HERE CLICK HERE", "{t} {t} cheap {t} best {t} buy {t} {t} online",
    "Dear {n}, you have won {x} {t}s!!! Click here now!", "Only {x} coins!!! Hurry hurry hurry!!!", "FREE FREE FREE {T} FREE FREE",
    "buy {t} cheap {t} free {t} {t} shop {t} price {t}", "100% FREE!!! NO RISK!!! ACT NOW!!!", "{n} got rich with this one {t}!!! See how >>> >>>",
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


def junk(rng: Random) -> Writing:
    """Nothing to learn from: an empty page, a page under construction, a column of numbers."""
    form = rng.random()
    if form < 0.3:
        return Writing("junk", "")
    if form < 0.6:
        return Writing("junk", pick(rng, ("Coming soon.", "Page not found.", "Untitled", "Please log in.", "...", "test test", "404")))
    rows = [" ".join(str(whole(rng, 0, 99999)) for _ in range(whole(rng, 3, 8))) for _ in range(whole(rng, 2, 12))]
    return Writing("junk", "\n".join(rows))
