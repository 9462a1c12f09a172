//! The error codes of Kafka's protocol.

use kafka_protocol::ResponseError;
use rdkafka::types::RDKafkaErrorCode;

pub(super) const OFFSET_OUT_OF_RANGE: i16 = 1;
pub(super) const CORRUPT_MESSAGE: i16 = 2;
pub(super) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub(super) const LEADER_NOT_AVAILABLE: i16 = 5;
pub(super) const NOT_LEADER: i16 = 6;
pub(super) const REPLICA_NOT_AVAILABLE: i16 = 9;
pub(super) const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
pub(super) const STORAGE: i16 = 56;
pub(super) const UNKNOWN_SESSION: i16 = 70;
pub(super) const INVALID_SESSION_EPOCH: i16 = 71;
pub(super) const FENCED_LEADER_EPOCH: i16 = 74;
pub(super) const UNKNOWN_LEADER_EPOCH: i16 = 75;
pub(super) const OFFSET_NOT_AVAILABLE: i16 = 78;
pub(super) const UNKNOWN_TOPIC_ID: i16 = 100;
pub(super) const SESSION_TOPIC_ID: i16 = 106;
pub(super) const INCONSISTENT_TOPIC_ID: i16 = 103;

/// An error, in words.
pub(super) fn text(code: i16) -> String {
    match ResponseError::try_from_code(code) {
        Some(error) => format!("{error} (error {code})"),
        None => format!("error {code}"),
    }
}

/// What becomes of a partition of which a fetch tells an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Another broker may lead it by now.
    FindLeader,
    /// The worker is to decide.
    Tell(RDKafkaErrorCode),
    /// Ask again, a little later.
    Wait,
}

/// What to do about an error of a partition.
pub(super) fn remedy(code: i16) -> Remedy {
    match code {
        OFFSET_OUT_OF_RANGE => Remedy::Tell(RDKafkaErrorCode::OffsetOutOfRange),
        CORRUPT_MESSAGE => Remedy::Tell(RDKafkaErrorCode::BadMessage),
        TOPIC_AUTHORIZATION_FAILED => Remedy::Tell(RDKafkaErrorCode::TopicAuthorizationFailed),
        // The brokers learn of a topic, and of a new leader, one after the other.
        UNKNOWN_TOPIC_OR_PARTITION
        | UNKNOWN_TOPIC_ID
        | INCONSISTENT_TOPIC_ID
        | LEADER_NOT_AVAILABLE
        | NOT_LEADER
        | REPLICA_NOT_AVAILABLE
        | STORAGE
        | FENCED_LEADER_EPOCH
        | UNKNOWN_LEADER_EPOCH => Remedy::FindLeader,
        _ => Remedy::Wait,
    }
}

/// Is the session of fetches over, so that a new one is to be begun?
pub(super) fn ends_session(code: i16) -> bool {
    matches!(code, UNKNOWN_SESSION | INVALID_SESSION_EPOCH | SESSION_TOPIC_ID)
}
