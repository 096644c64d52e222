//! The bytes of a Metadata response, written straight from the image: no `MetadataResponse` is ever made, since 100,000 partitions
//! of it would cost tens of milliseconds of allocating. What is answered is decided in `../metadata.rs`.
//!
//! Most partitions of a cluster share their lists (they are interned), so the tail of a partition's bytes, from its replicas on, is
//! made once per combination of leader and lists and copied from then on.

use super::super::super::BrokerEndpoint;
use super::super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS};
use super::{TopicAnswer, offline_replicas};
use odradek_protocol::codec::{EncodeError, Writer};
use odradek_protocol::{ErrorCode, StrBytes, Uuid};
use odradek_raft::image::{MetadataImage, PartitionView, TopicView};

/// From this version on lengths are compact and structs end with tagged fields.
const FLEXIBLE_VERSION: i16 = 9;
/// Bytes after which the response goes on in another segment, so that a long one is never moved while it grows.
const SEGMENT_BYTES: usize = 256 << 10;
/// Combinations of leader and lists that are remembered; a later one takes the place of another.
const TAILS_MAX: usize = 256;

/// All that a Metadata response says.
pub struct Answer<'a> {
    pub image: &'a MetadataImage,
    /// Unfenced brokers as the asking client reaches them.
    pub brokers: &'a [BrokerEndpoint],
    pub cluster_id: &'a str,
    pub topics: AnsweredTopics<'a>,
    /// Authorised operations were asked for.
    pub topic_operations: bool,
    pub cluster_operations: bool,
}

/// Which topics are in the response.
pub enum AnsweredTopics<'a> {
    /// All of the image, by name.
    All,
    /// These, in this order.
    These(&'a [TopicAnswer]),
}

/// Writes the body of a response of any version.
///
/// # Errors
/// None that a caller could cause: names are shorter than a string may be.
pub fn encode(writer: &mut Writer, version: i16, answer: &Answer<'_>) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    if version >= 3 {
        writer.write_i32(0);
    }
    encode_cluster(writer, version, answer)?;
    let mut topics = TopicsWriter {
        writer,
        version,
        flexible,
        image: answer.image,
        operations: answer.topic_operations,
        tails: Tails::new(),
    };
    match answer.topics {
        AnsweredTopics::All => {
            let count = answer.image.topics.len();
            topics.writer.write_length(Some(count), flexible)?;
            for view in answer.image.topics.iter() {
                topics.found(&view)?;
            }
        }
        AnsweredTopics::These(these) => {
            topics.writer.write_length(Some(these.len()), flexible)?;
            for topic in these {
                topics.one(topic)?;
            }
        }
    }
    if (8..=10).contains(&version) {
        writer.write_i32(if answer.cluster_operations {
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

fn encode_cluster(
    writer: &mut Writer,
    version: i16,
    answer: &Answer<'_>,
) -> Result<(), EncodeError> {
    let flexible = version >= FLEXIBLE_VERSION;
    writer.write_length(Some(answer.brokers.len()), flexible)?;
    for broker in answer.brokers {
        writer.write_i32(broker.id);
        writer.write_optional_string(Some(&StrBytes::from(broker.host.as_str())), flexible)?;
        writer.write_i32(i32::from(broker.port));
        if version >= 1 {
            let rack = broker.rack.as_deref().map(StrBytes::from);
            writer.write_optional_string(rack.as_ref(), flexible)?;
        }
        end_struct(writer, flexible);
    }
    if version >= 2 {
        let cluster_id = StrBytes::from(answer.cluster_id);
        writer.write_optional_string(Some(&cluster_id), flexible)?;
    }
    if version >= 1 {
        // Clients are sent to a broker, which forwards: any live one serves as "controller" (KIP-590).
        writer.write_i32(answer.brokers.first().map_or(-1, |broker| broker.id));
    }
    Ok(())
}

fn end_struct(writer: &mut Writer, flexible: bool) {
    if flexible {
        writer.write_empty_tagged_fields();
    }
}

struct TopicsWriter<'a, 'w> {
    writer: &'w mut Writer,
    version: i16,
    flexible: bool,
    image: &'a MetadataImage,
    operations: bool,
    tails: Tails,
}

impl<'a> TopicsWriter<'a, '_> {
    fn one(&mut self, topic: &TopicAnswer) -> Result<(), EncodeError> {
        match topic {
            TopicAnswer::Found(id) => match self.image.topics.by_id(*id) {
                Some(view) => self.found(&view),
                None => self.missing(None, *id, ErrorCode::UnknownTopicId),
            },
            TopicAnswer::Missing { name, id, error } => self.missing(name.as_ref(), *id, *error),
        }
    }

    fn missing(
        &mut self,
        name: Option<&StrBytes>,
        id: Uuid,
        error: ErrorCode,
    ) -> Result<(), EncodeError> {
        self.begin_topic(error, name.map(StrBytes::as_str), id, false)?;
        self.writer.write_length(Some(0), self.flexible)?;
        self.end_topic(OPERATIONS_NOT_ASKED);
        Ok(())
    }

    fn found(&mut self, view: &TopicView<'a>) -> Result<(), EncodeError> {
        let name = Some(&**view.name());
        self.begin_topic(ErrorCode::None, name, view.id(), view.is_internal())?;
        let count = view.partition_count() as usize;
        self.writer.write_length(Some(count), self.flexible)?;
        for (number, partition) in view.partitions() {
            self.partition(number, &partition)?;
        }
        self.end_topic(if self.operations {
            TOPIC_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        });
        Ok(())
    }

    fn begin_topic(
        &mut self,
        error: ErrorCode,
        name: Option<&str>,
        id: Uuid,
        is_internal: bool,
    ) -> Result<(), EncodeError> {
        self.writer.write_i16(error.code());
        // Names became nullable in version 12; before it an empty one stands for none.
        let name = match name {
            None if self.version < 12 => Some(""),
            name => name,
        };
        self.writer.write_optional_str(name, self.flexible)?;
        if self.version >= 10 {
            self.writer.write_uuid(id);
        }
        if self.version >= 1 {
            self.writer.write_bool(is_internal);
        }
        Ok(())
    }

    fn end_topic(&mut self, operations: i32) {
        if self.version >= 8 {
            self.writer.write_i32(operations);
        }
        end_struct(self.writer, self.flexible);
    }

    fn partition(&mut self, number: i32, view: &PartitionView<'a>) -> Result<(), EncodeError> {
        self.writer.continue_in_segments_of(SEGMENT_BYTES);
        let tail = self
            .tails
            .of(self.image, (self.version, self.flexible), view)?;
        let error = if tail.leader < 0 {
            ErrorCode::LeaderNotAvailable
        } else {
            ErrorCode::None
        };
        self.writer.write_i16(error.code());
        self.writer.write_i32(number);
        self.writer.write_i32(tail.leader);
        if self.version >= 7 {
            self.writer.write_i32(view.leader_epoch());
        }
        self.writer.write_raw(&tail.bytes);
        Ok(())
    }
}

/// What a partition's bytes depend on besides its number and epoch: the leader, and where in the image its lists lie.
type TailKey = (i32, [(usize, usize); 3]);

/// The leader as clients are told it, and the bytes from the replicas on.
struct Tail {
    key: TailKey,
    leader: i32,
    bytes: Vec<u8>,
}

/// Tails made for this response, each in the place its key hashes to.
struct Tails {
    places: Vec<Option<Tail>>,
}

impl Tails {
    fn new() -> Self {
        let mut places = Vec::new();
        places.resize_with(TAILS_MAX, || None);
        Self { places }
    }

    fn of(
        &mut self,
        image: &MetadataImage,
        (version, flexible): (i16, bool),
        view: &PartitionView<'_>,
    ) -> Result<&Tail, EncodeError> {
        let place = |list: &[i32]| (list.as_ptr().addr(), list.len());
        let directories = view.directories();
        let key: TailKey = (
            view.leader(),
            [
                place(view.replicas()),
                place(view.isr()),
                (directories.as_ptr().addr(), directories.len()),
            ],
        );
        let slot = &mut self.places[place_of(&key)];
        if slot.as_ref().is_none_or(|tail| tail.key != key) {
            let mut bytes = Writer::new();
            bytes.write_i32_array(view.replicas(), flexible)?;
            bytes.write_i32_array(view.isr(), flexible)?;
            if version >= 5 {
                bytes.write_i32_array(&offline_replicas(image, view), flexible)?;
            }
            end_struct(&mut bytes, flexible);
            let is_led = image.is_active_broker(view.leader());
            *slot = Some(Tail {
                key,
                leader: if is_led { view.leader() } else { -1 },
                bytes: bytes.into_bytes().to_vec(),
            });
        }
        Ok(slot.as_ref().expect("filled above"))
    }
}

fn place_of((leader, lists): &TailKey) -> usize {
    let mut hash = *leader as u32 as u64;
    for (address, length) in lists {
        hash = (hash ^ (*address as u64) ^ (*length as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    (hash >> 32) as usize % TAILS_MAX
}
