//! Avro with a real registry of schemas and a real broker: schemas are registered, also while the run is on.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::quick_avro::{COLOUR, FINAL, PLAIN, PRICED, plain, priced, rows, send, sold};
use crate::support::broker::real;
use crate::support::registry::Real;

/// Registers a schema under a subject. Returns its id.
fn register(url: &str, subject: &str, schema: &str, references: &str) -> u32 {
    let (address, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    let body = format!(r#"{{"schema":{},"references":{references}}}"#, serde_json::json!(schema));
    let mut stream = TcpStream::connect(address).expect("the registry listens");
    let length = body.len();
    write!(
        stream,
        "POST /{path}/subjects/{subject}/versions HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let id =
        answer.split_once("\"id\":").map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect());
    let id: String = id.unwrap_or_else(|| panic!("no id: {answer}"));
    id.parse().expect("a number")
}

#[test]
fn schemas_are_those_of_a_real_registry() {
    let registry = Real::start();
    let url = registry.url.clone();
    let topic = real().topic(1);
    let first = register(&url, "sales-value", PLAIN, "[]");
    send(&topic, &vec![plain(first, "nut"); 100]);
    let mut running = sold(&topic, &url, &[]).start();
    running.rows_until(|row| row.contains(r#""offset":99,"#));
    // A schema that names another one, of which nothing was known when the run began.
    register(&url, "colours", COLOUR, "[]");
    let references = r#"[{"name":"shop.Colour","subject":"colours","version":1}]"#;
    let second = register(&url, "prices-value", PRICED, references);
    assert_ne!(first, second);
    let mut records = vec![priced(second, "bolt", 99); 100];
    records.push(plain(first, "nail"));
    send(&topic, &records);
    running.rows_until(|row| row.contains("nail"));
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait().expect(0).says(&["done: 201 records"]);
    let ended = sold(&topic, &url, &[&FINAL[..], &["-w", "2"]].concat()).run().expect(0);
    let rows = rows(ended);
    assert_eq!(rows.len(), 201);
    assert_eq!(rows[150], r#"{"offset":150,"product":"bolt","price":"0.99"}"#);
    // It does not have this one.
    send(&topic, &[plain(987_654, "nobody's")]);
    let ended = sold(&topic, &url, &FINAL).run().expect(0);
    ended.says(&["schema 987654 is not known"]);
    ended.says(&["done: 202 records", "1 dead letter"]);
}
