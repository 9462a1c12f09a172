//! Properties whose values are in files (`--set-file`), and user and password that are renewed while a run goes on: on
//! SIGHUP the files are read again, and each client takes the new ones on when it is used next.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use rdkafka::ClientContext;
use rdkafka::client::Client;

use super::native::login::set_login;
use crate::fold::Folded;
use crate::secrets;

/// Properties that clients take on while they live; others are of a client from its making.
const RENEWED: [&str; 2] = ["sasl.username", "sasl.password"];

/// What was last read, by property and file.
static READ: Mutex<BTreeMap<(String, PathBuf), String>> = Mutex::new(BTreeMap::new());
/// User and password, once one of them came from a file.
static LOGIN: Mutex<Option<(String, String)>> = Mutex::new(None);
/// How often they have changed.
static GENERATION: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The value of a property that is in a file, without the end of its last line. A file that can't be read now has the value
/// that it had before.
///
/// # Errors
/// If it was never read.
pub(super) fn value(key: &str, path: &Path) -> Result<String> {
    let doing = || format!("reading --set-file of {key}, {}", path.display());
    let place = (key.to_owned(), path.to_owned());
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let before = lock(&READ).get(&place).cloned();
            let Some(before) = before else { return Err(error).with_context(doing) };
            static UNREAD: Folded = Folded::new("files that can't be read");
            UNREAD.warn_always(|| format!("{}: {error}; what it had before is used", doing()));
            return Ok(before);
        }
    };
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    secrets::learn_value(key, &text);
    lock(&READ).insert(place, text.clone());
    Ok(text)
}

/// Clients are made with this user and password, of which one at least is in a file.
pub(super) fn made_with(user: &str, password: &str) {
    let mut login = lock(&LOGIN);
    let now = Some((user.to_owned(), password.to_owned()));
    if *login != now {
        *login = now;
        GENERATION.fetch_add(1, Ordering::Release);
    }
}

/// User and password as they are now, where one of them came from a file.
#[cfg(feature = "direct")]
pub(crate) fn newest() -> Option<(String, String)> {
    lock(&LOGIN).clone()
}

/// How often user and password have changed: a client that is made now has those of this generation.
pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Acquire)
}

/// Reads all files again, and says what follows.
pub fn renew() {
    let places: Vec<(String, PathBuf)> = lock(&READ).keys().cloned().collect();
    if places.is_empty() {
        tracing::info!("SIGHUP: nothing is read again: --set-file KEY=FILE names files of credentials");
        return;
    }
    for (key, path) in places {
        let before = lock(&READ).get(&(key.clone(), path.clone())).cloned();
        let now = value(&key, &path).ok();
        let shown = path.display();
        match now {
            now if now == before => tracing::info!("SIGHUP: {key} from {shown}: as before"),
            Some(now) if RENEWED.contains(&key.as_str()) => {
                change(&key, now);
                tracing::info!(
                    "SIGHUP: {key} from {shown}: it has changed, and is used for connections from now on"
                );
            }
            _ => tracing::warn!("SIGHUP: {key} from {shown}: it has changed; that takes a restart"),
        }
    }
}

fn change(key: &str, value: String) {
    let mut login = lock(&LOGIN);
    if let Some((user, password)) = login.as_mut() {
        *(if key == "sasl.password" { password } else { user }) = value;
        GENERATION.fetch_add(1, Ordering::Release);
    }
}

/// Has a client take on the newest user and password, where it has older ones: `seen` is the generation of those. Cheap
/// where it has not.
pub fn apply<C: ClientContext>(client: &Client<C>, seen: &AtomicU64) {
    let newest = generation();
    if seen.load(Ordering::Relaxed) == newest {
        return;
    }
    if let Some((user, password)) = &*lock(&LOGIN)
        && let Err(error) = set_login(client, user, password)
    {
        tracing::warn!("a client has not taken on its new password: {error:#}");
    }
    seen.store(newest, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use rdkafka::config::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};

    use super::*;

    #[test]
    fn a_file_is_read_again_and_its_last_value_stands_while_it_is_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        assert!(
            value("sasl.password", &path).unwrap_err().to_string().contains("--set-file of sasl.password, ")
        );
        std::fs::write(&path, "first-of-two\r\n").unwrap();
        assert_eq!(value("sasl.password", &path).unwrap(), "first-of-two");
        assert_eq!(secrets::hidden("it is first-of-two"), "it is ***");
        made_with("alice", "first-of-two");
        let client: BaseConsumer = ClientConfig::new().create().unwrap();
        let seen = AtomicU64::new(generation());
        std::fs::write(&path, "second-of-two\n").unwrap();
        let before = generation();
        renew();
        assert_eq!(generation(), before + 1);
        assert_eq!(lock(&LOGIN).clone().unwrap(), ("alice".to_owned(), "second-of-two".to_owned()));
        apply(client.client(), &seen);
        assert_eq!(seen.load(Ordering::Relaxed), before + 1);
        std::fs::remove_file(&path).unwrap();
        renew();
        assert_eq!(
            (generation(), value("sasl.password", &path).unwrap().as_str()),
            (before + 1, "second-of-two")
        );
    }
}
