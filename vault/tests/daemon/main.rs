//! The vault's process, through its real socket and over a real token (SoftHSM).

mod commits;
mod door;
mod network;
mod reveals;
mod rig;
mod starts;
mod votes;
