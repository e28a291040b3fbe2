//! What a message says: the matrix of a dealing, which is public, and after it what is its receiver's alone.

use alloc::sync::Arc;

use torus_memory::Pool;
use torus_sharing::Matrix;

use crate::secret::SecretBytes;

/// The plaintext of a message. Only what is secret of it takes room in a pool.
///
/// ```compile_fail,E0277
/// fn print(body: &torus_protocol::Body) -> String { format!("{body:?}") }
/// ```
/// ```compile_fail,E0599
/// use torus_protocol::Body;
/// fn copy(body: &Body) -> Body { Body::clone(body) }
/// ```
pub struct Body {
    matrix: Option<Arc<Matrix>>,
    secret: SecretBytes,
}

impl Body {
    pub(crate) fn with_matrix(matrix: Arc<Matrix>, secret: SecretBytes) -> Self {
        Self { matrix: Some(matrix), secret }
    }

    pub(crate) fn matrix(matrix: Arc<Matrix>, pool: Pool) -> Self {
        Self::with_matrix(matrix, SecretBytes::none(pool))
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.public().len() + self.secret.as_slice().len()
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes it into a place of its length, which is then as secret as the message.
    ///
    /// # Panics
    /// The place is of another length.
    pub fn write(&self, out: &mut [u8]) {
        let (public, secret) = out.split_at_mut(self.public().len());
        public.copy_from_slice(self.public());
        secret.copy_from_slice(self.secret.as_slice());
    }

    fn public(&self) -> &[u8] {
        self.matrix.as_ref().map_or(&[], |matrix| matrix.as_bytes())
    }
}

impl From<SecretBytes> for Body {
    fn from(secret: SecretBytes) -> Self {
        Self { matrix: None, secret }
    }
}
