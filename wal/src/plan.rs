//! Plans: the caller names replicas, and decides frame by frame what of them is kept, dropped or replaced (compaction is its user). The log
//! walks their sealed extents, hands out frames a step at a time, writes what is left into a new segment and moves the extents there by
//! edits, as every rewrite does (`rewrite.rs`). Until an edit is durable the old frames are what counts: a plan cut short by a crash leaves
//! some extents changed and the others as they were.

use crate::fetch::Fetcher;
use crate::io::Output;
use crate::layout::{FRAME_HEADER_BYTES, FrameHeader};
use crate::log::Log;
use crate::rewrite::{Job, Stage};
use crate::rewrite_source::{PlanWalk, Walk};
use crate::rewrite_target::STEP_BYTES;
use crate::types::{FrameMeta, Lsn, Now, Offset, ReplicaId};
use bytes::Bytes;
use std::fmt;

/// Replicas that one plan names at most.
pub const PLAN_REPLICAS_MAX: usize = 4_096;

/// What a plan goes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewritePlan {
    /// Replicas, each with the offset that its frames must end below; the high watermark bounds it too. Frames in segments that
    /// are not sealed yet are left alone, and so are extents that reach past the bound.
    pub replicas: Vec<(ReplicaId, Offset)>,
}

/// Names a plan until its `Output::PlanDone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlanId(pub u64);

/// A frame to be decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanFrame {
    /// Its identity.
    pub meta: FrameMeta,
    /// Its payload: a record batch.
    pub payload: Bytes,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrameVerdict {
    /// It stays as it is.
    Keep,
    /// It goes; its offsets are a hole from then on.
    Drop,
    /// It stays under its identity with another payload and largest timestamp. A payload larger than the old one is not taken:
    /// the frame stays as it is then.
    Replace {
        /// The new payload.
        payload: Bytes,
        /// Its largest record timestamp in milliseconds, -1 for none.
        max_timestamp: i64,
    },
}

/// What a plan did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOutcome {
    /// Everything that the plan names was gone over. Else it was cut short (a failed read or write, no free segment, the end of the
    /// log's life): what was moved until then has moved.
    pub whole: bool,
    /// Frames that stayed.
    pub frames_kept: u64,
    /// Frames that went.
    pub frames_dropped: u64,
    /// Frames that were replaced.
    pub frames_replaced: u64,
    /// Payload bytes of all frames before.
    pub bytes_before: u64,
    /// And of those that are left.
    pub bytes_after: u64,
    /// The plan holds for good once this is durable.
    pub lsn: Lsn,
}

/// Why a plan or its answer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanRefusal {
    /// One plan waits already.
    Busy,
    /// It names more than `PLAN_REPLICAS_MAX` replicas.
    TooMany,
    /// The log is offline or shutting down.
    Closed,
    /// No such plan waits for an answer.
    UnknownPlan,
    /// As many verdicts must be given as frames were handed out.
    WrongCount {
        /// Frames handed out.
        expected: usize,
    },
}

impl fmt::Display for PlanRefusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => write!(formatter, "another plan waits already"),
            Self::TooMany => write!(
                formatter,
                "a plan names at most {PLAN_REPLICAS_MAX} replicas"
            ),
            Self::Closed => write!(formatter, "the log takes no plans any more"),
            Self::UnknownPlan => write!(formatter, "no such plan waits for an answer"),
            Self::WrongCount { expected } => {
                write!(formatter, "{expected} frames were handed out")
            }
        }
    }
}

impl std::error::Error for PlanRefusal {}

/// A plan's side of its job.
#[derive(Debug)]
pub(crate) struct Planning {
    pub id: PlanId,
    /// Of the last edit.
    pub lsn: Lsn,
    /// Verdicts for the window's frames from `first` on; none for frames that could not be read.
    verdicts: Vec<Option<FrameVerdict>>,
    first: usize,
    outcome: PlanOutcome,
}

impl Planning {
    /// What is to be done with the window's frame at this place.
    pub(crate) fn verdict(&mut self, at: usize) -> FrameVerdict {
        self.verdicts
            .get_mut(at - self.first)
            .and_then(Option::take)
            .unwrap_or(FrameVerdict::Keep)
    }

    /// Counts a verdict, and turns a replacement down that has grown.
    fn admit(&mut self, bytes: usize, verdict: FrameVerdict) -> FrameVerdict {
        let outcome = &mut self.outcome;
        outcome.bytes_before += bytes as u64;
        match verdict {
            FrameVerdict::Drop => {
                outcome.frames_dropped += 1;
                FrameVerdict::Drop
            }
            FrameVerdict::Replace {
                payload,
                max_timestamp,
            } if payload.len() <= bytes => {
                outcome.frames_replaced += 1;
                outcome.bytes_after += payload.len() as u64;
                FrameVerdict::Replace {
                    payload,
                    max_timestamp,
                }
            }
            FrameVerdict::Keep | FrameVerdict::Replace { .. } => {
                outcome.frames_kept += 1;
                outcome.bytes_after += bytes as u64;
                FrameVerdict::Keep
            }
        }
    }
}

impl Log {
    /// Begins a plan, or has it wait for the rewrite under way. Its frames come as `Output::PlanFrames`, each to be answered by
    /// `answer_rewrite_plan`, then one `Output::PlanDone`.
    ///
    /// # Errors
    /// See `PlanRefusal`; nothing changed.
    pub fn begin_rewrite_plan(
        &mut self,
        now: Now,
        plan: RewritePlan,
        out: &mut Vec<Output>,
    ) -> Result<PlanId, PlanRefusal> {
        if self.offline.is_some() || self.shutting_down {
            return Err(PlanRefusal::Closed);
        }
        if plan.replicas.len() > PLAN_REPLICAS_MAX {
            return Err(PlanRefusal::TooMany);
        }
        if self.rewriter.waiting_plan.is_some() {
            return Err(PlanRefusal::Busy);
        }
        let id = PlanId(self.rewriter.next_plan);
        self.rewriter.next_plan += 1;
        self.rewriter.waiting_plan = Some((id, plan));
        self.proceed_rewrite(now, out);
        Ok(id)
    }

    /// Begins the plan that waits, if one does.
    pub(crate) fn start_waiting_plan(&mut self, now: Now, out: &mut Vec<Output>) -> bool {
        let Some((id, plan)) = self.rewriter.waiting_plan.take() else {
            return false;
        };
        let replicas = plan.replicas.into_iter();
        let walk = PlanWalk::new(replicas.map(|(replica, to)| (replica, to.0)).collect());
        let walk = Walk::Plan(walk);
        let mut job = Job::new(self.rewriter.next_job, walk, 1, now.wall_ms);
        job.planning = Some(Planning {
            id,
            lsn: self.append_lsn(),
            verdicts: Vec::new(),
            first: 0,
            outcome: PlanOutcome::default(),
        });
        self.begin_job(now, job, out);
        true
    }

    /// The window's frames from `from` on, as many as make a step, are the caller's to decide; without a plan all of them just go on.
    pub(crate) fn decide_or_place(
        &mut self,
        job: &mut Job,
        from: usize,
        out: &mut Vec<Output>,
    ) -> Stage {
        if job.planning.is_none() {
            let end = job.window.len();
            return Stage::Placing { next: from, end };
        }
        // What was truncated or deleted since it was read is nobody's to decide. Where a page would be needed to tell, it is asked about
        // for nothing: the edit moves only what still lies there.
        let mut window = std::mem::take(&mut job.window);
        for frame in &mut window[from..] {
            let found = self.extent_past(Fetcher::Rewrite, frame.replica, frame.entry.last);
            let lives = found.map_or(true, |extent| {
                extent.is_some_and(|extent| {
                    extent.segment == frame.file && extent.base <= frame.entry.base
                })
            });
            if !lives || self.slots.get(frame.replica).is_none() {
                frame.bytes = None;
            }
        }
        job.window = window;
        let Some(planning) = &mut job.planning else {
            return Stage::Placing {
                next: from,
                end: from,
            };
        };
        let mut frames = Vec::new();
        let (mut end, mut bytes) = (from, 0);
        for frame in &job.window[from..] {
            let payload_bytes = frame.bytes.as_ref().map_or(0, Bytes::len);
            if !frames.is_empty() && bytes + payload_bytes > STEP_BYTES {
                break;
            }
            end += 1;
            bytes += payload_bytes;
            let Some(whole) = &frame.bytes else {
                continue;
            };
            if let Some(meta) = FrameHeader::identity(whole) {
                let payload = whole.slice(FRAME_HEADER_BYTES..);
                frames.push(PlanFrame { meta, payload });
            }
        }
        planning.first = from;
        planning.verdicts.clear();
        if frames.is_empty() {
            return Stage::Placing { next: from, end };
        }
        out.push(Output::PlanFrames {
            plan: planning.id,
            frames,
        });
        Stage::Deciding { next: from, end }
    }

    /// What becomes of the frames handed out last, in their order.
    ///
    /// # Errors
    /// See `PlanRefusal`; nothing changed.
    pub fn answer_rewrite_plan(
        &mut self,
        now: Now,
        plan: PlanId,
        verdicts: Vec<FrameVerdict>,
        out: &mut Vec<Output>,
    ) -> Result<(), PlanRefusal> {
        let job = self.rewriter.job.as_mut().ok_or(PlanRefusal::UnknownPlan)?;
        let Stage::Deciding { next, end } = job.stage else {
            return Err(PlanRefusal::UnknownPlan);
        };
        let planning = job
            .planning
            .as_mut()
            .filter(|planning| planning.id == plan)
            .ok_or(PlanRefusal::UnknownPlan)?;
        let window = &job.window[next..end];
        let expected = window.iter().filter(|frame| frame.bytes.is_some()).count();
        if verdicts.len() != expected {
            return Err(PlanRefusal::WrongCount { expected });
        }
        let mut verdicts = verdicts.into_iter();
        for frame in window {
            let verdict = match &frame.bytes {
                Some(bytes) => {
                    let payload_bytes = bytes.len() - FRAME_HEADER_BYTES;
                    let verdict = verdicts.next();
                    verdict.map(|verdict| planning.admit(payload_bytes, verdict))
                }
                None => None,
            };
            planning.verdicts.push(verdict);
        }
        job.stage = Stage::Placing { next, end };
        self.drive_rewrite(now, out);
        Ok(())
    }

    pub(crate) fn end_plan(&mut self, planning: Planning, whole: bool, out: &mut Vec<Output>) {
        out.push(Output::PlanDone {
            plan: planning.id,
            outcome: PlanOutcome {
                whole,
                lsn: planning.lsn,
                ..planning.outcome
            },
        });
    }
}
