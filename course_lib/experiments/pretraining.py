"""Train any language model of the course on a folder of texts, on plays or on the small web.

    python -m course_lib.train --out runs/poet --model v3 --text plays --steps 500
    python -m course_lib.train --out runs/poet --resume
    torchrun --nproc-per-node 2 -m course_lib.train --out runs/poet --text my-texts --sharded
    torchrun --nproc-per-node 8 -m course_lib.train --out runs/llama --model v1 --tensor-parallel 2
    torchrun --nproc-per-node 4 -m course_lib.train --out runs/v3 --model v3 --expert-parallel 4

The folder `--out` gets the tokenizer, checkpoints, and at the end the model, the history of the run
and a sample of what the model writes. Ctrl-C ends the run after the step at hand and saves it;
`--resume` goes on with a run that was stopped or killed, with the settings it was started with, on
as many processes as are there now. The book's page "On a cluster" tells of several machines.
"""

import argparse
import json
import sys
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.assets import AssetError
from course_lib.files import read_json, write_atomically, write_json
from course_lib.inference import evaluate
from course_lib.inference.generate import write_text
from course_lib.models.deepseek import DeepSeekMoE, DeepSeekSettings, DeepSeekV2, DeepSeekV3
from course_lib.models.gpt2 import GPT2, GPT2Settings, count_parameters
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe, corpus, small_web
from course_lib.text.batches import shuffled_windows, token_stream
from course_lib.text.chat import END_OF_TEXT, SPECIAL_TOKENS
from course_lib.training import checkpoint, distributed
from course_lib.training.deepseek_objective import balance_by_bias, deepseek_objective, moe_layers
from course_lib.training.objectives import next_token_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import SCHEDULES, TrainHistory, TrainSettings
from course_lib.training.trainer import train

MODEL_KINDS = {
    "gpt2": (GPT2, GPT2Settings),
    "v1": (Llama, LlamaSettings),
    "moe": (DeepSeekMoE, DeepSeekSettings),
    "v2": (DeepSeekV2, DeepSeekSettings),
    "v3": (DeepSeekV3, DeepSeekSettings),
}
MODEL_FAMILIES = (
    "v1 is Llama, moe v1 with experts, v2 adds latent attention, v3 another router (default: gpt2)"
)
MODEL_SIZES = {  # option -> its default, and what it is
    "max_seq_len": (128, "tokens of context"),
    "d_model": (64, "width"),
    "n_layers": (4, "layers"),
    "n_heads": (4, "attention heads"),
}
COMMAND_KIND, COMMAND_VERSION = "training command", 1
# of a run that is taken up again
CHANGEABLE_OPTIONS = (
    "every", "sharded", "data_parallel", "tensor_parallel", "expert_parallel", "device",
    "accumulate", "prompt",
)  # fmt: skip
# every twentieth document is held out; so much of them is scored on the way
HELD_OUT, SCORED_BYTES = 20, 30_000

OPTION_HELP = {
    "steps": "batches to learn from",
    "muon_lr": "peak learning rate of Muon, which steps the hidden matrices",
    "adam_lr": "peak learning rate of AdamW, which steps all the rest",
    "warmup": "share of the run in which the learning rate climbs",
    "decay": "share of the run in which it falls to 0 (wsd)",
    "clip": "longest gradient; longer ones are shortened to it",
    "seconds": "stop after so long, and let the learning rate fall in step with the clock",
    "clock": "of --seconds: wall, or the processor's, which other programs do not slow down",
    "weight_decay": "shrink matrices by this share of the learning rate at each step",
    "optimizer": "muon: matrices by Muon, the rest by AdamW; adamw: all by AdamW",
    "schedule": "of the learning rate",
    "accumulate": "cut each batch into so many parts, to fit it into memory",
    "precision": "of the matrix products",
}
OPTION_CHOICES = {
    "optimizer": ("muon", "adamw"),
    "schedule": tuple(SCHEDULES),
    "precision": ("float32", "bfloat16"),
    "clock": ("wall", "processor"),
}


class PretrainingTexts(NamedTuple):
    """What a run reads: a tokenizer, one row of tokens to learn from, documents to be scored on."""

    tokenizer: bpe.Tokenizer
    tokens: Int[Tensor, "N"]
    held_out: list[str]
    special: str | tuple[str, ...]  # which special tokens may stand in the documents


# The command line
# --------------------------------------------------------------------------------------------------


def pretraining_parser() -> argparse.ArgumentParser:
    """Describe all options."""
    parser = argparse.ArgumentParser(
        "python -m course_lib.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_options(parser.add_argument_group("the run"))
    add_text_options(parser.add_argument_group("the text"))
    add_model_options(parser.add_argument_group("the model"))
    add_training_options(parser.add_argument_group("training"))
    return parser


def add_run_options(run: argparse._ArgumentGroup) -> None:
    """Describe where the run is kept, and how it goes on."""
    run.add_argument(
        "--out", type=Path, required=True, help="folder for everything that the run makes"
    )
    run.add_argument(
        "--resume",
        action="store_true",
        help="go on with the run in --out; other options are remembered",
    )
    run.add_argument(
        "--every", type=int, default=100, help="steps between checkpoints (default: 100)"
    )
    run.add_argument(
        "--seed", type=int, default=0, help="of first weights and order of the text (default: 0)"
    )
    run.add_argument("--prompt", default="", help="what the sample at the end begins with")
    run.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="default: cpu")
    run.add_argument(
        "--sharded",
        action="store_true",
        help="under torchrun: share the model out (FSDP), not copy it",
    )
    run.add_argument(
        "--tensor-parallel",
        type=int,
        default=1,
        metavar="M",
        help="cut every matrix over so many neighbouring processes; shares the model out as well",
    )
    run.add_argument(
        "--expert-parallel",
        type=int,
        default=1,
        metavar="E",
        help="spread the experts over so many neighbouring replicas, to which tokens travel; shares"
        " the rest of the model out as well",
    )
    run.add_argument(
        "--data-parallel",
        type=int,
        metavar="N",
        help="replicas that read different rows; N x M processes (default: as many as there are)",
    )


def add_text_options(text: argparse._ArgumentGroup) -> None:
    """Describe what is read, and by which tokenizer."""
    text.add_argument(
        "--text",
        default="plays",
        help="plays, small-web, or a folder of .txt and .md (default: plays)",
    )
    text.add_argument("--megabytes", type=float, default=3.0, help="of the small web (default: 3)")
    text.add_argument(
        "--vocab-size", type=int, default=1024, help="tokens of the tokenizer (default: 1024)"
    )


def add_model_options(model: argparse._ArgumentGroup) -> None:
    """Describe the kind of model and its sizes."""
    model.add_argument("--model", default="gpt2", choices=MODEL_KINDS, help=MODEL_FAMILIES)
    for name, (default, about) in MODEL_SIZES.items():
        model.add_argument(
            option_name(name), type=int, default=default, help=f"{about} (default: {default})"
        )
    model.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", dest="more",
        help="other settings of the model, as in: --set n_experts=16 mtp=true",
    )  # fmt: skip


def add_training_options(training: argparse._ArgumentGroup) -> None:
    """Describe the batches, and every setting of `TrainSettings`."""
    training.add_argument(
        "--batch-size", type=int, default=16, help="rows of a batch (default: 16)"
    )
    for field in fields(TrainSettings):
        default = 500 if field.default is MISSING else field.default
        kind = type(default) if default is not None else float
        about = OPTION_HELP[field.name] + ("" if default is None else f" (default: {default})")
        training.add_argument(
            option_name(field.name),
            type=kind,
            default=default,
            choices=OPTION_CHOICES.get(field.name),
            help=about,
        )


def option_name(name: str) -> str:
    """Write a setting's name as an option.

    >>> option_name("muon_lr")
    '--muon-lr'
    """
    return f"--{name.replace('_', '-')}"


def remembered_options(
    parser: argparse.ArgumentParser, arguments: list[str] | None
) -> argparse.Namespace:
    """Read the options; for a run taken up again its own, which new ones may not contradict."""
    options = parser.parse_args(arguments)
    file = options.out / "run.json"
    if not options.resume:
        if file.exists():
            raise ValueError(
                f"{options.out} holds a run already: add --resume to go on with it, or name another"
                " --out"
            )
        return options
    if not file.exists():
        raise ValueError(f"there is no run in {options.out} to resume")
    stored = read_json(file, COMMAND_KIND, COMMAND_VERSION)
    parser.set_defaults(**stored)
    options = parser.parse_args(arguments)
    changed = [
        f"{option_name(name)} {value}, now {vars(options)[name]}"
        for name, value in stored.items()
        if vars(options)[name] != value and name not in CHANGEABLE_OPTIONS
    ]
    if changed:
        raise ValueError(f"the run in {options.out} was started with {'; '.join(changed)}")
    return options


# The parts of a run
# -------------------------------------------------------------------------------------------------


def read_texts(options: argparse.Namespace) -> PretrainingTexts:
    """Get the documents, hold some out, and learn a tokenizer from the others.

    A run that is taken up again has its own.
    """
    documents, pattern, special = get_documents(options)
    learnt, held_out = hold_out_documents(documents)
    file = options.out / "tokenizer.json"
    if options.resume and file.exists():
        tokenizer = bpe.Tokenizer.load(file)
    else:
        tokenizer = bpe.train_bpe(learnt, options.vocab_size, pattern, SPECIAL_TOKENS)
    ids = (tokenizer.encode(text, allowed_special=special) for text in learnt)
    return PretrainingTexts(
        tokenizer, token_stream(ids, tokenizer.special_tokens[END_OF_TEXT]), held_out, special
    )


def get_documents(options: argparse.Namespace) -> tuple[list[str], str, str | tuple[str, ...]]:
    """Read the documents; with them their tokenizer's pattern and the allowed special tokens."""
    if options.text == "plays":
        return [document.text for document in corpus.play_documents()], bpe.DIGITS_PATTERN, ()
    if options.text == "small-web":
        web = small_web.draw_clean_documents(options.megabytes, options.seed, "base")
        return [document.text for document in web], bpe.WORD_PATTERN, "all"
    if not Path(options.text).is_dir():
        raise ValueError(
            f"--text {options.text} is neither plays, nor small-web, nor a folder with .txt or .md"
            " files"
        )
    own = corpus.read_text_folder(options.text)
    return [document.text for document in own], bpe.DIGITS_PATTERN, ()


def hold_out_documents(documents: list[str]) -> tuple[list[str], list[str]]:
    """Keep every twentieth document for scoring; of fewer than twenty, the last twentieth of each.

    >>> hold_out_documents(["a" * 40])[1]
    ['aa']
    """
    if len(documents) >= HELD_OUT:
        rest = [text for i, text in enumerate(documents) if (i + 1) % HELD_OUT]
        return rest, documents[HELD_OUT - 1 :: HELD_OUT]
    cuts = [len(text) - len(text) // HELD_OUT for text in documents]
    parts = [(text[:cut], text[cut:]) for text, cut in zip(documents, cuts, strict=True)]
    return [rest for rest, _ in parts], [tail for _, tail in parts if tail]


def build_model(options: argparse.Namespace, vocab_size: int) -> nn.Module:
    """Build the model with its first weights."""
    build, settings = MODEL_KINDS[options.model]
    sizes = {name: vars(options)[name] for name in MODEL_SIZES}
    known = {field.name for field in fields(settings)}
    more = {"tied": True} if "tied" in known else {}
    for pair in options.more:
        name, _, value = pair.partition("=")
        if name not in known - {"vocab_size"}:
            raise ValueError(
                f"--set {pair}: {options.model} has {', '.join(sorted(known - {'vocab_size'}))}"
            )
        try:
            more[name] = json.loads(value)
        except ValueError as error:
            raise ValueError(
                f"--set {pair}: {value!r} is no number, nor true, false or null"
            ) from error
    torch.manual_seed(options.seed)
    return build(settings(vocab_size=vocab_size, **sizes | more))


def objective_and_callbacks(
    options: argparse.Namespace, model: nn.Module, settings: TrainSettings
) -> dict:
    """Choose the objective, and what happens after a step, as each model's paper does."""
    ahead = 0.3 if getattr(model, "mtp", None) else 0.0
    if not moe_layers(model):
        return {"objective": deepseek_objective(ahead=ahead) if ahead else next_token_objective}
    if options.model != "v3":
        return {"objective": deepseek_objective(expert=0.01)}
    nudge = balance_by_bias(lambda step: 0.01 * settings.share_of_peak(step / settings.steps))
    return {"objective": deepseek_objective(sequence=1e-4, ahead=ahead), "on_step": nudge}


def score_held_out(texts: PretrainingTexts, device: str, model: nn.Module) -> float:
    """Give the bits per byte of held-out documents, of the first ones if they are many."""
    text, chosen = 0, []
    for document in texts.held_out:
        if text < SCORED_BYTES:
            text, chosen = text + len(document.encode()), [*chosen, document]
    with torch.device(device):
        scorer = evaluate.transformer_scorer(
            model, texts.tokenizer, END_OF_TEXT, allowed_special=texts.special
        )
        return evaluate.evaluate_bits_per_byte(scorer, chosen)


# The run
# --------------------------------------------------------------------------------------------------


def run_pretraining(options: argparse.Namespace) -> TrainHistory:
    """Read, build, train, and write what came of it."""
    settings = TrainSettings(
        **{field.name: vars(options)[field.name] for field in fields(TrainSettings)}
    )
    checkpoints = Checkpoints(options.out / "checkpoints", options.every)
    texts = read_texts(options)
    model = build_model(options, texts.tokenizer.n_vocab).to(options.device)
    print_once(describe_run(options, model, texts))
    if distributed.process_rank() == 0:
        options.out.mkdir(parents=True, exist_ok=True)
        texts.tokenizer.save(options.out / "tokenizer.json")
        kept = {
            name: value for name, value in vars(options).items() if name not in ("out", "resume")
        }
        write_json(options.out / "run.json", COMMAND_KIND, COMMAND_VERSION, kept)
    history = train(
        model,
        partial(
            shuffled_windows, texts.tokens, options.batch_size, options.max_seq_len, options.seed
        ),
        settings,
        evaluate=partial(score_held_out, texts, options.device),
        evaluate_at=[*range(0, settings.steps, options.every), settings.steps],
        checkpoints=checkpoints,
        sharded=options.sharded,
        **objective_and_callbacks(options, model, settings),
    )
    weights = distributed.gather_on_first(distributed.model_tensors(model))
    if distributed.process_rank() == 0:
        finish_run(options, build_model(options, texts.tokenizer.n_vocab), weights, texts, history)
    return history


def describe_run(options: argparse.Namespace, model: nn.Module, texts: PretrainingTexts) -> str:
    """Tell the sizes of everything in two lines."""
    read = options.steps * options.batch_size * options.max_seq_len
    return (
        f"{options.model}: {count_parameters(model):,} parameters, {texts.tokenizer.n_vocab:,}"
        f" kinds of token\n{len(texts.tokens):,} tokens of text, read"
        f" {read / len(texts.tokens):.2f} times;"
        f" {sum(len(text.encode()) for text in texts.held_out):,} bytes held out;"
        f" {distributed.world_size()} processes{describe_sharing(options)}"
    )


def describe_sharing(options: argparse.Namespace) -> str:
    """Tell how several processes share the work; nothing of one."""
    data, tensor, expert = distributed.group_sizes()
    if data * tensor == 1:
        return ""
    shared = "sharded" if options.sharded or max(tensor, expert) > 1 else "copied"
    experts = f", its experts over {expert} replicas" if expert > 1 else ""
    return f": {data} data-parallel x {tensor} tensor-parallel, the model {shared}{experts}"


def finish_run(
    options,
    model: nn.Module,
    weights: dict[str, Tensor],
    texts: PretrainingTexts,
    history: TrainHistory,
) -> None:
    """Save the model, the history and a sample, and tell how the run ended."""
    model.load_state_dict(weights)
    last = f"{history.validation[-1][1]:.3f} bits per byte" if history.validation else "not scored"
    notes = {
        "run": vars(options) | {"out": str(options.out)},
        "ended": history.ended,
        "score": last,
    }
    checkpoint.save_checkpoint(options.out / "model.json", model, notes)
    history.save(options.out / "history.json")
    prompt = options.prompt or END_OF_TEXT
    sample = write_text(
        model, texts.tokenizer, prompt, 2 * options.max_seq_len, seed=options.seed, temperature=0.8
    )
    write_atomically(options.out / "sample.txt", sample.removeprefix(END_OF_TEXT).encode())
    print_once(
        f"{history.ended} after {len(history.loss)} steps and {history.spent():.0f} s: {last} on"
        " held-out text"
    )
    print_once(f"in {options.out}: model.json, history.json, sample.txt")
    if history.ended == "interrupted":
        print_once(f"go on with: python -m course_lib.train --out {options.out} --resume")


def print_once(text: str) -> None:
    """Print, once, however many processes there are."""
    if distributed.process_rank() == 0:
        print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 1 after an error, or 130 after Ctrl-C."""
    parser = pretraining_parser()
    try:
        options = remembered_options(parser, arguments)
        with distributed.process_group(
            options.device, options.data_parallel, options.tensor_parallel, options.expert_parallel
        ):
            return 130 if run_pretraining(options).ended == "interrupted" else 0
    except (ValueError, TypeError, OSError, FloatingPointError, AssetError) as error:
        print(f"course_lib.train{distributed.process_name()}: {error}", file=sys.stderr)
        return 1
