"""The arrows between the parts of llamatw: plugin -> service -> web -> engine -> capi -> library; no other import."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "llamatw"

LEAVES = {"errors", "settings", "paths"}

# part: the parts that it may import.  web reaches capi only through engine.
ALLOWED = {
    "__init__": set(),
    "errors": set(),
    "settings": set(),
    "paths": set(),
    "text": LEAVES | {"text"},
    "capi": LEAVES | {"capi"},
    "engine": LEAVES | {"capi", "engine"},
    "web": LEAVES | {"text", "engine", "web", "__init__"},
    "hub": LEAVES | {"hub", "__init__"},
    "models": LEAVES | {"hub"},
    "flags": LEAVES | {"flags"},
    "listen": LEAVES,
    "options": LEAVES | {"models", "flags", "hub", "__init__"},
    "supervisor": LEAVES | {"engine"},
    "service": LEAVES | {"text", "engine", "web", "models", "options", "capi", "listen", "supervisor"},
    "cli": LEAVES | {"capi", "models", "hub", "report", "__init__"},
    "report": LEAVES | {"capi"},
    "__main__": {"cli"},
}

WEB_ONLY = {"klein", "twisted.web", "werkzeug"}


def sources():
    return sorted(path for path in PACKAGE.rglob("*.py"))


def part_of(path):
    """llamatw/web/sse.py -> web, llamatw/models.py -> models."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(path):
    """(line, module) of every import in a file, `from package import module` counted as both."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def is_within(module, packages):
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows(path):
    part = part_of(path)
    allowed = ALLOWED.get(part)
    assert allowed is not None, f"{path.name} is a new part: say in this test what it may import"
    parts = {entry.stem for entry in PACKAGE.iterdir()}
    for line, module in imported(path):
        names = module.split(".")
        if names[0] == "llamatw" and len(names) > 1:
            target = names[1] if names[1] in parts else "__init__"
            assert target in allowed, f"{path}:{line}: {part} must not import {module}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_who_may_import_ctypes_and_the_web(path):
    part = part_of(path)
    for line, module in imported(path):
        assert part == "capi" or not is_within(module, {"ctypes"}), f"{path}:{line}: only capi imports ctypes"
        speaks_http = part in ("web", "service", "hub")
        assert speaks_http or not is_within(module, WEB_ONLY), f"{path}:{line}: {module} outside web"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_reactor_is_an_argument(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module == "twisted.internet":
            names = {alias.name for alias in node.names}
            assert "reactor" not in names, f"{path}:{node.lineno}: imports the global reactor"


def test_the_plugin_directories_are_no_packages():
    assert not list((ROOT / "twisted").rglob("__init__.py"))
