//! Standard output and error of a guest, cut into lines. Knows no log.

use crate::limits::LOG_LINE_BYTES;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// What was printed and is not yet a line.
#[derive(Debug, Default)]
pub(crate) struct Console {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Console {
    /// Takes `bytes`, and hands every line that they end to `line`. A line that is too long ends where it is.
    pub(crate) fn print(
        &mut self,
        stream: Stream,
        bytes: impl Iterator<Item = u8>,
        mut line: impl FnMut(&str),
    ) {
        let open = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        for byte in bytes {
            if byte == b'\n' || open.len() == LOG_LINE_BYTES {
                line(&String::from_utf8_lossy(open));
                open.clear();
            }
            if byte != b'\n' {
                open.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_cut() {
        let (mut console, mut lines) = (Console::default(), Vec::new());
        let mut print =
            |stream, text: &str| console.print(stream, text.bytes(), |line| lines.push(line.to_owned()));
        print(Stream::Stdout, "one\ntw");
        print(Stream::Stderr, "other\n");
        print(Stream::Stdout, "o\n\n");
        print(Stream::Stdout, &"x".repeat(LOG_LINE_BYTES + 1));
        assert_eq!(lines[..4], ["one", "other", "two", ""]);
        assert_eq!((lines.len(), lines[4].len()), (5, LOG_LINE_BYTES));
    }
}
