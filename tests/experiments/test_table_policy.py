"""The policy that is a table: its chances by enumeration, its samples by counting."""

import itertools
import math
from collections import Counter
from dataclasses import replace

import pytest
import torch

from course_lib.experiments.table_policy import (
    N_GOOD,
    TABLE_SETTINGS,
    TABLE_SIZE,
    TablePolicy,
    practise_table,
)
from course_lib.inference.rollout import completion_log_probs


def policy(seed=0):
    return TablePolicy(torch.randn(*TABLE_SIZE, generator=torch.Generator().manual_seed(seed)))


def test_the_success_probability_by_enumeration():
    T, V = TABLE_SIZE
    rows, total = policy().scores.softmax(-1).tolist(), 0.0
    for answer in itertools.product(range(V), repeat=T):
        if max(answer) < N_GOOD:
            chance = 1.0
            for t, token in enumerate(answer):
                chance *= rows[t][token]
            total += chance
    assert policy().success_probability() == pytest.approx(total, rel=1e-5)


def test_samples_follow_the_table_and_keep_its_log_probs():
    drawn = policy().sample(20_000, torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(completion_log_probs(policy(), drawn), drawn.log_probs)
    for t, row in enumerate(policy().scores.softmax(-1).tolist()):
        counts = Counter(drawn.ids[:, 1 + t].tolist())
        for token, chance in enumerate(row):
            assert counts[token] / 20_000 == pytest.approx(chance, abs=0.015)


def test_practice_makes_it_right_and_is_the_same_again():
    settings = replace(TABLE_SETTINGS, steps=15)
    made, curve = practise_table(0, settings)
    assert curve[-1] > 0.9 > 0.3 > curve[0] and len(curve) == 15
    assert curve[-1] == made.success_probability()
    assert practise_table(0, settings)[1] == curve


def test_a_cut_sampler_never_says_what_was_ruled_out_and_keeps_its_mask():
    made = policy().sample(500, torch.Generator().manual_seed(1), top_p=0.6)
    rows = policy().scores.softmax(-1)
    for t, row in enumerate(rows):
        order, total, left = row.argsort(descending=True).tolist(), 0.0, set()
        for token in order:
            if total < 0.6:
                left.add(token)
                total += row[token].item()
        assert set(made.ids[:, 1 + t].tolist()) <= left
        assert set(made.kept[0, t].nonzero()[:, 0].tolist()) == left
        chances = row[made.ids[:, 1 + t]] / total
        torch.testing.assert_close(made.log_probs[:, t].exp(), chances)
    with torch.no_grad():
        torch.testing.assert_close(completion_log_probs(policy(), made), made.log_probs)
    part = sum(rows[0, token].item() for token in range(N_GOOD) if made.kept[0, 0, token])
    alone = TablePolicy(policy().scores[:1].detach())
    total = rows[0][made.kept[0, 0]].sum().item()
    assert alone.success_probability(0.6) == pytest.approx(part / total, rel=1e-5)


def test_the_divergence_from_the_start_by_enumeration():
    made, start = policy(0), policy(1).scores.softmax(-1).tolist()
    made.start = policy(1).scores.detach()
    own, total = made.scores.softmax(-1).tolist(), 0.0
    for answer in itertools.product(range(TABLE_SIZE[1]), repeat=TABLE_SIZE[0]):
        chance = math.prod(own[t][token] for t, token in enumerate(answer))
        theirs = math.prod(start[t][token] for t, token in enumerate(answer))
        total += chance * math.log(chance / theirs)
    assert made.kl_from_start() == pytest.approx(total, rel=1e-5)
    assert policy().kl_from_start() == 0


def test_a_leash_holds_the_table_near_its_start():
    short = replace(TABLE_SETTINGS, steps=8)
    free, held = (practise_table(0, replace(short, beta=beta))[0] for beta in (0.0, 0.3))
    assert 0 < held.kl_from_start() < free.kl_from_start() / 2
