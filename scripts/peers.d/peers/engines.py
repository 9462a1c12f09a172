"""The engines: how each is installed, configured and started. docs/peers.md says why it is so."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import install
from .options import Options

EXACTLY_ONCE = "exactly-once"
AT_LEAST_ONCE = "at-least-once"
NO_RECOVERY = "no recovery"
# For the engines that are told how many: broker, load and reader have to live as well.
THREADS = 2


@dataclass(frozen=True)
class Run:
    """One run of an engine: where it reads and writes, and whether latency is what counts."""

    brokers: str
    source: str
    sink: str
    group: str
    folder: Path
    offered: bool


@dataclass(frozen=True)
class Command:
    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    folder: Path | None = None
    # What is to be run before, and is no part of what is measured.
    before: list[str] | None = None


@dataclass(frozen=True)
class Variant:
    """An engine with one guarantee. `form` is how it writes its counts."""

    engine: str
    version: str
    guarantee: str
    settings: str
    form: str
    command: Callable[[Run], Command]

    @property
    def name(self) -> str:
        return f"{self.engine}, {self.guarantee}"


def _from_pom(name: str, what: str) -> str:
    found = re.search(rf"<{what}\.version>([^<]+)<", (install.HERE / name / "pom.xml").read_text())
    assert found, f"{name}/pom.xml has no {what}.version"
    return found[1]


def _from_requirements(name: str, package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (install.HERE / name / "requirements.txt").read_text(), re.MULTILINE)
    assert found, f"{name}/requirements.txt has no {package}"
    return found[1]


def _java(jars: Path, main: str, *more: str) -> list[str]:
    return [install.java(), "-Xms512m", "-Xmx2g", *more, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*", main]


def cutwater(options: Options) -> list[Variant]:
    program = options.cutwater or install.cutwater()
    version = _cutwater_version(program)

    def command(guarantee: str) -> Callable[[Run], Command]:
        return lambda run: Command([
            str(program), "run", "word-count", "-b", run.brokers, "-t", run.source, "-o", f"kafka:{run.sink}",
            "--state", str(run.folder / "state"), "--delivery", guarantee, *(["--epoch", "10ms"] if run.offered else []),
        ])

    settings = "one worker, ledger and checkpoints (30 s) on disk; epochs of 100 ms to drain, 10 ms at a rate"
    return [Variant("cutwater", version, g, settings, "json", command(g)) for g in (EXACTLY_ONCE, AT_LEAST_ONCE)]


def _cutwater_version(program: Path) -> str:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    if said.returncode:
        raise install.InstallError(f"{program} --version failed: {said.stderr.strip()[-200:]}")
    return said.stdout.split()[-1]


def flink(_: Options) -> list[Variant]:
    jars = install.jars("flink")
    version = f"{_from_pom('flink', 'flink')} (connector {_from_pom('flink', 'connector')})"
    opens = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in ("util", "lang")]

    def command(guarantee: str) -> Callable[[Run], Command]:
        def of(run: Run) -> Command:
            checkpoint = "1000" if guarantee == AT_LEAST_ONCE else "100" if run.offered else "500"
            mini_batch = "20" if run.offered else "100"
            java = _java(jars, "WordCount", *opens)
            return Command([
                *java, run.brokers, run.source, run.sink, run.group, str(run.folder), guarantee, checkpoint, mini_batch, str(THREADS)
            ])

        return of

    settings = {
        EXACTLY_ONCE: "checkpoints each 500 ms to drain, 100 ms at a rate",
        AT_LEAST_ONCE: "checkpoints each second",
    }
    return [
        Variant("flink", version, g, f"SQL, {THREADS} slots, state on the heap, two-phase mini-batches of 100 ms to drain, "
                f"20 ms at a rate; {settings[g]}", "plain", command(g))
        for g in (EXACTLY_ONCE, AT_LEAST_ONCE)
    ]


def kafka_streams(_: Options) -> list[Variant]:
    jars = install.jars("kafka-streams")
    version = _from_pom("kafka-streams", "kafka")
    cache = 64 << 20

    def command(guarantee: str) -> Callable[[Run], Command]:
        def of(run: Run) -> Command:
            mode = "exactly_once_v2" if guarantee == EXACTLY_ONCE else "at_least_once"
            held = 0 if run.offered and guarantee == AT_LEAST_ONCE else cache
            return Command([
                *_java(jars, "WordCount"), run.brokers, run.source, run.sink, run.group, str(run.folder), mode, "100", str(held), str(THREADS)
            ])

        return of

    settings = {EXACTLY_ONCE: "cache of 64 MB", AT_LEAST_ONCE: "cache of 64 MB to drain, none at a rate"}
    return [
        Variant("kafka-streams", version, g, f"DSL, {THREADS} threads, store in memory with its changelog, commits each 100 ms; {settings[g]}",
                "plain", command(g))
        for g in (EXACTLY_ONCE, AT_LEAST_ONCE)
    ]


def spark(_: Options) -> list[Variant]:
    python = install.venv("spark")
    jars = ",".join(str(jar) for jar in sorted(install.jars("spark").glob("*.jar")))
    program = str(install.HERE / "spark" / "word_count.py")

    def command(run: Run) -> Command:
        argv = [str(python), program, run.brokers, run.source, run.sink, str(run.folder), jars, str(THREADS)]
        return Command(argv, {"PYSPARK_PYTHON": str(python)})

    settings = f"Structured Streaming, local[{THREADS}], {THREADS} shuffle partitions, update mode, a batch after the other, state in memory"
    return [Variant("spark", _from_requirements("spark", "pyspark"), AT_LEAST_ONCE, settings, "plain", command)]


def pathway(_: Options) -> list[Variant]:
    python = install.venv("pathway")
    program = str(install.HERE / "pathway" / "word_count.py")

    def command(run: Run) -> Command:
        commit = "20" if run.offered else "100"
        return Command(
            [str(python), program, run.brokers, run.source, run.sink, run.group, commit], {"PATHWAY_THREADS": str(THREADS)}, run.folder
        )

    settings = f"{THREADS} threads, no persistence as in its published benchmark, commits each 100 ms to drain, 20 ms at a rate"
    return [Variant("pathway", _from_requirements("pathway", "pathway"), NO_RECOVERY, settings, "json", command)]


def bytewax(_: Options) -> list[Variant]:
    python = str(install.venv("bytewax"))

    def command(run: Run) -> Command:
        snapshots = run.folder / "snapshots"
        snapshots.mkdir()
        return Command(
            [python, "-m", "bytewax.run", "word_count", "-w", "1", "-r", str(snapshots), "-s", "1", "-b", "0"],
            {"BROKERS": run.brokers, "INPUT": run.source, "OUTPUT": run.sink, "BATCH": "1000" if run.offered else "10000"},
            install.HERE / "bytewax",
            [python, "-m", "bytewax.recovery", str(snapshots), "1"],
        )

    settings = "one worker, snapshots each second, 10,000 records a call to drain, 1,000 at a rate"
    return [Variant("bytewax", _from_requirements("bytewax", "bytewax"), AT_LEAST_ONCE, settings, "plain", command)]


ENGINES: dict[str, Callable[[Options], list[Variant]]] = {
    "cutwater": cutwater,
    "flink": flink,
    "kafka-streams": kafka_streams,
    "spark": spark,
    "pathway": pathway,
    "bytewax": bytewax,
}
