//! Which rows of an output are asked for, and those that are, of a snapshot.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use cutwater_dataflows::OutputShape;
use cutwater_dataflows::rows::{Place, Schema, Value};

use super::column::{Given, Wanted, column, place, text_prefix};
use crate::serve::answer::{Failed, Params};
use crate::serve::views::Snapshot;

/// Rows of a ranking at most.
const MOST: u64 = 10_000;

/// What is asked of an output.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// The bytes with which rows begin.
    begins: Vec<u8>,
    /// The row is these bytes and no more.
    whole: bool,
    /// What columns are.
    wanted: Vec<(usize, Wanted)>,
    ranked: Option<Ranked>,
}

/// The rows of the largest, or smallest, values of a column.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    column: usize,
    ascending: bool,
    rows: usize,
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// After so many rows.
    Skip(u64),
    /// After so many rows from this one on.
    Row(Vec<u8>, u64),
}

/// The parameters that a selection is made of.
pub(super) const PARAMETERS: [&str; 6] = ["key", "prefix", "where", "by", "top", "order"];

impl Selection {
    /// Reads what is asked of an output.
    ///
    /// # Errors
    /// 400 if it can't be.
    pub(super) fn read(params: &Params, output: &OutputShape) -> Result<Self, Failed> {
        let schema = &output.schema;
        let mut selection = Selection { ranked: ranked(params, output)?, ..Selection::default() };
        match (params.one("key")?, params.one("prefix")?) {
            (Some(_), Some(_)) => {
                return Err(Failed::wrong(
                    "key and prefix: both say which keys are wanted, give one of them",
                ));
            }
            (Some(key), None) => selection.keyed(key, output)?,
            (None, Some(prefix)) => {
                let first = &schema.columns[0];
                selection.begins = text_prefix(&first.kind, prefix, place(schema, 0)).ok_or_else(|| {
                    let (name, kind, output) = (&first.name, &first.kind, &output.name);
                    Failed::wrong(format!(
                        "prefix={prefix}: {name:?}, the first key column of {output:?}, is no text but {kind}"
                    ))
                })?;
            }
            (None, None) => {}
        }
        for text in params.all("where") {
            let wrong = |why: String| Failed::wrong(format!("where={text}: {why}"));
            let (name, value) =
                text.split_once('=').ok_or_else(|| wrong("expected COLUMN=VALUE".to_owned()))?;
            let index = index_of(output, name).map_err(&wrong)?;
            let kind = &schema.columns[index].kind;
            let wanted = Wanted::of(kind, &Given::parameter(value, kind), place(schema, index));
            selection.wanted.push((index, wanted.map_err(|why| wrong(format!("{name} is {kind}: {why}")))?));
        }
        Ok(selection)
    }

    /// The rows whose first key columns are these.
    fn keyed(&mut self, key: &str, output: &OutputShape) -> Result<(), Failed> {
        let schema = &output.schema;
        let wrong = |why: String| Failed::wrong(format!("key={key}: {why}"));
        let array =
            (schema.key > 1).then(|| serde_json::from_str::<Vec<serde_json::Value>>(key).ok()).flatten();
        let given: Vec<Given> = match &array {
            Some(values) => values.iter().map(Given::json).collect(),
            None => vec![Given::parameter(key, &schema.columns[0].kind)],
        };
        if given.len() > schema.key {
            let (columns, output) = (schema.key, &output.name);
            return Err(wrong(format!(
                "{} values, but the key of {output:?} has {columns} columns",
                given.len()
            )));
        }
        let mut bytes = true;
        for (index, given) in given.iter().enumerate() {
            let (column, place) = (&schema.columns[index], place(schema, index));
            let wanted = Wanted::of(&column.kind, given, place)
                .map_err(|why| wrong(format!("{} is {}: {why}", column.name, column.kind)))?;
            match wanted {
                Wanted::Bytes(wanted) if bytes => {
                    self.begins.extend_from_slice(&wanted);
                    self.whole = place == Place::Last;
                }
                wanted => {
                    bytes = false;
                    self.wanted.push((index, wanted));
                }
            }
        }
        Ok(())
    }

    /// Is it a look at a few rows, of which no other row is read?
    pub(super) fn is_short(&self) -> bool {
        self.ranked.is_none() && self.wanted.is_empty() && !self.begins.is_empty()
    }

    /// Calls `each` with the rows from a place on, each as often as it is there, and where to go on after it; until it
    /// returns false.
    pub(super) fn rows<'a>(
        &self,
        schema: &Schema,
        (snapshot, index): (&'a Snapshot, usize),
        from: &From,
        mut each: impl FnMut(&'a [u8], &dyn Fn() -> From) -> bool,
    ) {
        if let Some(ranked) = self.ranked {
            let skipped = if let From::Skip(skipped) = from { *skipped } else { 0 };
            let rows = ranked.rows(schema, self.matching(schema, snapshot, index, &[]));
            for (number, row) in (0..).zip(rows).skip(usize::try_from(skipped).unwrap_or(usize::MAX)) {
                if !each(row, &|| From::Skip(number + 1)) {
                    return;
                }
            }
            return;
        }
        let (start, skip): (&[u8], u64) = match from {
            From::Skip(skip) => (&[], *skip),
            From::Row(row, skip) => (row, *skip),
        };
        let mut passed = 0;
        for (row, count) in self.matching(schema, snapshot, index, start) {
            for copy in 1..=count {
                passed += 1;
                if passed <= skip {
                    continue;
                }
                // A row that is too long for an address is counted instead.
                let next = || match (row.len(), from) {
                    (0..=LONGEST, _) => From::Row(row.to_vec(), copy),
                    (_, From::Row(..)) => From::Row(start.to_vec(), passed),
                    (_, From::Skip(_)) => From::Skip(passed),
                };
                if !each(row, &next) {
                    return;
                }
            }
        }
    }

    /// The rows that are asked for, in their order, from `start` on, each with how often it is there.
    fn matching<'a, 's>(
        &'s self,
        schema: &'s Schema,
        snapshot: &'a Snapshot,
        index: usize,
        start: &[u8],
    ) -> impl Iterator<Item = (&'a [u8], u64)> + use<'a, 's> {
        let from = if start > &self.begins[..] { start } else { &self.begins };
        snapshot
            .rows(index, from)
            .take_while(|(row, _)| row.starts_with(&self.begins))
            .filter(|(row, _)| !self.whole || row.len() == self.begins.len())
            .filter(|(row, _)| self.wanted.iter().all(|(index, wanted)| wanted.is(schema, row, *index)))
            .filter_map(|(row, count)| Some((row, u64::try_from(count).ok()?)))
    }
}

/// Bytes of a row that a cursor holds at most.
const LONGEST: usize = 2048;

/// `by`, `top` and `order`.
fn ranked(params: &Params, output: &OutputShape) -> Result<Option<Ranked>, Failed> {
    let top = params.number("top", 1, MOST)?;
    let ascending = match params.one("order")? {
        None | Some("desc") => false,
        Some("asc") => true,
        Some(order) => return Err(Failed::wrong(format!("order={order}: expected asc or desc"))),
    };
    match (params.one("by")?, top) {
        (Some(by), Some(top)) => {
            let column = index_of(output, by).map_err(|why| Failed::wrong(format!("by={by}: {why}")))?;
            Ok(Some(Ranked { column, ascending, rows: usize::try_from(top).unwrap_or(usize::MAX) }))
        }
        (Some(by), None) => Err(Failed::wrong(format!("by={by}: of how many rows? Say it with top=N"))),
        (None, Some(top)) => Err(Failed::wrong(format!("top={top}: by which column? Say it with by=COLUMN"))),
        (None, None) if params.one("order")?.is_some() => {
            Err(Failed::wrong("order is that of by=COLUMN&top=N: rows are in the order of their keys else"))
        }
        (None, None) => Ok(None),
    }
}

/// The place of a column.
fn index_of(output: &OutputShape, name: &str) -> Result<usize, String> {
    let columns = &output.schema.columns;
    columns.iter().position(|column| column.name == name).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        format!("{:?} has no column {name:?}, but {}", output.name, names.join(", "))
    })
}

/// A row in a ranking: the greatest is the first to go.
struct Entry<'a> {
    /// Nothing comes last in either order.
    missing: bool,
    value: &'a [u8],
    ascending: bool,
    row: &'a [u8],
}

impl Ord for Entry<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let values = self.value.cmp(other.value);
        let values = if self.ascending { values } else { values.reverse() };
        self.missing.cmp(&other.missing).then(values).then_with(|| self.row.cmp(other.row))
    }
}

impl PartialOrd for Entry<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Eq for Entry<'_> {}

impl PartialEq for Entry<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Ranked {
    /// The first rows of all, best first; a row as often as it is there.
    fn rows<'a>(self, schema: &Schema, rows: impl Iterator<Item = (&'a [u8], u64)>) -> Vec<&'a [u8]> {
        let mut best: BinaryHeap<Entry<'a>> = BinaryHeap::new();
        for (row, count) in rows {
            let Some((value, missing)) = bytes_of(schema, row, self.column) else { continue };
            for _ in 0..count.min(self.rows as u64) {
                let entry = Entry { missing, value, ascending: self.ascending, row };
                if best.len() < self.rows {
                    best.push(entry);
                } else if let Some(mut worst) = best.peek_mut().filter(|worst| entry < **worst) {
                    *worst = entry;
                } else {
                    break;
                }
            }
        }
        best.into_sorted_vec().into_iter().map(|entry| entry.row).collect()
    }
}

/// The bytes of a column, and whether it is missing.
fn bytes_of<'a>(schema: &Schema, row: &'a [u8], index: usize) -> Option<(&'a [u8], bool)> {
    let (place, value) = column(schema, row, index)?;
    Some((&row[place], matches!(value, Value::Null)))
}
