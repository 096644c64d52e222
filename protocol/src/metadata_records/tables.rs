//! The tables of the metadata log's records. Their frame, and the enum of all of them, are in the parent module.

use crate::codec::{MessageInfo, message};

pub use abort_transaction_record::AbortTransactionRecord;
pub use access_control_entry_record::AccessControlEntryRecord;
pub use begin_transaction_record::BeginTransactionRecord;
pub use broker_registration_change_record::BrokerRegistrationChangeRecord;
pub use clear_elr_record::ClearElrRecord;
pub use client_quota_record::ClientQuotaRecord;
pub use config_record::ConfigRecord;
pub use delegation_token_record::DelegationTokenRecord;
pub use end_transaction_record::EndTransactionRecord;
pub use feature_level_record::FeatureLevelRecord;
pub use fence_broker_record::FenceBrokerRecord;
pub use no_op_record::NoOpRecord;
pub use partition_change_record::PartitionChangeRecord;
pub use partition_record::PartitionRecord;
pub use producer_ids_record::ProducerIdsRecord;
pub use register_broker_record::RegisterBrokerRecord;
pub use register_controller_record::RegisterControllerRecord;
pub use remove_access_control_entry_record::RemoveAccessControlEntryRecord;
pub use remove_delegation_token_record::RemoveDelegationTokenRecord;
pub use remove_topic_record::RemoveTopicRecord;
pub use remove_user_scram_credential_record::RemoveUserScramCredentialRecord;
pub use topic_record::TopicRecord;
pub use unfence_broker_record::UnfenceBrokerRecord;
pub use unregister_broker_record::UnregisterBrokerRecord;
pub use user_scram_credential_record::UserScramCredentialRecord;
pub use zk_migration_state_record::ZkMigrationStateRecord;

/// Every message of this file.
pub const MESSAGES: &[MessageInfo] = &[
    register_broker_record::INFO,
    unregister_broker_record::INFO,
    topic_record::INFO,
    partition_record::INFO,
    config_record::INFO,
    partition_change_record::INFO,
    fence_broker_record::INFO,
    unfence_broker_record::INFO,
    remove_topic_record::INFO,
    delegation_token_record::INFO,
    user_scram_credential_record::INFO,
    feature_level_record::INFO,
    client_quota_record::INFO,
    producer_ids_record::INFO,
    broker_registration_change_record::INFO,
    access_control_entry_record::INFO,
    remove_access_control_entry_record::INFO,
    no_op_record::INFO,
    zk_migration_state_record::INFO,
    remove_user_scram_credential_record::INFO,
    begin_transaction_record::INFO,
    end_transaction_record::INFO,
    abort_transaction_record::INFO,
    remove_delegation_token_record::INFO,
    register_controller_record::INFO,
    clear_elr_record::INFO,
];

message! {
    register_broker_record, key 0, versions [0..=4], flexible [0..];

    /// Metadata record of type 0.
    RegisterBrokerRecord {
        broker_id: i32 [0..],
        is_migrating_zk_broker: bool [2..],
        incarnation_id: Uuid [0..],
        broker_epoch: i64 [0..],
        end_points: Vec<BrokerEndpoint> [0..],
        features: Vec<BrokerFeature> [0..],
        rack: Option<StrBytes> [0.., nullable 0..],
        fenced: bool [0..] = true,
        in_controlled_shutdown: bool [1..],
        log_dirs: Vec<Uuid> [3..] tag 0 [3..],
        cordoned_log_dirs: Option<Vec<Uuid>> [4.., nullable 4.., null] tag 1 [4..],
    }

    /// An element of `end_points` in `RegisterBrokerRecord`.
    BrokerEndpoint {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
        security_protocol: i16 [0..],
    }

    /// An element of `features` in `RegisterBrokerRecord`.
    BrokerFeature {
        name: StrBytes [0..],
        min_supported_version: i16 [0..],
        max_supported_version: i16 [0..],
    }
}

message! {
    unregister_broker_record, key 1, versions [0], flexible [0..];

    /// Metadata record of type 1.
    UnregisterBrokerRecord {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..],
    }
}

message! {
    topic_record, key 2, versions [0], flexible [0..];

    /// Metadata record of type 2.
    TopicRecord {
        name: StrBytes [0..],
        topic_id: Uuid [0..],
    }
}

message! {
    partition_record, key 3, versions [0..=2], flexible [0..];

    /// Metadata record of type 3.
    PartitionRecord {
        partition_id: i32 [0..] = -1,
        topic_id: Uuid [0..],
        replicas: Vec<i32> [0..],
        isr: Vec<i32> [0..],
        removing_replicas: Vec<i32> [0..],
        adding_replicas: Vec<i32> [0..],
        leader: i32 [0..] = -1,
        leader_epoch: i32 [0..] = -1,
        partition_epoch: i32 [0..] = -1,
        directories: Vec<Uuid> [1..],
        leader_recovery_state: i8 [0..] tag 0 [0..],
        eligible_leader_replicas: Option<Vec<i32>> [2.., nullable 2.., null] tag 1 [2..],
        last_known_elr: Option<Vec<i32>> [2.., nullable 2.., null] tag 2 [2..],
    }
}

message! {
    config_record, key 4, versions [0], flexible [0..];

    /// Metadata record of type 4.
    ConfigRecord {
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        name: StrBytes [0..],
        value: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    partition_change_record, key 5, versions [0..=2], flexible [0..];

    /// Metadata record of type 5.
    PartitionChangeRecord {
        partition_id: i32 [0..] = -1,
        topic_id: Uuid [0..],
        isr: Option<Vec<i32>> [0.., nullable 0.., null] tag 0 [0..],
        leader: i32 [0..] tag 1 [0..] = -2,
        replicas: Option<Vec<i32>> [0.., nullable 0.., null] tag 2 [0..],
        removing_replicas: Option<Vec<i32>> [0.., nullable 0.., null] tag 3 [0..],
        adding_replicas: Option<Vec<i32>> [0.., nullable 0.., null] tag 4 [0..],
        leader_recovery_state: i8 [0..] tag 5 [0..] = -1,
        eligible_leader_replicas: Option<Vec<i32>> [2.., nullable 2.., null] tag 6 [2..],
        last_known_elr: Option<Vec<i32>> [2.., nullable 2.., null] tag 7 [2..],
        directories: Option<Vec<Uuid>> [1.., nullable 1.., null] tag 8 [1..],
    }
}

message! {
    fence_broker_record, key 7, versions [0], flexible [0..];

    /// Metadata record of type 7.
    FenceBrokerRecord {
        id: i32 [0..],
        epoch: i64 [0..],
    }
}

message! {
    unfence_broker_record, key 8, versions [0], flexible [0..];

    /// Metadata record of type 8.
    UnfenceBrokerRecord {
        id: i32 [0..],
        epoch: i64 [0..],
    }
}

message! {
    remove_topic_record, key 9, versions [0], flexible [0..];

    /// Metadata record of type 9.
    RemoveTopicRecord {
        topic_id: Uuid [0..],
    }
}

message! {
    delegation_token_record, key 10, versions [0], flexible [0..];

    /// Metadata record of type 10.
    DelegationTokenRecord {
        owner: StrBytes [0..],
        requester: StrBytes [0..],
        renewers: Vec<StrBytes> [0..],
        issue_timestamp: i64 [0..],
        max_timestamp: i64 [0..],
        expiration_timestamp: i64 [0..],
        token_id: StrBytes [0..],
    }
}

message! {
    user_scram_credential_record, key 11, versions [0], flexible [0..];

    /// Metadata record of type 11.
    UserScramCredentialRecord {
        name: StrBytes [0..],
        mechanism: i8 [0..],
        salt: Bytes [0..],
        stored_key: Bytes [0..],
        server_key: Bytes [0..],
        iterations: i32 [0..],
    }
}

message! {
    feature_level_record, key 12, versions [0], flexible [0..];

    /// Metadata record of type 12.
    FeatureLevelRecord {
        name: StrBytes [0..],
        feature_level: i16 [0..],
    }
}

message! {
    client_quota_record, key 14, versions [0], flexible [0..];

    /// Metadata record of type 14.
    ClientQuotaRecord {
        entity: Vec<EntityData> [0..],
        key: StrBytes [0..],
        value: f64 [0..],
        remove: bool [0..],
    }

    /// An element of `entity` in `ClientQuotaRecord`.
    EntityData {
        entity_type: StrBytes [0..],
        entity_name: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    producer_ids_record, key 15, versions [0], flexible [0..];

    /// Metadata record of type 15.
    ProducerIdsRecord {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..] = -1,
        next_producer_id: i64 [0..],
    }
}

message! {
    broker_registration_change_record, key 17, versions [0..=3], flexible [0..];

    /// Metadata record of type 17.
    BrokerRegistrationChangeRecord {
        broker_id: i32 [0..],
        broker_epoch: i64 [0..],
        fenced: i8 [0..] tag 0 [0..],
        in_controlled_shutdown: i8 [1..] tag 1 [1..],
        log_dirs: Vec<Uuid> [2..] tag 2 [2..],
        cordoned_log_dirs: Option<Vec<Uuid>> [3.., nullable 3.., null] tag 3 [3..],
    }
}

message! {
    access_control_entry_record, key 18, versions [0], flexible [0..];

    /// Metadata record of type 18.
    AccessControlEntryRecord {
        id: Uuid [0..],
        resource_type: i8 [0..],
        resource_name: StrBytes [0..],
        pattern_type: i8 [0..],
        principal: StrBytes [0..],
        host: StrBytes [0..],
        operation: i8 [0..],
        permission_type: i8 [0..],
    }
}

message! {
    remove_access_control_entry_record, key 19, versions [0], flexible [0..];

    /// Metadata record of type 19.
    RemoveAccessControlEntryRecord {
        id: Uuid [0..],
    }
}

message! {
    no_op_record, key 20, versions [0], flexible [0..];

    /// Metadata record of type 20.
    NoOpRecord {
    }
}

message! {
    zk_migration_state_record, key 21, versions [0], flexible [0..];

    /// Metadata record of type 21.
    ZkMigrationStateRecord {
        zk_migration_state: i8 [0..],
    }
}

message! {
    remove_user_scram_credential_record, key 22, versions [0], flexible [0..];

    /// Metadata record of type 22.
    RemoveUserScramCredentialRecord {
        name: StrBytes [0..],
        mechanism: i8 [0..],
    }
}

message! {
    begin_transaction_record, key 23, versions [0], flexible [0..];

    /// Metadata record of type 23.
    BeginTransactionRecord {
        name: Option<StrBytes> [0.., nullable 0.., null] tag 0 [0..],
    }
}

message! {
    end_transaction_record, key 24, versions [0], flexible [0..];

    /// Metadata record of type 24.
    EndTransactionRecord {
    }
}

message! {
    abort_transaction_record, key 25, versions [0], flexible [0..];

    /// Metadata record of type 25.
    AbortTransactionRecord {
        reason: Option<StrBytes> [0.., nullable 0.., null] tag 0 [0..],
    }
}

message! {
    remove_delegation_token_record, key 26, versions [0], flexible [0..];

    /// Metadata record of type 26.
    RemoveDelegationTokenRecord {
        token_id: StrBytes [0..],
    }
}

message! {
    register_controller_record, key 27, versions [0], flexible [0..];

    /// Metadata record of type 27.
    RegisterControllerRecord {
        controller_id: i32 [0..],
        incarnation_id: Uuid [0..],
        zk_migration_ready: bool [0..],
        end_points: Vec<ControllerEndpoint> [0..],
        features: Vec<ControllerFeature> [0..],
    }

    /// An element of `end_points` in `RegisterControllerRecord`.
    ControllerEndpoint {
        name: StrBytes [0..],
        host: StrBytes [0..],
        port: u16 [0..],
        security_protocol: i16 [0..],
    }

    /// An element of `features` in `RegisterControllerRecord`.
    ControllerFeature {
        name: StrBytes [0..],
        min_supported_version: i16 [0..],
        max_supported_version: i16 [0..],
    }
}

message! {
    clear_elr_record, key 28, versions [0], flexible [0..];

    /// Metadata record of type 28.
    ClearElrRecord {
        topic_name: StrBytes [0..],
    }
}
