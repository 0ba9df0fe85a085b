"""Solutions of lesson 25's exercises, quoted in its notebook."""

import re
from math import comb


def rule_accuracy_solution(text: str, truth: str) -> float:
    answers = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    if not answers and "<think>" not in text:
        answers = re.findall(r"[0-9]+", text)
    return float(bool(answers) and answers[-1].strip() == truth)


def rule_format_solution(text: str) -> float:
    pieces = re.split(r"(</?(?:think|answer)>)", text)
    if pieces[1::2] != ["<think>", "</think>", "<answer>", "</answer>"]:
        return 0.0
    before, thought, between, answer, after = (piece.strip() for piece in pieces[::2])
    return float(bool(thought and answer) and not before + between + after)


def split_change_solution(
    before: tuple[float, float, float], after: tuple[float, float, float]
) -> tuple[float, float]:
    share, worked, direct = before
    new_share, new_worked, new_direct = after
    composition = (new_share - share) * (worked - direct)
    growth = new_share * (new_worked - worked) + (1 - new_share) * (new_direct - direct)
    return composition, growth


def pass_at_k_solution(n: int, right: int, k: int) -> float:
    return 1 - comb(n - right, k) / comb(n, k)


def read_tries_solution(text: str) -> list[tuple[str, int, bool]]:
    tries = []
    for chain in re.findall(r"[0-9]+(?:[+-][0-9]+=[0-9]+)+", text):
        expression = re.sub(r"=[0-9]+", "", chain)
        says = int(chain.split("=")[-1])
        makes = sum(map(int, re.findall(r"[+-]?[0-9]+", expression)))
        tries.append((expression, says, makes == says))
    return tries
