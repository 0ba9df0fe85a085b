"""Supervised fine-tuning: go on training, now on chats, and learn only what the assistant says.

The loss is that of pre-training, over other texts and fewer targets. What the user says is read,
never learnt.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn

from course_lib.text.batches import IGNORE_INDEX, pad_rows, same_document
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import END_OF_TEXT, ChatMessage, chat_spans
from course_lib.training.objectives import LossSum, next_token_loss_sum, next_token_objective
from course_lib.training.resume import Checkpoints
from course_lib.training.settings import TrainHistory, TrainSettings
from course_lib.training.trainer import TokenBatch, train


class SFTExample(NamedTuple):
    """What a model reads and what it is to say then, in token ids, the end token last.

    A completion of the end token alone teaches to say nothing.
    """

    prompt: Sequence[int]
    completion: Sequence[int]

    @property
    def size(self) -> int:
        """Count the tokens that go into the model: all but the last, which is only a target."""
        return len(self.prompt) + len(self.completion) - 1


def sft_examples(
    tokenizer: Tokenizer, dialogues: Sequence[Sequence[ChatMessage]]
) -> list[SFTExample]:
    """Make an example of every answer in the dialogues; all that was said before it is its prompt.

    A prompt begins with the end-of-text token, since a text of the corpus stands behind the end of
    another one. Raises ValueError for a dialogue without an answer, or one that `chat.render_chat`
    refuses.
    """
    found = []
    for number, messages in enumerate(dialogues):
        read, before = [tokenizer.special_tokens[END_OF_TEXT]], len(found)
        for text, learn in chat_spans(messages):
            piece = tokenizer.encode(text, allowed_special="all")
            found += [SFTExample(read.copy(), piece)] if learn else []
            read += piece
        if len(found) == before:
            raise ValueError(f"dialogue {number} of {len(dialogues)} has no answer to learn from")
    return found


def sft_batch(examples: Sequence[SFTExample]) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Put examples side by side, padded on the right: inputs, and targets.

    The targets are IGNORE but for the completions. No real token looks to its right, so the padding
    needs no mask.

    >>> inputs, targets = sft_batch([SFTExample([0, 5, 6], [7, 0]), SFTExample([0, 8], [0])])
    >>> inputs.tolist(), targets.tolist()
    ([[0, 5, 6, 7], [0, 8, 0, 0]], [[-100, -100, 7, 0], [-100, 0, -100, -100]])
    """
    inputs, _ = pad_rows([example_inputs(example) for example in examples], pad_token=0)
    targets, _ = pad_rows(
        [example_targets(example) for example in examples], pad_token=IGNORE_INDEX
    )
    return inputs, targets


def example_inputs(example: SFTExample) -> list[int]:
    """Give the tokens that are read: all but the last, which nothing follows."""
    return [*example.prompt, *example.completion[:-1]]


def example_targets(example: SFTExample) -> list[int]:
    """Give the next token at each input, IGNORE_INDEX in place of the prompt's own."""
    return [IGNORE_INDEX] * (len(example.prompt) - 1) + [*example.completion]


def pack_examples(
    examples: Sequence[SFTExample], length: int
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B 2 T"]]:
    """Put whole examples one after the other into rows of up to `length` tokens.

    Inputs and targets are those of `sft_batch`, with less padding. Under the targets of a row
    stands which example each token is from (-1 is padding), so that `next_token_packed` can keep
    them apart. Raises ValueError for an example longer than a row.

    >>> examples = [SFTExample([0, 5, 6], [7, 0]), SFTExample([0, 8], [0])]
    >>> inputs, targets = pack_examples(examples, length=6)
    >>> inputs.tolist(), targets.tolist()
    ([[0, 5, 6, 7, 0, 8]], [[[-100, -100, 7, 0, -100, 0], [0, 0, 0, 0, 1, 1]]])
    """
    rows = first_fit_decreasing([example.size for example in examples], length)
    inputs = [[token for i in row for token in example_inputs(examples[i])] for row in rows]
    targets = [[token for i in row for token in example_targets(examples[i])] for row in rows]
    numbers = [[i for i in row for _ in range(examples[i].size)] for row in rows]
    inputs, _ = pad_rows(inputs, pad_token=0)
    targets, _ = pad_rows(targets, pad_token=IGNORE_INDEX)
    numbers, _ = pad_rows(numbers, pad_token=-1)
    return inputs, torch.stack([targets, numbers], dim=1)


def first_fit_decreasing(sizes: Sequence[int], length: int) -> list[list[int]]:
    """Say which go into a row together: the largest first, each into the first row with room.

    >>> first_fit_decreasing([2, 5, 4, 3], length=7)
    [[1, 0], [2, 3]]
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
        if sizes[i] > length:
            raise ValueError(
                f"example {i} of {len(sizes)} has {sizes[i]} tokens; a row has {length}"
            )
        row = next((row for row, free in enumerate(room) if free >= sizes[i]), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(length)
        rows[row].append(i)
        room[row] -= sizes[i]
    return rows


def next_token_packed(
    model: nn.Module, inputs: Int[Tensor, "B T"], targets: Int[Tensor, "B 2 T"]
) -> LossSum:
    """The next-token objective for `pack_examples`: no token sees another example's.

    So it is in DeepSeek-V3's fine-tuning (arXiv 2412.19437, section 5.1, "sample masking").
    Nothing else joins the examples. Rotary positions need no new start, since they
    tell distances only; GPT-2's would, and the model refuses.
    """
    targets, examples = targets.unbind(1)
    return next_token_loss_sum(model(inputs, padding=~same_document(examples)), targets)


def sft_batches(
    examples: Sequence[SFTExample],
    batch_size: int,
    seed: int = 0,
    start_step: int = 0,
    row_length: int | None = None,
) -> Iterator[TokenBatch]:
    """Draw batches of `batch_size` examples, with replacement, without end.

    With `row_length` each is packed into such rows, see `pack_examples`.
    Batch number k depends on the other arguments alone: a run that stopped goes on with
    `start_step=k`.
    """
    if not examples or batch_size < 1:
        raise ValueError(
            f"{len(examples)} examples and batch_size {batch_size}: neither may be below 1"
        )
    step = start_step
    while True:
        generator = torch.Generator().manual_seed(1_000_003 * seed + step)
        chosen = torch.randint(len(examples), (batch_size,), generator=generator)
        some = [examples[i] for i in chosen.tolist()]
        yield sft_batch(some) if row_length is None else pack_examples(some, row_length)
        step += 1


def sft_settings(steps: int, **others) -> TrainSettings:
    """Give the course's fine-tuning: AdamW, ten steps to warm up, the last 40 % to cool down."""
    defaults = {"optimizer": "adamw", "adam_lr": 2e-3, "warmup": min(1.0, 10 / steps), "decay": 0.4}
    return TrainSettings(steps, **defaults | others)


def train_sft(
    model: nn.Module,
    examples: Sequence[SFTExample],
    settings: TrainSettings,
    batch_size: int = 64,
    seed: int = 0,
    checkpoints: Checkpoints | None = None,
    *,
    row_length: int | None = None,
    too_long: str = "error",
) -> TrainHistory:
    """Teach `model` to complete the examples; return what happened, see `train`.

    For settings see `sft_settings`. With `row_length` each batch is packed into rows of so many
    tokens: the same steps, with less padding. An example longer than that, or than the model's
    `max_seq_len`, is a ValueError, or is left out with `too_long="skip"`.
    """
    longest = model.settings.max_seq_len
    kept = examples_that_fit(
        examples, longest if row_length is None else min(longest, row_length), too_long
    )
    batches = partial(sft_batches, kept, batch_size, seed, row_length=row_length)
    objective = next_token_objective if row_length is None else next_token_packed
    return train(model, batches, settings, objective, checkpoints=checkpoints)


def examples_that_fit(
    examples: Sequence[SFTExample], length: int, too_long: str = "error"
) -> list[SFTExample]:
    """Give the examples that a row of `length` tokens holds.

    If one does not fit: "error", or "skip" it. Raises ValueError if none is left, and for an
    example with nothing to read or nothing to say.

    >>> examples_that_fit([SFTExample([0, 5, 6], [7, 0])], length=3)
    Traceback (most recent call last):
    ValueError: example 0 of 1 has 4 tokens, more than 3; too_long="skip" leaves such examples out
    """
    if too_long not in ("error", "skip"):
        raise ValueError(f"too_long must be 'error' or 'skip', not {too_long!r}")
    for number, (prompt, completion) in enumerate(examples):
        if not prompt or not completion:
            sizes = f"a prompt of {len(prompt)} tokens and a completion of {len(completion)}"
            raise ValueError(
                f"example {number} of {len(examples)} has {sizes}: each needs at least 1"
            )
    long = [number for number, example in enumerate(examples) if example.size > length]
    if long and too_long == "error":
        which = (
            f"example {long[0]} of {len(examples)} has {examples[long[0]].size} tokens, more than"
            f" {length}"
        )
        raise ValueError(f'{which}; too_long="skip" leaves such examples out')
    if len(long) == len(examples):
        raise ValueError(
            f"no examples to learn from: {len(examples)} given, {len(long)} of more than {length}"
            " tokens"
        )
    return [example for example in examples if example.size <= length]
