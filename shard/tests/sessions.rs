//! The cache of fetch sessions: Kafka's rules (KIP-227, hostile 45).

use odradek_protocol::ErrorCode;
use odradek_shard::sessions::{SessionCache, SessionDecision, SessionOptions, SessionRequest};

fn request(id: i32, epoch: i32) -> SessionRequest {
    SessionRequest {
        id,
        epoch,
        privileged: false,
        uses_topic_ids: true,
        partitions: 10,
    }
}

fn cache(slots_max: usize) -> SessionCache {
    SessionCache::new(SessionOptions {
        slots_max,
        eviction_ms: 1_000,
        seed: 42,
    })
}

fn open(cache: &mut SessionCache, now_ms: u64, request: SessionRequest) -> (Option<i32>, Vec<i32>) {
    match cache.begin(now_ms, &request) {
        Ok(SessionDecision::Open { id, closed }) => (
            Some(id),
            closed.into_iter().map(|closed| closed.id).collect(),
        ),
        Ok(SessionDecision::Sessionless { closed }) => {
            (None, closed.into_iter().map(|closed| closed.id).collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn epochs_go_up_by_one_and_anything_else_is_refused() {
    let mut cache = cache(10);
    let (id, _) = open(&mut cache, 0, request(0, 0));
    let id = id.expect("a slot is free");
    assert!(id > 0);
    cache.add_part(id, 3);
    cache.add_part(id, 1);
    for epoch in 1..4 {
        let expected = Ok(SessionDecision::Incremental {
            id,
            parts: vec![1, 3],
        });
        assert_eq!(cache.begin(1, &request(id, epoch)), expected);
    }
    assert_eq!(
        cache.begin(1, &request(id, 3)),
        Err(ErrorCode::InvalidFetchSessionEpoch)
    );
    assert_eq!(
        cache.begin(1, &request(id, 9)),
        Err(ErrorCode::InvalidFetchSessionEpoch)
    );
    assert_eq!(
        cache.begin(1, &request(id ^ 1, 4)),
        Err(ErrorCode::FetchSessionIdNotFound)
    );
    let by_name = SessionRequest {
        uses_topic_ids: false,
        ..request(id, 4)
    };
    assert_eq!(
        cache.begin(1, &by_name),
        Err(ErrorCode::FetchSessionTopicIdError)
    );
}

#[test]
fn a_full_fetch_closes_the_session_it_names() {
    let mut cache = cache(10);
    let first = open(&mut cache, 0, request(0, 0))
        .0
        .expect("a slot is free");
    let (second, closed) = open(&mut cache, 1, request(first, 0));
    assert_eq!((second.is_some(), closed), (true, vec![first]));
    let (none, closed) = open(&mut cache, 2, request(second.expect("open"), -1));
    assert_eq!((none, closed.len(), cache.len()), (None, 1, 0));
    assert_eq!(
        open(
            &mut cache,
            3,
            SessionRequest {
                partitions: 0,
                ..request(0, 0)
            }
        )
        .0,
        None
    );
    assert_eq!(open(&mut cache, 3, request(0, -1)).0, None);
}

#[test]
fn a_session_that_loses_its_last_partition_is_closed() {
    let mut cache = cache(10);
    let id = open(&mut cache, 0, request(0, 0))
        .0
        .expect("a slot is free");
    assert_eq!(cache.resize(id, 3), None);
    assert_eq!(cache.partitions(), 3);
    assert_eq!(cache.resize(id, 0).map(|closed| closed.id), Some(id));
    assert!(cache.is_empty());
}

#[test]
fn a_full_cache_gives_way_to_age_then_to_worth() {
    let mut cache = cache(2);
    let sized = |partitions| SessionRequest {
        partitions,
        ..request(0, 0)
    };
    let small = open(&mut cache, 0, sized(1)).0.expect("a slot is free");
    let large = open(&mut cache, 0, sized(9)).0.expect("a slot is free");
    assert_eq!(
        open(&mut cache, 10, sized(5)).0,
        None,
        "young sessions do not yield to a consumer"
    );
    let follower = SessionRequest {
        privileged: true,
        ..sized(1)
    };
    let (third, evicted) = open(&mut cache, 10, follower);
    assert_eq!((third.is_some(), evicted), (true, vec![small]));
    // Both used lately, both settled: the follower's stays, the consumer's yields to a larger one only.
    let keep = |cache: &mut SessionCache, now_ms| {
        for (id, epoch) in [
            (large, now_ms as i32 / 900),
            (third.expect("open"), now_ms as i32 / 900),
        ] {
            cache
                .begin(now_ms, &request(id, epoch))
                .expect("the next epoch");
        }
    };
    keep(&mut cache, 900);
    keep(&mut cache, 1_800);
    assert_eq!(open(&mut cache, 1_900, sized(8)).0, None);
    assert_eq!(open(&mut cache, 1_900, sized(20)).1, vec![large]);
    // Unused for longer than the eviction time, anyone goes.
    assert_eq!(open(&mut cache, 60_000, sized(1)).1.len(), 1);
    assert_eq!(cache.evictions(), 3);
}

#[test]
fn equal_seeds_give_equal_ids() {
    let ids = |seed| {
        let mut cache = SessionCache::new(SessionOptions {
            seed,
            ..SessionOptions::default()
        });
        (0..5)
            .map(|_| {
                open(&mut cache, 0, request(0, 0))
                    .0
                    .expect("a slot is free")
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(1), ids(1));
    assert_ne!(ids(1), ids(2));
}
