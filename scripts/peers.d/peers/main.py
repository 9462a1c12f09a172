"""Runs what scripts/peers was asked for."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import install, jobs, options, report
from .broker import INPUT_PARTITIONS, Broker, Topics
from .engines import ENGINES, Variant
from .install import InstallError
from .jobs import Bench, Row
from .say import say

DRAINED = "peers-drain"
WARM_RECORDS = 1_000_000


def installed(asked: options.Options) -> tuple[dict[str, list[Variant]], list[Row]]:
    """The engines that are there, and a row for each that could not be installed."""
    there: dict[str, list[Variant]] = {}
    failed: list[Row] = []
    there["cutwater"] = ENGINES["cutwater"](asked)
    for name in asked.engines:
        try:
            there[name] = ENGINES[name](asked)
        except (InstallError, OSError) as error:
            say(f"{name}: FAILED: {error}")
            failed.append(Row(name, "–", "–", "not installed", "install", failed=str(error)))
    return there, failed


def order(there: dict[str, list[Variant]]) -> list[Variant]:
    """Cutwater before the first peer, after the last, and between them: what the machine does meanwhile shows in its figures."""
    ours = there["cutwater"]
    peers = [variants for name, variants in there.items() if name != "cutwater"]
    half = (len(peers) + 1) // 2
    turns = [ours]
    for number, variants in enumerate(peers, 1):
        turns.append(variants)
        if number == half and number < len(peers):
            turns.append(ours)
    if peers:
        turns.append(ours)
    return [variant for turn in turns for variant in turn]


def measure(asked: options.Options, bench: Bench, turns: list[Variant], lines: report.Lines, rows: list[Row]) -> None:
    """All jobs of one engine after the other, alone on the broker."""

    def add(row: Row) -> None:
        rows.append(row)
        lines.add(row)
        jobs.tell(row)

    for variant in turns:
        say(f"{variant.name}: draining")
        add(jobs.drain(bench, variant, DRAINED, asked.records))
        for per_second in asked.rates:
            say(f"{variant.name}: {per_second} records a second")
            add(jobs.rate(bench, variant, per_second, asked.seconds))


def prepare(topics: Topics, records: int) -> None:
    """A broker that has just started is slower: it is warmed with topics of a million records, and filled with what is drained."""
    say("warming the broker")
    topics.make("peers-warm", INPUT_PARTITIONS)
    topics.fill("peers-warm", WARM_RECORDS, own=False)
    topics.delete("peers-warm")
    say(f"writing {records} records")
    topics.make(DRAINED, INPUT_PARTITIONS)
    topics.fill(DRAINED, records, own=False)


def results_folder(asked: options.Options) -> Path:
    folder = asked.folder or install.HOME / "results" / time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def run(asked: options.Options) -> int:
    folder = results_folder(asked)
    say(f"results and logs: {folder}")
    meter = install.jars("meter")
    there, rows = installed(asked)
    about = report.machine(kafka=next(jar.stem for jar in meter.glob("kafka-clients-*.jar")).rsplit("-", 1)[1])
    lines = report.Lines(folder / "results.jsonl", about)
    for row in rows:
        lines.add(row)
    work = folder / "work" if asked.keep else Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        with Broker(work / "kafka") as broker:
            topics = Topics(broker, meter, folder / "logs")
            prepare(topics, asked.records)
            measure(asked, Bench(broker, topics, work, folder / "logs", asked.keep), order(there), lines, rows)
    finally:
        if not asked.keep:
            shutil.rmtree(work, ignore_errors=True)
        # Also of a run that was stopped: as far as it came.
        text = report.table(rows, about)
        (folder / "table.txt").write_text(text)
    print(text, end="")
    report.picture(folder / "results.jsonl", folder / "peers.svg")
    say(f"table.txt, results.jsonl and peers.svg are in {folder}")
    return 0 if all(row.right for row in rows) else 1


def _stop(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main() -> int:
    signal.signal(signal.SIGTERM, _stop)
    asked = options.parse(sys.argv[1:])
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        return run(asked)
    except (InstallError, OSError, subprocess.SubprocessError) as error:
        say(f"FAILED: {error}")
    except KeyboardInterrupt:
        say("stopped")
        return 130
    return 1
