//! Machines that lack something: io_uring, locked memory, space, direct I/O. Some are refused, on some the node runs.
//! Mounts are made in a mount namespace of the node's own, and end with it; that takes root.

use super::kafka;
use super::setup::{CLUSTER, Outcome, Setup, is_root};
use super::support::node::BINARY;
use super::support::{Node, NodeOptions};
use std::fs;

const FORBID_IO_URING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/support/forbid_io_uring.py"
);

#[test]
fn forbidden_io_uring_is_refused_with_what_to_allow() {
    let setup = Setup::new();
    let config = setup.config(&["data"], &[]);
    setup.formatted(&config);
    let before = setup.snapshot();
    let config = config.to_str().expect("a plain path");
    let outcome = setup.run(
        &["python3", FORBID_IO_URING],
        &["start", "--config", config],
    );
    outcome.refused(&["io_uring is forbidden", "seccomp", "io_uring_setup"]);
    assert_eq!(setup.snapshot(), before, "nothing is changed");
}

fn serves(node: &Node) {
    let mut client = node.client();
    kafka::create_topic(&mut client, "served", 1, &[]);
    let offset = kafka::append(&mut client, "served", &[b"value"]);
    let data = kafka::fetch(&mut client, "served", offset);
    assert_eq!(kafka::values(&data, offset)[0].1, "value");
}

/// The limit on locked memory that most systems give ordinary users.
#[test]
fn eight_mebibytes_of_locked_memory_are_enough_for_an_ordinary_user() {
    let setup = Setup::new();
    let binary = setup.path("odradek");
    fs::copy(BINARY, &binary).expect("the binary can be copied");
    let mut wrapper = vec!["prlimit", "--memlock=8388608:8388608"];
    if is_root() {
        wrapper.extend([
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--bounding-set=-all",
            "--inh-caps=-all",
        ]);
    }
    // The wrapper's last word is the binary's place; the copy runs in its stead.
    let copy = binary.display().to_string();
    wrapper.extend(["sh", "-c", "shift; exec \"$0\" \"$@\"", &copy]);
    let node = Node::start_in(
        NodeOptions::with(&["odradek.shards=1"]).wrapped(&wrapper),
        setup.folder.path(),
    );
    serves(&node);
    assert!(node.log().contains("8.0 MiB"), "{}", node.log());
}

fn require_root() {
    assert!(
        is_root(),
        "this test mounts a small file system in a mount namespace of its own and needs root: run it as root, or in a \
         container that has CAP_SYS_ADMIN"
    );
}

/// Runs what follows with a file system mounted at `place`.
fn mounted(kind: &str, options: &str, place: &str) -> Vec<String> {
    let script = format!("mount -t {kind} -o {options} none \"$0\" && exec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &script, place]
        .map(str::to_string)
        .to_vec()
}

#[test]
fn too_small_a_disk_refuses_to_format_and_says_what_it_needs() {
    require_root();
    let outcome = format_on("size=20m", "true");
    outcome.refused(&["/disk/data", "20 MiB", "space", "odradek.shards"]);
}

#[test]
fn full_disk_refuses_to_format_and_says_so() {
    require_root();
    let outcome = format_on("size=400m", "head -c 370m /dev/zero > \"$0/filler\"");
    outcome.refused(&["/disk/data", "no space is left"]);
}

/// Formats a directory on a small file system, after a shell command on it.
fn format_on(options: &str, before: &str) -> Outcome {
    let setup = Setup::new();
    fs::create_dir(setup.path("disk")).expect("a folder can be made");
    let config = setup.config(&["disk/data"], &[]);
    let place = setup.path("disk").display().to_string();
    let mut words = mounted("tmpfs", options, &place);
    words[4] = words[4].replace("&& exec", &format!("&& {before} && exec"));
    let wrapper: Vec<&str> = words.iter().map(String::as_str).collect();
    let config = config.to_str().expect("a plain path");
    let arguments = ["format", "-t", CLUSTER, "-c", config, "--standalone"];
    setup.run(&wrapper, &arguments)
}

#[test]
fn disk_that_fills_up_refuses_writes_and_keeps_what_it_has() {
    require_root();
    let setup = Setup::new();
    fs::create_dir(setup.path("data")).expect("a folder can be made");
    let place = setup.path("data").display().to_string();
    let words = mounted("tmpfs", "size=340m", &place);
    let wrapper: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = NodeOptions::with(&["odradek.shards=1"]).wrapped(&wrapper);
    let mut node = Node::start_in(options, setup.folder.path());
    let mut client = node.client();
    kafka::create_topic(&mut client, "filling", 1, &[]);
    let value = vec![b'x'; 1_000_000];
    let mut taken = 0;
    let mut refusal = 0;
    while taken < 400 && refusal == 0 {
        let (error, _) = kafka::produce(&mut client, "filling", kafka::batch(&[&value]));
        refusal = error;
        taken += i64::from(error == 0);
    }
    assert_eq!(
        refusal,
        56,
        "KAFKA_STORAGE_ERROR after {taken} records\n{}",
        node.log()
    );
    assert!(taken > 20, "{taken} records were taken");
    // What was acknowledged is served, and others are answered.
    let mut next = 0;
    while next < taken {
        let data = kafka::fetch(&mut client, "filling", next);
        assert_eq!(data.error_code, 0, "offset {next}");
        let found = kafka::values(&data, next);
        next = found.last().expect("records are there").0 + 1;
    }
    assert!(node.is_alive());
}

#[test]
fn file_system_without_direct_io_is_told_and_served() {
    require_root();
    let setup = Setup::new();
    fs::create_dir(setup.path("data")).expect("a folder can be made");
    let place = setup.path("data").display().to_string();
    let words = mounted("ramfs", "mode=0755", &place);
    let wrapper: Vec<&str> = words.iter().map(String::as_str).collect();
    let options = NodeOptions::with(&["odradek.shards=1", "odradek.data.dir.bytes.max=2000000000"])
        .wrapped(&wrapper);
    let node = Node::start_in(options, setup.folder.path());
    serves(&node);
    assert!(node.log().contains("direct I/O"), "{}", node.log());
}
