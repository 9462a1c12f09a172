//! Dead letters are put back once, whatever becomes of the process that does it: on a broker that knows aborted transactions.

use std::sync::{Mutex, PoisonError};

use cutwater::crash::VARIABLE;

use crate::quick_reinject::Bank;
use crate::support::broker::real;

/// All that is put back on a cluster has one transactional id, so that of two who do it at once one is fenced: tests go by turns.
static ONE: Mutex<()> = Mutex::new(());

#[test]
fn a_crash_in_the_middle_puts_none_back_twice() {
    let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for (point, back) in [("reinject-sent", 0), ("reinject-committed", 2)] {
        let bank = Bank::on(real().topic(1));
        let corrected = bank.corrections();
        let died = bank.reinject(&bank.dead()).args([&corrected]).env(VARIABLE, &format!("{point}:1")).run();
        assert_eq!(died.status.code(), None, "it was killed");
        let again = bank.reinject(&bank.dead()).args([&corrected, "--skip"]).run().expect(0);
        again.says(&[&format!("done: {} record", 2 - back)]);
        let tagged = bank.records().iter().filter(|(.., tag)| tag.is_some()).count();
        assert_eq!(tagged, 2, "{point}");
        assert_eq!(
            bank.finals(),
            [("a", "-7.00"), ("b", "0.00"), ("c", "7.00")]
                .map(|(account, balance)| { format!(r#"{{"account":"{account}","balance":"{balance}"}}"#) })
        );
    }
}

#[test]
fn a_topic_that_says_itself_when_its_records_are_is_warned_of() {
    let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let bank = Bank::on(real().topic_of_its_own_time());
    let corrected = bank.corrections();
    let ended = bank.reinject(&bank.dead()).args([&corrected]).run().expect(0);
    ended.says(&["2 dead letters: the topic says itself when its records are", "LogAppendTime"]);
}
