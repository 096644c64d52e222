//! Starting where something is in the way, and running out of files. What needs a process of its own runs this test binary once more.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use odradek_server::shell::{Shell, ShellOptions};

use super::support::{Client, Echo, Node, loopback, options};

fn refusal(options: ShellOptions) -> String {
    match Shell::prepare(options) {
        Ok(_) => panic!("it starts"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind(loopback()).expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let refused = refusal(ShellOptions {
        listeners: vec![address],
        ..ShellOptions::default()
    });
    assert!(refused.contains(&address.to_string()), "{refused}");
    assert!(
        refused.contains("Another program listens there"),
        "{refused}"
    );
}

#[test]
fn a_directory_in_use_is_named_and_a_free_one_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with_directory = || ShellOptions {
        directories: vec![folder.path().to_owned()],
        ..ShellOptions::default()
    };
    let shell = Shell::prepare(with_directory()).expect("nobody has it");
    let report = shell.report().join("\n");
    for fact in [
        "kernel: Linux",
        "io_uring: ",
        "files and connections",
        "data directory ",
    ] {
        assert!(report.contains(fact), "{report}");
    }
    let refused = refusal(with_directory());
    assert!(
        refused.contains(&folder.path().display().to_string()),
        "{refused}"
    );
    drop(shell);
    Shell::prepare(with_directory()).expect("it was given back");
}

const CHILD: &str = "ODRADEK_TEST_FEW_FILES";

/// The child of the next test: a node that may open few files. Does nothing when run as a test.
#[test]
fn node_with_few_files() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    use rustix::process::{Resource, Rlimit, setrlimit};
    let few = Rlimit {
        current: Some(80),
        maximum: Some(80),
    };
    setrlimit(Resource::Nofile, few).expect("a limit may be lowered");
    let node = Node::start(options(1), vec![Vec::new()], |_| Echo);
    println!("\nADDRESS {}", node.address);
    let mut line = String::new();
    // Serves until the parent closes our input.
    std::io::stdin().read_line(&mut line).expect("it is a pipe");
}

#[test]
fn running_out_of_files_leaves_the_connected_served() {
    let program = std::env::current_exe().expect("we run from a file");
    let mut child = Command::new(program)
        .args(["--exact", "start::node_with_few_files", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("we can run ourselves");
    // Kept open to the end: the child's last words need a reader.
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let address = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("ADDRESS ").map(str::to_owned))
        .expect("the child tells its address");
    let address = address.parse().expect("an address");
    // More than the node has places for: the last are closed at once.
    let mut clients: Vec<Client> = (0..120).map(|_| Client::to(address)).collect();
    for round in 0..50u8 {
        clients[0].send(&[round]);
        assert_eq!(clients[0].receive().expect("an answer"), [round]);
    }
    let mut last = clients.pop().expect("there are 120");
    assert!(last.receive().is_err(), "no place, and told so at once");
    // Places are given up, and who comes again gets one; how soon the node sees them free is its own affair.
    drop(clients);
    let served = (0..5_000).any(|_| {
        let mut again = Client::to(address);
        again.try_send(b"my turn?").is_ok()
            && again.receive().is_ok_and(|answer| answer == b"my turn?")
    });
    assert!(served, "freed places are given again");
    drop(child.stdin.take());
    assert!(child.wait().expect("it ends").success());
}
