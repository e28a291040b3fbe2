//! How much of a long calculation one call may do: counted in work, not in time, so that a run stays a function of its
//! inputs.

/// An allowance of units, each about one addition of points (a third of a microsecond on a desktop processor). A
/// calculation stops after the piece that uses it up and goes on with the next allowance.
pub struct Budget {
    allowed: usize,
    spent: usize,
}

impl Budget {
    /// So many units.
    pub const fn new(units: usize) -> Self {
        Self { allowed: units, spent: 0 }
    }

    /// No bound: whatever it is given to goes on to its end.
    pub const fn unlimited() -> Self {
        Self::new(usize::MAX)
    }

    /// Counts a piece of work.
    pub const fn spend(&mut self, units: usize) {
        self.spent = self.spent.saturating_add(units);
    }

    /// Whether the next piece has to wait.
    pub const fn is_spent(&self) -> bool {
        self.spent >= self.allowed
    }

    /// All units spent: above the allowance by less than the last piece.
    pub const fn spent(&self) -> usize {
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_with_the_piece_that_uses_it_up() {
        let mut budget = Budget::new(10);
        budget.spend(9);
        assert!(!budget.is_spent());
        budget.spend(4);
        assert!(budget.is_spent() && budget.spent() == 13);
        assert!(Budget::new(0).is_spent());
        let mut unlimited = Budget::unlimited();
        unlimited.spend(usize::MAX - 1);
        assert!(!unlimited.is_spent());
    }
}
