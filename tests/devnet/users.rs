//! Who the daemons are: where the launcher is root, each vault and each node is a user of its own, as an operator would
//! have it; where it is not, both are its own user, and it says so.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use crate::Result;
use crate::process::{Role, own_uid};
use crate::trouble::Naming;

/// The first of the numbers: a range that systemd's conventions leave unused, and that fits a container's map.
const FIRST: u32 = 61_000;

/// The user and group of a daemon; `None` if it runs as the launcher's user.
pub fn of(member: u8, role: Role) -> Option<u32> {
    let second = match role {
        Role::Vault => 0,
        Role::Node => 1,
    };
    (own_uid() == 0).then(|| FIRST + 2 * u32::from(member) + second)
}

/// What a launcher says about it.
pub fn notice() -> String {
    if own_uid() == 0 {
        format!("every vault and every node is a user of its own, from uid {FIRST} on")
    } else {
        "not started as root: vault and node of a member run as this one user, which no operator should do".to_owned()
    }
}

/// Gives a file, or a directory with all that is in it, to a daemon. Links are not followed.
pub fn give(path: &Path, user: Option<u32>) -> Result<()> {
    let Some(user) = user else { return Ok(()) };
    let meta = fs::symlink_metadata(path).at("look at", path)?;
    if (meta.uid(), meta.gid()) != (user, user) {
        lchown(path, Some(user), Some(user)).at("give away", path)?;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path).at("list", path)? {
            give(&entry.at("list", path)?.path(), Some(user))?;
        }
    }
    Ok(())
}

/// Lets the daemons' users pass through a directory of the launcher's, without letting them list it.
pub fn let_pass(path: &Path) -> Result<()> {
    if own_uid() != 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o711)).at("open", path)
}

/// Whether every user can pass through all directories above.
pub fn passable(path: &Path) -> bool {
    own_uid() != 0
        || path.ancestors().skip(1).all(|above| fs::metadata(above).is_ok_and(|meta| meta.mode() & 0o001 != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_daemons_are_one_user() {
        if own_uid() != 0 {
            assert_eq!(of(1, Role::Vault), None);
            return;
        }
        let mut all: Vec<u32> = (1..=9).flat_map(|m| [of(m, Role::Vault), of(m, Role::Node)]).flatten().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 18);
    }

    #[test]
    fn a_private_directory_above_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(passable(&inner), own_uid() != 0);
        let_pass(dir.path()).unwrap();
        assert!(passable(&inner));
    }
}
