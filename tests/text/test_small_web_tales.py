"""Is every tale coherent, and are its questions answered truly?

The reader below knows nothing of the simulation: it believes what the sentences say, and checks
them. Each pattern is a way in which the tales may say something. A sentence that no pattern knows
is an error, so nothing is skipped; so is a sentence that contradicts what was read before, such as
giving away what one does not have.
"""

import re
from random import Random

import pytest

from course_lib.text.small_web.tales import TaleState, draw_story, tale_questions, write_tale
from course_lib.text.small_web.telling import tell_tale
from course_lib.text.small_web.world import (
    ALL_AUTHORS,
    CHINESE_WORDS,
    MOOD_REACTIONS,
    MOOD_WORDS,
    WORLD_PEOPLE,
)

OPENING = (
    r"(?:Once upon a time there was|This is the story of|Long ago there lived|Let me tell you"
    r" about)"
)
COLOURS = r"(?:red|blue|green|yellow|white|black|pink|brown)"
NAME = r"[A-Z]\w+"
WHERE = r"(?:in|on|at|by) the (?P<place>[\wé]+)"
THING = rf"(?:{COLOURS} )?(?P<thing>\w+)"
WHO, WHOM = rf"(?P<who>{NAME})", rf"(?P<whom>{NAME})"
WHEN = (
    r"(?:(?:[Ii]n the (?:morning|evening)|[Aa]t (?:noon|night)|[Tt]he next (?:morning|evening))\W?)"
)

PATTERNS = [
    # (pattern, what it says)
    (rf"{OPENING} {WHO}, an? \w+ who lived {WHERE}\.", "at"),
    (rf"{OPENING} (?:an? \w+ named {WHO}|.*, an? \w+)\.", ""),
    (rf"{WHO} lived {WHERE} and loved \w+\.", "at"),
    (rf"{WHO} was at home {WHERE}\.", "at"),
    (rf"{WHO},? (?:the|an?) \w+,? was {WHERE}\.", "at"),
    (rf"Every day {WHO} ate \w+\.", ""),
    (rf"{WHO} (?:had|was the owner of) an? {THING}\.", "own"),
    (r"It was \w+\.", ""),
    (rf"(?:There was an?|An?) {THING} (?:lay )?{WHERE}\.", "lie"),
    (rf"{WHO} (?:wanted|dreamed of|wished for) an? {THING}\.", ""),
    (rf"{WHEN}?{WHO} (?:went|walked|ran|came) to the (?P<place>[\wé]+)(?: {WHEN})?\.", "go"),
    (rf"{WHO} played with {WHOM} there\.", "together"),
    (rf"{WHO} and {WHOM} played a game\.", "together"),
    (rf"{WHO} talked with {WHOM} for a while\.", "together"),
    (r"It was \w+ there\.", ""),
    (rf"It was \w+ \w+ {WHERE}\.", ""),
    (rf"{WHO} (?:ate|had some) (?:bread|honey|soup|cheese|apples|cake|fish|nuts)(?: there)?\.", ""),
    (rf"{WHO} (?:found|picked up) the {THING}\.", "take"),
    (rf"{WHO} saw the {THING} and took it\.", "take"),
    (rf"{WHO} forgot the {THING} there\.", "leave"),
    (rf"{WHO} put down the {THING} and forgot it\.", "leave"),
    (rf"{WHO} left the {THING} behind\.", "leave"),
    (rf"{WHO} gave the {THING} (?:back )?to {WHOM}\.", "give"),
    (rf"{WHO} (?:gave|brought) {WHOM} the {THING}\.", "give"),
    (rf'"Here is your {THING}, {WHOM}," said {WHO}\.', "give"),
    (rf'"Thank you," said {WHO}\.', ""),
    (rf"{WHOM} took the {THING} from {WHO}\.", "give"),
    (rf"{WHOM} grabbed the {THING} of {WHO} and kept it\.", "give"),
    (rf'"The {THING} is mine now," said {WHOM} and took it from {WHO}\.', "give"),
    (rf"{WHOM} asked for the {THING}, but {WHO} kept it\.", "keep"),
    (rf"{WHOM} asked {WHO} for the {THING}\.", "keep"),
    (r'"No," said \w+\.', ""),
    (rf"{WHO} did not give the {THING} to {WHOM}\.", "keep"),
    (rf"{WHO} met {WHOM} there\.", "together"),
    (rf'"(?:Hello|Hey|Good day|Hi), {WHOM}," said {WHO}\.', "together"),
    (rf"{WHO} saw {WHOM} {WHERE}\.", "together"),
    (rf'"The {THING} is {WHERE}," said {WHO}\.', "told"),
    (rf"{WHO} said that the {THING} was {WHERE}\.", "told"),
    (rf'"Look {WHERE}," said {WHO}\.', ""),
    (rf"The {THING} was not there\.", "missed"),
    (rf"{WHO} looked for the {THING}, but it was gone\.", "missed"),
    (rf"{WHO} did not see the {THING}\.", "missed"),
    (
        rf"{WHO} (?:was|felt) (?:very|so|quite|really) (?P<mood>\w+)(?:,? and (?:he |she )?\w+)?\.",
        "feel",
    ),
    (rf"{WHO} (?:was|felt) not \w+ but (?P<mood>\w+)(?:,? and (?:he |she )?\w+)?\.", "feel"),
    (rf"{WHO} \w+\.", ""),  # smiled, cried
    (rf"(?:In the end|From then on|So) {WHO} had the {THING}\.", "has"),
    (rf"(?:So|From then on) the {THING} was with {WHO}\.", "has"),
    (rf"(?:In the end t|T)he {THING} was (?:still )?{WHERE}\.", "told"),
    (r"The end\.|And that is all!|So they say\.|Good night\.", ""),
]
PATTERNS = [(re.compile(pattern), says) for pattern, says in PATTERNS]
COLOUR = re.compile(rf"({COLOURS}) (\w+)|(\w+)\. It was ({COLOURS})\.")
HOURS = (
    "In the morning",
    "At noon",
    "In the evening",
    "At night",
    "The next morning",
    "The next evening",
)
PRONOUN = re.compile(rf"(^|^(?:{'|'.join(HOURS)}) )(He|She|he|she)\b")
PRONOUNS = {name: person.pronoun for name, person in WORLD_PEOPLE.items()}


class Reader:
    def __init__(self, text: str):
        self.at, self.has, self.lies, self.mood, self.subject = {}, {}, {}, {}, ""
        self.colour = {m[2] or m[3]: m[1] or m[4] for m in COLOUR.finditer(text)}
        for sentence in re.findall(r'(?:"[^"]*"|[^".!])+[.!]', text.replace("\n", " ")):
            self.read(sentence.strip())

    def read(self, sentence: str) -> None:
        sentence = PRONOUN.sub(lambda match: match[1] + self.who_is(match[2]), sentence)
        for pattern, says in PATTERNS:
            match = pattern.fullmatch(sentence)
            if match:
                said = match.groupdict()
                getattr(self, f"read_{says}", lambda said: None)(said)
                self.subject = said.get("who") or self.subject
                return
        raise AssertionError(f"what does this say? {sentence!r}")

    def who_is(self, pronoun: str) -> str:
        assert PRONOUNS[self.subject] == pronoun.lower(), (self.subject, pronoun)
        return self.subject

    def read_at(self, said):
        self.at[said["who"]] = said["place"]

    def read_go(self, said):
        assert self.at[said["who"]] != said["place"]
        self.read_at(said)

    def read_own(self, said):
        assert said["thing"] not in self.has and said["thing"] not in self.lies
        self.has[said["thing"]] = said["who"]

    def read_lie(self, said):
        self.lies[said["thing"]] = said["place"]

    def read_together(self, said):
        assert (
            self.at[said["who"]]
            == self.at[said["whom"]]
            == (said.get("place") or self.at[said["who"]])
        )

    def read_take(self, said):
        assert self.lies.pop(said["thing"]) == self.at[said["who"]]
        self.has[said["thing"]] = said["who"]

    def read_leave(self, said):
        assert self.has.pop(said["thing"]) == said["who"]
        self.lies[said["thing"]] = self.at[said["who"]]

    def read_keep(self, said):
        assert (
            self.has[said["thing"]] == said["who"] and self.at[said["who"]] == self.at[said["whom"]]
        )

    def read_give(self, said):
        self.read_keep(said)
        self.has[said["thing"]] = said["whom"]

    def read_told(self, said):
        assert self.lies[said["thing"]] == said["place"]

    def read_missed(self, said):
        who = said.get("who") or self.subject
        assert self.has.get(said["thing"]) != who and self.lies.get(said["thing"]) != self.at[who]

    def read_feel(self, said):
        self.mood[said["who"]] = said["mood"]

    def read_has(self, said):
        assert self.has[said["thing"]] == said["who"]

    def answer(self, question: str) -> str | None:
        """What the reader would say; of a place only its name."""
        if match := re.fullmatch(r"What colour is the (\w+)\?", question):
            return self.colour[match[1]]
        if match := re.fullmatch(r"Who has the (\w+)\?", question):
            return self.has[match[1]]
        if match := re.fullmatch(r"Where is (the )?(\w+)\?", question):
            return (self.lies if match[1] else self.at)[match[2]]
        if match := re.fullmatch(r"How does (\w+) feel\?", question):
            return self.mood[match[1]]
        raise AssertionError(f"what does this ask? {question!r}")


def test_an_independent_reader_finds_every_tale_coherent_and_answers_its_questions():
    rng = Random(0)
    for _ in range(1500):
        told = write_tale(rng)
        reader = Reader(told.text)
        for question, answer in told.questions:
            assert reader.answer(question) == answer.split()[-1], (told.text, question)


def test_the_reader_would_notice_an_incoherent_tale():
    text = (
        "Tom the boy was on the farm. Lily the girl was on the farm. Tom had a red kite. Lily gave"
        " the kite to Tom."
    )
    with pytest.raises(AssertionError):
        Reader(text)
    with pytest.raises(AssertionError):
        Reader(text.replace("Lily gave the kite to Tom", "She gave Lily the kite"))
    with pytest.raises(AssertionError, match="what does this say"):
        Reader("Tom flew over the sea.")


def test_an_impossible_act_is_refused():
    story = TaleState(Random(0), ["Tom", "Lily", "Ben"], ["kite"])
    story.stands("open", "Tom", "farm")
    story.stands("stands", "Lily", "farm")
    with pytest.raises(ValueError, match="give Lily kite Tom: impossible"):
        story.hand_over("give", "Lily", "kite", "Tom")
    with pytest.raises(ValueError, match="take Tom kite"):
        story.take("Tom", "kite")


def test_the_mood_of_a_tale_is_that_of_its_last_feeling():
    rng = Random(1)
    for _ in range(300):
        told = write_tale(rng)
        last = told.text.split("\n")[-1]
        moods = {
            mood
            for mood in ("good", "bad")
            if any(re.search(rf"\b{r}\b", last) for r in MOOD_REACTIONS[mood])
        }
        assert moods == {told.mood}
        assert any(word in last for word in MOOD_WORDS[told.mood])


def test_a_tale_is_the_same_story_in_both_languages():
    for seed in range(200):
        story = draw_story(Random(seed), "good", 2)
        english, chinese = tale_questions(story), tale_questions(story, "zh")
        assert [CHINESE_WORDS[answer.split()[-1]] for _, answer in english] == [
            answer for _, answer in chinese
        ]
        text = tell_tale(story.events, Random(seed), ALL_AUTHORS[seed % 4], "zh")
        assert not re.search("[A-Za-z{}]", text)
        assert all(answer in text for _, answer in chinese)
