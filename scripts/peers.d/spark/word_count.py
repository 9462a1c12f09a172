"""Counts words in Spark Structured Streaming: what changed in a batch goes to a topic, at least once.

word_count.py BROKERS INPUT OUTPUT FOLDER JARS THREADS
"""

import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession


def session(folder: Path, jars: str, threads: str) -> SparkSession:
    settings = {
        "spark.jars": jars,
        "spark.driver.memory": "2g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": threads,
        "spark.sql.streaming.noDataMicroBatches.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master(f"local[{threads}]").appName("word count")
    for key, value in settings.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def counts(spark: SparkSession, brokers: str, topic: str) -> DataFrame:
    lines = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("subscribe", topic)
        .option("startingOffsets", "earliest")
        .option("kafka.max.poll.records", "10000")
        .option("kafka.max.partition.fetch.bytes", "4194304")
        .load()
    )
    words = lines.selectExpr("CAST(value AS STRING) AS word").groupBy("word").count()
    return words.selectExpr("word AS key", "CAST(count AS STRING) AS value")


def main() -> None:
    brokers, source, sink, folder, jars, threads = sys.argv[1:]
    spark = session(Path(folder), jars, threads)
    query = (
        counts(spark, brokers, source)
        .writeStream.format("kafka")
        .option("kafka.bootstrap.servers", brokers)
        .option("topic", sink)
        .option("kafka.linger.ms", "2")
        .option("kafka.compression.type", "lz4")
        .option("checkpointLocation", str(Path(folder) / "checkpoint"))
        .outputMode("update")
        .trigger(processingTime="0 seconds")
        .start()
    )
    query.awaitTermination()


main()
