//! The server: a thread with a runtime of its own, so that nothing of the dataflow waits for a client.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::places::{Place, Places};
use super::stalled::Stalled;
use super::yields_to_the_run;

/// Connections at most.
const CONNECTIONS: usize = 256;
/// Bytes of a request's headers at most.
const HEADERS: usize = 16 << 10;
/// How long the headers of a request may take, and how long a connection may wait for its next request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_secs(30);
/// Threads that answer.
const THREADS: usize = 2;
/// How long answers may take that are on their way when the run ends.
const GRACE: Duration = Duration::from_millis(500);

/// A server that listens. It ends when this is dropped.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens there, and answers by `router` from now on; with TLS, where there is an acceptor.
    ///
    /// # Errors
    /// If it can't listen there.
    pub fn start(
        typed: &str,
        addresses: &[SocketAddr],
        tls: Option<TlsAcceptor>,
        router: Router,
    ) -> Result<Server> {
        let listener =
            TcpListener::bind(addresses).with_context(|| format!("--http {typed}: listening there"))?;
        listener.set_nonblocking(true).context("--http")?;
        let address = listener.local_addr().context("--http")?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("cutwater:http")
            .max_blocking_threads(THREADS)
            .on_thread_start(yields_to_the_run)
            .enable_all()
            .build()
            .context("--http: starting its threads")?;
        let secure = tls.is_some();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("cutwater:http".into())
            .spawn(move || run(runtime, listener, tls, router, ended))
            .context("--http: starting its thread")?;
        let scheme = if secure { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{address}");
        Ok(Server { address, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has not panicked: that would have ended the process.
            let _ = thread.join();
        }
    }
}

/// Serves until `ended`.
fn run(
    runtime: Runtime,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    router: Router,
    ended: oneshot::Receiver<()>,
) {
    yields_to_the_run();
    runtime.block_on(async move {
        tokio::select! {
            () = accept(listener, tls, router) => {}
            _ = ended => {}
        }
    });
    runtime.shutdown_timeout(GRACE);
}

/// Takes connections.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("--http: {error}"),
    };
    let places = Places::new(CONNECTIONS);
    loop {
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause(&error).await;
                continue;
            }
        };
        // Who is one too many learns it by the connection's end.
        let Some(place) = places.take(client) else { continue };
        let (tls, router, number) = (tls.clone(), router.clone(), place.number());
        let task = tokio::spawn(open(stream, tls, router, Arc::new(place)));
        places.runs(number, task.abort_handle());
    }
}

/// Waits where the system has run out of something: at once it would fail again.
async fn pause(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!("--http: taking a connection: {error}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Takes a connection. What a client does wrong ends it, and is no affair of the run.
async fn open(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, place: Arc<Place>) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, router, place).await };
    if let Ok(Ok(stream)) = timeout(PATIENCE, tls.accept(stream)).await {
        serve(stream, router, place).await;
    }
}

/// Answers what comes on a connection.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, place: Arc<Place>) {
    let router = TowerToHyperService::new(router);
    let answering = service_fn(move |request| {
        let (asked, answer) = (place.asked(), router.call(request));
        async move { Ok::<_, Infallible>(answer.await?.map(|body| asked.with(body))) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEADERS)
        .serve_connection(Stalled::new(TokioIo::new(stream), STALL), answering);
    let _ = served.await;
}
