//! Finding the key that somebody meant: a misspelt key must not silently leave a default in force. Used for the static file; the
//! definitions are looked up in `mod.rs`.

use super::{Scope, broker_definition, definitions, is_scoped_key, topic_definition};

/// A known key that an unknown one almost is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// Misspelt: the known key is this.
    Misspelt(&'static str),
    /// A topic key where a broker key belongs: the broker key that gives its default is this.
    TopicKey(&'static str),
}

impl NearMiss {
    /// The key that was probably meant.
    pub fn key(&self) -> &'static str {
        match self {
            NearMiss::Misspelt(key) | NearMiss::TopicKey(key) => key,
        }
    }
}

/// The broker key that `key` almost is: the same but for case, `_` or `-` for `.`, or at most two edits (one for keys shorter than
/// 12 bytes; a swap of neighbours is one edit). None for a known key, for keys of plug-ins and listeners, and for what is far from all.
pub fn near_miss(key: &str) -> Option<NearMiss> {
    if broker_definition(key).is_some() || is_scoped_key(key) || key.len() > 128 {
        return None;
    }
    if let Some(topic) = topic_definition(key) {
        return topic
            .broker_synonyms
            .first()
            .map(|known| NearMiss::TopicKey(known));
    }
    let written = normalized(key);
    let edits_max = if written.len() < 12 { 1 } else { 2 };
    definitions(Scope::Broker)
        .filter_map(|row| {
            let edits = edit_distance(written.as_bytes(), row.key.as_bytes(), edits_max)?;
            Some((edits, row.key))
        })
        .min()
        .map(|(_, known)| NearMiss::Misspelt(known))
}

fn normalized(key: &str) -> String {
    key.trim()
        .chars()
        .map(|letter| match letter {
            '_' | '-' => '.',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

/// Edits (insert, remove, replace, swap of neighbours) between two texts, or none when there are more than `edits_max`.
fn edit_distance(left: &[u8], right: &[u8], edits_max: usize) -> Option<usize> {
    if left.len().abs_diff(right.len()) > edits_max {
        return None;
    }
    let width = right.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    let mut current = vec![0; width];
    for (row, &a) in left.iter().enumerate() {
        current[0] = row + 1;
        for (column, &b) in right.iter().enumerate() {
            let replaced = last[column] + usize::from(a != b);
            let mut best = replaced.min(last[column + 1] + 1).min(current[column] + 1);
            let swapped = row > 0 && column > 0 && a == right[column - 1] && left[row - 1] == b;
            if swapped {
                best = best.min(before_last[column - 1] + 1);
            }
            current[column + 1] = best;
        }
        if current.iter().all(|&edits| edits > edits_max) {
            return None;
        }
        std::mem::swap(&mut before_last, &mut last);
        std::mem::swap(&mut last, &mut current);
    }
    let edits = last[width - 1];
    (edits <= edits_max).then_some(edits)
}
