//! A dealer's secret: for each key two random bivariate polynomials of degree k-1 in both variables.
//!
//! Cachin et al. 2002, section 3.3, "Send": f holds the secret at (0, 0), f' blinds the commitments.

use alloc::vec::Vec;

use k256::{AffinePoint, Scalar};
use rand_core::CryptoRngCore;
use torus_memory::{Exhausted, apart};
use torus_sharing::{Index, normalise};

use crate::polynomial::{column, row};
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::SecretScalars;
use crate::table::Generators;

/// Coefficients f_jl and f'_jl of all keys; lives only until the messages are written.
pub(crate) struct Dealing {
    run: Run,
    f: SecretScalars,
    blind: SecretScalars,
}

impl Dealing {
    pub(crate) fn random(run: Run, rng: &mut dyn CryptoRngCore) -> Result<Self, Exhausted> {
        let length = run.keys() * run.sizes().k() * run.sizes().k();
        let (mut f, mut blind) = (SecretScalars::zeros(run.pool(), length)?, SecretScalars::zeros(run.pool(), length)?);
        f.fill_random(rng);
        blind.fill_random(rng);
        Ok(Self { run, f, blind })
    }

    /// C_jl = f_jl G + f'_jl H, `count` of them from a position on, in the order of the matrix; fewer at its end.
    pub(crate) fn commit(&self, generators: &Generators, from: usize, count: usize) -> Vec<AffinePoint> {
        let pairs = self.f.as_slice().iter().zip(self.blind.as_slice()).skip(from).take(count);
        let points: Vec<_> = apart(|| pairs.map(|(s, blind)| generators.pedersen(s, blind)).collect());
        normalise(&points)
    }

    /// a(y) = f(i, y), a'(y), b(x) = f(x, i), b'(x) of each key for one member.
    pub(crate) fn rows_for(&self, member: Index) -> Result<Rows, Exhausted> {
        let k = self.run.sizes().k();
        let at = Scalar::from(u64::from(member.get()));
        let mut rows = Rows::zeros(&self.run)?;
        apart(|| {
            let keys = self.f.as_slice().chunks_exact(k * k).zip(self.blind.as_slice().chunks_exact(k * k));
            for ((f, blind), out) in keys.zip(rows.by_key_mut()) {
                for (part, values) in out.chunks_exact_mut(k).enumerate() {
                    let polynomial = if part % 2 == 0 { f } else { blind };
                    if part < 2 { row(polynomial, at, values) } else { column(polynomial, at, values) }
                }
            }
        });
        Ok(rows)
    }
}
