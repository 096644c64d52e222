//! Every request and response of Kafka 4.3.1, one file for each API, and their headers. `api` says which versions exist and
//! who serves them; records of Kafka's own topics are in `metadata_records` and `coordinator_records`.

use crate::codec::MessageInfo;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod add_raft_voter;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_share_group_offsets;
mod alter_user_scram_credentials;
mod api_versions;
mod assign_replicas_to_dirs;
mod begin_quorum_epoch;
mod broker_heartbeat;
mod broker_registration;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod controller_registration;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_share_group_offsets;
mod delete_share_group_state;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_share_group_offsets;
mod describe_topic_partitions;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_quorum_epoch;
mod end_txn;
mod envelope;
mod expire_delegation_token;
mod fetch;
mod fetch_snapshot;
mod find_coordinator;
mod get_telemetry_subscriptions;
mod headers;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod initialize_share_group_state;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod push_telemetry;
mod read_share_group_state;
mod read_share_group_state_summary;
mod remove_raft_voter;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod share_acknowledge;
mod share_fetch;
mod share_group_describe;
mod share_group_heartbeat;
mod streams_group_describe;
mod streams_group_heartbeat;
mod sync_group;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod update_raft_voter;
mod vote;
mod write_share_group_state;
mod write_txn_markers;

pub use add_offsets_to_txn::{add_offsets_to_txn_request, add_offsets_to_txn_response};
pub use add_partitions_to_txn::{add_partitions_to_txn_request, add_partitions_to_txn_response};
pub use add_raft_voter::{add_raft_voter_request, add_raft_voter_response};
pub use allocate_producer_ids::{allocate_producer_ids_request, allocate_producer_ids_response};
pub use alter_client_quotas::{alter_client_quotas_request, alter_client_quotas_response};
pub use alter_configs::{alter_configs_request, alter_configs_response};
pub use alter_partition::{alter_partition_request, alter_partition_response};
pub use alter_partition_reassignments::{
    alter_partition_reassignments_request, alter_partition_reassignments_response,
};
pub use alter_replica_log_dirs::{alter_replica_log_dirs_request, alter_replica_log_dirs_response};
pub use alter_share_group_offsets::{
    alter_share_group_offsets_request, alter_share_group_offsets_response,
};
pub use alter_user_scram_credentials::{
    alter_user_scram_credentials_request, alter_user_scram_credentials_response,
};
pub use api_versions::{api_versions_request, api_versions_response};
pub use assign_replicas_to_dirs::{
    assign_replicas_to_dirs_request, assign_replicas_to_dirs_response,
};
pub use begin_quorum_epoch::{begin_quorum_epoch_request, begin_quorum_epoch_response};
pub use broker_heartbeat::{broker_heartbeat_request, broker_heartbeat_response};
pub use broker_registration::{broker_registration_request, broker_registration_response};
pub use consumer_group_describe::{
    consumer_group_describe_request, consumer_group_describe_response,
};
pub use consumer_group_heartbeat::{
    consumer_group_heartbeat_request, consumer_group_heartbeat_response,
};
pub use controller_registration::{
    controller_registration_request, controller_registration_response,
};
pub use create_acls::{create_acls_request, create_acls_response};
pub use create_delegation_token::{
    create_delegation_token_request, create_delegation_token_response,
};
pub use create_partitions::{create_partitions_request, create_partitions_response};
pub use create_topics::{create_topics_request, create_topics_response};
pub use delete_acls::{delete_acls_request, delete_acls_response};
pub use delete_groups::{delete_groups_request, delete_groups_response};
pub use delete_records::{delete_records_request, delete_records_response};
pub use delete_share_group_offsets::{
    delete_share_group_offsets_request, delete_share_group_offsets_response,
};
pub use delete_share_group_state::{
    delete_share_group_state_request, delete_share_group_state_response,
};
pub use delete_topics::{delete_topics_request, delete_topics_response};
pub use describe_acls::{describe_acls_request, describe_acls_response};
pub use describe_client_quotas::{describe_client_quotas_request, describe_client_quotas_response};
pub use describe_cluster::{describe_cluster_request, describe_cluster_response};
pub use describe_configs::{describe_configs_request, describe_configs_response};
pub use describe_delegation_token::{
    describe_delegation_token_request, describe_delegation_token_response,
};
pub use describe_groups::{describe_groups_request, describe_groups_response};
pub use describe_log_dirs::{describe_log_dirs_request, describe_log_dirs_response};
pub use describe_producers::{describe_producers_request, describe_producers_response};
pub use describe_quorum::{describe_quorum_request, describe_quorum_response};
pub use describe_share_group_offsets::{
    describe_share_group_offsets_request, describe_share_group_offsets_response,
};
pub use describe_topic_partitions::{
    describe_topic_partitions_request, describe_topic_partitions_response,
};
pub use describe_transactions::{describe_transactions_request, describe_transactions_response};
pub use describe_user_scram_credentials::{
    describe_user_scram_credentials_request, describe_user_scram_credentials_response,
};
pub use elect_leaders::{elect_leaders_request, elect_leaders_response};
pub use end_quorum_epoch::{end_quorum_epoch_request, end_quorum_epoch_response};
pub use end_txn::{end_txn_request, end_txn_response};
pub use envelope::{envelope_request, envelope_response};
pub use expire_delegation_token::{
    expire_delegation_token_request, expire_delegation_token_response,
};
pub use fetch::{fetch_request, fetch_response};
pub use fetch_snapshot::{fetch_snapshot_request, fetch_snapshot_response};
pub use find_coordinator::{find_coordinator_request, find_coordinator_response};
pub use get_telemetry_subscriptions::{
    get_telemetry_subscriptions_request, get_telemetry_subscriptions_response,
};
pub use headers::{request_header, response_header};
pub use heartbeat::{heartbeat_request, heartbeat_response};
pub use incremental_alter_configs::{
    incremental_alter_configs_request, incremental_alter_configs_response,
};
pub use init_producer_id::{init_producer_id_request, init_producer_id_response};
pub use initialize_share_group_state::{
    initialize_share_group_state_request, initialize_share_group_state_response,
};
pub use join_group::{join_group_request, join_group_response};
pub use leave_group::{leave_group_request, leave_group_response};
pub use list_config_resources::{list_config_resources_request, list_config_resources_response};
pub use list_groups::{list_groups_request, list_groups_response};
pub use list_offsets::{list_offsets_request, list_offsets_response};
pub use list_partition_reassignments::{
    list_partition_reassignments_request, list_partition_reassignments_response,
};
pub use list_transactions::{list_transactions_request, list_transactions_response};
pub use metadata::{metadata_request, metadata_response};
pub use offset_commit::{offset_commit_request, offset_commit_response};
pub use offset_delete::{offset_delete_request, offset_delete_response};
pub use offset_fetch::{offset_fetch_request, offset_fetch_response};
pub use offset_for_leader_epoch::{
    offset_for_leader_epoch_request, offset_for_leader_epoch_response,
};
pub use produce::{produce_request, produce_response};
pub use push_telemetry::{push_telemetry_request, push_telemetry_response};
pub use read_share_group_state::{read_share_group_state_request, read_share_group_state_response};
pub use read_share_group_state_summary::{
    read_share_group_state_summary_request, read_share_group_state_summary_response,
};
pub use remove_raft_voter::{remove_raft_voter_request, remove_raft_voter_response};
pub use renew_delegation_token::{renew_delegation_token_request, renew_delegation_token_response};
pub use sasl_authenticate::{sasl_authenticate_request, sasl_authenticate_response};
pub use sasl_handshake::{sasl_handshake_request, sasl_handshake_response};
pub use share_acknowledge::{share_acknowledge_request, share_acknowledge_response};
pub use share_fetch::{share_fetch_request, share_fetch_response};
pub use share_group_describe::{share_group_describe_request, share_group_describe_response};
pub use share_group_heartbeat::{share_group_heartbeat_request, share_group_heartbeat_response};
pub use streams_group_describe::{streams_group_describe_request, streams_group_describe_response};
pub use streams_group_heartbeat::{
    streams_group_heartbeat_request, streams_group_heartbeat_response,
};
pub use sync_group::{sync_group_request, sync_group_response};
pub use txn_offset_commit::{txn_offset_commit_request, txn_offset_commit_response};
pub use unregister_broker::{unregister_broker_request, unregister_broker_response};
pub use update_features::{update_features_request, update_features_response};
pub use update_raft_voter::{update_raft_voter_request, update_raft_voter_response};
pub use vote::{vote_request, vote_response};
pub use write_share_group_state::{
    write_share_group_state_request, write_share_group_state_response,
};
pub use write_txn_markers::{write_txn_markers_request, write_txn_markers_response};

pub use add_offsets_to_txn_request::AddOffsetsToTxnRequest;
pub use add_offsets_to_txn_response::AddOffsetsToTxnResponse;
pub use add_partitions_to_txn_request::AddPartitionsToTxnRequest;
pub use add_partitions_to_txn_response::AddPartitionsToTxnResponse;
pub use add_raft_voter_request::AddRaftVoterRequest;
pub use add_raft_voter_response::AddRaftVoterResponse;
pub use allocate_producer_ids_request::AllocateProducerIdsRequest;
pub use allocate_producer_ids_response::AllocateProducerIdsResponse;
pub use alter_client_quotas_request::AlterClientQuotasRequest;
pub use alter_client_quotas_response::AlterClientQuotasResponse;
pub use alter_configs_request::AlterConfigsRequest;
pub use alter_configs_response::AlterConfigsResponse;
pub use alter_partition_reassignments_request::AlterPartitionReassignmentsRequest;
pub use alter_partition_reassignments_response::AlterPartitionReassignmentsResponse;
pub use alter_partition_request::AlterPartitionRequest;
pub use alter_partition_response::AlterPartitionResponse;
pub use alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
pub use alter_replica_log_dirs_response::AlterReplicaLogDirsResponse;
pub use alter_share_group_offsets_request::AlterShareGroupOffsetsRequest;
pub use alter_share_group_offsets_response::AlterShareGroupOffsetsResponse;
pub use alter_user_scram_credentials_request::AlterUserScramCredentialsRequest;
pub use alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;
pub use api_versions_request::ApiVersionsRequest;
pub use api_versions_response::ApiVersionsResponse;
pub use assign_replicas_to_dirs_request::AssignReplicasToDirsRequest;
pub use assign_replicas_to_dirs_response::AssignReplicasToDirsResponse;
pub use begin_quorum_epoch_request::BeginQuorumEpochRequest;
pub use begin_quorum_epoch_response::BeginQuorumEpochResponse;
pub use broker_heartbeat_request::BrokerHeartbeatRequest;
pub use broker_heartbeat_response::BrokerHeartbeatResponse;
pub use broker_registration_request::BrokerRegistrationRequest;
pub use broker_registration_response::BrokerRegistrationResponse;
pub use consumer_group_describe_request::ConsumerGroupDescribeRequest;
pub use consumer_group_describe_response::ConsumerGroupDescribeResponse;
pub use consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest;
pub use consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse;
pub use controller_registration_request::ControllerRegistrationRequest;
pub use controller_registration_response::ControllerRegistrationResponse;
pub use create_acls_request::CreateAclsRequest;
pub use create_acls_response::CreateAclsResponse;
pub use create_delegation_token_request::CreateDelegationTokenRequest;
pub use create_delegation_token_response::CreateDelegationTokenResponse;
pub use create_partitions_request::CreatePartitionsRequest;
pub use create_partitions_response::CreatePartitionsResponse;
pub use create_topics_request::CreateTopicsRequest;
pub use create_topics_response::CreateTopicsResponse;
pub use delete_acls_request::DeleteAclsRequest;
pub use delete_acls_response::DeleteAclsResponse;
pub use delete_groups_request::DeleteGroupsRequest;
pub use delete_groups_response::DeleteGroupsResponse;
pub use delete_records_request::DeleteRecordsRequest;
pub use delete_records_response::DeleteRecordsResponse;
pub use delete_share_group_offsets_request::DeleteShareGroupOffsetsRequest;
pub use delete_share_group_offsets_response::DeleteShareGroupOffsetsResponse;
pub use delete_share_group_state_request::DeleteShareGroupStateRequest;
pub use delete_share_group_state_response::DeleteShareGroupStateResponse;
pub use delete_topics_request::DeleteTopicsRequest;
pub use delete_topics_response::DeleteTopicsResponse;
pub use describe_acls_request::DescribeAclsRequest;
pub use describe_acls_response::DescribeAclsResponse;
pub use describe_client_quotas_request::DescribeClientQuotasRequest;
pub use describe_client_quotas_response::DescribeClientQuotasResponse;
pub use describe_cluster_request::DescribeClusterRequest;
pub use describe_cluster_response::DescribeClusterResponse;
pub use describe_configs_request::DescribeConfigsRequest;
pub use describe_configs_response::DescribeConfigsResponse;
pub use describe_delegation_token_request::DescribeDelegationTokenRequest;
pub use describe_delegation_token_response::DescribeDelegationTokenResponse;
pub use describe_groups_request::DescribeGroupsRequest;
pub use describe_groups_response::DescribeGroupsResponse;
pub use describe_log_dirs_request::DescribeLogDirsRequest;
pub use describe_log_dirs_response::DescribeLogDirsResponse;
pub use describe_producers_request::DescribeProducersRequest;
pub use describe_producers_response::DescribeProducersResponse;
pub use describe_quorum_request::DescribeQuorumRequest;
pub use describe_quorum_response::DescribeQuorumResponse;
pub use describe_share_group_offsets_request::DescribeShareGroupOffsetsRequest;
pub use describe_share_group_offsets_response::DescribeShareGroupOffsetsResponse;
pub use describe_topic_partitions_request::DescribeTopicPartitionsRequest;
pub use describe_topic_partitions_response::DescribeTopicPartitionsResponse;
pub use describe_transactions_request::DescribeTransactionsRequest;
pub use describe_transactions_response::DescribeTransactionsResponse;
pub use describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
pub use describe_user_scram_credentials_response::DescribeUserScramCredentialsResponse;
pub use elect_leaders_request::ElectLeadersRequest;
pub use elect_leaders_response::ElectLeadersResponse;
pub use end_quorum_epoch_request::EndQuorumEpochRequest;
pub use end_quorum_epoch_response::EndQuorumEpochResponse;
pub use end_txn_request::EndTxnRequest;
pub use end_txn_response::EndTxnResponse;
pub use envelope_request::EnvelopeRequest;
pub use envelope_response::EnvelopeResponse;
pub use expire_delegation_token_request::ExpireDelegationTokenRequest;
pub use expire_delegation_token_response::ExpireDelegationTokenResponse;
pub use fetch_request::FetchRequest;
pub use fetch_response::FetchResponse;
pub use fetch_snapshot_request::FetchSnapshotRequest;
pub use fetch_snapshot_response::FetchSnapshotResponse;
pub use find_coordinator_request::FindCoordinatorRequest;
pub use find_coordinator_response::FindCoordinatorResponse;
pub use get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
pub use get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
pub use heartbeat_request::HeartbeatRequest;
pub use heartbeat_response::HeartbeatResponse;
pub use incremental_alter_configs_request::IncrementalAlterConfigsRequest;
pub use incremental_alter_configs_response::IncrementalAlterConfigsResponse;
pub use init_producer_id_request::InitProducerIdRequest;
pub use init_producer_id_response::InitProducerIdResponse;
pub use initialize_share_group_state_request::InitializeShareGroupStateRequest;
pub use initialize_share_group_state_response::InitializeShareGroupStateResponse;
pub use join_group_request::JoinGroupRequest;
pub use join_group_response::JoinGroupResponse;
pub use leave_group_request::LeaveGroupRequest;
pub use leave_group_response::LeaveGroupResponse;
pub use list_config_resources_request::ListConfigResourcesRequest;
pub use list_config_resources_response::ListConfigResourcesResponse;
pub use list_groups_request::ListGroupsRequest;
pub use list_groups_response::ListGroupsResponse;
pub use list_offsets_request::ListOffsetsRequest;
pub use list_offsets_response::ListOffsetsResponse;
pub use list_partition_reassignments_request::ListPartitionReassignmentsRequest;
pub use list_partition_reassignments_response::ListPartitionReassignmentsResponse;
pub use list_transactions_request::ListTransactionsRequest;
pub use list_transactions_response::ListTransactionsResponse;
pub use metadata_request::MetadataRequest;
pub use metadata_response::MetadataResponse;
pub use offset_commit_request::OffsetCommitRequest;
pub use offset_commit_response::OffsetCommitResponse;
pub use offset_delete_request::OffsetDeleteRequest;
pub use offset_delete_response::OffsetDeleteResponse;
pub use offset_fetch_request::OffsetFetchRequest;
pub use offset_fetch_response::OffsetFetchResponse;
pub use offset_for_leader_epoch_request::OffsetForLeaderEpochRequest;
pub use offset_for_leader_epoch_response::OffsetForLeaderEpochResponse;
pub use produce_request::ProduceRequest;
pub use produce_response::ProduceResponse;
pub use push_telemetry_request::PushTelemetryRequest;
pub use push_telemetry_response::PushTelemetryResponse;
pub use read_share_group_state_request::ReadShareGroupStateRequest;
pub use read_share_group_state_response::ReadShareGroupStateResponse;
pub use read_share_group_state_summary_request::ReadShareGroupStateSummaryRequest;
pub use read_share_group_state_summary_response::ReadShareGroupStateSummaryResponse;
pub use remove_raft_voter_request::RemoveRaftVoterRequest;
pub use remove_raft_voter_response::RemoveRaftVoterResponse;
pub use renew_delegation_token_request::RenewDelegationTokenRequest;
pub use renew_delegation_token_response::RenewDelegationTokenResponse;
pub use request_header::RequestHeader;
pub use response_header::ResponseHeader;
pub use sasl_authenticate_request::SaslAuthenticateRequest;
pub use sasl_authenticate_response::SaslAuthenticateResponse;
pub use sasl_handshake_request::SaslHandshakeRequest;
pub use sasl_handshake_response::SaslHandshakeResponse;
pub use share_acknowledge_request::ShareAcknowledgeRequest;
pub use share_acknowledge_response::ShareAcknowledgeResponse;
pub use share_fetch_request::ShareFetchRequest;
pub use share_fetch_response::ShareFetchResponse;
pub use share_group_describe_request::ShareGroupDescribeRequest;
pub use share_group_describe_response::ShareGroupDescribeResponse;
pub use share_group_heartbeat_request::ShareGroupHeartbeatRequest;
pub use share_group_heartbeat_response::ShareGroupHeartbeatResponse;
pub use streams_group_describe_request::StreamsGroupDescribeRequest;
pub use streams_group_describe_response::StreamsGroupDescribeResponse;
pub use streams_group_heartbeat_request::StreamsGroupHeartbeatRequest;
pub use streams_group_heartbeat_response::StreamsGroupHeartbeatResponse;
pub use sync_group_request::SyncGroupRequest;
pub use sync_group_response::SyncGroupResponse;
pub use txn_offset_commit_request::TxnOffsetCommitRequest;
pub use txn_offset_commit_response::TxnOffsetCommitResponse;
pub use unregister_broker_request::UnregisterBrokerRequest;
pub use unregister_broker_response::UnregisterBrokerResponse;
pub use update_features_request::UpdateFeaturesRequest;
pub use update_features_response::UpdateFeaturesResponse;
pub use update_raft_voter_request::UpdateRaftVoterRequest;
pub use update_raft_voter_response::UpdateRaftVoterResponse;
pub use vote_request::VoteRequest;
pub use vote_response::VoteResponse;
pub use write_share_group_state_request::WriteShareGroupStateRequest;
pub use write_share_group_state_response::WriteShareGroupStateResponse;
pub use write_txn_markers_request::WriteTxnMarkersRequest;
pub use write_txn_markers_response::WriteTxnMarkersResponse;

/// Every message of this module.
pub const MESSAGES: &[MessageInfo] = &[
    add_offsets_to_txn_request::INFO,
    add_offsets_to_txn_response::INFO,
    add_partitions_to_txn_request::INFO,
    add_partitions_to_txn_response::INFO,
    add_raft_voter_request::INFO,
    add_raft_voter_response::INFO,
    allocate_producer_ids_request::INFO,
    allocate_producer_ids_response::INFO,
    alter_client_quotas_request::INFO,
    alter_client_quotas_response::INFO,
    alter_configs_request::INFO,
    alter_configs_response::INFO,
    alter_partition_request::INFO,
    alter_partition_response::INFO,
    alter_partition_reassignments_request::INFO,
    alter_partition_reassignments_response::INFO,
    alter_replica_log_dirs_request::INFO,
    alter_replica_log_dirs_response::INFO,
    alter_share_group_offsets_request::INFO,
    alter_share_group_offsets_response::INFO,
    alter_user_scram_credentials_request::INFO,
    alter_user_scram_credentials_response::INFO,
    api_versions_request::INFO,
    api_versions_response::INFO,
    assign_replicas_to_dirs_request::INFO,
    assign_replicas_to_dirs_response::INFO,
    begin_quorum_epoch_request::INFO,
    begin_quorum_epoch_response::INFO,
    broker_heartbeat_request::INFO,
    broker_heartbeat_response::INFO,
    broker_registration_request::INFO,
    broker_registration_response::INFO,
    consumer_group_describe_request::INFO,
    consumer_group_describe_response::INFO,
    consumer_group_heartbeat_request::INFO,
    consumer_group_heartbeat_response::INFO,
    controller_registration_request::INFO,
    controller_registration_response::INFO,
    create_acls_request::INFO,
    create_acls_response::INFO,
    create_delegation_token_request::INFO,
    create_delegation_token_response::INFO,
    create_partitions_request::INFO,
    create_partitions_response::INFO,
    create_topics_request::INFO,
    create_topics_response::INFO,
    delete_acls_request::INFO,
    delete_acls_response::INFO,
    delete_groups_request::INFO,
    delete_groups_response::INFO,
    delete_records_request::INFO,
    delete_records_response::INFO,
    delete_share_group_offsets_request::INFO,
    delete_share_group_offsets_response::INFO,
    delete_share_group_state_request::INFO,
    delete_share_group_state_response::INFO,
    delete_topics_request::INFO,
    delete_topics_response::INFO,
    describe_acls_request::INFO,
    describe_acls_response::INFO,
    describe_client_quotas_request::INFO,
    describe_client_quotas_response::INFO,
    describe_cluster_request::INFO,
    describe_cluster_response::INFO,
    describe_configs_request::INFO,
    describe_configs_response::INFO,
    describe_delegation_token_request::INFO,
    describe_delegation_token_response::INFO,
    describe_groups_request::INFO,
    describe_groups_response::INFO,
    describe_log_dirs_request::INFO,
    describe_log_dirs_response::INFO,
    describe_producers_request::INFO,
    describe_producers_response::INFO,
    describe_quorum_request::INFO,
    describe_quorum_response::INFO,
    describe_share_group_offsets_request::INFO,
    describe_share_group_offsets_response::INFO,
    describe_topic_partitions_request::INFO,
    describe_topic_partitions_response::INFO,
    describe_transactions_request::INFO,
    describe_transactions_response::INFO,
    describe_user_scram_credentials_request::INFO,
    describe_user_scram_credentials_response::INFO,
    elect_leaders_request::INFO,
    elect_leaders_response::INFO,
    end_quorum_epoch_request::INFO,
    end_quorum_epoch_response::INFO,
    end_txn_request::INFO,
    end_txn_response::INFO,
    envelope_request::INFO,
    envelope_response::INFO,
    expire_delegation_token_request::INFO,
    expire_delegation_token_response::INFO,
    fetch_request::INFO,
    fetch_response::INFO,
    fetch_snapshot_request::INFO,
    fetch_snapshot_response::INFO,
    find_coordinator_request::INFO,
    find_coordinator_response::INFO,
    get_telemetry_subscriptions_request::INFO,
    get_telemetry_subscriptions_response::INFO,
    request_header::INFO,
    response_header::INFO,
    heartbeat_request::INFO,
    heartbeat_response::INFO,
    incremental_alter_configs_request::INFO,
    incremental_alter_configs_response::INFO,
    init_producer_id_request::INFO,
    init_producer_id_response::INFO,
    initialize_share_group_state_request::INFO,
    initialize_share_group_state_response::INFO,
    join_group_request::INFO,
    join_group_response::INFO,
    leave_group_request::INFO,
    leave_group_response::INFO,
    list_config_resources_request::INFO,
    list_config_resources_response::INFO,
    list_groups_request::INFO,
    list_groups_response::INFO,
    list_offsets_request::INFO,
    list_offsets_response::INFO,
    list_partition_reassignments_request::INFO,
    list_partition_reassignments_response::INFO,
    list_transactions_request::INFO,
    list_transactions_response::INFO,
    metadata_request::INFO,
    metadata_response::INFO,
    offset_commit_request::INFO,
    offset_commit_response::INFO,
    offset_delete_request::INFO,
    offset_delete_response::INFO,
    offset_fetch_request::INFO,
    offset_fetch_response::INFO,
    offset_for_leader_epoch_request::INFO,
    offset_for_leader_epoch_response::INFO,
    produce_request::INFO,
    produce_response::INFO,
    push_telemetry_request::INFO,
    push_telemetry_response::INFO,
    read_share_group_state_request::INFO,
    read_share_group_state_response::INFO,
    read_share_group_state_summary_request::INFO,
    read_share_group_state_summary_response::INFO,
    remove_raft_voter_request::INFO,
    remove_raft_voter_response::INFO,
    renew_delegation_token_request::INFO,
    renew_delegation_token_response::INFO,
    sasl_authenticate_request::INFO,
    sasl_authenticate_response::INFO,
    sasl_handshake_request::INFO,
    sasl_handshake_response::INFO,
    share_acknowledge_request::INFO,
    share_acknowledge_response::INFO,
    share_fetch_request::INFO,
    share_fetch_response::INFO,
    share_group_describe_request::INFO,
    share_group_describe_response::INFO,
    share_group_heartbeat_request::INFO,
    share_group_heartbeat_response::INFO,
    streams_group_describe_request::INFO,
    streams_group_describe_response::INFO,
    streams_group_heartbeat_request::INFO,
    streams_group_heartbeat_response::INFO,
    sync_group_request::INFO,
    sync_group_response::INFO,
    txn_offset_commit_request::INFO,
    txn_offset_commit_response::INFO,
    unregister_broker_request::INFO,
    unregister_broker_response::INFO,
    update_features_request::INFO,
    update_features_response::INFO,
    update_raft_voter_request::INFO,
    update_raft_voter_response::INFO,
    vote_request::INFO,
    vote_response::INFO,
    write_share_group_state_request::INFO,
    write_share_group_state_response::INFO,
    write_txn_markers_request::INFO,
    write_txn_markers_response::INFO,
];

/// Every message that a table describes, requests and records alike: for tools and tests that handle all of them.
pub fn registry() -> impl Iterator<Item = &'static MessageInfo> {
    MESSAGES
        .iter()
        .chain(crate::metadata_records::MESSAGES)
        .chain(crate::coordinator_records::messages())
        .chain(crate::control_records::MESSAGES)
        .chain(crate::consumer_protocol::MESSAGES)
        .chain(crate::remote_log_records::MESSAGES)
        .chain(crate::other_data::MESSAGES)
}
