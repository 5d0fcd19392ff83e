//! What of a handler must outlive the process and is neither progress nor state: one note, its bytes described in
//! `runtime/bus/FORMAT.md`. Knows no log.

/// The note of one handler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// Since when an operator has it paused, in milliseconds since the Unix epoch.
    pub(crate) paused_since: Option<i64>,
    /// The `state-version` that its group's state was written by; 0 if nothing was.
    pub(crate) state_version: u32,
    /// The version in charge, as [`crate::handler::Handler::version`] names it.
    pub(crate) version: String,
}

const VERSION: u8 = 1;

/// Whether a handler that wants state of `wanted` `state-version` can go on from state of `has`, which is 0 if there is none.
pub(crate) fn fits(has: u32, wanted: u32) -> bool {
    has == 0 || has == wanted
}

impl Note {
    /// `version` is in charge, and the state is of its `state_version` from now on.
    pub(crate) fn take_charge(&mut self, version: &str, state_version: u32) {
        (self.version, self.state_version) = (version.to_owned(), state_version);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, u8::from(self.paused_since.is_some())];
        bytes.extend_from_slice(&self.paused_since.unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&self.state_version.to_le_bytes());
        bytes.extend_from_slice(self.version.as_bytes());
        bytes
    }

    /// `None` if the bytes are broken or of a newer version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([version, flags], rest) = bytes.split_first_chunk()?;
        let (since, rest) = rest.split_first_chunk()?;
        let (state_version, name) = rest.split_first_chunk()?;
        if *version != VERSION || *flags > 1 {
            return None;
        }
        Some(Self {
            paused_since: (*flags == 1).then(|| i64::from_le_bytes(*since)),
            state_version: u32::from_le_bytes(*state_version),
            version: std::str::from_utf8(name).ok()?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_note_comes_back_as_it_was(paused_since: Option<i64>, state_version: u32, version: String) {
            let note = Note { paused_since, state_version, version };
            prop_assert_eq!(Note::decode(&note.encode()), Some(note));
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(note) = Note::decode(&bytes) {
                prop_assert_eq!(Note::decode(&note.encode()), Some(note));
            }
        }
    }

    #[test]
    fn a_newer_note_is_not_guessed_at() {
        let mut bytes = Note::default().encode();
        bytes[0] = VERSION + 1;
        assert_eq!(Note::decode(&bytes), None);
    }
}
