"""/metrics: who may read it, that Prometheus can, and that its numbers are those of what happened."""

from __future__ import annotations

import math
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llamatw.engine.stats import Snapshot
from llamatw.web.metrics import render

CHAT = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def measured(make_server):
    return make_server(metrics=True)


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def scrape(server):
    """(sample name, label value or None) -> number."""
    reply = server.connect().send("GET", "/metrics").reply()
    assert reply.status == 200, reply.body
    return {
        (sample.name, next(iter(sample.labels.values()), None)): sample.value
        for family in families(reply.body.decode()).values()
        for sample in family.samples
    }


def test_refused_without_the_flag(server):
    error = server.get("/metrics").error(501)
    assert error["type"] == "not_supported_error" and "--metrics" in error["message"]
    assert server.get("/props").json["endpoint_metrics"] is False


def test_headers(make_server):
    server = make_server(ready=False, metrics=True)
    server.pump.run()
    server.reactor.advance(1000)
    reply = server.get("/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert reply.headers["process-start-time-unix"] == "0", "when the site was made"
    assert server.get("/props").json["endpoint_metrics"] is True
    head = server.request("HEAD", "/metrics")
    assert (head.status, head.body) == (200, b"")


def test_needs_a_key(make_server):
    server = make_server(metrics=True, api_keys=("secret",))
    server.get("/metrics").error(401)
    assert server.get("/metrics", Authorization="Bearer secret").status == 200


def test_while_loading(make_server):
    server = make_server(ready=False, metrics=True)
    server.connect().send("GET", "/metrics").reply().error(503)


def test_a_request_is_counted(measured):
    measured.engine.say = "one two"
    measured.post("/completion", {"prompt": "abc", "n_predict": 5})
    seen = scrape(measured)
    assert seen["llamacpp:prompt_tokens_total", None] == 4
    assert seen["llamacpp:tokens_predicted_total", None] == 5
    assert seen["llamacpp:n_decode_total", None] == seen["llamatw_steps_total", None] == 4, "one guess was right"
    assert seen["llamacpp:spec_decode_num_accepted_tokens_total", None] == 1
    assert seen["llamacpp:spec_decode_num_accepted_tokens_per_pos_total", "0"] == 1
    assert seen["llamacpp:spec_decode_num_draft_tokens_total", None] == 2 + 1
    assert seen["llamacpp:spec_decode_num_drafts_total", None] == 2
    assert seen["llamacpp:n_busy_slots_per_decode", None] == 1
    assert seen["llamacpp:n_tokens_max", None] == 8
    assert seen["llamatw_requests_finished_total", "limit"] == 1
    assert seen["llamatw_requests_finished_total", "eos"] == 0
    assert seen["llamatw_time_to_first_token_seconds_count", None] == 1
    assert seen["llamatw_inter_token_seconds_count", None] == 4
    assert seen["llamatw_prompt_tokens_sum", None] == 4 and seen["llamatw_output_tokens_sum", None] == 5
    assert seen["llamatw_kv_pages", "free"] + seen["llamatw_kv_pages", "cached"] == 16
    assert seen["llamatw_engine_stuck", None] == 0


def test_cached_tokens_are_counted(measured):
    measured.engine.say = "x"
    for _ in range(2):
        measured.post("/completion", {"prompt": "abc"})
    seen = scrape(measured)
    assert seen["llamacpp:prompt_tokens_cached_total", None] == seen["llamatw_cache_hit_tokens_total", None] == 3
    assert seen["llamacpp:prompt_tokens_total", None] == 4 + 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_word_is_no_cancel(measured, stream):
    measured.engine.say = "one two three"
    measured.post("/completion", {"prompt": "abc", "stop": ["two"], "stream": stream})
    measured.post("/v1/chat/completions", {**CHAT, "stop": "two", "stream": stream})
    seen = scrape(measured)
    assert seen["llamatw_requests_finished_total", "word"] == 2
    assert seen["llamatw_requests_finished_total", "abort"] == 0


def test_a_client_that_leaves_is_a_cancel(measured):
    measured.engine.say = "x" * 500
    connection = measured.connect().send("POST", "/completion", b'{"prompt": "abc"}')
    measured.pump.run(3)
    assert scrape(measured)["llamacpp:requests_processing", None] == 1
    connection.leave()
    measured.pump.run()
    seen = scrape(measured)
    assert seen["llamatw_requests_cancelled_total", "decode"] == 1
    assert seen["llamatw_requests_finished_total", "abort"] == 1
    assert seen["llamatw_request_seconds_count", None] == 0


def test_refusals_are_counted_by_status(measured):
    measured.engine.say = "x" * 500
    for _ in range(7):  # two lanes, three may wait
        measured.connect().send("POST", "/completion", b'{"prompt": "abc"}')
    measured.pump.run(2)
    seen = scrape(measured)
    assert seen["llamatw_requests_refused_total", "429"] == 2
    assert seen["llamatw_requests_running", None] == 2 and seen["llamatw_requests_waiting", None] == 3
    measured.service.stopService()
    measured.connect().send("POST", "/completion", b'{"prompt": "abc"}').reply().error(503)
    assert measured.connect().send("GET", "/health").reply().status == 503
    assert scrape(measured)["llamatw_requests_refused_total", "503"] == 1, "asking about health is no refused request"


def test_a_stuck_step_is_a_gauge(measured):
    seen = []
    step = measured.engine.step

    def stuck(rows):
        measured.reactor.advance(31)
        seen.append(scrape(measured)["llamatw_engine_stuck", None])
        return step(rows)

    measured.engine.step = stuck
    measured.post("/completion", {"prompt": "abc", "n_predict": 1})
    assert seen == [1] and scrape(measured)["llamatw_engine_stuck", None] == 0


def test_every_family_has_help_and_type_and_only_numbers(measured):
    measured.post("/completion", {"prompt": "abc", "n_predict": 5})
    text = measured.get("/metrics").body.decode()
    for family in families(text).values():
        assert family.documentation and family.type in ("counter", "gauge", "histogram")
        assert all(math.isfinite(sample.value) for sample in family.samples)
    assert text.count("# HELP") == text.count("# TYPE") == len(families(text))


def test_buckets_are_cumulative_and_end_with_all(measured):
    measured.post("/completion", {"prompt": "abc", "n_predict": 5})
    for family in families(measured.get("/metrics").body.decode()).values():
        if family.type == "histogram":
            buckets = [(s.labels["le"], s.value) for s in family.samples if s.name.endswith("_bucket")]
            assert [n for _, n in buckets] == sorted(n for _, n in buckets)
            (total,) = [s.value for s in family.samples if s.name.endswith("_count")]
            assert buckets[-1] == ("+Inf", total)


def test_the_documentation_lists_exactly_these_names(root):
    served = set(re.findall(r"^# TYPE (\S+)", render(Snapshot(), False, {}).decode(), re.MULTILINE))
    told = re.findall(
        r"^\| `(llamacpp:\w+|llamatw_\w+)", (root / "docs" / "operating.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(told) == sorted(served)
