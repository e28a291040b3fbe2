//! The node's way in and out: descriptors of the launcher, the socket, requests in, answers back.

pub mod connection;
pub mod descriptors;
pub mod server;
