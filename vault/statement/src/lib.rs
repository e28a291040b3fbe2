//! Public formats and their verification: what a vault signs, and what it accepts as proof.
