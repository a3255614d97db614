"""The `llamatw` command: what it prints, and how it fails (one line on standard error, exit status 1)."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llamatw import cli, models
from llamatw.report import size_text


@pytest.fixture
def small_gguf(tmp_path: Path, engine_library: Path) -> Path:
    """Two tensors, a few keys, one of them an infinite number."""
    gguf = pytest.importorskip("gguf")
    path = tmp_path / "small.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("small one")
    writer.add_array("numbers", list(range(9)))
    writer.add_float32("infinite", float("inf"))
    writer.add_tensor("a.weight", np.ones((2, 32), dtype=np.float32))
    writer.add_tensor("b.bias", np.ones(8, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def run(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """A real process, as in a shell."""
    return subprocess.run([sys.executable, "-m", "llamatw", *arguments], input=stdin, capture_output=True, timeout=60)


def give_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ---- info ---------------------------------------------------------------------------------------------------------


def test_info_is_readable(small_gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", str(small_gguf)]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("GGUF version 3:")
    assert lines[0].endswith("2 tensors, 72 parameters, 288 B")
    assert "general.name 'small one'" in lines
    assert "numbers [0, 1, 2, 3, 4, 5, ...] (9)" in lines
    assert "a.weight F32 32 x 2 256 B" in lines
    assert "F32 2 tensors 288 B" in lines


def test_info_as_json_is_complete(small_gguf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "--json", str(small_gguf)]) == 0
    report = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert report["metadata"]["numbers"] == list(range(9))
    assert report["metadata"]["infinite"] is None
    assert report["tensors"][0] == {"name": "a.weight", "type": "F32", "shape": [32, 2], "n_bytes": 256}


def test_info_of_a_file_without_tensors(shared_dir: Path, engine_library: Path) -> None:
    vocabulary = next((shared_dir / "vectors" / "tokenizer").glob("*.gguf"))
    assert b"0 tensors" in run("info", str(vocabulary)).stdout


def test_a_reader_that_has_seen_enough_is_no_failure_of_ours(small_gguf: Path) -> None:
    command = f"'{sys.executable}' -m llamatw info '{small_gguf}' | true"
    result = subprocess.run(["sh", "-c", command], capture_output=True, timeout=60)
    assert result.stderr == b""


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB"), (5 << 40, "5120.00 GiB")],
)
def test_sizes_read_well(n_bytes: int, text: str) -> None:
    assert size_text(n_bytes) == text


# ---- tokenize -----------------------------------------------------------------------------------------------------


def test_tokenize_text(smollm2: Path, engine_library: Path) -> None:
    result = run("tokenize", "-m", str(smollm2), stdin=b"Hello world")
    assert (result.returncode, result.stdout) == (0, b"19556 905\n"), result.stderr


def test_tokenize_json_lines(smollm2: Path, engine_library: Path) -> None:
    lines = ['"Hello world"', '""', '"<|im_end|>"', r'"\ud83e\udd99"']
    plain = run("tokenize", "-m", str(smollm2), "--jsonl", stdin="\n".join(lines).encode())
    parsed = run("tokenize", "-m", str(smollm2), "--jsonl", "--parse-special", stdin=lines[2].encode())
    ids = [json.loads(line) for line in plain.stdout.splitlines()]
    assert ids[:2] == [[19556, 905], []]
    assert len(ids[2]) > 1
    assert json.loads(parsed.stdout) == [2]
    assert len(ids) == 4


def test_tokenize_answers_each_line_at_once(smollm2: Path, engine_library: Path) -> None:
    command = [sys.executable, "-m", "llamatw", "tokenize", "-m", str(smollm2), "--jsonl"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(2):
            process.stdin.write(b'"Hello world"\n')
            process.stdin.flush()
            assert process.stdout.readline() == b"[19556,905]\n"
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def test_tokenize_with_a_vocabulary_only_file(shared_dir: Path, engine_library: Path) -> None:
    vocabulary = shared_dir / "vectors" / "tokenizer" / "ggml-vocab-llama-bpe.gguf"
    result = run("tokenize", "-m", str(vocabulary), stdin=b"Hello world")
    assert result.stdout == b"9906 1917\n", result.stderr


@pytest.mark.parametrize("line", ["[1]", "hello", "", '"\\ud800"', "[" * 100_000])
def test_a_line_that_is_no_string_is_named(
    line: str, smollm2: Path, engine_library: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give_stdin(monkeypatch, f'"fine"\n{line}\n'.encode())
    assert cli.main(["tokenize", "-m", str(smollm2), "--jsonl"]) == 1
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    assert captured.err == "llamatw: line 2 of standard input is not a JSON string\n"


# ---- pull and mistakes --------------------------------------------------------------------------------------------


def test_pull_prints_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.gguf"
    monkeypatch.setattr(models, "resolve", lambda name: path)
    assert cli.main(["pull", "smollm2-135m"]) == 0
    assert capsys.readouterr().out == f"{path}\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["info"], "FILE"),
        (["info", "--loud", "x"], "--loud"),
        (["pull", "no-such-model"], "no-such-model"),
        (["tokenize", "-m", "no-such-model"], "no-such-model"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(arguments: list[str], word: str) -> None:
    result = run(*arguments)
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 1
    assert len(lines) == 1, lines
    assert word in lines[0]


@pytest.mark.parametrize("content", [None, b"", b"not a model"])
def test_a_bad_file_is_one_line_and_status_1(content: bytes | None, tmp_path: Path, engine_library: Path) -> None:
    path = tmp_path / "bad.gguf"
    if content is not None:
        path.write_bytes(content)
    result = run("info", str(path))
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 1
    assert len(lines) == 1
    assert "bad.gguf" in lines[0]


def test_help_names_the_commands() -> None:
    result = run("--help")
    assert result.returncode == 0
    assert all(word in result.stdout for word in (b"info", b"tokenize", b"pull"))
