//! `cleanup.policy=compact` is accepted, and nothing is removed yet: said once per topic, whatever number of shards hold its
//! partitions, and counted in the metrics.

use super::requests::{alter, create_topic};
use super::support::{Node, NodeOptions};
use odradek_raft::image::resource_type::TOPIC;
use std::time::Duration;

fn lines_about(node: &Node, topic: &str) -> usize {
    let words = format!("topic {topic} has cleanup.policy=compact");
    node.log()
        .lines()
        .filter(|line| line.contains(&words))
        .count()
}

fn counted(node: &Node) -> u64 {
    let (_, page) = node.page("/metrics");
    let values = page
        .lines()
        .filter(|line| line.starts_with("odradek_topics_not_compacted"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    values.sum()
}

fn wait_until_counted(node: &Node, wanted: u64) {
    for _ in 0..1_000 {
        if counted(node) == wanted {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} topics are counted, not {wanted}", counted(node));
}

#[test]
fn compaction_not_done_is_logged_once_a_topic_and_counted() {
    let mut node = Node::start(NodeOptions::with(&["odradek.shards=4"]));
    let mut client = node.client();
    let policy = |value| [("cleanup.policy", value)];
    assert_eq!(
        create_topic(&mut client, "first", 12, &policy("compact")),
        0
    );
    assert_eq!(
        create_topic(&mut client, "second", 12, &policy("compact,delete")),
        0
    );
    assert_eq!(create_topic(&mut client, "third", 12, &policy("delete")), 0);
    wait_until_counted(&node, 2);
    let change =
        |client: &mut _, value| alter(client, (TOPIC, "third"), &[("cleanup.policy", value)]).0;
    assert_eq!(change(&mut client, Some("compact")), 0);
    wait_until_counted(&node, 3);
    // Another key of the topic changes nothing about it.
    let (error, _) = alter(
        &mut client,
        (TOPIC, "third"),
        &[("retention.ms", Some("1000000"))],
    );
    assert_eq!(error, 0);
    for topic in ["first", "second", "third"] {
        assert_eq!(lines_about(&node, topic), 1, "{topic}\n{}", node.log());
    }
    assert_eq!(change(&mut client, None), 0);
    wait_until_counted(&node, 2);
    // A new life says it once more, since its log may be another.
    node.kill();
    node.launch();
    wait_until_counted(&node, 2);
    assert_eq!(lines_about(&node, "first"), 2);
    assert_eq!(lines_about(&node, "third"), 1);
}
