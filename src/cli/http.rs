//! `--http` and what belongs to it.

use std::net::SocketAddr;

use anyhow::Result;

use super::usage;
use crate::serve::access::{addresses, is_local};
use crate::serve::listen::Server;
use crate::serve::{Service, router};

/// The options of the server.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub(super) struct HttpArgs {
    /// Answer questions while it runs, there: outputs, figures, a page. Of this machine alone: 127.0.0.1:PORT; port 0 has
    /// the system choose one
    #[arg(long, value_name = "ADDR", help_heading = "HTTP")]
    pub http: Option<String>,
}

impl HttpArgs {
    /// Checks what was typed.
    ///
    /// # Errors
    /// A usage error if it can't be.
    pub(super) fn check(&self) -> Result<Option<Vec<SocketAddr>>> {
        let Some(typed) = &self.http else { return Ok(None) };
        let named = addresses(typed).map_err(|why| usage(format!("--http {why}")))?;
        if !is_local(&named) {
            return Err(usage(format!(
                "--http {typed}: others than this machine could ask there. Listen on 127.0.0.1"
            )));
        }
        Ok(Some(named))
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
