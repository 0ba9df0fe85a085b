"""Each idea alone: variants are chosen by the first seed, and the table says what the runs say."""

import pytest
import torch

from course_lib.experiments import record_ideas
from course_lib.experiments.record import RecordRun
from course_lib.experiments.record_ideas import (
    ALL_KEPT,
    NO_IDEA,
    PLAIN,
    SPEED_IDEAS,
    chosen_runs,
    idea_recipe,
    ideas_report,
    main,
    variant_words,
)
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.models.speedrun import Speedrun

IDEAS = [(idea, variant) for idea, them in SPEED_IDEAS.items() for variant in range(len(them))]


@pytest.mark.parametrize("idea, variant", IDEAS)
def test_every_idea_makes_a_recipe_that_differs_from_v1(idea, variant):
    recipe = idea_recipe(idea, variant)
    model, plain = recipe.build(40), idea_recipe(NO_IDEA).build(40)
    assert isinstance(model, Speedrun)
    optimizer = recipe.settings.optimizer
    changes = (
        model.settings != plain.settings
        or optimizer.keywords != {"muon_lr": 0.03, "adam_lr": 0.02}
        or len(recipe.batches.phases) > 1
    )
    assert changes == (idea != NO_IDEA)
    assert (variant_words(idea, variant) == "-") == (idea == NO_IDEA)


def test_the_first_row_is_v1_itself():
    settings = idea_recipe(NO_IDEA).build(40).settings
    torch.manual_seed(0)
    ours = Speedrun(settings)
    torch.manual_seed(0)
    size = {"max_seq_len": 64, "d_model": 64, "n_layers": 4, "n_heads": 4, "tied": True}
    theirs = Llama(LlamaSettings(40, **size))
    ids = torch.arange(40)[None]
    torch.testing.assert_close(ours(ids), theirs(ids), rtol=0, atol=0)


def test_the_command_chooses_variants_by_the_first_seed_and_goes_on(tmp_path, monkeypatch):
    made = []
    bits = {"V1, Muon": 1.0, "plain": 1.5, "course's best": 0.5, "cautious decay": 0.9}

    def run(recipe, seed, seconds, documents):
        made.append((recipe.name, seed))
        decay = recipe.settings.optimizer
        strong = getattr(decay, "keywords", {}).get("cautious_decay") == 1.0
        score = bits[recipe.name] - 0.2 * strong + 0.01 * seed
        return RecordRun(seed, score, seconds, 100, 1000, 7)

    monkeypatch.setattr(record_ideas, "run_entry", run)
    monkeypatch.setattr(record_ideas, "validation_documents", lambda _: ("text",))
    asked = ["--out", str(tmp_path), "--seconds", "2", "--only", NO_IDEA, "cautious decay"]
    for _ in range(2):
        main(asked)
    # three seeds of four rows, and one more variant with the first seed
    assert len(made) == 3 * 4 + 1 and made.count(("cautious decay", 0)) == 2
    table = (tmp_path / "ideas.md").read_text()
    assert (
        "| cautious decay | cautious_decay 1.0 | 0.710 (0.700-0.720) | +0.300 | 3 of 3 | 20 |"
        in (table)
    )
    order = [table.index(f"| {name} |") for name in (ALL_KEPT, "cautious decay", NO_IDEA, PLAIN)]
    assert order == sorted(order) and "| GPT-2, AdamW | see `record_recipes` | 1.510" in table


def test_runs_of_another_budget_are_left_out():
    key = {"variant": 0, "seconds": 1.0, "steps": 10, "parameters": 7}
    runs = [
        key | {"idea": NO_IDEA, "budget": budget, "seed": 0, "bits_per_byte": bits}
        for budget, bits in ((1.0, 2.0), (5.0, 1.0))
    ]
    assert "2.000" in ideas_report(runs, 1.0) and "1.000" not in ideas_report(runs, 1.0)


def test_of_variants_with_one_seed_each_the_better_one_is_chosen():
    runs = [
        {"idea": "QK-norm", "variant": variant, "seed": 0, "bits_per_byte": bits}
        for variant, bits in enumerate((1.0, 0.9, 1.1))
    ]
    assert [run["variant"] for run in chosen_runs(runs, "QK-norm")] == [1]
    assert chosen_runs(runs, "softcap") == []
