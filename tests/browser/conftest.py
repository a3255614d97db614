"""A stand-in server for the page: our HTTP shapes from a script, no engine.  One per test, and one Chromium for all."""

from __future__ import annotations

import json
import math
import mimetypes
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

WEBROOT = Path(__file__).resolve().parents[2] / "webroot"
PROPS = {
    "model_path": "/models/Tiny-1B.Q4_1.gguf",
    "total_slots": 4,
    "default_generation_settings": {
        "n_ctx": 2048,
        "params": {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.05, "repeat_penalty": 1.0,
                   "max_tokens": -1, "seed": -1, "cache_prompt": True, "mirostat": 0, "samplers": ["top_k", "min_p"]},
    },
}  # fmt: skip
SLOTS = [
    {"id": 0, "n_ctx": 2048, "is_processing": True, "n_prompt_tokens": 90, "n_prompt_tokens_processed": 60,
     "n_prompt_tokens_cache": 30, "next_token": [{"n_decoded": 7}]},
    {"id": 1, "n_ctx": 2048, "is_processing": False},
]  # fmt: skip
METRICS = """# HELP llamacpp:tokens_predicted_total Tokens generated.
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 1234.0
llamacpp:prompt_tokens_total 300.0
llamacpp:prompt_tokens_cached_total 100.0
llamacpp:requests_processing 1.0
llamacpp:requests_deferred 5.0
llamatw_kv_pages{state="free"} 50.0
llamatw_kv_pages{state="cached"} 25.0
llamatw_kv_pages{state="used"} 25.0
llamatw_time_to_first_token_seconds_count 4.0
llamatw_time_to_first_token_seconds_sum 2.0
"""
Step = str | dict[str, Any] | threading.Event | None


class FakeServer(ThreadingHTTPServer):
    """Tests set the public fields; handlers read them.

    A reply's script is a list of steps: text is a token, an Event is waited for, a dict is sent as it stands,
    None breaks the connection off.  Where a request asks for probabilities, each token gets those of `probs`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Step] = ["Hello", " there."]
        self.finish = "stop"
        self.refusal: tuple[int, dict[str, Any]] | None = None  # instead of a reply
        self.probs = [0.9, 0.2]  # of the token, of another one
        self.vision = False
        self.metrics = True
        self.loading: float | None = None  # progress while the model is not there yet
        self.key = ""
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.hung_up = threading.Event()  # the client left in mid-reply

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes a connection is no news."""


class Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.paths.append(path)
        if path == "/health":
            self._health()
        elif path in ("/props", "/slots", "/metrics"):
            self._look(path) if self._allowed() else self._refuse(401, "Invalid API key", "authentication_error")
        else:
            self._file(WEBROOT / (path.lstrip("/") or "index.html"))

    def _look(self, path: str) -> None:
        if path == "/props":
            self._json(200, {**PROPS, "modalities": {"vision": self.server.vision}})
        elif path == "/slots":
            self._json(200, SLOTS)
        elif self.server.metrics:
            self._send(200, "text/plain", METRICS.encode())
        else:
            self._refuse(501, "only with --metrics", "not_supported_error")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._allowed():
            self._refuse(401, "Invalid API key", "authentication_error")
        elif self.path.endswith("/input_tokens"):
            self._json(200, {"input_tokens": sum(len(message["content"]) for message in body["messages"])})
        elif self.path == "/tokenize":
            self._json(200, {"tokens": list(range(len(body["content"])))})
        elif self.server.loading is not None:
            self._refuse(503, "Loading model", "unavailable_error")
        else:
            self.server.requests.append(body)
            self._json(*self.server.refusal) if self.server.refusal else self._stream(body)

    def _allowed(self) -> bool:
        return not self.server.key or self.headers.get("Authorization") == f"Bearer {self.server.key}"

    def _health(self) -> None:
        error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
        if self.server.loading is None:
            self._json(200, {"status": "ok"})
        else:
            self._json(503, {"status": "loading model", "progress": self.server.loading, "error": error})

    def _refuse(self, status: int, message: str, type_: str) -> None:
        self._json(status, {"error": {"code": status, "message": message, "type": type_, "param": None}})

    def _json(self, status: int, body: object) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _file(self, path: Path) -> None:
        if path.is_file():
            self._send(200, mimetypes.guess_type(path.name)[0] or "application/octet-stream", path.read_bytes())
        else:
            self._refuse(404, "File Not Found", "not_found_error")

    def _send(self, status: int, content_type: str, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, body: dict[str, Any]) -> None:
        self._is_chat = self.path == "/v1/chat/completions"
        self._wants_probs = bool(body.get("n_probs"))
        self._n = 0
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            if self._steps():
                self._ending()
        except OSError:
            self.server.hung_up.set()

    def _steps(self) -> bool:
        """False when the script breaks the stream off."""
        for step in self.server.script:
            if step is None:
                return False
            if isinstance(step, threading.Event):
                while not step.wait(0.05):
                    self._write(b": ping\n\n")
            elif isinstance(step, str):
                self._token(step)
            else:
                self._event(step)
        return True

    def _token(self, text: str) -> None:
        self._n += 1
        probs = [self._entry(text)] if self._wants_probs else None
        if self._is_chat:
            logprobs = {"content": probs} if probs else None
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, "logprobs": logprobs}
            self._event({"object": "chat.completion.chunk", "choices": [choice], "timings": self._timings()})
        else:
            more = {"completion_probabilities": probs} if probs else {}
            self._event({"content": text, "stop": False, "timings": self._timings(), **more})

    def _entry(self, text: str) -> dict[str, Any]:
        def one(token: str, prob: float) -> dict[str, Any]:
            return {"id": 1, "token": token, "bytes": list(token.encode()), "logprob": math.log(prob)}

        own, other = one(text, self.server.probs[0]), one("<b>other</b>", self.server.probs[1])
        return {**own, "top_logprobs": sorted([own, other], key=lambda choice: -choice["logprob"])}

    def _timings(self) -> dict[str, Any]:
        return {"cache_n": 4, "prompt_n": 8, "predicted_n": self._n, "predicted_per_second": 31.25}

    def _ending(self) -> None:
        finish = self.server.finish
        if not self._is_chat:
            kind = "limit" if finish == "length" else "eos"
            self._event({"content": "", "stop": True, "stop_type": kind, "timings": self._timings()})
            return
        usage = {"prompt_tokens": 12, "completion_tokens": self._n, "total_tokens": 12 + self._n,
                 "prompt_tokens_details": {"cached_tokens": 4}}  # fmt: skip
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "timings": self._timings()})
        self._event({"choices": [], "usage": usage})
        self._write(b"data: [DONE]\n\n")

    def _event(self, body: object) -> None:
        self._write(f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode())

    def _write(self, data: bytes) -> None:
        self.wfile.write(data)
        self.wfile.flush()


@contextmanager
def serving() -> Iterator[FakeServer]:
    fake = FakeServer()
    fake.start()
    yield fake
    fake.shutdown()
    fake.server_close()


@contextmanager
def opened(browser: Any, server: FakeServer) -> Iterator[Any]:
    """An open page.  Fails at the end if the browser reported an error, or a request went anywhere else."""
    context = browser.new_context(viewport={"width": 1000, "height": 760})
    page = context.new_page()
    page.set_default_timeout(8000)
    errors: list[str] = []
    abroad: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if _is_error(message) else None)
    ours = (server.url, f"blob:{server.url}")
    page.on("request", lambda r: None if r.url.startswith(ours) else abroad.append(r.url))
    page.goto(server.url)
    yield page
    context.close()
    assert errors == []
    assert abroad == []


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


@pytest.fixture(scope="module")  # its event loop must not run on into other tests
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = os.environ.get("LLAMATW_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        pytest.skip("no chromium here (Debian package: chromium)")
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])


@pytest.fixture
def page(browser: Any, server: FakeServer) -> Iterator[Any]:
    with opened(browser, server) as page:
        yield page


@pytest.fixture(scope="module")
def modules(browser: Any) -> Iterator[Any]:
    """One page for all tests that only import its modules."""
    with serving() as server, opened(browser, server) as page:
        yield page


def _is_error(message: Any) -> bool:
    """Chromium logs each refused or broken fetch itself; those are what some tests are about."""
    return message.type == "error" and "Failed to load resource" not in message.text
