//! DescribeClientQuotas, API key 48: request and response. The other messages are its neighbours; the key's versions are in `api`.

use crate::codec::message;

message! {
    describe_client_quotas_request, key 48, versions [0..=1], flexible [1..];

    /// The request of DescribeClientQuotas.
    DescribeClientQuotasRequest {
        components: Vec<ComponentData> [0..],
        strict: bool [0..],
    }

    /// An element of `components` in `DescribeClientQuotasRequest`.
    ComponentData {
        entity_type: StrBytes [0..],
        match_type: i8 [0..],
        match_: Option<StrBytes> [0.., nullable 0..],
    }
}

message! {
    describe_client_quotas_response, key 48, versions [0..=1], flexible [1..];

    /// The response to DescribeClientQuotas.
    DescribeClientQuotasResponse {
        throttle_time_ms: i32 [0..],
        error_code: i16 [0..],
        error_message: Option<StrBytes> [0.., nullable 0..],
        entries: Option<Vec<EntryData>> [0.., nullable 0..],
    }

    /// An element of `entries` in `DescribeClientQuotasResponse`.
    EntryData {
        entity: Vec<EntityData> [0..],
        values: Vec<ValueData> [0..],
    }

    /// An element of `entity` in `EntryData`.
    EntityData {
        entity_type: StrBytes [0..],
        entity_name: Option<StrBytes> [0.., nullable 0..],
    }

    /// An element of `values` in `EntryData`.
    ValueData {
        key: StrBytes [0..],
        value: f64 [0..],
    }
}
