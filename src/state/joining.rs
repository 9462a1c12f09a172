//! The ids of topics that a run reads: compared, and for a job with state in `job.json`, before anything of them leaves.

use std::sync::Arc;

use anyhow::Result;
use cutwater_dataflows::Epoch;
use cutwater_dataflows::source::Report;

use super::digest::Digests;
use super::identity::Identity;
use super::storage::Storage;
use crate::kafka::identity::{Ids, Pinned};
use crate::publish::Cuts;

/// Hears of every cut before the ledger does. Each worker's first report of a partition tells the topic's id: that of
/// another process must be ours.
pub struct Joining {
    ids: Pinned,
    kept: Option<Kept>,
}

/// Where a job with state keeps the ids, and who hears of its cuts next.
struct Kept {
    storage: Arc<dyn Storage>,
    identity: Identity,
    cuts: Box<dyn Cuts>,
}

impl Joining {
    /// For a run without state.
    pub fn new(ids: Pinned) -> Self {
        Joining { ids, kept: None }
    }

    /// For a job whose identity is that in `storage`, and whose `cuts` hear of every cut next.
    ///
    /// # Errors
    /// If a topic has another id than the job knows.
    pub fn kept(
        ids: Pinned,
        storage: Arc<dyn Storage>,
        identity: Identity,
        cuts: Box<dyn Cuts>,
    ) -> Result<Self> {
        ids.learn(&identity.topics)?;
        ids.learn(&identity.outputs)?;
        Ok(Joining { ids, kept: Some(Kept { storage, identity, cuts }) })
    }
}

impl Cuts for Joining {
    fn append(
        &mut self,
        epoch: Epoch,
        reports: &[Report],
        digests: &Digests,
        published: Epoch,
    ) -> Result<()> {
        let moved = || reports.iter().flat_map(|report| &report.moved);
        let told: Ids = moved()
            .filter(|moved| moved.id.is_some())
            .map(|moved| (moved.topic.clone(), moved.id.clone()))
            .collect();
        // Two processes may tell of the same topic in the same epoch.
        for moved in moved().filter(|moved| moved.id.is_some()) {
            self.ids.learn(&Ids::from([(moved.topic.clone(), moved.id.clone())]))?;
        }
        let Some(kept) = &mut self.kept else { return Ok(()) };
        kept.identity.join(told, &*kept.storage)?;
        kept.cuts.append(epoch, reports, digests, published)
    }

    fn sync(&mut self) -> Result<()> {
        self.kept.as_mut().map_or(Ok(()), |kept| kept.cuts.sync())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cutwater_dataflows::source::Moved;

    use super::super::identity::FORMAT;
    use super::super::storage::fake::FakeDisk;
    use super::super::storage::files::Files;
    use super::*;

    /// Keeps, for each epoch that it hears of, the identity that is stored by then.
    struct Listening(Arc<Files>, Arc<Mutex<Vec<(Epoch, Ids)>>>);

    impl Cuts for Listening {
        fn append(&mut self, epoch: Epoch, _: &[Report], _: &Digests, _: Epoch) -> Result<()> {
            let stored = Identity::load(&*self.0)?.expect("it is stored");
            self.1.lock().unwrap().push((epoch, stored.topics));
            Ok(())
        }
        fn sync(&mut self) -> Result<()> {
            Ok(())
        }
    }

    fn ids(of: &[(&str, Option<&str>)]) -> Ids {
        of.iter().map(|&(topic, id)| (topic.to_owned(), id.map(str::to_owned))).collect()
    }

    fn report(topic: &str, id: Option<&str>) -> Report {
        let id = id.map(str::to_owned);
        let moved = Moved { topic: topic.into(), partition: 0, start: Some(0), id, next: 1, end: 1 };
        Report { input: "lines".into(), moved: vec![moved], ..Report::default() }
    }

    #[test]
    fn a_topic_that_joins_is_stored_before_its_records_leave_and_must_stay() {
        let files = Arc::new(Files::new(Arc::new(FakeDisk::new(0))));
        let identity = Identity { format: FORMAT, topics: ids(&[("a", Some("1"))]), ..Identity::default() };
        let identity = identity.adopt(&*files).unwrap();
        let (heard, none) = (Arc::default(), Digests::new());
        let next = Box::new(Listening(Arc::clone(&files), Arc::clone(&heard)));
        let mut joining = Joining::kept(Pinned::default(), files, identity, next).unwrap();
        joining.append(1, &[report("a", Some("1"))], &none, 0).unwrap();
        joining.append(2, &[report("b", Some("2")), report("c", None)], &none, 0).unwrap();
        let error = joining.append(3, &[report("b", Some("3"))], &none, 0).unwrap_err().to_string();
        assert!(error.contains("topic b was deleted and recreated"), "{error}");
        let both = report("d", Some("4"));
        assert!(joining.append(3, &[both, report("d", Some("5"))], &none, 0).is_err());
        let heard = heard.lock().unwrap();
        assert_eq!(heard[0], (1, ids(&[("a", Some("1"))])));
        assert_eq!(heard[1], (2, ids(&[("a", Some("1")), ("b", Some("2"))])));
        assert_eq!(heard.len(), 2);
    }

    #[test]
    fn without_state_ids_are_compared_all_the_same() {
        let (mut joining, none) = (Joining::new(Pinned::default()), Digests::new());
        joining.append(1, &[report("a", Some("1"))], &none, 0).unwrap();
        assert!(joining.append(2, &[report("a", Some("2"))], &none, 0).is_err());
    }
}
