//! Clusters and topics are told from others of the same address and name.

use std::time::{Duration, Instant};

use cutwater::kafka::client::Settings;
use cutwater::kafka::identity::{cluster_id, topic_ids};

use crate::support::broker::real;
use crate::support::kafka::Kafka;
use crate::support::{DEADLINE, unique};

fn settings(address: &str) -> Settings {
    Settings { brokers: address.to_owned(), connect_timeout: DEADLINE, ..Settings::default() }
}

#[test]
fn a_topic_that_is_made_anew_has_another_id() {
    let client = settings(&real().address).metadata().expect("a client");
    let ids = |names: &[&str]| topic_ids(&client, names).expect("the broker answers");
    let (topic, other) = (real().topic(1), real().topic(2));
    let before = ids(&[&topic.name, &other.name, &topic.name]);
    assert_eq!(before.len(), 2);
    let id = before[&topic.name].clone().expect("it has an id");
    // As Kafka's own tools write them.
    assert!(id.len() == 22 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'), "{id}");
    assert_ne!(before[&topic.name], before[&other.name]);
    assert_eq!(ids(&[&topic.name, &other.name]), before, "ids stay");

    topic.delete();
    let deadline = Instant::now() + DEADLINE;
    while !ids(&[&topic.name]).is_empty() {
        assert!(Instant::now() < deadline, "{} is still there", topic.name);
        std::thread::sleep(Duration::from_millis(20));
    }
    real().named_topic(&topic.name, 1);
    let anew = loop {
        if let Some(anew) = ids(&[&topic.name]).remove(&topic.name) {
            break anew.expect("it has an id");
        }
        assert!(Instant::now() < deadline, "{} is not there again", topic.name);
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_ne!(anew, id);
    assert_eq!(ids(&[]), Default::default());
    assert_eq!(ids(&[&unique()]), Default::default(), "what is not there has none");
}

#[test]
fn a_cluster_has_an_id() {
    let id = |kafka: &Kafka| {
        let client = settings(&kafka.address).metadata().expect("a client");
        cluster_id(&client).expect("the broker answers")
    };
    let first = id(real());
    assert!(first.as_ref().is_some_and(|id| !id.is_empty()));
    assert_eq!(id(real()), first);
}
