"""OpenAI's text completions: /v1/completions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar

from klein import Klein

from llamatw.errors import BadRequest, NotSupported
from llamatw.settings import SystemPrompt
from llamatw.web import fim, probs, prompts, reply
from llamatw.web.api import OPENAI_REPEAT_PENALTY, Api, Request
from llamatw.web.choices import Choices, choose
from llamatw.web.generation import Generation, Placed
from llamatw.web.schema import Flag, Generating, Order, Text

_MAX_SCORES = 1 << 20  # log-probabilities of prompts' tokens and their alternatives in an answer: some 30 MB


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


class ScoredChoices(EchoingChoices):
    """... and its log-probabilities with its prompt's."""

    opens_late: ClassVar[bool] = True

    def __init__(
        self, api: Api, order: Order, generations: list[Generation], prompts: list[str], told: list[probs.Prompt]
    ) -> None:
        super().__init__(api, order, generations, prompts)
        self._told = told

    def opening_logprobs(self, index: int, generation: Generation) -> reply.Json:
        told, n_probs = self._told[index // self._order.n], self._order.params.sampling.n_probs
        return self.api.entries.prompt(told, generation.scores, n_probs)

    def logprobs(self, index: int, entries: Sequence[Placed]) -> reply.Json | None:
        return self.api.entries.text(entries, self._order, len(self.prompt(index)))

    def whole_logprobs(self, index: int, generation: Generation) -> reply.Json:
        prompt, answer = self.opening_logprobs(index, generation), self.logprobs(index, generation.probs) or {}
        return {name: [*prompt[name], *answer[name]] for name in answer}


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/v1/completions", methods=["POST"])
    async def completions(request: Request) -> bytes:
        body = api.body(request, TextRequest)
        order = await api.order(request, body, OPENAI_REPEAT_PENALTY)
        if order.params.sampling.scores and body.suffix:
            raise NotSupported("logprobs of an echoed prompt are not supported with a suffix", "suffix")
        system = api.system
        parsed = prompts.parse(body.prompt, api.engine.capacity)
        for prompt in parsed:
            prompts.check_ids(prompt, "prompt", api.engine.info.n_vocab)
        ids = [await _ids(api, prompt, body.suffix, system) for prompt in parsed]
        texts = [await _text(api, prompt) for prompt in parsed]
        if not order.params.sampling.scores:
            return await choose(EchoingChoices if body.echo else TextChoices, api, request, order, ids, texts)
        _check_size(ids, order)
        n_hidden = len(await api.system_ids(system))
        told = [probs.Prompt(text, own, n_hidden) for text, own in zip(texts, ids, strict=True)]
        return await choose(partial(ScoredChoices, told=told), api, request, order, ids, texts)


def _check_size(ids: list[list[int]], order: Order) -> None:
    n_tokens, n_probs = order.n_made * sum(map(len, ids)), order.params.sampling.n_probs
    if n_tokens * (1 + n_probs) > _MAX_SCORES:
        raise BadRequest(
            f"logprobs: {n_tokens} echoed tokens with {n_probs} alternatives each are too much for one answer: the "
            f"limit is {_MAX_SCORES} log-probabilities",
            "logprobs",
        )


async def _text(api: Api, prompt: prompts.Prompt) -> str:
    def detokenize(ids: list[int]) -> str:
        return api.engine.detokenize(ids, special=True)

    return await api.run(lambda: prompts.to_text(prompt, detokenize), prompts.size(prompt))


async def _ids(api: Api, prompt: prompts.Prompt, suffix: str | None, system: SystemPrompt) -> list[int]:
    if not suffix:
        return (await api.prompt_ids([prompt], system))[0]
    return await fim.prompt_ids(api, fim.Hole(field="suffix", before=prompt, after=[suffix]))
