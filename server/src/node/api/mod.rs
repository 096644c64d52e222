//! One file per API, or per family that shares one way. Each file's head says versions, behaviour and what is not done.

pub mod alter_configs;
pub mod api_versions;
pub mod auto_create;
pub mod controller;
pub mod delete_records;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod fetch;
pub mod find_coordinator;
pub mod groups;
pub mod init_producer_id;
pub mod list_config_resources;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod telemetry;

/// What a response carries where authorised operations were not asked for.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// Bits of the operations that exist on a topic (1 << AclOperation code); without an authoriser all are allowed.
pub const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
/// The same of the cluster.
pub const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// The same of a group.
pub const GROUP_OPERATIONS: i32 = 0b1101_0100_1000;
