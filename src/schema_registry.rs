//! A registry of schemas, as Confluent's is asked: schemas by the ids that records have.
//!
//! A decoder asks on its worker and gets what is there. What is not is fetched by a thread; meanwhile the record waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use cutwater_dataflows::format::avro::{Found, Schemas};
use serde::Deserialize;
use ureq::Agent;

use crate::fault::Fault;
use crate::fold::Folded;
use crate::http;
use crate::retry::Retry;
use crate::sink::webhook::{Place, Url, failure};

/// For how long an id is asked for that the registry does not know: one that was just registered may not be everywhere yet.
const UNKNOWN: Duration = Duration::from_secs(5);
/// The longest wait between tries.
const LONGEST: Duration = Duration::from_secs(2);
/// The largest schema.
const MOST: u64 = 16 << 20;

/// A registry, and what it has answered.
pub(crate) struct Registry {
    known: Mutex<HashMap<u32, Known>>,
    asking: Asking,
}

/// What is known of an id.
enum Known {
    Asked,
    There(Arc<[String]>),
    Never(String),
}

/// How it is asked.
struct Asking {
    agent: Agent,
    url: Url,
    place: Place,
    /// For how long it may be away before the run ends.
    patience: Duration,
    fault: Fault,
}

/// What a registry answers. Those of Avro do not say of what type they are.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// A schema that another one names.
#[derive(Deserialize)]
struct Reference {
    subject: String,
    version: i64,
}

/// Why there is no answer.
enum Missing {
    /// It is away.
    Away(String),
    /// It does not know that.
    Unknown,
    /// It has something that is of no use.
    Useless(String),
    /// It won't answer.
    Refused(String),
}

/// How many schemas one may name, with those that they name: a bound for answers that name each other.
const MOST_REFERENCES: usize = 1_000;

impl Registry {
    /// The registry there. A run ends, by `fault`, where it is away for longer than `patience`.
    ///
    /// # Errors
    /// If that is not a URL of http or https.
    pub(crate) fn new(url: &str, patience: Duration, fault: &Fault) -> Result<Arc<Self>, String> {
        let url = Url::typed(url);
        let place = url.place()?;
        let asking = Asking { agent: http::agent(false), url, place, patience, fault: fault.clone() };
        Ok(Arc::new(Registry { known: Mutex::default(), asking }))
    }

    /// Whether it answers, asked once: of a schema that it need not have.
    ///
    /// # Errors
    /// If it does not, or won't.
    pub(crate) fn answers(&self) -> Result<String> {
        let Asking { url, .. } = &self.asking;
        match self.asking.ask("schemas/ids/1") {
            Ok(_) | Err(Missing::Unknown | Missing::Useless(_)) => Ok(format!("{url} answers")),
            Err(Missing::Away(why) | Missing::Refused(why)) => bail!("{url}: {why}"),
        }
    }

    fn learn(&self, id: u32, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(id, known);
    }
}

/// Asked on workers: it does not wait.
pub(crate) struct Asked(pub(crate) Arc<Registry>);

impl Schemas for Asked {
    fn get(&self, id: u32) -> Found {
        let mut known = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&id) {
            Some(Known::There(schemas)) => return Found::There(Arc::clone(schemas)),
            Some(Known::Never(why)) => return Found::Never(why.clone()),
            Some(Known::Asked) => return Found::NotYet,
            None => {}
        }
        known.insert(id, Known::Asked);
        let registry = Arc::clone(&self.0);
        // Ids are few, and each is fetched once.
        std::thread::spawn(move || match registry.asking.fetch(id) {
            Ok(found) => registry.learn(id, found),
            Err(error) => registry.asking.fault.raise(error),
        });
        Found::NotYet
    }
}

impl Asking {
    /// Fetches a schema, and those that it names, until that has worked.
    fn fetch(&self, id: u32) -> Result<Known> {
        let begun = Instant::now();
        let mut retry = Retry::new(&self.fault, LONGEST, Some(begun + self.patience));
        loop {
            let why = match self.schemas(id) {
                Ok(schemas) => {
                    tracing::debug!("schema {id} is from {}", self.url);
                    return Ok(Known::There(schemas.into()));
                }
                Err(Missing::Useless(why)) => return Ok(Known::Never(why)),
                Err(Missing::Unknown) if begun.elapsed() >= UNKNOWN => {
                    static UNKNOWN_SCHEMAS: Folded = Folded::new("unknown schemas");
                    let line =
                        || format!("schema {id} is not known to {}: its records are dead letters", self.url);
                    UNKNOWN_SCHEMAS.warn_always(line);
                    return Ok(Known::Never("the registry does not know it".to_owned()));
                }
                Err(Missing::Unknown) => "it is not known there".to_owned(),
                Err(Missing::Away(why)) => why,
                Err(Missing::Refused(why)) => bail!("fetching schema {id} from {}: {why}", self.url),
            };
            let why = format!("fetching schema {id} from {}: {why}", self.url);
            retry.wait(&why).with_context(|| {
                format!("for {:?} (--connect-timeout) no schemas could be had", self.patience)
            })?;
        }
    }

    /// The schema of an id, behind those that it names, each behind those that it names itself.
    fn schemas(&self, id: u32) -> Result<Vec<String>, Missing> {
        let answer = self.ask(&format!("schemas/ids/{id}"))?;
        if let Some(kind) = answer.kind.as_deref().filter(|kind| *kind != "AVRO") {
            return Err(Missing::Useless(format!("it is one of {}, not of avro", kind.to_lowercase())));
        }
        let (mut schemas, mut seen) = (Vec::new(), Vec::new());
        self.references(&answer.references, &mut schemas, &mut seen)?;
        schemas.push(answer.schema);
        Ok(schemas)
    }

    fn references(
        &self,
        references: &[Reference],
        schemas: &mut Vec<String>,
        seen: &mut Vec<(String, i64)>,
    ) -> Result<(), Missing> {
        for Reference { subject, version } in references {
            let place = (subject.clone(), *version);
            if seen.contains(&place) {
                continue;
            }
            seen.push(place);
            if seen.len() > MOST_REFERENCES {
                return Err(Missing::Useless(format!("it names more than {MOST_REFERENCES} others")));
            }
            let subject = percent_encoding::utf8_percent_encode(subject, percent_encoding::NON_ALPHANUMERIC);
            let answer = self.ask(&format!("subjects/{subject}/versions/{version}"))?;
            self.references(&answer.references, schemas, seen)?;
            schemas.push(answer.schema);
        }
        Ok(())
    }

    fn ask(&self, path: &str) -> Result<Answer, Missing> {
        let base = self.place.uri.to_string();
        let mut request = self.agent.get(format!("{}/{path}", base.trim_end_matches('/')));
        if let Some(authorization) = &self.place.authorization {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(|error| Missing::Away(failure(&error)))?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MOST).read_to_vec();
        match status.as_u16() {
            200 => {}
            404 => return Err(Missing::Unknown),
            401 | 403 => {
                return Err(Missing::Refused(format!(
                    "the registry answered {status}; may this user read it?"
                )));
            }
            _ if status.is_server_error() || status.as_u16() == 429 => {
                return Err(Missing::Away(format!("the registry answered {status}")));
            }
            _ => return Err(Missing::Refused(format!("the registry answered {status}; is that its URL?"))),
        }
        let body = body.map_err(|error| Missing::Away(error.to_string()))?;
        serde_json::from_slice(&body).map_err(|_| {
            Missing::Refused("the answer is not that of a registry; is that its URL?".to_owned())
        })
    }
}
