//! The program `cutwater`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cutwater::main(&cutwater_dataflows::registry())
}
