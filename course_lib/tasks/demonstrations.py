"""Demonstrations of sums for fine-tuning: somebody shows the work, and may slip."""

from collections.abc import Sequence
from random import Random

from course_lib.tasks.arithmetic import draw_arithmetic_question
from course_lib.text.chat import END_THINK, THINK, ChatMessage
from course_lib.text.draw import draw_item
from course_lib.text.problems import MAX_PARTIAL, ChainProblem, signed_expression


def worked_answer(chain: ChainProblem, results: Sequence[int] | None = None) -> str:
    """Write a chain's solution, one sum per step, as some people on the small web do.

    `results` stand in for the right partial results, the first number among them.

    >>> worked_answer(ChainProblem((7, 5, 3), (1, -1)))
    '<think>first 7+5=12, then 12-3=9</think><answer>9</answer>'
    """
    results = chain.partial_results if results is None else results
    if len(results) != len(chain.numbers):
        raise ValueError(f"{len(results)} results for a chain of {len(chain.numbers)} numbers")
    steps = [
        f"{signed_expression((results[i], chain.numbers[i + 1]), chain.signs[i : i + 1])}"
        f"={results[i + 1]}"
        for i in range(len(chain.signs))
    ]
    return f"<think>first {', then '.join(steps)}</think><answer>{results[-1]}</answer>"


def slipped_answer(rng: Random, chain: ChainProblem) -> str:
    """Write a solution with one slip of 1 or 2, and go on rightly from there: a poor label.

    >>> slipped_answer(Random(0), ChainProblem((7, 5, 3), (1, -1)))
    '<think>first 7+5=12, then 12-3=10</think><answer>10</answer>'
    """
    right = chain.partial_results
    slips = [
        (place, by)
        for place in range(1, len(right))
        for by in (-2, -1, 1, 2)
        if all(0 <= value + by <= MAX_PARTIAL for value in right[place:])
    ]
    place, by = draw_item(rng, slips)
    return worked_answer(chain, [*right[:place], *(value + by for value in right[place:])])


def draw_demonstrations(
    rng: Random, n: int, share_wrong: float = 0.0, attempts: bool = False
) -> list[tuple[str, str]]:
    """Draw `n` sums with worked answers; this share of the answers, rounded, has a slip.

    With `attempts` each user has tried first, see `wrong_attempt`. Gives pairs (question, answer).
    No sum is a held-out one. Raises ValueError if `n` is below 1 or the share is not one.

    >>> draw_demonstrations(Random(1), 2)[0]
    ('8+7+3=?', '<think>first 8+7=15, then 15+3=18</think><answer>18</answer>')
    """
    if n < 1 or not 0 <= share_wrong <= 1:
        raise ValueError(
            f"{n} demonstrations (at least 1), a share of {share_wrong} wrong (0 to 1)"
        )
    wrong, found = round(share_wrong * n), []
    for number in range(n):
        question = draw_arithmetic_question(rng)
        slip = number < wrong
        answer = slipped_answer(rng, question.truth) if slip else worked_answer(question.truth)
        asked = wrong_attempt(rng, question.truth) if attempts else question.text
        found.append((asked, answer))
    return found


def wrong_attempt(rng: Random, chain: ChainProblem) -> str:
    """Write what a user may say who has tried and slipped, and asks.

    >>> wrong_attempt(Random(0), ChainProblem((7, 5, 3), (1, -1)))
    'I got 7+5=12, then 12-3=10. 7+5-3=?'
    """
    steps = slipped_answer(rng, chain).removeprefix(f"{THINK}first ").partition(END_THINK)[0]
    return f"I got {steps}. {chain.question}"


def as_dialogue(question: str, answer: str) -> list[ChatMessage]:
    """Make the two messages of a question and its answer.

    >>> [message["role"] for message in as_dialogue("7+5=?", "12")]
    ['user', 'assistant']
    """
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
