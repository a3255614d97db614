"""OpenAI's text completions: /v1/completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from klein import Klein

from llamatw.errors import NotSupported
from llamatw.web import fim, prompts, reply
from llamatw.web.api import OPENAI_REPEAT_PENALTY, Api, Request
from llamatw.web.choices import Choices, choose
from llamatw.web.generation import Placed
from llamatw.web.schema import Flag, Generating, Text


class TextRequest(Generating, kw_only=True):
    """POST /v1/completions."""

    serves: ClassVar[frozenset[str]] = frozenset({"echo", "suffix"})
    zero_asks: ClassVar[bool] = True

    prompt: Any
    model: Text = None
    suffix: Text = None
    echo: Flag = None
    logprobs: int | bool | None = None


class TextChoices(Choices):
    id_prefix: ClassVar[str] = "cmpl"
    object: ClassVar[str] = "text_completion"
    chunk_object: ClassVar[str] = "text_completion"

    def whole(self, index: int, text: str) -> reply.Json:
        return {"text": text}

    def opening(self, index: int) -> reply.Json | None:
        return None

    def part(self, text: str | None) -> reply.Json:
        return {"text": text or ""}

    def logprobs(self, index: int, entries: Sequence[Placed]) -> reply.Json | None:
        return self.api.entries.text(entries, self._order)


class EchoingChoices(TextChoices):
    """Each text begins with its prompt."""

    def whole(self, index: int, text: str) -> reply.Json:
        return {"text": self.prompt(index) + text}

    def opening(self, index: int) -> reply.Json | None:
        return {"text": self.prompt(index)}


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/v1/completions", methods=["POST"])
    async def completions(request: Request) -> bytes:
        body = api.body(request, TextRequest)
        order = await api.order(request, body, OPENAI_REPEAT_PENALTY)
        if body.echo and order.shows.probs:
            raise NotSupported("logprobs of an echoed prompt are not supported in this build", "echo")
        parsed = prompts.parse(body.prompt, api.engine.capacity)
        for prompt in parsed:
            prompts.check_ids(prompt, "prompt", api.engine.info.n_vocab)
        ids = [await _ids(api, prompt, body.suffix) for prompt in parsed]
        texts = [await _text(api, prompt) for prompt in parsed]
        return await choose(EchoingChoices if body.echo else TextChoices, api, request, order, ids, texts)


async def _text(api: Api, prompt: prompts.Prompt) -> str:
    def detokenize(ids: list[int]) -> str:
        return api.engine.detokenize(ids, special=True)

    return await api.run(lambda: prompts.to_text(prompt, detokenize), prompts.size(prompt))


async def _ids(api: Api, prompt: prompts.Prompt, suffix: str | None) -> list[int]:
    if not suffix:
        return (await api.prompt_ids([prompt]))[0]
    return await fim.prompt_ids(api, fim.Hole(before=prompt, after=[suffix]))
