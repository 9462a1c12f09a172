//! Many messages in one call: the consumer's queue, read by `rd_kafka_consume_batch_queue`.
//!
//! rdkafka's own `poll` hands out one message a call, behind an allocation of its own, and tells of the end
//! of a partition without its topic. This reads a batch of pointers at once and says where every end was.
//!
//! # Why the unsafe code is sound
//! - The queue handles and the messages belong to a client that is kept alive: [`Batches`] and each [`Kept`] hold the
//!   consumer in an [`Arc`], and destroy what is the client's before they let go of it. A [`Lent`] message can't
//!   outlive the call in which it is lent.
//! - librdkafka fills the first `n` places of the buffer with pointers to messages that are ours until
//!   `rd_kafka_message_destroy`. Each is destroyed exactly once, by the [`Message`] that owns it, also when
//!   the caller's closure panics: pointers not yet handed over are then leaked, never used.
//! - A message's key, value, topic name and headers are borrowed from the message that the caller sees by reference,
//!   so nothing outlives the message. The topic's name is that of the topic's handle, which each message keeps alive. It is
//!   looked up once for a handle and call: the messages of one call are all alive when it begins, so two of them that have
//!   the same address for a handle have the same handle.
//! - librdkafka's queues and messages may be used from any thread, but these types are used by one (they are not
//!   `Send`).

use std::ffi::{CStr, CString};
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;

use cutwater_dataflows::record::{Headers, Record};
use rdkafka::bindings as sys;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaErrorCode;

/// Reads a consumer's queue.
pub(crate) struct Batches<C: ConsumerContext + 'static> {
    queue: NonNull<sys::rd_kafka_queue_t>,
    /// Where the client's logs go: among the messages they would be printed by librdkafka itself.
    logs: NonNull<sys::rd_kafka_queue_t>,
    buffer: Vec<*mut sys::rd_kafka_message_t>,
    consumer: Arc<BaseConsumer<C>>,
}

/// One thing that a consumer's queue held.
pub(crate) enum Event<'a> {
    /// A record.
    Record(Record<'a>),
    /// The end of its partition: all below `offset` was handed over or is a gap.
    End { offset: i64 },
    /// All of its partition below `offset` was handed over or is a gap. librdkafka never says so.
    #[cfg_attr(not(feature = "direct"), expect(dead_code))]
    Passed { offset: i64 },
    /// An error, of one partition where `topic` is not empty; of one place of it where `offset` is not negative.
    Error { topic: &'a str, partition: i32, offset: i64, code: RDKafkaErrorCode, text: String },
}

impl<C: ConsumerContext> Batches<C> {
    /// Reads the queue of `consumer`, up to `size` messages a call. The consumer must not be polled by other
    /// means from then on.
    ///
    /// # Panics
    /// If the consumer has no group: then it has no queue.
    pub(crate) fn new(consumer: Arc<BaseConsumer<C>>, size: usize) -> Self {
        // SAFETY: the pointer is that of a live client.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
        let queue = NonNull::new(queue).expect("a consumer with a group has a queue");
        // SAFETY: likewise; the client takes its own hold of the queue that it is to log to.
        let logs = unsafe {
            let logs = sys::rd_kafka_queue_new(consumer.client().native_ptr());
            sys::rd_kafka_set_log_queue(consumer.client().native_ptr(), logs);
            logs
        };
        let logs = NonNull::new(logs).expect("a client makes queues");
        let batches = Batches { queue, logs, buffer: vec![null_mut(); size], consumer };
        // What it has logged while it was made; nothing else is there before partitions are assigned.
        batches.serve_logs(queue);
        batches
    }

    /// The consumer.
    pub(crate) fn consumer(&self) -> &Arc<BaseConsumer<C>> {
        &self.consumer
    }

    /// Lends what the queue holds to `each`, at most `most` and at most as many as the buffer takes, without
    /// waiting. Returns how many that were: fewer than asked for means that the queue is empty.
    #[cfg(feature = "bench")]
    pub(crate) fn poll(&mut self, most: usize, each: &mut dyn FnMut(Lent<'_, C>)) -> usize {
        let read = self.take(most);
        self.lend(read, each)
    }

    /// As [`Batches::poll`], but first has `check` look at the client's context, which by then has all that the client had
    /// logged when it queued what is about to be lent.
    ///
    /// # Errors
    /// Those of `check`: then what the queue held is dropped.
    pub(crate) fn poll_checked<E>(
        &mut self,
        most: usize,
        check: impl FnOnce(&C) -> Result<(), E>,
        each: &mut dyn FnMut(Lent<'_, C>),
    ) -> Result<usize, E> {
        let read = self.take(most);
        if let Err(error) = check(self.consumer.context()) {
            self.lend(read, &mut |lent| drop(lent));
            return Err(error);
        }
        Ok(self.lend(read, each))
    }

    /// Takes what the queue holds into the buffer, and then serves the logs. Returns how many messages are ours now.
    fn take(&mut self, most: usize) -> usize {
        let most = most.min(self.buffer.len());
        // SAFETY: the queue is alive, and the buffer has room for `most` pointers.
        let read = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.buffer.as_mut_ptr(), most)
        };
        self.serve_logs(self.logs);
        // Negative is an error of the call itself, which a live queue does not give.
        usize::try_from(read).unwrap_or(0)
    }

    /// Lends the first `read` messages of the buffer, which were just taken.
    fn lend(&mut self, read: usize, each: &mut dyn FnMut(Lent<'_, C>)) -> usize {
        let (mut topic, mut partition) = (Topic::NONE, None);
        for &message in &self.buffer[..read] {
            let Some(raw) = NonNull::new(message) else { continue };
            // SAFETY: the message is alive, and so is its topic.
            unsafe {
                let raw = raw.as_ref();
                if raw.rkt != topic.handle {
                    (topic, partition) = (Topic::of(raw.rkt), None);
                }
            }
            let message = Message { raw, topic: topic.name };
            let of = message.raw().partition;
            let follows = partition.replace(of) == Some(of);
            each(Lent { message, follows, consumer: &self.consumer });
        }
        read
    }

    /// Hands the logs that a queue of the client holds to the client's context.
    fn serve_logs(&self, queue: NonNull<sys::rd_kafka_queue_t>) {
        loop {
            // SAFETY: the queue is alive; the event is ours until it is destroyed, once, below.
            let Some(event) = NonNull::new(unsafe { sys::rd_kafka_queue_poll(queue.as_ptr(), 0) }) else {
                return;
            };
            let (mut facility, mut text, mut level) = (null(), null(), 0);
            // SAFETY: the event is alive and the places are ours. Where it is a log event, both texts are C strings
            // that live as long as it does; another kind is an error code, and nothing is read.
            unsafe {
                if sys::rd_kafka_event_log(event.as_ptr(), &raw mut facility, &raw mut text, &raw mut level)
                    == 0
                {
                    let (facility, text) = (CStr::from_ptr(facility), CStr::from_ptr(text));
                    let level = log_level(level);
                    self.consumer.context().log(level, &facility.to_string_lossy(), &text.to_string_lossy());
                }
                sys::rd_kafka_event_destroy(event.as_ptr());
            }
        }
    }

    /// The end of a partition as last heard from the broker; `None` before the first answer.
    pub(crate) fn known_end(&self, topic: &str, partition: i32) -> Option<i64> {
        let topic = CString::new(topic).ok()?;
        let (mut low, mut high) = (-1, -1);
        // SAFETY: the client is alive, the name is a C string, and both places are ours.
        unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.consumer.client().native_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            );
        }
        (high >= 0).then_some(high)
    }
}

impl<C: ConsumerContext> Drop for Batches<C> {
    fn drop(&mut self) {
        // SAFETY: both are ours, and destroyed once, while the client is alive.
        unsafe {
            sys::rd_kafka_queue_destroy(self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(self.logs.as_ptr());
        }
    }
}

/// librdkafka's levels are those of syslog.
fn log_level(level: i32) -> RDKafkaLogLevel {
    match level {
        ..=3 => RDKafkaLogLevel::Error,
        4 => RDKafkaLogLevel::Warning,
        5 => RDKafkaLogLevel::Notice,
        6 => RDKafkaLogLevel::Info,
        _ => RDKafkaLogLevel::Debug,
    }
}

/// What a consumer's queue held, for the length of a call.
pub(crate) struct Lent<'a, C: ConsumerContext + 'static> {
    message: Message,
    follows: bool,
    consumer: &'a Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> Lent<'_, C> {
    /// What it is.
    pub(crate) fn event(&self) -> Event<'_> {
        self.message.event()
    }

    /// True iff it is a record. Cheaper than to look at what it is.
    #[cfg(feature = "bench")]
    pub(crate) fn is_record(&self) -> bool {
        RDKafkaErrorCode::from(self.message.raw().err) == RDKafkaErrorCode::NoError
    }

    /// The topic that it is of; empty where it is of none.
    pub(crate) fn topic(&self) -> &str {
        self.message.topic()
    }

    /// The partition of that topic.
    pub(crate) fn partition(&self) -> i32 {
        self.message.raw().partition
    }

    /// The broker that it came from; `None` where that is not known.
    pub(crate) fn broker(&self) -> Option<i32> {
        // SAFETY: the message is alive.
        let broker = unsafe { sys::rd_kafka_message_broker_id(self.message.raw()) };
        (broker >= 0).then_some(broker)
    }

    /// True only if it is of the same partition as the one that was lent before it, in the same call.
    #[inline]
    pub(crate) fn follows(&self) -> bool {
        self.follows
    }

    /// Keeps it beyond the call.
    pub(crate) fn keep(self) -> Kept<C> {
        Kept { message: self.message, _consumer: Arc::clone(self.consumer) }
    }
}

/// What a consumer's queue held, kept.
pub(crate) struct Kept<C: ConsumerContext + 'static> {
    // In this order: the message is destroyed while the client is alive.
    message: Message,
    _consumer: Arc<BaseConsumer<C>>,
}

impl<C: ConsumerContext> Kept<C> {
    /// What it is.
    pub(crate) fn event(&self) -> Event<'_> {
        self.message.event()
    }
}

/// A topic of some messages.
struct Topic {
    handle: *mut sys::rd_kafka_topic_t,
    /// Lives as long as the handle.
    name: NonNull<str>,
}

impl Topic {
    /// That of messages of no topic.
    const NONE: Topic = Topic { handle: null_mut(), name: NonNull::from_ref("") };

    /// # Safety
    /// The handle is null or alive.
    unsafe fn of(handle: *mut sys::rd_kafka_topic_t) -> Topic {
        if handle.is_null() {
            return Topic::NONE;
        }
        // SAFETY: the handle is alive, and a topic has a name.
        let name = unsafe { CStr::from_ptr(sys::rd_kafka_topic_name(handle)) };
        // Kafka's topic names are ASCII.
        Topic { handle, name: NonNull::from_ref(name.to_str().unwrap_or("")) }
    }
}

/// A message that is ours.
struct Message {
    raw: NonNull<sys::rd_kafka_message_t>,
    /// The name of the topic whose handle it holds.
    topic: NonNull<str>,
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: ours, and destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.raw.as_ptr()) }
    }
}

impl Message {
    fn raw(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: alive until `self` is dropped, and not written meanwhile.
        unsafe { self.raw.as_ref() }
    }

    fn event(&self) -> Event<'_> {
        let raw = self.raw();
        let (topic, partition) = (self.topic(), raw.partition);
        let code = RDKafkaErrorCode::from(raw.err);
        match code {
            RDKafkaErrorCode::NoError => {
                let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
                // SAFETY: the message is alive, and the place is ours.
                let timestamp = unsafe { sys::rd_kafka_message_timestamp(raw, &raw mut kind) };
                Event::Record(Record {
                    topic,
                    partition,
                    offset: raw.offset,
                    timestamp: (timestamp >= 0).then_some(timestamp),
                    // SAFETY: librdkafka gives pointer and length of memory that lives as long as the message.
                    key: unsafe { bytes(raw.key, raw.key_len) },
                    // SAFETY: likewise.
                    value: unsafe { bytes(raw.payload, raw.len) },
                    headers: self,
                })
            }
            RDKafkaErrorCode::PartitionEOF => Event::End { offset: raw.offset },
            code => {
                // SAFETY: the message is alive; the text is a C string that lives as long.
                let text = unsafe { sys::rd_kafka_message_errstr(raw) };
                let text = if text.is_null() {
                    code.to_string()
                } else {
                    // SAFETY: not null, so a C string.
                    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
                };
                Event::Error { topic, partition, offset: raw.offset, code, text }
            }
        }
    }

    /// The topic's name; empty where the message is of no topic.
    fn topic(&self) -> &str {
        // SAFETY: the message holds the handle that the name belongs to.
        unsafe { self.topic.as_ref() }
    }
}

/// # Safety
/// `pointer` is null, or `length` bytes are there and stay as they are for `'a`.
unsafe fn bytes<'a>(pointer: *const std::ffi::c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: as the caller says.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer.cast(), length) })
}

impl Headers for Message {
    fn last(&self, name: &str) -> Option<&[u8]> {
        let mut headers = null_mut();
        // SAFETY: the message is alive and the place is ours; the headers live as long as the message.
        if RDKafkaErrorCode::from(unsafe { sys::rd_kafka_message_headers(self.raw(), &raw mut headers) })
            != RDKafkaErrorCode::NoError
        {
            return None;
        }
        let mut found = None;
        for index in 0.. {
            let (mut key, mut value, mut length) = (null(), null(), 0);
            // SAFETY: the headers are alive and the places are ours; an index past the last is an error code.
            let code = unsafe {
                sys::rd_kafka_header_get_all(headers, index, &raw mut key, &raw mut value, &raw mut length)
            };
            if RDKafkaErrorCode::from(code) != RDKafkaErrorCode::NoError {
                break;
            }
            // SAFETY: a header has a name, and it lives as long as the message.
            if unsafe { CStr::from_ptr(key) }.to_bytes() == name.as_bytes() {
                // SAFETY: librdkafka gives pointer and length of memory that lives as long as the message.
                found = unsafe { bytes(value, length) };
            }
        }
        found
    }
}
