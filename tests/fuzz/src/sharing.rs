//! The public mathematics' bytes: commitment matrices, published vectors and keys, proofs, sizes and sets.

use torus_sharing::{
    BatchProof, Budget, Claim, Digest, Index, IndexSet, KeysReader, Matrix, MatrixReader, Point, PublishedKey,
    PublishedKeys, QualifiedSet, ShareVector, Sizes,
};

use crate::kit::{self, Purpose};
use crate::{BINARY, Target, select};

/// The first byte says what the rest is read as; matrices and keys are of (5,3,1), batches of one and two keys.
pub const TARGET: Target = Target { name: "sharing", body, seeds, memory: BINARY };

fn body(data: &[u8]) -> bool {
    let Some((kind, bytes)) = data.split_first() else { return false };
    match kind {
        0 | 1 => matrix(1 + usize::from(*kind), bytes),
        2 | 3 => keys(usize::from(*kind) - 1, bytes),
        4 => vector(bytes),
        5 => sizes(bytes),
        6 => qualified(bytes),
        _ => false,
    }
}

fn matrix(keys: usize, bytes: &[u8]) -> bool {
    let read = Matrix::parse(kit::sizes(), keys, bytes);
    let piece = |reader: &mut MatrixReader| reader.read(&mut Budget::new(1));
    let pieces = MatrixReader::new(kit::sizes(), keys, bytes.to_vec()).and_then(|reader| pieces(reader, piece));
    assert_eq!(
        pieces.map(|matrix| matrix.as_bytes().to_vec()).ok(),
        read.as_ref().map(|matrix| matrix.as_bytes().to_vec()).ok()
    );
    let Ok(matrix) = read else { return false };
    assert_eq!(matrix.as_bytes(), bytes);
    let points = matrix.points().to_vec();
    let again = Matrix::from_points(kit::sizes(), keys, points).expect("points of a matrix");
    assert_eq!(again.as_bytes(), bytes);
    assert_ne!(matrix.digest(&[1; 32]), matrix.digest(&[2; 32]));
    true
}

/// What a reader gives that gets the least work done at a time.
fn pieces<R, T, E>(mut reader: R, piece: impl Fn(&mut R) -> Result<Option<T>, E>) -> Result<T, E> {
    loop {
        if let Some(whole) = piece(&mut reader)? {
            return Ok(whole);
        }
    }
}

fn keys(keys: usize, bytes: &[u8]) -> bool {
    let read = PublishedKeys::parse(kit::sizes(), keys, bytes);
    let piece = |reader: &mut KeysReader| reader.read(&mut Budget::new(1));
    let pieces = KeysReader::new(kit::sizes(), keys, bytes.to_vec()).and_then(|reader| pieces(reader, piece));
    assert_eq!(pieces, read);
    let Ok(published) = read else { return false };
    assert_eq!(published.to_bytes(), bytes);
    assert_eq!(published.keys.len(), keys);
    true
}

/// A vector and its proof, which holds for nothing: nobody knows the logarithms that it speaks of.
fn vector(bytes: &[u8]) -> bool {
    let Ok(vector) = ShareVector::parse(1, bytes) else { return false };
    assert_eq!(vector.to_bytes(), bytes);
    assert_eq!(BatchProof::parse(&vector.proof.to_bytes()).map(|proof| proof.to_bytes()), Ok(vector.proof.to_bytes()));
    let qualified = QualifiedSet::new(kit::sizes(), &dealings(1..=4)).expect("n - t dealings");
    let commitments = [kit::public(Purpose::Other, 1)];
    let claim = Claim {
        base: &[7; 32],
        index: kit::index(1),
        qualified: &qualified,
        commitments: &commitments,
        vector: &vector.points,
    };
    assert!(!vector.verify(&claim));
    true
}

/// Sizes that are taken keep the rules that secrecy and liveness rest on.
fn sizes(bytes: &[u8]) -> bool {
    let [n, k, t, members @ ..] = bytes else { return false };
    let Ok(sizes) = Sizes::new(*n, *k, *t) else { return false };
    let (n, k, t, q) = (sizes.n(), sizes.k(), sizes.t(), sizes.q());
    assert!(k == n / 2 + 1 && n >= k + 2 * t && n > 3 * t && n <= 30);
    assert!(2 * q >= n + k && n - t >= q);
    assert!(2 * sizes.engine_quorum() >= n + k && 3 * sizes.engine_quorum() > 2 * n);
    let members: Option<Vec<Index>> = members.iter().map(|member| sizes.member(*member)).collect();
    let Some(members) = members else { return false };
    let Ok(set) = IndexSet::new(sizes, members) else { return false };
    // Coefficients at any member reproduce what is constant.
    for x in 0..=*bytes.first().unwrap_or(&0) {
        let sum: k256::Scalar = set.coefficients(x).iter().sum();
        assert_eq!(sum, k256::Scalar::ONE);
    }
    true
}

fn qualified(bytes: &[u8]) -> bool {
    let dealings = bytes.chunks(33).map(|chunk| {
        let (dealer, digest) = chunk.split_first()?;
        Some((Index::new(*dealer)?, Digest::try_from(digest).ok()?))
    });
    let Some(dealings) = dealings.collect::<Option<Vec<_>>>() else { return false };
    let Ok(set) = QualifiedSet::new(kit::sizes(), &dealings) else { return false };
    assert_eq!(set.dealings(), dealings);
    assert_eq!(set.dealings().len(), kit::sizes().qualified());
    assert!(set.dealings().is_sorted_by(|(a, _), (b, _)| a < b));
    true
}

fn dealings(dealers: std::ops::RangeInclusive<u8>) -> Vec<(Index, Digest)> {
    dealers.map(|dealer| (kit::index(dealer), [dealer; 32])).collect()
}

fn seeds() -> Vec<Vec<u8>> {
    let point = |number| kit::public(Purpose::Other, number);
    let matrix = |keys: usize| {
        let length = Matrix::byte_length(kit::sizes(), keys) / 64;
        let points = (0..length).map(|i| *point(i as u8 + 1).affine()).collect();
        Matrix::from_points(kit::sizes(), keys, points).expect("points").as_bytes().to_vec()
    };
    let key = |from: u8| PublishedKey { public: point(from), commitments: (1..=5).map(|i| point(from + i)).collect() };
    let vector = {
        let xy = |point: Point| point.to_xy().to_vec();
        [xy(point(1)), xy(point(2)), xy(point(3)), vec![1; 32], vec![2; 32]].concat()
    };
    let qualified: Vec<u8> =
        dealings(1..=4).iter().flat_map(|(dealer, digest)| [&[dealer.get()][..], digest].concat()).collect();
    vec![
        select(0, &matrix(1)),
        select(1, &matrix(2)),
        select(2, &PublishedKeys { keys: vec![key(1)] }.to_bytes()),
        select(3, &PublishedKeys { keys: vec![key(1), key(9)] }.to_bytes()),
        select(4, &vector),
        select(5, &[5, 3, 1, 1, 2, 5]),
        select(5, &[9, 5, 2, 1, 3, 4, 6, 9]),
        select(6, &qualified),
    ]
}
