//! A format: lines of `name=value` between spaces, as many programs log them. `-f logfmt`.

use cutwater::dataflows::format::{Decoder, RowWriter, Undecoded};
use cutwater::prelude::*;

/// Fields by the names of the columns; other fields are ignored, and those of an `Option` may be missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Logfmt;

impl Format for Logfmt {
    fn name(&self) -> &str {
        "logfmt"
    }

    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        // What can't be is said before the first record is read.
        match schema.columns.iter().find(|column| !is_field(&column.kind)) {
            Some(column) => Err(format!("a field can't be column {:?}, {}", column.name, column.kind)),
            None => Ok(Box::new(Fields(schema.clone()))),
        }
    }
}

/// True iff a field is read as such a value.
fn is_field(kind: &Kind) -> bool {
    match kind {
        Kind::Text | Kind::Int | Kind::Timestamp => true,
        Kind::Option(kind) => is_field(kind),
        _ => false,
    }
}

/// Reads the fields of these columns.
struct Fields(Schema);

impl Decoder for Fields {
    fn decode(
        &mut self,
        payload: &[u8],
        _record: &Record<'_>,
        row: &mut RowWriter<'_>,
    ) -> Result<(), Undecoded> {
        let line = std::str::from_utf8(payload).map_err(|_| Malformed::because("not UTF-8"))?;
        for Column { name, kind } in &self.0.columns {
            let mut fields = line.split_whitespace();
            let field = fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            let value =
                read(kind, field).ok_or_else(|| Malformed(format!("{name}: expected {kind}").into()))?;
            row.push(value)?;
        }
        Ok(())
    }
}

/// A field as a value of this type; `None` where it is none.
fn read<'a>(kind: &Kind, field: Option<&'a str>) -> Option<Value<'a>> {
    match (kind, field) {
        (Kind::Text, Some(field)) => Some(Value::Text(field)),
        (Kind::Int, Some(field)) => field.parse().ok().map(Value::Int),
        (Kind::Timestamp, Some(field)) => field.parse().ok().map(Value::Timestamp),
        (Kind::Option(_), None) => Some(Value::Null),
        (Kind::Option(kind), field) => read(kind, field),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::Test;

    use super::*;

    #[test]
    fn fields_are_columns_and_what_can_not_be_read_is_a_dead_letter() {
        // The columns of a tuple have numbers for names.
        let test = Test::building("stock", |flow| {
            let stock = flow.input("stock").format(Logfmt).rows::<(Text, i64, Option<Timestamp>)>();
            stock.output("stock", &["product"], &["pieces", "at"]);
        });
        let stock = |line: &[u8]| ("stock", line.to_vec());
        let outcome = test
            .epoch([stock(b"1=7 11=8  0=a=b 3=c"), stock(b"0=nut 1=2 2=2024-05-01T10:00:00Z")])
            .epoch([stock(b"1=7"), stock(b"0=a 1=x"), stock(b"\xff")])
            .check();
        assert_eq!(
            outcome.rows("stock"),
            [
                r#"{"product":"a=b","pieces":7,"at":null}"#,
                r#"{"product":"nut","pieces":2,"at":"2024-05-01T10:00:00Z"}"#
            ]
        );
        let letters: Vec<_> = outcome.dead_letters().iter().cloned().collect();
        for why in ["0: expected text", "1: expected i64", "not UTF-8"] {
            assert!(letters.iter().any(|letter| letter.contains(why)), "{why}: {letters:?}");
        }
        let why = Logfmt.open(&Schema::of::<(Text, bool)>()).err();
        assert_eq!(why.as_deref(), Some("a field can't be column \"1\", bool"));
    }
}
