//! The device that protects a vault's keys: the trait, and its PKCS#11 form.
