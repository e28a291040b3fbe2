//! The secret half of key generation, sans-IO: scalars, bivariate polynomials, AVSS and DKG participant.
