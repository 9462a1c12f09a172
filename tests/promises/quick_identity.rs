//! Clusters and topics of the in-process broker, which can't be told from others.

use cutwater::kafka::client::Settings;
use cutwater::kafka::identity::{cluster_id, topic_ids};

use crate::support::DEADLINE;
use crate::support::broker::mock;

#[test]
fn a_broker_that_tells_no_ids_is_no_error() {
    let topic = mock().topic(1);
    let settings =
        Settings { brokers: topic.address.clone(), connect_timeout: DEADLINE, ..Settings::default() };
    let client = settings.metadata().expect("a client");
    let ids = topic_ids(&client, &[&topic.name]).expect("the broker answers");
    assert_eq!(ids, [(topic.name, None)].into());
    cluster_id(&client).expect("the broker answers");
}
