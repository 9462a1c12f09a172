//! Numbers and truth values.

use crate::order::{self, Damaged, Place};
use crate::row::Row;
use crate::schema::Kind;

/// A floating-point number that can be a column: all NaN are one, the largest; minus zero is zero.
pub type Float = ordered_float::OrderedFloat<f64>;

macro_rules! scalar {
    ($row:ty, $kind:expr, $write:expr, $read:expr) => {
        impl Row for $row {
            type Ref<'a> = $row;
            #[inline]
            fn borrow(&self) -> $row {
                *self
            }
            #[inline]
            fn to_owned(row: $row) -> $row {
                row
            }
            #[inline]
            fn write(row: $row, _place: Place, out: &mut Vec<u8>) {
                $write(row, out);
            }
            #[inline]
            fn read(bytes: &mut &[u8], _place: Place) -> Result<$row, Damaged> {
                $read(bytes)
            }
            fn kind() -> Kind {
                $kind
            }
        }
    };
}
pub(crate) use scalar;

scalar!(i64, Kind::Int, order::write_i64, order::read_i64);
scalar!(bool, Kind::Bool, |row: bool, out: &mut Vec<u8>| out.push(row.into()), order::read_flag);
scalar!(Float, Kind::Float, |row: Float, out| order::write_f64(row.0, out), |bytes: &mut &[u8]| {
    order::read_f64(bytes).map(ordered_float::OrderedFloat)
});
