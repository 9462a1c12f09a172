//! What must never be shown: passwords, tokens and keys. Whatever goes to standard error goes through [`hidden`], which
//! leaves out what is secret by its form (the value of a secret property, the user of a URL) and what is known to be secret
//! ([`learn`]). It is the last line: each message is made so that it needs none.

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use percent_encoding::percent_decode_str;

/// What stands where something secret was.
pub const HIDDEN: &str = "***";

/// The shortest secret that is looked for: what is shorter is in too many words.
const SHORTEST: usize = 4;

/// What is known to be secret, the longest first.
static KNOWN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn known() -> MutexGuard<'static, Vec<String>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Properties of librdkafka whose values are secret, and what else is called so.
const KEYS: [&str; 12] = [
    "sasl.password",
    "ssl.key.password",
    "ssl.keystore.password",
    "ssl.truststore.password",
    "ssl.key.pem",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.token",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "aws_secret_access_key",
    "aws_session_token",
];

/// True iff the value of this property is secret; of a name that is nearly one of those, too, since it may be misspelt.
pub fn is_secret(key: &str) -> bool {
    let key = key.trim_start_matches('-').to_ascii_lowercase();
    // These say where something is, not what.
    if ["location", "url", "file", "brokers"].iter().any(|end| key.ends_with(end)) {
        return false;
    }
    ["passw", "passphrase", "secret"].iter().any(|part| key.contains(part))
        || KEYS.iter().any(|secret| strsim::damerau_levenshtein(secret, &key) <= 2)
}

/// From now on, this is shown nowhere.
pub fn learn(secret: &str) {
    let mut known = known();
    let parts = std::iter::once(secret).chain(secret.lines()).map(str::trim);
    for part in parts.filter(|part| part.len() >= SHORTEST && !known_word(part)) {
        if !known.iter().any(|secret| secret == part) {
            known.push(part.to_owned());
        }
    }
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// Lines of PEM files that are in all of them.
fn known_word(text: &str) -> bool {
    text.starts_with("-----")
}

/// Learns what is secret in something that was typed: `KEY=VALUE`, a URL with a user.
pub fn learn_typed(text: &str) {
    if let Some((key, value)) = split(text)
        && is_secret(key)
    {
        learn_value(key, value);
    }
    for user in users(text) {
        learn_user(&text[user]);
    }
}

/// Learns the value of a secret property.
pub fn learn_value(key: &str, value: &str) {
    learn(value);
    // `principal=alice secret=…`
    if key.contains("oauthbearer.config") {
        value.split([' ', ',']).filter_map(|part| Some(part.split_once('=')?.1)).for_each(learn);
    }
}

fn learn_user(user: &str) {
    let password = user.split_once(':').map_or(user, |(_, password)| password);
    learn(password);
    learn(&percent_decode_str(password).decode_utf8_lossy());
}

/// Learns what is secret in the arguments and in the environment.
pub fn learn_arguments(args: &[OsString]) {
    let mut wants = false;
    let mut names_file = false;
    for arg in args.iter().skip(1).map(|arg| arg.to_string_lossy()) {
        // What follows says where something secret is, not what.
        if std::mem::replace(&mut names_file, arg == "--set-file") || arg.starts_with("--set-file=") {
            continue;
        }
        // `--sasl.password VALUE`, or `-X sasl.password VALUE`: it is wrong, and will be quoted as such.
        if std::mem::take(&mut wants) && !arg.starts_with('-') {
            learn(&arg);
        }
        learn_typed(&arg);
        // `--set=sasl.password=VALUE`, `-Xsasl.password=VALUE`
        for begin in ["--set=", "-X=", "-X"] {
            if let Some(rest) = arg.strip_prefix(begin) {
                learn_typed(rest);
            }
        }
        wants = split(&arg).is_none() && is_secret(&arg) && !arg.contains(char::is_whitespace);
    }
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        if let Ok(secret) = std::env::var(name) {
            learn(&secret);
        }
    }
    // Their other variables have addresses.
    for (name, value) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("AWS_") || name.starts_with("CUTWATER_") {
            learn_typed(&value.to_string_lossy());
        }
    }
}

/// A property and its value, however it may be mistyped.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(['=', ':'])?;
    let (key, value) = text.split_at(end);
    let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    (!key.is_empty() && key.chars().all(plain)).then_some((key, &value[1..]))
}

/// The text without what is secret in it.
pub fn hidden(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for secret in known().iter() {
        if text.contains(secret.as_str()) {
            text = Cow::Owned(text.replace(secret.as_str(), HIDDEN));
        }
    }
    hide_values(hide_users(text))
}

/// The places of `USER:PASSWORD` in a text, without the `@`: in URLs, and in what is typed where a host is expected.
fn users(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(sign) = text[at..].find("://") {
        found.extend(users_without_scheme(text, at..at + sign));
        let begin = at + sign + 3;
        let rest = &text[begin..];
        let end = rest
            .find(|c: char| c.is_whitespace() || ['/', '?', '#', '"', '\'', '<', '>', ')'].contains(&c))
            .unwrap_or(rest.len());
        let user = rest[..end].rfind('@').map(|sign| begin..begin + sign);
        at = user.as_ref().map_or(begin, |user| user.end);
        found.extend(user);
    }
    found.extend(users_without_scheme(text, at..text.len()));
    found
}

/// What may stand before a user that is typed without a scheme, and before the `@` of no user.
const BEFORE: &str = "/?#,;='\"<>(){}[]`";
/// Kinds of sinks. A place that is mistyped has them before the user.
const KINDS: [&str; 3] = ["kafka:", "webhook:", "file:"];

/// The places of `USER:PASSWORD` in a part of a text that has no URL.
fn users_without_scheme(text: &str, part: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut begin = part.start;
    for word in text[part].split(|c: char| c.is_whitespace() || BEFORE.contains(c)) {
        if let Some((user, _)) = word.rsplit_once('@') {
            let kind = KINDS.iter().find(|kind| user.starts_with(**kind)).map_or(0, |kind| kind.len());
            if user[kind..].find(':').is_some_and(|colon| colon + 1 < user.len() - kind) {
                found.push(begin + kind..begin + user.len());
            }
        }
        begin += word.len();
        begin += text[begin..].chars().next().map_or(0, char::len_utf8);
    }
    found
}

fn hide_users(text: Cow<'_, str>) -> Cow<'_, str> {
    let users = users(&text);
    if users.is_empty() {
        return text;
    }
    let mut out = text.into_owned();
    for user in users.into_iter().rev() {
        out.replace_range(user, HIDDEN);
    }
    Cow::Owned(out)
}

/// Hides what stands after `KEY=` where the key is of something secret.
fn hide_values(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('=') {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(sign) = rest.find('=') {
        let (before, after) = rest.split_at(sign);
        let begin = before
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c)))
            .map_or(0, |place| place + before[place..].chars().next().map_or(1, char::len_utf8));
        out += before;
        out.push('=');
        rest = &after[1..];
        if is_secret(&before[begin..]) {
            let end = rest.find([' ', '"', '\'', ',', '\n', ')', ';']).unwrap_or(rest.len());
            // A message may end its value with a colon.
            let value = rest[..end].trim_end_matches(':');
            if !value.is_empty() {
                out += HIDDEN;
            }
            rest = &rest[value.len()..];
        }
    }
    out += rest;
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_properties_are_known_even_misspelt_and_others_are_not() {
        for key in [
            "sasl.password",
            "sasl.pasword",
            "SASL.PASSWORD",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "ssl.keystore.password",
            "sasl.oauthbearer.config",
            "aws_secret_access_key",
            "--sasl-password",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "sasl.username",
            "ssl.key.location",
            "ssl.ca.location",
            "security.protocol",
            "group.id",
            "topic",
            "sasl.oauthbearer.token.endpoint.url",
            "partitioner",
            "--cluster-secret-file",
            "ssl.ca.pem",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn users_of_urls_and_values_of_secret_properties_are_hidden() {
        for (text, shown) in [
            ("no such host: https://me:pw@host:9/rows?a=b@c", "no such host: https://***@host:9/rows?a=b@c"),
            ("a://u@h b://h/x@y c://k:s@t@h", "a://***@h b://h/x@y c://***@h"),
            ("\"me:pw@h:9\" has more than one colon", "\"***@h:9\" has more than one colon"),
            ("--http me:p:w@x@h:1: no, a://h:1/ (me:pw@h)", "--http ***@h:1: no, a://h:1/ (***@h)"),
            ("-o a=kafka:me:pw@t, b=webhook:me:pw@h/x", "-o a=kafka:***@t, b=webhook:***@h/x"),
            (
                "file:a@b kafka:a@b me@h :@h a:@b 1:2 \u{e9}:@",
                "file:a@b kafka:a@b me@h :@h a:@b 1:2 \u{e9}:@",
            ),
            ("--set sasl.password=pw: unknown", "--set sasl.password=***: unknown"),
            ("--set sasl.pasword=a:b: unknown", "--set sasl.pasword=***: unknown"),
            ("{\"ssl.key.password=x\", \"b=c\"}", "{\"ssl.key.password=***\", \"b=c\"}"),
            ("--set group.id=a=b", "--set group.id=a=b"),
            ("\u{e9}sasl.password=x y=z", "\u{e9}sasl.password=*** y=z"),
        ] {
            assert_eq!(hidden(text), shown);
        }
        assert!(matches!(hidden("nothing to hide"), Cow::Borrowed(_)));
    }

    #[test]
    fn what_was_learned_is_hidden_wherever_it_comes() {
        let args = [
            "cutwater",
            "-X",
            "sasl.password",
            "planted-1",
            "--set=ssl.key.password=planted-2",
            "-Xsasl.password=planted-3",
            "-o",
            "webhook:https://me:planted%2D4@host",
            "--sasl.password:planted-5",
        ];
        learn_arguments(&args.map(OsString::from));
        learn_arguments(
            &["c", "--set-file", "sasl.password=/etc/a-file", "--set-file=sasl.password=/etc/b-file"]
                .map(OsString::from),
        );
        assert_eq!(hidden("from /etc/a-file, /etc/b-file"), "from /etc/a-file, /etc/b-file");
        learn("planted-6\n");
        learn_typed("sasl.oauthbearer.config=principal=alice secret=planted-7");
        for number in 1..=7 {
            let text = format!("unexpected argument 'planted-{number}' found");
            assert_eq!(hidden(&text), "unexpected argument '***' found");
        }
        assert_eq!(hidden("planted%2D4"), HIDDEN);
        learn("abc");
        assert_eq!(hidden("alphabcet"), "alphabcet", "too short to be looked for");
    }
}
