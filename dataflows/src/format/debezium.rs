//! `debezium`: changes of a database's table, as Debezium's connectors write them.
//!
//! A record is `{before, after, op, source, …}`; the format is opened with the columns of that which matter. The rows go by
//! the record's key, as with `upsert`, and what stands is the newest `after`:
//!
//! - `op` is `c` (created), `u` (updated) or `r` (read by a snapshot): the row is `after`. It is `d`: there is none any more.
//! - Kafka Connect hands events over at least once: after a crash, the last ones come once more, in their order. One whose
//!   place in the database's log (`source`) is not behind that of the newest event that was applied to the key changes
//!   nothing, so what was applied does not show again, and no older row comes back for a while. For that, the key's newest
//!   place is part of the state, also when its row has been deleted.
//! - That it is not behind must be said by place and time (`source.ts_ms`): a log that begins from the start, since the database was
//!   restored, has lower places and later times, and its events are applied. So are those of another server
//!   (`source.server_id`). Where `source` has no place, it goes by the time alone, and an event of the same millisecond is
//!   applied: that it comes twice changes nothing.
//! - A null value follows an event with `op` `d`, for the topic's compaction. It changes nothing then. Where it comes alone,
//!   compaction has taken the event: it deletes the row.

use std::marker::PhantomData;

use super::read::{Offset, Payload, Refine, write};
use super::row_writer::AFTER;
use super::{Format, Layout, Undecoded};
use crate::collection::Collection;
use crate::decode::{Decode, Rows};
use crate::group::Group;
use crate::operators::map::Emit;
use crate::operators::{Map, Stateful};
use crate::record::{Malformed, Record};
use crate::rows::{Bytes, Column, Kind, Place, Row, Schema, Text, Value, order, read_value};

/// Where in a database's log an event stands: its server, log, place in that, place in the statement, and milliseconds.
type At = (i64, Text, i64, i64, i64);
type AtRef<'a> = (i64, &'a str, i64, i64, i64);

/// An event of a key: what it is, where it stands, and the row.
type Event<R> = (i64, At, Option<R>);

/// What is known of a key: where the newest event stood, what a null value means that comes next, and the row.
type Known<R> = (At, i64, Option<R>);

/// A null value would come alone.
const LIVE: i64 = 0;
/// The last event that came, newest or not, was a deletion: a null value belongs to it.
const DELETED: i64 = 1;
/// A null value came alone and has deleted the row. Should the newest event come once more, it was a null value from before
/// that event that came once more: then the row is there after all.
const TAKEN: i64 = 2;

const PUT: i64 = 0;
const DELETE: i64 = 1;
const TOMBSTONE: i64 = 2;

/// No place in a log, and no time.
const NOWHERE: AtRef<'static> = (NONE, "", NONE, NONE, i64::MIN);
const NONE: i64 = -1;

/// What is read of `source`, by the connectors that have it.
const SOURCE: [&str; 11] = [
    "server_id",
    "ts_ms",
    // MySQL, MariaDB
    "file",
    "pos",
    "row",
    // PostgreSQL
    "lsn",
    // SQL Server
    "commit_lsn",
    "change_lsn",
    "event_serial_no",
    // Oracle
    "scn",
    // MongoDB
    "ord",
];

/// Decodes events.
pub(crate) struct Events<R> {
    payload: Payload,
    /// The event that was decoded last.
    event: Vec<u8>,
    row: PhantomData<fn() -> R>,
}

impl<R: Row> Events<R> {
    /// Of rows of this schema, in this format.
    ///
    /// # Errors
    /// If the format can't fill the columns.
    pub(crate) fn open(
        format: &dyn Format,
        schema: &Schema,
        as_text: bool,
        layout: Layout,
        refine: Option<Refine>,
    ) -> Result<Self, String> {
        let layout = Layout::with_after(&header(), layout)?;
        let whole = self::schema(schema);
        let decoder = if as_text { format.open_as_text(&whole)? } else { format.open(&whole)? };
        let payload = Payload { decoder, layout, refine, scratch: Vec::new() };
        Ok(Events { payload, event: Vec::new(), row: PhantomData })
    }
}

/// What a format is opened with, for events of rows of this schema.
pub(super) fn schema(row: &Schema) -> Schema {
    let mut schema = header();
    schema.columns.push(Column::new(AFTER, Kind::Option(Box::new(Kind::Struct(row.clone())))));
    schema
}

/// The columns of an event that come before its row.
fn header() -> Schema {
    let any = |name: &str| Column::new(name, Kind::Option(Box::new(Kind::Any)));
    let source = Schema { name: "source".to_owned(), columns: SOURCE.map(any).into(), key: 0 };
    let columns = vec![
        Column::new("op", Kind::Text),
        Column::new("source", Kind::Option(Box::new(Kind::Struct(source)))),
    ];
    Schema { name: "debezium".to_owned(), columns, key: 0 }
}

impl<R: Row> Decode for Events<R> {
    type Row = (Bytes, (Offset, Event<R>));

    fn decode(&mut self, record: &Record<'_>, rows: &mut Rows<'_, Self::Row>) -> Result<(), Malformed> {
        const NO_KEY: Malformed = Malformed::because("the key is null, but debezium's changes go by it");
        let Events { payload, event, .. } = self;
        let key = payload.decoder.key(record.key.ok_or(NO_KEY)?);
        let mut time = None;
        event.clear();
        let (what, at, row) = match record.value {
            None => (TOMBSTONE, NOWHERE, None),
            Some(value) => {
                let value = payload.decoder.unwrapped(value);
                let read = write(&mut *payload.decoder, &payload.layout, value, record, event);
                time = match read {
                    Ok(time) => time,
                    Err(Undecoded::NoRow) => return Ok(()),
                    Err(Undecoded::NotYet) => {
                        rows.not_yet();
                        return Ok(());
                    }
                    Err(Undecoded::Malformed(why)) => return Err(why),
                };
                parted(event)?
            }
        };
        rows.push_written(1, |out| {
            order::write_bytes(key, Place::Inner, out);
            order::write_i64(record.partition.into(), out);
            order::write_i64(record.offset, out);
            order::write_i64(what, out);
            At::write(at, Place::Inner, out);
            let place = out.len();
            out.push(1);
            let refined = match (row, &mut payload.refine) {
                (None, _) => Err(Undecoded::NoRow),
                (Some(row), None) => {
                    out.extend_from_slice(row);
                    Ok(())
                }
                (Some(row), Some(refine)) => refine(row, out),
            };
            match refined {
                Err(Undecoded::NoRow) => {
                    out.truncate(place);
                    out.push(0);
                    Ok(())
                }
                Err(Undecoded::Malformed(why)) => Err(why),
                Ok(()) | Err(Undecoded::NotYet) => Ok(()),
            }
        })?;
        time.into_iter().for_each(|time| rows.event_time(time));
        Ok(())
    }
}

/// What an event is, where it stands, and the bytes of its row.
fn parted(event: &[u8]) -> Result<(i64, AtRef<'_>, Option<&[u8]>), Malformed> {
    const DAMAGED: Malformed = Malformed::because("the decoder has written another event");
    let mut rest = event;
    let Ok(Value::Text(op)) = read_value(&Kind::Text, &mut rest, Place::Inner) else { return Err(DAMAGED) };
    let mut source = [Value::Null; SOURCE.len()];
    if order::read_flag(&mut rest).map_err(|_| DAMAGED)? {
        for value in &mut source {
            let there = order::read_flag(&mut rest).map_err(|_| DAMAGED)?;
            if there {
                *value = read_value(&Kind::Any, &mut rest, Place::Inner).map_err(|_| DAMAGED)?;
            }
        }
    }
    let at = place(&source);
    let row = if order::read_flag(&mut rest).map_err(|_| DAMAGED)? { Some(rest) } else { None };
    match (op, row) {
        ("c" | "r" | "u", Some(row)) => Ok((PUT, at, Some(row))),
        ("c" | "r" | "u", None) => Err(Malformed::because("after: it is missing")),
        ("d", _) => Ok((DELETE, at, None)),
        ("t", _) => Err(Malformed::because("op: it is t, a truncation, which is of no key")),
        _ => Err(Malformed::because("op: it is none of c, r, u and d")),
    }
}

/// Where an event stands, by what its connector says of that.
fn place<'a>(source: &[Value<'a>; SOURCE.len()]) -> AtRef<'a> {
    let of = |name: &str| SOURCE.iter().position(|known| *known == name).map_or(Value::Null, |at| source[at]);
    let text = |names: &[&str]| {
        names.iter().find_map(|name| if let Value::Text(text) = of(name) { Some(text) } else { None })
    };
    let number = |names: &[&str]| {
        names.iter().find_map(|name| if let Value::Int(number) = of(name) { Some(number) } else { None })
    };
    // Of SQL Server's two, both hexadecimal and of one length, the one of the change is the finer, and grows with the other.
    let log = text(&["change_lsn", "commit_lsn", "file", "scn"]).unwrap_or_default();
    let at = number(&["pos", "lsn", "ord", "scn"]).unwrap_or(NONE);
    let within = number(&["row", "event_serial_no"]).unwrap_or(NONE);
    let server = number(&["server_id"]).unwrap_or(NONE);
    (server, log, at, within, number(&["ts_ms"]).unwrap_or(i64::MIN))
}

/// True iff an event was there before the one that stands, or is that one.
fn is_stale(event: AtRef<'_>, known: AtRef<'_>) -> bool {
    let (server, time) = (|at: AtRef<'_>| at.0, |at: AtRef<'_>| at.4);
    // Names of logs end in a number that grows by a digit now and then.
    fn place<'a>((_, log, at, within, _): AtRef<'a>) -> (usize, &'a str, i64, i64) {
        (log.len(), log, at, within)
    }
    let has_place = |at| place(at) != place(NOWHERE);
    match (has_place(event), has_place(known)) {
        (true, true) => {
            server(event) == server(known) && place(event) <= place(known) && time(event) <= time(known)
        }
        (false, false) => time(event) != time(NOWHERE) && time(event) < time(known),
        _ => false,
    }
}

/// What stands of each key.
pub(crate) fn stands<'s, R: Row>(
    events: Collection<'s, (Bytes, (Offset, Event<R>))>,
    name: &str,
) -> Collection<'s, R> {
    let known = events.stateful::<Known<R>>(name, |_key, known, events, out| apply::<R>(known, events, out));
    known.flat_map::<R>(|(_key, (_at, _next, row)), out| out.extend(row))
}

/// Applies the events of an epoch, which are in the order of their offsets.
fn apply<R: Row>(
    known: Group<'_, Known<R>>,
    events: Group<'_, (Offset, Event<R>)>,
    out: &mut Emit<'_, Known<R>>,
) {
    let mut state = known.first();
    for ((_offset, (what, at, row)), diff) in events.iter() {
        if diff <= 0 {
            continue;
        }
        let then = if what == DELETE { DELETED } else { LIVE };
        state = match (what, state) {
            (TOMBSTONE, Some((newest, DELETED, row))) => Some((newest, LIVE, row)),
            (TOMBSTONE, Some((newest, _, _))) => Some((newest, TAKEN, None)),
            (TOMBSTONE, None) => None,
            (_, Some((newest, TAKEN, _))) if at == newest => Some((at, then, row)),
            (DELETE, Some((newest, _, row))) if is_stale(at, newest) => Some((newest, DELETED, row)),
            // One that is old says nothing of what follows it now.
            (_, Some((newest, state, row))) if is_stale(at, newest) => {
                Some((newest, if state == TAKEN { TAKEN } else { LIVE }, row))
            }
            _ => Some((at, then, row)),
        };
    }
    out.extend(state);
}

#[cfg(test)]
mod tests;
