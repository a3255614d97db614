"""POST /slots/{id}: save, restore, erase; names, damaged files, a disk that says no."""

from __future__ import annotations

import errno
import os
import stat

import msgspec
import pytest

from llamatw.capi.records import EngineInfo
from llamatw.engine import savedir

PROMPT = [(3 * i) % 250 for i in range(150)]


@pytest.fixture
def shelf(tmp_path):
    path = tmp_path / "shelf"
    path.mkdir()
    return path


@pytest.fixture
def server(make_server, shelf):
    server = make_server(slot_save_path=str(shelf))
    server.engine.say = "x" * 20
    return server


def act(server, action, slot=0, name="a.bin"):
    return server.post(f"/slots/{slot}?action={action}", {"filename": name})


def cached(server, slot=0):
    body = {"prompt": PROMPT, "n_predict": 4, "seed": 1, "id_slot": slot}
    return server.post("/completion", body).json["timings"]["cache_n"]


def unharmed(server):
    """Every sequence closed, no draft left; the server serves."""
    assert server.engine.stats().seqs_open == 0
    assert server.post("/completion", {"prompt": "hi", "n_predict": 3}).status == 200


def test_save_erase_restore(server, make_server, shelf):
    assert cached(server) == 0
    done = act(server, "save").json
    size = (shelf / "a.bin").stat().st_size
    assert done == {
        "id_slot": 0,
        "filename": "a.bin",
        "n_saved": 153,
        "n_written": size,
        "timings": {"save_ms": done["timings"]["save_ms"]},
    }
    assert os.listdir(shelf) == ["a.bin"] and stat.S_IMODE((shelf / "a.bin").stat().st_mode) == 0o600
    assert server.post("/slots/0?action=erase", b"").json == {"id_slot": 0, "n_erased": 153}
    assert server.post("/slots/0?action=erase", b"").json == {"id_slot": 0, "n_erased": 0}
    assert cached(server) == 0, "erased"
    later = make_server(slot_save_path=str(shelf))
    later.engine.say = "x" * 20
    done = act(later, "restore", slot=1).json
    assert (done["id_slot"], done["n_restored"], done["n_read"]) == (1, 153, size)
    assert done["timings"]["restore_ms"] >= 0
    assert cached(later, slot=1) == 149
    assert act(later, "save", slot=1, name="b").json["n_saved"] == 153
    unharmed(server)


def test_a_save_replaces_a_file(server, shelf):
    (shelf / "a.bin").write_bytes(b"old")
    cached(server)
    assert act(server, "save").status == 200
    assert act(server, "restore", slot=1).status == 200
    assert os.listdir(shelf) == ["a.bin"]


def test_an_empty_slot(server):
    assert act(server, "save", slot=1).json["n_saved"] == 0
    cached(server)
    assert act(server, "restore", slot=0).json["n_restored"] == 0
    assert act(server, "save", slot=0).json["n_saved"] == 0


def test_saving_a_running_slot(server):
    body = b'{"prompt": "a running prompt", "n_predict": 200, "ignore_eos": true, "id_slot": 0}'
    running = server.connect().send("POST", "/completion", body)
    server.pump.run(5)
    saving = server.connect().send("POST", "/slots/0?action=save", b'{"filename": "a"}')
    restoring = server.connect().send("POST", "/slots/0?action=restore", b'{"filename": "a"}')
    erasing = server.connect().send("POST", "/slots/0?action=erase")
    server.pump.run(40)
    assert saving.reply().json["n_saved"] > len("a running prompt")
    assert restoring.reply().error(503)["type"] == "unavailable_error"
    assert erasing.reply().headers["retry-after"] == "1"
    server.pump.run()
    assert running.reply().json["tokens_predicted"] == 200
    assert act(server, "restore", name="a").status == 200
    unharmed(server)


def test_the_client_leaves(server, shelf):
    cached(server)
    leaving = server.connect().send("POST", "/slots/0?action=save", b'{"filename": "a"}')
    leaving.leave()
    server.pump.run()
    assert os.listdir(shelf) == ["a"], "what was begun is ended"
    assert act(server, "restore", name="a").status == 200
    unharmed(server)


def test_too_many_wait(server):
    connections = [server.connect().send("POST", "/slots/0?action=erase") for _ in range(18)]
    connections[-1].reply().error(429)
    server.pump.run()
    assert [connection.reply().status for connection in connections[:17]] == [200] * 17


BAD_NAMES = [
    "",
    ".",
    "..",
    "../a",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a\0",
    "ä",
    "a b",
    "a" * 129,
    "a\n",
    "~",
    "a%2fb",
    "-:",
]


@pytest.mark.parametrize("action", ["save", "restore"])
@pytest.mark.parametrize("name", BAD_NAMES)
def test_names(server, shelf, action, name):
    act(server, action, name=name).error(400, "filename")
    assert os.listdir(shelf) == []


@pytest.mark.parametrize("body", [{}, {"filename": 3}, {"filename": None}])
def test_no_name(server, body):
    server.post("/slots/0?action=save", body).error(400, "filename")


def test_wrong_requests(server, make_server):
    for slot in ("2", "-1", "x", "0x0", "1" * 30, "%C2%B2"):
        act(server, "save", slot=slot).error(400, "id_slot")
    for query in ("", "?action=", "?action=eat", "?action=save&action=erase"):
        server.post(f"/slots/0{query}", {"filename": "a"}).error(400, "action")
    server.post("/slots/0?action=save", b"{").error(400)
    act(server, "restore", name="absent").error(404, "filename")
    bare = make_server()
    for action in ("save", "restore"):
        assert "--slot-save-path" in act(bare, action).error(501)["message"]
    assert bare.post("/slots/0?action=erase", b"").status == 200
    make_server(ready=False).connect().send("POST", "/slots/0?action=erase").reply().error(503)


def test_what_is_no_regular_file(server, shelf):
    (shelf / "folder").mkdir()
    os.mkfifo(shelf / "pipe")
    (shelf / "target").write_bytes(b"x")
    (shelf / "link").symlink_to("target")
    for name in ("folder", "pipe", "link"):
        assert "regular" in act(server, "restore", name=name).error(400, "filename")["message"]
    cached(server)
    act(server, "save", name="folder").error(400, "filename")
    assert act(server, "save", name="link").status == 200
    assert (shelf / "target").read_bytes() == b"x", "a link is replaced, not followed"
    assert not (shelf / "link").is_symlink()
    assert sorted(os.listdir(shelf)) == ["folder", "link", "pipe", "target"]
    unharmed(server)


def test_damaged_files(server, shelf):
    cached(server)
    act(server, "save")
    whole = (shelf / "a.bin").read_bytes()
    for at in range(0, len(whole), 37):
        damaged = bytearray(whole)
        damaged[at] ^= 16
        (shelf / "a.bin").write_bytes(damaged)
        act(server, "restore", slot=1).error(400, "filename")
    for size in range(0, len(whole), 61):
        (shelf / "a.bin").write_bytes(whole[:size])
        act(server, "restore", slot=1).error(400, "filename")
    assert act(server, "save", slot=1, name="b").json["n_saved"] == 0, "the slot is as it was"
    (shelf / "a.bin").write_bytes(whole)
    assert act(server, "restore", slot=1).json["n_restored"] == 153
    unharmed(server)


def other_server(make_server, shelf, **info):
    """One whose engine is another."""
    server = make_server(ready=False, slot_save_path=str(shelf))
    server.engine.info = msgspec.convert({**msgspec.to_builtins(server.engine.info), **info}, EngineInfo)
    server.pump.run()
    return server


@pytest.mark.parametrize(
    ("info", "says"),
    [
        ({"arch": "other"}, "another model"),
        ({"n_layer": 2}, "another model"),
        ({"page_bytes": 512}, "another shape"),
        ({"n_ctx": 128}, "the context has room for 127"),
    ],
)
def test_another_engine(server, make_server, shelf, info, says):
    cached(server)
    act(server, "save")
    other = other_server(make_server, shelf, **info)
    assert says in act(other, "restore").error(400, "filename")["message"]
    unharmed(other)


def test_with_self_extend_pages_mean_something_else(server, make_server, shelf):
    cached(server)
    act(server, "save")
    other = make_server(slot_save_path=str(shelf))
    other.service.settings = msgspec.structs.replace(other.service.settings, group_n=2, group_w=64)
    assert "another model" in act(other, "restore").error(400, "filename")["message"]


class Full:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file, room, reason):
        self._file, self._room, self._reason = file, room, reason

    def write(self, data):
        self._room -= len(data)
        if self._room < 0:
            raise OSError(self._reason, os.strerror(self._reason))
        return self._file.write(data)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize("room", [0, 100, 200, 1000])
@pytest.mark.parametrize(("reason", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 500)])
def test_a_disk_that_says_no(server, shelf, monkeypatch, room, reason, status):
    cached(server)
    act(server, "save")
    before = (shelf / "a.bin").read_bytes()
    fdopen = os.fdopen
    monkeypatch.setattr(savedir.os, "fdopen", lambda fd, mode: Full(fdopen(fd, mode), room, reason))
    act(server, "save").error(status)
    monkeypatch.undo()
    assert os.listdir(shelf) == ["a.bin"] and (shelf / "a.bin").read_bytes() == before
    assert act(server, "restore", slot=1).status == 200
    unharmed(server)


@pytest.mark.parametrize("call", ["open", "fsync", "rename"])
@pytest.mark.parametrize(("reason", "status"), [(errno.ENOSPC, 507), (errno.EROFS, 500), (errno.EACCES, 500)])
def test_every_call_may_fail(server, shelf, monkeypatch, call, reason, status):
    cached(server)
    real = getattr(os, call)

    def fails(*args, **kwargs):
        if call != "open" or args[1] & os.O_CREAT:
            raise OSError(reason, os.strerror(reason))
        return real(*args, **kwargs)

    monkeypatch.setattr(savedir.os, call, fails)
    message = act(server, "save").error(status)["message"]
    monkeypatch.undo()
    assert os.strerror(reason) in message and str(shelf) not in message
    assert os.listdir(shelf) == []
    unharmed(server)


def test_a_directory_that_has_gone(server, shelf):
    shelf.rmdir()
    for action in ("save", "restore"):
        assert "--slot-save-path" in act(server, action).error(500)["message"]
    unharmed(server)


def test_a_stop_in_the_middle(server, shelf):
    cached(server)
    saving = server.connect().send("POST", "/slots/0?action=save", b'{"filename": "a"}')
    server.service.stopService()
    server.pump.run()
    saving.reply().error(503)
    assert os.listdir(shelf) == []


def test_to_one_api_key_another_ones_slot_is_empty(make_server, tmp_path):
    server = make_server(api_keys=("one", "two"), slot_save_path=str(tmp_path))

    def act(action, key, name="a.bin"):
        return server.post(f"/slots/0?action={action}", {"filename": name}, x_api_key=key)

    server.post("/completion", {"prompt": "x" * 100, "n_predict": 1, "id_slot": 0}, x_api_key="one")
    assert act("save", "two", "b.bin").json["n_saved"] == 0 and act("erase", "two").json["n_erased"] == 0
    assert act("save", "one").json["n_saved"] == 101
    act("restore", "two").error(404)
    assert act("restore", "one").json["n_restored"] == 101


def test_slots_of_recurrent_models_cannot_be_saved(make_server, shelf):
    server = make_server(ready=False, slot_save_path=str(shelf))
    server.engine.model = msgspec.structs.replace(server.engine.model, is_recurrent=True)
    server.pump.run()
    cached(server)
    for action in ("save", "restore"):
        reply = act(server, action)
        assert reply.status == 501 and "recurrent" in reply.json["error"]["message"]
    assert os.listdir(shelf) == []
    assert [slot["speculative"] for slot in server.get("/slots").json] == [False, False]
    unharmed(server)
