//! The vault process: holds the shares, believes nothing that the node says.
