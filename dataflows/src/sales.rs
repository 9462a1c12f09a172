//! Revenue by category, and the products that sell best.

mod samples;

use std::time::Duration;

use crate::duration;
use crate::prelude::*;

pub use samples::samples;

/// Adds up orders by the category of their product, and ranks the products that sell best
///
/// Input orders: {product, quantity, price, region, at}; other fields, an id say, are ignored. The price is a decimal with up
/// to two digits after the point, as a JSON number or string; a negative quantity is a refund. Input products: {product,
/// category}, a table: the newest value of a record key stands, a null value deletes it. An order whose product is not in the
/// table is in no output until it is; when a product changes its category, its orders move.
///
/// Output revenue has for each category, region and window the sum of quantity × price, refunds included, and the number of
/// orders, refunds left out. A window is a time of that length from its start on, which is the column; with --window 0 there
/// is one for all time, and the column is null. Output top-sellers ranks the products of each category by the sum of
/// their quantities, where that is above 0; those of the same sum by their bytes.
///
/// Example: cutwater run sales -t orders=shop-orders -t products=shop-products --window 1d -o revenue=kafka:revenue -o
/// top-sellers=kafka:top-sellers --emit upserts
#[derive(clap::Args, Clone, Debug)]
pub struct Sales {
    /// How long a window is; 0 is one for all time
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "1h")]
    pub window: Duration,
    /// How many products of a category are ranked
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), default_value_t = 10)]
    pub top: u32,
}

/// What was sold, or given back.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Order {
    product: Text,
    quantity: i64,
    price: Decimal<2>,
    region: Text,
    at: Timestamp,
}

/// What belongs where.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Product {
    product: Text,
    category: Text,
}

/// Of what orders are added up before anything is known of their product: product, region and window.
type Line = (Text, Text, Option<Timestamp>);
/// Quantity, revenue, and the number of orders.
type Sums = (i64, Decimal<2>, i64);
/// A line with its category first, and its sums: what both outputs are made of.
type Sold = (Text, Text, Text, Option<Timestamp>, Sums);

impl Dataflow for Sales {
    const NAME: &'static str = "sales";

    fn build(&self, flow: &Flow<'_>) {
        let sold = self.sold(flow);
        revenue(sold.clone());
        self.top_sellers(sold);
    }
}

/// Refuses what would have sums wrap around.
fn can_be_added_up(order: OrderRef<'_>) -> Result<(), Malformed> {
    if order.quantity.unsigned_abs() > MOST_PIECES {
        return Err(Malformed::because("quantity: it is beyond 1000000000000, what an order can have"));
    }
    match order.price.units().checked_mul(order.quantity.into()) {
        Some(cents) if cents.unsigned_abs() < MOST_CENTS => Ok(()),
        _ => Err(Malformed::because("price: times the quantity, it is too large to be added up")),
    }
}

/// Millions of such orders can be added up in 64 bits.
const MOST_PIECES: u64 = 1_000_000_000_000;
/// What a decimal can have at most where it is read. Billions of such orders can be added up.
const MOST_CENTS: u128 = 1 << 96;

impl Sales {
    /// The orders of products that are in the table, added up, with their category.
    fn sold<'s>(&self, flow: &Flow<'s>) -> Collection<'s, Sold> {
        let window = Window::tumbling(self.window);
        let orders = flow.input("orders").event_time("at").checked_rows::<Order>(can_be_added_up);
        // Sums of lines are all that is held of orders: their number does not matter.
        let lines = orders.flat_map::<(Line, Sums)>(move |order, out| {
            let line = (order.product, order.region, window.start(order.at));
            let mut revenue = Decimal::default();
            revenue.add(order.price, order.quantity);
            out.push((line, (order.quantity, revenue, i64::from(order.quantity > 0))));
        });
        let lines = lines.sum("sold").map::<(Text, (Text, Option<Timestamp>, Sums))>(|&(line, sums)| {
            let (product, region, window) = line;
            (product, (region, window, sums))
        });
        let products = flow.input("products").envelope(Envelope::Upsert).rows::<Product>();
        // Several record keys may have a product: it has one category all the same.
        let products = products.map::<(Text, Text)>(|product| (product.product, product.category));
        let products =
            products.arrange("products").reduce::<Text>("category", |_product, categories, out| {
                out.extend(categories.first());
            });
        lines.arrange("lines").join_core(products.arrange("categories"), |product, line, category, out| {
            let (region, window, sums) = line;
            out.push((category, product, region, window, sums));
        })
    }

    fn top_sellers(&self, sold: Collection<'_, Sold>) {
        let pieces = sold.map::<((Text, Text), i64)>(|&(category, product, _, _, (quantity, ..))| {
            ((category, product), quantity)
        });
        let pieces = pieces.sum("pieces").filter(|&(_, quantity)| quantity > 0);
        // The greatest sum first, then the least product.
        let pieces = pieces
            .map::<(Text, (i64, Text))>(|&((category, product), quantity)| (category, (!quantity, product)));
        let top = pieces.least("top-sellers", self.top);
        let top = top.map::<(Text, i64, Text, i64)>(|&(category, (rank, (quantity, product)))| {
            (category, rank, product, !quantity)
        });
        top.unique_by(2).output("top-sellers", &["category", "rank"], &["product", "quantity"]);
    }
}

fn revenue(sold: Collection<'_, Sold>) {
    let revenue = sold.map::<(Line, (Decimal<2>, i64))>(|&(category, _, region, window, sums)| {
        let (_quantity, revenue, orders) = sums;
        ((category, region, window), (revenue, orders))
    });
    revenue.sum("revenue").output("revenue", &["category", "region", "window"], &["revenue", "orders"]);
}

#[cfg(test)]
mod tests;
