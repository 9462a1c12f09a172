//! The ids of topics, by `rd_kafka_DescribeTopics`: a topic that is deleted and recreated has another.
//!
//! # Why the unsafe code is sound
//! - What librdkafka makes for the question is owned by an [`Owned`], which destroys it once, in reverse order of its
//!   making, while the client is borrowed and so alive. librdkafka copies the names and the options before
//!   `rd_kafka_DescribeTopics` returns, and keeps its own hold of the queue it answers to.
//! - What is read of the answer belongs to the event, which is borrowed while it is read; nothing of it leaves.
//! - The list of an answer's topics is as long as librdkafka says, and is not read where it is null.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char};
use std::ptr::{NonNull, null_mut};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

/// The broker to which such questions go, as the last metadata say; `None` if they name none.
pub(crate) fn controller<C: ClientContext>(client: &Client<C>) -> Option<i32> {
    // SAFETY: the client is alive.
    let id = unsafe { sys::rd_kafka_controllerid(client.native_ptr(), 0) };
    (id >= 0).then_some(id)
}

/// The ids of those of the topics that are there; 0 where the broker has none.
///
/// # Errors
/// If the cluster does not answer in time, or does not tell.
pub(crate) fn topic_ids<C: ClientContext>(
    client: &Client<C>,
    names: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, u128>> {
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let names: Vec<CString> =
        names.iter().map(|&name| CString::new(name)).collect::<Result<_, _>>().context("a topic's name")?;
    let mut pointers: Vec<*const c_char> = names.iter().map(|name| name.as_ptr()).collect();
    let rk = client.native_ptr();
    // SAFETY: the client is alive; all that is made is owned at once; the names and their list are alive and as many
    // as is said; the answer's queue is ours.
    let (queue, event) = unsafe {
        let queue = Owned::new(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy)?;
        let options =
            sys::rd_kafka_AdminOptions_new(rk, sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
        let options = Owned::new(options, sys::rd_kafka_AdminOptions_destroy)?;
        // Refuses times out of its range only: then its own default holds.
        let _ = sys::rd_kafka_AdminOptions_set_request_timeout(options.ptr(), millis, null_mut(), 0);
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len());
        let topics = Owned::new(topics, sys::rd_kafka_TopicCollection_destroy)?;
        sys::rd_kafka_DescribeTopics(rk, topics.ptr(), options.ptr(), queue.ptr());
        // A little longer, so that its own word comes in time.
        let event = sys::rd_kafka_queue_poll(queue.ptr(), millis.saturating_add(1000));
        (
            queue,
            Owned::new(event, sys::rd_kafka_event_destroy)
                .map_err(|_| KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))?,
        )
    };
    let ids = told(&event);
    drop((event, queue));
    ids
}

/// What the answer says.
///
/// # Errors
/// If it is an error, or says that of a topic.
fn told(event: &Owned<sys::rd_kafka_event_t>) -> Result<BTreeMap<String, u128>> {
    let mut ids = BTreeMap::new();
    // SAFETY: the event is alive, and so is all that it gives; it gives null where it is not of that kind.
    unsafe {
        let code = RDKafkaErrorCode::from(sys::rd_kafka_event_error(event.ptr()));
        if code != RDKafkaErrorCode::NoError {
            return Err(KafkaError::MetadataFetch(code).into());
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.ptr());
        let mut count = 0;
        if !result.is_null() {
            let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            for index in 0..if topics.is_null() { 0 } else { count } {
                let topic = *topics.add(index);
                let name = CStr::from_ptr(sys::rd_kafka_TopicDescription_name(topic)).to_string_lossy();
                let error = sys::rd_kafka_TopicDescription_error(topic);
                match RDKafkaErrorCode::from(sys::rd_kafka_error_code(error)) {
                    RDKafkaErrorCode::NoError => {}
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => continue,
                    code => return Err(KafkaError::MetadataFetch(code)).context(name.into_owned()),
                }
                let id = sys::rd_kafka_TopicDescription_topic_id(topic);
                let id = if id.is_null() {
                    0
                } else {
                    let high = sys::rd_kafka_Uuid_most_significant_bits(id) as u64;
                    let low = sys::rd_kafka_Uuid_least_significant_bits(id) as u64;
                    u128::from(high) << 64 | u128::from(low)
                };
                ids.insert(name.into_owned(), id);
            }
        }
    }
    Ok(ids)
}

/// Something that librdkafka made for us.
struct Owned<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// # Safety
    /// `pointer` is null, or nobody else owns it, and `destroy` ends it.
    ///
    /// # Errors
    /// If it is null.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self> {
        let pointer = NonNull::new(pointer).context("librdkafka gives nothing")?;
        Ok(Owned { pointer, destroy })
    }

    fn ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: as the maker says; once.
        unsafe { (self.destroy)(self.pointer.as_ptr()) }
    }
}
