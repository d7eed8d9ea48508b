//! What the loop tells and the server hands out, behind one lock that nobody holds for long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::health::{Counters, State};

/// The daemon's state as others see it.
pub(super) struct Shared {
    /// When the daemon started.
    pub started: Instant,
    state: Mutex<State>,
}

impl Shared {
    pub fn new(started: Instant) -> Self {
        // Until the first look nothing is known to be right.
        let state = State { missing: vec!["the first look has not ended".to_owned()], ..State::default() };
        Self { started, state: Mutex::new(state) }
    }

    pub fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub fn count(&self, change: impl FnOnce(&mut Counters)) {
        self.update(|state| change(&mut state.counters));
    }

    /// The state, and how long the daemon has run.
    pub fn now(&self) -> (State, Duration) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (state, self.started.elapsed())
    }
}
