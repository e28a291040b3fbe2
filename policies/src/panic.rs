//! What a panic says: its message and place, in one line, and nothing that needs a system call but the writing.
//!
//! The standard library's own hook opens the binary to name the frames of a backtrace. Under the filter that would kill
//! the process before anybody read why it panicked.

use std::io::Write;
use std::panic::PanicHookInfo;

pub(crate) fn install() {
    std::panic::set_hook(Box::new(|info| {
        // One write a line, so that threads do not mix theirs; a log that cannot be written is no reason to stop.
        let _ = std::io::stderr().lock().write_all(line(info).as_bytes());
    }));
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let message = payload.downcast_ref::<&str>().copied();
    let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    format!("ERROR thread {name} panicked at {place}: {message}\n")
}
