//! Where in the chain something is judged or executed.

/// The height and time of the block that is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The height: the state before it is that of `height - 1`.
    pub height: u64,
    /// The header's time in milliseconds since 1970.
    pub time: u64,
}
