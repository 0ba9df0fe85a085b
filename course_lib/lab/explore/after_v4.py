"""Interactive figures of lesson 34: a release's config word by word, and a memory's gates."""

import html
from collections.abc import Mapping, Sequence

from course_lib.lab.explore import frames
from course_lib.lab.plots import BLUE, ORANGE

# word of a config.json -> the lesson that builds it, and what it says
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "size": {
        "vocab_size": ("03", "tokens of the vocabulary"),
        "hidden_size": ("08", "numbers in a token's vector, ours: d_model"),
        "num_hidden_layers": ("08", "blocks, ours: n_layers"),
        "rms_norm_eps": ("05", "what keeps RMSNorm from dividing by 0"),
        "tie_word_embeddings": ("04", "whether the embedding is the head as well"),
        "num_nextn_predict_layers": ("21", "modules that predict further ahead"),
    },
    "attention": {
        "num_attention_heads": ("06", "heads of queries"),
        "num_key_value_heads": ("06", "heads of keys and values: one serves all"),
        "head_dim": ("30", "numbers in a head; key and value are the same vector"),
        "qk_rope_head_dim": ("19", "how many of them are rotated: the last ones"),
        "q_lora_rank": ("19", "queries are made from a latent of this width"),
        "o_groups": ("30", "the output is projected in so many groups"),
        "o_lora_rank": ("30", "numbers that each group gives"),
        "sliding_window": ("30", "the last tokens, which every layer reads as they are"),
        "compress_ratios": ("30", "per layer: tokens in a block; 0: the window alone"),
        "index_n_heads": ("29", "heads of the indexer"),
        "index_head_dim": ("29", "numbers in an index key"),
        "index_topk": ("29", "blocks that the indexer keeps"),
    },
    "stream": {
        "hc_mult": ("31", "streams of the hyper-connections"),
        "hc_sinkhorn_iters": ("31", "rounds that make the mixing doubly stochastic"),
        "hc_eps": ("31", "what is added to the weights of the streams"),
    },
    "experts": {
        "moe_intermediate_size": ("20", "hidden numbers of an expert, ours: d_expert"),
        "n_routed_experts": ("20", "experts to choose from in each layer"),
        "n_shared_experts": ("20", "experts that every token visits"),
        "num_experts_per_tok": ("20", "experts that a token chooses"),
        "num_hash_layers": ("31", "first layers, where a table chooses by the token"),
        "scoring_func": ("31", "what turns a logit into an affinity"),
        "topk_method": ("21", "balance by a bias, without a loss"),
        "norm_topk_prob": ("21", "chosen affinities are divided by their sum"),
        "routed_scaling_factor": ("21", "and multiplied by this"),
        "hidden_act": ("07", "the gate's function in SwiGLU"),
        "swiglu_limit": ("31", "where the two factors of SwiGLU are cut off"),
    },
    "positions": {
        "max_position_embeddings": ("08", "tokens of the longest text"),
        "rope_theta": ("04", "base of the rotary positions, layers of the window alone"),
        "compress_rope_theta": ("30", "their base in all other layers"),
        "rope_scaling": ("19", "how they were stretched to longer texts (YaRN)"),
    },
}
NAMES = frozenset({"architectures", "model_type"})  # which class; no number


def lesson_of_word(word: str) -> str | None:
    """Name the lesson that builds what a word of a config.json says, or None."""
    return next((group[word][0] for group in GROUPS.values() if word in group), None)


def release_words(config: Mapping) -> frames.Explorer:
    """Choose a part of the model: the words of its config.json, and the lesson of each."""
    pages = [frames.card(_table(config, group)) for group in GROUPS.values()]
    return frames.choose(pages, list(GROUPS), name="part", start=1)


def _table(config: Mapping, group: Mapping[str, tuple[str, str]]) -> str:
    row = '<tr style="background-color: #ffffff; color: #222222">'
    cell = '<td style="text-align: left; padding: 2px 14px 2px 0">'
    rows = [
        f"{row}{cell}<code>{word}</code></td>{cell}{html.escape(_short(config[word]))}</td>"
        f"{cell}{lesson}</td>{cell}{html.escape(says)}</td></tr>"
        for word, (lesson, says) in group.items()
        if word in config
    ]
    titles = "".join(
        f'<th style="text-align: left; padding: 2px 14px 2px 0">{title}</th>'
        for title in ("word", "value", "lesson", "what it says")
    )
    return f"<table>{row}{titles}</tr>{''.join(rows)}</table>"


def _short(value: object) -> str:
    """Write a value in few letters: of a long list, the kinds and how many of each."""
    if isinstance(value, list) and len(value) > 8:
        kinds = dict.fromkeys(value)
        return ", ".join(f"{value.count(kind)} of {kind}" for kind in kinds)
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return f"{value:,}" if isinstance(value, int) and value >= 10_000 else str(value)


def memory_gates(runs: Mapping[str, Sequence[Mapping]]) -> frames.Explorer:
    """Choose a model and a seed: the darker a token, the further its memory is let in."""
    names = [name for name, found in runs.items() if found and "passage" in found[0]]
    pages = [[_passage(name, run) for run in runs[name]] for name in names]
    seeds = [run["seed"] for run in runs[names[0]]]
    return frames.grid(pages, {"model": names, "seed": seeds}, start=(0, 0))


def _passage(name: str, run: Mapping) -> str:
    """Two versions of one passage: its gates, and how many nats the memory saves at each token."""
    words = [word for word, _, _ in run["passage"]]
    gates = [gate for _, gate, _ in run["passage"]]
    helped = [nats for _, _, nats in run["passage"]]
    parts = [
        "<b>The gate at each token</b> (pale: 0, dark: 1)",
        _coloured(words, gates, ORANGE, [f"{gate:.2f}" for gate in gates]),
        "<b>Nats that it saves on the token after</b> (dark: 3 or more; none where it harms)",
        _coloured(
            words, [max(0.0, nats) / 3 for nats in helped], BLUE, [f"{n:+.2f}" for n in helped]
        ),
    ]
    return frames.card(f"{html.escape(name)}, seed {run['seed']}<br>" + "<br>".join(parts))


def _coloured(
    words: Sequence[str], shades: Sequence[float], colour: str, told: Sequence[str]
) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    spans = [
        f'<span title="{value}" style="background-color: rgba({red}, {green}, {blue},'
        f' {min(1.0, shade) * 0.75:.2f})">{html.escape(word).replace(chr(10), "⏎<br>")}</span>'
        for word, shade, value in zip(words, shades, told, strict=True)
    ]
    return f'<span style="font-family: monospace; line-height: 1.7">{"".join(spans)}</span>'
