//! Another process's memory at one moment, all of it that can be read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use super::needles::Needles;

const PAGE: u64 = 4096;
/// Read at a time; neighbours overlap by a piece less a byte.
const CHUNK: usize = 1 << 20;
const OVERLAP: u64 = 7;

/// What a process held.
pub(crate) struct Snapshot {
    mappings: Vec<(Mapping, Chunks)>,
}

/// What could be read of a mapping, and where it begins; without stretches of zeros.
type Chunks = Vec<(u64, Vec<u8>)>;

/// What was found in it.
#[derive(Default)]
pub(crate) struct Found {
    /// Pieces of needles, by mapping and kind.
    pub(crate) places: Vec<String>,
    /// Which controls were found.
    pub(crate) controls: [bool; 3],
    /// Pieces of needles in the memory for secrets, where that can be read.
    pub(crate) inside: usize,
}

/// A vault's memory for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SecretMemory {
    /// The process has none.
    None,
    /// The kernel keeps it from everybody.
    Unreadable,
    /// Ordinary memory that is locked.
    Locked,
}

/// A mapping as the kernel lists it.
struct Mapping {
    from: u64,
    to: u64,
    name: String,
    /// Locked, in no dump, zeros in a child: what a vault maps for secrets where there is no secret memory.
    locked: bool,
}

impl Snapshot {
    /// Reads every readable mapping of a process.
    pub(crate) fn of(pid: u32) -> Self {
        let memory = File::open(format!("/proc/{pid}/mem")).expect("root reads a process's memory");
        let read = |mapping: Mapping| {
            let chunks = chunks(&memory, &mapping);
            (mapping, chunks)
        };
        Self { mappings: mappings(pid).into_iter().map(read).collect() }
    }

    /// How many bytes were read that are not all zeros.
    pub(crate) fn length(&self) -> usize {
        self.mappings.iter().flat_map(|(_, chunks)| chunks).map(|(_, bytes)| bytes.len()).sum()
    }

    /// What the process keeps secrets in.
    pub(crate) fn secret_memory(&self) -> SecretMemory {
        let mut found = SecretMemory::None;
        for (mapping, chunks) in &self.mappings {
            if mapping.name.contains("/secretmem") {
                assert!(chunks.is_empty(), "secret memory was read");
                found = SecretMemory::Unreadable;
            } else if mapping.locked {
                found = SecretMemory::Locked;
            }
        }
        found
    }

    /// Searches all of it.
    pub(crate) fn search(&self, needles: &Needles, known: &[Needles; 3]) -> Found {
        let mut found = Found::default();
        for (mapping, chunks) in &self.mappings {
            let mut pieces = BTreeMap::<String, (usize, u64)>::new();
            for (from, bytes) in chunks {
                needles.search(bytes, |at, kind| {
                    let (count, _) = pieces.entry(kind.to_owned()).or_insert((0, from + at as u64));
                    *count += 1;
                });
                for (control, found) in known.iter().zip(&mut found.controls) {
                    control.search(bytes, |_, _| *found = true);
                }
            }
            if mapping.locked {
                found.inside += pieces.values().map(|(count, _)| count).sum::<usize>();
                continue;
            }
            let Mapping { from, to, name, .. } = mapping;
            let place = |(kind, (count, first)): (String, (usize, u64))| {
                format!("{count} pieces of {kind} in {name:?} ({first:x} of {from:x}-{to:x})")
            };
            found.places.extend(pieces.into_iter().map(place));
        }
        found
    }
}

fn chunks(memory: &File, mapping: &Mapping) -> Chunks {
    let mut chunks = Vec::new();
    let mut buffer = vec![0; CHUNK];
    let mut at = mapping.from;
    while at < mapping.to {
        let length = CHUNK.min(usize::try_from(mapping.to - at).unwrap());
        match memory.read_at(&mut buffer[..length], at) {
            Ok(read) if read as u64 > OVERLAP => {
                // No needle has zeros.
                if buffer[..read].iter().any(|byte| *byte != 0) {
                    chunks.push((at, buffer[..read].to_vec()));
                }
                let next = at + read as u64;
                at = if next < mapping.to { next - OVERLAP } else { next };
            }
            // This page cannot be read, or is not there; the next may be.
            _ => at = (at / PAGE + 1) * PAGE,
        }
    }
    chunks
}

/// All mappings that the process itself can read.
fn mappings(pid: u32) -> Vec<Mapping> {
    let smaps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).expect("root reads a process's mappings");
    let mut mappings: Vec<Mapping> = Vec::new();
    let mut readable = false;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
            if let Some(mapping) = mappings.last_mut().filter(|_| readable) {
                mapping.locked = ["lo", "dd", "wf"].into_iter().all(has);
            }
        } else if let Some((from, to)) = first.split_once('-').filter(|_| !first.ends_with(':')) {
            readable = words.next().is_some_and(|access| access.starts_with('r'));
            if readable {
                let number = |text| u64::from_str_radix(text, 16).expect("an address");
                let offset = number(words.next().expect("an offset"));
                let name = words.skip(2).collect::<Vec<_>>().join(" ");
                let from = number(from);
                // What a file is mapped for beyond its end is not there.
                let end = std::fs::metadata(&name).ok().filter(std::fs::Metadata::is_file);
                let end = end.map_or(u64::MAX, |file| from + file.len().saturating_sub(offset).next_multiple_of(PAGE));
                mappings.push(Mapping { from, to: number(to).min(end), name, locked: false });
            }
        }
    }
    assert!(mappings.len() > 10, "{smaps}");
    mappings
}
