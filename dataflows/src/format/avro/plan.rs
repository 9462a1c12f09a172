//! How datums of a schema are read into columns: made once for each schema.

use std::collections::HashMap;

use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UuidSchema};

use crate::format::fields::{Field, Node};
use crate::rows::Kind;

/// A column or a struct that is to be filled.
pub(super) struct Target {
    pub(super) path: String,
    name: String,
    pub(super) optional: bool,
    /// Where its value is put.
    pub(super) slot: usize,
    pub(super) node: TargetNode,
}

pub(super) enum TargetNode {
    Column(Kind),
    Struct(Vec<Target>),
}

impl Target {
    /// Those of these fields.
    pub(super) fn all(fields: Vec<Field>) -> Vec<Target> {
        Target::under("", fields, &mut 0)
    }

    fn under(above: &str, fields: Vec<Field>, next: &mut usize) -> Vec<Target> {
        let target = |field: Field| {
            let path = if above.is_empty() { field.name.clone() } else { format!("{above}.{}", field.name) };
            let slot = *next;
            *next += 1;
            let node = match field.node {
                Node::Column(kind) => TargetNode::Column(kind),
                Node::Object(fields) | Node::Array(fields) => {
                    TargetNode::Struct(Target::under(&path, fields, next))
                }
            };
            Target { path, name: field.name, optional: field.optional, slot, node }
        };
        fields.into_iter().map(target).collect()
    }

    /// How many slots it takes.
    pub(super) fn slots(&self) -> usize {
        1 + match &self.node {
            TargetNode::Column(_) => 0,
            TargetNode::Struct(within) => within.iter().map(Target::slots).sum(),
        }
    }
}

/// How a value is read, and where it is put.
pub(super) enum Plan {
    /// Passed over.
    Skip(Shape),
    /// A value of one column.
    Take { scalar: Scalar, slot: usize, kind: Kind, path: String },
    /// The fields of a record, by name, in order; where that it is there is put.
    Record(Vec<(String, Plan)>, Option<usize>),
    /// One of them, by its number.
    Union(Vec<Plan>),
    /// No such value can be put there: where, and why.
    Wrong(String),
    /// The plan of a schema, and the shapes of its named types.
    Top(Box<Plan>, Vec<Shape>),
}

/// How many bytes a value takes.
pub(super) enum Shape {
    Scalar(Scalar),
    Array(Box<Shape>),
    Map(Box<Shape>),
    Union(Vec<Shape>),
    Record(Vec<Shape>),
    /// A named type, which may have itself within.
    Named(usize),
}

/// A value that is one column.
#[derive(Clone)]
pub(super) enum Scalar {
    Null,
    Bool,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    /// Of so many digits after the point, as so many bytes, or as many as are said.
    Decimal(u32, Option<usize>),
    /// Units a second, of a time.
    Time(i64),
    Days,
}

type Avro = apache_avro::Schema;

impl Plan {
    /// How to read datums of the last of these schemas; the others are those that it names.
    pub(super) fn of(texts: &[String], targets: &[Target]) -> Result<Self, String> {
        let (last, others) = texts.split_last().ok_or("it is empty")?;
        // What the parser says quotes the schema, and that may be long.
        let (schema, others) =
            Avro::parse_str_with_list(last, others).map_err(|_| "it is no schema of avro")?;
        let mut planning = Planning::default();
        others.iter().for_each(|schema| planning.name(schema));
        planning.name(&schema);
        let plan = match (planning.resolved(&schema), targets) {
            (Avro::Record(_) | Avro::Union(_), _) => planning.fields(&schema, targets, None),
            (_, [target]) if matches!(target.node, TargetNode::Column(_)) => planning.take(&schema, target),
            _ => Plan::Wrong("expected a record, found a value alone".to_owned()),
        };
        let shapes = planning.shapes.into_iter().map(|shape| shape.unwrap_or(Shape::Record(Vec::new())));
        Ok(Plan::Top(Box::new(plan), shapes.collect()))
    }
}

#[derive(Default)]
struct Planning<'s> {
    named: HashMap<String, &'s Avro>,
    /// The place of a named type's shape.
    places: HashMap<String, usize>,
    shapes: Vec<Option<Shape>>,
}

impl<'s> Planning<'s> {
    /// Notes the named types within.
    fn name(&mut self, schema: &'s Avro) {
        if let Some(name) = schema.name() {
            if matches!(schema, Avro::Ref { .. }) {
                return;
            }
            self.named.insert(name.fullname(None), schema);
        }
        match schema {
            Avro::Array(array) => self.name(&array.items),
            Avro::Map(map) => self.name(&map.types),
            Avro::Union(union) => union.variants().iter().for_each(|schema| self.name(schema)),
            Avro::Record(record) => record.fields.iter().for_each(|field| self.name(&field.schema)),
            _ => {}
        }
    }

    fn resolved(&self, schema: &'s Avro) -> &'s Avro {
        match schema {
            Avro::Ref { name } => self.named.get(&name.fullname(None)).copied().unwrap_or(schema),
            schema => schema,
        }
    }

    /// How to fill the columns of a struct. `slot`: where that it is there is put.
    fn fields(&mut self, schema: &'s Avro, targets: &[Target], slot: Option<usize>) -> Plan {
        match self.resolved(schema) {
            Avro::Record(record) => Plan::Record(self.record(record, targets), slot),
            Avro::Union(union) => {
                let branches = union.variants().iter().map(|schema| match schema {
                    Avro::Null if slot.is_some() => Plan::Skip(Shape::Scalar(Scalar::Null)),
                    schema => self.fields(schema, targets, slot),
                });
                Plan::Union(branches.collect())
            }
            _ => Plan::Wrong("expected a record".to_owned()),
        }
    }

    fn record(&mut self, record: &'s RecordSchema, targets: &[Target]) -> Vec<(String, Plan)> {
        let mut plans = Vec::new();
        for field in &record.fields {
            let target = targets.iter().find(|target| target.name == field.name);
            let plan = match target {
                None => Plan::Skip(self.shape(&field.schema)),
                Some(target) => self.take(&field.schema, target),
            };
            plans.push((field.name.clone(), plan));
        }
        plans
    }

    fn take(&mut self, schema: &'s Avro, target: &Target) -> Plan {
        let kind = match &target.node {
            TargetNode::Column(kind) => kind,
            TargetNode::Struct(within) => {
                return match self.fields(schema, within, Some(target.slot)) {
                    Plan::Wrong(why) => Plan::Wrong(format!("{}: {why}", target.path)),
                    plan => plan,
                };
            }
        };
        match self.resolved(schema) {
            Avro::Union(union) => {
                Plan::Union(union.variants().iter().map(|schema| self.take(schema, target)).collect())
            }
            schema => match scalar(schema) {
                Some(scalar) => {
                    Plan::Take { scalar, slot: target.slot, kind: kind.clone(), path: target.path.clone() }
                }
                None => Plan::Wrong(format!("{}: expected {kind}, found {}", target.path, several(schema))),
            },
        }
    }

    /// The shape of a value that is passed over.
    fn shape(&mut self, schema: &'s Avro) -> Shape {
        let schema = self.resolved(schema);
        match schema {
            Avro::Array(array) => Shape::Array(Box::new(self.shape(&array.items))),
            Avro::Map(map) => Shape::Map(Box::new(self.shape(&map.types))),
            Avro::Union(union) => {
                Shape::Union(union.variants().iter().map(|schema| self.shape(schema)).collect())
            }
            Avro::Record(record) => {
                let name = record.name.fullname(None);
                if let Some(&place) = self.places.get(&name) {
                    return Shape::Named(place);
                }
                let place = self.shapes.len();
                self.places.insert(name, place);
                self.shapes.push(None);
                let shape =
                    Shape::Record(record.fields.iter().map(|field| self.shape(&field.schema)).collect());
                self.shapes[place] = Some(shape);
                Shape::Named(place)
            }
            schema => Shape::Scalar(scalar(schema).unwrap_or(Scalar::Null)),
        }
    }
}

/// The scalar that a schema is.
fn scalar(schema: &Avro) -> Option<Scalar> {
    Some(match schema {
        Avro::Null => Scalar::Null,
        Avro::Boolean => Scalar::Bool,
        Avro::Int | Avro::Long | Avro::TimeMillis | Avro::TimeMicros => Scalar::Long,
        Avro::Float => Scalar::Float,
        Avro::Double => Scalar::Double,
        Avro::Bytes | Avro::BigDecimal => Scalar::Bytes,
        Avro::String => Scalar::Text,
        Avro::Fixed(fixed) | Avro::Duration(fixed) => Scalar::Fixed(fixed.size),
        Avro::Enum(symbols) => Scalar::Enum(symbols.symbols.clone()),
        Avro::Uuid(UuidSchema::String) => Scalar::Text,
        Avro::Uuid(UuidSchema::Bytes) => Scalar::Bytes,
        Avro::Uuid(UuidSchema::Fixed(fixed)) => Scalar::Fixed(fixed.size),
        Avro::Decimal(decimal) => {
            let size = match &decimal.inner {
                InnerDecimalSchema::Bytes => None,
                InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
            };
            Scalar::Decimal(u32::try_from(decimal.scale).unwrap_or(u32::MAX), size)
        }
        Avro::Date => Scalar::Days,
        Avro::TimestampMillis | Avro::LocalTimestampMillis => Scalar::Time(1_000),
        Avro::TimestampMicros | Avro::LocalTimestampMicros => Scalar::Time(1_000_000),
        Avro::TimestampNanos | Avro::LocalTimestampNanos => Scalar::Time(1_000_000_000),
        Avro::Array(_) | Avro::Map(_) | Avro::Union(_) | Avro::Record(_) | Avro::Ref { .. } => return None,
    })
}

fn several(schema: &Avro) -> &'static str {
    match schema {
        Avro::Array(_) => "an array",
        Avro::Map(_) => "a map",
        Avro::Record(_) => "a record",
        _ => "a type that is not there",
    }
}
