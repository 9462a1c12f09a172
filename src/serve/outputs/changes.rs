//! `GET /v1/outputs/NAME/changes`: changes as they come, as server-sent events.
//!
//! A reader has no queue. It goes through the epochs that are held, at its own pace: who is so slow that its next epoch is no
//! longer held, is told so and dropped. So readers cost the run nothing, however many they are and however slow.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use cutwater_dataflows::Epoch;
use cutwater_dataflows::rows::Json;
use futures_util::stream;
use tokio::sync::watch;

use super::{Named, named, not_held};
use crate::serve::Service;
use crate::serve::answer::{Failed, Params};
use crate::serve::views::{Published, Views};

/// Time after which a stream without changes says that it is still there.
const QUIET: Duration = Duration::from_secs(15);
/// Epochs that are looked at together.
const EPOCHS: usize = 64;
/// Bytes of a piece of the stream, after which it ends with a change.
const PIECE: usize = 64 << 10;
/// The header with which a client says what it has.
const LAST_EVENT_ID: &str = "last-event-id";

/// Answers.
pub(super) async fn changes(
    State(service): State<Service>,
    names: Named,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    let outputs = named(&service, names)?;
    let &[output] = &outputs[..] else {
        return Err(Failed::wrong("changes are of one output: ask for each by itself"));
    };
    let params = Params::read(query.as_deref(), &["from"])?;
    let from = params.number("from", 0, u64::MAX)?;
    let last = headers.get(LAST_EVENT_ID).map(|id| {
        let id = id.to_str().ok().and_then(|id| id.parse::<Epoch>().ok());
        id.ok_or_else(|| Failed::wrong("Last-Event-ID: expected the id of an event, which is its epoch"))
    });
    let views = service.views().clone();
    let newest = views.newest();
    let wrong = |why| not_held(&service, why);
    let after = match last.transpose()?.or(from) {
        Some(after) => after,
        None => views.extent().map_err(wrong)?.newest.epoch,
    };
    views.changes_after(after, 1).map_err(wrong)?;
    let json = Json::new(views.outputs()[output].schema.clone());
    let reader = Reader { views, newest, output, json, after, epochs: VecDeque::new(), row: 0, over: false };
    let body = stream::unfold(reader, async |mut reader| {
        let piece = reader.piece().await?;
        Some((Ok::<_, Infallible>(Bytes::from(piece)), reader))
    });
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Body::from_stream(body)).into_response())
}

/// A reader of an output's changes.
struct Reader {
    views: Views,
    newest: watch::Receiver<Option<Epoch>>,
    output: usize,
    json: Json,
    /// The last epoch that was read.
    after: Epoch,
    /// Those that come next, which changed the output.
    epochs: VecDeque<Arc<Published>>,
    /// The next change of the first of them.
    row: usize,
    /// Nothing comes any more.
    over: bool,
}

impl Reader {
    /// The next piece of the stream, once there is one; `None` at its end.
    async fn piece(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        while out.is_empty() {
            if self.over {
                return None;
            }
            self.newest.borrow_and_update();
            if self.epochs.is_empty() && !self.look() {
                let text = format!("event: dropped\ndata: {{\"epoch\":{}}}\n\n", self.after);
                self.over = true;
                return Some(text.into_bytes());
            }
            if self.epochs.is_empty() {
                match tokio::time::timeout(QUIET, self.newest.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => self.over = true,
                    Err(_) => return Some(b": still here\n\n".to_vec()),
                }
            }
            while out.len() < PIECE
                && let Some(published) = self.epochs.front().cloned()
            {
                self.write(&published, &mut out);
            }
        }
        Some(out)
    }

    /// Looks at the next epochs. False if they are no longer held.
    fn look(&mut self) -> bool {
        loop {
            let Ok(next) = self.views.changes_after(self.after, EPOCHS) else { return false };
            let Some(last) = next.last() else { return true };
            self.after = last.epoch;
            self.epochs.extend(next.into_iter().filter(|published| published.changed(self.output)));
            if !self.epochs.is_empty() {
                return true;
            }
        }
    }

    /// Appends changes of the first epoch, all or as many as a piece has.
    fn write(&mut self, published: &Published, out: &mut Vec<u8>) {
        let (epoch, cut) = (published.epoch, &published.cut);
        if self.row == 0 {
            let head =
                format!("id: {epoch}\nevent: epoch\ndata: {{\"epoch\":{epoch},\"cut\":{cut},\"changes\":[");
            out.extend_from_slice(head.as_bytes());
        }
        for (row, diff) in published.changes(self.output).skip(self.row) {
            if out.len() >= PIECE {
                return;
            }
            let comma = if self.row == 0 { "" } else { "," };
            out.extend_from_slice(format!("{comma}{{\"diff\":{diff},\"row\":").as_bytes());
            // Rows of a view are encoded rows of its schema, and JSON has no line ends within.
            let _ = self.json.write(row, out);
            out.push(b'}');
            self.row += 1;
        }
        out.extend_from_slice(b"]}\n\n");
        self.epochs.pop_front();
        self.row = 0;
    }
}
