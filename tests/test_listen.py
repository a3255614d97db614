"""Places to listen on, and a real server there: several, Unix sockets, systemd's, TLS; and 1200 half-sent requests."""

from __future__ import annotations

import datetime
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from llamatw import listen
from llamatw.settings import WebSettings
from tests.live_server import ENVIRONMENT, serving, start, until

BROKEN = b"GGUF\0\0\0\0"  # a server of it answers, and that is all that is needed here
LOOPBACK = "127.0.0.1"


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "m.gguf"
    path.write_bytes(BROKEN)
    return str(path)


def opened(*hosts: str, **wishes: object) -> list[listen.Listener]:
    return listen.open_listeners(WebSettings(hosts=hosts, port=wishes.pop("port", 0), **wishes))  # type: ignore[arg-type]


def refusal(*hosts: str, **wishes: object) -> str:
    with pytest.raises(SystemExit) as exit_:
        opened(*hosts, **wishes)
    assert isinstance(exit_.value.code, str)
    assert "\n" not in exit_.value.code
    return exit_.value.code


def test_several_places(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    found = opened(LOOPBACK, f"unix:{path}", "0.0.0.0")
    try:
        assert [listener.is_local for listener in found] == [True, True, False]
        assert found[1].name == f"unix:{path}"
        assert found[0].name.startswith("127.0.0.1:")
        assert found[0].socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    finally:
        listen.close(found)
    assert not os.path.exists(path)


def test_nothing_stays_open_when_one_place_cannot_be_had(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    assert "cannot listen on 192.0.2.1:0" in refusal(f"unix:{path}", "192.0.2.1")
    assert not path.exists()


def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    found = opened(path)
    assert "Address already in use" in refusal(path)
    assert os.path.exists(path), "a living server's socket stays"
    listen.close(found)
    (tmp_path / "file").write_text("x")
    assert "no socket" in refusal(f"unix:{tmp_path / 'file'}")
    assert (tmp_path / "file").read_text() == "x"
    assert "at most 107 bytes" in refusal("unix:/" + "x" * 200)
    assert "No such file" in refusal("unix:/no/such/folder/s")


def test_reuse_port() -> None:
    (first,) = opened(LOOPBACK, reuse_port=True)
    port = first.socket.getsockname()[1]
    (second,) = opened(LOOPBACK, port=port, reuse_port=True)
    assert "Address already in use" in refusal(LOOPBACK, port=port)
    listen.close([first, second])


def test_systemd_without_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert "cannot listen on systemd:: systemd has passed no socket index=0" in refusal("systemd:")


def test_socket_of_systemd(tmp_path: Path, model: str) -> None:
    """As systemd does it: descriptor 3 is the socket, LISTEN_PID the process."""
    listener = socket.create_server((LOOPBACK, 0))
    run = (
        "import os, sys; os.dup2(int(sys.argv.pop(1)), 3); os.set_inheritable(3, True);"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='web');"
        "from twisted.scripts.twistd import run; run()"
    )
    words = [sys.executable, "-c", run, str(listener.fileno()), "-n", "--pidfile=", "llama", "-m", model]
    process = subprocess.Popen(
        [*words, "--host", "systemd:web"], cwd=tmp_path, env=ENVIRONMENT, pass_fds=[listener.fileno()]
    )
    try:
        with socket.create_connection(listener.getsockname(), 60) as peer:
            assert b"503" in exchange(peer)
    finally:
        process.terminate()
        process.wait(60)
        listener.close()


def exchange(peer: socket.socket) -> bytes:
    peer.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    pieces = []
    while piece := peer.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def test_unix_and_tcp_served_together(tmp_path: Path, model: str) -> None:
    path = tmp_path / "web.sock"
    with serving(tmp_path, "-m", model, "--host", f"unix:{path},{LOOPBACK}") as server:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(path))
            assert b"unavailable_error" in exchange(peer)
        assert server.ask("GET", "/v1/models")[0] == 503
    assert not path.exists()


def certificate(folder: Path) -> tuple[Path, Path]:
    """A key and a certificate that it signed itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(today).not_valid_after(today + datetime.timedelta(days=2))
    signed = builder.sign(key, hashes.SHA256())
    paths = folder / "key.pem", folder / "cert.pem"
    plain = serialization.NoEncryption()
    encoding = serialization.Encoding.PEM
    paths[0].write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain))
    paths[1].write_bytes(signed.public_bytes(encoding))
    return paths


def test_tls(tmp_path: Path, model: str) -> None:
    key, cert = certificate(tmp_path)
    process = start(tmp_path, "-m", model, "--port", "0", "--ssl-key-file", str(key), "--ssl-cert-file", str(cert),
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    try:
        assert process.stdout
        line = next(line for line in process.stdout if "listening on https://" in line)
        context = ssl.create_default_context(cafile=str(cert))
        context.check_hostname = False
        plain = socket.create_connection((LOOPBACK, int(line.rsplit(":", 1)[1])), 60)
        with context.wrap_socket(plain) as peer:
            assert b"unavailable_error" in exchange(peer)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_wrong_tls_files(tmp_path: Path, model: str) -> None:
    key, cert = certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = certificate(tmp_path / "other")
    for pair in ((other, cert), (cert, cert), (key, key)):
        words = ["-m", model, "--port", "0", "--ssl-key-file", str(pair[0]), "--ssl-cert-file", str(pair[1])]
        process = start(tmp_path, *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert error.startswith("twistd llama: --ssl-key-file") and error.count("\n") == 1, error


def test_no_key_on_an_open_address_is_a_loud_warning(tmp_path: Path, model: str) -> None:
    with serving(tmp_path, "-m", model, "--host", "0.0.0.0") as server:
        assert "ANYBODY who can reach 0.0.0.0:" in server.log.read_text()
    for words in (["--host", "0.0.0.0", "--api-key", "k"], []):
        with serving(tmp_path, "-m", model, *words) as server:
            assert "ANYBODY" not in server.log.read_text()


def test_half_sent_requests_are_reaped(tmp_path: Path, model: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1300
    if hard < wanted:
        pytest.skip(f"a process may open {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    peers: list[socket.socket] = []
    try:
        with serving(tmp_path, "-m", model) as server:
            peers += [server.connect(b"POST /completion HTTP/1.1\r\nHost: x\r\nX-Part") for _ in range(1200)]
            assert server.ask("GET", "/health")[0] == 503, "others are served meanwhile"
            descriptors = Path(f"/proc/{server.process.pid}/fd")
            until(lambda: len(list(descriptors.iterdir())) < 100, "they are gone")
            answers = [peer.recv(4096) for peer in peers]
            assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
            assert json.loads(answers[0].split(b"\r\n\r\n")[1])["error"]["code"] == 408
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
