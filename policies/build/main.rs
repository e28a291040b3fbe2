//! Compiles the policies in `resources/` into arrays, for every architecture. A policy that is missing, misspelt or
//! breaks a rule of `lint` fails the build, whatever the profile: there is no build without a filter.

mod lint;
mod policy;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use policy::{ARCHITECTURES, NAMES, Policy};

fn main() {
    let root = PathBuf::from(env("CARGO_MANIFEST_DIR")).join("resources");
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build");
    let target = env("CARGO_CFG_TARGET_ARCH");
    if !ARCHITECTURES.contains(&target.as_str()) {
        fail(&format!("there is no policy for the architecture {target}: it cannot be built for"));
    }
    let mut source = String::new();
    for architecture in ARCHITECTURES {
        let policies = policy::read(&root.join(architecture)).unwrap_or_else(|error| fail(&error));
        let complaints = lint::complaints(&policies);
        if !complaints.is_empty() {
            fail(&complaints.iter().map(|complaint| format!("{architecture}: {complaint}\n")).collect::<String>());
        }
        let name = architecture.to_uppercase();
        let _ = writeln!(source, "/// The filters of {architecture}, by name.\npub static {name}: Filters = &[");
        for name in NAMES {
            let policy = policies.get(name).unwrap_or_else(|| fail(&format!("{architecture}: no policy {name}")));
            let _ = writeln!(source, "    (\"{name}\", &[\n{}    ]),", compile(policy, architecture));
        }
        source.push_str("];\n");
    }
    let out = Path::new(&env("OUT_DIR")).join("filters.rs");
    std::fs::write(&out, source).unwrap_or_else(|error| fail(&format!("{}: {error}", out.display())));
}

/// One line an instruction.
fn compile(policy: &Policy, architecture: &str) -> String {
    let named = |error: &dyn std::fmt::Display| format!("{architecture}/{}: {error}", policy.name);
    let target = seccompiler::TargetArch::try_from(architecture).unwrap_or_else(|error| fail(&named(&error)));
    let programs = seccompiler::compile_from_json(policy.for_compiler().as_bytes(), target);
    let programs = programs.unwrap_or_else(|error| fail(&named(&error)));
    let Some(program) = programs.get(&policy.name) else { fail(&named(&"nothing was compiled")) };
    let mut lines = String::new();
    for instruction in program {
        let seccompiler::sock_filter { code, jt, jf, k } = instruction;
        let _ = writeln!(lines, "        Instruction {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},");
    }
    lines
}

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")))
}

fn fail(why: &str) -> ! {
    eprintln!("policies: {why}");
    std::process::exit(1)
}
