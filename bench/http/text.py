"""Prompts of real words, seeded, and cut to a number of tokens by asking the server."""

from __future__ import annotations

import random
import string

from bench.http.client import Client

OPENING = "The ferry leaves the north pier at six in the morning,"
STORY = (
    f"{OPENING} and on most days it is late. The captain blames the fog, "
    "the mate blames the engine, and the engine, which is older than both of them, says nothing. Anna takes it every "
    "Monday with two crates of apples and a dog that does not like water. She sells the apples at the market on the "
    "other side, buys flour and lamp oil, and is back before the school closes. One winter the lake froze from shore "
    "to shore, and the ferry lay in the ice for nine weeks. People walked across, first with ropes and long poles, "
    "then with sledges, and in the end a wedding went over with horses, music and a table full of bread. When the "
    "ice broke, it broke in one night with a noise like thunder. In the morning there was open water, grey and calm, "
    "and the captain stood on the pier with a cup of coffee and said that now he would be on time. He was late again "
    "the same day. Nobody had expected anything else, and Anna had brought a book."
)
WORDS = sorted({word.strip(string.punctuation).lower() for word in STORY.split()})
SENTENCE = range(6, 15)  # words
TRIES = 4  # a cut text may be tokenized otherwise than the tokens it was cut from


class Prompts:
    """Texts that are the same whenever seed, model and order of calls are, and otherwise differ from their start."""

    def __init__(self, client: Client, draw: random.Random) -> None:
        self._client = client
        self._draw = draw

    async def text(self, n_tokens: int) -> str:
        """So many tokens, without what the vocabulary adds in front; off by a few where no cut gives the number."""
        ids = await self.tokenize(sentences(self._draw, 2 * n_tokens + SENTENCE.stop))
        n_kept, text = n_tokens, ""
        for _ in range(TRIES):
            text = await self._detokenize(ids[:n_kept])
            if (n_found := len(await self.tokenize(text))) == n_tokens:
                break
            n_kept += n_tokens - n_found
        return text

    async def texts(self, n_texts: int, n_tokens: int) -> list[str]:
        return [await self.text(n_tokens) for _ in range(n_texts)]

    async def tokenize(self, text: str) -> list[int]:
        """Ids, special tokens in the text taken for what they are."""
        answer = await self._client.value("POST", "/tokenize", {"content": text})
        return list(answer["tokens"])

    async def _detokenize(self, ids: list[int]) -> str:
        return str((await self._client.value("POST", "/detokenize", {"tokens": ids}))["content"])


def sentences(draw: random.Random, n_words: int) -> str:
    """At least so many words of the story in any order."""
    found: list[str] = []
    while len(found) < n_words:
        words = draw.choices(WORDS, k=draw.choice(SENTENCE))
        found += [words[0].capitalize(), *words[1:-1], words[-1] + "."]
    return " ".join(found)
