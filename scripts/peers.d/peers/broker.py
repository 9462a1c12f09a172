"""A real broker of scripts/kafka's, and what is done on it: topics, load, and watching the counts."""

import json
import os
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from . import install
from .processes import Meter, Process
from .say import say

WORDS = 5_000
SEED = 1
INPUT_PARTITIONS = 4
# As scripts/figures has it: most of the heap for the young, or the broker collects several times a second.
HEAP = "-Xms1G -Xmx1G -Xmn700m"


class Broker:
    """Leaving the `with` stops it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.meter: Meter | None = None

    def __enter__(self) -> "Broker":
        say("starting a broker")
        environment = {"KAFKA_HEAP_OPTS": HEAP, **os.environ}
        try:
            self.address = self._kafka("start", environment=environment).stdout.strip()
        except subprocess.CalledProcessError as error:
            raise install.InstallError(f"scripts/kafka: {error.stderr.strip()[-300:]}") from None
        self.meter = Meter(int((self.folder / "broker-1" / "pid").read_text()))
        return self

    def __exit__(self, *_: object) -> None:
        self._kafka("stop", "--kill", check=False)

    def _kafka(self, *arguments: str, check: bool = True, environment: dict[str, str] | None = None):
        return subprocess.run(
            [install.REPOSITORY / "scripts" / "kafka", *arguments, "--dir", self.folder],
            check=check, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=environment, timeout=600,
        )


@dataclass(frozen=True)
class Offered:
    """What a load has offered in fact."""

    records: int
    from_ms: int
    to_ms: int
    rate: float


class Topics:
    """What scripts/peers.d/meter does on a broker."""

    def __init__(self, broker: Broker, jars: Path, logs: Path) -> None:
        self.broker = broker
        self._java = [
            install.java(), "-Xms256m", "-Xmx3g", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*", "Meter",
        ]
        self._logs = logs

    def argv(self, what: str, *rest: object) -> list[str]:
        return [*self._java, what, self.broker.address, *map(str, rest)]

    def _run(self, *arguments: object, limit: float = 300) -> str:
        what, *rest = arguments
        with (self._logs / "meter.log").open("ab") as log:
            return subprocess.run(
                self.argv(str(what), *rest), check=True, stdout=subprocess.PIPE, stderr=log, text=True, timeout=limit,
                stdin=subprocess.DEVNULL,
            ).stdout

    def make(self, name: str, partitions: int) -> None:
        self._run("make", name, partitions)

    def delete(self, prefix: str) -> None:
        self._run("delete", prefix)

    def fill(self, name: str, records: int, own: bool) -> None:
        self._run("fill", name, WORDS, SEED, "own" if own else "any", records, limit=120 + records / 20_000)

    def load(self, name: str, rate: int, warm: int, seconds: int, log: Path) -> Process:
        """A producer that keeps a pace, as a process."""
        return Process(self.argv("offer", name, WORDS, SEED, rate, warm, seconds), log)

    def watch(self, source: str, sink: str, form: str, log: Path) -> "Watch":
        return Watch(self.argv("watch", source, sink, WORDS, form), log)


def offered(log: Path) -> Offered:
    """What a load has said at its end."""
    said = json.loads(log.read_text().splitlines()[-1])
    return Offered(said["records"], said["from_ms"], said["to_ms"], said["offered"])


class Watch:
    """A reader of an output. Leaving the `with` ends it."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.process = Process(argv, log, talks=True)
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.end()

    def _read(self) -> None:
        assert self.process.child.stdout
        for line in self.process.child.stdout:
            self._lines.put(line.decode().strip())

    def tell(self, order: str, number: int) -> None:
        assert self.process.child.stdin
        self.process.child.stdin.write(f"{order} {number}\n".encode())
        self.process.child.stdin.flush()

    def hear(self, seconds: float, while_runs: Process | None = None) -> str | None:
        """The next line; none if it does not come in time or a process that it waits for has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                return self._lines.get(timeout=0.2)
            except queue.Empty:
                if not self.process.running():
                    raise RuntimeError(f"the reader has failed: {self.process.why()}") from None
                if while_runs and not while_runs.running():
                    return None
        return None

    def check(self, from_ms: int) -> dict:
        """The recount, and the latencies of what was appended from that time on."""
        self.tell("check", from_ms)
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline:
            line = self.hear(deadline - time.monotonic())
            if line and line.startswith("{"):
                return json.loads(line)
        raise RuntimeError("the recount took more than 600 s")
