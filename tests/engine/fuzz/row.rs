//! The encoding of rows.

use cutwater_dataflows::rows::{
    Bytes, Decimal, DynRow, Float, Json, Place, Row, Schema, Text, Timestamp, Value, decode, encode, to_row,
};

/// A row of every type.
#[derive(Row, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Wide {
    #[row(key)]
    id: Text,
    price: Decimal<2>,
    paid: bool,
    weight: Option<Float>,
    place: Option<(Text, Option<i64>)>,
    raw: Bytes,
    at: Timestamp,
    more: DynRow,
}

#[cfg(test)]
pub(super) fn good() -> Vec<Vec<u8>> {
    let more = DynRow::new([Value::Int(-7), Value::Text("x\0y"), Value::Null, Value::Bool(true)]);
    let row = Wide {
        id: "a\0b".into(),
        price: Decimal::from_units(-1050),
        paid: true,
        weight: Some(1.5.into()),
        place: Some(("town".into(), None)),
        raw: Bytes::from(&[0u8, 255, 0][..]),
        at: Timestamp::from_micros(1),
        more,
    };
    let other = Wide { id: "".into(), weight: None, place: None, paid: false, ..row.clone() };
    vec![encode(&row), encode(&other)]
}

/// What is read as a row is shown as JSON, and is the same row when it is written and read once more. (Its bytes may be
/// others: text with a zero is there twice, to be compared and to be read.)
pub(crate) fn target(bytes: &[u8]) {
    check::<Wide>(bytes);
    check::<DynRow>(bytes);
    check::<(Option<i64>, (Text, Bytes))>(bytes);
}

fn check<R: Row>(bytes: &[u8]) {
    let json = Json::new(Schema::of::<R>());
    let mut shown = Vec::new();
    let Ok(row) = decode::<R>(bytes) else { return };
    let mut written = Vec::new();
    R::write(row, Place::Last, &mut written);
    let (read, again) = (to_row::<R>(bytes), to_row::<R>(&written));
    assert_eq!(read, again);
    assert_eq!(encode(&again), written, "what this program writes is read as it was written");
    json.write(bytes, &mut shown).expect("a row can be shown");
    serde_json::from_slice::<serde_json::Value>(&shown).expect("JSON");
}
