"""Tasks posed as text, in GPT-2's manner: the model is asked to go on, and never tuned.

Facts are asked for in the words of question pages; the mood of a page by which continuation is
likelier.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import passage_log_probs
from course_lib.inference.generate import generate
from course_lib.text.batches import pad_rows
from course_lib.text.small_web.facts import ENGLISH_FACTS, FACT_TOPICS, facts_about
from course_lib.text.small_web.world import CLOSING_VERDICTS

ANSWER_ROOM = 14
MOOD_TOKENS = 82  # of a page that a question is put behind
# two questions and their answers, short and in a whole sentence
SHOTS = (("capital", "Peru"), ("sound", "cat"))


class FactPrompt(NamedTuple):
    """A question, its answer, short and as a sentence, and the kind of question it is."""

    question: str
    answer: str
    sentence: str
    kind: str


def fact_prompts() -> list[FactPrompt]:
    """Ask for every fact of the encyclopaedia, but for those of the examples."""
    found = []
    for topic, names in FACT_TOPICS.items():
        for name in names:
            if (topic, name) not in SHOTS:
                for number, fact in enumerate(facts_about(topic, name)):
                    kind = ENGLISH_FACTS[topic][number].question
                    found.append(FactPrompt(fact.question, fact.answer, fact.sentence, kind))
    return found


def example_text(shots: int, whole_sentences: bool) -> str:
    """Write the first examples, with short answers or with whole sentences."""
    facts = [facts_about(topic, name)[0] for topic, name in SHOTS[:shots]]
    answers = [
        fact.sentence if whole_sentences else fact.answer[0].upper() + fact.answer[1:]
        for fact in facts
    ]
    pairs = zip(facts, answers, strict=True)
    return "".join(f"Q: {fact.question}\nA: {answer}\n" for fact, answer in pairs)


def continue_texts(model: nn.Module, prompts: Sequence[str]) -> list[str]:
    """Continue each prompt greedily to the end of its line; prompts of one length go together."""
    by_length, lines = defaultdict(list), {}
    for number, prompt in enumerate(prompts):
        ids = [texts.CLS_TOKEN, *texts.encode_family(prompt)]
        by_length[len(ids)].append((number, ids))
    for length, group in by_length.items():
        ids = torch.tensor([row for _, row in group])
        rows = generate(model, ids, ANSWER_ROOM, temperature=0.0, stop_token=texts.SEP_TOKEN)
        for (number, _), row in zip(group, rows[:, length:].tolist(), strict=True):
            text = texts.decode_family(token for token in row if token != texts.SEP_TOKEN)
            lines[number] = text.split("\n")[0].strip()
    return [lines[number] for number in range(len(prompts))]


def holds_answer(line: str, prompt: FactPrompt) -> bool:
    """Judge an answer: short or whole, it must hold the answer's words."""
    return prompt.answer.lower() in line.lower()


def commonest_answers(prompts: Sequence[FactPrompt]) -> float:
    """Score who gives each kind of question its commonest answer."""
    answers = defaultdict(Counter)
    for prompt in prompts:
        answers[prompt.kind][prompt.answer] += 1
    return sum(counts.most_common(1)[0][1] for counts in answers.values()) / len(prompts)


@torch.no_grad()
def continuation_log_probs(
    model: nn.Module, before: str, continuations: Sequence[str]
) -> Float[Tensor, "M"]:
    """Give log p(continuation | text before) of each continuation, in nats."""
    start = [texts.CLS_TOKEN, *texts.encode_family(before)]
    rows = [start + texts.encode_family(text) for text in continuations]
    ids = pad_rows(rows, texts.PAD_TOKEN)[0]
    return passage_log_probs(model, ids) - passage_log_probs(model, torch.tensor([start]))


# question -> what is put behind the page, and what goes on if the mood is good, and if it is bad
MOOD_QUESTIONS = {
    "stars": ("\nStars:", (" four of five.", " five of five."), (" one of five.", " two of five.")),
    "readers": (
        "\nReaders called this page",
        tuple(f" {word}." for word in CLOSING_VERDICTS["good"]),
        tuple(f" {word}." for word in CLOSING_VERDICTS["bad"]),
    ),
}


def mood_score(model: nn.Module, page: str, question: str) -> float:
    """Say by how many nats the good continuations are likelier than the bad ones."""
    before, good, bad = MOOD_QUESTIONS[question]
    log_probs = continuation_log_probs(model, page + before, [*good, *bad])
    return (log_probs[: len(good)].logsumexp(0) - log_probs[len(good) :].logsumexp(0)).item()


def mood_pages(kind: str, n: int = 40) -> list[tuple[str, bool]]:
    """Give short held-out pages of a kind without what follows the last line break of a shop's.

    With each page goes whether its mood is good.
    """
    found = []
    for page in texts.held_out_family_pages():
        if page.labels["source"] == kind and len(texts.encode_family(page.text)) <= MOOD_TOKENS:
            text = page.text.rpartition("\nStars:")[0] if kind == "shop" else page.text
            found.append((text, page.labels["mood"] == "good"))
    return found[:n]
