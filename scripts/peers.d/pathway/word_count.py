"""Counts words in Pathway, as its published benchmark does: without persistence, so nothing of it survives its end.

word_count.py BROKERS INPUT OUTPUT GROUP COMMIT_MS; PATHWAY_THREADS says how many threads.
"""

import sys

import pathway as pw


def main() -> None:
    brokers, source, sink, group, commit_ms = sys.argv[1:]
    reading = {
        "bootstrap.servers": brokers,
        "group.id": group,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "true",
        "session.timeout.ms": "60000",
        "queued.min.messages": "1000000",
        "fetch.queue.backoff.ms": "1",
    }
    writing = {
        "bootstrap.servers": brokers,
        "linger.ms": "2",
        "queue.buffering.max.messages": "1000000",
        "compression.type": "lz4",
    }
    words = pw.io.kafka.read(
        rdkafka_settings=reading, topic=source, format="plaintext", autocommit_duration_ms=int(commit_ms)
    )
    counts = words.groupby(words.data).reduce(word=words.data, count=pw.reducers.count())
    pw.io.kafka.write(counts, rdkafka_settings=writing, topic_name=sink, format="json")
    pw.run(monitoring_level=pw.MonitoringLevel.NONE)


main()
