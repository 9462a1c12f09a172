//! Finds the texts of an object's fields.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Path, not_json};
use crate::format::fields::{Field, Node};
use crate::record::Malformed;

/// Stands for the text of an object of which the fields have been found: their texts are behind it.
pub(super) const OBJECT: &str = "{";

/// Finds the texts of the fields of an object, and of those of the objects within, in one pass: each at its place in `found`, where
/// nothing is.
///
/// Where something is wrong, objects within are left to be read by themselves: so it is the first field with a fault that is
/// named, whatever is wrong with those after it.
pub(super) fn find<'p>(
    fields: &[Field],
    text: &'p str,
    found: &mut [Option<&'p str>],
    path: &Path<'_>,
) -> Result<(), Malformed> {
    let mut twice = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let visitor = Find { fields, found, within: true, twice: &mut twice };
    if json.deserialize_map(visitor).and_then(|()| json.end()).is_ok() {
        return Ok(());
    }
    find_of_one(fields, text, found, path)
}

/// As [`find`], without those of objects within: these are found as texts.
#[cold]
fn find_of_one<'p>(
    fields: &[Field],
    text: &'p str,
    found: &mut [Option<&'p str>],
    path: &Path<'_>,
) -> Result<(), Malformed> {
    found.fill(None);
    let mut twice = None;
    let mut json = serde_json::Deserializer::from_str(text);
    let visitor = Find { fields, found, within: false, twice: &mut twice };
    let Err(error) = json.deserialize_map(visitor).and_then(|()| json.end()) else { return Ok(()) };
    Err(match twice {
        Some(name) => path.wrong(format_args!("field {name:?} is there twice")),
        None => not_json(&error, text, "an object", path),
    })
}

struct Find<'a, 'f, 'p> {
    fields: &'f [Field],
    found: &'a mut [Option<&'p str>],
    /// True iff the fields of objects within are found as well.
    within: bool,
    twice: &'a mut Option<&'f str>,
}

impl<'p> Visitor<'p> for Find<'_, '_, 'p> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'p>>(self, mut map: A) -> Result<(), A::Error> {
        let Find { fields, found, within, twice } = self;
        let mut next = 0;
        while let Some(index) = map.next_key_seed(Name { fields, next })? {
            let Some(field) = index.map(|index| &fields[index]) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if found[field.at].is_some() {
                *twice = Some(&field.name);
                return Err(A::Error::custom("twice"));
            }
            found[field.at] = Some(match &field.node {
                Node::Object(fields) if within => {
                    let found = &mut found[field.at + 1..];
                    map.next_value_seed(Within(Find { fields, found, within, twice: &mut *twice }))?
                }
                _ => map.next_value::<&RawValue>()?.get(),
            });
            next = index.map_or(next, |index| index + 1);
        }
        Ok(())
    }
}

/// An object within, or null. Gives the text that stands for it.
struct Within<'a, 'f, 'p>(Find<'a, 'f, 'p>);

impl<'p> DeserializeSeed<'p> for Within<'_, '_, 'p> {
    type Value = &'p str;
    fn deserialize<D: Deserializer<'p>>(self, from: D) -> Result<&'p str, D::Error> {
        from.deserialize_option(self)
    }
}

impl<'p> Visitor<'p> for Within<'_, '_, 'p> {
    type Value = &'p str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_none<E>(self) -> Result<&'p str, E> {
        Ok("null")
    }

    fn visit_some<D: Deserializer<'p>>(self, from: D) -> Result<&'p str, D::Error> {
        from.deserialize_map(self.0)?;
        Ok(OBJECT)
    }
}

/// Finds the field of a name, first the one that is next.
struct Name<'a> {
    fields: &'a [Field],
    next: usize,
}

impl<'p> DeserializeSeed<'p> for Name<'_> {
    type Value = Option<usize>;
    fn deserialize<D: Deserializer<'p>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<usize>, E> {
        if self.fields.get(self.next).is_some_and(|field| field.name == name) {
            return Ok(Some(self.next));
        }
        Ok(self.fields.iter().position(|field| field.name == name))
    }
}
