//! Transactions of Kafka sinks, measured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::buckets::{Buckets, DURATIONS};

/// What transactions have taken, and how often they were tried again.
#[derive(Debug)]
pub struct Transacted {
    took: Mutex<Buckets>,
    retries: AtomicU64,
}

impl Default for Transacted {
    fn default() -> Self {
        Transacted { took: Mutex::new(Buckets::new(DURATIONS)), retries: AtomicU64::new(0) }
    }
}

impl Transacted {
    /// An epoch's transaction is committed, so long after that was begun, all tries included.
    pub fn committed(&self, time: Duration) {
        self.took.lock().unwrap_or_else(PoisonError::into_inner).took(time);
    }

    /// One has failed and is tried again.
    pub fn again(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// How long those took that are committed.
    pub fn took(&self) -> Buckets {
        self.took.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often one was tried again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }
}
