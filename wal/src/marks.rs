//! Which replicas changed since the last checkpoint, and which the snapshot under way has yet to encode: four bits a replica. A snapshot is
//! of one moment though it is encoded in pieces: a replica that changes before its turn is encoded as it was, right before the change
//! (`slot.rs` keeps these records in `saved` until the next piece takes them).

use crate::types::ReplicaId;

/// Replicas under one set of marks, and in one chunk of slots.
pub(crate) const CHUNK_SLOTS: usize = 256;
const WORDS: usize = CHUNK_SLOTS / 64;

type Bits = [u64; WORDS];

/// Marks of one chunk. They outlive its slots: a replica that is gone must be written as gone.
#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    live: Bits,
    /// Changed since the last snapshot was begun.
    dirty: Bits,
    /// The snapshot under way has yet to encode it.
    pending: Bits,
    /// All of the snapshots under way: dirty again when they fail.
    taken: Bits,
}

/// Marks of all replicas, by chunk.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    chunks: Vec<Chunk>,
}

fn place(replica: ReplicaId) -> (usize, usize, u64) {
    let index = usize::try_from(replica.0).unwrap_or(usize::MAX);
    let bit = index % CHUNK_SLOTS;
    (index / CHUNK_SLOTS, bit / 64, 1 << (bit % 64))
}

impl Marks {
    fn chunk(&mut self, at: usize) -> &mut Chunk {
        if self.chunks.len() <= at {
            self.chunks.resize_with(at + 1, Chunk::default);
        }
        &mut self.chunks[at]
    }

    pub(crate) fn set_live(&mut self, replica: ReplicaId, live: bool) {
        let (at, word, bit) = place(replica);
        let chunk = self.chunk(at);
        if live {
            chunk.live[word] |= bit;
        } else {
            chunk.live[word] &= !bit;
        }
    }

    /// The replica is about to change. Answers whether the snapshot under way must have it first.
    pub(crate) fn touch(&mut self, replica: ReplicaId) -> bool {
        let (at, word, bit) = place(replica);
        let chunk = self.chunk(at);
        chunk.dirty[word] |= bit;
        let pending = chunk.pending[word] & bit != 0;
        chunk.pending[word] &= !bit;
        pending
    }

    /// A snapshot begins, of all live replicas or of those that changed. Answers how many it will have. `others_wait`: earlier ones are not
    /// on the disk yet, and fail with it.
    pub(crate) fn begin(&mut self, all: bool, others_wait: bool) -> u64 {
        let mut count = 0;
        for chunk in &mut self.chunks {
            chunk.pending = if all { chunk.live } else { chunk.dirty };
            for word in 0..WORDS {
                let before = if others_wait { chunk.taken[word] } else { 0 };
                chunk.taken[word] = before | chunk.pending[word] | chunk.dirty[word];
            }
            chunk.dirty = Bits::default();
            count += chunk
                .pending
                .iter()
                .map(|word| u64::from(word.count_ones()))
                .sum::<u64>();
        }
        count
    }

    /// The snapshot failed: what it had is still to be written.
    pub(crate) fn abandon(&mut self) {
        for chunk in &mut self.chunks {
            for word in 0..WORDS {
                chunk.dirty[word] |= chunk.taken[word];
            }
            chunk.pending = Bits::default();
            chunk.taken = Bits::default();
        }
    }

    /// Everything is as the checkpoint that was loaded has it.
    pub(crate) fn clear(&mut self) {
        for chunk in &mut self.chunks {
            chunk.dirty = Bits::default();
        }
    }

    /// Takes the next replica to encode at or past chunk `from`; and the chunk it lies in.
    pub(crate) fn next_pending(&mut self, from: usize) -> Option<(ReplicaId, usize)> {
        for at in from..self.chunks.len() {
            for word in 0..WORDS {
                let pending = &mut self.chunks[at].pending[word];
                if *pending != 0 {
                    let bit = pending.trailing_zeros() as usize;
                    *pending &= *pending - 1;
                    let replica = at * CHUNK_SLOTS + word * 64 + bit;
                    return Some((ReplicaId(replica as u64), at));
                }
            }
        }
        None
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.len() * std::mem::size_of::<Chunk>()
    }
}
