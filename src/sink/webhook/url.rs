//! Where a webhook is: a URL, whose password nobody is shown.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use crate::address;

/// A URL as typed. It is shown without what may be secret in it: user, password, query.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

/// Where to send requests.
#[derive(Debug)]
pub(crate) struct Place {
    /// Without user and password.
    pub(crate) uri: Uri,
    /// The header `Authorization`, where the URL names a user.
    pub(crate) authorization: Option<String>,
}

impl Url {
    /// What was typed, whether or not it is one.
    pub fn typed(text: &str) -> Self {
        Url(text.to_owned())
    }

    /// Checks it, without a connection.
    ///
    /// # Errors
    /// If it is none of http or https.
    pub fn check(&self) -> Result<(), String> {
        self.place().map(drop)
    }

    pub(crate) fn place(&self) -> Result<Place, String> {
        let (scheme, user, rest) = self.parts();
        if !["http", "https"].contains(&scheme) {
            return Err(format!("{self} is not a URL that begins with http:// or https://"));
        }
        let uri: Uri =
            format!("{scheme}://{rest}").parse().map_err(|error| format!("{self} is not a URL: {error}"))?;
        if uri.host().is_none_or(str::is_empty) {
            return Err(format!("{self} names no host"));
        }
        if let Some(authority) = uri.authority() {
            address::check_authority(authority.as_str()).map_err(|error| format!("{self}: {error}"))?;
        }
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let mut plain: Vec<u8> = percent_decode_str(name).collect();
            plain.push(b':');
            plain.extend(percent_decode_str(password));
            format!("Basic {}", STANDARD.encode(plain))
        });
        Ok(Place { uri, authorization })
    }

    /// The scheme, user and password, and what follows.
    fn parts(&self) -> (&str, Option<&str>, &str) {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let host_ends = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        match rest[..host_ends].rfind('@') {
            Some(at) => (scheme, Some(&rest[..at]), &rest[at + 1..]),
            None => (scheme, None, rest),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, _, rest) = self.parts();
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        if scheme.is_empty() { write!(f, "{rest:?}") } else { write!(f, "{scheme}://{rest}") }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_become_a_header() {
        let place = Url::typed("https://me:p%40ss@w@host:8443/rows?x=1").place().unwrap();
        assert_eq!(place.uri.to_string(), "https://host:8443/rows?x=1");
        assert_eq!(place.authorization.unwrap(), format!("Basic {}", STANDARD.encode("me:p@ss@w")));
        assert_eq!(Url::typed("http://host").place().unwrap().authorization, None);
        assert_eq!(Url::typed("http://host/a@b").place().unwrap().uri.path(), "/a@b");
    }

    #[test]
    fn secrets_are_not_shown() {
        for text in [
            "https://me:secret@host/rows",
            "https://host/rows?token=secret",
            "ftp://me:secret@host/rows",
            "me:secret@host/rows",
            "https://me:secret@",
            "https://me:secret@ho st",
        ] {
            let url = Url::typed(text);
            let error = url.check().err().unwrap_or_default();
            let shown = format!("{url} {url:?} {error}");
            assert!(!shown.contains("secret"), "{shown}");
        }
    }

    #[test]
    fn other_things_are_refused() {
        for wrong in [
            "",
            "host/rows",
            "ftp://host",
            "http://",
            "http:///rows",
            "https://a b",
            "http://host:99999",
            "http://host:0/rows",
            "http://me:pw@host:x",
        ] {
            assert!(Url::typed(wrong).check().is_err(), "{wrong}");
        }
    }
}
