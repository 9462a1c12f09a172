//! Formats and envelopes from end to end: a plain producer writes records of each, wrong ones among them, to a real broker;
//! the job is killed twice while they come and resumed in another shape each time. What was committed then is what a plain
//! recount in the test makes of the same records, and each wrong one is a dead letter by its offset and field.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::support::broker::real;
use crate::support::committed::{Seen, latest, letters, read, settle};
use crate::support::kafka::{Topic, Writer};
use crate::support::killed::Job;
use crate::support::program::{Program, cutwater};
use crate::support::wire;

/// Records of each of the four parts.
const PART: u64 = 1_200;
/// Partitions of each input.
const PARTITIONS: i32 = 4;

/// A topic that is written to, with the recount of its dead letters.
struct Feed {
    topic: Topic,
    writer: Writer,
    next: Vec<i64>,
    /// What the reason of a record's dead letter has to begin with, by its partition and offset.
    wrong: BTreeMap<(i32, i64), &'static str>,
}

impl Feed {
    fn new() -> Feed {
        let topic = real().topic(PARTITIONS);
        let writer = topic.writer();
        Feed { topic, writer, next: vec![0; PARTITIONS as usize], wrong: BTreeMap::new() }
    }

    /// Writes a record; one that is wrong says how the reason begins.
    fn send(&mut self, partition: u64, key: Option<&str>, value: Option<&[u8]>, wrong: Option<&'static str>) {
        let partition = (partition % PARTITIONS as u64) as i32;
        match (key, value) {
            (Some(key), Some(value)) => self.writer.send_keyed(partition, key, value),
            (Some(key), None) => self.writer.delete(partition, key),
            (None, value) => self.writer.send(partition, value),
        }
        let next = &mut self.next[partition as usize];
        if let Some(reason) = wrong {
            self.wrong.insert((partition, *next), reason);
        }
        *next += 1;
    }

    /// Returns how many records there are, when all are.
    fn flushed(&self) -> i64 {
        self.writer.flush();
        self.next.iter().sum()
    }
}

/// Each wrong record of the feeds is a dead letter, once, with its reason, and nothing else is.
#[track_caller]
fn check_letters(dead: &Topic, feeds: &[&Feed]) {
    settle(dead);
    let found = letters(dead);
    let mut expected: BTreeMap<(String, i32, i64), &str> = BTreeMap::new();
    for feed in feeds {
        let wrong = feed.wrong.iter();
        expected.extend(
            wrong.map(|((partition, offset), why)| ((feed.topic.name.clone(), *partition, *offset), *why)),
        );
    }
    assert!(!expected.is_empty(), "nothing was wrong");
    assert_eq!(found.len(), expected.len(), "dead letters");
    for letter in found {
        let place = (letter.topic, letter.partition, letter.offset);
        let reason = expected
            .remove(&place)
            .unwrap_or_else(|| panic!("{place:?} twice, or right: {}", letter.message));
        assert!(letter.message.starts_with(reason), "{place:?}: {:?} is not {reason:?}", letter.message);
    }
}

fn committed(topic: &Topic) -> Vec<Seen> {
    settle(topic);
    read(topic)
}

/// Fails with the first rows that differ.
#[track_caller]
fn assert_rows(mut found: Vec<String>, mut expected: Vec<String>) {
    assert!(!expected.is_empty(), "no rows were expected");
    found.sort();
    expected.sort();
    let differs = found.iter().zip(&expected).find(|(found, expected)| found != expected);
    let counts = (found.len(), expected.len());
    assert!(found == expected, "{counts:?} rows found and expected; the first that differ: {differs:?}");
}

fn rules(folder: &Path, text: &str) -> String {
    let path = folder.join("rules.toml");
    std::fs::write(&path, text).expect("the file is written");
    path.display().to_string()
}

fn to(sink: &Topic) -> String {
    format!("kafka:{}", sink.name)
}

/// A time of the tests, as Cutwater shows it: so many seconds of an hour.
fn time(seconds: u64) -> String {
    format!("2026-01-01T10:{:02}:{:02}Z", seconds / 60 % 60, seconds % 60)
}

/// The same in milliseconds.
fn millis(seconds: u64) -> u64 {
    1_767_261_600_000 + seconds % 3_600 * 1_000
}

// -------------------------------------------------------------------------------------------------------------- cleanse

const RULES: &str = r#"
[[field]]
name = "id"
type = "int"
required = true
[[field]]
name = "who"
from = "customer.name"
trim = true
lower = true
default = "nobody"
[[field]]
name = "price"
type = "decimal(2)"
required = true
min = 0
[[field]]
name = "region"
trim = true
lower = true
one-of = ["north", "south"]
[[field]]
name = "at"
type = "timestamp"
required = true
[[field]]
name = "gift"
type = "bool"
default = false
[[field]]
name = "kind"
[[keep]]
field = "kind"
equals = "sale"
"#;

/// A record for the rules: its value, and its row, or how the reason of its dead letter begins, or nothing of both.
fn dirty(id: u64) -> (Option<String>, Option<String>, Option<&'static str>) {
    let (cents, at) = (id * 7 % 5_000, time(id));
    let (name, who) =
        [(r#"{"name":"  Ada "}"#, "ada"), (r#"{"name":" "}"#, "nobody"), ("null", "nobody")][id as usize % 3];
    let digits = format!("{}.{:02}", cents / 100, cents % 100);
    let price = if id.is_multiple_of(2) { format!("\"{digits}\"") } else { digits.clone() };
    let when = if id.is_multiple_of(5) { millis(id).to_string() } else { format!("\"{at}\"") };
    let (gift, given) = if id.is_multiple_of(4) { (r#","gift":"true""#, true) } else { ("", false) };
    let of = |id: &str, price: &str, region: &str, at: &str, kind: &str| {
        format!(
            r#"{{"id":{id},"customer":{name},"price":{price},"region":{region},"at":{at},"kind":"{kind}"{gift}}}"#
        )
    };
    let number = id.to_string();
    let wrong = |value: String, reason| (Some(value), None, Some(reason));
    match id % 40 {
        // None of ours, whatever else is wrong with it.
        1 => (Some(of(&number, "\"dear\"", "7", &when, "note")), None, None),
        2 => wrong(of(&number, &price, "\"north\"", &when, "sale").replace('}', ""), ""),
        3 => wrong(of(&number, "null", "\"north\"", &when, "sale"), "price: "),
        4 => wrong(of(&number, "1.005", "\"north\"", &when, "sale"), "price: "),
        5 => wrong(of(&number, "-1", "\"north\"", &when, "sale"), "price: "),
        6 => wrong(of(&number, &price, "\"west\"", &when, "sale"), "region: "),
        7 => wrong(of("\"x\"", &price, "\"north\"", &when, "sale"), "id: "),
        8 => wrong(of(&number, &price, "\"north\"", "\"noon\"", "sale"), "at: "),
        9 => (None, None, Some("")),
        _ => {
            let row = format!(
                r#"{{"id":{id},"who":"{who}","price":"{digits}","region":"north","at":"{at}","gift":{given},"kind":"sale"}}"#
            );
            (Some(of(&number, &price, "\" North\"", &when, "sale")), Some(row), None)
        }
    }
}

#[test]
fn cleanse_is_exact_through_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let (rules, file) = (rules(folder.path(), RULES), folder.path().join("clean.jsonl"));
    let (mut feed, clean, dead) = (Feed::new(), real().topic(2), real().topic(1));
    let name = feed.topic.name.clone();
    let program = || -> Program {
        let program = cutwater(["run", "cleanse", "-b", &clean.address, "-t", &name, "--rules", &rules]);
        let to_file = format!("file:{}", file.display());
        program.args(["-o", &to(&clean), "-o", &to_file, "--dead-letter", &to(&dead)])
    };
    let mut expected = Vec::new();
    let input = real().known_topic(&feed.topic.name, PARTITIONS);
    Job { inputs: vec![&input], program: &program }.killed_and_resumed(|part| {
        for id in part as u64 * PART..(part as u64 + 1) * PART {
            let (value, row, wrong) = dirty(id);
            feed.send(id, None, value.as_deref().map(str::as_bytes), wrong);
            expected.extend(row);
        }
        feed.flushed()
    });
    let rows = committed(&clean).into_iter().map(|record| record.value.expect("a row")).collect();
    assert_rows(rows, expected.clone());
    let text = std::fs::read_to_string(&file).expect("the file is there");
    assert_rows(text.lines().map(str::to_owned).collect(), expected);
    check_letters(&dead, &[&feed]);
}

// ------------------------------------------------------------------------------------------------------------- debezium

const TABLE: &str = r#"
[[field]]
name = "id"
type = "int"
required = true
[[field]]
name = "version"
type = "int"
required = true
[[field]]
name = "name"
"#;

/// Rows of the table; as many more have only one event or two.
const IDS: u64 = 200;
/// Events that come once more, in their order, after a crash of the connector.
const REPLAYED: usize = 150;

/// A table of a database, and the connector that tells of it.
struct Database {
    random: StdRng,
    /// The version of each row that is there: the plain recount.
    rows: BTreeMap<u64, u64>,
    versions: BTreeMap<u64, u64>,
    lsn: u64,
    /// The records of each event: a null value comes after a deletion.
    events: Vec<(u64, Vec<Option<String>>)>,
}

impl Database {
    fn new() -> Database {
        let random = StdRng::seed_from_u64(13);
        let (rows, versions) = (BTreeMap::new(), BTreeMap::new());
        Database { random, rows, versions, lsn: 1_000, events: Vec::new() }
    }

    /// An event, which is a record or two.
    fn event(&mut self, op: &str, id: u64) {
        let of = |version: u64| format!(r#"{{"id":{id},"version":{version},"name":"row {id}"}}"#);
        let before = self.rows.get(&id).map_or("null".to_owned(), |version| of(*version));
        let after = if op == "d" {
            self.rows.remove(&id);
            "null".to_owned()
        } else {
            let version = self.versions.entry(id).or_default();
            *version += 1;
            self.rows.insert(id, *version);
            of(*version)
        };
        self.lsn += self.random.random_range(1..9);
        let (lsn, at) = (self.lsn, 1_767_261_600_000 + self.lsn / 4);
        let snapshot = if op == "r" { r#","snapshot":"true""# } else { "" };
        let source = format!(r#"{{"connector":"postgresql","lsn":{lsn},"ts_ms":{at}{snapshot}}}"#);
        let event =
            format!(r#"{{"before":{before},"after":{after},"source":{source},"op":"{op}","ts_ms":{at}}}"#);
        // With its schema, where the converter is told so.
        let event = if id.is_multiple_of(2) {
            format!(r#"{{"schema":{{"type":"struct"}},"payload":{event}}}"#)
        } else {
            event
        };
        let records = if op == "d" { vec![Some(event), None] } else { vec![Some(event)] };
        self.events.push((id, records));
    }

    /// The connector has died and begins where it knows that all was written: of its last events, some come once more.
    fn replay(&self, feed: &mut Feed, which: Range<usize>) {
        let from = self.events.len().saturating_sub(REPLAYED);
        self.events[from..].iter().skip(which.start).take(which.len()).for_each(|event| tell(feed, event));
    }

    /// A change of a row that is there, or a new one.
    fn change(&mut self) {
        let id = self.random.random_range(0..IDS);
        match (self.rows.contains_key(&id), self.random.random_range(0..4)) {
            (true, 0) => self.event("d", id),
            (true, _) => self.event("u", id),
            (false, _) => self.event("c", id),
        }
    }
}

/// Writes the records of an event.
fn tell(feed: &mut Feed, (id, records): &(u64, Vec<Option<String>>)) {
    let key = format!(r#"{{"id":{id}}}"#);
    for record in records {
        feed.send(*id, Some(&key), record.as_deref().map(str::as_bytes), None);
    }
}

/// A part of what the connector writes.
fn connect(database: &mut Database, feed: &mut Feed, part: usize) -> i64 {
    if part == 0 {
        (0..IDS / 2).for_each(|id| database.event("r", id));
        database.events.iter().for_each(|event| tell(feed, event));
    }
    // It goes on where it has died when the part before ended: all that was told of there is committed by now.
    database.replay(feed, REPLAYED / 2..REPLAYED);
    for number in 0..PART {
        if number % 300 == 299 {
            database.replay(feed, 0..REPLAYED);
        }
        database.change();
        tell(feed, &database.events[database.events.len() - 1]);
    }
    // Compaction has taken the deletion, and left the null value.
    let gone = IDS + part as u64;
    database.event("c", gone);
    tell(feed, &database.events.pop().expect("an event"));
    database.rows.remove(&gone);
    feed.send(gone, Some(&format!(r#"{{"id":{gone}}}"#)), None, None);
    // What can't be: a truncation, a row without what is needed, an operation that there is none of, no key.
    let wrong = |value: &'static str| Some(value.as_bytes());
    feed.send(0, Some("t"), wrong(r#"{"op":"t","source":{"lsn":1,"ts_ms":1}}"#), Some("op: "));
    feed.send(
        1,
        Some("a"),
        wrong(r#"{"op":"c","after":null,"source":{"lsn":1,"ts_ms":1}}"#),
        Some("after: "),
    );
    feed.send(2, Some("o"), wrong(r#"{"op":"x","after":null,"source":{"lsn":1,"ts_ms":1}}"#), Some("op: "));
    feed.send(
        3,
        None,
        wrong(r#"{"op":"d","after":null,"source":{"lsn":1,"ts_ms":1}}"#),
        Some("the key is null"),
    );
    let row = wrong(r#"{"op":"c","after":{"id":"nine","version":1},"source":{"lsn":1,"ts_ms":1}}"#);
    feed.send(3, Some("r"), row, Some("id: "));
    // The last that there is are older rows: whoever took them for news would publish them.
    database.replay(feed, 0..REPLAYED / 2);
    feed.flushed()
}

#[test]
fn the_changes_of_a_database_are_exact_through_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = rules(folder.path(), TABLE);
    let (mut feed, clean, dead) = (Feed::new(), real().topic(1), real().topic(1));
    let input = real().known_topic(&feed.topic.name, PARTITIONS);
    let program = || -> Program {
        let program =
            cutwater(["run", "cleanse", "-b", &clean.address, "-t", &input.name, "--rules", &rules]);
        program.with("-f json+debezium --emit upserts").args(["-o", &to(&clean), "--dead-letter", &to(&dead)])
    };
    let mut database = Database::new();
    Job { inputs: vec![&input], program: &program }
        .killed_and_resumed(|part| connect(&mut database, &mut feed, part));
    let records = committed(&clean);
    let row = |(id, version): (&u64, &u64)| format!(r#"{{"id":{id},"version":{version},"name":"row {id}"}}"#);
    assert_rows(latest(&records).into_values().collect(), database.rows.iter().map(row).collect());
    // An event that came once more was not applied twice, and no older row came back.
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for row in records.iter().filter_map(|record| record.value.as_ref()) {
        let value: serde_json::Value = serde_json::from_str(row).expect("JSON");
        let [id, version] = ["id", "version"].map(|column| value[column].as_u64().expect("a number"));
        let before = newest.insert(id, version);
        assert!(before < Some(version), "{row} comes after version {before:?}");
    }
    check_letters(&dead, &[&feed]);
}

// ------------------------------------------------------------------------------------------------------ protobuf and csv

/// An order as the shop knows it, in pieces and cents.
struct Order {
    product: String,
    quantity: i64,
    cents: i64,
    region: &'static str,
    second: u64,
}

/// What a shop has sold, and the plain recount of it.
struct Shop {
    random: StdRng,
    orders: Vec<Order>,
    /// Product and category of each record key.
    products: BTreeMap<String, (String, String)>,
}

impl Shop {
    fn new() -> Shop {
        Shop { random: StdRng::seed_from_u64(7), orders: Vec::new(), products: BTreeMap::new() }
    }

    fn order(&mut self) -> &Order {
        let random = &mut self.random;
        // Names that have to be quoted.
        let product = format!("nut; \"{}\"", random.random_range(0..30));
        let quantity = if random.random_range(0..9) == 0 { -2 } else { random.random_range(1..10) };
        let region = ["north", "süd"][random.random_range(0..2)];
        let (cents, second) = (random.random_range(1..9_999), random.random_range(0..3_600));
        self.orders.push(Order { product, quantity, cents, region, second });
        &self.orders[self.orders.len() - 1]
    }

    /// A line of csv with the key of its record: a product that comes, changes its category or leaves.
    fn product(&mut self) -> (String, Option<String>) {
        let number = self.random.random_range(0..30);
        let key = format!("p{number}");
        if self.random.random_range(0..5) == 0 {
            self.products.remove(&key);
            return (key, None);
        }
        let (product, category) =
            (format!("nut; \"{number}\""), format!("c{}", self.random.random_range(0..4)));
        let line = format!("\"nut; \"\"{number}\"\"\",{category}");
        self.products.insert(key.clone(), (product, category));
        (key, Some(line))
    }

    /// The rows of revenue by hours (there is only one) and of top-sellers, by the words that Cutwater has for them.
    fn recount(&self, top: usize) -> (Vec<String>, Vec<String>) {
        let categories: BTreeMap<&str, &str> =
            self.products.values().map(|(p, c)| (p.as_str(), c.as_str())).collect();
        let mut revenue: BTreeMap<(&str, &str), (i64, i64)> = BTreeMap::new();
        let mut pieces: BTreeMap<&str, BTreeMap<&str, i64>> = BTreeMap::new();
        for order in &self.orders {
            let Some(category) = categories.get(order.product.as_str()) else { continue };
            let sum = revenue.entry((category, order.region)).or_default();
            sum.0 += order.quantity * order.cents;
            sum.1 += i64::from(order.quantity > 0);
            *pieces.entry(category).or_default().entry(&order.product).or_default() += order.quantity;
        }
        let row = |((category, region), (cents, orders)): ((&str, &str), (i64, i64))| {
            let (sign, cents) = (if cents < 0 { "-" } else { "" }, cents.abs());
            let (revenue, window) = (format!("{sign}{}.{:02}", cents / 100, cents % 100), time(0));
            format!(
                r#"{{"category":"{category}","region":"{region}","window":"{window}","revenue":"{revenue}","orders":{orders}}}"#
            )
        };
        let mut sellers = Vec::new();
        for (category, pieces) in pieces {
            let mut ranked: Vec<_> = pieces.into_iter().filter(|(_, sum)| *sum > 0).collect();
            ranked.sort_by_key(|(product, sum)| (-sum, *product));
            sellers.extend(ranked.into_iter().take(top).zip(1..).map(|((product, sum), rank)| {
                let product = serde_json::json!(product);
                format!(r#"{{"category":"{category}","rank":{rank},"product":{product},"quantity":{sum}}}"#)
            }));
        }
        (revenue.into_iter().map(row).collect(), sellers)
    }
}

/// How orders are written.
trait Orders {
    /// What comes first in each partition.
    fn header(&self) -> Option<Vec<u8>>;
    fn written(&self, number: u64, order: &Order) -> Vec<u8>;
    /// What is wrong, and how the reason begins.
    fn wrong(&self) -> Vec<(Vec<u8>, &'static str)>;
}

/// `sales` with its orders in a format, and its products in lines of csv.
fn sales(format: &[&str], orders: &dyn Orders) {
    let (mut sold, mut table) = (Feed::new(), Feed::new());
    let [revenue, sellers, dead] = [(); 3].map(|()| real().topic(2));
    let inputs = [&sold, &table].map(|feed| real().known_topic(&feed.topic.name, PARTITIONS));
    let program = || -> Program {
        let bound = [format!("orders={}", inputs[0].name), format!("products={}", inputs[1].name)];
        let sinks = [format!("revenue={}", to(&revenue)), format!("top-sellers={}", to(&sellers))];
        cutwater(["run", "sales", "-b", &dead.address, "-t", &bound[0], "-t", &bound[1]])
            .args(["-f", "products=csv:product,category"])
            .args(format)
            .args(["-o", &sinks[0], "-o", &sinks[1], "--dead-letter", &to(&dead)])
            .with("--emit upserts --top 3")
    };
    let mut shop = Shop::new();
    Job { inputs: inputs.iter().collect(), program: &program }.killed_and_resumed(|part| {
        if part == 0 {
            let header = orders.header();
            let partitions = 0..header.iter().len() as u64 * PARTITIONS as u64;
            partitions.for_each(|partition| sold.send(partition, None, header.as_deref(), None));
        }
        for number in part as u64 * PART..(part as u64 + 1) * PART {
            let value = orders.written(number, shop.order());
            sold.send(number, None, Some(&value), None);
            if number.is_multiple_of(20) {
                let (key, line) = shop.product();
                let partition = key.bytes().map(u64::from).sum();
                table.send(partition, Some(&key), line.as_deref().map(str::as_bytes), None);
            }
        }
        for (number, (value, reason)) in orders.wrong().iter().enumerate() {
            sold.send(number as u64, None, Some(value), Some(reason));
        }
        sold.send(0, None, None, Some("the value is null"));
        table.send(0, Some("w"), Some(b"nut"), Some(""));
        sold.flushed() + table.flushed()
    });
    let (expected, ranked) = shop.recount(3);
    assert_rows(latest(&committed(&revenue)).into_values().collect(), expected);
    assert_rows(latest(&committed(&sellers)).into_values().collect(), ranked);
    check_letters(&dead, &[&sold, &table]);
}

/// Messages of `shop.Order`.
struct Protobuf;

impl Orders for Protobuf {
    fn header(&self) -> Option<Vec<u8>> {
        None
    }

    fn written(&self, number: u64, order: &Order) -> Vec<u8> {
        let price = format!("{}.{:02}", order.cents / 100, order.cents % 100);
        let seconds = wire::number(1, millis(order.second) / 1_000);
        let fields = [
            wire::bytes(1, order.product.as_bytes()),
            wire::number(2, wire::zigzag(order.quantity)),
            wire::bytes(3, price.as_bytes()),
            wire::bytes(4, order.region.as_bytes()),
            wire::bytes(5, &seconds),
            // Of a newer version of the message.
            wire::bytes(15, b"ignored"),
        ];
        let message = fields.concat();
        // In Confluent's frame, or without.
        if number.is_multiple_of(2) { [&[0, 0, 0, 0, 7, 0][..], &message].concat() } else { message }
    }

    fn wrong(&self) -> Vec<(Vec<u8>, &'static str)> {
        let order = Order { product: "nut".into(), quantity: 1, cents: 100, region: "north", second: 1 };
        let whole = self.written(1, &order);
        let again = |field: Vec<u8>| [&whole[..], &field].concat();
        vec![
            // Cut off within its last field.
            (whole[..whole.len() - 3].to_vec(), ""),
            (again(wire::bytes(3, b"1.005")), "price: "),
            (again(wire::bytes(3, b"dear")), "price: "),
            (again(wire::number(2, wire::zigzag(2_000_000_000_001))), "quantity: "),
        ]
    }
}

/// Lines with semicolons, below a header.
struct Csv;

impl Orders for Csv {
    fn header(&self) -> Option<Vec<u8>> {
        Some(b"id;product;quantity;price;region;at".to_vec())
    }

    fn written(&self, number: u64, order: &Order) -> Vec<u8> {
        let Order { product, quantity, cents, region, second } = order;
        let product = product.replace('"', "\"\"");
        let at = if number.is_multiple_of(2) { time(*second) } else { millis(*second).to_string() };
        format!("{number};\"{product}\";{quantity};{}.{:02};{region};{at}", cents / 100, cents % 100)
            .into_bytes()
    }

    fn wrong(&self) -> Vec<(Vec<u8>, &'static str)> {
        let lines = [
            ("1;nut;1;1.005;north;0", "price: "),
            ("1;nut;one;1.00;north;0", "quantity: "),
            ("1;nut;1;1.00;north;noon", "at: "),
            ("1;nut;1;1.00;north;0;more", ""),
            ("1;\"nut;1;1.00;north;0", ""),
            ("1;nut;1", ""),
            ("", ""),
        ];
        lines.map(|(line, reason)| (line.as_bytes().to_vec(), reason)).into()
    }
}

#[test]
fn messages_of_protobuf_are_exact_through_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = folder.path().join("shop.pb");
    let time = wire::message("Timestamp", &[("seconds", 1, wire::INT64, ""), ("nanos", 2, wire::INT32, "")]);
    let fields = [
        ("product", 1, wire::STRING, ""),
        ("quantity", 2, wire::SINT64, ""),
        ("price", 3, wire::STRING, ""),
        ("region", 4, wire::STRING, ""),
        ("at", 5, wire::MESSAGE, ".google.protobuf.Timestamp"),
    ];
    let files = [
        wire::file("google/protobuf/timestamp.proto", "google.protobuf", &[], &time),
        wire::file(
            "shop.proto",
            "shop",
            &["google/protobuf/timestamp.proto"],
            &wire::message("Order", &fields),
        ),
    ];
    std::fs::write(&set, files.concat()).expect("the file is written");
    let set = set.to_str().expect("text");
    sales(&["-f", "orders=protobuf:shop.Order", "--descriptor", set], &Protobuf);
}

#[test]
fn lines_of_csv_are_exact_through_kills() {
    sales(&["-f", "orders=csv:id;product;quantity;price;region;at"], &Csv);
}
