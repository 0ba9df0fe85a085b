"""The figures of lesson 18 say what their numbers say."""

import re

from course_lib.lab.explore import dense_transformer as explore


def alts(widget) -> list[str]:
    """The alternative texts of all frames, in order."""
    return [
        re.search(r'aria-label="([^"]*)"', frame.value)[1] for frame in widget.children[-1].children
    ]


STEPS = [
    explore.ChangeStep("GPT-2", [1.0, 2.0], 100, 24, 16),
    explore.ChangeStep("rotary", [0.5, 0.7], 101, 24, 18),
    explore.ChangeStep("GQA", [0.75, 0.75], 99, 12, 20),
]


def test_morph_tells_sizes_results_and_the_step_before():
    told = alts(explore.morph(STEPS, (4, 2), start=1))
    assert told[0] == (
        "GPT-2: 100 parameters, MLP 16 wide; cache: 24 numbers per token; 1.500 bits per byte, mean"
        " of 2 seeds."
    )
    assert "0.600 bits" in told[1] and told[1].endswith("-0.900 against the step before.")
    assert "cache: 12 numbers" in told[2] and told[2].endswith("+0.150 against the step before.")


def test_morph_changes_the_drawing_with_each_step():
    first, second, third = (
        frame.value for frame in explore.morph(STEPS, (4, 2), 0).children[-1].children
    )
    assert "position table" in first and "position table" not in second and ">rotary<" in second
    assert "4 keys" in second and "2 keys" in third and explore.LIT not in first
    assert second.count(explore.LIT) == third.count(explore.LIT) == 1
    # what is still to come shows no number
    assert "1.500" in first and "0.600" not in first


def test_config_words_light_the_part_that_they_set():
    config = {"hidden_size": 64, "num_attention_heads": 8, "intermediate_size": 100}
    widget = explore.config_words(config, "a model", start=1)
    told = alts(widget)
    assert told[0].startswith("hidden_size 64 of a model, ours: d_model.")
    assert told[2].startswith("intermediate_size 100 of a model, ours: d_ff.")
    frames = [frame.value for frame in widget.children[-1].children]
    assert all(frame.count(explore.LIT) == 1 for frame in frames)
    # left out: as many keys as heads, and a head of its own
    assert "8 keys" in frames[0] and ">head<" in frames[0]
    tied = explore.config_words(config | {"tie_word_embeddings": True}, "a model")
    assert "head = token table" in tied.still


def test_every_word_names_a_part_that_is_drawn():
    for word, (part, _, says) in explore.CONFIG_WORDS.items():
        config = {word: 8, "num_attention_heads": 8}
        widget = explore.config_words(config, "a model")
        frame = next(f.value for f in widget.children[-1].children if f">{word}: 8<" in f.value)
        # the class is no part of the drawing
        assert frame.count(explore.LIT) == (1 if part else 0) and says
