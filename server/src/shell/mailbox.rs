//! Mail between data loops, and the doorbell that wakes a parked one.
//!
//! One bounded queue per ordered pair of cores, so that each has one sender and one receiver and keeps order. A queue that is full keeps the
//! rest with its sender, in order ([`Outbox`]); `data_loop.rs` then takes no frames from its sockets until the outbox is empty, so what can
//! wait there is bounded by the requests already inside.
//!
//! No wake-up is lost: the receiver says that it is parked, then looks into every queue once more, then sleeps; the sender puts mail in, then
//! looks whether the receiver is parked. Both orders are sequentially consistent, so at least one sees the other.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering, fence};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};

use rustix::event::{EventfdFlags, eventfd};

/// What one core leaves for another.
pub(super) enum Letter<Mail> {
    /// For the machine.
    Mail(Mail),
    /// An accepted socket that the receiver is to serve.
    Socket {
        socket: OwnedFd,
        peer: std::net::SocketAddr,
        listener: u16,
    },
}

/// What concerns the loop itself; rare, and never refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Tell the machine to shut down.
    ShutDown { immediately: bool },
    /// Leave the loop now: another core ended the process.
    Stop,
}

/// How one loop is woken.
pub(super) struct Doorbell {
    parked: AtomicBool,
    /// The loop's ring, for doorbells by message; -1 before it exists and after it is gone.
    ring: AtomicI32,
    eventfd: OwnedFd,
}

impl Doorbell {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            parked: AtomicBool::new(false),
            ring: AtomicI32::new(-1),
            eventfd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    /// One whose reader waits in `read`, as the background threads do.
    pub(super) fn new_blocking() -> std::io::Result<Self> {
        Ok(Self {
            eventfd: eventfd(0, EventfdFlags::CLOEXEC)?,
            ..Self::new()?
        })
    }

    pub(super) fn eventfd(&self) -> &OwnedFd {
        &self.eventfd
    }

    pub(super) fn eventfd_descriptor(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    pub(super) fn set_ring(&self, descriptor: RawFd) {
        self.ring.store(descriptor, Ordering::Release);
    }

    pub(super) fn ring(&self) -> Option<RawFd> {
        let descriptor = self.ring.load(Ordering::Acquire);
        (descriptor >= 0).then_some(descriptor)
    }

    /// The receiver's half: say "parked", and only then look into the queues a last time.
    pub(super) fn park(&self) {
        self.parked.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// True when nobody rang since [`Doorbell::park`].
    pub(super) fn unpark(&self) -> bool {
        self.parked.swap(false, Ordering::SeqCst)
    }

    /// The sender's half, after its mail is in the queue: true when the receiver must be woken, once per park.
    pub(super) fn must_ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.parked.load(Ordering::SeqCst) && self.parked.swap(false, Ordering::SeqCst)
    }

    /// Wakes through the eventfd: works from any thread.
    pub(super) fn ring_eventfd(&self) {
        // The counter being full means that it is readable already.
        let _ = rustix::io::write(&self.eventfd, &1u64.to_ne_bytes());
    }

    /// Empties the eventfd after it woke the loop.
    pub(super) fn clear_eventfd(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.eventfd, &mut count);
    }

    /// After putting something into a queue, from a thread without a ring.
    pub(super) fn wake_from_thread(&self) {
        if self.must_ring() {
            self.ring_eventfd();
        }
    }
}

/// The sending side towards one core.
pub(super) struct Outbox<Mail> {
    queue: SyncSender<Letter<Mail>>,
    waiting: VecDeque<Letter<Mail>>,
    pub(super) doorbell: Arc<Doorbell>,
    rung_for: bool,
}

impl<Mail> Outbox<Mail> {
    /// Adds a letter; it leaves with the next [`Outbox::flush`].
    pub(super) fn push(&mut self, letter: Letter<Mail>) {
        self.waiting.push_back(letter);
    }

    /// Letters that have not left.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Moves as much as fits. True when the receiver sleeps and must be woken.
    pub(super) fn flush(&mut self) -> bool {
        while let Some(letter) = self.waiting.pop_front() {
            match self.queue.try_send(letter) {
                Ok(()) => self.rung_for = true,
                Err(TrySendError::Full(letter)) => {
                    self.waiting.push_front(letter);
                    break;
                }
                // The receiver has left its loop: the process is ending.
                Err(TrySendError::Disconnected(_)) => {
                    self.waiting.clear();
                    return false;
                }
            }
        }
        std::mem::take(&mut self.rung_for) && self.doorbell.must_ring()
    }
}

/// All that one core's loop sends and receives through.
pub(super) struct Ports<Mail> {
    pub(super) doorbell: Arc<Doorbell>,
    /// By receiving core.
    pub(super) out: Vec<Outbox<Mail>>,
    /// By sending core.
    pub(super) incoming: Vec<Receiver<Letter<Mail>>>,
    pub(super) orders: Receiver<Order>,
}

/// How other threads reach every loop: to shut down or to stop.
#[derive(Clone)]
pub(super) struct OrderSender {
    targets: Vec<(Sender<Order>, Arc<Doorbell>)>,
}

impl OrderSender {
    pub(super) fn send_all(&self, order: Order) {
        for (sender, doorbell) in &self.targets {
            // A loop that is gone needs no orders.
            if sender.send(order).is_ok() {
                doorbell.wake_from_thread();
            }
        }
    }
}

/// Builds the queues between `cores` loops, each bounded at `letters_max`.
pub(super) fn connect<Mail>(
    cores: usize,
    letters_max: usize,
) -> std::io::Result<(Vec<Ports<Mail>>, OrderSender)> {
    let doorbells = (0..cores)
        .map(|_| Doorbell::new().map(Arc::new))
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut incoming: Vec<Vec<Receiver<Letter<Mail>>>> = (0..cores).map(|_| Vec::new()).collect();
    let mut out: Vec<Vec<Outbox<Mail>>> = (0..cores).map(|_| Vec::new()).collect();
    for sender_out in &mut out {
        for (receiver, doorbell) in doorbells.iter().enumerate() {
            let (queue, queue_end) = sync_channel(letters_max);
            incoming[receiver].push(queue_end);
            sender_out.push(Outbox {
                queue,
                waiting: VecDeque::new(),
                doorbell: Arc::clone(doorbell),
                rung_for: false,
            });
        }
    }
    let mut targets = Vec::new();
    let mut ports = Vec::new();
    for ((doorbell, out), incoming) in doorbells.into_iter().zip(out).zip(incoming) {
        let (sender, orders) = channel();
        targets.push((sender, Arc::clone(&doorbell)));
        ports.push(Ports {
            doorbell,
            out,
            incoming,
            orders,
        });
    }
    Ok((ports, OrderSender { targets }))
}
