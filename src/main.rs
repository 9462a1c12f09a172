//! The program `cutwater`.

use std::process::ExitCode;

/// librdkafka makes each record in one thread and we free it in another: with the C library's allocator both wait for
/// the same lock. This one is also that of the C code in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cutwater::main(&cutwater_dataflows::registry())
}
