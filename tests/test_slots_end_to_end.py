"""Slots saved by one server process and restored by another, with real models."""

from __future__ import annotations

import os
import random
import struct
import threading
import time

import pytest

from tests.live_server import serving

TEXT = "The history of the city begins with a small fort at the bend of the river. " * 12
BODY = {
    "prompt": TEXT,
    "n_predict": 48,
    "temperature": 1.4,
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "seed": 7,
    "ignore_eos": True,
    "return_tokens": True,
    "id_slot": 0,
}


def act(server, action, slot=0, name="city"):
    return server.ask("POST", f"/slots/{slot}?action={action}", {"filename": name})


def told(answer):
    return answer["content"], answer["tokens"]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, engine_library, smollm2):
    """A directory with one saved slot, what it was saved as, and what the model says after it."""
    path = tmp_path_factory.mktemp("shelf")
    with serving(path, "-m", str(smollm2), "-c", "2048", "--slot-save-path", str(path)) as server:
        server.wait_for_health(200)
        first = server.complete(BODY)
        status, saved = act(server, "save")
        assert status == 200, saved
        assert server.ask("POST", "/slots/0?action=erase") == (200, {"id_slot": 0, "n_erased": saved["n_saved"]})
        again = server.complete(BODY)
        assert told(again) == told(first) and again["timings"]["cache_n"] == 0
        yield path, saved, first
    (path / "city").unlink()
    assert os.listdir(path) == ["server.log"]


@pytest.mark.parametrize("flags", [["-np", "2"], ["-t", "1", "-b", "64", "-c", "1024"]])
def test_after_a_restart_nothing_is_computed_again(shelf, tmp_path, smollm2, flags):
    path, saved, first = shelf
    n_prompt = first["tokens_evaluated"]
    with serving(tmp_path, "-m", str(smollm2), *flags, "--slot-save-path", str(path)) as server:
        server.wait_for_health(200)
        status, restored = act(server, "restore", slot=1)
        assert (status, restored["n_restored"], restored["n_read"]) == (200, saved["n_saved"], saved["n_written"])
        answer = server.complete({**BODY, "id_slot": 1})
        assert told(answer) == told(first)
        assert (answer["timings"]["cache_n"], answer["timings"]["prompt_n"]) == (n_prompt - 1, 1)
        longer = server.complete({**BODY, "prompt": TEXT + first["content"], "n_predict": 8, "temperature": 0})
        fresh = server.complete(
            {**BODY, "prompt": TEXT + first["content"], "n_predict": 8, "temperature": 0, "cache_prompt": False}
        )
        assert told(longer) == told(fresh) and longer["timings"]["cache_n"] >= n_prompt


def test_neighbours_hear_the_same_while_slots_come_and_go(shelf, tmp_path, smollm2):
    path, _, first = shelf
    neighbour = {**BODY, "prompt": "Once upon a time", "n_predict": 150, "id_slot": 1, "cache_prompt": False}
    with serving(tmp_path, "-m", str(smollm2), "-c", "2048", "--slot-save-path", str(path)) as server:
        server.wait_for_health(200)
        alone = told(server.complete(neighbour))
        heard = []
        listener = threading.Thread(target=lambda: heard.append(told(server.complete(neighbour))))
        listener.start()
        while listener.is_alive():
            for action, slot in (("restore", 0), ("save", 0), ("save", 1), ("erase", 0)):
                status, answer = act(server, action, slot, name="city" if action == "restore" else "coming")
                assert status == 200, answer
        assert heard == [alone]
        act(server, "restore")
        assert told(server.complete(BODY)) == told(first)
    (path / "coming").unlink()


def with_another_rope(model, path):
    """A copy of a model file with another base frequency, and nothing else."""
    data = bytearray(model.read_bytes())
    key = b"llama.rope.freq_base" + struct.pack("<I", 6)
    at = data.index(key) + len(key)
    data[at : at + 4] = struct.pack("<f", 2 * struct.unpack_from("<f", data, at)[0])
    path.write_bytes(data)
    return path


def test_files_that_do_not_fit(shelf, tmp_path, smollm2, gemma3):
    path, _, _ = shelf
    turned = with_another_rope(smollm2, tmp_path / "turned.gguf")
    cases = [
        (["-m", str(smollm2), "-ctk", "q8_0"], "types i16 and i16, not q8_0 and i16"),
        (["-m", str(smollm2), "-c", "128"], "the context has room for 127"),
        (["-m", str(gemma3), "-c", "2048"], "another shape"),
        (["-m", str(turned), "-c", "2048"], "another model"),
    ]
    for flags, says in cases:
        with serving(tmp_path, *flags, "--slot-save-path", str(path)) as server:
            server.wait_for_health(200)
            status, answer = act(server, "restore")
            assert status == 400 and says in answer["error"]["message"], answer
            assert server.complete({"prompt": "Hi", "n_predict": 2})["tokens_predicted"] == 2


def test_damaged_files_harm_nobody(shelf, tmp_path, smollm2):
    path, _, first = shelf
    whole = (path / "city").read_bytes()
    draw = random.Random(3)
    with serving(tmp_path, "-m", str(smollm2), "-c", "2048", "--slot-save-path", str(path)) as server:
        server.wait_for_health(200)
        for _ in range(60):
            damaged = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
            at = draw.randrange(max(len(damaged), 1))
            damaged[at : at + 4] = draw.randbytes(4)
            if damaged == whole:
                continue
            (path / "damaged").write_bytes(damaged)
            status, answer = act(server, "restore", slot=2, name="damaged")
            assert status == 400 and answer["error"]["param"] == "filename", answer
        assert told(server.complete(BODY)) == told(first)
        assert act(server, "restore", slot=2)[0] == 200, "the slot is of use as before"
        assert "Traceback" not in server.log.read_text()
    (path / "damaged").unlink()


def test_killed_while_saving(shelf, tmp_path, smollm2):
    """The name leads to a whole file at any moment: to the old one or the new one."""
    path, _, first = shelf
    (path / "killed").write_bytes((path / "city").read_bytes())
    flags = ["-m", str(smollm2), "-c", "2048", "--slot-save-path", str(path)]
    for delay_s in (0.0, 0.02, 0.1):
        with serving(tmp_path, *flags) as server:
            server.wait_for_health(200)
            status, answer = act(server, "restore", name="killed")
            assert status == 200, answer
            assert told(server.complete(BODY)) == told(first)
            act(server, "save", slot=1, name="empty")  # the model's fingerprint is known from here on
            peer = server.post("/slots/0?action=save", {"filename": "killed"})
            time.sleep(delay_s)
            server.process.kill()
            server.process.wait()
            peer.close()
    for left in path.iterdir():
        assert left.name in ("city", "killed", "empty", "server.log") or left.name.startswith(".killed.")
        if left.name not in ("city", "server.log"):
            left.unlink()
