"""Eight relatives of BERT, trained on the same passages, for as long as each other.

    OMP_NUM_THREADS=1 python -m course_lib.experiments.family --out data/family

Each system is its paper's, shrunk: two layers, width 64. It reads in its paper's manner, and all
see the layout in which they are compared. Finished runs are kept: a command that was stopped goes
on where it was.
"""

import argparse
import copy
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from course_lib.experiments import family_texts as texts
from course_lib.experiments.cloze import (
    ClozePlaces,
    ClozeScore,
    cloze_places,
    left_cloze,
    masked_cloze,
    permuted_cloze,
    rescored_cloze,
)
from course_lib.experiments.run_records import RunRecords
from course_lib.models.albert import ALBERT, ALBERTSettings
from course_lib.models.bert import BERT, BERTSettings
from course_lib.models.ctrl import CTRL, CTRLSettings
from course_lib.models.distilbert import DistilBERT, DistilBERTSettings, student_of
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters
from course_lib.models.roberta import RoBERTa, RoBERTaSettings
from course_lib.models.xlnet import XLNet, XLNetSettings
from course_lib.text.batches import IGNORE_INDEX, shuffled_rows
from course_lib.text.corpus.document import Document
from course_lib.text.factorisation import partial_prediction
from course_lib.text.masking import MaskedRows, choose_tokens, corrupt_tokens, masked_batches
from course_lib.text.text_pairs import (
    PairRows,
    Sentences,
    TextPair,
    joined_sentences,
    next_sentence_pairs,
    sentence_order_pairs,
)
from course_lib.training.checkpoint import load_checkpoint, save_checkpoint
from course_lib.training.encoder_objectives import (
    distillation_objective,
    masked_lm_objective,
    masked_pair_objective,
    permutation_lm_objective,
)
from course_lib.training.objectives import Objective, next_token_objective
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import TokenBatch, train_to_the_end

FAMILY_WIDTH, FAMILY_LAYERS, FAMILY_N_HEADS = 64, 2, 4
FAMILY_BATCH = 48  # rows of a step
MASK_SHARE = 0.3  # of a passage; at this size it teaches faster than the papers' 0.15
# Of the loss of pairs beside that of hidden tokens. With the papers' 1 a batch as small as ours is
# too noisy: ALBERT never leaves the plateau of the commonest tokens.
PAIR_WEIGHT = 0.1
MASK_COPIES = 10  # of each row, where masks are static, as in BERT's release
XLNET_TARGETS = 7  # of some 24 tokens: as many as the masked models hide
FAMILY_SEEDS = (0, 1, 2)
# As many seconds of one processor as BERT's; each step reads as many rows.
FAMILY_STEPS = {
    "BERT": 1500,
    "RoBERTa": 1600,
    "ALBERT": 1500,
    "DistilBERT": 1500,
    "XLNet": 1300,
    "GPT-2": 1200,
    "CTRL": 1200,
    "Megatron BERT": 1500,
}


# The models
# --------------------------------------------------------------------------------------------------


@torch.no_grad()
def init_small_model(model: nn.Module, seed: int) -> nn.Module:
    """Draw first weights that suit a narrow model: N(0, 1 / fan-in), tables N(0, 0.02).

    Learned places begin as sinusoids, as small as the tokens. With the papers' 0.02 everywhere, a
    model 64 wide hears its own words too faintly to leave the plateau of the commonest tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, parameter in model.named_parameters():
        if name.endswith("position.weight") or name.endswith("position_embedding.weight"):
            parameter.copy_(0.02 * sinusoids(*parameter.shape))
        elif parameter.ndim >= 2:
            std = 0.02 if id(parameter) in tables else parameter.shape[-1] ** -0.5
            parameter.normal_(std=std, generator=generator)
    if hasattr(model, "mask_embedding"):  # XLNet's, a vector and no matrix
        model.mask_embedding.normal_(std=0.02, generator=generator)
    return model


def sinusoids(n: int, width: int) -> Tensor:
    """Give the sines and cosines of n places, in turn (Vaswani et al. 2017, section 3.5)."""
    angles = torch.arange(n)[:, None] * 10_000 ** (-torch.arange(0, width, 2) / width)
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def family_size(**changes: int) -> dict[str, int]:
    """Give the numbers that all models of the family have, with `changes`."""
    common = {"vocab_size": texts.FAMILY_VOCABULARY, "max_seq_len": texts.FAMILY_LENGTH}
    shape = {"d_model": FAMILY_WIDTH, "n_layers": FAMILY_LAYERS, "n_heads": FAMILY_N_HEADS}
    return common | shape | changes


def encoder_size(**changes: int) -> dict[str, int]:
    """Give the same, and the token of padding."""
    return family_size(pad_token=texts.PAD_TOKEN, **changes)


def new_bert(seed: int, **changes: int) -> BERT:
    """Build BERT, or with `pre_norm=True` Megatron's."""
    return init_small_model(BERT(BERTSettings(**encoder_size(**changes))), seed)


def new_roberta(seed: int, **changes: int) -> RoBERTa:
    """Build RoBERTa: places counted from behind the padding's, no second task."""
    return init_small_model(RoBERTa(RoBERTaSettings(**encoder_size(**changes))), seed)


def new_albert(seed: int, **changes: int) -> ALBERT:
    """Build ALBERT: one layer's weights for all, and a table half as wide as the stream."""
    settings = {"d_embedding": FAMILY_WIDTH // 2} | encoder_size(**changes)
    return init_small_model(ALBERT(ALBERTSettings(**settings)), seed)


def new_distilbert(seed: int, **changes: int) -> DistilBERT:
    """Build DistilBERT: half of the layers, no segments. `train_distilbert` begins elsewhere."""
    shape = encoder_size(n_layers=FAMILY_LAYERS // 2) | changes
    return init_small_model(DistilBERT(DistilBERTSettings(**shape)), seed)


def new_xlnet(seed: int, **changes: int) -> XLNet:
    """Build XLNet, which has no table of places."""
    settings = family_size(**changes)
    del settings["max_seq_len"]
    return init_small_model(XLNet(XLNetSettings(**settings)), seed)


def new_gpt2(seed: int, **changes: int) -> GPT2:
    """Build GPT-2."""
    return init_small_model(GPT2(GPT2Settings(**family_size(**changes))), seed)


def new_ctrl(seed: int, **changes: int) -> CTRL:
    """Build CTRL, with a token more for each control code."""
    vocabulary = texts.FAMILY_VOCABULARY + len(control_codes())
    d_ff = 4 * FAMILY_WIDTH  # the paper's 6.4 would make it the largest
    settings = CTRLSettings(d_ff=d_ff, **family_size(vocab_size=vocabulary) | changes)
    return init_small_model(CTRL(settings), seed)


# What they read
# --------------------------------------------------------------------------------------------------


def hide_tokens(
    ids: Int[Tensor, "N T"],
    generator: torch.Generator,
    share: float = MASK_SHARE,
    maskable: Bool[Tensor, "N T"] | None = None,
    **corruption: float,
) -> MaskedRows:
    """Hide a share of each row's tokens, by BERT's rule of 80, 10 and 10 %.

    `maskable` None means all but the special tokens; `corruption` goes to `corrupt_tokens`.
    """
    maskable = texts.maskable_places(ids) if maskable is None else maskable
    chosen = choose_tokens(maskable, share, generator)
    others = texts.ordinary_ids()
    return corrupt_tokens(ids, chosen, texts.MASK_TOKEN, others, generator, **corruption)


def hidden_batches(
    ids: Int[Tensor, "N T"],
    seed: int,
    copies: int | None = None,
    batch_size: int = FAMILY_BATCH,
    **how,
) -> Iterator[TokenBatch]:
    """Batches of rows with hidden tokens: dynamic masks, or static ones in `copies`.

    `how` goes to `hide_tokens`.
    """
    return masked_batches(partial(hide_tokens, ids, **how), len(ids), batch_size, copies, seed)


def masked_passages(
    seed: int, copies: int | None = None, share: float = MASK_SHARE
) -> Iterator[TokenBatch]:
    """Batches of the training passages with hidden tokens, see `hidden_batches`."""
    return hidden_batches(texts.family_passages().ids, seed, copies, share=share)


def draw_pair_table(
    draw_pairs: Callable[[Sequence[Sentences], int], Iterator[TextPair]],
    generator: torch.Generator,
    paired: float,
) -> PairRows:
    """Write every passage as a pair of texts, or else, but for a share of `paired`, as one text."""
    passages = texts.passage_sentences()
    number = int(torch.randint(2**31, (), generator=generator))
    rows = texts.family_pair_rows(draw_pairs(passages, number))
    alone = torch.rand(len(passages), generator=generator) >= paired
    whole = texts.passage_rows(map(joined_sentences, passages))
    return PairRows(
        torch.where(alone[:, None], whole, rows.ids),
        rows.segments.masked_fill(alone[:, None], 0),
        rows.padding,
        rows.labels.masked_fill(alone, IGNORE_INDEX),
    )


@cache
def held_out_text_pairs(draw_pairs: Callable = next_sentence_pairs, seed: int = 5) -> PairRows:
    """Write every held-out passage of two sentences or more as a pair."""
    passages = texts.sentences_by_passage(texts.held_out_family_pages())
    return texts.family_pair_rows(draw_pairs(passages, seed))


@torch.no_grad()
def text_pair_accuracy(model: BERT | ALBERT, rows: PairRows) -> float:
    """Tell how many pairs get the right class."""
    logits = model.pair_logits(model.hidden(rows.ids, rows.segments, rows.padding))
    return (logits.argmax(-1) == rows.labels).float().mean().item()


def masked_pairs(
    seed: int,
    draw_pairs: Callable = next_sentence_pairs,
    copies: int | None = None,
    paired: float = 0.5,
) -> Iterator[TokenBatch]:
    """Batches for `masked_pair_objective`: a share `paired` are pairs, the others one text.

    Only of passages that have two sentences. The one text stands in for the layout in which all
    systems are compared; in BERT's release every row is a pair.
    """

    def corrupt(generator: torch.Generator) -> MaskedRows:
        rows = draw_pair_table(draw_pairs, generator, paired)
        hidden = hide_tokens(rows.ids, generator)
        inputs = torch.stack([hidden.inputs, rows.segments], 1)
        return MaskedRows(inputs, torch.cat([rows.labels[:, None], hidden.targets], 1))

    n = len(texts.passage_sentences())
    return masked_batches(corrupt, n, FAMILY_BATCH, copies, seed)


def ordered_passages(seed: int) -> Iterator[TokenBatch]:
    """Batches for `permutation_lm_objective`: passages, and the columns to predict, in order."""
    ids = texts.family_passages().ids
    ids = ids[texts.maskable_places(ids).sum(1) >= XLNET_TARGETS]
    generator = torch.Generator().manual_seed(seed + 1_000_000)
    for rows, allowed in shuffled_rows(ids, texts.maskable_places(ids), FAMILY_BATCH, seed):
        yield rows, partial_prediction(rows, allowed, XLNET_TARGETS, generator).targets


def next_token_passages(seed: int) -> Iterator[TokenBatch]:
    """Batches for left-to-right models: every token but the first is a target."""
    return shifted_batches(texts.family_passages().ids, seed)


def coded_passages(seed: int) -> Iterator[TokenBatch]:
    """Batches for CTRL: next tokens, with the page's control code in the place of [CLS]."""
    passages = texts.family_passages()
    codes = torch.tensor([code_of(page) for page in texts.family_pages()])
    return shifted_batches(with_codes(passages.ids, codes[passages.page]), seed)


def shifted_batches(ids: Int[Tensor, "N T"], seed: int) -> Iterator[TokenBatch]:
    """Batches of rows, and what comes next at each place; nothing is asked at padding."""
    targets = ids[:, 1:].masked_fill(ids[:, 1:] == texts.PAD_TOKEN, IGNORE_INDEX)
    return shuffled_rows(ids[:, :-1], targets, FAMILY_BATCH, seed)


def control_codes() -> list[tuple[str, str, str]]:
    """Give every control code: what kind of page, in which mood, by whom."""
    return list(product(texts.FAMILY_SOURCES, texts.FAMILY_MOODS, texts.FAMILY_AUTHORS))


def code_of(page: Document) -> int:
    """Give the token of a page's control code; codes come behind the words in the vocabulary."""
    labels = tuple(page.labels[name] for name in ("source", "mood", "author"))
    return texts.FAMILY_VOCABULARY + control_codes().index(labels)


def with_codes(ids: Int[Tensor, "N T"], codes: Int[Tensor, "N"]) -> Int[Tensor, "N T"]:
    """Put a control code in the place of each row's [CLS]."""
    return torch.cat([codes[:, None], ids[:, 1:]], 1)


# The runs
# --------------------------------------------------------------------------------------------------


class FamilySystem(NamedTuple):
    """How one system is built, fed and trained; `steps` take as long as the others'."""

    model: Callable[[int], nn.Module]
    batches: Callable[[int], Iterator[TokenBatch]]
    objective: Objective
    steps: int


def family_systems() -> dict[str, FamilySystem]:
    """Give the eight systems but DistilBERT, which needs a teacher: see `train_distilbert`."""
    pairs, causal = masked_pair_objective(PAIR_WEIGHT), next_token_objective
    static = partial(masked_pairs, copies=MASK_COPIES)
    swapped = partial(masked_pairs, draw_pairs=sentence_order_pairs)
    permuted = permutation_lm_objective(texts.PAD_TOKEN)
    return {
        "BERT": FamilySystem(new_bert, static, pairs, FAMILY_STEPS["BERT"]),
        "RoBERTa": FamilySystem(
            new_roberta, masked_passages, masked_lm_objective, FAMILY_STEPS["RoBERTa"]
        ),
        "ALBERT": FamilySystem(new_albert, swapped, pairs, FAMILY_STEPS["ALBERT"]),
        "XLNet": FamilySystem(new_xlnet, ordered_passages, permuted, FAMILY_STEPS["XLNet"]),
        "GPT-2": FamilySystem(new_gpt2, next_token_passages, causal, FAMILY_STEPS["GPT-2"]),
        "CTRL": FamilySystem(new_ctrl, coded_passages, causal, FAMILY_STEPS["CTRL"]),
        "Megatron BERT": FamilySystem(
            partial(new_bert, pre_norm=True), static, pairs, FAMILY_STEPS["Megatron BERT"]
        ),
    }


def train_system(
    system: FamilySystem, seed: int, steps: int | None = None, **told
) -> tuple[nn.Module, TrainHistory]:
    """Train one system by the course's recipe; `told` goes to `train`, as `on_step` may."""
    model = system.model(seed)
    settings = TrainSettings(steps=steps or system.steps)
    history = train_to_the_end(model, system.batches(seed), settings, system.objective, **told)
    return model, history


def train_distilbert(
    teacher: BERT, seed: int, steps: int | None = None, **told
) -> tuple[nn.Module, TrainHistory]:
    """Train half of the teacher's layers by the three losses, from the teacher's first weights."""
    student = student_of(teacher, range(0, teacher.settings.n_layers, 2))
    settings = TrainSettings(steps=steps or FAMILY_STEPS["DistilBERT"])
    objective = distillation_objective(teacher)
    return student, train_to_the_end(student, masked_passages(seed), settings, objective, **told)


# What the command runs
# --------------------------------------------------------------------------------------------------

MODEL_OF: dict[str, Callable[..., nn.Module]] = {
    "BERT": new_bert,
    "RoBERTa": new_roberta,
    "ALBERT": new_albert,
    "DistilBERT": new_distilbert,
    "XLNet": new_xlnet,
    "GPT-2": new_gpt2,
    "CTRL": new_ctrl,
    "Megatron BERT": partial(new_bert, pre_norm=True),
}


def system_file(name: str, seed: int, folder: Path = texts.FAMILY_FOLDER) -> Path:
    """Give the place of a trained system."""
    return folder / f"{name.lower().replace(' ', '-')}-{seed}.json"


def load_system(name: str, seed: int = 0, folder: Path = texts.FAMILY_FOLDER) -> nn.Module:
    """Read a trained system; the shipped ones, of seed 0, have weights in half precision."""
    if name not in MODEL_OF:
        raise ValueError(f"{name!r} is none of {', '.join(MODEL_OF)}")
    model, _ = load_checkpoint(system_file(name, seed, folder), lambda _: MODEL_OF[name](seed))
    return model.eval()


def keep_system(name: str, seed: int, model: nn.Module, folder: Path) -> None:
    """Write a trained system, its weights in half precision."""
    half = copy.deepcopy(model).half()
    save_checkpoint(system_file(name, seed, folder), half, {"system": name, "seed": seed})


def cloze_of_system(name: str, model: nn.Module) -> dict[str, ClozeScore]:
    """Score a system at the places that are the same for all, in each way that it can be asked."""
    places = cloze_places()
    if name == "XLNet":
        return {"cloze": permuted_cloze(model, places)}
    if name in ("GPT-2", "CTRL"):
        if name == "CTRL":
            places = with_true_codes(places)
        return {"left": left_cloze(model, places), "cloze": rescored_cloze(model, places)}
    return {"cloze": masked_cloze(model, places)}


def with_true_codes(places: ClozePlaces) -> ClozePlaces:
    """Tell CTRL the control code of each place's page."""
    codes = torch.tensor([code_of(page) for page in texts.held_out_family_pages()])
    return places._replace(ids=with_codes(places.ids, codes[places.page]))


def run_system(name: str, seed: int, folder: Path, steps: int | None = None) -> dict:
    """Train, keep and score one system; the seconds are the processor's, of training alone.

    DistilBERT's teacher is BERT of the same seed, whose training is not counted, while its answers
    are. Raises ValueError if it is not in `folder`.
    """
    start = time.process_time()
    if name == "DistilBERT":
        model, history = train_distilbert(load_system("BERT", seed, folder), seed, steps)
    else:
        model, history = train_system(family_systems()[name], seed, steps)
    seconds = time.process_time() - start
    keep_system(name, seed, model, folder)
    scores = cloze_of_system(name, model.eval())
    facts = {"parameters": count_parameters(model), "seconds": round(seconds, 1)}
    return (
        facts
        | {"steps": len(history.loss)}
        | {how: [round(number, 4) for number in score] for how, score in scores.items()}
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser("python -m course_lib.experiments.family")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs.json")
    parser.add_argument("--work", type=Path, help="folder for the models, if another one")
    parser.add_argument("--systems", nargs="+", choices=list(MODEL_OF), default=list(MODEL_OF))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(FAMILY_SEEDS))
    parser.add_argument("--steps", type=int)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    work = asked.work or asked.out
    for folder in (asked.out, work):
        folder.mkdir(parents=True, exist_ok=True)
    texts.family_passages(), texts.passage_sentences()  # drawn before the clock starts
    records = RunRecords(asked.out / "runs.json")
    for seed in asked.seeds:
        for name in asked.systems:
            records.get(partial(run_system, name, seed, work, asked.steps), name=name, seed=seed)


if __name__ == "__main__":
    main()
