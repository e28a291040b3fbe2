//! Tests on real tokens.
