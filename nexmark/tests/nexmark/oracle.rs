//! The batch engine: SQLite, on the events below a cut.

use std::collections::BTreeMap;

use cutwater::dataflows::OutputShape;
use cutwater::prelude::*;
use nexmark::event::Event;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use serde_json::value::RawValue;

/// The columns of a row, in order, as texts.
pub(crate) type Cells = Vec<String>;

/// The SQL of a query.
pub(crate) fn sql(query: &str) -> &'static str {
    match query {
        "q3" => include_str!("../../queries/q3.sql"),
        "q4" => include_str!("../../queries/q4.sql"),
        "q5" => include_str!("../../queries/q5.sql"),
        "q7" => include_str!("../../queries/q7.sql"),
        "q8" => include_str!("../../queries/q8.sql"),
        "q9" => include_str!("../../queries/q9.sql"),
        "q12" => include_str!("../../queries/q12.sql"),
        "q18" => include_str!("../../queries/q18.sql"),
        "q19" => include_str!("../../queries/q19.sql"),
        "q20" => include_str!("../../queries/q20.sql"),
        query => panic!("{query} has no SQL"),
    }
}

/// Tables of events. Times are milliseconds; `closed` is when the epoch closed in which the event was read.
const TABLES: &str = "
    CREATE TABLE person (id INTEGER, name TEXT, email_address TEXT, credit_card TEXT, city TEXT, state TEXT,
        date_time INTEGER, extra TEXT, closed INTEGER);
    CREATE TABLE auction (id INTEGER, item_name TEXT, description TEXT, initial_bid INTEGER, reserve INTEGER,
        date_time INTEGER, expires INTEGER, seller INTEGER, category INTEGER, extra TEXT, closed INTEGER);
    CREATE TABLE bid (auction INTEGER, bidder INTEGER, price INTEGER, channel TEXT, url TEXT, date_time INTEGER,
        extra TEXT, closed INTEGER);
    CREATE INDEX person_by_id ON person (id);
    CREATE INDEX auction_by_id ON auction (id);
    CREATE INDEX bid_by_auction ON bid (auction);";

/// The events by now.
pub(crate) struct Oracle(Connection);

impl Oracle {
    pub(crate) fn new() -> Self {
        let tables = Connection::open_in_memory().expect("memory");
        tables.execute_batch(TABLES).expect("tables");
        Oracle(tables)
    }

    /// Adds an event.
    pub(crate) fn add(&self, event: &Event, closed: i64) {
        let number = |number: usize| number as i64;
        match event {
            Event::Person(it) => self.0.execute(
                "INSERT INTO person VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    number(it.id),
                    it.name,
                    it.email_address,
                    it.credit_card,
                    it.city,
                    it.state,
                    it.date_time as i64,
                    it.extra,
                    closed
                ],
            ),
            Event::Auction(it) => self.0.execute(
                "INSERT INTO auction VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    number(it.id),
                    it.item_name,
                    it.description,
                    number(it.initial_bid),
                    number(it.reserve),
                    it.date_time as i64,
                    it.expires as i64,
                    number(it.seller),
                    number(it.category),
                    it.extra,
                    closed
                ],
            ),
            Event::Bid(it) => self.0.execute(
                "INSERT INTO bid VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    number(it.auction),
                    number(it.bidder),
                    number(it.price),
                    it.channel,
                    it.url,
                    it.date_time as i64,
                    it.extra,
                    closed
                ],
            ),
        }
        .expect("a row");
    }

    /// What a question comes to that has a number as its answer.
    pub(crate) fn number(&self, sql: &str) -> i64 {
        self.0.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The rows of a query, in the order of their columns in the output, sorted.
    pub(crate) fn rows(&self, query: &str, output: &OutputShape) -> Vec<Cells> {
        let mut statement = self.0.prepare(sql(query)).unwrap_or_else(|error| panic!("{query}: {error}"));
        let columns = &output.schema.columns;
        assert_eq!(statement.column_count(), columns.len(), "{query}: its columns");
        let places: Vec<usize> = columns
            .iter()
            .map(|column| {
                statement.column_index(&column.name).unwrap_or_else(|error| panic!("{query}: {error}"))
            })
            .collect();
        let mut found = statement.query([]).expect("rows");
        let mut rows = Vec::new();
        while let Some(row) = found.next().expect("a row") {
            rows.push(places.iter().map(|&place| cell(row.get_ref(place).expect("a column"))).collect());
        }
        rows.sort();
        rows
    }
}

fn cell(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(text) => String::from_utf8(text.to_vec()).expect("text"),
        other => panic!("no event has {other:?}"),
    }
}

/// The columns of a row as it leaves an output, as the oracle has them.
pub(crate) fn cells(row: &str, output: &OutputShape) -> Cells {
    let row: BTreeMap<String, &RawValue> =
        serde_json::from_str(row).unwrap_or_else(|error| panic!("{row}: {error}"));
    let cell = |column: &Column| {
        let value = row[&column.name].get();
        let text = || serde_json::from_str::<String>(value).expect("a text");
        match column.kind {
            Kind::Int => value.to_owned(),
            Kind::Float => format!("{:?}", value.parse::<f64>().expect("a number")),
            Kind::Text => text(),
            Kind::Timestamp => (text().parse::<Timestamp>().expect("a time").micros() / 1_000).to_string(),
            ref other => panic!("no query has {other:?}"),
        }
    };
    assert_eq!(row.len(), output.schema.columns.len(), "{row:?}");
    output.schema.columns.iter().map(cell).collect()
}
