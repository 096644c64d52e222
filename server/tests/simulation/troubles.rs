//! What goes wrong in a world: power cuts, disks that fail, clocks that jump.

use super::{Happening, World, composed};
use odradek_server::machine::BackgroundWork;
use odradek_wal::simulation::Operation;

impl World {
    /// The process is gone, and the power with it: what was under way on the disks is done, torn or not done.
    pub fn crash(&mut self) {
        self.trace.line(self.now_us, || "crash".to_string());
        self.crashes += 1;
        self.life = None;
        let mut under_way = Vec::new();
        let queue = std::mem::take(&mut self.queue);
        for (when, happening) in queue {
            match happening {
                Happening::Wake { .. } => drop(self.queue.insert(when, happening)),
                Happening::Disk { core, log, io } => under_way.push((core, log, io)),
                Happening::Background { work, .. } => {
                    let written = match work {
                        BackgroundWork::WriteFile { path, contents } => Some((path, contents)),
                        BackgroundWork::ComposeFile { path, compose } => {
                            Some((path, composed(compose)))
                        }
                        _ => None,
                    };
                    if let Some((path, contents)) = written
                        && self.random.once_in(2)
                    {
                        self.storage.files.insert(path, contents);
                    }
                }
                _ => {}
            }
        }
        let mut torn = Vec::new();
        for (core, log, io) in under_way {
            let disk = self
                .storage
                .disks
                .get_mut(&(core, log))
                .expect("a log has its disk");
            disk.fail_in.clear();
            match self.random.below(3) {
                0 => {}
                1 => drop(disk.run(&io)),
                _ => torn.push((core, log, io)),
            }
        }
        for (core, log, io) in torn {
            let disk = self
                .storage
                .disks
                .get_mut(&(core, log))
                .expect("a log has its disk");
            disk.crash_at = Some(disk.operations);
            let _ = disk.run(&io);
            disk.restart();
        }
        for disk in self.storage.disks.values_mut() {
            disk.fail_in.clear();
        }
        self.storage.restart();
        self.drop_links();
    }

    pub(super) fn drop_links(&mut self) {
        self.links.clear();
        for seat in &mut self.seats {
            if seat.link.take().is_some() {
                seat.client.lost();
            }
        }
    }

    /// The wall clock is set; monotonic time takes no notice.
    pub fn jump_clock(&mut self, by_ms: i64) {
        self.trace.line(self.now_us, || {
            format!("the wall clock jumps by {by_ms} ms")
        });
        self.wall_offset_ms += by_ms;
    }

    /// The metadata log is lost with all that it says; the cluster's id is not. Only between two lives.
    pub fn lose_metadata(&mut self) {
        assert!(!self.running(), "between two lives");
        self.storage.format_metadata(&self.shape, &mut self.random);
    }

    /// From now on, or no longer, disks may fail.
    pub fn set_faults(&mut self, faults: bool) {
        self.faults |= faults;
        if !faults {
            for disk in self.storage.disks.values_mut() {
                disk.fail_in.clear();
            }
        }
    }

    /// Some disk of a shard will refuse something soon.
    pub fn plant_fault(&mut self) {
        let places: Vec<(u16, u16)> = self.storage.disks.keys().copied().collect();
        let place = places[self.random.below(places.len() as u64) as usize];
        let metadata = self.shape.metadata_log();
        if place.0 == 0 && place.1 >= metadata {
            return;
        }
        let operation =
            [Operation::Read, Operation::Write, Operation::Sync][self.random.below(3) as usize];
        let passes = self.random.below(30);
        self.trace.line(self.now_us, || {
            format!("{operation:?} of {place:?} will fail after {passes}")
        });
        if let Some(disk) = self.storage.disks.get_mut(&place) {
            disk.fail(operation, passes);
        }
    }
}
