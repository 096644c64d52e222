//! Metadata (key 3), versions 0-13: brokers, topics, partitions and leaders, encoded straight from the image.
//! Creates missing topics when client and configuration allow it, and answers once they exist (Kafka answers at once
//! with an error and lets the client ask again). Not done here: REBOOTSTRAP_REQUIRED (KIP-1102), which a lone node never needs.

use super::super::request::{FrameRefusal, Request, RequestMeta, begin_response, read_body};
use super::super::{Core, TopicFound};
use super::auto_create::{self, Creation};
use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS};
use odradek_protocol::codec::{EncodeError, Writer};
use odradek_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::image::{MetadataImage, PartitionView, TopicView};

const FLEXIBLE_VERSION: i16 = 9;

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
    let mut missing = Vec::new();
    for topic in body.topics.iter().flatten() {
        let Some(name) = wanted_name(topic) else {
            continue;
        };
        if core.topic_by_name(name).is_none() && is_topic_name(name) && !missing.contains(name) {
            missing.push(name.detached());
        }
    }
    missing
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
    let answers: Vec<TopicAnswer> = if all {
        core.image
            .topics
            .iter()
            .map(|topic| TopicAnswer::Found(topic.id()))
            .collect()
    } else {
        let topics = body.topics.iter().flatten();
        topics
            .map(|topic| find(core, wanted_name(topic), topic.topic_id, created))
            .collect()
    };
    for answer in &answers {
        if let TopicAnswer::Missing { error, .. } = answer {
            core.metrics.error(meta.api as i16, error.code());
        }
    }
    let mut writer = begin_response(&meta);
    let operations = Operations {
        topics: body.include_topic_authorized_operations,
        cluster: body.include_cluster_authorized_operations,
    };
    encode(core, &mut writer, &meta, &answers, operations)
        .expect("a metadata response of ours encodes");
    core.respond_encoded(meta, writer);
}

fn find(
    core: &Core,
    name: Option<&StrBytes>,
    id: Uuid,
    created: &[(StrBytes, ErrorCode)],
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
            let attempt = created.iter().find(|(other, _)| other == name);
            attempt.map_or(
                ErrorCode::UnknownTopicOrPartition,
                |(_, error)| match error {
                    ErrorCode::None | ErrorCode::TopicAlreadyExists => {
                        ErrorCode::LeaderNotAvailable
                    }
                    other => *other,
                },
            )
        }
    };
    TopicAnswer::Missing {
        name: name.cloned(),
        id,
        error,
    }
}

struct Operations {
    topics: bool,
    cluster: bool,
}

fn encode(
    core: &Core,
    writer: &mut Writer,
    meta: &RequestMeta,
    answers: &[TopicAnswer],
    operations: Operations,
) -> Result<(), EncodeError> {
    let version = meta.version;
    let flexible = version >= FLEXIBLE_VERSION;
    if version >= 3 {
        writer.write_i32(0);
    }
    let brokers = core.broker_endpoints(meta.listener);
    writer.write_length(Some(brokers.len()), flexible)?;
    for broker in &brokers {
        writer.write_i32(broker.id);
        writer.write_optional_string(Some(&StrBytes::from(broker.host.as_str())), flexible)?;
        writer.write_i32(i32::from(broker.port));
        if version >= 1 {
            writer.write_optional_string(
                broker.rack.as_deref().map(StrBytes::from).as_ref(),
                flexible,
            )?;
        }
        end_struct(writer, flexible);
    }
    if version >= 2 {
        let cluster_id = StrBytes::from(core.options.cluster_id.as_str());
        writer.write_optional_string(Some(&cluster_id), flexible)?;
    }
    if version >= 1 {
        // Clients are sent to a broker, which forwards: any live one serves as "controller" (KIP-590).
        writer.write_i32(brokers.first().map_or(-1, |broker| broker.id));
    }
    writer.write_length(Some(answers.len()), flexible)?;
    for answer in answers {
        encode_topic(writer, version, &core.image, answer, operations.topics)?;
    }
    if (8..=10).contains(&version) {
        writer.write_i32(if operations.cluster {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        });
    }
    if version >= 13 {
        writer.write_i16(ErrorCode::None.code());
    }
    end_struct(writer, flexible);
    Ok(())
}

fn end_struct(writer: &mut Writer, flexible: bool) {
    if flexible {
        writer.write_empty_tagged_fields();
    }
}

fn encode_topic(
    writer: &mut Writer,
    version: i16,
    image: &MetadataImage,
    answer: &TopicAnswer,
    operations: bool,
) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    let view = match answer {
        TopicAnswer::Found(id) => image.topics.by_id(*id),
        TopicAnswer::Missing { .. } => None,
    };
    let (error, name, id) = match (answer, &view) {
        (TopicAnswer::Found(id), Some(view)) => (ErrorCode::None, Some(view.name().clone()), *id),
        (TopicAnswer::Found(id), None) => (ErrorCode::UnknownTopicId, None, *id),
        (TopicAnswer::Missing { name, id, error }, _) => (*error, name.clone(), *id),
    };
    writer.write_i16(error.code());
    // Names became nullable in version 12; before it an empty one stands for none.
    let name = if version >= 12 {
        name
    } else {
        Some(name.unwrap_or(StrBytes::EMPTY))
    };
    writer.write_optional_string(name.as_ref(), flexible)?;
    if version >= 10 {
        writer.write_uuid(id);
    }
    if version >= 1 {
        writer.write_bool(view.as_ref().is_some_and(TopicView::is_internal));
    }
    encode_partitions(writer, version, image, view.as_ref())?;
    if version >= 8 {
        writer.write_i32(if operations && view.is_some() {
            TOPIC_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        });
    }
    end_struct(writer, flexible);
    Ok(())
}

fn encode_partitions(
    writer: &mut Writer,
    version: i16,
    image: &MetadataImage,
    view: Option<&TopicView<'_>>,
) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    let Some(view) = view else {
        return writer.write_length(Some(0), flexible);
    };
    writer.write_length(Some(view.partition_count() as usize), flexible)?;
    for (number, partition) in view.partitions() {
        let leader = if image.is_active_broker(partition.leader()) {
            partition.leader()
        } else {
            -1
        };
        let error = if leader < 0 {
            ErrorCode::LeaderNotAvailable
        } else {
            ErrorCode::None
        };
        writer.write_i16(error.code());
        writer.write_i32(number);
        writer.write_i32(leader);
        if version >= 7 {
            writer.write_i32(partition.leader_epoch());
        }
        writer.write_i32_array(partition.replicas(), flexible)?;
        writer.write_i32_array(partition.isr(), flexible)?;
        if version >= 5 {
            let offline = offline_replicas(image, &partition);
            writer.write_i32_array(&offline, flexible)?;
        }
        end_struct(writer, flexible);
    }
    Ok(())
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
