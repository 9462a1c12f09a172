//! Each dataflow on records of its own samples, at several numbers of workers, with restarts in between, against a plain
//! recount of the same records.
#![allow(missing_docs)]

mod balances;
mod cleanse;
mod components;
mod event_monitor;
mod recount;
mod sales;
mod top_words;
mod user_behaviour;

#[test]
fn none_forgets_anything_in_a_restart() {
    use cutwater_dataflows::Unique;
    use cutwater_dataflows::prelude::{Shape, clap};
    let entries = cutwater_dataflows::registry();
    // Those that can do without options.
    let dataflows = entries.iter().filter_map(|entry| {
        let command = entry.arguments(clap::Command::new("run"));
        entry.parse(&command.try_get_matches_from(["run"]).ok()?).ok()
    });
    let dataflows: Vec<_> = dataflows.collect();
    assert!(dataflows.len() >= 5, "{} of {} have been looked at", dataflows.len(), entries.len());
    for dataflow in dataflows {
        let shape = Shape::of(&*dataflow).expect("it can be built");
        assert!(shape.unpersisted_state.is_empty(), "{}: {:?}", dataflow.name(), shape.unpersisted_state);
        for output in shape.outputs {
            assert!(output.restorable, "{}: output {}", dataflow.name(), output.name);
            // Else each of its keys would be held once more, to see whether it has one row.
            let known = ["balances", "components", "sales", "top-words"].contains(&dataflow.name());
            assert!(output.unique == Unique::ByKey || !known, "{}: output {}", dataflow.name(), output.name);
        }
    }
}
