//! Ports for programs that a test starts, and that can't be given a listener.

use std::net::TcpListener;
use std::sync::Mutex;

/// Below those that outgoing connections are given, which could take one before the program does, and below those that
/// `scripts/kafka` and `scripts/s3` choose.
const FIRST: u16 = 10_000;
const COUNT: u32 = 6_000;

/// A port of loopback that is free now and that no other test of this process gets.
pub fn free_port() -> u16 {
    static NEXT: Mutex<Option<u32>> = Mutex::new(None);
    let mut next = NEXT.lock().expect("no test panics while it holds this");
    for _ in 0..COUNT {
        // Two processes that run at the same time begin at different places.
        let number = next.unwrap_or(std::process::id().wrapping_mul(257));
        *next = Some(number.wrapping_add(1));
        let port = FIRST + (number % COUNT) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("of the {COUNT} ports from {FIRST} on none is free");
}
