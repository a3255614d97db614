"""The load generator: what it makes of bytes and times, and a small run of each scenario against a real server."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import results
from bench.http import __main__ as command
from bench.http import hostile, measures
from bench.http.answer import NOTHING, Answer, read
from bench.http.chats import Seen
from bench.http.client import Client, request
from bench.http.load import Load
from bench.http.rough import stretches
from bench.http.server import serving
from bench.http.steady import repeated
from bench.http.text import Prompts, sentences
from bench.workload import Job

# ---- bytes to answers --------------------------------------------------------------------------------------------


def chunk(event: object) -> bytes:
    data = b"data: %s\n\n" % (event if isinstance(event, bytes) else json.dumps(event).encode())
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
TIMINGS = {"predicted_n": 3, "prompt_n": 5, "cache_n": 7}
NATIVE = [
    HEAD,
    chunk({"content": "a", "tokens": [1]}),
    b"8\r\n: ping\n\n\r\n",
    chunk({"content": "", "tokens": [2]}),  # half a character
    chunk({"content": "ü\n", "tokens": [3]}),
    chunk({"content": "", "tokens": [], "stop": True, "timings": TIMINGS}) + b"0\r\n\r\n",
]


def test_native_stream() -> None:
    answer = read(10.0, [(10.0 + i, piece) for i, piece in enumerate(NATIVE)])
    assert (answer.status, answer.complete, answer.text) == (200, True, "aü\n")
    assert (answer.times, answer.ttft_s, answer.gaps) == ([11, 13, 14], 1, [2, 1])
    assert (answer.n_tokens, answer.n_computed, answer.n_cached, answer.ended) == (3, 5, 7, 15)
    assert answer.decode_rate == pytest.approx(2 / 3)


def test_an_event_comes_with_its_last_byte() -> None:
    """However the bytes are cut: the time is that of the piece that completes the line."""
    whole = b"".join(NATIVE)
    answer = read(0.0, [(float(i), whole[i : i + 1]) for i in range(len(whole))])
    ends = [whole.index(b"\n", whole.index(b'"tokens": [%d]' % token)) for token in (1, 2, 3)]
    assert answer.times == ends
    assert read(0.0, [(1.0, whole)]).times == [1.0, 1.0, 1.0]


def test_a_piece_longer_than_the_buffer() -> None:
    text = "x" * 100_000
    answer = read(0.0, [(1.0, HEAD + chunk({"content": text})), (2.0, chunk({"content": "y"}))])
    assert (answer.text, answer.times) == (text + "y", [1.0, 2.0])


def test_chat_stream() -> None:
    def event(delta: dict[str, Any], **more: Any) -> bytes:
        return chunk({"choices": [{"delta": delta}], **more})

    pieces = [
        HEAD,
        event({"role": "assistant", "content": None}),
        event({"content": "Hi"}),
        event({}, timings=TIMINGS),
        chunk(b"[DONE]") + b"0\r\n\r\n",
    ]
    answer = read(0.0, [(float(i), piece) for i, piece in enumerate(pieces)])
    assert (answer.text, answer.times, answer.complete, answer.n_tokens) == ("Hi", [2.0], True, 3)


def test_a_stream_that_ends_with_an_error() -> None:
    answer = read(0.0, [(1.0, HEAD + NATIVE[1] + chunk({"error": {"code": 503}}) + b"0\r\n\r\n")])
    assert (answer.status, answer.complete, answer.times) == (503, False, [1.0])


@pytest.mark.parametrize("cut", [len(HEAD) + 5, len(HEAD) + 12, len(HEAD) + len(NATIVE[1]), -5])
def test_a_stream_that_breaks_off(cut: int) -> None:
    answer = read(0.0, [(1.0, b"".join(NATIVE)[:cut])])
    assert (answer.status, answer.complete) == (200, cut == -5)
    assert measures.errors([answer])["errors"] == (cut != -5)


def test_whole_answers() -> None:
    busy = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"
    refused = read(0.0, [(1.0, busy)])
    assert (refused.status, refused.headers["retry-after"], refused.body, refused.complete) == (429, "1", b"{}", False)
    good = read(0.0, [(1.0, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")])
    assert (good.complete, good.body) == (True, b"{}")
    cut = read(0.0, [(1.0, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")])
    assert (cut.status, cut.complete) == (200, False)


@pytest.mark.parametrize("data", [b"", b"HTTP", b"rubbish\r\n\r\n", b"\0\xff" * 999])
def test_no_answer(data: bytes) -> None:
    answer = read(3.0, [(4.0, data)] if data else [])
    assert (answer.status, answer.complete, answer.ended) == (NOTHING, False, 4.0 if data else 3.0)


# ---- measures ----------------------------------------------------------------------------------------------------


def test_percentiles() -> None:
    samples = [float(i) for i in range(100, 0, -1)]
    assert [measures.percentile(samples, p) for p in (0, 1, 50, 99, 100)] == [1, 1, 50, 99, 100]
    assert [measures.percentile([1.0, 2.0, 3.0], p) for p in (50, 99)] == [2, 3]
    assert measures.spread("x", []) == {}
    assert measures.spread("x", [0.001, 0.003], largest=True) == {"x_p50_ms": 1, "x_p99_ms": 3, "x_max_ms": 3}


def test_summary() -> None:
    good = Answer(started=1, ended=5, status=200, times=[2, 3, 5], timings=TIMINGS, complete=True)
    others = [Answer(started=2, ended=3, status=status) for status in (429, 429, 200, NOTHING)]
    found = measures.summary([good, *others])
    assert {name: n for name, n in found.items() if name.startswith("errors")} == {
        "errors": 4,
        "errors_429": 2,
        "errors_cut": 1,
        "errors_none": 1,
    }
    assert (found["ttft_p50_ms"], found["gap_max_ms"], found["tokens_per_s"]) == (1000, 2000, 3 / 4)
    assert (found["prompt_tokens"], found["prompt_tokens_computed"], found["wall_s"]) == (12, 5, 4)


def test_nobody_was_served() -> None:
    found = measures.summary([Answer(started=1, ended=1)])
    assert (found["errors"], found["tokens_per_s"]) == (1, 0)
    assert "ttft_p50_ms" not in found


def test_medians() -> None:
    found = measures.medians([{"a": 3, "b": 1}, {"a": 1}, {"a": 2}])
    assert found == {"a": (2, 1, 3, 3), "b": (1, 1, 1, 1)}


def test_gaps_by_stretch() -> None:
    found = stretches([0.0, 1.0, 2.0, 5.0, 6.0, 6.5], 2.5, 6.0)
    names = [f"{name}_{what}" for name in ("before", "during", "after") for what in ("tokens", "gap_max_ms")]
    assert [found[name] for name in names] == [2, 1000, 2, 3000, 1, 500]


def test_what_was_seen_before() -> None:
    seen = Seen()
    assert seen.n_new([1, 2, 3]) == 3
    seen.add([1, 2, 3])
    seen.add([1, 5])
    assert [seen.n_new(ids) for ids in ([1, 2, 3], [1, 2, 4, 5], [1, 5, 3], [2], [])] == [0, 2, 1, 1, 0]


def test_share_of_repeated_words() -> None:
    source = "one two three four"
    texts = {"two three four five": 1 / 2, "one two": 0, "one  two three": 1, "four three two": 0}
    assert [repeated(text, source) for text in texts] == list(texts.values())


# ---- prompts, command line ---------------------------------------------------------------------------------------


class WordServer:
    """Stands for a client: a token is a word."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def value(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/detokenize":
            return {"content": " ".join(self.words[token] for token in body["tokens"])}
        first = len(self.words)
        self.words += body["content"].split()
        return {"tokens": list(range(first, len(self.words)))}


def prompts(seed: int) -> Prompts:
    return Prompts(WordServer(), random.Random(seed))  # type: ignore[arg-type]


def test_prompts_have_their_length_and_are_the_same_again() -> None:
    one, again, other = (asyncio.run(prompts(seed).texts(2, 40)) for seed in (1, 1, 2))
    assert [len(text.split()) for text in one] == [40, 40]
    assert one == again
    assert len({*one, *other}) == 4
    assert len(sentences(random.Random(1), 100).split()) >= 100


def test_command_line() -> None:
    wishes = command._arguments(["poisson:rate=8,n_requests=5", "flood", "--extra", '{"top_k": 1}', "--", "-c", "64"])
    assert [(w.name, w.arguments) for w in wishes.scenarios] == [
        ("poisson", {"rate": 8.0, "n_requests": 5}),
        ("flood", {}),
    ]
    assert (wishes.extra, wishes.flags) == ({"top_k": 1}, ["-c", "64"])


@pytest.mark.parametrize(
    "words", ["nosuch", "flood:n=1", "flood:n_requests=0", "flood:n_requests=1.5", "poisson:rate=inf"]
)
def test_wrong_scenarios(words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        command.parse(words)


@pytest.mark.parametrize(
    "argv",
    [
        ["--url", "http://x:1", "-m", "y"],
        ["--url", "http://x:1", "--", "-c", "1"],
        ["--extra", "[]"],
        ["--repeats", "0"],
    ],
)
def test_wrong_command_lines(argv: list[str]) -> None:
    with pytest.raises(SystemExit):
        command._arguments(argv)


@pytest.mark.parametrize("url", ["https://x", "http://x/path", "x:80", ""])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        Client(url)


# ---- connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [True, False])
def test_ways_of_leaving(reset: bool) -> None:
    """What the other side reads: an end, or a reset."""
    ends: list[object] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            ends.append(await reader.read())
        except ConnectionResetError:
            ends.append("reset")
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        exchange = await client.open(b"half")
        await asyncio.sleep(0.01)
        await exchange.leave(reset=reset)
        while not ends:
            await asyncio.sleep(0.01)
        server.close()

    asyncio.run(work())
    assert ends == ["reset" if reset else b"half"]


def test_nobody_listens() -> None:
    answer = asyncio.run(Client("http://127.0.0.1:1").ask("GET", "/"))
    assert (answer.status, answer.complete) == (NOTHING, False)


def test_request_bytes() -> None:
    head, body = request("POST", "/x", {"a": "é"}).split(b"\r\n\r\n")
    assert head.startswith(b"POST /x HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert json.loads(body) == {"a": "é"}


# ---- a real server -----------------------------------------------------------------------------------------------

SMALL = {  # scenario -> its arguments
    "single": {"n_prompt": 8, "n_out": 8},
    "concurrent": {"n_streams": 3, "n_prompt": 30, "n_out": 6},
    "shared-prefix": {"n_streams": 4, "n_prefix": 200, "n_own": 10, "n_out": 4},
    "stall": {"n_prompt": 200, "n_around": 5, "n_live": 500},
    "multi-turn": {"n_turns": 2, "n_system": 20, "n_user": 10, "n_out": 6},
    "poisson": {"rate": 100, "n_requests": 6, "n_prompt_most": 40, "n_out_most": 12},
    "flood": {"n_requests": 100, "n_prompt": 8, "n_out": 2},
    "idle": {"n_connections": 60, "n_prompt": 8, "n_out": 8},
    "lookup": {"n_out": 24},
    "cancel": {"n_aborts": 12, "n_prompt": 300, "n_out": 200},
    "held": {"n_rounds": 1, "n_out": 16},
    "hostile": {"n_clients": 3, "n_around": 2, "n_tokens": 25, "n_out": 2},
}


@pytest.fixture(scope="module")
def subject(engine_library: Path, smollm2: Path) -> Iterator[command.Subject]:
    with serving(["-m", str(smollm2), "-c", "2048", "-np", "4"]) as (url, process):
        yield command.Subject(url, str(smollm2), 2, "", process)


@pytest.fixture(scope="module")
def found(subject: command.Subject) -> dict[str, measures.Measures]:
    """The measures of every scenario, each in small."""
    return {name: asyncio.run(run(subject, name)) for name in command.SCENARIOS}


async def run(subject: command.Subject, name: str) -> measures.Measures:
    client, draw = Client(subject.url), random.Random(name)
    load = Load(client, Prompts(client, draw), draw, {}, subject.process, Job(subject.model, 2, []))
    await command.until_ready(client)
    return await command.SCENARIOS[name](load, **SMALL[name])


@pytest.mark.parametrize("name", ["single", "concurrent", "shared-prefix", "multi-turn", "poisson"])
def test_every_request_is_served(found: dict[str, measures.Measures], name: str) -> None:
    assert found[name]["errors"] == 0
    assert found[name]["tokens"] > 0
    assert 0 < found[name]["prompt_tokens_computed"] <= found[name]["prompt_tokens"]


def test_single(found: dict[str, measures.Measures]) -> None:
    assert (found["single"]["tokens"], found["single"]["prompt_tokens"]) == (8, 8)
    assert found["single"]["of_engine"] > 0


def test_concurrent(found: dict[str, measures.Measures]) -> None:
    assert (found["concurrent"]["requests"], found["concurrent"]["tokens"]) == (3, 18)
    assert found["concurrent"]["prompt_tokens_computed"] == 90


def test_shared_prefix(found: dict[str, measures.Measures]) -> None:
    assert found["shared-prefix"]["prompt_tokens"] >= 4 * 210
    assert found["shared-prefix"]["prompt_tokens_wanted"] == 200 + 40 + 64


def test_stall(found: dict[str, measures.Measures]) -> None:
    tokens = [found["stall"][f"{when}_tokens"] for when in ("before", "during", "after")]
    assert min(tokens) > 0
    assert found["stall"]["beside_of_alone"] > 0


def test_multi_turn(found: dict[str, measures.Measures]) -> None:
    chats = found["multi-turn"]
    assert chats["requests"] == 2 + 3 + 2
    assert chats["turn1_computed"] == chats["turn1_new"]
    assert (chats["regenerate_new"], chats["regenerate_computed"]) == (0, 1)


def test_held(found: dict[str, measures.Measures]) -> None:
    assert min(found["held"].values()) > 0
    assert set(found["held"]) >= {"free_tokens_per_s", "schema_of_free", "gbnf_of_free"}


def test_hostile(found: dict[str, measures.Measures]) -> None:
    measured = found["hostile"]
    assert all(measured[f"{name}_slowed_by"] > 0 for name in ("alone", *hostile.KINDS))
    assert measured["free_answers"] > measured["free_refused"] == 0
    assert measured["gbnf_refused"] > 0


@pytest.mark.parametrize("name", hostile.KINDS)
def test_hostile_requests_are_new_each_time(name: str) -> None:
    requests = [json.dumps(hostile.KINDS[name](n)) for n in range(24)]
    assert len(set(requests)) == (1 if name in ("free", "short") else 24)


def test_flood(found: dict[str, measures.Measures]) -> None:
    flood = found["flood"]
    assert flood["served"] + flood["refused"] == 100
    assert (flood["refused_without_retry_after"], flood["health_errors"]) == (0, 0)
    assert flood["rss_most_mib"] > 0


def test_idle(found: dict[str, measures.Measures]) -> None:
    assert found["idle"]["idle_connections"] == 60
    assert found["idle"]["fds_beside"] >= 60


def test_lookup(found: dict[str, measures.Measures]) -> None:
    assert found["lookup"]["copy_repeated"] > 0.5 > found["lookup"]["ordinary_repeated"]
    assert found["lookup"]["copy_of_ordinary"] > 0


def test_cancel(found: dict[str, measures.Measures]) -> None:
    assert found["cancel"]["aborts"] == 12
    assert found["cancel"]["fds_after"] <= found["cancel"]["fds_before"] + 2


def test_figures_of_a_given_server(
    subject: command.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    words = "concurrent:n_streams=2,n_prompt=8,n_out=3"
    monkeypatch.setattr("sys.argv", ["http", words, "--url", subject.url, "--repeats", "2", "--extra", '{"top_k": 1}'])
    command.main()
    rows = {row["measure"]: row for row in results.read("http")}
    assert (float(rows["tokens"]["median"]), rows["tokens"]["repeats"]) == (6, "2")
    assert (rows["tokens"]["scenario"], rows["tokens"]["extra"]) == (words, '{"top_k":1}')
    assert "ttft_p99_ms" in capsys.readouterr().out


def test_a_server_that_does_not_start(smollm2: Path, engine_library: Path) -> None:
    with pytest.raises(RuntimeError, match="no-such-flag"), serving(["--no-such-flag"]):
        pass
