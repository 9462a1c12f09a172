//! Records are the same by either way of fetching them, whatever producer wrote them.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use cutwater::kafka::client::Fetch;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _};

use crate::support::DEADLINE;
use crate::support::broker::real;
use crate::support::committed::settle;
use crate::support::feeds::Reader;
use crate::support::kafka::{Topic, Writer};

/// All that there is to see of the records of a partition, in order.
type Seen = BTreeMap<(String, i32), Vec<String>>;

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

fn seen(topics: &[&Topic], workers: usize, fetch: Fetch) -> Seen {
    let mut seen = Seen::new();
    let mut opened =
        Reader { fetch, ..Reader::of(topics, workers) }.open(None).expect("the topics are there");
    let each = &mut |record: &cutwater_dataflows::record::Record<'_>| {
        let header = record.headers.last("h");
        let shown = format!(
            "{} {:?} {:?} {:?} {header:?}",
            record.offset, record.timestamp, record.key, record.value
        );
        seen.entry((record.topic.to_owned(), record.partition)).or_default().push(shown);
    };
    opened.read_each(each).expect("they can be read");
    opened.finish(&[]);
    seen
}

/// Records with and without key, value and headers, in one transaction or none.
fn write(writer: &Writer, topic: &Topic, partition: i32, count: usize) {
    for number in 0..count {
        let (key, value) = (format!("key {number}"), "some text ".repeat(number % 50));
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&topic.name).partition(partition);
        record.key = (number % 3 != 0).then_some(key.as_bytes());
        record.payload = (number % 7 != 0).then_some(value.as_bytes());
        if number % 5 == 0 {
            let headers = OwnedHeaders::new().insert(Header { key: "other", value: Some("x") });
            let value = (number % 2 == 0).then_some(key.as_bytes());
            record.headers = Some(
                headers.insert(Header { key: "h", value: Some("first") }).insert(Header { key: "h", value }),
            );
        }
        writer.write(record);
    }
}

#[test]
fn records_are_the_same_by_either_way() {
    let topics = CODECS.map(|_| real().topic(3));
    for (topic, codec) in topics.iter().zip(CODECS) {
        let compression = [("compression.codec", codec), ("linger.ms", "20")];
        let writer = topic.writer_with(&compression);
        write(&writer, topic, 0, 3_000);
        writer.flush();
        // Two producers of transactions, which overlap.
        let writers = [topic.transactions_with(&compression), topic.transactions_with(&compression)];
        for number in 0..12 {
            for writer in &writers {
                writer.producer.begin_transaction().expect("a transaction begins");
            }
            for (index, writer) in writers.iter().enumerate() {
                write(writer, topic, 1, 5 * number + index);
                writer.flush();
            }
            for (index, writer) in writers.iter().enumerate() {
                if (number + index) % 3 == 0 {
                    writer.producer.abort_transaction(DEADLINE).expect("it is aborted");
                } else {
                    writer.producer.commit_transaction(DEADLINE).expect("it is committed");
                }
            }
        }
        settle(topic);
    }
    let topics = topics.each_ref();
    let wanted = seen(&topics, 1, Fetch::Librdkafka);
    assert_eq!(
        wanted.values().map(Vec::len).sum::<usize>(),
        5 * (3_000 + 448),
        "what was aborted is left out"
    );
    for workers in 1..=3 {
        let direct = seen(&topics, workers, Fetch::Direct);
        for (place, records) in &wanted {
            assert_eq!(direct.get(place), Some(records), "{place:?}, {workers} workers");
        }
        assert_eq!(direct.len(), wanted.len());
    }
}

/// Java's snappy library writes blocks of its own.
#[test]
fn what_kafkas_own_producer_has_written_is_the_same_by_either_way() {
    let topic = real().topic(1);
    let mut producer = Command::new(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka"))
        .args(["tool", "console-producer", "--bootstrap-server", &topic.address, "--topic", &topic.name])
        .args(["--compression-codec", "snappy", "--batch-size", "100000"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starting a script");
    let lines: String = (0..5_000).map(|number| format!("line {number} of some length\n")).collect();
    std::io::Write::write_all(&mut producer.stdin.take().expect("it is piped"), lines.as_bytes())
        .expect("it reads");
    assert!(producer.wait().expect("it runs").success());
    let wanted = seen(&[&topic], 1, Fetch::Librdkafka);
    assert_eq!(wanted.values().map(Vec::len).sum::<usize>(), 5_000);
    assert_eq!(seen(&[&topic], 1, Fetch::Direct), wanted);
}
