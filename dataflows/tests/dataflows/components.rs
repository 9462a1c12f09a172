use std::collections::BTreeMap;

use cutwater_dataflows::components::{Components, samples};
use serde_json::json;

use crate::recount::{Given, check, epochs, object, text};

/// The edges that stand after these records.
fn edges<'a>(records: impl Iterator<Item = &'a Given>) -> Vec<(String, String)> {
    let mut edges = BTreeMap::new();
    for (_, record) in records {
        let key = record.key.clone().expect("all samples have a key");
        if record.value.is_none() {
            edges.remove(&key);
        } else if let Some(edge) = object(record)
            && let (Some(a), Some(b)) = (text(&edge, "a"), text(&edge, "b"))
        {
            edges.insert(key, (a, b));
        }
    }
    edges.into_values().collect()
}

/// The least node of each node's component: by sets that are united, not by labels that are told.
fn components(edges: &[(String, String)]) -> BTreeMap<&str, &str> {
    fn root<'a>(parents: &BTreeMap<&'a str, &'a str>, mut node: &'a str) -> &'a str {
        while parents[node] != node {
            node = parents[node];
        }
        node
    }
    let mut parents: BTreeMap<&str, &str> = BTreeMap::new();
    for (a, b) in edges {
        parents.entry(a).or_insert(a);
        parents.entry(b).or_insert(b);
        let (a, b) = (root(&parents, a), root(&parents, b));
        parents.insert(a.max(b), a.min(b));
    }
    parents.keys().map(|&node| (node, root(&parents, node))).collect()
}

#[test]
fn components_are_those_of_a_recount() {
    for seed in 0..2 {
        let epochs = epochs(samples(seed), seed, 2_000);
        let outcome = check(Components {}, seed, &epochs);
        let edges = edges(epochs.iter().flatten());
        let expected = components(&edges);
        let row = |(node, component): (&&str, &&str)| {
            format!(r#"{{"node":{},"component":{}}}"#, json!(node), json!(component))
        };
        assert_eq!(outcome.rows("components"), expected.iter().map(row).collect::<Vec<_>>());
        let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
        expected.values().for_each(|component| *sizes.entry(component).or_default() += 1);
        let largest = sizes.values().max().copied().unwrap_or_default();
        assert!(
            largest > 20 && sizes.len() > 20,
            "{} components, the largest of {largest} nodes",
            sizes.len()
        );
    }
}
