//! AlterClientQuotas, API key 49: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    alter_client_quotas_request, key 49, versions [0..=1], flexible [1..];

    /// The request of AlterClientQuotas.
    AlterClientQuotasRequest {
        entries: Vec<EntryData> [0..],
        validate_only: bool [0..],
    }

    /// An element of `entries` in `AlterClientQuotasRequest`.
    EntryData {
        entity: Vec<EntityData> [0..],
        ops: Vec<OpData> [0..],
    }

    /// An element of `entity` in `EntryData`.
    EntityData {
        entity_type: StrBytes [0..],
        entity_name: Option<StrBytes> [0.., nullable 0..],
    }

    /// An element of `ops` in `EntryData`.
    OpData {
        key: StrBytes [0..],
        value: f64 [0..],
        remove: bool [0..],
    }
}

message! {
    alter_client_quotas_response, key 49, versions [0..=1], flexible [1..];

    /// The response to AlterClientQuotas.
    AlterClientQuotasResponse {
        throttle_time_ms: i32 [0..],
        entries: Vec<EntryData> [0..],
    }

    /// An element of `entries` in `AlterClientQuotasResponse`.
    EntryData {
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        entity: Vec<EntityData> [0..],
    }

    /// An element of `entity` in `EntryData`.
    EntityData {
        entity_type: StrBytes [0..],
        entity_name: Option<StrBytes> [0.., nullable 0..],
    }
}
