//! Server-sent events, as far as streaming answers use them: the `data` of each event.
//!
//! What must stay true: a server that never ends an event can't make the buffer grow beyond its bound.

/// Most bytes of one event.
const EVENT_BYTES_MAX: usize = 64 * 1024;

/// An event grew beyond the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub(crate) struct EventParser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
}

impl EventParser {
    /// Takes the next bytes and calls `on` with the data of each event that is complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut on: impl FnMut(&str)) -> Result<(), TooLong> {
        for &byte in bytes {
            if byte != b'\n' {
                if self.line.len() + self.data.len() >= EVENT_BYTES_MAX {
                    return Err(TooLong);
                }
                self.line.push(byte);
                continue;
            }
            let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
            if line.is_empty() {
                if std::mem::take(&mut self.has_data) {
                    on(&String::from_utf8_lossy(&self.data));
                }
                self.data.clear();
            } else if let Some(value) = line.strip_prefix(b"data:") {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.data.extend_from_slice(value.strip_prefix(b" ").unwrap_or(value));
                self.has_data = true;
            }
            self.line.clear();
        }
        Ok(())
    }

    /// The stream ended: a last event without the empty line that should follow it counts too.
    pub(crate) fn finish(mut self, on: impl FnMut(&str)) -> Result<(), TooLong> {
        self.push(b"\n\n", on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(chunks: &[&[u8]]) -> Vec<String> {
        let mut parser = EventParser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk, |data| events.push(data.to_owned())).unwrap();
        }
        parser.finish(|data| events.push(data.to_owned())).unwrap();
        events
    }

    #[test]
    fn events_are_found_however_the_bytes_come() {
        let stream = b": hello\nevent: x\ndata: one\n\ndata:two\r\ndata: lines\r\n\r\nid: 7\n\ndata: last";
        let expected = ["one", "two\nlines", "last"];
        assert_eq!(events(&[stream]), expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(events(&bytes), expected);
    }

    #[test]
    fn an_endless_event_is_an_error() {
        let mut parser = EventParser::default();
        assert_eq!(parser.push(&vec![b'x'; EVENT_BYTES_MAX + 1], |_| {}), Err(TooLong));
        let mut parser = EventParser::default();
        let lines = b"data: 0123456789\n".repeat(EVENT_BYTES_MAX / 10);
        assert_eq!(parser.push(&lines, |_| {}), Err(TooLong));
    }
}
