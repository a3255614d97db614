"""Every script of examples/ against a real server, with what a person would type."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.live_server import PATIENCE_S, Server, serving, until

EXAMPLES = Path(__file__).parent.parent / "examples"
KEY = "sesame"
TYPED = "What is the capital of France?\nAnd of Italy?\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, engine_library: Path, smollm2: Path) -> Iterator[Server]:
    """One that wants a key, and logs the bodies that it gets."""
    flags = ("-c", "2048", "-n", "24", "--temp", "0", "--api-key", KEY, "-v")
    with serving(tmp_path_factory.mktemp("server"), "-m", str(smollm2), *flags) as server:
        server.wait_for_health(200)
        yield server


def run(server: Server, *words: str, typed: str = "", key: str = KEY) -> subprocess.CompletedProcess[str]:
    for program in {words[0], *(("curl", "jq") if words[-1].endswith(".sh") else ())}:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    environment = {**os.environ, "API_URL": f"http://127.0.0.1:{server.port}", "API_KEY": key}
    command = [words[0], *(str(EXAMPLES / word) if (EXAMPLES / word).is_file() else word for word in words[1:])]
    return subprocess.run(command, input=typed, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def bodies(server: Server, path: str) -> list[Any]:
    """What has been sent to a path so far."""
    lines = re.findall(rf"{re.escape(path)} (\{{.*\}})", server.log.read_text())
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("words", [("bash", "chat.sh"), ("node", "chat.mjs")])
def test_a_conversation(server: Server, words: tuple[str, ...]) -> None:
    n_before = len(bodies(server, "/completion"))
    done = run(server, *words, typed=TYPED)
    assert done.returncode == 0, done.stderr
    first, second = bodies(server, "/completion")[n_before:]
    answers = [line for line in done.stdout.replace("> ", "").splitlines() if line.strip()]
    assert len(answers) >= 2
    instruction, *turns = first["prompt"].split("\n### ")
    assert [turn.split(":")[0] for turn in turns] == ["Human", "Assistant"] * 3
    assert first["prompt"].endswith("\n### Human: What is the capital of France?\n### Assistant:")
    grown = f"{first['prompt']} {answers[0].strip()}"
    assert second["prompt"].startswith(grown)
    assert second["prompt"].endswith("\n### Human: And of Italy?\n### Assistant:")
    tokens = server.ask("POST", "/tokenize", {"content": instruction}, Authorization=f"Bearer {KEY}")[1]["tokens"]
    wanted = {"n_keep": len(tokens), "temperature": 0.2, "top_k": 40, "top_p": 0.9, "n_predict": 256}
    assert {name: first[name] for name in wanted} == wanted
    assert first["stop"] == ["\n### Human:"]
    assert first["cache_prompt"] is True
    assert first["stream"] is True


def test_the_format_of_llama_2(server: Server) -> None:
    n_before = len(bodies(server, "/completion"))
    done = run(server, "bash", "chat-llama2.sh", typed=TYPED)
    assert done.returncode == 0, done.stderr
    first, second = (body["prompt"] for body in bodies(server, "/completion")[n_before:])
    assert first.startswith("[INST] <<SYS>>\nYou are ")
    assert first.endswith(" </s><s>[INST] What is the capital of France? [/INST]")
    assert second.startswith(first)
    assert second.endswith(" </s><s>[INST] And of Italy? [/INST]")
    assert len(second) > len(first) + len(" </s><s>[INST] And of Italy? [/INST]")


@pytest.mark.parametrize("script", ["chat.sh", "chat-llama2.sh"])
def test_a_refusal_ends_a_shell_script_with_its_sentence(server: Server, script: str) -> None:
    done = run(server, "bash", script, typed=TYPED, key="wrong")
    assert done.returncode != 0
    assert "401" in done.stderr or "API key" in done.stderr


def test_the_node_script_ends_with_one_line(server: Server) -> None:
    done = run(server, "node", "chat.mjs", typed=TYPED, key="wrong")
    assert done.returncode == 1
    assert done.stderr == f"error: http://127.0.0.1:{server.port}/: Invalid API Key\n"


def test_answers_by_a_schema(server: Server, tmp_path: Path) -> None:
    schema = {"properties": {"city": {"type": "string", "maxLength": 9}, "big": {"type": "boolean"}}}
    (tmp_path / "schema.json").write_text(json.dumps({**schema, "required": ["city", "big"]}))
    words = ["--grammar-json-schema", str(tmp_path / "schema.json"), "--grammar-json-schema-prop-order", "city,big"]
    done = run(server, "node", "chat.mjs", *words, "--no-cache-prompt", "true", typed="Paris?\n")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.split("> ")[1])
    assert list(answer) == ["city", "big"]
    assert isinstance(answer["big"], bool)
    assert bodies(server, "/completion")[-1]["cache_prompt"] is False


def test_answers_by_a_grammar(server: Server, tmp_path: Path) -> None:
    (tmp_path / "yes.gbnf").write_text('root ::= " yes" | " no"')
    done = run(server, "node", "chat.mjs", "--grammar", str(tmp_path / "yes.gbnf"), typed="Is it?\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("> ")[1].strip() in ("yes", "no")


def test_the_openai_package(server: Server) -> None:
    n_before = len(bodies(server, "/v1/chat/completions"))
    done = run(server, sys.executable, "chat_openai.py", typed=TYPED)
    assert done.returncode == 0, done.stderr
    last = bodies(server, "/v1/chat/completions")[n_before:][-1]["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert last[2]["content"]
    assert last[2]["content"] in done.stdout


def test_twisted_asks_several_at_once(server: Server) -> None:
    questions = ["What is the capital of France?", "And of Italy?", "Say hello."]
    done = run(server, sys.executable, "chat_treq.py", *questions)
    assert done.returncode == 0, done.stderr
    blocks = done.stdout.strip().split("\n\n> ")
    assert [block.removeprefix("> ").split("\n")[0] for block in blocks] == questions
    assert all(block.split("\n", 1)[1].strip() for block in blocks)
    refused = run(server, sys.executable, "chat_treq.py", "Hello?", key="wrong")
    assert refused.returncode == 1
    assert "error: " in refused.stdout


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory, engine_library: Path, smollm2: Path) -> Iterator[tuple[str, Server]]:
    """api_like_OAI.py before a server without a key: its address, and the server."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("behind")
    with serving(folder, "-m", str(smollm2), "-c", "2048", "-n", "12", "-v") as server:
        server.wait_for_health(200)
        words = [sys.executable, str(EXAMPLES / "api_like_OAI.py"), "--port", str(port), "--api-key", KEY]
        words += ["--llama-api", f"http://127.0.0.1:{server.port}", "--chat-prompt", "Be brief.\n", "--stop", "<|end|>"]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: _answers(port) or process.poll() is not None, "api_like_OAI.py listens")
            yield f"http://127.0.0.1:{port}", server
        finally:
            process.terminate()
            process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as peer:
        return peer.connect_ex(("127.0.0.1", port)) == 0


def test_the_shim_speaks_to_the_openai_package(shim: tuple[str, Server]) -> None:
    url, server = shim
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    messages: Any = [{"role": "system", "content": "No lies."}, {"role": "user", "content": "Hello."}]
    wish: Any = {"model": "any", "messages": messages, "max_tokens": 8, "temperature": 0, "stop": ["zzz"]}
    whole = client.chat.completions.create(**wish, extra_body={"tokenize": True})
    sent = bodies(server, "/completion")[-1]
    assert sent["prompt"] == "Be brief.\n<|end|>ASSISTANT's RULE: No lies.<|end|>USER: Hello.<|end|>ASSISTANT:"
    assert sent["stop"] == ["<|end|>", "zzz"]
    assert (sent["n_predict"], sent["n_keep"], sent["cache_prompt"], sent["slot_id"]) == (8, -1, True, -1)
    assert whole.choices[0].finish_reason == "length"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert whole.model_extra is not None
    assert whole.model_extra["promptToken"] == server.ask("POST", "/tokenize", {"content": sent["prompt"]})[1]["tokens"]
    chunks = list(client.chat.completions.create(**wish, stream=True))
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == "length"
    text = client.completions.create(model="any", prompt="Once", max_tokens=4, logit_bias={"5": -100})
    assert text.choices[0].text
    assert bodies(server, "/completion")[-1]["logit_bias"] == [[5, -100]]
    with pytest.raises(openai.PermissionDeniedError):
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0).chat.completions.create(**wish)
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(**{**wish, "temperature": "hot"})


def test_the_shim_lets_pages_in(shim: tuple[str, Server]) -> None:
    connection = http.client.HTTPConnection(shim[0].removeprefix("http://"), timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("OPTIONS", "/v1/chat/completions")
        reply = connection.getresponse()
        assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, "*")
