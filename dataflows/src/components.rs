//! Which nodes hang together.

use differential_dataflow::operators::Iterate as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::dataflow::Samples;
use crate::prelude::*;
use crate::testing::Sample;

/// Finds the connected components of a graph whose edges come and go
///
/// Input edges: {a, b}, a table: the newest value of a record key stands, a null value withdraws its edge. An edge joins both
/// ways. The component of a node is the least node that can be reached from it, by the bytes of its name; a node without
/// edges is in no row.
///
/// An epoch costs what changes: an edge that joins two components relabels the one whose least node is the greater, and one that
/// parts them relabels what was cut off. The farther a node is from the least of its component, the more steps it takes.
///
/// Example: cutwater run components -t edges -o kafka:components --emit upserts --state /var/lib/cutwater/components
#[derive(clap::Args, Clone, Debug)]
pub struct Components {}

/// Joins two nodes.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Edge {
    a: Text,
    b: Text,
}

impl Dataflow for Components {
    const NAME: &'static str = "components";

    fn build(&self, flow: &Flow<'_>) {
        let edges = flow.input("edges").envelope(Envelope::Upsert).rows::<Edge>();
        // Both ways, and each once, however many records have it.
        let edges = edges.flat_map::<(Text, Text)>(|edge, out| {
            out.push((edge.a, edge.b));
            out.push((edge.b, edge.a));
        });
        let edges = edges.distinct().differential();
        // The least of those beside it, or the node itself, is its first label: one step less than with itself alone.
        let nodes = edges.clone().map(|(one, other)| {
            let label = one.clone().min(other);
            (one, label)
        });
        let labels = nodes.clone().iterate(|scope, labels| {
            let (edges, nodes) = (edges.enter(scope), nodes.enter(scope));
            let told = labels.join_map(edges, |_node, label, beside| (beside.clone(), label.clone()));
            told.concat(nodes).reduce(|_node, labels, least| least.push((labels[0].0.clone(), 1)))
        });
        // The loop's last operator leaves a node one label.
        flow.collection(labels).unique_by(1).output("components", &["node"], &["component"]);
    }
}

/// Edges between 1,000 nodes of 100 places: most join near nodes, some far ones; a third is withdrawn again. One in 1,000 can't
/// be read.
pub fn samples(seed: u64) -> Samples {
    let mut random = StdRng::seed_from_u64(seed);
    let mut millis = START;
    let edges = std::iter::from_fn(move || {
        millis += random.random_range(0..100);
        let key = format!("e{}", random.random_range(0..EDGES));
        let a = random.random_range(0..NODES);
        let far = random.random_range(0..10) == 0;
        let b = if far {
            random.random_range(0..NODES)
        } else {
            a / PLACE * PLACE + random.random_range(0..PLACE)
        };
        let value = match random.random_range(0..1_000) {
            0 => Some(format!(r#"{{"a":"n{a:03}"}}"#)),
            1..334 => None,
            _ => Some(format!(r#"{{"a":"n{a:03}","b":"n{b:03}"}}"#)),
        };
        let (key, value) = (Some(key.into_bytes()), value.map(String::into_bytes));
        Some(("edges", Sample { key, value, timestamp: Some(millis) }))
    });
    Box::new(edges)
}

/// How many nodes there are in the samples.
const NODES: u64 = 1_000;
/// How many of them are near each other.
const PLACE: u64 = 10;
/// How many record keys there are: so many edges at most.
const EDGES: u64 = 1_500;

/// The day on which the samples begin: 2026-01-01, in milliseconds.
const START: i64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Test, lines, records};

    #[test]
    fn the_fixture_hangs_together() {
        let edges = records(include_str!("../fixtures/components/edges.jsonl"));
        let edges: Vec<_> = edges.into_iter().map(|edge| ("edges", edge)).collect();
        let (first, rest) = edges.split_at(6);
        let outcome = Test::of(Components {}).epoch(first.to_vec()).restart().epoch(rest.to_vec()).check();
        assert_eq!(
            outcome.rows("components"),
            lines(include_str!("../fixtures/components/components.jsonl"))
        );
        assert_eq!(outcome.dead_letters().len(), 2, "{:#?}", outcome.dead_letters());
    }

    #[test]
    fn what_is_cut_off_gets_the_least_of_its_own() {
        let edge = |key: &str, a: &str, b: &str| {
            ("edges", Sample::from((key, &*format!(r#"{{"a":"{a}","b":"{b}"}}"#))))
        };
        let gone = |key: &str| ("edges", Sample { key: Some(key.into()), ..Sample::default() });
        let outcome = Test::of(Components {})
            .epoch([edge("1", "a", "b"), edge("2", "c", "b"), edge("3", "d", "c"), edge("4", "b", "a")])
            .epoch([gone("1")])
            .restart()
            .epoch([gone("2")])
            .epoch([gone("3"), gone("4"), edge("5", "z", "z")])
            .check();
        assert!(outcome.changes_of("components", 2).is_empty(), "another record has the same edge");
        let row = |diff, node, component| format!(r#"{diff} {{"node":"{node}","component":"{component}"}}"#);
        let parted = [row("-1", "c", "a"), row("+1", "c", "c"), row("-1", "d", "a"), row("+1", "d", "c")];
        assert_eq!(outcome.changes_of("components", 3), parted);
        assert_eq!(outcome.rows("components"), [r#"{"node":"z","component":"z"}"#]);
    }
}
