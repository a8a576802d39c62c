"""Checks of Python, of the packages that subbyte stands on, and of its extras."""

import platform
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from subbyte.runtime.doctor.check import Check

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+).*?(?:extra == ['\"](?P<extra>[^'\"]+)['\"])?$")


def software_checks() -> Iterator[Check]:
    """The checks in turn."""
    python = platform.python_version()
    yield Check("subbyte", _version("subbyte") or "not installed as a package")
    yield Check("python", f"{python}, {sys.executable}", None, {"version": python, "executable": sys.executable})
    needed = _needed()
    yield _packages(needed.pop("", []))
    for extra, names in sorted(needed.items()):
        yield _extra(extra, names)


def _needed() -> dict[str, list[str]]:
    """The packages that subbyte's own metadata names, by the extra that wants them; "" for those of all."""
    found: dict[str, list[str]] = defaultdict(list)
    try:
        requirements = requires("subbyte") or []
    except PackageNotFoundError:
        requirements = []
    for requirement in requirements:
        match = _REQUIREMENT.match(requirement)
        if match and "python_version" not in requirement:
            found[match["extra"] or ""].append(match["name"])
    return found


def _packages(names: list[str]) -> Check:
    versions = {name: _version(name) for name in names}
    missing = [name for name, found in versions.items() if found is None]
    advice = f"missing: {', '.join(missing)}; install subbyte again" if missing else None
    return Check("packages", ", ".join(f"{name} {found or '-'}" for name, found in versions.items()), advice, versions)


def _extra(extra: str, names: list[str]) -> Check:
    versions = {name: _version(name) for name in names}
    if None in versions.values():
        return Check(f"extra {extra}", f"not installed (pip install 'subbyte[{extra}]')", None, versions)
    return Check(f"extra {extra}", ", ".join(f"{name} {found}" for name, found in versions.items()), None, versions)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
