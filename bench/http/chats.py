"""A scenario of conversations, and the bookkeeping of what a perfect prefix cache would still have to compute."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.http.answer import Answer
from bench.http.load import Load
from bench.http.measures import Measures, percentile, summary

Messages = list[dict[str, str]]


class Seen:
    """Token sequences that a server has been through."""

    def __init__(self) -> None:
        self._sequences: list[Sequence[int]] = []

    def add(self, ids: Sequence[int]) -> None:
        self._sequences.append(ids)

    def n_new(self, ids: Sequence[int]) -> int:
        """Tokens behind the longest beginning that some sequence has too."""
        return len(ids) - max((common_length(ids, known) for known in self._sequences), default=0)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Of the beginning that both have."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


class Turn(msgspec.Struct, frozen=True):
    kind: str
    answer: Answer
    n_new: int


class Conversations:
    """Sends turns, and notes for each what was new in it.

    A reply counts as seen as the text it is shown back as: where the tokens of that differ from those generated, a
    cache keyed by tokens must compute it again, and that shows."""

    def __init__(self, load: Load, n_out: int) -> None:
        self.turns: list[Turn] = []
        self._load = load
        self._n_out = n_out
        self._seen = Seen()

    async def say(self, kind: str, messages: Messages) -> Messages:
        """The messages with the reply to them."""
        rendered = await self._load.client.value("POST", "/apply-template", {"messages": messages})
        ids = await self._load.prompts.tokenize(rendered["prompt"])
        n_new = self._seen.n_new(ids)
        answer = await self._load.chat(messages, self._n_out)
        self.turns.append(Turn(kind, answer, n_new))
        self._seen.add(await self._load.prompts.tokenize(rendered["prompt"] + answer.text))
        return [*messages, {"role": "assistant", "content": answer.text}]


async def multi_turn(load: Load, n_turns: int = 6, n_system: int = 200, n_user: int = 60, n_out: int = 48) -> Measures:
    """One chat; then its third turn edited, the answer generated again, a fork; then two users alternating.

    prompt_tokens_new: never seen before by the server; the last token of a prompt is computed even when known."""
    talk = Conversations(load, n_out)
    system = [{"role": "system", "content": await load.prompts.text(n_system)}]
    questions = [_user(text) for text in await load.prompts.texts(n_turns + 2, n_user)]
    chat, starts = system, list[Messages]()
    for turn, question in enumerate(questions[:n_turns], 1):
        starts.append(chat)
        chat = await talk.say(f"turn{turn}", [*chat, question])
    third = [*starts[min(2, n_turns - 1)], questions[n_turns]]
    await talk.say("edit", third)
    await talk.say("regenerate", third)
    await talk.say("fork", [*starts[-1], questions[n_turns + 1]])
    await _alternate(load, talk, system, n_turns // 2, n_user)
    return _measures(talk.turns)


async def _alternate(load: Load, talk: Conversations, system: Messages, n_turns: int, n_user: int) -> None:
    chats = [system, system]
    for turn in range(2 * n_turns):
        question = _user(await load.prompts.text(n_user))
        chats[turn % 2] = await talk.say("alternating", [*chats[turn % 2], question])


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def _measures(turns: Sequence[Turn]) -> Measures:
    measures = summary([turn.answer for turn in turns])
    del measures["tokens_per_s"], measures["wall_s"]  # between turns this side tokenizes
    for kind in dict.fromkeys(turn.kind for turn in turns):
        of_kind = [turn for turn in turns if turn.kind == kind and turn.answer.times]
        if of_kind:
            measures[f"{kind}_ttft_ms"] = percentile([turn.answer.ttft_s for turn in of_kind], 50) * 1e3
        measures[f"{kind}_computed"] = sum(turn.answer.n_computed for turn in of_kind)
        measures[f"{kind}_new"] = sum(turn.n_new for turn in of_kind)
    n_new = sum(turn.n_new for turn in turns)
    return measures | {
        "prompt_tokens_new": n_new,
        "computed_of_new": measures["prompt_tokens_computed"] / max(n_new, 1),
    }
