//! Which parts of a length are free: taken from the lowest that is long enough, joined again when they come back.

use std::collections::BTreeMap;

/// Free parts, where each begins and how long it is. No two touch.
pub(super) struct Extents(BTreeMap<usize, usize>);

impl Extents {
    /// All of it is free.
    pub(super) fn new(length: usize) -> Self {
        Self(BTreeMap::from([(0, length)]))
    }

    /// Where a part of this length begins; `None` if no free one is long enough.
    pub(super) fn take(&mut self, length: usize) -> Option<usize> {
        let (&at, &found) = self.0.iter().find(|(_, found)| **found >= length)?;
        self.0.remove(&at);
        if found > length {
            self.0.insert(at + length, found - length);
        }
        Some(at)
    }

    /// Gives back what was taken.
    pub(super) fn give_back(&mut self, mut at: usize, mut length: usize) {
        if let Some((&before, &found)) = self.0.range(..at).next_back()
            && before + found == at
        {
            self.0.remove(&before);
            (at, length) = (before, found + length);
        }
        if let Some(found) = self.0.remove(&(at + length)) {
            length += found;
        }
        self.0.insert(at, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_never_overlap_and_all_of_it_comes_back(steps in prop::collection::vec((any::<bool>(), 1usize..40), 1..200)) {
            let mut extents = Extents::new(256);
            let mut taken: Vec<(usize, usize)> = Vec::new();
            for (take, number) in steps {
                if take {
                    if let Some(at) = extents.take(number) {
                        prop_assert!(at + number <= 256);
                        let apart = |(other, length): &(usize, usize)| at + number <= *other || other + length <= at;
                        prop_assert!(taken.iter().all(apart), "{at}+{number} of {taken:?}");
                        taken.push((at, number));
                    }
                } else if !taken.is_empty() {
                    let (at, length) = taken.swap_remove(number % taken.len());
                    extents.give_back(at, length);
                }
                let free: usize = extents.0.values().sum();
                prop_assert_eq!(free + taken.iter().map(|(_, length)| length).sum::<usize>(), 256);
            }
            for (at, length) in taken {
                extents.give_back(at, length);
            }
            prop_assert_eq!(extents.0, BTreeMap::from([(0, 256)]));
        }
    }
}
