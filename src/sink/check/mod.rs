//! What sinks need of an output's rows, by what they get of it: checked before a row leaves, where it is not known from the
//! dataflow.
//!
//! - [`keys`]: `upserts` need one row of a key at most
//! - `append` needs rows that are only ever added

pub mod keys;

use anyhow::{Result, bail};
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::{Epoch, OutputShape, Unique};

use super::Emit;
use crate::shown::beginning;
use keys::Keys;

/// Why a sink can't get the newest row of each key of an output; `None` where it can, as far as is known before there are rows.
pub fn refusal_of_upserts(output: &OutputShape) -> Option<String> {
    let Unique::ByMore(columns) = output.unique else { return None };
    let names = |count: usize| {
        let names: Vec<&str> =
            output.schema.columns.iter().take(count).map(|column| column.name.as_str()).collect();
        names.join(", ")
    };
    let (name, key) = (&output.name, output.schema.key);
    Some(format!(
        "output {name:?}: a key ({}) has several rows, which {} tell apart, and upserts would leave one of them. Show it with \
         --emit {name}=changes or --emit {name}=append; or, in the dataflow, make the first {columns} columns the key, or say \
         unique_by({key}) of rows that are unique by fewer",
        names(key),
        names(columns),
    ))
}

/// Checks the rows of an output.
pub enum Check {
    /// Each key has one row at most.
    Keys(Keys),
    /// No row is withdrawn, of the output of this name.
    Append(String),
}

impl Check {
    /// What is to be checked of an output whose sinks get this of it; `None` where nothing is.
    pub fn of(output: &OutputShape, emits: &[Emit]) -> Option<Check> {
        if emits.contains(&Emit::Append) {
            return Some(Check::Append(output.name.clone()));
        }
        (emits.contains(&Emit::Upserts) && output.unique != Unique::ByKey)
            .then(|| Check::Keys(Keys::new(&output.name)))
    }

    /// Does it need the keys of what precedes the first epoch, and of every epoch, published or not?
    pub fn wants_keys(&self) -> bool {
        matches!(self, Check::Keys(_))
    }

    /// Takes what precedes the first epoch: rendered batches, whose rows are in any order.
    ///
    /// # Errors
    /// If it can't be so: it names output and key.
    pub fn restore(&mut self, batches: &[FlatBatch]) -> Result<()> {
        match self {
            Check::Keys(keys) => keys.restore(batches),
            // What is there may be withdrawn no more than what comes.
            Check::Append(_) => Ok(()),
        }
    }

    /// Takes the changes of an epoch, ordered by row.
    ///
    /// # Errors
    /// If they can't be so: it names output and key.
    pub fn check(&mut self, epoch: Epoch, changes: &[Change]) -> Result<()> {
        match self {
            Check::Keys(keys) => keys.check(epoch, changes),
            Check::Append(output) => match changes.iter().find(|change| change.diff < 0) {
                Some(change) => bail!(
                    "output {output:?}: the row with key {} is withdrawn in epoch {epoch}, but append is for rows that are \
                     only ever added. Show it with --emit {output}=changes or --emit {output}=upserts",
                    beginning(&change.key)
                ),
                None => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use cutwater_dataflows::rows::{Schema, Text};

    use super::*;

    fn output(unique: Unique) -> OutputShape {
        let schema = Schema::of::<(Text, i64)>();
        OutputShape {
            name: "o".into(),
            restorable: true,
            unique,
            appends: false,
            with_offsets: false,
            schema,
        }
    }

    #[test]
    fn upserts_are_checked_where_keys_may_have_several_rows_and_append_always() {
        use Emit::*;
        for emits in [&[Changes][..], &[Final], &[]] {
            assert!(Check::of(&output(Unique::Unknown), emits).is_none(), "{emits:?}");
        }
        let unknown = output(Unique::Unknown);
        assert!(matches!(Check::of(&unknown, &[Changes, Upserts]), Some(Check::Keys(_))));
        let known = output(Unique::ByKey);
        assert!(Check::of(&known, &[Upserts]).is_none());
        assert!(matches!(Check::of(&known, &[Append]), Some(Check::Append(_))));
    }

    #[test]
    fn upserts_are_refused_where_a_key_is_known_to_have_several_rows() {
        assert_eq!(refusal_of_upserts(&output(Unique::ByKey)), None);
        assert_eq!(refusal_of_upserts(&output(Unique::Unknown)), None);
        let schema = Schema::of::<(Text, i64)>().named(&["word"], &["rank"]).unwrap();
        let refused = refusal_of_upserts(&OutputShape { schema, ..output(Unique::ByMore(2)) }).unwrap();
        assert!(
            refused.starts_with("output \"o\": a key (word) has several rows, which word, rank tell apart"),
            "{refused}"
        );
    }

    #[test]
    fn a_withdrawal_of_an_output_that_is_appended_names_output_and_key() {
        let mut check = Check::of(&output(Unique::Unknown), &[Emit::Append]).unwrap();
        let change = |diff| Change { key: b"{\"a\":1}".as_slice().into(), row: "".into(), diff };
        check.check(3, &[change(2)]).unwrap();
        let error = check.check(4, &[change(1), change(-1)]).unwrap_err().to_string();
        assert!(
            error.starts_with("output \"o\": the row with key {\"a\":1} is withdrawn in epoch 4"),
            "{error}"
        );
    }
}
