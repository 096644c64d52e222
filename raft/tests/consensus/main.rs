//! Consensus of the metadata log, case by case: one voter from format to restart, damage (case 19), quorum state slots,
//! snapshot files, and the rules of votes as text files. Many nodes under faults are in `tests/simulation`.

mod damage;
mod elections;
mod followers;
mod single_voter;
mod slots;
mod snapshot_file;
mod support;
mod wire;
