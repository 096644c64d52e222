//! `format` and `recover`: superblock, root, checkpoint, then the log from there on (`replay.rs`), then a fresh segment to go on in. Recovery
//! writes nothing before that fresh segment, and that only into a free one: it may be cut short anywhere and repeated.

use crate::append::Filling;
use crate::buffer::{AlignedBuffer, BufferPool};
use crate::cache::{PageCache, TailCache};
use crate::checkpoint::Checkpointer;
use crate::checkpoint_file::{CheckpointWriter, Meta, Part, Record, Unreadable, read_checkpoint};
use crate::checksum::Entropy;
use crate::closing::Closing;
use crate::control::Control;
use crate::fetch::Fetches;
use crate::gather::Gathering;
use crate::index_file::{IndexRecord, load_base};
use crate::io::{BLOCK_BYTES, Disk, FileName, IoFailure, IoFailureKind};
use crate::layout::{
    CLUSTER_ID_BYTES_MAX, FORMAT_VERSION, ROOT_SLOT_BYTES, Root, SegmentHeader, SegmentKind,
    Superblock,
};
use crate::log::Log;
use crate::options::LogOptions;
use crate::prepare::Preparer;
use crate::read::Reader;
use crate::region::RegionCache;
use crate::replay::Replay;
use crate::report::{FormatError, LogStatistics, RecoveryError, RecoveryReport, RecoveryVisitor};
use crate::reserve::Reserve;
use crate::retention::Retention;
use crate::rewrite::Rewriter;
use crate::scrub::Scrubber;
use crate::segments::{Segment, SegmentState, SegmentTable, Share};
use crate::slot::SlotTable;
use crate::survey::Survey;
use crate::types::{Lsn, Now};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const SEGMENT_BYTES_MIN: u64 = 64 << 10;
const SEGMENT_BYTES_MAX: u64 = 256 << 20;
/// Below this the reserve could not be kept.
const SEGMENTS_MIN: u64 = 5;

fn check_options(options: &LogOptions) -> Result<(), FormatError> {
    let bytes = options.segment_bytes;
    if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&bytes)
        || !bytes.is_multiple_of(BLOCK_BYTES as u64)
    {
        return Err(FormatError::BadOption(
            "the segment size must be a multiple of 4096 between 64 KiB and 256 MiB",
        ));
    }
    if options.directory_bytes_max / bytes < SEGMENTS_MIN {
        return Err(FormatError::BadOption(
            "the directory's limit must hold at least five segments per shard",
        ));
    }
    if options.cluster_id.len() > CLUSTER_ID_BYTES_MAX {
        return Err(FormatError::BadOption(
            "a cluster id may have 64 bytes at most",
        ));
    }
    Ok(())
}

impl Log {
    /// Makes a new, empty log in an empty folder. The superblock comes last: a format that was cut short is simply repeated.
    ///
    /// # Errors
    /// When the folder already holds one, an option is out of bounds, or the disk fails.
    pub fn format(disk: &mut dyn Disk, options: &LogOptions) -> Result<(), FormatError> {
        check_options(options)?;
        let failed = |file: FileName| move |failure: IoFailure| FormatError::Io(file, failure);
        if disk
            .length(FileName::Superblock)
            .map_err(failed(FileName::Superblock))?
            .is_some_and(|bytes| bytes > 0)
            && read_superblock(disk).is_ok()
        {
            return Err(FormatError::Occupied(FileName::Superblock));
        }
        for number in 0..options.format_segments {
            let file = FileName::Segment(number);
            disk.create(file, options.segment_bytes, true)
                .map_err(failed(file))?;
        }
        write_first_base(disk, options.seed)?;
        let mut block = AlignedBuffer::new(2 * ROOT_SLOT_BYTES);
        Root {
            version: FORMAT_VERSION,
            counter: 0,
            base: 0,
            deltas: Vec::new(),
            clean: true,
        }
        .encode(&mut block);
        disk.create(FileName::Root, block.len() as u64, true)
            .map_err(failed(FileName::Root))?;
        disk.write_at(FileName::Root, 0, &block, true)
            .map_err(failed(FileName::Root))?;
        let superblock = Superblock {
            version: FORMAT_VERSION,
            node_id: options.node_id,
            directory_id: options.directory_id,
            shard: options.shard,
            shards: options.shards,
            segment_bytes: options.segment_bytes,
            directory_bytes_max: options.directory_bytes_max,
            cluster_id: options.cluster_id.clone(),
        };
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        superblock.encode(&mut block);
        disk.create(FileName::Superblock, BLOCK_BYTES as u64, true)
            .map_err(failed(FileName::Superblock))?;
        disk.write_at(FileName::Superblock, 0, &block, true)
            .map_err(failed(FileName::Superblock))
    }

    /// Opens the log: loads the checkpoint, replays what came after it, cuts a torn tail, tells damage apart, opens a fresh segment.
    /// May be cut short and repeated at any point. Ask `step(Tick)` once soon after: it starts what is due.
    ///
    /// # Errors
    /// When there is no log of ours, or its checkpoint is unreadable, or the disk fails. Damage in the log itself is reported, not an error.
    pub fn recover(
        disk: &mut dyn Disk,
        options: LogOptions,
        now: Now,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, RecoveryReport), RecoveryError> {
        let (mut log, meta, replay) = Self::read_back(disk, options, visitor)?;
        let report = log.finish_recovery(disk, now, &meta, replay)?;
        Ok((log, report))
    }

    /// What `recover` would find, with nothing written: the next start finds the folder as it was. The log answers questions about its
    /// replicas only.
    ///
    /// # Errors
    /// As `recover`.
    pub fn inspect(
        disk: &mut dyn Disk,
        options: LogOptions,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, RecoveryReport), RecoveryError> {
        let (mut log, meta, replay) = Self::read_back(disk, options, visitor)?;
        log.settle_ends(replay.end_lsn);
        log.shutting_down = true;
        log.closing = Closing::Closed;
        let report = log.complete_report(&meta, replay);
        Ok((log, report))
    }

    fn read_back(
        disk: &mut dyn Disk,
        options: LogOptions,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(Self, Meta, Replay), RecoveryError> {
        let superblock = read_superblock(disk)?;
        check_superblock(&superblock, &options)?;
        let root = read_root(disk)?;
        let mut log = Self::empty(options, superblock.segment_bytes, root.clone());
        let meta = load_checkpoint(disk, &mut log, &root)?;
        log.show_cold_pages(disk, &root, visitor)?;
        let mut replay = Replay::new(meta, &log);
        replay.run(disk, &mut log, visitor)?;
        replay.report.clean = root.clean && replay.found_nothing();
        Ok((log, meta, replay))
    }

    /// The shard's pages: those of the base that no delta has anew, then those of deltas.
    fn show_cold_pages(
        &self,
        disk: &mut dyn Disk,
        root: &Root,
        visitor: &mut dyn RecoveryVisitor,
    ) -> Result<(), RecoveryError> {
        let pages = &self.checkpointer.cold;
        let file = FileName::CheckpointBase(root.base);
        if pages.base.first < pages.base.pages {
            let read = read_checkpoint(disk, file, Part::Cold, |record| {
                if let Record::Cold(replica, page) = record
                    && self.slots.get(replica).is_some()
                    && pages.get(replica).is_none()
                {
                    visitor.cold(replica, &page);
                }
            });
            read.map_err(|unreadable| unreadable.of(file))?;
        }
        for (replica, page) in pages.changed() {
            visitor.cold(replica, page);
        }
        Ok(())
    }

    fn empty(options: LogOptions, segment_bytes: u64, root: Root) -> Self {
        let entropy = Entropy::new(options.seed);
        let chunk_bytes = (options.write_bytes_max * 2).clamp(256 << 10, 4 << 20);
        Self {
            segment_bytes,
            segments_max: (options.directory_bytes_max / 100 * 98 / segment_bytes)
                .max(SEGMENTS_MIN),
            entropy,
            slots: SlotTable::default(),
            segments: SegmentTable::default(),
            open: BTreeMap::new(),
            damage: BTreeMap::new(),
            next_replica: 0,
            next_sequence: 1,
            write_number: 1,
            broker_epoch: -1,
            metadata_offset_max: -1,
            pool: BufferPool::new(chunk_bytes, 64),
            buffer_rest: None,
            entries_spare: Vec::new(),
            filling: None,
            pending: VecDeque::new(),
            pending_bytes: 0,
            in_flight: None,
            active: u32::MAX,
            active_position: 0,
            closed_lsn: 0,
            issued_lsn: 0,
            durable_lsn: 0,
            proven_lsn: 0,
            last_commit_us: 0,
            gathering: Gathering::default(),
            preparer: Preparer::default(),
            sealing: VecDeque::new(),
            tail: TailCache::new(options.tail_cache_bytes),
            regions: RegionCache::new(options.frame_cache_bytes),
            pages: PageCache::new(options.index_cache_bytes),
            extent_pages: PageCache::new(options.extent_cache_bytes),
            reader: Reader::default(),
            checkpointer: Checkpointer::new(root),
            reserve: Reserve::default(),
            retention: Retention::new(&options),
            rewriter: Rewriter::default(),
            scrubber: Scrubber::default(),
            fetches: Fetches::default(),
            survey: Survey::default(),
            doubt: None,
            next_io: 0,
            io: BTreeMap::new(),
            offline: None,
            shutting_down: false,
            closing: Closing::default(),
            statistics: LogStatistics::default(),
            options,
        }
    }

    /// What the replay found becomes the state to go on from.
    fn finish_recovery(
        &mut self,
        disk: &mut dyn Disk,
        now: Now,
        meta: &Meta,
        replay: Replay,
    ) -> Result<RecoveryReport, RecoveryError> {
        // What was read back may still sit in a volatile cache: it is made durable before anyone is told of it.
        for file in &replay.files {
            let file = FileName::Segment(*file);
            disk.sync(file)
                .map_err(|failure| RecoveryError::Io(file, failure))?;
        }
        self.settle_ends(replay.end_lsn);
        self.checkpointer.last_lsn = meta.lsn;
        self.checkpointer.last_sequence = meta.next_sequence;
        // Without one, the segments of every unclean stop would stay until there is log enough for the next.
        self.checkpointer.wanted = !replay.found_nothing();
        self.open_fresh_segment(disk, replay.report.bytes_cut, &replay.empty)?;
        let last_record_ms = replay.max_timestamp.max(meta.wall_ms);
        if last_record_ms > 0 && now.wall_ms - last_record_ms > self.options.boot_gap_ms_max {
            self.retention.freeze(last_record_ms);
            let days = (now.wall_ms - last_record_ms) / 86_400_000;
            self.doubt = Some(format!(
                "the clock is {days} days past the last record of this log"
            ));
        }
        self.last_commit_us = now.monotonic_us;
        Ok(self.complete_report(meta, replay))
    }

    /// Everything that was read back is durable.
    fn settle_ends(&mut self, end_lsn: u64) {
        let live: Vec<_> = self
            .slots
            .iter()
            .map(|(replica, slot)| (replica, slot.durable_end, slot.log_end))
            .collect();
        for (replica, durable_end, log_end) in live {
            if durable_end != log_end
                && let Some(slot) = self.slots.change(replica)
            {
                slot.durable_end = log_end;
                slot.settle();
            }
        }
        self.closed_lsn = end_lsn;
        self.issued_lsn = end_lsn;
        self.durable_lsn = end_lsn;
        self.proven_lsn = end_lsn;
    }

    fn complete_report(&self, meta: &Meta, replay: Replay) -> RecoveryReport {
        RecoveryReport {
            checkpoint: Lsn(meta.lsn),
            end: Lsn(replay.end_lsn),
            broker_epoch: self.broker_epoch,
            metadata_offset_max: self.metadata_offset_max,
            replicas: self.slots.live(),
            ..replay.report
        }
    }

    /// Files that nothing needs are free; the log goes on in one of them, with a first write that says where it was cut.
    fn open_fresh_segment(
        &mut self,
        disk: &mut dyn Disk,
        bytes_cut: u64,
        empty: &[u32],
    ) -> Result<(), RecoveryError> {
        let files = disk
            .list()
            .map_err(|failure| RecoveryError::Io(FileName::Superblock, failure))?;
        for file in files {
            match file {
                FileName::Segment(number) if self.segments.get(number).is_none() => {
                    let length = disk
                        .length(file)
                        .map_err(|failure| RecoveryError::Io(file, failure))?;
                    if length == Some(self.segment_bytes) {
                        self.segments
                            .insert(number, Segment::new(SegmentState::Free));
                    } else {
                        disk.remove(file)
                            .map_err(|failure| RecoveryError::Io(file, failure))?;
                    }
                }
                FileName::CheckpointBase(number)
                | FileName::CheckpointDelta(number)
                | FileName::Index(number) => {
                    self.checkpointer.next_file = self.checkpointer.next_file.max(number + 1);
                    if !self.checkpointer.names(file) {
                        disk.remove(file)
                            .map_err(|failure| RecoveryError::Io(file, failure))?;
                    }
                }
                FileName::Reserve => {
                    let length = disk
                        .length(file)
                        .map_err(|failure| RecoveryError::Io(file, failure))?;
                    self.reserve.bytes = length.unwrap_or(0);
                }
                FileName::Superblock | FileName::Root | FileName::Segment(_) => {}
            }
        }
        // The empty ones last: until the new first write is durable they prove what was written before them.
        let free = self.segments.iter().filter(|(number, segment)| {
            segment.state == SegmentState::Free && !empty.contains(number)
        });
        let free = free.map(|(number, _)| number).next();
        let number = match free {
            Some(number) => number,
            None => self.create_in_recovery(disk)?,
        };
        let (nonce, sequence) = (self.entropy.next(), self.next_sequence);
        self.next_sequence += 1;
        self.segments
            .reuse(number, SegmentKind::Log, nonce, sequence);
        let header = self.segment_header(number, SegmentKind::Log);
        let file = FileName::Segment(number);
        disk.write_at(file, 0, &header, true)
            .map_err(|failure| RecoveryError::Io(file, failure))?;
        self.activate(number);
        self.log_control(&Control::Cut {
            lsn: self.closed_lsn,
            bytes: bytes_cut,
        });
        self.close_filling();
        let Some(mut first) = self.pending.pop_front() else {
            return Ok(());
        };
        self.pending_bytes -= first.length;
        self.write_first(disk, file, &mut first)
    }

    fn write_first(
        &mut self,
        disk: &mut dyn Disk,
        file: FileName,
        first: &mut Filling,
    ) -> Result<(), RecoveryError> {
        let (nonce, position) = (self.segments.at(self.active).nonce, self.active_position);
        self.finish_write(first, nonce, position);
        disk.write_at(file, position, &first.buffer, true)
            .map_err(|failure| RecoveryError::Io(file, failure))?;
        let end = first.start_lsn + first.length as u64;
        self.note_issued(
            self.active,
            first.start_lsn,
            end,
            position + first.length as u64,
        );
        self.write_number += 1;
        self.issued_lsn = end;
        self.durable_lsn = end;
        // It holds nothing that would need proof.
        self.proven_lsn = end;
        Ok(())
    }

    fn create_in_recovery(&mut self, disk: &mut dyn Disk) -> Result<u32, RecoveryError> {
        let number = self.segments.first_unused();
        let file = FileName::Segment(number);
        match disk.create(file, self.segment_bytes, false) {
            Ok(()) => {}
            Err(IoFailure {
                kind: IoFailureKind::OutOfSpace,
                ..
            }) => return self.segments.first_free().ok_or(RecoveryError::NoSpace),
            Err(failure) => return Err(RecoveryError::Io(file, failure)),
        }
        self.segments
            .insert(number, Segment::new(SegmentState::Free));
        Ok(number)
    }
}

impl Checkpointer {
    fn names(&self, file: FileName) -> bool {
        self.root.as_ref().is_some_and(|root| match file {
            FileName::CheckpointBase(number) | FileName::Index(number) => root.base == number,
            FileName::CheckpointDelta(number) => root.deltas.contains(&number),
            _ => true,
        })
    }
}

/// The checkpoint of a log without replicas.
fn write_first_base(disk: &mut dyn Disk, seed: u64) -> Result<(), FormatError> {
    let file = FileName::CheckpointBase(0);
    let failed = |failure| FormatError::Io(file, failure);
    let mut entropy = Entropy::new(seed ^ 0x666f_726d_6174);
    let mut writer = CheckpointWriter::new(0, true, entropy.next(), 0);
    writer.meta(&Meta {
        next_sequence: 1,
        broker_epoch: -1,
        metadata_offset_max: -1,
        ..Meta::default()
    });
    writer.end();
    while let Some((position, piece)) = writer.take_piece() {
        if position == BLOCK_BYTES as u64 {
            let bytes = position + piece.len() as u64;
            disk.create(file, bytes, false).map_err(failed)?;
        }
        disk.write_at(file, position, &piece, true)
            .map_err(failed)?;
    }
    disk.write_at(file, 0, &writer.header(), true)
        .map_err(failed)
}

fn read_superblock(disk: &mut dyn Disk) -> Result<Superblock, RecoveryError> {
    let file = FileName::Superblock;
    let mut block = AlignedBuffer::new(BLOCK_BYTES);
    match disk.read_at(file, 0, &mut block) {
        Ok(()) => {}
        Err(IoFailure {
            kind: IoFailureKind::NotFound,
            ..
        }) => return Err(RecoveryError::NotFormatted),
        Err(IoFailure {
            kind: IoFailureKind::Short,
            ..
        }) => return Err(RecoveryError::BadSuperblock),
        Err(failure) => return Err(RecoveryError::Io(file, failure)),
    }
    let superblock = Superblock::decode(&block).ok_or(RecoveryError::BadSuperblock)?;
    if superblock.version > FORMAT_VERSION {
        return Err(RecoveryError::NewerFormat {
            file,
            version: superblock.version,
            version_max: FORMAT_VERSION,
        });
    }
    if superblock.version < FORMAT_VERSION {
        return Err(RecoveryError::OlderFormat {
            version: superblock.version,
            version_read: FORMAT_VERSION,
        });
    }
    Ok(superblock)
}

fn check_superblock(superblock: &Superblock, options: &LogOptions) -> Result<(), RecoveryError> {
    let foreign = |what: &str, found: String, expected: String| {
        Err(RecoveryError::Foreign(format!(
            "the folder belongs to {what} {found}, not {expected}: check that the right directory is mounted; nothing was changed"
        )))
    };
    if superblock.cluster_id != options.cluster_id {
        return foreign(
            "cluster",
            superblock.cluster_id.clone(),
            options.cluster_id.clone(),
        );
    }
    if superblock.node_id != options.node_id {
        return foreign(
            "node",
            superblock.node_id.to_string(),
            options.node_id.to_string(),
        );
    }
    if superblock.directory_id != options.directory_id {
        return foreign(
            "directory",
            format!("{:02x?}", superblock.directory_id.0),
            format!("{:02x?}", options.directory_id.0),
        );
    }
    if (superblock.shard, superblock.shards) != (options.shard, options.shards) {
        let found = format!("{} of {}", superblock.shard, superblock.shards);
        return foreign(
            "shard",
            found,
            format!("{} of {}", options.shard, options.shards),
        );
    }
    Ok(())
}

fn read_root(disk: &mut dyn Disk) -> Result<Root, RecoveryError> {
    let file = FileName::Root;
    let mut best: Option<Root> = None;
    for slot in 0..2 {
        let mut block = AlignedBuffer::new(ROOT_SLOT_BYTES);
        match disk.read_at(file, slot * ROOT_SLOT_BYTES as u64, &mut block) {
            Ok(()) => {}
            Err(IoFailure {
                kind: IoFailureKind::NotFound,
                ..
            }) => return Err(RecoveryError::BadCheckpoint(file)),
            // Perhaps it holds the newest, and what the older one names may be gone or used anew.
            Err(failure) => return Err(RecoveryError::Io(file, failure)),
        }
        if let Some(root) = Root::decode(&block)
            && best
                .as_ref()
                .is_none_or(|known| known.counter < root.counter)
        {
            best = Some(root);
        }
    }
    let root = best.ok_or(RecoveryError::BadCheckpoint(file))?;
    if root.version > FORMAT_VERSION {
        return Err(RecoveryError::NewerFormat {
            file,
            version: root.version,
            version_max: FORMAT_VERSION,
        });
    }
    Ok(root)
}

fn load_checkpoint(disk: &mut dyn Disk, log: &mut Log, root: &Root) -> Result<Meta, RecoveryError> {
    let mut meta = Meta::default();
    let mut segments = BTreeMap::new();
    let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
    let mut index = IndexRecord::default();
    let mut fences = BTreeMap::new();
    let files = [FileName::CheckpointBase(root.base)]
        .into_iter()
        .chain(root.deltas.iter().copied().map(FileName::CheckpointDelta));
    for file in files {
        segments.clear();
        log.damage.clear();
        let base = matches!(file, FileName::CheckpointBase(_));
        let part = if base { Part::BeforeCold } else { Part::Whole };
        let read = read_checkpoint(disk, file, part, |record| match record {
            Record::Meta(found) => meta = found,
            Record::Segment(record) => {
                segments.insert(record.file, record);
            }
            Record::Share(file, share) => {
                shares.insert(file, share);
            }
            Record::Index(found) => index = found,
            Record::Fences(file, nonce, keys) => {
                fences.insert(file, (nonce, keys));
            }
            other => load_record(log, other),
        });
        let cold = read.map_err(|unreadable| unreadable.of(file))?;
        let bytes = cold.bytes;
        if base {
            log.checkpointer.cold.replace_base(cold);
            let base = load_base(disk, root.base, &index)?;
            let index_bytes = u64::from(base.pages()) * BLOCK_BYTES as u64;
            log.checkpointer.base_bytes = bytes + index_bytes;
            log.slots.layers.replace_base(base);
        } else {
            log.checkpointer.delta_bytes += bytes;
        }
    }
    log.next_replica = meta.next_replica;
    log.next_sequence = meta.next_sequence;
    log.write_number = meta.write_number;
    log.broker_epoch = meta.broker_epoch;
    log.metadata_offset_max = meta.metadata_offset_max;
    for (file, record) in segments {
        let mut segment = Segment::from_record(&record);
        segment.data_end = record.data_end;
        if let Some((nonce, keys)) = fences.remove(&file)
            && nonce == segment.nonce
            && keys.len() == segment.index_pages as usize
        {
            segment.fences = Some(keys.into());
            segment.fences_saved = true;
        }
        log.segments.insert(file, segment);
    }
    log.slots.layers.dead_bytes = meta.dead_bytes;
    count_extents(log, &shares)?;
    // Deltas may have been written when the base was not joined yet.
    log.slots.unsettle_guessed();
    // And slots when it was not known what was lost.
    for (replica, _) in log.damage.keys() {
        log.slots.unsettle(*replica);
    }
    log.slots.forget_changes();
    Ok(meta)
}

impl Unreadable {
    fn of(self, file: FileName) -> RecoveryError {
        match self {
            Self::Damaged => RecoveryError::BadCheckpoint(file),
            Self::Io(failure) if failure.kind == IoFailureKind::NotFound => {
                RecoveryError::BadCheckpoint(file)
            }
            Self::Io(failure) => RecoveryError::Io(file, failure),
            Self::Newer(version) => RecoveryError::NewerFormat {
                file,
                version,
                version_max: FORMAT_VERSION,
            },
        }
    }
}

fn load_record(log: &mut Log, record: Record) {
    match record {
        Record::Slot(replica, slot, epochs) => {
            log.slots.discard(replica);
            log.slots.insert(replica, *slot);
            log.slots.set_epochs(replica, epochs);
        }
        Record::Entry(replica, entry) => log.slots.layers.put(replica, *entry),
        Record::Gone(replica) => {
            log.slots.discard_for_good(replica);
            log.checkpointer.remove_cold(replica);
        }
        Record::Cold(replica, page) => {
            log.checkpointer.cold.insert(replica, page);
        }
        Record::Damage(replica, first, last) => {
            log.damage.insert((replica, first), last);
        }
        Record::Meta(_)
        | Record::Segment(_)
        | Record::Share(..)
        | Record::Index(_)
        | Record::Fences(..)
        | Record::End => {}
    }
}

/// Extents above the base are counted anew; one that points nowhere means that the checkpoint is not to be trusted.
fn count_extents(log: &mut Log, base: &BTreeMap<u32, Share>) -> Result<(), RecoveryError> {
    let listed = log.slots.layers.upper_shares();
    let mut newest: BTreeMap<u32, Share> = BTreeMap::new();
    for (_, slot) in log.slots.iter() {
        if let Some(extent) = slot.newest() {
            newest
                .entry(extent.segment)
                .or_default()
                .add_extent(&extent);
        }
    }
    let named = newest.keys().chain(listed.keys()).chain(base.keys());
    if named.copied().any(|file| log.segments.get(file).is_none()) {
        return Err(RecoveryError::BadCheckpoint(FileName::Root));
    }
    for (file, share) in newest {
        log.segments.at(file).newest = share;
    }
    log.segments.thaw(&listed);
    log.segments.replace_base(base);
    Ok(())
}

/// Headers of log segments that the checkpoint does not know, by use; these come after its active one.
pub(crate) fn later_segments(
    disk: &mut dyn Disk,
    log: &Log,
    after_sequence: u64,
) -> Result<Vec<SegmentHeader>, RecoveryError> {
    let files = disk
        .list()
        .map_err(|failure| RecoveryError::Io(FileName::Superblock, failure))?;
    let numbers: BTreeSet<u32> = files
        .into_iter()
        .filter_map(|file| match file {
            FileName::Segment(number) if log.segments.get(number).is_none() => Some(number),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    for number in numbers {
        let mut block = AlignedBuffer::new(BLOCK_BYTES);
        if disk
            .read_at(FileName::Segment(number), 0, &mut block)
            .is_err()
        {
            continue;
        }
        if let Some(version) = SegmentHeader::version(&block)
            && version > FORMAT_VERSION
        {
            return Err(RecoveryError::NewerFormat {
                file: FileName::Segment(number),
                version,
                version_max: FORMAT_VERSION,
            });
        }
        if let Some(header) = SegmentHeader::decode(&block)
            && header.file == number
            && header.directory_id == log.options.directory_id
            && header.shard == log.options.shard
        {
            found.push(header);
        }
    }
    found.retain(|header| header.sequence > after_sequence);
    found.sort_by_key(|header| header.sequence);
    Ok(found)
}
