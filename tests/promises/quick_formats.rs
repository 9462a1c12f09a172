//! `--format`: how inputs are read, from the command line to the rows, and through restarts.

use cutwater_dataflows::format::{Decoder, RowWriter, Undecoded};
use cutwater_dataflows::prelude::*;

use crate::support::broker::mock;
use crate::support::program::{cutwater, own, word_count};

/// Hands on orders and products
#[derive(clap::Args, Debug)]
pub struct Shop {}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    #[row(key)]
    id: Text,
    price: Decimal<2>,
}

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Product {
    #[row(key)]
    product: Text,
}

impl Dataflow for Shop {
    const NAME: &'static str = "shop";
    fn build(&self, flow: &Flow<'_>) {
        let orders = flow.input("orders").rows::<Order>().persist("orders");
        orders.output("orders", &["id"], &["price"]);
        let products = flow.input("products").envelope(Envelope::Upsert).rows::<Product>();
        products.output("products", &["product"], &[]);
        flow.input("lines").format(Bars).rows::<(Text, Text)>().output("lines", &["one"], &["two"]);
    }
}

/// Text between bars.
pub struct Bars;

impl Format for Bars {
    fn name(&self) -> &str {
        "bars"
    }
    fn open(&self, _: &Schema) -> Result<Box<dyn Decoder>, String> {
        Ok(Box::new(Bars))
    }
}

impl Decoder for Bars {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        let text = std::str::from_utf8(payload).map_err(|_| Malformed::because("not UTF-8"))?;
        text.split('|').try_for_each(|field| row.push(Value::Text(field)))?;
        Ok(())
    }
}

/// The rows, without their epochs, in order.
fn changes(ended: Vec<String>) -> Vec<String> {
    let row = |line: &String| {
        line.strip_prefix(r#"{"epoch":"#)?.split_once(r#""output":"#).map(|(_, row)| row.into())
    };
    let mut rows: Vec<String> = ended.iter().filter_map(row).collect();
    rows.sort();
    rows
}

#[test]
fn inputs_are_read_as_the_command_line_says_through_restarts() {
    let (orders, products, lines) = (mock().topic(1), mock().topic(2), mock().topic(1));
    let state = tempfile::tempdir().expect("a folder");
    let run = |options: &str| {
        let topics = [("orders", &orders), ("products", &products), ("lines", &lines)];
        let topics = topics.map(|(input, topic)| format!("-t {input}={}", topic.name)).join(" ");
        let args = format!("run shop -b {} {topics} --until-end {options}", orders.address);
        own(&args.split(' ').filter(|arg| !arg.is_empty()).collect::<Vec<_>>())
    };
    let durable = |options: &str| run(&format!("--state {} {options}", state.path().display()));

    orders.send([r#"{"id":"o-1","price":0.1,"more":[]}"#, r#"{"id":"o-2","price":0.105}"#]);
    let writer = products.writer();
    writer.send_keyed(0, "1", br#"{"product":"nut"}"#);
    writer.send_keyed(1, "2", br#"{"product":"bolt"}"#);
    writer.send_keyed(0, "1", br#"{"product":"screw"}"#);
    writer.send(1, Some(br#"{"product":"nobody's"}"#));
    writer.flush();
    lines.send(["a|b"]);
    let ended = durable("-f orders=json").run().expect(0);
    // A decimal that is too fine, and a record of a table without a key.
    ended.says(&["done: ", "2 dead letters"]);
    assert_eq!(
        changes(ended.stdout),
        [
            r#""lines","diff":1,"row":{"one":"a","two":"b"}}"#,
            r#""orders","diff":1,"row":{"id":"o-1","price":"0.10"}}"#,
            r#""products","diff":1,"row":{"product":"bolt"}}"#,
            r#""products","diff":1,"row":{"product":"screw"}}"#,
        ]
    );

    // Another format makes other rows of the same records, and so does another envelope.
    for (typed, stored, now) in [
        ("-f orders=bars", r#""orders": "json+append""#, r#""orders": "bars+append""#),
        ("-f products=json+append", r#""products": "json+upsert""#, r#""products": "json+append""#),
    ] {
        durable(typed).run().fails(1, &["the inputs' formats", stored, now, "another state folder"]);
    }
    let shown = own(&["state", state.path().to_str().expect("text")]).run().expect(0);
    assert!(
        shown.stdout.iter().any(|line| line.contains("input") && line.ends_with("as json+upsert")),
        "{:?}",
        shown.stdout
    );

    orders.send([r#"{"id":"o-3","price":"7"}"#]);
    writer.delete(1, "2");
    writer.send_keyed(0, "1", br#"{"product":"nail"}"#);
    writer.flush();
    let ended = durable("-f products=json -w 2").run().expect(0);
    assert_eq!(
        changes(ended.stdout),
        [
            r#""orders","diff":1,"row":{"id":"o-3","price":"7.00"}}"#,
            r#""products","diff":-1,"row":{"product":"bolt"}}"#,
            r#""products","diff":-1,"row":{"product":"screw"}}"#,
            r#""products","diff":1,"row":{"product":"nail"}}"#,
        ]
    );

    // Read as something else, without a state: the registered format.
    let ended = run("-f orders=bars+append -f products=text+append").run().expect(0);
    // All orders, and the null value.
    ended.says(&["done: ", "4 dead letters"]);
    let products: Vec<_> = changes(ended.stdout).into_iter().filter(|row| row.contains("products")).collect();
    assert!(products.iter().any(|row| row.contains(r#"{\"product\":\"nobody's\"}"#)), "{products:?}");
}

#[test]
fn files_of_csv_and_the_changes_of_a_database_are_read() {
    let (orders, products, lines) = (mock().topic(1), mock().topic(1), mock().topic(1));
    orders.send(["price;id;colour", "0.10;o-1;red", "0.105;o-2;red", "7;\"o;3\";"]);
    let writer = products.writer();
    let event = |op: &str, lsn: i64, product: &str| {
        format!(r#"{{"op":"{op}","after":{{"product":"{product}"}},"source":{{"lsn":{lsn},"ts_ms":{lsn}}}}}"#)
    };
    for (op, lsn, product) in [("r", 1, "nut"), ("u", 2, "bolt"), ("u", 3, "screw"), ("u", 2, "bolt")] {
        writer.send_keyed(0, "1", event(op, lsn, product).as_bytes());
    }
    writer.send_keyed(0, "2", event("c", 4, "nail").as_bytes());
    writer.send_keyed(0, "2", event("d", 5, "nail").as_bytes());
    writer.delete(0, "2");
    writer.flush();
    let state = tempfile::tempdir().expect("a folder");
    let args = format!(
        "run shop -b {} -t orders={} -t products={} -t lines={} --until-end --state {} -f orders=csv:price;id;colour \
         -f products=json+debezium",
        orders.address,
        orders.name,
        products.name,
        lines.name,
        state.path().display()
    );
    let run = || own(&args.split(' ').collect::<Vec<_>>()).run().expect(0);
    let ended = run();
    ended.says(&["done: ", "1 dead letter"]);
    assert_eq!(
        changes(ended.stdout),
        [
            r#""orders","diff":1,"row":{"id":"o-1","price":"0.10"}}"#,
            r#""orders","diff":1,"row":{"id":"o;3","price":"7.00"}}"#,
            r#""products","diff":1,"row":{"product":"screw"}}"#,
        ]
    );
    // After a restart, an event that comes once more is still known.
    writer.send_keyed(0, "1", event("r", 1, "nut").as_bytes());
    writer.send_keyed(0, "2", event("c", 4, "nail").as_bytes());
    writer.flush();
    assert_eq!(changes(run().stdout), Vec::<String>::new());
}

#[test]
fn formats_that_can_not_be_are_wrong_usage() {
    let wrong = |typed: &str, texts: &[&str]| {
        let args = format!("run shop -b x:1 -t orders=a -t products=b -t lines=c {typed}");
        own(&args.split(' ').collect::<Vec<_>>()).run().fails(2, texts);
    };
    wrong("-f json", &["--format json", "for which input", "orders, products, lines"]);
    wrong("-f order=json", &["--format order=json", "no input \"order\"", "orders, products, lines"]);
    wrong(
        "-f orders=xml",
        &["--format orders=xml", "no format \"xml\"", "text, json, csv, avro, protobuf, bars"],
    );
    wrong("-f orders=json+replace", &["--format", "no envelope \"replace\"", "append, upsert, debezium"]);
    wrong(
        "-f orders=csv:id",
        &["--format", "input \"orders\"", "column \"price\" is not among the fields: id"],
    );
    wrong("-f orders=protobuf:shop.Order", &["--format", "--descriptor FILE"]);
    wrong("--descriptor /nowhere", &["--descriptor /nowhere", "No such file"]);
    wrong("--descriptor /etc/passwd", &["--descriptor /etc/passwd", "it is no set of descriptors"]);
    wrong("--descriptor /dev/null", &["--descriptor has the messages of protobuf", "protobuf:MESSAGE"]);
    wrong("--descriptor /dev/null -f orders=protobuf", &["--format", "which message is it?"]);
    wrong("-f orders=json:id", &["--format", "format json takes nothing after a colon"]);
    wrong("-f orders=text+debezium", &["--format", "input \"orders\"", "text fills one column"]);
    wrong("-f orders=text", &["--format", "input \"orders\"", "text fills one column", "Order has 2"]);
    wrong("-f lines=json", &["--format", "itself binds input \"lines\"", "bars"]);
    wrong("-f orders=json -f orders=bars", &["--format", "\"orders\" is bound twice"]);
    for (typed, why) in [
        ("json", "it reads text; leave --format out"),
        ("text+upsert", "each record is one of text, as with +append"),
    ] {
        let own_decoder = word_count("x:1", "lines").with(&format!("--format {typed}")).run();
        let whole = format!("word-count reads input \"lines\" with a decoder of its own: {why}");
        own_decoder.fails(2, &[&format!("--format {typed}"), &whole]);
    }
    word_count("x:1", "lines").with("-f text -f lines=text").run().fails(2, &["\"lines\" is bound twice"]);
}

#[test]
fn lines_are_text_whether_that_is_said_or_not() {
    let topic = mock().topic(1);
    topic.send(["a b", "b"]);
    for format in ["text", "lines=text+append"] {
        let rows =
            word_count(&topic.address, &topic.name).with("--until-end --emit final -f").args([format]).rows();
        assert_eq!(rows, [r#"{"word":"a","count":1}"#, r#"{"word":"b","count":2}"#], "{format}");
        let top = cutwater(["run", "top-words", "-b", &topic.address, "-t", &topic.name, "-f", format]);
        assert_eq!(top.with("--until-end --emit final").rows().len(), 2, "{format}");
    }
}

#[test]
fn a_header_in_another_order_is_a_mistake_before_any_line_is_counted() {
    let topic = mock().topic(2);
    topic.send(["to,from,amount", "bob,ann,5"]);
    let program = |command: &str, format: &str| {
        cutwater([command, "balances", "-b", &topic.address, "-t", &topic.name, "-f", format])
    };
    let rows = |format: &str| program("run", format).with("--until-end --emit final -o total=none");
    let said =
        "partition 0: its header has the fields in another order: read the input as csv:to,from,amount";
    rows("csv").run().fails(2, &["--format transfers=csv", said]);
    let checked = program("check", "csv").run().expect(1);
    assert!(
        checked.stdout.iter().any(|line| line.starts_with("wrong ") && line.contains(said)),
        "{:?}",
        checked.stdout
    );
    let right = [r#"{"account":"ann","balance":"-5.00"}"#, r#"{"account":"bob","balance":"5.00"}"#];
    assert_eq!(rows("csv:to,from,amount").rows(), right);
    let checked = program("check", "csv:to,from,amount").run().expect(0);
    assert!(checked.stdout.iter().any(|line| line.contains("fit how they are read")), "{:?}", checked.stdout);

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "to,from,amount\nbob,ann,5\n").expect("it is written");
    let test = cutwater(["test", "balances", "-f", "csv", "--expect", "total=/dev/null", "--input"]);
    test.args([file.path()]).run().fails(2, &[":1: its header has the fields in another order"]);
}
