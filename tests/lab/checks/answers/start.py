"""Answers to the exercises of the lesson "Start here"."""

import functools
import math
import re
import statistics
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import torch

from tests.lab.checks.answers.table import Answers, Slip

# next_character_counts: three right ones, then the slips


def counts_by_index(text, character):
    counts = {}
    for i in range(len(text) - 1):
        if text[i] == character:
            counts[text[i + 1]] = counts.get(text[i + 1], 0) + 1
    return counts


def counts_by_pattern(text, character):
    return Counter(re.findall(f"{re.escape(character)}(?=(.))", text, re.DOTALL))


def counts_of_all_pairs(text, character):
    after = defaultdict(lambda: defaultdict(int))
    for current, following in zip(text, text[1:], strict=False):
        after[current][following] += 1
    return after[character]


def counts_after_split(text, character):
    return Counter(piece[0] for piece in text.split(character)[1:] if piece)


def counts_before(text, character):
    return Counter(current for current, following in pairwise(text) if following == character)


def counts_beyond_the_end(text, character):
    counts = Counter()
    for i in range(len(text)):
        if text[i] == character:
            counts[text[i + 1]] += 1
    return counts


def counts_of_one(text, character):
    counts = {}
    for current, following in pairwise(text):
        if current == character:
            counts[following] = 1
    return counts


def counts_in_small_letters(text, character):
    pairs = pairwise(text.lower())
    return Counter(following for current, following in pairs if current == character.lower())


def counts_without_white_space(text, character):
    pairs = pairwise(text)
    return Counter(b for a, b in pairs if a == character and not b.isspace())


def counts_without_last_pair(text, character):
    return Counter(text[i + 1] for i in range(len(text) - 2) if text[i] == character)


def counts_without_first_pair(text, character):
    return Counter(text[i + 1] for i in range(1, len(text) - 1) if text[i] == character)


def counts_with_zeros(text, character):
    counts = dict.fromkeys(text, 0)
    for current, following in pairwise(text):
        if current == character:
            counts[following] += 1
    return counts


def counts_of_every_second_pair(text, character):
    pairs = zip(text[::2], text[1::2], strict=False)
    return Counter(following for current, following in pairs if current == character)


def counts_around_the_end(text, character):
    following = text[1:] + text[:1]
    return Counter(b for a, b in zip(text, following, strict=True) if a == character)


def counts_as_shares(text, character):
    counts = counts_by_index(text, character)
    return {following: n / sum(counts.values()) for following, n in counts.items()}


# average_bits


def bits_by_numpy(probabilities):
    return -np.log2(np.array(probabilities)).mean()


def bits_by_reduce(probabilities):
    total = functools.reduce(lambda bits, p: bits + math.log(1 / p, 2), probabilities, 0.0)
    return total / len(probabilities)


def bits_by_product(probabilities):
    return -math.log2(math.prod(probabilities)) / len(probabilities)


def bits_of_unsure_ones(probabilities):
    unsure = [p for p in probabilities if p < 1]
    return sum(-math.log2(p) for p in unsure) / len(unsure)


def bits_of_half_probabilities(probabilities):
    return sum(1 / p / 2 for p in probabilities) / len(probabilities)


# apply_temperature


def temperature_by_lists(probabilities, temperature):
    powers = [p ** (1 / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


def temperature_by_numpy(probabilities, temperature):
    powers = np.array(probabilities) ** (1 / temperature)
    return (powers / powers.sum()).tolist()


def temperature_by_softmax(probabilities, temperature):
    logits = torch.tensor(probabilities, dtype=torch.float64).log()
    return (logits / temperature).softmax(0).tolist()


def temperature_as_power(probabilities, temperature):
    powers = [p**temperature for p in probabilities]
    return [power / sum(powers) for power in powers]


def temperature_as_divisor(probabilities, temperature):
    divided = [p / temperature for p in probabilities]
    return [p / sum(divided) for p in divided]


def temperature_of_probabilities_as_logits(probabilities, temperature):
    powers = [math.exp(p / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


def temperature_by_logarithms(probabilities, temperature):
    powers = [math.exp(math.log(p) / temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


def temperature_without_zeros(probabilities, temperature):
    return temperature_by_lists([p for p in probabilities if p > 0], temperature)


def temperature_sorted(probabilities, temperature):
    return sorted(temperature_by_lists(probabilities, temperature), reverse=True)


def temperature_in_whole_powers(probabilities, temperature):
    powers = [p ** (1 // temperature) for p in probabilities]
    return [power / sum(powers) for power in powers]


def temperature_by_largest(probabilities, temperature):
    powers = [p ** (1 / temperature) for p in probabilities]
    return [power / max(powers) for power in powers]


def temperature_of_raised_zeros(probabilities, temperature):
    return temperature_by_lists([p + 0.001 for p in probabilities], temperature)


def temperature_with_running_total(probabilities, temperature):
    new, total = [], 0.0
    for p in probabilities:
        power = p ** (1 / temperature)
        total += power
        new.append(power / total)
    return new


ANSWERS = {
    "next_character_counts": Answers(
        right=[counts_by_index, counts_by_pattern, counts_of_all_pairs],
        wrong=[
            Slip(
                counts_after_split,
                "split at the character: doubled ones are lost",
                r"itself|doubl|twice|overlap|repeat|in a row|\brun",
            ),
            Slip(
                counts_before,
                "what comes before",
                r"before|preced|backward|other way|order|direction",
            ),
            Slip(
                counts_beyond_the_end,
                "looks beyond the last character",
                r"\bend|last|IndexError|out of range|nothing (comes|follows)",
            ),
            Slip(
                counts_of_one,
                "every count is 1",
                r"how often|how many|only once|each once|always 1|\+ ?1|add|kinds|distinct",
            ),
            Slip(counts_in_small_letters, "all in small letters", r"capital|lower|upper|\bcase"),
            Slip(
                counts_without_white_space,
                "spaces and line ends left out",
                r"space|line end|new ?line|\\n",
            ),
            Slip(counts_without_last_pair, "last pair missing", r"last|\bend\b|final"),
            Slip(counts_without_first_pair, "first pair missing", r"first|begin|start"),
            Slip(
                counts_with_zeros,
                "a key with count 0 for what never follows",
                r"no key|never|count of 0|count 0|\b0(?!\.)\b|zero",
            ),
            Slip(
                counts_of_every_second_pair,
                "every second pair only",
                r"every second|overlap|skip|half|each character|all pairs|both",
            ),
            Slip(
                counts_around_the_end,
                "the first character follows the last",
                r"wrap|round|circ|first|\bend\b|last",
            ),
            Slip(
                counts_as_shares,
                "shares instead of counts",
                r"share|probabilit|divid|fraction|total|whole number|sum to 1",
            ),
        ],
    ),
    "average_bits": Answers(
        right=[
            lambda probabilities: statistics.fmean(-math.log2(p) for p in probabilities),
            bits_by_numpy,
            bits_by_reduce,
        ],
        wrong=[
            Slip(
                lambda probabilities: -math.log2(sum(probabilities) / len(probabilities)),
                "bits of the average probability",
                r"averag\w* (of )?(the )?probabilit|mean probabilit|averag\w+ (first|before)|"
                r"before (the )?averag|of the probabilities",
            ),
            Slip(
                lambda probabilities: sum(-math.log(p) for p in probabilities) / len(probabilities),
                "nats instead of bits",
                r"\bnat|natural|log2|log₂|base|\bln\b",
                r"log10|decimal",
            ),
            Slip(
                lambda probabilities: sum(-math.log2(p) for p in probabilities),
                "sum instead of average",
                r"\bsum|total|divid|averag",
            ),
            Slip(
                bits_by_product,
                "logarithm of the product, 0 for a long text",
                r"product|multipl|underflow|too small|rounds? to 0|becomes 0|thousand|long",
            ),
            Slip(
                lambda probabilities: sum(map(math.log2, probabilities)) / len(probabilities),
                "sign forgotten",
                r"\bsign\b|negative|minus|−",
            ),
            Slip(
                lambda probabilities: (
                    sum(-math.log2(p) for p in probabilities) / (len(probabilities) - 1)
                ),
                "divided by one less than their number",
                r"one less|n ?[-−] ?1|too small a number|how many there are|divid",
            ),
            Slip(
                lambda probabilities: -sum(p * math.log2(p) for p in probabilities),
                "entropy: costs weighted with the probabilities",
                r"weigh|entropy|multipl|times p|p ?[·*] ?log",
            ),
            Slip(
                lambda probabilities: (
                    sum(math.ceil(-math.log2(p)) for p in probabilities) / len(probabilities)
                ),
                "each cost rounded up",
                r"round|whole|integer|fraction",
            ),
            Slip(
                lambda probabilities: (
                    2 ** (sum(-math.log2(p) for p in probabilities) / len(probabilities))
                ),
                "perplexity",
                r"perplexity|2 ?\*\*|2 to the|power of|exponent",
            ),
            Slip(
                bits_of_unsure_ones,
                "certain ones left out",
                r"certain|sure|probability (of )?1\b|\b1\.0\b|by zero",
            ),
            Slip(
                lambda probabilities: (
                    -sum(math.log10(p) for p in probabilities) / len(probabilities)
                ),
                "logarithm to the base 10",
                r"log10|log₁₀|base|log2|log₂",
                r"\bnats\b|natural",
            ),
            Slip(bits_of_half_probabilities, "1 / (2 p) fits 1/2 and 1/4 alone", None),
        ],
    ),
    "apply_temperature": Answers(
        right=[temperature_by_lists, temperature_by_numpy, temperature_by_softmax],
        wrong=[
            Slip(
                temperature_as_power,
                "power T instead of 1/T",
                r"1 ?/ ?(T\b|temperature)|inver|reciproc|other way|opposite|upside",
            ),
            Slip(
                lambda probabilities, temperature: [p ** (1 / temperature) for p in probabilities],
                "not divided by the sum",
                r"\bsum|total|normal",
            ),
            Slip(
                temperature_as_divisor,
                "divided by T instead of raised to a power",
                r"power|unchanged|nothing changes|not change|same|as they were|ignore",
            ),
            Slip(
                temperature_of_probabilities_as_logits,
                "softmax of the probabilities",
                r"softmax|\bexp|logit|0 (must )?stay|stay 0|zero|\blog",
            ),
            Slip(
                temperature_by_logarithms, "the logarithm of 0", r"0 has|log\w* of 0|zero|logarithm"
            ),
            Slip(
                temperature_without_zeros,
                "zeros left out",
                r"zero|\b0(?!\.)\b|length|as many|left out|missing|drop|how many",
            ),
            Slip(temperature_sorted, "sorted", r"order|sort|place"),
            Slip(temperature_in_whole_powers, "1 // T", r"//|whole|integer|floor|rounded"),
            Slip(temperature_by_largest, "divided by the largest", r"largest|\bmax|\bsum|total"),
            Slip(
                temperature_of_raised_zeros,
                "a little added to every probability",
                r"0 (must )?stay|zero|add",
            ),
            Slip(
                temperature_with_running_total,
                "divided by the running total",
                r"running|so far|before|\bsum|total",
            ),
            Slip(
                lambda probabilities, temperature: [
                    round(p, 3) for p in temperature_by_lists(probabilities, temperature)
                ],
                "rounded to three digits",
                r"round|digit|precis|exact|close|accura|decimal",
            ),
        ],
    ),
}
