//! A dealer's secret: for each key one or two bivariate polynomials of degree k-1 in both variables.
//!
//! Cachin et al. 2002, section 3.3, "Send": f holds the secret at (0, 0), f' blinds the commitments. Who hands shares over
//! deals f alone, with his share at (0, 0), committed as in Feldman 1987: the commitment to it is known already.

use alloc::vec::Vec;

use k256::{AffinePoint, Scalar};
use rand_core::CryptoRngCore;
use torus_memory::{Exhausted, apart};
use torus_sharing::{Index, normalise};

use crate::polynomial::{column, row};
use crate::rows::Rows;
use crate::run::Run;
use crate::secret::{SecretBytes, SecretScalars, read_scalar};
use crate::table::Generators;

/// Coefficients f_jl, and f'_jl if there are any, of all keys; lives only until the messages are written.
pub(crate) struct Dealing {
    run: Run,
    f: SecretScalars,
    blind: Option<SecretScalars>,
}

impl Dealing {
    /// Of secrets that nobody knows.
    pub(crate) fn random(run: Run, rng: &mut dyn CryptoRngCore) -> Result<Self, Exhausted> {
        let polynomials = |rng: &mut dyn CryptoRngCore| {
            let mut all = SecretScalars::zeros(run.pool(), run.keys() * run.sizes().k() * run.sizes().k())?;
            all.fill_random(rng);
            Ok(all)
        };
        let f = polynomials(rng)?;
        let blind = if run.width() == 2 { Some(polynomials(rng)?) } else { None };
        Ok(Self { run, f, blind })
    }

    /// Of shares that are handed over, 32 bytes for each key; `None` if they are not as many canonical scalars.
    pub(crate) fn of(run: Run, shares: &SecretBytes, rng: &mut dyn CryptoRngCore) -> Result<Option<Self>, Exhausted> {
        let mut dealing = Self::random(run, rng)?;
        let k = run.sizes().k();
        let whole = apart(|| {
            let mut places = dealing.f.as_mut_slice().chunks_exact_mut(k * k).filter_map(<[Scalar]>::first_mut);
            let mut given = shares.as_slice().chunks_exact(32);
            let fits = places.by_ref().zip(given.by_ref()).all(|(constant, share)| {
                read_scalar(share).is_some_and(|share| {
                    *constant = share;
                    true
                })
            });
            fits && shares.as_slice().len() == 32 * run.keys()
        });
        Ok(whole.then_some(dealing))
    }

    /// C_jl = f_jl G (+ f'_jl H), `count` of them from a position on, in the order of the matrix; fewer at its end.
    pub(crate) fn commit(&self, generators: &Generators, from: usize, count: usize) -> Vec<AffinePoint> {
        let coefficients = self.f.as_slice().iter().skip(from).take(count);
        let points: Vec<_> = apart(|| match &self.blind {
            Some(blind) => {
                let pairs = coefficients.zip(blind.as_slice().iter().skip(from));
                pairs.map(|(s, blind)| generators.pedersen(s, blind)).collect()
            }
            None => coefficients.map(|s| generators.mul_g(s)).collect(),
        });
        normalise(&points)
    }

    /// a(y) = f(i, y), a'(y), b(x) = f(x, i), b'(x) of each key for one member; without blinding a and b.
    pub(crate) fn rows_for(&self, member: Index) -> Result<Rows, Exhausted> {
        let (k, width) = (self.run.sizes().k(), self.run.width());
        let at = Scalar::from(u64::from(member.get()));
        let mut rows = Rows::zeros(&self.run)?;
        apart(|| {
            for (b, out) in rows.by_key_mut().enumerate() {
                for (part, values) in out.chunks_exact_mut(k).enumerate() {
                    let blinding = self.blind.as_ref().filter(|_| part % width == 1);
                    let all = blinding.unwrap_or(&self.f).as_slice();
                    let Some(polynomial) = all.chunks_exact(k * k).nth(b) else { continue };
                    if part < width { row(polynomial, at, values) } else { column(polynomial, at, values) }
                }
            }
        });
        Ok(rows)
    }
}
