//! Cases of the group coordinator as text: `testdata/group_*.txt`, a line per request or event, what it
//! brings about below it. `ODRADEK_UPDATE_TESTDATA=1` writes the files anew; read the difference then.

mod group_support;

use std::path::{Path, PathBuf};

use group_support::Harness;
use odradek_shard::group::GroupOptions;

/// Runs a file: lines that begin with `>` are what came out last time, all others are carried out.
/// An empty line followed by `# case` begins with a new coordinator.
fn check(path: &Path) {
    let text = std::fs::read_to_string(path).expect("the case file can be read");
    let mut harness = Harness::new(GroupOptions::with_seed((1, 2)));
    let mut actual = String::new();
    for line in text.lines().filter(|line| !line.starts_with('>')) {
        actual.push_str(line);
        actual.push('\n');
        if line.starts_with("# case") {
            harness = Harness::new(GroupOptions::with_seed((1, 2)));
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for output in harness.line(line) {
            actual.push_str(&format!("> {output}\n"));
        }
    }
    if std::env::var_os("ODRADEK_UPDATE_TESTDATA").is_some() {
        std::fs::write(path, &actual).expect("the case file can be written");
        return;
    }
    for (number, (expected, actual)) in text.lines().zip(actual.lines()).enumerate() {
        assert_eq!(actual, expected, "{}:{}", path.display(), number + 1);
    }
    assert_eq!(
        actual.lines().count(),
        text.lines().count(),
        "{}",
        path.display()
    );
}

fn case_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("testdata can be listed")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.starts_with("group_") && name.ends_with(".txt")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_case_file_holds() {
    let files = case_files();
    assert!(files.len() >= 5, "the case files are there");
    for file in &files {
        check(file);
    }
}
