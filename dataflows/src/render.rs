//! Showing rows: from flat batches to JSON, in order.

use bytes::Bytes;

use crate::flat::FlatBatch;
use crate::rows::Json;

/// A change of an output, ready for a sink. The changes of an epoch share their memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key columns, as a JSON object.
    pub key: Bytes,
    /// The whole row, as a JSON object.
    pub row: Bytes,
    /// How often the row appeared (positive) or was withdrawn (negative). Never zero.
    pub diff: i64,
}

/// The net changes in `batches`, whose rows `json` shows: ordered by row, and so by key first. The order and the changes
/// depend on the rows alone, not on the batches.
///
/// # Panics
/// If the rows are of another schema.
pub fn render(json: &Json, batches: &[FlatBatch]) -> Vec<Change> {
    // Bytes compare as rows do.
    let mut rows: Vec<(&[u8], i64)> = batches.iter().flat_map(FlatBatch::iter).collect();
    rows.sort_unstable();
    let mut text = Vec::with_capacity(rows.len() * GUESS);
    // Where in the text each row is, and its key.
    let mut places = Vec::with_capacity(rows.len());
    for same in rows.chunk_by(|a, b| a.0 == b.0) {
        let diff: i64 = same.iter().map(|(_, diff)| diff).sum();
        if diff == 0 {
            continue;
        }
        let start = text.len();
        let keyed = json.write(same[0].0, &mut text).expect("rows of a collection are encoded rows");
        let end = text.len();
        text.extend_from_within(start..keyed);
        text.push(b'}');
        places.push((start..end, end..text.len(), diff));
    }
    let text = Bytes::from(text);
    places
        .into_iter()
        .map(|(row, key, diff)| Change { key: text.slice(key), row: text.slice(row), diff })
        .collect()
}

/// Bytes of a small row with its key, as JSON.
const GUESS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Schema, Text, encode_into};

    #[test]
    fn changes_are_net_ordered_and_named() {
        type Counted = (Text, i64);
        let json = Json::new(Schema::of::<Counted>().named(&["word"], &["count"]).unwrap());
        let batch = |rows: &[(&str, i64, i64)]| {
            let mut batch = FlatBatch::default();
            for &(word, count, diff) in rows {
                let mut bytes = Vec::new();
                encode_into::<Counted>((word, count), &mut bytes);
                batch.push(&bytes, diff);
            }
            batch
        };
        let changes = render(
            &json,
            &[batch(&[("the", 12, 1), ("a\"", 3, 1), ("x", 1, 1)]), batch(&[("the", 9, -1), ("x", 1, -1)])],
        );
        let shown: Vec<_> = changes
            .iter()
            .map(|c| {
                format!("{} {} {}", String::from_utf8_lossy(&c.key), String::from_utf8_lossy(&c.row), c.diff)
            })
            .collect();
        assert_eq!(
            shown,
            [
                r#"{"word":"a\""} {"word":"a\"","count":3} 1"#,
                r#"{"word":"the"} {"word":"the","count":9} -1"#,
                r#"{"word":"the"} {"word":"the","count":12} 1"#,
            ]
        );
    }
}
