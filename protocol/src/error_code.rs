//! Kafka's error codes. Which of our refusals is answered with which code is decided at the server's edge, once.

macro_rules! error_codes {
    ($($name:ident = $code:literal, $kafka:literal, retriable $retriable:literal, refresh_metadata $refresh:literal;)*) => {
        /// An error code on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        #[allow(missing_docs)]
        pub enum ErrorCode {
            $($name = $code,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name),*];

            /// The error with this code, if it is known.
            pub const fn from_code(code: i16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $kafka,)*
                }
            }

            /// Whether clients try again on it.
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(ErrorCode::$name => $retriable,)*
                }
            }

            /// Whether clients refresh their metadata on it.
            pub const fn refreshes_metadata(self) -> bool {
                match self {
                    $(ErrorCode::$name => $refresh,)*
                }
            }
        }
    };
}

error_codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", retriable false, refresh_metadata false;
    None = 0, "NONE", retriable false, refresh_metadata false;
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", retriable false, refresh_metadata false;
    CorruptMessage = 2, "CORRUPT_MESSAGE", retriable true, refresh_metadata false;
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retriable true, refresh_metadata true;
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", retriable false, refresh_metadata false;
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retriable true, refresh_metadata true;
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retriable true, refresh_metadata true;
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retriable true, refresh_metadata false;
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", retriable false, refresh_metadata false;
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retriable true, refresh_metadata true;
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", retriable false, refresh_metadata false;
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", retriable false, refresh_metadata false;
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", retriable false, refresh_metadata false;
    NetworkException = 13, "NETWORK_EXCEPTION", retriable true, refresh_metadata true;
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retriable true, refresh_metadata false;
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retriable true, refresh_metadata false;
    NotCoordinator = 16, "NOT_COORDINATOR", retriable true, refresh_metadata false;
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", retriable false, refresh_metadata false;
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", retriable false, refresh_metadata false;
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retriable true, refresh_metadata false;
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable true, refresh_metadata false;
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", retriable false, refresh_metadata false;
    IllegalGeneration = 22, "ILLEGAL_GENERATION", retriable false, refresh_metadata false;
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", retriable false, refresh_metadata false;
    InvalidGroupId = 24, "INVALID_GROUP_ID", retriable false, refresh_metadata false;
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", retriable false, refresh_metadata false;
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", retriable false, refresh_metadata false;
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", retriable false, refresh_metadata false;
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", retriable false, refresh_metadata false;
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", retriable false, refresh_metadata false;
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", retriable false, refresh_metadata false;
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", retriable false, refresh_metadata false;
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", retriable false, refresh_metadata false;
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", retriable false, refresh_metadata false;
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", retriable false, refresh_metadata false;
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", retriable false, refresh_metadata false;
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", retriable false, refresh_metadata false;
    InvalidPartitions = 37, "INVALID_PARTITIONS", retriable false, refresh_metadata false;
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", retriable false, refresh_metadata false;
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", retriable false, refresh_metadata false;
    InvalidConfig = 40, "INVALID_CONFIG", retriable false, refresh_metadata false;
    NotController = 41, "NOT_CONTROLLER", retriable true, refresh_metadata false;
    InvalidRequest = 42, "INVALID_REQUEST", retriable false, refresh_metadata false;
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", retriable false, refresh_metadata false;
    PolicyViolation = 44, "POLICY_VIOLATION", retriable false, refresh_metadata false;
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", retriable false, refresh_metadata false;
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", retriable false, refresh_metadata false;
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", retriable false, refresh_metadata false;
    InvalidTxnState = 48, "INVALID_TXN_STATE", retriable false, refresh_metadata false;
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", retriable false, refresh_metadata false;
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", retriable false, refresh_metadata false;
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", retriable true, refresh_metadata false;
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", retriable false, refresh_metadata false;
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", retriable false, refresh_metadata false;
    SecurityDisabled = 54, "SECURITY_DISABLED", retriable false, refresh_metadata false;
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", retriable false, refresh_metadata false;
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retriable true, refresh_metadata true;
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", retriable false, refresh_metadata false;
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", retriable false, refresh_metadata false;
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", retriable false, refresh_metadata false;
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", retriable false, refresh_metadata false;
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", retriable false, refresh_metadata false;
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", retriable false, refresh_metadata false;
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", retriable false, refresh_metadata false;
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", retriable false, refresh_metadata false;
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", retriable false, refresh_metadata false;
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", retriable false, refresh_metadata false;
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", retriable false, refresh_metadata false;
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", retriable false, refresh_metadata false;
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", retriable false, refresh_metadata false;
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retriable true, refresh_metadata false;
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retriable true, refresh_metadata false;
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retriable true, refresh_metadata true;
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", retriable false, refresh_metadata false;
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retriable true, refresh_metadata true;
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retriable true, refresh_metadata false;
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", retriable false, refresh_metadata false;
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", retriable false, refresh_metadata false;
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retriable true, refresh_metadata false;
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", retriable false, refresh_metadata false;
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retriable true, refresh_metadata true;
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", retriable false, refresh_metadata false;
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", retriable false, refresh_metadata false;
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable true, refresh_metadata true;
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retriable true, refresh_metadata true;
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", retriable false, refresh_metadata false;
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", retriable false, refresh_metadata false;
    InvalidRecord = 87, "INVALID_RECORD", retriable false, refresh_metadata false;
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retriable true, refresh_metadata false;
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retriable true, refresh_metadata false;
    ProducerFenced = 90, "PRODUCER_FENCED", retriable false, refresh_metadata false;
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", retriable false, refresh_metadata false;
    DuplicateResource = 92, "DUPLICATE_RESOURCE", retriable false, refresh_metadata false;
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", retriable false, refresh_metadata false;
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", retriable false, refresh_metadata false;
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", retriable false, refresh_metadata false;
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", retriable false, refresh_metadata false;
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", retriable false, refresh_metadata false;
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", retriable false, refresh_metadata false;
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", retriable false, refresh_metadata false;
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retriable true, refresh_metadata true;
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", retriable false, refresh_metadata false;
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", retriable false, refresh_metadata false;
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retriable true, refresh_metadata true;
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", retriable false, refresh_metadata false;
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", retriable false, refresh_metadata false;
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retriable true, refresh_metadata false;
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", retriable false, refresh_metadata false;
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", retriable false, refresh_metadata false;
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", retriable false, refresh_metadata false;
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", retriable false, refresh_metadata false;
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", retriable false, refresh_metadata false;
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", retriable false, refresh_metadata false;
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", retriable false, refresh_metadata false;
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", retriable false, refresh_metadata false;
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", retriable false, refresh_metadata false;
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", retriable false, refresh_metadata false;
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", retriable false, refresh_metadata false;
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", retriable false, refresh_metadata false;
    InvalidRegistration = 119, "INVALID_REGISTRATION", retriable false, refresh_metadata false;
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", retriable false, refresh_metadata false;
    InvalidRecordState = 121, "INVALID_RECORD_STATE", retriable false, refresh_metadata false;
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retriable true, refresh_metadata false;
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retriable true, refresh_metadata false;
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", retriable false, refresh_metadata false;
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", retriable false, refresh_metadata false;
    DuplicateVoter = 126, "DUPLICATE_VOTER", retriable false, refresh_metadata false;
    VoterNotFound = 127, "VOTER_NOT_FOUND", retriable false, refresh_metadata false;
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", retriable false, refresh_metadata false;
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", retriable false, refresh_metadata false;
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", retriable false, refresh_metadata false;
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", retriable false, refresh_metadata false;
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", retriable false, refresh_metadata false;
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retriable true, refresh_metadata false;
    GroupDeletionFailed = 134, "GROUP_DELETION_FAILED", retriable false, refresh_metadata false;
    StreamsTopologyDescriptionUpdateFailed = 135, "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", retriable false, refresh_metadata false;
    ControllerIdNotRegistered = 136, "CONTROLLER_ID_NOT_REGISTERED", retriable false, refresh_metadata false;
}

impl ErrorCode {
    /// The number on the wire.
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// Whether it is an error at all.
    pub const fn is_error(self) -> bool {
        !matches!(self, ErrorCode::None)
    }
}

impl From<ErrorCode> for i16 {
    fn from(error: ErrorCode) -> i16 {
        error.code()
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
