//! What librdkafka can do and rdkafka does not offer: the only module of this crate with `unsafe`. Each part says why its
//! own is sound.
#![allow(unsafe_code)]

pub(crate) mod batch;
pub(crate) mod login;
pub(crate) mod topic_ids;
