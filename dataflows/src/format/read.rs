//! Envelopes: what a source makes of the rows that a format decodes.

use std::marker::PhantomData;

use super::{Decoder, Layout, RowWriter, Undecoded};
use crate::decode::{Decode, Rows};
use crate::record::{Malformed, Record};
use crate::rows::{Bytes, Place, Row, Timestamp, order};

/// What writes the rows of a record's payload.
pub(crate) struct Payload {
    pub(crate) decoder: Box<dyn Decoder>,
    pub(crate) layout: Layout,
    /// What is made of a row that was decoded, where it is not the row itself.
    pub(crate) refine: Option<Refine>,
    /// The memory of such rows.
    pub(crate) scratch: Vec<u8>,
}

/// Makes another row of one: reads an encoded one, and appends the new one.
pub(crate) type Refine = Box<dyn FnMut(&[u8], &mut Vec<u8>) -> Result<(), Undecoded>>;

impl Payload {
    /// Appends the row that `payload` is. Returns its event time, where a column is that.
    #[inline]
    fn write(
        &mut self,
        payload: &[u8],
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Timestamp>, Undecoded> {
        let Some(refine) = &mut self.refine else {
            return write(&mut *self.decoder, &self.layout, payload, record, out);
        };
        self.scratch.clear();
        let time = write(&mut *self.decoder, &self.layout, payload, record, &mut self.scratch)?;
        refine(&self.scratch, out)?;
        Ok(time)
    }
}

/// Appends the row that `decoder` makes of `payload`.
#[inline]
pub(super) fn write(
    decoder: &mut dyn Decoder,
    layout: &Layout,
    payload: &[u8],
    record: &Record<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Timestamp>, Undecoded> {
    let mut row = RowWriter::of(record, layout, out);
    decoder.decode(payload, record, &mut row)?;
    Ok(row.finish()?)
}

/// `append`: each record is a row.
pub(crate) struct Append<R> {
    pub(crate) payload: Payload,
    pub(crate) row: PhantomData<fn() -> R>,
}

impl<R: Row> Decode for Append<R> {
    type Row = R;

    #[inline]
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, R>) -> Result<(), Malformed> {
        let value = record.value.ok_or(Malformed::because("the value is null"))?;
        match rows.push_written(1, |out| self.payload.write(value, record, out)) {
            Ok(time) => time.into_iter().for_each(|time| rows.event_time(time)),
            Err(Undecoded::NoRow) => {}
            Err(Undecoded::NotYet) => rows.not_yet(),
            Err(Undecoded::Malformed(why)) => return Err(why),
        }
        Ok(())
    }
}

/// `upsert`: by the record's key, with partition and offset, the value or that it is deleted.
pub(crate) struct Upserts<R> {
    pub(crate) payload: Payload,
    pub(crate) row: PhantomData<fn() -> R>,
}

/// Where a record lies: the order of those of an epoch.
pub(crate) type Offset = (i64, i64);

impl<R: Row> Decode for Upserts<R> {
    type Row = (Bytes, (Offset, Option<R>));

    #[inline]
    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Self::Row>) -> Result<(), Malformed> {
        let Some(key) = record.key else { return self.without_key(record, rows) };
        let written = rows.push_written(1, |out| {
            order::write_bytes(key, Place::Inner, out);
            order::write_i64(record.partition.into(), out);
            order::write_i64(record.offset, out);
            let row = out.len();
            out.push(1);
            let written =
                record.value.map_or(Err(Undecoded::NoRow), |value| self.payload.write(value, record, out));
            match written {
                Ok(time) => Ok(time),
                // What is no row leaves the key without one.
                Err(Undecoded::NoRow) => {
                    out.truncate(row);
                    out.push(0);
                    Ok(None)
                }
                Err(why) => Err(why),
            }
        });
        match written {
            Ok(time) => time.into_iter().for_each(|time| rows.event_time(time)),
            Err(Undecoded::NotYet) => rows.not_yet(),
            Err(Undecoded::NoRow) => {}
            Err(Undecoded::Malformed(why)) => return Err(why),
        }
        Ok(())
    }
}

impl<R: Row> Upserts<R> {
    /// A record without a key is a mistake, unless it is no row in any case: the header of a file.
    #[cold]
    fn without_key(
        &mut self,
        record: &Record<'_>,
        rows: &mut Rows<'_, <Self as Decode>::Row>,
    ) -> Result<(), Malformed> {
        match record.value.map(|value| self.payload.write(value, record, &mut Vec::new())) {
            Some(Err(Undecoded::NoRow)) => Ok(()),
            Some(Err(Undecoded::NotYet)) => {
                rows.not_yet();
                Ok(())
            }
            _ => Err(Malformed::because("the key is null, but an upsert goes by it")),
        }
    }
}
