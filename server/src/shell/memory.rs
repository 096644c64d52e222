//! Memory that is touched before a data loop wants it.
//!
//! A page that is written for the first time is found and cleared by the kernel, and meanwhile the loop serves nobody. So the memory of a core comes
//! from one range of addresses, from its start to its end, and while it grows a thread goes ahead of it. What was touched ahead is given back when
//! the growth has ended.
//!
//! Its beginning, which is most of what a node of a few partitions uses, lies on huge pages and is touched at once. The rest lies on small ones: a
//! virtual machine may have to ask its host for each huge page, 6 to 10 ms in which the kernel gives the processor to nobody else, not even to its
//! threads that end durable writes. ARCHITECTURE.md has the figures.
//!
//! For jemalloc the range is an arena with hooks of its own, which it never asks to take addresses back.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, c_uint, c_void};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use rustix::mm::{Advice, madvise};
use tikv_jemalloc_sys::{extent_hooks_t, mallctl};
use tracing::warn;

use super::buffers::{HUGE_PAGE_BYTES, map};
use super::ring::lower_thread_priority;

/// Addresses of one core, which cost nothing until they are used. Beyond them memory comes as the kernel gives it.
const RANGE_BYTES: usize = 256 << 30;
/// The beginning of the range, which is touched at the start.
const BEGINNING_BYTES: usize = 32 << 20;
/// So much is touched at a time, in about a tenth of a millisecond.
const STEP_BYTES: usize = 128 << 10;
/// What is kept touched ahead of a core that grows.
const AHEAD_BYTES: usize = 16 << 20;
/// The allocator takes so much at a time: what it uses next lies at the end of what it was given, where the pages are touched.
const GROWTH_BYTES: usize = 4 << 20;
/// Without growth for so long, what was touched ahead goes back.
const QUIET: Duration = Duration::from_millis(500);

/// From now on this thread's memory is that of `core`, touched ahead of its growth. Where that is refused, it is like that of any thread.
pub fn use_memory_of(core: u16) {
    static ARENAS: Mutex<Option<HashMap<u16, Option<c_uint>>>> = Mutex::new(None);
    let mut arenas = ARENAS.lock().unwrap_or_else(PoisonError::into_inner);
    let arena = *arenas.get_or_insert_default().entry(core).or_insert_with(|| {
        let made = make_arena(core);
        if let Err(error) = &made {
            warn!("core {core}: memory is not touched ahead of its use, so very many partitions take longer to start and to create: {error}");
        }
        made.ok()
    });
    drop(arenas);
    if let Some(arena) = arena {
        // Refused only where the program has another allocator.
        let _ = control::<c_uint, c_uint>(c"thread.arena", None, Some(arena));
    }
}

fn make_arena(core: u16) -> io::Result<c_uint> {
    let range = Range::new(RANGE_BYTES, BEGINNING_BYTES, AHEAD_BYTES, core)?;
    let mut arena: c_uint = 0;
    let hooks: *const Range = range;
    control(c"arenas.create", Some(&mut arena), Some(hooks))?;
    let limit = format!("arena.{arena}.retain_grow_limit\0");
    let limit = CStr::from_bytes_with_nul(limit.as_bytes()).expect("it ends with a zero byte");
    control::<usize, usize>(limit, None, Some(GROWTH_BYTES))?;
    Ok(arena)
}

/// Reads and writes a setting of the allocator, of the types that it has.
fn control<Old, New>(name: &CStr, old: Option<&mut Old>, mut new: Option<New>) -> io::Result<()> {
    let mut old_bytes = size_of::<Old>();
    let (old, old_bytes) = match old {
        Some(old) => (std::ptr::from_mut(old).cast(), &raw mut old_bytes),
        None => (std::ptr::null_mut(), std::ptr::null_mut()),
    };
    let (new, new_bytes) = match &mut new {
        Some(new) => (std::ptr::from_mut(new).cast(), size_of::<New>()),
        None => (std::ptr::null_mut(), 0),
    };
    // SAFETY: the name ends with a zero byte, and each pointer leads to as many bytes as its length says, or is null.
    match unsafe { mallctl(name.as_ptr(), old, old_bytes, new, new_bytes) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The range of one core. The hooks come first: the allocator hands their address back. It lives as long as the process.
#[repr(C)]
struct Range {
    hooks: extent_hooks_t,
    /// On a huge page's border.
    start: usize,
    bytes: usize,
    beginning_bytes: usize,
    ahead_bytes: usize,
    /// Bytes given to the allocator. Grows under the lock.
    given: AtomicUsize,
    /// Held while bytes are given, and while touched pages go back.
    giving: Mutex<()>,
    toucher: OnceLock<Thread>,
}

impl Range {
    fn new(
        bytes: usize,
        beginning_bytes: usize,
        ahead_bytes: usize,
        core: u16,
    ) -> io::Result<&'static Self> {
        let start = map_aligned(bytes, HUGE_PAGE_BYTES)?;
        let rest = start + beginning_bytes;
        // SAFETY: both inside the mapping just made; only hints, so a refusal changes nothing.
        unsafe {
            let _ = madvise(start as *mut c_void, beginning_bytes, Advice::LinuxHugepage);
            let _ = madvise(
                rest as *mut c_void,
                bytes - beginning_bytes,
                Advice::LinuxNoHugepage,
            );
        }
        let range: &'static Self = Box::leak(Box::new(Self {
            hooks: extent_hooks_t {
                alloc: Some(give),
                purge_forced: Some(purge),
                split: Some(split),
                merge: Some(merge),
                ..Default::default()
            },
            start,
            bytes,
            beginning_bytes,
            ahead_bytes,
            given: AtomicUsize::new(0),
            giving: Mutex::new(()),
            toucher: OnceLock::new(),
        }));
        let toucher = std::thread::Builder::new()
            .name(format!("memory-{core}"))
            .spawn(|| range.go_ahead())?;
        let _ = range.toucher.set(toucher.thread().clone());
        Ok(range)
    }

    /// The address of so many bytes more.
    fn give(&self, bytes: usize, alignment: usize) -> io::Result<usize> {
        let giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (self.start + self.given.load(Ordering::Relaxed)).next_multiple_of(alignment);
        let end = start - self.start + bytes;
        if end > self.bytes {
            return map_aligned(bytes, alignment);
        }
        self.given.store(end, Ordering::Release);
        drop(giving);
        if let Some(toucher) = self.toucher.get() {
            toucher.unpark();
        }
        Ok(start)
    }

    /// Touches pages ahead of what is given, for as long as the process lives.
    fn go_ahead(&self) {
        lower_thread_priority();
        let (mut given, mut touched) = (0, 0);
        let mut grew = Instant::now();
        loop {
            let before = given;
            given = self.given.load(Ordering::Acquire);
            if given != before {
                grew = Instant::now();
            }
            let kept = given.max(self.beginning_bytes);
            let quiet = QUIET.saturating_sub(grew.elapsed());
            let wanted = match quiet.is_zero() {
                true => kept,
                false => kept.max(given + self.ahead_bytes).min(self.bytes),
            };
            touched = touched.max(given);
            if touched < wanted && self.touch(touched) {
                touched = (touched + STEP_BYTES).min(self.bytes);
                // Whoever waits for this processor goes first.
                std::thread::yield_now();
            } else if touched <= kept {
                std::thread::park();
            } else if quiet.is_zero() {
                touched = self.give_back(kept, touched);
            } else {
                std::thread::park_timeout(quiet);
            }
        }
    }

    /// Has the kernel find and clear pages. Those that are there already stay as they are.
    fn touch(&self, offset: usize) -> bool {
        let bytes = STEP_BYTES.min(self.bytes - offset);
        let pages = (self.start + offset) as *mut c_void;
        // SAFETY: inside the mapping, and no contents change.
        unsafe { madvise(pages, bytes, Advice::LinuxPopulateWrite) }.is_ok()
    }

    /// Gives back the touched pages that are not kept, unless they were given meanwhile; up to where pages are touched then.
    fn give_back(&self, kept: usize, touched: usize) -> usize {
        let _giving = self.giving.lock().unwrap_or_else(PoisonError::into_inner);
        if self.given.load(Ordering::Acquire) > kept {
            return touched;
        }
        let ahead = (self.start + kept) as *mut c_void;
        // SAFETY: nobody was given these pages, and nobody is while the lock is held.
        let _ = unsafe { madvise(ahead, touched - kept, Advice::LinuxDontNeed) };
        kept
    }
}

/// An address in new memory on a border of `alignment`, with so many bytes behind it. Nothing is unmapped ever, so what the alignment leaves unused
/// costs nothing.
fn map_aligned(bytes: usize, alignment: usize) -> io::Result<usize> {
    let start = map(bytes + alignment)?;
    Ok((start.as_ptr() as usize).next_multiple_of(alignment))
}

// The hooks; jemalloc(3), `arena.<i>.extent_hooks`, has what each must do.

unsafe extern "C" fn give(
    hooks: *mut extent_hooks_t,
    wanted: *mut c_void,
    bytes: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    _arena: c_uint,
) -> *mut c_void {
    if !wanted.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: the allocator hands back the address that it was given, that of the first field of a range that is never freed.
    let range = unsafe { &*hooks.cast::<Range>() };
    let Ok(start) = range.give(bytes, alignment) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the allocator gives places for both answers: the bytes are zeroes, and may be written.
    unsafe {
        *zero = true;
        *commit = true;
    }
    start as *mut c_void
}

unsafe extern "C" fn purge(
    _hooks: *mut extent_hooks_t,
    address: *mut c_void,
    _bytes: usize,
    offset: usize,
    length: usize,
    _arena: c_uint,
) -> bool {
    // SAFETY: part of what the allocator was given, which it says holds nothing.
    unsafe { madvise(address.byte_add(offset), length, Advice::LinuxDontNeed) }.is_err()
}

unsafe extern "C" fn split(
    _hooks: *mut extent_hooks_t,
    _address: *mut c_void,
    _bytes: usize,
    _first_bytes: usize,
    _second_bytes: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    false
}

unsafe extern "C" fn merge(
    _hooks: *mut extent_hooks_t,
    _first: *mut c_void,
    _first_bytes: usize,
    _second: *mut c_void,
    _second_bytes: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE_BYTES: usize = 4096;

    /// Whether a page of memory is there, as the kernel says.
    fn is_there(address: usize) -> bool {
        let mut there = [0_u8];
        // SAFETY: one page, and a place for one answer.
        let asked =
            unsafe { libc::mincore(address as *mut c_void, PAGE_BYTES, there.as_mut_ptr()) };
        assert_eq!(asked, 0);
        there[0] & 1 == 1
    }

    fn eventually(what: &str, holds: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < until, "{what}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn pages_ahead_of_what_was_given_are_touched_and_go_back() {
        let range =
            Range::new(64 << 20, HUGE_PAGE_BYTES, 8 << 20, 0).expect("there is address space");
        let first = range.give(GROWTH_BYTES, PAGE_BYTES).expect("there is room");
        assert_eq!(first, range.start);
        let written = first as *mut u8;
        // SAFETY: just given to this test.
        unsafe { written.write(7) };
        let ahead = first + GROWTH_BYTES;
        eventually("a page ahead is touched", || is_there(ahead));
        eventually("it goes back", || !is_there(ahead));
        // SAFETY: as above.
        assert_eq!(unsafe { written.read() }, 7, "what was given stays");
        let second = range
            .give(3 * PAGE_BYTES, PAGE_BYTES)
            .expect("there is room");
        assert_eq!(second, ahead);
        let third = range.give(PAGE_BYTES, 1 << 20).expect("there is room");
        assert_eq!(third, ahead + (1 << 20), "aligned as asked");
        let outside = range.give(64 << 20, 1 << 21).expect("the kernel has room");
        assert!(
            outside.is_multiple_of(1 << 21),
            "aligned beyond the range, too"
        );
        assert!(outside + (64 << 20) <= range.start || outside >= range.start + range.bytes);
    }
}
