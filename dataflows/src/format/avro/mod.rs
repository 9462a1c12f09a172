//! Avro, in Confluent's wire format: a zero, the id of the writer's schema in four bytes, and the datum.

mod plan;
mod read;

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::fields::{Field, fields, leaves};
use super::{Decoder, Format, Layout, RowWriter, Undecoded};
use crate::record::{Malformed, Record};
use crate::rows::{Kind, Schema};
use plan::{Plan, Target};
use read::Reading;

/// The schemas of a registry, by their ids.
///
/// It is asked on workers, and answers at once: what it does not have yet is fetched elsewhere meanwhile.
pub trait Schemas: Send + Sync {
    /// The schema of an id.
    fn get(&self, id: u32) -> Found;
}

/// What [`Schemas`] know of an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The schema, as JSON, behind those that it names.
    There(Arc<[String]>),
    /// It is being fetched: ask later.
    NotYet,
    /// There is none: why, in words.
    Never(String),
}

/// `avro`: a record of the columns' names, by the schema of which the payload has the id.
///
/// Columns are found by their names, those of a struct within in a record; other fields are skipped. What is `Option` may be
/// null in a union or be no field at all. Integers are `int` and `long`, and floating-point numbers these as well; decimals
/// are `decimal`, and never rounded, an integer, or text; times are the logical types of timestamps and dates, `long`
/// milliseconds, or RFC 3339; text is `string` and `enum`. A schema of one value and no record fills a row of one column.
///
/// Records of a schema that was not seen before wait until that has been fetched. Costs a pass over what is read, and an
/// allocation.
#[derive(Clone, Default)]
pub struct Avro {
    schemas: Option<Arc<dyn Schemas>>,
}

impl Avro {
    /// With the schemas of this registry.
    pub fn new(schemas: Arc<dyn Schemas>) -> Self {
        Avro { schemas: Some(schemas) }
    }

    fn open_with(&self, schema: &Schema, as_text: bool) -> Result<Box<dyn Decoder>, String> {
        const NO_REGISTRY: &str = "records of avro have the ids of schemas: say which registry has those with --schema-registry URL";
        let schemas = Arc::clone(self.schemas.as_ref().ok_or(NO_REGISTRY)?);
        Layout::new(schema)?;
        let fields = fields(&schema.columns);
        if let Some(leaf) = leaves(&fields).iter().find(|leaf| leaf.kind == Kind::Dynamic) {
            return Err(format!("column {:?} is a row of its own, which no field of avro is", leaf.path));
        }
        no_tuple(&fields)?;
        let targets = Target::all(fields);
        let slots = targets.iter().map(Target::slots).sum();
        Ok(Box::new(Datums { schemas, targets, slots, as_text, plans: HashMap::new() }))
    }
}

impl Format for Avro {
    fn name(&self) -> &str {
        "avro"
    }

    fn open(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        self.open_with(schema, false)
    }

    fn open_as_text(&self, schema: &Schema) -> Result<Box<dyn Decoder>, String> {
        self.open_with(schema, true)
    }
}

fn no_tuple(fields: &[Field]) -> Result<(), String> {
    fields.iter().try_for_each(|field| match &field.node {
        super::fields::Node::Array(_) => {
            Err(format!("column {:?} is a tuple, which no field of avro is", field.name))
        }
        super::fields::Node::Object(inner) => no_tuple(inner),
        super::fields::Node::Column(_) => Ok(()),
    })
}

/// Decodes datums.
struct Datums {
    schemas: Arc<dyn Schemas>,
    targets: Vec<Target>,
    slots: usize,
    as_text: bool,
    /// How datums of a schema are read, by its id.
    plans: HashMap<u32, Result<Rc<Plan>, String>>,
}

impl Datums {
    fn plan(&mut self, id: u32) -> Result<Rc<Plan>, Undecoded> {
        if !self.plans.contains_key(&id) {
            let plan = match self.schemas.get(id) {
                Found::NotYet => return Err(Undecoded::NotYet),
                // It may be there later.
                Found::Never(why) => return Err(Malformed(format!("schema {id}: {why}").into()).into()),
                Found::There(texts) => Plan::of(&texts, &self.targets).map(Rc::new),
            };
            self.plans.insert(id, plan);
        }
        match &self.plans[&id] {
            Ok(plan) => Ok(Rc::clone(plan)),
            Err(why) => Err(Malformed(format!("schema {id}: {why}").into()).into()),
        }
    }
}

impl Decoder for Datums {
    fn decode(&mut self, payload: &[u8], _: &Record<'_>, row: &mut RowWriter<'_>) -> Result<(), Undecoded> {
        let Some((id, datum)) = parted(payload) else {
            return Err(Malformed::because("it does not begin with 0 and the id of a schema").into());
        };
        let plan = self.plan(id)?;
        let mut reading = Reading::new(datum, self.slots, self.as_text);
        reading.run(&plan, 0)?;
        reading.end()?;
        Ok(reading.write(&self.targets, row)?)
    }

    /// It is the same, whatever the id of its schema.
    fn key<'p>(&self, key: &'p [u8]) -> &'p [u8] {
        parted(key).map_or(key, |(_, datum)| datum)
    }
}

/// The id of a schema, and the datum.
fn parted(payload: &[u8]) -> Option<(u32, &[u8])> {
    let (&[magic, a, b, c, d], datum) = payload.split_first_chunk::<5>()?;
    (magic == 0).then_some((u32::from_be_bytes([a, b, c, d]), datum))
}

#[cfg(test)]
mod tests;
