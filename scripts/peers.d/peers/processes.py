"""Processes that are started here: their whole tree, what it takes of processor and memory, and its end."""

import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SAMPLE_SECONDS = 0.25


@dataclass(frozen=True)
class Stat:
    """A line of /proc/PID/stat, as far as it is of use."""

    pid: int
    parent: int
    session: int
    started: int
    ticks: int
    resident: int


def stat(pid: int) -> Stat | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The name of the program, in parentheses, may hold anything.
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] == "Z":
        return None
    return Stat(
        pid, int(fields[1]), int(fields[3]), int(fields[19]), int(fields[11]) + int(fields[12]), int(fields[21]) * PAGE
    )


def all_stats() -> list[Stat]:
    return [s for s in (stat(int(name)) for name in os.listdir("/proc") if name.isdigit()) if s]


def tree(root: int) -> list[Stat]:
    """A process, all that it has started, and all of its session: a child whose parent has gone is still in that."""
    stats = all_stats()
    members = {root}
    grown = True
    while grown:
        more = {s.pid for s in stats if s.pid not in members and (s.parent in members or s.session == root)}
        members |= more
        grown = bool(more)
    return [s for s in stats if s.pid in members]


@dataclass
class Usage:
    """Seconds of processor time so far, and the most bytes at a time that were resident."""

    processor: float = 0.0
    memory: int = 0


@dataclass
class Meter:
    """Watches a tree of processes; what a process took that has ended still counts."""

    root: int
    ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    memory: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self.over.wait(SAMPLE_SECONDS):
            self.now()

    def now(self) -> Usage:
        members = tree(self.root)
        with self.lock:
            for s in members:
                self.ticks[s.pid, s.started] = s.ticks
            self.memory = max(self.memory, sum(s.resident for s in members))
            return Usage(sum(self.ticks.values()) / TICKS, self.memory)


class Process:
    """A process in a session of its own, with a log. Leaving the `with` ends its whole tree and nothing else."""

    def __init__(
        self, argv: list[str], log: Path, environment: dict[str, str] | None = None, talks: bool = False, folder: Path | None = None
    ) -> None:
        self.log = log
        self._file = log.open("wb")
        self._ended = False
        self.began_ms = time.time() * 1000
        self.child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
            stdout=subprocess.PIPE if talks else self._file,
            stderr=self._file,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
        self.meter = Meter(self.child.pid)
        self.meter.start()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def running(self) -> bool:
        """Without reaping it: until end() has ended its tree, its number is to be given to no other process."""
        return os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def why(self) -> str:
        """The last line of the log that tells why a process has failed."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower() or "exception" in line.lower()]
        return (errors or lines or ["it said nothing"])[-1][:200]

    def end(self, patience: float = 10.0) -> None:
        """SIGTERM to all of the tree, SIGKILL to what is left."""
        if self._ended:
            return
        self._ended = True
        self.meter.over.set()
        for number in (signal.SIGTERM, signal.SIGKILL):
            self._signal(tree(self.child.pid), number)
            deadline = time.monotonic() + patience
            while tree(self.child.pid) and time.monotonic() < deadline:
                time.sleep(0.05)
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                pipe.close()
        self._file.close()

    @staticmethod
    def _signal(members: list[Stat], number: int) -> None:
        for member in members:
            now = stat(member.pid)
            if now and now.started == member.started:
                try:
                    os.kill(member.pid, number)
                except ProcessLookupError:
                    pass
