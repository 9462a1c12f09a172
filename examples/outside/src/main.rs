//! The program: Cutwater's whole command line, for these dataflows, with a format and a kind of sinks more.

use cutwater::prelude::*;
use cutwater_outside::dataflows::{Alarms, Sales, Sessions};
use cutwater_outside::epoch_files;
use cutwater_outside::hot_machines::HotMachines;
use cutwater_outside::logfmt::Logfmt;

cutwater::main!(
    [
        entry::<Sales>().format(Logfmt),
        entry::<Alarms>().format(Logfmt),
        entry::<Sessions>().format(Logfmt),
        entry::<HotMachines>()
    ],
    sinks = [epoch_files::kind()]
);
