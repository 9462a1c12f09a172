//! Rows to a web server: the rows of an output and epoch as POSTs, at least once.
//!
//! Rows are lines of JSON. All of an output in one epoch are one POST, or several where they are more bytes than a POST may
//! have. Its idempotency key names job, output, epoch and which of the epoch's rows it carries, so it stands for exactly
//! these rows: also after a restart, and with another limit. A server that drops a key it has had gets each row once, as
//! long as the limit stays the same; none is lost in any case.

mod parts;
mod url;

use std::io::Read;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::operators::accumulate::END;
use cutwater_dataflows::render::Change;
use cutwater_dataflows::source::Report;
use ureq::Agent;
use ureq::http::{Response, StatusCode};

pub use url::Url;

use super::{Emit, Origin, Sink, cut_letter, lines};
use crate::fault::Fault;
use crate::http;
use crate::retry::Retry;
use crate::shown::{shown, speaks_tls};
use crate::state::resume::Resume;
use parts::{Part, parts};
pub(crate) use url::Place;

/// The longest wait between tries, where the server asks for no longer one.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait that a server can ask for.
const ASKED: Duration = Duration::from_secs(600);
/// As many bytes of an answer are shown.
const SHOWN: u64 = 200;

/// Posts epochs to a URL.
pub struct Webhook {
    agent: Agent,
    url: Url,
    place: Place,
    emit: Emit,
    /// The job, or the run where it keeps no state.
    job: String,
    output: String,
    body: Vec<u8>,
    /// The offsets that the epoch was read from; empty where only time has moved.
    offsets: String,
    /// Bytes of a POST at most.
    most: usize,
    /// True iff these are dead letters: what is too large for the server is cut.
    is_of_letters: bool,
    /// The last epoch that was committed.
    last: Epoch,
    fault: Fault,
}

/// Why a POST was not taken, and whether it is to be made again.
enum Refusal {
    /// Again, after this time at the least.
    Again(String, Duration),
    /// It would not be taken either.
    Final(String),
    /// It is larger than the server takes.
    TooLarge(String),
}

/// What became of a POST.
enum Posted {
    Taken,
    /// It is larger than the server takes: what that says.
    TooLarge(String),
}

impl Webhook {
    /// Rows to `url`, of a run without state of this name; `None` where a job resumes from its state. A POST has `most`
    /// bytes at most, if it has several rows. It is no longer waited for the server once `fault` is raised.
    ///
    /// # Errors
    /// If it is not a URL of http or https.
    pub fn open(url: &Url, emit: Emit, run: Option<&str>, most: usize, fault: &Fault) -> Result<Self> {
        Ok(Webhook {
            agent: http::agent(false),
            url: url.clone(),
            place: url.place().map_err(|error| anyhow!("sink webhook: {error}"))?,
            emit,
            job: run.unwrap_or_default().to_owned(),
            output: String::new(),
            body: Vec::new(),
            offsets: String::new(),
            most,
            is_of_letters: false,
            last: 0,
            fault: fault.clone(),
        })
    }

    /// The same, of dead letters: those that are too large for the server are cut, and say so.
    pub(super) fn of_letters(self) -> Self {
        Webhook { is_of_letters: true, ..self }
    }

    /// Posts a part, or what the server takes of it.
    ///
    /// Nothing is learned of what it takes: the same rows are always posted under the same keys.
    fn deliver(&self, epoch: Epoch, part: &Part<'_>) -> Result<()> {
        let Posted::TooLarge(why) = self.offer(epoch, part)? else { return Ok(()) };
        let refused = || anyhow!("posting to {}: {why}{}", self.url, too_large(part, self.most));
        if !self.is_of_letters {
            return Err(refused());
        }
        if part.first < part.last {
            let halves = parts(part.body, part.body.len() / 2).into_iter();
            return halves.map(|half| half.within(part)).try_for_each(|half| self.deliver(epoch, &half));
        }
        for line in cut_letter::shorter(part.body)? {
            if let Posted::Taken = self.offer(epoch, &Part { body: &line, ..*part })? {
                return Ok(());
            }
        }
        Err(refused())
    }

    /// Posts a part until it is taken, or is too large.
    fn offer(&self, epoch: Epoch, part: &Part<'_>) -> Result<Posted> {
        let mut retry = Retry::new(&self.fault, LONGEST, None);
        let mut failing: Option<Instant> = None;
        loop {
            match self.post(epoch, part) {
                Ok(()) => {
                    if let Some(since) = failing {
                        tracing::info!(
                            "{} answers again, after {:.1} s",
                            self.url,
                            since.elapsed().as_secs_f64()
                        );
                    }
                    return Ok(Posted::Taken);
                }
                Err(Refusal::TooLarge(why)) => return Ok(Posted::TooLarge(why)),
                Err(Refusal::Final(why)) => bail!("posting to {}: {why}", self.url),
                Err(Refusal::Again(why, least)) => {
                    let why = format!("posting to {}: {why}", self.url);
                    if failing.is_none() {
                        failing = Some(Instant::now());
                        tracing::warn!("{why}; trying again");
                    }
                    retry.wait_at_least(least, &why)?;
                }
            }
        }
    }

    fn post(&self, epoch: Epoch, part: &Part<'_>) -> Result<(), Refusal> {
        let mut request = self
            .agent
            .post(&self.place.uri)
            .header("Content-Type", "application/x-ndjson")
            .header("Idempotency-Key", key(&self.job, &self.output, epoch, self.last, part))
            .header("Cutwater-Output", &self.output)
            .header("Cutwater-Part", part.number.to_string())
            .header("Cutwater-Parts", part.of.to_string());
        if epoch != END {
            request = request.header("Cutwater-Epoch", epoch.to_string());
        }
        if !self.offsets.is_empty() {
            request = request.header("Cutwater-Offsets", &self.offsets);
        }
        if let Some(authorization) = &self.place.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = match request.send(part.body) {
            Ok(response) => response,
            Err(error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_))) => {
                return Err(Refusal::Final(error.to_string()));
            }
            Err(error) => return Err(Refusal::Again(failure(&error), Duration::ZERO)),
        };
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let answer = start(&mut response);
        if status.is_success() {
            return Ok(());
        }
        let why = format!("the server answered {status}{answer}");
        match status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {}
            status if status.is_server_error() => {}
            StatusCode::PAYLOAD_TOO_LARGE => return Err(Refusal::TooLarge(why)),
            _ => return Err(Refusal::Final(why)),
        }
        let asked = response.headers().get("Retry-After").and_then(|value| value.to_str().ok());
        Err(Refusal::Again(why, asked.and_then(|text| wait(text, SystemTime::now())).unwrap_or_default()))
    }
}

/// Why there was no answer. Where the scheme seems to be the wrong one it says so: what the libraries say of that is of
/// their insides.
pub(crate) fn failure(error: &ureq::Error) -> String {
    let text = error.to_string();
    if !speaks_tls(&text) {
        return "the server does not speak TLS there: is it http:// instead of https://?".to_owned();
    }
    match error {
        ureq::Error::Protocol(_) => {
            format!("the answer is not HTTP: is it https:// instead of http://? ({text})")
        }
        _ => text,
    }
}

/// What stands for some rows of an output in an epoch. Those after the end are told apart by the last epoch before it.
fn key(job: &str, output: &str, epoch: Epoch, last: Epoch, part: &Part<'_>) -> String {
    let rows = format!("{}-{}", part.first, part.last);
    if epoch == END {
        format!("{job}/{output}/end-{last}/{rows}")
    } else {
        format!("{job}/{output}/{epoch}/{rows}")
    }
}

/// What to do about a POST that is too large for the server.
fn too_large(part: &Part<'_>, most: usize) -> String {
    let bytes = part.body.len();
    if part.first == part.last {
        format!("; the POST has one row of {bytes} bytes: raise the server's limit")
    } else {
        format!(
            "; the POST has {bytes} bytes: lower --webhook-max-bytes (now {most}) below what the server takes, or raise \
             the server's limit"
        )
    }
}

/// How long a `Retry-After` asks to wait: seconds, or a time.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let wait = match text.trim().parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(ASKED))
}

/// The beginning of an answer's body, on one line.
fn start(response: &mut Response<ureq::Body>) -> String {
    let mut bytes = Vec::new();
    // What can't be read is not shown.
    let _ = response.body_mut().as_reader().take(SHOWN).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.is_empty() {
        true => text,
        false => format!(": {}", shown(&text)),
    }
}

impl Sink for Webhook {
    fn begin(&mut self, _epoch: Epoch, origin: Origin<'_>) {
        origin.offsets.clone_into(&mut self.offsets);
    }

    fn write(&mut self, epoch: Epoch, output: &str, changes: &[Change]) -> Result<()> {
        output.clone_into(&mut self.output);
        for changes in changes.chunk_by(|a, b| a.key == b.key) {
            lines::append(self.emit, epoch, output, changes, &mut self.body);
        }
        Ok(())
    }

    fn commit(&mut self, epoch: Epoch, _reports: &[Report]) -> Result<()> {
        if !self.body.is_empty() {
            let what = || format!("output {} of epoch {epoch}", self.output);
            for part in parts(&self.body, self.most) {
                self.deliver(epoch, &part).with_context(what)?;
            }
            self.body.clear();
        }
        if epoch != END {
            self.last = epoch;
        }
        Ok(())
    }

    fn resume(&mut self, from: &Resume) -> Result<Epoch> {
        self.job.clone_from(&from.job);
        self.last = from.published;
        Ok(from.published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_stands_for_job_output_epoch_and_rows() {
        let part = Part { body: b"", number: 2, of: 2, first: 5, last: 9 };
        assert_eq!(key("j", "counts", 7, 6, &part), "j/counts/7/5-9");
        assert_eq!(key("j", "counts", END, 7, &part), "j/counts/end-7/5-9");
    }

    #[test]
    fn a_server_may_ask_for_a_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(wait("7", now), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:42 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(wait("99999999", now), Some(ASKED));
        assert_eq!(wait("soon", now), None);
    }
}
