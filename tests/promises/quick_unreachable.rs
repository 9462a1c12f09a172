//! Nobody at the address.

use nix::sys::signal::Signal::SIGTERM;

use crate::support::program::word_count;

/// Where nobody listens: a reserved port.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn a_broker_that_does_not_answer_is_an_error_after_some_time() {
    for shape in ["-w 1", "-w 2 --until-end"] {
        let ended = word_count(NOBODY, "lines").with("--connect-timeout 3s").with(shape).run();
        let ended = ended.fails(1, &["no broker at", NOBODY, "within 3s", "--connect-timeout"]);
        ended.says(&["trying again"]);
        assert!(ended.stdout.is_empty());
    }
    let ended = word_count(NOBODY, "lines").with("--connect-timeout 5s -n 2").run().expect(1);
    ended.says(&["no broker at", NOBODY, "within 5s"]);
}

#[test]
fn a_signal_ends_the_waiting() {
    for shape in ["-w 1", "-n 2"] {
        let run = word_count(NOBODY, "lines").with(shape).start();
        run.wait_stderr("trying again");
        run.signal(SIGTERM);
        run.wait().expect(0);
    }
}
