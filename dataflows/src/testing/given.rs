//! Rows given in code, for tests of operators.

use crate::Diff;
use crate::decode::{Decode, Rows};
use crate::record::{Malformed, Record};
use crate::rows::{Row, decode, encode};

use super::Sample;

/// Reads the samples that [`given`] makes.
#[derive(Default)]
pub struct Given<R>(std::marker::PhantomData<fn() -> R>);

impl<R> Given<R> {
    /// A decoder for rows of this type.
    pub fn new() -> Self {
        Given(std::marker::PhantomData)
    }
}

/// A sample that is a row as it is, so many times: fewer than none withdraw it.
pub fn given<R: Row>(row: &R, diff: Diff) -> Sample {
    let mut value = diff.to_be_bytes().to_vec();
    value.extend(encode(row));
    value.into()
}

impl<R: Row> Decode for Given<R> {
    type Row = R;

    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, R>) -> Result<(), Malformed> {
        let value = record.value.unwrap_or_default();
        let (diff, row) = value.split_first_chunk().ok_or(Malformed::because("no sample of `given`"))?;
        let row = decode::<R>(row).map_err(|_| Malformed::because("a sample of another row"))?;
        rows.push_diff(row, Diff::from_be_bytes(*diff));
        Ok(())
    }
}
