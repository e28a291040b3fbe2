mod flow;
#[allow(dead_code)] // Shared with the state machine's tests.
#[path = "../../../mapping/src/tests/net.rs"]
mod net;
mod sim;
