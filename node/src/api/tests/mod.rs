//! The interface over a backend that is a few tables: what is tested here is the interface.

pub(crate) mod double;
mod frames;
mod golden;
pub(crate) mod listeners;
mod readiness;
mod weaknesses;
