//! A format: lines of `name=value` between spaces, as many programs log them.

use std::borrow::Cow;
use std::str::FromStr;

use cutwater::prelude::*;

/// Decodes lines with `read`, which takes what it needs of a [`Line`] and pushes the rows that it makes of it.
pub fn logfmt<R, F>(read: F) -> Logfmt<R, F>
where
    R: Row,
    F: FnMut(&Line<'_>, &mut Rows<'_, R>) -> Result<(), Malformed> + 'static,
{
    Logfmt { read, row: std::marker::PhantomData }
}

/// See [`logfmt()`].
pub struct Logfmt<R, F> {
    read: F,
    row: std::marker::PhantomData<fn() -> R>,
}

impl<R, F> Decode for Logfmt<R, F>
where
    R: Row,
    F: FnMut(&Line<'_>, &mut Rows<'_, R>) -> Result<(), Malformed> + 'static,
{
    type Row = R;

    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, R>) -> Result<(), Malformed> {
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Malformed::because("not UTF-8"));
        let key = record.key.map(text).transpose()?;
        let fields = record.value.map(text).transpose()?;
        (self.read)(&Line { key, fields, offset: record.offset }, rows)
    }
}

/// A record with fields. What is missing or can't be read makes the record a dead letter, which says why.
pub struct Line<'a> {
    key: Option<&'a str>,
    /// `None`: a null value.
    fields: Option<&'a str>,
    /// The record's offset: of records with the same key, a newer one has a larger offset.
    pub offset: i64,
}

impl<'a> Line<'a> {
    /// The record's key.
    ///
    /// # Errors
    /// If it has none.
    pub fn key(&self) -> Result<&'a str, Malformed> {
        self.key.ok_or(Malformed::because("no key"))
    }

    /// True iff the value is null, which in a table deletes the row of the key.
    pub fn is_gone(&self) -> bool {
        self.fields.is_none()
    }

    /// A field as it is written.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn text(&self, name: &str) -> Result<&'a str, Malformed> {
        let fields = self.fields.unwrap_or_default().split_whitespace();
        let mut values = fields.filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
        values.next().ok_or_else(|| Malformed(Cow::Owned(format!("no field {name}"))))
    }

    /// A field as a value of another type.
    ///
    /// # Errors
    /// If there is none of that name, or it is none.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<T, Malformed> {
        self.text(name)?.parse().map_err(|_| Malformed(Cow::Owned(format!("field {name} can't be read"))))
    }
}

#[cfg(test)]
mod tests {
    use cutwater::testing::decoded;

    use super::*;

    #[test]
    fn fields_are_found_by_name_and_what_is_missing_is_told() {
        let mut decoder = logfmt::<(Text, i64), _>(|line, rows| {
            rows.push((line.text("name")?, line.get("n")?));
            Ok(())
        });
        let mut read = |line: &[u8]| decoded(&mut decoder, Some(line));
        assert_eq!(read(b"n=7 nn=8  name=a=b"), Ok(vec![((Text::from("a=b"), 7), 1)]));
        for (line, why) in
            [(&b"n=7"[..], "no field name"), (b"name=a n=x", "field n can't be read"), (b"\xff", "not UTF-8")]
        {
            assert_eq!(read(line).unwrap_err().0, why);
        }
    }
}
