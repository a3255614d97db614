"""A real twistd process: the terminal's view of mistakes, and a model served end to end."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess

import pytest

from tests.live_server import serving, start, until


def output(tmp_path, *argv):
    process = start(tmp_path, *argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_help(tmp_path):
    status, out, _ = output(tmp_path, "--help")
    assert status == 0
    for flag in ("--model", "--ctx-size", "--parallel", "--api-key-file", "--n-predict", "--port"):
        assert flag in out


@pytest.mark.parametrize(
    "argv", [["--nope"], ["-np", "many"], ["-ngl", "1"], ["-m", "/no/such/file"], ["--port", "99999"]]
)
def test_mistake_is_one_line(tmp_path, argv):
    status, out, err = output(tmp_path, *argv)
    assert status == 1
    assert out == ""
    assert err.startswith("twistd llama: ")
    assert err.count("\n") == 1


def test_busy_port_is_one_line(tmp_path):
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = output(tmp_path, "-m", "m.gguf", "--port", str(port))
    assert status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in err
    assert err.count("\n") == 1


def test_broken_model_leaves_a_server_that_says_so(tmp_path, engine_library):
    (tmp_path / "m.gguf").write_bytes(b"GGUF\0\0\0\0")
    with serving(tmp_path, "-m", "m.gguf") as server:
        health = server.wait_for_health(503)
        assert health["status"] == "error"
        assert "m.gguf" in health["error"]["message"]
        assert server.ask("POST", "/completion", {"prompt": "x"})[0] == 503


def test_serves_a_model(tmp_path, engine_library, smollm2):
    with serving(tmp_path, "-m", str(smollm2), "-c", "512", "-np", "2") as server:
        assert server.wait_for_health(200) == {"status": "ok"}
        body = {"prompt": "The capital of France is", "n_predict": 8, "temperature": 0}
        status, answer = server.ask("POST", "/completion", body)
        assert (status, answer["tokens_predicted"]) == (200, 8)
        assert "Paris" in answer["content"]
        messages = [{"role": "user", "content": "What is 2+2?"}]
        chat = {"messages": messages, "temperature": 0, "max_tokens": 40}
        status, answer = server.ask("POST", "/v1/chat/completions", chat)
        assert status == 200
        assert "4" in answer["choices"][0]["message"]["content"]
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def begun(server, n_predict):
    """A stream that runs, and its first line."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {"prompt": "Once", "n_predict": n_predict, "ignore_eos": True, "stream": True}
    connection.request("POST", "/completion", json.dumps(body))
    reply = connection.getresponse()
    first = reply.readline()
    assert first.startswith(b"data: ")
    return reply, first


def test_sigterm_lets_a_running_stream_end_with_an_event(tmp_path, engine_library, smollm2):
    with serving(tmp_path, "-m", str(smollm2), "-c", "512") as server:
        server.wait_for_health(200)
        reply, first = begun(server, 400)
        server.process.send_signal(signal.SIGTERM)
        lines = [line for line in (first + reply.read()).split(b"\n") if line.startswith(b"data: ")]
        last = json.loads(lines[-1][6:])
        assert last.get("stop") is True or "error" in last
        assert server.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once(tmp_path, engine_library, smollm2, number):
    with serving(tmp_path, "-m", str(smollm2), "-c", "8192") as server:
        server.wait_for_health(200)
        reply, _ = begun(server, 7000)
        server.process.send_signal(number)

        def is_stopping():
            try:
                server.connect().close()
            except ConnectionRefusedError:
                return True

        until(is_stopping, "nobody new is let in")
        server.process.send_signal(number)
        assert server.process.wait(20) == -number
        reply.close()
