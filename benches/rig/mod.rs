//! What the bench and the budget test share: namespaces of their own, the networks, the calls and the counting.
//!
//! Both use the unmodified release binary and look at it from outside only. Nothing here links the library.

use std::io;

pub mod call;
pub mod counted;
pub mod libcni;
pub mod parts;
pub mod sandbox;
pub mod scene;
pub mod steps;
pub mod trace;

/// Why a measurement could not be made. A figure over its budget is not an error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{doing}")]
    Io { doing: String, source: io::Error },
    #[error("{program} {operation} failed: {answer}")]
    Failed { program: String, operation: String, answer: String },
    #[error("{0}")]
    Unfit(String),
}

impl Error {
    /// For `map_err`: what was being done when the system refused.
    pub fn doing<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source: source.into() }
    }

    /// The whole chain in one line, for a person.
    pub fn report(&self) -> String {
        match self {
            Self::Io { doing, source } => format!("{doing}: {source}"),
            other => other.to_string(),
        }
    }
}

pub type Result<T> = std::result::Result<T, Error>;
