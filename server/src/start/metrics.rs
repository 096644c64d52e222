//! The HTTP pages of a node: `/metrics` from the registry, `/health`.

use super::options::Prepared;
use crate::shell::{Pages, Shell};
use std::sync::Arc;

/// Pages over the shell's registry.
pub fn pages(shell: &Shell, _prepared: &Arc<Prepared>) -> Pages {
    Pages::of(shell.registry())
}
