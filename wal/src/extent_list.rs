//! A replica's older extents, delta-coded: about ten bytes each where a plain one takes 32. Most replicas have few; those that have many are
//! found by marks. Read and appended to in place, changed by decoding all of them.

use crate::control::take;
use crate::footer::{put_varint, take_varint, unzigzag, zigzag};
use crate::layout::get_u32;
use crate::slot::Extent;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

/// Extents between two marks.
const EXTENTS_PER_MARK: u32 = 32;
/// No extent takes more: four varints of ten bytes and one of five.
const EXTENT_BYTES_MAX: usize = 45;

/// What an extent is coded against: the one before it.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    end: i64,
    max_timestamp: i64,
    segment: u32,
}

/// Where one may begin to decode, knowing the state there.
#[derive(Clone, Copy, Debug)]
struct Mark {
    state: State,
    at: u32,
}

/// Extents, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtentList {
    bytes: Box<[u8]>,
    /// None for a list of up to 32. The boxes keep what every replica with a list pays small.
    #[allow(clippy::box_collection)]
    marks: Option<Box<Vec<Mark>>>,
    count: u32,
}

const _: () = assert!(std::mem::size_of::<ExtentList>() == 32);

impl ExtentList {
    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes on the heap, as an allocator rounds them.
    pub(crate) fn heap_bytes(&self) -> usize {
        let marks = self.marks.as_ref().map_or(0, |marks| {
            marks.capacity() * std::mem::size_of::<Mark>() + std::mem::size_of::<Vec<Mark>>()
        });
        self.bytes.len().next_multiple_of(16) + marks
    }

    /// As a checkpoint has it: how many, how many bytes, and these.
    pub(crate) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.bytes);
    }

    /// The list at the front of `rest`, which is taken off; `None` when there is none.
    pub(crate) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let head = take(rest, 8)?;
        let (count, length) = (get_u32(head, 0), get_u32(head, 4) as usize);
        let mut coded = Coded {
            bytes: take(rest, length)?,
            at: 0,
            state: State::default(),
        };
        let mut list = Self::default();
        let mut bytes = Vec::with_capacity(length);
        let mut state = State::default();
        for _ in 0..count {
            state = list.push(&mut bytes, state, &coded.next()?);
        }
        list.bytes = bytes.into_boxed_slice();
        (coded.at == length).then_some(list)
    }

    pub(crate) fn iter(&self) -> Extents<'_> {
        Extents(Coded {
            bytes: &self.bytes,
            at: 0,
            state: State::default(),
        })
    }

    /// From the first extent on that ends past `offset`.
    pub(crate) fn from(&self, offset: i64) -> impl Iterator<Item = Extent> + '_ {
        let marks = self.marks.as_ref().map_or(&[][..], |marks| marks);
        let after = marks.partition_point(|mark| mark.state.end <= offset);
        let mut extents = self.iter();
        if let Some(mark) = after.checked_sub(1).map(|at| &marks[at]) {
            (extents.0.at, extents.0.state) = (mark.at as usize, mark.state);
        }
        extents.skip_while(move |extent| extent.end <= offset)
    }

    /// The state behind the last extent.
    fn last_state(&self) -> State {
        let mut extents = self.iter();
        if let Some(mark) = self.marks.as_ref().and_then(|marks| marks.last()) {
            (extents.0.at, extents.0.state) = (mark.at as usize, mark.state);
        }
        extents.by_ref().for_each(drop);
        extents.0.state
    }

    pub(crate) fn push_back(&mut self, extent: Extent) {
        let state = self.last_state();
        let mut bytes = std::mem::take(&mut self.bytes).into_vec();
        self.push(&mut bytes, state, &extent);
        self.bytes = bytes.into_boxed_slice();
    }

    fn push(&mut self, bytes: &mut Vec<u8>, state: State, extent: &Extent) -> State {
        if self.count > 0 && self.count.is_multiple_of(EXTENTS_PER_MARK) {
            let at = bytes.len() as u32;
            self.marks.get_or_insert_default().push(Mark { state, at });
        }
        self.count += 1;
        let mut coded = [0; EXTENT_BYTES_MAX];
        let mut at = 0;
        let timestamp_delta = extent.max_timestamp.wrapping_sub(state.max_timestamp);
        put_varint(
            &mut coded,
            &mut at,
            zigzag(extent.base.wrapping_sub(state.end)),
        );
        put_varint(
            &mut coded,
            &mut at,
            extent.end.wrapping_sub(extent.base) as u64,
        );
        put_varint(&mut coded, &mut at, zigzag(timestamp_delta));
        put_varint(
            &mut coded,
            &mut at,
            zigzag(i64::from(extent.segment) - i64::from(state.segment)),
        );
        put_varint(&mut coded, &mut at, u64::from(extent.bytes));
        bytes.reserve_exact(at);
        bytes.extend_from_slice(&coded[..at]);
        State {
            end: extent.end,
            max_timestamp: extent.max_timestamp,
            segment: extent.segment,
        }
    }
}

impl FromIterator<Extent> for ExtentList {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        let mut list = Self::default();
        let (mut bytes, mut state) = (Vec::new(), State::default());
        for extent in extents {
            bytes.reserve(EXTENT_BYTES_MAX);
            state = list.push(&mut bytes, state, &extent);
        }
        list.bytes = bytes.into_boxed_slice();
        list
    }
}

/// Decodes one extent after the other.
#[derive(Clone, Debug)]
struct Coded<'a> {
    bytes: &'a [u8],
    at: usize,
    state: State,
}

impl Coded<'_> {
    fn next(&mut self) -> Option<Extent> {
        let at = &mut self.at;
        let mut value = || take_varint(self.bytes, at);
        let base = self.state.end.wrapping_add(unzigzag(value()?));
        let end = base.wrapping_add(value()? as i64);
        let max_timestamp = self.state.max_timestamp.wrapping_add(unzigzag(value()?));
        let segment = i64::from(self.state.segment).wrapping_add(unzigzag(value()?));
        let extent = Extent {
            base,
            end,
            max_timestamp,
            segment: segment as u32,
            bytes: value()? as u32,
        };
        self.state = State {
            end,
            max_timestamp,
            segment: extent.segment,
        };
        Some(extent)
    }
}

/// The extents of a list.
#[derive(Clone, Debug)]
pub(crate) struct Extents<'a>(Coded<'a>);

impl Iterator for Extents<'_> {
    type Item = Extent;

    fn next(&mut self) -> Option<Extent> {
        if self.0.at >= self.0.bytes.len() {
            return None;
        }
        Some(self.0.next().expect("the list was coded here"))
    }
}

/// Older epochs and where they begin, oldest first. Most replicas with a list have none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Epochs(#[allow(clippy::box_collection)] Option<Box<VecDeque<(i32, i64)>>>);

impl FromIterator<(i32, i64)> for Epochs {
    fn from_iter<I: IntoIterator<Item = (i32, i64)>>(epochs: I) -> Self {
        Self(Some(Box::new(epochs.into_iter().collect())))
    }
}

static NO_EPOCHS: VecDeque<(i32, i64)> = VecDeque::new();

impl Deref for Epochs {
    type Target = VecDeque<(i32, i64)>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(&NO_EPOCHS)
    }
}

impl DerefMut for Epochs {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.get_or_insert_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_read_back_from_any_offset_and_take_a_third() {
        let mut pushed = ExtentList::default();
        let mut all = Vec::new();
        let mut base = 7;
        for at in 0..500_i64 {
            let extent = Extent {
                base,
                end: base + 10 + at % 90,
                max_timestamp: if at % 50 == 3 {
                    -1
                } else {
                    1_700_000_000_000 + at * 60_000
                },
                segment: (at as u32 * 7) % 2_048,
                bytes: 4_000 + at as u32 % 5_000,
            };
            base = extent.end + i64::from(at % 40 == 0);
            pushed.push_back(extent);
            all.push(extent);
            assert_eq!(pushed.len(), all.len());
        }
        let collected: ExtentList = all.iter().copied().collect();
        for list in [&pushed, &collected] {
            assert!(list.iter().eq(all.iter().copied()));
            for offset in (0..base + 5).step_by(3) {
                let wanted = all.iter().copied().filter(|extent| extent.end > offset);
                assert!(list.from(offset).eq(wanted), "from {offset}");
            }
        }
        assert!(pushed.heap_bytes() < 500 * 13, "{}", pushed.heap_bytes());
        let extremes = [
            Extent {
                base: i64::MIN,
                end: i64::MAX,
                max_timestamp: i64::MIN,
                segment: u32::MAX - 1,
                bytes: u32::MAX,
            },
            Extent {
                base: i64::MAX,
                end: i64::MAX,
                max_timestamp: i64::MAX,
                segment: 0,
                bytes: 0,
            },
        ];
        let list: ExtentList = extremes.into_iter().collect();
        assert!(list.iter().eq(extremes));
    }
}
