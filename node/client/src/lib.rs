//! The front end's side: looks keys up, logs in, verifies every receipt and share.
