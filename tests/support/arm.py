"""subbyte for 64-bit ARM on a machine that is none: cross-compiled by gcc, run by qemu, in a Python of Debian's.

    python tests/support/arm.py -m pytest tests/kernels/test_int8.py -k neon

is `python -m pytest ...` on ARM, of the sources as they are now (QEMU_CPU=cortex-a57 before it: an older processor).
Everything lies in build/arm; nothing is installed, no root is needed. Wants Debian's gcc-aarch64-linux-gnu and
qemu-user, apt-get, and the package index for numpy, tokenizers and hypothesis; Python packages without C come from the
environment that runs this file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

from paths import ROOT

HOME = ROOT / "build" / "arm"
PYTHON = HOME / "python"
SITE = HOME / "site"
TOOLS = ["aarch64-linux-gnu-gcc", "qemu-aarch64", "meson", "ninja", "apt-get"]
# Debian's current Python with the headers, and what the wheel of numpy needs besides.
DEBIAN = ["python3-minimal", "libpython3-dev", "libstdc++6"]
WHEELS = ["numpy", "tokenizers", "hypothesis"]
PLATFORMS = ["manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64"]


class Unavailable(Exception):
    """What this machine lacks."""


def run(*command: str | Path) -> str:
    """stdout; RuntimeError with the end of what the command says if it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=600, env=environment())
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} failed: {(done.stdout + done.stderr)[-2000:].strip()}")
    return done.stdout


def environment() -> dict[str, str]:
    """Tools of the environment that runs this file come first; none of its settings reach the other Python."""
    scripts = str(Path(sys.executable).parent)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SUBBYTE_"))}
    return {**clean, "PATH": f"{scripts}:{os.environ['PATH']}"}


def check_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool, path=environment()["PATH"]) is None]
    if missing:
        raise Unavailable(f"no {', '.join(missing)}; .ci/run names the Debian packages")


def fetch_debian(root: Path) -> None:
    """Unpacks DEBIAN and what they depend on into `root`, with apt's lists and cache in a folder of ours."""
    apt_home = HOME / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (apt_home / folder).mkdir(parents=True, exist_ok=True)
    (apt_home / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Acquire::http::Timeout": "20",
        "Debug::NoLocking": "1",
        "Dir::State": apt_home,
        "Dir::State::status": apt_home / "status",
        "Dir::Cache": apt_home,
    }
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in options.items())]
    run(*apt, "update")
    run(*apt, "install", "--download-only", "-y", "--no-install-recommends", *DEBIAN)
    for package in sorted((apt_home / "archives").glob("*.deb")):
        run("dpkg", "-x", package, root)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(apt_home)


def fetch_wheels(folder: Path) -> None:
    """numpy and the like in the versions of this environment."""
    minor = run(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    platforms = [argument for name in PLATFORMS for argument in ("--platform", name)]
    wheels = [f"{name}=={version(name)}" for name in WHEELS]
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary=:all:", "--python-version", minor,
        *platforms, "--target", folder, *wheels)  # fmt: skip


def fetch_python() -> None:
    """PYTHON: a command that runs like python3. Made once, and again for other versions of WHEELS."""
    check_tools()
    if all((SITE / f"{name}-{version(name)}.dist-info").exists() for name in WHEELS):
        return
    shutil.rmtree(HOME, ignore_errors=True)
    root = HOME / "root"
    root.mkdir(parents=True)
    try:
        fetch_debian(root)
        # The name it is called by becomes sys.executable, so that subprocesses run by qemu too.
        PYTHON.write_text(
            f'#!/bin/sh\nPYTHONHOME="{root}/usr" exec qemu-aarch64 -L "{root}" -0 "$0" "{root}/usr/bin/python3" "$@"\n'
        )
        PYTHON.chmod(0o755)
        fetch_wheels(SITE)
    except (RuntimeError, subprocess.TimeoutExpired) as reason:
        raise Unavailable(f"no ARM Python: {reason}") from None


def build(*targets: str) -> Path:
    """Builds what changed since the last time; returns the folder. Without an ARM Python: not the Cython modules."""
    check_tools()
    files = ["aarch64.ini", "python.ini"] if PYTHON.exists() else ["aarch64.ini"]
    folder = HOME / ("build" if PYTHON.exists() else "without-python")
    if not (folder / "build.ninja").exists():
        cross = [argument for name in files for argument in ("--cross-file", ROOT / "tests" / "kernels" / "arm" / name)]
        run("meson", "setup", folder, ROOT, "--prefix", folder / "installed", "-Dpython.install_env=prefix",
            "-Dpython.bytecompile=-1", "-Dtests=true", *cross)  # fmt: skip
    run("ninja", "-C", folder, *targets)
    return folder


def install() -> dict[str, str]:
    """Builds and installs all of subbyte; returns the environment in which PYTHON finds it."""
    fetch_python()
    folder = build()
    shutil.rmtree(folder / "installed", ignore_errors=True)  # files of sources that are gone
    run("meson", "install", "-C", folder, "--no-rebuild", "--quiet")
    ours = next((folder / "installed").glob("**/subbyte/__init__.py")).parents[1]
    path = f"{ours}:{SITE}:{sysconfig.get_path('purelib')}"
    return {**environment(), "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    try:
        settings = install()
    except Unavailable as missing:
        sys.exit(f"tests/support/arm.py: {missing}")
    os.execve(PYTHON, [str(PYTHON), *sys.argv[1:]], settings)
