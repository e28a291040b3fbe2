//! Key generation runs and the key buffer over opaque envelopes, sans-IO.
