//! Which area a sample of the processor belongs to: the one table of symbols, and the rule by which it is read. `perf_tool` brings the samples.
//!
//! A sample is a chain of symbols, the one that ran first. Its own symbol is held against the rules for `Leaf` symbols; then each symbol of the
//! chain, from the inside out, against the others: the nearest that says something decides. So a wake-up at the end of a send is a wake-up, and
//! the copy within it is copying.

/// A symbol of a chain, and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name as `perf script` prints it.
    pub name: String,
    /// Whether it is the kernel's.
    pub kernel: bool,
}

/// Where a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// At what ran alone.
    Leaf,
    /// At every symbol of the chain.
    Chain,
}

/// Kernel or not, where, the area, and how names begin (`*` before it: what they contain).
type Rule = (bool, At, &'static str, &'static [&'static str]);

const KERNEL: bool = true;
const OURS: bool = false;

/// The table. Of the rules that fit one symbol the first counts.
const RULES: &[Rule] = &[
    (
        KERNEL,
        At::Leaf,
        "copying, kernel",
        &[
            "rep_movs_alternative",
            "copy_user",
            "_copy_to_iter",
            "_copy_from_iter",
            "copy_page_",
            "memcpy",
            "__memcpy",
            "memmove",
            "__memmove",
            "copyin",
            "copyout",
            "raw_copy",
            "__pi_memcpy",
            "skb_copy_datagram",
            "simple_copy_to_iter",
            "__skb_datagram_iter",
        ],
    ),
    (
        KERNEL,
        At::Leaf,
        "kernel memory",
        &[
            "clear_page",
            "__pi_clear_page",
            "clear_huge",
            "memset",
            "__memset",
        ],
    ),
    (
        KERNEL,
        At::Chain,
        "kernel wait and wake",
        &[
            "schedule",
            "__schedule",
            "try_to_wake_up",
            "ttwu_",
            "__wake_up",
            "wake_up",
            "io_cqring_wait",
            "io_wq_",
            "io_worker",
            "futex_",
            "do_futex",
            "__x64_sys_futex",
            "eventfd_",
            "finish_task_switch",
            "pick_next_task",
            "enqueue_task",
            "dequeue_task",
            "hrtimer_",
            "__hrtimer",
            "ep_poll",
            "do_epoll",
            "__x64_sys_epoll",
            "do_nanosleep",
            "reschedule",
            "kick_process",
            "smp_call",
            "native_smp",
            "native_send_call",
            "x2apic_send",
        ],
    ),
    (
        KERNEL,
        At::Chain,
        "kernel disk",
        &[
            "ext4_",
            "__ext4",
            "xfs_",
            "btrfs_",
            "iomap_",
            "__iomap",
            "blk_",
            "__blk",
            "blkdev_",
            "bio_",
            "__bio",
            "submit_bio",
            "__submit_bio",
            "virtblk_",
            "virtqueue_",
            "vring_",
            "vp_",
            "vm_notify",
            "virtio_",
            "nvme_",
            "scsi_",
            "jbd2_",
            "filemap_",
            "generic_file_",
            "generic_write",
            "dd_",
            "elv_",
            "sbitmap_",
            "__sbitmap",
            "dm_",
            "io_write",
            "io_read",
            "io_fsync",
            "__iov_iter_get_pages",
            "iov_iter_extract",
            "gup_",
            "pin_user_pages",
            "unpin_user",
            "try_grab",
            "iowrite",
            "file_update_time",
            "kiocb_",
        ],
    ),
    (
        KERNEL,
        At::Chain,
        "kernel network",
        &[
            "tcp_",
            "__tcp_",
            "inet",
            "__inet",
            "ip_",
            "__ip_",
            "ip6_",
            "sock_",
            "__sock_",
            "____sys_",
            "__sys_send",
            "__sys_recv",
            "sk_",
            "__sk_",
            "skb_",
            "__skb_",
            "__alloc_skb",
            "alloc_skb",
            "kfree_skb",
            "__kfree_skb",
            "consume_skb",
            "napi_",
            "__napi",
            "net_rx",
            "netif_",
            "__netif",
            "dev_",
            "__dev_",
            "loopback_",
            "process_backlog",
            "veth_",
            "virtnet_",
            "nf_",
            "ipv4_",
            "release_sock",
            "lock_sock",
            "import_",
            "io_send",
            "io_recv",
            "io_accept",
            "io_net",
            "udp_",
        ],
    ),
    (
        KERNEL,
        At::Chain,
        "kernel memory",
        &[
            "handle_mm_fault",
            "__handle_mm_fault",
            "do_user_addr_fault",
            "exc_page_fault",
            "asm_exc_page_fault",
            "do_anonymous_page",
            "do_huge_pmd",
            "__alloc_pages",
            "alloc_pages",
            "get_page_from_freelist",
            "__x64_sys_madvise",
            "do_madvise",
            "__x64_sys_mmap",
            "__x64_sys_munmap",
            "__x64_sys_mremap",
            "zap_",
            "unmap_",
            "tlb_",
            "flush_tlb",
            "kmem_cache_",
            "kmalloc",
            "__kmalloc",
            "kfree",
            "___slab",
            "__slab",
        ],
    ),
    (
        KERNEL,
        At::Chain,
        "kernel interrupts",
        &[
            "asm_sysvec",
            "sysvec_",
            "asm_common_interrupt",
            "common_interrupt",
            "irq_exit",
            "__irq_exit",
            "handle_softirqs",
            "__do_softirq",
            "do_softirq",
            "tick_",
            "update_process_times",
            "rcu_",
            "__rcu",
            "asm_exc_nmi",
        ],
    ),
    (
        KERNEL,
        At::Chain,
        "kernel io_uring",
        &[
            "io_",
            "__io_",
            "__do_sys_io_uring",
            "__x64_sys_io_uring",
            "__se_sys_io_uring",
        ],
    ),
    (
        OURS,
        At::Chain,
        "CRC",
        &["*crc_fast", "*crc32c", "*crc32", "*odradek_wal::checksum"],
    ),
    (
        OURS,
        At::Leaf,
        "copying",
        &[
            "*memmove",
            "*memcpy",
            "*memset",
            "*bcopy",
            "*copy_nonoverlapping",
        ],
    ),
    (
        OURS,
        At::Leaf,
        "allocator",
        &[
            "malloc",
            "_int_malloc",
            "_int_free",
            "_int_realloc",
            "cfree",
            "free",
            "realloc",
            "calloc",
            "aligned_alloc",
            "posix_memalign",
            "unlink_chunk",
            "sysmalloc",
            "systrim",
            "tcache_",
            "arena_",
            "malloc_consolidate",
            "mi_",
            "_mi_",
            "je_",
            "_rjem",
            "__rust_alloc",
            "__rust_dealloc",
            "__rustc",
            "__libc_malloc",
            "__libc_free",
            "alloc_perturb",
        ],
    ),
];

/// Modules that are the loop itself: what is done beside events and actions, to find out what is to be done next and to wait for it.
const SCHEDULER: &[&str] = &[
    "server::shell::data_loop",
    "server::shell::ring",
    "server::shell::completion",
    "server::shell::mailbox",
    "server::shell::clock",
    "server::shell::background",
    "io_uring",
    "glommio",
];

/// Crates of ours, by the names that symbols have.
const CRATES: [&str; 5] = ["server", "shard", "wal", "raft", "protocol"];
/// Names of an unresolved symbol.
const UNKNOWN: [&str; 2] = ["[unknown]", ""];

/// What a sample came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The area: `kernel network`, `CRC`, `our scheduler`, `our wal`.
    pub area: String,
    /// Our crate and module where it is ours: `wal::append`.
    pub module: Option<String>,
}

impl Placed {
    fn area(area: &str) -> Placed {
        Placed {
            area: area.into(),
            module: None,
        }
    }
}

/// Finds the area of a chain, the symbol that ran first.
pub fn place(chain: &[Symbol]) -> Placed {
    let Some(leaf) = chain.first() else {
        return Placed::area("unresolved");
    };
    let rule = |symbol: &Symbol, at: At| {
        let mut rules = RULES.iter();
        let found = rules.find(|(kernel, where_, _, names)| {
            *kernel == symbol.kernel && *where_ == at && names.iter().any(|name| fits(symbol, name))
        });
        found.map(|(_, _, area, _)| Placed::area(area))
    };
    if let Some(placed) = rule(leaf, At::Leaf) {
        return placed;
    }
    // What the kernel did is not ours, whoever asked for it.
    let same_side = chain
        .iter()
        .take_while(|symbol| symbol.kernel == leaf.kernel);
    for symbol in same_side {
        if let Some(placed) = rule(symbol, At::Chain).or_else(|| ours(symbol)) {
            return placed;
        }
    }
    match (leaf.kernel, UNKNOWN.contains(&leaf.name.as_str())) {
        (_, true) => Placed::area("unresolved"),
        (true, false) => Placed::area("kernel, other"),
        (false, false) => Placed::area("libraries"),
    }
}

fn fits(symbol: &Symbol, name: &str) -> bool {
    match name.strip_prefix('*') {
        Some(part) => symbol.name.contains(part),
        None => symbol.name.starts_with(name),
    }
}

/// A symbol that names one of our crates: of several the first, which is whose code it is: `<odradek_shard::... as odradek_wal::...>::frame`.
fn ours(symbol: &Symbol) -> Option<Placed> {
    if symbol.kernel {
        return None;
    }
    let found = CRATES.iter().filter_map(|name| {
        let at = symbol.name.find(&format!("odradek_{name}::"))?;
        Some((at, *name))
    });
    let named = found.min().map(|(at, name)| {
        (
            name,
            modules(&symbol.name[at + "odradek_".len() + name.len()..]),
        )
    });
    let module = match &named {
        Some((name, modules)) => {
            let words = std::iter::once(*name).chain(modules.iter().map(String::as_str));
            words.collect::<Vec<_>>().join("::")
        }
        None => ["io_uring", "glommio"]
            .iter()
            .find(|name| symbol.name.contains(&format!("{name}::")))?
            .to_string(),
    };
    let scheduler = SCHEDULER
        .iter()
        .any(|name| module == *name || module.starts_with(&format!("{name}::")));
    let area = match (scheduler, &named) {
        (false, Some((name, _))) => format!("our {name}"),
        _ => "our scheduler".to_string(),
    };
    Some(Placed {
        area,
        module: Some(module),
    })
}

/// The modules in a path behind its crate, two at most: those of its words that begin as modules do. The last word of a path is a function's.
fn modules(path: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = path;
    while let Some(path) = rest.strip_prefix("::") {
        let end = path.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        let (word, behind) = path.split_at(end.unwrap_or(path.len()));
        if word.is_empty() {
            break;
        }
        words.push(word);
        rest = behind;
    }
    if rest.is_empty() || rest.starts_with("::{") {
        words.pop();
    }
    let modules = words
        .into_iter()
        .take_while(|word| word.starts_with(|it: char| it.is_ascii_lowercase()));
    modules.take(2).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(names: &[&str]) -> Vec<Symbol> {
        let symbols = names.iter().map(|name| Symbol {
            name: name.trim_start_matches("k:").into(),
            kernel: name.starts_with("k:"),
        });
        symbols.collect()
    }

    #[test]
    fn the_nearest_symbol_that_says_something_decides() {
        let area = |names: &[&str]| place(&chain(names)).area;
        assert_eq!(
            area(&[
                "k:_raw_spin_lock",
                "k:try_to_wake_up",
                "k:sock_def_readable",
                "k:tcp_sendmsg"
            ]),
            "kernel wait and wake"
        );
        assert_eq!(
            area(&[
                "k:rep_movs_alternative",
                "k:_copy_to_iter",
                "k:tcp_recvmsg",
                "k:io_recv"
            ]),
            "copying, kernel"
        );
        assert_eq!(
            area(&["k:__x", "k:tcp_recvmsg", "k:io_cqring_wait"]),
            "kernel network"
        );
        assert_eq!(
            area(&["k:what", "odradek_wal::append::Log::append"]),
            "kernel, other"
        );
        assert_eq!(area(&["__memmove_avx_unaligned_erms"]), "copying");
        assert_eq!(area(&["crc_fast::arch::update"]), "CRC");
        assert_eq!(area(&["[unknown]"]), "unresolved");
    }

    #[test]
    fn our_modules_are_found() {
        let module = |name: &str| place(&chain(&[name])).module.unwrap();
        assert_eq!(module("odradek_wal::append::Log::append"), "wal::append");
        assert_eq!(
            module("odradek_wal::checkpoint::<impl odradek_wal::log::Log>::encode_some"),
            "wal::checkpoint"
        );
        assert_eq!(
            module("<odradek_shard::recovery::Producers as odradek_wal::report::Visitor>::cold"),
            "shard::recovery"
        );
        assert_eq!(
            module("<odradek_server::shell::data_loop::DataLoop<M> as X>::turn"),
            "server::shell::data_loop"
        );
        let placed = place(&chain(&[
            "odradek_server::shell::data_loop::turn::{{closure}}",
        ]));
        assert_eq!(placed.area, "our scheduler");
    }
}
