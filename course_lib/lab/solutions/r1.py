"""Solutions of lesson 26's exercises, quoted in its notebook."""

import re
from collections.abc import Callable, Mapping, Sequence


def language_consistency_solution(text: str, language: str) -> float:
    thought = text.partition("<think>")[2].partition("</think>")[0]
    words = {
        "english": len(re.findall("[A-Za-z]+", thought)),
        "chinese": len(re.findall("[\u4e00-\u9fff]", thought)),
    }
    return words[language] / sum(words.values()) if any(words.values()) else 1.0


def sift_solution(texts: Sequence[str], faults: Mapping[str, Callable[[str], bool]]) -> list[str]:
    verdicts = []
    for text in texts:
        found = [name for name, has in faults.items() if has(text)]
        good = "one too many" if "kept" in verdicts else "kept"
        verdicts.append(found[0] if found else good)
    return verdicts


def examples_for_share_solution(
    n: int, share: float, reasoning_tokens: float, other_tokens: float
) -> tuple[int, int]:
    ours, theirs = share * other_tokens, (1 - share) * reasoning_tokens
    reasoning = round(n * ours / (ours + theirs))
    return reasoning, n - reasoning


def rule_and_preference_solution(
    questions: Sequence, answers: Sequence[str], is_reasoning: Callable, rule: Callable,
    judge: Callable,
) -> list[float]:  # fmt: skip
    chats = [i for i, question in enumerate(questions) if not is_reasoning(question)]
    said = [answers[i].rpartition("</think>")[2].strip() for i in chats]
    scores = judge([questions[i] for i in chats], said) if chats else []
    scored = dict(zip(chats, scores, strict=True))
    return [
        scored[i] if i in scored else rule(questions[i], answers[i]) for i in range(len(questions))
    ]


def one_trait_apart_solution(
    answers: Sequence[tuple[Mapping[str, bool], float]], trait: str
) -> float:
    won = []
    for traits, score in answers:
        for other, other_score in answers:
            apart = {name for name in traits if traits[name] != other[name]}
            if apart == {trait} and traits[trait]:
                won.append((score > other_score) + 0.5 * (score == other_score))
    return sum(won) / len(won) if won else 0.5
