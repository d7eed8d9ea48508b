//! x
pub mod netns;
