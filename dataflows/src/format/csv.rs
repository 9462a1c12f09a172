//! CSV: a line a record, whose fields are the columns.

use std::collections::HashMap;
use std::sync::Arc;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::fields::{Field, Node, fields, leaves};
use super::scalar;
use super::{Decoder, Format, Layout, Look, RowWriter, Undecoded};
use crate::record::{Malformed, Record};
use crate::rows::{Kind, Schema, Value};

/// `csv`: a line a record, as RFC 4180 has it: fields between commas, in double quotes where they hold a comma, a quote (then
/// doubled) or a line's end.
///
/// The fields are the columns, in their order. `csv:HEADER` has them in another one: the names of the fields, as the header
/// of the file has them, so with its delimiter, which is the first of `,`, `;`, `|` and the tab (also as `\t`) that is in it.
/// Fields of other names are ignored. A column of a struct within is named `home.town`.
///
/// A record that is the header itself, all its fields the names in their order, is no row and no mistake: a topic that was
/// made of a file begins with it. Where the first record of a partition has the names in another order, the lines are not what
/// they are taken for: a run does not begin, and says which `csv:HEADER` to write. Where such a record comes first in a run
/// that has begun, all lines of its partition are dead letters that say so. (Text could be in any order: without
/// `csv:HEADER` such a line is taken for a header, with it for a row.) Where a column may be missing, so may the text between its commas. Numbers, times and
/// bytes are written as in [`json`](super::json), truth values as `true` and `false`.
///
/// Costs two passes over what is read.
///
/// ```
/// use cutwater_dataflows::prelude::*;
/// use cutwater_dataflows::testing::Test;
///
/// #[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
/// struct Order {
///     #[row(key)]
///     id: Text,
///     price: Decimal<2>,
/// }
///
/// let csv = Binding::parse("csv:price;colour;id", &cutwater_dataflows::format::formats()).unwrap();
/// let test = Test::building("orders", |flow| {
///     flow.input("orders").rows::<Order>().output("orders", &["id"], &["price"]);
/// });
/// let test = test.format("orders", csv);
/// let lines = ["price;colour;id", "0.10;red;\"o-1\"", "0.105;red;o-2"];
/// let outcome = test.epoch(lines.map(|line| ("orders", line))).check();
/// assert_eq!(outcome.rows("orders"), [r#"{"id":"o-1","price":"0.10"}"#]);
/// assert_eq!(outcome.dead_letters().len(), 1);
/// assert!(outcome.dead_letters().first().unwrap().contains("price: it has more than 2 digits after the point"));
/// ```
#[derive(Clone, Debug)]
pub struct Csv {
    name: String,
    /// The names of the fields; none where they are the columns.
    header: Option<Vec<String>>,
    delimiter: u8,
}

impl Default for Csv {
    fn default() -> Self {
        Csv { name: "csv".to_owned(), header: None, delimiter: b',' }
    }
}

impl Format for Csv {
    fn name(&self) -> &str {
        &self.name
    }

    fn with(&self, header: &str) -> Result<Arc<dyn Format>, String> {
        let header = header.replace("\\t", "\t");
        let delimiter = header.bytes().find(|byte| b",;|\t".contains(byte)).unwrap_or(b',');
        let names: Vec<String> =
            header.split(char::from(delimiter)).map(|name| name.trim().to_owned()).collect();
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() {
                return Err(format!("csv: name {} of {} is empty", index + 1, names.len()));
            }
            if names[..index].contains(name) {
                return Err(format!("csv: the name {name:?} is there twice"));
            }
        }
        let shown = names.join(&char::from(delimiter).to_string());
        Ok(Arc::new(Csv { name: format!("csv:{shown}"), header: Some(names), delimiter }))
    }

    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        Layout::new(schema)?;
        let fields = fields(&schema.columns);
        let leaves = leaves(&fields);
        if let Some(leaf) = leaves.iter().find(|leaf| leaf.kind == Kind::Dynamic) {
            return Err(format!("column {:?} is a row of its own, which no field of csv is", leaf.path));
        }
        let paths: Vec<String> = leaves.iter().map(|leaf| leaf.path.clone()).collect();
        let names = self.header.clone().unwrap_or_else(|| paths.clone());
        let mut places = Vec::new();
        for leaf in &leaves {
            let place = names.iter().position(|name| *name == leaf.path);
            if place.is_none() && !leaf.optional {
                return Err(format!("column {:?} is not among the fields: {}", leaf.path, names.join(", ")));
            }
            places.push(place);
        }
        let reader = ReaderBuilder::new().delimiter(self.delimiter).build();
        // One more than there may be: so that too many are noticed.
        let ends = vec![0; names.len() + 1];
        let line = Line { reader, text: Vec::new(), ends, fields: 0 };
        let order =
            Order { delimiter: self.delimiter, is_typed: self.header.is_some(), others: HashMap::new() };
        Ok(Box::new(Lines { line, fields, paths, places, names, order, bytes: Vec::new() }))
    }

    fn look(&self, schema: &Schema) -> Option<Look> {
        let (mut lines, layout) = (self.open(schema).ok()?, Layout::new(schema).ok()?);
        Some(Box::new(move |payload| {
            let (mut out, record) = (Vec::new(), Record::of_value(Some(payload)));
            // Only what is said of the order is a mistake: others are dead letters.
            match lines.decode(payload, &record, &mut RowWriter::new(&layout, &mut out)) {
                Err(Undecoded::Malformed(why)) if why.0.starts_with(OTHER_ORDER) => Err(why.0.into_owned()),
                _ => Ok(()),
            }
        }))
    }
}

/// How a reason begins that is of the order of the fields.
const OTHER_ORDER: &str = "its header has the fields in another order";

/// In which order the fields of lines are.
struct Order {
    delimiter: u8,
    /// True iff `csv:HEADER` says it.
    is_typed: bool,
    /// The partitions that began with a header of another order, by topic, and what to say of each.
    others: HashMap<String, HashMap<i32, String>>,
}

impl Order {
    /// What to say of the lines of a partition that began with a header of another order.
    fn of(&self, record: &Record<'_>) -> Option<Malformed> {
        let why = self.others.get(record.topic)?.get(&record.partition)?;
        Some(Malformed(why.clone().into()))
    }

    /// A line has the names in another order: it is a header, if it is no row, or the first line of a partition whose order
    /// nobody has said.
    #[cold]
    fn other(
        &mut self,
        line: &Line,
        names: &[String],
        is_row: bool,
        record: &Record<'_>,
    ) -> Option<Malformed> {
        let is_first = record.offset == 0;
        if is_row && (self.is_typed || !is_first) {
            return None;
        }
        let found: Vec<_> =
            (0..line.fields).map(|index| String::from_utf8_lossy(line.field(index)).into_owned()).collect();
        let found = found.join(&char::from(self.delimiter).to_string());
        let mut why = format!("{OTHER_ORDER}: read the input as csv:{found}");
        if is_row {
            why += &format!(", or as csv:{} if that is no header but a row", names.join(","));
        }
        if is_first {
            let of_topic = self.others.entry(record.topic.to_owned()).or_default();
            of_topic.insert(record.partition, why.clone());
        }
        Some(Malformed(why.into()))
    }
}

/// Decodes lines.
struct Lines {
    line: Line,
    fields: Vec<Field>,
    /// The columns' names, and where in a line each stands.
    paths: Vec<String>,
    places: Vec<Option<usize>>,
    /// The names of the fields of a line.
    names: Vec<String>,
    order: Order,
    bytes: Vec<u8>,
}

impl Decoder for Lines {
    fn decode(
        &mut self,
        payload: &[u8],
        record: &Record<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Undecoded> {
        if !self.order.others.is_empty()
            && let Some(why) = self.order.of(record)
        {
            return Err(why.into());
        }
        self.line.read(payload)?;
        let (found, expected) = (self.line.fields, self.names.len());
        if found != expected {
            let found = if found > expected { "more".to_owned() } else { found.to_string() };
            let fields = if expected == 1 { "field" } else { "fields" };
            return Err(Malformed(format!("expected {expected} {fields}, found {found}").into()).into());
        }
        if self.names.iter().enumerate().all(|(index, name)| self.line.field(index) == name.as_bytes()) {
            return Err(Undecoded::NoRow);
        }
        let Lines { line, fields, paths, places, bytes, .. } = self;
        let mut reading = Reading { line, paths, places, bytes, row, next: 0 };
        let read = reading.all(fields);
        if (read.is_err() || record.offset == 0)
            && self.has_all_names()
            && let Some(why) = self.order.other(&self.line, &self.names, read.is_ok(), record)
        {
            return Err(why.into());
        }
        Ok(read?)
    }
}

impl Lines {
    /// True iff the fields of the line are the names, in whatever order. There are as many.
    #[cold]
    fn has_all_names(&self) -> bool {
        let is_there =
            |name: &String| (0..self.line.fields).any(|index| self.line.field(index) == name.as_bytes());
        self.names.iter().all(is_there)
    }
}

/// A line that is taken apart.
struct Line {
    reader: Reader,
    /// The texts of its fields, one behind the other, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many there are.
    fields: usize,
}

impl Line {
    fn read(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let payload = payload.strip_prefix("\u{feff}".as_bytes()).unwrap_or(payload);
        let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
        let payload = payload.strip_suffix(b"\r").unwrap_or(payload);
        self.reader.reset();
        self.fields = 0;
        self.text.resize(payload.len() + 1, 0);
        if payload.is_empty() {
            return Ok(());
        }
        let (result, read, mut written, ends) =
            self.reader.read_record(payload, &mut self.text, &mut self.ends);
        self.fields = ends;
        match result {
            ReadRecordResult::InputEmpty => {}
            ReadRecordResult::OutputEndsFull => return Ok(()),
            ReadRecordResult::Record if payload[read..].iter().all(|byte| b"\r\n".contains(byte)) => {
                return Ok(());
            }
            ReadRecordResult::Record => return Err(MORE_LINES),
            ReadRecordResult::OutputFull | ReadRecordResult::End => return Err(NO_LINE),
        }
        // The line's end. In quotes it would be part of the field, and end nothing.
        let ends = &mut self.ends[self.fields..];
        let (result, _, more, fields) = self.reader.read_record(b"\n", &mut self.text[written..], ends);
        written += more;
        self.fields += fields;
        match result {
            ReadRecordResult::Record | ReadRecordResult::OutputEndsFull => Ok(()),
            _ if written > 0 => Err(UNENDED),
            _ => Err(NO_LINE),
        }
    }

    fn field(&self, index: usize) -> &[u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[index]]
    }
}

const MORE_LINES: Malformed = Malformed::because("it has more than one line");
const UNENDED: Malformed = Malformed::because("a field in quotes does not end");
const NO_LINE: Malformed = Malformed::because("it is no line of csv");

/// A line whose fields become columns.
struct Reading<'a, 'w> {
    line: &'a Line,
    paths: &'a [String],
    places: &'a [Option<usize>],
    bytes: &'a mut Vec<u8>,
    row: &'a mut RowWriter<'w>,
    /// The next column.
    next: usize,
}

impl Reading<'_, '_> {
    fn all(&mut self, fields: &[Field]) -> Result<(), Malformed> {
        for field in fields {
            match &field.node {
                Node::Column(kind) => self.column(kind, field.optional)?,
                Node::Object(inner) | Node::Array(inner) => {
                    if field.optional {
                        let columns = leaves(inner).len();
                        if (self.next..self.next + columns).all(|column| self.text(column).is_empty()) {
                            self.next += columns;
                            self.row.push(Value::Null)?;
                            continue;
                        }
                        self.row.present()?;
                    }
                    self.all(inner)?;
                }
            }
        }
        Ok(())
    }

    /// The bytes of a column: none where the line has no field for it.
    fn text(&self, column: usize) -> &[u8] {
        self.places[column].map_or(&[], |place| self.line.field(place))
    }

    fn column(&mut self, kind: &Kind, optional: bool) -> Result<(), Malformed> {
        let column = self.next;
        self.next += 1;
        let bytes = self.places[column].map_or(&[][..], |place| self.line.field(place));
        if bytes.is_empty() && optional {
            return self.row.push(Value::Null);
        }
        let path = &self.paths[column];
        let text =
            std::str::from_utf8(bytes).map_err(|_| Malformed(format!("{path}: it is not UTF-8").into()))?;
        let value = scalar::parse(kind, text, self.bytes);
        self.row.push(value.map_err(|why| Malformed(format!("{path}: {why}").into()))?)
    }
}

#[cfg(test)]
mod tests;
