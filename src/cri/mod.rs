//! What the container runtime says about its network, over the Container Runtime Interface (runtime.v1): Version, and Status
//! with `verbose`. One connection for one question; nothing is kept.
//!
//! The runtime is a program of the node's like any other: what it answers is bounded, typed and total. CRI-O says nothing of its
//! directories over CRI; its own `GET /config` at the same socket does.

mod grpc;
mod info;
mod message;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use grpc::Connection;
use message::{StatusRequest, StatusResponse, VersionRequest, VersionResponse};

/// Where runtimes listen when nobody says, in the order in which they are asked.
pub const SOCKETS: [&str; 6] = [
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/k3s/containerd/containerd.sock",
    "/var/run/containerd/containerd.sock",
    "/var/run/crio/crio.sock",
    "/var/run/k3s/containerd/containerd.sock",
];

/// How long a runtime may take to answer all that it is asked.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer at most; a busy node's is some 10 KiB.
const MOST: usize = 4 << 20;

/// What the runtime says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Where it was asked.
    pub socket: PathBuf,
    /// `containerd`, `cri-o`.
    pub runtime: String,
    /// Its version, as it writes it.
    pub version: String,
    /// Its condition NetworkReady.
    pub network_ready: bool,
    /// The condition's reason; empty when it is ready.
    pub reason: String,
    /// The condition's message, likewise.
    pub message: String,
    /// Where it looks for network configurations; `None` when it does not say.
    pub conf_dir: Option<PathBuf>,
    /// Where it looks for plugins; empty when it does not say.
    pub bin_dirs: Vec<PathBuf>,
    /// The name of the list that it would run for a pod now; `None` when it has none or does not say.
    pub network: Option<String>,
    /// Why it could not load the list when it last tried.
    pub load_error: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CriError {
    /// There is no such socket.
    #[error("{} does not exist", socket.display())]
    Missing {
        /// The socket.
        socket: PathBuf,
    },
    /// Nobody listens there, or not as a runtime does.
    #[error("{} cannot be asked: {why}", socket.display())]
    Unreachable {
        /// The socket.
        socket: PathBuf,
        /// Why.
        why: String,
    },
    /// It answered, and it is no answer.
    #[error("{} answered {method} with {why}", socket.display())]
    Answered {
        /// The socket.
        socket: PathBuf,
        /// What it was asked.
        method: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// It took longer than [`PATIENCE`].
    #[error("{} did not answer within {} s", socket.display(), PATIENCE.as_secs())]
    TooLate {
        /// The socket.
        socket: PathBuf,
    },
    /// There is no socket at any of the known places.
    #[error("no container runtime listens at {0}")]
    None(String),
}

/// Asks the runtime at `socket`, or at the first of [`SOCKETS`] at which one listens.
///
/// # Errors
/// [`CriError`].
pub async fn ask(socket: Option<&Path>) -> Result<Answer, CriError> {
    if let Some(socket) = socket {
        return ask_at(socket).await;
    }
    let mut dead = None;
    for socket in SOCKETS.map(Path::new) {
        match ask_at(socket).await {
            Err(CriError::Missing { .. }) => {}
            // What another runtime left there when it went, for example.
            Err(error @ CriError::Unreachable { .. }) => drop(dead.get_or_insert(error)),
            answered => return answered,
        }
    }
    Err(dead.unwrap_or_else(|| CriError::None(SOCKETS.join(", "))))
}

async fn ask_at(socket: &Path) -> Result<Answer, CriError> {
    match tokio::time::timeout(PATIENCE, questions(socket)).await {
        Ok(answer) => answer,
        Err(_) => Err(CriError::TooLate { socket: socket.to_owned() }),
    }
}

async fn connect(socket: &Path) -> Result<UnixStream, CriError> {
    UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => CriError::Missing { socket: socket.to_owned() },
        _ => unreachable(socket, error.to_string()),
    })
}

fn unreachable(socket: &Path, why: String) -> CriError {
    CriError::Unreachable { socket: socket.to_owned(), why }
}

async fn questions(socket: &Path) -> Result<Answer, CriError> {
    let mut connection = Connection::new(socket, connect(socket).await?).await?;
    let version: VersionResponse = connection.call("Version", &VersionRequest::default()).await?;
    let status: StatusResponse = connection.call("Status", &StatusRequest { verbose: true }).await?;
    let mut answer = info::answer(socket, version, status);
    if answer.conf_dir.is_none() && answer.runtime == "cri-o" {
        let text = crio_config(socket).await?;
        info::of_crio(&mut answer, &text);
    }
    Ok(answer)
}

/// CRI-O's whole configuration, as it serves it to `crio status config` at the socket of CRI.
async fn crio_config(socket: &Path) -> Result<String, CriError> {
    let answered = |why: String| CriError::Answered { socket: socket.to_owned(), method: "GET /config", why };
    let stream = TokioIo::new(connect(socket).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(stream)
        .await
        .map_err(|error| unreachable(socket, error.to_string()))?;
    let _driven = grpc::Driven::new(async move { drop(connection.await) });
    let request = Request::get("/config").header("host", "localhost").body(Empty::new());
    let request = request.map_err(|error| answered(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(|error| answered(error.to_string()))?;
    if !response.status().is_success() {
        return Err(answered(format!("HTTP status {}", response.status())));
    }
    let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|error| answered(error.to_string()))?;
    String::from_utf8(body.to_bytes().to_vec()).map_err(|error| answered(error.to_string()))
}

#[cfg(test)]
mod tests;
