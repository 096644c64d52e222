//! Metadata (key 3), versions 0-13: brokers, topics, partitions and leaders, encoded straight from the image
//! (`metadata/encoding.rs`). Creates missing topics when client and configuration allow it, and answers once they exist
//! (Kafka answers at once with an error and lets the client ask again). Not done here: REBOOTSTRAP_REQUIRED (KIP-1102), which a lone node never needs.

pub mod encoding;

use super::super::request::{FrameRefusal, Request, RequestMeta, begin_response, read_body};
use super::super::{Core, TopicFound};
use super::auto_create::{self, Creation};
use encoding::{Answer, AnsweredTopics};
use odradek_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::image::{MetadataImage, PartitionView};
use std::collections::{BTreeMap, BTreeSet};

/// What is answered for one topic.
pub enum TopicAnswer {
    /// From the image.
    Found(Uuid),
    /// An error, with the name or id asked for.
    Missing {
        name: Option<StrBytes>,
        id: Uuid,
        error: ErrorCode,
    },
}

pub fn handle(core: &mut Core, mut request: Request) -> Result<(), FrameRefusal> {
    let body: MetadataRequest = read_body(&mut request)?;
    let meta = request.meta;
    let create = body.allow_auto_topic_creation && core.options.auto_create_topics;
    let missing: Vec<StrBytes> = if create {
        missing_topics(core, &body)
    } else {
        Vec::new()
    };
    if missing.is_empty() {
        answer(core, meta, &body, &[]);
    } else {
        auto_create::create(core, meta, Creation::Metadata(body), missing);
    }
    Ok(())
}

/// The name a topic is asked for by; none when an id is given, whatever stands beside it (Java sends an empty name then).
fn wanted_name(topic: &MetadataRequestTopic) -> Option<&StrBytes> {
    topic.name.as_ref().filter(|_| topic.topic_id == Uuid::ZERO)
}

fn missing_topics(core: &Core, body: &MetadataRequest) -> Vec<StrBytes> {
    let mut missing: BTreeSet<&StrBytes> = BTreeSet::new();
    for topic in body.topics.iter().flatten() {
        let Some(name) = wanted_name(topic) else {
            continue;
        };
        if core.topic_by_name(name).is_none() && is_topic_name(name) {
            missing.insert(name);
        }
    }
    missing.into_iter().map(StrBytes::detached).collect()
}

/// Kafka's rule for topic names: 1 to 249 of letters, digits, dot, underscore and dash, and neither `.` nor `..`.
pub fn is_topic_name(name: &str) -> bool {
    let characters = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    characters && (1..=249).contains(&name.len()) && name != "." && name != ".."
}

/// Sends the response; `created` says what became of topics that were to be created for it.
pub fn answer(
    core: &mut Core,
    meta: RequestMeta,
    body: &MetadataRequest,
    created: &[(StrBytes, ErrorCode)],
) {
    let all = match &body.topics {
        None => true,
        Some(topics) => topics.is_empty() && meta.version == 0,
    };
    let created: BTreeMap<&str, ErrorCode> = created
        .iter()
        .map(|(name, error)| (&**name, *error))
        .collect();
    let asked = body.topics.iter().flatten();
    let answers: Vec<TopicAnswer> = asked
        .map(|topic| find(core, wanted_name(topic), topic.topic_id, &created))
        .collect();
    for answer in &answers {
        if let TopicAnswer::Missing { error, .. } = answer {
            core.metrics.error(meta.api as i16, error.code());
        }
    }
    let brokers = core.broker_endpoints(meta.listener);
    let mut writer = begin_response(&meta);
    let answer = Answer {
        image: &core.image,
        brokers: &brokers,
        cluster_id: &core.options.cluster_id,
        topics: if all {
            AnsweredTopics::All
        } else {
            AnsweredTopics::These(&answers)
        },
        topic_operations: body.include_topic_authorized_operations,
        cluster_operations: body.include_cluster_authorized_operations,
    };
    encoding::encode(&mut writer, meta.version, &answer)
        .expect("a metadata response of ours encodes");
    core.respond_encoded(meta, writer);
}

fn find(
    core: &Core,
    name: Option<&StrBytes>,
    id: Uuid,
    created: &BTreeMap<&str, ErrorCode>,
) -> TopicAnswer {
    let found: Option<TopicFound> = match name {
        Some(name) => core.topic_by_name(name),
        None => core.topic_by_id(id),
    };
    if let Some(found) = found {
        return TopicAnswer::Found(found.id);
    }
    let error = match name {
        None => ErrorCode::UnknownTopicId,
        Some(name) if !is_topic_name(name) => ErrorCode::InvalidTopicException,
        Some(name) => {
            let attempt = created.get(&**name);
            attempt.map_or(ErrorCode::UnknownTopicOrPartition, |error| match error {
                ErrorCode::None | ErrorCode::TopicAlreadyExists => ErrorCode::LeaderNotAvailable,
                other => *other,
            })
        }
    };
    TopicAnswer::Missing {
        name: name.cloned(),
        id,
        error,
    }
}

/// Replicas whose broker is gone or fenced, or whose directory failed.
pub fn offline_replicas(
    image: &MetadataImage,
    partition: &PartitionView<'_>,
) -> smallvec::SmallVec<[i32; 4]> {
    let directories = partition.directories();
    let replicas = partition.replicas().iter().enumerate();
    replicas
        .filter(|(index, id)| {
            image.brokers.get(*id).is_none_or(|broker| {
                broker.fenced
                    || directories
                        .get(*index)
                        .is_some_and(|directory| !broker.has_online_directory(*directory))
            })
        })
        .map(|(_, id)| *id)
        .collect()
}
