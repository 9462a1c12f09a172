//! Showing rows: from flat batches to JSON, in order.

use crate::dataflow::OutputShape;
use crate::flat::FlatBatch;
use crate::row::{Row, Value};

/// A change of an output, ready for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key columns, as a JSON object.
    pub key: Vec<u8>,
    /// The whole row, as a JSON object.
    pub row: Vec<u8>,
    /// How often the row appeared (positive) or was withdrawn (negative). Never zero.
    pub diff: i64,
}

/// The net changes in `batches`, which hold rows of type `R`: ordered by row, and so by key first. The order
/// and the changes depend on the rows alone, not on the batches.
pub fn render<R: Row>(shape: &OutputShape, batches: &[FlatBatch]) -> Vec<Change> {
    let mut rows: Vec<(R, i64)> =
        batches.iter().flat_map(FlatBatch::iter).map(|(row, diff)| (R::decode(row), diff)).collect();
    differential_dataflow::consolidation::consolidate(&mut rows);
    rows.into_iter()
        .map(|(row, diff)| {
            let (mut whole, mut key) = (Vec::with_capacity(48), Vec::new());
            let mut names = shape.key.iter().chain(&shape.value);
            let mut column = 0;
            row.columns(&mut |value| {
                let name = names.next().expect("an output names each column");
                whole.push(if column == 0 { b'{' } else { b',' });
                Value::Text(name).json(&mut whole);
                whole.push(b':');
                value.json(&mut whole);
                column += 1;
                if column == shape.key.len() {
                    key.clone_from(&whole);
                    key.push(b'}');
                }
            });
            whole.push(b'}');
            Change { key, row: whole, diff }
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
