//! The columns of a schema as a tree, for formats that find values by their names.

use crate::rows::{Column, Kind};

/// A field, or an item of an array under its number.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) optional: bool,
    pub(super) node: Node,
    /// Its place among the fields around it: behind each that is an object are those within it. Of an item, its number.
    pub(super) at: usize,
}

impl Field {
    /// The places that it takes, those of fields within it included.
    fn places(&self) -> usize {
        match &self.node {
            Node::Object(fields) => 1 + places(fields),
            Node::Array(_) | Node::Column(_) => 1,
        }
    }
}

/// The places that these fields take.
pub(super) fn places(fields: &[Field]) -> usize {
    fields.last().map_or(0, |last| last.at + last.places())
}

/// What a field is.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Column(Kind),
    Object(Vec<Field>),
    Array(Vec<Field>),
}

/// The fields that these columns are.
pub(super) fn fields(columns: &[Column]) -> Vec<Field> {
    let mut at = 0;
    let mut next = |column: &Column| {
        let field = field(column.name.clone(), &column.kind, at);
        at += field.places();
        field
    };
    columns.iter().map(&mut next).collect()
}

fn field(name: String, kind: &Kind, at: usize) -> Field {
    let (kind, optional) = match kind {
        Kind::Option(kind) => (&**kind, true),
        kind => (kind, false),
    };
    let node = match kind {
        Kind::Struct(schema) => Node::Object(fields(&schema.columns)),
        Kind::Tuple(parts) => Node::Array(
            parts.iter().enumerate().map(|(index, kind)| field(index.to_string(), kind, index)).collect(),
        ),
        kind => Node::Column(kind.clone()),
    };
    Field { name, optional, node, at }
}

/// A column with its path, and whether it may be missing, itself or with what is around it.
pub(super) struct Leaf {
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) optional: bool,
}

/// The columns of these fields, in the order in which they are written.
pub(super) fn leaves(fields: &[Field]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    add(fields, "", false, &mut leaves);
    leaves
}

fn add(fields: &[Field], above: &str, optional: bool, leaves: &mut Vec<Leaf>) {
    for field in fields {
        let path = if above.is_empty() { field.name.clone() } else { format!("{above}.{}", field.name) };
        let optional = optional || field.optional;
        match &field.node {
            Node::Column(kind) => leaves.push(Leaf { path, kind: kind.clone(), optional }),
            Node::Object(fields) | Node::Array(fields) => add(fields, &path, optional, leaves),
        }
    }
}
