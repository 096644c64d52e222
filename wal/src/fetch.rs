//! Pages of the base of older extents, and of footers, for work that goes on in the background: retention, rewriting, the scrub, the survey.
//! One that is missing is read, kept at hand for whom it was read, and the work is taken up again where it stood.

use crate::footer::{IndexPage, decode_index_page};
use crate::index_file::decode_page;
use crate::io::{BLOCK_BYTES, FileName, IoClass, IoResult, Output};
use crate::layers::Missing;
use crate::log::{Log, Purpose, expect_data};
use crate::slot::Extent;
use crate::types::{Now, ReplicaId};
use std::sync::Arc;

/// Pages kept at hand for one of them.
const PAGES_MAX: usize = 4;

/// Whom a page is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetcher {
    Retention,
    Rewrite,
    Scrub,
    Survey,
}

impl Fetcher {
    const COUNT: usize = Self::Survey as usize + 1;
}

/// A page that somebody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Extents(Missing),
    /// Of the footer of a segment in this life.
    Footer {
        file: u32,
        nonce: u64,
        page: u32,
    },
}

impl From<Missing> for Wanted {
    fn from(missing: Missing) -> Self {
        Self::Extents(missing)
    }
}

/// A read of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    fetcher: Fetcher,
    wanted: Wanted,
    position: u64,
}

/// What one of them has at hand.
#[derive(Debug, Default)]
pub(crate) struct AtHand {
    pages: Vec<(Wanted, Arc<IndexPage>)>,
    pub waits: bool,
    /// The last page that was asked for cannot be read.
    pub failed: bool,
}

impl AtHand {
    pub(crate) fn get(&self, wanted: impl Into<Wanted>) -> Option<Arc<IndexPage>> {
        let wanted = wanted.into();
        let found = self.pages.iter().find(|(known, _)| *known == wanted);
        found.map(|(_, page)| Arc::clone(page))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Fetches([AtHand; Fetcher::COUNT]);

impl Fetches {
    pub(crate) fn at_hand(&self, fetcher: Fetcher) -> &AtHand {
        &self.0[fetcher as usize]
    }

    pub(crate) fn at_hand_mut(&mut self, fetcher: Fetcher) -> &mut AtHand {
        &mut self.0[fetcher as usize]
    }
}

impl Log {
    /// The one extent of a replica that ends past `from`, as far as it goes.
    ///
    /// # Errors
    /// The page that must be fetched first.
    pub(crate) fn extent_past(
        &mut self,
        fetcher: Fetcher,
        replica: ReplicaId,
        from: i64,
    ) -> Result<Option<Extent>, Missing> {
        let (at_hand, cache) = (self.fetches.at_hand(fetcher), &mut self.extent_pages);
        self.slots.whole_extent_from(replica, from, &mut |missing| {
            at_hand
                .get(missing)
                .or_else(|| cache.get(missing.number, missing.page))
        })
    }

    /// A page of a sealed segment's footer.
    ///
    /// # Errors
    /// It must be fetched first.
    pub(crate) fn footer_page(
        &mut self,
        fetcher: Fetcher,
        file: u32,
        page: u32,
    ) -> Result<Arc<IndexPage>, Wanted> {
        let segment = self.segments.at(file);
        let (nonce, position) = (segment.nonce, u64::from(segment.footer_position));
        let wanted = Wanted::Footer { file, nonce, page };
        self.fetches
            .at_hand(fetcher)
            .get(wanted)
            .or_else(|| self.pages.get(file, page))
            .or_else(|| self.pages.page_of_footer(file, page, nonce, position))
            .ok_or(wanted)
    }

    /// Asks for a page. `waits` of what the fetcher has at hand says so until it is there.
    pub(crate) fn fetch_page(
        &mut self,
        fetcher: Fetcher,
        wanted: impl Into<Wanted>,
        out: &mut Vec<Output>,
    ) {
        let wanted = wanted.into();
        let at_hand = self.fetches.at_hand_mut(fetcher);
        (at_hand.waits, at_hand.failed) = (true, false);
        let (name, position) = match wanted {
            Wanted::Extents(missing) => {
                let position = u64::from(missing.page) * BLOCK_BYTES as u64;
                (FileName::Index(missing.number), position)
            }
            Wanted::Footer { file, page, .. } => {
                let segment = self.segments.at(file);
                segment.pins += 1;
                let position =
                    u64::from(segment.footer_position) + u64::from(page) * BLOCK_BYTES as u64;
                (FileName::Segment(file), position)
            }
        };
        let fetch = Fetch {
            fetcher,
            wanted,
            position,
        };
        self.read_file(
            Purpose::Fetch(fetch),
            name,
            position,
            BLOCK_BYTES,
            IoClass::Background,
            out,
        );
    }

    pub(crate) fn page_fetched(
        &mut self,
        now: Now,
        fetch: Fetch,
        result: IoResult,
        out: &mut Vec<Output>,
    ) {
        let data = expect_data(result, BLOCK_BYTES).ok();
        let (page, current) = match fetch.wanted {
            Wanted::Extents(missing) => {
                let base = &self.slots.layers.base;
                let current = base.number == missing.number;
                let data = data.filter(|_| current);
                let page = data.and_then(|data| decode_page(base, missing.page, &data));
                let page = page.map(Arc::new);
                if let Some(page) = &page {
                    self.extent_pages
                        .insert(missing.number, missing.page, Arc::clone(page));
                }
                (page, current)
            }
            Wanted::Footer { file, nonce, page } => {
                self.segments.at(file).pins -= 1;
                let found =
                    data.and_then(|data| decode_index_page(&data, nonce, fetch.position, page));
                let found = found.map(Arc::new);
                if let Some(found) = &found {
                    self.pages.insert(file, page, Arc::clone(found));
                }
                (found, true)
            }
        };
        let at_hand = self.fetches.at_hand_mut(fetch.fetcher);
        at_hand.waits = false;
        match page {
            Some(page) => {
                if at_hand.pages.len() >= PAGES_MAX {
                    at_hand.pages.remove(0);
                }
                at_hand.pages.push((fetch.wanted, page));
            }
            // With another base in its place it is looked for there.
            None => at_hand.failed = current,
        }
        if fetch.fetcher == Fetcher::Rewrite {
            self.drive_rewrite(now, out);
        }
    }
}
