use super::*;
use crate::testing::{Outcome, Sample, Test, lines, records};

fn options() -> UserBehaviour {
    UserBehaviour {
        window: Duration::from_secs(60),
        gap: Duration::from_secs(30 * 60),
        funnel: Vec::new(),
        deduplicate: None,
    }
}

fn funnel(pages: &[&str]) -> UserBehaviour {
    UserBehaviour { funnel: pages.iter().map(|&page| page.to_owned()).collect(), ..options() }
}

fn views<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<(&'static str, Sample)> {
    values.into_iter().map(|value| ("views", Sample::from(value))).collect()
}

/// A view in JSON, at a minute.
fn view(user: &str, page: &str, minute: i64) -> (&'static str, Sample) {
    let at = minute * 60_000;
    ("views", Sample::from(&*format!(r#"{{"user":"{user}","page":"{page}","at":{at}}}"#)))
}

#[test]
fn the_fixture_is_followed() {
    let views = records(include_str!("../../fixtures/user-behaviour/views.jsonl"));
    let given =
        |records: &[Sample]| records.iter().cloned().map(|record| ("views", record)).collect::<Vec<_>>();
    let options = UserBehaviour { deduplicate: Some("id".to_owned()), ..funnel(&["home", "cart", "paid"]) };
    let outcome = Test::of(options).epoch(given(&views[..9])).restart().epoch(given(&views[9..])).check();
    let expected = |output: &str, text: &str| assert_eq!(outcome.rows(output), lines(text), "{output}");
    expected("pages", include_str!("../../fixtures/user-behaviour/pages.jsonl"));
    expected("sessions", include_str!("../../fixtures/user-behaviour/sessions.jsonl"));
    expected("funnel", include_str!("../../fixtures/user-behaviour/funnel.jsonl"));
    expected("visitors", include_str!("../../fixtures/user-behaviour/visitors.jsonl"));
    let reasons: String = outcome.reasons().join("; ");
    for reason in ["at: ", "page: ", "id: "] {
        assert!(reasons.contains(reason), "{reason} is not in {reasons}");
    }
    assert_eq!(outcome.dead_letters().len(), 3, "{reasons}");
}

#[test]
fn a_late_view_joins_sessions_and_makes_another_day_the_first() {
    let day = 24 * 60;
    let outcome = Test::of(options())
        .epoch([view("ann", "a", day + 10), view("ann", "a", day + 70)])
        .restart()
        .epoch([view("ann", "a", day + 40), view("ann", "b", 5)])
        .check();
    let (day, before) = ("1970-01-02T00:", "1970-01-01T00:05:00Z");
    assert_eq!(
        outcome.rows("sessions"),
        [
            format!(r#"{{"user":"ann","start":"{before}","end":"{before}","views":1}}"#),
            format!(r#"{{"user":"ann","start":"{day}10:00Z","end":"1970-01-02T01:10:00Z","views":3}}"#),
        ]
    );
    assert_eq!(
        outcome.changes_of("visitors", 2),
        [
            r#"+1 {"day":"1970-01-01T00:00:00Z","new":1,"returning":0}"#,
            r#"+1 {"day":"1970-01-02T00:00:00Z","new":0,"returning":1}"#,
            r#"-1 {"day":"1970-01-02T00:00:00Z","new":1,"returning":0}"#,
        ]
    );
}

#[test]
fn a_funnel_has_all_its_steps_once_there_is_a_view_and_none_without_pages() {
    let outcome = Test::of(funnel(&["a", "b", "a"]))
        .epoch([view("ann", "b", 1), view("bob", "a", 2)])
        .epoch([view("ann", "a", 1), view("bob", "b", 1)])
        .restart()
        .epoch([view("ann", "a", 9)])
        .check();
    let funnel = |epoch| outcome.changes_of("funnel", epoch);
    let row =
        |step: i64, page: &str, users: i64| format!(r#"{{"step":{step},"page":"{page}","users":{users}}}"#);
    assert_eq!(
        funnel(1),
        [(1, "a", 1), (2, "b", 0), (3, "a", 0)].map(|(s, p, u)| format!("+1 {}", row(s, p, u)))
    );
    // At that time or later: both of ann's are at the same time; bob was at b before he was at a.
    assert_eq!(outcome.rows("funnel"), [row(1, "a", 2), row(2, "b", 1), row(3, "a", 1)]);
    let none = Test::of(options()).epoch([view("ann", "a", 1)]).check();
    assert!(none.rows("funnel").is_empty());
}

#[test]
fn a_window_of_0_is_one_for_all_time() {
    let options = UserBehaviour { window: Duration::ZERO, ..options() };
    let outcome = Test::of(options)
        .lateness(Duration::ZERO)
        .epoch([view("ann", "a", 1), view("bob", "a", 900), view("ann", "a", 901)])
        .restart()
        .epoch([view("ann", "a", 902)])
        .check();
    assert_eq!(outcome.rows("pages"), [r#"{"page":"a","window":null,"views":4,"users":2}"#]);
}

fn deduplicated(field: &str, values: &[&str]) -> Outcome {
    let options = UserBehaviour { deduplicate: Some(field.to_owned()), window: Duration::ZERO, ..options() };
    let (first, last) = values.split_at(values.len() / 2);
    Test::of(options).epoch(views(first.iter().copied())).restart().epoch(views(last.iter().copied())).check()
}

#[test]
fn a_record_whose_field_came_before_counts_once_unless_it_is_null() {
    let outcome = deduplicated(
        "id",
        &[
            r#"{"id":1,"user":"ann","page":"a","at":0}"#,
            r#"{"id":"1","user":"ann","page":"a","at":0}"#,
            r#"{"id":null,"user":"ann","page":"a","at":0}"#,
            r#"{"id":1,"user":"bob","page":"b","at":9}"#,
            r#"{"id":null,"user":"ann","page":"a","at":0}"#,
            r#"{"user":"ann","page":"a","at":0}"#,
        ],
    );
    assert_eq!(outcome.rows("pages"), [r#"{"page":"a","window":null,"views":4,"users":1}"#]);
    assert!(outcome.reasons()[0].starts_with("id: "), "{:?}", outcome.reasons());
    // One of its own columns.
    let outcome =
        deduplicated("user", &[r#"{"user":"ann","page":"a","at":0}"#, r#"{"user":"ann","page":"b","at":1}"#]);
    assert_eq!(outcome.rows("pages"), [r#"{"page":"a","window":null,"views":1,"users":1}"#]);
}

#[test]
fn with_a_lateness_windows_and_sessions_leave_the_state_and_stay_published() {
    let hour = Duration::from_secs(60 * 60);
    let mut test = Test::of(options()).lateness(hour);
    for epoch in 0..6 {
        let minute = epoch * 50;
        test = test.epoch([
            view("ann", "a", minute),
            view("bob", "a", minute + 1),
            view("bob", "a", minute - 120),
        ]);
        if epoch % 2 == 1 {
            test = test.restart();
        }
    }
    let outcome = test.check();
    // Bob's are late but for the first two.
    assert_eq!(outcome.dead_letters().len(), 5, "{:?}", outcome.reasons());
    assert_eq!(outcome.rows("pages").len(), 13);
    assert_eq!(outcome.rows("sessions").len(), 13);
    // The watermark is at minute 251: those of minute 191 and later are open.
    assert_eq!(outcome.state_rows("pages"), 4);
    assert_eq!(outcome.state_rows("users of pages"), 4);
    // Of sessions, those that end at minute 161 or later.
    assert_eq!(outcome.state_rows("sessions"), 4);
}

#[test]
fn a_table_of_views_withdraws() {
    let test = Test::of(funnel(&["a", "b"]))
        .format("views", Binding::new(crate::format::Json).envelope(Envelope::Upsert));
    let keyed = |key: &str, value: Option<String>| {
        ("views", Sample { key: Some(key.into()), value: value.map(String::into_bytes), timestamp: Some(0) })
    };
    let value = |page: &str, at| Some(format!(r#"{{"user":"ann","page":"{page}","at":{at}}}"#));
    let outcome = test
        .epoch([keyed("1", value("a", 0)), keyed("2", value("b", 1)), keyed("3", value("c", 2))])
        .restart()
        .epoch([keyed("1", None), keyed("3", value("c", 4_000_000))])
        .check();
    assert_eq!(
        outcome.rows("funnel"),
        [r#"{"step":1,"page":"a","users":0}"#, r#"{"step":2,"page":"b","users":0}"#]
    );
    assert_eq!(outcome.rows("pages").len(), 2);
    assert_eq!(outcome.rows("sessions").len(), 2);
}

#[test]
fn options_that_leave_nothing_to_do_are_wrong_usage() {
    let command = <UserBehaviour as clap::Args>::augment_args(clap::Command::new("run"));
    assert!(command.clone().try_get_matches_from(["run", "--deduplicate", "id"]).is_ok());
    assert!(command.try_get_matches_from(["run", "--deduplicate", ""]).is_err());
}
