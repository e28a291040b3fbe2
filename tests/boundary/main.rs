//! Checks of the walls between vault, node and client, made from outside the crates.

mod lockfiles;
mod walls;
