//! A file of rules, and what it makes of a record.

use std::borrow::Cow;
use std::sync::Arc;

use super::field::{self, Field, Scratch};
use super::keep::{self, Keep};
use crate::input::Refined;
use crate::record::Malformed;
use crate::rows::{Column, DynRef, DynRow, Kind, Row as _, Schema, Value};
use crate::rule_file::{self, Rule};

/// The rules by which records are cleansed.
#[derive(Clone, Debug)]
pub struct Rules(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    fields: Vec<Field>,
    keeps: Vec<Keep>,
    /// What is read of a record.
    reads: Vec<Column>,
}

/// The tables of a file of rules.
const KINDS: &rule_file::Kinds = &[("field", field::KEYS), ("keep", keep::KEYS)];

impl Rules {
    /// Reads a file.
    ///
    /// # Errors
    /// If it can't be read, or a rule can't be: names file, table and key, what was found and what to do.
    pub fn read(path: &str) -> Result<Self, String> {
        Rules::of(path, rule_file::read(path, KINDS)?)
    }

    /// As [`Rules::read`], of a text; `file` is what mistakes call it.
    ///
    /// # Errors
    /// As [`Rules::read`].
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        Rules::of(file, rule_file::parse(file, text, KINDS)?)
    }

    fn of(file: &str, rules: Vec<Vec<Rule>>) -> Result<Self, String> {
        let mut rules = rules.into_iter();
        let (field_rules, keep_rules) = (rules.next().unwrap_or_default(), rules.next().unwrap_or_default());
        let mut fields: Vec<Field> = Vec::new();
        let mut tree = Tree::default();
        for mut rule in field_rules {
            let field = Field::parse(&mut rule)?;
            if fields.iter().any(|other| other.name == field.name) {
                return Err(rule.wrong_key("name", "another field has that name: choose another"));
            }
            tree.add(&field.from).map_err(|why| rule.wrong_key("from", why))?;
            fields.push(field);
        }
        if fields.is_empty() {
            return Err(format!(
                "{file}: it has no [[field]], so nothing would come out: write one for each column"
            ));
        }
        let paths = tree.paths("");
        for field in &mut fields {
            field.column = paths.iter().position(|path| *path == field.from).expect("it was added");
        }
        let keeps = keep_rules.into_iter().map(|mut rule| Keep::parse(&mut rule, &fields));
        let keeps = keeps.collect::<Result<_, String>>()?;
        Ok(Rules(Arc::new(Parts { fields, keeps, reads: tree.columns(true) })))
    }

    /// The columns that are read of a record: all as text, and all may be missing.
    pub(super) fn reads(&self) -> Schema {
        Schema { name: "record".to_owned(), columns: self.0.reads.clone(), key: 0 }
    }

    /// The columns that come out, all of them the key: rows are told apart by all that is in them.
    pub(super) fn writes(&self) -> Schema {
        let columns: Vec<Column> =
            self.0.fields.iter().map(|field| Column::new(field.name.as_str(), Kind::Any)).collect();
        Schema { name: "clean".to_owned(), key: columns.len(), columns }
    }

    /// Cleanses a row.
    ///
    /// # Errors
    /// If it breaks a rule: names the field.
    pub(super) fn apply(&self, row: DynRef<'_>, out: &mut Refined<'_, DynRow>) -> Result<(), Malformed> {
        let Parts { fields, keeps, .. } = &*self.0;
        let texts: Vec<Result<Option<Cow<'_, str>>, NotText>> = row.values().map(text).collect();
        let text = |field: &Field| match texts.get(field.column) {
            Some(Ok(text)) => Ok(text.as_deref()),
            Some(Err(NotText)) => Err(Malformed(format!("{}: it is not UTF-8", field.name).into())),
            None => Ok(None),
        };
        let mut scratch = Scratch::default();
        // A record that is none of ours is no evidence, whatever else is wrong with it.
        for keep in keeps {
            let field = &fields[keep.field];
            if !keep.keeps(field.value(text(field)?, &mut scratch)?) {
                return Ok(());
            }
        }
        let mut clean = DynRow::default();
        for field in fields {
            let value = field.value(text(field)?, &mut scratch)?;
            clean.push(value.unwrap_or(Value::Null));
        }
        out.set(clean.borrow());
        Ok(())
    }
}

/// A key or a header that is no text, in a field that is.
struct NotText;

/// What a value is as text; `None` where it is missing. Columns that are the record's own are of other types.
fn text(value: Value<'_>) -> Result<Option<Cow<'_, str>>, NotText> {
    Ok(match value {
        Value::Text(text) => Some(text.into()),
        Value::Int(number) => Some(number.to_string().into()),
        Value::Timestamp(time) => Some(time.to_string().into()),
        Value::Bytes(bytes) => Some(std::str::from_utf8(bytes).map_err(|_| NotText)?.into()),
        _ => None,
    })
}

/// The paths of all fields, those within others below them, in the order in which they are named.
#[derive(Default)]
struct Tree {
    /// With what is below each; nothing, where it is a value.
    children: Vec<(String, Tree)>,
}

impl Tree {
    fn add(&mut self, path: &str) -> Result<(), String> {
        let mut at = self;
        // What is the record's own has a dot in its name.
        let parts: Vec<&str> =
            if crate::format::is_own(path) { vec![path] } else { path.split('.').collect() };
        if parts.len() > 1 && crate::format::is_own(parts[0]) {
            return Err(format!("in {path:?}, {:?} is the record's own, which has nothing within", parts[0]));
        }
        let (mut parts, mut is_new) = (parts.into_iter().peekable(), false);
        while let Some(part) = parts.next() {
            let index = at.children.iter().position(|(name, _)| name == part);
            let index = index.unwrap_or_else(|| {
                is_new = true;
                at.children.push((part.to_owned(), Tree::default()));
                at.children.len() - 1
            });
            at = &mut at.children[index].1;
            // What was there is a value, or is none.
            if !is_new && parts.peek().is_some() == at.children.is_empty() {
                return Err(format!(
                    "in {path:?}, {part:?} is a value for one field and has others within for another"
                ));
            }
        }
        Ok(())
    }

    /// The paths of the values, in order.
    fn paths(&self, above: &str) -> Vec<String> {
        let within = |(name, below): &(String, Tree)| {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            if below.children.is_empty() { vec![path] } else { below.paths(&path) }
        };
        self.children.iter().flat_map(within).collect()
    }

    /// The columns that they are. At the `top`, some are the record's own.
    fn columns(&self, top: bool) -> Vec<Column> {
        let column = |(name, below): &(String, Tree)| {
            let kind = if below.children.is_empty() {
                Kind::Text
            } else {
                Kind::Struct(Schema { name: name.clone(), columns: below.columns(false), key: 0 })
            };
            match top && crate::format::is_own(name) {
                true => Column::new(name.as_str(), Kind::Any),
                false => Column::new(name.as_str(), Kind::Option(Box::new(kind))),
            }
        };
        self.children.iter().map(column).collect()
    }
}
