//! `--emit [OUTPUT=]MODE`: what the sinks of each output get.

use anyhow::Result;
use cutwater_dataflows::OutputShape;

use crate::sink::Emit;
use crate::usage::usage;

/// What was typed for each output, in their order: for it by name, else for all, else what its dataflow says; `None` where
/// nothing was.
pub(super) fn emits(typed: &[String], outputs: &[OutputShape]) -> Result<Vec<Option<Emit>>> {
    let mut of_all = None;
    let mut named = vec![None; outputs.len()];
    for text in typed {
        let wrong = |why: String| usage(format!("--emit {text}: {why}"));
        let (place, mode) = match text.split_once('=') {
            None => (&mut of_all, text.as_str()),
            Some((name, mode)) => match outputs.iter().position(|output| output.name == name) {
                Some(index) => (&mut named[index], mode),
                None => return Err(wrong(unknown(name, outputs))),
            },
        };
        let emit: Emit = mode.parse().map_err(wrong)?;
        if place.replace(emit).is_some_and(|before| before != emit) {
            return Err(wrong("another one is given for the same".to_owned()));
        }
    }
    let emits = outputs.iter().zip(named);
    Ok(emits.map(|(of, emit)| emit.or(of_all).or(of.appends.then_some(Emit::Append))).collect())
}

fn unknown(name: &str, outputs: &[OutputShape]) -> String {
    let names: Vec<&str> = outputs.iter().map(|output| output.name.as_str()).collect();
    format!("there is no output {name:?}, but {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::Unique;
    use cutwater_dataflows::rows::{Schema, Text};

    use super::*;

    fn read(typed: &[&str]) -> Result<Vec<Option<Emit>>, String> {
        let output = |name: &str| OutputShape {
            name: name.into(),
            schema: Schema::of::<Text>(),
            restorable: true,
            unique: Unique::Unknown,
            appends: false,
            with_offsets: false,
        };
        let typed: Vec<String> = typed.iter().map(|&text| text.to_owned()).collect();
        let added = OutputShape { appends: true, ..output("added") };
        let emits = emits(&typed, &[output("a"), output("b"), added]);
        let others = |mut emits: Vec<Option<Emit>>| {
            let added = emits.pop().expect("there are three");
            // What is only ever added is appended, where nothing is said of all.
            assert!(
                added.is_some()
                    && (added == Some(Emit::Append)) != typed.iter().any(|text| !text.contains('='))
            );
            emits
        };
        emits.map(others).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_given_for_an_output_wins_over_what_is_given_for_all() {
        use Emit::*;
        assert_eq!(read(&[]), Ok(vec![None, None]));
        assert_eq!(read(&["b=append"]), Ok(vec![None, Some(Append)]));
        for both in [["final", "a=upserts"], ["a=upserts", "final"]] {
            assert_eq!(read(&both), Ok(vec![Some(Upserts), Some(Final)]));
        }
        assert_eq!(read(&["final", "final"]), Ok(vec![Some(Final), Some(Final)]));
    }

    #[test]
    fn what_can_not_be_is_told() {
        for (typed, says) in [
            (&["c=final"][..], "--emit c=final: there is no output \"c\", but a, b"),
            (
                &["a=fin"],
                "--emit a=fin: \"fin\" is not what a sink can get: expected one of changes, upserts",
            ),
            (&[""], "--emit : \"\" is not what a sink can get"),
            (&["a=final", "a=changes"], "--emit a=changes: another one is given for the same"),
        ] {
            let error = read(typed).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
