//! The node process: network and no secret.
