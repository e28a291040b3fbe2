//! The pure decision to release a share: token, receipts, certified mapping, clock -> Release or Deny.
