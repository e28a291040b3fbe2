//! What the operator does on the vault's host: the ceremony, the doctor, his word for a network or a store, the stop.

pub mod accept;
pub mod approve;
pub mod doctor;
pub mod findings;
pub mod freeze;
pub mod init;
pub mod prove;
pub mod trust;
