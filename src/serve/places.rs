//! Places for connections. Where all are taken, one whose client asks nothing gives way: who only holds connections keeps
//! nobody out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use crate::fold::Folded;

/// Connections that were dropped for others, or not taken, by this process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many connections were dropped for others, or not taken, since all places were.
pub(super) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// What a connection does. Those that come first give way first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Does {
    /// No whole request has come yet.
    Connects,
    /// Its requests are answered.
    Idles,
    /// A request is being answered.
    Asks,
}

/// A connection.
struct Taken {
    does: Does,
    /// When it began to do so: a later one has a larger number.
    since: u64,
    client: SocketAddr,
    /// What ends it, once it runs.
    task: Option<AbortHandle>,
}

/// All places.
pub(super) struct Places {
    most: usize,
    taken: Mutex<(u64, BTreeMap<u64, Taken>)>,
}

impl Places {
    /// For so many connections.
    pub(super) fn new(most: usize) -> Arc<Places> {
        Arc::new(Places { most, taken: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Taken>)> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place. Where there is none, the connection that has done nothing for longest is dropped; none of them is
    /// while its request is being answered.
    pub(super) fn take(self: &Arc<Self>, client: SocketAddr) -> Option<Place> {
        if self.lock().1.len() >= self.most {
            let gone = self.free();
            self.say(gone.as_ref(), client);
            gone?.task.iter().for_each(AbortHandle::abort);
        }
        let (last, all) = &mut *self.lock();
        *last += 1;
        all.insert(*last, Taken { does: Does::Connects, since: *last, client, task: None });
        Some(Place { places: Arc::clone(self), number: *last })
    }

    /// Takes the place of a connection that asks nothing, if there is one.
    fn free(&self) -> Option<Taken> {
        let (_, all) = &mut *self.lock();
        let idle = all.iter().filter(|(_, taken)| taken.does != Does::Asks);
        let (&number, _) = idle.min_by_key(|(_, taken)| (taken.does, taken.since))?;
        all.remove(&number)
    }

    /// The connection of that number is served by `task`.
    pub(super) fn runs(&self, number: u64, task: AbortHandle) {
        // It may have ended by now.
        if let Some(taken) = self.lock().1.get_mut(&number) {
            taken.task = Some(task);
        }
    }

    /// Says that a connection was dropped, or the one of `client` not taken.
    fn say(&self, gone: Option<&Taken>, client: SocketAddr) {
        static SAID: Folded = Folded::new("connections that were dropped");
        DROPPED.fetch_add(1, Ordering::Relaxed);
        let most = self.most;
        SAID.warn_always(|| match gone {
            Some(Taken { client, .. }) => {
                format!("--http: all {most} connections are taken: one from {client}, which asks nothing, is dropped")
            }
            None => {
                format!("--http: all {most} connections are being answered: that from {client} is not taken")
            }
        });
    }

    fn does(&self, number: u64, does: Does) {
        let (last, all) = &mut *self.lock();
        if let Some(taken) = all.get_mut(&number) {
            *last += 1;
            (taken.does, taken.since) = (does, *last);
        }
    }
}

/// The place of a connection, for as long as this lives.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

impl Place {
    /// The connection's number, for [`Places::runs`].
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// A request has come: it is being answered for as long as the result lives.
    pub(super) fn asked(self: &Arc<Self>) -> Asked {
        self.places.does(self.number, Does::Asks);
        Asked(Arc::clone(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().1.remove(&self.number);
    }
}

/// A request that is being answered.
pub(super) struct Asked(Arc<Place>);

impl Asked {
    /// The body of the answer; the request is answered when it has been sent.
    pub(super) fn with(self, body: Body) -> Body {
        Body::new(Answer { body, _asked: self })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.places.does(self.0.number, Does::Idles);
    }
}

struct Answer {
    body: Body,
    _asked: Asked,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_nothing_gives_way_first_and_who_is_answered_never() {
        let places = Places::new(3);
        let client = SocketAddr::from(([127, 0, 0, 1], 1));
        let take = || places.take(client).map(Arc::new);
        let is_there = |place: &Arc<Place>| places.lock().1.contains_key(&place.number());
        let (idle, silent, busy) = (take().unwrap(), take().unwrap(), take().unwrap());
        drop(idle.asked());
        let asks = busy.asked();
        let before = dropped();
        let second = take().unwrap();
        assert!(!is_there(&silent) && is_there(&idle), "it has asked nothing yet");
        let asks_too = second.asked();
        let third = take().unwrap();
        assert!(!is_there(&idle) && is_there(&busy) && is_there(&second));
        let asks_as_well = third.asked();
        assert!(take().is_none(), "all are being answered");
        assert_eq!(dropped() - before, 3);
        drop(asks_too);
        assert!(take().is_some() && !is_there(&second));
        drop((asks, asks_as_well, busy, third));
        assert!(places.lock().1.is_empty());
    }
}
