//! Helps to test decoders without a feed.

use crate::combine::Combiner;
use crate::decode::Decode;
use crate::record::{Malformed, NoHeaders, Record};
use crate::rows::to_row;
use crate::source::decode;

/// The rows that `decoder` makes of a record with this value, in order, each with its count.
///
/// # Errors
/// Those of the decoder, a panic included.
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
    decode(decoder, &record, &mut combiner)?;
    let mut rows: Vec<_> = combiner.take().iter().map(|(row, count)| (to_row(row), count)).collect();
    rows.sort();
    Ok(rows)
}
