//! Cuts what a socket brings into Kafka's frames: a 4-byte big-endian size, then that many bytes.
//!
//! What arrives lies in a receive buffer. Whole produce frames are read there, in place (`Ring::lend`), since they are done with soon; other whole
//! frames are copied together, and a frame that spans receives goes into a buffer of its own that grows only as its bytes arrive (announcing
//! 100 MiB costs nothing): then the buffer goes back to the kernel at once.
//! What is held is counted per core until the last reference goes. `connection.rs` asks when to read; this file knows no socket.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// Bytes of frames alive on one core: being gathered, waiting, or with the machine.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldBytes(Arc<AtomicU64>);

impl HeldBytes {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize) {
        let before = self.0.fetch_sub(bytes as u64, Ordering::Relaxed);
        debug_assert!(before >= bytes as u64);
    }
}

/// Memory that counts itself. Dropped on whatever thread lets go last.
struct Counted {
    bytes: Vec<u8>,
    counted: usize,
    held: HeldBytes,
}

impl Counted {
    fn new(bytes: Vec<u8>, held: &HeldBytes) -> Self {
        let counted = bytes.capacity();
        held.add(counted);
        Self {
            bytes,
            counted,
            held: held.clone(),
        }
    }

    fn recount(&mut self) {
        let now = self.bytes.capacity();
        if now > self.counted {
            self.held.add(now - self.counted);
        } else {
            self.held.subtract(self.counted - now);
        }
        self.counted = now;
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.subtract(self.counted);
    }
}

/// Why a connection must be closed for what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameRefusal {
    /// The size is below zero or above `socket.request.max.bytes`.
    Size(i32),
}

/// Frames shorter than this are cheaper copied than lent.
const IN_PLACE_BYTES_MIN: usize = 512;

/// Memory of a growing frame, as a multiple of what has arrived.
const GROWTH: usize = 4;

/// The frame that is not whole yet.
struct Partial {
    memory: Counted,
    total: usize,
}

/// One connection's place in its byte stream.
#[derive(Default)]
pub(super) struct Assembly {
    size: [u8; 4],
    size_filled: usize,
    partial: Option<Partial>,
}

impl Assembly {
    /// Bytes gathered of a frame that is not whole.
    pub(super) fn partial_bytes(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.memory.bytes.len())
    }

    /// Memory that the unfinished frame takes.
    pub(super) fn partial_memory(&self) -> usize {
        self.partial
            .as_ref()
            .map_or(0, |partial| partial.memory.counted)
    }

    /// True when the stream stands between two frames.
    pub(super) fn is_between_frames(&self) -> bool {
        self.size_filled == 0 && self.partial.is_none()
    }

    /// Whether what was received holds, behind the rest of an unfinished frame, a whole produce frame: worth reading in place. Other requests may
    /// wait for long (a fetch, a member that joins), and a buffer that they held would be missing for as long.
    pub(super) fn brings_whole_produce(&self, input: &[u8]) -> bool {
        let begin = match &self.partial {
            Some(partial) => partial.total - partial.memory.bytes.len(),
            None if self.size_filled == 0 => 0,
            None => return false,
        };
        let Some(frame) = input.get(begin..) else {
            return false;
        };
        match frame.first_chunk::<6>() {
            Some([a, b, c, d, 0, 0]) => {
                let total = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
                total >= IN_PLACE_BYTES_MIN && frame.len() - 4 >= total
            }
            _ => false,
        }
    }

    /// Takes what was received and appends each whole frame (without its size) to `frames`, as slices of `lent` when the input is lent. After a
    /// refusal the stream is lost.
    pub(super) fn feed(
        &mut self,
        (mut input, lent): (&[u8], Option<&Bytes>),
        bytes_max: usize,
        held: &HeldBytes,
        frames: &mut VecDeque<Bytes>,
    ) -> Result<(), FrameRefusal> {
        if !self.is_between_frames() {
            input = self.go_on(input, bytes_max, held, frames)?;
        }
        let (whole, refusal) = whole_frames_length(input, bytes_max);
        if whole > 0 {
            let region = match lent {
                Some(lent) => lent.slice_ref(&input[..whole]),
                None => Bytes::from_owner(Counted::new(input[..whole].to_vec(), held)),
            };
            slice_frames(region, frames);
            input = &input[whole..];
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        if !input.is_empty() {
            let rest = self.go_on(input, bytes_max, held, frames)?;
            debug_assert!(rest.is_empty(), "whole frames were taken before");
        }
        Ok(())
    }

    /// Fills the size and the partial frame, and returns what lies behind the frame.
    fn go_on<'input>(
        &mut self,
        mut input: &'input [u8],
        bytes_max: usize,
        held: &HeldBytes,
        frames: &mut VecDeque<Bytes>,
    ) -> Result<&'input [u8], FrameRefusal> {
        if self.partial.is_none() {
            let take = (4 - self.size_filled).min(input.len());
            self.size[self.size_filled..self.size_filled + take].copy_from_slice(&input[..take]);
            self.size_filled += take;
            input = &input[take..];
            if self.size_filled < 4 {
                return Ok(input);
            }
            let total = frame_size(self.size, bytes_max)?;
            self.partial = Some(Partial {
                memory: Counted::new(Vec::new(), held),
                total,
            });
        }
        let partial = self
            .partial
            .as_mut()
            .expect("made above when it was absent");
        let take = (partial.total - partial.memory.bytes.len()).min(input.len());
        partial.append(&input[..take]);
        if partial.memory.bytes.len() == partial.total {
            self.size_filled = 0;
            let whole = self.partial.take().expect("it was just filled");
            frames.push_back(Bytes::from_owner(whole.memory));
        }
        Ok(&input[take..])
    }
}

impl Partial {
    /// Grows with what arrives, up to the announced size: memory is at most four times the bytes that came. Batches of usual sizes then move at
    /// most once while they grow.
    fn append(&mut self, input: &[u8]) {
        let bytes = &mut self.memory.bytes;
        let needed = bytes.len() + input.len();
        if needed > bytes.capacity() {
            let target = (needed * GROWTH).min(self.total);
            bytes.reserve_exact(target - bytes.len());
        }
        bytes.extend_from_slice(input);
        self.memory.recount();
    }
}

fn frame_size(size: [u8; 4], bytes_max: usize) -> Result<usize, FrameRefusal> {
    let announced = i32::from_be_bytes(size);
    match usize::try_from(announced) {
        Ok(total) if total <= bytes_max => Ok(total),
        _ => Err(FrameRefusal::Size(announced)),
    }
}

/// How many bytes at the start are whole frames with their sizes, and what is wrong with the size behind them.
fn whole_frames_length(input: &[u8], bytes_max: usize) -> (usize, Option<FrameRefusal>) {
    let mut end = 0;
    while let Some(size) = input[end..].first_chunk::<4>() {
        let total = match frame_size(*size, bytes_max) {
            Ok(total) => total,
            Err(refusal) => return (end, Some(refusal)),
        };
        if input.len() - end - 4 < total {
            break;
        }
        end += 4 + total;
    }
    (end, None)
}

fn slice_frames(region: Bytes, frames: &mut VecDeque<Bytes>) {
    let mut at = 0;
    while let Some(size) = region[at..].first_chunk::<4>() {
        let total = u32::from_be_bytes(*size) as usize;
        frames.push_back(region.slice(at + 4..at + 4 + total));
        at += 4 + total;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&(frame.len() as i32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        bytes
    }

    #[test]
    fn every_way_to_cut_a_stream_gives_the_same_frames() {
        let expected: Vec<Vec<u8>> = [0usize, 1, 3, 4, 5, 100, 0, 2]
            .iter()
            .enumerate()
            .map(|(index, length)| vec![index as u8; *length])
            .collect();
        let bytes = stream(&expected);
        for step in 1..=bytes.len() {
            let held = HeldBytes::default();
            let mut assembly = Assembly::default();
            let mut frames = VecDeque::new();
            for part in bytes.chunks(step) {
                assembly
                    .feed((part, None), 1000, &held, &mut frames)
                    .unwrap();
            }
            assert!(assembly.is_between_frames());
            let got: Vec<Vec<u8>> = frames.drain(..).map(|frame| frame.to_vec()).collect();
            assert_eq!(got, expected, "cut every {step} bytes");
            assert_eq!(held.get(), 0, "nothing is held once the frames are gone");
        }
    }

    #[test]
    fn produce_frames_are_read_where_they_lie() {
        let produce = [&[0u8, 0][..], &[7; 700]].concat();
        let fetch = [&[0u8, 1][..], &[8; 700]].concat();
        let bytes = Bytes::from(stream(&[produce.clone(), fetch.clone()]));
        for cut in [0, 2, 300, bytes.len() / 2, bytes.len() / 2 + 5] {
            let held = HeldBytes::default();
            let mut assembly = Assembly::default();
            let mut frames = VecDeque::new();
            assembly
                .feed((&bytes[..cut], None), 1000, &held, &mut frames)
                .unwrap();
            let rest = bytes.slice(cut..);
            assert_eq!(
                assembly.brings_whole_produce(&rest),
                cut == 0,
                "cut at {cut}"
            );
            assembly
                .feed((&rest, Some(&rest)), 1000, &held, &mut frames)
                .unwrap();
            assert_eq!(frames, [&produce[..], &fetch[..]]);
            let inside = bytes.as_ptr_range().contains(&frames[1].as_ptr());
            assert_eq!(inside, cut < bytes.len() / 2 + 4, "cut at {cut}");
        }
    }

    #[test]
    fn an_announced_size_holds_no_memory_until_bytes_come() {
        let held = HeldBytes::default();
        let mut assembly = Assembly::default();
        let mut frames = VecDeque::new();
        let announced = (100i32 << 20).to_be_bytes();
        assembly
            .feed((&announced, None), 100 << 20, &held, &mut frames)
            .unwrap();
        assert_eq!(held.get(), 0);
        assembly
            .feed((&[0; 1000], None), 100 << 20, &held, &mut frames)
            .unwrap();
        assert!(held.get() <= 4000, "holds {}", held.get());
        assert!(!assembly.is_between_frames() && frames.is_empty());
    }

    #[test]
    fn sizes_out_of_range_are_refused_wherever_they_stand() {
        for size in [-1i32, i32::MIN, 101, i32::MAX] {
            let mut bytes = stream(&[vec![7; 10]]);
            bytes.extend_from_slice(&size.to_be_bytes());
            for step in [1, 3, bytes.len()] {
                let mut assembly = Assembly::default();
                let mut frames = VecDeque::new();
                let refused = bytes.chunks(step).find_map(|part| {
                    assembly
                        .feed((part, None), 100, &HeldBytes::default(), &mut frames)
                        .err()
                });
                assert_eq!(refused, Some(FrameRefusal::Size(size)));
                assert_eq!(frames.len(), 1, "what came before it is whole");
            }
        }
    }
}
