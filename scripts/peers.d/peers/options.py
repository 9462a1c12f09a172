"""The command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

PEERS = ("flink", "kafka-streams", "spark", "pathway", "bytewax")

DESCRIPTION = """\
scripts/peers: Cutwater and its peers side by side, for anyone to rerun.

It installs Flink, Kafka Streams, Spark, Pathway and Bytewax from public
packages (Maven and pip, pinned versions) below target/peers, starts a real
broker of its own (scripts/kafka) in a temporary folder, and has one engine
after the other count words on it, Cutwater before, between and after them:

drain    A topic of --records records is counted from its first record to its
         last, as fast as it goes.
rate     Records are offered at a pace; from each record's append to its count
         being visible to a reader of committed output is its latency.

Every word's count is compared with a recount of the input. Standard output gets
one table; the folder of --dir gets it, too, with the same as JSON lines, a
picture of the latencies and the log of every process. Each engine has a limit
of time, and one that fails is said in the table, with the reason.
docs/peers.md tells how all is measured and configured, and why.
"""

EPILOG = """\
Needs Linux, a JDK 17 or later, Maven, Python 3.10 to 3.12 with venv, 8 GB of
memory, and cargo unless --cutwater is given. Leave the machine alone meanwhile:
about an hour, the first time some minutes more. Exits 0 if every engine that was
asked for has counted right, 1 if not, 2 for wrong usage.
"""


@dataclass(frozen=True)
class Options:
    engines: list[str]
    records: int
    rates: list[int]
    seconds: int
    folder: Path | None
    cutwater: Path | None
    keep: bool


def positive(text: str) -> int:
    number = int(text.replace("_", "")) if text.replace("_", "").isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return number


def engines(text: str) -> list[str]:
    wanted = text.split(",")
    for name in wanted:
        if name not in PEERS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PEERS)}")
    return [name for name in PEERS if name in wanted]


def rates(text: str) -> list[int]:
    return [] if text == "none" else sorted({positive(rate) for rate in text.split(",")})


def program(text: str) -> Path:
    path = Path(text).resolve()
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no program {text}")
    return path


def parse(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="scripts/peers", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--engines", type=engines, default=list(PEERS), metavar="A,B", help=f"which peers (default: {','.join(PEERS)})")
    add("--records", type=positive, default=10_000_000, metavar="N", help="records of the topic that is drained (default: 10000000)")
    add("--rates", type=rates, default=[10_000, 50_000, 100_000], metavar="A,B",
        help="records a second to offer, or none (default: 10000,50000,100000)")
    add("--seconds", type=positive, default=30, metavar="N", help="seconds to measure each rate, after 15 to warm up (default: 30)")
    add("--dir", type=Path, metavar="DIR", help="where results and logs go (default: a new folder below target/peers/results)")
    add("--cutwater", type=program, metavar="PROGRAM", help="this program instead of the one that cargo builds")
    add("--keep", action="store_true", help="keep the broker's data, checkpoints and other files of the runs, too")
    given = parser.parse_args(arguments)
    return Options(given.engines, given.records, given.rates, given.seconds, given.dir, given.cutwater, given.keep)
