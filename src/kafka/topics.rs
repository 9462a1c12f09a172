//! Topics: finding those that are named, telling what comes close where one is missing, and making one.

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use futures_executor::block_on;
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use regex::Regex;

use super::access::{Act, is_refusal};
use super::client::{Client, Settings};
use crate::fault::Fault;
use crate::shown::count;

/// Topics that an input is bound to: one by its name, or all whose names match.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// One topic.
    Name(String),
    /// All topics whose names match, those included that are made later.
    Regex {
        /// Matches whole names.
        regex: Regex,
        /// The expression, as typed.
        typed: String,
    },
}

impl Pattern {
    /// Reads `NAME`, or `^REGEX`, which is matched against the whole name.
    ///
    /// # Errors
    /// If the expression is not one.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix('^') {
            match Regex::new(&format!("^(?:{})$", rest.strip_suffix('$').unwrap_or(rest))) {
                Ok(regex) => Ok(Pattern::Regex { regex, typed: text.to_owned() }),
                Err(error) => {
                    // The lines before the last show the expression, which is not quite what was typed.
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    bail!("--topic {text}: not a regular expression: {why}")
                }
            }
        } else if text.is_empty() {
            bail!("--topic: the topic's name is empty")
        } else {
            Ok(Pattern::Name(text.to_owned()))
        }
    }

    /// True iff the topic is one of those.
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Pattern::Name(name) => name == topic,
            // Kafka's own topics begin with two underscores.
            Pattern::Regex { regex, .. } => regex.is_match(topic) && !topic.starts_with("__"),
        }
    }
}

/// A topic and how many partitions it has.
pub type Topic = (String, i32);

/// How long one request for metadata may take.
pub(super) const REQUEST: Duration = Duration::from_secs(5);
/// How long making a topic may take.
const CREATE: Duration = Duration::from_secs(30);
/// How long a cluster may take to make a topic that was named to it.
const INVITE: Duration = Duration::from_secs(3);
/// Partitions of one topic that can be asked for: more are a slip of the keyboard.
const MOST_PARTITIONS: i32 = 100_000;
/// For how long to try again where a broker refuses a connection.
const REFUSED: Duration = Duration::from_secs(4);
/// How often to say that a broker does not answer.
const TELL: Duration = Duration::from_secs(5);

/// Waits until a broker of the cluster answers.
///
/// # Errors
/// If none has after the connect timeout: it says who was asked and what was heard last.
pub fn connect(client: &BaseConsumer<Client>, settings: &Settings) -> Result<()> {
    let start = Instant::now();
    let mut told = start;
    loop {
        let left = settings.connect_timeout.saturating_sub(start.elapsed());
        // Waits by itself, up to that time, for a broker that is up.
        let error = match client
            .fetch_metadata(None, left.clamp(Duration::from_millis(100), Duration::from_secs(2)))
        {
            Ok(metadata) => {
                client.context().some_answered(&metadata);
                return Ok(());
            }
            Err(error) => error,
        };
        serve(client);
        let heard = client.context().last_failure().unwrap_or_else(|| error.to_string());
        // Another broker may let us in, or one that has just started knows its users a moment later.
        if start.elapsed() >= REFUSED
            && let Some(what) = settings.explain(&heard)
        {
            bail!("the broker does not let this run in: {what} ({heard})");
        }
        if left.is_zero() {
            bail!(
                "no broker at {} answered within {} ({heard}); is the address right and the broker up? \
                 --connect-timeout sets how long to wait",
                settings.brokers,
                humantime::format_duration(settings.connect_timeout),
            );
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            tracing::warn!(
                "no answer from {} yet ({heard}); trying for another {} s",
                settings.brokers,
                left.as_secs()
            );
        }
    }
}

/// Hands the client's errors to its context. Without this they would wait, and pile up.
fn serve(client: &BaseConsumer<Client>) {
    client.context().log_in(client.client());
    while client.poll(Duration::ZERO).is_some() {}
}

/// A topic that was named is not there.
#[derive(Debug)]
pub struct Missing {
    name: String,
    text: String,
}

impl Missing {
    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.text.fmt(f)
    }
}

impl std::error::Error for Missing {}

/// How Kafka's own tool makes a topic, for messages.
pub fn how_to_make(brokers: &str, name: &str) -> String {
    format!("kafka-topics.sh --bootstrap-server {brokers} --create --topic {name} --partitions N")
}

/// The topics that match any of `patterns`, in order of their names.
///
/// # Errors
/// If the cluster does not answer, or a named topic is not there: it names those that come close.
pub fn find(client: &BaseConsumer<Client>, patterns: &[Pattern]) -> Result<Vec<Topic>> {
    let all = list(client)?;
    for pattern in patterns {
        if let Pattern::Name(name) = pattern
            && !all.iter().any(|(topic, _)| topic == name)
        {
            return Err(Missing { name: name.clone(), text: missing(name, &all) }.into());
        }
    }
    Ok(all.into_iter().filter(|(topic, _)| patterns.iter().any(|pattern| pattern.matches(topic))).collect())
}

/// All topics of the cluster, in order of their names.
///
/// # Errors
/// If the cluster does not answer.
pub fn list(client: &BaseConsumer<Client>) -> Result<Vec<Topic>> {
    serve(client);
    let metadata = client.fetch_metadata(None, REQUEST)?;
    client.context().some_answered(&metadata);
    Ok(all(&metadata))
}

/// For how long a topic that is not there is looked for: a broker learns of one that was made a moment ago after others do.
const SETTLED: Duration = Duration::from_secs(2);

/// Asks again, for two seconds at most, as long as what it gives is not `settled`.
///
/// # Errors
/// Those of `ask`; or another part of the run has failed.
pub fn settled<T>(
    fault: &Fault,
    mut ask: impl FnMut() -> Result<T>,
    settled: impl Fn(&Result<T>) -> bool,
) -> Result<T> {
    let end = Instant::now() + SETTLED;
    loop {
        let answer = ask();
        if settled(&answer) || Instant::now() > end {
            return answer;
        }
        fault.pause(SETTLED / 20)?;
    }
}

/// The partitions of topics that are made where they are missing, and how many copies of each there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Making {
    /// Partitions.
    pub partitions: i32,
    /// Copies of each partition; as many as the cluster makes by default where it is `None`.
    pub replication: Option<i32>,
}

impl FromStr for Making {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, most: i32| match text.parse() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!(
                "{text:?} is not a whole number from 1 to {most}: expected PARTITIONS[:REPLICATION]"
            )),
        };
        let (partitions, replication) = match text.split_once(':') {
            Some((partitions, replication)) => (partitions, Some(number(replication, i32::from(i16::MAX))?)),
            None => (text, None),
        };
        Ok(Making { partitions: number(partitions, MOST_PARTITIONS)?, replication })
    }
}

/// Makes a topic, with the cluster's own settings for all but its partitions and `properties`, and waits until it can be
/// written. A topic that another made in the meantime will do.
///
/// # Errors
/// If the cluster refuses, or all partitions are not there after 30 seconds.
pub fn create(
    client: &BaseConsumer<Client>,
    settings: &Settings,
    name: &str,
    making: Making,
    properties: &[(&str, &str)],
) -> Result<()> {
    let Making { partitions, replication } = making;
    let doing = || {
        let copies = replication.map_or_else(String::new, |copies| format!(", {copies} copies of each"));
        format!("making topic {name:?} with {}{copies}", count(partitions.unsigned_abs().into(), "partition"))
    };
    let options = AdminOptions::new().request_timeout(Some(CREATE)).operation_timeout(Some(CREATE));
    // -1: as many copies as the cluster makes by default.
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication.unwrap_or(-1)));
    let topic = properties.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let admin = settings.admin()?;
    let results = block_on(admin.create_topics([&topic], &options))
        .map_err(|error| match error {
            KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut) => {
                anyhow!("no controller of the cluster has answered within {} s", CREATE.as_secs())
            }
            error => error.into(),
        })
        .with_context(doing)?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) if is_refusal(code) => return Err(settings.denied(Act::Create(name))),
            Err((_, code)) => return Err(code).with_context(doing),
        }
    }
    // The broker that made it knows it before the others do.
    let deadline = Instant::now() + CREATE;
    while !is_led(client, name)? {
        if Instant::now() > deadline {
            return Err(anyhow!("not all of them have a leader after {} s", CREATE.as_secs()))
                .with_context(doing);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Deletes a topic. One that is gone already will do.
///
/// # Errors
/// If the cluster refuses or does not answer.
pub fn delete(settings: &Settings, name: &str) -> Result<()> {
    let doing = || format!("deleting topic {name:?}");
    let options = AdminOptions::new().request_timeout(Some(CREATE)).operation_timeout(Some(CREATE));
    let admin = settings.admin()?;
    for result in block_on(admin.delete_topics(&[name], &options)).with_context(doing)? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((_, code)) => return Err(code).with_context(doing),
        }
    }
    Ok(())
}

/// Names a missing topic to the cluster as its producers do: a cluster that makes topics when they are first named
/// makes it, with partitions of its own choice. False if it doesn't.
///
/// # Errors
/// If the cluster does not answer.
pub fn invite(client: &BaseConsumer<Client>, settings: &Settings, name: &str) -> Result<bool> {
    let inviting = settings.inviting()?;
    let deadline = Instant::now() + INVITE;
    loop {
        inviting.fetch_metadata(Some(name), REQUEST).with_context(|| format!("asking for topic {name:?}"))?;
        if is_led(client, name)? {
            return Ok(true);
        }
        if Instant::now() > deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// True iff the topic is there and each of its partitions has a leader.
fn is_led(client: &BaseConsumer<Client>, name: &str) -> Result<bool> {
    serve(client);
    let metadata = client.fetch_metadata(None, REQUEST)?;
    Ok(metadata.topics().iter().any(|topic| {
        topic.name() == name
            && topic.error().is_none()
            && !topic.partitions().is_empty()
            && topic.partitions().iter().all(|partition| partition.leader() >= 0)
    }))
}

fn all(metadata: &Metadata) -> Vec<Topic> {
    let mut topics: Vec<Topic> = metadata
        .topics()
        .iter()
        .filter(|topic| topic.error().is_none() && !topic.partitions().is_empty())
        // Partition numbers are dense: as many as there are.
        .map(|topic| (topic.name().to_owned(), topic.partitions().len() as i32))
        .collect();
    topics.sort();
    topics
}

/// What to say of a topic that is not among `all`: it names those that come close.
pub fn missing(name: &str, all: &[Topic]) -> String {
    let mut close: Vec<(f64, &str)> = all
        .iter()
        .filter(|(topic, _)| !topic.starts_with("__"))
        .map(|(topic, _)| (strsim::jaro_winkler(name, topic), topic.as_str()))
        .filter(|&(likeness, _)| likeness > 0.75)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let close: Vec<String> = close.iter().take(3).map(|(_, topic)| format!("{topic:?}")).collect();
    let hint = if close.is_empty() {
        match all.iter().filter(|(topic, _)| !topic.starts_with("__")).count() {
            0 => "the cluster has no topics".to_owned(),
            1 => "the cluster's only topic has another name".to_owned(),
            n => format!("none of the cluster's {n} topics has a name like it"),
        }
    } else {
        format!("did you mean {}?", close.join(" or "))
    };
    format!("there is no topic {name:?}: {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names_and_spare_kafkas_own() {
        let pattern = Pattern::parse("^log-.*").unwrap();
        assert!(pattern.matches("log-a") && !pattern.matches("a-log-a"));
        assert!(!Pattern::parse("^.*").unwrap().matches("__consumer_offsets"));
        assert!(Pattern::parse("^(").is_err() && Pattern::parse("").is_err());
    }

    #[test]
    fn partitions_and_copies_are_read() {
        assert_eq!("12".parse(), Ok(Making { partitions: 12, replication: None }));
        assert_eq!("1:3".parse(), Ok(Making { partitions: 1, replication: Some(3) }));
        for wrong in ["", "0", "-1", "x", "1:", "1:0", ":2", "1:2:3", "1:40000", "1000000"] {
            let error = wrong.parse::<Making>().unwrap_err();
            assert!(error.contains("PARTITIONS[:REPLICATION]"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_missing_topic_names_those_that_come_close() {
        let all = [("lines".to_owned(), 1), ("orders".to_owned(), 1), ("__x".to_owned(), 1)];
        assert_eq!(missing("line", &all), "there is no topic \"line\": did you mean \"lines\"?");
        assert!(missing("zebra", &all).ends_with("none of the cluster's 2 topics has a name like it"));
        assert!(missing("zebra", &[]).ends_with("the cluster has no topics"));
    }
}
