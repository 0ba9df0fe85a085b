"""Solutions of lesson 00; the notebook quotes them."""

import math
from collections import Counter


def followers_solution(text, character):
    counts = Counter()
    for a, b in zip(text, text[1:], strict=False):
        if a == character:
            counts[b] += 1
    return counts


def bits_solution(chances):
    return sum(-math.log2(chance) for chance in chances) / len(chances)


def sharpen_solution(chances, temperature):
    powers = [chance ** (1 / temperature) for chance in chances]
    return [power / sum(powers) for power in powers]
