"""The examples of README.md as they stand there, but for the port; and docs/api.md beside what the server has."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from llamatw.engine.sequence import SamplingParams
from llamatw.web import sampling
from llamatw.web.completions import TextRequest
from llamatw.web.infill import InfillRequest
from llamatw.web.messages import ChatRequest
from llamatw.web.props import PropsRequest
from llamatw.web.schema import CompletionRequest, DetokenizeRequest, SlotFileRequest, TokenizeRequest
from tests.live_server import Server, serving

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = [re.sub("^    ", "", block, flags=re.M) for block in re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", README, re.M)]
CURLS = [call.strip() for block in BLOCKS for call in re.split(r"^(?=curl )", block, flags=re.M) if "curl " in call]
BODIES = [CompletionRequest, InfillRequest, ChatRequest, TextRequest, PropsRequest]
BODIES += [TokenizeRequest, DetokenizeRequest, SlotFileRequest]


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine_library, smollm2) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), "-m", str(smollm2), "-c", "2048", "-n", "32") as server:
        server.wait_for_health(200)
        yield server


def run(server: Server, *words: str, program: str) -> str:
    """What the program prints when it talks to this server."""
    assert "127.0.0.1:8080" in program
    text = program.replace("127.0.0.1:8080", f"127.0.0.1:{server.port}")
    done = subprocess.run([*words, text], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def block(mark: str) -> str:
    (found,) = [block for block in BLOCKS if mark in block]
    return found


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    return path


@pytest.mark.parametrize("call", CURLS, ids=range(len(CURLS)))
def test_curl(server, call):
    needs("curl")
    said = run(server, "sh", "-c", program=call)
    if '"stream": true' in call:
        events = [msgspec.json.decode(line[6:]) for line in said.splitlines() if line.startswith("data: ")]
        assert events[-1]["stop"] and "".join(event["content"] for event in events).strip()
    else:
        answer = msgspec.json.decode(said)
        assert (answer["content"] if "content" in answer else answer["choices"][0]["message"]["content"]).strip()


def test_node(server):
    assert run(server, needs("node"), "--input-type=module", "-e", program=block("await fetch(")).strip()


def test_python(server):
    pytest.importorskip("openai")
    assert run(server, sys.executable, "-c", program=block("from openai import OpenAI")).strip()


def test_there_are_examples_of_each_kind():
    assert len(CURLS) >= 3


# ---- docs/api.md -------------------------------------------------------------------------------------------------


FREE = {"chat_template_caps", "modalities", "top_logprobs"}  # what is in them has names of its own


def names(value: Any) -> Iterator[str]:
    """All keys in an answer."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from names(inner if name not in FREE else None)
    elif isinstance(value, list):
        for inner in value:
            yield from names(inner)


def unknown(words: set[str]) -> set[str]:
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]*`", API))))
    return {word for word in words if not set(re.findall(r"\w+", word)) <= told}


@pytest.mark.parametrize("body", BODIES)
def test_every_field_is_told(body):
    assert not unknown({field.encode_name for field in msgspec.structs.fields(body)})


def test_every_key_of_an_answer_is_told(server):
    wish = {"n_predict": 2, "n_probs": 1, "post_sampling_probs": True, "return_tokens": True, "prompt": "Hi"}
    answers = [server.complete(wish), *server.stream({**wish, "return_progress": True, "timings_per_token": True})]
    answers.append(server.ask("POST", "/v1/completions", {"prompt": "Hi", "max_tokens": 2, "logprobs": 0})[1])
    chat = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2, "logprobs": True}
    answers.append(server.ask("POST", "/v1/chat/completions", {**chat, "top_logprobs": 1})[1])
    answers += [server.ask("GET", path)[1] for path in ("/props", "/slots", "/health")]
    assert not unknown({name for answer in answers for name in names(answer)})


def test_defaults_of_sampling_are_those_told():
    told: dict[str, Any] = {}
    for line in API.split("Sampling:")[1].split("\n## ")[0].splitlines():
        cells = re.split(r"(?<!\\) \| ", line.strip("| "))
        if line.startswith("| `") and len(cells) == 3:
            fields, values = re.findall(r"`(\w+)`", cells[0]), cells[1].strip("`")
            found = [values] if len(fields) == 1 else values.split(", ")
            told |= dict(zip(fields, found, strict=True)) if cells[1] else {}
    used = msgspec.structs.asdict(SamplingParams(repeat_penalty=1.1))
    used["samplers"] = sampling.shown(SamplingParams())  # by the names on the wire
    assert len(told) > 25
    for name, value in told.items():
        assert msgspec.json.decode(value.split(";")[0]) == msgspec.json.decode(msgspec.json.encode(used[name])), name
