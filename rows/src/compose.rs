//! Rows made of rows.

use crate::order::{self, Damaged, Place};
use crate::row::Row;
use crate::schema::Kind;

/// A row that may be missing: those that are come first.
impl<A: Row> Row for Option<A> {
    type Ref<'a> = Option<A::Ref<'a>>;
    #[inline]
    fn borrow(&self) -> Self::Ref<'_> {
        self.as_ref().map(A::borrow)
    }
    fn to_owned(row: Self::Ref<'_>) -> Self {
        row.map(A::to_owned)
    }
    #[inline]
    fn write(row: Self::Ref<'_>, place: Place, out: &mut Vec<u8>) {
        out.push(row.is_some().into());
        if let Some(row) = row {
            A::write(row, place, out);
        }
    }
    #[inline]
    fn read<'a>(bytes: &mut &'a [u8], place: Place) -> Result<Self::Ref<'a>, Damaged> {
        if order::read_flag(bytes)? { A::read(bytes, place).map(Some) } else { Ok(None) }
    }
    fn kind() -> Kind {
        Kind::Option(Box::new(A::kind()))
    }
}

/// Rows side by side: their columns are the tuple's, and those of the first are its key.
macro_rules! tuple {
    ($($inner:ident $index:tt),* ; $last:ident $last_index:tt) => {
        impl<$($inner: Row,)* $last: Row> Row for ($($inner,)* $last,) {
            type Ref<'a> = ($($inner::Ref<'a>,)* $last::Ref<'a>,);
            #[inline]
            fn borrow(&self) -> Self::Ref<'_> {
                ($(self.$index.borrow(),)* self.$last_index.borrow(),)
            }
            fn to_owned(row: Self::Ref<'_>) -> Self {
                ($($inner::to_owned(row.$index),)* $last::to_owned(row.$last_index),)
            }
            #[inline]
            fn write(row: Self::Ref<'_>, place: Place, out: &mut Vec<u8>) {
                $($inner::write(row.$index, Place::Inner, out);)*
                $last::write(row.$last_index, place, out);
            }
            #[inline]
            fn read<'a>(bytes: &mut &'a [u8], place: Place) -> Result<Self::Ref<'a>, Damaged> {
                Ok(($($inner::read(bytes, Place::Inner)?,)* $last::read(bytes, place)?,))
            }
            fn kind() -> Kind {
                Kind::Tuple(vec![$($inner::kind(),)* $last::kind()])
            }
        }
    };
}

tuple!(; A 0);
tuple!(A 0; B 1);
tuple!(A 0, B 1; C 2);
tuple!(A 0, B 1, C 2; D 3);
tuple!(A 0, B 1, C 2, D 3; E 4);
tuple!(A 0, B 1, C 2, D 3, E 4; F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5; G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6; H 7);

/// The row without columns.
impl Row for () {
    type Ref<'a> = ();
    fn borrow(&self) {}
    fn to_owned(_row: ()) {}
    fn write(_row: (), _place: Place, _out: &mut Vec<u8>) {}
    fn read(_bytes: &mut &[u8], _place: Place) -> Result<(), Damaged> {
        Ok(())
    }
    fn kind() -> Kind {
        Kind::Tuple(Vec::new())
    }
}
