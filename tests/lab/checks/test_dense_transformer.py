"""The checkers of lesson 18 accept right answers and name typical slips."""

import torch
from torch import nn

from course_lib.experiments import dense_changes
from course_lib.lab.checks import dense_transformer as check
from course_lib.lab.solutions import dense_transformer as solutions
from course_lib.models.gpt2 import count_parameters
from course_lib.models.hf_config import llama_config, llama_settings
from course_lib.models.llama import DEEPSEEK_7B, DEEPSEEK_67B, SMOLLM2_135M, Llama
from course_lib.training.schedules import multi_step
from tests.lab.checks.cases import Case, tests_of


def skeleton_1(a): ...


def skeleton_2(a, b): ...


def skeleton_4(a, b, c, d): ...


# Widths, heads, rates
# --------------------------------------------------------------------------------------------------


def width_by_search(d_model, d_ff):
    mlp = nn.Sequential(nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model))
    wanted = count_parameters(mlp)
    width = 1
    while abs(3 * d_model * (width + 1) - wanted) < abs(3 * d_model * width - wanted):
        width += 1
    return width


def keys_by_expand(k, n_heads):
    B, G, S, D = k.shape
    return k[:, :, None].expand(B, G, n_heads // G, S, D).reshape(B, n_heads, S, D)


def rate(read, total, warmup, peak, first=0.316, second=0.1, climb=True, strict=False):
    if climb and read < warmup:
        return read / warmup * peak
    late = [read > x * total if strict else read >= x * total for x in (0.8, 0.9)]
    return peak * (second if late[1] else first if late[0] else 1)


def rate_by_powers(read, total, warmup, peak):
    drops = (read >= 0.8 * total) + (read >= 0.9 * total)
    return peak * min(1, read / warmup) * 10 ** (-drops / 2)


# Configs
# --------------------------------------------------------------------------------------------------


def config_by_ifs(config):
    answer = {"n_kv_heads": config["num_attention_heads"], "rope_base": 10000, "tied": False}
    answer["d_head"] = config["hidden_size"] / config["num_attention_heads"]
    if config.get("num_key_value_heads") is not None:
        answer["n_kv_heads"] = config["num_key_value_heads"]
    if config.get("head_dim") is not None:
        answer["d_head"] = config["head_dim"]
    for table in (config, config.get("rope_parameters") or {}):
        answer["rope_base"] = table.get("rope_theta", answer["rope_base"])
    if "tie_word_embeddings" in config:
        answer["tied"] = config["tie_word_embeddings"]
    return answer


def changed(**changes):
    def read(config):
        answer = config_by_ifs(config)
        return answer | {word: change(config) for word, change in changes.items()}

    return read


def by_settings(config):
    with torch.device("meta"):
        sizes = {"max_position_embeddings": 8, "rms_norm_eps": 1e-6}
        return count_parameters(Llama(llama_settings(config | sizes)))


def parameters(c, kv=None, mlp=3, tables=None, norms=2, last=1):
    d, heads = c["hidden_size"], c["num_attention_heads"]
    kv = c["num_key_value_heads"] if kv is None else kv
    layer = 2 * d * d + 2 * d * (d // heads * kv) + mlp * d * c["intermediate_size"] + norms * d
    tables = 2 - c["tie_word_embeddings"] if tables is None else tables
    return c["num_hidden_layers"] * layer + tables * c["vocab_size"] * d + last * d


def flops(c, n, per=2, scores=2, head=True, kv_heads=False):
    bare = parameters(c, norms=0, last=0, tables=1 if head else 0)
    heads = c["num_key_value_heads"] if kv_heads else c["num_attention_heads"]
    width = c["hidden_size"] // c["num_attention_heads"] * heads
    return per * (bare + c["num_hidden_layers"] * scores * width * n)


CASES = {
    check.equal_width: Case(
        solution=solutions.equal_width_solution,
        skeleton=skeleton_2,
        also_right=[width_by_search, lambda d, f: int((2 * d * f + f + d) / (3 * d) + 0.5)],
        wrong=[
            (lambda d, f: round(2 * f / 3), "the biases are missing"),
            (lambda d, f: round(8 * d / 3), "d_ff is four times d_model"),
            (lambda d, f: int((2 * d * f + f + d) / (3 * d)), "rounded down"),
            (lambda d, f: int((2 * d * f + f + d) / (3 * d)) + 1, "rounded up"),
            (lambda d, f: (2 * d * f + f + d) / (3 * d), "no whole number"),
            (lambda d, f: round((2 * d * f + f + d) / (2 * d)), "three matrices"),
            (lambda d, f: 2 * d * f + f + d, "how many parameters the MLP has"),
            (lambda d, f: f, "at the same width"),
        ],
    ),
    check.shared_keys: Case(
        solution=solutions.shared_keys_solution,
        skeleton=skeleton_2,
        also_right=[keys_by_expand, lambda k, n: k[:, torch.arange(n) * k.shape[1] // n]],
        wrong=[
            (lambda k, n: k.repeat(1, n // k.shape[1], 1, 1), "the heads take turns"),
            (lambda k, n: keys_by_expand(k, n).flip(1), "reverse order"),
            (lambda k, n: k, "nothing is repeated"),
            (lambda k, n: k.repeat_interleave(n // k.shape[1], 2), "the tokens are repeated"),
            (lambda k, n: k.repeat_interleave(n // k.shape[1], 0), "the rows of the batch"),
            (lambda k, n: k.repeat_interleave(n, 1), "repeated n_heads times"),
        ],
    ),
    check.multi_step_rate: Case(
        solution=solutions.multi_step_rate_solution,
        skeleton=skeleton_4,
        also_right=[rate, rate_by_powers, lambda r, t, w, p: p * multi_step(float(r / t), w / t)],
        wrong=[
            (lambda *case: rate(*case, climb=False), "the warm-up is missing"),
            (lambda *case: rate(*case, first=1.0, second=0.316), "the first drop is missing"),
            (lambda *case: rate(*case, second=0.316), "the second drop is missing"),
            (lambda *case: rate(*case, second=0.0316), "not of the rate before it"),
            (lambda *case: rate(*case, first=0.1, second=0.01), "each drop divides by ten"),
            (lambda *case: rate(*case, second=0.0), "ends at 0"),
            (lambda *case: rate(*case, strict=True), "compare with >="),
            (lambda r, t, w, p: rate(r, t, w, 1.0), "the share of the peak"),
        ],
    ),
    check.read_config: Case(
        solution=solutions.read_config_solution,
        skeleton=skeleton_1,
        also_right=[config_by_ifs],
        wrong=[
            (changed(n_kv_heads=lambda c: c.get("num_key_value_heads")), "n_kv_heads is None"),
            (changed(n_kv_heads=lambda c: c.get("num_key_value_heads") or 1), "n_kv_heads is 1"),
            (changed(n_kv_heads=lambda c: c["num_attention_heads"]), "even where the file says"),
            (
                changed(d_head=lambda c: c["hidden_size"] // c["num_attention_heads"]),
                "wider than the stream",
            ),
            (changed(rope_base=lambda c: c.get("rope_theta", 10000)), "inside the table"),
            (
                changed(
                    rope_base=lambda c: (c.get("rope_parameters") or {}).get("rope_theta", 10000)
                ),
                "in the file itself",
            ),
            (changed(tied=lambda c: c.get("tie_word_embeddings", True)), "silence means False"),
            (lambda c: list(config_by_ifs(c).values()), "return a dictionary"),
        ],
    ),
    check.llama_parameters: Case(
        solution=solutions.llama_parameters_solution,
        skeleton=skeleton_1,
        also_right=[by_settings, parameters],
        wrong=[
            (lambda c: parameters(c, norms=0, last=0), "the norms are missing"),
            (lambda c: parameters(c, last=0), "the last norm"),
            (lambda c: parameters(c, norms=0), "the norms of the layers"),
            (lambda c: parameters(c, kv=c["num_attention_heads"]), "are d_model wide"),
            (lambda c: parameters(c, tables=1), "a matrix of its own"),
            (lambda c: parameters(c, tables=2), "counts once"),
            (lambda c: parameters(c, tables=0), "the token table is missing"),
            (lambda c: parameters(c, mlp=2), "this counts two"),
            (lambda c: parameters(c | {"num_hidden_layers": 1}), "that has one layer"),
        ],
    ),
    check.forward_flops: Case(
        solution=solutions.forward_flops_solution,
        skeleton=skeleton_2,
        also_right=[flops],
        wrong=[
            (lambda c, n: flops(c, n, per=1), "half of it"),
            (lambda c, n: flops(c, n, per=6), "that is training"),
            (lambda c, n: flops(c, n, scores=0), "attention itself is missing"),
            (lambda c, n: flops(c, n, scores=1), "half of attention"),
            (lambda c, n: flops(c, n, head=False), "the head is missing"),
            (lambda c, n: flops(c, n, kv_heads=True), "each head of *queries*"),
            (
                lambda c, n: flops(c, n) + 2 * c["vocab_size"] * c["hidden_size"],
                "multiplies nothing",
            ),
            (
                lambda c, n: (
                    flops(c, n) - 2 * c["tie_word_embeddings"] * c["vocab_size"] * c["hidden_size"]
                ),
                "computed all the same",
            ),
            (
                lambda c, n: flops(c | {"num_key_value_heads": c["num_attention_heads"]}, n),
                "serve num_key_value_heads",
            ),
            (lambda c, n: flops(c | {"num_hidden_layers": 1}, n), "that has one layer"),
        ],
    ),
}
test_checkers = tests_of(check, CASES)


def test_the_solutions_give_the_librarys_numbers():
    for settings in (DEEPSEEK_7B, DEEPSEEK_67B, SMOLLM2_135M):
        config = llama_config(settings)
        with torch.device("meta"):
            counted = count_parameters(Llama(settings))
        assert solutions.llama_parameters_solution(config) == counted
        told = solutions.read_config_solution(config)
        assert told == {
            "n_kv_heads": settings.n_kv_heads,
            "d_head": settings.d_head,
            "rope_base": settings.rope_base,
            "tied": settings.tied,
        }


def test_the_exercise_and_the_experiment_agree_on_the_width():
    """The experiment's other parameters don't change with the MLP alone."""
    assert dense_changes.fitting_d_ff(512, ("SwiGLU",)) == solutions.equal_width_solution(64, 256)
