"""The fetching process as the server and the command line start it: locks, the cache, cancelling, proxies, TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import shapes
from llamatw import models
from llamatw.errors import ModelError
from llamatw.hub import web
from llamatw.hub.job import Job, Report
from llamatw.settings import Remote
from tests import fake_hub
from tests.fake_hub import REPO, FakeHub
from tests.live_server import serving, until
from tests.test_listen import certificate

MODEL = "m-Q4_K_M.gguf"
DATA = bytes(range(256)) * 1000
WANTED = Remote(repo=REPO)


@pytest.fixture(autouse=True)
def surroundings(fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the server's environment has, as ours."""
    fake.files[MODEL] = DATA
    for name in ("LLAMATW_CACHE", "HF_TOKEN", "MODEL_ENDPOINT", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    own = {"LLAMA_CACHE": str(tmp_path / "cache"), "HF_ENDPOINT": fake.endpoint, "HF_HOME": str(tmp_path)}
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    return {**own, "LLAMATW_CACHE": "", "HF_TOKEN": ""}


def partial(tmp_path: Path) -> Path | None:
    return next((tmp_path / "cache").rglob("*.partial"), None)


def waits_half_way(tmp_path: Path) -> bool:
    path = partial(tmp_path)
    return path is not None and path.stat().st_size == len(DATA) // 2


def test_offline_takes_the_cache_or_says_so(fake: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"{REPO} is not in the cache, {tmp_path}/cache, and --offline forbids"):
        models.resolve(remote=WANTED, offline=True)
    with pytest.raises(ModelError, match="smollm2-135m is not in the cache"):
        models.resolve(offline=True)
    assert not (tmp_path / "cache").exists()
    path = models.resolve(remote=WANTED)
    assert path.is_relative_to(tmp_path / "cache")
    asked = len(fake.asked)
    assert models.resolve(remote=Remote(repo=REPO, tag="Q4_K_M"), offline=True) == path
    for other in (Remote(repo=REPO, tag="Q8_0"), Remote(repo=REPO, file="x.gguf"), Remote(url="http://a/b")):
        with pytest.raises(ModelError, match="not in the cache"):
            models.resolve(remote=other, offline=True)
    assert len(fake.asked) == asked


def test_pull(fake: FakeHub) -> None:
    for name in (f"{REPO}:q4_k_m", fake_hub.url(fake, MODEL)):
        command = [sys.executable, "-m", "llamatw", "pull", name]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert Path(result.stdout.strip()).read_bytes() == DATA, result.stderr
        assert f"llamatw: fetching {MODEL} (0.3 MB)" in result.stderr


def test_two_processes_at_the_same_time_fetch_once(fake: FakeHub, tmp_path: Path) -> None:
    fake.hold.clear()
    command = [sys.executable, "-m", "llamatw", "pull", REPO]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    first = subprocess.Popen(command, **pipes)
    until(lambda: waits_half_way(tmp_path), "the first one fetches")
    second = subprocess.Popen(command, **pipes)
    assert f"waiting for another process that is fetching {REPO}" in second.stderr.readline()
    fake.hold.set()
    outputs = {process.communicate(timeout=60)[0] for process in (first, second)}
    assert [first.returncode, second.returncode, len(outputs)] == [0, 0, 1]
    assert len(fake.downloads()) == 1


def test_cancelling(fake: FakeHub, tmp_path: Path) -> None:
    fake.hold.clear()
    cancel = threading.Event()

    def when_half_way() -> None:
        until(lambda: waits_half_way(tmp_path), "half of it is there")
        cancel.set()

    thread = threading.Thread(target=when_half_way)
    thread.start()
    with pytest.raises(ModelError, match="cancelled"):
        models.resolve(remote=WANTED, cancel=cancel)
    thread.join()
    fake.hold.set()
    assert models.resolve(remote=WANTED).read_bytes() == DATA
    assert fake.downloads()[-1].range == f"bytes={len(DATA) // 2}-"


def test_who_is_killed_takes_the_fetching_process_along(fake: FakeHub, tmp_path: Path) -> None:
    """The lock is the process's as well: it is free when nobody writes any more."""
    fake.hold.clear()
    parent = subprocess.Popen([sys.executable, "-m", "llamatw", "pull", REPO], stderr=subprocess.DEVNULL)
    until(lambda: waits_half_way(tmp_path), "half of it is there")
    parent.kill()
    parent.wait()
    threading.Timer(0.5, fake.hold.set).start()
    assert models.resolve(remote=WANTED).read_bytes() == DATA


def test_the_process_ends_by_itself(fake: FakeHub, tmp_path: Path) -> None:
    """Also while whoever started it still waits."""
    job = Job(wanted=WANTED, endpoint=fake.endpoint, folder=str(tmp_path / "cache"))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-m", "llamatw.hub"], **pipes) as process:
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        process.stdin.flush()
        reports = [msgspec.json.decode(line, type=Report) for line in process.stdout]
        assert (process.wait(60), process.stderr.read()) == (0, b"")
    assert Path(reports[-1].path).read_bytes() == DATA


def test_what_nobody_expected_is_on_standard_error(tmp_path: Path) -> None:
    program = "from llamatw.hub import __main__; __main__.listing = None; __main__.main()"
    job = msgspec.json.encode(Job(wanted=WANTED, endpoint="http://127.0.0.1:1", folder=str(tmp_path))) + b"\n"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        process.stdin.write(job)
        process.stdin.flush()
        assert b"AttributeError: 'NoneType' object has no attribute 'find'" in process.stderr.read()


@pytest.mark.parametrize(
    "program", ["read job; echo 'out of luck' >&2; exit 3", "exec <&-; sleep 0.2; echo 'out of luck' >&2"]
)
def test_a_process_that_dies_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Also when it does not even read its job."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ModelError, match="the process that fetches the model has died: out of luck"):
        models.resolve(remote=WANTED)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(ModelError, match=f"cannot fetch {REPO} into {tmp_path}/cache"):
        models.resolve(remote=WANTED)


def test_a_server_that_is_stopped_goes_on_when_it_is_started(
    fake: FakeHub, tmp_path: Path, engine_library: Path, surroundings: dict[str, str]
) -> None:
    words, own = ["-hf", f"{REPO}:Q4_K_M", "-c", "256"], {"environment": surroundings}
    shapes.write(shapes.SHAPES["tiny"], "Q8_0", tmp_path / "tiny.gguf")
    fake.files[MODEL] = data = (tmp_path / "tiny.gguf").read_bytes()
    fake.hold.clear()
    with serving(tmp_path, *words, **own) as server:
        until(lambda: (path := partial(tmp_path)) and path.stat().st_size == len(data) // 2, "half of it is there")
        status, health = server.ask("GET", "/health")
        assert (status, health["status"]) == (503, "loading model")
    assert server.process.returncode == 0
    assert partial(tmp_path).stat().st_size == len(data) // 2
    fake.hold.set()
    with serving(tmp_path, *words, **own) as server:
        server.wait_for_health(200)
        assert server.ask("GET", "/props")[1]["model_path"].endswith(f"/{MODEL}")
    assert [asked.range for asked in fake.downloads()] == [None, f"bytes={len(data) // 2}-"]


def test_a_server_whose_model_cannot_be_fetched_says_why(
    tmp_path: Path, engine_library: Path, surroundings: dict[str, str]
) -> None:
    with serving(tmp_path, "-hf", f"{REPO}:Q2_K", environment=surroundings) as server:
        health = server.wait_for_health(503)
    assert f"{REPO}:Q2_K: no such file; the repository has {MODEL}" in health["error"]["message"]


# ---- TLS and proxies -------------------------------------------------------------------------------------------------


class Proxy:
    """Knows CONNECT and nothing else, and connects wherever it is asked to, to one port of this machine."""

    def __init__(self, port: int) -> None:
        self.heads: list[bytes] = []
        self.refuses = False
        self._port = port
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                client = self._socket.accept()[0]
            except OSError:
                return
            self.heads.append(client.recv(4096))
            if self.refuses:
                client.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._port))
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            for pair in ((client, server), (server, client)):
                threading.Thread(target=_copy, args=pair, daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def proxy(fake: FakeHub) -> Iterator[Proxy]:
    proxy = Proxy(fake.store.server_port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("is_trusted", [True, False])
def test_tls_through_a_proxy(
    fake: FakeHub, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_trusted: bool
) -> None:
    key, certificate_file = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key)
    fake.store.socket = context.wrap_socket(fake.store.socket, server_side=True)
    monkeypatch.setenv("https_proxy", f"http://user:pass%20word@127.0.0.1:{proxy.port}")
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate_file))
        assert models.resolve(remote=Remote(url=f"https://localhost/{MODEL}")).read_bytes() == DATA
        assert proxy.heads[0].startswith(b"CONNECT localhost:443 HTTP/1.1\r\nHost: localhost:443\r\n")
        assert b"Proxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in proxy.heads[0]
        return
    with pytest.raises(ModelError, match="its certificate is not to be trusted"):
        models.resolve(remote=Remote(url=f"https://localhost/{MODEL}"))


def test_plain_http_through_a_proxy_that_refuses(fake: FakeHub, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    proxy.refuses = True
    with pytest.raises(ModelError, match="the proxy refuses to connect: '403 Forbidden'"):
        models.resolve(remote=WANTED)
    assert proxy.heads[0].startswith(f"CONNECT localhost:{fake.store.server_port} ".encode())
    proxy.refuses = False
    assert models.resolve(remote=WANTED).read_bytes() == DATA


def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(ModelError, match="a proxy must be http://HOST:PORT"):
        models.resolve(remote=WANTED)


def test_https_is_not_left() -> None:
    with pytest.raises(ModelError, match="from https to http, which is not followed"):
        web._next("https://a/b", "http://a/c")
    assert web._next("https://a/b", "/c#d") == "https://a/c"
    assert web._next("http://a/b", "https://b/c") == "https://b/c"
