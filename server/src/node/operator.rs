//! What only an operator can decide, asked in the log and answered through this broker's dynamic configuration: that the clock is
//! right after it jumped, that many stray replicas may go. The shards act (`shard/src/strays.rs`, `wal/src/retention.rs`).
//!
//! A value counts once, when it appears in this life of the process: one that stood there before says nothing about what
//! happened since.

use super::{Core, NodeOptions};
use crate::machine::LogLevel;
use odradek_raft::configs::{CLOCK_TRUST, STRAYS_ALLOW};
use odradek_raft::image::{ConfigResource, MetadataImage};
use odradek_shard::Event;
use odradek_shard::message::Message;

/// The words as last seen.
#[derive(Debug, Default)]
pub(crate) struct OperatorWords {
    clock: Option<String>,
    strays: Option<String>,
}

/// What an operator types, for the log lines that ask for it.
pub(crate) fn remedy(message: &Message, options: &NodeOptions) -> Option<String> {
    let (when, key) = match message {
        Message::DeletionsFrozen { .. } => ("if the clock is right", CLOCK_TRUST),
        Message::StraysHeld { .. } => ("if they may go", STRAYS_ALLOW),
        _ => return None,
    };
    let address = options
        .listeners
        .iter()
        .find(|listener| !listener.controller)
        .map_or_else(String::new, |listener| {
            format!(
                " --bootstrap-server {}:{}",
                listener.advertised_host, listener.advertised_port
            )
        });
    Some(format!(
        "{when}, run: kafka-configs.sh{address} --alter --entity-type brokers --entity-name {} --add-config {key}=VALUE \
         (any VALUE that it does not have yet, such as the time)",
        options.node_id
    ))
}

/// Looks for new words in a newer image. `unfenced`: this process serves, so that what is new was said to it.
pub(crate) fn on_image(core: &mut Core, image: &MetadataImage, unfenced: bool) {
    let config = image.config(&ConfigResource::broker(core.options.node_id));
    let word = |key: &str| {
        config
            .and_then(|config| config.get(key))
            .map(ToString::to_string)
    };
    let (clock, strays) = (word(CLOCK_TRUST), word(STRAYS_ALLOW));
    let said = |word: &Option<String>, before: &Option<String>| {
        unfenced && word.is_some() && word != before
    };
    let trusted = said(&clock, &core.operator_words.clock);
    let allowed = said(&strays, &core.operator_words.strays);
    core.operator_words = OperatorWords { clock, strays };
    if trusted {
        tell(
            core,
            CLOCK_TRUST,
            "the clock is trusted, retention goes on",
            || Event::TrustClock,
        );
    }
    if allowed {
        let what = "replicas that the cluster's metadata does not name may be deleted";
        tell(core, STRAYS_ALLOW, what, || Event::AllowStrays);
    }
}

fn tell(core: &mut Core, key: &str, what: &str, event: impl Fn() -> Event) {
    if core.index == super::METADATA_CORE {
        core.log(LogLevel::Info, format!("{key} is set: {what}"));
    }
    let shards: Vec<u16> = core.shards.iter().map(|owned| owned.number).collect();
    for shard in shards {
        core.send_to_shard(shard, event());
    }
}
