//! `--http` and what belongs to it.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Result;

use super::kafka::duration;
use super::options::number;
use super::usage;
use crate::serve::access::{addresses, is_local};
use crate::serve::listen::Server;
use crate::serve::views::History;
use crate::serve::{Service, router};

/// `--view-history` where nothing is said.
const VIEW_HISTORY: Duration = Duration::from_secs(10 * 60);
/// `--view-history-bytes` where nothing is said.
const VIEW_HISTORY_BYTES: usize = 256 << 20;

/// The options of the server.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub(super) struct HttpArgs {
    /// Answer questions while it runs, there: outputs, figures, a page. Of this machine alone: 127.0.0.1:PORT; port 0 has
    /// the system choose one
    #[arg(long, value_name = "ADDR", help_heading = "HTTP")]
    pub http: Option<String>,
    /// How long what was the newest epoch can still be asked for [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "HTTP")]
    pub view_history: Option<Duration>,
    /// Bytes of what those epochs changed, after which the oldest can't be asked for any more [default: 268435456]
    #[arg(long, value_name = "N", value_parser = number, help_heading = "HTTP")]
    pub view_history_bytes: Option<NonZeroUsize>,
}

impl HttpArgs {
    /// Checks what was typed.
    ///
    /// # Errors
    /// A usage error if it can't be.
    pub(super) fn check(&self) -> Result<Option<Vec<SocketAddr>>> {
        let Some(typed) = &self.http else { return self.without().map(|()| None) };
        let named = addresses(typed).map_err(|why| usage(format!("--http {why}")))?;
        if !is_local(&named) {
            return Err(usage(format!(
                "--http {typed}: others than this machine could ask there. Listen on 127.0.0.1"
            )));
        }
        Ok(Some(named))
    }

    /// Refuses options of the server where there is none.
    fn without(&self) -> Result<()> {
        let typed = [
            ("--view-history", self.view_history.is_some()),
            ("--view-history-bytes", self.view_history_bytes.is_some()),
        ];
        match typed.into_iter().find_map(|(option, typed)| typed.then_some(option)) {
            Some(option) => {
                Err(usage(format!("{option} is of a server, but there is none: say where with --http ADDR")))
            }
            None => Ok(()),
        }
    }

    /// How much of the past can be asked for.
    pub(super) fn history(&self) -> History {
        History {
            time: self.view_history.unwrap_or(VIEW_HISTORY),
            bytes: self.view_history_bytes.map_or(VIEW_HISTORY_BYTES, NonZeroUsize::get),
        }
    }

    /// Starts the server, if there is to be one.
    ///
    /// # Errors
    /// As [`HttpArgs::check`], or if it can't listen.
    pub(super) fn start(&self, service: Service) -> Result<Option<Server>> {
        match (&self.http, self.check()?) {
            (Some(typed), Some(named)) => Server::start(typed, &named, router(service)).map(Some),
            _ => Ok(None),
        }
    }
}
