"""Where things are, and what the scripts need beside Rust: Python packages, npm packages, a Node.

Does not install Debian packages (scripts/setup does) and does not build the project. Everything is put below
target/ and beside package.json, nothing outside the checkout.

Run as a program it installs what is missing and prints what it does; a second run does nothing.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = ROOT / "apps" / "server" / "tests" / "clients"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
ARTIFACTS = Path(os.environ.get("ARTIFACTS", ROOT / "artifacts")).resolve()

VENV = ROOT / "target" / "venv"
PYTHON = VENV / "bin" / "python"
KOSOKU = VENV / "bin" / "kosoku"

NODE_MAJOR_MIN = 20
# The first Node whose built-in WebSocket needs no flag.
NODE_MAJOR_WEBSOCKET = 22
NODE_OWN = ROOT / "target" / "node"

SERVER = TARGET / "release" / "ringsock"
LOADGEN = TARGET / "release" / "ringload"


class SetupError(Exception):
    """The machine lacks something; the message says what to do about it."""


def _run(command, **options):
    subprocess.run([str(part) for part in command], check=True, **options)


def _stamp(*files):
    """Names one state of the files that say what is to be installed."""
    digest = hashlib.sha256(sys.version.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _is_stamped(place, stamp):
    file = place / ".installed"
    return file.exists() and file.read_text() == stamp


def ensure_python_packages():
    """Puts the packages of requirements.txt into target/venv, unless they are there."""
    requirements = CLIENTS / "requirements.txt"
    stamp = _stamp(requirements)
    if _is_stamped(VENV, stamp) and PYTHON.exists():
        return
    print(f"installing Python packages into {VENV.relative_to(ROOT)}", flush=True)
    try:
        _run([sys.executable, "-m", "venv", "--clear", VENV])
        _run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements])
    except subprocess.CalledProcessError as error:
        raise SetupError(f"no Python packages ({error}); on Debian: apt-get install python3-venv") from error
    (VENV / ".installed").write_text(stamp)


def _node_major(node):
    if node is None:
        return 0
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    number = said.strip().removeprefix("v").split(".")[0]
    return int(number) if number.isdigit() else 0


def node():
    """The Node to use and its major version: the machine's, or the one below target/ where that is too old."""
    for candidate in [shutil.which("node"), *map(str, NODE_OWN.glob("node_modules/node-linux-*/bin/node"))]:
        major = _node_major(candidate)
        if major >= NODE_MAJOR_MIN:
            return candidate, major
    raise SetupError(f"Node {NODE_MAJOR_MIN} or newer is needed; install it from nodejs.org, or run scripts/setup")


def ensure_node():
    """Installs a Node below target/ when the machine's is missing or too old (Debian 12 has 18)."""
    try:
        node()
        return
    except SetupError:
        pass
    if shutil.which("npm") is None:
        raise SetupError(f"Node {NODE_MAJOR_MIN} or newer is needed; on Debian: apt-get install nodejs npm")
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    print(f"installing Node {NODE_MAJOR_WEBSOCKET} into {NODE_OWN.relative_to(ROOT)}", flush=True)
    try:
        _run(["npm", "install", "--silent", "--no-save", "--prefix", NODE_OWN, f"node-linux-{machine}@{NODE_MAJOR_WEBSOCKET}"])
    except subprocess.CalledProcessError as error:
        raise SetupError(f"Node {NODE_MAJOR_MIN} or newer is needed and npm could not bring one: install it from nodejs.org") from error
    node()


def ensure_npm_packages():
    """Runs `npm ci` for the clients, unless the packages of package-lock.json are there."""
    modules = CLIENTS / "node_modules"
    stamp = _stamp(CLIENTS / "package.json", CLIENTS / "package-lock.json")
    if _is_stamped(modules, stamp):
        return
    print(f"installing npm packages into {modules.relative_to(ROOT)}", flush=True)
    path = f"{Path(node()[0]).parent}{os.pathsep}{os.environ['PATH']}"
    try:
        _run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=CLIENTS, env={**os.environ, "PATH": path})
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise SetupError(f"npm ci failed ({error}); on Debian: apt-get install npm") from error
    (modules / ".installed").write_text(stamp)


if __name__ == "__main__":
    try:
        ensure_python_packages()
        ensure_node()
        ensure_npm_packages()
    except SetupError as missing:
        sys.exit(f"setup: {missing}")
    print(f"Python packages in {VENV.relative_to(ROOT)}, Node {node()[0]}, npm packages in {CLIENTS.relative_to(ROOT)}")
