//! A table that changes: orders beside the category that their product has now.

use cutwater::prelude::*;

use crate::operators::Explode;

/// Pieces sold by category, where products may change theirs
#[derive(clap::Args, Clone, Debug)]
pub struct Sales {}

/// What belongs where.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Product {
    #[row(key)]
    product: Text,
    category: Text,
}

/// What was sold.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    product: Text,
    pieces: i64,
}

impl Dataflow for Sales {
    const NAME: &'static str = "outside-sales";

    fn build(&self, flow: &Flow<'_>) {
        // The newest value of a record key stands, a null value takes the product off the table.
        let products = flow.input("products").envelope(Envelope::Upsert).rows::<Product>();
        let products = products.arrange_by::<Text>("products", |product| product.product);
        let orders = flow.input("orders").rows::<Order>().persist("orders");
        let orders = orders.arrange_by::<Text>("orders", |order| order.product);
        // When a product changes its category, all its orders move.
        let sold = orders.join_core::<Product, (Text, i64)>(products, |_key, order, product, out| {
            out.push((product.category, order.pieces));
        });
        sold.explode().count().output("sold", &["category"], &["pieces"]);
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::{Sample, Test};

    use super::*;
    use crate::logfmt::Logfmt;

    #[test]
    fn orders_move_when_their_product_does() {
        let table = |product: &str, category: Option<&str>| {
            let value = category.map(|category| format!("product={product} category={category}").into());
            ("products", Sample { key: Some(product.into()), value, timestamp: None })
        };
        let order = |text: &str| ("orders", Sample::from(text));
        let outcome = Test::of(Sales {})
            .format("products", Binding::new(Logfmt))
            .format("orders", Binding::new(Logfmt))
            .epoch([order("product=tomato pieces=3"), order("product=pear pieces=2")])
            .epoch([table("tomato", Some("fruit")), table("pear", Some("nut")), table("pear", Some("fruit"))])
            .restart()
            .epoch([
                table("tomato", Some("vegetable")),
                order("product=tomato pieces=1"),
                order("product=tomato"),
            ])
            .epoch([table("pear", None)])
            .check();
        let row = |category: &str, pieces| format!(r#"{{"category":"{category}","pieces":{pieces}}}"#);
        assert!(outcome.changes_of("sold", 1).is_empty(), "no product is known");
        assert_eq!(outcome.changes_of("sold", 2), [format!("+1 {}", row("fruit", 5))]);
        let moved = [("-1", "fruit", 5), ("+1", "fruit", 2), ("+1", "vegetable", 4)];
        let mut moved = moved.map(|(diff, category, pieces)| format!("{diff} {}", row(category, pieces)));
        let mut changes = outcome.changes_of("sold", 3);
        moved.sort();
        changes.sort();
        assert_eq!(changes, moved);
        assert_eq!(outcome.rows("sold"), [row("vegetable", 4)]);
        assert_eq!(outcome.dead_letters().len(), 1);
    }
}
