use crate::prelude::*;
use crate::testing::{Outcome, Sample, Test};

#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Account {
    #[row(key)]
    id: i64,
    owner: Option<Text>,
    #[row(name = "_offset")]
    offset: i64,
    amount: Decimal<2>,
}

fn accounts() -> Test {
    Test::building("accounts", |flow| {
        let accounts = flow.input("accounts").envelope(Envelope::Debezium).rows::<Account>();
        accounts.map::<(i64, (Option<Text>, Decimal<2>))>(|row| (row.id, (row.owner, row.amount))).output(
            "accounts",
            &["id"],
            &["owner", "amount"],
        );
    })
}

/// An event of account 1, at a place in PostgreSQL's log.
fn at(op: &str, lsn: i64, amount: &str) -> Sample {
    let after = match op {
        "d" => "null".to_owned(),
        _ => format!(r#"{{"id":1,"amount":"{amount}","colour":"red"}}"#),
    };
    let source = format!(r#"{{"connector":"postgresql","lsn":{lsn},"ts_ms":{}}}"#, lsn * 10);
    sample("1", &format!(r#"{{"before":null,"after":{after},"op":"{op}","source":{source},"ts_ms":7}}"#))
}

fn sample(key: &str, value: &str) -> Sample {
    (key, value).into()
}

fn null(key: &str) -> Sample {
    Sample { key: Some(key.into()), ..Sample::default() }
}

fn rows(outcome: &Outcome) -> Vec<String> {
    assert!(outcome.dead_letters().is_empty(), "{:?}", outcome.dead_letters());
    outcome.rows("accounts")
}

fn account(amount: &str) -> String {
    format!(r#"{{"id":1,"owner":null,"amount":"{amount}"}}"#)
}

/// Epoch by epoch, with restarts in between.
fn run(epochs: &[&[Sample]]) -> Outcome {
    let mut test = accounts();
    for epoch in epochs {
        test = test.epoch(epoch.iter().map(|sample| ("accounts", sample.clone()))).restart();
    }
    test.check()
}

#[test]
fn the_newest_event_of_a_key_stands_and_a_deletion_takes_it_away() {
    let outcome = run(&[
        &[at("r", 1, "1"), at("u", 2, "2")],
        &[at("u", 3, "3")],
        &[at("d", 4, ""), null("1")],
        &[at("c", 5, "5")],
    ]);
    assert_eq!(outcome.changes_of("accounts", 1), [format!("+1 {}", account("2.00"))]);
    let second = [format!("-1 {}", account("2.00")), format!("+1 {}", account("3.00"))];
    assert_eq!(outcome.changes_of("accounts", 2), second);
    assert_eq!(outcome.changes_of("accounts", 3), [format!("-1 {}", account("3.00"))]);
    assert_eq!(rows(&outcome), [account("5.00")]);
}

#[test]
fn events_that_come_once_more_change_nothing() {
    let all = [at("c", 1, "1"), at("u", 2, "2"), at("d", 3, ""), null("1"), at("c", 4, "4"), at("u", 5, "5")];
    // Kafka Connect goes back to any of them, whatever was read in between.
    for from in 0..all.len() {
        let one_by_one: Vec<&[Sample]> = std::iter::once(&all[..]).chain(all[from..].chunks(1)).collect();
        // A producer that sends a batch twice may begin with a null value: then the newest event follows.
        for outcome in [run(&[&all, &all[from..]]), run(&one_by_one)] {
            assert_eq!(rows(&outcome), [account("5.00")], "from {from}");
        }
        if from == 3 {
            continue;
        }
        let outcome = run(&[&all, &all[from..], &all[from..from + 1]]);
        for epoch in [2, 3] {
            assert!(outcome.changes_of("accounts", epoch).is_empty(), "from {from}, epoch {epoch}");
        }
        // One by one, an older event is never seen.
        let outcome = run(&one_by_one);
        assert!((2..10).all(|epoch| outcome.changes_of("accounts", epoch).is_empty()), "from {from}");
    }
    // After a deletion that stands, nothing that was before comes back.
    let outcome = run(&[&all[..4], &all[..4], &all[..1]]);
    assert_eq!(rows(&outcome), Vec::<String>::new());
    assert!(outcome.changes_of("accounts", 2).is_empty() && outcome.changes_of("accounts", 3).is_empty());
}

#[test]
fn a_null_value_that_comes_alone_deletes_since_compaction_took_the_event() {
    let outcome = run(&[&[at("c", 1, "1")], &[null("1"), null("2")]]);
    assert_eq!(outcome.changes_of("accounts", 2), [format!("-1 {}", account("1.00"))]);
}

/// An event with this source.
fn of(source: &str, amount: &str) -> Sample {
    sample("1", &format!(r#"{{"op":"u","after":{{"id":1,"amount":{amount}}},"source":{source}}}"#))
}

#[test]
fn places_are_compared_as_their_connector_means_them() {
    let mysql = |server: i64, file: &str, pos: i64, row: i64, time: i64| {
        format!(r#"{{"server_id":{server},"file":"{file}","pos":{pos},"row":{row},"ts_ms":{time}}}"#)
    };
    let stands = |before: &str, then: &str| {
        let outcome = run(&[&[of(before, "1")], &[of(then, "2")]]);
        rows(&outcome) == [account("2.00")]
    };
    let newest = mysql(7, "bin.999999", 50, 1, 1000);
    assert!(stands(&newest, &mysql(7, "bin.999999", 50, 2, 1000)), "a later row of the statement");
    assert!(stands(&newest, &mysql(7, "bin.1000000", 4, 0, 1000)), "a later log");
    assert!(stands(&newest, &mysql(8, "bin.000001", 4, 0, 900)), "another server, whose clock is slow");
    assert!(stands(&newest, &mysql(7, "bin.000001", 4, 0, 2000)), "a log that begins from the start");
    for older in [
        newest.clone(),
        mysql(7, "bin.999999", 50, 0, 1000),
        mysql(7, "bin.999999", 9, 9, 1000),
        mysql(7, "bin.999998", 99, 9, 999),
    ] {
        assert!(!stands(&newest, &older), "{older}");
    }
    let server = r#"{"commit_lsn":"00000027:00000ac0:0002","change_lsn":"00000027:00000ac0:0001","ts_ms":5}"#;
    assert!(!stands(server, server));
    assert!(stands(server, &server.replace("0ac0", "0ac1")));
    // By the time alone.
    assert!(stands(r#"{"ts_ms":5}"#, r#"{"ts_ms":5}"#) && !stands(r#"{"ts_ms":5}"#, r#"{"ts_ms":4}"#));
    assert!(stands(r#"{"ts_ms":5}"#, "null") && stands("{}", "{}"));
}

#[test]
fn keys_and_values_may_be_wrapped_with_their_schema() {
    let wrap = |payload: &str| format!(r#" {{ "schema": {{"type":"struct"}}, "payload": {payload}}}"#);
    let event = String::from_utf8(at("c", 1, "1").value.expect("a value")).expect("text");
    let wrapped = sample(&wrap(r#"{"id":1}"#), &wrap(&event));
    let plain = sample(r#"{"id":1}"#, &event.replace("\"lsn\":1", "\"lsn\":2").replace("\"1\"", "\"2\""));
    let outcome = run(&[&[wrapped], &[plain]]);
    assert_eq!(rows(&outcome), [account("2.00")]);
}

#[test]
fn what_is_no_event_is_told_with_its_field_and_not_quoted() {
    for (key, value, why) in [
        (None, "{}", "the key is null, but debezium's changes go by it"),
        (Some("1"), "{}", "op: it is missing"),
        (Some("1"), r#"{"op":7}"#, "op: expected text, found a number"),
        (Some("1"), r#"{"op":"secret"}"#, "op: it is none of c, r, u and d"),
        (Some("1"), r#"{"op":"t"}"#, "op: it is t, a truncation"),
        (Some("1"), r#"{"op":"c","after":null}"#, "after: it is missing"),
        (Some("1"), r#"{"op":"c","after":"secret"}"#, "after: expected an object, found a string"),
        (Some("1"), r#"{"op":"c","after":{"id":"secret"}}"#, "after.id: expected i64, found a string"),
        (Some("1"), r#"{"op":"u","after":{"id":1}}"#, "after.amount: it is missing"),
        (Some("1"), r#"{"op":"d","source":{"lsn":[]}}"#, "source.lsn: expected any, found an array"),
        (Some("1"), r#"{"op":"d","source":"secret"}"#, "source: expected an object, found a string"),
        (Some("1"), r#"{"schema":null,"payload":7}"#, "expected an object, found a number"),
    ] {
        let record = Sample { key: key.map(Into::into), value: Some(value.into()), timestamp: None };
        let outcome = run(&[&[record]]);
        let letter = outcome.dead_letters().first().unwrap_or_else(|| panic!("{value} is an event"));
        assert!(letter.contains(&format!("\"reason\":\"{why}")) && !letter.contains("secret"), "{letter}");
    }
}
