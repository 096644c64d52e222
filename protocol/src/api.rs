//! The one table of Kafka's APIs (4.3.1): keys, names, stable versions, who serves them. ApiVersions, dispatch, metric names and
//! docs are made from it. What is advertised is decided by the server: only what a handler honours. The messages are in
//! `messages`.

use crate::codec::Message;
use crate::codec::Versions;
use crate::messages;

/// On which kinds of listener an API is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// Brokers' listeners.
    pub broker: bool,
    /// The controllers' listener.
    pub controller: bool,
}

const BROKER: Listeners = Listeners {
    broker: true,
    controller: false,
};
const CONTROLLER: Listeners = Listeners {
    broker: false,
    controller: true,
};
const BOTH: Listeners = Listeners {
    broker: true,
    controller: true,
};

/// One API.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// The key.
    pub key: ApiKey,
    /// Kafka's name.
    pub name: &'static str,
    /// The first stable version of 4.3.1.
    pub min: i16,
    /// The last stable version of 4.3.1.
    pub max: i16,
    /// The first version in the flexible encoding (KIP-482); `None` when no version is.
    pub flexible_from: Option<i16>,
    /// Who serves it.
    pub listeners: Listeners,
    /// Whether the messages have one version more, which is not stable.
    pub latest_unstable: bool,
    /// Whether a broker forwards it to the active controller, in an Envelope (KIP-590).
    pub forwardable: bool,
    /// Whether it needs CLUSTER_ACTION on the cluster: nodes among themselves.
    pub cluster_action: bool,
}

impl Api {
    /// The stable versions.
    pub const fn versions(&self) -> Versions {
        Versions::new(self.min, self.max)
    }

    /// Whether `version` is in the flexible encoding.
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|first| version >= first)
    }
}

macro_rules! apis {
    ($(
        $name:ident = $key:literal, [$min:literal, $max:literal], $flexible:expr, $listeners:expr,
        latest_unstable $unstable:literal, forwardable $forwardable:literal, cluster_action $cluster_action:literal;
    )*) => {
        /// The key of an API.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[allow(missing_docs)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// The API with this key, if Kafka 4.3.1 has one.
            pub const fn from_i16(key: i16) -> Option<ApiKey> {
                match key {
                    $($key => Some(ApiKey::$name),)*
                    _ => None,
                }
            }
        }

        /// Every API, in the order of the keys.
        pub const API_TABLE: &[Api] = &[
            $(Api {
                key: ApiKey::$name,
                name: stringify!($name),
                min: $min,
                max: $max,
                flexible_from: $flexible,
                listeners: $listeners,
                latest_unstable: $unstable,
                forwardable: $forwardable,
                cluster_action: $cluster_action,
            },)*
        ];
    };
}

apis! {
    Produce = 0, [3, 13], Some(9), BROKER, latest_unstable false, forwardable false, cluster_action false;
    Fetch = 1, [4, 18], Some(12), BOTH, latest_unstable false, forwardable false, cluster_action false;
    ListOffsets = 2, [1, 11], Some(6), BROKER, latest_unstable false, forwardable false, cluster_action false;
    Metadata = 3, [0, 13], Some(9), BROKER, latest_unstable false, forwardable false, cluster_action false;
    OffsetCommit = 8, [2, 10], Some(8), BROKER, latest_unstable false, forwardable false, cluster_action false;
    OffsetFetch = 9, [1, 10], Some(6), BROKER, latest_unstable false, forwardable false, cluster_action false;
    FindCoordinator = 10, [0, 6], Some(3), BROKER, latest_unstable false, forwardable false, cluster_action false;
    JoinGroup = 11, [0, 9], Some(6), BROKER, latest_unstable false, forwardable false, cluster_action false;
    Heartbeat = 12, [0, 4], Some(4), BROKER, latest_unstable false, forwardable false, cluster_action false;
    LeaveGroup = 13, [0, 5], Some(4), BROKER, latest_unstable false, forwardable false, cluster_action false;
    SyncGroup = 14, [0, 5], Some(4), BROKER, latest_unstable false, forwardable false, cluster_action false;
    DescribeGroups = 15, [0, 6], Some(5), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ListGroups = 16, [0, 5], Some(3), BROKER, latest_unstable false, forwardable false, cluster_action false;
    SaslHandshake = 17, [0, 1], None, BOTH, latest_unstable false, forwardable false, cluster_action false;
    ApiVersions = 18, [0, 4], Some(3), BOTH, latest_unstable false, forwardable false, cluster_action false;
    CreateTopics = 19, [2, 7], Some(5), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DeleteTopics = 20, [1, 6], Some(4), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DeleteRecords = 21, [0, 2], Some(2), BROKER, latest_unstable false, forwardable false, cluster_action false;
    InitProducerId = 22, [0, 5], Some(2), BROKER, latest_unstable true, forwardable false, cluster_action false;
    OffsetForLeaderEpoch = 23, [2, 4], Some(4), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AddPartitionsToTxn = 24, [0, 5], Some(3), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AddOffsetsToTxn = 25, [0, 4], Some(3), BROKER, latest_unstable false, forwardable false, cluster_action false;
    EndTxn = 26, [0, 5], Some(3), BROKER, latest_unstable false, forwardable false, cluster_action false;
    WriteTxnMarkers = 27, [1, 2], Some(1), BROKER, latest_unstable false, forwardable false, cluster_action true;
    TxnOffsetCommit = 28, [0, 5], Some(3), BROKER, latest_unstable false, forwardable false, cluster_action false;
    DescribeAcls = 29, [1, 3], Some(2), BOTH, latest_unstable false, forwardable false, cluster_action false;
    CreateAcls = 30, [1, 3], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DeleteAcls = 31, [1, 3], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DescribeConfigs = 32, [1, 4], Some(4), BOTH, latest_unstable false, forwardable false, cluster_action false;
    AlterConfigs = 33, [0, 2], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    AlterReplicaLogDirs = 34, [1, 2], Some(2), BROKER, latest_unstable false, forwardable false, cluster_action false;
    DescribeLogDirs = 35, [1, 5], Some(2), BROKER, latest_unstable false, forwardable false, cluster_action false;
    SaslAuthenticate = 36, [0, 2], Some(2), BOTH, latest_unstable false, forwardable false, cluster_action false;
    CreatePartitions = 37, [0, 3], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    CreateDelegationToken = 38, [1, 3], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    RenewDelegationToken = 39, [1, 2], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    ExpireDelegationToken = 40, [1, 2], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DescribeDelegationToken = 41, [1, 3], Some(2), BOTH, latest_unstable false, forwardable false, cluster_action false;
    DeleteGroups = 42, [0, 2], Some(2), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ElectLeaders = 43, [0, 2], Some(2), BOTH, latest_unstable false, forwardable true, cluster_action false;
    IncrementalAlterConfigs = 44, [0, 1], Some(1), BOTH, latest_unstable false, forwardable true, cluster_action false;
    AlterPartitionReassignments = 45, [0, 1], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action false;
    ListPartitionReassignments = 46, [0, 0], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action false;
    OffsetDelete = 47, [0, 0], None, BROKER, latest_unstable false, forwardable false, cluster_action false;
    DescribeClientQuotas = 48, [0, 1], Some(1), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AlterClientQuotas = 49, [0, 1], Some(1), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DescribeUserScramCredentials = 50, [0, 0], Some(0), BOTH, latest_unstable false, forwardable false, cluster_action false;
    AlterUserScramCredentials = 51, [0, 0], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action false;
    Vote = 52, [0, 2], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    BeginQuorumEpoch = 53, [0, 1], Some(1), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    EndQuorumEpoch = 54, [0, 1], Some(1), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    DescribeQuorum = 55, [0, 2], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action true;
    AlterPartition = 56, [2, 3], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    UpdateFeatures = 57, [0, 2], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action true;
    Envelope = 58, [0, 0], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    FetchSnapshot = 59, [0, 1], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action false;
    DescribeCluster = 60, [0, 2], Some(0), BOTH, latest_unstable false, forwardable false, cluster_action false;
    DescribeProducers = 61, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    BrokerRegistration = 62, [0, 4], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    BrokerHeartbeat = 63, [0, 2], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action true;
    UnregisterBroker = 64, [0, 0], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action false;
    DescribeTransactions = 65, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ListTransactions = 66, [0, 2], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AllocateProducerIds = 67, [0, 0], Some(0), CONTROLLER, latest_unstable false, forwardable true, cluster_action true;
    ConsumerGroupHeartbeat = 68, [0, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ConsumerGroupDescribe = 69, [0, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ControllerRegistration = 70, [0, 0], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action false;
    GetTelemetrySubscriptions = 71, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    PushTelemetry = 72, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AssignReplicasToDirs = 73, [0, 0], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action false;
    ListConfigResources = 74, [0, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    DescribeTopicPartitions = 75, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ShareGroupHeartbeat = 76, [1, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ShareGroupDescribe = 77, [1, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ShareFetch = 78, [1, 2], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    ShareAcknowledge = 79, [1, 2], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AddRaftVoter = 80, [0, 1], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action false;
    RemoveRaftVoter = 81, [0, 0], Some(0), BOTH, latest_unstable false, forwardable true, cluster_action false;
    UpdateRaftVoter = 82, [0, 0], Some(0), CONTROLLER, latest_unstable false, forwardable false, cluster_action false;
    InitializeShareGroupState = 83, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action true;
    ReadShareGroupState = 84, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action true;
    WriteShareGroupState = 85, [0, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action true;
    DeleteShareGroupState = 86, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action true;
    ReadShareGroupStateSummary = 87, [0, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action true;
    StreamsGroupHeartbeat = 88, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    StreamsGroupDescribe = 89, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    DescribeShareGroupOffsets = 90, [0, 1], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    AlterShareGroupOffsets = 91, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
    DeleteShareGroupOffsets = 92, [0, 0], Some(0), BROKER, latest_unstable false, forwardable false, cluster_action false;
}

impl ApiKey {
    /// The number on the wire.
    pub const fn as_i16(self) -> i16 {
        self as i16
    }

    /// The API's row of the table.
    pub fn api(self) -> &'static Api {
        match API_TABLE.binary_search_by_key(&self, |api| api.key) {
            Ok(index) => &API_TABLE[index],
            Err(_) => unreachable!("every key has its row: one macro makes both"),
        }
    }

    /// Kafka's name.
    pub fn name(self) -> &'static str {
        self.api().name
    }
}

/// The version of the request header before `version` of an API: 2 for flexible ones, else 1.
///
/// Versions beyond the table are treated as the last, so that an ApiVersions request of a newer client can still be read
/// as far as its header (KIP-511).
pub fn request_header_version(key: ApiKey, version: i16) -> i16 {
    if key.api().is_flexible(version) { 2 } else { 1 }
}

/// The version of the response header: 1 for flexible versions, else 0; always 0 for ApiVersions, whose reader does not
/// know yet what the other side speaks.
pub fn response_header_version(key: ApiKey, version: i16) -> i16 {
    if key != ApiKey::ApiVersions && key.api().is_flexible(version) {
        1
    } else {
        0
    }
}

const _: () = {
    // The header tables and the two functions above must agree.
    assert!(
        messages::RequestHeader::FLEXIBLE.contains(2)
            && !messages::RequestHeader::FLEXIBLE.contains(1)
    );
    assert!(
        messages::ResponseHeader::FLEXIBLE.contains(1)
            && !messages::ResponseHeader::FLEXIBLE.contains(0)
    );
};
