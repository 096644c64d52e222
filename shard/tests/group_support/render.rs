//! Answers and records as text, with member ids under short names.

use bytes::Bytes;
use odradek_protocol::coordinator_records::{
    ConsumerOffsetsKey, GroupMetadataValue, OffsetCommitValue, decode_value,
};
use odradek_protocol::messages::join_group_response::JoinGroupResponse;
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_shard::group::GroupResponse;

use super::{Record, WALL_START_MS};

/// A member id ends in a dash and a UUID.
const SUFFIX_BYTES: usize = 37;

/// Real member ids and the names they are shown under: what comes before the UUID, and a number.
#[derive(Default)]
pub struct Names {
    known: Vec<(String, String)>,
}

impl Names {
    /// A line with short names replaced by the real ids.
    pub fn real(&self, line: &str) -> String {
        let mut line = line.to_owned();
        // The latest first, so that `a#12` is not taken for `a#1`.
        for (real, short) in self.known.iter().rev() {
            line = line.replace(short.as_str(), real);
        }
        line
    }

    fn short(&mut self, id: &StrBytes) -> String {
        if id.len() <= SUFFIX_BYTES {
            return if id.is_empty() {
                "-".to_owned()
            } else {
                id.to_string()
            };
        }
        if let Some((_, short)) = self.known.iter().find(|(real, _)| id == real.as_str()) {
            return short.clone();
        }
        let prefix = &id[..id.len() - SUFFIX_BYTES];
        let count = self
            .known
            .iter()
            .filter(|(real, _)| real[..real.len() - SUFFIX_BYTES] == *prefix)
            .count();
        let short = format!("{prefix}#{}", count + 1);
        self.known.push((id.to_string(), short.clone()));
        short
    }

    /// An answer on one line.
    pub fn response(&mut self, response: &GroupResponse) -> String {
        match response {
            GroupResponse::Join(response) => self.join(response),
            GroupResponse::Sync(response) => {
                let mut text = format!("sync {}", error(response.error_code));
                if response.error_code == 0 {
                    text += &format!(
                        " {}/{} assignment={}",
                        optional(&response.protocol_type),
                        optional(&response.protocol_name),
                        bytes(&response.assignment)
                    );
                }
                text
            }
            GroupResponse::Heartbeat(response) => {
                format!("heartbeat {}", error(response.error_code))
            }
            GroupResponse::Leave(response) => {
                let mut text = format!("leave {}", error(response.error_code));
                for member in &response.members {
                    let id = self.short(&member.member_id);
                    text += &format!(
                        " {id}/{}={}",
                        optional(&member.group_instance_id),
                        error(member.error_code)
                    );
                }
                text
            }
            GroupResponse::Describe(groups) => {
                let mut text = "describe".to_owned();
                for group in groups {
                    text += &format!(
                        " {}: {} state={} type={:?} data={:?}",
                        group.group_id,
                        error(group.error_code),
                        group.group_state,
                        &*group.protocol_type,
                        &*group.protocol_data
                    );
                    if let Some(message) = &group.error_message {
                        text += &format!(" message={:?}", &**message);
                    }
                    for member in &group.members {
                        let id = self.short(&member.member_id);
                        text += &format!(
                            " [{id} {} {}{} metadata={} assignment={}]",
                            optional(&member.group_instance_id),
                            member.client_id,
                            member.client_host,
                            bytes(&member.member_metadata),
                            bytes(&member.member_assignment)
                        );
                    }
                }
                text
            }
            other => plain_response(other),
        }
    }

    fn join(&mut self, response: &JoinGroupResponse) -> String {
        let id = self.short(&response.member_id);
        let mut text = format!("join {} member={id}", error(response.error_code));
        if response.generation_id != -1 {
            let leader = self.short(&response.leader);
            text += &format!(
                " generation={} {}/{} leader={leader}",
                response.generation_id,
                optional(&response.protocol_type),
                optional(&response.protocol_name)
            );
        }
        if response.skip_assignment {
            text += " skip";
        }
        for member in &response.members {
            let id = self.short(&member.member_id);
            text += &format!(
                " [{id} {} {}]",
                optional(&member.group_instance_id),
                bytes(&member.metadata)
            );
        }
        text
    }

    /// A record on one line.
    pub fn record(&mut self, (key, value): &Record) -> String {
        match ConsumerOffsetsKey::decode(key.clone()).expect("a known key") {
            ConsumerOffsetsKey::OffsetCommit(key) => {
                let name = format!("offset {} {}-{}", key.group, key.topic, key.partition);
                let Some(value) = value else {
                    return format!("{name} removed");
                };
                let version = value_version(value);
                let value: OffsetCommitValue = decode_value(value.clone()).expect("a value");
                let mut text = format!("{name} = {} v{version}", value.offset);
                text += &format!(" at={}", value.commit_timestamp - WALL_START_MS);
                if value.expire_timestamp != -1 {
                    text += &format!(" expires={}", value.expire_timestamp - WALL_START_MS);
                }
                if !value.metadata.is_empty() {
                    text += &format!(" metadata={:?}", &*value.metadata);
                }
                if value.topic_id != Uuid::default() {
                    text += &format!(" topic_id={}", value.topic_id);
                }
                text
            }
            ConsumerOffsetsKey::GroupMetadata(key) => match value {
                None => format!("group {} removed", key.group),
                Some(value) => self.group_record(&key.group, value),
            },
            other => format!("{other:?}"),
        }
    }

    fn group_record(&mut self, group_id: &StrBytes, value: &Bytes) -> String {
        let version = value_version(value);
        let value: GroupMetadataValue = decode_value(value.clone()).expect("a value");
        let leader = match &value.leader {
            Some(leader) => self.short(leader),
            None => "null".to_owned(),
        };
        let mut text = format!(
            "group {group_id} v{version} {:?}/{} generation={} leader={leader} at={}",
            &*value.protocol_type,
            optional(&value.protocol),
            value.generation,
            value.current_state_timestamp - WALL_START_MS
        );
        for member in &value.members {
            let id = self.short(&member.member_id);
            text += &format!(
                " [{id} {} {}{} {}/{} {} {}]",
                optional(&member.group_instance_id),
                member.client_id,
                member.client_host,
                member.session_timeout,
                member.rebalance_timeout,
                bytes(&member.subscription),
                bytes(&member.assignment)
            );
        }
        text
    }
}

fn plain_response(response: &GroupResponse) -> String {
    match response {
        GroupResponse::OffsetCommit(response) => {
            let mut text = "commit".to_owned();
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let (index, code) = (partition.partition_index, partition.error_code);
                    text += &format!(" {}:{index}={}", topic.name, error(code));
                }
            }
            text
        }
        GroupResponse::OffsetFetch(group) => {
            let mut text = format!("fetch {} {}", group.group_id, error(group.error_code));
            for topic in &group.topics {
                for partition in &topic.partitions {
                    text += &format!(
                        " {}:{}={}",
                        topic.name, partition.partition_index, partition.committed_offset
                    );
                    if partition.error_code != 0 {
                        text += &format!("({})", error(partition.error_code));
                    }
                    if let Some(metadata) =
                        partition.metadata.as_ref().filter(|text| !text.is_empty())
                    {
                        text += &format!("@{}", &**metadata);
                    }
                }
            }
            text
        }
        GroupResponse::OffsetDelete(response) => {
            let mut text = format!("delete-offsets {}", error(response.error_code));
            for topic in &response.topics {
                for partition in &topic.partitions {
                    let (index, code) = (partition.partition_index, partition.error_code);
                    text += &format!(" {}:{index}={}", topic.name, error(code));
                }
            }
            text
        }
        GroupResponse::List {
            error: code,
            groups,
        } => {
            let mut text = format!("list {}", code.name());
            for group in groups {
                text += &format!(
                    " {}({:?} {} {})",
                    group.group_id, &*group.protocol_type, group.group_state, group.group_type
                );
            }
            text
        }
        GroupResponse::Delete(results) => {
            let mut text = "delete-groups".to_owned();
            for result in results {
                text += &format!(" {}={}", result.group_id, error(result.error_code));
            }
            text
        }
        other => format!("{other:?}"),
    }
}

fn error(code: i16) -> &'static str {
    ErrorCode::from_code(code).map_or("?", ErrorCode::name)
}

fn optional(text: &Option<StrBytes>) -> String {
    text.as_ref()
        .map_or("null".to_owned(), |text| format!("{:?}", &**text))
}

/// Bytes as text where they are, a subscription as its topics.
fn bytes(bytes: &Bytes) -> String {
    if bytes.len() >= 6
        && bytes[..2] == [0, 0]
        && let Ok(subscription) = odradek_protocol::consumer_protocol::decode::<
            odradek_protocol::consumer_protocol::Subscription,
        >(bytes.clone())
    {
        let topics: Vec<String> = subscription
            .topics
            .iter()
            .map(ToString::to_string)
            .collect();
        return format!("<{}>", topics.join("+"));
    }
    format!("{:?}", String::from_utf8_lossy(bytes))
}

fn value_version(value: &Bytes) -> i16 {
    i16::from_be_bytes([value[0], value[1]])
}
