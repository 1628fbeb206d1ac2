//! What reading one JSON text may cost: links followed, memory for elements.

use std::cell::Cell;

use super::JsonError;
use crate::limits::{JSON_BUILT_SIZE_MAX, JSON_LINK_COUNT_MAX, JSON_LINKED_SIZE_MAX};

/// What reading one text may still cost.
pub(super) struct Budget {
    /// Links that may still be followed.
    links_left: Cell<usize>,
    /// Bytes that elements of lists and maps may still take. Texts don't count: they are no longer than the input.
    size_left: Cell<usize>,
}

impl Budget {
    /// The budget of a text of so many bytes.
    pub(super) fn for_text(size: usize) -> Budget {
        Budget {
            links_left: Cell::new(JSON_LINK_COUNT_MAX.min(1 + JSON_LINKED_SIZE_MAX / size.max(1))),
            size_left: Cell::new(JSON_BUILT_SIZE_MAX),
        }
    }

    /// Pays for one link at this place.
    pub(super) fn follow_link(&self, at: usize) -> Result<(), JsonError> {
        let links_left = self.links_left.get().checked_sub(1);
        self.links_left.set(links_left.ok_or_else(|| JsonError::new(at, "too many links"))?);
        Ok(())
    }

    /// Pays for so many bytes of elements.
    pub(super) fn spend(&self, size: usize, at: usize) -> Result<(), JsonError> {
        match self.size_left.get().checked_sub(size) {
            Some(left) => {
                self.size_left.set(left);
                Ok(())
            }
            None => Err(JsonError::new(at, "too many elements")),
        }
    }
}
