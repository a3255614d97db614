"""Clients that programs are written with, against a real server: openai, by threads and asyncio, and LangChain."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import pytest

from llamatw.capi.engine import Engine
from llamatw.capi.records import Row, SamplingParams
from llamatw.settings import EngineSettings
from tests.live_server import Server, serving, until

openai = pytest.importorskip("openai")

HELLO: Any = [{"role": "user", "content": "What is 2+2?"}]
WISH: dict[str, Any] = {"model": "any", "messages": HELLO, "temperature": 0, "max_tokens": 40}
ENDLESS = {"ignore_eos": True, "n_predict": 7000}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}
ANN: Any = [{"role": "user", "content": "Ann is 41 years old. Answer as JSON with name and age."}]


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine_library, smollm2) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), "-m", str(smollm2), "-c", "8192") as server:
        server.wait_for_health(200)
        yield server
        assert "Traceback" not in server.log.read_text()


def address(server: Server, key: str = "none") -> dict[str, Any]:
    return {"base_url": f"http://127.0.0.1:{server.port}/v1", "api_key": key, "max_retries": 0}


def client(server: Server, key: str = "none") -> Any:
    return openai.OpenAI(**address(server, key))


# ---- openai ------------------------------------------------------------------------------------------------------


def test_chat(server, smollm2):
    ai = client(server)
    assert [model.id for model in ai.models.list()] == [str(smollm2)]
    answer = ai.chat.completions.create(**WISH)
    assert "4" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    *chunks, last = ai.chat.completions.create(**WISH, stream=True, stream_options={"include_usage": True})
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == answer.choices[0].message.content
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert (last.choices, last.usage.total_tokens) == ([], answer.usage.total_tokens)


def test_choices(server):
    create = client(server).chat.completions.create
    two = create(model="any", messages=HELLO, n=2, seed=3, max_tokens=8)
    assert [choice.index for choice in two.choices] == [0, 1]
    one = create(model="any", messages=HELLO, seed=4, max_tokens=8)
    assert two.choices[1].message.content == one.choices[0].message.content


def test_logprobs(server):
    create = client(server).chat.completions.create
    wish = {"model": "any", "messages": HELLO, "seed": 3, "max_tokens": 12, "logprobs": True, "top_logprobs": 5}
    choice = create(**wish).choices[0]
    entries = choice.logprobs.content
    assert "".join(entry.token for entry in entries) == choice.message.content
    assert all(len(entry.top_logprobs) == 5 and entry.logprob <= 0 for entry in entries)
    chunks = [chunk.choices[0] for chunk in create(**wish, stream=True)]
    assert [entry for chunk in chunks if chunk.logprobs for entry in chunk.logprobs.content] == entries
    text = client(server).completions.create(model="any", prompt="Once", max_tokens=4, logprobs=2, seed=3)
    texts = text.choices[0].logprobs
    assert len(texts.tokens) == len(texts.token_logprobs) == len(texts.text_offset) == 4


QUESTIONS = [
    ("The capital of France is", [" Paris", " Berlin", " made of cheese"]),
    ("Water boils at one hundred degrees", [" Celsius", " tall", " of Monday"]),
]


def direct(path, context: str, continuation: str) -> tuple[list[int], int, float, bool]:
    """The ids of both, how many are context, how likely the rest is after it, and whether it is what greedy gives."""
    with closing(Engine.open(path, EngineSettings(model_path=str(path), n_ctx=256, n_seqs=1))) as engine:
        before = engine.vocab.tokenize(context, add_special=True)
        ids = before + engine.vocab.tokenize(continuation)
        logits = np.empty((len(ids), engine.info.n_vocab), np.float32)
        seq, _ = engine.open_seq(ids, SamplingParams())
        engine.step([Row(seq, len(ids), logits)])
    wide = logits[len(before) - 1 : -1].astype(np.float64)
    wide -= np.log(np.exp(wide).sum(1, keepdims=True))
    rest = ids[len(before) :]
    return ids, len(before), wide[np.arange(len(rest)), rest].sum(), rest == wide.argmax(1).tolist()


def test_loglikelihoods_as_harnesses_take_them(server, smollm2):
    """By places in the text, and by counts of ids, with a token that is generated and left out."""
    create = partial(client(server).completions.create, model="any", echo=True, temperature=0)
    for context, continuations in QUESTIONS:
        sums = []
        for continuation in continuations:
            ids, n_context, expected, is_greedy = direct(smollm2, context, continuation)
            told = create(prompt=context + continuation, logprobs=5, max_tokens=0).choices[0].logprobs
            first = next(i for i, begin in enumerate(told.text_offset) if begin >= len(context))
            sums.append(math.fsum(told.token_logprobs[first:]))
            assert sums[-1] == pytest.approx(expected, abs=1e-4)
            best = [max(top, key=top.get) for top in told.top_logprobs[first:]]
            assert (best == told.tokens[first:]) is is_greedy
            by_ids = create(prompt=[ids], logprobs=1, max_tokens=1).choices[0].logprobs
            assert by_ids.token_logprobs[n_context:-1] == told.token_logprobs[first:]
        assert sums[0] == max(sums), "SmolLM2 knows that much"


def test_asyncio(server):
    async def ask() -> tuple[list[str], str]:
        async with openai.AsyncOpenAI(**address(server)) as ai:
            asked = [ai.chat.completions.create(**WISH) for _ in range(3)]
            texts = [answer.choices[0].message.content for answer in await asyncio.gather(*asked)]
            stream = await ai.chat.completions.create(**WISH, stream=True)
            return texts, "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    texts, streamed = asyncio.run(ask())
    assert "4" in streamed and texts == [streamed] * 3


def test_choices_in_a_stream_with_usage(server):
    wish = {**WISH, "n": 3, "seed": 5, "temperature": 1, "max_tokens": 6, "logprobs": True, "top_logprobs": 0}
    whole = client(server).chat.completions.create(**wish)
    *chunks, last = client(server).chat.completions.create(**wish, stream=True, stream_options={"include_usage": True})
    texts, n_tokens = ["", "", ""], [0, 0, 0]
    for choice in (chunk.choices[0] for chunk in chunks):
        texts[choice.index] += choice.delta.content or ""
        n_tokens[choice.index] += len(choice.logprobs.content) if choice.logprobs else 0
    assert texts == [choice.message.content for choice in whole.choices]
    assert n_tokens == [len(choice.logprobs.content) for choice in whole.choices]
    assert last.usage.completion_tokens == whole.usage.completion_tokens == sum(n_tokens)
    assert last.usage.prompt_tokens == whole.usage.prompt_tokens and all(chunk.usage is None for chunk in chunks)


def test_best_of(server):
    create = client(server).completions.create
    wish = {"model": "any", "prompt": "Once upon a time", "max_tokens": 8, "temperature": 1, "seed": 9, "logprobs": 0}
    every = create(**wish, n=5).choices
    best = create(**wish, n=2, best_of=5)
    scores = [math.fsum(choice.logprobs.token_logprobs) / len(choice.logprobs.tokens) for choice in every]
    ranked = sorted(range(5), key=lambda index: -scores[index])[:2]
    assert [choice.text for choice in best.choices] == [every[index].text for index in ranked]
    assert [choice.index for choice in best.choices] == [0, 1]
    assert best.usage.completion_tokens == sum(len(choice.logprobs.tokens) for choice in every)


@pytest.mark.parametrize("shape", [FORMAT, {"type": "json_object"}], ids=["json_schema", "json_object"])
def test_response_format(server, shape):
    create = client(server).chat.completions.create
    wish = {**WISH, "messages": ANN, "max_tokens": 80, "response_format": shape}
    text = create(**wish).choices[0].message.content
    assert isinstance(json.loads(text), dict)
    if shape is FORMAT:
        assert json.loads(text) == {"name": "Ann", "age": 41}
    chunks = create(**wish, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


def test_a_client_that_leaves_its_stream(server):
    stream = client(server).chat.completions.create(**WISH | {"max_tokens": None}, stream=True, extra_body=ENDLESS)
    next(iter(stream))
    stream.close()
    until(lambda: not server.busy(), "its slot is free")
    n_decoded = [slot["next_token"][0]["n_decoded"] for slot in server.ask("GET", "/slots")[1] if "next_token" in slot]
    assert max(n_decoded) < ENDLESS["n_predict"] // 2


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wrong", "kind", "status", "param"),
    [
        ({"messages": [{"role": "user", "content": "many words " * 9000}]}, "BadRequestError", 400, "prompt"),
        ({"temperature": 1000}, "BadRequestError", 400, "temperature"),
        ({"top_logprobs": 3}, "BadRequestError", 400, "top_logprobs"),
        ({"response_format": {"type": "yaml"}}, "BadRequestError", 400, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "InternalServerError", 501, "tools"),
    ],
)
def test_errors(server, stream, wrong, kind, status, param):
    with pytest.raises(getattr(openai, kind)) as error:
        client(server).chat.completions.create(**{**WISH, **wrong}, stream=stream)
    assert (error.value.status_code, error.value.param) == (status, param)


def test_unknown_routes_and_models(server):
    with pytest.raises(openai.NotFoundError):
        client(server).batches.list()
    with pytest.raises(openai.NotFoundError):
        client(server).models.retrieve("gpt-9")
    with pytest.raises(openai.InternalServerError) as error:
        client(server).embeddings.create(model="any", input="a")
    assert error.value.status_code == 501


def test_no_room(tmp_path, engine_library, smollm2):
    with serving(tmp_path, "-m", str(smollm2), "-np", "1", "--max-queue", "0") as server:
        server.wait_for_health(200)
        create = client(server).chat.completions.create
        with create(**WISH | {"max_tokens": None}, stream=True, extra_body=ENDLESS) as stream:
            next(iter(stream))
            with pytest.raises(openai.RateLimitError) as error:
                create(**WISH)
            assert int(error.value.response.headers["retry-after"]) >= 1


def test_a_server_with_keys(tmp_path, engine_library, smollm2):
    (tmp_path / "keys").write_text("# for friends\nsesame\n")
    keys = ["--api-key", "first,second", "--api-key-file", "keys", "-a", "small"]
    with serving(tmp_path, "-m", str(smollm2), *keys) as server:
        server.wait_for_health(200)
        for key in ("first", "second", "sesame"):
            assert [model.id for model in client(server, key).models.list()] == ["small"]
        for key in ("third", "firs", "first,second", "# for friends"):
            with pytest.raises(openai.AuthenticationError):
                client(server, key).chat.completions.create(model="small", messages=HELLO, max_tokens=1)
        for method, path in [("GET", "/slots"), ("GET", "/props"), ("GET", "/nothing"), ("POST", "/completion")]:
            assert server.ask(method, path)[0] == 401
        assert server.ask("POST", "/tokenize", {}, **{"X-Api-Key": "first"})[0] == 200
        with server.connect(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n") as page:
            assert page.recv(12) == b"HTTP/1.1 200"
        assert "sesame" not in server.log.read_text()


# ---- LangChain ---------------------------------------------------------------------------------------------------


@pytest.fixture
def chat(server) -> Any:
    langchain = pytest.importorskip("langchain_openai")
    return langchain.ChatOpenAI(**address(server), model="any", temperature=0, max_tokens=60, stream_usage=True)


def test_langchain(chat):
    answer = chat.invoke("What is 2+2?")
    assert "4" in answer.content and answer.response_metadata["finish_reason"] == "stop"
    chunks = list(chat.stream("What is 2+2?"))
    assert len(chunks) > 4 and "".join(chunk.content for chunk in chunks) == answer.content
    usage = [chunk.usage_metadata["total_tokens"] for chunk in chunks if chunk.usage_metadata]
    assert usage == [answer.usage_metadata["total_tokens"]]
    assert [got.content for got in chat.batch(["What is 2+2?"] * 3)] == [answer.content] * 3
    with_probs = chat.bind(logprobs=True, top_logprobs=2).invoke("Hi").response_metadata["logprobs"]["content"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in with_probs)


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_langchain_structured_output(chat, method):
    schema = {"title": "Person", **PERSON}
    assert chat.with_structured_output(schema, method=method).invoke(ANN[0]["content"]) == {"name": "Ann", "age": 41}


def test_langchain_with_tools_is_told_that_there_are_none(chat):
    with pytest.raises(openai.InternalServerError, match="tools is not supported"):
        chat.with_structured_output({"title": "Person", **PERSON}, method="function_calling").invoke("Ann is 41")
