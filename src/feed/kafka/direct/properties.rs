//! What librdkafka's properties mean for direct fetches. One that means nothing here is refused: a run must not be another one
//! than the user has asked for.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio_rustls::TlsConnector;

use super::sasl::Mechanism;
use super::tls;
use crate::address;
use crate::kafka::client::Settings;
use crate::kafka::credentials;
use crate::kafka::identity::Pinned;

/// Properties that mean the same here as for librdkafka, with their defaults, unless Cutwater has others.
const HONOURED: [(&str, &str); 15] = [
    ("bootstrap.servers", ""),
    ("check.crcs", "false"),
    ("client.id", "cutwater"),
    ("fetch.max.bytes", "52428800"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.min.bytes", "1"),
    ("fetch.wait.max.ms", "500"),
    ("isolation.level", "read_committed"),
    ("max.partition.fetch.bytes", "1048576"),
    ("receive.message.max.bytes", "100000000"),
    ("sasl.mechanism", "GSSAPI"),
    ("sasl.mechanisms", "GSSAPI"),
    ("sasl.password", ""),
    ("sasl.username", ""),
    ("security.protocol", "plaintext"),
];

/// Properties that begin with one of these are about connections or fetches.
const ABOUT_FETCHES: [&str; 15] = [
    "api.version.",
    "broker.",
    "check.",
    "client.",
    "connections.",
    "enable.sasl.",
    "enable.ssl.",
    "fetch.",
    "isolation.",
    "max.partition.",
    "queued.",
    "sasl.",
    "security.",
    "socket.",
    "ssl.",
];

/// The properties that are set.
pub(super) struct Properties<'a>(&'a Settings);

impl<'a> Properties<'a> {
    /// Those of these settings.
    ///
    /// # Errors
    /// If one can't be honoured: names it.
    pub(super) fn of(settings: &'a Settings) -> Result<Self> {
        for key in
            settings.properties.iter().map(|(key, _)| key).chain(settings.files.iter().map(|(key, _)| key))
        {
            let honoured =
                HONOURED.iter().any(|(known, _)| known == key) || tls::HONOURED.contains(&key.as_str());
            if !honoured && ABOUT_FETCHES.iter().any(|prefix| key.starts_with(prefix)) {
                bail!(
                    "--fetch direct does not know the property {key}: leave it out, or read with --fetch librdkafka"
                );
            }
            if settings.files.iter().any(|(of_file, _)| of_file == key) && !key.starts_with("sasl.") {
                bail!(
                    "--fetch direct reads user and password from files, not {key}: read with --fetch librdkafka"
                );
            }
        }
        Ok(Properties(settings))
    }

    /// What the user has set.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.property(key)
    }

    /// What is set, by the user, by Cutwater, or by default.
    fn value(&self, key: &str) -> &'a str {
        let set = self.get(key).or_else(|| Settings::fetch_default(key));
        set.or_else(|| HONOURED.iter().find(|(known, _)| *known == key).map(|(_, value)| *value))
            .unwrap_or("")
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T> {
        let value = self.value(key);
        value.parse().ok().with_context(|| format!("--set {key}={value}: a whole number is wanted"))
    }
}

/// How brokers are asked.
pub(super) struct Options {
    /// The brokers that the user has named, `host:port`.
    pub(super) brokers: Vec<String>,
    pub(super) access: Access,
    /// How long a broker may wait for records.
    pub(super) wait: Duration,
    /// Bytes for which it waits.
    pub(super) least: i32,
    /// Bytes of an answer, and of one partition in it.
    pub(super) most: i32,
    pub(super) of_partition: i32,
    /// Only what is committed.
    pub(super) committed: bool,
    /// Checksums are looked at.
    pub(super) checked: bool,
    /// What a batch may expand to, in bytes.
    pub(super) expands_to: usize,
    /// The ids that topics must keep.
    pub(super) ids: Pinned,
}

/// How a broker lets us in.
#[derive(Clone)]
pub(super) struct Access {
    /// What brokers call us in their logs and quotas.
    pub(super) client: String,
    /// The most bytes of an answer.
    pub(super) most: usize,
    pub(super) tls: Option<TlsConnector>,
    pub(super) login: Option<Login>,
}

/// How we prove who we are.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) mechanism: Mechanism,
    user: String,
    password: String,
}

impl Login {
    /// User and password as they are now: those of files may be renewed.
    pub(super) fn now(&self) -> (String, String) {
        credentials::newest().unwrap_or_else(|| (self.user.clone(), self.password.clone()))
    }
}

impl Options {
    /// As these settings say.
    ///
    /// # Errors
    /// If a property can't be honoured: names it.
    pub(super) fn of(settings: &Settings, ids: &Pinned) -> Result<Self> {
        let properties = Properties::of(settings)?;
        let old_name = "fetch.message.max.bytes";
        let of_partition =
            if properties.get(old_name).is_some() { old_name } else { "max.partition.fetch.bytes" };
        let brokers = properties.get("bootstrap.servers").unwrap_or(&settings.brokers);
        Ok(Options {
            brokers: address::of_brokers(brokers),
            access: access(&properties, settings)?,
            wait: Duration::from_millis(properties.number("fetch.wait.max.ms")?),
            least: properties.number("fetch.min.bytes")?,
            most: properties.number("fetch.max.bytes")?,
            of_partition: properties.number(of_partition)?,
            committed: properties.value("isolation.level") == "read_committed",
            checked: properties.value("check.crcs") == "true",
            expands_to: properties.number("receive.message.max.bytes")?,
            ids: ids.clone(),
        })
    }
}

fn access(properties: &Properties<'_>, settings: &Settings) -> Result<Access> {
    let protocol = properties.value("security.protocol").to_lowercase();
    let (tls, sasl) = match protocol.as_str() {
        "plaintext" => (false, false),
        "ssl" => (true, false),
        "sasl_plaintext" => (false, true),
        "sasl_ssl" => (true, true),
        other => bail!("security.protocol={other}: plaintext, ssl, sasl_plaintext or sasl_ssl is wanted"),
    };
    let login = || -> Result<Login> {
        let one = properties
            .get("sasl.mechanism")
            .or_else(|| properties.get("sasl.mechanisms"))
            .unwrap_or("GSSAPI");
        let mechanism = Mechanism::of(one)?;
        let of = |key: &str| settings.files.iter().any(|(of_file, _)| of_file == key);
        let named =
            |key: &str| properties.get(key).map(str::to_owned).filter(|value| !value.is_empty() || of(key));
        let missing =
            |key: &str| if of(key) { Ok(String::new()) } else { Err(anyhow::anyhow!("{key} is to be set")) };
        let user = named("sasl.username").map_or_else(|| missing("sasl.username"), Ok)?;
        let password = named("sasl.password").map_or_else(|| missing("sasl.password"), Ok)?;
        Ok(Login { mechanism, user, password })
    };
    Ok(Access {
        client: properties.value("client.id").to_owned(),
        most: properties.number("receive.message.max.bytes")?,
        tls: if tls { Some(tls::connector(properties)?) } else { None },
        login: if sasl { Some(login()?) } else { None },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(properties: &[(&str, &str)]) -> Result<Options> {
        let properties =
            properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = Settings { brokers: "one,two:19092".into(), properties, ..Settings::default() };
        Options::of(&settings, &Pinned::default())
    }

    #[test]
    fn what_is_set_wins_over_what_is_ours() {
        let usual = options(&[]).expect("nothing is set");
        assert_eq!(usual.brokers, ["one:9092", "two:19092"]);
        assert!(
            usual.committed && usual.checked && usual.access.tls.is_none() && usual.access.login.is_none()
        );
        assert_eq!((usual.of_partition, usual.wait), (262_144, Duration::from_millis(500)));
        let set = options(&[("check.crcs", "false"), ("fetch.wait.max.ms", "7"), ("linger.ms", "1")]);
        let set = set.expect("they are known, or of producers");
        assert!(!set.checked);
        assert_eq!(set.wait, Duration::from_millis(7));
    }

    #[test]
    fn what_means_nothing_here_is_named() {
        for (properties, named) in [
            (&[("client.rack", "a")][..], "client.rack"),
            (&[("ssl.cipher.suites", "x")], "ssl.cipher.suites"),
            (&[("security.protocol", "sasl_ssl"), ("sasl.mechanisms", "OAUTHBEARER")], "OAUTHBEARER"),
            (&[("security.protocol", "sasl_plaintext"), ("sasl.mechanisms", "PLAIN")], "sasl.username"),
            (&[("security.protocol", "ssl"), ("ssl.ca.location", "/not/there")], "/not/there"),
            (&[("security.protocol", "ssl"), ("ssl.key.location", "x")], "ssl.certificate.location"),
            (&[("fetch.min.bytes", "many")], "fetch.min.bytes=many"),
        ] {
            let error = options(properties).err().expect("it can't be honoured");
            assert!(format!("{error:#}").contains(named), "{error:#}");
        }
    }
}
