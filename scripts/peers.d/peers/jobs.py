"""The two jobs, for one engine: a topic that is drained, and records that come at a rate."""

import shutil
import subprocess
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from .broker import INPUT_PARTITIONS, Broker, Topics, Watch, offered
from .engines import Command, Run, Variant
from .processes import TICKS, Meter, Process
from .say import say

START_SECONDS = 180
WARM_SECONDS = 15
# How long counts may come after the last record. One that needs more than a second has not kept the rate.
LATE_SECONDS = 60
KEPT_MS = 1000
KEPT_SHARE = 0.98
# What is counted too often would come after all is there.
SETTLE_SECONDS = 1.0


class Failed(Exception):
    """Why an engine has no figure."""


@dataclass
class Row:
    """A line of the table. What was not measured is None."""

    engine: str
    version: str
    guarantee: str
    settings: str
    job: str
    rate: int | None = None
    failed: str | None = None
    kept: bool | None = None
    startup_s: float | None = None
    seconds: float | None = None
    records: int | None = None
    records_per_s: float | None = None
    offered_per_s: float | None = None
    behind_ms: int | None = None
    p50_ms: int | None = None
    p95_ms: int | None = None
    p99_ms: int | None = None
    max_ms: int | None = None
    processor_s_per_million: float | None = None
    memory_mb: float | None = None
    # How many processors each had in use while it was measured.
    engine_cores: float | None = None
    broker_cores: float | None = None
    load_cores: float | None = None
    reader_cores: float | None = None
    others_cores: float | None = None
    idle_cores: float | None = None
    wrong_words: int | None = None
    rows: int | None = None
    fell: int | None = None

    @property
    def right(self) -> bool:
        return self.failed is None and self.wrong_words == 0

    def json(self) -> dict:
        return asdict(self)


def machine_seconds() -> tuple[float, float]:
    """Processor time of the whole machine so far, in use and idle."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / TICKS, idle / TICKS


class Span:
    """Who had how many processors in use between two moments."""

    def __init__(self, meters: dict[str, Meter]) -> None:
        self.meters = meters
        self.began = time.monotonic()
        self.before = self._now()

    def _now(self) -> dict[str, float]:
        busy, idle = machine_seconds()
        return {"all": busy, "idle": idle, **{name: meter.now().processor for name, meter in self.meters.items()}}

    def end(self, row: Row) -> float:
        """Fills in the cores of the row; the engine's processor time is what it returns."""
        took = max(time.monotonic() - self.began, 1e-3)
        spent = {name: now - self.before[name] for name, now in self._now().items()}
        ours = 0.0
        for name in self.meters:
            setattr(row, f"{name}_cores", round(spent[name] / took, 3))
            ours += spent[name]
        row.others_cores = round(max(0.0, spent["all"] - ours) / took, 3)
        row.idle_cores = round(spent["idle"] / took, 3)
        return spent["engine"]


class Bench:
    """What all runs have in common. Each run has topics, a group and a folder of its own, which go with its end."""

    def __init__(self, broker: Broker, topics: Topics, folder: Path, logs: Path, keep: bool) -> None:
        assert broker.meter
        self.broker = broker
        self.topics = topics
        self.folder = folder
        self.logs = logs
        self.keep = keep
        self.runs = 0

    def job(self, variant: Variant, offered: bool, source: str | None = None) -> "Job":
        self.runs += 1
        return Job(self, variant, f"peers-run-{self.runs}", offered, source)


class Job:
    """One engine on one input, from its start to its end."""

    def __init__(self, bench: Bench, variant: Variant, name: str, offered: bool, source: str | None) -> None:
        self.bench = bench
        self.variant = variant
        self.name = name
        self.source = source or f"{name}-in"
        self.sink = f"{name}-out"
        self.folder = bench.folder / name
        self.offered = offered
        self._own_source = source is None
        self._open = ExitStack()
        self.engine: Process
        self.watch: Watch

    def __enter__(self) -> "Job":
        self.folder.mkdir(parents=True)
        self._open.callback(self._clean)
        try:
            if self._own_source:
                self.bench.topics.make(self.source, INPUT_PARTITIONS)
            self.bench.topics.make(self.sink, 1)
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _clean(self) -> None:
        try:
            self.bench.topics.delete(f"{self.name}-")
        except (OSError, subprocess.SubprocessError) as error:
            say(f"topics of {self.name} are left: {error}")
        if not self.bench.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def log(self, what: str) -> Path:
        return self.bench.logs / f"{self.name}-{self.variant.engine}-{what}.log"

    def start(self) -> None:
        """The reader, and once that is there the engine."""
        self.watch = self._open.enter_context(
            self.bench.topics.watch(self.source, self.sink, self.variant.form, self.log("reader"))
        )
        if self.watch.hear(START_SECONDS) != "ready":
            raise RuntimeError("the reader did not start")
        command = self._command()
        self.engine = self._open.enter_context(
            Process(command.argv, self.log("engine"), command.environment, folder=command.folder)
        )

    def _command(self) -> Command:
        command = self.variant.command(
            Run(self.bench.broker.address, self.source, self.sink, f"{self.name}-app", self.folder, self.offered)
        )
        if command.before:
            with self.log("before").open("wb") as log:
                subprocess.run(
                    command.before, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=START_SECONDS, cwd=command.folder
                )
        return command

    def hear(self, word: str, seconds: float, wanted: str) -> int:
        """When the reader saw that, in milliseconds of the clock."""
        line = self.watch.hear(seconds, self.engine)
        if line and line.startswith(word):
            return int(line.split()[1])
        if not self.engine.running():
            raise Failed(f"it ended: {self.engine.why()}")
        raise Failed(f"{wanted} in {seconds:.0f} s")

    def first(self) -> float:
        """Seconds from the start to the first count."""
        return (self.hear("first", START_SECONDS, "no count") - self.engine.began_ms) / 1000

    def finish(self, row: Row, from_ms: int) -> None:
        """Ends the engine, and compares what it has counted."""
        time.sleep(SETTLE_SECONDS)
        row.memory_mb = round(self.engine.meter.now().memory / 1e6, 1)
        self.engine.end()
        said = self.watch.check(from_ms)
        row.wrong_words, row.rows, row.fell = said["wrong_words"], said["rows"], said["fell"]
        if row.wrong_words:
            row.failed = f"{row.wrong_words} words are counted wrong, as {said['example']}"
        if from_ms and said["timed"]:
            row.p50_ms, row.p95_ms, row.p99_ms, row.max_ms = (said[f"{name}_ms"] for name in ("p50", "p95", "p99", "max"))


def _row(variant: Variant, job: str, rate: int | None = None) -> Row:
    return Row(variant.engine, variant.version, variant.guarantee, variant.settings, job, rate)


def _guarded(row: Row, work) -> Row:
    """An engine that fails is a line of the table, not the end of the run."""
    try:
        work(row)
    except (Failed, RuntimeError, OSError, subprocess.SubprocessError) as error:
        row.failed = str(error)
    return row


def _start_up(bench: Bench, variant: Variant) -> tuple[float, float]:
    """Seconds, and processor time, from the start until a topic's only record is counted."""
    with bench.job(variant, offered=False) as job:
        bench.topics.fill(job.source, 1, own=True)
        job.start()
        return job.first(), job.engine.meter.now().processor


def drain(bench: Bench, variant: Variant, source: str, records: int) -> Row:
    """Reads a topic to its end; what its start takes is measured apart, and taken off."""

    def work(row: Row) -> None:
        row.startup_s, start_processor = _start_up(bench, variant)
        with bench.job(variant, offered=False, source=source) as job:
            job.start()
            span = Span({"engine": job.engine.meter, "broker": bench.broker.meter, "reader": job.watch.process.meter})
            job.watch.tell("expect", records)
            job.first()
            ended = job.hear("all", 60 + records / 20_000, f"not all of {records} records were counted")
            processor = span.end(row)
            row.seconds = (ended - job.engine.began_ms) / 1000
            row.records = records
            counting = row.seconds - row.startup_s
            # Starts vary, by tenths of a second or, where they are long, by much more: less than that says nothing.
            if counting > max(0.5, row.startup_s / 4):
                row.records_per_s = records / counting
                row.processor_s_per_million = max(0.0, processor - start_processor) / records * 1e6
            job.finish(row, 0)

    return _guarded(_row(variant, "drain"), work)


def rate(bench: Bench, variant: Variant, per_second: int, seconds: int) -> Row:
    """Offers records at a pace, and takes each one's time from its append to its count."""

    def work(row: Row) -> None:
        with bench.job(variant, offered=True) as job:
            bench.topics.fill(job.source, 1, own=True)
            job.start()
            row.startup_s = job.first()
            _offer(bench, job, row, per_second, seconds)

    return _guarded(_row(variant, "rate", per_second), work)


def _offer(bench: Bench, job: Job, row: Row, per_second: int, seconds: int) -> None:
    log = job.log("load")
    with bench.topics.load(job.source, per_second, WARM_SECONDS, seconds, log) as load:
        _wait(job, load, WARM_SECONDS + 1, load_may_end=False)
        span = Span({
            "engine": job.engine.meter, "broker": bench.broker.meter, "load": load.meter, "reader": job.watch.process.meter,
        })
        began = time.monotonic()
        _wait(job, load, 30 + 1.5 * (WARM_SECONDS + seconds), load_may_end=True)
        processor, took = span.end(row), time.monotonic() - began
    said = offered(log)
    row.records, row.offered_per_s = said.records, said.rate
    row.processor_s_per_million = processor / (said.rate * took) * 1e6
    job.watch.tell("expect", said.records + 1)
    try:
        ended = job.hear("all", LATE_SECONDS, "more records came than it counted: not all of them were")
        row.behind_ms = max(0, ended - said.to_ms)
        row.kept = said.rate >= KEPT_SHARE * per_second and row.behind_ms <= KEPT_MS
    except Failed as failed:
        row.kept = False
        if not job.engine.running():
            raise
        row.failed = str(failed)
        return
    job.finish(row, said.from_ms)


def _wait(job: Job, load: Process, seconds: float, load_may_end: bool) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not job.engine.running():
            raise Failed(f"it ended: {job.engine.why()}")
        if not load.running():
            if load_may_end:
                return
            raise RuntimeError(f"the load has failed: {load.why()}")
        time.sleep(0.05)
    if load_may_end:
        raise RuntimeError(f"the load did not end in {seconds:.0f} s")


def tell(row: Row) -> None:
    """A line on how it went."""
    what = f"{row.engine}, {row.guarantee}, {row.job}" + (f" {row.rate}/s" if row.rate else "")
    if row.failed:
        say(f"{what}: FAILED: {row.failed}")
    elif row.job == "drain":
        speed = f"{row.records_per_s:.0f} records/s" if row.records_per_s else "too short to tell a speed"
        say(f"{what}: {row.seconds:.1f} s, {row.startup_s:.1f} s of them to start; {speed}; counts are right")
    else:
        say(f"{what}: p50 {row.p50_ms}, p95 {row.p95_ms}, p99 {row.p99_ms} ms{'' if row.kept else '; NOT KEPT'}; counts are right")
