//! Manifests of checkpoints.

use std::collections::BTreeMap;

use cutwater::state::checkpoint::manifest::{Manifest, Rows};
use cutwater::state::cut::Cut;
use cutwater_dataflows::persist::{HashRange, Sharding, SortedRun};

use super::ledger::seal;

#[cfg(test)]
pub(super) fn good() -> Vec<Vec<u8>> {
    let run = |sharding| SortedRun {
        file: "runs/first-000001".into(),
        range: HashRange::of(0, 2),
        sharding,
        rows: 7,
        bytes: 296,
    };
    let runs = vec![run(Sharding::by_row()), run(Sharding::by_key::<(i64, cutwater::rows::Text)>())];
    let collections = BTreeMap::from([("words".to_owned(), Rows::new(runs))]);
    vec![Manifest::new("0123abcd", 8, Cut::default(), 1_700_000_000_000_000, collections).encode()]
}

/// What is read as a manifest is the same when it is written and read once more.
pub(crate) fn target(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), seal(bytes)] {
        for epoch in [1, 8, u64::MAX] {
            let name = Manifest::name(epoch);
            if let Ok(manifest) = Manifest::decode(&name, &bytes, None) {
                let written = manifest.encode();
                let again = Manifest::decode(&name, &written, None).expect("it was just written");
                assert_eq!(again.encode(), written);
            }
        }
    }
}
