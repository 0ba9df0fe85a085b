"""Solutions of lesson 00; the notebook quotes them."""

import math
from collections import Counter
from itertools import pairwise


def next_character_counts_solution(text, character):
    counts = Counter()
    for current, following in pairwise(text):
        if current == character:
            counts[following] += 1
    return counts


def average_bits_solution(probabilities):
    return sum(-math.log2(p) for p in probabilities) / len(probabilities)


def apply_temperature_solution(probabilities, temperature):
    powers = [p ** (1 / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]
