"""A published model's own chat template: how its messages become one text, and that text tokens."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from course_lib.text.bpe import Tokenizer
from course_lib.text.chat import ChatMessage

SPECIAL_LOOKS = re.compile(r"<\|[^|<>\s]+\|>")
TEMPLATE_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class ChatTemplate:
    """A template in Jinja, the tokenizer whose special tokens it writes, and the end of an answer.

    Raises ValueError if it writes a special token that the tokenizer does not have: then text would
    stand where the model has learnt a token.
    """

    source: str
    tokenizer: Tokenizer
    stop_token: int

    def __post_init__(self) -> None:
        strange = set(SPECIAL_LOOKS.findall(self.source)) - set(self.tokenizer.special_tokens)
        if strange:
            raise ValueError(
                f"the chat template writes {sorted(strange)[0]}, which is none of the tokenizer's"
                f" {len(self.tokenizer.special_tokens)} special tokens"
            )
        if self.stop_token not in self.tokenizer.special_tokens.values():
            raise ValueError(f"the stop token {self.stop_token} is no special token")
        self._template()

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, Any], tokenizer: Tokenizer) -> "ChatTemplate":
        """Read the template that a GGUF file carries along."""
        try:
            source = metadata["tokenizer.chat_template"]
            return cls(source, tokenizer, metadata["tokenizer.ggml.eos_token_id"])
        except KeyError as error:
            raise ValueError(f"the file does not say {error.args[0]}") from None

    def _template(self) -> Template:
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        try:
            return environment.from_string(self.source)
        except TemplateError as error:
            raise ValueError(f"the chat template cannot be read: {error}") from None

    def render(self, messages: Sequence[ChatMessage], add_generation_prompt: bool = False) -> str:
        """Write the messages as one text; with `add_generation_prompt` an answer is to come.

        Raises ValueError for an unknown role, for no messages, and for a message that holds a
        special token, with which it could forge another speaker.
        """
        if not messages:
            raise ValueError("no messages to render")
        for number, message in enumerate(messages):
            role, content = message["role"], message["content"]
            if role not in TEMPLATE_ROLES:
                raise ValueError(f"message {number} has the role {role!r}, none of a chat's")
            for token in self.tokenizer.special_tokens:
                if token in content:
                    raise ValueError(f"message {number} contains {token}, a special token")
        return self._template().render(
            messages=messages, add_generation_prompt=add_generation_prompt
        )

    def prompt_ids(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Give the tokens of a chat so far, ready for the assistant's answer."""
        return self.tokenizer.encode(self.render(messages, True), allowed_special="all")

    def answer_ids(self, answer: str) -> list[int]:
        """Give the tokens of an answer, the stop token last."""
        return [*self.tokenizer.encode(answer), self.stop_token]
