//! What fills views: the one that writes them, in the thread that publishes.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use cutwater_dataflows::flat::FlatBatch;
use cutwater_dataflows::render::encoded;
use cutwater_dataflows::source::{Report, times};
use cutwater_dataflows::{Diff, Epoch};

use super::merger::{Busy, Merger, Task};
use super::sorted::{Since, Sorted};
use super::{Held, History, Published, View, Views};
use crate::publish;
use crate::state::cut::Cut;
use crate::state::resume::Resume;

/// The changes of two runs up to which they are merged at once: well below a millisecond.
const AT_ONCE: usize = 4096;

/// Fills views.
pub(super) struct Publisher {
    views: Views,
    history: History,
    held: Held,
    merger: Merger,
    /// What precedes the first epoch, until all of it has come.
    before: BTreeMap<usize, Vec<FlatBatch>>,
    /// By input, topic and partition.
    cut: Cut,
    /// When the last epoch closed.
    closed: i64,
    /// The epoch of the checkpoint that the run resumes from, or 0.
    checkpoint: Epoch,
    /// The epoch up to which a run before had read.
    last: Epoch,
    /// Bytes of all epochs that are held.
    size: usize,
}

impl Publisher {
    pub(super) fn new(views: Views, history: History, resume: Option<&Resume>) -> Result<Self> {
        let mut held = Held::clone(&views.0.now.load());
        let (checkpoint, last) = resume.map_or((0, 0), |resume| (resume.checkpoint, resume.last()));
        held.changes_after = checkpoint;
        for (view, output) in held.views.iter_mut().zip(views.outputs()) {
            let lacks = output.appends || !output.restorable;
            view.since = (lacks && checkpoint > 0).then_some(checkpoint);
            view.appends = output.appends;
        }
        Ok(Publisher {
            views,
            history,
            held,
            merger: Merger::start()?,
            before: BTreeMap::new(),
            cut: resume.map(|resume| resume.cut.clone()).unwrap_or_default(),
            closed: resume.map_or(0, |resume| resume.times.closed),
            checkpoint,
            last,
            size: 0,
        })
    }

    /// Shows what is held to all who ask from now on.
    fn show(&mut self) {
        let newest = self.held.epochs.newest().map(|published| published.epoch);
        self.held.ready = newest.is_some_and(|newest| newest >= self.last);
        self.views.0.now.store(Arc::new(self.held.clone()));
        if self.held.ready {
            self.views.0.newest.send_replace(newest);
        }
    }

    /// Notes an epoch.
    fn note(&mut self, epoch: Epoch, changes: BTreeMap<usize, Arc<Sorted>>) {
        let next = self.cut.by_topic();
        let cut = serde_json::to_string(&next).unwrap_or_default();
        // What changed is held twice once it is merged.
        let size = 256 + cut.len() + changes.values().map(|sorted| 2 * sorted.size()).sum::<usize>();
        self.size += size;
        for (&output, sorted) in &changes {
            self.held.views[output].changed += sorted.size();
        }
        self.held.next = Arc::new(next);
        let published = Published { epoch, cut, closed: self.closed, at: Instant::now(), changes, size };
        self.held.epochs.push(Arc::new(published));
    }

    /// Lets go of epochs that are too old, or too much.
    fn forget(&mut self) {
        while let Some(second) = self.held.epochs.get(1) {
            // An epoch is the newest until the next one.
            if second.at.elapsed() <= self.history.time && self.size <= self.history.bytes {
                return;
            }
            let Some(first) = self.held.epochs.pop() else { return };
            self.size -= first.size;
            self.held.changes_after = first.epoch;
            for (output, view) in self.held.views.iter_mut().enumerate() {
                view.changed -= first.changes.get(&output).map_or(0, |sorted| sorted.size());
                if view.appends {
                    view.since = Some(first.epoch);
                    view.rows -= first.changes(output).map(|(_, diff)| diff).sum::<Diff>();
                }
            }
        }
    }

    /// What is asked of old epochs of a view.
    fn since(&self, output: usize) -> Since {
        match self.held.views[output].since {
            Some(since) if self.held.views[output].appends => Since::After(since),
            _ => Since::AsOf(self.held.epochs.get(0).map_or(0, |oldest| oldest.epoch)),
        }
    }

    /// Merges runs of about one size, at once where they are small.
    fn merge(&mut self) {
        if let Some((Busy { output, place, runs }, merged)) = self.merger.take() {
            self.held.views[output].replace(place, runs, merged);
        }
        for output in 0..self.held.views.len() {
            let since = self.since(output);
            let busy = self.merger.busy().filter(|busy| busy.output == output);
            let from = busy.map_or(0, |busy| busy.place + busy.runs);
            let view = &mut self.held.views[output];
            while let Some(place) = view.due(from) {
                let runs = &view.runs[place..];
                if runs.iter().map(|run| run.weight()).sum::<usize>() > AT_ONCE {
                    if self.merger.busy().is_none() {
                        // Where it was too slow for what came since, this is more than two.
                        let place = view.first_due();
                        let runs = view.runs[place..].to_vec();
                        self.merger.merge(Task { output, place, runs, since });
                    }
                    break;
                }
                let merged = Sorted::merge(runs, since);
                view.replace(place, runs.len(), merged);
            }
        }
    }
}

impl View {
    /// The last place, from a place on, whose run is less than twice all those that follow: those are to be merged with it.
    fn due(&self, from: usize) -> Option<usize> {
        let mut following = 0;
        for place in (from..self.runs.len()).rev() {
            let weight = self.runs[place].weight();
            if weight < 2 * following {
                return Some(place);
            }
            following += weight;
        }
        None
    }

    /// The first place whose run is less than twice all those that follow, or the last.
    fn first_due(&self) -> usize {
        let mut following: usize = self.runs.iter().map(|run| run.weight()).sum();
        let due = self.runs.iter().position(|run| {
            following -= run.weight();
            run.weight() < 2 * following
        });
        due.unwrap_or(self.runs.len().saturating_sub(1))
    }

    /// Puts one run in the place of some.
    fn replace(&mut self, place: usize, runs: usize, merged: Sorted) {
        self.runs.splice(place..place + runs, (merged.len() > 0).then(|| Arc::new(merged)));
    }

    /// Adds a run.
    fn add(&mut self, sorted: &Arc<Sorted>) {
        self.rows +=
            (0..sorted.len()).flat_map(|index| sorted.changes(index)).map(|(_, diff)| diff).sum::<Diff>();
        self.runs.push(Arc::clone(sorted));
    }
}

impl publish::Views for Publisher {
    fn restore(&mut self, output: usize, mut rows: Vec<FlatBatch>) {
        if !self.views.outputs()[output].appends {
            self.before.entry(output).or_default().append(&mut rows);
        }
    }

    fn restored(&mut self) {
        for (output, batches) in take(&mut self.before) {
            let sorted = Sorted::of(self.checkpoint, batches.iter().flat_map(encoded));
            self.held.views[output].add(&Arc::new(sorted));
        }
        if self.checkpoint > 0 {
            self.note(self.checkpoint, BTreeMap::new());
            self.show();
        }
    }

    fn publish(&mut self, epoch: Epoch, changes: BTreeMap<usize, Vec<FlatBatch>>, reports: &[Report]) {
        for report in reports {
            for moved in &report.moved {
                self.cut.set(&report.input, &moved.topic, moved.partition, moved.next);
            }
        }
        let closed = times(reports).map(|(_, time)| time.closed).max();
        self.closed = closed.unwrap_or(self.closed).max(self.closed);
        let sorted = changes.into_iter().filter_map(|(output, batches)| {
            let sorted = Sorted::of(epoch, batches.iter().flat_map(encoded));
            (sorted.len() > 0).then(|| (output, Arc::new(sorted)))
        });
        let sorted: BTreeMap<usize, Arc<Sorted>> = sorted.collect();
        for (&output, sorted) in &sorted {
            self.held.views[output].add(sorted);
        }
        self.note(epoch, sorted);
        self.forget();
        self.merge();
        self.show();
    }
}
