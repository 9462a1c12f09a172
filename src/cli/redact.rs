//! Options as they can be shown to others: without secrets.

use std::collections::BTreeMap;

use clap::ArgMatches;

use crate::secrets::{HIDDEN, hidden, is_secret};

/// The options that were typed or are the default, by their names, with what was typed.
pub(super) fn options(matches: &ArgMatches) -> BTreeMap<String, Vec<String>> {
    // Groups of options, which clap has under the names of our types, are none.
    let ids =
        matches.ids().map(clap::Id::as_str).filter(|id| id.starts_with(|c: char| c.is_ascii_lowercase()));
    let typed = ids.filter_map(|id| Some((id, matches.try_get_raw(id).ok()??)));
    let shown = typed.map(|(id, values)| {
        let values = values.map(|value| redact(id, &value.to_string_lossy())).collect();
        (id.replace('_', "-"), values)
    });
    shown.collect()
}

/// A value of an option, without secrets.
fn redact(id: &str, value: &str) -> String {
    if id == "set" {
        return match value.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
            Some(_) => hidden(value).into_owned(),
            None => HIDDEN.to_owned(),
        };
    }
    // Who has the URL of a webhook can write to it.
    let shown = match value.split_once("webhook:") {
        Some((output, url)) => format!("{output}webhook:{}", host_alone(url)),
        None => without_userinfo(value),
    };
    hidden(&shown).into_owned()
}

/// A text in which what stands before the host of a URL, and in its query, is not shown.
fn without_userinfo(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, format!("?{HIDDEN}")),
        None => (rest, String::new()),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{HIDDEN}@{host}{path}{query}"),
        None => format!("{scheme}://{authority}{path}{query}"),
    }
}

/// A URL of which only the host is shown.
fn host_alone(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return HIDDEN.to_owned() };
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}/{HIDDEN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (id, value, shown) in [
            ("brokers", "kafka:9092", "kafka:9092"),
            ("set", "sasl.password=hunter2", "sasl.password=***"),
            ("set", "sasl.oauthbearer.config=x=hunter2", "sasl.oauthbearer.config=***"),
            ("set", "ssl.key.location=/k.pem", "ssl.key.location=/k.pem"),
            ("set", "sasl.username=me", "sasl.username=me"),
            ("set", "hunter2", "***"),
            ("schema_registry", "https://me:hunter2@registry:8081/a", "https://***@registry:8081/a"),
            ("state", "s3://bucket/prefix?key=hunter2", "s3://bucket/prefix?***"),
            ("to", "counts=webhook:https://me:hunter2@host/hooks/hunter2", "counts=webhook:https://host/***"),
            ("to", "webhook:hunter2", "webhook:***"),
            ("to", "counts=kafka:counts", "counts=kafka:counts"),
        ] {
            assert_eq!(redact(id, value), shown);
        }
    }
}
