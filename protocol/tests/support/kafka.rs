//! Kafka's own classes, behind a small Java program that is compiled when a test needs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the jars, if there is one; a panic if there must be.
pub fn jars() -> Option<PathBuf> {
    let folder = std::env::var_os("ODRADEK_KAFKA_LIBS").map(PathBuf::from);
    let found = folder.filter(|folder| {
        std::fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| {
                entry.is_ok_and(|entry| {
                    entry
                        .file_name()
                        .to_string_lossy()
                        .starts_with("kafka-clients-")
                })
            })
        })
    });
    if found.is_none() {
        let say = "ODRADEK_KAFKA_LIBS names no folder with kafka-clients-*.jar: fetch Kafka 4.3.1's jars and set it";
        assert!(
            std::env::var_os("ODRADEK_REQUIRE_KAFKA").is_none_or(|value| value != "1"),
            "{say}"
        );
        println!("not run: {say}");
    }
    found
}

/// Compiles the Java program beside the tests, gives it `input`, and answers with its lines.
pub fn run(libs: &Path, input: &str) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/java/KafkaOracle.java");
    let class_path = format!("{}/*", libs.display());
    let compiled = Command::new("javac")
        .args(["-cp", &class_path, "-d"])
        .arg(folder.path())
        .arg(source)
        .output()
        .expect("javac 17 or later runs");
    assert!(
        compiled.status.success(),
        "javac: {}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let cases = folder.path().join("cases.txt");
    std::fs::write(&cases, input).expect("the cases are written");
    let answered = Command::new("java")
        .args([
            "-cp",
            &format!("{}:{class_path}", folder.path().display()),
            "KafkaOracle",
        ])
        .stdin(std::fs::File::open(&cases).expect("the cases are read"))
        .stderr(Stdio::inherit())
        .output()
        .expect("java runs");
    assert!(answered.status.success(), "java failed");
    let text = String::from_utf8(answered.stdout).expect("UTF-8");
    text.lines().map(str::to_string).collect()
}
