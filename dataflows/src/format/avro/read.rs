//! Reads a datum by its plan.

use super::plan::{Plan, Scalar, Shape, Target, TargetNode};
use crate::format::RowWriter;
use crate::format::raw::{Raw, Slot, Why};
use crate::record::Malformed;
use crate::rows::{Kind, Timestamp, Value};
use std::borrow::Cow;

/// A datum that is read.
pub(super) struct Reading<'p> {
    rest: &'p [u8],
    slots: Vec<Slot<'p>>,
    as_text: bool,
}

/// How deep values may lie within each other.
const DEEPEST: usize = 64;

const CUT_OFF: Malformed = Malformed::because("it is cut off");
const TOO_DEEP: Malformed = Malformed::because("it has values within each other too deep");
const NO_BRANCH: Malformed = Malformed::because("it has a branch of a union that is not there");
const NO_NUMBER: Malformed = Malformed::because("it has a number of more than 64 bits");
const NO_LENGTH: Malformed = Malformed::because("it has a length below zero");

/// Why a datum can't be read.
enum Fault {
    /// It is a column's, and names that.
    Named(Malformed),
    /// It is of the datum's bytes: which field they are of, as far as is known, and what is wrong with them.
    Bare(Option<String>, Malformed),
}

impl From<Malformed> for Fault {
    fn from(why: Malformed) -> Self {
        Fault::Bare(None, why)
    }
}

impl Fault {
    /// Of a field of this name.
    #[cold]
    fn of(self, name: &str) -> Self {
        match self {
            Fault::Bare(None, why) => Fault::Bare(Some(name.to_owned()), why),
            Fault::Bare(Some(within), why) => Fault::Bare(Some(format!("{name}.{within}")), why),
            named => named,
        }
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Named(why) | Fault::Bare(None, why) => why,
            Fault::Bare(Some(field), why) => Malformed(format!("{field}: {}", why.0).into()),
        }
    }
}

impl<'p> Reading<'p> {
    pub(super) fn new(datum: &'p [u8], slots: usize, as_text: bool) -> Self {
        Reading { rest: datum, slots: vec![Slot::Missing; slots], as_text }
    }

    /// Reads what a plan is of.
    pub(super) fn run(&mut self, plan: &'p Plan, depth: usize) -> Result<(), Malformed> {
        Ok(match plan {
            Plan::Top(plan, shapes) => self.within(plan, shapes, depth),
            plan => self.within(plan, &[], depth),
        }?)
    }

    fn within(&mut self, plan: &'p Plan, shapes: &'p [Shape], depth: usize) -> Result<(), Fault> {
        if depth > DEEPEST {
            return Err(TOO_DEEP.into());
        }
        match plan {
            Plan::Skip(shape) => Ok(self.skip(shape, shapes, depth)?),
            Plan::Take { scalar, slot, kind, path } => {
                let value = self.scalar(scalar)?.and_then(|raw| raw.into_slot(kind, self.as_text));
                self.slots[*slot] =
                    value.map_err(|why| Fault::Named(Malformed(format!("{path}: {why}").into())))?;
                Ok(())
            }
            Plan::Record(fields, slot) => {
                if let Some(slot) = slot {
                    self.slots[*slot] = Slot::Value(Value::Bool(true));
                }
                let mut field = |(name, plan): &'p (String, Plan)| {
                    self.within(plan, shapes, depth + 1).map_err(|fault| fault.of(name))
                };
                fields.iter().try_for_each(&mut field)
            }
            Plan::Union(branches) => {
                let branch = usize::try_from(self.long()?).map_err(|_| NO_BRANCH)?;
                self.within(branches.get(branch).ok_or(NO_BRANCH)?, shapes, depth + 1)
            }
            Plan::Wrong(why) => Err(Fault::Named(Malformed(why.clone().into()))),
            Plan::Top(plan, shapes) => self.within(plan, shapes, depth),
        }
    }

    /// All has been read.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        match self.rest.len() {
            0 => Ok(()),
            1 => Err(Malformed::because("1 byte is left over")),
            left => Err(Malformed(format!("{left} bytes are left over").into())),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'p [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A number of variable length, in zigzag.
    fn long(&mut self) -> Result<i64, Malformed> {
        let mut number = 0_u64;
        for place in 0..10 {
            let [byte] = self.array()?;
            if place == 9 && byte > 1 {
                return Err(NO_NUMBER);
            }
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(NO_NUMBER)
    }

    fn bytes(&mut self) -> Result<&'p [u8], Malformed> {
        let length = usize::try_from(self.long()?).map_err(|_| NO_LENGTH)?;
        self.take(length)
    }

    /// Reads a value. Its own faults are given back within: they are of its column.
    fn scalar(&mut self, scalar: &'p Scalar) -> Result<Result<Raw<'p>, Why>, Malformed> {
        const OUT_OF_RANGE: &str = "it is out of range";
        Ok(Ok(match scalar {
            Scalar::Null => Raw::Null,
            Scalar::Bool => match self.array()? {
                [0] => Raw::Bool(false),
                [1] => Raw::Bool(true),
                _ => return Ok(Err("it is neither true nor false".into())),
            },
            Scalar::Long => Raw::Long(self.long()?),
            Scalar::Float => Raw::Double(f32::from_le_bytes(self.array()?).into()),
            Scalar::Double => Raw::Double(f64::from_le_bytes(self.array()?)),
            Scalar::Bytes => Raw::Bytes(self.bytes()?),
            Scalar::Fixed(size) => Raw::Bytes(self.take(*size)?),
            Scalar::Text => match std::str::from_utf8(self.bytes()?) {
                Ok(text) => Raw::Text(Cow::Borrowed(text)),
                Err(_) => return Ok(Err("it is not UTF-8".into())),
            },
            Scalar::Enum(symbols) => {
                let symbol = usize::try_from(self.long()?).ok().and_then(|index| symbols.get(index));
                match symbol {
                    Some(symbol) => Raw::Text(Cow::Borrowed(symbol)),
                    None => return Ok(Err("it is no symbol of its enum".into())),
                }
            }
            Scalar::Decimal(scale, size) => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.bytes()?,
                };
                match (units(bytes), u8::try_from(*scale)) {
                    (Some(units), Ok(scale)) => Raw::Decimal(units, scale),
                    _ => return Ok(Err(OUT_OF_RANGE.into())),
                }
            }
            Scalar::Time(per_second) => {
                let number = self.long()?;
                let micros = match per_second {
                    1_000 => number.checked_mul(1_000),
                    1_000_000 => Some(number),
                    _ => Some(number.div_euclid(1_000)),
                };
                match micros.and_then(|micros| Timestamp::from_micros(micros).shown()) {
                    Some(time) => Raw::Time(time),
                    None => return Ok(Err(OUT_OF_RANGE.into())),
                }
            }
            Scalar::Days => match self.long()?.checked_mul(86_400_000).and_then(Timestamp::from_millis) {
                Some(time) => Raw::Time(time),
                None => return Ok(Err(OUT_OF_RANGE.into())),
            },
        }))
    }

    fn skip(&mut self, shape: &Shape, shapes: &[Shape], depth: usize) -> Result<(), Malformed> {
        if depth > DEEPEST {
            return Err(TOO_DEEP);
        }
        match shape {
            Shape::Scalar(scalar) => self.pass(scalar),
            Shape::Record(fields) => fields.iter().try_for_each(|shape| self.skip(shape, shapes, depth + 1)),
            Shape::Named(place) => match shapes.get(*place) {
                Some(shape) => self.skip(shape, shapes, depth + 1),
                None => Ok(()),
            },
            Shape::Union(branches) => {
                let branch = usize::try_from(self.long()?).map_err(|_| NO_BRANCH)?;
                self.skip(branches.get(branch).ok_or(NO_BRANCH)?, shapes, depth + 1)
            }
            Shape::Array(item) => self.blocks(|this| this.skip(item, shapes, depth + 1)),
            Shape::Map(item) => self.blocks(|this| {
                this.bytes()?;
                this.skip(item, shapes, depth + 1)
            }),
        }
    }

    /// Passes over a value, whatever is in it.
    fn pass(&mut self, scalar: &Scalar) -> Result<(), Malformed> {
        let length = match scalar {
            Scalar::Null => 0,
            Scalar::Bool => 1,
            Scalar::Float => 4,
            Scalar::Double => 8,
            Scalar::Fixed(size) | Scalar::Decimal(_, Some(size)) => *size,
            Scalar::Bytes | Scalar::Text | Scalar::Decimal(_, None) => return self.bytes().map(drop),
            Scalar::Long | Scalar::Enum(_) | Scalar::Time(_) | Scalar::Days => return self.long().map(drop),
        };
        self.take(length).map(drop)
    }

    /// Passes over the blocks of an array or a map.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            if count < 0 {
                // The block's size in bytes comes next.
                self.bytes()?;
                continue;
            }
            for _ in 0..count {
                let before = self.rest.len();
                item(self)?;
                if self.rest.len() == before {
                    // Items without bytes: so are all of them, however many there are said to be.
                    break;
                }
            }
        }
    }

    /// Writes the columns.
    pub(super) fn write(&self, targets: &[Target], row: &mut RowWriter<'_>) -> Result<(), Malformed> {
        for target in targets {
            let slot = &self.slots[target.slot];
            let value = match slot {
                Slot::Missing => Value::Null,
                Slot::Value(value) => *value,
                Slot::Text(text) => Value::Text(text),
            };
            match &target.node {
                _ if value == Value::Null && target.optional => row.push(Value::Null)?,
                TargetNode::Column(Kind::Any) if !matches!(slot, Slot::Missing) => row.push(value)?,
                _ if value == Value::Null => {
                    let why = if matches!(slot, Slot::Missing) { "it is missing" } else { "it is null" };
                    return Err(Malformed(format!("{}: {why}", target.path).into()));
                }
                TargetNode::Column(_) => row.push(value)?,
                TargetNode::Struct(within) => {
                    if target.optional {
                        row.present()?;
                    }
                    self.write(within, row)?;
                }
            }
        }
        Ok(())
    }
}

/// The number that bytes are, in two's complement, the greatest byte first; `None` where 128 bits are not enough.
fn units(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
    let more = bytes.len().saturating_sub(16);
    let (extra, bytes) = bytes.split_at(more);
    if extra.iter().any(|byte| *byte != fill) || more > 0 && (bytes[0] >= 0x80) != (fill == 0xff) {
        return None;
    }
    let mut number = [fill; 16];
    number[16 - bytes.len()..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(number))
}
