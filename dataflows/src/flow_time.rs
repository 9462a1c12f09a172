//! The time of a flow that is being built: what the workers report is brought to all of them, and told by epoch.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::core::feedback::Handle;
use timely::dataflow::operators::vec::{Broadcast, Map};
use timely::dataflow::operators::{Capability, Concatenate, ConnectLoop, Feedback, Operator};
use timely::dataflow::{Scope, Stream};

use crate::Epoch;
use crate::driver::Report;
use crate::limits::Limits;
use crate::waker::{Waker, Wakers};
use crate::watermark::{Now, TimeReport, Times, Watermarks};

/// What the runtime gives a dataflow of time, and takes.
#[derive(Clone, Default)]
pub struct FlowTime {
    /// The times of the epoch that the run resumes after; `None` where it begins.
    pub before: Option<Times>,
    /// Asked for by operators, heard by the runtime.
    pub wakers: Wakers,
}

/// The time of a flow under construction. Nothing of it is built unless the dataflow asks.
pub(crate) struct TimeOfFlow<'s> {
    given: FlowTime,
    now: RefCell<Option<Stream<'s, Epoch, Vec<Now>>>>,
    /// Takes what the workers report, once all inputs are there.
    reports: RefCell<Option<Handle<'s, Epoch, Vec<Told>>>>,
    /// What decides on late records, where a lateness is set.
    limits: RefCell<Option<Rc<Limits>>>,
}

/// What a worker reports to all: the input, whether something was read or the epoch was closed for a timer, and the time.
type Told = (String, bool, TimeReport);

impl<'s> TimeOfFlow<'s> {
    pub(crate) fn new(given: FlowTime) -> Rc<Self> {
        Rc::new(TimeOfFlow {
            given,
            now: RefCell::default(),
            reports: RefCell::default(),
            limits: RefCell::default(),
        })
    }

    /// Sets the lateness. Late records need the time.
    pub(crate) fn set_lateness(&self, lateness: Duration, scope: Scope<'s, Epoch>) {
        let before = self.before().and_then(|before| before.watermark);
        *self.limits.borrow_mut() = Some(Limits::new(lateness, before));
        drop(self.now(scope));
    }

    /// The time of the epoch that the run resumes after, if it does.
    pub(crate) fn before(&self) -> Option<Now> {
        self.given.before.as_ref().map(Now::from)
    }

    /// One that asks for epochs.
    pub(crate) fn waker(&self) -> Waker {
        self.given.wakers.waker()
    }

    pub(crate) fn limits(&self) -> Option<Rc<Limits>> {
        self.limits.borrow().clone()
    }

    pub(crate) fn now(&self, scope: Scope<'s, Epoch>) -> Stream<'s, Epoch, Vec<Now>> {
        let mut now = self.now.borrow_mut();
        let build = || {
            // All inputs are needed, and some may be named later. This is no loop, so nothing is advanced.
            let (handle, told) = scope.feedback(0);
            *self.reports.borrow_mut() = Some(handle);
            self.given.wakers.timed();
            tell(told, self.given.clone(), self.limits())
        };
        now.get_or_insert_with(build).clone()
    }

    /// All inputs are there, and these are their reports.
    pub(crate) fn finish(&self, scope: Scope<'s, Epoch>, reports: &[Stream<'s, Epoch, Vec<Report>>]) {
        let Some(handle) = self.reports.borrow_mut().take() else { return };
        let told = scope.concatenate(reports.iter().cloned());
        let told = told.flat_map(|report: Report| {
            let is_epoch = report.is_epoch();
            report.time.map(|time| (report.input, is_epoch, time))
        });
        told.broadcast().connect_loop(handle);
    }
}

/// Tells the time of each epoch, when all workers have reported.
fn tell<'s>(
    told: Stream<'s, Epoch, Vec<Told>>,
    given: FlowTime,
    limits: Option<Rc<Limits>>,
) -> Stream<'s, Epoch, Vec<Now>> {
    let FlowTime { before, wakers } = given;
    let mut watermarks = Watermarks::after(before.unwrap_or_default());
    told.unary_frontier::<CapacityContainerBuilder<Vec<Now>>, _, _, _>(Pipeline, "Now", |_, _| {
        let mut pending: BTreeMap<Epoch, (Capability<Epoch>, Vec<Told>)> = BTreeMap::new();
        move |(input, frontier), output| {
            input.for_each(|capability, told| {
                let Some(held) = capability.retain_least(0) else { return };
                pending.entry(*held.time()).or_insert_with(|| (held, Vec::new())).1.append(told);
            });
            while let Some(first) = pending.first_entry().filter(|first| !frontier.less_equal(first.key())) {
                let (capability, told) = first.remove();
                // When the inputs end, a worker may say something although there is no such epoch.
                if told.iter().any(|&(_, is_epoch, _)| is_epoch) {
                    let times = told.iter().map(|(input, _, time)| (input.as_str(), *time));
                    let now = Now::from(watermarks.advance(times));
                    wakers.reached(now);
                    output.session(&capability).give(now);
                }
            }
            if let Some(limits) = &limits
                && let Some(open) = frontier.frontier().first()
            {
                limits.reached(open.saturating_sub(1), Now::from(watermarks.times()).watermark);
            }
        }
    })
}
