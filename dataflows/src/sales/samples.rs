//! Orders and products to try it with.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::rows::Timestamp;
use crate::testing::Sample;

/// A table of 200 products, most of it at first, then orders in which a product changes its category, or leaves the table, now
/// and then. One order in 50 is a refund, one in 1,000 can't be read; one product in ten is not in the table at first.
pub fn samples(seed: u64) -> Samples {
    let mut shop = Shop { random: StdRng::seed_from_u64(seed), millis: START, orders: 0 };
    let table: Vec<_> =
        (0..PRODUCTS).filter(|product| product % 10 != 0).map(|number| shop.product(number)).collect();
    let later = std::iter::from_fn(move || {
        shop.millis += shop.random.random_range(0..10_000);
        Some(if shop.random.random_range(0..200) == 0 {
            let number = shop.random.random_range(0..PRODUCTS);
            if shop.random.random_range(0..4) == 0 { shop.gone(number) } else { shop.product(number) }
        } else {
            shop.order()
        })
    });
    Box::new(table.into_iter().chain(later))
}

struct Shop {
    random: StdRng,
    millis: i64,
    orders: u64,
}

impl Shop {
    fn product(&mut self, number: u64) -> (&'static str, Sample) {
        let (product, category) = (name(number), self.random.random_range(0..CATEGORIES));
        let value = format!(r#"{{"product":"{product}","category":"category-{category}"}}"#);
        ("products", Sample { timestamp: Some(self.millis), ..Sample::from((&*product, &*value)) })
    }

    fn gone(&mut self, number: u64) -> (&'static str, Sample) {
        let key = Some(name(number).into_bytes());
        ("products", Sample { key, value: None, timestamp: Some(self.millis) })
    }

    fn order(&mut self) -> (&'static str, Sample) {
        let random = &mut self.random;
        self.orders += 1;
        // Some products are wanted more than others.
        let product = name((random.random::<f64>().powi(2) * PRODUCTS as f64) as u64);
        let quantity = match random.random_range(0..50) {
            0 => -random.random_range(1..5),
            _ => random.random_range(1..10),
        };
        let cents: u64 = random.random_range(100..100_000);
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        let price = if random.random_range(0..2) == 0 { price } else { format!("\"{price}\"") };
        let quantity =
            if random.random_range(0..1_000) == 0 { "\"some\"".into() } else { quantity.to_string() };
        let region = ["north", "east", "south", "west"][random.random_range(0..4)];
        // Most come in order, some up to two hours late.
        let late = if random.random_range(0..20) == 0 { random.random_range(0..7_200_000) } else { 0 };
        let millis = self.millis - late;
        let at = match random.random_range(0..2) {
            0 => millis.to_string(),
            _ => format!("\"{}\"", Timestamp::from_micros(millis * 1_000)),
        };
        let id = self.orders;
        let value = format!(
            r#"{{"id":"o{id}","product":"{product}","quantity":{quantity},"price":{price},"region":"{region}","at":{at}}}"#
        );
        ("orders", Sample { timestamp: Some(millis), ..Sample::from(value.into_bytes()) })
    }
}

fn name(product: u64) -> String {
    format!("product-{product:03}")
}

const PRODUCTS: u64 = 200;
const CATEGORIES: u64 = 12;

/// The day on which the samples begin: 2026-01-01, in milliseconds.
const START: i64 = 1_767_225_600_000;
