//! What an option binds to an input or an output: `NAME=REST`.

use anyhow::Result;

use crate::usage::usage;

/// Splits `NAME=REST`, where `NAME` is one of `names`; without a name, `text` is for the only one.
pub(super) fn bind<'a>(
    option: &str,
    text: &'a str,
    what: &str,
    names: &'a [String],
) -> Result<(&'a str, &'a str)> {
    if let Some((name, rest)) = text.split_once('=')
        && let Some(name) = names.iter().find(|known| *known == name)
    {
        return Ok((name, rest));
    }
    // An expression or a path may hold the sign as well.
    match (names, text.split_once('=')) {
        ([only], None) => Ok((only, text)),
        ([only], Some(_)) if text.starts_with('^') || text.contains(':') => Ok((only, text)),
        (_, Some((name, _))) => {
            Err(usage(format!("{option} {text}: there is no {what} {name:?}, but {}", names.join(", "))))
        }
        (names, None) => {
            let (all, first) = (names.join(", "), names.first().map_or("NAME", String::as_str));
            Err(usage(format!("{option} {text}: for which {what}, {all}? Say {option} {first}={text}")))
        }
    }
}
