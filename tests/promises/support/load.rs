//! A topic under load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::kafka::Topic;
use super::text::zipf_lines;

/// A thread that writes to a topic until it is told to stop. Nobody else may write to it: then the place of a
/// line in its partition is its offset.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Vec<String>>>,
}

impl Load {
    /// Starts to write.
    pub fn start(topic: &Topic) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let writer = topic.writer();
        let mut written = vec![Vec::new(); topic.partitions as usize];
        let thread = std::thread::spawn(move || {
            let mut lines = zipf_lines(3, 100_000).into_iter().cycle();
            while !asked.load(Ordering::Relaxed) {
                for (partition, written) in written.iter_mut().enumerate() {
                    for line in lines.by_ref().take(50) {
                        writer.send(partition as i32, Some(line.as_bytes()));
                        written.push(line);
                    }
                }
                writer.flush();
                // A pace that leaves some of the machine to the program.
                std::thread::sleep(Duration::from_millis(5));
            }
            written
        });
        Load { stop, thread }
    }

    /// Stops, and returns the lines of each partition, all of them acknowledged.
    pub fn finish(self) -> Vec<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("all could be written")
    }
}
