"""What has been measured, as a table, as JSON lines and as a picture."""

import json
import os
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path

from . import install
from .jobs import Row

FULL_IDLE_CORES = 0.1


def machine(kafka: str) -> dict:
    """Where and when."""
    memory = next(line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    model = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "-C", install.REPOSITORY, "describe", "--always", "--dirty"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[0] if model else platform.machine(),
        "memory_gb": round(int(memory) / 1e6, 1),
        "kernel": platform.release(),
        "commit": commit.stdout.strip() or "unknown",
        "kafka": kafka,
    }


class Lines:
    """results.jsonl: the machine, and a row as soon as it is measured, so that an end before the end leaves what there is."""

    def __init__(self, path: Path, about: dict) -> None:
        self.path = path
        path.write_text(json.dumps(about) + "\n")

    def add(self, row: Row) -> None:
        with self.path.open("a") as out:
            out.write(json.dumps(row.json()) + "\n")


def _number(value: float | None, form: str = ",.0f") -> str:
    return "–" if value is None else format(value, form)


def _verdict(row: Row) -> str:
    if row.failed:
        return f"FAILED: {row.failed}"
    notes = ["right"]
    if row.kept is False:
        notes.append("rate not kept" if row.behind_ms is None or row.behind_ms <= 1000 else f"{row.behind_ms / 1000:.1f} s behind")
    if row.idle_cores is not None and row.idle_cores < FULL_IDLE_CORES:
        notes.append("the machine was full")
    return "; ".join(notes)


HEADS = [
    "engine", "guarantee", "job", "start s", "all s", "records/s", "p50 ms", "p95 ms", "p99 ms", "cpu s/M", "MB",
    "engine", "broker", "load", "reader", "others", "counts",
]


def _cells(row: Row) -> list[str]:
    return [
        row.engine, row.guarantee, row.job if row.rate is None else f"{row.rate:,}/s", _number(row.startup_s, ".1f"),
        _number(row.seconds, ".1f"), _number(row.records_per_s or row.offered_per_s), _number(row.p50_ms), _number(row.p95_ms),
        _number(row.p99_ms), _number(row.processor_s_per_million, ".2f"), _number(row.memory_mb),
        *(_number(cores, ".2f") for cores in (row.engine_cores, row.broker_cores, row.load_cores, row.reader_cores, row.others_cores)),
        _verdict(row),
    ]


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = 3
    out = []
    for line in lines:
        cells = [cell.ljust(w) if i < text else cell.rjust(w) for i, (cell, w) in enumerate(zip(line[:-1], widths))]
        out.append("  ".join([*cells, line[-1]]).rstrip())
    return "\n".join(out)


def table(rows: list[Row], about: dict) -> str:
    head = (
        f"{about['date']}, commit {about['commit']}, {about['cores']} cores of {about['processor']}, "
        f"{about['memory_gb']} GB, Linux {about['kernel']}, Apache Kafka {about['kafka']}"
    )
    legend = (
        "start s: until the first count; all s: until the last, start included; records/s: of a drain without its start, else what was "
        "offered; p50 to p99: from a record's append to its committed count; cpu s/M: the engine's processor time a million records; "
        "engine to others: processors in use."
    )
    settings: dict[str, str] = {}
    for row in rows:
        settings.setdefault(f"{row.engine} {row.version}, {row.guarantee}", row.settings)
    lines = [HEADS, *(_cells(row) for row in rows)]
    return "\n".join([head, "", _aligned(lines), "", legend, "", *(f"{name}: {text}" for name, text in settings.items())]) + "\n"


def picture(lines: Path, svg: Path) -> None:
    """Drawn by matplotlib, in an environment of its own."""
    python = install.venv("plot")
    done = subprocess.run(
        [python, install.HERE / "plot" / "draw.py", lines, svg], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
    )
    if done.returncode:
        raise install.InstallError(f"the picture could not be drawn: {done.stderr.strip()[-300:]}")
