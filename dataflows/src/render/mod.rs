//! Rendering: from an output's rows to what its sinks write.
//!
//! An output is typed changes with their schema; the format in which they leave is its sinks' affair. Each worker nets,
//! sorts and renders the changes that it has of an epoch ([`render`]), and sends them to worker 0 as a *rendered batch*:
//! a flat batch whose rows hold an encoded row with its key and value in the sink's format ([`batch`]). There, batches of
//! all workers are merged in the order of the encoded rows ([`merge`]), equal rows of several workers summed. So the
//! changes, and their order, depend on the rows alone: not on workers or batches.

pub mod batch;
mod merge;
mod operator;

use std::sync::Arc;

use bytes::Bytes;

use crate::rows::{Json, Schema};

pub use batch::{encoded, rendered};
pub use merge::{as_they_come, merge};
pub use operator::{Wanted, render, to_worker_0};

/// Writes the rows of an output in a sink's format.
///
/// ```
/// use cutwater_dataflows::render::{Renderer, merge, rendered};
/// use cutwater_dataflows::{flat::FlatBatch, rows::encode};
///
/// /// Rows as their length, without a key
/// struct Length;
/// impl Renderer for Length {
///     fn render(&self, row: &[u8], _key: &mut Vec<u8>, value: &mut Vec<u8>) {
///         value.extend(row.len().to_string().into_bytes());
///     }
/// }
///
/// let mut batch = FlatBatch::default();
/// batch.push(&encode(&7i64), 2);
/// let changes = merge(vec![rendered(&Length, &[batch])]);
/// assert_eq!((&changes[0].row[..], changes[0].diff), (&b"8"[..], 2));
/// ```
pub trait Renderer: Send + Sync {
    /// Appends the key of a row to `key`, and the row to `value`. The row is encoded, of the output's schema. Equal rows
    /// must give equal bytes. Called on all workers, at once.
    fn render(&self, row: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>);
}

/// Makes the renderer of an output with this schema.
pub type RendererOf = Arc<dyn Fn(&Schema) -> Arc<dyn Renderer> + Send + Sync>;

/// Rows as JSON objects: the value has all columns, the key those of the output's key.
pub fn json() -> RendererOf {
    Arc::new(|schema| Arc::new(Json::new(schema.clone())))
}

impl Renderer for Json {
    /// # Panics
    /// If the row is of another schema.
    fn render(&self, row: &[u8], key: &mut Vec<u8>, value: &mut Vec<u8>) {
        let start = value.len();
        let keyed = self.write(row, value).expect("rows of a collection are encoded rows");
        key.extend_from_slice(&value[start..keyed]);
        key.push(b'}');
    }
}

/// Renders nothing: the encoded rows themselves are wanted, which [`encoded`] shows.
pub struct Encoded;

impl Renderer for Encoded {
    fn render(&self, _row: &[u8], _key: &mut Vec<u8>, _value: &mut Vec<u8>) {}
}

/// A change of an output, ready for a sink. The changes of an epoch share their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key columns, in the sink's format.
    pub key: Bytes,
    /// The whole row, in the sink's format.
    pub row: Bytes,
    /// How often the row appeared (positive) or was withdrawn (negative). Never zero.
    pub diff: i64,
}

#[cfg(test)]
mod tests;
