"""Rotary positions in the words of Hugging Face's config.json, both ways."""

from course_lib.layers.position import PositionInterpolation, RotaryScaling, YaRN
from course_lib.models.settings_check import as_positive_number, as_whole_number

YARN_NUMBERS = {"beta_fast": 32.0, "beta_slow": 1.0, "mscale": None, "mscale_all_dim": None}
ROPE_WORDS = {  # the words that each kind of scaling reads
    "default": (),
    "linear": ("factor",),
    "yarn": ("factor", "original_max_position_embeddings", *YARN_NUMBERS),
}
ROPE_FIXED = {"partial_rotary_factor": (1.0, None), "attention_factor": (None,)}
YARN_FIXED = {"truncate": (True, None)}


def rotary_config(base: float, scaling: RotaryScaling | None) -> dict:
    """Tell base and scaling as theirs does in `rope_parameters`."""
    words = {"rope_type": "default", "rope_theta": base}
    if scaling is not None:
        words |= {"rope_type": "linear", "factor": scaling.factor}
    if isinstance(scaling, YaRN):
        numbers = {word: getattr(scaling, word) for word in YARN_NUMBERS}
        words |= {
            "rope_type": "yarn", "original_max_position_embeddings": scaling.trained_length,
            **{word: number for word, number in numbers.items() if number is not None},
        }  # fmt: skip
    return words


def rotary_settings(config: dict) -> dict:
    """Read the base of the rotary speeds and how they are stretched, under our names.

    Before transformers 5 `rope_scaling` told how, and `rope_theta` stood beside it; now both are in
    `rope_parameters`. As there, `rope_scaling` is obeyed where it says anything, even beside
    today's word. Raises ValueError for a kind or word that ours lacks: theirs calls "dynamic" what
    turns each text by its length, so that what a cache holds would no longer fit.
    """
    word = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(word) or {}
    if not isinstance(rope, dict):
        raise ValueError(f"{word} is {rope!r} there, which is no table of words")
    check_rope_words(word, rope)
    base = rope.get("rope_theta", config.get("rope_theta", 10_000.0))
    return {
        "rope_base": as_positive_number("rope_theta", base),
        "rope_scaling": rope_scaling(word, rope, config.get("max_position_embeddings")),
    }


def rope_kind(rope: dict) -> str:
    """Give the kind of rotary positions that a configuration names, in its new word or the old."""
    return rope.get("rope_type", rope.get("type", "default"))


def check_rope_words(name: str, rope: dict) -> None:
    """Raise a ValueError that names the first word or value that may give other rotations."""
    kind = rope_kind(rope)
    spoken = "rope_type" if "rope_type" in rope else "type"
    if kind not in ROPE_WORDS:
        known = " or ".join(map(repr, ROPE_WORDS))
        raise ValueError(f"{name}.{spoken} is {kind!r} there; our rotary positions know {known}")
    fixed = ROPE_FIXED | (YARN_FIXED if kind == "yarn" else {})
    for word, value in rope.items():
        if word in fixed:
            if value not in fixed[word]:
                raise ValueError(
                    f"{name}.{word} is {value!r} there; ours know {fixed[word][0]!r} alone"
                )
        elif word not in ("rope_type", "type", "rope_theta", *ROPE_WORDS[kind]):
            raise ValueError(
                f"{name}.{word} is {value!r:.200} there; our {kind} positions do not know that word"
            )


def rope_scaling(name: str, rope: dict, max_seq_len: int | None) -> RotaryScaling | None:
    """Read how the positions are stretched; numbers that a file leaves out are theirs."""
    kind = rope_kind(rope)
    if kind == "default":
        return None
    if "factor" not in rope:
        raise ValueError(f"{name} is {rope!r:.200} there, without a factor")
    factor = as_positive_number(f"{name}.factor", rope["factor"])
    if kind == "linear":
        return PositionInterpolation(factor)
    # theirs takes 0 and null for not told
    numbers = {word: rope.get(word) or usual for word, usual in YARN_NUMBERS.items()}
    length = rope.get("original_max_position_embeddings", max_seq_len)
    return YaRN(
        factor, as_whole_number(f"{name}.original_max_position_embeddings", length),
        **{
            word: None if number is None else as_positive_number(f"{name}.{word}", number)
            for word, number in numbers.items()
        },
    )  # fmt: skip
