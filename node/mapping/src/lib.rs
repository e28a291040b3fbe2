//! The replicated state machine, sans-IO: buffer, assignments, verifiers; authenticated state and proofs.
