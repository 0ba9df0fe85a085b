"""A tokenizer of bytes, a tiny model and hand-made completions, for the tests of reinforcement
learning."""

from dataclasses import fields

import pytest
import torch

from course_lib.alignment.rl_task import Question, RLTask
from course_lib.inference.rollout import Completions
from course_lib.models.llama import Llama, LlamaSettings
from course_lib.text import bpe
from course_lib.text.chat import SPECIAL_TOKENS

TOKENIZER = bpe.train_bpe(["ab"], 256 + len(SPECIAL_TOKENS), bpe.WORD_PATTERN, SPECIAL_TOKENS)
N_VOCAB = TOKENIZER.n_vocab
QUESTIONS = ("a?", "bcd?", "what is it?")


@pytest.fixture(autouse=True)
def one_quiet_thread(monkeypatch):
    """Of each module that imports it: no progress bar, and sums in one order."""
    monkeypatch.setenv("COURSE_QUIET", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fresh(seed=0, std=None, context=64, d_model=16):
    """A tiny Llama that reads and writes bytes; with `std` one of strong opinions, so that a wrong
    context shows."""
    torch.manual_seed(seed)
    model = Llama(LlamaSettings(N_VOCAB, context, d_model=d_model, n_layers=2, n_heads=2))
    for parameter in model.parameters() if std else ():
        torch.nn.init.normal_(parameter, std=std)
    return model


def bits(model):
    """Every number of a model, exactly."""
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def count_of(letter, out_of):
    """The task of saying one letter all the time: the reward is its share of `out_of`
    characters."""
    return RLTask(
        draw=lambda rng: Question(rng.choice(QUESTIONS), letter),
        reward=lambda questions, answers: [
            text.count(question.truth) / out_of
            for question, text in zip(questions, answers, strict=True)
        ],
    )


def completions(lengths, log_probs, dtype=torch.float32):
    """Completions of these lengths behind a prompt of one token; tokens are 1, 2, 3, ..."""
    T = max(lengths)
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    ids = torch.cat(
        [torch.ones(len(lengths), 1, dtype=torch.long), torch.arange(1, T + 1) * mask], dim=1
    )
    padding = torch.cat([torch.zeros(len(lengths), 1, dtype=torch.bool), ~mask], dim=1)
    return Completions(
        ids, padding, mask, log_probs.to(dtype) * mask, torch.ones(len(lengths), dtype=torch.bool)
    )


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def unchecked_settings(kind, **values):
    """Make settings as outside of tests, where nobody checks annotations: all that refuses is
    `__post_init__`."""
    made = object.__new__(kind)
    for field in fields(kind):
        object.__setattr__(made, field.name, values.get(field.name, field.default))
    made.__post_init__()
    return made
