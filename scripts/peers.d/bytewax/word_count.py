"""Counts words in Bytewax: a count for each word of a batch, with snapshots of the state.

python -m bytewax.run word_count -w WORKERS -r FOLDER -s SECONDS -b 0, with BROKERS, INPUT, OUTPUT and BATCH (records a call) set.
"""

import os
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic


class Count(StatefulBatchLogic):
    def __init__(self, resumed: int | None) -> None:
        self.count = resumed or 0

    def on_batch(self, values: list[Any]) -> tuple[list[int], bool]:
        self.count += len(values)
        return [self.count], StatefulBatchLogic.RETAIN

    def snapshot(self) -> int:
        return self.count


def dataflow() -> Dataflow:
    brokers = [os.environ["BROKERS"]]
    reading = {"queued.min.messages": "1000000", "fetch.queue.backoff.ms": "1"}
    writing = {"linger.ms": "2", "queue.buffering.max.messages": "1000000", "compression.type": "lz4"}
    flow = Dataflow("word_count")
    source = KafkaSource(
        brokers, [os.environ["INPUT"]], batch_size=int(os.environ["BATCH"]), add_config=reading
    )
    records = op.input("records", flow, source)
    words = op.key_on("words", records, lambda record: record.value.decode())
    counts = op.stateful_batch("counts", words, Count)
    rows = op.map("rows", counts, lambda row: KafkaSinkMessage(row[0].encode(), str(row[1]).encode()))
    op.output("output", rows, KafkaSink(brokers, os.environ["OUTPUT"], add_config=writing))
    return flow


flow = dataflow()
