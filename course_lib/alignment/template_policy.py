"""A published model as a policy: it is asked, taught and rated in its own chat template."""

from collections.abc import Sequence
from random import Random

import torch
from torch import nn

from course_lib.alignment.rl_loop import RLSettings, RolloutBatch, RolloutSampler
from course_lib.alignment.rl_task import Question, RLTask, compute_rewards
from course_lib.alignment.sft import SFTExample
from course_lib.inference.rollout import Completions, sample_completions
from course_lib.layers.precision import without_autocast
from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import ChatMessage
from course_lib.text.chat_template import ChatTemplate


def template_example(template: ChatTemplate, messages: Sequence[ChatMessage]) -> SFTExample:
    """Make an example of the last message, the assistant's; what was said before is its prompt."""
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        raise ValueError(f"{len(messages)} messages that do not end with an answer to learn")
    answer = template.answer_ids(messages[-1]["content"])
    return SFTExample(template.prompt_ids(messages[:-1]), answer)


def answer_by_template(
    model: nn.Module,
    template: ChatTemplate,
    chats: Sequence[Sequence[ChatMessage]],
    max_new_tokens: int,
    **options,
) -> tuple[list[str], Completions]:
    """Let the model go on with each chat: the texts without their stop token, and all about them.

    `options` are those of `sample_completions`. Sampling is in the precision of the weights, also
    under autocast, which would make them anew for each token.
    """
    end, prompts = template.stop_token, [template.prompt_ids(chat) for chat in chats]
    with without_autocast("cpu"):
        made = sample_completions(model, prompts, max_new_tokens, stop_token=end, **options)
    texts = [
        template.tokenizer.decode(ids[:-1] if ids[-1] == end else ids) for ids in made.completions
    ]
    return texts, made


def template_sampler(template: ChatTemplate, shots: Sequence[ChatMessage] = ()) -> RolloutSampler:
    """Make what draws a step's questions and answers, each behind the same `shots`."""

    def sample(
        model: nn.Module,
        tokenizer: Tokenizer,
        task: RLTask,
        settings: RLSettings,
        rng: Random,
        generator: torch.Generator,
    ) -> RolloutBatch:
        asked = [task.draw(rng) for _ in range(settings.n_questions)]
        texts, made = answer_by_template(
            model, template, [ask_after(shots, question) for question in asked],
            settings.max_new_tokens, n_samples=settings.group_size,
            generator=generator, **settings.sampling,
        )  # fmt: skip
        questions = [question for question in asked for _ in range(settings.group_size)]
        return RolloutBatch(questions, texts, made, compute_rewards(task, questions, texts))

    return sample


def ask_after(shots: Sequence[ChatMessage], question: Question) -> list[ChatMessage]:
    """Give the chat that asks a question behind the examples in `shots`."""
    return [*shots, {"role": "user", "content": question.text}]
