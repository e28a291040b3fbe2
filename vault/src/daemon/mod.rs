//! The life of `torus-vault run`: whether it may start, who it is, and the order in which everything is opened and ended.

pub mod boot;
pub mod member;
pub mod run;
