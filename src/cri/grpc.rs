//! One unary gRPC call after the other over one HTTP/2 connection (gRPC over HTTP/2, "Requests", "Responses").

use std::future::Future;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::{CriError, MOST, unreachable};

/// A task that goes with its owner.
pub(super) struct Driven(JoinHandle<()>);

impl Driven {
    pub fn new(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(super) struct Connection {
    socket: PathBuf,
    sender: SendRequest<Full<Bytes>>,
    _driven: Driven,
}

impl Connection {
    pub async fn new(socket: &Path, stream: UnixStream) -> Result<Self, CriError> {
        let made = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = made.map_err(|error| unreachable(socket, error.to_string()))?;
        let driven = Driven::new(async move { drop(connection.await) });
        Ok(Self { socket: socket.to_owned(), sender, _driven: driven })
    }

    /// Calls `method` of the RuntimeService.
    pub async fn call<A: Message + Default>(
        &mut self,
        method: &'static str,
        request: &impl Message,
    ) -> Result<A, CriError> {
        let called = self.bytes(method, framed(request)).await.and_then(|bytes| unframed(&bytes));
        called.map_err(|why| CriError::Answered { socket: self.socket.clone(), method, why })
    }

    async fn bytes(&mut self, method: &str, message: Vec<u8>) -> Result<Bytes, String> {
        let request = Request::post(format!("http://localhost/runtime.v1.RuntimeService/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::from(message))
            .map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        if !response.status().is_success() {
            return Err(format!("HTTP status {}", response.status()));
        }
        // A call that fails at once has its status where trailers are not yet expected.
        let early = response.headers().clone();
        let body = Limited::new(response.into_body(), MOST).collect().await.map_err(|error| error.to_string())?;
        status(body.trailers().unwrap_or(&early))?;
        Ok(body.to_bytes())
    }
}

/// gRPC's own status.
fn status(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    match text("grpc-status").as_deref() {
        Some("0") => Ok(()),
        Some(code) => Err(format!("gRPC status {code}: {}", text("grpc-message").unwrap_or_default())),
        None => Err("no gRPC status".to_owned()),
    }
}

/// A message, not compressed, behind its length.
fn framed(message: &impl Message) -> Vec<u8> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&[0][..], &length.to_be_bytes(), &bytes].concat()
}

fn unframed<A: Message + Default>(bytes: &[u8]) -> Result<A, String> {
    let Some((&[compressed, ref length @ ..], message)) = bytes.split_first_chunk::<5>() else {
        return Err("no message".to_owned());
    };
    if compressed != 0 {
        return Err("a compressed message, which was not asked for".to_owned());
    }
    if usize::try_from(u32::from_be_bytes(*length)).ok() != Some(message.len()) {
        return Err("a message of another length than it says".to_owned());
    }
    A::decode(message).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::message::VersionResponse;
    use super::*;

    #[test]
    fn what_is_no_message_of_its_length_is_refused() {
        let said = VersionResponse { runtime_name: "containerd".to_owned(), runtime_version: "2".to_owned() };
        let whole = framed(&said);
        assert_eq!(unframed::<VersionResponse>(&whole), Ok(said));
        for cut in 0..whole.len() {
            assert!(unframed::<VersionResponse>(&whole[..cut]).is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x80;
            // Whatever comes of it, it ends.
            drop(unframed::<VersionResponse>(&flipped));
        }
        let mut compressed = whole;
        compressed[0] = 1;
        assert!(unframed::<VersionResponse>(&compressed).unwrap_err().contains("compressed"));
    }

    #[test]
    fn a_refusal_is_told_with_its_code() {
        let mut headers = HeaderMap::new();
        assert_eq!(status(&headers), Err("no gRPC status".to_owned()));
        headers.insert("grpc-status", "12".parse().unwrap());
        headers.insert("grpc-message", "unknown service".parse().unwrap());
        assert_eq!(status(&headers), Err("gRPC status 12: unknown service".to_owned()));
        headers.insert("grpc-status", "0".parse().unwrap());
        assert_eq!(status(&headers), Ok(()));
    }
}
