#!/usr/bin/env python3
"""OpenAI's API in front of a server that only speaks /completion, with a prompt format of your own.

    python examples/api_like_OAI.py --llama-api http://127.0.0.1:8080 --user-name 'USER: ' --ai-name 'ASSISTANT: '

Needs klein and treq (pip install klein treq).  llamatw has these routes itself, with the model's own chat template;
this is for older servers, and for models whose file has no template or a wrong one.
"""

from __future__ import annotations

import argparse
import json
import secrets
import time
from typing import Any

import treq
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

PASSED_ON = (
    "temperature top_k top_p presence_penalty frequency_penalty repeat_penalty mirostat mirostat_tau mirostat_eta seed "
    "grammar"
).split()
app = Klein()
options: argparse.Namespace


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chat-prompt", default="A helpful assistant follows the rules and answers a user.\n")
    parser.add_argument("--user-name", default="USER: ")
    parser.add_argument("--ai-name", default="ASSISTANT: ")
    parser.add_argument("--system-name", default="ASSISTANT's RULE: ")
    parser.add_argument("--stop", default="</s>", help="what ends a turn")
    parser.add_argument("--llama-api", default="http://127.0.0.1:8080", help="the server")
    parser.add_argument("--api-key", default="", help="the key that clients must have")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    return parser.parse_args()


def chat_prompt(messages: list[dict[str, Any]]) -> str:
    names = {"system": options.system_name, "user": options.user_name, "assistant": options.ai_name}
    turns = [f"{names[message['role']]}{message['content']}{options.stop}" for message in messages]
    return f"{options.chat_prompt}{options.stop}{''.join(turns)}{options.ai_name.rstrip()}"


def native(body: dict[str, Any], is_chat: bool) -> dict[str, Any]:
    """The body for /completion."""
    prompt = chat_prompt(body["messages"]) if is_chat else body["prompt"]
    stop = body.get("stop") or []
    fields: dict[str, Any] = {
        "prompt": prompt,
        "stop": [options.stop, *([stop] if isinstance(stop, str) else stop)],
        "stream": bool(body.get("stream")),
        "n_keep": -1,
        "cache_prompt": True,
        "slot_id": -1,
    }
    fields |= {name: body[name] for name in PASSED_ON if body.get(name) is not None}
    if body.get("max_tokens") is not None:
        fields["n_predict"] = body["max_tokens"]
    if body.get("logit_bias"):
        fields["logit_bias"] = [[int(token), bias] for token, bias in body["logit_bias"].items()]
    return fields


def finish_reason(final: dict[str, Any]) -> str:
    return "stop" if final.get("stopped_eos") or final.get("stopped_word") else "length"


def whole(final: dict[str, Any], is_chat: bool) -> dict[str, Any]:
    n_prompt, n_made = final["tokens_evaluated"], final["tokens_predicted"]
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish_reason(final)}
    if is_chat:
        choice["message"] = {"role": "assistant", "content": final["content"]}
    else:
        choice |= {"text": final["content"], "logprobs": None}
    return {
        **envelope("chat.completion" if is_chat else "text_completion", is_chat),
        "choices": [choice],
        "truncated": final["truncated"],
        "usage": {"prompt_tokens": n_prompt, "completion_tokens": n_made, "total_tokens": n_prompt + n_made},
    }


def envelope(kind: str, is_chat: bool) -> dict[str, Any]:
    id_ = f"{'chatcmpl' if is_chat else 'cmpl'}-{secrets.token_hex(12)}"
    return {"id": id_, "object": kind, "created": int(time.time()), "model": "LLaMA_CPP"}


class Chunks(Protocol):
    """Turns the server's events into OpenAI's while they come."""

    def __init__(self, request: Any, is_chat: bool) -> None:
        self.done: Deferred[None] = Deferred()
        self._request = request
        self._is_chat = is_chat
        self._envelope = envelope("chat.completion.chunk" if is_chat else "text_completion.chunk", is_chat)
        self._rest = b""
        self._gone = False
        request.notifyFinish().addErrback(self._client_left)

    def connectionMade(self) -> None:
        self._request.setHeader("content-type", "text/event-stream")
        if self._is_chat:
            self._choice({"delta": {"role": "assistant"}})

    def dataReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data: "):
                self._event(json.loads(line.removeprefix(b"data: ")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._gone:
            self._request.write(b"data: [DONE]\n\n")
        self.done.callback(None)

    def _event(self, event: dict[str, Any]) -> None:
        if "error" in event:
            self._send(event)
        elif text := event["content"]:
            self._choice({"delta": {"content": text}} if self._is_chat else {"text": text})
        if event.get("stop"):
            self._choice({"delta": {}} if self._is_chat else {"text": ""}, finish_reason(event))

    def _choice(self, content: dict[str, Any], reason: str | None = None) -> None:
        self._send({**self._envelope, "choices": [{"index": 0, **content, "finish_reason": reason}]})

    def _send(self, body: object) -> None:
        if not self._gone:
            self._request.write(b"data: %s\n\n" % json.dumps(body).encode())

    def _client_left(self, _: Failure) -> None:
        self._gone = True
        transport: Any = self.transport
        transport.loseConnection()  # which ends the work for it


def refuse(request: Any, status: int, message: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader("content-type", "application/json")
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": status}}).encode()


async def complete(request: Any, is_chat: bool) -> bytes:
    request.setHeader("access-control-allow-origin", "*")
    if options.api_key and request.getHeader("authorization") != f"Bearer {options.api_key}":
        return refuse(request, 403, "wrong API key")
    try:
        body = json.load(request.content)
        fields = native(body, is_chat)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return refuse(request, 400, f"{type(error).__name__}: {error}")
    try:
        response = await treq.post(f"{options.llama_api}/completion", json=fields)
    except Exception as error:  # whatever kept treq from an answer
        return refuse(request, 502, f"{options.llama_api}: {error}")
    if response.code != 200:
        request.setResponseCode(response.code)
        request.setHeader("content-type", "application/json")
        return bytes(await response.content())
    if fields["stream"]:
        chunks = Chunks(request, is_chat)
        response.deliverBody(chunks)
        await chunks.done
        return b""
    reply = whole(await response.json(), is_chat)
    if body.get("tokenize"):
        tokens = await treq.post(f"{options.llama_api}/tokenize", json={"content": fields["prompt"]})
        reply["promptToken"] = (await tokens.json())["tokens"]
    request.setHeader("content-type", "application/json")
    return json.dumps(reply).encode()


@app.route("/chat/completions", methods=["POST"])
@app.route("/v1/chat/completions", methods=["POST"])
async def chat_completions(request: Any) -> bytes:
    return await complete(request, is_chat=True)


@app.route("/completions", methods=["POST"])
@app.route("/v1/completions", methods=["POST"])
async def completions(request: Any) -> bytes:
    return await complete(request, is_chat=False)


@app.route("/<path:path>", methods=["OPTIONS"])
def allow(request: Any, path: str) -> bytes:
    request.setHeader("access-control-allow-origin", "*")
    request.setHeader("access-control-allow-headers", "*")
    return b""


if __name__ == "__main__":
    options = parse()
    app.run(options.host, options.port)
