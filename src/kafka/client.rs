//! Clients of a Kafka cluster: their settings, and what becomes of their logs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use rdkafka::producer::ProducerContext;
use serde::{Deserialize, Serialize};

use super::credentials;
use super::limits::BATCH;
use crate::fold::FoldedBy;
use crate::secrets;

/// How to reach a cluster.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Bootstrap servers, `host:port` with commas between.
    pub brokers: String,
    /// librdkafka properties, for consumers and producers; they win over our defaults.
    pub properties: Vec<(String, String)>,
    /// Likewise, with the files that have the values.
    #[serde(default)]
    pub files: Vec<(String, PathBuf)>,
    /// How long to wait for the first answer of a broker.
    pub connect_timeout: Duration,
    /// How records are fetched.
    #[serde(default)]
    pub fetch: Fetch,
}

/// How records are fetched.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fetch {
    /// By librdkafka, from any broker and over any connection
    #[default]
    Librdkafka,
    /// By Cutwater itself, which reads records where they lie in the brokers' answers
    Direct,
}

impl Fetch {
    /// As it is typed.
    #[cfg(feature = "bench")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fetch::Librdkafka => "librdkafka",
            Fetch::Direct => "direct",
        }
    }
}

/// A property that must have this value, and why.
type Fixed<'a> = (&'a str, &'a str, &'a str);

/// Why most of them must.
const EXACT: &str = "its exactness depends on it";

/// Properties on which the exactness of the cut depends.
const OURS: [Fixed<'_>; 4] = [
    ("enable.auto.commit", "false", EXACT),
    ("enable.auto.offset.store", "false", EXACT),
    ("enable.partition.eof", "true", EXACT),
    ("auto.offset.reset", "error", EXACT),
];

/// How producers of outputs choose a partition: as Java's default partitioner does, by the murmur2 of the key.
const PARTITIONER: Fixed<'_> = (
    "partitioner",
    "murmur2_random",
    "so that rows lie in the partitions in which Java's clients look for their keys",
);

/// What a fast reader of small records needs. Where librdkafka has so many records of a partition queued it stops
/// fetching, and by default for a second; here for a millisecond. The queue is bounded in bytes for large records and in
/// number for small ones, whose bookkeeping outweighs them: what is fetched at a time, a quarter of a megabyte of a
/// partition, is then still in the processor's cache when it is read.
const FETCH: [(&str, &str); 5] = [
    ("queued.min.messages", "30000"),
    ("max.partition.fetch.bytes", "262144"),
    ("fetch.queue.backoff.ms", "1"),
    ("isolation.level", "read_committed"),
    // librdkafka does not look at them by default: what a disk or a network has damaged would be counted.
    ("check.crcs", "true"),
];

/// Kilobytes that all consumers of a process may queue together.
const QUEUES: usize = 65_536;
/// Kilobytes that one of them may, at least: some fetches.
const QUEUE: usize = 2048;

/// Kilobytes that each of so many consumers may queue.
pub(crate) fn queue(consumers: usize) -> usize {
    (QUEUES / consumers.max(1)).max(QUEUE)
}

/// What short epochs need. In transactions, with librdkafka's defaults one takes 70 ms and more on an idle broker: most of it is
/// waiting, after the broker has said that the transaction before is not quite over, and for small packets that are
/// held back. Here the first wait is 5 ms; later ones grow as they do by default.
const OUTPUTS: [(&str, &str); 5] = [
    ("linger.ms", "0"),
    // Those that arrived are not told of one by one: the commit waits for all of them.
    ("delivery.report.only.error", "true"),
    ("retry.backoff.ms", "5"),
    ("socket.nagle.disable", "true"),
    // The topic decides which record is too large, up to what a broker takes in one request by default.
    ("message.max.bytes", LARGEST),
];

/// The most bytes that a record may have for our producers, unless the user says otherwise.
pub const LARGEST: &str = "100000000";

impl Settings {
    /// A consumer of `group`, one of so many of this process: together they queue what one may.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn consumer(&self, group: &str, of: usize) -> Result<BaseConsumer<Client>> {
        let mut config = self.base();
        config.set("group.id", group);
        for (key, value) in FETCH {
            config.set(key, value);
        }
        config.set("queued.max.messages.kbytes", queue(of).to_string());
        self.complete(&mut config, &OURS)?;
        // Where a topic's id changes, librdkafka tells it here and nowhere else: see `Client::changed_ids`.
        let debug = config.get("debug").map_or_else(String::new, |of_user| format!("{of_user},"));
        config.set("debug", format!("{debug}metadata")).set_log_level(RDKafkaLogLevel::Debug);
        config.create_with_context(Client::default()).map_err(refused).context("making a consumer")
    }

    /// The user's value of a property; `None` where they set none.
    pub fn property(&self, key: &str) -> Option<&str> {
        self.properties.iter().rev().find(|(of_user, _)| of_user == key).map(|(_, value)| value.as_str())
    }

    /// What Cutwater sets a property of fetches to, where the user does not.
    #[cfg(feature = "direct")]
    pub(crate) fn fetch_default(key: &str) -> Option<&'static str> {
        FETCH.iter().find(|(of_ours, _)| *of_ours == key).map(|(_, value)| *value)
    }

    /// Checks the properties, without a connection.
    ///
    /// # Errors
    /// If librdkafka does not know one or does not take its value.
    pub fn check(&self) -> Result<()> {
        let mut config = self.base();
        self.complete(&mut config, &OURS)?;
        config.create_native_config().map(drop).map_err(refused)
    }

    /// Checks the properties for a producer of outputs, with transactions or without, and without a connection.
    ///
    /// # Errors
    /// If a property that must be ours is set otherwise.
    pub fn check_outputs(&self, transactions: bool) -> Result<()> {
        if transactions { self.transactions("", BATCH) } else { self.idempotent(BATCH) }.map(drop)
    }

    /// A client that only asks for metadata and offsets.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn metadata(&self) -> Result<BaseConsumer<Client>> {
        let mut config = self.base();
        config.set("isolation.level", "read_committed");
        self.finish(config, &[], "consumer")
    }

    /// As [`Settings::metadata`]; it makes no word of brokers that are away: others do.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn silent(&self) -> Result<BaseConsumer<Client>> {
        let mut config = self.base();
        config.set("isolation.level", "read_committed");
        self.complete(&mut config, &[])?;
        config.create_with_context(Client::quiet()).map_err(refused).context("making a client")
    }

    /// As [`Settings::silent`], and it sees the records of open transactions as well.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn uncommitted(&self, group: &str) -> Result<BaseConsumer<Client>> {
        let mut config = self.base();
        self.complete(&mut config, &[])?;
        config.set("group.id", group).set("isolation.level", "read_uncommitted");
        // For offsets that are only asked for.
        config.set("enable.auto.commit", "false");
        config.create_with_context(Client::quiet()).map_err(refused).context("making a client")
    }

    /// The configuration of an idempotent producer: every record once and in order in spite of retries.
    ///
    /// # Errors
    /// If a property that must be ours is set otherwise.
    pub fn producer(&self) -> Result<ClientConfig> {
        let mut config = self.base();
        // A batch waits this long for more records: librdkafka's 5 ms would be most of an epoch's latency.
        config.set("linger.ms", "2").set("compression.type", "lz4");
        self.complete(&mut config, &[("enable.idempotence", "true", EXACT)])?;
        Ok(config)
    }

    /// The configuration of a producer of transactions. Of all producers with the same `id`, the newest is the only
    /// one that can write. Several records are sent together up to `most` bytes, before they are compressed: a topic
    /// that takes so many takes them all.
    ///
    /// # Errors
    /// If a property that must be ours is set otherwise.
    pub fn transactions(&self, id: &str, most: usize) -> Result<ClientConfig> {
        let mut config = self.outputs(most);
        // How long a transaction may be open before the broker aborts it.
        config.set("transaction.timeout.ms", "60000");
        let fixed = [("enable.idempotence", "true", EXACT), ("transactional.id", id, EXACT), PARTITIONER];
        self.complete(&mut config, &fixed)?;
        Ok(config)
    }

    /// The configuration of a producer of outputs without transactions, else as [`Settings::transactions`].
    ///
    /// # Errors
    /// If a property that must be ours is set otherwise.
    pub fn idempotent(&self, most: usize) -> Result<ClientConfig> {
        let mut config = self.outputs(most);
        let order = ("enable.idempotence", "true", "so that the changes of a key stay in order");
        self.complete(&mut config, &[order, PARTITIONER])?;
        Ok(config)
    }

    /// What producers of outputs have in common.
    fn outputs(&self, most: usize) -> ClientConfig {
        let mut config = self.base();
        config.set("compression.type", "lz4").set("batch.size", most.to_string());
        for (key, value) in OUTPUTS {
            config.set(key, value);
        }
        config
    }

    /// A client whose questions have the cluster make missing topics, if the cluster is set up to.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn inviting(&self) -> Result<BaseConsumer<Client>> {
        let mut config = self.base();
        config.set("allow.auto.create.topics", "true");
        self.finish(config, &[], "client")
    }

    /// A client that makes topics.
    ///
    /// # Errors
    /// If librdkafka does not take a property.
    pub fn admin(&self) -> Result<AdminClient<Client>> {
        self.finish(self.base(), &[], "client")
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "cutwater");
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    fn complete(&self, config: &mut ClientConfig, fixed: &[Fixed<'_>]) -> Result<()> {
        let read = |(key, path): &(String, PathBuf)| Ok((key.clone(), credentials::value(key, path)?));
        let files: Vec<(String, String)> = self.files.iter().map(read).collect::<Result<_>>()?;
        let is_login = |(key, _): &(String, String)| key == "sasl.username" || key == "sasl.password";
        for (key, value) in self.properties.iter().chain(&files) {
            if let Some((_, ours, why)) = fixed.iter().find(|(ours, ..)| ours == key)
                && value != ours
            {
                bail!("--set {key}={value}: Cutwater needs {key}={ours}, {why}");
            }
            config.set(key, value);
        }
        for (key, value, _) in fixed {
            config.set(*key, *value);
        }
        if files.iter().any(is_login)
            && let (Some(user), Some(password)) = (config.get("sasl.username"), config.get("sasl.password"))
        {
            credentials::made_with(user, password);
        }
        Ok(())
    }

    fn finish<C: FromClientConfigAndContext<Client>>(
        &self,
        mut config: ClientConfig,
        fixed: &[Fixed<'_>],
        what: &str,
    ) -> Result<C> {
        self.complete(&mut config, fixed)?;
        config
            .create_with_context(Client::default())
            .map_err(refused)
            .with_context(|| format!("making a {what}"))
    }
}

/// A property that librdkafka does not take, in words.
pub fn refused(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, text, key, value) => {
            let value = if secrets::is_secret(&key) { secrets::HIDDEN } else { &value };
            anyhow::anyhow!("--set {key}={value}: {text}")
        }
        error => error.into(),
    }
}

/// The id of a broker by its name; `None` where only its address is known.
fn id(name: &str) -> Option<i32> {
    name.rsplit_once('/')?.1.parse().ok()
}

/// The broker that a failure is of: `HOST:PORT/ID`, as in `HOST:PORT/ID: what has failed`. librdkafka's connection to the
/// coordinator of a group is `GroupCoordinator: HOST:PORT: what has failed`, here `HOST:PORT/GroupCoordinator`: another
/// broker's answer says nothing of it. Empty where it is of no broker.
fn broker_name(text: &str) -> String {
    let mut parts = text.split(": ");
    match (parts.next(), parts.next()) {
        (Some(name), Some(_)) if name.contains('/') && !name.contains(' ') => name.to_owned(),
        (Some(logical @ ("GroupCoordinator" | "TxnCoordinator")), Some(address))
            if !address.contains(' ') =>
        {
            format!("{address}/{logical}")
        }
        _ => String::new(),
    }
}

/// How often, at most, an outage is logged.
const REMIND: Duration = Duration::from_secs(10);
/// An outage of which nothing was said for that long is over, or is that of a broker that nobody needs. librdkafka
/// says the same again after half a minute.
const STALE: Duration = Duration::from_secs(60);

/// What librdkafka says where an answer has more bytes than `receive.message.max.bytes`. It then connects and asks again,
/// for ever.
const OVERSIZED: [&str; 2] = ["Invalid frame size", "increase receive.message.max.bytes"];

/// What librdkafka says where it gives up a connection as a request has timed out.
const SLOW: &str = "request(s) timed out";

/// What librdkafka says beside that.
static REPEATED: FoldedBy = FoldedBy::new();

/// Takes the logs of a client. Of an unreachable broker it tells once in a while, not at every attempt.
#[derive(Default)]
pub struct Client {
    /// By the broker's name, as librdkafka has it.
    outages: Mutex<BTreeMap<String, Outage>>,
    failing: AtomicBool,
    quiet: bool,
    /// The ids of topics that the client has taken on since this was last asked for.
    ids: Mutex<Vec<(String, String)>>,
    /// True iff there are any.
    changed: AtomicBool,
    oversized: AtomicBool,
    unreachable: AtomicBool,
    /// The generation of its user and password.
    login: Login,
}

/// The generation of a client's user and password: that of its making, at first.
struct Login(AtomicU64);

impl Default for Login {
    fn default() -> Self {
        Login(AtomicU64::new(credentials::generation()))
    }
}

struct Outage {
    since: Instant,
    /// When it was said last, by librdkafka and here.
    seen: Instant,
    told: Option<Instant>,
    last: String,
}

impl Client {
    /// Has the client of this context take on the newest user and password. To be called now and then.
    pub fn log_in<C: ClientContext>(&self, client: &rdkafka::client::Client<C>) {
        credentials::apply(client, &self.login.0);
    }

    /// One that says nothing of outages.
    fn quiet() -> Self {
        Client { quiet: true, ..Client::default() }
    }

    /// The topics whose ids this client has learned or changed since the last call, each with its id as Kafka's tools show
    /// it. Only a consumer that reads tells them, and before it fetches by the id: what it hands over after an id is told
    /// may be of that topic, what it handed over before is not. Cheap where there are none.
    pub fn changed_ids(&self) -> Vec<(String, String)> {
        if !self.changed.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// What the client last said of an unreachable broker.
    pub fn last_failure(&self) -> Option<String> {
        let outages = self.outages();
        outages.values().max_by_key(|outage| outage.seen).map(|outage| outage.last.clone())
    }

    /// True while a broker is out of reach, as far as is known.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// These brokers have answered, by their ids: for those of them that were out of reach, that is over.
    pub fn answered(&self, brokers: &[i32]) {
        // What is of no broker is of all of them.
        self.end_outages(|name| name.is_empty() || id(name).is_some_and(|id| brokers.contains(&id)));
    }

    /// Something was done for which all brokers were needed that were out of reach.
    pub fn all_answered(&self) {
        self.end_outages(|_| true);
    }

    fn end_outages(&self, over: impl Fn(&str) -> bool) {
        if !self.is_failing() {
            return;
        }
        let mut outages = self.outages();
        outages.retain(|name, outage| {
            let over = over(name);
            if over && outage.told.is_some() {
                let seconds = outage.since.elapsed().as_secs_f64();
                let who = match name.rsplit_once('/') {
                    Some((address, _)) => format!("the broker {address}"),
                    None => "a broker".to_owned(),
                };
                tracing::info!("{who} answers again, after {seconds:.1} s");
            }
            !over && outage.seen.elapsed() < STALE
        });
        self.failing.store(!outages.is_empty(), Ordering::Relaxed);
    }

    /// The cluster has answered, and these are its brokers. Which of them it was is not known, unless there is one.
    pub fn some_answered(&self, metadata: &Metadata) {
        let [only] = metadata.brokers() else { return self.answered(&[]) };
        let address = format!("{}:{}/", only.host(), only.port());
        self.end_outages(|name| name.is_empty() || id(name) == Some(only.id()) || name.starts_with(&address));
    }

    /// True once a broker's answer had more bytes than the client takes: it will each time.
    pub fn met_oversized(&self) -> bool {
        self.oversized.load(Ordering::Relaxed)
    }

    /// True once a connection to a broker has failed, otherwise than by a request that was slow.
    pub fn was_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::Relaxed)
    }

    fn failed(&self, text: &str) {
        if text.contains("brokers are down") {
            // The consequence of what was told before, which says more. Where nothing was, nothing has failed: it is
            // also said by a client that closes its only connection.
            tracing::debug!(target: "librdkafka", "{text}");
            return;
        }
        if OVERSIZED.iter().any(|sign| text.contains(sign)) {
            self.oversized.store(true, Ordering::Relaxed);
        }
        let name = broker_name(text);
        let mut outages = self.outages();
        let now = Instant::now();
        let lately = outages.values().filter_map(|outage| outage.told).max();
        let outage = outages.entry(name).or_insert_with(|| Outage {
            since: now,
            seen: now,
            told: None,
            last: String::new(),
        });
        outage.seen = now;
        text.clone_into(&mut outage.last);
        if !self.quiet && lately.is_none_or(|told| now - told >= REMIND) {
            outage.told = Some(now);
            tracing::warn!("{text}; trying again");
        }
        self.failing.store(true, Ordering::Relaxed);
    }

    fn outages(&self) -> MutexGuard<'_, BTreeMap<String, Outage>> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Client {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        // librdkafka begins its lines with `[thrd:NAME]: `.
        let text = text.split_once("]: ").map_or(text, |(_, text)| text);
        if facility == "FAIL" && !text.contains(SLOW) {
            self.unreachable.store(true, Ordering::Relaxed);
        }
        if matches!(level, RDKafkaLogLevel::Debug) {
            if let Some(changed) = changed_id(text) {
                self.ids.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(changed);
                self.changed.store(true, Ordering::Release);
            }
            tracing::debug!(target: "librdkafka", "{facility}: {text}");
            return;
        }
        match facility {
            "FAIL" | "ERROR" => self.failed(text),
            // It warns of each property that is not for this kind of client; --set is for all kinds.
            // A broker that has just come up can't give producer ids yet; librdkafka asks again.
            "CONFWARN" | "GETPID" => tracing::debug!(target: "librdkafka", "{text}"),
            // Of a topic that was deleted: discovery tells that.
            "COMMITFAIL" if text.contains("Unknown topic or partition") => {
                tracing::debug!(target: "librdkafka", "{text}");
            }
            _ => match level {
                RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error => {
                    if let Some(more) = REPEATED.note(facility, Instant::now()) {
                        tracing::error!(target: "librdkafka", "{facility}: {text}{more}");
                    }
                }
                RDKafkaLogLevel::Warning => {
                    if let Some(more) = REPEATED.note(facility, Instant::now()) {
                        tracing::warn!(target: "librdkafka", "{facility}: {text}{more}");
                    }
                }
                RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                    tracing::info!(target: "librdkafka", "{facility}: {text}");
                }
                RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", "{facility}: {text}"),
            },
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error {
            // A consumer that is closed tells of the partitions it had read to the end.
            KafkaError::Global(RDKafkaErrorCode::PartitionEOF) => {}
            // Of a topic that was deleted: discovery tells that, and the broker is not out of reach.
            KafkaError::Global(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition,
            ) => tracing::debug!(target: "librdkafka", "{reason}"),
            KafkaError::Global(code) => self.failed(&format!("{reason} ({code})")),
            error => tracing::error!("{error}: {reason}"),
        }
    }
}

impl ConsumerContext for Client {}

/// Reads `Topic NAME changed id from ID to ID`, the line with which librdkafka 2.12 takes on a topic's id
/// (`rd_kafka_topic_metadata_update`): the name, and the new id in the alphabet of Kafka's tools.
fn changed_id(text: &str) -> Option<(String, String)> {
    let (topic, ids) = text.strip_prefix("Topic ")?.split_once(" changed id from ")?;
    let (_, id) = ids.split_once(" to ")?;
    Some((topic.to_owned(), id.replace('+', "-").replace('/', "_")))
}

/// Deliveries are watched by the sink's own context; this one is for producers that need none.
impl ProducerContext for Client {
    type DeliveryOpaque = ();
    fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_id_is_read_from_the_log() {
        let client = Client::default();
        assert!(client.changed_ids().is_empty());
        let line =
            "[thrd:main]: Topic a-b_c changed id from AAAAAAAAAAAAAAAAAAAAAA to F81xaCFHS5u+50XPRFtl/w";
        client.log(RDKafkaLogLevel::Debug, "METADATA", line);
        client.log(RDKafkaLogLevel::Debug, "METADATA", "[thrd:main]: Topic a-b_c [0] Leader 1 Epoch 0");
        let expected = ("a-b_c".to_owned(), "F81xaCFHS5u-50XPRFtl_w".to_owned());
        assert_eq!(client.changed_ids(), [expected]);
        assert!(client.changed_ids().is_empty(), "each is told once");
    }

    #[test]
    fn that_all_brokers_are_down_is_no_failure_by_itself() {
        let client = Client::default();
        let down = KafkaError::Global(RDKafkaErrorCode::AllBrokersDown);
        client.error(down.clone(), "1/1 brokers are down");
        assert_eq!(client.last_failure(), None, "as at the end of a client's life");
        client.log(RDKafkaLogLevel::Error, "FAIL", "[thrd:x]: x:1/1: Connect failed: Connection refused");
        client.error(down, "1/1 brokers are down");
        assert_eq!(client.last_failure().as_deref(), Some("x:1/1: Connect failed: Connection refused"));
    }

    #[test]
    fn a_broker_answers_again_when_it_does_and_not_when_another_does() {
        let client = Client::default();
        assert!(!client.is_failing());
        client.failed("10.0.0.2:9092/2: Connect to ipv4#10.0.0.2:9092 failed: Connection refused");
        client.failed("10.0.0.1:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused");
        client.failed(
            "GroupCoordinator: 10.0.0.2:9092: Connect to ipv4#10.0.0.2:9092 failed: Connection refused",
        );
        client.failed("2/3 brokers are down");
        client.answered(&[1, 3]);
        assert_eq!(
            client.outages().len(),
            3,
            "nobody knows which one a bootstrap address or a coordinator is"
        );
        client.answered(&[2]);
        assert!(client.last_failure().is_some_and(|text| !text.contains("9092/2")));
        client.all_answered();
        assert!(!client.is_failing() && client.last_failure().is_none());
    }

    #[test]
    fn the_partitioner_of_outputs_is_javas_and_can_not_be_another() {
        let settings = |properties: &[(&str, &str)]| Settings {
            properties: properties.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
            ..Settings::default()
        };
        let ours = ("partitioner", "murmur2_random");
        for properties in [&[][..], &[ours][..]] {
            let config = settings(properties).transactions("id", 1000).unwrap();
            assert_eq!(config.get("partitioner"), Some("murmur2_random"));
        }
        let error = settings(&[("partitioner", "consistent")]).transactions("id", 1000).unwrap_err();
        assert!(error.to_string().starts_with("--set partitioner=consistent: Cutwater needs"), "{error}");
        // Records that are produced otherwise may go where the user wants them.
        assert!(settings(&[("partitioner", "consistent")]).producer().is_ok());
    }

    #[test]
    fn consumers_queue_together_what_one_may() {
        assert_eq!([1, 2, 8, 0].map(queue), [65_536, 32_768, 8192, 65_536]);
        assert_eq!(queue(1000), QUEUE);
    }
}
