//! What the host must enforce on a daemon before it serves.
