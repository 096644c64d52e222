//! The habits of this project, held by a plain test: crate edges, banned calls, file heads, sizes, and the map.
//! Each finding names file, line and what to do instead. The data it works from stands in `tests/tidy/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which workspace crate may depend on which; design §2, "Allowed edges".
const ALLOWED_EDGES: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("wal", &[]),
    ("raft", &["protocol"]),
    ("shard", &["protocol", "raft", "wal"]),
    ("server", &["protocol", "raft", "shard", "wal"]),
    ("perf", &["protocol"]),
];

/// Crate-relative folders whose code is sans-IO, and what may not stand there.
const SANS_IO: &[&str] = &[
    "protocol/src",
    "wal/src",
    "raft/src",
    "shard/src",
    "server/src/node",
];

/// A call that is banned, where, and what to write instead.
const BANNED_IN_SANS_IO: &[(&str, &str)] = &[
    ("Instant::now", "take `now` as a parameter"),
    ("SystemTime::now", "take `now` as a parameter"),
    ("std::thread::", "return an action; the shell owns threads"),
    ("std::net::Tcp", "return an action; the shell owns sockets"),
    ("std::fs::", "return an action; the shell owns files"),
    (
        "RandomState::new",
        "take the hasher from the shell (seeded in simulation)",
    ),
    ("tokio::", "no tokio runtime in the data path"),
    ("glommio::", "only `server/src/shell` names the executor"),
    ("io_uring::", "only `server/src/shell` names the ring"),
];

/// Banned everywhere outside tests.
const BANNED_EVERYWHERE: &[(&str, &str)] = &[
    ("todo!(", "write it, or name the gap in docs/STATUS.md"),
    (
        "unimplemented!(",
        "write it, or name the gap in docs/STATUS.md",
    ),
    ("#[ignore", "a skipped test proves nothing"),
    ("FIXME", "mend it, or name the gap in docs/STATUS.md"),
];

/// Modules in which `unsafe` may stand; design §6, rule 8.
const UNSAFE_ALLOWED: &[&str] = &[
    "wal/src/buffer.rs",
    "server/src/shell/",
    "perf/src/ring.rs",
    "protocol/tests/",
];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("server has a parent folder")
        .to_path_buf()
}

fn rust_files() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, _) in ALLOWED_EDGES {
        for folder in ["src", "tests"] {
            collect(&root().join(name).join(folder), &mut found);
        }
    }
    let root = root();
    let mut files: Vec<_> = found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is readable");
            let relative = path.strip_prefix(&root).expect("below the root");
            (relative.to_string_lossy().replace('\\', "/"), text)
        })
        .collect();
    files.sort();
    assert!(
        files.len() > 10,
        "tidy found hardly any file: is its root wrong?"
    );
    files
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            let name = entry.file_name();
            if name != "clients" && name != "target" && name != "node_modules" {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn refuse(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn crates_depend_only_along_allowed_edges() {
    let mut findings = Vec::new();
    for (name, allowed) in ALLOWED_EDGES {
        let manifest = root().join(name).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("every crate has a manifest");
        let dependencies = text.split("[dev-dependencies]").next().unwrap_or_default();
        for (other, _) in ALLOWED_EDGES {
            let named = dependencies
                .lines()
                .any(|line| line.starts_with(&format!("odradek-{other}")));
            if named && !allowed.contains(other) {
                findings.push(format!(
                    "{name}/Cargo.toml: depends on {other}; allowed are {allowed:?}"
                ));
            }
        }
    }
    refuse(&findings);
}

#[test]
fn files_say_their_duty_first() {
    let findings: Vec<_> = rust_files()
        .iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| format!("{path}: begins without `//!`; say its duty"))
        .collect();
    refuse(&findings);
}

#[test]
fn banned_calls_stay_out() {
    let mut findings = Vec::new();
    for (path, text) in rust_files() {
        if path == "server/tests/tidy.rs" {
            continue;
        }
        let sans_io = SANS_IO.iter().any(|folder| path.starts_with(folder));
        let banned = BANNED_EVERYWHERE
            .iter()
            .chain(BANNED_IN_SANS_IO.iter().filter(|_| sans_io));
        for (call, instead) in banned {
            for (index, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                if code.contains(call) {
                    findings.push(format!("{path}:{}: `{call}`: {instead}", index + 1));
                }
            }
        }
    }
    refuse(&findings);
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let mut findings = Vec::new();
    for (path, text) in rust_files() {
        if path == "server/tests/tidy.rs"
            || UNSAFE_ALLOWED.iter().any(|place| path.starts_with(place))
        {
            continue;
        }
        for (index, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("unsafe {")
                || code.contains("unsafe impl")
                || code.contains("unsafe fn")
            {
                findings.push(format!(
                    "{path}:{}: `unsafe` belongs in the ring, buffer and disk modules only",
                    index + 1
                ));
            }
        }
    }
    refuse(&findings);
}

/// Sizes above the limits are held where they are: the ratchet file lists each offender with its size, and the test
/// fails when one grows, when a new one appears, and when one shrank and the file still says more.
#[test]
fn sizes_only_go_down() {
    let ratchet_path = root().join("server/tests/tidy/ratchet.txt");
    let ratchet = read_ratchet(&ratchet_path);
    let mut found = BTreeMap::new();
    for (path, text) in rust_files() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            found.insert(path.clone(), lines);
        }
        for (name, lines) in long_functions(&text) {
            let key = format!("{path}::{name}");
            let longest = found.get(&key).copied().unwrap_or(0).max(lines);
            found.insert(key, longest);
        }
    }
    if std::env::var_os("ODRADEK_UPDATE_RATCHET").is_some() {
        let text: String = found
            .iter()
            .map(|(name, lines)| format!("{name} {lines}\n"))
            .collect();
        fs::write(&ratchet_path, text).expect("the ratchet is writable");
        return;
    }
    let mut findings = Vec::new();
    for (name, lines) in &found {
        match ratchet.get(name) {
            None => findings.push(format!("{name}: {lines} lines; split it")),
            Some(limit) if lines > limit => {
                findings.push(format!("{name}: grew from {limit} to {lines} lines"));
            }
            Some(limit) if lines < limit => findings.push(format!(
                "{name}: shrank from {limit} to {lines} lines; lower it in tests/tidy/ratchet.txt"
            )),
            Some(_) => {}
        }
    }
    let gone = ratchet.keys().filter(|name| !found.contains_key(*name));
    findings
        .extend(gone.map(|name| format!("{name}: within limits now; take it out of the ratchet")));
    refuse(&findings);
}

fn read_ratchet(path: &Path) -> BTreeMap<String, usize> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, lines)| (name.to_string(), lines.parse().expect("a number of lines")))
        .collect()
}

/// Names and lengths of functions over the limit. Relies on rustfmt: a function ends at the brace in its own column.
fn long_functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let Some(name) = function_name(trimmed) else {
            continue;
        };
        let indent = line.len() - trimmed.len();
        let end = lines[start..].iter().position(|candidate| {
            let body = candidate.trim_start();
            candidate.len() - body.len() == indent
                && (body == "}" || body.ends_with(';') || body.ends_with("{}"))
        });
        let length = end.map_or(0, |offset| offset + 1);
        if length > FUNCTION_LINES_MAX {
            long.push((name, length));
        }
    }
    long
}

fn function_name(line: &str) -> Option<String> {
    let rest = ["pub(crate) ", "pub(super) ", "pub "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))
        .unwrap_or(line);
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("async ").unwrap_or(rest);
    let rest = rest.strip_prefix("unsafe ").unwrap_or(rest);
    let name = rest.strip_prefix("fn ")?;
    let end = name.find(['(', '<'])?;
    Some(name[..end].to_string())
}

/// Every module file is named in `ARCHITECTURE.md`, by its path or its folder's, and every path named there exists.
#[test]
fn the_map_is_true() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md exists");
    let named: BTreeSet<String> = map
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.contains('/') && !word.contains(' '))
        .filter(|word| {
            ALLOWED_EDGES
                .iter()
                .any(|(name, _)| word.starts_with(&format!("{name}/")))
        })
        .map(|word| word.trim_end_matches('/').to_string())
        .collect();
    let mut findings = Vec::new();
    for name in &named {
        if !root().join(name).exists() {
            findings.push(format!(
                "ARCHITECTURE.md names `{name}`, which does not exist"
            ));
        }
    }
    for (path, _) in rust_files() {
        let Some(inside) = path.split_once("/src/").map(|(_, inside)| inside) else {
            continue;
        };
        if inside == "lib.rs" || inside == "main.rs" {
            continue;
        }
        let covered = named
            .iter()
            .any(|name| path == *name || path.starts_with(&format!("{name}/")));
        if !covered {
            findings.push(format!(
                "{path}: not on the map; name it (or its folder) in ARCHITECTURE.md"
            ));
        }
    }
    refuse(&findings);
}
