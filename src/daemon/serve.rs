//! The daemon's other thread: signals, and health and metrics over HTTP/1. It has nothing to decide.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::store::atomic::{Survives, write};
use crate::store::remove;
use crate::watch::lookout::Waker;

use super::health::{healthy, metrics, ready};
use super::runtime::Asking;
use super::shared::Shared;

/// Connections at once: more are closed unheard.
const MOST: usize = 32;

/// How long a connection may take to ask, and how long before a port that is taken is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the signals said.
#[derive(Default)]
pub(super) struct Wishes {
    /// End: SIGTERM, SIGINT.
    pub stop: AtomicBool,
    /// Read the config again: SIGHUP.
    pub reload: AtomicBool,
}

/// What the thread works with.
pub(super) struct Server {
    pub shared: Arc<Shared>,
    pub wishes: Arc<Wishes>,
    pub waker: Waker,
    /// Where to listen, if anywhere.
    pub address: Option<SocketAddr>,
    /// The file that says where it does.
    pub told_in: PathBuf,
    /// The runtime's own view.
    pub asking: Asking,
}

/// Starts the thread.
///
/// # Errors
/// The kernel's, when signals or the thread cannot be had.
pub(super) fn start(server: Server) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    {
        let _entered = runtime.enter();
        for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
            let mut signal = signal(kind)?;
            let (wishes, waker) = (Arc::clone(&server.wishes), server.waker.clone());
            runtime.spawn(async move {
                while signal.recv().await.is_some() {
                    let wish = if kind == SignalKind::hangup() { &wishes.reload } else { &wishes.stop };
                    wish.store(true, Ordering::SeqCst);
                    waker.wake();
                }
            });
        }
    }
    let Server { shared, address, told_in, asking, .. } = server;
    std::thread::Builder::new().name("serve".to_owned()).stack_size(256 << 10).spawn(move || {
        runtime.block_on(async move {
            tokio::spawn(asking.forever());
            match address {
                Some(address) => listen(address, shared, told_in).await,
                // One that served it may have ended here.
                None => drop(remove(&told_in)),
            }
            std::future::pending::<()>().await;
        });
    })?;
    Ok(())
}

async fn listen(address: SocketAddr, shared: Arc<Shared>, told_in: PathBuf) {
    let mut said = false;
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::warn!(%address, %error, "health and metrics cannot be served yet");
            }
            Err(_) => {}
        }
        tokio::time::sleep(PATIENCE).await;
    };
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(%address, "health and metrics");
    if let Err(error) = write(&told_in, format!("{address}\n").as_bytes(), Survives::Process) {
        tracing::warn!(error = error.story(), "where health is served is not told");
    }
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        match listener.accept().await {
            Ok((stream, _)) if open.fetch_add(1, Ordering::SeqCst) < MOST => {
                let (shared, open) = (Arc::clone(&shared), Arc::clone(&open));
                tokio::spawn(async move {
                    // Who goes away in between, or asks for ever, is nobody's concern.
                    let _ = tokio::time::timeout(2 * PATIENCE, serve(stream, shared)).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
            Ok(_) => drop(open.fetch_sub(1, Ordering::SeqCst)),
            // No descriptor is left, for example.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&request, &shared);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(16 << 10);
    server.serve_connection(TokioIo::new(stream), service).await
}

fn answer(request: &Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (state, now) = shared.now();
    let judged = |verdict: Result<(), String>| match verdict {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let (status, text) = match (request.method(), request.uri().path()) {
        (&(Method::GET | Method::HEAD), "/healthz") => judged(healthy(&state, now)),
        (&(Method::GET | Method::HEAD), "/readyz") => judged(ready(&state)),
        (&(Method::GET | Method::HEAD), "/metrics") => (StatusCode::OK, metrics(&state)),
        (&(Method::GET | Method::HEAD), _) => (StatusCode::NOT_FOUND, "/healthz /readyz /metrics\n".to_owned()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, String::new()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}
