"""The chat template: how messages become one text, and which of its tokens a model learns from.

The layout is that of the chats on the small web: `User: ...`, a new line, `Assistant: ...`. A
special token ends each answer. (DeepSeek V2's own template is the same but for an empty line
between the two.)

    User: 7+5-3=?
    Assistant: <think>7+5=12, 12-3=9</think><answer>9</answer><|endoftext|>

What a user writes can forge neither a role nor a special token: `render_chat` refuses such a
message. It does not repair it, because a message that was changed silently is no longer what the
user wrote.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache

from jinja2 import Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

END_OF_TEXT, PAD = "<|endoftext|>", "<|pad|>"
THINK, END_THINK, ANSWER, END_ANSWER = "<think>", "</think>", "<answer>", "</answer>"
SPECIAL_TOKENS = (END_OF_TEXT, PAD, THINK, END_THINK, ANSWER, END_ANSWER)
CHAT_ROLES = ("user", "assistant")  # who speaks in turn, the user first

# In the language and with the names that Hugging Face's tokenizers use, so an exported model can
# carry it along.
CHAT_TEMPLATE = """\
{%- for message in messages -%}
    {%- if message.role == 'user' -%}
        {{ 'User: ' + message.content + '\\n' }}
    {%- else -%}
        {{ 'Assistant: ' + message.content + eos_token }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ 'Assistant: ' }}
{%- endif -%}
"""

ChatMessage = Mapping[str, str]  # {"role": "user" or "assistant", "content": "..."}


@cache
def _template() -> Template:
    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
        CHAT_TEMPLATE
    )


def render_chat(messages: Sequence[ChatMessage], add_generation_prompt: bool = False) -> str:
    """The messages as one text.

    With `add_generation_prompt` the text ends in "Assistant: ", ready for an answer. The space is
    part of the prompt, since `bpe.WORD_PATTERN` keeps it with the colon: a prompt has the tokens
    that it has in a whole chat. (GPT-2's pattern keeps a space with the word after it, and
    DeepSeek's template ends without one.)

    Raises ValueError if roles are unknown or out of turn, if a message is blank, if a user's
    message holds a special token, or if a line of any message starts like a role, also behind
    characters that show nothing.

    >>> render_chat([{"role": "user", "content": "7+5=?"}, {"role": "assistant", "content": "12"}])
    'User: 7+5=?\\nAssistant: 12<|endoftext|>'
    """
    for number, message in enumerate(messages):
        _check(number, message)
    if not messages:
        raise ValueError("no messages to render")
    if add_generation_prompt and messages[-1]["role"] != "user":
        raise ValueError(
            "a generation prompt needs a user's message before it; the last one is the assistant's"
        )
    return _fill(messages, add_generation_prompt)


def _fill(messages: Sequence[ChatMessage], add_generation_prompt: bool) -> str:
    return _template().render(
        messages=messages, eos_token=END_OF_TEXT, add_generation_prompt=add_generation_prompt
    )


def _check(number: int, message: ChatMessage) -> None:
    """Raise unless this is a message that may stand at this place."""
    if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
        raise TypeError(f"message {number} must have a role and a content, not {message!r}")
    role, content, due = message["role"], message["content"], CHAT_ROLES[number % 2]
    if role != due:
        raise ValueError(
            f"message {number} has the role {role!r}; the two take turns, so it must be {due!r}"
        )
    if not isinstance(content, str):
        raise TypeError(f"the content of message {number} is {type(content).__name__}, not str")
    if not content.strip():
        raise ValueError(f"message {number} ({role}) is blank")
    for token in SPECIAL_TOKENS if role == "user" else (END_OF_TEXT, PAD):
        if token in content:
            raise ValueError(
                f"message {number} ({role}) contains {token}, a special token that a {role} may not"
                " write"
            )
    for line in content.splitlines():
        if _visible(line).startswith(("User:", "Assistant:")):
            raise ValueError(
                f"message {number} ({role}) has a line that starts like a role:"
                f" {line.strip()[:40]!r}"
            )


def _visible(line: str) -> str:
    """A line as it looks: without blanks around it or characters that show nothing."""
    return "".join(char for char in line if unicodedata.category(char) not in ("Cc", "Cf")).strip()


def chat_spans(messages: Sequence[ChatMessage]) -> list[tuple[str, bool]]:
    """The rendered text in pieces, each with whether the assistant wrote it.

    Joined, they are `render_chat(messages)`.
    """
    whole = render_chat(messages)
    pieces, done = [], 0
    for i, message in enumerate(messages):
        if message["role"] == "assistant":
            prompt, answered = _fill(messages[:i], True), _fill(messages[: i + 1], False)
            pieces += [
                (whole[done : len(prompt)], False),
                (whole[len(prompt) : len(answered)], True),
            ]
            done = len(answered)
    return pieces + ([(whole[done:], False)] if done < len(whole) else [])
