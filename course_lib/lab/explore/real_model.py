"""Figures of lesson 28: a text token by token, and a chat that streams."""

import html
from collections.abc import Sequence
from typing import NamedTuple

import ipywidgets as widgets
import torch

from course_lib.inference.generate import stream_tokens
from course_lib.lab.explore import frames
from course_lib.lab.plots import BLACK, BLUE
from course_lib.models.gguf_files import GGUFModel

ROW = 'style="background-color: #ffffff; color: #222222"'
ASSISTANT = "#0072B2"


class WrittenToken(NamedTuple):
    """A token as it was chosen: its text, and the likeliest ones with their probabilities."""

    text: str
    best: list[tuple[str, float]]


@torch.no_grad()
def written_tokens(
    published: GGUFModel, question: str, most: int = 24, n_best: int = 6
) -> list[WrittenToken]:
    """Let the model answer greedily, and keep what else it might have said."""
    model, tokenizer, template = published
    ids = torch.tensor([template.prompt_ids([{"role": "user", "content": question}])])
    found = []
    while len(found) < most:
        best, tokens = model(ids)[0, -1].softmax(-1).topk(n_best)
        texts = [tokenizer.decode([token]) for token in tokens.tolist()]
        found.append(WrittenToken(texts[0], list(zip(texts, best.tolist(), strict=True))))
        if tokens[0] == template.stop_token:
            break
        ids = torch.cat([ids, tokens[None, :1]], 1)
    return found


def writing(question: str, tokens: Sequence[WrittenToken], start: int = 0) -> frames.Explorer:
    """Slide through an answer: the text so far, and what the next token might have been."""
    pictures = [_writing(question, tokens, i) for i in range(len(tokens))]
    return frames.slideshow(pictures, range(1, len(tokens) + 1), "token", start=start)


def _writing(question: str, tokens: Sequence[WrittenToken], now: int) -> str:
    said = html.escape("".join(token.text for token in tokens[:now]))
    rows = "".join(
        f'<tr {ROW}><td style="padding: 1px 10px 1px 0; text-align: left"><code>'
        f"{html.escape(repr(text))}</code></td>"
        f'<td style="width: 260px; text-align: left"><span style="display: inline-block;'
        f' background: {BLUE}; height: 10px; width: {240 * share:.0f}px"></span></td>'
        f"<td>{share:.3f}</td></tr>"
        for text, share in tokens[now].best
    )
    return frames.card(
        f'<div style="color: {BLACK}"><b>user</b> {html.escape(question)}</div>'
        f'<div style="min-height: 3.2em"><b style="color: {ASSISTANT}">assistant</b> {said}'
        f'<b style="color: {ASSISTANT}">{html.escape(tokens[now].text)}</b></div>'
        f"<table>{rows}</table>"
    )


def chat(published: GGUFModel, question: str, most: int = 80) -> frames.Explorer:
    """Talk with the model: an answer appears token by token.

    The first question is asked at once, so that there is an answer to read without a kernel.
    """
    talk, seen = _Chat(published, most), widgets.HTML()
    field = widgets.Text(placeholder="Ask, and press Enter", continuous_update=False)

    def ask(text: str) -> None:
        for page in talk.stream(text):
            seen.value = page

    def submitted(change: dict) -> None:
        if text := change["new"].strip():
            ask(text)
            field.value = ""

    ask(question)
    field.observe(submitted, "value")
    return frames.Explorer([seen, field], talk.page())


class _Chat:
    """A conversation, and the page that shows it."""

    def __init__(self, published: GGUFModel, most: int) -> None:
        self.published, self.most, self.messages = published, most, []

    def stream(self, question: str):
        """Ask; yield the page after each token of the answer. A refused question stands as such."""
        model, tokenizer, template = self.published
        try:
            asked = [*self.messages, {"role": "user", "content": question}]
            ids = torch.tensor([template.prompt_ids(asked)])
        except ValueError as error:
            yield self.page() + frames.card(html.escape(str(error)))
            return
        self.messages, said = asked, []
        for token in stream_tokens(model, ids, self.most, temperature=0.0):
            if token == template.stop_token:
                break
            said.append(token.item())
            yield self.page(tokenizer.decode(said))
        self.messages.append({"role": "assistant", "content": tokenizer.decode(said)})
        yield self.page()

    def page(self, unfinished: str = "") -> str:
        lines = [*self.messages]
        if unfinished:
            lines.append({"role": "assistant", "content": unfinished})
        return frames.card("".join(
            f'<div><b style="color: {ASSISTANT if line["role"] == "assistant" else BLACK}">'
            f'{line["role"]}</b> <span style="white-space: pre-wrap">'
            f'{html.escape(line["content"])}</span></div>'
            for line in lines
        ))  # fmt: skip
