//! Checkpoints: moving the write-ahead log into the database, mostly beside the writer instead of in its way.
//!
//! A log begins anew only when all of it was moved, and that moment never comes beside a writer that goes on and on. So a thread
//! moves what has gathered, which is long work for the disk, while the writer works; then the writer moves the little that has come
//! since. What must stay true: the log is bounded, as far as no reader holds it fast; a failed checkpoint fails no commit, since the log has everything.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

/// From how many pages on in the log they are moved: the more, the more changes of one page are moved as one, and the longer a start
/// after a crash takes.
const LOG_PAGES: i32 = 4_000;
/// With so many pages in the log (256 MiB) the writer waits until the thread has moved them.
const LOG_PAGES_MAX: i32 = 65_536;

/// The writer's side.
pub(crate) struct Checkpoints {
    asked: SyncSender<()>,
    done: Receiver<()>,
    /// Whether the thread was asked and the writer has not followed yet.
    under_way: bool,
}

/// The thread's side.
pub(crate) struct Checkpointer {
    asked: Receiver<()>,
    done: SyncSender<()>,
}

/// Both sides. One question and one answer can be under way.
pub(crate) fn pair() -> (Checkpoints, Checkpointer) {
    let (ask, asked) = sync_channel(1);
    let (answer, done) = sync_channel(1);
    (Checkpoints { asked: ask, done, under_way: false }, Checkpointer { asked, done: answer })
}

impl Checkpoints {
    /// To be called after each commit, which left so many pages in the log.
    pub(crate) fn after_commit(&mut self, log: &mut Wal, pages: i32) {
        if self.under_way {
            let done = if pages < LOG_PAGES_MAX { self.done.try_recv().is_ok() } else { self.done.recv().is_ok() };
            if !done {
                return;
            }
            self.under_way = false;
            warn_if_failed(log.checkpoint());
        } else if pages >= LOG_PAGES {
            self.under_way = self.asked.try_send(()).is_ok();
        }
    }
}

impl Checkpointer {
    /// Works until the writer's side is gone. To be called on a thread of its own.
    pub(crate) fn run(self, connection: &Connection) {
        while self.asked.recv().is_ok() {
            // Twice: the second time there is only what has come during the first, so that hardly anything is left to the writer.
            for _ in 0..2 {
                let moved = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()));
                warn_if_failed(moved);
            }
            if self.done.send(()).is_err() {
                return;
            }
        }
    }
}

fn warn_if_failed(moved: rusqlite::Result<()>) {
    if let Err(error) = moved {
        tracing::warn!(%error, "the write-ahead log was not moved into the database; it stays until the next time");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI32, Ordering};

    #[test]
    fn the_log_begins_anew_under_a_writer_that_never_rests() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Connection::open(folder.path().join("file.db")).unwrap();
        let mut writer = open();
        writer.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
        writer.pragma_update(None, "synchronous", "OFF").unwrap();
        let (mut checkpoints, checkpointer) = pair();
        let in_log = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&in_log);
        let hook = move |log: &mut Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            checkpoints.after_commit(log, pages);
            Ok(())
        };
        writer.wal_hook(Some(hook)).unwrap();
        let second = open();
        let thread = std::thread::spawn(move || checkpointer.run(&second));

        writer.execute_batch("CREATE TABLE t (x BLOB)").unwrap();
        let (mut highest, mut begun_anew) = (0, 0);
        // Far more than the log may ever hold.
        for _ in 0..2_000 {
            writer.execute("INSERT INTO t VALUES (zeroblob(400000))", ()).unwrap();
            let pages = in_log.load(Ordering::Relaxed);
            begun_anew += i32::from(pages < highest);
            highest = if pages < highest { pages } else { highest.max(pages) };
            if begun_anew == 2 {
                break;
            }
        }
        assert_eq!(begun_anew, 2);
        writer.wal_hook(None::<fn(&mut Wal, i32) -> rusqlite::Result<()>>).unwrap();
        thread.join().unwrap();
    }
}
