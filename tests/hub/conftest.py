"""A fake hub for each test, and somebody who fetches from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from llamatw.errors import ModelError
from llamatw.hub import cache
from llamatw.hub.job import Job, Patience, Report
from llamatw.settings import Remote
from tests import fake_hub
from tests.fake_hub import FakeHub

ROOT = Path(__file__).parent.parent.parent
HASTE = Patience(pause_s=0.01, max_pause_s=0.05, n_tries=3)
NO_PROXY = {"no_proxy": "*", "NO_PROXY": "*"}


class Fetcher:
    """Does jobs; `said` is what was said about the last one."""

    def __init__(self, process: subprocess.Popen[bytes], fake: FakeHub, base: Path) -> None:
        self._process = process
        self.fake = fake
        self.base = base  # the cache
        self.said: list[str] = []

    def __call__(self, wanted: Remote, patience: Patience = HASTE) -> Path:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        where = cache.folder(self.base, self.fake.endpoint, wanted)
        where.mkdir(parents=True, exist_ok=True)
        job = Job(wanted=wanted, endpoint=self.fake.endpoint, folder=str(where), patience=patience)
        self._process.stdin.write(msgspec.json.encode(job) + b"\n")
        self._process.stdin.flush()
        self.said = []
        for line in self._process.stdout:
            report = msgspec.json.decode(line, type=Report)
            if report.error:
                raise ModelError(report.error)
            if report.path:
                return Path(report.path)
            self.said.append(report.progress)
        raise AssertionError("the fetching process has died")

    def refusal(self, wanted: Remote, patience: Patience = HASTE) -> str:
        with pytest.raises(ModelError) as caught:
            self(wanted, patience)
        assert "\n" not in caught.value.message
        return caught.value.message

    def partials(self) -> list[Path]:
        return list(self.base.rglob("*.partial"))


@pytest.fixture
def fake() -> Iterator[FakeHub]:
    with fake_hub.running() as fake:
        yield fake


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    home = {"HF_HOME": str(tmp_path_factory.mktemp("home")), "HF_TOKEN": "", "PYTHONPATH": str(ROOT), **NO_PROXY}
    command = [sys.executable, str(Path(__file__).with_name("driver.py"))]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **home}, cwd=ROOT
    )
    with process:
        yield process
        process.kill()


@pytest.fixture
def fetch(driver: subprocess.Popen[bytes], fake: FakeHub, tmp_path: Path) -> Fetcher:
    return Fetcher(driver, fake, tmp_path / "cache")
