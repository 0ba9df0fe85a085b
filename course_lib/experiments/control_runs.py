"""What control codes buy, over three seeds: worth, steering, attribution, penalties, prompts.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.control_runs --out data/family

Writers are kept in `control_codes/`, the numbers in `control_codes.json`. Finished runs are kept: a
command that was stopped goes on where it was.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from course_lib.experiments import control_codes as control
from course_lib.experiments import control_measures as measures
from course_lib.experiments import control_prompts as prompts
from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import passage_log_probs
from course_lib.experiments.run_records import RunRecords, open_records, runs_parser, timed_measure
from course_lib.inference.generate import penalize_repeats
from course_lib.models.gpt2 import GPT2

SCORED_PAGES = 160  # held-out pages, each read behind every code
PAGES_PER_CODE = 4
GUIDANCE = (1.0, 2.0)
PENALTIES = (1.0, 1.1, 1.2, 1.5)
PENALTY_TEMPERATURES = (0.0, 0.5, 1.0)
FIRST_WORDS = {  # words that pages of one kind alone begin with
    "encyclopaedia": "A ball is made",
    "questions": "Q: What",
    "dialogue": "Ida:",
    "shop": "For sale:",
}
CONFIDENCE_EDGES = (0.0, 0.4, 0.6, 0.8, 0.95, 1.0)


def scored_pages() -> control.ControlPages:
    """Give the held-out pages that are read behind every code."""
    ids, codes = control.control_pages(held_out=True)
    return control.ControlPages(ids[:SCORED_PAGES], codes[:SCORED_PAGES])


@torch.no_grad()
def mean_nats(model: GPT2, ids: Int[Tensor, "N T"]) -> float:
    """Give the surprise at a page, in nats, its mean."""
    return -torch.cat([passage_log_probs(model, rows) for rows in ids.split(60)]).mean().item()


def measure_worth(model: GPT2) -> dict:
    """Say what each part of a code is worth in nats a page, and which code Bayes names."""
    ids, codes = scored_pages()
    table = measures.code_log_probs(model, ids)
    posterior = (table + measures.log_prior()).log_softmax(-1)
    unknown = measures.nats_with_parts(table, codes, ())
    known = [parts for n in (1, 2, 3) for parts in combinations(control.CODE_PARTS, n)]
    by_part = measures.part_posterior(posterior)
    return {
        "nats": -unknown.mean().item(),
        "worth": {
            " and ".join(parts): (measures.nats_with_parts(table, codes, parts) - unknown)
            .mean()
            .item()
            for parts in known
        },
        "left": -posterior.gather(1, codes[:, None]).mean().item(),
        "attribution": measures.part_accuracies(by_part, codes),
        "whole_code": (posterior.argmax(1) == codes).float().mean().item(),
        "calibration": calibration_table(by_part["author"], control.code_labels()["author"][codes]),
        "words": measures.part_accuracies(measures.classify_pages(ids), codes),
    }


def calibration_table(log_probs: Float[Tensor, "N K"], labels: Int[Tensor, "N"]) -> list[dict]:
    """Group guesses by their confidence: how many, how sure, and how often right."""
    sure, guesses = log_probs.exp().max(1)
    rows, right = [], (guesses == labels).float()
    for low, high in zip(CONFIDENCE_EDGES, CONFIDENCE_EDGES[1:], strict=False):
        inside = (sure > low) & (sure <= high)
        if inside.any():
            confidence, accuracy = sure[inside].mean().item(), right[inside].mean().item()
            n = int(inside.sum())
            rows.append({"pages": n, "confidence": confidence, "accuracy": accuracy})
    return rows


def measure_plain(writer: str, model: GPT2) -> dict:
    """Give the surprise at held-out pages without a code, and with it where codes are known."""
    ids, codes = control.control_pages(held_out=True)
    found = {"nats": mean_nats(model, ids)} if writer != "CTRL" else {}
    if writer != "GPT-2":
        found["nats_coded"] = mean_nats(model, control.coded_rows(ids, codes))
    return found


def asked_codes() -> Int[Tensor, "N"]:
    """Ask for every code a few times."""
    return torch.arange(len(control.code_labels()["mood"])).repeat(PAGES_PER_CODE)


def judge_pages(rows: Int[Tensor, "N T"], codes: Int[Tensor, "N"]) -> dict:
    """Judge written pages: obedience to the code, known sentences, repetition."""
    return measures.part_accuracies(measures.classify_pages(rows), codes) | {
        "known": measures.known_sentences(rows),
        "repeated": measures.repeated_runs(rows),
        "different": len(set(measures.page_texts(rows))) / len(rows),
    }


def measure_steering(writer: str, model: GPT2, seed: int, temperature: float) -> dict:
    """Write pages behind every code; GPT-2, which has none, writes as many without."""
    codes = asked_codes()
    starts = measures.coded_starts(codes)
    if writer == "GPT-2":
        starts = torch.full_like(starts, texts.CLS_TOKEN)
    rows = measures.write_pages(model, starts, seed, temperature=temperature)
    return judge_pages(rows, codes)


def measure_first_words(model: GPT2, seed: int, kind: str) -> dict:
    """Continue the first words of a page of one kind under every code, at temperature 0.8.

    "against" is over the codes of other kinds: how often the code's part was obeyed, and how often
    the page became of the kind that its first words belong to.
    """
    codes = torch.arange(len(control.code_labels()["mood"])).repeat(2)
    rows = measures.write_pages(model, prompted_starts(codes, kind), seed, temperature=0.8)
    guesses = measures.classify_pages(rows)
    told = torch.tensor(control.CODE_PARTS["kind"].index(kind))
    other = control.code_labels()["kind"][codes] != told
    against = {part: log_probs[other] for part, log_probs in guesses.items()}
    by_words = (against["kind"].argmax(1) == told).float().mean().item()
    return measures.part_accuracies(against, codes[other]) | {"by_first_words": by_words}


def prompted_starts(codes: Int[Tensor, "N"], kind: str) -> Int[Tensor, "N P"]:
    """Put the first words of a kind of page behind each code."""
    words = torch.tensor(texts.encode_family(FIRST_WORDS[kind])).expand(len(codes), -1)
    return torch.cat([measures.coded_starts(codes), words], 1)


def measure_guidance(model: GPT2, seed: int, strength: float) -> dict:
    """Write at temperature 1, with the code's effect made stronger."""
    codes = torch.arange(len(control.code_labels()["mood"])).repeat(2)
    rule = partial(guided, model, strength)
    starts = measures.coded_starts(codes)
    return judge_pages(measures.write_by_rule(model, starts, rule, seed=seed), codes)


def guided(model: GPT2, strength: float, logits: Tensor, ids: Tensor) -> Tensor:
    return measures.guided_logits(model, logits, ids, strength)


def measure_penalty(model: GPT2, seed: int, temperature: float, penalty: float) -> dict:
    """Write a page for every code, with a penalty for tokens that were said."""
    codes = torch.arange(len(control.code_labels()["mood"]))
    settings = {"temperature": temperature, "repetition_penalty": penalty}
    rows = measures.write_pages(model, measures.coded_starts(codes), seed, **settings)
    return judge_pages(rows, codes)


SIGN_RULES = {  # how a penalty of 1.2 treats a score below 0, and where the scores have their 0
    "no penalty": lambda logits, ids: logits,
    "multiplied": lambda logits, ids: penalize_repeats(logits, ids, 1.2),
    "divided": lambda logits, ids: measures.released_penalty(logits, ids, 1.2),
    "multiplied, log-probabilities": lambda logits, ids: penalize_repeats(
        logits.log_softmax(-1), ids, 1.2
    ),
    "divided, log-probabilities": lambda logits, ids: measures.released_penalty(
        logits.log_softmax(-1), ids, 1.2
    ),
}


def measure_sign(model: GPT2, seed: int, name: str) -> dict:
    """Write greedily with one way of the penalty."""
    codes = torch.arange(len(control.code_labels()["mood"]))
    starts = measures.coded_starts(codes)
    rows = measures.write_by_rule(model, starts, SIGN_RULES[name], temperature=0.0, seed=seed)
    return judge_pages(rows, codes)


def measure_fact_prompts(model: GPT2, shots: int, whole_sentences: bool) -> dict:
    """Ask for all facts; say how many answers are right, and how many are whole sentences."""
    asked = prompts.fact_prompts()
    examples = prompts.example_text(shots, whole_sentences)
    lines = prompts.continue_texts(model, [f"{examples}Q: {p.question}\nA:" for p in asked])
    pairs = list(zip(lines, asked, strict=True))
    return {
        "right": sum(prompts.holds_answer(line, p) for line, p in pairs) / len(asked),
        "sentences": sum(line.endswith(".") for line in lines) / len(asked),
        "baseline": prompts.commonest_answers(asked),
    }


def measure_mood_prompts(model: GPT2, kind: str, question: str) -> dict:
    """Ask for the mood of held-out pages by the likelier continuation."""
    pages = prompts.mood_pages(kind)
    scores = torch.tensor([prompts.mood_score(model, page, question) for page, _ in pages])
    good = torch.tensor([good for _, good in pages])
    return {
        "right": ((scores > 0) == good).float().mean().item(),
        "says_good": (scores > 0).float().mean().item(),
        "baseline": max(good.float().mean().item(), 1 - good.float().mean().item()),
        "pages": len(pages),
    }


MOOD_TASKS = (("shop", "stars"), ("shop", "readers"), ("dialogue", "readers"), ("tale", "readers"))
FACT_TASKS = ((0, False), (2, False), (2, True))


def run_writer(records: RunRecords, writer: str, seed: int, folder: Path) -> None:
    """Measure all that is asked of one writer."""
    model = control.keep_writer(writer, seed, folder)

    def record(table: str, name: str, measure: Callable[..., dict], *given: object) -> None:
        key = {"table": table, "writer": writer, "name": name, "seed": seed}
        records.get(lambda: timed_measure(lambda: measure(*given)), **key)

    record("plain", "", measure_plain, writer, model)
    if writer == "GPT-2":
        record("steering", "temperature 0.8", measure_steering, writer, model, seed, 0.8)
        run_prompts(record, model)
    if writer == "CTRL":
        for temperature in (0.8, 1.0):
            name = f"temperature {temperature}"
            record("steering", name, measure_steering, writer, model, seed, temperature)
        record("worth", "", measure_worth, model)
        for kind in FIRST_WORDS:
            record("first words", kind, measure_first_words, model, seed, kind)
        run_penalties(record, model, seed)
    if writer == "both":
        for strength in GUIDANCE:
            record("guidance", str(strength), measure_guidance, model, seed, strength)


def run_penalties(record: Callable[..., None], model: GPT2, seed: int) -> None:
    """Write with every penalty at every temperature, and by every rule for the sign."""
    for temperature in PENALTY_TEMPERATURES:
        for penalty in PENALTIES:
            name = f"temperature {temperature}, penalty {penalty}"
            record("penalty", name, measure_penalty, model, seed, temperature, penalty)
    for name in SIGN_RULES:
        record("sign", name, measure_sign, model, seed, name)


def run_prompts(record: Callable[..., None], model: GPT2) -> None:
    """Pose every task as text."""
    for shots, whole in FACT_TASKS:
        form = "" if not shots else ", whole sentences" if whole else ", short"
        record("facts", f"{shots} examples{form}", measure_fact_prompts, model, shots, whole)
    for kind, question in MOOD_TASKS:
        record("mood", f"{kind}, {question}", measure_mood_prompts, model, kind, question)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = runs_parser("control_runs", file="control_codes.json", seeds=control.CONTROL_SEEDS)
    asked = parser.parse_args(arguments)
    records = open_records(asked.out, "control_codes.json")
    for seed in asked.seeds:
        for writer in control.CONTROL_WRITERS:
            run_writer(records, writer, seed, asked.out / "control_codes")


if __name__ == "__main__":
    main()
