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
}

impl Payload {
    /// Appends the row that `payload` is. Returns its event time, where a column is that.
    #[inline]
    fn write(
        &mut self,
        payload: &[u8],
        record: &Record<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Timestamp>, Malformed> {
        let mut row = RowWriter::new(&self.layout, out);
        match self.decoder.decode(payload, record, &mut row) {
            Ok(()) => row.finish(),
            Err(Undecoded::Malformed(why)) => Err(why),
        }
    }
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
        let time = rows.push_written(1, |out| self.payload.write(value, record, out))?;
        time.into_iter().for_each(|time| rows.event_time(time));
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
        let key = record.key.ok_or(Malformed::because("the key is null, but an upsert goes by it"))?;
        let time = rows.push_written(1, |out| {
            order::write_bytes(key, Place::Inner, out);
            order::write_i64(record.partition.into(), out);
            order::write_i64(record.offset, out);
            out.push(record.value.is_some().into());
            record.value.map_or(Ok(None), |value| self.payload.write(value, record, out))
        })?;
        time.into_iter().for_each(|time| rows.event_time(time));
        Ok(())
    }
}
