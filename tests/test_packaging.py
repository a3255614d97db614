"""The wheel holds what it must and works where only it is installed; what we import is what we declare."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import llamatw
from llamatw.paths import webroot

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as a user's pip would: CMake and Ninja come with the build environment where the machine lacks them."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--disable-pip-version-check", "-w", str(folder)]
    result = subprocess.run([*command, "-C", f"build-dir={folder / 'build'}", ROOT], capture_output=True, text=True)
    if "Retrying (" in result.stderr:
        pytest.skip("the package index, which has the build tools, cannot be reached")
    assert result.returncode == 0, result.stdout + result.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but the wheel's files."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def run_installed(installed: Path, program: str, *arguments: str) -> str:
    """Runs Python code that sees the wheel's files and our dependencies; -S leaves an editable install out of it."""
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    result = subprocess.run(
        [sys.executable, "-S", "-c", program, *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_one_wheel_serves_every_python(wheel: Path) -> None:
    assert wheel.name.startswith(f"llamatw-{llamatw.__version__}-py3-none-")


def test_everything_is_in_its_place(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"llamatw/_lib/libllamatw.so", "llamatw/webroot/index.html", "twisted/plugins/llamatw_plugin.py"} <= names
    pages = {f"llamatw/webroot/{path.relative_to(ROOT / 'webroot')}" for path in sources("webroot", "*")}
    modules = {str(path.relative_to(ROOT)) for path in sources("llamatw", "*.py")}
    assert pages | modules <= names
    if (ROOT / "webroot" / "vendor").is_dir():  # as the build has left it there
        assert "llamatw/webroot/vendor/LICENSES.txt" in names


def test_nothing_else_is(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"llamatw", "twisted", f"llamatw-{llamatw.__version__}.dist-info"}
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/llamatw_plugin.py"]


def test_the_installed_library_and_page_are_found(installed: Path) -> None:
    program = (
        "from llamatw.capi._lib import library, library_path; from llamatw.paths import webroot;"
        "print(library_path(), webroot(), library().lt_abi_version(), sep='\\n')"
    )
    library_path, page, version = run_installed(installed, program).splitlines()
    assert Path(library_path).parent == installed / "llamatw" / "_lib"
    assert Path(page) == installed / "llamatw" / "webroot"
    assert int(version) >= 1


def test_twistd_finds_the_plugin(installed: Path) -> None:
    help_text = run_installed(installed, "from twisted.scripts.twistd import run; run()", "--help")
    assert any(line.split()[:1] == ["llama"] for line in help_text.splitlines())


def test_the_checkout_has_its_page() -> None:
    assert (webroot() / "index.html").is_file()


def test_the_plugin_folder_stays_a_namespace() -> None:
    assert not list((ROOT / "twisted").rglob("__init__.py"))


def sources(folder: str, pattern: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob(pattern) if path.is_file() and "__pycache__" not in path.parts]


def imported_at_load(tree: ast.Module) -> Iterator[str]:
    """Top-level names of what a module imports when it is loaded; not under TYPE_CHECKING or inside functions."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_what_is_imported_is_declared() -> None:
    declared = {item.split(">")[0].split("[")[0].lower() for item in PROJECT["dependencies"]}
    provided = {"zope": "twisted", "werkzeug": "klein", "hyperlink": "twisted", "constantly": "twisted"}
    provided |= {"OpenSSL": "twisted", "service_identity": "twisted"}  # of twisted[tls]
    for path in sources("llamatw", "*.py") + sources("twisted", "*.py"):
        for name in imported_at_load(ast.parse(path.read_text())):
            if name not in sys.stdlib_module_names and name != "llamatw":
                assert provided.get(name, name) in declared, f"{path.name} imports {name}"
