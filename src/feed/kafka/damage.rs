//! Places of partitions that can't be read: a batch that is damaged, or that expands beyond what the client takes. librdkafka
//! tries such a place again for ever, or skips it; here it is tried a few times, and then ends the run.

use std::collections::HashMap;

use anyhow::{Result, bail, ensure};
use rdkafka::types::RDKafkaErrorCode;

use crate::fold::Folded;
use crate::kafka::client::{Client, Settings};

/// How often the same place may fail: a batch that was damaged on its way is whole the next time.
const TRIES: u32 = 3;
/// The property that bounds what a batch may expand to, and its default.
const RECEIVE: (&str, &str) = ("receive.message.max.bytes", "100000000");

/// An error that a partition's queue held.
pub(super) struct Trouble {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// The place that it is of, where the error is of one.
    pub(super) offset: i64,
    pub(super) code: RDKafkaErrorCode,
    pub(super) text: String,
}

/// Is the error of what lies at one place, so that the partition must not be read on beyond it?
pub(super) fn is_of_a_place(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::NotImplemented
            | RDKafkaErrorCode::InvalidMessage
            | RDKafkaErrorCode::InvalidMessageSize
            | RDKafkaErrorCode::MessageSizeTooLarge
    )
}

/// The places that have failed, and how often.
#[derive(Default)]
pub(super) struct Damage {
    /// Of each partition the last such place, and how often it has failed.
    places: HashMap<(String, i32), (i64, u32)>,
    /// What is said of each kind of error.
    said: HashMap<i32, Folded>,
}

impl Damage {
    /// A place has failed: it is to be read again.
    ///
    /// # Errors
    /// If it has failed too often: that ends the run.
    pub(super) fn again(&mut self, trouble: &Trouble, settings: &Settings) -> Result<()> {
        let Trouble { topic, partition, offset, code, text } = trouble;
        let place = self.places.entry((topic.clone(), *partition)).or_insert((*offset, 0));
        if place.0 != *offset {
            *place = (*offset, 0);
        }
        place.1 += 1;
        if place.1 < TRIES {
            self.warn(trouble);
            return Ok(());
        }
        bail!(
            "{topic} partition {partition} offset {offset} can't be read: {text} ({code}), {TRIES} times in a row; {}",
            advice(*code, settings)
        )
    }

    /// Says that something failed and is tried again, but not each time.
    pub(super) fn warn(&mut self, trouble: &Trouble) {
        let Trouble { topic, partition, code, text, .. } = trouble;
        let said = self.said.entry(*code as i32).or_insert(Folded::new("errors of partitions"));
        said.warn(|| format!("{topic} partition {partition}: {text} ({code}); trying again"));
    }
}

/// # Errors
/// If an answer had more bytes than the client takes: it is asked for again, and is as large again, for ever.
pub(super) fn check_answers(client: &Client, settings: &Settings) -> Result<()> {
    let (property, default) = RECEIVE;
    ensure!(
        !client.met_oversized(),
        "a broker's answer is larger than {property}={} ({}): raise it with --set {property}=BYTES",
        settings.property(property).unwrap_or(default),
        client.last_failure().unwrap_or_default()
    );
    Ok(())
}

fn advice(code: RDKafkaErrorCode, settings: &Settings) -> String {
    let (property, default) = RECEIVE;
    let limit = settings.property(property).unwrap_or(default);
    let damaged = "the batch is damaged: is another replica of the partition whole? Records that are lost can be passed \
         over by deleting them (kafka-delete-records), with --on-data-loss continue";
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge => {
            format!("the batch may be larger than {property}={limit}: raise it with --set {property}=BYTES")
        }
        RDKafkaErrorCode::BadCompression => format!(
            "the batch may expand beyond {property}={limit}: raise it with --set {property}=BYTES. If that does not \
             help, {damaged}"
        ),
        RDKafkaErrorCode::NotImplemented => {
            format!("the batch is of a format or codec that this client does not know, or {damaged}")
        }
        _ => damaged.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(offset: i64, code: RDKafkaErrorCode) -> Trouble {
        Trouble { topic: "t".into(), partition: 2, offset, code, text: "bad".into() }
    }

    #[test]
    fn the_same_place_ends_the_run_and_others_do_not() {
        let (mut damage, settings) = (Damage::default(), Settings::default());
        let bad = RDKafkaErrorCode::BadMessage;
        for offset in [1, 1, 2, 2, 3] {
            damage.again(&trouble(offset, bad), &settings).expect("another try");
        }
        damage.again(&trouble(3, bad), &settings).expect("another try");
        let error = damage.again(&trouble(3, bad), &settings).unwrap_err().to_string();
        assert!(error.contains("t partition 2 offset 3"), "{error}");
        assert!(error.contains("damaged"), "{error}");
    }

    #[test]
    fn the_option_that_would_help_is_named_with_its_value() {
        let set = ("receive.message.max.bytes".to_owned(), "1234".to_owned());
        let settings = Settings { properties: vec![set], ..Settings::default() };
        let mut damage = Damage::default();
        let expands = || trouble(7, RDKafkaErrorCode::BadCompression);
        damage.again(&expands(), &settings).expect("another try");
        damage.again(&expands(), &settings).expect("another try");
        let error = damage.again(&expands(), &settings).unwrap_err().to_string();
        assert!(error.contains("receive.message.max.bytes=1234"), "{error}");
    }
}
