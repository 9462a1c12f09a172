//! `GET /v1/outputs/NAME`: rows as of an epoch.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use tokio::task::JoinHandle;

use super::cursor::{Cursor, asked};
use super::select::{From, Selection};
use super::shown::{Shown, Writer};
use super::{Named, headers_of, named, not_held};
use crate::serve::Service;
use crate::serve::answer::{Failed, Params};
use crate::serve::views::{Snapshot, Views};

/// Where to go on, of an answer whose body has no place for it.
const NEXT: HeaderName = HeaderName::from_static("cutwater-next");
/// What rows can be asked by.
const KNOWN: [&str; 11] =
    ["key", "prefix", "where", "by", "top", "order", "limit", "cursor", "epoch", "after", "wait"];
/// Rows of an answer where nothing is said, and at most.
const LIMIT: u64 = 100;
const MOST: u64 = 10_000;
/// Bytes of an output's rows in an answer, after which it ends with the row.
const BODY: usize = 8 << 20;
/// Seconds that are waited for a record where nothing is said, and at most.
const WAIT: u64 = 10;
const LONGEST_WAIT: u64 = 60;

/// What is asked.
struct Question {
    /// The outputs, by their number, with what is asked of each.
    outputs: Vec<(usize, Selection, u64)>,
    from: From,
    limit: usize,
    shown: Shown,
}

/// Answers.
pub(super) async fn rows(
    State(service): State<Service>,
    names: Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let outputs = named(&service, names)?;
    let params = Params::read(query.as_deref(), &KNOWN)?;
    let (question, epoch) = Question::read(&service, &outputs, &params, &headers)?;
    wait(&service, &params).await?;
    let snapshot = service.views().snapshot(&outputs, epoch).map_err(|why| not_held(&service, why))?;
    let views = service.views().clone();
    if question.outputs.iter().all(|(_, selection, _)| selection.is_short()) {
        return Ok(question.answer(&views, &snapshot));
    }
    // What looks at many rows does so beside what answers the others.
    let mut task = Task(tokio::task::spawn_blocking(move || question.answer(&views, &snapshot)));
    let answered = (&mut task.0).await;
    answered.map_err(|_| Failed::new(StatusCode::INTERNAL_SERVER_ERROR, "the answer could not be made"))
}

impl Question {
    fn read(
        service: &Service,
        outputs: &[usize],
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<(Self, Option<u64>), Failed> {
        let shown = Shown::accepted(headers)?;
        if shown != Shown::Json && outputs.len() > 1 {
            return Err(Failed::wrong(
                "several outputs are JSON alone: ask for one, or accept application/json",
            ));
        }
        let limit = params.number("limit", 1, MOST)?.unwrap_or(LIMIT);
        let shapes = service.views().outputs();
        let selected = |&index: &usize| {
            let output = &shapes[index];
            Ok((index, Selection::read(params, output)?, asked(&output.name, params)))
        };
        let selected: Vec<(usize, Selection, u64)> =
            outputs.iter().map(selected).collect::<Result<_, Failed>>()?;
        let mut epoch = params.number("epoch", 0, u64::MAX)?;
        let mut from = From::Skip(0);
        if let Some(text) = params.one("cursor")? {
            let cursor =
                Cursor::read(text).filter(|cursor| outputs.len() == 1 && cursor.asked == selected[0].2);
            let Some(cursor) = cursor.filter(|cursor| epoch.is_none_or(|epoch| epoch == cursor.epoch)) else {
                return Err(Failed::wrong(
                    "cursor: it is the next of another question: give it with the output and the parameters of the \
                     answer that it is of",
                ));
            };
            epoch = Some(cursor.epoch);
            from = cursor.from;
        }
        if epoch.is_some() && params.all("after").next().is_some() {
            return Err(Failed::wrong("after waits for a newer epoch: leave out epoch and cursor"));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok((Question { outputs: selected, from, limit, shown }, epoch))
    }

    /// The answer, of rows as of the snapshot's epoch.
    fn answer(&self, views: &Views, snapshot: &Snapshot) -> Response {
        let mut headers = headers_of(&snapshot.published);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.shown.content_type()));
        let mut body = Vec::new();
        if self.shown != Shown::Json {
            let next = self.page(views, snapshot, 0, &mut body);
            if let Some(next) = next.and_then(|next| HeaderValue::try_from(next).ok()) {
                headers.insert(NEXT, next);
            }
            return (headers, body).into_response();
        }
        let (epoch, cut) = (snapshot.published.epoch, &snapshot.published.cut);
        body.extend_from_slice(format!("{{\"epoch\":{epoch},\"cut\":{cut},").as_bytes());
        if self.outputs.len() == 1 {
            self.object(views, snapshot, 0, &mut body);
        } else {
            for place in 0..self.outputs.len() {
                body.extend_from_slice(if place == 0 { b"\"outputs\":[{" } else { b",{" });
                self.object(views, snapshot, place, &mut body);
                body.push(b'}');
            }
            body.push(b']');
        }
        body.push(b'}');
        (headers, body).into_response()
    }

    /// Appends what is said of an output, without braces.
    fn object(&self, views: &Views, snapshot: &Snapshot, place: usize, body: &mut Vec<u8>) {
        let name = &views.outputs()[self.outputs[place].0].name;
        body.extend_from_slice(format!("\"output\":{},\"rows\":[", serde_json::json!(name)).as_bytes());
        let next = self.page(views, snapshot, place, body);
        body.extend_from_slice(format!("],\"next\":{}", serde_json::json!(next)).as_bytes());
        if let Some(since) = snapshot.since(place) {
            body.extend_from_slice(format!(",\"since\":{since}").as_bytes());
        }
    }

    /// Appends the rows of an output. Returns where to go on, if there are more.
    fn page(&self, views: &Views, snapshot: &Snapshot, place: usize, body: &mut Vec<u8>) -> Option<String> {
        let (index, selection, asked) = &self.outputs[place];
        let schema = &views.outputs()[*index].schema;
        let start = body.len();
        let mut writer = Writer::begin(schema, self.shown, body);
        let (mut last, mut more) = (None, false);
        selection.rows(schema, (snapshot, place), &self.from, |row, next| {
            if writer.rows() == self.limit || (writer.rows() > 0 && body.len() - start >= BODY) {
                more = true;
                return false;
            }
            writer.row(row, body);
            if writer.rows() == self.limit || body.len() - start >= BODY {
                last = Some(next());
            }
            true
        });
        let epoch = snapshot.published.epoch;
        last.filter(|_| more).map(|from| Cursor { epoch, asked: *asked, from }.write())
    }
}

/// An answer that is made elsewhere. If its client goes before it is begun, it is not made, and lets go of what it would look at.
struct Task(JoinHandle<Response>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits until the records that `after` names are in the newest epoch.
async fn wait(service: &Service, params: &Params) -> Result<(), Failed> {
    let seconds = params.number("wait", 0, LONGEST_WAIT)?.unwrap_or(WAIT);
    let mut records = Vec::new();
    for text in params.all("after") {
        let mut parts = text.rsplitn(3, ':');
        let offset = parts.next().and_then(|part| part.parse::<i64>().ok()).filter(|offset| *offset >= 0);
        let partition = parts.next().and_then(|part| part.parse::<i32>().ok()).filter(|number| *number >= 0);
        match (parts.next(), partition, offset) {
            (Some(topic), Some(partition), Some(offset)) => records.push((topic, partition, offset)),
            _ => return Err(Failed::wrong(format!("after={text}: expected TOPIC:PARTITION:OFFSET"))),
        }
    }
    if records.is_empty() {
        return Ok(());
    }
    let views = service.views();
    let mut newest = views.newest();
    let come = async {
        loop {
            newest.borrow_and_update();
            records.retain(|(topic, partition, offset)| !views.has(topic, *partition, *offset));
            if records.is_empty() {
                return true;
            }
            if newest.changed().await.is_err() {
                return false;
            }
        }
    };
    if let Ok(true) = tokio::time::timeout(Duration::from_secs(seconds), come).await {
        return Ok(());
    }
    let (topic, partition, offset) = records[0];
    Err(Failed::new(
        StatusCode::GATEWAY_TIMEOUT,
        format!(
            "the record at offset {offset} of {topic} [{partition}] is in no epoch that was published within {seconds} s: \
             is it committed, and is that topic read? Ask once more, with a longer wait"
        ),
    ))
}
