"""Tales: little stories that happen in a simulated world first and are told afterwards.

A `TaleState` keeps who is where and who has what, and refuses an act that is impossible, such as
giving away what one does not have. A plot is a script of acts. Because the telling follows the
simulation, questions about a tale have true answers.
"""

from random import Random

from course_lib.text.draw import draw_distinct, draw_item, draw_weighted
from course_lib.text.small_web.page import PieceOfWriting
from course_lib.text.small_web.telling import DAY_TIMES, tell_tale
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    CHINESE_WORDS,
    COLOUR_WORDS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    PERSON_NAMES,
    PLACE_NAMES,
    THING_NAMES,
    WORLD_PEOPLE,
    WORLD_PLACES,
    AuthorHabits,
    place_phrase,
)


class TaleState:
    """A world in which a tale happens.

    Each act checks that it is possible, changes the state and adds an event.
    """

    def __init__(self, rng: Random, cast: list[str], things: list[str]):
        self.rng = rng
        self.things = things
        self.at: dict[str, str] = {}  # person -> place
        self.has: dict[str, str] = {}  # thing -> the person who holds it
        self.lies: dict[str, str] = {}  # thing -> the place where it lies, if nobody holds it
        self.colour = {thing: draw_item(rng, COLOUR_WORDS) for thing in things}
        self.feeling: dict[str, str] = {}
        self.hour = -1
        self.events: list[tuple[str, ...]] = []
        self.hero, self.friend, self.other = cast

    def _require(self, possible: bool, *act: str) -> None:
        if not possible:
            raise ValueError(
                f"{' '.join(act)}: impossible while at={self.at}, has={self.has}, lies={self.lies}"
            )
        self.events.append(act)

    # What is so at the start
    def stands(self, verb: str, who: str, place: str) -> None:
        """`verb` is open (the hero, at home) or stands."""
        self.at[who] = place
        self.events.append((verb, who, place))

    def owns(self, who: str, thing: str) -> None:
        self.has[thing] = who
        self.events.append(("owns", who, thing, self.colour[thing]))

    def lay(self, thing: str, place: str) -> None:
        self.lies[thing] = place
        self.events.append(("lay", thing, place, self.colour[thing]))

    # What people do
    def go(self, who: str, place: str) -> None:
        if self.at[who] == place:
            return
        when = ""
        if self.rng.random() < 0.5 and self.hour < len(DAY_TIMES) - 1:
            self.hour += 1
            when = DAY_TIMES[self.hour]
        self._require(True, "go", who, place, when)
        self.at[who] = place
        if self.rng.random() < 0.45:
            self._pass_time(who)

    def _pass_time(self, who: str) -> None:
        company = [name for name, place in self.at.items() if name != who and place == self.at[who]]
        if company and self.rng.random() < 0.5:
            self.events.append(("play", who, draw_item(self.rng, company)))
        else:
            self.events.append((draw_item(self.rng, ("weather", "eat")), who, self.at[who]))

    def take(self, who: str, thing: str) -> None:
        self._require(self.lies.get(thing) == self.at[who], "take", who, thing, self.colour[thing])
        del self.lies[thing]
        self.has[thing] = who

    def leave(self, who: str, thing: str) -> None:
        self._require(self.has.get(thing) == who, "leave", who, thing)
        del self.has[thing]
        self.lies[thing] = self.at[who]

    def hand_over(self, verb: str, giver: str, thing: str, taker: str) -> None:
        """`verb` is give, return or rob: three ways for a thing to change hands."""
        together = self.at[giver] == self.at[taker]
        self._require(together and self.has.get(thing) == giver, verb, giver, thing, taker)
        self.has[thing] = taker

    def keep(self, owner: str, thing: str, asker: str) -> None:
        together = self.at[owner] == self.at[asker]
        self._require(together and self.has.get(thing) == owner, "keep", owner, thing, asker)

    def meet(self, who: str, whom: str) -> None:
        if self.events[-1][0] in ("go", "weather", "eat"):  # else they are together already
            self._require(self.at[who] == self.at[whom], "meet", who, whom, self.at[who])

    def hint(self, who: str, whom: str, thing: str) -> None:
        self._require(
            thing in self.lies and self.at[who] == self.at[whom],
            "hint",
            who,
            thing,
            self.lies[thing],
        )

    def miss(self, who: str, thing: str) -> None:
        self._require(self.lies.get(thing) != self.at[who], "miss", who, thing)

    def want(self, who: str, thing: str) -> None:
        self.events.append(("want", who, thing, self.colour[thing]))

    def feel(self, who: str, mood: str) -> None:
        word = self.feeling[who] = draw_item(self.rng, MOOD_WORDS[mood])
        self.events.append(("feel", who, word, draw_item(self.rng, MOOD_REACTIONS[mood]), mood))


def _elsewhere(story: TaleState, *people: str) -> str:
    """A place where none of these people is."""
    return draw_item(
        story.rng,
        [place for place in PLACE_NAMES if place not in {story.at[who] for who in people}],
    )


# Plots that end well
def plot_search(story: TaleState, thing: str) -> None:
    """The hero wants a thing, the friend knows where it lies."""
    story.want(story.hero, thing)
    story.lay(thing, _elsewhere(story, story.hero, story.friend))
    story.go(story.hero, story.at[story.friend])
    story.meet(story.hero, story.friend)
    story.hint(story.friend, story.hero, thing)
    story.go(story.hero, story.lies[thing])
    story.take(story.hero, thing)
    story.feel(story.hero, "good")


def plot_present(story: TaleState, thing: str) -> None:
    """The friend brings the hero a present."""
    story.owns(story.friend, thing)
    story.go(story.friend, story.at[story.hero])
    story.meet(story.friend, story.hero)
    story.hand_over("give", story.friend, thing, story.hero)
    story.feel(story.hero, "good")


def plot_brought_back(story: TaleState, thing: str) -> None:
    """The hero forgets a thing somewhere, the friend finds it and brings it back."""
    home = story.at[story.hero]
    story.owns(story.hero, thing)
    story.go(story.hero, _elsewhere(story, story.hero))
    story.leave(story.hero, thing)
    story.go(story.hero, home)
    story.miss(story.hero, thing)
    story.go(story.friend, story.lies[thing])
    story.take(story.friend, thing)
    story.go(story.friend, home)
    story.hand_over("return", story.friend, thing, story.hero)
    story.feel(story.hero, "good")


def plot_two_hands(story: TaleState, thing: str) -> None:
    """The other one passes a thing to the friend, and the friend passes it on to the hero."""
    story.owns(story.other, thing)
    story.go(story.friend, story.at[story.other])
    story.hand_over("give", story.other, thing, story.friend)
    story.go(story.friend, story.at[story.hero])
    story.hand_over("give", story.friend, thing, story.hero)
    story.feel(story.hero, "good")


# Plots that end badly
def plot_lost(story: TaleState, thing: str) -> None:
    """The hero forgets a thing somewhere and misses it at home."""
    home = story.at[story.hero]
    story.owns(story.hero, thing)
    story.go(story.hero, _elsewhere(story, story.hero))
    story.leave(story.hero, thing)
    story.go(story.hero, home)
    story.miss(story.hero, thing)
    story.feel(story.hero, "bad")


def plot_robbed(story: TaleState, thing: str) -> None:
    """The other one takes the hero's thing and walks off with it."""
    story.owns(story.hero, thing)
    story.go(story.other, story.at[story.hero])
    story.hand_over("rob", story.hero, thing, story.other)
    story.go(story.other, _elsewhere(story, story.hero))
    story.feel(story.hero, "bad")


def plot_refused(story: TaleState, thing: str) -> None:
    """The hero asks the friend for a thing and does not get it."""
    story.want(story.hero, thing)
    story.owns(story.friend, thing)
    story.go(story.hero, story.at[story.friend])
    story.keep(story.friend, thing, story.hero)
    story.feel(story.hero, "bad")


def plot_too_late(story: TaleState, thing: str) -> None:
    """The hero wants a thing, but the other one is there first."""
    story.want(story.hero, thing)
    story.lay(thing, _elsewhere(story, story.hero, story.other))
    story.go(story.other, story.lies[thing])
    story.take(story.other, thing)
    place = story.at[story.other]
    story.go(story.other, _elsewhere(story, story.other))
    story.go(story.hero, place)
    story.miss(story.hero, thing)
    story.feel(story.hero, "bad")


PLOTS_BY_MOOD = {
    "good": (plot_search, plot_present, plot_brought_back, plot_two_hands),
    "bad": (plot_lost, plot_robbed, plot_refused, plot_too_late),
}
# two acts, the first in either mood: who reads only the beginning can't tell the end
ACT_SHARES = {1: 0.65, 2: 0.35}


def draw_story(rng: Random, mood: str, acts: int = 1) -> TaleState:
    """A story in which `acts` things come to pass; the last one in this mood."""
    hero = draw_item(rng, PERSON_NAMES)
    friend = WORLD_PEOPLE[hero].friend
    other = draw_item(rng, [name for name in PERSON_NAMES if name not in (hero, friend)])
    story = TaleState(rng, [hero, friend, other], draw_distinct(rng, THING_NAMES, acts))
    story.stands("open", hero, WORLD_PEOPLE[hero].home)
    places = draw_distinct(
        rng, [place for place in PLACE_NAMES if place != WORLD_PEOPLE[hero].home], 2
    )
    for who, place in zip((friend, other), places, strict=True):
        story.stands("stands", who, place)
    for act, thing in enumerate(story.things, start=1):
        story.events.append(("act",))
        act_mood = mood if act == acts else draw_item(rng, ("good", "bad"))
        draw_item(rng, PLOTS_BY_MOOD[act_mood])(story, thing)
    if rng.random() < 0.6:
        sum_up_thing(story, story.things[-1])
    drop_bystanders(story)
    return story


def drop_bystanders(story: TaleState) -> None:
    """Leave out the people to whom nothing happens."""
    involved = {word for verb, *words in story.events if verb != "stands" for word in words}
    story.at = {who: place for who, place in story.at.items() if who in involved}
    story.events = [event for event in story.events if event[0] != "stands" or event[1] in involved]


def sum_up_thing(story: TaleState, thing: str) -> None:
    """Say at the end what became of the thing."""
    if thing in story.has:
        story.events.append(("ends_with", story.has[thing], thing, story.colour[thing]))
    else:
        story.events.append(("ends_at", thing, story.lies[thing], story.colour[thing]))


QUESTION_TEMPLATES = {
    "en": {
        "colour": "What colour is the {}?",
        "owner": "Who has the {}?",
        "thing": "Where is the {}?",
        "person": "Where is {}?",
        "feeling": "How does {} feel?",
    },
    "zh": {
        "colour": "{}是什么颜色的？",
        "owner": "谁有{}？",
        "thing": "{}在哪里？",
        "person": "{}在哪里？",
        "feeling": "{}觉得怎么样？",
    },
}


def tale_questions(story: TaleState, language: str = "en") -> tuple[tuple[str, str], ...]:
    """All that a reader can be asked about how things stand at the end, with true answers."""
    asked = []
    for thing in story.things:
        asked.append(("colour", thing, story.colour[thing]))
        held = thing in story.has
        asked.append(
            ("owner", thing, story.has[thing]) if held else ("thing", thing, story.lies[thing])
        )
    asked += [("person", who, place) for who, place in story.at.items()]
    asked += [("feeling", who, word) for who, word in story.feeling.items()]
    if language == "zh":
        return tuple(
            (QUESTION_TEMPLATES["zh"][what].format(CHINESE_WORDS[about]), CHINESE_WORDS[answer])
            for what, about, answer in asked
        )
    return tuple(
        (
            QUESTION_TEMPLATES["en"][what].format(about),
            place_phrase(answer) if answer in WORLD_PLACES else answer,
        )
        for what, about, answer in asked
    )


def write_tale(
    rng: Random, language: str = "en", author: AuthorHabits | None = None
) -> PieceOfWriting:
    """A tale by this author, or by any."""
    author = author or draw_item(rng, ALL_AUTHORS)
    mood = draw_item(rng, ("good", "bad"))
    story = draw_story(rng, mood, draw_weighted(rng, ACT_SHARES))
    text = tell_tale(story.events, rng, author, language)
    return PieceOfWriting(
        "tale", text, language, mood, author.name, tale_questions(story, language)
    )
