//! The replay window of a member: each sequence counts once.

use torus_statement::state::MemberEntry;

const WIDTH: u64 = 128;

/// Whether a sequence is new.
pub(crate) fn fresh(entry: &MemberEntry, sequence: u64) -> bool {
    match entry.sequence.checked_sub(sequence) {
        None => true,
        Some(back) if back < WIDTH => entry.window & (1 << back) == 0,
        Some(_) => false,
    }
}

/// Marks a sequence as seen.
pub(crate) fn mark(entry: &mut MemberEntry, sequence: u64) {
    match entry.sequence.checked_sub(sequence) {
        None => {
            let ahead = sequence.saturating_sub(entry.sequence);
            let kept = if ahead < WIDTH { entry.window << ahead } else { 0 };
            entry.window = kept | 1;
            entry.sequence = sequence;
        }
        Some(back) if back < WIDTH => entry.window |= 1 << back,
        Some(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sequence_counts_once_whatever_the_order() {
        let mut entry = MemberEntry::default();
        let order = [1, 2, 5, 3, 4, 132, 6, 131, 7, 400, 399, 273];
        for sequence in order {
            assert!(fresh(&entry, sequence), "{sequence}");
            mark(&mut entry, sequence);
            assert!(!fresh(&entry, sequence), "{sequence}");
        }
        for sequence in order {
            assert!(!fresh(&entry, sequence), "{sequence} again");
        }
        assert!(!fresh(&entry, 272), "below the window");
        assert!(fresh(&entry, u64::MAX));
        mark(&mut entry, u64::MAX);
        assert!(!fresh(&entry, 401));
    }
}
