//! Showing rows: from flat batches to JSON, in order.

use bytes::Bytes;

use crate::dataflow::OutputShape;
use crate::flat::FlatBatch;
use crate::row::{Row, Value};

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

/// The net changes in `batches`, which hold rows of type `R`: ordered by row, and so by key first. The order
/// and the changes depend on the rows alone, not on the batches.
pub fn render<R: Row>(shape: &OutputShape, batches: &[FlatBatch]) -> Vec<Change> {
    let mut rows: Vec<(R, i64)> =
        batches.iter().flat_map(FlatBatch::iter).map(|(row, diff)| (R::decode(row), diff)).collect();
    differential_dataflow::consolidation::consolidate(&mut rows);
    let names = names(shape);
    let mut text = Vec::with_capacity(rows.len() * GUESS);
    // Where in the text each row is, and its key.
    let mut places = Vec::with_capacity(rows.len());
    for (row, diff) in &rows {
        let start = text.len();
        let (mut keyed, mut column) = (start, 0);
        row.columns(&mut |value| {
            text.extend_from_slice(&names[column]);
            value.json(&mut text);
            column += 1;
            if column == shape.key.len() {
                keyed = text.len();
            }
        });
        text.push(b'}');
        let end = text.len();
        text.extend_from_within(start..keyed);
        text.push(b'}');
        places.push((start..end, end..text.len(), *diff));
    }
    let text = Bytes::from(text);
    places
        .into_iter()
        .map(|(row, key, diff)| Change { key: text.slice(key), row: text.slice(row), diff })
        .collect()
}

/// Bytes of a small row with its key, as JSON.
const GUESS: usize = 64;

/// What comes before each column's value.
fn names(shape: &OutputShape) -> Vec<Vec<u8>> {
    let names = shape.key.iter().chain(&shape.value).enumerate();
    names
        .map(|(column, name)| {
            let mut text = vec![if column == 0 { b'{' } else { b',' }];
            Value::Text(name).json(&mut text);
            text.push(b':');
            text
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Text;

    #[test]
    fn changes_are_net_ordered_and_named() {
        type Counted = (Text, i64);
        let shape = OutputShape {
            name: "counts".into(),
            key: vec!["word".into()],
            value: vec!["count".into()],
            kept: true,
            unique: true,
        };
        let batch = |rows: &[(&str, i64, i64)]| {
            let mut batch = FlatBatch::default();
            for &(word, count, diff) in rows {
                let mut bytes = Vec::new();
                Counted::encode((word, count), &mut bytes);
                batch.push(&bytes, diff);
            }
            batch
        };
        let changes = render::<Counted>(
            &shape,
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
