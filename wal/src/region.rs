//! Regions: stretches of segments as they came from disk, and those that are kept in memory, within a bound in bytes of whole regions. Many
//! frames, of many replicas, lie in one, and each is a slice of it. `lookup.rs` verifies the frames that it gives out, and has noted here which
//! were. `region_reads.rs` reads them; `cache.rs` has the tail and the index pages.

use crate::cache::CacheLookups;
use crate::layout::FRAME_HEADER_BYTES;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// A region by segment, position of its first byte, and the number of its read: two may begin at one place.
pub(crate) type RegionKey = (u32, u32, u64);

/// Regions looked at for one frame: of those that begin before it, most end before it as well.
const LOOKS_MAX: usize = 8;

/// What was read, and in which life of the segment.
#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub nonce: u64,
    pub bytes: Bytes,
}

impl Region {
    /// The bytes at a position of the segment, when all of them are here.
    fn slice(&self, key: RegionKey, nonce: u64, position: u32, bytes: usize) -> Option<Bytes> {
        let from = (position - key.1) as usize;
        let inside = self.nonce == nonce && from + bytes <= self.bytes.len();
        inside.then(|| self.bytes.slice(from..from + bytes))
    }
}

/// Bytes of a frame, and where they lie.
#[derive(Clone, Debug)]
pub(crate) struct FoundFrame {
    pub key: RegionKey,
    /// Of the whole region, which the frame keeps in memory.
    pub region_bytes: usize,
    /// The frame, which need not be verified yet.
    pub frame: Bytes,
}

fn find<'a>(
    candidates: impl Iterator<Item = (&'a RegionKey, &'a Region)>,
    nonce: u64,
    position: u32,
    bytes: usize,
) -> Option<FoundFrame> {
    candidates.take(LOOKS_MAX).find_map(|(key, region)| {
        let frame = region.slice(*key, nonce, position, bytes)?;
        Some(FoundFrame {
            key: *key,
            region_bytes: region.bytes.len(),
            frame,
        })
    })
}

/// Regions that a waiting read holds for itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Regions(BTreeMap<RegionKey, Region>);

impl Regions {
    pub(crate) fn insert(&mut self, key: RegionKey, region: Region) {
        self.0.insert(key, region);
    }

    pub(crate) fn find(
        &self,
        file: u32,
        nonce: u64,
        position: u32,
        bytes: usize,
    ) -> Option<FoundFrame> {
        let before = self.0.range((file, 0, 0)..=(file, position, u64::MAX));
        find(before.rev(), nonce, position, bytes)
    }
}

/// Bytes of regions that nobody asked for twice: what a reader that passes by leaves behind. It has to hold what readers of one log read
/// ahead, and how far they are apart; more would only be memory that the kernel has to clear.
const PASSING_BYTES_MAX: usize = 128 << 20;
/// Of it, what one reader has taken already: kept for another that follows close.
const TAKEN_BYTES_MAX: usize = 24 << 20;

/// So many at most are remembered after they left.
const GHOSTS_MAX: usize = 64 << 10;
/// Regions that left are remembered by the places of this size that begin in them: each place begins in one region. (By what they only touch, a
/// neighbour that nobody had read was taken for known: of 1,000 clustered partitions read once, four times `PASSING_BYTES_MAX` stayed.)
const GHOST_BYTES: u32 = 32 << 10;
/// Where a frame begins is noted in steps of this: no two begin closer together.
const MARK_BYTES: usize = FRAME_HEADER_BYTES;

/// The regions kept. A newcomer leaves in its turn, unless by then more of it was given out than one reader takes: then it stays, and leaves
/// when a whole round passed without a reader. What is read again after it left, before as much was read as all of this holds, stays at once:
/// had it stayed before, it would not have been read again.
#[derive(Debug)]
pub(crate) struct RegionCache {
    regions: BTreeMap<RegionKey, Kept>,
    passing: VecDeque<RegionKey>,
    staying: VecDeque<RegionKey>,
    passing_bytes: usize,
    staying_bytes: usize,
    bytes_max: usize,
    /// Places that left, by how much had come until then, and in their order.
    ghosts: BTreeMap<(u32, u32), u64>,
    ghost_order: VecDeque<(u64, (u32, u32))>,
    /// Bytes of all regions that ever came.
    come_bytes: u64,
    /// See `ahead_bytes_max`.
    ahead_bytes: usize,
    lookups: CacheLookups,
}

#[derive(Debug)]
struct Kept {
    region: Region,
    /// Bytes given out since it came, or since it was last to leave.
    given: usize,
    stays: bool,
    /// A bit for each `MARK_BYTES`: the frame that begins there is sound.
    sound: Box<[u64]>,
}

impl Kept {
    fn mark(&self, key: RegionKey, position: u32) -> (usize, u64) {
        let mark = (position - key.1) as usize / MARK_BYTES;
        (mark / 64, 1 << (mark % 64))
    }
}

/// The places that begin in a region of so many bytes.
fn places(key: RegionKey, bytes: usize) -> impl Iterator<Item = (u32, u32)> {
    let end = key.1.saturating_add(bytes as u32);
    (key.1.div_ceil(GHOST_BYTES)..end.div_ceil(GHOST_BYTES)).map(move |place| (key.0, place))
}

impl RegionCache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            regions: BTreeMap::new(),
            passing: VecDeque::new(),
            staying: VecDeque::new(),
            passing_bytes: 0,
            staying_bytes: 0,
            bytes_max,
            ghosts: BTreeMap::new(),
            ghost_order: VecDeque::new(),
            come_bytes: 0,
            ahead_bytes: bytes_max.min(PASSING_BYTES_MAX) / 2,
            lookups: CacheLookups::default(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.passing_bytes + self.staying_bytes
    }

    pub(crate) fn lookups(&self) -> CacheLookups {
        self.lookups
    }

    /// Bytes that may be read ahead for all readers together. It shrinks with every region that left before anybody came for it, and grows
    /// again with those that were of use.
    pub(crate) fn ahead_bytes_max(&self) -> usize {
        self.ahead_bytes
    }

    pub(crate) fn find(
        &mut self,
        file: u32,
        nonce: u64,
        position: u32,
        bytes: usize,
    ) -> Option<FoundFrame> {
        let before = self
            .regions
            .range((file, 0, 0)..=(file, position, u64::MAX))
            .rev()
            .map(|(key, kept)| (key, &kept.region));
        let found = find(before, nonce, position, bytes);
        self.lookups.count(found)
    }

    /// So many bytes of a region were given to a reader.
    pub(crate) fn given(&mut self, key: RegionKey, bytes: usize) {
        if let Some(kept) = self.regions.get_mut(&key) {
            kept.given = kept.given.saturating_add(bytes);
        }
    }

    pub(crate) fn insert(&mut self, key: RegionKey, region: Region) {
        let bytes = region.bytes.len();
        if bytes > self.bytes_max / 4 || self.regions.contains_key(&key) {
            return;
        }
        let stays = places(key, bytes).any(|place| self.left_lately(place));
        self.come_bytes += bytes as u64;
        let kept = Kept {
            sound: vec![0; bytes.div_ceil(MARK_BYTES).div_ceil(64)].into_boxed_slice(),
            region,
            given: 0,
            stays,
        };
        self.regions.insert(key, kept);
        if stays {
            self.staying.push_back(key);
            self.staying_bytes += bytes;
        } else {
            self.passing.push_back(key);
            self.passing_bytes += bytes;
        }
        while self.passing_bytes > self.passing_bytes_max() {
            self.pass_on();
        }
        while self.bytes() > self.bytes_max {
            if self.staying.is_empty() {
                self.pass_on();
            } else {
                self.leave();
            }
        }
    }

    /// How much of what passes by may be here: less while the oldest of it was taken.
    fn passing_bytes_max(&self) -> usize {
        let oldest = self.passing.front().and_then(|key| self.regions.get(key));
        let taken = oldest.is_some_and(|kept| kept.given >= kept.region.bytes.len() / 4 * 3);
        let most = if taken {
            TAKEN_BYTES_MAX
        } else {
            PASSING_BYTES_MAX
        };
        self.bytes_max.min(most)
    }

    /// A frame of a region was found to be sound.
    pub(crate) fn note_sound(&mut self, key: RegionKey, position: u32) {
        if let Some(kept) = self.regions.get_mut(&key) {
            let (word, bit) = kept.mark(key, position);
            kept.sound[word] |= bit;
        }
    }

    /// Whether a frame of a region was found to be sound since it came.
    pub(crate) fn is_sound(&self, key: RegionKey, position: u32) -> bool {
        self.regions.get(&key).is_some_and(|kept| {
            let (word, bit) = kept.mark(key, position);
            kept.sound[word] & bit != 0
        })
    }

    fn left_lately(&self, place: (u32, u32)) -> bool {
        let left = self.ghosts.get(&place);
        left.is_some_and(|left| self.come_bytes - left <= self.bytes_max as u64)
    }

    fn remember(&mut self, key: RegionKey, bytes: usize) {
        for place in places(key, bytes) {
            self.ghosts.insert(place, self.come_bytes);
            self.ghost_order.push_back((self.come_bytes, place));
        }
        while let Some(&(left, place)) = self.ghost_order.front()
            && (self.come_bytes - left > self.bytes_max as u64
                || self.ghost_order.len() > GHOSTS_MAX)
        {
            self.ghost_order.pop_front();
            if self.ghosts.get(&place) == Some(&left) {
                self.ghosts.remove(&place);
            }
        }
    }

    fn pass_on(&mut self) {
        let Some(key) = self.passing.pop_front() else {
            return;
        };
        let Some(kept) = self.regions.get_mut(&key) else {
            return;
        };
        let bytes = kept.region.bytes.len();
        self.passing_bytes -= bytes;
        let most = self.bytes_max.min(PASSING_BYTES_MAX) / 2;
        self.ahead_bytes = match kept.given {
            0 => (self.ahead_bytes - self.ahead_bytes / 8).max(most / 256),
            _ => (self.ahead_bytes + most / 128).min(most),
        };
        // Retried and repeated requests of one reader give a little more than all of it.
        if kept.given > bytes + bytes / 4 {
            (kept.given, kept.stays) = (0, true);
            self.staying_bytes += bytes;
            self.staying.push_back(key);
        } else {
            self.regions.remove(&key);
            self.remember(key, bytes);
        }
    }

    fn leave(&mut self) {
        let Some(key) = self.staying.pop_front() else {
            return;
        };
        let Some(kept) = self.regions.get_mut(&key) else {
            return;
        };
        if kept.given > 0 {
            kept.given = 0;
            self.staying.push_back(key);
        } else {
            self.staying_bytes -= kept.region.bytes.len();
            self.regions.remove(&key);
        }
    }

    /// The segment begins a new life.
    pub(crate) fn forget_segment(&mut self, file: u32) {
        let places = self.ghosts.range((file, 0)..=(file, u32::MAX));
        let places: Vec<(u32, u32)> = places.map(|(place, _)| *place).collect();
        for place in places {
            // What is left of it in the order finds nothing when its turn comes.
            self.ghosts.remove(&place);
        }
        let keys: Vec<RegionKey> = self
            .regions
            .range((file, 0, 0)..=(file, u32::MAX, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        if keys.is_empty() {
            return;
        }
        for key in keys {
            if let Some(kept) = self.regions.remove(&key) {
                *(if kept.stays {
                    &mut self.staying_bytes
                } else {
                    &mut self.passing_bytes
                }) -= kept.region.bytes.len();
            }
        }
        self.passing.retain(|key| key.0 != file);
        self.staying.retain(|key| key.0 != file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn region(bytes: usize) -> Region {
        Region {
            nonce: 7,
            bytes: Bytes::from(vec![0; bytes]),
        }
    }

    fn filled(cache: &mut RegionCache, file: u32, count: u32) {
        for number in 0..count {
            let key = (file, number * MIB as u32, u64::from(number));
            cache.insert(key, region(MIB));
        }
    }

    #[test]
    fn a_reader_that_passes_by_takes_no_more_than_its_share() {
        let mut cache = RegionCache::new(1 << 30);
        filled(&mut cache, 1, 400);
        assert_eq!(cache.bytes(), PASSING_BYTES_MAX);
        assert!(cache.find(1, 7, 399 * MIB as u32, 100).is_some());
        assert!(cache.find(1, 7, 10 * MIB as u32, 100).is_none());
    }

    #[test]
    fn what_a_reader_took_makes_room_for_what_it_takes_next() {
        let mut cache = RegionCache::new(1 << 30);
        for number in 0..400 {
            let key = (1, number * MIB as u32, u64::from(number));
            cache.insert(key, region(MIB));
            cache.given(key, MIB);
        }
        assert_eq!(cache.bytes(), TAKEN_BYTES_MAX);
        assert!(cache.find(1, 7, 390 * MIB as u32, 100).is_some());
    }

    #[test]
    fn what_two_readers_took_stays_while_a_third_passes_by() {
        let mut cache = RegionCache::new(512 * MIB);
        filled(&mut cache, 1, 100);
        for number in 0..100 {
            cache.given((1, number * MIB as u32, u64::from(number)), 2 * MIB);
        }
        filled(&mut cache, 2, 1_000);
        assert!(cache.find(1, 7, 50 * MIB as u32, 100).is_some());
        assert_eq!(cache.bytes(), PASSING_BYTES_MAX + 100 * MIB);
        filled(&mut cache, 3, 1_000);
        assert!(cache.bytes() <= 512 * MIB);
    }

    #[test]
    fn what_is_read_again_after_it_left_stays_when_all_of_it_fits() {
        let mut cache = RegionCache::new(512 * MIB);
        filled(&mut cache, 1, 300);
        filled(&mut cache, 2, 1);
        assert!(cache.find(1, 7, 20 * MIB as u32, 100).is_none());
        for number in 0..300 {
            let key = (1, number * MIB as u32, u64::from(1_000 + number));
            cache.insert(key, region(MIB));
        }
        filled(&mut cache, 3, 200);
        for number in 0..160 {
            let found = cache.find(1, 7, number * MIB as u32, 100);
            assert!(found.is_some(), "{number} was read twice, and is there");
        }
        let mut small = RegionCache::new(160 * MIB);
        for round in 0..3 {
            for number in 0..1_000 {
                let key = (1, number * MIB as u32, u64::from(round * 1_000 + number));
                small.insert(key, region(MIB));
            }
        }
        assert_eq!(
            small.bytes(),
            PASSING_BYTES_MAX,
            "a history that does not fit takes no more for being read again"
        );
    }

    #[test]
    fn short_regions_that_are_read_again_stay() {
        let mut cache = RegionCache::new(512 * MIB);
        let read = |cache: &mut RegionCache, file: u32| {
            for number in 0..4_000_u32 {
                // Wherever they begin: no multiple of what is remembered.
                let key = (file, number * 65_000 + 100, 0);
                cache.insert(key, region(65_000));
            }
        };
        read(&mut cache, 1);
        read(&mut cache, 1);
        read(&mut cache, 2);
        for number in 0..1_800 {
            let position = number * 65_000 + 100;
            assert!(cache.find(1, 7, position, 100).is_some(), "{number}");
        }
    }

    #[test]
    fn a_neighbour_of_what_left_is_not_taken_for_known() {
        let mut cache = RegionCache::new(512 * MIB);
        // Runs of partitions that end and begin within one place.
        let run = 200 << 10;
        for number in 0..4_000_u32 {
            let far_apart = number * 1_117 % 4_000;
            let key = (1 + far_apart / 1_000, far_apart % 1_000 * run, 0);
            cache.insert(key, region(run as usize));
        }
        assert!(cache.bytes() <= PASSING_BYTES_MAX);
    }

    #[test]
    fn a_frame_is_sound_for_as_long_as_its_region_is_here() {
        let mut cache = RegionCache::new(64 * MIB);
        let (first, second) = ((1, 4096, 0), (1, 4096, 1));
        cache.insert(first, region(8192));
        cache.note_sound(first, 4096 + 128);
        assert!(cache.is_sound(first, 4096 + 128));
        assert!(!cache.is_sound(first, 4096 + 64));
        cache.insert(second, region(8192));
        assert!(
            !cache.is_sound(second, 4096 + 128),
            "it was read once more, and may be another"
        );
        cache.forget_segment(1);
        cache.note_sound(first, 4096 + 128);
        assert!(!cache.is_sound(first, 4096 + 128));
    }

    #[test]
    fn whatever_stays_and_goes_the_bound_holds() {
        let mut cache = RegionCache::new(8 * MIB);
        for file in 0..20 {
            filled(&mut cache, file, 3);
            for number in 0..3 {
                cache.given((file, number * MIB as u32, u64::from(number)), 2 * MIB);
            }
            assert!(cache.bytes() <= 8 * MIB, "{} bytes", cache.bytes());
            let sum: usize = cache
                .regions
                .values()
                .map(|kept| kept.region.bytes.len())
                .sum();
            assert_eq!(sum, cache.bytes());
        }
        for file in 0..20 {
            cache.forget_segment(file);
        }
        assert_eq!(cache.bytes(), 0);
        assert!(cache.passing.is_empty() && cache.staying.is_empty());
    }

    #[test]
    fn a_frame_is_found_only_where_all_of_it_lies_and_in_its_own_life() {
        let mut cache = RegionCache::new(64 * MIB);
        cache.insert((1, 0, 0), region(2 * MIB));
        cache.insert((1, MIB as u32, 1), region(4096));
        let at = |cache: &mut RegionCache, nonce, position, bytes| {
            cache.find(1, nonce, position, bytes).map(|found| found.key)
        };
        assert_eq!(
            at(&mut cache, 7, MIB as u32, 4096),
            Some((1, MIB as u32, 1))
        );
        assert_eq!(at(&mut cache, 7, MIB as u32, 8192), Some((1, 0, 0)));
        assert_eq!(at(&mut cache, 7, 2 * MIB as u32 - 10, 11), None);
        assert_eq!(at(&mut cache, 8, 0, 10), None);
    }
}
