"""A real server as its operators see it: metrics over HTTP, notifications as systemd would get them."""

from __future__ import annotations

import http.client
import socket

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.live_server import PATIENCE_S, hang_up, serving, until


def scrape(server):
    """Sample name, with its label's value, -> number."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    connection.request("GET", "/metrics")
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    assert reply.status == 200 and int(reply.headers["Process-Start-Time-Unix"]) > 1e9
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_of_a_real_engine(tmp_path, engine_library, smollm2):
    with serving(tmp_path, "-m", str(smollm2), "-c", "2048", "-np", "2", "-cram", "0", "--metrics") as server:
        server.wait_for_health(200)
        before = scrape(server)
        server.complete({"prompt": "The capital of France is", "n_predict": 9, "ignore_eos": True})
        endless = {"prompt": "Once upon a time", "n_predict": -1, "ignore_eos": True, "stream": True}
        peer = server.post("/completion", endless)
        until(server.busy, "the other one runs")
        hang_up(peer)
        until(lambda: not server.busy(), "it has been given up")
        after = scrape(server)
    assert not any(before[name] for name in before if "_total" in name or name.endswith(("_count", "_sum")))
    assert after["llamatw_output_tokens_sum"] == 9 and after["llamatw_prompt_tokens_sum"] == 5
    assert after["llamatw_request_seconds_count"] == 1 and after["llamatw_requests_submitted_total"] == 2
    assert after["llamatw_queue_seconds_count"] == 2
    assert after["llamatw_requests_finished_total limit"] == after["llamatw_requests_finished_total abort"] == 1
    assert after["llamatw_time_to_first_token_seconds_sum"] > 0
    assert after["llamatw_step_seconds_count"] == after["llamacpp:n_decode_total"] <= after["llamatw_steps_total"]
    assert after["llamatw_kv_pages free"] + after["llamatw_kv_pages cached"] == 32
    assert after["llamatw_kv_pages used"] == 0 < after["llamatw_kv_pages cached"]


@pytest.fixture
def manager(tmp_path):
    """The other end of NOTIFY_SOCKET."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE_S)
    yield manager
    manager.close()


def test_systemd_is_told(tmp_path, engine_library, smollm2, manager):
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with serving(tmp_path, "-m", str(smollm2), "-c", "512", environment=environment) as server:
        first = [manager.recv(100) for _ in range(3)]
        assert server.ask("GET", "/health") == (200, {"status": "ok"})
    assert first == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]
    rest = [manager.recv(100)]
    while rest[-1] != b"STOPPING=1":
        rest.append(manager.recv(100))
    assert set(rest[:-1]) <= {b"WATCHDOG=1"}


def test_systemd_is_not_told_that_a_broken_model_is_ready(tmp_path, engine_library, manager):
    (tmp_path / "m.gguf").write_bytes(b"GGUF\0\0\0\0")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with serving(tmp_path, "-m", "m.gguf", environment=environment) as server:
        server.wait_for_health(503)
    assert manager.recv(100) == b"STOPPING=1"
