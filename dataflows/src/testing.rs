//! Helps to test decoders without a feed.

use crate::combine::Combiner;
use crate::decode::{Decode, Rows};
use crate::record::{Malformed, NoHeaders, Record};
use crate::row::Row;

/// The rows that `decoder` makes of a record with this value, in order, each with its count.
///
/// # Errors
/// Those of the decoder.
pub fn decoded<D: Decode>(decoder: &mut D, value: Option<&[u8]>) -> Result<Vec<(D::Row, i64)>, Malformed> {
    let record = Record {
        topic: "test",
        partition: 0,
        offset: 0,
        timestamp: None,
        key: None,
        value,
        headers: &NoHeaders,
    };
    let mut combiner = Combiner::default();
    decoder.decode(&record, &mut Rows::new(&mut combiner))?;
    let mut rows: Vec<_> = combiner.take().iter().map(|(row, count)| (D::Row::decode(row), count)).collect();
    rows.sort();
    Ok(rows)
}
