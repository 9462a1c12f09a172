//! Values of the configuration file, as they would be typed.

use std::any::TypeId;
use std::ops::Range;
use std::path::PathBuf;

use clap::{Arg, ArgAction};
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

/// What is wrong with the file, and where.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) why: String,
}

/// A value, and where it stands; where it is an entry of a table, its key.
pub(super) type Placed = (String, Range<usize>);

/// The values of an option: one, several from an array, or `key=value` from each entry of a table.
///
/// `expanding`: variables of the environment are put in their places; else they stay as they are.
///
/// # Errors
/// If they are of a type that the option does not take.
pub(super) fn values(arg: &Arg, value: &Spanned<DeValue<'_>>, expanding: bool) -> Result<Vec<Placed>, Wrong> {
    let wrong = |span: Range<usize>, why: String| Wrong { span, why };
    let one = |value: &Spanned<DeValue<'_>>| {
        let scalar = scalar(arg, value.get_ref(), expanding);
        scalar.map(|text| (text, value.span())).map_err(|why| wrong(value.span(), why))
    };
    match value.get_ref() {
        DeValue::Array(values) => values.iter().map(one).collect(),
        DeValue::Table(table) if takes_pairs(arg) => {
            let mut entries: Vec<_> = table.iter().collect();
            entries.sort_by_key(|(key, _)| key.span().start);
            let pair = |(key, value): &(&Spanned<std::borrow::Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                let name = key.get_ref();
                let value = plain(value.get_ref(), expanding)
                    .map_err(|why| wrong(value.span(), format!("{name}: {why}")))?;
                Ok((format!("{name}={value}"), key.span()))
            };
            entries.iter().map(pair).collect()
        }
        _ => Ok(vec![one(value)?]),
    }
}

/// True iff the option takes `NAME=VALUE`, repeatedly.
fn takes_pairs(arg: &Arg) -> bool {
    let names = arg.get_value_names().unwrap_or_default();
    matches!(arg.get_action(), ArgAction::Append) && names.iter().any(|name| name.contains('='))
}

/// A value of an option, which says what types it may have.
fn scalar(arg: &Arg, value: &DeValue<'_>, expanding: bool) -> Result<String, String> {
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let parsed = arg.get_value_parser().type_id();
    let text = parsed == TypeId::of::<String>() || parsed == TypeId::of::<PathBuf>();
    match value {
        DeValue::Boolean(_) if flag => {}
        // What stands in a variable is text.
        DeValue::String(typed) if flag && typed.contains("${") => match plain(value, expanding)?.as_str() {
            _ if !expanding => {}
            "true" | "false" => {}
            _ => return Err("expected true or false".to_owned()),
        },
        value if flag => return Err(format!("expected true or false, but it is {}", kind(value))),
        DeValue::String(_) => {}
        DeValue::Integer(_) | DeValue::Float(_) if !text => {}
        value if text => return Err(format!("expected text in quotes, but it is {}", kind(value))),
        value => return Err(format!("expected {}, but it is {}", wanted(arg), kind(value))),
    }
    plain(value, expanding)
}

/// What an option takes, as `--help` has it.
fn wanted(arg: &Arg) -> String {
    match arg.get_value_names() {
        Some(names) => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => arg.get_id().to_string(),
    }
}

/// A value as it would be typed.
fn plain(value: &DeValue<'_>, expanding: bool) -> Result<String, String> {
    match value {
        DeValue::String(text) if expanding => expand(text),
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(decimal(number)),
        DeValue::Float(number) => Ok(number.to_string().replace('_', "")),
        DeValue::Boolean(yes) => Ok(yes.to_string()),
        other => Err(format!("{} is not a value of an option", kind(other))),
    }
}

/// A whole number in decimal digits; one that is larger than any option takes stays as it is.
fn decimal(number: &DeInteger<'_>) -> String {
    let digits = number.as_str().replace('_', "");
    i128::from_str_radix(&digits, number.radix()).map_or(digits, |number| number.to_string())
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
    }
}

/// Puts environment variables in the place of `${NAME}`: secrets don't belong in files.
pub(super) fn expand(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("there is ${ without }")?;
        out += before;
        out += &std::env::var(name).map_err(|_| format!("the environment has no {name}"))?;
        rest = after;
    }
    Ok(out + rest)
}
