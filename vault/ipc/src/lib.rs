//! Messages between node and vault, and their bounded codec.
