//! What a broker does not let this client do, in a line that names what is missing: an ACL, or what the client shows of
//! itself when it connects.

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode;

use super::client::{Client, Settings};
use super::tls;

/// What a user needs an ACL for.
#[derive(Clone, Copy, Debug)]
pub enum Act<'a> {
    /// To read a topic.
    Read(&'a str),
    /// To write to a topic; or to several, with commas between.
    Write(&'a str),
    /// To make a topic.
    Create(&'a str),
    /// To commit and ask for the offsets of a group.
    Group(&'a str),
    /// To write in transactions of this id.
    Transact(&'a str),
}

/// The cluster has refused something to this user.
#[derive(Debug)]
pub struct Refused {
    /// What is not allowed.
    pub code: RDKafkaErrorCode,
    /// What was done, and what the broker says.
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.why.fmt(f)
    }
}

impl std::error::Error for Refused {}

/// True iff this says that the user may not.
pub fn is_refusal(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
    )
}

impl Settings {
    /// Says that the user may not do this, and which ACL would let it.
    pub fn denied(&self, act: Act<'_>) -> anyhow::Error {
        let user = self.principal();
        let (does, acl) = match act {
            Act::Read(topic) => (format!("read topic {topic}"), format!("ACL READ on topic {topic}")),
            Act::Write(topics) => (format!("write topic {topics}"), format!("ACL WRITE on topic {topics}")),
            Act::Create(topic) => {
                (format!("make topic {topic}"), format!("ACL CREATE on topic {topic}, or on the cluster,"))
            }
            Act::Group(group) => {
                (format!("commit and ask for offsets of group {group}"), format!("ACL READ on group {group}"))
            }
            Act::Transact(id) => (
                format!("write in transactions with id {id}"),
                format!("ACL WRITE and DESCRIBE on transactional id {id}, or on the prefix cutwater-,"),
            ),
        };
        anyhow::anyhow!("the broker refuses to let {user} {does}: {acl} is missing")
    }

    /// What was refused, as the ACL that is missing; `acts` tells for the codes what was done. Other errors stay as they are.
    pub(crate) fn named(&self, error: anyhow::Error, acts: &[(RDKafkaErrorCode, Act<'_>)]) -> anyhow::Error {
        let Some(refused) = error.downcast_ref::<Refused>() else { return error };
        match acts.iter().find(|(code, _)| *code == refused.code) {
            Some((_, act)) => self.denied(*act),
            None => error,
        }
    }

    /// This client's user as ACLs name it, as far as the settings tell.
    fn principal(&self) -> String {
        let sasl = self.property("security.protocol").is_some_and(|of| of.to_lowercase().starts_with("sasl"));
        let config = self.property("sasl.oauthbearer.config").unwrap_or_default();
        let claimed = config.split([' ', ',']).find_map(|part| part.strip_prefix("principal="));
        match self.property("sasl.username").or(claimed) {
            Some(name) if sasl => format!("User:{name}"),
            _ => "this user".to_owned(),
        }
    }

    /// Whether a topic is not shown to this user, which may be there: it may not even describe it.
    pub fn is_hidden(&self, client: &BaseConsumer<Client>, topic: &str) -> bool {
        let Ok(metadata) = client.fetch_metadata(Some(topic), super::topics::REQUEST) else { return false };
        let code = RDKafkaErrorCode::TopicAuthorizationFailed;
        metadata
            .topics()
            .iter()
            .any(|there| there.error().is_some_and(|error| RDKafkaErrorCode::from(error) == code))
    }

    /// What to do where a connection was refused with these words of librdkafka: `None` where they are of an outage.
    pub(super) fn explain(&self, said: &str) -> Option<String> {
        let user = self.principal();
        let says = |text: &str| said.contains(text);
        Some(match () {
            () if says("Unsupported SASL mechanism") || says("mechanism handshake failed") => {
                "it has no such mechanism: -X sasl.mechanisms names another".to_owned()
            }
            () if says("Authentication failed") || says("SASL authentication error") => {
                format!("it refuses {user}: are user and password, or the token, right?")
            }
            () if says("certificate verify failed") => {
                let found = tls::look(said, self.property("ssl.ca.location"));
                format!("its certificate is not trusted: {found}")
            }
            () if says("alert bad certificate")
                || says("alert certificate required")
                || says("alert handshake failure")
                || says("alert certificate unknown")
                || says("alert unknown ca") =>
            {
                "it does not take this client's certificate, or wants one: -X ssl.certificate.location=FILE and \
                 -X ssl.key.location=FILE, of an authority that the broker trusts"
                    .to_owned()
            }
            () if says("connecting to a PLAINTEXT broker listener") => {
                "it speaks no TLS there: take another port, or -X security.protocol=plaintext or sasl_plaintext".to_owned()
            }
            // A broker that is on its way down hangs up as well: it is asked.
            () if (says("connecting to a SSL listener") || says("state APIVERSION_QUERY")) && tls::speaks_tls(said) => {
                "it speaks TLS there: -X security.protocol=ssl, or sasl_ssl".to_owned()
            }
            () => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> Settings {
        let properties = properties.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Settings { properties, ..Settings::default() }
    }

    #[test]
    fn what_is_denied_names_user_act_and_acl() {
        let alice = settings(&[("security.protocol", "SASL_SSL"), ("sasl.username", "alice")]);
        assert_eq!(
            alice.denied(Act::Write("counts")).to_string(),
            "the broker refuses to let User:alice write topic counts: ACL WRITE on topic counts is missing"
        );
        let bob = settings(&[
            ("security.protocol", "sasl_plaintext"),
            ("sasl.oauthbearer.config", "scope=x principal=bob"),
        ]);
        assert!(
            bob.denied(Act::Read("t"))
                .to_string()
                .contains("let User:bob read topic t: ACL READ on topic t is")
        );
        let nobody = settings(&[("security.protocol", "ssl")]);
        assert!(nobody.denied(Act::Group("g")).to_string().contains("let this user commit and ask"));
    }

    #[test]
    fn an_outage_is_no_refusal() {
        let settings = settings(&[]);
        assert_eq!(settings.explain("x:1/1: Connect to ipv4#x:1 failed: Connection refused"), None);
        assert!(settings.explain("SASL authentication error: Authentication failed").is_some());
    }
}
