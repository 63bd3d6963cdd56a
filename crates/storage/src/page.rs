//! Pages of lists: newest first, cut by cursors that are ids (contract section 10).

/// Which part of a list: at most `limit` items beyond the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest<Id> {
    /// Most items, 1 to [`PageRequest::LIMIT_MAX`]; a larger number is taken for that.
    pub limit: u32,
    /// Where the page lies; none for the newest items.
    pub cursor: Option<Cursor<Id>>,
}

/// A place in a list that is sorted newest first. The id needs not exist (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor<Id> {
    /// The items right after (older than) this one: the next page.
    StartingAfter(Id),
    /// The items right before (newer than) this one: the previous page.
    EndingBefore(Id),
}

impl<Id> PageRequest<Id> {
    /// Most items on one page.
    pub const LIMIT_MAX: u32 = 100;

    /// The newest `limit` items.
    pub const fn newest(limit: u32) -> Self {
        Self { limit, cursor: None }
    }

    /// The limit within its bounds.
    pub const fn limit_items(&self) -> usize {
        if self.limit == 0 {
            1
        } else if self.limit > Self::LIMIT_MAX {
            Self::LIMIT_MAX as usize
        } else {
            self.limit as usize
        }
    }
}

/// One page of a list, newest first whichever way the cursor went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, newest first.
    pub items: Vec<T>,
    /// Whether there are more items in the cursor's direction.
    pub has_more: bool,
}

impl<T> Page<T> {
    /// The page made of what a query found that went in the cursor's direction and asked for one item more than `request` has.
    #[must_use]
    pub fn from_query<Id>(mut found: Vec<T>, request: &PageRequest<Id>) -> Self {
        let has_more = found.len() > request.limit_items();
        found.truncate(request.limit_items());
        if matches!(request.cursor, Some(Cursor::EndingBefore(_))) {
            found.reverse();
        }
        Self { items: found, has_more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_too_many_says_that_there_is_more() {
        let page = Page::from_query(vec![3, 2, 1], &PageRequest::<u8>::newest(2));
        assert_eq!(page, Page { items: vec![3, 2], has_more: true });
        let page = Page::from_query(vec![3, 2], &PageRequest::<u8>::newest(2));
        assert_eq!(page, Page { items: vec![3, 2], has_more: false });
    }

    #[test]
    fn a_page_before_a_cursor_is_newest_first_too() {
        let request = PageRequest { limit: 2, cursor: Some(Cursor::EndingBefore(1)) };
        assert_eq!(Page::from_query(vec![2, 3, 4], &request), Page { items: vec![3, 2], has_more: true });
    }

    #[test]
    fn limits_are_brought_into_their_bounds() {
        for (limit, items) in [(0, 1), (1, 1), (100, 100), (u32::MAX, 100)] {
            assert_eq!(PageRequest::<u8>::newest(limit).limit_items(), items);
        }
    }
}
