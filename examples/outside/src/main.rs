//! The program: Cutwater's whole command line, for these dataflows, with one kind of sinks more.

use cutwater::prelude::*;
use cutwater_outside::dataflows::{Alarms, Sales, Sessions};
use cutwater_outside::epoch_files;

cutwater::main!([entry::<Sales>(), entry::<Alarms>(), entry::<Sessions>()], sinks = [epoch_files::kind()]);
