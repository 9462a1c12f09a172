use super::*;
use crate::testing::{Sample, Test, lines, records};

fn sales(window: u64, top: u32) -> Test {
    Test::of(Sales { window: Duration::from_secs(window), top })
}

fn order(product: &str, quantity: i64, price: &str, at: i64) -> (&'static str, Sample) {
    let (price, at) = (format!("\"{price}\""), at * 1_000);
    let order = format!(
        r#"{{"product":"{product}","quantity":{quantity},"price":{price},"region":"north","at":{at}}}"#
    );
    ("orders", Sample::from(&*order))
}

fn product(product: &str, category: &str) -> (&'static str, Sample) {
    ("products", Sample::from((product, &*format!(r#"{{"product":"{product}","category":"{category}"}}"#))))
}

fn revenue(category: &str, window: &str, revenue: &str, orders: i64) -> String {
    format!(
        r#"{{"category":"{category}","region":"north","window":{window},"revenue":"{revenue}","orders":{orders}}}"#
    )
}

fn seller(category: &str, rank: i64, product: &str, quantity: i64) -> String {
    format!(r#"{{"category":"{category}","rank":{rank},"product":"{product}","quantity":{quantity}}}"#)
}

#[test]
fn the_fixture_is_added_up() {
    let orders = records(include_str!("../../fixtures/sales/orders.jsonl"));
    let products = records(include_str!("../../fixtures/sales/products.jsonl"));
    let orders = orders.into_iter().map(|order| ("orders", order)).collect::<Vec<_>>();
    let products = products.into_iter().map(|product| ("products", product)).collect::<Vec<_>>();
    let (first, rest) = orders.split_at(4);
    let outcome =
        sales(3_600, 10).epoch(first.to_vec()).epoch(products).restart().epoch(rest.to_vec()).check();
    assert_eq!(outcome.rows("revenue"), lines(include_str!("../../fixtures/sales/revenue.jsonl")));
    assert_eq!(outcome.rows("top-sellers"), lines(include_str!("../../fixtures/sales/top-sellers.jsonl")));
    assert_eq!(outcome.dead_letters().len(), 2, "{:#?}", outcome.dead_letters());
}

#[test]
fn an_order_counts_once_its_product_is_known_and_moves_with_it() {
    let outcome = sales(60, 10)
        .epoch([order("nut", 3, "0.50", 59), order("nut", -1, "0.50", 60)])
        .epoch([product("nut", "iron")])
        .restart()
        .epoch([product("nut", "food")])
        .epoch([("products", Sample { key: Some("nut".into()), ..Sample::default() })])
        .check();
    let (first, second) = (r#""1970-01-01T00:00:00Z""#, r#""1970-01-01T00:01:00Z""#);
    assert!(outcome.changes_of("revenue", 1).is_empty() && outcome.changes_of("top-sellers", 1).is_empty());
    let rows = [revenue("iron", first, "1.50", 1), revenue("iron", second, "-0.50", 0)];
    assert_eq!(outcome.changes_of("revenue", 2), rows.map(|row| format!("+1 {row}")));
    assert_eq!(outcome.changes_of("top-sellers", 2), [format!("+1 {}", seller("iron", 1, "nut", 2))]);
    assert_eq!(outcome.changes_of("revenue", 3).len(), 4);
    assert_eq!(outcome.changes_of("top-sellers", 4), [format!("-1 {}", seller("food", 1, "nut", 2))]);
    assert!(outcome.rows("revenue").is_empty());
}

#[test]
fn ranks_have_no_gaps_and_only_sums_above_0() {
    let outcome = sales(0, 2)
        .epoch(["a", "b", "c", "d"].map(|name| product(name, "food")))
        .epoch([
            order("d", 2, "1.00", 7),
            order("c", 2, "1.00", 8),
            order("b", 1, "1.00", 9),
            order("a", -3, "1.00", 9),
        ])
        .restart()
        .epoch([order("d", -2, "1.00", 10)])
        .check();
    assert_eq!(outcome.changes_of("top-sellers", 2).len(), 2);
    assert_eq!(outcome.rows("top-sellers"), [seller("food", 1, "c", 2), seller("food", 2, "b", 1)]);
    // A window of 0 is all time.
    assert_eq!(outcome.rows("revenue"), [revenue("food", "null", "0.00", 3)]);
}

#[test]
fn a_product_that_two_records_name_has_one_category() {
    let twice = ("products", Sample::from(("other key", r#"{"product":"nut","category":"food"}"#)));
    let outcome = sales(0, 10)
        .epoch([product("nut", "iron"), order("nut", 1, "2.00", 0)])
        .epoch([twice.clone()])
        .restart()
        .epoch([product("nut", "food")])
        .check();
    let moved = [
        format!("+1 {}", revenue("food", "null", "2.00", 1)),
        format!("-1 {}", revenue("iron", "null", "2.00", 1)),
    ];
    assert_eq!(outcome.changes_of("revenue", 2), moved);
    assert!(outcome.changes_of("revenue", 3).is_empty());
}

#[test]
fn options_that_leave_nothing_to_do_are_wrong_usage() {
    let command = <Sales as clap::Args>::augment_args(clap::Command::new("run"));
    assert!(command.clone().try_get_matches_from(["run", "--top", "1"]).is_ok());
    assert!(command.try_get_matches_from(["run", "--top", "0"]).is_err());
}

#[test]
fn orders_that_would_wrap_sums_around_are_dead_letters() {
    let order = |quantity: &str, price: &str| {
        let fields = r#""product":"a","region":"r","at":0"#;
        (
            "orders",
            Sample::from(format!(r#"{{{fields},"quantity":{quantity},"price":"{price}"}}"#).into_bytes()),
        )
    };
    let product = Sample::from(("1", r#"{"product":"a","category":"c"}"#));
    let outcome = Test::of(Sales { window: Duration::ZERO, top: 1 })
        .epoch([("products", product), order("1000000000000", "0.01"), order("-1000000000001", "0.01")])
        .epoch([order("9223372036854775807", "1.00"), order("1000000", "792281625142643375935439503.35")])
        .check();
    assert_eq!(
        outcome.rows("revenue"),
        [r#"{"category":"c","region":"r","window":null,"revenue":"10000000000.00","orders":1}"#]
    );
    let letters = outcome.dead_letters();
    assert_eq!(letters.len(), 3, "{letters:#?}");
    assert_eq!(
        letters.iter().filter(|letter| letter.contains("quantity: it is beyond")).count(),
        2,
        "{letters:#?}"
    );
    assert_eq!(
        letters.iter().filter(|letter| letter.contains("price: times the quantity")).count(),
        1,
        "{letters:#?}"
    );
}
