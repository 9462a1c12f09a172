"""Draws what scripts/peers has measured: draw.py RESULTS.jsonl PICTURE.svg"""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

COLOURS = {
    "cutwater": "#0b6e99", "flink": "#e6522c", "kafka-streams": "#3b3b3b", "spark": "#d9a300", "pathway": "#7a3e9d", "bytewax": "#3c9d4e",
}


def label(row: dict) -> str:
    return f"{row['engine']}, {row['guarantee']}"


def style(row: dict) -> dict:
    """A colour for each engine; hollow and dashed is at least once."""
    colour = COLOURS.get(row["engine"], "#888888")
    weaker = row["guarantee"] == "at-least-once"
    return {"color": colour, "linestyle": "--" if weaker else "-", "markerfacecolor": "white" if weaker else colour}


def grouped(rows: list[dict], key) -> dict:
    groups: dict = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def plain(value: float, _: object) -> str:
    """1, 2 and 5 of each power of ten; the rest would not find room."""
    return f"{value:,.0f}" if f"{value:e}"[0] in "125" else ""


def drains(axes, rows: list[dict]) -> None:
    """The median of each engine's drains, from the slowest to the fastest."""
    groups = grouped([row for row in rows if row["job"] == "drain" and row["records_per_s"]], label)
    bars = sorted((median(row["records_per_s"] for row in group), name, group[0]) for name, group in groups.items())
    axes.barh([name for _, name, _ in bars], [speed for speed, _, _ in bars], color=[style(row)["color"] for _, _, row in bars])
    axes.set_xlabel("records a second, a topic drained")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.tick_params(axis="x", labelrotation=30)


def latencies(axes, rows: list[dict], part: str) -> None:
    """The median of each engine's runs at each rate that it has kept."""
    groups = grouped([row for row in rows if row["job"] == "rate" and row["kept"] and row[part] is not None], label)
    for name, group in groups.items():
        by_rate = sorted(grouped(group, lambda row: row["rate"]).items())
        values = [max(1, median(row[part] for row in of)) for _, of in by_rate]
        axes.plot([rate for rate, _ in by_rate], values, marker="o", label=name, **style(group[0]))
    axes.set_xlabel("records a second offered")
    axes.set_ylabel(f"{part.removesuffix('_ms')}, ms from append to committed count")
    if groups:
        axes.set_yscale("log")
        axes.set_xscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(plain)
            axis.set_minor_formatter(plain)
        axes.tick_params(axis="both", which="both", labelsize=8)
        axes.tick_params(axis="x", which="both", labelrotation=30)
        axes.legend(fontsize=8)
    axes.grid(True, which="major", alpha=0.3)


def main() -> None:
    source, target = map(Path, sys.argv[1:])
    about, *rows = (json.loads(line) for line in source.read_text().splitlines())
    rows = [row for row in rows if not row["failed"]]
    figure, axes = plt.subplots(1, 3, figsize=(19, 6))
    drains(axes[0], rows)
    latencies(axes[1], rows, "p50_ms")
    latencies(axes[2], rows, "p99_ms")
    figure.suptitle(f"Word count on Kafka, {about['date'][:10]}, {about['cores']} cores of {about['processor']}")
    figure.tight_layout()
    figure.savefig(target)


main()
