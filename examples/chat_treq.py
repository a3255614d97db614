#!/usr/bin/env python3
"""Several questions at once from one Twisted process (pip install treq), each answer printed when it is complete.

    python examples/chat_treq.py 'What is a Deferred?' 'What is a Protocol?'

API_URL: the server, API_KEY: its key.  Questions share a batch in the server, so together they take little longer than
one.  An answer that takes more than a minute is given up, which ends the work for it in the server.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import treq
from twisted.internet.defer import Deferred, DeferredList, ensureDeferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import react
from twisted.python.failure import Failure

URL = os.environ.get("API_URL", "http://127.0.0.1:8080")
KEY = os.environ.get("API_KEY", "none")
PATIENCE_S = 60


class Answer(Protocol):
    """Puts the pieces of a stream together; `text` fires with the whole.  Cancelling it closes the connection."""

    def __init__(self) -> None:
        self.text: Deferred[str] = Deferred(lambda _: self._close())
        self._pieces: list[str] = []
        self._rest = b""
        self._problem: str | None = "the connection ended before the answer did"

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line == b"data: [DONE]":
                self._problem = None
            elif line.startswith(b"data: "):
                self._event(json.loads(line.removeprefix(b"data: ")))

    def _event(self, event: Any) -> None:
        if "error" in event:
            self._problem = event["error"]["message"]
        for choice in event.get("choices", []):
            self._pieces.append(choice["delta"].get("content") or "")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.text.called:
            return
        if self._problem:
            self.text.errback(RuntimeError(self._problem))
        else:
            self.text.callback("".join(self._pieces))

    def _close(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()


async def ask(question: str) -> str:
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": 128, "stream": True}
    headers: Any = {"Authorization": f"Bearer {KEY}"}
    response = await treq.post(f"{URL}/v1/chat/completions", json=body, headers=headers)
    if response.code != 200:
        raise RuntimeError((await response.json())["error"]["message"])
    answer = Answer()
    response.deliverBody(answer)
    return await answer.text


async def main(reactor: Any, *questions: str) -> None:
    answers = [ensureDeferred(ask(question)).addTimeout(PATIENCE_S, reactor) for question in questions]
    results: list[tuple[bool, Any]] = await DeferredList(answers, consumeErrors=True)
    for question, (ok, result) in zip(questions, results, strict=True):
        print(f"> {question}\n{result if ok else f'error: {result.getErrorMessage()}'}\n")
    if not all(ok for ok, _ in results):
        raise SystemExit(1)


if __name__ == "__main__":
    react(lambda reactor, *questions: ensureDeferred(main(reactor, *questions)), sys.argv[1:])
