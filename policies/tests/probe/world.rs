//! What a probe finds around it: files, ports and sockets, some of them allowed to it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

pub(crate) struct World {
    dir: tempfile::TempDir,
    allowed: TcpListener,
    forbidden: TcpListener,
    _socket: UnixListener,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let open =
            |path: &PathBuf, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        open(&dir.path().to_owned(), 0o755);
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        open(&inside, 0o777);
        for path in [inside.join("file"), dir.path().join("outside")] {
            std::fs::write(&path, "text").unwrap();
            open(&path, 0o666);
        }
        let port = || TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        open(&dir.path().join("socket"), 0o777);
        Self { dir, allowed: port(), forbidden: port(), _socket: socket }
    }

    /// As a child reads it back.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
        vec![
            ("PROBE_DIR", self.dir.path().to_str().unwrap().to_owned()),
            ("PROBE_ALLOWED", port(&self.allowed)),
            ("PROBE_FORBIDDEN", port(&self.forbidden)),
            ("PROBE_PARENT", std::process::id().to_string()),
        ]
    }
}

/// The world, from inside.
pub(crate) struct Inside {
    pub(crate) dir: PathBuf,
    pub(crate) allowed: u16,
    pub(crate) forbidden: u16,
    pub(crate) parent: u64,
}

impl Inside {
    pub(crate) fn read() -> Self {
        let text = |name| std::env::var(name).unwrap();
        Self {
            dir: text("PROBE_DIR").into(),
            allowed: text("PROBE_ALLOWED").parse().unwrap(),
            forbidden: text("PROBE_FORBIDDEN").parse().unwrap(),
            parent: text("PROBE_PARENT").parse().unwrap(),
        }
    }
}
