"""Engines from public packages, below target/peers. What is installed is named after what asked for it, and is made once."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from .say import say

HERE = Path(__file__).resolve().parent.parent
REPOSITORY = HERE.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target").resolve()
HOME = TARGET / "peers"
LIMIT_SECONDS = 1200


class InstallError(Exception):
    """What could not be installed, and why."""


def java(program: str = "java") -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / program) if home else program


def need(program: str, package: str) -> None:
    if not shutil.which(program):
        raise InstallError(f"{program} is needed: install {package}")


def _place(name: str, wanted: list[Path]) -> Path:
    digest = hashlib.sha256()
    for file in wanted:
        digest.update(file.read_bytes())
    return HOME / f"{name}-{digest.hexdigest()[:12]}"


def _run(name: str, argv: list[str]) -> None:
    log = HOME / f"install-{name}.log"
    with log.open("ab") as out:
        try:
            code = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=LIMIT_SECONDS).returncode
        except subprocess.TimeoutExpired:
            raise InstallError(f"{argv[0]} took more than {LIMIT_SECONDS} s to install {name}; see {log}") from None
    if code:
        raise InstallError(f"{argv[0]} could not install {name}; see {log}")


def _once(place: Path, make) -> Path:
    """What `make` puts into a folder stands there whole or not at all."""
    if not place.is_dir():
        HOME.mkdir(parents=True, exist_ok=True)
        new = place.with_name(place.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        say(f"installing the jars of {place.name.rsplit('-', 1)[0]}")
        make(new)
        new.rename(place)
    return place


def jars(name: str) -> Path:
    """The folder of all jars of a program, its own included, as its pom.xml has them."""
    need("mvn", "Maven (Debian: maven)")
    need(java("javac"), "a JDK 17 or later (Debian: openjdk-17-jdk-headless)")
    pom = HERE / name / "pom.xml"
    sources = sorted((HERE / name).glob("*.java"))

    def make(new: Path) -> None:
        goals = (["package"] if sources else []) + ["dependency:copy-dependencies"]
        _run(name, [
            "mvn", "-B", "-f", str(pom), f"-Dpeers.build={new}/build", *goals,
            "-DincludeScope=runtime", f"-DoutputDirectory={new}/jars",
        ])
        for jar in (new / "build").glob("*.jar"):
            jar.rename(new / "jars" / jar.name)

    return _once(_place(name, [pom, *sources]), make) / "jars"


def _python_that_serves(python: Path) -> bool:
    return subprocess.run([python, "-c", "pass"], capture_output=True).returncode == 0


def venv(name: str) -> Path:
    """The Python of a virtual environment with what its requirements.txt has."""
    need("python3", "Python 3.10 to 3.12 with venv (Debian: python3-venv)")
    wanted = HERE / name / "requirements.txt"
    place = _place(name, [wanted])
    if place.is_dir() and not _python_that_serves(place / "bin" / "python"):
        shutil.rmtree(place)
    if not place.is_dir():
        HOME.mkdir(parents=True, exist_ok=True)
        say(f"installing the Python packages of {name}")
        try:
            _run(name, ["python3", "-m", "venv", str(place)])
            _run(name, [str(place / "bin" / "pip"), "install", "--disable-pip-version-check", "-q", "-r", str(wanted)])
        except BaseException:
            shutil.rmtree(place, ignore_errors=True)
            raise
    return place / "bin" / "python"


def cutwater() -> Path:
    """Built as a release, as users have it."""
    need("cargo", "Rust (https://rustup.rs)")
    say("building cutwater")
    if subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=REPOSITORY, stdin=subprocess.DEVNULL).returncode:
        raise InstallError("cargo could not build cutwater")
    return TARGET / "release" / "cutwater"
