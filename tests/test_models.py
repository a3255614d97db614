"""Models by name, against a wheel that the test makes: pip fetches it from a directory, so no network is needed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import msgspec
import pytest

from llamatw import models
from llamatw.errors import ModelError
from llamatw.models import Model, Wheel

PIECES = (b"first half, " * 9000, b"second half" * 7000)
CONTENT = b"".join(PIECES)


def make_wheel(folder: Path, package: str, member: str, data: bytes) -> Wheel:
    """A valid wheel of one data file."""
    info = f"{package}-1.0.dist-info"
    files = {
        member: data,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    path = folder / f"{package}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return Wheel(f"{package}==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), member)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A known model `toy` of two pieces; pip is pointed at the directory of its wheels."""
    index = tmp_path / "index"
    index.mkdir()
    wheels = [make_wheel(index, f"toy_part{i}", f"toy_part{i}/toy.gguf.{i}", data) for i, data in enumerate(PIECES)]
    model = Model("toy.gguf", len(CONTENT), hashlib.sha256(CONTENT).hexdigest(), tuple(wheels))
    monkeypatch.setitem(models.MODELS, "toy", model)
    monkeypatch.setenv("LLAMATW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return model


def leftovers(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()} - {"toy.gguf", "toy.gguf.lock"}


def test_a_path_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "smollm2-135m"
    path.write_bytes(b"GGUF")
    assert models.resolve(str(path)) == path


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ModelError, match=r"no-such-thing: no such file, and not a model known by name .*smollm2-135m"):
        models.resolve("no-such-thing")


def test_nothing_means_the_default_model(tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DEFAULT", "toy")
    assert models.resolve(None).read_bytes() == CONTENT


def test_fetches_once(tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    path = models.resolve("toy", progress=lines.append)
    assert path.read_bytes() == CONTENT
    assert path == tmp_path / "cache" / "toy.gguf"
    assert any("1 of 2" in line for line in lines)
    assert leftovers(tmp_path) == set()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert models.resolve("toy") == path


def test_progress_goes_to_standard_error(toy: Model, capfd: pytest.CaptureFixture[str]) -> None:
    models.resolve("toy")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "fetching toy" in captured.err


def test_a_truncated_file_is_fetched_again(tmp_path: Path, toy: Model) -> None:
    models.resolve("toy").write_bytes(CONTENT[:-1])
    assert models.resolve("toy").read_bytes() == CONTENT


def test_goes_on_with_what_an_interrupted_fetch_left(
    tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first wheel is there already and the index no longer has it; half a file was written."""
    downloads = tmp_path / "cache" / "downloads" / "toy"
    downloads.mkdir(parents=True)
    first = tmp_path / "index" / "toy_part0-1.0-py3-none-any.whl"
    first.rename(downloads / first.name)
    (tmp_path / "cache" / "toy.gguf.partial").write_bytes(b"half")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path / 'index'} {downloads}")
    assert models.resolve("toy").read_bytes() == CONTENT
    assert leftovers(tmp_path) == set()


def test_a_wheel_with_a_wrong_hash_is_refused(tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    forged = msgspec.structs.replace(toy.wheels[1], sha256="0" * 64)
    monkeypatch.setitem(models.MODELS, "toy", msgspec.structs.replace(toy, wheels=(toy.wheels[0], forged)))
    with pytest.raises(ModelError, match="wrong sha256"):
        models.resolve("toy")
    assert not (tmp_path / "cache" / "toy.gguf").exists()


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"n_bytes": 100}])
def test_a_file_with_a_wrong_hash_is_refused(
    tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    """Also one that turns out longer than it may be: no more than that is written."""
    monkeypatch.setitem(models.MODELS, "toy", msgspec.structs.replace(toy, **change))
    with pytest.raises(ModelError, match="sha256"):
        models.resolve("toy")
    assert not any(name.startswith("toy.gguf") for name in leftovers(tmp_path))


def test_offline_is_one_clear_line(toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")  # the discard port: nobody listens
    monkeypatch.setattr(models, "N_RETRIES", 1)
    with pytest.raises(ModelError) as caught:
        models.resolve("toy")
    assert "cannot be reached" in caught.value.message
    assert "\n" not in caught.value.message


def test_without_pip_says_so(toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="needs pip"):
        models.resolve("toy")


def test_a_cache_that_cannot_be_written_is_one_clear_line(
    tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LLAMATW_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match="cannot fetch toy into"):
        models.resolve("toy")


FETCH_TOY = """
import sys, msgspec
from llamatw import models
models.MODELS["toy"] = msgspec.json.decode(sys.argv[1], type=models.Model)
print(models.resolve("toy"))
"""


def test_two_processes_at_the_same_time_fetch_once(tmp_path: Path, toy: Model) -> None:
    command = [sys.executable, "-c", FETCH_TOY, msgspec.json.encode(toy).decode()]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum("unpacking" in errors for _, errors in outputs) == 1
    assert (tmp_path / "cache" / "toy.gguf").read_bytes() == CONTENT


def test_a_fetch_can_be_cancelled(tmp_path: Path, toy: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here while pip runs; the process that pip was is gone afterwards."""
    monkeypatch.setattr(models, "_pip_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])
    cancel = threading.Event()
    threading.Timer(0.3, cancel.set).start()
    with pytest.raises(ModelError, match="cancelled"):
        models.resolve("toy", cancel=cancel)


def test_known_models_are_pinned() -> None:
    for model in models.MODELS.values():
        assert len(model.sha256) == 64
        for wheel in model.wheels:
            assert "==" in wheel.requirement
            assert len(wheel.sha256) == 64


def test_the_default_model_has_its_hash(smollm2: Path) -> None:
    expected = models.MODELS[models.DEFAULT]
    assert hashlib.sha256(smollm2.read_bytes()).hexdigest() == expected.sha256
