//! In place of direct fetches, where they are not built in: there are none, and asking for them is an error that says so.

use std::sync::{Arc, OnceLock};

use anyhow::{Result, bail};

use super::super::Waker;
use crate::kafka::client::Settings;
use crate::kafka::identity::Pinned;
use reader::Reader;

/// There is none.
pub(super) enum Direct {}

impl Direct {
    pub(super) fn check(_: &Settings) -> Result<()> {
        bail!("--fetch direct: this program was built without it (cargo feature direct)")
    }

    pub(super) fn start(settings: &Settings, _: &Pinned) -> Result<Self> {
        Direct::check(settings)?;
        bail!("--fetch direct: there is none")
    }

    pub(super) fn reader(&self, _: &Arc<OnceLock<Waker>>, _: usize) -> Result<Reader> {
        match *self {}
    }
}

pub(super) mod reader {
    use std::marker::PhantomData;

    use anyhow::Result;

    use super::super::reader::{Handed, Kept};
    use crate::kafka::native::batch::Event;

    /// There is none.
    pub(in super::super) enum Reader {}

    impl Reader {
        pub(in super::super) fn assign<'a>(&mut self, _: impl Iterator<Item = (&'a str, i32, i64)>) {
            match *self {}
        }

        pub(in super::super) fn pause<'a>(&mut self, _: impl Iterator<Item = (&'a str, i32)>, _: bool) {
            match *self {}
        }

        pub(in super::super) fn known_end(&self, _: &str, _: i32) -> Option<i64> {
            match *self {}
        }

        pub(in super::super) fn poll(&mut self, _: usize, _: &mut dyn FnMut(Given<'_>)) -> Result<usize> {
            match *self {}
        }
    }

    enum None {}

    /// There is none.
    pub(in super::super) struct Given<'a>(None, PhantomData<&'a ()>);

    impl Handed for Given<'_> {
        fn event(&self) -> Event<'_> {
            match self.0 {}
        }

        fn topic(&self) -> &str {
            match self.0 {}
        }

        fn partition(&self) -> i32 {
            match self.0 {}
        }

        fn broker(&self) -> Option<i32> {
            match self.0 {}
        }

        fn follows(&self) -> bool {
            match self.0 {}
        }

        fn keep(self) -> Kept {
            match self.0 {}
        }
    }

    /// There is none.
    pub(in super::super) enum Copied {}

    impl Copied {
        pub(in super::super) fn event(&self) -> Event<'_> {
            match *self {}
        }
    }
}
