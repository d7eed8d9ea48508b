//! Just enough of an API server for a subject that asks one: pods with their annotations, networks from the node's
//! manifests, and friendly answers to status updates and Events. HTTP on loopback, one thread a connection.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Pods by `namespace/name`.
type Pods = Arc<Mutex<BTreeMap<String, Value>>>;

pub struct ApiServer {
    address: SocketAddr,
    pods: Pods,
    stop: Arc<AtomicBool>,
}

impl ApiServer {
    /// Serves the manifests below `networks` until it is dropped.
    pub fn start(networks: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listening on loopback");
        let server = Self {
            address: listener.local_addr().unwrap(),
            pods: Pods::default(),
            stop: Arc::new(AtomicBool::new(false)),
        };
        let (pods, stop) = (Arc::clone(&server.pods), Arc::clone(&server.stop));
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let (pods, networks) = (Arc::clone(&pods), networks.clone());
                std::thread::spawn(move || serve(&stream, &pods, &networks));
            }
        });
        server
    }

    /// A kubeconfig that leads here.
    pub fn kubeconfig(&self) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", self.address) } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
            "users": [{ "name": "u", "user": {} }],
        })
        .to_string()
    }

    /// The pod as the cluster knows it.
    pub fn pods(&self) -> Pods {
        Arc::clone(&self.pods)
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: &TcpStream, pods: &Pods, networks: &std::path::Path) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(count) if count > 0 && !line.trim().is_empty() => head.push(line.trim().to_owned()),
            _ => break,
        }
    }
    let length = head.iter().filter_map(|line| line.split_once(':'));
    let length =
        length.filter(|(key, _)| key.eq_ignore_ascii_case("content-length")).find_map(|(_, v)| v.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if head.is_empty() || reader.read_exact(&mut body).is_err() {
        return;
    }
    let path = head[0].split(' ').nth(1).unwrap_or("").split('?').next().unwrap_or("");
    let (code, answer) = match answer(path, pods, networks) {
        Some(object) => ("200 OK", object),
        None => ("404 Not Found", not_found(path)),
    };
    let text = answer.to_string();
    let mut stream = stream;
    let _ = write!(
        stream,
        "HTTP/1.1 {code}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
}

fn not_found(path: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
        "reason": "NotFound", "message": format!("{path} not found"),
    })
}

fn answer(path: &str, pods: &Pods, networks: &std::path::Path) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        [_, _, "namespaces", namespace, "pods", name, ..] => {
            pods.lock().unwrap().get(&format!("{namespace}/{name}")).cloned()
        }
        [.., "namespaces", namespace, "network-attachment-definitions", name] => {
            let file = networks.join(namespace).join(format!("{name}.json"));
            serde_json::from_slice(&std::fs::read(file).ok()?).ok()
        }
        [.., "events"] => Some(json!({ "kind": "Event", "apiVersion": "v1", "metadata": {} })),
        _ => None,
    }
}
