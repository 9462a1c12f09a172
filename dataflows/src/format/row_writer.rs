//! Writes rows of a schema, value by value.

use super::own::Own;
use crate::record::{Malformed, Record};
use crate::rows::dynamic::write_tagged;
use crate::rows::{Kind, Place, Row, Schema, Timestamp, Value, order};

/// The columns of a schema in the order in which their values are written: those of a struct or tuple within stand in its
/// place.
#[derive(Clone, Debug)]
pub struct Layout {
    columns: Vec<Column>,
    /// The column that is the event time.
    event_time: Option<usize>,
    /// True iff some columns are the record's own.
    has_own: bool,
}

#[derive(Clone, Debug)]
struct Column {
    /// The names of the columns around it, and its own.
    path: String,
    /// Its type, where it may be missing without that.
    kind: Kind,
    /// True iff it may be missing.
    optional: bool,
    /// Where it stands for a struct or tuple that may be missing: after the columns of that.
    within: Option<usize>,
    /// True iff its value says its type, as those of a [`DynRow`](crate::rows::DynRow) do.
    tagged: bool,
    /// What it is of the record itself: no decoder writes it.
    own: Option<Own>,
}

impl Layout {
    /// Of rows whose columns are those of the schema. Those that are the record's own, such as `_offset`, are filled in where
    /// the writer knows the record.
    ///
    /// # Errors
    /// If two columns have the same name, or what may be missing is itself something that may be missing, or one that is the
    /// record's own has another type.
    pub fn new(schema: &Schema) -> Result<Self, String> {
        let mut layout = Layout::without_own(schema)?;
        for column in &mut layout.columns {
            column.own = Own::of(&column.path, &column.kind, column.optional)?;
            layout.has_own |= column.own.is_some();
        }
        Ok(layout)
    }

    /// As [`Layout::new`], where the format fills all columns, whatever their names.
    pub(crate) fn without_own(schema: &Schema) -> Result<Self, String> {
        let mut layout = Layout { columns: Vec::new(), event_time: None, has_own: false };
        layout.add_named("", &schema.columns)?;
        Ok(layout)
    }

    /// Of dynamic rows, one value for each column of the schema.
    ///
    /// # Errors
    /// As [`Layout::new`], and if a column is a dynamic row itself.
    pub fn dynamic(schema: &Schema) -> Result<Self, String> {
        let mut layout = Layout::new(schema)?;
        layout.columns.iter_mut().for_each(|column| column.tagged = true);
        match layout.columns.iter().find(|column| column.kind == Kind::Dynamic) {
            Some(Column { path, .. }) => Err(format!("column {path:?} is a dynamic row within one")),
            None => Ok(layout),
        }
    }

    /// Of these columns, and behind them, as the columns of a struct `after` that may be missing, those of `row`: their bytes
    /// are the row's encoding.
    pub(crate) fn with_after(header: &Schema, row: Layout) -> Result<Self, String> {
        let mut layout = Layout::new(header)?;
        let inner = layout.columns.len() + 1;
        let end = inner + row.columns.len();
        layout.columns.push(Column {
            path: AFTER.to_owned(),
            kind: Kind::Dynamic,
            optional: true,
            within: Some(end),
            tagged: false,
            own: None,
        });
        layout.columns.extend(row.columns.into_iter().map(|column| Column {
            path: join(AFTER, &column.path),
            within: column.within.map(|end| inner + end),
            ..column
        }));
        layout.event_time = row.event_time.map(|index| inner + index);
        layout.has_own |= row.has_own;
        Ok(layout)
    }

    /// With that column as the event time.
    ///
    /// # Errors
    /// If there is no such column, or it is not a timestamp.
    pub fn with_event_time(mut self, path: &str) -> Result<Self, String> {
        let index = self.columns.iter().position(|column| column.path == path);
        let index = index.ok_or_else(|| format!("there is no column {path:?} to be the event time"))?;
        let kind = &self.columns[index].kind;
        if *kind != Kind::Timestamp {
            return Err(format!("column {path:?} is to be the event time, but it is {kind}"));
        }
        self.event_time = Some(index);
        Ok(self)
    }

    fn add_named(&mut self, path: &str, columns: &[crate::rows::Column]) -> Result<(), String> {
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].iter().any(|other| other.name == column.name) {
                return Err(format!("two columns are named {:?}", join(path, &column.name)));
            }
            self.add(join(path, &column.name), &column.kind, false)?;
        }
        Ok(())
    }

    fn add(&mut self, path: String, kind: &Kind, optional: bool) -> Result<(), String> {
        let at = self.columns.len();
        if optional && matches!(kind, Kind::Struct(_) | Kind::Tuple(_)) {
            self.columns.push(Column { within: Some(0), ..Column::new(path.clone(), kind, optional) });
        }
        match kind {
            Kind::Option(_) if optional => {
                return Err(format!(
                    "column {path:?} may be missing in two ways, which no record can tell apart"
                ));
            }
            Kind::Option(kind) => return self.add(path, kind, true),
            Kind::Struct(schema) => self.add_named(&path, &schema.columns)?,
            Kind::Tuple(parts) => {
                for (index, kind) in parts.iter().enumerate() {
                    self.add(join(&path, &index.to_string()), kind, false)?;
                }
            }
            kind => {
                self.columns.push(Column::new(path, kind, optional));
                return Ok(());
            }
        }
        if optional {
            self.columns[at].within = Some(self.columns.len());
        }
        Ok(())
    }
}

impl Column {
    fn new(path: String, kind: &Kind, optional: bool) -> Self {
        Column { path, kind: kind.clone(), optional, within: None, tagged: false, own: None }
    }
}

/// The name of the struct that [`Layout::with_after`] puts rows into.
pub(crate) const AFTER: &str = "after";

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Takes the values of a row's columns in order, and writes the row's encoding.
///
/// A struct or tuple within a row is its columns, one after the other. One that may be missing is announced first:
/// [`RowWriter::present`], or one [`Value::Null`] for the whole of it.
pub struct RowWriter<'a> {
    layout: &'a Layout,
    out: &'a mut Vec<u8>,
    /// The next column.
    next: usize,
    event_time: Option<Timestamp>,
    /// Where columns come from that are the record's own.
    record: Option<&'a Record<'a>>,
}

impl<'a> RowWriter<'a> {
    /// Appends a row to `out`.
    pub fn new(layout: &'a Layout, out: &'a mut Vec<u8>) -> Self {
        RowWriter { layout, out, next: 0, event_time: None, record: None }
    }

    /// Appends a row to `out`, with the columns in their places that are this record's own.
    pub fn of(record: &'a Record<'a>, layout: &'a Layout, out: &'a mut Vec<u8>) -> Self {
        RowWriter { record: Some(record), ..RowWriter::new(layout, out) }
    }

    /// Writes the value of the next column.
    ///
    /// # Errors
    /// If it is not of the column's type, or there is no such column.
    #[inline]
    pub fn push(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        self.fill()?;
        self.put(value)
    }

    /// Writes the columns that come next and are the record's own.
    #[inline]
    fn fill(&mut self) -> Result<(), Malformed> {
        if !self.layout.has_own {
            return Ok(());
        }
        while let Some(Column { own: Some(own), kind, path, .. }) = self.layout.columns.get(self.next) {
            let value = self.record.map_or(Ok(Value::Null), |record| own.value(record, kind));
            self.put(value.map_err(|why| Malformed(format!("{path}: {why}").into()))?)?;
        }
        Ok(())
    }

    #[inline]
    fn put(&mut self, value: Value<'_>) -> Result<(), Malformed> {
        let Some(column) = self.layout.columns.get(self.next) else { return Err(TOO_MANY) };
        if let Some(after) = column.within {
            return if value == Value::Null { self.absent(after) } else { Err(mismatch(column, value)) };
        }
        let is_missing = value == Value::Null && column.kind != Kind::Any;
        if is_missing && !column.optional || !is_missing && !fits(&column.kind, &value) {
            return Err(mismatch(column, value));
        }
        if let (Value::Timestamp(time), Some(index)) = (value, self.layout.event_time)
            && index == self.next
        {
            self.event_time = Some(time);
        }
        self.next += 1;
        if column.tagged {
            write_tagged(value, self.out);
            return Ok(());
        }
        if column.optional {
            self.out.push((value != Value::Null).into());
            if value == Value::Null {
                return Ok(());
            }
        }
        let place = if self.next == self.layout.columns.len() { Place::Last } else { Place::Inner };
        write(value, column.kind == Kind::Any, place, self.out);
        Ok(())
    }

    /// Says that the struct or tuple that comes next and may be missing is there: its columns follow.
    ///
    /// # Errors
    /// If what comes next is something else.
    pub fn present(&mut self) -> Result<(), Malformed> {
        self.fill()?;
        match self.layout.columns.get(self.next) {
            Some(Column { within: Some(_), tagged, .. }) => {
                self.next += 1;
                if !tagged {
                    self.out.push(1);
                }
                Ok(())
            }
            Some(column) => Err(Malformed(format!("{}: it has no columns within", column.path).into())),
            None => Err(TOO_MANY),
        }
    }

    fn absent(&mut self, after: usize) -> Result<(), Malformed> {
        if self.layout.columns[self.next].tagged {
            let within = &self.layout.columns[self.next..after];
            within.iter().filter(|c| c.within.is_none()).for_each(|_| write_tagged(Value::Null, self.out));
        } else {
            self.out.push(0);
        }
        self.next = after;
        Ok(())
    }

    /// Ends the row. Returns its event time, where a column is that.
    ///
    /// # Errors
    /// If values are missing.
    pub fn finish(mut self) -> Result<Option<Timestamp>, Malformed> {
        self.fill()?;
        match self.layout.columns.get(self.next) {
            Some(column) => {
                Err(Malformed(format!("{}: the decoder has written no value", column.path).into()))
            }
            None => Ok(self.event_time),
        }
    }
}

const TOO_MANY: Malformed = Malformed::because("the decoder has written more values than there are columns");

#[inline]
fn fits(kind: &Kind, value: &Value<'_>) -> bool {
    match (kind, value) {
        (Kind::Text, Value::Text(_))
        | (Kind::Int, Value::Int(_))
        | (Kind::Float, Value::Float(_))
        | (Kind::Bool, Value::Bool(_))
        | (Kind::Timestamp, Value::Timestamp(_))
        | (Kind::Bytes, Value::Bytes(_))
        | (Kind::Dynamic, Value::Dynamic(_)) => true,
        (Kind::Decimal(scale), Value::Decimal(_, given)) => scale == given,
        (Kind::Any, Value::Decimal(_, scale)) => *scale <= 38,
        (Kind::Any, value) => !matches!(value, Value::Dynamic(_) | Value::Struct(..) | Value::Tuple(..)),
        _ => false,
    }
}

#[inline]
fn write(value: Value<'_>, tagged: bool, place: Place, out: &mut Vec<u8>) {
    if tagged {
        return write_tagged(value, out);
    }
    match value {
        Value::Text(text) => order::write_bytes(text.as_bytes(), place, out),
        Value::Bytes(bytes) => order::write_bytes(bytes, place, out),
        Value::Int(number) => order::write_i64(number, out),
        Value::Float(number) => order::write_f64(number.0, out),
        Value::Bool(value) => out.push(value.into()),
        Value::Timestamp(time) => order::write_i64(time.micros(), out),
        Value::Decimal(units, _) => order::write_i128(units, out),
        Value::Dynamic(row) => crate::rows::DynRow::write(row, place, out),
        Value::Null | Value::Struct(..) | Value::Tuple(..) => unreachable!("no column's type is that"),
    }
}

#[cold]
fn mismatch(column: &Column, value: Value<'_>) -> Malformed {
    let found = match value {
        Value::Null if column.within.is_some() || !column.optional => "missing".into(),
        Value::Null => "null".into(),
        Value::Bool(_) => "a truth value".into(),
        Value::Int(_) => "an integer".into(),
        Value::Float(_) => "a floating-point number".into(),
        Value::Text(_) => "text".into(),
        Value::Timestamp(_) => "a timestamp".into(),
        Value::Decimal(_, scale) => format!("a decimal of scale {scale}"),
        Value::Bytes(_) => "bytes".into(),
        Value::Dynamic(_) => "a dynamic row".into(),
        Value::Struct(..) | Value::Tuple(..) => "a value of several columns".into(),
    };
    Malformed(format!("{}: expected {}, found {found}", column.path, column.kind).into())
}
